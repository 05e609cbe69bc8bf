"""Tells Dagster which errors a retry may resolve."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NoReturn

import dagster as dg

from medassets.errors import (
    DiskSpaceError,
    LockTimeoutError,
    MedassetsError,
    SourceUnavailableError,
)
from medassets.instance.run_tags import AUTOMATED_TAG, LAUNCHED_BY_TAG
from medassets.storage.unreadable import explain_refusal

_NO_RETRY_TAGS = frozenset({LAUNCHED_BY_TAG, AUTOMATED_TAG})
"""Tags of runs that do not wait in their place of the queue: somebody else tries again later."""

_PASSING = (DiskSpaceError, LockTimeoutError, SourceUnavailableError)
MOST_SILENT = 3
"""Shards in a row without an answer of their source: one may be unreachable, three mean that it is down."""

_MAX_RETRIES = 2
_RETRY_DELAY_S = 60.0

# An event row stays under 32 KB; the log has every message whole.
_MOST_SHARDS = 40
_MOST_CHARACTERS = 500


@contextmanager
def explained_failures(run_tags: Mapping[str, str]) -> Iterator[None]:
    """Turn errors into Dagster's: a full disk or a silent source may be retried, others may not.

    Args:
        run_tags: Tags of the run.

    Raises:
        dg.RetryRequested: If another try, a minute later, may succeed.
        dg.Failure: For any other MedassetsError, and for a file that this process may not use.
    """
    try:
        yield
    except _PASSING as error:
        if _NO_RETRY_TAGS & run_tags.keys():
            raise dg.Failure(str(error), allow_retries=False) from error
        raise dg.RetryRequested(_MAX_RETRIES, seconds_to_wait=_RETRY_DELAY_S) from error
    except MedassetsError as error:
        raise dg.Failure(str(error), allow_retries=False) from error
    except OSError as error:
        refusal = explain_refusal(error)
        if refusal is None:
            raise
        raise dg.Failure(str(refusal), allow_retries=False) from refusal


def fail_range(
    failed: Mapping[str, MedassetsError | OSError], run_tags: Mapping[str, str]
) -> NoReturn:
    """Fail a run of several shards, naming each that was not made and why.

    Args:
        failed: Partition key -> what stopped it.
        run_tags: Tags of the run.

    Raises:
        dg.RetryRequested: If another try may make at least one of them; the others are adopted.
        dg.Failure: If none can be helped, or the run may not be retried.
    """
    failure = _as_failure(failed)
    passing = any(isinstance(error, _PASSING) for error in failed.values())
    if passing and not _NO_RETRY_TAGS & run_tags.keys():
        raise dg.RetryRequested(_MAX_RETRIES, seconds_to_wait=_RETRY_DELAY_S) from failure
    raise failure


def _as_failure(failed: Mapping[str, MedassetsError | OSError]) -> dg.Failure:
    shown = list(failed)[:_MOST_SHARDS]
    lines = [f"- {key}: {str(failed[key])[:_MOST_CHARACTERS]}" for key in shown]
    more = f" and {len(failed) - len(shown)} more" if len(failed) > len(shown) else ""
    return dg.Failure(
        f"{len(failed)} of the run's shards were not made: {', '.join(shown)}{more}",
        metadata={"medassets/failed": dg.MetadataValue.md("\n".join(lines) + more)},
        allow_retries=False,
    )
