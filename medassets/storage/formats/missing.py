"""The one notion of a missing text: in cells of tables, in json, and in members of samples."""

_WORDS = frozenset({"", "nan", "none", "null", "n/a", "na", "<na>", "not given"})
# `str.strip` removes white space, but not the marks of UTF-8 and zero-width spaces.
_BLANKS = "\ufeff\u200b\u2060"

LONGEST_MISSING_BYTES = 64
"""A longer text is not missing; so only shorter members have to be read to find out."""


def clean_text(text: str) -> str | None:
    """Return a text without white space around it; None if it says that nothing is given.

    Missing are nothing at all, white space, and in any case, with or without a full stop: `nan`,
    `None`, `null`, `N/A`, `NA`, `<NA>` and `Not given.`.
    """
    word = _strip(_strip(text).rstrip(".")).lower()
    return None if word in _WORDS else text.strip()


def is_missing(text: str) -> bool:
    """Tell whether a text says that nothing is given; see `clean_text`."""
    return clean_text(text) is None


def _strip(text: str) -> str:
    stripped = text.strip()
    while stripped and (stripped[0] in _BLANKS or stripped[-1] in _BLANKS):
        stripped = stripped.strip(_BLANKS).strip()
    return stripped
