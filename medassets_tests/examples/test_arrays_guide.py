"""What the pages say of NPZ folders and existing WebDatasets, done as they say it."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from medassets.cli.main import run
from medassets.components.loading import load_datasets
from medassets.testing.npz_tree import SyntheticTree, make_npz_tree

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs" / "arrays.md"


def iter_declarations() -> Iterator[Any]:
    for block in re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL):
        document = yaml.safe_load(block)
        assert document["attributes"]["source"] in ("npz", "webdataset")
        yield pytest.param(block, id=document["attributes"]["name"])


@pytest.mark.parametrize("block", list(iter_declarations()))
def test_every_declaration_of_arrays_in_the_guide_loads(block: str, tmp_path: Path) -> None:
    folder = tmp_path / "it"
    folder.mkdir()
    (folder / "defs.yaml").write_text(block)
    loaded = load_datasets([tmp_path])
    assert not loaded.problems
    assert len(loaded.datasets) == 1


@pytest.fixture
def tree(tmp_path: Path) -> SyntheticTree:
    return make_npz_tree(tmp_path / "data", num_volumes=6, shape=(9, 10, 11))


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that writes a declaration."""
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "defs"))

    def declare_it(name: str, **attributes: Any) -> None:
        kind = "medassets.components.VolumeDatasetComponent"
        document = {"type": kind, "attributes": {"name": name, **attributes}}
        file = tmp_path / "defs" / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        file.write_text(yaml.safe_dump(document))

    return declare_it


@pytest.mark.slow
def test_the_steps_of_the_guide_lead_from_npz_to_preprocessed_shards(
    tree: SyntheticTree,
    declare: Callable[..., None],
    home: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    declare("my_npz", **tree.fields(delete_sources=True, samples_per_shard=2))
    small = {"target_shape": [12, 12, 8], "target_spacing_mm": [1.0, 1.0, 2.0]}
    made = home / "data" / "my_npz" / "train"
    declare(
        "ct_again",
        source="webdataset",
        shards=str(made.parent / "{split}" / "shard-*.tar"),
        splits=["train"],
        preprocessing="ct_clip",
        hu_rule="table",
        **small,
    )

    def left() -> int:
        return sum(tree.place(study).exists() for study in tree.paths)

    assert run(["plan", "my_npz"]) == 0
    assert "peak: " in capsys.readouterr().out
    assert run(["build", "my_npz", "--limit", "4"]) == 0
    assert run(["reclaim", "my_npz"]) == 0
    assert "4 sources would be deleted" in capsys.readouterr().out
    assert left() == 6
    assert run(["build", "my_npz", "--delete-sources", "--yes"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("0 sources kept")
    assert left() == 0
    assert run(["verify", "my_npz"]) == 0
    assert run(["inspect", str(made / "shard-000000.tar")]) == 0
    assert "fields: {volume: bin, labels: cls, text: txt, json: json}" in capsys.readouterr().out
    assert run(["build", "ct_again"]) == 0
    again = home / "data" / "ct_again" / "train" / "manifest.json"
    pattern = str(made / "shard-{000000..000002}.tar")
    assert (
        run(
            [
                "verify",
                *("--original-pattern", pattern),
                *("--preprocessed-pattern", str(again)),
                *("--num-samples", "4"),
            ]
        )
        == 0
    )
