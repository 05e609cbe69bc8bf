"""The note of a shard that failed: which items were rejected, so that all can be mended at once."""

from dataclasses import asdict, dataclass
from pathlib import Path

from medassets.shards.files import failure_note
from medassets.shards.record import Rejected
from medassets.storage.atomic import publish_bytes
from medassets.storage.checksums import canonical_json, parse_json
from medassets.storage.ownership import is_private
from medassets.storage.paths import DatasetPaths
from medassets.storage.unreadable import read_regular


@dataclass(frozen=True)
class FailureNote:
    """Rejected items of a shard that was not published because of them.

    Attributes:
        plan_fingerprint: Plan of the shard; the note of another plan says nothing about this one.
        num_tried: Items that were tried before the build gave up.
        rejected: Those that were rejected, in the order of the plan.
    """

    plan_fingerprint: str
    num_tried: int
    rejected: tuple[Rejected, ...]

    def write(self, shard: Path) -> None:
        """Write the note under a private name beside the shard; the caller holds its lock."""
        publish_bytes(failure_note(shard), canonical_json(asdict(self)), is_ours=is_private)


def read_failure(
    paths: DatasetPaths, partition_key: str, plan_fingerprint: str
) -> FailureNote | None:
    """Return the note of a shard's last build, if it failed because of its items.

    Args:
        paths: Paths of the dataset.
        partition_key: The shard.
        plan_fingerprint: Today's plan of the shard.
    """
    try:
        document = parse_json(read_regular(failure_note(paths.shard(partition_key))))
        rejected = tuple(Rejected(**entry) for entry in document.pop("rejected"))
        note = FailureNote(rejected=rejected, **document)
    except (OSError, AttributeError, KeyError, TypeError, ValueError):
        # Only a hint: the next build finds out again.
        return None
    return note if note.plan_fingerprint == plan_fingerprint else None
