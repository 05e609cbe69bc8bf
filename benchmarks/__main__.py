"""`python -m benchmarks`: print all tables."""

import argparse
import platform
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import (
    catalog,
    conversion,
    loaders,
    orchestration,
    overlap,
    partitions,
    phantom,
    preprocessing,
    shards,
    sparse_points,
    video,
    windows,
)

TABLES = {
    "volume": preprocessing,
    "shard": shards,
    "dagster": orchestration,
    "overlap": overlap,
    "conversion": conversion,
    "catalog": catalog,
    "partitions": partitions,
    "video": video,
    "windows": windows,
    "points": sparse_points,
    "loaders": loaders,
}


def main() -> None:
    """Parse the command line and print the tables as Markdown."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measured rounds per method")
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--folder", type=Path, help="keep volumes here and use them again")
    arguments = parser.parse_args()
    with _folder(arguments.folder) as folder:
        path = phantom.make_chest(folder / "chest_0.nii.gz")
        print(f"{phantom.describe(path)}; {platform.processor() or platform.machine()}\n")
        for name in arguments.tables:
            print(f"### {name}\n")
            print("\n".join(TABLES[name].compare(folder, num_rounds=arguments.rounds)), end="\n\n")


@contextmanager
def _folder(path: Path | None) -> Iterator[Path]:
    if path is None:
        with tempfile.TemporaryDirectory(prefix="medassets-bench-") as name:
            yield Path(name)
    else:
        path.mkdir(parents=True, exist_ok=True)
        yield path


if __name__ == "__main__":
    main()
