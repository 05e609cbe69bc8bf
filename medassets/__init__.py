"""medassets: medical volumes and video turned into training-ready shards, as Dagster assets."""

__version__ = "0.1.0"
