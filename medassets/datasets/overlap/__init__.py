"""Stages of a pipeline of shards: what goes on beside the shard that is computed."""
