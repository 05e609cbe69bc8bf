"""Manifests and wids indexes as JSON files beside the shards."""

from collections.abc import Mapping
from pathlib import Path

import dagster as dg

from medassets.io_managers.failures import explained_failures
from medassets.resources.workspace import WorkspaceResource
from medassets.shards.manifest import Manifest, write_manifest
from medassets.storage.paths import DatasetPaths


class ManifestIOManager(dg.ConfigurableIOManager):
    """Writes one manifest and one wids index per split."""

    workspace: dg.ResourceDependency[WorkspaceResource]

    def handle_output(self, context: dg.OutputContext, obj: Mapping[str, Manifest]) -> None:
        """Publish the files of every split.

        Raises:
            dg.RetryRequested: If the disk is full.
        """
        paths = self._paths(context)
        with explained_failures(context.step_context.run_tags):
            for split, manifest in obj.items():
                write_manifest(paths, split, manifest)
        context.add_output_metadata({"dagster/uri": str(paths.folder)})

    def load_input(self, context: dg.InputContext) -> dict[str, Path]:
        """Return the manifest's path by split."""
        paths = self._paths(context)
        found = sorted(paths.folder.glob("*/manifest.json"))
        return {path.parent.name: path for path in found}

    def _paths(self, context: dg.OutputContext | dg.InputContext) -> DatasetPaths:
        return self.workspace.paths(context.asset_key.path[0])
