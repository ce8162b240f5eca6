r"""SmoothOut on networks: claims of Wen et al. (2018) on test error and sharpness, on digits.

The networks, strengths and accuracies of the paper's tables are not known here, so the protocol is
ours: scikit-learn's digits, 300 images to train on and 1,497 to test on; a perceptron
64-128-128-10; SGD at m = 0.9 for 100 epochs; batches of 25 at a learning rate of 0.05, or of all
300 at √12 times it. A seed has the same images, weights and order of batches whatever the noise:
what is compared is compared in pairs, by a two-sided t test.

Strengths a were chosen, and criteria set, from a trial by other code. Its errors of the large batch
without noise are those recorded here to all digits, so it had the same images and initial weights;
noise and the order of small batches were others. That these criteria are met is therefore less than
an independent replication, which takes other images.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from paper_figures import _wen_2018_networks_measures as measures
from paper_figures import _wen_2018_networks_plots as plots
from paper_figures.claims import Check, Claim, Criterion
from paper_figures.registry import Figure
from paper_figures.results import Need

__all__ = ["CHECKS", "CLAIMS", "FIGURES", "PAPER", "RECORDED", "claim"]

PAPER = "Wen et al. (2018), arXiv:1805.07898"

# --- results --------------------------------------------------------------------------------------

SMALL = {"batch_size": 25, "learning_rate": 0.05}
LARGE = {"batch_size": 300, "learning_rate": 0.05 * 12**0.5}
_ADAPTIVE = {"method": "adasmoothout"}
_SHARPNESS = {"sharpness": True}


def _trained(strengths: list[float], **options: Any) -> Need:
    quick: dict[str, Any] = {"train_size": 30, "test_size": 20, "epochs": 2, "widths": [8, 8]}
    if "sharpness" in options:
        quick |= {"draws": 2, "probes": 2, "directions": 2}
    return Need(
        "deep.smoothout.generalization",
        {"strengths": strengths, **options},
        seeds=8,
        quick_seeds=1,
        quick=quick,
        kept=True,
    )


SMALL_PLAIN = _trained([0.0, 0.03, 0.06, 0.1, 0.2, 0.3], **SMALL, **_SHARPNESS)
SMALL_ADAPTIVE = _trained([0.3, 0.6, 1.0], **SMALL, **_ADAPTIVE)
LARGE_PLAIN = _trained([0.0, 0.01, 0.03, 0.06, 0.1, 0.2, 0.3], **LARGE, **_SHARPNESS)
LARGE_ADAPTIVE = _trained([0.1, 0.3, 0.6, 1.0], **LARGE, **_ADAPTIVE)
KEPT = _trained([0.003, 0.01, 0.03], **LARGE, method="noise kept")
NORMAL = _trained([0.03, 0.06, 0.1], **LARGE, method="normal noise")
COPIES = _trained([0.03, 0.06, 0.1], **LARGE, micro_batches=12)
LONGER = _trained([0.0, 0.1], **LARGE, epochs=400)
LONGER_ADAPTIVE = _trained([0.3], **LARGE, epochs=400, **_ADAPTIVE)
UNSCALED = _trained([0.0, 0.1], batch_size=300, learning_rate=0.05)
ADAM = {"optimizer": "adam", "batch_size": 300, "learning_rate": 0.01}
ADAM_PLAIN = _trained([0.0, 0.03, 0.06, 0.1], **ADAM)
ADAM_ADAPTIVE = _trained([0.3], **ADAM, **_ADAPTIVE)
NOISY = {"label_noise": 0.2}
NOISY_SMALL = _trained([0.0], **SMALL, **NOISY)
NOISY_LARGE = _trained([0.0, 0.03, 0.06, 0.1], **LARGE, **NOISY)
SAM = _trained([0.05, 0.2, 0.5], **LARGE, **_SHARPNESS, method="sam")
IDENTITIES = Need(
    "deep.smoothout.smoothout_identities",
    {},
    seeds=5,
    quick_seeds=2,
    quick={"train_size": 30, "widths": [4, 4], "epochs": 2, "draws": 2, "probes": 2},
    kept=True,
)

# SAM is another package's, and no dependency.
_HAS_SAM = importlib.util.find_spec("pytorch_optimizer") is not None

RECORDED = (
    SMALL_PLAIN,
    SMALL_ADAPTIVE,
    LARGE_PLAIN,
    LARGE_ADAPTIVE,
    KEPT,
    NORMAL,
    COPIES,
    LONGER,
    LONGER_ADAPTIVE,
    UNSCALED,
    ADAM_PLAIN,
    ADAM_ADAPTIVE,
    NOISY_SMALL,
    NOISY_LARGE,
    IDENTITIES,
    *((SAM,) if _HAS_SAM else ()),
)

# --- claims ---------------------------------------------------------------------------------------

_DIGITS = "digits, n = 300, MLP 64-128-128-10"
_SMALL = f"{_DIGITS}, B = 25"
_LARGE = f"{_DIGITS}, B = n"
_IDENTITIES = "digits, n = 100, MLP 64-16-16-10"


def claim(sheet_id: str, where: str, statement: str, *checks: Check) -> Claim:
    """Return a claim of this paper."""
    return Claim(f"wen_2018:{sheet_id}", PAPER, where, statement, checks)


def _network(
    data: str,
    needs: dict[str, Need],
    criteria: tuple[Criterion, ...],
    measure: Callable[..., Any],
) -> Check:
    return Check("network", data, needs, criteria, measure)


def _significant(of: str, alpha: float = 0.05) -> Criterion:
    return Criterion(f"p of {of}", high=alpha)


# Checks of claims that are checked on other levels first.
CHECKS = {
    "T5": _network(
        f"{_LARGE}, a = 0.06, Gaussian noise of equal variance; the paper's claim as printed",
        {"uniform": LARGE_PLAIN, "Gaussian": NORMAL},
        (
            Criterion("Gaussian less uniform noise's test error, points", low=0.0),
            _significant("the difference"),
        ),
        measures.gains((("Gaussian", 0.06), ("uniform", 0.06))),
    ),
    "A1": _network(
        f"{_IDENTITIES}, 8 weights, 1,000 draws a seed (limit ours)",
        {"identities": IDENTITIES},
        (Criterion("largest deviation of the mean gradient, in standard errors", high=4.5),),
        measures.unbiased,
    ),
    "A2": _network(
        f"{_LARGE}, a = 0.03",
        {"large": LARGE_PLAIN, "kept": KEPT},
        (
            Criterion("test error with the noise kept less that with it removed, points", low=2.0),
            _significant("the difference (ours)"),
            Criterion("test error with the noise kept less that of SGD, points", low=0.0),
            _significant("that difference (ours)"),
        ),
        measures.gains((("kept", 0.03), ("large", 0.03)), (("kept", 0.03), ("large", 0.0))),
    ),
    "A3": _network(
        f"{_IDENTITIES}, layers times and over 0.1 and 10",
        {"identities": IDENTITIES},
        (
            Criterion("AdaSmoothOut: largest change, in standard errors", high=1.0),
            Criterion("SmoothOut: least factor", low=5.0),
        ),
        measures.invariant,
    ),
    "A5": _network(
        f"{_IDENTITIES}, all rows of weights",
        {"identities": IDENTITIES},
        (Criterion("largest relative error of a length", high=1e-6),),
        measures.lengths,
    ),
    "R1": _network(
        f"{_IDENTITIES}, layers times and over 0.1 and 10",
        {"identities": IDENTITIES},
        (
            Criterion("largest relative change of the function", high=1e-6),
            Criterion("largest relative error of tr H's law", high=0.01),
        ),
        measures.rescaled,
    ),
}

SAM_CHECK = _network(
    _LARGE,
    {"large": LARGE_PLAIN, "sam": SAM},
    (
        Criterion("SmoothOut's sharpness, a = 0.06, over SAM's, ρ = 0.2, ε = 5e-3", low=1.0),
        Criterion("SmoothOut's test error less SAM's, points (a tie; limits ours)", -1.0, 1.0),
    ),
    measures.flattest,
)
WITHOUT_SAM: dict[str, Any] = {
    "needs": {},
    "measure": None,
    "reason": "SAM is that of the package pytorch_optimizer, which is not installed",
}

CLAIMS = (
    claim(
        "A4",
        "version 3",
        "SmoothOut costs no more than drawing noise, adding it and taking it away.",
        Check(
            "network",
            "time of a step on a CPU",
            {},
            (Criterion("time added by plain noise, %", high=15.0),),
            reason="a time is no result to keep: benchmarks/bench_smoothout_optimizer.py takes it",
        ),
    ),
    claim(
        "E1",
        "Keskar et al. (2017), Hoffer et al. (2017)",
        "Large batches generalize worse than small ones, in equally many epochs.",
        _network(
            _DIGITS,
            {"small": SMALL_PLAIN, "large": LARGE_PLAIN},
            (
                Criterion("test error of large less that of small batches, points", low=1.0),
                _significant("the difference"),
                Criterion("training error of large batches, %", high=1.0),
            ),
            measures.gap,
        ),
    ),
    claim(
        "E2",
        "version 1, abstract",
        "SmoothOut closes the gap in generalization of large batches, in equally many epochs.",
        _network(
            f"{_DIGITS}, a = 0.06",
            {"small": SMALL_PLAIN, "large": LARGE_PLAIN},
            (
                Criterion("share of the gap that is closed", low=0.7),
                _significant("the large batch's gain"),
            ),
            measures.closure,
        ),
    ),
    claim(
        "E3",
        "versions 1 and 3, abstracts",
        "SmoothOut improves generalization of small batches too.",
        _network(
            _SMALL,
            {"small": SMALL_PLAIN, "adaptive": SMALL_ADAPTIVE},
            (
                Criterion("test error lower by, a = 0.1, points", low=0.3),
                _significant("that (ours)"),
                Criterion("test error lower by, AdaSmoothOut, a = 0.3, points", low=0.5),
                _significant("that, AdaSmoothOut, a = 0.3 (ours)"),
                Criterion("test error lower by, AdaSmoothOut, a = 0.6, points", low=0.5),
                _significant("that, AdaSmoothOut, a = 0.6 (ours)"),
            ),
            measures.gains(
                (("small", 0.0), ("small", 0.1)),
                (("small", 0.0), ("adaptive", 0.3)),
                (("small", 0.0), ("adaptive", 0.6)),
            ),
        ),
    ),
    claim(
        "E4",
        "version 3, abstract",
        "AdaSmoothOut is at least as good as SmoothOut.",
        _network(
            f"{_SMALL}, AdaSmoothOut at a = 0.6, SmoothOut at 0.1",
            {"small": SMALL_PLAIN, "adaptive": SMALL_ADAPTIVE},
            (
                _significant("AdaSmoothOut's gain over SGD", 0.01),
                Criterion("SmoothOut's test error less AdaSmoothOut's, points", low=0.0),
            ),
            measures.adaptive_on_small_batches,
        ),
        _network(
            f"{_LARGE}, AdaSmoothOut at a = 0.3, SmoothOut at 0.06",
            {"large": LARGE_PLAIN, "adaptive": LARGE_ADAPTIVE},
            (
                Criterion(
                    "SmoothOut's test error less AdaSmoothOut's, points (a tie; limits ours)",
                    -0.5,
                    0.5,
                ),
            ),
            measures.falls((("large", 0.06), ("adaptive", 0.3))),
        ),
    ),
    claim(
        "E5",
        "versions 2 and 3, abstracts",
        "SmoothOut's gain adds to those of larger learning rates and longer training.",
        _network(
            f"{_LARGE}, 400 epochs",
            {"longer": LONGER, "adaptive": LONGER_ADAPTIVE},
            (
                Criterion("test error lower by, a = 0.1, points", low=1.0),
                _significant("that (ours)"),
                Criterion("test error lower by, AdaSmoothOut, a = 0.3, points", low=1.0),
                _significant("that, AdaSmoothOut (ours)"),
            ),
            measures.gains(
                (("longer", 0.0), ("longer", 0.1)),
                (("longer", 0.0), ("adaptive", 0.3)),
            ),
        ),
    ),
    claim(
        "E6",
        "official code",
        "SmoothOut works with Adam as it does with SGD.",
        _network(
            f"{_LARGE}, Adam",
            {"adam": ADAM_PLAIN, "adaptive": ADAM_ADAPTIVE},
            (
                Criterion("share of seeds that improve, a = 0.06", low=0.75),
                Criterion("share of seeds that improve, AdaSmoothOut, a = 0.3", low=0.75),
            ),
            measures.seeds_improved(
                (("adam", 0.0), ("adam", 0.06)), (("adam", 0.0), ("adaptive", 0.3))
            ),
        ),
    ),
    claim(
        "E7",
        "supplement; official code",
        "SmoothOut ends in flatter minima by Keskar et al.'s measure, with large and small "
        "batches.",
        _network(
            f"{_LARGE}, a = 0.06, training loss",
            {"large": LARGE_PLAIN},
            (
                Criterion("sharpness of SGD over SmoothOut's, ε = 5e-3", low=3.0),
                Criterion("sharpness of SGD over SmoothOut's, ε = 1e-3", low=2.0),
            ),
            measures.flatter("large", 0.06, 5e-3, 1e-3),
        ),
        _network(
            f"{_SMALL}, a = 0.1, training loss (limit ours)",
            {"small": SMALL_PLAIN},
            (Criterion("sharpness of SGD over SmoothOut's, ε = 5e-3", low=3.0),),
            measures.flatter("small", 0.1, 5e-3),
        ),
    ),
    claim(
        "E8",
        "supplement",
        "The loss of networks trained with SmoothOut is steadier under noise on the weights.",
        _network(
            f"{_LARGE}, a = 0.06, training loss",
            {"large": LARGE_PLAIN},
            (
                Criterion("rise of SGD's loss over SmoothOut's, noise of 0.05", low=2.0),
                Criterion("rise of SGD's loss over SmoothOut's, noise of 0.06", low=2.0),
                Criterion("rise of SGD's loss over SmoothOut's, noise of 0.12", low=2.0),
            ),
            measures.steadier,
        ),
    ),
    claim(
        "E9",
        "supplement",
        "There is a window of strengths: too little noise does nothing, too much does harm.",
        _network(
            _LARGE,
            {"large": LARGE_PLAIN, "adaptive": LARGE_ADAPTIVE},
            (
                Criterion("a of the least test error", 0.03, 0.1),
                Criterion("test error at a = 0.3, %", low=30.0),
                Criterion("AdaSmoothOut at a = 1: test error less SGD's, points", low=0.0),
            ),
            measures.window,
        ),
    ),
    claim(
        "E10",
        "supplement",
        "The loss along a random line, normalized by filters, has a wider valley.",
        _network(
            f"{_LARGE}, a = 0.06, 5 lines, places below twice the least loss plus 0.1",
            {"large": LARGE_PLAIN},
            (Criterion("width of SmoothOut's valley over that of SGD's", low=1.3),),
            measures.wider,
        ),
    ),
    claim(
        "E11",
        "versions 1 to 3, abstracts",
        "SmoothOut improves AlexNet on ImageNet with large batches.",
        Check(
            "network",
            "ImageNet, AlexNet",
            {},
            (Criterion("top-1 accuracy gained, points", low=0.5),),
            reason="ImageNet's 1.3 million images are not here, nor is the paper's number known",
        ),
    ),
    claim(
        "E12",
        "ours",
        "Noise drawn anew for each of 12 parts of a batch helps less than one draw of the same "
        "strength: what helps is in part the noise of the gradient.",
        _network(
            f"{_LARGE}, a = 0.06",
            {"one": LARGE_PLAIN, "twelve": COPIES},
            (
                Criterion("test error of 12 draws less that of one, points", low=0.0),
                _significant("the difference"),
            ),
            measures.gains((("twelve", 0.06), ("one", 0.06))),
        ),
    ),
    claim(
        "E13",
        "ours",
        "With a fifth of the labels replaced, SmoothOut keeps large batches from memorizing them.",
        _network(
            f"{_LARGE}, labels replaced with probability 0.2",
            {"noisy": NOISY_LARGE},
            tuple(
                criterion
                for a in (0.03, 0.06, 0.1)
                for criterion in (
                    Criterion(f"error on true test labels lower by, a = {a:g}, points", low=3.0),
                    _significant(f"that, a = {a:g} (ours)"),
                )
            ),
            measures.gains(*((("noisy", 0.0), ("noisy", a)) for a in (0.03, 0.06, 0.1))),
        ),
    ),
    claim(
        "E14",
        "ours",
        "Where a large batch leaves training unfinished, at a learning rate that is not raised, "
        "SmoothOut makes it worse.",
        _network(
            f"{_LARGE}, learning rate 0.05, a = 0.1",
            {"unscaled": UNSCALED},
            (
                Criterion("test error higher by, points", low=0.0),
                _significant("that (ours)"),
                Criterion("training error without noise, % (ours)", low=1.0),
            ),
            measures.under_trained,
        ),
    ),
    claim(
        "R2",
        "[follow-up] Foret et al. (2021)",
        "SAM is as good as SmoothOut at its best, in a flatter minimum.",
        SAM_CHECK if _HAS_SAM else replace(SAM_CHECK, **WITHOUT_SAM),
    ),
)

# --- figures --------------------------------------------------------------------------------------

FIGURES = (
    Figure(
        "wen_2018_strength",
        "Test error against a, for small and large batches, with SmoothOut and AdaSmoothOut.",
        {
            "small": SMALL_PLAIN,
            "small adaptive": SMALL_ADAPTIVE,
            "large": LARGE_PLAIN,
            "large adaptive": LARGE_ADAPTIVE,
        },
        plots.strength,
    ),
    Figure(
        "wen_2018_gap",
        "The gap in generalization of large batches, and how far SmoothOut closes it, in pairs.",
        {
            "small": SMALL_PLAIN,
            "large": LARGE_PLAIN,
            "large adaptive": LARGE_ADAPTIVE,
        },
        plots.gap,
    ),
    Figure(
        "wen_2018_sharpness",
        "Sharpness at the end of training against a, by three measures.",
        {"small": SMALL_PLAIN, "large": LARGE_PLAIN},
        plots.sharpness,
    ),
    Figure(
        "wen_2018_valleys",
        "The training loss along random lines through the minima that SGD and SmoothOut find.",
        {"small": SMALL_PLAIN, "large": LARGE_PLAIN},
        plots.valleys,
    ),
    Figure(
        "wen_2018_loss_under_noise",
        "How the training loss rises under noise on the weights, after training with and without.",
        {"small": SMALL_PLAIN, "large": LARGE_PLAIN},
        plots.loss_under_noise,
    ),
    Figure(
        "wen_2018_ablations",
        "What matters: removing the noise, its law and draws, training time, labels, optimizer.",
        {
            "large": LARGE_PLAIN,
            "kept": KEPT,
            "normal": NORMAL,
            "copies": COPIES,
            "longer": LONGER,
            "unscaled": UNSCALED,
            "noisy": NOISY_LARGE,
            "noisy small": NOISY_SMALL,
            "adam": ADAM_PLAIN,
        },
        plots.ablations,
    ),
)
