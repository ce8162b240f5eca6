"""Landscapes in space with a mean over noise: a well of any depth, a chain of factors."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.polynomial.legendre import leggauss
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from theory._landscapes_base import (
    Compiler,
    Kernel,
    Parameters,
    SpaceKernels,
    SpaceLandscape,
    as_is,
    frozen,
    noise_variance,
)
from theory._landscapes_products import products_of_all_but_two, products_of_others
from theory._landscapes_smoothing import log_gaussian_mean
from theory._validation import (
    Array,
    finite_array,
    nonnegative_number,
    number,
    positive_array,
    positive_integer,
    positive_number,
)


@dataclass(frozen=True, eq=False, kw_only=True)
class ProductWell(SpaceLandscape):
    r"""The normal well :math:`C(x) = -\exp(h - \sum_i (x_i - c_i)^2 / (2 s_i^2))` in d dimensions.

    Its mean over normal noise is a wider, shallower well of the same kind; that over uniform noise
    is a product of differences of error functions. In many dimensions C underflows long before its
    logarithm does: :meth:`log_depth` does not.

    Parameters
    ----------
    center : array_like (d,)
        c.
    widths : array_like () or (d,)
        s, positive.
    log_height : float
        h: logarithm of the depth at the center.

    Attributes
    ----------
    minima : ndarray (1, d)
        The center.

    Raises
    ------
    ValueError
        If values are not finite, widths are not positive, or shapes do not fit.

    References
    ----------
    The means over noise: (derived).

    Examples
    --------
    >>> import numpy as np
    >>> from theory.landscapes import ProductWell
    >>> well = ProductWell(center=np.zeros(100_000), widths=0.1)
    >>> mean = well.smoothed(0.01)
    >>> round(float(mean.log_depth(np.zeros(100_000))), 6)
    -166.555591
    """

    center: Array
    widths: ArrayLike = 1.0
    log_height: float = 0.0

    def __post_init__(self) -> None:
        """Check the arrays."""
        center = finite_array("center", self.center, ndim=1)
        widths = positive_array("widths", self.widths)
        if widths.shape not in ((), center.shape):
            raise ValueError(
                f"widths must be a number or have shape {center.shape}, got {widths.shape}"
            )
        object.__setattr__(self, "center", frozen(center))
        object.__setattr__(self, "widths", frozen(np.broadcast_to(widths, center.shape)))
        object.__setattr__(self, "log_height", number("log_height", self.log_height))

    @property
    def dimension(self) -> int:  # type: ignore[override]
        """Number of coordinates."""
        return len(self.center)

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Center, inverse widths and log height."""
        return (self.center, 1.0 / np.asarray(self.widths), self.log_height)

    @property
    def minima(self) -> Array:
        """The center."""
        return self.center[None]

    def log_depth(self, x: ArrayLike) -> Array:
        """Return log(-C) at points (..., d), which does not underflow (...)."""
        return self._finite("log depth", self._log_depth, x)

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _well_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> ProductWell:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = self._offset(shift), positive_number("stretch", stretch)
        return ProductWell(
            center=self.center * stretch + shift,
            widths=np.asarray(self.widths) * stretch,
            log_height=self.log_height,
        )

    def _smoothed(self, strength: float, noise: str) -> SpaceLandscape:
        if noise == "uniform":
            return SmoothedProductWell(well=self, half_width=strength)
        widths = np.asarray(self.widths)
        return ProductWell(
            center=self.center,
            widths=np.hypot(widths, strength),
            log_height=self.log_height - 0.5 * float(np.sum(np.log1p((strength / widths) ** 2))),
        )

    def _log_depth(self, x: Array) -> Any:
        u = (x - self.center) / np.asarray(self.widths)
        return self.log_height - 0.5 * np.sum(u * u, axis=-1)

    def _value(self, x: Array) -> Any:
        return -np.exp(self._log_depth(x))

    def _gradient(self, x: Array) -> Any:
        return -self._value(x)[..., None] * (x - self.center) / np.square(self.widths)

    def _hessian(self, x: Array) -> Any:
        slopes = (x - self.center) / np.square(self.widths)
        outer = slopes[..., :, None] * slopes[..., None, :]
        curvatures = np.diag(1.0 / np.square(self.widths))
        return self._value(x)[..., None, None] * (outer - curvatures)


