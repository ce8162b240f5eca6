"""What every landscape offers: checked methods on points, kernels for compiled loops, sums."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from functools import cache
from numbers import Real
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from theory._validation import Array, finite_array, number, positive_number

Kernel = Callable[..., Any]
Compiler = Callable[[Kernel], Kernel]
Parameters = tuple[Any, ...]

Family = TypeVar("Family", bound="Landscape[Any]")

NOISES = ("uniform", "normal")


class LineKernels(NamedTuple):
    """Functions ``(x, parameters)`` of one number x, compiled."""

    value: Kernel
    gradient: Kernel
    hessian: Kernel


class SpaceKernels(NamedTuple):
    """Functions of one point x (d,), compiled.

    ``value(x, parameters)`` returns a number. ``add_gradient(x, parameters, weight, out)`` adds
    weight times the gradient to ``out`` (d,), so that a sum needs no scratch memory.
    """

    value: Kernel
    add_gradient: Kernel


def as_is(function: Kernel) -> Kernel:
    """Compile nothing: the kernels are then plain Python."""
    return function


def frozen(array: ArrayLike) -> Array:
    """Return a contiguous read-only copy."""
    copy = np.array(array, dtype=np.float64, order="C")
    copy.flags.writeable = False
    return copy


def with_points(grid: Array, points: Array) -> Array:
    """Return a sorted grid with those points added that lie inside; each once."""
    inside = points[(points > grid[0]) & (points < grid[-1])]
    return np.unique(np.concatenate([grid, inside.ravel()]))


def check_law(noise: str) -> None:
    """Raise ValueError if the law is unknown."""
    if noise not in NOISES:
        raise ValueError(f"noise must be one of {', '.join(NOISES)}, got {noise!r}")


def check_noise(strength: float, noise: str) -> float:
    """Return a strength as a float; or raise ValueError, also if the law is unknown."""
    check_law(noise)
    return positive_number("strength", strength)


def noise_variance(strength: float, noise: str) -> float:
    """Return the variance of a coordinate of the noise: a²/3 if uniform, σ² if normal."""
    return strength**2 / 3.0 if noise == "uniform" else strength**2


def noise_fourth_moment(strength: float, noise: str) -> float:
    """Return the fourth moment of a coordinate of the noise: a⁴/5 if uniform, 3σ⁴ if normal."""
    return strength**4 / 5.0 if noise == "uniform" else 3.0 * strength**4


class Landscape(ABC, Generic[Family]):
    """A loss C(x): value, gradient and Hessian at any batch of points; sums, copies, smoothing.

    ``a + b`` is a sum, ``a + 1.0`` and ``2.0 * a`` are higher copies, ``a.moved(shift=...,
    stretch=...)`` is a shifted and widened one, ``a.smoothed(...)`` the mean over noise; none of
    them changes ``a``.

    Attributes
    ----------
    dimension : int
        d.
    parameters : tuple
        Numbers, arrays and tuples of them: the second argument of every kernel.
    """

    dimension: int
    parameters: Parameters
    __array_ufunc__: ClassVar[None] = None  # so that numpy.float64 * landscape asks __rmul__

    @abstractmethod
    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> Self:
        """Return the copy C((x - shift) / stretch), stretch > 0."""

    def smoothed(self, strength: float, *, noise: str = "uniform") -> Family:
        r"""Return the mean over noise, :math:`\bar C(x) = E\,C(x + \theta)`, as a landscape.

        Parameters
        ----------
        strength : float
            In units of x, positive: half-width a of uniform noise, or standard deviation σ of
            normal noise; the same, and independent, for every coordinate.
        noise : str
            "uniform" or "normal".

        Returns
        -------
        LineLandscape or SpaceLandscape
            With exact value, gradient and Hessian, to be moved, added and smoothed like any other.

        Raises
        ------
        ValueError
            If the strength is not positive or the law unknown.
        TypeError
            If the mean has no closed form, as that of a mixture of wells.

        References
        ----------
        Wen et al. (2018), Eq. 2.
        """
        return self._smoothed(check_noise(strength, noise), noise)

    def _smoothed(self, strength: float, noise: str) -> Family:
        raise TypeError(
            f"the mean of a {type(self).__name__} over {noise} noise has no closed form"
        )

    @abstractmethod
    def _points(self, x: ArrayLike) -> Array:
        """Return ``x`` as an array of points, or raise ValueError."""

    @abstractmethod
    def _value(self, x: Array) -> Any: ...

    @abstractmethod
    def _gradient(self, x: Array) -> Any: ...

    @abstractmethod
    def _hessian(self, x: Array) -> Any: ...

    def value(self, x: ArrayLike) -> Array:
        """Return C at points: (...) on the line, (..., d) in space; ValueError if not finite."""
        return self._finite("value", self._value, x)

    def gradient(self, x: ArrayLike) -> Array:
        """Return the gradient: (...) on the line, (..., d) in space; ValueError if not finite."""
        return self._finite("gradient", self._gradient, x)

    def hessian(self, x: ArrayLike) -> Array:
        """Return the Hessian: (...) on the line, (..., d, d) in space; ValueError if not finite."""
        return self._finite("Hessian", self._hessian, x)

    def _finite(self, what: str, function: Callable[[Array], Any], x: ArrayLike) -> Array:
        points = self._points(x)
        with np.errstate(all="ignore"):
            result = np.asarray(function(points))
        if not np.all(np.isfinite(result)):
            raise ValueError(f"x is of size {np.max(np.abs(points)):g}: the {what} overflows there")
        return result[()]

    def _terms(self) -> Iterable[tuple[float, Any]]:
        return ((1.0, self),)


class LineLandscape(Landscape["LineLandscape"]):
    """A landscape on the line. Points are numbers: x is (...), and so is every result.

    The kernels are written with arithmetic and NumPy functions only, so that the same source
    serves arrays here and compiled loops elsewhere.
    """

    dimension = 1

    @abstractmethod
    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels, passed through ``compiler``, e.g. ``numba.njit``.

        Landscapes of one structure share their kernels: whatever is compiled for one double well
        serves all of them, as long as the same ``compiler`` object is handed in.
        """

    def scan(self, lower: float, upper: float) -> Array:
        """Return sorted points (n,) between which the gradient changes sign at most once."""
        return np.linspace(lower, upper, 20_001)

    def __add__(self, other: object) -> LineSum:
        """Return the sum with another landscape on the line, or with a number."""
        if isinstance(other, Real):
            other = number("the summand", float(other)) * LineConstant()
        if not isinstance(other, LineLandscape):
            return NotImplemented
        return LineSum((*self._terms(), *other._terms()))

    __radd__ = __add__

    def __rmul__(self, height: float) -> LineSum:
        """Return the copy whose every value is multiplied by ``height``."""
        height = number("height", height)
        return LineSum((height * weight, term) for weight, term in self._terms())

    def _points(self, x: ArrayLike) -> Array:
        return finite_array("x", x)

    def _value(self, x: Array) -> Any:
        return self.kernels().value(x, self.parameters)

    def _gradient(self, x: Array) -> Any:
        return self.kernels().gradient(x, self.parameters)

    def _hessian(self, x: Array) -> Any:
        return self.kernels().hessian(x, self.parameters)


