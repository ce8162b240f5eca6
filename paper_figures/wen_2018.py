"""Wen et al. (2018), "SmoothOut: Smoothing Out Sharp Minima to Improve Generalization".

The paper's main text could not be read for this ledger: its statements stand here as its abstracts,
its supplement and its official code give them. What is marked "ours" is derived, not the paper's.
"""

from __future__ import annotations

from paper_figures import _wen_2018_measures as measures
from paper_figures import _wen_2018_networks as networks
from paper_figures import _wen_2018_plots as plots
from paper_figures._wen_2018_networks import claim
from paper_figures.claims import Check, Criterion
from paper_figures.registry import Figure
from paper_figures.results import Need
from sims import smoothout

# --- results -------------------------------------------------------------------------------------

_FEW_DRAWS = {"draws": 2000}

RASTRIGIN = Need(
    smoothout.smoothed_landscapes,
    {"landscape": "rastrigin", "strengths": [0.2, 0.45, 0.5, 0.7]},
    seeds=1,
    quick_seeds=1,
)
WELLS = Need(
    smoothout.smoothed_landscapes,
    {
        "landscape": "sharp-and-flat",
        "strengths": [0.1, 0.2, 0.4],
        "lower": -3.0,
        "upper": 3.0,
    },
    seeds=1,
    quick_seeds=1,
)
COUNTS = Need(
    smoothout.smoothed_landscapes,
    {
        "landscape": "rastrigin",
        "strengths": [round(0.02 * k, 2) for k in range(1, 61)],
        "points": 2,
    },
    seeds=1,
    quick_seeds=1,
    quick={"strengths": [0.2, 0.5, 1.0]},
)
MERGING = Need(smoothout.merging, {}, seeds=1, quick_seeds=1)
POINTS = Need(
    smoothout.symmetric_points, {"strength": 0.5}, seeds=5, quick_seeds=2, quick=_FEW_DRAWS
)
LIFT = Need(
    smoothout.lift,
    {"outer_radii": [0.5, 0.9, 0.99], "inner_shares": [0.5, 0.9, 0.99]},
    seeds=3,
    quick_seeds=2,
    quick=_FEW_DRAWS,
    kept=True,
)
OVERTAKING = Need(
    smoothout.overtaking,
    {"draws": 20_000},
    seeds=3,
    quick_seeds=2,
    quick=_FEW_DRAWS,
    kept=True,
)
LAWS = Need(
    smoothout.noise_laws,
    {"draws": 200_000},
    seeds=3,
    quick_seeds=2,
    quick=_FEW_DRAWS,
    kept=True,
)
ELIMINATION = Need(
    smoothout.elimination,
    {"slope": 0.05, "trajectories": 64},
    seeds=3,
    quick_seeds=2,
    quick={"dimensions": [1, 4], "trajectories": 8},
    kept=True,
)
SURVIVAL = Need(
    smoothout.survival,
    {"strengths": [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0]},
    seeds=3,
    quick_seeds=2,
    quick={"strengths": [0.5, 1.0], "trajectories": 32, "steps": 2000},
    kept=True,
)
UNBIASED = Need(
    smoothout.unbiasedness,
    {"draws": 1_000_000},
    seeds=3,
    quick_seeds=2,
    quick=_FEW_DRAWS,
    kept=True,
)
DENOISING = Need(
    smoothout.denoising,
    {"curvature": 2.0, "strength": 0.3},
    seeds=3,
    quick_seeds=2,
    quick={"trajectories": 2000, "learning_rates": [0.1, 0.4]},
    kept=True,
)
BALANCE = Need(
    smoothout.balance,
    {"strength": 0.3},
    seeds=3,
    quick_seeds=2,
    quick={"trajectories": 50, "time": 2.0},
    kept=True,
)
RESCALING = Need(
    smoothout.rescaling,
    {"draws": 20_000},
    seeds=5,
    quick_seeds=2,
    quick=_FEW_DRAWS,
    kept=True,
)
FILTERS = Need(
    smoothout.filter_rule, {"draws": 20_000}, seeds=3, quick_seeds=2, quick={"draws": 200}
)
ONE_POINT = Need(
    smoothout.one_point_convergence,
    {"noise_radius": 50.0},
    seeds=3,
    quick_seeds=2,
    quick={"learning_rates": [0.005, 0.015], "trajectories": 512},
    kept=True,
)

RECORDED = (
    LIFT,
    OVERTAKING,
    LAWS,
    ELIMINATION,
    SURVIVAL,
    UNBIASED,
    DENOISING,
    BALANCE,
    RESCALING,
    ONE_POINT,
    *networks.RECORDED,
)

