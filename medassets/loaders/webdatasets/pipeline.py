"""A `webdataset` pipeline over published shards, with the samples of our datasets."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braceexpand import braceexpand
from webdataset.compat import WebDataset
from webdataset.filters import detshuffle, shuffle
from webdataset.pipeline import DataPipeline
from webdataset.shardlists import (
    ResampledShards,
    SimpleShardList,
    split_by_node,
    split_by_worker,
)
from webdataset.tariterators import group_by_keys

from medassets.errors import UsageError, WrongLoaderError
from medassets.loaders.clips import ClipDataset, ClipDecoder, FrameLayout
from medassets.loaders.collate import Sample, collate_samples
from medassets.loaders.index import ShardIndex
from medassets.loaders.members import Check
from medassets.loaders.ranks import find_place
from medassets.loaders.sample_kinds import explain_other_kind, name_kind
from medassets.loaders.volumes import VolumeDataset, VolumeDecoder, VolumeDtype
from medassets.loaders.webdatasets.opening import expand_tars, open_streams
from medassets.loaders.webdatasets.streamed import StreamedReader
from medassets.samples import SampleKind
from medassets.tars.lists import Source

# Arguments of `open_webdataset` have these names.
_SPLIT_BY_NODE, _SPLIT_BY_WORKER, _SHUFFLE = split_by_node, split_by_worker, shuffle
_EXPANSION = "expected such as s3://bucket/train/shard-{000000..000314}.tar"


def open_webdataset(
    source: Source,
    *,
    dtype: VolumeDtype = "float16",
    layout: FrameLayout = "tchw",
    label_type: str | None = None,
    check: Check = "first",
    shuffle: int = 0,
    seed: int | None = None,
    resampled: bool = False,
    split_by_node: bool = True,
    split_by_worker: bool = True,
    require_complete: bool = False,
) -> "ShardPipeline":
    """Open shards of volumes or frames as a pipeline of `webdataset`.

    A sample is that of `VolumeDataset` or `ClipDataset`, with `__key__` and `__url__`. Every method of
    `webdataset.WebDataset` is there: `map`, `select`, `batched`, `with_epoch`, ...

    Shards of this machine are indexed first, and read by offset: a shard that is missing, cut off or
    differs from its record is an error, and so is a member that differs from its checksum. Of
    URLs, the end of each tar and the members of each sample are checked; a shard that lacks whole
    samples and was closed cannot be told.

    Args:
        source: As for `VolumeDataset`; or URLs, with braces: `s3://bucket/train/shard-{0..9}.tar`,
            `pipe:ssh host cat /data/shard-{0..9}.tar`, `https://...`, or a list of them.
        dtype: dtype of volumes.
        layout: Axes of frames.
        label_type: Type of labels in shards of other tools; see `VolumeDataset`.
        check: When members of indexed shards are compared with their checksums.
        shuffle: Shards are shuffled, and samples in a buffer of this number; 0 keeps the order. Of
            URLs the buffer holds stored samples, of indexed shards only their numbers.
        seed: Seed of the order, which changes from epoch to epoch of one iterator (use
            `persistent_workers=True`); None takes another order each time.
        resampled: Every worker draws shards with replacement, without end, so that all ranks have as
            many samples as are asked for: use `with_epoch`.
        split_by_node: Divide the shards between the ranks of a job. Ranks may get different numbers of
            samples, see `resampled`.
        split_by_worker: Divide the shards of a rank between the workers of a DataLoader.
        require_complete: As for `VolumeDataset`.

    Raises:
        ShardIntegrityError: If a shard of this machine is missing, cut off, or differs from its record.
        WrongLoaderError: If the shards hold samples of another kind.
        UsageError: If an argument is invalid, or a rank would get no shard.
    """
    if shuffle < 0:
        raise UsageError(field="shuffle", what=f"expected 0 or a number of samples, got {shuffle}")
    urls, read = _open_source(
        source,
        _Settings(dtype, layout, label_type, check, require_complete),
        buffer=_Shuffle(shuffle, seed),
    )
    world_size = find_place(None, None).world_size
    if split_by_node and not resampled and len(urls) < world_size:
        what = f"{len(urls)} shards do not reach {world_size} ranks; use resampled=True"
        raise UsageError(field="split_by_node", what=what)
    return ShardPipeline(
        _list_shards(urls, resampled=resampled, seed=seed),
        _SPLIT_BY_NODE if split_by_node and not resampled else None,
        _SPLIT_BY_WORKER if split_by_worker and not resampled else None,
        _Shuffle(len(urls) if not resampled and shuffle else 0, seed).stage(),
        *read,
    )


class ShardPipeline(WebDataset):
    """A `webdataset.WebDataset` whose stages are given; see `open_webdataset`."""

    def __init__(self, *stages: Any) -> None:
        DataPipeline.__init__(self, *stages)

    collate_fn = staticmethod(collate_samples)
    """Makes a batch: for `DataLoader(collate_fn=...)` or `batched(collation_fn=...)`."""


@dataclass(frozen=True)
class _Settings:
    dtype: VolumeDtype
    layout: FrameLayout
    label_type: str | None
    check: Check
    require_complete: bool


@dataclass(frozen=True)
class _Shuffle:
    """A buffer in which samples are shuffled."""

    size: int
    seed: int | None

    def stage(self) -> Any:
        """Return the stage; None where the order stays."""
        if self.size < 2:
            return None
        if self.seed is None:
            return _SHUFFLE(self.size, initial=self.size)
        return detshuffle(self.size, initial=self.size, seed=self.seed)


def _list_shards(urls: list[str], *, resampled: bool, seed: int | None) -> Any:
    if not resampled:
        return SimpleShardList(urls)
    return ResampledShards(urls, seed=seed or 0, deterministic=seed is not None)


def _open_source(
    source: Source, settings: _Settings, *, buffer: _Shuffle
) -> tuple[list[str], list[Any]]:
    """Return the shards of a source, and the stages that make samples of them."""
    parts = [source] if isinstance(source, str | Path) else list(source)
    remote = [_is_url(part) for part in parts]
    if any(remote):
        if not all(remote):
            what = "names files of this machine and URLs; open them one after the other"
            raise UsageError(field="source", what=what)
        urls = [url for part in parts for url in _expand(str(part))]
        return urls, [
            open_streams,
            expand_tars,
            _group_members,
            buffer.stage(),
            _DecodeStreamed(settings),
        ]
    dataset = _open_indexed(source, settings)
    shards = list(map(str, dataset.index.paths))
    return shards, [_ListSamples(dataset.index), buffer.stage(), _ReadIndexed(dataset)]


def _is_url(part: Path | str) -> bool:
    return isinstance(part, str) and ("://" in part or part.startswith("pipe:"))


def _expand(url: str) -> list[str]:
    try:
        return list(braceexpand(url))
    except ValueError as error:
        raise UsageError(field="source", what=f"{url}: {error}; {_EXPANSION}") from error


def _open_indexed(source: Source, settings: _Settings) -> VolumeDataset | ClipDataset:
    common: dict[str, Any] = {
        "check": settings.check,
        "require_complete": settings.require_complete,
    }
    try:
        return VolumeDataset(source, dtype=settings.dtype, label_type=settings.label_type, **common)
    except WrongLoaderError:
        return ClipDataset(source, layout=settings.layout, **common)


@dataclass(frozen=True)
class _ListSamples:
    """A stage: the samples of each shard, by number."""

    index: ShardIndex

    def __call__(self, shards: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, int]]:
        numbers = {path: number for number, path in enumerate(self.index.paths)}
        ends = [0, *self.index.shard_ends.tolist()]
        for shard in shards:
            url = shard["url"]
            number = numbers[url]
            for sample in range(ends[number], ends[number + 1]):
                yield url, sample


@dataclass(frozen=True)
class _ReadIndexed:
    """A stage: reads samples by number."""

    dataset: VolumeDataset | ClipDataset

    def __call__(self, samples: Iterable[tuple[str, int]]) -> Iterator[Sample]:
        for url, number in samples:
            sample = self.dataset[number]
            yield {"__key__": sample["key"], "__url__": url, **sample}


def _group_members(members: Iterable[Any]) -> Iterator[Any]:
    """Yield samples of members; a stage."""
    return group_by_keys(members)


class _DecodeStreamed:
    """A stage: makes samples of streamed members, as the datasets of indexed shards do."""

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings

    def __call__(self, samples: Iterable[Mapping[str, Any]]) -> Iterator[Sample]:
        for members in samples:
            reader = StreamedReader(members)
            decoded = self._decode(reader, list(reader.sample.members))
            names = {name: members[name] for name in ("__key__", "__url__")}
            yield {**names, **decoded}

    def _decode(self, reader: StreamedReader, suffixes: Sequence[str]) -> Sample:
        kind = name_kind(suffixes)
        if kind == SampleKind.VIDEO_FRAMES:
            return ClipDecoder(reader, layout=self._settings.layout).decode(reader.sample)
        if kind not in ("", SampleKind.CT_VOLUME):
            other = explain_other_kind(kind)
            msg = f"{reader.index.source}: {reader.sample.key}: {other}"
            raise WrongLoaderError(msg)
        if not {"bin", "npy"} & set(suffixes) or "txt" not in suffixes:
            what = f"has no member .bin or .npy, or no .txt, only {', '.join(suffixes)}"
            raise reader.index.damage(reader.sample, what)
        dtype, label_type = self._settings.dtype, self._settings.label_type
        return VolumeDecoder(reader, dtype=dtype, label_type=label_type).decode(reader.sample)
