"""What would stop every shard is found before the first one."""

from pathlib import Path
from typing import Any

import pytest

from medassets.datasets.preflight import check_ready
from medassets.datasets.video import VideoClips, VideoFrames
from medassets.datasets.workspace import Workspace
from medassets.errors import DecoderUnavailableError, SpecError
from medassets.specs import VideoClipDatasetSpec


def declare(**fields: Any) -> VideoClipDatasetSpec:
    return VideoClipDatasetSpec(name="v", videos_dir="/v", metadata="/m.json", **fields)


@pytest.fixture(autouse=True)
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the GPUs of the machine, if there are any."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")


def test_volumes_need_neither_gpu_nor_encoder(workspace: Workspace) -> None:
    check_ready([workspace.kind], device="cuda")


def test_frames_need_the_gpu_that_is_asked_for() -> None:
    with pytest.raises(DecoderUnavailableError, match="device 'cuda' cannot decode here"):
        check_ready([VideoFrames(declare())], device="cuda")
    for device in ("", "auto", "cpu"):
        check_ready([VideoFrames(declare())], device=device)


def test_clips_need_no_gpu_whatever_decodes_frames() -> None:
    check_ready([VideoClips(declare(clips="reencode"))], device="cuda")
    check_ready([VideoClips(declare(clips="copy"))], device="cuda")


def test_an_encoder_that_is_not_there_is_named() -> None:
    kind = VideoClips(declare(clips="reencode", clip_encoder="h264_nvenc"))
    with pytest.raises(SpecError, match="h264_nvenc needs an NVIDIA GPU with a video encoder"):
        check_ready([kind])


def test_a_preset_that_the_encoder_does_not_know_is_named() -> None:
    with pytest.raises(SpecError, match="libx264 does not accept 'hasty'"):
        check_ready([VideoClips(declare(clips="reencode", clip_preset="hasty"))])


def test_only_frames_need_the_tokenizer(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    spec = declare(clips="copy", tokenizer=str(tmp_path / "tokenizer.json"))
    with pytest.raises(SpecError, match="cannot be read"):
        check_ready([VideoFrames(spec)])
    check_ready([VideoClips(spec)])
