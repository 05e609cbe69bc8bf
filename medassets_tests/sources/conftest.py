"""A small repository, a hub that serves it, and a source with little patience."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from medassets.sources.hub import HubPolicy, HubSource
from medassets.sources.staging import Staging
from medassets.testing.hub import LocalHub

REPO_ID = "org/ct-small"

MakeSource = Callable[..., HubSource]


@pytest.fixture(autouse=True)
def no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the login of whoever runs the tests away from them."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    """Two volumes of some hundred KB, one of them in a folder with a space, and a small table."""
    folder = tmp_path / "repo"
    noise = random.Random(7)
    for name, num_bytes in {"vol/a.nii.gz": 700_001, "vol/b c.nii.gz": 300_007}.items():
        place = folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(noise.randbytes(num_bytes))
    (folder / "table.csv").write_text("name,value\na,1\n")
    return folder


@pytest.fixture
def hub(repo: Path) -> Iterator[LocalHub]:
    """The repository, served."""
    with LocalHub(repo, REPO_ID) as hub:
        yield hub


@pytest.fixture
def quick_policy() -> HubPolicy:
    """Patience of a fraction of a second."""
    return HubPolicy(
        max_attempts=4,
        first_backoff_s=0.01,
        longest_backoff_s=0.05,
        stall_timeout_s=0.5,
        connect_timeout_s=2.0,
        max_retry_after_s=0.05,
        progress_bytes=50_000,
    )


@pytest.fixture
def source(hub: LocalHub, quick_policy: HubPolicy) -> HubSource:
    """The served repository at its head, without a login."""
    return HubSource(
        REPO_ID, revision=hub.sha, endpoint=hub.endpoint, token=False, policy=quick_policy
    )


@pytest.fixture
def staging(tmp_path: Path) -> Staging:
    """A folder for the files of the repository, with some room to spare."""
    return Staging(tmp_path / "staging", budget_bytes=1_100_000, wait_timeout_s=0.3)
