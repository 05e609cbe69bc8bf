"""Report and labels of a sample: from the catalog's tables, or from a foreign sample."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import SourceItem, StagedFile
from medassets.storage.foreign_bytes import rejecting_foreign
from medassets.storage.formats.label_rules import NO_RULES, LabelError, LabelRules, StatedLabels
from medassets.storage.formats.label_types import Values, encode_labels
from medassets.storage.formats.labels import read_labels
from medassets.storage.formats.missing import is_missing
from medassets.tars.index import find_members, split_sample_path, tar_errors_as_rejections
from medassets.tars.reader import Members, open_tar
from medassets.volumes.catalog.columns import VolumeRow
from medassets.volumes.catalog.webdataset_facts import parse_facts


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


@rejecting_foreign()
def read_member_texts(
    item: SourceItem, staged: StagedFile, rules: LabelRules = NO_RULES
) -> SampleTexts:
    """Return report and labels of a sample of an existing WebDataset, the report byte for byte.

    Args:
        item: Catalog row of the sample.
        staged: Its tar.
        rules: What the declaration says of labels.

    Raises:
        SampleRejectedError: MISSING_REPORT or MISSING_LABELS if they were removed, or the report says
            that nothing is given; BAD_LABELS if the labels have another type than the dataset's, or
            contradict json or declaration; BAD_RECORD if text or json cannot be read; CORRUPT_TAR or
            UNREADABLE_SOURCE if the tar cannot be read.
    """
    row, members = VolumeRow.of(item.row), find_sample_members(item, staged.path)
    suffixes = row.members
    text = _read_member(staged.path, members, suffixes["text"], Reason.MISSING_REPORT)
    _check_text(text)
    stored = _read_member(staged.path, members, suffixes["labels"], Reason.MISSING_LABELS)
    facts = read_member_facts(staged.path, members, suffixes["json"])
    try:
        # The catalog has decided whether declared names replace those of all samples.
        stated = StatedLabels.read(facts).order(row.label_names, may_rename=bool(rules.columns))
        values = read_labels(stored, row.label_type, stated=stated, rules=rules)
    except LabelError as error:
        raise SampleRejectedError(Reason.BAD_LABELS, str(error)) from error
    return SampleTexts(text, encode_labels(values), _name_labels(values, row.label_names))


def find_sample_members(item: SourceItem, tar: Path) -> Members:
    """Return the members of a sample of an existing WebDataset in its tar."""
    # The source has decided whether the tar may lack its end mark.
    return find_members(tar, split_sample_path(item.path)[1], accept_unterminated=True)


@rejecting_foreign()
def read_member_facts(tar: Path, members: Members, suffix: str | None) -> dict[str, Any]:
    """Return the json of a sample of an existing WebDataset; empty without one.

    Raises:
        SampleRejectedError: BAD_RECORD if it cannot be read; CORRUPT_TAR or UNREADABLE_SOURCE if the tar
            cannot be read.
    """
    if suffix is None or suffix not in members:
        return {}
    content = _read_member(tar, members, suffix, Reason.BAD_RECORD)
    try:
        return parse_facts(content)
    except ValueError as error:
        raise SampleRejectedError(Reason.BAD_RECORD, f".{suffix}: {error}") from error


def _read_member(tar: Path, members: Members, suffix: str | None, missing: Reason) -> bytes:
    if suffix is None or suffix not in members:
        raise SampleRejectedError(missing, f"the sample has no member .{suffix}")
    with tar_errors_as_rejections(tar), open_tar(tar) as opened:
        return bytes(opened.read(members[suffix]))


def _check_text(text: bytes) -> None:
    """Reject text that is not UTF-8, which would stop training, or that says nothing."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        detail = f"the text is not UTF-8 (byte {error.start})"
        raise SampleRejectedError(Reason.BAD_RECORD, detail) from error
    if is_missing(text.decode()):
        raise SampleRejectedError(Reason.MISSING_REPORT, "the text says that nothing is given")


def _name_labels(values: Values, names: list[str] | None) -> dict[str, float]:
    if names is None:
        names = [f"label_{index}" for index in range(len(values))]
    if len(names) != len(values):
        detail = f"{len(values)} labels, but {len(names)} names of labels"
        raise SampleRejectedError(Reason.BAD_LABELS, detail)
    # What the shard stores: float32.
    return dict(zip(names, values.astype(np.float32).astype(float).tolist(), strict=True))
