"""Size and digest of each planned file of a remote source, as the plan saw it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import pyarrow as pa

from medassets.errors import RevisionGoneError
from medassets.shards.fingerprint import FILE_BYTES, FILE_DIGEST
from medassets.sources.base import RemoteFile, Source

Pin: TypeAlias = tuple[int, str]
"""Size of a file in bytes, and its digest: `sha256:` or `git:`, and hex digits."""

PLACES = frozenset({"partition", "state"})


def pin_of(file: RemoteFile) -> Pin | None:
    """Return size and digest that a source states of a file; None if it does not."""
    if file.num_bytes is None:
        return None
    if file.sha256 is not None:
        return file.num_bytes, f"sha256:{file.sha256}"
    return (file.num_bytes, f"git:{file.git_sha1}") if file.git_sha1 is not None else None


def is_same_file(pin: Pin, file: RemoteFile) -> bool:
    """Tell whether a file has the bytes that were pinned, as far as can be told without them.

    A source may state another kind of digest than was pinned; then the size decides.
    """
    now = pin_of(file)
    if now is None or now[0] != pin[0]:
        return False
    return now[1] == pin[1] or now[1].partition(":")[0] != pin[1].partition(":")[0]


def read_pin(row: Mapping[str, Any]) -> Pin | None:
    """Return the pin of one row of a catalog; None if it has none."""
    digest = row.get(FILE_DIGEST)
    return None if digest is None else (row[FILE_BYTES], digest)


def read_pins(table: pa.Table) -> list[Pin | None]:
    """Return the pins of the rows of a catalog; None where there is none."""
    if FILE_DIGEST not in table.column_names:
        return [None] * table.num_rows
    columns = (table[name].to_pylist() for name in (FILE_BYTES, FILE_DIGEST))
    return [None if cells[1] is None else cells for cells in zip(*columns, strict=True)]


def pin_files(
    table: pa.Table, source: Source, *, revision: str, files: Mapping[str, RemoteFile]
) -> pa.Table:
    """Fill in size and digest of the planned files that have none yet.

    A file that does not exist, or whose revision no longer exists, gets none.

    Args:
        table: A catalog, its planned rows first.
        source: Where the files are.
        revision: Current revision of the source.
        files: Files that were described at that revision, by path.
    """
    count = table.num_rows - table["partition"].null_count
    planned = table.slice(0, count).select(["path", "revision"])
    places = list(zip(*(planned[name].to_pylist() for name in ("revision", "path")), strict=True))
    pins = read_pins(table.slice(0, count))
    wanted: dict[str, dict[str, None]] = {}
    for (at, path), pin in zip(places, pins, strict=True):
        if pin is None:
            wanted.setdefault(at, {})[path] = None
    known = {
        at: _describe(source, list(paths), at, files if at == revision else {})
        for at, paths in wanted.items()
    }
    for number, (at, path) in enumerate(places):
        file = known.get(at, {}).get(path)
        if pins[number] is None and file is not None:
            pins[number] = pin_of(file)
    return _write_pins(table, [*pins, *[None] * (table.num_rows - count)])


def _describe(
    source: Source, paths: Sequence[str], revision: str, files: Mapping[str, RemoteFile]
) -> dict[str, RemoteFile]:
    rest = [path for path in paths if path not in files]
    try:
        found = source.describe(rest, revision=revision) if rest else {}
    except RevisionGoneError:
        found = {}
    return {**files, **found}


def _write_pins(table: pa.Table, pins: Sequence[Pin | None]) -> pa.Table:
    metadata = table.schema.metadata
    for place, (name, dtype) in enumerate(((FILE_BYTES, pa.int64()), (FILE_DIGEST, pa.string()))):
        cells = pa.array([None if pin is None else pin[place] for pin in pins], dtype)
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, cells)
        else:
            table = table.append_column(name, cells)
    return table.replace_schema_metadata(metadata)
