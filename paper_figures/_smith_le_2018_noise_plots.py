"""How the figures on the noise scale are drawn: Datasets in, a figure out."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import norm

from paper_figures._smith_le_2018_noise_measures import final_accuracy, noise_scale_curves, optima
from paper_figures.style import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    RED,
    draw_curve,
    page,
    shades,
)

Data = Mapping[str, xr.Dataset]

_NETWORKS = {
    "digits": "digits, 64-32-10",
    "mnist": "MNIST 14×14, 196-100-10",
    "digits network": "digits, 64-100-10",
    "mnist network": "MNIST, 784-50-10",
    "paper network": "MNIST, 784-800-10",
    "scaled network": "MNIST, 784-800-10, pixels in [0, 0.1]",
}
_BATCH = "batch size B"
_ACCURACY = "test accuracy (%)"


def _title(name: str, data: xr.Dataset, networks: Mapping[str, str] = _NETWORKS) -> str:
    """Return which data a panel shows; files that are not MNIST's are named by their checksum."""
    dataset = data.attrs.get("dataset", "mnist")
    return networks[name] if dataset == "mnist" else networks[name].replace("MNIST", dataset)


def _seeds(data: Data) -> str:
    counts = sorted({d.sizes["seed"] for d in data.values()})
    return f"mean of {' or '.join(map(str, counts))} seeds"


def _zoom(axes: Axes, accuracy: xr.DataArray, points: float) -> None:
    """Show the top of the curves, where the optimum is."""
    top = 100 * float(accuracy.mean("seed").max())
    axes.set_ylim(top - points, top + 0.15 * points)


def curves(data: Data) -> Figure:
    """Draw test accuracy and cross-entropy along training, for a small and the full batch."""
    drawing, grid = page(len(data), 2, 2.4)
    for row, (name, d) in zip(grid, data.items(), strict=True):
        updates = d.time / float(d.learning_rate[0])
        for i, colour in ((0, BLUE), (1, RED)):
            run = d.isel(batch_size=i, learning_rate=0, momentum=0, weight_decay=0, train_size=0)
            run = run.assign_coords(time=updates)
            label = f"B = {int(run.batch_size)}" + (" = N" if i else "")
            draw_curve(row[0], 100 * run.test_accuracy, "time", colour, label)
            draw_curve(row[1], run.test_loss, "time", colour, label)
        row[0].set(ylabel=_ACCURACY, title=f"{_title(name, d)}, N = {int(d.train_size[0]):,}")
        _zoom(row[0], d.test_accuracy, 12.0)
        rate = float(d.learning_rate[0])
        row[1].set(ylabel="test cross-entropy (nats)", title=f"ε = {rate:g}, m = 0.9")
        row[1].set_ylim(top=2.5 * float(d.test_loss.mean("seed").min()))
        row[0].legend(loc="lower right")
        for axes in row:
            axes.set(xlabel="updates", xscale="log")
    drawing.suptitle(f"Figure 3: small and full batch ({_seeds(data)}; band: 2 s.e.)", fontsize=9)
    return drawing


def batch_sizes(data: Data) -> Figure:
    """Draw test accuracy against batch size, whole and at the top; and three conventions."""
    sweeps = {name: d for name, d in data.items() if name in _NETWORKS}
    conventions = [(name, d) for name, d in data.items() if name not in _NETWORKS]
    drawing, grid = page(1, len(sweeps) + bool(conventions), 2.9)
    for axes, (name, d) in zip(grid[0], sweeps.items(), strict=False):
        d, rate = d.sel(train_size=d.train_size.max()), 1.0 if 1.0 in d.learning_rate else 0.1
        accuracy = final_accuracy(d, learning_rate=rate)
        found = optima(accuracy)
        draw_curve(axes, 100 * accuracy, "batch_size", BLUE, f"ε = {rate:g}, m = 0.9")
        for which, colour in (("optimum", GREEN), ("collapse", RED)):
            center, low, high = _spread(found[which])
            if np.isfinite(center):
                axes.axvspan(float(low), float(high), color=colour, alpha=0.25, linewidth=0)
                axes.axvline(float(center), color=colour, linewidth=1.0, label=which)
        _zoom(axes, accuracy, 8.0)
        axes.set(title=f"{_title(name, d)}, N = {int(d.train_size):,}")
    for (name, d), colour in zip(conventions, (BLUE, ORANGE, PURPLE), strict=False):
        axes, label = grid[0, -1], name.removeprefix("ε = 1, ")
        draw_curve(axes, 100 * final_accuracy(d), "batch_size", colour, label)
        axes.set(title=f"{_title('mnist', d).split(',')[0]}, ε = 1, m = 0.9", ylim=(0, 130))
        axes.set_yticks(range(0, 101, 20))
    for axes in grid[0]:
        axes.set(xscale="log", xlabel=_BATCH)
        axes.legend(fontsize=6.5, loc="best")
        axes.title.set_fontsize(7.5)
    grid[0, 0].set_ylabel(_ACCURACY)
    drawing.suptitle(
        f"Figure 4: the optimum batch size ({_seeds(data)}; bands: 2 s.e., 68 % of resamples)",
        fontsize=9,
    )
    return drawing


def scaling(
    dimension: str,
    symbol: str,
    title: str,
    x_label: str,
    x: Callable[[xr.DataArray], xr.DataArray] = lambda values: values,
) -> Callable[[Data], Figure]:
    """Return a drawing of accuracy over B for each value of a setting, and of the optima.

    The optima are drawn against ``x`` of the setting, which ``x_label`` names.
    """

    def draw(data: Data) -> Figure:
        drawing, grid = page(len(data), 2, 2.7)
        for row, (name, d) in zip(grid, data.items(), strict=True):
            accuracy = final_accuracy(d)
            values = d[dimension].values
            for value, colour in zip(values, shades(len(values)), strict=True):
                curve = 100 * accuracy.sel({dimension: value})
                draw_curve(row[0], curve, "batch_size", colour, _short(value))
            row[0].set(xscale="log", xlabel=_BATCH, ylabel=_ACCURACY, title=_title(name, d))
            _zoom(row[0], accuracy, 12.0)
            row[0].legend(title=symbol, fontsize=6.5, loc="best", frameon=True, framealpha=0.7)
            _draw_optima(row[1], optima(accuracy), x(d[dimension]))
            row[1].set(xlabel=x_label, ylabel=_BATCH)
        drawing.suptitle(
            f"{title} ({_seeds(data)}; bars: 68 % of resamples; open: at the sweep's edge)",
            fontsize=9,
        )
        return drawing

    return draw


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:.3g}"


