"""One decoder process: started on demand, monitored during calls, replaced when it dies."""

import logging
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any

from medassets.errors import DecoderLostError, DecoderUnavailableError, GarbledMessageError, Reason
from medassets.video.processes.messages import (
    Bytes,
    Message,
    decode_error,
    encode_message,
    read_message,
)

logger = logging.getLogger(__name__)

# Decoding leaks about 20 KB per video; starting a process costs as much as ten videos.
_MOST_CALLS = 1000
_START_TIMEOUT_S = 120.0
_REAP_TIMEOUT_S = 5.0
_PIPE_BYTES = 1 << 20
_TAIL_BYTES = 4000
_ERROR_NAME = re.compile(r"([A-Za-z_][\w.]*)(?::|$)")


class Starter:
    """Starts processes from one thread that outlives them.

    A decoder asks the kernel to be killed with its parent. For the kernel the parent is the thread
    that started it, so a decoder started by a short-lived thread would die with that thread.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="medassets-decoder-starter")

    def run(self, start: Callable[[], None]) -> None:
        """Call `start` on the thread and wait for it."""
        self._thread.submit(start).result()

    def close(self) -> None:
        """End the thread, and with it the processes that it started."""
        self._thread.shutdown(wait=True, cancel_futures=True)


def worker_command() -> list[str]:
    """Return the command line of a decoder process."""
    # -P: do not import a file `av.py` in the working folder.
    return [sys.executable, "-P", "-m", "medassets.video.processes.worker", str(os.getpid())]


class DecoderProcess:
    """A decoder process and its replacements, for one caller at a time.

    Args:
        starter: Starts it.
        timeout_s: Longest time without a response during a call, in seconds.
        command: Its command line; None runs `medassets.video.processes.worker`.
    """

    def __init__(
        self, starter: Starter, timeout_s: float, command: Sequence[str] | None = None
    ) -> None:
        self._starter, self._timeout_s, self._command = starter, timeout_s, command
        self._process: subprocess.Popen[bytes] | None = None
        self._pipes: _Pipes | None = None
        self._errors: IO[bytes] = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115
        self._ended = False
        self._num_calls = 0

    @property
    def pid(self) -> int | None:
        """Id of the process, None while none runs."""
        return self._process.pid if self._process is not None else None

    def call(self, request: Mapping[str, Any], take: Callable[[Message], None]) -> Any:
        """Send a request and return the answer; starts the process if none runs.

        Args:
            request: The request, JSON-like.
            take: Called with each message before the answer.

        Returns:
            The value of the answer.

        Raises:
            DecoderLostError: If the process did not respond, died, or sent an invalid response.
            DecoderUnavailableError: If it cannot be started, or was ended by `interrupt`.
            MedassetsError: Raised by the request in the process.
            OSError: Raised by the request in the process.

        After every other error the process has been ended.
        """
        try:
            answer = self._exchange(request, take)
        except BaseException:
            # After an error or Ctrl-C here, a late response would be taken for the answer to the
            # next request.
            self.kill()
            raise
        self._num_calls += 1
        if self._num_calls >= _MOST_CALLS:
            self.kill()
        if answer["kind"] == "error":
            raise decode_error(answer)
        return answer.get("value")

    def kill(self) -> None:
        """End the process, if one runs, and reap it."""
        process, self._process, self._pipes = self._process, None, None
        if process is not None:
            _reap(process)

    def interrupt(self) -> None:
        """End the process permanently during a call of another thread."""
        self._ended = True
        process = self._process
        if process is not None:
            process.kill()

    def end(self) -> None:
        """End the process permanently; no call may be in progress."""
        self.interrupt()
        self.kill()
        self._errors.close()

    def _exchange(
        self, request: Mapping[str, Any], take: Callable[[Message], None]
    ) -> dict[str, Any]:
        pipes = self._open()
        os.ftruncate(self._errors.fileno(), 0)
        self._errors.seek(0)
        # Often enough that an overloaded machine is not taken for a hang.
        beat_s = min(1.0, self._timeout_s / 8)
        try:
            pipes.send(encode_message({**request, "beat_s": beat_s}), self._timeout_s)
            while True:
                message = pipes.receive(self._timeout_s)
                kind = message.header.get("kind")
                if kind in ("done", "error"):
                    return message.header
                if kind != "alive":
                    take(message)
        except TimeoutError as error:
            detail = f"the decoder did not respond for {self._timeout_s:g} s"
            raise DecoderLostError(Reason.DECODER_TIMEOUT, detail) from error
        except (EOFError, BrokenPipeError, ConnectionError) as error:
            raise self._explain_death() from error
        except GarbledMessageError as error:
            logger.warning("a decoder process sent an invalid response: %s", error)
            detail = "the decoder process sent an invalid response"
            raise DecoderLostError(Reason.DECODE_FAILED, detail) from error

    def _open(self) -> "_Pipes":
        self._check_not_ended()
        if self._process is not None and self._process.poll() is not None:
            # It died while idle; no video is the cause.
            self.kill()
        if self._pipes is None:
            self._pipes = self._begin() or self._begin()
        if self._pipes is None:
            words = self._last_words() or "it printed no message"
            msg = f"the decoder process does not start: {words.splitlines()[-1]}"
            raise DecoderUnavailableError(msg)
        return self._pipes

    def _begin(self) -> "_Pipes | None":
        """Start a process; return its pipes when it is ready, None if it does not start."""
        self._starter.run(self._start)
        self._check_not_ended()
        assert self._process is not None
        pipes = _Pipes(self._process)
        try:
            pipes.receive(_START_TIMEOUT_S)
        except (EOFError, TimeoutError, GarbledMessageError):
            return None
        return pipes

    def _start(self) -> None:
        # A caller interrupted while it waited for this thread may have left a process.
        self.kill()
        self._num_calls = 0
        self._process = subprocess.Popen(
            self._command or worker_command(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            bufsize=0,
            pipesize=_PIPE_BYTES if sys.platform == "linux" else -1,
            # Ctrl-C in a terminal reaches the whole process group; the parent decides what ends.
            process_group=0,
            env={"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **os.environ},
        )

    def _check_not_ended(self) -> None:
        if self._ended:
            msg = "the decoder was closed during a call"
            raise DecoderUnavailableError(msg)

    def _explain_death(self) -> DecoderLostError:
        assert self._process is not None
        self._check_not_ended()
        try:
            code = self._process.wait(_REAP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            detail = "the decoder process closed its output"
            return DecoderLostError(Reason.DECODE_FAILED, detail)
        self._check_not_ended()
        if code < 0:
            detail = f"the decoder process was terminated by {_signal_name(-code)}"
            if code == -signal.SIGKILL:
                return DecoderLostError(Reason.DECODER_KILLED, detail)
            return DecoderLostError(Reason.DECODE_FAILED, detail)
        words = self._last_words()
        logger.warning("a decoder process ended with status %d:\n%s", code, words)
        name = _ERROR_NAME.match(words.splitlines()[-1]) if words else None
        cause = f" ({name[1].rpartition('.')[2]})" if name else ""
        detail = f"the decoder process exited with status {code}{cause}"
        return DecoderLostError(Reason.DECODE_FAILED, detail)

    def _last_words(self) -> str:
        size = self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(size - _TAIL_BYTES, 0))
        return self._errors.read().decode(errors="replace").strip()


class _Pipes:
    """Both pipes of a process, with timeouts."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._requests, self._answers = process.stdin, process.stdout
        os.set_blocking(self._requests.fileno(), False)

    def send(self, buffers: Sequence[Bytes], timeout_s: float) -> None:
        fd = self._requests.fileno()
        for buffer in buffers:
            view = memoryview(buffer)
            while len(view):
                _wait(fd, select.POLLOUT, timeout_s)
                with suppress(BlockingIOError):
                    view = view[os.write(fd, view) :]

    def receive(self, timeout_s: float) -> Message:
        fd = self._answers.fileno()

        def fill(view: memoryview) -> None:
            while len(view):
                _wait(fd, select.POLLIN, timeout_s)
                count = os.readv(fd, [view])
                if not count:
                    raise EOFError
                view = view[count:]

        return read_message(fill)


def _wait(fd: int, event: int, timeout_s: float) -> None:
    """Wait until a pipe is ready; time during which this process is stopped hardly counts."""
    poll = select.poll()
    poll.register(fd, event)
    piece_s, silent_s = min(1.0, timeout_s / 4), 0.0
    while not poll.poll(piece_s * 1000):
        silent_s += piece_s
        if silent_s >= timeout_s:
            raise TimeoutError


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _reap(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()
    with suppress(subprocess.TimeoutExpired):
        # A process blocked by an unavailable network disk cannot be killed yet; it is reaped later.
        process.wait(_REAP_TIMEOUT_S)
