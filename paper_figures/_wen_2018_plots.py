"""How the figures on Wen et al. (2018) are drawn: Datasets in, a figure out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

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
    head,
    page,
    plain_ticks,
    shades,
)

Data = Mapping[str, xr.Dataset]

# What the claims ask for, where a figure marks it: gradients at symmetric points and at the tilted
# one; leads in standard errors; relative errors of variances, functions and traces.
SYMMETRIC_AT_MOST, TILTED_AT_LEAST = 1e-12, 0.1
LEAD = 5.0
VARIANCE_ERROR, FUNCTION_ERROR, TRACE_ERROR = 0.02, 1e-6, 0.01

# The limit of the lifted value as theorem 2 is retold: the largest loss in a box of half-width ε',
# here of the cone at ε' = a/2 and of the valley w_1² at ε' = 0.9 a.
RETOLD_CONE, RETOLD_VALLEY = 0.5, 0.9**2

_LAWS = {"uniform": BLUE, "normal": ORANGE}
_HALF = {"fillstyle": "left", "markerfacecoloralt": "white"}
_RULES = {"SmoothOut": BLUE, "AdaSmoothOut": ORANGE}
_FEW = (BLUE, ORANGE, GREEN, PURPLE)
_MARKERS = "osD^"
_DIMENSION = "dimension m"
_RATE = "learning rate ε"
_MATCHED = "strength a (normal noise: σ = a/√3)"


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
    titles = [["(a) uniform noise", "(b) normal noise, σ = a/√3"], ["(c) uniform", "(d) normal"]]
    for row, key, names in zip(grid, ("rastrigin", "wells"), titles, strict=True):
        d = _first(data[key])
        for axes, noise, title in zip(row, _LAWS, names, strict=True):
            _smoothed(axes, d.sel(noise=noise))
            axes.set(xlabel="weight x", title=title)
        row[1].sharey(row[0])
    (rastrigin, _), (wells, _) = grid
    for axes in grid[0]:
        axes.set(xlim=(-3.3, 3.3), ylim=(-1, 38))
        axes.legend(fontsize=7, loc="upper center", ncols=3)
    grid[1, 0].legend(fontsize=7, loc="lower left")
    rastrigin.set_ylabel("loss x² + 10 (1 - cos 2πx)")
    wells.set_ylabel("loss: a sharp and a flat well")
    drawing.suptitle("Smoothing removes sharp minima first (exact; dots: minima)", fontsize=9)
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
    drawing, [[number, wells]] = page(1, 2, 3.0)
    number.axvspan(
        0.5, 1.0, color=BLUE, alpha=0.1, linewidth=0, label="uniform: ripples upside down"
    )
    b = merging.b.values
    draw_guide(wells, [0, 1.1 * b.max()], [0, 1.1 * b.max()], "a = b")
    for (noise, colour), marker, size in zip(_LAWS.items(), "os", (10, 5), strict=True):
        look: dict[str, Any] = {"color": colour, "label": noise}
        number.plot(counts.a, counts.n_minima.sel(noise=noise), ".-", linewidth=1.0, **look)
        critical = float(merging.rastrigin.sel(noise=noise))
        number.axvline(
            critical, color=colour, linewidth=1.0, linestyle="--", label=f"one left: {critical:.4f}"
        )
        merged = b * merging.double_well.sel(noise=noise)
        wells.plot(b, merged, marker, markersize=size, **look)
    number.set(xlabel=_MATCHED, ylabel="number of minima on [-6, 6]", ylim=(0, 14))
    number.set_yticks([1, 4, 7, 10, 13])
    number.set_title("(a) x² + 10 (1 - cos 2πx)")
    wells.set(xlabel="half-distance of the wells b", ylabel="strength a that merges them")
    wells.set_title("(b) (x² - b²)²")
    wells.legend(loc="upper left")
    _legend_below(drawing, number, 3)
    drawing.suptitle("Minima merge at a critical strength (exact)", fontsize=9)
    return drawing


def ends(data: Data) -> Figure:
    """Draw where trajectories end against where they start, strength by strength."""
    d = data["survival"]
    columns = next(n for n in (4, 3, 2, 1) if d.sizes["a"] % n == 0)
    drawing, grid = page(d.sizes["a"] // columns, columns, 1.9 if columns > 2 else 2.9)
    for axes, a in zip(grid.ravel(), d.a.values, strict=True):
        one = d.sel(a=a)
        for place in _first(one).minima.dropna("minimum").values:
            axes.axhline(place, color=RED, linewidth=0.8, alpha=0.6)
        starts = np.broadcast_to(d.start, one.end.transpose("seed", "start").shape)
        axes.plot(starts.ravel(), one.end.values.ravel(), ".", color=BLUE, markersize=1.5)
        n = int(_first(one).n_minima)
        axes.set_title(f"a = {a:g}: {n} {'minimum' if n == 1 else 'minima'}")
        axes.set(xlabel="start", ylabel="end", ylim=(-6.3, 6.3), xticks=range(-6, 7, 3))
        axes.set_yticks(range(-6, 7, 3))
        axes.label_outer()
        axes.grid(visible=False)
    head(
        drawing,
        "x² + 10 (1 - cos 2πx): ends of trajectories",
        data,
        "each end; lines: smoothed minima",
    )
    return drawing


# --- theorems ------------------------------------------------------------------------------------


def theorem_1(data: Data) -> Figure:
    """Draw the smoothed gradient at four points, and the curvature that changes its sign."""
    d = data["points"]
    drawing, [[gradient, curvature]] = page(1, 2, 3.0)
    _gradients(gradient, d)
    first = _first(d)
    curvature.axhline(0.0, color=GRAY, linewidth=0.8)
    curvature.plot(d.a_over_s, first.curvature, color=BLUE, label="smoothed curvature at 0")
    curvature.plot(float(first.flip), 0.0, "o", color=RED, label="where it is 0, solved for")
    curvature.axvline(
        float(first.predicted_flip), color=RED, linewidth=1.0, linestyle="--", label="a = √2 s"
    )
    for x, text in ((0.05, "a minimum"), (0.45, "a maximum")):
        curvature.text(x, 0.25, text, color=GRAY, transform=curvature.transAxes)
    curvature.set(xlabel="strength over width a/s", ylabel="curvature", title="(b) w² exp(-w²/2s²)")
    curvature.legend(fontsize=7)
    head(drawing, "Theorem 1, corrected: flatness is not used, and a minimum may turn over", data)
    return drawing


def _gradients(axes: Axes, d: xr.Dataset) -> None:
    """Draw the larger coordinate of the gradients: exact ones, and drawn ones with their errors."""
    places = np.arange(d.sizes["point"])
    exact = np.abs(d.gradient).max(["coordinate", "seed"])
    drawn = np.abs(d.measured.mean("seed"))
    error = 2 * np.sqrt((d.standard_error**2).sum("seed")) / d.sizes["seed"]
    larger = drawn.argmax("coordinate")
    drawn, error = (values.isel(coordinate=larger) for values in (drawn, error))
    axes.plot(places, exact, "o", color=BLUE, label="by the box's faces, exact")
    mark = {"color": ORANGE, "marker": "s", "linestyle": "none", "capsize": 2}
    axes.errorbar(places, drawn, error, label="drawn", **mark)
    asked = np.where(d.point == "tilted", TILTED_AT_LEAST, SYMMETRIC_AT_MOST)
    axes.plot(places, asked, "_", color="black", markersize=16, label="asked of the exact ones")
    axes.set_yscale("symlog", linthresh=1e-18)
    axes.set(ylim=(-0.4e-18, 1e3), yticks=[0, 1e-16, 1e-12, 1e-8, 1e-4, 1])
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, [str(point).replace(" ", "\n") for point in d.point.values])
    axes.set_xlim(-0.5, len(places) - 0.5)
    axes.set(ylabel="largest |smoothed gradient|", xlabel="point", title="(a) at the center")
    axes.legend(fontsize=7, loc="center right")


def theorem_2(data: Data) -> Figure:
    """Draw bound, exact and drawn lifts, their limits, the first lifted m, and quadratics."""
    d, first = data["lift"], _first(data["lift"])
    drawing, [[lifted, limits], [switch, quadratics]] = page(2, 2, 2.8)
    _lifts(lifted, d)
    _limits(limits, first)
    _first_lifted(switch, first)
    for m, colour, size in zip(d.few.values, _FEW, (11, 7.5, 4), strict=False):
        limit = first.quadratic_limit.sel(few=m)
        quadratics.plot(d.curvature, limit, "o", color=colour, markersize=size, label=f"m = {m}")
    quadratics.axhline(1 / np.sqrt(3), color=GRAY, linewidth=1.0, linestyle=":", label="1/√3")
    quadratics.set(xscale="log", ylim=(0, 1.05), xlabel="curvature λ", ylabel="largest lifted ε/a")
    quadratics.set_title("(d) quadratics, flat and sharp")
    quadratics.legend(ncols=2)
    head(drawing, "Theorem 2, corrected: the bound, the limit, and what it cannot tell", data)
    return drawing


def _lifts(axes: Axes, d: xr.Dataset) -> None:
    """Draw how far below the shell's loss the smoothed cone is, and the bound allows."""
    for outer, colour in zip(d.outer.values, _FEW, strict=False):
        one = d.sel(outer=outer)
        exact, bound = (1 - _first(one)[name] for name in ("exact", "bound"))
        for values, style in ((bound, "--"), (exact, "-")):
            seen = values.where(values > 1e-15).dropna("m")  # less is rounding
            axes.plot(seen.m, seen, style, color=colour, linewidth=1.2)
        # With fewer draws in the cone their standard error tells nothing.
        normal = (bound * d.draws >= 100).values & one.measured.notnull().all("seed").values
        drawn = 1 - one.measured.isel(m=normal)
        draw_points(axes, drawn.m, drawn, colour, f"ε' = {outer:g} a")
    axes.set(xscale="log", yscale="log", xlim=(0.8, 2000), ylim=(1e-6, 2), xlabel=_DIMENSION)
    axes.set(ylabel="1 - lowest smoothed loss", title="(a) capped cones (marks: drawn)")
    handles, _ = axes.get_legend_handles_labels()
    keys = _keys({"exact": {"linestyle": "-"}, "Theorem A": {"linestyle": "--"}})
    axes.legend(handles=[*handles, *keys], fontsize=7, loc="lower left")