def _spread(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Return the value of all seeds, and the ends of the middle 68 % of resamples."""
    center = values.isel(resample=0)
    resampled = values.isel(resample=slice(1, None)).fillna(center)
    low, high = resampled.quantile([0.16, 0.84], "resample", skipna=False)
    return center, low, high


def _draw_optima(axes: Axes, found: xr.Dataset, x: xr.DataArray) -> None:
    """Draw optimum and collapse against x; an open mark lies at the edge of its sweep."""
    at_edge = found.at_edge.isel(resample=0) > 0
    for name, colour, marker in (("optimum", GREEN, "o"), ("collapse", RED, "s")):
        center, low, high = _spread(found[name])
        axes.vlines(x, low, high, color=colour)
        axes.plot(x, center, color=colour, marker=marker, linestyle="none", label=name)
        if name == "optimum":
            axes.plot(x[at_edge], center[at_edge], marker, color="white", mec=colour)
    middle = np.exp(np.log(found.optimum.isel(resample=0) / x).mean())
    axes.plot(x, middle * x, color=GRAY, linewidth=0.9, linestyle="--", label="proportional")
    axes.set(xscale="log", yscale="log")
    axes.set_xticks(x.values, [_short(value) for value in x.values], fontsize=7)
    axes.minorticks_off()
    axes.legend(loc="best", fontsize=7)


def weight_decay(data: Data) -> Figure:
    """Draw accuracy over B for each L2 coefficient."""
    drawing, grid = page(1, len(data), 2.9)
    for axes, (name, d) in zip(grid[0], data.items(), strict=True):
        accuracy = final_accuracy(d)
        values = d.weight_decay.values
        for value, colour in zip(values, shades(len(values)), strict=True):
            curve = 100 * accuracy.sel(weight_decay=value)
            draw_curve(axes, curve, "batch_size", colour, f"{value:g}")
        rate = float(d.learning_rate[0])
        axes.set(xscale="log", xlabel=_BATCH, title=f"{_title(name, d)}, ε = {rate:g}, m = 0.9")
        _zoom(axes, accuracy, 12.0)
        axes.legend(title="L2 of the mean loss", fontsize=7, loc="lower right")
    grid[0, 0].set_ylabel(_ACCURACY)
    drawing.suptitle(f"Figure 8: L2 regularization ({_seeds(data)}; band: 2 s.e.)", fontsize=9)
    return drawing


def normality(data: Data) -> Figure:
    """Draw the density of one weight's gradient over single examples and batches of 30."""
    networks = {"digits": "digits, 64-800-10", "mnist": "MNIST, 784-800-10"}
    drawing, grid = page(len(data), 2, 2.2)
    z = np.linspace(-5, 5, 200)
    for row, (name, d) in zip(grid, data.items(), strict=True):
        for axes, B, colour in ((row[0], 1, RED), (row[1], 30, BLUE)):
            one = d.sel(batch_size=B).isel(seed=0)
            axes.stairs(
                one.density,
                np.append(one.standardized - 1 / 12, one.standardized[-1] + 1 / 12),
                color=colour,
                fill=True,
                alpha=0.35,
                label=f"excess kurtosis {float(one.excess_kurtosis):.2f}",
            )
            axes.plot(z, norm.pdf(z), color=GRAY, label="normal")
            axes.set(yscale="log", ylim=(1e-4, 20), title=f"{_title(name, d, networks)}, B = {B}")
            axes.legend(fontsize=7)
        row[0].set_ylabel("density")
    for axes in grid[-1]:
        axes.set_xlabel("gradient of one softmax weight (s.d.)")
    drawing.suptitle(
        "Figure 9: minibatch gradients at the start, one weight of one seed", fontsize=9
    )
    return drawing


def collapse(data: Data) -> Figure:
    """Draw accuracy against the noise scale: over ε and m at one N, and over N."""
    kinds = ("rates", "momenta", "sizes")
    names = [name for name in _NETWORKS if all(f"{name}_{kind}" in data for kind in kinds)]
    drawing, grid = page(len(names), 2, 2.7)
    for row, name in zip(grid, names, strict=True):
        rates, momenta, sizes = (data[f"{name}_{kind}"] for kind in kinds)
        panels = (
            (noise_scale_curves(rates) + noise_scale_curves(momenta), "over ε and m"),
            (noise_scale_curves(sizes), "over N"),
        )
        for axes, (family, title) in zip(row, panels, strict=True):
            for (label, g, accuracy), colour in zip(family, shades(len(family)), strict=True):
                mean = 100 * accuracy.mean("seed")
                axes.plot(g, mean, color=colour, label=label, marker=".", linewidth=1.0)
            top = max(100 * float(accuracy.mean("seed").max()) for _, _, accuracy in family)
            axes.set(
                xscale="log", ylim=(top - 18, top + 2), title=f"{_title(name, rates)}, {title}"
            )
            axes.set_xlabel("noise scale g = ε(N/B - 1)/(1 - m)")
            axes.legend(fontsize=5.5, loc="lower left")
        row[0].set_ylabel(_ACCURACY)
    drawing.suptitle(
        f"Accuracy is a function of g over ε and m; over N its optimum moves ({_seeds(data)})",
        fontsize=9,
    )
    return drawing


def stationary(data: Data) -> Figure:
    """Draw the stationary variance against its continuous limit, and the exact finite-step law."""
    d = data["chains"]
    drawing, grid = page(1, 2, 2.9)
    share = d.learning_rate * d.curvature / (2 * (1 + d.momentum))
    ratio = d.variance / d.continuous
    for axes, part, title in (
        (grid[0, 0], slice(0, 4), "equal g = ε(N/B - 1), m = 0"),
        (grid[0, 1], slice(4, None), "equal ε/(1 - m), B = 8"),
    ):
        chosen = d.isel(setting=part)
        for i, colour in zip(range(chosen.sizes["setting"]), shades(5), strict=False):
            each = chosen.isel(setting=i)
            n = d.sizes["seed"]
            values = ratio.isel(setting=part).isel(setting=i)
            label = (
                f"B = {int(each.batch_size)}"
                if part.start == 0
                else f"m = {float(each.momentum):g}"
            )
            axes.errorbar(
                share.isel(setting=part).isel(setting=i),
                values.mean("seed"),
                2 * values.std("seed", ddof=min(1, n - 1)) / np.sqrt(n),
                color=colour,
                marker="o",
                markersize=3,
                linestyle="none",
                capsize=2,
                label=label,
            )
        f = np.geomspace(float(share.min()) / 2, 0.9, 200)
        axes.plot(f, 1 / (1 - f), color=GRAY, label="exact: 1/(1 - f)", linewidth=1.0)
        axes.axhline(1.0, color=GRAY, linewidth=0.8, linestyle="--")
        axes.set(xscale="log", xlabel="f = εh / 2(1 + m), 1 at the stability limit", title=title)
        axes.set_ylim(0.85, 8 if part.start == 0 else 1.15)
        if part.start == 0:
            axes.set_yscale("log")
        axes.legend(fontsize=7)
    grid[0, 0].set_ylabel("variance over the SDE's\nεc / 2h(1 - m)")
    drawing.suptitle(
        f"SGD on a quadratic loss: where the noise scale is all that counts "
        f"({_seeds(data)}; bars: 2 s.e.)",
        fontsize=9,
    )
    return drawing


def occupation(data: Data) -> Figure:
    """Draw a landscape of two wells, the log odds of its basins, and passage times."""
    d, times = data["occupation"], data["kramers"]
    drawing, grid = page(1, 3, 2.8)
    landscape, odds, passage = grid[0]
    landscape.plot(d.position, d.landscape.isel(seed=0), color=BLUE)
    landscape.set(xlabel="ω", ylabel="cost C (nats)", title="deep and narrow, shallow and wide")
    landscape.set_ylim(top=6)
    n = d.sizes["seed"]
    odds.plot(d.temperature, d.exact.isel(seed=0), color=GRAY, label="quadrature")
    odds.plot(d.temperature, d.laplace.isel(seed=0), color=RED, linestyle="--", label="Laplace")
    odds.errorbar(
        d.temperature,
        d.simulated.mean("seed"),
        2 * d.simulated.std("seed", ddof=min(1, n - 1)) / np.sqrt(n),
        color=BLUE,
        marker="o",
        linestyle="none",
        capsize=2,
        label="Langevin",
    )
    odds.axvline(1.0, color=GRAY, linewidth=0.8)
    odds.set(xlabel="temperature T", ylabel="log odds of the wide basin", title="occupation")
    odds.legend(fontsize=7)
    n = times.sizes["seed"]
    passage.plot(1 / times.temperature, times.exact.isel(seed=0), color=GRAY, label="exact")
    passage.plot(
        1 / times.temperature,
        times.kramers.isel(seed=0),
        color=RED,
        linestyle="--",
        label="Kramers",
    )
    passage.errorbar(
        1 / times.temperature,
        times.simulated.mean("seed"),
        2 * times.simulated.std("seed", ddof=min(1, n - 1)) / np.sqrt(n),
        color=BLUE,
        marker="o",
        linestyle="none",
        capsize=2,
        label="Langevin",
    )
    passage.set(yscale="log", xlabel="barrier / T", ylabel="mean passage time", title="double well")
    passage.legend(fontsize=7)
    drawing.suptitle(
        f"Langevin dynamics occupies basins by their evidence at T = 1 ({_seeds(data)}; "
        "bars: 2 s.e.)",
        fontsize=9,
    )
    return drawing
