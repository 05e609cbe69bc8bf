"""The two packages that DICOM takes; both come with the extra `dicom`."""

import warnings
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

from medassets.errors import CatalogError

_HOW = '`pip install "medassets[dicom]"`'


def require_packages() -> None:
    """Refuse to begin what cannot be ended; importing both takes a second, and this does not.

    Raises:
        CatalogError: Naming what is not installed.
    """
    missing = [name for name in ("pydicom", "SimpleITK") if find_spec(name) is None]
    if missing:
        msg = f"reading DICOM takes {' and '.join(missing)}: {_HOW}"
        raise CatalogError(msg)


def import_pydicom() -> ModuleType:
    """Return pydicom, which reads headers.

    Raises:
        CatalogError: If it is not installed.
    """
    pydicom = _import("pydicom")
    # It warns of odd headers, of which it gives the bytes; reasons say what is wrong with them.
    warnings.filterwarnings("ignore", module=r"pydicom\.")
    return pydicom


def import_simpleitk() -> ModuleType:
    """Return SimpleITK, which decodes pixels; it prints no warnings.

    Raises:
        CatalogError: If it is not installed.
    """
    sitk = _import("SimpleITK")
    # Warnings of its C++ code name the file, and go to the terminal past every log.
    sitk.ProcessObject.SetGlobalWarningDisplay(False)
    return sitk


def _import(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        msg = f"reading DICOM takes {name}: {_HOW}"
        raise CatalogError(msg) from error
