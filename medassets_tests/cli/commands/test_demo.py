"""`medassets demo`: it builds, and every line it prints can be pasted."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest

pytestmark = pytest.mark.slow

Medassets = Callable[..., Any]


def test_the_demo_builds_and_its_lines_can_be_pasted(tmp_path: Path) -> None:
    home = tmp_path / "a home"
    bin_folder = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{bin_folder}:{os.environ['PATH']}"}
    demo = [sys.executable, "-m", "medassets", "demo", "--num-patients", "1"]
    ran = subprocess.run(
        demo,
        env={**environment, "MEDASSETS_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
    )
    assert "demo_ct: 2 shards built (4 samples, " in ran.stdout
    lines = ran.stdout.partition("look at it:\n")[2].partition("\n\n")[0].splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["medassets"] * 4
    # The last one opens the UI, which has tests of its own.
    script = "\n".join(lines[:-1])
    del environment["MEDASSETS_HOME"]
    pasted = subprocess.run(
        ["bash", "-ec", script], env=environment, capture_output=True, text=True, timeout=400
    )
    assert pasted.returncode == 0, pasted.stderr
    assert "demo_ct: 2 shards checked (every byte), 0 damaged" in pasted.stdout
    assert "120 x 120 x 60 float16" in pasted.stdout


def test_the_demo_as_json_is_one_document_and_serving_ends_with_ctrl_c(
    medassets: Medassets, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: float) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("medassets.cli.commands.demo._PORT", 0)
    monkeypatch.setattr("medassets.cli.commands.demo.time", SimpleNamespace(sleep=interrupt))
    monkeypatch.delenv("MEDASSETS_DEMO_HUB", raising=False)
    ran = medassets("demo", "--num-patients", "1", "--serve", "--json")
    assert ran.code == 0
    assert json.loads(ran.out)["num_samples"] == 4
    again = medassets("demo", "--num-patients", "1", "--serve")
    assert again.code == 0
    assert "demo_ct: 0 shards built, 2 kept" in again.out
    assert again.out.endswith("Ctrl-C stops\nstopped\n")


def test_a_port_in_use_is_a_clear_error(
    medassets: Medassets, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr("medassets.cli.commands.demo._PORT", taken.getsockname()[1])
        ran = medassets("demo", "--num-patients", "1", "--serve")
    assert ran.code == 2
    assert "--serve: cannot listen on 127.0.0.1:" in ran.err


def test_the_video_demo_builds_clips_and_frames_and_exports(medassets: Medassets) -> None:
    ran = medassets("demo", "demo_video")
    assert ran.code == 0
    assert "demo_video: 3 shards built (24 samples, " in ran.out
    assert "medassets inspect" in ran.out
    assert medassets("verify", "demo_video", "--json").document["damaged"] == []
    clips = medassets("status", "demo_video", "--stage", "clips", "--json").document
    assert clips["counts"] == {"done": 3}
    exported = medassets("export", "demo_video", "--json").document
    assert exported["written"] == 24
    again = medassets("demo", "demo_video")
    assert "0 shards built, 3 kept" in again.out


def test_a_damaged_clip_is_made_again_by_the_command_that_verify_names(
    medassets: Medassets, home: Path
) -> None:
    assert medassets("demo", "demo_video").code == 0
    shard = home / "data" / "demo_video" / "clips" / "train" / "shard-000000.tar"
    whole = shard.read_bytes()
    shard.write_bytes(whole[:700] + bytes([whole[700] ^ 1]) + whole[701:])
    found = medassets("verify", "demo_video", "--stage", "clips", "--json").document
    expected = "medassets build demo_video --mode clip --partitions train-000000 --force"
    assert found["remedy"] == expected
    assert medassets(*found["remedy"].split()[1:]).code == 0
    assert shard.read_bytes() == whole
