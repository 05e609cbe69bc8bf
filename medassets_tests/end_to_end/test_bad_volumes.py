"""Volumes with one fault each, in one dataset: right, or rejected for their own reason."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.specs import VolumeDatasetSpec
from medassets.testing.ct_rate import make_ct_rate_repository
from medassets_tests.bad_volumes import BAD_VOLUMES, pick_bad_volumes

pytestmark = pytest.mark.slow

SIDES = ((20, 18, 12), (26, 24, 16))


def test_bad_volumes_are_right_or_rejected_and_hurt_no_other_sample(
    tmp_path: Path,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
    read_members: Callable[..., dict[str, bytes]],
    interpolate: Callable[..., np.ndarray],
    ulps: Callable[..., np.ndarray],
) -> None:
    many = {
        "splits": ["train"],
        "samples_per_shard": 100,
        "max_rejected_share": 0.9,
        "max_excluded_share": 1.0,
    }
    good = make_ct_rate_repository(
        tmp_path / "good", num_patients=2, splits=("train",), shape_range=SIDES
    )
    declare("good", source="folder", folder=str(good.folder), **many)
    bad = make_ct_rate_repository(
        tmp_path / "bad",
        num_patients=2,
        splits=("train",),
        shape_range=SIDES,
        special_volumes=tuple(BAD_VOLUMES.values()),
    )
    declare("bad", source="folder", folder=str(bad.folder), **many)
    homes = {name: make_home(name, name) for name in ("good", "bad")}
    for home in homes.values():
        outcome = build(home)
        assert outcome.code == 0, outcome.text

    faults = [v for v in bad.volumes if v.key not in {g.key for g in good.volumes}]
    assert len(faults) == len(BAD_VOLUMES)
    expected = {v.key: v.reason for v in faults if v.reason is not None}
    assert homes["bad"].rejected() == expected
    assert len(set(expected.values())) >= 6
    manifest = homes["bad"].manifest()
    listed = {r["key"]: r["reason"] for shard in manifest["shards"] for r in shard["rejected"]}
    assert listed == expected
    assert manifest["total_samples"] == len(bad.keys("train"))
    assert manifest["excluded"] == {"no_chest": 1, "spacing_missing": 1}

    made = read_members(homes["bad"].contents())
    for name, data in read_members(homes["good"].contents()).items():
        assert made[name] == data, name

    preset = VolumeDatasetSpec(
        name="bad",
        source="folder",
        folder="/x",
        target_spacing_mm=(4.0, 4.0, 8.0),
        target_shape=(24, 20, 12),
    ).preset()
    for item in (v for v in faults if v.reason is None):
        image = nib.Nifti1Image.from_filename(bad.folder / item.path)
        facts = json.loads(made[f"{item.key}.json"])
        voxels = np.frombuffer(made[f"{item.key}.bin"], np.float16).reshape(preset.shape)
        oracle = interpolate(image.get_fdata(), facts["geometry"]["source"]["spacing_mm"], preset)
        steps = ulps(voxels, oracle.astype(np.float16))
        assert steps.max() <= 1, item.key
        # On a grid of so few voxels, rounding to nearest may tip in a handful.
        assert (steps == 0).mean() >= 0.999, item.key


def test_too_many_bad_volumes_publish_nothing_and_name_the_reasons(
    tmp_path: Path,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    bad = make_ct_rate_repository(
        tmp_path / "bad",
        num_patients=1,
        splits=("train",),
        shape_range=SIDES,
        special_volumes=pick_bad_volumes("truncated_gzip", "constant"),
    )
    fields = {"source": "folder", "folder": str(bad.folder), "samples_per_shard": 100}
    declare(**fields, max_rejected_share=0.4, max_excluded_share=1.0)
    home = make_home("many")
    outcome = build(home)
    assert outcome.code == 1, outcome.text
    assert "corrupt_gzip 1" in outcome.text
    assert "max_rejected_share = 0.4" in outcome.text
    assert home.shards() == {}
    declare(**fields, max_rejected_share=0.5, max_excluded_share=1.0)
    assert build(home).code == 0
    assert len(home.shards()) == 1


@pytest.mark.parametrize("fault", ["truncated_gzip"])
def test_a_bad_volume_from_a_hub_is_rejected_and_leaves_no_staged_file(
    fault: str,
    tmp_path: Path,
    declare: Callable[..., None],
    make_home: Callable[..., Any],
    build: Callable[..., Any],
) -> None:
    from medassets.testing.hub import LocalHub

    bad = make_ct_rate_repository(
        tmp_path / "bad",
        num_patients=1,
        splits=("train",),
        shape_range=SIDES,
        special_volumes=pick_bad_volumes(fault),
    )
    with LocalHub(bad.folder, "org/bad") as hub:
        declare(repo_id="org/bad", endpoint=hub.endpoint)
        home = make_home("bad")
        outcome = build(home)
    assert outcome.code == 0, outcome.text
    assert list(home.rejected().values()) == ["corrupt_gzip"]
    assert not any(path.startswith("staging/") for path in home.contents())
