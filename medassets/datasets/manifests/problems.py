"""What keeps a dataset from being complete, and its manifests from saying what the shards say."""

from collections.abc import Mapping
from pathlib import Path

from medassets.datasets.build import today_fingerprint
from medassets.datasets.manifests.differences import describe_differences
from medassets.datasets.manifests.publication import build_manifests, survey_dataset
from medassets.datasets.workspace import Workspace
from medassets.shards.files import read_whole_record
from medassets.shards.manifest import build_wids_index
from medassets.shards.verify import verify_shard


def find_manifest_problems(workspace: Workspace) -> list[str]:
    """Return what manifests say that the shards do not; a build writes them again."""
    if problems := list(survey_dataset(workspace).problems):
        return problems
    paths = workspace.paths
    for split, manifest in build_manifests(workspace).items():
        if not manifest["shards"]:
            continue
        for path, document in (
            (paths.manifest(split), manifest),
            (paths.wids_index(split), build_wids_index(manifest)),
        ):
            problems += _compare(path, document)
    return problems


def _compare(path: Path, document: Mapping[str, object]) -> list[str]:
    try:
        found = describe_differences(document, path.read_bytes())
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
    problems = list(survey_dataset(workspace).problems)
    for key in plan.partitions:
        if not workspace.paths.record(key).exists():
            problems.append(f"{key}: not made yet")
            continue
        found = [str(problem) for problem in verify_shard(workspace.paths, key, full=False)]
        today = today_fingerprint(workspace, plan, key)
        if not found and read_whole_record(workspace.paths, key, today) is None:
            found = [f"{key}: made from other inputs or settings than today's; build it again"]
        problems += found
    if plan.num_held:
        problems.append(f"{plan.num_held} samples are held; refresh the catalog without limit")
    return problems
