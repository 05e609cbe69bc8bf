"""Local folder that holds remote files until their shard is built."""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from medassets.errors import SampleRejectedError
from medassets.samples import StagedFile
from medassets.sources.base import OnBytes, RemoteFile, Source
from medassets.sources.budget import (
    list_entries,
    lock_folder,
    read_reservations,
    remove_reservations,
    reserve_bytes,
)
from medassets.sources.hub_download import remove_partials
from medassets.sources.staged_notes import is_staged, read_note, remove_staged, write_note
from medassets.sources.stopping import Stopper
from medassets.storage.disk import require_free_bytes
from medassets.storage.paths import check_member_path

Staged = StagedFile | SampleRejectedError

_REPORT_S = 0.2


@dataclass(frozen=True)
class StagingUsage:
    """Usage of a staging folder.

    Attributes:
        num_files: Number of source files, complete or not.
        num_bytes: Their bytes on disk.
        budget_bytes: Most bytes the folder may hold.
    """

    num_files: int
    num_bytes: int
    budget_bytes: int


@dataclass(frozen=True)
class Staging:
    """Checked copies of remote files, under one budget for all processes.

    A complete file is at `<folder>/<path>`, with its digest beside it in `.<name>.staged.json`, so
    that a later process uses it without hashing as long as size and mtime are the same.

    Attributes:
        folder: Where files are staged; one per dataset.
        budget_bytes: Most bytes they may occupy, finished or not.
        wait_timeout_s: Longest wait for other processes to free room.
        spare_bytes: Bytes of the disk that stay free for others beside the files.
        gives_way: Take no room of the budget while another process waits for some.
    """

    folder: Path
    budget_bytes: int
    wait_timeout_s: float = 3600.0
    spare_bytes: int = 0
    gives_way: bool = False

    def stage(
        self,
        source: Source,
        files: Sequence[RemoteFile],
        *,
        num_workers: int = 4,
        on_bytes: OnBytes | None = None,
    ) -> dict[str, Staged]:
        """Copy files to the local disk and check them; complete files are not fetched again.

        Files of a local source are used in place and do not count towards the budget.

        Args:
            source: Where the files come from.
            files: What the source said of them.
            num_workers: Files fetched at the same time.
            on_bytes: Told now and then, in the calling thread, how many bytes have come; what it
                raises stops the staging.

        Returns:
            By path, the file on disk or the rejection of that file alone.

        Raises:
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not respond.
            DiskSpaceError: If the files do not fit the budget or the disk.
            CatalogError: If a path could leave the folder.
        """
        wanted = {check_member_path(file.path): file for file in files}
        if source.is_local:
            return _run_all(
                wanted,
                lambda file, note: _fetch(source, file, self.folder, note),
                num_workers=num_workers,
                on_bytes=on_bytes,
            )
        sizes = {path: file.num_bytes or 0 for path, file in wanted.items()}
        with reserve_bytes(
            self.folder,
            sizes,
            budget_bytes=self.budget_bytes,
            timeout_s=self.wait_timeout_s,
            gives_way=self.gives_way,
            tick=lambda: on_bytes(0) if on_bytes is not None else None,
        ):
            self._require_free(sizes)
            return _run_all(
                wanted,
                lambda file, note: self._stage_one(source, file, note),
                num_workers=num_workers,
                on_bytes=on_bytes,
            )

    def lookup(self, paths: Iterable[str], *, revision: str | None) -> dict[str, StagedFile]:
        """Return the files that are staged at a revision, without a request to the source."""
        found = {path: read_note(self.folder / path) for path in paths}
        return {
            path: staged
            for path, staged in found.items()
            if staged is not None and staged.revision == revision
        }

    def release(self, paths: Iterable[str]) -> None:
        """Remove staged files with their digests and partial downloads.

        A file that another process is staging is not removed.

        Args:
            paths: Paths inside the source; those that are not staged are passed over.
        """
        checked = [check_member_path(path) for path in paths]
        if not self.folder.is_dir():
            return
        with lock_folder(self.folder):
            reserved = read_reservations(self.folder)
            for path in checked:
                if path not in reserved:
                    self._remove(path)
            self._prune(checked, reserved)

    def usage(self) -> StagingUsage:
        """Return the current usage of the folder."""
        entries = list_entries(self.folder)
        total = sum(entry.num_bytes for entry in entries.values())
        return StagingUsage(len(entries), total, self.budget_bytes)

    def _require_free(self, sizes: Mapping[str, int]) -> None:
        entries = list_entries(self.folder)
        there = sum(min(entries[path].num_bytes, n) for path, n in sizes.items() if path in entries)
        needed = sum(sizes.values()) - there + self.spare_bytes
        require_free_bytes(self.folder, needed, purpose="staging")

    def _stage_one(self, source: Source, file: RemoteFile, note: OnBytes) -> Staged:
        place = self.folder / file.path
        known = read_note(place)
        if known is not None and known.sha256 == file.sha256:
            note(0)
            return StagedFile(known.path, file.uri, file.revision, known.num_bytes, known.sha256)
        staged = _fetch(source, file, place, note)
        if isinstance(staged, StagedFile) and is_staged(place) and read_note(place) != staged:
            # The same bytes at another revision. A file without a note gets none: a user put it there.
            write_note(place, file, staged.sha256, content=place)
        return staged

    def _remove(self, path: str) -> None:
        place = self.folder / path
        remove_staged(place)
        remove_partials(place)
        place.with_name(f".{place.name}.lock").unlink(missing_ok=True)

    def _prune(self, paths: Sequence[str], reserved: Mapping[str, int]) -> None:
        """Remove empty folders, unless a file is reserved in them."""
        busy = {parent for path in reserved for parent in Path(path).parents}
        parents = {parent for path in paths for parent in Path(path).parents} - busy - {Path()}
        for parent in sorted(parents, key=lambda p: len(p.parts), reverse=True):
            with suppress(OSError):
                (self.folder / parent).rmdir()
        if not reserved:
            remove_reservations(self.folder)


