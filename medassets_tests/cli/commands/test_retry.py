"""`medassets retry`: failed, lost and transiently rejected work of every stage."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from medassets.video.processes import process

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]
KEYS = ["train-000000", "train-000001", "train-000002"]


def test_lost_clips_are_shown_and_tried_again(medassets: Medassets, built_films: Path) -> None:
    shard = built_films / "clips/train/shard-000001.tar"
    whole = shard.read_bytes()
    shard.unlink()
    ran = medassets("status", "films")
    assert ran.code == 1
    assert "lost (made once, no longer whole on disk): train-000001" in ran.out
    assert "`medassets build films --mode clip` makes them whole" in ran.out
    document = medassets("status", "films", "--json").document
    assert (document["stage"], document["counts"]) == ("frames", {"done": 3})
    assert document["stages"]["clips"]["shards"] == dict(
        zip(KEYS, ["done", "lost", "done"], strict=True)
    )
    retried = medassets("retry", "films", "--json").document
    assert (retried["built"], retried["failed"]) == (["clips/train-000001"], {})
    assert shard.read_bytes() == whole
    assert medassets("status", "films").code == 0


def test_failed_clips_and_failed_frames_are_both_tried_again(
    medassets: Medassets, built_films: Path
) -> None:
    blocked = [built_films / stage / "train/shard-000002.tar" for stage in ("clips", "frames")]
    for shard, mode in zip(blocked, ("clip", "process"), strict=True):
        shard.unlink()
        # A built_films where the shard belongs.
        (shard / "in the way").mkdir(parents=True)
        built = medassets("build", "films", "--mode", mode, "--json")
        assert built.code != 0
        # The published manifest of the frames keeps the samples of the lost shard.
        kept = ["manifest"] if mode == "process" else []
        assert list(built.document["failed"]) == ["train-000002", *kept]
    again = medassets("retry", "films", "--json")
    assert again.code != 0
    failed = ["clips/train-000002", "train-000002"]
    assert list(again.document["failed"])[:2] == failed
    for shard in blocked:
        shutil.rmtree(shard)
    done = medassets("retry", "films", "--json")
    assert (done.code, done.document["stages"]) == (0, ["clips", "frames"])
    assert done.document["built"] == ["clips/train-000002", "train-000002"]
    info = json.loads((built_films / "dataset_info.json").read_text())
    assert len(info["train"]) == 12
    assert medassets("status", "films").code == 0


@pytest.fixture
def killing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], AbstractContextManager[None]]:
    """Return a context within which every decoder is killed as soon as it is asked for clips."""
    send = process._Pipes.send

    def send_and_kill(pipes: Any, buffers: Any, timeout_s: float) -> None:
        send(pipes, buffers, timeout_s)
        request = b"".join(bytes(buffer) for buffer in buffers)
        if b'"decode"' in request or b'"write_clip"' in request:
            for child in psutil.Process().children():
                if "medassets.video.processes.worker" in child.cmdline():
                    child.kill()

    @contextmanager
    def kill() -> Iterator[None]:
        with monkeypatch.context() as patch:
            patch.setattr(process._Pipes, "send", send_and_kill)
            yield

    return kill


@pytest.mark.parametrize("stage", ["frames", "clips"])
def test_samples_lost_to_killed_decoders_are_named_and_tried_again(
    stage: str,
    medassets: Medassets,
    built_films: Path,
    killing: Callable[[], AbstractContextManager[None]],
) -> None:
    shards = sorted((built_films / stage / "train").glob("*.tar"))
    before = {shard: shard.read_bytes() for shard in shards}
    mode = {"frames": "process", "clips": "clip"}[stage]
    options = ("--mode", mode, "--partitions", KEYS[1], "--force", "--no-refresh")
    with killing():
        ran = medassets("build", "films", *options)
    # The published manifest of the frames keeps the four samples until they are made again.
    assert ran.code == (1 if stage == "frames" else 0), ran.err
    if stage == "frames":
        assert "`medassets retry films` tries rejected samples again" in ran.err
    assert "rejected: 4 samples (decoder_killed 4)" in ran.out
    assert (
        "  4 samples of them because of a transient failure; `medassets retry films` tries again\n"
        in ran.out
    )
    ran = medassets("status", "films")
    assert ran.code == 0
    assert "rejected because of a transient failure: 4 samples (decoder_killed 4)" in ran.out
    assert f"of {KEYS[1]}; `medassets retry films` tries them again" in ran.out
    document = medassets("status", "films", "--json").document
    assert document["stages"][stage]["to_retry"] == {KEYS[1]: {"decoder_killed": 4}}
    # A build leaves them alone: a video that hangs would hold up each.
    assert medassets("build", "films", "--json").document["built"] == []
    again = medassets("retry", "films", "--json").document
    assert again["built"] == [KEYS[1] if stage == "frames" else f"clips/{KEYS[1]}"]
    assert {shard: shard.read_bytes() for shard in shards} == before
    assert "decoder" not in medassets("status", "films").out
    assert medassets("retry", "films", "--json").document["built"] == []
