"""Checks of single fields of a declaration."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Any

from medassets.errors import SpecError


def suggest_name(name: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?` with the known name nearest to one; empty where none is near."""
    by_lower = {one.lower().replace("-", "_"): one for one in known}
    found = difflib.get_close_matches(name.lower().replace("-", "_"), by_lower, n=1)
    return f"; did you mean {by_lower[found[0]]}?" if found else ""


def check_choice(field: str, value: str, choices: tuple[str, ...]) -> None:
    """Reject a value that is not one of the choices.

    Raises:
        SpecError: Naming the field.
    """
    if value not in choices:
        raise SpecError(field=field, what=f"expected one of {', '.join(choices)}, got {value!r}")


def check_types(spec: Any) -> None:
    """Reject plain values whose type is not the declared one.

    Raises:
        SpecError: Naming the field.
    """
    # Dagster resolves YAML for dataclasses without checking the types of plain values.
    for field in fields(spec):
        value = getattr(spec, field.name)
        plain = {int: int, float: (int, float), str: str, bool: bool}.get(field.type)  # pyright: ignore[reportArgumentType]
        if plain is None:
            continue
        if not isinstance(value, plain) or (field.type is not bool and isinstance(value, bool)):
            words = getattr(field.type, "__name__", str(field.type))
            raise SpecError(field=field.name, what=f"expected {words}, got {value!r}")


def check_pattern(field: str, value: str, pattern: re.Pattern[str], words: str) -> None:
    """Reject a text that does not match.

    Raises:
        SpecError: Naming the field.
    """
    if not pattern.fullmatch(value):
        raise SpecError(field=field, what=f"expected {words}, got {value!r}")


def check_range(field: str, value: float, low: float, high: float) -> None:
    """Reject a number outside [low, high].

    Raises:
        SpecError: Naming the field.
    """
    if not low <= value <= high:
        raise SpecError(field=field, what=f"expected a number in {low}..{high}, got {value}")


def check_absolute(field: str, path: str) -> None:
    """Reject a path that depends on the working directory.

    Raises:
        SpecError: Naming the field.
    """
    if not path.startswith(("/", "~")):
        # The daemon of the UI and a terminal have different working directories.
        what = f"expected an absolute path, or one that begins with ~, got {path!r}"
        raise SpecError(field=field, what=what)
    try:
        Path(path).expanduser()
    except RuntimeError as error:
        raise SpecError(field=field, what=f"there is no home folder for {path!r}") from error
