"""Small datasets for the tests of every room; a home of its own for every test."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from medassets.datasets.volumes import VolumeDataset
from medassets.datasets.workspace import Workspace, open_workspace
from medassets.specs import VolumeDatasetSpec
from medassets.testing.ct_rate import SyntheticRepository, make_ct_rate_repository
from medassets_tests import shared_data

if TYPE_CHECKING:
    from medassets_tests.location import Location, Shell

# Read when huggingface_hub is imported, in this process and in those the tests start.
os.environ.update(
    HF_HUB_DISABLE_TELEMETRY="1", HF_HUB_DISABLE_XET="1", HF_HUB_DISABLE_PROGRESS_BARS="1"
)
os.environ.pop("HF_TOKEN", None)

# A shell that starts this in the background lets it and its children ignore Ctrl-C; `nohup`, SIGHUP.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

TINY = {
    "hu_rule": "none",
    "target_spacing_mm": (4.0, 4.0, 8.0),
    "target_shape": (24, 20, 12),
    "samples_per_shard": 3,
    "max_rejected_share": 1.0,
    "max_excluded_share": 1.0,
}
"""A grid so small that a shard takes milliseconds."""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A MEDASSETS_HOME of the test's own, with no declarations or instance of the machine."""
    home = tmp_path / "home"
    monkeypatch.setenv("MEDASSETS_HOME", str(home))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("DAGSTER_HOME", "MEDASSETS_DEFS", "HF_ENDPOINT", "HF_TOKEN"):
        # Set first, so that what a command sets in this process is gone after the test.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return home


@pytest.fixture(scope="session")
def real_videos() -> Path:
    """Folder with the real videos; a checkout without it skips the test."""
    made_beside_the_checkout = shared_data.VIDEO
    folder = Path(os.environ.get("MEDASSETS_REAL_VIDEOS") or made_beside_the_checkout)
    if not folder.is_dir():
        pytest.skip(f"no real videos at {folder}; set MEDASSETS_REAL_VIDEOS to their folder")
    return folder


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRepository:
    """A synthetic CT-RATE repository of a dozen small volumes; read only."""
    return make_ct_rate_repository(tmp_path_factory.mktemp("repository"), num_patients=3)


@pytest.fixture
def open_folder(home: Path) -> Callable[..., Workspace]:
    """Return a function that opens a folder as a declared dataset of tiny samples."""

    def open_it(folder: Path, **changes: object) -> Workspace:
        fields = {"name": "tiny", "source": "folder", "folder": str(folder), **TINY, **changes}
        return open_workspace(VolumeDataset(VolumeDatasetSpec(**fields)))  # pyright: ignore[reportArgumentType]

    return open_it


@pytest.fixture
def workspace(open_folder: Callable[..., Workspace], repository: SyntheticRepository) -> Workspace:
    """The synthetic repository as a declared dataset with source `folder`."""
    return open_folder(repository.folder)


@pytest.fixture
def tiny() -> dict[str, object]:
    """Fields of a declaration whose shards take milliseconds."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in TINY.items()}


@pytest.fixture
def locate(home: Path) -> "Iterator[Callable[..., Location]]":
    """Return a function that declares a folder of tiny samples, with an ephemeral instance."""
    # Dagster is imported by the rooms that need it, not by every test process.
    import dagster as dg

    from medassets_tests.location import Location

    with dg.DagsterInstance.ephemeral() as instance:

        def locate_it(folder: Path | str = "", **changes: object) -> Location:
            fields = {"name": "tiny", "source": "folder", "folder": str(folder), **TINY, **changes}
            return Location(VolumeDatasetSpec(**fields), instance)  # pyright: ignore[reportArgumentType]

        yield locate_it


@pytest.fixture
def location(locate: "Callable[..., Location]", repository: SyntheticRepository) -> "Location":
    """The synthetic repository, declared with source `folder`."""
    return locate(repository.folder)


@pytest.fixture
def first_shard(location: "Location") -> "Location":
    """The synthetic repository, catalogued, with its first shard made."""
    location.materialize("catalog")
    location.materialize("shards", partition="train-000000")
    return location


@pytest.fixture
def own_repository(tmp_path: Path, repository: SyntheticRepository) -> Path:
    """A copy of the synthetic repository that a test may change."""
    return Path(shutil.copytree(repository.folder, tmp_path / "own_repository"))


@pytest.fixture
def shell(home: Path) -> "Shell":
    """A terminal with a persistent Dagster instance of our settings."""
    from medassets_tests.location import Shell

    shell = Shell(home.parent)
    shell.dagster_home.mkdir(parents=True)
    settings = (files("medassets.instance") / "dagster.yaml").read_text()
    (shell.dagster_home / "dagster.yaml").write_text(settings)
    return shell
