"""The figures on Liu et al. (2020) draw what their data say; wording is left to the figures."""

import numpy as np
import pytest
import xarray as xr
from figure_asserts import drawn

from paper_figures import _liu_2020_measures as measures
from paper_figures import liu_2020, style
from sims.bad_minima import MEASURES

# Those of networks have a file of their own.
FIGURES = {
    figure.name.removeprefix("liu_2020_"): figure
    for figure in liu_2020.FIGURES
    if "network" not in figure.name
}
CLAIMS = {claim.id.removeprefix("liu_2020:"): claim for claim in liu_2020.CLAIMS}

RUNS = ["random", "shattered", "adversarial", "regularized"]
LINES = ["random - adversarial", "adversarial - regularized", "random - regularized"]
ON = ("augmentation", "weight_decay", "momentum")
SWITCHES = [0, 5, 50, 400]
# What every study returns: the coordinates, and the dimensions of each variable.
STUDIES = {
    "runs": (
        {"run": RUNS, "x0": np.linspace(-1.25, 1.8, 13), "x1": np.linspace(-0.75, 1.25, 9)},
        {
            **dict.fromkeys(MEASURES, ("run",)),
            "logit": ("run", "x0", "x1"),
            "point": ("example", "coordinate"),
            "y": ("example",),
            "random_label": ("example",),
        },
    ),
    "grid": (
        {"start": ["random", "adversarial"], **{name: [0, 1] for name in ON}},
        dict.fromkeys(MEASURES, ("start", *ON)),
    ),
    "schedules": (
        {"first": ["regularized", "vanilla"], "switch": SWITCHES},
        dict.fromkeys(MEASURES, ("first", "switch")),
    ),
    "lines": (
        {"line": LINES, "share": np.linspace(0, 1, 5)},
        dict.fromkeys(("train_loss", "train_accuracy", "fresh_accuracy"), ("line", "share")),
    ),
    "control": ({}, dict.fromkeys(("risk_difference", "predicted", "error"), ("case",))),
}
STUDIES["control"][1]["direct_risk"] = ()
STUDIES["copies"] = STUDIES["control"]
UNNAMED = {"example": 6, "coordinate": 2, "case": 4}
REPLICAS, ZEROS = ("case", [1, 10, 1, 10]), ("case", [0.1, 0.1, 0.5, 0.5])


def made_up(key, seeds=3):
    """Return a Dataset of a study's form, of random numbers between 0.1 and 1."""
    rng = np.random.default_rng([ord(letter) for letter in key])
    coords, variables = STUDIES[key]
    sizes = {**UNNAMED, **{dim: np.size(values) for dim, values in coords.items()}}
    found = {
        name: (("seed", *dims), rng.uniform(0.1, 1.0, [seeds, *(sizes[dim] for dim in dims)]))
        for name, dims in variables.items()
    }
    d = xr.Dataset(found, {**coords, "seed": range(seeds)})
    if key in ("control", "copies"):
        d = d.assign_coords(replicas=REPLICAS, zero_fraction=ZEROS)
    if key == "runs":
        labels = np.tile([0, 1], 3) + 0 * d.y
        tilted = d.x0 - d.area_error + d.fresh_accuracy * d.x1
        d = d.assign(logit=tilted, y=labels, random_label=1 - labels)
    return d


def draw(name, seeds=3, *, rendered=False):
    figure = FIGURES[name]
    found = {key: made_up(key, seeds) for key in figure.needs}
    drawing = drawn(figure, found, rendered=rendered)
    for axes in drawing.axes:
        assert axes.has_data()
        assert all(np.isfinite(line).all() for line in lines(axes))
    return drawing, *found.values()


def lines(axes):
    return [np.asarray(line.get_xydata(), dtype=float) for line in axes.lines]


def points(x, y):
    return np.column_stack(np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float)))


def shown(axes, x, y):
    """Return the line of the axes that goes through these points and no others."""
    wanted = points(x, y)
    for line, found in zip(axes.lines, lines(axes), strict=True):
        if found.shape == wanted.shape and np.allclose(found, wanted, atol=0):
            return line
    raise AssertionError("no such line")


def assert_level(axes, height):
    """A line goes all across the axes at this height."""
    shown(axes, [0, 1], float(height))


def assert_upright(axes, x):
    """A line goes from bottom to top here."""
    shown(axes, float(x), [0, 1])


def assert_heights(axes, heights):
    """Some line has these heights, wherever they stand."""
    wanted = np.asarray(heights, float).ravel()
    found = [line[:, 1] for line in lines(axes)]
    assert any(len(y) == len(wanted) and np.allclose(y, wanted, atol=0) for y in found)


def mean(values):
    return values.mean("seed")


def criteria(name, number=0):
    return CLAIMS[name].checks[number].criteria


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_drawn_of_one_seed_and_of_several(name):
    for seeds in (1, 4):
        drawing, *_ = draw(name, seeds, rendered=True)
        assert drawing.get_suptitle()
        assert all(axes.get_ylabel() or axes.get_shared_y_axes() for axes in drawing.axes)


# --- the toy --------------------------------------------------------------------------------------


