"""How gradients are distributed over examples: Gaussian or not, tails, and covariance spectrum."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from theory._validation import data_array, finite_array, positive_integer

Array = NDArray[np.float64]


class TailIndex(NamedTuple):
    """Tail index of a symmetric stable distribution, with its standard error.

    Attributes
    ----------
    alpha, alpha_error : float
        2 for a Gaussian, 1 for a Cauchy distribution; estimates may exceed 2.
    """

    alpha: float
    alpha_error: float


class CovarianceSpectrum(NamedTuple):
    """Spectrum of the covariance C of one example's gradient.

    Attributes
    ----------
    eigenvalues : ndarray (k,)
        The largest ones, falling.
    trace : float
        Sum of all.
    """

    eigenvalues: Array
    trace: float


def gradient_normality(
    gradients: ArrayLike,
    batch_sizes: Sequence[int] = (1, 30),
    *,
    draws: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    r"""Measure how far from Gaussian the gradients of batches are, parameter by parameter.

    The excess kurtosis is zero for a Gaussian, and falls as :math:`1/B` for means of B independent
    examples. Smith and Le compare one parameter of a softmax layer at batch sizes of 1 and 30.

    Parameters
    ----------
    gradients : array_like (n, P)
        Of single examples, one in a row: :func:`per_example_gradients` of a layer's parameters.
    batch_sizes : sequence of int
        At most n each.
    draws : int
        Batches of each size, each drawn without replacement; at least 4. There are n batches of
        one example, all of them.
    seed : int
        Of the draws.

    Returns
    -------
    xarray.Dataset
        Along ``batch_size`` and ``parameter``: ``excess_kurtosis``, and ``kurtosis_ratio`` to that
        of the first batch size. NaN for a parameter whose gradient is the same for all examples.

    Raises
    ------
    ValueError
        If gradients are not a finite matrix of at least 4 rows, or a number is out of range.

    References
    ----------
    Smith & Le (2018), appendix C and figure 9.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> found = gradient_normality(rng.exponential(size=(5000, 3)), (1, 30), draws=5000)
    >>> bool((abs(found.kurtosis_ratio.sel(batch_size=30)) < 0.1).all())
    True
    """
    rows, _ = data_array("gradients", gradients, ndim=2)
    n = len(rows)
    if n < 4:
        raise ValueError(f"gradients must have at least 4 rows, got {n}")
    positive_integer("draws", draws, minimum=4)
    rng = np.random.default_rng(positive_integer("seed", seed, minimum=0))
    if not len(batch_sizes):
        raise ValueError("batch_sizes must hold at least one size")
    for size in batch_sizes:
        if positive_integer("batch_sizes", size) > n:
            raise ValueError(f"batch_sizes must be at most {n}, the number of rows, got {size}")
    means = (rows if size == 1 else _batch_means(rows, size, draws, rng) for size in batch_sizes)
    kurtosis = np.array([_excess_kurtosis(part) for part in means])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = kurtosis / kurtosis[0]
    axes = ("batch_size", "parameter")
    return xr.Dataset(
        {
            "excess_kurtosis": (axes, kurtosis, {"long_name": "excess kurtosis", "units": "1"}),
            "kurtosis_ratio": (axes, ratio, {"long_name": "ratio of kurtoses", "units": "1"}),
        },
        coords={"batch_size": ("batch_size", np.asarray(batch_sizes), {"units": "examples"})},
    )


def _batch_means(rows: Array, size: int, draws: int, rng: np.random.Generator) -> Array:
    chosen = (rng.choice(len(rows), size, replace=False) for _ in range(draws))
    return np.array([rows[batch].mean(axis=0) for batch in chosen])


def _excess_kurtosis(samples: Array) -> Array:
    """Return the columns' fourth standardized moments less 3."""
    deviations = samples - samples.mean(axis=0)
    scale = np.abs(deviations).max(axis=0)
    constant = scale <= 1e-12 * np.abs(samples).max(axis=0)  # but for rounding
    unit = deviations / np.where(constant, 1.0, scale)
    with np.errstate(invalid="ignore", divide="ignore"):
        kurtosis = np.mean(unit**4, axis=0) / np.mean(unit**2, axis=0) ** 2 - 3.0
    return np.where(constant, np.nan, kurtosis)


