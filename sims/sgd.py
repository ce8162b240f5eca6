r"""Minibatch SGD on small models: grids of learning rates, batch sizes and momenta, all at once.

Each cell of a grid is a run of its own, with its own weights and its own stream, so that the result
does not depend on the number of threads. The update is heavy-ball momentum as in PyTorch's
``SGD(momentum=m, dampening=0, weight_decay=λ)``,

.. math:: v \leftarrow m v + \nabla L_B(w) + \lambda w, \qquad w \leftarrow w - \epsilon v,

with :math:`L_B` the mean loss over the batch.

==========  =========================================  ==================================
model       loss                                       parameters
==========  =========================================  ==================================
linear      half the squared error                     d + 1
logistic    cross-entropy of labels 0, 1               d + 1
softmax     cross-entropy of labels 0, …, K - 1        (d + 1) K
relu        the same, one hidden layer of h ReLUs      (d + 1) h + (h + 1) K
==========  =========================================  ==================================

Samplers are those of :func:`theory.noise_scale.gradient_noise_covariance`: ``with_replacement``,
``without_replacement`` (a new subset each step) and ``shuffle`` (through the examples in a new
order each epoch; what is left over at the end of an epoch is dropped).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sims import streams
from sims._sgd_models import MODELS, ROWS_AT_ONCE, Shape, n_parameters, room_size
from sims._threads import in_threads
from sims.streams import Rng, jit
from theory._validation import data_array, finite_array, positive_array, positive_integer
from theory.noise_scale import SAMPLERS

Array = NDArray[np.float64]


class Training(NamedTuple):
    """Runs on a grid of shape G, looked at R times.

    The loss is the mean over examples, in nats for classifiers, and infinite for a run that has
    diverged; the accuracy of a regression is NaN. The test measures are None without a test set.
    """

    updates: NDArray[np.int64]  # (*G, R) how many updates had been made
    train_loss: Array  # (*G, R)
    train_accuracy: Array
    test_loss: Array | None
    test_accuracy: Array | None
    weights: NDArray[Any]  # (*G, P) at the end


def train(
    model: str,
    X: ArrayLike,
    y: ArrayLike,
    *,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    updates: ArrayLike,
    momentum: ArrayLike = 0.0,
    weight_decay: ArrayLike = 0.0,
    train_size: ArrayLike | None = None,
    sampler: str = "without_replacement",
    hidden: int | None = None,
    initial: ArrayLike | None = None,
    test: tuple[ArrayLike, ArrayLike] | None = None,
    look_at: Sequence[float] = (1.0,),
    dtype: DTypeLike = np.float32,
    rng: Rng = None,
    threads: int = 1,
) -> Training:
    """Train a model by minibatch SGD for every cell of a grid.

    Parameters
    ----------
    model : str
        "linear", "logistic", "softmax" or "relu".
    X : array_like (N, d)
        Features.
    y : array_like (N,)
        Targets, or labels from 0 on.
    learning_rate, batch_size, updates, momentum, weight_decay, train_size : array_like
        Broadcast against each other to the shape G of the grid. ``updates`` is the number of
        gradient steps; a run sees the first ``train_size`` examples, all of them by default.
    sampler : str
        See the module.
    hidden : int, optional
        Number of hidden units; "relu" needs it, and no other model takes it.
    initial : array_like (P,), optional
        Weights that all runs start from: each layer's (d, h) then its biases, flattened. By default
        zero, but for "relu" Glorot & Bengio's uniform weights, drawn for each run.
    test : (array_like (M, d), array_like (M,)), optional
        A test set.
    look_at : sequence of float (R,)
        When to evaluate: increasing fractions, in (0, 1], of a run's updates.
    dtype : float32 or float64
        Kind of the arithmetic.
    rng : None, int, SeedSequence or Generator
        Gives each run its stream.
    threads : int
        Threads; the result does not depend on it.

    Returns
    -------
    Training

    Raises
    ------
    ValueError
        If an argument is out of range: a batch larger than the training set, a learning rate that
        is not positive, a momentum outside [0, 1), an unknown model or sampler, labels that the
        model does not take.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(200, 5))
    >>> runs = train(
    ...     "logistic", X, X[:, 0] > 0, learning_rate=[[0.1], [1.0]], batch_size=[5, 10, 20],
    ...     updates=500, rng=0,
    ... )
    >>> runs.train_accuracy.shape, bool((runs.train_accuracy > 0.95).all())
    ((2, 3, 1), True)
    """
    if model not in MODELS:
        raise ValueError(f"model is {model!r}; it must be one of {', '.join(MODELS)}")
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler is {sampler!r}; it must be one of {', '.join(SAMPLERS)}")
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, not {kind}")
    positive_integer("threads", threads)
    train_set = _examples("X", "y", X, y, model, kind)
    test_set = None if test is None else _examples("test X", "test y", *test, model, kind)
    shape = _shape(model, train_set, test_set, hidden)
    settings, grid = _settings(
        len(train_set[0]), learning_rate, batch_size, momentum, weight_decay, updates, train_size
    )
    looks = _looks(look_at, settings.updates)
    run_streams = streams.states(rng, len(looks))
    weights = _initial_weights(initial, model, shape, len(looks), kind, run_streams)
    measured = np.full((len(looks), looks.shape[1], 4), np.nan)
    empty = (train_set[0][:0], train_set[1][:0])

    def run(part: NDArray[np.int64]) -> None:
        part_weights, part_measured, part_streams = weights[part], measured[part], run_streams[part]
        _train_kernel(
            MODELS[model].gradient,
            MODELS[model].evaluate,
            shape,
            *train_set,
            *(test_set or empty),
            _Settings(*(column[part] for column in settings)),  # type: ignore[arg-type]
            SAMPLERS.index(sampler),
            looks[part],
            part_streams,
            part_weights,
            part_measured,
            np.empty(_room(shape, settings.batch_size), kind),
        )
        weights[part], measured[part] = part_weights, part_measured

    in_threads(run, _balanced_parts(settings, threads), threads)
    return _collect(grid, looks, measured, weights, with_test=test is not None)


# --- preparation ---------------------------------------------------------------------------------


class _Settings(NamedTuple):
    """The grid, flattened: one entry per run."""

    learning_rate: Array
    batch_size: NDArray[np.int64]
    momentum: Array
    weight_decay: Array
    updates: NDArray[np.int64]
    train_size: NDArray[np.int64]


def _examples(
    X_name: str, y_name: str, X: ArrayLike, y: ArrayLike, model: str, kind: Any
) -> tuple[NDArray[Any], NDArray[Any]]:
    features, _ = data_array(X_name, X, ndim=2)
    targets, _ = data_array(y_name, y, ndim=1)
    if len(features) != len(targets):
        raise ValueError(f"{X_name} has {len(features)} rows but {y_name} {len(targets)} entries")
    features = _aligned(features, kind)
    if MODELS[model].labels == "numbers":
        return features, targets.astype(kind)
    labels = targets.astype(np.int64)
    if np.any(labels != targets) or labels.min() < 0:
        raise ValueError(f"{y_name} must hold labels 0, 1, … for the {model} model")
    if MODELS[model].labels == "binary" and labels.max() > 1:
        raise ValueError(f"{y_name} must hold labels 0 and 1, got {labels.max()}")
    return features, labels


def _aligned(rows: Any, kind: Any) -> NDArray[Any]:
    """Copy to an address that is a multiple of 64: no vector then straddles two cache lines."""
    room = np.empty(rows.size + 64 // kind.itemsize, kind)
    start = -room.ctypes.data % 64 // kind.itemsize
    copy = room[start : start + rows.size].reshape(rows.shape)
    copy[:] = rows
    return copy


def _shape(model: str, train_set: Any, test_set: Any, hidden: int | None) -> Shape:
    d = train_set[0].shape[1]
    if test_set is not None and test_set[0].shape[1] != d:
        raise ValueError(f"X has {d} columns but test X has {test_set[0].shape[1]}")
    if MODELS[model].has_hidden:
        if hidden is None:
            raise ValueError(f"the {model} model needs hidden, its number of hidden units")
        positive_integer("hidden", hidden)
    elif hidden is not None:
        raise ValueError(f"the {model} model has no hidden units; leave hidden out")
    if MODELS[model].labels != "classes":
        return d, 0, 1
    classes = int(train_set[1].max()) + 1
    if classes < 2:
        raise ValueError("y must hold at least two classes, got only 0")
    if test_set is not None and test_set[1].max() >= classes:
        raise ValueError(f"test y holds label {test_set[1].max()}; y has none above {classes - 1}")
    return d, hidden or 0, classes


def _settings(
    N: int,
    learning_rate: ArrayLike,
    batch_size: ArrayLike,
    momentum: ArrayLike,
    weight_decay: ArrayLike,
    updates: ArrayLike,
    train_size: ArrayLike | None,
) -> tuple[_Settings, tuple[int, ...]]:
    rates = positive_array("learning_rate", learning_rate)
    momenta = finite_array("momentum", momentum)
    if np.any((momenta < 0) | (momenta >= 1)):
        raise ValueError(f"momentum must be in [0, 1), got {momenta.min():g} to {momenta.max():g}")
    decay = finite_array("weight_decay", weight_decay)
    if np.any(decay < 0):
        raise ValueError(f"weight_decay must not be negative, got {decay.min():g}")
    sizes = _integers("train_size", N if train_size is None else train_size)
    if np.any(sizes > N):
        raise ValueError(f"train_size is {sizes.max()}, but X has {N} rows")
    batches, steps = _integers("batch_size", batch_size), _integers("updates", updates)
    columns = np.broadcast_arrays(rates, batches, momenta, decay, steps, sizes)
    too_large = columns[1] > columns[5]
    if np.any(too_large):
        B, n = (column[too_large][0] for column in (columns[1], columns[5]))
        raise ValueError(f"batch_size is {B}, more than the {n} training examples")
    return _Settings(*(column.ravel() for column in columns)), columns[0].shape


def _integers(name: str, value: ArrayLike) -> NDArray[np.int64]:
    numbers = finite_array(name, value)
    wrong = (numbers != np.floor(numbers)) | (numbers < 1)
    if np.any(wrong):
        raise ValueError(f"{name} must hold positive integers, got {numbers[wrong][0]:g}")
    return numbers.astype(np.int64)


def _looks(look_at: Sequence[float], updates: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return after which updates (runs, R) to evaluate."""
    fractions = finite_array("look_at", look_at, ndim=1)
    if np.any(fractions <= 0) or np.any(fractions > 1) or np.any(np.diff(fractions) <= 0):
        raise ValueError(f"look_at must increase within (0, 1], got {list(look_at)}")
    return np.maximum(1, np.rint(fractions * updates[:, None])).astype(np.int64)