def _limits(axes: Axes, d: xr.Dataset) -> None:
    """Draw the limits of a cone and of a valley beside those that are retold."""
    axes.axhline(
        1.0, color=BLUE, linewidth=0.8, linestyle=":", label="C at half-width a: its limit"
    )
    axes.plot(d.m, d.cone, "o-", color=BLUE, label="cone, exact")
    axes.plot(d.m, d.cone_bound, "--", color=BLUE, label="cone, best bound")
    axes.axhline(float(d.valley), color=GREEN)
    axes.axhline(RETOLD_CONE, color=RED, linewidth=1.2, linestyle="-.")
    axes.axhline(RETOLD_VALLEY, color=PURPLE, linewidth=1.2, linestyle="-.")
    for height, colour, text in (
        (float(d.valley), GREEN, "valley w₁², exact: a²/3 in any m"),
        (RETOLD_CONE, RED, "cone, limit as retold: C at ε' = a/2"),
        (RETOLD_VALLEY, PURPLE, "valley, limit as retold: C at ε' = 0.9 a"),
    ):
        across = axes.get_yaxis_transform()
        axes.text(0.99, height + 0.02, text, color=colour, fontsize=7, ha="right", transform=across)
    axes.set(xscale="log", ylim=(0, 1.05), xlabel=_DIMENSION, ylabel="lowest smoothed loss, a = 1")
    axes.set_title("(b) as m grows")
    axes.legend(fontsize=7, loc="lower right")


