"""The transform of a NIfTI header: voxel index -> mm, repaired as the standard and common readers do.

Source: NIfTI-1.1 standard, methods 1 to 3, https://nifti.nimh.nih.gov; `nifti1_io.c`, which SimpleITK uses;
nibabel.
"""

from typing import Any, NoReturn

import nibabel as nib
import numpy as np
import numpy.typing as npt

from medassets.arrays import Affine
from medassets.errors import Reason, SampleRejectedError

MAX_QUATERNION_EXCESS = 0.01
"""Largest b² + c² + d² - 1 that is taken for rounding, of a file that stores few decimals."""


def read_transform(header: nib.Nifti1Header) -> tuple[Affine, str]:
    """Return the affine of a header, and the field that it comes from.

    The sform is preferred, as nibabel does; an sform of zeros states nothing, and the qform is used. Without
    either, the affine holds the steps only.

    Args:
        header: Header as stored, unchecked.

    Returns:
        float64 (4, 4) in the unit of the header, and `sform`, `qform` or `pixdim`. Steps of 0 stay so.

    Raises:
        SampleRejectedError: SPACING_MISSING for steps that are not finite, BAD_HEADER for other fields that
            cannot be used; the field is named.
    """
    fields: Any = header.structarr
    sform = np.array([fields[f"srow_{axis}"] for axis in "xyz"], np.float64)
    has_qform = int(fields["qform_code"]) > 0
    if int(fields["sform_code"]) > 0 and (sform.any() or not has_qform):
        rows = {f"srow_{axis}": row for axis, row in zip("xyz", sform, strict=True)}
        steps = {name: row[:3] for name, row in rows.items()}
        _require_finite("sform", steps, Reason.SPACING_MISSING)
        _require_finite("sform", rows)
        return np.vstack([sform, [0.0, 0.0, 0.0, 1.0]]), "sform"
    if has_qform:
        return _read_qform(fields), "qform"
    return np.array(header.get_base_affine(), np.float64), "pixdim"


def find_rival(header: nib.Nifti1Header, affine: Affine) -> str | None:
    """Return the axis codes of a qform that turns the volume otherwise than its sform.

    The standard lets both be true, of two spaces; more often one of them is wrong.

    Args:
        header: Header as stored, unchecked.
        affine: That of the sform.

    Returns:
        Codes such as `RAS`; None where both agree, or the qform states none.
    """
    if int(header.structarr["qform_code"]) <= 0:
        return None
    try:
        rival = _read_qform(header.structarr)
    except SampleRejectedError:
        return None
    codes = ["".join(map(str, nib.orientations.aff2axcodes(one))) for one in (affine, rival)]
    return codes[1] if codes[0] != codes[1] and "None" not in codes[1] else None


def _read_qform(fields: Any) -> Affine:
    offset = {f"qoffset_{axis}": float(fields[f"qoffset_{axis}"]) for axis in "xyz"}
    _require_finite("qform", offset)
    steps = np.abs(np.asarray(fields["pixdim"][1:4], np.float64))
    _require_finite("qform", {"pixdim": steps}, Reason.SPACING_MISSING)
    steps[2] *= _read_qfac(float(fields["pixdim"][0]))
    affine = np.eye(4)
    affine[:3, :3] = rotate(*_read_quaternion(fields)) * steps
    affine[:3, 3] = list(offset.values())
    return affine


def _read_qfac(stored: float) -> float:
    """Return the sign of the third axis: 0, NaN and numbers above 0 mean 1."""
    if stored < 0 and stored != -1:
        _reject(
            f"pixdim[0] (qfac) is {stored:g}: readers take that for 1 or for -1; write one of both"
        )
    return -1.0 if stored == -1 else 1.0


def _read_quaternion(fields: Any) -> tuple[float, float, float, float]:
    """Return a unit quaternion; the header stores three of its numbers."""
    stored = {f"quatern_{name}": float(fields[f"quatern_{name}"]) for name in "bcd"}
    _require_finite("qform", stored)
    b, c, d = stored.values()
    squares = b * b + c * c + d * d
    if squares > 1 + MAX_QUATERNION_EXCESS:
        _reject(
            f"the quaternion of the qform is none: b² + c² + d² is {squares:.6g}, expected at most 1 "
            f"(b, c, d are {b:g}, {c:g}, {d:g})"
        )
    # The rest of a half turn is the rounding of what is stored.
    if 1 - squares < 3 * float(np.finfo(fields["quatern_b"].dtype).eps):
        length = squares**0.5
        return 0.0, b / length, c / length, d / length
    return (1 - squares) ** 0.5, b, c, d


def rotate(a: float, b: float, c: float, d: float) -> npt.NDArray[np.float64]:
    """Return the rotation of a unit quaternion, shape (3, 3).

    Source: NIfTI-1.1 standard, method 2.
    """
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )


def _require_finite(
    transform: str, values: dict[str, Any], reason: Reason = Reason.BAD_HEADER
) -> None:
    for name, value in values.items():
        if not np.isfinite(value).all():
            shown = ", ".join(f"{number:g}" for number in np.atleast_1d(value))
            detail = f"{name} of the {transform} is not finite: {shown}"
            raise SampleRejectedError(reason, detail)


def _reject(detail: str) -> NoReturn:
    raise SampleRejectedError(Reason.BAD_HEADER, detail)
