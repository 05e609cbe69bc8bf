"""What is deleted as a whole: a file of an NPZ tree, all files of a series."""

import pytest

from medassets.reclaim.source_files import FileStat
from medassets.reclaim.units import measure_unit, open_unit
from medassets_tests.reclaim.clinics import FILES, FIRST, Clinic
from medassets_tests.reclaim.reclaiming import Made


def test_a_file_is_a_unit_of_its_own(made: Made) -> None:
    study = made.studies()[0]
    place, path = made.tree.place(study), made.tree.paths[study]
    unit = open_unit(made.open(), path)
    assert unit.list_places() == (place,)
    assert measure_unit(unit) == (1, place.stat().st_size)
    assert unit.stat() == FileStat.of(place.stat())
    assert (unit.is_gone(), unit.find_obstacle()) == (False, "")
    place.unlink()
    assert unit.is_gone()
    assert measure_unit(unit) == (0, 0)


def test_a_series_is_measured_with_all_its_files(clinic: Clinic) -> None:
    unit = open_unit(clinic.open(), FIRST)
    places = sorted((clinic.folder / "a").glob("first-*"))
    sizes = [place.stat().st_size for place in places]
    assert sorted(unit.list_places()) == places
    assert measure_unit(unit) == (FILES["first-"], sum(sizes))
    facts = unit.stat()
    assert facts.num_bytes == sum(sizes)
    assert facts.mtime_ns == max(place.stat().st_mtime_ns for place in places)
    places[2].touch()
    assert unit.stat() != facts


def test_a_series_that_makes_no_volume_any_more_is_no_longer_to_be_deleted(clinic: Clinic) -> None:
    unit = open_unit(clinic.open(), FIRST)
    assert unit.find_obstacle() == ""
    # In the order of the volume; the copy of a slice comes last.
    unit.list_places()[2].unlink()
    assert not unit.is_gone()
    assert "make no volume any more" in unit.find_obstacle()


def test_what_is_not_there_has_no_facts(clinic: Clinic) -> None:
    unit = open_unit(clinic.open(), "series-0123456789abcdef")
    assert unit.is_gone()
    with pytest.raises(OSError, match="no file of it is there"):
        unit.stat()
