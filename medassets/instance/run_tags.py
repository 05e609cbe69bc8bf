"""Tags by which a run says who launched it and which process executes it."""

from medassets.storage.processes import ProcessIdentity, parse_process, this_process

LAUNCHED_BY_TAG = "medassets/launched_by"
"""Tag of runs that the medassets command made: the user of the terminal can retry by hand."""

PROCESS_TAG = "medassets/process"
"""Tag of a run: the process that executes it."""

AUTOMATED_TAG = "medassets/automated"
"""Tag of a run that automation launched: it fails at once, because automation retries by itself."""

DATASET_TAG = "medassets/dataset"
"""Tag of a run: its dataset."""

LAUNCHER_TAG = "medassets/launcher"
"""Tag of a run from the queue: the daemon's process that launched it on this machine."""


def format_tag(process: ProcessIdentity, run_id: str) -> str:
    """Return a process as the value of a run's tag.

    Dagster copies tags to runs that repeat this one; the id says whose tag it is.
    """
    return f"{process} {run_id}"


def read_tag(value: str, run_id: str) -> ProcessIdentity | None:
    """Return the process of a run's tag; None if it is another run's, or not such a value."""
    text, _, owner = value.rpartition(" ")
    return parse_process(text) if owner == run_id else None


def tags_of_command(run_id: str) -> dict[str, str]:
    """Return the tags of a run that this process executes for the medassets command."""
    return {LAUNCHED_BY_TAG: "medassets", PROCESS_TAG: format_tag(this_process(), run_id)}
