"""Liu, Papailiopoulos & Achlioptas (2020), "Bad Global Minima Exist and SGD Can Reach Them".

The paper's main text could not be read for this ledger: its statements stand here as its abstracts,
a review and its official code give them, and none of its tables could be verified. The one number
that could is the first abstract's: test accuracy drops by up to 40 %. What is marked "ours" is not
the paper's.

Criteria on the toy were fixed before the recorded run. Its seeds, 0 to 9, had been looked at when
the simulation was built, with settings tuned on seeds 100 to 102. Twenty seeds had been set down;
they were cut to ten for want of time after results of fifteen had been seen, on which every verdict
was the same.
"""

from __future__ import annotations

from paper_figures import _liu_2020_measures as measures
from paper_figures import _liu_2020_networks as networks
from paper_figures import _liu_2020_plots as plots
from paper_figures.claims import Check, Claim, Criterion
from paper_figures.registry import Figure
from paper_figures.results import Need
from sims import bad_minima

PAPER = "Liu et al. (2020), arXiv:1906.02613"

# --- results -------------------------------------------------------------------------------------

# The network has one width in all quick runs, so that its kernels are compiled once.
_SMALL = {"train_size": 40, "hidden": 16, "pretraining_epochs": 2000}

RUNS = Need(
    bad_minima.four_runs,
    {"grid_step": 0.025},
    seeds=10,
    quick_seeds=2,
    quick={**_SMALL, "epochs": 400, "fine_tuning_epochs": 100, "grid_step": 0.1},
    kept=True,
)
GRID = Need(
    bad_minima.regularizers,
    {"learning_rate": 0.003},
    seeds=10,
    quick_seeds=2,
    quick={**_SMALL, "epochs": 100, "grid_step": 0.1},
    kept=True,
)
SCHEDULES = Need(
    bad_minima.early_regularization,
    {"switches": [0, 5, 10, 20, 50, 100, 200, 400], "learning_rate": 0.01},
    seeds=10,
    quick_seeds=2,
    quick={**_SMALL, "switches": [0, 50, 200, 400], "epochs": 400, "grid_step": 0.1},
    kept=True,
)
LINES = Need(
    bad_minima.straight_lines,
    {"points": 41},
    seeds=10,
    quick_seeds=2,
    quick={**_SMALL, "epochs": 100, "points": 5},
    kept=True,
)
CONTROL = Need(
    bad_minima.linear_control,
    {"cases": [[1, 0.0], [1, 0.1], [1, 0.3], [2, 0.1], [5, 0.1]]},
    seeds=10,
    quick_seeds=2,
    quick={"draws": 20},
    kept=True,
)
COPIES = Need(
    bad_minima.linear_control,
    {
        "n_examples": 20,
        "n_features": 200,
        "cases": [[R, Z] for Z in (0.1, 0.5) for R in (1, 2, 4, 6, 8, 10, 12, 15, 20, 30)],
        "draws": 50,
    },
    seeds=5,
    quick_seeds=2,
    quick={"n_examples": 5, "n_features": 50, "draws": 5},
    kept=True,
)

RECORDED = (RUNS, GRID, SCHEDULES, LINES, CONTROL, COPIES, *networks.RECORDED)

# --- claims --------------------------------------------------------------------------------------

_TOY = "the toy of figure 1"
_GRID = f"{_TOY}, all choices of regularizers from both starts"


def _claim(sheet_id: str, where: str, statement: str, *checks: Check) -> Claim:
    return Claim(f"liu_2020:{sheet_id}", PAPER, where, statement, checks)


