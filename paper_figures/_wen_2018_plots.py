"""How the figures on Wen et al. (2018) are drawn: Datasets in, a figure out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_figures.style import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    draw_curve,
    mean_and_error,
    page,
    shades,
)

Data = Mapping[str, xr.Dataset]

# What the claims ask for, where a figure marks it: gradients at symmetric points and at the tilted
# one; relative errors of variances, functions and traces.
SYMMETRIC_AT_MOST, TILTED_AT_LEAST = 1e-12, 0.1
VARIANCE_ERROR, FUNCTION_ERROR, TRACE_ERROR = 0.02, 1e-6, 0.01

# What the paper prints as the limit of the lifted value: the largest loss in a box of half-width
# ε', here of the cone at ε' = a/2 and of the valley w_1² at ε' = 0.9 a.
PRINTED_CONE, PRINTED_VALLEY = 0.5, 0.9**2

_LAWS = {"uniform": BLUE, "normal": ORANGE}
_RULES = {"SmoothOut": BLUE, "AdaSmoothOut": ORANGE}
_FEW = (BLUE, ORANGE, GREEN, PURPLE)
_DIMENSION = "dimension m"
_RATE = "learning rate ε"
_MATCHED = "strength a (normal noise: σ = a/√3)"


def _title(drawing: Figure, text: str, data: Data, remark: str) -> None:
    most = max(d.sizes["seed"] for d in data.values())
    seeds = "1 seed" if most == 1 else f"{most} seeds"
    drawing.suptitle(f"{text} ({seeds}: {remark})", fontsize=9)


def _points(axes: Axes, x: Any, values: xr.DataArray, colour: Any, label: str, **mark: Any) -> None:
    """Draw means over seeds with bars of two standard errors."""
    mean, error = mean_and_error(values)
    mark = {"marker": "o", "linestyle": "none", "capsize": 2, "elinewidth": 1.0, **mark}
    axes.errorbar(x, mean, error, color=colour, label=label, **mark)


def _guide(axes: Axes, x: Any, y: Any, label: str = "", linestyle: str = ":") -> None:
    axes.plot(x, y, color=GRAY, linewidth=1.0, linestyle=linestyle, label=label)


def _first(d: xr.Dataset) -> xr.Dataset:
    """Return the first seed, for what is the same for all."""
    return d.isel(seed=0)


def _keys(marks: Mapping[str, Mapping[str, Any]]) -> list[Line2D]:
    """Return entries of a legend that say what marks and line styles mean."""
    look = {"color": "black", "linewidth": 1.2, "linestyle": "none"}
    return [Line2D([], [], label=label, **{**look, **mark}) for label, mark in marks.items()]


def _legend_below(drawing: Figure, axes: Axes, columns: int, keys: Iterable[Line2D] = ()) -> None:
    handles, _ = axes.get_legend_handles_labels()
    drawing.legend(
        handles=[*handles, *keys], loc="outside lower center", ncols=columns, fontsize=7.5
    )


# --- landscapes ----------------------------------------------------------------------------------


def landscapes(data: Data) -> Figure:
    """Draw both landscapes as they are and smoothed by both laws, and mark their minima."""
    drawing, grid = page(2, 2, 2.7)
    texts = {"rastrigin": "x² + 10 (1 - cos 2πx)", "wells": "a sharp and a flat well"}
    noises = {"uniform": "uniform noise", "normal": "normal noise, σ = a/√3"}
    letters = iter("abcd")
    for row, (key, text) in zip(grid, texts.items(), strict=True):
        for axes, (noise, law) in zip(row, noises.items(), strict=True):
            _smoothed(axes, _first(data[key]).sel(noise=noise))
            axes.set(xlabel="weight x", ylabel="loss", title=f"({next(letters)}) {text}: {law}")
        row[1].legend(fontsize=7, loc="best")
        row[1].sharey(row[0])
    _title(drawing, "Smoothing removes sharp minima first", data, "nothing is drawn; dots: minima")
    return drawing


def _smoothed(axes: Axes, d: xr.Dataset) -> None:
    axes.plot(d.x, d.loss, color=GRAY, linewidth=0.8, label="a = 0")
    for a, colour in zip(d.a.values, shades(d.sizes["a"]), strict=True):
        one = d.sel(a=a)
        axes.plot(d.x, one.smoothed, color=colour, linewidth=1.2, label=f"a = {a:g}")
        minima = one.minima.dropna("minimum")
        heights = np.interp(minima, d.x, one.smoothed)
        axes.plot(minima, heights, "o", color=colour, markersize=3.5)


def minima(data: Data) -> Figure:
    """Draw how many minima are left against a, and where double wells merge."""
    counts, merging = _first(data["counts"]), _first(data["merging"])
    drawing, [[number, wells]] = page(1, 2, 2.9)
    number.axvspan(0.5, 1.0, color=BLUE, alpha=0.08, linewidth=0, label="uniform: upside down")
    b = merging.b.values
    _guide(wells, [0, 1.1 * b.max()], [0, 1.1 * b.max()], "a = b")
    marks = {"uniform": {"marker": "o"}, "normal": {"marker": "s", "markerfacecolor": "white"}}
    for noise, colour in _LAWS.items():
        number.plot(
            counts.a,
            counts.n_minima.sel(noise=noise),
            ".-",
            color=colour,
            linewidth=1.0,
            label=noise,
        )
        critical = float(merging.rastrigin.sel(noise=noise))
        number.axvline(
            critical, color=colour, linewidth=1.0, linestyle="--", label=f"one left: {critical:.4f}"
        )
        ratio = merging.double_well.sel(noise=noise)
        wells.plot(
            b, b * ratio, color=colour, linestyle="none", markersize=7, label=noise, **marks[noise]
        )
    number.set(xlabel=_MATCHED, ylabel="number of minima on [-6, 6]", ylim=(0, 21))
    number.set_yticks([1, 4, 7, 10, 13])
    number.set_title("(a) x² + 10 (1 - cos 2πx)")
    number.legend(fontsize=7, loc="upper right")
    wells.set(xlabel="half-distance of the wells b", ylabel="strength a that merges them")
    wells.set_title("(b) (x² - b²)²")
    wells.legend(loc="upper left")
    _title(drawing, "Minima merge at a critical strength", data, "counted, nothing is drawn")
    return drawing


def ends(data: Data) -> Figure:
    """Draw where trajectories end against where they start, strength by strength."""
    d = data["survival"]
    columns = min(4, d.sizes["a"])
    drawing, grid = page(-(-d.sizes["a"] // columns), columns, 1.9 if columns > 2 else 2.9)
    for i, axes in enumerate(grid.ravel()):
        if i >= d.sizes["a"]:
            axes.remove()
            continue
        one = d.isel(a=i)
        for place in _first(one).minima.dropna("minimum").values:
            axes.axhline(place, color=RED, linewidth=0.8, alpha=0.6)
        starts = np.broadcast_to(d.start, one.end.transpose("seed", "start").shape)
        axes.plot(starts.ravel(), one.end.values.ravel(), ".", color=BLUE, markersize=1.5)
        n = int(_first(one).n_minima)
        axes.set_title(f"a = {float(one.a):g}: {n} {'minimum' if n == 1 else 'minima'}")
        axes.set(xlabel="start", ylabel="end", ylim=(-6.3, 6.3), xticks=range(-6, 7, 3))
        axes.set_yticks(range(-6, 7, 3))
        axes.label_outer()
        axes.grid(visible=False)
    _title(
        drawing,
        "x² + 10 (1 - cos 2πx): SmoothOut ends in minima of the smoothed loss",
        data,
        "lines: predicted minima",
    )
    return drawing


# --- theorems ------------------------------------------------------------------------------------


def theorem_1(data: Data) -> Figure:
    """Draw the smoothed gradient at four points, and the curvature that changes its sign."""
    d = data["points"]
    drawing, [[gradient, curvature]] = page(1, 2, 3.0)
    places = np.arange(d.sizes["point"])
    exact = np.abs(d.gradient).max("coordinate")
    error = 2 * np.sqrt((d.standard_error**2).sum("seed")).max("coordinate") / d.sizes["seed"]
    drawn = np.abs(d.measured.mean("seed")).max("coordinate")
    gradient.plot(places, exact.max("seed"), "o", color=BLUE, label="by the box's faces, exact")
    gradient.errorbar(
        places, drawn, error, color=ORANGE, marker="s", linestyle="none", capsize=2, label="drawn"
    )
    asked = [SYMMETRIC_AT_MOST] * (len(places) - 1) + [TILTED_AT_LEAST]
    gradient.plot(places, asked, "_", color="black", markersize=16, label="asked of the exact ones")
    gradient.set_yscale("symlog", linthresh=1e-18)
    gradient.set_xticks(places, [str(point).replace(" ", "\n") for point in d.point.values])
    gradient.set(ylabel="largest |smoothed gradient|", xlabel="point", title="(a) at the center")
    gradient.legend(fontsize=7)

    first = _first(d)
    curvature.axhline(0.0, color=GRAY, linewidth=0.8)
    curvature.plot(d.a_over_s, first.curvature, color=BLUE, label="smoothed curvature at 0")
    curvature.plot(float(first.flip), 0.0, "o", color=RED, label="where it is 0, solved for")
    curvature.axvline(
        float(first.predicted_flip), color=RED, linewidth=1.0, linestyle="--", label="a = √2 s"
    )
    curvature.set(xlabel="strength over width a/s", ylabel="curvature", title="(b) w² exp(-w²/2s²)")
    curvature.legend(fontsize=7)
    _title(
        drawing,
        "Theorem 1, corrected: every symmetric point is stationary, not only a flat minimum",
        data,
        "mean and 2 s.e.",
    )
    return drawing


def theorem_2(data: Data) -> Figure:
    """Draw bound, exact and drawn lifts, their limits, the first lifted m, and quadratics."""
    d = data["lift"]
    drawing, [[lifted, limits], [switch, quadratics]] = page(2, 2, 2.8)
    _lifts(lifted, d)
    _limits(limits, _first(d))
    _first_lifted(switch, _first(d))
    bowls = _first(d).quadratic_limit
    for m, colour, marker in zip(d.few.values, _FEW, "osD", strict=False):
        quadratics.plot(
            d.curvature, bowls.sel(few=m), marker, color=colour, label=f"m = {m}", alpha=0.6
        )
    quadratics.axhline(1 / np.sqrt(3), color=GRAY, linewidth=1.0, linestyle=":", label="1/√3")
    quadratics.set(xscale="log", ylim=(0, 1.05), xlabel="curvature λ", ylabel="largest lifted ε/a")
    quadratics.set_title("(d) quadratics, flat and sharp")
    quadratics.legend(ncols=2)
    _title(drawing, "Theorem 2, corrected", data, "drawn: mean and 2 s.e.")
    return drawing


def _lifts(axes: Axes, d: xr.Dataset) -> None:
    """Draw how far below the shell's loss the smoothed cone is, and the bound allows."""
    lowest = 1e-6
    for outer, colour in zip(d.outer.values, _FEW, strict=False):
        one = d.sel(outer=outer)
        exact, bound = (1 - _first(one)[name] for name in ("exact", "bound"))
        for values, style in ((bound, "--"), (exact, "-")):
            seen = values.where(values > lowest).dropna("m")
            axes.plot(seen.m, seen, style, color=colour, linewidth=1.2)
        # With fewer draws in the cone their standard error tells nothing.
        normal = (bound * d.draws >= 100).values & one.measured.notnull().all("seed").values
        drawn = 1 - one.measured.isel(m=normal)
        _points(axes, drawn.m, drawn, colour, f"ε' = {outer:g} a")
    axes.set(xscale="log", yscale="log", ylim=(lowest, 2), xlabel=_DIMENSION)
    axes.set(ylabel="1 - lowest smoothed loss", title="(a) capped cones")
    handles, _ = axes.get_legend_handles_labels()
    keys = _keys({"exact": {"linestyle": "-"}, "Theorem A": {"linestyle": "--"}})
    axes.legend(handles=[*handles, *keys], fontsize=7)


