"""Sparse points of CT windows, from shards and from folders that older tools wrote."""
