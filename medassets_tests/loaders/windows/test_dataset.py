"""Sparse windows as a trainer sees them; `np.nonzero` says which points there are."""

import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medassets.errors import WindowFileError
from medassets.loaders import CTWindowSparseSDF
from medassets_tests.loaders.contract import DatasetContract, damage_file
from medassets_tests.loaders.windows.window_data import (
    CACHES,
    FORMS,
    MASKS,
    NO_CACHE,
    NUM_CASES,
    sorted_points,
    write_case,
    write_form,
    write_shards,
)


def open_first_epoch(source: str, **arguments: Any) -> CTWindowSparseSDF:
    """Open windows that sample points and read files each time."""
    dataset = CTWindowSparseSDF(source, max_points=1000, **NO_CACHE, **arguments)
    dataset.set_epoch(0)
    return dataset


class TestWindowsFromShards(DatasetContract):
    def write(self, folder: Path) -> str:
        return write_form(folder, "raw")

    def open(self, source: Any, **arguments: Any) -> CTWindowSparseSDF:
        return open_first_epoch(source, **arguments)


class TestWindowsFromFolders(DatasetContract):
    form, suffix = "npy", ".npy"

    def write(self, folder: Path) -> str:
        return write_form(folder, self.form)

    def open(self, source: Any, **arguments: Any) -> CTWindowSparseSDF:
        return open_first_epoch(source, **arguments)

    def last_file(self, folder: Path) -> Path:
        return next((folder / f"case_{NUM_CASES - 1}" / "windows").glob(f"*{self.suffix}"))

    def test_a_damaged_file_is_named(self, folder: Path, source: Any) -> None:
        damaged = self.last_file(folder)
        dataset: Any = self.open(source)
        damage_file(damaged)
        with pytest.raises(WindowFileError, match=damaged.name):
            list(dataset)
        assert [item.path for item in self.open(source).left_out] == [str(damaged)]


class TestWindowsFromLists(TestWindowsFromFolders):
    form, suffix = "sparse", ".npz"


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cache", range(len(CACHES)))
def test_all_points_come_when_there_are_few_enough(tmp_path: Path, form: str, cache: int) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, form), **CACHES[cache])
    assert len(dataset) == NUM_CASES
    for _ in range(2):
        for number, mask in enumerate(MASKS):
            sample = dataset[number]
            assert sample["sparse_index"].dtype == torch.int64
            assert sample["sparse_sdf"].dtype == torch.float32
            assert sample["sparse_sdf"].shape == (mask.sum(), 1)
            assert (sample["sparse_sdf"] == 1).all()
            np.testing.assert_array_equal(sorted_points(sample["sparse_index"]), np.argwhere(mask))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("cache", range(len(CACHES)))
def test_a_drawn_subset_is_seeded_by_epoch_and_index(tmp_path: Path, form: str, cache: int) -> None:
    roots = write_form(tmp_path, form)
    dataset = CTWindowSparseSDF(roots, max_points=200, **CACHES[cache])
    dataset.set_epoch(0)
    first = dataset[1]["sparse_index"]
    assert first.shape == (200, 3)
    assert MASKS[1][tuple(first.T)].all()
    assert len(np.unique(first, axis=0)) == 200
    np.testing.assert_array_equal(dataset[1]["sparse_index"], first)
    again = CTWindowSparseSDF(roots, max_points=200, **NO_CACHE)
    np.testing.assert_array_equal(again[1]["sparse_index"], first)
    dataset.set_epoch(1)
    second = dataset[1]["sparse_index"]
    assert not torch.equal(second, first)
    other = CTWindowSparseSDF(roots, max_points=200, seed=7, **NO_CACHE)
    assert not torch.equal(other[1]["sparse_index"], first)
    dataset.set_epoch(0)
    np.testing.assert_array_equal(dataset[1]["sparse_index"], first)


