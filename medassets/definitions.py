"""The code location: every declared dataset, the resources they share."""

import os
import re
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from typing import Any

import dagster as dg

from medassets.components.loading import LoadedDatasets, load_datasets
from medassets.components.yaml_lines import read_declaration
from medassets.instance.declared_files import declaration_folders, find_declarations
from medassets.io_managers.catalog import CatalogIOManager
from medassets.io_managers.manifests import ManifestIOManager
from medassets.io_managers.tar_shards import TarShardIOManager
from medassets.reclaim.claims import Declarations
from medassets.resources.video_decoder import VideoDecoderResource
from medassets.resources.workspace import WorkspaceResource
from medassets.storage.paths import declarations_home

# backfill_policy and partitioned checks are beta; one warning per asset and command is noise.
warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

_VARIABLE = re.compile(rb"env(?:\.|\(\s*['\"])(\w+)")


def load_declared() -> LoadedDatasets:
    """Load all declarations; those that are broken are listed, the others work.

    Dagster's own command asks six times in one run: what was loaded is kept as long as the files
    and the variables that their templates name are the same.
    """
    folders = declaration_folders()
    files = sorted(file for folder in folders for file in find_declarations(folder))
    replaced = sorted(declarations_home().glob("*/set.yaml"))
    texts = [read_declaration(file) for file in (*files, *replaced)]
    names = {name.decode() for text in texts for name in _VARIABLE.findall(text)}
    values = tuple((name, os.environ.get(name)) for name in sorted(names))
    return _load(tuple(folders), (tuple(files), tuple(texts), values))


@lru_cache(maxsize=1)
def _load(folders: tuple[Path, ...], _state: object) -> LoadedDatasets:
    return load_datasets(folders)


def build_resources(declarations: Declarations | None = None) -> dict[str, Any]:
    """Return the resources that every dataset's assets ask for.

    Args:
        declarations: All datasets of the code location, so that none deletes what another needs.
    """
    workspace = WorkspaceResource()
    return {
        "workspace": workspace,
        "declarations": declarations or Declarations(),
        "video_decoder": VideoDecoderResource(),
        "catalog_io_manager": CatalogIOManager(workspace=workspace),
        "tar_shard_io_manager": TarShardIOManager(workspace=workspace),
        "manifest_io_manager": ManifestIOManager(workspace=workspace),
    }


def build_definitions(loaded: LoadedDatasets) -> dg.Definitions:
    """Return the datasets' definitions with the resources they share.

    Runs are in process by default: a step of its own process costs two seconds a shard, and
    outlives a killed run as an orphan.
    """
    resources = build_resources(loaded.declarations)
    shared = dg.Definitions(resources=resources, executor=dg.in_process_executor)
    return dg.Definitions.merge(loaded.definitions, shared)


@dg.definitions
def defs() -> dg.Definitions:
    """Return the definitions of the code location."""
    loaded = load_declared()
    for problem in loaded.problems:
        sys.stderr.write(f"medassets: {problem}\n")
    return build_definitions(loaded)
