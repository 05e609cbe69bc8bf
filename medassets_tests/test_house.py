"""The house keeps its shape: small rooms, short modules, and tests where a reader looks for them."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "medassets"
TESTS = ROOT / "medassets_tests"

MOST_MODULES = 20
MOST_LINES = 450

_LOGIC = (ast.If, ast.IfExp, ast.For, ast.While, ast.Try, ast.Match, ast.comprehension, ast.BoolOp)


def list_modules(folder: Path) -> Iterator[Path]:
    """Yield the modules below a folder, without the faces of packages."""
    for path in sorted(folder.rglob("*.py")):
        if path.name not in ("__init__.py", "__main__.py"):
            yield path.relative_to(folder)


def has_logic(module: Path) -> bool:
    """Return whether a module decides or repeats anything inside a function."""
    tree = ast.parse((PACKAGE / module).read_text(encoding="utf-8"))
    functions = [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]
    return any(isinstance(node, _LOGIC) for function in functions for node in ast.walk(function))


def lacks_tests(module: Path) -> bool:
    """Return whether a module has no test file of its name."""
    return not (TESTS / module.parent / f"test_{module.name}").is_file()


def test_no_folder_has_more_than_twenty_modules() -> None:
    modules = Counter(module.parent.as_posix() for module in list_modules(PACKAGE))
    assert {room: n for room, n in modules.items() if n > MOST_MODULES} == {}


@pytest.mark.parametrize("folder", [PACKAGE, TESTS], ids=["package", "tests"])
def test_no_module_is_too_long_to_read_at_a_sitting(folder: Path) -> None:
    lines = {str(m): len((folder / m).read_bytes().splitlines()) for m in list_modules(folder)}
    assert {module: n for module, n in lines.items() if n > MOST_LINES} == {}


def test_every_module_with_logic_has_its_tests() -> None:
    assert [str(m) for m in list_modules(PACKAGE) if lacks_tests(m) and has_logic(m)] == []


def test_every_test_file_is_in_a_room_of_the_package() -> None:
    rooms = {m.parent for m in list_modules(PACKAGE)} | {Path("end_to_end"), Path("examples")}
    tests = [m for m in list_modules(TESTS) if m.name.startswith("test_")]
    assert [str(m) for m in tests if m.parent not in rooms] == []


def test_temporary_folders_come_only_from_the_scratch_that_is_swept() -> None:
    made = re.compile(r"tempfile\.(?!gettempdir|TemporaryFile|tempdir)\w+|from tempfile")
    files = [m for m in list_modules(PACKAGE) if made.search((PACKAGE / m).read_text())]
    assert [str(m) for m in files if m.parts[0] != "testing"] == []
