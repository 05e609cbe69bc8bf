"""Encode the windows of one CT volume as the members of a sample."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from medassets.arrays import BytesLike
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.specs import PADDING_HU, CTWindow, CTWindowDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.volumes.catalog.columns import VolumeRow
from medassets.volumes.files.slices import open_slices
from medassets.volumes.grid.geometry import describe_source
from medassets.volumes.grid.hu_guard import SHARES, describe_hu
from medassets.volumes.samples import (
    collect_orientation,
    declare_hu,
    encode_json,
    read_limits,
)
from medassets.volumes.source import VolumeSource
from medassets.volumes.windows.masks import (
    Bits,
    Shape,
    choose_resolution,
    make_windows,
)
from medassets.volumes.windows.occupancy import BLOCK_BITS, count_blocks
from medassets.volumes.windows.occupancy_codec import encode_bits

ORDER = "ijk, i fastest"


def encode_window_sample(
    item: SourceItem,
    staged: StagedFile,
    *,
    spec: CTWindowDatasetSpec,
    source: VolumeSource,
    fingerprint: str,
    buffers: BufferPool,
) -> EncodedSample:
    """Make the windows of one volume and encode its members.

    Per window, in the order of the declaration, `<window>.bits` and `<window>.rank`, see
    `medassets.volumes.windows.occupancy`; then `json`.

    Args:
        item: Catalog row of the volume.
        staged: The checked source file.
        spec: Declaration of the dataset.
        source: The source that holds the volume.
        fingerprint: Hash of everything that the sample depends on; stored with it.
        buffers: Where the bits are kept until the sample's `release` is called.

    Raises:
        SampleRejectedError: If file or row make no sample.
    """
    row = VolumeRow.of(item.row)
    with ExitStack() as stack:
        volume = make_windows(
            staged.path,
            spec.list_windows(),
            lend=lambda num: stack.enter_context(buffers.borrow((num,), np.uint8)),
            hu=declare_hu(item, spec),
            spacing_mm=source.read_spacing(item),
            limits=read_limits(spec),
            buffers=buffers,
            opener=lambda path: open_slices(source.open_volume(item, path), buffers=buffers),
        )
        frame = {"dtype": volume.dtype, **describe_source(volume.frame)}
        described = {
            "patient": row.patient,
            "scan": row.scan,
            "reconstruction": row.reconstruction,
            "source": describe_file(staged),
            "geometry": {"source": frame},
            "hu": describe_hu(volume.scaling, volume.statistics),
            "metadata": json.loads(row.metadata or "{}"),
        }
        sample = encode_masks(
            item,
            volume.bits,
            volume.frame.shape,
            spec=spec,
            described=described,
            fingerprint=fingerprint,
            release=stack,
        )
    return replace(sample, seconds={**volume.seconds, **sample.seconds})


def describe_file(staged: StagedFile) -> dict[str, Any]:
    """Describe a source file for the json of a sample."""
    return {
        "uri": staged.uri,
        "revision": staged.revision,
        "sha256": staged.sha256,
        "bytes": staged.num_bytes,
    }


def encode_masks(
    item: SourceItem,
    bits: Bits,
    shape: Shape,
    *,
    spec: CTWindowDatasetSpec,
    described: Mapping[str, Any],
    fingerprint: str,
    release: ExitStack,
) -> EncodedSample:
    """Encode masks with their index as the members of a sample.

    Args:
        item: Catalog row.
        bits: uint8 (windows, num_blocks * 512).
        shape: Sides of the masks.
        spec: Declaration of the dataset.
        described: Facts from the source; part of the sample's json.
        fingerprint: Stored with the sample.
        release: Returns the bits to their pool; the sample takes it over.
    """
    started = time.perf_counter()
    members: list[tuple[str, BytesLike]] = []
    stored: dict[str, dict[str, Any]] = {}
    for window, mask in zip(spec.list_windows(), bits, strict=True):
        rank = count_blocks(mask)
        encoding, content = encode_bits(mask, compression=spec.compression)
        members += [(f"{window.name}.bits", content), (f"{window.name}.rank", rank.astype("<u4"))]
        stored[window.name] = {
            **describe_window(window),
            "num_points": int(rank[-1]),
            "encoding": encoding,
        }
    document = {
        "study_id": VolumeRow.of(item.row).study_id or item.key,
        "split": item.split,
        "shape": list(shape),
        "resolution": choose_resolution(shape),
        "order": ORDER,
        "block_bits": BLOCK_BITS,
        "padding_hu": PADDING_HU,
        "windows": stored,
        **described,
        "fingerprint": fingerprint,
    }
    members.append(("json", encode_json(document)))
    return EncodedSample(
        key=item.key,
        members=tuple(members),
        facts=_collect_facts(document),
        seconds={"encode": time.perf_counter() - started},
        # From here on the bits belong to the sample; before, an error returns them to the pool.
        release=release.pop_all().close,
    )


def describe_window(window: CTWindow) -> dict[str, Any]:
    """Describe the range of a window for the json of a sample."""
    return {
        "width": window.width,
        "level": window.level,
        "low_hu": window.low_hu,
        "high_hu": window.high_hu,
    }


def count_points(samples: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return points and their share of all stored voxels, by window.

    Args:
        samples: Facts of samples.
    """
    voxels = sum(math.prod(facts["shape"]) for facts in samples)
    points: dict[str, int] = {}
    for facts in samples:
        for name, stored in facts["windows"].items():
            points[name] = points.get(name, 0) + stored["num_points"]
    return {
        name: {"points": count, "share": round(count / voxels, 4)} for name, count in points.items()
    }


def _collect_facts(document: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("num_points", "encoding")
    windows = {
        name: {field: stored[field] for field in kept}
        for name, stored in document["windows"].items()
    }
    frame = document["geometry"]["source"] if document["geometry"] else {"axis_codes": None}
    return {
        "patient": document["patient"],
        "source_sha256": document["source"]["sha256"],
        "source_bytes": document["source"]["bytes"],
        "shape": document["shape"],
        "resolution": document["resolution"],
        **collect_orientation(frame, frame),
        **{name: document["hu"][name] for name in SHARES if document["hu"]},
        "windows": windows,
    }
