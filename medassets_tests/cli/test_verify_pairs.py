"""`medassets verify --original-pattern ...`: made again from the raw tars, and compared."""

import io
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.cli.main import run
from medassets.shards.record import SampleEntry
from medassets.shards.tar import encode_header
from medassets.specs import PRESETS, CTPreprocessing
from medassets.testing.phantoms import make_chest_phantom
from medassets_tests.cli.damage import (
    cut,
    end_of,
    find_member,
    flip,
    put_text,
    read_samples,
    rename,
    replace_range,
)

Medassets = Callable[..., Any]
Sample = dict[str, Any]
NUM_STUDIES, PER_TAR = 6, 3
DATASETS: dict[str, dict[str, Any]] = {
    "half": {"preprocessing": "none"},
    "clip": {
        "preprocessing": "ct_clip",
        "hu_rule": "table",
        "target_spacing_mm": [4.0, 4.0, 8.0],
        "target_shape": [6, 7, 5],
    },
}


def name_study(number: int) -> str:
    return f"train_{number + 1}_a_1"


def make_raw(number: int) -> Sample:
    """Return a raw sample as people's own scripts write it: no study in its key."""
    shape = (15 + number % 3, 17 + number % 2, 19 + number)
    hu = make_chest_phantom(shape, seed=number, round_field_of_view=False)
    labels = (np.arange(18) % (number + 2) == 0).astype("<f4")
    return {
        "__key__": f"000000_{NUM_STUDIES - number:06d}",
        "bin": (hu + 1024).astype("<i2").tobytes(),
        "json": {
            "study_id": name_study(number),
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            "XYSpacing": "[0.8, 0.8]",
            "ZSpacing": 1.25 + number / 4,
            "original_shape": list(shape),
            "volume_shape": list(shape),
            "volume_dtype": "int16",
            "report": {"findings": f"Study {number}.", "impressions": " Not given. "},
        },
        "txt": f"Study {number}: no finding, 3 µm.",
        "labels": labels.tobytes(),
    }


def write_tars(folder: Path, samples: list[Sample]) -> None:
    """Write tars of three samples as plain webdataset does."""
    from webdataset.writer import TarWriter

    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(samples), PER_TAR):
        with TarWriter(str(folder / f"raw-{start // PER_TAR:06d}.tar")) as writer:
            for sample in samples[start : start + PER_TAR]:
                writer.write(sample)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw tars, last study first, and two datasets made of them: `half` and `clip`."""
    folder = tmp_path_factory.mktemp("pairs")
    write_tars(folder / "raw", [make_raw(number) for number in reversed(range(NUM_STUDIES))])
    for name, changes in DATASETS.items():
        fields = {
            "name": name,
            "source": "webdataset",
            "shards": str(folder / "raw" / "raw-{000000..000001}.tar"),
            "splits": ["train"],
            "samples_per_shard": PER_TAR,
            "num_workers": 1,
            **changes,
        }
        file = folder / "declared" / name / "defs.yaml"
        file.parent.mkdir(parents=True)
        head = "type: medassets.components.VolumeDatasetComponent\nattributes: "
        file.write_text(head + json.dumps(fields) + "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDASSETS_HOME", str(folder / "home"))
        patch.setenv("MEDASSETS_DEFS", str(folder / "declared"))
        patch.delenv("DAGSTER_HOME", raising=False)
        for name in DATASETS:
            assert run(["build", name, "--json"]) == 0
        os.environ.pop("DAGSTER_HOME", None)
    return folder


class Pairs:
    """One dataset's folder and that of its originals, which a test may damage."""

    def __init__(self, medassets: Medassets, raw: Path, folder: Path) -> None:
        self.medassets = medassets
        self.raw = raw
        self.folder = folder
        self.shard = folder / "shard-000001.tar"
        self.samples: list[SampleEntry] = read_samples(self.shard)

    def verify(self, *options: str, after: Path | str = "") -> tuple[Any, dict[str, Any]]:
        """Run the command both ways and return what it said, and its document."""
        patterns = ["--original-pattern", f"{self.raw}/raw-*.tar"]
        patterns += ["--preprocessed-pattern", str(after or self.folder / "shard-*.tar")]
        told = self.medassets("verify", *patterns, *options)
        found = self.medassets("verify", *patterns, *options, "--json")
        assert "Traceback" not in told.err + found.err
        assert found.code == told.code == (0 if found.document["ok"] else 1)
        return told, found.document

    def rewrite_raw(self, change: Callable[[Sample], Sample | None]) -> None:
        """Write the raw tars again with other samples."""
        samples = [make_raw(number) for number in reversed(range(NUM_STUDIES))]
        write_tars(self.raw, [kept for s in samples if (kept := change(s)) is not None])


