"""The figures on SmoothOut's networks draw what their data say; wording is left to the figures."""

import numpy as np
import pytest
from figure_asserts import drawn, has_line
from matplotlib.container import BarContainer
from smoothout_networks import smoothout

from paper_figures import _wen_2018_networks as networks

FIGURES = {figure.name.removeprefix("wen_2018_"): figure for figure in networks.FIGURES}


def draw(name, seeds=3, *, rendered=False):
    figure = FIGURES[name]
    found = {key: smoothout(need).isel(seed=slice(seeds)) for key, need in figure.needs.items()}
    drawing = drawn(figure, found, rendered=rendered)
    return drawing, found


def is_drawn(axes, values, dim="strength"):
    """The mean over seeds goes through the axes, positive strengths alone."""
    if dim == "strength":
        values = values.sel(strength=values.strength > 0)
    return has_line(axes, values[dim], values.mean("seed"))


def is_level(axes, values):
    return has_line(axes, [0, 1], float(values.mean()))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_names_its_axes_and_seeds(name, seeds):
    drawing, _ = draw(name, seeds, rendered=True)
    assert f"{seeds} seed" in drawing.get_suptitle()
    for axes in drawing.axes:
        assert axes.has_data()
        assert axes.get_title()
        assert all(np.isfinite(np.asarray(line.get_xydata(), float)).all() for line in axes.lines)


def test_errors_against_strength_and_without_noise():
    drawing, data = draw("strength")
    plain, adaptive = drawing.axes
    for size in ("small", "large"):
        assert is_drawn(plain, 100 * data[size].test_error)
        assert is_drawn(adaptive, 100 * data[f"{size} adaptive"].test_error)
        for axes in drawing.axes:
            assert is_level(axes, 100 * data[size].test_error.sel(strength=0.0))


def test_every_seed_is_a_line_and_the_gap_a_level():
    drawing, data = draw("gap")
    pairs, closing = drawing.axes
    small, large = (100 * data[size].test_error for size in ("small", "large"))
    adaptive = 100 * data["large adaptive"].test_error
    arms = [
        small.sel(strength=0.0),
        large.sel(strength=0.0),
        large.sel(strength=0.06),
        adaptive.sel(strength=0.3),
    ]
    for seed in range(3):
        assert has_line(pairs, range(4), [float(each[seed]) for each in arms])
    assert is_level(closing, arms[1] - arms[0])
    lost = (large - arms[0]).sel(strength=[0.01, 0.03, 0.06, 0.1])  # others are out of sight
    assert is_drawn(closing, lost)
    assert is_drawn(closing, (adaptive - arms[0]).sel(strength=[0.1, 0.3, 0.6]))


def test_bars_are_means_of_sharpness():
    drawing, data = draw("sharpness")
    values = [
        lambda d: d.keskar_sharpness.sel(epsilon=5e-3),
        lambda d: d.expected_sharpness.sel(noise=0.05),
        lambda d: d.hessian_trace,
    ]
    for axes, measure in zip(drawing.axes, values, strict=True):
        assert axes.get_yscale() == "log"
        drawn = [each for each in axes.containers if isinstance(each, BarContainer)]
        for bars, size in zip(drawn, ("small", "large"), strict=True):
            heights = [bar.get_height() for bar in bars]
            np.testing.assert_allclose(heights, measure(data[size]).mean("seed"))


def test_valleys_are_means_over_lines_and_tell_their_widths():
    drawing, data = draw("valleys")
    for axes, size, a in zip(drawing.axes, ("large", "small"), (0.06, 0.1), strict=True):
        for strength in (0.0, a):
            arm = data[size].sel(strength=strength)
            assert is_drawn(axes, arm.section.mean("direction"), "distance")
            width = f"{float(arm.valley_width.mean()):.2f}"
            assert any(width in text.get_text() for text in axes.get_legend().get_texts())


def test_the_loss_rises_with_the_noise():
    drawing, data = draw("loss_under_noise")
    for axes, size in zip(drawing.axes, ("large", "small"), strict=True):
        for a in (0.0, 0.03, 0.06, 0.1):
            assert is_drawn(axes, data[size].expected_sharpness.sel(strength=a), "noise")


def test_every_ablation_is_a_difference_from_the_run_without_noise():
    drawing, data = draw("ablations")
    kept, law, draws, time, labels, adam = drawing.axes
    errors = {name: 100 * d.test_error for name, d in data.items()}
    without = errors["large"].sel(strength=0.0, drop=True)
    usual = errors["large"].sel(strength=errors["large"].strength <= 0.1)
    for axes, name in ((kept, "kept"), (law, "normal"), (draws, "copies")):
        assert is_drawn(axes, usual - without)
        assert is_drawn(axes, errors[name] - without)
        assert has_line(axes, [0, 1], 0.0)
    for number, name in enumerate(("large", "longer", "unscaled")):
        change = errors[name].sel(strength=0.1) - errors[name].sel(strength=0.0)
        assert has_line(time, [number], [float(change.mean())])
    for axes, name in ((labels, "noisy"), (adam, "adam")):
        assert is_drawn(axes, errors[name] - errors[name].sel(strength=0.0, drop=True))
    assert is_level(labels, errors["noisy small"] - errors["noisy"].sel(strength=0.0))
