"""Homes that are built once by the command, and copied by those who use them."""

import hashlib
import os
from pathlib import Path

import pytest

from medassets.cli.main import run


def build_declared(folder: Path, *datasets: str) -> None:
    """Build datasets of `folder/declared` into `folder/home`, in this process.

    The environment is left as it was; the command itself sets DAGSTER_HOME.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDASSETS_HOME", str(folder / "home"))
        patch.setenv("MEDASSETS_DEFS", str(folder / "declared"))
        patch.delenv("DAGSTER_HOME", raising=False)
        for dataset in datasets:
            assert run(["build", dataset, "--json"]) == 0
        os.environ.pop("DAGSTER_HOME", None)


def digests(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below a folder but the manifests, by its path."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }
