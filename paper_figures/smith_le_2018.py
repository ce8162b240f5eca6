r"""Figures and claims of Smith & Le, "A Bayesian perspective on generalization and SGD" (2018).

Sections 2 and 3: the evidence of linear models. The experiment is the paper's, at its size on MNIST
(800 training and 10,000 test images of 0 and 1, 785 parameters) and smaller on the digits that come
with scikit-learn. The paper gives neither the grid of regularization coefficients nor the optimizer
nor the pixel scale: here λ runs over half decades, the optimum is converged, and pixels lie in
[0, 1]. Claims marked [memory] could not be checked against the paper's text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Drawing
from scipy.stats import spearmanr

from paper_figures.claims import Check, Claim, Criterion, Measured
from paper_figures.registry import Figure
from paper_figures.results import Need
from paper_figures.style import BLUE, GRAY, GREEN, ORANGE, PURPLE, RED
from sims import evidence

PAPER = "Smith & Le (2018), arXiv:1710.06451"
LN2 = float(np.log(2.0))


def _half_decades(lowest: int, highest: int) -> list[float]:
    return [float(10.0 ** (k / 2)) for k in range(2 * lowest, 2 * highest + 1)]


# --- results ------------------------------------------------------------------------------------


def _digits(classes: tuple[int, int], **changes: Any) -> Need:
    parameters = {
        "dataset": "digits",
        "classes": list(classes),
        "train_size": 60,  # so few that the labels can be memorized: 60 < 2 x rank
        "test_size": 280,
        "prior_precisions": _half_decades(-6, 6),
        **changes,
    }
    return Need(evidence.linear_memorization, parameters, seeds=20, quick_seeds=3)


def _mnist(classes: tuple[int, int], **changes: Any) -> Need:
    parameters = {
        "dataset": "mnist",
        "classes": list(classes),
        "train_size": 800,
        "test_size": 10_000,
        "prior_precisions": _half_decades(-8, 6),
        **changes,
    }
    return Need(evidence.linear_memorization, parameters, seeds=20, quick_seeds=1)


DIGITS_01, DIGITS_38 = _digits((0, 1)), _digits((3, 8))
MNIST_01, MNIST_38 = _mnist((0, 1)), _mnist((3, 8))
DIGITS_STOPPED, MNIST_STOPPED = _digits((0, 1), steps=1000), _mnist((0, 1), steps=1000)

GROUND_TRUTH = Need(
    evidence.laplace_accuracy,
    {
        "dataset": "digits",
        "classes": [3, 8],
        "train_size": 60,
        "prior_precisions": [1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0],
        "chains": 16,
        "samples": 60,
        "particles": 32,
        "rungs": 512,
    },
    seeds=5,
    quick_seeds=1,
    quick={"prior_precisions": [0.1, 10.0], "chains": 4, "samples": 20, "rungs": 64},
)
QUADRATURE = Need(
    evidence.laplace_quadrature,
    {"train_sizes": [20, 100], "prior_precision": 1.0},
    seeds=20,
    quick_seeds=2,
)
GAUSSIAN = Need(
    evidence.gaussian_evidence,
    {"train_size": 60, "n_features": 20, "prior_precisions": _half_decades(-3, 3)},
    seeds=20,
    quick_seeds=2,
)
RESCALING = Need(
    evidence.rescaling,
    {
        "dataset": "digits",
        "classes": [0, 1],
        "train_size": 60,
        "prior_precision": 0.1,
        "scales": _half_decades(-3, 3),
    },
    seeds=5,
    quick_seeds=1,
)
MNIST_RESCALING = Need(
    evidence.rescaling,
    {**RESCALING.parameters, "dataset": "mnist", "train_size": 800},
    seeds=5,
    quick_seeds=1,
)
COORDINATES = Need(
    evidence.nonlinear_coordinates,
    {"heads": 7, "tosses": 10, "prior_precisions": _half_decades(-2, 2)},
    seeds=1,
    quick_seeds=1,
)
RECORDED = (MNIST_01, MNIST_38, MNIST_STOPPED, MNIST_RESCALING)

# --- measurements -------------------------------------------------------------------------------


def _mean(values: xr.DataArray) -> Measured:
    """Return the mean over seeds and its standard error."""
    n = values.size
    error = float(values.std(ddof=1)) / np.sqrt(n) if n > 1 else np.nan
    return Measured(float(values.mean()), error)


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


def _largest(values: xr.DataArray) -> Measured:
    """Return the largest value over all seeds, and the spread of the seeds' own largest."""
    per_seed = values.max([name for name in values.dims if name != "seed"])
    spread = float(per_seed.std(ddof=1)) if per_seed.size > 1 else np.nan
    return Measured(float(per_seed.max()), spread)


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


