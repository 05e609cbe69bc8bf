"""A DICOM series goes as a whole, or not at all, whatever happens meanwhile."""

import errno
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.ct_sources.dicom_files import DicomFiles
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError
from medassets.reclaim import series_files
from medassets.reclaim.partition import finish_all_interrupted, is_reclaimed
from medassets.reclaim.report import ReclaimReport
from medassets.reclaim.verify import find_lost_samples
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets_tests.dicoms import PERSON, write_series
from medassets_tests.npz_source import read_volumes
from medassets_tests.reclaim.clinics import FILES, FIRST, KEY, SCOUTED, SECOND, Clinic, read_tree


def whys(report: ReclaimReport) -> dict[str, str]:
    return {kept.path: kept.why for kept in report.kept}


def test_series_go_with_all_their_files_and_nothing_else_does(clinic: Clinic) -> None:
    others = clinic.others()
    report = clinic.reclaim()
    assert {one.path for one in report.deleted} == {FIRST, SECOND}
    num_bytes = sum(
        len(content)
        for path, content in clinic.files.items()
        if path.rpartition("/")[2].startswith(tuple(FILES))
    )
    assert report.freed_bytes == num_bytes
    assert clinic.others() == others == read_tree(clinic.folder)
    assert clinic.hidden() == []
    assert list(whys(report)) == [SCOUTED]
    assert "1 more files of its series" in whys(report)[SCOUTED]
    assert report.troubles == []
    assert dict(read_volumes(clinic.root / "clinic")) == clinic.samples
    workspace = clinic.refresh()
    assert is_reclaimed(workspace, KEY)
    assert workspace.read_plan().partitions == {KEY: 3}
    assert find_lost_samples(workspace, [KEY]) == []
    with pytest.raises(ReclaimError, match="2 of its sources were deleted"):
        plan_shard(workspace, KEY, force=True)


def test_a_run_without_the_word_writes_nothing(clinic: Clinic) -> None:
    report = clinic.reclaim(confirmed=False)
    assert [file.path for file in report.deletable] == sorted([FIRST, SECOND])
    assert read_tree(clinic.folder) == clinic.files
    assert clinic.hidden() == []
    assert clinic.journal.is_empty


def test_reports_and_journal_name_no_file(clinic: Clinic) -> None:
    report = clinic.reclaim()
    journal = clinic.open().paths.reclaim_journal(KEY).read_text()
    for name in ("first-", "second-", "scouted-", *PERSON.values()):
        assert name not in f"{report}{journal}"


def test_a_file_that_appeared_since_keeps_its_series(clinic: Clinic) -> None:
    later = clinic.folder / "c" / "later"
    later.parent.mkdir()
    grown = write_series(clinic.folder / "new", number=0, num_slices=5)
    grown.paths[4].rename(later)
    shutil.rmtree(clinic.folder / "new")
    report = clinic.reclaim()
    assert "changed after its samples were made" in whys(report)[FIRST]
    assert [one.path for one in report.deleted] == [SECOND]
    assert clinic.left("first-") == FILES["first-"]
    later.unlink()
    assert [one.path for one in clinic.reclaim().deleted] == [FIRST]


@pytest.mark.parametrize("name", ["first-000", "first-again"])
def test_a_file_that_changed_keeps_its_series(clinic: Clinic, name: str) -> None:
    place = clinic.folder / "a" / name
    found = place.stat()
    os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns + 10**12))
    report = clinic.reclaim()
    assert "another time" in whys(report)[FIRST]
    assert clinic.left("first-") == FILES["first-"]


def test_other_bytes_under_the_same_size_and_time_keep_the_series(clinic: Clinic) -> None:
    place = clinic.folder / "b" / min(p.name for p in (clinic.folder / "b").glob("second-*"))
    found, content = place.stat(), place.read_bytes()
    place.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    os.utime(place, ns=(found.st_atime_ns, found.st_mtime_ns))
    report = clinic.reclaim()
    assert "its content is not what the shard was made of" in whys(report)[SECOND]
    assert [one.path for one in report.deleted] == [FIRST]
    assert sum(path.name.startswith("second-") for path in clinic.folder.rglob("*")) == 4


def test_a_second_name_of_a_file_keeps_its_series(clinic: Clinic) -> None:
    (clinic.folder / "b" / "link").symlink_to(clinic.folder / "a" / "first-000")
    report = clinic.reclaim()
    assert "second name" in whys(report)[FIRST]
    assert clinic.left("first-") == FILES["first-"]


