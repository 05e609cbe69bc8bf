"""Whether one DICOM file is a slice of CT that can be stacked: the first rule that it breaks."""

from collections.abc import Collection

from medassets.errors import Reason
from medassets.volumes.files.dicom.geometry import find_axes
from medassets.volumes.files.dicom.header import SliceHeader
from medassets.volumes.files.dicom.padding import fits_stored_bits

Problem = tuple[Reason, str]

LEFT_OUT = frozenset({Reason.OTHER_MODALITY, Reason.LOCALIZER, Reason.DERIVED_IMAGE})
"""Files that a series may hold beside its slices. Any other problem of a file is one of its whole series."""

SYNTAXES = frozenset(
    {
        "",
        *("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"),
        *("1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70"),
        *("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51"),
        *("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81"),
        *("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91"),
        *("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"),
    }
)  # fmt: skip
"""Transfer syntaxes that SimpleITK decodes: uncompressed, RLE, JPEG, JPEG-LS, JPEG 2000, HTJ2K."""

_ENHANCED = frozenset({"1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"})
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_CT = f"{_STORAGE}2"
# Waveforms, presentation states, raw data and registrations, structured reports, documents, plans.
_NO_IMAGES = tuple(
    f"{_STORAGE}{number}" for number in ("9.", "11.", "66", "67", "68", "88.", "104.", "481.")
)
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
_BITS = (8, 16, 32)
# A compressed slice may claim any size, and is decoded to 8 bytes a pixel.
_MOST_SIDE = 8192
_SPACING_MM = (1e-3, 1e3)
_MOST_POSITION_MM = 1e6
_SLOPES = (1e-6, 1e6)
_MOST_INTERCEPT = 1e6


def judge_file(
    header: SliceHeader, *, modalities: Collection[str], accept_derived: bool
) -> Problem | None:
    """Return why a file is no slice of a volume; None if it is one.

    Args:
        header: Its header.
        modalities: Accepted modalities, such as `CT`.
        accept_derived: Accept images whose ImageType says DERIVED.
    """
    return (
        _judge_content(header, modalities, accept_derived)
        or _judge_pixels(header)
        or _judge_geometry(header)
    )


def is_cut(header: SliceHeader, modalities: Collection[str]) -> bool:
    """Tell whether a header ends before it describes pixels, so that its last element may be cut, too."""
    if all(header.shape) or not header.pixel_problem:
        return False
    return header["sop_class"] == _CT or (
        header["modality"] in ("", *modalities) and is_image(header)
    )


def is_image(header: SliceHeader) -> bool:
    """Tell whether a file is of a sort that has pixels, or does not say."""
    name = header["sop_class"]
    return not name or (name.startswith(_STORAGE) and not name.startswith(_NO_IMAGES))


def _judge_content(
    header: SliceHeader, modalities: Collection[str], accept_derived: bool
) -> Problem | None:
    if header["modality"] not in modalities:
        return _judge_modality(header)
    if header.pixel_problem and not is_image(header):
        return Reason.OTHER_MODALITY, "an object without pixels"
    if "LOCALIZER" in header.image_type:
        return Reason.LOCALIZER, "ImageType says LOCALIZER"
    if header["sop_class"].startswith(_SECONDARY_CAPTURE):
        return Reason.DERIVED_IMAGE, "a secondary capture"
    if header["sop_class"] in _ENHANCED or header.num_frames != 1:
        what = f"an enhanced or multi-frame object of {header.num_frames:,} frames"
        return Reason.ENHANCED_MULTIFRAME, f"{what}; export it as single slices"
    if header.pixel_problem:
        return Reason.CORRUPT_DICOM, header.pixel_problem
    if header.image_type[:1] == ("DERIVED",) and not accept_derived:
        return Reason.DERIVED_IMAGE, "ImageType says DERIVED; see accept_derived"
    return None


def _judge_modality(header: SliceHeader) -> Problem:
    if not header["modality"] and header.pixel_problem and not header["sop_class"]:
        return Reason.CORRUPT_DICOM, "the file ends before it says what it is"
    known = header["modality"] if header["modality"].isalnum() else ""
    return Reason.OTHER_MODALITY, f"the modality is {known[:16] or 'not stated'}"


def _judge_pixels(header: SliceHeader) -> Problem | None:
    words = header.words
    if words.get("samples_per_pixel", 1) != 1 or not header["photometric"].startswith("MONOCHROME"):
        what = header["photometric"][:16] or "not stated"
        return Reason.COLOUR_IMAGE, f"PhotometricInterpretation is {what}, expected MONOCHROME2"
    if header.syntax not in SYNTAXES:
        what = "no decoder reads its pixels; convert it, as with `dcmconv`"
        return Reason.UNSUPPORTED_SYNTAX, f"the transfer syntax is {header.syntax[:64]}: {what}"
    columns, rows = header.shape
    if not (columns and rows):
        return Reason.CORRUPT_DICOM, "the header does not say Rows and Columns"
    if max(columns, rows) > _MOST_SIDE:
        return Reason.UNSUPPORTED_PIXELS, f"the header claims {columns} x {rows} pixels"
    bits, stored = words.get("bits_allocated", 0), words.get("bits_stored", 0)
    if bits not in _BITS or not 0 < stored <= min(bits, 31):
        return Reason.UNSUPPORTED_PIXELS, f"BitsAllocated is {bits}, BitsStored {stored}"
    if words.get("high_bit") != stored - 1:
        what = f"HighBit is {words.get('high_bit')} with BitsStored {stored}, expected {stored - 1}"
        return Reason.UNSUPPORTED_PIXELS, what
    if header.is_inverted and header.is_signed and stored < bits:
        what = f"MONOCHROME1 of {stored} signed bits, which its decoder refuses"
        return Reason.UNSUPPORTED_PIXELS, what
    if header.has_modality_lut:
        return Reason.UNSUPPORTED_PIXELS, "a Modality LUT, and no slope and intercept, gives HU"
    if not fits_stored_bits(header):
        what = f"PixelPaddingValue does not fit the {stored} bits that are stored"
        return Reason.UNSUPPORTED_PIXELS, f"{what}, so that padding is read as another value"
    return None


def _judge_geometry(header: SliceHeader) -> Problem | None:
    if header.bad_numbers:
        return Reason.BAD_HEADER, "; ".join(header.bad_numbers)
    slope, intercept = header.slope, header.intercept
    if slope is not None and not _SLOPES[0] <= abs(slope) <= _SLOPES[1]:
        return Reason.BAD_HEADER, f"RescaleSlope is {slope:g}"
    if intercept is not None and abs(intercept) > _MOST_INTERCEPT:
        return Reason.BAD_HEADER, f"RescaleIntercept is {intercept:g}"
    low, high = _SPACING_MM
    if header.pixel_spacing is None or not all(low <= mm <= high for mm in header.pixel_spacing):
        what = "not stated" if header.pixel_spacing is None else f"{header.pixel_spacing}"
        return Reason.SPACING_MISSING, f"PixelSpacing is {what}"
    if header.position is None:
        return Reason.POSITION_MISSING, "ImagePositionPatient is not stated"
    if max(map(abs, header.position)) > _MOST_POSITION_MM:
        return Reason.BAD_HEADER, f"ImagePositionPatient is {header.position}"
    if header.orientation is None:
        return Reason.ORIENTATION_MISSING, "ImageOrientationPatient is not stated"
    if find_axes(header.orientation) is None:
        what = "no pair of unit vectors at a right angle"
        return (
            Reason.ORIENTATION_MISSING,
            f"ImageOrientationPatient is {what}: {header.orientation}",
        )
    return None