def _initial_weights(
    initial: ArrayLike | None, model: str, shape: Shape, n: int, kind: Any, run_streams: Any
) -> NDArray[Any]:
    weights = np.zeros((n, n_parameters(shape)), kind)
    if initial is not None:
        start = finite_array("initial", initial, ndim=1)
        if start.shape != weights.shape[1:]:
            raise ValueError(f"initial has {start.size} entries, not {weights.shape[1]}")
        weights[:] = start
    elif MODELS[model].has_hidden:
        _draw_glorot(run_streams, shape, weights)
    return weights


def _room(shape: Shape, batch_sizes: NDArray[np.int64]) -> int:
    return room_size(shape, max(int(batch_sizes.max()), ROWS_AT_ONCE))


def _balanced_parts(settings: _Settings, threads: int) -> list[NDArray[np.int64]]:
    """Deal the runs out, the most expensive first, in more parts than threads."""
    cost = settings.updates * settings.batch_size
    order = np.argsort(-cost, kind="stable")
    parts = 1 if threads == 1 else min(len(order), 8 * threads)
    return [order[i::parts] for i in range(parts)]


def _collect(
    grid: tuple[int, ...],
    looks: NDArray[np.int64],
    measured: Array,
    weights: NDArray[Any],
    *,
    with_test: bool,
) -> Training:
    for column in (0, 2):
        losses = measured[:, :, column]
        losses[np.isnan(losses)] = np.inf
    columns = [measured[:, :, i].reshape(*grid, -1) for i in range(4)]
    train_loss, train_accuracy, test_loss, test_accuracy = columns
    return Training(
        looks.reshape(*grid, -1),
        train_loss,
        train_accuracy,
        test_loss if with_test else None,
        test_accuracy if with_test else None,
        weights.reshape(*grid, -1),
    )


