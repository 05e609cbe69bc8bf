"""Writes PACKAGE_PAGE.md from the README: `python docs/make_package_page.py`.

The page of the package, on an index or from `pip show --verbose`, has nothing beside it: a picture or a page
that is named by its path in the repository is not there. With a `Source` among the URLs of `pyproject.toml`
they are named by it; without one, pictures are left out and links become the names of the files.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "PACKAGE_PAGE.md"

_PICTURE = re.compile(r"!\[([^\]]*)\]\(([^)\s]+)\)")
_LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")
_NOTE = "\nFiles that are named without a link are in the source of the package.\n"


def make_page(readme: str, source: str = "") -> str:
    """Return the page as Markdown.

    Args:
        readme: The README, with paths in the repository.
        source: Address of the repository; empty if it has none.
    """
    if source:
        pictures = _PICTURE.sub(rf"![\1]({source}/raw/main/\2)", readme)
        return _LINK.sub(lambda found: _name_whole(found, source), pictures)
    without = re.sub(r"\n{3,}", "\n\n", _PICTURE.sub("", readme))
    return _LINK.sub(_name_file, without).rstrip() + "\n" + _NOTE


def _name_whole(found: re.Match[str], source: str) -> str:
    text, target = found.groups()
    return found[0] if "://" in target else f"[{text}]({source}/blob/main/{target})"


def _name_file(found: re.Match[str]) -> str:
    text, target = found.groups()
    return found[0] if "://" in target else f"{text} (`{target}`)"


if __name__ == "__main__":
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    PAGE.write_text(make_page((ROOT / "README.md").read_text(), project["urls"].get("Source", "")))
