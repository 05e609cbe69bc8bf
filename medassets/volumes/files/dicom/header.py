"""What the header of one DICOM file says of one slice, without decoding a pixel."""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, Any

from medassets.errors import Reason, SampleRejectedError
from medassets.storage.unreadable import explain_unreadable
from medassets.volumes.files.dicom.packages import import_pydicom
from medassets.volumes.files.dicom.pixel_data import check_pixel_data

_PREAMBLE_BYTES = 132
_MAGIC = b"DICM"
# The first element of an image is a group length, a character set or a type of image.
_LONGEST_FIRST = 1 << 8
# Longer values are skipped: none that is read has more.
_LONGEST_VALUE = 1 << 12

_TEXTS = {
    "sop_class": 0x00080016,
    "sop_instance": 0x00080018,
    "study_uid": 0x0020000D,
    "series_uid": 0x0020000E,
    "accession": 0x00080050,
    "modality": 0x00080060,
    "patient_id": 0x00100020,
    "series_number": 0x00200011,
    "acquisition_number": 0x00200012,
    "acquisition_time": 0x00080032,
    "content_time": 0x00080033,
    "temporal_position": 0x00200100,
    "trigger_time": 0x00181060,
    "cardiac_phase": 0x00209241,
    "kernel": 0x00181210,
    "photometric": 0x00280004,
    "rescale_type": 0x00281054,
}
_LISTS = {"image_type": 0x00080008}
_NUMBERS = {
    "position": (0x00200032, 3),
    "orientation": (0x00200037, 6),
    "pixel_spacing": (0x00280030, 2),
    "slope": (0x00281053, 1),
    "intercept": (0x00281052, 1),
    "num_frames": (0x00280008, 1),
}
_WORDS = {
    "samples_per_pixel": 0x00280002,
    "rows": 0x00280010,
    "columns": 0x00280011,
    "bits_allocated": 0x00280100,
    "bits_stored": 0x00280101,
    "high_bit": 0x00280102,
    "pixel_representation": 0x00280103,
    "padding": 0x00280120,
    "padding_limit": 0x00280121,
}
_MODALITY_LUT = 0x00283000
_SYNTAX, _MEDIA_CLASS, _MEDIA_INSTANCE = 0x00020010, 0x00020002, 0x00020003
_TAGS = [
    *_TEXTS.values(),
    *_LISTS.values(),
    *(tag for tag, _ in _NUMBERS.values()),
    *_WORDS.values(),
    _MODALITY_LUT,
]


