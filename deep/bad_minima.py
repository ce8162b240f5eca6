"""Bad minima that SGD reaches: adversarial initialization of your own network, and ways out of it.

:func:`adversarial_initialization` lets a network memorize random labels of its own training inputs.
:func:`bad_minima_test` trains on the true labels from there and from random weights, by plain SGD
and with regularizers, and measures both ends. :func:`weight_norms` measures complexity.
"""

from __future__ import annotations

from deep._bad_minima_grid import CONTROLS, REGULARIZERS, bad_minima_test
from deep._bad_minima_norms import WeightNorms, weight_norms
from deep._bad_minima_start import (
    AdversarialStart,
    ConfusionSet,
    NotFittedError,
    adversarial_initialization,
    confusion_set,
)
from deep._bad_minima_study import bad_minima

__all__ = [
    "CONTROLS",
    "REGULARIZERS",
    "STUDIES",
    "AdversarialStart",
    "ConfusionSet",
    "NotFittedError",
    "WeightNorms",
    "adversarial_initialization",
    "bad_minima",
    "bad_minima_test",
    "confusion_set",
    "weight_norms",
]

STUDIES = (bad_minima,)
for _study in STUDIES:
    _study.__module__ = __name__  # results are stored under this name, whatever file it stands in
