"""All figures and claims, paper by paper."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

import xarray as xr
from matplotlib.figure import Figure as Drawing

from paper_figures.claims import Claim
from paper_figures.results import Need

PAPERS = ("smith_le_2018", "zhang_2017", "wen_2018", "liu_2020")


@dataclass(frozen=True)
class Figure:
    """A figure: its name, what it shows, the results it needs, and how it is drawn.

    ``plot`` is given those of the needs that are available, by name, and computes nothing.
    """

    name: str
    caption: str
    needs: Mapping[str, Need]
    plot: Callable[[Mapping[str, xr.Dataset]], Drawing]


def figures(*papers: str) -> list[Figure]:
    """Return the figures of these papers, or of all if none is named."""
    return [figure for paper in papers or PAPERS for figure in _module(paper).FIGURES]


def claims(*papers: str) -> Sequence[Claim]:
    """Return the claims of these papers, or of all if none is named."""
    return [claim for paper in papers or PAPERS for claim in _module(paper).CLAIMS]


def recorded() -> list[Need]:
    """Return the needs whose results are kept with the package, for all papers."""
    return [need for paper in PAPERS for need in _module(paper).RECORDED]


def _module(paper: str) -> ModuleType:
    return importlib.import_module(f"paper_figures.{paper}")