def _first_lifted(axes: Axes, d: xr.Dataset) -> None:
    for outer, colour, marker in zip(d.outer.values, _FEW, _MARKERS, strict=False):
        one = d.sel(outer=outer)
        axes.plot(one.threshold, one.switch, marker, color=colour, label=f"ε' = {outer:g} a")
    top = 1.5 * float(d.threshold.max())
    draw_guide(axes, [0.8, top], [0.8, top], "m = m*")
    axes.set(xscale="log", yscale="log", xlabel="Theorem A's m*", ylabel="first lifted m, exact")
    shares = ", ".join(f"{share:g}" for share in d.share.values)
    axes.set_title(f"(c) capped cones: ε/ε' = {shares}")
    axes.legend(fontsize=7)


def critical_strength(data: Data) -> Figure:
    """Draw the strength that changes the wells' order, its ratio to the law, and drawn leads."""
    d, first = data["overtaking"], _first(data["overtaking"])
    drawing, [[strength, ratio, leads]] = page(1, 3, 3.1)
    for noise, label, scale, style in (
        ("uniform", "a, uniform noise", 1.0, "-"),
        ("normal", "σ√3, normal noise", np.sqrt(3.0), "--"),
    ):
        values = scale * first.strength.sel(noise=noise)
        look: dict[str, Any] = {"color": _LAWS[noise], "linestyle": style, "linewidth": 1.2}
        strength.plot(d.m, values, label=label, **look)
        ratio.plot(d.m, values / first.leading, marker=".", label=label, **look)
    second = first.second_strength.dropna("m")
    strength.plot(second.m, second, "o", color=BLUE, mfc="white", label="a by a second route")
    draw_guide(strength, d.m, first.leading, "leading law ∝ 1/√m")
    ratio.axhline(1.0, color=GRAY, linewidth=0.8)
    strength.set(yscale="log", ylabel="critical strength", title="(a) critical strength")
    ratio.set(ylabel="critical strength over the law", title="(b) ratio to the law")
    for factor, colour, marker in zip(d.factor.values, (RED, GREEN), "v^", strict=True):
        z = d.z.sel(factor=factor).dropna("m")
        draw_points(leads, z.m, z, colour, f"at {factor:g} a", marker=marker)
    leads.axhspan(-LEAD, LEAD, color=GRAY, alpha=0.25, linewidth=0, label="asked: beyond")
    leads.set_yscale("symlog", linthresh=LEAD)
    leads.set(ylim=(-1e4, 1e6), yticks=[-1000, -100, -10, 0, 10, 100, 1000])
    leads.yaxis.set_minor_locator(NullLocator())
    leads.set(ylabel="lead in standard errors", title="(c) flat well's lead, drawn")
    leads.legend(fontsize=7, loc="upper left")
    for axes in (strength, ratio, leads):
        axes.set(xscale="log", xlabel=_DIMENSION)
    _legend_below(drawing, strength, 4)
    head(drawing, "The flat well becomes the deeper one at a strength ∝ 1/√m", data)
    return drawing


