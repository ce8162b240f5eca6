r"""Sections 4 and 5 of Smith & Le (2018) on networks: the batch-size experiments with torch.

What is judged, and how, is as on small models in the module beside this. Digits (64-100-10) and
MNIST (784-50-10) take minutes of a CPU; the paper's 784-800-10 takes a GPU. What its learning rate
of 1 means the sources do not tell, so it is run under two conventions: heavy ball at 0.1, which is
damped momentum at 1 for m = 0.9, and heavy ball at 1 with pixels in [0, 0.1]. Glorot's
initialization, batches through the training set in a new order each epoch, equal ε × updates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from paper_figures import _smith_le_2018_noise_measures as measures
from paper_figures import _smith_le_2018_noise_plots as plots
from paper_figures.claims import Check, Criterion
from paper_figures.registry import Figure
from paper_figures.results import Need

# --- results -------------------------------------------------------------------------------------

_GRID = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
_MOMENTA = [0.0, 0.5, 0.8, 0.9, 0.95, 0.975]
_DECAYS = [0.0, 1e-4, 1e-3, 1e-2]


@dataclass(frozen=True)
class Family:
    """The experiments of one network on one data set, and how they are judged.

    ``looser`` are the sheet's limits for small data instead of those for MNIST.
    """

    name: str
    data: str
    rate: float
    rates: Need
    momenta: Need
    sizes: Need
    curves: Need
    decay: Need
    small_batch: int
    looser: bool

    @property
    def needs(self) -> tuple[Need, ...]:
        """All its results."""
        return self.rates, self.momenta, self.sizes, self.curves, self.decay


def _sweep(seeds: int, **options: Any) -> Callable[..., Need]:
    def need(**changes: Any) -> Need:
        parameters = {"momenta": [0.9], **options, **changes}
        gpu, kept = parameters.pop("gpu", False), parameters["dataset"] == "digits"
        quick = {
            "training_time": 5.0 * parameters["learning_rates"][0] / 0.1,
            "looks": min(10, parameters.get("looks", 1)),
            "hidden": 8,
        }
        study = "deep.noise_scale.batch_size_sweep"
        return Need(study, parameters, seeds, 2, quick, kept, gpu)

    return need


def _digits() -> Family:
    need = _sweep(
        10,
        dataset="digits",
        train_sizes=[500],
        test_size=1200,
        hidden=100,
        learning_rates=[0.1],
        batch_sizes=_GRID,
        training_time=200.0,
    )
    return Family(
        "digits network",
        "digits, 64-100-10",
        0.1,
        rates=need(learning_rates=[0.05, 0.1, 0.2, 0.4, 0.8]),
        momenta=need(momenta=_MOMENTA),
        sizes=need(
            train_sizes=[125, 250, 500], batch_sizes=[*_GRID[:12], 96, 125, 192, 250, 384, 500]
        ),
        curves=need(batch_sizes=[16, 500], looks=100),
        decay=need(weight_decays=_DECAYS, batch_sizes=[12, 16, 24, 48, 128, 500]),
        small_batch=16,
        looser=True,
    )


def _mnist() -> Family:
    need = _sweep(
        5,
        dataset="mnist",
        train_sizes=[1000],
        test_size=10_000,
        hidden=50,
        learning_rates=[0.1],
        batch_sizes=_GRID,
        training_time=200.0,
    )
    return Family(
        "mnist network",
        "MNIST, 784-50-10",
        0.1,
        rates=need(
            learning_rates=[0.05, 0.1, 0.2, 0.4, 0.8, 1.6], batch_sizes=[*_GRID, 384, 512, 1000]
        ),
        momenta=need(momenta=_MOMENTA),
        sizes=need(
            train_sizes=[1000, 5000, 20_000, 40_000, 60_000],
            batch_sizes=_GRID[5:15],
            training_time=1000.0,
        ),
        curves=need(batch_sizes=[30, 1000], looks=200, training_time=1000.0),
        decay=need(weight_decays=[*_DECAYS, 0.1], batch_sizes=[12, 16, 24, 48, 128, 1000]),
        small_batch=30,
        looser=False,
    )


def _paper(name: str, convention: str, rate: float, **options: Any) -> Family:
    """Return the experiments at the paper's size, 10,000 updates, under one convention."""
    need = _sweep(
        5,
        dataset="mnist",
        train_sizes=[1000],
        test_size=10_000,
        hidden=800,
        learning_rates=[rate],
        batch_sizes=_GRID,
        training_time=10_000.0 * rate,
        gpu=True,
        **options,
    )
    return Family(
        name,
        f"MNIST, 784-800-10, {convention}",
        rate,
        rates=need(
            learning_rates=[rate * factor for factor in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)],
            batch_sizes=[*_GRID, 384, 512, 768, 1000],
        ),
        momenta=need(momenta=_MOMENTA),
        sizes=need(train_sizes=[1000, 5000, 20_000, 30_000, 40_000, 60_000], batch_sizes=_GRID[5:]),
        curves=need(batch_sizes=[30, 1000], looks=200),
        decay=need(weight_decays=[*_DECAYS, 0.1], batch_sizes=[12, 16, 24, 48, 128, 1000]),
        small_batch=30,
        looser=False,
    )


