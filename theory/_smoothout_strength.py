r"""How much noise it takes: where the order of minima flips, and where minima vanish."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from theory._landscapes_base import LineLandscape, check_law, noise_variance
from theory._landscapes_partition import stationary_points
from theory._landscapes_smoothing import log_gaussian_mean
from theory._validation import (
    Array,
    number,
    positive_integer,
    positive_number,
)


def smoothing_strength(advantage: Callable[[float], float], *, lower: float, upper: float) -> float:
    r"""Find the critical strength: where a closed form in the strength changes its sign.

    Parameters
    ----------
    advantage : callable
        A function of the strength that is continuous and changes its sign once, such as the
        difference of two smoothed values, ``lambda a: float(C.smoothed(a).value(sharp) -
        C.smoothed(a).value(flat))``, or the curvature of the smoothed loss at a point.
    lower, upper : float
        Strengths between which it does, positive.

    Returns
    -------
    float
        To rounding.

    Raises
    ------
    ValueError
        If the strengths are not positive and in order, or the sign is the same at both.

    References
    ----------
    Wen et al. (2018), Theorem 2, Eqs. 12-13 (derived).

    Examples
    --------
    A parabola that is deeper and sharper than another is as high after smoothing by 1.

    >>> from theory.landscapes import Parabola
    >>> from theory.smoothout import smoothing_strength
    >>> sharp, flat = Parabola(curvature=8.0) + (-1.0), Parabola(curvature=2.0)
    >>> def lift(a):
    ...     return float(sharp.smoothed(a).value(0.0) - flat.smoothed(a).value(0.0))
    >>> round(smoothing_strength(lift, lower=0.1, upper=10.0), 12)
    1.0
    """
    low, high = positive_number("lower", lower), positive_number("upper", upper)
    if not low < high:
        raise ValueError(f"lower must be below upper, got {low:g} and {high:g}")
    ends = [number("advantage", advantage(a)) for a in (low, high)]
    if np.sign(ends[0]) * np.sign(ends[1]) > 0.0:
        raise ValueError(
            f"advantage has one sign at both ends: {ends[0]:g} at {low:g}, {ends[1]:g} at {high:g}"
        )
    return float(brentq(advantage, low, high, xtol=1e-300, rtol=1e-15, maxiter=10_000))


def overtaking_strength(
    *,
    sharp_depth: float,
    flat_depth: float,
    sharp_width: float,
    flat_width: float,
    dimension: ArrayLike,
    noise: str = "uniform",
) -> Array:
    r"""Strength from which a shallower, wider product well is the deeper one of two.

    The wells are :math:`-h\,e^{-\|w - c\|^2/(2s^2)}` in m dimensions, far apart. The strength
    solves :math:`\ln\frac{h_s}{h_f} + m\bigl[\ln g(\tfrac{a}{s_s\sqrt2})
    - \ln g(\tfrac{a}{s_f\sqrt2})\bigr] = 0` with :math:`g(z) = \frac{\sqrt\pi}{2z}\text{erf}\,z`;
    for large m it is :math:`\sqrt{6\ln(h_s/h_f)/(m(s_s^{-2} - s_f^{-2}))}`.

    Parameters
    ----------
    sharp_depth, flat_depth : float
        :math:`h_s > h_f > 0`.
    sharp_width, flat_width : float
        :math:`0 < s_s < s_f`.
    dimension : array_like of int (...)
        m.
    noise : str
        "uniform", or "normal", for which :math:`g(z)` becomes :math:`(1 + 2z^2)^{-1/2}`.

    Returns
    -------
    float or ndarray (...)
        In the unit of the widths, to 1e-10 relative; infinite where no strength will do: the wells'
        masses :math:`h s^m` are ordered as their depths are.

    Raises
    ------
    ValueError
        If depths or widths are not positive and in their order, or m is not a positive integer.

    References
    ----------
    Wen et al. (2018), Theorem 2, Eq. 13 on product wells (derived).

    Examples
    --------
    >>> from theory.smoothout import overtaking_strength
    >>> wells = dict(sharp_depth=1.0, flat_depth=0.8, sharp_width=0.1, flat_width=0.4)
    >>> overtaking_strength(**wells, dimension=[1, 100, 10**9])
    array([1.26471647e-01, 1.19564445e-02, 3.77904582e-06])
    """
    check_law(noise)
    depths = positive_number("sharp_depth", sharp_depth), positive_number("flat_depth", flat_depth)
    widths = positive_number("sharp_width", sharp_width), positive_number("flat_width", flat_width)
    if not depths[0] > depths[1]:
        raise ValueError(f"sharp_depth must exceed flat_depth, got {depths[0]:g} and {depths[1]:g}")
    if not widths[0] < widths[1]:
        raise ValueError(
            f"sharp_width must be below flat_width, got {widths[0]:g} and {widths[1]:g}"
        )
    excess = float(np.log(depths[0] / depths[1]))
    log_mean = _log_uniform_mean if noise == "uniform" else _log_normal_mean

    def critical(value: int) -> float:
        m = positive_integer("dimension", value)
        # As a grows, the bracket falls from 0 to the ratio of the widths: there must be enough.
        if excess >= m * np.log(widths[1] / widths[0]):
            return float(np.inf)

        def advantage(a: float) -> float:
            return excess / m + log_mean(a / widths[0]) - log_mean(a / widths[1])

        leading = float(np.sqrt(6.0 * excess / (m * (widths[0] ** -2 - widths[1] ** -2))))
        low, high = 0.1 * leading, 10.0 * leading
        while advantage(high) > 0.0:
            high *= 10.0
        return smoothing_strength(advantage, lower=low, upper=high)

    m = np.asarray(dimension)
    found = np.array([critical(each) for each in m.ravel().tolist()])
    return np.asarray(found.reshape(m.shape))[()]


def ranking_strength(*, loss_gap: float, trace_gap: float, noise: str = "uniform") -> float:
    r"""Strength at which the order of a deep sharp and a shallow flat minimum flips.

    To second order, and exactly on quadratics, noise adds :math:`\tfrac{a^2}{6}\text{tr} H`.

    Parameters
    ----------
    loss_gap : float
        Loss at the flat minimum less that at the sharp one, positive.
    trace_gap : float
        tr H at the sharp minimum less that at the flat one, positive.
    noise : str
        "uniform" or "normal".

    Returns
    -------
    float
        :math:`a_c = \sqrt{6\,\Delta C/\Delta\text{tr} H}`, or
        :math:`\sigma_c = \sqrt{2\,\Delta C/\Delta\text{tr} H}`.

    Raises
    ------
    ValueError
        If a gap is not positive or the law unknown.

    References
    ----------
    Wen et al. (2018), Theorem 2, Eq. 13 (derived).

    Examples
    --------
    >>> from theory.smoothout import ranking_strength
    >>> ranking_strength(loss_gap=1.0, trace_gap=6.0)
    1.0
    """
    check_law(noise)
    gap, traces = positive_number("loss_gap", loss_gap), positive_number("trace_gap", trace_gap)
    return float(np.sqrt(2.0 * gap / (traces * noise_variance(1.0, noise))))


def merging_strength(
    landscape: LineLandscape,
    *,
    lower: float,
    upper: float,
    weakest: float,
    strongest: float,
    minima: int = 1,
    noise: str = "uniform",
) -> float:
    """Strength at which the smoothed landscape is down to so many minima: wells merge.

    Parameters
    ----------
    landscape : LineLandscape
        With a closed-form mean over noise.
    lower, upper : float
        Ends of the interval in which minima are counted.
    weakest, strongest : float
        Strengths with more, and with at most so many minima.
    minima : int
        How many are left; 1 for a single minimum.
    noise : str
        "uniform" or "normal".

    Returns
    -------
    float
        By bisection, to 1e-12 relative or the resolution of
        :func:`theory.landscapes.stationary_points`: two minima that close are counted as one. Under
        uniform noise minima may come back: then it is one of the strengths where the number drops.

    Raises
    ------
    ValueError
        If strengths are not positive and in order, or the numbers of minima at them do not bracket
        ``minima``; and as :func:`theory.landscapes.stationary_points`.
    TypeError
        If the landscape is not one on the line, or its mean has no closed form.

    References
    ----------
    Wen et al. (2018), abstract: SmoothOut eliminates sharp minima (derived).

    Examples
    --------
    >>> from theory.landscapes import DoubleWell
    >>> from theory.smoothout import merging_strength
    >>> well = DoubleWell(half_width=0.7)
    >>> round(merging_strength(well, lower=-2.0, upper=2.0, weakest=0.1, strongest=1.0), 6)
    0.7
    """
    if not isinstance(landscape, LineLandscape):
        raise TypeError(f"landscape must be one on the line, got {type(landscape).__name__}")
    low, high = positive_number("weakest", weakest), positive_number("strongest", strongest)
    if not low < high:
        raise ValueError(f"weakest must be below strongest, got {low:g} and {high:g}")
    left = positive_integer("minima", minima, minimum=0)

    def count(a: float) -> int:
        smoothed = landscape.smoothed(a, noise=noise)
        return len(stationary_points(smoothed, lower=lower, upper=upper).minima)

    if not count(low) > left >= count(high):
        raise ValueError(
            f"minima must number more than {left} at the weakest strength and at most {left} at "
            f"the strongest, got {count(low)} at {low:g} and {count(high)} at {high:g}"
        )
    while high / low > 1.0 + 1e-12:
        middle = float(np.sqrt(low * high))
        if count(middle) > left:
            low = middle
        else:
            high = middle
    return high


def _log_uniform_mean(alpha: float) -> float:
    """Return the log mean of exp(-u²/2), u uniform on [-alpha, alpha]."""
    return float(log_gaussian_mean(0.0, alpha))


def _log_normal_mean(alpha: float) -> float:
    """Return the log mean of exp(-u²/2), u normal of standard deviation alpha."""
    return float(-0.5 * np.log1p(alpha * alpha))
