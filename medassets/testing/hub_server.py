"""HTTP servers of a local Hub and the state that their threads share."""

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from medassets.testing.hub_faults import FaultPlan
from medassets.testing.hub_files import Commit, HubFile


@dataclass
class HubState:
    """State of a local Hub, shared by all threads.

    Attributes:
        repo_id: `<org>/<name>` of the one dataset.
        plan: Planned faults and answered requests.
        commits: Every state served so far, by sha.
        head: Commit that `main` points to.
        token: The one token that is accepted; None accepts any and none.
        gated: Whether files require the token.
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
    """A threaded server that can close every open connection."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, handler: type[BaseHTTPRequestHandler], state: HubState, port: int = 0
    ) -> None:
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
        """Register an open connection."""
        with self._open_lock:
            self._open.add(connection)

    def drop(self, connection: socket.socket) -> None:
        """Unregister a closed connection."""
        with self._open_lock:
            self._open.discard(connection)

    def close_connections(self) -> None:
        """Close every open connection, so that no handler waits for its client."""
        with self._open_lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log nothing: clients that disconnect and planned connection faults are expected."""
