"""The proxy of the environment, as messages name it."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from huggingface_hub.utils import close_session

from medassets.errors import SourceUnavailableError
from medassets.sources.hub import HubSource
from medassets.sources.proxies import find_proxy

DEAD = "http://127.0.0.1:9"
URL = "https://huggingface.co"
NAMES = [f"{kind}_proxy" for kind in ("http", "https", "all", "no")]


@pytest.fixture(autouse=True)
def own_session(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the HTTP client read the environment of this test."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    close_session()
    yield
    close_session()


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128"}, "http://proxy:3128 (HTTPS_PROXY)"),
        ({"https_proxy": "http://proxy:3128"}, "http://proxy:3128 (https_proxy)"),
        ({"https_proxy": "proxy:3128"}, "http://proxy:3128 (https_proxy)"),
        ({"ALL_PROXY": "http://proxy:3128/"}, "http://proxy:3128 (ALL_PROXY)"),
        ({"HTTP_PROXY": "http://proxy:3128"}, ""),
        ({"HTTPS_PROXY": "http://me:secret@proxy:3128"}, "http://proxy:3128 (HTTPS_PROXY)"),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "huggingface.co"}, ""),
        ({"HTTPS_PROXY": "http://proxy:3128", "NO_PROXY": "*"}, ""),
    ],
)
def test_the_proxy_of_a_url_is_found_without_its_login(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], found: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(URL) == found


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY"])
def test_a_dead_proxy_is_named(
    monkeypatch: pytest.MonkeyPatch, source: HubSource, name: str
) -> None:
    monkeypatch.setenv(name, DEAD.replace("//", "//me:secret@"))
    far = replace(source, endpoint="http://hub.invalid", revision="main")
    with pytest.raises(SourceUnavailableError, match=rf"{DEAD} \({name}\)") as caught:
        far.resolve_revision()
    assert "secret" not in str(caught.value)


def test_a_dead_hub_without_a_proxy_is_not_blamed_on_one(source: HubSource) -> None:
    with pytest.raises(SourceUnavailableError, match="connection failed") as caught:
        replace(source, endpoint=DEAD, revision="main").resolve_revision()
    assert "proxy" not in str(caught.value)
