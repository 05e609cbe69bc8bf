"""Tars written block by block, with records that `tarfile` does not write."""

import struct
from collections.abc import Iterable
from pathlib import Path

BLOCK = 512
END = bytes(2 * BLOCK)


def pad(content: bytes) -> bytes:
    """Return content filled up to whole blocks."""
    return content + bytes(-len(content) % BLOCK)


def make_block(name: str, kind: bytes, size: bytes, *, magic: bytes = b"ustar  \0") -> bytes:
    """Return a header block with a right checksum.

    Args:
        name: Name of the member.
        kind: Type flag.
        size: The size field, 12 bytes.
        magic: Magic and version; GNU's by default.
    """
    block = bytearray(BLOCK)
    block[:100] = name.encode().ljust(100, b"\0")
    block[100:124] = b"0000644\0" + b"0000000\0" * 2
    block[124:136] = size
    block[136:148] = b"00000000000\0"
    block[148:157] = b" " * 8 + kind
    block[257:265] = magic
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def octal(size: int) -> bytes:
    """Return a size field of octal digits."""
    return b"%011o\0" % size


def base256(size: int) -> bytes:
    """Return a size field in GNU's base 256; a negative size as GNU tar writes it."""
    if size < 0:
        return (size % 2**96).to_bytes(12, "big")
    return b"\x80" + size.to_bytes(11, "big")


def member(name: str, content: bytes, kind: bytes = b"0") -> bytes:
    """Return a member with its header."""
    return make_block(name, kind, octal(len(content))) + pad(content)


def pax(records: Iterable[tuple[str, str]], kind: bytes = b"x") -> bytes:
    """Return a pax header with records `<length> <keyword>=<value>`."""
    lines = b""
    for key, value in records:
        body = f" {key}={value}\n".encode()
        length = len(body) + 1
        while length != len(str(length)) + len(body):
            length = len(str(length)) + len(body)
        lines += str(length).encode() + body
    return member("./PaxHeaders/x", lines, kind)


def sparse_old(name: str, content: bytes) -> bytes:
    """Return a sparse member as GNU tar writes it in its own format: one piece, then a hole."""
    block = bytearray(make_block(name, b"S", octal(len(content))))
    block[386:410] = b"%011o\0%011o\0" % (0, len(content))
    block[483:495] = octal(len(content) + (1 << 20))
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + pad(content)


def sample(key: str) -> bytes:
    """Return a sample of two members."""
    return member(f"{key}.bin", struct.pack("<4h", 1, 2, 3, 4)) + member(f"{key}.txt", b"text")


def write(path: Path, *parts: bytes) -> Path:
    """Write a tar of some parts."""
    path.write_bytes(b"".join(parts))
    return path


_DIGITS = "9" * 5000
HUGE = {
    "base 256": make_block("a.bin", b"0", base256(2**80)),
    "base 256 just too large": make_block("a.bin", b"0", base256(2**63)),
    "base 256 beyond its first byte": make_block("a.bin", b"0", b"\xbf" + b"\xff" * 11),
    "negative base 256": make_block("a.bin", b"0", base256(-512)),
    "signed octal": make_block("a.bin", b"0", b"-0000000512\0"),
    "octal with a prefix": make_block("a.bin", b"0", b"0o000000012\0"),
    "octal with an underscore": make_block("a.bin", b"0", b"0000_000012\0"),
    "pax size": pax([("size", "9" * 40)]) + member("a.bin", b"x"),
    "pax size of 5000 digits": pax([("size", _DIGITS)]) + member("a.bin", b"x"),
    "pax size in Arabic digits": pax([("size", "١٢")]) + member("a.bin", b"x"),
    "negative pax size": pax([("size", "-512")]) + member("a.bin", b"x"),
    "pax length": member("x", b"9" * 40 + b" path=x\n", b"x") + member("a.bin", b"x"),
    "pax length of 5000 digits": member("x", _DIGITS.encode() + b" path=x\n", b"x"),
    "size of a long name": make_block("././@LongLink", b"L", base256(2**70)),
    "size of a pax header": make_block("x", b"x", base256(2**62)),
    "size of a label": make_block("label", b"V", base256(2**75)),
}
"""Records whose size no file has; none of them is followed by a whole member."""
