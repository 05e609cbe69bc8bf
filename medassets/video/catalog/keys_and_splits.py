"""Assign keys to clips, exclude duplicates, and assign videos to splits."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from medassets.errors import Reason
from medassets.storage.arrow import kernels
from medassets.storage.checksums import hash_share
from medassets.video.catalog.columns import ClipColumns, Column, exclude, one_chunk

_LONGEST_KEY = 90
_VAL_FROM = 0.8
_TEST_FROM = 0.9


def name_clips(columns: ClipColumns) -> None:
    """Give each row a unique key, and exclude rows that repeat another one.

    The key is `{vid}_{begin_ms}_{end_ms}`, or `{vid}` of a file whose end no record states. Clips of the same segment with another text get `-2`,
    `-3` … in order of their rows; a clip with the same text is excluded. The key of an excluded
    row is `metadata-row-{row}`, which is not a possible key of a clip.

    Args:
        columns: `row, vid, begin_ms, end_ms, transcript, excluded, detail`; `key` is added.
    """
    is_clip = kernels.is_null(columns.excluded)
    stretch = [kernels.cast(times, pa.string()) for times in (columns.begin_ms, columns.end_ms)]
    names = kernels.binary_join_element_wise(columns.vid, *stretch, "_")
    names = kernels.coalesce(names, columns.vid)
    columns.key = one_chunk(kernels.if_else(is_clip, names, pa.scalar(None, pa.string())))
    _part_equal_keys(columns)
    _exclude_long_keys(columns)
    is_rest = one_chunk(kernels.is_valid(columns.excluded))
    rows = kernels.cast(kernels.filter(columns.row, is_rest), pa.string())
    others = one_chunk(kernels.binary_join_element_wise("metadata-row-", rows, ""))
    columns.key = kernels.replace_with_mask(columns.key, is_rest, others)


def number_values(values: Column) -> tuple[npt.NDArray[np.int64], list[str]]:
    """Return the number of each value, and the values by number; null has the number -1."""
    encoded = kernels.dictionary_encode(one_chunk(values))
    codes = kernels.fill_null(encoded.indices, -1).to_numpy().astype(np.int64)
    return codes, encoded.dictionary.to_pylist()


def split_videos(vids: Iterable[str | None], *, mode: str, seed: int) -> list[str]:
    """Return the split of each video, which depends on id, mode and seed only.

    Args:
        vids: Ids; None for records without a video.
        mode: `random` for 80/10/10, `all_train` or `all_test`.
        seed: Seed of `random`.
    """
    if mode != "random":
        return [mode.removeprefix("all_") for _ in vids]
    return [_draw_split(f"{seed}:{vid or ''}") for vid in vids]


def _draw_split(name: str) -> str:
    share = hash_share(name)
    return "train" if share < _VAL_FROM else "val" if share < _TEST_FROM else "test"


def _part_equal_keys(columns: ClipColumns) -> None:
    """Number equal keys, and exclude clips whose text is equal, too."""
    equal = _find_equal(columns)
    parts = (columns.key, columns.transcript, columns.row)
    cells = [kernels.filter(part, equal).to_pylist() for part in parts]
    texts_by_key: dict[str, dict[str, int]] = {}
    keys: list[str] = []
    repeated: list[str | None] = []
    for key, text, row in zip(*cells, strict=True):
        texts = texts_by_key.setdefault(key, {})
        first = texts.setdefault(text, row)
        repeated.append(None if first == row else f"the same clip and text as in row {first}")
        keys.append(key if len(texts) == 1 else f"{key}-{len(texts)}")
    columns.key = kernels.replace_with_mask(columns.key, equal, pa.array(keys, pa.string()))
    nothing = pa.nulls(len(equal), pa.string())
    sentences = kernels.replace_with_mask(nothing, equal, pa.array(repeated, pa.string()))
    reason = str(Reason.DUPLICATE_ROW)
    exclude(columns, kernels.is_valid(sentences), reason=reason, sentence=[sentences])


def _find_equal(columns: ClipColumns) -> pa.Array:
    """Return which clips have the same video and segment as another one."""
    codes, _ = number_values(columns.vid)
    codes[~kernels.is_valid(columns.key).to_numpy(zero_copy_only=False)] = -1
    begin, end = (
        kernels.fill_null(times, -1).to_numpy() for times in (columns.begin_ms, columns.end_ms)
    )
    order = np.lexsort((end, begin, codes))
    same = codes[order][1:] >= 0
    for values in (codes, begin, end):
        placed = values[order]
        same &= placed[1:] == placed[:-1]
    equal = np.zeros(len(codes), bool)
    equal[order[1:][same]] = equal[order[:-1][same]] = True
    return pa.array(equal)


def _exclude_long_keys(columns: ClipColumns) -> None:
    keys = columns.key
    exclude(
        columns,
        kernels.greater(kernels.binary_length(keys), _LONGEST_KEY),
        reason=str(Reason.BAD_NAME),
        sentence=["its key ", keys, f" is longer than {_LONGEST_KEY} characters"],
    )
