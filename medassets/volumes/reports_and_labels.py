"""Report and labels of a sample: from the catalog's tables, or from a foreign sample."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import SourceItem, StagedFile
from medassets.tars.index import find_members, split_sample_path, tar_errors_as_rejections
from medassets.tars.reader import Members, open_tar
from medassets.volumes.catalog.columns import VolumeRow


@dataclass(frozen=True)
class SampleTexts:
    """Report and labels as a sample stores them.

    Attributes:
        text: The `txt` member.
        cls: The `cls` member: float32 little-endian, one value per label.
        labels: Label name -> value, in that order; every one finite.
    """

    text: bytes
    cls: bytes
    labels: dict[str, float]


def read_row_texts(item: SourceItem) -> SampleTexts:
    """Return report and labels of a catalog row.

    Raises:
        SampleRejectedError: MISSING_LABELS if the row has no labels, or not one per name.
    """
    row = VolumeRow.of(item.row)
    values, names = row.labels, row.label_names
    if values is None or names is None or len(values) != len(names):
        raise SampleRejectedError(Reason.MISSING_LABELS, "the catalog row has no usable labels")
    labels = dict(zip(names, map(float, values), strict=True))
    text = (row.report or "").encode()
    return SampleTexts(text, np.array(list(labels.values()), "<f4").tobytes(), labels)


def read_member_texts(item: SourceItem, staged: StagedFile) -> SampleTexts:
    """Return report and labels of a sample of an existing WebDataset, byte for byte.

    Raises:
        SampleRejectedError: MISSING_REPORT or MISSING_LABELS if they were removed, or the labels
            are not float32, not finite, or not one per name; BAD_RECORD if
            the text is not UTF-8; CORRUPT_TAR or UNREADABLE_SOURCE if the tar cannot be read.
    """
    row, members = VolumeRow.of(item.row), find_sample_members(item, staged.path)
    suffixes = row.members
    text = _read_member(staged.path, members, suffixes["text"], Reason.MISSING_REPORT)
    _check_text(text)
    cls = _read_member(staged.path, members, suffixes["labels"], Reason.MISSING_LABELS)
    return SampleTexts(text, cls, _name_labels(cls, row.label_names))


def find_sample_members(item: SourceItem, tar: Path) -> Members:
    """Return the members of a sample of an existing WebDataset in its tar."""
    return find_members(tar, split_sample_path(item.path)[1])


def _read_member(tar: Path, members: Members, suffix: str | None, missing: Reason) -> bytes:
    if suffix is None or suffix not in members:
        raise SampleRejectedError(missing, f"the sample has no member .{suffix}")
    with tar_errors_as_rejections(tar), open_tar(tar) as opened:
        return bytes(opened.read(members[suffix]))


def _check_text(text: bytes) -> None:
    """Reject text that is not UTF-8, which would stop training."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        detail = f"the text is not UTF-8 (byte {error.start})"
        raise SampleRejectedError(Reason.BAD_RECORD, detail) from error


def _name_labels(cls: bytes, names: list[str] | None) -> dict[str, float]:
    if not cls or len(cls) % 4:
        detail = f"the labels have {len(cls)} bytes; expected float32 values of four bytes each"
        raise SampleRejectedError(Reason.MISSING_LABELS, detail)
    values = [float(value) for value in np.frombuffer(cls, "<f4")]
    if names is None:
        names = [f"label_{index}" for index in range(len(values))]
    if len(names) != len(values):
        detail = f"{len(values)} labels, but {len(names)} names of labels"
        raise SampleRejectedError(Reason.MISSING_LABELS, detail)
    for index, value in enumerate(values):
        if not math.isfinite(value):
            detail = f"label {index} is not a finite number"
            raise SampleRejectedError(Reason.MISSING_LABELS, detail)
    return dict(zip(names, values, strict=True))
