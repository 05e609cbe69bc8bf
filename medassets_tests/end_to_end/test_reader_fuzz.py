"""Every reader of foreign files takes 20,000 mutated ones: no error but ours, none slow, none large.

`MEDASSETS_FUZZ_TIMES=10 MEDASSETS_FUZZ_SEED=7 pytest -m slow -k fuzz` runs more, and others.
"""

import gzip
import io
import json
import os
import re
import resource
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest
from huggingface_hub.errors import HfHubHTTPError

from medassets.components.loading import load_datasets
from medassets.errors import MedassetsError
from medassets.exports.dataset_info import read_dataset_info
from medassets.shards.inspection import describe_samples
from medassets.sources.hub_answers import parse_answer
from medassets.sources.webdataset import WebDatasetSource
from medassets.specs import VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.storage.formats.csv_tables import parse_csv, parse_integer, parse_number
from medassets.storage.memory_budget import MemoryBudget
from medassets.tars.lists import read_manifest
from medassets.tars.scan import scan_tar
from medassets.testing.nifti import encode_nifti
from medassets.testing.videos import VideoRecipe, make_video
from medassets.video.catalog.info_table import read_info_table
from medassets.video.catalog.metadata import read_metadata
from medassets.video.processes.pool import DecoderPool
from medassets.volumes.catalog.webdataset_rows import read_webdataset_rows
from medassets.volumes.files.array_files import open_npy_array, open_npz_array, read_npz_header
from medassets.volumes.files.header import VolumeStream
from medassets.volumes.files.nifti import open_nifti
from medassets.volumes.windows.existing_masks import open_mask
from medassets_tests.mutations import Mutate, Rng, mutate, mutate_tar

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

BUDGET = 1 << 28
VOXELS = np.arange(5 * 7 * 11, dtype=np.int16).reshape(5, 7, 11)
POOL = BufferPool(budget=MemoryBudget(BUDGET))
FACTS = {
    "study_id": "train_1_a_1", "shape": [5, 7, 11], "dtype": "int16", "XYSpacing": "[0.75, 0.5]",
    "ZSpacing": 1.5, "RescaleSlope": 2, "labels": {"a": 1, "b": 0}, "report": {"findings": "x"},
    "geometry": {"output": {"axis_codes": "LPS", "spacing_mm": [1, 1, 1]}},
}  # fmt: skip
YAML = b"""type: medassets.components.VolumeDatasetComponent
attributes:
  name: mine
  source: folder
  folder: /data/ct
  splits: [train, valid]
  max_rejected_share: 0.5
"""


