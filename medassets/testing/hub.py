"""A local Hub: serves a folder as a dataset repository, with faults on demand."""

import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from medassets.testing.hub_api import CdnHandler, HubHandler
from medassets.testing.hub_faults import Fault, FaultKind, FaultPlan, HubRequest, Place
from medassets.testing.hub_files import Commit, keep_files, read_commit, rename_commit
from medassets.testing.hub_server import HubServer, HubState

__all__ = ["Fault", "FaultKind", "HubRequest", "LocalHub", "Place"]


class LocalHub:
    """Serves a folder to the real client over HTTP on 127.0.0.1, for tests and the demo.

    There are two servers, as on the public Hub: the API, and a CDN on another port for the bytes
    of large files. The commit sha depends on the contents only, so equal folders have equal commits.

        with LocalHub(folder, "org/name") as hub:
            source = HubSource("org/name", endpoint=hub.endpoint)
            hub.fail("reset", "*.nii.gz", at_byte=1000)
    """

    def __init__(
        self,
        folder: Path,
        repo_id: str,
        *,
        token: str | None = None,
        gated: bool = False,
        lfs_min_bytes: int = 1024,
        page_size: int = 1000,
        port: int = 0,
        history: Path | None = None,
    ) -> None:
        """Hash the folder; `start`, or entering the context, starts the servers.

        Args:
            folder: The repository.
            repo_id: `<org>/<name>`.
            token: The token that is accepted; None accepts any and none.
            gated: Whether files require the token.
            lfs_min_bytes: Files of this size and above are served by the CDN.
            page_size: Rows of one page of a listing.
            port: Port of the hub on 127.0.0.1; 0 takes a free one.
            history: Folder for copies of the files of each commit, as the public Hub keeps them;
                None serves earlier commits from the folder as it is now.
        """
        self._port = port
        self._history = history
        self._folder = folder
        self._lfs_min_bytes = lfs_min_bytes
        commit = self._read_commit()
        self._state = HubState(
            repo_id=repo_id,
            plan=FaultPlan(),
            commits={commit.sha: commit},
            head=commit.sha,
            token=token,
            gated=gated,
            page_size=page_size,
        )
        self._servers: list[HubServer] = []
        self._threads: list[threading.Thread] = []

    @property
    def endpoint(self) -> str:
        """Base URL of the hub, for `HF_ENDPOINT`."""
        return self._servers[0].url

    @property
    def cdn_url(self) -> str:
        """Base URL of the server of large files."""
        return self._state.cdn_url

    @property
    def sha(self) -> str:
        """Commit that `main` points to."""
        return self._state.head

    def start(self) -> Self:
        """Start the servers on threads of this process."""
        state = self._state
        self._servers = [HubServer(HubHandler, state, self._port), HubServer(CdnHandler, state)]
        state.cdn_url = self._servers[1].url
        state.closing.clear()
        for server in self._servers:
            # The default poll of half a second would be added to every test.
            thread = threading.Thread(
                target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
            )
            thread.start()
            self._threads.append(thread)
        return self

    def close(self) -> None:
        """Stop the servers and close every connection."""
        self._state.closing.set()
        for server in self._servers:
            server.shutdown()
            server.close_connections()
            server.server_close()
        for thread in self._threads:
            thread.join()
        self._servers, self._threads = [], []

    def __enter__(self) -> Self:
        """Start the servers."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop the servers."""
        self.close()

    def refresh(self) -> str:
        """Commit the folder's current state as the head, and return the commit sha.

        Earlier commits remain: their descriptions are kept, their bytes are read from the folder.
        """
        commit = self._read_commit(self._state.commits[self._state.head])
        self._state.commits[commit.sha] = commit
        self._state.head = commit.sha
        return commit.sha

    def squash(self) -> str:
        """Replace all commits by one with the folder's current state, and return its sha.

        As on the public Hub, the new commit has another sha even if no file changed, and the
        earlier ones no longer exist.
        """
        commit = rename_commit(self._read_commit(), after=self._state.head)
        self._state.commits = {commit.sha: commit}
        self._state.head = commit.sha
        return commit.sha

    def _read_commit(self, known: Commit | None = None) -> Commit:
        commit = read_commit(self._folder, lfs_min_bytes=self._lfs_min_bytes, known=known)
        return commit if self._history is None else keep_files(commit, self._history)

    def fail(self, kind: FaultKind, path: str = "*", **changes: object) -> None:
        """Plan a fault; see `Fault` for what can be changed (`times`, `skip`, `at_byte`, ...).

        Without a `place`, faults of the Hub's response happen at `resolve`, others in the `body` of
        the file.

        Raises:
            ValueError: If the kind of fault does not exist.
        """
        self._state.plan.add(kind, path, **changes)

    def heal(self) -> None:
        """Remove all planned faults."""
        self._state.plan.clear()

    def requests(self, place: Place | None = None) -> list[HubRequest]:
        """Return the requests answered so far, of one place or of all."""
        return self._state.plan.requests(place)

    def sent_bytes(self) -> dict[str, int]:
        """Return the bytes of each file that were sent so far, by path in the repository."""
        return self._state.plan.sent_bytes()

    def forget_requests(self) -> None:
        """Clear the recorded requests and the sent bytes."""
        self._state.plan.forget_requests()
