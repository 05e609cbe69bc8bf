"""The catalog of existing WebDatasets: a row per sample of their tars, and what it lacks."""

import json
from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.specs import SAMPLE_TEXTS, CTSourceSpec
from medassets.storage.checksums import fingerprint
from medassets.storage.foreign_bytes import rejecting_foreign
from medassets.storage.formats.label_types import MOST_BYTES
from medassets.storage.formats.missing import LONGEST_MISSING_BYTES, is_missing
from medassets.storage.paths import check_member_path, show_path
from medassets.storage.unreadable import unreadable_as_rejection
from medassets.tars.index import TarStat, index_tar, stat_tar, tar_errors_as_rejections
from medassets.tars.reader import open_tar
from medassets.volumes.catalog.columns import LABEL_NAMES_KEY, WEBDATASET_ROW_SCHEMA, drop_texts
from medassets.volumes.catalog.ct_tables import Row
from medassets.volumes.catalog.label_summary import SUMMARY_KEY, read_label_rules
from medassets.volumes.catalog.sample_keys import exclude_repeats, make_sample_key
from medassets.volumes.catalog.webdataset_facts import read_columns, read_study_id, shorten
from medassets.volumes.catalog.webdataset_fields import (
    LABEL_SUFFIXES,
    TEXT_SUFFIXES,
    propose_fields,
)
from medassets.volumes.catalog.webdataset_labels import settle_labels, store_labels
from medassets.volumes.catalog.webdataset_members import TarSample, call_or_reject
from medassets.volumes.catalog.webdataset_tars import (
    TARS_KEY,
    KnownTars,
    NamedTar,
    TarFolder,
    describe_tars,
    find_tars,
)

# Of these rows; another number makes every tar be read again.
_VERSION = 3
# Small reads on a network disk only wait.
_NUM_READERS = 8


def read_webdataset_rows(
    spec: CTSourceSpec,
    source: TarFolder,
    previous: pa.Table | None = None,
    *,
    with_texts: bool = True,
    requires: Collection[str] = SAMPLE_TEXTS,
) -> pa.Table:
    """List the samples of the tars of all splits.

    The study is named by the json, never by the key in the tar. A sample that cannot become one of
    ours is kept, with its reason in `excluded` and a sentence in `detail`; so is a tar that cannot be
    read, or that a pattern names and is not there. The text of a report stays in its tar.

    Args:
        spec: Declaration: `shards`, `splits`, `fields`, `label_names`, `array_key`, `hu_rule`.
        source: The folder that holds the tars.
        previous: The last catalog. Tars that are as they were are not read again, and those whose
            samples it knows may be gone: sources are deleted when they are in a shard.
        with_texts: Read reports and labels. Without them, the result lacks `TEXT_COLUMNS`.
        requires: Which of both a sample must have.

    Returns:
        Table with the columns of `WEBDATASET_ROW_SCHEMA`. Of several samples of a study, in
        whichever splits, one keeps the key: that which had it before, else the first usable one.

    Raises:
        CatalogError: If a declaration names no tar, or one outside the source.
    """
    requires = frozenset(requires if with_texts else ())
    reading = _fingerprint_reading(spec, requires, with_texts=with_texts)
    schema = (
        WEBDATASET_ROW_SCHEMA
        if with_texts
        else drop_texts(WEBDATASET_ROW_SCHEMA.empty_table()).schema
    )
    known = KnownTars(previous, reading=reading, columns=schema.names)
    rows: list[Row] = []
    read: dict[str, tuple[TarStat, int]] = {}
    with ThreadPoolExecutor(_NUM_READERS, thread_name_prefix="medassets-tars") as pool:
        for split in spec.splits:
            reader = _Reader(spec, source, split, known, requires, with_texts=with_texts)
            tars = find_tars(spec, source, split, may_be_gone=known.has_split(split))
            for tar, (stat, found) in zip(tars, pool.map(reader.read_tar, tars), strict=True):
                rows.extend(found)
                if stat is not None:
                    read[tar.path] = stat, len(found)
    metadata = {TARS_KEY: describe_tars(read, reading=reading)}
    summary = settle_labels(rows, spec) if with_texts else None
    if summary is not None:
        names = json.dumps(summary.names, ensure_ascii=False).encode()
        metadata |= {SUMMARY_KEY: summary.encode(), LABEL_NAMES_KEY: names}
    exclude_repeats(rows, known.planned)
    return pa.Table.from_pylist(rows, schema=schema).replace_schema_metadata(metadata)


