"""The figures on Wen et al. (2018) draw what their data say; wording is left to the figures."""

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr
from figure_asserts import drawn

from paper_figures import _wen_2018_networks as networks
from paper_figures import wen_2018

# Those of networks have a file of their own.
FIGURES = {
    figure.name.removeprefix("wen_2018_"): figure
    for figure in wen_2018.FIGURES
    if figure not in networks.FIGURES
}
CLAIMS = {claim.id.removeprefix("wen_2018:"): claim for claim in wen_2018.CLAIMS}

NOISE = ["uniform", "normal"]
RULES = ["SmoothOut", "AdaSmoothOut"]
GRID = {"noise": NOISE, "a": [0.2, 0.5, 0.7], "x": np.linspace(-6.0, 6.0, 25)}
SMOOTHED = {
    "loss": ("x",),
    "smoothed": ("noise", "a", "x"),
    "n_minima": ("noise", "a"),
    "minima": ("noise", "a", "minimum"),
}
# What every study returns: the coordinates, and the dimensions of each variable.
STUDIES = {
    "rastrigin": (GRID, SMOOTHED),
    "wells": (GRID, SMOOTHED),
    "counts": (GRID, SMOOTHED),
    "merging": (
        {"noise": NOISE, "b": [0.5, 1.0]},
        {"rastrigin": ("noise",), "double_well": ("b", "noise")},
    ),
    "points": (
        {
            "point": ["flat minimum", "sharp minimum", "maximum", "tilted"],
            "a_over_s": np.linspace(0.0, 4.0, 9),
        },
        {
            **dict.fromkeys(("gradient", "measured", "standard_error"), ("point", "coordinate")),
            "flip": (),
            "predicted_flip": (),
            "curvature": ("a_over_s",),
        },
    ),
    "lift": (
        {
            "outer": [0.5, 0.9],
            "m": [1, 5, 100, 10**9],
            "share": [0.5, 0.9, 0.99],
            "few": [1, 10, 100],
            "curvature": [0.001, 1.0],
            "draws": 2000,
        },
        {
            **dict.fromkeys(("exact", "bound", "measured", "standard_error"), ("outer", "m")),
            **dict.fromkeys(("switch", "threshold"), ("outer", "share")),
            **dict.fromkeys(("cone", "cone_bound"), ("m",)),
            "valley": (),
            "quadratic_limit": ("few", "curvature"),
        },
    ),
    "overtaking": (
        {"noise": NOISE, "m": [1, 100, 10**9], "factor": [0.8, 1.25]},
        {
            "strength": ("noise", "m"),
            "leading": ("m",),
            "second_strength": ("m",),
            "z": ("m", "factor"),
        },
    ),
    "elimination": (
        {"well": ["box", "V"], "m": [1, 2, 4, 8], "half_width": [0.5, 0.7, 0.9], "slope": 0.4},
        {
            "steepest": ("well", "m", "half_width"),
            **dict.fromkeys(("bound", "eliminated", "escaped"), ("m", "half_width")),
        },
    ),
    "laws": (
        {"noise": NOISE, "m": [1, 10, 1000], "half_width": [0.1, 0.8, 0.9]},
        {
            **dict.fromkeys(("log_share", "measured"), ("noise", "m", "half_width")),
            "crossover": ("m",),
        },
    ),
    "survival": (
        {"a": [0.2, 0.5, 0.7, 1.0, 1.1, 1.2], "start": np.linspace(-6.0, 6.0, 7)},
        {"end": ("a", "start"), "minima": ("a", "minimum"), "n_minima": ("a",)},
    ),
    "denoising": (
        {
            "form": ["denoised", "copies", "noisy"],
            "momentum": [0.0, 0.9],
            "learning_rate": [0.02, 0.2, 0.8],
            "fine_rate": np.geomspace(0.02, 0.8, 20),
        },
        {
            **dict.fromkeys(("variance", "predicted"), ("form", "momentum", "learning_rate")),
            "curve": ("form", "momentum", "fine_rate"),
            "alike": (),
        },
    ),
    "balance": (
        {"form": RULES, "time": [1.0, 2.0, 3.0]},
        {
            **dict.fromkeys(("imbalance", "product"), ("form", "time")),
            "predicted": ("time",),
            "balanced": (),
            "adaptive_product": (),
        },
    ),
    "rescaling": (
        {"form": RULES, "scale": [0.1, 1.0, 10.0]},
        {
            "smoothed_loss": ("form", "scale"),
            **dict.fromkeys(("function_change", "trace", "predicted_trace"), ("scale",)),
        },
    ),
    "one_point": (
        {"learning_rate": [0.002, 0.005, 0.015]},
        {
            **dict.fromkeys(("convexity", "squared_radius", "predicted"), ("learning_rate",)),
            "plain_convexity": (),
        },
    ),
}
# What differs from seed to seed; the rest is the same for all.
DRAWN = {"measured", "z", "escaped", "end", "variance", "imbalance", "product", "smoothed_loss"}
DRAWN |= {"trace", "predicted_trace", "function_change", "squared_radius"}
UNNAMED = {"coordinate": 2, "minimum": 4}


