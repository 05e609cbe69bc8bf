"""The patient of each file of a tree: from a column of the table, from its folder, or unknown."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from medassets.errors import CatalogError
from medassets.volumes.catalog.tree.names import drop_prefix, strip_ending
from medassets.volumes.catalog.tree.split_names import is_structural, read_split_name

_MOST_SHOWN = 5


def name_patient_folders(
    paths: Sequence[str], prefix: Sequence[str], *, splits: Collection[str], mode: str
) -> dict[str, str | None]:
    """Return the folder that is taken for the patient of each file; None where there is none.

    It is the first folder below those that all files share and those that name a split or a sort of
    files, such as `images`.

    Args:
        paths: Paths of the files.
        prefix: Folders that all files share.
        splits: Declared names of splits.
        mode: `auto`, `folder`, or `file`, with which no folder is a patient.
    """
    if mode == "file":
        return dict.fromkeys(paths)
    found = {path: _find_folder(drop_prefix(path, prefix)[:-1], splits) for path in paths}
    shared = _find_shared(prefix, splits)
    if mode == "folder" and shared is not None:
        return {path: folder or shared for path, folder in found.items()}
    return found


def check_shared_folder(
    patients: Mapping[str, str | None], prefix: Sequence[str], *, splits: Collection[str], mode: str
) -> None:
    """Refuse to guess whether the one folder of all files is a patient or the dataset.

    Args:
        patients: Path -> patient, None where it is not known.
        prefix: Folders that all files share.
        splits: Declared names of splits.
        mode: `auto`, `folder` or `file`.

    Raises:
        CatalogError: If several files of unknown patients share a folder that may be one.
    """
    shared = _find_shared(prefix, splits)
    unknown = [path for path, patient in patients.items() if patient is None]
    if mode == "auto" and shared is not None and len(unknown) > 1:
        msg = (
            f"{'/'.join(prefix)}/ holds all {len(unknown):,} files, and nothing says whether it is one "
            f"patient, whose files must be in one split: declare `patient_from: file` if each file is a patient "
            f"of its own, `patient_from: folder` if the folder is one, or a column, `columns: {{patient: ...}}`"
        )
        raise CatalogError(msg)


def find_leaks(split_of: Mapping[str, str], patient_of: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the patients that are in several splits, each with these splits.

    Args:
        split_of: Sample -> split.
        patient_of: Sample -> patient, of samples whose patient is known.
    """
    splits: dict[str, set[str]] = {}
    for sample, patient in patient_of.items():
        splits.setdefault(patient, set()).add(split_of[sample])
    return {patient: sorted(found) for patient, found in splits.items() if len(found) > 1}


def describe_leaks(leaks: Mapping[str, Sequence[str]]) -> str:
    """Return how many patients are in several splits, and the first of them."""
    shown = [f"{patient} ({', '.join(splits)})" for patient, splits in leaks.items()]
    more = f" and {len(shown) - _MOST_SHOWN:,} more" if len(shown) > _MOST_SHOWN else ""
    are = "patient is" if len(shown) == 1 else "patients are"
    return f"{len(shown):,} {are} in several splits: {', '.join(shown[:_MOST_SHOWN])}{more}"


def doubt_patients(patients: Mapping[str, str | None]) -> list[str]:
    """Return a sentence where folders can hardly be patients: few of them hold many files."""
    counts = Counter(patient for patient in patients.values() if patient is not None)
    if not counts or len(counts) * 10 > sum(counts.values()):
        return []
    names = ", ".join(sorted(counts)[:_MOST_SHOWN])
    return [
        f"{len(counts):,} folders ({names}) are taken for the patients of {sum(counts.values()):,} files; if "
        f"they are no patients, declare `patient_from: file`, or a column"
    ]


def doubt_names(split_of: Mapping[str, str]) -> list[str]:
    """Return a sentence where files of one name, whose patients are not known, are in several splits.

    Args:
        split_of: Path -> split, of files whose patient is not known.
    """
    splits: dict[str, set[str]] = {}
    for path, split in split_of.items():
        splits.setdefault(strip_ending(path).rpartition("/")[2], set()).add(split)
    names = sorted(name for name, found in splits.items() if len(found) > 1)
    if not names:
        return []
    return [
        f"{len(names):,} names of files occur in several splits ({', '.join(names[:_MOST_SHOWN])}), and nothing "
        f"names patients; if they are of the same patients, correct the splits"
    ]


def _find_folder(folders: Sequence[str], splits: Collection[str]) -> str | None:
    return next((one for one in folders if not _says_nothing(one, splits)), None)


def _find_shared(prefix: Sequence[str], splits: Collection[str]) -> str | None:
    """Return the innermost of the shared folders that may be a patient."""
    return next((one for one in reversed(prefix) if not _says_nothing(one, splits)), None)


def _says_nothing(folder: str, splits: Collection[str]) -> bool:
    return is_structural(folder) or read_split_name(folder, splits) is not None
