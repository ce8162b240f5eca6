"""What the claims on the noise scale are judged by: numbers with error bars from Datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from paper_figures._measured import mean_over_seeds
from paper_figures.claims import Measured
from sims.noise_scale import optimal_batch_sizes
from theory.noise_scale import noise_scale

Data = Mapping[str, xr.Dataset]
CHANCE = 0.1
UNKNOWN = Measured(np.nan, np.nan)  # meets no criterion; a mean over runs that diverged is that


def _worst(values: xr.DataArray) -> Measured:
    """Return the largest value and, as its uncertainty, the standard error of that one.

    ``values`` have a dimension ``seed``; the largest is that of the mean over seeds.
    """
    if not np.isfinite(values).all():
        return UNKNOWN
    mean, n = abs(values.mean("seed")), values.sizes["seed"]
    error = values.std("seed", ddof=min(1, n - 1)) / np.sqrt(n)
    where = mean.argmax(...)
    return Measured(float(mean.isel(where)), float(error.isel(where)) if n > 1 else np.nan)


def _mean(values: xr.DataArray) -> Measured:
    """Return the mean over seeds, or that it is unknown where a run diverged."""
    return mean_over_seeds(values) if np.isfinite(values).all() else UNKNOWN


def _bootstrapped(statistic: ArrayLike, d: xr.Dataset) -> Measured:
    """Return a statistic of the mean over d's seeds, resample 0, and its bootstrapped error."""
    value, *others = np.asarray(statistic)
    known = d.sizes["seed"] > 1 and np.isfinite(others).all()
    return Measured(float(value), float(np.std(others, ddof=1)) if known else np.nan)


def _in_standard_errors(value: ArrayLike, error: ArrayLike) -> NDArray[np.float64]:
    """Return value / error, or 0 where the value is 0 and all seeds agree."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(value) == 0, 0 * np.asarray(error), np.divide(value, error))


# --- the laws of the process ---------------------------------------------------------------------


def noise_covariance(data: Data) -> list[Measured]:
    """Return the relative error of the trace where it is not zero, and the trace where it is."""
    d = data["noise"]
    without = d.sampler != "with_replacement"
    full = d.batch_size == d.batch_size.max()
    zero = without & full
    return [
        _worst((d.trace / d.trace_theory - 1).where(~zero, 0.0)),
        _worst(d.trace.where(zero, 0.0)),
    ]


def _stability(d: xr.Dataset) -> xr.DataArray:
    return d.learning_rate * d.curvature


def equal_noise(data: Data) -> list[Measured]:
    """Return the spread of the variance over settings of equal g, and its distance from theory."""
    d = data["chains"].isel(setting=slice(0, 4))
    small = _stability(d) <= 0.05
    several = small & (small.sum("setting") > 1)
    spread = d.variance / d.variance.where(small).mean("setting") - 1
    return [_worst(spread.where(several, 0.0)), _worst(d.variance / d.exact - 1)]


def momentum_factor(data: Data) -> list[Measured]:
    """Return the distance of the variance from the continuous and from the discrete theory."""
    d = data["chains"].isel(setting=slice(4, None))
    small = _stability(d) <= 0.05 * (1 - d.momentum)
    excess = (d.variance / d.continuous - 1).where(small, 0.0)
    return [_worst(excess), _worst(d.variance / d.exact - 1)]


def _closed_form(d: xr.Dataset) -> xr.DataArray:
    m, h = d.momentum, d.curvature
    damping = h * (1 - m) * (2 * (1 + m) - d.learning_rate * h)
    return d.learning_rate * d.noise * (1 + m) / damping


def closed_form(data: Data) -> list[Measured]:
    """Return the relative distance of the matrix equation's solution from the closed form."""
    d = data["chains"]
    return [Measured(float(abs(d.exact / _closed_form(d) - 1).max()), 0.0)]


def simulated_closed_form(data: Data) -> list[Measured]:
    """Return the relative distance of the simulated variance from the closed form."""
    d = data["chains"]
    return [_worst(d.variance / _closed_form(d) - 1)]


