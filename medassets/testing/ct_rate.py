"""Small synthetic repositories with the layout of CT-RATE."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from medassets.arrays import Affine, VolumeArray
from medassets.errors import Reason
from medassets.testing.ct_rate_tables import VolumeEntry, write_tables
from medassets.testing.nifti import encode_nifti, write_nifti
from medassets.testing.phantoms import make_affine, make_chest_phantom
from medassets.volumes.catalog.ct_rate import VolumeName, parse_volume_name, volume_path

VOLUMES_DIR = "dataset/{split}_fixed"
"""Folder of one split's volumes in CT-RATE, HU already applied."""

Shape = tuple[int, int, int]


@dataclass(frozen=True)
class SyntheticVolume:
    """One row of the metadata table of a synthetic repository.

    Attributes:
        key: Sample key.
        split: Split.
        path: Path of the volume inside the repository.
        reason: Why it must not become a sample; None if it must.
        excluded: True if the tables give the reason (no download needed), False if the file does.
    """

    key: str
    split: str
    path: str
    reason: Reason | None
    excluded: bool = False


@dataclass(frozen=True)
class SyntheticRepository:
    """Content of a synthetic repository.

    Attributes:
        folder: Root of the repository.
        volumes: All rows of the metadata tables, in their order.
    """

    folder: Path
    volumes: tuple[SyntheticVolume, ...]

    def keys(self, split: str) -> list[str]:
        """Return the keys of a split that must become samples, sorted."""
        return sorted(v.key for v in self.volumes if v.split == split and v.reason is None)

    def reasons(self, split: str) -> dict[str, Reason]:
        """Return the reason of each key that must not become a sample."""
        return {v.key: v.reason for v in self.volumes if v.split == split and v.reason is not None}


@dataclass(frozen=True)
class SpecialVolume:
    """A volume file that is not written as CT-RATE writes it.

    Attributes:
        encode: (HU int16, affine) -> bytes of the `.nii.gz`.
        reason: Why it must be rejected; None if it must become a sample.
    """

    encode: Callable[[VolumeArray, Affine], bytes]
    reason: Reason | None


@dataclass(frozen=True)
class _Plan:
    """One volume to make: table row, voxels and expected outcome."""

    entry: VolumeEntry
    phantom_seed: int
    axis_codes: str = "LPS"
    special: SpecialVolume | None = None
    reason: Reason | None = None
    no_chest: bool = False


def make_ct_rate_repository(
    folder: Path,
    *,
    num_patients: int = 3,
    splits: Sequence[str] = ("train", "valid"),
    seed: int = 0,
    shape_range: tuple[Shape, Shape] = ((40, 36, 24), (64, 60, 44)),
    volumes_dir: str = VOLUMES_DIR,
    axis_codes: Sequence[str] = ("LPS",),
    special_rows: bool = True,
    special_volumes: Sequence[SpecialVolume] = (),
) -> SyntheticRepository:
    """Make a small repository with the paths, tables and oddities of CT-RATE.

    The volumes are chest phantoms in HU as int16, with several spacings, scans of several
    reconstructions, and -8192 outside the field of view. The same arguments give the same tables
    and voxels on every machine.

    Args:
        folder: Root of the repository; made if it is missing.
        num_patients: Patients per split; every patient has a scan with two reconstructions,
            every third patient a second scan with one.
        splits: Splits to make.
        seed: Changes shapes, spacings and voxels.
        shape_range: Smallest and largest sides (i, j, k), both inclusive.
        volumes_dir: Folder of one split's volumes; `{split}` is replaced.
        axis_codes: Orientations of the volumes, patient after patient; from the first again.
        special_rows: Add to each split one volume from the no-chest list and one with an empty
            ZSpacing; their files exist.
        special_volumes: Each adds one patient with such a volume to the first split.

    Returns:
        The repository, with the expected outcome of every row.
    """
    volumes: list[SyntheticVolume] = []
    for number, split in enumerate(splits):
        rng = np.random.Generator(np.random.PCG64([seed, number]))
        plans = list(_plan_split(split, rng, num_patients=num_patients, shape_range=shape_range))
        plans = [_turn(plan, axis_codes) for plan in plans]
        if special_rows:
            plans += _plan_special_rows(split, rng, num_patients + 1, shape_range=shape_range)
        if number == 0:
            first = 101 + len(plans)
            for patient, special in enumerate(special_volumes, first):
                plan = _plan_volume(split, rng, patient, letter="a", shape_range=shape_range)
                plan = replace(plan, special=special, reason=special.reason)
                plans.append(plan)
        no_chest = [plan.entry for plan in plans if plan.no_chest]
        entries = [plan.entry for plan in plans]
        write_tables(folder, split=split, entries=entries, no_chest=no_chest)
        for plan in plans:
            path = volume_path(_name(plan, split), volumes_dir=volumes_dir, split=split)
            _write_volume(folder / path, plan)
            excluded = plan.reason is not None and plan.special is None
            volumes.append(SyntheticVolume(plan.entry.key, split, path, plan.reason, excluded))
    return SyntheticRepository(folder=folder, volumes=tuple(volumes))