def _limits(axes: Axes, d: xr.Dataset) -> None:
    axes.axhline(1.0, color=BLUE, linewidth=0.8, linestyle=":", label="cone at a: the limit")
    axes.plot(d.m, d.cone, "o-", color=BLUE, label="cone, exact")
    axes.plot(d.m, d.cone_bound, "--", color=BLUE, label="best bound")
    axes.plot(d.m, 0 * d.m + d.valley, "-", color=GREEN, label="valley w₁², exact: a²/3")
    for printed, colour, label in (
        (PRINTED_CONE, RED, "printed limit: cone, ε' = a/2"),
        (PRINTED_VALLEY, PURPLE, "printed limit: valley, ε' = 0.9 a"),
    ):
        axes.axhline(printed, color=colour, linewidth=1.2, linestyle="-.", label=label)
    axes.set(xscale="log", ylim=(0, 1.05), xlabel=_DIMENSION, ylabel="lowest smoothed loss, a = 1")
    axes.set_title("(b) as m grows")
    axes.legend(fontsize=6.5)


def _first_lifted(axes: Axes, d: xr.Dataset) -> None:
    for outer, colour, marker in zip(d.outer.values, _FEW, "osD", strict=False):
        one = d.sel(outer=outer)
        axes.plot(one.threshold, one.switch, marker, color=colour, label=f"ε' = {outer:g} a")
    m = np.geomspace(0.8, 1.3 * float(d.threshold.max()), 400)
    _guide(axes, m, np.floor(m) + 1, "next integer above m*")
    axes.set(xscale="log", yscale="log", xlabel="Theorem A's m*", ylabel="first lifted m, exact")
    axes.set_title("(c) cones: ε/ε' = 0.5, 0.9, 0.99")
    axes.legend(fontsize=7)


