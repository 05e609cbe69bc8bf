"""The same voxels by every way: NIfTI, NPZ, and raw WebDatasets of ours and of others."""

import csv
import json
import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medassets.testing.ct_rate import SyntheticRepository
from medassets.testing.nifti import encode_nifti, write_nifti
from medassets.volumes.catalog.ct_rate_names import table_paths
from medassets_tests import shared_data
from medassets_tests.location import Location
from medassets_tests.real_volumes import lay_out_real_volumes

pytestmark = pytest.mark.slow

MADE_BESIDE_THE_CHECKOUT = shared_data.CT
SPLITS = ("train", "valid")
TABLES = {
    "meta_file": "dataset/metadata/{split}_metadata.csv",
    "reports_file": "dataset/radiology_text_reports/{split}_reports.csv",
    "labels_file": "dataset/multi_abnormality_labels/{split}_predicted_labels.csv",
}
COMPARED = ("bin", "txt", "cls")

Members = dict[str, dict[str, bytes]]
Locate = Callable[..., Location]


@pytest.fixture(params=["synthetic", "real"])
def volumes(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[SyntheticRepository, dict[str, Any], dict[str, Any]]]:
    """A repository of NIfTI, with what its declaration says, and what that of its arrays says."""
    if request.param == "synthetic":
        made: SyntheticRepository = request.getfixturevalue("repository")
        yield made, {"hu_rule": "none"}, {"hu_rule": "none"}
        return
    folder = Path(os.environ.get("MEDASSETS_REAL_DATA") or MADE_BESIDE_THE_CHECKOUT)
    if not folder.is_dir():
        pytest.skip(f"no real CT volumes at {folder}; set MEDASSETS_REAL_DATA to their folder")
    laid_out = lay_out_real_volumes(folder, tmp_path / "repository")
    for volume in laid_out.volumes:
        turn_to_ras(laid_out.folder / volume.path)
    shape = {"target_shape": (96, 90, 40), "target_spacing_mm": (3.0, 3.0, 4.0)}
    # One file holds HU + 1024: its header says so, and for arrays the table does.
    yield laid_out, {"hu_rule": "header", **shape}, {"hu_rule": "table", **shape}


def turn_to_ras(path: Path) -> None:
    """Store an LPS volume along R and A; one dataset has one orientation."""
    image: Any = nib.load(path)
    if nib.aff2axcodes(image.affine) == ("L", "P", "S"):
        stored = image.dataobj.get_unscaled()[::-1, ::-1]
        turn = np.diag([-1.0, -1.0, 1.0, 1.0])
        turn[:2, 3] = np.subtract(stored.shape[:2], 1)
        slope, intercept = image.dataobj.slope, image.dataobj.inter
        content = encode_nifti(stored, affine=image.affine @ turn, slope=slope, intercept=intercept)
        write_nifti(path, content)


def read_members(location: Location) -> Members:
    """Return key -> suffix -> content of all shards, by plain tarfile."""
    found: Members = {}
    for shard in sorted(location.workspace.paths.folder.glob("*/shard-*.tar")):
        with tarfile.open(shard) as tar:
            for member in tar:
                key, _, suffix = member.name.partition(".")
                file = tar.extractfile(member)
                assert file is not None
                found.setdefault(key, {})[suffix] = file.read()
    return found


def compared(members: Members) -> dict[tuple[str, str], bytes]:
    return {(key, suffix): parts[suffix] for key, parts in members.items() for suffix in COMPARED}


def write_npz(repository: SyntheticRepository, target: Path, order: str) -> None:
    """Save stored voxels as people do, below `<target>/<split>_npz/<patient>/`."""
    for volume in (one for one in repository.volumes if one.reason is None):
        image: Any = nib.load(repository.folder / volume.path)
        stored = image.dataobj.get_unscaled()
        place = target / f"{volume.split}_npz" / volume.key.rsplit("_", 2)[0] / f"{volume.key}.npz"
        place.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(place, data=np.asarray(stored, order=order))  # pyright: ignore[reportArgumentType, reportCallIssue]


