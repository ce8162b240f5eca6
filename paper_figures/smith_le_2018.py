r"""Figures and claims of Smith & Le, "A Bayesian perspective on generalization and SGD" (2018).

Sections 2 and 3: the evidence of linear models. The experiment is the paper's, at its size on MNIST
(800 training and 10,000 test images of 0 and 1, 785 parameters) and smaller on the digits that come
with scikit-learn. The paper gives neither the grid of regularization coefficients nor the optimizer
nor the pixel scale: here λ runs over half decades, the optimum is converged, and pixels lie in
[0, 1]. Claims marked [memory] could not be checked against the paper's text.

Sections 4 and 5, the noise scale and the batch size, are in the module beside it and join here.
"""

from __future__ import annotations

from typing import Any

from paper_figures import _smith_le_2018_measures as measures
from paper_figures import _smith_le_2018_network_evidence as network_evidence
from paper_figures import _smith_le_2018_noise as noise
from paper_figures import _smith_le_2018_plots as plots
from paper_figures._smith_le_2018_noise import claim, with_checks
from paper_figures.claims import Check, Criterion
from paper_figures.registry import Figure
from paper_figures.results import Need
from sims import evidence


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
    kept=True,
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
RECORDED = (
    MNIST_01,
    MNIST_38,
    MNIST_STOPPED,
    MNIST_RESCALING,
    GROUND_TRUTH,
    *network_evidence.RECORDED,
    *noise.RECORDED,
)

# --- claims -------------------------------------------------------------------------------------


_ON_MNIST = "MNIST 0/1, N = 800, test 10,000"
_ON_MNIST_38 = "MNIST 3/8, N = 800, test 10,000"
_ON_DIGITS = "digits 0/1, N = 60, test 280"
_ON_DIGITS_38 = "digits 3/8, N = 60, test 280"

