"""What voxels mean, by the command: one orientation per dataset, HU by the rule that was declared."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.testing.ct_rate import make_ct_rate_repository
from medassets.testing.ct_rate_tables import VolumeEntry, write_tables
from medassets.testing.nifti import encode_nifti, write_nifti
from medassets.testing.phantoms import make_affine, make_chest_phantom
from medassets_tests import shared_cases

pytestmark = pytest.mark.slow

SHAPE, SPACING_MM, KEY = (24, 22, 14), (9.0, 10.0, 12.5), "train_1_a_1"
PLACE = f"dataset/train_fixed/train_1/train_1_a/{KEY}.nii.gz"


def lay_out(folder: Path, content: bytes | Path, **cells: Any) -> Path:
    """Write a repository of one volume."""
    entry = VolumeEntry(KEY, 1, 2, SHAPE, SPACING_MM)
    write_tables(folder, split="train", entries=[VolumeEntry(**(vars(entry) | cells))])
    if isinstance(content, bytes):
        write_nifti(folder / PLACE, content)
    else:
        (folder / PLACE).parent.mkdir(parents=True)
        shutil.copyfile(content, folder / PLACE)
    return folder


def test_a_mix_of_orientations_is_refused_until_it_is_turned_alike(
    tmp_path: Path,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    folder = tmp_path / "source"
    sides = ((20, 18, 12), (24, 22, 16))
    make_ct_rate_repository(
        folder,
        num_patients=2,
        splits=("train",),
        special_rows=False,
        axis_codes=("LPS", "RAS"),
        shape_range=sides,
    )
    home = make_home("mix")
    declare(source="folder", folder=str(folder))
    outcome = build(home)
    assert outcome.code == 1
    assert "several orientations (LPS 2, RAS 2)" in outcome.text
    assert "`orientation: LPS` turns all of them alike" in outcome.text
    assert not home.paths.manifest("train").exists()
    declare(source="folder", folder=str(folder), orientation="LPS")
    assert build(home).code == 0
    assert home.manifest()["orientations"] == {"LPS": 4}
    declare(source="folder", folder=str(folder), expected_orientation="LPS", max_rejected_share=1.0)
    expected = make_home("expected")
    assert build(expected).code == 0
    assert expected.rejected() == dict.fromkeys(
        ("train_2_a_1", "train_2_a_2"), "unexpected_orientation"
    )


def test_a_file_without_transform_is_counted_and_never_turned(
    tmp_path: Path,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    path = shared_cases.FOLDER / "headers" / "no_transform.nii.gz"
    if path.is_file():
        lay_out(tmp_path / "source", path, shape=(40, 36, 30), spacing_mm=(1.5, 1.5, 3.0))
    else:
        changes = {"sform_code": 0, "qform_code": 0}
        affine = make_affine(SHAPE, spacing_mm=SPACING_MM)
        hu = make_chest_phantom(SHAPE)
        lay_out(tmp_path / "source", encode_nifti(hu, affine=affine, header_changes=changes))
    place = {"source": "folder", "folder": str(tmp_path / "source"), "max_rejected_share": 1.0}
    declare(**place)
    stored = make_home("as_stored")
    assert build(stored).code == 0
    assert stored.manifest()["orientations"] == {"none stated": 1}
    for fields in ({"orientation": "RAS"}, {"expected_orientation": "RAS"}):
        declare(**place, **fields)
        asked = make_home("-".join(fields))
        build(asked)
        assert asked.rejected() == {KEY: "orientation_missing"}


def test_a_table_that_scales_blank_headers_asks_for_the_rule(
    tmp_path: Path,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    path = shared_cases.FOLDER / "hu" / "stored_plus_1024_blank_header.nii.gz"
    if path.is_file():
        cells = {"shape": (122, 101, 30), "spacing_mm": (3.0, 3.0, 3.0)}
        lay_out(tmp_path / "source", path, slope=1, intercept=-1024, **cells)
    else:
        stored = np.maximum(make_chest_phantom(SHAPE).astype(np.int32) + 1024, 0)
        content = encode_nifti(stored.astype(np.int16), affine=np.eye(4))
        lay_out(tmp_path / "source", content, slope=1, intercept=-1024)
    place = {"source": "folder", "folder": str(tmp_path / "source"), "max_rejected_share": 1.0}
    declare(**place, hu_rule=None)
    home = make_home("asks")
    outcome = build(home)
    assert outcome.code != 0
    assert "hu_rule: the tables of 1 of 1 volumes state a scaling" in outcome.text
    assert not home.shards()
    for rule, rejected in (("none", {KEY: "hu_implausible"}), ("table", {})):
        declare(**place, hu_rule=rule)
        home = make_home(rule)
        build(home)
        assert home.rejected() == rejected
