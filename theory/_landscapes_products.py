"""Landscapes built coordinate by coordinate or block by block: sums and products."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from theory._landscapes_base import (
    Compiler,
    LineKernels,
    LineLandscape,
    Parameters,
    SpaceKernels,
    SpaceLandscape,
    as_is,
    frozen,
)
from theory._validation import Array, finite_array, positive_number

# ------------------------------------------------------------ products without over- or underflow


def product_of(factors: Array) -> Array:
    """Return the product over the last axis; only a product out of range itself is lost."""
    return np.asarray(np.ldexp(*_mantissa_and_exponent(factors)))


def products_of_others(factors: Array) -> Array:
    """Return for each of (..., d) factors the product of the others; factors may be zero."""
    vanishing = factors == 0.0
    mantissa, exponent = _mantissa_and_exponent(np.where(vanishing, 1.0, factors))
    own_mantissa, own_exponent = np.frexp(np.where(vanishing, 1.0, factors))
    others = np.ldexp(mantissa[..., None] / own_mantissa, exponent[..., None] - own_exponent)
    alone = vanishing == np.sum(vanishing, axis=-1, keepdims=True)
    return np.where(alone, others, 0.0)


def products_of_all_but_two(factors: Array) -> Array:
    """Return for each pair of (..., d) factors the product of the others (..., d, d).

    The diagonal means nothing.
    """
    vanishing = factors == 0.0
    mantissa, exponent = _mantissa_and_exponent(np.where(vanishing, 1.0, factors))
    own_mantissa, own_exponent = np.frexp(np.where(vanishing, 1.0, factors))
    others = np.ldexp(
        mantissa[..., None, None] / (own_mantissa[..., :, None] * own_mantissa[..., None, :]),
        exponent[..., None, None] - own_exponent[..., :, None] - own_exponent[..., None, :],
    )
    pair = vanishing[..., :, None].astype(int) + vanishing[..., None, :]
    return np.where(pair == np.sum(vanishing, axis=-1)[..., None, None], others, 0.0)


def _mantissa_and_exponent(factors: Array) -> tuple[Array, Any]:
    """Return the product over the last axis as m and k, that is m 2^k."""
    mantissa, exponents = np.frexp(factors)
    exponent = np.sum(exponents, axis=-1)
    while mantissa.shape[-1] > 1:
        blocks = np.arange(0, mantissa.shape[-1], 512)  # 512 mantissas do not underflow
        mantissa, exponents = np.frexp(np.multiply.reduceat(mantissa, blocks, axis=-1))
        exponent = exponent + np.sum(exponents, axis=-1)
    return mantissa[..., 0], exponent


# --------------------------------------------------- one line landscape for all coordinates


@dataclass(frozen=True, eq=False, kw_only=True)
class _Coordinatewise(SpaceLandscape):
    line: LineLandscape
    centers: Array

    def __post_init__(self) -> None:
        """Check the line landscape and the centers."""
        if not isinstance(self.line, LineLandscape):
            raise TypeError(f"line must be a landscape on the line, got {self.line!r}")
        object.__setattr__(self, "centers", frozen(finite_array("centers", self.centers, ndim=1)))

    @property
    def dimension(self) -> int:  # type: ignore[override]
        """Number of coordinates."""
        return len(self.centers)

    @property
    def parameters(self) -> Parameters:  # type: ignore[override]
        """Those of the line landscape, and the centers."""
        return (self.line.parameters, self.centers)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> Any:
        """Return the copy C((x - shift) / stretch)."""
        shift, stretch = self._offset(shift), positive_number("stretch", stretch)
        line = self.line.moved(stretch=stretch)
        return type(self)(line=line, centers=self.centers * stretch + shift)

    def _smoothed(self, strength: float, noise: str) -> SpaceLandscape:
        return type(self)(line=self.line._smoothed(strength, noise), centers=self.centers)


class CoordinateSum(_Coordinatewise):
    r"""One line landscape, added up over the coordinates: :math:`C(x) = \sum_i f(x_i - c_i)`.

    Its mean over noise is the same sum of the mean of f (derived).

    Parameters
    ----------
    line : LineLandscape
        f.
    centers : array_like (d,)
        c.

    Raises
    ------
    ValueError
        If the centers are not finite or not a vector.
    TypeError
        If ``line`` is not a landscape on the line.

    Examples
    --------
    >>> from theory.landscapes import CoordinateSum, DoubleWell
    >>> wells = CoordinateSum(line=DoubleWell(), centers=[0.0, 1.0])
    >>> wells.gradient([0.5, 2.0])
    array([-1.5,  0. ])
    """

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _coordinate_sum_kernels(compiler, self.line.kernels(compiler))

    def _value(self, x: Array) -> Any:
        return np.sum(self.line._value(x - self.centers), axis=-1)

    def _gradient(self, x: Array) -> Any:
        return self.line._gradient(x - self.centers)

    def _hessian(self, x: Array) -> Any:
        return self.line._hessian(x - self.centers)[..., None] * np.eye(self.dimension)


@cache
def _coordinate_sum_kernels(compiler: Compiler, line: LineKernels) -> SpaceKernels:
    line_value, line_gradient = line.value, line.gradient

    def value(x: Any, p: Any) -> Any:
        f, centers = p
        total = 0.0
        for i in range(len(x)):
            total += line_value(x[i] - centers[i], f)
        return total

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        f, centers = p
        for i in range(len(x)):
            out[i] += weight * line_gradient(x[i] - centers[i], f)

    return SpaceKernels(compiler(value), compiler(add_gradient))


class CoordinateProduct(_Coordinatewise):
    r"""One line landscape, multiplied over the coordinates: :math:`C(x) = \prod_i f(x_i - c_i)`.

    Its mean over noise is the same product of the mean of f, as the noise is independent (derived).
    Factors may vanish, and partial products may leave the range of float64: only a result that is
    itself out of range is lost.

    Parameters
    ----------
    line : LineLandscape
        f.
    centers : array_like (d,)
        c.

    Raises
    ------
    ValueError
        If the centers are not finite or not a vector.
    TypeError
        If ``line`` is not a landscape on the line.

    Examples
    --------
    >>> from theory.landscapes import CoordinateProduct, Parabola
    >>> product = CoordinateProduct(line=Parabola(curvature=2.0), centers=[0.0, 1.0])
    >>> product.gradient([3.0, 3.0])  # of x₁² (x₂ - 1)²
    array([24., 36.])
    """

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _coordinate_product_kernels(compiler, self.line.kernels(compiler))

    def _value(self, x: Array) -> Any:
        return product_of(self.line._value(x - self.centers))

    def _gradient(self, x: Array) -> Any:
        r = x - self.centers
        return self.line._gradient(r) * products_of_others(self.line._value(r))

    def _hessian(self, x: Array) -> Any:
        r = x - self.centers
        factors, slopes = self.line._value(r), self.line._gradient(r)
        hessian = slopes[..., :, None] * slopes[..., None, :] * products_of_all_but_two(factors)
        diagonal = np.arange(self.dimension)
        hessian[..., diagonal, diagonal] = self.line._hessian(r) * products_of_others(factors)
        return hessian


@cache
def _coordinate_product_kernels(compiler: Compiler, line: LineKernels) -> SpaceKernels:
    line_value, line_gradient = line.value, line.gradient

    def value(x: Any, p: Any) -> Any:
        f, centers = p
        mantissa, exponent = 1.0, 0
        for i in range(len(x)):
            mantissa, shift = math.frexp(mantissa * line_value(x[i] - centers[i], f))
            exponent += shift
        return np.ldexp(mantissa, exponent)

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        f, centers = p
        mantissa, exponent, vanishing = 1.0, 0, 0
        for i in range(len(x)):
            factor = line_value(x[i] - centers[i], f)
            if factor == 0.0:
                vanishing += 1
            else:
                mantissa, shift = math.frexp(mantissa * factor)
                exponent += shift
        for i in range(len(x)):
            factor = line_value(x[i] - centers[i], f)
            others = 0.0
            if factor == 0.0 and vanishing == 1:
                others = np.ldexp(mantissa, exponent)
            elif vanishing == 0:
                others = np.ldexp(mantissa / factor, exponent)
            out[i] += weight * line_gradient(x[i] - centers[i], f) * others

    return SpaceKernels(compiler(value), compiler(add_gradient))


# ---------------------------------------------------------------- one landscape for each block


class _Blocks(SpaceLandscape):
    def __init__(self, blocks: Iterable[SpaceLandscape]) -> None:
        self.blocks = tuple(blocks)
        if not self.blocks:
            raise ValueError("blocks must hold at least one landscape")
        for block in self.blocks:
            if not isinstance(block, SpaceLandscape):
                raise TypeError(f"blocks must be landscapes in space, got {block!r}")
        self.dimension = sum(block.dimension for block in self.blocks)
        self.parameters = tuple((block.dimension, block.parameters) for block in self.blocks)

    def moved(self, *, shift: ArrayLike = 0.0, stretch: ArrayLike = 1.0) -> Any:
        """Return the copy C((x - shift) / stretch)."""
        shifts = self._split(self._offset(shift))
        moved = zip(self.blocks, shifts, strict=True)
        return type(self)(block.moved(shift=part, stretch=stretch) for block, part in moved)

    def _smoothed(self, strength: float, noise: str) -> SpaceLandscape:
        return type(self)(block._smoothed(strength, noise) for block in self.blocks)

    def _ends(self) -> list[int]:
        """Return where the blocks begin, and where the last one ends."""
        return [0, *np.cumsum([block.dimension for block in self.blocks]).tolist()]

    def _split(self, x: Array) -> list[Array]:
        """Return the coordinates (..., d_k) of each block."""
        return [x[..., start:end] for start, end in pairwise(self._ends())]

    def _parts(self, method: str, x: Array) -> list[Array]:
        """Return what a method of each block gives on the block's own coordinates."""
        parts = zip(self.blocks, self._split(x), strict=True)
        return [np.asarray(getattr(block, method)(part)) for block, part in parts]

    def _diagonal_blocks(self, x: Array, weights: Array) -> Array:
        """Return the Hessians of the blocks, times weights (..., K), and zero elsewhere."""
        result = np.zeros((*x.shape, self.dimension))
        ends = pairwise(self._ends())
        for k, ((start, end), part) in enumerate(
            zip(ends, self._parts("_hessian", x), strict=True)
        ):
            result[..., start:end, start:end] = weights[..., k, None, None] * part
        return result


