"""Messages of hub errors, which never contain a token."""

import logging
import time
from dataclasses import replace
from email.utils import formatdate
from pathlib import Path

import pytest

from medassets.errors import (
    MedassetsError,
    SourceAccessError,
    SourceUnavailableError,
)
from medassets.sources.hub import HubSource
from medassets.sources.hub_errors import clean_text, read_retry_after
from medassets.testing.hub import FaultKind, LocalHub
from medassets_tests.sources.fetching import TOKEN, VOLUME, fetch, read_chain
from medassets_tests.sources.middlemen import make_redirecting, serving


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("gated", "is gated: ask for access at http.*/datasets/org/ct-small.*HF_TOKEN"),
        ("unauthorized", "does not exist at .*or it is private.*HF_TOKEN"),
        ("bad_token", "does not accept the login.*org/ct-small.*HF_TOKEN is wrong or expired"),
        ("forbidden", "forbids reading dataset org/ct-small .*HF_TOKEN"),
        ("missing_repo", "dataset org/ct-small does not exist at http"),
    ],
)
def test_refused_access_is_fatal_and_explained(
    hub: LocalHub, source: HubSource, tmp_path: Path, kind: FaultKind, words: str
) -> None:
    hub.fail(kind, times=None)
    with pytest.raises(SourceAccessError, match=words):
        fetch(source, tmp_path / "file")
    assert len(hub.requests("resolve")) == 1


def test_gate_opens_for_the_right_token_only(repo: Path, source: HubSource, tmp_path: Path) -> None:
    with LocalHub(repo, "org/ct-small", token=TOKEN, gated=True) as hub:
        here = replace(source, endpoint=hub.endpoint)
        assert here.describe([VOLUME], revision=None)
        with pytest.raises(SourceAccessError, match=r"is gated.*no token was sent: set HF_TOKEN"):
            fetch(here, tmp_path / "file")
        with pytest.raises(SourceAccessError, match="HF_TOKEN is wrong or expired"):
            fetch(replace(here, token="hf_other"), tmp_path / "file")
        fetch(replace(here, token=TOKEN), tmp_path / "file")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("stall", "no byte for 0.5 s"),
        ("reset", "connection failed"),
        ("expired_link", "HTTP 403. Request has expired"),
        ("web_page", "a web page came instead of the file"),
        ("rate_limit", "asks to slow down"),
    ],
)
def test_a_permanent_failure_is_named(
    hub: LocalHub, source: HubSource, tmp_path: Path, kind: FaultKind, words: str
) -> None:
    hub.fail(kind, times=None, retry_after_s=0)
    with pytest.raises(SourceUnavailableError, match=words):
        fetch(source, tmp_path / "file")


@pytest.mark.parametrize(
    "kind", ["gated", "bad_token", "unavailable", "missing", "wrong_bytes", "expired_link", "stall"]
)
def test_token_never_shows(
    hub: LocalHub,
    source: HubSource,
    tmp_path: Path,
    kind: FaultKind,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    with_token = replace(source, token=TOKEN)
    described = with_token.describe([VOLUME], revision=None)[VOLUME]
    hub.fail(kind, times=None)
    with pytest.raises(MedassetsError) as caught:
        with_token.fetch(described, tmp_path / "file")
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    shown = read_chain(caught.value) + caplog.text + repr(with_token) + repr(with_token.client)
    assert caplog.records
    assert TOKEN not in shown
    assert "signed-link-secret" not in read_chain(caught.value)


def test_token_echoed_by_a_hub_is_masked(hub: LocalHub, source: HubSource, tmp_path: Path) -> None:
    hub.fail("forbidden", times=None, message=f"token {TOKEN} may not")
    with pytest.raises(SourceAccessError, match="token <token> may not") as caught:
        fetch(replace(source, token=TOKEN), tmp_path / "file")
    assert TOKEN not in read_chain(caught.value)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"retry-after": " 0 "}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-5"}, None),
        ({"ratelimit": '"api";r=0;t=55'}, 55.0),
        ({"ratelimit": '"api";r=12;t=55'}, None),
        ({"ratelimit": '"api";r=0;t=55', "retry-after": "3"}, 3.0),
        ({}, None),
    ],
)
def test_pause_is_read_from_headers(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers) == seconds


def test_pause_may_be_a_date() -> None:
    seconds = read_retry_after({"retry-after": formatdate(time.time() + 30, usegmt=True)})
    assert seconds is not None
    assert 28 < seconds <= 30


def test_text_loses_token_and_signature() -> None:
    text = "GET http://cdn/x?X-Amz-Signature=abc\nwith hf_abc failed"
    assert clean_text(text, secret="hf_abc") == "GET http://cdn/x with <token> failed"


def test_text_is_cut() -> None:
    assert len(clean_text("x" * 10_000)) < 400


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("gated", [True, False], ids=["gated", "another token"])
def test_a_redirect_to_another_host_that_drops_the_token_is_named(
    repo: Path, source: HubSource, tmp_path: Path, status: int, *, gated: bool
) -> None:
    with (
        LocalHub(repo, "org/ct-small" if gated else "org/x", token=TOKEN, gated=gated) as hub,
        serving(make_redirecting(hub.endpoint, status)) as mirror,
    ):
        here = replace(source, endpoint=mirror, token=TOKEN, revision="main")
        words = rf"{mirror} redirects to {hub.endpoint}, and a token is never sent.*HF_ENDPOINT"
        if gated and status in (302, 307):
            # A file's storage answers from another host as well, so only the API can tell.
            assert here.resolve_revision() == hub.sha
            return
        with pytest.raises(SourceAccessError, match=words) as caught:
            here.check_readable(VOLUME, revision=hub.sha) if gated else here.resolve_revision()
        assert not any(request.has_token for request in hub.requests())
        assert TOKEN not in read_chain(caught.value)


@pytest.mark.parametrize("status", [307, 308])
def test_a_redirect_to_another_host_is_followed_where_no_token_is_needed(
    repo: Path, hub: LocalHub, source: HubSource, tmp_path: Path, status: int
) -> None:
    with serving(make_redirecting(hub.endpoint, status)) as mirror:
        here = replace(source, endpoint=mirror, token=TOKEN, revision="main")
        assert fetch(here, tmp_path / "file").path.read_bytes() == (repo / VOLUME).read_bytes()