# --- claims --------------------------------------------------------------------------------------


_CONES = "cones over cubes, ε'/a = 0.5, 0.9, 0.99"

CLAIMS = (
    claim(
        "T1",
        "theorem 1",
        "A symmetric flat minimum is a stationary point of the smoothed loss.",
        Check(
            "theory",
            "a centrally symmetric minimum in the plane; beside it one that is tilted",
            {"points": POINTS},
            (
                Criterion("largest smoothed gradient, by the box's faces", high=1e-12),
                Criterion("the same where the symmetry is broken (control)", low=0.1),
            ),
            measures.stationary,
        ),
        Check(
            "simulation",
            "the same, 1,000,000 draws a seed",
            {"points": POINTS},
            (Criterion("largest drawn gradient, in standard errors", high=3.0),),
            measures.stationary_drawn,
        ),
    ),
    claim(
        "T1x",
        "theorem 1",
        "Flatness is not used: a symmetric sharp minimum and a symmetric maximum are stationary "
        "too, and a symmetric minimum turns into a maximum once the box reaches past its rim "
        "(ours).",
        Check(
            "theory",
            "symmetric normal wells and hills in the plane; w² exp(-w²/2s²)",
            {"points": POINTS},
            (
                Criterion("largest smoothed gradient at a sharp minimum and a maximum", high=1e-12),
                Criterion("relative distance of the flip from a = √2 s", high=1e-6),
            ),
            measures.flatness_not_used,
            success="corrected",
        ),
    ),
    claim(
        "T2",
        "theorem 2",
        "Around a sharp minimum the smoothed loss exceeds the loss, in high dimension. (True with "
        "a bound on the loss all over the shell that the moving box reaches; the running maximum, "
        "which the paper uses, bounds nothing from below.)",
        Check(
            "theory",
            f"{_CONES}; ε/ε' = 0.5, 0.9, 0.99",
            {"lift": LIFT},
            (Criterion("largest (first m that is lifted - first m above m*)", high=0.0),),
            measures.lifted,
            success="corrected",
        ),
    ),
    claim(
        "T2b",
        "theorem 2, Eqs. 8-9 (reconstructed)",
        "The smoothed loss is at least μ - (ε'/a)^m (μ - C_s) there.",
        Check(
            "theory",
            f"{_CONES}, m from 1 to 10^9",
            {"lift": LIFT},
            (
                Criterion("largest (bound - exact value)", high=1e-12),
                Criterion("error of the best bound's tightness, (m+1)^(-1/m)", high=1e-9),
            ),
            measures.bounded,
        ),
        Check(
            "simulation",
            f"{_CONES}, m ≤ 100, 200,000 draws a seed",
            {"lift": LIFT},
            (Criterion("largest deviation of drawn values, in standard errors (ours)", high=4.5),),
            measures.bounded_drawn,
        ),
    ),
    claim(
        "T2c",
        "theorem 2 (as retold)",
        "As m grows the least smoothed value tends to the largest loss in the box of half-width "
        "ε'. (It tends to that of half-width a, whatever ε'; and for a loss that depends on few "
        "coordinates to neither.)",
        Check(
            "theory",
            "a cone over cubes, m = 10^9; the valley w_1²",
            {"lift": LIFT},
            (
                Criterion("relative distance from the loss at a", high=1e-8),
                Criterion("ratio to the loss at ε' = a/2", low=1.99),
                Criterion("valley: ratio to the largest loss at ε' = 0.9 a", high=0.5),
            ),
            measures.limit,
            success="corrected",
        ),
    ),
    claim(
        "T2d",
        "theorem 2",
        "The inequality tells sharp minima from flat ones. (It does not: every isotropic quadratic "
        "meets it for ε < a/√3, however flat, in any dimension.)",
        Check(
            "theory",
            "curvatures 0.001, 1 and 1,000, m = 1, 10, 100",
            {"lift": LIFT},
            (Criterion("largest relative distance of ε from a/√3", high=1e-9),),
            measures.quadratics,
            success="corrected",
        ),
    ),
    claim(
        "T3",
        "theorem 2, Eq. 13 (reconstructed)",
        "With noise enough a sharp minimum is above a flat one that is less deep.",
        Check(
            "theory",
            "two product wells, depths 1 and 0.8, widths 0.1 and 0.4, m from 1 to 10^9",
            {"overtaking": OVERTAKING},
            (
                Criterion("relative difference of two routes to the critical a", high=1e-6),
                Criterion("least slope of ln a in ln m, m ≥ 10", low=-0.505),
                Criterion("largest slope", high=-0.495),
            ),
            measures.ranking,
        ),
        Check(
            "simulation",
            "the same wells, m ≤ 1,000, 20,000 draws a seed (criteria ours)",
            {"overtaking": OVERTAKING},
            (
                Criterion("flat well's least lead at 1.25 a, in standard errors", low=5.0),
                Criterion("its largest lead at 0.8 a", high=-5.0),
            ),
            measures.ranking_drawn,
        ),
    ),
    claim(
        "T4",
        "abstract",
        "SmoothOut eliminates sharp minima. (Where the background slopes enough; past half a "
        "ripple's wavelength uniform noise makes new ones.)",
        Check(
            "theory",
            "x² + 10 (1 - cos 2πx); double wells (x² - b²)²",
            {"merging": MERGING},
            (
                Criterion("a that leaves one minimum", low=0.488496, high=0.488696),
                Criterion("relative distance of a from b where wells merge (ours)", high=1e-6),
                Criterion("relative difference of two routes (ours)", high=1e-6),
            ),
            measures.merged,
        ),
        Check(
            "theory",
            "tilted boxes and V's, ε'/a = 0.5, 0.7, 0.9, m = 1 to 12",
            {"elimination": ELIMINATION},
            (
                Criterion("cases with a minimum where Theorem D says there is none", high=0),
                Criterion("boxes for which Theorem D does not decide", high=0),
            ),
            measures.eliminated,
        ),
        Check(
            "simulation",
            "tilted V's, 64 trajectories a case and seed (criterion ours)",
            {"elimination": ELIMINATION},
            (Criterion("least share that escapes where Theorem D holds", low=0.99),),
            measures.escaped,
        ),
        Check(
            "simulation",
            "x² + 10 (1 - cos 2πx), 512 starts a strength and seed (criteria ours)",
            {"survival": SURVIVAL},
            (
                Criterion("least share that ends within 0.25 of a smoothed minimum", low=0.99),
                Criterion("most smoothed minima that nobody ends in", high=0),
                Criterion("minima left at a = 0.5 and 1", high=1),
            ),
            measures.survivors,
        ),
    ),
    claim(
        "T5",
        "version 3, difference 4",
        "Uniform noise removes sharp minima better than Gaussian noise. (Of equal variance it "
        "does for wells narrower than 0.867 a, and worse for wider ones.)",
        Check(
            "theory",
            "box wells, m = 1, 10, 100, 1,000",
            {"laws": LAWS},
            (
                Criterion("least half-width at which both leave the same, over a", low=0.8666),
                Criterion("largest", high=0.8668),
            ),
            measures.crossover,
            success="corrected",
        ),
        Check(
            "simulation",
            "box wells, m = 10, 200,000 draws a seed (criteria ours)",
            {"laws": LAWS},
            (
                Criterion("uniform noise's lead at 0.8 a, in standard errors", low=5.0),
                Criterion("Gaussian noise's lead at 0.95 a", low=5.0),
            ),
            measures.laws_drawn,
            success="corrected",
        ),
        networks.CHECKS["T5"],
    ),
    claim(
        "A1",
        "abstract",
        "Stochastic SmoothOut is an unbiased approximation of SmoothOut.",
        Check(
            "simulation",
            "three factors; a ReLU network; 1,000,000 draws a seed",
            {"unbiased": UNBIASED},
            (
                Criterion("smooth loss: largest deviation, in standard errors", high=3.0),
                Criterion("ReLU network: largest deviation, in standard errors", high=3.0),
            ),
            measures.unbiased,
        ),
        Check(
            "simulation",
            "a box well, which jumps: not unbiased there",
            {"unbiased": UNBIASED},
            (
                Criterion("mean gradient over the smoothed one", low=0.0, high=0.0),
                Criterion("size of the smoothed gradient", low=0.1),
            ),
            measures.biased,
            success="corrected",
        ),
        networks.CHECKS["A1"],
    ),
    claim(
        "A2",
        "version 3, difference 1",
        "Removing the noise before the update matters: the weights' stationary variance is that of "
        "formulas which differ with it, and test error suffers without it.",
        Check(
            "simulation",
            "a quadratic, six learning rates, momentum 0 and 0.9",
            {"denoising": DENOISING},
            (
                Criterion("de-noised: largest relative error of the variance", high=0.02),
                Criterion("not de-noised: largest relative error", high=0.02),
            ),
            measures.wandering,
        ),
        networks.CHECKS["A2"],
    ),
    claim(
        "A3",
        "version 3, difference 2",
        "AdaSmoothOut does not change when a ReLU network's layers are rescaled; SmoothOut does.",
        Check(
            "simulation",
            "a network 4-16-1, layers times and over 0.1 and 10",
            {"rescaling": RESCALING},
            (
                Criterion("AdaSmoothOut: largest change, in standard errors", high=1.0),
                Criterion("SmoothOut: least factor", low=5.0),
            ),
            measures.invariant,
        ),
        networks.CHECKS["A3"],
    ),
    claim(
        "A5",
        "official code",
        "A filter's noise is a times as long as the filter, up to 1e-6 over the draw's length; its "
        "covariance is a² |w|²/d I.",
        Check(
            "simulation",
            "16 filters of 27 weights, 20,000 draws a seed",
            {"filters": FILTERS},
            (
                Criterion("largest relative error of a length", high=1e-6),
                Criterion("largest relative error of a weight's variance (ours)", high=0.06),
                Criterion("largest correlation, in standard errors (ours)", high=6.0),
            ),
            measures.filters,
        ),
        networks.CHECKS["A5"],
    ),
    claim(
        "R1",
        "[follow-up] Dinh et al. (2017)",
        "Rescaling the layers of a ReLU network leaves its function and makes tr H what one likes.",
        Check(
            "simulation",
            "a network 4-16-1, layers times and over 0.1 to 10",
            {"rescaling": RESCALING},
            (
                Criterion("largest relative change of the function", high=1e-6),
                Criterion("largest relative error of α^-2 T_1 + α^2 T_2", high=0.01),
            ),
            measures.rescaled,
        ),
        networks.CHECKS["R1"],
    ),
    claim(
        "R3",
        "[follow-up] Kleinberg, Li & Yuan (2018), from memory",
        "Where the smoothed loss is c-one-point convex SGD ends within a distance whose square is "
        "in proportion to ε r²/c, ε the learning rate.",
        Check(
            "simulation",
            "a rippled parabola, not one-point convex itself, six learning rates",
            {"one_point": ONE_POINT},
            (
                Criterion("slope of ln(c · squared distance) in ln ε", low=0.9, high=1.1),
                Criterion("largest share of the theorem's bound (ours)", high=1.0),
                Criterion("one-point convexity of the loss itself (ours)", high=0.0),
            ),
            measures.neighborhood,
        ),
    ),
    *networks.CLAIMS,
)

