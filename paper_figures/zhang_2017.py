"""Zhang et al. (2017), "Understanding deep learning requires rethinking generalization"."""

from __future__ import annotations

from paper_figures import _zhang_2017_capacity as capacity
from paper_figures import _zhang_2017_interpolation as interpolation
from paper_figures import _zhang_2017_memorization as memorization
from paper_figures import _zhang_2017_networks as networks

_PARTS = (memorization, interpolation, capacity, networks)

RECORDED = tuple(need for part in _PARTS for need in part.RECORDED)
CLAIMS = tuple(claim for part in _PARTS for claim in part.CLAIMS)
FIGURES = tuple(figure for part in _PARTS for figure in part.FIGURES)
