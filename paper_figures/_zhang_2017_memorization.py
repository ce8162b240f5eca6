r"""Section 4 and appendix C of Zhang et al. (2017): what finite networks can represent."""

from __future__ import annotations

from typing import Any

from paper_figures import _zhang_2017_measures as measures
from paper_figures import _zhang_2017_plots as plots
from paper_figures.claims import Check, Claim, Criterion
from paper_figures.registry import Figure
from paper_figures.results import Need
from sims import memorization

PAPER = "Zhang et al. (2017), arXiv:1611.03530"

# --- results -------------------------------------------------------------------------------------

_DEPTHS = [2, 4, 10, 30]

CONSTRUCTION = Need(memorization.construction, {"n": 12}, seeds=1, quick_seeds=1)
GAUSSIAN = Need(
    memorization.memorization,
    {"sizes": [100, 300, 1000, 2000, 10_000, 50_000], "n_features": [2, 10, 100]},
    seeds=3,
    quick_seeds=2,
    quick={"sizes": [100, 2000, 50_000], "n_features": [2]},
)
DIGITS = Need(
    memorization.memorization,
    {"dataset": "digits", "sizes": [1797], "classes": 10},
    seeds=5,
    quick_seeds=2,
)
MNIST = Need(
    memorization.memorization,
    {"dataset": "mnist", "sizes": [50_000], "classes": 10},
    seeds=5,
    quick_seeds=1,
    quick={"sizes": [30]},
)
CONDITIONING = Need(
    memorization.conditioning,
    {
        "sizes": [20, 50, 100, 200, 500, 2000],
        "interleavings": [0.0, 0.1, 0.3, 0.45, 0.5, 0.6, 0.75],
    },
    seeds=5,
    quick_seeds=2,
    quick={"sizes": [20, 50, 2000], "interleavings": [0.0, 0.75]},
)
DEPTHS = Need(
    memorization.depths,
    {"n": 600, "n_features": 20, "depths": _DEPTHS},
    seeds=5,
    quick_seeds=2,
)
COST = Need(
    memorization.cost,
    {"sizes": [100, 1000, 4000, 10_000, 100_000, 1_000_000]},
    seeds=1,
    quick_seeds=1,
    quick={"sizes": [100, 1000], "repeats": 1},
    kept=True,
)

RECORDED = (MNIST, COST)

# --- claims --------------------------------------------------------------------------------------


def claim(sheet_id: str, where: str, statement: str, *checks: Check) -> Claim:
    """Return a claim of this paper, by its number in the list of claims."""
    return Claim(f"zhang_2017:{sheet_id}", PAPER, where, statement, checks)


def simulation(data: str, needs: dict[str, Need], *rest: Any) -> Check:
    """Return a check at the level of simulations."""
    return Check("simulation", data, needs, *rest)


_MISCOUNTED = Criterion("parameters beyond n (outputs + 1) + d", 0.0, 0.0)

CLAIMS = (
    claim(
        "C01",
        "theorem 1",
        "A ReLU network with one hidden layer and 2n + d weights fits any labels of any n distinct "
        "points in d dimensions.",
        simulation(
            "Gaussian points, d = 2, 10 and 100, random signs",
            {"fits": GAUSSIAN},
            (
                Criterion("largest error at n ≤ 2,000", high=1e-6),
                Criterion("largest error at n = 50,000", high=1e-4),
                _MISCOUNTED,
            ),
            measures.fits_gaussian,
        ),
        *(
            simulation(
                data,
                {"fits": need},
                (
                    Criterion("largest error", high=limit),
                    _MISCOUNTED,
                    Criterion("training accuracy", low=1.0),
                ),
                measures.fits_images,
            )
            for data, need, limit in (
                ("MNIST, n = 50,000, random labels of 10 classes", MNIST, 1e-4),
                ("digits, n = 1,797, random labels of 10 classes", DIGITS, 1e-6),
            )
        ),
    ),
    claim(
        "C02",
        "lemma 1",
        "The matrix of interleaved hinges is lower triangular; its eigenvalues are x_i - b_i, so "
        "it has full rank.",
        simulation(
            "Gaussian points, n ≤ 2,000 (eigenvalues: 500), seven interleavings",
            {"conditioning": CONDITIONING},
            (
                Criterion("largest relative error of an eigenvalue", high=1e-12),
                Criterion("largest entry above the diagonal", high=0.0),
                Criterion("largest (least singular value / least eigenvalue)", high=1.0),
            ),
            measures.lemma,
        ),
    ),
    claim(
        "C03",
        "appendix C",
        "Any interleaving of biases and points gives a solution: in exact arithmetic; in float64 "
        "biases beyond the gaps' middle are unstable. (The second half is derived, not the "
        "paper's.)",
        simulation(
            "Gaussian points, d = 10, random signs",
            {"conditioning": CONDITIONING},
            (
                Criterion("least float64 residual at ρ = 0.75, n = 50", low=1.0),
                Criterion("largest residual in rational arithmetic, n ≤ 50", high=0.0),
                Criterion("largest float64 residual at ρ = 0, n ≤ 2,000", high=1e-6),
            ),
            measures.interleaving,
        ),
    ),
    claim(
        "C04",
        "corollary 1",
        "For every k there is such a network of depth k, width O(n/k) and O(n + d) weights.",
        simulation(
            "n = 600, d = 20, k = 2, 4, 10, 30; hinges split over the layers",
            {"depths": DEPTHS},
            (
                Criterion("largest error", high=1e-8),
                Criterion("largest width - n/k", high=3.0),
                Criterion("largest excess of weights over 8n + d + 10k", high=0.0),
            ),
            measures.depths(""),
        ),
        simulation(
            "the same, by the paper's gates (criteria ours)",
            {"depths": DEPTHS},
            (
                Criterion("largest error", high=1e-6),
                Criterion("largest width - ⌈n/(k - 1)⌉", high=9.0),
                Criterion("largest excess of weights over 8n + d + 10k", high=0.0),
            ),
            measures.depths("gated_"),
        ),
    ),
    claim(
        "C35",
        "[follow-up] Bubeck et al. (2020)",
        "4⌈n/d⌉ ReLUs suffice for n points in general position.",
        simulation(
            "n = 600, d = 20",
            {"depths": DEPTHS},
            (
                Criterion("largest error", high=1e-6),
                Criterion("hidden units", 120, 120),
            ),
            measures.general_position,
        ),
    ),
)

FIGURES = (
    Figure(
        "zhang_2017_construction",
        "Theorem 1's network on twelve points in the plane, and along its projection.",
        {"construction": CONSTRUCTION},
        plots.construction,
    ),
    Figure(
        "zhang_2017_interleaving",
        "Where the biases stand decides: residuals against ρ and n, eigenvalues, singular values.",
        {"conditioning": CONDITIONING},
        plots.interleaving,
    ),
    Figure(
        "zhang_2017_rounding",
        "The error of the fit against n, with and without feedback, and the weights' size.",
        {"fits": GAUSSIAN},
        plots.rounding,
    ),
    Figure(
        "zhang_2017_depth",
        "Width, weights and error of deeper networks.",
        {"depths": DEPTHS},
        plots.depths,
    ),
    Figure(
        "zhang_2017_cost",
        "Time and memory of the construction beside dense solves and beside reading the data.",
        {"cost": COST},
        plots.cost,
    ),
)
