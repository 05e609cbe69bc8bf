"""The text of a proposed declaration: at most 25 lines of YAML with comments."""

import json
import re
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from medassets.datasets.discovery.proposal import Proposal
from medassets.datasets.kind import DatasetKind
from medassets.datasets.registry import open_kinds
from medassets.specs import (
    CTWindowDatasetSpec,
    DatasetSpec,
    VideoClipDatasetSpec,
    VolumeDatasetSpec,
)

MOST_LINES = 25

_SPECS: Mapping[str, type[DatasetSpec]] = {
    "VolumeDatasetComponent": VolumeDatasetSpec,
    "CTWindowDatasetComponent": CTWindowDatasetSpec,
    "VideoClipDatasetComponent": VideoClipDatasetSpec,
}
_PLAIN = re.compile(r"[A-Za-z_/~][A-Za-z0-9_./~-]*", re.ASCII)
# What YAML reads as something else than text.
_WORDS = frozenset({"true", "false", "yes", "no", "on", "off", "null", "y", "n", "~"})
_LONGEST_DOUBT = 100


def make_name(path: Path) -> str:
    """Return the name of a dataset for a folder: its own, in lower-case letters, digits and `_`."""
    name = re.sub(r"[^a-z0-9]+", "_", path.name.lower()).strip("_")
    return name if re.match(r"[a-z]", name) else f"dataset_{name}".rstrip("_")


def check_proposal(proposal: Proposal, name: str) -> DatasetKind:
    """Check a declaration as loading it would.

    Returns:
        The dataset: the stage to train on.

    Raises:
        SpecError: Naming the first wrong field.
    """
    kind = _SPECS[proposal.component]
    lists = {one.name for one in fields(kind) if str(one.type).startswith("tuple")}
    values: dict[str, Any] = {k: tuple(v) if k in lists else v for k, v in proposal.fields.items()}
    return next(iter(open_kinds(kind(name=name, **values)).values()))


def write_yaml(proposal: Proposal, name: str) -> str:
    """Return the declaration; doubts are comments, as many as there is room for."""
    body = [f"type: medassets.components.{proposal.component}", "attributes:", f"  name: {name}"]
    for field, value in proposal.fields.items():
        note = proposal.notes.get(field)
        body.append(f"  {field}: {_as_yaml(value)}" + (f"  # {_one_line(note)}" if note else ""))
    head = [f"# {_one_line(proposal.title)}"]
    room = MOST_LINES - len(body) - len(head)
    head += [f"# To check: {_cut(_one_line(doubt))}" for doubt in proposal.doubts[: max(room, 0)]]
    return "\n".join([*head, *body]) + "\n"


def _as_yaml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_as_yaml(k)}: {_as_yaml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_as_yaml, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    # JSON is YAML.
    return json.dumps(value, ensure_ascii=not str(value).isprintable())


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_DOUBT else text[: _LONGEST_DOUBT - 3] + "..."
