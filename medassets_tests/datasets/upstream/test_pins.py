"""Which files count as the same by size and digest alone."""

from pathlib import Path

import pyarrow as pa
import pytest

from medassets.datasets.upstream.pins import Pin, is_same_file, pin_files, pin_of, read_pins
from medassets.sources.base import RemoteFile
from medassets.sources.hub import HubSource
from medassets.testing.hub import LocalHub

SHA256, OTHER, GIT = "a" * 64, "b" * 64, "c" * 40


def describe(
    num_bytes: int | None = 5, sha256: str | None = None, git: str | None = None
) -> RemoteFile:
    return RemoteFile("x", num_bytes, sha256, "one", "uri", git_sha1=git)


@pytest.mark.parametrize(
    ("file", "pin"),
    [
        (describe(sha256=SHA256), (5, f"sha256:{SHA256}")),
        (describe(git=GIT), (5, f"git:{GIT}")),
        (describe(num_bytes=None, sha256=SHA256), None),
        (describe(), None),
    ],
)
def test_a_pin_is_the_size_and_the_digest_that_the_source_states(
    file: RemoteFile, pin: Pin | None
) -> None:
    assert pin_of(file) == pin


@pytest.mark.parametrize(
    ("pin", "file", "same"),
    [
        ((5, f"sha256:{SHA256}"), describe(sha256=SHA256), True),
        ((5, f"sha256:{SHA256}"), describe(sha256=OTHER), False),
        ((6, f"sha256:{SHA256}"), describe(sha256=SHA256), False),
        ((5, f"git:{GIT}"), describe(git=GIT), True),
        ((5, f"git:{GIT}"), describe(git="d" * 40), False),
        ((5, f"sha256:{SHA256}"), describe(git=GIT), True),
        ((6, f"sha256:{SHA256}"), describe(git=GIT), False),
        ((5, f"sha256:{SHA256}"), describe(), False),
    ],
)
def test_files_are_the_same_by_size_and_digest(pin: Pin, file: RemoteFile, *, same: bool) -> None:
    assert is_same_file(pin, file) is same


def test_planned_files_are_pinned_once_and_missing_ones_are_not(tmp_path: Path) -> None:
    folder = tmp_path / "repo"
    folder.mkdir()
    (folder / "a").write_bytes(b"small")
    (folder / "b").write_bytes(bytes(5000))
    table = pa.table(
        {
            "path": ["a", "b", "none", "a"],
            "revision": ["main", "main", "main", "main"],
            "partition": ["t-000000", "t-000000", "t-000000", None],
        },
        metadata={"kept": "yes"},
    )
    with LocalHub(folder, "org/x") as hub:
        source = HubSource("org/x", endpoint=hub.endpoint)
        pinned = pin_files(table, source, revision="other", files={})
        small, large, none, excluded = read_pins(pinned)
        assert small is not None
        assert large is not None
        assert (small[0], small[1][:4], large[0], large[1][:7]) == (5, "git:", 5000, "sha256:")
        assert none is excluded is None
        assert pinned.schema.metadata == {b"kept": b"yes"}
        hub.squash()
        hub.forget_requests()
        at_old = pinned.set_column(1, "revision", pa.array(["0" * 40] * 4))
        assert read_pins(pin_files(at_old, source, revision="main", files={})) == read_pins(pinned)
        assert len(hub.requests("paths-info")) == 1


def test_a_catalog_of_an_earlier_version_has_no_pins() -> None:
    assert read_pins(pa.table({"path": ["a", "b"]})) == [None, None]
