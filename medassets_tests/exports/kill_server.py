"""A process that forks one export per request, and kills it in the middle of a file operation.

It reads one JSON request per line: `format`, `root` of the data, `out`, `layout` of the frames, and
`die_at`, the number of the file operation at which the child dies with at most half of it done; 0 lets it live. It answers
with how the child ended and how many operations it began.
"""

import json
import os
import signal
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from medassets.exports.clip4mc import export_clip4mc
from medassets.exports.clips import export_clips
from medassets.exports.formats import ExportOptions
from medassets.storage.paths import DatasetPaths

PARTITIONS = ["train-000000", "train-000001", "test-000000"]
_OPERATIONS = ("write", "replace", "unlink", "rmdir", "mkdir", "fsync", "ftruncate")


def main() -> None:
    """Serve until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            _run_child(request, writer)
        os.close(writer)
        begun = 0
        while chunk := os.read(reader, 65536):
            begun += len(chunk)
        os.close(reader)
        _, status = os.waitpid(pid, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "operations": begun}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _run_child(request: dict[str, Any], writer: int) -> None:
    code = 1
    try:
        _count_operations(writer, request["die_at"])
        export = partial(export_clip4mc, layout=request["layout"], relative=True)
        if request["format"] == "clips":
            export = export_clips
        paths = DatasetPaths(Path(request["root"]), "tiny")
        result = export(
            paths, PARTITIONS, Path(request["out"]), options=ExportOptions(num_workers=2)
        )
        code = len(result.problems)
    finally:
        os._exit(code)


def _count_operations(writer: int, die_at: int) -> None:
    lock, seen, real_write = threading.Lock(), [], os.write

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def counted(*arguments: Any, **options: Any) -> Any:
            with lock:
                seen.append(name)
                real_write(writer, b".")
                if len(seen) == die_at:
                    if name == "write":
                        view = memoryview(arguments[1]).cast("B")
                        real(arguments[0], view[: len(view) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)

        setattr(os, name, counted)

    for name in _OPERATIONS:
        wrap(name)


if __name__ == "__main__":
    main()
