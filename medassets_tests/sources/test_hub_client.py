"""Single requests to a hub, answered by a local one."""

from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import (
    SourceAccessError,
    SourceUnavailableError,
)
from medassets.sources.hub import HubSource
from medassets.testing.hub import FaultKind, LocalHub
from medassets.testing.hub_api import HubHandler
from medassets_tests.sources.fetching import TOKEN, VOLUME, fetch, read_chain


def test_unknown_revision_is_named(hub: LocalHub, source: HubSource) -> None:
    with pytest.raises(SourceAccessError, match="does not have this revision"):
        replace(source, revision="v2").resolve_revision()


@pytest.mark.parametrize("kind", ["rate_limit", "unavailable", "web_page", "reset", "stall"])
@pytest.mark.parametrize("place", ["info", "paths-info"])
def test_api_calls_are_retried(
    hub: LocalHub, source: HubSource, kind: FaultKind, place: str
) -> None:
    hub.fail(kind, place=place, at_byte=-1)
    main = replace(source, revision="main")
    if place == "info":
        assert main.resolve_revision() == hub.sha
    else:
        assert len(main.describe([VOLUME], revision=None)) == 1


def test_token_of_the_environment_is_sent_to_the_hub_only(
    repo: Path, source: HubSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with LocalHub(repo, "org/ct-small", token=TOKEN, gated=True) as hub:
        fetch(replace(source, endpoint=hub.endpoint, token=None), tmp_path / "file")
        assert {(r.server, r.has_token) for r in hub.requests()} == {("hub", True), ("cdn", False)}


def test_unreachable_hub_is_unavailable(source: HubSource) -> None:
    nowhere = replace(source, endpoint="http://127.0.0.1:9", revision="main")
    with pytest.raises(SourceUnavailableError, match="connection failed"):
        nowhere.resolve_revision()


def test_offline_mode_is_said(source: HubSource, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(SourceUnavailableError, match="HF_HUB_OFFLINE is set"):
        replace(source, revision="main").resolve_revision()


def test_impossible_repository_name_is_said(source: HubSource, tmp_path: Path) -> None:
    described = source.describe([VOLUME], revision=None)[VOLUME]
    with pytest.raises(SourceUnavailableError, match="not the name of a dataset"):
        replace(source, repo_id="org/-x-").fetch(described, tmp_path / "file")


def test_unknown_repository_is_named(source: HubSource) -> None:
    with pytest.raises(SourceAccessError, match="dataset org/other does not exist at http"):
        replace(source, repo_id="org/other", revision="main").resolve_revision()


@pytest.mark.parametrize("token", [f"{TOKEN}\nX-Evil: 1", f"{TOKEN} and more", f"{TOKEN}é"])
def test_unusable_token_is_refused_unseen(source: HubSource, token: str) -> None:
    with pytest.raises(SourceAccessError, match="HF_TOKEN holds a character") as caught:
        replace(source, token=token).describe([VOLUME], revision=None)
    assert TOKEN not in read_chain(caught.value)


@pytest.mark.parametrize("answer", [[], {"id": "org/x"}, {"sha": "../evil"}, {"sha": 3}, None])
def test_hostile_revisions_are_refused(
    source: HubSource, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(HubHandler, "_send_info", lambda handler, _: handler.send_json(answer))
    with pytest.raises(SourceUnavailableError, match="names no commit"):
        replace(source, revision="main").resolve_revision()