def test_a_series_without_uid_is_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "source" / "x", num_slices=4, change=_drop_uid)
    clinic = Clinic.make(tmp_path, write=lambda _: None)
    report = clinic.reclaim()
    assert report.deleted == []
    assert all("none states a SeriesInstanceUID" in why for why in whys(report).values())
    assert is_reclaimed(clinic.open(), KEY)


def _drop_uid(_: int, dataset: Any) -> None:
    dataset.SeriesInstanceUID = ""


def test_another_dataset_that_has_yet_to_make_a_series_keeps_it(clinic: Clinic) -> None:
    other = clinic.open(name="other", folder=str(clinic.folder / "a"), delete_sources=False)
    report = clinic.reclaim(others=(other,))
    # Of the second only half is in the folder of the other, which makes a volume of it.
    assert set(whys(report)) == {FIRST, SECOND, SCOUTED}
    assert "the dataset other still needs it" in whys(report)[FIRST]
    assert read_tree(clinic.folder) == clinic.files


def test_a_file_that_cannot_be_moved_leaves_the_whole_series(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = os.replace

    def refuse(source: Any, target: Any) -> None:
        if Path(source).name == "first-002":
            raise OSError(errno.EPERM, os.strerror(errno.EPERM))
        replace(source, target)

    # Root may move what is not immutable, and not every filesystem has immutable files.
    monkeypatch.setattr(os, "replace", refuse)
    report = clinic.reclaim()
    assert whys(report)[FIRST] == "it cannot be deleted (Operation not permitted)"
    assert clinic.left("first-") == FILES["first-"]
    assert [one.path for one in report.deleted] == [SECOND]
    assert clinic.hidden() == []
    monkeypatch.undo()
    assert [one.path for one in clinic.reclaim().deleted] == [FIRST]


def test_a_file_that_appears_while_others_are_moved_keeps_the_series(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    move = series_files.move_aside

    def move_beside_another(places: Any, name: str) -> list[Path]:
        (places[0].parent / "newcomer").write_bytes(b"x")
        return move(places, name)

    monkeypatch.setattr(series_files, "move_aside", move_beside_another)
    report = clinic.reclaim()
    assert report.deleted == []
    assert "a file appeared beside its files" in whys(report)[FIRST]
    assert clinic.left("first-") == FILES["first-"]
    assert clinic.hidden() == []


def test_ctrl_c_between_two_files_puts_the_series_back(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(journal: ReclaimJournal, path: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ReclaimJournal, "commit", interrupt)
    with pytest.raises(KeyboardInterrupt):
        clinic.reclaim()
    assert read_tree(clinic.folder) == clinic.files
    assert clinic.hidden() == []
    monkeypatch.undo()
    assert len(clinic.reclaim().deleted) == 2


def test_what_another_dataset_set_aside_is_neither_put_back_nor_deleted(clinic: Clinic) -> None:
    aside = clinic.folder / "a" / f".medassets-reclaim-{FIRST}-00000000"
    aside.mkdir()
    (clinic.folder / "a" / "first-000").rename(aside / "first-000")
    clinic.refresh()
    report = clinic.reclaim()
    assert "its deletion was interrupted" in whys(report)[FIRST]
    assert (aside / "first-000").exists()
    assert [one.path for one in report.deleted] == [SECOND]
    assert FIRST not in DicomFiles(clinic.folder).scan().stacks


def test_a_damaged_journal_stops_its_own_shard_only(clinic: Clinic) -> None:
    clinic.reclaim()
    journal = clinic.open().paths.reclaim_journal(KEY)
    journal.write_bytes(b"x" + journal.read_bytes())
    finish_all_interrupted(clinic.open())
    with pytest.raises(ReclaimError, match=r"damaged|not a journal"):
        clinic.reclaim()


def test_what_has_a_name_again_is_never_replaced(clinic: Clinic) -> None:
    assert kill_at(clinic, lambda line: line.startswith("replace") and "first-" in line, 4) == 0
    moved = next(Path(path) for path in clinic.hidden() if Path(path).name.startswith("first-"))
    place = moved.parent.parent / moved.name
    place.write_bytes(b"mine")
    with pytest.raises(ReclaimError, match="others have their names now") as caught:
        finish_all_interrupted(clinic.open())
    assert "first-" not in str(caught.value)
    assert place.read_bytes() == b"mine"
    assert moved.read_bytes() == clinic.files[f"a/{moved.name}"]
    place.unlink()
    finish(clinic, refresh=False)


def lose_shard(clinic: Clinic) -> bytes:
    shard = clinic.open().paths.shard(KEY)
    content = shard.read_bytes()
    shard.unlink()
    return content


def test_a_series_that_is_set_aside_whole_outlives_the_loss_of_its_shard(clinic: Clinic) -> None:
    # Killed when it was noted that all files are deleted, and none was.
    assert kill_at(clinic, lambda line: line.startswith("unlink"), 1) == 0
    assert clinic.journal.committed == {FIRST} or clinic.journal.committed == {SECOND}
    lose_shard(clinic)
    with pytest.raises(ReclaimError, match="missing, damaged or outdated"):
        clinic.reclaim()
    assert read_tree(clinic.folder) == clinic.files
    assert clinic.hidden() == []
    workspace = clinic.refresh()
    build_shard(workspace, workspace.paths, plan_shard(workspace, KEY))
    assert len(clinic.reclaim().deleted) == 2


@pytest.mark.parametrize("finish_first", [finish_all_interrupted, None])
def test_the_rest_of_a_series_stays_while_its_shard_is_damaged(
    clinic: Clinic, finish_first: Callable[[Workspace], None] | None
) -> None:
    assert kill_at(clinic, lambda line: line.startswith("unlink"), 3) == 0
    before = clinic.hidden()
    shard = clinic.open().paths.shard(KEY)
    content = shard.read_bytes()
    damaged = bytearray(content)
    damaged[len(content) // 2] ^= 1
    shard.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(
            ReclaimError, match=r"is not whole any more.*Restore the shard"
        ) as caught:
            finish_first(clinic.open()) if finish_first else clinic.reclaim()
        assert "first-" not in str(caught.value)
        assert clinic.hidden() == before
    shard.write_bytes(content)
    finish(clinic, refresh=False)


def test_a_series_that_was_noted_as_deleted_and_half_put_back_is_whole_again(
    clinic: Clinic, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, link = ReclaimJournal.commit, os.link
    num_links: list[int] = []

    def commit_and_interrupt(journal: ReclaimJournal, path: str) -> None:
        commit(journal, path)
        raise KeyboardInterrupt

    def link_twice(*arguments: Any, **options: Any) -> None:
        num_links.append(1)
        if len(num_links) > 2:
            raise KeyboardInterrupt
        link(*arguments, **options)

    monkeypatch.setattr(ReclaimJournal, "commit", commit_and_interrupt)
    monkeypatch.setattr(os, "link", link_twice)
    with pytest.raises(KeyboardInterrupt):
        clinic.reclaim()
    assert clinic.hidden()
    assert clinic.journal.committed
    monkeypatch.undo()
    finish_all_interrupted(clinic.open())
    assert read_tree(clinic.folder) == clinic.files
    assert clinic.hidden() == []
    assert len(clinic.reclaim().deleted) == 2


def test_a_series_that_is_set_aside_is_seen_by_others_that_need_it(clinic: Clinic) -> None:
    other = clinic.open(name="other", delete_sources=False)
    assert kill_at(clinic, lambda line: line.startswith("unlink"), 1) == 0
    report = clinic.reclaim(others=(other,))
    assert report.deleted == []
    assert "the dataset other still needs it" in whys(report)[FIRST]
    assert read_tree(clinic.folder) == clinic.files


def test_a_copy_of_the_archive_is_not_touched(clinic: Clinic) -> None:
    assert kill_at(clinic, lambda line: line.startswith("unlink"), 3) == 0
    copy = Path(shutil.copytree(clinic.folder / "a", clinic.folder / ".a.bak"))
    before = {path: path.stat().st_mtime_ns for path in copy.rglob("*")}
    finish_all_interrupted(clinic.open())
    assert {path: path.stat().st_mtime_ns for path in copy.rglob("*")} == before


def test_files_of_a_series_may_be_in_a_folder_and_in_one_below_it(tmp_path: Path) -> None:
    def write(top: Path) -> None:
        series = write_series(top / "a", number=0, num_slices=4)
        (top / "a" / "sub").mkdir()
        for path, name in zip(series.paths, ("IM1", "sub/IM2", "z3", "z4"), strict=True):
            path.rename(top / "a" / name)

    clinic = Clinic.make(tmp_path, write=write)
    assert [one.path for one in clinic.reclaim().deleted] == [FIRST]
    assert read_tree(clinic.folder) == {}


def test_a_link_to_a_folder_beside_a_series_does_not_keep_it(clinic: Clinic) -> None:
    (clinic.folder / "a" / "elsewhere").symlink_to(clinic.folder / "b")
    assert {one.path for one in clinic.reclaim().deleted} == {FIRST, SECOND}


def run_killed(clinic: Clinic, is_counted: Callable[[str], bool], die_at: int) -> int:
    """Reclaim in a process that is killed at an operation; return how many there were, 0 if it was."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            seen = count_operations(clinic, is_counted, die_at)
            clinic.reclaim(num_workers=1)
            os.write(writer, str(len(seen)).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return int(text or 0)


def count_operations(clinic: Clinic, is_counted: Callable[[str], bool], die_at: int) -> list[str]:
    """Count what is done to the archive and the journal; of the last operation half is done at most."""
    seen: list[str] = []
    places = (str(clinic.folder), str(clinic.root / "clinic" / "reclaimed_sources"))
    real_write = os.write

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def counted(target: Any, *arguments: Any, **options: Any) -> Any:
            named = isinstance(target, str | Path)
            place = str(target if named else Path(f"/proc/self/fd/{target}").readlink())
            line = f"{name} {place}"
            if place.startswith(places) and is_counted(line):
                seen.append(line)
                if len(seen) == die_at:
                    if name == "write":
                        real_write(target, bytes(arguments[0])[: len(arguments[0]) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(target, *arguments, **options)

        setattr(os, name, counted)

    for name in ("mkdir", "replace", "link", "rename", "unlink", "rmdir", "fsync", "ftruncate"):
        wrap(name)
    wrap("write")
    return seen


def kill_at(clinic: Clinic, is_counted: Callable[[str], bool], die_at: int) -> int:
    """Kill a run, and check that no process takes what is left for shorter series."""
    count = run_killed(clinic, is_counted, die_at)
    stacks = DicomFiles(clinic.folder).scan().stacks
    for prefix, key in (("first-", FIRST), ("second-", SECOND)):
        if key in stacks:
            found = len(stacks[key].slices) + len(stacks[key].copies)
            assert found == clinic.left(prefix) == FILES[prefix]
    return count


def check_finished(clinic: Clinic) -> None:
    assert read_tree(clinic.folder) == clinic.others()
    assert clinic.hidden() == []
    assert dict(read_volumes(clinic.root / "clinic")) == clinic.samples
    journal = clinic.journal
    assert (set(journal.deleted), journal.intended) == ({FIRST, SECOND}, {})
    assert find_lost_samples(clinic.open(), [KEY]) == []


def finish(clinic: Clinic, *, refresh: bool) -> None:
    """Do what the command does next, with a refresh in between where it is asked for."""
    if refresh:
        before = clinic.open().read_plan().digests
        assert clinic.refresh().read_plan().digests == before
    finish_all_interrupted(clinic.open())
    left = {prefix: clinic.left(prefix) for prefix in FILES}
    # After that each is there as a whole, or not at all.
    assert all(count in (0, FILES[prefix]) for prefix, count in left.items())
    report = clinic.reclaim(num_workers=1)
    assert report.troubles == []
    check_finished(clinic)


@pytest.mark.parametrize(
    ("operation", "number"),
    [("mkdir", 1), ("replace", 3), ("replace", 5), ("unlink", 1), ("unlink", 4), ("rmdir", 1)],
)
def test_killed_between_two_files_a_series_is_whole_or_goes_as_a_whole(
    clinic: Clinic, operation: str, number: int
) -> None:
    assert kill_at(clinic, lambda line: line.startswith(operation), number) == 0
    finish(clinic, refresh=True)


def test_a_kill_while_a_series_is_put_back_or_deleted_is_finished_as_well(clinic: Clinic) -> None:
    for operation, number in (("replace", 4), ("link", 2), ("unlink", 1), ("unlink", 2)):
        assert kill_at(clinic, lambda line, name=operation: line.startswith(name), number) == 0
    finish(clinic, refresh=False)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_every_operation_a_series_is_whole_or_goes_as_a_whole(
    archive: Clinic, tmp_path: Path
) -> None:
    number = 0
    while True:
        number += 1
        clinic = archive.copy(tmp_path / str(number))
        if count := kill_at(clinic, lambda _: True, number):
            break
        finish(clinic, refresh=bool(number % 2))
        shutil.rmtree(tmp_path / str(number))
    assert count == number - 1 > 40
    check_finished(clinic)
