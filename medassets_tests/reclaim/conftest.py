"""Converted datasets, made once and copied by each test."""

import shutil
from pathlib import Path

import pytest

from medassets.testing.npz_tree import SyntheticTree, make_npz_tree
from medassets_tests.npz_source import Originals
from medassets_tests.reclaim.clinics import Clinic
from medassets_tests.reclaim.reclaiming import KEYS, Made


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The dataset, converted once."""
    folder = tmp_path_factory.mktemp("reclaim")
    tree = make_npz_tree(folder / "source", num_volumes=7, shape=(5, 7, 11))
    made = Made(tree, Originals.read(tree), folder / "data")
    made.refresh()
    made.build(*KEYS)
    return made


@pytest.fixture
def made(template: Made, tmp_path: Path) -> Made:
    """A copy of the dataset, with the times of its files."""
    source = Path(shutil.copytree(template.tree.folder, tmp_path / "source", symlinks=True))
    root = Path(shutil.copytree(template.root, tmp_path / "data"))
    tree = SyntheticTree(source, template.tree.split, template.tree.paths)
    originals = Originals(tree, template.originals.files, template.originals.values)
    return Made(tree, originals, root)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    """Series of DICOM, converted once."""
    return Clinic.make(tmp_path_factory.mktemp("archive"))


@pytest.fixture
def clinic(archive: Clinic, tmp_path: Path) -> Clinic:
    """A copy of them."""
    return archive.copy(tmp_path)
