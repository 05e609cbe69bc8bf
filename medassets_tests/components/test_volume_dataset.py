"""The component is the spec, and every shipped declaration loads."""

from dataclasses import fields
from pathlib import Path

import dagster as dg
import pytest

from medassets import components
from medassets.components.loading import load_datasets
from medassets.components.volume_dataset import VolumeDatasetComponent
from medassets.definitions import build_definitions
from medassets.specs import VolumeDatasetSpec

SHIPPED = Path(components.__file__).parents[1] / "defs"


def test_the_component_has_the_fields_of_the_spec_and_no_other() -> None:
    ours = {field.name: field.default for field in fields(VolumeDatasetComponent)}
    assert ours == {field.name: field.default for field in fields(VolumeDatasetSpec)}


@pytest.mark.parametrize("dataset", ["ct_rate", "demo_ct"])
def test_a_shipped_declaration_loads_by_itself(dataset: str) -> None:
    loaded = load_datasets([SHIPPED / dataset])
    assert loaded.problems == ()
    assert list(loaded.datasets) == [dataset]
    stages = {key.path[1] for key in build_definitions(loaded).resolve_all_asset_keys()}
    assert stages == {"catalog", "raw_volumes", "shards", "manifest", "summary"}


def test_every_shipped_declaration_is_tested() -> None:
    shipped = {file.parent.name for file in SHIPPED.rglob("*.yaml")}
    assert shipped == {"ct_rate", "demo_ct", "clip4mc", "demo_video", "demo_windows"}


def test_ct_rate_is_declared_as_published() -> None:
    spec = load_datasets([SHIPPED / "ct_rate"]).datasets["ct_rate"].spec
    assert isinstance(spec, VolumeDatasetSpec)
    assert (spec.repo_id, spec.splits) == ("ibrahimhamamci/CT-RATE", ("train", "valid"))
    assert (spec.hu_rule, spec.samples_per_shard) == ("none", 128)
    assert spec.preset().shape == (480, 480, 240)


def test_assets_of_a_dataset_share_its_name_as_group_and_prefix() -> None:
    definitions = build_definitions(load_datasets([SHIPPED]))
    # No whole build of clip4mc makes clips, so *Materialize all* of its group must not either.
    # A summary makes nothing.
    apart = {"clip4mc/clips": "clip4mc_clips"}
    for key in definitions.resolve_all_asset_keys():
        group = definitions.resolve_assets_def(key).group_names_by_key[key]
        dataset, stage = key.path
        usual = f"{dataset}_summary" if stage == "summary" else dataset
        assert group == apart.get(key.to_user_string(), usual)
        assert isinstance(key, dg.AssetKey)
