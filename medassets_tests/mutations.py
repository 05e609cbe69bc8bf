"""Seeded mutations of files that know of headers, lengths, nesting and truncation."""

import re
from collections.abc import Callable

import numpy as np

Rng = np.random.Generator
Mutate = Callable[[bytes, Rng], bytes]

_NUMBERS = (0, 1, -1, 2, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**63)
_DIGITS = re.compile(rb"[0-9]+(?:\.[0-9]+)?")
_WORDS = (
    b"-1", b"1e999", b"NaN", b"null", b"Infinity", b"0x7f", b"9" * 20, b"9" * 400, b"9" * 5000, b"0" * 4999 + b"1",
    b"\\ud800", b"\xff\xfe", b"\0", b"\xed\xa0\x80", b"\xe2\x80\xa8", b'"', b"'", b",", b"\n", b"\r", b"{{ x }}",
    b"[" * 3000, b"[" * 100_000, b'{"a":' * 2000, b"- " * 2000, b"(" * 3000, b"&a [*a]", b"1" * 200_000, b"..", b"/../",
)  # fmt: skip


def mutate(content: bytes, rng: Rng) -> bytes:
    """Change a file in one to three ways."""
    for _ in range(int(rng.integers(1, 4))):
        content = _MUTATIONS[int(rng.integers(len(_MUTATIONS)))](content, rng)
    return content


def _place(content: bytes, rng: Rng) -> int:
    """Return a position, half of them near the beginning or the end, where headers are."""
    size = max(len(content), 1)
    near = min(size, 600)
    kind = int(rng.integers(4))
    if kind == 0:
        return int(rng.integers(near))
    return size - 1 - int(rng.integers(near)) if kind == 1 else int(rng.integers(size))


def _flip(content: bytes, rng: Rng) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(int(rng.integers(1, 9))):
        changed[_place(content, rng)] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _set_number(content: bytes, rng: Rng) -> bytes:
    width = int(rng.choice([1, 2, 4, 8]))
    value = int(rng.choice(np.array(_NUMBERS, object)))
    order = "little" if rng.integers(2) else "big"
    at = _place(content, rng) // width * width if rng.integers(2) else _place(content, rng)
    number = (value % 256**width).to_bytes(width, order)
    return content[:at] + number + content[at + width :]


def _set_float(content: bytes, rng: Rng) -> bytes:
    value = rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-300, 3e38, -1.0])
    number = np.array(value, rng.choice(["<f4", ">f4", "<f8"])).tobytes()
    at = _place(content, rng) // 4 * 4
    return content[:at] + number + content[at + len(number) :]


def _truncate(content: bytes, rng: Rng) -> bytes:
    return content[: _place(content, rng)]


def _extend(content: bytes, rng: Rng) -> bytes:
    size = int(rng.choice([1, 511, 512, 10_240, 100_000]))
    return content + (bytes(size) if rng.integers(2) else rng.bytes(size))


def _cut(content: bytes, rng: Rng) -> bytes:
    at = _place(content, rng)
    return content[:at] + content[at + int(rng.integers(1, 600)) :]


def _repeat(content: bytes, rng: Rng) -> bytes:
    at, size = _place(content, rng), int(rng.integers(1, 1200))
    return content[:at] + content[at : at + size] * int(rng.integers(2, 5)) + content[at + size :]


def _insert_word(content: bytes, rng: Rng) -> bytes:
    at = _place(content, rng)
    return content[:at] + _WORDS[int(rng.integers(len(_WORDS)))] + content[at:]


def _replace_digits(content: bytes, rng: Rng) -> bytes:
    found = list(_DIGITS.finditer(content[:20_000]))
    if not found:
        return _insert_word(content, rng)
    match = found[int(rng.integers(len(found)))]
    word = _WORDS[int(rng.integers(len(_WORDS)))]
    return content[: match.start()] + word + content[match.end() :]


def _zero(content: bytes, rng: Rng) -> bytes:
    at, size = _place(content, rng), int(rng.integers(1, 2000))
    return content[:at] + bytes(min(size, len(content) - at)) + content[at + size :]


_MUTATIONS: tuple[Mutate, ...] = (
    _flip, _set_number, _set_float, _truncate, _extend, _cut, _repeat, _insert_word,
    _replace_digits, _zero,
)  # fmt: skip


def mutate_tar(content: bytes, rng: Rng) -> bytes:
    """Change a tar, and half of the time make the checksums of its headers right again."""
    changed = bytearray(mutate(content, rng))
    if rng.integers(2):
        for at in range(0, len(changed) - 511, 512):
            if changed[at + 257 : at + 262] == b"ustar":
                changed[at + 148 : at + 156] = b" " * 8
                changed[at + 148 : at + 156] = b"%06o\0 " % sum(changed[at : at + 512])
    return bytes(changed)
