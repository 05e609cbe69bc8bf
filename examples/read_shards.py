"""Read preprocessed shards in three ways; `python examples/read_shards.py SPLIT_FOLDER`.

SPLIT_FOLDER is the folder of one split, for example `demo/data/demo_ct/train` after `make demo`.
"""

import json
import math
import sys
import tarfile
from pathlib import Path

import numpy as np
import webdataset as wds


def read_with_tarfile(folder: Path) -> int:
    """Count the volumes by the manifest and the standard library alone."""
    manifest = json.loads((folder / "manifest.json").read_text())
    total = 0
    for shard in manifest["shards"]:
        with tarfile.open(folder / shard["filename"]) as archive:
            total += sum(name.endswith(".bin") for name in archive.getnames())
    return total


def read_with_webdataset(folder: Path) -> int:
    """Stream the samples in order, as a training loop does."""
    manifest = json.loads((folder / "manifest.json").read_text())
    urls = [str(folder / shard["filename"]) for shard in manifest["shards"]]
    total = 0
    # The package exports its names at run time.
    streamed = wds.WebDataset(  # pyright: ignore[reportAttributeAccessIssue]
        urls, shardshuffle=False, empty_check=False
    )
    for sample in streamed:
        volume = np.frombuffer(sample["bin"], manifest["sample_dtype"])
        volume = volume.reshape(manifest["sample_shape"])
        labels = np.frombuffer(sample["cls"], "<f4")
        total += bool(np.isfinite(volume).all()) and len(labels) == manifest["num_classes"]
    return total


def read_by_offset(folder: Path) -> int:
    """Read each volume at the offset in the record, without the bytes between."""
    total = 0
    for path in sorted(folder.glob("shard-*.json")):
        record = json.loads(path.read_text())
        for sample in record["samples"]:
            members = {member["suffix"]: member for member in sample["members"]}
            with (folder / record["filename"]).open("rb") as file:
                file.seek(members["json"]["offset"])
                facts = json.loads(file.read(members["json"]["size_bytes"]))
            shape = facts["shape"]
            volume = np.memmap(
                folder / record["filename"],
                facts["dtype"],
                mode="r",
                offset=members["bin"]["offset"],
                shape=tuple(shape),
            )
            total += volume.size == math.prod(shape)
    return total


def main() -> None:
    """Read one split in each way and print how many volumes were found."""
    folder = Path(sys.argv[1])
    for read in (read_with_tarfile, read_with_webdataset, read_by_offset):
        sys.stdout.write(f"{read.__name__}: {read(folder)} volumes\n")


if __name__ == "__main__":
    main()
