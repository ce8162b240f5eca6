"""A ReLU network of two hidden layers that tells two classes apart, and its training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from sims import streams
from sims._bad_minima_kernels import WIDTH, Kernels, kernels
from sims._threads import in_threads
from sims.streams import Rng
from theory._validation import (
    data_array,
    finite_array,
    number,
    positive_array,
    positive_integer,
)

Array = NDArray[np.float64]

REDUCTIONS = ("sum", "mean")


class Training(NamedTuple):
    """Runs of a grid of shape (...).

    Attributes
    ----------
    weights : ndarray (..., P)
        At the end.
    accuracy : ndarray (...)
        Then, on the judged examples.
    epochs_to_fit : ndarray (...)
        Epochs until all of these were first right at an epoch's end; infinite if they never were.
    """

    weights: NDArray[Any]
    accuracy: Array
    epochs_to_fit: Array


@dataclass(frozen=True)
class TwoLayerNetwork:
    r"""The logit :math:`w_3 \cdot \max(W_2 \max(W_1 x + b_1, 0) + b_2, 0) + b_3`.

    Its weights are one row: each layer's (inputs, outputs), then its biases. Examples are in class
    1 where the logit is positive.

    Attributes
    ----------
    inputs : int
        d.
    hidden : int
        h, units of each hidden layer.
    """

    inputs: int = 2
    hidden: int = 100

    def __post_init__(self) -> None:
        """Check the sizes."""
        positive_integer("inputs", self.inputs)
        positive_integer("hidden", self.hidden)

    @property
    def parameters(self) -> int:
        """P, the number of weights and biases."""
        return sum((rows + 1) * columns for rows, columns in self._shapes)

    def draw(self, rng: np.random.Generator) -> Array:
        """Return PyTorch's initial weights (P,): uniform, up to 1/√inputs of each layer."""
        sizes = [(rows, (rows + 1) * columns) for rows, columns in self._shapes]
        return np.concatenate([rng.uniform(-1, 1, size) / np.sqrt(rows) for rows, size in sizes])

    def layers(self, weights: ArrayLike) -> tuple[list[Array], list[Array]]:
        """Return matrices (outputs, inputs) and biases (outputs,) of the layers, the first first.

        Raises
        ------
        ValueError
            If the weights are not finite, or not P in one dimension.
        """
        row = self._checked(weights)
        if row.ndim != 1:
            raise ValueError(f"weights must have 1 dimensions, got shape {row.shape}")
        matrices, biases = [], []
        for rows, columns in self._shapes:
            layer, row = np.split(row, [(rows + 1) * columns])
            matrices.append(layer[: rows * columns].reshape(rows, columns).T)
            biases.append(layer[rows * columns :])
        return matrices, biases

    def logits(self, weights: ArrayLike, X: ArrayLike, *, dtype: DTypeLike = np.float32) -> Array:
        """Return the logits (..., N) of weights (..., P) at points (N, d).

        Raises
        ------
        ValueError
            If an array is not finite or of the wrong shape.
        """
        kind, points = _kind(dtype), self._points(X)
        rows = self._filled_up(self._checked(weights), kind)
        found = np.empty((*rows.shape[:-1], len(points)), kind)
        for place in np.ndindex(rows.shape[:-1]):
            self._kernels.logits(rows[place], points.astype(kind), found[place])
        return found.astype(float)

    def gradient(
        self, weights: ArrayLike, X: ArrayLike, y: ArrayLike, *, dtype: DTypeLike = np.float64
    ) -> Array:
        """Return the gradient (P,) of the cross-entropy of labels 0 and 1, summed over examples.

        Raises
        ------
        ValueError
            If an array is not finite or of the wrong shape, or a label is neither 0 nor 1.
        """
        kind = _kind(dtype)
        points, labels = self._examples(X, y)
        row = self._filled_up(self._checked(weights), kind)
        out = np.zeros_like(row)
        self._kernels.gradient(row, points.astype(kind), labels.astype(kind), out)
        return out[self._kept].astype(float)

    def train(
        self,
        weights: ArrayLike,
        X: ArrayLike,
        y: ArrayLike,
        *,
        epochs: int,
        learning_rate: ArrayLike,
        reduction: str = "sum",
        batch_size: int = 10,
        momentum: ArrayLike = 0.0,
        weight_decay: ArrayLike = 0.0,
        judged: int | None = None,
        patience: int | None = None,
        drop: float = 0.3,
        dtype: DTypeLike = np.float32,
        rng: Rng = None,
        threads: int = 1,
    ) -> Training:
        r"""Train networks by SGD with heavy-ball momentum, one for each cell of a grid.

        With L the cross-entropy of a batch, in PyTorch's convention,

        .. math:: v \leftarrow m v + \nabla L + \lambda w, \qquad w \leftarrow w - \epsilon v.

        Each epoch goes through the examples in a new order; what is left over after the last full
        batch is dropped.

        Parameters
        ----------
        weights : array_like (..., P)
            Where to start.
        X : array_like (N, d)
            Points.
        y : array_like (N,)
            Labels 0 and 1.
        epochs : int
        learning_rate, momentum, weight_decay : array_like
            ε, m and λ. Broadcast against each other and the starts to the grid's shape G.
        reduction : str
            Whether L is the "sum" or the "mean" over the batch.
        batch_size : int
            B.
        judged : int, optional
            How many of the examples, from the first on, accuracy is measured on; all by default.
            Those after them may be augmented copies.
        patience : int, optional
            Epochs without a better accuracy after which ε is multiplied by ``drop``; none by
            default.
        drop : float
        dtype : float32 or float64
            Kind of the arithmetic.
        rng : None, int, SeedSequence or Generator
            Draws the batches, from a stream for each run.
        threads : int
            Threads; the result does not depend on it.

        Returns
        -------
        Training

        Raises
        ------
        ValueError
            If an argument is out of range, or a run diverges.
        """
        kind = _kind(dtype)
        points, labels = self._examples(X, y)
        N = len(points)
        if reduction not in REDUCTIONS:
            raise ValueError(f"reduction is {reduction!r}; it must be one of sum, mean")
        B = positive_integer("batch_size", batch_size)
        if N < B:
            raise ValueError(f"batch_size is {B}, more than the {N} examples")
        if positive_integer("judged", N if judged is None else judged) > N:
            raise ValueError(f"judged is {judged}, more than the {N} examples")
        if not 0.0 < number("drop", drop) < 1.0:
            raise ValueError(f"drop must be in (0, 1), got {drop:g}")
        waits = 0 if patience is None else positive_integer("patience", patience)
        positive_integer("epochs", epochs)
        starts = self._checked(weights)
        settings, grid = _settings(learning_rate, momentum, weight_decay, starts.shape[:-1])
        rows = np.broadcast_to(self._filled_up(starts, kind), (*grid, self._size)).copy()
        rows = rows.reshape(-1, self._size)
        share = 1.0 if reduction == "sum" else 1.0 / B
        features, targets = points.astype(kind), labels.astype(kind)
        found = np.empty((len(rows), 2))
        run_streams = streams.states(rng, len(rows))

        def run(i: int) -> None:
            rate, m, decay = settings[i]
            self._kernels.train(
                features,
                targets,
                N if judged is None else judged,
                (rate, share, m, decay),
                epochs,
                B,
                waits,
                drop,
                run_streams[i],
                rows[i],
                found[i],
            )

        in_threads(run, range(len(rows)), threads)
        diverged = np.flatnonzero(~np.all(np.isfinite(rows), axis=1))
        if len(diverged):
            raise ValueError(
                f"learning_rate is {settings[diverged[0], 0]:g}, with which the weights diverge; "
                "take a smaller one"
            )
        ends = rows[:, self._kept].reshape(*grid, -1)
        epochs_to_fit = np.where(found[:, 1] < 0, np.inf, found[:, 1])
        return Training(ends, found[:, 0].reshape(grid), epochs_to_fit.reshape(grid))

    @property
    def _shapes(self) -> tuple[tuple[int, int], ...]:
        h = self.hidden
        return (self.inputs, h), (h, h), (h, 1)

    @property
    def _width(self) -> int:
        return -(-self.hidden // WIDTH) * WIDTH

    @property
    def _kernels(self) -> Kernels:
        return kernels(self.inputs, self._width)

    @property
    def _size(self) -> int:
        return TwoLayerNetwork(self.inputs, self._width).parameters

    @property
    def _kept(self) -> NDArray[np.int64]:
        """Where the weights (P,) are among those of the network that is filled up."""
        n, d, h = self._width, self.inputs, self.hidden
        unit = np.arange(n) < h
        last = np.array([True])
        parts = (np.tile(unit, d), unit, np.outer(unit, unit).ravel(), unit, unit, last)
        return np.flatnonzero(np.concatenate(parts))

    def _filled_up(self, weights: Array, kind: Any) -> NDArray[Any]:
        rows = np.zeros((*weights.shape[:-1], self._size), kind)
        rows[..., self._kept] = weights
        return rows

    def _checked(self, weights: ArrayLike) -> Array:
        rows = finite_array("weights", weights)
        if rows.ndim == 0 or rows.shape[-1] != self.parameters:
            raise ValueError(f"weights must have {self.parameters} columns, got shape {rows.shape}")
        return rows

    def _points(self, X: ArrayLike) -> Array:
        points, _ = data_array("X", X, ndim=2)
        if points.shape[1] != self.inputs:
            raise ValueError(f"X must have {self.inputs} columns, got shape {points.shape}")
        return points

    def _examples(self, X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
        points, labels = self._points(X), finite_array("y", y, ndim=1)
        if len(points) != len(labels):
            raise ValueError(f"X has {len(points)} rows but y {len(labels)} entries")
        if not np.all((labels == 0) | (labels == 1)):
            raise ValueError("y must hold labels 0 and 1")
        return points, labels


def _kind(dtype: DTypeLike) -> Any:
    kind = np.dtype(dtype)
    if kind not in (np.float32, np.float64):
        raise ValueError(f"dtype must be float32 or float64, not {kind}")
    return kind


def _settings(
    learning_rate: ArrayLike, momentum: ArrayLike, weight_decay: ArrayLike, shape: tuple[int, ...]
) -> tuple[Array, tuple[int, ...]]:
    """Return rates, momenta and decays (runs, 3), and the grid's shape."""
    rates, momenta = (
        positive_array("learning_rate", learning_rate),
        finite_array("momentum", momentum),
    )
    if np.any((momenta < 0) | (momenta >= 1)):
        raise ValueError(f"momentum must be in [0, 1), got {momenta.min():g} to {momenta.max():g}")
    decays = finite_array("weight_decay", weight_decay)
    if np.any(decays < 0):
        raise ValueError(f"weight_decay must not be negative, got {decays.min():g}")
    columns = np.broadcast_arrays(rates, momenta, decays, np.empty(shape))[:3]
    return np.stack([column.ravel() for column in columns], axis=1), columns[0].shape
