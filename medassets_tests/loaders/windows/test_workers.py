"""Windows in the workers of loaders: the same points in each, epochs, and the state to go on."""

import pickle
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader

from medassets.loaders import CTWindowSparseSDF, Loader
from medassets_tests.loaders.windows.window_data import NO_CACHE, write_form

pytestmark = pytest.mark.slow


def make_loader(dataset: CTWindowSparseSDF, **options: object) -> DataLoader[object]:
    return DataLoader(dataset, batch_size=2, collate_fn=dataset.collate_fn, **options)  # pyright: ignore[reportArgumentType, reportReturnType]


@pytest.mark.parametrize("form", ["npy", "zstd"])
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_give_what_the_process_itself_gives(tmp_path: Path, form: str, method: str) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, form), max_points=150)
    loader = make_loader(
        dataset, num_workers=2, multiprocessing_context=method, persistent_workers=True
    )
    for epoch in (0, 1, 2):
        dataset.set_epoch(epoch)
        expected = list(make_loader(dataset))
        got = list(loader)
        assert len(got) == len(expected)
        for one, other in zip(got, expected, strict=True):
            assert one.keys() == other.keys()
            for name in one:
                assert torch.equal(one[name], other[name])


@pytest.mark.parametrize("workers", ["thread", "process"])
def test_our_own_loader_gives_what_the_dataset_gives(tmp_path: Path, workers: Any) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, "zstd"), max_points=150, **NO_CACHE)
    loader = Loader(dataset, batch_size=2, num_workers=2, workers=workers)
    for epoch in range(3):
        got = list(loader)
        dataset.set_epoch(epoch)
        expected = list(make_loader(dataset))
        assert len(got) == len(expected) == 3
        for one, other in zip(got, expected, strict=True):
            assert torch.equal(one["sparse_index"], other["sparse_index"])
            assert torch.equal(one["batch_idx"], other["batch_idx"])


def test_a_worker_that_sets_its_own_epoch_does_not_disturb_the_others(tmp_path: Path) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, "npy"), max_points=150)

    def start(worker: int) -> None:
        dataset.set_epoch(3 + worker)

    got = list(make_loader(dataset, num_workers=2, worker_init_fn=start))
    assert dataset.epoch == 0
    # Two workers take batches in turn.
    for first, epoch, batch in zip((0, 2, 4), (3, 4, 3), got, strict=True):
        dataset.set_epoch(epoch)
        points = batch["sparse_index"][batch["batch_idx"] == 0]
        assert torch.equal(points, dataset[first]["sparse_index"])


def test_a_copy_made_by_pickle_is_small_and_draws_the_same(tmp_path: Path) -> None:
    dataset = CTWindowSparseSDF(write_form(tmp_path, "zstd"), max_points=150)
    dataset.set_epoch(4)
    content = pickle.dumps(dataset)
    assert len(content) < 20_000
    assert torch.equal(pickle.loads(content)[3]["sparse_index"], dataset[3]["sparse_index"])


@pytest.mark.parametrize("form", ["npy", "zstd"])
def test_a_loader_does_not_go_on_with_other_points(tmp_path: Path, form: str) -> None:
    def make(folder: str, **options: Any) -> Loader:
        settings: dict[str, Any] = {"max_points": 100, **options}
        return Loader(CTWindowSparseSDF(folder, **settings), batch_size=2)

    roots = write_form(tmp_path / "a", form)
    state = make(roots).state_dict()
    make(write_form(tmp_path / "copy", form)).load_state_dict(state)
    for options in ({"seed": 1}, {"max_points": 99}):
        with pytest.raises(ValueError, match="samples_digest"):
            make(roots, **options).load_state_dict(state)


# Epochs that nobody sets.


@pytest.mark.parametrize("num_workers", [0, 2])
def test_points_that_come_again_because_no_epoch_is_set_are_warned_of_once(
    tmp_path: Path, num_workers: int
) -> None:
    roots = write_form(tmp_path, "raw")
    code = f"""
from medassets.loaders import CTWindowSparseSDF
from torch.utils.data import DataLoader
dataset = CTWindowSparseSDF({roots!r}, max_points=100)
loader = DataLoader(dataset, batch_size=2, collate_fn=dataset.collate_fn, num_workers={num_workers})
list(loader)
print("first", flush=True)
assert not dataset._drawn[-1]
list(loader)
list(loader)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.count("call set_epoch(epoch) before each epoch") == 1


def test_no_warning_comes_where_epochs_are_set_or_nothing_is_drawn(tmp_path: Path) -> None:
    roots = write_form(tmp_path, "raw")
    dataset = CTWindowSparseSDF(roots, max_points=100)
    dataset.set_epoch(0)
    whole = CTWindowSparseSDF(roots)
    loader = Loader(CTWindowSparseSDF(roots, max_points=100), batch_size=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(2):
            assert torch.equal(dataset[0]["sparse_index"], dataset[0]["sparse_index"])
            assert torch.equal(whole[0]["sparse_index"], whole[0]["sparse_index"])
            list(loader)