def elimination(data: Data) -> Figure:
    """Draw the wells' largest slopes beside the bound and the tilt, and who escapes."""
    d, first = data["elimination"], _first(data["elimination"])
    drawing, [[slopes, shares]] = page(1, 2, 3.0)
    for i, (width, colour) in enumerate(zip(d.half_width.values, _FEW, strict=False)):
        one, label = first.sel(half_width=width), f"ε' = {width:g} a"
        slopes.plot(d.m, one.bound, "--", color=colour, linewidth=1.0, label=label)
        slopes.plot(d.m, one.steepest.sel(well="box"), "s", color=colour)
        slopes.plot(d.m, one.steepest.sel(well="V"), "v", color=colour, markerfacecolor="white")
        _escapes(shares, d.sel(half_width=width), colour, 0.25 * (i - 1))
    slopes.axhline(float(d.slope), color="black", linewidth=1.0, label="background's slope g")
    slopes.set(yscale="log", xlabel=_DIMENSION, ylabel="largest slope of the smoothed well")
    slopes.set_title("(a) below g: no minimum is left")
    shares.set(xlabel=_DIMENSION, ylabel="share that escapes", title="(b) trajectories from V's")
    shares.set_ylim(-0.05, 1.12)
    keys = {
        "box, exact = Theorem D's bound": {"marker": "s", "linestyle": "--"},
        "V, exact": {"marker": "v", "markerfacecolor": "white"},
        "(b): cleared by Theorem D": {"marker": "o"},
        "(b): no minimum, exactly": {"marker": "o", **_HALF},
        "(b): a minimum is left": {"marker": "o", "markerfacecolor": "white"},
    }
    _legend_below(drawing, slopes, 3, _keys(keys))
    head(drawing, "Theorem D: a slope clears a sharp well away", data)
    return drawing


def _escapes(axes: Axes, d: xr.Dataset, colour: str, shift: float) -> None:
    """Draw shares against m, filled by what is known; shifted, as the widths' shares agree."""
    axes.plot(d.m + shift, d.escaped.mean("seed"), color=colour, linewidth=0.8)
    one = _first(d)
    cleared, gone = (one.eliminated > 0).values, (one.steepest.sel(well="V") < d.slope).values
    for chosen, fill in (
        (cleared, {}),
        (gone & ~cleared, _HALF),
        (~gone & ~cleared, {"markerfacecolor": "white"}),
    ):
        part = d.escaped.isel(m=chosen)
        draw_points(axes, part.m + shift, part, colour, "", markersize=6, **fill)


