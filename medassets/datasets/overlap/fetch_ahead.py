"""Fetches the files of the shards that follow, while one is computed."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

from medassets.datasets.overlap.stage_thread import StageThread
from medassets.datasets.workspace import Workspace
from medassets.errors import (
    DiskSpaceError,
    FetchStoppedError,
    LockTimeoutError,
    MedassetsError,
)
from medassets.progress import FetchedAhead, report
from medassets.samples import SourceItem, Staged
from medassets.shards.files import lock_path, mark_begun, read_whole_record
from medassets.sources.base import OnBytes
from medassets.sources.stopping import Stopper
from medassets.storage.disk import is_same_disk
from medassets.storage.locks import lock_file

logger = logging.getLogger(__name__)

MOST_AHEAD = 2
"""Shards that are fetched before their turn. With one, the source would wait while a run begins."""


@dataclass(frozen=True)
class Ahead:
    """What FetchAhead asks of the building of shards.

    Attributes:
        list_items: Returns the rows of a shard whose files a build of it fetches; none for a whole one.
        missing_bytes: Returns how many bytes of a shard remain to be written, as estimated.
    """

    list_items: Callable[[str], Sequence[SourceItem]]
    missing_bytes: Callable[[str], int]


class FetchAhead:
    """Fetches files of shards before their turn, on one thread; a context manager.

    It never waits for room, and gives back what it holds where the current shard needs the room. A
    failure stays without consequences: the shard fetches by itself when its turn comes, and reports
    what it meets. What was fetched when the block ends stays staged for the next build.
    """

    def __init__(self, workspace: Workspace, keys: Sequence[str], asked: Ahead) -> None:
        """Start without fetching; see `begin`.

        Args:
            workspace: The dataset.
            keys: Shards that are made one after the other, in this order.
            asked: What the shards need.
        """
        self._workspace, self._order, self._asked = workspace, list(keys), asked
        self._thread = StageThread("fetch-ahead", self._fetch, most=MOST_AHEAD)
        self._current = ""
        self._is_blocked = False
        # Of each shard fetched ahead, the paths whose files this object brings.
        self._brought: dict[str, frozenset[str]] = {}
        self._lock = threading.Lock()
        self._new_bytes: dict[str, int] = {}
        self._total_bytes: dict[str, int] = {}

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop fetching and wait for the thread; received bytes are kept."""
        self._thread.close()
        self.tell()
        for key in self._brought:
            # Another process made it meanwhile, so that no build would release the files.
            is_kept = self._workspace.kind.spec.keep_raw
            if not is_kept and read_whole_record(self._workspace.paths, key) is not None:
                self._release(key)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Let the shards that are staged and built inside know of this object."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)

    def begin(self, after: str) -> None:
        """Fetch the files of the shards after one whose own files are on the local disk."""
        self._current, self._is_blocked = after, False
        following = self._find_following(after)
        stale = [key for key in self._thread.keys if key not in following]
        failed = [key for key in following if self._thread.result(key) is False]
        self._thread.discard(*stale, *failed)
        for key in following:
            self._thread.offer(key)

    def take(self, partition_key: str) -> None:
        """Wait until the files of a shard whose turn has come are no longer fetched ahead."""
        self._thread.take(partition_key, tick=lambda: self.tell(waits_for=partition_key))
        self.tell()
        self._brought.pop(partition_key, None)

    def drop(self, partition_key: str) -> bool:
        """Stop fetching and remove the files that were fetched for shards after one.

        Returns:
            Whether there was anything to stop or to remove.
        """
        self._thread.discard(*self._thread.keys)
        dropped = [key for key in self._brought if key != partition_key]
        for key in dropped:
            self._release(key)
            del self._brought[key]
        return bool(dropped)

    def tell(self, *, waits_for: str = "") -> None:
        """Report what has arrived since the last call, in the calling thread.

        Args:
            waits_for: The shard that cannot go on without its files.
        """
        with self._lock:
            arrived, self._new_bytes = self._new_bytes, {}
        for key, num_bytes in arrived.items():
            report(
                FetchedAhead(
                    partition_key=key,
                    num_bytes=num_bytes,
                    total_bytes=self._total_bytes[key],
                    is_waited_for=key == waits_for,
                )
            )

    def _find_following(self, partition_key: str) -> list[str]:
        if partition_key not in self._order:
            return []
        first = self._order.index(partition_key) + 1
        return self._order[first : first + MOST_AHEAD]

    def _fetch(self, partition_key: str, stopper: Stopper) -> bool:
        """Fetch the files of one shard, on the thread; return False if it must do that itself."""
        if self._is_blocked:
            return False
        try:
            with stopper.serving():
                self._stage(partition_key, stopper)
        except FetchStoppedError:
            return False
        except (MedassetsError, OSError) as error:
            # It is met again in the shard's own turn, and reported there.
            logger.info("%s: its files are not fetched ahead: %s", partition_key, error)
            self._is_blocked = True
            return False
        return True

    def _stage(self, partition_key: str, stopper: Stopper) -> None:
        items = self._asked.list_items(partition_key)
        if not items:
            return
        if self._workspace.paths.record(partition_key).exists():
            # It is made again although it is whole: after a kill no build would look at its files.
            mark_begun(self._workspace.paths.shard(partition_key))
        staging = replace(
            self._workspace.staging,
            wait_timeout_s=0.0,
            gives_way=True,
            spare_bytes=self._count_spare(partition_key),
        )
        paths = {path for item in items for path in self._workspace.list_paths(item)}
        before = {path for path in paths if (staging.folder / path).exists()}
        self._brought[partition_key] = frozenset(paths - before)

        def note(num_bytes: int) -> None:
            stopper.check()
            self._count(partition_key, num_bytes)

        replace(self._workspace, staging=staging).stage(items, on_bytes=note)

    def _count(self, partition_key: str, num_bytes: int) -> None:
        if num_bytes:
            with self._lock:
                for counts in (self._new_bytes, self._total_bytes):
                    counts[partition_key] = counts.get(partition_key, 0) + num_bytes

    def _count_spare(self, partition_key: str) -> int:
        """Return the bytes that shards before one will still write to the disk of the staging area."""
        workspace, order = self._workspace, self._order
        if not is_same_disk(workspace.staging.folder, workspace.paths.folder):
            return 0
        before = order[order.index(self._current) : order.index(partition_key)]
        return sum(self._asked.missing_bytes(key) for key in before)

    def _release(self, partition_key: str) -> None:
        """Remove the files brought for a shard, unless another process makes it of them."""
        shard = self._workspace.paths.shard(partition_key)
        try:
            with lock_file(lock_path(shard), timeout_s=0.0):
                self._workspace.staging.release(self._brought[partition_key])
        except LockTimeoutError:
            logger.info("%s: another process makes it of the files fetched ahead", partition_key)


_current: ContextVar[FetchAhead | None] = ContextVar("medassets_fetch_ahead", default=None)


def current_ahead() -> FetchAhead | None:
    """Return what fetches ahead while this shard is staged and built; None if nothing does."""
    return _current.get()


def stage_first(
    workspace: Workspace,
    partition_key: str,
    items: Sequence[SourceItem],
    *,
    on_bytes: OnBytes | None = None,
) -> Mapping[str, Staged]:
    """Stage the files of the current shard; what is fetched ahead gives way where it takes the room.

    Raises:
        SourceAccessError: If the source refuses access.
        SourceUnavailableError: If the source does not respond.
        DiskSpaceError: If the staging budget cannot hold the files.
    """
    ahead = current_ahead()
    if ahead is not None:
        hurried = replace(workspace, staging=replace(workspace.staging, wait_timeout_s=0.0))
        try:
            return hurried.stage(items, on_bytes=on_bytes)
        except DiskSpaceError:
            # Whoever waits for room must hold none, or two builds would wait for each other.
            ahead.drop(partition_key)
    return workspace.stage(items, on_bytes=on_bytes)
