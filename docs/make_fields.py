"""Writes docs/fields.md from the specs: `python docs/make_fields.py`.

Types and defaults come from the dataclasses, meanings from the `Attributes` of their docstrings, and
where a field has an effect from the rules that declarations are checked with.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from medassets.datasets.registry import list_field_rules
from medassets.specs import (
    PRESETS,
    STANDARD_WINDOWS,
    CTPreprocessing,
    CTWindowDatasetSpec,
    VideoClipDatasetSpec,
    VolumeDatasetSpec,
)
from medassets.specs.field_rules import describe_use

PAGE = Path(__file__).with_name("fields.md")

_COMPONENTS = {
    "VolumeDatasetComponent": VolumeDatasetSpec,
    "VideoClipDatasetComponent": VideoClipDatasetSpec,
    "CTWindowDatasetComponent": CTWindowDatasetSpec,
}

_INTRODUCTION = """\
# Fields of a declaration

This page is generated from `medassets/specs/` by `python docs/make_fields.py`; a test compares them.

A declaration is a YAML file `<folder>/<dataset>/defs.yaml` with `type:` and `attributes:`. The fields
below are those of `attributes`. `medassets validate` checks them and names file, line and field of each mistake.

The fourth column says with which values of other fields a field has an effect; where it is empty, the field
always has one. A field that has no effect in a declaration is refused, even with its default value.
"""
_PLAIN = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "value"}


def make_page() -> str:
    """Return the page as Markdown."""
    components = map(_describe_component, _COMPONENTS)
    return "\n".join([_INTRODUCTION, *components, _describe_presets(), _describe_windows()])


def _describe_component(name: str) -> str:
    spec = _COMPONENTS[name]
    rules = list_field_rules(spec)
    rows = "".join(
        _describe_field(spec, field, use)
        for field in fields(spec)
        if (use := describe_use(field.name, rules)) is not None
    )
    head = "| field | type | default | has an effect with | meaning |\n| --- | --- | --- | --- | --- |\n"
    return f"## `medassets.components.{name}`\n\n{_first_line(spec)}\n\n{head}{rows}"


def _describe_presets() -> str:
    meanings, names = read_meanings(CTPreprocessing), list(PRESETS)
    rows = ""
    for field in fields(CTPreprocessing):
        values = [getattr(PRESETS[name], field.name) for name in names]
        shown = " | ".join("" if value is None else f"`{value}`" for value in values)
        rows += f"| `{field.name}` | {shown} | {meanings[field.name]} |\n"
    head = f"| value | {' | '.join(f'`{name}`' for name in names)} | meaning |\n"
    line = f"{'| --- ' * (len(names) + 2)}|\n"
    return f"## `preprocessing`: presets\n\n{_first_line(CTPreprocessing)}\n\n{head}{line}{rows}"


def _describe_windows() -> str:
    rows = "".join(
        f"| `{w.name}` | {w.width:g} | {w.level:g} |\n" for w in STANDARD_WINDOWS.values()
    )
    head = "| window | width, HU | level, HU |\n| --- | --- | --- |\n"
    return f"## `windows`: names that need no definition\n\n{head}{rows}"


def _describe_field(cls: type, field: Field[Any], use: str) -> str:
    meaning = read_meanings(cls)[field.name].replace("|", "\\|")
    cells = (f"`{field.name}`", _name_type(field.type), _show_default(field), use, meaning)
    return f"| {' | '.join(cells)} |\n"


def read_meanings(cls: type) -> Mapping[str, str]:
    """Return what the docstrings of a class and its bases say of each field."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base.__doc__:
            found |= dict(_read_attributes(inspect.cleandoc(base.__doc__)))
    return found


def _read_attributes(text: str) -> Iterator[tuple[str, str]]:
    _, _, block = text.partition("Attributes:\n")
    # An entry begins with four spaces, its further lines with more.
    for entry in re.split(r"^ {4}(?=\w)", block, flags=re.MULTILINE)[1:]:
        name, _, meaning = entry.partition(":")
        yield name, " ".join(meaning.split())


def _first_line(cls: type) -> str:
    return (cls.__doc__ or "").partition("\n")[0]


def _name_type(kind: Any) -> str:
    if kind in _PLAIN:
        return _PLAIN[kind]
    origin, inside = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " \\| ".join(f"`{choice}`" for choice in inside)
    if origin in (Union, UnionType):
        return " or ".join(_name_type(one) for one in inside if one is not type(None))
    if origin is tuple:
        return f"list of {_name_type(inside[0])}"
    if origin is dict:
        return f"mapping of {_name_type(inside[0])} to {_name_type(inside[1])}"
    msg = f"no words for the type {kind!r}"
    raise TypeError(msg)


def _show_default(field: Field[Any]) -> str:
    value = field.default_factory() if callable(field.default_factory) else field.default
    if value is MISSING:
        return "required"
    if value is None or value in ("", (), {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`"


if __name__ == "__main__":
    PAGE.write_text(make_page(), encoding="utf-8")
