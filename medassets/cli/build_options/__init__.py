"""What `build` takes beside the shards to make: fields, folders, and the options of older scripts."""
