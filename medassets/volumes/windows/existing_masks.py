"""Masks that other tools made: `processed/<case>/windows/<window>_w<width>_l<level>.npy`.

Source: the folders that CT window preprocessing of Med-3D-LLM writes and its data sets read.
"""

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.specs import CTWindow, CTWindowDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.storage.checksums import fingerprint
from medassets.storage.foreign_bytes import rejecting_foreign
from medassets.storage.formats.npy import map_npy
from medassets.volumes.catalog.columns import CASE_ROW_SCHEMA, CaseRow
from medassets.volumes.windows.masks import Bits, choose_resolution, name_window_file
from medassets.volumes.windows.occupancy import BLOCK_BYTES, count_blocks_of
from medassets.volumes.windows.samples import describe_file, encode_masks

FOLDER = "processed"
METADATA = "metadata.csv"

_LONGEST_NAME = 100
_LONGEST_KEY = 90
_HASH_DIGITS = 8
# Planes of 1024 x 1024 at once: 32 MB; whole cache lines of arrays whose last axis is fastest.
_SLAB_PLANES = 64
_SLAB_BYTES = 1 << 25


def read_case_rows(spec: CTWindowDatasetSpec, folder: Path) -> pa.Table:
    """List the cases below a folder: one row each.

    Cases are in a folder named `processed`, in `processed` beside every `metadata.csv` or in the
    folder itself, or are the folder's own children. A case that lacks a declared window is kept,
    with its reason in `excluded`.

    Args:
        spec: Declaration; its windows name the files.
        folder: Top of the source.
    """
    windows = spec.list_windows()
    rows: list[dict[str, Any]] = []
    keys: set[str] = set()
    for case in _find_cases(folder):
        row = _make_row(case, folder, windows)
        if row["key"] in keys:
            row["excluded"] = str(Reason.DUPLICATE_ROW)
            row["detail"] = f"{row['path']}: another case has the key {row['key']}"
            row["key"] = f"{row['key'][: _LONGEST_KEY - 18]}-dup-{_digest(row['path'])}"
        keys.add(row["key"])
        rows.append({"split": spec.splits[0], **row})
    return pa.Table.from_pylist(rows, schema=CASE_ROW_SCHEMA)


def encode_case_sample(
    item: SourceItem,
    staged: StagedFile,
    *,
    spec: CTWindowDatasetSpec,
    fingerprint: str,
    buffers: BufferPool,
) -> EncodedSample:
    """Pack the masks of one case as the members of a sample; nonzero voxels are inside.

    Args:
        item: Catalog row of the case.
        staged: Files of the windows, in the order of the declaration.
        spec: Declaration of the dataset.
        fingerprint: Hash of declaration and row; the files' digests are added to it.
        buffers: Where the bits are kept until the sample's `release` is called.

    Raises:
        SampleRejectedError: If a file is not a mask, or its shape differs from the others.
    """
    started = time.perf_counter()
    windows = spec.list_windows()
    files = [staged, *staged.others]
    masks = [open_mask(file.path, file.uri) for file in files]
    shape = masks[0].shape
    for mask, file in zip(masks, files, strict=True):
        if mask.shape != shape:
            _reject(f"{file.uri}: the mask is {mask.shape}, that of {windows[0].name} is {shape}")
    choose_resolution(shape)
    with ExitStack() as stack:
        num_bytes = len(masks) * count_blocks_of(shape) * BLOCK_BYTES
        memory = stack.enter_context(buffers.borrow((num_bytes,), np.uint8))
        bits = memory.reshape(len(masks), -1)
        for mask, target in zip(masks, bits, strict=True):
            pack_nonzero(mask, target)
        read_s = time.perf_counter() - started
        sample = encode_masks(
            item,
            bits,
            shape,
            spec=spec,
            described=_describe(item, files, windows),
            fingerprint=_add_digests(fingerprint, files),
            release=stack,
        )
    return replace(sample, seconds={"read": read_s, **sample.seconds})


