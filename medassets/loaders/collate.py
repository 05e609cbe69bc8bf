"""Makes batches of samples, without a copy if they were read into one batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from medassets.loaders.batch_memory import empty_batch

Sample = dict[str, Any]


class StackedSamples(list[Sample]):
    """Samples with one field that is a view of a batch.

    Args:
        samples: The samples.
        name: Name of the field.
        batch: The batch; `samples[i][name]` is `batch[i]`.
    """

    def __init__(self, samples: Sequence[Sample], name: str, batch: torch.Tensor) -> None:
        super().__init__(samples)
        self._name = name
        self._batch = batch

    def find_batches(self) -> Mapping[str, torch.Tensor]:
        """Return the batch by its field's name; empty if the list was changed."""
        tensors = [sample[self._name] for sample in self]
        if len(tensors) != len(self._batch):
            return {}
        same = all(
            tensor.data_ptr() == other.data_ptr() and tensor.shape == other.shape
            for tensor, other in zip(tensors, self._batch, strict=True)
        )
        return {self._name: self._batch} if same else {}


def collate_samples(samples: Sequence[Sample]) -> Sample:
    """Make one batch of samples: tensors are stacked, anything else is listed.

    Samples that were read together already form a batch, which is returned as it is. Others are
    copied once, with the same order of axes in memory; in worker processes of PyTorch's DataLoader
    into shared memory.

    Raises:
        ValueError: If the shapes of a field differ; the message names the field and two samples.
    """
    found = samples.find_batches() if isinstance(samples, StackedSamples) else {}
    batch: Sample = {}
    for name, value in samples[0].items():
        if name in found:
            batch[name] = found[name]
        elif isinstance(value, torch.Tensor):
            batch[name] = _stack(name, samples)
        else:
            batch[name] = [sample[name] for sample in samples]
    return batch


def _stack(name: str, samples: Sequence[Sample]) -> torch.Tensor:
    first = samples[0][name]
    for sample in samples:
        if sample[name].shape != first.shape:
            msg = (
                f"{name}: {samples[0].get('key')} has shape {tuple(first.shape)}, "
                f"{sample.get('key')} {tuple(sample[name].shape)}: no batch can hold both; use "
                "batch_size=1 or a collate_fn of your own"
            )
            raise ValueError(msg)
    axes = sorted(range(first.ndim), key=lambda axis: -first.stride(axis))
    stored = empty_batch((len(samples), *(first.shape[axis] for axis in axes)), first.dtype)
    batch = stored.permute(0, *(1 + axes.index(axis) for axis in range(first.ndim)))
    for sample, out in zip(samples, batch, strict=True):
        out.copy_(sample[name])
    return batch
