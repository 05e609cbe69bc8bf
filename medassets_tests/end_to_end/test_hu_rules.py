"""One phantom stored three ways, each a whole dataset with its own rule, is one and the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.testing.ct_rate_tables import VolumeEntry, write_tables
from medassets.testing.nifti import encode_nifti, write_nifti
from medassets.testing.phantoms import make_affine, make_chest_phantom
from medassets.volumes.catalog.ct_rate import parse_volume_name, volume_path

pytestmark = pytest.mark.slow

SLOPE, INTERCEPT = 2.0, -1024.0
SPACING_MM = (9.0, 10.0, 12.5)
KEY = "train_1_a_1"


def lay_out(
    folder: Path, stored: np.ndarray, *, slope: float, intercept: float, **scale: Any
) -> None:
    """Write a repository of one volume; slope and intercept are those of the table."""
    shape = (stored.shape[0], stored.shape[1], stored.shape[2])
    entry = VolumeEntry(KEY, 1, 2, shape, SPACING_MM, slope=slope, intercept=intercept)
    write_tables(folder, split="train", entries=[entry])
    name = parse_volume_name(f"{KEY}.nii.gz", split="train")
    assert name is not None
    path = folder / volume_path(name, volumes_dir="dataset/{split}_fixed", split="train")
    path.parent.mkdir(parents=True)
    affine = make_affine(shape, spacing_mm=SPACING_MM)
    write_nifti(path, encode_nifti(stored, affine=affine, **scale))


def test_three_hu_rules_give_equal_arrays_for_one_phantom_stored_three_ways(
    tmp_path: Path,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
    read_members: Callable[..., dict[str, bytes]],
) -> None:
    raw = np.round((make_chest_phantom((24, 22, 14)).astype(np.float64) - INTERCEPT) / SLOPE)
    raw = raw.astype(np.int16)
    hu = (raw * SLOPE + INTERCEPT).astype(np.int16)
    rescaled = {"slope": SLOPE, "intercept": INTERCEPT}
    header = {"header_changes": {"scl_slope": SLOPE, "scl_inter": INTERCEPT}}
    # A rule that looked at what is not its own would rescale twice, or not at all.
    lay_out(tmp_path / "none", hu, **rescaled)
    lay_out(tmp_path / "table", raw, **rescaled)
    lay_out(tmp_path / "header", raw, slope=1, intercept=0, **header)
    arrays = {}
    for rule in ("none", "table", "header"):
        declare(rule, source="folder", folder=str(tmp_path / rule), hu_rule=rule)
        home = make_home(rule, rule)
        outcome = build(home)
        assert outcome.code == 0, outcome.text
        arrays[rule] = read_members(home.shards())[f"{KEY}.bin"]
    assert arrays["none"] == arrays["table"] == arrays["header"]
    assert len(set(np.frombuffer(arrays["none"], np.float16).tolist())) > 100