def tail_index(noise: ArrayLike, *, block_size: int | None = None) -> TailIndex:
    r"""Estimate the index α of symmetric stable noise from how sums grow: by :math:`K_1^{1/α}`.

    .. math:: \frac1\alpha = \frac1{\ln K_1}\Big(\frac1{K_2}\sum_{i\le K_2}\ln|Y_i|
              - \frac1{K_1K_2}\sum_{i\le K_1K_2}\ln|X_i|\Big),

    with :math:`Y_i` the sums of blocks of :math:`K_1` values.

    Parameters
    ----------
    noise : array_like (K,)
        Independent values of a symmetric distribution about zero, such as the deviations of one
        parameter's gradient from its mean; beyond the last whole block they are left out. Pooled
        parameters are neither independent nor of one scale: shuffle them, and do not trust the
        error.
    block_size : int, optional
        :math:`K_1`, at least 2 and at most half of K; about √K, if omitted.

    Returns
    -------
    TailIndex
        The error is that of a mean over independent blocks, by the delta method.

    Raises
    ------
    ValueError
        If there are fewer than 4 finite values, one of them or a block's sum is zero, the block
        size is out of range, or sums of blocks are no larger than their terms.

    References
    ----------
    Mohammadi, Mohammadpour & Ogata (2015), corollary 2.4; Simsekli, Sagun & Gurbuzbalaban, "A
    tail-index analysis of stochastic gradient noise in deep neural networks" (2019) (both from
    memory).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> draws = rng.standard_normal(10**6), rng.standard_cauchy(10**6)
    >>> [round(tail_index(noise).alpha, 1) for noise in draws]
    [2.0, 1.0]
    """
    values = finite_array("noise", noise, ndim=1)
    if len(values) < 4:
        raise ValueError(f"noise must have at least 4 values, got {len(values)}")
    size = int(len(values) ** 0.5) if block_size is None else block_size
    if positive_integer("block_size", size, minimum=2) > len(values) // 2:
        raise ValueError(f"block_size must be at most {len(values) // 2}, got {size}")
    blocks = values[: len(values) // size * size].reshape(-1, size)
    sums = blocks.sum(axis=1)
    if not (np.all(blocks) and np.all(sums)):
        raise ValueError("noise must not have zeros, nor blocks of sum zero: leave them out")
    growth = np.log(np.abs(sums)) - np.log(np.abs(blocks)).mean(axis=1)
    inverse = float(np.mean(growth)) / math.log(size)
    if inverse <= 0.0:
        raise ValueError("noise has no tail index: sums of blocks are no larger than their terms")
    error = float(np.std(growth, ddof=1)) / math.sqrt(len(growth)) / math.log(size)
    return TailIndex(1.0 / inverse, error / inverse**2)


def covariance_spectrum(gradients: ArrayLike, k: int | None = None) -> CovarianceSpectrum:
    """Return the largest eigenvalues of the covariance of gradients, denominator n - 1.

    They are those of the smaller one of the covariance (P, P) and the Gram matrix (n, n) of the
    deviations; at most n - 1 are not zero.

    Parameters
    ----------
    gradients : array_like (n, P)
        Of single examples, one in a row; n at least 2.
    k : int, optional
        How many; min(n, P), all that can be positive and one zero, if omitted.

    Returns
    -------
    CovarianceSpectrum

    Raises
    ------
    ValueError
        If gradients are not a finite matrix, n is below 2 or k out of range.

    Examples
    --------
    >>> covariance_spectrum([[0.0, 0.0], [2.0, 0.0], [4.0, 0.0]], k=1)
    CovarianceSpectrum(eigenvalues=array([4.]), trace=4.0)
    """
    rows, _ = data_array("gradients", gradients, ndim=2)
    n = len(rows)
    if n < 2:
        raise ValueError(f"gradients must have at least 2 rows, got {n}")
    largest = min(rows.shape)
    if k is not None and positive_integer("k", k) > largest:
        raise ValueError(f"k must be at most {largest}, the smaller side of gradients, got {k}")
    deviations = rows - rows.mean(axis=0)
    gram = deviations @ deviations.T if n < rows.shape[1] else deviations.T @ deviations
    eigenvalues = np.linalg.eigvalsh(gram / (n - 1))[::-1][: k or largest]
    return CovarianceSpectrum(np.maximum(eigenvalues, 0.0), float(np.trace(gram)) / (n - 1))
