"""Which of our errors another try may mend, told to Dagster."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from medassets.errors import (
    DiskSpaceError,
    LockTimeoutError,
    MedassetsError,
    SourceUnavailableError,
)

LAUNCHED_BY_TAG = "medassets/launched_by"
"""Tag of runs that the medassets command made: a person waits there, who can retry by hand."""

_PASSING = (DiskSpaceError, LockTimeoutError, SourceUnavailableError)
_MAX_RETRIES = 2
_RETRY_DELAY_S = 60.0


@contextmanager
def explained_failures(run_tags: Mapping[str, str]) -> Iterator[None]:
    """Let a full disk or a silent source be retried, and nothing else.

    Args:
        run_tags: Tags of the run.

    Raises:
        dg.RetryRequested: If another try, a minute later, may succeed.
        dg.Failure: For any other MedassetsError.
    """
    try:
        yield
    except _PASSING as error:
        if LAUNCHED_BY_TAG in run_tags:
            raise dg.Failure(str(error), allow_retries=False) from error
        raise dg.RetryRequested(_MAX_RETRIES, seconds_to_wait=_RETRY_DELAY_S) from error
    except MedassetsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def as_failure(failed: Mapping[str, MedassetsError]) -> dg.Failure:
    """Return one failure that names each shard and why it was not made."""
    lines = [f"- {key}: {error}" for key, error in failed.items()]
    return dg.Failure(
        f"{len(failed)} of the run's shards were not made: {', '.join(failed)}",
        metadata={"medassets/failed": dg.MetadataValue.md("\n".join(lines))},
        allow_retries=False,
    )
