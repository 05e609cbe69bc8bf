"""Commands on a dataset with two stages of shards: none is passed over in silence."""

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from medassets.cli.main import run
from medassets.testing.clip4mc import SyntheticVideos
from medassets.video.processes import process
from medassets_tests.cli.conftest import write_films

Medassets = Callable[..., Any]
KEYS = ["train-000000", "train-000001", "train-000002"]


@pytest.fixture(scope="module")
def made(films: SyntheticVideos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with frames, and with clips that only `--mode clip` made; copied by those who use it."""
    folder = tmp_path_factory.mktemp("made")
    write_films(films, folder / "declared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDASSETS_HOME", str(folder / "home"))
        patch.setenv("MEDASSETS_DEFS", str(folder / "declared"))
        # Set first, so that what a command sets in this process is gone afterwards.
        patch.setenv("DAGSTER_HOME", "")
        patch.delenv("DAGSTER_HOME")
        assert run(["build", "films"]) == 0
        assert run(["build", "films", "--mode", "clip", "--no-refresh"]) == 0
    return folder / "home"


@pytest.fixture
def folder(
    home: Path, made: Path, films: SyntheticVideos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The folder of `films`, built in this test's own home."""
    shutil.copytree(made, home)
    write_films(films, tmp_path / "declared")
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    return home / "data" / "films"


def flip(shard: Path) -> None:
    content = bytearray(shard.read_bytes())
    content[3000] ^= 1
    shard.write_bytes(content)


def test_damaged_clips_are_found_and_the_remedy_mends_them(
    medassets: Medassets, folder: Path
) -> None:
    fine = medassets("verify", "films")
    assert fine.code == 0
    assert fine.out.splitlines() == [
        f"films: {stage}: 3 shards checked (every byte), 0 damaged, 0 not made yet"
        for stage in ("frames", "clips")
    ]
    shards = [folder / stage / "train/shard-000001.tar" for stage in ("clips", "frames")]
    whole = [shard.read_bytes() for shard in shards]
    flip(shards[0])
    ran = medassets("verify", "films")
    assert ran.code == 1
    assert f"{shards[0]}: " in ran.err
    assert "films: clips: 3 shards checked (every byte), 1 damaged" in ran.out
    flip(shards[1])
    document = medassets("verify", "films", "--json").document
    assert document["damaged"] == ["train-000001"]
    assert {p["stage"] for p in document["problems"]} == {"frames", "clips"}
    assert document["stages"]["clips"]["damaged"] == ["train-000001"]
    for command in document["remedy"].split(" && "):
        program, *arguments = shlex.split(command)
        assert program == "medassets"
        assert medassets(*arguments).code == 0
    assert [shard.read_bytes() for shard in shards] == whole
    assert medassets("verify", "films").code == 0


def test_a_stage_narrows(medassets: Medassets, folder: Path) -> None:
    flip(folder / "clips/train/shard-000000.tar")
    (folder / "clips/train/shard-000002.tar").unlink()
    assert medassets("verify", "films", "--stage", "frames").code == 0
    assert medassets("verify", "films", "--stage", "clips").code == 1
    assert medassets("status", "films", "--stage", "frames").code == 0
    assert list(medassets("status", "films", "--stage", "clips", "--json").document["stages"]) == [
        "clips"
    ]
    assert medassets("retry", "films", "--stage", "frames", "--json").document["built"] == []
    assert medassets("retry", "films", "--stage", "sound").code == 2


def test_lost_clips_are_shown_and_tried_again(medassets: Medassets, folder: Path) -> None:
    shard = folder / "clips/train/shard-000001.tar"
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


def test_all_clips_lost_are_remembered_by_the_record(medassets: Medassets, folder: Path) -> None:
    shutil.rmtree(folder / "clips")
    ran = medassets("status", "films", "--json")
    assert ran.code == 1
    assert ran.document["stages"]["clips"]["counts"] == {"lost": 3}


def test_failed_clips_and_failed_frames_are_both_tried_again(
    medassets: Medassets, folder: Path
) -> None:
    blocked = [folder / stage / "train/shard-000002.tar" for stage in ("clips", "frames")]
    for shard, mode in zip(blocked, ("clip", "process"), strict=True):
        shard.unlink()
        # A folder where the shard belongs.
        (shard / "in the way").mkdir(parents=True)
        built = medassets("build", "films", "--mode", mode, "--json")
        assert built.code != 0
        assert list(built.document["failed"]) == ["train-000002"]
    again = medassets("retry", "films", "--json")
    assert again.code != 0
    assert list(again.document["failed"]) == ["clips/train-000002", "train-000002"]
    for shard in blocked:
        shutil.rmtree(shard)
    done = medassets("retry", "films", "--json")
    assert (done.code, done.document["stages"]) == (0, ["clips", "frames"])
    assert done.document["built"] == ["clips/train-000002", "train-000002"]
    info = json.loads((folder / "dataset_info.json").read_text())
    assert len(info["train"]) == 12
    assert medassets("status", "films").code == 0


def test_clips_that_the_declaration_asks_for_count_before_there_are_any(
    medassets: Medassets, folder: Path, films: SyntheticVideos, tmp_path: Path
) -> None:
    shutil.rmtree(folder / "clips")
    shutil.rmtree(folder.parents[1] / "dagster")
    stages = medassets("status", "films", "--json").document["stages"]
    # Nobody asked for them and nobody knows of any.
    assert list(stages) == ["frames"]
    write_films(films, tmp_path / "declared", clips="copy")
    document = medassets("status", "films", "--json").document
    assert document["stages"]["clips"]["counts"] == {"missing": 3}
    ran = medassets("verify", "films")
    assert ran.code == 0
    assert "films: clips: 0 shards checked (every byte), 0 damaged, 3 not made yet" in ran.out


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
    folder: Path,
    killing: Callable[[], AbstractContextManager[None]],
) -> None:
    shards = sorted((folder / stage / "train").glob("*.tar"))
    before = {shard: shard.read_bytes() for shard in shards}
    mode = {"frames": "process", "clips": "clip"}[stage]
    options = ("--mode", mode, "--partitions", KEYS[1], "--force", "--no-refresh")
    with killing():
        ran = medassets("build", "films", *options)
    assert ran.code == 0, ran.err
    assert "rejected: 4 samples (decoder_killed 4)" in ran.out
    assert "  4 samples of them for what may pass; `medassets retry films` tries again\n" in ran.out
    ran = medassets("status", "films")
    assert ran.code == 0
    assert "rejected for what may pass: 4 samples (decoder_killed 4)" in ran.out
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
