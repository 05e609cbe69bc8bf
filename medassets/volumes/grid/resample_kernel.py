"""Compiled resampling of one block; runs without the GIL and is compiled once per machine.

Imported only by the functions that run it: importing numba costs a quarter of a second. No fused
multiply-add and no fast-math: the same volume gives the same bytes on every machine.

The first functions are portable LLVM instructions on vectors of 16 floats, which numba lacks. Written
as loops, interpolation with rounding takes twice as long and the transpose four times, because
every short loop is guarded against overlapping arrays. No instruction set is named: LLVM splits
the vectors into what the machine supports. They are in this file because numba's cache of compiled
code only detects changes of the calling function's file. Addresses are plain integers in
bytes; nothing is checked.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic as numba_intrinsic

LANES = 16
"""Number of floats in one vector."""

BLOCK_VOXELS = 2 * LANES
"""Number of output voxels of one block along k: 32 float16 fill one cache line."""

# Typed as Any: type checkers do not know that callers omit the typing context.
intrinsic: Any = numba_intrinsic

_I16, _I32, _I64 = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_FLOATS = ir.VectorType(ir.FloatType(), LANES)
_WORDS = ir.VectorType(_I32, LANES)
_HALVES = ir.VectorType(_I16, LANES)

_MAGNITUDE = 0x7FFFFFFF
_LEAST_NORMAL_HALF = 0x38800000
_REBIAS = 112 << 23
# Below 2**-11 a float16 step is smaller than the error of float32 arithmetic.
_NEAR_ZERO = 0x3A000000


def _constant(value: int) -> ir.Constant:
    return ir.Constant(_WORDS, [value & 0xFFFFFFFF] * LANES)


def _address(builder: Any, base: Any, offset: Any, kind: Any) -> Any:
    return builder.inttoptr(builder.add(base, offset), kind.as_pointer())


def _splat(builder: Any, value: Any) -> Any:
    undefined = ir.Constant(_FLOATS, ir.Undefined)
    first = builder.insert_element(undefined, value, _I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(_WORDS, [0] * LANES))


def _interleave(builder: Any, one: Any, other: Any) -> list[Any]:
    """Return the lower and the upper half of one0 other0 one1 other1 ..."""
    order = [
        lane for pair in zip(range(LANES), range(LANES, 2 * LANES), strict=True) for lane in pair
    ]
    return [
        builder.shuffle_vector(one, other, ir.Constant(_WORDS, half))
        for half in (order[:LANES], order[LANES:])
    ]


def _round_to_half(builder: Any, values: Any) -> tuple[Any, Any]:
    """Return float16 bits, ties to even, and the float32 bits of the magnitudes.

    Right for magnitudes below 65520. Source: IEEE 754-2019, binary16.
    """
    bits = builder.bitcast(values, _WORDS)
    magnitude = builder.and_(bits, _constant(_MAGNITUDE))
    odd = builder.and_(builder.lshr(magnitude, _constant(13)), _constant(1))
    raised = builder.add(builder.add(magnitude, odd), _constant(0x0FFF - _REBIAS))
    normal = builder.lshr(raised, _constant(13))
    # The unit of float32 in [0.5, 1) is the step of float16 subnormals: the sum rounds them.
    halves = ir.Constant(_FLOATS, [0.5] * LANES)
    sum_ = builder.bitcast(builder.fadd(builder.bitcast(magnitude, _FLOATS), halves), _WORDS)
    subnormal = builder.sub(sum_, _constant(0x3F000000))
    is_subnormal = builder.icmp_unsigned("<", magnitude, _constant(_LEAST_NORMAL_HALF))
    rounded = builder.select(is_subnormal, subnormal, normal)
    sign = builder.and_(builder.lshr(bits, _constant(16)), _constant(0x8000))
    return builder.trunc(builder.or_(rounded, sign), _HALVES), magnitude


@intrinsic
def transpose_tile(
    typing_context: Any, source: Any, source_stride: Any, target: Any, target_stride: Any
) -> Any:
    """Transpose 16 x 16 float32 (source, source_stride, target, target_stride)."""
    signature = types.void(types.int64, types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        source, source_stride, target, target_stride = arguments
        rows = []
        for lane in range(LANES):
            offset = builder.mul(source_stride, _I64(lane))
            rows.append(builder.load(_address(builder, source, offset, _FLOATS), align=4))
        # Four perfect shuffles of 16 rows are a transpose.
        for _ in range(4):
            pairs = zip(rows[:8], rows[8:], strict=True)
            rows = [half for pair in pairs for half in _interleave(builder, *pair)]
        for lane, row in enumerate(rows):
            offset = builder.mul(target_stride, _I64(lane))
            builder.store(row, _address(builder, target, offset, _FLOATS), align=4)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def blend_to_half(
    typing_context: Any, one: Any, other: Any, one_weight: Any, other_weight: Any, target: Any
) -> Any:
    """Write float16(one * one_weight + other * other_weight) of 32 float32.

    Arguments: (one, other, one_weight, other_weight, target). Returns an int64 whose bit n
    says that value n is so close to zero that float32 arithmetic may be off by a float16 step.
    """
    signature = types.int64(types.int64, types.int64, types.float32, types.float32, types.int64)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        one, other, one_weight, other_weight, target = arguments
        one_weights, other_weights = _splat(builder, one_weight), _splat(builder, other_weight)
        near_zero = _I64(0)
        for part in range(2):
            offset = _I64(part * LANES * 4)
            ones = builder.load(_address(builder, one, offset, _FLOATS), align=4)
            others = builder.load(_address(builder, other, offset, _FLOATS), align=4)
            values = builder.fadd(
                builder.fmul(one_weights, ones), builder.fmul(other_weights, others)
            )
            bits, magnitude = _round_to_half(builder, values)
            place = _address(builder, target, _I64(part * LANES * 2), _HALVES)
            builder.store(bits, place, align=2)
            is_near = builder.icmp_unsigned("<", magnitude, _constant(_NEAR_ZERO))
            mask = builder.zext(builder.bitcast(is_near, _I16), _I64)
            near_zero = builder.or_(near_zero, builder.shl(mask, _I64(part * LANES)))
        return near_zero

    return signature, generate


@intrinsic
def count_trailing_zeros(typing_context: Any, bits: Any) -> Any:
    """Return the number of the lowest bit set in an int64."""
    signature = types.int64(types.int64)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return signature, generate


@intrinsic
def round_to_half(typing_context: Any, value: Any) -> Any:
    """Return the float16 bits of one float32 below 65520."""
    signature = types.uint16(types.float32)

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits, _ = _round_to_half(builder, _splat(builder, arguments[0]))
        return builder.extract_element(bits, _I32(0))

    return signature, generate


@njit(nogil=True, cache=True)
def _interpolate_rows(
    slab: npt.NDArray[Any],
    k_axis: Any,
    j_axis: Any,
    j: int,
    inverse_scale: float,
    rows: npt.NDArray[np.float32],
) -> None:
    """Interpolate along k and j: rows[k, i] for one output row j and all k of a block."""
    k0, k1, k_weight = k_axis
    a, b = j_axis[0][j], j_axis[1][j]
    b_weight = j_axis[2][j]
    for k in range(k0.size):
        p, q = k0[k], k1[k]
        near = (1.0 - k_weight[k]) * inverse_scale
        far = k_weight[k] * inverse_scale
        pa, pb = np.float32(near * (1.0 - b_weight)), np.float32(near * b_weight)
        qa, qb = np.float32(far * (1.0 - b_weight)), np.float32(far * b_weight)
        for i in range(slab.shape[2]):
            rows[k, i] = (pa * np.float32(slab[p, a, i]) + pb * np.float32(slab[p, b, i])) + (
                qa * np.float32(slab[q, a, i]) + qb * np.float32(slab[q, b, i])
            )


@njit(nogil=True, cache=True)
def _interpolate_voxel(
    slab: npt.NDArray[Any],
    k_axis: Any,
    k: int,
    j_axis: Any,
    j: int,
    i_axis: Any,
    i: int,
    inverse_scale: float,
) -> float:
    """Interpolate one voxel in float64."""
    value = 0.0
    for k_side in range(2):
        wk = k_axis[2][k] if k_side else 1.0 - k_axis[2][k]
        plane = slab[k_axis[1][k] if k_side else k_axis[0][k]]
        for j_side in range(2):
            wj = j_axis[2][j] if j_side else 1.0 - j_axis[2][j]
            row = plane[j_axis[1][j] if j_side else j_axis[0][j]]
            ends = row[i_axis[0][i]] * (1.0 - i_axis[2][i]) + row[i_axis[1][i]] * i_axis[2][i]
            value += wk * wj * ends
    return value * inverse_scale


@njit(nogil=True, cache=True)
def resample_block(
    slab: npt.NDArray[Any],
    k_axis: Any,
    j_axis: Any,
    i_axis: Any,
    inverse_scale: float,
    scratch: Any,
    out: npt.NDArray[np.uint16],
    corner: tuple[int, int, int],
) -> None:
    """Resample one block of at most 32 output voxels along k, all j, all i.

    Args:
        slab: Clipped HU of the slices needed, shape (slot, j, i), C-contiguous.
        k_axis: Lower slot, upper slot, weight of the upper one, per output voxel along k.
        j_axis: The same along j.
        i_axis: The same along i.
        inverse_scale: Factor on the result.
        scratch: float32 (32, n), float32 (n, 32) and uint16 (32,), with n the width of the slab
            rounded up to a multiple of 16.
        out: float16 bits of the whole output, axes (i, j, k), C-contiguous.
        corner: Where the block begins in `out`.
    """
    rows, columns, line = scratch
    rows_at, columns_at, line_at = rows.ctypes.data, columns.ctypes.data, line.ctypes.data
    num_k = k_axis[0].size
    whole = num_k == BLOCK_VOXELS
    inside = (1 << num_k) - 1
    i_corner, j_corner, k_corner = corner
    i_stride, j_stride = out.shape[1] * out.shape[2] * 2, out.shape[2] * 2
    for j in range(j_axis[0].size):
        _interpolate_rows(slab, k_axis, j_axis, j, inverse_scale, rows)
        for k in range(0, BLOCK_VOXELS, LANES):
            for i in range(0, columns.shape[0], LANES):
                transpose_tile(
                    rows_at + k * rows.shape[1] * 4 + i * 4,
                    rows.shape[1] * 4,
                    columns_at + i * BLOCK_VOXELS * 4 + k * 4,
                    BLOCK_VOXELS * 4,
                )
        first_at = out.ctypes.data + i_corner * i_stride + (j_corner + j) * j_stride + k_corner * 2
        for i in range(i_axis[0].size):
            near_zero = inside & blend_to_half(
                columns_at + i_axis[0][i] * BLOCK_VOXELS * 4,
                columns_at + i_axis[1][i] * BLOCK_VOXELS * 4,
                np.float32(1.0 - i_axis[2][i]),
                np.float32(i_axis[2][i]),
                first_at + i * i_stride if whole else line_at,
            )
            if not whole:
                out[i_corner + i, j_corner + j, k_corner : k_corner + num_k] = line[:num_k]
            while near_zero:
                k = count_trailing_zeros(near_zero)
                near_zero &= near_zero - 1
                exact = _interpolate_voxel(slab, k_axis, k, j_axis, j, i_axis, i, inverse_scale)
                out[i_corner + i, j_corner + j, k_corner + k] = round_to_half(np.float32(exact))
