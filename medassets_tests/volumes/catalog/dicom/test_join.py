"""Rows of a table and series of DICOM, joined by what their files state, and never shown."""

from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from medassets.errors import CatalogError
from medassets.storage.formats.csv_tables import CsvTable, make_table
from medassets.volumes.catalog.dicom.join import make_forms
from medassets.volumes.catalog.dicom.stacking import Stack
from medassets.volumes.catalog.tree.join import join_table
from medassets_tests.dicoms import ROOT_UID, write_series
from medassets_tests.volumes.catalog.dicom.scanning import find_stacks


def write_table(*cells: str) -> CsvTable:
    return make_table("t.csv", [["id", "text"], *([cell, str(n)] for n, cell in enumerate(cells))])


def number_of(stack: Stack) -> int:
    """Return the number of a series as it was written."""
    return int(stack.headers[0]["series_uid"].split(".")[-2])


@pytest.fixture
def stacks(tmp_path: Path) -> dict[str, Stack]:
    """Two series of one study and one of another, of which one lies in two folders."""
    for number in range(3):

        def state(k: int, dataset: Dataset, number: int = number) -> None:
            dataset.StudyInstanceUID = f"{ROOT_UID}.77.{min(number, 1)}"
            dataset.AccessionNumber = f"00{min(number, 1)}"

        folder = tmp_path / f"p{min(number, 1)}" / f"scan{number}"
        written = write_series(folder, number=number, num_slices=4, change=state)
        if number == 2:
            (folder / "more").mkdir()
            for path in written.paths[2:]:
                path.rename(folder / "more" / path.name)
    return {stack.key: stack for stack in find_stacks(tmp_path)}


def join(stacks: dict[str, Stack], *cells: str, **options: Any) -> Any:
    forms = make_forms(stacks)
    return join_table(write_table(*cells), "id", [*stacks], forms=forms, **options)


def rows_of(stacks: dict[str, Stack], *cells: str, form: str = "") -> dict[int, int]:
    """Return number of the series -> index of its row."""
    found = join(stacks, *cells, form=form)
    return {number_of(stacks[key]): row for key, row in found.row_of.items()}


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        ([f"{ROOT_UID}.{n}.3" for n in (2, 0, 1)], {2: 0, 0: 1, 1: 2}),
        ([f" {ROOT_UID}.1.3 ", "1.2.3"], {1: 0}),
        ([f"{ROOT_UID}.77.1", f"{ROOT_UID}.77.0"], {1: 0, 2: 0, 0: 1}),
        (["001", "000"], {1: 0, 2: 0, 0: 1}),
        # A number without its zeros is another number.
        (["001", "0"], {1: 0, 2: 0}),
        (["scan1", "scan2", "scan0"], {1: 0, 2: 1, 0: 2}),
        (["p1/scan1", "./p1/scan2/"], {1: 0, 2: 1}),
        (["/data/elsewhere/p1/scan1", "C:\\data\\p0\\scan0"], {1: 0, 0: 1}),
        (["p1"], {1: 0, 2: 0}),
        (["p0/scan0/000", "elsewhere/p1/scan1/002"], {0: 0, 1: 1}),
    ],
)
def test_a_cell_is_what_names_most_series(
    stacks: dict[str, Stack], cells: list[str], expected: dict[int, int]
) -> None:
    assert rows_of(stacks, *cells) == expected


def test_keys_of_samples_name_series(stacks: dict[str, Stack]) -> None:
    keys = [*stacks]
    assert join(stacks, *keys).row_of == {key: n for n, key in enumerate(keys)}


def test_nothing_is_guessed_and_no_cell_is_shown(stacks: dict[str, Stack]) -> None:
    # Each series has a file of that name.
    found = join(stacks, "000", form="path")
    assert found.row_of == {}
    assert len(found.ambiguous) >= 2
    assert all("its cell names series-" in why for why in found.ambiguous.values())
    conflict = join(stacks, f"{ROOT_UID}.1.3", f"{ROOT_UID}.1.3")
    assert "rows 2 and 3 are about series-" in next(iter(conflict.conflicts.values()))
    with pytest.raises(
        CatalogError, match="no row names a volume; a cell may be a Series"
    ) as caught:
        join(stacks, "Duck", "Donald")
    assert "Du" not in str(caught.value).replace("Duplicate", "")


def test_elements_that_slices_state_differently_name_nothing(tmp_path: Path) -> None:
    def state(k: int, dataset: Dataset) -> None:
        dataset.AccessionNumber = "" if k == 2 else "7"

    write_series(tmp_path, num_slices=3, change=state)
    stacks = {stack.key: stack for stack in find_stacks(tmp_path)}
    assert join(stacks, "7", may_miss=True).row_of == {}
