"""How the figures of Smith & Le (2018) are drawn: Datasets in, a figure out, nothing computed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from paper_figures._smith_le_2018_measures import LN2
from paper_figures.style import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    draw_curve,
    head,
    page,
    plain_ticks,
)
from sims.evidence import LABELS

_TITLES = {
    "digits": "digits 0/1, N = 60, P = 65",
    "mnist": "MNIST 0/1, N = 800, P = 785",
    "digits_38": "digits 3/8, N = 60",
    "mnist_38": "MNIST 3/8, N = 800",
}
_LAMBDA = "prior precision λ (summed cost)"


def _title(name: str, data: xr.Dataset) -> str:
    """Return which data a panel shows; files that are not MNIST's are named by their checksum."""
    dataset = data.attrs.get("dataset", "mnist")
    return _TITLES[name] if dataset == "mnist" else _TITLES[name].replace("MNIST", dataset)


def _band(axes: Axes, data: xr.DataArray, color: str, label: str, **style: Any) -> None:
    """Draw the mean over seeds and, as a band, the middle two thirds of the seeds."""
    axes.plot(data.prior_precision, data.mean("seed"), color=color, label=label, **style)
    low, high = data.quantile([1 / 6, 5 / 6], "seed")
    axes.fill_between(data.prior_precision, low, high, color=color, alpha=0.18, linewidth=0)


def _seeds(data: Mapping[str, xr.Dataset]) -> str:
    counts = sorted({d.sizes["seed"] for d in data.values()})
    return f"mean of {' or '.join(map(str, counts))} seeds; band: middle two thirds"


def accuracy(data: Mapping[str, xr.Dataset]) -> Figure:
    drawing, grid = page(len(data), 2, 2.4)
    for row, (name, d) in zip(grid, data.items(), strict=True):
        for axes, kind in zip(row, LABELS, strict=True):
            curves = d.sel(labels=kind)
            _band(axes, curves.train_accuracy, BLUE, "training")
            _band(axes, curves.test_accuracy, RED, "test", linestyle="--")
            axes.axhline(0.5, color=GRAY, linewidth=0.8)
            axes.set(xscale="log", ylim=(0.35, 1.04), title=f"{_title(name, d)}: {kind} labels")
        row[0].set_ylabel("accuracy")
        row[0].legend(loc="upper right")
    for axes in grid[-1]:
        axes.set_xlabel(_LAMBDA)
    drawing.suptitle(f"Figure 1: accuracy against regularization ({_seeds(data)})", fontsize=9)
    return drawing


def evidence(data: Mapping[str, xr.Dataset]) -> Figure:
    drawing, grid = page(2 * len(data), 2, 2.1)
    for i, (name, d) in enumerate(data.items()):
        for column, kind in enumerate(LABELS):
            curves = d.sel(labels=kind)
            entropy, ratio = grid[2 * i, column], grid[2 * i + 1, column]
            _band(entropy, curves.train_cross_entropy, BLUE, "training")
            _band(entropy, curves.test_cross_entropy, RED, "test", linestyle="--")
            entropy.axhline(LN2, color=GRAY, linewidth=0.8)
            entropy.set(xscale="log", yscale="log", title=f"{_title(name, d)}: {kind} labels")
            entropy.set_ylim(bottom=1e-4)
            _band(ratio, curves.log_evidence_ratio, GREEN, "E")
            ratio.axhline(0.0, color=GRAY, linewidth=0.8)
            ratio.set(xscale="log", xlabel=_LAMBDA)
        grid[2 * i, 0].set_ylabel("cross-entropy\n(nats an example)")
        grid[2 * i, 0].legend(loc="lower right")
        grid[2 * i + 1, 0].set_ylabel("log evidence ratio E\n(nats; < 0: supported)")
    drawing.suptitle(
        f"Figure 2: cross-entropy and evidence ({_seeds(data)}); gray: ln 2 and 0", fontsize=9
    )
    return drawing


def tracking(data: Mapping[str, xr.Dataset]) -> Figure:
    """Draw test cross-entropy against evidence, with λ as the colour."""
    drawing, grid = page(1, len(data), 3.0)
    scale = Normalize(
        min(float(np.log10(d.prior_precision.min())) for d in data.values()),
        max(float(np.log10(d.prior_precision.max())) for d in data.values()),
    )
    for axes, (name, d) in zip(grid[0], data.items(), strict=True):
        curves = d.sel(labels="true").mean("seed")
        x, y = curves.log_evidence_ratio, curves.test_cross_entropy
        axes.plot(x, y, color=GRAY, linewidth=0.8)
        colours = np.log10(curves.prior_precision)
        points = axes.scatter(x, y, c=colours, norm=scale, cmap="viridis", s=18, zorder=3)
        by_evidence, by_test = int(x.argmin("prior_precision")), int(y.argmin("prior_precision"))
        axes.plot(x[by_evidence], y[by_evidence], "s", mfc="none", mec=RED, ms=10)
        axes.plot(x[by_test], y[by_test], "o", mfc="none", mec=BLUE, ms=14)
        axes.set(yscale="log", xlabel="log evidence ratio E (nats)", title=_title(name, d))
        axes.margins(0.12)
    grid[0, 0].set_ylabel("test cross-entropy (nats)")
    drawing.colorbar(points, ax=grid[0, -1], label="log₁₀ λ")
    drawing.suptitle(
        "Evidence against test cross-entropy, true labels, mean over seeds.\n"
        "Square: best by evidence; circle: best on the test set",
        fontsize=9,
    )
    return drawing