class DisjointSum(_Blocks):
    r"""The sum of landscapes of their own coordinates: :math:`C(x, y) = A(x) + B(y)`.

    Its mean over noise is the sum of the means.

    Parameters
    ----------
    blocks : iterable of SpaceLandscape
        A, B, ...: the first takes the first coordinates, and so on.

    Raises
    ------
    ValueError
        If there are no blocks.
    TypeError
        If a block is not a landscape in space.

    Examples
    --------
    >>> from theory.landscapes import DisjointSum, Quadratic
    >>> round_bowl = Quadratic(hessian_matrix=[[1.0, 0.0], [0.0, 1.0]])
    >>> DisjointSum([round_bowl, Quadratic(hessian_matrix=[[8.0]])]).gradient([1.0, 2.0, 3.0])
    array([ 1.,  2., 24.])
    """

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _disjoint_sum_kernels(compiler, _kernels_of(self.blocks, compiler))

    def _value(self, x: Array) -> Any:
        return np.sum(self._parts("_value", x), axis=0)

    def _gradient(self, x: Array) -> Any:
        return np.concatenate(self._parts("_gradient", x), axis=-1)

    def _hessian(self, x: Array) -> Any:
        return self._diagonal_blocks(x, np.ones(len(self.blocks)))


class DisjointProduct(_Blocks):
    r"""The product of landscapes of their own coordinates: :math:`C(x, y) = A(x) B(y)`.

    Its mean over noise is the product of the means, as the noise is independent (derived).

    Parameters
    ----------
    blocks : iterable of SpaceLandscape
        A, B, ...: the first takes the first coordinates, and so on.

    Raises
    ------
    ValueError
        If there are no blocks.
    TypeError
        If a block is not a landscape in space.

    Examples
    --------
    >>> from theory.landscapes import DisjointProduct, Quadratic
    >>> bowl = Quadratic(hessian_matrix=[[2.0]])
    >>> DisjointProduct([bowl, bowl + 1.0]).gradient([3.0, 2.0])  # of x² (y² + 1)
    array([30., 36.])
    """

    def kernels(self, compiler: Compiler = as_is) -> SpaceKernels:
        """Return the kernels, passed through ``compiler``."""
        return _disjoint_product_kernels(compiler, _kernels_of(self.blocks, compiler))

    def _value(self, x: Array) -> Any:
        return product_of(np.stack(self._parts("_value", x), axis=-1))

    def _gradient(self, x: Array) -> Any:
        others = products_of_others(np.stack(self._parts("_value", x), axis=-1))
        return np.concatenate(self._parts("_gradient", x), axis=-1) * self._spread(others)

    def _hessian(self, x: Array) -> Any:
        values = np.stack(self._parts("_value", x), axis=-1)
        slopes = np.concatenate(self._parts("_gradient", x), axis=-1)
        block = self._spread(np.arange(len(self.blocks)))
        others = products_of_all_but_two(values)[..., block[:, None], block]
        across = slopes[..., :, None] * slopes[..., None, :] * others
        within = self._diagonal_blocks(x, products_of_others(values))
        return np.where(block[:, None] == block, within, across)

    def _spread(self, per_block: Any) -> Any:
        """Return values per block (..., K) as values per coordinate (..., d)."""
        return np.repeat(per_block, [block.dimension for block in self.blocks], axis=-1)


