"""What the journal of an export tells of the files in its folder."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from medassets.errors import CatalogError, UsageError
from medassets.exports.journal import Exported, ExportJournal, open_journal
from medassets.storage.checksums import crc32

NAMES = ("a.pkl", "b.json")


def write_sample(folder: Path, first: bytes = b"one", second: bytes = b"two") -> Exported:
    folder.mkdir(exist_ok=True)
    for name, content in zip(NAMES, (first, second), strict=True):
        (folder / name).write_bytes(content)
    return Exported(
        key="k",
        partition="train-000000",
        origin="o",
        sizes=(len(first), len(second)),
        crc32=(crc32(first), crc32(second)),
        mtime_ns=tuple((folder / name).stat().st_mtime_ns for name in NAMES),
        names=NAMES,
    )


def open_tiny(folder: Path) -> ExportJournal:
    return ExportJournal(folder, "clip4mc", "tiny", NAMES)


def test_a_journal_comes_back_as_it_was_written(tmp_path: Path) -> None:
    sample = write_sample(tmp_path / "sample")
    with open_tiny(tmp_path) as journal:
        assert journal.is_new
        journal.give_places({"k": "sample"})
        journal.note(sample)
        journal.note_index("info.json", b"{}")
    with open_tiny(tmp_path) as again:
        assert (again.is_new, again.places) == (False, {"k": "sample"})
        assert again.exported == {"k": sample}
        assert again.indexes == {"info.json": {(2, crc32(b"{}"))}}
    with open_journal(tmp_path) as found:
        assert (found.format, found.dataset) == ("clip4mc", "tiny")


def test_every_version_of_a_sample_stays_known(tmp_path: Path) -> None:
    first = write_sample(tmp_path / "sample")
    second = write_sample(tmp_path / "sample", b"changed")
    with open_tiny(tmp_path) as journal:
        journal.give_places({"k": "sample"})
        journal.note(first)
        journal.note(second)
        journal.note(second)
    with open_tiny(tmp_path) as again:
        assert again.known("k") == (first, second)
        assert again.known("other") == ()


def test_a_line_that_a_kill_cut_is_dropped_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    with open_tiny(tmp_path) as journal:
        journal.give_places({"k": "sample", "l": "sample 2"})
    content = journal.path.read_bytes()
    journal.path.write_bytes(content[:-5])
    with open_tiny(tmp_path) as again:
        assert again.places == {"k": "sample"}
    journal.path.write_bytes(content.replace(b"sample", b"simple", 1))
    with pytest.raises(CatalogError, match=r"export_journal\.jsonl: line 3 is damaged"):
        open_tiny(tmp_path).__enter__()


def test_the_journal_of_another_format_or_dataset_is_refused(tmp_path: Path) -> None:
    with open_tiny(tmp_path) as journal:
        journal.give_places({"k": "sample"})
    for form, dataset in (("clips", "tiny"), ("clip4mc", "other")):
        with pytest.raises(UsageError, match=f"not as {form} of {dataset}; choose another folder"):
            ExportJournal(tmp_path, form, dataset).__enter__()


def test_a_folder_without_an_export_has_no_journal(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"export_journal\.jsonl"):
        open_journal(tmp_path)


def test_a_copied_sample_is_whole_and_an_edited_one_is_named(tmp_path: Path) -> None:
    place = tmp_path / "sample"
    sample = write_sample(place)
    assert sample.is_whole(place)
    (place / "a.pkl").write_bytes(b"one")
    assert sample.is_whole(place)
    (place / "a.pkl").write_bytes(b"eno")
    assert not sample.is_whole(place)
    assert not sample.is_unchanged(place)
    assert sample.list_changed(place) == [place / "a.pkl"]


def test_a_sample_that_lost_a_file_is_unchanged_but_not_whole(tmp_path: Path) -> None:
    place = tmp_path / "sample"
    sample = write_sample(place)
    (place / "b.json").unlink()
    assert (sample.is_whole(place), sample.is_unchanged(place)) == (False, True)
    (place / "b.json").symlink_to(place / "a.pkl")
    assert not sample.is_unchanged(place)
    assert sample.list_changed(place) == [place]


@pytest.mark.parametrize("number", [0, 1])
@pytest.mark.parametrize("lost", [False, True])
def test_a_file_of_equal_size_and_an_older_time_is_not_ours(
    tmp_path: Path, number: int, *, lost: bool
) -> None:
    place = tmp_path / "sample"
    sample = write_sample(place)
    changed = place / NAMES[number]
    changed.write_bytes(b"own")
    os.utime(changed, (1, 1))
    if lost:
        (place / NAMES[1 - number]).unlink()
    assert not sample.is_whole(place)
    assert sample.list_changed(place) == [changed]


def test_a_sample_of_a_journal_with_one_checksum_for_all_files_counts_as_unknown(
    tmp_path: Path,
) -> None:
    with open_tiny(tmp_path) as journal:
        journal.give_places({"k": "sample"})
        sample = write_sample(tmp_path / "sample")
        journal.note(replace(sample, crc32=1, mtime_ns=2))  # pyright: ignore[reportArgumentType]
    with open_tiny(tmp_path) as again:
        assert (again.places, again.known("k")) == ({"k": "sample"}, ())
