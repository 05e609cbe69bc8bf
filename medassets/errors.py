"""Every error class of medassets, and the reasons why a source item is rejected."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Any


class Reason(StrEnum):
    """Why a source item did not become a sample.

    The codes are stored in shard records and manifests; a code is never renamed.
    """

    MISSING_UPSTREAM = "missing_upstream"
    CHECKSUM_MISMATCH = "checksum_mismatch"
    CORRUPT_GZIP = "corrupt_gzip"
    CORRUPT_TAR = "corrupt_tar"
    CORRUPT_NPZ = "corrupt_npz"
    CORRUPT_DICOM = "corrupt_dicom"
    BAD_HEADER = "bad_header"
    BAD_NAME = "bad_name"
    DUPLICATE_ROW = "duplicate_row"
    MISSING_LABELS = "missing_labels"
    BAD_LABELS = "bad_labels"
    MISSING_REPORT = "missing_report"
    MISSING_METADATA = "missing_metadata"
    SPACING_MISSING = "spacing_missing"
    SPACING_MISMATCH = "spacing_mismatch"
    ORIENTATION_MISSING = "orientation_missing"
    UNEXPECTED_ORIENTATION = "unexpected_orientation"
    TOO_FEW_SLICES = "too_few_slices"
    TOO_LARGE = "too_large"
    CONSTANT_VOLUME = "constant_volume"
    NOT_FINITE = "not_finite"
    HU_RULE_MISSING = "hu_rule_missing"
    HU_RULE_CONFLICT = "hu_rule_conflict"
    HU_IMPLAUSIBLE = "hu_implausible"
    VALUES_IMPLAUSIBLE = "values_implausible"
    NO_CHEST = "no_chest"
    PRECISION = "precision"
    MISSING_SOURCE = "missing_source"
    UNREADABLE_SOURCE = "unreadable_source"
    READER_FAILED = "reader_failed"
    OUT_OF_MEMORY = "out_of_memory"
    LFS_POINTER = "lfs_pointer"
    AMBIGUOUS_SOURCE = "ambiguous_source"
    OTHER_DEPTH = "other_depth"
    OTHER_SPLIT = "other_split"
    HIDDEN_FILE = "hidden_file"
    NAME_EXCLUDED = "name_excluded"
    OTHER_MODALITY = "other_modality"
    LOCALIZER = "localizer"
    DERIVED_IMAGE = "derived_image"
    ENHANCED_MULTIFRAME = "enhanced_multiframe"
    COLOUR_IMAGE = "colour_image"
    UNSUPPORTED_SYNTAX = "unsupported_syntax"
    UNSUPPORTED_PIXELS = "unsupported_pixels"
    POSITION_MISSING = "position_missing"
    MISSING_SLICE = "missing_slice"
    DUPLICATE_SLICE = "duplicate_slice"
    UNEVEN_SLICES = "uneven_slices"
    MIXED_SLICES = "mixed_slices"
    MIXED_ORIENTATION = "mixed_orientation"
    GANTRY_TILT = "gantry_tilt"
    SEVERAL_ACQUISITIONS = "several_acquisitions"
    FOUR_DIMENSIONAL = "four_dimensional"
    BAD_RECORD = "bad_record"
    NULL_POSITION = "null_position"
    BAD_POSITION = "bad_position"
    BAD_SIZE = "bad_size"
    EMPTY_TEXT = "empty_text"
    NO_VIDEO_STREAM = "no_video_stream"
    DECODE_FAILED = "decode_failed"
    DECODER_TIMEOUT = "decoder_timeout"
    DECODER_KILLED = "decoder_killed"
    END_BEYOND_DURATION = "end_beyond_duration"
    TOO_SHORT = "too_short"


TRANSIENT_REASONS = frozenset(
    {
        *(Reason.DECODER_TIMEOUT, Reason.DECODER_KILLED),
        *(Reason.UNREADABLE_SOURCE, Reason.OUT_OF_MEMORY),
    }
)
"""Rejections that may be due to the machine, not the file; `medassets retry` tries them again."""

ABSENT_REASONS = frozenset({Reason.MISSING_SOURCE, Reason.MISSING_UPSTREAM})
"""The source does not have the item's file, such as a video that was never downloaded."""

RULE_REASONS = frozenset(
    {
        *(Reason.NO_CHEST, Reason.NULL_POSITION),
        *(Reason.OTHER_SPLIT, Reason.HIDDEN_FILE, Reason.NAME_EXCLUDED),
        *(Reason.OTHER_MODALITY, Reason.LOCALIZER, Reason.DERIVED_IMAGE),
    }
)
"""The dataset or its declaration leaves the item out: listed as no chest CT, text without a position, a mask
or hidden file by its name, a DICOM object of another sort, or in a split that is not declared.

Every other reason counts against `max_excluded_share`: the item is there and cannot be used.
"""


class MedassetsError(Exception):
    """Base class of every error that medassets raises for a foreseen condition."""


def find_error(name: str | None) -> type[MedassetsError] | None:
    """Return the error class of a name, as another process reported it; None if it is not ours."""
    return next((kind for kind in _list_kinds(MedassetsError) if kind.__name__ == name), None)


