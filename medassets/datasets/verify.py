"""All shards of a dataset against their records."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from medassets.datasets.workspace import Workspace
from medassets.shards.verify import Problem, verify_shard


@dataclass
class VerifyReport:
    """What a verification found.

    Attributes:
        checked: Partition keys that were compared with their records.
        absent: Partition keys that were never made.
        problems: What is wrong, shard by shard.
    """

    checked: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def verify_dataset(workspace: Workspace, keys: Iterable[str], *, full: bool) -> VerifyReport:
    """Check shards on disk; those that were never made are listed, not complained of.

    Args:
        workspace: The dataset.
        keys: Partition keys to check.
        full: Read every byte; otherwise compare sizes only.
    """
    report = VerifyReport()
    for key in keys:
        if not workspace.paths.record(key).exists() and not workspace.paths.shard(key).exists():
            report.absent.append(key)
            continue
        report.checked.append(key)
        report.problems += verify_shard(workspace.paths, key, full=full)
    return report
