"""Answers that a proxy compressed: decoded, and stored files that only say so left as they are."""

import gzip
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from medassets.errors import SourceUnavailableError
from medassets.sources.content_coding import find_coding, find_unknown_coding, iter_stored
from medassets.sources.hub import HubSource
from medassets.testing.hub import LocalHub
from medassets_tests.sources.fetching import fetch
from medassets_tests.sources.middlemen import make_compressing, serving

FILES = {
    "vol/noise.nii.gz": random.Random(1).randbytes(200_001),
    "vol/volume.nii.gz": gzip.compress(bytes(50_000) + random.Random(2).randbytes(1000), mtime=0),
    "vol/zeros.bin": bytes(100_000),
    "table.csv": b"name,value\na,1\n",
    "empty.csv": b"",
}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    """A hub that serves all files itself, so that a proxy sees them."""
    for name, content in FILES.items():
        place = tmp_path / "files" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    with LocalHub(tmp_path / "files", "org/ct-small", lfs_min_bytes=1 << 30) as hub:
        yield hub


@pytest.mark.parametrize("coding", ["gzip", "deflate", "GZIP"])
@pytest.mark.parametrize("is_chunked", [False, True], ids=["with length", "chunked"])
def test_what_a_proxy_compressed_is_decoded(
    hub: LocalHub, source: HubSource, tmp_path: Path, coding: str, *, is_chunked: bool
) -> None:
    with serving(make_compressing(hub.endpoint, coding, is_chunked=is_chunked)) as proxy:
        here = replace(source, endpoint=proxy)
        for number, (name, content) in enumerate(FILES.items()):
            fetched = fetch(here, tmp_path / f"file{number}", name)
            assert fetched.path.read_bytes() == content
        assert here.read_table("table.csv", revision=None) == FILES["table.csv"]


# An answer without length that is labelled, and no gzip, is a broken proxy.
@pytest.mark.parametrize(
    ("name", "is_chunked"),
    [("vol/volume.nii.gz", False), ("vol/volume.nii.gz", True), ("vol/noise.nii.gz", False)],
)
def test_a_stored_gzip_that_its_server_labels_as_coding_is_not_inflated(
    hub: LocalHub, source: HubSource, tmp_path: Path, name: str, *, is_chunked: bool
) -> None:
    handler = make_compressing(hub.endpoint, "gzip", is_chunked=is_chunked, label_only=True)
    with serving(handler) as proxy:
        fetched = fetch(replace(source, endpoint=proxy), tmp_path / "file", name)
    assert fetched.path.read_bytes() == FILES[name]


def test_a_download_that_was_cut_off_continues_through_the_proxy(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    name = "vol/noise.nii.gz"
    described = source.describe([name], revision=None)[name]
    part = tmp_path / f"file.{described.git_sha1}.part"
    part.write_bytes(FILES[name][:70_000])
    with serving(make_compressing(hub.endpoint, "gzip")) as proxy:
        fetched = fetch(replace(source, endpoint=proxy), tmp_path / "file", name)
    assert fetched.path.read_bytes() == FILES[name]
    assert hub.sent_bytes()[name] == len(FILES[name]) - 70_000


def test_a_body_that_is_not_what_it_says_is_named(
    hub: LocalHub, source: HubSource, tmp_path: Path
) -> None:
    handler = make_compressing(hub.endpoint, "gzip", damage=lambda body: b"?" + body)
    with serving(handler) as proxy, pytest.raises(SourceUnavailableError, match="a proxy compr"):
        fetch(replace(source, endpoint=proxy), tmp_path / "file", "vol/noise.nii.gz")


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br"])
def test_a_coding_that_is_not_known_is_named(
    hub: LocalHub, source: HubSource, tmp_path: Path, coding: str
) -> None:
    with (
        serving(make_compressing(hub.endpoint, coding)) as proxy,
        pytest.raises(SourceUnavailableError, match=r"compresses the file as '(br|zstd)'"),
    ):
        fetch(replace(source, endpoint=proxy), tmp_path / "file", "vol/noise.nii.gz")


@pytest.mark.parametrize(
    ("headers", "num_missing", "other_way", "expected"),
    [
        ({}, 4, False, b"raw!"),
        ({"content-encoding": "identity"}, 4, False, b"raw!"),
        ({"content-encoding": "gzip", "content-length": "4"}, 4, False, b"raw!"),
        ({"content-encoding": "gzip", "content-length": "24"}, 4, False, b"four"),
        ({"content-encoding": "gzip"}, 4, False, b"four"),
        ({"content-encoding": "gzip"}, 24, True, gzip.compress(b"four", mtime=0)),
        ({"content-encoding": "gzip", "content-length": "24"}, 24, True, b"four"),
    ],
)
def test_the_length_says_what_a_coding_means(
    headers: dict[str, str], num_missing: int, *, other_way: bool, expected: bytes
) -> None:
    content = b"raw!" if expected == b"raw!" else gzip.compress(b"four", mtime=0)
    response = httpx2.Response(200, headers=headers, stream=httpx2.ByteStream(content))
    pieces = iter_stored(response, num_missing=num_missing, other_way=other_way)
    assert b"".join(pieces) == expected


def test_codings_are_compared_without_regard_to_case() -> None:
    response = httpx2.Response(200, headers={"content-encoding": " GZip , Br "})
    assert find_coding(response) == "gzip , br"
    assert find_unknown_coding(response, num_missing=4) == "br"
    assert find_unknown_coding(httpx2.Response(200), num_missing=4) == ""