def read_rows(path: Path) -> dict[str, dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return {row["VolumeName"].removesuffix(".nii.gz"): row for row in csv.DictReader(file)}


def write_raw_tars(made: Members, npz: Path, repository: Path, target: Path) -> None:
    """Pack raw shards by plain `webdataset`, as the script does that is in use for it."""
    from webdataset.writer import TarWriter

    for split in SPLITS:
        rows = read_rows(repository / table_paths(split).metadata)
        folder = target / split
        folder.mkdir(parents=True)
        keys = sorted(key for key in made if key.startswith(split))
        for shard, start in enumerate(range(0, len(keys), 3)):
            with TarWriter(str(folder / f"shard-{shard:06d}.tar")) as writer:
                # Backwards, so that neither place nor key in the tar tells the study.
                for number, key in enumerate(reversed(keys[start : start + 3])):
                    (file,) = npz.glob(f"{split}_npz/*/{key}.npz")
                    half = np.load(file)["data"].astype(np.float16)
                    row = rows[key]
                    facts = {
                        "study_id": key,
                        "RescaleSlope": float(row["RescaleSlope"]),
                        "RescaleIntercept": float(row["RescaleIntercept"]),
                        "XYSpacing": row["XYSpacing"],
                        "ZSpacing": float(row["ZSpacing"]),
                        "original_shape": list(half.shape),
                        "volume_shape": list(half.shape),
                        "volume_dtype": "float16",
                    }
                    writer.write(
                        {
                            "__key__": f"{shard:06d}_{number:06d}",
                            "bin": np.ascontiguousarray(half).tobytes(),
                            "json": json.dumps(facts).encode(),
                            "txt": made[key]["txt"],
                            "labels": made[key]["cls"],
                        }
                    )


def test_every_way_gives_the_bytes_of_the_nifti_way(
    volumes: tuple[SyntheticRepository, dict[str, Any], dict[str, Any]],
    locate: Locate,
    tmp_path: Path,
) -> None:
    repository, of_nifti, of_arrays = volumes
    nifti = locate(repository.folder, **of_nifti)
    nifti.build()
    expected = read_members(nifti)
    assert len(expected) == sum(v.reason is None for v in repository.volumes)

    sources = tmp_path / "sources"
    write_npz(repository, sources, order="C")
    tables = {name: str(repository.folder / path) for name, path in TABLES.items()}
    npz_fields = {"source": "npz", "volumes_dir": "{split}_npz", **tables, **of_arrays}
    npz = locate(sources, **{**npz_fields, "name": "npz"})
    npz.build()
    assert compared(read_members(npz)) == compared(expected)

    fortran = tmp_path / "fortran"
    write_npz(repository, fortran, order="F")
    turned = locate(fortran, **{**npz_fields, "name": "fortran"})
    turned.build()
    assert compared(read_members(turned)) == compared(expected)

    write_raw_tars(expected, sources, repository.folder, tmp_path / "foreign")
    foreign_fields = {"source": "webdataset", **of_arrays}
    foreign = locate(
        tmp_path / "foreign", **foreign_fields, name="foreign", shards="{split}/shard-*.tar"
    )
    foreign.build()
    assert compared(read_members(foreign)) == compared(expected)

    raw_fields = {k: v for k, v in npz_fields.items() if not k.startswith("target_")}
    raw = locate(
        sources, **{**raw_fields, "name": "raw"}, preprocessing="none", target_shape=(),
        target_spacing_mm=(),
    )  # fmt: skip
    raw.build()
    again = locate(
        raw.workspace.paths.folder,
        **foreign_fields,
        name="again",
        shards="{split}/manifest.json",
    )
    again.build()
    assert compared(read_members(again)) == compared(expected)
    ours, first = read_members(again), next(iter(expected))
    by_name = [json.loads(members[first]["json"])["labels"] for members in (ours, expected)]
    assert by_name[0] == by_name[1]


def test_a_raw_shard_is_what_numpy_makes_of_its_sources(
    volumes: tuple[SyntheticRepository, dict[str, Any], dict[str, Any]],
    locate: Locate,
    tmp_path: Path,
) -> None:
    repository, _, _ = volumes
    write_npz(repository, tmp_path, order="C")
    tables = {name: str(repository.folder / path) for name, path in TABLES.items()}
    raw = locate(
        tmp_path,
        **tables,
        source="npz",
        volumes_dir="{split}_npz",
        preprocessing="none",
        target_shape=(),
        target_spacing_mm=(),
    )
    raw.build()
    members = read_members(raw)
    assert len(members) == sum(v.reason is None for v in repository.volumes)
    for key, parts in members.items():
        (file,) = tmp_path.glob(f"*_npz/*/{key}.npz")
        stored = np.load(file)["data"]
        facts = json.loads(parts["json"])
        half = np.frombuffer(parts["bin"], "<f2").reshape(facts["volume_shape"])
        assert np.array_equal(half, stored.astype(np.float16))
        error = np.abs(stored.astype(np.float64) - stored.astype(np.float16).astype(np.float64))
        assert facts["precision"]["max_rounding_error"] == error.max()
        assert facts["original_shape"] == list(stored.shape)
        row = read_rows(repository.folder / table_paths(facts["split"]).metadata)[key]
        assert facts["XYSpacing"] == row["XYSpacing"]
        assert facts["ZSpacing"] == float(row["ZSpacing"])
        assert facts["RescaleSlope"] == float(row["RescaleSlope"])
        assert facts["RescaleIntercept"] == float(row["RescaleIntercept"])
