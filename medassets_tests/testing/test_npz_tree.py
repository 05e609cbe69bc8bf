"""Synthetic trees of `.npz` volumes, as numpy reads them."""

from pathlib import Path

import numpy as np
import pytest

from medassets.testing.npz_tree import make_npz_tree


@pytest.mark.parametrize("compressed", [True, False])
def test_files_have_the_declared_array(tmp_path: Path, compressed: bool) -> None:
    tree = make_npz_tree(
        tmp_path,
        num_volumes=3,
        shape=(5, 6, 7),
        dtype="float32",
        order="F",
        compressed=compressed,
        key="volume",
    )
    shapes = []
    for study in tree.paths:
        with np.load(tree.place(study), allow_pickle=False) as arrays:
            assert arrays.files == ["volume"]
            volume = arrays["volume"]
        assert (volume.dtype, volume.flags.f_contiguous) == (np.float32, True)
        assert volume.min() >= -1024
        assert volume.max() > volume.min()
        np.testing.assert_array_equal(tree.read(study, "volume"), volume)
        shapes.append(volume.shape)
    assert shapes == [(5, 6, 7), (6, 7, 8), (7, 6, 9)]


@pytest.mark.parametrize(
    ("depth", "folder"), [(1, "npz"), (2, "npz/valid_1"), (3, "npz/valid_1/valid_1_a")]
)
def test_files_are_as_deep_as_asked(tmp_path: Path, depth: int, folder: str) -> None:
    tree = make_npz_tree(tmp_path, num_volumes=2, split="valid", depth=depth, shape=(5, 6, 7))
    expected = {f"valid_1_a_{n}": f"{folder}/valid_1_a_{n}.npz" for n in (1, 2)}
    assert tree.paths == expected
    found = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.npz")}
    assert found == set(expected.values())


def test_equal_trees_have_equal_arrays_and_the_tables_they_declare(tmp_path: Path) -> None:
    first, second = (
        make_npz_tree(tmp_path / name, num_volumes=2, shape=(5, 6, 7)) for name in ("a", "b")
    )
    for study in first.paths:
        np.testing.assert_array_equal(first.read(study), second.read(study))
    fields = first.fields(preprocessing="other")
    assert (fields["volumes_dir"], fields["splits"]) == ("npz", ["train"])
    assert fields["preprocessing"] == "other"
    for table in ("meta_file", "reports_file", "labels_file"):
        assert (first.folder / fields[table]).is_file()
