"""The training side: torch datasets over published shards; imports no Dagster."""

from medassets.loaders.clips import ClipDataset

__all__ = ["ClipDataset"]
