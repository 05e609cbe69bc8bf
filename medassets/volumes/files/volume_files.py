"""Any file that holds one volume: NIfTI, MetaImage or NRRD, by its ending."""

from contextlib import AbstractContextManager
from pathlib import Path

from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.images.reader import is_image_name, open_image
from medassets.volumes.files.nifti import open_nifti


def open_volume_file(path: Path) -> AbstractContextManager[VolumeStream]:
    """Open a file of `layout: tree`.

    Raises:
        SampleRejectedError: On entry and on every later read; see `open_image` and `open_nifti`.
    """
    return open_image(path) if is_image_name(path.name) else open_nifti(path)
