"""Sections 2 and 3 of Zhang et al. (2017) on the paper's networks: what they fit, and how."""

from __future__ import annotations

from typing import Any

from paper_figures import _zhang_2017_networks_measures as measures
from paper_figures import _zhang_2017_networks_plots as plots
from paper_figures._zhang_2017_capacity import RANDOMIZED
from paper_figures._zhang_2017_measures import harder_labels, patterns_first
from paper_figures._zhang_2017_memorization import claim, simulation
from paper_figures._zhang_2017_networks_measures import RANDOM, TRUE
from paper_figures._zhang_2017_networks_needs import (
    CIFAR,
    CIFAR_AUGMENTED,
    CIFAR_CROP,
    CIFAR_CROP_DECAY,
    CIFAR_DECAY,
    CIFAR_MLP,
    CIFAR_MLP_GLOROT,
    DIGITS,
    DIGITS_AUGMENTED,
    DIGITS_CROP,
    DIGITS_CROP_DECAY,
    DIGITS_DECAY,
    DIGITS_DECAYS,
    FITTING,
    NAMES,
    RECORDED,
)
from paper_figures.claims import Check, Criterion
from paper_figures.registry import Figure
from paper_figures.results import Need

__all__ = ["CLAIMS", "FIGURES", "RECORDED"]

# --- claims --------------------------------------------------------------------------------------

_DIGITS = "digits, n = 1,437"
_PERCEPTRON_ON_DIGITS = f"{_DIGITS}, MLP 1×512"
_CIFAR10 = "cifar10-jpeg, n = 50,000"
_PERCEPTRON = f"{_CIFAR10}, MLP 1×512"
_GLOROT = f"{_PERCEPTRON} with Glorot's initial weights, tried after torch's own"
_OTHERS = f"{_CIFAR10}, the other networks"
_INCEPTION = f"{_CIFAR10}, Inception"
_IMAGENET = "ImageNet, Inception V3"
_ABSENT = "ImageNet's 1.3 million images are not here, nor the fifty machines that trained on them"


def _network(data: str, needs: dict[str, Need], *rest: Any, **more: Any) -> Check:
    return Check("network", data, needs, *rest, **more)


def _for_each(
    needs: dict[str, Need], quantity: str, low: dict[str, float] | float, **more: float
) -> tuple[Criterion, ...]:
    """Return the same criterion for each network; `low` may tell them apart."""
    return tuple(
        Criterion(
            f"{NAMES[name]}: {quantity}", low=low[name] if isinstance(low, dict) else low, **more
        )
        for name in needs
    )


def _only(needs: dict[str, Need], *names: str) -> dict[str, Need]:
    return {name: needs[name] for name in names}


_FIT = "training accuracy on random labels, %"
_FITS = dict.fromkeys(NAMES, 99.9) | {"alexnet": 99.0}
_FITS_CIFAR = _FITS | {"mlp_1x512": 99.0}
_GUESS = "test accuracy after random labels, %"
# Test error on labels that are corrupted as those of training, in percent.
_PRINTED_ERRORS = {p: plots.PRINTED_ERRORS["mlp_1x512"][round(10 * p)] for p in (0.0, 0.4, 1.0)}
_REPLACED = "40 % of labels replaced"
_PEAK = Criterion("peak less final test accuracy, percentage points", low=10.0)
_FITTED_AT_PEAK = "share of wrong labels fitted at the peak, %"
_HARDER = "epochs to a loss of 0.1, random labels over Gaussian pixels"


def _near_printed(needs: dict[str, Need]) -> tuple[Criterion, ...]:
    """Ask for the test accuracies of table 1 without regularizers, to two or three points."""
    printed = {name: test for name, what, _, test in plots.TABLE_1 if what == "none"}
    within = {name: 2.0 if name == "inception" else 3.0 for name in needs}
    return tuple(
        Criterion(
            f"{NAMES[name]}: test accuracy, %",
            printed[name] - within[name],
            printed[name] + within[name],
        )
        for name in needs
    )


