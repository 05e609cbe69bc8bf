"""Settings that cannot work here end a build before the first shard, once, with the remedy."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]
Declare = Callable[..., Path]


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the GPUs of the machine, if there are any."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def shards_of(home: Path) -> list[str]:
    folder = home / "data" / "films"
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("shard-*.tar"))


@pytest.mark.usefixtures("without_gpu")
def test_a_missing_gpu_is_told_once_before_anything_is_done(
    medassets: Medassets, declare_films: Declare, home: Path
) -> None:
    declare_films()
    ran = medassets("build", "films", "--device", "cuda")
    assert ran.code == 1
    (line,) = ran.err.splitlines()
    assert line.startswith("medassets: device 'cuda' cannot decode here: ")
    assert line.endswith("ask for device auto or cpu to decode on the CPU")
    assert not (home / "data").exists()


@pytest.mark.usefixtures("without_gpu")
def test_clips_need_no_gpu_whatever_decodes_frames(
    medassets: Medassets, declare_films: Declare, home: Path
) -> None:
    declare_films()
    ran = medassets("build", "films", "--mode", "clip", "--device", "cuda")
    assert ran.code == 0, ran.err
    assert "--device: it decodes frames only; clips are cut on the CPU" in ran.err
    assert shards_of(home) == [f"clips/train/shard-{index:06d}.tar" for index in range(3)]


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_tokenizer_that_cannot_be_read_is_told_once_and_by_validate(
    medassets: Medassets, declare_films: Declare, home: Path, tmp_path: Path, content: str | None
) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    if content is not None:
        path.write_text(content)
    file = declare_films(tokenizer=str(path))
    why = "is not a tokenizer.json" if content else "cannot be read (No such file or directory)"
    ran = medassets("build", "films")
    assert ran.code == 2
    (line,) = ran.err.splitlines()
    assert f"tokenizer: {path} {why}" in line
    assert not (home / "data").exists()
    # Clips have no tokens.
    assert medassets("build", "films", "--mode", "clip").code == 0

    checked = medassets("validate", "--json")
    assert checked.code == 1
    (problem,) = checked.document["problems"]
    lines = file.read_text().splitlines()
    assert lines[problem["line"] - 1].strip().startswith("tokenizer:")
    assert (problem["field"], why in problem["what"]) == ("tokenizer", True)
    plain = medassets("validate")
    assert f"{file}:{problem['line']}: tokenizer: {path} {why}" in plain.err
    assert "ok  films" not in plain.out
    assert "ok  clip4mc" in plain.out


@pytest.mark.usefixtures("without_gpu")
def test_a_missing_encoder_is_told_once(
    medassets: Medassets, declare_films: Declare, home: Path
) -> None:
    declare_films(clips="reencode", clip_encoder="h264_nvenc")
    for mode in ((), ("--mode", "clip")):
        ran = medassets("build", "films", *mode)
        assert ran.code == 2
        (line,) = ran.err.splitlines()
        assert "clip_encoder: h264_nvenc needs an NVIDIA GPU with a video encoder" in line
        assert line.endswith("declare clip_encoder: libx264")
    assert not (home / "data").exists()
    # Frames need no encoder.
    assert medassets("build", "films", "--mode", "process").code == 0


def test_a_preset_that_the_encoder_does_not_know_is_told_once(
    medassets: Medassets, declare_films: Declare
) -> None:
    declare_films(clips="reencode", clip_preset="hasty")
    ran = medassets("build", "films")
    assert ran.code == 2
    assert [line for line in ran.err.splitlines() if "hasty" in line] == [
        "medassets: clip_preset: libx264 does not accept 'hasty' (Invalid argument)"
    ]


@pytest.fixture
def materialize(home: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Return a function that runs `dagster asset materialize` on this test's own instance."""
    start = [sys.executable, "-m", "dagster", "asset", "materialize", "-m", "medassets.definitions"]
    (home / "dagster").mkdir(parents=True)
    (home / "dagster" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")

    def run_it(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*start, *arguments],
            env={**os.environ, "DAGSTER_HOME": str(home / "dagster")},
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )

    return run_it


SPAN = ("--partition-range", "train-000000...train-000002")


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("stage", ["clips", "frames"])
def test_a_range_of_dagster_fails_before_its_first_shard(
    declare_films: Declare, home: Path, materialize: Callable[..., Any], stage: str
) -> None:
    declare_films(
        runs="single",
        clips="reencode",
        clip_encoder="h264_nvenc",
        tokenizer="/nowhere/tokenizer.json",
    )
    assert materialize("--select", "films/catalog").returncode == 0
    done = materialize("--select", f"films/{stage}", *SPAN)
    assert done.returncode != 0
    told = {"clips": "clip_encoder: h264_nvenc needs", "frames": "tokenizer: /nowhere/"}[stage]
    assert f"dagster._core.definitions.events.Failure: {told}" in done.stderr
    assert "were not made" not in done.stderr
    assert shards_of(home) == []


def test_what_no_shard_of_a_range_can_have_is_tried_on_the_first_one_only(
    declare_films: Declare, materialize: Callable[..., Any]
) -> None:
    declare_films(runs="single", clips="reencode", clip_preset="hasty")
    assert materialize("--select", "films/catalog").returncode == 0
    done = materialize("--select", "films/clips", *SPAN)
    assert done.returncode != 0
    assert "train-000000: clip_preset: libx264 does not accept 'hasty'" in done.stderr
    assert "train-000001: clip_preset" not in done.stderr
    assert "3 of the run's shards were not made: train-000000, train-000001" in done.stderr
