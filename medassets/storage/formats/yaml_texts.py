"""YAML that others wrote, bounded before its values are made: depth, aliases, and lengths of numbers."""

import codecs
import re
from collections.abc import Iterator
from typing import Any

import yaml

_DEEPEST = 100
_MOST_VALUES = 100_000
_LONGEST_TEXT = 1 << 16
_LONGEST_NUMBER = 100
# YAML 1.1 has numbers to the base 60: making one of 100,000 parts takes minutes.
_NUMBERS = frozenset(("tag:yaml.org,2002:int", "tag:yaml.org,2002:float"))


def load_bounded(content: bytes) -> Any:
    """Return the value of a single YAML document; None if it is empty.

    Raises:
        yaml.YAMLError: If it is not YAML, holds several documents, or exceeds a bound.
        ValueError: If it is not text, or names an impossible date.
    """
    # The two encodings that the YAML reader knows.
    is_wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    encoding = "utf-16" if is_wide else "utf-8-sig"
    nodes = compose_bounded(content.decode(encoding))
    for node in nodes:
        for scalar in iter_scalars(node, set()):
            if what := explain_scalar(scalar):
                raise yaml.MarkedYAMLError(problem=what, problem_mark=scalar.start_mark)
    # One document, or the reader's own words for several.
    return yaml.safe_load(content)


def compose_bounded(text: str) -> list[yaml.Node]:
    """Return the root nodes of a text's documents; empty documents have none.

    Raises:
        yaml.YAMLError: If it is not YAML, is nested too deep, or its aliases stand for too much.
    """
    _require_shallow(text)
    nodes = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    for node in nodes:
        _require_bounded(node, {})
    return nodes


def iter_scalars(root: yaml.Node, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    """Yield the scalars of a node, keys included, each once.

    Args:
        root: The node.
        seen: Identities of nodes to leave out; those that are visited are added.
    """
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node, yaml.ScalarNode):
            yield node
        else:
            waiting.extend(reversed(_children_of(node)))


def explain_scalar(scalar: yaml.ScalarNode) -> str:
    """Return why a scalar is too long to make a value of it; empty if it is not."""
    is_number = scalar.tag in _NUMBERS
    longest = _LONGEST_NUMBER if is_number else _LONGEST_TEXT
    if len(scalar.value) <= longest:
        return ""
    sort = "a number" if is_number else "a text"
    return f"expected {sort} of at most {longest:,} characters, got {len(scalar.value):,}"


def _require_shallow(text: str) -> None:
    """Refuse brackets within brackets: reading 3,000 of them takes the YAML reader ten seconds.

    Raises:
        yaml.YAMLError: If they are nested deeper than any declaration.
    """
    depth = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        if depth > _DEEPEST:
            msg = f"brackets are nested more than {_DEEPEST} deep"
            raise yaml.YAMLError(msg)


def _require_bounded(node: yaml.Node, known: dict[int, int]) -> int:
    """Return how many values a node stands for, each alias written out.

    A kilobyte of aliases of aliases can stand for more values than any memory holds.

    Raises:
        yaml.YAMLError: If it contains itself, or stands for too many.
    """
    if (size := known.get(id(node))) is None:
        # Of a node that contains itself, this is what the inner one finds.
        known[id(node)] = _MOST_VALUES
        children = _children_of(node)
        size = known[id(node)] = 1 + sum(_require_bounded(child, known) for child in children)
    if size > _MOST_VALUES:
        msg = f"its aliases stand for more than {_MOST_VALUES:,} values, or for themselves"
        raise yaml.YAMLError(msg)
    return size


def _children_of(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.SequenceNode):
        return node.value
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    return [part for pair in pairs for part in pair]
