"""What is evidence that this package made a file, and what is not."""

from pathlib import Path

import pytest

from medassets.errors import ForeignFileError
from medassets.storage.atomic import publish_bytes, publish_file, publishing
from medassets.storage.ownership import (
    IsOurs,
    is_plain_file,
    is_plain_folder,
    is_private,
    json_says,
    name_first,
    never,
    require_ours,
)

OURS = json_says(lambda document: document.get("made_by") == "us")


@pytest.mark.parametrize("is_ours", [never, OURS, is_private])
def test_a_free_path_needs_no_evidence(tmp_path: Path, is_ours: IsOurs) -> None:
    require_ours(tmp_path / "a.json", is_ours)
    require_ours(tmp_path / "no folder" / "a.json", is_ours)


@pytest.mark.parametrize("content", [b'{"made_by": "you"}', b"[]", b"{", b"\xff", b""])
def test_a_file_without_evidence_is_refused_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ForeignFileError, match=r"a\.json: this was not made by medassets.*Move it"):
        publish_bytes(path, b"new", is_ours=OURS)
    with (
        pytest.raises(ForeignFileError, match=r"a\.json: this was not made"),
        publishing(path, is_ours=OURS),
    ):
        pytest.fail("nothing may be written")
    (tmp_path / "private").write_bytes(b"new")
    with pytest.raises(ForeignFileError, match=r"a\.json: this was not made"):
        publish_file(tmp_path / "private", path, is_ours=OURS)
    assert path.read_bytes() == content
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "private"]


def test_a_file_with_evidence_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b'{"made_by": "us"}')
    publish_bytes(path, b"new", is_ours=OURS)
    assert path.read_bytes() == b"new"


def test_what_appears_while_a_file_is_written_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.json"

    def publish_late() -> None:
        with publishing(path, is_ours=never) as private:
            private.write_bytes(b"ours")
            path.write_bytes(b"theirs")

    with pytest.raises(ForeignFileError, match=r"a\.json: this was not made"):
        publish_late()
    assert path.read_bytes() == b"theirs"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json"]


def test_links_and_folders_are_never_files_of_ours(tmp_path: Path) -> None:
    (tmp_path / "real.json").write_bytes(b'{"made_by": "us"}')
    (tmp_path / "link.json").symlink_to(tmp_path / "real.json")
    (tmp_path / "dangling.json").symlink_to(tmp_path / "nothing")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / ".linked").symlink_to(tmp_path / "real.json")
    for name in ("link.json", "dangling.json", "folder.json", ".linked"):
        for is_ours in (OURS, is_private, is_plain_file):
            with pytest.raises(ForeignFileError, match=name):
                require_ours(tmp_path / name, is_ours)
    assert is_plain_folder(tmp_path / "folder.json")
    (tmp_path / "linked folder").symlink_to(tmp_path / "folder.json")
    assert not is_plain_folder(tmp_path / "linked folder")


def test_a_private_name_is_hidden(tmp_path: Path) -> None:
    (tmp_path / ".a.record").touch()
    (tmp_path / "a.record").touch()
    assert is_private(tmp_path / ".a.record")
    assert not is_private(tmp_path / "a.record")


def test_the_first_three_are_named_and_the_rest_counted() -> None:
    assert name_first(["a"]) == "a"
    assert name_first("abc") == "a, b, c"
    assert name_first(map(str, range(1005))) == "0, 1, 2 and 1,002 more"
