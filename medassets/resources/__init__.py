"""Dagster resources: the workspace of a dataset and the video decoder."""
