"""Requests that a local Hub understands: its API, small files, and large files on a CDN."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

from medassets.testing.hub_answers import BaseHubHandler
from medassets.testing.hub_faults import Place
from medassets.testing.hub_files import Commit, HubFile


class CdnHandler(BaseHubHandler):
    """Serves large files by digest, without tokens."""

    server_kind = "cdn"

    def do_GET(self) -> None:  # noqa: N802 (http.server calls it)
        """Answer a request for bytes."""
        url = urlsplit(self.path)
        file = self.state.find_blob(url.path.rpartition("/")[2])
        path = unquote(parse_qs(url.query).get("path", [""])[0])
        fault = self.note("body", path)
        if file is None:
            self.send_failure(404, "", "NoSuchKey")
        elif fault is None or not self.send_fault(fault):
            self.send_file(file, f'"{file.sha256}"', fault)

    def do_HEAD(self) -> None:  # noqa: N802 (http.server calls it)
        """Answer a request for the headers of the bytes."""
        self.do_GET()


class HubHandler(BaseHubHandler):
    """Serves the API, small files, and links to large ones."""

    def do_GET(self) -> None:  # noqa: N802 (http.server calls it)
        """Answer a request of the API or for a file."""
        self._route()

    def do_HEAD(self) -> None:  # noqa: N802 (http.server calls it)
        """Answer a request for the headers of a file."""
        self._route()

    def do_POST(self) -> None:  # noqa: N802 (http.server calls it)
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
        """Refuse callers without the right token; return whether it did."""
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
        """Add the headers of a response with a file's bytes."""
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
