"""`medassets status`: what is done, and what is left to do."""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import click

from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.formatting import count_words, format_bytes
from medassets.cli.main import EXIT_FAILED
from medassets.cli.notes.accounts import describe_account, name_first_items
from medassets.cli.notes.automation import describe_automation
from medassets.cli.notes.sources import (
    describe_quietly,
    describe_survey,
    explain_empty,
    find_table_problems,
    list_reasons,
)
from medassets.cli.notes.trees import describe_texts, describe_tree
from medassets.cli.notes.upstream import look_upstream
from medassets.cli.overview import show_overview
from medassets.cli.selection import check_splits
from medassets.cli.session import Session
from medassets.cli.watching import watch
from medassets.datasets.accounts import Books, iter_items, open_books
from medassets.datasets.build import check_sources_kept
from medassets.datasets.manifests.problems import explain_kept
from medassets.datasets.manifests.publication import survey_dataset
from medassets.datasets.recovery.places import has_shards
from medassets.datasets.recovery.strays import explain_unplanned, find_unplanned
from medassets.datasets.staleness.reasons import Staleness, explain_stale
from medassets.datasets.staleness.reasons import summarize as summarize_reasons
from medassets.datasets.status import ShardState, find_transient_rejections, shard_states
from medassets.datasets.summary import Summary, summarize
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError, UsageError
from medassets.reclaim.partition import count_deleted
from medassets.shards.account import Account, AccountItem, ItemState, join_accounts
from medassets.shards.reclaim_journal import ReclaimJournal
from medassets.storage.collection import paused_collection
from medassets.storage.paths import split_partition_key

_MOST_LINES = 20
_BAD = frozenset({ShardState.FAILED, ShardState.LOST, ShardState.STALE})
_MEANING = {
    ShardState.MISSING: "never made",
    ShardState.FAILED: "the last try failed or was interrupted; nothing was published",
    ShardState.STALE: "on disk, but made from other files or settings",
    ShardState.ORPHANED: "on disk and whole, unknown to Dagster; `medassets reconcile` records them",
    ShardState.LOST: "made once, no longer whole on disk",
}


@click.command(name="status")
@click.argument("dataset", required=False, shell_complete=complete_datasets)
@click.option("--split", multiple=True, help="Only shards of this split; may be repeated.")
@click.option("--stage", default="", help="This stage of shards; without it, all there are.")
@click.option(
    "--list",
    "listed",
    type=click.Choice([str(state) for state in ItemState]),
    help="List all source items of this state, with key, shard and reason.",
)
@click.option("--watch", "watched", is_flag=True, help="Look again and again, until all is done.")
@click.option(
    "--interval",
    type=click.FloatRange(min=1),
    default=10.0,
    show_default=True,
    help="With --watch: seconds between two looks.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    dataset: str | None,
    split: tuple[str, ...],
    stage: str,
    listed: str | None,
    *,
    watched: bool,
    interval: float,
    as_json: bool,
) -> int:
    """Show the state of every source item and of every shard of DATASET; without it, a line for each.

    The first line adds up: source items = done + rejected + excluded + held + left.

    Exit code 1 when a shard failed, is lost or is stale, or when volumes have several orientations;
    missing shards are only work to do.
    """
    output, session = Output(as_json), Session()
    if dataset is None:
        _refuse_without_dataset(split, stage, listed, watched=watched)
        return show_overview(session, output)
    workspace = session.workspace(dataset, stage)
    if not (os.path.lexists(workspace.paths.catalog) or has_shards(workspace.paths)):
        check_splits(workspace, split, ())
        output.say(f"{dataset}: nothing planned yet; `{workspace.paths.build_command}` begins")
        automated, automation = describe_automation(workspace)
        for line in automated:
            output.say(line)
        output.result(
            {"dataset": dataset, "planned": False, "shards": {}, "automation": automation}
        )
        return 0
    plan = workspace.read_plan()
    check_splits(workspace, split, plan.partitions)
    names = [stage] if stage else session.live_stages(dataset)
    if watched:
        _refuse_beside_watch(split, listed)
        watch(output, lambda: _summarize(session, dataset, names), interval_s=interval)
        return 0
    return _tell(output, session, dataset, names, split=split, listed=listed)