def _fingerprint_reading(spec: CTSourceSpec, requires: Collection[str], *, with_texts: bool) -> str:
    """Return the hash of everything but the tars that a row depends on."""
    names = ("fields", "label_names", "array_key", "needs_rescaling")
    facts = {"version": _VERSION, **{name: getattr(spec, name) for name in names}}
    if spec.labels:
        facts["labels"] = spec.labels
    if spec.accept_unterminated:
        facts["accept_unterminated"] = True
    if with_texts and len(requires) < len(SAMPLE_TEXTS):
        facts["requires"] = sorted(requires)
    return fingerprint(facts if with_texts else {**facts, "with_texts": False})


def _digest(text: str) -> str:
    return fingerprint(text)[:20]


class _Reader:
    """Reads the tars of one split; its methods may run in several threads."""

    def __init__(
        self,
        spec: CTSourceSpec,
        source: TarFolder,
        split: str,
        known: KnownTars,
        requires: Collection[str],
        *,
        with_texts: bool,
    ) -> None:
        self.with_texts = with_texts
        self.requires = requires
        self.spec = spec
        self.source = source
        self.split = split
        self.known = known
        self.rules = read_label_rules(spec)
        member = self.rules.member if with_texts else None
        self.fields = {**spec.fields, **({"labels": member} if member else {})}

    def read_tar(self, tar: NamedTar) -> tuple[TarStat | None, list[Row]]:
        """Return the rows of a tar, and its state if they are those of its samples."""
        try:
            place = self._locate(tar)
            if place is None:
                return None, []
            stat = stat_tar(place)
            known = self.known.read_rows(tar.path, self.split, stat)
            rows = known or self._read_samples(tar.path, place, stat)
            _check_manifest(tar, {"bytes": stat.num_bytes, "samples": len(rows)})
        except CatalogError as error:
            return None, [self._exclude_tar(tar, Reason.BAD_NAME, str(error))]
        except SampleRejectedError as error:
            return None, [self._exclude_tar(tar, error.reason, error.detail)]
        except FileNotFoundError:
            detail = "vanished while it was read"
            return None, [self._exclude_tar(tar, Reason.MISSING_SOURCE, detail)]
        return stat, rows

    def _locate(self, tar: NamedTar) -> Path | None:
        """Return where a tar is; None if it was deleted when its samples were in shards."""
        check_member_path(tar.path)
        with unreadable_as_rejection():
            place = self.source.locate(tar.path)
        if place is None and not self.known.has_samples(tar.path):
            detail = "does not exist, is not a regular file, or is a link out of the source"
            raise SampleRejectedError(Reason.MISSING_SOURCE, detail)
        return place

    def _exclude_tar(self, tar: NamedTar, reason: Reason, detail: str) -> Row:
        path = show_path(tar.path)
        return {
            "key": f"{self.split}-tar-{_digest(path)}",
            "split": self.split,
            "path": path,
            "excluded": str(reason),
            "detail": f"{path}: {detail}",
        }

    def _read_samples(self, tar: str, place: Path, stat: TarStat) -> list[Row]:
        accepted = self.spec.accept_unterminated
        samples = index_tar(place, accept_unterminated=accepted)
        with tar_errors_as_rejections(place), open_tar(place) as opened:
            found = {key: TarSample(opened, members) for key, members in samples.items()}
            rows = [self._read_sample(tar, key, sample) for key, sample in found.items()]
        return [{**row, "mtime_ns": stat.mtime_ns} for row in rows]

    def _read_sample(self, tar: str, key: str, sample: TarSample) -> Row:
        path = f"{tar}/{key}"
        num_bytes = sum(member.size_bytes for member in sample.members.values())
        row: Row = {"split": self.split, "path": path, "num_bytes": num_bytes}
        row["key"] = f"{self.split}-sample-{_digest(path)}"
        try:
            check_member_path(path)
            with rejecting_foreign():
                self._fill_row(row, sample)
        except CatalogError:
            detail = f"{tar}: {shorten(key)} is not the name of a sample"
            row |= {"path": tar, "excluded": str(Reason.BAD_NAME), "detail": detail}
        except SampleRejectedError as error:
            row |= {"excluded": str(error.reason), "detail": f"{tar}: {key}: {error.detail}"}
        return row

    def _fill_row(self, row: Row, sample: TarSample) -> None:
        """Add what is known about a sample; facts found before a rejection are kept."""
        facts = sample.read_facts(self.spec.fields.get("json", "json"))
        study_id = call_or_reject(Reason.BAD_NAME, lambda: read_study_id(facts))
        row |= {"key": make_sample_key(study_id), "study_id": study_id}
        row |= read_columns(facts, study_id)
        if self.rules.columns:
            row["label_names"] = list(self.rules.columns)
        unused = () if self.with_texts else (*LABEL_SUFFIXES, *TEXT_SUFFIXES)
        suffixes = [suffix for suffix in sample.members if suffix not in unused]
        fields = call_or_reject(
            Reason.BAD_RECORD, lambda: propose_fields(suffixes, facts, self.fields)
        )
        row |= {f"{role}_member": suffix for role, suffix in asdict(fields).items()}
        row |= sample.read_array_columns(fields.volume, facts, self.spec.array_key)
        if len(row.get("shape") or ()) == 3:
            row["num_slices"] = row["shape"][2]
        if self.with_texts:
            self._fill_texts(row, sample, facts)
        _check_columns(row, self.spec)

    def _fill_texts(self, row: Row, sample: TarSample, facts: Row) -> None:
        """Check the report, and add what is stored of the labels; forget members that say nothing."""
        try:
            _check_report(row["text_member"], sample)
        except SampleRejectedError as error:
            if error.reason is not Reason.MISSING_REPORT or "report" in self.requires:
                raise
            row["text_member"] = None
        labels = row["labels_member"]
        try:
            sample.require(labels, Reason.MISSING_LABELS, "labels (cls or labels)")
        except SampleRejectedError:
            if "labels" in self.requires:
                raise
            row["labels_member"] = None
            return
        content = sample.read_small(labels, most_bytes=MOST_BYTES)
        if content is None:
            detail = f".{labels} has more than {MOST_BYTES:,} bytes; expected labels"
            raise SampleRejectedError(Reason.BAD_LABELS, detail)
        row["stored_labels"] = store_labels(content, facts, row)


