"""Exact evidence of Gaussian linear regression, from one factorization of the design."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import lapack
from scipy.optimize import brentq

from theory._validation import Array, design_and_targets, positive_array, sum_of_squares

_EPS = float(np.finfo(float).eps)

# Rounding may move a log determinant by this many nats. Where the Gram matrix, which squares the
# condition number, would move it further, the singular values of the design are used instead.
_LOG_DET_ERROR = 1e-6


@dataclass(frozen=True, eq=False)
class LinearEvidence:
    r"""Evidence of :math:`y = Xw + n`, for every pair of precisions asked for.

    All arrays have the broadcast shape of the two precisions, written (...) below.

    Attributes
    ----------
    log_evidence : float or ndarray (...)
        :math:`\ln P(y \mid X)`, nats.
    effective_parameters : float or ndarray (...)
        :math:`\gamma = \sum_i \alpha e_i / (\lambda + \alpha e_i)`, between 0 and min(n, d).
    log_occam_factor : float or ndarray (...)
        :math:`-\frac12 \sum_i \ln(1 + \alpha e_i / \lambda)`, nats.
    misfit : float or ndarray (...)
        Sum of squared residuals at the posterior mean, in units of y squared.
    prior_precision, noise_precision : float or ndarray
        The :math:`\lambda` and :math:`\alpha` given.
    """

    log_evidence: Array
    effective_parameters: Array
    log_occam_factor: Array
    misfit: Array
    prior_precision: Array
    noise_precision: Array
    _spectrum: Spectrum

    def weights(self) -> Array:
        """Return the posterior means (..., d), computed on demand."""
        ratio = np.asarray(self.prior_precision / self.noise_precision)[..., None]
        return self._spectrum.to_weights(1.0 / (ratio + self._spectrum.eigenvalues))


@dataclass(frozen=True, eq=False)
class LinearEvidenceMaximum:
    """The precisions that maximize the evidence.

    Attributes
    ----------
    evidence : LinearEvidence
        At the maximum; it holds ``prior_precision`` and ``noise_precision``.
    converged : bool
        False where the evidence still rises at the edge of what float64 resolves: data without
        signal (the prior precision wants to be infinite) or without noise.
    iterations : int
        Evaluations of the derivative in the final root search; 0 at an edge.
    """

    evidence: LinearEvidence
    converged: bool
    iterations: int


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The design in the basis of its singular vectors, k = min(n, d) directions.

    ``eigenvalues`` e (k,) of XᵀX and squared ``moments`` (k,) of Xᵀy in its eigenvectors determine
    everything; but with u² = moments / e, the squared projection of y, a small residual is a sum
    of small terms instead of a difference of large ones. So u² is in ``projections`` where e is
    large enough to divide by, and zero elsewhere; there ``moments`` are kept. ``remainder`` is the
    squared length of y less all projections. ``to_weights`` maps 1 / (r + e) (..., k) to weights.
    """

    eigenvalues: Array
    projections: Array
    moments: Array
    remainder: float
    to_weights: Callable[[Array], Array]

    def energy(self, ratio: Array) -> Array:
        """Return yᵀ(I + XXᵀ/r)⁻¹y for ratios r (...)."""
        inverse = 1.0 / (ratio[..., None] + self.eigenvalues)
        shrinkage = ratio[..., None] * inverse
        return np.asarray(self.remainder + shrinkage @ self.projections - inverse @ self.moments)

    def energy_slope(self, ratio: Array) -> Array:
        """Return the derivative of the energy with respect to ln r."""
        inverse = 1.0 / (ratio[..., None] + self.eigenvalues)
        shrinkage = ratio[..., None] * inverse
        return np.asarray(
            (shrinkage * self.eigenvalues * inverse) @ self.projections
            + (shrinkage * inverse) @ self.moments
        )

    def misfit(self, ratio: Array) -> Array:
        """Return the sum of squared residuals at the posterior mean."""
        inverse = 1.0 / (ratio[..., None] + self.eigenvalues)
        shrinkage = ratio[..., None] * inverse
        return np.asarray(
            self.remainder
            + shrinkage**2 @ self.projections
            - ((1.0 + shrinkage) * inverse) @ self.moments
        )

    def effective_parameters(self, ratio: Array) -> Array:
        """Return Σ e / (r + e)."""
        inverse = 1.0 / (ratio[..., None] + self.eigenvalues)
        return np.asarray(inverse @ self.eigenvalues)

    def log_occam(self, ratio: Array) -> Array:
        """Return -½ Σ ln(1 + e/r)."""
        return np.asarray(-0.5 * np.sum(np.log1p(self.eigenvalues / ratio[..., None]), axis=-1))


