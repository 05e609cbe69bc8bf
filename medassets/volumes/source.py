"""What turning a volume into a sample needs of the source that holds it."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import ClassVar, Protocol

from medassets.samples import SourceItem, StagedFile
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.grid.geometry import Spacing
from medassets.volumes.reports_and_labels import SampleTexts


class VolumeSource(Protocol):
    """A source of CT volumes."""

    has_headers: ClassVar[bool]
    """Whether files state spacing, orientation and HU scaling of their own."""

    def open_volume(self, item: SourceItem, path: Path) -> AbstractContextManager[VolumeStream]:
        """Open the volume of a catalog row.

        Args:
            item: The row.
            path: Its file on the local disk.

        Raises:
            SampleRejectedError: On entry and on every later read, if the volume is missing or cannot
                be read.
        """
        ...

    def read_spacing(self, item: SourceItem) -> Spacing | None:
        """Return the steps along the stored axes that the catalog states, in mm.

        Args:
            item: The catalog row.

        Returns:
            The steps; None where only the file's own header states them.

        Raises:
            SampleRejectedError: SPACING_MISSING if the catalog must state them, and one is missing.
        """
        ...

    def read_texts(self, item: SourceItem, staged: StagedFile) -> SampleTexts:
        """Return report and labels of a catalog row.

        Raises:
            SampleRejectedError: If they are missing or cannot be used.
        """
        ...
