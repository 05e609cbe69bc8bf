"""Compiled exchange of the outer and the inner axis; holds no GIL, compiled once per machine.

Imported only by the functions that run it: importing numba costs a quarter of a second. Squares of
values are turned in registers, as portable LLVM instructions (see `kernel`): written as loops it
takes four times as long, because single values then fill the queue of stores to lines that are in
no cache. Addresses are plain integers in bytes.
"""

from typing import Any

import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic as numba_intrinsic

# Typed as Any: callers leave out the typing context, which no type checker can see.
intrinsic: Any = numba_intrinsic

_I32, _I64 = ir.IntType(32), ir.IntType(64)
# Values of so many bits that fill one cache line; of 8 bits half a line, or registers run out.
_SIDES = {8: 32, 16: 32, 32: 16, 64: 8}


def _interleave(builder: Any, one: Any, other: Any) -> list[Any]:
    """Return the lower and the upper half of one0 other0 one1 other1 ..."""
    side = one.type.count
    order = [lane for pair in zip(range(side), range(side, 2 * side), strict=True) for lane in pair]
    words = ir.VectorType(_I32, side)
    return [
        builder.shuffle_vector(one, other, ir.Constant(words, half))
        for half in (order[:side], order[side:])
    ]


@intrinsic
def _choose_side(typing_context: Any, value: Any) -> Any:
    """Return the side of the square that is turned at once."""

    def generate(_context: Any, _builder: Any, _signature: Any, _arguments: Any) -> Any:
        return _I64(_SIDES[value.bitwidth])

    return types.int64(value), generate


@intrinsic
def _transpose_square(
    typing_context: Any,
    value: Any,
    source: Any,
    source_stride: Any,
    target: Any,
    target_stride: Any,
) -> Any:
    """Transpose a square of the value's type (source, source_stride, target, target_stride)."""
    signature = types.void(value, types.int64, types.int64, types.int64, types.int64)

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _, source, source_stride, target, target_stride = arguments
        side, align = _SIDES[value.bitwidth], value.bitwidth // 8
        kind = ir.VectorType(ir.IntType(value.bitwidth), side).as_pointer()

        def place(base: Any, stride: Any, lane: int) -> Any:
            return builder.inttoptr(builder.add(base, builder.mul(stride, _I64(lane))), kind)

        rows = [
            builder.load(place(source, source_stride, lane), align=align) for lane in range(side)
        ]
        # As many perfect shuffles of the rows as halvings of the side are a transpose.
        for _ in range(side.bit_length() - 1):
            pairs = zip(rows[: side // 2], rows[side // 2 :], strict=True)
            rows = [half for pair in pairs for half in _interleave(builder, *pair)]
        for lane, row in enumerate(rows):
            builder.store(row, place(target, target_stride, lane), align=align)
        return context.get_dummy_value()

    return signature, generate


@njit(nogil=True, cache=True)
def transpose_planes(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
    """Write target[c, b, a] = source[a, b, c].

    Args:
        source: Unsigned integers of any width, shape (a, b, c), c contiguous.
        target: Of the same dtype, shape (c, b, a), a contiguous.
    """
    num_a, num_b, num_c = source.shape
    value = source[0, 0, 0]
    side, size = _choose_side(value), source.itemsize
    whole_a, whole_c = num_a - num_a % side, num_c - num_c % side
    from_at, to_at = source.ctypes.data, target.ctypes.data
    from_a, from_b, _ = source.strides
    to_c, to_b, _ = target.strides
    for b in range(num_b):
        for c in range(0, whole_c, side):
            for a in range(0, whole_a, side):
                _transpose_square(
                    value,
                    from_at + a * from_a + b * from_b + c * size,
                    from_a,
                    to_at + c * to_c + b * to_b + a * size,
                    to_c,
                )
        for c in range(whole_c):
            for a in range(whole_a, num_a):
                target[c, b, a] = source[a, b, c]
        for a in range(num_a):
            for c in range(whole_c, num_c):
                target[c, b, a] = source[a, b, c]