def pack_nonzero(mask: npt.NDArray[Any], bits: Bits) -> None:
    """Write which voxels of an array are nonzero, slab by slab, as `np.nonzero` defines it.

    Args:
        mask: Shape (i, j, k), any real dtype and order.
        bits: uint8, a whole number of blocks; first axis fastest, zeros behind the last voxel.
    """
    num_i, num_j, num_k = mask.shape
    # Eight planes, whatever their size, are a whole number of bytes of bits.
    step = max(min(_SLAB_PLANES, _SLAB_BYTES // (num_i * num_j) // 8 * 8), 8)
    end = 0
    for k in range(0, num_k, step):
        inside = mask[:, :, k : k + step] != 0
        packed = np.packbits(inside.reshape(-1, order="F"), bitorder="little")
        start = k * num_i * num_j // 8
        end = start + packed.size
        bits[start:end] = packed
    bits[end:] = 0


def _find_cases(folder: Path) -> Iterator[Path]:
    if folder.name == FOLDER:
        places = [folder]
    else:
        beside = {table.parent / FOLDER for table in _find_tables(folder)} | {folder / FOLDER}
        places = sorted(place for place in beside if place.is_dir()) or [folder]
    for place in places:
        yield from sorted(case for case in place.iterdir() if (case / "windows").is_dir())


def _find_tables(folder: Path) -> Iterator[Path]:
    """Yield every `metadata.csv` of a dataset below a folder."""
    for name, folders, files in os.walk(folder):
        # There are many cases, and their tables do not belong to the dataset.
        inside = [] if "windows" in folders and Path(name).parent.name == FOLDER else folders
        folders[:] = [f for f in inside if not f.startswith(".")]
        if METADATA in files:
            yield Path(name, METADATA)


def _make_row(case: Path, folder: Path, windows: Sequence[CTWindow]) -> dict[str, Any]:
    place = case.relative_to(folder).as_posix()
    row: dict[str, Any] = {"key": _make_key(place, windows), "path": place, "case": case.name}
    if not place.isprintable() or "\\" in place:
        excluded = (Reason.BAD_NAME, f"{place!r} is not the name of a case")
        return row | {"excluded": str(excluded[0]), "detail": excluded[1]}
    paths = [f"{place}/windows/{name_window_file(window)}" for window in windows]
    row |= {"path": paths[0], "window_paths": paths}
    missing = [path for path in paths if not (folder / path).is_file()]
    if missing:
        detail = f"{missing[0]} does not exist"
        return row | {"excluded": str(Reason.MISSING_SOURCE), "detail": detail}
    stats = [(folder / path).stat() for path in paths]
    return row | {
        "window_bytes": [stat.st_size for stat in stats],
        "num_bytes": sum(stat.st_size for stat in stats),
        # One number that changes with the time of any file.
        "mtime_ns": int(fingerprint([stat.st_mtime_ns for stat in stats])[:15], 16),
    }


def _make_key(place: str, windows: Sequence[CTWindow]) -> str:
    """Return a key that depends on the case's own path only, so that a plan can grow."""
    *parents, case = [part for part in place.split("/") if part != FOLDER]
    name = "_".join([*parents, case])
    longest = min(_LONGEST_KEY, _LONGEST_NAME - max(len(w.name) for w in windows) - len("..bits"))
    if re.fullmatch(r"[A-Za-z0-9_-]+", name, re.ASCII) and len(name) <= longest:
        return name
    cleaned = re.sub(r"[^A-Za-z0-9_-]", "_", name)[: longest - _HASH_DIGITS - 1]
    return f"{cleaned}-{_digest(place)}"


def _digest(text: str) -> str:
    return fingerprint(text)[:_HASH_DIGITS]


def _add_digests(known_by: str, files: Sequence[StagedFile]) -> str:
    return fingerprint({"row": known_by, "sha256": [file.sha256 for file in files]})


def _describe(
    item: SourceItem, files: Sequence[StagedFile], windows: Sequence[CTWindow]
) -> dict[str, Any]:
    """Describe masks made by other tools: geometry and HU are unknown."""
    names = [window.name for window in windows]
    return {
        "case_id": CaseRow.of(item.row).case,
        "patient": None,
        "source": {
            **describe_file(files[0]),
            "files": dict(zip(names, map(describe_file, files), strict=True)),
        },
        "geometry": None,
        "hu": None,
    }


def open_mask(path: Path, uri: str) -> npt.NDArray[Any]:
    """Map an array file into memory, without trusting it.

    Args:
        path: The file.
        uri: Its name in messages.

    Raises:
        SampleRejectedError: BAD_HEADER if it is no mask, TOO_LARGE if windows have no such sides.
    """
    with rejecting_foreign():
        try:
            mask = map_npy(path)
        except ValueError as error:
            _reject(f"{uri}: not a whole .npy file of numbers ({error})")
    if mask.ndim != 3 or not mask.size:
        _reject(f"{uri}: expected a mask (i, j, k), got {mask.shape}")
    choose_resolution(mask.shape)
    return mask


def _reject(detail: str) -> NoReturn:
    raise SampleRejectedError(Reason.BAD_HEADER, detail)
