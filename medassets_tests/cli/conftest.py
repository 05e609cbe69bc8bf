"""The command in this process, on tiny datasets; and a real `medassets up`."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from medassets.cli.main import run
from medassets.testing.clip4mc import SyntheticVideos, make_clip4mc_folder
from medassets.testing.ct_rate import SyntheticRepository
from medassets.testing.hub import LocalHub
from medassets.testing.npz_tree import SyntheticTree, make_npz_tree
from medassets_tests.cli.building import build_declared
from medassets_tests.cli.pairs import DATASETS, NUM_STUDIES, PER_TAR, Pairs, make_raw, write_tars
from medassets_tests.cli.scans import Scans, declare_scans
from medassets_tests.location import Shell
from medassets_tests.npz_source import Originals, write_declaration
from medassets_tests.running_ui import RunningUi, run_ui

Medassets = Callable[..., "Ran"]

_SLOW_FIXTURES = {"built_home", "built_scans", "npz_home", "pair_datasets", "running_ui"}
"""Fixtures that build datasets through Dagster or start servers: in each process of the tests."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests as slow that use a fixture that is."""
    for item in items:
        if isinstance(item, pytest.Function) and _SLOW_FIXTURES & set(item.fixturenames):
            item.add_marker("slow")


@dataclass(frozen=True)
class Ran:
    """What a command left behind.

    Attributes:
        code: Exit code.
        out: Standard output.
        err: Standard error.
    """

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """The one JSON document that is all of standard output."""
        return json.loads(self.out)


@pytest.fixture
def medassets(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Medassets:
    """Return a function that runs the command in this process."""
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments: str) -> Ran:
        capsys.readouterr()
        code = run(list(arguments))
        out, err = capsys.readouterr()
        return Ran(code, out, err)

    return call


@pytest.fixture
def declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Return a function that declares a dataset of tiny samples and returns its file."""
    folder = tmp_path / "declared"
    folder.mkdir()
    monkeypatch.setenv("MEDASSETS_DEFS", str(folder))

    def write(name: str, **changes: Any) -> Path:
        fields = {
            "name": name,
            "hu_rule": "none",
            "target_spacing_mm": [4.0, 4.0, 8.0],
            "target_shape": [24, 20, 12],
            "samples_per_shard": 4,
            "max_rejected_share": 0.3,
            "max_excluded_share": 1.0,
            "num_workers": 1,
            **changes,
        }
        lines = ["type: medassets.components.VolumeDatasetComponent", "attributes:"]
        # JSON is YAML, and this keeps one field a line.
        lines += [f"  {field}: {json.dumps(value)}" for field, value in fields.items()]
        file = folder / name / "defs.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text("\n".join(lines) + "\n")
        return file

    return write


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> SyntheticVideos:
    """Three short videos with twelve good records and four bad ones; read only."""
    return make_clip4mc_folder(tmp_path_factory.mktemp("films"), num_videos=3, num_frames=60)


def write_films(films: SyntheticVideos, folder: Path, **changes: Any) -> Path:
    """Declare `films` of three shards below a folder, with other fields where given."""
    attributes = {
        "name": "films",
        "videos_dir": str(films.videos_dir),
        "info_csv": str(films.info_csv),
        "metadata": str(films.metadata),
        "split_mode": "all_train",
        "samples_per_shard": 4,
        "num_workers": 1,
        "max_rejected_share": 1.0,
        "max_excluded_share": 1.0,
        **changes,
    }
    document = {
        "type": "medassets.components.VideoClipDatasetComponent",
        "attributes": attributes,
    }
    file = folder / "films" / "defs.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    return file


@pytest.fixture
def declare_films(
    films: SyntheticVideos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Return a function that declares `films`, with other fields where they are given."""
    folder = tmp_path / "declared"
    monkeypatch.setenv("MEDASSETS_DEFS", str(folder))
    return partial(write_films, films, folder)


@pytest.fixture
def lungs(declare: Callable[..., Path], repository: SyntheticRepository) -> Callable[..., Path]:
    """Declare the folder dataset `lungs`: 7 samples, 2 shards a split; return how to change it."""

    def write(**changes: Any) -> Path:
        return declare("lungs", source="folder", folder=str(repository.folder), **changes)

    write()
    return write


@pytest.fixture(scope="session")
def built_home(tmp_path_factory: pytest.TempPathFactory, repository: SyntheticRepository) -> Path:
    """A home in which `lungs` was built once; copied by those who use it."""
    folder = tmp_path_factory.mktemp("built")
    file = folder / "declared" / "lungs" / "defs.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(
        "type: medassets.components.VolumeDatasetComponent\n"
        "attributes: {name: lungs, source: folder, hu_rule: none, samples_per_shard: 4, num_workers: 1,\n"
        "  target_spacing_mm: [4.0, 4.0, 8.0], target_shape: [24, 20, 12],\n"
        f"  max_rejected_share: 0.3, max_excluded_share: 1.0, folder: {json.dumps(str(repository.folder))}}}\n"
    )
    build_declared(folder, "lungs")
    return folder / "home"