@paused_collection()
def _tell(
    output: Output,
    session: Session,
    dataset: str,
    names: Sequence[str],
    *,
    split: tuple[str, ...],
    listed: str | None,
) -> int:
    """Show everything once; passes over ten thousand records by the collector were a fifth of the time."""
    workspace = session.workspace(dataset, names[0])
    plan = workspace.read_plan()
    books = {name: open_books(session.workspace(dataset, name)) for name in names}
    found = {name: _read_states(session, dataset, name, split, books[name]) for name in names}
    lacking = {
        name: find_transient_rejections(session.workspace(dataset, name), books[name], found[name])
        for name in names
    }
    accounts = {name: _take_account(books[name], split) for name in names}
    reasons = {
        name: explain_stale(session.workspace(dataset, name), books[name], _list_stale(states))
        for name, states in found.items()
    }
    for name, states in found.items():
        _show_account(output, dataset, accounts[name], stage=name if len(names) > 1 else "")
        _show(output, session.workspace(dataset, name), states, reasons[name])
        _show_lacking(output, dataset, lacking[name])
    kept = _explain_kept(session, dataset, found, books)
    for line in kept:
        output.say(f"manifests stay as they are: {line}")
    if plan.num_held:
        output.say(f"held for a build without --limit: {count_words(plan.num_held, 'sample')}")
    num_deleted, deleted_bytes = count_deleted(workspace, list(plan.partitions))
    if num_deleted:
        words = count_words(num_deleted, "source")
        output.say(f"deleted, proven to be in shards: {words}, {format_bytes(deleted_bytes)}")
    automated, automation = describe_automation(workspace)
    lines, upstream = look_upstream(workspace)
    survey = survey_dataset(workspace, books.get(workspace.kind.stage))
    for line in [*automated, *lines, *describe_survey(survey)]:
        output.say(line)
    figures = workspace.read_figures()
    described = describe_quietly(workspace.kind, figures)
    problems = find_table_problems(workspace.kind, figures)
    for line in (*describe_tree(described), *describe_texts(described), *problems.lines()):
        output.say(line)
    unplanned = [
        line
        for name, states in found.items()
        for line in _find_unplanned(session.workspace(dataset, name), states)
    ]
    for line in unplanned:
        output.warn(line)
    if not plan.partitions:
        output.say(explain_empty(workspace, workspace.read_exclusions(), num_held=plan.num_held))
    items = _list_items(session, dataset, names, listed, split) if listed else []
    for name, item in items:
        output.say(f"{name}: {item.describe()}" if len(names) > 1 else item.describe())
    excluded = plan.excluded_by_reason()
    stages = {
        name: _as_dict(found[name], lacking[name], accounts[name], reasons[name]) for name in names
    }
    output.result(
        {
            "dataset": dataset,
            "stage": names[0],
            "planned": True,
            "samples": {"planned": sum(plan.partitions.values()), "held": plan.num_held},
            "excluded": excluded,
            "automation": automation,
            "upstream": upstream,
            "manifests_kept": kept,
            "deleted_sources": {"files": num_deleted, "bytes": deleted_bytes},
            "table_problems": problems.as_dict(),
            "tree": described.get("tree"),
            "texts": described.get("texts"),
            "survey": survey.as_dict(),
            "unplanned": unplanned,
            **stages[names[0]],
            "stages": stages,
            **(
                {"listed": [{"stage": name, **asdict(item)} for name, item in items]}
                if listed
                else {}
            ),
        }
    )
    is_bad = any(_BAD & set(states.values()) for states in found.values())
    return EXIT_FAILED if is_bad or survey.problems or unplanned else 0


def _refuse_without_dataset(
    split: tuple[str, ...], stage: str, listed: str | None, *, watched: bool
) -> None:
    given = (("--split", split), ("--stage", stage), ("--list", listed), ("--watch", watched))
    for option, value in given:
        if value:
            raise UsageError(field=option, what="is about one dataset; name it")


def _refuse_beside_watch(split: tuple[str, ...], listed: str | None) -> None:
    for option, value in (("--split", split), ("--list", listed)):
        if value:
            what = "not possible with --watch, which shows whole stages"
            raise UsageError(field=option, what=what)


def _summarize(session: Session, dataset: str, stages: Sequence[str]) -> list[Summary]:
    now = time.time()
    return [summarize(session.workspace(dataset, stage), now=now) for stage in stages]


def _read_states(
    session: Session, dataset: str, stage: str, splits: tuple[str, ...], books: Books
) -> dict[str, ShardState]:
    workspace = session.workspace(dataset, stage)
    recorded = session.recorded(workspace, list(books.plan.partitions))
    states = shard_states(workspace, recorded, books=books)
    return {k: s for k, s in states.items() if not splits or split_partition_key(k)[0] in splits}


def _find_unplanned(workspace: Workspace, states: Mapping[str, ShardState]) -> list[str]:
    """Return a line for each shard with samples that the plan does not give it."""
    plan, current = workspace.read_plan(), {ShardState.DONE, ShardState.ORPHANED}
    known = {key for key, state in states.items() if state in current}
    found = find_unplanned(workspace, plan, current=known)
    return [explain_unplanned(workspace, one, plan) for one in found]


