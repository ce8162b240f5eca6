"""The figures on the noise scale draw what their data say; wording is left to the figures."""

import numpy as np
import pytest
import xarray as xr

from paper_figures import _smith_le_2018_noise as noise
from paper_figures import style
from paper_figures._smith_le_2018_noise_measures import final_accuracy, optima
from theory import noise_scale as theory

FIGURES = {figure.name.removeprefix("smith_le_2018_"): figure for figure in noise.FIGURES}


def draw(name, data, without=(), *, rendered=False):
    figure = FIGURES[name]
    found = {key: data[need] for key, need in figure.needs.items() if key not in without}
    copies = {key: dataset.copy(deep=True) for key, dataset in found.items()}
    with style.applied():
        drawing = figure.plot(found)
        if rendered:
            drawing.draw_without_rendering()
    for key, dataset in found.items():
        xr.testing.assert_identical(dataset, copies[key])
    return drawing, found


def lines(axes):
    return [np.asarray(line.get_xydata(), dtype=float) for line in axes.lines]


def points(x, y):
    return np.column_stack([np.asarray(x, dtype=float), np.asarray(y, dtype=float)])


def shows(axes, x, y):
    """Whether some line of the axes goes through these points and no others."""
    wanted = points(x, y)
    return any(line.shape == wanted.shape and np.allclose(line, wanted) for line in lines(axes))


def assert_curve(axes, x, values):
    """A line shows the mean over seeds, and a band two standard errors."""
    present = values.notnull().all("seed").values
    mean, n = values.mean("seed").values, values.sizes["seed"]
    error = 2 * values.std("seed", ddof=min(1, n - 1)).values / np.sqrt(n)
    assert shows(axes, x[present], mean[present])
    outlines = [each.get_paths()[0].vertices for each in axes.collections if each.get_paths()]
    edges = np.concatenate([points(x[present], (mean + sign * error)[present]) for sign in (-1, 1)])
    assert any(
        np.isclose(edges[:, None], outline[None]).all(2).any(1).all()
        for outline in outlines
        if len(outline) > len(edges)
    )


def assert_bars(axes, x, values):
    """Marks show the mean over seeds, and bars two standard errors."""
    assert shows(axes, x, values.mean("seed"))
    for container in axes.containers:
        marks, _, (bars,) = container
        if not np.allclose(marks.get_ydata(), values.mean("seed")):
            continue
        half = [(high - low) / 2 for (_, low), (_, high) in bars.get_segments()]
        n = values.sizes["seed"]
        np.testing.assert_allclose(half, 2 * values.std("seed", ddof=1) / np.sqrt(n), atol=1e-12)


# --- all of them ----------------------------------------------------------------------------------


def assert_nothing_is_empty(drawing):
    assert all(axes.has_data() for axes in drawing.axes)


@pytest.mark.parametrize("name", FIGURES)
def test_one_seed_is_drawn(name, data):
    alone = {need: data[need].isel(seed=[0]) for need in FIGURES[name].needs.values()}
    assert_nothing_is_empty(draw(name, alone, rendered=True)[0])


EXTERNAL = {
    name: [key for key, need in figure.needs.items() if need.is_external]
    for name, figure in FIGURES.items()
}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        *((name, keys) for name, keys in EXTERNAL.items() if keys),
        *((name, [key]) for name, keys in EXTERNAL.items() for key in keys if len(keys) > 1),
        *(
            (name, [key for key in keys if key != only])
            for name, keys in EXTERNAL.items()
            for only in keys
            if len(keys) > 2
        ),
    ],
)
def test_what_is_missing_leaves_no_empty_panel(name, missing, data):
    assert_nothing_is_empty(draw(name, data, without=missing)[0])


# --- one by one -----------------------------------------------------------------------------------


def test_figure_3_shows_accuracy_and_cross_entropy_along_training(data):
    drawing, found = draw("figure_3", data)
    assert len(drawing.axes) == 4
    for (accuracy, loss), d in zip(np.reshape(drawing.axes, (2, 2)), found.values(), strict=True):
        assert len(lines(accuracy)) == len(lines(loss)) == 2
        for i in (0, 1):
            run = d.squeeze(drop=True).isel(batch_size=i)
            assert_curve(accuracy, d.time.values / 0.1, 100 * run.test_accuracy)
            assert_curve(loss, d.time.values / 0.1, run.test_loss)


