"""How the figures on bad minima of networks are drawn: Datasets in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures._liu_2020_networks_measures import (
    ALL,
    CHOICES,
    VANILLA,
    at_end,
    bad_over_good,
    drop_of,
)
from paper_figures.style import (
    BLUE,
    GRAY,
    GREEN,
    PURPLE,
    RED,
    draw_curve,
    draw_points,
    draw_seeds,
    head,
    page,
    plain_ticks,
)

Data = Mapping[str, xr.Dataset]

_STARTS = {"random": ("random start", BLUE), "adversarial": ("bad start", RED)}
_SHORT = {"augmentation": "DA", "weight decay": "L2", "momentum": "mom."}
_CONTROLS = {
    "shrunken adversarial": "bad,\nshrunken",
    "enlarged random": "random,\nenlarged",
    "fresh batch norm": "bad, new\nstatistics",
    "other inputs": "bad, other\ninputs",
}


def _panels(data: Data, height: float) -> tuple[Figure, list[tuple[Axes, xr.Dataset]]]:
    """Return a figure with a titled panel for each network side by side."""
    drawing, [row] = page(1, len(data), height)
    for axes, letter, network in zip(row, "ab", data, strict=False):
        axes.set_title(f"({letter}) {network}")
    return drawing, list(zip(row, data.values(), strict=True))


def _draw_all(axes: Axes, x: Any, values: xr.DataArray, colour: str, label: str = "") -> None:
    """Draw each seed, and their mean; x is along the values' other dimension."""
    draw_seeds(axes, x, values, colour)
    draw_points(axes, x, values.transpose("seed", ...), colour, label)


def curves(data: Data) -> Figure:
    """Draw test accuracies against epochs, from both starts, without and with regularizers."""
    drawing, panels = _panels(data, 3.0)
    for axes, d in panels:
        for start, (label, colour) in _STARTS.items():
            for choice, name, look in ((VANILLA, "vanilla", "-"), (ALL, "all three", "--")):
                values = 100.0 * d.test_accuracy.sel(start=start, regularization=choice)
                draw_curve(
                    axes, values, "epoch", colour, f"{label}, {name}", marker="", linestyle=look
                )
        axes.set(xlabel="epoch", ylabel="test accuracy, %", xscale="log", ylim=(60, 100))
        plain_ticks(axes.xaxis, (1, 3, 10, 30, 100, 300))
    panels[0][0].legend(fontsize=7)
    head(drawing, "Digits from a random and from a bad start", data)
    return drawing


def regularizers(data: Data) -> Figure:
    """Draw test accuracies for each choice of regularizers and start, and of the controls."""
    drawing, rows = page(len(data), 1, 2.4)
    for axes, (network, d) in zip(rows[:, 0], data.items(), strict=True):
        places = np.arange(len(CHOICES))
        for shift, (start, (label, colour)) in zip((-0.12, 0.12), _STARTS.items(), strict=True):
            values = xr.concat(
                [at_end(d, "test_accuracy", start, choice) for choice in CHOICES], "choice"
            )
            _draw_all(axes, places + shift, 100.0 * values, colour, label)
        controls = [start for start in d.start.values if start in _CONTROLS]
        if controls:
            values = xr.concat([at_end(d, "test_accuracy", each) for each in controls], "choice")
            beyond = len(CHOICES) + np.arange(len(controls))
            _draw_all(axes, beyond, 100.0 * values, PURPLE, "controls, vanilla")
            axes.axvline(len(CHOICES) - 0.5, color=GRAY, linewidth=0.8)
        names = [*map(_shortened, CHOICES), *(_CONTROLS[each] for each in controls)]
        axes.set_xticks(range(len(names)), names, fontsize=7)
        axes.set(ylabel="test accuracy, %", title=network)
    rows[0, 0].legend(ncols=3, fontsize=7)
    rows[-1, 0].set_xlabel("DA: augmentation; L2: weight decay; mom.: momentum")
    head(drawing, "Regularizers and controls on digits", data, "dots; mean and 2 s.e.")
    return drawing


