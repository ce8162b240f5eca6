"""The arithmetic of memorizing networks in double-double: exact where float64 alone would not be.

A *double-double* is an unevaluated sum ``high + low`` of two float64 numbers, ``low`` at most half
a unit in the last place of ``high``: about 106 bits. Its operations are Knuth's and Dekker's [1]_;
no step may be reordered, so nothing here is compiled with ``fastmath``.

This module imports Numba, so it is imported on first use.

.. [1] Ogita, Rump & Oishi (2005), "Accurate sum and dot product", SIAM J. Sci. Comput. 26(6).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LANES = 16  # sums that a dot product is split into; fixed, so that a row's bits are its own
_AHEAD = 8192  # bytes, prefetched: rows of a page then come as fast as memory gives them
_jit: Callable[..., Any] = njit(nogil=True, error_model="numpy")
# Numba's own annotations do not describe how these two are used.
_intrinsic: Callable[..., Any] = intrinsic
_build: Any = cgutils


def in_threads(work: Callable[[slice], None], size: int, step: int) -> None:
    """Do ``work`` on consecutive slices of ``size`` things, on all cores that we may use."""
    parts = [slice(start, min(start + step, size)) for start in range(0, size, step)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with ThreadPoolExecutor(min(len(parts), cores or 1)) as pool:
        list(pool.map(work, parts))


# --- projections ----------------------------------------------------------------------------------


def project(X: NDArray[Any], direction: Array) -> tuple[Array, Array]:
    """Return <a, x> of each row as a double-double: high and low, each (n,).

    A row's bits depend on that row alone, not on its neighbors or on the number of threads. Where
    an entry of a row is not finite, neither is its result.
    """
    high, low = np.empty(len(X)), np.empty(len(X))
    # What float32 holds exactly is read as float32, which halves the bytes.
    narrow = X.dtype == np.float32 or (X.dtype.kind in "biuf" and X.dtype.itemsize <= 2)
    kind = np.float32 if narrow else np.float64

    def work(rows: slice) -> None:
        block = np.ascontiguousarray(X[rows], dtype=kind)
        _project(block, direction, high[rows], low[rows])

    in_threads(work, len(X), max(1, 2**21 // X.shape[1]))
    return high, low


@_jit
def _two_sum(a: float, b: float) -> tuple[float, float]:
    """Return the rounded sum, and what the rounding lost."""
    total = a + b
    moved = total - a
    return total, (a - (total - moved)) + (b - moved)


@_intrinsic
def _fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """Return a * b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float64(types.float64, types.float64, types.float64), generate


