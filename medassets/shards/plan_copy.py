"""The part of the plan that a record keeps: with all records, a lost catalog can be restored."""

import base64
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from medassets.errors import ShardIntegrityError
from medassets.samples import SourceItem
from medassets.storage.checksums import canonical_json, parse_json
from medassets.storage.later_versions import refuse_unknown

_PLACE_COLUMNS = frozenset({"partition", "state"})
_LEVEL = 9
_FIELDS = ("samples_per_shard", "settings", "rows_zlib_base64")


@dataclass(frozen=True)
class PlanCopy:
    """What a record says of the plan that its shard was made from.

    Attributes:
        samples_per_shard: Samples of a full shard.
        settings: Settings that decide a sample's split or shard.
        rows: Whole rows of the shard's items in the order of the plan, notes included.
    """

    samples_per_shard: int
    settings: Mapping[str, Any]
    rows: Sequence[Mapping[str, Any]] = field(repr=False)

    @classmethod
    def of(
        cls, items: Sequence[SourceItem], *, samples_per_shard: int, settings: Mapping[str, Any]
    ) -> Self:
        """Return the copy for a shard of some rows."""
        rows = [{k: v for k, v in i.row.items() if k not in _PLACE_COLUMNS} for i in items]
        return cls(samples_per_shard, settings, rows)

    def as_dict(self) -> dict[str, Any]:
        """Return the JSON form; the rows are compressed, since loaders read records as well."""
        packed = zlib.compress(canonical_json(list(self.rows)), _LEVEL)
        return {
            "samples_per_shard": self.samples_per_shard,
            "settings": dict(self.settings),
            "rows_zlib_base64": base64.b64encode(packed).decode("ascii"),
        }


def read_plan_copy(document: Mapping[str, Any], where: str) -> PlanCopy | None:
    """Return the copy in a record; None if it has none, as those of earlier versions.

    Args:
        document: Its JSON form.
        where: The record, for the message.

    Raises:
        ShardIntegrityError: If the copy is damaged.
        LaterVersionError: If a later version wrote it.
    """
    if not document:
        return None
    try:
        packed = base64.b64decode(document["rows_zlib_base64"], validate=True)
        rows = parse_json(zlib.decompress(packed))
        refuse_unknown(where, document, _FIELDS, of="its copy of the plan")
        size, settings = int(document["samples_per_shard"]), dict(document["settings"])
        return PlanCopy(size, settings, [dict(row) for row in rows])
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        msg = f"{where}: its copy of the plan is damaged ({error}); restore the record from a copy"
        raise ShardIntegrityError(msg) from error
