"""Manifests, wids indexes and what else lists a dataset's samples, as JSON files."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from medassets.datasets.automation.outcomes import Try, note_success, noting_trouble
from medassets.datasets.manifests.publication import list_keys
from medassets.errors import ManifestShrinkError
from medassets.io_managers.failures import explained_failures
from medassets.resources.workspace import WorkspaceResource
from medassets.shards.manifest import Document, Manifest, encode_document, write_manifest
from medassets.stages import VolumeStage
from medassets.storage.checksums import parse_json
from medassets.storage.made_file import MadeFile
from medassets.storage.ownership import content_says
from medassets.storage.paths import DatasetPaths
from medassets.storage.unreadable import read_regular

STAGE_KEY = "medassets/stage"
"""Metadata of a manifest's asset: the stage whose shards it lists; `shards` without it."""


@dataclass(frozen=True)
class ManifestSet:
    """What one refresh of the manifests publishes.

    Attributes:
        manifests: By split.
        documents: Other documents of the dataset's folder, by file name.
        tried: The try that made them, which their publication ends; None notes nothing.
        refused: Split -> why its manifest stays as it is, so that the run fails.
        splits: All splits, as declared.
    """

    manifests: Mapping[str, Manifest]
    documents: Mapping[str, Document] = field(default_factory=dict)
    tried: Try | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    splits: tuple[str, ...] = ()


class ManifestIOManager(dg.ConfigurableIOManager):
    """Writes one manifest and one wids index per split, beside the shards they list."""

    workspace: dg.ResourceDependency[WorkspaceResource]

    def handle_output(self, context: dg.OutputContext, obj: ManifestSet) -> None:
        """Publish the files of every split, and the dataset's documents.

        Raises:
            dg.RetryRequested: If the disk is full.
            dg.Failure: If a file in the way was not written by this package, or was changed since, or
                a manifest stays because it lists samples that would be lost; all others are written.
        """
        paths = self._paths(context.asset_key, context.definition_metadata)
        with explained_failures(context.step_context.run_tags), noting_trouble(obj.tried):
            # Older versions left no journal of the documents, which list the keys of the manifests.
            listed = encode_document(list_keys(_read_manifests(paths, obj.splits)))
            was_ours = content_says(lambda content: content == listed)
            for split, manifest in obj.manifests.items():
                write_manifest(paths, split, manifest)
            for name, document in obj.documents.items():
                file = MadeFile(paths.folder / name, was_ours=was_ours)
                file.publish(encode_document(document))
            if obj.refused:
                lines = (f"{split}: {why}" for split, why in obj.refused.items())
                raise ManifestShrinkError("; ".join(lines))
        if obj.tried is not None:
            note_success(obj.tried, written=obj.tried.plan, used_source=False)
        context.add_output_metadata({"dagster/uri": str(paths.folder)})

    def load_input(self, context: dg.InputContext) -> dict[str, Path]:
        """Return the manifest's path by split."""
        upstream = context.upstream_output
        paths = self._paths(context.asset_key, upstream.definition_metadata if upstream else {})
        # Any split's folder lies in the one that the stage's splits share.
        folder = paths.split_folder("train").parent
        return {path.parent.name: path for path in sorted(folder.glob("*/manifest.json"))}

    def _paths(self, key: dg.AssetKey, metadata: Mapping[str, Any] | None) -> DatasetPaths:
        stage = (metadata or {}).get(STAGE_KEY, VolumeStage.SHARDS)
        return self.workspace.paths(key.path[0], stage=str(stage))


def _read_manifests(paths: DatasetPaths, splits: Iterable[str]) -> dict[str, Manifest]:
    """Return the manifests on disk, by split; those that cannot be read are left out."""
    found: dict[str, Manifest] = {}
    for split in splits:
        with suppress(OSError, ValueError, KeyError, TypeError):
            manifest = parse_json(read_regular(paths.manifest(split)))
            list_keys({split: manifest})
            found[split] = manifest
    return found