def _identity_error(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = data["gaussian"]
    routes = [abs(d.laplace - d.exact), abs(d.laplace - d.function_space)]
    return [_largest(route) for route in routes]


def _quadrature_error(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    return [_mean(abs(data["quadrature"].error.sel(train_size=n))) for n in (20, 100)]


def _error_against_truth(kind: str) -> Callable[[Mapping[str, xr.Dataset]], list[Measured]]:
    def measure(data: Mapping[str, xr.Dataset]) -> list[Measured]:
        d = _labels(data["truth"], kind)
        d = d.sel(prior_precision=d.prior_precision >= 0.1)
        gap = d.laplace - d.thermodynamic_integration
        worst = int(abs(gap.mean("seed")).argmax("prior_precision"))
        mean = _mean(gap.isel(prior_precision=worst))
        return [Measured(abs(mean.value), mean.uncertainty)]

    return measure


def _strong_prior(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = data["memorization"]
    return [_mean(abs(_at(_labels(d, kind).log_evidence_ratio, 1e6))) for kind in evidence.LABELS]


def _invariance(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = data["rescaling"]
    reference = d.sel(scale=1.0)
    slope = np.polyfit(np.log(d.scale), np.log(d.logistic_sharpness.mean("seed")), 1)[0]
    return [
        _largest(abs(d.logistic / reference.logistic - 1)),
        _largest(abs(d.relu / reference.relu - 1)),
        Measured(abs(2.0 + float(slope)), 0.0),
    ]


def _coordinates(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = data["coordinates"].isel(seed=0)
    change = abs(d.sel(coordinate="sinh w") - d.sel(coordinate="w"))
    return [Measured(float(change.laplace.min()), 0.0), Measured(float(change.exact.max()), 0.0)]


def _memorizes(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = _labels(data["memorization"], "random")
    return [_mean(_weakest(d.train_accuracy)), _mean(_weakest(d.test_accuracy))]


def _generalizes(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    return [_mean(_weakest(_labels(data["memorization"], "true").test_accuracy))]


def _overconfident(at: float) -> Callable[[Mapping[str, xr.Dataset]], list[Measured]]:
    def measure(data: Mapping[str, xr.Dataset]) -> list[Measured]:
        d = _labels(data["memorization"], "random").test_cross_entropy
        strong = d.sel(prior_precision=d.prior_precision >= 0.99e5)
        return [_mean(_at(d, at)), _mean(abs(strong - LN2).max("prior_precision"))]

    return measure


def _never_supported(bound: float) -> Callable[[Mapping[str, xr.Dataset]], list[Measured]]:
    def measure(data: Mapping[str, xr.Dataset]) -> list[Measured]:
        ratio = _labels(data["memorization"], "random").log_evidence_ratio
        return [_fraction(ratio.min("prior_precision") > bound), _mean(_at(ratio, 1e-5))]

    return measure


def _supported(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = _labels(data["memorization"], "true")
    return [
        _over_seeds(lambda mean: float(mean.log_evidence_ratio.min()), d),
        _over_seeds(_steps_to_edge, d),
        _mean(_at(d.log_evidence_ratio, 1e6)),
        _mean(abs(_at(d.test_cross_entropy, 1e6) - LN2)),
    ]


def _same_minimum(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = _labels(data["memorization"], "true")
    return [_over_seeds(_log10_ratio_of_minima, d), _over_seeds(_regret, d)]


def _regret_alone(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    return _same_minimum(data)[1:]


def _correlated(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = data["memorization"]
    d = d.sel(prior_precision=d.prior_precision >= 0.99e-5)
    return [_over_seeds(_spearman, _labels(d, kind)) for kind in ("true", "random")]


def _highest_evidence_ratio(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = _labels(data["memorization"], "true")
    return [_over_seeds(lambda mean: float(mean.log_evidence_ratio.max()), d)]


def _stopped_early(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    d = _labels(data["stopped"], "true")
    weak = d.sel(prior_precision=d.prior_precision <= 1.01e-3)
    return [_over_seeds(lambda mean: float(mean.log_evidence_ratio.min()), weak)]


def _stopped_at_weakest(data: Mapping[str, xr.Dataset]) -> list[Measured]:
    return [_mean(_weakest(_labels(data["stopped"], "true").log_evidence_ratio))]


# --- claims -------------------------------------------------------------------------------------


def _claim(sheet_id: str, where: str, statement: str, *checks: Check) -> Claim:
    return Claim(f"smith_le_2018:{sheet_id}", PAPER, where, statement, checks)


_ON_MNIST = "MNIST 0/1, N = 800, test 10,000"
_ON_MNIST_38 = "MNIST 3/8, N = 800, test 10,000"
_ON_DIGITS = "digits 0/1, N = 60, test 280"
_ON_DIGITS_38 = "digits 3/8, N = 60, test 280"

CLAIMS = (
    _claim(
        "B1",
        "equation 9",
        "Laplace's log evidence is -C(ω₀) - ½ Σ ln(λᵢ/λ); for a Gaussian linear model it is exact.",
        Check(
            "theory",
            "Gaussian linear models, N = 60, P = 20, 13 λ",
            {"gaussian": GAUSSIAN},
            (
                Criterion("largest |Laplace - exact|, nats", high=1e-8),
                Criterion("largest |Laplace - normal density of the labels|, nats", high=1e-8),
            ),
            _identity_error,
        ),
    ),
    _claim(
        "B2",
        "equations 7 to 9",
        "Laplace's approximation of the evidence is accurate near a peaked posterior.",
        Check(
            "theory",
            "logistic models of two weights, λ = 1, quadrature",
            {"quadrature": QUADRATURE},
            (
                Criterion("mean |Laplace - exact| at N = 20, nats", high=0.1),
                Criterion("mean |Laplace - exact| at N = 100, nats", high=0.02),
            ),
            _quadrature_error,
        ),
        *(
            Check(
                "simulation",
                f"digits 3/8, {kind} labels, N = 60, P = 65, thermodynamic integration",
                {"truth": GROUND_TRUTH},
                (Criterion("largest mean |Laplace - exact| over λ ≥ 0.1, nats", high=1.0),),
                _error_against_truth(kind),
            )
            for kind in ("true", "random")
        ),
    ),
    _claim(
        "B3",
        "equation 10",
        "Against the null model -N ln n, E(ω₀) < 0 favours the model; E vanishes as λ grows.",
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                tuple(
                    Criterion(f"mean |E| at λ = 1e6, {kind} labels, nats", high=0.01 * size)
                    for kind in evidence.LABELS
                ),
                _strong_prior,
            )
            for data, need, size in ((_ON_MNIST, MNIST_01, 800), (_ON_DIGITS, DIGITS_01, 60))
        ),
    ),
    _claim(
        "B4",
        "section 2",
        "The evidence does not change when parameters and prior are rescaled; sharpness does.",
        *(
            Check(
                "simulation",
                data,
                {"rescaling": need},
                (
                    Criterion("largest relative change of the logistic log evidence", high=limit),
                    Criterion("largest relative change of the ReLU log evidence", high=limit),
                    Criterion("|2 + exponent of sharpness in the scale|", high=1e-6),
                ),
                _invariance,
            )
            for data, need, limit in (
                ("digits 0/1, N = 60, scales 1e-3 to 1e3", RESCALING, 1e-8),
                ("MNIST 0/1, N = 800, scales 1e-3 to 1e3", MNIST_RESCALING, 1e-6),
            )
        ),
    ),
    _claim(
        "B5",
        "section 2",
        "A nonlinear reparametrization changes Laplace's approximation, not the exact evidence.",
        Check(
            "theory",
            "log odds of a coin, w and sinh w, 9 λ",
            {"coordinates": COORDINATES},
            (
                Criterion("least change of the Laplace log evidence, nats", low=1e-3),
                Criterion("largest change of the exact log evidence, nats", high=1e-6),
            ),
            _coordinates,
        ),
    ),
    _claim(
        "L1",
        "Figure 1a",
        "A linear model of 785 parameters memorizes 800 random labels and tests at chance.",
        Check(
            "simulation",
            _ON_MNIST,
            {"memorization": MNIST_01},
            (
                Criterion("training accuracy at λ = 1e-8", low=0.999),
                Criterion("test accuracy at λ = 1e-8", 0.48, 0.52),
            ),
            _memorizes,
        ),
        Check(
            "simulation",
            _ON_DIGITS,
            {"memorization": DIGITS_01},
            (
                Criterion("training accuracy at λ = 1e-6", low=1.0),
                Criterion("test accuracy at λ = 1e-6", 0.44, 0.56),
            ),
            _memorizes,
        ),
    ),
    _claim(
        "L2",
        "Figure 1b",
        "The same model with true labels generalizes well, also at weak regularization.",
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                (Criterion("test accuracy at the weakest λ", low=limit),),
                _generalizes,
            )
            for data, need, limit in (
                (_ON_MNIST, MNIST_01, 0.995),
                (_ON_DIGITS, DIGITS_01, 0.985),
                (_ON_DIGITS_38, DIGITS_38, 0.95),
            )
        ),
    ),
    _claim(
        "L3",
        "Figure 2a",
        "With random labels the test cross-entropy explodes at weak regularization and tends to "
        "ln 2 as λ grows.",
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                (
                    Criterion(f"test cross-entropy at λ = {at:g}, nats", low=least),
                    Criterion("|test cross-entropy - ln 2| at λ ≥ 1e5, nats", high=limit),
                ),
                _overconfident(at),
            )
            for data, need, at, least, limit in (
                (_ON_MNIST, MNIST_01, 1e-5, 10.0, 0.002),
                (_ON_DIGITS, DIGITS_01, 1e-6, 5.0, 0.005),
            )
        ),
    ),
    _claim(
        "L4",
        "Figure 2a",
        "With random labels E > 0 at every λ: the evidence never supports the model.",
        Check(
            "simulation",
            _ON_MNIST,
            {"memorization": MNIST_01},
            (
                Criterion("share of seeds with E > -1 nat at every λ", low=0.95),
                Criterion("E at λ = 1e-5, nats", low=500.0),
            ),
            _never_supported(-1.0),
        ),
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                (Criterion("share of seeds with E > -2 nats at every λ", low=0.95),),
                lambda data: _never_supported(-2.0)(data)[:1],
            )
            for data, need in ((_ON_DIGITS, DIGITS_01), (_ON_DIGITS_38, DIGITS_38))
        ),
    ),
    _claim(
        "L5",
        "Figure 2b",
        "With true labels E < 0 in an interior range of λ; as λ grows, E returns to 0 from below "
        "and the test cross-entropy to ln 2.",
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                (
                    Criterion("least seed-mean E, nats", high=least),
                    Criterion("grid steps from its λ to the edge", low=1.0),
                    Criterion("E at λ = 1e6, nats", -0.01 * size, 0.0),
                    Criterion("|test cross-entropy - ln 2| at λ = 1e6, nats", high=0.005),
                ),
                _supported,
            )
            for data, need, least, size in (
                (_ON_MNIST, MNIST_01, -400.0, 800),
                (_ON_DIGITS, DIGITS_01, -20.0, 60),
                (_ON_DIGITS_38, DIGITS_38, -20.0, 60),
            )
        ),
    ),
    _claim(
        "L6",
        "Figure 2b",
        "E and the test cross-entropy have their minimum at about the same λ.",
        Check(
            "simulation",
            _ON_MNIST_38,
            {"memorization": MNIST_38},
            (Criterion("decades between the two λ", high=0.75),),
            lambda data: _same_minimum(data)[:1],
        ),
        Check(
            "simulation",
            _ON_MNIST,
            {"memorization": MNIST_01},
            (Criterion("test cross-entropy lost by choosing λ by E, nats", high=0.003),),
            _regret_alone,
        ),
        Check(
            "simulation",
            _ON_DIGITS_38,
            {"memorization": DIGITS_38},
            (
                Criterion("decades between the two λ", high=1.5),
                Criterion("test cross-entropy lost by choosing λ by E, nats", high=0.03),
            ),
            _same_minimum,
        ),
    ),
    _claim(
        "L7",
        "Figure 2",
        "E and the test cross-entropy are strongly correlated over λ.",
        Check(
            "simulation",
            _ON_MNIST,
            {"memorization": MNIST_01},
            (
                Criterion("Spearman correlation, true labels", low=0.9),
                Criterion("Spearman correlation, random labels", low=0.995),
            ),
            _correlated,
        ),
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                (Criterion("Spearman correlation, true labels", low=0.7),),
                lambda data: _correlated(data)[:1],
            )
            for data, need in ((_ON_DIGITS, DIGITS_01), (_ON_DIGITS_38, DIGITS_38))
        ),
    ),
    _claim(
        "L8",
        "Figure 2b",
        "[memory] With true labels E > 0 at the weakest λ. Corrected: at the optimum E < 0 at "
        "every λ; E > 0 there marks gradient descent that was stopped early.",
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                (Criterion("largest seed-mean E over λ, nats", high=0.0),),
                _highest_evidence_ratio,
                success="corrected",
            )
            for data, need in ((_ON_MNIST, MNIST_01), (_ON_DIGITS, DIGITS_01))
        ),
        *(
            Check(
                "simulation",
                f"{data}, 1,000 steps of gradient descent",
                {"stopped": need},
                (Criterion(f"{quantity}, nats", low=0.0),),
                measure,
            )
            for data, need in ((_ON_MNIST, MNIST_STOPPED), (_ON_DIGITS, DIGITS_STOPPED))
            for quantity, measure in (
                ("least seed-mean E over λ ≤ 1e-3", _stopped_early),
                ("E at the weakest λ (criterion set after a first look)", _stopped_at_weakest),
            )
        ),
    ),
)

