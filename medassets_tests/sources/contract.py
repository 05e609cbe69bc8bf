"""What every source of files promises; each implementation subclasses the contract."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from medassets.errors import CatalogError, Reason, SampleRejectedError
from medassets.sources.base import Source


class SourceContract:
    """Promises of every source.

    Subclasses override the fixture `source`, and name a file of it (`path`), one that it lacks
    (`missing`) and a table (`table`).
    """

    path: str
    missing: str
    table = "table.csv"

    def test_facts_are_those_of_the_fetched_file(self, source: Source, tmp_path: Path) -> None:
        revision = source.resolve_revision()
        described = source.describe([self.path], revision=revision)[self.path]
        fetched = source.fetch(described, tmp_path / "target")
        assert fetched.num_bytes == described.num_bytes
        assert described.sha256 in (None, fetched.sha256)
        assert (fetched.uri, fetched.revision) == (described.uri, described.revision)
        assert fetched.path.is_file()

    def test_the_same_file_has_the_same_digest(self, source: Source, tmp_path: Path) -> None:
        described = source.describe([self.path], revision=source.resolve_revision())[self.path]
        first, second = (source.fetch(described, tmp_path / name) for name in ("first", "second"))
        assert first.sha256 == second.sha256
        assert len(first.sha256) == 64

    def test_records_name_no_path_or_host_of_this_machine(
        self, source: Source, tmp_path: Path
    ) -> None:
        described = source.describe([self.path], revision=source.resolve_revision())[self.path]
        for text in (source.uri, described.uri):
            assert str(tmp_path) not in text
            assert "127.0.0.1" not in text

    def test_only_existing_files_are_described(self, source: Source) -> None:
        found = source.describe([self.missing, self.path], revision=source.resolve_revision())
        assert list(found) == [self.path]

    def test_a_missing_file_rejects_its_sample(self, source: Source, tmp_path: Path) -> None:
        described = source.describe([self.path], revision=source.resolve_revision())[self.path]
        facts: dict[str, Any] = {"num_bytes": None, "sha256": None, "git_sha1": None}
        with pytest.raises(SampleRejectedError) as caught:
            source.fetch(replace(described, path=self.missing, **facts), tmp_path / "target")
        assert caught.value.reason is Reason.MISSING_UPSTREAM

    def test_every_byte_is_reported_while_a_file_is_fetched(
        self, source: Source, tmp_path: Path
    ) -> None:
        described = source.describe([self.path], revision=source.resolve_revision())[self.path]
        seen: list[int] = []
        fetched = source.fetch(described, tmp_path / "target", on_bytes=seen.append)
        assert sum(seen) == fetched.num_bytes

    def test_a_missing_table_is_named(self, source: Source) -> None:
        revision = source.resolve_revision()
        assert source.read_table(self.table, revision=revision)
        with pytest.raises(CatalogError, match=r"no-table\.csv"):
            source.read_table("no-table.csv", revision=revision)

    @pytest.mark.parametrize("prefix", ["../", "/", "a/../../"])
    def test_paths_out_of_the_source_are_refused(self, source: Source, prefix: str) -> None:
        with pytest.raises(CatalogError, match="path in source"):
            source.describe([f"{prefix}{self.path}"], revision=source.resolve_revision())

    def test_a_local_source_leaves_files_where_they_are(
        self, source: Source, tmp_path: Path
    ) -> None:
        described = source.describe([self.path], revision=source.resolve_revision())[self.path]
        fetched = source.fetch(described, tmp_path / "target")
        assert source.is_local == (fetched.path != tmp_path / "target")
        assert source.is_local == (source.folder is not None)

    def test_a_changed_file_has_other_facts(self, source: Source, tmp_path: Path) -> None:
        before = source.describe([self.path], revision=source.resolve_revision())[self.path]
        digest = source.fetch(before, tmp_path / "before").sha256
        self.change()
        after = source.describe([self.path], revision=self.latest(source))[self.path]
        assert after != before
        assert source.fetch(after, tmp_path / "after").sha256 != digest

    def change(self) -> None:
        """Change the content of `path`."""
        raise NotImplementedError

    def latest(self, source: Source) -> str | None:
        """Return the revision with the change."""
        return source.resolve_revision()
