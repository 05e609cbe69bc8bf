"""Transforms of NIfTI headers: what nibabel reads, and a rotation of vectors by quaternion products."""

import gzip
import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medassets.errors import Reason, SampleRejectedError
from medassets.testing.nifti import encode_nifti
from medassets.testing.phantoms import make_chest_phantom
from medassets.volumes.files.nifti import decode_header, open_nifti
from medassets.volumes.grid.geometry import locate_source
from medassets_tests.shared_cases import find_case

STEPS = (0.9, 1.3, 2.1)
ORIGIN = (-20.0, 31.0, -110.0)
KINDS = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
# Unit quaternions (a, b, c, d): none, half turns about each axis, a third of a turn, two oblique ones.
QUATERNIONS = [
    (1.0, 0.0, 0.0, 0.0),
    (0.0, 1.0, 0.0, 0.0),
    (0.0, 0.0, 1.0, 0.0),
    (0.0, 0.0, 0.0, 1.0),
    (0.5, 0.5, 0.5, 0.5),
    (0.8, 0.36, -0.48, 0.0),
    (0.0, 0.36, -0.48, 0.8),
]


def make_block(kind: Any = nib.Nifti1Header, order: Any = "<", **fields: Any) -> bytes:
    """Return a header whose fields are written as they are, sane or not."""
    header = kind(endianness=order)
    header.set_data_dtype(np.int16)
    header.set_data_shape((5, 7, 11))
    header["vox_offset"] = 352 if kind is nib.Nifti1Header else 544
    header["magic"] = b"n+1" if kind is nib.Nifti1Header else b"n+2\0\r\n\x1a\n"
    header["pixdim"][:4] = [1, *STEPS]
    for name, value in fields.items():
        header[name] = value
    return header.binaryblock


def make_qform(
    quaternion: tuple[float, ...], qfac: float = 1.0, steps: tuple[float, ...] = STEPS
) -> dict[str, Any]:
    names = ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z")
    values = (*quaternion[1:], *ORIGIN)
    pixdim = [qfac, *steps, 1, 1, 1, 1]
    return {"qform_code": 1, "pixdim": pixdim, **dict(zip(names, values, strict=True))}


def read(block: bytes) -> tuple[np.ndarray, str]:
    header, _ = decode_header(block)
    return header.affine, header.affine_from


def multiply(p: tuple[float, ...], q: tuple[float, ...]) -> tuple[float, ...]:
    """Return the Hamilton product."""
    a, v = p[0], np.array(p[1:])
    b, w = q[0], np.array(q[1:])
    return (float(a * b - v @ w), *(a * w + b * v + np.cross(v, w)).tolist())


def turn(quaternion: tuple[float, ...], qfac: float, steps: tuple[float, ...]) -> np.ndarray:
    """Return the affine, each column a step that is turned by two products of quaternions."""
    unit = tuple((np.array(quaternion) / np.linalg.norm(quaternion)).tolist())
    inverse = (unit[0], *(-number for number in unit[1:]))
    affine = np.eye(4)
    signs = (1, 1, -1 if qfac < 0 else 1)
    for axis in range(3):
        step = [0.0, 0.0, 0.0]
        step[axis] = signs[axis] * abs(steps[axis])
        affine[:3, axis] = multiply(multiply(unit, (0.0, *step)), inverse)[1:]
    affine[:3, 3] = ORIGIN
    return affine


@pytest.mark.parametrize("quaternion", QUATERNIONS, ids=str)
@pytest.mark.parametrize("qfac", [-1.0, 0.0, 1.0, 2.0, np.nan])
@pytest.mark.parametrize("signs", list(itertools.product((1, -1), repeat=3)), ids=str)
def test_a_qform_is_read_as_nibabel_repairs_it_and_as_the_standard_says(
    quaternion: tuple[float, ...], qfac: float, signs: tuple[int, ...]
) -> None:
    steps = tuple(sign * step for sign, step in zip(signs, STEPS, strict=True))
    for kind, order in itertools.product(KINDS.values(), "<>"):
        block = make_block(kind, order, **make_qform(quaternion, qfac, steps))
        affine, origin = read(block)
        assert origin == "qform"
        np.testing.assert_allclose(affine, turn(quaternion, qfac, steps), atol=1e-5)
        # nibabel repairs qfac and steps when it checks a header.
        checked = kind.from_header(kind(block, order, check=True))
        np.testing.assert_allclose(affine, checked.get_qform(), atol=1e-5)


