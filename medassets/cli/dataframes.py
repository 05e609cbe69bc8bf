"""Catalog and status of a declared dataset as pandas frames, for notebooks and scripts."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from medassets.cli.session import Session
from medassets.datasets.accounts import Books, iter_items, open_books
from medassets.datasets.status import ShardState, shard_states
from medassets.datasets.workspace import Workspace
from medassets.errors import UsageError
from medassets.shards.account import ItemState
from medassets.shards.catalog.files import read_catalog as read_catalog_file
from medassets.storage.paths import split_partition_key

if TYPE_CHECKING:
    import pandas as pd

StatusRows = Literal["shards", "items"]

_SHARD_COLUMNS = {
    "stage": "string",
    "split": "string",
    "partition": "string",
    "state": "string",
    "num_planned": "Int64",
    "num_samples": "Int64",
    "num_rejected": "Int64",
    "size_bytes": "Int64",
    "path": "string",
}
_ITEM_COLUMNS = ("key", "split", "partition", "state", "reason", "detail")


def read_catalog(name: str) -> "pd.DataFrame":
    """Return the catalog of a declared dataset: one row per source item.

    Args:
        name: Name of the dataset.

    Returns:
        The columns of `catalog.parquet`; those of numbers and text are nullable.

    Raises:
        UsageError: If it is not declared, or its declaration is broken.
        CatalogError: If nothing is planned yet, or the catalog is damaged.
    """
    workspace = Session().workspace(name)
    workspace.read_plan()
    table = read_catalog_file(workspace.paths.catalog).replace_schema_metadata(None)
    return table.to_pandas(types_mapper=_nullable_types().get)


def read_status(name: str, *, stage: str = "", of: StatusRows = "shards") -> "pd.DataFrame":
    """Return the state of every shard, or of every source item, of a declared dataset.

    Args:
        name: Name of the dataset.
        stage: Stage of shards; empty takes all that are reported on.
        of: `shards`: a row per planned shard with its state (`done`, `missing`, `failed`, `stale`,
            `orphaned`, `lost`), numbers of samples, size and path. `items`: a row per source item with
            its state (`done`, `rejected`, `excluded`, `held`, `left`), reason and detail.

    Raises:
        UsageError: If it is not declared, its declaration is broken, or there is no such stage.
        CatalogError: If nothing is planned yet, or the catalog is damaged.
    """
    if of not in get_args(StatusRows):
        what = f"expected one of {', '.join(get_args(StatusRows))}, got {of!r}"
        raise UsageError(field="of", what=what)
    import pandas as pd

    session = Session()
    session.workspace(name, stage).read_plan()
    stages = [stage] if stage else session.live_stages(name)
    if of == "items":
        # Stages share the catalog; the first is the one to train on.
        rows = _list_items(session.workspace(name, stages[0]))
        return pd.DataFrame(rows, columns=list(_ITEM_COLUMNS), dtype="string")
    try:
        shards = [row for one in stages for row in _list_shards(session, name, one)]
    finally:
        # A notebook may ask a hundred times.
        session.instance.dispose()
    return pd.DataFrame(shards, columns=list(_SHARD_COLUMNS)).astype(_SHARD_COLUMNS)


def _list_shards(session: Session, name: str, stage: str) -> list[dict[str, Any]]:
    workspace = session.workspace(name, stage)
    books = open_books(workspace)
    recorded = session.recorded(workspace, list(books.plan.partitions))
    states = shard_states(workspace, recorded, books=books)
    return [_describe_shard(workspace, books, key, state) for key, state in states.items()]


def _describe_shard(
    workspace: Workspace, books: Books, partition: str, state: ShardState
) -> dict[str, Any]:
    found = books.shards[partition]
    record = found.record or found.older
    return {
        "stage": workspace.kind.stage,
        "split": split_partition_key(partition)[0],
        "partition": partition,
        "state": str(state),
        "num_planned": found.num_planned,
        "num_samples": len(record.samples) if record else 0,
        "num_rejected": len(record.rejected) if record else len(found.known_bad),
        "size_bytes": record.size_bytes if record else None,
        "path": str(workspace.paths.shard(partition)) if record else None,
    }


def _list_items(workspace: Workspace) -> list[dict[str, str]]:
    return [
        {name: str(getattr(item, name)) for name in _ITEM_COLUMNS}
        for state in ItemState
        for item in iter_items(workspace, state)
    ]


def _nullable_types() -> Mapping[pa.DataType, Any]:
    """Return Arrow types -> pandas dtypes that tell missing values from numbers."""
    import pandas as pd

    return {
        pa.int64(): pd.Int64Dtype(),
        pa.int32(): pd.Int32Dtype(),
        pa.float64(): pd.Float64Dtype(),
        pa.bool_(): pd.BooleanDtype(),
        pa.string(): pd.StringDtype(),
        pa.large_string(): pd.StringDtype(),
    }
