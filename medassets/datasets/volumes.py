"""CT volumes as a kind of dataset."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.datasets.kind import Estimate
from medassets.datasets.sizes import GZIP_SHARE, count_voxels
from medassets.samples import Encode, EncodedSample, SourceItem, StagedFile, each_item
from medassets.shards.fingerprint import FORMAT_VERSION, content_fingerprint
from medassets.shards.record import ShardRecord
from medassets.sources.base import Source
from medassets.sources.folder import FolderSource
from medassets.sources.webdataset import WebDatasetSource
from medassets.specs import RAW, VolumeDatasetSpec
from medassets.storage.checksums import fingerprint
from medassets.storage.paths import DatasetPaths

# 512 x 512 x 336 takes about 0.5 s on one core of an AMD EPYC; it grows with the voxels read.
_SECONDS_PER_RAW_BYTE = 0.5 / 176e6
# Headers of the members, padding, labels and the json without report and metadata.
_SAMPLE_EXTRA_BYTES = 8 * 1024


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
        facts: dict[str, Any] = {
            "kind": "ct_volume",
            "format_version": FORMAT_VERSION,
            "min_slices": spec.min_slices,
        }
        if spec.is_raw:
            tolerance = spec.max_rounding_error
            facts |= {"preprocessing": RAW, "hu_rule": spec.hu_rule, "tolerance": tolerance}
        else:
            facts |= {
                "preprocessing": asdict(spec.preset()),
                "hu_rule": spec.effective_hu_rule,
                "plausible_share": [spec.min_plausible_share, spec.max_plausible_share],
            }
        if spec.is_array_source:
            facts["array"] = [spec.source, spec.array_key]
        return fingerprint(facts)

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
        """Return one row per source item; see `volumes.ct_rate`, `npz_rows`, `webdataset_rows`."""
        if isinstance(source, WebDatasetSource):
            from medassets.volumes.catalog.webdataset_rows import read_webdataset_rows

            return read_webdataset_rows(self.spec, source, previous)
        if self.spec.source == "npz" and isinstance(source, FolderSource):
            from medassets.volumes.catalog.npz_rows import read_npz_rows

            return read_npz_rows(self.spec, source.folder, previous)
        from medassets.volumes.catalog.ct_rate import read_rows

        tables = [read_rows(source, self.spec, split, revision) for split in self.spec.splits]
        return pa.concat_tables(tables, promote_options="default")

    def encoder(self) -> Encode:
        """Return the function that makes a sample of one file; numba is imported here."""
        from medassets.storage.buffers import BufferPool

        buffers = BufferPool()
        encode_sample = self._choose_encoder()

        def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
            return encode_sample(
                item,
                staged,
                spec=self.spec,
                fingerprint=self.sample_fingerprint(item, staged),
                buffers=buffers,
            )

        return each_item(encode)

    def _choose_encoder(self) -> Callable[..., EncodedSample]:
        if self.spec.is_raw:
            from medassets.volumes.raw_samples import encode_raw_sample

            return encode_raw_sample
        from medassets.volumes.samples import encode_volume_sample

        return encode_volume_sample

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
        """Guess sizes from the array's shape, or the table's slices and a 512 x 512 matrix."""
        voxel_bytes = 2 * count_voxels(row)
        raw_bytes = 0 if self.spec.is_array_source else int(GZIP_SHARE * voxel_bytes)
        values = voxel_bytes if self.spec.is_raw else 2 * math.prod(self.spec.preset().shape)
        texts = sum(len(row.get(name) or "") for name in ("report", "metadata"))
        return Estimate(
            raw_bytes=raw_bytes,
            sample_bytes=values + 2 * texts + _SAMPLE_EXTRA_BYTES,
            seconds=_SECONDS_PER_RAW_BYTE * voxel_bytes,
        )

    def manifest_fields(self, records: Sequence[ShardRecord]) -> Mapping[str, Any]:
        """Return shape and dtype of every sample, and the number of classes.

        The labels' table says how many classes there are; each is four bytes of `.cls`.
        """
        from medassets.volumes.catalog.ct_tables import LABEL_NAMES

        spec = self.spec
        samples = [sample for record in records for sample in record.samples]
        sizes = (m.size_bytes for sample in samples for m in sample.members if m.suffix == "cls")
        source_bytes = sum(sample.facts.get("source_bytes", 0) for sample in samples)
        total = sum(record.size_bytes for record in records)
        fields: dict[str, Any] = {
            "preprocessed": not spec.is_raw,
            "sample_shape": None if spec.is_raw else list(spec.preset().shape),
            "sample_dtype": "float16",
            "num_classes": next(sizes, 4 * len(LABEL_NAMES)) // 4,
            "source_bytes": source_bytes,
            "compression_ratio": round(source_bytes / total, 4) if total else None,
        }
        if spec.is_raw:
            fields["max_rounding_error"] = _find_largest_error(records)
        return fields

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return which depth of each split's tree is in use; for other sources nothing."""
        if self.spec.source != "npz":
            return {}
        from medassets.volumes.catalog.npz_tree import read_trees

        return {"npz_trees": read_trees(table)}

    def describe_shard(self, record: ShardRecord) -> Mapping[str, Any]:
        """Return the largest rounding error of a raw shard; otherwise counts say it all."""
        if not self.spec.is_raw:
            return {}
        return {"max_rounding_error": _find_largest_error([record])}

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


def _find_largest_error(records: Sequence[ShardRecord]) -> float | None:
    """Return by how much float16 changed a stored value at most; None without samples."""
    errors = (sample.facts["max_rounding_error"] for one in records for sample in one.samples)
    return max(errors, default=None)
