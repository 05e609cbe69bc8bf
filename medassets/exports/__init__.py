"""From shards to the files that other training code reads."""
