"""Noise that follows the weights (AdaSmoothOut), what it does to two factors, and schedules."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from theory._validation import Array, data_array, finite_array, positive_integer, positive_number

RELATIVE_NOISES = ("uniform", "normal", "sign")
SCHEDULES = ("constant", "anneal", "tanh")


def _relative_variance(strength: float, noise: str) -> float:
    """Return the variance of θ_i / |w_i|, or raise ValueError."""
    if noise not in RELATIVE_NOISES:
        raise ValueError(f"noise must be one of {', '.join(RELATIVE_NOISES)}, got {noise!r}")
    variance = positive_number("strength", strength) ** 2
    return variance / 3.0 if noise == "uniform" else variance


def weight_noise(weights: ArrayLike, draw: ArrayLike, *, strength: float) -> Array:
    r"""Noise in proportion to every weight: :math:`\theta_i = a |w_i| u_i`.

    Parameters
    ----------
    weights : array_like (...)
        w.
    draw : array_like (...)
        u, of the same shape: independent, uniform on [-1, 1] or standard normal.
    strength : float
        a, positive: a share of the weight.

    Returns
    -------
    ndarray (...)
        θ, in units of the weights.

    Raises
    ------
    ValueError
        If the shapes differ, a value is not finite or the strength is not positive.

    References
    ----------
    Wen et al. (2018), official code, adaptation "weight".

    Examples
    --------
    >>> from theory.smoothout import weight_noise
    >>> weight_noise([2.0, -4.0], [0.5, 0.5], strength=0.1)
    array([0.1, 0.2])
    """
    w, u = _weights_and_draw(weights, draw)
    return positive_number("strength", strength) * np.abs(w) * u


def filter_noise(
    weights: ArrayLike, draw: ArrayLike, *, strength: float, epsilon: float = 1e-6
) -> Array:
    r"""AdaSmoothOut's noise: as long as a share of its filter, in the direction of the draw.

    .. math:: \theta_f = a\,\|w_f\|\,\frac{u_f}{\|u_f\| + \varepsilon}, \qquad
              \|\theta_f\| = \frac{a\,\|w_f\|}{1 + \varepsilon/\|u_f\|},

    for every slice f along the first axis; the entries of a vector are filters of one weight, whose
    noise is :math:`\pm a|w|` up to ε. A filter multiplied by a number has its noise multiplied by
    its size.

    Parameters
    ----------
    weights : array_like (F, ...)
        w, filters along the first axis.
    draw : array_like (F, ...)
        u, of the same shape: independent, uniform on [-1, 1] or standard normal.
    strength : float
        a, positive: a share of the filter's norm.
    epsilon : float
        ε, positive.

    Returns
    -------
    ndarray (F, ...)
        θ, in units of the weights.

    Raises
    ------
    ValueError
        If there is no axis of filters, the shapes differ, a value is not finite or its square not
        representable, or a number is not positive.

    References
    ----------
    Wen et al. (2018), AdaSmoothOut; official code, adaptation "filter".

    Examples
    --------
    >>> from theory.smoothout import filter_noise
    >>> filter_noise([[3.0, 4.0], [0.3, 0.4]], [[1.0, 0.0], [0.0, -1.0]], strength=0.1).round(3)
    array([[ 0.5 ,  0.  ],
           [ 0.  , -0.05]])
    """
    w, u = _weights_and_draw(weights, draw)
    a, epsilon = positive_number("strength", strength), positive_number("epsilon", epsilon)
    return a * u * (_filter_norms(w) / (_filter_norms(u) + epsilon))


def filter_noise_variance(weights: ArrayLike, *, strength: float) -> Array:
    r"""Variance of a coordinate of AdaSmoothOut's noise: :math:`a^2 \|w_f\|^2 / d_f`.

    The covariance within a filter of :math:`d_f` weights is this times the unit matrix, exactly
    for ε = 0: it is enough that the coordinates of the draw are alike, independent and symmetric,
    so a uniform draw will do although its direction is not isotropic. A positive ε multiplies it
    by :math:`E(1 + \varepsilon/\|u_f\|)^{-2}`.

    Parameters
    ----------
    weights : array_like (F, ...)
        w, filters along the first axis.
    strength : float
        a, positive.

    Returns
    -------
    ndarray (F,)
        In units of the weights squared.

    Raises
    ------
    ValueError
        If there is no axis of filters, a value is not finite or its square not representable, or
        the strength is not positive.

    References
    ----------
    Wen et al. (2018), AdaSmoothOut (derived).

    Examples
    --------
    >>> from theory.smoothout import filter_noise_variance
    >>> filter_noise_variance([[3.0, 4.0], [0.3, 0.4]], strength=0.1).round(6)
    array([0.125  , 0.00125])
    """
    w = _filters("weights", weights)
    a = positive_number("strength", strength)
    return np.asarray(a**2 * np.mean(w.reshape(len(w), -1) ** 2, axis=1))


def _filters(name: str, value: ArrayLike) -> Array:
    return data_array(name, value, ndim=max(np.ndim(value), 1))[0]


def _weights_and_draw(weights: ArrayLike, draw: ArrayLike) -> tuple[Array, Array]:
    w, u = _filters("weights", weights), _filters("draw", draw)
    if w.shape != u.shape:
        raise ValueError(f"draw must have the shape of weights, {w.shape}, got {u.shape}")
    return w, u


def _filter_norms(filters: Array) -> Array:
    """Return the norm of every filter, in a shape that broadcasts against the filters."""
    axes = tuple(range(1, filters.ndim))
    return np.asarray(np.sqrt(np.sum(filters**2, axis=axes, keepdims=True)))


def adaptive_gradient(w: ArrayLike, *, strength: float, noise: str = "uniform") -> Array:
    r"""AdaSmoothOut's expected gradient in the two-factor model :math:`C = (w_1 w_2 - 1)^2`.

    Noise of variance :math:`b w_i^2` turns the gradient's mean into

    .. math:: E\,\partial_1 C = 2 w_2\,(w_1 w_2 (1 + b) - 1), \qquad
              E\,\partial_2 C = 2 w_1\,(w_1 w_2 (1 + b) - 1).

    It keeps :math:`w_1^2 - w_2^2`, so unlike SmoothOut's it does not lead to balanced factors.

    Parameters
    ----------
    w : array_like (..., 2)
        Both weights.
    strength : float
        a, positive.
    noise : {"uniform", "normal", "sign"}
        Law of :math:`\theta_i/(a|w_i|)`: uniform on [-1, 1], b = a²/3; standard normal, b = a²;
        or a sign, b = a², which is what :func:`filter_noise` makes of filters of one weight.

    Returns
    -------
    ndarray (..., 2)

    Raises
    ------
    ValueError
        If w has another shape or is not finite, the strength is not positive or the law unknown.

    References
    ----------
    Wen et al. (2018), AdaSmoothOut (derived).

    Examples
    --------
    >>> from theory.smoothout import adaptive_gradient
    >>> adaptive_gradient([2.0, 0.5], strength=0.3)
    array([0.03, 0.12])
    """
    weights = finite_array("w", w)
    if weights.ndim == 0 or weights.shape[-1] != 2:
        raise ValueError(f"w must have shape (..., 2), got {weights.shape}")
    excess = np.prod(weights, axis=-1, keepdims=True)
    excess = excess - 1.0 + _relative_variance(strength, noise) * excess
    return np.asarray(2.0 * weights[..., ::-1] * excess)


class AdaptiveProducts(NamedTuple):
    """The product of two factors at rest, under noise in proportion to them.

    Attributes
    ----------
    expected_update : float
        1 / (1 + b): where AdaSmoothOut's expected gradient vanishes, for which the noise does not
        depend on the weights.
    expected_loss : float
        1 / (1 + b)²: where the mean loss E C(w + θ(w)) is least, gradients of θ(w) included.
    """

    expected_update: float
    expected_loss: float


def adaptive_products(strength: float, *, noise: str = "uniform") -> AdaptiveProducts:
    r"""Where AdaSmoothOut rests in the two-factor model, and where the mean loss is least.

    Both are whole hyperbolas :math:`w_1 w_2 = const`, but not the same one: the expected update is
    not the gradient of the expected loss :math:`w_1^2 w_2^2 (1+b)^2 - 2 w_1 w_2 + 1`.

    Parameters
    ----------
    strength : float
        a, positive.
    noise : {"uniform", "normal", "sign"}
        As for :func:`adaptive_gradient`.

    Returns
    -------
    AdaptiveProducts

    Raises
    ------
    ValueError
        If the strength is not positive or the law unknown.

    References
    ----------
    Wen et al. (2018), AdaSmoothOut (derived).

    Examples
    --------
    >>> from theory.smoothout import adaptive_products
    >>> adaptive_products(0.5, noise="sign")
    AdaptiveProducts(expected_update=0.8, expected_loss=0.64)
    """
    growth = 1.0 + _relative_variance(strength, noise)
    return AdaptiveProducts(1.0 / growth, 1.0 / growth**2)


def smoothing_schedule(name: str, steps: int) -> Array:
    r"""Factors of the strength, one for every step t = 0, ..., T - 1.

    Parameters
    ----------
    name : {"constant", "anneal", "tanh"}
        1; :math:`(1 + t)^{-0.275}`, whose square falls as :math:`(1+t)^{-0.55}`; or
        :math:`\frac12(1 + \tanh 10(t/T - \frac12))`, which rises from nearly 0 to nearly 1.
    steps : int
        T, at least 1.

    Returns
    -------
    ndarray (T,)
        In (0, 1].

    Raises
    ------
    ValueError
        If there is no such schedule or T is not a positive integer.

    References
    ----------
    Wen et al. (2018), official code, defaults of its smoothing types.

    Examples
    --------
    >>> from theory.smoothout import smoothing_schedule
    >>> smoothing_schedule("tanh", 4).round(4)
    array([0.    , 0.0067, 0.5   , 0.9933])
    """
    if name not in SCHEDULES:
        raise ValueError(f"name must be one of {', '.join(SCHEDULES)}, got {name!r}")
    t = np.arange(positive_integer("steps", steps), dtype=np.float64)
    if name == "anneal":
        return (1.0 + t) ** -0.275
    if name == "tanh":
        return 0.5 * (1.0 + np.tanh(10.0 * (t / len(t) - 0.5)))
    return np.ones_like(t)