# --- figures ------------------------------------------------------------------------------------

_TITLES = {
    "digits": "digits 0/1, N = 60, P = 65",
    "mnist": "MNIST 0/1, N = 800, P = 785",
    "digits_38": "digits 3/8, N = 60",
    "mnist_38": "MNIST 3/8, N = 800",
}
_LAMBDA = "prior precision λ (summed cost)"


def _band(axes: Axes, data: xr.DataArray, color: str, label: str, **style: Any) -> None:
    """Draw the mean over seeds and, as a band, the middle two thirds of the seeds."""
    axes.plot(data.prior_precision, data.mean("seed"), color=color, label=label, **style)
    low, high = data.quantile([1 / 6, 5 / 6], "seed")
    axes.fill_between(data.prior_precision, low, high, color=color, alpha=0.18, linewidth=0)


def _grid(rows: int, columns: int, height: float) -> tuple[Drawing, Any]:
    drawing = Drawing(figsize=(7.2, height * rows + 0.3))
    return drawing, drawing.subplots(rows, columns, squeeze=False)


def _seeds(data: Mapping[str, xr.Dataset]) -> str:
    counts = sorted({d.sizes["seed"] for d in data.values()})
    return f"mean of {' or '.join(map(str, counts))} seeds; band: middle two thirds"


