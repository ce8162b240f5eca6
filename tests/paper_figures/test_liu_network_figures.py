"""The figures on networks' bad minima draw what their data say; wording is left to the figures."""

import numpy as np
import pytest
from bad_minima_networks import CHOICES, CONTROLS, bad_minima
from figure_asserts import drawn, has_line

from paper_figures import _liu_2020_networks as networks
from paper_figures import _liu_2020_networks_measures as measures

FIGURES = {figure.name.removeprefix("liu_2020_network_"): figure for figure in networks.FIGURES}


def draw(name, seeds=3, *, rendered=False):
    figure = FIGURES[name]
    found = {key: bad_minima(need).isel(seed=slice(seeds)) for key, need in figure.needs.items()}
    drawing = drawn(figure, found, rendered=rendered)
    return drawing, found


def has_heights(axes, heights):
    """Some line has these heights, wherever they stand."""
    wanted = np.asarray(heights, float)
    lines = [np.asarray(line.get_xydata(), float)[:, 1] for line in axes.lines]
    return any(each.shape == wanted.shape and np.allclose(each, wanted) for each in lines)


def mean(values):
    return float(values.mean("seed"))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_names_its_axes_and_seeds(name, seeds):
    drawing, _ = draw(name, seeds, rendered=True)
    assert f"{seeds} seed" in drawing.get_suptitle()
    for axes in drawing.axes:
        assert axes.has_data()
        assert axes.get_title()
        assert all(np.isfinite(np.asarray(line.get_xydata(), float)).all() for line in axes.lines)


def test_curves_are_those_of_both_starts_without_and_with_regularizers():
    drawing, data = draw("curves")
    for axes, d in zip(drawing.axes, data.values(), strict=True):
        for start in ("random", "adversarial"):
            for choice in (CHOICES[0], CHOICES[-1]):
                values = 100 * d.test_accuracy.sel(start=start, regularization=choice)
                assert has_line(axes, d.epoch, values.mean("seed"))


def test_regularizers_from_both_starts_and_controls():
    drawing, data = draw("regularizers")
    for axes, d in zip(drawing.axes, data.values(), strict=True):
        ends = 100 * d.test_accuracy.isel(epoch=-1).mean("seed")
        for start in ("random", "adversarial"):
            assert has_heights(axes, [ends.sel(start=start, regularization=c) for c in CHOICES])
        controls = [each for each in CONTROLS if each in d.start]
        assert has_heights(axes, ends.sel(start=controls, regularization="none"))
    assert "fresh batch norm" not in data["perceptron"].start
    assert "fresh batch norm" in data["convolutions"].start


def test_drops_by_copies_and_zeros():
    drawing, data = draw("copies")
    for axes, network in zip(drawing.axes, ("perceptron", "convolutions"), strict=True):
        for Z in (0.1, 0.2):
            drops = [mean(measures.drop_of(data[f"{network} {R} {Z}"])) for R in (1, 2, 5)]
            assert has_heights(axes, drops)
        assert has_line(axes, [0, 1], 0.0)


def test_norms_of_the_bad_minimum_and_distances():
    drawing, data = draw("norms")
    ratios, distances = drawing.axes
    names = [
        "l1_path_norm",
        "l2_path_norm",
        "frobenius_norm",
        "spectral_product",
        "sharpness",
        "noise_trace",
    ]
    for d in data.values():
        assert has_heights(ratios, [mean(measures.bad_over_good(d, name)) for name in names])
        runs = [
            (start, c) for c in (CHOICES[0], CHOICES[-1]) for start in ("random", "adversarial")
        ]
        assert has_heights(distances, [mean(measures.at_end(d, "distance", *run)) for run in runs])


def test_losses_on_the_line():
    drawing, data = draw("lines")
    for axes, d in zip(drawing.axes, data.values(), strict=True):
        for name in ("line_training_loss", "line_test_loss"):
            assert has_line(axes, d.position, d[name].mean("seed"))