@dataclass(frozen=True, slots=True)
class SliceHeader:
    """Header of one file; a text that is absent or empty is "", a number None.

    Attributes:
        syntax: Transfer syntax UID; "" where the file does not state one.
        texts: Name -> value of the texts in `_TEXTS`; not for people, for they identify.
        image_type: Values of ImageType, in capitals.
        position: Centre of the first pixel, mm in LPS.
        orientation: Directions of a row and of a column.
        pixel_spacing: Step between rows, and step between columns, in mm.
        slope: RescaleSlope.
        intercept: RescaleIntercept.
        words: Name -> value of the numbers in `_WORDS`; `padding` as unsigned 16 bits.
        num_frames: NumberOfFrames; 1 where it is absent.
        has_modality_lut: Whether a table, and not slope and intercept, gives HU.
        bad_numbers: What cannot be read as numbers.
        pixel_problem: Why the pixel data are not whole; "" where they are.
    """

    syntax: str
    texts: Mapping[str, str] = field(repr=False)
    image_type: tuple[str, ...]
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    pixel_spacing: tuple[float, ...] | None
    slope: float | None
    intercept: float | None
    words: Mapping[str, int]
    num_frames: int
    has_modality_lut: bool
    bad_numbers: tuple[str, ...]
    pixel_problem: str

    def __getitem__(self, name: str) -> str:
        return self.texts.get(name, "")

    @property
    def is_signed(self) -> bool:
        """Whether stored values are two's complement."""
        return self.words.get("pixel_representation") == 1

    @property
    def is_inverted(self) -> bool:
        """Whether the least stored value is to be shown white; values mean the same."""
        return self["photometric"] == "MONOCHROME1"

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept; 1 and 0 where the header states none."""
        return self.slope or 1.0, self.intercept or 0.0

    @property
    def shape(self) -> tuple[int, int]:
        """Columns and rows."""
        return self.words.get("columns", 0), self.words.get("rows", 0)


def read_slice_header(file: IO[bytes]) -> SliceHeader | None:
    """Read the header of a file.

    Args:
        file: The open file, at its start; seekable.

    Returns:
        None if it is no DICOM file, or a directory of others (DICOMDIR).

    Raises:
        SampleRejectedError: CORRUPT_DICOM if the header is cut or damaged.
    """
    has_preamble = _look(file)
    if has_preamble is None:
        return None
    pydicom = import_pydicom()
    try:
        found = pydicom.dcmread(
            file,
            stop_before_pixels=True,
            force=not has_preamble,
            specific_tags=_TAGS,
            defer_size=_LONGEST_VALUE,
        )
    except MemoryError:
        raise
    except Exception as error:
        # pydicom raises OSError without a number for damaged content.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        detail = f"the header cannot be read ({type(error).__name__})"
        raise SampleRejectedError(Reason.CORRUPT_DICOM, detail) from error
    if not has_preamble and not _says_image(found):
        return None
    meta = found.file_meta
    if _read_text(meta, _MEDIA_CLASS) == pydicom.uid.MediaStorageDirectoryStorage:
        return None
    return _make_header(found, meta, file)


def read_tags(file: IO[bytes], names: tuple[str, ...]) -> dict[str, str | None]:
    """Return what a header says under the names of some elements, as text; None where nothing.

    Args:
        file: The open file, at its start.
        names: Keywords of elements, such as `KVP`.
    """
    pydicom = import_pydicom()
    found = pydicom.dcmread(file, stop_before_pixels=True, force=True, specific_tags=[*names])
    return {name: _as_text(found.get(name)) for name in names}


def is_directory(path: str) -> bool:
    """Tell whether a file is named as the list of the others of a medium, which is no image.

    Source: DICOM PS3.10, 8.6.
    """
    return path.rpartition("/")[2].upper() == "DICOMDIR"


def begins_like_dicom(start: bytes) -> bool:
    """Tell whether a file that begins with these 132 bytes is DICOM, as far as they can say.

    Files without a preamble begin with an element of group 2 or 8, whose value has an explicit type or a
    short length.
    """
    if _look(io.BytesIO(start)):
        return True
    is_like = _look(io.BytesIO(start)) is False
    length = int.from_bytes(start[4:8], "little")
    is_explicit = start[4:6].isalpha() and start[4:6].isupper()
    return is_like and (is_explicit or length <= _LONGEST_FIRST)


def hide_name(error: OSError) -> SampleRejectedError | OSError:
    """Return the error of a file that cannot be read without its name, which may name a person.

    Returns:
        A rejection; an error of the system if the machine is the cause, and not the file.
    """
    if explain_unreadable(error) is None and not isinstance(error, FileNotFoundError):
        return OSError(error.errno, error.strerror)
    what = f"a file of the series cannot be read ({error.strerror})"
    return SampleRejectedError(Reason.UNREADABLE_SOURCE, what)


def is_keyword(name: str) -> bool:
    """Tell whether a text is the keyword of an element of the DICOM standard that holds text or numbers."""
    pydicom = import_pydicom()
    tag = pydicom.datadict.tag_for_keyword(name)
    if tag is None:
        return False
    kind = pydicom.datadict.dictionary_VR(tag)
    return kind not in ("SQ", "UN") and not kind.startswith("O")


def _as_text(value: Any) -> str | None:
    text = "" if value is None else str(value).strip()
    if value is not None and not isinstance(value, str) and hasattr(value, "__iter__"):
        text = "\\".join(str(one) for one in value)
    return text or None


def _look(file: IO[bytes]) -> bool | None:
    """Return whether a file has the preamble of DICOM; None if it does not begin like one."""
    start = file.read(_PREAMBLE_BYTES)
    file.seek(0)
    if start[128:] == _MAGIC:
        return True
    # Files of old, without a preamble, begin with an element of group 2 or 8.
    group, element = int.from_bytes(start[:2], "little"), int.from_bytes(start[2:4], "little")
    is_like = len(start) == _PREAMBLE_BYTES and group in (2, 8) and element < 0x0100
    return False if is_like else None


def _says_image(found: Any) -> bool:
    return bool(_read_text(found, _TEXTS["modality"]) and _read_words(found).get("rows"))


def _make_header(found: Any, meta: Any, file: IO[bytes]) -> SliceHeader:
    texts = {name: _read_text(found, tag) for name, tag in _TEXTS.items()}
    # Where a file is cut inside its own, that of the meta group is whole.
    texts["sop_class"] = _read_text(meta, _MEDIA_CLASS) or texts["sop_class"]
    texts["sop_instance"] = texts["sop_instance"] or _read_text(meta, _MEDIA_INSTANCE)
    numbers, bad = _read_numbers(found)
    words = _read_words(found)
    syntax = _read_text(meta, _SYNTAX)
    frames = numbers.pop("num_frames")
    num_frames = int(frames[0]) if frames and math.isfinite(frames[0]) else 1
    slope, intercept = numbers.pop("slope"), numbers.pop("intercept")
    image_type = _read_text(found, _LISTS["image_type"]).upper().split("\\")
    return SliceHeader(
        syntax=syntax,
        texts={name: text for name, text in texts.items() if text},
        image_type=tuple(one.strip() for one in image_type if one.strip()),
        slope=slope[0] if slope else None,
        intercept=intercept[0] if intercept else None,
        words=words,
        num_frames=num_frames,
        has_modality_lut=_MODALITY_LUT in found,
        bad_numbers=tuple(bad),
        pixel_problem=_look_at_pixels(file, found, syntax, words, num_frames),
        **numbers,
    )


def _look_at_pixels(
    file: IO[bytes], found: Any, syntax: str, words: Mapping[str, int], num_frames: int
) -> str:
    if syntax == import_pydicom().uid.DeflatedExplicitVRLittleEndian:
        # The header was inflated to memory; decoding finds what is missing.
        return ""
    implicit, little = found.original_encoding
    bits = words.get("bits_allocated", 0) * words.get("samples_per_pixel", 1)
    num_bytes = words.get("rows", 0) * words.get("columns", 0) * num_frames * bits // 8
    return check_pixel_data(
        file, num_bytes, is_implicit=bool(implicit), is_little=little is not False
    )


def _read_raw(found: Any, tag: int) -> tuple[bytes, bool]:
    """Return the bytes of an element, and whether their order is little-endian."""
    element = found.get_item(tag, keep_deferred=True) if tag in found else None
    value = getattr(element, "value", None)
    if isinstance(value, bytes):
        return value, getattr(element, "is_little_endian", True)
    if value is None or not isinstance(value, str | int):
        return b"", True
    # Elements of the file's meta group are decoded already.
    return str(value).encode(), True


def _read_text(found: Any, tag: int) -> str:
    return _read_raw(found, tag)[0].decode("ascii", "backslashreplace").strip(" \0\t\r\n")


def _read_numbers(found: Any) -> tuple[dict[str, Any], list[str]]:
    numbers: dict[str, Any] = {}
    bad: list[str] = []
    for name, (tag, count) in _NUMBERS.items():
        text = _read_text(found, tag)
        numbers[name] = None
        if not text:
            continue
        parts = text.split("\\")
        try:
            values = tuple(float(part) for part in parts)
        except ValueError:
            bad.append(f"{name} {text[:60]!r} is no number")
            continue
        if len(values) < count or not all(map(math.isfinite, values)):
            bad.append(f"{name} {text[:60]!r}: expected {count} finite numbers")
            continue
        numbers[name] = values[:count]
    return numbers, bad


def _read_words(found: Any) -> dict[str, int]:
    words: dict[str, int] = {}
    for name, tag in _WORDS.items():
        value, is_little = _read_raw(found, tag)
        if len(value) >= 2:
            words[name] = int.from_bytes(value[:2], "little" if is_little else "big")
    return words
