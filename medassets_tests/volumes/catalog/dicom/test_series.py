"""Files grouped into series; a series is never silently short of a slice."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from medassets.volumes.catalog.dicom.series import SeriesRules
from medassets_tests.dicoms import write_series
from medassets_tests.volumes.catalog.dicom.scanning import find_series, find_stacks, list_excluded


def on_slice(number: int, **changes: Any) -> Any:
    """Return a change of one slice; `number` -1 changes all."""

    def change(k: int, dataset: Dataset) -> None:
        for name, value in changes.items() if number in (k, -1) else ():
            if value is None:
                delattr(dataset, name)
            else:
                setattr(dataset, name, value)

    return change


def test_series_are_found_whatever_folders_they_are_in(tmp_path: Path) -> None:
    for number in range(3):
        written = write_series(tmp_path, number=number, num_slices=4, prefix=f"{number}-")
        (tmp_path / f"d{number}").mkdir()
        written.paths[2].rename(tmp_path / "d0" / f"x{number}")
    stacks = find_stacks(tmp_path)
    assert [len(stack.slices) for stack in stacks] == [4, 4, 4]
    assert all(one.is_whole for one in find_series(tmp_path))


def test_keys_are_hashes_that_do_not_depend_on_names(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    (first,) = find_stacks(tmp_path)
    shutil.move(tmp_path / "a", tmp_path / "Duck")
    (second,) = find_stacks(tmp_path)
    assert first.key == second.key
    assert first.key.startswith("series-")
    assert len(first.key) == 23


def test_series_without_uids_are_told_apart_by_folder_number_and_kernel(tmp_path: Path) -> None:
    bare = {"SeriesInstanceUID": "", "StudyInstanceUID": "", "SOPInstanceUID": "", "PatientID": ""}
    for number, name in enumerate(("a", "a", "b")):
        change = on_slice(-1, **bare, SeriesNumber=number)
        write_series(tmp_path / name, number=number, change=change, prefix=f"{number}-")
    found = find_series(tmp_path)
    assert [len(one.files) for one in found] == [17, 17, 17]
    assert len({one.key for one in found}) == 3
    assert not any(one.has_uid for one in found)


def test_one_file_of_another_modality_in_a_series_is_a_contradiction(tmp_path: Path) -> None:
    write_series(tmp_path, change=on_slice(16, Modality="MR"))
    assert list_excluded(tmp_path) == {"ambiguous_source": 16, "other_modality": 1}


def test_a_copy_of_a_series_without_uid_is_no_second_sample(tmp_path: Path) -> None:
    write_series(tmp_path / "a", change=on_slice(-1, SeriesInstanceUID=""))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert len(find_stacks(tmp_path)) == 1
    assert list_excluded(tmp_path) == {"duplicate_row": 17}


def test_localizers_and_derived_images_leave_the_rest_of_a_series(tmp_path: Path) -> None:
    write_series(tmp_path)
    scout = on_slice(-1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], Rows=13, Columns=42)
    write_series(tmp_path, num_slices=1, change=scout, prefix="scout")
    derived = on_slice(-1, ImageType=["DERIVED", "PRIMARY"])
    write_series(tmp_path, num_slices=2, change=derived, prefix="derived")
    (one,) = find_series(tmp_path)
    assert [len(stack.slices) for stack in one.stacks] == [17]
    assert list_excluded(tmp_path) == {"localizer": 1, "derived_image": 2}
    assert not one.is_whole


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "corrupt_dicom"),
        ({"PhotometricInterpretation": "RGB"}, "colour_image"),
        ({"HighBit": 15}, "unsupported_pixels"),
        ({"NumberOfFrames": 2}, "enhanced_multiframe"),
        ({"ImagePositionPatient": None}, "position_missing"),
        ({"PixelSpacing": [1, 1]}, "mixed_slices"),
        ({"Rows": 20}, "mixed_slices"),
        ({"RescaleSlope": None}, "hu_rule_missing"),
        ({"RescaleType": "Z_EFF"}, "hu_rule_conflict"),
        ({"PatientID": "other"}, "ambiguous_source"),
        ({"StudyInstanceUID": "1.2.3"}, "ambiguous_source"),
    ],
)
def test_one_bad_slice_excludes_its_whole_series(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    # The last slice: without it the others would be a regular volume.
    write_series(tmp_path, change=on_slice(16, **changes))
    assert list_excluded(tmp_path) == {reason: 17}
    assert find_stacks(tmp_path) == []


@pytest.mark.parametrize("share", [0.05, 0.2, 0.27, 0.3, 0.4, 0.6, 0.95])
def test_a_cut_file_excludes_its_series_wherever_it_is_cut(tmp_path: Path, share: float) -> None:
    last = write_series(tmp_path / "a").paths[16]
    write_series(tmp_path / "b", number=1)
    content = last.read_bytes()
    last.write_bytes(content[: max(200, int(len(content) * share))])
    assert [len(stack.slices) for stack in find_stacks(tmp_path)] == [17]
    assert list_excluded(tmp_path) == {"corrupt_dicom": 17}


def test_an_empty_slice_excludes_the_series_of_its_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "a").paths[16].write_bytes(b"")
    write_series(tmp_path / "b", number=1)
    assert list_excluded(tmp_path) == {"corrupt_dicom": 17}


def test_stored_values_that_are_hu_need_no_scaling(tmp_path: Path) -> None:
    write_series(tmp_path, change=on_slice(-1, RescaleSlope=None, RescaleIntercept=None))
    assert list_excluded(tmp_path) == {"hu_rule_missing": 17}
    assert len(find_stacks(tmp_path, SeriesRules(needs_rescaling=False))) == 1


def test_other_modalities_are_counted_by_series(tmp_path: Path) -> None:
    write_series(tmp_path / "a", change=on_slice(-1, Modality="MR"))
    write_series(tmp_path / "b", number=1)
    assert list_excluded(tmp_path) == {"other_modality": 17}
    assert len(find_stacks(tmp_path, SeriesRules(modalities=("CT", "MR")))) == 2


def test_objects_without_pixels_do_not_harm_the_series_of_their_folder(tmp_path: Path) -> None:
    write_series(tmp_path)
    raw = on_slice(-1, SOPClassUID="1.2.840.10008.5.1.4.1.1.66", Rows=None, PixelData=None)
    write_series(tmp_path, number=1, num_slices=1, change=raw, prefix="raw")
    assert [len(stack.slices) for stack in find_stacks(tmp_path)] == [17]
    assert list_excluded(tmp_path) == {"other_modality": 1}