def critical_strength(data: Data) -> Figure:
    """Draw the strength that changes the wells' order, its ratio to the law, and drawn leads."""
    d = data["overtaking"]
    first = _first(d)
    drawing, [[strength, ratio, leads]] = page(1, 3, 3.1)
    marks = {"uniform": ("a, uniform", "-"), "normal": ("σ√3, normal", "--")}
    for noise, (label, style) in marks.items():
        values = first.strength.sel(noise=noise) * (1.0 if noise == "uniform" else np.sqrt(3))
        look: dict[str, Any] = {"color": _LAWS[noise], "linestyle": style, "linewidth": 1.2}
        strength.plot(d.m, values, label=label, **look)
        ratio.plot(d.m, values / first.leading, marker=".", label=label, **look)
    second = first.second_strength.dropna("m")
    strength.plot(second.m, second, "o", color=BLUE, markerfacecolor="white", label="2nd route")
    _guide(strength, d.m, first.leading, "leading law ∝ 1/√m")
    ratio.axhline(1.0, color=GRAY, linewidth=0.8)
    strength.set(yscale="log", ylabel="critical strength", title="(a) critical strength")
    ratio.set(ylabel="over the leading law", title="(b) ratio to the law")
    for factor, colour, marker in zip(d.factor.values, (RED, GREEN), "vo^", strict=False):
        z = d.z.sel(factor=factor).dropna("m")
        _points(leads, z.m, z, colour, f"at {factor:g} a", marker=marker)
    leads.axhline(0.0, color=GRAY, linewidth=0.8)
    leads.set_yscale("symlog", linthresh=5.0)
    leads.set(ylabel="lead in standard errors", title="(c) flat well's lead, drawn")
    leads.legend(fontsize=7)
    for axes in (strength, ratio, leads):
        axes.set(xscale="log", xlabel=_DIMENSION)
    _legend_below(drawing, strength, 4)
    _title(drawing, "The flat well becomes the deeper one", data, "drawn: mean and 2 s.e.")
    return drawing


