"""Settings of a plan: what decides a sample's split or shard, kept from the first plan on."""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from medassets.storage.checksums import canonical_json

_SETTINGS_KEY = b"medassets.settings"


def store_settings(table: pa.Table, settings: Mapping[str, Any]) -> pa.Table:
    """Return the table with the settings in its metadata."""
    metadata = {**(table.schema.metadata or {}), _SETTINGS_KEY: canonical_json(dict(settings))}
    return table.replace_schema_metadata(metadata)


def read_settings(schema: pa.Schema | None) -> dict[str, Any]:
    """Return the settings in the metadata of a catalog; empty if there are none."""
    metadata = (schema.metadata if schema is not None else None) or {}
    return json.loads(metadata.get(_SETTINGS_KEY, b"{}"))
