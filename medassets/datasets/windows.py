"""Windows of CT volumes as a kind of dataset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa

from medassets.datasets.ct_sources.base import CTSource
from medassets.datasets.ct_sources.registry import (
    list_kinds,
    list_layout_rules,
    list_rules,
    list_source_rules,
    open_window_source,
)
from medassets.datasets.hu_rules import check_array_rule, describe_limits
from medassets.datasets.kind import COMMON_FIELDS, Estimate
from medassets.datasets.sizes import GZIP_SHARE, count_voxels
from medassets.datasets.survey import sum_facts
from medassets.samples import Encode, EncodedSample, SampleKind, SourceItem, StagedFile, each_item
from medassets.shards.fingerprint import FORMAT_VERSION, sample_fingerprint, was_made_of
from medassets.shards.made_from import Facts, facts_fingerprint, list_fields
from medassets.shards.record import ShardRecord
from medassets.sources.base import Source
from medassets.specs import PADDING_HU, CTWindowDatasetSpec, FieldRule
from medassets.stages import VolumeStage
from medassets.storage.memory_budget import MemoryBudget
from medassets.storage.paths import DatasetPaths
from medassets.tars.reader import open_tar
from medassets.volumes.catalog.columns import CaseRow, VolumeRow

# Increased whenever the same source is stored as different bytes.
_CODEC_VERSION = 2
# 512 x 512 x 336 takes about 0.45 s on one core of an AMD EPYC.
_SECONDS_PER_RAW_BYTE = 0.45 / 176e6
# Of real chests 5 to 18 % of the bits remain, of noisy ones up to 42 %; see docs/decisions.md.
_COMPRESSED_SHARE = 0.2
_OWN_FIELDS = frozenset({"windows", "compression", "memory_budget_gb"})
_VOLUME_FIELDS = frozenset(
    {
        *("hu_rule", "min_slices", "min_plausible_share", "max_plausible_share"),
        "expected_air_share",
    }
)


def list_window_rules() -> list[FieldRule]:
    """Return which fields of a `CTWindowDatasetSpec` have an effect, and where."""
    kinds = list_kinds()
    return [
        COMMON_FIELDS,
        *list_layout_rules(kinds),
        *list_source_rules(kinds, with_texts=False),
        FieldRule(_OWN_FIELDS),
        *list_rules(_VOLUME_FIELDS, kinds, lambda one: not one.kind.stores_masks),
        *list_rules({"expected_orientation"}, kinds, lambda one: one.kind.states_orientation),
    ]


@dataclass(frozen=True)
class CTWindows:
    """One declared dataset of windows of CT volumes."""

    TITLE: ClassVar[str] = "CT windows"
    OPTIONS: ClassVar[frozenset[str]] = frozenset(
        {"--format", "--window", "--revision", "--update"}
    )
    SAMPLES: ClassVar[SampleKind] = SampleKind.CT_WINDOWS
    OLDEST_ALIKE: ClassVar[Mapping[str, int | None]] = {
        # The second element of `compression` is the version of the codec.
        **{"format_version": 1, "compression.1": 2},
        **{"processing.min_slices": None, "processing.plausible_share": None, "air_share": None},
    }

    spec: CTWindowDatasetSpec
    stage: str = VolumeStage.WINDOWS

    @property
    def ct_source(self) -> CTSource:
        """The source of the volumes or masks."""
        return open_window_source(self.spec)

    def check(self) -> None:
        """Check the declaration against the source and the processing; opens no file."""
        source = self.ct_source
        source.check()
        if not source.stores_masks and not source.has_headers:
            check_array_rule(self.spec)

    def open_source(self) -> Source:
        """Return the tree of files that holds the volumes or masks."""
        return self.ct_source.open_files()

    def fingerprint(self) -> str:
        """Return the hash of the facts."""
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        return facts_fingerprint(self.facts())

    def facts(self) -> Facts:
        """Return everything in the declaration that changes the bytes of a sample."""
        spec = self.spec
        processing = {
            "hu_rule": spec.effective_hu_rule,
            "min_slices": spec.min_slices,
            "plausible_share": [spec.min_plausible_share, spec.max_plausible_share],
        }
        return {
            **self.ct_source.fingerprint_facts(),
            "kind": "ct_windows",
            "format_version": FORMAT_VERSION,
            "windows": [list_fields(window) for window in spec.list_windows()],
            "padding_hu": PADDING_HU,
            "compression": [spec.compression, _CODEC_VERSION],
            "processing": None if self.ct_source.stores_masks else processing,
            **describe_limits(spec),
        }

    def plan_settings(self) -> Mapping[str, Any]:
        """Return an empty mapping: the source states the split of each volume."""
        return {}

    def read_rows(
        self,
        source: Source,
        *,
        revision: str | None,
        previous: pa.Table | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> pa.Table:
        """Return one row per volume or per case of masks, without reports and labels."""
        return self.ct_source.read_rows(source, revision=revision, previous=previous)

    def judge(self, item: SourceItem, paths: Sequence[Path]) -> None:
        """Look at the sides of the volume, or of the masks of a case."""
        self.ct_source.judge_windows(item, paths)

    def encoder(self) -> Encode:
        """Return the function that makes the windows of one item; numba is imported here."""
        from medassets.storage.buffers import BufferPool

        buffers = BufferPool(budget=MemoryBudget(self.spec.memory_budget_bytes))
        encode_windows = self.ct_source.window_encoder(self.spec, buffers)

        def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
            return encode_windows(item, staged, self.sample_fingerprint(item, staged))

        return each_item(encode)

    def sample_fingerprint(self, item: SourceItem, staged: StagedFile) -> str:
        """Return the hash that says "same voxels, same table row, same processing"."""
        return sample_fingerprint(self.fingerprint(), item, staged.sha256)

    def is_sample_of(self, item: SourceItem, document: Mapping[str, Any]) -> bool:
        """Return whether a sample was made of a row, of the same file and in the same way."""
        return was_made_of(self.fingerprint(), item, document)

    def open_files(self, paths: DatasetPaths, partition_key: str) -> None:
        """Return None: volumes and masks come from the source."""

    def estimate(self, row: Mapping[str, Any]) -> Estimate:
        """Estimate sizes from the table's number of slices, or from the files of a case."""
        num_windows = len(self.spec.list_windows())
        if self.ct_source.stores_masks:
            voxels = CaseRow.of(row).num_bytes // num_windows
            raw_bytes, seconds = 0, 3e-9 * voxels * num_windows
        else:
            voxels = count_voxels(VolumeRow.of(row))
            raw_bytes = int(2 * GZIP_SHARE * voxels) if self.ct_source.is_compressed else 0
            seconds = 2 * _SECONDS_PER_RAW_BYTE * voxels
        share = _COMPRESSED_SHARE if self.spec.compression == "auto" else 1.0
        mask_bytes = int(voxels / 8 * share + voxels / 1024) + 2048
        return Estimate(raw_bytes, sample_bytes=num_windows * mask_bytes + 8192, seconds=seconds)

    def manifest_fields(self, records: Sequence[ShardRecord]) -> Mapping[str, Any]:
        """Return what a sample is: masks at one bit per voxel, and their windows; axis codes and shares."""
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
            **sum_facts(records),
        }

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return what the source says of a catalog beyond its counts; may be empty."""
        return self.ct_source.describe_catalog(table)

    def describe_shard(self, record: ShardRecord) -> Mapping[str, Any]:
        """Return points and their share of all voxels, by window; axis codes and shares of HU."""
        from medassets.volumes.windows.samples import count_points

        points = count_points([sample.facts for sample in record.samples])
        return {"windows": points, **sum_facts([record])}

    def draw_preview(self, shard: Path, record: ShardRecord) -> bytes | None:
        """Return the middle slice of the shard's first volume, window by window, as JPEG."""
        from medassets.volumes.windows.preview import MOST_PANELS, draw_windows_preview

        if not record.samples:
            return None
        members = record.samples[0].members
        wanted = [m for m in members if m.suffix.endswith(".bits")][:MOST_PANELS]
        wanted.append(next(m for m in members if m.suffix == "json"))
        with open_tar(shard) as tar:
            return draw_windows_preview({m.suffix: bytes(tar.read(m)) for m in wanted})
