"""A small S3: what reading needs, over HTTP, from a folder."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

_RANGE = re.compile(r"bytes=([0-9]+)-([0-9]*)")


@contextmanager
def serve_bucket(folder: Path) -> Iterator[str]:
    """Serve the files of a folder as `s3://bucket/`, path style; give the endpoint."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
            """Say nothing."""

        def _answer(self, *, with_body: bool) -> None:
            path = folder / unquote(urlsplit(self.path).path).removeprefix("/bucket/")
            if not path.is_file():
                self.send_response(404)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            content, whole = path.read_bytes(), path.stat().st_size
            asked = _RANGE.fullmatch(self.headers.get("Range", ""))
            if asked:
                start, stop = int(asked[1]), int(asked[2] or whole - 1) + 1
                content = content[start:stop]
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("ETag", '"1"')
            self.send_header("Last-Modified", "Mon, 30 Nov 2026 00:00:00 GMT")
            if asked:
                last = int(asked[1]) + len(content) - 1
                self.send_header("Content-Range", f"bytes {asked[1]}-{last}/{whole}")
            self.end_headers()
            if with_body:
                self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
