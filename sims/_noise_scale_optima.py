"""Where a batch-size sweep has its optimum, and where training collapses."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sims.streams import Rng
from theory._validation import positive_integer

Array = NDArray[np.float64]


def optimal_batch_sizes(
    accuracy: xr.DataArray, *, chance: float, resamples: int = 200, rng: Rng = 0
) -> xr.Dataset:
    """Locate the optimum and the collapse of accuracy over batch sizes, with bootstrapped spread.

    Every resample draws seeds with replacement, averages their curves, and only then looks for the
    optimum: the vertex of the parabola in log B through the best batch size and its neighbours. The
    collapse is where the averaged curve crosses half the way from chance to its peak, below the
    optimum. A single run's best batch size is noise.

    Parameters
    ----------
    accuracy : DataArray
        With dimensions ``seed`` and ``batch_size``, and any others; NaN where no run was made.
    chance : float
        Accuracy of guessing.
    resamples : int
        Number of bootstrap resamples.
    rng : None, int, SeedSequence or Generator
        Draws the resamples.

    Returns
    -------
    Dataset
        ``optimum``, ``collapse`` (batch sizes), ``peak`` and ``largest_batch`` (accuracies), along
        ``resample`` and the other dimensions; resample 0 takes every seed once. ``at_edge`` tells
        that the best batch size was the smallest or largest of the sweep, so that the optimum may
        lie beyond. ``collapse`` is NaN where no batch size below the optimum was seen to fail.

    Raises
    ------
    ValueError
        If a dimension is missing, there are fewer than three batch sizes, or a curve has fewer.

    Examples
    --------
    >>> B = np.array([1, 2, 4, 8, 16, 32, 64])
    >>> curve = 0.9 - 0.01 * np.log2(B / 8) ** 2
    >>> runs = xr.DataArray([curve, curve], coords={"batch_size": B}, dims=("seed", "batch_size"))
    >>> found = optimal_batch_sizes(runs, chance=0.1, resamples=2)
    >>> found.optimum.values.round(6)
    array([8., 8.])
    """
    positive_integer("resamples", resamples)
    missing = {"seed", "batch_size"} - set(accuracy.dims)
    if missing:
        raise ValueError(f"accuracy has no dimension {', '.join(sorted(missing))}")
    if accuracy.sizes["batch_size"] < 3:
        raise ValueError("accuracy has fewer than three batch sizes")
    accuracy, seeds = accuracy.sortby("batch_size"), accuracy.sizes["seed"]
    weights = np.random.default_rng(rng).multinomial(seeds, np.full(seeds, 1 / seeds), resamples)
    weights[0] = 1
    curves = xr.dot(xr.DataArray(weights / seeds, dims=("resample", "seed")), accuracy, dim="seed")
    log_sizes = np.log(accuracy.batch_size.values.astype(float))
    found = xr.apply_ufunc(
        lambda curve: _features(log_sizes, curve, chance),
        curves,
        input_core_dims=[["batch_size"]],
        output_core_dims=[["feature"]],
        vectorize=True,
    )
    names = ("optimum", "collapse", "peak", "largest_batch", "at_edge")
    return xr.Dataset({name: found.isel(feature=i) for i, name in enumerate(names)})


def _features(log_sizes: Array, curve: Array, chance: float) -> Array:
    present = ~np.isnan(curve)
    x, y = log_sizes[present], curve[present]
    if len(x) < 3:
        raise ValueError("a curve has fewer than three batch sizes")
    best = int(np.argmax(y))
    at_edge = best in (0, len(x) - 1)
    optimum, peak = x[best], y[best]
    if not at_edge:
        a, b, c = np.polyfit(x[best - 1 : best + 2] - x[best], y[best - 1 : best + 2], 2)
        if a < 0:
            optimum, peak = x[best] - b / (2 * a), c - b * b / (4 * a)
    half = 0.5 * (chance + y[best])
    failed = np.flatnonzero(y[:best] < half)
    collapse = np.nan
    if len(failed):
        i = failed[-1]
        collapse = np.interp(half, y[i : i + 2], x[i : i + 2])
    return np.array([np.exp(optimum), np.exp(collapse), peak, y[-1], at_edge])