def _plan_split(
    split: str,
    rng: np.random.Generator,
    *,
    num_patients: int,
    shape_range: tuple[Shape, Shape],
) -> Iterator[_Plan]:
    for patient in range(1, num_patients + 1):
        scans = (("a", 2), ("b", 1)) if patient % 3 == 0 else (("a", 2),)
        for letter, num_reconstructions in scans:
            first = _plan_volume(split, rng, patient, letter=letter, shape_range=shape_range)
            yield first
            if num_reconstructions > 1:
                yield _plan_thick_slices(first)


def _plan_volume(
    split: str,
    rng: np.random.Generator,
    patient: int,
    *,
    letter: str,
    shape_range: tuple[Shape, Shape],
) -> _Plan:
    low, high = shape_range
    shape = [int(rng.integers(a, b + 1)) for a, b in zip(low, high, strict=True)]
    # Steps such that the chest has its natural size: 300-400 mm wide, 260-340 mm high.
    step_mm = int(rng.integers(300, 401)) / shape[0]
    height_mm = int(rng.integers(260, 341))
    entry = VolumeEntry(
        key=f"{split}_{patient}_{letter}_1",
        patient_index=patient,
        scan_index=2 * patient + (letter == "b"),
        shape=(shape[0], shape[1], shape[2]),
        spacing_mm=(step_mm, step_mm, round(height_mm / shape[2], 2)),
    )
    return _Plan(entry, phantom_seed=int(rng.integers(1 << 31)))


def _turn(plan: _Plan, axis_codes: Sequence[str]) -> _Plan:
    """Return the plan with the orientation of its patient."""
    codes = axis_codes[(plan.entry.patient_index - 1) % len(axis_codes)]
    return replace(plan, axis_codes=codes)


def _plan_thick_slices(first: _Plan) -> _Plan:
    """Plan a second reconstruction of the same scan: half the slices, twice as thick."""
    sides, steps = first.entry.shape, first.entry.spacing_mm
    num_slices = max(sides[2] // 2, 2)
    entry = replace(
        first.entry,
        key=first.entry.key.removesuffix("_1") + "_2",
        shape=(sides[0], sides[1], num_slices),
        spacing_mm=(steps[0], steps[1], (steps[2] or 1) * sides[2] / num_slices),
    )
    return replace(first, entry=entry)


def _plan_special_rows(
    split: str, rng: np.random.Generator, patient: int, *, shape_range: tuple[Shape, Shape]
) -> list[_Plan]:
    head = _plan_volume(split, rng, patient, letter="a", shape_range=shape_range)
    flat = _plan_volume(split, rng, patient + 1, letter="a", shape_range=shape_range)
    steps = flat.entry.spacing_mm
    entry = replace(flat.entry, spacing_mm=(steps[0], steps[1], None))
    return [
        replace(head, no_chest=True, reason=Reason.NO_CHEST),
        replace(flat, entry=entry, reason=Reason.SPACING_MISSING),
    ]


def _name(plan: _Plan, split: str) -> VolumeName:
    name = parse_volume_name(f"{plan.entry.key}.nii.gz", split=split)
    if name is None:
        msg = f"splits: expected lower-case letters and digits, got {split!r}"
        raise ValueError(msg)
    return name


def _write_volume(path: Path, plan: _Plan) -> None:
    shape, steps = plan.entry.shape, plan.entry.spacing_mm
    volume = make_chest_phantom(shape, axis_codes=plan.axis_codes, seed=plan.phantom_seed)
    spacing_mm = (steps[0], steps[1], 5.0 if steps[2] is None else steps[2])
    affine = make_affine(shape, spacing_mm=spacing_mm, axis_codes=plan.axis_codes)
    path.parent.mkdir(parents=True, exist_ok=True)
    if plan.special is None:
        write_nifti(path, encode_nifti(volume, affine=affine))
    else:
        path.write_bytes(plan.special.encode(volume, affine))
