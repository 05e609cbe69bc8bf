"""A missing package names the extra that brings it."""

import sys
from collections.abc import Callable
from types import ModuleType

import pytest

from medassets.errors import CatalogError
from medassets.volumes.files.dicom.packages import import_pydicom, import_simpleitk


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