def elimination(data: Data) -> Figure:
    """Draw the wells' largest slopes beside the bound and the tilt, and who escapes."""
    d = data["elimination"]
    first = _first(d)
    drawing, [[slopes, shares]] = page(1, 2, 3.0)
    for width, colour in zip(d.half_width.values, _FEW, strict=False):
        one, label = first.sel(half_width=width), f"ε' = {width:g} a"
        slopes.plot(d.m, one.bound, "--", color=colour, linewidth=1.0, label=label)
        slopes.plot(d.m, one.steepest.sel(well="box"), "s", color=colour)
        slopes.plot(d.m, one.steepest.sel(well="V"), "v", color=colour, markerfacecolor="white")
        escaped = d.escaped.sel(half_width=width)
        draw_curve(shares, escaped, "m", colour, label, marker="")
        for holds, fill in ((True, colour), (False, "white")):
            chosen = escaped.isel(m=np.flatnonzero((one.eliminated > 0) == holds))
            _points(shares, chosen.m, chosen, colour, "", markerfacecolor=fill)
    slopes.axhline(float(d.slope), color="black", linewidth=1.0, label="background's slope")
    slopes.set(yscale="log", xlabel=_DIMENSION, ylabel="largest slope of the smoothed well")
    slopes.set_title("(a) below the line: no minimum")
    shares.set(xlabel=_DIMENSION, ylabel="share that escapes", title="(b) trajectories from V's")
    keys = _keys(
        {
            "box, exact": {"marker": "s"},
            "V, exact": {"marker": "v", "markerfacecolor": "white"},
            "bound": {"linestyle": "--"},
            "(b): Theorem D holds": {"marker": "o"},
            "not": {"marker": "o", "markerfacecolor": "white"},
        }
    )
    _legend_below(drawing, slopes, 5, keys)
    _title(drawing, "Theorem D: a slope clears a sharp well away", data, "mean and 2 s.e.")
    return drawing


