"""Windows as folders of `.npy` and `_sparse.npz`, read by the public rule."""

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medassets.datasets.build import build_shard, plan_shard
from medassets.datasets.refresh import draft_catalog, publish_catalog
from medassets.datasets.windows import CTWindows
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.errors import ShardIntegrityError
from medassets.exports.formats import ExportOptions, ExportResult
from medassets.exports.windows import export_windows, iter_npy, iter_sparse_npz
from medassets.specs import CTWindow, CTWindowDatasetSpec
from medassets.testing.ct_rate import SyntheticRepository
from medassets.volumes.windows.occupancy import pack_mask

pytestmark = pytest.mark.slow  # whole builds

AIR = CTWindow("air", 200.0, -1000.0)
Export = Callable[..., ExportResult]


@pytest.fixture
def built(home: Path, repository: SyntheticRepository) -> Workspace:
    """One shard of windows."""
    spec = CTWindowDatasetSpec(
        name="masks",
        source="folder",
        folder=str(repository.folder),
        splits=("train",),
        hu_rule="none",
        samples_per_shard=2,
        windows=("soft_tissue", {"name": "air", "width": 200.0, "level": -1000.0}),
    )
    workspace = open_workspace(CTWindows(spec))
    publish_catalog(workspace.paths, draft_catalog(workspace))
    build_shard(workspace, workspace.paths, plan_shard(workspace, "train-000000"))
    return workspace


@pytest.fixture
def export(built: Workspace, tmp_path: Path) -> Export:
    """Return a function that exports it."""

    def run(form: Any = "npy", **options: Any) -> ExportResult:
        spec = built.kind.spec
        assert isinstance(spec, CTWindowDatasetSpec)
        return export_windows(
            built.paths,
            ["train-000000"],
            tmp_path / form,
            windows=spec.list_windows(),
            form=form,
            options=ExportOptions(**options),
        )

    return run


def read_cube(workspace: Workspace, key: str, window: str) -> np.ndarray:
    """Return a mask of a shard, padded, by tarfile and numpy alone."""
    import json

    import zstandard

    with tarfile.open(workspace.paths.shard("train-000000")) as tar:

        def read(name: str) -> bytes:
            file = tar.extractfile(f"{key}.{name}")
            assert file is not None
            return file.read()

        facts, bits = json.loads(read("json")), read(f"{window}.bits")
    if facts["windows"][window]["encoding"] == "zstd":
        bits = zstandard.decompress(bits, max_output_size=1 << 30)
    shape = facts["shape"]
    flat = np.unpackbits(np.frombuffer(bits, np.uint8), bitorder="little")[: np.prod(shape)]
    pads = [(0, facts["resolution"] - side) for side in shape]
    return np.ascontiguousarray(np.pad(flat.reshape(shape, order="F"), pads))


def list_first(folder: Path) -> tuple[str, Path]:
    """Return the first case by the public rule: rows of metadata.csv, then `processed`."""
    (table,) = folder.glob("**/metadata.csv")
    case = str(pd.read_csv(table)["case_id"][0])
    return case, table.parent / "processed" / case / "windows"


def test_masks_are_arrays_as_numpy_writes_them(built: Workspace, export: Export) -> None:
    result = export()
    assert (result.written, result.listed, result.problems) == (2, {"train": 2}, [])
    case, folder = list_first(result.index.parents[1])
    for name, file in (("soft_tissue", "soft_tissue_w400_l50"), ("air", "air_w200_l-1000")):
        cube = read_cube(built, case, name)
        expected = io.BytesIO()
        np.save(expected, cube)
        assert (folder / f"{file}.npy").read_bytes() == expected.getvalue()
        assert cube.shape == (512, 512, 512)
        assert cube.any()


def test_points_are_those_of_nonzero_in_its_order(built: Workspace, export: Export) -> None:
    case, folder = list_first(export("sparse_npz").index.parents[1])
    cube = read_cube(built, case, "soft_tissue")
    with np.load(folder / "soft_tissue_w400_l50_sparse.npz", allow_pickle=False) as file:
        indices, values = file["indices"], file["values"]
    assert (indices.dtype, values.dtype) == (np.int16, np.float16)
    np.testing.assert_array_equal(indices, np.stack(np.nonzero(cube), axis=1))
    np.testing.assert_array_equal(values, cube[tuple(indices.T)].astype(np.float16))


