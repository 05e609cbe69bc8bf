"""Decoder processes that are watched and replaced."""