def _kernels_of(blocks: tuple[SpaceLandscape, ...], compiler: Compiler) -> tuple[SpaceKernels, ...]:
    return tuple(block.kernels(compiler) for block in blocks)


# As with sums, by recursion: a compiled function cannot loop over functions of different types.


@cache
def _disjoint_sum_kernels(compiler: Compiler, blocks: tuple[SpaceKernels, ...]) -> SpaceKernels:
    first, add_first = blocks[0]
    if len(blocks) == 1:
        return _only_block(compiler, blocks[0])
    rest, add_rest = _disjoint_sum_kernels(compiler, blocks[1:])

    def value(x: Any, p: Any) -> Any:
        size, parameters = p[0]
        return first(x[:size], parameters) + rest(x[size:], p[1:])

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        size, parameters = p[0]
        add_first(x[:size], parameters, weight, out[:size])
        add_rest(x[size:], p[1:], weight, out[size:])

    return SpaceKernels(compiler(value), compiler(add_gradient))


@cache
def _disjoint_product_kernels(compiler: Compiler, blocks: tuple[SpaceKernels, ...]) -> SpaceKernels:
    first, add_first = blocks[0]
    if len(blocks) == 1:
        return _only_block(compiler, blocks[0])
    rest, add_rest = _disjoint_product_kernels(compiler, blocks[1:])

    def value(x: Any, p: Any) -> Any:
        size, parameters = p[0]
        return first(x[:size], parameters) * rest(x[size:], p[1:])

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        size, parameters = p[0]
        head, tail = x[:size], x[size:]
        add_first(head, parameters, weight * rest(tail, p[1:]), out[:size])
        add_rest(tail, p[1:], weight * first(head, parameters), out[size:])

    return SpaceKernels(compiler(value), compiler(add_gradient))


def _only_block(compiler: Compiler, kernels: SpaceKernels) -> SpaceKernels:
    block, add_block = kernels

    def value(x: Any, p: Any) -> Any:
        return block(x, p[0][1])

    def add_gradient(x: Any, p: Any, weight: float, out: Any) -> None:
        add_block(x, p[0][1], weight, out)

    return SpaceKernels(compiler(value), compiler(add_gradient))
