"""Interpolation by linear models with more weights than examples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory._validation import Array, data_array, finite_array

_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class MinimumNormInterpolant:
    r"""The shortest w with :math:`Xw = y`.

    Attributes
    ----------
    weights : ndarray (d,) or (d, K)
        :math:`w = X^\top\alpha = X^+ y`.
    coefficients : ndarray (n,) or (n, K)
        :math:`\alpha`, the solution of :math:`XX^\top\alpha = y`.
    norm : float
        Euclidean (Frobenius) norm of the weights.
    residual : float
        Largest :math:`|Xw - y|`, in units of y: rounding alone.
    rank : int
        Rank of X, which is n.
    """

    weights: Array
    coefficients: Array
    norm: float
    residual: float
    rank: int


@dataclass(frozen=True, eq=False)
class InterpolationHessian:
    """Spectrum of the mean loss's Hessian at any interpolant.

    Attributes
    ----------
    eigenvalues : ndarray (min(n, d),)
        In descending order; if d > n, the other d - n are zero.
    rank : int
        Number of eigenvalues above rounding.
    nullity : int
        d - rank: flat directions, through every interpolant.
    """

    eigenvalues: Array
    rank: int
    nullity: int


def minimum_norm_interpolant(X: ArrayLike, y: ArrayLike) -> MinimumNormInterpolant:
    r"""Solve :math:`XX^\top\alpha = y`: the interpolant of least Euclidean norm.

    By the singular values of X, so that the relative error of the weights grows with the condition
    number :math:`\kappa` of X, about :math:`10^{-16}\kappa`; a factorization of :math:`XX^\top`
    would square it. The coefficients depend on y through :math:`\kappa^2` whatever the method.

    Parameters
    ----------
    X : array_like (n, d)
        Inputs, one a row, linearly independent.
    y : array_like (n,) or (n, K)
        Targets.

    Returns
    -------
    MinimumNormInterpolant

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, has entries whose squares float64
        cannot hold, or the rows of X are linearly dependent to working precision; the message
        states their rank.

    References
    ----------
    Zhang et al. (2017), section 5, equation 3.

    Examples
    --------
    >>> from theory.interpolation import minimum_norm_interpolant
    >>> fit = minimum_norm_interpolant([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]], [1.0, 4.0])
    >>> fit.weights.round(6), round(fit.norm, 6)
    (array([0.5, 2. , 0.5]), 2.12132)
    """
    inputs, targets = _inputs_and_targets(X, y)
    return _interpolate(inputs, targets)


def _interpolate(X: Array, y: Array) -> MinimumNormInterpolant:
    n = len(X)
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    rank = int(np.sum(s > max(X.shape) * _EPS * s[0]))
    if rank < n:
        raise ValueError(
            f"the {n} rows of X are linearly dependent, of rank {rank}: not all targets can be "
            f"interpolated"
        )
    scale = s.reshape(n, *[1] * (y.ndim - 1))
    projected = (U.T @ y) / scale
    weights = Vt.T @ projected
    return MinimumNormInterpolant(
        weights=weights,
        coefficients=U @ (projected / scale),
        norm=float(np.linalg.norm(weights)),
        residual=float(np.max(np.abs(X @ weights - y))),
        rank=rank,
    )


def sgd_limit(X: ArrayLike, y: ArrayLike, *, initial: ArrayLike) -> Array:
    r"""Return the interpolant that SGD on a linear model converges to.

    Every gradient lies in the span of the rows of X, so that the part of the weights orthogonal to
    it stays what it was: the limit is the interpolant nearest to the start,
    :math:`w_\infty = w_0 + X^+ (y - Xw_0)`. From zero it is the interpolant of least norm. It holds
    for every loss whose minimum over predictions is at z = y, wherever SGD converges.

    Parameters
    ----------
    X : array_like (n, d)
        Inputs, one a row, linearly independent.
    y : array_like (n,) or (n, K)
        Targets.
    initial : array_like (d,) or (d, K)
        Weights :math:`w_0` before the first step.

    Returns
    -------
    ndarray (d,) or (d, K)

    Raises
    ------
    ValueError
        As :func:`minimum_norm_interpolant`; also if ``initial`` is not finite or has another
        shape than the weights.

    References
    ----------
    Zhang et al. (2017), section 5, equation 3, which starts from zero.

    Examples
    --------
    >>> from theory.interpolation import sgd_limit
    >>> sgd_limit([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]], [1.0, 4.0], initial=[1.0, 1.0, -1.0]).round(6)
    array([ 1.5,  2. , -0.5])
    """
    inputs, targets = _inputs_and_targets(X, y)
    start = finite_array("initial", initial)
    shape = (inputs.shape[1], *targets.shape[1:])
    if start.shape != shape:
        raise ValueError(f"initial must have shape {shape}, got {start.shape}")
    return start + _interpolate(inputs, targets - inputs @ start).weights


def interpolation_hessian(X: ArrayLike, curvatures: ArrayLike) -> InterpolationHessian:
    r"""Spectrum of the Hessian :math:`\frac1n X^\top \mathrm{diag}(\beta) X` at an interpolant.

    With :math:`Xw = y` the second derivatives :math:`\beta_i = \partial^2 \ell(z, y_i)/\partial
    z^2` are taken at :math:`z = y_i`, whatever w is: all interpolants have one Hessian, and for
    d > n it is singular at all of them. Curvature cannot tell them apart.

    Parameters
    ----------
    X : array_like (n, d)
        Inputs, one a row.
    curvatures : array_like (n,)
        :math:`\beta \ge 0`: the loss has its minimum there.

    Returns
    -------
    InterpolationHessian
        From the singular values of :math:`\mathrm{diag}(\beta/n)^{1/2} X`: no d × d matrix is made.

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, X has entries whose squares float64
        cannot hold, or a curvature is negative.

    References
    ----------
    Zhang et al. (2017), section 5.

    Examples
    --------
    >>> from theory.interpolation import interpolation_hessian
    >>> hessian = interpolation_hessian([[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]], [1.0, 3.0])
    >>> hessian.eigenvalues.round(6), hessian.rank, hessian.nullity
    (array([6., 1.]), 2, 1)
    """
    inputs, _ = data_array("X", X, ndim=2)
    beta = finite_array("curvatures", curvatures, ndim=1)
    n, d = inputs.shape
    if len(beta) != n:
        raise ValueError(f"X has {n} rows but curvatures has {len(beta)} entries")
    if np.any(beta < 0.0):
        raise ValueError(f"curvatures must be at least 0, got {beta.min():g}")
    values = np.linalg.svd(np.sqrt(beta / n)[:, None] * inputs, compute_uv=False)
    rank = int(np.sum(values > max(n, d) * _EPS * values[0]))
    return InterpolationHessian(eigenvalues=values**2, rank=rank, nullity=d - rank)


def _inputs_and_targets(X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    inputs, _ = data_array("X", X, ndim=2)
    targets, _ = data_array("y", y, ndim=np.ndim(y) if np.ndim(y) in (1, 2) else 1)
    if len(inputs) != len(targets):
        raise ValueError(f"X has {len(inputs)} rows but y has {len(targets)}")
    return inputs, targets