def _fetch(source: Source, file: RemoteFile, target: Path, note: OnBytes) -> Staged:
    try:
        return source.fetch(file, target, on_bytes=note)
    except SampleRejectedError as error:
        # Its traceback would keep the frames of the fetch alive as long as the result.
        return error.with_traceback(None)


class _Meter:
    """Sums bytes of many threads, and stops the threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_bytes = 0
        self.stopper = Stopper()

    def note(self, num_bytes: int) -> None:
        self.stopper.check()
        with self._lock:
            self._num_bytes += num_bytes

    def take(self) -> int:
        with self._lock:
            num_bytes, self._num_bytes = self._num_bytes, 0
        return num_bytes


def _run_all(
    files: Mapping[str, RemoteFile],
    work: Callable[[RemoteFile, OnBytes], Staged],
    *,
    num_workers: int,
    on_bytes: OnBytes | None,
) -> dict[str, Staged]:
    """Process every file on threads; the first error stops all of them."""
    meter = _Meter()

    def work_stoppable(file: RemoteFile) -> Staged:
        with meter.stopper.serving():
            return work(file, meter.note)

    with ThreadPoolExecutor(max_workers=num_workers, thread_name_prefix="stage") as pool:
        futures = {path: pool.submit(work_stoppable, file) for path, file in files.items()}
        try:
            _watch(futures.values(), meter, on_bytes)
        except BaseException:
            meter.stopper.stop()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return {path: future.result() for path, future in futures.items()}


def _watch(futures: Iterable[Future[Staged]], meter: _Meter, on_bytes: OnBytes | None) -> None:
    pending = set(futures)
    while pending:
        done, pending = wait(pending, timeout=_REPORT_S, return_when=FIRST_COMPLETED)
        for future in done:
            future.result()
        if on_bytes is not None:
            on_bytes(meter.take())
