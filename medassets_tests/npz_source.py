"""NPZ trees that are converted and deleted: what was in them, and what became of it.

What is true is told by numpy and plain `tarfile`, by no code of the package.
"""

import hashlib
import json
import tarfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from medassets.testing.npz_tree import SyntheticTree


def read_half_bytes(place: Path, key: str = "data") -> bytes:
    """Return what a raw shard must hold of a source: its values as float16, in C order."""
    with np.load(place, allow_pickle=False) as arrays:
        return arrays[key].astype("<f2").tobytes()


def is_verified(shard: Path) -> bool:
    """Tell whether a shard is what the record beside it says."""
    record = shard.with_suffix(".json")
    if not record.exists():
        return False
    return (
        json.loads(record.read_bytes())["sha256"] == hashlib.sha256(shard.read_bytes()).hexdigest()
    )


def read_volumes(dataset: Path) -> list[tuple[str, bytes]]:
    """Return key and content of every `.bin` in the verified shards of a dataset, with repeats."""
    found: list[tuple[str, bytes]] = []
    for path in filter(is_verified, sorted(dataset.glob("*/shard-*.tar"))):
        with tarfile.open(path) as tar:
            for member in tar:
                if member.name.endswith(".bin"):
                    file = tar.extractfile(member)
                    assert file is not None
                    found.append((member.name.removesuffix(".bin"), file.read()))
    return found


def find_member(shard: Path, name: str) -> tarfile.TarInfo:
    """Return where a member of a tar lies."""
    with tarfile.open(shard) as tar:
        return tar.getmember(name)


def flip_byte(path: Path, offset: int) -> None:
    """Change one bit of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


@dataclass(frozen=True)
class Originals:
    """What an NPZ tree held before anything was deleted.

    Attributes:
        tree: The tree.
        files: Study -> bytes of its file.
        values: Study -> its values as float16, in C order.
    """

    tree: SyntheticTree
    files: dict[str, bytes] = field(repr=False)
    values: dict[str, bytes] = field(repr=False)

    @classmethod
    def read(cls, tree: SyntheticTree) -> "Originals":
        """Remember a whole tree."""
        places = {study: tree.place(study) for study in tree.paths}
        return cls(
            tree,
            {study: place.read_bytes() for study, place in places.items()},
            {study: read_half_bytes(place) for study, place in places.items()},
        )

    @property
    def left(self) -> set[str]:
        """Studies whose file is there with its original bytes; other bytes are an error."""
        left: set[str] = set()
        for study, content in self.files.items():
            place = self.tree.place(study)
            if place.exists():
                assert place.read_bytes() == content, f"{place} was changed"
                left.add(study)
        return left

    def check(self, dataset: Path) -> "Whereabouts":
        """Fail if a volume is nowhere, in two shards, or in a shard with other values."""
        volumes = read_volumes(dataset)
        counts = Counter(study for study, _ in volumes)
        assert counts.keys() <= self.files.keys()
        assert [study for study, count in counts.items() if count > 1] == []
        wrong = [study for study, content in volumes if self.values[study] != content]
        assert wrong == []
        left = self.left
        nowhere = sorted(self.files.keys() - counts.keys() - left)
        assert nowhere == []
        return Whereabouts(set(counts), left)


@dataclass(frozen=True)
class Whereabouts:
    """Where volumes are.

    Attributes:
        in_shards: Studies in published shards.
        on_disk: Studies whose NPZ is there.
    """

    in_shards: set[str]
    on_disk: set[str]


def write_declaration(folder: Path, fields: dict[str, Any]) -> Path:
    """Declare a dataset of volumes below a folder of declarations; return its file."""
    document = {"type": "medassets.components.VolumeDatasetComponent", "attributes": fields}
    file = folder / fields["name"] / "defs.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(document))
    return file