class LineConstant(LineLandscape):
    """The landscape C(x) = 1; made by adding a number to another one."""

    parameters = ()

    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels, passed through ``compiler``."""
        return _constant_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> LineConstant:
        """Return itself: a constant has no place."""
        return self

    def _smoothed(self, strength: float, noise: str) -> LineConstant:
        return self


@cache
def _constant_kernels(compiler: Compiler) -> LineKernels:
    def value(x: Any, p: Any) -> Any:
        return 1.0 + 0.0 * x

    def slope(x: Any, p: Any) -> Any:
        return 0.0 * x

    flat = compiler(slope)
    return LineKernels(compiler(value), flat, flat)


class LineSum(LineLandscape):
    """A weighted sum of landscapes on the line; made by ``+`` and ``*``."""

    def __init__(self, terms: Iterable[tuple[float, LineLandscape]]) -> None:
        self.terms = tuple(terms)
        self.parameters = tuple((weight, term.parameters) for weight, term in self.terms)

    def kernels(self, compiler: Compiler = as_is) -> LineKernels:
        """Return the kernels, passed through ``compiler``."""
        parts = [term.kernels(compiler) for _, term in self.terms]
        return LineKernels(*(_weighted_sum(compiler, kernels) for kernels in zip(*parts)))  # noqa: B905

    def scan(self, lower: float, upper: float) -> Array:
        """Return the points of all terms."""
        scans = [term.scan(lower, upper) for _, term in self.terms]
        return np.unique(np.concatenate(scans))

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> LineSum:
        """Return the sum of the moved terms."""
        return LineSum((w, term.moved(shift=shift, stretch=stretch)) for w, term in self.terms)

    def _smoothed(self, strength: float, noise: str) -> LineSum:
        return LineSum((w, term._smoothed(strength, noise)) for w, term in self.terms)

    def _value(self, x: Array) -> Any:
        return sum(weight * term._value(x) for weight, term in self.terms)

    def _gradient(self, x: Array) -> Any:
        return sum(weight * term._gradient(x) for weight, term in self.terms)

    def _hessian(self, x: Array) -> Any:
        return sum(weight * term._hessian(x) for weight, term in self.terms)

    def _terms(self) -> tuple[tuple[float, LineLandscape], ...]:
        return self.terms


class SpaceLandscape(Landscape["SpaceLandscape"]):
    """A landscape in d dimensions, d ≥ 1. Points are vectors: x is (..., d)."""

    @abstractmethod
    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``; see :class:`LineLandscape`."""

    def __add__(self, other: object) -> SpaceSum:
        """Return the sum with another landscape of this dimension, or with a number."""
        if isinstance(other, Real):
            other = number("the summand", float(other)) * SpaceConstant(self.dimension)
        if not isinstance(other, SpaceLandscape):
            return NotImplemented
        if other.dimension != self.dimension:
            raise ValueError(
                f"landscapes of dimensions {self.dimension} and {other.dimension} cannot be added"
            )
        return SpaceSum((*self._terms(), *other._terms()))

    __radd__ = __add__

    def __rmul__(self, height: float) -> SpaceSum:
        """Return the copy whose every value is multiplied by ``height``."""
        height = number("height", height)
        return SpaceSum((height * weight, term) for weight, term in self._terms())

    def _points(self, x: ArrayLike) -> Array:
        points = finite_array("x", x)
        if points.ndim == 0 or points.shape[-1] != self.dimension:
            raise ValueError(f"x must have shape (..., {self.dimension}), got {points.shape}")
        return points

    def _offset(self, shift: ArrayLike) -> Array:
        """Return a shift as a vector (d,)."""
        offset = finite_array("shift", shift)
        if offset.shape not in ((), (self.dimension,)):
            raise ValueError(
                f"shift must be a number or have shape ({self.dimension},), got {offset.shape}"
            )
        return np.broadcast_to(offset, self.dimension)