class Eigenbasis:
    """Eigenvalues of a symmetric matrix, and products with its eigenvectors V = Q Z.

    LAPACK reduces the matrix to a tridiagonal one by reflections Q, whose eigenvectors are Z. The
    few products needed here are cheaper than V itself, which numpy.linalg.eigh multiplies out.
    """

    def __init__(self, A: Array) -> None:
        """Take ``A`` (k, k), which may be overwritten."""
        lwork, _ = lapack.dsytrd_lwork(len(A), lower=1)
        packed, diagonal, off_diagonal, self._scales, _ = lapack.dsytrd(
            A.T, lower=1, lwork=int(lwork), overwrite_a=1
        )
        self._reflectors = np.asfortranarray(packed[1:, :-1])
        if len(A) == 1:
            off_diagonal = np.zeros(1)  # never read, but the wrapper wants one
        self.eigenvalues, self._Z, info = lapack.dstevd(diagonal, off_diagonal)
        if info != 0:
            raise np.linalg.LinAlgError("the eigenvalues of the Gram matrix did not converge")

    def project(self, v: Array) -> Array:
        """Return Vᵀv for a vector (k,)."""
        return np.asarray(self._Z.T @ self._reflect(v[:, None], "T")[:, 0])

    def expand(self, c: Array) -> Array:
        """Return V c for coefficients (..., k)."""
        vectors = (c @ self._Z.T).reshape(-1, len(self._Z))
        return self._reflect(vectors.T, "N").T.reshape(c.shape)

    def _reflect(self, columns: Array, transpose: str) -> Array:
        """Return Q or its transpose times columns (k, m); Q leaves the first row alone."""
        reflected = np.array(columns, order="F")
        if len(reflected) > 1:
            reflected[1:], _, _ = lapack.dormqr(
                "L",
                transpose,
                self._reflectors,
                self._scales,
                reflected[1:],
                lwork=64 * reflected.shape[1],
            )
        return reflected


def _gram_spectrum(X: Array, y: Array, moments: Array) -> Spectrum:
    n, d = X.shape
    if n <= d:
        basis = Eigenbasis(X @ X.T)
        u = basis.project(y)
        return Spectrum(
            eigenvalues=np.maximum(basis.eigenvalues, 0.0),
            projections=u**2,
            moments=np.zeros(n),
            remainder=0.0,
            to_weights=lambda c: basis.expand(c * u) @ X,
        )
    basis = Eigenbasis(X.T @ X)
    eigenvalues = np.maximum(basis.eigenvalues, 0.0)
    b = basis.project(moments)
    large = eigenvalues > 1e-8 * eigenvalues[-1]
    fitted = np.divide(b, eigenvalues, out=np.zeros(d), where=large)
    total = sum_of_squares(y)
    remainder = total - float(b @ fitted)
    if remainder < 1e-5 * total:  # too small for a difference; the residual costs a pass over X
        remainder = sum_of_squares(y - X @ basis.expand(fitted))
    return Spectrum(
        eigenvalues=eigenvalues,
        projections=b * fitted,
        moments=np.where(large, 0.0, b**2),
        remainder=remainder,
        to_weights=lambda c: basis.expand(c * b),
    )


