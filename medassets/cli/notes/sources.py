"""Explains which rows of the source are excluded or unusable, and what to do."""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from medassets.cli.formatting import count_words
from medassets.datasets.kind import DatasetKind
from medassets.datasets.survey import Survey
from medassets.datasets.workspace import Workspace
from medassets.errors import CatalogError, Reason
from medassets.storage.arrow import kernels

_NUM_REASONS = 3
_NUM_SHOWN = 3
_MOST_READ = 10_000
# Details of one kind have the same first characters.
_SORT_LETTERS = 16
_AGAIN = "copy the file again from where it was made"
_REMEDIES = {
    Reason.MISSING_SOURCE: (
        "put the files into the folder, leave their rows out, or name videos in info.csv"
    ),
    Reason.AMBIGUOUS_SOURCE: "leave one file per study or video, or name the video in info.csv",
    Reason.OTHER_SPLIT: "declare the split in `splits`, or `split_by: hash`",
    Reason.HIDDEN_FILE: "rename files whose names begin with a dot, if they are volumes",
    Reason.NAME_EXCLUDED: "declare other patterns, `exclude: [...]`, if these are volumes",
    Reason.OTHER_DEPTH: "move the files to the depth of the others, or out of the folder",
    Reason.UNREADABLE_SOURCE: "make the file readable, or remove what is not a regular file",
    Reason.READER_FAILED: (
        f"{_AGAIN}; if it is whole, report the message: it names the function that failed"
    ),
    Reason.OUT_OF_MEMORY: "run again with fewer runs at a time, or fewer num_workers",
    Reason.LFS_POINTER: "run `git lfs pull` in the clone that holds the files",
    Reason.CORRUPT_TAR: (
        f"{_AGAIN}; where tars are whole and only their end mark is missing, declare "
        "`accept_unterminated: true`"
    ),
    Reason.CORRUPT_NPZ: _AGAIN,
    Reason.BAD_NAME: "rename the file",
    Reason.BAD_RECORD: "correct the record or the sample; of tars, `fields` may have to be declared",
    Reason.NO_VIDEO_STREAM: "download the file again",
    Reason.DECODE_FAILED: "download the file again",
    Reason.DECODER_TIMEOUT: "download the file again",
    Reason.MISSING_REPORT: "complete the table of reports, or the samples; or do not require reports, `requires: [labels]`",
    Reason.MISSING_LABELS: "complete the table of labels, or the samples; or do not require labels, `requires: [report]`",
    Reason.BAD_LABELS: "correct the labels or the json of the samples, or declare `labels`",
    Reason.MISSING_METADATA: "complete the table of metadata",
    Reason.SPACING_MISSING: "complete the table of metadata, or the samples",
    Reason.VALUES_IMPLAUSIBLE: "declare the range of the values, `clip` or `clip_percentiles`",
    Reason.CORRUPT_DICOM: _AGAIN,
    Reason.OTHER_MODALITY: "declare them, `modalities: [...]`, if they are wanted",
    Reason.DERIVED_IMAGE: "declare `accept_derived: true`, if reformatted series are wanted",
    Reason.LOCALIZER: "none: a localizer is no volume",
    **dict.fromkeys(
        (Reason.UNSUPPORTED_SYNTAX, Reason.UNSUPPORTED_PIXELS, Reason.ENHANCED_MULTIFRAME),
        "convert them to single uncompressed slices, or export them so",
    ),
    **dict.fromkeys(
        (
            *(Reason.MISSING_SLICE, Reason.UNEVEN_SLICES, Reason.DUPLICATE_SLICE),
            *(Reason.MIXED_SLICES, Reason.MIXED_ORIENTATION, Reason.POSITION_MISSING),
        ),
        "export the series again, whole and alone, from where it was made",
    ),
    Reason.GANTRY_TILT: "none: a tilted volume has no grid of right angles",
    **dict.fromkeys(
        (Reason.SEVERAL_ACQUISITIONS, Reason.FOUR_DIMENSIONAL),
        "export each acquisition as a series of its own",
    ),
    Reason.HU_RULE_MISSING: (
        "complete the table of metadata or the samples, or declare another hu_rule"
    ),
}


DEMO_REPOSITORY = "medassets/demo-ct"
"""Repository of the demo's data, which only `medassets demo` serves."""


def explain_demo(message: str) -> str:
    """Return how to serve the demo's data, where an error says that its Hub does not answer."""
    if DEMO_REPOSITORY not in message or "given up" not in message:
        return ""
    return "the demo's Hub is not running: `medassets demo demo_ct --serve` in another terminal serves it"


def list_reasons(excluded: Mapping[str, int]) -> str:
    """Return `4 samples (bad_position 1, empty_text 3)`."""
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(excluded.items()))
    return f"{count_words(sum(excluded.values()), 'sample')} ({reasons})"


