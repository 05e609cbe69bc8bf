"""Compiled counting and selecting of set bits; runs without the GIL and is compiled once per machine.

Imported only by the functions that run it: importing numba costs a quarter of a second. Words are
uint64 in the byte order of the machine; a block is 64 of them.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit, types
from numba.extending import intrinsic as numba_intrinsic

BLOCK_WORDS = 64

# Typed as Any: type checkers do not know that callers omit the typing context.
intrinsic: Any = numba_intrinsic


@intrinsic
def count_ones(typing_context: Any, word: Any) -> Any:
    """Return the number of set bits of a uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


@intrinsic
def count_trailing_zeros(typing_context: Any, word: Any) -> Any:
    """Return the position of the lowest set bit of a uint64 that is not 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], context.get_constant(types.boolean, True))

    return types.uint64(types.uint64), generate


@njit(nogil=True, cache=True, error_model="numpy")
def count_blocks(words: npt.NDArray[np.uint64], rank: npt.NDArray[np.uint32]) -> None:
    """Write the number of set bits before each block, and their total after the last one.

    Args:
        words: Bits, a whole number of blocks.
        rank: Receives one entry more than there are blocks.
    """
    total = np.uint64(0)
    rank[0] = 0
    for block in range(rank.size - 1):
        for word in words[block * BLOCK_WORDS : (block + 1) * BLOCK_WORDS]:
            total += count_ones(word)
        rank[block + 1] = total


@njit(nogil=True, cache=True, error_model="numpy")
def sort_numbers(numbers: npt.NDArray[np.uint32], scratch: npt.NDArray[np.uint32]) -> None:
    """Sort in place, by digits of 11 bits: ten times as fast as numpy's sort without AVX-512.

    Args:
        numbers: What to sort.
        scratch: As long; overwritten.
    """
    source, target = numbers, scratch
    for shift in (np.uint32(0), np.uint32(11), np.uint32(22)):
        starts = np.zeros(2049, np.int64)
        for number in source:
            starts[((number >> shift) & np.uint32(2047)) + 1] += 1
        for digit in range(2048):
            starts[digit + 1] += starts[digit]
        for number in source:
            digit = (number >> shift) & np.uint32(2047)
            target[starts[digit]] = number
            starts[digit] += 1
        source, target = target, source
    numbers[:] = source


@njit(nogil=True, cache=True, inline="always", error_model="numpy")
def find_bit(word: Any, number: Any) -> Any:
    """Return the position of a set bit, by its number within the word, in six halvings."""
    position = np.uint64(0)
    width = np.uint64(32)
    while width:
        low = count_ones(word & ((np.uint64(1) << width) - np.uint64(1)))
        step = width if number >= low else np.uint64(0)
        number -= low if number >= low else np.uint64(0)
        word >>= step
        position += step
        width >>= np.uint64(1)
    return position


@njit(nogil=True, cache=True, error_model="numpy")
def select_points(
    words: npt.NDArray[np.uint64],
    rank: npt.NDArray[np.uint32],
    first_block: int,
    picked: npt.NDArray[np.int64],
    sides: tuple[int, int],
    columns: tuple[int, int, int],
    out: npt.NDArray[Any],
) -> int:
    """Write the positions of the set bits with these numbers, and check every block's count.

    Args:
        words: Bits of consecutive blocks.
        rank: Their entries of the rank index and one more: set bits before each of the blocks.
        first_block: Number of the first of them.
        picked: Numbers of set bits within these blocks, ascending.
        sides: Voxels along the fastest and the second axis.
        columns: Columns of `out` for the fastest, the second and the slowest axis.
        out: Receives the positions, shape (picked, 3).

    Returns:
        Index of the first block whose count is not what `rank` says, -1 if there is none.
    """
    row, plane = np.uint64(sides[0]), np.uint64(sides[1])
    done = 0
    for block in range(rank.size - 1):
        first = block * BLOCK_WORDS
        num_set = np.uint64(0)
        for index in range(first, first + BLOCK_WORDS):
            num_set += count_ones(words[index])
        end = np.int64(rank[block + 1])
        if end - np.int64(rank[block]) != np.int64(num_set):
            return block
        index = first
        before = np.int64(rank[block])
        here = np.int64(count_ones(words[index]))
        while done < picked.size and picked[done] < end:
            while picked[done] >= before + here:
                before += here
                index += 1
                here = np.int64(count_ones(words[index]))
            in_word = find_bit(words[index], np.uint64(picked[done] - before))
            bit = np.uint64((first_block * BLOCK_WORDS + index) * 64) + in_word
            line = bit // row
            out[done, columns[0]] = bit - line * row
            out[done, columns[2]] = line // plane
            out[done, columns[1]] = line % plane
            done += 1
    return -1


@njit(nogil=True, cache=True, error_model="numpy")
def list_points(
    words: npt.NDArray[np.uint64],
    sides: tuple[int, int],
    columns: tuple[int, int, int],
    out: npt.NDArray[Any],
) -> int:
    """Write the positions of all set bits, in order.

    Args:
        words: Bits.
        sides: Voxels along the fastest and the second axis.
        columns: Columns of `out` for the fastest, the second and the slowest axis.
        out: Receives the positions, shape (points, 3); further bits are counted only.

    Returns:
        The number of set bits.
    """
    row, plane = np.uint64(sides[0]), np.uint64(sides[1])
    done = 0
    for index in range(words.size):
        word = words[index]
        while word:
            if done < out.shape[0]:
                bit = np.uint64(index * 64) + count_trailing_zeros(word)
                line = bit // row
                out[done, columns[0]] = bit - line * row
                out[done, columns[2]] = line // plane
                out[done, columns[1]] = line % plane
            done += 1
            word &= word - np.uint64(1)
    return done
