"""The blocks that a tar consists of; what writes and what reads one must agree on them."""

HEADER_BYTES = 512
"""Length of a block, and of the header of a member."""


def padding_bytes(size_bytes: int) -> int:
    """Return the length of the zeros that fill a member's last block."""
    return -size_bytes % HEADER_BYTES
