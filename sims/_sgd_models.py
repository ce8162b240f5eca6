"""The models that :mod:`sims.sgd` trains, as kernels with gradients written by hand.

A model is two functions of a flat vector of ``weights`` (P,) and a ``shape`` (d, h, K), the numbers
of features, hidden units and outputs:

- ``gradient(weights, shape, X, y, batch, out, room)`` writes the gradient of the mean loss over the
  examples ``batch`` (B,) into ``out`` (P,);
- ``evaluate(weights, shape, X, y, room)`` returns the mean loss and the accuracy over all rows.

``room`` holds :func:`room_size` numbers to work in, so that no step allocates. Arrays are float32
or float64, all of one kind; y holds the targets of a regression or the labels 0, …, K - 1.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit

from sims.streams import jit

Shape = tuple[int, int, int]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])


class Model(NamedTuple):
    """A model's kernels, and which labels it takes: any number, 0 and 1, or 0, …, K - 1."""

    gradient: Any
    evaluate: Any
    labels: str  # "numbers", "binary" or "classes"
    has_hidden: bool


def n_parameters(shape: Shape) -> int:
    """Return the number of weights and biases."""
    d, h, K = shape
    return (d + 1) * K if h == 0 else (d + 1) * h + (h + 1) * K


def room_size(shape: Shape, examples: int) -> int:
    """Return how many numbers a model needs to work on so many examples at once."""
    d, h, K = shape
    return examples * (d + 2 * h + K)


def _vectorized(kernel: Kernel) -> Kernel:
    """Compile a row operation; the compiler may reorder its sums, always in the same way."""
    flags = {"reassoc", "contract", "nsz"}
    return cast(Kernel, njit(nogil=True, error_model="numpy", fastmath=flags)(kernel))


# --- linear and logistic regression ---------------------------------------------------------------
# Four rows at a time: the weights are then read once for four examples, and their gradient written
# once. The rows are read where they lie; a product of gathered rows by BLAS takes three times as
# long, for a product of a matrix by a vector is bound by memory.


@_vectorized
def _dot(w: Any, x: Any) -> Any:
    total = w.dtype.type(0)
    for j in range(len(x)):
        total += x[j] * w[j]
    return total


