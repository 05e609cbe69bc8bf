"""PyTorch dataset of CT volumes with reports and labels."""

import math
import reprlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch.utils.data import Dataset

from medassets.loaders.arrays import (
    StoredArray,
    describe_npy,
    describe_raw,
    read_array,
    read_stack,
)
from medassets.loaders.batch_memory import empty_tensor
from medassets.loaders.collate import Sample, StackedSamples, collate_samples
from medassets.loaders.index import IndexedSample, ShardIndex
from medassets.loaders.labels import LabelReader
from medassets.loaders.members import Check, ShardReader
from medassets.loaders.sample_kinds import require_kind
from medassets.samples import SampleKind
from medassets.tars.lists import Source

VolumeDtype = Literal["float16", "float32"]

_VOLUME_SUFFIXES = ("bin", "npy")
_TORCH_DTYPES = {"float16": torch.float16, "float32": torch.float32}


@dataclass(frozen=True)
class DescribedVolume:
    """One sample before its array is read.

    Attributes:
        stored: Where the array is.
        facts: Everything else of the sample.
    """

    stored: StoredArray
    facts: Sample


class VolumeDecoder:
    """Makes samples of volumes from the members that a reader gives.

    Args:
        reader: Reader of the shards.
        dtype: dtype of the volumes.
        label_type: As for `VolumeDataset`.

    Raises:
        UsageError: If there is no such type of labels.
        ValueError: If `dtype` is unknown.
    """

    def __init__(
        self, reader: ShardReader, *, dtype: VolumeDtype, label_type: str | None = None
    ) -> None:
        _check_dtype(dtype)
        self._reader = reader
        self._labels = LabelReader(reader, label_type)
        self.dtype = _TORCH_DTYPES[dtype]

    def decode(self, sample: IndexedSample) -> Sample:
        """Return one sample, as `VolumeDataset` describes it.

        Raises:
            ShardIntegrityError: If the sample is damaged.
            ValueError: If its dtype is wider than the requested one.
        """
        described = self.describe(sample)
        out = empty_tensor(described.stored.shape, self.dtype)
        read_array(self._reader, described.stored, out)
        return {"volume": out.permute(2, 0, 1)[None], **described.facts}

    def describe(self, sample: IndexedSample) -> DescribedVolume:
        """Return where the array of a sample is, and everything else of it.

        Raises:
            ShardIntegrityError: If the sample is damaged.
        """
        reader = self._reader
        document = self._read_json(sample)
        if "bin" in sample.members:
            stored = describe_raw(reader, sample, "bin", document)
        else:
            stored = describe_npy(reader, sample, "npy")
        if len(stored.shape) != 3:
            what = f"shape {list(stored.shape)}; expected three axes (height, width, depth)"
            raise self._reader.index.damage(sample, what)
        facts = {
            "report": reader.read_text(sample, "txt"),
            "labels": torch.from_numpy(self._labels.read(sample, document)),
            "study_id": self._read_study(sample, document),
            "key": sample.key,
        }
        return DescribedVolume(stored, facts)

    def _read_json(self, sample: IndexedSample) -> dict[str, Any]:
        document = self._reader.read_json(sample, "json") if "json" in sample.members else {}
        if not isinstance(document, dict):
            raise self._reader.index.damage(sample, "member .json is not an object")
        return document

    def _read_study(self, sample: IndexedSample, document: dict[str, Any]) -> str:
        study = document.get("study_id")
        if study is not None and not isinstance(study, str | int | float):
            what = f"member .json says study_id {reprlib.repr(study)}; expected text"
            raise self._reader.index.damage(sample, what)
        return sample.key if study is None else str(study)


def _check_dtype(dtype: VolumeDtype) -> None:
    if dtype not in get_args(VolumeDtype):
        msg = f"dtype: expected one of {', '.join(get_args(VolumeDtype))}, got {dtype!r}"
        raise ValueError(msg)


class VolumeDataset(Dataset[Sample]):
    """Map-style dataset of the volumes of one split.

    A sample is a dict:

    - `volume`: (1, D, H, W) of the requested dtype. Shards hold (H, W, D) in C order, so this is a
      view with strides (1, W * D, D) for D, H, W: no copy is made, and `.contiguous()` is cheapest
      on the GPU.
    - `report`: text, as stored;
    - `labels`: float32 (num_classes,); (0,) if the shard has none, as in the public loader;
    - `study_id`: from the json, or else the key; and `key`.

    The memory of volumes is reused after the last tensor, view or array of it is released.

    Args:
        source: `manifest.json`, a folder of shards, a pattern such as `shard-{000000..000314}.tar` or
            `*.tar`, or a list of those. Volumes are `.bin` or `.npy`, labels `.cls` or `.labels`.
        dtype: dtype of the volumes. float32 costs one more pass over memory, twice the memory, and
            twice the transfer to the GPU.
        check: When contents are compared with their checksums: at their `first` read by this
            process, `always` or `never`.
        label_type: Type of the labels in shards that medassets did not make, such as `int32`, `>f4`
            or `text`; None takes the only one that fits all samples and their jsons.
        require_complete: Refuse a manifest that lacks samples of its plan, or lists older shards than
            today's. Otherwise one warning says what it lacks.

    Raises:
        UsageError: If there is no such type of labels.
        ShardIntegrityError: If a shard is missing, cut off, or differs from its record.
        IncompleteManifestError: If the manifest must be complete, and is not.
        WrongLoaderError: If the shards hold samples of another kind.
        ValueError: If `dtype` or `check` is unknown.
    """

    def __init__(
        self,
        source: Source,
        *,
        dtype: VolumeDtype = "float16",
        check: Check = "first",
        label_type: str | None = None,
        require_complete: bool = False,
    ) -> None:
        _check_dtype(dtype)
        self._reader = ShardReader(source, check=check, require_complete=require_complete)
        self._decoder = VolumeDecoder(self._reader, dtype=dtype, label_type=label_type)
        require_kind(self.index, SampleKind.CT_VOLUME)
        self.index.require(_VOLUME_SUFFIXES, ["txt"])

    @property
    def index(self) -> ShardIndex:
        """Keys, shards and offsets of the samples."""
        return self._reader.index

    @property
    def sample_bytes(self) -> int:
        """Size of the first sample's volume as it is returned."""
        stored = self._decoder.describe(self.index.locate(0)).stored
        return math.prod(stored.shape) * self._decoder.dtype.itemsize

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._reader)

    def __getitem__(self, index: int) -> Sample:
        """Return one sample.

        Raises:
            IndexError: If the index is out of range.
            ShardIntegrityError: If the sample is damaged; the message names shard, sample and remedy.
            ValueError: If its dtype is wider than the requested one.
        """
        return self._decoder.decode(self.index.locate(index))

    def __getitems__(self, indices: Sequence[int]) -> StackedSamples:
        """Return several samples, read into one batch that `collate_fn` returns as it is.

        Raises:
            ValueError: If their shapes differ.
        """
        described = [self._decoder.describe(self.index.locate(index)) for index in indices]
        stored = [one.stored for one in described]
        batch = read_stack(self._reader, stored, self._decoder.dtype).permute(0, 3, 1, 2)[:, None]
        samples = [
            {"volume": volume, **one.facts} for volume, one in zip(batch, described, strict=True)
        ]
        return StackedSamples(samples, "volume", batch)

    collate_fn = staticmethod(collate_samples)
    """Makes `volume (b, 1, D, H, W)`, `labels (b, num_classes)` and lists of the texts."""

    def expect(self, index: int) -> None:
        """Ask the kernel to read a sample ahead."""
        self._reader.expect(index, self.index.suffixes)