def ground_truth(data: Mapping[str, xr.Dataset]) -> Figure:
    d = data["truth"]
    drawing, grid = page(1, 2, 2.9)
    for axes, kind in zip(grid[0], LABELS, strict=True):
        curves = d.sel(labels=kind)
        truth = curves.thermodynamic_integration
        for name, color, marker, label, shift in (
            ("laplace", RED, "o", "Laplace", 0.93),
            (
                "annealed_importance_sampling",
                BLUE,
                "s",
                "annealed importance sampling\n(its log is a lower bound)",
                1.07,
            ),
        ):
            gap = curves[name] - truth
            error = 2 * gap.std("seed", ddof=min(1, d.sizes["seed"] - 1)) / np.sqrt(d.sizes["seed"])
            axes.errorbar(
                d.prior_precision * shift,
                gap.mean("seed"),
                error,
                color=color,
                marker=marker,
                label=label,
                capsize=2,
            )
        axes.axhline(0.0, color=GRAY, linewidth=0.8)
        axes.axhspan(-1.0, 1.0, color=GRAY, alpha=0.12, linewidth=0)
        axes.set(xscale="log", xlabel=_LAMBDA, title=f"digits 3/8, N = 60: {kind} labels")
    grid[0, 0].set_ylabel("log evidence minus\nthermodynamic integration (nats)")
    grid[0, 1].legend(loc="lower right")
    drawing.suptitle(
        f"Where Laplace is right: mean of {d.sizes['seed']} seeds, 2 standard errors; "
        "gray: within 1 nat",
        fontsize=9,
    )
    return drawing


def invariance(data: Mapping[str, xr.Dataset]) -> Figure:
    drawing, grid = page(1, 3, 2.7)
    for axes, name, title in (
        (grid[0, 0], "logistic", "logistic regression, u = aω"),
        (grid[0, 1], "relu", "two ReLU layers, a and 1/a"),
    ):
        d = data["rescaling"].isel(seed=0)
        axes.plot(
            d.scale,
            d[f"{name}_sharpness"] / d[f"{name}_sharpness"].sel(scale=1.0),
            color=RED,
            marker="o",
            label="sharpness",
        )
        axes.plot(
            d.scale, d[name] / d[name].sel(scale=1.0), color=GREEN, marker="s", label="log evidence"
        )
        axes.set(xscale="log", yscale="log", xlabel="scale a", title=title)
    grid[0, 0].set_ylabel("relative to a = 1")
    grid[0, 0].legend(loc="lower left")
    axes, d = grid[0, 2], data["coordinates"].isel(seed=0)
    for coordinate, color, style in (("w", BLUE, "-"), ("sinh w", ORANGE, "--")):
        gap = d.laplace - d.exact
        axes.plot(
            d.prior_precision,
            gap.sel(coordinate=coordinate),
            color=color,
            linestyle=style,
            marker="o",
            label=f"in {coordinate}",
        )
    axes.axhline(0.0, color=GRAY, linewidth=0.8)
    axes.set(xscale="log", xlabel="prior precision λ", title="a coin's log odds w")
    axes.set_ylabel("Laplace minus exact (nats)")
    axes.legend(loc="lower right")
    drawing.suptitle("Rescaling leaves the evidence; bending leaves only the exact one", fontsize=9)
    return drawing


def stopped(data: Mapping[str, xr.Dataset]) -> Figure:
    names = [name for name in ("digits", "mnist") if {name, f"{name}_stopped"} <= data.keys()]
    drawing, grid = page(1, len(names), 2.9)
    for axes, name in zip(grid[0], names, strict=True):
        _band(axes, data[name].sel(labels="true").log_evidence_ratio, GREEN, "at the optimum")
        stopped = data[f"{name}_stopped"].sel(labels="true").log_evidence_ratio
        _band(axes, stopped, PURPLE, "after 1,000 steps", linestyle="--")
        axes.axhline(0.0, color=GRAY, linewidth=0.8)
        axes.set(xscale="log", xlabel=_LAMBDA, title=f"{_title(name, data[name])}: true labels")
    grid[0, 0].set_ylabel("log evidence ratio E (nats)")
    grid[0, 0].legend(loc="upper right")
    drawing.suptitle(
        "E > 0 at weak regularization is the mark of gradient descent stopped early", fontsize=9
    )
    return drawing


def minima(data: Mapping[str, xr.Dataset]) -> Figure:
    """Draw evidence and accuracy against the batch size of the training, for each prior."""
    d = data["minima"]
    drawing, grid = page(2, d.sizes["prior_precision"], 2.2)
    for column, precision in enumerate(d.prior_precision.values):
        evidence, accuracy = grid[:, column]
        at = d.sel(prior_precision=precision)
        for kind, colour in (("true", GREEN), ("random", PURPLE)):
            own = at.sel(labels=kind)
            draw_curve(evidence, own.log_evidence_ratio, "batch_size", colour, f"{kind} labels")
        draw_curve(accuracy, 100 * at.test_accuracy.sel(labels="true"), "batch_size", GREEN, "test")
        evidence.axhline(0.0, color=GRAY, linewidth=0.8)
        evidence.set(title=f"λ = {precision:g}", yscale="symlog")
        for axes in (evidence, accuracy):
            axes.set(xscale="log")
            plain_ticks(axes.xaxis, d.batch_size.values)
        accuracy.set(xlabel="batch size B")
    grid[0, 0].set_ylabel("log evidence ratio E (nats)\nbelow 0: better than chance")
    grid[1, 0].set_ylabel("test accuracy (%), true labels")
    grid[0, 0].legend()
    head(drawing, "Evidence of the minima that SGD reaches, and their test accuracy", data)
    return drawing