@_vectorized
def _dot4(w: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> Any:
    a = b = c = d = w.dtype.type(0)
    for j in range(len(x0)):
        a += x0[j] * w[j]
        b += x1[j] * w[j]
        c += x2[j] * w[j]
        d += x3[j] * w[j]
    return a, b, c, d


@_vectorized
def _add(out: Any, a: Any, x: Any) -> None:
    for j in range(len(x)):
        out[j] += a * x[j]


@_vectorized
def _add4(out: Any, r: Any, x0: Any, x1: Any, x2: Any, x3: Any) -> None:
    a, b, c, d = r
    for j in range(len(x0)):
        out[j] += a * x0[j] + b * x1[j] + c * x2[j] + d * x3[j]


@jit
def _linear_slope(output: Any, y: Any) -> Any:
    return output - y


@jit
def _logistic_slope(output: Any, y: Any) -> Any:
    return 1 / (1 + np.exp(-output)) - y


def _single_output_gradient(slope: Any) -> Any:
    @jit
    def gradient(weights: Any, shape: Any, X: Any, y: Any, batch: Any, out: Any, room: Any) -> None:
        kind, bias, B = X.dtype.type, weights[-1], len(batch)
        scale, total = kind(1 / B), kind(0)
        for j in range(len(out)):
            out[j] = 0
        for k in range(0, B - B % 4, 4):
            i0, i1, i2, i3 = batch[k], batch[k + 1], batch[k + 2], batch[k + 3]
            a, b, c, d = _dot4(weights, X[i0], X[i1], X[i2], X[i3])
            a, b = scale * kind(slope(a + bias, y[i0])), scale * kind(slope(b + bias, y[i1]))
            c, d = scale * kind(slope(c + bias, y[i2])), scale * kind(slope(d + bias, y[i3]))
            _add4(out, (a, b, c, d), X[i0], X[i1], X[i2], X[i3])
            total += a + b + c + d
        for k in range(B - B % 4, B):
            x = X[batch[k]]
            r = scale * kind(slope(_dot(weights, x) + bias, y[batch[k]]))
            _add(out, r, x)
            total += r
        out[-1] = total

    return gradient


@jit
def _evaluate_linear(weights: Any, shape: Any, X: Any, y: Any, room: Any) -> tuple[float, float]:
    loss = 0.0
    for i in range(len(X)):
        loss += 0.5 * np.float64(_dot(weights, X[i]) + weights[-1] - y[i]) ** 2
    return loss / len(X), np.nan


@jit
def _evaluate_logistic(weights: Any, shape: Any, X: Any, y: Any, room: Any) -> tuple[float, float]:
    loss, right = 0.0, 0
    for i in range(len(X)):
        signed = np.float64(_dot(weights, X[i]) + weights[-1]) * (2 * y[i] - 1)
        loss += np.log1p(np.exp(-abs(signed))) - min(signed, 0.0)
        right += signed > 0
    return loss / len(X), right / len(X)


# --- softmax regression and one hidden layer ------------------------------------------------------


@jit
def _gather(X: Any, batch: Any, room: Any) -> Any:
    rows = room[: len(batch) * X.shape[1]].reshape((len(batch), X.shape[1]))
    for k in range(len(batch)):
        row, x = rows[k], X[batch[k]]
        for j in range(len(row)):
            row[j] = x[j]
    return rows


@jit
def _part(room: Any, start: int, rows: int, columns: int) -> Any:
    return room[start : start + rows * columns].reshape((rows, columns))


@jit
def _outputs(weights: Any, start: int, inputs: Any, out: Any) -> None:
    """Write inputs @ W + b, the weights (d, K) and biases (K,) lying in ``weights`` at start."""
    d, K = inputs.shape[1], out.shape[1]
    np.dot(inputs, _part(weights, start, d, K), out)
    for i in range(len(out)):
        for k in range(K):
            out[i, k] += weights[start + d * K + k]


@jit
def _best(row: Any) -> int:
    best = 0
    for k in range(1, len(row)):
        if row[k] > row[best]:
            best = k
    return best


@jit
def _softmax(scores: Any) -> None:
    """Turn rows of scores into probabilities, in place."""
    for i in range(len(scores)):
        row, total = scores[i], scores.dtype.type(0)
        top = row[_best(row)]
        for k in range(len(row)):
            row[k] = np.exp(row[k] - top)
            total += row[k]
        for k in range(len(row)):
            row[k] /= total


@jit
def _score_slopes(scores: Any, y: Any, batch: Any) -> None:
    """Turn scores into the slopes of the mean cross-entropy with respect to them, in place."""
    _softmax(scores)
    for i in range(len(batch)):
        scores[i, y[batch[i]]] -= 1
        for k in range(scores.shape[1]):
            scores[i, k] /= len(batch)


@jit
def _write_layer_gradient(inputs: Any, slopes: Any, start: int, out: Any) -> None:
    d, K = inputs.shape[1], slopes.shape[1]
    np.dot(inputs.T, slopes, _part(out, start, d, K))
    for k in range(K):
        total = slopes.dtype.type(0)
        for i in range(len(slopes)):
            total += slopes[i, k]
        out[start + d * K + k] = total


@jit
def _softmax_gradient(
    weights: Any, shape: Any, X: Any, y: Any, batch: Any, out: Any, room: Any
) -> None:
    rows = _gather(X, batch, room)
    scores = _part(room, rows.size, len(batch), shape[2])
    _outputs(weights, 0, rows, scores)
    _score_slopes(scores, y, batch)
    _write_layer_gradient(rows, scores, 0, out)


@jit
def _relu_scores(weights: Any, shape: Any, rows: Any, room: Any) -> Any:
    """Return the hidden units and the scores; ``room`` begins behind the rows."""
    d, h, K = shape
    hidden = _part(room, 0, len(rows), h)
    scores = _part(room, hidden.size, len(rows), K)
    _outputs(weights, 0, rows, hidden)
    for i in range(len(rows)):
        for j in range(h):
            hidden[i, j] = max(hidden[i, j], 0)
    _outputs(weights, (d + 1) * h, hidden, scores)
    return hidden, scores


@jit
def _relu_gradient(
    weights: Any, shape: Any, X: Any, y: Any, batch: Any, out: Any, room: Any
) -> None:
    d, h, K = shape
    rows = _gather(X, batch, room)
    room = room[rows.size :]
    hidden, scores = _relu_scores(weights, shape, rows, room)
    _score_slopes(scores, y, batch)
    first = (d + 1) * h
    _write_layer_gradient(hidden, scores, first, out)
    back = _part(room, hidden.size + scores.size, len(batch), h)
    np.dot(scores, _part(weights, first, h, K).T, back)
    for i in range(len(batch)):
        for j in range(h):
            if hidden[i, j] <= 0:
                back[i, j] = 0
    _write_layer_gradient(rows, back, 0, out)


@jit
def _judge(scores: Any, y: Any) -> tuple[float, int]:
    """Return the summed cross-entropy of rows of scores and the number that are right."""
    loss, right = 0.0, 0
    for i in range(len(scores)):
        row = scores[i]
        total, best = 0.0, _best(row)
        for k in range(len(row)):
            total += np.exp(np.float64(row[k] - row[best]))
        loss += np.log(total) - np.float64(row[y[i]] - row[best])
        right += best == y[i]
    return loss, right


ROWS_AT_ONCE = 256  # rows whose hidden units stay in the cache


@jit
def _evaluate_softmax(weights: Any, shape: Any, X: Any, y: Any, room: Any) -> tuple[float, float]:
    loss, right = 0.0, 0
    for start in range(0, len(X), ROWS_AT_ONCE):
        rows = X[start : start + ROWS_AT_ONCE]
        scores = _part(room, 0, len(rows), shape[2])
        _outputs(weights, 0, rows, scores)
        part = _judge(scores, y[start : start + ROWS_AT_ONCE])
        loss, right = loss + part[0], right + part[1]
    return loss / len(X), right / len(X)


@jit
def _evaluate_relu(weights: Any, shape: Any, X: Any, y: Any, room: Any) -> tuple[float, float]:
    loss, right = 0.0, 0
    for start in range(0, len(X), ROWS_AT_ONCE):
        rows = X[start : start + ROWS_AT_ONCE]
        _, scores = _relu_scores(weights, shape, rows, room)
        part = _judge(scores, y[start : start + ROWS_AT_ONCE])
        loss, right = loss + part[0], right + part[1]
    return loss / len(X), right / len(X)


MODELS = {
    "linear": Model(
        _single_output_gradient(_linear_slope), _evaluate_linear, "numbers", has_hidden=False
    ),
    "logistic": Model(
        _single_output_gradient(_logistic_slope), _evaluate_logistic, "binary", has_hidden=False
    ),
    "softmax": Model(_softmax_gradient, _evaluate_softmax, "classes", has_hidden=False),
    "relu": Model(_relu_gradient, _evaluate_relu, "classes", has_hidden=True),
}