@pytest.fixture
def built(home: Path, lungs: Callable[..., Path], built_home: Path) -> Path:
    """The folder of `lungs`, built and known to the instance of this test's home."""
    shutil.copytree(built_home, home)
    return home / "data" / "lungs"


@pytest.fixture(scope="session")
def built_scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Originals]:
    """A home in which `scans` was built once, beside its source."""
    folder = tmp_path_factory.mktemp("scans")
    tree = make_npz_tree(folder / "source", num_volumes=5, shape=(5, 7, 11))
    declare_scans(folder / "declared", tree)
    build_declared(folder, "scans")
    return folder, Originals.read(tree)


@pytest.fixture
def scans(
    built_scans: tuple[Path, Originals], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Scans:
    """A copy of it."""
    folder, originals = built_scans
    shutil.copytree(folder / "home", tmp_path / "home")
    shutil.copytree(folder / "source", tmp_path / "source")
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    tree = SyntheticTree(tmp_path / "source", originals.tree.split, originals.tree.paths)
    scans = Scans(Shell(tmp_path), Originals(tree, originals.files, originals.values))
    scans.declare()
    return scans


@pytest.fixture
def hub_dataset(
    declare: Callable[..., Path], repository: SyntheticRepository
) -> Iterator[LocalHub]:
    """Declare `remote`, the same volumes behind a local hub."""
    with LocalHub(repository.folder, "org/ct") as hub:
        declare("remote", repo_id="org/ct", endpoint=hub.endpoint)
        yield hub


@pytest.fixture(scope="session")
def running_ui() -> Callable[..., AbstractContextManager[RunningUi]]:
    """Return a function that runs `medassets up` on a home folder, with options and variables."""
    return run_ui


@pytest.fixture(scope="session")
def pair_datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw tars, last study first, and two datasets made of them: `half` and `clip`."""
    folder = tmp_path_factory.mktemp("pairs")
    write_tars(folder / "raw", [make_raw(number) for number in reversed(range(NUM_STUDIES))])
    for name, changes in DATASETS.items():
        fields = {
            "name": name,
            "source": "webdataset",
            "shards": str(folder / "raw" / "raw-{000000..000001}.tar"),
            "splits": ["train"],
            "samples_per_shard": PER_TAR,
            "num_workers": 1,
            **changes,
        }
        write_declaration(folder / "declared", fields)
    build_declared(folder, *DATASETS)
    return folder


@pytest.fixture(params=DATASETS)
def recorded(
    request: pytest.FixtureRequest, pair_datasets: Path, tmp_path: Path, medassets: Medassets
) -> Pairs:
    """A dataset with the records beside its shards."""
    raw = shutil.copytree(pair_datasets / "raw", tmp_path / "raw")
    folder = pair_datasets / "home" / "data" / request.param / "train"
    return Pairs(medassets, raw, shutil.copytree(folder, tmp_path / "made"))


@pytest.fixture(params=["with records", "without"])
def pairs(request: pytest.FixtureRequest, recorded: Pairs) -> Pairs:
    """The same, or copies of the tars alone."""
    if request.param == "without":
        for file in recorded.folder.glob("*.json"):
            file.unlink()
    return recorded


@pytest.fixture(scope="session")
def built_films_home(films: SyntheticVideos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with frames, and with clips that only `--mode clip` made; copied by those who use it."""
    folder = tmp_path_factory.mktemp("built_films")
    write_films(films, folder / "declared")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEDASSETS_HOME", str(folder / "home"))
        patch.setenv("MEDASSETS_DEFS", str(folder / "declared"))
        # Set first, so that what a command sets in this process is gone afterwards.
        patch.setenv("DAGSTER_HOME", "")
        patch.delenv("DAGSTER_HOME")
        assert run(["build", "films"]) == 0
        assert run(["build", "films", "--mode", "clip", "--no-refresh"]) == 0
    return folder / "home"


@pytest.fixture
def built_films(
    home: Path,
    built_films_home: Path,
    films: SyntheticVideos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Path:
    """The folder of `films`, built in this test's own home."""
    shutil.copytree(built_films_home, home)
    write_films(films, tmp_path / "declared")
    monkeypatch.setenv("MEDASSETS_DEFS", str(tmp_path / "declared"))
    return home / "data" / "films"
