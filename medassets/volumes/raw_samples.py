"""Encode one volume as it is stored, as float16, with what is needed to rescale and resample it."""

import json
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.specs import RAW, VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.volumes.files.array_files import ArrayStream
from medassets.volumes.files.array_items import open_item_array
from medassets.volumes.grid.to_float16 import HalfStatistics, check_half, convert_to_half
from medassets.volumes.samples import (
    collect_facts,
    describe_origin,
    describe_shape,
    describe_texts,
    encode_json,
    read_spacing,
    read_texts,
)


def encode_raw_sample(
    item: SourceItem,
    staged: StagedFile,
    *,
    spec: VolumeDatasetSpec,
    fingerprint: str,
    buffers: BufferPool,
) -> EncodedSample:
    """Convert one array to float16 and encode its four members.

    `bin` holds the stored values, neither rescaled nor resampled: float16 little-endian, C order, axes
    (i, j, k) of the array's own shape. `txt` and `cls` are those of a preprocessed sample. `json` has
    the names that readers of raw shards look for, such as `RescaleSlope` and `XYSpacing`; and whether
    these apply, in `preprocessing.hu_rule`, null where the declaration does not say.

    Args:
        item: Catalog row of the volume.
        staged: The source file.
        spec: Declaration of the dataset.
        fingerprint: What the sample is known by.
        buffers: Where the values are kept until the sample's `release` is called.

    Raises:
        SampleRejectedError: If no sample can come of file or row: NOT_FINITE, PRECISION (a value
            beyond 65504, or changed by more than the declared tolerance), CONSTANT_VOLUME and others.
    """
    texts, spacing = read_texts(item, staged, spec), read_spacing(item)
    started = time.perf_counter()
    with ExitStack() as stack:
        with open_item_array(item, staged.path, spec) as stream:
            _check_slices(stream, spec)
            voxels = stack.enter_context(buffers.borrow(stream.shape, np.float16))
            statistics = convert_to_half(stream, voxels, buffers=buffers)
            original = stream
        check_half(statistics, max_rounding_error=spec.max_rounding_error)
        read_s = time.perf_counter() - started
        described = {
            **describe_shape(item, list(voxels.shape), voxels.dtype.name),
            **_describe_stored(item, original, spacing),
            **describe_texts(texts, item.row),
            **describe_origin(item, staged),
            "precision": _describe_precision(statistics),
            "preprocessing": {"preset": RAW, "hu_rule": spec.hu_rule},
            "metadata": json.loads(item.row["metadata"]),
            "fingerprint": fingerprint,
        }
        members = (
            ("bin", voxels),
            ("txt", texts.text),
            ("cls", texts.cls),
            ("json", encode_json(described)),
        )
        # From here on the buffer is the sample's; before, an error gives it back.
        release = stack.pop_all().close
    return EncodedSample(
        key=item.key,
        members=members,
        facts={
            **collect_facts(described),
            "max_rounding_error": statistics.max_rounding_error,
        },
        seconds={"convert": read_s, "encode": time.perf_counter() - started - read_s},
        release=release,
    )


def _check_slices(stream: ArrayStream, spec: VolumeDatasetSpec) -> None:
    if min(stream.shape) < spec.min_slices:
        detail = (
            f"the shape is {stream.shape}, expected at least {spec.min_slices} along every axis"
        )
        raise SampleRejectedError(Reason.TOO_FEW_SLICES, detail)


def _describe_stored(
    item: SourceItem, stream: ArrayStream, spacing: tuple[float, float, float]
) -> dict[str, Any]:
    row = item.row
    return {
        "original_shape": list(stream.shape),
        "original_dtype": stream.dtype.name,
        "RescaleSlope": row["rescale_slope"],
        "RescaleIntercept": row["rescale_intercept"],
        # Text, as in the table: existing readers parse it.
        "XYSpacing": row.get("xy_spacing") or f"[{spacing[0]}, {spacing[1]}]",
        "ZSpacing": spacing[2],
        "spacing_mm": list(spacing),
    }


def _describe_precision(statistics: HalfStatistics) -> dict[str, float]:
    return {
        "largest": statistics.largest,
        "max_rounding_error": statistics.max_rounding_error,
    }
