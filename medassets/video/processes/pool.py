"""Decode in separate processes, so that a hostile video costs only its own samples."""

import os
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

from medassets.errors import (
    DecoderLostError,
    DecoderUnavailableError,
    SampleRejectedError,
    SpecError,
)
from medassets.specs.checks import check_choice, check_range
from medassets.storage.private_names import sweep_private
from medassets.video.clips.plan import ClipEncoding, ClipFacts
from medassets.video.facts import VideoFacts
from medassets.video.processes.devices import NO_GPU, GpuCount, Preflights
from medassets.video.processes.messages import Outcome
from medassets.video.processes.slots import Slot, Slots
from medassets.video.processes.tasks import (
    CPU,
    Task,
    ask,
    ask_clip,
    ask_comparison,
    ask_facts,
    ask_gpus,
    plain,
)
from medassets.video.requests import FrameRequest
from medassets.video.timeline import Segment

Device = Literal["auto", "cpu", "cuda"]

# Drivers limit GeForce cards to 3 sessions (older) or 8 (newer); other cards have no limit. Source: NVIDIA, Video Encode and Decode GPU Support Matrix.
_NVENC_SESSIONS = 3

_REMEDY = "ask for device auto or cpu to decode on the CPU"


class DecoderPool:
    """Decoder processes, shared by threads; each call uses one exclusively.

    Processes start when they are first needed and end with the pool, or with this process. If one
    does not respond for `timeout_s`, or dies, its video is rejected and the process is replaced. A
    process killed by SIGKILL, which no codec sends itself, is not attributed to the video: the
    call is repeated once.

    Args:
        device: `cpu`; `cuda`, which fails if it cannot decode; `auto`, which then decodes on
            the CPU and states why in `DecodedClip.fallback`.
        gpu_ids: GPUs to use, by their CUDA index; empty uses all.
        workers_per_gpu: Processes for each GPU.
        num_workers: Processes when the CPU decodes; 0 means one per core.
        timeout_s: Longest time without a response during a call, in seconds.
        num_gpus: Number of GPUs to assume; None asks the driver. For tests without a GPU.

    Raises:
        SpecError: If an argument is out of range.
    """

    def __init__(
        self,
        device: Device = "auto",
        *,
        gpu_ids: Sequence[int] = (),
        workers_per_gpu: int = 2,
        num_workers: int = 0,
        timeout_s: float = 30.0,
        num_gpus: int | None = None,
    ) -> None:
        check_choice("device", device, get_args(Device))
        check_range("workers_per_gpu", workers_per_gpu, 1, 64)
        check_range("num_workers", num_workers, 0, 1024)
        check_range("timeout_s", timeout_s, 0.01, 86_400)
        for gpu in gpu_ids:
            check_range("gpu_ids", gpu, 0, 1023)
        self._device: Device = device
        self._gpu_ids, self._per_gpu = tuple(gpu_ids), workers_per_gpu
        self._num_workers = num_workers or len(os.sched_getaffinity(0))
        self._count = None if num_gpus is None else GpuCount(num_gpus, "num_gpus is 0")
        self._fallback: str | None = None
        self._refusal: str | None = None
        self._preflights = Preflights()
        self._slots = Slots(timeout_s)
        self._layout = threading.Lock()
        self._nvenc = threading.BoundedSemaphore(_NVENC_SESSIONS)
        self._gpus: tuple[int | None, ...] = ()
        self._close = weakref.finalize(self, self._slots.close)

    def __enter__(self) -> Self:
        """Return the pool; the end of the block closes it."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the pool."""
        self.close()

    @property
    def num_slots(self) -> int:
        """Maximum number of concurrent calls; further threads wait."""
        self._lay_out()
        return len(self._gpus)

    @property
    def is_closed(self) -> bool:
        """Whether the pool was closed."""
        return not self._close.alive

    @property
    def pids(self) -> tuple[int, ...]:
        """Ids of the decoder processes that run now."""
        return self._slots.pids

    def check_device(self) -> None:
        """Check that the requested device exists; decodes nothing.

        Raises:
            DecoderUnavailableError: If `cuda` is requested and no such GPU exists.
        """
        if self._device != "cuda":
            return
        self._lay_out()
        if self._refusal is not None:
            raise DecoderUnavailableError(self._refusal)

    def close(self) -> None:
        """End all processes; a call on another thread raises `DecoderUnavailableError`."""
        self._close()

    def decode(
        self, path: Path, segments: Sequence[Segment], request: FrameRequest
    ) -> list[Outcome]:
        """Decode segments of one video, in the order they are given.

        Args:
            path: The video.
            segments: Parts of it.
            request: Which frames of each, and how large.

        Returns:
            For each segment its clip or its rejection. `device` of a clip is `cpu` or `cuda`,
            without the GPU's number, which differs between runs.

        Raises:
            DecoderUnavailableError: If `cuda` is requested and cannot decode this video, or the
                pool is closed.
            OSError: If the machine, not the video, caused the failure.
        """
        self.check_device()
        task = Task(Path(path).absolute(), tuple(segments), request)
        with self._lend() as slot:
            try:
                device, fallback = self._place(slot, task.path)
            except SampleRejectedError as error:
                return [plain(error)] * len(task.segments)
            if device == CPU:
                return task.decode(slot, CPU, fallback=fallback)
            return self._decode_on_gpu(task, slot, device)

    def probe(self, path: Path) -> VideoFacts:
        """Return the facts of a video.

        Raises:
            SampleRejectedError: If it has no readable video stream, or its decoder process died.
        """
        with self._lend() as slot:
            return ask_facts(slot, Path(path).absolute())

    def write_clip(
        self, path: Path, segment: Segment, encoding: ClipEncoding, target: Path
    ) -> ClipFacts:
        """Write one segment of a video as a file; see `clips.writer.write_clip`.

        The CPU decodes it, whatever the device. At most three clips are encoded by NVENC at the
        same time.

        Raises:
            SampleRejectedError: If the video causes a failure, or its decoder process died.
            DecoderUnavailableError: If the pool is closed.
        """
        path, target = Path(path).absolute(), Path(target).absolute()
        with (
            self._nvenc if encoding.encoder == "h264_nvenc" else nullcontext(),
            self._lend() as slot,
        ):
            try:
                return ask_clip(slot, path, segment=segment, encoding=encoding, target=target)
            except DecoderLostError as lost:
                sweep_private(target)
                raise plain(lost) from lost

    def check_encoder(self, encoding: ClipEncoding) -> None:
        """Check that clips can be encoded here; no video is read.

        Raises:
            SpecError: If the encoder is not available, or rejects its settings.
        """
        request = {"call": "check_encoder", "encoding": asdict(encoding)}
        with self._lend() as slot:
            try:
                ask(slot, lambda: request, lambda _: None)
            except DecoderLostError as lost:
                raise SpecError(
                    field="clip_encoder",
                    what=f"{encoding.encoder} crashes its process: {lost.detail}",
                ) from lost

    @contextmanager
    def _lend(self) -> Iterator[Slot]:
        self._lay_out()
        with self._slots.lend() as slot:
            yield slot

    def _lay_out(self) -> None:
        """Assign a device to each slot, once; one process counts the GPUs."""
        with self._layout:
            if self._gpus:
                return
            if not len(self._slots):
                self._slots.add(None)
            with self._slots.lend() as first:
                gpus = self._choose_gpus(first)
                first.gpu = gpus[0]
            for gpu in gpus[1:]:
                self._slots.add(gpu)
            self._gpus = gpus

    def _choose_gpus(self, slot: Slot) -> tuple[int | None, ...]:
        """Return the GPU of each slot, None for the CPU."""
        on_cpu = (None,) * self._num_workers
        if self._device == "cpu":
            return on_cpu
        count = self._count or ask_gpus(slot)
        wanted = self._gpu_ids or tuple(range(count.num_gpus))
        missing = [gpu for gpu in wanted if gpu >= count.num_gpus]
        if count.num_gpus and not missing:
            # GPUs alternate, so that few threads use all of them.
            return wanted * self._per_gpu
        problem = f"gpu_ids {missing}: this machine has only {count.num_gpus} GPUs"
        if not count.num_gpus:
            problem = count.problem or NO_GPU
        if self._device == "cuda":
            # Only decoding is refused; probing and clips run on the CPU anyway.
            self._refusal = f"device 'cuda' cannot decode here: {problem}; or {_REMEDY}"
        self._fallback = problem if count.num_gpus else NO_GPU
        return on_cpu

    def _place(self, slot: Slot, path: Path) -> tuple[str, str | None]:
        """Return the device for a video, and why it is not a GPU."""
        if slot.gpu is None:
            return CPU, self._fallback
        device, facts = f"cuda:{slot.gpu}", ask_facts(slot, path)
        compare = partial(ask_comparison, slot, path, device)
        try:
            problem = self._preflights.find_problem(facts, slot.gpu, compare)
        except SampleRejectedError as error:
            if self._device == "cuda":
                return device, None
            problem = f"its first frames cannot be compared: {error.detail}"
        if problem is None:
            return device, None
        if self._device == "cuda":
            kind = f"{facts.codec} ({facts.pixel_format})"
            msg = f"{path.name}: {device} cannot be used for {kind}: {problem}; {_REMEDY}"
            raise DecoderUnavailableError(msg)
        return CPU, problem

    def _decode_on_gpu(self, task: Task, slot: Slot, device: str) -> list[Outcome]:
        if self._device == "cuda":
            return task.decode(slot, device)
        return task.decode_or_repair(slot, device)