def noise_laws(data: Data) -> Figure:
    """Draw the ratio of what both laws leave of a box well, and the measured difference."""
    d = data["laws"]
    first = _first(d)
    drawing, [[ratio, difference]] = page(1, 2, 3.0)
    logs = (first.log_share.sel(noise="normal") - first.log_share.sel(noise="uniform")) / np.log(10)
    share = np.exp(first.log_share)
    lead = share.sel(noise="normal") - share.sel(noise="uniform")
    measured = d.measured.sel(noise="normal") - d.measured.sel(noise="uniform")
    for m, colour in zip(d.m.values, shades(d.sizes["m"]), strict=True):
        ratio.plot(d.half_width, logs.sel(m=m), "o-", color=colour, linewidth=1.1, label=f"m = {m}")
        if measured.sel(m=m).notnull().all():
            difference.plot(d.half_width, lead.sel(m=m), color=colour, linewidth=1.0)
            _points(difference, d.half_width, measured.sel(m=m), colour, f"m = {m}")
    crossover = float(first.crossover.mean())
    for axes in (ratio, difference):
        axes.axhline(0.0, color=GRAY, linewidth=0.8)
        axes.axvline(
            crossover, color=RED, linewidth=1.0, linestyle="--", label=f"{crossover:.4f} a"
        )
        axes.set(xlabel="half-width of the well over a")
        axes.legend(fontsize=7)
    ratio.set_yscale("symlog", linthresh=0.1)
    ratio.set(ylabel="log₁₀ (normal / uniform)", title="(a) what is left: ratio, exact")
    difference.set(ylabel="normal - uniform", title="(b) difference, drawn on exact lines")
    _title(
        drawing,
        "Uniform noise is better only at wells narrower than 0.867 a",
        data,
        "mean and 2 s.e.",
    )
    return drawing


# --- the algorithm -------------------------------------------------------------------------------


_FORMS = {
    "denoised": ("de-noised", BLUE, "o"),
    "copies": ("de-noised, mean of 4 copies", GREEN, "^"),
    "noisy": ("not de-noised", RED, "s"),
}


def denoising(data: Data) -> Figure:
    """Draw stationary variances against the learning rate, and over the predicted ones."""
    d = data["denoising"]
    drawing, [[*panels, error]] = page(1, d.sizes["momentum"] + 1, 3.1)
    rate = d.learning_rate.values
    for letter, axes, momentum in zip("abc", panels, d.momentum.values, strict=False):
        for i, (form, (label, colour, marker)) in enumerate(_FORMS.items()):
            one = d.sel(form=form, momentum=momentum)
            axes.plot(rate, _first(one).predicted, color=colour, linewidth=1.0)
            _points(axes, rate, one.variance, colour, label, marker=marker)
            look = {"marker": marker, "markerfacecolor": "white" if momentum else colour}
            shifted = rate * 1.04 ** (i - 1)
            _points(error, shifted, one.variance / one.predicted - 1, colour, "", **look)
        axes.set(yscale="log", ylabel="stationary variance of w")
        axes.set_title(f"({letter}) momentum {momentum:g}")
    curvature = json.loads(d.attrs["parameters"])["curvature"]
    panels[0].axvline(0.5 / curvature, color=GRAY, linewidth=1.0, linestyle=":", label="ε λ = 1/2")
    error.axhspan(-VARIANCE_ERROR, VARIANCE_ERROR, color=GREEN, alpha=0.15, linewidth=0)
    error.set(ylabel="measured / predicted - 1", title="(c) error (open: momentum 0.9)")
    for axes in (*panels, error):
        axes.set(xscale="log", xlabel=_RATE)
    _legend_below(drawing, panels[0], 4)
    _title(
        drawing, "De-noising keeps the weights near where steps are small", data, "mean and 2 s.e."
    )
    return drawing


