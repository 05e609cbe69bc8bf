"""Bodies and errors that a local hub sends."""

from pathlib import Path

import httpx2
import pytest

from medassets.testing.hub import FaultKind, LocalHub
from medassets_tests.testing.small_hub import BIG, url_of


@pytest.mark.parametrize(
    ("asked", "status", "length", "content_range"),
    [
        ("bytes=10-19", 206, 10, "bytes 10-19/12800"),
        ("bytes=12790-", 206, 10, "bytes 12790-12799/12800"),
        ("bytes=12790-99999", 206, 10, "bytes 12790-12799/12800"),
        ("bytes=12800-", 416, None, "bytes */12800"),
        (None, 200, 12_800, None),
    ],
)
def test_a_range_is_answered_with_its_bytes(
    hub: LocalHub,
    folder: Path,
    asked: str | None,
    status: int,
    length: int | None,
    content_range: str | None,
) -> None:
    headers = {"Range": asked} if asked else {}
    got = httpx2.get(url_of(hub, BIG), headers=headers, follow_redirects=True)
    assert (got.status_code, got.headers.get("content-range")) == (status, content_range)
    if length is not None:
        start = int(asked[6:].split("-")[0]) if asked else 0
        assert got.content == (folder / BIG).read_bytes()[start : start + length]


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("gated", 403, "GatedRepo"),
        ("missing", 404, "EntryNotFound"),
        ("missing_repo", 404, "RepoNotFound"),
        ("rate_limit", 429, None),
        ("unavailable", 503, None),
    ],
)
def test_a_fault_has_the_status_and_the_code_of_the_public_hub(
    hub: LocalHub, kind: FaultKind, status: int, code: str | None
) -> None:
    hub.fail(kind, message="told", retry_after_s=7)
    got = httpx2.get(url_of(hub, "README.md"))
    assert (got.status_code, got.headers.get("x-error-code")) == (status, code)
    assert got.json() == {"error": "told"}
    assert got.headers.get("retry-after") == ("7" if kind == "rate_limit" else None)


def test_wrong_bytes_change_one_byte_of_the_body(hub: LocalHub, folder: Path) -> None:
    hub.fail("wrong_bytes", BIG, at_byte=7000)
    expected = bytearray((folder / BIG).read_bytes())
    expected[7000] ^= 0xFF
    assert httpx2.get(url_of(hub, BIG), follow_redirects=True).content == expected


def test_a_truncated_body_is_an_error_and_a_short_one_is_not(hub: LocalHub, folder: Path) -> None:
    hub.fail("truncate", BIG, at_byte=100)
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.get(url_of(hub, BIG), follow_redirects=True)
    hub.fail("short", BIG, at_byte=100)
    got = httpx2.get(url_of(hub, BIG), follow_redirects=True)
    assert got.content == (folder / BIG).read_bytes()[:100]