@pytest.mark.parametrize("excess", [0.0, 1e-7, 6e-7, 1e-5, 1e-3, 9e-3])
@pytest.mark.parametrize("quaternion", [q for q in QUATERNIONS if q[0] == 0], ids=str)
def test_rounding_above_1_is_a_half_turn(quaternion: tuple[float, ...], excess: float) -> None:
    longer = tuple(number * (1 + excess) ** 0.5 for number in quaternion)
    affine, _ = read(make_block(**make_qform(longer)))
    np.testing.assert_allclose(affine, turn(quaternion, 1.0, STEPS), atol=1e-5)


@pytest.mark.parametrize("sform_code", [0, 1, 2, 5, -1])
@pytest.mark.parametrize("qform_code", [0, 1, 2, 5, -1])
def test_the_sform_is_preferred_then_the_qform(sform_code: int, qform_code: int) -> None:
    rows = {f"srow_{axis}": row for axis, row in zip("xyz", np.eye(4)[:3] * -2, strict=True)}
    fields = make_qform(QUATERNIONS[4]) | {"qform_code": qform_code, "sform_code": sform_code}
    _, origin = read(make_block(**fields, **rows))
    assert origin == ("sform" if sform_code > 0 else "qform" if qform_code > 0 else "pixdim")


@pytest.mark.parametrize(
    ("quaternion", "qfac", "rival"),
    [
        ((1.0, 0.0, 0.0, 0.0), 1.0, None),
        ((0.999, 0.0447, 0.0, 0.0), 1.0, None),
        ((0.0, 0.0, 0.0, 1.0), 1.0, "LPS"),
        ((1.0, 0.0, 0.0, 0.0), -1.0, "RAI"),
        ((0.0, 1.0, 0.0, 0.0), 0.0, "RPI"),
        ((0.0, 1.0, 1.0, 0.0), 1.0, None),
    ],
)
def test_a_qform_that_turns_otherwise_than_the_sform_is_a_rival(
    quaternion: tuple[float, ...], qfac: float, rival: str | None
) -> None:
    rows = {f"srow_{axis}": row for axis, row in zip("xyz", np.diag([*STEPS, 1]), strict=False)}
    block = make_block(sform_code=1, **rows, **make_qform(quaternion, qfac))
    header, _ = decode_header(block)
    assert (header.affine_from, header.rival_codes) == ("sform", rival)


def test_an_sform_of_zeros_states_nothing() -> None:
    affine, origin = read(make_block(sform_code=1, **make_qform(QUATERNIONS[4])))
    assert origin == "qform"
    np.testing.assert_allclose(affine, turn(QUATERNIONS[4], 1.0, STEPS), atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        (make_qform((0, 1.0, 0.8, 0.0)), r"the quaternion of the qform is none: .* is 1\.64"),
        (make_qform((0, np.nan, 0.0, 0.0)), "quatern_b of the qform is not finite: nan"),
        (make_qform((0, 0.0, 0.0, np.inf)), "quatern_d of the qform is not finite: inf"),
        (
            make_qform(QUATERNIONS[0]) | {"qoffset_y": np.nan},
            "qoffset_y of the qform is not finite",
        ),
        (make_qform(QUATERNIONS[0], steps=(0.9, np.nan, 2)), "pixdim of the qform is not finite"),
        (make_qform(QUATERNIONS[0], steps=(np.inf, 1, 2)), "pixdim of the qform is not finite"),
        (make_qform(QUATERNIONS[0], -2.0), r"pixdim\[0\] \(qfac\) is -2"),
        (make_qform(QUATERNIONS[0], -np.inf), r"pixdim\[0\] \(qfac\) is -inf"),
        (
            {"sform_code": 1, "srow_z": [0, 0, np.nan, 1]},
            "srow_z of the sform is not finite: 0, 0, nan",
        ),
    ],
)
def test_what_is_really_wrong_is_named(fields: dict[str, Any], match: str) -> None:
    for kind, order in itertools.product(KINDS.values(), "<>"):
        with pytest.raises(SampleRejectedError, match=match) as caught:
            decode_header(make_block(kind, order, **fields))
        is_step = "pixdim of" in match or "srow" in match
        assert caught.value.reason is (Reason.SPACING_MISSING if is_step else Reason.BAD_HEADER)


def test_a_step_of_0_is_named() -> None:
    header, _ = decode_header(make_block(**make_qform(QUATERNIONS[4], 1.0, (0.9, 0.0, 2.1))))
    with pytest.raises(SampleRejectedError, match=r"spacing_missing: .* \(0\.9, 0, 2\.1\) mm"):
        locate_source(header, None)