def test_arguments_and_defaults_are_those_of_existing_training_code(tmp_path: Path) -> None:
    write_form(tmp_path, "npy")
    dataset = CTWindowSparseSDF(str(tmp_path), 512, "lung", 100, 500000, True, True)
    plain = CTWindowSparseSDF(str(tmp_path))
    for name in ("resolution", "window_type", "min_points", "max_points", "cache_data"):
        assert getattr(plain, name) == getattr(dataset, name)
    assert dataset.value_range == (0, 1)
    assert dataset.roots == [str(tmp_path)]
    wanted = {
        "num_instances": NUM_CASES,
        "window_type": "lung",
        "resolution": 512,
        "min_points": 100,
        "max_points": 500000,
    }
    assert wanted.items() <= dataset.get_stats().items()
    assert dataset.window_filename == "lung_w1500_l-600.npy"
    assert str(dataset).splitlines() == [
        "CTWindowSparseSDF Dataset",
        "=" * 50,
        "Window Type: lung",
        "Resolution: 512",
        "Instances: 5",
        "Point Range: [100, 500000]",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [("seed", -1), ("seed", 0.5), ("max_points", 0), ("resolution", 0), ("memory_share", 1.5)],
)
def test_settings_that_cannot_work_are_refused_at_once(name: str, value: Any) -> None:
    settings: dict[str, Any] = {name: value}
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        CTWindowSparseSDF("", **settings)


def test_an_epoch_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^epoch: expected an integer of 0 or more, got -1$"):
        CTWindowSparseSDF("").set_epoch(-1)


def test_values_that_are_not_1_come_with_their_points(tmp_path: Path) -> None:
    volume = np.where(MASKS[0], np.arange(MASKS[0].size).reshape(MASKS[0].shape) % 90 - 40, 0)
    write_case(tmp_path, "a", volume.astype(np.int16))
    write_case(tmp_path, "b", np.asfortranarray(volume.astype(np.float32) / 8))
    for options in CACHES:
        for max_points in (50, 500000):
            dataset = CTWindowSparseSDF(str(tmp_path), max_points=max_points, **options)
            for number, scale in enumerate((1, 8)):
                sample = dataset[number]
                expected = volume[tuple(sample["sparse_index"].T)] / scale
                np.testing.assert_array_equal(sample["sparse_sdf"][:, 0], expected)
                assert len(expected) == min(max_points, np.count_nonzero(volume))


@pytest.mark.parametrize("order", ["C", "F"])
def test_distances_of_a_later_version_are_read_before_the_mask(tmp_path: Path, order: str) -> None:
    path = write_case(tmp_path, "a", MASKS[0])
    index = np.asarray(np.argwhere(MASKS[1]).astype(np.int32), order=order)  # pyright: ignore[reportCallIssue, reportArgumentType]
    distances = np.random.default_rng(0).normal(size=(len(index), 1)).astype(np.float32)
    np.savez(path.with_suffix(".npz"), sparse_index=index, sparse_sdf=distances, resolution=512)
    by_point: dict[tuple[int, ...], float] = {
        tuple(p): d for p, d in zip(index.tolist(), distances[:, 0].tolist(), strict=True)
    }
    for options in CACHES:
        for max_points in (77, 500000):
            sample = CTWindowSparseSDF(str(tmp_path), max_points=max_points, **options)[0]
            assert len(sample["sparse_index"]) == min(max_points, len(index))
            got = [by_point[tuple(point)] for point in sample["sparse_index"].tolist()]
            np.testing.assert_array_equal(sample["sparse_sdf"][:, 0], np.array(got, np.float32))


def test_over_many_epochs_every_point_and_pair_is_equally_likely(tmp_path: Path) -> None:
    mask = np.zeros((9, 7, 8), np.bool_)
    mask[2:5, 3:5, ::4] = True
    masks = {"a": {"lung": mask}}
    dataset = CTWindowSparseSDF(
        str(write_shards(tmp_path, masks)), min_points=1, max_points=5, cache_data=False
    )
    points = {tuple(point): n for n, point in enumerate(np.argwhere(mask).tolist())}
    num_epochs, num_points = 6000, len(points)
    drawn = np.zeros((num_epochs, num_points), np.int64)
    for epoch in range(num_epochs):
        dataset.set_epoch(epoch)
        drawn[epoch, [points[tuple(p)] for p in dataset[0]["sparse_index"].tolist()]] = 1
    assert (drawn.sum(axis=1) == 5).all()
    expected = num_epochs * 5 / num_points
    chi = ((drawn.sum(axis=0) - expected) ** 2).sum() / (expected * (1 - 5 / num_points))
    assert chi * (num_points - 1) / num_points < 31.3  # 99.9 % of chi-square, 11 degrees
    together = (drawn.T @ drawn)[np.triu_indices(num_points, 1)]
    share = 5 * 4 / (num_points * (num_points - 1))
    deviation = np.sqrt(num_epochs * share * (1 - share))
    assert np.abs(together - num_epochs * share).max() < 4.5 * deviation


