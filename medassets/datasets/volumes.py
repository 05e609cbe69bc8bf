"""CT volumes as a kind of dataset."""

import math
from collections.abc import Callable, Mapping, Sequence
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
    open_volume_source,
)
from medassets.datasets.hu_rules import check_array_rule, describe_limits
from medassets.datasets.kind import COMMON_FIELDS, Estimate
from medassets.datasets.label_checks import count_labels
from medassets.datasets.sizes import GZIP_SHARE, count_voxels
from medassets.datasets.survey import sum_facts
from medassets.errors import SpecError
from medassets.samples import Encode, EncodedSample, SampleKind, SourceItem, StagedFile, each_item
from medassets.shards.fingerprint import FORMAT_VERSION, sample_fingerprint, was_made_of
from medassets.shards.made_from import Facts, facts_fingerprint, list_fields
from medassets.shards.record import ShardRecord
from medassets.sources.base import Source
from medassets.specs import (
    PRESETS,
    RAW,
    SAMPLE_DTYPE,
    SAMPLE_LAYOUT,
    SAMPLE_TEXTS,
    FieldRule,
    VolumeDatasetSpec,
)
from medassets.stages import VolumeStage
from medassets.storage.memory_budget import MemoryBudget
from medassets.storage.paths import DatasetPaths
from medassets.tars.reader import open_tar
from medassets.volumes.catalog.columns import VolumeRow
from medassets.volumes.catalog.text_counts import store_text_counts
from medassets.volumes.files.slices import count_held_bytes

# Increased whenever the same source is stored as different bytes; see docs/identity.md.
_CODEC_VERSION = 1
# 512 x 512 x 336 takes about 0.5 s on one core of an AMD EPYC; it grows with the voxels read.
_SECONDS_PER_RAW_BYTE = 0.5 / 176e6
# Headers of the members, padding, labels and the json without report and metadata.
_SAMPLE_EXTRA_BYTES = 8 * 1024

_OWN_FIELDS = frozenset(
    {"preprocessing", "intensity", "min_slices", "memory_budget_gb", "label_member"}
)
_PRESET_FIELDS = frozenset(
    {
        *("target_spacing_mm", "target_shape"),
        *("clip", "clip_percentiles", "scale", "output_range", "pad_value"),
    }
)
_GUARD_FIELDS = frozenset({"min_plausible_share", "max_plausible_share", "expected_air_share"})


def list_volume_rules() -> list[FieldRule]:
    """Return which fields of a `VolumeDatasetSpec` have an effect, and where."""
    kinds, presets = list_kinds(masks=False), {"preprocessing": tuple(PRESETS)}
    hu, stored = {"intensity": ("hu",)}, {"intensity": ("stored",)}
    return [
        COMMON_FIELDS,
        *list_layout_rules(kinds),
        *list_source_rules(kinds, with_texts=True),
        FieldRule(_OWN_FIELDS),
        FieldRule(frozenset({"hu_rule"}), hu),
        FieldRule(_PRESET_FIELDS, presets),
        FieldRule(_GUARD_FIELDS, {**presets, **hu}),
        FieldRule(frozenset({"min_inside_share"}), {**presets, **stored}),
        *list_rules({"orientation"}, kinds, lambda one: one.kind.has_headers, **presets),
        *list_rules({"expected_orientation"}, kinds, lambda one: one.kind.states_orientation),
        FieldRule(frozenset({"max_rounding_error"}), {"preprocessing": (RAW,)}),
        *list_rules({"delete_sources"}, kinds, lambda one: one.kind.is_local),
        *(
            rule
            for kind in kinds
            for rule in list_rules(
                kind.kind.DELETION_FIELDS, kinds, kind.__eq__, delete_sources=("true",)
            )
        ),
    ]


