"""Find the volume, labels, text and json among the members of a foreign sample."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from medassets.errors import SpecError
from medassets.specs import FIELD_ROLES

LABEL_SUFFIXES = ("cls", "labels")
TEXT_SUFFIXES = ("txt", "text")
ARRAY_SUFFIXES = ("bin", "npy", "npz")

_LABEL_ARRAYS = tuple(f"{suffix}.npy" for suffix in LABEL_SUFFIXES)
_SHAPE_NAMES = ("shape", "volume_shape")
_DTYPE_NAMES = ("dtype", "volume_dtype")


@dataclass(frozen=True)
class FieldMap:
    """Suffix of the member of each role; None where the sample lacks it.

    Attributes:
        volume: The array.
        labels: Its labels.
        text: Its report.
        json: What is known of it.
    """

    volume: str | None
    labels: str | None
    text: str | None
    json: str | None

    def as_fields(self) -> dict[str, str]:
        """Return the roles that have a member, as a declaration's `fields` would say them."""
        found = {role: getattr(self, role) for role in FIELD_ROLES}
        return {role: suffix for role, suffix in found.items() if suffix is not None}

    def missing(self) -> list[str]:
        """Return the roles without a member."""
        return [role for role in FIELD_ROLES if getattr(self, role) is None]


def propose_fields(
    suffixes: Collection[str],
    facts: Mapping[str, Any],
    declared: Mapping[str, str] | None = None,
) -> FieldMap:
    """Recognise the members of a sample by their suffixes.

    The volume is `npy`, `npz`, or a `bin` of which the json says shape and dtype; `volume.npy` and
    other suffixes that end so are recognised, too. Labels are `cls` or `labels`, as such or as `.npy`, the text is `txt`
    or `text`, the json is `json`.

    Args:
        suffixes: Those of the sample, in lower case.
        facts: Its json; empty if it has no json.
        declared: Role -> suffix; declared members are not detected, and have no other role.

    Returns:
        The suffix of each role. One that is declared, but not in the sample, is None.

    Raises:
        SpecError: If two members could play one role.
    """
    declared = declared or {}
    free = [suffix for suffix in suffixes if suffix not in declared.values()]
    arrays = [s for s in free if _kind(s) in ("npy", "npz") or _is_described_bin(s, facts)]
    labels = [suffix for suffix in free if suffix in LABEL_SUFFIXES]
    # Beside a volume, an array of that name holds labels; alone, it is the volume.
    if any(suffix not in _LABEL_ARRAYS for suffix in arrays) or "volume" in declared:
        labels += [suffix for suffix in arrays if suffix in _LABEL_ARRAYS]
        arrays = [suffix for suffix in arrays if suffix not in _LABEL_ARRAYS]
    if len(labels) > 1 and facts.get("label_member") == "both":
        # Of our own samples, which hold the same labels twice.
        labels = [LABEL_SUFFIXES[0]]
    candidates = {
        "volume": arrays,
        "labels": labels,
        "text": [suffix for suffix in free if suffix in TEXT_SUFFIXES],
        "json": [suffix for suffix in free if suffix == "json"],
    }
    for role, suffix in declared.items():
        candidates[role] = [suffix] if suffix in suffixes else []
    return FieldMap(**{role: _only(role, found) for role, found in candidates.items()})


def read_stated_array(facts: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return what a json says of shape and dtype of its `bin`, None for what it does not say."""
    shape = next((facts[name] for name in _SHAPE_NAMES if facts.get(name) is not None), None)
    dtype = next((facts[name] for name in _DTYPE_NAMES if facts.get(name) is not None), None)
    return shape, dtype


def _is_described_bin(suffix: str, facts: Mapping[str, Any]) -> bool:
    return _kind(suffix) == "bin" and None not in read_stated_array(facts)


def _kind(suffix: str) -> str:
    return suffix.rpartition(".")[2]


def _only(role: str, found: list[str]) -> str | None:
    if len(found) > 1:
        what = (
            f".{found[0]} and .{found[1]} could both be the {role} of a sample; declare "
            f"which one is, such as `fields: {{{role}: {found[0]}}}`"
        )
        raise SpecError(field="fields", what=what)
    return found[0] if found else None
