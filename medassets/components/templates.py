"""Template expressions of a declaration, such as `{{ env('DATA', '/data') }}`, before they are evaluated.

Dagster evaluates every text of a declaration as a Jinja template, each time it is loaded. Jinja
computes whatever it is asked for: `{{ 10**100000000 }}` never ends, and stops every other dataset.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2.nodes import Node

_MOST_NUMBER = 1000
_FILTERS = frozenset(("d", "default", "float", "int", "lower", "string", "trim", "upper"))
# Their results are as large as what they are made of.
_BOUNDED = (
    "Add And Compare Concat CondExpr Const Dict Filter Getattr Keyword List Name Not Operand Or Output "
    "Pair Template TemplateData Tuple"
)
_ALLOWED = frozenset((*_BOUNDED.split(), "Call"))


def explain_template(text: str) -> str:
    """Return why the templates of a text are not evaluated; empty if they may be, and without any.

    Allowed are names, their attributes, calls of these with literal arguments, and what joins or
    compares the results.
    """
    if not any(mark in text for mark in ("{{", "{%", "{#")):
        return ""
    from jinja2 import Environment, TemplateSyntaxError

    try:
        parsed = Environment(autoescape=False).parse(text)
    except TemplateSyntaxError as error:
        return f"not a template expression ({error.message})"
    except (RecursionError, ValueError):
        return "not a template expression"
    refused = next((_name(node) for node in _iter_nodes(parsed) if not _is_bounded(node)), "")
    if not refused:
        return ""
    allowed = "names, attributes and calls with literal arguments, such as env('DATA', '/data')"
    return f"{refused} is not allowed in a template expression; expected {allowed}"


def _iter_nodes(root: "Node") -> "Iterator[Node]":
    """Yield a node and those below it; a deep one takes no stack."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(node.iter_child_nodes())


def _is_bounded(node: "Node") -> bool:
    from jinja2 import nodes

    if type(node).__name__ not in _ALLOWED:
        return False
    if isinstance(node, nodes.Const):
        is_number = isinstance(node.value, int | float)
        return not is_number or abs(node.value) <= _MOST_NUMBER
    if isinstance(node, nodes.Filter):
        return node.name in _FILTERS
    return not isinstance(node, nodes.Call) or _is_of_name(node.node)


def _is_of_name(node: "Node") -> bool:
    """Tell whether what is called is a name or an attribute of one, and not of a result."""
    from jinja2 import nodes

    while isinstance(node, nodes.Getattr):
        node = node.node
    return isinstance(node, nodes.Name)


def _name(node: "Node") -> str:
    return type(node).__name__.lower()
