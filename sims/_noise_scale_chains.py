"""Kernels of :mod:`sims.noise_scale`: minibatch means, and SGD on a quadratic loss."""

from __future__ import annotations

from typing import Any

import numpy as np

from sims.sgd import next_batch
from sims.streams import jit


@jit
def _write_mean(X: Any, batch: Any, out: Any) -> None:
    for j in range(len(out)):
        out[j] = 0.0
    for i in batch:
        for j in range(len(out)):
            out[j] += X[i, j]
    for j in range(len(out)):
        out[j] /= len(batch)


@jit
def batch_mean_products(
    state: Any, X: Any, batch_size: int, sampler: int, draws: int, same: Any, next_one: Any
) -> None:
    """Average the products of batch means, of one batch (P, P) and of successive ones (P, P).

    Means are of the centered rows of X (N, P). Each pair of batches begins an epoch.
    """
    N, P = X.shape
    order, batch = np.arange(N), np.empty(batch_size, np.int64)
    first, second = np.empty(P), np.empty(P)
    for _ in range(draws):
        next_batch(state, sampler, order, 0, batch)
        _write_mean(X, batch, first)
        next_batch(state, sampler, order, 1, batch)
        _write_mean(X, batch, second)
        for i in range(P):
            for j in range(P):
                same[i, j] += first[i] * first[j] / draws
                next_one[i, j] += first[i] * second[j] / draws


@jit
def quadratic_chain(
    state: Any,
    X: Any,
    curvatures: Any,
    learning_rate: float,
    momentum: float,
    batch_size: int,
    sampler: int,
    burn_in: int,
    steps: int,
    out: Any,
) -> None:
    """Average w² (P,) along SGD on the mean of ½ Σⱼ hⱼ (wⱼ - xᵢⱼ)² over centered rows X (N, P)."""
    N, P = X.shape
    order, batch = np.arange(N), np.empty(batch_size, np.int64)
    w, v, target = np.zeros(P), np.zeros(P), np.empty(P)
    for t in range(burn_in + steps):
        next_batch(state, sampler, order, t, batch)
        _write_mean(X, batch, target)
        for j in range(P):
            v[j] = momentum * v[j] + curvatures[j] * (w[j] - target[j])
            w[j] -= learning_rate * v[j]
        if t >= burn_in:
            for j in range(P):
                out[j] += w[j] * w[j] / steps


@jit
def draw_batch_means(state: Any, values: Any, batch_size: int, out: Any) -> None:
    """Fill ``out`` with means of batches drawn without replacement from ``values`` (N,)."""
    order, batch = np.arange(len(values)), np.empty(batch_size, np.int64)
    for draw in range(len(out)):
        next_batch(state, 1, order, draw, batch)
        total = 0.0
        for i in batch:
            total += values[i]
        out[draw] = total / batch_size
