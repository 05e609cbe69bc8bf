"""What every dataset promises a training loop; each dataset class subclasses a contract."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from medassets.errors import MedassetsError
from medassets.loaders import Loader

NUM_SAMPLES = 5


def flatten(value: Any) -> list[Any]:
    """Return the content of a sample or batch as plain values, for comparison."""
    if isinstance(value, dict):
        return [[name, flatten(value[name])] for name in sorted(value)]
    if isinstance(value, torch.Tensor):
        return [list(value.shape), np.nan_to_num(value.double().numpy(), nan=-1).tolist()]
    return [flatten(one) for one in value] if isinstance(value, list) else [value]


def damage_file(path: Path) -> None:
    """Cut a file off in the middle."""
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


class StreamContract:
    """Promises of every dataset, iterable ones among them.

    Subclasses write `NUM_SAMPLES` samples in `write`, open what was written in `open`, and name a
    file of the last sample in `last_file`.
    """

    def write(self, folder: Path) -> Any:
        """Write the samples into a folder, and return the argument of `open`."""
        raise NotImplementedError

    def open(self, source: Any, **arguments: Any) -> Any:
        """Open what `write` returned."""
        raise NotImplementedError

    def last_file(self, folder: Path) -> Path:
        """Return the file that holds the last sample."""
        return max(folder.rglob("*.tar"))

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """Folder of the samples."""
        return tmp_path / "samples"

    @pytest.fixture
    def source(self, folder: Path) -> Any:
        """What `write` returned."""
        folder.mkdir()
        return self.write(folder)

    def test_the_length_is_the_number_of_samples(self, source: Any) -> None:
        dataset = self.open(source)
        assert len(dataset) == len(list(dataset)) == NUM_SAMPLES

    def test_a_damaged_file_is_named(self, folder: Path, source: Any) -> None:
        damage_file(self.last_file(folder))
        with pytest.raises(MedassetsError, match=self.last_file(folder).name):
            list(self.open(source))

    def test_a_missing_file_is_named(self, folder: Path, source: Any) -> None:
        missing = self.last_file(folder)
        dataset = self.open(source)
        missing.unlink()
        with pytest.raises(MedassetsError, match=missing.name):
            list(dataset)


class DatasetContract(StreamContract):
    """Promises of every map-style dataset."""

    def test_samples_are_read_in_any_order(self, source: Any) -> None:
        dataset = self.open(source)
        expected = [flatten(sample) for sample in self.open(source)]
        for index in (4, 0, 3, 1, 2, 0, -1):
            assert flatten(dataset[index]) == expected[index]
        for index in (NUM_SAMPLES, -NUM_SAMPLES - 1):
            with pytest.raises(IndexError):
                dataset[index]

    def test_samples_do_not_depend_on_the_folder(self, folder: Path, source: Any) -> None:
        expected = [flatten(sample) for sample in self.open(source)]
        shutil.copytree(folder, folder.with_name("copy"))
        copy = self.open(type(source)(str(source).replace(str(folder), f"{folder.parent}/copy")))
        assert [flatten(sample) for sample in copy] == expected

    @pytest.mark.parametrize("world_size", [1, 2, 3])
    @pytest.mark.parametrize("uneven", ["pad", "drop"])
    def test_every_rank_gets_the_same_number_of_batches(
        self, source: Any, world_size: int, uneven: Any
    ) -> None:
        counts = [
            len(
                list(
                    Loader(
                        self.open(source),
                        batch_size=2,
                        num_workers=0,
                        rank=rank,
                        world_size=world_size,
                        uneven=uneven,
                    )
                )
            )
            for rank in range(world_size)
        ]
        assert len(set(counts)) == 1
        assert counts[0] > 0

    @pytest.mark.parametrize("stop", [1, 2])
    def test_a_saved_state_continues_with_the_next_batch(self, source: Any, stop: int) -> None:
        settings: dict[str, Any] = {"batch_size": 2, "shuffle": True, "seed": 3}
        whole = [flatten(batch) for batch in Loader(self.open(source), num_workers=0, **settings)]
        first = Loader(self.open(source), num_workers=2, **settings)
        batches = iter(first)
        begun = [flatten(next(batches)) for _ in range(stop)]
        second = Loader(self.open(source), num_workers=1, **settings)
        second.load_state_dict(first.state_dict())
        assert begun + [flatten(batch) for batch in second] == whole
