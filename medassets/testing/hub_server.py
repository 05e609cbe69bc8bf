"""The answers of a local hub, as the real client expects them."""

import contextlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, BinaryIO, Literal
from urllib.parse import parse_qs, quote, unquote, urlsplit

from medassets.testing.hub_faults import Fault, FaultPlan, HubRequest, Place
from medassets.testing.hub_files import Commit, HubFile

_PIECE_BYTES = 1 << 16
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


@dataclass
class HubState:
    """What the threads of a local hub share.

    Attributes:
        repo_id: `<org>/<name>` of the one dataset.
        plan: Faults to come, requests so far.
        commits: Every state served so far, by sha.
        head: Commit that `main` stands for.
        token: The one token that is accepted; None accepts all and none.
        gated: Whether files are for those with the token only.
        page_size: Rows of one page of a listing.
        cdn_url: Base URL of the second server.
        closing: Set when the hub is shut down.
    """

    repo_id: str
    plan: FaultPlan
    commits: dict[str, Commit]
    head: str
    token: str | None = None
    gated: bool = False
    page_size: int = 1000
    cdn_url: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def find_commit(self, revision: str) -> Commit | None:
        """Return the commit of a branch name or sha."""
        return self.commits.get(self.head if revision == "main" else revision)

    def find_blob(self, sha256: str) -> HubFile | None:
        """Return a file by its digest."""
        files = (f for commit in self.commits.values() for f in commit.files.values())
        return next((file for file in files if file.sha256 == sha256), None)


class HubServer(ThreadingHTTPServer):
    """A threaded server that knows its hub and can let go of every connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, handler: type["BaseHubHandler"], state: HubState, port: int = 0) -> None:
        """Listen on a port of 127.0.0.1; 0 takes a free one."""
        super().__init__(("127.0.0.1", port), handler)
        self.state = state
        self._open: set[socket.socket] = set()
        self._open_lock = threading.Lock()

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def hold(self, connection: socket.socket) -> None:
        """Remember an open connection."""
        with self._open_lock:
            self._open.add(connection)

    def drop(self, connection: socket.socket) -> None:
        """Forget a connection that has ended."""
        with self._open_lock:
            self._open.discard(connection)

    def close_connections(self) -> None:
        """End every open connection, so that no handler waits for its client."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep silent: clients that go away, and faults that end a connection, are expected."""