class SpaceConstant(SpaceLandscape):
    """The landscape C(x) = 1 in d dimensions; made by adding a number to another one."""

    parameters = ()

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _space_constant_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> SpaceConstant:
        """Return itself: a constant has no place."""
        return self

    def _smoothed(self, strength: float, noise: str) -> SpaceConstant:
        return self

    def _value(self, x: Array) -> Any:
        return np.ones(x.shape[:-1])

    def _gradient(self, x: Array) -> Any:
        return np.zeros(x.shape)

    def _hessian(self, x: Array) -> Any:
        return np.zeros((*x.shape, self.dimension))


@cache
def _space_constant_kernels(compiler: Compiler) -> SpaceKernels:
    def value(x: Any, p: Any) -> Any:
        return 1.0

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        return

    return SpaceKernels(compiler(value), compiler(add_gradient))


class SpaceSum(SpaceLandscape):
    """A weighted sum of landscapes of one dimension; made by ``+`` and ``*``."""

    def __init__(self, terms: Iterable[tuple[float, SpaceLandscape]]) -> None:
        self.terms = tuple(terms)
        self.dimension = self.terms[0][1].dimension
        self.parameters = tuple((weight, term.parameters) for weight, term in self.terms)

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        parts = [term.kernels(compiler) for _, term in self.terms]
        return SpaceKernels(
            _weighted_sum(compiler, tuple(part.value for part in parts)),
            _added_gradients(compiler, tuple(part.add_gradient for part in parts)),
        )

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> SpaceSum:
        """Return the sum of the moved terms."""
        return SpaceSum((w, term.moved(shift=shift, stretch=stretch)) for w, term in self.terms)

    def _smoothed(self, strength: float, noise: str) -> SpaceSum:
        return SpaceSum((w, term._smoothed(strength, noise)) for w, term in self.terms)

    def _value(self, x: Array) -> Any:
        return sum(weight * term._value(x) for weight, term in self.terms)

    def _gradient(self, x: Array) -> Any:
        return sum(weight * term._gradient(x) for weight, term in self.terms)

    def _hessian(self, x: Array) -> Any:
        return sum(weight * term._hessian(x) for weight, term in self.terms)

    def _terms(self) -> tuple[tuple[float, SpaceLandscape], ...]:
        return self.terms


# A compiled function can call another, but not loop over functions of different types: so sums are
# built by recursion, and kept, so that two sums of the same structure are compiled once.


@cache
def _weighted_sum(compiler: Compiler, kernels: tuple[Kernel, ...]) -> Kernel:
    first = kernels[0]
    if len(kernels) == 1:

        def only(x: Any, p: Any) -> Any:
            return p[0][0] * first(x, p[0][1])

        return compiler(only)
    rest = _weighted_sum(compiler, kernels[1:])

    def total(x: Any, p: Any) -> Any:
        return p[0][0] * first(x, p[0][1]) + rest(x, p[1:])

    return compiler(total)


@cache
def _added_gradients(compiler: Compiler, kernels: tuple[Kernel, ...]) -> Kernel:
    first = kernels[0]
    if len(kernels) == 1:

        def only(x: Any, p: Any, weight: float, out: Any) -> None:
            first(x, p[0][1], weight * p[0][0], out)

        return compiler(only)
    rest = _added_gradients(compiler, kernels[1:])

    def total(x: Any, p: Any, weight: float, out: Any) -> None:
        first(x, p[0][1], weight * p[0][0], out)
        rest(x, p[1:], weight, out)

    return compiler(total)
