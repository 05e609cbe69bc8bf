"""Checks that shards still hold the samples of deleted sources."""

from collections.abc import Iterable

from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError
from medassets.reclaim.units import measure_unit, open_unit
from medassets.shards.files import read_whole_record
from medassets.shards.reclaim_journal import Deletion, ReclaimJournal

Noted = dict[str, tuple[str, Deletion]]
"""Sample key -> the shard whose journal lists its source, and the deletion noted there."""


def find_lost_samples(workspace: Workspace, partitions: Iterable[str]) -> list[str]:
    """Return which samples are no longer in a source or in a shard, one line each.

    Args:
        workspace: The dataset.
        partitions: Shards whose journals of deleted sources are read; the samples may be in any
            whole shard.
    """
    noted, problems = _read_journals(workspace, partitions)
    if not noted:
        # The source may be on another machine, where it has no folder.
        return problems
    held = _read_held(workspace)
    lost: Noted = {
        sample: (key, deletion)
        for sample, (key, deletion) in noted.items()
        if (sample, deletion.sha256[sample]) not in held
        # A restored source can make its shard again.
        and not _is_there(workspace, deletion)
    }
    places = _find_places(workspace) if lost else {}
    for sample, (journal_key, deletion) in lost.items():
        # A tar with samples in several shards is in the journal of each.
        key = places.get(sample) or journal_key
        problems.append(
            f"{key}: {sample}: its source was deleted, and no shard holds it; restore "
            f"{workspace.paths.shard(key)} and its record, or "
            f"{workspace.source_folder / deletion.path}, from a copy"
        )
    return problems


def _read_journals(workspace: Workspace, partitions: Iterable[str]) -> tuple[Noted, list[str]]:
    """Return the deletions noted for samples, and problems of the journals."""
    noted: Noted = {}
    problems: list[str] = []
    for key in partitions:
        path = workspace.paths.reclaim_journal(key)
        try:
            journal = ReclaimJournal.read(path)
        except ReclaimError as error:
            problems.append(str(error))
            continue
        except OSError as error:
            what = f"the journal of deleted sources cannot be read ({error.strerror})"
            problems.append(f"{path}: {what}")
            continue
        # A run that was killed before it noted a deletion may have deleted the file.
        for deletion in (*journal.intended.values(), *journal.deleted.values()):
            noted |= dict.fromkeys(deletion.sha256, (key, deletion))
    return noted, problems


def _read_held(workspace: Workspace) -> set[tuple[str, str]]:
    """Return key and source digest of every sample in a whole shard."""
    held: set[tuple[str, str]] = set()
    for key in workspace.read_plan().partitions:
        if record := read_whole_record(workspace.paths, key):
            held |= {(one.key, str(one.facts.get("source_sha256"))) for one in record.samples}
    return held


def _is_there(workspace: Workspace, deletion: Deletion) -> bool:
    number, num_bytes = measure_unit(open_unit(workspace, deletion.path))
    return bool(number) and num_bytes == deletion.num_bytes


def _find_places(workspace: Workspace) -> dict[str, str | None]:
    table = workspace.read_catalog()
    if table is None:
        return {}
    return dict(zip(*(table[name].to_pylist() for name in ("key", "partition")), strict=True))