def failed(document: dict[str, Any]) -> dict[str, list[str]]:
    return {s["study_id"]: s["differences"] for s in document["samples"] if not s["ok"]}


def studies(document: dict[str, Any], name: str) -> list[str]:
    return [entry["study_id"] for entry in document[name]]


@pytest.fixture(params=DATASETS)
def recorded(
    request: pytest.FixtureRequest, made: Path, tmp_path: Path, medassets: Medassets
) -> Pairs:
    """A dataset with the records beside its shards."""
    raw = shutil.copytree(made / "raw", tmp_path / "raw")
    folder = made / "home" / "data" / request.param / "train"
    return Pairs(medassets, raw, shutil.copytree(folder, tmp_path / "made"))


@pytest.fixture(params=["with records", "without"])
def pairs(request: pytest.FixtureRequest, recorded: Pairs) -> Pairs:
    """The same, or copies of the tars alone."""
    if request.param == "without":
        for file in recorded.folder.glob("*.json"):
            file.unlink()
    return recorded


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


@pytest.mark.parametrize("suffix", ["bin", "txt", "cls", "json"])
@pytest.mark.parametrize("where", ["header", "content", "padding"])
def test_one_flipped_byte_is_found(pairs: Pairs, suffix: str, where: str) -> None:
    sample = pairs.samples[1]
    member = find_member(sample, suffix)
    end = member.offset + member.size_bytes
    content = end - 1
    if suffix == "json":
        content = member.offset + cut(pairs.shard, sample)[member.offset - sample.offset :].index(
            b"train_"
        )
    if where == "padding" and not end % 512:
        pytest.skip("this member has no padding")
    flip(pairs.shard, {"header": member.offset - 500, "content": content, "padding": end}[where])

    told, document = pairs.verify()
    assert told.code == 1
    assert str(pairs.shard) in told.err
    # Without a record, nothing can be read behind a damaged header.
    if where != "header":
        assert sample.key in told.err
        assert document["compared"] >= 5
    else:
        assert "damaged" in told.err
        assert document["passed"] >= 4


def test_the_lowest_bit_of_a_value_is_found_where_it_matters(pairs: Pairs) -> None:
    member = find_member(pairs.samples[1], "bin")
    flip(pairs.shard, member.offset)
    told, document = pairs.verify()
    (changed,) = [s for s in document["samples"] if s["key"] == pairs.samples[1].key]
    assert changed["num_differing"] == 1
    # One step of float16 is what interpolation may differ by on another machine.
    tolerated = changed["preset"] == "ct_clip" and not pairs.shard.with_suffix(".json").exists()
    assert told.code == (0 if tolerated else 1)


def test_two_samples_with_swapped_names_are_found(pairs: Pairs) -> None:
    first, second, _ = pairs.samples
    renamed = rename(cut(pairs.shard, first), first, second.key)
    renamed += rename(cut(pairs.shard, second), second, first.key)
    replace_range(pairs.shard, first.offset, end_of(second), renamed)
    told, document = pairs.verify()
    assert told.code == 1
    what = f"{second.key}: its json is of study {first.key}; in shards of medassets both are the"
    assert what in told.err
    assert {p["key"] for p in document["problems"]} == {first.key, second.key}