class BaseHubHandler(BaseHTTPRequestHandler):
    """What both servers of a hub have in common."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server_kind: Literal["hub", "cdn"] = "hub"
    server: HubServer  # pyright: ignore[reportIncompatibleVariableOverride]

    @property
    def state(self) -> HubState:
        """The hub."""
        return self.server.state

    def setup(self) -> None:
        """Register the connection."""
        super().setup()
        self.server.hold(self.connection)

    def finish(self) -> None:
        """Forget the connection."""
        self.server.drop(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base names it)
        """Keep silent; requests are remembered in the plan."""

    def note(self, place: Place | None, path: str | None) -> Fault | None:
        """Remember the request and return what shall go wrong with it."""
        found = _RANGE.match(self.headers.get("Range", ""))
        request = HubRequest(
            server=self.server_kind,
            method=self.command,
            target=self.path,
            place=place,
            path=path,
            range_start=int(found[1]) if found else None,
            has_token="Authorization" in self.headers,
        )
        self.state.plan.note(request)
        return self.state.plan.take(place, path) if place is not None else None

    def send_bytes(
        self, status: int, body: bytes, headers: Mapping[str, str], *, kind: str
    ) -> None:
        """Send a small answer."""
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON answer."""
        body = json.dumps(value).encode()
        self.send_bytes(200, body, headers or {}, kind="application/json; charset=utf-8")

    def send_failure(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send an error answer as the hub words it."""
        named = {"X-Error-Message": message, "X-Request-Id": "Root=1-local", **(headers or {})}
        if code:
            named["X-Error-Code"] = code
        body = json.dumps({"error": message}).encode()
        self.send_bytes(status, body, named, kind="application/json; charset=utf-8")

    def send_fault(self, fault: Fault) -> bool:
        """Answer with a fault; False if it is one that only changes a body."""
        pause = {"Retry-After": str(fault.retry_after_s)}
        answers: dict[str, tuple[int, str, str, dict[str, str]]] = {
            "unauthorized": (401, "RepoNotFound", "Invalid username or password.", {}),
            "bad_token": (401, "", "Invalid credentials in Authorization header", {}),
            "gated": (403, "GatedRepo", "Your request to access this repo is pending.", {}),
            "forbidden": (403, "", "Forbidden", {}),
            "missing": (404, "EntryNotFound", "Entry not found", {}),
            "missing_repo": (404, "RepoNotFound", "Repository not found", {}),
            "rate_limit": (429, "", "Too many requests", pause),
            "unavailable": (503, "", "Service unavailable", {}),
            "expired_link": (403, "", "Request has expired", {}),
        }
        if fault.kind in answers:
            status, code, message, headers = answers[fault.kind]
            self.send_failure(status, code, fault.message or message, headers)
        elif fault.kind == "web_page":
            self.send_bytes(200, b"<html>please log in</html>", {}, kind="text/html")
        elif fault.kind == "reset" and fault.at_byte < 0:
            self.reset()
        elif fault.kind == "stall" and fault.place != "body":
            self.state.closing.wait()
        else:
            return False
        return True

    def reset(self) -> None:
        """Break the connection with an RST instead of an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.server.drop(self.connection)
        self.connection.close()
        raise ConnectionAbortedError

    def hang_up(self) -> None:
        """End the connection in order, whatever was promised on it."""
        self.close_connection = True
        raise ConnectionAbortedError

    def send_file(self, file: HubFile, etag: str, fault: Fault | None) -> None:
        """Send the bytes of a file, or of the range asked for, with a fault on the way."""
        found = _RANGE.match(self.headers.get("Range", ""))
        if fault is not None and fault.kind == "ignore_range":
            found = None
        start = int(found[1]) if found else 0
        if found and start >= file.num_bytes:
            headers = {"Content-Range": f"bytes */{file.num_bytes}"}
            self.send_failure(416, "", "Range not satisfiable", headers)
            return
        stop = min(int(found[2]) + 1, file.num_bytes) if found and found[2] else file.num_bytes
        num_promised = _promise(stop - start, fault)
        self.send_response(206 if found else 200)
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", etag)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(num_promised))
        if found:
            total = f"{start}-{start + num_promised - 1}/{file.num_bytes}"
            self.send_header("Content-Range", f"bytes {total}")
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(file, start, num_promised, fault)

    def _send_body(self, file: HubFile, start: int, num_promised: int, fault: Fault | None) -> None:
        kind = fault.kind if fault is not None else ""
        at_byte = fault.at_byte if fault is not None else 0
        cut = kind in ("reset", "stall", "truncate")
        num_left = min(at_byte, num_promised) if cut else num_promised
        # Slow all along: a wait behind the last byte would only keep the connection busy.
        speed = fault.bytes_per_s if fault is not None and kind == "slow" else 0
        size = max(min(_PIECE_BYTES, speed // 20), 1) if speed else _PIECE_BYTES
        flipped = at_byte if kind == "wrong_bytes" else -1
        with file.place.open("rb") as source:
            while num_left > 0:
                source.seek(start)
                piece = _read_piece(source, min(num_left, size), flipped - start)
                if speed and self.state.closing.wait(len(piece) / speed):
                    self.hang_up()
                self.wfile.write(piece)
                start += len(piece)
                num_left -= len(piece)
        if cut:
            self._break_off(kind)

    def _break_off(self, kind: str) -> None:
        if kind == "stall":
            self.state.closing.wait()
        if kind == "reset":
            # An RST overtakes what is still on its way; the bytes before it shall arrive.
            time.sleep(0.05)
            self.reset()
        self.hang_up()


class CdnHandler(BaseHubHandler):
    """Serves large files by digest; knows nothing of tokens."""

    server_kind = "cdn"

    def do_GET(self) -> None:
        """Answer a request for bytes."""
        url = urlsplit(self.path)
        file = self.state.find_blob(url.path.rpartition("/")[2])
        path = unquote(parse_qs(url.query).get("path", [""])[0])
        fault = self.note("body", path)
        if file is None:
            self.send_failure(404, "", "NoSuchKey")
        elif fault is None or not self.send_fault(fault):
            self.send_file(file, f'"{file.sha256}"', fault)

    def do_HEAD(self) -> None:
        """Answer a request for the headers of the bytes."""
        self.do_GET()


class HubHandler(BaseHubHandler):
    """Serves the API, small files, and links to large ones."""

    def do_GET(self) -> None:
        """Answer a request of the API or for a file."""
        self._route()

    def do_HEAD(self) -> None:
        """Answer a request for the headers of a file."""
        self._route()

    def do_POST(self) -> None:
        """Answer a request for the descriptions of some files."""
        self._route()

    def _route(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        found = re.fullmatch(r"/(api/)?datasets/([^/]+/[^/]+)(?:/([^/]+)(?:/(.*))?)?", url.path)
        place, path, revision = _read_route(found)
        fault = self.note(place, path)
        if fault is not None and place != "body" and self.send_fault(fault):
            return
        if found is None:
            self.send_failure(404, "", "Not found")
        elif not self._refuse(found[2], place):
            self._answer(place, found[3] or "", revision, path or "", parse_qs(body.decode()))

    def _refuse(self, repo_id: str, place: Place | None) -> bool:
        """Refuse callers without the right token; say whether it was done."""
        sent = self.headers.get("Authorization", "").removeprefix("Bearer ")
        token = self.state.token
        if sent and token is not None and sent != token:
            self.send_failure(401, "", "Invalid credentials in Authorization header")
        elif repo_id != self.state.repo_id:
            status = 404 if sent else 401
            self.send_failure(status, "RepoNotFound", "Repository not found")
        elif self.state.gated and place == "resolve" and (not sent or token is None):
            message = f"Access to dataset {repo_id} is restricted."
            self.send_failure(403 if sent else 401, "GatedRepo", message)
        else:
            return False
        return True

    def _answer(
        self,
        place: Place | None,
        verb: str,
        revision: str,
        path: str,
        form: Mapping[str, list[str]],
    ) -> None:
        commit = self.state.find_commit(revision)
        if verb == "refs":
            branch = {"name": "main", "ref": "refs/heads/main", "targetCommit": self.state.head}
            self.send_json({"branches": [branch], "converts": [], "tags": []})
        elif verb == "auth-check":
            self.send_json({})
        elif place is None:
            self.send_failure(404, "", "Not found")
        elif commit is None:
            self.send_failure(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        elif place == "info":
            self._send_info(commit)
        elif place == "paths-info":
            self.send_json(_describe_paths(commit, form.get("paths", [])))
        elif place == "tree":
            self._send_tree(commit, path)
        else:
            self._send_resolved(commit, path)

    def _send_info(self, commit: Commit) -> None:
        info: dict[str, Any] = {"id": self.state.repo_id, "sha": commit.sha}
        query = parse_qs(urlsplit(self.path).query)
        if "expand" not in query:
            info |= {
                "private": False,
                "gated": "manual" if self.state.gated else False,
                "lastModified": "2024-01-01T00:00:00.000Z",
                "createdAt": "2024-01-01T00:00:00.000Z",
                "tags": [],
                "downloads": 0,
                "siblings": [{"rfilename": path} for path in commit.files],
            }
        self.send_json(info)

    def _send_tree(self, commit: Commit, path: str) -> None:
        query = parse_qs(urlsplit(self.path).query)
        recursive = query.get("recursive", ["false"])[0].lower() == "true"
        rows = commit.list_tree(path, recursive=recursive)
        if rows is None:
            self.send_failure(404, "EntryNotFound", f"{path} does not exist")
            return
        start = int(query.get("cursor", ["0"])[0])
        end = start + self.state.page_size
        headers = {}
        if end < len(rows):
            page = f"{self.server.url}{urlsplit(self.path).path}?recursive={str(recursive).lower()}"
            headers["Link"] = f'<{page}&cursor={end}>; rel="next"'
        self.send_json(rows[start:end], headers)

    def _send_resolved(self, commit: Commit, path: str) -> None:
        file = commit.files.get(path)
        if file is None:
            self.send_failure(404, "EntryNotFound", "Entry not found")
        elif file.is_lfs:
            self._send_link(commit, file)
        else:
            fault = self.note("body", path)
            if fault is None or not self.send_fault(fault):
                self.extra = {"X-Repo-Commit": commit.sha}
                self.send_file(file, f'"{file.git_sha1}"', fault)

    def _send_link(self, commit: Commit, file: HubFile) -> None:
        query = f"path={quote(file.path, safe='')}&X-Amz-Signature=signed-link-secret"
        location = f"{self.state.cdn_url}/blobs/{file.sha256}?{query}"
        headers = {
            "Location": location,
            "X-Repo-Commit": commit.sha,
            "X-Linked-Etag": f'"{file.sha256}"',
            "X-Linked-Size": str(file.num_bytes),
            "ETag": f'"{file.git_sha1}"',
        }
        self.send_bytes(302, b"Found. Redirecting.", headers, kind="text/plain; charset=utf-8")

    extra: Mapping[str, str] = {}

    def end_headers(self) -> None:
        """Add what only an answer with a file's bytes carries."""
        for name, value in self.extra.items():
            self.send_header(name, value)
        self.extra = {}
        super().end_headers()


def _read_route(found: re.Match[str] | None) -> tuple[Place | None, str | None, str]:
    """Return place, path in the repository and revision of a request."""
    if found is None:
        return None, None, ""
    is_api, _, verb, rest = found.groups()
    revision, _, path = (rest or "").partition("/")
    revision, path = unquote(revision), unquote(path)
    if is_api and verb in (None, "revision"):
        return "info", None, revision or "main"
    if is_api and verb == "paths-info":
        return "paths-info", None, revision
    if is_api and verb == "tree":
        return "tree", path, revision
    if not is_api and verb == "resolve":
        return "resolve", path, revision
    return None, None, ""


def _describe_paths(commit: Commit, paths: list[str]) -> list[dict[str, Any]]:
    rows = [commit.files[path].describe() for path in paths if path in commit.files]
    rows += [
        {"type": "directory", "path": path, "oid": "0" * 40}
        for path in paths
        if any(name.startswith(f"{path}/") for name in commit.files)
    ]
    return rows


def _promise(num_bytes: int, fault: Fault | None) -> int:
    """Return the length an answer claims for its body."""
    if fault is not None and fault.kind == "short":
        return min(fault.at_byte, num_bytes)
    return num_bytes + 100 if fault is not None and fault.kind == "long" else num_bytes


def _read_piece(source: BinaryIO, num_bytes: int, flipped: int) -> bytes:
    """Read bytes, zeros past the end, one of them changed if it is among them."""
    piece = bytearray(source.read(num_bytes).ljust(num_bytes, b"\0"))
    if 0 <= flipped < num_bytes:
        piece[flipped] ^= 0xFF
    return bytes(piece)