DIGITS, MNIST = _digits(), _mnist()
PAPER = (
    _paper("paper network", "pixels in [0, 1]", 0.1),
    _paper("scaled network", "pixels in [0, 0.1]", 1.0, pixel_scale=0.1),
)
FAMILIES = (DIGITS, MNIST, *PAPER)


def _gradient_noise(dataset: str, **options: Any) -> Need:
    return Need(
        "deep.noise_scale.gradient_noise",
        {"dataset": dataset, "widths": [100], **options},
        seeds=3,
        quick_seeds=1,
        quick={"train_size": 200, "examples": 50, "draws": 200, "widths": [20], "weights": 5},
        kept=dataset == "digits",
    )


GRADIENT_NOISE = {
    "digits": _gradient_noise("digits"),
    "mnist": _gradient_noise(
        "mnist",
        train_size=10_000,
        examples=2000,
        epochs=[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0],
    ),
}
RECORDED = (
    *(need for family in FAMILIES for need in family.needs),
    *GRADIENT_NOISE.values(),
)

# --- claims --------------------------------------------------------------------------------------


def _check(data: str, needs: dict[str, Need], *rest: Any) -> Check:
    return Check("network", data, needs, *rest)


def _interior(family: Family) -> Check:
    points, errors = (0.3, 2.0) if family.looser else (1.0, 3.0)
    return _check(
        f"{family.data}, ε = {family.rate:g}, m = 0.9",
        {"sweep": family.sizes if family.looser else family.rates},
        (
            Criterion("accuracy at the best B less that at B = N, points", low=points),
            Criterion("the same in standard errors", low=errors),
            Criterion("accuracy at the best B less that at a quarter of it, points", low=0.0),
        ),
        measures.interior_optimum(family.rate),
    )


def _failure(family: Family) -> Check:
    if family.looser:
        return _check(
            f"{family.data}, ε = 0.1, m = 0.9",
            {"sweep": family.sizes},
            (Criterion("best batch size relative to that of collapse", 1.0, 2.0),),
            measures.optimum_over_collapse,
        )
    return _check(
        f"{family.data}, ε = {family.rate:g}, m = 0.9",
        {"sweep": family.momenta},
        (
            Criterion("accuracy at B = 8, percent", high=70.0),
            Criterion("batch size of collapse", 5.0, 20.0),
        ),
        _at_momentum(0.9, measures.collapse),
    )


def _at_momentum(m: float, measure: Any) -> Any:
    return lambda data: measure({"sweep": data["sweep"].sel(momentum=[m])})


def _crossing(family: Family) -> Check:
    points = 0.0 if family.looser else 0.5
    return _check(
        f"{family.data}, B = {family.small_batch} and N",
        {"curves": family.curves},
        (
            Criterion("full batch's lead at its largest, points", low=points),
            Criterion("updates until the small batch leads for good", high=2000.0),
            Criterion("small batch's lead at the end, points", low=points),
        ),
        measures.crossing,
    )


def _overfitting(family: Family) -> Check:
    return _check(
        f"{family.data}, B = {family.small_batch} and N",
        {"curves": family.curves},
        tuple(
            Criterion(
                f"final / least test cross-entropy, {batch} batch",
                low=1.05 if family.looser else 1.1,
            )
            for batch in ("small", "full")
        ),
        measures.overfitting,
    )


def _rate_exponent(family: Family) -> Check:
    width = 0.25 if family.looser else 0.2
    return _check(
        f"{family.data}, {_range(family.rates, 'learning_rates', 'ε')}",
        {"sweep": family.rates},
        (
            Criterion("exponent of the best B in ε", 1 - width, 1 + width),
            Criterion("R² of the fit", low=0.0 if family.looser else 0.95),
        ),
        measures.exponent("learning_rate"),
    )


def _flat_peak(family: Family) -> Check:
    if family.looser:
        criteria: Sequence[Criterion] = (Criterion("range of the peak over ε, points", high=0.5),)
        measure = measures.peak_range
    else:
        criteria = (
            Criterion("decades of ε with peaks within 0.7 points", low=1.0),
            Criterion("fall of the peak at the largest ε, points", low=2.0),
        )
        measure = measures.flat_peak
    return _check(
        f"{family.data}, {_range(family.rates, 'learning_rates', 'ε')}",
        {"sweep": family.rates},
        criteria,
        measure,
    )


def _size_exponent(family: Family) -> Check:
    low, high = (125, 500) if family.looser else (20_000, 60_000)
    limits = {"high": 0.5} if family.looser else {"low": 0.7, "high": 1.3}
    return _check(
        f"{family.data}, N = {low:,} to {high:,}",
        {"sweep": family.sizes},
        (Criterion("exponent of the best B in N", **limits),),
        measures.exponent_in_train_size(low, high),
    )