def _plot_accuracy(data: Mapping[str, xr.Dataset]) -> Drawing:
    drawing, grid = _grid(len(data), 2, 2.4)
    for row, (name, d) in zip(grid, data.items(), strict=True):
        for axes, kind in zip(row, evidence.LABELS, strict=True):
            curves = _labels(d, kind)
            _band(axes, curves.train_accuracy, BLUE, "training")
            _band(axes, curves.test_accuracy, RED, "test", linestyle="--")
            axes.axhline(0.5, color=GRAY, linewidth=0.8)
            axes.set(xscale="log", ylim=(0.35, 1.04), title=f"{_TITLES[name]}: {kind} labels")
        row[0].set_ylabel("accuracy")
        row[0].legend(loc="lower left")
    for axes in grid[-1]:
        axes.set_xlabel(_LAMBDA)
    drawing.suptitle(f"Figure 1: accuracy against regularization ({_seeds(data)})", fontsize=9)
    return drawing


def _plot_evidence(data: Mapping[str, xr.Dataset]) -> Drawing:
    drawing, grid = _grid(2 * len(data), 2, 2.1)
    for i, (name, d) in enumerate(data.items()):
        for column, kind in enumerate(evidence.LABELS):
            curves = _labels(d, kind)
            entropy, ratio = grid[2 * i, column], grid[2 * i + 1, column]
            _band(entropy, curves.train_cross_entropy, BLUE, "training")
            _band(entropy, curves.test_cross_entropy, RED, "test", linestyle="--")
            entropy.axhline(LN2, color=GRAY, linewidth=0.8)
            entropy.set(xscale="log", yscale="log", title=f"{_TITLES[name]}: {kind} labels")
            entropy.set_ylim(bottom=1e-4)
            _band(ratio, curves.log_evidence_ratio, GREEN, "E")
            ratio.axhline(0.0, color=GRAY, linewidth=0.8)
            ratio.set(xscale="log", xlabel=_LAMBDA)
        grid[2 * i, 0].set_ylabel("cross-entropy\n(nats an example)")
        grid[2 * i, 0].legend(loc="lower right")
        grid[2 * i + 1, 0].set_ylabel("log evidence ratio E\n(nats; < 0: supported)")
    drawing.suptitle(
        f"Figure 2: cross-entropy and evidence ({_seeds(data)}); gray: ln 2 and 0", fontsize=9
    )
    return drawing