@pytest.mark.parametrize("dim", [[4, 5, 7, 11, 0, 0, 0, 0], [7, 5, 7, 11, 1, 0, 1, 1]], ids=str)
def test_a_trailing_axis_of_zero_is_one(dim: list[int]) -> None:
    header, _ = decode_header(make_block(dim=dim))
    assert header.shape == (5, 7, 11)


@settings(max_examples=100, deadline=None)
@given(
    numbers=st.lists(st.floats(-1.25, 1.25, width=32), min_size=3, max_size=3),
    qfac=st.sampled_from([-1.0, 0.0, 1.0, -2.0, 3.0, float("nan")]),
    steps=st.lists(st.sampled_from([0.0, 0.7, -1.5, 3.0, float("nan")]), min_size=3, max_size=3),
    codes=st.tuples(st.integers(-1, 2), st.integers(-1, 2)),
)
def test_a_header_is_read_as_independently_computed_or_refused(
    numbers: list[float], qfac: float, steps: list[float], codes: tuple[int, int]
) -> None:
    sform = turn((0.8, 0.36, -0.48, 0.0), -1.0, STEPS)
    rows = {f"srow_{axis}": row for axis, row in zip("xyz", sform, strict=False)}
    squares = float(np.square(np.array(numbers)).sum())
    fields = make_qform((0.0, *numbers), qfac, tuple(steps))
    fields |= rows | {"qform_code": codes[0], "sform_code": codes[1], "xyzt_units": 2}
    try:
        header, _ = decode_header(make_block(**fields))
        frame = locate_source(header, None)
    except SampleRejectedError:
        return
    if codes[1] > 0:
        np.testing.assert_allclose(frame.affine, sform, atol=1e-4)
        assert frame.axis_codes == "".join(map(str, nib.orientations.aff2axcodes(sform)))
    elif codes[0] > 0:
        quaternion = (max(1 - squares, 0.0) ** 0.5, *numbers)
        expected = turn(quaternion, qfac, tuple(steps))
        np.testing.assert_allclose(frame.affine, expected, atol=1e-3)
    else:
        assert frame.axis_codes is None
    assert all(step > 0 for step in frame.spacing_mm)


def read_shared(name: str) -> Any:
    path = find_case(f"headers/{name}")
    with open_nifti(path) as reader:
        return reader.header


@pytest.mark.parametrize("name", ["qform_qfac_zero.nii.gz", "qform_quaternion_rounding.nii.gz"])
def test_shared_headers_that_readers_repair_are_read(name: str) -> None:
    frame = locate_source(read_shared(name), None)
    np.testing.assert_allclose(frame.spacing_mm, (1.5, 1.5, 3), rtol=1e-5)
    assert frame.affine_from == "qform"
    raw = nib.Nifti1Header(
        gzip.decompress(find_case(f"headers/{name}").read_bytes())[:348], check=False
    )
    numbers = [float(raw[f"quatern_{axis}"]) for axis in "bcd"]
    squares = float(np.square(numbers).sum())
    quaternion = (max(1 - squares, 0.0) ** 0.5, *numbers)
    expected = turn(quaternion, float(raw["pixdim"][0]), (1.5, 1.5, 3.0))
    np.testing.assert_allclose(frame.affine[:3, :3], expected[:3, :3], atol=1e-4)


def test_a_shared_file_without_transform_has_no_orientation() -> None:
    assert locate_source(read_shared("no_transform.nii.gz"), None).axis_codes is None


def test_voxels_behind_a_repaired_header_are_those_that_nibabel_reads(tmp_path: Path) -> None:
    hu = make_chest_phantom((20, 18, 12))
    changes = {"sform_code": 0, "pixdim": [0, -1.5, 1.5, 3, 1, 1, 1, 1]}
    affine = np.diag([1.5, 1.5, 3.0, 1.0])
    path = tmp_path / "volume.nii"
    path.write_bytes(encode_nifti(hu, affine=affine, header_changes=changes))
    with open_nifti(path) as reader:
        voxels = np.empty(hu.shape[::-1], np.int16)
        reader.read_into(voxels)
        np.testing.assert_array_equal(reader.header.affine, affine)
    image: Any = nib.Nifti1Image.from_filename(path)
    np.testing.assert_array_equal(voxels.T, np.asarray(image.dataobj))
    np.testing.assert_array_equal(image.affine, affine)
