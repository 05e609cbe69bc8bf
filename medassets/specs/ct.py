"""Declarations of CT sources: where volumes are, and how their stored values become HU."""

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from medassets.errors import SpecError
from medassets.specs.checks import check_choice, check_range
from medassets.specs.dataset import DatasetSpec

HuRule = Literal["none", "table", "header"]
Layout = Literal["ct_rate", "tree"]
SplitBy = Literal["auto", "folder", "column", "hash"]
PatientFrom = Literal["auto", "folder", "file"]
JoinBy = Literal[
    "auto",
    "path",
    "name",
    "stem",
    "case",
    "folder",
    "series_uid",
    "study_uid",
    "accession_number",
    "key",
]

MASK_NAMES = ("labels*", "segmentations", "*seg*", "*mask*")
"""Names of folders and files of masks, which are NIfTI files as volumes are."""

FIELD_ROLES = ("volume", "labels", "text", "json")
"""Roles of the members of a sample in an existing WebDataset; see `CTSourceSpec.fields`."""

CHEST_AIR_SHARE = (0.1, 0.95)
"""Least and largest share of voxels below -200 HU of a chest.

Source: 0.38 to 0.68 in real chests, with room for small fields of view; under 0.01 where HU were never
applied, 1 where they were applied twice.
"""

SAMPLE_TEXTS = ("report", "labels")
"""What a sample of volumes may hold beside its volume; see `CTSourceSpec.requires`."""

_SPLIT = "{split}"
_AXES = ("RL", "AP", "SI")


