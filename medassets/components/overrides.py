"""Fields that `medassets build --set` replaced, in a file of the home beside the declarations.

The declaration itself may be shipped or shared, so it stays as it is. What loads declarations adds the
fields, in a command as in the UI.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from medassets.components.yaml_lines import Document, Problem, read_declaration
from medassets.storage.atomic import publish_bytes
from medassets.storage.formats.yaml_texts import compose_bounded, load_bounded
from medassets.storage.ownership import content_says
from medassets.storage.paths import declarations_home

_HEAD = "# Fields that `medassets build --set` has replaced; remove one here to undo it.\n"
_FILE = "set.yaml"


def overrides_file(dataset: str) -> Path:
    """Return the file of a dataset's replaced fields; it may not exist."""
    return declarations_home() / dataset / _FILE


def read_overrides(dataset: str) -> dict[str, Any]:
    """Return the replaced fields of a dataset; empty without any.

    Raises:
        yaml.YAMLError: If the file is not YAML.
        ValueError: If it holds something else than fields.
    """
    content = read_declaration(overrides_file(dataset))
    fields = load_bounded(content) if content.strip() else {}
    if fields is not None and not isinstance(fields, dict):
        msg = f"expected `field: value` lines, got {type(fields).__name__}"
        raise ValueError(msg)
    return {str(name): value for name, value in (fields or {}).items()}


def write_overrides(dataset: str, fields: Mapping[str, Any]) -> Path:
    """Write the replaced fields of a dataset, all of them; return the file.

    Raises:
        ForeignFileError: If a file of that name was made by others.
        DiskSpaceError: If the disk is full.
    """
    body = yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True) if fields else ""
    is_ours = content_says(lambda content: content.startswith(_HEAD.encode()))
    publish_bytes(overrides_file(dataset), (_HEAD + body).encode(), is_ours=is_ours)
    return overrides_file(dataset)


def name_of(document: Document) -> str:
    """Return the name of the dataset that a document declares; empty where it is not plain."""
    node = document.attributes.get("name")
    return node.value if isinstance(node, yaml.ScalarNode) else ""


def apply_overrides(document: Document) -> Document:
    """Return a document with the fields that were replaced; the same one without any.

    Raises:
        yaml.YAMLError: If the replaced fields are not YAML.
        ValueError: If they are no fields.
    """
    name = name_of(document)
    fields = read_overrides(name) if _is_name(name) else {}
    if not fields:
        return document
    declared = yaml.safe_load(document.text)
    declared["attributes"] = {**declared["attributes"], **fields}
    text = yaml.safe_dump(declared, sort_keys=False, allow_unicode=True)
    return replace(document, text=text, root=compose_bounded(text)[0], alone=False)


def place_problem(problem: Problem, document: Document) -> Problem:
    """Return a problem of a document with replaced fields at its line, in the file that has it."""
    name = name_of(document)
    file = overrides_file(name)
    if not _is_name(name) or problem.field not in read_overrides(name):
        return document.problem(problem.field, problem.what)
    lines = read_declaration(file).decode("utf-8", "replace").splitlines()
    starts = (n for n, line in enumerate(lines, 1) if line.startswith(f"{problem.field}:"))
    return Problem(file, next(starts, 0), problem.field, problem.what)


def _is_name(name: str) -> bool:
    # A name from a broken declaration must not lead elsewhere.
    return name.isidentifier() and name.isascii()
