"""Real volumes, where their folder is there, come through the layout as they should."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from medassets.datasets.ct_sources.registry import open_volume_source
from medassets.samples import SourceItem, StagedFile
from medassets.specs import VolumeDatasetSpec
from medassets.storage.buffers import BufferPool
from medassets.testing.ct_rate import SyntheticRepository
from medassets.volumes.catalog.ct_rate import read_rows
from medassets.volumes.samples import encode_volume_sample
from medassets_tests import shared_data
from medassets_tests.real_volumes import lay_out_real_volumes

CT_FOLDER = shared_data.CT
pytestmark = pytest.mark.skipif(
    not CT_FOLDER.is_dir(), reason="no real CT volumes beside the repository"
)

SPEC = VolumeDatasetSpec(
    name="real_ct",
    source="folder",
    folder="/unused",
    hu_rule="header",
    target_spacing_mm=(3.0, 3.0, 3.0),
    target_shape=(96, 96, 48),
)


class TreeSource:
    """Tables of a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read_table(self, path: str, *, revision: str | None) -> bytes:
        """Return a file of the folder."""
        return (self.folder / path).read_bytes()


@pytest.fixture
def repository(tmp_path: Path) -> SyntheticRepository:
    """The real volumes, laid out as CT-RATE."""
    return lay_out_real_volumes(CT_FOLDER, tmp_path)


def test_tables_say_what_the_headers_say(repository: SyntheticRepository) -> None:
    rows = read_rows(TreeSource(repository.folder), SPEC, "train", None).to_pylist()
    assert [row["excluded"] for row in rows] == [None] * len(rows)
    steps = {row["key"]: [row[f"spacing_{axis}"] for axis in "ijk"] for row in rows}
    assert steps["train_1_a_1"] == [3, 3, 3]
    assert steps["train_2_a_1"] == [0.820312, 0.820312, 2.5]
    assert {row["key"]: row["rescale_intercept"] for row in rows}["train_2_a_1"] == -1024


def test_every_volume_becomes_a_sample_in_hu(repository: SyntheticRepository) -> None:
    for split in ("train", "valid"):
        for row in read_rows(TreeSource(repository.folder), SPEC, split, None).to_pylist():
            path = repository.folder / row["path"]
            content = path.read_bytes()
            digest = hashlib.sha256(content).hexdigest()
            sample = encode_volume_sample(
                SourceItem(row["key"], split, row["path"], None, row),
                StagedFile(path, "file:x", None, len(content), digest),
                spec=SPEC,
                source=open_volume_source(SPEC),
                fingerprint="f",
                buffers=BufferPool(),
            )
            hu = np.asarray(dict(sample.members)["bin"]).astype(np.float32) * 1000
            # Fat and muscle are the bulk of a torso; an intercept lost or applied twice moves both.
            soft = hu[(hu > -200) & (hu < 200)]
            assert soft.size > 20_000
            assert -120 < np.median(soft) < 80
            assert (hu < -700).mean() > 0.05
