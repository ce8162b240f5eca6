"""The figures on Zhang et al. (2017) draw what their data say; wording is left to the figures."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from paper_figures import _zhang_2017_plots as plots
from paper_figures import style, zhang_2017

FIGURES = {figure.name.removeprefix("zhang_2017_"): figure for figure in zhang_2017.FIGURES}
CLAIMS = {claim.id.removeprefix("zhang_2017:"): claim for claim in zhang_2017.CLAIMS}


def draw(name, data, without=(), *, rendered=False, **instead):
    figure = FIGURES[name]
    found = {key: data[need] for key, need in figure.needs.items() if key not in without}
    found |= instead
    copies = {key: dataset.copy(deep=True) for key, dataset in found.items()}
    with style.applied():
        drawing = figure.plot(found)
        if rendered:
            drawing.draw_without_rendering()
    for key, dataset in found.items():
        xr.testing.assert_identical(dataset, copies[key])
    for axes in drawing.axes:
        assert axes.has_data()
        assert all(np.isfinite(line).all() for line in lines(axes))
    return drawing, found


def panels(drawing):
    return [axes for axes in drawing.axes if axes.get_label() != "<colorbar>"]


def lines(axes):
    return [np.asarray(line.get_xydata(), dtype=float) for line in axes.lines]


def points(x, y):
    return np.column_stack(np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float)))


def shows(axes, x, y):
    """Whether some line of the axes goes through these points and no others."""
    wanted = points(x, y)
    return any(
        line.shape == wanted.shape and np.allclose(line, wanted, atol=0) for line in lines(axes)
    )


def mean_and_error(values):
    """Return the mean over seeds and two standard errors."""
    n = values.sizes["seed"]
    return values.mean("seed"), 2 * values.std("seed", ddof=min(1, n - 1)) / np.sqrt(n)


def assert_curve(axes, dim, values, *, whole=False):
    """A line shows the mean over seeds; a band two standard errors, or all seeds."""
    mean, error = mean_and_error(values)
    low, high = (values.min("seed"), values.max("seed")) if whole else (mean - error, mean + error)
    assert shows(axes, values[dim], mean)
    edges = np.concatenate([points(values[dim], low), points(values[dim], high)])
    outlines = [path.vertices for each in axes.collections for path in each.get_paths()]
    assert any(
        np.isclose(edges[:, None], outline[None], atol=0).all(2).any(1).all()
        for outline in outlines
        if len(outline) > len(edges)
    )


def assert_bars(axes, x, mean, error, *, orientation=1):
    """Marks stand at these means, and bars reach this far up and down (1) or left and right (0)."""
    mean, error = np.atleast_1d(mean), np.atleast_1d(error)
    for container in axes.containers:
        if not isinstance(container, mpl.container.ErrorbarContainer):
            continue
        marks, _, bars = container
        if not np.allclose(marks.get_xydata(), points(x, mean)):
            continue
        for each in bars:
            ends = np.array(each.get_segments())[..., orientation]
            if np.allclose(ends[:, 1] - ends[:, 0], 2 * error, atol=1e-12):
                return
    raise AssertionError("no such marks and bars")


def criteria(claim, check=0):
    return CLAIMS[claim].checks[check].criteria


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FIGURES)
def test_one_seed_is_drawn(name, data):
    alone = {need: data[need].isel(seed=[0]) for need in FIGURES[name].needs.values()}
    drawing, _ = draw(name, alone, rendered=True)
    assert "1 seed:" in drawing.get_suptitle()


EXTERNAL = {
    name: [key for key, need in figure.needs.items() if need.is_external]
    for name, figure in FIGURES.items()
}


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        *((name, keys) for name, keys in EXTERNAL.items() if keys),
        *((name, [key]) for name, keys in EXTERNAL.items() for key in keys),
        *(
            (name, [key for key in keys if key != only])
            for name, keys in EXTERNAL.items()
            for only in keys
        ),
    ],
)
def test_what_is_missing_leaves_no_empty_panel(name, missing, data):
    drawing, found = draw(name, data, without=missing)
    assert not set(missing) & set(found)
    for axes in panels(drawing):
        assert axes.get_title()
        assert axes.get_xlabel()


def test_the_title_tells_how_many_seeds(data):
    few, many = (data[FIGURES["table_3"].needs["digits_pixels"]].isel(seed=[0] * n) for n in (1, 3))
    for instead, told in (
        ((few, few), "1 seed:"),
        ((many, many), "3 seeds:"),
        ((few, many), "1 to 3"),
    ):
        names = dict(zip(("digits_pixels", "digits_gabor"), instead, strict=True))
        drawing = plots.table_3(names)
        assert told in drawing.get_suptitle()


# --- memorization ---------------------------------------------------------------------------------


def test_the_construction_is_shown_over_the_plane_and_along_the_projection(data):
    drawing, found = draw("construction", data)
    plane, profile = panels(drawing)
    d = found["construction"].isel(seed=0)
    (mesh,) = plane.collections
    np.testing.assert_allclose(mesh.get_array(), d.plane)
    assert mesh.get_clim() == (-2, 2)
    for label in (1, -1):
        chosen = d.isel(n=np.flatnonzero(d.label == label))
        for axes, x, y in (
            (plane, *chosen.point.values.T),
            (profile, chosen.place, chosen.label),
        ):
            (marks,) = [line for line in axes.lines if line.get_label() == f"label {label:+d}"]
            np.testing.assert_allclose(marks.get_xydata(), points(x, y))
    assert shows(profile, d.position, d.line)
    (ticks,) = profile.collections
    np.testing.assert_allclose([s[0, 0] for s in ticks.get_segments()], d.bias)
    (arrow,) = [text for text in plane.texts if text.arrowprops]
    direction = np.subtract(arrow.xy, arrow.xyann) / np.linalg.norm(
        np.subtract(arrow.xy, arrow.xyann)
    )
    np.testing.assert_allclose(d.point @ xr.DataArray(direction, dims="axis"), d.place)


def assert_largest(axes, dim, values):
    assert shows(axes, values[dim], values.max("seed"))


def test_interleaving_shows_finite_residuals_and_the_spectrum_of_a(data):
    drawing, found = draw("interleaving", data)
    over_n, over_rho, spectrum = panels(drawing)
    d = found["conditioning"]
    dropped = 0
    for rho in d.interleave.values:
        for arithmetic in ("float64", "feedback"):
            residual = d.residual.sel(interleave=rho, arithmetic=arithmetic)
            finite = residual.isel(n=np.flatnonzero(np.isfinite(residual).all("seed")))
            dropped += residual.sizes["n"] - finite.sizes["n"]
            assert_largest(over_n, "n", finite)
    assert dropped  # the data has some that float64 cannot hold
    assert len(over_n.lines) == 2 * d.sizes["interleave"]
    assert {line.get_linestyle() for line in over_n.lines} == {"-", "--"}
    at_50 = d.sel(n=50)
    for arithmetic in d.arithmetic.values:
        assert_largest(over_rho, "interleave", at_50.residual.sel(arithmetic=arithmetic))
    low, high = over_rho.get_ylim()
    assert low < 0 < high  # exactly zero is to be seen
    assert over_rho.get_yscale() == "symlog"
    assert "n = 50" in over_rho.get_title()
    for name in ("smallest_eigenvalue", "smallest_singular_value"):
        assert_curve(spectrum, "interleave", at_50[name], whole=True)


def test_interleaving_leaves_out_what_no_number_holds(data):
    d = data[FIGURES["interleaving"].needs["conditioning"]].copy(deep=True)
    d.residual.loc[{"interleave": 0.75, "arithmetic": "float64"}] = np.inf
    d.smallest_singular_value.loc[{"interleave": 0.75, "n": 50}] = 0.0  # A⁻¹ is beyond float64
    drawing, _ = draw("interleaving", data, conditioning=d)
    over_n, over_rho, spectrum = panels(drawing)
    assert sum(len(line) == 0 for line in lines(over_n)) == 1
    residual = d.residual.sel(arithmetic="float64", n=50, interleave=d.interleave < 0.7)
    assert_largest(over_rho, "interleave", residual)
    at_50 = d.smallest_singular_value.sel(n=50, interleave=d.interleave < 0.7)
    assert_curve(spectrum, "interleave", at_50, whole=True)


def test_rounding_shows_errors_gaps_and_weights(data):
    drawing, found = draw("rounding", data)
    errors, margins, weights = panels(drawing)
    d = found["fits"]
    n = d.n.values.astype(float)
    for k in d.n_features:
        one = d.sel(n_features=k)
        assert_largest(errors, "n", one.error)
        assert_largest(errors, "n", one.rounded_error)
        assert_curve(margins, "n", one.margin, whole=True)
        assert_curve(weights, "n", one.largest_weight, whole=True)
    assert shows(errors, n, n**2 * np.finfo(float).eps / 2)
    assert shows(margins, n, 2 * np.sqrt(np.pi) / n**2)
    (guide,) = [line for line in weights.lines if line.get_linestyle() == ":"]
    np.testing.assert_allclose(np.ptp(np.asarray(guide.get_ydata()) / n**2), 0, atol=1e-9)
    small, large, _ = criteria("C01")
    assert shows(errors, [2000, 50_000], [small.high, large.high])


def test_the_guide_for_the_smallest_gap_is_its_mean():
    rng, n = np.random.default_rng(0), 300
    gaps = [np.diff(np.sort(rng.normal(size=n))).min() for _ in range(2000)]
    mean, error = np.mean(gaps), np.std(gaps) / np.sqrt(len(gaps))
    assert abs(mean - 2 * np.sqrt(np.pi) / n**2) < 4.5 * error + 0.02 * mean  # of order 1/n
    assert abs(mean - np.sqrt(np.pi) / n**2) > 4.5 * error + 0.02 * mean


def test_depth_shows_widths_weights_errors_and_their_bounds(data):
    drawing, found = draw("depth", data)
    width, weights, error = panels(drawing)
    d = found["depths"]
    n, features, k = 600, 20, d.depth
    for prefix in ("", "gated_"):
        assert_curve(width, "depth", d[f"{prefix}width"])
        assert_curve(weights, "depth", d[f"{prefix}n_nonzero"])
        assert_largest(error, "depth", d[f"{prefix}error"])
    assert shows(width, k, n / k)
    assert shows(weights, k, 8 * n + features + 10 * k)
    assert shows(weights, k, 2 * n + features)
    for axes, value in (
        (width, 4 * 30),
        (weights, d.general_n_nonzero.max()),
        (error, d.general_error.max()),
    ):
        assert shows(axes, [0, 1], value)


def test_cost_shows_what_was_run(data):
    drawing, found = draw("cost", data)
    time, memory = panels(drawing)
    d = found["cost"].copy(deep=True)
    n = d.n.values.astype(float)
    for task in d.task.values:
        assert_curve(time, "n", d.seconds.sel(task=task))
    assert_curve(memory, "n", d.memory)
    assert shows(memory, n, 8 * n**2)
    slopes = [np.diff(np.log(line), axis=0) for line in lines(time)[-2:]]
    assert [step[0, 1] / step[0, 0] for step in slopes] == pytest.approx([3, 1])

    d.seconds.loc[{"task": "triangular", "n": 1000}] = np.nan
    d.seconds.loc[{"task": "dense"}] = np.nan
    time, _ = panels(draw("cost", data, cost=d)[0])
    assert_curve(time, "n", d.seconds.sel(task="triangular").sel(n=[100]))
    labels = [line.get_label() for line in time.lines]
    assert len(labels) == 5  # four tasks and one slope
    assert not any("dense" in label for label in labels)


# --- interpolation --------------------------------------------------------------------------------


def test_implicit_regularization_shows_distances_and_norms(data):
    d = data[FIGURES["implicit_regularization"].needs["sgd"]]
    d = d.assign(norm=1.1 * d.norm)  # in truth they are equal, but for rounding
    drawing, _ = draw("implicit_regularization", data, sgd=d)
    distance, norms = panels(drawing)
    for start in d.start_norm:
        one = d.sel(start_norm=start)
        assert_curve(distance, "epoch", one.distance, whole=True)
        assert shows(norms, one.predicted_norm, one.norm)
    ends = lines(norms)[-1]
    np.testing.assert_allclose(ends[:, 0], ends[:, 1])
    assert ends.min() < d.predicted_norm.min()
    assert ends.max() > d.predicted_norm.max()


def assert_fit(axes, d):
    fit = d.sel(labels="true", ridge=0.0)
    (x, x_error), (y, y_error) = map(mean_and_error, (fit.rkhs_norm, 100 * fit.test_error))
    assert_bars(axes, x, y, y_error)
    assert_bars(axes, x, y, x_error, orientation=0)


PRINTED = {"mnist": [1.2, 0.6], "cifar": [46.0, 17.0, 15.0], "digits": []}


def test_table_3_shows_norms_errors_and_what_the_paper_prints(data):
    drawing, found = draw("table_3", data)
    *scatters, ridges = panels(drawing)
    assert len(scatters) == 3
    for axes, short in zip(scatters, ("digits", "mnist", "cifar"), strict=True):
        fits = {key: d for key, d in found.items() if key.startswith(short)}
        assert len(axes.containers) == len(fits) >= 2
        for d in fits.values():
            assert_fit(axes, d)
        dashed = [line.get_ydata()[0] for line in axes.lines if line.get_linestyle() == "--"]
        assert sorted(dashed) == sorted(PRINTED[short])
    for key in ("digits_pixels", "mnist_pixels_10000", "cifar_filters", "cifar_filters_2500"):
        assert_curve(ridges, "ridge", 100 * found[key].test_error.sel(labels="true"))
    assert len(ridges.lines) == 4


def test_table_3_takes_more_fits_and_tells_them_apart(data):
    more = 1.5 * data[FIGURES["table_3"].needs["mnist_gabor"]]
    more.attrs["parameters"] = '{"train_size": 12345}'
    drawing, found = draw("table_3", data, mnist_gabor_12345=more)
    mnist = panels(drawing)[1]
    assert len(mnist.containers) == 5
    for key in ("mnist_gabor", "mnist_gabor_12345"):
        assert_fit(mnist, found[key])
    assert any("12,345" in text.get_text() for text in mnist.get_legend().get_texts())


@pytest.mark.parametrize(("name", "key"), [("table_3", "mnist_pixels"), ("norms", "mnist_500")])
def test_data_that_are_not_the_papers_are_named_and_not_compared(name, key, data):
    for dataset, told in (("mnist", "MNIST"), ("idx-0123abcd", "idx-0123abcd")):
        others = {
            each: data[need].assign_attrs(dataset=dataset)
            for each, need in FIGURES[name].needs.items()
            if each.startswith("mnist")
        }
        drawing, _ = draw(name, data, **others)
        (axes, *_) = [each for each in panels(drawing) if each.get_title().startswith(told)]
        dashed = [line for line in axes.lines if line.get_linestyle() == "--"]
        assert len(dashed) == (2 if name == "table_3" and dataset == "mnist" else 0)


def test_norms_are_shown_by_size_and_the_forced_fit_beside(data):
    drawing, found = draw("norms", data)
    error, norm, ratio, forced = panels(drawing)
    fits = {
        int(key.partition("_")[2]): found[key].sel(ridge=0.0) for key in found if key != "forced"
    }
    sizes = sorted(fits)
    assert sizes == [500, 2000, 8000, 10_000, 60_000]

    def assert_by_size(axes, measure):
        each = [mean_and_error(measure(fits[n])) for n in sizes]
        assert_bars(axes, sizes, *np.transpose(each))

    assert_by_size(error, lambda fit: 100 * fit.test_error.sel(labels="true"))
    for kind in ("true", "random"):
        assert_by_size(norm, lambda fit, kind=kind: fit.rkhs_norm.sel(labels=kind))
    norms = "rkhs_norm"
    assert_by_size(
        ratio,
        lambda fit: (
            fit[norms].sel(labels="random", drop=True) / fit[norms].sel(labels="true", drop=True)
        ),
    )
    d = found["forced"].sel(ridge=0.0)
    kinds = ("true", "forced")
    lengths = [bar.get_width() for bar in forced.patches]
    np.testing.assert_allclose(lengths, [d.rkhs_norm.sel(labels=kind).mean() for kind in kinds])
    for place, (kind, tick) in enumerate(zip(kinds, forced.get_yticklabels(), strict=True)):
        one = d.sel(labels=kind)
        assert shows(forced, one.rkhs_norm, place)
        assert f"{100 * float(one.test_error.mean()):.1f} %" in tick.get_text()


# --- capacity -------------------------------------------------------------------------------------


def test_rademacher_shows_the_ball_and_the_learners(data):
    drawing, found = draw("rademacher", data)
    ball, learners = panels(drawing)
    d = found["rademacher"]
    assert_bars(ball, d.n, *mean_and_error(d.ball))
    edges = np.concatenate(
        [points(d.n, d[f"ball_{side}"].mean("seed")) for side in ("lower", "upper")]
    )
    outline = ball.collections[0].get_paths()[0].vertices
    assert np.isclose(edges[:, None], outline[None]).all(2).any(1).all()
    for learner in ("linear", "network", "memorizing"):
        assert_curve(learners, "n", d.correlation.sel(learner=learner))
    network, _, linear = criteria("C16")
    assert shows(learners, [d.n[-1], 512], [network.low, linear.high])
    low, high = learners.get_ylim()
    assert low <= 0 < 1 < high


def test_cover_shows_shares_with_binomial_errors(data):
    drawing, found = draw("cover", data)
    share, difference = panels(drawing)
    d = found["cover"]
    sets = d.attrs["draws"] * d.sizes["seed"]
    for k in d.n_features:
        one = d.sel(n_features=k).transpose("seed", "ratio")
        ratio, found_share = one.n[0] / int(k), one.separable.mean("seed")
        expected = one.probability[0]
        assert shows(share, ratio, expected)
        for axes, p, shown in (
            (share, found_share, found_share),
            (difference, expected, found_share - expected),
        ):
            assert_bars(axes, ratio, shown, 2 * np.sqrt(p * (1 - p) / sets))


def test_stability_shows_every_seed_the_means_and_what_is_asked(data):
    drawing, found = draw("stability", data)
    d = found["stability"]
    change, gap = panels(drawing)
    for axes, name in ((change, "output_change"), (gap, "gap")):
        for place, kind in enumerate(("true", "random")):
            mean, error = mean_and_error(d[name].sel(labels=kind))
            assert_bars(axes, place, mean, error)
        for seed in d.seed:
            assert shows(axes, [0, 1], d[name].sel(seed=seed, labels=["true", "random"]))
    ratio, points_more = criteria("C17")
    (band,) = change.patches
    true = float(d.output_change.sel(labels="true").mean())
    assert [band.get_y(), band.get_y() + band.get_height()] == pytest.approx(
        [ratio.low * true, ratio.high * true]
    )
    asked = float(d.gap.sel(labels="true").mean()) + points_more.low
    assert shows(gap, [0, 1], asked)


def test_randomized_training_shows_curves_peak_and_ends(data):
    d = data[FIGURES["randomized_training"].needs["training"]].copy(deep=True)
    for seed, best in ((0, 0.88), (1, 0.92)):
        d.test_accuracy.loc[{"condition": "corrupted labels 0.4", "seed": seed}] = [0.7, best, 0.5]
    drawing, _ = draw("randomized_training", data, training=d)
    loss, detail, final, epochs = panels(drawing)
    for condition in d.condition:
        assert_curve(loss, "epoch", d.train_loss.sel(condition=condition))
    one = d.sel(condition="corrupted labels 0.4")
    assert_curve(detail, "epoch", 100 * one.test_accuracy)
    assert_curve(detail, "epoch", 100 * one.wrong_fitted)
    assert shows(detail, [2.0], [90.0])  # the peak
    labels = d.isel(condition=[i for i, name in enumerate(d.condition.values) if "labels" in name])
    assert labels.sizes["condition"] == 6
    labels = labels.swap_dims(condition="corruption")
    assert_curve(final, "corruption", 100 * labels.test_accuracy.isel(epoch=-1))
    assert_curve(final, "corruption", 100 * labels.test_accuracy.max("epoch"))
    names = [tick.get_text() for tick in epochs.get_yticklabels()]
    assert sorted(names) == sorted(d.condition.values)


def test_conditions_that_do_not_come_to_the_target_are_shown_at_the_end(data):
    d = data[FIGURES["randomized_training"].needs["training"]]
    unknown = np.full((2, 9), np.nan)
    unknown[:, 0], unknown[1, 1] = [1.0, 2.0], 2.0
    d = d.assign(epochs_to_target=(("seed", "condition"), unknown))
    drawing, _ = draw("randomized_training", data, training=d)
    epochs = panels(drawing)[-1]
    end = float(d.epoch[-1])
    places = {tick.get_text(): place for place, tick in enumerate(epochs.get_yticklabels())}
    first, second, *others = d.condition.values
    assert shows(epochs, [1.0, 2.0], places[first])
    assert shows(epochs, [2.0], places[second])
    for condition in (second, *others):
        assert shows(epochs, [end], places[condition])
    assert not shows(epochs, [end], places[first])


def test_without_the_pixel_conditions_the_labels_are_drawn(data):
    d = data[FIGURES["randomized_training"].needs["training"]]
    labels = [name for name in d.condition.values if "labels" in name]
    drawing, _ = draw("randomized_training", data, training=d.sel(condition=labels))
    assert len(panels(drawing)[0].lines) == 6
