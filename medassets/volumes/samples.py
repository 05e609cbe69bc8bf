"""Encode one CT volume with its report and labels as the members of a sample."""

import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np

from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.specs import SAMPLE_LAYOUT, CTPreprocessing, CTSourceSpec, VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.volumes.catalog.columns import VolumeRow
from medassets.volumes.files.slices import open_slices
from medassets.volumes.grid.hu import HuDeclaration
from medassets.volumes.grid.hu_guard import SHARES
from medassets.volumes.grid.preprocessing import PreprocessedVolume, VolumeLimits, preprocess_volume
from medassets.volumes.reports_and_labels import SampleTexts
from medassets.volumes.source import VolumeSource

_IDENTITY = np.eye(4).tolist()

MEMBER_SUFFIXES = ("bin", "txt", "cls", "json")
"""Members of a volume sample, in their order in a shard."""


def encode_volume_sample(
    item: SourceItem,
    staged: StagedFile,
    *,
    spec: VolumeDatasetSpec,
    source: VolumeSource,
    fingerprint: str,
    buffers: BufferPool,
) -> EncodedSample:
    """Preprocess one volume and encode its four members.

    - `bin`: float16 little-endian, C order, axes (i, j, k), shape of the preset;
    - `txt`: findings and impressions, UTF-8;
    - `cls`, or what `label_member` says: float32 little-endian, one value per label, in the order of the labels table;
    - `json`: what `describe_sample` returns.

    The bytes depend on the arguments only. The voxels stay in a buffer of `buffers` until the
    sample's `release` is called.

    Args:
        item: Catalog row of the volume.
        staged: The checked source file.
        spec: Declaration of the dataset.
        source: The source that holds the volume.
        fingerprint: Hash of everything that the sample depends on; stored with it.
        buffers: Where the voxels are kept.

    Raises:
        SampleRejectedError: If file or row make no sample.
    """
    texts = source.read_texts(item, staged)
    preset = spec.preset()
    with ExitStack() as stack:
        voxels = stack.enter_context(buffers.borrow(preset.shape, np.float16))
        volume = preprocess_volume(
            staged.path,
            preset=preset,
            hu=declare_hu(item, spec),
            spacing_mm=source.read_spacing(item),
            limits=read_limits(spec, min_inside_share=spec.min_inside_share),
            out=voxels,
            buffers=buffers,
            opener=lambda path: open_slices(source.open_volume(item, path), buffers=buffers),
        )
        started = time.perf_counter()
        described = describe_sample(
            item,
            staged,
            volume,
            texts=texts,
            spec=spec,
            fingerprint=fingerprint,
        )
        members = (
            ("bin", volume.array),
            ("txt", texts.text),
            *((suffix, texts.cls) for suffix in spec.label_suffixes),
            ("json", encode_json(described)),
        )
        # From here on the buffer belongs to the sample; before, an error returns it to the pool.
        release = stack.pop_all().close
    return EncodedSample(
        key=item.key,
        members=members,
        facts={
            **collect_facts(described),
            **collect_values(described),
            **collect_orientation(described["geometry"]["output"], described["geometry"]["source"]),
            "cropped_share": described["geometry"]["cropped_share"],
        },
        seconds={**volume.seconds, "encode": time.perf_counter() - started},
        release=release,
    )


def describe_sample(
    item: SourceItem,
    staged: StagedFile,
    volume: PreprocessedVolume,
    *,
    texts: SampleTexts,
    spec: VolumeDatasetSpec,
    fingerprint: str,
) -> dict[str, Any]:
    """Return the `json` member: all facts about a sample, in a fixed order.

    `shape` and `dtype` are those of the `bin` member, and so are `volume_shape` and
    `volume_dtype`, the names that existing readers expect. Missing values are null.
    """
    shape, dtype = list(volume.array.shape), volume.array.dtype.name
    row = VolumeRow.of(item.row)
    return {
        **describe_shape(item, shape, dtype),
        **describe_texts(texts, row, spec),
        **describe_origin(item, staged),
        "geometry": _describe_geometry(volume),
        "hu": volume.hu,
        **({"intensity": volume.intensity} if volume.intensity else {}),
        "preprocessing": _describe_preset(spec.preset(), name=spec.preprocessing),
        "metadata": json.loads(row.metadata or "{}"),
        "fingerprint": fingerprint,
    }


def _describe_geometry(volume: PreprocessedVolume) -> dict[str, Any]:
    source = {"dtype": volume.dtype, **volume.geometry["source"]}
    return {**volume.geometry, "source": source}


