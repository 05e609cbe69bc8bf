"""Dagster IO managers: the only place that maps an asset key to a path."""
