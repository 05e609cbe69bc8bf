"""Names of splits in folders and cells: `train`, `imagesTr`, `validation`, and what they are declared as."""

import re
from collections.abc import Collection

_ALIASES = {
    "train": "train",
    "training": "train",
    "tr": "train",
    "val": "valid",
    "valid": "valid",
    "validation": "valid",
    "va": "valid",
    "dev": "valid",
    "test": "test",
    "testing": "test",
    "ts": "test",
}
# Two letters name a split only behind the sort of files, as in `imagesTr`.
_SHORT = frozenset({"tr", "va", "ts"})
_STRUCTURAL = frozenset(
    {
        *("image", "images", "imaging", "img", "imgs", "volume", "volumes", "scan", "scans", "ct", "cts"),
        *("nifti", "niftis", "nii", "data", "dataset", "files", "raw", "fixed", "set", "split", "cases"),
    }
)  # fmt: skip
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")


def read_split_name(name: str, splits: Collection[str]) -> str | None:
    """Return the split that a folder or cell names; None if it names none.

    Args:
        name: A folder such as `imagesTr`, `train_fixed` or `Validation`, or a cell.
        splits: Declared names of splits.

    Returns:
        The declared name where one is meant, else `train`, `valid` or `test`.
    """
    lowered = name.strip().lower()
    if lowered in splits:
        return lowered
    words = [word.lower() for word in _WORD.findall(name)]
    meant = [word for word in words if word in _ALIASES]
    others = [word for word in words if word not in _ALIASES]
    if len(meant) != 1 or not all(word in _STRUCTURAL for word in others):
        return None
    if meant[0] in _SHORT and not others:
        return None
    split = _ALIASES[meant[0]]
    return next((one for one in splits if _ALIASES.get(one) == split), split)


def is_structural(folder: str) -> bool:
    """Tell whether a folder names a sort of files and no patient, such as `images` or `CT`."""
    words = [word.lower() for word in _WORD.findall(folder)]
    return bool(words) and all(word in _STRUCTURAL for word in words)
