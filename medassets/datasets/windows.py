"""Windows of CT volumes as a kind of dataset."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.datasets.kind import Estimate
from medassets.datasets.sizes import GZIP_SHARE, count_voxels
from medassets.errors import Reason, SampleRejectedError
from medassets.samples import Encode, EncodedSample, SourceItem, StagedFile, each_item
from medassets.shards.fingerprint import FORMAT_VERSION, content_fingerprint
from medassets.shards.record import ShardRecord
from medassets.sources.base import Source
from medassets.sources.folder import FolderSource
from medassets.specs import PADDING_HU, CTWindowDatasetSpec
from medassets.storage.checksums import fingerprint
from medassets.storage.paths import DatasetPaths

# Raised whenever the same source comes to be stored in other bytes.
_CODEC_VERSION = 2
# 512 x 512 x 336 takes about 0.45 s on one core of an AMD EPYC.
_SECONDS_PER_RAW_BYTE = 0.45 / 176e6
# Of real chests 5 to 18 % of the bits remain, of noisy ones up to 42 %; see docs/decisions.md.
_COMPRESSED_SHARE = 0.2
_TEXT_COLUMNS = ("report", "labels", "label_names")


@dataclass(frozen=True)
class CTWindows:
    """One declared dataset of windows of CT volumes."""

    spec: CTWindowDatasetSpec
    stage: str = "windows"

    def fingerprint(self) -> str:
        """Return the hash of everything in the declaration that changes the bytes of a sample."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        spec = self.spec
        processing = {
            "hu_rule": spec.effective_hu_rule,
            "min_slices": spec.min_slices,
            "plausible_share": [spec.min_plausible_share, spec.max_plausible_share],
        }
        return fingerprint(
            {
                "kind": "ct_windows",
                "format_version": FORMAT_VERSION,
                "windows": [asdict(window) for window in spec.list_windows()],
                "padding_hu": PADDING_HU,
                "compression": [spec.compression, _CODEC_VERSION],
                "processing": None if self._is_processed else processing,
            }
        )

    @property
    def _is_processed(self) -> bool:
        return self.spec.source == "processed"

    def plan_settings(self) -> Mapping[str, Any]:
        """Return nothing: the source says which split a volume belongs to."""
        return {}

    def read_rows(
        self,
        source: Source,
        *,
        revision: str | None,
        previous: pa.Table | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> pa.Table:
        """Return one row per line of the splits' metadata tables, or per case of masks."""
        if self._is_processed:
            from medassets.volumes.windows.existing_masks import read_case_rows

            return read_case_rows(self.spec, self._open_folder().folder)
        from medassets.volumes.catalog.ct_rate import read_rows

        tables = [
            read_rows(source, self.spec, split, revision, with_texts=False)
            for split in self.spec.splits
        ]
        table = pa.concat_tables(tables, promote_options="default").replace_schema_metadata(None)
        # A report that is corrected later must not make a shard stale that never held it.
        dropped = [n for n in table.column_names if n.startswith("report") or n in _TEXT_COLUMNS]
        return table.drop_columns(dropped)

    def encoder(self) -> Encode:
        """Return the function that makes the windows of one file; numba is imported here."""
        return self._case_encoder() if self._is_processed else self._volume_encoder()

    def _volume_encoder(self) -> Encode:
        from medassets.storage.buffers import BufferPool
        from medassets.volumes.windows.samples import encode_window_sample

        buffers = BufferPool()

        def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
            known_by = self.sample_fingerprint(item, staged)
            return encode_window_sample(
                item, staged, spec=self.spec, fingerprint=known_by, buffers=buffers
            )

        return each_item(encode)

    def _case_encoder(self) -> Encode:
        from medassets.storage.buffers import BufferPool
        from medassets.volumes.windows.existing_masks import encode_case_sample

        buffers, source = BufferPool(), self._open_folder()

        def fetch(path: str) -> StagedFile:
            found = source.describe([path])
            if path not in found:
                raise SampleRejectedError(Reason.MISSING_UPSTREAM, f"{path} does not exist")
            return source.fetch(found[path])

        def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
            known_by = self.sample_fingerprint(item, staged)
            return encode_case_sample(
                item, staged, spec=self.spec, fingerprint=known_by, buffers=buffers, fetch=fetch
            )

        return each_item(encode)

    def _open_folder(self) -> FolderSource:
        return FolderSource(Path(self.spec.source_folder).expanduser())

    def sample_fingerprint(self, item: SourceItem, staged: StagedFile) -> str:
        """Return the hash that says "same voxels, same table row, same processing"."""
        row = content_fingerprint(item)
        return fingerprint({"spec": self.fingerprint(), "sha256": staged.sha256, "row": row})

    def open_files(self, paths: DatasetPaths, partition_key: str) -> None:
        """Return None: volumes and masks come from the source."""

    def estimate(self, row: Mapping[str, Any]) -> Estimate:
        """Guess sizes from the table's number of slices, or from the files of a case."""
        num_windows = len(self.spec.list_windows())
        if self._is_processed:
            voxels = int(row.get("num_bytes") or 0) // num_windows
            raw_bytes, seconds = 0, 3e-9 * voxels * num_windows
        else:
            voxels = count_voxels(row)
            raw_bytes, seconds = int(2 * GZIP_SHARE * voxels), 2 * _SECONDS_PER_RAW_BYTE * voxels
        share = _COMPRESSED_SHARE if self.spec.compression == "auto" else 1.0
        mask_bytes = int(voxels / 8 * share + voxels / 1024) + 2048
        return Estimate(raw_bytes, sample_bytes=num_windows * mask_bytes + 8192, seconds=seconds)

    def manifest_fields(self, records: Sequence[ShardRecord]) -> Mapping[str, Any]:
        """Return what a sample is: masks at one bit per voxel, and of which windows."""
        from medassets.volumes.windows.occupancy import BLOCK_BITS
        from medassets.volumes.windows.samples import ORDER, describe_window

        windows = {window.name: describe_window(window) for window in self.spec.list_windows()}
        return {
            "preprocessed": True,
            "sample_format": "occupancy",
            "sample_shape": None,
            "sample_dtype": "bit",
            "order": ORDER,
            "block_bits": BLOCK_BITS,
            "windows": windows,
        }

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return nothing: counts by reason say it all."""
        return {}

    def describe_shard(self, record: ShardRecord) -> Mapping[str, Any]:
        """Return points and their share of all voxels, by window."""
        from medassets.volumes.windows.samples import count_points

        return {"windows": count_points([sample.facts for sample in record.samples])}

    def draw_preview(self, shard: Path, record: ShardRecord) -> bytes | None:
        """Return the middle axial slice of the shard's first volume, window by window, as JPEG."""
        from medassets.volumes.windows.preview import MOST_PANELS, draw_windows_preview

        if not record.samples:
            return None
        members = record.samples[0].members
        wanted = [m for m in members if m.suffix.endswith(".bits")][:MOST_PANELS]
        wanted.append(next(m for m in members if m.suffix == "json"))
        with shard.open("rb") as file:
            return draw_windows_preview(
                {m.suffix: os.pread(file.fileno(), m.size_bytes, m.offset) for m in wanted}
            )
