r"""Bayesian evidence: how much of the prior volume a model keeps, and what the data pay for it.

Smith & Le (2018), section 2. With the summed cross-entropy :math:`H`, the cost
:math:`C(\omega) = H(\omega) + \lambda|\omega|^2/2` and its minimum :math:`\omega_0`, Laplace's
approximation of the evidence is (equation 9)

.. math:: \ln P(y \mid x) \approx -C(\omega_0) - \tfrac12 \sum_{i=1}^P \ln(\lambda_i/\lambda),
          \qquad \lambda_i = h_i + \lambda,

where :math:`h_i` are the eigenvalues of the Hessian of :math:`H` alone. The second term is the log
of the **Occam factor**, the fraction of the prior volume that is compatible with the data. Against
the null model, which calls all K classes equally likely, the log ratio is (equation 10)

.. math:: E(\omega_0) = C(\omega_0) + \tfrac12\sum_i \ln(\lambda_i/\lambda) - N\ln K,

**negative** where the model is worth its parameters.

Every function here takes the data-term eigenvalues :math:`h_i`, which do not contain
:math:`\lambda`; all results are in nats.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from theory._evidence_lanczos import LogDeterminant, log_determinant
from theory._evidence_laplace import LaplaceEvidence, laplace_evidence
from theory._evidence_linear import (
    LinearEvidence,
    LinearEvidenceMaximum,
    linear_evidence,
    maximize_linear_evidence,
)
from theory._validation import Array, finite_array, positive_array, positive_integer

__all__ = [
    "LaplaceEvidence",
    "LinearEvidence",
    "LinearEvidenceMaximum",
    "LogDeterminant",
    "bayesian_information_criterion",
    "evidence_ratio",
    "laplace_evidence",
    "laplace_log_integral",
    "linear_evidence",
    "log_determinant",
    "log_evidence_from_hessian",
    "log_evidence_from_spectrum",
    "log_evidence_ratio",
    "log_occam_factor",
    "maximize_linear_evidence",
    "null_log_evidence",
    "occam_factor",
    "rescale_parameters",
]


def log_occam_factor(eigenvalues: ArrayLike, *, prior_precision: ArrayLike) -> Array:
    r"""Log of the fraction of prior volume that the data leave, per spectrum.

    :math:`-\frac12\sum_i \ln(1 + \max(h_i, 0)/\lambda)`. Negative :math:`h_i`, met away from a
    minimum, count as zero: this is the paper's rule to keep only eigenvalues
    :math:`\lambda_i \ge \lambda`, so that a fraction stays a fraction.

    Parameters
    ----------
    eigenvalues : array_like (..., P)
        :math:`h_i` of the data term, **without** the prior precision.
    prior_precision : array_like (...)
        :math:`\lambda`, positive; broadcasts against the leading axes.

    Returns
    -------
    float or ndarray (...)
        Nats, at most 0.

    Raises
    ------
    ValueError
        If values are not finite, the spectrum is a scalar or empty, or a precision is not positive.

    References
    ----------
    Smith & Le (2018), equation 9 and the paragraph below it; Gull (1988) for the name.

    Examples
    --------
    >>> from theory.evidence import log_occam_factor
    >>> round(float(log_occam_factor([3.0, 8.0], prior_precision=1.0)), 6)  # -ln(2) - ln(3)
    -1.791759
    """
    h = finite_array("eigenvalues", eigenvalues)
    if h.ndim == 0:
        raise ValueError("eigenvalues must have at least one dimension, got a scalar")
    precision = positive_array("prior_precision", prior_precision)
    return np.asarray(-0.5 * np.sum(np.log1p(np.maximum(h, 0.0) / precision[..., None]), axis=-1))[
        ()
    ]


def occam_factor(eigenvalues: ArrayLike, *, prior_precision: ArrayLike) -> Array:
    """Fraction of prior volume that the data leave: exp of :func:`log_occam_factor`.

    Parameters
    ----------
    eigenvalues : array_like (..., P)
        Of the data term's Hessian, without the prior precision.
    prior_precision : array_like (...)
        Positive.

    Returns
    -------
    float or ndarray (...)
        In [0, 1]; it underflows to 0 for a large network, where the log does not.

    Raises
    ------
    ValueError
        As :func:`log_occam_factor`.

    References
    ----------
    Smith & Le (2018), section 2.

    Examples
    --------
    >>> from theory.evidence import occam_factor
    >>> round(float(occam_factor([3.0, 8.0], prior_precision=1.0)), 6)  # 1/2 * 1/3
    0.166667
    """
    return np.asarray(np.exp(log_occam_factor(eigenvalues, prior_precision=prior_precision)))[()]


def log_evidence_from_spectrum(
    cost: ArrayLike, eigenvalues: ArrayLike, *, prior_precision: ArrayLike
) -> Array:
    r"""Laplace log evidence from the cost at the minimum and the spectrum there (equation 9).

    Parameters
    ----------
    cost : array_like (...)
        :math:`C(\omega_0)`: **summed** loss plus :math:`\lambda|\omega_0|^2/2`, nats.
    eigenvalues : array_like (..., P)
        Of the Hessian of the summed loss, without the prior precision.
    prior_precision : array_like (...)
        Positive.

    Returns
    -------
    float or ndarray (...)
        Nats.

    Raises
    ------
    ValueError
        As :func:`log_occam_factor`, or if a cost is not finite.

    References
    ----------
    Smith & Le (2018), equation 9.

    Examples
    --------
    >>> from theory.evidence import log_evidence_from_spectrum
    >>> round(float(log_evidence_from_spectrum(2.0, [3.0, 8.0], prior_precision=1.0)), 6)
    -3.791759
    """
    return log_occam_factor(eigenvalues, prior_precision=prior_precision) - finite_array(
        "cost", cost
    )


def log_evidence_from_hessian(
    cost: ArrayLike, hessian: ArrayLike, *, prior_precision: ArrayLike
) -> Array:
    r"""Laplace log evidence with a prior precision of its own for every parameter.

    :math:`-C - \frac12\ln\det(I + \Lambda^{-1/2} H \Lambda^{-1/2})`, the form of equation 9 that is
    invariant when parameters are rescaled one by one, as in a ReLU network. Negative eigenvalues
    count as zero, as in :func:`log_occam_factor`.

    Parameters
    ----------
    cost : array_like (...)
        Summed loss plus penalty at the minimum, nats.
    hessian : array_like (..., P, P)
        Symmetric Hessian of the summed loss, without the prior.
    prior_precision : array_like () or (..., P)
        Positive: one for all parameters or one each.

    Returns
    -------
    float or ndarray (...)
        Nats.

    Raises
    ------
    ValueError
        If values are not finite, the Hessian is not square or not symmetric to 1e-8 of its largest
        entry, or a precision is not positive or does not fit.

    References
    ----------
    Smith & Le (2018), equation 9 and the invariance argument of section 2.

    Examples
    --------
    >>> from theory.evidence import log_evidence_from_hessian
    >>> hessian = [[3.0, 0.0], [0.0, 8.0]]
    >>> round(float(log_evidence_from_hessian(2.0, hessian, prior_precision=1.0)), 6)
    -3.791759
    """
    costs = finite_array("cost", cost)
    H = _symmetric(hessian)
    root = np.sqrt(_per_parameter(prior_precision, H.shape[-1]))
    whitened = H / (root[..., :, None] * root[..., None, :])
    return log_occam_factor(np.linalg.eigvalsh(whitened), prior_precision=1.0) - costs


def rescale_parameters(
    hessian: ArrayLike, prior_precision: ArrayLike, *, scale: ArrayLike
) -> tuple[Array, Array]:
    r"""Hessian and prior precisions of the same model written in :math:`u_i = s_i\omega_i`.

    :math:`H_{ij} \to H_{ij}/(s_i s_j)` and :math:`\lambda_i \to \lambda_i/s_i^2`. Sharpness can be
    made anything by this (Dinh et al. 2017); the evidence stays, because the prior moves along.

    Parameters
    ----------
    hessian : array_like (P, P)
        Symmetric Hessian of the summed loss.
    prior_precision : array_like () or (P,)
        Positive.
    scale : array_like () or (P,)
        :math:`s`, positive.

    Returns
    -------
    hessian : ndarray (P, P)
    prior_precision : ndarray (P,)

    Raises
    ------
    ValueError
        If values are not finite, shapes do not fit, or a precision or scale is not positive.

    References
    ----------
    Smith & Le (2018), section 2; Dinh et al., "Sharp minima can generalize" (2017).

    Examples
    --------
    >>> from theory.evidence import rescale_parameters
    >>> rescale_parameters([[4.0]], 1.0, scale=2.0)
    (array([[1.]]), array([0.25]))
    """
    H = _symmetric(hessian)
    if H.ndim != 2:
        raise ValueError(f"hessian must be one (P, P) matrix, got shape {H.shape}")
    s = _per_parameter(scale, len(H), name="scale")
    precision = _per_parameter(prior_precision, len(H))
    for name, values in (("scale", s), ("prior_precision", precision)):
        if values.ndim != 1:
            raise ValueError(f"{name} must be a scalar or ({len(H)},), got shape {values.shape}")
    return H / (s[:, None] * s), precision / (s * s)


def _symmetric(hessian: ArrayLike) -> Array:
    H = finite_array("hessian", hessian)
    if H.ndim < 2 or H.shape[-1] != H.shape[-2]:
        raise ValueError(f"hessian must be square, got shape {H.shape}")
    if np.max(np.abs(H - np.swapaxes(H, -1, -2))) > 1e-8 * np.max(np.abs(H)):
        raise ValueError("hessian is not symmetric")
    return H


def _per_parameter(value: ArrayLike, n_parameters: int, name: str = "prior_precision") -> Array:
    array = positive_array(name, value)
    if array.ndim and array.shape[-1] != n_parameters:
        raise ValueError(
            f"{name} must be a scalar or have {n_parameters} entries last, got {array.shape}"
        )
    return np.broadcast_to(array, (*array.shape[:-1], n_parameters))


def null_log_evidence(train_size: ArrayLike, n_classes: ArrayLike) -> Array:
    r"""Log evidence of the null model, :math:`-N\ln K`.

    Parameters
    ----------
    train_size : array_like of int (...)
        N, at least 1.
    n_classes : array_like of int (...)
        K, at least 2.

    Returns
    -------
    float or ndarray (...)
        Nats.

    Raises
    ------
    ValueError
        If a count is out of range.

    References
    ----------
    Smith & Le (2018), the paragraph above equation 10.

    Examples
    --------
    >>> from theory.evidence import null_log_evidence
    >>> round(float(null_log_evidence(800, 2)), 3)
    -554.518
    """
    n, k = positive_array("train_size", train_size), positive_array("n_classes", n_classes)
    for name, count, least in (("train_size", n, 1), ("n_classes", k, 2)):
        if np.any(count < least) or np.any(count != np.floor(count)):
            raise ValueError(f"{name} must be integers of at least {least}, got {count[()]}")
    return np.asarray(-n * np.log(k))[()]


def log_evidence_ratio(
    log_evidence: ArrayLike, *, train_size: ArrayLike, n_classes: ArrayLike
) -> Array:
    r"""Log ratio :math:`E` in favour of the **null** model (equation 10).

    Parameters
    ----------
    log_evidence : array_like (...)
        Of the model, nats.
    train_size, n_classes : array_like of int (...)
        N and K.

    Returns
    -------
    float or ndarray (...)
        :math:`E = -\ln P(y \mid x; M) - N\ln K`, nats: negative where the model is supported.

    Raises
    ------
    ValueError
        If a log evidence is not finite or a count is out of range.

    References
    ----------
    Smith & Le (2018), equation 10.

    Examples
    --------
    >>> from theory.evidence import log_evidence_ratio
    >>> round(float(log_evidence_ratio(-20.0, train_size=800, n_classes=2)), 3)
    -534.518
    """
    return null_log_evidence(train_size, n_classes) - finite_array("log_evidence", log_evidence)


def evidence_ratio(
    log_evidence: ArrayLike, *, train_size: ArrayLike, n_classes: ArrayLike
) -> Array:
    r"""Ratio of the model's evidence to the null model's, :math:`e^{-E}`.

    Parameters
    ----------
    log_evidence : array_like (...)
        Of the model, nats.
    train_size, n_classes : array_like of int (...)
        N and K.

    Returns
    -------
    float or ndarray (...)
        Above 1 where the model is supported; infinite or 0 beyond float64's range, where
        :func:`log_evidence_ratio` still tells.

    Raises
    ------
    ValueError
        As :func:`log_evidence_ratio`.

    References
    ----------
    Smith & Le (2018), equation 10.

    Examples
    --------
    >>> from theory.evidence import evidence_ratio
    >>> round(float(evidence_ratio(-2.0, train_size=4, n_classes=2)), 4)  # 16 / e²
    2.1654
    """
    E = log_evidence_ratio(log_evidence, train_size=train_size, n_classes=n_classes)
    with np.errstate(over="ignore"):
        return np.asarray(np.exp(-E))[()]


def bayesian_information_criterion(cost: ArrayLike, *, n_parameters: int, train_size: int) -> Array:
    r"""Schwarz's large-N limit of the log evidence, :math:`-C - \frac{P}{2}\ln N`.

    What remains of equation 9 when every curvature grows like N and constants are dropped: it knows
    the number of parameters but neither the prior nor which directions are flat. Multiply by -2 for
    the BIC of statistics packages.

    Parameters
    ----------
    cost : array_like (...)
        Summed negative log-likelihood at its minimum, nats.
    n_parameters : int
        P, at least 1.
    train_size : int
        N, at least 1.

    Returns
    -------
    float or ndarray (...)
        Nats.

    Raises
    ------
    ValueError
        If a cost is not finite or a count is not a positive integer.

    References
    ----------
    Schwarz, "Estimating the dimension of a model", Annals of Statistics 6 (1978); Kass & Raftery
    (1995), cited by Smith & Le (2018).

    Examples
    --------
    >>> from theory.evidence import bayesian_information_criterion
    >>> round(float(bayesian_information_criterion(10.0, n_parameters=2, train_size=100)), 4)
    -14.6052
    """
    parameters = positive_integer("n_parameters", n_parameters)
    size = positive_integer("train_size", train_size)
    return np.asarray(-finite_array("cost", cost) - 0.5 * parameters * np.log(size))[()]


def laplace_log_integral(
    energy: Callable[[Array], Array], *, bracket: tuple[float, float]
) -> float:
    r"""Laplace's approximation of :math:`\ln\int e^{-U(x)}dx` in one dimension (equations 7 and 8).

    Unlike the integral, it depends on the coordinate: in :math:`u = u(x)` the energy becomes
    :math:`U + \ln|du/dx|` and the parabola is drawn elsewhere.

    Parameters
    ----------
    energy : callable
        :math:`U`, vectorized over float64 arrays, twice differentiable, nats.
    bracket : (float, float)
        Interval that holds the minimum in its interior.

    Returns
    -------
    float
        :math:`-U(x_0) + \frac12\ln(2\pi/U''(x_0))`, nats.

    Raises
    ------
    ValueError
        If the bracket is not an interval, or holds no interior minimum with positive curvature.

    References
    ----------
    Smith & Le (2018), equations 7 and 8.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.evidence import laplace_log_integral
    >>> value = laplace_log_integral(lambda x: x**2 / 2, bracket=(-3.0, 4.0))
    >>> round(value - 0.5 * float(np.log(2 * np.pi)), 8)  # a Gaussian: no error
    0.0
    """
    if len(bracket) != 2:
        raise ValueError(f"bracket must be two numbers, got {bracket!r}")
    low, high = (float(finite_array("an end of bracket", edge, ndim=0)) for edge in bracket)
    if not low < high:
        raise ValueError(f"bracket must be two numbers in increasing order, got {bracket}")

    def scalar_energy(x: float) -> float:
        return float(energy(np.asarray(x)))

    found = minimize_scalar(
        scalar_energy,
        bounds=(low, high),
        method="bounded",
        options={"xatol": 1e-10 * (high - low), "maxiter": 500},
    )
    x, least = float(found.x), float(found.fun)
    reach = min(x - low, high - x)
    curvature = np.nan
    if reach > 1e-6 * (high - low):
        curvature = _curvature(scalar_energy, x, least, reach)
    if not curvature > 0.0:
        raise ValueError(f"energy has no interior minimum with a curvature in bracket {bracket}")
    return float(0.5 * np.log(2 * np.pi / curvature) - least)


def _curvature(energy: Callable[[float], float], x: float, least: float, reach: float) -> float:
    """Return the second derivative at a minimum, or NaN where differences do not converge to one.

    Central differences over a fifth of the well's width, where the energy's rise is far above its
    rounding, extrapolated to zero from three widths (Richardson).
    """
    h = reach
    while energy(x + h) + energy(x - h) - 2 * least > 0.04:
        h /= 2.0
        if x + h == x:
            return float("nan")
    differences = [
        (energy(x + h * s) - 2 * least + energy(x - h * s)) / (h * s) ** 2 for s in (1.0, 0.5, 0.25)
    ]
    coarse, fine = ((4 * b - a) / 3 for a, b in itertools.pairwise(differences))
    if not abs(fine - coarse) <= 0.01 * abs(fine):
        return float("nan")
    return (16 * fine - coarse) / 15
