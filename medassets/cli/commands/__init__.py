"""One file per command of `medassets`."""
