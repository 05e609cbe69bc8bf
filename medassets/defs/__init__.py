"""Declared datasets: values, no logic."""
