"""Existing WebDatasets: volumes, reports and labels in the samples of tar files."""

import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from medassets.datasets.ct_sources.base import (
    CTSource,
    check_place,
    check_split_paths,
    require_fields,
    shorten_names,
)
from medassets.errors import Reason, SampleRejectedError, SpecError
from medassets.samples import SourceItem, StagedFile
from medassets.sources.base import Source
from medassets.sources.webdataset import WebDatasetSource
from medassets.tars.index import index_tar, split_sample_path
from medassets.tars.reader import Members
from medassets.volumes.catalog.columns import VolumeRow
from medassets.volumes.catalog.label_summary import read_label_rules
from medassets.volumes.catalog.webdataset_facts import read_stated_orientation
from medassets.volumes.catalog.webdataset_rows import read_webdataset_rows
from medassets.volumes.files.array_files import (
    open_npy_array,
    open_npz_array,
    open_raw_array,
)
from medassets.volumes.files.guarded import GuardedStream
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.reports_and_labels import (
    SampleTexts,
    find_sample_members,
    read_member_facts,
    read_member_texts,
)

_PATTERN_MARKS = "{*?["
_TEXT_ROLES = frozenset({"labels", "text"})


class WebDatasetTars(CTSource):
    """Samples of tar files on this machine, each with a volume and a json."""

    FIELDS = frozenset({"folder", "shards", "fields", "array_key", "accept_unterminated"})
    DELETION_FIELDS = frozenset({"ignored_members"})
    TEXT_FIELDS = frozenset({"label_names", "labels", "requires"})
    states_orientation = True

    @property
    def folder(self) -> Path:
        """The declared folder; without one, the folder in front of the pattern's first mark."""
        if self.spec.folder:
            return Path(self.spec.folder).expanduser()
        head = self.spec.shards
        for mark in _PATTERN_MARKS:
            head = head.partition(mark)[0]
        return Path(head.rpartition("/")[0] or "/").expanduser()

    def check(self) -> None:
        """Check the pattern of tars; several splits need patterns of their own."""
        what = "source webdataset needs the pattern of its tars, or their manifest"
        require_fields(self.spec, shards=what)
        check_place(self.spec, "shards")
        check_split_paths(self.spec, ("shards",))
        read_label_rules(self.spec)
        unused = sorted(_TEXT_ROLES & self.spec.fields.keys())
        if unused and not self.with_texts:
            what = f"{unused[0]} has no effect on windows, which have neither report nor labels"
            raise SpecError(field="fields", what=what)

    def open_files(self) -> WebDatasetSource:
        """Return the tree in which each sample has a path of its own."""
        return WebDatasetSource(self.folder, accept_unterminated=self.spec.accept_unterminated)

    def read_rows(
        self, files: Source, *, revision: str | None, previous: pa.Table | None = None
    ) -> pa.Table:
        """Return one row per sample; see `volumes.catalog.webdataset_rows`."""
        return read_webdataset_rows(
            self.spec,
            self.open_files(),
            previous,
            with_texts=self.with_texts,
            requires=self.requires,
        )

    def check_rows(self, rows: pa.Table, *, own: Path) -> None:
        """Reject tars in the folder where the dataset publishes its own shards."""
        files, own = self.open_files(), own.resolve()
        paths = rows["path"].drop_null().to_pylist()
        for tar in sorted({files.physical_path(path) for path in paths}):
            # `Path.resolve` raises for a link to itself.
            if Path(os.path.realpath(self.folder / tar)).is_relative_to(own):
                what = (
                    f"{self.folder / tar} is in the folder where {self.spec.name} publishes its "
                    f"own shards, {own}; give the dataset another name, or move the tars"
                )
                raise SpecError(field="shards", what=what)

    def has_file(self, path: str) -> bool:
        """Tell whether the tar of a sample is present."""
        files = self.open_files()
        return files.locate(files.physical_path(path)) is not None

    @contextmanager
    def open_volume(self, item: SourceItem, path: Path) -> Iterator[VolumeStream]:
        """Open the array of a sample, with the orientation that its json states.

        Raises:
            SampleRejectedError: BAD_RECORD if the json cannot be read or states no possible orientation;
                others as of `VolumeSource.open_volume`.
        """
        row, members = VolumeRow.of(item.row), find_sample_members(item, path)
        facts = read_member_facts(path, members, row.members["json"])
        try:
            codes, rival = read_stated_orientation(facts)
        except ValueError as error:
            detail = f".{row.members['json']}: {error}"
            raise SampleRejectedError(Reason.BAD_RECORD, detail) from error
        with self._open_array(row, members, path) as stream:
            stream.header = replace(stream.header, stated_codes=codes, rival_codes=rival)
            yield stream

    def _open_array(
        self, row: VolumeRow, members: Members, path: Path
    ) -> AbstractContextManager[GuardedStream]:
        """Open `.npz`, `.npy`, or plain bytes that the json describes."""
        suffix = row.members["volume"]
        if suffix is None or suffix not in members:
            raise SampleRejectedError(Reason.MISSING_SOURCE, f"the sample has no member .{suffix}")
        within = members[suffix]
        kind = suffix.rpartition(".")[2]
        if kind == "npz":
            return open_npz_array(path, self.spec.array_key, within=within)
        if kind == "npy":
            return open_npy_array(path, within=within)
        shape, dtype = row.shape or (), row.array_dtype or ""
        return open_raw_array(path, shape=shape, dtype=dtype, within=within)

    def read_texts(self, item: SourceItem, staged: StagedFile) -> SampleTexts:
        """Return report and labels as the sample contains them."""
        return read_member_texts(item, staged, read_label_rules(self.spec), requires=self.requires)

    def fingerprint_facts(self) -> dict[str, Any]:
        """Return which array of an `.npz` is the volume."""
        return {"array": [self.spec.source, self.spec.array_key]}

    def find_unused(
        self, place: Path, items: Sequence[SourceItem], *, ignored: Collection[str]
    ) -> str:
        """Return the samples of a tar, or else their members, that no sample stores.

        Files of a tar that are no member of a sample do not count: no reader of WebDatasets sees
        them.
        """
        taken = {
            split_sample_path(item.path)[1]: {*VolumeRow.of(item.row).members.values(), *ignored}
            for item in items
        }
        samples = index_tar(place, accept_unterminated=self.spec.accept_unterminated)
        if strangers := sorted(samples.keys() - taken.keys()):
            return f"the samples {shorten_names(strangers)}"
        members = {suffix for key, found in samples.items() for suffix in found.keys() - taken[key]}
        return f"members .{shorten_names(sorted(members))}" if members else ""