def test_two_swapped_volumes_are_found(pairs: Pairs) -> None:
    first, second, _ = pairs.samples
    content = pairs.shard.read_bytes()
    bins = [find_member(sample, "bin") for sample in (first, second)]
    volumes = [content[m.offset : m.offset + m.size_bytes] for m in bins]
    size = min(len(volume) for volume in volumes)
    for member, volume in zip(bins, reversed(volumes), strict=True):
        replace_range(pairs.shard, member.offset, member.offset + size, volume[:size])
    told, document = pairs.verify()
    assert told.code == 1
    assert set(failed(document)) == {first.key, second.key}
    assert all("of the values differ" in " ".join(f) for f in failed(document).values())


def test_samples_in_another_order_are_the_same_samples(pairs: Pairs) -> None:
    first, second, third = pairs.samples
    swapped = cut(pairs.shard, third) + cut(pairs.shard, second) + cut(pairs.shard, first)
    replace_range(pairs.shard, first.offset, end_of(third), swapped)
    told, document = pairs.verify()
    has_record = pairs.shard.with_suffix(".json").exists()
    assert told.code == (1 if has_record else 0)
    assert set(failed(document)) >= ({first.key, third.key} if has_record else set())


@pytest.mark.parametrize("where", ["in a member", "between two samples", "in a header"])
def test_a_truncated_tar_is_named_and_the_rest_compared(pairs: Pairs, where: str) -> None:
    _, second, third = pairs.samples
    ends = {
        "in a member": second.members[-1].offset + 5,
        "between two samples": second.offset,
        "in a header": second.offset + 100,
    }
    os.truncate(pairs.shard, ends[where])
    told, document = pairs.verify()
    assert told.code == 1
    (problem,) = document["problems"]
    assert (problem["shard"], problem["key"]) == (str(pairs.shard), "")
    assert "cut off" in problem["what"]
    assert sorted(studies(document, "missing")) == [second.key, third.key]
    assert "can be read; 1 preprocessed tars are damaged" in told.err
    assert document["passed"] == 4


def test_a_truncated_original_is_named_and_the_rest_compared(pairs: Pairs) -> None:
    raw = pairs.raw / "raw-000000.tar"
    os.truncate(raw, raw.stat().st_size - 30_000)
    told, document = pairs.verify()
    assert told.code == 1
    (problem,) = document["problems"]
    assert problem["shard"] == str(raw)
    assert "cut off" in problem["what"]
    # Of the sample that is cut off, the json is still there.
    assert (document["passed"], list(failed(document))) == (4, ["train_5_a_1"])
    assert studies(document, "extra") == ["train_4_a_1"]
    assert "1 original tars are damaged" in told.err


def test_a_tar_that_is_not_there_is_named(recorded: Pairs) -> None:
    recorded.shard.unlink()
    told, document = recorded.verify(after=recorded.folder / "manifest.json")
    assert told.code == 1
    assert f"{recorded.shard}: does not exist" in told.err
    assert (document["passed"], len(document["missing"])) == (3, 3)


def test_a_missing_sample_is_named(pairs: Pairs) -> None:
    sample = pairs.samples[1]
    replace_range(pairs.shard, sample.offset, end_of(sample), b"")
    told, document = pairs.verify("--num-samples", "1")
    assert told.code == 1
    assert f"missing: {sample.key} ({pairs.raw}/raw-" in told.err
    assert studies(document, "missing") == [sample.key]


def test_an_extra_sample_is_named(pairs: Pairs) -> None:
    pairs.rewrite_raw(lambda s: None if s["json"]["study_id"] == "train_5_a_1" else s)
    told, document = pairs.verify("--num-samples", "1")
    assert told.code == 1
    assert f"extra: train_5_a_1 ({pairs.shard}: train_5_a_1) is in no original tar" in told.err
    assert (studies(document, "extra"), document["failed"]) == (["train_5_a_1"], 0)


