"""Tokenize texts to the 77 tokens of CLIP."""

import hashlib
import html
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from medassets.errors import SpecError
from medassets.storage.checksums import parse_json
from medassets.storage.unreadable import read_regular

CONTEXT_LENGTH = 77
START_TOKEN = 49406
END_TOKEN = 49407

TOKENIZER = (
    "CLIP byte pairs, 77 int64: 49406, text, 49407, zeros; text by ftfy.fix_text, html.unescape "
    "twice, white space folded, lower case; markers in a text are text; 20,000 characters at most"
)
"""The arithmetic of the tokens, for the sample's json; every backend gives the same."""

VOCABULARY_SHA256 = "ee7a4423aea96d705babd8004aa41e3696ffd366e5d8f3227d4fa057768d60e0"
"""Of the 49,406 text tokens, in the order of their ids, one per line.

Files with another vocabulary are refused, so tokens do not depend on the tokenizer's path.
"""

_NUM_BYTES = 512
"""Tokens of a single byte, inside a word and at its end."""

# Cleaning and merging are quadratic in a word's length: seconds for a megabyte of hostile text.
# In every language, 75 tokens are within the first few hundred characters.
_MOST_CHARACTERS = 20_000

_WORD = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""Source: clip/simple_tokenizer.py, github.com/openai/CLIP; markers left out."""

_WHITE_SPACE = re.compile(r"\s+")
_REMEDY = (
    'pip install "medassets[tokenizers]" and declare tokenizer: the path of the tokenizer.json of '
    "openai/clip-vit-base-patch32, or of another model with OpenAI's vocabulary"
)


class Tokenizer(Protocol):
    """Turns texts into tokens; thread-safe."""

    @property
    def name(self) -> str:
        """Description of the algorithm, which determines the tokens of a text."""
        ...

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return the tokens of a text.

        Returns:
            Shape (77,): 49406, the text's tokens, 49407, zeros. A text of more than 75 tokens is
            cut, and 49407 is the last.
        """
        ...


Encode = Callable[[str], Sequence[int]]


def open_tokenizer(path: str = "") -> Tokenizer:
    """Open the tokenizer of CLIP.

    Args:
        path: A `tokenizer.json` with OpenAI's vocabulary, read by `tokenizers`. Empty uses the
            vocabulary of `instant-clip-tokenizer`, which has wheels up to Python 3.12, and
            none for Linux on ARM.

    Raises:
        SpecError: If the required package is not installed, or the file is not CLIP's.
    """
    if path:
        return _Tokenizer(_open_file(Path(path).expanduser()))
    if find_spec("instant_clip_tokenizer") is None:
        raise SpecError(
            field="tokenizer", what=f"instant-clip-tokenizer is not installed; {_REMEDY}"
        )
    return _Tokenizer(import_module("instant_clip_tokenizer").Tokenizer().encode)


def clean_text(text: str) -> str:
    """Clean a text, cut to 20,000 characters, as CLIP does before it applies byte pairs.

    Source: `basic_clean` and `whitespace_clean` of clip/simple_tokenizer.py, github.com/openai/CLIP.
    """
    import ftfy

    mended = html.unescape(html.unescape(ftfy.fix_text(text[:_MOST_CHARACTERS])))
    return _WHITE_SPACE.sub(" ", mended).strip().lower()


def _open_file(path: Path) -> Encode:
    """Read vocabulary and merges of a file; other settings are ignored, since files differ in them."""
    if find_spec("tokenizers") is None:
        what = f'reading {path} needs tokenizers: pip install "medassets[tokenizers]"'
        raise SpecError(field="tokenizer", what=what)
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers

    vocabulary, merges = _read_file(path)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    words = pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True)
    letters = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([words, letters])
    return lambda text: tokenizer.encode(text).ids


def _read_file(path: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    try:
        model = parse_json(read_regular(path))["model"]
        ids = {token: number for token, number in model["vocab"].items() if number < START_TOKEN}
        pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
        merges = [(left, right) for left, right in pairs]
        tokens = sorted(ids, key=ids.__getitem__)
        digest = hashlib.sha256("\n".join(tokens).encode()).hexdigest()
    except OSError as error:
        raise SpecError(
            field="tokenizer", what=f"{path} cannot be read ({error.strerror})"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"{path} is not a tokenizer.json of byte pairs ({error}); {_REMEDY}"
        raise SpecError(field="tokenizer", what=what) from error
    # Merges and merged tokens have the same order, after the 512 single bytes.
    if digest != VOCABULARY_SHA256 or [a + b for a, b in merges] != tokens[_NUM_BYTES:]:
        raise SpecError(
            field="tokenizer",
            what=f"{path} does not have the vocabulary of OpenAI's CLIP; {_REMEDY}",
        )
    return ids, merges


class _Tokenizer:
    """Cleans a text, applies the byte pairs of a backend, and adds markers."""

    name = TOKENIZER

    def __init__(self, encode: Encode) -> None:
        self._encode = encode

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return the tokens of a text, shape (77,)."""
        kept = self._encode(clean_text(text))[: CONTEXT_LENGTH - 2]
        tokens = np.zeros(CONTEXT_LENGTH, np.int64)
        tokens[: len(kept) + 2] = (START_TOKEN, *kept, END_TOKEN)
        return tokens