def test_points_may_be_beside_the_masks(export: Export) -> None:
    _, folder = list_first(export("npy_and_sparse").index.parents[1])
    assert sorted(path.name for path in folder.iterdir()) == [
        "air_w200_l-1000.npy",
        "air_w200_l-1000_sparse.npz",
        "soft_tissue_w400_l50.npy",
        "soft_tissue_w400_l50_sparse.npz",
    ]
    cube = np.load(folder / "soft_tissue_w400_l50.npy")
    with np.load(folder / "soft_tissue_w400_l50_sparse.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["indices"], np.argwhere(cube))


def test_later_loaders_find_tensors_under_their_names(built: Workspace, export: Export) -> None:
    case, folder = list_first(export("tensor_npz").index.parents[1])
    cube = read_cube(built, case, "air")
    with np.load(folder / "air_w200_l-1000.npz", allow_pickle=False) as file:
        index, sdf = file["sparse_index"], file["sparse_sdf"]
    assert (index.dtype, sdf.dtype, sdf.shape) == (np.int64, np.float32, (cube.sum(), 1))
    np.testing.assert_array_equal(index, np.argwhere(cube))
    assert (sdf == 1).all()


def test_one_window_of_several_is_exported(built: Workspace, tmp_path: Path) -> None:
    result = export_windows(
        built.paths, ["train-000000"], tmp_path / "one", windows=[AIR], form="npy"
    )
    _, folder = list_first(result.index.parents[1])
    assert [path.name for path in folder.iterdir()] == ["air_w200_l-1000.npy"]
    assert "num_points_soft_tissue" not in result.index.read_text()


@pytest.mark.parametrize("form", ["npy", "sparse_npz"])
def test_an_export_is_resumed_and_its_bytes_are_the_same(form: str, export: Export) -> None:
    first = export(form)
    folder = first.index.parent
    files = {path: path.read_bytes() for path in sorted(folder.rglob("*.np*"))}
    assert len(files) == 4
    next(iter(files)).unlink()
    again = export(form)
    assert (again.written, again.kept) == (1, 1)
    assert {path: path.read_bytes() for path in files} == files
    assert export(form, force=True).written == 2
    assert {path: path.read_bytes() for path in files} == files


def test_a_damaged_mask_is_named_and_the_others_are_exported(
    built: Workspace, export: Export
) -> None:
    shard = built.paths.shard("train-000000")
    with tarfile.open(shard) as tar:
        offset = tar.getmembers()[0].offset_data
    content = bytearray(shard.read_bytes())
    content[offset] ^= 1
    shard.write_bytes(content)
    result = export()
    assert result.written == 1
    assert "member .soft_tissue.bits is damaged" in result.problems[0]
    _, folder = list_first(result.index.parents[1])
    assert len(list(folder.iterdir())) == 2
    assert not list(result.index.parent.rglob("*.tmp"))


@pytest.mark.parametrize("shape", [(5, 7, 11), (17, 3, 2), (513, 2, 5), (2, 3, 700)])
def test_masks_of_any_shape_are_padded_at_the_end(shape: tuple[int, int, int]) -> None:
    mask = np.random.default_rng(0).random(shape) < 0.3
    side = 512 if max(shape) <= 512 else 1024
    packed = pack_mask(mask)
    if side == 512:
        content = b"".join(bytes(memoryview(p)) for p in iter_npy(packed.bits, shape))  # pyright: ignore[reportArgumentType]
        cube = np.load(io.BytesIO(content))
        assert (cube.shape, cube.dtype) == ((side, side, side), np.uint8)
        np.testing.assert_array_equal(cube[tuple(map(slice, shape))], mask)
        assert cube.sum() == mask.sum()
    pieces = iter_sparse_npz(packed.bits, shape, num_points=packed.num_points)
    with np.load(io.BytesIO(b"".join(bytes(memoryview(p)) for p in pieces))) as file:  # pyright: ignore[reportArgumentType]
        np.testing.assert_array_equal(file["indices"], np.argwhere(mask))
        assert len(file["values"]) == mask.sum()


def test_a_wrong_count_of_points_is_refused() -> None:
    packed = pack_mask(np.ones((5, 7, 11), bool))
    with pytest.raises(ShardIntegrityError, match="counts 12 points, the bits hold 385"):
        list(iter_sparse_npz(packed.bits, (5, 7, 11), num_points=12))