# --- kernels -------------------------------------------------------------------------------------
# Arrays are copied by loops: an assignment of slices takes Numba a second and more to compile.


@jit
def _draw_glorot(run_streams: Any, shape: Any, weights: Any) -> None:
    """Draw a ReLU network's weights from ±√(6 / (inputs + outputs)) for each run; biases are 0."""
    d, h, K = shape
    for r in range(len(weights)):
        for start, inputs, outputs in ((0, d, h), ((d + 1) * h, h, K)):
            limit = np.sqrt(6.0 / (inputs + outputs))
            for j in range(start, start + inputs * outputs):
                weights[r, j] = limit * (2.0 * streams.uniform(run_streams[r]) - 1.0)


@jit
def _exchange_to_front(state: Any, order: Any, count: int) -> None:
    """Bring a random choice of ``count`` entries, in random order, to the front."""
    for i in range(count):
        j = i + streams.integer(state, len(order) - i)
        order[i], order[j] = order[j], order[i]


@jit
def next_batch(state: Any, sampler: int, order: Any, step: int, batch: Any) -> None:
    """Write the examples of a step into ``batch`` (B,); ``order`` (N,) is kept between steps."""
    N, B = len(order), len(batch)
    if sampler == 0:
        for k in range(B):
            batch[k] = streams.integer(state, N)
        return
    start = 0
    if sampler == 2:
        start = step % (N // B) * B
        if start == 0:
            _exchange_to_front(state, order, N)
    elif B < N:
        _exchange_to_front(state, order, B)
    for k in range(B):
        batch[k] = order[start + k]


@jit
def _descend(weights: Any, velocity: Any, slope: Any, rate: Any, m: Any, decay: Any) -> None:
    for j in range(len(weights)):
        velocity[j] = m * velocity[j] + (slope[j] + decay * weights[j])
        weights[j] -= rate * velocity[j]


@jit
def _train_kernel(
    gradient: Any,
    evaluate: Any,
    shape: Any,
    X: Any,
    y: Any,
    X_test: Any,
    y_test: Any,
    settings: Any,
    sampler: int,
    looks: Any,
    run_streams: Any,
    weights: Any,
    measured: Any,
    room: Any,
) -> None:
    kind = X.dtype.type
    velocity, slope = np.empty_like(weights[0]), np.empty_like(weights[0])
    for r in range(len(weights)):
        n, look = settings.train_size[r], 0
        order, batch = np.arange(n), np.empty(settings.batch_size[r], np.int64)
        rate, m = kind(settings.learning_rate[r]), kind(settings.momentum[r])
        decay = kind(settings.weight_decay[r])
        for j in range(len(velocity)):
            velocity[j] = 0
        for t in range(settings.updates[r]):
            next_batch(run_streams[r], sampler, order, t, batch)
            gradient(weights[r], shape, X, y, batch, slope, room)
            _descend(weights[r], velocity, slope, rate, m, decay)
            while look < looks.shape[1] and looks[r, look] == t + 1:
                out = measured[r, look]
                out[0], out[1] = evaluate(weights[r], shape, X[:n], y[:n], room)
                if len(X_test):
                    out[2], out[3] = evaluate(weights[r], shape, X_test, y_test, room)
                look += 1
