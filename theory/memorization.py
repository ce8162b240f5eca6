r"""Networks that fit any labels of any points: Zhang et al. (2017), section 4.

:func:`memorize` builds Theorem 1's network of exactly 2n + d weights, for a million points as
for a hundred; :func:`memorize_deep` spreads it over k layers (Corollary 1), and
:func:`memorize_general_position` needs but 4⌈n/d⌉ hidden units. :func:`lemma_1` says what the
linear system behind them is like.

Depth counts hidden layers; the linear output comes on top.
"""

from theory._memorization_deep import (
    DeepMemorizingNetwork,
    GeneralPositionNetwork,
    memorize_deep,
    memorize_general_position,
)
from theory._memorization_lemma import HingeMatrix, hinge_weights, lemma_1
from theory._memorization_network import MemorizingNetwork, memorize

__all__ = [
    "DeepMemorizingNetwork",
    "GeneralPositionNetwork",
    "HingeMatrix",
    "MemorizingNetwork",
    "hinge_weights",
    "lemma_1",
    "memorize",
    "memorize_deep",
    "memorize_general_position",
]
