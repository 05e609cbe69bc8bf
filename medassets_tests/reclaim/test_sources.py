"""Sources that changed, vanished, moved behind links, or cannot be deleted."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medassets.errors import CatalogError, DiskSpaceError, ReclaimError
from medassets.reclaim.partition import is_reclaimed
from medassets.reclaim.report import ReclaimReport
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.testing.npz_tree import SyntheticTree
from medassets_tests.npz_source import Originals
from medassets_tests.reclaim.reclaiming import FIRST, SECOND, Made, whys


def test_a_source_whose_content_changed_stays_and_the_others_go(made: Made) -> None:
    study = made.studies()[1]
    place = made.tree.place(study)
    np.savez_compressed(place, data=np.zeros((5, 5, 5), np.int16))
    report = made.reclaim()
    assert list(whys(report)) == [study]
    assert "changed after its samples were made" in whys(report)[study]
    assert place.exists()
    assert len(report.deleted) == 2
    assert report.troubles


def test_a_source_with_another_time_alone_stays(made: Made) -> None:
    place = made.tree.place(made.studies()[0])
    stat = place.stat()
    os.utime(place, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    report = made.reclaim()
    assert "another time" in whys(report)[place.stem]
    assert place.exists()


def test_a_link_in_place_of_a_source_stays_and_so_does_its_target(
    made: Made, tmp_path: Path
) -> None:
    place = made.tree.place(made.studies()[0])
    target = tmp_path / "elsewhere.npz"
    place.rename(target)
    place.symlink_to(target)
    report = made.reclaim()
    assert "link" in whys(report)[place.stem]
    assert place.is_symlink()
    assert target.read_bytes() == made.originals.files[place.stem]
    assert len(report.deleted) == 2


@pytest.mark.parametrize("inside", [False, True])
def test_a_source_behind_a_linked_folder_stays(made: Made, tmp_path: Path, inside: bool) -> None:
    studies = made.studies()
    folder = made.tree.place(studies[0]).parent
    behind = sorted(path.stem for path in folder.iterdir())
    target = (made.tree.folder / "moved") if inside else tmp_path / "moved"
    folder.rename(target)
    folder.symlink_to(target)
    report = made.reclaim()
    assert sorted(whys(report)) == behind
    assert all("link" in why for why in whys(report).values())
    assert sorted(path.stem for path in target.iterdir()) == behind
    assert len(report.deleted) == 3 - len(behind)


def test_a_hard_link_to_a_source_keeps_its_content(made: Made, tmp_path: Path) -> None:
    place = made.tree.place(made.studies()[0])
    other = tmp_path / "other.npz"
    other.hardlink_to(place)
    assert len(made.reclaim().deleted) == 3
    assert other.read_bytes() == made.originals.files[place.stem]


def test_a_shard_that_holds_what_vanished_is_never_replaced_by_one_without(made: Made) -> None:
    """Nobody noted that the file went, and a rejected sample would be allowed."""
    made.tree.place(made.studies()[1]).unlink()
    before = made.shards
    more: tuple[dict[str, Any], ...] = ({"force": True}, {"max_rounding_error": 0.5})
    for changes in more:
        with pytest.raises(ReclaimError, match=r"train_1_a_2.* is gone"):
            made.build(FIRST, **changes)
    assert made.shards == before
    assert not list(made.shard().parent.glob(".*"))


def test_a_disk_that_is_not_mounted_is_no_vanished_source(made: Made) -> None:
    away = made.tree.folder.with_name("away")
    made.tree.folder.rename(away)
    with pytest.raises(CatalogError, match="does not exist"):
        made.reclaim()
    assert not made.journal().exists()


def as_nobody(work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return what a function returns in a process without the rights of root."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
            os.write(writer, json.dumps(work()).encode())
            os._exit(0)
        finally:
            os._exit(1)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    assert os.waitpid(pid, 0)[1] == 0
    return json.loads(text)


@pytest.fixture
def shared(made: Made) -> Iterator[Made]:
    """The dataset where another user may read the sources, and write to the shards."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    # What is imported later could not be read by another user.
    made.reclaim(SECOND)
    folder = Path("/tmp") / f"medassets-test-{os.getpid()}"
    shutil.copytree(made.tree.folder, folder / "source")
    shutil.copytree(made.root, folder / "data")
    for path in [folder / "data", *(folder / "data").rglob("*")]:
        os.chown(path, 65534, 65534)
    for path in [folder, folder / "source", *(folder / "source").rglob("*")]:
        path.chmod(0o755)
    tree = SyntheticTree(folder / "source", made.tree.split, made.tree.paths)
    originals = Originals(tree, made.originals.files, made.originals.values)
    try:
        yield Made(tree, originals, folder / "data")
    finally:
        shutil.rmtree(folder)


def summarize(report: ReclaimReport) -> dict[str, Any]:
    return {"deleted": len(report.deleted), "whys": whys(report), "troubles": report.troubles}


def test_a_read_only_folder_is_told_and_nothing_is_lost(shared: Made) -> None:
    told = as_nobody(lambda: summarize(shared.reclaim()))
    assert told["deleted"] == 0
    assert set(told["whys"].values()) == {"its folder is read-only; make it writable"}
    assert len(told["troubles"]) == 3
    assert set(shared.studies()) <= set(shared.left)
    for folder in {shared.tree.place(study).parent for study in shared.studies()}:
        os.chown(folder, 65534, 65534)
    assert as_nobody(lambda: summarize(shared.reclaim()))["deleted"] == 3


