"""How the figures on Liu et al. (2020) are drawn: Datasets in, a figure out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from paper_figures._liu_2020_measures import (
    AREA_AT_LEAST,
    BOUNDARY_AT_LEAST,
    CHOICES,
    chosen,
    early_recovered,
)
from paper_figures.style import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    draw_curve,
    draw_guide,
    draw_points,
    draw_seeds,
    head,
    page,
    plain_ticks,
)

Data = Mapping[str, xr.Dataset]

# What the claims ask for, where a figure marks it.
STRAIGHT_AREA, REPAIRED, NEAR = 0.04, 0.8, 0.1

# Of the toy's weight decay: steps an epoch, times learning rate, times weight decay.
FORGOTTEN_PER_EPOCH = 10 * 0.01 * 0.1

_RUNS = {
    "random": ("random start", BLUE, "o"),
    "shattered": ("random labels", GRAY, "D"),
    "adversarial": ("then true labels, vanilla", RED, "s"),
    "regularized": ("then true labels, regularized", GREEN, "^"),
}
_TITLES = {
    "random": "(i) random start, true labels",
    "shattered": "(ii) random labels",
    "adversarial": "(iii) from (ii): true labels, vanilla SGD",
    "regularized": "(iv) from (ii): true labels, regularized",
}
_SHORT = {
    "augmentation": "DA",
    "weight decay": "L2",
    "momentum": "mom.",
    "all three": "all",
}


def maps(data: Data) -> Figure:
    """Draw the decision maps of the first seed's four runs, coordinate 0 upward."""
    d = data["runs"].isel(seed=0)
    drawing, grid = page(2, 2, 2.6)
    for axes, (run, title) in zip(grid.ravel(), _TITLES.items(), strict=True):
        one = d.sel(run=run)
        low, high = float(one.logit.min()), float(one.logit.max())
        levels = sorted({min(low, -1e-6) - 1.0, 0.0, max(high, 1e-6) + 1.0})
        axes.contourf(
            d.x1, d.x0, one.logit.transpose("x0", "x1"), levels, colors=[RED, BLUE], alpha=0.3
        )
        labels = d.random_label if run == "shattered" else d.y
        for label, colour in ((0, RED), (1, BLUE)):
            part = d.point.isel(example=(labels == label).values)
            axes.plot(part.isel(coordinate=1), part.isel(coordinate=0), ".", color=colour, ms=4)
        axes.set_title(f"{title}: {float(100 * one.train_accuracy):.4g} % right", fontsize=8.5)
        axes.set(xlabel="x₁", ylabel="x₀")
        axes.label_outer()
        axes.grid(visible=False)
    drawing.suptitle("Decision maps of the toy's four runs (one seed)", fontsize=9)
    return drawing


def _ratio(d: xr.Dataset, name: str, run: str) -> xr.DataArray:
    return d[name].sel(run=run) / d[name].sel(run="random")


def bad_minima(data: Data) -> Figure:
    """Draw every seed's boundary against its area error, and the accuracies of the four runs."""
    d = data["runs"]
    drawing, [[plane, accuracy]] = page(1, 2, 3.0)
    for run in ("shattered", "adversarial", "regularized"):
        label, colour, marker = _RUNS[run]
        area = d.area_error.sel(run=run)
        plane.plot(area, _ratio(d, "boundary_cells", run), marker, color=colour, label=label)
    line: dict[str, Any] = {"color": "black", "linewidth": 0.9, "linestyle": ":"}
    plane.axvline(AREA_AT_LEAST, **line, label="asked of bad minima: beyond")
    plane.axhline(BOUNDARY_AT_LEAST, **line)
    plane.set(xlabel="area error", ylabel="boundary over that of the random start", yscale="log")
    plane.set_title("(a) each seed's decision map")
    plane.legend(fontsize=7)
    plain_ticks(plane.yaxis, (1, 2, 3, 5, 10))
    places = np.arange(len(_RUNS))
    for name, label, colour, shift in (
        ("fresh_accuracy", "fresh points", BLUE, -0.12),
        ("wide_accuracy", "fresh points, twice the spread", ORANGE, 0.12),
    ):
        values = 100 * d[name].sel(run=list(_RUNS))
        draw_seeds(accuracy, places + shift, values, colour)
        draw_points(accuracy, places + shift, values, colour, label)
    accuracy.set_xticks(places, ["random\nstart", "random\nlabels", "then\nvanilla", "then\nreg."])
    accuracy.set(xlabel="run", ylabel="accuracy, %", title="(b) accuracy on true labels")
    accuracy.legend(fontsize=7, loc="center right")
    head(drawing, "Bad minima: all training points are right", data, "dots; mean and 2 s.e.")
    return drawing


