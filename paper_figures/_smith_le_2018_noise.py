r"""Sections 4 and 5 of Smith & Le (2018): the noise scale and the batch size, on small models.

The sources at hand give neither the paper's initialization nor its pixel scale nor its momentum's
form, and each moves the optimum batch size. So what is judged is scaling. The digits are
scikit-learn's (64-32-10, 2,000 updates at ε = 0.1); MNIST is averaged to 14 x 14 pixels
(196-100-10, 3,000 or 10,000 updates at ε = 0.1). Both: Glorot's initialization, pixels in [0, 1],
heavy ball, batches without replacement. All runs of a sweep have equal ε × updates, as in the
paper's Figure 5.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from paper_figures import _smith_le_2018_networks as networks
from paper_figures import _smith_le_2018_noise_measures as measures
from paper_figures import _smith_le_2018_noise_plots as plots
from paper_figures.claims import Check, Claim, Criterion
from paper_figures.registry import Figure
from paper_figures.results import Need
from sims import noise_scale

PAPER = "Smith & Le (2018), arXiv:1710.06451"

_GRID = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
_TO_FULL_DIGITS = [*_GRID[:12], 96, 125, 192, 250, 384, 500]
_TO_FULL_MNIST = [*_GRID, 384, 512, 768, 1000]

# --- results -------------------------------------------------------------------------------------


def _digits(*, kept: bool = False, **changes: Any) -> Need:
    parameters = {
        "dataset": "digits",
        "train_sizes": [500],
        "test_size": 1200,
        "hidden": 32,
        "learning_rates": [0.1],
        "momenta": [0.9],
        "batch_sizes": _GRID,
        "training_time": 200.0,
        **changes,
    }
    quick = {"training_time": 5.0, "looks": min(10, parameters.get("looks", 1))}
    return Need(noise_scale.batch_size_sweep, parameters, 10, 2, quick, kept)


def _mnist(**changes: Any) -> Need:
    parameters = {
        "dataset": "mnist",
        "train_sizes": [1000],
        "test_size": 10_000,
        "pool": 2,
        "hidden": 100,
        "learning_rates": [0.1],
        "momenta": [0.9],
        "batch_sizes": _GRID,
        "training_time": 300.0,
        **changes,
    }
    quick = {"training_time": 5.0, "looks": min(10, parameters.get("looks", 1))}
    return Need(noise_scale.batch_size_sweep, parameters, seeds=5, quick_seeds=1, quick=quick)


_MOMENTA = [0.0, 0.5, 0.8, 0.9, 0.95, 0.975]
_DECAYS = [0.0, 1e-4, 1e-3, 1e-2]

DIGITS_RATES = _digits(learning_rates=[0.05, 0.1, 0.2, 0.4, 0.8], kept=True)
DIGITS_SIZES = _digits(train_sizes=[125, 250, 500], batch_sizes=_TO_FULL_DIGITS)
DIGITS_MOMENTA = _digits(momenta=_MOMENTA, kept=True)
DIGITS_CURVES = _digits(batch_sizes=[16, 500], looks=100)
DIGITS_DECAY = _digits(weight_decays=_DECAYS, batch_sizes=[12, 16, 24, 48, 128, 500])
DIGITS_CONVEX = _digits(
    model="softmax", batch_sizes=[8, 16, 32, 64, 125, 250, 500], training_time=400.0
)
MNIST_RATES = _mnist(
    learning_rates=[0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6], batch_sizes=_TO_FULL_MNIST
)
MNIST_SIZES = _mnist(
    train_sizes=[1000, 5000, 20_000, 30_000, 40_000, 60_000],
    batch_sizes=[*_GRID[5:], 384, 512],
    training_time=1000.0,
)
MNIST_MOMENTA = _mnist(momenta=_MOMENTA, training_time=1000.0)  # the paper's 10,000 updates
MNIST_MOMENTA_SHORT = _mnist(momenta=_MOMENTA)  # as long as MNIST_RATES, to be compared with it
MNIST_CURVES = _mnist(batch_sizes=[30, 1000], looks=200, training_time=1000.0)
MNIST_DECAY = _mnist(weight_decays=[*_DECAYS, 0.1], batch_sizes=[12, 16, 24, 48, 128, 1000])
MNIST_CONVEX = _mnist(model="softmax", batch_sizes=_TO_FULL_MNIST[5:], training_time=1000.0)
# The paper's stated setting, ε = 1 and m = 0.9, under three conventions.
MNIST_CONVENTIONS = {
    "ε = 1, heavy ball, pixels in [0, 1]": {},
    "ε = 1, heavy ball, pixels in [0, 0.1]": {"pixel_scale": 0.1},
    "ε = 1, damped momentum, pixels in [0, 1]": {"dampened": True},
}
MNIST_STATED = {
    name: _mnist(
        learning_rates=[1.0], batch_sizes=_TO_FULL_MNIST, training_time=3000.0, **convention
    )
    for name, convention in MNIST_CONVENTIONS.items()
}

GRADIENT_NOISE = Need(
    noise_scale.gradient_noise,
    {"train_size": 24, "n_features": 3, "batch_sizes": [1, 4, 12, 24], "draws": 100_000},
    seeds=5,
    quick_seeds=2,
    quick={"draws": 2000},
)
# Four settings of equal g, then five of equal ε/(1 - m).
STATIONARY = Need(
    noise_scale.stationary_covariance,
    {
        "settings": [
            [0.01, 1, 0.0],
            [0.01 * 255 / 63, 4, 0.0],
            [0.01 * 255 / 15, 16, 0.0],
            [0.01 * 255 / 3, 64, 0.0],
            *([0.02 * (1 - m), 8, m] for m in (0.0, 0.5, 0.8, 0.9, 0.95)),
        ],
        "train_size": 256,
        "curvatures": [0.055, 0.25, 0.5, 1.0, 2.0],
        "burn_in": 20_000,
        "steps": 1_000_000,
    },
    seeds=10,
    quick_seeds=2,
    quick={"burn_in": 1000, "steps": 20_000},
)
OCCUPATION = Need(
    noise_scale.basin_occupation,
    {"temperatures": [0.6, 0.8, 1.0, 1.25, 1.6]},
    seeds=5,
    quick_seeds=2,
    quick={"steps": 2000, "burn_in": 1000},
)
KRAMERS = Need(
    noise_scale.kramers_times,
    {"temperatures": [0.5, 0.33, 0.25, 0.2, 0.17]},
    seeds=4,
    quick_seeds=2,
    quick={"paths": 32, "temperatures": [0.5, 0.33]},
)
TWO_BATCHES = Need(noise_scale.two_batch_estimates, {"steps": 20_000}, seeds=5, quick_seeds=2)
DIGITS_NORMALITY = Need(
    noise_scale.gradient_normality,
    {"dataset": "digits", "train_size": 500, "hidden": 800, "batch_sizes": [1, 30]},
    seeds=5,
    quick_seeds=2,
    quick={"draws": 5000},
)
MNIST_NORMALITY = Need(
    noise_scale.gradient_normality,
    {"dataset": "mnist", "train_size": 1000, "hidden": 800, "batch_sizes": [1, 30]},
    seeds=5,
    quick_seeds=1,
    quick={"draws": 5000},
)
MNIST_SIMPLE_NOISE = Need(
    noise_scale.gradient_noise_scale,
    {
        "dataset": "mnist",
        "train_size": 10_000,
        "hidden": 800,
        "learning_rate": 0.1,
        "batch_size": 32,
        "epochs": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 2.0, 3.0, 5.0],
    },
    seeds=5,
    quick_seeds=1,
    quick={"train_size": 1000, "hidden": 50},
)

RECORDED = (
    DIGITS_RATES,
    DIGITS_MOMENTA,
    MNIST_RATES,
    MNIST_SIZES,
    MNIST_MOMENTA,
    MNIST_MOMENTA_SHORT,
    MNIST_CURVES,
    MNIST_DECAY,
    MNIST_CONVEX,
    *MNIST_STATED.values(),
    MNIST_NORMALITY,
    MNIST_SIMPLE_NOISE,
    *networks.RECORDED,
)

# --- claims --------------------------------------------------------------------------------------

_ON_DIGITS = "digits, 64-32-10, N = 500"
_ON_MNIST = "MNIST 14x14, 196-100-10, N = 1,000"


def claim(sheet_id: str, where: str, statement: str, *checks: Check) -> Claim:
    """Return a claim of this paper, by its number in the list of claims."""
    return Claim(f"smith_le_2018:{sheet_id}", PAPER, where, statement, checks)


def _simulation(data: str, needs: dict[str, Need], *rest: Any, **more: Any) -> Check:
    return Check("simulation", data, needs, *rest, **more)


def with_checks(claim: Claim, further: Mapping[str, Sequence[Check]]) -> Claim:
    """Return a claim with the further checks that stand under its number."""
    number = claim.id.partition(":")[2]
    return replace(claim, checks=(*claim.checks, *further.get(number, ())))


_NOISE_CLAIMS = (
    claim(
        "N1",
        "before equation 12",
        "Minibatch noise has covariance N(N/B - 1) F in the summed gradient: without the -1 with "
        "replacement, and zero at B = N without.",
        _simulation(
            "Gaussian gradients, N = 24, three samplers, 1e5 draws",
            {"noise": GRADIENT_NOISE},
            (
                Criterion("largest |trace / theory - 1|", high=0.03),
                Criterion("trace at B = N without replacement", high=1e-20),
            ),
            measures.noise_covariance,
        ),
    ),
    claim(
        "N2",
        "equation 13",
        "Settings of equal g = ε(N/B - 1) have equal stationary covariance at small ε; beyond, it "
        "grows as 1/(2 - εh).",
        _simulation(
            "quadratic loss, N = 256, B = 1 to 64 at equal g",
            {"chains": STATIONARY},
            (
                Criterion("largest |variance / mean over settings - 1| at εh ≤ 0.05", high=0.05),
                Criterion("largest |variance / discrete theory - 1|, εh up to 1.7", high=0.05),
            ),
            measures.equal_noise,
        ),
    ),
    claim(
        "N3",
        "appendix D",
        "Momentum multiplies the noise scale by 1/(1 - m).",
        _simulation(
            "quadratic loss, m = 0 to 0.95 at equal ε/(1 - m)",
            {"chains": STATIONARY},
            (
                Criterion(
                    "largest |variance / (εc / 2h(1 - m)) - 1| at εh ≤ 0.05(1 - m)", high=0.05
                ),
                Criterion("largest |variance / discrete theory - 1|", high=0.05),
            ),
            measures.momentum_factor,
        ),
    ),
    claim(
        "N4",
        "appendix A",
        "Langevin dynamics at temperature 1 occupies basins by their evidence.",
        _simulation(
            "a narrow deep and a wide shallow well on the line",
            {"occupation": OCCUPATION},
            (
                Criterion("|log odds - quadrature| at T = 1, standard errors", high=3.0),
                Criterion("|Laplace evidence ratio - quadrature| at T = 1, nats", high=0.1),
            ),
            measures.occupation,
        ),
    ),
    claim(
        "N5",
        "appendix C, Figure 9",
        "A softmax weight's gradient over batches of 30 is much closer to Gaussian than over "
        "single examples.",
        *(
            _simulation(
                data,
                {"normality": need},
                (Criterion("|excess kurtosis| at B = 30, relative to B = 1", high=0.1),),
                measures.normality,
            )
            for data, need in (
                ("MNIST, 784-800-10 at its start", MNIST_NORMALITY),
                ("digits, 64-800-10 at its start", DIGITS_NORMALITY),
            )
        ),
    ),
)

_BATCH_CLAIMS = (
    claim(
        "D1",
        "Figure 4b",
        "Test accuracy has an optimum at a batch size well below the training set.",
        _simulation(
            f"{_ON_MNIST}, ε = 0.1, m = 0.9",
            {"sweep": MNIST_RATES},
            (
                Criterion("accuracy at the best B less that at B = N, points", low=1.0),
                Criterion("the same in standard errors", low=3.0),
                Criterion("accuracy at the best B less that at a quarter of it, points", low=0.0),
            ),
            measures.interior_optimum(0.1),
        ),
        _simulation(
            f"{_ON_DIGITS}, ε = 0.1, m = 0.9",
            {"sweep": DIGITS_SIZES},
            (
                Criterion("accuracy at the best B less that at B = N, points", low=0.3),
                Criterion("the same in standard errors", low=2.0),
                Criterion("accuracy at the best B less that at a quarter of it, points", low=0.0),
            ),
            measures.interior_optimum(0.1),
        ),
    ),
    claim(
        "D2",
        "Figure 4a",
        "Training fails at batch sizes below about 10.",
        *(
            _simulation(
                f"{_ON_MNIST}, m = 0.9, {name}",
                {"sweep": need},
                (
                    Criterion("accuracy at B = 8, percent", high=70.0),
                    Criterion("batch size of collapse", 5.0, 20.0),
                ),
                measures.collapse,
            )
            for name, need in MNIST_STATED.items()
        ),
        _simulation(
            f"{_ON_DIGITS}, ε = 0.1, m = 0.9",
            {"sweep": DIGITS_SIZES},
            (Criterion("best batch size relative to that of collapse", 1.0, 2.0),),
            measures.optimum_over_collapse,
        ),
    ),
    claim(
        "D3",
        "Figure 3a",
        "A small batch is slower at first and better later.",
        _simulation(
            f"{_ON_MNIST}, ε = 0.1, m = 0.9, B = 30 and 1,000",
            {"curves": MNIST_CURVES},
            (
                Criterion("full batch's lead at its largest, points", low=0.5),
                Criterion("updates until the small batch leads for good", high=2000.0),
                Criterion("small batch's lead at the end, points", low=0.5),
            ),
            measures.crossing,
        ),
        _simulation(
            f"{_ON_DIGITS}, ε = 0.1, m = 0.9, B = 16 and 500",
            {"curves": DIGITS_CURVES},
            (
                Criterion("full batch's lead at its largest, points", low=0.0),
                Criterion("updates until the small batch leads for good", high=2000.0),
                Criterion("small batch's lead at the end, points", low=0.0),
            ),
            measures.crossing,
        ),
    ),
    claim(
        "D4",
        "Figure 3b",
        "Test cross-entropy passes a minimum and rises, for small and full batches.",
        *(
            _simulation(
                data,
                {"curves": need},
                tuple(
                    Criterion(f"final / least test cross-entropy, {batch} batch", low=limit)
                    for batch in ("small", "full")
                ),
                measures.overfitting,
            )
            for data, need, limit in (
                (f"{_ON_MNIST}, ε = 0.1, m = 0.9, B = 30 and 1,000", MNIST_CURVES, 1.1),
                (f"{_ON_DIGITS}, ε = 0.1, m = 0.9, B = 16 and 500", DIGITS_CURVES, 1.05),
            )
        ),
    ),
    claim(
        "D5",
        "Figure 5b",
        "The optimum batch size is proportional to the learning rate.",
        _simulation(
            f"{_ON_MNIST}, ε = 0.025 to 1.6",
            {"sweep": MNIST_RATES},
            (
                Criterion("exponent of the best B in ε", 0.8, 1.2),
                Criterion("R² of the fit", low=0.95),
            ),
            measures.exponent("learning_rate"),
        ),
        _simulation(
            f"{_ON_DIGITS}, ε = 0.05 to 0.8",
            {"sweep": DIGITS_RATES},
            (Criterion("exponent of the best B in ε", 0.75, 1.25),),
            lambda data: measures.exponent("learning_rate")(data)[:1],
        ),
    ),
    claim(
        "D6",
        "Figure 5a",
        "The peak accuracy does not depend on the learning rate until it is large, then falls.",
        _simulation(
            f"{_ON_MNIST}, ε = 0.025 to 1.6",
            {"sweep": MNIST_RATES},
            (
                Criterion("decades of ε with peaks within 0.7 points", low=1.0),
                Criterion("fall of the peak at the largest ε, points", low=2.0),
            ),
            measures.flat_peak,
        ),
        _simulation(
            f"{_ON_DIGITS}, ε = 0.05 to 0.8",
            {"sweep": DIGITS_RATES},
            (Criterion("range of the peak over ε, points", high=0.5),),
            measures.peak_range,
        ),
    ),
    claim(
        "D7",
        "Figure 6b",
        "The optimum batch size is proportional to the training-set size above N ≈ 20,000; below, "
        "it hardly depends on it.",
        _simulation(
            "MNIST 14x14, 196-100-10, N = 20,000 to 60,000, 10,000 updates",
            {"sweep": MNIST_SIZES},
            (Criterion("exponent of the best B in N", 0.7, 1.3),),
            measures.exponent_in_train_size(20_000, 60_000),
        ),
        *(
            _simulation(
                data,
                {"sweep": need},
                (Criterion("exponent of the best B in N", high=0.5),),
                measures.exponent_in_train_size(*sizes),
            )
            for data, need, sizes in (
                ("MNIST 14x14, N = 1,000 to 20,000", MNIST_SIZES, (1000, 20_000)),
                ("digits, N = 125 to 500", DIGITS_SIZES, (125, 500)),
            )
        ),
    ),
    claim(
        "D8",
        "Figure 6a",
        "With more training data the peak accuracy rises and the gap to large batches shrinks.",
        *(
            _simulation(
                data,
                {"sweep": need},
                (
                    Criterion(
                        "least rise of the peak from N to the next, standard errors", low=-1.0
                    ),
                    Criterion("largest rise of the gap, standard errors", high=1.0),
                ),
                measures.more_data,
            )
            for data, need in (
                ("MNIST 14x14, 196-100-10, N = 1,000 to 60,000", MNIST_SIZES),
                ("digits, 64-32-10, N = 125 to 500", DIGITS_SIZES),
            )
        ),
    ),
    claim(
        "D9",
        "Figure 7b",
        "The optimum batch size is proportional to 1/(1 - m).",
        *(
            _simulation(
                f"{data}, ε = 0.1, m = 0 to 0.975",
                {"sweep": need},
                (Criterion("exponent of the best B in 1/(1 - m)", 1 - width, 1 + width),),
                lambda data: measures.exponent("momentum")(data)[:1],
            )
            for data, need, width in (
                (_ON_MNIST, MNIST_MOMENTA, 0.2),
                (_ON_DIGITS, DIGITS_MOMENTA, 0.25),
            )
        ),
    ),
    claim(
        "D10",
        "appendix B, Figure 8",
        "L2 regularization shrinks the gap between the best batch size and the full batch.",
        *(
            _simulation(
                f"{data}, best of {count} coefficients that keep the peak",
                {"sweep": need},
                (Criterion("gap with L2 relative to that without", high=0.5),),
                measures.regularized_gap,
            )
            for data, need, count in (
                (_ON_MNIST, MNIST_DECAY, 4),
                (_ON_DIGITS, DIGITS_DECAY, 3),
            )
        ),
    ),
    claim(
        "D11",
        "section 4",
        "[memory] A convex model has no batch-size gap.",
        *(
            _simulation(
                data,
                {"sweep": need},
                (Criterion("accuracy at the best B less that at B = N, points", high=limit),),
                measures.convex_gap,
            )
            for data, need, limit in (
                ("MNIST 14x14, softmax regression, N = 1,000", MNIST_CONVEX, 0.2),
                ("digits, softmax regression, N = 500", DIGITS_CONVEX, 0.5),
            )
        ),
    ),
    claim(
        "D12",
        "section 5",
        "Test accuracy at equal ε × updates is a function of the noise scale g.",
        *(
            _simulation(
                data,
                {"rates": rates, "momenta": momenta},
                (Criterion("spread over (ε, m) at equal g, points", high=limit),),
                measures.collapse_on_noise_scale(0.8),
            )
            for data, rates, momenta, limit in (
                (f"{_ON_MNIST}, ε ≤ 0.8", MNIST_RATES, MNIST_MOMENTA_SHORT, 0.5),
                (f"{_ON_DIGITS}, ε ≤ 0.8", DIGITS_RATES, DIGITS_MOMENTA, 1.0),
            )
        ),
    ),
    claim(
        "D13",
        "section 5",
        "Learning rate and batch size can be raised together at no cost in accuracy.",
        *(
            _simulation(
                f"{data}, from the best B at the least ε, B ≤ N/10",
                {"sweep": need},
                (Criterion("largest loss of accuracy, points", high=limit),),
                measures.joint_scaling,
            )
            for data, need, limit in (
                (_ON_MNIST, MNIST_RATES, 0.5),
                (_ON_DIGITS, DIGITS_RATES, 1.0),
            )
        ),
    ),
    claim(
        "T1",
        "McCandlish et al. (2018), arXiv:1812.06162",
        "The two-batch estimators of the gradient noise scale are unbiased; on MNIST it is about "
        "900 early in training [memory].",
        _simulation(
            "Gaussian gradients, B = 8 and 128",
            {"estimates": TWO_BATCHES},
            (
                Criterion("|estimate / truth - 1| of |G|²", high=0.02),
                Criterion("|estimate / truth - 1| of tr C", high=0.02),
            ),
            measures.unbiased_estimates,
        ),
        _simulation(
            "MNIST, 784-800-10, N = 10,000, plain SGD, first epoch",
            {"run": MNIST_SIMPLE_NOISE},
            (Criterion("tr C / |G|², ratio of averages", 450.0, 1800.0),),
            measures.early_noise_scale,
        ),
    ),
    claim(
        "T2",
        "Liu, Ziyin & Ueda (2021), arXiv:2012.03636",
        "The exact stationary variance of heavy ball is εc(1 + m) / (h(1 - m)(2(1 + m) - εh)).",
        Check(
            "theory",
            "quadratic loss, nine settings",
            {"chains": STATIONARY},
            (Criterion("largest |matrix equation / closed form - 1|", high=1e-12),),
            measures.closed_form,
        ),
        _simulation(
            "the same, simulated",
            {"chains": STATIONARY},
            (Criterion("largest |variance / closed form - 1|", high=0.05),),
            measures.simulated_closed_form,
        ),
    ),
)

CLAIMS = tuple(with_checks(each, networks.CHECKS) for each in (*_NOISE_CLAIMS, *_BATCH_CLAIMS))

# --- figures -------------------------------------------------------------------------------------

FIGURES = (
    Figure(
        "smith_le_2018_figure_3",
        "Test accuracy and cross-entropy along training, for a small and the full batch.",
        {"digits": DIGITS_CURVES, "mnist": MNIST_CURVES},
        plots.curves,
    ),
    Figure(
        "smith_le_2018_figure_4",
        "Test accuracy against batch size: optimum, collapse, and what conventions do.",
        {"digits": DIGITS_SIZES, "mnist": MNIST_RATES, **MNIST_STATED},
        plots.batch_sizes,
    ),
    Figure(
        "smith_le_2018_figure_5",
        "The optimum batch size against the learning rate.",
        {"digits": DIGITS_RATES, "mnist": MNIST_RATES},
        plots.scaling("learning_rate", "ε", "Figure 5: learning rate", "learning rate ε"),
    ),
    Figure(
        "smith_le_2018_figure_6",
        "The optimum batch size against the training-set size.",
        {"digits": DIGITS_SIZES, "mnist": MNIST_SIZES},
        plots.scaling("train_size", "N", "Figure 6: training set", "training-set size N"),
    ),
    Figure(
        "smith_le_2018_figure_7",
        "The optimum batch size against momentum.",
        {"digits": DIGITS_MOMENTA, "mnist": MNIST_MOMENTA},
        plots.scaling("momentum", "m", "Figure 7: momentum", "1/(1 - m)", lambda m: 1 / (1 - m)),
    ),
    Figure(
        "smith_le_2018_figure_8",
        "What L2 regularization does to the gap between small and large batches.",
        {"digits": DIGITS_DECAY, "mnist": MNIST_DECAY},
        plots.weight_decay,
    ),
    Figure(
        "smith_le_2018_figure_9",
        "The distribution of one weight's gradient over examples and over batches.",
        {"digits": DIGITS_NORMALITY, "mnist": MNIST_NORMALITY},
        plots.normality,
    ),
    Figure(
        "smith_le_2018_noise_scale_collapse",
        "Test accuracy against the noise scale, over ε and m, and over N.",
        {
            f"{name}_{kind}": need
            for name, needs in (
                ("digits", (DIGITS_RATES, DIGITS_MOMENTA, DIGITS_SIZES)),
                ("mnist", (MNIST_RATES, MNIST_MOMENTA_SHORT, MNIST_SIZES)),
            )
            for kind, need in zip(("rates", "momenta", "sizes"), needs, strict=True)
        },
        plots.collapse,
    ),
    Figure(
        "smith_le_2018_stationary_covariance",
        "The stationary variance of SGD and heavy ball on a quadratic loss, against theory.",
        {"chains": STATIONARY},
        plots.stationary,
    ),
    Figure(
        "smith_le_2018_occupation",
        "Langevin dynamics: occupation of basins against evidence, and passage times.",
        {"occupation": OCCUPATION, "kramers": KRAMERS},
        plots.occupation,
    ),
    *networks.FIGURES,
)
