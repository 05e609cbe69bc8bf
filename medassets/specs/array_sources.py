"""What a declaration says of volumes that lie in arrays: NPZ trees and existing WebDatasets."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from medassets.errors import SpecError
from medassets.specs.checks import check_choice, check_range
from medassets.specs.ct import CTSourceSpec

RAW = "none"
"""Value of `preprocessing` that keeps stored values as they are, as float16."""

FIELD_ROLES = ("volume", "labels", "text", "json")
"""What a member of a foreign sample can be; see `ArraySourceSpec.fields`."""

_TABLES = ("reports_file", "meta_file", "labels_file")
_SPLIT = "{split}"
_PATTERN_MARKS = "{*?["


@dataclass(frozen=True, kw_only=True)
class ArraySourceSpec(CTSourceSpec):
    """Sources whose volumes are arrays, and what may happen to them afterwards.

    Paths may hold `{split}`, and must where there are several splits. A table that is not there for
    `valid` is looked for under `validation`, as CT-RATE calls it.

    Attributes:
        volumes_dir: Source `npz`: folder of one split's tree inside `folder`; empty means `folder`.
        array_key: Source `npz`: name of the array in each file.
        reports_file: Source `npz`: CSV of reports by VolumeName; absolute, or inside `folder`.
        meta_file: Source `npz`: CSV of spacing and rescaling by VolumeName, likewise.
        labels_file: Source `npz`: CSV of labels by VolumeName, likewise.
        shards: Source `webdataset`: tars by pattern such as `train/shard-{000000..000314}.tar`, or a
            manifest that lists them; absolute, or inside `folder`.
        fields: Source `webdataset`: role (`volume`, `labels`, `text`, `json`) -> suffix of its member;
            what is left out is recognised, see `medassets inspect`.
        label_names: Source `webdataset`: names of the labels, in their order.
        max_rounding_error: `preprocessing: none`: a sample that float16 changes by more, in stored
            units, is rejected; None only records the error.
        ignored_members: Other arrays of an `.npz`, or suffixes of other members of a foreign sample, that
            no shard takes over and that may go with their file; a file with any other stays.
        delete_sources: Let `reclaimed_sources` delete files that are proven to be in a shard. Each
            run still needs the typed word.
    """

    SOURCES: ClassVar[tuple[str, ...]] = ("huggingface", "folder", "npz", "webdataset")

    array_key: str = "data"
    reports_file: str = ""
    meta_file: str = ""
    labels_file: str = ""
    shards: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    label_names: tuple[str, ...] = ()
    max_rounding_error: float | None = None
    ignored_members: tuple[str, ...] = ()
    delete_sources: bool = False

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot work; the message begins with the field."""
        super().__post_init__()
        for role, suffix in self.fields.items():
            check_choice("fields", role, FIELD_ROLES)
            if not isinstance(suffix, str) or not suffix or suffix != suffix.lower().strip("."):
                what = f"{role}: expected a suffix such as bin or nii.npy, got {suffix!r}"
                raise SpecError(field="fields", what=what)
        if self.max_rounding_error is not None:
            error = self.max_rounding_error
            if not isinstance(error, int | float) or isinstance(error, bool) or math.isnan(error):
                raise SpecError(
                    field="max_rounding_error", what=f"expected a number, got {error!r}"
                )
            check_range("max_rounding_error", error, 0, math.inf)
        if self.delete_sources and self.source == "huggingface":
            what = "only files of this machine can be deleted, not those of a hub"
            raise SpecError(field="delete_sources", what=what)

    @property
    def is_array_source(self) -> bool:
        """Whether volumes come as arrays, without headers of their own."""
        return self.source in ("npz", "webdataset")

    @property
    def source_folder(self) -> str:
        """Folder that holds the files of a local source."""
        if self.source != "webdataset" or self.folder:
            return self.folder
        head = self.shards
        for mark in _PATTERN_MARKS:
            head = head.partition(mark)[0]
        return head.rpartition("/")[0] or "/"

    def of_split(self, text: str, split: str) -> str:
        """Return a declared path with `{split}` replaced."""
        return text.replace(_SPLIT, split)

    def _check_volumes_dir(self) -> None:
        if self.source != "npz":
            super()._check_volumes_dir()
        elif self.volumes_dir:
            self._check_inside("volumes_dir", self.volumes_dir)

    def _check_source(self) -> None:
        super()._check_source()
        if self.source == "npz":
            self._check_npz()
        if self.source == "webdataset":
            if not self.shards:
                what = "source webdataset needs the pattern of its tars, or their manifest"
                raise SpecError(field="shards", what=what)
            self._check_place("shards", self.shards)
            self._check_splits(("shards",))

    def _check_npz(self) -> None:
        if not self.folder:
            raise SpecError(
                field="folder", what="source npz needs the path of the tree of .npz files"
            )
        if not self.array_key:
            raise SpecError(field="array_key", what="expected the name of an array, such as data")
        for name in _TABLES:
            if not getattr(self, name):
                raise SpecError(
                    field=name, what="source npz needs this CSV, with a column VolumeName"
                )
            self._check_place(name, getattr(self, name))
        self._check_splits(("volumes_dir", *_TABLES))

    def _check_place(self, name: str, path: str) -> None:
        if path.startswith(("/", "~")):
            return
        if not self.folder:
            what = f"expected an absolute path, or a folder to find it in, got {path!r}"
            raise SpecError(field=name, what=what)
        self._check_inside(name, path)

    def _check_splits(self, names: tuple[str, ...]) -> None:
        """Refuse that two splits share a place: each of its volumes would be in both."""
        for name in names:
            if len(self.splits) > 1 and _SPLIT not in getattr(self, name):
                what = (
                    f"several splits {list(self.splits)} need a path with '{{split}}' in "
                    f"it, got {getattr(self, name)!r}; or declare one split, such as [train]"
                )
                raise SpecError(field=name, what=what)