def made_up(key, seeds=3):
    """Return a Dataset of a study's form, of random numbers between 0.1 and 1."""
    rng = np.random.default_rng([ord(letter) for letter in key])
    coords, variables = STUDIES[key]
    sizes = {**UNNAMED, **{dim: np.size(values) for dim, values in coords.items()}}
    found = {}
    for name, dims in variables.items():
        values = rng.uniform(0.1, 1.0, [seeds, *(sizes[dim] for dim in dims)])
        if name not in DRAWN:
            values[:] = values[0]
        found[name] = (("seed", *dims), values)
    d = xr.Dataset(found, {**coords, "seed": range(seeds)})
    return SPECIAL.get(key, lambda d: d)(d)


def with_few_minima(d):
    d = d.assign(minima=(5 * d.minima).where(d.minima.isel(seed=0) > 0.5))
    return d.assign(n_minima=d.minima.notnull().sum("minimum"))


def with_few_drawn_cones(d):
    d.measured.loc[{"m": 10**9}] = np.nan
    d.bound.loc[{"m": 100, "outer": 0.5}] = 0.99  # 20 of 2,000 draws are in the cone
    d.exact.loc[{"m": 10**9}] = 1.0  # nothing is left for a logarithm
    return d


def with_few_drawn_wells(d):
    d.z.loc[{"factor": 0.8}] *= -1
    large = d.m > 10**4
    return d.assign({name: (100 * d[name]).where(~large) for name in ("z", "second_strength")})


def with_all_kinds_of_wells(d):
    d = d.assign(eliminated=1.0 * (d.m >= 4) + 0 * d.eliminated)
    d.steepest.loc[{"well": "V"}] = 0.1
    d.steepest.loc[{"well": "V", "m": 1}] = 0.5
    return d


def with_an_unchanged_function(d):
    d.function_change.loc[{"scale": 1.0}] = 0.0
    return d


SPECIAL = {
    **dict.fromkeys(("rastrigin", "wells", "counts", "survival"), with_few_minima),
    "lift": with_few_drawn_cones,
    "overtaking": with_few_drawn_wells,
    "elimination": with_all_kinds_of_wells,
    "laws": lambda d: d.assign(measured=d.measured.where(d.m <= 10)),
    "rescaling": with_an_unchanged_function,
}


def draw(name, seeds=3, *, rendered=False, **instead):
    figure = FIGURES[name]
    found = {key: made_up(key, seeds) for key in figure.needs} | instead
    drawing = drawn(figure, found, rendered=rendered)
    for axes in drawing.axes:
        assert axes.has_data()
        assert axes.get_title()
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


def mean_and_error(values):
    n = values.sizes["seed"]
    return values.mean("seed"), 2 * values.std("seed", ddof=min(1, n - 1)) / np.sqrt(n)


def assert_points(axes, x, values):
    """Marks show the means over seeds, and bars two standard errors."""
    return assert_bars(axes, x, *mean_and_error(values))


