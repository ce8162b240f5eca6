"""Landscapes on the line: a parabola, the tilted double well, a mixture of parabolic wells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from theory._landscapes_base import (
    Compiler,
    LineKernels,
    LineLandscape,
    Parameters,
    as_is,
    frozen,
    noise_fourth_moment,
    noise_variance,
    with_points,
)
from theory._validation import Array, finite_array, number, positive_array, positive_number


@dataclass(frozen=True, eq=False, kw_only=True)
class Parabola(LineLandscape):
    r"""The parabola :math:`C(x) = \frac12 h (x - c)^2` on the line.

    Parameters
    ----------
    curvature : float
        h, of any sign.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite.

    Examples
    --------
    >>> from theory.landscapes import Parabola
    >>> float(Parabola(curvature=2.0, center=1.0).gradient(4.0))
    6.0
    """

    curvature: float
    center: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "curvature", number("curvature", self.curvature))
        object.__setattr__(self, "center", number("center", self.center))

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Half the curvature, and the center."""
        return (0.5 * self.curvature, self.center)

    @property
    def minima(self) -> Array:
        """The center (1,), or nothing (0,) where the curvature is not positive."""
        return np.array([self.center] if self.curvature > 0.0 else [])

    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels, passed through ``compiler``."""
        return _parabola_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> Parabola:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = number("shift", shift), positive_number("stretch", stretch)
        return Parabola(curvature=self.curvature / stretch**2, center=self.center * stretch + shift)

    def _smoothed(self, strength: float, noise: str) -> LineLandscape:
        return self + 0.5 * self.curvature * noise_variance(strength, noise)


@cache
def _parabola_kernels(compiler: Compiler) -> LineKernels:
    def value(x: Any, p: Any) -> Any:
        half_curvature, center = p
        return half_curvature * (x - center) * (x - center)

    def gradient(x: Any, p: Any) -> Any:
        half_curvature, center = p
        return 2.0 * half_curvature * (x - center)

    def hessian(x: Any, p: Any) -> Any:
        return 2.0 * p[0] + 0.0 * x

    return LineKernels(compiler(value), compiler(gradient), compiler(hessian))


@dataclass(frozen=True, eq=False, kw_only=True)
class DoubleWell(LineLandscape):
    r"""The tilted double well :math:`C(x) = A (u^2 - 1)^2 + t u` with :math:`u = (x - c)/b`.

    Parameters
    ----------
    barrier : float
        A > 0: the height of the barrier without a tilt.
    half_width : float
        b > 0: half the distance of the minima without a tilt.
    tilt : float
        t, a positive one lowers the left well; :math:`|t| < 8A/(3\sqrt3)`, else one well is left.
    center : float
        c.

    Attributes
    ----------
    minima : ndarray (2,)
        Left and right.
    saddle : float
        The local maximum between them.
    barrier_heights : ndarray (2,)
        C(saddle) less C at the minima; exact also where it is tiny beside C.

    Raises
    ------
    ValueError
        If a number is not finite or out of range.

    Examples
    --------
    >>> from theory.landscapes import DoubleWell
    >>> well = DoubleWell(barrier=2.0, tilt=0.5)
    >>> well.barrier_heights.round(3)
    array([2.523, 1.524])
    """

    barrier: float = 1.0
    half_width: float = 1.0
    tilt: float = 0.0
    center: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, check in (
            ("barrier", positive_number),
            ("half_width", positive_number),
            ("tilt", number),
            ("center", number),
        ):
            object.__setattr__(self, name, check(name, getattr(self, name)))
        limit = 8.0 * self.barrier / (3.0 * np.sqrt(3.0))
        if not abs(self.tilt) < limit:
            raise ValueError(
                f"tilt must be below 8 barrier / (3 sqrt(3)) = {limit:g} in size, or only one well "
                f"is left; got {self.tilt:g}"
            )

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Barrier, tilt, inverse half-width and center."""
        return (self.barrier, self.tilt, 1.0 / self.half_width, self.center)

    @property
    def minima(self) -> Array:
        """Left and right minimum (2,)."""
        left, _, right = self._stationary_u()
        return self.center + self.half_width * np.array([left, right])

    @property
    def saddle(self) -> float:
        """The local maximum between the minima."""
        return self.center + self.half_width * self._stationary_u()[1]

    @property
    def barrier_heights(self) -> Array:
        """Height of the saddle above the left and the right minimum (2,)."""
        left, saddle, right = self._stationary_u()
        # The integral of 4A (u - left)(u - saddle)(u - right), whose roots add up to zero.
        return self.barrier * np.array([(saddle - left) ** 3 * right, (saddle - right) ** 3 * left])

    def _stationary_u(self) -> tuple[float, float, float]:
        """Return the three roots of u³ - u + t/(4A), in order: trigonometric form, polished."""
        q = self.tilt / (4.0 * self.barrier)
        angle = np.arccos(-1.5 * np.sqrt(3.0) * q) / 3.0
        u = 2.0 / np.sqrt(3.0) * np.cos(angle - 2.0 * np.pi * np.arange(3)[::-1] / 3.0)
        slope = 3.0 * u * u - 1.0
        # One Newton step; near a double root it would divide rounding errors by zero.
        u -= np.where(np.abs(slope) > 1e-4, (u * u * u - u + q) / slope, 0.0)
        return float(u[0]), float(u[1]), float(u[2])

    def scan(self, lower: float, upper: float) -> Array:
        """Return an even grid, and the points of inflection, which part minima and saddle."""
        u = np.array([-2.0, -(3.0**-0.5), 3.0**-0.5, 2.0])
        return with_points(super().scan(lower, upper), self.center + self.half_width * u)

    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels, passed through ``compiler``."""
        return _double_well_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> DoubleWell:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = number("shift", shift), positive_number("stretch", stretch)
        return DoubleWell(
            barrier=self.barrier,
            half_width=self.half_width * stretch,
            tilt=self.tilt,
            center=self.center * stretch + shift,
        )

    def _smoothed(self, strength: float, noise: str) -> LineLandscape:
        """Add what a quartic gains: half the variance of u times C'', and the fourth moment."""
        variance = noise_variance(strength / self.half_width, noise)
        fourth_moment = noise_fourth_moment(strength / self.half_width, noise)
        curvature = 12.0 * self.barrier * variance / self.half_width**2
        gain = Parabola(curvature=curvature, center=self.center)
        return self + gain + self.barrier * (fourth_moment - 2.0 * variance)


@cache
def _double_well_kernels(compiler: Compiler) -> LineKernels:
    def value(x: Any, p: Any) -> Any:
        barrier, tilt, inverse_width, center = p
        u = (x - center) * inverse_width
        depth = u * u - 1.0
        return barrier * depth * depth + tilt * u

    def gradient(x: Any, p: Any) -> Any:
        barrier, tilt, inverse_width, center = p
        u = (x - center) * inverse_width
        # What does not depend on x comes first, so that the compiler takes it out of the loop.
        return 4.0 * barrier * inverse_width * u * (u * u - 1.0) + tilt * inverse_width

    def hessian(x: Any, p: Any) -> Any:
        barrier, _, inverse_width, center = p
        u = (x - center) * inverse_width
        return 4.0 * barrier * (3.0 * u * u - 1.0) * inverse_width * inverse_width

    return LineKernels(compiler(value), compiler(gradient), compiler(hessian))


@dataclass(frozen=True, eq=False, kw_only=True)
class LineWellMixture(LineLandscape):
    r"""Parabolic wells on the line, :math:`C(x) = -\ln\sum_k e^{-C_k - h_k(x - \mu_k)^2/2}`.

    At temperature 1, :math:`e^{-C}` is a mixture of normals, so each well's mass is known exactly;
    a deep narrow well and a shallow broad one trade places as the temperature moves.

    Parameters
    ----------
    costs : array_like (K,)
        :math:`C_k`: the depths.
    centers : array_like (K,)
        :math:`\mu_k`.
    curvatures : array_like (K,)
        :math:`h_k > 0`.

    Attributes
    ----------
    minima : ndarray (M,)
        In increasing order, M ≤ K; found numerically.
    log_weights : ndarray (K,)
        Log of each component's share of the mass at temperature 1.

    Raises
    ------
    ValueError
        If shapes differ, values are not finite, or a curvature is not positive.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.landscapes import LineWellMixture
    >>> wells = LineWellMixture(costs=[0.0, 0.5], centers=[-1.0, 1.0], curvatures=[64.0, 4.0])
    >>> np.exp(wells.log_weights).round(3)  # the shallow well is broad, and wins
    array([0.292, 0.708])
    """

    costs: Array
    centers: Array
    curvatures: Array

    def __post_init__(self) -> None:
        """Check the arrays."""
        for name in ("costs", "centers", "curvatures"):
            array = finite_array(name, getattr(self, name), ndim=1)
            if len(array) != np.size(self.costs):
                raise ValueError(f"costs has {np.size(self.costs)} entries but {name} {len(array)}")
            object.__setattr__(self, name, frozen(array))
        positive_array("curvatures", self.curvatures)

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Costs, centers and curvatures, as tuples: compiled loops run over those unrolled."""
        return tuple(tuple(a.tolist()) for a in (self.costs, self.centers, self.curvatures))

    @property
    def log_weights(self) -> Array:
        """Log of each component's share of the mass at temperature 1 (K,)."""
        masses = -self.costs - 0.5 * np.log(self.curvatures)
        return np.asarray(masses - np.logaddexp.reduce(masses))

    @property
    def minima(self) -> Array:
        """The minima (M,), in increasing order: all lie between the outermost centers."""
        margin = float(np.max(self.curvatures**-0.5))
        edges = float(np.min(self.centers)) - margin, float(np.max(self.centers)) + margin
        return sign_changes(self, self.scan(*edges))[0]

    def scan(self, lower: float, upper: float) -> Array:
        """Return an even grid and, around every center, one as fine as its well."""
        local = self.centers[:, None] + self.curvatures[:, None] ** -0.5 * np.linspace(-8, 8, 257)
        return with_points(super().scan(lower, upper), local)

    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels, passed through ``compiler``."""
        return _mixture_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> LineWellMixture:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = number("shift", shift), positive_number("stretch", stretch)
        return LineWellMixture(
            costs=self.costs,
            centers=self.centers * stretch + shift,
            curvatures=self.curvatures / stretch**2,
        )


@cache
def _mixture_kernels(compiler: Compiler) -> LineKernels:
    def moments(x: Any, p: Any) -> Any:
        """Return the lowest well's cost at x, the sum of weights relative to it, and of slopes."""
        costs, centers, curvatures = p
        lowest = costs[0] + 0.5 * curvatures[0] * (x - centers[0]) * (x - centers[0])
        for k in range(1, len(costs)):
            r = x - centers[k]
            lowest = np.minimum(lowest, costs[k] + 0.5 * curvatures[k] * r * r)
        total, slope = 0.0 * x, 0.0 * x
        for k in range(len(costs)):
            r = x - centers[k]
            weight = np.exp(lowest - costs[k] - 0.5 * curvatures[k] * r * r)
            total = total + weight
            slope = slope + weight * curvatures[k] * r
        return lowest, total, slope

    moments = compiler(moments)

    def value(x: Any, p: Any) -> Any:
        lowest, total, _ = moments(x, p)
        return lowest - np.log(total)

    def gradient(x: Any, p: Any) -> Any:
        _, total, slope = moments(x, p)
        return slope / total

    def hessian(x: Any, p: Any) -> Any:
        """Return the mean curvature less the variance of the slopes."""
        costs, centers, curvatures = p
        lowest, total, slope = moments(x, p)
        curvature = 0.0 * x
        for k in range(len(costs)):
            r = x - centers[k]
            weight = np.exp(lowest - costs[k] - 0.5 * curvatures[k] * r * r)
            spread = curvatures[k] * r - slope / total
            curvature = curvature + weight * (curvatures[k] - spread * spread)
        return curvature / total

    return LineKernels(compiler(value), compiler(gradient), compiler(hessian))


def sign_changes(landscape: LineLandscape, scan: Array) -> tuple[Array, Array]:
    """Return the minima and the maxima that sorted points bracket, in increasing order."""
    slopes = landscape.gradient(scan)
    scan, signs = scan[slopes != 0.0], np.sign(slopes[slopes != 0.0])
    changes = np.flatnonzero(signs[1:] != signs[:-1])
    roots = np.array([_root(landscape, scan[i], scan[i + 1]) for i in changes])
    rising = signs[changes + 1] > 0.0
    return roots[rising], roots[~rising]


def _root(landscape: LineLandscape, lower: float, upper: float) -> float:
    """Return the stationary point between two points at which the slopes have opposite signs."""

    def slope(x: float) -> float:
        return float(landscape.gradient(x))

    ends = slope(lower), slope(upper)
    if ends[0] * ends[1] > 0.0:  # one is rounding, which may differ from that in a batch
        return float(lower if abs(ends[0]) < abs(ends[1]) else upper)
    tolerance = max(1e-15 * (upper - lower), float(np.finfo(np.float64).tiny))
    return float(brentq(slope, lower, upper, xtol=tolerance, maxiter=1000))
