"""Frozen declarations of datasets; each checks itself when it is made."""

import re
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Literal, get_args

from medassets.errors import SpecError

Orientation = Literal["as_stored", "LPS", "RAS"]
HuRule = Literal["none", "table", "header"]
VolumeLayout = Literal["ct_rate"]
Automation = Literal["off", "drain"]

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SPLIT = re.compile(r"[a-z0-9]+")
_RUNS = re.compile(r"per-shard|single|batch: ?[1-9][0-9]*")


def _check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        msg = f"{field}: expected one of {', '.join(choices)}, got {value!r}"
        raise SpecError(msg)


def _check_types(spec: Any) -> None:
    # Dagster resolves YAML for dataclasses without checking the types of plain values.
    for field in fields(spec):
        value = getattr(spec, field.name)
        plain = {int: int, float: (int, float), str: str, bool: bool}.get(field.type)  # pyright: ignore[reportArgumentType]
        if plain is None:
            continue
        if not isinstance(value, plain) or (field.type is not bool and isinstance(value, bool)):
            words = getattr(field.type, "__name__", str(field.type))
            msg = f"{field.name}: expected {words}, got {value!r}"
            raise SpecError(msg)


def _check_pattern(field: str, value: str, pattern: re.Pattern[str], words: str) -> None:
    if not pattern.fullmatch(value):
        msg = f"{field}: expected {words}, got {value!r}"
        raise SpecError(msg)


