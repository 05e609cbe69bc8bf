"""An export neither replaces nor removes what it did not make, and says so before it writes."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import ForeignFileError, ShardIntegrityError, UsageError
from medassets.exports.clip4mc import export_clip4mc
from medassets.exports.clips import export_clips
from medassets.exports.formats import ExportOptions, ExportResult
from medassets.exports.windows import export_windows
from medassets.samples import EncodedSample, SourceItem, StagedFile, each_item
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.specs import CTWindow
from medassets.storage.paths import DatasetPaths
from medassets.volumes.windows.occupancy import pack_mask
from medassets_tests.exports.making import Clip, make_shard, read_tree

CLIPS = [Clip("abc_0_1000"), Clip("abc_1000_2500"), Clip("def_0_900")]
PARTITIONS = ["train-000000"]
AIR, BONE = CTWindow("air", 200.0, -1000.0), CTWindow("bone", 1800.0, 400.0)
Export = Callable[..., ExportResult]


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "export"
    folder.mkdir()
    return folder


@pytest.fixture
def frames(paths: DatasetPaths, out: Path) -> Export:
    """Return a function that exports three samples for the CLIP4MC trainer."""
    make_shard(paths, PARTITIONS[0], CLIPS)
    return lambda **more: export_clip4mc(paths, PARTITIONS, out, **more)


@pytest.fixture
def clips(paths: DatasetPaths, out: Path) -> Export:
    """Return a function that exports three mp4 files."""
    make_shard(paths, PARTITIONS[0], CLIPS, stage="clips")
    return lambda **more: export_clips(paths, PARTITIONS, out, **more)


@pytest.fixture
def masks(paths: DatasetPaths, out: Path) -> Export:
    """Return a function that exports the windows of two cases as points."""
    make_masks(paths, ["case_a", "case_b"])

    def run(*windows: CTWindow) -> ExportResult:
        chosen = windows or (AIR, BONE)
        return export_windows(paths, PARTITIONS, out, windows=chosen, form="sparse_npz")

    return run


def make_masks(paths: DatasetPaths, cases: list[str]) -> None:
    """Publish a shard of windows of small masks."""
    import numpy as np

    shape = (5, 7, 11)

    def encode(item: SourceItem, _: StagedFile) -> EncodedSample:
        packed = {
            window.name: pack_mask(np.random.default_rng(len(window.name)).random(shape) < 0.5)
            for window in (AIR, BONE)
        }
        windows = {
            name: {"encoding": "raw", "num_points": one.num_points} for name, one in packed.items()
        }
        facts: dict[str, Any] = {"shape": list(shape), "windows": windows}
        bits = tuple((f"{name}.bits", one.bits) for name, one in packed.items())
        members = (*bits, ("json", json.dumps(facts).encode()))
        return EncodedSample(item.key, members, facts={**facts, "resolution": 512})

    work = ShardWork(
        dataset=paths.dataset,
        partition_key=PARTITIONS[0],
        items=tuple(SourceItem(case, "train", f"{case}.nii.gz", None, {}) for case in cases),
        plan_fingerprint="masks",
        stage=lambda items: {i.key: StagedFile(Path(i.path), i.path, None, 1, "00") for i in items},
        encode=each_item(encode),
        source={"uri": "test://volumes", "revision": None},
        num_workers=1,
    )
    ensure_shard(DatasetPaths(paths.root, paths.dataset, "windows"), work)


def write_files(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"the user's {name}")


def list_all(folder: Path) -> dict[str, bytes | None]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_a_folder_in_the_trainers_own_layout_is_left_as_it_is(frames: Export, out: Path) -> None:
    write_files(out, "sample_000000_abc/notes.txt", "sample_000000_abc/video_input.pkl")
    write_files(out, "sample_000002_def/size.json", "dataset_info.json", "readme.md")
    before = list_all(out)
    with pytest.raises(
        ForeignFileError,
        match=r"^--out: .*/export holds files that this export did not make, .*: "
        r".*/dataset_info\.json, .*/sample_000000_abc/notes\.txt, "
        r".*/sample_000000_abc/video_input\.pkl and 1 more\. Nothing was written\. Move",
    ):
        frames()
    assert list_all(out) == before


def test_a_folder_of_hand_made_masks_is_left_as_it_is(masks: Export, out: Path) -> None:
    write_files(out, "tiny/processed/case_a/windows/bone_w1800_l400_sparse.npz")
    write_files(out, "tiny/metadata.csv")
    before = list_all(out)
    with pytest.raises(
        ForeignFileError, match=r"metadata\.csv, .*case_a/windows/bone_w1800_l400_sparse\.npz\. N"
    ):
        masks()
    assert list_all(out) == before


def test_a_folder_of_other_clips_is_left_as_it_is(clips: Export, out: Path) -> None:
    write_files(out, "clips/abc_0_1.mp4", "text_video_pairs.json")
    before = list_all(out)
    with pytest.raises(ForeignFileError, match=r"text_video_pairs\.json, .*clips/abc_0_1\.mp4\. N"):
        clips()
    assert list_all(out) == before


def test_files_beside_ours_are_left_alone(frames: Export, out: Path) -> None:
    write_files(out, "readme.md", "sample_000009_abc/notes.txt", ".hidden.new.tmp")
    before = list_all(out)
    assert frames().written == 3
    assert before.items() <= list_all(out).items()


@pytest.mark.parametrize("force", [False, True])
def test_notes_in_our_own_folders_survive_a_new_version_of_the_sample(
    frames: Export, paths: DatasetPaths, out: Path, force: bool
) -> None:
    frames()
    write_files(out, "sample_000000_abc/notes.txt", "sample_000000_abc/marks/one.txt")
    notes = {
        name: content for name, content in list_all(out).items() if "/notes" in name or "/m" in name
    }
    changed = [Clip("abc_0_1000", num_frames=32), *CLIPS[1:]]
    make_shard(paths, PARTITIONS[0], changed)
    assert frames(options=ExportOptions(force=force)).written == (3 if force else 1)
    assert len(notes) == 3
    assert notes.items() <= list_all(out).items()
    assert frames().kept == 3


def test_notes_survive_where_our_files_were_removed(frames: Export, out: Path) -> None:
    frames()
    expected = read_tree(out)
    write_files(out, "sample_000000_abc/notes.txt")
    for path in out.glob("sample_000000_abc/*.*"):
        if path.name != "notes.txt":
            path.unlink()
    assert frames().written == 1
    assert read_tree(out) == {
        **expected,
        "sample_000000_abc/notes.txt": b"the user's sample_000000_abc/notes.txt",
    }


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize(
    "name",
    ["dataset_info.json", "sample_000001_abc/size.json", "sample_000001_abc/video_input.pkl"],
)
def test_a_file_that_was_edited_is_not_replaced(
    frames: Export, out: Path, name: str, force: bool
) -> None:
    frames()
    with (out / name).open("ab") as file:
        file.write(b" ")
    before = list_all(out)
    with pytest.raises(ForeignFileError, match=rf"or that were changed since, .*{name}\. Nothing"):
        frames(options=ExportOptions(force=force))
    assert list_all(out) == before
    # The user decides: what is gone is written again.
    (out / name).unlink()
    frames()
    assert (out / name).exists()


def test_an_edited_table_of_windows_and_an_edited_mask_are_not_replaced(
    masks: Export, out: Path
) -> None:
    masks()
    table = out / "tiny/metadata.csv"
    table.write_text(table.read_text().replace("train", "valid"))
    mask = out / "tiny/processed/case_b/windows/air_w200_l-1000_sparse.npz"
    mask.write_bytes(mask.read_bytes()[::-1])
    before = list_all(out)
    with pytest.raises(ForeignFileError, match=r"metadata\.csv, .*case_b/windows/air.*\.npz\. N"):
        masks()
    assert list_all(out) == before


def test_windows_that_are_no_longer_exported_are_replaced_by_those_that_are(
    masks: Export, out: Path
) -> None:
    masks(AIR, BONE)
    folder = out / "tiny/processed/case_a/windows"
    write_files(folder, "mine.npz")
    assert masks(AIR).written == 2
    assert sorted(p.name for p in folder.iterdir()) == ["air_w200_l-1000_sparse.npz", "mine.npz"]
    write_files(folder, "bone_w1800_l400_sparse.npz")
    with pytest.raises(
        ForeignFileError, match=r": .*case_a/windows/bone_w1800_l400_sparse\.npz\. N"
    ):
        masks(AIR, BONE)


def link_folder(out: Path) -> str:
    shutil.move(out / "sample_000000_abc", out.parent / "elsewhere")
    (out / "sample_000000_abc").symlink_to(out.parent / "elsewhere")
    return "sample_000000_abc"


def link_file(out: Path) -> str:
    path = out / "sample_000000_abc/size.json"
    shutil.move(path, out.parent / "size.json")
    path.symlink_to(out.parent / "size.json")
    return "sample_000000_abc"


def link_index(out: Path) -> str:
    shutil.move(out / "dataset_info.json", out.parent / "info.json")
    (out / "dataset_info.json").symlink_to(out.parent / "info.json")
    return "dataset_info.json"


def folder_as_index(out: Path) -> str:
    (out / "dataset_info.json").unlink()
    write_files(out, "dataset_info.json/notes.txt")
    return "dataset_info.json"


def file_as_folder(out: Path) -> str:
    shutil.rmtree(out / "sample_000000_abc")
    write_files(out, "sample_000000_abc")
    return "sample_000000_abc"


@pytest.mark.parametrize(
    "change", [link_folder, link_file, link_index, folder_as_index, file_as_folder]
)
def test_links_and_folders_in_place_of_our_files_are_foreign(
    frames: Export, out: Path, change: Callable[[Path], str]
) -> None:
    frames()
    name = change(out)
    before = list_all(out.parent)
    with pytest.raises(ForeignFileError, match=rf": .*/{name}\. Nothing was written"):
        frames()
    assert list_all(out.parent) == before


def test_a_file_in_place_of_a_folder_that_is_needed_is_foreign(clips: Export, out: Path) -> None:
    write_files(out, "clips")
    with pytest.raises(ForeignFileError, match=r": .*export/clips\. Nothing was written"):
        clips()
    assert sorted(p.name for p in out.iterdir()) == ["clips"]


def test_a_private_name_that_exists_before_ours_is_foreign(clips: Export, out: Path) -> None:
    write_files(out, "clips/.abc_0_1.mp4.new.tmp")
    with pytest.raises(ForeignFileError, match=r"\.abc_0_1\.mp4\.new\.tmp\. Nothing"):
        clips()


def test_a_file_that_looks_like_a_cut_journal_is_not_taken_for_one(
    frames: Export, out: Path
) -> None:
    (out / "export_journal.jsonl").write_text("my notes on this export")
    with pytest.raises(ValueError, match=r"export_journal\.jsonl: line 1 is damaged"):
        frames()
    assert (out / "export_journal.jsonl").read_text() == "my notes on this export"


def test_the_journal_of_another_export_is_refused(frames: Export, clips: Export, out: Path) -> None:
    frames()
    before = list_all(out)
    with pytest.raises(UsageError, match="holds an export as clip4mc of tiny"):
        clips()
    assert list_all(out) == before


def test_what_appears_while_an_export_runs_is_not_replaced(
    clips: Export, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system that ignores case, where two names are one file."""
    from medassets.exports.journal import ExportJournal

    give_places = ExportJournal.give_places

    def give_and_write(journal: ExportJournal, places: dict[str, str]) -> None:
        give_places(journal, places)
        write_files(out, "clips/abc_0_1.mp4")

    monkeypatch.setattr(ExportJournal, "give_places", give_and_write)
    result = clips()
    (problem,) = result.problems
    assert "clips/abc_0_1.mp4: this is not what the export wrote, and is not replaced" in problem
    assert result.listed == {"train": 2}
    assert (out / "clips/abc_0_1.mp4").read_text() == "the user's clips/abc_0_1.mp4"


