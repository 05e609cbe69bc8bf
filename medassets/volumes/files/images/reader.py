"""Read MetaImage and NRRD files as a stream of voxels, in bounded memory; no file is read but a named one."""

import math
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import numpy as np

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.foreign_bytes import open_foreign, rejecting_foreign
from medassets.storage.formats.byte_streams import (
    MAX_DEFLATE_RATIO,
    ByteStream,
    FileWindow,
    GzipStream,
    PlainStream,
    ZlibStream,
)
from medassets.storage.formats.lfs_pointers import MAX_POINTER_BYTES, explain_pointer
from medassets.volumes.files.guarded import guard_volume
from medassets.volumes.files.images.header import MOST_HEADER_BYTES, ImageHeader, reject
from medassets.volumes.files.images.metaimage import parse_metaimage
from medassets.volumes.files.images.nrrd import parse_nrrd

ATTACHED = (".mha", ".nrrd")
"""Endings of files that hold header and voxels, in any case."""

DETACHED = (".mhd", ".nhdr")
"""Endings of headers whose voxels may be in a file beside them."""

_METAIMAGE = (".mha", ".mhd")
_STREAMS = {"raw": PlainStream, "gzip": GzipStream, "zlib": ZlibStream}


def is_image_name(name: str) -> bool:
    """Tell whether a name ends like one of MetaImage or NRRD."""
    return name.lower().endswith((*ATTACHED, *DETACHED))


@guard_volume
@contextmanager
def open_image(path: Path) -> Iterator["ImageReader"]:
    """Open a MetaImage or NRRD file; its ending says which.

    Args:
        path: The file, or its header.

    Raises:
        SampleRejectedError: BAD_HEADER if the header cannot be used, names a file that it may not, or the voxels are
            not whole; CORRUPT_GZIP if compressed ones are damaged; LFS_POINTER.
    """
    with ExitStack() as stack:
        file = stack.enter_context(open_foreign(path))
        header = _parse(file, path.name)
        offset = header.num_bytes
        if header.data_name:
            place = find_data(path, header)
            file, offset = stack.enter_context(open_foreign(place)), 0
        size = os.fstat(file.fileno()).st_size - offset
        yield ImageReader(header, FileWindow(file, offset, size))


@rejecting_foreign()
def list_parts(path: Path) -> list[Path]:
    """Return the file of an image, and that of its voxels where it is another one.

    Raises:
        SampleRejectedError: As `open_image` on entry.
    """
    if not path.name.lower().endswith(DETACHED):
        return [path]
    with open_foreign(path) as file:
        header = _parse(file, path.name)
    return [path, find_data(path, header)] if header.data_name else [path]


def find_data(path: Path, header: ImageHeader) -> Path:
    """Return the file of the voxels beside a header.

    Raises:
        SampleRejectedError: MISSING_UPSTREAM if it does not exist, BAD_HEADER if it is a link or no file.
    """
    place = path.with_name(header.data_name)
    try:
        found = place.lstat()
    except FileNotFoundError as error:
        detail = f"its data file {header.data_name!r} does not exist beside it"
        raise SampleRejectedError(Reason.MISSING_UPSTREAM, detail) from error
    if not stat.S_ISREG(found.st_mode):
        reject(f"its data file {header.data_name!r} is a link, or no regular file")
    return place


def _parse(file: IO[bytes], name: str) -> ImageHeader:
    start = file.read(MOST_HEADER_BYTES)
    if (pointer := explain_pointer(start[:MAX_POINTER_BYTES])) is not None:
        raise SampleRejectedError(Reason.LFS_POINTER, pointer)
    parse = parse_metaimage if name.lower().endswith(_METAIMAGE) else parse_nrrd
    return parse(start, may_be_detached=name.lower().endswith(DETACHED))


class ImageReader:
    """One open image, read from its first voxel to its last byte.

    Attributes:
        header: Shape, dtype and geometry.
        fortran: True: both formats store the first axis fastest.
    """

    def __init__(self, header: ImageHeader, window: FileWindow) -> None:
        self.header = header.volume
        self.fortran = True
        claimed = math.prod(self.header.shape) * self.header.dtype.itemsize
        held = window.size_bytes * (1 if header.encoding == "raw" else MAX_DEFLATE_RATIO)
        if claimed > held:
            reject(f"the header claims {claimed} bytes of voxels; the file holds at most {held}")
        self._stream: ByteStream = _STREAMS[header.encoding](window)

    def read_into(self, target: np.ndarray) -> None:
        """Read the next voxels as they are stored, first axis fastest.

        Args:
            target: C-contiguous, of the header's dtype; filled whole.

        Raises:
            SampleRejectedError: BAD_HEADER if there are too few, CORRUPT_GZIP if they are damaged.
        """
        view = target.reshape(-1).view(np.uint8).data
        if self._stream.read_into(view) < len(view):
            reject("the file holds fewer voxels than its header claims")

    def finish(self) -> None:
        """Read to the end, so that the checksum of compressed voxels is verified.

        Raises:
            SampleRejectedError: CORRUPT_GZIP if it is wrong, BAD_HEADER if bytes are left.
        """
        if self._stream.read_into(memoryview(bytearray(1))):
            reject("the file holds more bytes than its header claims")
