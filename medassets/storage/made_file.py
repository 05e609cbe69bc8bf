"""A single file that this package writes at the user's choice, and the journal of its contents.

Such a file has no record and no field that says who made it. A hidden journal beside it does:
`.<name>.made.jsonl` has the digest of every content before it is published.
"""

from pathlib import Path

from medassets.storage.atomic import publish_bytes
from medassets.storage.checksums import sha256_bytes, sha256_file
from medassets.storage.journal import Journal
from medassets.storage.locks import lock_file
from medassets.storage.ownership import IsOurs, is_plain_file, never, require_ours

_HEADER = {"made_file": 1}


def publish_made(path: Path, content: bytes, *, is_ours: IsOurs = never) -> None:
    """Publish a file, unless what exists there was not made here or was changed since.

    Args:
        path: The file.
        content: The whole content.
        is_ours: Other evidence that an existing file may be replaced.

    Raises:
        ForeignFileError: If the existing file has no such evidence, or the journal is damaged or is
            a file of the user.
        JournalHeaderError: If the journal is of another version.
        DiskSpaceError: If the disk is full; the old content stays.
    """
    with lock_file(path.with_name(f".{path.name}.lock")):
        journal = Journal(path.with_name(f".{path.name}.made.jsonl"), _HEADER)
        made = {line["sha256"] for line in journal.replay()}
        require_ours(journal.path, lambda path: is_plain_file(path) and journal.is_intact())

        def is_made(path: Path) -> bool:
            return is_plain_file(path) and (sha256_file(path) in made or is_ours(path))

        require_ours(path, is_made)
        if (digest := sha256_bytes(content)) not in made:
            journal.append({"sha256": digest}, durable=True)
            journal.close()
        publish_bytes(path, content, is_ours=is_made)
