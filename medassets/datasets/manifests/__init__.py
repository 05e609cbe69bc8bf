"""What training reads first: which shards the manifests list, and what they lack."""