def _singular_spectrum(X: Array, y: Array) -> Spectrum:
    U, s, Vt = np.linalg.svd(X, full_matrices=False)
    s[s <= max(X.shape) * _EPS * s[0]] = 0.0  # rounding of a rank-deficient design
    u = U.T @ y
    return Spectrum(
        eigenvalues=s * s,
        projections=u**2,
        moments=np.zeros_like(s),
        remainder=sum_of_squares(y - U @ u),
        to_weights=lambda c: (c * s * u) @ Vt,
    )


def _resolved_ratios(shape: tuple[int, int], squares: float) -> tuple[float, float]:
    """Return the smallest λ/α that the Gram matrix and the singular values surely resolve."""
    if squares == 0.0:  # else it bounds the largest eigenvalue from above
        raise ValueError("X is zero everywhere")
    rounding = min(shape) * _EPS / _LOG_DET_ERROR
    return rounding * squares, rounding**2 * squares


def _is_resolved(spectrum: Spectrum, ratio: float) -> bool:
    """Return whether rounding of a Gram matrix's eigenvalues moves the log determinant little."""
    e = spectrum.eigenvalues
    return bool(len(e) * _EPS * e[-1] * np.sum(1.0 / (e + ratio)) <= _LOG_DET_ERROR)


def _evaluate(
    spectrum: Spectrum, n: int, prior_precision: Array, noise_precision: Array
) -> LinearEvidence:
    ratio = np.asarray(prior_precision / noise_precision)
    log_occam = spectrum.log_occam(ratio)
    energy = noise_precision * spectrum.energy(ratio)
    log_evidence = 0.5 * n * np.log(noise_precision / (2 * np.pi)) + log_occam - 0.5 * energy
    return LinearEvidence(
        log_evidence=log_evidence[()],
        effective_parameters=spectrum.effective_parameters(ratio)[()],
        log_occam_factor=log_occam[()],
        misfit=spectrum.misfit(ratio)[()],
        prior_precision=prior_precision[()],
        noise_precision=noise_precision[()],
        _spectrum=spectrum,
    )


def linear_evidence(
    X: ArrayLike, y: ArrayLike, *, prior_precision: ArrayLike, noise_precision: ArrayLike
) -> LinearEvidence:
    r"""Exact log evidence of Bayesian linear regression, for whole grids of precisions.

    The model is :math:`y = Xw + n`, :math:`w \sim N(0, I/\lambda)`, :math:`n \sim N(0, I/\alpha)`,
    so that :math:`\ln P(y \mid X) = \ln N(y; 0, I/\alpha + XX^\top/\lambda)`. Laplace's
    approximation is exact here. One eigendecomposition of the smaller Gram matrix serves all
    precisions; where it could not resolve the smallest :math:`\lambda/\alpha`, one singular value
    decomposition does.

    Parameters
    ----------
    X : array_like (n, d)
        Design. Add a column of ones for an intercept.
    y : array_like (n,)
        Targets.
    prior_precision, noise_precision : array_like
        :math:`\lambda` and :math:`\alpha`, positive; they broadcast against each other.

    Returns
    -------
    LinearEvidence
        Log evidence in nats with all constants, and its parts.

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, X is zero, a precision is not
        positive, the two do not broadcast, or :math:`\lambda/\alpha` is so small beside
        :math:`X^\top X` that float64 cannot hold the log determinant to 1e-6 nats.

    References
    ----------
    MacKay, "Bayesian interpolation", Neural Computation 4 (1992); Smith & Le (2018), section 2.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.evidence import linear_evidence
    >>> X, y = np.array([[1.0], [2.0]]), np.array([1.0, 1.5])
    >>> exact = linear_evidence(X, y, prior_precision=1.0, noise_precision=4.0)
    >>> round(float(exact.log_evidence), 6)
    -2.378606
    """
    X, y, squares, moments = design_and_targets(X, y)
    prior = positive_array("prior_precision", prior_precision)
    noise = positive_array("noise_precision", noise_precision)
    try:
        ratio = float(np.min(prior / noise))
    except ValueError:
        raise ValueError(
            f"prior_precision {prior.shape} and noise_precision {noise.shape} do not broadcast"
        ) from None
    _, singular_limit = _resolved_ratios(X.shape, squares)
    if ratio < singular_limit:
        raise ValueError(
            f"prior_precision / noise_precision = {ratio:.3g} is too small for float64 beside the "
            f"design's sum of squares {squares:.3g}; the smallest that can be "
            f"resolved is {singular_limit:.3g}"
        )
    spectrum = _gram_spectrum(X, y, moments)
    if not _is_resolved(spectrum, ratio):
        spectrum = _singular_spectrum(X, y)
    return _evaluate(spectrum, len(y), prior, noise)


