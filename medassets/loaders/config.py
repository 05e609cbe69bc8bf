"""Builds loaders from the YAML of training scripts."""

import os
import reprlib
import sys
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from pathlib import Path
from typing import Any, get_args

import yaml

from medassets.errors import SpecError
from medassets.loaders.loader import Loader, WorkerKind
from medassets.loaders.members import Check
from medassets.loaders.order import Uneven
from medassets.loaders.summary import (
    LoaderSummary,
    find_memory_warnings,
    measure_memory,
    summarize_loader,
)
from medassets.loaders.volumes import VolumeDataset, VolumeDtype
from medassets.storage.foreign_bytes import Boundary, read_foreign
from medassets.storage.formats.yaml_texts import load_bounded

_SHARDS = {
    "train": ("train_shard_pattern", "webdataset_shards_train"),
    "valid": ("valid_shard_pattern", "webdataset_shards_val"),
}
_MOST_BYTES = 1 << 24
_MINIMA = {"batch_size": 1, "num_workers": 0, "prefetch_factor": 1, "seed": 0, "shard_window": 1}


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Keys of the `data:` section that the loaders use; others are left to the trainer.

    Attributes:
        batch_size: Samples per batch and rank.
        num_workers: Number of threads or processes; None: by dataset size.
        workers: `thread` or `process`.
        prefetch_factor: Batches fetched ahead per worker; null means the default, as
            PyTorch expects it with `num_workers: 0`.
        pin_memory: Put batches into pinned memory if CUDA is available.
        persistent_workers: Keep worker processes between epochs.
        shuffle: Use a new permutation of the training split in each epoch; validation is in order.
        seed: Seed of the permutations; `experiment.seed` if absent.
        dtype: dtype of the volumes: `float32` or `float16`.
        check: When contents are compared with their checksums.
        label_type: Type of the labels in shards that medassets did not make; null takes the only
            one that fits.
        uneven: `pad` or `drop`.
        drop_last: Leave out an incomplete last training batch.
        shard_window: Number of shards of a group, within which samples are shuffled; None: all.
        preprocessed: Must be true: shards hold preprocessed volumes.
        require_complete: Refuse manifests that lack samples; otherwise a warning says what they lack.
    """

    batch_size: int = 1
    num_workers: int | None = None
    workers: str = "thread"
    prefetch_factor: int = 2
    pin_memory: bool = True
    persistent_workers: bool = True
    shuffle: bool = True
    seed: int = 0
    dtype: str = "float32"
    check: str = "first"
    label_type: str | None = None
    uneven: str = "pad"
    drop_last: bool = False
    shard_window: int | None = None
    preprocessed: bool = True
    require_complete: bool = False

    def __post_init__(self) -> None:
        """Check types and choices, which YAML does not."""
        for field in fields(self):
            _check_value(f"data.{field.name}", field, getattr(self, field.name))
        choices = {"dtype": VolumeDtype, "check": Check, "uneven": Uneven, "workers": WorkerKind}
        for name, kind in choices.items():
            if getattr(self, name) not in get_args(kind):
                expected = ", ".join(get_args(kind))
                raise SpecError(
                    field=f"data.{name}",
                    what=f"expected one of {expected}, got {getattr(self, name)!r}",
                )
        if not self.preprocessed:
            what = (
                "false asks for raw volumes, which loaders do not read: resampling "
                "costs a hundred times the reading; make shards once with `medassets build DATASET`, "
                "then set it to true"
            )
            raise SpecError(field="data.preprocessed", what=what)


@dataclass(frozen=True)
class Loaders:
    """Loaders of one training configuration.

    Attributes:
        train: Loader of the training split, shuffled; None if the split is not given.
        valid: Loader of the validation split, in order; None if the split is not given.
        summaries: Chosen settings, per loader.
        warnings: Warnings about the memory of this machine.
        unused: Keys of `data:` that are not used here.
    """

    train: Loader | None
    valid: Loader | None
    summaries: tuple[LoaderSummary, ...]
    warnings: tuple[str, ...]
    unused: tuple[str, ...]

    @property
    def summary(self) -> str:
        """Chosen settings as text."""
        lines = [str(one) for one in self.summaries]
        lines += [f"warning: {warning}" for warning in self.warnings]
        if self.unused:
            lines.append(f"left to the trainer: data.{', data.'.join(self.unused)}")
        return "\n".join(lines)


def build_loaders(
    config: Mapping[str, Any] | Path | str,
    *,
    rank: int | None = None,
    world_size: int | None = None,
    quiet: bool = False,
) -> Loaders:
    """Build the loaders of a training configuration, and print the chosen settings.

    `data.train_shard_pattern` and `data.valid_shard_pattern` (or `webdataset_shards_train` and
    `webdataset_shards_val`) name shards as for `VolumeDataset`: a pattern, a folder,
    a manifest or a list. Relative paths start at the current folder. The other keys are those of
    `DataConfig`.

    Args:
        config: The configuration, or the path of its YAML file.
        rank: Rank of this process; detected if both are None.
        world_size: Number of ranks.
        quiet: Print nothing. Only rank 0 prints.

    Raises:
        SpecError: If the configuration cannot be read or a key is wrong; the message names the key.
        ShardIntegrityError: If a shard is missing, cut off, or differs from its record.
        ValueError: If a rank would get no batch.
    """
    document = _read_config(config)
    data = document.get("data")
    if not isinstance(data, Mapping):
        what = "expected a section with train_shard_pattern or valid_shard_pattern"
        raise SpecError(field="data", what=what)
    settings, unused = _read_data(data, document.get("experiment"))
    place = {"rank": rank, "world_size": world_size}
    loaders = {
        split: _build_loader(settings, _read_shards(data, key), train=split == "train", **place)
        for split, names in _SHARDS.items()
        if (key := _find_key(data, names)) is not None
    }
    if not loaders:
        what = "expected train_shard_pattern or valid_shard_pattern, got neither"
        raise SpecError(field="data", what=what)
    summaries = tuple(summarize_loader(split, one) for split, one in loaders.items())
    memory, shared, ranks = measure_memory()
    warnings = find_memory_warnings(
        summaries, memory_bytes=memory, shared_bytes=shared, local_ranks=ranks
    )
    built = Loaders(
        loaders.get("train"), loaders.get("valid"), summaries, tuple(warnings), tuple(unused)
    )
    if not quiet and summaries[0].rank == 0:
        sys.stdout.write(built.summary + "\n")
    return built


def _build_loader(
    settings: DataConfig, shards: Any, *, train: bool, rank: int | None, world_size: int | None
) -> Loader:
    dataset = VolumeDataset(
        shards,
        dtype=settings.dtype,  # pyright: ignore[reportArgumentType]
        check=settings.check,  # pyright: ignore[reportArgumentType]
        label_type=settings.label_type,
        require_complete=settings.require_complete,
    )
    return Loader(
        dataset,
        batch_size=settings.batch_size,
        shuffle=settings.shuffle and train,
        seed=settings.seed,
        num_workers=settings.num_workers,
        workers=settings.workers,  # pyright: ignore[reportArgumentType]
        prefetch_factor=settings.prefetch_factor,
        pin_memory=settings.pin_memory,
        persistent_workers=settings.persistent_workers,
        uneven=settings.uneven,  # pyright: ignore[reportArgumentType]
        drop_last=settings.drop_last and train,
        shard_window=settings.shard_window if train else None,
        rank=rank,
        world_size=world_size,
    )


def _read_config(config: Mapping[str, Any] | Path | str) -> Mapping[str, Any]:
    if isinstance(config, Mapping):
        return config
    if not isinstance(config, str | os.PathLike):
        what = f"expected a mapping or the path of a YAML file, got {reprlib.repr(config)}"
        raise SpecError(field="config", what=what)
    try:
        content = read_foreign(Path(config), most_bytes=_MOST_BYTES)
        document = _parse_config(content, config)
    except OSError as error:
        raise SpecError(
            field=str(config), what=f"cannot be read ({error.strerror}); expected a YAML file"
        ) from error
    if not isinstance(document, Mapping):
        raise SpecError(field=str(config), what="expected a configuration with a section data:")
    return document


def _parse_config(content: bytes, config: Path | str) -> Any:
    with Boundary(lambda _, what: SpecError(field=str(config), what=what)):
        try:
            return load_bounded(content)
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            # PyYAML raises ValueError for impossible dates and invalid bytes.
            raise SpecError(field=str(config), what=f"not YAML ({error})") from error


def _read_data(data: Mapping[str, Any], experiment: Any) -> tuple[DataConfig, list[str]]:
    known = {field.name for field in fields(DataConfig)}
    settings = {name: value for name, value in data.items() if name in known}
    if settings.get("prefetch_factor", 0) is None:
        del settings["prefetch_factor"]
    if "seed" not in settings and isinstance(experiment, Mapping) and "seed" in experiment:
        (field,) = (field for field in fields(DataConfig) if field.name == "seed")
        _check_value("experiment.seed", field, experiment["seed"])
        settings["seed"] = experiment["seed"]
    shards = {name for names in _SHARDS.values() for name in names}
    return DataConfig(**settings), [str(name) for name in data if name not in known | shards]


def _check_value(name: str, field: Field[Any], value: Any) -> None:
    default = field.default
    kind = int if default is None else type(default)
    if value is None and default is None:
        return
    # bool is a subclass of int.
    if type(value) is not kind:
        raise SpecError(field=name, what=f"expected {kind.__name__}, got {reprlib.repr(value)}")
    least = _MINIMA.get(field.name)
    if least is not None and isinstance(value, int) and value < least:
        raise SpecError(field=name, what=f"expected {least} or more, got {value}")


def _find_key(data: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    given = [name for name in names if data.get(name) is not None]
    if len(given) > 1:
        raise SpecError(field="data", what=f"{' and '.join(given)} name the same shards; keep one")
    return given[0] if given else None


def _read_shards(data: Mapping[str, Any], key: str) -> str | list[str]:
    shards = data[key]
    parts = [shards] if isinstance(shards, str | os.PathLike) else shards
    if not isinstance(parts, list | tuple) or not all(
        isinstance(p, str | os.PathLike) for p in parts
    ):
        what = f"expected a pattern, a path or a list of those, got {reprlib.repr(shards)}"
        raise SpecError(field=f"data.{key}", what=what)
    # An empty variable would otherwise name the current folder.
    expanded = [os.path.expandvars(str(part)) for part in parts]
    if not expanded or not all(part.strip() for part in expanded):
        how = "leave the key out, or set it to null, for no such split"
        raise SpecError(
            field=f"data.{key}", what=f"names no shard, got {reprlib.repr(shards)}; {how}"
        )
    return expanded if parts is shards else expanded[0]