@pytest.mark.parametrize("number", [0, 2])
def test_a_duplicate_in_one_tar_is_named(pairs: Pairs, number: int) -> None:
    first, place = pairs.samples[0], end_of(pairs.samples[number])
    replace_range(pairs.shard, place, place, cut(pairs.shard, first))
    told, document = pairs.verify("--num-samples", "1")
    assert told.code == 1
    (found,) = document["duplicates"]
    assert (found["study_id"], found["side"], len(found["samples"])) == (
        *(first.key, "preprocessed"),
        2,
    )
    assert f"duplicate: {first.key}: 2 preprocessed samples have it: {pairs.shard}" in told.err


def test_a_duplicate_in_another_tar_is_named(pairs: Pairs) -> None:
    shutil.copy(pairs.shard, pairs.folder / "shard-000007.tar")
    told, document = pairs.verify("--num-samples", "2")
    assert told.code == 1
    assert studies(document, "duplicates") == [sample.key for sample in pairs.samples]
    assert "shard-000007.tar" in told.err


def test_of_two_originals_one_that_makes_the_sample_is_enough(pairs: Pairs) -> None:
    other = make_raw(0)
    other["json"]["study_id"] = "train_5_a_1"
    write_tars(pairs.raw / "more", [other])
    (pairs.raw / "more" / "raw-000000.tar").rename(pairs.raw / "raw-.tar")
    told, document = pairs.verify()
    assert told.code == 1
    assert (document["passed"], studies(document, "duplicates")) == (6, ["train_5_a_1"])


def _edit_count(shard: dict[str, Any]) -> str:
    shard["num_samples"] += 1
    return "has 3 samples, its manifest says 4"


def _edit_size(shard: dict[str, Any]) -> str:
    shard["size_bytes"] += 512
    return "bytes, its manifest says"


@pytest.mark.parametrize("edit", [_edit_count, _edit_size])
@pytest.mark.parametrize("given", ["manifest", "folder"])
def test_an_edited_manifest_is_found(
    recorded: Pairs, edit: Callable[[dict[str, Any]], str], given: str
) -> None:
    manifest = recorded.folder / "manifest.json"
    document = json.loads(manifest.read_bytes())
    words = edit(document["shards"][1])
    manifest.write_text(json.dumps(document))
    told, found = recorded.verify(after=manifest if given == "manifest" else recorded.folder)
    assert (told.code, found["passed"]) == (1, 6)
    assert f"{recorded.shard}: has " in told.err
    assert words in told.err


def test_a_wrong_label_is_named(pairs: Pairs) -> None:
    sample = pairs.samples[2]
    offset = find_member(sample, "cls").offset + 4 * 4
    values = np.frombuffer(pairs.shard.read_bytes(), "<f4", 1, offset)
    replace_range(pairs.shard, offset, offset + 4, (1 - values).tobytes())
    told, document = pairs.verify()
    assert told.code == 1
    assert list(failed(document)) == [sample.key]
    said = f"labels differ: number 4 is {1 - values[0]:g}, {values[0]:g} in the original"
    assert said in failed(document)[sample.key]
    assert f"failed: {sample.key} ({pairs.shard}: {sample.key}): " in told.err


def edit_json(shard: Path, sample: SampleEntry, change: Callable[[dict[str, Any]], None]) -> None:
    """Write another json of any length into a tar."""
    member = find_member(sample, "json")
    stop = member.offset + member.size_bytes
    facts = json.loads(shard.read_bytes()[member.offset : stop])
    change(facts)
    content = json.dumps(facts).encode()
    header = encode_header(f"{sample.key}.json", len(content))
    padding = bytes(-len(content) % 512)
    replace_range(shard, member.offset - 512, stop + -stop % 512, header + content + padding)


def invert_labels(facts: dict[str, Any]) -> None:
    facts["labels"] = {name: 1 - value for name, value in facts["labels"].items()}