def regularizers(data: Data) -> Figure:
    """Draw area errors, accuracies and distances for each choice of regularizers and start."""
    d = data["grid"]
    by_choice = xr.concat(
        [chosen(d, choice).drop_vars(("augmentation", "weight_decay", "momentum"))
         for choice in CHOICES],
        xr.Variable("choice", list(CHOICES)),
    )  # fmt: skip
    drawing, rows = page(3, 1, 1.75)
    places = np.arange(len(CHOICES))
    for axes, (name, scale, title, label) in zip(
        rows[:, 0],
        (
            ("area_error", 1.0, "(a) area error", "area error"),
            ("wide_accuracy", 100.0, "(b) accuracy on points of twice the spread", "accuracy, %"),
            ("distance", 1.0, "(c) distance from the start", "distance"),
        ),
        strict=True,
    ):
        for start, text, colour, shift in (
            ("random", "random start", BLUE, -0.12),
            ("adversarial", "bad start", RED, 0.12),
        ):
            values = scale * by_choice[name].sel(start=start).transpose("seed", "choice")
            draw_seeds(axes, places + shift, values, colour)
            draw_points(axes, places + shift, values, colour, text)
        axes.set(title=title, ylabel=label)
        axes.set_xticks(places, [""] * len(CHOICES))
    area, _, distance = rows[:, 0]
    area.axhline(STRAIGHT_AREA, color="black", linewidth=0.9, linestyle=":", label="asked with L2")
    area.legend(ncols=3, loc="upper right", fontsize=7)
    area.set_ylim(bottom=0)
    distance.set(yscale="log")
    plain_ticks(distance.yaxis, (1, 3, 10, 30, 100))
    distance.set_xticks(places, [_shortened(choice) for choice in CHOICES])
    distance.set_xlabel("DA: augmentation; L2: weight decay; mom.: momentum")
    head(drawing, "Which regularizers undo a bad start", data, "dots; mean and 2 s.e.")
    return drawing


def _shortened(choice: str) -> str:
    return " + ".join(_SHORT.get(part, part) for part in choice.split(", "))


def norms(data: Data) -> Figure:
    """Draw four norms of the four runs over those of the random start's, and the distances."""
    d = data["runs"]
    drawing, [[sizes, distance]] = page(1, 2, 3.0)
    names = {
        "l1_path_norm": "l1\npath",
        "l2_path_norm": "l2\npath",
        "frobenius_norm": "Frobenius",
        "spectral_product": "spectral\nproduct",
    }
    places = np.arange(len(names))
    for shift, run in zip(
        (-0.2, 0.0, 0.2), ("shattered", "adversarial", "regularized"), strict=True
    ):
        label, colour, marker = _RUNS[run]
        values = xr.concat([_ratio(d, name, run) for name in names], "norm")
        values = values.transpose("seed", "norm")
        draw_seeds(sizes, places + shift, values, colour)
        draw_points(sizes, places + shift, values, colour, label, marker=marker)
    sizes.axhline(1.0, color=BLUE, linewidth=1.0, label="random start")
    sizes.set(yscale="log", xlabel="norm", ylabel="norm over that of the random start")
    sizes.set_xticks(places, list(names.values()))
    sizes.set_title("(a) norms of the weights")
    drawing.legend(
        handles=sizes.get_legend_handles_labels()[0],
        loc="outside lower center",
        ncols=4,
        fontsize=7.5,
    )
    for place, (run, (_, colour, marker)) in enumerate(_RUNS.items()):
        values = d.distance.sel(run=[run]).transpose("seed", "run")
        draw_seeds(distance, [place], values, colour)
        draw_points(distance, [place], values, colour, "", marker=marker)
    far = float(d.distance.sel(run="regularized").mean())
    distance.axhline(
        NEAR * far, color="black", linewidth=0.9, linestyle=":", label="a tenth of the last"
    )
    distance.set(yscale="log", xlabel="run", ylabel="distance from the run's start")
    plain_ticks(distance.yaxis, (1, 3, 10, 30, 100))
    distance.set_xticks(
        range(len(_RUNS)), ["random\nstart", "random\nlabels", "then\nvanilla", "then\nreg."]
    )
    distance.set_title("(b) distance traveled")
    distance.legend(fontsize=7)
    head(drawing, "Bad minima are complex, and near their start", data, "dots; mean and 2 s.e.")
    return drawing


