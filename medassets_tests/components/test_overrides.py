from pathlib import Path

import pytest

from medassets.components.loading import LoadedDatasets, load_datasets
from medassets.components.overrides import overrides_file, read_overrides, write_overrides
from medassets.errors import ForeignFileError

TEXT = """\
type: medassets.components.VolumeDatasetComponent
attributes:
  name: scans
  source: folder
  folder: "{{ env('SCANS', '/data') }}"
---
type: medassets.components.VolumeDatasetComponent
attributes: {name: others, source: folder, folder: /others}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "declared" / "one").mkdir(parents=True)
    (tmp_path / "declared" / "one" / "defs.yaml").write_text(TEXT)
    return tmp_path / "declared"


def load(folder: Path) -> LoadedDatasets:
    return load_datasets([folder])


def test_replaced_fields_belong_to_one_dataset_and_keep_the_others(folder: Path) -> None:
    write_overrides("scans", {"seed": 3, "layout": "tree", "exclude": []})
    loaded = load(folder)
    assert loaded.problems == ()
    spec, other = (loaded.datasets[name].spec for name in ("scans", "others"))
    assert (spec.folder, getattr(spec, "seed", None)) == ("/data", 3)
    assert getattr(other, "seed", None) == 0


def test_a_wrong_field_is_named_in_the_file_that_has_it(folder: Path) -> None:
    write_overrides("scans", {"min_slices": 3, "num_workers": "many"})
    (problem,) = load(folder).problems
    assert problem.file == overrides_file("scans")
    assert (problem.line, problem.field) == (3, "num_workers")
    assert "others" in load(folder).datasets


def test_a_wrong_field_of_the_declaration_stays_named_there(folder: Path) -> None:
    write_overrides("scans", {"min_slices": 3})
    file = folder / "one" / "defs.yaml"
    file.write_text(TEXT.replace("source: folder\n", "source: folders\n", 1))
    (problem,) = load(folder).problems
    assert (problem.file, problem.line, problem.field) == (file, 4, "source")


@pytest.mark.parametrize("content", ["[1, 2]", "a: [", "a: b: c"])
def test_a_damaged_file_stops_its_dataset_only(folder: Path, content: str) -> None:
    write_overrides("scans", {})
    overrides_file("scans").write_text(content)
    loaded = load(folder)
    assert [problem.file for problem in loaded.problems] == [overrides_file("scans")]
    assert list(loaded.datasets) == ["others"]


def test_a_file_of_others_is_not_replaced() -> None:
    overrides_file("scans").parent.mkdir(parents=True)
    overrides_file("scans").write_text("seed: 1\n")
    with pytest.raises(ForeignFileError):
        write_overrides("scans", {"seed": 2})
    assert read_overrides("scans") == {"seed": 1}


def test_a_template_in_a_replaced_field_is_bounded(folder: Path) -> None:
    write_overrides("scans", {"table": "{{ 10**100000000 }}"})
    (problem,) = load(folder).problems
    assert "not allowed in a template" in problem.what
