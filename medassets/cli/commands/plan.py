"""`medassets plan`: what a build would cost; nothing is written."""

from collections.abc import Mapping
from dataclasses import asdict
from itertools import islice
from typing import Any

import click
import pyarrow as pa

from medassets.cli.completion import complete_datasets
from medassets.cli.console import Output
from medassets.cli.formatting import count_words, format_bytes, format_seconds
from medassets.cli.main import EXIT_FAILED
from medassets.cli.notes.accounts import describe_account, name_excluded
from medassets.cli.notes.sources import explain_empty, find_table_problems, list_labels
from medassets.cli.notes.trees import describe_texts, describe_tree
from medassets.cli.notes.upstream import describe_left, describe_refresh
from medassets.cli.selection import check_shard_size
from medassets.cli.session import Session
from medassets.datasets.accounts import check_excluded, open_books
from medassets.datasets.estimates import PlanEstimate, estimate_plan
from medassets.datasets.judging import HeaderLook, look_at_headers
from medassets.datasets.refresh import CatalogDraft, draft_catalog
from medassets.datasets.staleness.reasons import explain_stale, summarize
from medassets.datasets.upstream.move import read_upstream
from medassets.datasets.workspace import Workspace
from medassets.errors import ReclaimError
from medassets.reclaim.claims import Needs
from medassets.reclaim.disk_peak import PeakEstimate, estimate_peak, require_peak
from medassets.shards.account import join_accounts
from medassets.specs import VolumeDatasetSpec
from medassets.storage.disk import free_bytes

_MOST_FAULTS = 5
_NOTHING = PlanEstimate(0, 0, 0, 0, 0.0)
_NOT_ALIKE = (
    "samples of these settings do not fit those of the shards on disk: from the first one made again to "
    "the last, loaders refuse those of the published manifests. To train on the old ones meanwhile, "
    "declare the new settings under another name"
)


@click.command(name="plan")
@click.argument("dataset", shell_complete=complete_datasets)
@click.option("--limit", type=click.IntRange(1), help="Trial: plan only the first N samples.")
@click.option("--samples-per-shard", type=click.IntRange(1), help="Shard size.")
@click.option("--revision", default="", help="Read a Hub at this revision, as build --revision.")
@click.option("--update", is_flag=True, help="Plan with what changed upstream, as build --update.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(
    dataset: str,
    limit: int | None,
    samples_per_shard: int | None,
    revision: str,
    *,
    update: bool,
    as_json: bool,
) -> int:
    """Read the tables of DATASET and say how many samples, bytes and hours a build takes.

    Exit code 1 when more is left out than max_excluded_share allows, or when nothing can be planned
    although items are there.
    """
    output, session = Output(as_json), Session()
    workspace = session.workspace(dataset)
    check_shard_size(workspace, samples_per_shard)
    draft = draft_catalog(
        workspace,
        limit=limit,
        samples_per_shard=samples_per_shard,
        revision=revision,
        update=update,
    )
    free = free_bytes(workspace.paths.folder)
    peak = _estimate_peak(output, session, workspace, draft.table)
    books = open_books(workspace, draft.table)
    account = join_accounts(books.draw().values())
    stale = explain_stale(workspace, books, books.shards, draft.table)
    output.say(describe_account(dataset, account))
    made = {key for key, shard in books.shards.items() if shard.record is not None}
    look = look_at_headers(workspace, draft.table, without=made)
    # Work is what a build will do: neither what is made, nor what it will reject.
    faults = look.faults if look is not None else {}
    estimates = left = estimate_plan(workspace.kind, draft.table)
    if made or faults:
        left = estimate_plan(workspace.kind, draft.table, without=made, unreadable=faults)
    _show(output, workspace, draft, estimates, left, free)
    if look is not None:
        tell = output.warn if look.faults else output.say
        for line in _describe_look(workspace, look):
            tell(line)
    if peak is not None:
        _show_peak(output, peak)
    described = workspace.kind.describe_catalog(draft.table)
    notes = (*describe_tree(described), *describe_texts(described), *list_labels(described))
    for line in (*_describe_trees(described), *notes):
        output.say(line)
    for line in name_excluded(account):
        output.say(line)
    if draft.plan.num_held:
        held = count_words(draft.plan.num_held, "sample")
        output.say(f"held for a build without --limit: {held}")
    for line in summarize(stale):
        output.say(f"to be made again because {line}")
    if any(not one.is_alike for one in stale.values()):
        output.say(_NOT_ALIKE)
    for line in _describe_upstream(workspace, draft):
        output.say(line)
    problems = find_table_problems(workspace.kind, draft.table)
    for line in problems.lines():
        output.say(line)
    if not draft.plan.partitions:
        output.warn(explain_empty(workspace, draft.table, num_held=draft.plan.num_held))
    output.result(
        {
            "dataset": dataset,
            "source": draft.source_uri,
            "revision": draft.revision,
            "upstream": draft.upstream.as_dict() if draft.upstream is not None else None,
            "rows": draft.plan.num_rows,
            "held": draft.plan.num_held,
            "excluded": draft.plan.excluded_by_reason(),
            "account": account.as_dict(),
            "table_problems": problems.as_dict(),
            "labels": described.get("label_values"),
            "label_doubts": list(described.get("label_doubts", ())),
            "tree": described.get("tree"),
            "texts": described.get("texts"),
            "new_shards": draft.new_partitions,
            "stale_because": {key: one.lines() for key, one in stale.items()},
            "free_bytes": free,
            "peak": {**vars(peak), "fits": peak.fits} if peak is not None else None,
            "splits": {split: vars(estimate) for split, estimate in estimates.items()},
            "left": {split: vars(estimate) for split, estimate in left.items()},
            "looked_at": asdict(look) if look is not None else None,
        }
    )
    check_excluded(workspace, account, draft.table)
    if peak is not None:
        require_peak(workspace, peak)
    is_empty = not draft.plan.partitions and not draft.plan.num_held
    return EXIT_FAILED if is_empty and account.unusable else 0