def describe_survey(survey: Survey) -> list[str]:
    """Return axis codes and shares of HU of the volumes built so far, and what does not fit."""
    lines: list[str] = []
    if orientations := survey.facts.get("orientations"):
        counts = ", ".join(f"{code} {count:,}" for code, count in orientations.items())
        lines.append(f"orientation of the volumes: {counts}")
    if air := survey.facts.get("hu_shares", {}).get("air_share"):
        lines.append(
            f"air below -200 HU: {air['least']:.0%} to {air['largest']:.0%} of a volume, median "
            f"{air['median']:.0%}"
        )
    return [*lines, *survey.lines()]


def explain_empty(workspace: Workspace, table: pa.Table, *, num_held: int) -> str:
    """Return why there is nothing to build, and what to do.

    Args:
        workspace: The dataset.
        table: Its catalog, of which no row is planned; `excluded` and `detail` are read.
        num_held: Rows that a limit holds back.
    """
    name, uri = workspace.kind.spec.name, workspace.source.uri
    if not table.num_rows:
        source = workspace.kind.ct_source
        tree = None if source is None else describe_quietly(workspace.kind, table).get("tree")
        if source is not None and tree is not None:
            others = count_words(tree["num_others"], "other file")
            what = f"no {source.wanted_file}, {others}"
            return f"{name}: nothing to build: {what}; is that the right place?"
        return (
            f"{name}: nothing to build: the tables of {uri} hold no row; is that the right place?"
        )
    counts = kernels.value_counts(table["excluded"].drop_null()).to_pylist()
    counts.sort(key=lambda entry: (-entry["counts"], entry["values"]))
    lines = [f"{name}: nothing to build: {count_words(table.num_rows, 'row')}, and none is planned"]
    if num_held:
        lines.append(f"  {num_held:,} held: build without --limit, or without --split")
    for entry in counts[:_NUM_REASONS]:
        details = table["detail"].filter(kernels.equal(table["excluded"], entry["values"]))
        remedy = _REMEDIES.get(Reason(entry["values"]), "correct the tables of the source")
        lines.append(f"  {entry['counts']:,} {entry['values']}: {remedy}")
        lines.append(f"    such as: {_choose_example(details.slice(0, _MOST_READ).to_pylist())}")
    if more := len(counts) - _NUM_REASONS:
        lines += [f"  and {count_words(more, 'more reason')}"] if more > 0 else []
    return "\n".join(lines)


def _choose_example(details: Sequence[str]) -> str:
    """Return the first detail of the most frequent kind; one reason may have several kinds."""
    sorts = [detail.partition(": ")[2][:_SORT_LETTERS] for detail in details]
    return details[sorts.index(Counter(sorts).most_common(1)[0][0])]


def list_labels(described: Mapping[str, Any]) -> list[str]:
    """Return the names of labels with how often each has each value, a line each.

    Args:
        described: What a kind says of its catalog; empty for kinds without labels.
    """
    values: Mapping[str, str] = described.get("label_values", {})
    if not values:
        return []
    lines = [f"  {name}: {counts}" for name, counts in values.items()]
    return [f"labels: {len(values)}, with value x number of samples", *lines]


def describe_quietly(kind: DatasetKind, table: pa.Table) -> Mapping[str, Any]:
    """Return what a kind says of its catalog; nothing where the catalog is of an older version."""
    with suppress(CatalogError):
        return kind.describe_catalog(table)
    return {}


def find_table_problems(kind: DatasetKind, table: pa.Table) -> "TableProblems":
    """Return the rows of the source's tables that were skipped, and doubts about labels.

    Args:
        kind: The dataset.
        table: Its catalog; its metadata are enough.
    """
    described = describe_quietly(kind, table)
    videos = described.get("videos", {})
    return TableProblems(
        videos.get("num_info_problems", 0),
        videos.get("info_problems", ()),
        described.get("label_doubts", ()),
    )


@dataclass(frozen=True)
class TableProblems:
    """Rows of `info.csv` that cannot be used, and labels that may be none.

    Attributes:
        count: Number of rows.
        first: The first of them: row and reason.
        doubts: A sentence for each doubtful label.
    """

    count: int = 0
    first: Sequence[str] = ()
    doubts: Sequence[str] = ()

    def lines(self) -> list[str]:
        """Return the lines for the terminal; empty if all rows could be used."""
        return [*self._list_rows(), *(f"  labels: {doubt}" for doubt in self.doubts)]

    def _list_rows(self) -> list[str]:
        if not self.count:
            return []
        shown = [f"    {problem}" for problem in self.first[:_NUM_SHOWN]]
        more = self.count - len(shown)
        rows = count_words(self.count, "row")
        return [
            f"  info.csv: {rows} cannot be used",
            *shown,
            *(
                [f"    and {more:,} more (--json lists the first {len(self.first)})"]
                if more
                else []
            ),
        ]

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        rows = {"count": self.count, "first": list(self.first)}
        return {**rows, "label_doubts": list(self.doubts)} if self.doubts else rows
