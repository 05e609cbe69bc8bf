"""Pipelines of `webdataset` over published shards, of this machine and of any URL."""
