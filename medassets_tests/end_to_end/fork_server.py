"""A process that has everything imported and forks one child per `medassets` command.

Starting an interpreter takes longer than a tiny build, and these tests need hundreds of builds.
The parent never runs a thread, so its children begin like fresh processes. After a request with
`warm` it has imported what the child needed, and loaded the declarations.

It reads one JSON request per line: `arguments` of the command, `environment` to set, `log` for
the child's output, and what to disturb: `encode_log` takes a line per encoded sample,
`encode_delay_s` slows every sample, `die_at` kills the child at that file operation (`op_log`
lists them: those on data and staging, and with `watch` those on another folder and what is read),
and no file may grow beyond `largest_file_bytes`. `die_among` counts only operations whose line in
the log has that pattern. `set` gives names of the package other values, as a later version of it
has; `pad_json` adds so many bytes to the json of every sample of a raw volume. It answers with the
child's pid, then with how the child ended.
"""

import faulthandler
import importlib
import json
import os
import pkgutil
import re
import resource
import signal
import sys
import time
from pathlib import Path
from typing import Any, NoReturn

_PATIENCE_S = 300.0
_FILE_OPERATIONS = (
    "write",
    "replace",
    "unlink",
    "ftruncate",
    "fsync",
    "fdatasync",
    "mkdir",
    "rmdir",
)
_READS = ("pread", "preadv", "posix_fadvise")


def main() -> None:
    """Serve until standard input ends."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _run_child(request)
        _answer({"pid": pid})
        _, status = os.waitpid(pid, 0)
        if modules := request.get("warm"):
            _import_all(Path(modules))
            _load_declarations(request["environment"])
        _answer({"code": os.waitstatus_to_exitcode(status)})


def _answer(document: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


def _import_all(names: Path) -> None:
    """Import what a child has needed, so that the next ones find it there."""
    for name in names.read_text().split():
        if name not in sys.modules:
            importlib.import_module(name)


def _load_declarations(environment: dict[str, str]) -> None:
    """Load the declarations once; the children find them loaded."""
    from medassets.cli import session

    os.environ.update(environment)
    loaded = session.load_declared()
    session.load_declared = lambda: loaded


def _set_values(values: dict[str, Any]) -> None:
    """Give names other values; what the parent computed of them is computed again."""
    from medassets.datasets import volumes

    for name, value in values.items():
        holder, _, attribute = name.rpartition(".")
        setattr(pkgutil.resolve_name(holder), attribute, value)
    fresh = property(lambda kind: volumes.facts_fingerprint(kind.facts()))
    volumes.VolumeDataset._fingerprint = fresh  # pyright: ignore[reportAttributeAccessIssue]


def _run_child(request: dict[str, Any]) -> NoReturn:
    sys.stdin.close()
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(request["environment"])
    faulthandler.dump_traceback_later(_PATIENCE_S, exit=True)
    code = 70
    try:
        code = _run_command(request)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _run_command(request: dict[str, Any]) -> int:
    from medassets.cli.main import run

    if values := request.get("set"):
        _set_values(values)
    if padding := request.get("pad_json"):
        _pad_json(padding)
    if encode_log := request.get("encode_log"):
        _note_encoded(Path(encode_log), request.get("encode_delay_s", 0.0))
    if largest := request.get("largest_file_bytes"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    if op_log := request.get("op_log"):
        home = Path(request["environment"]["MEDASSETS_HOME"]).resolve()
        places = [str(home / name) for name in ("data", "staging")]
        names = _FILE_OPERATIONS
        if watch := request.get("watch"):
            places.append(watch)
            names += _READS
        die_among = re.compile(request.get("die_among", ""))
        _count_operations(Path(op_log), names, tuple(places), request.get("die_at"), die_among)
    code = run(request["arguments"])
    if modules := request.get("warm"):
        known = (n for n, m in list(sys.modules.items()) if getattr(m, "__spec__", None))
        Path(modules).write_text("\n".join(n for n in known if n != "__main__"))
    return code


def _pad_json(num_bytes: int) -> None:
    from medassets.volumes import raw_samples

    encode = raw_samples.encode_json
    raw_samples.encode_json = lambda described: encode(described) + b" " * num_bytes


def _note_encoded(log: Path, delay_s: float) -> None:
    """Write the key of every sample that begins to be encoded, whatever happens next."""
    from medassets.volumes import samples

    fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    encode, write = samples.encode_volume_sample, os.write

    def noted(item: Any, staged: Any, **options: Any) -> Any:
        write(fd, f"{item.key}\n".encode())
        time.sleep(delay_s)
        return encode(item, staged, **options)

    samples.encode_volume_sample = noted


def _count_operations(
    log: Path,
    names: tuple[str, ...],
    places: tuple[str, ...],
    die_at: int | None,
    die_among: re.Pattern[str],
) -> None:
    """Number the operations on some folders; at number `die_at`, half of it is done at most."""
    seen: list[str] = []
    log_fd = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    real_write = os.write

    def wrap(name: str) -> None:
        real = getattr(os, name)

        def counted(target: Any, *arguments: Any, **options: Any) -> Any:
            named = isinstance(target, str | Path)
            place = Path(target) if named else Path(f"/proc/self/fd/{target}").readlink()
            if str(place).startswith(places):
                line = f"{name} {place}\n"
                real_write(log_fd, line.encode())
                if not die_among.search(line):
                    return real(target, *arguments, **options)
                seen.append(name)
                if len(seen) == die_at:
                    if name == "write":
                        view = memoryview(arguments[0]).cast("B")
                        real(target, view[: len(view) // 2])
                    os.kill(os.getpid(), signal.SIGKILL)
            return real(target, *arguments, **options)

        setattr(os, name, counted)

    for name in names:
        wrap(name)


if __name__ == "__main__":
    main()
