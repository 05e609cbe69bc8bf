"""The one notion of a missing text: in cells of tables, in json, and in members of samples."""

import re
import unicodedata

# What pandas reads as missing. Source: pandas, `read_csv`, argument `na_values`.
_PANDAS = frozenset(
    {
        *("", "nan", "-nan", "none", "null", "n/a", "na", "<na>", "#n/a", "#n/a n/a", "#na"),
        *("1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"),
    }
)
# What a spreadsheet shows in a cell without a value.
_ERRORS = frozenset({"#null!", "#div/0!", "#value!", "#ref!", "#name?", "#num!"})
_WORDS = _PANDAS | _ERRORS | {"not given", "n.a", "n. a", "n / a", "nat"}
_DASHES = re.compile(r"[-\u2010-\u2015\u2212]+")
_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb"
_WORD = re.compile(r"[^\s,;|]+")

LONGEST_MISSING_BYTES = 64
"""A catalog reads shorter members only to find out whether they are missing."""


def clean_text(text: str) -> str | None:
    """Return a text without white space around it; None if it says that nothing is given.

    Missing are nothing at all, white space, dashes, and in any case, with or without quotes and a full
    stop: `nan`, `None`, `null`, `N/A`, `n.a.`, `NA`, `<NA>`, `#N/A`, `NaT`, `Not given.`, the errors
    of spreadsheets, and several of these.
    """
    words = (match.group() for match in _WORD.finditer(_strip(text)))
    if _says_nothing(text) or all(map(_says_nothing, words)):
        return None
    return text.strip()


def is_missing(text: str) -> bool:
    """Tell whether a text says that nothing is given; see `clean_text`."""
    return clean_text(text) is None


def _says_nothing(text: str) -> bool:
    word = _strip(_strip(_strip(text).strip(_QUOTES)).rstrip(".")).lower()
    return word in _WORDS or _DASHES.fullmatch(word) is not None


def _strip(text: str) -> str:
    """Return a text without white space and invisible characters at its ends."""
    start, end = 0, len(text)
    while start < end and _is_blank(text[start]):
        start += 1
    while start < end and _is_blank(text[end - 1]):
        end -= 1
    return text[start:end]


def _is_blank(char: str) -> bool:
    # Control characters and marks such as that of UTF-8 and zero-width spaces.
    return char.isspace() or unicodedata.category(char) in ("Cc", "Cf")
