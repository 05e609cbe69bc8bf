"""Answers of a hub that never end, inflate, or cannot be parsed are errors of ours, and bounded."""

import gzip
import resource
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

import pytest

from medassets.errors import MedassetsError, SourceUnavailableError
from medassets.sources.hub import HubSource
from medassets_tests.sources.fetching import TOKEN, read_chain
from medassets_tests.sources.middlemen import serving

PIECE = b" " * (1 << 20)
BOMB = gzip.compress(b" " * (200 << 20), 1)
Body = bytes | Iterator[bytes]


class Answering(BaseHTTPRequestHandler):
    """Gives every request one status, some headers and one body."""

    status = 200
    headers_sent: Sequence[tuple[str, str]] = ()
    pieces: Any = staticmethod(lambda: [b""])
    asked: list[str]

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        type(self).asked.append(self.path)
        self.send_response(self.status)
        for name, value in self.headers_sent:
            self.send_header(name, value)
        self.end_headers()
        for piece in self.pieces():
            self.wfile.write(piece)

    do_GET = do_POST = do_HEAD = answer  # noqa: N815 (http.server calls them)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass


def make_answering(**attributes: Any) -> type[Answering]:
    return cast("type[Answering]", type("Answer", (Answering,), {"asked": [], **attributes}))


def ask(source: HubSource, endpoint: str) -> None:
    replace(source, endpoint=endpoint, revision="main", token=TOKEN).resolve_revision()


def never_end() -> Iterator[bytes]:
    while True:
        yield PIECE


def dribble() -> Iterator[bytes]:
    while True:
        time.sleep(0.05)
        yield b" "


@pytest.mark.timeout(60)
@pytest.mark.parametrize("status", [200, 404, 500])
@pytest.mark.parametrize("kind", ["endless", "bomb"])
def test_an_answer_without_end_takes_no_memory(kind: str, status: int, source: HubSource) -> None:
    headers = [("Content-Encoding", "gzip")] if kind == "bomb" else []
    pieces = staticmethod(never_end if kind == "endless" else lambda: [BOMB])
    answering = make_answering(status=status, headers_sent=headers, pieces=pieces)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with serving(answering) as endpoint, pytest.raises(MedassetsError) as caught:
        ask(source, endpoint)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000
    assert endpoint in str(caught.value)
    assert TOKEN not in read_chain(caught.value)
    if status == 200:
        assert "longer than 67,108,864 bytes" in str(caught.value)
        assert len(answering.asked) == 1


@pytest.mark.timeout(60)
def test_an_answer_that_never_ends_in_time_is_given_up(source: HubSource) -> None:
    policy = replace(source.policy, answer_timeout_s=0.2, max_attempts=2)
    with (
        serving(make_answering(pieces=staticmethod(dribble))) as endpoint,
        pytest.raises(SourceUnavailableError, match="did not end within"),
    ):
        ask(replace(source, policy=policy), endpoint)


@pytest.mark.parametrize("status", [200, 401, 404, 429, 500])
@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000, b'{"a":' * 50_000, b"9" * 5000, b"[1]", b"null", b'"text"', b"\xff\xfe",
        b'{"error": {"a": []}}', b'{"errors": 7}', b'{"error": "\\ud800"}', b"",
    ],
    ids=lambda body: repr(body[:12]),
)  # fmt: skip
def test_an_answer_that_no_parser_takes_is_an_error_of_ours(
    body: bytes, status: int, source: HubSource
) -> None:
    answering = make_answering(status=status, pieces=staticmethod(lambda: [body]))
    with serving(answering) as endpoint, pytest.raises(MedassetsError, match=endpoint):
        ask(source, endpoint)


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://host/file", "http://host:port/", "/api/again", "gopher:x"],
)
def test_a_redirect_that_leads_nowhere_is_asked_once(location: str, source: HubSource) -> None:
    answering = make_answering(
        status=302, headers_sent=[("Location", location), ("Content-Length", "0")]
    )
    with (
        serving(answering) as endpoint,
        pytest.raises(SourceUnavailableError, match="redirects to, cannot be used") as caught,
    ):
        ask(source, endpoint)
    # A loop is followed to its end, once.
    assert answering.asked.count(answering.asked[0]) == 1
    assert TOKEN not in read_chain(caught.value)


@pytest.mark.parametrize("size", [10**30, -1, 1.5, None, "12", 2**63])
def test_a_size_that_no_file_has_is_refused(size: object, source: HubSource) -> None:
    row = b'[{"type": "file", "path": "a", "oid": "%s", "size": %s}]'
    stated = row % (b"0" * 40, repr(size).replace("None", "null").replace("'", '"').encode())
    answering = make_answering(pieces=staticmethod(lambda: [stated]))
    with serving(answering) as endpoint, pytest.raises(SourceUnavailableError):
        replace(source, endpoint=endpoint).describe(["a"], revision="main")


def test_a_table_larger_than_memory_is_not_fetched(source: HubSource) -> None:
    row = b'[{"type": "file", "path": "a.csv", "oid": "%s", "size": %d}]' % (b"0" * 40, 1 << 50)
    answering = make_answering(pieces=staticmethod(lambda: [row]))
    with serving(answering) as endpoint, pytest.raises(MedassetsError, match="too large"):
        replace(source, endpoint=endpoint).read_table("a.csv", revision="main")
    assert len(answering.asked) == 1


@pytest.mark.parametrize("body", [b"[" * 900_000, b'{"sha": ' + b"9" * 900_000 + b"}"])
def test_an_answer_that_no_parser_takes_is_not_asked_for_again(
    body: bytes, source: HubSource
) -> None:
    handler = make_answering(
        headers_sent=[("Content-Length", str(len(body)))], pieces=staticmethod(lambda: [body])
    )
    with serving(handler) as endpoint, pytest.raises(SourceUnavailableError, match="not JSON"):
        ask(source, endpoint)
    assert len(handler.asked) == 1
