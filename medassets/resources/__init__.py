"""Dagster resources: storage roots and the Hub."""
