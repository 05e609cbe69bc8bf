"""Which of our errors another try cannot mend, told to Dagster."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import dagster as dg

from medassets.errors import (
    DiskSpaceError,
    LockTimeoutError,
    MedassetsError,
    SourceUnavailableError,
)

_PASSING = (DiskSpaceError, LockTimeoutError, SourceUnavailableError)


@contextmanager
def permanent_failures() -> Iterator[None]:
    """Turn an error that no retry can mend into a failure that is not retried.

    Raises:
        dg.Failure: For every MedassetsError but those of a full disk and a silent source.
    """
    try:
        yield
    except _PASSING:
        raise
    except MedassetsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error


def as_failure(failed: Mapping[str, MedassetsError]) -> dg.Failure:
    """Return one failure that names each shard and why it was not made."""
    lines = [f"{key}: {error}" for key, error in failed.items()]
    return dg.Failure(
        f"{len(failed)} of the run's shards were not made: {', '.join(failed)}",
        metadata={"medassets/failed": dg.MetadataValue.md("\n".join(f"- {x}" for x in lines))},
        allow_retries=any(isinstance(error, _PASSING) for error in failed.values()),
    )