def assert_bars(axes, x, mean, error):
    for container in axes.containers:
        if not isinstance(container, mpl.container.ErrorbarContainer):
            continue
        marks, _, bars = container
        wanted = points(x, mean)
        if len(marks.get_xydata()) != len(wanted) or not np.allclose(marks.get_xydata(), wanted):
            continue
        ends = np.array(bars[0].get_segments())[..., 1]
        np.testing.assert_allclose(ends[:, 1] - ends[:, 0], 2 * np.asarray(error), atol=1e-12)
        return marks
    raise AssertionError("no such marks")


def assert_curve(axes, x, values, *, whole=False):
    """A line shows the mean over seeds; a band two standard errors, or all seeds."""
    mean, error = mean_and_error(values)
    low, high = (values.min("seed"), values.max("seed")) if whole else (mean - error, mean + error)
    shown(axes, x, mean)
    edges = np.concatenate([points(x, low), points(x, high)])
    outlines = [path.vertices for each in axes.collections for path in each.get_paths()]
    assert any(np.isclose(edges[:, None], each[None]).all(2).any(1).all() for each in outlines)


def criteria(claim, check=0):
    return CLAIMS[claim].checks[check].criteria


def test_what_is_made_up_is_what_the_figures_need():
    assert {key for figure in FIGURES.values() for key in figure.needs} == set(STUDIES)


@pytest.mark.parametrize("name", FIGURES)
def test_one_seed_is_drawn(name):
    drawing, *_ = draw(name, seeds=1, rendered=True)
    assert "1 seed:" in drawing.get_suptitle() or "exact" in drawing.get_suptitle()


@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"landscapes", "minima"}))
def test_the_title_tells_how_many_seeds(name):
    figure = FIGURES[name]
    drawing = figure.plot({key: made_up(key) for key in figure.needs})
    assert "(3 seeds:" in drawing.get_suptitle()


def test_landscapes_show_losses_and_their_minima():
    drawing, *found = draw("landscapes")
    for row, d in zip((drawing.axes[:2], drawing.axes[2:]), found, strict=True):
        for axes, noise in zip(row, NOISE, strict=True):
            one = d.isel(seed=0).sel(noise=noise)
            shown(axes, d.x, one.loss)
            for a in d.a:
                line = shown(axes, d.x, one.smoothed.sel(a=a))
                assert line.get_label() == f"a = {float(a):g}"
                minima = one.minima.sel(a=a).dropna("minimum")
                dots = shown(axes, minima, np.interp(minima, d.x, one.smoothed.sel(a=a)))
                assert dots.get_color() is line.get_color()


def test_minima_are_counted_and_critical_strengths_marked():
    drawing, counts, merging = draw("minima")
    number, wells = drawing.axes
    for noise in NOISE:
        line = shown(number, counts.a, counts.n_minima.isel(seed=0).sel(noise=noise))
        assert line.get_label() == noise
        one = merging.isel(seed=0).sel(noise=noise)
        assert_upright(number, one.rastrigin)
        shown(wells, merging.b, merging.b * one.double_well)
    (band,) = number.patches
    assert (band.get_x(), band.get_x() + band.get_width()) == (0.5, 1.0)
    (line,) = [line for line in lines(wells) if len(line) == 2 and line[0, 0] == 0]
    np.testing.assert_allclose(line[:, 0], line[:, 1])


def test_ends_are_shown_with_the_minima_of_the_smoothed_loss():
    drawing, d = draw("ends")
    assert len(drawing.axes) == 6
    for axes, a in zip(drawing.axes, d.a, strict=True):
        one = d.sel(a=a)
        n = int(one.n_minima[0])
        assert axes.get_title() == f"a = {float(a):g}: {n} {'minimum' if n == 1 else 'minima'}"
        minima = one.minima.isel(seed=0).dropna("minimum")
        assert len(axes.lines) == 1 + minima.size
        for place in minima:
            assert_level(axes, place)
        shown(axes, np.tile(d.start, 3), one.end.transpose("seed", "start").values.ravel())


