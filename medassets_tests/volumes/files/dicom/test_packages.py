"""A missing package names the extra that brings it."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from medassets.errors import CatalogError
from medassets.volumes.files.dicom import packages
from medassets.volumes.files.dicom.packages import (
    import_pydicom,
    import_simpleitk,
    require_packages,
)


@pytest.mark.parametrize(
    ("name", "bring"), [("pydicom", import_pydicom), ("SimpleITK", import_simpleitk)]
)
def test_a_missing_package_names_its_extra(
    monkeypatch: pytest.MonkeyPatch, name: str, bring: Callable[[], ModuleType]
) -> None:
    assert bring().__name__ == name
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(CatalogError, match=rf'takes {name}.*pip install "medassets\[dicom\]"'):
        bring()


def test_all_that_is_missing_is_named_before_a_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    require_packages()
    monkeypatch.setattr(packages, "find_spec", lambda _: None)
    with pytest.raises(CatalogError, match=r"takes pydicom and SimpleITK: .*medassets\[dicom\]"):
        require_packages()
