"""Kernel matrices, and the functions of least norm that they interpolate with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import cho_solve, lapack

from theory._validation import (
    Array,
    data_array,
    finite_array,
    number,
    positive_number,
    symmetric_array,
)

_EPS = float(np.finfo(float).eps)


@dataclass(frozen=True, eq=False)
class KernelInterpolant:
    r"""The function :math:`f(x) = \sum_i \alpha_i k(x_i, x)` fitted to targets.

    Attributes
    ----------
    coefficients : ndarray (n,) or (n, K)
        :math:`\alpha = (K + \lambda I)^{-1} y`; predictions are ``cross_kernel @ coefficients``.
    rkhs_norm : float
        :math:`\sqrt{\mathrm{tr}\,\alpha^\top K \alpha}`, the norm of f in the kernel's space,
        Euclidean over the K outputs.
    residual : float
        Largest :math:`|y - K\alpha|`, in units of y: rounding alone where the ridge is zero.
    """

    coefficients: Array
    rkhs_norm: float
    residual: float


@dataclass(frozen=True, eq=False)
class RidgePath:
    r"""Kernel ridge regression at L penalties.

    Attributes
    ----------
    penalties : ndarray (L,)
        The :math:`\lambda` given.
    coefficients : ndarray (L, n) or (L, n, K)
        :math:`\alpha = (K + \lambda I)^{-1} y`.
    rkhs_norms : ndarray (L,)
        :math:`\sqrt{\mathrm{tr}\,\alpha^\top K \alpha}`.
    residuals : ndarray (L, n) or (L, n, K)
        :math:`y - K\alpha` on the training points, which is :math:`\lambda\alpha`.
    leave_one_out_residuals : ndarray (L, n) or (L, n, K)
        :math:`y_i` less the prediction for it by the fit to the other n - 1 points; exact.
    """

    penalties: Array
    coefficients: Array
    rkhs_norms: Array
    residuals: Array
    leave_one_out_residuals: Array


def gaussian_kernel(X: ArrayLike, Z: ArrayLike | None = None, *, gamma: float) -> Array:
    r"""Gaussian kernel matrix :math:`\exp(-\gamma |x_i - z_j|^2)`.

    Parameters
    ----------
    X : array_like (n, d)
        Points.
    Z : array_like (m, d), optional
        Other points; X itself if not given, and then the diagonal is exactly 1.
    gamma : float
        Positive, in units of 1/x².

    Returns
    -------
    ndarray (n, m)
        No second array of this size is made.

    Raises
    ------
    ValueError
        If an array is not finite, empty or not of two dimensions, has entries whose squares
        float64 cannot hold, the two differ in d, or gamma is not positive.

    References
    ----------
    Zhang et al. (2017), section 5.

    Examples
    --------
    >>> from theory.interpolation import gaussian_kernel
    >>> gaussian_kernel([[0.0], [1.0]], gamma=0.5).round(4)
    array([[1.    , 0.6065],
           [0.6065, 1.    ]])
    """
    scale = positive_number("gamma", gamma)
    kernel = _squared_distances(X, Z)
    kernel *= -scale
    return np.asarray(np.exp(kernel, out=kernel))


def laplacian_kernel(X: ArrayLike, Z: ArrayLike | None = None, *, gamma: float) -> Array:
    r"""Laplacian kernel matrix :math:`\exp(-\gamma |x_i - z_j|)` of Euclidean distances.

    Distances come from squared ones, as products of matrices give them: a distance far below
    :math:`|x|` has an absolute error of up to about :math:`10^{-8}|x|`.

    Parameters
    ----------
    X, Z
        As :func:`gaussian_kernel` takes them.
    gamma : float
        Positive, in units of 1/x.

    Returns
    -------
    ndarray (n, m)
        No second array of this size is made.

    Raises
    ------
    ValueError
        As :func:`gaussian_kernel`.

    Examples
    --------
    >>> from theory.interpolation import laplacian_kernel
    >>> laplacian_kernel([[0.0, 0.0]], [[3.0, 4.0]], gamma=0.1).round(4)
    array([[0.6065]])
    """
    scale = positive_number("gamma", gamma)
    kernel = _squared_distances(X, Z)
    np.sqrt(kernel, out=kernel)
    kernel *= -scale
    return np.asarray(np.exp(kernel, out=kernel))


def _squared_distances(X: ArrayLike, Z: ArrayLike | None) -> Array:
    """Return |x - z|² (n, m) as |x|² - 2⟨x, z⟩ + |z|², not below zero."""
    points, _ = data_array("X", X, ndim=2)
    others = points if Z is None else data_array("Z", Z, ndim=2)[0]
    if points.shape[1] != others.shape[1]:
        raise ValueError(f"X has {points.shape[1]} columns but Z has {others.shape[1]}")
    distances = np.asarray(points @ others.T)
    distances *= -2.0
    distances += np.einsum("ij,ij->i", points, points)[:, None]
    distances += np.einsum("ij,ij->i", others, others)
    np.maximum(distances, 0.0, out=distances)
    if Z is None:
        np.fill_diagonal(distances, 0.0)
    return distances


def kernel_interpolant(K: ArrayLike, y: ArrayLike, *, ridge: float = 0.0) -> KernelInterpolant:
    r"""Fit targets by the function of least norm in a kernel's space.

    With ridge :math:`\lambda = 0` it is the interpolant of least norm,
    :math:`\mathrm{tr}\,y^\top K^{-1} y` being its square; with :math:`\lambda > 0` it minimizes
    :math:`\sum_i |f(x_i) - y_i|^2 + \lambda |f|^2`. By a Cholesky factorization.

    Parameters
    ----------
    K : array_like (n, n)
        Kernel matrix, symmetric. That no eigenvalue is negative is checked with the ridge added.
    y : array_like (n,) or (n, K)
        Targets.
    ridge : float, optional
        :math:`\lambda \ge 0`, in units of K; 0 interpolates.

    Returns
    -------
    KernelInterpolant

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, K is not symmetric, the ridge is
        negative, or K with the ridge is not positive definite to working precision; the message
        then names a ridge that would make it so.

    References
    ----------
    Zhang et al. (2017), section 5, equation 3.

    Examples
    --------
    >>> from theory.interpolation import gaussian_kernel, kernel_interpolant
    >>> K = gaussian_kernel([[0.0], [1.0], [3.0]], gamma=1.0)
    >>> fit = kernel_interpolant(K, [1.0, -1.0, 1.0])
    >>> round(fit.rkhs_norm, 4), fit.residual < 1e-12
    (2.0549, True)
    """
    matrix, targets = _kernel_and_targets(K, y)
    penalty = number("ridge", ridge)
    if penalty < 0.0:
        raise ValueError(f"ridge must be at least 0, got {penalty:g}")
    penalized = matrix.copy(order="F")
    np.einsum("ii->i", penalized)[:] += penalty
    size = float(np.linalg.norm(penalized, 1))
    factor, failed = lapack.dpotrf(penalized, lower=1, overwrite_a=1)
    # Rounding can let a singular matrix pass; its inverse is then without a digit.
    if failed or lapack.dpocon(factor, size, uplo="L")[0] < _EPS:
        raise _not_positive_definite(penalty, np.asarray(np.linalg.eigvalsh(matrix), float))
    coefficients = cho_solve((factor, True), targets, check_finite=False)
    fitted = matrix @ coefficients
    square = float(np.vdot(coefficients, fitted))
    return KernelInterpolant(
        coefficients=coefficients,
        rkhs_norm=float(np.sqrt(max(square, 0.0))),
        residual=float(np.max(np.abs(targets - fitted))),
    )


def _not_positive_definite(ridge: float, eigenvalues: Array) -> ValueError:
    """Return the error that names a ridge which would help."""
    lowest, highest = float(eigenvalues[0]), float(eigenvalues[-1])
    size = max(-lowest, highest) or 1.0
    enough = 1.1 * max(0.0, -lowest) + 10 * len(eigenvalues) * _EPS * size
    return ValueError(
        f"K with ridge {ridge:g} is not positive definite to working precision (eigenvalues of K "
        f"from {lowest:.3g} to {highest:.3g}); a ridge of {enough:.2g} would make it so"
    )


def ridge_path(K: ArrayLike, y: ArrayLike, penalties: ArrayLike) -> RidgePath:
    r"""Kernel ridge regression at many penalties, from one eigendecomposition.

    With :math:`K = Q \Lambda Q^\top` every fit is a rescaling in the basis Q. The residual of the
    fit without point i, at i, is :math:`\alpha_i / [(K + \lambda I)^{-1}]_{ii}`.

    Parameters
    ----------
    K : array_like (n, n)
        Kernel matrix, symmetric. That no eigenvalue is negative is checked with the smallest
        penalty added.
    y : array_like (n,) or (n, K)
        Targets.
    penalties : array_like (L,)
        :math:`\lambda \ge 0`, in units of K.

    Returns
    -------
    RidgePath

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, K is not symmetric, a penalty is
        negative, or K with the smallest penalty is not positive definite to working precision;
        the message then names a penalty that would make it so.

    References
    ----------
    Zhang et al. (2017), section 5. Leave-one-out: Craven & Wahba (1979), Numer. Math. 31, 377
    (from memory, not checked against the paper's text).

    Examples
    --------
    >>> from theory.interpolation import gaussian_kernel, ridge_path
    >>> K = gaussian_kernel([[0.0], [1.0], [3.0]], gamma=1.0)
    >>> path = ridge_path(K, [1.0, -1.0, 1.0], [0.0, 0.1, 1.0])
    >>> path.rkhs_norms.round(4)
    array([2.0549, 1.7946, 0.8505])
    """
    matrix, targets = _kernel_and_targets(K, y)
    shifts = finite_array("penalties", penalties, ndim=1)
    if np.any(shifts < 0.0):
        raise ValueError(f"penalties must be at least 0, got {shifts.min():g}")
    eigenvalues, Q = np.linalg.eigh(matrix)
    n, smallest = len(matrix), float(shifts.min())
    if eigenvalues[0] + smallest <= n * _EPS * max(eigenvalues[-1], 0.0):
        raise _not_positive_definite(smallest, eigenvalues)
    inverses = 1.0 / (eigenvalues + shifts[:, None])
    columns = targets.reshape(n, -1)
    scaled = inverses[..., None] * (Q.T @ columns)
    coefficients = Q @ scaled
    inverse_diagonals = inverses @ (Q**2).T
    squares = np.einsum("i,lik,lik->l", eigenvalues, scaled, scaled)
    shape = (len(shifts), *targets.shape)
    return RidgePath(
        penalties=shifts,
        coefficients=coefficients.reshape(shape),
        rkhs_norms=np.sqrt(np.maximum(squares, 0.0)),
        residuals=(shifts[:, None, None] * coefficients).reshape(shape),
        leave_one_out_residuals=(coefficients / inverse_diagonals[..., None]).reshape(shape),
    )


def _kernel_and_targets(K: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    matrix = symmetric_array("K", K, ndim=2)
    targets = finite_array("y", y)
    if targets.ndim not in (1, 2) or len(targets) != len(matrix):
        raise ValueError(f"K has {len(matrix)} rows but y has shape {targets.shape}")
    return matrix, targets
