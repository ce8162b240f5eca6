"""Memorization by networks: Zhang et al.'s randomization tests, and constructions as modules.

:func:`randomization_test` trains your own network on your own images, on true labels and on noise.
:func:`to_module` makes a ``torch.nn.Module`` of a network of :mod:`theory.memorization`.
"""

from __future__ import annotations

from deep._memorization_modules import FORMS, TiedMemorizingModule, to_module
from deep._memorization_randomization import CORRUPTIONS, randomization, randomization_test

__all__ = [
    "CORRUPTIONS",
    "FORMS",
    "STUDIES",
    "TiedMemorizingModule",
    "randomization",
    "randomization_test",
    "to_module",
]

STUDIES = (randomization,)
for _study in STUDIES:
    _study.__module__ = __name__  # results are stored under this name, whatever file it stands in