@dataclass(frozen=True)
class VolumeDataset:
    """One declared dataset of CT volumes."""

    TITLE: ClassVar[str] = "CT volumes"
    OPTIONS: ClassVar[frozenset[str]] = frozenset(
        {"--delete-sources", "--yes", "--revision", "--update"}
    )
    SAMPLES: ClassVar[SampleKind] = SampleKind.CT_VOLUME
    OLDEST_ALIKE: ClassVar[Mapping[str, int | None]] = {
        **{"format_version": 1, "codec_version": 1},
        **{"min_slices": None, "plausible_share": None, "air_share": None, "tolerance": None},
        "min_inside_share": None,
    }

    spec: VolumeDatasetSpec
    stage: str = VolumeStage.SHARDS

    @property
    def ct_source(self) -> CTSource:
        """The source of the volumes."""
        return open_volume_source(self.spec)

    def check(self) -> None:
        """Check the declaration against the source and the processing; opens no file."""
        self.ct_source.check()
        if self.ct_source.has_headers:
            self._check_headers()
        else:
            self._check_arrays()
        if self.spec.delete_sources:
            self._check_deletion()

    def _check_deletion(self) -> None:
        if not self.ct_source.is_local:
            what = "only files of this machine can be deleted, not those of a hub"
            raise SpecError(field="delete_sources", what=what)
        spec = self.spec
        is_open = spec.orientation == "as_stored" and not spec.expected_orientation
        if self.ct_source.has_headers and is_open:
            what = (
                "delete_sources needs the orientation that is expected, such as LPS, or "
                "`orientation: LPS`: if volumes turned out to differ when the sources of others are "
                "deleted, those could not be made again"
            )
            raise SpecError(field="expected_orientation", what=what)

    def _check_headers(self) -> None:
        if self.spec.is_raw and self.spec.is_hu and self.spec.stated_hu_rule is None:
            what = (
                "preprocessing none must say how stored values become HU later: none (they are HU "
                "already), table (RescaleSlope and RescaleIntercept of the metadata) or header "
                "(scl_slope and scl_inter of each file); or declare `intensity: stored`"
            )
            raise SpecError(field="hu_rule", what=what)

    def _check_arrays(self) -> None:
        spec = self.spec
        check_array_rule(spec, may_be_unknown=spec.is_raw)
        if spec.orientation != "as_stored":
            what = "arrays do not say how they are oriented; use as_stored"
            raise SpecError(field="orientation", what=what)

    def open_source(self) -> Source:
        """Return the tree of files that holds the volumes."""
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
        facts: dict[str, Any] = {
            "kind": "ct_volume",
            "format_version": FORMAT_VERSION,
            # The first version is not stated: there was none when it was.
            **({"codec_version": _CODEC_VERSION} if _CODEC_VERSION > 1 else {}),
            "min_slices": spec.min_slices,
            **({} if spec.label_member == "cls" else {"label_member": spec.label_member}),
        }
        facts["preprocessing"] = RAW if spec.is_raw else self._list_preset()
        if not spec.is_hu:
            facts["intensity"] = spec.effective_intensity
        elif spec.is_raw:
            facts["hu_rule"] = spec.stated_hu_rule
        else:
            facts["hu_rule"] = spec.effective_hu_rule
            facts["plausible_share"] = [spec.min_plausible_share, spec.max_plausible_share]
        if spec.is_raw:
            facts["tolerance"] = spec.max_rounding_error
        if spec.min_inside_share:
            facts["min_inside_share"] = spec.min_inside_share
        return {**facts, **describe_limits(spec), **self.ct_source.fingerprint_facts()}

    def _list_preset(self) -> dict[str, Any]:
        preset = list_fields(self.spec.preset())
        preset.pop("air_share")
        if not self.spec.is_hu:
            preset["clip"] = preset.pop("clip_hu")
        return {**preset, "dtype": SAMPLE_DTYPE, "layout": SAMPLE_LAYOUT}

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
        """Return one row per source item."""
        rows = self.ct_source.read_rows(source, revision=revision, previous=previous)
        # Where all samples have both, as by default, there is nothing to count.
        return rows if self.ct_source.requires.issuperset(SAMPLE_TEXTS) else store_text_counts(rows)

    def judge(self, item: SourceItem, paths: Sequence[Path]) -> None:
        """Open the volume, and compare the memory that it will take with the budget."""
        with self.ct_source.open_volume(item, paths[0]) as stream:
            shape = stream.header.shape
            num_bytes = 2 * math.prod(shape) if self.spec.is_raw else count_held_bytes(stream)
            what = f"a volume of {' x '.join(map(str, shape))}"
            MemoryBudget(self._budget_bytes).require(num_bytes, what=what)

    @cached_property
    def _budget_bytes(self) -> int:
        return MemoryBudget(self.spec.memory_budget_bytes).total_bytes

    def encoder(self) -> Encode:
        """Return the function that makes a sample of one file; numba is imported here."""
        from medassets.storage.buffers import BufferPool

        buffers = BufferPool(budget=MemoryBudget(self._budget_bytes))
        encode_sample = self._choose_encoder()

        def encode(item: SourceItem, staged: StagedFile) -> EncodedSample:
            return encode_sample(
                item,
                staged,
                spec=self.spec,
                source=self.ct_source,
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
        return sample_fingerprint(self.fingerprint(), item, staged.sha256)

    def is_sample_of(self, item: SourceItem, document: Mapping[str, Any]) -> bool:
        """Return whether a sample was made of a row, of the same file and in the same way."""
        return was_made_of(self.fingerprint(), item, document)

    def open_files(self, paths: DatasetPaths, partition_key: str) -> None:
        """Return None: volumes come from the source."""

    def estimate(self, row: Mapping[str, Any]) -> Estimate:
        """Estimate sizes from the array's shape, or the table's slices and a 512 x 512 matrix."""
        volume = VolumeRow.of(row)
        voxel_bytes = 2 * count_voxels(volume)
        raw_bytes = int(GZIP_SHARE * voxel_bytes) if self.ct_source.is_compressed else 0
        # What memory has no room for is rejected, so it takes no disk.
        fits = voxel_bytes <= self._budget_bytes
        raw_values = voxel_bytes if fits else 0
        values = raw_values if self.spec.is_raw else 2 * math.prod(self.spec.preset().shape)
        texts = len(volume.report or "") + len(volume.metadata or "")
        return Estimate(
            raw_bytes=raw_bytes,
            sample_bytes=values + 2 * texts + _SAMPLE_EXTRA_BYTES,
            seconds=_SECONDS_PER_RAW_BYTE * voxel_bytes,
        )

    def manifest_fields(self, records: Sequence[ShardRecord]) -> Mapping[str, Any]:
        """Return shape and dtype of every sample, its labels, axis codes and shares of HU.

        Each class takes four bytes of the member with labels.
        """
        from medassets.volumes.catalog.ct_tables import LABEL_NAMES

        spec = self.spec
        samples = [sample for record in records for sample in record.samples]
        labels = spec.label_suffixes[0]
        sizes = (m.size_bytes for sample in samples for m in sample.members if m.suffix == labels)
        source_bytes = sum(sample.facts.get("source_bytes", 0) for sample in samples)
        total = sum(record.size_bytes for record in records)
        fields: dict[str, Any] = {
            "preprocessed": not spec.is_raw,
            "sample_shape": None if spec.is_raw else list(spec.preset().shape),
            "sample_dtype": SAMPLE_DTYPE,
            "num_classes": next(sizes, 4 * len(LABEL_NAMES)) // 4,
            **count_labels(records),
            "source_bytes": source_bytes,
            "compression_ratio": round(source_bytes / total, 4) if total else None,
        }
        if spec.is_raw:
            fields["max_rounding_error"] = _find_largest_error(records)
        return {**fields, **sum_facts(records)}

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return what the source says of a catalog beyond its counts; may be empty."""
        return self.ct_source.describe_catalog(table)

    def describe_shard(self, record: ShardRecord) -> Mapping[str, Any]:
        """Return axis codes and shares of HU, and the largest rounding error of a raw shard."""
        errors = {"max_rounding_error": _find_largest_error([record])} if self.spec.is_raw else {}
        return {**errors, **sum_facts([record])}

    def draw_preview(self, shard: Path, record: ShardRecord) -> bytes | None:
        """Return the middle slices of the shard's first volume in a lung window, as JPEG."""
        from medassets.volumes.preview import draw_sample_preview

        if not record.samples:
            return None
        wanted = [m for m in record.samples[0].members if m.suffix in ("bin", "json")]
        with open_tar(shard) as tar:
            return draw_sample_preview({m.suffix: bytes(tar.read(m)) for m in wanted})


def _find_largest_error(records: Sequence[ShardRecord]) -> float | None:
    """Return the largest change of a stored value by float16; None without samples."""
    errors = (sample.facts["max_rounding_error"] for one in records for sample in one.samples)
    return max(errors, default=None)