CLAIMS = (
    claim(
        "C05",
        "section 2.1 and table 1",
        "Networks fit random labels: training accuracies of 100, 99.82, 100 and 99.34 % for "
        "Inception, AlexNet and two perceptrons.",
        *(
            _network(
                data,
                needs,
                _for_each(needs, _FIT, low),
                measures.final(RANDOM, "training_accuracy"),
            )
            for data, needs, low in (
                (_DIGITS, DIGITS, _FITS),
                (_PERCEPTRON, CIFAR_MLP, _FITS_CIFAR),
                (_GLOROT, CIFAR_MLP_GLOROT, _FITS_CIFAR),
                (_OTHERS, CIFAR, _FITS_CIFAR),
            )
        ),
    ),
    claim(
        "C06",
        "table 1",
        "After training on random labels, test accuracy is that of chance.",
        *(
            _network(
                data,
                needs,
                _for_each(needs, _GUESS, 10 - within, high=10 + within),
                measures.final(RANDOM, "test_accuracy"),
            )
            for data, needs, within in (
                (_DIGITS, DIGITS, 5.0),
                (_PERCEPTRON, CIFAR_MLP, 1.0),
                (_OTHERS, CIFAR, 1.0),
            )
        ),
    ),
    claim(
        "C07",
        "table 1",
        "Without any regularizer the same networks generalize from true labels: test accuracies "
        "of 85.75, 76.07, 52.39 and 50.51 %, and 82.00 without batch normalization.",
        _network(
            _DIGITS,
            DIGITS,
            (
                *_for_each(
                    DIGITS,
                    "training accuracy, %",
                    dict.fromkeys(DIGITS, 99.9) | {"mlp_1x512": 100.0},
                ),
                *_for_each(DIGITS, "test accuracy, %", 97.0),
            ),
            measures.final(TRUE, "training_accuracy", "test_accuracy"),
        ),
        *(
            _network(data, needs, _near_printed(needs), measures.final(TRUE, "test_accuracy"))
            for data, needs in ((_PERCEPTRON, CIFAR_MLP), (_OTHERS, CIFAR))
        ),
    ),
    claim(
        "C08",
        "sections 1 and 2",
        "Random labels alone widen the gap between training and test accuracy from 14 to 90 "
        "points, model, size and optimizer being the same.",
        *(
            _network(
                data,
                needs,
                _for_each(needs, "gap with random labels less that with true ones, points", low),
                measures.wider_gap,
            )
            for data, needs, low in (
                (_DIGITS, DIGITS, 80.0),
                (_INCEPTION, _only(CIFAR, "inception"), 70.0),
            )
        ),
    ),
    claim(
        "C09",
        "figure 1a",
        "Networks fit noise for inputs too: shuffled, random and Gaussian pixels.",
        *(
            _network(
                data,
                needs,
                _for_each(needs, "least training accuracy on the three, %", 99.9),
                measures.noise_inputs,
            )
            for data, needs in (
                (_DIGITS, FITTING),
                (_INCEPTION, _only(CIFAR, "inception")),
            )
        ),
    ),
    claim(
        "C10",
        "figure 1a",
        "True labels are fitted fastest, then shuffled pixels, Gaussian and random pixels, and "
        "random labels last.",
        _network(
            _PERCEPTRON_ON_DIGITS,
            _only(DIGITS, "mlp_1x512"),
            (
                Criterion("epochs to a loss of 0.1, true labels or shuffled pixels", high=8.0),
                Criterion("the same of the faster random inputs, over true labels", low=3.0),
                Criterion("the same of the slower random inputs, over true labels", high=8.0),
                Criterion("random labels over the slower random inputs", low=3.0),
            ),
            measures.speeds,
        ),
        *(
            _network(
                data,
                needs,
                (
                    Criterion("epochs to a loss of 0.1, shuffled pixels over true labels", low=1.0),
                    Criterion("the faster random inputs over shuffled pixels", low=1.0),
                    Criterion("random labels over the slower random inputs", low=1.0),
                    *ratio,
                ),
                measures.order,
            )
            for data, needs, ratio in (
                (
                    f"{_DIGITS}, Inception, criteria ours",
                    _only(DIGITS, "inception"),
                    (Criterion("random labels over true labels", low=1.0),),
                ),
                (
                    _INCEPTION,
                    _only(CIFAR, "inception"),
                    (Criterion("random labels over true labels", 2.5, 7.0),),
                ),
            )
        ),
    ),
    claim(
        "C11",
        "figure 1a",
        "On random labels the loss stays at that of chance for long, and then falls quickly.",
        _network(
            _INCEPTION,
            _only(CIFAR, "inception"),
            (
                Criterion("epochs with a loss above 2.2", low=8.0),
                Criterion("epochs from a loss of 2.0 to 0.1", high=25.0),
            ),
            measures.plateau,
        ),
    ),
    claim(
        "C12",
        "figure 1b",
        "Corrupted labels slow training down by a small factor only, which grows with their "
        "share: 3.6 for Inception, 2.0 for a perceptron, 1.55 for AlexNet.",
        _network(
            _PERCEPTRON_ON_DIGITS,
            _only(DIGITS, "mlp_1x512"),
            (
                Criterion("epochs to 99.9 % training accuracy, all random over none", high=20.0),
                Criterion("the least of the corrupted over none", low=2.0),
            ),
            measures.slower_to_accuracy,
        ),
        *(
            _network(
                data,
                needs,
                (
                    Criterion("epochs to a loss of 0.05, all random over none", *limits),
                    Criterion("largest fall from one share to the next, %", high=10.0),
                ),
                measures.slower_to_loss,
            )
            for data, needs, limits in (
                (_PERCEPTRON, CIFAR_MLP, (1.4, 3.0)),
                (_GLOROT, CIFAR_MLP_GLOROT, (1.4, 3.0)),
                (_INCEPTION, _only(CIFAR, "inception"), (2.0, 6.0)),
                (f"{_CIFAR10}, AlexNet", _only(CIFAR, "alexnet"), (1.2, 2.5)),
            )
        ),
    ),
    claim(
        "C13",
        "figures 1b and 1c",
        "Whatever the share of corrupted labels, the training set is fitted.",
        _network(
            _DIGITS,
            FITTING,
            _for_each(
                FITTING,
                "least training accuracy over the shares, %",
                dict.fromkeys(FITTING, 99.9) | {"alexnet": 99.0},
            ),
            measures.always_fitted,
        ),
        *(
            _network(
                data,
                needs,
                _for_each(needs, "least training accuracy over the shares, %", 99.0),
                measures.always_fitted,
            )
            for data, needs in (
                (_PERCEPTRON, CIFAR_MLP),
                (f"{_CIFAR10}, Inception and AlexNet", _only(CIFAR, "inception", "alexnet")),
            )
        ),
    ),
    claim(
        "C14",
        "figure 1c",
        "Test error grows steadily with the share of corrupted labels, to that of chance.",
        _network(
            _PERCEPTRON_ON_DIGITS,
            _only(DIGITS, "mlp_1x512"),
            (
                Criterion("test error with random labels, %", 86.0, 94.0),
                Criterion("least growth from one share to the next, points", low=0.0),
                Criterion("the same on corrupted test labels", low=0.0),
            ),
            measures.growing_error,
        ),
        _network(
            _PERCEPTRON,
            CIFAR_MLP,
            tuple(
                Criterion(
                    f"test error at a share of {p:g}, corrupted alike, %", error - 5, error + 5
                )
                for p, error in _PRINTED_ERRORS.items()
            ),
            measures.corrupted_errors(*_PRINTED_ERRORS),
        ),
    ),
    claim(
        "C15",
        "section 1.1",
        "With corrupted labels, networks still learn what is true while they fit the noise.",
        _network(
            _PERCEPTRON_ON_DIGITS,
            _only(DIGITS, "mlp_1x512"),
            (Criterion("accuracy on true test labels, 60 % of labels replaced, %", low=35.0),),
            measures.final("labels 0.6", "test_accuracy"),
        ),
        _network(
            _PERCEPTRON,
            CIFAR_MLP,
            (Criterion("accuracy on true test labels, 40 % of labels replaced, %", low=20.0),),
            measures.final("labels 0.4", "test_accuracy"),
        ),
    ),
    claim(
        "C18",
        "section 3 and table 1",
        "Weight decay and random crops help by a few points, and are not needed to generalize.",
        _network(
            f"{_DIGITS}, weight decay 5e-4",
            {**FITTING, **{f"{name}, regularized": DIGITS_DECAY[name] for name in FITTING}},
            _for_each(FITTING, "test accuracy gained by weight decay, points", -1.5, high=1.5),
            measures.gains,
        ),
        *(
            _network(
                f"{_CIFAR10}, {what}",
                {**needs, **{f"{name}, regularized": with_it[name] for name in needs}},
                _for_each(needs, f"test accuracy gained by {what}, points", low, high=high),
                measures.gains,
            )
            for what, needs, with_it, low, high in (
                ("weight decay", {**CIFAR, **CIFAR_MLP}, CIFAR_DECAY, -2.5, 2.5),
                ("random crops", _only(CIFAR, *CIFAR_CROP), CIFAR_CROP, 2.0, 5.0),
            )
        ),
    ),
    claim(
        "C19",
        "table 4",
        "Weight decay does not keep Inception and perceptrons from fitting random labels; AlexNet "
        "with it did not converge. The coefficients are not printed.",
        *(
            _network(
                f"{data}, weight decay 5e-4",
                needs,
                _for_each(needs, _FIT, {"inception": 99.5, "mlp_3x512": 99.5, "mlp_1x512": 98.5}),
                measures.final(RANDOM, "training_accuracy"),
            )
            for data, needs in (
                (_DIGITS, _only(DIGITS_DECAY, "inception", "mlp_3x512", "mlp_1x512")),
                (_CIFAR10, _only(CIFAR_DECAY, "inception", "mlp_3x512", "mlp_1x512")),
            )
        ),
        _network(
            f"{_PERCEPTRON_ON_DIGITS}: a larger coefficient does, and still generalizes",
            DIGITS_DECAYS,
            (
                Criterion(f"{_FIT}, weight decay 0.02", high=50.0),
                Criterion(f"{_FIT}, weight decay 5e-4 or less", low=99.9),
                Criterion("true test accuracy lost from 1e-4 to 0.02, points", high=1.5),
            ),
            measures.stopped_by_decay,
            "corrected",
        ),
    ),
    claim(
        "C20",
        "table 4 and appendix E",
        "Augmentation does not keep Inception from fitting random labels: 99.93 % with random "
        "crops, 99.28 % with flips and rotations, of the images as they are shown.",
        *(
            _network(
                data,
                needs,
                tuple(
                    Criterion(f"training accuracy on images as shown, {kind}, %", low=low)
                    for kind in needs
                ),
                measures.final(RANDOM, "online_accuracy"),
            )
            for data, needs, low in (
                (f"{_DIGITS}, shifts by a pixel", DIGITS_AUGMENTED, 95.0),
                (_CIFAR10, CIFAR_AUGMENTED, 99.0),
            )
        ),
    ),
    claim(
        "C21",
        "table 1 and figure 2b",
        "Without batch normalization Inception loses three to four points, and still fits random "
        "labels.",
        *(
            _network(
                data,
                _only(needs, "inception", "inception_without_batch_norm"),
                (
                    Criterion("training accuracy on random labels without it, %", low=99.9),
                    Criterion("test accuracy lost without it, points", *lost),
                ),
                measures.without_batch_norm,
            )
            for data, needs, lost in (
                (f"{_DIGITS}, limits of the loss ours", DIGITS, (0.0, 5.0)),
                (_CIFAR10, CIFAR, (1.0, 5.0)),
            )
        ),
    ),
    claim(
        "C22",
        "section 3 and figure 2b",
        "With true labels, stopping early would gain nothing on CIFAR-10.",
        *(
            _network(
                data,
                needs,
                _for_each(needs, "best less final test accuracy, points", -float("inf"), high=1.0),
                measures.stopping_early,
            )
            for data, needs in (
                (_DIGITS, DIGITS),
                (_PERCEPTRON, CIFAR_MLP),
                (_OTHERS, CIFAR),
            )
        ),
    ),
    claim(
        "C23",
        "table 2",
        "On ImageNet, test accuracy is 77.84 % with all regularizers, 72.95 with augmentation "
        "alone, 67.18 with weight decay alone and 59.80 with none.",
        _network(
            _IMAGENET,
            {},
            tuple(
                Criterion(f"test accuracy, {what}, %", printed - 2, printed + 2)
                for what, printed in (
                    ("all regularizers", 77.84),
                    ("augmentation alone", 72.95),
                    ("weight decay alone", 67.18),
                    ("none", 59.8),
                )
            ),
            reason=_ABSENT,
        ),
    ),
    claim(
        "C24",
        "table 2",
        "Inception V3 fits random labels of ImageNet to 95.20 %, to about 90 % with regularizers.",
        _network(_IMAGENET, {}, (Criterion(f"{_FIT}, no regularizer", low=85.0),), reason=_ABSENT),
    ),
    claim(
        "C36",
        "[follow-up] Arpit et al. (2017)",
        "Networks learn patterns first and noise later: with corrupted labels, accuracy on true "
        "labels peaks before the wrong ones are fitted.",
        _network(
            f"{_PERCEPTRON_ON_DIGITS}, {_REPLACED}",
            _only(DIGITS, "mlp_1x512"),
            (_PEAK, Criterion(_FITTED_AT_PEAK, high=20.0)),
            measures.patterns_first,
        ),
        _network(
            f"{_PERCEPTRON}, {_REPLACED}",
            CIFAR_MLP,
            (Criterion(_FITTED_AT_PEAK, high=50.0),),
            measures.fitted_at_peak,
        ),
        simulation(
            f"digits, 64-512-10, n = 1,437, {_REPLACED}",
            {"training": RANDOMIZED},
            (_PEAK, Criterion(_FITTED_AT_PEAK, high=20.0)),
            patterns_first,
        ),
    ),
    claim(
        "C37",
        "[authors' notes]",
        "Random labels are harder to fit than random inputs, because images are close.",
        _network(
            _PERCEPTRON_ON_DIGITS,
            _only(DIGITS, "mlp_1x512"),
            (Criterion(_HARDER, low=3.0),),
            measures.harder_labels,
        ),
        simulation(
            "digits, 64-512-10, n = 1,437",
            {"training": RANDOMIZED},
            (Criterion(_HARDER, low=3.0),),
            harder_labels,
        ),
    ),
)

