"""Raw tars, and datasets made of them, that the tests of `verify` compare and damage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from medassets.shards.record import SampleEntry
from medassets.testing.phantoms import make_chest_phantom
from medassets_tests.cli.damage import (
    read_samples,
)

Medassets = Callable[..., Any]
Sample = dict[str, Any]
NUM_STUDIES, PER_TAR = 6, 3
DATASETS: dict[str, dict[str, Any]] = {
    "half": {"preprocessing": "none"},
    "clip": {
        "preprocessing": "ct_clip",
        "hu_rule": "table",
        "target_spacing_mm": [4.0, 4.0, 8.0],
        "target_shape": [6, 7, 5],
    },
}


def name_study(number: int) -> str:
    return f"train_{number + 1}_a_1"


def make_raw(number: int) -> Sample:
    """Return a raw sample as people's own scripts write it: no study in its key."""
    shape = (15 + number % 3, 17 + number % 2, 19 + number)
    hu = make_chest_phantom(shape, seed=number, round_field_of_view=False)
    labels = (np.arange(18) % (number + 2) == 0).astype("<f4")
    return {
        "__key__": f"000000_{NUM_STUDIES - number:06d}",
        "bin": (hu + 1024).astype("<i2").tobytes(),
        "json": {
            "study_id": name_study(number),
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            "XYSpacing": "[0.8, 0.8]",
            "ZSpacing": 1.25 + number / 4,
            "original_shape": list(shape),
            "volume_shape": list(shape),
            "volume_dtype": "int16",
            "report": {"findings": f"Study {number}.", "impressions": " Not given. "},
        },
        "txt": f"Study {number}: no finding, 3 µm.",
        "labels": labels.tobytes(),
    }


def write_tars(folder: Path, samples: list[Sample]) -> None:
    """Write tars of three samples as plain webdataset does."""
    from webdataset.writer import TarWriter

    folder.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(samples), PER_TAR):
        with TarWriter(str(folder / f"raw-{start // PER_TAR:06d}.tar")) as writer:
            for sample in samples[start : start + PER_TAR]:
                writer.write(sample)


class Pairs:
    """One dataset's folder and that of its originals, which a test may damage."""

    def __init__(self, medassets: Medassets, raw: Path, folder: Path) -> None:
        self.medassets = medassets
        self.raw = raw
        self.folder = folder
        self.shard = folder / "shard-000001.tar"
        self.samples: list[SampleEntry] = read_samples(self.shard)

    def verify(self, *options: str, after: Path | str = "") -> tuple[Any, dict[str, Any]]:
        """Run the command both ways and return what it said, and its document."""
        patterns = ["--original-pattern", f"{self.raw}/raw-*.tar"]
        patterns += ["--preprocessed-pattern", str(after or self.folder / "shard-*.tar")]
        told = self.medassets("verify", *patterns, *options)
        found = self.medassets("verify", *patterns, *options, "--json")
        assert "Traceback" not in told.err + found.err
        assert found.code == told.code == (0 if found.document["ok"] else 1)
        return told, found.document

    def rewrite_raw(self, change: Callable[[Sample], Sample | None]) -> None:
        """Write the raw tars again with other samples."""
        samples = [make_raw(number) for number in reversed(range(NUM_STUDIES))]
        write_tars(self.raw, [kept for s in samples if (kept := change(s)) is not None])


def failed(document: dict[str, Any]) -> dict[str, list[str]]:
    return {s["study_id"]: s["differences"] for s in document["samples"] if not s["ok"]}


def studies(document: dict[str, Any], name: str) -> list[str]:
    return [entry["study_id"] for entry in document[name]]
