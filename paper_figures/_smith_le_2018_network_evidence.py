"""The evidence of networks: section 2 of Smith & Le (2018), and what the paper did not measure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import spearmanr

from paper_figures import _smith_le_2018_plots as plots
from paper_figures._measured import largest_over_seeds
from paper_figures.claims import Check, Criterion, Measured
from paper_figures.registry import Figure
from paper_figures.results import Need

Data = Mapping[str, xr.Dataset]

# --- results -------------------------------------------------------------------------------------

IDENTITIES = Need(
    "deep.evidence.evidence_identities",
    {"train_size": 60, "hidden": 12},
    seeds=3,
    quick_seeds=2,
    quick={"train_size": 30, "hidden": 3},
    kept=True,
)
# Weak priors hardly tell the minima apart, strong ones leave few of them: both, before the run.
MINIMA = Need(
    "deep.evidence.evidence_of_minima",
    {
        "dataset": "digits",
        "train_size": 300,
        "hidden": 20,
        "prior_precisions": [0.01, 1.0],
        "batch_sizes": [4, 8, 16, 32, 64, 128, 300],
        "steps": 20_000,
    },
    seeds=5,
    quick_seeds=2,
    quick={"train_size": 40, "hidden": 3, "steps": 50, "batch_sizes": [8, 16, 40]},
    kept=True,
)
RECORDED = (IDENTITIES, MINIMA)

# --- measures ------------------------------------------------------------------------------------


def exactness(data: Data) -> list[Measured]:
    """Return the largest distance from the exact evidence of a linear model."""
    return [largest_over_seeds(abs(data["identities"].linear_error))]


def null_model(data: Data) -> list[Measured]:
    """Return the largest |E| under a prior that leaves no freedom."""
    return [largest_over_seeds(abs(data["identities"].null_ratio))]


def invariance(data: Data) -> list[Measured]:
    """Return the largest relative change of the evidence, and of sharpness from its law."""
    d = data["identities"]
    product = d.sharpness * d.scale**2
    return [
        largest_over_seeds(abs(d.rescaled / d.log_evidence)),
        largest_over_seeds(abs(product / product.isel(scale=0, drop=True) - 1.0)),
    ]


def ranking(prior_precision: float) -> Callable[[Data], list[Measured]]:
    """Return how evidence and test accuracy agree over B, and the extreme means of E."""

    def measure(data: Data) -> list[Measured]:
        d = data["minima"].sel(prior_precision=prior_precision)
        ratio = d.log_evidence_ratio.transpose("seed", "labels", "batch_size")
        true, random = (ratio.sel(labels=kind).values for kind in ("true", "random"))
        accuracy = d.test_accuracy.sel(labels="true").transpose("seed", "batch_size").values
        return [
            _resampled(lambda rows: _rank_correlation(-true[rows], accuracy[rows]), len(true)),
            _resampled(lambda rows: float(true[rows].mean(0).max()), len(true)),
            _resampled(lambda rows: float(random[rows].mean(0).min()), len(true)),
        ]

    return measure


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Return Spearman's, over the last axis, of means over seeds."""
    return float(spearmanr(one.mean(0), other.mean(0)).statistic)


def _resampled(statistic: Callable[[NDArray[np.int64]], float], seeds: int) -> Measured:
    """Return a statistic of the seeds, and its bootstrapped standard error."""
    value = statistic(np.arange(seeds))
    if seeds == 1:
        return Measured(value, np.nan)
    rng = np.random.default_rng(0)
    others = [statistic(rng.integers(seeds, size=seeds)) for _ in range(200)]
    return Measured(value, float(np.std(others, ddof=1)))


# --- claims --------------------------------------------------------------------------------------


def _check(data: str, needs: Mapping[str, Need], *rest: Any) -> Check:
    return Check("network", data, needs, *rest)


# The checks that join a claim's others, by its number.
CHECKS: dict[str, tuple[Check, ...]] = {
    "B1": (
        _check(
            "torch.nn.Linear with squared errors, N = 60, P = 20, 5 λ, two forms of the curvature",
            {"identities": IDENTITIES},
            (Criterion("largest |Laplace - exact|, nats", high=1e-8),),
            exactness,
        ),
    ),
    "B3": (
        _check(
            "digits, 64-12-10, N = 60",
            {"identities": IDENTITIES},
            (Criterion("largest |E| at λ = 1e6, nats", high=0.01 * 60),),
            null_model,
        ),
    ),
    "B4": (
        _check(
            "digits, 64-12-10, N = 60, first layer times a, second over a, a = 1e-3 to 1e3",
            {"identities": IDENTITIES},
            (
                Criterion("largest relative change of the log evidence", high=1e-8),
                Criterion(
                    "largest |sharpness of the first layer times a² / constant - 1|", high=1e-6
                ),
            ),
            invariance,
        ),
    ),
}

RANKING_CHECKS = tuple(
    _check(
        f"digits, 64-20-10, N = 300, B = 4 to 300, λ = {precision:g}, criteria ours",
        {"minima": MINIMA},
        (
            Criterion("rank correlation over B of evidence and test accuracy, true labels", 0.7),
            Criterion("largest mean E over B, true labels, nats", high=0.0),
            Criterion("least mean E over B, random labels, nats", low=0.0),
        ),
        ranking(precision),
    )
    for precision in MINIMA.parameters["prior_precisions"]
)

FIGURES = (
    Figure(
        "smith_le_2018_network_evidence",
        "Evidence and test accuracy of the minima reached at different batch sizes.",
        {"minima": MINIMA},
        plots.minima,
    ),
)
