"""Files of ours that a later version of this program wrote: refused, and never taken for damaged.

A reader that must know everything in a file asks here. What is refused is neither used, made again
nor replaced. Readers that use single fields, such as loaders, may ignore fields that they do not know.
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from medassets.errors import LaterVersionError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_T = TypeVar("_T", bound="DataclassInstance")


def refuse_unknown(
    where: Path | str, found: Collection[str], known: Collection[str], *, of: str = ""
) -> None:
    """Refuse fields that this version does not know.

    Args:
        where: The file.
        found: Names of the fields in the file.
        known: Names of the fields that this version reads.
        of: Part of the file that has the fields, for the message.

    Raises:
        LaterVersionError: The message names the fields.
    """
    unknown = sorted(set(found) - set(known))
    if unknown:
        named = ", ".join(unknown)
        part = f" of {of}" if of else ""
        raise LaterVersionError(where, f"unknown: {named}{part}")


def refuse_later(where: Path | str, name: str, found: object, newest: int) -> None:
    """Refuse a version of a file that is higher than the one this program writes.

    Args:
        where: The file.
        name: Field that has the version.
        found: Its value in the file.
        newest: The version that this program writes.

    Raises:
        LaterVersionError: The message names both versions.
    """
    if isinstance(found, int) and found > newest:
        raise LaterVersionError(where, f"{name} {found}, known: {newest}")


def take_fields(kind: type[_T], document: Mapping[str, Any], where: Path | str) -> _T:
    """Return a dataclass from its fields in a file.

    Raises:
        LaterVersionError: If the file has fields that the class has not.
        TypeError: If it lacks some.
    """
    refuse_unknown(where, document, [one.name for one in fields(kind)], of=kind.__name__)
    return kind(**document)
