"""Asset keys: `[<dataset>, <stage>]`."""

import dagster as dg


def asset_key(dataset: str, stage: str) -> dg.AssetKey:
    """Return the key of one stage of a dataset."""
    # Dagster serializes plain texts only, not members of an enum.
    return dg.AssetKey([dataset, str(stage)])