def test_figure_4_shows_optimum_and_collapse(data):
    drawing, found = draw("figure_4", data)
    assert len(drawing.axes) == 3
    for axes, name in zip(drawing.axes, ("digits", "mnist"), strict=False):
        d = found[name].isel(train_size=-1)
        accuracy = d.test_accuracy.sel(learning_rate=0.1).squeeze(drop=True)
        assert_curve(axes, d.batch_size.values, 100 * accuracy)
        features = optima(accuracy).isel(resample=0)
        for which in ("optimum", "collapse"):
            assert shows(axes, [float(features[which])] * 2, [0, 1])
    for name in noise.MNIST_STATED:
        assert_curve(
            drawing.axes[-1],
            found[name].batch_size.values,
            100 * found[name].test_accuracy.squeeze(drop=True),
        )


@pytest.mark.parametrize(
    ("name", "dimension", "x"),
    [
        ("figure_5", "learning_rate", lambda rate: rate),
        ("figure_6", "train_size", lambda size: size),
        ("figure_7", "momentum", lambda m: 1 / (1 - m)),
    ],
)
def test_figures_5_to_7_show_every_curve_and_its_optimum(data, name, dimension, x):
    drawing, found = draw(name, data)
    for (left, right), d in zip(np.reshape(drawing.axes, (2, 2)), found.values(), strict=True):
        accuracy = final_accuracy(d)
        assert len(lines(left)) == d.sizes[dimension]
        for value in d[dimension].values:
            assert_curve(left, d.batch_size.values, 100 * accuracy.sel({dimension: value}))
        best = optima(accuracy)
        features = best.isel(resample=0)
        for which in ("optimum", "collapse"):
            assert shows(right, x(d[dimension]), features[which])
            low, high = best[which][{"resample": slice(1, None)}].quantile([0.16, 0.84], "resample")
            bars = [s for each in right.collections for s in each.get_segments()]
            for where, bottom, top in zip(x(d[dimension].values), low, high, strict=True):
                assert any(np.allclose(bar, [[where, bottom], [where, top]]) for bar in bars)
        edge = features.at_edge.values > 0
        assert shows(right, x(d[dimension])[edge], features.optimum[edge])
        (rising,) = [line.get_xydata() for line in right.lines if line.get_linestyle() == "--"]
        ratio = rising[:, 1] / rising[:, 0]
        np.testing.assert_allclose(ratio, ratio[0])
        np.testing.assert_allclose(
            np.log(ratio[0]), np.mean(np.log(features.optimum / x(d[dimension])))
        )


def gentle(d):
    """The sweep with inner optima and no collapse."""
    best = 64 * d.learning_rate / (10 * (1 - d.momentum))
    curve = 0.9 - 0.005 * np.log2(d.batch_size / best) ** 2
    return d.assign(test_accuracy=(curve + 0 * d.test_accuracy).transpose(*d.test_accuracy.dims))


def test_figure_5_leaves_inner_optima_filled(data):
    d = gentle(data[noise.DIGITS_RATES])
    _, right = draw("figure_5", {noise.DIGITS_RATES: d}, without=["mnist"])[0].axes
    assert shows(right, d.learning_rate, 64 * d.learning_rate)
    assert sum(len(line) == 0 for line in lines(right)) == 1  # the open marks


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("name", ["figure_4", "figure_5", "figure_6", "figure_7"])
def test_a_sweep_without_collapse_is_drawn(name, seeds, data):
    needs = FIGURES[name].needs.values()
    without = {need: gentle(data[need]).isel(seed=slice(0, seeds)) for need in needs}
    drawing, _ = draw(name, without, rendered=True)
    assert_nothing_is_empty(drawing)
    for axes in drawing.axes:
        assert np.all(np.isfinite([axes.get_xlim(), axes.get_ylim()]))


