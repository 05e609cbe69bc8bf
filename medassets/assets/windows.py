"""The assets, checks, jobs and schedule of one dataset of CT windows."""

import dagster as dg

from medassets.assets.volumes import build_ct_assets
from medassets.datasets.registry import open_kind
from medassets.specs import CTWindowDatasetSpec


def build_window_assets(spec: CTWindowDatasetSpec) -> dg.Definitions:
    """Return everything Dagster needs for one declared dataset of CT windows.

    Touches no disk, network or environment. The resources (`workspace` and the IO managers) are
    those of `medassets.definitions.build_resources`; merge both into one `dg.Definitions`.

    Args:
        spec: The declaration.
    """
    return build_ct_assets(open_kind(spec))
