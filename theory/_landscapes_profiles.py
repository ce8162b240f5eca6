"""Profiles on the line, ψ((x - c)/w), whose means over noise have closed forms.

Notation: ψ is a fixed function, c the center and w the width, in units of x. Height and sign come
from sums: ``3.0 * GaussianWell(width=0.5)`` is a well of depth 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import comb
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from theory import _landscapes_smoothing as smoothing
from theory._landscapes_base import (
    Compiler,
    Kernel,
    LineKernels,
    LineLandscape,
    LineSum,
    Parameters,
    as_is,
    with_points,
)
from theory._landscapes_line import Parabola, sign_changes
from theory._landscapes_smoothing import Means
from theory._validation import Array, finite_array, number, positive_number

# --------------------------------------------------------------------- closed under smoothing


@dataclass(frozen=True, eq=False, kw_only=True)
class Polynomial(LineLandscape):
    r"""The polynomial :math:`C(x) = \sum_k c_k (x - c)^k`; its means over noise are polynomials.

    Parameters
    ----------
    coefficients : array_like (n,)
        :math:`c_0, c_1, \dots`, lowest power first.
    center : float
        c.

    Attributes
    ----------
    minima : ndarray (M,)
        In increasing order.

    Raises
    ------
    ValueError
        If there are no coefficients, or numbers are not finite.

    Examples
    --------
    >>> from theory.landscapes import Polynomial
    >>> Polynomial(coefficients=[0.0, 0.0, 0.0, 0.0, 1.0]).smoothed(1.0).coefficients
    (0.2, 0.0, 2.0, 0.0, 1.0)
    """

    coefficients: tuple[float, ...]
    center: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        coefficients = finite_array("coefficients", self.coefficients, ndim=1)
        object.__setattr__(self, "coefficients", tuple(coefficients.tolist()))
        object.__setattr__(self, "center", number("center", self.center))

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Coefficients and center."""
        return (self.coefficients, self.center)

    @property
    def minima(self) -> Array:
        """The minima (M,), in increasing order: at most one between two inflections."""
        slopes = np.polynomial.Polynomial(self.coefficients).deriv().trim()
        if slopes.degree() == 0:
            return np.array([])
        bound = 1.0 + np.max(np.abs(slopes.coef[:-1] / slopes.coef[-1]))  # Cauchy's, on all roots
        return sign_changes(
            self, self._with_inflections([self.center - bound, self.center + bound])
        )[0]

    def _with_inflections(self, points: ArrayLike) -> Array:
        """Return sorted points, and the inflections between the first and the last."""
        points = np.asarray(points)
        roots = np.polynomial.Polynomial(self.coefficients).deriv(2).trim().roots()
        real = self.center + roots[np.abs(np.imag(roots)) <= 1e-7 * np.abs(roots)].real
        return np.unique([*points, *real[(real > points[0]) & (real < points[-1])]])

    def scan(self, lower: float, upper: float) -> Array:
        """Return an even grid, and the inflections, which part the stationary points."""
        return self._with_inflections(super().scan(lower, upper))

    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels, passed through ``compiler``."""
        return _polynomial_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> Polynomial:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = number("shift", shift), positive_number("stretch", stretch)
        return Polynomial(
            coefficients=tuple(c / stretch**k for k, c in enumerate(self.coefficients)),
            center=self.center * stretch + shift,
        )

    def _smoothed(self, strength: float, noise: str) -> Polynomial:
        smoothed = np.zeros(len(self.coefficients))
        for k, c in enumerate(self.coefficients):
            for j in range(0, k + 1, 2):
                smoothed[k - j] += c * comb(k, j) * _moment(j, strength, noise)
        return Polynomial(coefficients=tuple(smoothed), center=self.center)


def _moment(order: int, strength: float, noise: str) -> float:
    """Return an even moment of the noise: aʲ/(j + 1) if uniform, (j - 1)!! σʲ if normal."""
    if noise == "uniform":
        return float(strength**order / (order + 1))
    return float(strength**order * np.prod(np.arange(1.0, order, 2.0)))


@cache
def _polynomial_kernels(compiler: Compiler) -> LineKernels:
    def value(x: Any, p: Any) -> Any:
        coefficients, center = p
        total = 0.0 * x
        for k in range(len(coefficients)):
            total = total * (x - center) + coefficients[len(coefficients) - 1 - k]
        return total

    def gradient(x: Any, p: Any) -> Any:
        coefficients, center = p
        total = 0.0 * x
        for k in range(len(coefficients) - 1, 0, -1):
            total = total * (x - center) + k * coefficients[k]
        return total

    def hessian(x: Any, p: Any) -> Any:
        coefficients, center = p
        total = 0.0 * x
        for k in range(len(coefficients) - 1, 1, -1):
            total = total * (x - center) + k * (k - 1) * coefficients[k]
        return total

    return LineKernels(compiler(value), compiler(gradient), compiler(hessian))


@dataclass(frozen=True, eq=False, kw_only=True)
class Cosine(LineLandscape):
    r"""Ripples, :math:`C(x) = \cos(2\pi (x - c)/\lambda)`; noise damps them.

    Uniform noise multiplies them by :math:`\sin(ka)/(ka)`, :math:`k = 2\pi/\lambda`, which is
    negative for a between λ/2 and λ: minima become maxima. Normal noise multiplies them by
    :math:`e^{-k^2\sigma^2/2}`, which never is.

    Parameters
    ----------
    wavelength : float
        λ > 0.
    center : float
        c: a maximum.

    Raises
    ------
    ValueError
        If a number is not finite, or the wavelength not positive.

    Examples
    --------
    >>> from theory.landscapes import Cosine
    >>> ripples = Cosine(wavelength=1.0)
    >>> [round(float(ripples.smoothed(a).value(0.0)), 3) for a in (0.25, 0.5, 0.75)]
    [0.637, 0.0, -0.212]
    """

    wavelength: float
    center: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "wavelength", positive_number("wavelength", self.wavelength))
        object.__setattr__(self, "center", number("center", self.center))

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Center and wave number."""
        return (self.center, 2.0 * np.pi / self.wavelength)

    def scan(self, lower: float, upper: float) -> Array:
        """Return an even grid, and eight points a wave."""
        waves = (upper - lower) / self.wavelength
        if waves > 1e6:
            raise ValueError(
                f"the interval from {lower:g} to {upper:g} has {waves:.3g} waves: too many to scan"
            )
        first, last = (8.0 * (end - self.center) / self.wavelength for end in (lower, upper))
        eighths = self.center + self.wavelength * np.arange(np.ceil(first), last) / 8.0
        return with_points(super().scan(lower, upper), eighths)

    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels, passed through ``compiler``."""
        return _cosine_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> Cosine:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = number("shift", shift), positive_number("stretch", stretch)
        return Cosine(wavelength=self.wavelength * stretch, center=self.center * stretch + shift)

    def _smoothed(self, strength: float, noise: str) -> LineSum:
        ratio = strength / self.wavelength
        if noise == "uniform":
            return float(np.sinc(2.0 * ratio)) * self
        return float(np.exp(-2.0 * (np.pi * ratio) ** 2)) * self


@cache
def _cosine_kernels(compiler: Compiler) -> LineKernels:
    def value(x: Any, p: Any) -> Any:
        return np.cos(p[1] * (x - p[0]))

    def gradient(x: Any, p: Any) -> Any:
        return -p[1] * np.sin(p[1] * (x - p[0]))

    def hessian(x: Any, p: Any) -> Any:
        return -p[1] * p[1] * np.cos(p[1] * (x - p[0]))

    return LineKernels(compiler(value), compiler(gradient), compiler(hessian))


def rastrigin(amplitude: float = 10.0) -> LineSum:
    r"""Rastrigin's function on the line, :math:`x^2 + A (1 - \cos 2\pi x)`.

    Parameters
    ----------
    amplitude : float
        A > 0: half the height of the ripples.

    Returns
    -------
    LineSum
        A landscape; its mean over uniform noise of half-width 1/2 is a parabola.

    Raises
    ------
    ValueError
        If the amplitude is not positive.

    Examples
    --------
    >>> from theory.landscapes import rastrigin, stationary_points
    >>> len(stationary_points(rastrigin(), lower=-6.0, upper=6.0).minima)
    13
    >>> stationary_points(rastrigin().smoothed(0.5), lower=-6.0, upper=6.0).minima.round(9) + 0.0
    array([0.])
    """
    amplitude = positive_number("amplitude", amplitude)
    return Parabola(curvature=2.0) + amplitude + -amplitude * Cosine(wavelength=1.0)


# ---------------------------------------------------------------------------------- profiles


@dataclass(frozen=True, eq=False, kw_only=True)
class Profile(LineLandscape):
    """A profile ψ((x - c)/w).

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.
    """

    width: float = 1.0
    center: float = 0.0

    # ψ, ψ' and ψ'' of u, in arithmetic and NumPy functions; and their means over noise.
    _unit: ClassVar[tuple[Kernel, Kernel, Kernel]]
    _uniform: ClassVar[Means]
    _normal: ClassVar[Means]
    _kinked: ClassVar[bool] = False
    _has_minimum: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Check the numbers."""
        object.__setattr__(self, "width", positive_number("width", self.width))
        object.__setattr__(self, "center", number("center", self.center))

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Center and inverse width."""
        return (self.center, 1.0 / self.width)

    @property
    def minima(self) -> Array:
        """The center (1,), also where the bottom is flat; nothing (0,) for a slope."""
        return np.array([self.center] if self._has_minimum else [])

    def scan(self, lower: float, upper: float) -> Array:
        """Return an even grid and, around the center, one as fine as the profile."""
        local = self.center + self.width * np.linspace(-8.0, 8.0, 257)
        return with_points(super().scan(lower, upper), local)

    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels, passed through ``compiler``."""
        return _profile_kernels(self._unit, compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> Self:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = number("shift", shift), positive_number("stretch", stretch)
        return type(self)(width=self.width * stretch, center=self.center * stretch + shift)

    def _smoothed(self, strength: float, noise: str) -> LineLandscape:
        return SmoothedProfile(self, strength, noise)


@cache
def _profile_kernels(unit: tuple[Kernel, Kernel, Kernel], compiler: Compiler) -> LineKernels:
    psi, slope, curvature = (compiler(function) for function in unit)

    def value(x: Any, p: Any) -> Any:
        return psi((x - p[0]) * p[1])

    def gradient(x: Any, p: Any) -> Any:
        return slope((x - p[0]) * p[1]) * p[1]

    def hessian(x: Any, p: Any) -> Any:
        return curvature((x - p[0]) * p[1]) * p[1] * p[1]

    return LineKernels(compiler(value), compiler(gradient), compiler(hessian))


class SmoothedProfile(LineLandscape):
    """The mean of a profile over noise; made by ``profile.smoothed(...)``.

    Values, gradients and Hessians are those of closed forms and of positive quadratures, with an
    error of 1e-12 of themselves also in the tails, for strengths of 1e-6 to 1e6 widths. Where one
    passes through zero, away from the center, the error is 1e-12 of its size nearby. The Hessian
    has what the kinks of the profile contribute; only the jumps of a box well leave it without:
    under uniform noise its gradient jumps too, and the Hessian is 0 between.

    Kernels exist for uniform noise, of one number x and with an error of 1e-12 of the profile's
    size, that of the gradient growing as 1e-16 over the strength in widths where the profile has
    kinks.
    """

    def __init__(self, profile: Profile, strength: float, noise: str) -> None:
        self.profile, self.strength, self.noise = profile, strength, noise

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Center, inverse width, strength in widths; edges, nodes and weights of a quadrature."""
        strength = self.strength / self.profile.width
        return (*self.profile.parameters, strength, *_QUADRATURE)

    @property
    def minima(self) -> Array:
        """Those of the profile: it is symmetric and falls towards its center, and so is the mean.

        A flat bottom is counted once, by its center.
        """
        return self.profile.minima

    def scan(self, lower: float, upper: float) -> Array:
        """Return the profile's points, and those around the noise and around its two ends."""
        center, width = self.profile.center, self.profile.width
        local = np.linspace(-8.0, 8.0, 257)
        ends = center + np.add.outer([-self.strength, self.strength], width * local).ravel()
        around = np.concatenate([ends, center + self.strength * local])
        return with_points(self.profile.scan(lower, upper), around)

    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels of one number x; TypeError for normal noise, which has none."""
        if self.noise == "normal":
            raise TypeError(
                f"a {type(self.profile).__name__} smoothed by normal noise has no kernels; "
                "uniform noise has"
            )
        faces = self.profile._kinked or self.strength > 0.5 * self.profile.width
        return _smoothed_kernels(self.profile._unit, faces, compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> SmoothedProfile:
        """Return the copy C((x - shift) / stretch)."""
        profile = self.profile.moved(shift=shift, stretch=stretch)
        return SmoothedProfile(profile, self.strength * float(np.asarray(stretch)), self.noise)

    def _mean(self, x: Array, order: int) -> Any:
        profile = self.profile
        means = profile._uniform if self.noise == "uniform" else profile._normal
        u = (x - profile.center) / profile.width
        mean = means[order](np.atleast_1d(u), self.strength / profile.width)
        return mean.reshape(np.shape(x)) / profile.width**order

    def _value(self, x: Array) -> Any:
        return self._mean(x, 0)

    def _gradient(self, x: Array) -> Any:
        return self._mean(x, 1)

    def _hessian(self, x: Array) -> Any:
        return self._mean(x, 2)


def _quadrature() -> tuple[Array, Array, Array]:
    """Return panel edges that grow with the distance from the kinks; nodes; weights of a mean."""
    growing = 2.0 ** np.arange(21)
    edges = np.concatenate([[-np.inf], -growing[::-1], [0.0], growing, [np.inf]])
    return edges, smoothing.NODES, smoothing.WEIGHTS


_QUADRATURE = _quadrature()


@cache
def _smoothed_kernels(
    unit: tuple[Kernel, Kernel, Kernel], faces: bool, compiler: Compiler
) -> LineKernels:
    """Return kernels for uniform noise: means over panels, or differences between the faces."""
    means = [_panel_mean(compiler, compiler(function)) for function in unit]
    chords = [_chord(compiler, compiler(function)) for function in unit[:2]]
    slope, curvature = chords if faces else means[1:]

    def value(x: Any, p: Any) -> Any:
        return means_value((x - p[0]) * p[1], p)

    def gradient(x: Any, p: Any) -> Any:
        return slope((x - p[0]) * p[1], p) * p[1]

    def hessian(x: Any, p: Any) -> Any:
        return curvature((x - p[0]) * p[1], p) * p[1] * p[1]

    means_value = means[0]
    return LineKernels(compiler(value), compiler(gradient), compiler(hessian))


def _panel_mean(compiler: Compiler, function: Kernel) -> Kernel:
    def mean(u: Any, p: Any) -> Any:
        alpha, edges, nodes, weights = p[2], p[3], p[4], p[5]
        total = 0.0
        for j in range(len(edges) - 1):
            left = min(max(edges[j] - u, -alpha), alpha)
            right = min(max(edges[j + 1] - u, -alpha), alpha)
            if left < right:
                panel = 0.0
                for i in range(len(nodes)):
                    theta = left + 0.5 * (right - left) * (1.0 + nodes[i])
                    panel += weights[i] * function(u + theta)
                total += (right - left) / (2.0 * alpha) * panel
        return total

    return compiler(mean)


def _chord(compiler: Compiler, function: Kernel) -> Kernel:
    def chord(u: Any, p: Any) -> Any:
        return (function(u + p[2]) - function(u - p[2])) / (2.0 * p[2])

    return compiler(chord)


# ------------------------------------------------------------------------------- the profiles
#
# Functions of u alone, compiled as they stand: NumPy functions that take arrays and numbers.


def _zero(u: Any) -> Any:
    return 0.0 * u


def _step(u: Any) -> Any:
    return 0.5 * (1.0 + np.sign(u))


def _absolute_value(u: Any) -> Any:
    return np.abs(u)


def _absolute_value_slope(u: Any) -> Any:
    return np.sign(u)


class AbsoluteValue(Profile):
    r"""The absolute value :math:`C(x) = |u|`, with :math:`u = (x - c)/w`.

    At the kink the gradient is 0, the mean of both slopes, and the Hessian is 0.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import AbsoluteValue
    >>> float(AbsoluteValue().smoothed(1.0).value(0.0))
    0.5
    """

    _unit = (_absolute_value, _absolute_value_slope, _zero)
    _uniform, _normal = smoothing.UNIFORM_ABSOLUTE, smoothing.NORMAL_ABSOLUTE
    _kinked = True


def _hinge(u: Any) -> Any:
    return np.maximum(u, 0.0)


class Hinge(Profile):
    r"""The hinge :math:`C(x) = \max(u, 0)`, with :math:`u = (x - c)/w`: a rectified linear unit.

    At the kink the gradient is 1/2, the mean of both slopes, and the Hessian is 0.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import Hinge
    >>> float(Hinge().smoothed(1.0).gradient(0.5))
    0.75
    """

    _unit = (_hinge, _step, _zero)
    _uniform, _normal = smoothing.UNIFORM_HINGE, smoothing.NORMAL_HINGE
    _kinked = True
    _has_minimum = False


def _box_well(u: Any) -> Any:
    return -1.0 * (np.abs(u) <= 1.0)


class BoxWell(Profile):
    r"""The box well :math:`C(x) = -1` where :math:`|u| \le 1`, else 0; with :math:`u = (x - c)/w`.

    Gradient and Hessian are 0, at the walls too: so a gradient averaged over noise is 0 as well,
    which is not the gradient of the averaged well. The whole flat bottom is minimal; ``minima`` is
    its center.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import BoxWell
    >>> float(BoxWell().smoothed(2.0).value(0.5))
    -0.5
    """

    _unit = (_box_well, _zero, _zero)
    _uniform, _normal = smoothing.UNIFORM_BOX.times(-1.0), smoothing.NORMAL_BOX.times(-1.0)
    _kinked = True


def _v_well(u: Any) -> Any:
    return -np.maximum(1.0 - np.abs(u), 0.0)


def _v_well_slope(u: Any) -> Any:
    return 0.5 * np.sign(u) * (1.0 + np.sign(1.0 - np.abs(u)))


class VWell(Profile):
    r"""The V-shaped well :math:`C(x) = -(1 - |u|)_+`, with :math:`u = (x - c)/w`.

    At the three kinks the gradient is the mean of both slopes, and the Hessian is 0.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import VWell
    >>> float(VWell().smoothed(1.0).value(0.0))
    -0.5
    """

    _unit = (_v_well, _v_well_slope, _zero)
    _uniform, _normal = smoothing.UNIFORM_TENT.times(-1.0), smoothing.NORMAL_TENT.times(-1.0)
    _kinked = True


def _gaussian_well(u: Any) -> Any:
    return -np.exp(-0.5 * u * u)


def _gaussian_well_slope(u: Any) -> Any:
    return u * np.exp(-0.5 * u * u)


def _gaussian_well_curvature(u: Any) -> Any:
    return (1.0 - u * u) * np.exp(-0.5 * u * u)


class GaussianWell(Profile):
    r"""The Gaussian well :math:`C(x) = -e^{-u^2/2}`, with :math:`u = (x - c)/w`.

    Its mean over normal noise is a Gaussian well again.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import GaussianWell
    >>> float(GaussianWell().smoothed(3.0**0.5, noise="normal").value(0.0).round(12))
    -0.5
    """

    _unit = (_gaussian_well, _gaussian_well_slope, _gaussian_well_curvature)
    _uniform = smoothing.UNIFORM_GAUSSIAN.times(-1.0)

    def _smoothed(self, strength: float, noise: str) -> LineLandscape:
        if noise == "uniform":
            return SmoothedProfile(self, strength, noise)
        width = float(np.hypot(self.width, strength))
        return self.width / width * GaussianWell(width=width, center=self.center)


def _lorentz_well(u: Any) -> Any:
    return -1.0 / (1.0 + u * u)


def _lorentz_well_slope(u: Any) -> Any:
    return 2.0 * u / ((1.0 + u * u) * (1.0 + u * u))


def _lorentz_well_curvature(u: Any) -> Any:
    s = 1.0 / (1.0 + u * u)
    return 2.0 * s * s * (4.0 * s - 3.0)


class LorentzWell(Profile):
    r"""The Lorentzian well :math:`C(x) = -1/(1 + u^2)`, with :math:`u = (x - c)/w`.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import LorentzWell
    >>> round(float(LorentzWell().smoothed(1.0).value(0.0)), 6)
    -0.785398
    """

    _unit = (_lorentz_well, _lorentz_well_slope, _lorentz_well_curvature)
    _uniform, _normal = smoothing.UNIFORM_LORENTZ.times(-1.0), smoothing.NORMAL_LORENTZ.times(-1.0)


def _laplace_well(u: Any) -> Any:
    return -np.exp(-np.abs(u))


def _laplace_well_slope(u: Any) -> Any:
    return np.sign(u) * np.exp(-np.abs(u))


class LaplaceWell(Profile):
    r"""The pointed well :math:`C(x) = -e^{-|u|}`, with :math:`u = (x - c)/w`.

    At the kink the gradient is 0, the mean of both slopes, and the Hessian that of both sides, -1.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import LaplaceWell
    >>> round(float(LaplaceWell().smoothed(1.0).value(0.0)), 6)
    -0.632121
    """

    _unit = (_laplace_well, _laplace_well_slope, _laplace_well)
    _uniform, _normal = smoothing.UNIFORM_LAPLACE.times(-1.0), smoothing.NORMAL_LAPLACE.times(-1.0)
    _kinked = True


def _log_well(u: Any) -> Any:
    return np.log1p(u * u)


def _log_well_slope(u: Any) -> Any:
    return 2.0 * u / (1.0 + u * u)


def _log_well_curvature(u: Any) -> Any:
    s = 1.0 / (1.0 + u * u)
    return 2.0 * s * (2.0 * s - 1.0)


class LogWell(Profile):
    r"""The logarithmic well :math:`C(x) = \ln(1 + u^2)`, with :math:`u = (x - c)/w`.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import LogWell
    >>> round(float(LogWell().smoothed(1.0).value(0.0)), 6)
    0.263944
    """

    _unit = (_log_well, _log_well_slope, _log_well_curvature)
    _uniform, _normal = smoothing.UNIFORM_LOG, smoothing.NORMAL_LOG


def _sech_well(u: Any) -> Any:
    e = np.exp(-2.0 * np.abs(u))
    return -4.0 * e / ((1.0 + e) * (1.0 + e))


def _sech_well_slope(u: Any) -> Any:
    e = np.exp(-2.0 * np.abs(u))
    return 8.0 * np.tanh(u) * e / ((1.0 + e) * (1.0 + e))


def _sech_well_curvature(u: Any) -> Any:
    e, t = np.exp(-2.0 * np.abs(u)), np.tanh(u)
    return 8.0 * e * (1.0 - 3.0 * t * t) / ((1.0 + e) * (1.0 + e))


class SechWell(Profile):
    r"""The soliton's well :math:`C(x) = -\operatorname{sech}^2 u`, with :math:`u = (x - c)/w`.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import SechWell
    >>> round(float(SechWell().smoothed(1.0).value(0.0)), 6)
    -0.761594
    """

    _unit = (_sech_well, _sech_well_slope, _sech_well_curvature)
    _uniform = smoothing.UNIFORM_SIGMOID_SLOPE.times(-4.0, stretch=2.0)
    _normal = smoothing.NORMAL_SIGMOID_SLOPE.times(-4.0, stretch=2.0)


def _sigmoid(u: Any) -> Any:
    return np.exp(np.minimum(u, 0.0)) / (1.0 + np.exp(-np.abs(u)))


def _sigmoid_slope(u: Any) -> Any:
    e = np.exp(-np.abs(u))
    return e / ((1.0 + e) * (1.0 + e))


def _sigmoid_curvature(u: Any) -> Any:
    e = np.exp(-np.abs(u))
    return -np.tanh(0.5 * u) * e / ((1.0 + e) * (1.0 + e))


class Sigmoid(Profile):
    r"""The sigmoid :math:`C(x) = 1/(1 + e^{-u})`, with :math:`u = (x - c)/w`.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import Sigmoid
    >>> round(float(Sigmoid().smoothed(1.0).gradient(0.0)), 6)
    0.231059
    """

    _unit = (_sigmoid, _sigmoid_slope, _sigmoid_curvature)
    _uniform, _normal = smoothing.UNIFORM_SIGMOID, smoothing.NORMAL_SIGMOID
    _has_minimum = False


def _softplus(u: Any) -> Any:
    return np.maximum(u, 0.0) + np.log1p(np.exp(-np.abs(u)))


class Softplus(Profile):
    r"""The softplus :math:`C(x) = \ln(1 + e^u)`, with :math:`u = (x - c)/w`.

    Parameters
    ----------
    width : float
        w > 0.
    center : float
        c.

    Raises
    ------
    ValueError
        If a number is not finite, or the width not positive.

    Examples
    --------
    >>> from theory.landscapes import Softplus
    >>> round(float(Softplus().smoothed(1.0).gradient(0.0)), 6)
    0.5
    """

    _unit = (_softplus, _sigmoid, _sigmoid_slope)
    _uniform, _normal = smoothing.UNIFORM_SOFTPLUS, smoothing.NORMAL_SOFTPLUS
    _has_minimum = False
