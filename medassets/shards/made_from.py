"""What a shard was made from: the facts behind its plan fingerprint, and how they differ from today's."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from medassets.samples import SourceItem
from medassets.shards.fingerprint import (
    FORMAT_VERSION,
    plan_fingerprint,
    rows_fingerprint,
    take_content,
)
from medassets.storage.checksums import fingerprint, sha256_bytes

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Facts = Mapping[str, Any]
Row = Mapping[str, Any]

ADDED_LATER: Mapping[str, bool] = {"added_later": True}
"""Metadata of a dataclass field; see `list_fields`."""

_FIRST_ALIKE: Mapping[str, int] = {
    **{"format_version": 1, "codec_version": 1, "compression.1": 2, "frames_version": 3},
    **{"clips_version": 3, "clips.format_version": 1, "clips.clips_version": 3},
}
"""The oldest versions alike when records began to state what their samples mean."""

_NESTED = "facts"
_LONGEST_VALUE = 60
_SHOWN_START = 30


def nest_facts(facts: Facts) -> dict[str, Any]:
    """Return facts that are part of other facts by their fingerprint alone."""
    return {_NESTED: dict(facts)}


def list_fields(value: "DataclassInstance") -> dict[str, Any]:
    """Return the fields of a dataclass as facts.

    A field added after the first release has the metadata `ADDED_LATER`: it is left out while it has
    its default, so that declarations that say nothing new keep their fingerprint.
    """
    silent = {
        one.name
        for one in fields(value)
        if one.metadata == ADDED_LATER and getattr(value, one.name) == one.default
    }
    return {name: fact for name, fact in asdict(value).items() if name not in silent}


def facts_fingerprint(facts: Facts) -> str:
    """Return the fingerprint of a kind's facts; nested ones count by their own fingerprint."""
    return fingerprint({name: _collapse(value) for name, value in facts.items()})


def _collapse(value: Any) -> Any:
    is_nested = isinstance(value, Mapping) and value.keys() == {_NESTED}
    return facts_fingerprint(value[_NESTED]) if is_nested else value


@dataclass(frozen=True)
class Change:
    """One difference between what a shard was made from and what it would be made from today.

    Attributes:
        field: Field of the declaration's facts, or column of the row; empty if the facts are unknown.
        was: Its value when the shard was made; None if there was none.
        now: Its value today; None if there is none.
        key: Sample key of the row; empty for the declaration.
        what: What changed, where no field can be named.
    """

    field: str = ""
    was: Any = None
    now: Any = None
    key: str = ""
    what: str = ""

    def describe(self) -> str:
        """Return one line: the field and both values."""
        where = f"{self.key}: " if self.key else ""
        if self.what:
            return f"{where}{self.what}"
        return f"{where}{self.field} was {_show(self.was)}, is {_show(self.now)}"


@dataclass(frozen=True)
class MadeFrom:
    """Everything that determines the bytes of a shard.

    Attributes:
        spec: Facts of the declaration, as its kind states them; see `facts_fingerprint`.
        rows_digest: Hash of the rows; see `rows_fingerprint`. The record has the rows themselves in
            its copy of the plan (`medassets.shards.plan_copy`).
        format_version: Version of the shard's bytes.
        meaning: What its samples mean to a reader; see `meaning_of`. Equal for shards that a training
            job may read together.
    """

    spec: Facts
    rows_digest: str
    format_version: int = FORMAT_VERSION
    meaning: str = ""

    @classmethod
    def of(cls, spec: Facts, items: Sequence[SourceItem], *, meaning: str = "") -> Self:
        """Return what a shard of some rows would be made from today."""
        return cls(spec, rows_fingerprint(items), meaning=meaning)

    @property
    def plan_fingerprint(self) -> str:
        """The hash of all of it."""
        known_by = facts_fingerprint(self.spec)
        return plan_fingerprint(known_by, self.rows_digest, format_version=self.format_version)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "format_version": self.format_version,
            "spec": dict(self.spec),
            "rows_digest": self.rows_digest,
            "meaning": self.meaning,
        }


def read_made_from(document: Mapping[str, Any]) -> MadeFrom | None:
    """Return the facts of a record; None if it has none, as those of earlier versions."""
    try:
        return MadeFrom(
            spec=dict(document["spec"]),
            rows_digest=str(document["rows_digest"]),
            format_version=int(document["format_version"]),
            meaning=str(document.get("meaning", "")),
        )
    except (KeyError, TypeError, ValueError):
        return None