_EVIDENCE_CLAIMS = (
    claim(
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
            measures.identity_error,
        ),
    ),
    claim(
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
            measures.quadrature_error,
        ),
        *(
            Check(
                "simulation",
                f"digits 3/8, {kind} labels, N = 60, P = 65, thermodynamic integration",
                {"truth": GROUND_TRUTH},
                (Criterion("largest mean |Laplace - exact| over λ ≥ 0.1, nats", high=1.0),),
                measures.error_against_truth(kind),
            )
            for kind in ("true", "random")
        ),
    ),
    claim(
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
                measures.strong_prior,
            )
            for data, need, size in ((_ON_MNIST, MNIST_01, 800), (_ON_DIGITS, DIGITS_01, 60))
        ),
    ),
    claim(
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
                measures.invariance,
            )
            for data, need, limit in (
                ("digits 0/1, N = 60, scales 1e-3 to 1e3", RESCALING, 1e-8),
                ("MNIST 0/1, N = 800, scales 1e-3 to 1e3", MNIST_RESCALING, 1e-6),
            )
        ),
    ),
    claim(
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
            measures.coordinates,
        ),
    ),
    claim(
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
            measures.memorizes,
        ),
        Check(
            "simulation",
            _ON_DIGITS,
            {"memorization": DIGITS_01},
            (
                Criterion("training accuracy at λ = 1e-6", low=1.0),
                Criterion("test accuracy at λ = 1e-6", 0.44, 0.56),
            ),
            measures.memorizes,
        ),
    ),
    claim(
        "L2",
        "Figure 1b",
        "The same model with true labels generalizes well, also at weak regularization.",
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                (Criterion("test accuracy at the weakest λ", low=limit),),
                measures.generalizes,
            )
            for data, need, limit in (
                (_ON_MNIST, MNIST_01, 0.995),
                (_ON_DIGITS, DIGITS_01, 0.985),
                (_ON_DIGITS_38, DIGITS_38, 0.95),
            )
        ),
    ),
    claim(
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
                measures.overconfident(at),
            )
            for data, need, at, least, limit in (
                (_ON_MNIST, MNIST_01, 1e-5, 10.0, 0.002),
                (_ON_DIGITS, DIGITS_01, 1e-6, 5.0, 0.005),
            )
        ),
    ),
    claim(
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
            measures.never_supported(-1.0),
        ),
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                (Criterion("share of seeds with E > -2 nats at every λ", low=0.95),),
                lambda data: measures.never_supported(-2.0)(data)[:1],
            )
            for data, need in ((_ON_DIGITS, DIGITS_01), (_ON_DIGITS_38, DIGITS_38))
        ),
    ),
    claim(
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
                measures.supported,
            )
            for data, need, least, size in (
                (_ON_MNIST, MNIST_01, -400.0, 800),
                (_ON_DIGITS, DIGITS_01, -20.0, 60),
                (_ON_DIGITS_38, DIGITS_38, -20.0, 60),
            )
        ),
    ),
    claim(
        "L6",
        "Figure 2b",
        "E and the test cross-entropy have their minimum at about the same λ.",
        Check(
            "simulation",
            _ON_MNIST_38,
            {"memorization": MNIST_38},
            (Criterion("decades between the two λ", high=0.75),),
            lambda data: measures.same_minimum(data)[:1],
        ),
        Check(
            "simulation",
            _ON_MNIST,
            {"memorization": MNIST_01},
            (Criterion("test cross-entropy lost by choosing λ by E, nats", high=0.003),),
            measures.regret_alone,
        ),
        Check(
            "simulation",
            _ON_DIGITS_38,
            {"memorization": DIGITS_38},
            (
                Criterion("decades between the two λ", high=1.5),
                Criterion("test cross-entropy lost by choosing λ by E, nats", high=0.03),
            ),
            measures.same_minimum,
        ),
    ),
    claim(
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
            measures.correlated,
        ),
        *(
            Check(
                "simulation",
                data,
                {"memorization": need},
                (Criterion("Spearman correlation, true labels", low=0.7),),
                lambda data: measures.correlated(data)[:1],
            )
            for data, need in ((_ON_DIGITS, DIGITS_01), (_ON_DIGITS_38, DIGITS_38))
        ),
    ),
    claim(
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
                measures.highest_evidence_ratio,
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
                ("least seed-mean E over λ ≤ 1e-3", measures.stopped_early),
                (
                    "E at the weakest λ (criterion set after a first look)",
                    measures.stopped_at_weakest,
                ),
            )
        ),
    ),
)

_RANKING = claim(
    "O1",
    "[ours] section 2, on the minima of section 4",
    "The evidence ranks the minima reached at different batch sizes as test accuracy does, and "
    "tells true labels from random ones.",
    *network_evidence.RANKING_CHECKS,
)

CLAIMS = (
    *(with_checks(each, network_evidence.CHECKS) for each in _EVIDENCE_CLAIMS),
    _RANKING,
    *noise.CLAIMS,
)

# --- figures ------------------------------------------------------------------------------------

FIGURES = (
    Figure(
        "smith_le_2018_figure_1",
        "Accuracy of a linear model on random and true labels, against regularization.",
        {"mnist": MNIST_01, "digits": DIGITS_01},
        plots.accuracy,
    ),
    Figure(
        "smith_le_2018_figure_2",
        "Cross-entropy and Bayesian evidence of the same models.",
        {"mnist": MNIST_01, "digits": DIGITS_01},
        plots.evidence,
    ),
    Figure(
        "smith_le_2018_evidence_and_test",
        "Test cross-entropy against evidence, as λ varies.",
        {"mnist": MNIST_01, "mnist_38": MNIST_38, "digits_38": DIGITS_38},
        plots.tracking,
    ),
    Figure(
        "smith_le_2018_laplace_ground_truth",
        "Laplace's evidence against thermodynamic integration and annealed importance sampling.",
        {"truth": GROUND_TRUTH},
        plots.ground_truth,
    ),
    Figure(
        "smith_le_2018_invariance",
        "What rescaled and bent coordinates do to sharpness and evidence.",
        {"rescaling": RESCALING, "coordinates": COORDINATES},
        plots.invariance,
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
        plots.stopped,
    ),
    *network_evidence.FIGURES,
    *noise.FIGURES,
)
