"""Means over noise of profiles of unit width; accurate also where antiderivatives cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import erf, erfcx, ndtr, spence

from theory._validation import Array

Profile = Callable[[Array], Any]
Mean = Callable[[Array, float], Any]
Peak = Callable[[Array, float], Array]
Integrand = Callable[[Array, Array, float], Any]

NODES, WEIGHTS = np.polynomial.legendre.leggauss(24)
WEIGHTS = 0.5 * WEIGHTS  # of a mean


def log_gaussian_mean(u: ArrayLike, alpha: ArrayLike) -> Array:
    r"""Log of the mean of :math:`e^{-t^2/2}` over :math:`u - \alpha \le t \le u + \alpha`.

    Relative error 1e-14 also where the log is close to 0 and where the mean underflows.
    """
    u, alpha = np.broadcast_arrays(np.abs(np.asarray(u, dtype=np.float64)), alpha)
    narrow, inside = alpha * (1.0 + u) < 1.0, u <= alpha
    with np.errstate(all="ignore"):
        result = np.where(inside, _log_mean_inside(u, alpha), _log_mean_outside(u, alpha))
    result[narrow] = _log_mean_narrow(u[narrow], alpha[narrow])
    return result[()]


def _log_mean_narrow(u: Array, alpha: Array) -> Array:
    """Log mean over an interval on which the Gaussian changes by a factor of about e at most."""
    theta = alpha[..., None] * NODES
    # exp(-θ²/2) cosh(uθ) - 1: the odd part of exp(-uθ) has no mean
    excess = np.expm1(-0.5 * theta**2) * np.cosh(u[..., None] * theta)
    excess = excess + 2.0 * np.sinh(0.5 * u[..., None] * theta) ** 2
    return np.asarray(np.log1p(excess @ WEIGHTS) - 0.5 * u * u)


def _log_mean_inside(u: Array, alpha: Array) -> Array:
    """Log mean over an interval that holds the center."""
    total = erf((alpha + u) * 0.5**0.5) + erf((alpha - u) * 0.5**0.5)
    return np.asarray(np.log(total) + 0.5 * np.log(np.pi / 8.0) - np.log(alpha))


def _log_mean_outside(u: Array, alpha: Array) -> Array:
    """Log mean over an interval beside the center: of both ends, the nearer one rules."""
    near, far = u - alpha, u + alpha
    total = erfcx(near * 0.5**0.5) - np.exp(-2.0 * u * alpha) * erfcx(far * 0.5**0.5)
    return np.asarray(np.log(total) + 0.5 * np.log(np.pi / 8.0) - np.log(alpha) - 0.5 * near**2)


# ------------------------------------------------------------------------------------- uniform
#
# Each profile has three means of (u, alpha): of itself, of its slope and of its curvature over
# u ± alpha; or over normal noise, of (u, sigma). In units of its width, and without its sign.


class Means(NamedTuple):
    """Means over noise of a profile, its slope and its curvature; functions of (u, strength)."""

    value: Mean
    gradient: Mean
    hessian: Mean

    def times(self, factor: float, stretch: float = 1.0) -> Means:
        """Return the means of ``factor`` times the profile of ``stretch`` u."""

        def scaled(mean: Mean, order: int) -> Mean:
            return lambda u, s: factor * stretch**order * mean(stretch * u, stretch * s)

        return Means(*(scaled(mean, order) for order, mean in enumerate(self)))


def _panel_mean(function: Profile, u: Array, alpha: Array | float) -> Array:
    """Mean over u ± alpha by one Gauss-Legendre panel: for intervals short beside the poles."""
    theta = np.multiply.outer(alpha, NODES)
    return np.asarray(function(u[..., None] + theta) @ WEIGHTS)


def _reach(v: Array, alpha: float) -> Array:
    """Return 1 + alpha - v, exact where it is small."""
    return (max(1.0, alpha) - v) + min(1.0, alpha)


def _step(x: Array) -> Array:
    """Return 1 for positive x, 0 for negative and 1/2 for zero."""
    return 0.5 * (1.0 + np.sign(x))


def _excess(v: Array, alpha: float) -> Array:
    """Return the mean of |t| over v ± alpha, v ≥ 0, less v."""
    return np.maximum(alpha - v, 0.0) ** 2 / (2.0 * alpha)


UNIFORM_ABSOLUTE = Means(
    lambda u, a: np.abs(u) + _excess(np.abs(u), a),
    lambda u, a: np.clip(u / a, -1.0, 1.0),
    lambda u, a: _step(a - np.abs(u)) / a,
)
UNIFORM_HINGE = Means(
    lambda u, a: np.maximum(u, 0.0) + 0.5 * _excess(np.abs(u), a),
    lambda u, a: np.clip((u + a) / (2.0 * a), 0.0, 1.0),
    lambda u, a: _step(a - np.abs(u)) / (2.0 * a),
)


def _uniform_box_value(u: Array, alpha: float) -> Array:
    return np.clip(_reach(np.abs(u), alpha), 0.0, 2.0 * min(alpha, 1.0)) / (2.0 * alpha)


def _uniform_box_gradient(u: Array, alpha: float) -> Array:
    v = np.abs(u)
    partial = _step(v - abs(1.0 - alpha)) * _step(_reach(v, alpha))
    return -np.sign(u) * partial / (2.0 * alpha)


UNIFORM_BOX = Means(_uniform_box_value, _uniform_box_gradient, lambda u, a: np.zeros_like(u))


def _uniform_tent_value(u: Array, alpha: float) -> Array:
    v = np.abs(u)
    reach = np.maximum(_reach(v, alpha), 0.0)
    flank = np.minimum(reach, 2.0 * alpha) * (reach + np.maximum((1.0 - v) - alpha, 0.0))
    left, right = np.clip(alpha - v, 0.0, 1.0), np.minimum(alpha + v, 1.0)
    top = left * (2.0 - left) + right * (2.0 - right)
    return np.where(v < alpha, top, flank) / (4.0 * alpha)


def _uniform_tent_gradient(u: Array, alpha: float) -> Array:
    v = np.abs(u)
    nearer_end = np.where(v < alpha, 1.0 - (alpha - v), _reach(v, alpha))
    fall = np.minimum(2.0 * np.minimum(v, alpha), np.maximum(nearer_end, 0.0))
    return -np.sign(u) * fall / (2.0 * alpha)


def _uniform_tent_hessian(u: Array, alpha: float) -> Array:
    def slope(t: Array) -> Array:
        return -np.sign(t) * _step(1.0 - np.abs(t))

    return (slope(u + alpha) - slope(u - alpha)) / (2.0 * alpha)


UNIFORM_TENT = Means(_uniform_tent_value, _uniform_tent_gradient, _uniform_tent_hessian)


def _uniform_gaussian_gradient(u: Array, alpha: float) -> Array:
    v = np.abs(u)
    nearer = np.exp(-0.5 * (v - alpha) ** 2)
    return np.sign(u) * nearer * np.expm1(-2.0 * v * alpha) / (2.0 * alpha)


def _uniform_gaussian_hessian(u: Array, alpha: float) -> Array:
    v = np.abs(u)
    near, fall = v - alpha, -np.expm1(-2.0 * v * alpha)
    return np.exp(-0.5 * near**2) * (near * fall / (2.0 * alpha) - (1.0 - fall))


UNIFORM_GAUSSIAN = Means(
    lambda u, a: np.exp(log_gaussian_mean(u, a)),
    _uniform_gaussian_gradient,
    _uniform_gaussian_hessian,
)


def _uniform_lorentz_value(u: Array, alpha: float) -> Array:
    return np.arctan2(2.0 * alpha, 1.0 + (u - alpha) * (u + alpha)) / (2.0 * alpha)


def _ends(u: Array, alpha: float) -> Array:
    """Return (1 + t²) at one end of u ± alpha times the same at the other."""
    return (1.0 + (u + alpha) ** 2) * (1.0 + (u - alpha) ** 2)


def _uniform_lorentz_hessian(u: Array, alpha: float) -> Array:
    product = 1.0 + (u - alpha) * (u + alpha)
    steepness = product * (product - 4.0 * u**2) + 4.0 * alpha**2
    return -2.0 * steepness / _ends(u, alpha) ** 2


UNIFORM_LORENTZ = Means(
    _uniform_lorentz_value, lambda u, a: -2.0 * u / _ends(u, a), _uniform_lorentz_hessian
)


def _uniform_log_value(u: Array, alpha: float) -> Array:
    def integral(t: Array) -> Array:
        return t * np.log1p(t * t) - 2.0 * t + 2.0 * np.arctan(t)

    far = (integral(np.abs(u) + alpha) - integral(np.abs(u) - alpha)) / (2.0 * alpha)
    return np.where(
        alpha < 0.75 * np.hypot(1.0, u), _panel_mean(lambda t: np.log1p(t * t), u, alpha), far
    )


def _uniform_log_gradient(u: Array, alpha: float) -> Array:
    v = np.abs(u)
    rise = np.log1p(4.0 * v * alpha / (1.0 + (v - alpha) ** 2))
    return np.sign(u) * rise / (2.0 * alpha)


UNIFORM_LOG = Means(
    _uniform_log_value,
    _uniform_log_gradient,
    lambda u, a: 2.0 * (1.0 - (u - a) * (u + a)) / _ends(u, a),
)


def _uniform_laplace_value(u: Array, alpha: float) -> Array:
    v = np.abs(u)
    beside = -np.exp(-(v - alpha)) * np.expm1(-2.0 * alpha)
    across = -np.expm1(-np.maximum(alpha - v, 0.0)) - np.expm1(-(alpha + v))
    return np.where(v < alpha, across, beside) / (2.0 * alpha)


def _uniform_laplace_gradient(u: Array, alpha: float) -> Any:
    v = np.abs(u)
    fall = np.exp(-np.abs(v - alpha)) * np.expm1(-2.0 * np.minimum(v, alpha))
    return np.sign(u) * fall / (2.0 * alpha)


def _uniform_laplace_hessian(u: Array, alpha: float) -> Array:
    v = np.abs(u)
    across = -(np.exp(-(alpha + v)) + np.exp(-np.abs(alpha - v))) / (2.0 * alpha)
    return np.where(v < alpha, across, _uniform_laplace_value(u, alpha))


UNIFORM_LAPLACE = Means(_uniform_laplace_value, _uniform_laplace_gradient, _uniform_laplace_hessian)

# Softplus, the sigmoid and the three derivatives of that are one ladder: the mean of one is the
# chord of the one above. Poles are π off the line, so one panel serves up to a half-width of 2.

NARROW = 2.0


def _sigmoid(t: Array) -> Array:
    return np.exp(np.minimum(t, 0.0)) / (1.0 + np.exp(-np.abs(t)))


def _softplus(t: Array) -> Array:
    return np.maximum(t, 0.0) + _softplus_tail(t)


def _softplus_tail(t: Array) -> Array:
    return np.log1p(np.exp(-np.abs(t)))


def _sigmoid_slope(t: Array) -> Array:
    return _sigmoid(t) * _sigmoid(-t)


def _sigmoid_curvature(t: Array) -> Array:
    return -_sigmoid_slope(t) * np.tanh(0.5 * t)


def _sigmoid_third(t: Array) -> Array:
    slope = _sigmoid_slope(t)
    return slope * (np.tanh(0.5 * t) ** 2 - 2.0 * slope)


def _softplus_area(t: Array) -> Array:
    """Return the integral of the tail from t ≥ 0 on, -Li2(-exp(-t))."""
    q = np.exp(-t)
    k = np.arange(12, 0, -1)
    series = np.polyval([*(-((-1.0) ** k) / k**2), 0.0], q)
    return np.where(q < 0.05, series, -spence(1.0 + q))


def _uniform_softplus_value(u: Array, alpha: float) -> Any:
    if alpha < NARROW:
        return _panel_mean(_softplus, u, alpha)
    near, far = _softplus_area(np.abs(np.abs(u) - alpha)), _softplus_area(np.abs(u) + alpha)
    area = np.where(np.abs(u) < alpha, np.pi**2 / 6.0 - near - far, near - far)
    return UNIFORM_HINGE.value(u, alpha) + area / (2.0 * alpha)


def _uniform_sigmoid_value(u: Array, alpha: float) -> Array:
    if alpha < NARROW:
        return _panel_mean(_sigmoid, u, alpha)
    tails = _softplus_tail(u + alpha) - _softplus_tail(u - alpha)
    return (np.clip(u + alpha, 0.0, 2.0 * alpha) + tails) / (2.0 * alpha)


def _uniform_sigmoid_slope(u: Array, alpha: float) -> Any:
    return -_sigmoid(u + alpha) * _sigmoid(alpha - u) * np.expm1(-2.0 * alpha) / (2.0 * alpha)


def _uniform_sigmoid_curvature(u: Array, alpha: float) -> Any:
    v = np.abs(u)
    symmetric = _sigmoid(v + alpha) * _sigmoid(v - alpha) * np.expm1(-2.0 * v)
    return np.sign(u) * _uniform_sigmoid_slope(u, alpha) * symmetric


def _uniform_sigmoid_third(u: Array, alpha: float) -> Array:
    if alpha < NARROW:
        return _panel_mean(_sigmoid_third, u, alpha)
    rise = _sigmoid_curvature(u + alpha) - _sigmoid_curvature(u - alpha)
    return rise / (2.0 * alpha)


UNIFORM_SOFTPLUS = Means(_uniform_softplus_value, _uniform_sigmoid_value, _uniform_sigmoid_slope)
UNIFORM_SIGMOID = Means(_uniform_sigmoid_value, _uniform_sigmoid_slope, _uniform_sigmoid_curvature)
UNIFORM_SIGMOID_SLOPE = Means(
    _uniform_sigmoid_slope, _uniform_sigmoid_curvature, _uniform_sigmoid_third
)


# -------------------------------------------------------------------------------------- normal


def _density(z: Array) -> Any:
    return np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)


def _expected_excess(z: Array) -> Any:
    """Return the mean of the positive part of a standard normal number less z ≥ 0."""
    moderate = np.minimum(z, 10.0)
    ratio = 1.0 - moderate * np.sqrt(0.5 * np.pi) * erfcx(moderate * 0.5**0.5)
    k = np.arange(20)
    odd_factorials = np.cumprod(2.0 * k + 1.0) * (-1.0) ** k
    inverse = 1.0 / np.maximum(z, 10.0) ** 2
    series = inverse * np.polyval(odd_factorials[::-1], inverse)
    return _density(z) * np.where(z < 10.0, ratio, series)


NORMAL_ABSOLUTE = Means(
    lambda u, s: np.abs(u) + 2.0 * s * _expected_excess(np.abs(u) / s),
    lambda u, s: erf(u / s * 0.5**0.5),
    lambda u, s: 2.0 * _density(u / s) / s,
)
NORMAL_HINGE = Means(
    lambda u, s: np.maximum(u, 0.0) + s * _expected_excess(np.abs(u) / s),
    lambda u, s: ndtr(u / s),
    lambda u, s: _density(u / s) / s,
)


def _broad_box(order: int) -> Mean:
    """Return a mean of the box: that of a normal density over the box, uniform noise."""

    def mean(u: Array, sigma: float) -> Any:
        height = np.sqrt(2.0 / np.pi) / sigma ** (order + 1)
        return height * UNIFORM_GAUSSIAN[order](u / sigma, 1.0 / sigma)

    return mean


def _narrow_box_value(u: Array, sigma: float) -> Any:
    v = np.abs(u)
    return ndtr((1.0 - v) / sigma) - ndtr(-(1.0 + v) / sigma)


def _narrow_box_gradient(u: Array, sigma: float) -> Any:
    v = np.abs(u)
    return np.sign(u) * _density((1.0 - v) / sigma) * np.expm1(-2.0 * v / sigma**2) / sigma


def _narrow_box_hessian(u: Array, sigma: float) -> Any:
    ends = (1.0 - u) * _density((1.0 - u) / sigma) + (1.0 + u) * _density((1.0 + u) / sigma)
    return -ends / sigma**3


def _fine_mean(function: Profile) -> Mean:
    """Return the mean by the trapezoidal rule, exact to rounding for poles a width off the line."""
    z = np.arange(-72, 73) / 6.0
    weights = _density(z) / 6.0

    def mean(u: Array, sigma: float) -> Array:
        return np.asarray(function(u[..., None] + sigma * z) @ weights)

    return mean


def _graded_mean(integrand: Integrand, peak: Peak) -> Mean:
    """Return the mean by panels that grow with the distance from 0, and are fine at the peak.

    For noise of a width or more. ``integrand(t, u, sigma)`` is without the density of the noise,
    ``peak(u, sigma)`` where it is largest with it.
    """

    def mean(u: Array, sigma: float) -> Array:
        flat = np.ravel(u)
        chunks = np.array_split(flat, 1 + len(flat) // 256)
        return np.concatenate([part(chunk, sigma) for chunk in chunks]).reshape(u.shape)

    def part(u: Array, sigma: float) -> Array:
        top = np.ceil(np.log2(np.max(np.abs(u), initial=0.0) + 12.0 * sigma))
        growing = 2.0 ** np.arange(top + 1.0)
        growing = np.concatenate([-growing[::-1], [0.0], growing])
        fine = peak(u, sigma)[:, None] + 1.5 * sigma * np.arange(-7, 8)
        edges = np.concatenate([np.broadcast_to(growing, (len(u), len(growing))), fine], axis=1)
        edges = np.sort(edges, axis=1)
        half = 0.5 * np.diff(edges, axis=1)[:, :, None]
        t = edges[:, :-1, None] + half * (1.0 + NODES)
        density = _density((t - u[:, None, None]) / sigma) / sigma
        values = integrand(t, u[:, None, None], sigma) * density
        return np.asarray(np.sum(2.0 * half * WEIGHTS * values, axis=(1, 2)))

    return mean


def _by_width(narrow: Mean, broad: Mean) -> Mean:
    def mean(u: Array, sigma: float) -> Any:
        return narrow(u, sigma) if sigma < 1.0 else broad(u, sigma)

    return mean


NORMAL_BOX = Means(
    _by_width(_narrow_box_value, _broad_box(0)),
    _by_width(_narrow_box_gradient, _broad_box(1)),
    _by_width(_narrow_box_hessian, _broad_box(2)),
)


def _broad_value(function: Profile, peak: Peak) -> Mean:
    return _graded_mean(lambda t, u, sigma: function(t), peak)


def _broad_odd(function: Profile, peak: Peak) -> Mean:
    """Return the mean of an odd function, the two halves of which are put together."""

    def folded(t: Array, v: Array, sigma: float) -> Array:
        t_plus = np.maximum(t, 0.0)
        return np.where(t > 0.0, -np.expm1(-2.0 * t_plus * v / sigma**2) * function(t), 0.0)

    half = _graded_mean(folded, peak)
    return lambda u, sigma: np.sign(u) * half(np.abs(u), sigma)


def _broad_curvature(function: Profile, peak: Peak) -> Mean:
    """Return the mean of a function's curvature, by parts: the noise's density takes it over."""

    def integrand(t: Array, u: Array, sigma: float) -> Any:
        z = (t - u) / sigma
        return function(t) * (z - 1.0) * (z + 1.0) / sigma**2

    return _graded_mean(integrand, peak)


def _tilted(rate: float) -> Peak:
    """Return where exp(-rate |t|) times the density of the noise is largest."""
    return lambda u, sigma: np.sign(u) * np.maximum(np.abs(u) - rate * sigma**2, 0.0)


def _at_noise(u: Array, sigma: float) -> Array:
    return u


def _left_tilted(u: Array, sigma: float) -> Array:
    return np.where(u > 0.0, u, np.minimum(u + sigma**2, 0.0))


def _tent(t: Array) -> Array:
    return np.maximum(1.0 - np.abs(t), 0.0)


def _narrow_tent_value(u: Array, sigma: float) -> Any:
    def tail(x: Array) -> Any:
        return sigma * _expected_excess(np.abs(x) / sigma)

    v = np.abs(u)
    return np.maximum(1.0 - v, 0.0) + tail(1.0 - v) - 2.0 * tail(v) + tail(1.0 + v)


def _narrow_tent_gradient(u: Array, sigma: float) -> Array:
    v = np.abs(u)
    fall = ndtr((1.0 - v) / sigma) - 2.0 * ndtr(-v / sigma) + ndtr(-(1.0 + v) / sigma)
    return -np.sign(u) * fall


def _narrow_tent_hessian(u: Array, sigma: float) -> Any:
    ends = _density((1.0 - u) / sigma) + _density((1.0 + u) / sigma)
    return (ends - 2.0 * _density(u / sigma)) / sigma


NORMAL_TENT = Means(
    _by_width(_narrow_tent_value, _broad_value(_tent, _tilted(np.inf))),
    _by_width(_narrow_tent_gradient, _broad_odd(lambda t: -1.0 * (t < 1.0), _tilted(np.inf))),
    _by_width(_narrow_tent_hessian, _broad_curvature(_tent, _tilted(np.inf))),
)


def _laplace_halves(v: Array, sigma: float) -> tuple[Array, Array]:
    """Return the parts of the mean of exp(-|t|), v ≥ 0, from t > 0 and from t < 0."""
    right = np.exp(0.5 * sigma**2 - v) * ndtr(v / sigma - sigma)
    left = 0.5 * np.exp(-0.5 * (v / sigma) ** 2) * erfcx((v / sigma + sigma) * 0.5**0.5)
    return right, left


def _narrow_laplace_value(u: Array, sigma: float) -> Array:
    right, left = _laplace_halves(np.abs(u), sigma)
    return right + left


def _narrow_laplace_gradient(u: Array, sigma: float) -> Array:
    right, left = _laplace_halves(np.abs(u), sigma)
    return np.sign(u) * (left - right)


def _narrow_laplace_hessian(u: Array, sigma: float) -> Any:
    return _narrow_laplace_value(u, sigma) - 2.0 * _density(u / sigma) / sigma


def _laplace(t: Array) -> Array:
    return np.exp(-np.abs(t))


NORMAL_LAPLACE = Means(
    _by_width(_narrow_laplace_value, _broad_value(_laplace, _tilted(1.0))),
    _by_width(_narrow_laplace_gradient, _broad_odd(lambda t: -_laplace(t), _tilted(1.0))),
    _by_width(_narrow_laplace_hessian, _broad_curvature(_laplace, _tilted(1.0))),
)

_NORMAL_SIGMOID_VALUE = _by_width(_fine_mean(_sigmoid), _broad_value(_sigmoid, _left_tilted))
_NORMAL_SIGMOID_SLOPE = _by_width(
    _fine_mean(_sigmoid_slope), _broad_value(_sigmoid_slope, _tilted(1.0))
)
_NORMAL_SIGMOID_CURVATURE = _by_width(
    _fine_mean(_sigmoid_curvature), _broad_odd(_sigmoid_curvature, _tilted(1.0))
)
NORMAL_SIGMOID = Means(_NORMAL_SIGMOID_VALUE, _NORMAL_SIGMOID_SLOPE, _NORMAL_SIGMOID_CURVATURE)
NORMAL_SIGMOID_SLOPE = Means(
    _NORMAL_SIGMOID_SLOPE,
    _NORMAL_SIGMOID_CURVATURE,
    _by_width(_fine_mean(_sigmoid_third), _broad_curvature(_sigmoid_slope, _tilted(1.0))),
)
NORMAL_SOFTPLUS = Means(
    _by_width(_fine_mean(_softplus), _broad_value(_softplus, _left_tilted)),
    _NORMAL_SIGMOID_VALUE,
    _NORMAL_SIGMOID_SLOPE,
)


def _inverse_power(u: Array, sigma: float, power: int) -> Array:
    r"""Mean of :math:`(t - i)^{-k}` over normal noise, k = 1, 2, 3.

    The trapezoidal rule, with the pole halfway between two of its points, and the residue there
    added: Chiarella & Reichel (1968), from memory, generalized to powers. Without the residue where
    the pole is so far off the line that its share is below rounding.
    """
    h = 0.5
    nearest = np.round(u / (sigma * h))[..., None]
    points = np.arange(-26, 26) + 0.5
    z = h * (points + nearest) - u[..., None] / sigma
    t = sigma * h * (points + nearest)
    total = np.sum(h * _density(z) / (t - 1j) ** power, axis=-1)
    if sigma < h / (2.0 * np.pi):
        return np.asarray(total)
    pole = (1j - u) / sigma
    return np.asarray(total - 2j * np.pi * _residue(pole, sigma, h, power) / sigma**power)


def _residue(pole: Any, sigma: float, h: float, power: int) -> Any:
    """Return the derivatives over factorials of density times q, q' = (2πi/h) q (1 + q)."""
    density = _density(pole)
    q, frequency = -1.0 / (np.exp(2.0 * np.pi / (sigma * h)) + 1.0), 2j * np.pi / h
    slope = frequency * q * (1.0 + q)
    if power == 1:
        return density * q
    if power == 2:
        return density * (slope - pole * q)
    curvature = frequency * slope * (1.0 + 2.0 * q)
    return 0.5 * density * ((pole**2 - 1.0) * q - 2.0 * pole * slope + curvature)


NORMAL_LORENTZ = Means(
    lambda u, s: np.imag(_inverse_power(u, s, 1)),
    lambda u, s: -np.imag(_inverse_power(u, s, 2)),
    lambda u, s: 2.0 * np.imag(_inverse_power(u, s, 3)),
)
NORMAL_LOG = Means(
    _by_width(
        _fine_mean(lambda t: np.log1p(t * t)), _broad_value(lambda t: np.log1p(t * t), _at_noise)
    ),
    lambda u, s: 2.0 * np.real(_inverse_power(u, s, 1)),
    lambda u, s: -2.0 * np.real(_inverse_power(u, s, 2)),
)
