"""Compiled rounding to float16 with its error; runs without the GIL, compiled once per machine and dtype.

Imported only by the functions that run it: importing numba costs a quarter of a second. Rounding is
written in integers, of which LLVM makes vectors: no processor lacks them, every one gives the same
bits, and what is lost is at hand as a float32. Positive floats are ordered as their bits are, and a
maximum of integers is one instruction where that of floats must look for NaN.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic as numba_intrinsic

# Typed as Any: type checkers do not know that callers omit the typing context.
intrinsic: Any = numba_intrinsic

_FLOAT, _I16, _I32 = ir.FloatType(), ir.IntType(16), ir.IntType(32)
_MAGNITUDE = 0x7FFFFFFF
_LEAST_NORMAL_HALF = 0x38800000
_HALF = 0x3F000000


def _round(builder: Any, value: Any) -> tuple[Any, Any]:
    """Return float16 bits, ties to even, and the bits of the error's magnitude as float32.

    Right for magnitudes below 65520; the difference of a float32 and its float16 is a float32.
    Source: IEEE 754-2019, binary16.
    """
    bits = builder.bitcast(value, _I32)
    magnitude = builder.and_(bits, _I32(_MAGNITUDE))
    positive = builder.bitcast(magnitude, _FLOAT)
    odd = builder.and_(builder.lshr(magnitude, _I32(13)), _I32(1))
    raised = builder.add(builder.add(magnitude, odd), _I32(0x0FFF))
    # The unit of float32 in [0.5, 1) is the step of float16 subnormals: the sum rounds them.
    sum_ = builder.fadd(positive, _FLOAT(0.5))
    small_bits = builder.sub(builder.bitcast(sum_, _I32), _I32(_HALF))
    small = builder.fsub(sum_, _FLOAT(0.5))
    normal_bits = builder.lshr(builder.sub(raised, _I32(112 << 23)), _I32(13))
    normal = builder.bitcast(builder.and_(raised, _I32(~0x1FFF)), _FLOAT)
    is_small = builder.icmp_signed("<", magnitude, _I32(_LEAST_NORMAL_HALF))
    rounded = builder.select(is_small, small, normal)
    error = builder.bitcast(builder.fsub(positive, rounded), _I32)
    sign = builder.and_(builder.lshr(bits, _I32(16)), _I32(0x8000))
    half = builder.or_(builder.select(is_small, small_bits, normal_bits), sign)
    return builder.trunc(half, _I16), builder.and_(error, _I32(_MAGNITUDE))


@intrinsic
def _round_to_half(typing_context: Any, value: Any) -> Any:
    """Return the float16 bits of a float32 below 65520."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _round(builder, arguments[0])[0]

    return types.uint16(types.float32), generate


@intrinsic
def _measure_error(typing_context: Any, value: Any) -> Any:
    """Return the float32 bits of the rounding error."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _round(builder, arguments[0])[1]

    return types.int32(types.float32), generate


@intrinsic
def _measure(typing_context: Any, value: Any) -> Any:
    """Return the bits of the magnitude of a float32."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.and_(builder.bitcast(arguments[0], _I32), _I32(_MAGNITUDE))

    return types.int32(types.float32), generate


@njit(nogil=True, cache=True)
def round_values(values: npt.NDArray[Any], out: npt.NDArray[np.uint16]) -> Any:
    """Round values to float16; correct if the largest is below 65520.

    Args:
        values: float32, or integers (beyond 2**24 they are rounded to float32 first), 1-D.
        out: As long; receives the float16 bits.

    Returns:
        The largest magnitude and the largest error, as float32 bits; NaN counts as largest of all.
    """
    largest = np.int32(0)
    error = np.int32(0)
    for index in range(values.size):
        value = np.float32(values[index])
        out[index] = _round_to_half(value)
        largest = max(largest, _measure(value))
        error = max(error, _measure_error(value))
    return largest, error
