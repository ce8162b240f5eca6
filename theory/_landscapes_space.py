"""Landscapes in d dimensions: a quadratic, and a mixture of quadratic wells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from theory._landscapes_base import (
    Compiler,
    Parameters,
    SpaceKernels,
    SpaceLandscape,
    as_is,
    frozen,
    noise_variance,
)
from theory._validation import Array, finite_array, positive_number


@dataclass(frozen=True, eq=False, kw_only=True)
class Quadratic(SpaceLandscape):
    r"""The quadratic :math:`C(x) = \frac12 (x - c)^\top H (x - c)` in d dimensions.

    Parameters
    ----------
    hessian_matrix : array_like (d, d)
        H, symmetric, of any sign.
    center : array_like () or (d,)
        c.

    Attributes
    ----------
    minima : ndarray (1, d) or (0, d)
        The center, if H is positive definite.

    Raises
    ------
    ValueError
        If values are not finite, shapes do not fit, or H is not symmetric.

    Examples
    --------
    >>> from theory.landscapes import Quadratic
    >>> Quadratic(hessian_matrix=[[2.0, 0.0], [0.0, 1.0]]).gradient([3.0, 4.0])
    array([6., 4.])
    """

    hessian_matrix: Array
    center: ArrayLike = 0.0

    def __post_init__(self) -> None:
        """Check the arrays."""
        H = finite_array("hessian_matrix", self.hessian_matrix, ndim=2)
        if H.shape[0] != H.shape[1]:
            raise ValueError(f"hessian_matrix must be square, got shape {H.shape}")
        object.__setattr__(self, "hessian_matrix", frozen(_symmetrized("hessian_matrix", H)))
        center = finite_array("center", self.center)
        if center.shape not in ((), (len(H),)):
            raise ValueError(
                f"center must be a number or have shape ({len(H)},), got {center.shape}"
            )
        object.__setattr__(self, "center", frozen(np.broadcast_to(center, len(H))))

    @property
    def dimension(self) -> int:  # type: ignore[override]
        """Number of coordinates."""
        return len(self.hessian_matrix)

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Hessian and center."""
        return (self.hessian_matrix, self.center)

    @property
    def minima(self) -> Array:
        """The center, if the Hessian is positive definite."""
        definite = np.linalg.eigvalsh(self.hessian_matrix)[0] > 0.0
        return np.asarray(self.center)[None][: int(definite)]

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _quadratic_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> Quadratic:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = self._offset(shift), positive_number("stretch", stretch)
        return Quadratic(
            hessian_matrix=self.hessian_matrix / stretch**2,
            center=np.asarray(self.center) * stretch + shift,
        )

    def _smoothed(self, strength: float, noise: str) -> SpaceLandscape:
        return self + 0.5 * noise_variance(strength, noise) * float(np.trace(self.hessian_matrix))

    def _value(self, x: Array) -> Any:
        r = x - np.asarray(self.center)
        return 0.5 * np.sum(r * (r @ self.hessian_matrix), axis=-1)

    def _gradient(self, x: Array) -> Any:
        return (x - np.asarray(self.center)) @ self.hessian_matrix

    def _hessian(self, x: Array) -> Any:
        return np.broadcast_to(self.hessian_matrix, (*x.shape, x.shape[-1])).copy()


@cache
def _quadratic_kernels(compiler: Compiler) -> SpaceKernels:
    def value(x: Any, p: Any) -> Any:
        H, center = p
        total = 0.0
        for i in range(len(x)):
            slope = 0.0
            for j in range(len(x)):
                slope += H[i, j] * (x[j] - center[j])
            total += slope * (x[i] - center[i])
        return 0.5 * total

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        H, center = p
        for i in range(len(x)):
            slope = 0.0
            for j in range(len(x)):
                slope += H[i, j] * (x[j] - center[j])
            out[i] += weight * slope

    return SpaceKernels(compiler(value), compiler(add_gradient))


