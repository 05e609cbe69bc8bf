"""The catalog against its plan, and all shards of a dataset against their records."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from medassets.datasets.accounts import take_accounts
from medassets.datasets.label_checks import find_label_problems
from medassets.datasets.workspace import Workspace
from medassets.shards.account import join_accounts
from medassets.shards.catalog.plan import STATE_EXCLUDED, STATE_HELD, STATE_PLANNED
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


def verify_dataset(
    workspace: Workspace, keys: Iterable[str], *, full: bool, made: Collection[str] = ()
) -> VerifyReport:
    """Check shards on disk; those that were never made are listed, not complained of.

    Args:
        workspace: The dataset.
        keys: Partition keys to check.
        full: Read every byte, and compare labels with json and declaration; otherwise compare
            sizes only.
        made: Partition keys of shards that are known to have been made.
    """
    report = VerifyReport()
    for key in keys:
        if not workspace.paths.record(key).exists() and not workspace.paths.shard(key).exists():
            if key in made:
                what = "shard and record are missing, and it was made once"
                report.problems.append(Problem(key, workspace.paths.shard(key), "", what))
            else:
                report.absent.append(key)
            continue
        report.checked.append(key)
        problems = verify_shard(workspace.paths, key, full=full)
        if full and not problems:
            problems = find_label_problems(workspace.paths, key, workspace.kind.spec)
        report.problems += problems
    return report


def find_catalog_problems(workspace: Workspace) -> list[str]:
    """Return what is wrong with the catalog on disk: every row must have exactly one place.

    Raises:
        CatalogError: If there is no catalog yet.
    """
    plan = workspace.read_plan()
    table = workspace.read_catalog()
    if table is None:
        return []
    keys, states, places = (table[name].to_pylist() for name in ("key", "state", "partition"))
    expected = Counter(
        {
            STATE_PLANNED: sum(plan.partitions.values()),
            STATE_HELD: plan.num_held,
            STATE_EXCLUDED: sum(plan.excluded_by_reason().values()),
        }
    )
    problems = [
        f"row {key!r} occurs {count} times" for key, count in Counter(keys).items() if count > 1
    ]
    if +expected != Counter(states):
        problems.append(f"the plan says {dict(+expected)}, the rows say {dict(Counter(states))}")
    if plan.num_rows != table.num_rows:
        problems.append(f"the plan says {plan.num_rows} rows, there are {table.num_rows}")
    samples = Counter(place for place in places if place is not None)
    problems += [
        f"{key}: {samples[key]} rows, its plan says {plan.partitions.get(key, 0)}"
        for key in sorted(samples.keys() | plan.partitions.keys())
        if samples[key] != plan.partitions.get(key, 0)
    ]
    account = join_accounts(take_accounts(workspace).values())
    if account.num_unaccounted:
        problems.append(f"the account does not add up: {account.describe()}")
    return problems
