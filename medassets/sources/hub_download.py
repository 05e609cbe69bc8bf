"""Download of one file, resumed across processes, checked, with limited retries."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from medassets.errors import LockTimeoutError, Reason, SampleRejectedError
from medassets.sources.base import OnBytes, RemoteFile
from medassets.sources.content_coding import find_coding, find_unknown_coding, iter_stored
from medassets.sources.hub_client import HubClient
from medassets.sources.hub_errors import Failure, FailureKind
from medassets.sources.partial import PartialFile, open_partial, partial_path
from medassets.sources.retries import Attempts
from medassets.sources.staged_notes import is_staged, write_note
from medassets.storage.atomic import publish_file
from medassets.storage.locks import lock_file
from medassets.storage.ownership import never, require_ours

if TYPE_CHECKING:
    import httpx2

_LOOK_UP_S = 1.0


def download_file(
    client: HubClient, file: RemoteFile, target: Path, *, on_bytes: OnBytes | None = None
) -> str:
    """Download one file of a repository to `target` and return its sha256.

    Bytes gather in `<target>.<digest>.part`; a killed download continues from there. One process
    at a time works on a target, and a target that is already right is taken as it is.

    Args:
        client: The repository.
        file: Description with revision, size and a digest.
        target: Final name; appears only when size and digest are right, with a note beside it; see
            `staged_notes`.
        on_bytes: Called with the size of every piece, and 0 while the download waits; what it raises
            ends the download.

    Raises:
        SampleRejectedError: If the file is missing, or its bytes are wrong repeatedly.
        SourceAccessError: If the hub refuses access.
        SourceUnavailableError: If the hub does not respond to any of several requests.
        DiskSpaceError: If the disk is full.
        LockTimeoutError: If another process works on the same target for too long.
        ForeignFileError: If a file that was not staged here has the name of the target.
    """
    tick = (lambda: on_bytes(0)) if on_bytes is not None else None
    target.parent.mkdir(parents=True, exist_ok=True)
    lock = target.with_name(f".{target.name}.lock")
    with _lock_ticking(lock, client.policy.lock_timeout_s, tick):
        adopted = _adopt_target(target, file, tick)
        if adopted is not None:
            return adopted
        part_path = partial_path(target, file)
        remove_partials(target, keep=part_path)
        with open_partial(part_path, file, on_bytes=on_bytes) as part:
            _fill(client, file, part, tick)
            sha256 = part.sha256
        require_ours(target, is_staged)
        # An outdated file of ours; its note is the evidence, so it goes before the next note comes.
        target.unlink(missing_ok=True)
        write_note(target, file, sha256, content=part_path)
        publish_file(part_path, target, is_ours=never)
    return sha256


def remove_partials(target: Path, *, keep: Path | None = None) -> None:
    """Remove partial files of earlier downloads of a target, except `keep`."""
    pattern = re.compile(re.escape(target.name) + r"\.[0-9a-f]{40,64}\.part")
    if not target.parent.is_dir():
        return
    for path in sorted(target.parent.iterdir()):
        if pattern.fullmatch(path.name) and path != keep:
            path.unlink(missing_ok=True)


def _fill(
    client: HubClient, file: RemoteFile, part: PartialFile, tick: Callable[[], None] | None
) -> None:
    """Request the missing bytes until the file is complete and has the stated digest."""
    attempts = Attempts(client.policy, client.limiter, what=file.uri, tick=tick)
    num_wrong = 0
    while not part.is_right():
        failure: Failure | None = None
        best = part.best_bytes
        if not part.is_complete:
            attempts.wait_for_turn()
            other_way = num_wrong % 2 == 1
            failure = client.attempt(
                lambda headers, other_way=other_way: _receive(
                    client, file, part, headers, other_way=other_way
                )
            )
        if part.is_complete and not part.is_right():
            part.restart()
            failure = Failure(FailureKind.WRONG_BYTES, "the digest is not the promised one")
        if failure is None:
            continue
        if failure.kind is FailureKind.MISSING_FILE:
            raise missing_file_error(file)
        is_wrong = failure.kind is FailureKind.WRONG_BYTES
        num_wrong += is_wrong
        if num_wrong >= client.policy.max_wrong_bytes:
            raise _wrong_bytes_error(file, num_wrong)
        # Wrong bytes are counted apart, so that they are reported as a checksum mismatch.
        progressed = is_wrong or part.best_bytes - best >= client.policy.progress_bytes
        attempts.wait_after(failure, progressed=progressed)


def _receive(
    client: HubClient,
    file: RemoteFile,
    part: PartialFile,
    headers: dict[str, str],
    *,
    other_way: bool,
) -> Failure | None:
    """Read one response; None if it is complete."""
    import httpx2

    revision = file.revision or "main"
    with client.open_file(
        file.path, revision=revision, offset=part.num_bytes, headers=headers
    ) as response:
        failure = _align(response, file, part)
        if failure is not None:
            return failure
        # A stored .gz must not be inflated: the digest is that of the stored bytes.
        num_missing = (file.num_bytes or 0) - part.num_bytes
        if unknown := find_unknown_coding(response, num_missing=num_missing):
            words = f"a proxy compresses the file as {unknown!r}, which was not requested"
            return Failure(FailureKind.REFUSED, f"{client.endpoint}: {words}; bypass it (NO_PROXY)")
        pieces = iter_stored(response, num_missing=num_missing, other_way=other_way)
        try:
            failure = _append(part, pieces, file)
        except httpx2.DecodingError as error:
            part.restart()
            words = (
                f"a proxy compresses the answer ({find_coding(response)}), and not well: {error}"
            )
            return Failure(FailureKind.BROKEN, words)
        if failure is not None:
            return failure
    if part.is_complete:
        return None
    words = f"the answer ended after {part.num_bytes:,} of {file.num_bytes:,} bytes"
    return Failure(FailureKind.BROKEN, words)


def _append(part: PartialFile, pieces: Iterator[bytes], file: RemoteFile) -> Failure | None:
    for piece in pieces:
        if not part.append(piece):
            part.restart()
            words = f"more than the promised {file.num_bytes:,} bytes arrived"
            return Failure(FailureKind.WRONG_BYTES, words)
    return None


def _align(response: "httpx2.Response", file: RemoteFile, part: PartialFile) -> Failure | None:
    """Truncate the partial file to the start of the response."""
    if response.headers.get("content-type", "").startswith("text/html") and not any(
        "x-repo-commit" in answer.headers for answer in (*response.history, response)
    ):
        words = "a web page came instead of the file; is a proxy or a login page in between?"
        return Failure(FailureKind.BROKEN, words)
    if response.status_code == 200:
        if part.num_bytes:
            part.restart()
        return None
    content_range = response.headers.get("content-range", "")
    total = re.search(r"/(\d{1,19})$", content_range)
    if total and int(total[1]) != file.num_bytes:
        part.restart()
        words = f"the stored file has {total[1]} bytes, {file.num_bytes} were promised"
        return Failure(FailureKind.WRONG_BYTES, words)
    start = re.match(r"bytes (\d{1,19})-", content_range)
    if response.status_code == 206 and start and int(start[1]) == part.num_bytes:
        return None
    part.restart()
    words = f"the answer is not the range asked for (HTTP {response.status_code})"
    return Failure(FailureKind.BROKEN, words)


def missing_file_error(file: RemoteFile) -> SampleRejectedError:
    """Return the rejection of a file that its source does not have."""
    at = f" at revision {file.revision}" if file.revision else ""
    return SampleRejectedError(
        Reason.MISSING_UPSTREAM, f"{file.path} does not exist in the source{at}"
    )


def _wrong_bytes_error(file: RemoteFile, num_wrong: int) -> SampleRejectedError:
    digest = f"sha256 {file.sha256}" if file.sha256 else f"git blob {file.git_sha1}"
    return SampleRejectedError(
        Reason.CHECKSUM_MISMATCH,
        f"{file.path} arrived {num_wrong} times with other bytes than the promised "
        f"{file.num_bytes:,} of {digest}",
    )


def _adopt_target(target: Path, file: RemoteFile, tick: Callable[[], None] | None) -> str | None:
    """Return the sha256 of a target that is already complete, None otherwise."""
    try:
        if target.stat().st_size != file.num_bytes:
            return None
    except FileNotFoundError:
        return None
    with open_partial(target, file) as whole:
        if not whole.is_right():
            return None
        if tick is not None:
            tick()
        return whole.sha256


@contextmanager
def _lock_ticking(path: Path, timeout_s: float, tick: Callable[[], None] | None) -> Iterator[None]:
    """Hold a lock; `tick` can end the wait for it."""
    waited = 0.0
    with ExitStack() as stack:
        while True:
            pause = min(_LOOK_UP_S, timeout_s - waited)
            try:
                stack.enter_context(lock_file(path, timeout_s=pause))
                break
            except LockTimeoutError:
                waited += pause
                if waited >= timeout_s:
                    raise
            if tick is not None:
                tick()
        yield
