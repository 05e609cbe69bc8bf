"""Masks at one bit per voxel: numpy packs and lists them another way, and chance is counted."""

from collections.abc import Callable
from itertools import combinations, pairwise

import numpy as np
import pytest

from medassets.errors import ShardIntegrityError
from medassets.volumes.windows.occupancy import (
    BLOCK_BITS,
    BLOCK_BYTES,
    Occupancy,
    count_blocks,
    draw_ranks,
    pack_mask,
    pick_points,
)

SHAPES = [(1, 1, 1), (5, 7, 11), (16, 16, 16), (63, 65, 3), (37, 29, 41), (1024, 3, 5)]


def make_mask(shape: tuple[int, int, int], *, share: float = 0.3, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape) < share


def list_points(mask: np.ndarray) -> np.ndarray:
    """All points in the order of the bits, found by numpy."""
    return np.stack(np.nonzero(mask.transpose(2, 1, 0)), axis=1)[:, ::-1]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 1.0])
def test_bits_rank_points_and_mask_are_what_numpy_makes_of_it(
    shape: tuple[int, int, int], share: float
) -> None:
    mask = make_mask(shape, share=share)
    occupancy = pack_mask(mask)
    flat = np.zeros(-(-mask.size // BLOCK_BITS) * BLOCK_BITS, np.uint8)
    flat[: mask.size] = mask.ravel(order="F")
    np.testing.assert_array_equal(occupancy.bits, np.packbits(flat, bitorder="little"))
    blocks = flat.reshape(-1, BLOCK_BITS).sum(axis=1, dtype=np.int64)
    np.testing.assert_array_equal(occupancy.rank, [0, *np.cumsum(blocks)])
    np.testing.assert_array_equal(occupancy.points(), list_points(mask))
    np.testing.assert_array_equal(occupancy.dense(), mask)
    assert occupancy.num_points == mask.sum()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_mask_may_have_any_type_and_order(dtype: type, order: str) -> None:
    mask = make_mask((37, 29, 41))
    packed = pack_mask(np.asarray(mask * 7, dtype, order=order))  # pyright: ignore[reportCallIssue, reportArgumentType]
    np.testing.assert_array_equal(packed.bits, pack_mask(mask).bits)


@pytest.mark.parametrize("dtype", [np.int16, np.int32, np.int64])
def test_points_come_in_the_type_that_was_asked_for(dtype: type) -> None:
    points = pack_mask(make_mask((5, 7, 11))).points(dtype)
    assert points.dtype == dtype
    assert points.shape[1] == 3


def test_every_point_is_found_by_its_number() -> None:
    occupancy = pack_mask(make_mask((37, 29, 41), share=0.02))
    expected = occupancy.points()
    np.testing.assert_array_equal(occupancy.select(np.arange(len(expected))), expected)
    for rank in range(0, len(expected), 97):
        np.testing.assert_array_equal(occupancy.select(np.array([rank])), expected[[rank]])


def test_a_mask_stored_last_axis_fastest_gives_its_axes_turned_round() -> None:
    mask = make_mask((5, 7, 11))
    turned = pack_mask(mask.transpose(2, 1, 0))
    np.testing.assert_array_equal(turned.points(reverse=True), np.argwhere(mask))
    np.testing.assert_array_equal(
        turned.select(np.arange(turned.num_points), reverse=True), np.argwhere(mask)
    )


def test_a_sample_is_sorted_without_doubles_and_lies_in_the_mask() -> None:
    mask = make_mask((37, 29, 41))
    occupancy = pack_mask(mask)
    for num in (0, 1, 100, occupancy.num_points // 2, occupancy.num_points):
        points = occupancy.sample(num, np.random.default_rng(3))
        assert points.shape == (num, 3)
        assert points.dtype == np.int64
        assert mask[tuple(points.T)].all()
        linear = np.ravel_multi_index(tuple(points.T), mask.shape, order="F")
        assert (np.diff(linear) > 0).all()


def test_equal_states_draw_equal_points_and_others_do_not() -> None:
    occupancy = pack_mask(make_mask((37, 29, 41)))
    one, same, other = (occupancy.sample(500, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_more_points_than_there_are_is_an_error() -> None:
    occupancy = pack_mask(np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="expected 0 to 8 points, got 9"):
        occupancy.sample(9, np.random.default_rng(0))
    with pytest.raises(ValueError, match="expected 0 to 8 points, got -1"):
        occupancy.sample(-1, np.random.default_rng(0))


@pytest.mark.parametrize(("total", "num"), [(12, 2), (12, 5), (12, 6), (12, 9)])
def test_every_point_and_every_pair_is_equally_likely(total: int, num: int) -> None:
    rng = np.random.default_rng(20)
    num_draws = 20_000
    drawn = np.zeros((num_draws, total), np.int64)
    for row in drawn:
        row[draw_ranks(total, num, rng)] = 1
    singles = num_draws * num / total
    # Chi-square; a point is in or out, hence the variance of a hypergeometric draw.
    chi = ((drawn.sum(axis=0) - singles) ** 2).sum() / (singles * (1 - num / total))
    assert chi * (total - 1) / total < 31.3  # 99.9 % of chi-square with 11 degrees is below
    together = drawn.T @ drawn
    expected = num_draws * num * (num - 1) / (total * (total - 1))
    deviation = np.sqrt(expected * (1 - expected / num_draws))
    for one, other in combinations(range(total), 2):
        assert abs(together[one, other] - expected) < 4.5 * deviation


def test_every_subset_is_equally_likely() -> None:
    rng = np.random.default_rng(5)
    counts = dict.fromkeys(combinations(range(7), 3), 0)
    num_draws = 14_000
    for _ in range(num_draws):
        counts[tuple(draw_ranks(7, 3, rng).tolist())] += 1
    expected = num_draws / len(counts)
    chi = sum((count - expected) ** 2 / expected for count in counts.values())
    assert chi < 65.3  # 99.9 % of chi-square with 34 degrees of freedom is below


def test_points_are_drawn_evenly_over_a_large_mask() -> None:
    occupancy = pack_mask(make_mask((128, 128, 64), share=0.4))
    rng = np.random.default_rng(1)
    drawn = np.concatenate([draw_ranks(occupancy.num_points, 5000, rng) for _ in range(100)])
    counts, _ = np.histogram(drawn, bins=50, range=(0, occupancy.num_points))
    chi = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert 23.0 < chi < 85.4  # 0.1 % and 99.9 % of chi-square with 49 degrees of freedom


def test_numbers_of_all_sizes_are_drawn_and_sorted() -> None:
    ranks = draw_ranks(2**30, 70_000, np.random.default_rng(0))
    assert ranks.dtype == np.int64
    assert len(ranks) == 70_000
    assert (np.diff(ranks) > 0).all()
    assert ranks[0] < 2**20
    assert ranks[-1] > 2**30 - 2**20


@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_points_picked_piece_by_piece_are_those_picked_at_once(piece: int) -> None:
    occupancy = pack_mask(make_mask((37, 29, 41)))
    picked = draw_ranks(occupancy.num_points, 700, np.random.default_rng(0))
    out = np.full((700, 3), -1, np.int64)
    num_blocks = len(occupancy.rank) - 1
    for first, last in pairwise([*range(0, num_blocks, piece), num_blocks]):
        bits = occupancy.bits[first * BLOCK_BYTES : last * BLOCK_BYTES]
        pick_points(
            bits, occupancy.rank, occupancy.shape, picked=picked, out=out, first_block=first
        )
    np.testing.assert_array_equal(out, occupancy.select(picked))


def broken(**changes: object) -> Callable[[], Occupancy]:
    whole = pack_mask(make_mask((37, 29, 41)))
    fields = {"bits": whole.bits, "rank": whole.rank, "shape": whole.shape, **changes}
    return lambda: Occupancy(**fields)  # pyright: ignore[reportArgumentType]


RANK = pack_mask(make_mask((37, 29, 41))).rank
BITS = pack_mask(make_mask((37, 29, 41))).bits


BROKEN = {
    "short bits": (broken(bits=BITS[:-1]), "expected uint8"),
    "signed bits": (broken(bits=BITS.view(np.int8)), "got int8"),
    "bits behind the end": (broken(bits=BITS | np.uint8(255)), "after the last voxel"),
    "short rank": (broken(rank=RANK[:-1]), "expected uint32"),
    "wide rank": (broken(rank=RANK.astype(np.int64)), "got int64"),
    "rank from one": (broken(rank=RANK + np.uint32(1)), "expected 0 first"),
    "falling rank": (broken(rank=RANK[::-1].copy()), "expected 0 first"),
    "steep rank": (broken(rank=RANK * np.uint32(5)), "more per block"),
    "two sides": (broken(shape=(37, 29)), "three sides"),
    "negative side": (broken(shape=(37, 29, -41)), "three sides"),
    "too large": (broken(shape=(2048, 2048, 1024)), "at most 4,294,967,295 voxels"),
    "other sides": (broken(shape=(37, 29, 141)), "rank of a mask"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_does_not_belong_together_is_refused(case: str) -> None:
    make, message = BROKEN[case]
    with pytest.raises(ShardIntegrityError, match=message):
        make()


def test_a_changed_bit_is_noticed_when_points_are_drawn() -> None:
    whole = pack_mask(make_mask((37, 29, 41)))
    for byte in (0, 600, 5000):
        bits = whole.bits.copy()
        bits[byte] ^= 4
        changed = Occupancy(bits, whole.rank, whole.shape)
        with pytest.raises(ShardIntegrityError, match=f"block {byte // BLOCK_BYTES} does not hold"):
            changed.sample(100, np.random.default_rng(0))
        with pytest.raises(ShardIntegrityError, match="the bits hold"):
            changed.points()


def test_counting_blocks_of_nothing_gives_one_zero() -> None:
    np.testing.assert_array_equal(count_blocks(np.empty(0, np.uint8)), [0])
