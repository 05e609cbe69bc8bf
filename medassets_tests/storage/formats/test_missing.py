"""One notion of missing: whatever the words, nothing was given."""

import pytest

from medassets.storage.formats.missing import LONGEST_MISSING_BYTES, clean_text, is_missing

WORDS = ("", "nan", "None", "null", "N/A", "NA", "<NA>", "Not given")
WRAPPED = [
    f"{before}{form}{after}"
    for word in WORDS
    for form in (word, word.upper(), word.lower(), f"{word}.")
    for before, after in (("", ""), ("  ", "\n"), ("\ufeff", "\u200b"), ("\xa0", " \t"))
]


def test_a_text_that_says_nothing_is_missing() -> None:
    for text in WRAPPED:
        assert is_missing(text), text
        assert clean_text(text) is None
        assert len(text.encode()) <= LONGEST_MISSING_BYTES


@pytest.mark.parametrize(
    "text", ["0", "No finding.", "None of the lobes", "NAD", "nano", "-", "n", "given", "N/A (1)"]
)
def test_other_texts_are_kept_without_white_space_around_them(text: str) -> None:
    assert clean_text(f" {text}\n") == text
