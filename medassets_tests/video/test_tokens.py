"""Tokens of texts: those of OpenAI's own algorithm, whatever computes them."""

import importlib.util
import itertools
import json
import sys
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from medassets.errors import SpecError
from medassets.video.tokens import Tokenizer, clean_text, open_tokenizer

# Ids that OpenAI publishes beside its model, and hand-counted ones.
KNOWN = {
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "a diagram": [320, 22697],
    "A DOG": [320, 1929],
    "hello world!": [3306, 1002, 256],
    "": [],
    " \n\t ": [],
}
CLEANED = {
    "  Zwei\n\tWorte\u00a0 ": "zwei worte",
    "&lt;b&gt; R&amp;amp;D": "<b> r&d",
    "schÃ¶n": "schön",
    "â€œquotedâ€\x9d": '"quoted"',
    "\uff26\uff35\uff2c\uff2c \uff57ide": "full wide",
    "ligature ﬁ": "ligature fi",
    "\x1b[31mred\x1b[0m": "red",
    "lone \ud83d surrogate": "lone � surrogate",
}
HARD = (
    "it's, they're, I'd, we'll, you've, don't, O'Neil 's",
    "room 2024b: 3.14 € — 50% off!!! (a_b) #tag @you",
    "naïve café Ærøskøbing straße ΣΊΣΥΦΟΣ İstanbul",
    "日本語のテキスト 中文字幕 한국어 자막",
    "السلام عليكم נכון नमस्ते ภาษาไทย",
    "😀👩\u200d👩\u200d👧\U0001f1e9\U0001f1ea ☃ \ufeff",
    "&quot;R&amp;amp;D&quot; &#x1F600; &nbsp; &unknown;",
    "schÃ¶ne GrÃ¼ÃŸe â€“ voilÃ\xa0",
    "e\u0301 ﬁ ½ ² ① Ⅷ ℃ \u0660\u0661",
    "<|endoftext|> in a text <|startoftext|>",
    "word " * 400,
    "a" * 500,
    "\x00\x1f\u2028\u3000x\u200b",
)


@cache
def read_merges() -> list[tuple[str, str]]:
    """Read the pairs that stand in plain text inside `instant-clip-tokenizer`."""
    spec = importlib.util.find_spec("instant_clip_tokenizer")
    if spec is None or not spec.submodule_search_locations:
        pytest.skip("instant-clip-tokenizer, which carries the vocabulary, is not installed")
    library = next(Path(spec.submodule_search_locations[0]).glob("*.so")).read_bytes()
    head = b"bpe_simple_vocab_16e6.txt#version: 0.2\n"
    start = library.index(head) + len(head)
    lines = library[start : start + 2_000_000].split(b"\n")[: 49_152 - 256 - 2]
    return [(left, right) for left, right in (line.decode().split() for line in lines)]


@cache
def name_bytes() -> dict[int, str]:
    """Give every byte a printable character, as GPT-2 does."""
    kept = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in kept]
    return {byte: chr(byte) for byte in kept} | {b: chr(256 + n) for n, b in enumerate(others)}


@cache
def read_vocabulary() -> dict[str, int]:
    """Number the tokens as OpenAI does: bytes, bytes that end a word, pairs, two markers."""
    letters = list(name_bytes().values())
    tokens = [*letters, *(letter + "</w>" for letter in letters)]
    tokens += [left + right for left, right in read_merges()]
    return {token: index for index, token in enumerate(tokens)}


def part_words(text: str) -> list[str]:
    """Part a clean text into words, digits and runs of the rest, by Unicode categories."""
    words: list[str] = []
    at = 0
    while at < len(text):
        ending = next((e for e in ENDINGS if text.startswith(e, at)), None)
        kind = classify(text[at])
        run = "".join(next(itertools.groupby(text[at:], classify))[1])
        word = ending or (text[at] if kind == "N" else run)
        if ending or kind != " ":
            words.append(word)
        at += len(word)
    return words


ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")


def classify(letter: str) -> str:
    """Return L, N, a blank or the rest's dot."""
    if letter.isspace():
        return " "
    kind = unicodedata.category(letter)[0]
    return kind if kind in "LN" else "."


@cache
def rank_pairs() -> dict[tuple[str, str], int]:
    """Number the pairs in the order they were learned."""
    return {pair: rank for rank, pair in enumerate(read_merges())}


def merge_pairs(word: str) -> list[int]:
    """Merge the pair that was learned first, until none is left."""
    ranks = rank_pairs()
    parts = [name_bytes()[byte] for byte in word.encode()]
    parts[-1] += "</w>"
    while True:
        found = [
            (ranks.get(pair, len(ranks)), at) for at, pair in enumerate(itertools.pairwise(parts))
        ]
        if not found or min(found)[0] == len(ranks):
            return [read_vocabulary()[part] for part in parts]
        at = min(found)[1]
        parts[at : at + 2] = [parts[at] + parts[at + 1]]


def expect_tokens(text: str) -> np.ndarray:
    """Return the tokens of a text by OpenAI's algorithm, written down once more."""
    ids = list(itertools.chain.from_iterable(map(merge_pairs, part_words(clean_text(text)))))
    tokens = [49406, *ids[:75], 49407]
    return np.array(tokens + [0] * (77 - len(tokens)), np.int64)


