"""Frames for notebooks agree with the catalog on disk and with the command."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest

import medassets as package
from medassets.errors import CatalogError, UsageError

Medassets = Callable[..., Any]
read_status: Callable[..., pd.DataFrame] = package.read_status


def test_the_catalog_is_that_of_the_file(built: Path) -> None:
    frame = package.read_catalog("lungs")
    path = built / "catalog.parquet"
    assert frame["key"].tolist() == pq.read_table(path)["key"].to_pylist()
    assert isinstance(frame["key"].dtype, pd.StringDtype)
    assert frame.loc[frame["excluded"].isna(), "partition"].notna().all()


def test_the_status_of_shards_is_that_of_the_command(built: Path, medassets: Medassets) -> None:
    (built / "train" / "shard-000000.tar").unlink()
    frame = read_status("lungs")
    told = medassets("status", "lungs", "--json").document
    assert dict(zip(frame["partition"], frame["state"], strict=True)) == told["shards"]
    lost = frame.set_index("partition").loc["train-000000"]
    assert (lost["state"], lost["num_samples"], pd.isna(lost["path"])) == ("lost", 0, True)
    done = frame[frame["state"] == "done"]
    assert [Path(path).stat().st_size for path in done["path"]] == done["size_bytes"].tolist()


def test_the_status_of_items_adds_up_as_the_account_does(built: Path, medassets: Medassets) -> None:
    frame = read_status("lungs", of="items")
    account = medassets("status", "lungs", "--json").document["account"]
    found = frame["state"].value_counts().to_dict()
    assert len(frame) == account["items"]
    assert found == {state: account[state] for state in found}
    assert (frame.loc[frame["state"] != "done", "reason"] != "").all()


def test_what_is_not_there_is_named(lungs: Callable[..., Path], home: Path) -> None:
    with pytest.raises(UsageError, match="'lung' is not declared"):
        package.read_catalog("lung")
    with pytest.raises(CatalogError, match="no catalog yet"):
        package.read_catalog("lungs")
    with pytest.raises(CatalogError, match="no catalog yet"):
        read_status("lungs")
    with pytest.raises(UsageError, match="of: expected one of shards, items, got 'rows'"):
        read_status("lungs", of="rows")
    with pytest.raises(AttributeError, match="has no attribute 'read_nothing'"):
        _ = package.read_nothing


@pytest.mark.slow
def test_importing_the_package_imports_no_orchestrator() -> None:
    program = "import json, sys, medassets; print(json.dumps('dagster' in sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert json.loads(ran.stdout) is False
