"""Why shards are stale, which of them may be read beside new ones, and which need not be made again."""
