"""How SmoothOut moves where its path can be solved: at a quadratic minimum and along two factors.

The noise of one draw is θ, of variance v per coordinate: a²/3 if uniform, σ² if normal.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike
from scipy.optimize import minimize_scalar

from theory._landscapes_base import LineLandscape, check_noise, noise_variance
from theory._noise_scale_modes import check_rate, positive_modes, rotate_back
from theory._validation import (
    Array,
    decay,
    finite_array,
    number,
    positive_array,
    positive_integer,
    positive_number,
)


def smoothout_variance(
    curvature: ArrayLike,
    *,
    strength: float,
    learning_rate: float,
    momentum: float = 0.0,
    copies: int = 1,
    denoise: bool = True,
    noise: str = "uniform",
) -> Array:
    r"""Stationary variance of a weight under SmoothOut, at a minimum of given curvature.

    With :math:`C = \frac12\lambda w^2`, the noise's variance v, :math:`h = \epsilon\lambda` and
    heavy ball :math:`u^+ = m u + \lambda(w + \theta)`, the de-noised step
    :math:`w^+ = w - \epsilon u^+` has

    .. math:: S = \frac{v}{K}\,\frac{(1+m)\,h}{(1-m)\,(2(1+m)-h)},

    and the step that keeps its noise, :math:`w^+ = w + \theta - \epsilon u^+`,

    .. math:: S = v\,\frac{(1+m)(1-m-h)^2 + 2mh(1-h)}{(1-m)\,h\,(2(1+m)-h)}.

    For small h the first is v h / (2K(1 - m)), the second v(1 - m) / (2h): without de-noising the
    weight diffuses the farther the smaller the steps.

    Parameters
    ----------
    curvature : array_like (...)
        λ, positive.
    strength : float
        Positive: half-width a of uniform noise, or standard deviation σ of normal noise.
    learning_rate : float
        ε, positive and below :math:`2(1+m)/\lambda_{\max}`.
    momentum : float
        m in [0, 1), heavy ball.
    copies : int
        K, the number of noisy copies whose gradients are averaged, at least 1.
    denoise : bool
        Whether the noise is taken back before the step. If not, copies must be 1: K noisy copies
        have no common noise to keep.
    noise : str
        "uniform" or "normal".

    Returns
    -------
    float or ndarray (...)
        Variance of w about the minimum, in units of w².

    Raises
    ------
    ValueError
        If a number is out of range, the learning rate is not stable, the law is unknown, or
        several copies are to keep their noise.

    References
    ----------
    Wen et al. (2018), SmoothOut with and without de-noising (derived).

    Examples
    --------
    >>> from theory.smoothout import smoothout_variance
    >>> float(smoothout_variance(2.0, strength=0.3, learning_rate=0.1).round(7))
    0.0033333
    >>> float(smoothout_variance(2.0, strength=0.3, learning_rate=0.1, denoise=False).round(7))
    0.0533333
    """
    curvature = positive_array("curvature", curvature)
    variance = noise_variance(check_noise(strength, noise), noise)
    m, copies = decay("momentum", momentum), _check_copies(copies, denoise)
    limit = 2.0 * (1.0 + m) / float(np.max(curvature))
    h = check_rate(learning_rate, limit, "2 (1 + momentum) / curvature") * curvature
    width = (1.0 - m) * (2.0 * (1.0 + m) - h)
    if denoise:
        return variance / copies * (1.0 + m) * h / width
    # Of the ways to write this numerator, one that loses no digits where it is small, at h = 1.
    spread = (1.0 + m) * (1.0 - h - m) ** 2 + 2.0 * m * h * (1.0 - h)
    return variance * spread / (h * width)


def _check_copies(copies: int, denoise: bool) -> int:
    copies = positive_integer("copies", copies)
    if copies > 1 and not denoise:
        raise ValueError(
            f"copies must be 1 without de-noising, got {copies}: noisy copies have no common noise"
        )
    return copies


def smoothout_covariance(
    hessian: ArrayLike,
    *,
    strength: float,
    learning_rate: float,
    momentum: float = 0.0,
    copies: int = 1,
    denoise: bool = True,
    noise: str = "uniform",
) -> Array:
    r"""Stationary covariance of the weights under SmoothOut, at a quadratic minimum.

    Equal and independent noise of all coordinates has the same covariance v I in the Hessian's
    eigenbasis, where every direction has the variance of :func:`smoothout_variance`.

    Parameters
    ----------
    hessian : array_like (P, P)
        H, positive definite.
    strength, learning_rate, momentum, copies, denoise, noise
        As for :func:`smoothout_variance`.

    Returns
    -------
    ndarray (P, P)
        About the minimum.

    Raises
    ------
    ValueError
        If H is not symmetric and positive definite, or as :func:`smoothout_variance` does.

    References
    ----------
    Wen et al. (2018), SmoothOut with and without de-noising (derived).

    Examples
    --------
    >>> from theory.smoothout import smoothout_covariance
    >>> smoothout_covariance([[2.0, 0.0], [0.0, 1.0]], strength=0.3, learning_rate=0.1).round(6)
    array([[0.003333, 0.      ],
           [0.      , 0.001579]])
    """
    eigenvalues, vectors = positive_modes("hessian", hessian)
    variances = smoothout_variance(
        eigenvalues,
        strength=strength,
        learning_rate=learning_rate,
        momentum=momentum,
        copies=copies,
        denoise=denoise,
        noise=noise,
    )
    return rotate_back(np.diag(variances), vectors)


def two_factor_minimum(strength: float, *, noise: str = "uniform") -> float:
    r"""Both weights at the minimum of the smoothed two-factor loss :math:`(w_1 w_2 - 1)^2`.

    The loss is 0 on a hyperbola; its mean :math:`C + v(w_1^2 + w_2^2) + v^2` has the two minima
    :math:`w_1 = w_2 = \pm\sqrt{1 - v}`, and only the origin once v ≥ 1.

    Parameters
    ----------
    strength : float
        Positive: half-width a of uniform noise, or standard deviation σ of normal noise.
    noise : str
        "uniform" or "normal".

    Returns
    -------
    float
        In [0, 1), without the sign.

    Raises
    ------
    ValueError
        If the strength is not positive or the law unknown.

    References
    ----------
    Wen et al. (2018), Eq. 2 (derived).

    Examples
    --------
    >>> from theory.smoothout import two_factor_minimum
    >>> two_factor_minimum(1.5), two_factor_minimum(1.8)
    (0.5, 0.0)
    """
    variance = noise_variance(check_noise(strength, noise), noise)
    return float(np.sqrt(max(1.0 - variance, 0.0)))


def balance_decay(time: ArrayLike, *, strength: float, noise: str = "uniform") -> Array:
    r"""Share of the imbalance :math:`w_1^2 - w_2^2` that is left in the two-factor model.

    Under gradient flow the loss :math:`(w_1 w_2 - 1)^2` keeps its imbalance. Smoothed, it loses
    it at the rate 4v, exactly and from any start: the share is :math:`e^{-4vt}`.

    Parameters
    ----------
    time : array_like (...)
        t ≥ 0 of gradient flow; the learning rate times the number of steps.
    strength : float
        Positive: half-width a of uniform noise, or standard deviation σ of normal noise.
    noise : str
        "uniform" or "normal".

    Returns
    -------
    float or ndarray (...)
        In [0, 1].

    Raises
    ------
    ValueError
        If a time is negative, the strength is not positive or the law unknown.

    References
    ----------
    Wen et al. (2018), Eq. 2 (derived).

    Examples
    --------
    >>> from theory.smoothout import balance_decay
    >>> float(balance_decay(25.0, strength=0.1).round(4))
    0.7165
    """
    times = finite_array("time", time)
    if np.any(times < 0.0):
        raise ValueError(f"time must not be negative, got {times.min():g}")
    return np.exp(-4.0 * noise_variance(check_noise(strength, noise), noise) * times)


def one_point_convexity(
    landscape: LineLandscape, center: float, *, lower: float, upper: float
) -> float:
    r"""Largest c for which a loss on the line is c-one-point strongly convex about a center.

    :math:`c = \inf_y C'(y)/(y - x^*)` over y ≠ x* in the interval: gradient descent finds the
    center from everywhere in it if c > 0, though the loss may have no convex neighborhood of that
    size. Of interest for a smoothed loss, ``landscape.smoothed(strength)``.

    Parameters
    ----------
    landscape : LineLandscape
        C, on the line, with a second derivative about the center.
    center : float
        x*, inside the interval.
    lower, upper : float
        Ends of the interval.

    Returns
    -------
    float
        c, of any sign; minus infinity if the center is not stationary. The infimum is searched on
        the points of ``landscape.scan`` and refined between them.

    Raises
    ------
    ValueError
        If the ends are not finite and in order, the center is not between them, or the landscape
        overflows there.
    TypeError
        If the landscape is not one on the line.

    References
    ----------
    Kleinberg, Li & Yuan (2018), main assumption (from memory).

    Examples
    --------
    >>> from theory.landscapes import DoubleWell
    >>> from theory.smoothout import one_point_convexity
    >>> round(one_point_convexity(DoubleWell(), 0.0, lower=-3.0, upper=3.0), 9)
    -4.0
    >>> round(one_point_convexity(DoubleWell().smoothed(1.2), 0.0, lower=-3.0, upper=3.0), 9)
    1.76
    """
    if not isinstance(landscape, LineLandscape):
        raise TypeError(f"landscape must be a LineLandscape, got {type(landscape).__name__}")
    lower, upper, center = number("lower", lower), number("upper", upper), number("center", center)
    if not lower < center < upper:
        raise ValueError(
            f"lower, center and upper must be in order, got {lower:g}, {center:g} and {upper:g}"
        )
    y = np.union1d(landscape.scan(lower, upper), center)
    if abs(landscape.gradient(center)) > 1e-9 * np.max(np.abs(landscape.gradient(y))):
        return -np.inf
    return _least(_mean_curvature(landscape, center, 1e-5 * (upper - lower)), y)


def _mean_curvature(
    landscape: LineLandscape, center: float, near: float
) -> Callable[[ArrayLike], Array]:
    """Return C'(y)/(y - center) as a function of y (...)."""
    nodes, weights = leggauss(3)

    def curvature(y: ArrayLike) -> Array:
        offset = np.asarray(y) - center
        # Near the center the quotient is one of rounding errors, but it is also a mean of C''.
        between = center + 0.5 * (nodes + 1.0) * offset[..., None]
        inside = np.asarray(landscape.hessian(between)) @ weights / 2.0
        away = np.abs(offset) > near
        return np.where(away, landscape.gradient(y) / np.where(away, offset, 1.0), inside)

    return curvature


