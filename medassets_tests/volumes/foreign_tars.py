"""Tars as other tools write them, and the rows that a catalog has of them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from medassets.shards.catalog.files import read_catalog, write_catalog
from medassets.shards.catalog.planning import plan_catalog
from medassets.shards.catalog.previous import open_previous
from medassets.sources.webdataset import WebDatasetSource
from medassets.specs import VolumeDatasetSpec
from medassets.volumes.catalog.webdataset_rows import read_webdataset_rows

VOXELS = np.arange(5 * 7 * 11, dtype=np.int16).reshape(5, 7, 11)
FACTS: Mapping[str, Any] = {
    "study_id": "train_1_a_1",
    "shape": [5, 7, 11],
    "dtype": "int16",
    "XYSpacing": "[0.75, 0.5]",
    "ZSpacing": 1.5,
    "RescaleSlope": 2,
    "RescaleIntercept": "-1024",
    "Manufacturer": "Ä",
}
Sample = dict[str, Any]
WriteTar = Callable[..., Path]


def make_sample(key: str = "0001", /, **facts: Any) -> Sample:
    """Return a sample as plain webdataset takes it; facts that are None are left out."""
    stated = {name: value for name, value in {**FACTS, **facts}.items() if value is not None}
    return {
        "__key__": key,
        "bin": VOXELS.tobytes(),
        "txt": "kein Befund",
        "cls": np.ones(2, "<f4").tobytes(),
        "json": stated,
    }


def without(sample: Sample, *suffixes: str) -> Sample:
    return {name: value for name, value in sample.items() if name not in suffixes}


def make_spec(source: WebDatasetSource, **changes: Any) -> VolumeDatasetSpec:
    fields: dict[str, Any] = {
        "name": "foreign",
        "source": "webdataset",
        "folder": str(source.folder),
        "shards": "{split}/*.tar",
        "splits": ("train",),
        "hu_rule": "none",
        **changes,
    }
    return VolumeDatasetSpec(**fields)


def read(source: WebDatasetSource, previous: pa.Table | None = None, **changes: Any) -> pa.Table:
    return read_webdataset_rows(make_spec(source, **changes), source, previous)


def read_one(source: WebDatasetSource, **changes: Any) -> dict[str, Any]:
    (row,) = read(source, **changes).to_pylist()
    return row


def list_exclusions(table: pa.Table) -> list[tuple[str | None, str | None]]:
    return [(row["excluded"], row["detail"]) for row in table.to_pylist()]


def refresh(source: WebDatasetSource, previous: pa.Table | None, **changes: Any) -> pa.Table:
    """Return the next catalog, as a refresh makes it: written and read between."""
    path = source.folder / "catalog.parquet"
    known = None
    if previous is not None:
        write_catalog(previous, path)
        with open_previous(path, "tiny") as stored:
            assert stored is not None
            known = stored.read_slim()
    rows = read(source, known, **changes)
    size = None if previous is not None else 2

    def has_file(path: str) -> bool:
        return source.locate(source.physical_path(path)) is not None

    write_catalog(
        plan_catalog(rows, previous, samples_per_shard=size, pinned=False, has_file=has_file), path
    )
    return read_catalog(path)