# --- figures -------------------------------------------------------------------------------------

FIGURES = (
    Figure(
        "wen_2018_landscapes",
        "A rugged landscape and a sharp beside a flat well, smoothed more and more.",
        {"rastrigin": RASTRIGIN, "wells": WELLS},
        plots.landscapes,
    ),
    Figure(
        "wen_2018_minima",
        "How many minima are left against a: uniform noise turns ripples upside down.",
        {"counts": COUNTS, "merging": MERGING},
        plots.minima,
    ),
    Figure(
        "wen_2018_theorem_1",
        "Theorem 1, corrected: sharp minima and maxima are stationary too, and minima turn over.",
        {"points": POINTS},
        plots.theorem_1,
    ),
    Figure(
        "wen_2018_theorem_2",
        "Theorem 2, corrected: the bound beside exact and drawn values, and the true limit.",
        {"lift": LIFT},
        plots.theorem_2,
    ),
    Figure(
        "wen_2018_critical_strength",
        "The strength that makes the flat well the deeper one, over nine decades of m.",
        {"overtaking": OVERTAKING},
        plots.critical_strength,
    ),
    Figure(
        "wen_2018_elimination",
        "Theorem D: where a slope clears a well away, and SmoothOut's trajectories leave it.",
        {"elimination": ELIMINATION},
        plots.elimination,
    ),
    Figure(
        "wen_2018_noise_laws",
        "What uniform and Gaussian noise of one variance leave of a well.",
        {"laws": LAWS},
        plots.noise_laws,
    ),
    Figure(
        "wen_2018_denoising",
        "How far the weights wander with and without de-noising, predicted and measured.",
        {"denoising": DENOISING},
        plots.denoising,
    ),
    Figure(
        "wen_2018_ends",
        "Where SmoothOut's trajectories end, start by start.",
        {"survival": SURVIVAL},
        plots.ends,
    ),
    Figure(
        "wen_2018_balance",
        "SmoothOut picks the balanced one of many equal minima; AdaSmoothOut does not.",
        {"balance": BALANCE},
        plots.balance,
    ),
    Figure(
        "wen_2018_rescaling",
        "A ReLU network, its layers rescaled: smoothed losses, and the trace of the Hessian.",
        {"rescaling": RESCALING},
        plots.rescaling,
    ),
    Figure(
        "wen_2018_one_point",
        "SGD's distance from the center of a loss that is one-point convex once smoothed.",
        {"one_point": ONE_POINT},
        plots.one_point,
    ),
    *networks.FIGURES,
)