def test_a_batch_is_its_samples_one_after_the_other(tmp_path: Path) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, "npy"), max_points=3000)
    samples = [dataset[number] for number in range(NUM_CASES)]
    batch = dataset.collate_fn(samples)
    for name in ("sparse_sdf", "sparse_index"):
        expected = np.concatenate([sample[name].numpy() for sample in samples])
        np.testing.assert_array_equal(batch[name], expected)
        assert batch[name].dtype == samples[0][name].dtype
    lengths = [len(sample["sparse_sdf"]) for sample in samples]
    np.testing.assert_array_equal(batch["batch_idx"], np.repeat(np.arange(NUM_CASES), lengths))
    assert batch["batch_idx"].dtype == torch.int64


def test_the_loaders_import_no_dagster() -> None:
    code = "import sys, medassets.loaders.windows.dataset; print('dagster' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_no_warning_is_logged_of_a_whole_dataset(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        CTWindowSparseSDF(write_form(tmp_path, "npy"))
    assert [record.levelname for record in caplog.records] == ["INFO"]
    assert caplog.messages == ["lung: 5 instances; 5 kept in memory"]


# Memory.


def test_what_is_kept_never_takes_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    roots = write_form(tmp_path, "npy")
    assert CTWindowSparseSDF(roots).get_stats()["num_kept"] == NUM_CASES
    assert CTWindowSparseSDF(roots, memory_share=0.0).get_stats()["num_kept"] == 0
    left = iter(range(10**6, 0, -(10**5)))
    monkeypatch.setattr(
        "medassets.loaders.windows.dataset.read_available_bytes", lambda: next(left)
    )
    monkeypatch.setattr("medassets.loaders.windows.dataset.os.cpu_count", lambda: 1)
    dataset = CTWindowSparseSDF(roots, memory_share=0.35)
    assert dataset.get_stats()["num_kept"] == 3


@pytest.mark.parametrize(("form", "kept"), [("npy", 0), ("raw", 0), ("zstd", 0), ("sparse", 1)])
def test_of_many_instances_only_lists_are_kept_and_only_when_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, kept: int
) -> None:
    monkeypatch.setattr("medassets.loaders.windows.dataset.MAX_PRELOADED", NUM_CASES - 1)
    dataset = CTWindowSparseSDF(write_form(tmp_path, form))
    assert dataset.get_stats()["num_kept"] == 0
    dataset[2]
    assert dataset.get_stats()["num_kept"] == kept


@pytest.mark.slow
@pytest.mark.parametrize("form", ["npy", "raw", "zstd"])
def test_a_large_mask_needs_little_memory(tmp_path: Path, form: str) -> None:
    mask = np.zeros((512, 512, 256), np.bool_)
    mask[100:400, 50:450, 20:230] = True
    if form == "npy":
        write_case(tmp_path, "a", mask)
        roots = str(tmp_path)
    else:
        compression = "none" if form == "raw" else "auto"
        roots = str(write_shards(tmp_path, {"a": {"lung": mask}}, compression=compression))
    code = f"""
import re
from pathlib import Path
from medassets.loaders.windows.dataset import CTWindowSparseSDF
from medassets.volumes.windows.occupancy import pack_mask
import numpy as np
pack_mask(np.ones((64, 64, 64), bool)).sample(1000, np.random.default_rng(0))
def read(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024
Path("/proc/self/clear_refs").write_text("5")
before = read("VmRSS")
dataset = CTWindowSparseSDF({roots!r}, max_points=100000, cache_data=False, precompute_sparse=False)
for epoch in range(3):
    dataset.set_epoch(epoch)
    assert dataset[0]["sparse_index"].shape == (100000, 3)
print(read("VmHWM") - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60
