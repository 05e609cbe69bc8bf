"""Dagster components: dataset declarations in YAML."""
