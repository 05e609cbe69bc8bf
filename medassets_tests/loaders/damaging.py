"""Damage to members of shards."""

import json
from pathlib import Path


def damage(manifest: Path, number: int, suffix: str) -> None:
    """Flip a bit of the second byte of a member of one sample."""
    for record in sorted(manifest.parent.glob("shard-*.json")):
        for sample in json.loads(record.read_text())["samples"]:
            if sample["key"] == f"sample_{number}":
                member = next(m for m in sample["members"] if m["suffix"] == suffix)
                with record.with_suffix(".tar").open("r+b") as file:
                    file.seek(member["offset"] + 1)
                    byte = file.read(1)[0]
                    file.seek(member["offset"] + 1)
                    file.write(bytes([byte ^ 1]))
