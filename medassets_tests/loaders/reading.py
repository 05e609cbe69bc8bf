"""Volumes of a split as the standard library and numpy read them."""

import tarfile
from pathlib import Path

import numpy as np

from medassets_tests.loaders.conftest import SHAPE


def read_volume(folder: Path, number: int) -> np.ndarray:
    """Return a volume (1, D, H, W) as the standard library and numpy read it."""
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as tar:
            if f"sample_{number}.bin" in tar.getnames():
                file = tar.extractfile(f"sample_{number}.bin")
                assert file is not None
                stored = np.frombuffer(file.read(), "<f2").reshape(SHAPE)
                return stored.transpose(2, 0, 1)[None]
    raise AssertionError(number)
