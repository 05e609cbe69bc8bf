"""A writer killed in earnest: other processes, SIGKILL, and what is on the disk afterwards."""

import random
import subprocess
import sys
import time
import zlib
from pathlib import Path

import pytest

from medassets.storage.paths import DatasetPaths

pytestmark = pytest.mark.slow

_NUM_KILLS = 25
_NUM_ITEMS = 14

_CHILD = """
import os, random, sys, time
from pathlib import Path
from medassets.errors import Reason, SampleRejectedError
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.samples import each_item
from medassets.shards.writer import ShardWork, ensure_shard
from medassets.storage.paths import DatasetPaths

root, log, plan = Path(sys.argv[1]), os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT | os.O_APPEND), sys.argv[3]

def encode(item, staged):
    os.write(log, item.key.encode() + b"\\n")
    time.sleep(0.004)
    if item.row["index"] % 7 == 5:
        raise SampleRejectedError(Reason.PRECISION, "as planned")
    data = random.Random(plan + item.key).randbytes(200_000)
    return EncodedSample(item.key, (("bin", data), ("json", b"{}")), facts={"index": item.row["index"]})

items = tuple(
    SourceItem(f"a_{i:03d}", "train", f"{i}.raw", None, {"index": i}) for i in range(int(sys.argv[4]))
)
work = ShardWork(
    dataset="tiny", partition_key="train-000000", items=items, plan_fingerprint=plan,
    stage=lambda items: {i.key: StagedFile(Path(i.path), i.path, None, 1, "00") for i in items},
    encode=each_item(encode), source={"uri": "test://source", "revision": None},
    max_rejected_share=0.5, num_workers=2,
)
print("ready", flush=True)
result = ensure_shard(DatasetPaths(root, "tiny"), work)
print("adopted" if result.adopted else "made", flush=True)
"""


def _start(root: Path, log: Path, plan: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(root), str(log), plan, str(_NUM_ITEMS)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def _finish(process: subprocess.Popen[str]) -> str:
    # Not communicate(): it would lose what readline() has already taken from the pipe.
    assert process.stdout is not None
    with process.stdout:
        out = process.stdout.read()
    assert process.wait(timeout=60) == 0
    return out.strip()


def _files(root: Path) -> dict[str, bytes]:
    folder = DatasetPaths(root, "tiny").split_folder("train")
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def _encoded(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def _whole_keys(root: Path) -> set[str]:
    """Return the keys of the ledger's whole lines, read without the package's own reader."""
    ledger = DatasetPaths(root, "tiny").split_folder("train") / ".shard-000000.ledger"
    found = set()
    for line in ledger.read_bytes().split(b"\n")[:-1] if ledger.exists() else ():
        checksum, _, body = line.partition(b" ")
        if b'"key":"' in body and int(checksum, 16) == zlib.crc32(body):
            found.add(body.partition(b'"key":"')[2].partition(b'"')[0].decode())
    return found


@pytest.fixture
def undisturbed(tmp_path: Path) -> tuple[dict[str, dict[str, bytes]], float]:
    """Files of two plans built without a kill, and the seconds one build takes."""
    files, seconds = {}, []
    for plan in ("one", "two"):
        process = _start(tmp_path / plan, tmp_path / f"{plan}.log", plan)
        start = time.monotonic()
        assert _finish(process) == "made"
        seconds.append(time.monotonic() - start)
        files[plan] = _files(tmp_path / plan)
        assert sorted(files[plan]) == ["shard-000000.json", "shard-000000.tar"]
    return files, min(seconds)


def test_a_killed_writer_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, undisturbed: tuple[dict[str, dict[str, bytes]], float]
) -> None:
    expected, seconds = undisturbed
    instants = random.Random(0)
    root, log = tmp_path / "killed", tmp_path / "killed.log"
    plan, kills, finished = "one", 0, 0
    while kills < _NUM_KILLS or finished < 2:
        before, whole = _encoded(log), _whole_keys(root)
        process = _start(root, log, plan)
        if kills < _NUM_KILLS:
            time.sleep(instants.uniform(0, seconds))
            process.kill()
        process.communicate(timeout=60)
        again = set(_encoded(log)[len(before) :]) & whole
        assert not again, f"encoded again though whole: {sorted(again)}"
        kills += process.returncode == -9
        if process.returncode == 0:
            assert _files(root) == expected[plan]
            # The next shard replaces this one: another plan, other bytes, the same size.
            plan = "two" if plan == "one" else "one"
            finished += 1
    assert kills == _NUM_KILLS


def test_a_reader_sees_the_old_shard_or_the_new_and_nothing_else(
    tmp_path: Path, undisturbed: tuple[dict[str, dict[str, bytes]], float]
) -> None:
    expected, _ = undisturbed
    shard = DatasetPaths(tmp_path / "one", "tiny").shard("train-000000")
    whole = [files["shard-000000.tar"] for files in expected.values()]
    process = _start(tmp_path / "one", tmp_path / "again.log", "two")
    while process.poll() is None:
        assert shard.read_bytes() in whole
    assert _finish(process) == "made"
    assert _files(tmp_path / "one") == expected["two"]


def test_two_processes_that_build_one_shard_do_the_work_once(
    tmp_path: Path, undisturbed: tuple[dict[str, dict[str, bytes]], float]
) -> None:
    expected, _ = undisturbed
    root, log = tmp_path / "both", tmp_path / "both.log"
    processes = [_start(root, log, "one") for _ in range(2)]
    assert sorted(_finish(process) for process in processes) == ["adopted", "made"]
    assert len(_encoded(log)) == _NUM_ITEMS
    assert _files(root) == expected["one"]


def test_a_second_process_takes_over_from_a_killed_one_it_waited_for(
    tmp_path: Path, undisturbed: tuple[dict[str, dict[str, bytes]], float]
) -> None:
    expected, seconds = undisturbed
    root, log = tmp_path / "both", tmp_path / "both.log"
    first = _start(root, log, "one")
    second = _start(root, log, "one")
    time.sleep(seconds / 4)
    first.kill()
    first.communicate()
    assert _finish(second) in ("made", "adopted")
    assert _files(root) == expected["one"]


def test_bytes_do_not_depend_on_locale_or_time_zone(
    tmp_path: Path,
    undisturbed: tuple[dict[str, dict[str, bytes]], float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    expected, _ = undisturbed
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    monkeypatch.setenv("LC_ALL", "tr_TR.UTF-8")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    assert _finish(_start(tmp_path / "far", tmp_path / "far.log", "one")) == "made"
    assert _files(tmp_path / "far") == expected["one"]