def _list_kinds(kind: type[MedassetsError]) -> Iterator[type[MedassetsError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _list_kinds(narrower)


class UsageError(MedassetsError, ValueError):
    """An option, an argument or a setting has a value that cannot be used.

    Attributes:
        field: Name of the option, argument or setting, as the user writes it.
        what: What was expected, what was given, and the remedy.
    """

    def __init__(self, *, field: str, what: str) -> None:
        super().__init__(f"{field}: {what}")
        self.field = field
        self.what = what

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error pass from one process to another."""
        return partial(type(self), field=self.field, what=self.what), ()


class SpecError(UsageError):
    """A field of a declaration has a value that cannot be used.

    Attributes:
        field: Name of the declared field.
        what: What was expected, what was given, and the remedy.
    """


class CatalogError(MedassetsError, ValueError):
    """A source table or a stored catalog cannot be used; the message names file, row and column."""


class LostCatalogError(CatalogError):
    """The catalog is gone, but shards that were made from it are on disk."""


class SampleRejectedError(MedassetsError, ValueError):
    """One source item cannot become a sample; the shard is written without it.

    Attributes:
        reason: Code that is stored in the shard record.
        detail: One sentence for the user; deterministic, without paths of this machine.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class SourceAccessError(MedassetsError, PermissionError):
    """The source refuses access (401, 403); a retry does not help."""


class RevisionGoneError(SourceAccessError):
    """The source does not have a revision; its history may have been squashed or moved."""


class SourceUnavailableError(MedassetsError, ConnectionError):
    """The source did not answer within the allowed number of retries."""


class HubAnswerError(MedassetsError, ValueError):
    """One answer of a hub cannot be used; the request that it answers is retried or given up.

    Attributes:
        is_permanent: Whether every further answer will be as this one.
    """

    def __init__(self, message: str, *, is_permanent: bool = False) -> None:
        super().__init__(message)
        self.is_permanent = is_permanent


class DiskSpaceError(MedassetsError, OSError):
    """Not enough free disk or staging budget; the message says how much is needed."""


class DatabaseError(MedassetsError, ConnectionError):
    """The database of the Dagster instance does not answer."""


class MixedOrientationError(MedassetsError, ValueError):
    """The volumes of a dataset do not have one orientation; the message gives counts and remedy."""


class IncompleteManifestError(MedassetsError, ValueError):
    """A manifest lacks samples, and the caller asked for a complete one."""


class ManifestShrinkError(MedassetsError, RuntimeError):
    """A manifest would list fewer samples than the published one."""


class ShardIntegrityError(MedassetsError, ValueError):
    """A shard on disk differs from its record; the message names the shard and the sample."""


class DamagedTarError(ShardIntegrityError):
    """A tar file is damaged, incomplete or not a tar; the message names the file.

    Attributes:
        what: What is wrong, without the name of the file and without the remedy.
    """

    def __init__(self, message: str, what: str = "") -> None:
        super().__init__(message)
        self.what = what or message


class UnterminatedTarError(DamagedTarError):
    """A tar ends behind a whole member, without the end mark of a closed tar."""


class WrongLoaderError(MedassetsError, ValueError):
    """Shards were opened by a class for samples of another kind; the message names the right one."""


class TooManyRejectedError(MedassetsError, RuntimeError):
    """More samples of a shard were rejected than the declaration allows; nothing was published."""


class ReclaimError(MedassetsError, RuntimeError):
    """Source files cannot be deleted, or a shard cannot be rebuilt because they were deleted."""


class RefusedByDiskError(MedassetsError, OSError):
    """The system does not allow what is asked of a file or folder: its owner, mode or sort differs."""


class ForeignFileError(MedassetsError, FileExistsError):
    """A file or folder in the way was not made by medassets, or was changed since; it stays."""


class JournalHeaderError(MedassetsError, ValueError):
    """A journal begins with another header: it is of another version, plan, format or dataset.

    Attributes:
        found: The header that the journal has.
    """

    def __init__(self, path: Path, found: Mapping[str, Any]) -> None:
        super().__init__(f"{path}: not the expected journal; it begins with {dict(found)}")
        self.found = found


class LaterVersionError(MedassetsError, RuntimeError):
    """A file was written by a later version of medassets; it is neither used nor replaced."""

    def __init__(self, where: Path | str, what: str) -> None:
        super().__init__(
            f"{where}: written by a later version of medassets ({what}); it is neither used nor replaced. "
            f"Update medassets. Only to go back for good, move it away with the files that belong to it"
        )
        self._arguments = where, what

    def __reduce__(self) -> tuple[Any, ...]:
        """Let the error pass from one process to another."""
        return type(self), self._arguments


class LockTimeoutError(MedassetsError, TimeoutError):
    """Another process held a lock for longer than the caller waits."""


class DecoderUnavailableError(MedassetsError, RuntimeError):
    """The requested decoder does not work on this machine; the message says what is missing."""


class DecoderLostError(SampleRejectedError):
    """The decoder process ended, or stopped answering, during a call.

    DECODER_KILLED means SIGKILL, which no codec raises: the kernel was short of memory, or a
    user killed the process.
    """


class GarbledMessageError(MedassetsError, ValueError):
    """Bytes between a decoder process and its parent are not a valid message."""


class DamagedPacketError(MedassetsError, ValueError):
    """A packet cannot be decoded, or decodes to a picture that cannot be trusted."""


class UnplannedError(MedassetsError, RuntimeError):
    """The decoder returns other frames than the packets promise."""


class WindowFileError(MedassetsError, ValueError):
    """A window mask cannot be read; the message names the file."""


class FetchStoppedError(MedassetsError, RuntimeError):
    """A fetch was stopped because its result is no longer needed."""