def drop_lines(out: Path, field: bytes) -> None:
    """Make a journal as older versions or a power cut left it, without some lines."""
    journal = out / "export_journal.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(line for line in lines if field not in line))


@pytest.mark.parametrize("form", ["frames", "clips", "masks"])
def test_an_index_of_a_version_that_noted_none_is_ours_as_long_as_it_is_unchanged(
    form: str, out: Path, request: pytest.FixtureRequest
) -> None:
    export: Export = request.getfixturevalue(form)
    first = export()
    drop_lines(out, b'"index"')
    assert export().kept == first.written
    drop_lines(out, b'"index"')
    first.index.write_bytes(
        first.index.read_bytes().replace(b"train", b"valid").replace(b"0", b"1")
    )
    with pytest.raises(ForeignFileError, match=first.index.name):
        export()


def test_an_index_of_a_version_that_named_folders_from_its_own_is_ours(
    paths: DatasetPaths, out: Path
) -> None:
    make_shard(paths, "train-000000", [Clip("abc_0_1")])
    export_clip4mc(paths, ["train-000000"], out, relative=True)
    drop_lines(out, b'"index"')
    assert export_clip4mc(paths, ["train-000000"], out).kept == 1


@pytest.mark.parametrize("form", ["frames", "clips", "masks"])
def test_samples_that_the_journal_does_not_know_are_adopted_if_they_are_the_same(
    form: str, out: Path, request: pytest.FixtureRequest
) -> None:
    export: Export = request.getfixturevalue(form)
    first = export()
    before = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in out.rglob("*") if p.is_file()}
    drop_lines(out, b'"exported"')
    assert export().written == first.written
    after = {p: (p.stat().st_mtime_ns, p.stat().st_ino) for p in out.rglob("*") if p.is_file()}
    names = {p for p in before if p.suffix in (".pkl", ".mp4", ".npz")}
    assert names
    assert all(after[p] == before[p] for p in names)
    assert export().kept == first.written


def test_shards_whose_samples_do_not_fit_together_are_not_exported(
    paths: DatasetPaths, out: Path
) -> None:
    partitions = ["train-000000", "train-000001"]
    for number, partition in enumerate(partitions):
        record = make_shard(paths, partition, CLIPS[number : number + 1])
        made = {"format_version": 1, "spec": {}, "rows_digest": "", "meaning": str(number)}
        replace(record, made_from=made).write(paths.record(partition))
    with pytest.raises(ShardIntegrityError, match=r"000001: .* do not fit together; .*written"):
        export_clip4mc(paths, partitions, out)
    assert not (out / "dataset_info.json").exists()
