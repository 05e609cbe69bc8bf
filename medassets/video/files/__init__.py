"""Video files: containers, streams, decoders."""
