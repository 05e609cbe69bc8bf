"""Name clips, find those that stand twice, and give each video its split."""

import hashlib
from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from medassets.errors import Reason
from medassets.storage.arrow import kernels
from medassets.video.exclusion import Column, Columns, exclude

_LONGEST_KEY = 90
_VAL_FROM = 0.8
_TEST_FROM = 0.9


def name_clips(columns: Columns) -> None:
    """Give each row a key of its own, and exclude those that repeat another one.

    The key is `{vid}_{begin_ms}_{end_ms}`. Clips of the same stretch with another text get `-2`,
    `-3` … in order of their rows; a clip with the same text is excluded. A row that is no clip is
    called `metadata-row-{row}`, which no clip can be called.

    Args:
        columns: `row, vid, begin_ms, end_ms, transcript, excluded, detail`; `key` is added.
    """
    stretch = [kernels.cast(columns[name], pa.string()) for name in ("begin_ms", "end_ms")]
    names = kernels.binary_join_element_wise(columns["vid"], *stretch, "_")
    is_clip = kernels.is_null(columns["excluded"])
    columns["key"] = _one_chunk(kernels.if_else(is_clip, names, pa.scalar(None, pa.string())))
    _part_equal_keys(columns)
    _exclude_long_keys(columns)
    rows = kernels.cast(columns["row"], pa.string())
    others = kernels.binary_join_element_wise("metadata-row-", rows, "")
    columns["key"] = kernels.if_else(kernels.is_null(columns["excluded"]), columns["key"], others)


def split_videos(vids: Iterable[str | None], *, mode: str, seed: int) -> list[str]:
    """Return the split of each video; it depends on nothing but id, mode and seed.

    Args:
        vids: Ids; None stands for records that name no video.
        mode: `random` for 80/10/10, `all_train` or `all_test`.
        seed: Of `random`.
    """
    if mode != "random":
        return [mode.removeprefix("all_") for _ in vids]
    return [_draw_split(f"{seed}:{vid or ''}") for vid in vids]


def _draw_split(name: str) -> str:
    share = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8]) / 2**64
    return "train" if share < _VAL_FROM else "val" if share < _TEST_FROM else "test"


def _part_equal_keys(columns: Columns) -> None:
    """Count up equal keys, and exclude those that come with an equal text."""
    equal = _find_equal(columns["key"])
    names = ("key", "transcript", "row")
    cells = [kernels.filter(columns[name], equal).to_pylist() for name in names]
    texts_by_key: dict[str, dict[str, int]] = {}
    keys: list[str] = []
    repeated: list[str | None] = []
    for key, text, row in zip(*cells, strict=True):
        texts = texts_by_key.setdefault(key, {})
        first = texts.setdefault(text, row)
        repeated.append(None if first == row else f"the same clip and text as in row {first}")
        keys.append(key if len(texts) == 1 else f"{key}-{len(texts)}")
    columns["key"] = kernels.replace_with_mask(columns["key"], equal, pa.array(keys, pa.string()))
    nothing = pa.nulls(len(equal), pa.string())
    sentences = kernels.replace_with_mask(nothing, equal, pa.array(repeated, pa.string()))
    reason = str(Reason.DUPLICATE_ROW)
    exclude(columns, kernels.is_valid(sentences), reason=reason, sentence=sentences)


def _find_equal(keys: Column) -> pa.Array:
    codes = kernels.fill_null(kernels.dictionary_encode(keys).indices, -1).to_numpy()
    counts = np.bincount(codes + 1)
    counts[0] = 0
    return pa.array(counts[codes + 1] > 1)


def _exclude_long_keys(columns: Columns) -> None:
    sentence = kernels.binary_join_element_wise(
        "its key ", columns["key"], f" is longer than {_LONGEST_KEY} characters", ""
    )
    too_long = kernels.greater(kernels.binary_length(columns["key"]), _LONGEST_KEY)
    exclude(columns, too_long, reason=str(Reason.BAD_NAME), sentence=sentence)


def _one_chunk(column: Column) -> pa.Array:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