FIGURES = (
    Figure(
        "zhang_2017_fitting_noise",
        "Figure 1a: loss against epochs on true and random labels and on random inputs.",
        {
            "inception": DIGITS["inception"],
            "mlp_1x512": DIGITS["mlp_1x512"],
            "cifar mlp_1x512": CIFAR_MLP["mlp_1x512"],
            "cifar inception": CIFAR["inception"],
        },
        plots.fitting_noise,
    ),
    Figure(
        "zhang_2017_corrupted_labels",
        "Figures 1b and 1c: time to fit and test error against the share of corrupted labels.",
        {
            **FITTING,
            **{f"cifar {name}": need for name, need in {**CIFAR, **CIFAR_MLP}.items()},
        },
        plots.corrupted_labels,
    ),
    Figure(
        "zhang_2017_batch_norm",
        "Figure 2b: accuracy while training, with and without batch normalization.",
        {
            f"{prefix}{name}": needs[name]
            for prefix, needs in (("", DIGITS), ("cifar ", CIFAR))
            for name in ("inception", "inception_without_batch_norm")
        },
        plots.batch_norm,
    ),
    Figure(
        "zhang_2017_table_1",
        "Table 1: training and test accuracy with and without regularizers, beside the printed.",
        {
            f"{name}, {arm}": needs[name]
            for arm, needs in (
                ("none", DIGITS),
                ("weight decay", DIGITS_DECAY),
                ("crop", DIGITS_CROP),
                ("crop, weight decay", DIGITS_CROP_DECAY),
                ("none, cifar", {**CIFAR, **CIFAR_MLP}),
                ("weight decay, cifar", CIFAR_DECAY),
                ("crop, cifar", CIFAR_CROP),
                ("crop, weight decay, cifar", CIFAR_CROP_DECAY),
            )
            for name in needs
        },
        plots.table_1,
    ),
    Figure(
        "zhang_2017_table_4",
        "Table 4: random labels fitted under regularizers, and a weight decay that stops it.",
        {
            **{f"weight decay, {name}": need for name, need in DIGITS_DECAY.items()},
            **{f"{kind}, inception": need for kind, need in DIGITS_AUGMENTED.items()},
            **{f"weight decay, {name}, cifar": need for name, need in CIFAR_DECAY.items()},
            **{f"{kind}, inception, cifar": need for kind, need in CIFAR_AUGMENTED.items()},
            **{f"decay {decay}": need for decay, need in DIGITS_DECAYS.items()},
        },
        plots.table_4,
    ),
    Figure(
        "zhang_2017_patterns_first",
        "With 40 % of labels replaced, true test labels are learned before wrong ones are fitted.",
        {**FITTING, "cifar mlp_1x512": CIFAR_MLP["mlp_1x512"]},
        plots.patterns_first,
    ),
)
