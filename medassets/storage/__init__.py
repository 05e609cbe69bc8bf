"""Paths, atomic publication, locks and checksums on a local filesystem."""

import sys

if sys.platform != "linux":
    # Every room needs this one, and its locks and reads are those of Linux.
    msg = (
        f"medassets runs on Linux, and this is {sys.platform}: use WSL 2 or a container. Shards are plain "
        f"WebDataset tars, which the package webdataset reads anywhere"
    )
    raise ImportError(msg)