@dataclass(frozen=True, eq=False, kw_only=True)
class WellMixture(SpaceLandscape):
    r"""Quadratic wells, :math:`C(x) = -\ln\sum_k e^{-C_k - (x - \mu_k)^\top H_k (x - \mu_k)/2}`.

    At temperature 1, :math:`e^{-C}` is a mixture of normals; see :class:`LineWellMixture`.

    Parameters
    ----------
    costs : array_like (K,)
        :math:`C_k`: the depths.
    centers : array_like (K, d)
        :math:`\mu_k`.
    hessians : array_like (K, d, d)
        :math:`H_k`, symmetric positive definite.

    Attributes
    ----------
    minima : ndarray (M, d)
        Those reached downhill from the centers, in the order of the centers.
    log_weights : ndarray (K,)
        Log of each component's share of the mass at temperature 1.

    Raises
    ------
    ValueError
        If shapes do not fit, values are not finite, or a Hessian is not symmetric positive
        definite.

    Examples
    --------
    >>> import numpy as np
    >>> from theory.landscapes import WellMixture
    >>> wells = WellMixture(
    ...     costs=[0.0, 0.5], centers=[[-2.0, 0.0], [2.0, 0.0]], hessians=[4 * np.eye(2), np.eye(2)]
    ... )
    >>> np.exp(wells.log_weights).round(3)
    array([0.292, 0.708])
    """

    costs: Array
    centers: Array
    hessians: Array

    def __post_init__(self) -> None:
        """Check the arrays."""
        costs = finite_array("costs", self.costs, ndim=1)
        centers = finite_array("centers", self.centers, ndim=2)
        H = finite_array("hessians", self.hessians, ndim=3)
        if len(centers) != len(costs):
            raise ValueError(f"costs has {len(costs)} entries but centers {len(centers)} rows")
        if H.shape != (*centers.shape, centers.shape[1]):
            raise ValueError(f"centers have shape {centers.shape} but hessians {H.shape}")
        H = _symmetrized("hessians", H)
        smallest = float(np.min(np.linalg.eigvalsh(H)))
        if not smallest > 0.0:
            raise ValueError(f"hessians must be positive definite, got an eigenvalue {smallest:g}")
        for name, array in (("costs", costs), ("centers", centers), ("hessians", H)):
            object.__setattr__(self, name, frozen(array))

    @property
    def dimension(self) -> int:  # type: ignore[override]
        """Number of coordinates."""
        return int(self.centers.shape[1])

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Costs, centers and Hessians."""
        return (self.costs, self.centers, self.hessians)

    @property
    def log_weights(self) -> Array:
        """Log of each component's share of the mass at temperature 1 (K,)."""
        masses = -self.costs - 0.5 * np.linalg.slogdet(self.hessians)[1]
        return np.asarray(masses - np.logaddexp.reduce(masses))

    @property
    def minima(self) -> Array:
        """The minima that a trust-region search reaches from the centers, each once (M, d)."""
        minima: list[Array] = []
        for center, H in zip(self.centers, self.hessians, strict=True):
            scale = float(np.linalg.eigvalsh(H)[-1] ** -0.5)
            found = self._downhill(center, scale)
            known = any(np.linalg.norm(found - other) < 1e-6 * scale for other in minima)
            if not known and np.linalg.eigvalsh(self.hessian(found))[0] > 0.0:
                minima.append(found)
        return np.array(minima).reshape(-1, self.dimension)

    def _downhill(self, start: Array, scale: float) -> Array:
        """Return the stationary point that a trust-region search reaches, to rounding."""
        options = {"gtol": 1e-6 / scale, "initial_trust_radius": scale}
        x = minimize(  # type: ignore[call-overload]
            self.value,
            start,
            jac=self.gradient,
            hess=self.hessian,
            method="trust-exact",
            options=options,
        ).x
        for _ in range(3):  # Newton: the search itself stops where the value no longer falls
            x = x - np.linalg.solve(self.hessian(x), self.gradient(x))
        return np.asarray(x)

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _mixture_kernels(compiler)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> WellMixture:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = self._offset(shift), positive_number("stretch", stretch)
        return WellMixture(
            costs=self.costs,
            centers=self.centers * stretch + shift,
            hessians=self.hessians / stretch**2,
        )

    def _wells(self, x: Array) -> tuple[Array, Array]:
        """Return the cost of each well (..., K) and its gradient (..., K, d)."""
        r = x[..., None, :] - self.centers
        gradients = np.einsum("...kj,kij->...ki", r, self.hessians)
        return self.costs + 0.5 * np.sum(r * gradients, axis=-1), gradients

    def _value(self, x: Array) -> Any:
        return -logsumexp(-self._wells(x)[0], axis=-1)

    def _gradient(self, x: Array) -> Any:
        costs, gradients = self._wells(x)
        return np.sum(softmax(-costs, axis=-1)[..., None] * gradients, axis=-2)

    def _hessian(self, x: Array) -> Any:
        """Return the mean Hessian less the covariance of the gradients."""
        costs, gradients = self._wells(x)
        weights = softmax(-costs, axis=-1)
        spread = gradients - np.sum(weights[..., None] * gradients, axis=-2, keepdims=True)
        mean = np.einsum("...k,kij->...ij", weights, self.hessians)
        return mean - np.einsum("...k,...ki,...kj->...ij", weights, spread, spread)


@cache
def _mixture_kernels(compiler: Compiler) -> SpaceKernels:
    well = _quadratic_kernels(compiler).value
    add_well_gradient = _quadratic_kernels(compiler).add_gradient

    def value(x: Any, p: Any) -> Any:
        costs, centers, hessians = p
        lowest = costs[0] + well(x, (hessians[0], centers[0]))
        for k in range(1, len(costs)):
            lowest = min(lowest, costs[k] + well(x, (hessians[k], centers[k])))
        total = 0.0
        for k in range(len(costs)):
            total += np.exp(lowest - costs[k] - well(x, (hessians[k], centers[k])))
        return lowest - np.log(total)

    value = compiler(value)

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        costs, centers, hessians = p
        cost = value(x, p)
        for k in range(len(costs)):
            share = np.exp(cost - costs[k] - well(x, (hessians[k], centers[k])))
            add_well_gradient(x, (hessians[k], centers[k]), weight * share, out)

    return SpaceKernels(value, compiler(add_gradient))


def _symmetrized(name: str, H: Array) -> Array:
    """Return the symmetric part of matrices (..., d, d) that are symmetric but for rounding."""
    transposed = np.swapaxes(H, -1, -2)
    if np.max(np.abs(H - transposed)) > 1e-8 * np.max(np.abs(H)):
        raise ValueError(f"{name} must be symmetric")
    return 0.5 * (H + transposed)
