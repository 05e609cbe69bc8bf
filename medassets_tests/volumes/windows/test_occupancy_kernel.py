"""Compiled counting, sorting and selecting of set bits against numpy."""

import numpy as np
import pytest

from medassets.volumes.windows.occupancy_kernel import (
    BLOCK_WORDS,
    count_blocks,
    find_bit,
    list_points,
    select_points,
    sort_numbers,
)

SHAPE = (5, 7, 11)
COLUMNS = [(0, 1, 2), (2, 1, 0)]


def make_words(num_blocks: int, share: float = 0.3) -> np.ndarray:
    rng = np.random.default_rng(num_blocks)
    bits = rng.random(num_blocks * BLOCK_WORDS * 64) < share
    return np.packbits(bits, bitorder="little").view("<u8").astype(np.uint64)


def list_bits(words: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.unpackbits(words.astype("<u8").view(np.uint8), bitorder="little"))


def place(bits: np.ndarray, columns: tuple[int, int, int]) -> np.ndarray:
    """Return the positions of bits, first axis fastest, in the order of the columns."""
    positions = np.stack([bits % 5, bits // 5 % 7, bits // 35], axis=1)
    out = np.empty_like(positions)
    out[:, list(columns)] = positions
    return out


def rank_of(words: np.ndarray) -> np.ndarray:
    rank = np.zeros(words.size // BLOCK_WORDS + 1, np.uint32)
    count_blocks(words, rank)
    return rank


@pytest.mark.parametrize("num_blocks", [0, 1, 5])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_set_bits_are_counted_before_every_block(num_blocks: int, share: float) -> None:
    words = make_words(num_blocks, share)
    starts = np.arange(num_blocks + 1) * BLOCK_WORDS * 64
    np.testing.assert_array_equal(rank_of(words), np.searchsorted(list_bits(words), starts))


@pytest.mark.parametrize("size", [0, 1, 7, 5000])
def test_numbers_of_32_bits_are_sorted(size: int) -> None:
    numbers = np.random.default_rng(size).integers(0, 1 << 32, size).astype(np.uint32)
    numbers[: size // 3] = 0xFFFFFFFF
    expected = np.sort(numbers)
    sort_numbers(numbers, np.empty_like(numbers))
    np.testing.assert_array_equal(numbers, expected)


@pytest.mark.parametrize("word", [1, 1 << 63, 0xFFFFFFFFFFFFFFFF, 0x8000000100010011])
def test_a_set_bit_of_a_word_is_found_by_its_number(word: int) -> None:
    positions = [position for position in range(64) if word >> position & 1]
    found = [int(find_bit(np.uint64(word), np.uint64(n))) for n in range(len(positions))]
    assert found == positions


@pytest.mark.parametrize("columns", COLUMNS)
def test_points_are_listed_in_the_order_of_the_bits(columns: tuple[int, int, int]) -> None:
    words = make_words(1)
    bits = list_bits(words)
    out = np.full((len(bits), 3), -1, np.int64)
    assert list_points(words, SHAPE[:2], columns, out) == len(bits)
    np.testing.assert_array_equal(out, place(bits, columns))


def test_points_beyond_the_output_are_counted_only() -> None:
    words = make_words(1)
    out = np.full((3, 3), -1, np.int64)
    assert list_points(words, SHAPE[:2], COLUMNS[0], out) == len(list_bits(words))
    np.testing.assert_array_equal(out, place(list_bits(words)[:3], COLUMNS[0]))


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("first_block", [0, 2])
def test_points_are_selected_by_their_numbers(
    first_block: int, columns: tuple[int, int, int]
) -> None:
    words = make_words(5)
    rank, bits = rank_of(words), list_bits(words)
    picked = np.arange(rank[first_block], rank[-1], 11, dtype=np.int64)
    out = np.full((len(picked), 3), -1, np.int64)
    some = words[first_block * BLOCK_WORDS :]
    assert select_points(some, rank[first_block:], first_block, picked, SHAPE[:2], columns, out) < 0
    np.testing.assert_array_equal(out, place(bits[picked], columns))


@pytest.mark.parametrize("block", [0, 3])
def test_the_first_block_with_another_count_is_named(block: int) -> None:
    words = make_words(5)
    rank = rank_of(words)
    words[block * BLOCK_WORDS + 7] ^= np.uint64(1 << 40)
    words[4 * BLOCK_WORDS] ^= np.uint64(1)
    picked = np.array([0, 5, 11], np.int64)
    out = np.zeros((3, 3), np.int64)
    assert select_points(words, rank, 0, picked, SHAPE[:2], COLUMNS[0], out) == block
