"""Kinds of dataset: a source, a processing and shards put together, without Dagster."""
