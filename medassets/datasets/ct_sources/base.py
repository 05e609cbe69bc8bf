"""What a kind of CT source must be able to do, and what most of them share."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import pyarrow as pa

from medassets.errors import SpecError
from medassets.samples import EncodedSample, SourceItem, StagedFile
from medassets.sources.base import Source
from medassets.sources.folder import FolderSource
from medassets.specs import SAMPLE_TEXTS, CTSourceSpec, CTWindowDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.storage.unreadable import is_gone
from medassets.volumes.catalog.columns import VolumeRow
from medassets.volumes.catalog.label_summary import read_label_rules, read_summary
from medassets.volumes.catalog.text_counts import read_text_counts
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.grid.geometry import Spacing
from medassets.volumes.reports_and_labels import SampleTexts, read_row_texts

if TYPE_CHECKING:
    from medassets.datasets.ct_sources.dicom_files import DicomFiles

_MOST_NAMES = 3

EncodeWindows = Callable[[SourceItem, StagedFile, str], EncodedSample]
"""Makes the windows of one item; the last argument is the fingerprint that the sample stores."""


@dataclass(frozen=True)
class CTSource(ABC):
    """One declared source of CT volumes or masks.

    A subclass in a file of its own and a line in `registry.CT_SOURCES` make a source kind. Making an
    object touches neither disk nor network.

    Attributes:
        spec: The declaration.
        with_texts: Whether samples need a report and labels.
    """

    FIELDS: ClassVar[frozenset[str]] = frozenset()
    """Fields of the declaration that this kind reads, beside those of every dataset."""

    TEXT_FIELDS: ClassVar[frozenset[str]] = frozenset()
    """Further fields that it reads only for reports and labels."""

    DELETION_FIELDS: ClassVar[frozenset[str]] = frozenset()
    """Further fields that have an effect only where sources may be deleted."""

    PATHS_COLUMN: ClassVar[str] = "path"
    """Column of the catalog with the path of each item's file, or a list of several paths."""

    stores_masks: ClassVar[bool] = False
    """Whether items are masks that exist already, and not volumes of stored values."""

    has_headers: ClassVar[bool] = False
    """Whether files state spacing, orientation and HU scaling of their own."""

    states_orientation: ClassVar[bool] = False
    """Whether files, or records beside them, may state how a volume is oriented."""

    is_local: ClassVar[bool] = True
    """Whether files are read where they are, on this machine."""

    is_only_copy: ClassVar[bool] = True
    """Whether a shard may be the only copy of a sample, because users delete source files."""

    wanted_file: ClassVar[str] = "file"
    """What messages call one of the files that this kind looks for."""

    is_compressed: ClassVar[bool] = False
    """Whether files are fetched and inflated, which a plan estimates."""

    spec: CTSourceSpec
    with_texts: bool = True

    @property
    def used_fields(self) -> frozenset[str]:
        """Names of the fields of the declaration that have an effect on this source."""
        return self.FIELDS | (self.TEXT_FIELDS if self.with_texts else frozenset())

    @property
    def requires(self) -> frozenset[str]:
        """What a volume must have to become a sample, of `report` and `labels`."""
        declared = self.spec.requires
        return frozenset(SAMPLE_TEXTS if declared is None else declared)

    @property
    def folder(self) -> Path:
        """Top of the tree of a local source."""
        return Path(self.spec.folder).expanduser()

    @abstractmethod
    def check(self) -> None:
        """Check the fields that this kind reads; nothing is opened.

        Raises:
            SpecError: Naming the first wrong field.
        """

    def open_files(self) -> Source:
        """Return the tree of files that items name with their paths."""
        return FolderSource(self.folder)

    @property
    def series(self) -> "DicomFiles | None":
        """The series of a source whose volumes have many files each; None where a path names one file."""
        return None

    def first_table(self) -> str | None:
        """Return the path of a table that every refresh reads; None if there is none."""
        return None

    def first_file(self, files: Source, *, revision: str) -> str | None:
        """Return the path of a file that a build reads, to ask whether it can be; None if none is known.

        Args:
            files: What `open_files` returned.
            revision: Revision to look at.

        Raises:
            SourceAccessError: If the source refuses access.
            SourceUnavailableError: If the source does not respond.
        """
        return self.first_table()

    @abstractmethod
    def read_rows(
        self, files: Source, *, revision: str | None, previous: pa.Table | None = None
    ) -> pa.Table:
        """Return one catalog row per item of all splits, excluded ones included.

        Args:
            files: What `open_files` returned.
            revision: Pinned revision to read at; None where the source has none.
            previous: The last catalog; what it says of unchanged files is not read again.

        Raises:
            CatalogError: If a table or list is missing or malformed.
        """

    def check_rows(self, rows: pa.Table, *, own: Path) -> None:
        """Check rows before they are planned.

        Args:
            rows: What `read_rows` returned.
            own: Folder of the dataset's shards.

        Raises:
            SpecError: If the source is the dataset's own output, or the rows ask for a field that the
                declaration leaves out.
        """
        return

    def has_file(self, path: str) -> bool:
        """Tell whether the file of an item is present in a local source."""
        return FolderSource(self.folder).locate(path) is not None

    def is_gone(self, path: str) -> bool:
        """Tell whether a local source no longer has the file of an item; one that is unreadable is not gone."""
        return is_gone(self.folder / self.open_files().physical_path(path))

    def list_paths(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the paths of all files of an item, the one in `path` first."""
        paths = row.get(self.PATHS_COLUMN)
        if paths is None or isinstance(paths, str):
            return (row["path"],)
        return tuple(paths)

    def open_volume(self, item: SourceItem, path: Path) -> AbstractContextManager[VolumeStream]:
        """Open the volume of an item; see `medassets.volumes.source.VolumeSource`."""
        msg = f"{item.key}: {type(self).__name__} has no volumes"
        raise NotImplementedError(msg)

    def read_spacing(self, item: SourceItem) -> Spacing | None:
        """Return the steps that the catalog states; see `medassets.volumes.source.VolumeSource`."""
        return VolumeRow.of(item.row).require_spacing()

    def read_texts(self, item: SourceItem, staged: StagedFile) -> SampleTexts:
        """Return report and labels of an item; see `medassets.volumes.source.VolumeSource`."""
        return read_row_texts(item, requires=self.requires)

    def judge_windows(self, item: SourceItem, paths: Sequence[Path]) -> None:
        """Look at the header of a volume before it is read whole.

        Raises:
            SampleRejectedError: If no windows can be made of it.
        """
        from medassets.volumes.windows.masks import choose_resolution

        with self.open_volume(item, paths[0]) as stream:
            choose_resolution(stream.header.shape)

    def window_encoder(self, spec: CTWindowDatasetSpec, buffers: BufferPool) -> EncodeWindows:
        """Return the function that makes the windows of one item; numba is imported here.

        Args:
            spec: Declaration of the dataset.
            buffers: Where masks and scratch arrays come from.
        """
        from medassets.volumes.windows.samples import encode_window_sample

        def encode(item: SourceItem, staged: StagedFile, fingerprint: str) -> EncodedSample:
            return encode_window_sample(
                item, staged, spec=spec, source=self, fingerprint=fingerprint, buffers=buffers
            )

        return encode

    def fingerprint_facts(self) -> dict[str, Any]:
        """Return what of the source, beside files and rows, changes the bytes of a sample."""
        return {}

    def describe_catalog(self, table: pa.Table) -> Mapping[str, Any]:
        """Return what users should know of a catalog beyond its counts; may be empty."""
        summary, texts = read_summary(table), read_text_counts(table)
        labels = {} if summary is None else summary.describe()
        return {**({"texts": texts} if texts else {}), **labels}

    def find_unused(
        self, place: Path, items: Sequence[SourceItem], *, ignored: Collection[str]
    ) -> str:
        """Return what a file contains that no sample of the dataset stores; empty if nothing.

        A file with such content is not deleted.

        Args:
            place: The file.
            items: The samples that are made of it.
            ignored: Names of content that may be lost; the declaration's `ignored_members`.

        Raises:
            OSError: If the file cannot be read.
            ValueError: If its content is damaged.
        """
        return ""


def require_fields(spec: CTSourceSpec, **reasons: str) -> None:
    """Require fields of a declaration.

    Args:
        spec: The declaration.
        reasons: Field -> what the source kind needs it for.

    Raises:
        SpecError: If one is empty.
    """
    for field, reason in reasons.items():
        if not getattr(spec, field):
            raise SpecError(field=field, what=reason)


def check_inside(field: str, path: str) -> None:
    """Reject a relative path that could leave the source.

    Raises:
        SpecError: Naming the field.
    """
    if any(part in ("", ".", "..") for part in path.rstrip("/").split("/")):
        raise SpecError(field=field, what=f"expected a path inside the source, got {path!r}")


def check_place(spec: CTSourceSpec, field: str) -> None:
    """Reject a path that is neither absolute nor inside the declared folder.

    Raises:
        SpecError: Naming the field.
    """
    path = getattr(spec, field)
    if path.startswith(("/", "~")):
        return
    if not spec.folder:
        what = f"expected an absolute path, or a folder to find it in, got {path!r}"
        raise SpecError(field=field, what=what)
    check_inside(field, path)


def check_split_paths(spec: CTSourceSpec, fields: Collection[str]) -> None:
    """Reject paths that two splits share: each volume would be in both.

    Raises:
        SpecError: Naming the first such field.
    """
    for field in fields:
        if len(spec.splits) > 1 and "{split}" not in getattr(spec, field):
            what = (
                f"several splits {list(spec.splits)} need a path with '{{split}}' in it, got "
                f"{getattr(spec, field)!r}; or declare one split, such as [train]"
            )
            raise SpecError(field=field, what=what)


def check_shares(shares: Sequence[float], splits: Sequence[str]) -> None:
    """Check the declared shares of splits; none are the usual ones.

    Raises:
        SpecError: If they are no share per split.
    """
    numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in shares)
    if shares and not (numbers and len(shares) == len(splits) and min(shares) >= 0 < sum(shares)):
        what = f"expected a share per split of {list(splits)}, got {list(shares)}"
        raise SpecError(field="split_shares", what=what)


def check_table_labels(spec: CTSourceSpec) -> None:
    """Check what a declaration says of labels in a table.

    Raises:
        SpecError: If it cannot be used, or is about members of a WebDataset.
    """
    read_label_rules(spec)
    for name in ("member", "dtype"):
        if name in spec.labels:
            what = f"{name}: only samples of source webdataset have it; a table has columns"
            raise SpecError(field="labels", what=what)


def shorten_names(names: Sequence[str]) -> str:
    """Return the first names of a list, and how many more there are."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more
