"""Volumes made on the spot and an independent oracle of the resampling."""

import gzip
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import pytest

from medassets.sources.webdataset import WebDatasetSource
from medassets.specs import CTPreprocessing
from medassets_tests.volumes.foreign_tars import Sample, WriteTar

# Columns far from any world axis, still invertible: a swapped or flipped axis cannot hide.
OBLIQUE = np.array([[0.83, -0.36, 0.42], [0.47, 0.86, -0.19], [-0.29, 0.36, 0.89]])


@pytest.fixture
def make_affine() -> Callable[..., npt.NDArray[np.float64]]:
    """Return a function (spacing_mm, origin_mm) -> oblique affine with orthogonal columns."""

    def make(
        spacing_mm: tuple[float, ...], origin_mm: tuple[float, ...] = (-20.0, 31.0, -110.0)
    ) -> npt.NDArray[np.float64]:
        rotation, _ = np.linalg.qr(OBLIQUE)
        rotation *= np.sign(np.diag(rotation))
        affine = np.eye(4)
        affine[:3, :3] = rotation * np.asarray(spacing_mm)
        affine[:3, 3] = origin_mm
        return affine

    return make


@pytest.fixture
def write_volume(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes stored voxels as a NIfTI file, header fields as asked for."""

    def write(
        stored: npt.NDArray[Any],
        affine: npt.NDArray[np.float64],
        *,
        name: str = "volume.nii.gz",
        kind: type[Any] = nib.Nifti1Header,
        order: Any = "<",
        **fields: Any,
    ) -> Path:
        header = kind(endianness=order)
        header.set_data_dtype(stored.dtype)
        header.set_data_shape(stored.shape)
        header.set_sform(affine, code=1)
        header["pixdim"][1:4] = np.linalg.norm(affine[:3, :3], axis=0)
        header["vox_offset"] = 352 if kind is nib.Nifti1Header else 544
        header["magic"] = b"n+1" if kind is nib.Nifti1Header else b"n+2\0\r\n\x1a\n"
        for field, value in fields.items():
            header[field] = value
        voxels = stored.astype(stored.dtype.newbyteorder(order)).tobytes(order="F")
        content = header.binaryblock + b"\0" * 4 + voxels
        path = tmp_path / name
        path.write_bytes(gzip.compress(content, 1, mtime=0) if name.endswith(".gz") else content)
        return path

    return write


@pytest.fixture
def oracle() -> Callable[..., npt.NDArray[np.float64]]:
    """Return torch's own interpolation of a whole volume, cropped and padded, before float16."""

    def compute(
        hu: npt.NDArray[Any],
        spacing_mm: tuple[float, ...],
        preset: CTPreprocessing,
        *,
        dtype: Any = np.float64,
    ) -> npt.NDArray[np.float64]:
        import torch

        low, high = preset.clip_hu or np.percentile(
            hu.astype(np.float64), preset.percentiles or (0, 100)
        )
        clipped = np.clip(hu.astype(dtype), low, high)
        size = [
            int(n * (step / target))
            for n, step, target in zip(hu.shape, spacing_mm, preset.spacing_mm, strict=True)
        ]
        resampled = torch.nn.functional.interpolate(
            torch.from_numpy(np.ascontiguousarray(clipped))[None, None],
            size=size,
            mode="trilinear",
            align_corners=False,
        )
        scaled = (resampled / preset.scale)[0, 0].numpy()
        if preset.output_range is not None:
            scaled = np.interp(scaled, (low, high), preset.output_range).astype(dtype)
        out = np.full(preset.shape, preset.pad_value, dtype)
        crop = tuple(
            slice(max((n - t) // 2, 0), max((n - t) // 2, 0) + t)
            for n, t in zip(size, preset.shape, strict=True)
        )
        kept = scaled[crop]
        pad = tuple(
            slice(max((t - n) // 2, 0), max((t - n) // 2, 0) + m)
            for n, t, m in zip(size, preset.shape, kept.shape, strict=True)
        )
        out[pad] = kept
        return out

    return compute


@pytest.fixture
def ulps() -> Callable[..., npt.NDArray[np.int64]]:
    """Return a function that counts float16 steps between two arrays."""

    def order(values: npt.NDArray[np.float16]) -> npt.NDArray[np.int64]:
        bits = values.view(np.uint16).astype(np.int64)
        return np.where(bits & 0x8000, -(bits & 0x7FFF), bits)

    def count(
        one: npt.NDArray[np.float16], other: npt.NDArray[np.float16]
    ) -> npt.NDArray[np.int64]:
        return np.abs(order(one) - order(other))

    return count


@pytest.fixture
def phantom() -> Callable[..., npt.NDArray[np.int16]]:
    """Return a function (shape, seed) -> HU of noisy tissue in air, -8192 in one corner."""

    def make(shape: tuple[int, int, int] = (13, 9, 7), seed: int = 0) -> npt.NDArray[np.int16]:
        rng = np.random.default_rng(seed)
        hu = rng.normal(30, 60, shape)
        hu[: shape[0] // 3] = rng.normal(-950, 40, hu[: shape[0] // 3].shape)
        hu[0, 0] = -8192
        return np.round(hu).astype(np.int16)

    return make


@pytest.fixture
def write_tar(tmp_path: Path) -> WriteTar:
    """Return a function that writes a tar below `source`, always with the same time."""
    from webdataset.writer import TarWriter

    def write(name: str, *samples: Sample) -> Path:
        path = tmp_path / "source" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with TarWriter(str(path)) as writer:
            for sample in samples:
                writer.write(sample)
        os.utime(path, ns=(1_700_000_000_000_000_123, 1_700_000_000_000_000_123))
        return path

    return write


@pytest.fixture
def source(tmp_path: Path) -> WebDatasetSource:
    """An empty folder of tars."""
    (tmp_path / "source").mkdir()
    return WebDatasetSource(tmp_path / "source")
