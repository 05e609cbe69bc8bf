"""The decoder process: `python -m medassets.video.processes.worker <parent's process id>`.

Reads requests from standard input and answers on standard output until the input ends. It runs
the codecs, so that a crash or hang in them does not affect the run. The protocol is in
`medassets.video.processes.messages`.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from medassets.errors import MedassetsError
from medassets.video.processes.messages import (
    Bytes,
    encode_error,
    encode_message,
    encode_outcome,
    read_message,
)
from medassets.video.requests import FrameRequest
from medassets.video.timeline import Segment

_PR_SET_PDEATHSIG = 1
_OOM_SCORE = "500"


class Answers:
    """Sends answers to the pool.

    Args:
        fd: File descriptor to write to.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._beat_s = 1.0
        self._sent_s = time.monotonic()

    def begin(self, beat_s: float) -> None:
        """Begin a request that expects a message at this interval, in seconds."""
        self._beat_s = beat_s
        self._sent_s = time.monotonic()

    def send(self, buffers: Sequence[Bytes]) -> None:
        """Write one message."""
        for buffer in buffers:
            view = memoryview(buffer)
            while len(view):
                view = view[os.write(self._fd, view) :]
        self._sent_s = time.monotonic()

    def beat(self) -> None:
        """Report progress, unless a message was sent within the interval."""
        if time.monotonic() - self._sent_s >= self._beat_s:
            self.send(encode_message({"kind": "alive"}))


def main(arguments: Sequence[str]) -> None:
    """Serve until the parent closes the input, or ends."""
    answers = Answers(_claim_stdout())
    _follow_parent(int(arguments[0]))
    _step_back()
    # So that the first video does not wait, and a broken installation is reported at once.
    import_module("medassets.video.files.reader")
    answers.send(encode_message({"kind": "ready"}))
    for request in _iter_requests():
        answers.begin(request["beat_s"])
        answers.send(encode_message(_serve(request, answers)))


def _serve(request: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    try:
        return {"kind": "done", "value": _CALLS[request["call"]](request, answers)}
    except (MedassetsError, OSError) as error:
        return encode_error(error)


def _decode(request: Mapping[str, Any], answers: Answers) -> None:
    from medassets.storage.unreadable import unreadable_as_rejection
    from medassets.video.frames.decoding import decode_segments

    outcomes = decode_segments(
        Path(request["path"]),
        [Segment(*segment) for segment in request["segments"]],
        FrameRequest(**request["request"]),
        device=request["device"],
        on_progress=answers.beat,
    )
    # One by one, so that a hang does not lose earlier answers.
    while True:
        # Errors of sending answers are not errors of the file.
        with unreadable_as_rejection():
            outcome = next(outcomes, None)
        if outcome is None:
            return
        answers.send(encode_outcome(outcome))


def _probe(request: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    from medassets.storage.unreadable import unreadable_as_rejection
    from medassets.video.files.probe import probe_video

    with unreadable_as_rejection():
        return asdict(probe_video(Path(request["path"])))


def _write_clip(request: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    from medassets.video.clips.plan import ClipEncoding
    from medassets.video.clips.writer import write_clip

    facts = write_clip(
        Path(request["path"]),
        Segment(*request["segment"]),
        ClipEncoding(**request["encoding"]),
        Path(request["target"]),
        on_progress=answers.beat,
    )
    return asdict(facts)


def _check_encoder(request: Mapping[str, Any], answers: Answers) -> None:
    from medassets.video.clips.plan import ClipEncoding
    from medassets.video.clips.reencode import check_encoder

    check_encoder(ClipEncoding(**request["encoding"]))


def _count_gpus(request: Mapping[str, Any], answers: Answers) -> dict[str, Any]:
    from medassets.video.processes.devices import count_gpus

    return asdict(count_gpus())


def _compare(request: Mapping[str, Any], answers: Answers) -> str | None:
    from medassets.video.processes.devices import compare_devices

    return compare_devices(
        Path(request["path"]),
        request["device"],
        on_reference=lambda: answers.send(encode_message({"kind": "reference"})),
        on_progress=answers.beat,
    )


_CALLS: dict[str, Callable[[Mapping[str, Any], Answers], Any]] = {
    "decode": _decode,
    "probe": _probe,
    "write_clip": _write_clip,
    "check_encoder": _check_encoder,
    "count_gpus": _count_gpus,
    "compare": _compare,
}


def _iter_requests() -> Iterator[dict[str, Any]]:
    with suppress(EOFError):
        while True:
            yield read_message(_fill_from_stdin).header


def _fill_from_stdin(view: memoryview) -> None:
    while len(view):
        count = os.readv(0, [view])
        if not count:
            raise EOFError
        view = view[count:]


def _claim_stdout() -> int:
    """Reserve standard output for answers; redirect what libraries print to standard error."""
    fd = os.dup(1)
    os.dup2(2, 1)
    return fd


def _follow_parent(parent: int) -> None:
    """Ask the kernel to kill this process when the parent dies."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # The parent died before the request to the kernel.
        os._exit(0)


def _step_back() -> None:
    """Let the parent decide when to end, and be killed first when memory runs out."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


if __name__ == "__main__":
    main(sys.argv[1:])
