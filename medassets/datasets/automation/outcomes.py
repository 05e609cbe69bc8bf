"""Notes how a try ended, before its run ends: made, failed, or stopped by what no item is to blame for."""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from medassets.datasets.automation.attempts import AttemptsLog
from medassets.datasets.automation.switch import read_switch
from medassets.datasets.upstream.outages import find_outage, has_content
from medassets.datasets.workspace import Workspace
from medassets.errors import (
    DecoderUnavailableError,
    DiskSpaceError,
    LockTimeoutError,
    MedassetsError,
    SourceAccessError,
    SourceUnavailableError,
    UsageError,
)
from medassets.sources.base import Source

_OF_ALL = (
    SourceAccessError,
    DiskSpaceError,
    LockTimeoutError,
    DecoderUnavailableError,
    UsageError,
)
"""Errors that each other item of the dataset would meet as well."""


@dataclass(frozen=True)
class Try:
    """One try of one item by one run.

    Attributes:
        workspace: The dataset and stage.
        item: Name of the item; see `name_item`.
        plan: Fingerprint of its inputs.
        run: The run.
        is_automated: Whether automation started the run.
    """

    workspace: Workspace
    item: str
    plan: str
    run: str
    is_automated: bool = False


def require_source(tried: Try) -> None:
    """End a run of automation at once while the source is away: one of them looks again later.

    Raises:
        SourceUnavailableError: If automation started the run, and the source has gone away since.
    """
    if not tried.is_automated or (log := _open_log(tried)) is None:
        return
    attempts = log.read()
    if attempts.away is not None and attempts.is_held_back(time.time()):
        msg = (
            f"{tried.item}: not tried, because of a trouble that concerns the whole dataset: "
            f"{attempts.away.error}. Automation looks again by itself"
        )
        raise SourceUnavailableError(msg)


@contextmanager
def noting_trouble(tried: Try | None, *, begins: bool = False) -> Iterator[None]:
    """Note in the journal of an automated dataset what stops the block; every error goes on.

    Args:
        tried: The try; None notes nothing.
        begins: Note first that it begins, so that a run that is killed again and again is seen.
    """
    log = _open_log(tried) if tried is not None else None
    if log is None or tried is None:
        yield
        return
    if begins:
        # A full disk must not stop a run that needs no room.
        with suppress(OSError):
            log.note_begin(tried.item, tried.plan, run=tried.run, now=time.time())
    try:
        yield
    except BaseException as error:
        with suppress(OSError):
            _note(log, tried, error)
        raise


def note_success(tried: Try | None, *, written: str = "", used_source: bool = True) -> None:
    """Note in the journal of an automated dataset that an item was made.

    Args:
        tried: The try; None notes nothing.
        written: Fingerprint of what it was made from, for an asset that follows others.
        used_source: Whether it shows that the source answers.
    """
    log = _open_log(tried) if tried is not None else None
    if log is not None and tried is not None:
        # What was made is whole all the same.
        with suppress(OSError):
            log.note_made(tried.item, written=written, used_source=used_source)


def _open_log(tried: Try) -> AttemptsLog | None:
    workspace = tried.workspace
    is_on = read_switch(workspace.kind.spec, workspace.paths).is_on
    return AttemptsLog(workspace.paths) if is_on else None


def _note(log: AttemptsLog, tried: Try, error: BaseException) -> None:
    text = str(error) or type(error).__name__
    if not isinstance(error, Exception):
        log.note_stopped(tried.item, tried.plan, run=tried.run, now=time.time())
    elif _concerns_all(error, tried):
        log.note_away(tried.item, tried.plan, text, run=tried.run, now=time.time())
    else:
        log.note_failure(tried.item, tried.plan, text, run=tried.run, now=time.time())


def _concerns_all(error: Exception, tried: Try) -> bool:
    """Return whether the item is not to blame: its source is away, or this machine lacks something."""
    if isinstance(error, _OF_ALL):
        return True
    source = tried.workspace.source
    # One file that a living hub never gives is the trouble of its own shard.
    is_silent = isinstance(error, SourceUnavailableError)
    if source.folder is None:
        return is_silent and not _answers(source)
    return is_silent or not has_content(source.folder) or _lacks_places(tried)


def _answers(source: Source) -> bool:
    """Return whether a hub answers at all."""
    asked = source.in_a_hurry()
    try:
        # A pinned revision resolves without a request.
        asked.has_revision(asked.resolve_revision() or "")
    except MedassetsError:
        return False
    return True


def _lacks_places(tried: Try) -> bool:
    """Return whether a disk below the source folder that the item reads is not there.

    A refresh of the catalog reads what the first shard does.
    """
    workspace, partition = tried.workspace, tried.item.partition("/")[2]
    try:
        partition = partition or next(iter(workspace.read_plan().partitions), "")
        items = workspace.read_partition(partition) if partition else []
        return bool(find_outage(workspace, partition, items))
    except MedassetsError:
        # Without a plan of it, no place is known.
        return False
