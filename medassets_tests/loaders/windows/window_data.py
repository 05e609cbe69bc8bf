"""Masks in every form they come in, made by plain numpy."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from medassets.shards.account import Account
from medassets.shards.manifest import build_manifest, encode_document
from medassets.shards.record import SampleEntry, ShardRecord
from medassets.storage.checksums import crc32, sha256_file
from medassets.tars.reader import Member
from medassets.volumes.windows.occupancy import pack_mask
from medassets.volumes.windows.occupancy_codec import encode_bits

LUNG = "lung_w1500_l-600"
SHAPE = (23, 31, 17)


def make_mask(seed: int = 0, *, shape: tuple[int, ...] = SHAPE, share: float = 0.3) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


NO_CACHE: dict[str, Any] = {"cache_data": False, "precompute_sparse": False}
CACHES: list[dict[str, Any]] = [
    NO_CACHE,
    {"cache_data": True, "precompute_sparse": True},
    {"cache_data": True, "precompute_sparse": False},
    {"cache_data": False, "precompute_sparse": True},
]
NUM_CASES = 5
MASKS = [make_mask(seed) for seed in range(NUM_CASES)]
FORMS = ("npy", "npy fortran", "npy int16", "npy bool", "sparse", "sdf", "raw", "zstd", "tars")


def write_case(processed: Path, case: str, mask: np.ndarray, *, stem: str = LUNG) -> Path:
    """Write a dense mask as old preprocessing does: uint8, C order."""
    path = processed / case / "windows" / f"{stem}.npy"
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, mask.astype(np.uint8) if mask.dtype == np.bool_ else mask)
    return path


def write_sparse(path: Path, mask: np.ndarray) -> Path:
    """Write the list of points that the old tool makes of a dense mask."""
    path.parent.mkdir(parents=True, exist_ok=True)
    indices = np.stack(np.nonzero(mask), axis=1)
    values = mask[tuple(indices.T)]
    np.savez_compressed(path, indices=indices.astype(np.int16), values=values.astype(np.float16))
    return path


def write_shards(
    folder: Path,
    masks: dict[str, dict[str, np.ndarray]],
    *,
    samples_per_shard: int = 2,
    compression: str = "auto",
    facts: bool = True,
) -> Path:
    """Write masks, sample key -> window -> mask, as shards with records; return the manifest."""
    folder.mkdir(parents=True, exist_ok=True)
    keys = list(masks)
    records = [
        _write_shard(folder, number, {key: masks[key] for key in keys[at : at + samples_per_shard]},
                     compression=compression, facts=facts)
        for number, at in enumerate(range(0, len(keys), samples_per_shard))
    ]  # fmt: skip
    document = build_manifest(
        "train",
        records,
        dataset="tiny",
        kind="",
        sample_fields={},
        source={},
        account=Account(),
        planned=[record.partition for record in records],
        num_held=0,
        samples_per_shard=3,
        describe_shard=lambda record: {},
    )
    manifest = folder / "manifest.json"
    manifest.write_bytes(encode_document(document))
    return manifest


def write_form(folder: Path, form: str) -> str:
    """Write the masks in one form; return the roots."""
    if form in ("raw", "zstd", "tars"):
        return write_shard_form(folder, form)
    for number, mask in enumerate(MASKS):
        stem = folder / f"case_{number}" / "windows" / LUNG
        stem.parent.mkdir(parents=True)
        if form == "sparse":
            write_sparse(Path(f"{stem}_sparse.npz"), mask)
        elif form == "sdf":
            index = np.argwhere(mask).astype(np.int32)
            np.savez(f"{stem}.npz", sparse_index=index, sparse_sdf=np.ones((len(index), 1)))
        else:
            kinds = {"npy": np.uint8, "npy fortran": np.uint8, "npy int16": np.int16}
            order = "F" if form == "npy fortran" else "C"
            np.save(f"{stem}.npy", np.asarray(mask, kinds.get(form, np.bool_), order=order))
    return str(folder)


def write_shard_form(folder: Path, form: str) -> str:
    masks = {f"case_{number}": {"lung": mask} for number, mask in enumerate(MASKS)}
    compression = "none" if form == "raw" else "auto"
    manifest = write_shards(folder, masks, compression=compression)
    if form != "tars":
        return str(manifest)
    for path in folder.glob("*.json"):
        path.unlink()
    return str(folder / "shard-{000000..000002}.tar")


def sorted_points(index: torch.Tensor | np.ndarray) -> np.ndarray:
    array = np.asarray(index)
    return array[np.lexsort(array.T[::-1])]


def _write_shard(
    folder: Path,
    number: int,
    masks: dict[str, dict[str, np.ndarray]],
    *,
    compression: str,
    facts: bool,
) -> ShardRecord:
    path = folder / f"shard-{number:06d}.tar"
    contents = {key: _encode(key, windows, compression) for key, windows in masks.items()}
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        for key, members in contents.items():
            for suffix, content in members.items():
                info = tarfile.TarInfo(f"{key}.{suffix}")
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    with tarfile.open(path) as tar:
        at = {info.name: info.offset_data for info in tar}
    samples = []
    for key, members in contents.items():
        entries = tuple(
            Member(suffix, at[f"{key}.{suffix}"], len(content), crc32(content))
            for suffix, content in members.items()
        )
        counts = {name: {"num_points": int(mask.sum())} for name, mask in masks[key].items()}
        samples.append(SampleEntry(key, 0, 0, entries, facts={"windows": counts} if facts else {}))
    record = ShardRecord(
        dataset="tiny",
        split="train",
        partition=f"train-{number:06d}",
        filename=path.name,
        num_samples=len(samples),
        size_bytes=path.stat().st_size,
        sha256=sha256_file(path),
        plan_fingerprint="0" * 64,
        fingerprint="0" * 64,
        source={},
        samples=tuple(samples),
        rejected=(),
    )
    record.write(path.with_suffix(".json"))
    return record


def _encode(key: str, windows: dict[str, np.ndarray], compression: str) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    facts: dict[str, object] = {}
    shape: tuple[int, ...] = ()
    for name, mask in windows.items():
        occupancy = pack_mask(mask)
        encoding, content = encode_bits(occupancy.bits, compression=compression)  # pyright: ignore[reportArgumentType]
        members[f"{name}.bits"] = bytes(content)
        members[f"{name}.rank"] = occupancy.rank.astype("<u4").tobytes()
        facts[name] = {"num_points": int(mask.sum()), "encoding": encoding}
        shape = mask.shape
    document = {
        "study_id": key,
        "shape": list(shape),
        "order": "ijk, i fastest",
        "block_bits": 4096,
        "windows": facts,
    }
    members["json"] = json.dumps(document).encode()
    return members
