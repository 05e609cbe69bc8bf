"""Calls of a pool to its decoder processes, and the outcome of unanswered segments."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any, TypeGuard

from medassets.errors import DecoderLostError, DecoderUnavailableError, Reason, SampleRejectedError
from medassets.video.clips.plan import ClipEncoding, ClipFacts
from medassets.video.facts import VideoFacts
from medassets.video.processes.devices import GpuCount, describe_failure
from medassets.video.processes.messages import Message, Outcome, decode_outcome
from medassets.video.processes.slots import Slot
from medassets.video.requests import FrameRequest
from medassets.video.timeline import Segment

CPU, GPU = "cpu", "cuda"
_REPAIRED = (Reason.DECODE_FAILED, Reason.DECODER_KILLED)


@dataclass(frozen=True)
class Task:
    """Segments of one video to decode.

    Attributes:
        path: The video.
        segments: Parts of it.
        request: Which frames of each, and their size.
    """

    path: Path
    segments: tuple[Segment, ...]
    request: FrameRequest

    def decode(self, slot: Slot, device: str, *, fallback: str | None = None) -> list[Outcome]:
        """Return the outcome of each segment; unanswered segments share one rejection.

        Args:
            slot: A process.
            device: `cpu` or `cuda:<n>`.
            fallback: Noted in each clip.

        Raises:
            DecoderUnavailableError: If the device cannot decode, or the pool is closed.
        """
        answers: list[Outcome] = []
        try:
            self._fill(answers, slot, device)
        except SampleRejectedError as error:
            answers += [plain(error)] * (len(self.segments) - len(answers))
        return [_note(outcome, fallback) for outcome in answers]

    def decode_or_repair(self, slot: Slot, device: str) -> list[Outcome]:
        """Decode on a GPU, and on the CPU what the GPU fails at; the clips state why.

        A hang is not repeated, since it would take as long again.
        """
        answers: list[Outcome] = []
        try:
            self._fill(answers, slot, device)
        except SampleRejectedError as error:
            answers += [plain(error)] * (len(self.segments) - len(answers))
        except DecoderUnavailableError as error:
            refusal = SampleRejectedError(Reason.DECODE_FAILED, str(error))
            answers += [refusal] * (len(self.segments) - len(answers))
        answers = [_note(outcome, None) for outcome in answers]
        failed = {i: answer for i, answer in enumerate(answers) if _is_failure(answer)}
        if failed:
            again = replace(self, segments=tuple(self.segments[i] for i in failed))
            repaired = again.decode(slot, CPU)
            for (i, failure), outcome in zip(failed.items(), repaired, strict=True):
                why = describe_failure(failure, device)
                answers[i] = _note(outcome, f"the GPU failed: {why}")
        return answers

    def _fill(self, answers: list[Outcome], slot: Slot, device: str) -> None:
        """Add outcomes in order; those added before an error stay."""

        def unanswered() -> dict[str, Any]:
            return {
                "call": "decode",
                "path": str(self.path),
                "segments": [astuple(s) for s in self.segments[len(answers) :]],
                "request": asdict(self.request),
                "device": device,
            }

        ask(slot, unanswered, lambda message: answers.append(decode_outcome(message)))
        if len(answers) != len(self.segments):
            detail = f"the decoder answered {len(answers)} of {len(self.segments)} segments"
            raise SampleRejectedError(Reason.DECODE_FAILED, detail)


def ask(
    slot: Slot, request: Callable[[], Mapping[str, Any]], take: Callable[[Message], None]
) -> Any:
    """Call a process; repeat the call once if the process was killed, which is not due to the video.

    Args:
        slot: The process.
        request: Returns the request when it is sent.
        take: Called with each message before the answer.

    Raises:
        DecoderLostError: If the process is lost, or killed a second time.
    """
    try:
        return slot.process.call(request(), take)
    except DecoderLostError as lost:
        if lost.reason is not Reason.DECODER_KILLED:
            raise
    return slot.process.call(request(), take)


def ask_facts(slot: Slot, path: Path) -> VideoFacts:
    """Return the facts of a video; see `probe_video`."""
    return VideoFacts(**_ask_value(slot, {"call": "probe", "path": str(path)}))


def ask_clip(
    slot: Slot, path: Path, *, segment: Segment, encoding: ClipEncoding, target: Path
) -> ClipFacts:
    """Write a clip; see `write_clip`."""
    request = {
        "call": "write_clip",
        "path": str(path),
        "segment": astuple(segment),
        "encoding": asdict(encoding),
        "target": str(target),
    }
    return ClipFacts(**_ask_value(slot, request))


def ask_gpus(slot: Slot) -> GpuCount:
    """Return the GPUs of the driver; none if the driver crashes the process."""
    try:
        return GpuCount(**_ask_value(slot, {"call": "count_gpus"}))
    except DecoderLostError as lost:
        return GpuCount(0, f"the NVIDIA driver does not respond: {lost.detail}")


def ask_comparison(slot: Slot, path: Path, device: str) -> str | None:
    """Return why a GPU must not decode videos of this kind; see `compare_devices`.

    Raises:
        SampleRejectedError: If this video is inconclusive.
    """
    reached: list[Message] = []
    request = {"call": "compare", "path": str(path), "device": device}
    try:
        return ask(slot, lambda: request, reached.append)
    except DecoderLostError as lost:
        if not reached:
            raise
        return f"the GPU cannot decode it: {lost.detail}"


def plain(error: SampleRejectedError) -> SampleRejectedError:
    """Return a plain rejection, without the cause."""
    return SampleRejectedError(error.reason, error.detail)


def _ask_value(slot: Slot, request: Mapping[str, Any]) -> dict[str, Any]:
    return ask(slot, lambda: request, _ignore)


def _ignore(_: Message) -> None:
    """Ignore messages before the answer."""


def _is_failure(outcome: Outcome) -> TypeGuard[SampleRejectedError]:
    return isinstance(outcome, SampleRejectedError) and outcome.reason in _REPAIRED


def _note(outcome: Outcome, fallback: str | None) -> Outcome:
    """Note how a clip was decoded, without the number of the GPU, which differs between runs."""
    if isinstance(outcome, SampleRejectedError):
        return outcome
    device = GPU if outcome.device.startswith(GPU) else outcome.device
    return replace(outcome, device=device, fallback=fallback or outcome.fallback)
