"""What the claims on SmoothOut's networks are judged by: errors and sharpness, seed by seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from scipy import stats

from paper_figures._measured import largest_over_seeds, least_over_seeds, mean_over_seeds
from paper_figures.claims import Measured

Data = Mapping[str, xr.Dataset]
Measure = Callable[[Data], list[Measured]]


# --- pairs ----------------------------------------------------------------------------------------


def p_value(differences: xr.DataArray) -> Measured:
    """Return that of the t test of differences between paired runs, on both sides."""
    n, mean = differences.size, float(differences.mean())
    if n < 2:
        return Measured(np.nan, np.nan)
    error = float(differences.std(ddof=1)) / np.sqrt(n)
    if not error:
        return Measured(float(mean == 0.0), np.nan)
    return Measured(2.0 * float(stats.t.sf(abs(mean) / error, n - 1)), np.nan)


def ratio_of_means(above: xr.DataArray, below: xr.DataArray) -> Measured:
    """Return a ratio of means over seeds, and its standard error by the jackknife."""
    n, parts = above.size, np.array([above.values, below.values])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio, *left_out = (
            np.divide(*part.mean(axis=1))
            for part in (parts, *(np.delete(parts, seed, axis=1) for seed in range(n) if n > 1))
        )
        error = np.sqrt((n - 1) * np.var(left_out)) if left_out else np.nan
    return Measured(float(ratio), float(error))


def errors(arm: xr.Dataset, strength: float = 0.0) -> xr.DataArray:
    """Return the test errors at a strength, in percent."""
    return 100.0 * arm.test_error.sel(strength=strength, drop=True)


def _gain(data: Data, before: tuple[str, float], after: tuple[str, float]) -> xr.DataArray:
    """Return by how many points the error falls from one run to the other."""
    return errors(data[before[0]], before[1]) - errors(data[after[0]], after[1])


def gains(*pairs: tuple[tuple[str, float], tuple[str, float]]) -> Measure:
    """Return the measure of how far each pair's error falls, in points, and its p-value."""

    def measure(data: Data) -> list[Measured]:
        falls = [_gain(data, *pair) for pair in pairs]
        return [each for fall in falls for each in (mean_over_seeds(fall), p_value(fall))]

    return measure


def falls(*pairs: tuple[tuple[str, float], tuple[str, float]]) -> Measure:
    """Return the measure of how far each pair's error falls, in points."""

    def measure(data: Data) -> list[Measured]:
        return [mean_over_seeds(_gain(data, *pair)) for pair in pairs]

    return measure


# --- errors ---------------------------------------------------------------------------------------


def gap(data: Data) -> list[Measured]:
    """Return by how much the large batch's error is the larger, p, and its training error."""
    lost = _gain(data, ("large", 0.0), ("small", 0.0))
    fitted = 100.0 * data["large"].training_error.sel(strength=0.0, drop=True)
    return [mean_over_seeds(lost), p_value(lost), mean_over_seeds(fitted)]


def closure(data: Data) -> list[Measured]:
    """Return which share of the gap SmoothOut closes at a = 0.06, and the p-value of its gain."""
    won = _gain(data, ("large", 0.0), ("large", 0.06))
    lost = _gain(data, ("large", 0.0), ("small", 0.0))
    return [ratio_of_means(won, lost), p_value(won)]


def adaptive_on_small_batches(data: Data) -> list[Measured]:
    """Return p of AdaSmoothOut's gain, and by how much its error is below SmoothOut's."""
    won = _gain(data, ("small", 0.0), ("adaptive", 0.6))
    ahead = _gain(data, ("small", 0.1), ("adaptive", 0.6))
    return [p_value(won), mean_over_seeds(ahead)]


def seeds_improved(*pairs: tuple[tuple[str, float], tuple[str, float]]) -> Measure:
    """Return the measure of the share of seeds whose errors fall, pair by pair."""

    def measure(data: Data) -> list[Measured]:
        return [Measured(float((_gain(data, *pair) > 0.0).mean()), np.nan) for pair in pairs]

    return measure


def window(data: Data) -> list[Measured]:
    """Return the best strength, the error at 0.3, and what AdaSmoothOut loses at 1, in points."""
    plain = data["large"].test_error.mean("seed")
    lost = _gain(data, ("adaptive", 1.0), ("large", 0.0))
    return [
        Measured(float(plain.idxmin("strength")), np.nan),
        mean_over_seeds(errors(data["large"], 0.3)),
        mean_over_seeds(lost),
    ]


def under_trained(data: Data) -> list[Measured]:
    """Return what SmoothOut loses at a small learning rate, p, and the training error there."""
    lost = _gain(data, ("unscaled", 0.1), ("unscaled", 0.0))
    error = 100.0 * data["unscaled"].training_error.sel(strength=0.0, drop=True)
    return [mean_over_seeds(lost), p_value(lost), mean_over_seeds(error)]


# --- sharpness ------------------------------------------------------------------------------------


def flatter(batch: str, strength: float, *epsilons: float) -> Measure:
    """Return the measure of Keskar sharpness without noise over that with it."""

    def measure(data: Data) -> list[Measured]:
        sharpness = data[batch].keskar_sharpness
        return [
            ratio_of_means(
                *(sharpness.sel(strength=a, epsilon=epsilon, drop=True) for a in (0.0, strength))
            )
            for epsilon in epsilons
        ]

    return measure


def steadier(data: Data) -> list[Measured]:
    """Return the rise of the loss under noise after SGD over that after SmoothOut."""
    rise = data["large"].expected_sharpness
    return [
        ratio_of_means(*(rise.sel(strength=a, noise=noise, drop=True) for a in (0.0, 0.06)))
        for noise in (0.05, 0.06, 0.12)
    ]


def wider(data: Data) -> list[Measured]:
    """Return the width of SmoothOut's valley over that of SGD's."""
    width = data["large"].valley_width.mean("direction")
    return [ratio_of_means(*(width.sel(strength=a, drop=True) for a in (0.06, 0.0)))]


def flattest(data: Data) -> list[Measured]:
    """Return SmoothOut's sharpness over SAM's, and how much lower SAM's error is, in points."""
    sharpness = [
        data[arm].keskar_sharpness.sel(strength=a, epsilon=5e-3, drop=True)
        for arm, a in (("large", 0.06), ("sam", 0.2))
    ]
    return [
        ratio_of_means(*sharpness),
        mean_over_seeds(_gain(data, ("large", 0.06), ("sam", 0.2))),
    ]


# --- what must hold -------------------------------------------------------------------------------


def unbiased(data: Data) -> list[Measured]:
    """Return the largest deviation of the mean gradient, in standard errors."""
    return [largest_over_seeds(np.abs(data["identities"].gradient_deviation))]


def invariant(data: Data) -> list[Measured]:
    """Return how the rise of the loss under noise changes as the layers are rescaled."""
    d = data["identities"]
    ratio = d.expected_sharpness / d.plain_at_one
    change = np.abs(d.filter_sharpness - d.filter_at_one) / d.filter_at_one_error
    return [largest_over_seeds(change), least_over_seeds(np.maximum(ratio, 1.0 / ratio))]


def lengths(data: Data) -> list[Measured]:
    """Return the largest relative error of a filter's noise."""
    return [largest_over_seeds(data["identities"].length_error)]


def rescaled(data: Data) -> list[Measured]:
    """Return how function and trace of the Hessian change as the layers are rescaled."""
    d = data["identities"]
    return [
        largest_over_seeds(d.function_change),
        largest_over_seeds(np.abs(d.hessian_trace / d.predicted_trace - 1)),
    ]