@_intrinsic
def _add_products(typing_context: Any, row: Any, direction: Any, sums: Any, errors: Any) -> Any:
    """Add the products of a row's full blocks of 16 to 16 sums, and what is lost to their errors.

    It is written in LLVM's vectors, because the compiler by itself keeps the sums in memory and
    does not prefetch: twice the time.
    """
    width = 8
    vector = ir.VectorType(ir.DoubleType(), width)
    octet, integer = ir.IntType(8).as_pointer(), ir.IntType(32)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, *others = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        )
        x, (a, s, e) = row.data, (each.data for each in others)
        size = builder.extract_value(row.shape, 0)
        index = size.type
        fma = _build.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), "llvm.fma.v8f64"
        )
        prefetch = _build.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [octet] + [integer] * 3),
            "llvm.prefetch.p0",
        )

        def place(data: Any, start: Any) -> Any:
            wide = ir.VectorType(data.type.pointee, width).as_pointer()
            return builder.bitcast(builder.gep(data, [start]), wide)

        def load(data: Any, start: Any) -> Any:
            loaded = builder.load(place(data, start))
            is_wide = isinstance(data.type.pointee, ir.DoubleType)
            loaded.align = 8 if is_wide else 4
            return loaded if is_wide else builder.fpext(loaded, vector)

        halves = [ir.Constant(index, width * half) for half in range(_LANES // width)]
        totals, losses = ([_build.alloca_once(builder, vector) for _ in halves] for _ in range(2))
        for half, total, loss in zip(halves, totals, losses, strict=True):
            builder.store(load(s, half), total)
            builder.store(load(e, half), loss)
        blocks = builder.udiv(size, ir.Constant(index, _LANES))
        with _build.for_range(builder, blocks, intp=index) as loop:
            start = builder.mul(loop.index, ir.Constant(index, _LANES))
            for half, total, loss in zip(halves, totals, losses, strict=True):
                position = builder.add(start, half)
                ahead = builder.bitcast(builder.gep(x, [position]), octet)
                ahead = builder.gep(ahead, [ir.Constant(index, _AHEAD)])
                builder.call(prefetch, [ahead, integer(0), integer(3), integer(1)])
                entry, weight, old = load(x, position), load(a, position), builder.load(total)
                product = builder.fmul(entry, weight)
                new = builder.fadd(old, product)
                moved = builder.fsub(new, old)
                lost = builder.fadd(
                    builder.fsub(old, builder.fsub(new, moved)), builder.fsub(product, moved)
                )
                rounded = builder.call(fma, [entry, weight, builder.fneg(product)])
                builder.store(new, total)
                lost = builder.fadd(builder.load(loss), builder.fadd(lost, rounded))
                builder.store(lost, loss)
        for half, total, loss in zip(halves, totals, losses, strict=True):
            builder.store(builder.load(total), place(s, half)).align = 8
            builder.store(builder.load(loss), place(e, half)).align = 8
        return context.get_dummy_value()

    return types.void(row, direction, sums, errors), generate


@_jit
def _project(X: Any, direction: Any, high: Any, low: Any) -> None:
    sums, errors = np.empty(_LANES), np.empty(_LANES)
    tail = X.shape[1] // _LANES * _LANES
    for i in range(X.shape[0]):
        for j in range(_LANES):
            sums[j] = errors[j] = 0.0
        _add_products(X[i], direction, sums, errors)
        for j in range(X.shape[1] - tail):
            entry, weight = np.float64(X[i, tail + j]), direction[tail + j]
            product = entry * weight
            sums[j], lost = _two_sum(sums[j], product)
            errors[j] += lost + _fma(entry, weight, -product)
        half = _LANES // 2
        while half > 0:
            for j in range(half):
                sums[j], lost = _two_sum(sums[j], sums[j + half])
                errors[j] += errors[j + half] + lost
            half //= 2
        high[i], low[i] = _two_sum(sums[0], errors[0])


@_jit
def _times(a: float, a_low: float, b: float, b_low: float) -> tuple[float, float]:
    """Return the product of two double-doubles, the low part not normalized."""
    product = a * b
    return product, _fma(a, b, -product) + (a * b_low + a_low * b)


# --- weights --------------------------------------------------------------------------------------


@_jit
def fit_weights(y: Any, gap: Any, gap_low: Any, reach: Any, reach_low: Any, weights: Any) -> float:
    """Choose each weight from the slope and value that the weights before it really give.

    ``y`` (n, K) holds the targets in the order of the projections x; ``gap`` is x_j - b_j and
    ``reach`` b_{j+1} - x_j, as double-doubles (n,). Fills ``weights`` (n, K) and returns the
    largest error at a point. Rounding a weight moves the line by at most ε |w_j| (x_j - b_j) at
    x_j, and the next weight aims from where the line really is: errors do not add up.
    """
    n, outputs = y.shape
    largest = 0.0
    for k in range(outputs):
        slope = slope_low = 0.0
        before = ahead = ahead_low = 0.0  # the last target; how far above it the line is at b_j
        for j in range(n):
            climb, climb_low = _two_sum(y[j, k], -before)
            climb, lost = _two_sum(climb, -ahead)
            climb_low += lost - ahead_low
            wanted = (climb + climb_low) / gap[j]
            missed = _fma(-wanted, gap[j], climb) + (climb_low - wanted * gap_low[j])
            weight = (wanted - slope) - slope_low
            slope, lost = _two_sum(slope, weight)
            slope, slope_low = _two_sum(slope, slope_low + lost)
            error = _fma((slope - wanted) + slope_low, gap[j], -missed)
            ahead, lost = _times(slope, slope_low, reach[j], reach_low[j])
            ahead, ahead_low = _two_sum(ahead, error)
            ahead_low += lost
            before = y[j, k]
            weights[j, k] = weight
            # Written so that NaN, too, is the largest.
            if not abs(error) <= largest:
                largest = abs(error)
    return largest


# --- evaluation -----------------------------------------------------------------------------------


@_jit
def fill_pieces(biases: Any, weights: Any, pieces: Any) -> None:
    """Fill in the value at each bias and the slope right of it: two double-doubles (n, K, 4)."""
    for k in range(weights.shape[1]):
        slope = slope_low = value = value_low = 0.0
        for j in range(weights.shape[0]):
            if j > 0:
                step, step_low = _two_sum(biases[j], -biases[j - 1])
                rise, rise_low = _times(slope, slope_low, step, step_low)
                value, lost = _two_sum(value, rise)
                value, value_low = _two_sum(value, value_low + (lost + rise_low))
            slope, lost = _two_sum(slope, weights[j, k])
            slope, slope_low = _two_sum(slope, slope_low + lost)
            pieces[j, k, 0], pieces[j, k, 1] = value, value_low
            pieces[j, k, 2], pieces[j, k, 3] = slope, slope_low


@_jit
def _bucket(x: float, origin: float, scale: float, buckets: int) -> int:
    """Return the number of the bucket that ``x`` is in: it grows with x, also after rounding."""
    place = (x - origin) * scale
    return 0 if not place > 0.0 else int(min(place, buckets - 1.0))


@_jit
def bucket_starts(biases: Any, scale: float, starts: Any) -> None:
    """Fill in where each bucket begins among the sorted biases (buckets + 1,)."""
    starts[:] = 0
    for bias in biases:
        starts[_bucket(bias, biases[0], scale, len(starts) - 1) + 1] += 1
    for i in range(1, len(starts)):
        starts[i] += starts[i - 1]


@_jit
def evaluate(
    high: Any, low: Any, biases: Any, scale: float, starts: Any, pieces: Any, out: Any
) -> None:
    """Fill in the network's values (m, K) at projections given as double-doubles (m,)."""
    for i in range(len(high)):
        x = high[i]
        bucket = _bucket(x, biases[0], scale, len(starts) - 1)
        first, last = starts[bucket], starts[bucket + 1]
        while first < last:  # ends at the number of biases up to x
            middle = (first + last) // 2
            if biases[middle] <= x:
                first = middle + 1
            else:
                last = middle
        piece = first - 1
        if piece >= 0 and x == biases[piece] and low[i] < 0.0:
            piece -= 1
        if piece < 0:
            out[i] = 0.0
            continue
        beyond, lost = _two_sum(x, -biases[piece])
        for k in range(out.shape[1]):
            value, value_low, slope, slope_low = pieces[piece, k]
            rise, rise_low = _times(slope, slope_low, beyond, lost + low[i])
            total, total_low = _two_sum(value, rise)
            out[i, k] = total + (total_low + (value_low + rise_low))
