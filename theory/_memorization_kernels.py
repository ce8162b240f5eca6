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
# Numba's own annotations do not describe how these are used.
_intrinsic: Callable[..., Any] = intrinsic
_build: Any = cgutils
_types: Any = types


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
    is_copied = X.dtype != kind or not X.flags.c_contiguous
    entries = 2**21 if is_copied else 2**24  # long stretches are read faster

    def work(rows: slice) -> None:
        block = np.ascontiguousarray(X[rows], dtype=kind)
        _project(block, direction, high[rows], low[rows])

    in_threads(work, len(X), max(1, entries // X.shape[1]))
    return high, low


def in_order(high: Array, low: Array) -> tuple[NDArray[np.int64], Array, Array]:
    """Return the order of double-doubles that differ, and them in that order, each (n,)."""
    halves: dict[int, tuple[NDArray[np.int64], Array, Array]] = {}

    def work(part: slice) -> None:
        order = part.start + np.argsort(high[part])
        halves[part.start] = order, high[order], low[order]

    in_threads(work, len(high), max(2**15, -(-len(high) // 2)))
    first, *second = (halves[start] for start in sorted(halves))
    if not second:
        return first
    rows = np.empty(len(high), dtype=np.int64)
    sorted_high, sorted_low = np.empty_like(high), np.empty_like(low)
    _merge(first, second[0], (rows, sorted_high, sorted_low))
    return rows, sorted_high, sorted_low


@_jit
def _merge(first: Any, second: Any, merged: Any) -> None:
    """Merge two sorted triples of order, high and low parts."""
    (rows, high, low), (other_rows, other_high, other_low) = first, second
    i = j = 0
    for k in range(len(merged[0])):
        if j == len(other_rows) or (i < len(rows) and high[i] <= other_high[j]):
            merged[0][k], merged[1][k], merged[2][k] = rows[i], high[i], low[i]
            i += 1
        else:
            merged[0][k], merged[1][k], merged[2][k] = other_rows[j], other_high[j], other_low[j]
            j += 1


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

    number = _types.float64
    return number(number, number, number), generate


@_intrinsic
def _sum_products(typing_context: Any, row: Any, direction: Any) -> Any:
    """Return the sum of a row's products, but for those after the last full block of 16.

    A double-double, its low part not normalized. It is written in LLVM's vectors, because the
    compiler by itself keeps the sums in memory and does not prefetch: twice the time.
    """
    octet, integer = ir.IntType(8).as_pointer(), ir.IntType(32)
    vector = ir.VectorType(ir.DoubleType(), _LANES // 2)
    zero = ir.Constant(vector, [0.0] * vector.count)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        x, a = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args, arguments, strict=True)
        )
        size = builder.extract_value(x.shape, 0)
        index = size.type
        fma = _build.get_or_insert_function(
            builder.module, ir.FunctionType(vector, [vector] * 3), f"llvm.fma.v{vector.count}f64"
        )
        prefetch = _build.get_or_insert_function(
            builder.module,
            ir.FunctionType(ir.VoidType(), [octet] + [integer] * 3),
            "llvm.prefetch.p0",
        )

        def load(data: Any, start: Any) -> Any:
            element = data.type.pointee
            wide = ir.VectorType(element, vector.count).as_pointer()
            loaded = builder.load(builder.bitcast(builder.gep(data, [start]), wide))
            is_wide = isinstance(element, ir.DoubleType)
            loaded.align = 8 if is_wide else 4
            return loaded if is_wide else builder.fpext(loaded, vector)

        def two_sum(left: Any, right: Any) -> tuple[Any, Any]:
            total = builder.fadd(left, right)
            moved = builder.fsub(total, left)
            lost = builder.fsub(left, builder.fsub(total, moved))
            return total, builder.fadd(lost, builder.fsub(right, moved))

        def halves(values: Any) -> list[Any]:
            count = values.type.count // 2
            places = ir.VectorType(integer, count)
            return [
                builder.shuffle_vector(
                    values, values, ir.Constant(places, list(range(start, start + count)))
                )
                for start in (0, count)
            ]

        sums, errors = ([_build.alloca_once(builder, vector) for _ in range(2)] for _ in range(2))
        for place in (*sums, *errors):
            builder.store(zero, place)
        blocks = builder.udiv(size, ir.Constant(index, _LANES))
        with _build.for_range(builder, blocks, intp=index) as loop:
            for half, (sum_place, error_place) in enumerate(zip(sums, errors, strict=True)):
                start = builder.mul(loop.index, ir.Constant(index, _LANES))
                start = builder.add(start, ir.Constant(index, vector.count * half))
                ahead = builder.bitcast(builder.gep(x.data, [start]), octet)
                ahead = builder.gep(ahead, [ir.Constant(index, _AHEAD)])
                builder.call(prefetch, [ahead, integer(0), integer(3), integer(1)])
                entry, weight = load(x.data, start), load(a.data, start)
                product = builder.fmul(entry, weight)
                rounding = builder.call(fma, [entry, weight, builder.fneg(product)])
                total, lost = two_sum(builder.load(sum_place), product)
                builder.store(total, sum_place)
                lost = builder.fadd(builder.load(error_place), builder.fadd(lost, rounding))
                builder.store(lost, error_place)
        total, lost = two_sum(*(builder.load(place) for place in sums))
        lost = builder.fadd(lost, builder.fadd(*(builder.load(place) for place in errors)))
        while total.type.count > 1:
            lost = builder.fadd(*halves(lost))
            total, more = two_sum(*halves(total))
            lost = builder.fadd(lost, more)
        values = [builder.extract_element(each, integer(0)) for each in (total, lost)]
        return context.make_tuple(builder, signature.return_type, values)

    return _types.UniTuple(_types.float64, 2)(row, direction), generate


@_jit
def _project(X: Any, direction: Any, high: Any, low: Any) -> None:
    for i in range(X.shape[0]):
        total, lost = _sum_products(X[i], direction)
        for j in range(X.shape[1] // _LANES * _LANES, X.shape[1]):
            entry, weight = np.float64(X[i, j]), direction[j]
            product = entry * weight
            total, moved = _two_sum(total, product)
            lost += moved + _fma(entry, weight, -product)
        high[i], low[i] = _two_sum(total, lost)


@_jit
def _times(a: float, a_low: float, b: float, b_low: float) -> tuple[float, float]:
    """Return the product of two double-doubles, the low part not normalized."""
    product = a * b
    return product, _fma(a, b, -product) + (a * b_low + a_low * b)


# --- weights --------------------------------------------------------------------------------------


@_jit
def _minus(high: float, low: float, b: float) -> Any:
    """Return a double-double less a number."""
    total, lost = _two_sum(high, -b)
    return _two_sum(total, lost + low)


@_jit
def _bias_after(high: Any, low: Any, j: int, interleave: float) -> float:
    """Return a bias between two points: a float64 number that is not below the first."""
    least = high[j] if low[j] <= 0.0 else np.nextafter(high[j], np.inf)
    if interleave == 0.0:
        return float(least)
    wanted = high[j] + interleave * (high[j + 1] - high[j])
    return float(max(least, min(wanted, np.nextafter(high[j + 1], -np.inf))))


@_jit
def fit_weights(
    high: Any, low: Any, step: float, interleave: float, y: Any, biases: Any, weights: Any
) -> float:
    """Place the biases, and choose each weight from what the weights before it really give.

    ``y`` (n, K) holds the targets in the order of the projections ``high + low``. Fills ``biases``
    (n,), the first of them ``step`` below the first point, and ``weights`` (n, K), and returns the
    largest error at a point. Rounding a weight moves the line
    by at most ε |w_j| (x_j - b_j) at x_j, and the next weight aims from where the line really is:
    errors do not add up.
    """
    n, outputs = y.shape
    largest = 0.0
    biases[0] = high[0] - step
    for k in range(outputs):
        slope = slope_low = 0.0
        before = ahead = ahead_low = 0.0  # the last target; how far above it the line is at b_j
        for j in range(n):
            gap, gap_low = _minus(high[j], low[j], biases[j])
            climb, climb_low = _two_sum(y[j, k], -before)
            climb, lost = _two_sum(climb, -ahead)
            climb_low += lost - ahead_low
            wanted = (climb + climb_low) / gap
            missed = _fma(-wanted, gap, climb) + (climb_low - wanted * gap_low)
            weight = (wanted - slope) - slope_low
            slope, lost = _two_sum(slope, weight)
            slope, slope_low = _two_sum(slope, slope_low + lost)
            error = _fma((slope - wanted) + slope_low, gap, -missed)
            if j < n - 1:
                if k == 0:
                    biases[j + 1] = _bias_after(high, low, j, interleave)
                reach, reach_low = _minus(high[j], low[j], biases[j + 1])
                ahead, lost = _times(slope, slope_low, -reach, -reach_low)
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
