"""Proposes declarations of existing WebDataset tars."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from medassets.datasets.discovery.census import Census, Clock, spread
from medassets.datasets.discovery.proposal import Hints, Proposal, shorten
from medassets.datasets.discovery.split_patterns import as_pattern, split_by_folder, split_by_prefix
from medassets.datasets.discovery.tables import sort_splits
from medassets.datasets.discovery.volume_samples import (
    VolumeLook,
    describe_looks,
    doubt_looks,
    look_at_volumes,
)
from medassets.errors import MedassetsError, SpecError, UsageError
from medassets.storage.formats.label_rules import LabelError, StatedLabels
from medassets.storage.formats.labels import find_label_type
from medassets.storage.paths import show_path
from medassets.tars.lists import find_shards
from medassets.tars.reader import Member, OpenTar, open_tar
from medassets.tars.scan import ScannedSample, iter_samples
from medassets.volumes.catalog.tree.split_names import read_split_name
from medassets.volumes.catalog.webdataset_facts import parse_facts, read_columns, read_spacing
from medassets.volumes.catalog.webdataset_fields import FieldMap, propose_fields, read_stated_array
from medassets.volumes.files.array_files import open_npy_array, open_npz_array, open_raw_array
from medassets.volumes.files.header import VolumeStream

_NUM_TARS = 4
_NUM_SAMPLES = 2
_MOST_MEMBER_BYTES = 4 << 20
_AIR_HU = -900.0
_BRACES = re.compile(r"\{([a-z0-9]+(?:,[a-z0-9]+)+)\}", re.ASCII)


@dataclass
class TarLook:
    """One sample of a tar.

    Attributes:
        tar: Path of the tar.
        suffixes: Suffixes of its members.
        facts: Its json.
        fields: Members by role; None where two could play one.
        problem: Why there is no such sample, or no role is certain.
        labels: Content of its member of labels.
    """

    tar: str
    suffixes: Collection[str] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    fields: FieldMap | None = None
    problem: str = ""
    labels: bytes = b""
    members: Mapping[str, Member] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        """Whether the sample was preprocessed by medassets already."""
        return "fingerprint" in self.facts or {"begin_s", "end_s"} <= set(self.facts)


def propose_tars(census: Census, hints: Hints, clock: Clock) -> Proposal:
    """Propose `source: webdataset` for a folder of tars.

    Raises:
        UsageError: If samples have no volume, or what is stored cannot become HU for certain.
    """
    paths = census.of("tar")
    shards, splits = _choose_pattern(paths)
    tars = [census.top / path for path in spread(paths, _NUM_TARS)]
    title = f"WebDataset: {census.count_words('tar', 'tars')} in {show_path(str(census.top))}"
    doubts = []
    if tables := census.of("table"):
        doubts.append(f"a table has no effect on tars, whose samples have json: {shorten(tables)}")
    if "**" in shards:
        doubts.append("tars are in several folders, and no name tells splits: all is train")
    place = {"folder": str(census.top), "shards": shards, "splits": splits}
    return _propose(tars, place, title, hints, clock, doubts)


def propose_pattern(pattern: str, hints: Hints, clock: Clock) -> Proposal:
    """Propose `source: webdataset` for a pattern such as `/raw/{train,valid}/shard-{000000..000009}.tar`.

    Raises:
        UsageError: If it names no tar, or as `propose_tars`.
    """
    try:
        tars = [shard.path for shard in find_shards(pattern)]
    except MedassetsError as error:
        raise UsageError(field="PATH", what=str(error)) from error
    missing = [str(tar) for tar in tars if not tar.exists()]
    if missing:
        what = f"{len(missing):,} of {len(tars):,} tars do not exist: {shorten(missing)}"
        raise UsageError(field="PATH", what=what)
    text, splits = str(Path(pattern).expanduser().absolute()), ["train"]
    for match in _BRACES.finditer(text):
        names = match[1].split(",")
        if all(read_split_name(name, ()) for name in names):
            text, splits = text.replace(match[0], "{split}"), sort_splits(names)
    chosen = [tars[round(i * (len(tars) - 1) / 3)] for i in range(4)] if len(tars) > 4 else tars
    title = f"WebDataset: {len(tars):,} tars of {show_path(pattern)}"
    return _propose(chosen, {"shards": text, "splits": splits}, title, hints, clock, [])


def _propose(
    tars: Sequence[Path],
    place: Mapping[str, Any],
    title: str,
    hints: Hints,
    clock: Clock,
    doubts: Sequence[str],
) -> Proposal:
    looks = _look_at_tars(tars, clock)
    good = _require_volumes(looks)
    volumes = [one for look in good for one in _look_at_volume(look, clock)]
    rule, why = _choose_rule(good, volumes, hints)
    is_raw = any(None in read_spacing(look.facts) for look in good)
    having = _list_texts(good)
    fields: dict[str, Any] = {
        "source": "webdataset",
        **place,
        **({"requires": having} if len(having) < 2 else {}),
        **({"hu_rule": rule} if rule else {}),
        "preprocessing": "none" if is_raw else "ct_clip",
    }
    notes = {
        "hu_rule": why,
        "preprocessing": "the json states no spacing: values are kept, as float16"
        if is_raw
        else "0.75 x 0.75 x 1.5 mm, 480 x 480 x 240; none keeps shape and values",
        "requires": "the samples that were looked at have no others",
    }
    found = good[0].fields.as_fields() if good[0].fields else {}
    facts = [
        "members " + ", ".join(f"{role}: .{suffix}" for role, suffix in found.items()),
        *describe_looks(volumes, have_headers=False),
    ]
    doubts = [
        *doubts,
        *(look.problem for look in looks if look.problem),
        *doubt_looks(volumes, have_headers=False),
    ]
    doubts += _doubt_labels(good)
    return Proposal(title, "VolumeDatasetComponent", fields, notes, facts, doubts)


def _choose_pattern(paths: Sequence[str]) -> tuple[str, list[str]]:
    """Return the pattern of the tars, and the splits that folders or names tell."""
    folders = split_by_folder(paths)
    if folders:
        split = next(iter(folders))
        below = {path.rpartition("/")[0] for path in paths}
        tail = "*.tar" if below == set(folders.values()) else "**/*.tar"
        return f"{as_pattern(folders[split], split)}/{tail}", list(folders)
    if splits := split_by_prefix(paths):
        folder = paths[0].rpartition("/")[0]
        return f"{folder}/{{split}}[-_.]*.tar".lstrip("/"), splits
    below = {path.rpartition("/")[0] for path in paths}
    if len(below) == 1:
        return f"{below.pop()}/*.tar".lstrip("/"), ["train"]
    return "**/*.tar", ["train"]


def _look_at_tars(tars: Sequence[Path], clock: Clock) -> list[TarLook]:
    looks: list[TarLook] = []
    for tar in tars:
        if looks and clock.is_over:
            break
        try:
            with open_tar(tar) as opened:
                samples = list(islice(iter_samples(opened), _NUM_SAMPLES))
                looks += [_look(tar, opened, sample) for sample in samples]
                if not samples:
                    looks.append(TarLook(str(tar), problem=f"{tar}: no samples (<key>.<suffix>)"))
        except (MedassetsError, OSError) as error:
            looks.append(
                TarLook(str(tar), problem=f"{tar}: {getattr(error, 'strerror', None) or error}")
            )
    return looks


def _look(tar: Path, opened: OpenTar, sample: ScannedSample) -> TarLook:
    suffixes = [suffix.lower() for suffix in sample.members]
    look = TarLook(str(tar), suffixes, members=sample.members)
    member = sample.members.get("json")
    if member is not None and member.size_bytes <= _MOST_MEMBER_BYTES:
        try:
            look.facts = parse_facts(bytes(opened.read(member)))
        except (MedassetsError, ValueError) as error:
            look.problem = f"{tar}, {sample.key}.json: {error}"
    try:
        look.fields = propose_fields(suffixes, look.facts)
    except SpecError as error:
        look.problem = f"{tar}, {sample.key}: {error.what}"
    labels = sample.members.get(look.fields.labels or "") if look.fields else None
    if labels is not None and labels.size_bytes <= _MOST_MEMBER_BYTES:
        look.labels = bytes(opened.read(labels))
    return look


def _require_volumes(looks: Sequence[TarLook]) -> list[TarLook]:
    good = [look for look in looks if look.fields and look.fields.volume and look.fields.json]
    if any(look.is_ours for look in good):
        what = f"{good[0].tar} holds samples that medassets has preprocessed: train on them, or name their source"
        raise UsageError(field="PATH", what=what)
    if not good:
        first = looks[0]
        members = ", ".join(f".{suffix}" for suffix in first.suffixes)
        what = first.problem or (
            f"{first.tar}: samples have {members}; expected a volume (npy, npz, or bin whose shape and dtype the "
            f"json states) and a json that names study and spacing"
        )
        raise UsageError(field="PATH", what=what)
    return good


def _look_at_volume(look: TarLook, clock: Clock) -> list[VolumeLook]:
    tar = Path(look.tar)
    return look_at_volumes(tar.parent, [tar.name], lambda place: _open(look, place), clock)


def _open(look: TarLook, place: Path) -> AbstractContextManager[VolumeStream]:
    suffix = (look.fields.volume if look.fields else None) or ""
    within = look.members[suffix]
    kind = suffix.rpartition(".")[2]
    if kind == "npz":
        return open_npz_array(place, "data", within=within)
    if kind == "npy":
        return open_npy_array(place, within=within)
    shape, dtype = read_stated_array(look.facts)
    return open_raw_array(place, shape=tuple(shape), dtype=str(dtype), within=within)


def _choose_rule(
    looks: Sequence[TarLook], volumes: Sequence[VolumeLook], hints: Hints
) -> tuple[str, str]:
    """Return `hu_rule` and why.

    Raises:
        UsageError: If neither json nor values say how stored values become HU.
    """
    if hints.hu_rule:
        return hints.hu_rule, "as --hu-rule says"
    rows = [read_columns(look.facts, "sample") for look in looks]
    if all(
        row["rescale_slope"] is not None and row["rescale_intercept"] is not None for row in rows
    ):
        return "table", "RescaleSlope and RescaleIntercept of each json; none: values are HU"
    lows = [one.low for one in volumes if one.low is not None]
    if lows and max(lows) <= _AIR_HU:
        return "none", f"values begin at {min(lows):g}: they are HU"
    what = (
        f"no json states RescaleSlope and RescaleIntercept, and values begin at {min(lows, default=0):g}: say "
        f"`--hu-rule none` if they are HU"
    )
    raise UsageError(field="--hu-rule", what=what)


def _list_texts(looks: Sequence[TarLook]) -> list[str]:
    maps = [look.fields for look in looks if look.fields]
    texts = {"report": all(one.text for one in maps), "labels": all(one.labels for one in maps)}
    return [name for name, is_there in texts.items() if is_there]


def _doubt_labels(looks: Sequence[TarLook]) -> list[str]:
    members = [(look.labels, StatedLabels.read(look.facts)) for look in looks if look.labels]
    if not members:
        return []
    try:
        find_label_type(members)
    except LabelError as error:
        what = str(error).partition("; declare")[0]
        return [f"labels: {what}; declare `labels: {{dtype: ...}}`"]
    return []
