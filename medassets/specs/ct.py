"""What every declared dataset of CT says of its source."""

from dataclasses import dataclass
from typing import Literal, get_args

from medassets.errors import SpecError
from medassets.specs.checks import check_choice, check_range
from medassets.specs.dataset import DatasetSpec

HuRule = Literal["none", "table", "header"]
VolumeLayout = Literal["ct_rate"]

_VOLUMES_DIR = "dataset/{split}_fixed"


@dataclass(frozen=True, kw_only=True)
class CTSourceSpec(DatasetSpec):
    """A source of CT volumes: where they are, how they become HU, which of them are believed.

    Attributes:
        layout: Names of files and tables inside the source; `ct_rate` is the layout of
            ibrahimhamamci/CT-RATE.
        volumes_dir: Folder of one split's volumes inside the source; `{split}` is replaced. Empty
            means `dataset/{split}_fixed`.
        hu_rule: How stored values become HU: `none` (they are), `table` (RescaleSlope and
            RescaleIntercept of the metadata table), `header` (scl_slope and scl_inter). Left out, it
            is `none`; arrays have no header that could contradict, so they need it written, but for
            `preprocessing: none`, which then needs slope and intercept to pass them on.
        min_slices: Volumes with fewer slices along any axis are rejected.
        min_plausible_share: Least share of voxels in [-200, 300] HU of a believable chest CT.
        max_plausible_share: Largest such share.
    """

    layout: VolumeLayout = "ct_rate"
    volumes_dir: str = ""
    hu_rule: HuRule | None = None
    min_slices: int = 2
    min_plausible_share: float = 0.05
    max_plausible_share: float = 0.98

    def __post_init__(self) -> None:
        """Refuse a declaration that cannot work; the message begins with the field."""
        super().__post_init__()
        check_choice("layout", self.layout, get_args(VolumeLayout))
        check_choice("hu_rule", self.effective_hu_rule, get_args(HuRule))
        check_range("min_slices", self.min_slices, 1, 4096)
        check_range("min_plausible_share", self.min_plausible_share, 0, 1)
        check_range("max_plausible_share", self.max_plausible_share, self.min_plausible_share, 1)
        self._check_volumes_dir()

    @property
    def effective_hu_rule(self) -> HuRule:
        """The rule in use."""
        return "none" if self.hu_rule is None else self.hu_rule

    @property
    def needs_rescaling(self) -> bool:
        """Whether a volume is of no use without RescaleSlope and RescaleIntercept."""
        return self.effective_hu_rule == "table"

    @property
    def volumes_pattern(self) -> str:
        """Folder of one split's volumes inside a source in CT-RATE's layout, with `{split}`."""
        return self.volumes_dir or _VOLUMES_DIR

    def _check_volumes_dir(self) -> None:
        if "{split}" not in self.volumes_pattern:
            what = f"expected a path with '{{split}}' in it, got {self.volumes_dir!r}"
            raise SpecError(field="volumes_dir", what=what)
        self._check_inside("volumes_dir", self.volumes_pattern)

    def _check_inside(self, name: str, path: str) -> None:
        if any(part in ("", ".", "..") for part in path.rstrip("/").split("/")):
            raise SpecError(field=name, what=f"expected a path inside the source, got {path!r}")
