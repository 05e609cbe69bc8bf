"""Names of studies as sample keys."""

import re

from medassets.storage.checksums import fingerprint

_LONGEST = 90
_HASH_DIGITS = 8
_PLAIN = re.compile(rf"[A-Za-z0-9_-]{{1,{_LONGEST}}}", re.ASCII)


def make_sample_key(name: str) -> str:
    """Return a name as a sample key; it depends on the name only, so that a plan can grow.

    A name that can be a key is one. Of any other, what can stand in a key stands before a hash of
    the whole, so that two names do not become one key.

    Args:
        name: Name of a study; anything.
    """
    return name if _PLAIN.fullmatch(name) else make_distinct_key(name, of=name)


def make_distinct_key(name: str, *, of: str) -> str:
    """Return a sample key that begins like a name and ends with a hash.

    Args:
        name: How it begins.
        of: What is hashed.
    """
    cleaned = re.sub(r"[^A-Za-z0-9_-]", "_", name)[: _LONGEST - _HASH_DIGITS - 1]
    return f"{cleaned}-{fingerprint(of)[:_HASH_DIGITS]}"
