"""`medassets bench loader`: what numbers of workers give on the user's own data."""

import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medassets.cli.console import Output
from medassets.cli.formatting import count_words
from medassets.errors import MedassetsError, UsageError
from medassets.samples import SampleKind

if TYPE_CHECKING:
    from medassets.loaders.bench import LoaderTiming

_KINDS = {
    SampleKind.CT_VOLUME: "volumes",
    SampleKind.CT_WINDOWS: "windows",
    SampleKind.VIDEO_FRAMES: "clips",
}
_ROUNDS = 3
_COLUMNS = ("workers", "first ms", "mean ms", "std ms", "samples/s", "MB/s", "to GPU ms")


def _parse_workers(context: click.Context, option: click.Parameter, value: str) -> list[int]:
    del context, option
    try:
        numbers = list(dict.fromkeys(int(word) for word in value.split(",")))
    except ValueError as error:
        msg = f"expected numbers such as 0,1,2,4, got {value!r}"
        raise click.BadParameter(msg) from error
    if min(numbers) < 0:
        msg = f"expected 0 or more, got {min(numbers)}"
        raise click.BadParameter(msg)
    return numbers


@click.group(name="bench")
def command() -> None:
    """Measure this machine on your own data."""


@command.command(name="loader")
@click.argument("source", nargs=-1)
@click.option("--roots", multiple=True, help="The same as SOURCE.")
@click.option(
    "--kind",
    type=click.Choice(tuple(_KINDS.values())),
    help="What the shards hold; detected by default.",
)
@click.option("--batch-size", type=click.IntRange(1), default=2, show_default=True)
@click.option("--workers", callback=_parse_workers, default="0,1,2,4", show_default=True)
@click.option(
    "--batches", "--num-batches", "batches", type=click.IntRange(1), default=10, show_default=True
)
@click.option(
    "--worker-kind",
    type=click.Choice(["thread", "process"]),
    default="thread",
    show_default=True,
    help="Threads inside the process, or processes of PyTorch's DataLoader.",
)
@click.option(
    "--dtype", type=click.Choice(["float16", "float32"]), default="float32", show_default=True
)
@click.option("--window-type", default="lung", show_default=True, help="Window of --kind windows.")
@click.option("--max-points", type=click.IntRange(1), default=100_000, show_default=True)
@click.option(
    "--cache-data/--no-cache-data",
    default=False,
    show_default=True,
    help="Windows: keep what was read in memory, which is then measured instead of the disk.",
)
@click.option(
    "--precompute-sparse/--no-precompute-sparse",
    default=False,
    show_default=True,
    help="Windows: find the points of masks once, before the first batch.",
)
@click.option("--cold", is_flag=True, help="Drop the files from the page cache before each run.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def loader(
    source: tuple[str, ...],
    kind: str | None,
    batch_size: int,
    workers: list[int],
    batches: int,
    worker_kind: Any,
    dtype: Any,
    window_type: str,
    max_points: int,
    roots: tuple[str, ...],
    *,
    cache_data: bool,
    precompute_sparse: bool,
    cold: bool,
    as_json: bool,
) -> int:
    """Compare worker counts on SOURCE: manifests, folders or patterns of shards.

    For windows, also folders with `processed/<case>/windows`. Every count reads the same batches
    three times, in turn with the others and once before each that is not counted; the median is shown.
    """
    from medassets.loaders.bench import recommend_workers

    output = Output(as_json)
    source = (*roots, *source)
    if not source:
        raise UsageError(field="SOURCE", what="name manifests, folders or patterns of shards")
    kind = kind or _find_kind(source)
    caches = {"cache_data": cache_data, "precompute_sparse": precompute_sparse}
    _check_caches(kind, caches)
    dataset = _open(
        kind, source, dtype=dtype, window_type=window_type, max_points=max_points, **caches
    )
    _refuse_empty(dataset)
    options = {"batch_size": batch_size, "workers": worker_kind}
    timings = _measure(dataset, workers, batches, options, cold=cold)
    recommendation = recommend_workers(timings, os.cpu_count() or 1)
    samples = count_words(len(dataset), "sample")
    title = f"{kind}, {samples}, batches of {batch_size}, {worker_kind} workers"
    output.table(title, _COLUMNS, [_row(timing) for timing in timings])
    output.say(f"recommended: num_workers={recommendation.num_workers}")
    for reason in recommendation.reasons:
        output.say(f"  {reason}")
    document = {"source": list(source), "kind": kind, "num_samples": len(dataset), **options}
    speeds = [{"samples_per_s": t.samples_per_s, "bytes_per_s": t.bytes_per_s} for t in timings]
    measured = [asdict(t) | speed for t, speed in zip(timings, speeds, strict=True)]
    output.result({**document, "timings": measured, "recommended": asdict(recommendation)})
    return 0


