"""How the figures on Zhang et al. (2017)'s networks are drawn: Datasets in, a figure out."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_figures._zhang_2017_networks_measures import (
    GAUSSIAN,
    PERMUTED,
    RANDOM,
    SHUFFLED,
    TRUE,
    by_share,
)
from paper_figures._zhang_2017_networks_needs import NAMES
from paper_figures._zhang_2017_plots import by_size, dataset_label
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
)

Data = Mapping[str, xr.Dataset]

# The loss that claims on speed wait for, and the error of guessing one of ten classes.
TARGET_LOSS, CHANCE = 0.1, 0.9

# Table 1: network, regularizers or what the labels are, training and test accuracy in percent.
TABLE_1 = (
    ("inception", "crop, weight decay", 100.0, 89.05),
    ("inception", "crop", 100.0, 89.31),
    ("inception", "weight decay", 100.0, 86.03),
    ("inception", "none", 100.0, 85.75),
    ("inception", RANDOM, 100.0, 9.78),
    ("inception_without_batch_norm", "weight decay", 100.0, 83.0),
    ("inception_without_batch_norm", "none", 100.0, 82.0),
    ("inception_without_batch_norm", RANDOM, 100.0, 10.12),
    ("alexnet", "crop, weight decay", 99.9, 81.22),
    ("alexnet", "crop", 99.82, 79.66),
    ("alexnet", "weight decay", 100.0, 77.36),
    ("alexnet", "none", 100.0, 76.07),
    ("alexnet", RANDOM, 99.82, 9.86),
    ("mlp_3x512", "weight decay", 100.0, 53.35),
    ("mlp_3x512", "none", 100.0, 52.39),
    ("mlp_3x512", RANDOM, 100.0, 10.48),
    ("mlp_1x512", "weight decay", 99.8, 50.39),
    ("mlp_1x512", "none", 100.0, 50.51),
    ("mlp_1x512", RANDOM, 99.34, 10.61),
)

# Table 4: regularizer, network, and training accuracy on random labels in percent.
TABLE_4 = (
    ("weight decay", "inception", 100.0),
    ("weight decay", "alexnet", None),  # "failed to converge"
    ("weight decay", "mlp_3x512", 100.0),
    ("weight decay", "mlp_1x512", 99.21),
    ("crop", "inception", 99.93),
    ("flip and rotation", "inception", 99.28),
)

# Read off figure 1a, Inception: epochs to a loss of 0.1.
PRINTED_EPOCHS = {
    TRUE: 8,
    SHUFFLED: 13,
    GAUSSIAN: 20,
    PERMUTED: 21,
    RANDOM: 35,
}

# Read off figures 1b and 1c, for shares of 0, 0.1, … 1: time to fit over that for true labels, and
# test error in percent.
PRINTED_TIMES = {
    "inception": (1, 1.6, 1.9, 2.2, 2.4, 2.5, 2.7, 2.9, 3.1, 3.6, 3.6),
    "alexnet": (1, 1.06, 1.10, 1.16, 1.23, 1.26, 1.32, 1.35, 1.42, 1.52, 1.55),
    "mlp_1x512": (1, 1.29, 1.43, 1.57, 1.68, 1.79, 1.93, 1.93, 1.96, 2.0, 1.96),
}
PRINTED_ERRORS = {
    "inception": (12.8, 27.8, 40.6, 52.4, 62.9, 71.0, 78.5, 84.1, 87.9, 90.2, 90.2),
    "alexnet": (30.1, 41.2, 52.2, 61.9, 69.2, 76.3, 82.0, 85.8, 88.1, 89.0, 90.1),
    "mlp_1x512": (49.5, 58.5, 65.7, 71.9, 75.7, 79.6, 86.5, 86.5, 88.3, 89.4, 89.8),
}

_MARKS: dict[str, dict[str, Any]] = {
    "inception": {"colour": BLUE, "marker": "o"},
    "inception_without_batch_norm": {"colour": RED, "marker": "v"},
    "alexnet": {"colour": ORANGE, "marker": "s"},
    "mlp_3x512": {"colour": GREEN, "marker": "^"},
    "mlp_1x512": {"colour": PURPLE, "marker": "D"},
}
_CONDITIONS: dict[str, dict[str, Any]] = {
    TRUE: {"colour": BLUE},
    SHUFFLED: {"colour": ORANGE, "linestyle": "--"},
    GAUSSIAN: {"colour": GRAY},
    PERMUTED: {"colour": PURPLE, "linestyle": "--"},
    RANDOM: {"colour": RED},
}


# --- what the data are ----------------------------------------------------------------------------


def _by_dataset(data: Data) -> dict[str, dict[str, xr.Dataset]]:
    """Return the results by data set, and within it by the rest of their name."""
    found: dict[str, dict[str, xr.Dataset]] = {}
    for key, d in data.items():
        name = key.removeprefix("cifar ").removesuffix(", cifar")
        found.setdefault("digits" if name == key else dataset_label("cifar", d), {})[name] = d
    return found


def _is_papers(dataset: str) -> bool:
    """Return whether the paper's numbers are for this data set, but for its compression."""
    return dataset.startswith("CIFAR-10")


