"""Catalog rows of video clips: metadata matched to files."""
