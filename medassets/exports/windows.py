"""The folders that existing loaders of CT windows read: masks as `.npy`, or lists of points.

Source: Med-3D-LLM, `ct_window_sparse.py` and `precompute_sparse_data.py`: uint8 masks padded to a
cube of 512 or 1024; `indices` int16 (N, 3) in the order of `np.nonzero`, `values` float16; of its later
versions `sparse_index` int64 (N, 3), `sparse_sdf` float32 (N, 1).
"""

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
import numpy.typing as npt
from isal import isal_zlib

from medassets.arrays import BytesLike
from medassets.errors import ShardIntegrityError
from medassets.exports.formats import ExportOptions, ExportResult, Listed
from medassets.exports.run import run_export
from medassets.exports.target import Target, Written
from medassets.shards.contents import OpenShard
from medassets.shards.record import SampleEntry
from medassets.specs import CTWindow
from medassets.stages import VolumeStage
from medassets.storage.atomic import fsync_folder
from medassets.storage.checksums import byte_view
from medassets.storage.formats.npy import encode_npy_header
from medassets.storage.paths import DatasetPaths
from medassets.volumes.windows.masks import Bits, Shape, choose_resolution, name_window_file
from medassets.volumes.windows.occupancy import BLOCK_BYTES, count_blocks_of
from medassets.volumes.windows.occupancy_codec import decode_bits

FOLDER = "processed"
INDEX_NAME = "metadata.csv"

WindowForm = Literal["npy", "sparse_npz", "npy_and_sparse", "tensor_npz"]

_SUFFIXES: Mapping[WindowForm, tuple[str, ...]] = {
    "npy": (".npy",),
    "sparse_npz": ("_sparse.npz",),
    "npy_and_sparse": (".npy", "_sparse.npz"),
    "tensor_npz": (".npz",),
}
"""Form -> what follows the name of a window in the names of its files."""

# Planes of a padded cube that are in memory at once: 4 to 16 MB.
_PLANES = 16
_EXTRA_BYTES = 4 * 4096
# One point is 8 bytes of indices and values, which deflate to about two and a half; or 28 of tensors.
_POINT_BYTES = {"_sparse.npz": 3, ".npz": 5}
_DEFLATE_LEVEL = 2
_EPOCH = (1980, 1, 1, 0, 0, 0)


def export_windows(
    paths: DatasetPaths,
    partitions: Sequence[str],
    out: Path,
    *,
    windows: Sequence[CTWindow],
    form: WindowForm,
    options: ExportOptions | None = None,
    on_wait: Callable[[], None] | None = None,
) -> ExportResult:
    """Write windows as `<dataset>/processed/<case>/windows/<window>_w<width>_l<level>.npy`.

    Or, as `sparse_npz`, with the points of every mask in `..._sparse.npz`; as `npy_and_sparse` with both
    beside each other; as `tensor_npz` with the points in `....npz`, as later loaders name them. The
    dataset's `metadata.csv` lists the cases.

    Args:
        paths: Paths of the dataset.
        partitions: All partition keys of its plan, in order.
        out: Target folder.
        windows: Those to export, as the dataset declares them.
        form: What is written of each.
        options: What the user asked for.
        on_wait: Called once if another export of this folder is running.

    Raises:
        CatalogError: If no shard exists, or the folder's journal is damaged.
        UsageError: If the folder holds another export.
        ForeignFileError: If a file that this export did not make is where it would write.
        DiskSpaceError: If the disk cannot hold what is to be written.
    """
    chosen = WindowsFormat(paths.dataset, tuple(windows), form)
    options = options or ExportOptions()
    return run_export(paths, partitions, out, form=chosen, options=options, on_wait=on_wait)