def test_a_folder_whose_files_belong_to_others_is_told(shared: Made) -> None:
    """The folder can be written, and yet only owners may delete in it, as in /tmp."""
    study = shared.studies()[0]
    for folder in {shared.tree.place(one).parent for one in shared.studies()}:
        folder.chmod(0o1777)
    for other in shared.studies()[1:]:
        os.chown(shared.tree.place(other), 65534, 65534)
    told = as_nobody(lambda: summarize(shared.reclaim()))
    assert told["deleted"] == 2
    assert told["whys"] == {study: "it cannot be deleted (Operation not permitted)"}
    assert told["troubles"]
    assert study in shared.left


def test_an_immutable_file_is_told_and_the_others_go(made: Made) -> None:
    place = made.tree.place(made.studies()[1])
    with immutable(place):
        report = made.reclaim()
        assert whys(report) == {place.stem: "it cannot be deleted (Operation not permitted)"}
        assert len(report.deleted) == 2
        assert place.exists()
        assert not is_reclaimed(made.open(), FIRST)
    again = made.reclaim()
    assert ([Path(d.path).stem for d in again.deleted], again.troubles) == ([place.stem], [])


@contextmanager
def immutable(place: Path) -> Iterator[None]:
    if (
        shutil.which("chattr") is None
        or subprocess.run(["chattr", "+i", str(place)], capture_output=True, check=False).returncode
    ):
        pytest.skip("this filesystem knows no immutable files")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", str(place)], check=True)


def test_a_source_on_a_disk_mounted_read_only_is_told(made: Made) -> None:
    folder = made.tree.folder
    with mounted("--bind", str(folder), str(folder)):
        subprocess.run(["mount", "-o", "remount,bind,ro", str(folder)], check=True)
        report = made.reclaim()
        assert set(whys(report).values()) == {"its folder is read-only; make it writable"}
    assert len(made.left) == 7


@contextmanager
def mounted(*arguments: str) -> Iterator[None]:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting needs root")
    if subprocess.run(["mount", *arguments], capture_output=True, check=False).returncode:
        pytest.skip("this machine does not let root mount")
    try:
        yield
    finally:
        subprocess.run(["umount", arguments[-1]], check=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    with mounted("-t", "tmpfs", "-o", "size=256k", "medassets-test", str(place)):
        yield place


def test_a_disk_too_full_for_the_journal_keeps_all_sources(made: Made, small_disk: Path) -> None:
    root = small_disk / "data"
    shutil.copytree(made.root, root)
    made = Made(made.tree, made.originals, root)
    filler = small_disk / "filler"
    fill_up(filler)
    with pytest.raises(DiskSpaceError, match=r"No space left.*more bytes are needed"):
        made.reclaim()
    assert len(made.left) == 7
    filler.unlink()
    report = made.reclaim()
    assert (len(report.deleted), report.troubles) == (3, [])
    assert ReclaimJournal.read(made.journal()).deleted.keys() == {d.path for d in report.deleted}


def fill_up(filler: Path) -> None:
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


LIMITED = """
import json, resource, signal, sys
from pathlib import Path
from medassets.reclaim.partition import reclaim_partition
from medassets_tests.reclaim.reclaiming import Made
from medassets_tests.npz_source import Originals
from medassets.errors import DiskSpaceError
from medassets.testing.npz_tree import SyntheticTree

folder, root, paths, limit = sys.argv[1:]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
tree = SyntheticTree(Path(folder), "train", json.loads(paths))
made = Made(tree, Originals(tree, {}, {}), Path(root))
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit),) * 2)
try:
    print(len(made.reclaim().deleted))
except DiskSpaceError as error:
    print(error)
"""


@pytest.mark.parametrize("missing_bytes", [None, 100, 10])
def test_a_journal_cut_by_a_full_disk_goes_on_when_there_is_room(
    made: Made, tmp_path: Path, missing_bytes: int | None
) -> None:
    """Without room for the note of what is to go nothing goes; without any for the last, it is made up."""
    whole = measure_journal(made, tmp_path)
    limit = 700 if missing_bytes is None else whole - missing_bytes
    arguments = [str(made.tree.folder), str(made.root), json.dumps(made.tree.paths), str(limit)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *arguments], capture_output=True, text=True, check=True
    )
    assert os.strerror(errno.EFBIG) in done.stdout
    assert made.journal().stat().st_size == limit
    num_left = 7 if missing_bytes is None else 4
    assert len(made.left) == num_left
    made.originals.check(made.root / "tiny")
    assert not is_reclaimed(made.open(), FIRST)
    report = made.reclaim()
    assert len(report.deleted) == num_left - 4
    journal = ReclaimJournal.read(made.journal())
    assert (len(journal.deleted), journal.intended) == (3, {})
    assert len(made.left) == 4


def measure_journal(made: Made, tmp_path: Path) -> int:
    """Return the bytes of a journal that no disk cut."""
    source = Path(shutil.copytree(made.tree.folder, tmp_path / "again" / "source"))
    root = Path(shutil.copytree(made.root, tmp_path / "again" / "data"))
    tree = SyntheticTree(source, made.tree.split, made.tree.paths)
    again = Made(tree, Originals(tree, {}, {}), root)
    again.reclaim()
    return again.journal().stat().st_size