@pytest.fixture(scope="module")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A `tokenizer.json` as Transformers has it, with what we do not want of it."""
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    markers = {"<|startoftext|>": 49406, "<|endoftext|>": 49407}
    model = {
        "type": "BPE",
        "vocab": read_vocabulary() | markers,
        "merges": [f"{left} {right}" for left, right in read_merges()],
    }
    settings = {"truncation": {"max_length": 5}, "padding": {"pad_id": 49407}}
    path.write_text(json.dumps({"version": "1.0", **settings, "model": model}))
    return path


@pytest.fixture(scope="module", params=["instant-clip-tokenizer", "tokenizers"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if importlib.util.find_spec(request.param.replace("-", "_")) is None:
        pytest.skip(f"{request.param} is not installed")
    if request.param == "tokenizers":
        return open_tokenizer(str(request.getfixturevalue("tokenizer_json")))
    return open_tokenizer()


@pytest.mark.parametrize("text", KNOWN)
def test_tokens_are_those_that_are_known(text: str, tokenizer: Tokenizer) -> None:
    ids = [49406, *KNOWN[text], 49407]
    tokens = tokenizer.encode(text)
    assert (tokens.dtype, tokens.shape) == (np.int64, (77,))
    assert tokens.tolist() == ids + [0] * (77 - len(ids))


@pytest.mark.parametrize("text", HARD, ids=lambda text: text[:12])
def test_tokens_of_hard_texts_are_those_of_the_published_algorithm(
    text: str, tokenizer: Tokenizer
) -> None:
    np.testing.assert_array_equal(tokenizer.encode(text), expect_tokens(text))


@pytest.mark.parametrize("text", CLEANED)
def test_texts_are_cleaned_first(text: str) -> None:
    assert clean_text(text) == CLEANED[text]


def test_a_long_text_is_cut_and_still_ends(tokenizer: Tokenizer) -> None:
    assert tokenizer.encode("dog " * 75).tolist() == [49406, *[1929] * 75, 49407]
    assert tokenizer.encode("dog " * 76).tolist() == [49406, *[1929] * 75, 49407]
    assert tokenizer.encode("dog " * 74).tolist() == [49406, *[1929] * 74, 49407, 0]


@pytest.mark.parametrize("letters", ["a", "<", "Ã©", "&amp;"])
def test_a_hostile_text_takes_no_time(letters: str, tokenizer: Tokenizer) -> None:
    started = time.process_time()
    assert tokenizer.encode(letters * 1_000_000)[76] in (0, 49407)
    assert time.process_time() - started < 2


def test_a_marker_in_a_text_does_not_end_it(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("<|endoftext|> a dog").tolist()
    assert (tokens.count(49407), tokens.index(49407)) == (1, 9)


def test_both_backends_give_one_name_and_the_same_tokens_of_every_letter(
    tokenizer_json: Path,
) -> None:
    pytest.importorskip("tokenizers")
    first, second = open_tokenizer(), open_tokenizer(str(tokenizer_json))
    assert first.name == second.name
    # What this Python does not know is newer than what the backends may know.
    letters = [c for c in map(chr, range(0x3000)) if unicodedata.category(c) not in ("Cn", "Cs")]
    for at in range(0, len(letters), 12):
        text = "x".join(letters[at : at + 12])
        np.testing.assert_array_equal(first.encode(text), second.encode(text))


def test_threads_do_not_disturb_each_other(tokenizer: Tokenizer) -> None:
    texts = [*HARD[:10], *KNOWN] * 8
    expected = [tokenizer.encode(text).tolist() for text in texts]
    with ThreadPoolExecutor(4) as pool:
        assert [t.tolist() for t in pool.map(tokenizer.encode, texts)] == expected


def test_a_file_that_is_not_of_clip_is_refused(tokenizer_json: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "tokenizer.json"
    with pytest.raises(SpecError, match=r"tokenizer: .* cannot be read \(No such file"):
        open_tokenizer(str(path))
    for content in ("{", "[]", '{"model": {"vocab": {}}}', '{"model": null}'):
        path.write_text(content)
        with pytest.raises(SpecError, match=r"is not a tokenizer\.json of byte pairs"):
            open_tokenizer(str(path))
    document = json.loads(tokenizer_json.read_text())
    for part, change in (("vocab", {"dog</w>": 7}), ("merges", None)):
        changed = json.loads(json.dumps(document))
        if change is None:
            changed["model"][part].reverse()
        else:
            changed["model"][part] |= change
        path.write_text(json.dumps(changed))
        with pytest.raises(SpecError, match="does not have the vocabulary of OpenAI's CLIP"):
            open_tokenizer(str(path))


def test_a_missing_package_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "instant_clip_tokenizer", None)
    with pytest.raises(SpecError, match=r'pip install "medassets\[tokenizers\]" and declare'):
        open_tokenizer()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(SpecError, match=r'needs tokenizers: pip install "medassets\[tokenizers\]"'):
        open_tokenizer("/some/tokenizer.json")
