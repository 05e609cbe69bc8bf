"""What keeps a dataset from being complete, and its manifests from saying what the shards say."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from medassets.datasets.accounts import Books
from medassets.datasets.manifests.differences import describe_differences
from medassets.datasets.manifests.publication import plan_publication
from medassets.datasets.staleness.reasons import Today
from medassets.datasets.workspace import Workspace
from medassets.errors import MixedOrientationError
from medassets.shards.files import read_whole_record
from medassets.shards.manifest import build_wids_index, list_shard_keys, read_published
from medassets.shards.verify import verify_shard
from medassets.storage.made_file import MadeFile
from medassets.storage.ownership import name_first
from medassets.storage.paths import DatasetPaths
from medassets.storage.unreadable import read_regular


def find_manifest_problems(workspace: Workspace) -> list[str]:
    """Return what manifests say that the shards do not; a build writes them again."""
    try:
        publication = plan_publication(workspace)
    except MixedOrientationError as error:
        return [str(error)]
    paths, problems = workspace.paths, list[str]()
    for split, manifest in publication.manifests.items():
        if not manifest["shards"]:
            continue
        for path, document in (
            (paths.manifest(split), manifest),
            (paths.wids_index(split), build_wids_index(manifest)),
        ):
            problems += _compare(path, document)
            if what := MadeFile(path).explain_journal():
                problems.append(what)
    repeated = [line for split in publication.splits for line in _find_repeated(paths, split)]
    return [*problems, *repeated, *publication.repeated, *publication.lines()]


def explain_kept(workspace: Workspace, books: Books | None = None) -> list[str]:
    """Return why published manifests would stay as they are, or none be published; empty if neither.

    Args:
        workspace: The dataset and stage.
        books: What was read of the disk; None reads it.
    """
    try:
        return plan_publication(workspace, books).lines()
    except MixedOrientationError as error:
        return [str(error)]


def _find_repeated(paths: DatasetPaths, split: str) -> Iterator[str]:
    """Yield what shows that a published manifest lists samples more than once."""
    manifest = read_published(paths, split)
    listed = list_shard_keys(manifest) if manifest is not None else {}
    counts = Counter(key for keys in listed.values() for key in keys)
    if again := [key for key, count in counts.items() if count > 1]:
        yield f"{paths.manifest(split)}: lists {name_first(again)} more than once"


def _compare(path: Path, document: Mapping[str, object]) -> list[str]:
    try:
        found = describe_differences(document, read_regular(path))
    except OSError as error:
        found = [f"it cannot be read ({error.strerror})"]
    problem = f"{path}: missing, or not what the shards say"
    return [
        f"{problem}: {what}; if you changed it, move it away; build the dataset" for what in found
    ]


def find_problems(workspace: Workspace) -> list[str]:
    """Return what keeps the dataset from being complete: shards missing, damaged or outdated.

    Samples that do not fit together, so that no manifest is published, come first.
    """
    plan = workspace.read_plan()
    problems, today = explain_kept(workspace), Today(workspace, plan)
    for key in plan.partitions:
        if not workspace.paths.record(key).exists():
            problems.append(f"{key}: not made yet")
            continue
        found = [str(problem) for problem in verify_shard(workspace.paths, key, full=False)]
        record = None if found else read_whole_record(workspace.paths, key)
        if record is not None and not today.is_current(record):
            why = "; ".join(today.explain(record).lines())
            found = [
                f"{key}: made from other inputs or settings than today's ({why}); build it again"
            ]
        problems += found
    if plan.num_held:
        problems.append(f"{plan.num_held} samples are held; refresh the catalog without limit")
    return problems
