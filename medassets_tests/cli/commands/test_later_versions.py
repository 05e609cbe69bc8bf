"""What a later version of the program wrote is named by every command, and nothing of it is replaced."""

import json
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from medassets.shards.catalog.plan import PLAN_KEY
from medassets.shards.files import partial_paths
from medassets.storage.journal import Journal
from medassets.storage.made_file import MadeFile

Medassets = Callable[..., Any]
TAR = "train/shard-000001.tar"


def _edit(file: Path, **fields: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **fields}))


def _edit_catalog(folder: Path) -> Path:
    path = folder / "catalog.parquet"
    file = pq.ParquetFile(path)
    plan = json.loads((file.metadata.metadata or {})[PLAN_KEY])
    table = pq.read_table(path)
    with pq.ParquetWriter(path, table.schema) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata({PLAN_KEY: json.dumps({**plan, "weights": [1]})})
    return path


def _edit_record(folder: Path) -> Path:
    _edit((folder / TAR).with_suffix(".json"), licence="x")
    return (folder / TAR).with_suffix(".json")


def _raise_record(folder: Path) -> Path:
    _edit((folder / TAR).with_suffix(".json"), record_version=2)
    return (folder / TAR).with_suffix(".json")


def _publish_manifest(folder: Path) -> Path:
    path = folder / "train/manifest.json"
    _edit(path, manifest_version=2)
    content = path.read_bytes()
    path.unlink()
    MadeFile(path).publish(content)
    return path


def _write_journal(path: Path, header: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(Journal(path, header)) as journal:
        journal.append({"more": 1}, durable=True)
    return path


def _leave_ledger(folder: Path) -> Path:
    for path in (folder / TAR, (folder / TAR).with_suffix(".json")):
        path.unlink()
    return _write_journal(partial_paths(folder / TAR)[1], {"ledger": 2, "plan": ""})


@pytest.mark.parametrize(
    ("make", "commands"),
    [
        (_edit_record, ("status", "build", "verify", "reconcile")),
        (_raise_record, ("build", "build --force", "reconcile --full")),
        (_edit_catalog, ("status", "build", "verify", "reconcile")),
        (_publish_manifest, ("build", "build --allow-shrink")),
        (_leave_ledger, ("build", "build --no-refresh")),
    ],
)
def test_every_command_names_the_file_and_leaves_it_as_it_is(
    medassets: Medassets,
    built: Path,
    make: Callable[[Path], Path],
    commands: tuple[str, ...],
) -> None:
    path = make(built)
    before, tar = path.read_bytes(), (built / TAR).exists() and (built / TAR).read_bytes()
    for command in commands:
        verb, *options = command.split()
        ran = medassets(verb, "lungs", *options)
        assert "Traceback" not in ran.out + ran.err
        assert ran.code == 1, (command, ran.out)
        assert f"{path}: written by a later version of medassets" in ran.err, (command, ran.err)
        assert path.read_bytes() == before, command
        if tar:
            assert (built / TAR).read_bytes() == tar, command
