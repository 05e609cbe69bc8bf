"""Servers between a client and a local Hub: a mirror that redirects, and a proxy that compresses."""

import gzip
import http.client
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


def deflate(body: bytes) -> bytes:
    return zlib.compress(body)


CODINGS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "deflate": deflate}


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing: clients that disconnect are expected."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve on 127.0.0.1 in threads of this process; yields the base URL."""
    server = _QuietServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def make_redirecting(target: str, status: int) -> type[BaseHTTPRequestHandler]:
    """Return a handler that redirects every request to another hub."""

    class Redirecting(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def redirect(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Location", target + self.path)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST = do_HEAD = redirect  # noqa: N815 (http.server calls them)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Redirecting


def make_compressing(
    target: str,
    coding: str,
    *,
    is_chunked: bool = False,
    label_only: bool = False,
    damage: Callable[[bytes], bytes] = bytes,
) -> type[BaseHTTPRequestHandler]:
    """Return a handler that passes requests on and compresses whole answers with files.

    Args:
        target: The hub.
        coding: Value of Content-Encoding.
        is_chunked: Send no Content-Length.
        label_only: State the coding, and send the bytes as they are stored.
        damage: Changes the compressed bytes.
    """
    host = urlsplit(target).netloc

    class Compressing(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def forward(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {k: v for k, v in self.headers.items() if k.lower() != "host"}
            with closing(http.client.HTTPConnection(host, timeout=10)) as upstream:
                upstream.request(self.command, self.path, sent or None, headers)
                answer = upstream.getresponse()
                body = answer.read()
            is_file = answer.status in (200, 206) and "/resolve/" in self.path
            if is_file and not label_only:
                body = damage(CODINGS.get(coding.lower(), gzip.compress)(body))
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in ("content-length", "connection", "date", "server"):
                    self.send_header(name, value)
            if is_file:
                self.send_header("Content-Encoding", coding)
            self.send_header(
                *("Transfer-Encoding", "chunked")
                if is_chunked
                else ("Content-Length", str(len(body)))
            )
            self.end_headers()
            self.wfile.write(
                b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if is_chunked and body else body
            )

        do_GET = do_POST = do_HEAD = forward  # noqa: N815 (http.server calls them)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    return Compressing
