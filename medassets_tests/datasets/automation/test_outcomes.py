"""How a try that ends is noted."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.datasets.automation.attempts import Attempts, AttemptsLog, Tries
from medassets.datasets.automation.outcomes import (
    Try,
    note_success,
    noting_trouble,
    require_source,
)
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import (
    CatalogError,
    DecoderUnavailableError,
    DiskSpaceError,
    MedassetsError,
    SourceAccessError,
    SourceUnavailableError,
    SpecError,
    TooManyRejectedError,
)
from medassets.specs import VolumeDatasetSpec
from medassets.testing.hub import LocalHub

ITEM = "shards/train-000000"
Open = Callable[..., Workspace]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A folder that is there."""
    (tmp_path / "source" / "dataset").mkdir(parents=True)
    return tmp_path / "source"


def stop(workspace: Workspace, error: BaseException, *, begins: bool = False) -> Attempts:
    """Let a try end with an error; return what was noted."""
    tried = Try(workspace, ITEM, "plan", "run")
    with pytest.raises(type(error)), noting_trouble(tried, begins=begins):
        raise error
    return AttemptsLog(workspace.paths).read()


@pytest.mark.parametrize(
    "error", [TooManyRejectedError("bad"), CatalogError("bad"), OSError("bad"), MemoryError()]
)
def test_the_trouble_of_one_item_counts_against_it(
    open_folder: Open, source: Path, error: Exception
) -> None:
    found = stop(open_folder(source, automation="on"), error)
    assert found.away is None
    assert found.tries[ITEM].failures == 1
    assert found.tries[ITEM].error == (str(error) or "MemoryError")


@pytest.mark.parametrize(
    "error",
    [
        SourceAccessError("no"),
        DiskSpaceError("full"),
        SpecError(field="device", what="no GPU"),
        DecoderUnavailableError("no codec"),
    ],
)
def test_a_trouble_that_every_item_would_meet_counts_against_none(
    open_folder: Open, source: Path, error: MedassetsError
) -> None:
    found = stop(open_folder(source, automation="on"), error)
    assert found.away is not None
    assert found.away.error == str(error)
    assert found.tries[ITEM].failures == 0


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_folder_that_is_not_mounted_is_a_source_that_is_away(
    open_folder: Open, source: Path, is_empty: bool
) -> None:
    workspace = open_folder(source, automation="on")
    shutil.rmtree(source / "dataset" if is_empty else source)
    found = stop(workspace, TooManyRejectedError("all files are missing"))
    assert found.away is not None
    assert found.tries[ITEM].failures == 0


def test_a_disk_below_the_folder_that_is_not_mounted_counts_against_no_shard(
    open_folder: Open, own_repository: Path
) -> None:
    workspace = open_folder(own_repository, automation="on")
    publish_catalog(workspace.paths, draft_catalog(workspace))
    error = TooManyRejectedError("all files are missing")
    assert stop(workspace, error).tries[ITEM].failures == 1
    shutil.rmtree(own_repository / "dataset" / "train_fixed")
    (own_repository / "dataset" / "train_fixed" / "lost+found").mkdir(parents=True)
    found = stop(workspace, error)
    assert found.away is not None
    assert found.tries[ITEM].failures == 1


@pytest.mark.parametrize("revision", ["main", "0" * 40])
def test_a_hub_that_does_not_answer_is_away_and_one_that_answers_is_not(
    home: Path, source: Path, revision: str
) -> None:
    (source / "dataset" / "table.csv").write_text("a\n")
    error = SourceUnavailableError("train_1.nii.gz: no answer")
    with LocalHub(source, "org/ct") as hub:
        spec = VolumeDatasetSpec(
            name="tiny",
            repo_id="org/ct",
            endpoint=hub.endpoint,
            revision=revision,
            automation="on",
            hu_rule="none",
        )
        workspace = open_workspace(VolumeDataset(spec))
        found = stop(workspace, error)
        assert (found.away, found.tries[ITEM].failures) == (None, 1)
    found = stop(workspace, error)
    assert found.away is not None
    assert found.tries[ITEM].failures == 1


def test_a_user_who_stops_a_run_counts_against_no_item(open_folder: Open, source: Path) -> None:
    found = stop(open_folder(source, automation="on"), KeyboardInterrupt(), begins=True)
    assert found.away is None
    assert (found.tries[ITEM].failures, found.tries[ITEM].begun) == (0, 0)


def test_success_forgets_what_was_tried(open_folder: Open, source: Path) -> None:
    workspace = open_folder(source, automation="on")
    stop(workspace, TooManyRejectedError("bad"))
    tried = Try(workspace, ITEM, "plan", "run")
    with noting_trouble(tried, begins=True):
        pass
    begun = AttemptsLog(workspace.paths).read().tries[ITEM]
    assert begun == Tries("plan", begun.last_at, begun.next_at, failures=1, begun=1, run="run")
    note_success(tried)
    assert AttemptsLog(workspace.paths).read() == Attempts()


def test_only_runs_of_automation_stop_while_the_source_is_away(
    open_folder: Open, source: Path
) -> None:
    workspace = open_folder(source, automation="on")
    require_source(Try(workspace, ITEM, "plan", "run", is_automated=True))
    stop(workspace, DiskSpaceError("full"))
    require_source(Try(workspace, ITEM, "plan", "run"))
    with pytest.raises(SourceUnavailableError, match=r"train-000000: not tried.* dataset: full"):
        require_source(Try(workspace, ITEM, "plan", "run", is_automated=True))


def test_nothing_is_noted_of_a_dataset_that_is_not_automated(
    open_folder: Open, source: Path
) -> None:
    workspace = open_folder(source)
    assert stop(workspace, TooManyRejectedError("bad"), begins=True) == Attempts()
    note_success(Try(workspace, ITEM, "plan", "run"), written="x")
    assert not workspace.paths.attempts.exists()
