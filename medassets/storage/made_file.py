"""A single file that this package writes at the user's choice, and the journal of its contents.

Such a file has no record and no field that says who made it. A hidden journal beside it does:
`.<name>.made.jsonl` has the digest of every content before it is published.
"""

from dataclasses import dataclass
from pathlib import Path

from medassets.errors import ForeignFileError, JournalHeaderError
from medassets.storage.atomic import publish_bytes
from medassets.storage.checksums import sha256_bytes, sha256_file
from medassets.storage.journal import Journal
from medassets.storage.locks import lock_file
from medassets.storage.ownership import IsOurs, is_plain_file, never, require_ours

_HEADER = {"made_file": 1}


@dataclass(frozen=True)
class MadeFile:
    """One such file.

    Attributes:
        path: The file.
        is_ours: Other evidence that what exists there may be replaced.
        was_ours: Evidence of a file that has no journal, as older versions left it.
    """

    path: Path
    is_ours: IsOurs = never
    was_ours: IsOurs = never

    def require_ours(self) -> None:
        """Refuse to replace what was not made here, or was changed since.

        Raises:
            ForeignFileError: If the existing file has no evidence, or the journal is damaged or is a
                file of the user.
            JournalHeaderError: If the journal is of another version.
        """
        require_ours(self.path, self._is_made(self._read_journal()[1]))

    def publish(self, content: bytes) -> None:
        """Publish a content, after its digest.

        Args:
            content: The whole content.

        Raises:
            ForeignFileError: See `require_ours`.
            JournalHeaderError: If the journal is of another version.
            DiskSpaceError: If the disk is full; the old content stays.
        """
        with lock_file(self.path.with_name(f".{self.path.name}.lock")):
            journal, made = self._read_journal()
            is_made = self._is_made(made)
            require_ours(self.path, is_made)
            if (digest := sha256_bytes(content)) not in made:
                journal.append({"sha256": digest}, durable=True)
                journal.close()
            publish_bytes(self.path, content, is_ours=is_made)

    def explain_journal(self) -> str:
        """Return why nothing can be published, as far as the journal is the cause; empty if not."""
        try:
            self._read_journal()
        except (ForeignFileError, JournalHeaderError) as error:
            return str(error)
        return ""

    def _read_journal(self) -> tuple[Journal, set[str]]:
        journal = Journal(self.path.with_name(f".{self.path.name}.made.jsonl"), _HEADER)
        require_ours(journal.path, is_plain_file)
        made = {line["sha256"] for line in journal.replay()}
        require_ours(journal.path, lambda path: is_plain_file(path) and journal.is_intact())
        return journal, made

    def _is_made(self, made: set[str]) -> IsOurs:
        def judge(path: Path) -> bool:
            if not is_plain_file(path):
                return False
            is_made = sha256_file(path) in made or self.is_ours(path)
            return is_made or (not made and self.was_ours(path))

        return judge
