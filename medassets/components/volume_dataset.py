"""A dataset of CT volumes, declared in YAML."""

from dataclasses import dataclass

import dagster as dg

from medassets.assets.volumes import build_volume_assets
from medassets.specs import VolumeDatasetSpec


@dataclass(frozen=True, kw_only=True)
class VolumeDatasetComponent(VolumeDatasetSpec, dg.Component, dg.Resolvable):
    """CT volumes with reports and labels: catalog, raw_volumes, shards, manifest.

    The fields are those of `medassets.specs.VolumeDatasetSpec`.
    """

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the dataset's assets, checks, jobs and schedule."""
        return build_volume_assets(self)
