"""The decoder process: `python -m medassets.video.processes.worker <parent's process id>`.

Reads requests from its standard input and answers on its standard output until that input ends.
It runs the codecs, so that a crash or a hang inside them is not one of the run. What it is asked
and what it answers is in `medassets.video.processes.messages`.
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
    """The way back to the pool.

    Args:
        fd: Where answers are written.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._beat_s = 1.0
        self._sent_s = time.monotonic()

    def begin(self, beat_s: float) -> None:
        """Begin a request that wants to hear something every so many seconds."""
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
        """Say that work goes on, unless something was said a moment ago."""
        if time.monotonic() - self._sent_s >= self._beat_s:
            self.send(encode_message({"kind": "alive"}))


def main(arguments: Sequence[str]) -> None:
    """Serve until the parent closes the requests, or is gone."""
    answers = Answers(_claim_stdout())
    _follow_parent(int(arguments[0]))
    _step_back()
    # Before the first video waits for it; and a broken installation shows at once.
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
    # One by one: what is answered before a hang is not lost with it.
    while True:
        # Answers have nothing to do with the file.
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
    """Keep standard output for answers; what libraries print goes where errors go."""
    fd = os.dup(1)
    os.dup2(2, 1)
    return fd


def _follow_parent(parent: int) -> None:
    """Be killed when the parent dies, however it dies and whatever goes on here."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        # It died before it could be followed.
        os._exit(0)


def _step_back() -> None:
    """Leave the end of the work to the parent, and be the first to go when memory runs out."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)


if __name__ == "__main__":
    main(sys.argv[1:])
