import json
from collections.abc import Callable
from pathlib import Path

import pytest

from medassets.cli.build_options.output_folder import place_output
from medassets.cli.session import Session
from medassets.datasets.workspace import Workspace
from medassets.errors import UsageError


@pytest.fixture
def lung_workspace(lungs: Callable[..., Path]) -> Workspace:
    return Session().workspace("lungs")


def test_one_split_is_directly_in_the_folder(lung_workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    assert place_output(lung_workspace, str(out), ["valid"]) == {"valid": out}
    assert lung_workspace.paths.split_folder("valid").resolve() == out
    assert place_output(lung_workspace, str(out), ["valid"]) == {"valid": out}


def test_several_splits_have_folders_in_it(lung_workspace: Workspace, tmp_path: Path) -> None:
    places = place_output(lung_workspace, str(tmp_path / "out"), [])
    assert places == {"train": tmp_path / "out/train", "valid": tmp_path / "out/valid"}
    for split, place in places.items():
        assert lung_workspace.paths.split_folder(split).readlink() == place


def test_a_split_that_is_elsewhere_stays_there(lung_workspace: Workspace, tmp_path: Path) -> None:
    place_output(lung_workspace, str(tmp_path / "one"), ["valid"])
    with pytest.raises(UsageError, match=f"valid are in {tmp_path}/one already"):
        place_output(lung_workspace, str(tmp_path / "two"), ["valid"])
    train = lung_workspace.paths.split_folder("train")
    train.mkdir(parents=True)
    (train / "shard-000000.tar").touch()
    with pytest.raises(UsageError, match=r"train is built in .* already"):
        place_output(lung_workspace, str(tmp_path / "two"), ["train"])
    assert not (tmp_path / "two").exists()


def test_a_folder_of_others_is_refused(lung_workspace: Workspace, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").touch()
    for place in (out, out / "thesis.txt"):
        with pytest.raises(UsageError, match="--output-dir"):
            place_output(lung_workspace, str(place), ["valid"])
    (out / "manifest.json").write_text(json.dumps({"dataset": "lungs", "split": "valid"}))
    place_output(lung_workspace, str(out), ["valid"])
    with pytest.raises(UsageError, match="URL"):
        place_output(lung_workspace, "s3://bucket/out", ["train"])
