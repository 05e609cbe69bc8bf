"""Windows from YAML alone: every command, the demo, and the export, in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.testing.ct_rate import SyntheticRepository

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]


@pytest.fixture
def declare_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that declares a dataset of windows and returns its file."""
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))

    def write(name: str = "masks", **changes: Any) -> Path:
        fields = {
            "name": name,
            "source": "folder",
            "samples_per_shard": 4,
            "max_excluded_share": 1.0,
        }
        fields |= {
            **({} if changes.get("source") == "processed" else {"hu_rule": "none"}),
            **changes,
        }
        lines = ["type: medassets.components.CTWindowDatasetComponent", "attributes:"]
        lines += [f"  {field}: {json.dumps(value)}" for field, value in fields.items()]
        file = tmp_path / "declared" / name / "defs.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
        assert len(lines) <= 25
        return file

    return write


def test_windows_are_built_checked_exported_and_kept(
    medassets: Medassets,
    declare_windows: Callable[..., Path],
    repository: SyntheticRepository,
    home: Path,
) -> None:
    custom = {"name": "air", "width": 200, "level": -1000}
    declare_windows(folder=str(repository.folder), windows=["lung", custom], num_workers=1)
    assert medassets("plan", "masks", "--json").document["splits"]["train"]["num_samples"] == 7
    built = medassets("build", "masks", "--json").document
    assert (len(built["built"]), built["num_samples"], built["failed"]) == (4, 14, {})
    assert medassets("status", "masks", "--json").document["counts"] == {"done": 4}
    assert medassets("verify", "masks", "--json").document["damaged"] == []
    shard = home / "data" / "masks" / "windows" / "train" / "shard-000000.tar"
    content = shard.read_bytes()
    seen = medassets("inspect", str(shard), "--json").document["samples"][0]["members"]
    assert list(seen) == ["lung.bits", "lung.rank", "air.bits", "air.rank", "json"]
    assert seen["lung.rank"]["value"].endswith(" points")
    assert "0 shards built, 4 kept" in medassets("build", "masks").out
    shard.unlink()
    assert medassets("status", "masks", "--json").document["counts"] == {"done": 3, "lost": 1}
    assert medassets("retry", "masks", "--json").document["built"] == ["train-000000"]
    assert shard.read_bytes() == content
    exported = medassets("export", "masks", "--format", "sparse_npz", "--json").document
    assert (exported["written"], exported["format"]) == (14, "sparse_npz")
    assert Path(exported["index"]).name == "metadata.csv"
    one = ("export", "masks", "--format", "sparse_npz", "--window", "air", "--json")
    assert medassets(*one).document["out"] == str(home / "exports" / "masks" / "sparse_npz-air")
    assert len(list((home / "exports" / "masks" / "sparse_npz-air").rglob("*.npz"))) == 14
    assert "it has lung, air" in medassets("export", "masks", "--window", "bone").err


def test_a_change_of_windows_makes_shards_stale(
    medassets: Medassets, declare_windows: Callable[..., Path], repository: SyntheticRepository
) -> None:
    declare_windows(folder=str(repository.folder), windows=["lung"], splits=["valid"])
    assert medassets("build", "masks").code == 0
    declare_windows(folder=str(repository.folder), windows=["bone"], splits=["valid"])
    assert medassets("status", "masks", "--json").document["counts"] == {"stale": 2}
    assert "2 shards built" in medassets("build", "masks").out


def test_the_default_export_is_that_of_the_datasets_kind(
    medassets: Medassets, declare_windows: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "processed" / "one" / "windows"
    folder.mkdir(parents=True)
    cube = np.zeros((512, 512, 512), np.uint8)
    cube[100:140, 200:300, 17] = 1
    np.save(folder / "brain_w80_l35.npy", cube)
    declare_windows(folder=str(tmp_path), source="processed", windows=["brain"], splits=["all"])
    assert medassets("build", "masks").code == 0
    exported = medassets("export", "masks", "--out", str(tmp_path / "out"), "--json").document
    assert (exported["format"], exported["written"]) == ("npy", 1)
    again = tmp_path / "out" / "masks" / "processed" / "one" / "windows" / "brain_w80_l35.npy"
    assert again.read_bytes() == (folder / "brain_w80_l35.npy").read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"windows": ["liver"]}, "windows: expected one of lung, bone, soft_tissue, brain"),
        ({"windows": []}, "windows: expected 1 to 32 different names"),
        (
            {"windows": [{"name": "lung", "width": 1600, "level": -600}]},
            "windows: 'lung' means width 1500, level -600; give a window of 1600, -600 another name",
        ),
        ({"windows": ["lung", "lung"]}, "windows: expected 1 to 32 different names"),
        ({"windows": "lung"}, "windows: expected a list such as [lung]"),
        ({"windows": [{"name": "a", "width": 10}]}, "windows: expected a name or {name, width"),
        (
            {"windows": [{"name": "a", "width": 100, "level": -1950}]},
            "windows: a reaches from -2000 to -1900 HU and so holds -2000, the value of padding",
        ),
        (
            {"windows": [{"name": "a", "width": 0, "level": 1}]},
            "windows: a: expected a width above",
        ),
        ({"windows": [{"name": "A b", "width": 9, "level": 1}]}, "windows: expected a name of up"),
        ({"source": "processed"}, "splits: source processed has one split"),
        ({"source": "processed", "folder": "", "splits": ["a"]}, "folder: source processed needs"),
        ({"compression": "zip"}, "compression: expected one of none, auto"),
        ({"hu_rule": "x"}, "hu_rule: expected one of none, table, header"),
    ],
    ids=range(13),
)
def test_a_mistake_is_named_with_its_field(
    changes: dict[str, Any],
    message: str,
    medassets: Medassets,
    declare_windows: Callable[..., Path],
) -> None:
    declare_windows(**{"folder": "/data", **changes})
    ran = medassets("validate")
    assert ran.code == 1
    assert message in ran.out + ran.err


def test_the_demo_of_windows_is_built(medassets: Medassets) -> None:
    ran = medassets("demo", "demo_windows", "--num-patients", "1")
    assert "demo_windows: 2 shards built (4 samples, " in ran.out
    assert medassets("verify", "demo_windows", "--json").document["damaged"] == []