def _updates(d: xr.Dataset) -> int:
    """Return the number of updates in an epoch."""
    parameters = {"train_size": 1437, "batch_size": 128} | json.loads(
        d.attrs.get("parameters", "{}")
    )
    return -(-parameters["train_size"] // parameters["batch_size"])


def _percent_at_end(d: xr.Dataset, variable: str, corruption: str) -> xr.DataArray:
    return 100 * d[variable].sel(corruption=corruption).isel(epoch=-1)


# --- how they are drawn ---------------------------------------------------------------------------


class _Panel(NamedTuple):
    """Axes titled by a network and a data set, with what is to be drawn in them."""

    axes: Axes
    network: str
    dataset: str
    data: xr.Dataset


def _panel_each(data: Data, height: float) -> tuple[Figure, list[_Panel]]:
    """Return a page with a panel for each result, in rows of two or three."""
    columns = 2 if len(data) in (2, 4) else min(len(data), 3)
    drawing, grid = page(-(-len(data) // columns), columns, height)
    for axes in grid.ravel()[len(data) :]:
        axes.remove()
    free, panels = iter(grid.flat), []
    for dataset, networks in _by_dataset(data).items():
        for network, d in networks.items():
            panels.append(_Panel(next(free), network, dataset, d))
            panels[-1].axes.set_title(f"{NAMES[network]}\n{dataset}")
    return drawing, panels


def _over_epochs(axes: Axes, last: int, x_label: str = "epochs") -> None:
    axes.set(xscale="log", xlim=(1, last), xlabel=x_label)
    plain_ticks(axes.xaxis, (1, 3, 10, 30, 100, 300))


def _legend(drawing: Figure, panels: Sequence[Axes], ncols: int) -> None:
    """Write one legend under all panels, with each label once."""
    handles: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    shown = list(handles.values())
    drawing.legend(handles=shown, loc="outside lower center", fontsize=7.5, ncols=ncols)


def _level(axes: Axes, value: float, label: str, linestyle: str) -> None:
    """Draw a thin gray line across."""
    axes.axhline(value, color=GRAY, linewidth=0.9, linestyle=linestyle, label=label)


# --- training -------------------------------------------------------------------------------------


def fitting_noise(data: Data) -> Figure:
    """Draw the loss while training on true and random labels and on random inputs."""
    drawing, panels = _panel_each(data, 2.4)
    for axes, network, dataset, d in panels:
        for condition, line in _CONDITIONS.items():
            if condition in d.corruption.values:
                loss = d.online_loss.sel(corruption=condition)
                draw_curve(axes, loss, "epoch", label=condition, marker="", **line)
        _level(axes, np.log(10), "chance: ln 10", "-.")
        _level(axes, TARGET_LOSS, f"a loss of {TARGET_LOSS}", ":")
        if network == "inception" and _is_papers(dataset):
            _printed_epochs(axes)
        axes.set(ylim=(0, 2.6), ylabel="loss over an epoch (nats)")
        _over_epochs(axes, d.sizes["epoch"], f"epochs of {_updates(d):,} updates")
    _legend(drawing, [panel.axes for panel in panels], 4)
    head(drawing, "Networks fit random labels and random inputs, at different speeds", data)
    return drawing


def _printed_epochs(axes: Axes) -> None:
    for condition, epoch in PRINTED_EPOCHS.items():
        colour = _CONDITIONS[condition]["colour"]
        label = "paper, read off" if condition == RANDOM else ""
        axes.plot(epoch, TARGET_LOSS, "o", color=colour, markerfacecolor="white", label=label)


def batch_norm(data: Data) -> Figure:
    """Draw accuracy while training with and without batch normalization."""
    found = _by_dataset(data)
    drawing, grid = page(len(found), 2, 2.6)
    for (true, random), (dataset, networks) in zip(grid, found.items(), strict=True):
        for network, d in networks.items():
            _accuracies(true, 100 * d.sel(corruption=TRUE), network)
            fitted = 100 * d.training_accuracy.sel(corruption=RANDOM)
            colour = _MARKS[network]["colour"]
            draw_curve(random, fitted, "epoch", colour, "", marker="", linestyle="--")
        last = max(d.sizes["epoch"] for d in networks.values())
        for axes, labels in ((true, "true labels"), (random, "random labels")):
            axes.set(ylabel="accuracy (%)", title=f"{dataset}: {labels}")
            _over_epochs(axes, last)
        worst = max(_worst(d.sel(corruption=TRUE)) for d in networks.values())
        true.set_ylim(100 - 2.5 * worst, 100 + 0.15 * worst)  # the first epochs may be below
        random.set_ylim(0, 104)
    _legend(drawing, grid[:, 0], 2)
    head(drawing, "Inception without batch normalization still fits and generalizes", data)
    return drawing


def _worst(d: xr.Dataset) -> float:
    """Return the test error at the end in percent, of the worst seed, and at least 1."""
    return max(1.0, 100 * (1 - float(d.test_accuracy.isel(epoch=-1).min())))


def _accuracies(axes: Axes, d: xr.Dataset, network: str) -> None:
    """Draw accuracies on true labels, and the best of the test so far."""
    name, colour = NAMES[network], _MARKS[network]["colour"]
    training, test = d.training_accuracy, finite(d.test_accuracy, "epoch")
    draw_curve(axes, training, "epoch", colour, f"{name}: training", marker="", linestyle="--")
    draw_curve(axes, test, "epoch", colour, f"{name}: test", marker="")
    best = test.rolling(epoch=test.sizes["epoch"], min_periods=1).max().mean("seed")
    label = f"{name}: best test so far"
    axes.plot(test.epoch, best, color=colour, linewidth=0.9, linestyle=":", label=label)


def patterns_first(data: Data) -> Figure:
    """Draw, with 40 % of labels replaced, what is learned of the truth and of the noise."""
    drawing, panels = _panel_each(data, 2.3)
    for axes, _, _, d in panels:
        one = 100 * d.sel(corruption="labels 0.4")
        fitted = one.wrong_labels_fitted
        draw_curve(axes, one.test_accuracy, "epoch", BLUE, "true test labels right", marker="")
        draw_curve(axes, fitted, "epoch", RED, "wrong training labels fitted", marker="")
        mean = finite(one.test_accuracy, "epoch").mean("seed")
        peak = mean.isel(epoch=int(mean.argmax("epoch")))
        axes.axvline(float(peak.epoch), color=GRAY, linewidth=0.8, linestyle=":")
        axes.plot(float(peak.epoch), float(peak), "*", color=BLUE, markersize=9, label="the peak")
        axes.set(ylim=(0, 104), ylabel="share (%)")
        _over_epochs(axes, d.sizes["epoch"])
    _legend(drawing, [panel.axes for panel in panels], 3)
    head(drawing, "40 % of labels replaced: patterns are learned first, noise later", data)
    return drawing


# --- shares of labels replaced --------------------------------------------------------------------


def corrupted_labels(data: Data) -> Figure:
    """Draw time to fit and test errors against the share of labels replaced."""
    found = _by_dataset(data)
    drawing, grid = page(len(found), 3, 2.6)
    for (time, true, alike), (dataset, networks) in zip(grid, found.items(), strict=True):
        for network, d in networks.items():
            one = by_share(d)
            _slowdown(time, one, network)
            _errors(true, alike, one, network)
            if _is_papers(dataset) and network in PRINTED_TIMES:
                _printed_curve(time, PRINTED_TIMES[network], network)
                _printed_curve(alike, PRINTED_ERRORS[network], network)
        time.set(yscale="log", ylabel="time to a loss of 0.05, relative")
        plain_ticks(time.yaxis, (1, 1.5, 2, 3, 5, 10, 20, 50, 100))
        time.set_title(f"{dataset}: time")
        true.set(ylim=(0, 100), ylabel="test error (%)", title="true test labels")
        alike.set(ylim=(0, 100), ylabel="test error (%)", title="test labels replaced alike")
        for axes in (true, alike):
            _level(axes, 100 * CHANCE, "chance", "-.")
        for axes in (time, true, alike):
            axes.set_xlabel("share p of labels replaced")
            axes.set_xticks(np.linspace(0, 1, 6))
    _legend(drawing, [*grid[:, 1], *grid[:, 2], *grid[:, 0]], 4)
    head(drawing, "Replaced labels take longer to fit, and cost test accuracy", data)
    return drawing


def _slowdown(axes: Axes, d: xr.Dataset, network: str) -> None:
    """Draw the time to fit over that for true labels, or the least that it can be."""
    base = d.epochs_to_fit.sel(share=0.0, drop=True)
    ratio = d.epochs_to_fit / base
    _at_shares(axes, finite(ratio, "share"), network)
    missed = ratio.share[ratio.isnull().any("seed")]
    least = float((d.sizes["epoch"] / base).mean())
    if missed.size and np.isfinite(least):
        mark = {"color": _MARKS[network]["colour"], "markerfacecolor": "white", "markersize": 7}
        axes.plot(missed, 0 * missed + least, "^", label="not fitted: at least", **mark)


def _errors(true: Axes, alike: Axes, d: xr.Dataset, network: str) -> None:
    """Draw both test errors at the end, and what the first makes of the second."""
    end, p = d.isel(epoch=-1), d.share
    error, replaced = 1 - end.test_accuracy, 1 - end.corrupted_test_accuracy
    _at_shares(true, 100 * error, network)
    _at_shares(alike, 100 * replaced, network, linestyle="none")
    expected = 100 * ((1 - p) * error + p * CHANCE).mean("seed")
    if p.size > 2:
        draw_guide(alike, p, expected, "(1 - p) × error on true labels + 90 % p")


def _at_shares(axes: Axes, values: xr.DataArray, network: str, linestyle: str = "-") -> None:
    """Draw a network's values; no line joins true to random labels with nothing between."""
    colour, marker = _MARKS[network]["colour"], _MARKS[network]["marker"]
    line = {"marker": marker, "linestyle": linestyle if values.share.size > 2 else "none"}
    draw_points(axes, values.share, values, colour, NAMES[network], linewidth=1.1, **line)


def _printed_curve(axes: Axes, values: Sequence[float], network: str) -> None:
    """Draw what was read off the paper's figure."""
    colour, marker = _MARKS[network]["colour"], _MARKS[network]["marker"]
    mark = {"marker": marker, "markerfacecolor": "white", "markersize": 3, "linewidth": 0.5}
    shares = np.linspace(0, 1, len(values))
    axes.plot(shares, values, color=colour, label="open: paper, read off", **mark)


# --- tables ---------------------------------------------------------------------------------------


def table_1(data: Data) -> Figure:
    """Draw the rows of table 1, ours beside the printed."""
    drawing, [[training, test]] = page(1, 2, 4.6)
    for axes, variable, column in ((training, "training_accuracy", 2), (test, "test_accuracy", 3)):
        for dataset, ours in _by_dataset(data).items():
            rows = {}
            for place, (network, what, *_) in enumerate(TABLE_1):
                labels, need = (RANDOM, "none") if what == RANDOM else (TRUE, what)
                if d := ours.get(f"{network}, {need}"):
                    rows[place] = _percent_at_end(d, variable, labels)
            _dots(axes, rows, dataset)
        _printed_dots(axes, {place: row[column] for place, row in enumerate(TABLE_1)})
        _rows(axes, [f"{NAMES[network]}: {what}" for network, what, *_ in TABLE_1])
        for place in range(1, len(TABLE_1)):
            if TABLE_1[place][0] != TABLE_1[place - 1][0]:
                axes.axhline(place - 0.5, color=GRAY, linewidth=0.6)
    training.set(xlabel="training accuracy (%)", ylabel="network: regularizers", title="training")
    test.tick_params(labelleft=False)
    test.axvline(100 * (1 - CHANCE), color=GRAY, linewidth=0.9, linestyle="-.", label="chance")
    test.set(xlabel="test accuracy (%)", xlim=(0, 102), title="test")
    _legend(drawing, [training, test], 4)
    head(drawing, "Table 1: with regularizers and without, networks generalize", data)
    return drawing


def table_4(data: Data) -> Figure:
    """Draw the rows of table 4, ours beside the printed, and a sweep of the weight decay."""
    sweep = {key: d for key, d in data.items() if key.startswith("decay ")}
    drawing, grid = page(1, 2 if sweep else 1, 3.1)
    _in_spite_of_regularizers(grid[0, 0], {key: data[key] for key in data if key not in sweep})
    if sweep:
        decays = {float(key.removeprefix("decay ")): d for key, d in sweep.items()}
        _stopped_by_decay(grid[0, 1], dict(sorted(decays.items())))
    _legend(drawing, grid[0, :1], 3)
    head(drawing, "Random labels under regularizers: what is fitted", data)
    return drawing


def _in_spite_of_regularizers(axes: Axes, data: Data) -> None:
    for dataset, ours in _by_dataset(data).items():
        rows = {}
        for place, (what, network, _) in enumerate(TABLE_4):
            variable = "training_accuracy" if what == "weight decay" else "online_accuracy"
            if d := ours.get(f"{what}, {network}"):
                rows[place] = _percent_at_end(d, variable, RANDOM)
        _dots(axes, rows, dataset)
    printed = {place: row[2] for place, row in enumerate(TABLE_4) if row[2]}
    _printed_dots(axes, printed)
    for place in set(range(len(TABLE_4))) - set(printed):
        axes.text(
            0.02,
            place,
            "paper: failed to converge",
            transform=axes.get_yaxis_transform(),
            fontsize=7,
            va="center",
        )
    _rows(axes, [f"{NAMES[network]}:\n{what}" for what, network, _ in TABLE_4])
    axes.set(xlabel="training accuracy (%), online if augmented", ylabel="network: regularizer")
    axes.set_title("random labels")


def _stopped_by_decay(axes: Axes, sweep: Mapping[float, xr.Dataset]) -> None:
    for label, variable, labels, colour in (
        ("random labels: training", "training_accuracy", RANDOM, RED),
        ("true labels: test", "test_accuracy", TRUE, BLUE),
    ):
        values = {x: _percent_at_end(d, variable, labels) for x, d in sweep.items()}
        by_size(axes, values, colour, label)
    axes.set(xscale="log", ylim=(0, 104), xlabel="weight decay", ylabel="accuracy (%)")
    axes.set_title("MLP 1×512, digits")
    axes.legend(loc="lower left")


def _dots(axes: Axes, rows: Mapping[int, xr.DataArray], dataset: str) -> None:
    """Draw means over seeds in the rows of a table, with two standard errors."""
    if not rows:
        return
    means, errors = zip(*map(mean_and_error, rows.values()), strict=True)
    shift, colour, marker = (-0.2, BLUE, "o") if dataset == "digits" else (0.2, RED, "^")
    mark = {"linestyle": "none", "capsize": 2, "elinewidth": 1.0, "marker": marker}
    places = np.array(list(rows)) + shift
    axes.errorbar(means, places, xerr=errors, color=colour, label=dataset, **mark)


def _printed_dots(axes: Axes, rows: Mapping[int, float]) -> None:
    mark = {"color": "black", "markerfacecolor": "white", "markersize": 4.5, "markeredgewidth": 0.8}
    axes.plot(list(rows.values()), list(rows), "D", label="paper, CIFAR-10", zorder=1, **mark)


def _rows(axes: Axes, labels: Sequence[str]) -> None:
    """Name the rows of a table, from the top down."""
    axes.set_yticks(range(len(labels)), labels, fontsize=7)
    axes.set_ylim(len(labels) - 0.4, -0.6)
