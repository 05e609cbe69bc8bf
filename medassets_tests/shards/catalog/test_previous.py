"""Growing a plan from a catalog on disk, of which only parts are read."""

import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from medassets.errors import CatalogError
from medassets.shards.catalog import files, growth
from medassets.shards.catalog.files import read_catalog, write_catalog
from medassets.shards.catalog.plan import plan_of
from medassets.shards.catalog.planning import plan_catalog
from medassets.shards.catalog.previous import open_previous


def _rows(names: list[str], *, excluded: frozenset[str] = frozenset(), day: int = 1) -> pa.Table:
    texts = [f"{day} {name} " * 20 for name in names]
    return pa.table(
        {
            "key": pa.array(names, pa.string()),
            "split": pa.array([("train", "valid")[len(n) % 2] for n in names], pa.string()),
            "path": pa.array([f"{n}.raw" for n in names], pa.string()),
            "revision": pa.array([str(day)] * len(names), pa.string()),
            "excluded": pa.array(["bad" if n in excluded else None for n in names], pa.string()),
            "detail": pa.array([None] * len(names), pa.string()),
            "num_bytes": pa.array([len(n) for n in names], pa.int64()),
            "text": pa.array(texts, pa.string()),
            "sizes": pa.array([[0.5 * len(n), 1.0] for n in names], pa.list_(pa.float64())),
        }
    )


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    """A catalog of eleven samples in shards of three, and one row that is excluded."""
    path = tmp_path / "catalog.parquet"
    names = [f"k{n:02d}" for n in range(11)]
    write_catalog(
        plan_catalog(_rows([*names, "x"], excluded=frozenset("x")), None, samples_per_shard=3), path
    )
    return path


def test_there_may_be_no_catalog_yet(tmp_path: Path) -> None:
    with open_previous(tmp_path / "catalog.parquet", "tiny") as stored:
        assert stored is None


def test_what_is_no_catalog_is_refused(tmp_path: Path) -> None:
    (tmp_path / "catalog.parquet").write_bytes(b"PAR1 but not really PAR1")
    with (
        pytest.raises(CatalogError, match="not a readable catalog"),
        open_previous(tmp_path / "catalog.parquet", "tiny"),
    ):
        pass


def test_large_columns_are_left_out_and_numbers_never(catalog: Path) -> None:
    with open_previous(catalog, "tiny") as stored:
        assert stored is not None
        whole = stored.read_slim()
        slim = stored.read_slim(large_bytes=0)
        keys = stored.read_keys()
    assert whole.equals(read_catalog(catalog))
    assert slim.column_names == ["key", "path", "num_bytes"]
    assert keys.column_names == ["key"]
    assert plan_of(keys) == plan_of(slim) == plan_of(whole)


@pytest.mark.parametrize("numbers", [[], [0], [11], [5, 4, 3], [11, 0, 7, 0], list(range(12))])
def test_rows_are_fetched_whole_and_in_order(catalog: Path, numbers: list[int]) -> None:
    with open_previous(catalog, "tiny") as stored:
        assert stored is not None
        found = stored.fetch(np.array(numbers, np.int64))
    assert found.to_pylist() == [read_catalog(catalog).to_pylist()[n] for n in numbers]


def test_only_row_groups_with_wanted_rows_are_read(
    catalog: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_LEAST_ROWS", 3)
    write_catalog(read_catalog(catalog), catalog)
    groups: list[int] = []
    real = pq.ParquetFile.read_row_group

    def read(self: pq.ParquetFile, i: int) -> pa.Table:
        groups.append(i)
        return real(self, i)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", read)
    with open_previous(catalog, "tiny") as stored:
        assert stored is not None
        stored.fetch(np.array([10, 3, 4, 3], np.int64))
    assert groups == [1, 3]


def test_rows_come_from_the_catalog_that_was_opened(catalog: Path) -> None:
    before = read_catalog(catalog).to_pylist()
    with open_previous(catalog, "tiny") as stored:
        assert stored is not None
        write_catalog(plan_catalog(_rows(["other"]), None, samples_per_shard=1), catalog)
        assert stored.fetch(np.arange(12)).to_pylist() == before


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("block", [1, 4, 65_536])
def test_a_plan_grown_from_parts_is_the_plan_grown_from_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seed: int, block: int
) -> None:
    monkeypatch.setattr(growth, "_ROWS_AT_A_TIME", block)
    draw, path = random.Random(seed), tmp_path / "catalog.parquet"
    whole: pa.Table | None = None
    for day in range(4):
        names = [f"{'k' * draw.randint(1, 2)}{n:02d}" for n in range(30) if draw.random() < 0.7]
        draw.shuffle(names)
        rows = _rows(names, excluded=frozenset(draw.sample(names, 5)), day=day)
        how = {"samples_per_shard": 4, "pinned": day % 2 == 0}
        with open_previous(path, "tiny") as stored:
            grown = plan_catalog(
                rows,
                stored.read_keys() if stored else None,
                fetch=stored.fetch if stored else None,
                **how,
            )
        whole = plan_catalog(rows, whole, **how)
        assert grown.equals(whole)
        assert plan_of(grown) == plan_of(whole)
        write_catalog(grown, path)


def test_rows_that_lie_together_are_not_copied() -> None:
    rows = _rows([f"k{n:05d}" for n in range(1000)]).sort_by([("split", "ascending")])
    catalog = plan_catalog(rows, None, samples_per_shard=100)
    address = rows["text"].chunk(0).buffers()[2].address
    chunks = [chunk for chunk in catalog["text"].chunks if len(chunk)]
    assert {chunk.buffers()[2].address for chunk in chunks} == {address}
