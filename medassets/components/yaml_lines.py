"""The YAML of a declaration with its positions in the file: documents, fields, lines."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, get_origin

import yaml

from medassets.components.templates import explain_template
from medassets.errors import CatalogError
from medassets.storage.foreign_bytes import read_foreign
from medassets.storage.formats.yaml_texts import compose_bounded, explain_scalar, iter_scalars

_MOST_BYTES = 1 << 20
_NUMBERS = {int: "a whole number", float: "a number"}


@dataclass(frozen=True)
class Problem:
    """Why one declaration cannot be used.

    Attributes:
        file: The YAML file.
        line: Line of the field, counted from 1; 0 when it is the file as a whole.
        field: Field of the declaration, empty when it is the file as a whole.
        what: What is wrong and what was expected.
    """

    file: Path
    line: int
    field: str
    what: str

    def __str__(self) -> str:
        """Return `file:line: field: what`, as editors and terminals link it."""
        where = f"{self.file}:{self.line}" if self.line else str(self.file)
        return f"{where}: {self.field}: {self.what}" if self.field else f"{where}: {self.what}"


@dataclass(frozen=True)
class Document:
    """One YAML document of a file.

    Attributes:
        file: The file.
        text: The document, after as many empty lines as precede it in the file.
        root: Its root node; lines are those of the file.
        alone: The file holds no other document.
    """

    file: Path
    text: str
    root: yaml.Node
    alone: bool

    @property
    def line(self) -> int:
        """Line on which it begins."""
        return self.root.start_mark.line + 1

    @property
    def type_name(self) -> str:
        """Name of the component's class; empty where it is no text."""
        node = _children(self.root).get("type")
        return node.value if isinstance(node, yaml.ScalarNode) else ""

    @property
    def attributes(self) -> dict[str, yaml.Node]:
        """Nodes of the declared fields."""
        return _children(_children(self.root).get("attributes"))

    def problem(self, field: str, what: str) -> Problem:
        """Return a problem at the line of a field, or of the document if it is not written."""
        for mapping in (self.root, _children(self.root).get("attributes")):
            for key, _ in _pairs(mapping):
                if key.value == field:
                    return Problem(self.file, key.start_mark.line + 1, field, what)
        return Problem(self.file, self.line, field, what)


def read_declaration(file: Path) -> bytes:
    """Return the content of a file of declarations; empty if it cannot be read: loading says why."""
    try:
        return read_foreign(file, most_bytes=_MOST_BYTES)
    except (OSError, CatalogError):
        return b""


def read_documents(file: Path) -> list[Document]:
    """Return the YAML documents of a file.

    Raises:
        yaml.YAMLError: If it is not YAML.
        UnicodeDecodeError: If it is not UTF-8.
        OSError: If it cannot be read, or is not a regular file.
        CatalogError: If it is larger than a declaration can be.
    """
    text = read_foreign(file, most_bytes=_MOST_BYTES).decode("utf-8")
    nodes = compose_bounded(text)
    lines = text.splitlines(keepends=True)
    ends = [*(node.start_mark.line for node in nodes[1:]), len(lines)]
    found: list[Document] = []
    for node, end in zip(nodes, ends, strict=False):
        start = node.start_mark.line if found else 0
        # Of the lines between two documents only the separator counts, and it must not.
        own = [line for line in lines[start:end] if not line.startswith(("---", "..."))]
        found.append(Document(file, "\n" * start + "".join(own), node, alone=len(nodes) == 1))
    return found


def check_document(document: Document) -> list[Problem]:
    """Return what Dagster would misread or meet with an error that names no line."""
    root = document.root
    if not isinstance(root, yaml.MappingNode):
        return [document.problem("", "expected `type:` and `attributes:`")]
    # First of all: whatever else looks at the values evaluates them.
    if problems := list(_find_unbounded(document)):
        return problems
    top = _children(root)
    problems = list(_find_twins(document, root))
    problems += [
        document.problem(name, "no such field; a declaration has `type:` and `attributes:`")
        for name in top.keys() - _TOP
    ]
    if not isinstance(top.get("type"), yaml.ScalarNode) or top["type"].tag != _TEXT:
        problems.append(document.problem("type", "expected the name of a component's class"))
    attributes = top.get("attributes")
    if not isinstance(attributes, yaml.MappingNode):
        what = "expected the fields of the dataset, one `name: value` a line"
        return [*problems, document.problem("attributes", what)]
    problems += _find_twins(document, attributes)
    problems += [
        document.problem(name, "expected a value, got a mapping; put {{ ... }} between quotes")
        for name, node in document.attributes.items()
        if isinstance(node, yaml.MappingNode) and _is_bare_template(node)
    ]
    return problems


def _find_unbounded(document: Document) -> Iterator[Problem]:
    """Yield texts that take too long to make a number of, or to evaluate as a template."""
    seen: set[int] = set()
    for field, node in (*document.attributes.items(), ("", document.root)):
        for scalar in iter_scalars(node, seen):
            if what := explain_scalar(scalar) or explain_template(scalar.value):
                yield Problem(document.file, scalar.start_mark.line + 1, field, what)


def check_values(document: Document, spec: Any) -> list[Problem]:
    """Return the values that Dagster would turn into something else without a word.

    Args:
        document: The document that contains them.
        spec: The declaration, a dataclass.
    """
    problems: list[Problem] = []
    types = {field.name: field.type for field in fields(spec)}
    for name, node in document.attributes.items():
        if not isinstance(node, yaml.ScalarNode) or "{{" in node.value:
            continue
        kind = types.get(name)
        if get_origin(kind) is tuple:
            what = f"expected a list such as [{node.value}], got {node.value!r}"
            problems.append(document.problem(name, what))
        elif kind in _NUMBERS and node.tag == "tag:yaml.org,2002:bool":
            what = f"expected {_NUMBERS[kind]}, got {node.value}"
            problems.append(document.problem(name, what))
    return problems


_TEXT = "tag:yaml.org,2002:str"
# The other keys that Dagster knows.
_TOP = frozenset(("type", "attributes", "template_vars_module", "requirements", "post_processing"))


def _pairs(node: yaml.Node | None) -> list[tuple[yaml.Node, yaml.Node]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _children(node: yaml.Node | None) -> dict[str, yaml.Node]:
    return {key.value: value for key, value in _pairs(node) if isinstance(key, yaml.ScalarNode)}


def _find_twins(document: Document, node: yaml.Node) -> Iterator[Problem]:
    # YAML forbids a key that occurs twice; its reader takes the last one.
    seen: set[str] = set()
    for key, _ in _pairs(node):
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen:
                line = key.start_mark.line + 1
                yield Problem(document.file, line, key.value, "the field occurs twice")
            seen.add(key.value)


def _is_bare_template(node: yaml.Node) -> bool:
    return any(isinstance(key, yaml.MappingNode) for key, _ in _pairs(node))
