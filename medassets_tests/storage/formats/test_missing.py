"""One notion of missing: whatever the words, nothing was given."""

import pytest
from pandas._libs.parsers import STR_NA_VALUES

from medassets.storage.formats.missing import LONGEST_MISSING_BYTES, clean_text, is_missing

WORDS = ("", "nan", "None", "null", "N/A", "NA", "<NA>", "Not given")
WRAPPED = [
    f"{before}{form}{after}"
    for word in WORDS
    for form in (word, word.upper(), word.lower(), f"{word}.")
    for before, after in (("", ""), ("  ", "\n"), ("\ufeff", "\u200b"), ("\xa0", " \t"))
]


def test_every_word_that_pandas_takes_for_missing_is_missing() -> None:
    assert [word for word in STR_NA_VALUES if not is_missing(word)] == []


@pytest.mark.parametrize(
    "text",
    [
        *("#N/A", "#NA", "N.A.", "n. a.", "NaT", "-", "--", "\u2013", "nan nan", '"nan"', "'N/A'"),
        *("nan, nan", "None; None.", "#DIV/0!", " " * 80, "\n" * 70 + "nan", "\0" * 90),
        *("\u201cNone\u201d", "nan " * 50, '""', "-nan"),
    ],
)
def test_words_of_spreadsheets_dashes_quotes_and_repetitions_are_missing(text: str) -> None:
    assert is_missing(text)


def test_a_text_that_says_nothing_is_missing() -> None:
    for text in WRAPPED:
        assert is_missing(text), text
        assert clean_text(text) is None
        assert len(text.encode()) <= LONGEST_MISSING_BYTES


@pytest.mark.parametrize(
    "text",
    [
        *(
            "0",
            "No finding.",
            "None of the lobes",
            "NAD",
            "nano",
            "n",
            "given",
            "N/A (1)",
            "No",
            "?",
        ),
        *(
            "- clear lungs",
            "-1",
            "#1",
            '"Normal"',
            "Na 140",
            "none, no nodule",
            "nan nodule",
            "NAT2",
        ),
    ],
)
def test_other_texts_are_kept_without_white_space_around_them(text: str) -> None:
    assert clean_text(f" {text}\n") == text
