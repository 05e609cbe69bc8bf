"""The work behind `build`, `retry` and `demo`: which shards, one run each, what came of it."""

import time
from dataclasses import asdict, dataclass, field
from typing import Any

from medassets.cli.console import Output, format_bytes, format_seconds, showing_progress
from medassets.cli.main import EXIT_FAILED, EXIT_SOURCE
from medassets.cli.session import RunResult, Session
from medassets.datasets.status import ShardState, shard_states
from medassets.errors import SpecError
from medassets.shards.writer import read_whole_record
from medassets.storage.paths import split_partition_key

_UNFINISHED = frozenset(ShardState) - {ShardState.DONE}
_FATAL = frozenset({"SourceAccessError"})


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What the user asked for; see the options of `medassets build`."""

    splits: tuple[str, ...] = ()
    limit: int | None = None
    samples_per_shard: int | None = None
    num_workers: int = 0
    partitions: str | None = None
    missing: bool = False
    failed: bool = False
    force: bool = False
    refresh: bool = True

    def states(self) -> frozenset[ShardState]:
        """Return the states of the shards to build."""
        asked = set()
        if self.missing:
            asked |= {ShardState.MISSING, ShardState.LOST}
        if self.failed:
            asked |= {ShardState.FAILED, ShardState.LOST}
        if self.force:
            return frozenset(ShardState)
        return frozenset(asked) or _UNFINISHED


@dataclass
class BuildReport:
    """What a build did."""

    dataset: str
    built: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    kept: int = 0
    num_samples: int = 0
    num_rejected: int = 0
    num_bytes: int = 0
    seconds: float = 0.0


def build_dataset(session: Session, output: Output, dataset: str, options: BuildOptions) -> int:
    """Refresh the catalog, build the shards asked for, write the manifest.

    Returns:
        Exit code: 0, or that of the first thing that failed; every failed shard is named.

    Raises:
        SpecError: If the dataset, a split or a partition is unknown.
    """
    start = time.monotonic()
    report = BuildReport(dataset)
    session.kind(dataset)
    if options.refresh:
        refreshed = session.run(f"{dataset}_catalog", config=_catalog_config(dataset, options))
        if not refreshed.ok:
            output.warn(f"{dataset}: the catalog could not be refreshed: {refreshed.error}")
            output.result({"dataset": dataset, "error": refreshed.error})
            return _exit_code(refreshed)
    keys = select_partitions(session, dataset, options)
    fatal = _build_shards(session, output, keys, options, report)
    if report.built or options.refresh:
        written = session.run(f"{dataset}_manifest")
        if not written.ok:
            report.failed["manifest"] = written.error
    report.seconds = time.monotonic() - start
    _tell(output, report)
    return fatal or (EXIT_FAILED if report.failed else 0)


def select_partitions(session: Session, dataset: str, options: BuildOptions) -> dict[str, int]:
    """Return the shards to build with their planned number of samples, in order.

    Raises:
        SpecError: If a named split or partition is not in the plan.
    """
    workspace = session.workspace(dataset)
    planned = workspace.read_plan().partitions
    known = {split_partition_key(key)[0] for key in planned} | set(workspace.kind.spec.splits)
    for split in options.splits:
        if split not in known:
            msg = f"split: {dataset} has no split {split!r}; it has {', '.join(sorted(known))}"
            raise SpecError(msg)
    keys = parse_partitions(options.partitions, list(planned)) or list(planned)
    if options.splits:
        keys = [key for key in keys if split_partition_key(key)[0] in options.splits]
    states = shard_states(workspace, session.recorded(dataset, list(planned)))
    chosen = {key: planned[key] for key in keys if states[key] in options.states()}
    return _cut(chosen, planned, options.limit)


def _cut(chosen: dict[str, int], planned: dict[str, int], limit: int | None) -> dict[str, int]:
    """Keep the shards that hold the first `limit` samples of the plan."""
    if limit is None:
        return chosen
    first, seen = set(), 0
    for key, count in planned.items():
        if seen >= limit:
            break
        first.add(key)
        seen += count
    return {key: count for key, count in chosen.items() if key in first}


def parse_partitions(text: str | None, planned: list[str]) -> list[str]:
    """Turn `a,b..c` into keys of the plan; a range follows the shard numbers of its split."""
    keys: list[str] = []
    for part in (text or "").replace(" ", "").split(","):
        if not part:
            continue
        low, _, high = part.partition("..")
        (split, first), (other, last) = split_partition_key(low), split_partition_key(high or low)
        found = [
            key
            for key in planned
            if split_partition_key(key)[0] == split and first <= split_partition_key(key)[1] <= last
        ]
        if split != other or not found:
            msg = f"partitions: {part!r} names no shard of the plan ({planned[0]} to {planned[-1]})"
            raise SpecError(msg)
        keys += found
    return keys


def _build_shards(
    session: Session,
    output: Output,
    keys: dict[str, int],
    options: BuildOptions,
    report: BuildReport,
) -> int:
    """Run the build job once per shard; return an exit code when going on is pointless."""
    dataset = report.dataset
    workspace = session.workspace(dataset)
    report.kept = len(workspace.read_plan().partitions) - len(keys)
    config = {f"{dataset}__shards": {"num_workers": options.num_workers, "force": options.force}}
    with showing_progress(output, dataset, sum(keys.values())) as progress:
        for key, count in keys.items():
            result = session.run(f"{dataset}_build", partition=key, config=config)
            progress.finish_shard(count)
            if result.ok:
                _count(report, key, read_whole_record(workspace.paths, key))
                continue
            report.failed[key] = result.error
            output.warn(f"{key}: {result.error}")
            if _FATAL & set(result.causes):
                return EXIT_SOURCE
    return 0


def _count(report: BuildReport, key: str, record: Any) -> None:
    report.built.append(key)
    if record is not None:
        report.num_samples += record.num_samples
        report.num_rejected += len(record.rejected)
        report.num_bytes += record.size_bytes


def _catalog_config(dataset: str, options: BuildOptions) -> dict[str, Any]:
    settings = {"limit": options.limit, "samples_per_shard": options.samples_per_shard}
    return {f"{dataset}__catalog": {k: v for k, v in settings.items() if v is not None}}


def _exit_code(result: RunResult) -> int:
    source = {"SourceAccessError", "SourceUnavailableError"}
    return EXIT_SOURCE if source & set(result.causes) else EXIT_FAILED


def _tell(output: Output, report: BuildReport) -> None:
    output.say(
        f"{report.dataset}: {len(report.built)} shards built ({report.num_samples} samples, "
        f"{format_bytes(report.num_bytes)}, {report.num_rejected} rejected), {report.kept} kept, "
        f"{len(report.failed)} failed, in {format_seconds(report.seconds)}"
    )
    for key, error in report.failed.items():
        output.say(f"  failed {key}: {error}")
    output.result(asdict(report))
