"""Tags by which a run says who launched it and which process executes it."""

LAUNCHED_BY_TAG = "medassets/launched_by"
"""Tag of runs that the medassets command made: the user of the terminal can retry by hand."""

PROCESS_TAG = "medassets/process"
"""Tag of a run: the host and process that execute it."""
