"""CT volumes as a kind of dataset."""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.datasets.kind import Estimate
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.shards.fingerprint import FORMAT_VERSION, content_fingerprint
from medassets.shards.record import ShardRecord
from medassets.shards.writer import Encode, each_item
from medassets.sources.base import Source
from medassets.specs import VolumeDatasetSpec
from medassets.storage.checksums import fingerprint
from medassets.storage.paths import DatasetPaths

# Of 50 chest CTs of CT-RATE: a gzipped int16 volume takes about 0.58 of its voxels' bytes.
_GZIP_SHARE = 0.58
# 512 x 512 x 336 takes about 0.5 s on one core of an AMD EPYC; it grows with the voxels read.
_SECONDS_PER_RAW_BYTE = 0.5 / 176e6
_MATRIX = 512
_SLICES = 336


@dataclass(frozen=True)
class VolumeDataset:
    """One declared dataset of CT volumes."""

    spec: VolumeDatasetSpec
    stage: str = "shards"

    def fingerprint(self) -> str:
        """Return the hash of everything in the declaration that changes the bytes of a sample."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        spec = self.spec
        return fingerprint(
            {
                "kind": "ct_volume",
                "format_version": FORMAT_VERSION,
                "preprocessing": asdict(spec.preset()),
                "hu_rule": spec.effective_hu_rule,
                "min_slices": spec.min_slices,
                "plausible_share": [spec.min_plausible_share, spec.max_plausible_share],
            }
        )

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
        """Return one row per line of the splits' metadata tables; see `volumes.ct_rate`."""
        from medassets.volumes.ct_rate import read_rows

        tables = [read_rows(source, self.spec, split, revision) for split in self.spec.splits]
        return pa.concat_tables(tables, promote_options="default")

    def encoder(self) -> Encode:
        """Return the function that preprocesses one NIfTI file; numba is imported here."""
        from medassets.volumes.buffers import BufferPool
        from medassets.volumes.samples import encode_volume_sample

        buffers = BufferPool()

        def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
            return encode_volume_sample(
                item,
                staged,
                spec=self.spec,
                fingerprint=self.sample_fingerprint(item, staged),
                buffers=buffers,
            )

        return each_item(encode)

    def sample_fingerprint(self, item: SourceItem, staged: StagedFile) -> str:
        """Return the hash that says "same voxels, same table row, same processing"."""
        return fingerprint(
            {
                "spec": self.fingerprint(),
                "sha256": staged.sha256,
                "row": content_fingerprint(item),
            }
        )

    def open_files(self, paths: DatasetPaths, partition_key: str) -> None:
        """Return None: volumes come from the source."""

    def estimate(self, row: Mapping[str, Any]) -> Estimate:
        """Guess sizes from the table's number of slices and a 512 x 512 matrix."""
        slices = row.get("num_slices") or _SLICES
        voxel_bytes = 2 * _MATRIX * _MATRIX * int(slices)
        return Estimate(
            raw_bytes=int(_GZIP_SHARE * voxel_bytes),
            sample_bytes=2 * math.prod(self.spec.preset().shape) + 16 * 1024,
            seconds=_SECONDS_PER_RAW_BYTE * voxel_bytes,
        )

    def manifest_fields(self, records: Sequence[ShardRecord]) -> Mapping[str, Any]:
        """Return shape and dtype of every sample, and the number of classes.

        The labels' table says how many classes there are; each is four bytes of `.cls`.
        """
        from medassets.volumes.ct_tables import LABEL_NAMES

        preset = self.spec.preset()
        samples = (sample for record in records for sample in record.samples)
        sizes = (m.size_bytes for sample in samples for m in sample.members if m.suffix == "cls")
        return {
            "preprocessed": True,
            "sample_shape": list(preset.shape),
            "sample_dtype": preset.dtype,
            "num_classes": next(sizes, 4 * len(LABEL_NAMES)) // 4,
        }

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return nothing: counts by reason say it all."""
        return {}

    def describe_shard(self, record: ShardRecord) -> Mapping[str, Any]:
        """Return nothing: counts by reason say it all."""
        return {}

    def draw_preview(self, shard: Path, record: ShardRecord) -> bytes | None:
        """Return the middle slices of the shard's first volume in a lung window, as JPEG."""
        from medassets.volumes.preview import draw_sample_preview

        if not record.samples:
            return None
        wanted = [m for m in record.samples[0].members if m.suffix in ("bin", "json")]
        with shard.open("rb") as file:
            return draw_sample_preview(
                {m.suffix: os.pread(file.fileno(), m.size_bytes, m.offset) for m in wanted}
            )