def test_maps_show_each_run_of_the_first_seed():
    drawing, d = draw("figure_1")
    first = d.isel(seed=0)
    assert len(drawing.axes) == 4
    for axes, run in zip(drawing.axes, RUNS, strict=True):
        labels = first.random_label if run == "shattered" else first.y
        colours = []
        for label in (0, 1):
            part = first.point.isel(example=(labels == label).values)
            line = shown(axes, part.isel(coordinate=1), part.isel(coordinate=0))  # x0 is upward
            colours.append(line.get_color())
        assert colours == [style.RED, style.BLUE]
        assert_filled_where_positive(axes, first.logit.sel(run=run))


def assert_filled_where_positive(axes, logit):
    """Of the two painted areas, low and high, each point is in its own."""
    (contours,) = (each for each in axes.collections if hasattr(each, "levels"))
    low, high = contours.get_paths()
    for i, j in ((3, 2), (5, 5), (8, 6), (10, 3)):
        place = float(logit.x1[j]), float(logit.x0[i])
        positive = float(logit[i, j]) > 0
        assert (high.contains_point(place), low.contains_point(place)) == (positive, not positive)


def test_each_seed_is_shown_beside_what_is_asked():
    drawing, d = draw("bad_minima")
    plane, accuracy = drawing.axes
    ratio = d.boundary_cells / d.boundary_cells.sel(run="random")
    for run in RUNS[1:]:
        shown(plane, d.area_error.sel(run=run), ratio.sel(run=run))
    assert_upright(plane, measures.AREA_AT_LEAST)
    assert_level(plane, measures.BOUNDARY_AT_LEAST)
    assert "0.1 and three times" in criteria("A4")[1].quantity
    for name in ("fresh_accuracy", "wide_accuracy"):
        assert_heights(accuracy, 100 * d[name])
        assert_heights(accuracy, 100 * mean(d[name]))


def test_norms_stand_over_those_of_the_random_start():
    drawing, d = draw("norms")
    sizes, distance = drawing.axes
    names = ("l1_path_norm", "l2_path_norm", "frobenius_norm", "spectral_product")
    for run in RUNS[1:]:
        ratios = [mean(d[name].sel(run=run) / d[name].sel(run="random")) for name in names]
        assert_heights(sizes, ratios)
    for run in RUNS:
        assert_heights(distance, mean(d.distance.sel(run=run)))
    assert_level(distance, criteria("A9")[0].high * d.distance.sel(run="regularized").mean())


def test_regularizers_are_in_order():
    drawing, d = draw("regularizers")
    switched_on = [
        (0, 0, 0),
        (1, 0, 0),
        (0, 1, 0),
        (0, 0, 1),
        (1, 1, 0),
        (1, 0, 1),
        (0, 1, 1),
        (1, 1, 1),
    ]
    labels = [text.get_text() for text in drawing.axes[-1].get_xticklabels()]
    named = [tuple(int(part in label) for part in ("DA", "L2", "mom")) for label in labels[:-1]]
    assert [*named, (1, 1, 1)] == switched_on
    assert labels[-1] == "all"
    scales = {"area_error": 1, "wide_accuracy": 100, "distance": 1}
    for axes, (name, scale) in zip(drawing.axes, scales.items(), strict=True):
        for start in ("random", "adversarial"):
            values = [
                d[name].sel(start=start, **dict(zip(ON, on, strict=True))) for on in switched_on
            ]
            assert_heights(axes, [scale * float(value.mean()) for value in values])
    assert_level(drawing.axes[0], criteria("A7")[0].high)


def test_schedules_show_shares_against_what_is_forgotten():
    drawing, d = draw("schedules")
    area, share = drawing.axes
    for first in ("regularized", "vanilla"):
        shown(area, SWITCHES, mean(d.area_error.sel(first=first)))
    never = mean(d.area_error.sel(first="regularized", switch=0))
    always = mean(d.area_error.sel(first="vanilla", switch=0))
    early = mean(d.area_error.sel(first="regularized"))
    scale = np.array(SWITCHES) * 10 * 0.01 * 0.1  # ten batches an epoch
    shown(share, scale, (never - early) / (never - always))
    fine = np.linspace(0, 4, 100)
    shown(share, fine, 1 - np.exp(-fine))
    assert_level(share, criteria("A13")[0].low)
    assert_upright(area, 50)


def test_lines_show_losses_and_accuracies():
    drawing, d = draw("lines")
    for axes, (name, scale) in zip(
        drawing.axes,
        {"train_loss": 1, "train_accuracy": 100, "fresh_accuracy": 100}.items(),
        strict=True,
    ):
        for line in LINES:
            shown(axes, d.share, scale * mean(d[name].sel(line=line)))


# --- the linear control ---------------------------------------------------------------------------


def test_the_control_shows_expected_and_measured_risks():
    drawing, control, copies = draw("linear")
    cases, peak = drawing.axes
    for name in ("predicted", "risk_difference"):
        assert_heights(cases, control[name])
    assert_level(cases, control.direct_risk.mean())
    for Z in (0.1, 0.5):
        chosen = np.flatnonzero(copies.zero_fraction == Z)
        for name in ("predicted", "risk_difference"):
            shown(peak, [1, 10], mean(copies[name])[chosen])
    assert_upright(peak, 10)