def _shortened(choice: str) -> str:
    return (
        "all three"
        if choice == ALL
        else " +\n".join(_SHORT.get(part, part) for part in choice.split(" + "))
    )


def copies(data: Data) -> Figure:
    """Draw the drop of test accuracy against the number of copies, for each share of zeros."""
    table: dict[str, dict[float, dict[int, xr.Dataset]]] = {}
    for key, d in data.items():
        network, R, Z = key.rsplit(" ", 2)
        table.setdefault(network, {}).setdefault(float(Z), {})[int(R)] = d
    drawing, panels = _panels({network: next(iter(data.values())) for network in table}, 2.8)
    for (axes, _), by_zeros in zip(panels, table.values(), strict=True):
        for shift, colour, (Z, by_copies) in zip(
            (0.98, 1.02), (BLUE, GREEN), sorted(by_zeros.items()), strict=False
        ):
            R = np.array(sorted(by_copies))
            values = xr.concat([drop_of(by_copies[each]) for each in R], "replication")
            _draw_all(axes, shift * R, values, colour, f"Z = {Z:g}")
        axes.axhline(0.0, color="black", linewidth=0.8)
        axes.set(xlabel="copies R", ylabel="drop of test accuracy, points", xscale="log")
        plain_ticks(axes.xaxis, (1, 2, 5))
        axes.set_xlim(0.8, 6.5)
    panels[0][0].legend(fontsize=7)
    head(drawing, "Drop through the bad start, vanilla SGD", data, "dots; mean and 2 s.e.")
    return drawing


def norms(data: Data) -> Figure:
    """Draw what the bad minimum has over the good one, and the distances traveled."""
    drawing, [[ratios, distances]] = page(1, 2, 3.0)
    names = {
        "l1_path_norm": "l1\npath",
        "l2_path_norm": "l2\npath",
        "frobenius_norm": "Frob.",
        "spectral_product": "spectral\nproduct",
        "sharpness": "sharp-\nness",
        "noise_trace": "gradient\nnoise",
    }
    runs = {
        "random,\nvanilla": ("random", VANILLA),
        "bad,\nvanilla": ("adversarial", VANILLA),
        "random,\nall three": ("random", ALL),
        "bad,\nall three": ("adversarial", ALL),
    }
    for shift, colour, (network, d) in zip(
        (-0.12, 0.12), (BLUE, GREEN), data.items(), strict=False
    ):
        places = np.arange(len(names)) + shift
        values = xr.concat([bad_over_good(d, name) for name in names], "norm")
        _draw_all(ratios, places, values, colour, network)
        traveled = xr.concat([at_end(d, "distance", *run) for run in runs.values()], "run")
        _draw_all(distances, np.arange(len(runs)) + shift, traveled, colour, network)
    ratios.axhline(1.0, color="black", linewidth=0.8)
    ratios.set(yscale="log", xlabel="measure", ylabel="bad minimum over good one")
    ratios.set_title("(a) norms, sharpness and noise")
    ratios.set_xticks(range(len(names)), list(names.values()), fontsize=7)
    distances.set(yscale="log", xlabel="start", ylabel="distance from the run's start")
    distances.set_title("(b) distance traveled")
    distances.set_xticks(range(len(runs)), list(runs), fontsize=7)
    plain_ticks(distances.yaxis, (1, 2, 5, 10, 20, 50, 100))
    ratios.legend(fontsize=7)
    head(drawing, "Bad minima of networks on digits", data, "dots; mean and 2 s.e.")
    return drawing


def lines(data: Data) -> Figure:
    """Draw training and test loss from the good to the bad minimum."""
    drawing, panels = _panels(data, 2.8)
    for axes, d in panels:
        for name, label, colour in (
            ("line_training_loss", "training loss", BLUE),
            ("line_test_loss", "test loss", RED),
        ):
            draw_curve(axes, d[name], "position", colour, label, marker="", whole=True)
        axes.set(xlabel="0: good minimum; 1: bad minimum", ylabel="mean loss, nats", yscale="log")
    panels[0][0].legend(fontsize=7)
    head(drawing, "The line between two minima of vanilla SGD", data, "mean, range")
    return drawing