def occupation(data: Data) -> list[Measured]:
    """Return the distance of the log odds at T = 1 from quadrature, and of Laplace's from it."""
    d = data["occupation"].sel(temperature=1.0)
    odds = _mean(d.simulated)
    exact, laplace = (float(values.isel(seed=0)) for values in (d.exact, d.laplace))
    return [
        Measured(float(_in_standard_errors(abs(odds.value - exact), odds.uncertainty)), 1.0),
        Measured(abs(laplace - exact), 0.0),
    ]


def normality(data: Data) -> list[Measured]:
    """Return the excess kurtosis of batches relative to that of single examples."""
    kurtosis = data["normality"].excess_kurtosis
    single, batch = (kurtosis.isel(batch_size=i, drop=True) for i in (0, 1))
    return [_mean(abs(batch) / abs(single))]


# --- batch sizes ---------------------------------------------------------------------------------


def final_accuracy(d: xr.Dataset, **selected: float) -> xr.DataArray:
    """Return the final test accuracy, without the dimensions that have one value."""
    final = d.test_accuracy.isel(time=-1, drop=True).sel(selected, drop=True)
    single = [name for name in final.dims if final.sizes[name] == 1 and name != "seed"]
    return final.isel(dict.fromkeys(single, 0), drop=True)


def optima(accuracy: xr.DataArray) -> xr.Dataset:
    """Return optimum and collapse with their resamples (see :func:`optimal_batch_sizes`)."""
    return optimal_batch_sizes(accuracy, chance=CHANCE)


def interior_optimum(learning_rate: float) -> Callable[[Data], list[Measured]]:
    """Return the best batch size's lead over the full batch, and over a quarter of itself.

    The second is unknown where the sweep does not go down to a quarter of the best.
    """

    def measure(data: Data) -> list[Measured]:
        d = data["sweep"]
        accuracy = final_accuracy(d.sel(train_size=d.train_size.max()), learning_rate=learning_rate)
        mean = accuracy.mean("seed")
        best = mean.idxmax("batch_size")
        leads = [
            _mean(
                accuracy.sel(batch_size=best, drop=True)
                - accuracy.sel(batch_size=other, method="nearest", drop=True)
            )
            for other in (accuracy.batch_size.max(), best / 4)
        ]
        full, quarter = (Measured(100 * value, 100 * error) for value, error in leads)
        if best / 4 < accuracy.batch_size.min():
            quarter = UNKNOWN
        return [full, Measured(float(_in_standard_errors(*full)), 1.0), quarter]

    return measure


def collapse(data: Data) -> list[Measured]:
    """Return the accuracy at B = 8, and the batch size of collapse."""
    accuracy = final_accuracy(data["sweep"])
    eight = _mean(100 * accuracy.sel(batch_size=8))
    return [eight, _bootstrapped(optima(accuracy).collapse, data["sweep"])]


def optimum_over_collapse(data: Data) -> list[Measured]:
    """Return how far above the collapse the optimum lies, as a ratio."""
    d = data["sweep"]
    found = optima(final_accuracy(d.sel(train_size=d.train_size.max())))
    return [_bootstrapped(found.optimum / found.collapse, d)]


def crossing(data: Data) -> list[Measured]:
    """Return the full batch's largest lead, the updates until it is lost, and the final lead.

    Where it is never lost, the updates are infinite.
    """
    d = data["curves"]
    curves = d.test_accuracy.squeeze(["learning_rate", "momentum", "weight_decay", "train_size"])
    lead = 100 * (curves.isel(batch_size=0, drop=True) - curves.isel(batch_size=1, drop=True))
    behind = lead.mean("seed")
    updates = d.time / float(d.learning_rate.isel(learning_rate=0))

    def last_behind(mean: xr.DataArray) -> float:
        looks = np.flatnonzero(mean < 0)
        if len(looks) and looks[-1] == mean.size - 1:
            return np.inf
        return float(updates[looks[-1]]) if len(looks) else 0.0

    worst = int(behind.argmin("time"))
    early = _mean(-lead.isel(time=worst))
    rng = np.random.default_rng(0)
    n = lead.sizes["seed"]
    resampled = (lead.isel(seed=rng.integers(n, size=n)).mean("seed") for _ in range(200))
    crossings = [last_behind(mean) for mean in (behind, *resampled)]
    return [early, _bootstrapped(crossings, d), _mean(lead.isel(time=-1))]


