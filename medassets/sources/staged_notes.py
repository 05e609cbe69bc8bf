"""Notes beside staged files: the evidence that a file was staged here, and what it is."""

import json
from pathlib import Path

from medassets.samples import StagedFile
from medassets.sources.base import RemoteFile
from medassets.storage.atomic import publish_bytes
from medassets.storage.checksums import canonical_json
from medassets.storage.ownership import is_plain_file, is_private
from medassets.storage.private_names import sweep_private


def note_path(place: Path) -> Path:
    """Return the path of the hidden file that records the staging of a file."""
    return place.with_name(f".{place.name}.staged.json")


def is_staged(place: Path) -> bool:
    """Tell whether what exists at a path was staged here."""
    return is_plain_file(place) and is_plain_file(note_path(place))


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
    note = {
        "uri": file.uri,
        "revision": file.revision,
        "num_bytes": stat.st_size,
        "sha256": sha256,
        "mtime_ns": stat.st_mtime_ns,
    }
    publish_bytes(note_path(place), canonical_json(note), is_ours=is_private)


def read_note(place: Path) -> StagedFile | None:
    """Return a staged file if it is unchanged since it was checked."""
    try:
        note = json.loads(note_path(place).read_bytes())
        stat = place.stat()
        if (stat.st_size, stat.st_mtime_ns) != (note["num_bytes"], note["mtime_ns"]):
            return None
        return StagedFile(place, note["uri"], note["revision"], note["num_bytes"], note["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        # A note that cannot be read costs one hashing of the file, nothing more.
        return None


def remove_staged(place: Path) -> None:
    """Remove a file if it was staged here, and its note, which is the evidence, after it."""
    note = note_path(place)
    sweep_private(note)
    if is_plain_file(note):
        place.unlink(missing_ok=True)
        note.unlink(missing_ok=True)
