"""Zhang et al. (2017), "Understanding deep learning requires rethinking generalization"."""

from __future__ import annotations

from paper_figures import _zhang_2017_interpolation as interpolation
from paper_figures.claims import Claim
from paper_figures.registry import Figure

RECORDED = interpolation.RECORDED
FIGURES: tuple[Figure, ...] = ()
CLAIMS: tuple[Claim, ...] = ()