def balance(data: Data) -> Figure:
    """Draw the factors' imbalance and their product over time, and what is predicted."""
    d = data["balance"]
    first = _first(d)
    drawing, [[imbalance, product]] = page(1, 2, 3.0)
    for form, colour in _RULES.items():
        one = d.sel(form=form)
        draw_curve(imbalance, one.imbalance, "time", colour, form)
        draw_curve(product, one["product"], "time", colour, form)
    _guide(imbalance, d.time, first.predicted, "predicted decay", "--")
    start = float(first.predicted[0])
    predicted = {"SmoothOut": first.balanced**2, "AdaSmoothOut": first.adaptive_product}
    for form, value in predicted.items():
        product.axhline(
            float(value),
            color=_RULES[form],
            linewidth=1.0,
            linestyle="--",
            label=f"predicted: {float(value):.4f}",
        )
    imbalance.set(ylabel="mean of w₁² - w₂²", title="(a) imbalance", ylim=(0, 1.15 * start))
    product.set(ylabel="mean of w₁ w₂", title="(b) product")
    for axes in (imbalance, product):
        axes.set_xlabel("time: learning rate × steps")
        axes.legend(fontsize=7)
    _title(drawing, "(w₁w₂ - 1)²: SmoothOut balances the factors", data, "mean and 2 s.e.")
    return drawing


def rescaling(data: Data) -> Figure:
    """Draw smoothed losses and the trace of the Hessian as layers are rescaled."""
    d = data["rescaling"]
    drawing, [[loss, trace, error]] = page(1, 3, 3.0)
    over_unscaled = d.smoothed_loss / d.smoothed_loss.sel(scale=1.0)
    for form, colour in _RULES.items():
        draw_curve(
            loss, over_unscaled.sel(form=form), "scale", colour, form, whole=True, marker="o"
        )
    ratio = d.trace / d.trace.sel(scale=1.0)
    draw_curve(trace, ratio, "scale", BLUE, "measured", whole=True, marker="o", linestyle="none")
    predicted = (d.predicted_trace / d.predicted_trace.sel(scale=1.0)).mean("seed")
    _guide(trace, d.scale, predicted, "α⁻² T₁ + α² T₂", "--")
    for values, colour, label, limit in (
        (np.abs(d.trace / d.predicted_trace - 1), BLUE, "trace", TRACE_ERROR),
        (d.function_change, RED, "function", FUNCTION_ERROR),
    ):
        largest = values.max("seed")
        largest = largest.where(largest > 0).dropna("scale")
        error.plot(largest.scale, largest, "o-", color=colour, linewidth=1.0, label=label)
        error.axhline(limit, color=colour, linewidth=1.0, linestyle=":", label="asked")
    loss.set(ylabel="smoothed loss over that at α = 1", title="(a) smoothed loss")
    trace.set(ylabel="trace over that at α = 1", title="(b) trace of the Hessian")
    error.set(ylabel="largest relative change or error", title="(c) errors")
    for axes in (loss, trace, error):
        axes.set(xscale="log", yscale="log", xlabel="first layer times, second over α")
        axes.legend(fontsize=7)
    _title(drawing, "One function, its layers rescaled", data, "mean and range")
    return drawing


def one_point(data: Data) -> Figure:
    """Draw the squared distance from the center and its bound, and the convexity beside them."""
    d = data["one_point"]
    first = _first(d)
    rate = d.learning_rate.values
    drawing, [[distance, convexity]] = page(1, 2, 3.0)
    distance.plot(rate, first.predicted, color=RED, linewidth=1.2, label="bound")
    _points(distance, rate, d.squared_radius, BLUE, "SGD")
    scaled = (d.squared_radius * d.convexity / d.learning_rate).mean()
    _guide(distance, rate, float(scaled) * rate / first.convexity, "∝ ε/c", "--")
    distance.set(xscale="log", yscale="log", xlabel=_RATE, ylabel="mean squared distance")
    distance.set_title("(a) distance from the center")
    distance.legend()
    convexity.axhline(0.0, color=GRAY, linewidth=0.8)
    convexity.plot(rate, first.convexity, "o-", color=BLUE, linewidth=1.1, label="smoothed")
    convexity.axhline(
        float(first.plain_convexity), color=RED, linewidth=1.2, linestyle="--", label="not smoothed"
    )
    convexity.set(xscale="log", xlabel=_RATE, ylabel="one-point convexity c", title="(b) convexity")
    convexity.legend()
    _title(
        drawing, "A rippled parabola: smoothing makes it one-point convex", data, "mean and 2 s.e."
    )
    return drawing