@cache
def _well_kernels(compiler: Compiler) -> SpaceKernels:
    def value(x: Any, p: Any) -> Any:
        center, inverse_widths, log_height = p
        total = 0.0
        for i in range(len(x)):
            u = (x[i] - center[i]) * inverse_widths[i]
            total += u * u
        return -np.exp(log_height - 0.5 * total)

    value = compiler(value)

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        center, inverse_widths, _ = p
        depth = -weight * value(x, p)
        for i in range(len(x)):
            out[i] += depth * (x[i] - center[i]) * inverse_widths[i] * inverse_widths[i]

    return SpaceKernels(value, compiler(add_gradient))


@dataclass(frozen=True, eq=False, kw_only=True)
class SmoothedProductWell(SpaceLandscape):
    r"""The mean of a :class:`ProductWell` over uniform noise; made by ``smoothed``.

    With :math:`u_i = (x_i - c_i)/s_i` and :math:`\alpha_i = a/s_i` it is
    :math:`-\exp(h + \sum_i \ln g(u_i, \alpha_i))`, where
    :math:`g(u, \alpha) = E\,e^{-(u + \alpha T)^2/2}` and T is uniform on [-1, 1] (derived).

    Parameters
    ----------
    well : ProductWell
        C.
    half_width : float
        a > 0.
    """

    well: ProductWell
    half_width: float

    @property
    def dimension(self) -> int:  # type: ignore[override]
        """Number of coordinates."""
        return self.well.dimension

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Those of the well, α, and nodes and weights of a quadrature on [-1, 1]."""
        return (*self.well.parameters, self._alpha(), *NODES_AND_WEIGHTS)

    @property
    def minima(self) -> Array:
        """The center."""
        return self.well.minima

    def log_depth(self, x: ArrayLike) -> Array:
        """Return log(-C) at points (..., d), which does not underflow (...)."""
        return self._finite("log depth", self._log_depth, x)

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _smoothed_well_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> SmoothedProductWell:
        """Return the copy C((x - shift) / stretch)."""
        return SmoothedProductWell(
            well=self.well.moved(shift=shift, stretch=stretch),
            half_width=self.half_width * positive_number("stretch", stretch),
        )

    def _alpha(self) -> Array:
        return self.half_width / np.asarray(self.well.widths)

    def _distances(self, x: Array) -> Any:
        return (x - self.well.center) / np.asarray(self.well.widths)

    def _log_depth(self, x: Array) -> Any:
        means = log_gaussian_mean(self._distances(x), self._alpha())
        return self.well.log_height + np.sum(means, axis=-1)

    def _log_slopes(self, u: Array) -> Any:
        """Return the derivative of each ln g by x: the difference of the ends over the mean."""
        alpha, v = self._alpha(), np.abs(u)
        ends = np.exp(-0.5 * (v - alpha) ** 2 - log_gaussian_mean(u, alpha))
        differences = np.expm1(-2.0 * v * alpha) * ends
        return np.sign(u) * differences / (2.0 * self.half_width)

    def _relative_curvatures(self, u: Array) -> Any:
        """Return the second derivative of each g by x, over g."""
        alpha, v = self._alpha(), np.abs(u)
        ends = np.exp(-0.5 * (v - alpha) ** 2 - log_gaussian_mean(u, alpha))
        far = np.exp(-2.0 * v * alpha)  # the far end beside the near one
        differences = -v * np.expm1(-2.0 * v * alpha) / alpha - (1.0 + far)
        return differences * ends / (2.0 * np.square(self.well.widths))

    def _value(self, x: Array) -> Any:
        return -np.exp(self._log_depth(x))

    def _gradient(self, x: Array) -> Any:
        return self._value(x)[..., None] * self._log_slopes(self._distances(x))

    def _hessian(self, x: Array) -> Any:
        u = self._distances(x)
        slopes = self._log_slopes(u)
        relative = slopes[..., :, None] * slopes[..., None, :]
        diagonal = np.arange(self.dimension)
        relative[..., diagonal, diagonal] = self._relative_curvatures(u)
        return self._value(x)[..., None, None] * relative


NODES_AND_WEIGHTS = tuple(frozen(array) for array in leggauss(20))


@cache
def _smoothed_well_kernels(compiler: Compiler) -> SpaceKernels:
    log_mean = _log_mean_kernel(compiler)

    def value(x: Any, p: Any) -> Any:
        center, inverse_widths, log_depth, alpha, nodes, weights = p
        for i in range(len(x)):
            v = abs(x[i] - center[i]) * inverse_widths[i]
            log_depth += log_mean(v, alpha[i], nodes, weights)
        return -np.exp(log_depth)

    value = compiler(value)

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        center, inverse_widths, _, alpha, nodes, weights = p
        depth = weight * value(x, p)
        for i in range(len(x)):
            v = abs(x[i] - center[i]) * inverse_widths[i]
            near = -0.5 * (v - alpha[i]) ** 2 - log_mean(v, alpha[i], nodes, weights)
            slope = np.exp(near) * math.expm1(-2.0 * v * alpha[i]) / (2.0 * alpha[i])
            out[i] += depth * slope * inverse_widths[i] * np.sign(x[i] - center[i])

    return SpaceKernels(value, compiler(add_gradient))


@cache
def _log_mean_kernel(compiler: Compiler) -> Kernel:
    """Return ln g(v, α) for numbers v ≥ 0: what ``log_gaussian_mean`` is for arrays."""

    def scaled_tail(a: float) -> float:
        """Return exp(a²) erfc(a), a ≥ 2, by its continued fraction."""
        fraction = a
        for k in range(40, 0, -1):
            fraction = a + 0.5 * k / fraction
        return 1.0 / (fraction * math.sqrt(math.pi))

    scaled_tail = compiler(scaled_tail)

    def log_mean(v: float, alpha: float, nodes: Any, weights: Any) -> float:
        if (v + alpha) * alpha < 4.0:
            total = 0.0
            for k in range(len(nodes)):
                t = alpha * nodes[k]
                total += 0.5 * weights[k] * math.exp(-t * (v + 0.5 * t))
            return math.log(total) - 0.5 * v * v
        near, far = (v - alpha) / math.sqrt(2.0), (v + alpha) / math.sqrt(2.0)
        scale = math.log(math.sqrt(math.pi / 8.0) / alpha)
        if near < 2.0:
            return scale + math.log(math.erfc(near) - math.erfc(far))
        difference = scaled_tail(near) - math.exp(-2.0 * v * alpha) * scaled_tail(far)
        return scale - near * near + math.log(difference)

    return compiler(log_mean)


@dataclass(frozen=True, eq=False, kw_only=True)
class FactorChain(SpaceLandscape):
    r"""A deep linear network of one unit a layer: :math:`C(x) = (\prod_{i=1}^L u_i - 1)^2`.

    With :math:`u = (x - c)/s`. Its minima are a manifold, flattest where all factors are equal.
    The mean over any noise that is independent and has variance b in units of u is

    .. math:: \bar C = \prod_i (u_i^2 + b) - 2 \prod_i u_i + 1,

    whose one minimum off the origin, but for signs, is balanced; so this is one family (derived).

    Parameters
    ----------
    depth : int
        L ≥ 1: number of factors, and of dimensions.
    center : array_like () or (L,)
        c.
    width : float
        s > 0.
    variance : float
        b ≥ 0: variance of a coordinate of the noise over which C is averaged, over s².

    Attributes
    ----------
    balanced_minimum : float
        The common value u of all factors at the minimum; 0 where there is none.

    Raises
    ------
    ValueError
        If a number is out of range or the shape of the center does not fit.

    References
    ----------
    Wen et al. (2018), Eq. 2, for the mean; the model and its minimum: (derived).

    Examples
    --------
    >>> from theory.landscapes import FactorChain
    >>> FactorChain(depth=2).smoothed(1.5).balanced_minimum
    0.5
    >>> FactorChain(depth=2).smoothed(1.8).balanced_minimum
    0.0
    """

    depth: int
    center: ArrayLike = 0.0
    width: float = 1.0
    variance: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        depth = positive_integer("depth", self.depth)
        center = finite_array("center", self.center)
        if center.shape not in ((), (depth,)):
            raise ValueError(
                f"center must be a number or have shape ({depth},), got {center.shape}"
            )
        variance = nonnegative_number("variance", self.variance)
        object.__setattr__(self, "depth", depth)
        object.__setattr__(self, "center", frozen(np.broadcast_to(center, depth)))
        object.__setattr__(self, "width", positive_number("width", self.width))
        object.__setattr__(self, "variance", variance)

    @property
    def dimension(self) -> int:  # type: ignore[override]
        """Number of factors."""
        return self.depth

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Center, inverse width and variance."""
        return (self.center, 1.0 / self.width, self.variance)

    @property
    def balanced_minimum(self) -> float:
        r"""The common factor u at the balanced minimum, or 0 where there is none.

        It is the larger root of :math:`(u^2 + b)^{L-1} = u^{L-2}`. For L = 2 it reaches the origin
        at b = 1. For L ≥ 3 the origin is a minimum too, for every b > 0, and the balanced one ends
        in a fold, where it meets a saddle at :math:`u^2 = b (L-2)/L`:

        .. math:: b = \Bigl(\frac{L-2}{L}\Bigr)^{(L-2)/L} \Bigl(\frac{L}{2(L-1)}\Bigr)^{2(L-1)/L}.

        The manifold of the raw chain, b = 0, is represented by its balanced point, u = 1. (derived)
        """
        L, b = self.depth, self.variance
        if L == 1 or b == 0.0:
            return 1.0
        if L == 2:
            return math.sqrt(max(1.0 - b, 0.0))
        fold = math.sqrt(b * (L - 2) / L)

        def log_ratio(u: float) -> float:
            return (L - 1) * math.log(u * u + b) - (L - 2) * math.log(u)

        if fold >= 1.0 or log_ratio(fold) >= 0.0:
            return 0.0
        return float(brentq(log_ratio, fold, 1.0, xtol=1e-300, rtol=1e-15))

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _chain_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> FactorChain:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = self._offset(shift), positive_number("stretch", stretch)
        center = np.asarray(self.center) * stretch + shift
        return replace(self, center=center, width=self.width * stretch)

    def _smoothed(self, strength: float, noise: str) -> FactorChain:
        added = noise_variance(strength / self.width, noise)
        return replace(self, variance=self.variance + added)

    def _factors(self, x: Array) -> Any:
        return (x - np.asarray(self.center)) / self.width

    def _value(self, x: Array) -> Any:
        products, excesses = _leading_products(self._factors(x), self.variance)
        return (products[-1] - 1.0) ** 2 + excesses[-1]

    def _gradient(self, x: Array) -> Any:
        u, b = self._factors(x), self.variance
        before, excess_before = _leading_products(u, b)
        after, excess_after = (part[-2::-1] for part in _leading_products(u[..., ::-1], b))
        others = before[:-1] * after
        excess = excess_before[:-1] * (after**2 + excess_after) + before[:-1] ** 2 * excess_after
        slopes = (before[-1] - 1.0) * others + np.moveaxis(u, -1, 0) * excess
        return 2.0 * np.moveaxis(slopes, 0, -1) / self.width

    def _hessian(self, x: Array) -> Any:
        u = self._factors(x)
        squares = u * u + self.variance
        cross = 4.0 * u[..., :, None] * u[..., None, :] * products_of_all_but_two(squares)
        hessian = cross - 2.0 * products_of_all_but_two(u)
        diagonal = np.arange(self.depth)
        hessian[..., diagonal, diagonal] = 2.0 * products_of_others(squares)
        return hessian / self.width**2