def _check_report(text: str | None, sample: TarSample) -> None:
    """Reject a sample whose text is missing, or says that nothing is given."""
    sample.require(text, Reason.MISSING_REPORT, "text (txt)")
    report = sample.read_small(text or "", most_bytes=LONGEST_MISSING_BYTES)
    if report is not None and is_missing(report.decode(errors="replace")):
        detail = f".{text} says that nothing is given ({shorten(report.decode('latin-1'))})"
        raise SampleRejectedError(Reason.MISSING_REPORT, detail)


def _check_manifest(tar: NamedTar, found: Mapping[str, int]) -> None:
    for what, said in (("bytes", tar.num_bytes), ("samples", tar.num_samples)):
        if said is not None and said != found[what]:
            detail = f"the tar has {found[what]:,} {what}, its manifest says {said:,}"
            raise SampleRejectedError(Reason.CORRUPT_TAR, detail)


def _check_columns(row: Row, spec: CTSourceSpec) -> None:
    """Reject a sample whose json lacks spacing or rescaling."""
    if any(step is None or step <= 0 for step in (row[f"spacing_{axis}"] for axis in "ijk")):
        detail = "the json gives no usable XYSpacing and ZSpacing, nor spacing_mm"
        raise SampleRejectedError(Reason.SPACING_MISSING, detail)
    if not spec.needs_rescaling:
        return
    remedy = "complete it, or declare `hu_rule: none` if values are HU already"
    if not row["rescale_slope"]:
        detail = f"the json gives no RescaleSlope, or zero; {remedy}"
        raise SampleRejectedError(Reason.HU_RULE_MISSING, detail)
    if row["rescale_intercept"] is None:
        detail = f"the json gives no RescaleIntercept; {remedy}"
        raise SampleRejectedError(Reason.HU_RULE_MISSING, detail)
