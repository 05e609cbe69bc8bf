"""Names in a tree: keys without dots, collisions, channels, and patterns of masks."""

import random
import re

import pytest

from medassets.specs.ct import MASK_NAMES
from medassets.volumes.catalog.tree.names import (
    drop_prefix,
    find_collisions,
    find_pattern,
    find_prefix,
    group_channels,
    make_tree_key,
    name_case,
    strip_ending,
)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("s0000/ct.nii.gz", "s0000_ct"),
        ("scan 1.2.nii", "scan_1_2"),
        ("imagesTr/CASE-1_0000.NII.GZ", "imagesTr_CASE-1_0000"),
        ("1.2.840.10008/x.nii.gz", "1_2_840_10008_x"),
    ],
)
def test_a_key_reads_like_its_path(path: str, key: str) -> None:
    assert make_tree_key(path) == key


@pytest.mark.parametrize(
    "path", ["患者一/ct.nii.gz", "ä.nii", "a" * 300 + ".nii.gz", "a/" * 60 + "b.nii"]
)
def test_other_letters_and_long_paths_get_a_hash(path: str) -> None:
    key = make_tree_key(path)
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,90}", key)
    assert key != make_tree_key(path.replace("a", "b").replace("患", "病").replace("ä", "ö"))


def test_keys_are_valid_and_equal_keys_are_named_for_any_names() -> None:
    rng = random.Random(0)
    paths = {
        "".join(rng.choices("aAbB._/- é一", k=rng.randint(1, 6))).strip("/") + "x.nii"
        for _ in range(3000)
    }
    found = find_collisions(paths)
    keys: dict[str, set[str]] = {}
    for path in paths:
        key = make_tree_key(path)
        assert re.fullmatch(r"[A-Za-z0-9_-]{1,90}", key)
        keys.setdefault(key.casefold(), set()).add(path)
    for group in keys.values():
        for path in group if len(group) > 1 else ():
            assert group - {path} <= set(found[path])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a/b.nii.gz", "a_b.nii.gz"),
        ("a.nii", "a.nii.gz"),
        ("Scan.nii", "scan.nii"),
        ("e\u0301.nii", "\u00e9.nii"),
        ("a 1.nii", "a.1.nii"),
    ],
)
def test_a_collision_names_both(one: str, other: str) -> None:
    assert find_collisions([one, "c.nii", other]) == {one: [other], other: [one]}


def test_paths_without_a_collision_are_not_named() -> None:
    assert find_collisions(["a/b.nii", "a/c.nii", "b/b.nii"]) == {}


@pytest.mark.parametrize(
    ("paths", "prefix"),
    [
        (["a/b/1.nii", "a/b/2.nii"], ("a", "b")),
        (["a/b/1.nii", "a/2.nii"], ("a",)),
        (["a/b/1.nii", "a/c/1.nii"], ("a",)),
        (["1.nii", "a/2.nii"], ()),
        (["p/1.nii"], ("p",)),
        ([], ()),
    ],
)
def test_the_folders_of_all_files_are_found(paths: list[str], prefix: tuple[str, ...]) -> None:
    assert find_prefix(paths) == prefix
    assert all(drop_prefix(path, prefix) == tuple(path.split("/"))[len(prefix) :] for path in paths)


def test_a_path_elsewhere_keeps_all_its_parts() -> None:
    assert drop_prefix("c/d/1.nii", ("a", "b")) == ("c", "d", "1.nii")
    assert drop_prefix("a/b", ("a", "b")) == ("a", "b")


@pytest.mark.parametrize(
    "path",
    [
        "labelsTr/a.nii.gz",
        "s0000/segmentations/liver.nii.gz",
        "BraTS-GLI-00000-000/BraTS-GLI-00000-000-seg.nii.gz",
        "p/Lung_Mask.nii",
        "Segmentation/x.nii",
    ],
)
def test_masks_of_common_datasets_are_recognised_by_name(path: str) -> None:
    assert find_pattern(path.split("/"), MASK_NAMES) is not None


@pytest.mark.parametrize(
    "path", ["imagesTr/a_0000.nii.gz", "case_00000/imaging.nii.gz", "s0000/ct.nii"]
)
def test_volumes_of_common_datasets_are_not(path: str) -> None:
    assert find_pattern(path.split("/"), MASK_NAMES) is None


def test_endings_and_channels_are_stripped() -> None:
    assert [strip_ending(name) for name in ("a.b.nii.gz", "a.NII", "a.gz")] == ["a.b", "a", "a.gz"]
    assert [name_case(name) for name in ("c_0000", "c_00", "_0000")] == ["c", "c_00", "_0000"]


def test_channels_are_grouped_where_the_digits_do_not_number_the_files() -> None:
    channels = ["im/a_0000.nii.gz", "im/a_0001.nii.gz", "im/b_0000.nii.gz", "im/b_0001.nii.gz"]
    assert group_channels(channels) == {path: path[:4] for path in channels}
    numbered = [f"im/amos_{n:04d}.nii.gz" for n in range(5)]
    assert group_channels(numbered) == {}
    assert group_channels([*numbered[1:], "im/other.nii.gz"]) == {}