def _check_range(field: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        msg = f"{field}: expected a number in {low}..{high}, got {value}"
        raise SpecError(msg)


@dataclass(frozen=True)
class CTPreprocessing:
    """How a stored CT volume becomes a sample: data, not code.

    Attributes:
        spacing_mm: Output step along array axis 0, 1, 2, in mm.
        clip_hu: (low, high) in HU; applied before interpolation.
        scale: HU are divided by this after interpolation.
        shape: Output shape (i, j, k) after centre crop and pad.
        pad_value: Value of padded voxels, after scaling.
        dtype: Stored dtype of the output; the very last step.
        orientation: Axis order of the output; arrays and affine are turned together.
        layout: Order of the output axes in memory, C order of the named axes.
    """

    spacing_mm: tuple[float, float, float]
    clip_hu: tuple[float, float]
    scale: float
    shape: tuple[int, int, int]
    pad_value: float
    dtype: Literal["float16"] = "float16"
    orientation: Orientation = "as_stored"
    layout: Literal["ijk"] = "ijk"

    def __post_init__(self) -> None:
        """Refuse a preset that no volume could satisfy."""
        if len(self.spacing_mm) != 3 or not all(0 < s < 1000 for s in self.spacing_mm):
            msg = f"target_spacing_mm: expected three steps in mm above 0, got {self.spacing_mm}"
            raise SpecError(msg)
        if len(self.shape) != 3 or not all(0 < n <= 4096 for n in self.shape):
            msg = f"target_shape: expected three sides in 1..4096, got {self.shape}"
            raise SpecError(msg)
        if not self.clip_hu[0] < self.clip_hu[1]:
            msg = f"clip_hu: expected low < high, got {self.clip_hu}"
            raise SpecError(msg)
        if not self.scale > 0:
            msg = f"scale: expected a number above 0, got {self.scale}"
            raise SpecError(msg)
        _check_choice("dtype", self.dtype, ("float16",))
        _check_choice("orientation", self.orientation, get_args(Orientation))
        _check_choice("layout", self.layout, ("ijk",))


PRESETS: dict[str, CTPreprocessing] = {
    # CT-CLIP, the model published with CT-RATE, is trained on exactly this grid.
    "ct_clip": CTPreprocessing(
        spacing_mm=(0.75, 0.75, 1.5),
        clip_hu=(-1000.0, 1000.0),
        scale=1000.0,
        shape=(480, 480, 240),
        pad_value=-1.0,
    ),
}


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """What every declared dataset says, whatever it holds.

    Attributes:
        name: Dataset name; first part of every asset key and folder name.
        source: Where raw bytes come from; one of the kind's `SOURCES`.
        repo_id: `<org>/<name>` of the Hugging Face dataset (source `huggingface`).
        revision: Branch, tag or commit; resolved to a commit sha when the plan is made.
        endpoint: Base URL of the Hub; empty means the client's own default.
        use_token: Send the user's Hugging Face token to the endpoint; False for a hub that needs
            none and is not to see it.
        folder: Absolute path of the source tree (source `folder`); `~` is the home folder.
        splits: Splits, named as the source names them.
        samples_per_shard: Samples in a full shard.
        max_rejected_share: A shard with a larger share of rejected samples fails.
        runs: One run per shard, `batch: N` shards per run, or one `single` run for a range.
        keep_raw: Keep staged source files after their shard is verified.
        staging_budget_gb: Bytes (in 10**9) that staged files of this dataset may occupy.
        num_workers: Threads that preprocess samples; 0 means one per core.
        automation: `drain` lets Dagster start missing shards by itself.
        catalog_cron: Cron line of the catalog schedule (UTC).
    """

    SOURCES: ClassVar[tuple[str, ...]] = ("huggingface", "folder")

    name: str
    source: str = "huggingface"
    repo_id: str = ""
    revision: str = "main"
    endpoint: str = ""
    use_token: bool = True
    folder: str = ""
    splits: tuple[str, ...] = ("train", "valid")
    samples_per_shard: int = 128
    max_rejected_share: float = 0.05
    runs: str = "per-shard"
    keep_raw: bool = False
    staging_budget_gb: float = 200.0
    num_workers: int = 0
    automation: Automation = "off"
    catalog_cron: str = "0 5 * * *"

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot work; the message begins with the field."""
        _check_types(self)
        _check_pattern("name", self.name, _NAME, "lower-case letters, digits and _")
        _check_choice("source", self.source, self.SOURCES)
        _check_choice("automation", self.automation, get_args(Automation))
        _check_pattern("runs", self.runs, _RUNS, "per-shard, single or 'batch: N'")
        if not self.splits or len(set(self.splits)) != len(self.splits):
            msg = f"splits: expected at least one name, each once, got {self.splits}"
            raise SpecError(msg)
        for split in self.splits:
            _check_pattern("splits", split, _SPLIT, "lower-case letters and digits")
        _check_range("samples_per_shard", self.samples_per_shard, 1, 1_000_000)
        _check_range("max_rejected_share", self.max_rejected_share, 0, 1)
        _check_range("staging_budget_gb", self.staging_budget_gb, 0, 1e9)
        _check_range("num_workers", self.num_workers, 0, 1024)
        self._check_source()

    def _check_source(self) -> None:
        if self.source == "huggingface" and not re.fullmatch(r"[\w.-]+/[\w.-]+", self.repo_id):
            msg = f"repo_id: expected '<org>/<name>' for source huggingface, got {self.repo_id!r}"
            raise SpecError(msg)
        if self.source == "folder" and not self.folder:
            msg = "folder: source folder needs the path of the source tree"
            raise SpecError(msg)
        if self.folder and not self.folder.startswith(("/", "~")):
            # The UI's daemon and a terminal stand in different folders.
            msg = (
                f"folder: expected an absolute path, or one that begins with ~, got {self.folder!r}"
            )
            raise SpecError(msg)
        if self.endpoint and not re.match(r"https?://", self.endpoint):
            msg = f"endpoint: expected an http(s) URL, got {self.endpoint!r}"
            raise SpecError(msg)

    @property
    def partitions_name(self) -> str:
        """Name of the dynamic partitions definition that holds this dataset's shards."""
        return f"{self.name}_shards"

    @property
    def max_partitions_per_run(self) -> int | None:
        """Shards one run may make; None means no limit."""
        if self.runs == "single":
            return None
        return int(self.runs.split(":")[1]) if self.runs.startswith("batch") else 1


@dataclass(frozen=True, kw_only=True)
class VolumeDatasetSpec(DatasetSpec):
    """A dataset of CT volumes with reports and labels.

    Attributes:
        layout: Names of files and tables inside the source; `ct_rate` is the layout of
            ibrahimhamamci/CT-RATE.
        volumes_dir: Folder of one split's volumes inside the source; `{split}` is replaced.
        hu_rule: How stored values become HU: `none` (they are), `table` (RescaleSlope and
            RescaleIntercept of the metadata table), `header` (scl_slope and scl_inter).
        preprocessing: Name of a preset in `PRESETS`.
        target_spacing_mm: Replaces the preset's spacing, three steps in mm.
        target_shape: Replaces the preset's shape (i, j, k).
        orientation: Replaces the preset's orientation.
        min_slices: Volumes with fewer slices along any axis are rejected.
        min_plausible_share: Least share of voxels in [-200, 300] HU of a believable chest CT.
        max_plausible_share: Largest such share.
    """

    layout: VolumeLayout = "ct_rate"
    volumes_dir: str = "dataset/{split}_fixed"
    hu_rule: HuRule = "none"
    preprocessing: str = "ct_clip"
    target_spacing_mm: tuple[float, ...] = ()
    target_shape: tuple[int, ...] = ()
    orientation: Orientation = "as_stored"
    min_slices: int = 2
    min_plausible_share: float = 0.05
    max_plausible_share: float = 0.98

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot work; the message begins with the field."""
        super().__post_init__()
        _check_choice("layout", self.layout, get_args(VolumeLayout))
        _check_choice("hu_rule", self.hu_rule, get_args(HuRule))
        _check_choice("preprocessing", self.preprocessing, tuple(PRESETS))
        _check_range("min_slices", self.min_slices, 1, 4096)
        _check_range("min_plausible_share", self.min_plausible_share, 0, 1)
        _check_range("max_plausible_share", self.max_plausible_share, self.min_plausible_share, 1)
        if "{split}" not in self.volumes_dir:
            msg = f"volumes_dir: expected a path with '{{split}}' in it, got {self.volumes_dir!r}"
            raise SpecError(msg)
        if any(part in ("", ".", "..") for part in self.volumes_dir.rstrip("/").split("/")):
            msg = f"volumes_dir: expected a path inside the source, got {self.volumes_dir!r}"
            raise SpecError(msg)
        self.preset()

    def preset(self) -> CTPreprocessing:
        """Return the named preset with this declaration's replacements."""
        changes: dict[str, Any] = {"orientation": self.orientation}
        if self.target_spacing_mm:
            changes["spacing_mm"] = tuple(self.target_spacing_mm)
        if self.target_shape:
            changes["shape"] = tuple(self.target_shape)
        return replace(PRESETS[self.preprocessing], **changes)