def _plot_tracking(data: Mapping[str, xr.Dataset]) -> Drawing:
    drawing, grid = _grid(1, len(data), 2.9)
    for axes, (name, d) in zip(grid[0], data.items(), strict=True):
        curves = _labels(d, "true").mean("seed")
        x, y = curves.log_evidence_ratio, curves.test_cross_entropy
        axes.plot(x, y, color=GRAY, linewidth=0.8)
        points = axes.scatter(
            x, y, c=np.log10(curves.prior_precision), cmap="viridis", s=18, zorder=3
        )
        best = int(x.argmin("prior_precision"))
        axes.plot(x[best], y[best], "s", mfc="none", mec=RED, ms=10, label="best by evidence")
        best = int(y.argmin("prior_precision"))
        axes.plot(x[best], y[best], "o", mfc="none", mec=BLUE, ms=14, label="best on the test set")
        axes.set(yscale="log", xlabel="log evidence ratio E (nats)", title=_TITLES[name])
    grid[0, 0].set_ylabel("test cross-entropy (nats)")
    grid[0, 0].legend(loc="lower right")
    drawing.colorbar(points, ax=grid[0, -1], label="log₁₀ λ")
    drawing.suptitle(
        "Evidence against test cross-entropy, true labels, mean over seeds", fontsize=9
    )
    return drawing