CLAIMS = (
    _claim(
        "A1",
        "abstract",
        "Vanilla SGD fits random labels of the training inputs.",
        Check(
            "simulation",
            f"{_TOY}, 30,000 epochs",
            {"runs": RUNS},
            (Criterion("accuracy on random labels, in every seed, %", low=95.0),),
            measures.pretrained,
        ),
        *networks.CHECKS["A1"],
    ),
    _claim(
        "A2",
        "abstract",
        "From there, vanilla SGD on the true labels fits all of them.",
        Check(
            "simulation",
            _GRID,
            {"runs": RUNS, "grid": GRID},
            (
                Criterion("training accuracy, in every seed, %", low=100.0),
                Criterion("the same with each choice of regularizers, %", low=100.0),
            ),
            measures.fitted,
        ),
        *networks.CHECKS["A2"],
    ),
    _claim(
        "A3",
        "abstract, version 1",
        "And it does so quickly, not later than from a random start.",
        Check(
            "simulation",
            _GRID,
            {"grid": GRID},
            (
                Criterion("epochs to fit", high=5.0),
                Criterion("the same over those from the random start", high=1.0),
            ),
            measures.quickly,
        ),
        *networks.CHECKS["A3"],
    ),
    _claim(
        "A4",
        "abstract, version 1",
        'The minimum found is bad: test accuracy drops, by "up to 40 %" over all its '
        "settings. (None of the paper's tables could be verified.)",
        Check(
            "simulation",
            _TOY,
            {"runs": RUNS},
            (
                Criterion("drop of accuracy on fresh points, percentage points", low=0.5),
                Criterion(
                    "share of seeds with area error ≥ 0.1 and three times the boundary", low=0.8
                ),
            ),
            measures.bad,
        ),
        Check(
            "simulation",
            f"{_TOY} (criteria ours)",
            {"runs": RUNS},
            (
                Criterion("drop on points of twice the spread, percentage points", low=5.0),
                Criterion("area error over that from the random start", low=5.0),
            ),
            measures.bad_far_out,
        ),
        *networks.CHECKS["A4"],
    ),
    _claim(
        "A5",
        "abstract, version 1",
        "The bad start is made from unlabeled data. (No true label is given to the function that "
        "makes it; here its labels are compared with the true ones.)",
        Check(
            "simulation",
            f"{_TOY} (criterion ours)",
            {"runs": RUNS},
            (Criterion("share of random labels that are true", 0.45, 0.55),),
            measures.labels_unused,
        ),
    ),
    _claim(
        "A6",
        "abstract",
        "With augmentation, weight decay and momentum the bad start does no harm.",
        Check(
            "simulation",
            _GRID,
            {"grid": GRID},
            (
                Criterion("area error from the bad start", high=0.04),
                Criterion("area error from the random start", high=0.04),
                Criterion("drop of accuracy on fresh points, percentage points", -1.0, 1.0),
            ),
            measures.harmless,
        ),
        *networks.CHECKS["A6"],
    ),
    _claim(
        "A7",
        "review 1 of the paper",
        "Any one of the three, or any combination, recovers from the bad start, to some degree.",
        Check(
            "simulation",
            _GRID,
            {"grid": GRID},
            tuple(
                Criterion(f"{choice}: area error from the bad start", high=0.04)
                for choice, (_, weight_decay, _) in measures.CHOICES.items()
                if weight_decay
            ),
            measures.decayed,
        ),
        Check(
            "simulation",
            f"{_GRID}; combinations",
            {"grid": GRID},
            tuple(
                Criterion(f"{choice}: share of the area error repaired", low=0.8)
                for choice in measures.COMBINATIONS
            ),
            measures.combined,
        ),
        Check(
            "simulation",
            f"{_GRID}; single ones (criteria those of combinations)",
            {"grid": GRID},
            tuple(
                Criterion(f"{choice}: share of the area error repaired", low=0.8)
                for choice in measures.SINGLES
            ),
            measures.alone,
        ),
        *networks.CHECKS["A7"],
    ),
    _claim(
        "A8",
        "abstract, version 2",
        "Bad minima are models of high complexity.",
        Check(
            "simulation",
            f"{_TOY}; bad minimum over good one",
            {"runs": RUNS},
            (
                Criterion("l1 path norm", low=50.0),
                Criterion("Frobenius norm", low=3.0),
                Criterion("l2 path norm", low=1.5),
                Criterion("product of spectral norms", low=1.5),
            ),
            measures.complex_models,
        ),
        *networks.CHECKS["A8"],
    ),
    _claim(
        "A9",
        "from memory",
        "Vanilla SGD stays near the bad start, regularized SGD travels far.",
        Check(
            "simulation",
            _TOY,
            {"runs": RUNS},
            (Criterion("vanilla SGD's distance from the start over regularized SGD's", high=0.1),),
            measures.near,
        ),
        *networks.CHECKS["A9"],
    ),
    _claim(
        "A10",
        "from memory",
        "More replicas, or more zeros, make a worse minimum.",
        Check(
            "theory",
            "least squares, n = 20, d = 200, Z = 0.1 and 0.5: the expected harm peaks at nR = d "
            "and falls after it (criteria ours)",
            {"copies": COPIES},
            (
                Criterion("R of most harm, least", low=8.0),
                Criterion("R of most harm, largest", high=12.0),
                Criterion("harm at R = 30 over that at the peak", high=0.1),
            ),
            measures.peaked,
            success="corrected",
        ),
        *networks.CHECKS["A10"],
    ),
    _claim(
        "A11",
        "official code",
        "Bad minima are found for four architectures.",
        *networks.CHECKS["A11"],
    ),
    _claim(
        "A12",
        "figure 1",
        "In the plane the decision boundary is straight from a random start; shattered after "
        "random labels; shattered but right after true ones; straight with regularizers.",
        Check(
            "simulation",
            f"{_TOY} (criteria on the boundary ours)",
            {"runs": RUNS},
            (
                Criterion("random start: regions, least", low=2),
                Criterion("random start: regions, largest", high=2),
                Criterion("random labels: regions, least", low=3),
                Criterion("then true labels: regions, least", low=2),
                Criterion("with regularizers: regions, least", low=2),
                Criterion("with regularizers: regions, largest", high=2),
                Criterion("random labels: boundary over that of the random start", low=5.0),
                Criterion("then true labels: the same", low=3.0),
                Criterion("with regularizers: the same", high=1.2),
            ),
            measures.pictured,
        ),
    ),
    _claim(
        "A13",
        "abstract, version 2",
        "Regularization acts far from optima, too: what it finds stays when it is switched off. "
        "(The paper does not say how long it takes; 50 epochs were set down beforehand.)",
        Check(
            "simulation",
            f"{_TOY}; 50 epochs of weight decay, then none",
            {"schedules": SCHEDULES},
            (Criterion("share of the area error repaired", low=0.8),),
            measures.early,
        ),
        Check(
            "simulation",
            f"{_TOY}; learning rate × weight decay × steps = 2, or late (criteria ours)",
            {"schedules": SCHEDULES},
            (
                Criterion("first 200 epochs: share of the area error repaired", low=0.8),
                Criterion("from epoch 400 on: share of the area error repaired", low=0.8),
            ),
            measures.long_or_late,
        ),
    ),
    _claim(
        "A14",
        "[control] ours",
        "In a linear model, random labels of the same inputs do no harm at all; of copies with "
        "zeros they do.",
        Check(
            "theory",
            "least squares, n = 40, d = 100; R = 1, 2, 5, Z = 0, 0.1, 0.3",
            {"control": CONTROL},
            (
                Criterion("largest effect on the risk at R = 1, Z = 0", high=1e-10),
                Criterion("least expected effect with zeros", low=1e-3),
            ),
            measures.forgotten,
        ),
        Check(
            "simulation",
            "the same, 200 draws of the labels a seed (criteria ours)",
            {"control": CONTROL},
            (
                Criterion(
                    "largest deviation from the expected effect, in standard errors", high=4.5
                ),
                Criterion("least effect with zeros, in standard errors", low=5.0),
            ),
            measures.as_expected,
        ),
    ),
    _claim(
        "O1",
        "[prediction] ours, after Keskar et al. (2017)",
        "The bad minimum is sharper than the good one, and its gradients are noisier.",
        *networks.CHECKS["O1"],
    ),
)