def npy(array: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def npz(content: bytes, *, deflate: bool) -> bytes:
    stream = io.BytesIO()
    method = zipfile.ZIP_DEFLATED if deflate else zipfile.ZIP_STORED
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr("data.npy", content)
    return stream.getvalue()


def tar(members: Mapping[str, bytes], form: int = tarfile.PAX_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


SAMPLE = {
    "a.bin": VOXELS.tobytes(), "a.cls": np.ones(2, "<f4").tobytes(),
    "a.json": json.dumps(FACTS).encode(), "a.txt": b"kein Befund",
}  # fmt: skip
TARS = (
    tar(SAMPLE),
    tar({f"{'long/' * 40}{name}": content for name, content in SAMPLE.items()}),
    tar({f"{'long/' * 40}{n}": c for n, c in SAMPLE.items()}, tarfile.GNU_FORMAT),
    tar({**SAMPLE, "a.npy": npy(VOXELS), "b.npz": npz(npy(VOXELS), deflate=True)}),
)
NIFTI = encode_nifti(VOXELS, affine=np.diag([0.7, 0.8, 1.5, 1.0]))
RECORDS = [
    {"vid": f"v{n}", "transcript clip": "dig", "begin position": 0.5, "end position": 2.25, "size": [0.1, 7]}
    for n in range(5)
]  # fmt: skip


def mutate_inside(pack: Callable[[bytes], bytes]) -> Mutate:
    """Return a mutation of what a container holds, and now and then of the container."""

    def change(content: bytes, rng: Rng) -> bytes:
        return mutate(pack(content), rng) if rng.integers(4) == 0 else pack(mutate(content, rng))

    return change


def read_whole(opened: AbstractContextManager[VolumeStream]) -> None:
    with opened as stream, POOL.borrow(stream.header.shape, stream.header.dtype) as voxels:
        stream.read_into(voxels)
        stream.finish()


def read_npz(path: Path) -> None:
    read_npz_header(path, "data")
    read_whole(open_npz_array(path, "data"))


def read_csv_table(path: Path) -> None:
    table = parse_csv(path.read_bytes(), path.name)
    for name in table.columns:
        table.parse_cells(name, parse_number, "a number", {})
        table.parse_cells(name, parse_integer, "an integer", {})


def read_tar_rows(path: Path) -> None:
    source = WebDatasetSource(path.parent)
    spec = VolumeDatasetSpec(
        name="foreign", source="webdataset", folder=str(path.parent), shards=path.name,
        splits=("train",), hu_rule="none", labels={"dtype": "float32"},
    )  # fmt: skip
    details = read_webdataset_rows(spec, source)["detail"].to_pylist()
    assert not any(map(is_bug, filter(None, details))), details


def read_declaration(path: Path) -> None:
    problems = load_datasets([path.parent]).problems
    assert not any(is_bug(problem.what) for problem in problems), problems


def read_answer(path: Path) -> None:
    content = path.read_bytes()
    status = 404 if content[:1] < b"\x40" else 200
    request = httpx2.Request("GET", "http://hub/api/datasets/org/name")
    response = httpx2.Response(status, stream=httpx2.ByteStream(content), request=request)
    try:
        parse_answer(response, timeout_s=5)
    except HfHubHTTPError:
        # The error that the client library makes of a hub's.
        return


Read = Callable[[Path], object]
READERS: dict[str, tuple[int, str, Read, Mutate, tuple[bytes, ...]]] = {
    "csv": (3000, "a.csv", read_csv_table, mutate, (
        b'VolumeName,XYSpacing,ZSpacing\ntrain_1_a_1.nii.gz,"[0.7, 0.7]",1.5\nb,"[1, 1]",2\n',
        b"\xef\xbb\xbfa;b;c\r\n1;2,5;3\r\n",
    )),
    "records": (2500, "a.json", read_metadata, mutate, (
        json.dumps(RECORDS).encode(), "\n".join(map(json.dumps, RECORDS)).encode(),
    )),
    "info": (1500, "info.csv", read_info_table, mutate, (
        b"url,filename\nhttps://www.youtube.com/watch?v=abcdefghij1,a.mp4\nhttps://youtu.be/abcdefghij2,b\n",
    )),
    "tar": (3000, "a.tar", scan_tar, mutate_tar, TARS),
    "rows": (1200, "a.tar", read_tar_rows, mutate_tar, TARS),
    "inspect": (800, "a.tar", lambda path: describe_samples(path, num_samples=2), mutate_tar, (
        *TARS, gzip.compress(TARS[0]),
    )),
    "npz": (1500, "a.npz", read_npz, mutate, (
        npz(npy(VOXELS), deflate=True), npz(npy(VOXELS), deflate=False),
    )),
    "array in npz": (1500, "a.npz", read_npz,
                     mutate_inside(lambda content: npz(content, deflate=True)), (npy(VOXELS),)),
    "npy": (1500, "a.npy", lambda path: read_whole(open_npy_array(path)), mutate, (npy(VOXELS),)),
    "mask": (1000, "a.npy", lambda path: open_mask(path, "mask"), mutate, (npy(VOXELS),)),
    "nifti": (1500, "a.nii", lambda path: read_whole(open_nifti(path)), mutate, (NIFTI,)),
    "nifti in gzip": (1500, "a.nii.gz", lambda path: read_whole(open_nifti(path)),
                      mutate_inside(lambda content: gzip.compress(content, 1)), (NIFTI,)),
    "yaml": (300, "defs.yaml", read_declaration, mutate, (YAML, YAML + b"---\n" + YAML)),
    "hub": (1000, "answer", read_answer, mutate, (
        b'{"sha": "0123456789abcdef"}', b'[{"type": "file", "path": "a", "size": 7}]',
        b'0{"error": "x", "errors": [{"message": "y"}]}',
    )),
    "dataset_info": (500, "dataset_info.json", read_dataset_info, mutate, (
        b'{"train": ["sample_1_a"], "val": [], "test": ["sample_2_b"]}',
    )),
    "manifest": (500, "manifest.json", read_manifest, mutate, (
        b'{"shards": [{"filename": "shard-000000.tar", "num_samples": 3, "size_bytes": 10240}]}',
    )),
}  # fmt: skip


def test_there_are_twenty_thousand_cases() -> None:
    assert sum(count for count, *_ in READERS.values()) + FILMS >= 20_000


@pytest.mark.parametrize("reader", READERS)
def test_a_reader_refuses_in_words_of_ours_soon_and_in_little_memory(
    reader: str, tmp_path: Path
) -> None:
    count, name, read, change, seeds = READERS[reader]
    path = tmp_path / name
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: Counter[str] = Counter()
    for number in range(count * int(os.environ.get("MEDASSETS_FUZZ_TIMES", "1"))):
        rng = np.random.default_rng([int(os.environ.get("MEDASSETS_FUZZ_SEED", "0")), number])
        path.write_bytes(change(seeds[number % len(seeds)], rng))
        outcomes[judge(read, path, f"{reader} {number}")] += 1
    grown_bytes = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown_bytes < 2 * BUDGET, outcomes
    # Mutations that are all refused for their first bytes would test nothing else.
    assert outcomes["read"]


def judge(read: Read, path: Path, case: str) -> str:
    """Return how reading a case ended; fail for what may not happen."""
    start, raised = time.monotonic(), None
    try:
        read(path)
    except Exception as error:  # noqa: BLE001
        raised = error
    assert time.monotonic() - start < 10, case
    if raised is None:
        return "read"
    if not isinstance(raised, MedassetsError) or is_bug(str(raised)):
        msg = f"{case}: {type(raised).__name__}: {raised}"
        raise AssertionError(msg) from raised
    return type(raised).__name__


def is_bug(message: str) -> bool:
    """Tell whether a function of ours raised what it does not foresee."""
    return re.search(r"Error in medassets\.", message) is not None


FILMS = 300


def test_films_are_refused_by_a_process_that_lives_on(tmp_path: Path) -> None:
    seeds: list[bytes] = []
    for suffix in ("mp4", "mkv", "ts", "avi"):
        make_video(tmp_path / f"seed.{suffix}", VideoRecipe(num_frames=8, fps=20))
        seeds.append((tmp_path / f"seed.{suffix}").read_bytes())
    outcomes: Counter[str] = Counter()
    path = tmp_path / "a.mp4"
    with DecoderPool(device="cpu", num_workers=1, timeout_s=8.0) as pool:
        for number in range(FILMS * int(os.environ.get("MEDASSETS_FUZZ_TIMES", "1"))):
            rng = np.random.default_rng([int(os.environ.get("MEDASSETS_FUZZ_SEED", "0")), number])
            path.write_bytes(mutate(seeds[number % len(seeds)], rng))
            outcomes[judge(pool.probe, path, f"film {number}")] += 1
    assert outcomes["read"]
