"""Answers of a local Hub: JSON, errors, planned faults, and bytes of files."""

import contextlib
import json
import re
import socket
import struct
import time
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler
from typing import Any, BinaryIO, Literal

from medassets.testing.hub_faults import Fault, HubRequest, Place
from medassets.testing.hub_files import HubFile
from medassets.testing.hub_server import HubServer, HubState

_PIECE_BYTES = 1 << 16
_RANGE = re.compile(r"bytes=(\d+)-(\d*)")


class BaseHubHandler(BaseHTTPRequestHandler):
    """Base of the handlers of both servers."""

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
        """Unregister the connection."""
        self.server.drop(self.connection)
        with contextlib.suppress(OSError):
            super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base names it)
        """Log nothing; the plan records requests."""

    def note(self, place: Place | None, path: str | None) -> Fault | None:
        """Record the request and return the fault planned for it."""
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
        """Send a short response."""
        self.send_response(status)
        for name, value in {**headers, "Content-Type": kind}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_json(self, value: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send a JSON response."""
        body = json.dumps(value).encode()
        self.send_bytes(200, body, headers or {}, kind="application/json; charset=utf-8")

    def send_failure(
        self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """Send an error response with the Hub's headers."""
        named = {"X-Error-Message": message, "X-Request-Id": "Root=1-local", **(headers or {})}
        if code:
            named["X-Error-Code"] = code
        body = json.dumps({"error": message}).encode()
        self.send_bytes(status, body, named, kind="application/json; charset=utf-8")

    def send_fault(self, fault: Fault) -> bool:
        """Respond with a fault; False if the fault only changes a body."""
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
        """Reset the connection (RST)."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.rfile.close()
        self.server.drop(self.connection)
        self.connection.close()
        raise ConnectionAbortedError

    def hang_up(self) -> None:
        """Close the connection before all promised bytes are sent."""
        self.close_connection = True
        raise ConnectionAbortedError

    def send_file(self, file: HubFile, etag: str, fault: Fault | None) -> None:
        """Send a file or the requested range, with a fault if one is planned."""
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
        # Slow from the start: a wait after the last byte would only occupy the connection.
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
                self.state.plan.count_sent(file.path, len(piece))
                start += len(piece)
                num_left -= len(piece)
        if cut:
            self._break_off(kind)

    def _break_off(self, kind: str) -> None:
        if kind == "stall":
            self.state.closing.wait()
        if kind == "reset":
            # An RST overtakes bytes in transit; those sent before it must arrive.
            time.sleep(0.05)
            self.reset()
        self.hang_up()


def _promise(num_bytes: int, fault: Fault | None) -> int:
    """Return the Content-Length of a body."""
    if fault is not None and fault.kind == "short":
        return min(fault.at_byte, num_bytes)
    return num_bytes + 100 if fault is not None and fault.kind == "long" else num_bytes


def _read_piece(source: BinaryIO, num_bytes: int, flipped: int) -> bytes:
    """Read bytes (zeros past the end) and flip the byte at `flipped` if it is among them."""
    piece = bytearray(source.read(num_bytes).ljust(num_bytes, b"\0"))
    if 0 <= flipped < num_bytes:
        piece[flipped] ^= 0xFF
    return bytes(piece)
