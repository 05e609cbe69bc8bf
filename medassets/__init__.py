"""medassets: medical volumes and video turned into training-ready shards, as Dagster assets."""

from typing import TYPE_CHECKING, Any

from medassets.version import __version__

if TYPE_CHECKING:
    from medassets.cli.dataframes import read_catalog, read_status

__all__ = ["__version__", "read_catalog", "read_status"]


def __getattr__(name: str) -> Any:
    # A training job that imports a pure room pays nothing for the orchestrator.
    if name in ("read_catalog", "read_status"):
        from medassets.cli import dataframes

        return getattr(dataframes, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