EDITS: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "labels": ("both", invert_labels, "json: label 'label_0' is 0.0, the sample's own is 1"),
    "num_classes": ("both", lambda f: f.update(num_classes=17), "num_classes is 17, the sample"),
    "no labels": ("both", lambda f: f.update(labels={}), "it gives 0 labels, the sample has 18"),
    "report": (
        "both",
        lambda f: f.update(report=dict.fromkeys(f["report"], "")),
        "json: report.findings is None, the original's is 'Study 3.'",
    ),
    "no report": ("both", lambda f: f.update(report={}), "json: report.findings is None"),
    "slope": ("half", lambda f: f.update(RescaleSlope=2), "RescaleSlope is 2, the original's is 1"),
    "intercept": ("half", lambda f: f.update(RescaleIntercept=None), "RescaleIntercept is None"),
    "in plane": ("half", lambda f: f.update(XYSpacing="[0.8, 0.9]"), "XYSpacing is '[0.8, 0.9]'"),
    "slices": (
        "half",
        lambda f: f.update(ZSpacing=2.5),
        "ZSpacing is 2.5, the original's is [2.0]",
    ),
    "steps": (
        "half",
        lambda f: f.update(spacing_mm=[0.8, 0.8, 2.5]),
        "spacing_mm is [0.8, 0.8, 2.5], the original's is [0.8, 0.8, 2.0]",
    ),
    "shape": ("half", lambda f: f.update(original_shape=[9, 9, 9]), "original_shape is [9, 9, 9]"),
    "hu slope": ("clip", lambda f: f["hu"].update(slope=1.5), "hu.slope is 1.5, the original's is"),
    "hu intercept": ("clip", lambda f: f["hu"].update(intercept=0), "hu.intercept is 0"),
    "source steps": (
        "clip",
        lambda f: f["geometry"]["source"].update(spacing_mm=[0.8, 0.8, 1.0]),
        "geometry.source.spacing_mm is [0.8, 0.8, 1.0], the original's is [0.8, 0.8, 2.0]",
    ),
    "source shape": (
        "clip",
        lambda f: f["geometry"]["source"].update(shape=[1, 2, 3]),
        "geometry.source.shape is [1, 2, 3], the original's is [15, 18, 22]",
    ),
}


@pytest.mark.parametrize(
    ("edit", "name"),
    [
        (edit, name)
        for edit, (where, *_) in EDITS.items()
        for name in DATASETS
        if where in (name, "both")
    ],
)
def test_a_json_that_says_other_things_than_its_original_is_named(
    made: Path, tmp_path: Path, medassets: Medassets, name: str, edit: str
) -> None:
    _, change, words = EDITS[edit]
    folder = shutil.copytree(made / "home" / "data" / name / "train", tmp_path / "made")
    pairs = Pairs(medassets, made / "raw", folder)
    sample = next(s for s in pairs.samples if s.key == name_study(3))
    for file in folder.glob("*.json"):
        file.unlink()
    edit_json(pairs.shard, sample, change)
    told, document = pairs.verify()
    assert told.code == 1
    (difference,) = failed(document)[sample.key]
    assert words in difference
    assert list(failed(document)) == [sample.key]


def test_patient_and_split_are_not_compared(recorded: Pairs) -> None:
    for file in recorded.folder.glob("*.json"):
        file.unlink()
    for sample in reversed(recorded.samples):
        edit_json(recorded.shard, sample, lambda f: f.update(patient="p", split="valid", scan="b"))
    assert recorded.verify()[0].code == 0


def test_a_changed_text_is_named(pairs: Pairs) -> None:
    sample = pairs.samples[2]
    put_text(pairs.shard, sample, b"Study 5: all well.")
    told, document = pairs.verify()
    assert told.code == 1
    assert list(failed(document)) == [sample.key]
    said = "text differs from byte 9 on (18 bytes, 27 in the original)"
    assert said in failed(document)[sample.key]


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