def _more_data(family: Family) -> Check:
    return _check(
        f"{family.data}, {_range(family.sizes, 'train_sizes', 'N')}",
        {"sweep": family.sizes},
        (
            Criterion("least rise of the peak from N to the next, standard errors", low=-1.0),
            Criterion("largest rise of the gap, standard errors", high=1.0),
        ),
        measures.more_data,
    )


def _momentum_exponent(family: Family) -> Check:
    width = 0.25 if family.looser else 0.2
    return _check(
        f"{family.data}, m = 0 to 0.975",
        {"sweep": family.momenta},
        (Criterion("exponent of the best B in 1/(1 - m)", 1 - width, 1 + width),),
        lambda data: measures.exponent("momentum")(data)[:1],
    )


def _regularized(family: Family) -> Check:
    count = len(family.decay.parameters["weight_decays"]) - 1
    return _check(
        f"{family.data}, best of {count} coefficients that keep the peak",
        {"sweep": family.decay},
        (Criterion("gap with L2 relative to that without", high=0.5),),
        measures.regularized_gap,
    )


def _collapse(family: Family) -> Check:
    return _check(
        f"{family.data}, ε ≤ {8 * family.rate:g} and m = 0 to 0.975",
        {"rates": family.rates, "momenta": family.momenta},
        (Criterion("spread over (ε, m) at equal g, points", high=1.0 if family.looser else 0.5),),
        measures.collapse_on_noise_scale(8 * family.rate),
    )


def _joint(family: Family) -> Check:
    return _check(
        f"{family.data}, from the best B at the least ε, B ≤ N/10",
        {"sweep": family.rates},
        (Criterion("largest loss of accuracy, points", high=1.0 if family.looser else 0.5),),
        measures.joint_scaling,
    )


def _range(need: Need, parameter: str, symbol: str) -> str:
    values = need.parameters[parameter]
    return f"{symbol} = {min(values):,g} to {max(values):,g}"


def _normality(data: str, need: Need) -> Check:
    return _check(
        data,
        {"normality": need},
        (Criterion("|excess kurtosis| at B = 30, relative to B = 1", high=0.1),),
        measures.normality,
    )


# The checks that join a claim's others, by its number.
CHECKS: dict[str, tuple[Check, ...]] = {
    number: tuple(check(family) for family in FAMILIES)
    for number, check in {
        "D1": _interior,
        "D2": _failure,
        "D3": _crossing,
        "D4": _overfitting,
        "D5": _rate_exponent,
        "D6": _flat_peak,
        "D7": _size_exponent,
        "D8": _more_data,
        "D9": _momentum_exponent,
        "D10": _regularized,
        "D12": _collapse,
        "D13": _joint,
    }.items()
} | {
    "N5": (
        _normality("MNIST, 784-100-10 at its start, 20 weights", GRADIENT_NOISE["mnist"]),
        _normality("digits, 64-100-10 at its start, 20 weights", GRADIENT_NOISE["digits"]),
    ),
    "T1": (
        _check(
            "MNIST, 784-100-10, N = 10,000, plain SGD, first epoch, 2,000 examples at a time",
            {"run": GRADIENT_NOISE["mnist"]},
            (Criterion("tr C / |G|², ratio of averages", 450.0, 1800.0),),
            measures.early_noise_scale,
        ),
    ),
}

# --- figures -------------------------------------------------------------------------------------


def _of_all(which: str) -> dict[str, Need]:
    return {family.name: getattr(family, which) for family in FAMILIES}


FIGURES = (
    Figure(
        "smith_le_2018_network_figure_3",
        "Networks: test accuracy and cross-entropy along training, small and full batch.",
        _of_all("curves"),
        plots.curves,
    ),
    Figure(
        "smith_le_2018_network_figure_4",
        "Networks: test accuracy against batch size, optimum and collapse.",
        {family.name: family.sizes if family.looser else family.rates for family in FAMILIES},
        plots.batch_sizes,
    ),
    Figure(
        "smith_le_2018_network_figure_5",
        "Networks: the optimum batch size against the learning rate.",
        _of_all("rates"),
        plots.scaling("learning_rate", "ε", "Figure 5: learning rate", "learning rate ε"),
    ),
    Figure(
        "smith_le_2018_network_figure_6",
        "Networks: the optimum batch size against the training-set size.",
        _of_all("sizes"),
        plots.scaling("train_size", "N", "Figure 6: training set", "training-set size N"),
    ),
    Figure(
        "smith_le_2018_network_figure_7",
        "Networks: the optimum batch size against momentum.",
        _of_all("momenta"),
        plots.scaling("momentum", "m", "Figure 7: momentum", "1/(1 - m)", lambda m: 1 / (1 - m)),
    ),
    Figure(
        "smith_le_2018_network_figure_8",
        "Networks: what L2 regularization does to the gap between small and large batches.",
        _of_all("decay"),
        plots.weight_decay,
    ),
    Figure(
        "smith_le_2018_network_collapse",
        "Networks: test accuracy against the noise scale, over ε and m, and over N.",
        {
            f"{family.name}_{kind}": getattr(family, kind)
            for family in FAMILIES
            for kind in ("rates", "momenta", "sizes")
        },
        plots.collapse,
    ),
)
