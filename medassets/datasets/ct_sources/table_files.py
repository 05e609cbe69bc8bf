"""Tables of a source, read once and kept in memory while its rows are made."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from medassets.sources.base import Source


def read_table_files(source: Source, paths: Iterable[str], revision: str | None) -> "TableFiles":
    """Read those of some tables that exist.

    Args:
        source: Where they are.
        paths: Paths inside the source.
        revision: Pinned revision, None where the source has none.

    Raises:
        CatalogError: If one exists and cannot be read.
    """
    wanted = list(paths)
    there = source.describe(wanted, revision=revision)
    contents = {
        path: source.read_table(path, revision=revision) for path in wanted if path in there
    }
    return TableFiles(contents, source)


@dataclass(frozen=True)
class TableFiles:
    """Tables that exist, not parsed yet.

    Attributes:
        contents: Path inside the source -> content.
        source: Where they come from.
    """

    contents: Mapping[str, bytes] = field(repr=False)
    source: Source

    def read_table(self, path: str, *, revision: str | None) -> bytes:
        """Return a table; one that was not kept is read.

        Raises:
            CatalogError: If it is missing or cannot be read.
        """
        found = self.contents.get(path)
        return self.source.read_table(path, revision=revision) if found is None else found
