"""The page of the package is made from the README, and everything on it is there for a reader."""

import re
import runpy
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
make_page = runpy.run_path(str(ROOT / "docs" / "make_package_page.py"))["make_page"]

_TARGETS = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def list_targets(page: str) -> list[str]:
    """Return what pictures and links lead to."""
    return ["".join(found) for found in _TARGETS.findall(page)]


def test_the_page_is_made_from_todays_readme() -> None:
    page = (ROOT / PROJECT["readme"]).read_text(encoding="utf-8")
    made = make_page(README, PROJECT["urls"].get("Source", ""))
    assert page == made, "run: python docs/make_package_page.py"


@pytest.mark.parametrize("source", ["", "https://example.org/medassets"])
def test_no_picture_and_no_link_of_the_page_is_a_path_of_the_repository(source: str) -> None:
    page = make_page(README, source)
    targets = list_targets(page)
    assert targets
    assert [target for target in targets if not target.startswith("https://")] == []
    assert ("/raw/main/docs/screenshots/graph.png)" in page) is bool(source)
    assert ("(`docs/fields.md`)" in page) is not bool(source)


def test_every_file_that_the_page_names_is_in_the_repository() -> None:
    named = re.findall(r"\(`([\w./-]+\.md)`\)", make_page(README))
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_the_page_of_installing_names_every_extra_for_users() -> None:
    page = (ROOT / "docs" / "installing.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert named == set(PROJECT["optional-dependencies"]) - {"dev", "bench"}
