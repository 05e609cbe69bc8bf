"""Choose the decoding device: count GPUs, and compare their frames with the CPU's.

The functions run in a decoder process, so that a driver that hangs or crashes does not end the run.
"""

import ctypes
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from medassets.errors import MedassetsError, SampleRejectedError
from medassets.video.facts import VideoFacts
from medassets.video.requests import DecodedClip, FrameRequest
from medassets.video.timeline import Segment

NO_GPU = "no CUDA device"
"""Why `auto` decodes on the CPU of a machine without a GPU."""

GPU_TOLERANCE = 2
"""Largest difference of a sample of a frame, in steps of uint8, between GPU and CPU.

H.264, HEVC, VP9 and AV1 define every decoded bit, so decoders agree exactly. The conversion to RGB
may differ: GPUs output interleaved chroma (NV12, P010), for which the scaler rounds differently.
MPEG-4 part 2 does not define its transform exactly.
"""

_COMPARED_MS = 1000
_COMPARED_FRAMES = 4
_COMPARED_HEIGHT, _COMPARED_WIDTH = 360, 640
_NO_DEVICE = 100

Preflight: TypeAlias = tuple[str, str, int]
"""Codec, pixel format, GPU."""


@dataclass(frozen=True)
class GpuCount:
    """GPUs that the driver reports.

    Attributes:
        num_gpus: Visible CUDA devices.
        problem: Why there are none; None if there are some.
    """

    num_gpus: int
    problem: str | None = None


class Preflights:
    """Results of testing each GPU on each kind of video; thread-safe.

    Only the first video of a kind is tested; callers with the same kind wait for the result.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._locks: dict[Preflight, threading.Lock] = defaultdict(threading.Lock)
        self._problems: dict[Preflight, str | None] = {}

    def find_problem(
        self, facts: VideoFacts, gpu: int, compare: Callable[[], str | None]
    ) -> str | None:
        """Return why a GPU must not decode this kind of video, None if it may.

        Args:
            facts: Facts of this video.
            gpu: The GPU.
            compare: Tests this video on the GPU, and returns the same.

        Raises:
            SampleRejectedError: If this video is inconclusive; the next one is tested.
        """
        key = (facts.codec, facts.pixel_format, gpu)
        with self._lock:
            lock = self._locks[key]
        with lock:
            if key not in self._problems:
                self._problems[key] = compare()
            return self._problems[key]


def count_gpus() -> GpuCount:
    """Ask the driver for its CUDA devices; does not initialize them."""
    from av.codec.hwaccel import hwdevices_available

    if "cuda" not in hwdevices_available():
        return GpuCount(0, "this build of PyAV has no CUDA; `pip install --upgrade av`")
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        problem = "the NVIDIA driver (libcuda.so.1) is not installed; install it, or run the container with GPUs"
        return GpuCount(0, problem)
    code = driver.cuInit(0)
    count = ctypes.c_int(0)
    if not code:
        code = driver.cuDeviceGetCount(ctypes.byref(count))
    if code == _NO_DEVICE or (not code and not count.value):
        visible = os.environ.get("CUDA_VISIBLE_DEVICES")
        return GpuCount(0, f"the driver shows no GPU (CUDA_VISIBLE_DEVICES is {visible!r})")
    if code:
        return GpuCount(0, f"the NVIDIA driver fails with CUDA error {code}; see `nvidia-smi`")
    return GpuCount(count.value)


def compare_devices(
    path: Path,
    device: str,
    *,
    on_reference: Callable[[], None],
    on_progress: Callable[[], None] | None = None,
) -> str | None:
    """Decode the first frames of a video on the CPU and on a GPU.

    Args:
        path: The video.
        device: The GPU, `cuda:<n>`.
        on_reference: Called when the CPU has decoded; later failures are the GPU's.
        on_progress: Called often during the work.

    Returns:
        Why the GPU must not decode such videos, None if the frames are the same.

    Raises:
        SampleRejectedError: If the CPU cannot decode them, so the comparison is inconclusive.
    """
    expected = _first_frames(path, "cpu", on_progress)
    on_reference()
    try:
        got = _first_frames(path, device, on_progress)
    except MedassetsError as error:
        return f"the GPU cannot decode it: {describe_failure(error, device)}"
    if got.timestamps_s != expected.timestamps_s or got.frames.shape != expected.frames.shape:
        return "the GPU outputs other frames than the CPU"
    difference = int(np.abs(got.frames.astype(np.int16) - expected.frames).max(initial=0))
    if difference > GPU_TOLERANCE:
        return f"frames of the GPU differ from those of the CPU by {difference} of 255"
    return None


def describe_failure(error: MedassetsError, device: str) -> str:
    """Return the error text without the number of the GPU, which differs between runs."""
    text = error.detail if isinstance(error, SampleRejectedError) else str(error)
    return text.replace(device, "cuda")


def _first_frames(path: Path, device: str, on_progress: Callable[[], None] | None) -> DecodedClip:
    from medassets.video.frames.decoding import decode_segments

    request = FrameRequest(
        num_frames=_COMPARED_FRAMES,
        max_frames=_COMPARED_FRAMES,
        height=_COMPARED_HEIGHT,
        width=_COMPARED_WIDTH,
        min_frames=1,
        end_tolerance_ms=_COMPARED_MS,
    )
    segments = [Segment(0, _COMPARED_MS)]
    (outcome,) = decode_segments(path, segments, request, device=device, on_progress=on_progress)
    if isinstance(outcome, SampleRejectedError):
        raise outcome
    return outcome
