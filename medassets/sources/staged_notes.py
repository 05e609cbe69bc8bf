"""Notes beside staged files: the evidence that a file was staged here, and what it is."""

from dataclasses import asdict, dataclass
from pathlib import Path

from medassets.samples import StagedFile
from medassets.sources.base import RemoteFile
from medassets.storage.atomic import publish_bytes
from medassets.storage.checksums import canonical_json, parse_json, sha256_file
from medassets.storage.later_versions import take_fields
from medassets.storage.ownership import is_plain_file, is_private
from medassets.storage.private_names import sweep_private
from medassets.storage.unreadable import read_regular


@dataclass(frozen=True)
class _Note:
    uri: str
    revision: str | None
    num_bytes: int
    sha256: str
    mtime_ns: int


def note_path(place: Path) -> Path:
    """Return the path of the hidden file that records the staging of a file."""
    return place.with_name(f".{place.name}.staged.json")


def is_staged(place: Path) -> bool:
    """Tell whether what exists at a path was staged here, and was not written to since.

    A disk that loses bytes leaves the time as it is. A file of another time is hashed.
    """
    note = _read(place)
    if note is None or not is_plain_file(place):
        return False
    return place.stat().st_mtime_ns == note.mtime_ns or sha256_file(place) == note.sha256


def write_note(place: Path, file: RemoteFile, sha256: str, *, content: Path) -> None:
    """Record, durably, what is staged at a path, or is about to be.

    A new file gets its note before its name, so that a kill between the two leaves nothing that
    could be taken for a file of the user. Renaming changes neither size nor mtime.

    Args:
        place: Where the file is staged.
        file: What the source says of it.
        sha256: Digest of its bytes.
        content: The file as it is now: `place`, or the download that gets this name.
    """
    stat = content.stat()
    note = _Note(file.uri, file.revision, stat.st_size, sha256, stat.st_mtime_ns)
    publish_bytes(note_path(place), canonical_json(asdict(note)), is_ours=is_private)


def read_note(place: Path) -> StagedFile | None:
    """Return a staged file if it is unchanged since it was checked."""
    note = _read(place)
    try:
        stat = place.stat()
    except OSError:
        return None
    if note is None or (stat.st_size, stat.st_mtime_ns) != (note.num_bytes, note.mtime_ns):
        return None
    return StagedFile(place, note.uri, note.revision, note.num_bytes, note.sha256)


def remove_staged(place: Path) -> None:
    """Remove a file if it was staged here, and its note, which is the evidence, after it.

    What a user put in its place stays.
    """
    note = note_path(place)
    sweep_private(note)
    if is_staged(place):
        place.unlink(missing_ok=True)
    if is_plain_file(note):
        note.unlink(missing_ok=True)


def _read(place: Path) -> _Note | None:
    """Return the note of a file; one that cannot be read is no evidence."""
    try:
        return take_fields(_Note, parse_json(read_regular(note_path(place))), note_path(place))
    except (OSError, ValueError, TypeError):
        return None
