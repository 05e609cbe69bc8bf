"""Whole builds of declared datasets, as a user makes them: YAML, hub, command, Dagster, disk."""

import contextlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any
from unittest import mock

import dagster as dg
import numpy as np
import numpy.typing as npt
import pytest
import yaml

from medassets.shards.record import ShardRecord
from medassets.specs import CTPreprocessing
from medassets.storage.paths import DatasetPaths
from medassets.testing.clip4mc import SyntheticVideos, make_clip4mc_folder

REPO_ID = "org/ct-small"

# Dagster's capture of a step's output starts four processes a run.
_NO_CAPTURE = """
compute_logs:
  module: dagster._core.storage.noop_compute_log_manager
  class: NoOpComputeLogManager
"""


@dataclass(frozen=True)
class Home:
    """A MEDASSETS_HOME, and what a build left in it.

    Attributes:
        folder: The home.
        dataset: Name of the dataset built there.
    """

    folder: Path
    dataset: str = "tiny"

    @property
    def paths(self) -> DatasetPaths:
        """Names of the dataset's files."""
        return DatasetPaths(self.folder / "data", self.dataset)

    def contents(self) -> dict[str, bytes]:
        """Return every file of data and staging by path, without journals of repeated writing."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for name in ("data", "staging")
            for path in sorted((self.folder / name).rglob("*"))
            if path.is_file() and not path.name.endswith(".made.jsonl")
        }

    def shards(self) -> dict[str, bytes]:
        """Return the published tars, by path."""
        return {path: data for path, data in self.contents().items() if path.endswith(".tar")}

    def records(self) -> dict[str, ShardRecord]:
        """Return the records of all shards, by partition key."""
        found = (
            ShardRecord.read(path) for path in sorted(self.paths.folder.glob("*/shard-*.json"))
        )
        return {record.partition: record for record in found}

    def rejected(self) -> dict[str, str]:
        """Return reason by sample key, as the records say it."""
        return {r.key: r.reason for record in self.records().values() for r in record.rejected}

    def manifest(self, split: str = "train") -> dict[str, Any]:
        """Return the manifest of a split."""
        return json.loads(self.paths.manifest(split).read_bytes())


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    Attributes:
        code: Exit code; negative, the signal that killed it.
        seconds: Wall time.
        text: All that it printed.
    """

    code: int
    seconds: float
    text: str

    def result(self) -> dict[str, Any]:
        """Return the document that a command with `--json` printed."""
        return json.loads(self.text[self.text.index("{") : self.text.rindex("}") + 1])


