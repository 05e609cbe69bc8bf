"""Missing files: a source that is away, and files that were deleted."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.datasets.accounts import open_books
from medassets.datasets.automation.attempts import Attempts, Tries, name_item
from medassets.datasets.automation.wanted import list_due, look_at_disk
from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.status import Recorded, find_transient_rejections, shard_states
from medassets.datasets.upstream.outages import find_outage, find_returned, has_content
from medassets.datasets.workspace import Workspace
from medassets.errors import SourceUnavailableError, TooManyRejectedError
from medassets.samples import StagedFile
from medassets.shards.files import read_head, read_whole_record
from medassets.shards.record import ShardRecord
from medassets.sources.base import RemoteFile
from medassets.sources.folder import FolderSource

KEY = "train-000000"
TRAIN = "dataset/train_fixed"
NOW = 1000.0


@pytest.fixture
def planned(open_folder: Callable[..., Workspace], own_repository: Path) -> Workspace:
    """A catalogued folder whose files a test may take away; one rejected sample of a shard is too many."""
    workspace = open_folder(own_repository, max_rejected_share=0.4)
    publish_catalog(workspace.paths, draft_catalog(workspace))
    return workspace


def files(workspace: Workspace, key: str = KEY) -> list[Path]:
    return [workspace.source_folder / item.path for item in workspace.read_partition(key)]


def outage(workspace: Workspace) -> str:
    return find_outage(workspace, KEY, workspace.read_partition(KEY))


def build(workspace: Workspace) -> ShardRecord:
    return build_shard(workspace, workspace.paths, plan_shard(workspace, KEY, num_workers=1)).record


def lose_file(workspace: Workspace) -> Path:
    """Build a shard without its second file, which was deleted; return the file, kept elsewhere."""
    file = files(workspace)[1]
    file.rename(file.with_suffix(".kept"))
    assert [(r.key, r.reason) for r in build(workspace).rejected] == [
        ("train_1_a_2", "missing_upstream")
    ]
    return file


def bring_back(file: Path) -> None:
    file.with_suffix(".kept").rename(file)


def due(workspace: Workspace, attempts: Attempts | None = None, *, now: float = NOW) -> bool:
    return KEY in list_due(look_at_disk(workspace), attempts or Attempts(), now=now)


def test_files_whose_neighbours_are_there_were_deleted(planned: Workspace) -> None:
    shutil.rmtree(files(planned)[0].parent)
    assert outage(planned) == ""
    shutil.rmtree(files(planned)[0].parent.parent)
    assert outage(planned) == ""


def test_a_whole_shard_of_files_was_deleted_where_those_of_the_next_are_there(
    planned: Workspace,
) -> None:
    for file in files(planned):
        file.unlink(missing_ok=True)
    assert outage(planned) == ""


@pytest.mark.parametrize("left", ["nothing", "lost+found", ".keep"])
def test_an_empty_folder_in_place_of_a_disk_is_an_outage(planned: Workspace, left: str) -> None:
    shutil.rmtree(planned.source_folder / TRAIN)
    (planned.source_folder / TRAIN / (left if left != "nothing" else "")).mkdir(parents=True)
    assert (planned.source_folder / "dataset").is_dir()
    assert TRAIN in outage(planned)
    assert has_content(planned.source_folder)
    assert not has_content(planned.source_folder / TRAIN)


@pytest.mark.parametrize("gone", ["", TRAIN])
def test_a_folder_that_vanished_with_all_files_is_an_outage(planned: Workspace, gone: str) -> None:
    shutil.rmtree(planned.source_folder / gone)
    assert f"nothing else in {planned.source_folder / TRAIN}" in outage(planned)


def test_a_copy_that_was_never_whole_answers(planned: Workspace) -> None:
    last = list(planned.read_plan().splits()["train"])[-1]
    kept = {file.parents[1] for file in files(planned, last)}
    for patient in (planned.source_folder / TRAIN).iterdir():
        if patient not in kept:
            shutil.rmtree(patient)
    assert kept
    assert outage(planned) == ""


def test_a_source_that_goes_away_before_the_last_sample_drops_none(
    planned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch, folder = FolderSource.fetch, planned.source_folder
    last = planned.read_partition(KEY)[-1].path
    away = folder.with_name("away")

    def fetch_or_lose(
        self: FolderSource, file: RemoteFile, *args: object, **kwargs: object
    ) -> StagedFile:
        if file.path == last and folder.exists():
            folder.rename(away)
        return fetch(self, file, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    with monkeypatch.context() as patch:
        patch.setattr(FolderSource, "fetch", fetch_or_lose)
        with pytest.raises(SourceUnavailableError, match=r"train-000000: .*an outage"):
            build(planned)
    assert not planned.paths.shard(KEY).exists()
    away.rename(folder)
    result = build_shard(planned, planned.paths, plan_shard(planned, KEY))
    assert (result.resumed, result.record.num_samples, result.record.rejected) == (2, 3, ())


def test_a_file_that_is_back_when_it_is_looked_for_is_not_rejected(
    planned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = plan_shard(planned, KEY)
    describe = FolderSource.describe

    def describe_nothing_once(*_: object, **__: object) -> dict[str, RemoteFile]:
        monkeypatch.setattr(FolderSource, "describe", describe)
        return {}

    monkeypatch.setattr(FolderSource, "describe", describe_nothing_once)
    with pytest.raises(SourceUnavailableError, match="it is there again"):
        work.stage(work.items[:1])


def test_a_shard_without_a_deleted_file_is_made_again_when_the_file_is_back(
    planned: Workspace,
) -> None:
    file = lose_file(planned)
    head = read_head(planned.paths.record(KEY))
    assert head is not None
    assert head.has_rejected
    assert not due(planned)
    assert plan_shard(planned, KEY).force is False
    books = open_books(planned)
    states = shard_states(planned, Recorded([KEY], []), books=books)
    assert find_transient_rejections(planned, books, states) == {}
    bring_back(file)
    assert find_transient_rejections(planned, books, states) == {KEY: {"missing_upstream": 1}}
    # It is not looked for at each tick.
    assert not due(planned, now=NOW + 599)
    assert due(planned, now=NOW + 600)
    assert due(planned, now=NOW - 1e6)
    record = build(planned)
    assert (record.num_samples, record.rejected) == (3, ())
    assert not due(planned, now=NOW + 1e6)


def test_a_sample_that_comes_back_costs_no_other(planned: Workspace) -> None:
    bring_back(lose_file(planned))
    files(planned)[0].unlink()
    before = planned.paths.shard(KEY).read_bytes()
    assert not due(planned, now=NOW + 1e6)
    assert build(planned).num_samples == 2
    assert planned.paths.shard(KEY).read_bytes() == before
    assert read_whole_record(planned.paths, KEY) is not None


def test_a_shard_left_failed_for_missing_files_is_due_when_they_are_back(
    planned: Workspace,
) -> None:
    lost = files(planned)[:2]
    for file in lost:
        file.rename(file.with_suffix(".kept"))
    with pytest.raises(TooManyRejectedError, match="missing_upstream 2"):
        build(planned)
    plan = look_at_disk(planned).today[KEY]
    left = Attempts({name_item("shards", KEY): Tries(plan, NOW, None, failures=4)})
    assert not due(planned, left, now=NOW)
    bring_back(lost[0])
    assert due(planned, left, now=NOW)


def test_a_file_that_a_revision_lacks_is_not_looked_for_again(
    planned: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = lose_file(planned)
    record = read_whole_record(planned.paths, KEY)
    assert record is not None
    assert find_returned(planned, KEY, record.rejected) == []
    bring_back(file)
    assert find_returned(planned, KEY, record.rejected) == ["train_1_a_2"]
    monkeypatch.setattr(FolderSource, "pinned", True)
    assert find_returned(planned, KEY, record.rejected) == []
