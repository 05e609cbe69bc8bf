"""A plan of a dataset that is not declared yet: what it would refuse or leave out, said beforehand."""

from collections.abc import Sequence
from dataclasses import dataclass

from medassets.cli.formatting import count_words
from medassets.cli.notes.sources import explain_empty, find_table_problems
from medassets.datasets.accounts import check_excluded, open_books
from medassets.datasets.judging import look_at_headers
from medassets.datasets.refresh import CatalogDraft, draft_catalog
from medassets.datasets.workspace import Workspace
from medassets.errors import MedassetsError
from medassets.reclaim.disk_peak import estimate_peak, require_peak
from medassets.shards.account import Account, ItemState, join_accounts
from medassets.specs import VolumeDatasetSpec

_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Rehearsal:
    """What a plan would say.

    Attributes:
        facts: Lines about what is as declared.
        doubts: Lines about what a plan refuses, leaves out, or a build will reject.
    """

    facts: Sequence[str] = ()
    doubts: Sequence[str] = ()


def rehearse(workspace: Workspace, *, known: Sequence[str] = ()) -> Rehearsal:
    """Draft the plan of a dataset as `medassets plan` does, and return what is wrong with it.

    Nothing is written. Every error of a plan is a doubt of `medassets init`, in the same words.

    Args:
        workspace: The dataset; its declaration may not be written yet.
        known: Doubts that a look at the folder has raised.
    """
    try:
        draft = draft_catalog(workspace)
        account = join_accounts(open_books(workspace, draft.table).draw().values())
        check_excluded(workspace, account, draft.table)
        _check_disk(workspace, draft)
        left_out = _describe_unusable(draft, account)
        doubts = [
            *_doubt_empty(workspace, draft),
            *_doubt_labels(workspace, draft),
            *_doubt_headers(workspace, draft, known),
        ]
    except (MedassetsError, OSError) as error:
        return Rehearsal(doubts=[f"the plan will fail: {_join_lines(str(error))}"])
    # Of a list of the web, some records are always unusable; every file of a hospital should become a sample.
    if workspace.kind.ct_source is None:
        return Rehearsal(left_out, doubts)
    return Rehearsal(doubts=[*left_out, *doubts])


def _join_lines(text: str) -> str:
    return "; ".join(line.strip() for line in text.splitlines()).replace(":;", ":")


def _doubt_empty(workspace: Workspace, draft: CatalogDraft) -> list[str]:
    plan = draft.plan
    if plan.partitions:
        return []
    return [_join_lines(explain_empty(workspace, draft.table, num_held=plan.num_held))]


def _describe_unusable(draft: CatalogDraft, account: Account) -> list[str]:
    """Return what the plan leaves out, although it is there."""
    if not draft.plan.partitions or not account.unusable:
        return []
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in account.unusable.items())
    excluded = account.select_first(ItemState.EXCLUDED)
    first = next((item for item in excluded if item.reason in account.unusable), None)
    such = f"; the first: {first.describe()}" if first is not None else ""
    what = count_words(sum(account.unusable.values()), "item")
    return [f"the plan leaves out {what} that are there ({reasons}){such}"]


def _check_disk(workspace: Workspace, draft: CatalogDraft) -> None:
    """Refuse a plan whose shards the disk has no room for.

    Raises:
        DiskSpaceError: If it has none.
    """
    spec = workspace.kind.spec
    if workspace.source.is_local and isinstance(spec, VolumeDatasetSpec):
        require_peak(workspace, estimate_peak(workspace, draft.table, reclaim=False, needs=None))


def _doubt_labels(workspace: Workspace, draft: CatalogDraft) -> list[str]:
    problems = find_table_problems(workspace.kind, draft.table)
    return [_join_lines(line) for line in problems.lines()]


def _doubt_headers(workspace: Workspace, draft: CatalogDraft, known: Sequence[str]) -> list[str]:
    """Return how many files cannot become samples, unless that is known."""
    look = look_at_headers(workspace, draft.table, seconds=_LOOK_SECONDS)
    if look is None or not look.faults:
        return []
    key, why = next(iter(look.faults.items()))
    limit, share = workspace.kind.spec.max_rejected_share, look.largest_share
    remedy = ""
    if share > limit:
        command = workspace.paths.allow_command("max_rejected_share", share)
        remedy = f"; that is more than max_rejected_share = {limit:g} allows: correct them, or `{command}`"
    elif any(why.partition(": ")[2] in doubt for doubt in known):
        return []
    count = f"{len(look.faults):,} of {look.num_looked:,} planned samples"
    return [f"a build will reject {count}; the first: {key}: {why}{remedy}"]