@pytest.fixture(scope="session")
def empty_instance(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a Dagster instance without runs; making one takes longer than copying it."""
    folder = tmp_path_factory.mktemp("instance") / "dagster"
    folder.mkdir()
    with as_file(files("medassets.instance") / "dagster.yaml") as shipped:
        (folder / "dagster.yaml").write_text(shipped.read_text() + _NO_CAPTURE)
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        assert instance.get_runs() == []
    return folder


@pytest.fixture
def make_home(tmp_path: Path, empty_instance: Path) -> Callable[..., Home]:
    """Return a function that makes a home with an instance in it and nothing else."""

    def make(name: str, dataset: str = "tiny") -> Home:
        folder = tmp_path / "homes" / name
        shutil.copytree(empty_instance, folder / "dagster")
        return Home(folder, dataset)

    return make


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that declares a dataset of tiny samples in YAML; it only takes fields."""
    folder = tmp_path / "declarations"
    monkeypatch.setenv("MEDASSETS_DEFS", str(folder))

    def declare_it(name: str = "tiny", **fields: Any) -> None:
        attributes = {
            "name": name,
            "splits": ["train"],
            "hu_rule": "none",
            "target_spacing_mm": [4.0, 4.0, 8.0],
            "target_shape": [24, 20, 12],
            "samples_per_shard": 3,
            "max_rejected_share": 0.5,
            "max_excluded_share": 1.0,
            "num_workers": 2,
            **({"staging_budget_gb": 1.0} if "repo_id" in fields else {}),
            **fields,
        }
        document = {
            "type": "medassets.components.VolumeDatasetComponent",
            "attributes": attributes,
        }
        place = folder / name
        place.mkdir(parents=True, exist_ok=True)
        (place / "defs.yaml").write_text(yaml.safe_dump(document))

    return declare_it


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> SyntheticVideos:
    """Six numbered videos of four codecs with 24 good records and four bad ones; read only."""
    return make_clip4mc_folder(tmp_path_factory.mktemp("films"))


@pytest.fixture
def declare_films(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that declares a video dataset `films` in YAML."""
    folder = tmp_path / "declarations"
    monkeypatch.setenv("MEDASSETS_DEFS", str(folder))

    def declare_it(**fields: Any) -> None:
        attributes = {
            "name": "films",
            "samples_per_shard": 12,
            "max_rejected_share": 1.0,
            "max_excluded_share": 1.0,
            "num_workers": 2,
            **fields,
        }
        document = {
            "type": "medassets.components.VideoClipDatasetComponent",
            "attributes": attributes,
        }
        (folder / "films").mkdir(parents=True, exist_ok=True)
        (folder / "films" / "defs.yaml").write_text(yaml.safe_dump(document))

    return declare_it


@pytest.fixture
def command() -> Callable[..., Outcome]:
    """Return a function that runs the `medassets` command in this process, on a home."""

    def run_it(home: Home, *arguments: str, **environment: str) -> Outcome:
        from medassets.cli.main import run

        text = io.StringIO()
        changed = {"MEDASSETS_HOME": str(home.folder), **environment}
        start = time.monotonic()
        with (
            mock.patch.dict(os.environ, changed),
            contextlib.redirect_stdout(text),
            contextlib.redirect_stderr(text),
        ):
            os.environ.pop("DAGSTER_HOME", None)
            code = run(list(arguments))
        return Outcome(code, time.monotonic() - start, text.getvalue())

    return run_it


@pytest.fixture
def build(command: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """Return a function that runs `medassets build <dataset>` in this process, on a home."""
    return lambda home, *arguments, **environment: command(
        home, "build", home.dataset, *arguments, **environment
    )


@dataclass
class Child:
    """One command in a process of its own.

    Attributes:
        pid: Its process.
        start: Monotonic clock when it began.
    """

    pid: int
    log: Path
    start: float
    _wait: Callable[[], int] = field(repr=False)

    def wait(self) -> Outcome:
        """Wait for its end."""
        code = self._wait()
        return Outcome(code, time.monotonic() - self.start, self.log.read_text())


class ForkServer:
    """Runs commands in fresh processes without the time an interpreter takes to start."""

    def __init__(self, process: subprocess.Popen[str], scratch: Path) -> None:
        self._process = process
        self._scratch = scratch
        self._count = 0

    def start(
        self,
        home: Home,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        **disturb: Any,
    ) -> Child:
        """Start a command; see `fork_server.py` for what can be disturbed."""
        self._count += 1
        log = self._scratch / f"command-{self._count}.log"
        # A child may be killed before it opens its log.
        log.touch()
        request = {
            "arguments": list(arguments),
            "environment": {
                "MEDASSETS_HOME": str(home.folder),
                "MEDASSETS_DEFS": os.environ["MEDASSETS_DEFS"],
                **(environment or {}),
            },
            "log": str(log),
            **{name: str(v) if isinstance(v, Path) else v for name, v in disturb.items()},
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        start = time.monotonic()
        return Child(self._answer()["pid"], log, start, lambda: self._answer()["code"])

    def run(self, home: Home, *arguments: str, **disturb: Any) -> Outcome:
        """Run a command to its end."""
        return self.start(home, *arguments, **disturb).wait()

    def kill(self, home: Home, *arguments: str, after_s: float, **disturb: Any) -> Outcome:
        """Run a command and kill it at an instant; its code is that of its end if it came before."""
        child = self.start(home, *arguments, **disturb)
        time.sleep(max(child.start + after_s - time.monotonic(), 0))
        with contextlib.suppress(ProcessLookupError):
            os.kill(child.pid, signal.SIGKILL)
        outcome = child.wait()
        assert outcome.code == -signal.SIGKILL or outcome.code >= 0, outcome.text
        assert "Traceback" not in outcome.text, outcome.text
        return outcome

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the fork server has died"
        return json.loads(line)


@pytest.fixture
def fork_server(tmp_path: Path, home: Path) -> Iterator[ForkServer]:
    """A process that is ready to fork commands; one at a time."""
    script = Path(__file__).with_name("fork_server.py")
    process = subprocess.Popen(
        [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    scratch = tmp_path / "commands"
    scratch.mkdir()
    try:
        yield ForkServer(process, scratch)
    finally:
        process.communicate()


@pytest.fixture
def start_process(tmp_path: Path) -> Callable[..., Child]:
    """Return a function that starts the `medassets` command in an interpreter of its own."""

    def start_it(home: Home, *arguments: str, **environment: str) -> Child:
        start = time.monotonic()
        log = tmp_path / f"process-{start}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "medassets", *arguments],
                env={**os.environ, "MEDASSETS_HOME": str(home.folder), **environment},
                stdout=output,
                stderr=output,
            )
        return Child(process.pid, log, start, process.wait)

    return start_it


@pytest.fixture
def run_process(start_process: Callable[..., Child]) -> Callable[..., Outcome]:
    """Return a function that runs the `medassets` command in an interpreter of its own."""
    return lambda *arguments, **environment: start_process(*arguments, **environment).wait()


@pytest.fixture
def read_members() -> Callable[[Mapping[str, bytes]], dict[str, bytes]]:
    """Return a function that reads the members of all tars of a home's contents, by name."""

    def read(contents: Mapping[str, bytes]) -> dict[str, bytes]:
        members: dict[str, bytes] = {}
        for path, data in contents.items():
            if not path.endswith(".tar"):
                continue
            with tarfile.open(fileobj=io.BytesIO(data)) as tar:
                for member in tar:
                    file = tar.extractfile(member)
                    assert file is not None
                    assert member.name not in members
                    members[member.name] = file.read()
        return members

    return read


@pytest.fixture
def interpolate() -> Callable[..., npt.NDArray[np.float64]]:
    """Return torch's interpolation of a whole volume, cropped and padded, in float64."""

    def compute(
        hu: npt.NDArray[Any], spacing_mm: Sequence[float], preset: CTPreprocessing
    ) -> npt.NDArray[np.float64]:
        import torch

        assert preset.clip_hu is not None
        clipped = np.clip(hu.astype(np.float64), *preset.clip_hu)
        steps = zip(hu.shape, spacing_mm, preset.spacing_mm, strict=True)
        size = [int(n * (step / target)) for n, step, target in steps]
        resampled = torch.nn.functional.interpolate(
            torch.from_numpy(np.ascontiguousarray(clipped))[None, None],
            size=size,
            mode="trilinear",
            align_corners=False,
        )
        out = np.full(preset.shape, preset.pad_value)
        begin = [max((n - t) // 2, 0) for n, t in zip(size, preset.shape, strict=True)]
        ends = zip(begin, preset.shape, strict=True)
        kept = resampled[0, 0].numpy()[tuple(slice(a, a + t) for a, t in ends)]
        pad = [max((t - n) // 2, 0) for n, t in zip(size, preset.shape, strict=True)]
        place = zip(pad, kept.shape, strict=True)
        out[tuple(slice(a, a + n) for a, n in place)] = kept / preset.scale
        return out

    return compute


@pytest.fixture
def ulps() -> Callable[..., npt.NDArray[np.int64]]:
    """Return a function that counts float16 steps between two arrays."""

    def order(values: npt.NDArray[np.float16]) -> npt.NDArray[np.int64]:
        bits = values.view(np.uint16).astype(np.int64)
        return np.where(bits & 0x8000, -(bits & 0x7FFF), bits)

    return lambda one, other: np.abs(order(one) - order(other))
