"""One look for all figures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

# Okabe & Ito's palette, which colour-blind readers can tell apart.
BLUE, ORANGE, GREEN, RED, PURPLE, GRAY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#CC79A7",
    "#767676",
)

_RC = {
    "figure.constrained_layout.use": True,
    "figure.dpi": 150,
    "savefig.dpi": 200,
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 4.0,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "svg.hashsalt": "wide-minima",  # the same figure gives the same file
}


def page(rows: int, columns: int, height: float) -> tuple[Figure, Any]:
    """Return a page-wide figure and its axes (rows, columns), each row ``height`` inches high."""
    drawing = Figure(figsize=(7.2, height * rows + 0.3))
    return drawing, drawing.subplots(rows, columns, squeeze=False)


@contextmanager
def applied() -> Iterator[None]:
    """Draw and save in the house style."""
    with mpl.rc_context(_RC):
        yield