# --- figures -------------------------------------------------------------------------------------

FIGURES = (
    Figure(
        "liu_2020_figure_1",
        "Figure 1: decision maps of the toy's four runs.",
        {"runs": RUNS},
        plots.maps,
    ),
    Figure(
        "liu_2020_bad_minima",
        "Seed by seed: how bad the minima are that vanilla SGD finds from a bad start.",
        {"runs": RUNS},
        plots.bad_minima,
    ),
    Figure(
        "liu_2020_regularizers",
        "What each choice of regularizers makes of a random and of a bad start.",
        {"grid": GRID},
        plots.regularizers,
    ),
    Figure(
        "liu_2020_norms",
        "Norms of the toy's four runs, and how far they travel.",
        {"runs": RUNS},
        plots.norms,
    ),
    Figure(
        "liu_2020_schedules",
        "Weight decay at the beginning only, or at the end only.",
        {"schedules": SCHEDULES},
        plots.schedules,
    ),
    Figure(
        "liu_2020_lines",
        "Loss and accuracy on the straight lines between good and bad minima.",
        {"lines": LINES},
        plots.lines,
    ),
    Figure(
        "liu_2020_linear",
        "The linear control: what random labels of copies leave behind, predicted and measured.",
        {"control": CONTROL, "copies": COPIES},
        plots.linear,
    ),
    *networks.FIGURES,
)
