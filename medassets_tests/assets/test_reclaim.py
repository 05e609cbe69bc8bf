"""The asset that deletes sources: a range of shards in one run, and what its events say."""

from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest

from medassets.assets.reclaim import reclaim_metadata
from medassets.reclaim.report import Kept, ReclaimReport
from medassets.specs import VolumeDatasetSpec
from medassets.testing.npz_tree import make_npz_tree
from medassets_tests.location import Location, metadata_of
from medassets_tests.npz_source import Originals, find_member, flip_byte

pytestmark = pytest.mark.slow

STAGE = "reclaimed_sources"
WORD = {STAGE: {"confirm": "DELETE"}}
MOST_EVENT_BYTES = 32_000


@pytest.fixture
def located(locate: Any, tmp_path: Path) -> tuple[Location, Originals]:
    """Five volumes in three shards, converted, with an ephemeral instance."""
    tree = make_npz_tree(tmp_path / "source", num_volumes=5, shape=(5, 7, 11))
    fields = tree.fields(
        name="tiny",
        samples_per_shard=2,
        delete_sources=True,
        max_rejected_share=1.0,
        max_excluded_share=1.0,
    )
    spec = VolumeDatasetSpec(**{k: _freeze(v) for k, v in fields.items()})
    location = Location(spec, locate(tree.folder).instance)
    location.build()
    return location, Originals.read(tree)


def _freeze(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def evaluation_of(result: dg.ExecuteInProcessResult) -> dg.AssetCheckEvaluation:
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def test_a_range_deletes_what_is_sound_and_names_the_sample_that_is_not(
    located: tuple[Location, Originals],
) -> None:
    location, originals = located
    study = location.workspace.read_partition("train-000001")[1].key
    shard = location.workspace.paths.shard("train-000001")
    flip_byte(shard, find_member(shard, f"{study}.cls").offset_data)
    span = ("train-000000", "train-000002")
    result = location.materialize(STAGE, span=span, config=WORD, check=False)
    assert not result.success
    assert len(originals.left) == 2
    evaluation = evaluation_of(result)
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert study in str(evaluation.metadata["troubles"].value)
    green = location.instance.get_materialized_partitions(location.key(STAGE))
    assert green == {"train-000000", "train-000002"}
    (event,) = location.events(STAGE, "train-000000")
    metadata = metadata_of(event)
    assert (metadata["medassets/deleted"], metadata["medassets/dry_run"]) == (2, False)
    assert metadata["medassets/freed_bytes"] > 0


def test_a_dry_run_is_an_observation_and_its_check_passes(
    located: tuple[Location, Originals],
) -> None:
    location, originals = located
    result = location.materialize(STAGE, span=("train-000000", "train-000002"))
    assert evaluation_of(result).passed
    assert result.asset_materializations_for_node("tiny__reclaimed_sources") == []
    observed = location.instance.fetch_observations(location.key(STAGE), limit=9).records
    assert {record.partition_key for record in observed} == {
        "train-000000",
        "train-000001",
        "train-000002",
    }
    (metadata,) = {
        str(record.asset_observation.metadata["medassets/would_delete"].value)
        for record in observed
        if record.asset_observation and record.partition_key == "train-000002"
    }
    assert metadata == f"- {originals.tree.paths['train_3_a_1']}"
    assert len(originals.left) == 5


def test_rejected_files_are_a_warning_and_the_partition_turns_green(
    located: tuple[Location, Originals],
) -> None:
    location, originals = located
    bad = originals.tree.place("train_1_a_1")
    np.savez_compressed(bad, data=np.full((5, 7, 11), np.inf, np.float32))
    location.materialize("catalog")
    for key in location.keys:
        location.materialize("shards", partition=key)
    location.materialize("manifest", config={"manifest": {"allow_shrink": True}})
    result = location.materialize(STAGE, partition="train-000000", config=WORD)
    evaluation = evaluation_of(result)
    assert (evaluation.passed, evaluation.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "a sample of it was rejected" in str(evaluation.metadata["kept"].value)
    assert location.instance.get_materialized_partitions(location.key(STAGE)) == {"train-000000"}
    assert bad.exists()
    assert not originals.tree.place("train_1_a_2").exists()


def test_events_of_any_number_of_files_stay_small() -> None:
    report = ReclaimReport("train-000000", confirmed=True)
    paths = [f"Röntgen/{'ä' * 80}/{number:06d}.npz" for number in range(5000)]
    report.kept = [Kept(path, 1, "größer: " + "ß" * 300, is_trouble=True) for path in paths]
    report.vanished = paths
    report.problems = [
        f"/data/{path}: train_{n}: member .bin is damaged" for n, path in enumerate(paths)
    ]
    event = dg.AssetObservation(["tiny", STAGE], metadata=reclaim_metadata(report))
    assert len(dg.serialize_value(event)) < MOST_EVENT_BYTES
    text = str(event.metadata["medassets/problems"].value)
    assert "train_0: member .bin is damaged" in text
    assert text.splitlines()[-1].startswith("- and ")


def test_a_sample_is_named_however_long_its_path() -> None:
    report = ReclaimReport("train-000000", confirmed=True)
    report.problems = [f"/{'x' * 400}/shard-000000.tar: train_7_a_1: member .bin is damaged"]
    assert "train_7_a_1: member .bin" in str(reclaim_metadata(report)["medassets/problems"].value)