def test_figure_8_shows_every_coefficient(data):
    drawing, found = draw("figure_8", data)
    for axes, d in zip(drawing.axes, found.values(), strict=True):
        accuracy = 100 * d.test_accuracy.squeeze(drop=True)
        assert len(lines(axes)) == d.sizes["weight_decay"]
        for decay in d.weight_decay:
            assert_curve(axes, d.batch_size.values, accuracy.sel(weight_decay=decay))


def test_figure_9_shows_the_density_of_one_seed_and_a_normal(data):
    drawing, found = draw("figure_9", data)
    for row, d in zip(np.reshape(drawing.axes, (2, 2)), found.values(), strict=True):
        for axes, B in zip(row, (1, 30), strict=True):
            one = d.sel(batch_size=B).isel(seed=0)
            (patch,) = axes.patches
            heights, edges, _ = patch.get_data()
            np.testing.assert_allclose(heights, one.density)
            np.testing.assert_allclose((edges[1:] + edges[:-1]) / 2, one.standardized)
            ((z, density),) = [line.T for line in lines(axes)]
            np.testing.assert_allclose(density, np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))


def test_the_collapse_shows_accuracy_against_the_noise_scale(data):
    drawing, found = draw("noise_scale_collapse", data)
    for (left, right), name in zip(
        np.reshape(drawing.axes, (2, 2)), ("digits", "mnist"), strict=True
    ):
        kinds = {kind: found[f"{name}_{kind}"] for kind in ("rates", "momenta", "sizes")}
        panels = {"rates": left, "momenta": left, "sizes": right}
        for kind, d in kinds.items():
            curves = d.test_accuracy.isel(time=-1).mean("seed")
            for one in curves.stack(run=("learning_rate", "momentum", "train_size")).transpose(
                "run", ...
            ):
                one, N = one.isel(weight_decay=0), int(one.train_size)
                B = one.batch_size.values[one.batch_size < N]
                g = float(one.learning_rate) * (N / B - 1) / (1 - float(one.momentum))
                assert shows(panels[kind], g, 100 * one[: len(B)])
        assert len(lines(left)) == kinds["rates"].sizes["learning_rate"] + 6
        assert len(lines(right)) == kinds["sizes"].sizes["train_size"]


def test_the_stationary_variance_is_shown_over_its_continuous_limit(data):
    drawing, found = draw("stationary_covariance", data)
    d = found["chains"]
    share = d.learning_rate * d.curvature / (2 * (1 + d.momentum))
    for i in range(d.sizes["setting"]):
        each = d.isel(setting=i)
        assert_bars(drawing.axes[i >= 4], share.isel(setting=i), each.variance / each.continuous)
    for axes in drawing.axes:
        (f, law) = next(line.T for line in lines(axes) if len(line) > 100)
        np.testing.assert_allclose(law, 1 / (1 - f))
    # The law that is drawn is the exact one, which the study has from a matrix equation.
    exact = (d.exact / d.continuous).transpose("seed", "setting", "curvature")
    np.testing.assert_allclose(exact[0], 1 / (1 - share.transpose("setting", "curvature")))


def test_occupation_and_passage_times_are_shown_beside_theory(data):
    drawing, found = draw("occupation", data)
    landscape, odds, passage = drawing.axes
    d, times = found["occupation"], found["kramers"]
    assert shows(landscape, d.position, d.landscape.isel(seed=0))
    for name in ("exact", "laplace"):
        assert shows(odds, d.temperature, d[name].isel(seed=0))
    assert_bars(odds, d.temperature, d.simulated)
    for name in ("exact", "kramers"):
        assert shows(passage, 1 / times.temperature, times[name].isel(seed=0))
    assert_bars(passage, 1 / times.temperature, times.simulated)
    barrier = noise.KRAMERS.parameters.get("barrier", 1.0)
    curvatures = (8.0 * barrier, -4.0 * barrier)  # of barrier (x² - 1)²
    np.testing.assert_allclose(
        times.kramers.isel(seed=0), theory.kramers_time(*curvatures, barrier, times.temperature)
    )
