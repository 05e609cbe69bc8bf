"""Encode one volume as it is stored, as float16, with the facts to rescale and resample it later."""

import json
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from medassets.errors import SampleRejectedError
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.specs import RAW, VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.volumes.catalog.columns import VolumeRow
from medassets.volumes.files.header import VolumeHeader
from medassets.volumes.grid.geometry import (
    Spacing,
    check_orientation,
    describe_source,
    locate_source,
)
from medassets.volumes.grid.hu import choose_scaling
from medassets.volumes.grid.hu_guard import (
    VoxelCounter,
    VoxelStatistics,
    check_statistics,
    collect_shares,
)
from medassets.volumes.grid.preprocessing import check_num_slices
from medassets.volumes.grid.to_float16 import HalfStatistics, check_half, convert_to_half
from medassets.volumes.samples import (
    collect_facts,
    collect_orientation,
    declare_hu,
    describe_origin,
    describe_shape,
    describe_texts,
    encode_json,
    read_limits,
)
from medassets.volumes.source import VolumeSource


def encode_raw_sample(
    item: SourceItem,
    staged: StagedFile,
    *,
    spec: VolumeDatasetSpec,
    source: VolumeSource,
    fingerprint: str,
    buffers: BufferPool,
) -> EncodedSample:
    """Convert one volume to float16 and encode its four members.

    `bin` holds the stored values, neither rescaled nor resampled: float16 little-endian, C order, axes
    (i, j, k) of the volume's own shape. `txt` and `cls` are those of a preprocessed sample. `json` has
    the names that readers of raw shards expect, such as `RescaleSlope` and `XYSpacing`, and whether
    slope and intercept apply, in `preprocessing.hu_rule`, null where the declaration does not say.
    Files with headers add `geometry.source` and `hu`, arrays of stated orientation the former: HU are
    values times `hu.slope` plus `hu.intercept`. Where values are not HU, `preprocessing.intensity` says so,
    and the scaling of the header is in `intensity`.

    Args:
        item: Catalog row of the volume.
        staged: The source file.
        spec: Declaration of the dataset.
        source: The source that holds the volume.
        fingerprint: Hash of everything that the sample depends on; stored with it.
        buffers: Where the values are kept until the sample's `release` is called.

    Raises:
        SampleRejectedError: If file or row make no sample: NOT_FINITE, PRECISION (a value beyond
            65504, or changed by more than the declared tolerance), CONSTANT_VOLUME and others.
    """
    texts, row = source.read_texts(item, staged), VolumeRow.of(item.row)
    spacing = source.read_spacing(item)
    started = time.perf_counter()
    with ExitStack() as stack:
        with source.open_volume(item, staged.path) as stream:
            header = stream.header
            check_num_slices(header, spec.min_slices)
            frame = locate_source(header, spacing)
            stored = _describe_stored(row, header, frame.spacing_mm)
            check_orientation(frame, spec.expected_orientation)
            source_frame = {"dtype": header.dtype.name, **describe_source(frame)}
            if source.has_headers or frame.axis_codes:
                stored["geometry"] = {"source": source_frame}
            if source.has_headers:
                stored |= _describe_scaling(item, header, spec)
            voxels = stack.enter_context(buffers.borrow(header.shape, np.float16))
            counter = _open_counter(item, header, spec)
            statistics = convert_to_half(stream, voxels, buffers=buffers, counter=counter)
        check_half(statistics, max_rounding_error=spec.max_rounding_error)
        read_s = time.perf_counter() - started
        described = {
            **describe_shape(item, list(voxels.shape), voxels.dtype.name),
            **stored,
            **describe_texts(texts, row, spec),
            **describe_origin(item, staged),
            "precision": _describe_precision(statistics),
            "preprocessing": _describe_meaning(spec),
            "metadata": json.loads(row.metadata or "{}"),
            "fingerprint": fingerprint,
        }
        members = (
            ("bin", voxels),
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
            **collect_orientation(source_frame, source_frame),
            **(_judge_hu(counter.statistics(), spec) if counter is not None else {}),
            "max_rounding_error": statistics.max_rounding_error,
        },
        seconds={"convert": read_s, "encode": time.perf_counter() - started - read_s},
        release=release,
    )


def _describe_meaning(spec: VolumeDatasetSpec) -> dict[str, Any]:
    if not spec.is_hu:
        return {"preset": RAW, "intensity": spec.effective_intensity}
    return {"preset": RAW, "hu_rule": spec.stated_hu_rule}


def _describe_stored(row: VolumeRow, header: VolumeHeader, spacing: Spacing) -> dict[str, Any]:
    return {
        "original_shape": list(header.shape),
        "original_dtype": header.dtype.name,
        "RescaleSlope": row.rescale_slope,
        "RescaleIntercept": row.rescale_intercept,
        # Text, as in the table: existing readers parse it.
        "XYSpacing": row.xy_spacing or f"[{spacing[0]}, {spacing[1]}]",
        "ZSpacing": spacing[2],
        "spacing_mm": list(spacing),
    }


def _describe_scaling(
    item: SourceItem, header: VolumeHeader, spec: VolumeDatasetSpec
) -> dict[str, Any]:
    """Return the scaling of a file with a header, to HU or to the values of the file.

    That to HU may contradict the table.

    Raises:
        SampleRejectedError: If it does; see `hu`.
    """
    scaling = choose_scaling(declare_hu(item, spec), header)
    if not spec.is_hu:
        return {"intensity": {"slope": scaling.slope, "intercept": scaling.intercept}}
    described: dict[str, Any] = {
        "hu": {"rule": scaling.rule, "slope": scaling.slope, "intercept": scaling.intercept},
    }
    if scaling.rule == "header":
        # Readers of raw shards know these names only.
        described |= {"RescaleSlope": scaling.slope, "RescaleIntercept": scaling.intercept}
    return described


def _open_counter(
    item: SourceItem, header: VolumeHeader, spec: VolumeDatasetSpec
) -> VoxelCounter | None:
    """Return what counts the voxels by HU; None where nothing says how they become HU."""
    if spec.stated_hu_rule is None:
        return None
    scaling = choose_scaling(declare_hu(item, spec), header)
    dtype = np.dtype(np.float32) if header.dtype == np.float16 else header.dtype
    return VoxelCounter(scaling, dtype)


def _judge_hu(statistics: VoxelStatistics, spec: VolumeDatasetSpec) -> dict[str, Any]:
    """Return the shares of HU, and what is wrong with them as those of a chest.

    It is a doubt, not a rejection: stored values are kept as they are, of any body part.
    """
    limits = read_limits(spec)
    try:
        check_statistics(
            statistics,
            min_plausible_share=limits.min_plausible_share,
            max_plausible_share=limits.max_plausible_share,
            air_share=limits.air_share,
        )
    except SampleRejectedError as doubt:
        return {**collect_shares(statistics), "hu_doubt": doubt.detail}
    return collect_shares(statistics)


def _describe_precision(statistics: HalfStatistics) -> dict[str, float]:
    return {
        "largest": statistics.largest,
        "max_rounding_error": statistics.max_rounding_error,
    }
