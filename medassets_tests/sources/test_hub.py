import logging
import pickle
import subprocess
import sys
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import (
    CatalogError,
    ForeignFileError,
    LockTimeoutError,
    MedassetsError,
    Reason,
    SampleRejectedError,
    SourceAccessError,
    SourceUnavailableError,
)
from medassets.samples import StagedFile
from medassets.sources.hub import HubPolicy, HubSource
from medassets.storage.locks import lock_file
from medassets.testing.hub import FaultKind, LocalHub
from medassets.testing.hub_api import HubHandler
from medassets.testing.hub_files import HubFile
from medassets_tests.sources.conftest import REPO_ID
from medassets_tests.sources.contract import SourceContract

VOLUME = "vol/a.nii.gz"
TOKEN = "hf_ThisMustStaySecret"


def fetch(source: HubSource, target: Path, path: str = VOLUME) -> StagedFile:
    return source.fetch(source.describe([path], revision=None)[path], target)


def read_chain(error: BaseException) -> str:
    """Everything a log or an event could show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))


class TestHubSource(SourceContract):
    path, missing = VOLUME, "vol/none.nii.gz"

    @pytest.fixture
    def source(self, repo: Path, hub: LocalHub, quick_policy: HubPolicy) -> HubSource:
        self.repo, self.hub = repo, hub
        return HubSource(REPO_ID, endpoint=hub.endpoint, token=False, policy=quick_policy)

    def change(self) -> None:
        (self.repo / VOLUME).write_bytes(b"other bytes")
        self.hub.refresh()


def test_revision_becomes_a_commit_sha(hub: LocalHub, source: HubSource) -> None:
    assert replace(source, revision="main").resolve_revision() == hub.sha
    hub.forget_requests()
    assert source.resolve_revision() == hub.sha
    assert not hub.requests()


def test_unknown_revision_is_named(hub: LocalHub, source: HubSource) -> None:
    with pytest.raises(SourceAccessError, match="does not have this revision"):
        replace(source, revision="v2").resolve_revision()


def test_describe_gives_size_and_digest_in_one_request(
    hub: LocalHub, source: HubSource, repo: Path
) -> None:
    paths = [VOLUME, "vol/b c.nii.gz", "table.csv", "vol/none.nii.gz", "vol"]
    files = source.describe(paths, revision=hub.sha)
    assert list(files) == paths[:3]
    assert files[VOLUME].num_bytes == 700_001
    assert files[VOLUME].sha256 is not None
    assert files[VOLUME].uri == f"hf://datasets/org/ct-small@{hub.sha}/{VOLUME}"
    assert files["table.csv"].sha256 is None
    assert files["table.csv"].git_sha1 is not None
    assert len(hub.requests("paths-info")) == 1


def test_describe_asks_in_chunks(hub: LocalHub, source: HubSource) -> None:
    few = replace(source, policy=replace(source.policy, paths_per_request=1))
    assert len(few.describe([VOLUME, "table.csv"], revision=None)) == 2
    assert len(hub.requests("paths-info")) == 2


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a//b", "a\\b", "a\nb"])
def test_paths_that_leave_the_repository_are_refused(source: HubSource, path: str) -> None:
    with pytest.raises(CatalogError, match="path in source"):
        source.describe([path], revision=None)


def test_table_is_read_whole(hub: LocalHub, source: HubSource, repo: Path) -> None:
    assert source.read_table("table.csv", revision=hub.sha) == (repo / "table.csv").read_bytes()


def test_missing_table_is_named(source: HubSource) -> None:
    with pytest.raises(CatalogError, match=r"none\.csv: no such table"):
        source.read_table("none.csv", revision=None)


def test_table_with_wrong_bytes_is_an_error(hub: LocalHub, source: HubSource) -> None:
    hub.fail("wrong_bytes", "table.csv", times=None)
    with pytest.raises(CatalogError, match="with other bytes than the promised"):
        source.read_table("table.csv", revision=None)


def test_cached_table_is_not_downloaded_again(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    cached = replace(source, cache_folder=tmp_path / "tables")
    first = cached.read_table("table.csv", revision=None)
    assert cached.read_table("table.csv", revision=None) == first
    assert len(hub.requests("body")) == 1


@pytest.mark.parametrize("path", [VOLUME, "vol/b c.nii.gz", "table.csv"])
def test_fetched_file_equals_the_original(
    source: HubSource, repo: Path, tmp_path: Path, path: str
) -> None:
    staged = fetch(source, tmp_path / "out" / "file", path)
    assert staged.path.read_bytes() == (repo / path).read_bytes()
    assert staged.num_bytes == (repo / path).stat().st_size
    assert [p.name for p in staged.path.parent.iterdir()] == ["file"]


@pytest.mark.parametrize(
    "kind",
    [
        "rate_limit",
        "unavailable",
        "web_page",
        "reset",
        "truncate",
        "short",
        "long",
        "wrong_bytes",
        "stall",
        "ignore_range",
    ],
)
@pytest.mark.parametrize("path", [VOLUME, "table.csv"])
def test_passing_fault_leaves_no_trace_in_the_bytes(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path, kind: FaultKind, path: str
) -> None:
    hub.fail(kind, path, at_byte=5)
    staged = fetch(source, tmp_path / "out" / "file", path)
    assert staged.path.read_bytes() == (repo / path).read_bytes()
    assert [p.name for p in staged.path.parent.iterdir()] == ["file"]
    if kind != "ignore_range":
        assert len(hub.requests("resolve")) == 2


def test_expired_link_is_asked_for_anew(hub: LocalHub, source: HubSource, tmp_path: Path) -> None:
    hub.fail("expired_link")
    fetch(source, tmp_path / "file")
    assert len(hub.requests("resolve")) == 2


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


def test_reset_before_the_answer_is_retried(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    hub.fail("reset", at_byte=-1, place="resolve")
    hub.fail("reset", at_byte=-1)
    fetch(source, tmp_path / "file")
    assert len(hub.requests("resolve")) == 3


def test_broken_body_is_resumed_with_a_range(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    hub.fail("reset", at_byte=400_000)
    hub.fail("truncate", at_byte=100_000)
    fetch(source, tmp_path / "file")
    assert [r.range_start for r in hub.requests("body")] == [None, 400_000, 500_000]


def test_ignored_range_starts_over(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    hub.fail("reset", at_byte=400_000)
    hub.fail("ignore_range")
    staged = fetch(source, tmp_path / "file")
    assert staged.path.read_bytes() == (repo / VOLUME).read_bytes()
    assert [r.range_start for r in hub.requests("body")] == [None, 400_000]


def test_wrong_bytes_again_and_again_reject_the_sample(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    hub.fail("wrong_bytes", times=None, at_byte=699_999)
    with pytest.raises(SampleRejectedError, match="arrived 3 times with other bytes") as caught:
        fetch(source, tmp_path / "file")
    assert caught.value.reason is Reason.CHECKSUM_MISMATCH
    assert len(hub.requests("body")) == 3
    assert not (tmp_path / "file").exists()


def test_file_stored_shorter_than_promised_rejects_the_sample(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    described = source.describe([VOLUME], revision=None)[VOLUME]
    longer = replace(described, num_bytes=700_002)
    with pytest.raises(SampleRejectedError, match="checksum_mismatch"):
        source.fetch(longer, tmp_path / "file")


@pytest.mark.parametrize("place", ["resolve", "body"])
def test_missing_file_rejects_the_sample_at_once(
    hub: LocalHub, source: HubSource, tmp_path: Path, place: str
) -> None:
    hub.fail("missing", VOLUME, times=None, place=place)
    with pytest.raises(SampleRejectedError, match="does not exist in the source") as caught:
        fetch(source, tmp_path / "file")
    assert caught.value.reason is Reason.MISSING_UPSTREAM
    assert len(hub.requests("resolve")) == 1


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


def test_token_of_the_environment_is_sent_to_the_hub_only(
    repo: Path, source: HubSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with LocalHub(repo, "org/ct-small", token=TOKEN, gated=True) as hub:
        fetch(replace(source, endpoint=hub.endpoint, token=None), tmp_path / "file")
        assert {(r.server, r.has_token) for r in hub.requests()} == {("hub", True), ("cdn", False)}


def test_steady_outage_ends_after_bounded_attempts(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    hub.fail("unavailable", times=None)
    with pytest.raises(SourceUnavailableError, match=r"given up after 4 failures.*HTTP 503"):
        fetch(source, tmp_path / "file")
    assert len(hub.requests("resolve")) == 4


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
def test_steady_trouble_is_named(
    hub: LocalHub, source: HubSource, tmp_path: Path, kind: FaultKind, words: str
) -> None:
    hub.fail(kind, times=None, retry_after_s=0)
    with pytest.raises(SourceUnavailableError, match=words):
        fetch(source, tmp_path / "file")


def test_progress_earns_further_attempts(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    hub.fail("truncate", times=None, at_byte=60_000)
    staged = fetch(source, tmp_path / "file")
    assert staged.path.read_bytes() == (repo / VOLUME).read_bytes()
    assert len(hub.requests("body")) == 12


def test_restarting_for_ever_is_no_progress(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    described = source.describe([VOLUME], revision=None)[VOLUME]
    hub.fail("web_page", VOLUME, place="body", skip=1, times=None)
    hub.fail("reset", at_byte=300_000, times=None)
    with pytest.raises(SourceUnavailableError, match="given up after 4 failures"):
        source.fetch(described, tmp_path / "file")


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
    with pytest.raises(SourceUnavailableError, match="no name of a dataset"):
        replace(source, repo_id="org/-x-").fetch(described, tmp_path / "file")


def test_unknown_repository_is_named(source: HubSource) -> None:
    with pytest.raises(SourceAccessError, match="dataset org/other does not exist at http"):
        replace(source, repo_id="org/other", revision="main").resolve_revision()


def test_right_file_at_the_target_is_taken_over(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes((repo / VOLUME).read_bytes())
    fetch(source, tmp_path / "file")
    assert not hub.requests("resolve")


def test_damaged_file_at_the_target_is_replaced_if_it_was_staged_there(
    hub: LocalHub, source: HubSource, repo: Path, tmp_path: Path
) -> None:
    damaged = bytearray((repo / VOLUME).read_bytes())
    damaged[1234] ^= 1
    (tmp_path / "file").write_bytes(damaged)
    with pytest.raises(ForeignFileError, match="file: this was not made by medassets"):
        fetch(source, tmp_path / "file")
    assert (tmp_path / "file").read_bytes() == damaged
    (tmp_path / ".file.staged.json").write_text("{}")
    assert fetch(source, tmp_path / "file").path.read_bytes() == (repo / VOLUME).read_bytes()


def test_leftover_of_other_bytes_is_removed(source: HubSource, tmp_path: Path) -> None:
    (tmp_path / f"file.{'0' * 64}.part").write_bytes(b"old")
    fetch(source, tmp_path / "file")
    assert not list(tmp_path.glob("*.part"))


def test_callback_counts_every_byte_once(hub: LocalHub, source: HubSource, tmp_path: Path) -> None:
    seen: list[int] = []
    hub.fail("reset", at_byte=400_000)
    hub.fail("ignore_range")
    described = source.describe([VOLUME], revision=None)[VOLUME]
    source.fetch(described, tmp_path / "file", on_bytes=seen.append)
    assert sum(seen) == 700_001
    assert min(seen) == -400_000


def test_callback_ends_a_fetch_and_keeps_its_bytes(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    def stop(num_bytes: int) -> None:
        if num_bytes:
            raise InterruptedError

    described = source.describe([VOLUME], revision=None)[VOLUME]
    with pytest.raises(InterruptedError):
        source.fetch(described, tmp_path / "file", on_bytes=stop)
    assert next(tmp_path.glob("file.*.part")).stat().st_size > 0


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


@pytest.mark.parametrize("token", [f"{TOKEN}\nX-Evil: 1", f"{TOKEN} and more", f"{TOKEN}é"])
def test_unusable_token_is_refused_unseen(source: HubSource, token: str) -> None:
    with pytest.raises(SourceAccessError, match="HF_TOKEN holds a character") as caught:
        replace(source, token=token).describe([VOLUME], revision=None)
    assert TOKEN not in read_chain(caught.value)


@pytest.mark.parametrize(
    "row",
    [
        {"size": -1},
        {"size": "1"},
        {"lfs": {"oid": "../../evil", "size": 1, "pointerSize": 1}},
        {"lfs": {"oid": "A" * 64, "size": 1, "pointerSize": 1}},
        {"oid": "no git blob id", "lfs": None},
        {"lfs": "no object"},
        {"type": 7, "path": None},
    ],
)
def test_hostile_descriptions_are_no_descriptions(
    source: HubSource, monkeypatch: pytest.MonkeyPatch, row: dict[str, object]
) -> None:
    real = HubFile.describe
    monkeypatch.setattr(HubFile, "describe", lambda file: real(file) | row)
    if "path" in row:
        assert source.describe([VOLUME], revision=None) == {}
    else:
        with pytest.raises(SourceUnavailableError, match=r"no usable size|not a list of files"):
            source.describe([VOLUME], revision=None)


def test_unasked_descriptions_are_passed_over(
    source: HubSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = HubFile.describe
    monkeypatch.setattr(HubFile, "describe", lambda file: real(file) | {"path": "../evil"})
    assert source.describe([VOLUME], revision=None) == {}


@pytest.mark.parametrize("answer", [[], {"id": "org/x"}, {"sha": "../evil"}, {"sha": 3}, None])
def test_hostile_revisions_are_refused(
    source: HubSource, monkeypatch: pytest.MonkeyPatch, answer: object
) -> None:
    monkeypatch.setattr(HubHandler, "_send_info", lambda handler, _: handler.send_json(answer))
    with pytest.raises(SourceUnavailableError, match="names no commit"):
        replace(source, revision="main").resolve_revision()


def test_wait_for_another_process_can_be_ended(source: HubSource, tmp_path: Path) -> None:
    described = source.describe([VOLUME], revision=None)[VOLUME]

    def stop(_: int) -> None:
        raise InterruptedError

    with lock_file(tmp_path / ".file.lock"), pytest.raises(InterruptedError):
        source.fetch(described, tmp_path / "file", on_bytes=stop)


def test_wait_for_another_process_is_bounded(source: HubSource, tmp_path: Path) -> None:
    hasty = replace(source, policy=replace(source.policy, lock_timeout_s=0.1))
    described = source.describe([VOLUME], revision=None)[VOLUME]
    with lock_file(tmp_path / ".file.lock"), pytest.raises(LockTimeoutError, match="held this"):
        hasty.fetch(described, tmp_path / "file")


def test_source_survives_pickling(source: HubSource) -> None:
    assert pickle.loads(pickle.dumps(source)) == source


def test_source_is_made_without_the_client_library() -> None:
    code = (
        "import sys; from medassets.sources.hub import HubSource; HubSource('a/b');"
        "assert not {'huggingface_hub', 'httpx2', 'dagster'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
