"""Scripts that build on the machines of a cluster."""
