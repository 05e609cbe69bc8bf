"""The resource that opens a dataset's workspace: roots on disk and the source."""

import dagster as dg

from medassets.datasets.kind import DatasetKind
from medassets.datasets.workspace import Workspace, dataset_paths, open_workspace
from medassets.stages import VolumeStage
from medassets.storage.paths import DatasetPaths


class WorkspaceResource(dg.ConfigurableResource):
    """Opens the workspace of a dataset.

    Attributes:
        data_root: Folder of published datasets; empty means `$MEDASSETS_HOME/data`.
        staging_root: Folder of staged source files; empty means `$MEDASSETS_HOME/staging`.
        num_downloads: Files fetched at the same time.
    """

    data_root: str = ""
    staging_root: str = ""
    num_downloads: int = 4

    def open(self, kind: DatasetKind) -> Workspace:
        """Return the dataset's workspace; touches neither network nor disk yet."""
        return open_workspace(
            kind,
            data_root=self.data_root,
            staging_root=self.staging_root,
            num_downloads=self.num_downloads,
        )

    def paths(self, dataset: str, *, stage: str = VolumeStage.SHARDS) -> DatasetPaths:
        """Return where a dataset's files lie."""
        return dataset_paths(dataset, data_root=self.data_root, stage=stage)