@dataclass(frozen=True)
class WindowsFormat:
    """One folder of windows per case; see `export_windows`."""

    dataset: str
    windows: tuple[CTWindow, ...]
    name: WindowForm
    stage: str = VolumeStage.WINDOWS

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything but the sample that its files' bytes depend on."""
        return {"version": 1, "windows": [name_window_file(window) for window in self.windows]}

    @property
    def unasked(self) -> Mapping[str, Mapping[str, Any]]:
        """Nothing: the format has one form."""
        return {}

    def place(self, number: int, key: str) -> str:
        """Return the path of a case's windows inside the target folder."""
        return f"{self.dataset}/{FOLDER}/{key}/windows"

    @property
    def file_names(self) -> tuple[str, ...]:
        """Name of the file of every window."""
        return tuple(name for window in self.windows for name in self._name_files(window).values())

    @property
    def index_name(self) -> str:
        """Path of the table that lists all cases."""
        return f"{self.dataset}/{INDEX_NAME}"

    def estimate_bytes(self, sample: SampleEntry) -> int:
        """Return about how many bytes the case will take."""
        cube = len(self.windows) * int(sample.facts["resolution"]) ** 3
        points = sum(sample.facts["windows"][name]["num_points"] for name in self._names())
        sizes = [_POINT_BYTES.get(suffix, 0) * points or cube for suffix in _SUFFIXES[self.name]]
        return sum(sizes) + len(sizes) * len(self.windows) * _EXTRA_BYTES

    def find_reason_to_skip(self, shard: OpenShard, sample: SampleEntry) -> None:
        """Return None: every case is exported."""
        return

    def write(self, shard: OpenShard, sample: SampleEntry, target: Target) -> Written:
        """Publish a case's folder of windows.

        Raises:
            ShardIntegrityError: If the shard does not hold the masks.
            ForeignFileError: If something else is at the place.
            DiskSpaceError: If the disk is full.
        """
        shape, stored = self._read_facts(shard, sample)
        files = {
            name: self._iter_pieces(shard, sample, window, shape, stored, suffix=suffix)
            for window in self.windows
            for suffix, name in self._name_files(window).items()
        }
        points = {name: stored[name]["num_points"] for name in self._names()}
        info = {"shape": list(shape), "points": points}
        target.path.parent.mkdir(parents=True, exist_ok=True)
        num_bytes = self.estimate_bytes(sample)
        written = target.publish_folder(files, info=info, num_bytes=num_bytes)
        fsync_folder(target.path.parent.parent)
        return written

    def encode_index(self, listed: Iterable[Listed], *, folder: Path | None = None) -> bytes:
        """Return `metadata.csv`: a row per case, by its name."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        counts = [f"num_points_{name}" for name in self._names()]
        table.writerow(["case_id", "split", "shape", "resolution", *counts])
        for _, split, exported in sorted(listed, key=lambda one: one[2].key):
            info = exported.info or {}
            shape, points = info["shape"], info["points"]
            row = [exported.key, split, "x".join(map(str, shape)), choose_resolution(shape)]
            table.writerow([*row, *(points[name] for name in self._names())])
        return text.getvalue().encode()

    def read_index(self, content: bytes) -> set[str]:
        """Return the cases that a `metadata.csv` names, by their places.

        Raises:
            ValueError: If it has no column `case_id`.
        """
        rows = csv.DictReader(io.StringIO(content.decode()))
        if "case_id" not in (rows.fieldnames or ()):
            msg = f"{INDEX_NAME}: expected a column case_id"
            raise ValueError(msg)
        return {self.place(0, row["case_id"]) for row in rows}

    def _names(self) -> list[str]:
        return [window.name for window in self.windows]

    def _name_files(self, window: CTWindow) -> dict[str, str]:
        """Return suffix -> name of each file of a window."""
        stem = name_window_file(window).removesuffix(".npy")
        return {suffix: stem + suffix for suffix in _SUFFIXES[self.name]}

    def _read_facts(
        self, shard: OpenShard, sample: SampleEntry
    ) -> tuple[Shape, Mapping[str, Mapping[str, Any]]]:
        facts = shard.read_json(sample, "json")
        try:
            i, j, k = facts["shape"]
            stored = {name: facts["windows"][name] for name in self._names()}
            choose_resolution((i, j, k))
        except (KeyError, TypeError, ValueError) as error:
            what = f"expected a shape and windows {', '.join(self._names())} in its json"
            raise shard.complain(sample, what) from error
        return (i, j, k), stored

    def _iter_pieces(
        self,
        shard: OpenShard,
        sample: SampleEntry,
        window: CTWindow,
        shape: Shape,
        stored: Mapping[str, Mapping[str, Any]],
        *,
        suffix: str,
    ) -> Iterator[BytesLike]:
        content = shard.read(sample, f"{window.name}.bits")
        facts, num_bytes = stored[window.name], count_blocks_of(shape) * BLOCK_BYTES
        try:
            bits = decode_bits(content, facts["encoding"], num_bytes=num_bytes)
            if suffix == ".npy":
                yield from iter_npy(bits, shape)
            else:
                arrays = TENSORS if suffix == ".npz" else POINTS
                num_points = int(facts["num_points"])
                yield from iter_sparse_npz(bits, shape, num_points=num_points, arrays=arrays)
        except ShardIntegrityError as error:
            raise shard.complain(sample, f"window {window.name}: {error}") from error


def iter_npy(bits: Bits, shape: Shape) -> Iterator[BytesLike]:
    """Yield a mask as an `.npy` file: uint8, C order, padded with 0 to its resolution.

    Args:
        bits: The mask, first axis fastest.
        shape: Its sides.
    """
    side = choose_resolution(shape)
    yield encode_npy_header((side, side, side), "|u1")
    blank = np.zeros((_PLANES, side, side), np.uint8)
    for _, planes in _iter_slabs(bits, shape, side):
        yield planes
    for start in range(shape[0], side, _PLANES):
        yield blank[: side - start]


@dataclass(frozen=True)
class PointArrays:
    """The two arrays that list the points of a mask.

    Attributes:
        index: Name of the positions, shape (N, 3).
        index_dtype: Their dtype.
        values: Name of the values, which are 1.
        values_dtype: Their dtype.
        values_axes: Lengths of their axes behind the first.
    """

    index: str
    index_dtype: str
    values: str
    values_dtype: str
    values_axes: tuple[int, ...] = ()


POINTS = PointArrays("indices", "<i2", "values", "<f2")
"""Arrays of `_sparse.npz`."""

TENSORS = PointArrays("sparse_index", "<i8", "sparse_sdf", "<f4", (1,))
"""Arrays of `.npz`, as a training step takes them."""


def iter_sparse_npz(
    bits: Bits, shape: Shape, *, num_points: int, arrays: PointArrays = POINTS
) -> Iterator[BytesLike]:
    """Yield the points of a mask as an `.npz` file of positions and values.

    Args:
        bits: The mask, first axis fastest.
        shape: Its sides.
        num_points: Set bits.
        arrays: Names and dtypes of both arrays.

    Raises:
        ShardIntegrityError: If there is another number of set bits.
    """
    target = _Pieces()
    # The sink cannot seek, so zipfile writes sizes and checksums after the contents.
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_DEFLATE_LEVEL) as file:
        with _open_member(file, f"{arrays.index}.npy") as member:
            member.write(encode_npy_header((num_points, 3), arrays.index_dtype))
            num_found = 0
            for indices in _iter_indices(bits, shape):
                num_found += len(indices)
                member.write(byte_view(indices.astype(arrays.index_dtype, copy=False)))
                yield from target.take()
        if num_found != num_points:
            msg = f"the json counts {num_points:,} points, the bits hold {num_found:,}"
            raise ShardIntegrityError(msg)
        ones = np.ones(1 << 20, arrays.values_dtype)
        with _open_member(file, f"{arrays.values}.npy") as member:
            values_shape = (num_points, *arrays.values_axes)
            member.write(encode_npy_header(values_shape, arrays.values_dtype))
            for start in range(0, num_points, len(ones)):
                member.write(byte_view(ones[: num_points - start]))
                yield from target.take()
    yield from target.take()


def _iter_slabs(bits: Bits, shape: Shape, side: int) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Yield planes along the first axis in one buffer, padded along the others."""
    from medassets.volumes.windows.pack_kernel import unpack_slab

    slab = np.zeros((_PLANES, side, side), np.uint8)
    for start in range(0, shape[0], _PLANES):
        planes = slab[: min(_PLANES, shape[0] - start)]
        unpack_slab(bits, shape, start, planes)
        yield start, planes


def _iter_indices(bits: Bits, shape: Shape) -> Iterator[npt.NDArray[np.int16]]:
    for start, planes in _iter_slabs(bits, shape, max(shape)):
        for number, plane in enumerate(planes, start):
            rows, columns = np.nonzero(plane)
            indices = np.empty((len(rows), 3), "<i2")
            indices[:, 0], indices[:, 1], indices[:, 2] = number, rows, columns
            if len(indices):
                yield indices


def _open_member(file: zipfile.ZipFile, name: str) -> IO[bytes]:
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    member: Any = file.open(entry, "w", force_zip64=True)
    # zipfile has no public way to set a compressor, and zlib takes ten times as long. If the private
    # attribute is renamed, zlib is used.
    member._compressor = isal_zlib.compressobj(
        _DEFLATE_LEVEL, isal_zlib.DEFLATED, -isal_zlib.MAX_WBITS
    )
    return member


class _Pieces(io.RawIOBase):
    """A file that keeps what is written to it until `take`."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._pieces.append(bytes(data))
        return len(self._pieces[-1])

    def take(self) -> list[bytes]:
        """Return what was written since the last call."""
        taken, self._pieces = self._pieces, []
        return taken
