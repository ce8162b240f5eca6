"""One look for all figures."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

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


def shades(n: int) -> Iterable[Any]:
    """Return n colours from dark to light, for settings that have an order."""
    return mpl.colormaps["viridis"](np.linspace(0.0, 0.88, n))


def mean_and_error(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the mean over seeds and two standard errors."""
    n = values.sizes["seed"]
    return values.mean("seed"), 2 * values.std("seed", ddof=min(1, n - 1)) / np.sqrt(n)


def finite(values: xr.DataArray, dim: str) -> xr.DataArray:
    """Leave out the positions where a seed's value is not finite, as of runs that diverged."""
    return values.where(np.isfinite(values)).dropna(dim)


def draw_curve(
    axes: Axes,
    values: xr.DataArray,
    dim: str,
    colour: Any,
    label: str,
    *,
    whole: bool = False,
    **line: Any,
) -> None:
    """Draw the mean over seeds with a band of two standard errors, or of the ``whole`` range.

    The range is for what spreads over decades: less two standard errors it may be negative.
    """
    values = finite(values, dim)
    mean, error = mean_and_error(values)
    low, high = (values.min("seed"), values.max("seed")) if whole else (mean - error, mean + error)
    line = {"marker": ".", "linewidth": 1.1, **line}
    axes.plot(values[dim], mean, color=colour, label=label, **line)
    axes.fill_between(values[dim], low, high, color=colour, alpha=0.2, linewidth=0)


def draw_points(
    axes: Axes, x: Any, values: xr.DataArray, colour: Any, label: str, **mark: Any
) -> None:
    """Draw means over seeds with bars of two standard errors."""
    mean, error = mean_and_error(values)
    mark = {"marker": "o", "linestyle": "none", "capsize": 2, "elinewidth": 1.0, **mark}
    axes.errorbar(x, mean, error, color=colour, label=label, **mark)


def draw_seeds(axes: Axes, x: Any, values: xr.DataArray, colour: Any) -> None:
    """Draw each seed as a pale dot; x is along the values' other dimension."""
    rows = values.transpose("seed", ...)
    across = np.broadcast_to(x, rows.shape)
    axes.plot(across.ravel(), rows.values.ravel(), ".", color=colour, alpha=0.25, markersize=4)


def draw_guide(axes: Axes, x: Any, y: Any, label: str = "", linestyle: str = ":") -> None:
    """Draw a thin gray line to compare with."""
    axes.plot(x, y, color=GRAY, linewidth=1.0, linestyle=linestyle, label=label)


def plain_ticks(axis: Axis, values: Iterable[float]) -> None:
    """Put ticks on a logarithmic axis, written as plain numbers, where there are few decades."""
    axis.set_major_locator(FixedLocator(list(values)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(NullLocator())


def head(
    drawing: Figure, text: str, data: Mapping[str, xr.Dataset], remark: str = "mean and 2 s.e."
) -> None:
    """Write the figure's title, with its number of seeds and what bands and bars are."""
    least, most = (pick(d.sizes["seed"] for d in data.values()) for pick in (min, max))
    seeds = f"{most} seed{'s' * (most > 1)}" if least == most else f"{least} to {most} seeds"
    drawing.suptitle(f"{text} ({seeds}: {remark})", fontsize=9)


@contextmanager
def applied() -> Iterator[None]:
    """Draw and save in the house style."""
    with mpl.rc_context(_RC):
        yield