@dataclass(frozen=True, kw_only=True)
class CTSourceSpec(DatasetSpec):
    """A source of CT volumes: where they are, how they become HU, and which are accepted.

    Each source kind uses some of these fields and checks them; see `medassets.datasets.ct_sources`.
    Paths may contain `{split}`, and must where there are several splits. A table that does not exist
    for `valid` is looked up under `validation`, the name that CT-RATE uses.

    Attributes:
        layout: How the folders, names and tables of a source of NIfTI files are arranged: `ct_rate`
            is that of ibrahimhamamci/CT-RATE, with its tables; `tree` is any folders of NIfTI,
            MetaImage and NRRD files, with one table or none.
        table: Layout `tree` and source `dicom`: a CSV, TSV, Parquet or XLSX file with a row per volume or folder; absolute,
            or inside the source.
        columns: Layout `tree` and source `dicom`: what the columns of `table` hold: `file` (a path, a name, or a folder;
            for DICOM also a UID or accession number), `patient`, `report` (a list), `labels` (a list), `split`, `metadata` (a list that the json of
            a sample keeps), and `sheet` of a spreadsheet.
        join_by: Layout `tree` and source `dicom`: what the column `file` holds: `path` or `folder`; of a tree also `name`,
            `stem` (name without ending) or `case` (stem without a channel such as `_0000`); of DICOM also
            `series_uid`, `study_uid`, `accession_number` or `key` (of the sample). `auto` takes what finds the most
            files.
        exclude: Layout `tree`: shell patterns of folders and names that are left out, in any case.
        split_by: Layout `tree` and source `dicom`: `folder` (names such as `train`, `imagesTs`, `validation`), `column`, or
            `hash` (seeded, of the patient, which is PatientID for DICOM); `auto` takes the column where one is declared, else the
            folders where they name splits, else the hash.
        split_shares: Layout `tree` and source `dicom`: share of each split of `hash`; left out, the first gets 0.8 and the
            others the rest.
        seed: Layout `tree` and source `dicom`: seed of `hash`.
        patient_from: Layout `tree`: without a column of patients, the first `folder` that is not that
            of a split is a patient, or each `file` is one; `auto` asks where all files share one folder.
        accept_leaks: Layout `tree` and source `dicom`: accept patients that are in several splits.
        modalities: Source `dicom`: accepted modalities; series of others are left out.
        accept_derived: Source `dicom`: accept images whose ImageType says DERIVED.
        tags: Source `dicom`: keywords of elements, such as `KVP` or `PatientSex`, that the json of a sample
            keeps as its first slice states them; all others stay out of whatever is written.
        volumes_dir: Folder of one split's volumes inside the source; `{split}` is replaced. Empty
            means `dataset/{split}_fixed`, and for source `npz` the source's `folder`. Layout `tree` and source `dicom`: the
            folder below which files are looked for; empty means all.
        array_key: Name of the array in each `.npz` file.
        reports_file: Source `npz`: CSV of reports by VolumeName; absolute, or inside `folder`.
        meta_file: Source `npz`: CSV of spacing and rescaling by VolumeName; absolute, or inside
            `folder`.
        labels_file: Source `npz`: CSV of labels by VolumeName; absolute, or inside `folder`.
        shards: Source `webdataset`: pattern of the tars such as `train/shard-{000000..000314}.tar`,
            or a manifest that lists them; absolute, or inside `folder`.
        fields: Source `webdataset`: role (`volume`, `labels`, `text`, `json`) -> suffix of its member;
            roles that are left out are detected, see `medassets inspect`.
        accept_unterminated: Source `webdataset`: read tars that end behind a whole member without the
            end mark of a closed tar. Declare it only if no sample is missing: what was cut off with
            its header leaves no trace.
        label_names: Source `webdataset`: names of the labels, in their order; the same as `columns`
            of `labels`.
        labels: What the labels are: `columns` (their names in order; of a table, the columns to
            read), `values` (all that a label may be, such as `[0, 1]`), and for source `webdataset`
            `member` (suffix) and `dtype` (`float32`, `int16`, `>int32` for big-endian, ...; `text`,
            `json` or `npy`). What is left out must be certain, or is asked for.
        requires: What a volume must have to become a sample, of `report` and `labels`; a volume
            without it is excluded. `[]` takes volumes without either: their report is empty, and
            labels that are unknown are NaN. Left out, both are required.
        hu_rule: How stored values become HU: `none` (they are HU), `table` (RescaleSlope and
            RescaleIntercept of the metadata), `header` (scl_slope and scl_inter of NIfTI). Empty
            means `none` for NIfTI, and `header` for the layout `tree` and the source `dicom`. Arrays have no header that could contradict, so they need a
            rule, except with `preprocessing: none`.
        min_slices: Volumes with fewer slices along any axis are rejected.
        min_plausible_share: Smallest share of voxels in [-200, 300] HU of an accepted chest CT.
        max_plausible_share: Largest such share.
        expected_air_share: Least and largest share of voxels below -200 HU of an accepted volume,
            where the body part is not the chest that `[0.1, 0.95]` describes; `[0, 1]` accepts any.
        expected_orientation: Directions in which the stored axes must grow, such as `LPS`; a volume
            that differs, or states none, is rejected. Empty accepts any, but one dataset must not
            mix several.
    """

    layout: Layout = "ct_rate"
    table: str = ""
    columns: dict[str, Any] = field(default_factory=dict)
    join_by: JoinBy = "auto"
    exclude: tuple[str, ...] = MASK_NAMES
    split_by: SplitBy = "auto"
    split_shares: tuple[float, ...] = ()
    seed: int = 0
    patient_from: PatientFrom = "auto"
    accept_leaks: bool = False
    modalities: tuple[str, ...] = ("CT",)
    accept_derived: bool = False
    tags: tuple[str, ...] = ()
    volumes_dir: str = ""
    array_key: str = "data"
    reports_file: str = ""
    meta_file: str = ""
    labels_file: str = ""
    shards: str = ""
    fields: dict[str, str] = field(default_factory=dict)
    accept_unterminated: bool = False
    label_names: tuple[str, ...] = ()
    labels: dict[str, Any] = field(default_factory=dict)
    requires: tuple[str, ...] | None = None
    hu_rule: HuRule | None = None
    min_slices: int = 2
    min_plausible_share: float = 0.05
    max_plausible_share: float = 0.98
    expected_air_share: tuple[float, ...] = ()
    expected_orientation: str = ""

    def __post_init__(self) -> None:
        """Reject values that no source and no processing can use."""
        super().__post_init__()
        check_choice("layout", self.layout, get_args(Layout))
        check_choice("join_by", self.join_by, get_args(JoinBy))
        check_choice("split_by", self.split_by, get_args(SplitBy))
        check_choice("patient_from", self.patient_from, get_args(PatientFrom))
        check_range("seed", self.seed, -(2**63), 2**63 - 1)
        check_choice("hu_rule", self.effective_hu_rule, get_args(HuRule))
        check_range("min_slices", self.min_slices, 1, 4096)
        check_range("min_plausible_share", self.min_plausible_share, 0, 1)
        check_range("max_plausible_share", self.max_plausible_share, self.min_plausible_share, 1)
        self._check_air_share()
        if self.expected_orientation and not is_orientation(self.expected_orientation):
            what = f"expected three axis codes such as LPS, got {self.expected_orientation!r}"
            raise SpecError(field="expected_orientation", what=what)
        for name in self.requires or ():
            check_choice("requires", name, SAMPLE_TEXTS)
        for role, suffix in self.fields.items():
            check_choice("fields", role, FIELD_ROLES)
            if not isinstance(suffix, str) or not suffix or suffix != suffix.lower().strip("."):
                what = f"{role}: expected a suffix such as bin or nii.npy, got {suffix!r}"
                raise SpecError(field="fields", what=what)

    def _check_air_share(self) -> None:
        share = self.expected_air_share
        numbers = all(isinstance(n, int | float) and not isinstance(n, bool) for n in share)
        if share and not (len(share) == 2 and numbers and 0 <= share[0] <= share[1] <= 1):
            what = f"expected [least, largest] in 0..1, such as [0.1, 0.95], got {list(share)}"
            raise SpecError(field="expected_air_share", what=what)

    @property
    def air_share(self) -> tuple[float, float]:
        """Least and largest share of voxels below -200 HU of an accepted volume."""
        if not self.expected_air_share:
            return CHEST_AIR_SHARE
        least, largest = self.expected_air_share
        return least, largest

    @property
    def is_hu(self) -> bool:
        """Whether stored values become HU; see `VolumeDatasetSpec.intensity`."""
        return True

    @property
    def effective_hu_rule(self) -> HuRule:
        """The rule in use."""
        return self.stated_hu_rule or "none"

    @property
    def stated_hu_rule(self) -> HuRule | None:
        """The rule that declaration, layout or source states; None where nothing does."""
        has_headers = self.layout == "tree" or self.source == "dicom"
        return "header" if self.hu_rule is None and has_headers else self.hu_rule

    @property
    def needs_rescaling(self) -> bool:
        """Whether a volume without RescaleSlope and RescaleIntercept is unusable."""
        return self.effective_hu_rule == "table"

    def of_split(self, text: str, split: str) -> str:
        """Return a declared path with `{split}` replaced."""
        return text.replace(_SPLIT, split)


def is_orientation(codes: str) -> bool:
    """Tell whether a text names one direction of each of the three axes of the body."""
    axes = [next((axis for axis in _AXES if code in axis), None) for code in codes]
    return len(codes) == 3 and set(axes) == set(_AXES)
