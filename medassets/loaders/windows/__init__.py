"""Sparse points of CT windows, from shards and from folders of other tools."""
