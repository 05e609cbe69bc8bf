"""A look at the headers of local files before they are read whole: what they claim is judged first."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from medassets.datasets.upstream.built_samples import Stage
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.samples import SourceItem, Staged

# Fetching finds these as well, and says which of the files they are about.
_OF_FETCHING = frozenset(
    {
        *(Reason.MISSING_UPSTREAM, Reason.MISSING_SOURCE),
        *(Reason.UNREADABLE_SOURCE, Reason.CORRUPT_TAR),
    }
)


def judging_headers(workspace: Workspace, stage: Stage) -> Stage:
    """Return a staging that does not read local files whose headers reject them.

    A file of a terabyte takes an hour to hash, and a few bytes make one where nothing was written.

    Args:
        workspace: The dataset.
        stage: Brings files to the local disk; for local ones, it hashes them.
    """
    if not workspace.source.is_local:
        return stage

    def judge_and_stage(items: Sequence[SourceItem]) -> Mapping[str, Staged]:
        judged = {item.key: judge_item(workspace, item) for item in items}
        left = [item for item in items if judged[item.key] is None]
        staged = dict(stage(left)) if left else {}
        return staged | {key: found for key, found in judged.items() if found is not None}

    return judge_and_stage


def judge_item(workspace: Workspace, item: SourceItem) -> SampleRejectedError | None:
    """Return why the headers of an item's files make no sample; None if they may."""
    try:
        paths = _locate(workspace, item)
        if paths:
            workspace.kind.judge(item, paths)
    except SampleRejectedError as error:
        # Its traceback would keep the frames of the readers alive as long as the result.
        return None if error.reason in _OF_FETCHING else error.with_traceback(None)
    except (CatalogError, OSError):
        # Fetching meets the same, and says so.
        return None
    return None


def _locate(workspace: Workspace, item: SourceItem) -> list[Path]:
    """Return the places of an item's files; nothing if one does not exist."""
    source, top = workspace.source, workspace.source_folder
    places = [top / source.physical_path(path) for path in workspace.list_paths(item)]
    return places if all(place.is_file() for place in places) else []