def _plot_ground_truth(data: Mapping[str, xr.Dataset]) -> Drawing:
    d = data["truth"]
    drawing, grid = _grid(1, 2, 2.9)
    for axes, kind in zip(grid[0], evidence.LABELS, strict=True):
        curves = _labels(d, kind)
        truth = curves.thermodynamic_integration
        for name, color, marker, label, shift in (
            ("laplace", RED, "o", "Laplace", 0.93),
            ("annealed_importance_sampling", BLUE, "s", "annealed importance sampling", 1.07),
        ):
            gap = curves[name] - truth
            error = 2 * gap.std("seed", ddof=min(1, d.sizes["seed"] - 1)) / np.sqrt(d.sizes["seed"])
            axes.errorbar(
                d.prior_precision * shift,
                gap.mean("seed"),
                error,
                color=color,
                marker=marker,
                label=label,
                capsize=2,
            )
        axes.axhline(0.0, color=GRAY, linewidth=0.8)
        axes.axhspan(-1.0, 1.0, color=GRAY, alpha=0.12, linewidth=0)
        axes.set(xscale="log", xlabel=_LAMBDA, title=f"digits 3/8, N = 60: {kind} labels")
    grid[0, 0].set_ylabel("log evidence minus\nthermodynamic integration (nats)")
    grid[0, 1].legend(loc="lower right")
    drawing.suptitle(
        f"Where Laplace is right: mean of {d.sizes['seed']} seeds, 2 standard errors; "
        "gray: within 1 nat",
        fontsize=9,
    )
    return drawing


