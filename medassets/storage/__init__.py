"""Paths, atomic publication, locks and checksums on a local filesystem."""
