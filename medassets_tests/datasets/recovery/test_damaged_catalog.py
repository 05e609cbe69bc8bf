"""A catalog of which bytes are missing or others is set aside; what others wrote stays."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medassets.datasets.recovery.damaged_catalog import find_free_name, is_damaged, set_aside
from medassets.datasets.workspace import Workspace


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def overwrite_rows(content: bytes) -> bytes:
    return content[:4] + bytes(200) + content[204:]


@pytest.mark.parametrize(
    "damage", [cut, overwrite_rows, lambda _: b""], ids=["cut", "rows", "empty"]
)
def test_a_damaged_catalog_gets_another_name_and_keeps_its_bytes(
    planned: Workspace, damage: Callable[[bytes], bytes]
) -> None:
    path = planned.paths.catalog
    assert not is_damaged(path)
    assert set_aside(planned.paths) is None
    content = damage(path.read_bytes())
    path.write_bytes(content)
    assert is_damaged(path)
    kept = set_aside(planned.paths)
    assert kept == path.with_name("catalog.parquet.damaged")
    assert path.with_name("catalog.parquet.damaged").read_bytes() == content
    assert not path.exists()
    assert find_free_name(path) == path.with_name("catalog.parquet.damaged-2")


def test_what_others_put_there_is_not_set_aside(planned: Workspace) -> None:
    path = planned.paths.catalog
    foreign: list[bytes] = [b"notes of a user, long enough to be no remnant of anything" * 50]
    table = path.with_name("other.parquet")
    pq.write_table(pa.table({"x": [1]}), table)
    foreign.append(table.read_bytes())
    for content in foreign:
        path.write_bytes(content)
        assert not is_damaged(path)
        assert set_aside(planned.paths) is None
        assert path.read_bytes() == content
    path.unlink()
    path.mkdir()
    assert not is_damaged(Path(path))