def test_theorem_1_shows_gradients_and_the_flip():
    d = made_up("points")
    d.measured.loc[{"point": "maximum"}] *= -1
    d.gradient.loc[{"point": "sharp minimum"}] = 0.0
    drawing, _ = draw("theorem_1", points=d)
    gradient, curvature = drawing.axes
    places = range(4)
    shown(gradient, places, np.abs(d.gradient).max(["coordinate", "seed"]))
    mean, error = np.abs(d.measured.mean("seed")), np.empty(4)
    for i in places:
        larger = int(np.argmax(mean[i].values))
        error[i] = 2 * np.sqrt(np.sum(d.standard_error[:, i, larger] ** 2)) / 3
    assert_bars(gradient, places, mean.max("coordinate"), error)
    symmetric, tilted = criteria("T1")
    assert symmetric.high == criteria("T1x")[0].high
    shown(gradient, places, [*[symmetric.high] * 3, tilted.low])
    low, _ = gradient.get_ylim()
    assert low < 0  # exactly zero is to be seen
    assert gradient.get_yscale() == "symlog"
    first = d.isel(seed=0)
    shown(curvature, d.a_over_s, first.curvature)
    shown(curvature, [first.flip], 0.0)
    assert_upright(curvature, first.predicted_flip)
    assert_level(curvature, 0.0)


def test_theorem_2_shows_bound_exact_and_drawn_lifts():
    drawing, d = draw("theorem_2")
    lifted, limits, switch, quadratics = drawing.axes
    first = d.isel(seed=0)
    for outer in d.outer:
        one = d.sel(outer=outer)
        exact = shown(lifted, d.m[:3], 1 - one.exact.isel(seed=0, m=slice(0, 3)))
        bound = shown(lifted, d.m, 1 - one.bound.isel(seed=0))
        assert (exact.get_linestyle(), bound.get_linestyle()) == ("-", "--")
        drawn = one.measured.isel(m=slice(0, 2 if outer == 0.5 else 3))
        assert_points(lifted, drawn.m, 1 - drawn)
        shown(switch, first.threshold.sel(outer=outer), first.switch.sel(outer=outer))
    assert len(lifted.containers) == 2
    shown(limits, d.m, first.cone)
    shown(limits, d.m, first.cone_bound)
    for height in (first.valley, 0.5, 0.81, 1.0):  # of the cone w at 1/2 and 1, of w_1² at 0.9
        assert_level(limits, height)
    for m in d.few:
        shown(quadratics, d.curvature, first.quadratic_limit.sel(few=m))
    assert_level(quadratics, 3**-0.5)
    guides = [line for line in lines(switch) if len(line) == 2]
    assert any(np.allclose(line[:, 0], line[:, 1]) for line in guides)


def test_critical_strength_shows_both_laws_and_leads():
    drawing, d = draw("critical_strength")
    strength, ratio, leads = drawing.axes
    first = d.isel(seed=0)
    for noise, scale in zip(NOISE, (1, np.sqrt(3)), strict=True):
        values = scale * first.strength.sel(noise=noise)
        shown(strength, d.m, values)
        shown(ratio, d.m, values / first.leading)
    shown(strength, d.m, first.leading)
    shown(strength, d.m[:2], first.second_strength[:2])
    for factor in d.factor:
        z = d.z.sel(factor=factor).isel(m=[0, 1])
        assert_points(leads, z.m, z)
    flat, sharp = criteria("T3", 1)
    (band,) = leads.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == (sharp.high, flat.low)


def test_elimination_shows_slopes_and_tells_what_theorem_d_clears():
    drawing, d = draw("elimination")
    slopes, shares = drawing.axes
    first = d.isel(seed=0)
    assert_level(slopes, d.slope)
    for i, width in enumerate(d.half_width):
        one = first.sel(half_width=width)
        shown(slopes, d.m, one.bound)
        for well in d.well:
            shown(slopes, d.m, one.steepest.sel(well=well))
        escaped, shift = d.escaped.sel(half_width=width), 0.25 * (i - 1)
        looks = [
            assert_points(shares, part.m + shift, part)
            for part in (escaped[:, 2:], escaped[:, 1:2], escaped[:, :1])
        ]
        filled = [
            (marks.get_fillstyle(), marks.get_markerfacecolor() == "white") for marks in looks
        ]
        assert filled == [("full", False), ("left", False), ("full", True)]


