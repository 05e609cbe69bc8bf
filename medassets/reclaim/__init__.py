"""Deletion of source files that are proven to be in shards; nothing else deletes sources."""
