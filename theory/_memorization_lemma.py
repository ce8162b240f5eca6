"""Lemma 1 of Zhang et al. (2017): the matrix of interleaved hinges, and its weights."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg.blas import dtbsv
from scipy.sparse.linalg import LinearOperator, svds

from theory._validation import finite_array

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class HingeMatrix:
    r"""The matrix :math:`A_{ij} = \max(x_i - b_j, 0)` of points and biases that interleave.

    It factors as :math:`A = LBL`, with L the lower triangle of ones and B lower bidiagonal:
    :math:`x_j - b_j` on the diagonal and :math:`b_{j+1} - x_j` below it. So everything here costs
    O(n) but the dense matrix itself.

    Attributes
    ----------
    points, biases : ndarray (n,)
        x and b.
    """

    points: Array
    biases: Array

    @property
    def matrix(self) -> Array:
        """A, dense (n, n)."""
        return np.maximum(self.points[:, None] - self.biases, 0.0)

    @property
    def diagonal(self) -> Array:
        """The eigenvalues x_j - b_j (n,), all positive."""
        return self.points - self.biases

    @property
    def smallest_eigenvalue(self) -> float:
        """The least of x_j - b_j: Lemma 1."""
        return float(np.min(self.diagonal))

    @property
    def determinant(self) -> float:
        """Product of the eigenvalues; zero or infinite where float64 ends."""
        with np.errstate(over="ignore", under="ignore"):
            product = float(np.prod(self.diagonal))
            # A partial product may leave float64 where the whole does not.
            return product if 1e-300 < product < 1e300 else float(np.exp(self.log_determinant))

    @property
    def log_determinant(self) -> float:
        """Logarithm of the determinant."""
        return float(np.sum(np.log(self.diagonal)))

    @functools.cached_property
    def smallest_singular_value(self) -> float:
        """The inverse of the spectral norm of A⁻¹, which bounds the weights; Lanczos on A⁻¹.

        A is not symmetric, so this may lie far below the smallest eigenvalue. It is zero where A⁻¹
        is beyond float64.
        """
        n = len(self.points)
        if n == 1:
            return float(self.diagonal[0])
        # With equal entries the weights would begin with the first gap alone, and Lanczos might
        # not get to the narrowest.
        start = np.random.default_rng(0).normal(size=n)
        with np.errstate(over="ignore", invalid="ignore"):
            scale = float(np.max(np.abs(self.solve(start))))
        if not np.isfinite(scale):
            return 0.0
        below = np.append(self.biases[1:] - self.points[:-1], 0.0)
        factor = np.asfortranarray([self.diagonal, below])

        # Scaled, because its square may be beyond float64 where A⁻¹ is not.
        def solve(y: Array) -> Array:
            slopes = dtbsv(1, factor, np.diff(y.ravel(), prepend=0.0), lower=1)
            return np.diff(slopes, prepend=0.0) / scale

        def solve_transposed(y: Array) -> Array:
            slopes = dtbsv(1, factor, np.diff(y.ravel(), append=0.0), lower=1, trans=1)
            return np.diff(slopes, append=0.0) / scale

        inverse = LinearOperator((n, n), matvec=solve, rmatvec=solve_transposed, dtype=np.float64)
        largest = svds(
            inverse,
            k=1,
            ncv=60 if n > 60 else None,  # on an even grid the singular values crowd together
            tol=1e-12,
            v0=start,
            return_singular_vectors=False,
        )
        return float(1.0 / largest[0] / scale)

    def solve(self, y: ArrayLike) -> Array:
        """Return the weights w (n,) with A w = y (n,), by forward substitution."""
        labels = np.asarray(y, dtype=np.float64).reshape(len(self.points))
        return hinge_weights(self.points, self.biases, labels)


def lemma_1(x: ArrayLike, b: ArrayLike) -> HingeMatrix:
    """Return the matrix of hinges at b, evaluated at x, with what Lemma 1 says of it.

    Parameters
    ----------
    x, b : array_like (n,)
        Points and biases, with b₁ < x₁ ≤ b₂ < x₂ ≤ … < xₙ. (The lemma has < throughout; equality
        with the point before is where the weights are most stable.)

    Returns
    -------
    HingeMatrix

    Raises
    ------
    ValueError
        If x and b are not finite arrays of one length that interleave.

    References
    ----------
    Zhang et al. (2017), Lemma 1 (appendix C), which gives the smallest eigenvalue. The determinant,
    the factors and the singular value are derived in :mod:`theory.derivations`.

    Examples
    --------
    >>> hinges = lemma_1([1.0, 2.0, 4.0], [0.5, 1.0, 2.0])
    >>> hinges.smallest_eigenvalue, hinges.determinant
    (0.5, 1.0)
    >>> hinges.solve([1.0, 0.0, 2.0])
    array([ 2., -3.,  2.])
    """
    points, biases = finite_array("x", x, ndim=1), finite_array("b", b, ndim=1)
    if len(points) != len(biases):
        raise ValueError(f"x has {len(points)} entries but b has {len(biases)}")
    _check_interleaved(points, biases)
    return HingeMatrix(points, biases)


def hinge_weights(x: Any, b: Any, y: Any) -> NDArray[Any]:
    r"""Solve :math:`\sum_j w_j \max(x_i - b_j, 0) = y_i` in the arithmetic of the arguments.

    Plain forward substitution, one rounding after the other, without the feedback that
    :func:`memorize` has: what shows how the interleaving decides about stability.

    Parameters
    ----------
    x, b, y : array_like (n,)
        Points, biases that interleave with them, and labels: float32, float64, or
        :class:`fractions.Fraction`, in which every interleaving is exact.

    Returns
    -------
    ndarray (n,)
        The weights, of the same kind of number. In float64 they may be infinite.

    Raises
    ------
    ValueError
        If the three differ in length or are empty, or x and b do not interleave.

    References
    ----------
    Zhang et al. (2017), appendix C. The recursion for the slopes is derived in
    :mod:`theory.derivations`.

    Examples
    --------
    >>> from fractions import Fraction
    >>> x, b = [Fraction(1), Fraction(2)], [Fraction(0), Fraction(7, 4)]
    >>> hinge_weights(x, b, [Fraction(1), Fraction(1)]).tolist()
    [Fraction(1, 1), Fraction(-4, 1)]
    """
    points, biases, labels = np.asarray(x), np.asarray(b), np.asarray(y)
    if not len(points) == len(biases) == len(labels):
        raise ValueError(
            f"x, b and y must be of one length, got {len(points)}, {len(biases)} and {len(labels)}"
        )
    if len(points) == 0:
        raise ValueError("x, b and y are empty")
    _check_interleaved(points, biases)
    if points.dtype.kind in "biu":
        points = points.astype(np.float64)
    weights = np.empty_like(points)
    slope = 0 * points[0]
    with np.errstate(over="ignore", invalid="ignore"):
        for j in range(len(points)):
            climb = labels[0]
            if j > 0:
                climb = labels[j] - labels[j - 1] - slope * (biases[j] - points[j - 1])
            wanted = climb / (points[j] - biases[j])
            weights[j] = wanted - slope
            slope = wanted
    return weights


def _check_interleaved(points: NDArray[Any], biases: NDArray[Any]) -> None:
    below = np.asarray(biases < points, dtype=bool)
    above = np.asarray(points[:-1] <= biases[1:], dtype=bool)
    if not np.all(below):
        j = int(np.argmin(below))
        raise ValueError(f"b must lie below x: b[{j}] = {biases[j]} but x[{j}] = {points[j]}")
    if not np.all(above):
        j = int(np.argmin(above))
        raise ValueError(
            f"b must not lie below the point before: b[{j + 1}] = {biases[j + 1]} but "
            f"x[{j}] = {points[j]}"
        )