def _measure(
    dataset: Any, workers: list[int], num_batches: int, options: dict[str, Any], *, cold: bool
) -> list["LoaderTiming"]:
    """Measure every number of workers as often as `_ROUNDS` says; return the median of each."""
    import torch

    from medassets.loaders import Loader
    from medassets.loaders.bench import time_loader

    device = torch.device("cuda") if torch.cuda.is_available() else None
    pin = device is not None
    runs: dict[int, list[LoaderTiming]] = {count: [] for count in workers}
    for number in range(_ROUNDS):
        # To and fro, so that no number is always measured behind the same other one.
        for count in workers if number % 2 else reversed(workers):
            try:
                loader = Loader(dataset, num_workers=count, shuffle=True, pin_memory=pin, **options)
                # Memory for batches in flight is found once per process, not once per epoch.
                time_loader(loader, num_workers=count, num_batches=num_batches)
                if cold:
                    _drop_cache(dataset)
                loader.set_epoch(0)
                timing = time_loader(
                    loader, num_workers=count, num_batches=num_batches, device=device
                )
            except ValueError as error:
                raise UsageError(field="source", what=str(error)) from error
            runs[count].append(timing)
    return [sorted(run, key=lambda timing: timing.total_s)[len(run) // 2] for run in runs.values()]


def _row(timing: "LoaderTiming") -> list[str]:
    transfer = "-" if timing.transfer_s is None else f"{1e3 * timing.transfer_s:.1f}"
    waits = [f"{1e3 * s:.1f}" for s in (timing.first_s, timing.mean_s, timing.std_s)]
    speed = [f"{timing.samples_per_s:.1f}", f"{timing.bytes_per_s / 1e6:.0f}"]
    return [str(timing.num_workers), *waits, *speed, transfer]


def _find_kind(source: tuple[str, ...]) -> str:
    """Tell what shards hold, by their records or the members of their samples."""
    from medassets.errors import ShardIntegrityError
    from medassets.loaders.index import ShardIndex
    from medassets.loaders.sample_kinds import find_kind

    try:
        index = ShardIndex(source)
    except ShardIntegrityError:
        if all(Path(part).expanduser().is_dir() for part in source):
            return "windows"
        raise
    kinds = (find_kind(index, shard) for shard in range(len(index.paths)))
    kind = next(filter(None, kinds), "")
    if kind in _KINDS:
        return _KINDS[SampleKind(kind)]
    what = f"members {', '.join(index.suffixes)} are not of a known kind; name it with --kind"
    raise UsageError(field="source", what=what)


def _open(kind: str, source: tuple[str, ...], **options: Any) -> Any:
    try:
        return _make_dataset(kind, source, **options)
    except MedassetsError:
        raise
    except ValueError as error:
        raise UsageError(field="source", what=str(error)) from error


def _check_caches(kind: str, caches: Mapping[str, bool]) -> None:
    for name, is_on in caches.items():
        if is_on and kind != "windows":
            option = f"--{name.replace('_', '-')}"
            raise UsageError(field=option, what=f"belongs to windows; the source holds {kind}")


def _make_dataset(
    kind: str,
    source: tuple[str, ...],
    *,
    dtype: Any,
    window_type: str,
    max_points: int,
    cache_data: bool,
    precompute_sparse: bool,
) -> Any:
    from medassets.loaders import ClipDataset, VolumeDataset
    from medassets.loaders.windows.dataset import CTWindowSparseSDF

    if kind == "volumes":
        return VolumeDataset(source, dtype=dtype)
    if kind == "clips":
        return ClipDataset(source)
    return CTWindowSparseSDF(
        source,
        window_type=window_type,
        max_points=max_points,
        cache_data=cache_data,
        precompute_sparse=precompute_sparse,
    )


def _refuse_empty(dataset: Any) -> None:
    """Say what was left out of a dataset that holds nothing.

    Raises:
        UsageError: If it has no sample.
    """
    if len(dataset):
        return
    left_out = getattr(dataset, "left_out", ())
    counts = Counter(item.reason for item in left_out)
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.items()))
    first = f"; {left_out[0].path}: {left_out[0].detail}" if left_out else ""
    what = f"holds no sample to measure; left out: {reasons or 'nothing'}{first}"
    raise UsageError(field="source", what=what)


def _drop_cache(dataset: Any) -> None:
    for path in dataset.index.paths:
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
            os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(file)
