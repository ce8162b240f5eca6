r"""Sections 1 and 2 of Zhang et al. (2017): complexity measures, and randomization in miniature.

The networks are 64-512-10 on scikit-learn's digits, standardized image by image, trained by SGD at
ε = 0.05, m = 0.9 and B = 128: the paper's tests at a size where a CPU takes seconds.
"""

from __future__ import annotations

from paper_figures import _zhang_2017_measures as measures
from paper_figures import _zhang_2017_plots as plots
from paper_figures._zhang_2017_memorization import claim, simulation
from paper_figures.claims import Check, Criterion
from paper_figures.registry import Figure
from paper_figures.results import Need
from sims import capacity

# --- results -------------------------------------------------------------------------------------

NETWORKS = Need(capacity.network_sizes, {"n": 50_000}, seeds=1, quick_seeds=1)
RADEMACHER = Need(
    capacity.rademacher_complexity,
    {"sizes": [32, 64, 128, 256, 512, 1437]},
    seeds=5,
    quick_seeds=2,
    quick={"draws": 100, "linear_fits": 2, "hidden": 16, "updates": 100},
    kept=True,
)
COVER = Need(
    capacity.cover_curve,
    {"n_features": [5, 20, 60], "draws": 200},
    seeds=3,
    quick_seeds=2,
    quick={"draws": 20, "n_features": [5, 20]},
)
STABILITY = Need(
    capacity.stability, {"train_size": 800, "regularization": 0.01}, seeds=20, quick_seeds=2
)
RANDOMIZED = Need(
    capacity.randomized_training,
    {"train_size": 1437, "test_size": 360, "epochs": 150},
    seeds=5,
    quick_seeds=2,
    quick={"train_size": 300, "hidden": 16, "epochs": 3},
    kept=True,
)

RECORDED = (RADEMACHER, RANDOMIZED)

# --- claims --------------------------------------------------------------------------------------

_ON_DIGITS = "digits, 64-512-10, n = 1,437"


CLAIMS = (
    claim(
        "C16",
        "section 2.2",
        "Networks that fit random labels have a Rademacher complexity of about 1, so the bound it "
        "gives is trivial; so is that of the VC dimension.",
        simulation(
            "digits, random signs",
            {"rademacher": RADEMACHER},
            (
                Criterion("2 × accuracy - 1 of a ReLU network, n = 1,437", low=0.99),
                Criterion("the same of theorem 1's network, least over n", low=1.0),
                Criterion("the same of a linear classifier, n = 512", high=0.3),
            ),
            measures.rademacher,
        ),
        Check(
            "theory",
            "the four networks of table 1, n = 50,000",
            {"networks": NETWORKS},
            (Criterion("least VC bound on the risk at zero training error", low=1.0),),
            measures.vc_dimension,
        ),
    ),
    claim(
        "C17",
        "sections 1.2 and 2.2",
        "Uniform stability does not see the labels: it cannot tell a model that generalizes from "
        "one that does not.",
        simulation(
            "digits, ridge regression, n = 800, λ = 0.01",
            {"stability": STABILITY},
            (
                Criterion("output change with random labels over that with true ones", 1 / 3, 3.0),
                Criterion("gap with random labels less that with true ones, points", low=5.0),
            ),
            measures.stability,
        ),
    ),
    claim(
        "C33",
        "table 1",
        "Inception, AlexNet and two MLPs have 1,649,402, 1,387,786, 1,735,178 and 1,209,866 "
        "parameters.",
        Check(
            "theory",
            "counted layer by layer",
            {"networks": NETWORKS},
            (Criterion("largest difference from the printed number", high=0.0),),
            measures.parameter_counts,
        ),
    ),
)

FIGURES = (
    Figure(
        "zhang_2017_rademacher",
        "Rademacher complexity of a linear class, and what learners reach on random labels.",
        {"rademacher": RADEMACHER},
        plots.rademacher,
    ),
    Figure(
        "zhang_2017_cover",
        "The share of labelings that a hyperplane separates, against Cover's count.",
        {"cover": COVER},
        plots.cover,
    ),
    Figure(
        "zhang_2017_stability",
        "Uniform stability and generalization gap under true and random labels.",
        {"stability": STABILITY},
        plots.stability,
    ),
    Figure(
        "zhang_2017_randomized_training",
        "Training curves on true, corrupted and random labels and inputs.",
        {"training": RANDOMIZED},
        plots.randomized_training,
    ),
)
