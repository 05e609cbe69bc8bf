from pathlib import Path

import pytest

from medassets.errors import UsageError
from medassets.instance.declared_files import declaration_folders, find_declarations


def write(folder: Path) -> Path:
    (folder / "one").mkdir(parents=True)
    (folder / "one" / "defs.yaml").touch()
    return folder


def test_the_home_is_searched_once_it_holds_a_declaration(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shipped,) = declaration_folders()
    assert (shipped / "ct_rate" / "defs.yaml").is_file()
    write(home / "defs")
    assert declaration_folders() == [shipped, home / "defs"]
    monkeypatch.setenv("MEDASSETS_DEFS", f"{tmp_path}/a:{tmp_path}/b")
    expected = [shipped, tmp_path / "a", tmp_path / "b", home / "defs"]
    assert declaration_folders() == expected


@pytest.mark.parametrize("named", ["defs", "."])
def test_the_home_is_not_searched_twice(
    home: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    write(home / "defs")
    monkeypatch.setenv("MEDASSETS_DEFS", str(home / named))
    assert declaration_folders()[1:] == [home / named]


def test_a_url_is_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDASSETS_DEFS", "s3://bucket/defs")
    with pytest.raises(UsageError, match="MEDASSETS_DEFS"):
        declaration_folders()


def test_everything_of_the_name_is_found(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "two" / "defs.yaml").mkdir(parents=True)
    (tmp_path / "three").mkdir()
    (tmp_path / "three" / "defs.yaml").symlink_to(tmp_path / "gone")
    found = [path.parent.name for path in find_declarations(tmp_path)]
    assert found == ["one", "three", "two"]
