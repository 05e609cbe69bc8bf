"""Masks that other tools made, `processed/<case>/windows/<window>_w<width>_l<level>.npy`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from medassets.datasets.ct_sources.base import CTSource, EncodeWindows, require_fields
from medassets.errors import SpecError
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.sources.base import Source
from medassets.specs import CTWindowDatasetSpec
from medassets.storage.buffers import BufferPool


@dataclass(frozen=True)
class ExistingMasks(CTSource):
    """Cases of masks below a folder on this machine, one file per window."""

    FIELDS = frozenset({"folder"})
    PATHS_COLUMN = "window_paths"
    stores_masks = True
    is_only_copy = False

    spec: CTWindowDatasetSpec

    def check(self) -> None:
        """Check the folder; the cases make one split."""
        what = "source processed needs the path above processed/<case>/windows"
        require_fields(self.spec, folder=what)
        if len(self.spec.splits) != 1:
            what = f"source processed has one split, such as [train], got {self.spec.splits}"
            raise SpecError(field="splits", what=what)

    def read_rows(
        self, files: Source, *, revision: str | None, previous: pa.Table | None = None
    ) -> pa.Table:
        """Return one row per case; see `volumes.windows.existing_masks`."""
        from medassets.volumes.windows.existing_masks import read_case_rows

        return read_case_rows(self.spec, self.folder)

    def judge_windows(self, item: SourceItem, paths: Sequence[Path]) -> None:
        """Look at the headers of the masks of a case."""
        from medassets.volumes.windows.existing_masks import open_mask

        for path in paths:
            open_mask(path, f"file:{path.relative_to(self.folder).as_posix()}")

    def window_encoder(self, spec: CTWindowDatasetSpec, buffers: BufferPool) -> EncodeWindows:
        """Return the function that packs the masks of one case."""
        from medassets.volumes.windows.existing_masks import encode_case_sample

        def encode(item: SourceItem, staged: StagedFile, fingerprint: str) -> EncodedSample:
            return encode_case_sample(
                item, staged, spec=spec, fingerprint=fingerprint, buffers=buffers
            )

        return encode
