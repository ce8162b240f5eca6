"""Corollary 1 of Zhang et al. (2017): depth k and width O(n/k); and networks of 4⌈n/d⌉ units."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from theory._memorization_network import (
    Line,
    Rng,
    best_line,
    check_finite,
    hinge_network,
    label_array,
    points_array,
)
from theory._validation import finite_array, positive_integer

Array = NDArray[np.float64]
Matrix = Any  # SciPy's sparse arrays

CONSTRUCTIONS = ("split", "gated")


@dataclass(frozen=True, eq=False)
class DeepMemorizingNetwork:
    """A network of several hidden layers of ReLUs on one shared projection of its input.

    Calling it with points (m, d) runs the layers in float64.

    Attributes
    ----------
    projection : ndarray (d,)
        a: every unit of the first hidden layer sees <a, x> alone.
    layers : tuple of (sparse array (units, units before), ndarray (units,))
        Weights and biases of the hidden layers; the first takes one number.
    readout : ndarray (units,)
        Weights of the output, without a bias.
    error : float
        Largest error, as evaluated, over the points it was made for.
    """

    projection: Array
    layers: tuple[tuple[Matrix, Array], ...]
    readout: Array
    error: float = field(kw_only=True)

    @property
    def depth(self) -> int:
        """Number of hidden layers; the linear output comes on top."""
        return len(self.layers)

    @property
    def width(self) -> int:
        """Number of units of the widest hidden layer."""
        return max(len(bias) for _, bias in self.layers)

    @property
    def n_nonzero(self) -> int:
        """Number of weights and biases that are not zero, the shared projection counted once."""
        hidden = sum(matrix.count_nonzero() + np.count_nonzero(b) for matrix, b in self.layers)
        return int(hidden + self.projection.size + np.count_nonzero(self.readout))

    def __call__(self, X: ArrayLike) -> Array:
        """Return the values (m,) at the points X (m, d).

        Raises
        ------
        ValueError
            If X is not a finite array of points of d features.
        """
        points = points_array("X", X, features=len(self.projection))
        from theory import _memorization_kernels as kernels

        high, _ = kernels.project(points, self.projection)
        check_finite("X", points, high)
        return _run(self.layers, self.readout, high)


def _run(layers: Sequence[tuple[Matrix, Array]], readout: Array, projected: Array) -> Array:
    """Return the values (m,), in blocks of points that bound the memory."""
    outputs = np.empty(len(projected))
    block = max(1, 2**22 // max(len(bias) for _, bias in layers))
    for start in range(0, len(projected), block):
        values = projected[None, start : start + block]
        for matrix, bias in layers:
            values = np.maximum(matrix @ values + bias[:, None], 0.0)
        outputs[start : start + block] = readout @ values
    return outputs


def memorize_deep(
    X: ArrayLike,
    y: ArrayLike,
    *,
    depth: int,
    construction: str = "split",
    rng: Rng = None,
    projections: int = 1,
) -> DeepMemorizingNetwork:
    r"""Build a network of ``depth`` hidden layers, width n / depth + O(1), that fits any labels.

    "split" puts n / depth of the hinges of Theorem 1's network into each layer and carries the
    projection and the sum so far, as a positive and a negative part: width at most
    ⌈n / depth⌉ + 3. "gated" is the paper's: layer j fits the points of the j-th interval of the
    line, a trapezoid of four units says whether a point lies there, and two units multiply the
    two; depth - 1 intervals, width at most ⌈n / (depth - 1)⌉ + 9. Both have O(n + d) weights that
    are not zero.

    Parameters
    ----------
    X : array_like (n, d)
        Points. Rows that are equal, with equal labels, count once.
    y : array_like (n,)
        Any numbers.
    depth : int
        Number of hidden layers, at most n; for "gated" from 2 to n + 1.
    construction : {"split", "gated"}
    rng : None, int, SeedSequence or Generator
        Draws the projection.
    projections : int
        Draw so many and keep the one with the largest margin.

    Returns
    -------
    DeepMemorizingNetwork

    Raises
    ------
    ValueError
        If X or y is not as :func:`memorize` takes it, y has two dimensions, or ``depth``,
        ``construction`` or ``projections`` is out of range.

    References
    ----------
    Zhang et al. (2017), Corollary 1 (appendix C). The paper leaves the product of indicator and
    value to "approximate" gates; the exact gate and the split are derived.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(600, 20)), rng.choice([-1.0, 1.0], size=600)
    >>> network = memorize_deep(X, y, depth=10, rng=0)
    >>> network.depth, network.width, network.error < 1e-8
    (10, 63, True)
    """
    points = points_array("X", X)
    targets = label_array(y, len(points), ndim=1)
    positive_integer("projections", projections)
    if construction not in CONSTRUCTIONS:
        raise ValueError(
            f"construction is {construction!r}; it must be one of {', '.join(CONSTRUCTIONS)}"
        )
    extra = 1 if construction == "gated" else 0
    positive_integer("depth", depth, minimum=1 + extra)
    _check_depth(depth, len(points), extra)
    line = best_line(points, targets, np.random.default_rng(rng), projections)
    _check_depth(depth, len(line.rows), extra)  # equal rows count once
    labels = targets[line.rows, 0]
    if construction == "split":
        layers, readout = _split(line, labels, depth)
    else:
        layers, readout = _gated(line, labels, depth - extra)
    error = float(np.max(np.abs(_run(layers, readout, line.high) - labels)))
    return DeepMemorizingNetwork(line.direction, layers, readout, error=error)


Layers = tuple[tuple[Matrix, Array], ...]


def _check_depth(depth: int, n: int, extra: int) -> None:
    if depth > n + extra:
        raise ValueError(f"depth is {depth}; with {n} distinct points it must be ≤ {n + extra}")


def _split(line: Line, labels: Array, depth: int) -> tuple[Layers, Array]:
    """Deal the hinges of the 2n + d network to the layers, in their order."""
    network = hinge_network(line, labels[:, None])
    weights = np.array_split(network.weights[:, 0], depth)
    layers: list[tuple[Matrix, Array]] = []
    position, total = _form(1, 0, [1.0]), None  # of the layer before: where x is, the sum so far
    for biases, group in zip(np.array_split(network.biases, depth), weights, strict=True):
        # The first layer sees the projection itself, the others how far past b_1 it is.
        origin = network.biases[0] if layers else 0.0
        rows, offsets = [position] * (1 + len(group)), [network.biases[0], *biases]
        units = 1 + len(group) + (0 if total is None else 2)
        following = _form(units, 1, group)
        if total is not None:  # carried as its positive and its negative part
            rows += [total, -total]
            offsets += [origin, origin]
            following += _form(units, units - 2, [1.0, -1.0])
        layers.append((sp.csr_array(sp.vstack(rows)), origin - np.array(offsets)))
        position, total = _form(units, 0, [1.0]), following
    assert total is not None
    return tuple(layers), total.toarray()[0]


def _gated(line: Line, labels: Array, intervals: int) -> tuple[Layers, Array]:
    """Fit one interval of the line in each layer, gate it in the next, then add it up.

    Layer l holds the position, the hinges and the trapezoid of interval l, the two gate units of
    interval l - 1, and the sum of the intervals up to l - 2 as its positive and negative part.
    """
    parts = np.array_split(np.arange(len(labels)), intervals)
    fits = [_interval(line, labels, part[0], part[-1] + 1) for part in parts]
    start = line.high[0] - line.step
    layers: list[tuple[Matrix, Array]] = []
    position, total = _form(1, 0, [1.0]), None
    gates: list[tuple[Matrix, float]] = []
    for fit in [*fits, None]:
        # The first layer sees the projection itself, the others how far past the start it is.
        origin = start if layers else 0.0
        own = np.empty(0) if fit is None else np.append(fit.biases, fit.trapezoid)
        rows, offsets = [position] * (1 + len(own)), [origin - start, *(origin - own)]
        units = len(rows) + len(gates) + (0 if total is None else 2)
        after = 1 + len(own)
        following = None
        if gates:
            rows += [form for form, _ in gates]
            offsets += [bound for _, bound in gates]
            following = _form(units, after, [1.0, -1.0])
        if total is not None:
            rows += [total, -total]
            offsets += [0.0, 0.0]
            following = following + _form(units, units - 2, [1.0, -1.0])
        layers.append((sp.csr_array(sp.vstack(rows)), np.array(offsets)))
        position, total, gates = _form(units, 0, [1.0]), following, []
        if fit is not None:
            value = _form(units, 1, fit.weights)
            inside = _form(units, 1 + len(fit.biases), fit.slopes)
            # o f = relu(o - M (1 - f)) - relu(-o - M (1 - f)) for f in {0, 1} and |o| <= M
            gates = [(sign * value + fit.bound * inside, -fit.bound) for sign in (1.0, -1.0)]
    assert total is not None
    return tuple(layers), total.toarray()[0]


class _Interval(NamedTuple):
    """Hinges that fit the points of an interval, and a trapezoid that is 1 on them, 0 on others.

    ``weights`` are those of the value on both, ``slopes`` the trapezoid's own.
    """

    biases: Array
    weights: Array
    trapezoid: Array
    slopes: Array
    bound: float


def _interval(line: Line, labels: Array, first: int, last: int) -> _Interval:
    inner = line._replace(high=line.high[first:last], low=line.low[first:last])
    inner_labels = labels[first:last, None]
    network = hinge_network(inner, inner_labels)
    x = line.high
    before = x[first - 1] if first > 0 else x[first] - line.step
    after = x[last] if last < len(x) else x[last - 1] + line.step
    corners = np.array([before, x[first], x[last - 1], after])
    rise, fall = np.diff(corners)[[0, 2]]
    slopes = np.array([1.0 / rise, -1.0 / rise, -1.0 / fall, 1.0 / fall])
    # From the last point on, the trapezoid's third unit keeps the value where it is: no value
    # exceeds the labels, and twice their size bounds it after rounding too.
    weights = np.append(network.weights, [0.0, 0.0, -math.fsum(network.weights[:, 0]), 0.0])
    bound = 2.0 * float(np.max(np.abs(inner_labels)))
    return _Interval(network.biases, weights, corners, slopes, bound)


def _form(units: int, start: int, coefficients: ArrayLike) -> Matrix:
    """Return a row (1, units) that takes consecutive units from ``start`` on."""
    values = np.asarray(coefficients, dtype=np.float64)
    places = np.arange(start, start + len(values))
    return sp.csr_array((values, (np.zeros_like(places), places)), shape=(1, units))


# --- points in general position -------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GeneralPositionNetwork:
    r"""A network with one hidden layer of 4⌈n/d⌉ ReLUs.

    .. math:: c(x) = \sum_j w_j \max(\langle v_j, x \rangle - b_j, 0)

    Attributes
    ----------
    input_weights : ndarray (units, d)
        v.
    biases, weights : ndarray (units,)
        b and w.
    error : float
        Largest error, as evaluated in float64, over the points it was made for.
    """

    input_weights: Array
    biases: Array
    weights: Array
    error: float = field(kw_only=True)

    @property
    def depth(self) -> int:
        """Number of hidden layers."""
        return 1

    @property
    def width(self) -> int:
        """Number of hidden units."""
        return len(self.biases)

    @property
    def n_nonzero(self) -> int:
        """Number of weights and biases that are not zero."""
        parts = (self.input_weights, self.biases, self.weights)
        return sum(int(np.count_nonzero(part)) for part in parts)

    def __call__(self, X: ArrayLike) -> Array:
        """Return the values (m,) at the points X (m, d).

        Raises
        ------
        ValueError
            If X is not a finite array of points of d features.
        """
        points = finite_array("X", points_array("X", X, features=self.input_weights.shape[1]))
        return _shallow(points, self.input_weights, self.biases, self.weights)


def _shallow(points: Array, input_weights: Array, biases: Array, weights: Array) -> Array:
    return np.asarray(np.maximum(points @ input_weights.T - biases, 0.0) @ weights)


def memorize_general_position(X: ArrayLike, y: ArrayLike) -> GeneralPositionNetwork:
    r"""Fit any labels of points in general position by 4⌈n/d⌉ ReLUs.

    Each group of d points spans a hyperplane :math:`\langle u, x \rangle = 1`, and a vector v has
    :math:`\langle v, x \rangle = y` on it. Four units make a function that is
    :math:`\langle v, x \rangle` on a slab about the hyperplane and 0 at all other points. It takes
    n (d + 2) · 4 / d weights, more than :func:`memorize`, but d / 4 times fewer units.

    Parameters
    ----------
    X : array_like (n, d)
        Points in general position: any d of them linearly independent, no further one on their
        hyperplane. Consecutive rows make the groups.
    y : array_like (n,)
        Any numbers.

    Returns
    -------
    GeneralPositionNetwork

    Raises
    ------
    ValueError
        If X or y is not as :func:`memorize` takes it, y has two dimensions, or the points of a
        group are linearly dependent or another point lies on their hyperplane (rows named).

    References
    ----------
    Bubeck, Eldan, Lee & Mikulincer (2020), "Network size and weights size for memorization with
    two-layers neural networks". The construction is from memory, rederived, and not checked against
    the paper's text.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(600, 20)), rng.choice([-1.0, 1.0], size=600)
    >>> network = memorize_general_position(X, y)
    >>> network.width, network.error < 1e-6
    (120, True)
    """
    points = finite_array("X", points_array("X", X))
    labels = label_array(y, len(points), ndim=1)[:, 0]
    groups = [
        _slab(points, labels, start, min(start + points.shape[1], len(points)))
        for start in range(0, len(points), points.shape[1])
    ]
    input_weights, biases, weights = (np.concatenate(part) for part in zip(*groups, strict=True))
    error = float(np.max(np.abs(_shallow(points, input_weights, biases, weights) - labels)))
    return GeneralPositionNetwork(input_weights, biases, weights, error=error)


def _slab(points: Array, labels: Array, first: int, last: int) -> tuple[Array, Array, Array]:
    """Return the four units of one group: directions (4, d), biases (4,), weights (4,)."""
    inside = points[first:last]
    rows = f"rows {first} to {last - 1}"
    both = np.column_stack([np.ones(last - first), labels[first:last]])
    solutions, _, rank, _ = np.linalg.lstsq(inside, both)
    u, v = solutions.T
    if rank < last - first:
        raise ValueError(f"X is not in general position: {rows} are linearly dependent")
    others = np.delete(points, slice(first, last), axis=0)
    distances, slopes = np.abs(others @ u - 1.0), np.abs(others @ v)
    height = 1.0
    if len(others):
        height = min(height, 0.5 * float(np.min(distances)))
    if height < 1e-10:
        row = int(np.argmin(distances))
        row += last - first if row >= first else 0
        raise ValueError(
            f"X is not in general position: row {row} lies on the hyperplane of {rows}"
        )
    # Small enough that no point leaves its side of the slab's faces.
    steps = [height / max(float(np.max(np.abs(labels[first:last]))), 1e-200)]
    if len(others):
        steps.append(float(np.min((distances - height) / np.maximum(slopes, 1e-200))))
    step = 2.0 ** np.floor(np.log2(0.5 * min(steps)))
    directions = np.array([u + step * v, u, u + step * v, u])
    faces = np.array([1.0 - height, 1.0 - height, 1.0 + height, 1.0 + height])
    return directions, faces, np.array([1.0, -1.0, -1.0, 1.0]) / step
