"""Replaces code servers that died, within seconds.

Dagster's daemon makes new code servers once a minute, and its web server does when somebody reloads the
location. Until then no queued run starts, and pages can launch nothing.
"""

import time
from contextlib import AbstractContextManager

# None of these has a public name.
from dagster._core.remote_representation.code_location import GrpcServerCodeLocation
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.workspace import CodeLocationEntry

from medassets.instance.repeating import repeating
from medassets.storage.processes import is_listening

_INTERVAL_S = 2.0
_RETRY_S = 60.0


def replacing_dead_servers(context: WorkspaceProcessContext) -> AbstractContextManager[None]:
    """Replace dead code servers of a web server until the block is left."""

    def replace() -> bool:
        replace_dead_servers(context)
        return True

    return repeating(replace, every_s=_INTERVAL_S)


def replace_dead_servers(context: WorkspaceProcessContext) -> list[str]:
    """Load locations anew whose code server is dead, or could not be loaded a minute ago.

    Returns:
        Their names.
    """
    replaced: list[str] = []
    for name, entry in context.get_current_workspace().code_location_entries.items():
        if _is_due(entry):
            context.reload_code_location(name)
            if entry.code_location is not None:
                # Else its thread sends heartbeats to the dead server.
                entry.code_location.cleanup()
            replaced.append(name)
    return replaced


def _is_due(entry: CodeLocationEntry) -> bool:
    location = entry.code_location
    if location is None:
        # A clock that was set back must not stop it for the difference.
        return abs(time.time() - entry.update_timestamp) > _RETRY_S
    if not isinstance(location, GrpcServerCodeLocation) or location.socket is None:
        return False
    return not is_listening(location.socket)