def noise_laws(data: Data) -> Figure:
    """Draw the ratio of what both laws leave of a box well, and the measured difference."""
    d, first = data["laws"], _first(data["laws"])
    drawing, [[ratio, difference]] = page(1, 2, 3.0)
    decades = _normal_less_uniform(first.log_share) / np.log(10.0)
    exact = _normal_less_uniform(np.exp(first.log_share))
    measured = _normal_less_uniform(d.measured)
    for m, colour in zip(d.m.values, shades(d.sizes["m"]), strict=True):
        look: dict[str, Any] = {"color": colour, "linewidth": 1.0, "label": f"m = {m}"}
        ratio.plot(d.half_width, decades.sel(m=m), "o-", **look)
        if measured.sel(m=m).notnull().all():
            difference.plot(d.half_width, exact.sel(m=m), **{**look, "label": ""})
            draw_points(difference, d.half_width, measured.sel(m=m), colour, f"m = {m}")
    at = float(first.crossover.mean())
    for axes in (ratio, difference):
        axes.axhline(0.0, color=GRAY, linewidth=0.8)
        axes.axvline(at, color=RED, linewidth=1.0, linestyle="--", label=f"equal at {at:.4f} a")
        axes.set_xlabel("half-width of the well over a")
        axes.legend(fontsize=7, loc="lower left")
    ratio.set_yscale("symlog", linthresh=0.1)
    ratio.set_ylim(3 * float(decades.min()), 3 * float(decades.max()))
    ratio.set(ylabel="log₁₀ of normal over uniform noise's", title="(a) share left, ratio (exact)")
    difference.set_ylabel("normal less uniform noise's")
    difference.set_title("(b) share left, difference (lines: exact)")
    head(drawing, f"Uniform noise leaves less only of wells narrower than {at:.3f} a", data)
    return drawing


def _normal_less_uniform(values: xr.DataArray) -> xr.DataArray:
    return values.sel(noise="normal") - values.sel(noise="uniform")


# --- the algorithm -------------------------------------------------------------------------------

_FORMS = {
    "denoised": ("de-noised", BLUE, "o"),
    "copies": ("de-noised, mean of copies", GREEN, "^"),
    "noisy": ("not de-noised", RED, "s"),
}


def denoising(data: Data) -> Figure:
    """Draw stationary variances against the learning rate, and over the predicted ones."""
    d = data["denoising"]
    drawing, [[*variances, error]] = page(1, d.sizes["momentum"] + 1, 3.1)
    rate = d.learning_rate.values
    for letter, axes, momentum in zip("ab", variances, d.momentum.values, strict=True):
        for i, (form, (label, colour, marker)) in enumerate(_FORMS.items()):
            one = d.sel(form=form, momentum=momentum)
            look: dict[str, Any] = {"marker": marker}
            line = _first(one).curve
            axes.plot(line.fine_rate, line, color=colour, linewidth=1.0)
            draw_points(axes, rate, one.variance, colour, label, **look)
            look["markerfacecolor"] = "white" if momentum else colour
            # Shifted, as the marks would hide each other.
            draw_points(
                error, rate * 1.06 ** (i - 1), one.variance / one.predicted - 1, colour, "", **look
            )
        axes.set(yscale="log", ylabel="stationary variance of w")
        axes.set_ylim(0.5 * float(d.variance.min()), 2 * float(d.variance.max()))
        axes.set_title(f"({letter}) momentum {momentum:g}")
    variances[0].axvline(
        float(d.alike.isel(seed=0)), color=GRAY, linewidth=1.0, linestyle=":", label="ε λ = 1/2"
    )
    error.axhspan(-VARIANCE_ERROR, VARIANCE_ERROR, color=GREEN, alpha=0.15, linewidth=0)
    error.set(ylabel="measured / predicted - 1", title="(c) open: momentum 0.9")
    for axes in (*variances, error):
        axes.set(xscale="log", xlabel=_RATE)
        plain_ticks(axes.xaxis, rate)
        axes.tick_params(axis="x", labelsize=7)
    _legend_below(drawing, variances[0], 4)
    head(drawing, "De-noising keeps the weights nearer where steps are small", data)
    return drawing


