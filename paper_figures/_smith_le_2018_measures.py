"""What the claims of Smith & Le (2018) are judged by: numbers with error bars from Datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from scipy.stats import spearmanr

from paper_figures._measured import largest_over_seeds, mean_over_seeds
from paper_figures.claims import Measured
from sims.evidence import LABELS

LN2 = float(np.log(2.0))


def _over_seeds(statistic: Callable[[xr.Dataset], float], data: xr.Dataset) -> Measured:
    """Return a statistic of the seed-averaged curves, with its jackknife standard error."""
    n = data.sizes["seed"]
    if n == 1:
        return Measured(statistic(data.mean("seed")), np.nan)
    left_out = [statistic(data.drop_isel(seed=i).mean("seed")) for i in range(n)]
    error = np.sqrt((n - 1) / n * np.sum((np.array(left_out) - np.mean(left_out)) ** 2))
    return Measured(statistic(data.mean("seed")), float(error))


def _labels(data: xr.Dataset, kind: str) -> xr.Dataset:
    return data.sel(labels=kind, drop=True)


def _at(data: xr.DataArray, prior_precision: float) -> xr.DataArray:
    return data.sel(prior_precision=prior_precision, method="nearest")


def _weakest(data: xr.DataArray) -> xr.DataArray:
    return data.isel(prior_precision=0)


def _fraction(condition: xr.DataArray) -> Measured:
    """Return the share of seeds, with its binomial standard error."""
    share = float(condition.mean())
    return Measured(share, float(np.sqrt(share * (1 - share) / condition.size)))


def _log10_ratio_of_minima(data: xr.Dataset) -> float:
    by_evidence = data.log_evidence_ratio.idxmin("prior_precision")
    by_test = data.test_cross_entropy.idxmin("prior_precision")
    return abs(float(np.log10(by_evidence / by_test)))


def _regret(data: xr.Dataset) -> float:
    """Return how much test cross-entropy choosing λ by the evidence costs, nats."""
    chosen = data.test_cross_entropy.isel(
        prior_precision=int(data.log_evidence_ratio.argmin("prior_precision"))
    )
    return float(chosen - data.test_cross_entropy.min())


def _spearman(data: xr.Dataset) -> float:
    return float(spearmanr(data.log_evidence_ratio, data.test_cross_entropy).statistic)


def _steps_to_edge(data: xr.Dataset) -> float:
    best = int(data.log_evidence_ratio.argmin("prior_precision"))
    return float(min(best, data.sizes["prior_precision"] - 1 - best))


def identity_error(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return the errors of equation 9 against the exact evidence and a normal density, nats."""
    d = data["gaussian"]
    routes = [abs(d.laplace - d.exact), abs(d.laplace - d.function_space)]
    return [largest_over_seeds(route) for route in routes]


