"""How the figures on SmoothOut's networks are drawn: Datasets in, a figure out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures._wen_2018_networks_measures import errors
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

_SMALL, _LARGE = BLUE, ORANGE
_STRENGTH = "strength of the noise, a"
_RANGE = "mean and range"
_WORST = 4.0  # points above small batches: what fails altogether would hide the rest


def _along_strength(axes: Axes, arm: xr.Dataset, colour: str, label: str, **line: Any) -> None:
    """Draw the test error in percent against a > 0, on a logarithmic axis."""
    noisy = arm.sel(strength=arm.strength > 0)
    draw_curve(axes, 100 * noisy.test_error, "strength", colour, label, **line)
    axes.set_xscale("log")


def _level(axes: Axes, values: xr.DataArray, colour: str, label: str) -> None:
    """Draw a mean over seeds from side to side."""
    axes.axhline(float(values.mean()), color=colour, linewidth=1.1, linestyle="--", label=label)


def _finish(axes: Axes, title: str, x: str = _STRENGTH, y: str = "test error, %") -> None:
    axes.set(title=title, xlabel=x, ylabel=y)


def _share_legend(drawing: Figure, columns: int) -> None:
    """Write one legend for all axes, below them."""
    labels: dict[str, Any] = {}
    for axes in drawing.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            labels.setdefault(label, handle)
    drawing.legend(labels.values(), labels.keys(), loc="outside lower center", ncols=columns)


def _ticks_of(axes: Axes, *arms: xr.Dataset) -> None:
    strengths = {float(a) for arm in arms for a in arm.strength.values if a > 0}
    plain_ticks(axes.xaxis, sorted(strengths))


def strength(data: Data) -> Figure:
    """Draw test errors against the strength of plain and adaptive noise."""
    drawing, ((plain, adaptive),) = page(1, 2, 2.9)
    for size, colour in (("small", _SMALL), ("large", _LARGE)):
        for axes, name in ((plain, size), (adaptive, f"{size} adaptive")):
            _along_strength(axes, data[name], colour, f"{size} batches, noisy")
            _level(axes, errors(data[size]), colour, f"{size} batches, SGD")
            axes.set_yscale("log")
            plain_ticks(axes.yaxis, (5, 6, 8, 10, 20, 40, 60))
    _ticks_of(plain, data["large"])
    _ticks_of(adaptive, data["large adaptive"])
    _finish(plain, "SmoothOut")
    _finish(adaptive, "AdaSmoothOut", "noise over a filter's length, a")
    _share_legend(drawing, 4)
    head(drawing, "Test error against strength", data)
    return drawing


def gap(data: Data) -> Figure:
    """Draw errors seed by seed, and the large batch's error less the small batch's against a."""
    drawing, ((pairs, closing),) = page(1, 2, 2.9)
    small, large = errors(data["small"]), errors(data["large"])
    arms = {
        "small\nSGD": small,
        "large\nSGD": large,
        "large\nSmoothOut\na = 0.06": errors(data["large"], 0.06),
        "large\nAdaSmoothOut\na = 0.3": errors(data["large adaptive"], 0.3),
    }
    for seed in range(small.size):
        line = [float(each[seed]) for each in arms.values()]
        pairs.plot(range(len(arms)), line, color=GRAY, linewidth=0.7, alpha=0.7)
    for place, values in enumerate(arms.values()):
        draw_points(pairs, place, values, _LARGE if place else _SMALL, "")
    pairs.set_xticks(range(len(arms)), list(arms), fontsize=7)
    pairs.set(title="Errors, seed by seed", xlabel="batches and noise", ylabel="test error, %")
    for arm, colour, label, marker in (
        ("large", _LARGE, "SmoothOut", "o"),
        ("large adaptive", GREEN, "AdaSmoothOut", "s"),
    ):
        noisy = data[arm].sel(strength=data[arm].strength > 0)
        lost = 100 * noisy.test_error - small
        lost = lost.where(lost.mean("seed") < _WORST, drop=True)
        draw_curve(closing, lost, "strength", colour, label, marker=marker)
    _level(closing, large - small, _LARGE, "SGD: the gap")
    closing.axhline(0.0, color=_SMALL, linewidth=1.1, label="small batches")
    closing.set_xscale("log")
    plain_ticks(closing.xaxis, (0.01, 0.03, 0.1, 0.3, 0.6))
    _finish(closing, "What is left of the gap", y="points above small batches")
    _share_legend(drawing, 4)
    head(drawing, "Large batches' gap, and its closure", data)
    return drawing


def sharpness(data: Data) -> Figure:
    """Draw three measures of the sharpness of the end points, strength by strength."""
    drawing, (row,) = page(1, 3, 2.7)
    measures: dict[str, tuple[str, Callable[[xr.Dataset], xr.DataArray]]] = {
        "Largest loss in a box": (
            "φ at ε = 0.005, %",
            lambda d: d.keskar_sharpness.sel(epsilon=5e-3),
        ),
        "Mean loss under noise": (
            "rise under noise of 0.05",
            lambda d: d.expected_sharpness.sel(noise=0.05),
        ),
        "Curvature": ("trace of the Hessian", lambda d: d.hessian_trace),
    }
    every = sorted({float(a) for d in data.values() for a in d.strength.values})
    for axes, (title, (name, measure)) in zip(row, measures.items(), strict=True):
        for size, colour, shift in (("small", _SMALL, -0.2), ("large", _LARGE, 0.2)):
            values = measure(data[size])
            places = [every.index(float(a)) + shift for a in values.strength.values]
            mean = values.mean("seed")
            reach = [mean - values.min("seed"), values.max("seed") - mean]
            axes.bar(places, mean, 0.4, color=colour, label=f"{size} batches")
            axes.errorbar(
                places, mean, reach, fmt="none", ecolor="black", elinewidth=0.8, capsize=1.5
            )
        axes.set_yscale("log")
        axes.set_ylim(bottom=_floor([measure(d).mean("seed") for d in data.values()]))
        axes.set_xticks(range(len(every)), [f"{a:g}" for a in every], fontsize=6)
        _finish(axes, title, y=name)
    _share_legend(drawing, 2)
    head(drawing, "Sharpness of the minima", data, _RANGE)
    return drawing


def _floor(means: Sequence[xr.DataArray]) -> float | None:
    """Return a half of the least positive mean, if there is one."""
    positive = [float(value) for each in means for value in each.values if value > 0]
    return 0.5 * min(positive) if positive else None


def valleys(data: Data) -> Figure:
    """Draw the loss along random lines, mean over lines, and how wide it is."""
    drawing, ((large, small),) = page(1, 2, 2.9)
    for axes, size, strengths in (
        (large, "large", (0.0, 0.06)),
        (small, "small", (0.0, 0.1)),
    ):
        for a, colour in zip(strengths, (RED, BLUE), strict=True):
            arm = data[size].sel(strength=a, drop=True)
            line = arm.section.mean("direction")
            width = float(arm.valley_width.mean())
            label = f"SmoothOut, a = {a:g}" if a else "SGD"
            label += f": width {width:.2f}"
            draw_curve(axes, line, "distance", colour, label, whole=True, marker="")
        axes.set_yscale("log")
        _finish(axes, f"{size} batches", "distance, filter lengths", "training loss")
        _, top = axes.get_ylim()
        axes.set_ylim(top=6 * top)  # room for the legend
        axes.legend(loc="upper center")
    head(drawing, "The loss along random lines, mean of 5", data, _RANGE)
    return drawing


def loss_under_noise(data: Data) -> Figure:
    """Draw how the training loss rises under noise after training at several strengths."""
    drawing, ((large, small),) = page(1, 2, 2.9)
    strengths = (0.0, 0.03, 0.06, 0.1)
    for axes, size in ((large, "large"), (small, "small")):
        for a, colour in zip(strengths, shades(len(strengths)), strict=True):
            rise = data[size].expected_sharpness.sel(strength=a, drop=True)
            label = f"SmoothOut, a = {a:g}" if a else "SGD"
            draw_curve(axes, rise, "noise", colour, label, whole=True)
        axes.set(xscale="log", yscale="log")
        plain_ticks(axes.xaxis, (0.02, 0.05, 0.1, 0.2))
        _finish(axes, f"{size} batches", "noise on the weights", "rise of the training loss")
    noise = data["large"].noise
    guide = data["large"].expected_sharpness.sel(strength=0.0).mean("seed")[0]
    draw_guide(large, noise, float(guide) * (noise / noise[0]) ** 2, "noise squared")
    _share_legend(drawing, 5)
    head(drawing, "Loss under noise", data, _RANGE)
    return drawing


def ablations(data: Data) -> Figure:
    """Draw paired differences without parts of the method, and in other circumstances."""
    drawing, rows = page(2, 3, 2.5)
    (kept, law, draws), (time, labels, adam) = rows
    usual = data["large"].sel(strength=data["large"].strength <= 0.1)
    for axes, name, colour, label in (
        (kept, "kept", RED, "noise kept"),
        (law, "normal", PURPLE, "Gaussian, same variance"),
        (draws, "copies", GREEN, "12 draws a step"),
    ):
        _differences(axes, usual, usual, _LARGE, "SmoothOut")
        _differences(axes, data[name], usual, colour, label, marker="s")
    _differences(labels, data["noisy"], data["noisy"], _LARGE, "SmoothOut")
    small_less_large = errors(data["noisy small"]) - errors(data["noisy"])
    _level(labels, small_less_large, _SMALL, "SGD, small batches")
    _differences(adam, data["adam"], data["adam"], _LARGE, "SmoothOut")
    for axes, title in (
        (kept, "Is the noise removed?"),
        (law, "Law of the noise"),
        (draws, "Draws in a step"),
        (labels, "A fifth of labels replaced"),
        (adam, "Adam"),
    ):
        axes.axhline(0.0, color=GRAY, linewidth=1.1, linestyle="--", label="no noise")
        axes.set_xscale("log")
        plain_ticks(axes.xaxis, (0.003, 0.01, 0.03, 0.1))
        _finish(axes, title, y="test error changes by, points")
    names = {"large": "as usual", "longer": "4 × longer", "unscaled": "rate not\nraised"}
    for number, name in enumerate(names):
        change = errors(data[name], 0.1) - errors(data[name])
        draw_points(time, number, change, _LARGE, "")
    time.axhline(0.0, color=GRAY, linewidth=1.1, linestyle="--")
    time.set_xticks(range(len(names)), list(names.values()), fontsize=7)
    time.set_xlim(-0.5, len(names) - 0.5)
    _finish(time, "Training, a = 0.1", "", "test error changes by, points")
    _share_legend(drawing, 3)
    head(drawing, "Large batches: what matters, in pairs of equal seeds", data)
    return drawing


def _differences(
    axes: Axes, arm: xr.Dataset, without: xr.Dataset, colour: str, label: str, **line: Any
) -> None:
    """Draw by how many points the error changes from that of the run without noise."""
    noisy = arm.sel(strength=arm.strength > 0)
    change = 100 * noisy.test_error - errors(without)
    draw_curve(axes, change, "strength", colour, label, **line)