def balance(data: Data) -> Figure:
    """Draw the factors' imbalance and their product over time, and what is predicted."""
    d, first = data["balance"], _first(data["balance"])
    drawing, [[imbalance, product]] = page(1, 2, 3.0)
    ends = {"SmoothOut": first.balanced**2, "AdaSmoothOut": first.adaptive_product}
    for form, colour in _RULES.items():
        one, end = d.sel(form=form), float(ends[form])
        draw_curve(imbalance, one.imbalance, "time", colour, form)
        draw_curve(product, one["product"], "time", colour, form)
        line = {"color": colour, "linewidth": 1.0, "linestyle": "--"}
        product.axhline(end, label=f"its end, predicted: {end:.4f}", **line)
    draw_guide(imbalance, d.time, first.predicted, "SmoothOut, predicted", "--")
    imbalance.set(ylabel="mean of w₁² - w₂²", title="(a) imbalance")
    imbalance.set_ylim(0, 1.4 * float(d.imbalance.max()))
    product.set(ylabel="mean of w₁ w₂", title="(b) product")
    for axes in (imbalance, product):
        axes.set_xlabel("time: learning rate × steps")
        axes.legend(fontsize=7, loc="upper right")
    head(drawing, "(w₁w₂ - 1)²: SmoothOut balances the factors, AdaSmoothOut does not", data)
    return drawing


def rescaling(data: Data) -> Figure:
    """Draw smoothed losses and the trace of the Hessian as layers are rescaled."""
    d = data["rescaling"]
    drawing, [[loss, trace, error]] = page(1, 3, 3.0)
    mark: dict[str, Any] = {"whole": True, "marker": "o"}
    losses = d.smoothed_loss / d.smoothed_loss.sel(scale=1.0)
    for form, colour in _RULES.items():
        draw_curve(loss, losses.sel(form=form), "scale", colour, form, **mark)
    traces, predicted = (each / each.sel(scale=1.0) for each in (d.trace, d.predicted_trace))
    draw_curve(trace, traces, "scale", BLUE, "measured", linestyle="none", **mark)
    draw_guide(trace, d.scale, predicted.mean("seed"), "α⁻² T₁ + α² T₂", "--")
    for values, colour, label, limit in (
        (np.abs(d.trace / d.predicted_trace - 1), BLUE, "trace: error", TRACE_ERROR),
        (d.function_change, RED, "function: change", FUNCTION_ERROR),
    ):
        largest = values.max("seed")
        largest = largest.where(largest > 0).dropna("scale")
        error.plot(largest.scale, largest, "o-", color=colour, linewidth=1.0, label=label)
        error.axhline(limit, color=colour, linewidth=1.0, linestyle=":")
    loss.set(ylabel="smoothed loss over that at α = 1", title="(a) smoothed loss")
    trace.set(ylabel="trace over that at α = 1", title="(b) trace of the Hessian")
    error.set(ylabel="largest relative change or error", title="(c) errors (dotted: asked)")
    for axes in (loss, trace, error):
        axes.set(xscale="log", yscale="log", xlabel="rescaling α of the layers")
        axes.legend(fontsize=7, loc="upper center")
    error.set_ylim(1e-17, 10)
    head(drawing, "One function, its layers rescaled", data, "mean and range")
    return drawing


def one_point(data: Data) -> Figure:
    """Draw the squared distance from the center and its bound, and the convexity beside them."""
    d, first = data["one_point"], _first(data["one_point"])
    rate = d.learning_rate.values
    drawing, [[distance, convexity]] = page(1, 2, 3.0)
    distance.plot(rate, first.predicted, color=RED, linewidth=1.2, label="the theorem's bound")
    draw_points(distance, rate, d.squared_radius, BLUE, "SGD")
    factor = float((d.squared_radius * d.convexity / d.learning_rate).mean())
    draw_guide(distance, rate, factor * rate / first.convexity, "∝ ε/c", "--")
    distance.set(yscale="log", ylabel="mean squared distance")
    distance.set_title("(a) distance from the center")
    distance.legend()
    convexity.axhline(0.0, color=GRAY, linewidth=0.8)
    convexity.plot(rate, first.convexity, "o-", color=BLUE, linewidth=1.1, label="smoothed")
    convexity.axhline(
        float(first.plain_convexity), color=RED, linewidth=1.2, linestyle="--", label="not smoothed"
    )
    convexity.set(ylim=(-0.3, 1.1), ylabel="one-point convexity c", title="(b) convexity")
    convexity.legend(loc="center right")
    for axes in (distance, convexity):
        axes.set(xscale="log", xlabel=_RATE)
        plain_ticks(axes.xaxis, rate)
    head(drawing, "A rippled parabola: smoothing makes it one-point convex", data)
    return drawing
