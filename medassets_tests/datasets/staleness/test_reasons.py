"""Why shards are stale, for a person: what several share is said once."""

from collections.abc import Callable

import pytest

from medassets.datasets.accounts import open_books
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.staleness.reasons import Staleness, explain_stale, summarize
from medassets.datasets.workspace import Workspace
from medassets.shards.made_from import Change
from medassets.testing.ct_rate import SyntheticRepository
from medassets_tests.datasets.publishing import build

SHAPE = Change("shape", [480], [8])


def test_what_shards_share_is_said_once() -> None:
    by_settings = Staleness((SHAPE, Change("mtime_ns", 1, 2, "a")), is_alike=False)
    by_row = Staleness((Change("mtime_ns", 1, 2, "b"),), is_alike=True)
    found = {f"train-{n:06d}": by_settings for n in range(5)} | {"valid-000000": by_row}
    assert list(summarize(found)) == [
        "shape was [480], is [8] (train-000000, train-000001, train-000002 and 2 more)",
        "b: mtime_ns was 1, is 2 (valid-000000)",
    ]


def test_many_reasons_are_cut() -> None:
    found = {
        f"train-{n:06d}": Staleness((Change("mtime_ns", 1, 2, f"a{n}"),), is_alike=True)
        for n in range(12)
    }
    *_, last = summarize(found)
    assert last == "2 other reasons (--json lists all)"


def test_many_changes_of_a_shard_are_cut() -> None:
    changes = tuple(Change("mtime_ns", 1, 2, f"a{n}") for n in range(9))
    assert Staleness(changes, is_alike=True).lines()[-1] == "and 6 more changes"


def test_shards_that_are_not_on_disk_have_no_reason(
    planned: Workspace, open_folder: Callable[..., Workspace], repository: SyntheticRepository
) -> None:
    build(planned, "train-000000")
    changed = open_folder(repository.folder, min_slices=3)
    found = explain_stale(changed, open_books(changed), planned.read_plan().partitions)
    assert list(found) == ["train-000000"]
    assert found["train-000000"].is_alike
    assert found["train-000000"].lines() == ["min_slices was 2, is 3"]


def test_of_many_stale_shards_only_the_first_name_their_rows(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("medassets.datasets.staleness.reasons._MOST_WITH_ROWS", 0)
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=1))
    build(workspace)
    publish_catalog(workspace.paths, draft_catalog(workspace, limit=2))
    (found,) = explain_stale(workspace, open_books(workspace), ["train-000000"]).values()
    assert found.is_alike
    assert found.lines() == ["rows of it changed"]