def shorten_rows(rows: Iterable[Row]) -> dict[str, dict[str, Any]]:
    """Return the content of rows by sample key, without empty fields.

    Long values are shortened to their start, length and digest, so that a person can read them.
    """
    return {
        str(row["key"]): {
            name: _shorten(value) for name, value in take_content(row).items() if value is not None
        }
        for row in rows
    }


def _shorten(value: Any) -> Any:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if len(text) <= _LONGEST_VALUE:
        return value
    digest = sha256_bytes(text.encode(errors="surrogatepass"))[:12]
    return f"{text[:_SHOWN_START]}… ({len(text):,} characters, {digest})"


def compare_facts(was: Facts, now: Facts) -> list[Change]:
    """Return the fields that differ, nested ones by their path."""
    return list(_compare(was, now, ""))


def compare_rows(before: Iterable[Row], today: Iterable[Row]) -> list[Change]:
    """Return the rows and their fields that differ."""
    was, now = shorten_rows(before), shorten_rows(today)
    found = [Change(key=key, what="is new in the plan") for key in now if key not in was]
    found += [Change(key=key, what="left the plan") for key in was if key not in now]
    for key in (key for key in now if key in was):
        changes = _compare(was[key], now[key], "")
        found += [Change(one.field, one.was, one.now, key) for one in changes]
    return found


def _compare(was: Facts, now: Facts, prefix: str) -> Iterator[Change]:
    for name in dict.fromkeys([*was, *now]):
        old, new = _unwrap(was.get(name)), _unwrap(now.get(name))
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _compare(old, new, f"{prefix}{name}.")
        elif _plain(old) != _plain(new):
            yield Change(f"{prefix}{name}", old, new)


def _unwrap(value: Any) -> Any:
    is_nested = isinstance(value, Mapping) and value.keys() == {_NESTED}
    return value[_NESTED] if is_nested else value


def _plain(value: Any) -> Any:
    """Return a value as JSON stores it: facts in a record have lists where those of today have tuples."""
    return json.loads(json.dumps(value))


def meaning_of(facts: Facts, oldest_alike: Mapping[str, int | None]) -> str:
    """Return the hash of what samples mean to a reader: all facts but those that leave it as it is.

    All versions from the oldest alike one on count as that one. The first such version is left out, as
    in records that were written before there was another.

    Args:
        facts: Facts of a declaration.
        oldest_alike: Field, by its path -> the oldest version whose samples mean the same as
            today's; None where no value changes the meaning. A list counts by its elements.
    """
    told: dict[str, Any] = {}
    for path, value in _list_leaves(_plain(facts), ""):
        rule = next((n for n in oldest_alike if path == n or path.startswith(f"{n}.")), None)
        oldest = oldest_alike[rule] if rule is not None else None
        if rule is None or (oldest is not None and not _is_at_least(value, oldest)):
            told[path] = value
        elif oldest is not None and oldest > _FIRST_ALIKE[rule]:
            told[path] = oldest
    return fingerprint(told)


def find_later_version(was: Facts, now: Facts, names: Iterable[str]) -> str:
    """Return the version of a shard's bytes that is higher than today's; empty if there is none.

    Args:
        was: Facts that a shard was made from.
        now: Facts of today; a version that is not stated is the first one.
        names: Facts that are versions, by their path.
    """
    before, today = (dict(_list_leaves(_plain(facts), "")) for facts in (was, now))
    for name in names:
        found, known = before.get(name), today.get(name, 1)
        if isinstance(found, int) and isinstance(known, int) and found > known:
            return f"{name} {found}, known: {known}"
    return ""


def explain_unlike(dataset: str, shards: Iterable[tuple[str, str]]) -> str:
    """Return which two shards of a dataset must not be read together; empty if all may be.

    Args:
        dataset: Dataset name.
        shards: Name of each shard and what its samples mean; empty where the record does not say.
    """
    first: tuple[str, str] | None = None
    for name, meaning in shards:
        if not meaning:
            continue
        first = first or (name, meaning)
        if meaning != first[1]:
            return (
                f"{first[0]} and {name}: made by settings of {dataset} whose samples do not fit "
                f"together; `medassets status {dataset}` names the settings, `medassets build "
                f"{dataset}` makes all shards by those of today"
            )
    return ""


def _list_leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    value = _unwrap(value)
    inner = value.items() if isinstance(value, Mapping) else None
    inner = enumerate(value) if isinstance(value, list) else inner
    if inner is None:
        yield path, value
        return
    for name, part in inner:
        yield from _list_leaves(part, f"{path}.{name}" if path else str(name))


def _is_at_least(value: Any, oldest: int) -> bool:
    return isinstance(value, int) and value >= oldest


def _show(value: Any) -> str:
    return "not set" if value is None else json.dumps(_plain(value), ensure_ascii=False)
