"""`medassets verify --original-pattern ...`: made again from the raw tars, and compared."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from medassets.specs import PRESETS, CTPreprocessing
from medassets_tests.cli.pairs import (
    NUM_STUDIES,
    Medassets,
    Pairs,
    Sample,
    make_raw,
    studies,
    write_tars,
)


def test_what_is_right_passes(pairs: Pairs) -> None:
    told, document = pairs.verify()
    assert (told.code, told.err) == (0, "")
    lines = told.out.splitlines()
    assert lines[0] == f"ok: train_1_a_1 ({pairs.folder}/shard-000000.tar: train_1_a_1): " + (
        "all values equal"
    )
    assert lines[-1] == (
        "6 samples compared: 6 passed, 0 failed; 0 missing, 0 extra, 0 duplicates, "
        "0 other problems; largest difference 0, mean 0"
    )
    assert [s["original_key"] for s in document["samples"]][:2] == [
        "000000_000006",
        "000000_000005",
    ]
    assert {s["preset"] for s in document["samples"]} <= {"none", "ct_clip"}


@pytest.mark.parametrize("form", ["folder", "manifest", "braces", "one tar"])
def test_shards_are_named_in_every_way(recorded: Pairs, form: str) -> None:
    forms = {
        "folder": recorded.folder,
        "manifest": recorded.folder / "manifest.json",
        "braces": f"{recorded.folder}/shard-{{000000..000001}}.tar",
        "one tar": recorded.shard,
    }
    told, document = recorded.verify(after=forms[form])
    if form == "one tar":
        assert studies(document, "missing") == ["train_3_a_1", "train_2_a_1", "train_1_a_1"]
        assert document["passed"] == 3
    else:
        assert (told.code, document["passed"]) == (0, 6)


def test_so_many_samples_are_spread_over_the_tars(recorded: Pairs) -> None:
    _, one = recorded.verify("--num-samples", "2", "--seed", "3")
    _, again = recorded.verify("--num-samples", "2", "--seed", "3")
    assert one["samples"] == again["samples"]
    assert len({s["shard"] for s in one["samples"]}) == 2
    chosen = set()
    for seed in range(8):
        _, document = recorded.verify("--num-samples", "1", "--seed", str(seed))
        chosen |= {s["study_id"] for s in document["samples"]}
    assert len(chosen) > 2
    told, _ = recorded.verify("--num-samples", "2", "--num-workers", "1")
    assert "2 of 6 samples compared: 2 passed" in told.out


def test_another_hu_rule_makes_other_volumes(recorded: Pairs) -> None:
    told, document = recorded.verify("--hu-rule", "none")
    if document["samples"][0]["preset"] == "none":
        assert told.code == 0
    else:
        assert (told.code, document["failed"]) == (1, 6)
        assert {s["hu_rule"] for s in document["samples"]} == {"none"}


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--original-pattern", "a"],
        ["--preprocessed-pattern", "a"],
        ["lungs", "--original-pattern", "a", "--preprocessed-pattern", "b"],
        ["lungs", "--num-samples", "3"],
        ["--original-pattern", "a", "--preprocessed-pattern", "b", "--quick"],
        ["--original-pattern", "a", "--preprocessed-pattern", "b", "--stage", "shards"],
    ],
)
def test_a_dataset_and_patterns_exclude_each_other(
    medassets: Medassets, options: list[str]
) -> None:
    ran = medassets("verify", *options)
    assert ran.code == 2
    assert "DATASET" in ran.err


def test_patterns_that_name_nothing_are_errors(recorded: Pairs) -> None:
    options = ["--original-pattern", f"{recorded.raw}/none-*.tar"]
    ran = recorded.medassets("verify", *options, "--preprocessed-pattern", str(recorded.folder))
    assert ran.code == 1
    assert "names no shard" in ran.err


def _compute_by_torch(sample: Sample, preset: CTPreprocessing) -> np.ndarray:
    """Return what the published preprocessing makes of a raw sample, by torch."""
    import torch

    facts = sample["json"]
    stored = np.frombuffer(sample["bin"], "<i2").reshape(facts["volume_shape"])
    # float32 throughout, as the published script.
    hu = stored.astype(np.float32) * facts["RescaleSlope"] + facts["RescaleIntercept"]
    spacing = (*json.loads(facts["XYSpacing"]), facts["ZSpacing"])
    size = [
        int(n * (step / target))
        for n, step, target in zip(hu.shape, spacing, preset.spacing_mm, strict=True)
    ]
    assert preset.clip_hu is not None
    resampled = torch.nn.functional.interpolate(
        torch.from_numpy(np.clip(hu, *preset.clip_hu))[None, None], size=size, mode="trilinear"
    )[0, 0].numpy()
    out = np.full(preset.shape, preset.pad_value, np.float32)
    pairs = list(zip(size, preset.shape, strict=True))
    crop = tuple(slice(max((n - t) // 2, 0), max((n - t) // 2, 0) + t) for n, t in pairs)
    kept = resampled[crop] / preset.scale
    starts = [max((t - n) // 2, 0) for n, t in pairs]
    place = tuple(slice(s, s + m) for s, m in zip(starts, kept.shape, strict=True))
    out[place] = kept
    return out.astype("<f2")


@pytest.fixture
def small_preset(monkeypatch: pytest.MonkeyPatch) -> CTPreprocessing:
    """The preset `ct_clip` on a tiny grid."""
    preset = replace(PRESETS["ct_clip"], shape=(18, 16, 21))
    monkeypatch.setitem(PRESETS, "ct_clip", preset)
    return preset


@pytest.mark.parametrize("form", ["bin", "npy", "npz"])
def test_shards_of_the_trainer_pass_though_they_state_no_preset(
    recorded: Pairs, tmp_path: Path, small_preset: CTPreprocessing, form: str
) -> None:
    def convert(number: int) -> Sample:
        raw = make_raw(number)
        volume = _compute_by_torch(raw, small_preset)
        sample = {name: raw[name] for name in ("txt", "labels")}
        facts = {"study_id": raw["json"]["study_id"], "num_classes": 18}
        content = io.BytesIO()
        if form == "bin":
            facts |= {"volume_shape": list(volume.shape), "volume_dtype": "float16"}
            content.write(volume.tobytes())
        elif form == "npy":
            np.save(content, np.asfortranarray(volume))
        else:
            np.savez_compressed(content, data=volume)
        return {"__key__": f"{number:06d}", **sample, form: content.getvalue(), "json": facts}

    folder = tmp_path / "trainer"
    write_tars(folder, [convert(number) for number in range(NUM_STUDIES)])
    told, document = recorded.verify(after=folder / "*.tar")
    assert (told.code, document["passed"]) == (0, 6)
    assert {s["hu_rule"] for s in document["samples"]} == {"table"}
    assert document["max_difference"] < 0.001
    assert document["share_differing"] < 0.01
