"""Decoder processes that are monitored and replaced."""
