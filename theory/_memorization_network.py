"""Theorem 1 of Zhang et al. (2017): 2n + d weights fit any labels of n points."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory._validation import data_array, positive_integer

Array = NDArray[np.float64]
Rng = int | np.random.SeedSequence | np.random.Generator | None

_REDRAWS = 8  # directions tried after one along which distinct points coincide
_LARGEST = 1e250  # size of projections; their products with weights are numbers, too
_ROUNDINGS = 8  # a gap narrower than so many units in the last place counts as none


@dataclass(frozen=True, eq=False)
class MemorizingNetwork:
    r"""A network with one hidden layer of ReLUs that share their input weights.

    .. math:: c(x) = \sum_j w_j \max(\langle a, x \rangle - b_j, 0)

    Calling it with points (m, d) gives its values, (m,) or (m, K), in O(d + log n) a point. The
    projection is taken in double-double and the sums over hidden units are prefix sums in
    double-double, so what is returned is the value of the function that the stored float64
    parameters define, to a few roundings of float64. A point's value does not depend on what it is
    evaluated together with, to the last bit.

    Attributes
    ----------
    projection : ndarray (d,)
        a, of norm 1.
    biases : ndarray (n,)
        b, increasing.
    weights : ndarray (n,) or (n, K)
        w.
    margin : float
        Smallest gap between the projections of neighboring points, in units of X.
    error : float
        Largest \|c(x_i) - y_i\| of the stored parameters over the points they were made for.

    Raises
    ------
    ValueError
        If biases and weights differ in number, or the biases do not increase.
    """

    projection: Array
    biases: Array
    weights: Array
    margin: float = field(kw_only=True)
    error: float = field(kw_only=True)

    def __post_init__(self) -> None:
        """Check that there is a weight for each bias, and that they increase."""
        if not len(self.biases) == len(self.weights) > 0:
            raise ValueError(
                f"there must be biases, and a weight for each, got {len(self.weights)} and "
                f"{len(self.biases)}"
            )
        if not np.all(self.biases[:-1] < self.biases[1:]):
            raise ValueError("biases must increase")

    @property
    def n_parameters(self) -> int:
        """Number of parameters: 2n + d, or n (K + 1) + d for K outputs."""
        return self.projection.size + self.biases.size + self.weights.size

    @property
    def n_dense_parameters(self) -> int:
        """Number of weights and biases if every hidden unit holds its own copy of a."""
        return self.biases.size * self.projection.size + self.biases.size + self.weights.size

    @property
    def degrees_of_freedom(self) -> int:
        """Number of parameters less one: a and b times c > 0, w over c, is the same function."""
        return self.n_parameters - 1

    def __call__(self, X: ArrayLike) -> Array:
        """Return the values at the points X (m, d): (m,) or (m, K).

        Raises
        ------
        ValueError
            If X is not a finite array of points of d features.
        """
        points = points_array("X", X, features=len(self.projection))
        from theory import _memorization_kernels as kernels

        high, low = kernels.project(points, self.projection)
        check_finite("X", points, high)
        values = self.at(high, low)
        return values[:, 0] if self.weights.ndim == 1 else values

    def at(self, high: Array, low: Array) -> Array:
        """Return the values (m, K) where the projection is high + low."""
        from theory import _memorization_kernels as kernels

        table = self._table
        values = np.empty((len(high), table.pieces.shape[1]))

        def work(rows: slice) -> None:
            kernels.evaluate(high[rows], low[rows], self.biases, *table, values[rows])

        kernels.in_threads(work, len(high), 2**16)
        return values

    @functools.cached_property
    def _table(self) -> _Table:
        from theory import _memorization_kernels as kernels

        n = len(self.biases)
        weights = self.weights.reshape(n, -1)
        pieces = np.empty((*weights.shape, 4))
        kernels.fill_pieces(self.biases, weights, pieces)
        scale = n / (self.biases[-1] - self.biases[0]) if n > 1 else 0.0
        starts = np.empty(n + 1, dtype=np.int64)
        kernels.bucket_starts(self.biases, scale, starts)
        return _Table(scale, starts, pieces)


class _Table(NamedTuple):
    """The network as a piecewise linear function of the projection, and where to look for it.

    The line is cut into equal buckets, ``scale`` of them a unit, and ``starts`` says where each
    begins among the biases, so that finding a piece takes the search of one bucket.
    """

    scale: float
    starts: NDArray[np.int64]
    pieces: Array


def memorize(
    X: ArrayLike,
    y: ArrayLike,
    *,
    rng: Rng = None,
    projections: int = 1,
    interleave: float = 0.0,
) -> MemorizingNetwork:
    r"""Build a network of 2n + d weights that fits any labels of any n points.

    The points are projected on a random direction a. In the order of their projections
    :math:`x_j`, a hidden unit begins after each point, :math:`x_{j-1} \le b_j < x_j`, and bends
    the line so that it meets the next label. With :math:`b_j = x_{j-1}` the output weights are
    second differences of the labels, and nothing is unstable. Each weight is chosen from the slope
    and the value that the rounded weights before it really give, in double-double, so that
    rounding errors do not add up.

    It costs O(nd + n log n) time and O(n) memory beside X.

    Parameters
    ----------
    X : array_like (n, d)
        Points. Rows that are equal, with equal labels, count once. float32 and smaller types are
        read as they are, without a copy.
    y : array_like (n,) or (n, K)
        Any numbers: K outputs share a and b.
    rng : None, int, SeedSequence or Generator
        Draws a.
    projections : int
        Draw so many directions and keep the one with the largest margin: the weights are of size
        max \|y\| / margin.
    interleave : float
        ρ in [0, 1): biases are placed at :math:`b_j = x_{j-1} + \rho (x_j - x_{j-1})`. Any ρ fits
        in exact arithmetic; in float64, errors grow as :math:`(\rho / (1 - \rho))^n`.

    Returns
    -------
    MemorizingNetwork

    Raises
    ------
    ValueError
        If X or y is empty, or has NaN, infinite, or other entries that are not ordinary float64
        numbers (integers above 2⁵³ too); if their lengths differ; if two rows are equal but not
        their labels, or so close that no direction of those tried tells them apart; if
        ``projections`` or ``interleave`` is out of range.
    OverflowError
        If the weights are beyond float64, as they soon are at ``interleave`` > 1/2.

    References
    ----------
    Zhang et al. (2017), Theorem 1 and Lemma 1 (section 4 and appendix C). The paper leaves the
    biases' places within the gaps open; the stability of ρ < 1/2 and the choice ρ = 0 are derived
    in :mod:`theory.derivations`.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(1000, 20)), rng.choice([-1.0, 1.0], size=1000)
    >>> network = memorize(X, y, rng=0)
    >>> network.n_parameters  # 2 * 1000 + 20
    2020
    >>> bool(np.max(np.abs(network(X) - y)) < 1e-12)
    True
    """
    points = points_array("X", X)
    targets = label_array(y, len(points))
    positive_integer("projections", projections)
    if not 0.0 <= interleave < 1.0:
        raise ValueError(f"interleave must be in [0, 1), got {interleave!r}")
    line = best_line(points, targets, np.random.default_rng(rng), projections)
    network = hinge_network(line, targets[line.rows], float(interleave))
    return (
        network if np.ndim(y) == 2 else dataclasses.replace(network, weights=network.weights[:, 0])
    )


class Line(NamedTuple):
    """Distinct points in the order of their projections, double-doubles, on a direction.

    ``step`` is their mean gap, the scale of the line: how far the first bias lies below its point.
    """

    direction: Array
    high: Array
    low: Array
    rows: NDArray[np.int64]
    margin: float
    step: float


def best_line(
    points: NDArray[Any], targets: Array, rng: np.random.Generator, projections: int
) -> Line:
    """Draw directions and keep the one of the largest margin; redraw if points coincide."""
    best: Line | None = None
    found = redrawn = 0
    while found < projections:
        line = _draw_line(points, targets, rng)
        if isinstance(line, Line):
            found += 1
            if best is None or line.margin > best.margin:
                best = line
        elif (redrawn := redrawn + 1) > _REDRAWS:
            raise ValueError(
                f"rows {line[0]} and {line[1]} of X are so close that their projections coincide "
                f"in float64, in each of {redrawn} directions"
            )
    assert best is not None
    return best


def _draw_line(
    points: NDArray[Any], targets: Array, rng: np.random.Generator
) -> Line | tuple[int, int]:
    """Project on a random direction; if distinct points coincide, return two of their rows."""
    from theory import _memorization_kernels as kernels

    normal = rng.normal(size=points.shape[1])
    direction = np.asarray(normal / np.linalg.norm(normal), dtype=np.float64)
    high, low = kernels.project(points, direction)
    check_finite("X", points, high)
    size = float(np.max(np.abs(high)))
    if 0.0 < size < 1.0 / _LARGEST:
        raise ValueError(f"X is of size {size:g}: its products are beyond float64's range")
    rows, high, low = kernels.in_order(high, low)
    narrow = _narrow_gaps(high, size)
    if narrow.size:
        first, second = rows[narrow], rows[narrow + 1]
        distinct = np.any(points[first] != points[second], axis=1)
        if np.any(distinct):
            k = int(np.argmax(distinct))
            return int(min(first[k], second[k])), int(max(first[k], second[k]))
        _check_agreement(targets, first, second)
        kept = np.delete(np.arange(len(rows)), narrow + 1)
        rows, high, low = rows[kept], high[kept], low[kept]
    gaps = np.diff(high)
    margin = float(np.min(gaps)) if gaps.size else np.inf
    step = float(high[-1] - high[0]) / gaps.size if gaps.size else size or 1.0
    return Line(direction, high, low, rows, margin, step)


def _narrow_gaps(high: Array, size: float) -> NDArray[np.int64]:
    """Return where the next projection is too close for a bias in between."""
    gaps = np.diff(high)
    narrow = np.flatnonzero(gaps < _ROUNDINGS * np.spacing(size))
    ends = np.maximum(np.abs(high[narrow]), np.abs(high[narrow + 1]))
    return narrow[gaps[narrow] < _ROUNDINGS * np.spacing(ends)]


def _check_agreement(targets: Array, first: NDArray[np.int64], second: NDArray[np.int64]) -> None:
    """Demand that equal rows have equal labels."""
    differ = np.flatnonzero(np.any(targets[first] != targets[second], axis=1))
    if differ.size:
        pairs = np.sort(np.column_stack([first[differ], second[differ]]), axis=1)
        named = ", ".join(f"{i} and {j}" for i, j in pairs[np.argsort(pairs[:, 0])][:5].tolist())
        more = f" and {differ.size - 5} more pairs" if differ.size > 5 else ""
        raise ValueError(f"equal rows of X have different y: rows {named}{more}")


def hinge_network(line: Line, y: Array, interleave: float = 0.0) -> MemorizingNetwork:
    """Place the biases and choose the weights for labels (n, K) in the order of the line."""
    from theory import _memorization_kernels as kernels

    biases, weights = np.empty_like(line.high), np.empty_like(y)
    error = kernels.fit_weights(line.high, line.low, line.step, interleave, y, biases, weights)
    if not (np.isfinite(error) and np.all(np.isfinite(weights))):
        raise OverflowError(
            "the weights are beyond float64: y is too large for the gaps between projections, or "
            f"interleave={interleave!r} for n={len(y)}"
        )
    return MemorizingNetwork(line.direction, biases, weights, margin=line.margin, error=error)


# --- arguments ------------------------------------------------------------------------------------


def points_array(name: str, X: ArrayLike, *, features: int | None = None) -> NDArray[Any]:
    """Return points (n, d) in their own kind of number, or raise ValueError."""
    points = as_given(name, X)
    if points.dtype.kind not in "biuf" or points.dtype.itemsize > 8:
        try:
            if np.iscomplexobj(points):
                raise TypeError("it is complex")
            points = np.asarray(X, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} must be an array of numbers: {error}") from None
    if points.ndim != 2 or points.size == 0:
        raise ValueError(
            f"{name} must have 2 dimensions, points by features, none empty: "
            f"got shape {points.shape}"
        )
    if features is not None and points.shape[1] != features:
        raise ValueError(f"{name} has {points.shape[1]} features but the network takes {features}")
    return points


def as_given(name: str, value: ArrayLike) -> NDArray[Any]:
    """Return an array of its own kind of number, or raise ValueError if integers are too large."""
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    largest = 0
    if array.dtype.kind in "iu" and array.dtype.itemsize == 8 and array.size:
        largest = max(abs(int(array.min())), abs(int(array.max())))
    elif array.dtype.kind == "O":  # integers above 2^64 among others
        largest = max((abs(entry) for entry in array.flat if isinstance(entry, int)), default=0)
    if largest > 2**53:
        raise ValueError(f"{name} has the integer {largest}: float64 is exact up to 2^53 only")
    return array


def check_finite(name: str, points: NDArray[Any], projected: Array) -> None:
    """Raise ValueError if a projection is not finite, or has no finite square, saying why."""
    ordinary = np.abs(projected) < _LARGEST
    if np.all(ordinary):
        return
    row = int(np.argmin(ordinary))
    if np.all(np.isfinite(points[row])):
        size = float(np.max(np.abs(points[row])))
        raise ValueError(f"{name} is of size {size:g}: its products are beyond float64's range")
    raise ValueError(f"{name} has NaN or infinite values, in row {row}")


def label_array(y: ArrayLike, n: int, *, ndim: int | None = None) -> Array:
    """Return labels as numbers (n, K), or raise ValueError; ``ndim`` allows (n,) alone."""
    given = as_given("y", y)
    targets, _ = data_array("y", y, ndim=ndim or (2 if given.ndim == 2 else 1))
    if len(targets) != n:
        raise ValueError(f"X has {n} rows but y has {len(targets)} entries")
    return targets.reshape(n, -1)
