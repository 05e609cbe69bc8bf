"""Says how a source with revisions moved, and which planned rows follow it."""

from dataclasses import replace

from medassets.cli.formatting import count_words
from medassets.datasets.refresh import draft_catalog
from medassets.datasets.upstream.move import Move, Upstream, read_upstream
from medassets.datasets.workspace import Workspace
from medassets.errors import SourceAccessError, SourceUnavailableError

_SHA_LETTERS = 12


def describe_refresh(upstream: Upstream, dataset: str) -> list[str]:
    """Return what a refresh found at its source, and what it did or would do."""
    lines = [f"{_describe(upstream.move)}; it is at {upstream.revision[:_SHA_LETTERS]}"]
    if upstream.lost:
        shas = ", ".join(sha[:_SHA_LETTERS] for sha in upstream.lost)
        lines.append(f"no longer upstream: revision {shas}")
    if upstream.repinned:
        lines.append(f"follow it: {count_words(upstream.repinned, 'sample')} never built")
    if upstream.updated:
        lines.append(f"made again: {count_words(upstream.updated, 'sample')} of built shards")
    if upstream.dropped:
        dropped = count_words(upstream.dropped, "sample")
        lines.append(f"left the plan, gone or excluded upstream: {dropped} never built")
    return lines + _describe_kept(upstream.left, dataset)


def describe_left(upstream: Upstream, dataset: str) -> list[str]:
    """Return how built shards differ from their source since it moved; empty if they do not."""
    if upstream.left == Move():
        return []
    return [_describe(upstream.left), *_describe_kept(upstream.left, dataset)]


def _describe(move: Move) -> str:
    files = count_words(move.changed, "file")
    line = f"upstream moved: {files} changed, {move.new:,} new, {move.gone:,} gone"
    return line + (f"; other cells in {count_words(move.rows, 'row')} of tables" * bool(move.rows))


def _describe_kept(left: Move, dataset: str) -> list[str]:
    lines: list[str] = []
    if differing := left.changed + left.rows:
        lines.append(
            f"kept as planned, other upstream: {count_words(differing, 'sample')}; `medassets build "
            f"{dataset} --update` takes those of built shards, `--revision` those never built"
        )
    if left.gone:
        lines.append(f"kept as planned, gone upstream: {count_words(left.gone, 'sample')}")
    return lines


def look_upstream(workspace: Workspace) -> tuple[list[str], dict[str, object] | None]:
    """Return what a source with revisions says now, as lines and as JSON; None for other sources.

    The hub is asked once, for its commit. Only if that is new, its tables and listing are read.
    """
    source = workspace.source
    if not source.pinned:
        return [], None
    dataset = workspace.kind.spec.name
    known = read_upstream(workspace.read_figures().schema.metadata)
    hasty = replace(workspace, source=source.in_a_hurry())
    try:
        revision = hasty.source.resolve_revision()
        if known is not None and known.revision == revision:
            return describe_left(known, dataset), {"moved": False, **known.as_dict()}
        found = draft_catalog(hasty).upstream
    except (SourceAccessError, SourceUnavailableError) as error:
        return [f"upstream was not asked: {error}"], {"error": str(error)}
    if found is None or (known is None and found.move == Move()):
        # A catalog of an earlier version, whose source has not moved.
        return [], None
    return describe_refresh(found, dataset), {"moved": True, **found.as_dict()}