def quadrature_error(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return the error of Laplace against quadrature for two weights, at N = 20 and 100, nats."""
    return [mean_over_seeds(abs(data["quadrature"].error.sel(train_size=n))) for n in (20, 100)]


def error_against_truth(kind: str) -> Callable[[Mapping[str, xr.Dataset]], list[Measured]]:
    """Return the error of Laplace against thermodynamic integration at the worst λ ≥ 0.1, nats."""

    def measure(data: Mapping[str, xr.Dataset]) -> list[Measured]:
        d = _labels(data["truth"], kind)
        d = d.sel(prior_precision=d.prior_precision >= 0.1)
        gap = d.laplace - d.thermodynamic_integration
        worst = int(abs(gap.mean("seed")).argmax("prior_precision"))
        mean = mean_over_seeds(gap.isel(prior_precision=worst))
        return [Measured(abs(mean.value), mean.uncertainty)]

    return measure


def strong_prior(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return |E| at the strongest prior, for random and for true labels, nats."""
    d = data["memorization"]
    return [mean_over_seeds(abs(_at(_labels(d, kind).log_evidence_ratio, 1e6))) for kind in LABELS]


def invariance(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return relative changes of two log evidences under rescaling, and how sharpness scales."""
    d = data["rescaling"]
    reference = d.sel(scale=1.0)

    def exponent_error(mean: xr.Dataset) -> float:
        return abs(2.0 + float(np.polyfit(np.log(d.scale), np.log(mean.logistic_sharpness), 1)[0]))

    return [
        largest_over_seeds(abs(d.logistic / reference.logistic - 1)),
        largest_over_seeds(abs(d.relu / reference.relu - 1)),
        _over_seeds(exponent_error, d),
    ]


def coordinates(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return least change of Laplace's and largest of the exact log evidence, nats."""
    d = data["coordinates"].isel(seed=0)
    change = abs(d.sel(coordinate="sinh w") - d.sel(coordinate="w"))
    return [Measured(float(change.laplace.min()), 0.0), Measured(float(change.exact.max()), 0.0)]


def memorizes(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return training and test accuracy of random labels at the weakest λ."""
    d = _labels(data["memorization"], "random")
    return [mean_over_seeds(_weakest(d.train_accuracy)), mean_over_seeds(_weakest(d.test_accuracy))]


def generalizes(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return test accuracy of true labels at the weakest λ."""
    return [mean_over_seeds(_weakest(_labels(data["memorization"], "true").test_accuracy))]


def overconfident(at: float) -> Callable[[Mapping[str, xr.Dataset]], list[Measured]]:
    """Return test cross-entropy at one λ, and its distance from ln 2 at λ ≥ 1e5 (random labels)."""

    def measure(data: Mapping[str, xr.Dataset]) -> list[Measured]:
        d = _labels(data["memorization"], "random").test_cross_entropy
        strong = d.sel(prior_precision=d.prior_precision >= 0.99e5)
        return [
            mean_over_seeds(_at(d, at)),
            mean_over_seeds(abs(strong - LN2).max("prior_precision")),
        ]

    return measure


def never_supported(bound: float) -> Callable[[Mapping[str, xr.Dataset]], list[Measured]]:
    """Return share of seeds with E above a bound at every λ, and E at 1e-5 (random labels)."""

    def measure(data: Mapping[str, xr.Dataset]) -> list[Measured]:
        ratio = _labels(data["memorization"], "random").log_evidence_ratio
        return [_fraction(ratio.min("prior_precision") > bound), mean_over_seeds(_at(ratio, 1e-5))]

    return measure


def supported(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return least E, its distance from the grid's edge, and two limits at 1e6 (true labels)."""
    d = _labels(data["memorization"], "true")
    return [
        _over_seeds(lambda mean: float(mean.log_evidence_ratio.min()), d),
        _over_seeds(_steps_to_edge, d),
        mean_over_seeds(_at(d.log_evidence_ratio, 1e6)),
        mean_over_seeds(abs(_at(d.test_cross_entropy, 1e6) - LN2)),
    ]


def same_minimum(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return decades between the minima of E and of the test cross-entropy, and the regret."""
    d = _labels(data["memorization"], "true")
    return [_over_seeds(_log10_ratio_of_minima, d), _over_seeds(_regret, d)]


def regret_alone(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return the second of :func:`same_minimum`."""
    return same_minimum(data)[1:]


def correlated(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return Spearman correlation of E and test cross-entropy, for true and for random labels."""
    d = data["memorization"]
    d = d.sel(prior_precision=d.prior_precision >= 0.99e-5)
    return [_over_seeds(_spearman, _labels(d, kind)) for kind in ("true", "random")]


def highest_evidence_ratio(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return the largest E at the optimum, nats (true labels)."""
    d = _labels(data["memorization"], "true")
    return [_over_seeds(lambda mean: float(mean.log_evidence_ratio.max()), d)]


def stopped_early(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return the least E over λ ≤ 1e-3, nats (true labels, stopped descent)."""
    d = _labels(data["stopped"], "true")
    weak = d.sel(prior_precision=d.prior_precision <= 1.01e-3)
    return [_over_seeds(lambda mean: float(mean.log_evidence_ratio.min()), weak)]


def stopped_at_weakest(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    """Return E at the weakest λ, nats (true labels, stopped descent)."""
    return [mean_over_seeds(_weakest(_labels(data["stopped"], "true").log_evidence_ratio))]