def maximize_linear_evidence(X: ArrayLike, y: ArrayLike) -> LinearEvidenceMaximum:
    r"""Maximize the evidence over both precisions (type-II maximum likelihood).

    For a given ratio :math:`r = \lambda/\alpha` the best :math:`\alpha` is known in closed form,
    :math:`N / y^\top (I + XX^\top/r)^{-1} y`, so the search is over one number: a grid over all
    ratios that float64 resolves finds the best cell, and the derivative's root is bracketed in it.
    Unlike the fixed-point iteration of MacKay (1992) this cannot diverge or stop at a lower peak
    that the grid (16 points a decade) can see past.

    Parameters
    ----------
    X : array_like (n, d)
        Design.
    y : array_like (n,)
        Targets, not all zero.

    Returns
    -------
    LinearEvidenceMaximum
        The evidence at the maximum, whether it is an interior one, and the iterations.

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, or X or y is zero everywhere.

    References
    ----------
    MacKay, "Bayesian interpolation", Neural Computation 4 (1992), section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.evidence import maximize_linear_evidence
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 3))
    >>> y = X @ [1.0, -1.0, 1.0] + 0.5 * rng.standard_normal(200)
    >>> best = maximize_linear_evidence(X, y)
    >>> best.converged, round(float(best.evidence.noise_precision) ** -0.5, 1)
    (True, 0.5)
    """
    X, y, squares, moments = design_and_targets(X, y)
    if not np.any(y):
        raise ValueError("y is zero everywhere: its evidence grows without bound")
    gram_limit, singular_limit = _resolved_ratios(X.shape, squares)
    highest = 1e8 * squares
    spectrum, lowest = _gram_spectrum(X, y, moments), gram_limit
    ratio, iterations = _best_ratio(spectrum, len(y), lowest, highest)
    if ratio == lowest:
        spectrum, lowest = _singular_spectrum(X, y), singular_limit
        ratio, iterations = _best_ratio(spectrum, len(y), lowest, highest)
    noise = len(y) / spectrum.energy(np.asarray(ratio))
    evidence = _evaluate(spectrum, len(y), np.asarray(ratio * noise), noise)
    return LinearEvidenceMaximum(evidence, iterations > 0, iterations)


def _best_ratio(spectrum: Spectrum, n: int, lowest: float, highest: float) -> tuple[float, int]:
    """Return the ratio of largest evidence, and the root search's iterations (0: at an edge)."""

    def profile(log_ratio: Array) -> Array:
        ratio = np.exp(log_ratio)
        return spectrum.log_occam(ratio) - 0.5 * n * np.log(spectrum.energy(ratio))

    def slope(log_ratio: float) -> float:
        ratio = np.asarray(np.exp(log_ratio))
        gain = n * spectrum.energy_slope(ratio) / spectrum.energy(ratio)
        return float(spectrum.effective_parameters(ratio) - gain)

    points = int(np.ceil(16 * np.log10(highest / lowest))) + 1
    grid = np.linspace(np.log(lowest), np.log(highest), points)
    best = int(np.argmax(profile(grid)))
    if best in (0, points - 1):
        return (lowest, highest)[best > 0], 0
    low, high = grid[best - 1], grid[best + 1]
    if not slope(low) > 0.0 > slope(high):  # a plateau at rounding level: no interior maximum
        return float(np.exp(grid[best])), 0
    root, result = brentq(slope, low, high, xtol=1e-13, full_output=True)
    return float(np.exp(root)), int(result.iterations)
