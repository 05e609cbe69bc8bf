"""Recognises the layout of CT-RATE, in a folder or a few levels below it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medassets.datasets.discovery.census import Census, Clock
from medassets.datasets.discovery.proposal import Hints, Proposal, shorten
from medassets.datasets.discovery.tables import sort_splits
from medassets.datasets.discovery.volume_samples import (
    VolumeLook,
    describe_looks,
    doubt_looks,
    look_at_volumes,
)
from medassets.errors import UsageError
from medassets.storage.paths import show_path
from medassets.volumes.catalog.ct_rate_names import TablePaths, table_paths
from medassets.volumes.files.nifti import open_nifti

_VOLUME = re.compile(
    r"(?P<base>.*/)?(?P<split>[a-z0-9]+)_(?P<pid>\d+)/(?P=split)_(?P=pid)_(?P<scan>[a-z]+)/"
    r"(?P=split)_(?P=pid)_(?P=scan)_\d+\.nii\.gz",
    re.ASCII,
)
_FIXED = "dataset/{split}_fixed"


@dataclass
class CTRateLook:
    """Volumes that are named and placed as in CT-RATE.

    Attributes:
        root: Folder of the layout inside the one that was looked at; empty means that one.
        folders: Split -> folders of its volumes, inside the root.
        paths: Their paths inside the folder that was looked at.
        missing: Tables that the layout lacks.
    """

    root: str
    folders: dict[str, set[str]] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def pattern(self) -> str:
        """Folder of one split's volumes, with `{split}`; empty if splits have no common pattern."""
        found = {
            folder.replace(split, "{split}")
            for split, folders in self.folders.items()
            for folder in folders
        }
        return found.pop() if len(found) == 1 else ""


def find_ct_rate(census: Census) -> CTRateLook | None:
    """Return the layout of CT-RATE if most NIfTI files are named and placed as in it.

    Raises:
        UsageError: If there are several.
    """
    found: dict[str, CTRateLook] = {}
    for path in census.of("nifti"):
        match = _VOLUME.fullmatch(path)
        if match is None:
            continue
        base = (match["base"] or "").rstrip("/")
        root, folder = _part(base)
        look = found.setdefault(root, CTRateLook(root))
        look.folders.setdefault(match["split"], set()).add(folder)
        look.paths.append(path)
    num = sum(len(look.paths) for look in found.values())
    if not num or num * 2 < len(census.of("nifti")):
        return None
    if len(found) > 1:
        what = f"{len(found)} datasets in the layout of CT-RATE: {shorten(sorted(found))}; run init on each folder"
        raise UsageError(field="PATH", what=what)
    (look,) = found.values()
    look.missing = _list_missing(census, look)
    return look


def _part(base: str) -> tuple[str, str]:
    """Return the root of a layout, and the folder of a split's volumes inside it."""
    head, mark, tail = f"/{base}".rpartition("/dataset/")
    if mark:
        return head.strip("/"), f"dataset/{tail}"
    root, _, folder = base.rpartition("/")
    return root, folder


def _list_missing(census: Census, look: CTRateLook) -> list[str]:
    prefix = f"{look.root}/" if look.root else ""
    having = {*census.of("table")}
    missing = []
    for split in look.folders:
        tables = table_paths(split)
        paths = [prefix + path for path in (tables.metadata, tables.reports, tables.labels)]
        missing += [path for path in paths if path not in having]
        if not (census.top / prefix / tables.no_chest).is_file():
            missing.append(prefix + tables.no_chest)
    return sorted(missing)


def has_metadata(look: CTRateLook) -> bool:
    """Tell whether the tables are there that the layout cannot do without."""
    return bool(look.pattern) and not any(_is_needed(path) for path in look.missing)


def _is_needed(path: str) -> bool:
    return "/metadata/" in f"/{path}"


def propose_ct_rate(census: Census, look: CTRateLook, hints: Hints, clock: Clock) -> Proposal:
    """Propose `layout: ct_rate`; see `has_metadata`."""
    top = census.top / look.root if look.root else census.top
    looks = look_at_volumes(census.top, look.paths, open_nifti, clock)
    splits = sort_splits(list(look.folders))
    rule = hints.hu_rule or ("none" if look.pattern.endswith("_fixed") else _find_rule(looks))
    having = _list_texts(look, splits)
    codes = {one.codes for one in looks if one.codes}
    fields: dict[str, Any] = {
        "source": "folder",
        "layout": "ct_rate",
        "folder": str(top),
        "splits": splits,
        **({} if look.pattern == _FIXED else {"volumes_dir": look.pattern}),
        "hu_rule": rule,
        **({"requires": having} if len(having) < 2 else {}),
        **({"orientation": "LPS"} if len(codes) > 1 else {}),
        "preprocessing": "ct_clip",
    }
    notes = {
        "hu_rule": "none: stored values are HU; table: RescaleSlope and RescaleIntercept of the metadata",
        "requires": "tables of reports or labels are missing",
        "orientation": f"files differ: {', '.join(sorted(codes))}",
    }
    doubts = [
        *([f"missing: {shorten(look.missing, 6)}"] if look.missing else []),
        *doubt_looks(looks),
    ]
    title = f"layout of CT-RATE: {census.count_words('nifti', 'files')} in {show_path(str(top))}"
    facts = [f"splits {', '.join(splits)} in {look.pattern}", *describe_looks(looks)]
    return Proposal(title, "VolumeDatasetComponent", fields, notes, facts, doubts)


def _find_rule(looks: Sequence[VolumeLook]) -> str:
    """Return `header` where headers scale, else `table`: those of CT-RATE's first version are blank."""
    scales = [one.header.slope is not None for one in looks if one.header]
    return "header" if scales and all(scales) else "table"


def _list_texts(look: CTRateLook, splits: Sequence[str]) -> list[str]:
    """Return which of report and labels have the tables of all splits."""
    prefix = f"{look.root}/" if look.root else ""
    tables: Mapping[str, TablePaths] = {split: table_paths(split) for split in splits}
    reports = all(prefix + one.reports not in look.missing for one in tables.values())
    labels = all(prefix + one.labels not in look.missing for one in tables.values())
    return [name for name, is_there in (("report", reports), ("labels", labels)) if is_there]


def describe_bare(look: CTRateLook, top: Path) -> str:
    """Return a doubt about volumes that are placed as in CT-RATE without its tables."""
    return (
        f"placed as in CT-RATE, without {shorten(look.missing, 8)}; taken as plain NIfTI files. With these tables in "
        f"{show_path(str(top / look.root))}, run init again"
    )
