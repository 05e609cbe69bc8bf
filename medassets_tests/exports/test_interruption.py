"""An export killed in earnest: no half sample under its name, and the next run completes."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from medassets.exports.clip4mc import FILES
from medassets.storage.paths import DatasetPaths
from medassets_tests.exports.making import Clip, make_shard, read_tree

pytestmark = pytest.mark.slow

_NUM_KILLS = 30
_TREES = {
    "train-000000": [Clip(f"ab_{k}000_{k}500") for k in range(4)],
    "train-000001": [Clip(f"cd_{k}000_{k}500", num_frames=40) for k in range(3)],
    "test-000000": [Clip("ef_0_1"), Clip("ef_0_1-2")],
}
Export = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def run_export(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Export]:
    """Return a function that exports in another process, which may be killed."""
    root = tmp_path_factory.mktemp("data")
    for partition, clips in _TREES.items():
        for stage in ("frames", "clips"):
            make_shard(DatasetPaths(root, "tiny"), partition, clips, stage=stage)
    server = subprocess.Popen(
        [sys.executable, "-m", "medassets_tests.exports.kill_server"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    assert server.stdin is not None
    assert server.stdout is not None
    requests, answers = server.stdin, server.stdout

    def run(form: str, out: Path, *, die_at: int = 0, layout: str = "tchw") -> dict[str, Any]:
        request = {"format": form, "root": str(root), "out": str(out), "die_at": die_at}
        request["layout"] = layout
        requests.write(json.dumps(request) + "\n")
        requests.flush()
        return json.loads(answers.readline())

    with server:
        yield run
        requests.close()


def check_visible(form: str, out: Path, expected: dict[str, bytes]) -> None:
    """Check that what stands under a final name is whole, whatever a kill left beside it."""
    for name, content in read_tree(out).items():
        if not any(part.startswith(".") for part in Path(name).parts):
            assert content == expected[name], name
    if form == "clip4mc":
        for folder in out.glob("sample_*"):
            assert sorted(file.name for file in folder.iterdir()) == sorted(FILES)


@pytest.mark.parametrize("form", ["clip4mc", "clips"])
def test_a_killed_export_goes_on_and_ends_with_the_same_bytes(
    tmp_path: Path, run_export: Export, form: str
) -> None:
    undisturbed = run_export(form, tmp_path / "undisturbed")
    assert undisturbed["code"] == 0
    expected = read_tree(tmp_path / "undisturbed")
    operations = undisturbed["operations"]
    assert operations > _NUM_KILLS
    for kill in range(_NUM_KILLS):
        out = tmp_path / f"killed-{kill}"
        killed = run_export(form, out, die_at=1 + kill * operations // _NUM_KILLS)
        assert killed["code"] == -9
        check_visible(form, out, expected)
        assert run_export(form, out)["code"] == 0
        assert read_tree(out) == expected


def test_an_export_killed_again_and_again_gets_done(tmp_path: Path, run_export: Export) -> None:
    assert run_export("clip4mc", tmp_path / "undisturbed")["code"] == 0
    expected = read_tree(tmp_path / "undisturbed")
    kills = 0
    # A run that dies ever later, so that each gets further than the one before.
    while run_export("clip4mc", tmp_path / "killed", die_at=10 + kills)["code"] == -9:
        kills += 1
        check_visible("clip4mc", tmp_path / "killed", expected)
    assert kills > 5
    assert read_tree(tmp_path / "killed") == expected


def test_a_sample_being_replaced_is_never_seen_in_parts(tmp_path: Path, run_export: Export) -> None:
    out, notes = tmp_path / "out", "sample_000001_ab/notes.txt"
    assert run_export("clip4mc", out)["code"] == 0
    (out / notes).write_text("of the user")
    expected = read_tree(out)
    assert run_export("clip4mc", out, layout="thwc")["code"] == 0
    before = read_tree(out)
    operations = run_export("clip4mc", out)["operations"]
    for kill in range(_NUM_KILLS):
        assert run_export("clip4mc", out, layout="thwc")["code"] == 0
        assert read_tree(out) == before
        killed = run_export("clip4mc", out, die_at=1 + kill * operations // _NUM_KILLS)
        assert killed["code"] == -9
        for name, content in read_tree(out).items():
            assert name.startswith(".") or content in (expected[name], before[name])
        assert run_export("clip4mc", out)["code"] == 0
        assert read_tree(out) == expected