def overfitting(data: Data) -> list[Measured]:
    """Return the final over the least test cross-entropy, for the small and the full batch."""
    d = data["curves"]
    curves = d.test_loss.squeeze(["learning_rate", "momentum", "weight_decay", "train_size"])
    rise = curves.isel(time=-1, drop=True) / curves.min("time")
    return [_mean(rise.isel(batch_size=i)) for i in (0, 1)]


def _fit(found: xr.Dataset, x: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return exponent and R² of the optimum as a power of x, for every resample."""
    log_x, log_b = np.log(x), np.log(found.optimum)
    dim = x.dims[0]
    centered_x, centered_b = log_x - log_x.mean(dim), log_b - log_b.mean(dim)
    slope = (centered_x * centered_b).sum(dim) / (centered_x**2).sum(dim)
    residual = ((centered_b - slope * centered_x) ** 2).sum(dim)
    return slope, 1 - residual / (centered_b**2).sum(dim)


def exponent(dimension: str) -> Callable[[Data], list[Measured]]:
    """Return the exponent of the optimum in a setting (1/(1 - m) for momentum), and R²."""

    def measure(data: Data) -> list[Measured]:
        found = optima(final_accuracy(data["sweep"]))
        x = found[dimension]
        return [
            _bootstrapped(each, data["sweep"])
            for each in _fit(found, 1 / (1 - x) if dimension == "momentum" else x)
        ]

    return measure


def exponent_in_train_size(smallest: int, largest: int) -> Callable[[Data], list[Measured]]:
    """Return the exponent of the optimum in N over a range of N."""

    def measure(data: Data) -> list[Measured]:
        found = optima(final_accuracy(data["sweep"])).sel(train_size=slice(smallest, largest))
        return [_bootstrapped(_fit(found, found.train_size)[0], data["sweep"])]

    return measure


def flat_peak(data: Data) -> list[Measured]:
    """Return over how many decades of ε the peak is flat, and by how much it falls at the last."""
    peak = 100 * optima(final_accuracy(data["sweep"])).peak
    rates = np.log10(peak.learning_rate)

    def decades(peaks: xr.DataArray) -> float:
        values = peaks.values
        flat = [i for i in range(len(values)) if np.ptp(values[: i + 1]) <= 0.7]
        return float(rates[flat[-1]] - rates[0])

    widths = [decades(peak.isel(resample=i)) for i in range(peak.sizes["resample"])]
    fall = peak.max("learning_rate") - peak.isel(learning_rate=-1)
    return [_bootstrapped(each, data["sweep"]) for each in (widths, fall)]


def peak_range(data: Data) -> list[Measured]:
    """Return the range of the peak accuracy over ε, in points."""
    peak = 100 * optima(final_accuracy(data["sweep"])).peak
    return [_bootstrapped(peak.max("learning_rate") - peak.min("learning_rate"), data["sweep"])]


def more_data(data: Data) -> list[Measured]:
    """Return the least rise of the peak, and the largest of the gap, with N; in standard errors."""
    found = optima(final_accuracy(data["sweep"]))
    gap = found.peak - found.largest_batch

    def rises(values: xr.DataArray) -> NDArray[np.float64]:
        steps = values.diff("train_size").transpose("train_size", "resample")
        return _in_standard_errors(*np.transpose([_bootstrapped(s, data["sweep"]) for s in steps]))

    return [Measured(float(rises(found.peak).min()), 1.0), Measured(float(rises(gap).max()), 1.0)]


def regularized_gap(data: Data) -> list[Measured]:
    """Return the least gap over L2 coefficients, relative to the gap without.

    A coefficient whose peak is over half a point lower does not count: it closes the gap by
    spoiling the small batches.
    """
    found = optima(final_accuracy(data["sweep"]))
    gap = found.peak - found.largest_batch
    harmless = found.peak > found.peak.isel(weight_decay=0) - 0.005
    least = gap.where(harmless).isel(weight_decay=slice(1, None)).min("weight_decay")
    return [_bootstrapped(least / gap.isel(weight_decay=0, drop=True), data["sweep"])]


def convex_gap(data: Data) -> list[Measured]:
    """Return the best mean accuracy less that of the full batch, in points."""
    accuracy = 100 * final_accuracy(data["sweep"])
    best = accuracy.mean("seed").idxmax("batch_size")
    return [_mean(accuracy.sel(batch_size=best) - accuracy.isel(batch_size=-1))]


def noise_scale_curves(d: xr.Dataset) -> list[tuple[str, np.ndarray, xr.DataArray]]:
    """Return for every ε, m and N of a sweep its name, g at each batch size, and the accuracy."""
    curves = []
    varies = d.sizes["train_size"] > 1
    final = d.test_accuracy.isel(time=-1, weight_decay=0)
    for rate in d.learning_rate.values:
        for m in d.momentum.values:
            for size in d.train_size.values:
                curve = final.sel(learning_rate=rate, momentum=m, train_size=size, drop=True)
                curve = curve.where(curve.batch_size < size, drop=True)
                g = noise_scale(rate, int(size), curve.batch_size.values, m)
                label = f"N = {size:,}" if varies else f"ε = {rate:g}, m = {m:g}"
                curves.append((label, g, curve))
    return curves


def _spread(curves: list[tuple[np.ndarray, np.ndarray]]) -> float:
    """Return the root mean square spread, in points, at equal g, within 3 points of the top."""
    grid = np.geomspace(*_common_range(curves), 60)
    table = np.array(
        [
            np.interp(np.log(grid), np.log(g[::-1]), y[::-1], left=np.nan, right=np.nan)
            for g, y in curves
        ]
    )
    count = np.sum(~np.isnan(table), axis=0)
    table = table[:, count > 1]
    mean = np.nanmean(table, axis=0)
    near_top = mean > mean.max() - 3.0
    return float(np.sqrt(np.mean(np.nanvar(table[:, near_top], axis=0, ddof=1))))


def _common_range(curves: list[tuple[np.ndarray, np.ndarray]]) -> tuple[float, float]:
    lows, highs = zip(*((g.min(), g.max()) for g, _ in curves), strict=True)
    return sorted(lows)[1], sorted(highs)[-2]  # where at least two curves are


def collapse_on_noise_scale(largest_rate: float) -> Callable[[Data], list[Measured]]:
    """Return the spread of the accuracy over settings of equal g up to an ε, in points."""

    def measure(data: Data) -> list[Measured]:
        d = data["rates"]
        named = noise_scale_curves(d.sel(learning_rate=d.learning_rate <= largest_rate))
        named += noise_scale_curves(data["momenta"])
        curves = [(g, 100 * y.transpose("seed", "batch_size").values) for _, g, y in named]
        seeds, rng = d.sizes["seed"], np.random.default_rng(0)
        weights = [np.ones(seeds), *rng.multinomial(seeds, np.full(seeds, 1 / seeds), 100)]
        spreads = [_spread([(g, each @ y / seeds) for g, y in curves]) for each in weights]
        return [_bootstrapped(spreads, d)]

    return measure


def joint_scaling(data: Data) -> list[Measured]:
    """Return the largest loss from raising ε and B together from the best B at the least ε."""
    d = data["sweep"]
    accuracy = 100 * final_accuracy(d)
    first = accuracy.isel(learning_rate=0, drop=True)
    best = float(first.mean("seed").idxmax("batch_size"))
    losses = []
    for rate in d.learning_rate.values[1:]:
        factor = rate / d.learning_rate.values[0]
        if factor > 16 or best * factor > float(d.train_size.max()) / 10:
            continue
        scaled = accuracy.sel(learning_rate=rate, drop=True).sel(
            batch_size=best * factor, method="nearest", drop=True
        )
        losses.append(_mean(first.sel(batch_size=best, drop=True) - scaled))
    return [max(losses, default=UNKNOWN)]


# --- McCandlish ----------------------------------------------------------------------------------


def unbiased_estimates(data: Data) -> list[Measured]:
    """Return the relative error of the estimates of |G|² and tr C."""
    ratio = data["estimates"].ratio
    means = [_mean(ratio.sel(quantity=name)) for name in ("gradient_square", "noise_trace")]
    return [Measured(abs(value - 1), error) for value, error in means]


def early_noise_scale(data: Data) -> list[Measured]:
    """Return tr C over |G|² in the first epoch, of averages over the epoch."""
    first = data["run"].sel(epoch=slice(0.0, 1.0)).mean("epoch")
    return [_mean(first.noise_trace / first.gradient_square)]
