"""`--set FIELD=VALUE` and the options that mean fields: changes of a declaration before its first plan."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import yaml

from medassets.cli.console import Output
from medassets.cli.session import Session
from medassets.components.overrides import overrides_file, read_overrides, write_overrides
from medassets.errors import UsageError
from medassets.specs import DatasetSpec
from medassets.specs.checks import suggest_name
from medassets.storage.formats.yaml_texts import load_bounded

_FIXED = frozenset({"name"})
# They decide neither what is planned nor the bytes of a shard.
_AT_ANY_TIME = frozenset({"max_excluded_share", "max_rejected_share", "num_workers"})


def parse_settings(given: Sequence[str]) -> dict[str, Any]:
    """Return field -> value of texts such as `num_workers=4` or `splits=[train, valid]`.

    Raises:
        UsageError: If one is no such text, or its value is not YAML.
    """
    found: dict[str, Any] = {}
    for text in given:
        field, equals, value = text.partition("=")
        field = field.strip().replace("-", "_")
        if not equals or not field:
            what = f"expected FIELD=VALUE such as samples_per_shard=64, got {text!r}"
            raise UsageError(field="--set", what=what)
        try:
            found[field] = load_bounded(value.encode()) if value.strip() else ""
        except (yaml.YAMLError, ValueError) as error:
            what = f"{field}: {value!r} is no value as YAML writes them; put texts between quotes"
            raise UsageError(field="--set", what=what) from error
    return found


def change_declaration(
    session: Session, output: Output, dataset: str, changes: Mapping[str, Any]
) -> Session:
    """Replace fields of a declaration that no plan was made with yet, or that no plan depends on.

    Args:
        session: The command's.
        output: Told where the fields are kept.
        dataset: Name of the dataset.
        changes: Field -> value, as in YAML.

    Returns:
        A session with the new declaration; the same one where all fields have these values.

    Raises:
        UsageError: If there is no such field, its value cannot be used, or a plan was made with
            another value.
    """
    spec = session.kind(dataset).spec
    _check_names(spec, changes)
    different = {name: value for name, value in changes.items() if _differs(spec, name, value)}
    if not different:
        return session
    later = {name: value for name, value in different.items() if name not in _AT_ANY_TIME}
    if later and os.path.lexists(session.workspace(dataset).paths.catalog):
        _refuse_later(spec, later)
    before = read_overrides(dataset)
    file = write_overrides(dataset, {**before, **different})
    try:
        changed = Session()
        changed.kind(dataset)
    except BaseException:
        # Ctrl-C as well: fields that were not checked must not be kept.
        write_overrides(dataset, before)
        raise
    shown = ", ".join(f"{name}: {value}" for name, value in different.items())
    output.warn(f"{dataset}: {shown}; kept in {file}")
    return changed


def _check_names(spec: DatasetSpec, changes: Mapping[str, Any]) -> None:
    known = sorted({one.name for one in fields(spec)} - _FIXED)
    for name in changes:
        if name not in known:
            near = suggest_name(name, known)
            what = f"no field {name!r}{near} ({spec.name} has {', '.join(known)})"
            raise UsageError(field="--set", what=what)


def _differs(spec: DatasetSpec, name: str, value: Any) -> bool:
    now = getattr(spec, name)
    return (list(now) if isinstance(now, tuple) else now) != value


def _refuse_later(spec: DatasetSpec, different: Mapping[str, Any]) -> None:
    name, value = next(iter(different.items()))
    is_set = name in read_overrides(spec.name)
    place = str(overrides_file(spec.name)) if is_set else "the declaration"
    what = (
        f"{name}: the plan of {spec.name} was made with {getattr(spec, name)!r}, got {value!r}. Edit {place}, "
        f"which makes its shards stale, or build in another MEDASSETS_HOME"
    )
    raise UsageError(field="--set", what=what)
