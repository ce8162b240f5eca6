"""Boltzmann weights on the line: log partition functions and basin probabilities."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import tanhsinh

from theory._landscapes_base import LineLandscape
from theory._landscapes_line import sign_changes
from theory._validation import Array, number, positive_array


class StationaryPoints(NamedTuple):
    """Local minima and maxima inside an interval, in increasing order."""

    minima: Array
    maxima: Array


def stationary_points(landscape: LineLandscape, *, lower: float, upper: float) -> StationaryPoints:
    """Local minima and maxima inside an interval, to rounding.

    The sign of the gradient is read on 20 001 even points, at the inflections of a double well and,
    around every center of a well mixture, on points as fine as the well; each change is then
    solved. So a single double well is never missed; of a sum, wells narrower than the even points
    are apart may be, where no such point separates them. Of a flat bottom one point is given.

    Parameters
    ----------
    landscape : LineLandscape
        On the line.
    lower, upper : float
        Ends of the interval.

    Returns
    -------
    StationaryPoints
        ``minima`` (M,) and ``maxima``; M and the number of maxima differ by at most one.

    Raises
    ------
    ValueError
        If the ends are not finite and in order, or the landscape overflows between them.
    TypeError
        If the landscape is not one on the line.

    Examples
    --------
    >>> from theory.landscapes import DoubleWell, stationary_points
    >>> stationary_points(DoubleWell(), lower=-2.0, upper=3.0).minima
    array([-1.,  1.])
    """
    lower, upper = _interval(landscape, lower, upper)
    return StationaryPoints(*sign_changes(landscape, landscape.scan(lower, upper)))


def log_partition(
    landscape: LineLandscape, temperature: ArrayLike, *, lower: float, upper: float
) -> Array:
    r"""Log partition function :math:`\ln\int_{lower}^{upper} e^{-C(x)/T} dx`.

    The interval is split at the stationary points, where double-exponential quadrature puts its
    points densest: so a cold landscape, all of whose mass is close to a minimum, costs no accuracy.

    Parameters
    ----------
    landscape : LineLandscape
        On the line.
    temperature : array_like (...)
        T, positive, in units of C.
    lower, upper : float
        Ends of the interval.

    Returns
    -------
    float or ndarray (...)
        Nats plus the log of the unit of x; accurate to 1e-10.

    Raises
    ------
    ValueError
        If a temperature is not positive, the ends are not finite and in order, the landscape
        overflows between them, or the quadrature does not reach its accuracy.
    TypeError
        If the landscape is not one on the line.

    References
    ----------
    Smith & Le (2018), appendix A: the stationary density of Langevin dynamics at temperature T.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.landscapes import Parabola, log_partition
    >>> log_Z = log_partition(Parabola(curvature=4.0), 1e-6, lower=-1.0, upper=1.0)
    >>> round(float(log_Z - 0.5 * np.log(2 * np.pi * 1e-6 / 4.0)), 10)
    0.0
    """
    T = positive_array("temperature", temperature)
    points = stationary_points(landscape, lower=lower, upper=upper)
    masses = _log_masses(landscape, T, _edges(lower, upper, *points))
    return np.asarray(np.logaddexp.reduce(masses, axis=-1))[()]


def basin_log_probabilities(
    landscape: LineLandscape, temperature: ArrayLike, *, lower: float, upper: float
) -> Array:
    r"""Log of the mass that :math:`e^{-C/T}` puts into each basin of an interval.

    Basins are separated by the local maxima inside the interval; a basin at an end may have its
    lowest point at that end.

    Parameters
    ----------
    landscape : LineLandscape
        On the line.
    temperature : array_like (...)
        T, positive, in units of C.
    lower, upper : float
        Ends of the interval; take them where C/T is high if the whole line is meant.

    Returns
    -------
    ndarray (..., K)
        From left to right; the probabilities add up to 1. Accurate to 1e-10.

    Raises
    ------
    ValueError, TypeError
        As :func:`log_partition`.

    References
    ----------
    Smith & Le (2018), appendix A: at temperature 1 basins are occupied by their evidence.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.landscapes import LineWellMixture, basin_log_probabilities
    >>> wells = LineWellMixture(costs=[0.0, 1.0], centers=[-9.0, 9.0], curvatures=[16.0, 1.0])
    >>> log_p = basin_log_probabilities(wells, [0.2, 1.0], lower=-30.0, upper=30.0)
    >>> np.exp(log_p).round(3)  # cold: the deep one; warm: the broad one
    array([[0.974, 0.026],
           [0.405, 0.595]])
    """
    T = positive_array("temperature", temperature)
    points = stationary_points(landscape, lower=lower, upper=upper)
    edges = _edges(lower, upper, *points)
    masses = _log_masses(landscape, T, edges)
    starts = np.searchsorted(edges, [edges[0], *points.maxima])
    basins = np.logaddexp.reduceat(masses, starts, axis=-1)
    return np.asarray(basins - np.logaddexp.reduce(basins, axis=-1, keepdims=True))


def _interval(landscape: LineLandscape, lower: float, upper: float) -> tuple[float, float]:
    if not isinstance(landscape, LineLandscape):
        raise TypeError(f"landscape must be one on the line, got {type(landscape).__name__}")
    lower, upper = number("lower", lower), number("upper", upper)
    if not lower < upper:
        raise ValueError(f"lower must be below upper, got {lower:g} and {upper:g}")
    return lower, upper


def _edges(lower: float, upper: float, minima: Array, maxima: Array) -> Array:
    return np.unique(np.concatenate([[lower, upper], minima, maxima]))


def _log_masses(landscape: LineLandscape, T: Array, edges: Array) -> Array:
    """Return the log integrals of exp(-C/T) between neighboring edges (..., n - 1)."""
    lowest = float(np.min(landscape.value(edges)))

    def log_density(x: Array, temperature: Array) -> Array:
        return -(landscape.value(x) - lowest) / temperature

    result = tanhsinh(
        log_density,
        edges[:-1],
        edges[1:],
        args=(T[..., None],),
        log=True,
        rtol=np.log(1e-11),
        minlevel=5,  # from coarser levels it sometimes takes its error for a hundredth of it
    )
    if not np.all(result.success):
        raise ValueError(
            f"temperature {np.min(T):g} is too low: the rounding of C/T spoils the quadrature"
        )
    return np.asarray(np.real(result.integral) - lowest / T[..., None])
