"""A dataset of windows of CT volumes, declared in YAML."""

from dataclasses import dataclass

import dagster as dg

from medassets.assets.windows import build_window_assets
from medassets.specs import CTWindowDatasetSpec


@dataclass(frozen=True, kw_only=True)
class CTWindowDatasetComponent(CTWindowDatasetSpec, dg.Component, dg.Resolvable):
    """Masks of CT windows at one bit per voxel: catalog, raw_volumes, windows, manifest.

    The fields are those of `medassets.specs.CTWindowDatasetSpec`.
    """

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """Return the dataset's assets, checks, jobs and schedule."""
        return build_window_assets(self)