def _plot_invariance(data: Mapping[str, xr.Dataset]) -> Drawing:
    drawing, grid = _grid(1, 3, 2.7)
    for axes, name, title in (
        (grid[0, 0], "logistic", "logistic regression, u = aω"),
        (grid[0, 1], "relu", "two ReLU layers, a and 1/a"),
    ):
        d = data["rescaling"].isel(seed=0)
        axes.plot(
            d.scale,
            d[f"{name}_sharpness"] / d[f"{name}_sharpness"].sel(scale=1.0),
            color=RED,
            marker="o",
            label="sharpness",
        )
        axes.plot(
            d.scale, d[name] / d[name].sel(scale=1.0), color=GREEN, marker="s", label="log evidence"
        )
        axes.set(xscale="log", yscale="log", xlabel="scale a", title=title)
    grid[0, 0].set_ylabel("relative to a = 1")
    grid[0, 0].legend(loc="lower left")
    axes, d = grid[0, 2], data["coordinates"].isel(seed=0)
    for coordinate, color, style in (("w", BLUE, "-"), ("sinh w", ORANGE, "--")):
        gap = d.laplace - d.exact
        axes.plot(
            d.prior_precision,
            gap.sel(coordinate=coordinate),
            color=color,
            linestyle=style,
            marker="o",
            label=f"in {coordinate}",
        )
    axes.axhline(0.0, color=GRAY, linewidth=0.8)
    axes.set(xscale="log", xlabel="prior precision λ", title="a coin's log odds w")
    axes.set_ylabel("Laplace minus exact (nats)")
    axes.legend(loc="lower right")
    drawing.suptitle("Rescaling leaves the evidence; bending leaves only the exact one", fontsize=9)
    return drawing


def _plot_stopped(data: Mapping[str, xr.Dataset]) -> Drawing:
    names = [name for name in ("digits", "mnist") if {name, f"{name}_stopped"} <= data.keys()]
    drawing, grid = _grid(1, len(names), 2.9)
    for axes, name in zip(grid[0], names, strict=True):
        _band(axes, _labels(data[name], "true").log_evidence_ratio, GREEN, "at the optimum")
        stopped = _labels(data[f"{name}_stopped"], "true").log_evidence_ratio
        _band(axes, stopped, PURPLE, "after 1,000 steps", linestyle="--")
        axes.axhline(0.0, color=GRAY, linewidth=0.8)
        axes.set(xscale="log", xlabel=_LAMBDA, title=f"{_TITLES[name]}: true labels")
    grid[0, 0].set_ylabel("log evidence ratio E (nats)")
    grid[0, 0].legend(loc="upper right")
    drawing.suptitle(
        "E > 0 at weak regularization is the mark of gradient descent stopped early", fontsize=9
    )
    return drawing


FIGURES = (
    Figure(
        "smith_le_2018_figure_1",
        "Accuracy of a linear model on random and true labels, against regularization.",
        {"mnist": MNIST_01, "digits": DIGITS_01},
        _plot_accuracy,
    ),
    Figure(
        "smith_le_2018_figure_2",
        "Cross-entropy and Bayesian evidence of the same models.",
        {"mnist": MNIST_01, "digits": DIGITS_01},
        _plot_evidence,
    ),
    Figure(
        "smith_le_2018_evidence_and_test",
        "Test cross-entropy against evidence, as λ varies.",
        {"mnist": MNIST_01, "mnist_38": MNIST_38, "digits_38": DIGITS_38},
        _plot_tracking,
    ),
    Figure(
        "smith_le_2018_laplace_ground_truth",
        "Laplace's evidence against thermodynamic integration and annealed importance sampling.",
        {"truth": GROUND_TRUTH},
        _plot_ground_truth,
    ),
    Figure(
        "smith_le_2018_invariance",
        "What rescaled and bent coordinates do to sharpness and evidence.",
        {"rescaling": RESCALING, "coordinates": COORDINATES},
        _plot_invariance,
    ),
    Figure(
        "smith_le_2018_stopped_early",
        "The evidence at the optimum and after 1,000 steps of gradient descent.",
        {
            "mnist": MNIST_01,
            "mnist_stopped": MNIST_STOPPED,
            "digits": DIGITS_01,
            "digits_stopped": DIGITS_STOPPED,
        },
        _plot_stopped,
    ),
)