def _describe_upstream(workspace: Workspace, draft: CatalogDraft) -> list[str]:
    """Return how the source moved since the last refresh, or how built shards differ from it."""
    if draft.upstream is None or draft.previous_plan is None:
        return []
    name = workspace.kind.spec.name
    known = read_upstream(workspace.read_figures().schema.metadata)
    if known == draft.upstream:
        return describe_left(draft.upstream, name)
    return describe_refresh(draft.upstream, name)


def _estimate_peak(
    output: Output, session: Session, workspace: Workspace, table: pa.Table
) -> PeakEstimate | None:
    """Return the peak where sources share the disk with shards, or are deleted as they go."""
    spec = workspace.kind.spec
    if not workspace.source.is_local or not isinstance(spec, VolumeDatasetSpec):
        return None
    reclaim, needs = spec.delete_sources, None
    try:
        needs = Needs(workspace, session.others(spec.name)) if reclaim else None
    except ReclaimError as error:
        output.warn(f"no source would be deleted: {error}")
        reclaim = False
    return estimate_peak(workspace, table, reclaim=reclaim, needs=needs)


def _show_peak(output: Output, peak: PeakEstimate) -> None:
    now = peak.source_bytes + peak.shard_bytes
    output.say(
        f"peak: {format_bytes(peak.peak_bytes)} of sources and shards together, now "
        f"{format_bytes(now)}, in the end {format_bytes(peak.end_bytes)}; "
        f"{format_bytes(peak.needed_bytes)} more than now must be free"
    )


def _describe_left(workspace: Workspace, left: Mapping[str, PlanEstimate], num_all: int) -> str:
    num_left = sum(one.num_shards for one in left.values())
    if not num_left:
        return f"left: nothing; all {count_words(num_all, 'shard')} are made"
    samples = count_words(sum(one.num_samples for one in left.values()), "sample")
    raw = format_bytes(sum(one.raw_bytes for one in left.values()))
    seconds = format_seconds(sum(one.seconds for one in left.values()))
    verb = _name_reading(workspace)
    return f"left: {num_left:,} of {count_words(num_all, 'shard')}, {samples}, {raw} {verb}, {seconds} of work"


def _name_reading(workspace: Workspace) -> str:
    return "to read" if workspace.source.is_local else "to fetch"


def _describe_look(workspace: Workspace, look: HeaderLook) -> list[str]:
    """Return what headers of planned files show, and what was not looked at."""
    if not look.num_planned:
        return []
    most = f"{look.num_looked:,} of {look.num_planned:,}"
    which = "all" if look.num_looked == look.num_planned else most
    lines = [f"headers: those of {which} planned samples were looked at, no voxel was read"]
    if not look.faults:
        return lines
    lines[0] += f"; {count_words(len(look.faults), 'sample')} cannot be made and will be rejected"
    lines += [f"  {key}: {why}" for key, why in islice(look.faults.items(), _MOST_FAULTS)]
    if more := len(look.faults) - _MOST_FAULTS:
        lines += [f"  and {more:,} more (--json lists all)"] if more > 0 else []
    limit = workspace.kind.spec.max_rejected_share
    if look.largest_share > limit:
        command = workspace.paths.allow_command("max_rejected_share", look.largest_share)
        lines.append(
            f"  that is more than max_rejected_share = {limit:g} allows in a shard: correct the files, or do without "
            f"them: `{command}`"
        )
    return lines


def _describe_trees(described: Mapping[str, Any]) -> list[str]:
    trees: Mapping[str, Any] = described.get("npz_trees", {})
    return [
        f"{split}: .npz files at depth {tree['depth']}, which holds the most "
        f"({', '.join(f'depth {d}: {n:,}' for d, n in tree['files_by_depth'].items()) or 'none'})"
        for split, tree in trees.items()
    ]


def _show(
    output: Output,
    workspace: Workspace,
    draft: CatalogDraft,
    estimates: Mapping[str, PlanEstimate],
    left: Mapping[str, PlanEstimate],
    free: int,
) -> None:
    """Print what is planned, what of it costs anything yet, and whether the disk holds that."""
    costs = {split: left.get(split, _NOTHING) for split in estimates}
    rows = [
        [
            split,
            one.num_samples,
            one.num_shards,
            format_bytes(costs[split].raw_bytes),
            format_bytes(costs[split].shard_bytes),
            format_seconds(costs[split].seconds),
        ]
        for split, one in estimates.items()
    ]
    columns = ["split", "samples", "shards", _name_reading(workspace)]
    columns += ["to write", "work, this machine"]
    output.table(f"{workspace.kind.spec.name} from {draft.source_uri}", columns, rows)
    needed = sum(one.shard_bytes for one in left.values())
    if left != estimates:
        output.say(_describe_left(workspace, left, len(draft.plan.partitions)))
    verdict = "fits" if needed <= free else f"{format_bytes(needed - free)} too little"
    say = output.say if needed <= free else output.warn
    say(f"disk: {format_bytes(needed)} needed, {format_bytes(free)} free: {verdict}")