def _leading_products(u: Array, b: float) -> tuple[Array, Array]:
    """Return products of the first k = 0 ... L factors u, and the excess of the squares.

    Each is (L + 1, ...). The excess is the product of u² + b less that of u²: a sum of positive
    terms, so that a small b keeps its digits.
    """
    L = u.shape[-1]
    products, excesses = np.ones((L + 1, *u.shape[:-1])), np.zeros((L + 1, *u.shape[:-1]))
    for k in range(L):
        factor = u[..., k]
        products[k + 1] = products[k] * factor
        excesses[k + 1] = excesses[k] * (factor * factor + b) + b * products[k] ** 2
    return products, excesses


@cache
def _chain_kernels(compiler: Compiler) -> SpaceKernels:
    def value(x: Any, p: Any) -> Any:
        center, inverse_width, b = p
        product, excess = 1.0, 0.0
        for i in range(len(x)):
            u = (x[i] - center[i]) * inverse_width
            excess = excess * (u * u + b) + b * product * product
            product *= u
        return (product - 1.0) ** 2 + excess

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        center, inverse_width, b = p
        after, excess_after = np.ones(len(x) + 1), np.zeros(len(x) + 1)
        for i in range(len(x) - 1, -1, -1):
            u = (x[i] - center[i]) * inverse_width
            after[i] = after[i + 1] * u
            excess_after[i] = excess_after[i + 1] * (u * u + b) + b * after[i + 1] ** 2
        product, excess = 1.0, 0.0
        for i in range(len(x)):
            u = (x[i] - center[i]) * inverse_width
            rest = after[i + 1] ** 2 + excess_after[i + 1]
            excess_of_others = excess * rest + product * product * excess_after[i + 1]
            slope = (after[0] - 1.0) * product * after[i + 1] + u * excess_of_others
            out[i] += 2.0 * weight * inverse_width * slope
            excess = excess * (u * u + b) + b * product * product
            product *= u

    return SpaceKernels(compiler(value), compiler(add_gradient))
