"""Report and labels of a sample: from the catalog's tables, or from a foreign sample."""

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from medassets.errors import Reason, SampleRejectedError
from medassets.samples import SourceItem, StagedFile
from medassets.specs import SAMPLE_TEXTS
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
        labels: Label name -> value, in that order; every one finite, or None where it is unknown.
            The `cls` member has NaN there.
    """

    text: bytes
    cls: bytes
    labels: dict[str, float | None]


def read_row_texts(item: SourceItem, *, requires: Collection[str] = SAMPLE_TEXTS) -> SampleTexts:
    """Return report and labels of a catalog row.

    Args:
        item: The catalog row.
        requires: What a sample must have; see `CTSourceSpec.requires`.

    Raises:
        SampleRejectedError: MISSING_LABELS if labels are required and the row has none, or not one
            per name.
    """
    row = VolumeRow.of(item.row)
    names, values, text = row.label_names, row.labels, (row.report or "").encode()
    if "labels" not in requires:
        names = names or []
        values = values or [None] * len(names)
    elif values is not None and None in values:
        values = None
    if values is None or names is None or len(values) != len(names):
        raise SampleRejectedError(Reason.MISSING_LABELS, "the catalog row has no usable labels")
    return _store_labels(text, dict(zip(names, values, strict=True)))


def _store_labels(text: bytes, labels: dict[str, float | None]) -> SampleTexts:
    stored = [np.nan if value is None else value for value in labels.values()]
    known = {name: None if value is None else float(value) for name, value in labels.items()}
    return SampleTexts(text, np.array(stored, "<f4").tobytes(), known)


@rejecting_foreign()
def read_member_texts(
    item: SourceItem,
    staged: StagedFile,
    rules: LabelRules = NO_RULES,
    *,
    requires: Collection[str] = SAMPLE_TEXTS,
) -> SampleTexts:
    """Return report and labels of a sample of an existing WebDataset, the report byte for byte.

    Args:
        item: Catalog row of the sample.
        staged: Its tar.
        rules: What the declaration says of labels.
        requires: What a sample must have; see `CTSourceSpec.requires`. The catalog says of a sample
            without text or labels that it has no such member.

    Raises:
        SampleRejectedError: MISSING_REPORT or MISSING_LABELS if they were removed, or the report says
            that nothing is given; BAD_LABELS if the labels have another type than the dataset's, or
            contradict json or declaration; BAD_RECORD if text or json cannot be read; CORRUPT_TAR or
            UNREADABLE_SOURCE if the tar cannot be read.
    """
    row, members = VolumeRow.of(item.row), find_sample_members(item, staged.path)
    suffixes = row.members
    text = b""
    if "report" in requires or suffixes["text"] is not None:
        text = _read_member(staged.path, members, suffixes["text"], Reason.MISSING_REPORT)
        _check_text(text)
    if "labels" not in requires and suffixes["labels"] is None:
        return _store_labels(text, dict.fromkeys(row.label_names or ()))
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


def _name_labels(values: Values, names: list[str] | None) -> dict[str, float | None]:
    if names is None:
        names = [f"label_{index}" for index in range(len(values))]
    if len(names) != len(values):
        detail = f"{len(values)} labels, but {len(names)} names of labels"
        raise SampleRejectedError(Reason.BAD_LABELS, detail)
    # What the shard stores: float32.
    stored = values.astype(np.float32).astype(float).tolist()
    known = [None if np.isnan(value) else value for value in stored]
    return dict(zip(names, known, strict=True))