def _least(function: Callable[[ArrayLike], Array], y: Array) -> float:
    """Return the least value, refined about the five lowest dips on the points."""
    values = function(y)
    padded = np.concatenate(([np.inf], values, [np.inf]))
    dips = np.flatnonzero((values <= padded[:-2]) & (values <= padded[2:]))
    least = float(np.min(values))
    for i in dips[np.argsort(values[dips])[:5]]:
        ends = y[max(i - 1, 0)], y[min(i + 1, len(y) - 1)]
        refined = minimize_scalar(
            lambda x: float(function(x)),
            bounds=ends,
            method="bounded",
            options={"xatol": 1e-9 * (ends[1] - ends[0])},
        )
        least = min(least, float(refined.fun))
    return least


class OnePointNeighborhood(NamedTuple):
    """Where SGD with bounded noise settles about the center of a one-point convex loss.

    Attributes
    ----------
    contraction : float
        λ: one step multiplies the expected squared distance by at most 1 - λ,
    kick : float
        b: and adds at most b,
    squared_radius : float
        b / λ: so that the expected squared distance ends up at no more than this.
    """

    contraction: float
    kick: float
    squared_radius: float


def one_point_neighborhood(
    *, convexity: float, smoothness: float, learning_rate: float, noise_radius: float
) -> OnePointNeighborhood:
    r"""Kleinberg, Li & Yuan's neighborhood of a one-point convex center.

    With :math:`y^+ = y - \epsilon\omega - \epsilon\nabla C(y - \epsilon\omega)`, which is SmoothOut
    without de-noising for :math:`\theta = -\epsilon\omega`,

    .. math:: E|y^+ - x^*|^2 \le (1-\lambda)|y - x^*|^2 + b, \qquad
              \lambda = 2\epsilon c - \epsilon^2 L^2, \quad
              b = \epsilon^2 r^2 (1 + \epsilon L)^2.

    The noise has mean zero, C has L-Lipschitz gradients and the *smoothed* loss is c-one-point
    convex; that the center is stationary for C itself is used as well.

    Parameters
    ----------
    convexity : float
        c of the smoothed loss, positive; see :func:`one_point_convexity`.
    smoothness : float
        L of the loss itself, at least c.
    learning_rate : float
        ε, positive and below each of 1 / (2 L), c / L² and 1 / (2 c).
    noise_radius : float
        r, the largest size of the gradient noise ω; positive. For SmoothOut on the line a / ε.

    Returns
    -------
    OnePointNeighborhood
        λ, b and b / λ. The theorem puts SGD within 20 b / λ with probability at least 1/2.

    Raises
    ------
    ValueError
        If a number is not positive, c exceeds L, or the learning rate is too large.

    References
    ----------
    Kleinberg, Li & Yuan (2018), main theorem (from memory; the step derived).

    Examples
    --------
    >>> from theory.smoothout import one_point_neighborhood
    >>> found = one_point_neighborhood(
    ...     convexity=1.0, smoothness=2.0, learning_rate=0.1, noise_radius=0.5
    ... )
    >>> round(found.squared_radius, 6)
    0.0225
    """
    c, L = positive_number("convexity", convexity), positive_number("smoothness", smoothness)
    rate = positive_number("learning_rate", learning_rate)
    radius = positive_number("noise_radius", noise_radius)
    if c > L:
        raise ValueError(f"convexity must be at most the smoothness, {L:g}, got {c:g}")
    limits = {"1 / (2 L)": 0.5 / L, "c / L²": c / L**2, "1 / (2 c)": 0.5 / c}
    formula = min(limits, key=lambda name: limits[name])
    if rate >= limits[formula]:
        raise ValueError(
            f"learning_rate must be below {formula} = {limits[formula]:g}, got {rate:g}"
        )
    contraction = 2.0 * rate * c - (rate * L) ** 2
    kick = (rate * radius * (1.0 + rate * L)) ** 2
    return OnePointNeighborhood(contraction, kick, kick / contraction)
