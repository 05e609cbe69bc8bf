"""Selects the shards of a build from the user's options, the plan and the shards' states."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from medassets.cli.session import Session
from medassets.datasets.accounts import open_books
from medassets.datasets.refresh import check_settings
from medassets.datasets.status import ShardState, find_transient_rejections, shard_states
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, Reason, UsageError
from medassets.stages import VideoStage
from medassets.storage.paths import split_partition_key

Mode = Literal["full", "clip", "process"]
_STAGES: dict[Mode, str] = {"clip": VideoStage.CLIPS, "process": VideoStage.FRAMES}
_JOBS = {stage: mode for mode, stage in _STAGES.items()}
_UNFINISHED = frozenset(ShardState) - {ShardState.DONE}


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """What the user asked for; see the options of `medassets build`.

    Attributes:
        stage: This stage of shards only.
        live: Every stage that has shards, not only those of a whole build.
        delete_sources: Delete the sources of each shard that is proven to hold them.
        yes: Do not ask for confirmation.
        gpu_ids: GPUs that decode frames; empty takes all.
        workers_per_gpu: Decoder processes of each GPU; 0 means the resource's default.
        revision: Read the source at this revision instead of the declared one.
        update: Rebuild shards whose files or rows changed at a source with revisions.
        allow_shrink: Publish manifests that list fewer samples than the published ones.
    """

    splits: tuple[str, ...] = ()
    limit: int | None = None
    samples_per_shard: int | None = None
    num_workers: int = 0
    partitions: str | None = None
    missing: bool = False
    failed: bool = False
    force: bool = False
    refresh: bool = True
    mode: Mode = "full"
    stage: str = ""
    live: bool = False
    delete_sources: bool = False
    yes: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    device: str = ""
    gpu_ids: tuple[int, ...] = ()
    workers_per_gpu: int = 0
    revision: str = ""
    update: bool = False
    allow_shrink: bool = False

    def decoder_config(self) -> dict[str, Any]:
        """Return the config of the resource that decodes videos; empty without an option for it."""
        config = {
            "device": self.device,
            "gpu_ids": list(self.gpu_ids),
            "workers_per_gpu": self.workers_per_gpu,
        }
        return {name: value for name, value in config.items() if value}

    def states(self) -> frozenset[ShardState]:
        """Return the states of the shards to build."""
        asked: set[ShardState] = set()
        if self.missing:
            asked |= {ShardState.MISSING, ShardState.LOST}
        if self.failed:
            asked |= {ShardState.FAILED, ShardState.LOST}
        if self.force:
            return frozenset(ShardState)
        return frozenset(asked) or _UNFINISHED


@dataclass(frozen=True)
class Round:
    """Shards that one job makes together.

    Attributes:
        job: Name of the job, behind the dataset's.
        stages: The stages it makes, in order.
    """

    job: str
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Selection:
    """The shards to make.

    Attributes:
        chosen: Partition key -> number of samples, in the order of the plan.
        num_kept: Shards that were asked for and are done.
        num_left: Shards that are not done and not chosen.
        num_held: Samples that no shard of the plan holds yet.
        kept: Keys of the shards that were asked for and are done, of the last stage.
        again: Stage -> those of the chosen that are done but for samples to be tried again.
    """

    chosen: dict[str, int]
    num_kept: int
    num_left: int
    num_held: int
    kept: Collection[str] = ()
    again: Mapping[str, Collection[str]] = field(default_factory=dict)


def check_options(workspace: Workspace, options: BuildOptions) -> None:
    """Refuse options that cannot work, before the source is accessed.

    Raises:
        UsageError: If a split is unknown, a partition is no partition key, or the plan was made
            with another shard size or other settings.
    """
    plan = workspace.read_plan() if workspace.paths.catalog.exists() else None
    check_splits(workspace, options.splits, plan.partitions if plan else ())
    if options.partitions is not None:
        _parse_ranges(options.partitions)
    check_shard_size(workspace, options.samples_per_shard)
    if options.settings:
        check_settings(workspace, options.settings)
    if not options.refresh and (options.revision or options.update):
        name = "--update" if options.update else "--revision"
        raise UsageError(field=name, what="it takes a refresh; leave --no-refresh out")


def check_splits(workspace: Workspace, asked: Iterable[str], planned: Collection[str]) -> None:
    """Refuse a split that neither the declaration nor the plan knows.

    Raises:
        UsageError: If there is one.
    """
    declared = workspace.kind.spec.splits
    known = dict.fromkeys([*declared, *(split_partition_key(key)[0] for key in planned)])
    for split in asked:
        if split not in known:
            name = workspace.kind.spec.name
            raise UsageError(
                field="--split", what=f"{name} has no split {split!r}; it has {', '.join(known)}"
            )


def check_shard_size(workspace: Workspace, asked: int | None) -> None:
    """Refuse another number of samples per shard than the plan was made with.

    Raises:
        UsageError: If it differs.
    """
    if asked is None or not workspace.paths.catalog.exists():
        return
    planned = workspace.read_plan().samples_per_shard
    if asked != planned:
        what = (
            f"the plan of {workspace.kind.spec.name} was made with {planned}, "
            f"got {asked}. A plan only grows: leave the option out, or build in another "
            f"MEDASSETS_HOME"
        )
        raise UsageError(field="--samples-per-shard", what=what)


def plan_rounds(session: Session, dataset: str, options: BuildOptions) -> list[Round]:
    """Return the jobs that make the shards, one after the other.

    Raises:
        UsageError: If the dataset has no stage that the mode asks for, or none of that name.
    """
    whole = session.build_stages(dataset)
    stage = options.stage
    if options.mode != "full":
        stage, has = _STAGES[options.mode], session.stages(dataset)
        if stage not in has:
            what = f"{dataset} has no stage for {options.mode!r}; it has {', '.join(has)}"
            raise UsageError(field="--mode", what=what)
    if stage:
        session.kind(dataset, stage)
        return [Round(_JOBS.get(stage, "build"), (stage,))]
    others = [s for s in session.live_stages(dataset) if s not in whole] if options.live else []
    # Frames may be made of clips.
    return [*(Round(_JOBS[other], (other,)) for other in others), Round("build", tuple(whole))]


def select_shards(
    session: Session, dataset: str, options: BuildOptions, stages: Sequence[str]
) -> Selection:
    """Return the shards to build, in order: those that any of the stages lacks.

    Raises:
        UsageError: If a named partition is not in the plan.
        CatalogError: If there is no catalog yet.
    """
    found = [_select(session.workspace(dataset, stage), session, options) for stage in stages]
    chosen: set[str] = set().union(*(selection.chosen for selection in found))
    plan = session.workspace(dataset).read_plan()
    return Selection(
        chosen={key: count for key, count in plan.partitions.items() if key in chosen},
        num_kept=min(selection.num_kept for selection in found),
        num_left=max(selection.num_left for selection in found),
        num_held=plan.num_held,
        kept=found[-1].kept,
        again={stage: keys for selection in found for stage, keys in selection.again.items()},
    )


def _select(workspace: Workspace, session: Session, options: BuildOptions) -> Selection:
    plan = workspace.read_plan()
    asked = parse_partitions(options.partitions, list(plan.partitions))
    if options.splits:
        asked = [key for key in asked if split_partition_key(key)[0] in options.splits]
    recorded = session.recorded(workspace, list(plan.partitions))
    books = open_books(workspace)
    states = shard_states(workspace, recorded, books=books)
    wanted = options.states()
    # A stale shard whose rebuild failed counts as failed, like a shard that was never built.
    tried = set(recorded.failed) if options.failed else set()
    asked = _cut(asked, plan.partitions, options)
    lacking = find_transient_rejections(workspace, books, states)
    # Every build takes files that are back; only a retry tries what the machine may have failed at.
    again = {
        key for key, why in lacking.items() if options.failed or Reason.MISSING_UPSTREAM in why
    }
    chosen = {
        key: plan.partitions[key]
        for key in asked
        if states[key] in wanted
        or (key in tried and states[key] is not ShardState.DONE)
        or key in again
    }
    done = {key for key, state in states.items() if state is ShardState.DONE}
    kept = [key for key in asked if key in done and key not in chosen]
    return Selection(
        chosen=chosen,
        num_kept=len(kept),
        num_left=len(set(states) - done - set(chosen)),
        num_held=plan.num_held,
        kept=kept,
        again={workspace.kind.stage: again & set(chosen)},
    )


def _cut(asked: list[str], planned: dict[str, int], options: BuildOptions) -> list[str]:
    """Keep the shards that hold the first samples of the plan, or of the splits asked for."""
    if options.limit is None:
        return asked
    first, seen = set(), 0
    for key, count in planned.items():
        if options.splits and split_partition_key(key)[0] not in options.splits:
            continue
        if seen >= options.limit:
            break
        first.add(key)
        seen += count
    return [key for key in asked if key in first]


def parse_partitions(text: str | None, planned: list[str]) -> list[str]:
    """Turn `a,b..c` into keys of the plan, in its order, each once; None takes all.

    A range follows the shard numbers of its split and ends where the plan ends.

    Raises:
        UsageError: If a part is no key or range, or names no shard of the plan.
    """
    if text is None:
        return planned
    chosen: set[str] = set()
    for part, (split, first, last) in _parse_ranges(text).items():
        indices = {key: split_partition_key(key) for key in planned}
        found = {k for k, (s, i) in indices.items() if s == split and first <= i <= last}
        if not found:
            extent = f"{planned[0]} to {planned[-1]}" if planned else "empty"
            raise UsageError(
                field="--partitions", what=f"{part!r} names no shard of the plan ({extent})"
            )
        chosen |= found
    return [key for key in planned if key in chosen]


def _parse_ranges(text: str) -> dict[str, tuple[str, int, int]]:
    parts = [part for part in text.replace(" ", "").split(",") if part]
    if not parts:
        # An empty variable in a script must not select all shards.
        what = "expected keys or ranges such as valid-000000,train-000003..train-000009"
        raise UsageError(field="--partitions", what=what)
    return {part: _parse_range(part) for part in parts}


def _parse_range(part: str) -> tuple[str, int, int]:
    low, dots, high = part.partition("..")
    try:
        (split, first), (other, last) = (
            split_partition_key(low),
            split_partition_key(high if dots else low),
        )
    except CatalogError as error:
        raise UsageError(field="--partitions", what=f"{part!r}: {error}") from error
    if split != other or first > last:
        raise UsageError(
            field="--partitions", what=f"{part!r}: a range goes upwards inside one split"
        )
    return split, first, last