def describe_shape(item: SourceItem, shape: list[int], dtype: str) -> dict[str, Any]:
    """Return study, and shape and dtype of the `bin` member, under the names that readers expect."""
    return {
        "study_id": VolumeRow.of(item.row).study_id or item.key,
        "shape": shape,
        "dtype": dtype,
        "volume_shape": shape,
        "volume_dtype": dtype,
    }


def describe_texts(texts: SampleTexts, row: VolumeRow, spec: VolumeDatasetSpec) -> dict[str, Any]:
    """Return labels by name, and the sections of the report; null where they are unknown."""
    return {
        "num_classes": len(texts.labels),
        "labels": dict(texts.labels),
        "report": dict(row.sections),
        # A reader that finds two members of labels must know that they are the same.
        **({"label_member": spec.label_member} if len(spec.label_suffixes) > 1 else {}),
    }


def describe_origin(item: SourceItem, staged: StagedFile) -> dict[str, Any]:
    """Return patient and scan of a volume, and its source file."""
    row = VolumeRow.of(item.row)
    return {
        "split": item.split,
        "patient": row.patient,
        "scan": row.scan,
        "reconstruction": row.reconstruction,
        "source": {
            "uri": staged.uri,
            "revision": staged.revision,
            "sha256": staged.sha256,
            "bytes": staged.num_bytes,
        },
    }


def declare_hu(item: SourceItem, spec: CTSourceSpec) -> HuDeclaration:
    """Return the dataset's HU rule with the values that the table gives for this volume.

    Where values are not HU, they are those of the file: a header that scales is followed.
    """
    if not spec.is_hu:
        return HuDeclaration(rule="header")
    if spec.effective_hu_rule != "table":
        return HuDeclaration(rule=spec.effective_hu_rule)
    row = VolumeRow.of(item.row)
    return HuDeclaration("table", slope=row.rescale_slope, intercept=row.rescale_intercept)


def read_limits(spec: CTSourceSpec, *, min_inside_share: float = 0.0) -> VolumeLimits:
    """Return the declared limits of an accepted volume."""
    return VolumeLimits(
        min_slices=spec.min_slices,
        min_plausible_share=spec.min_plausible_share,
        max_plausible_share=spec.max_plausible_share,
        air_share=spec.air_share,
        min_inside_share=min_inside_share,
        orientation=spec.expected_orientation,
    )


def _describe_preset(preset: CTPreprocessing, *, name: str) -> dict[str, Any]:
    return {
        "preset": name,
        "spacing_mm": list(preset.spacing_mm),
        **_describe_range(preset),
        "pad_value": preset.pad_value,
        "orientation": preset.orientation,
        "layout": SAMPLE_LAYOUT,
    }


def _describe_range(preset: CTPreprocessing) -> dict[str, Any]:
    """Return range and scaling; of HU with one scale, under the names that readers know."""
    described: dict[str, Any] = {}
    if preset.intensity != "hu":
        described["intensity"] = preset.intensity
    if preset.percentiles is not None:
        described["clip_percentiles"] = list(preset.percentiles)
    if preset.clip_hu is not None:
        described["clip_hu" if preset.intensity == "hu" else "clip"] = list(preset.clip_hu)
    if preset.output_range is not None:
        return {**described, "output_range": list(preset.output_range)}
    return {**described, "scale": preset.scale}


def collect_values(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about a volume's values in the shard's record: shares of HU, or its range."""
    if (hu := described["hu"]) is not None:
        return {name: hu[name] for name in SHARES}
    intensity = described["intensity"]
    return {"value_range": intensity["range"], "inside_share": intensity["inside_share"]}


def collect_facts(described: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts about a volume in the shard's record, with the digest of its source."""
    return {
        "patient": described["patient"],
        "source_sha256": described["source"]["sha256"],
        "source_bytes": described["source"]["bytes"],
        "label_names": list(described["labels"]),
        "labels": list(described["labels"].values()),
    }


def collect_orientation(frame: Mapping[str, Any], source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the axis codes of a sample, and those of a transform of its file that contradicts them."""
    rival = source.get("rival_axis_codes")
    # Programs that lose the transform write the identity; nothing else states the spacing then.
    is_identity = source.get("spacing_from") == "header" and source["affine"] == _IDENTITY
    return {
        "axis_codes": frame["axis_codes"],
        **({"rival_axis_codes": rival} if rival else {}),
        **({"identity_affine": True} if is_identity else {}),
    }


def encode_json(described: Mapping[str, Any]) -> bytes:
    """Return a `json` member."""
    text = json.dumps(described, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode()
