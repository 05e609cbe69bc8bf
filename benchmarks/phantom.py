"""A synthetic chest CT that is as large, and as hard to compress, as a real one."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip

SHAPE = (512, 512, 336)
SPACING_MM = (0.72, 0.72, 1.0)
_NOISE_HU = {"tissue": 70.0, "air": 34.0}
_LEVEL = 2


def make_chest(path: Path, *, seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> Path:
    """Write a chest-like volume unless it is there already.

    A body with lungs, spine and noise in air, -8192 outside the round field of view, as scanners
    of one maker store it. About 105 MB of gzip for 176 MB of voxels.

    Args:
        path: File to write, `.nii.gz`.
        seed: Of the noise.
        shape: Axes (i, j, k).
    """
    if path.exists():
        return path
    rng = np.random.default_rng(seed)
    i, j, _ = (np.linspace(-1, 1, n, dtype=np.float32) for n in shape)
    i, j = i[:, None], j[None, :]
    hu = np.empty(shape, np.int16, order="F")
    for index, k in enumerate(np.linspace(-1, 1, shape[2])):
        hu[:, :, index] = _make_slice(i, j, float(k), rng)
    affine = np.diag([*SPACING_MM, 1.0])
    header = nib.Nifti1Image(hu, affine).header
    header["vox_offset"] = 352
    header["magic"] = b"n+1"
    private = path.with_name(f".{path.name}.tmp")
    with igzip.IGzipFile(private, "wb", compresslevel=_LEVEL) as file:
        file.write(header.binaryblock + bytes(4))
        file.write(hu.tobytes(order="F"))
    private.rename(path)
    return path


def _make_slice(i: np.ndarray, j: np.ndarray, k: float, rng: np.random.Generator) -> np.ndarray:
    body = i**2 / 0.8 + j**2 / 0.5 < 1
    lung = ((np.abs(i) - 0.42) / 0.28) ** 2 + (j / 0.45) ** 2 + (k / 0.9) ** 2 < 1
    spine = i**2 + (j - 0.45) ** 2 < 0.01
    hu = np.where(body, np.float32(40), np.float32(-1000))
    hu[lung & body] = -850
    hu[spine] = 500
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    hu += noise * np.where(body, _NOISE_HU["tissue"], _NOISE_HU["air"]).astype(np.float32)
    hu[i**2 + j**2 > 1] = -8192
    return np.round(hu).astype(np.int16)


def describe(path: Path) -> str:
    """Return one line about a file of `make_chest`."""
    sides = " x ".join(str(side) for side in SHAPE)
    facts = {"volume": f"{sides} int16", "gzip_mb": round(path.stat().st_size / 1e6, 1)}
    return json.dumps(facts)
