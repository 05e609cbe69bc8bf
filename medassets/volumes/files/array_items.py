"""Where the array of one catalog row lies, and how it is opened."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import SourceItem
from medassets.specs import VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.array_files import (
    ArrayStream,
    open_npy_array,
    open_npz_array,
    open_raw_array,
)
from medassets.volumes.files.array_volumes import open_array_volume
from medassets.volumes.files.nifti import VolumeReader, open_nifti
from medassets.volumes.files.reports_and_labels import find_sample_members

Opener = Callable[[Path], AbstractContextManager[VolumeReader]]


def choose_opener(item: SourceItem, spec: VolumeDatasetSpec, buffers: BufferPool) -> Opener:
    """Return what opens the file of a catalog row as a volume.

    Args:
        item: The row.
        spec: Declaration of the dataset.
        buffers: Where an array that must be held whole is kept.
    """
    if not spec.is_array_source:
        return open_nifti

    def open_volume(path: Path) -> AbstractContextManager[VolumeReader]:
        return open_array_volume(open_item_array(item, path, spec), buffers=buffers)

    return open_volume


@contextmanager
def open_item_array(item: SourceItem, path: Path, spec: VolumeDatasetSpec) -> Iterator[ArrayStream]:
    """Open the array of a catalog row.

    Args:
        item: The row.
        path: Its file: an `.npz`, or the tar that holds the sample.
        spec: Declaration of the dataset.

    Raises:
        SampleRejectedError: If the array is not there or cannot be read; see `array_files`.
    """
    if spec.source == "npz":
        with open_npz_array(path, spec.array_key) as stream:
            yield stream
        return
    with _open_member(item, path, spec) as stream:
        yield stream


def _open_member(
    item: SourceItem, path: Path, spec: VolumeDatasetSpec
) -> AbstractContextManager[ArrayStream]:
    suffix = item.row["volume_member"]
    members = find_sample_members(item, path)
    if suffix not in members:
        raise SampleRejectedError(Reason.MISSING_SOURCE, f"the sample has no member .{suffix}")
    within = members[suffix]
    kind = suffix.rpartition(".")[2]
    if kind == "npz":
        return open_npz_array(path, spec.array_key, within=within)
    if kind == "npy":
        return open_npy_array(path, within=within)
    shape, dtype = item.row["shape"], item.row["array_dtype"]
    return open_raw_array(path, shape=tuple(shape), dtype=dtype, within=within)
