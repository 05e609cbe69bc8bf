"""Tar files: their headers, which members they hold and where, and one reader."""
