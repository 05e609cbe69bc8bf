"""Which fields of a declaration have an effect, depending on the values of other fields."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, dataclass, field, fields
from typing import Any

from medassets.specs.dataset import DatasetSpec


@dataclass(frozen=True)
class FieldRule:
    """Fields that have an effect where other fields have certain values.

    Attributes:
        fields: Names of the fields.
        when: Name of another field -> its values with which they have an effect. All of these
            conditions must hold; without conditions the fields always have an effect.
    """

    fields: frozenset[str]
    when: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def list_unmet(self, spec: DatasetSpec) -> list[str]:
        """Return the declared values with which the fields have no effect, as YAML."""
        declared = {name: _as_yaml(_read(spec, name)) for name in self.when}
        return [
            f"{name}: {value}" for name, value in declared.items() if value not in self.when[name]
        ]

    def describe(self) -> str:
        """Return the conditions, such as `source: npz or webdataset, preprocessing: none`."""
        return ", ".join(f"{name}: {' or '.join(values)}" for name, values in self.when.items())


def _read(spec: DatasetSpec, name: str) -> Any:
    """Return the value in use: a preset may give that of a field that is left out."""
    return getattr(spec, f"effective_{name}", getattr(spec, name))


def _as_yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def describe_use(name: str, rules: Iterable[FieldRule]) -> str | None:
    """Return with which values of other fields a field has an effect.

    Returns:
        The conditions; empty if it always has an effect, None if it never has.
    """
    found = [rule.describe() for rule in rules if name in rule.fields]
    if not found:
        return None
    return "" if "" in found else "; or ".join(found)


def list_unmet(name: str, spec: DatasetSpec, rules: Iterable[FieldRule]) -> list[str] | None:
    """Return the declared values with which a field has no effect, as YAML.

    Returns:
        Empty if the field has an effect; None if it has none with any value.
    """
    unmet = [rule.list_unmet(spec) for rule in rules if name in rule.fields]
    return min(unmet, key=len) if unmet else None


def list_changed(spec: DatasetSpec) -> list[str]:
    """Return the names of the fields whose value is not their default."""
    return [one.name for one in fields(spec) if getattr(spec, one.name) != _get_default(one)]


def _get_default(declared: Field[Any]) -> Any:
    if declared.default_factory is not MISSING:
        return declared.default_factory()
    return declared.default
