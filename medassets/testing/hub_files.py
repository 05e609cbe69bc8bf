"""Files of a folder as the Hub describes them: digests, commits, folders."""

import hashlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class HubFile:
    """One file of a commit.

    Attributes:
        place: Path of the local file.
        path: Path in the repository.
        num_bytes: Size.
        mtime_ns: Time of last modification, in ns.
        sha256: Digest of the bytes.
        git_sha1: Git blob id of the bytes.
        is_lfs: Whether it is in large file storage, served by the CDN.
    """

    place: Path
    path: str
    num_bytes: int
    mtime_ns: int
    sha256: str
    git_sha1: str
    is_lfs: bool

    def describe(self) -> dict[str, Any]:
        """Return the Hub's JSON description of the file."""
        row: dict[str, Any] = {
            "type": "file",
            "path": self.path,
            "size": self.num_bytes,
            "oid": self.git_sha1,
        }
        if self.is_lfs:
            row["lfs"] = {"oid": self.sha256, "size": self.num_bytes, "pointerSize": 134}
        return row


@dataclass(frozen=True)
class Commit:
    """One state of the repository.

    Attributes:
        sha: 40 hex digits that depend on the contents only.
        files: By path in the repository, sorted.
    """

    sha: str
    files: dict[str, HubFile]

    def list_tree(self, folder: str, *, recursive: bool) -> list[dict[str, Any]] | None:
        """Return the Hub's JSON listing of a folder, None if the folder does not exist."""
        prefix = f"{folder}/" if folder else ""
        inside = {p: f for p, f in self.files.items() if p.startswith(prefix)}
        if not inside and folder:
            return None
        rows: dict[str, dict[str, Any]] = {}
        for path, file in inside.items():
            parts = path.removeprefix(prefix).split("/")
            for depth in range(1, len(parts) if recursive else min(len(parts), 2)):
                name = prefix + "/".join(parts[:depth])
                oid = hashlib.sha1(name.encode(), usedforsecurity=False).hexdigest()
                rows[name] = {"type": "directory", "path": name, "oid": oid}
            if recursive or len(parts) == 1:
                rows[path] = file.describe()
        return [rows[path] for path in sorted(rows)]


def read_commit(folder: Path, *, lfs_min_bytes: int, known: Commit | None = None) -> Commit:
    """Hash the files of a folder and make a commit of them.

    Args:
        folder: The repository; links are followed.
        lfs_min_bytes: Files of this size and above are in large file storage.
        known: An earlier state of the folder; files of unchanged size and mtime are not hashed
            again.
    """
    places = sorted(place for place in folder.rglob("*") if place.is_file())
    files = {
        path: _reuse(known, path, place) or _read_file(place, path, lfs_min_bytes)
        for place in places
        for path in [place.relative_to(folder).as_posix()]
    }
    digest = hashlib.sha1(usedforsecurity=False)
    for path, file in files.items():
        digest.update(f"{path}\0{file.sha256}\n".encode())
    return Commit(digest.hexdigest(), files)


def rename_commit(commit: Commit, *, after: str) -> Commit:
    """Return the commit under a sha that also depends on an earlier one."""
    text = f"{after}\0{commit.sha}".encode()
    return replace(commit, sha=hashlib.sha1(text, usedforsecurity=False).hexdigest())


def keep_files(commit: Commit, folder: Path) -> Commit:
    """Return the commit with its files served from copies, named by digest, in a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    files: dict[str, HubFile] = {}
    for path, file in commit.files.items():
        copy = folder / file.sha256
        if not copy.exists():
            shutil.copyfile(file.place, copy)
        files[path] = replace(file, place=copy)
    return replace(commit, files=files)


def _reuse(known: Commit | None, path: str, place: Path) -> HubFile | None:
    file = known.files.get(path) if known is not None else None
    stat = place.stat()
    same = file is not None and (file.num_bytes, file.mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    return file if same else None


def _read_file(place: Path, path: str, lfs_min_bytes: int) -> HubFile:
    stat = place.stat()
    sha256 = hashlib.sha256()
    # A git blob id is the SHA-1 of this header and the bytes.
    git = hashlib.sha1(b"blob %d\0" % stat.st_size, usedforsecurity=False)
    with place.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            sha256.update(piece)
            git.update(piece)
    return HubFile(
        place=place,
        path=path,
        num_bytes=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        sha256=sha256.hexdigest(),
        git_sha1=git.hexdigest(),
        is_lfs=stat.st_size >= lfs_min_bytes,
    )
