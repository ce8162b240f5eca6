"""How the figures on Zhang et al. (2017) are drawn: Datasets in, a figure out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from paper_figures._zhang_2017_measures import norm_ratios
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
    finite,
    head,
    mean_and_error,
    page,
    plain_ticks,
    shades,
)

Data = Mapping[str, xr.Dataset]

# What the claims ask for, where a figure marks it: error up to n = 2,000 and at 50,000; correlation
# of a network at the last n and of a linear classifier at n = 512; factor of the output changes;
# percentage points between the gaps.
ERROR_LIMITS = ((2000, 1e-6), (50_000, 1e-4))
NETWORK_AT_LEAST, LINEAR_AT_MOST = 0.99, (512, 0.3)
CHANGE_FACTOR, GAP_POINTS = 3.0, 5.0

# Test errors of table 3 in percent, by data set and features.
PRINTED_ERRORS = {
    "mnist": {"pixels": {1.2: ""}, "gabor": {0.6: ""}},
    "cifar": {"pixels": {46.0: ""}, "filters": {17.0: "", 15.0: ", with a ridge"}},
}

_ROUNDING = 2.0**-53
_EXAMPLES = "training examples n"
_NORM = "norm of the interpolant"
_LABEL_COLOURS = {"true": BLUE, "random": RED, "forced": RED}


def _largest(
    axes: Axes, values: xr.DataArray, dim: str, colour: Any, label: str, **line: Any
) -> None:
    """Draw the largest of the seeds, which is what the claims on errors judge."""
    values = finite(values, dim).max("seed")
    line = {"marker": ".", "linewidth": 1.2, **line}
    axes.plot(values[dim], values, color=colour, label=label, **line)


def _style_keys(styles: Mapping[str, Any]) -> list[Line2D]:
    """Return entries of a legend that say what line styles mean."""
    return [
        Line2D([], [], color="black", linewidth=1.2, linestyle=style, label=label)
        for label, style in styles.items()
    ]


# --- memorization --------------------------------------------------------------------------------


def construction(data: Data) -> Figure:
    """Draw the network's value over the plane, and along its projection."""
    d = data["construction"].isel(seed=0)
    drawing, [[plane, profile]] = page(1, 2, 2.9)
    colours = plane.pcolormesh(
        d.first, d.second, d.plane, cmap="RdBu", vmin=-2, vmax=2, shading="nearest", rasterized=True
    )
    drawing.colorbar(
        colours, ax=plane, label="c(x)", extend="both", shrink=0.85, ticks=range(-2, 3)
    )
    direction = d.direction.values
    reach = 0.9 * float(d.first.max())
    plane.annotate(
        "a",
        xy=reach * direction,
        xytext=-reach * direction,
        arrowprops={"arrowstyle": "->", "color": "black", "linewidth": 1.0},
        ha="center",
        va="center",
    )
    for axes, x, y in ((plane, *d.point.values.T), (profile, d.place, d.label)):
        for label, colour, marker in ((1, BLUE, "o"), (-1, RED, "s")):
            chosen = d.label.values == label
            axes.plot(
                np.asarray(x)[chosen],
                np.asarray(y)[chosen],
                marker,
                color=colour,
                mec="white",
                mew=0.8,
                markersize=6.5,
                label=f"label {label:+d}",
                zorder=3,
            )
    plane.set(xlabel="first input", ylabel="second input", title="points in the plane")
    plane.set(aspect="equal", xlim=d.first[[0, -1]], ylim=d.second[[0, -1]])
    plane.grid(visible=False)
    bottom, top = float(d.line.min()) - 0.5, float(d.line.max()) + 0.2
    profile.vlines(d.bias, bottom, top, color=GRAY, linewidth=0.6, label="biases of the hinges")
    profile.plot(d.position, d.line, color="black", linewidth=1.1, label="c(x)")
    profile.set(xlabel="projection ⟨a, x⟩", ylabel="output", title="the same along the projection")
    profile.set_ylim(bottom, top)
    profile.grid(visible=False)
    drawing.legend(*profile.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    n = d.sizes["n"]
    head(drawing, f"Theorem 1: {2 * n + 2} weights fit any labels of {n} points", data, "the first")
    return drawing


def interleaving(data: Data) -> Figure:
    """Draw residuals against n and ρ, and the least eigenvalue beside the least singular value."""
    d = data["conditioning"]
    drawing, [[over_n, over_rho, spectrum]] = page(1, 3, 3.1)
    styles = {"float64": "-", "feedback": "--"}
    for rho, colour in zip(d.interleave.values, shades(d.sizes["interleave"]), strict=True):
        for arithmetic, style in styles.items():
            residual = d.residual.sel(interleave=rho, arithmetic=arithmetic)
            label = f"ρ = {rho:g}" if style == "-" else ""
            _largest(over_n, residual, "n", colour, label, linestyle=style)
    over_n.set(xscale="log", yscale="log", ylim=(1e-16, 1e8), xlabel="points n", title="over n")
    over_n.set_ylabel("largest residual |Aw - y|")
    over_n.set_yticks([10.0**k for k in range(-16, 9, 4)])
    over_n.yaxis.set_minor_locator(NullLocator())

    rational = d.residual.sel(arithmetic="rational")
    n = int(d.n[rational.notnull().all(["seed", "interleave"])].max())
    at_n = d.sel(n=n)
    kinds = (
        ("float32", RED, "s", "-"),
        ("float64", BLUE, "o", "-"),
        ("feedback", GREEN, "^", "--"),
        ("rational", "black", "D", ":"),
    )
    for arithmetic, colour, marker, style in kinds:
        residual = at_n.residual.sel(arithmetic=arithmetic)
        _largest(
            over_rho, residual, "interleave", colour, arithmetic, marker=marker, linestyle=style
        )
    over_rho.set_yscale("symlog", linthresh=1e-16, linscale=4.0)
    over_rho.set(ylim=(-0.4e-16, 1e28), xlabel="interleaving ρ", title=f"over ρ, n = {n}")
    over_rho.set_yticks([0, *(10.0**k for k in range(-16, 17, 8))])
    over_rho.yaxis.set_minor_locator(NullLocator())
    over_rho.legend(fontsize=7, loc="upper left", ncols=2, columnspacing=1.0)

    for name, label, colour, marker in (
        ("smallest_eigenvalue", "eigenvalue,\nmin (x - b)", BLUE, "o"),
        ("smallest_singular_value", "singular value", RED, "s"),
    ):
        values = at_n[name].where(at_n[name] > 0)
        draw_curve(spectrum, values, "interleave", colour, label, whole=True, marker=marker)
    spectrum.set(yscale="log", xlabel="interleaving ρ", title=f"least of A, n = {n}")
    spectrum.legend(fontsize=7, loc="lower left")
    handles, _ = over_n.get_legend_handles_labels()
    keys = _style_keys({"left: float64": "-", "with feedback": "--"})
    drawing.legend(handles=[*handles, *keys], loc="outside lower center", ncols=5, fontsize=7)
    head(
        drawing,
        "Biases beyond the gaps' middle are unstable in floating point",
        data,
        "largest residual, where finite",
    )
    return drawing


def rounding(data: Data) -> Figure:
    """Draw the error with and without feedback, the smallest gap and the largest weight."""
    d = data["fits"]
    drawing, [[errors, margins, weights]] = page(1, 3, 3.1)
    for k, colour in zip(d.n_features.values, (BLUE, ORANGE, GREEN, PURPLE), strict=False):
        one, label = d.sel(n_features=k), f"d = {k}"
        _largest(errors, one.error, "n", colour, label)
        _largest(errors, one.rounded_error, "n", colour, "", linestyle="--")
        draw_curve(margins, one.margin, "n", colour, label, whole=True)
        draw_curve(weights, one.largest_weight, "n", colour, label, whole=True)
    n = d.n.values.astype(float)
    draw_guide(errors, n, _ROUNDING * n**2, "n²u, u = 1.1e-16")
    errors.plot(
        *zip(*ERROR_LIMITS, strict=True),
        color="black",
        linestyle="none",
        marker="_",
        markersize=14,
        mew=1.5,
        label="asked of feedback",
    )
    draw_guide(margins, n, 2 * np.sqrt(np.pi) / n**2, "2√π/n²")
    first = d.largest_weight.mean(["seed", "n_features"]).values[0]
    draw_guide(weights, n, first * (n / n[0]) ** 2, "∝ n²")
    for axes, y_label, title in (
        (errors, "largest error", "rounding"),
        (margins, "smallest projected gap", "the gaps"),
        (weights, "largest weight", "the weights"),
    ):
        axes.set(xscale="log", yscale="log", xlabel="points n", ylabel=y_label, title=title)
    margins.legend(loc="upper right", fontsize=7)
    weights.legend(loc="upper left", fontsize=7)
    errors.set_ylim(top=1.0)
    handles, _ = errors.get_legend_handles_labels()
    keys = _style_keys({"with feedback": "-", "each rounded": "--"})
    errors.legend(handles=[*keys, *handles[-2:]], loc="upper left", fontsize=6.5)
    head(
        drawing,
        "Feedback keeps Theorem 1 exact in float64",
        data,
        "largest error, else mean and range",
    )
    return drawing


def depths(data: Data) -> Figure:
    """Draw width, weights and error of networks of k layers, and of 4⌈n/d⌉ units."""
    d = data["depths"]
    n, features, k = d.attrs["n"], d.attrs["n_features"], d.depth
    drawing, [[width, weights, error]] = page(1, 3, 3.1)
    for prefix, name, colour, marker in (("", "split", BLUE, "o"), ("gated_", "gated", RED, "s")):
        mark: dict[str, Any] = {"marker": marker}
        draw_curve(width, d[f"{prefix}width"], "depth", colour, f"{name} hinges", **mark)
        draw_curve(weights, d[f"{prefix}n_nonzero"], "depth", colour, "", **mark)
        _largest(error, d[f"{prefix}error"], "depth", colour, "", **mark)
    for axes, name in ((width, "width"), (weights, "n_nonzero"), (error, "error")):
        value = float(d[f"general_{name}"].max())
        label = "4⌈n/d⌉ units, depth 1" if axes is width else ""
        axes.axhline(value, color=GREEN, linewidth=1.2, linestyle="-.", label=label)
    draw_guide(width, k, n / k, "n/k")
    draw_guide(weights, k, 8 * n + features + 10 * k, "8n + d + 10k", "--")
    draw_guide(weights, k, 2 * n + features + 0 * k, "2n + d: depth 1")
    for axes, y_label, title in (
        (width, "units in the widest layer", "width"),
        (weights, "weights that are not zero", "weights"),
        (error, "largest error", "error"),
    ):
        axes.set(xscale="log", xlabel="hidden layers k", ylabel=y_label, title=title)
        axes.set_xticks(k.values, [str(value) for value in k.values])
        axes.minorticks_off()
    width.set(yscale="log")
    plain_ticks(width.yaxis, (20, 50, 100, 200, 500))
    weights.set_ylim(0, 1.25 * (8 * n))
    weights.legend(loc="upper left", fontsize=7)
    error.set(yscale="log")
    drawing.legend(*width.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    head(
        drawing,
        f"Corollary 1: {n} points in {features} dimensions at depth k",
        data,
        "largest error",
    )
    return drawing


def cost(data: Data) -> Figure:
    """Draw times and memory against n."""
    d = data["cost"]
    drawing, [[time, memory]] = page(1, 2, 3.1)
    for task, label, colour, marker in (
        ("dense", "dense solve", RED, "s"),
        ("triangular", "triangular solve", ORANGE, "D"),
        ("memorize", "memorize", BLUE, "o"),
        ("evaluate", "evaluate", GREEN, "^"),
        ("product", "read X once: X a", PURPLE, "v"),
    ):
        seconds = d.seconds.sel(task=task)
        if finite(seconds, "n").size:
            draw_curve(time, seconds, "n", colour, label, marker=marker)
    n = d.n.values.astype(float)
    slowest = d.seconds.sel(task=["dense", "memorize"]).mean("seed")
    for power, task, label in ((3, "dense", "∝ n³"), (1, "memorize", "∝ n")):
        seconds = slowest.sel(task=task).dropna("n")
        if seconds.size:
            x = seconds.n.values.astype(float)
            draw_guide(
                time, x, 0.3 * seconds.values[-1] * (x / x[-1]) ** power, label, "-:"[power == 3]
            )
    time.set(xscale="log", yscale="log", xlabel="points n", ylabel="time (s)", title="time")
    drawing.legend(
        *time.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=7.5
    )
    draw_curve(memory, d.memory, "n", BLUE, "memorize, at its peak", marker="o")
    draw_guide(memory, n, 8 * n**2, "the dense matrix, 8n² bytes", "--")
    memory.set(xscale="log", yscale="log", xlabel="points n", ylabel="memory (bytes)")
    memory.set_title("memory beside the data")
    memory.legend(fontsize=7, loc="upper left")
    head(drawing, "Theorem 1's network takes time and memory ∝ n", data, "shortest of its times")
    return drawing


# --- interpolation -------------------------------------------------------------------------------


def sgd_limit(data: Data) -> Figure:
    """Draw the distance from the predicted limit along training, and the norm of the end."""
    d = data["sgd"]
    drawing, [[distance, norms]] = page(1, 2, 2.9)
    everything = []
    for i, colour in zip(range(d.sizes["start_norm"]), (BLUE, ORANGE, RED, GREEN), strict=False):
        one = d.isel(start_norm=i)
        label = f"|w₀| = {float(one.start_norm):g}"
        draw_curve(distance, one.distance, "epoch", colour, label, whole=True, marker="")
        norms.plot(
            one.predicted_norm, one.norm, color=colour, linestyle="none", marker="o", label=label
        )
        everything += [*one.predicted_norm.values]
    distance.set(yscale="log", xlabel="epochs", ylabel="relative distance to the predicted limit")
    distance.set_title("distance along training")
    distance.legend(title="start")
    ends = np.array([0.7 * min(everything), 1.4 * max(everything)])
    draw_guide(norms, ends, ends, "equal", "--")
    norms.set(xscale="log", yscale="log", xlabel="predicted norm", ylabel="norm at the end")
    norms.set_title("norm of the solution found, each seed")
    norms.legend(loc="upper left")
    head(drawing, "SGD ends at the solution nearest to its start", data, "mean and range")
    return drawing


_FEATURES = {
    "pixels": ("pixels", BLUE, "o"),
    "gabor": ("Gabor features", GREEN, "^"),
    "filters": ("random convolution", RED, "s"),
}
_DATASETS = {"digits": "digits", "mnist": "MNIST", "cifar": "CIFAR-10"}
_PAPERS_DATA = ("mnist", "cifar10", "cifar10-jpeg")


def dataset_label(short: str, d: xr.Dataset) -> str:
    """Return which data a panel shows; files that are not the paper's are named as identified."""
    name = d.attrs.get("dataset", "mnist")
    jpeg = ", JPEG copy" if name.endswith("jpeg") else ""
    return _DATASETS[short] + jpeg if name in _PAPERS_DATA else name


def _with_n(label: str, d: xr.Dataset) -> str:
    """Return a label with the number of training examples, where the results say it."""
    n = json.loads(d.attrs.get("parameters", "{}")).get("train_size")
    return f"{label}, n = {n:,}" if n else label


def table_3(data: Data) -> Figure:
    """Draw error against norm for each data set, and error against the ridge.

    The names of ``data`` begin with data set and features, as in "mnist_gabor".
    """
    fits: dict[str, dict[str, xr.Dataset]] = {}
    for key, d in data.items():
        fits.setdefault(key.split("_")[0], {})[key.partition("_")[2]] = d
    columns = 2 if len(fits) % 2 else 3
    drawing, grid = page(-(-(len(fits) + 1) // columns), columns, 2.9)
    *panels, last = grid.ravel()
    colours = dict(zip(fits, (BLUE, ORANGE, PURPLE), strict=False))
    for (short, found), axes in zip(fits.items(), panels, strict=True):
        _norms_and_errors(axes, short, found)
        for name, d in found.items():
            if d.sizes["ridge"] > 1:
                features, _, marker = _FEATURES[name.split("_")[0]]
                label = _with_n(f"{dataset_label(short, d)}, {features}", d)
                error = 100 * d.test_error.sel(labels="true")
                look = {"marker": marker, **_fill(name)}
                draw_curve(last, error, "ridge", colours[short], label, **look)
    last.set_xscale("symlog", linthresh=1e-4, linscale=0.6)
    last.set_xticks([0.0, 1e-4, 1e-3, 1e-2, 1e-1])
    last.xaxis.set_minor_locator(NullLocator())
    last.set(xlabel="ridge λ", title="with a ridge", ylabel="test error (%)")
    if len(fits) == 1:
        last.set_ylim(0, 1.5 * last.get_ylim()[1])
    else:  # orders of magnitude apart
        last.set_yscale("log")
        low, high = last.get_ylim()
        last.set_ylim(low, high * (high / low) ** 0.5)
        plain_ticks(last.yaxis, (0.2, 0.5, 1, 2, 5, 10, 20, 50))
    last.legend(fontsize=7, loc="upper right")
    head(drawing, "Table 3: norm and test error of kernel interpolants", data)
    return drawing


def _fill(name: str) -> dict[str, Any]:
    """Return open markers for the fits to a part of the data, which are named by their n."""
    return {} if name in _FEATURES else {"markerfacecolor": "white"}


def _norms_and_errors(axes: Axes, short: str, found: Mapping[str, xr.Dataset]) -> None:
    """Draw each fit of the true labels at its norm and error, and the printed errors."""
    for name, d in found.items():
        features, colour, marker = _FEATURES[name.split("_")[0]]
        fit = d.sel(labels="true", ridge=0.0)
        x, x_error = mean_and_error(fit.rkhs_norm)
        label = _with_n(features, d)
        draw_points(
            axes, x, 100 * fit.test_error, colour, label, marker=marker, xerr=x_error, **_fill(name)
        )
        if d.attrs.get("dataset", "mnist") in _PAPERS_DATA:
            for printed, remark in PRINTED_ERRORS.get(short, {}).get(name, {}).items():
                axes.axhline(printed, color=colour, linewidth=1.0, linestyle="--")
                axes.text(
                    0.01,
                    printed,
                    f"paper: {printed:g}{remark}",
                    color=colour,
                    fontsize=7,
                    transform=axes.get_yaxis_transform(),
                    ha="left",
                    va="top" if remark else "bottom",
                )
    title = dataset_label(short, next(iter(found.values())))
    axes.set(xlabel=_NORM, ylabel="test error (%)", title=title)
    axes.margins(x=0.35)
    axes.set_xlim(left=max(0.0, axes.get_xlim()[0]))
    axes.set_ylim(0, 1.6 * axes.get_ylim()[1])
    axes.legend(fontsize=7, loc="upper right")


def norms(data: Data) -> Figure:
    """Draw errors and norms against n, and an interpolant that is wrong on purpose."""
    subsets = {int(key.removeprefix("mnist_")): d for key, d in data.items() if key != "forced"}
    drawing, grid = page(2 if subsets else 1, 2 if subsets else 1, 2.5)
    if subsets:
        _over_n(grid.ravel()[:3], dict(sorted(subsets.items())))
    _forced(grid[-1, -1], data["forced"].sel(ridge=0.0))
    head(drawing, "The norm of interpolants grows with wrong labels", data)
    return drawing


def _over_n(panels: Any, subsets: Mapping[int, xr.Dataset]) -> None:
    error, norm, ratio = panels
    name = dataset_label("mnist", next(iter(subsets.values())))
    fits = {n: d.sel(ridge=0.0) for n, d in subsets.items()}
    wrong = {n: 100 * fit.test_error.sel(labels="true") for n, fit in fits.items()}
    by_size(error, wrong, BLUE, "")
    for kind in ("true", "random"):
        of_kind = {n: fit.rkhs_norm.sel(labels=kind) for n, fit in fits.items()}
        by_size(norm, of_kind, _LABEL_COLOURS[kind], f"{kind} labels")
    by_size(ratio, {n: norm_ratios(d) for n, d in subsets.items()}, PURPLE, "")
    for axes in panels:
        axes.set(xscale="log", xlabel=_EXAMPLES)
    error.set(yscale="log", ylabel="test error (%)", title=f"{name}: error")
    plain_ticks(error.yaxis, (0.5, 1, 2, 5, 10, 20, 50))
    norm.set(yscale="log", ylabel=_NORM, title=f"{name}: norm")
    norm.legend(loc="upper left")
    ratio.set(ylabel="random over true labels", title=f"{name}: ratio of norms")
    ratio.set_ylim(0, 1.15 * ratio.get_ylim()[1])


def by_size(axes: Axes, values: Mapping[int, xr.DataArray], colour: str, label: str) -> None:
    """Draw means over seeds and two standard errors; seeds may differ in number."""
    means, errors = zip(*map(mean_and_error, values.values()), strict=True)
    axes.errorbar(
        list(values), means, errors, color=colour, label=label, marker="o", linewidth=1.2, capsize=2
    )


def _forced(axes: Axes, fit: xr.Dataset) -> None:
    """Draw norms of fits to all images: true labels, and random ones where it is tested."""
    kinds = {"true": "all labels true", "forced": "test labels random"}
    names = []
    for place, (kind, name) in enumerate(kinds.items()):
        one = fit.sel(labels=kind)
        axes.barh(place, float(one.rkhs_norm.mean()), color=_LABEL_COLOURS[kind], height=0.55)
        seeds = np.full(one.sizes["seed"], place)
        axes.plot(one.rkhs_norm, seeds, color="black", marker="|", markersize=9, linestyle="none")
        names.append(f"{name}:\n{100 * float(one.test_error.mean()):.1f} % wrong\non test images")
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.grid(visible=False, axis="y")
    axes.set(xlabel=_NORM, ylabel="fitted to", title="digits: wrong on purpose")


# --- capacity ------------------------------------------------------------------------------------


def rademacher(data: Data) -> Figure:
    """Draw the complexity of a ball between its bounds, and what learners reach."""
    d = data["rademacher"]
    drawing, [[ball, learners]] = page(1, 2, 3.0)
    low, high = d.ball_lower.mean("seed"), d.ball_upper.mean("seed")
    ball.fill_between(d.n, low, high, color=GRAY, alpha=0.25, linewidth=0, label="between bounds")
    draw_points(ball, d.n, d.ball, BLUE, "Monte Carlo")
    ball.set(xscale="log", yscale="log", xlabel=_EXAMPLES, ylabel="Rademacher complexity")
    ball.set_title("linear functions with values in [-1, 1]")
    ball.legend(loc="lower left")
    marks: tuple[tuple[str, str, str, dict[str, Any]], ...] = (
        (
            "memorizing",
            "Theorem 1, 2n + d weights",
            GREEN,
            {"marker": "s", "markersize": 7, "markerfacecolor": "white"},
        ),
        ("network", "ReLU network by SGD", BLUE, {"marker": "o", "linestyle": "--"}),
        ("linear", "linear classifier", RED, {"marker": "^"}),
    )
    for learner, label, colour, mark in marks:
        draw_curve(learners, d.correlation.sel(learner=learner), "n", colour, label, **mark)
    learners.plot(
        [float(d.n[-1]), LINEAR_AT_MOST[0]],
        [NETWORK_AT_LEAST, LINEAR_AT_MOST[1]],
        color="black",
        linestyle="none",
        marker="_",
        markersize=14,
        mew=1.5,
        zorder=4,
        label=f"asked: network ≥ {NETWORK_AT_LEAST:g}, linear ≤ {LINEAR_AT_MOST[1]:g}",
    )
    learners.set(xscale="log", ylim=(0, 1.08), xlabel=_EXAMPLES, title="learners on coin flips")
    learners.set_ylabel("2 × training accuracy - 1")
    learners.legend(loc="lower left", fontsize=7)
    for axes in (ball, learners):
        axes.set_xticks(d.n.values, [str(n) for n in d.n.values], fontsize=7.5)
        axes.minorticks_off()
    plain_ticks(ball.yaxis, (0.02, 0.05, 0.1, 0.2, 0.5))
    head(drawing, "Digits: networks fit random signs", data)
    return drawing


def cover(data: Data) -> Figure:
    """Draw the share of separable labelings beside Cover's, and their difference."""
    d = data["cover"]
    drawing, [[share, difference]] = page(1, 2, 3.0)
    sets = d.attrs["draws"] * d.sizes["seed"]
    for k, colour, marker in zip(
        d.n_features.values, (BLUE, ORANGE, GREEN, PURPLE), "osD^", strict=False
    ):
        one = d.sel(n_features=k)
        ratio, expected = one.n.isel(seed=0) / k, one.probability.isel(seed=0)
        found = one.separable.mean("seed")
        share.plot(ratio, expected, color=colour, linewidth=1.0)
        mark = {"color": colour, "marker": marker, "linestyle": "none", "capsize": 2}
        mark["elinewidth"] = 1.0
        error = 2 * np.sqrt(found * (1 - found) / sets)
        share.errorbar(ratio, found, error, label=f"d = {k}", **mark)
        error = 2 * np.sqrt(expected * (1 - expected) / sets)
        difference.errorbar(ratio, found - expected, error, label=f"d = {k}", **mark)
    share.axvline(2.0, color=GRAY, linewidth=0.8, linestyle=":")
    difference.axhline(0.0, color=GRAY, linewidth=0.8)
    share.set(ylabel="share of separable labelings", title="lines: Cover's count")
    difference.set(ylabel="share less Cover's probability", title="difference")
    for axes in (share, difference):
        axes.set_xlabel("points per dimension n/d")
        axes.legend()
    head(
        drawing,
        "A hyperplane through 0 separates half of all labelings at n = 2d",
        data,
        f"{sets} sets a point; bars: 2 binomial s.e.",
    )
    return drawing


def stability(data: Data) -> Figure:
    """Draw the change of outputs and the gap under true and random labels, seed by seed."""
    d = data["stability"]
    drawing, grid = page(1, 2, 2.9)
    for axes, name in zip(grid[0], ("output_change", "gap"), strict=True):
        values = d[name].sel(labels=["true", "random"])
        axes.plot([0, 1], values.transpose("labels", "seed"), color=GRAY, linewidth=0.6, alpha=0.6)
        for place, kind in enumerate(("true", "random")):
            one, colour = values.sel(labels=kind), _LABEL_COLOURS[kind]
            draw_points(axes, place, one, colour, "", markersize=7, capsize=4, zorder=3)
        axes.set_xticks([0, 1], ["true labels", "random labels"])
        axes.set_xlim(-0.4, 1.4)
        axes.set_xlabel("fitted to")
        axes.set_ylim(bottom=min(0.0, 1.1 * float(values.min())))
    change, gap = grid[0]
    true = float(d.output_change.sel(labels="true").mean())
    change.axhspan(
        true / CHANGE_FACTOR,
        true * CHANGE_FACTOR,
        color=GREEN,
        alpha=0.15,
        linewidth=0,
        label="within a factor of 3 of true labels",
    )
    change.set(ylabel="largest change of an output", title="one example replaced")
    change.set_ylim(0, 1.25 * CHANGE_FACTOR * true)
    change.legend(loc="upper left")
    asked = float(d.gap.sel(labels="true").mean()) + GAP_POINTS
    gap.axhline(asked, color=GREEN, linestyle="--", linewidth=1.0, label="true labels + 5 points")
    gap.set(ylabel="training less test accuracy (points)", title="generalization gap")
    gap.legend(loc="upper left")
    head(drawing, "Digits, ridge regression: stability does not see the labels", data)
    return drawing


def randomized_training(data: Data) -> Figure:
    """Draw losses of all conditions, one in detail, and what is left at the end."""
    d = data["training"]
    drawing, [[loss, detail], [final, epochs]] = page(2, 2, 2.9)
    styles = _condition_styles(d)
    for condition, line in styles.items():
        curve = d.train_loss.sel(condition=condition)
        draw_curve(loss, curve, "epoch", label=condition, marker="", **line)
    loss.set(yscale="log", xlabel="epochs", ylabel="training loss (nats)", title="training")
    _patterns_first(detail, d.sel(condition="corrupted labels 0.4"))

    on_labels = d.sel(condition=[name for name in styles if "labels" in name])
    on_labels = on_labels.swap_dims(condition="corruption")
    accuracy = 100 * on_labels.test_accuracy
    draw_curve(final, accuracy.max("epoch"), "corruption", GRAY, "best epoch", linestyle="--")
    draw_curve(final, accuracy.isel(epoch=-1), "corruption", BLUE, "at the end", marker="o")
    final.set(xlabel="probability that a label is replaced", ylabel="test accuracy (%)")
    final.set(ylim=(0, 105), title="accuracy on true labels")
    final.legend(loc="lower left")

    for place, (condition, line) in enumerate(styles.items()):
        first = d.epochs_to_target.sel(condition=condition)
        reached = first.dropna("seed")
        if reached.size:
            epochs.plot(reached, 0 * reached + place, "o", color=line["colour"], alpha=0.7)
        if reached.size < first.size:
            end = float(d.epoch[-1])
            epochs.plot(end, place, ">", color=line["colour"], markerfacecolor="white")
    epochs.set_yticks(range(len(styles)), list(styles), fontsize=7)
    epochs.invert_yaxis()
    epochs.set(xscale="log", xlabel="epochs to the target loss, each seed", title="time to fit")
    handles, labels = loss.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=6.5)
    head(drawing, "Digits, 64-512-10: networks fit noise, after patterns", data)
    return drawing


def _condition_styles(d: xr.Dataset) -> dict[str, dict[str, Any]]:
    """Return colour and line style of each condition."""
    pixels = {"shuffled pixels": ORANGE, "random pixels": PURPLE, "Gaussian pixels": GRAY}
    labels = [str(name) for name in d.condition.values if name not in pixels]
    styles = {name: {"colour": c} for name, c in zip(labels, shades(len(labels)), strict=True)}
    for name, colour in pixels.items():
        if name in d.condition:
            styles[name] = {"colour": colour, "linestyle": "--"}
    styles.get("Gaussian pixels", {})["linestyle"] = ":"
    return styles


def _patterns_first(axes: Axes, d: xr.Dataset) -> None:
    """Draw accuracy on true labels and the share of wrong labels fitted; mark the peak."""
    accuracy = 100 * d.test_accuracy
    draw_curve(axes, accuracy, "epoch", BLUE, "true test labels right", marker="")
    draw_curve(axes, 100 * d.wrong_fitted, "epoch", RED, "wrong training labels fitted", marker="")
    mean = accuracy.mean("seed")
    peak = mean.isel(epoch=int(mean.argmax("epoch")))
    axes.axvline(float(peak.epoch), color=GRAY, linewidth=0.8, linestyle=":")
    axes.plot(float(peak.epoch), float(peak), color=BLUE, marker="*", markersize=9)
    axes.set(xscale="log", ylim=(0, 130), xlabel="epochs", ylabel="share (%)")
    axes.set_yticks(range(0, 101, 20))
    axes.set_title("40 % of labels replaced (star: the peak)")
    axes.legend(fontsize=7, loc="upper left")