def schedules(data: Data) -> Figure:
    """Draw what weight decay repairs if it is switched off, or on, after k epochs."""
    d = data["schedules"]
    drawing, [[area, share]] = page(1, 2, 3.0)
    for first, label, colour, marker in (
        ("regularized", "first k epochs only", BLUE, "o"),
        ("vanilla", "from epoch k on", GREEN, "^"),
    ):
        values = d.area_error.sel(first=first)
        draw_curve(area, values, "switch", colour, f"L2 {label}", marker=marker)
    switch = d.switch.values
    found = [early_recovered(d, "regularized", int(k)) for k in switch]
    share.errorbar(
        FORGOTTEN_PER_EPOCH * switch,
        [each.value for each in found],
        2 * np.nan_to_num([each.uncertainty for each in found]),
        color=BLUE,
        label="L2 first k epochs only",
        marker="o",
        linewidth=1.0,
        capsize=2,
    )
    fine = np.linspace(0.0, FORGOTTEN_PER_EPOCH * switch.max(), 100)
    draw_guide(share, fine, 1 - np.exp(-fine), "1 - exp(-ε λ T), a free weight", "--")
    share.axhline(REPAIRED, color="black", linewidth=0.9, linestyle=":", label="asked")
    share.axvline(50 * FORGOTTEN_PER_EPOCH, color=GRAY, linewidth=0.9, label="50 epochs")
    area.axvline(50, color=GRAY, linewidth=0.9, label="50 epochs")
    area.set_xscale("symlog", linthresh=5)
    area.set_xticks(switch, [f"{k}" for k in switch])
    area.xaxis.set_minor_locator(NullLocator())
    area.set(xlabel="k, epochs", ylabel="area error at the end", title="(a) area error")
    area.set(xlim=(-1, 1.2 * switch.max()), ylim=(0, None))
    share.set(xlabel="ε λ T up to epoch k", ylabel="share repaired", title="(b) share repaired")
    area.legend(fontsize=7, loc=(0.02, 0.1))
    share.legend(fontsize=7)
    head(drawing, "Weight decay λ at the beginning only, or from an epoch on", data)
    return drawing


_LINES = {
    "random - adversarial": ("good to bad", RED),
    "adversarial - regularized": ("bad to regularized", GREEN),
    "random - regularized": ("good to regularized", BLUE),
}


def lines(data: Data) -> Figure:
    """Draw loss and accuracies on straight lines between minima."""
    d = data["lines"]
    drawing, [[loss, train, fresh]] = page(1, 3, 2.8)
    for line, (label, colour) in _LINES.items():
        one = d.sel(line=line)
        for axes, values in (
            (loss, one.train_loss),
            (train, 100 * one.train_accuracy),
            (fresh, 100 * one.fresh_accuracy),
        ):
            draw_curve(axes, values, "share", colour, label, marker="", whole=axes is loss)
    loss.set(yscale="log", ylabel="mean train loss, nats", title="(a) train loss")
    train.set(ylabel="accuracy, %", title="(b) training points")
    fresh.set(ylabel="accuracy, %", title="(c) fresh points")
    loss.legend(fontsize=7)
    for axes in (loss, train, fresh):
        axes.set_xlabel("share of the way")
    head(
        drawing,
        "Straight lines between minima",
        data,
        "mean; (a) range, (b), (c) 2 s.e.",
    )
    return drawing


def linear(data: Data) -> Figure:
    """Draw the risk that pre-training adds in a linear model, expected and measured."""
    drawing, axes = page(1, len(data), 3.0)
    panels = dict(zip(data, axes[0], strict=True))
    if "control" in panels:
        _control(panels["control"], data["control"])
    if "copies" in panels:
        _copies(panels["copies"], data["copies"])
    head(drawing, "Least squares after random labels", data, "lines: expected; dots: measured")
    return drawing


def _control(axes: Axes, d: xr.Dataset) -> None:
    """Draw each seed's expected and measured risks, case by case."""
    places = np.tile(np.arange(d.sizes["case"]), d.sizes["seed"])
    looks: dict[str, dict[str, Any]] = {
        "predicted": {"color": BLUE, "marker": "_", "markersize": 14, "label": "expected"},
        "risk_difference": {"color": ORANGE, "marker": "o", "markersize": 3, "label": "measured"},
    }
    for name, look in looks.items():
        sizes = np.abs(d[name].transpose("seed", "case").values).ravel()
        axes.plot(places, sizes, alpha=0.6, linestyle="none", **look)
    axes.axhline(
        float(d.direct_risk.mean()),
        color=GRAY,
        linewidth=1.0,
        linestyle="--",
        label="risk without pre-training",
    )
    cases = zip(d.replicas.values, d.zero_fraction.values, strict=True)
    axes.set_xticks(range(d.sizes["case"]), [f"R = {R}\nZ = {Z:g}" for R, Z in cases])
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("replicas R, share of zeros Z")
    axes.set(yscale="log", ylabel="size of the risk added", title="(a) n = 40, d = 100, each seed")
    axes.legend(fontsize=7, loc="lower right")


def _copies(axes: Axes, d: xr.Dataset) -> None:
    table = d.set_index(case=("replicas", "zero_fraction")).unstack("case")
    for Z, colour in zip(table.zero_fraction.values, (BLUE, PURPLE, GREEN), strict=False):
        one = table.sel(zero_fraction=Z)
        draw_curve(axes, one.predicted, "replicas", colour, f"Z = {Z:g}", whole=True, marker="")
        mean = one.risk_difference.mean("seed")
        axes.plot(one.replicas, mean, "o", color=colour, label="measured, mean")
    axes.axvline(10, color=GRAY, linewidth=1.0, linestyle=":", label="nR = d")
    axes.set(xscale="log", yscale="log", xlabel="replicas R", ylabel="risk added")
    axes.set_title("(b) n = 20, d = 200")
    axes.legend(fontsize=7)