def test_noise_laws_show_ratios_and_measured_differences():
    drawing, d = draw("noise_laws")
    ratio, difference = drawing.axes
    first = d.isel(seed=0)
    normal, uniform = (d.sel(noise=noise) for noise in ("normal", "uniform"))
    for m in d.m:
        logs = [one.log_share.isel(seed=0).sel(m=m) for one in (normal, uniform)]
        shown(ratio, d.half_width, (logs[0] - logs[1]) / np.log(10))
        if m <= 10:
            shown(difference, d.half_width, np.exp(logs[0]) - np.exp(logs[1]))
            measured = normal.measured.sel(m=m) - uniform.measured.sel(m=m)
            assert_points(difference, d.half_width, measured)
    assert len(difference.containers) == 2
    for axes in drawing.axes:
        assert_upright(axes, first.crossover.mean())


def test_denoising_shows_variances_predictions_and_errors():
    drawing, d = draw("denoising")
    *variances, error = drawing.axes
    for axes, momentum in zip(variances, d.momentum.values, strict=True):
        for i, form in enumerate(d.form.values):
            one = d.sel(form=form, momentum=momentum)
            assert_points(axes, d.learning_rate, one.variance)
            assert_points(
                error, d.learning_rate * 1.06 ** (i - 1), one.variance / one.predicted - 1
            )
            shown(axes, d.fine_rate, one.curve.isel(seed=0))
    (band,) = error.patches
    (low, high) = band.get_y(), band.get_y() + band.get_height()
    assert high == -low == criteria("A2")[0].high == criteria("A2")[1].high


def test_denoising_marks_where_both_forms_wander_alike():
    drawing, d = draw("denoising")
    momentumless = drawing.axes[0]
    uprights = [line for line in momentumless.lines if line.get_linestyle() == ":"]
    (rate,) = {float(x) for line in uprights for x in line.get_xdata()}
    assert rate == d.alike.isel(seed=0)


def test_balance_shows_imbalance_and_product_beside_predictions():
    drawing, d = draw("balance")
    imbalance, product = drawing.axes
    first = d.isel(seed=0)
    for form in RULES:
        assert_curve(imbalance, d.time, d.imbalance.sel(form=form))
        assert_curve(product, d.time, d["product"].sel(form=form))
    shown(imbalance, d.time, first.predicted)
    assert_level(product, first.balanced**2)
    assert_level(product, first.adaptive_product)
    assert imbalance.get_ylim()[0] == 0


def test_rescaling_shows_changes_against_the_unscaled_network():
    drawing, d = draw("rescaling")
    loss, trace, error = drawing.axes
    for form in RULES:
        one = d.smoothed_loss.sel(form=form)
        assert_curve(loss, d.scale, one / one.sel(scale=1.0), whole=True)
    assert_curve(trace, d.scale, d.trace / d.trace.sel(scale=1.0), whole=True)
    shown(trace, d.scale, (d.predicted_trace / d.predicted_trace.sel(scale=1.0)).mean("seed"))
    shown(error, d.scale, np.abs(d.trace / d.predicted_trace - 1).max("seed"))
    shown(error, [0.1, 10.0], d.function_change.max("seed")[[0, 2]])
    for criterion in criteria("R1"):
        assert_level(error, criterion.high)


def test_one_point_shows_distances_bound_and_convexity():
    drawing, d = draw("one_point")
    distance, convexity = drawing.axes
    first, rate = d.isel(seed=0), d.learning_rate
    shown(distance, rate, first.predicted)
    assert_points(distance, rate, d.squared_radius)
    guides = [line for line in lines(distance) if len(line) == 3]
    constant = [
        np.ptp(np.log(y * first.convexity.values / x)) for x, y in (line.T for line in guides)
    ]
    assert min(constant) < 1e-12
    shown(convexity, rate, first.convexity)
    assert_level(convexity, first.plain_convexity)
    assert_level(convexity, 0.0)
