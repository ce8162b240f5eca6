"""SGD on a ReLU network of two hidden layers and one logit, its gradients written by hand.

The kernels are compiled for a network's size, with its width filled up to a multiple of 16 by units
of weight zero, which stay zero. The compiler then knows the distances of all rows, and vectorizes
the loops over units: three times as fast as calls of BLAS on matrices this small.

``weights`` (P,) are W₁ (d, n), b₁, W₂ (n, n), b₂, w₃ (n,) and b₃, in one array. Examples come in
tens, also a number that the compiler knows; a batch is filled up with examples of slope zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

from sims.sgd import next_batch
from sims.streams import jit

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

TEN = 10
WIDTH = 16
_SHUFFLE = 2  # the sampler of sims.sgd.next_batch


class Kernels(NamedTuple):
    """The compiled loops for networks of one size."""

    train: Any
    logits: Any
    gradient: Any


def filled_up(size: int, multiple: int) -> int:
    """Return the smallest multiple that is no less than the size."""
    return -(-size // multiple) * multiple


def _vectorized(kernel: Kernel) -> Kernel:
    """Compile a kernel whose sums the compiler may reorder, always in the same way."""
    flags = {"reassoc", "contract", "nsz"}
    return cast(Kernel, njit(nogil=True, error_model="numpy", fastmath=flags)(kernel))


@cache
def kernels(inputs: int, width: int) -> Kernels:
    """Return the kernels for networks of so many inputs and, in both layers, units."""
    d, n = inputs, width
    b1, W2 = d * n, (d + 1) * n
    b2 = W2 + n * n
    w3, b3 = b2 + n, b2 + 2 * n
    size = b3 + 1

    @_vectorized
    def forward(weights: Any, X: Any, rows: Any, low: Any, high: Any, logits: Any) -> None:
        """Write both layers' units (TEN * n,) and the logits of examples ``rows`` (TEN,)."""
        zero = weights.dtype.type(0)
        for r in range(TEN):
            o, x = r * n, X[rows[r]]
            for j in range(n):
                low[o + j] = weights[b1 + j]
            for k in range(d):
                for j in range(n):
                    low[o + j] += x[k] * weights[k * n + j]
            for j in range(n):
                low[o + j] = max(low[o + j], zero)
        for r in range(0, TEN, 2):
            o = r * n
            for j in range(n):
                high[o + j] = weights[b2 + j]
                high[o + n + j] = weights[b2 + j]
            for i in range(0, n, 4):
                p0, p1, p2, p3 = low[o + i], low[o + i + 1], low[o + i + 2], low[o + i + 3]
                q0, q1 = low[o + n + i], low[o + n + i + 1]
                q2, q3 = low[o + n + i + 2], low[o + n + i + 3]
                k = W2 + i * n
                for j in range(n):
                    u0, u1 = weights[k + j], weights[k + n + j]
                    u2, u3 = weights[k + 2 * n + j], weights[k + 3 * n + j]
                    high[o + j] += p0 * u0 + p1 * u1 + p2 * u2 + p3 * u3
                    high[o + n + j] += q0 * u0 + q1 * u1 + q2 * u2 + q3 * u3
        for r in range(TEN):
            o, total = r * n, weights[b3]
            for j in range(n):
                high[o + j] = max(high[o + j], zero)
                total += high[o + j] * weights[w3 + j]
            logits[r] = total

    @_vectorized
    def scale(out: Any, keep: Any) -> None:
        for j in range(size):
            out[j] *= keep

    @_vectorized
    def add_last_layer(weights: Any, slopes: Any, high: Any, out: Any) -> None:
        """Add the gradient of w₃, b₃ and b₂, and turn ``high`` into the slopes of its units."""
        zero = weights.dtype.type(0)
        for r in range(TEN):
            o, slope = r * n, slopes[r]
            for j in range(n):
                out[w3 + j] += slope * high[o + j]
                high[o + j] = slope * weights[w3 + j] if high[o + j] > zero else zero
            for j in range(n):
                out[b2 + j] += high[o + j]
            out[b3] += slope

    @_vectorized
    def add_middle_layer(weights: Any, high: Any, low: Any, out: Any) -> None:
        """Add the gradient of W₂, and turn ``low`` into the slopes of its units."""
        zero = weights.dtype.type(0)
        for i in range(n):
            k = W2 + i * n
            for r in range(0, TEN, 5):
                o = r * n
                q0, q1, q2 = low[o + i], low[o + n + i], low[o + 2 * n + i]
                q3, q4 = low[o + 3 * n + i], low[o + 4 * n + i]
                a0 = a1 = a2 = a3 = a4 = zero
                for j in range(n):
                    w = weights[k + j]
                    a0 += w * high[o + j]
                    a1 += w * high[o + n + j]
                    a2 += w * high[o + 2 * n + j]
                    a3 += w * high[o + 3 * n + j]
                    a4 += w * high[o + 4 * n + j]
                for j in range(n):
                    s0, s1, s2 = high[o + j], high[o + n + j], high[o + 2 * n + j]
                    s3, s4 = high[o + 3 * n + j], high[o + 4 * n + j]
                    out[k + j] += q0 * s0 + q1 * s1 + q2 * s2 + q3 * s3 + q4 * s4
                low[o + i] = a0 if q0 > zero else zero
                low[o + n + i] = a1 if q1 > zero else zero
                low[o + 2 * n + i] = a2 if q2 > zero else zero
                low[o + 3 * n + i] = a3 if q3 > zero else zero
                low[o + 4 * n + i] = a4 if q4 > zero else zero

    @_vectorized
    def add_first_layer(X: Any, rows: Any, low: Any, out: Any) -> None:
        for r in range(TEN):
            o, x = r * n, X[rows[r]]
            for k in range(d):
                for j in range(n):
                    out[k * n + j] += x[k] * low[o + j]
            for j in range(n):
                out[b1 + j] += low[o + j]

    @jit
    def make_room(weights: Any) -> Any:
        kind = weights.dtype
        return (
            np.zeros(TEN, np.int64),
            np.empty(TEN * n, kind),
            np.empty(TEN * n, kind),
            np.empty(TEN, kind),
        )

    @jit
    def add_gradient(
        weights: Any, X: Any, y: Any, batch: Any, factor: Any, room: Any, out: Any
    ) -> None:
        """Add a factor times the gradient of the loss, summed over the batch, to ``out``."""
        rows, low, high, slopes = room
        for start in range(0, len(batch), TEN):
            for r in range(TEN):
                rows[r] = batch[min(start + r, len(batch) - 1)]
            forward(weights, X, rows, low, high, slopes)
            for r in range(TEN):
                slope = 1 / (1 + np.exp(-slopes[r])) - y[rows[r]]
                slopes[r] = factor * slope if start + r < len(batch) else 0
            add_last_layer(weights, slopes, high, out)
            add_middle_layer(weights, high, low, out)
            add_first_layer(X, rows, low, out)

    @jit
    def gradient(weights: Any, X: Any, y: Any, out: Any) -> None:
        """Write the gradient of the loss, summed over all examples."""
        scale(out, weights.dtype.type(0))
        add_gradient(
            weights, X, y, np.arange(len(X)), weights.dtype.type(1), make_room(weights), out
        )

    @jit
    def write_logits(weights: Any, X: Any, room: Any, out: Any) -> None:
        rows, low, high, some = room
        for start in range(0, len(X), TEN):
            for r in range(TEN):
                rows[r] = min(start + r, len(X) - 1)
            forward(weights, X, rows, low, high, some)
            for r in range(min(TEN, len(X) - start)):
                out[start + r] = some[r]

    @jit
    def logits(weights: Any, X: Any, out: Any) -> None:
        """Write the logits of all examples (N,)."""
        write_logits(weights, X, make_room(weights), out)

    @_vectorized
    def descend(weights: Any, velocity: Any, rate: Any, decay: Any) -> None:
        for j in range(size):
            velocity[j] += decay * weights[j]
            weights[j] -= rate * velocity[j]

    @jit
    def train(
        X: Any,
        y: Any,
        judged: int,
        settings: Any,
        epochs: int,
        batch_size: int,
        patience: int,
        drop: float,
        state: Any,
        weights: Any,
        found: Any,
    ) -> None:
        """Train one network; write its accuracy on X[:judged] and the epoch of the fit, or -1."""
        kind = weights.dtype.type
        rate, factor, momentum, decay = settings
        batch, order = np.empty(batch_size, np.int64), np.arange(len(X))
        velocity, outputs = np.zeros_like(weights), np.empty(judged, weights.dtype)
        room = make_room(weights)
        best, since, fit = -1, 0, -1
        for epoch in range(1, epochs + 1):
            for step in range(len(X) // batch_size):
                next_batch(state, _SHUFFLE, order, step, batch)
                scale(velocity, kind(momentum))
                add_gradient(weights, X, y, batch, kind(factor), room, velocity)
                descend(weights, velocity, kind(rate), kind(decay))
            write_logits(weights, X[:judged], room, outputs)
            right = 0
            for i in range(judged):
                right += (outputs[i] > 0) == (y[i] > 0)
            since += 1
            if right > best:
                best, since = right, 0
            elif since == patience:  # never, for a patience of 0
                rate, since = rate * drop, 0
            if fit < 0 and right == judged:
                fit = epoch
        found[0], found[1] = right / judged, fit

    return Kernels(train, logits, gradient)