def _explain_kept(
    session: Session,
    dataset: str,
    found: Mapping[str, Mapping[str, ShardState]],
    books: Mapping[str, Books],
) -> list[str]:
    """Return why the manifests of the stage to train on stay as they are."""
    name = session.stages(dataset)[0]
    if not _BAD & set(found.get(name, {}).values()):
        return []
    return explain_kept(session.workspace(dataset, name), books[name])


def _list_stale(states: Mapping[str, ShardState]) -> list[str]:
    return [key for key, state in states.items() if state is ShardState.STALE]


def _take_account(books: Books, splits: tuple[str, ...]) -> Account:
    accounts = books.draw()
    return join_accounts(one for name, one in accounts.items() if not splits or name in splits)


def _list_items(
    session: Session, dataset: str, stages: Sequence[str], state: str, splits: tuple[str, ...]
) -> list[tuple[str, AccountItem]]:
    """Return all items of one state, each with its stage."""
    return [
        (stage, item)
        for stage in stages
        for item in iter_items(session.workspace(dataset, stage), ItemState(state), splits=splits)
    ]


def _show_account(output: Output, dataset: str, account: Account, *, stage: str) -> None:
    output.say(describe_account(f"{dataset}: {stage}" if stage else dataset, account))
    for line in name_first_items(dataset, account):
        output.say(line)


def _as_dict(
    states: dict[str, ShardState],
    lacking: dict[str, dict[str, int]],
    account: Account,
    reasons: Mapping[str, Staleness],
) -> dict[str, Any]:
    counts = dict(Counter(states.values()))
    return {
        "account": account.as_dict(),
        "counts": counts,
        "shards": dict(states),
        "to_retry": lacking,
        "stale_because": {key: why.lines() for key, why in reasons.items()},
    }


def _show_lacking(output: Output, dataset: str, lacking: dict[str, dict[str, int]]) -> None:
    """Name the shards that are done, but lack samples that another try may give."""
    if lacking:
        reasons = sum((Counter(counts) for counts in lacking.values()), Counter[str]())
        output.say(
            f"rejected because of a transient failure: {list_reasons(reasons)} of "
            f"{_name_some(list(lacking))}; `medassets retry {dataset}` tries them again"
        )


def _show(
    output: Output,
    workspace: Workspace,
    states: dict[str, ShardState],
    reasons: Mapping[str, Staleness],
) -> None:
    dataset = workspace.kind.spec.name
    counts: dict[str, Counter[ShardState]] = {}
    for key, state in states.items():
        counts.setdefault(split_partition_key(key)[0], Counter())[state] += 1
    rows = [[name, *(count[state] for state in ShardState)] for name, count in counts.items()]
    output.table(f"{dataset}: {workspace.kind.stage}", ["split", *ShardState], rows)
    left = {key: state for key, state in states.items() if state is not ShardState.DONE}
    for line in _lines(left):
        output.say(line)
    for line in summarize_reasons(reasons):
        output.say(f"  stale because {line}")
    final = _find_final(workspace, left)
    for line in _remedies(final):
        output.say(line)
    if left.keys() - final.keys():
        which = "the others" if final else "them"
        output.say(f"`{workspace.paths.build_command}` makes {which} whole")


def _find_final(workspace: Workspace, left: Mapping[str, ShardState]) -> dict[str, ShardState]:
    """Return the shards that no build makes again, because sources of them were deleted."""
    return {
        key: state
        for key, state in left.items()
        if state is not ShardState.ORPHANED and _is_final(workspace, key)
    }


def _is_final(workspace: Workspace, key: str) -> bool:
    if ReclaimJournal.read(workspace.paths.reclaim_journal(key)).is_empty:
        return False
    try:
        # What was deleted may have been brought back.
        check_sources_kept(workspace, key)
    except ReclaimError:
        return True
    return False


def _remedies(final: Mapping[str, ShardState]) -> Iterable[str]:
    """Yield what to do about shards that cannot be made again."""
    stale = [key for key, state in final.items() if state is ShardState.STALE]
    lost = [key for key, state in final.items() if state is not ShardState.STALE]
    if lost:
        yield (
            f"their sources were deleted, so no build makes them whole: {_name_some(lost)}; restore "
            f"shard and record from a copy"
        )
    if stale:
        yield (
            f"their sources were deleted, so no build makes them again: {_name_some(stale)}; revert "
            f"the change of the declaration or tables, or restore shard and record from a copy"
        )


def _lines(left: dict[str, ShardState]) -> Iterable[str]:
    for state, meaning in _MEANING.items():
        keys = [key for key, its in left.items() if its is state]
        if keys:
            yield f"{state} ({meaning}): {_name_some(keys)}"


def _name_some(keys: list[str]) -> str:
    more = f" and {len(keys) - _MOST_LINES} more (--json lists all)"
    return ", ".join(keys[:_MOST_LINES]) + more * (len(keys) > _MOST_LINES)
