"""The studies of smoothed landscapes, each against quadrature, closed forms or a naive loop."""

import functools
import itertools

import numpy as np
import pytest
from scipy.integrate import dblquad, quad
from scipy.linalg import solve_discrete_lyapunov
from scipy.optimize import brentq, minimize_scalar
from scipy.special import erf
from stat_asserts import assert_mean

from sims import _smoothout_landscapes as landscape_studies
from sims._smoothout_network import ReLUNetwork
from sims.smoothout import (
    STUDIES,
    Trajectories,
    balance,
    denoising,
    elimination,
    filter_rule,
    lift,
    merging,
    noise_laws,
    one_point_convergence,
    overtaking,
    rescaling,
    smoothed_landscapes,
    survival,
    symmetric_points,
    unbiasedness,
)

SMALL = {
    smoothed_landscapes: {"strengths": (0.3, 0.7), "points": 25},
    merging: {"half_widths": (0.5,)},
    overtaking: {"dimensions": (1, 3, 10**6), "draws": 400, "largest_drawn": 3},
    lift: {
        "dimensions": (1, 2, 10**6),
        "outer_radii": (0.5, 0.9),
        "inner_shares": (0.5, 0.9),
        "draws": 400,
        "largest_drawn": 2,
        "curvatures": (0.1, 10.0),
    },
    noise_laws: {"half_widths": (0.3, 0.9), "dimensions": (1, 4, 100), "draws": 400},
    elimination: {
        "dimensions": (2, 5),
        "half_widths": (0.6, 0.9),
        "trajectories": 16,
        "time": 70.0,
    },
    symmetric_points: {"strength": 0.4, "width": 0.2, "draws": 20_000},
    unbiasedness: {"strength": 0.4, "draws": 400},
    denoising: {"learning_rates": (0.1, 0.6), "momenta": (0.0, 0.7), "trajectories": 500},
    survival: {
        "strengths": (0.3, 0.5),
        "trajectories": 49,
        "learning_rate": 5e-4,
        "copies": 8,
        "steps": 6000,
        "reach": 3.0,
    },
    balance: {"time": 2.0, "trajectories": 500, "records": 5, "start": (1.6, 0.5)},
    one_point_convergence: {"learning_rates": (0.008, 0.015), "trajectories": 200},
    rescaling: {"scales": (0.5, 1.0, 3.0), "inputs": 3, "hidden": 4, "examples": 5, "draws": 40},
    filter_rule: {"filters": 3, "fan_in": 4, "draws": 200, "strength": 0.2},
}
DIMENSIONS = {
    smoothed_landscapes: {
        "loss": ("x",),
        "smoothed": ("noise", "a", "x"),
        "n_minima": ("noise", "a"),
        "minima": ("noise", "a", "minimum"),
    },
    merging: dict.fromkeys(("rastrigin", "rastrigin_solved"), ("noise",))
    | {"double_well": ("b", "noise")},
    overtaking: {
        "strength": ("noise", "m"),
        "leading": ("m",),
        "second_strength": ("m",),
        "z": ("m", "factor"),
    },
    lift: dict.fromkeys(("exact", "bound", "measured", "standard_error"), ("outer", "m"))
    | dict.fromkeys(("switch", "threshold"), ("outer", "share"))
    | dict.fromkeys(("cone", "cone_bound"), ("m",))
    | {"valley": (), "quadratic_limit": ("few", "curvature")},
    noise_laws: dict.fromkeys(
        ("log_share", "measured", "standard_error"), ("noise", "m", "half_width")
    )
    | {"crossover": ("m",)},
    elimination: {"steepest": ("well", "m", "half_width")}
    | dict.fromkeys(("bound", "eliminated", "escaped"), ("m", "half_width")),
    symmetric_points: dict.fromkeys(
        ("gradient", "measured", "standard_error"), ("point", "coordinate")
    )
    | {"flip": (), "predicted_flip": (), "curvature": ("a_over_s",)},
    unbiasedness: {"smooth_z": ("factor",), "relu_z": ("weight",)}
    | dict.fromkeys(("box_pathwise", "box_error", "box_gradient"), ()),
    denoising: dict.fromkeys(("variance", "predicted"), ("form", "momentum", "learning_rate"))
    | {"curve": ("form", "momentum", "fine_rate"), "alike": ()},
    survival: {"end": ("a", "start"), "minima": ("a", "minimum")}
    | dict.fromkeys(("n_minima", "visited", "settled"), ("a",)),
    balance: dict.fromkeys(("imbalance", "product"), ("form", "time"))
    | {"predicted": ("time",), "balanced": (), "adaptive_product": ()},
    one_point_convergence: dict.fromkeys(
        ("convexity", "squared_radius", "predicted"), ("learning_rate",)
    )
    | {"plain_convexity": ()},
    rescaling: dict.fromkeys(("smoothed_loss", "standard_error"), ("form", "scale"))
    | dict.fromkeys(("function_change", "trace", "predicted_trace"), ("scale",)),
    filter_rule: dict.fromkeys(("length_error", "correlation_z"), ("filter",))
    | {"variance": ("filter", "coordinate")},
}
DRAWN = {  # what chance has a part in; the rest is the same for every seed
    overtaking: {"z"},
    lift: {"measured", "standard_error"},
    noise_laws: {"measured", "standard_error"},
    elimination: {"escaped"},
    symmetric_points: {"measured", "standard_error"},
    unbiasedness: {"smooth_z", "relu_z"},
    denoising: {"variance"},
    survival: {"end", "visited", "settled"},
    balance: {"imbalance", "product"},
    one_point_convergence: {"squared_radius"},
    rescaling: set(DIMENSIONS[rescaling]),
    filter_rule: set(DIMENSIONS[filter_rule]),
}
COARSE = {"escaped", "visited", "settled", "length_error", "function_change"}  # few values each
NOT_EVERYWHERE = {
    (smoothed_landscapes, "minima"),
    (survival, "minima"),
    (overtaking, "second_strength"),
    (overtaking, "z"),
    (lift, "measured"),
    (lift, "standard_error"),
    (noise_laws, "measured"),
    (noise_laws, "standard_error"),
}


def study_id(value):
    return getattr(value, "__name__", None)


@functools.cache
def small(study, seed=0):
    return study(**SMALL[study], seed=seed)


def over_seeds(study, name, n, **where):
    """One variable of a small study, for seeds 0 to n - 1."""
    return np.array([small(study, seed)[name].sel(**where).values for seed in range(n)])


# --- every study ----------------------------------------------------------------------------------


def test_every_study_is_tested():
    assert set(STUDIES) == set(SMALL) == set(DIMENSIONS)


@pytest.mark.parametrize("study", STUDIES, ids=study_id)
def test_a_study_returns_what_it_says(study):
    found = small(study)
    assert {name: values.dims for name, values in found.items()} == DIMENSIONS[study]
    for name, values in found.items():
        assert set(values.attrs) == {"long_name", "units"}
        assert values.attrs["units"] == ("nat" if name == "log_share" else "1")
        assert len(values.attrs["long_name"]) > 1
        if (study, name) not in NOT_EVERYWHERE:
            assert np.all(np.isfinite(values)), name


@pytest.mark.parametrize("study", STUDIES, ids=study_id)
def test_a_seed_determines_every_bit_of_a_study(study):
    assert study(**SMALL[study], seed=0).identical(small(study))
    if study is merging:
        return  # nothing is drawn, and it takes its time
    other = small(study, 1)
    changed = {name for name in other if not other[name].identical(small(study)[name])}
    drawn = DRAWN.get(study, set())
    assert drawn - COARSE <= changed <= drawn


BAD = [
    (smoothed_landscapes, {"landscape": "alps"}, "landscape must be one of rastrigin, double-well"),
    (smoothed_landscapes, {"points": 0}, "points must be an integer of at least 1, got 0"),
    (smoothed_landscapes, {"strengths": (0.2, -1.0)}, "strengths must be positive, got -1"),
    (smoothed_landscapes, {"strengths": ()}, "strengths is empty"),
    (smoothed_landscapes, {"lower": 7.0}, "lower must be below upper, got 7 and 6"),
    (merging, {"amplitude": 0.0}, "amplitude must be positive, got 0"),
    (merging, {"amplitude": 0.3}, r"amplitude must exceed 0\.31, got 0\.3"),
    (merging, {"half_widths": (0.0,)}, "half_widths must be positive, got 0"),
    (overtaking, {"dimensions": (0,)}, "dimension must be an integer of at least 1, got 0"),
    (overtaking, {"sharp_depth": 0.5}, r"sharp_depth must exceed flat_depth, got 0\.5 and 0\.8"),
    (overtaking, {"flat_width": 0.05}, "sharp_width must be below flat_width"),
    (overtaking, {"flat_depth": 0.1}, r"flat_depth is 0\.1: in 1 dimensions the flat well never"),
    (overtaking, {"draws": 1}, "draws must be an integer of at least 2, got 1"),
    (lift, {"inner_shares": (0.5, 1.0)}, r"radii must be ordered, 0 ≤ inner_radius < outer_radius"),
    (lift, {"outer_radii": (1.0,)}, "outer_radius must be below strength"),
    (lift, {"dimensions": (0,)}, "dimension must be an integer of at least 1, got 0"),
    (lift, {"draws": 1}, "draws must be an integer of at least 2, got 1"),
    (lift, {"curvatures": (1.0, 0.0)}, "curvatures must be positive, got 0"),
    (noise_laws, {"half_widths": (0.0, 0.5)}, "radius must be positive, got 0"),
    (noise_laws, {"dimensions": (0,)}, "dimension must be an integer of at least 1, got 0"),
    (noise_laws, {"draws": 1}, "draws must be an integer of at least 2, got 1"),
    (elimination, {"learning_rate": 0.0}, "learning_rate must be positive, got 0"),
    (elimination, {"time": -1.0}, "time must be positive, got -1"),
    (elimination, {"slope": 0.0}, "slope must be positive, got 0"),
    (elimination, {"strength": 0.0}, "strength must be positive, got 0"),
    (elimination, {"half_widths": (1.1,)}, "half_width must be at most strength"),
    (elimination, {"trajectories": 0}, "start is empty"),
    (symmetric_points, {"draws": 1}, "draws must be an integer of at least 2, got 1"),
    (symmetric_points, {"width": 0.0}, "width must be positive, got 0"),
    (symmetric_points, {"strength": 0.0}, "strength must be positive, got 0"),
    (unbiasedness, {"draws": 1}, "draws must be an integer of at least 2, got 1"),
    (unbiasedness, {"strength": 0.0}, "strength must be positive, got 0"),
    (denoising, {"learning_rates": (1.0,)}, "learning_rate must be below 1, the limit of"),
    (denoising, {"learning_rates": (0.1, 0.0)}, "learning_rates must be positive, got 0"),
    (denoising, {"momenta": (1.0,)}, r"momentum must be in \[0, 1\), got 1"),
    (denoising, {"copies": 0}, "copies must be an integer of at least 1, got 0"),
    (denoising, {"curvature": 0.0}, "curvature must be positive, got 0"),
    (denoising, {"strength": 0.0}, "strength must be positive, got 0"),
    (denoising, {"trajectories": 0}, "start is empty"),
    (survival, {"trajectories": 0}, "trajectories must be an integer of at least 1, got 0"),
    (survival, {"strengths": (0.3, 0.0)}, "strengths must be positive, got 0"),
    (survival, {"reach": -1.0}, "lower must be below upper, got 1 and -1"),
    (survival, {"steps": 0}, "steps must be an integer of at least 1, got 0"),
    (survival, {"amplitude": 0.0}, "amplitude must be positive, got 0"),
    (survival, {"learning_rate": 10.0}, "49 of 49 trajectories left the range of float64"),
    (balance, {"learning_rate": 0.0}, "learning_rate must be positive, got 0"),
    (balance, {"time": 0.0}, "time must be positive, got 0"),
    (balance, {"records": 0}, "records must be an integer of at least 1, got 0"),
    (balance, {"start": (1.0,)}, r"start must have shape \(n, 2\), got \(500, 1\)"),
    (balance, {"strength": 0.0}, "strength must be positive, got 0"),
    (one_point_convergence, {"learning_rates": (0.2,)}, r"learning_rate must be below c / L²"),
    (one_point_convergence, {"wavelength": 0.0}, "wavelength must be positive, got 0"),
    (one_point_convergence, {"noise_radius": 0.0}, "strength must be positive, got 0"),
    (one_point_convergence, {"trajectories": 0}, "start is empty"),
    (rescaling, {"scales": (0.5, 2.0)}, "scales must hold 1, got"),
    (rescaling, {"scales": (0.0, 1.0)}, "scales must be positive, got 0"),
    (rescaling, {"draws": 1}, "draws must be an integer of at least 2, got 1"),
    (rescaling, {"hidden": 0}, "hidden must be an integer of at least 1, got 0"),
    (rescaling, {"inputs": 0}, "inputs must be an integer of at least 1, got 0"),
    (rescaling, {"examples": 0}, "examples must be an integer of at least 1, got 0"),
    (rescaling, {"strength": 0.0}, "strength must be positive, got 0"),
    (rescaling, {"adaptive_strength": 0.0}, "strength must be positive, got 0"),
    (filter_rule, {"draws": 0}, "draws must be an integer of at least 1, got 0"),
    (filter_rule, {"filters": 0}, "weights is empty"),
    (filter_rule, {"strength": 0.0}, "strength must be positive, got 0"),
]


@pytest.mark.parametrize(
    ("study", "change", "message"),
    BAD,
    ids=[f"{study.__name__}-{'-'.join(change)}-{i}" for i, (study, change, _) in enumerate(BAD)],
)
def test_bad_arguments_are_named(study, change, message):
    with pytest.raises(ValueError, match=message):
        study(**SMALL[study] | change)


# --- smoothed landscapes --------------------------------------------------------------------------


def rippled(x, amplitude=10.0):
    return x**2 + amplitude * (1 - np.cos(2 * np.pi * x))


def sharp_and_flat(x):
    sharp, flat = np.exp(-((x + 1) ** 2) / 0.02), np.exp(-((x - 1) ** 2) / 0.5)
    return 1 - sharp - 0.8 * flat


FORMULAS = {
    "rastrigin": rippled,
    "double-well": lambda x: (x**2 - 1) ** 2,
    "sharp-and-flat": sharp_and_flat,
}


def mean_by_quadrature(loss, x, a, noise):
    if noise == "uniform":
        return quad(loss, x - a, x + a, limit=200)[0] / (2 * a)
    sigma = a / np.sqrt(3)  # the same variance
    nodes, weights = np.polynomial.hermite_e.hermegauss(150)
    return weights @ loss(x + sigma * nodes) / np.sqrt(2 * np.pi)


@pytest.mark.parametrize("name", FORMULAS)
def test_smoothed_landscapes_by_quadrature(name):
    a = 0.3
    found = smoothed_landscapes(landscape=name, strengths=(a,), lower=-2.0, upper=2.5, points=10)
    loss = FORMULAS[name]
    np.testing.assert_allclose(found.loss, loss(np.linspace(-2.0, 2.5, 10)), rtol=1e-12)
    for noise in ("uniform", "normal"):
        expected = [mean_by_quadrature(loss, x, a, noise) for x in found.x.values]
        np.testing.assert_allclose(found.smoothed.sel(noise=noise)[0], expected, rtol=1e-8)


def ripples_left(a, noise):
    """What noise leaves of cos 2πx."""
    if noise == "uniform":
        return np.sin(2 * np.pi * a) / (2 * np.pi * a)
    return np.exp(-2 * (np.pi * a) ** 2 / 3)


def rastrigin_minima(a, noise="uniform", reach=6.0, amplitude=10.0):
    """The minima of smoothed ripples, by the changes of sign of the slope on a fine grid."""

    def slope(x):
        return 2 * x + 2 * np.pi * amplitude * ripples_left(a, noise) * np.sin(2 * np.pi * x)

    grid = np.linspace(-reach, reach, 20_000)  # without 0
    slopes = slope(grid)
    rises = np.flatnonzero((slopes[:-1] < 0) & (slopes[1:] > 0))
    return np.array([brentq(slope, grid[i], grid[i + 1]) for i in rises])


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_minima_by_a_grid(noise):
    found = smoothed_landscapes(strengths=(0.2, 0.45, 0.5, 0.7), points=2).sel(noise=noise)
    counts = []
    for a in found.a.values:
        minima = rastrigin_minima(a, noise)
        counts.append(len(minima))
        shown = found.minima.sel(a=a).values
        np.testing.assert_allclose(shown[: len(minima)], minima, atol=1e-7)
        assert np.all(np.isnan(shown[len(minima) :]))
    assert list(found.n_minima) == counts
    assert counts[0] == 13
    if noise == "uniform":
        assert counts[2] == 1 < counts[3]  # upside down
    else:
        assert counts == sorted(counts, reverse=True)
        assert counts[3] == 3


def test_strengths_at_which_minima_merge():
    found = merging(amplitude=10.0, half_widths=(0.5, 2.0))
    for noise in ("uniform", "normal"):
        a = float(found.rastrigin.sel(noise=noise))
        assert len(rastrigin_minima(0.999 * a, noise)) > 1
        assert len(rastrigin_minima(1.001 * a, noise)) == 1
        assert float(found.rastrigin_solved.sel(noise=noise)) == pytest.approx(a, rel=1e-6)
    assert float(found.rastrigin.sel(noise="uniform")) == pytest.approx(0.488596, abs=1e-6)
    # (x² - b²)² gains 6 v x² from noise of variance v = a²/3: the minima merge at 6 v = 2 b².
    np.testing.assert_allclose(found.double_well, 1.0, rtol=1e-6)


# --- wells of many dimensions ---------------------------------------------------------------------


def normal_moments(width, a):
    """Means of exp(-w²/2s²) and of its square for w uniform on [-a, a]."""
    return [
        quad(lambda w, p=p: np.exp(-p * w**2 / (2 * width**2)), 0, a)[0] / a  # type: ignore[misc]
        for p in (1, 2)
    ]


def leads(m, a, draws):
    """By how many standard errors a flat well is the deeper one of those drawn, on average."""
    (sharp, sharp2), (flat, flat2) = normal_moments(0.1, a), normal_moments(0.4, a)
    lead = 0.8 * flat**m - sharp**m
    variance = sharp2**m - sharp ** (2 * m) + 0.64 * (flat2**m - flat ** (2 * m))
    return lead / np.sqrt(variance / draws)


def test_critical_strengths_by_quadrature():
    found = small(overtaking)
    for m in (1, 3):
        log_ratio = np.log(1 / 0.8)

        def advantage(a, m=m, log_ratio=log_ratio):
            return log_ratio + m * np.log(normal_moments(0.1, a)[0] / normal_moments(0.4, a)[0])

        a = brentq(advantage, 0.01, 1.0, xtol=1e-13)
        assert float(found.strength.sel(noise="uniform", m=m)) == pytest.approx(a, rel=1e-9)
        # normal noise: exp(-w²/2s²) has the mean (1 + σ²/s²)^(-1/2)
        sigma = float(found.strength.sel(noise="normal", m=m))
        ratio = ((1 + sigma**2 / 0.16) / (1 + sigma**2 / 0.01)) ** (m / 2)
        assert ratio == pytest.approx(0.8, rel=1e-9)
        assert float(found.second_strength.sel(m=m)) == pytest.approx(a, rel=1e-8)
    leading = np.sqrt(6 * np.log(1.25) / (found.m * (100 - 6.25)))
    np.testing.assert_allclose(found.leading, leading, rtol=1e-12)
    assert float(found.strength.sel(noise="uniform", m=10**6)) == pytest.approx(
        float(leading[-1]), rel=1e-5
    )
    assert np.isnan(found.second_strength.sel(m=10**6))


def test_drawn_leads_of_the_flat_well():
    n = 60  # seeds
    for m, factor in itertools.product((1, 3), (0.8, 1.25)):
        z = over_seeds(overtaking, "z", n, m=m, factor=factor)
        a = factor * float(small(overtaking).strength.sel(noise="uniform", m=m))
        assert_mean(z, leads(m, a, 400))
        with pytest.raises(AssertionError):
            assert_mean(z, leads(m, a / factor, 400))
    assert np.isnan(small(overtaking).z.sel(m=10**6)).all()


def test_exact_minima_of_capped_cones():
    found = small(lift)
    for outer, m in itertools.product((0.5, 0.9), (1, 2, 10**6)):
        by_hand = 1 - outer**m / (m + 1)  # the largest coordinate has the density m r^(m - 1)
        assert float(found.exact.sel(outer=outer, m=m)) == pytest.approx(by_hand, abs=1e-9)
        assert float(found.bound.sel(outer=outer, m=m)) == pytest.approx(1 - outer**m, abs=1e-12)
    inside, _ = dblquad(lambda x, y: 1 - max(x, y) / 0.5, 0, 0.5, 0, 0.5, epsabs=1e-6)
    assert float(found.exact.sel(outer=0.5, m=2)) == pytest.approx(1 - inside, abs=1e-5)


def test_drawn_minima_of_capped_cones():
    n = 60  # seeds
    for outer, m in itertools.product((0.5, 0.9), (1, 2)):
        drawn = over_seeds(lift, "measured", n, outer=outer, m=m)
        assert_mean(drawn, 1 - outer**m / (m + 1))
        with pytest.raises(AssertionError):
            assert_mean(drawn, 1 - outer**m)
        error = over_seeds(lift, "standard_error", n, outer=outer, m=m)
        # E[(1 - r/ε')²] inside the cube is 2/((m + 1)(m + 2)).
        square = outer**m * 2 / ((m + 1) * (m + 2))
        variance = square - (outer**m / (m + 1)) ** 2
        assert_mean(error**2, variance / 400)
        with pytest.raises(AssertionError):
            assert_mean(error**2, 2 * variance / 400)
    assert np.isnan(small(lift).measured.sel(m=10**6)).all()


def test_where_minima_are_lifted():
    found = small(lift)
    for outer, share in itertools.product((0.5, 0.9), (0.5, 0.9)):
        first = next(m for m in range(1, 100) if 1 - outer**m / (m + 1) > share)
        assert int(found.switch.sel(outer=outer, share=share)) == first
        threshold = np.log(1 / (1 - share)) / np.log(1 / outer)
        assert float(found.threshold.sel(outer=outer, share=share)) == pytest.approx(threshold)
    assert {int(each) for each in found.switch.values.ravel()} >= {1, 2}


def test_cones_quadratics_and_valleys():
    found = small(lift)
    np.testing.assert_allclose(found.cone, found.m / (found.m + 1), rtol=1e-9)
    for m in (1, 2):
        best = minimize_scalar(
            lambda r, m=m: -r * (1 - r**m),  # type: ignore[misc]
            bounds=(0, 1),
            method="bounded",
            options={"xatol": 1e-12},
        )
        assert float(found.cone_bound.sel(m=m)) == pytest.approx(-best.fun, rel=1e-9)
    np.testing.assert_allclose(found.quadratic_limit, 1 / np.sqrt(3), rtol=1e-12)
    assert float(found.valley) == pytest.approx(quad(lambda w: w**2, 0, 1)[0], rel=1e-12)
    assert int(found.draws) == 400


def share_inside(x, m, noise):
    return x**m if noise == "uniform" else erf(x * np.sqrt(1.5)) ** m


def test_what_the_laws_leave_of_a_well():
    found = small(noise_laws)
    n = 40  # seeds
    for noise, other in (("uniform", "normal"), ("normal", "uniform")):
        for m, x in itertools.product((1, 4), (0.3, 0.9)):
            exact = share_inside(x, m, noise)
            at = {"noise": noise, "m": m, "half_width": x}
            assert float(found.log_share.sel(at)) == pytest.approx(np.log(exact), rel=1e-12)
            drawn = over_seeds(noise_laws, "measured", n, **at)
            assert_mean(drawn, exact)
            if x == 0.3 and m == 1:
                with pytest.raises(AssertionError):
                    assert_mean(drawn, share_inside(x, m, other))
            with pytest.raises(AssertionError):
                assert_mean(drawn, 1.2 * exact + 0.03)
            binomial = np.sqrt(drawn * (1 - drawn) / 399)
            errors = over_seeds(noise_laws, "standard_error", n, **at)
            np.testing.assert_allclose(errors, binomial, rtol=1e-9, atol=1e-15)
    large = found.sel(m=100)
    assert np.isnan(large.measured).all()
    for noise in ("uniform", "normal"):
        one = np.log(share_inside(found.half_width, 1, noise))
        np.testing.assert_allclose(large.log_share.sel(noise=noise), 100 * one, rtol=1e-12)
    crossover = brentq(lambda x: x - erf(x * np.sqrt(1.5)), 0.5, 0.99, xtol=1e-13)
    np.testing.assert_allclose(found.crossover, crossover, rtol=1e-10)
    assert crossover == pytest.approx(0.8667, abs=1e-4)


# --- elimination ----------------------------------------------------------------------------------


def test_slopes_of_smoothed_wells_by_hand():
    """The steepest place is a to the side: there the box holds half of the well, the center."""
    found = small(elimination)
    for m, width in itertools.product((2, 5), (0.6, 0.9)):
        at = {"m": m, "half_width": width}
        box, vee = found.steepest.sel(at)
        assert float(box) == pytest.approx(0.5 * width ** (m - 1), rel=1e-9)
        assert float(vee) == pytest.approx(0.5 * (width / 2) ** (m - 1), rel=1e-9)
        assert float(found.bound.sel(at)) == pytest.approx(0.5 * width ** (m - 1), rel=1e-9)
        assert bool(found.eliminated.sel(at)) == (0.5 * width ** (m - 1) < 0.05)


def test_slopes_of_smoothed_wells_by_quadrature():
    def smoothed(at):
        def well(y, x):
            return -max(0.0, 1 - abs(x) / 0.6) * max(0.0, 1 - abs(y) / 0.6)

        lower, upper = max(at - 1, -0.6), min(at + 1, 0.6)
        return dblquad(well, lower, upper, -0.6, 0.6, epsabs=1e-5)[0] / 4

    slopes = [(smoothed(x + 0.02) - smoothed(x - 0.02)) / 0.04 for x in (0.85, 1.0, 1.15)]
    steepest = float(small(elimination).steepest.sel(well="V", m=2, half_width=0.6))
    assert max(slopes) == slopes[1] == pytest.approx(steepest, rel=0.03)


def test_trajectories_leave_where_the_theorem_says():
    found = elimination(
        dimensions=(5,), half_widths=(0.5, 0.9), trajectories=16, slope=0.05, time=70.0, seed=3
    ).isel(m=0)
    assert list(found.eliminated) == [True, False]
    assert float(found.escaped[0]) == 1.0
    steep = elimination(dimensions=(2,), half_widths=(0.9,), trajectories=16, slope=0.01, time=400)
    assert float(steep.escaped.squeeze()) == 0.0  # V's slope is 0.225


@pytest.mark.parametrize("m", [1, 3])
def test_the_landscape_of_the_trajectories(m, monkeypatch):
    calls = []

    def record(landscape, start, **options):
        calls.append((landscape, start, options))
        ends = np.array([[-4.0] * m, [-2.9] * m, [4.0] * m, [-3.1] * m])
        return Trajectories(np.array([6]), ends[None])

    monkeypatch.setattr(landscape_studies, "descend", record)
    found = elimination(
        dimensions=(m,), half_widths=(0.6,), slope=0.07, trajectories=4, learning_rate=0.5, time=3.0
    )
    assert float(found.escaped.squeeze()) == 0.5
    [(landscape, start, options)] = calls
    assert np.array_equal(start, np.zeros((4, m)))
    assert (options["steps"], options["learning_rate"], options["strength"]) == (6, 0.5, 1.0)
    w = np.random.default_rng(0).uniform(-0.7, 0.7, (50, m))

    def loss(w):
        return 0.07 * w[:, 0] - np.prod(np.maximum(0.0, 1 - np.abs(w) / 0.6), axis=1)

    np.testing.assert_allclose(landscape.value(w), loss(w), atol=1e-14)
    for i, shift in enumerate(1e-7 * np.eye(m)):
        slopes = (loss(w + shift) - loss(w - shift)) / 2e-7
        np.testing.assert_allclose(landscape.gradient(w)[:, i], slopes, atol=1e-6)


# --- symmetric points -----------------------------------------------------------------------------

A, S = 0.4, 0.2  # strength and width of the small study


def flat(x, y):
    return (x + y) ** 4 + x**2 + 0.5 * np.sin(3 * x * y)


def well(x, y):
    return -np.exp(-(x**2 + x * y + y**2) / (2 * S**2))


POINTS = {
    "flat minimum": flat,
    "sharp minimum": well,
    "maximum": lambda x, y: -well(x, y),
    "tilted": lambda x, y: flat(x, y) + x**3,
}


def slopes_on_a_grid(loss):
    """Partial derivatives on nodes of a Gauss rule in the box, by differences; and its weights."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    x, y = np.meshgrid(A * nodes, A * nodes, indexing="ij")
    h = 1e-5
    by_x = (loss(x + h, y) - loss(x - h, y)) / (2 * h)
    by_y = (loss(x, y + h) - loss(x, y - h)) / (2 * h)
    return np.stack([by_x, by_y]), np.outer(weights, weights) / 4


@pytest.mark.parametrize("point", POINTS)
def test_gradients_at_symmetric_points_by_quadrature(point):
    slopes, weights = slopes_on_a_grid(POINTS[point])
    mean = np.sum(weights * slopes, axis=(1, 2))
    found = small(symmetric_points).sel(point=point)
    np.testing.assert_allclose(found.gradient, mean, atol=1e-8)
    by_hand = [A**2, 0.0] if point == "tilted" else [0.0, 0.0]  # the mean of 3x²
    np.testing.assert_allclose(found.gradient, by_hand, atol=1e-12)
    spread = np.sqrt(np.sum(weights * slopes**2, axis=(1, 2)) - mean**2)
    np.testing.assert_allclose(found.standard_error, spread / np.sqrt(20_000), rtol=0.05)


@pytest.mark.parametrize("point", POINTS)
def test_drawn_gradients_at_symmetric_points(point):
    n = 25  # seeds
    drawn = over_seeds(symmetric_points, "measured", n, point=point)[:, 0]
    assert_mean(drawn, A**2 if point == "tilted" else 0.0)
    slopes, weights = slopes_on_a_grid(POINTS[point])
    variance = np.sum(weights * slopes[0] ** 2) - np.sum(weights * slopes[0]) ** 2
    squares = over_seeds(symmetric_points, "standard_error", n, point=point)[:, 0] ** 2
    assert_mean(squares, variance / 20_000)
    with pytest.raises(AssertionError):
        assert_mean(drawn, 0.0 if point == "tilted" else 2 * np.sqrt(variance / 20_000))
    with pytest.raises(AssertionError):
        assert_mean(squares, 1.02 * variance / 20_000)


def test_where_a_minimum_turns_over():
    found = small(symmetric_points)
    assert float(found.flip) == pytest.approx(np.sqrt(2), rel=1e-12)
    assert float(found.predicted_flip) == np.sqrt(2)
    a = found.a_over_s.values
    # The smoothed curvature is the slope at the box's end over a.
    np.testing.assert_allclose(found.curvature, (2 - a**2) * np.exp(-(a**2) / 2), atol=1e-12)
    assert a[0] == 0.0
    assert a[-1] > 2.0


# --- gradients of ReLU networks -------------------------------------------------------------------


@pytest.fixture
def network():
    return ReLUNetwork.drawn(inputs=3, hidden=4, examples=6, rng=np.random.default_rng(1))


def naive_output(network, weights, x):
    W, v = weights[:12].reshape(4, 3), weights[12:]
    return sum(v[j] * max(W[j] @ x, 0.0) for j in range(4))


def naive_loss(network, weights):
    pairs = zip(network.X, network.y, strict=True)
    return np.mean([(naive_output(network, weights, x) - y) ** 2 for x, y in pairs])


def test_a_networks_outputs_and_loss_by_loops(network):
    outputs = [naive_output(network, network.weights, x) for x in network.X]
    np.testing.assert_allclose(network.outputs(), outputs, rtol=1e-12)
    many = np.random.default_rng(2).normal(size=(5, 2, 16))
    expected = [[naive_loss(network, weights) for weights in row] for row in many]
    np.testing.assert_allclose(network.loss(many), expected, rtol=1e-12)
    taught = network.taught()
    assert taught.loss(taught.weights) == 0.0
    assert network.loss(network.weights) > 0.1


def test_a_networks_gradient_by_differences(network):
    theta = np.random.default_rng(3).uniform(-0.3, 0.3, (7, 16))
    found = network.gradient(network.weights, theta, 0.3)
    for row, noise in zip(found, theta, strict=True):
        for i, shift in enumerate(1e-6 * np.eye(16)):
            at = network.weights + noise
            slope = (naive_loss(network, at + shift) - naive_loss(network, at - shift)) / 2e-6
            assert row[i] == pytest.approx(slope, abs=1e-7)


def test_a_networks_faces_by_loops(network):
    theta = np.random.default_rng(4).uniform(-0.3, 0.3, (3, 16))
    found = network.face_differences(network.weights, theta, 0.3)
    for row, noise in zip(found, theta, strict=True):
        for i in range(16):
            upper, lower = network.weights + noise, network.weights + noise
            upper[i], lower[i] = network.weights[i] + 0.3, network.weights[i] - 0.3
            slope = (naive_loss(network, upper) - naive_loss(network, lower)) / 0.6
            assert row[i] == pytest.approx(slope, rel=1e-9, abs=1e-12)


def naive_filter_noise(network, u, strength):
    """A filter: the weights of one hidden unit, or those of the output."""
    inputs, hidden = network.X.shape[1], len(u) // (network.X.shape[1] + 1)
    noise = []
    for part in [slice(inputs * j, inputs * (j + 1)) for j in range(hidden)] + [
        slice(inputs * hidden, None)
    ]:
        w, direction = network.weights[part], u[part]
        length = np.sqrt(direction @ direction) + 1e-6
        noise.extend(strength * np.sqrt(w @ w) * direction / length)
    return np.array(noise)


def test_a_networks_filter_noise_by_loops(network):
    u = np.random.default_rng(5).uniform(-1.0, 1.0, (6, 16))
    expected = [naive_filter_noise(network, row, 0.3) for row in u]
    np.testing.assert_allclose(network.filter_noise(u, 0.3), expected, rtol=1e-12)


def test_a_networks_traces_by_differences(network):
    taught = network.taught()
    parts = np.zeros(2)
    for i, shift in enumerate(1e-5 * np.eye(16)):
        both = naive_loss(taught, taught.weights + shift) + naive_loss(
            taught, taught.weights - shift
        )
        parts[int(i >= 12)] += both / 1e-10
    np.testing.assert_allclose(taught.layer_traces(), parts, rtol=1e-5)
    assert taught.measured_trace() == pytest.approx(parts.sum(), rel=1e-4)


def test_rescaled_layers_make_the_same_function(network):
    scaled = network.rescaled(3.0)
    np.testing.assert_allclose(scaled.outputs(), network.outputs(), rtol=1e-12)
    np.testing.assert_allclose(scaled.weights[:12], 3.0 * network.weights[:12])
    np.testing.assert_allclose(scaled.weights[12:], network.weights[12:] / 3.0)


def test_deviations_of_mean_gradients_are_standard_normal():
    n = 60  # seeds
    for name in ("smooth_z", "relu_z"):
        z = over_seeds(unbiasedness, name, n)
        squares = np.mean(z**2, axis=1)
        assert_mean(np.sum(z, axis=1), 0.0)
        assert_mean(squares, 1.0)
        with pytest.raises(AssertionError):
            assert_mean(squares, 2.5)
        with pytest.raises(AssertionError):
            assert_mean(np.sum(z + 1.0, axis=1), 0.0)
    found = small(unbiasedness)
    assert (float(found.box_pathwise), float(found.box_error)) == (0.0, 0.0)
    # The smoothed well rises from -1 to 0 over the width 2a of the box.
    assert float(found.box_gradient) == pytest.approx(1 / 0.8)


# --- motion ---------------------------------------------------------------------------------------


def lyapunov_variance(form, momentum, rate, curvature=2.0, square=0.3**2 / 3):
    """Stationary variance of (w, v) by one step's matrix and the noise that enters."""
    step = np.array([[1 - rate * curvature, -rate * momentum], [curvature, momentum]])
    enters = np.array([-rate * curvature, curvature])
    if form == "noisy":
        enters = enters + np.array([1.0, 0.0])
    strength = square / (4 if form == "copies" else 1)
    return solve_discrete_lyapunov(step, strength * np.outer(enters, enters))[0, 0]


def test_stationary_variances_by_lyapunovs_equation():
    n = 30  # seeds
    found = small(denoising)
    for form, momentum, rate in itertools.product(
        ("denoised", "copies", "noisy"), (0.0, 0.7), (0.1, 0.6)
    ):
        at = {"form": form, "momentum": momentum, "learning_rate": rate}
        expected = lyapunov_variance(form, momentum, rate)
        assert float(found.predicted.sel(at)) == pytest.approx(expected, rel=1e-10)
        measured = over_seeds(denoising, "variance", n, **at)
        assert_mean(measured, expected)
        with pytest.raises(AssertionError):
            assert_mean(measured, 1.15 * expected)


def test_predicted_variances_between_the_rates():
    found = small(denoising)
    assert list(found.fine_rate[[0, -1]]) == pytest.approx([0.1, 0.6])
    for form, momentum in itertools.product(("denoised", "copies", "noisy"), (0.0, 0.7)):
        curve = found.curve.sel(form=form, momentum=momentum)[::133]
        expected = [lyapunov_variance(form, momentum, rate) for rate in curve.fine_rate.values]
        np.testing.assert_allclose(curve, expected, rtol=1e-10)
    alike = brentq(
        lambda rate: lyapunov_variance("noisy", 0.0, rate) - lyapunov_variance("denoised", 0, rate),
        0.05,
        0.45,
    )
    assert float(found.alike) == pytest.approx(alike, rel=1e-9)


def test_where_trajectories_end_up():
    found = small(survival)
    starts = np.linspace(-3, 3, 49)
    np.testing.assert_allclose(found.start, starts)
    for a, count in ((0.3, 7), (0.5, 1)):
        minima = rastrigin_minima(a, reach=3.0)
        one = found.sel(a=a)
        assert len(minima) == int(one.n_minima)
        np.testing.assert_allclose(one.minima.values[: len(minima)], minima, atol=1e-7)
        assert np.all(np.isnan(one.minima.values[len(minima) :]))
        near = [[abs(end - each) < 0.25 for each in minima] for end in one.end.values]
        assert float(one.settled) == np.mean([any(row) for row in near])
        assert int(one.visited) == sum(any(column) for column in zip(*near, strict=True))
        assert int(one.visited) == len(minima)
        assert (len(minima) == 1) == (count == 1)
    # Noise this strong leaves each trajectory in the basin of its start, but near the rims.
    minima = rastrigin_minima(0.3, reach=3.0)
    for start, end in zip(starts, found.end.sel(a=0.3).values, strict=True):
        nearest = minima[np.argmin(np.abs(minima - start))]
        if abs(start - nearest) < 0.3:
            assert abs(end - nearest) < 0.25


def test_imbalance_of_two_factors():
    found = small(balance)
    times = np.array([0.4, 0.8, 1.2, 1.6, 2.0])
    np.testing.assert_allclose(found.time, times)
    first = 1.6**2 - 0.5**2
    np.testing.assert_allclose(found.predicted, first * np.exp(-4 * 0.03 * times), rtol=1e-12)
    plain = found.sel(form="SmoothOut")
    np.testing.assert_allclose(plain.imbalance, found.predicted, rtol=0.01)
    assert float(plain.imbalance[-1]) < 0.85 * first
    assert float(found.balanced) == pytest.approx(np.sqrt(1 - 0.03), rel=1e-12)
    # The product p is at rest where the smoothed slope along it, 2 (p - 1) q + 4 v p, vanishes;
    # here q is the sum of squares, the imbalance being slow.
    d, v = float(found.predicted[-1]), 0.03
    rest = brentq(lambda p: (p - 1) * np.hypot(d, 2 * p) + 2 * v * p, 0.5, 1.0)
    assert float(plain.product[-1]) == pytest.approx(rest, abs=0.005)


def test_adasmoothout_on_two_factors_by_a_loop():
    found = balance(time=0.02, learning_rate=0.002, trajectories=3, records=2, seed=5)
    w = [[2.0, 0.5] for _ in range(3)]
    rng = np.random.default_rng([5, 2])
    for _ in range(10):
        draws = rng.uniform(-1.0, 1.0, (3, 2))
        for i, (x, y) in enumerate(w):
            u, v = x + 0.3 * abs(x) * draws[i, 0], y + 0.3 * abs(y) * draws[i, 1]
            excess = 2 * (u * v - 1)
            w[i] = [x - 0.002 * excess * v, y - 0.002 * excess * u]
    ada = found.sel(form="AdaSmoothOut").isel(time=-1)
    assert float(ada.imbalance) == pytest.approx(np.mean([x**2 - y**2 for x, y in w]), rel=1e-12)
    assert float(ada.product) == pytest.approx(np.mean([x * y for x, y in w]), rel=1e-12)
    whole = small(balance).sel(form="AdaSmoothOut").isel(time=-1)
    assert float(whole.imbalance) == pytest.approx(1.6**2 - 0.5**2, rel=0.01)  # kept
    assert float(whole.product) == pytest.approx(1 / 1.03, rel=0.02)
    assert float(small(balance).adaptive_product) == pytest.approx(1 / 1.03, rel=1e-12)


def rippled_descent(rate, noise_radius, rng, n=200):
    """Mean squared distance at the end of SGD with uniform noise of the gradient."""
    k, x = 2 * np.pi / 0.1, rng.uniform(-1, 1, n)
    for _ in range(round(8 / rate)):
        y = x - rate * noise_radius * rng.uniform(-1, 1, n)
        x = y - rate * (y + 5.5 / k * np.sin(k * y))
    return np.mean(x**2)


def test_one_point_convexity_by_hand():
    found = small(one_point_convergence)
    least = -minimize_scalar(np.sinc, bounds=(1, 2), method="bounded").fun  # of -sin(y)/y: 0.217
    assert float(found.plain_convexity) == pytest.approx(1 - 5.5 * least, abs=1e-6)
    for rate in (0.008, 0.015):
        one = found.sel(learning_rate=rate)
        left = np.sinc(2 * rate * 50 / 0.1)
        c = 1 - 5.5 * max(left * least, -left)
        assert float(one.convexity) == pytest.approx(c, abs=1e-4)
        contraction = 2 * rate * c - (6.5 * rate) ** 2
        bound = (rate * 50 * (1 + 6.5 * rate)) ** 2 / contraction
        assert float(one.predicted) == pytest.approx(bound, rel=1e-3)


def test_distance_from_the_center_by_a_loop():
    n = 30  # seeds
    rng = np.random.default_rng(1)
    by_loop = np.array([rippled_descent(0.015, 50.0, rng) for _ in range(n)])
    found = over_seeds(one_point_convergence, "squared_radius", n, learning_rate=0.015)
    assert_mean(found - by_loop, 0.0)
    assert np.mean(found) < float(small(one_point_convergence).predicted[-1])
    with pytest.raises(AssertionError):
        assert_mean(found - [rippled_descent(0.015, 65.0, rng) for _ in range(n)], 0.0)


# --- AdaSmoothOut ---------------------------------------------------------------------------------


def test_rescaling_by_loops():
    found = small(rescaling)
    network = ReLUNetwork.drawn(
        inputs=3, hidden=4, examples=5, rng=np.random.default_rng([0, 1])
    ).taught()
    u = np.random.default_rng([0, 2]).uniform(-1.0, 1.0, (40, 16))
    parts = network.layer_traces()
    for scale in (0.5, 1.0, 3.0):
        one = found.sel(scale=scale)
        scaled = network.rescaled(scale)
        noises = {
            "SmoothOut": 0.05 * u,
            "AdaSmoothOut": [naive_filter_noise(scaled, row, 0.2) for row in u],
        }
        for form, noise in noises.items():
            losses = [naive_loss(network, scaled.weights + theta) for theta in noise]
            assert float(one.smoothed_loss.sel(form=form)) == pytest.approx(np.mean(losses))
            error = np.std(losses, ddof=1) / np.sqrt(40)
            assert float(one.standard_error.sel(form=form)) == pytest.approx(error)
        trace = parts[0] / scale**2 + parts[1] * scale**2
        assert float(one.predicted_trace) == pytest.approx(trace, rel=1e-12)
        assert float(one.trace) == pytest.approx(trace, rel=1e-3)
        assert 0 <= float(one.function_change) < 1e-14
    ada, plain = (found.smoothed_loss.sel(form=form) for form in ("AdaSmoothOut", "SmoothOut"))
    np.testing.assert_allclose(ada, ada[1], rtol=1e-9)
    assert float(plain.max() / plain.min()) > 1.5


def test_the_largest_change_of_the_function_is_found(monkeypatch):
    rescaled = ReLUNetwork.rescaled

    def spoiled(network, scale):
        scaled = rescaled(network, scale)
        scaled.weights[12:] *= 1 + 0.01 * (scale == 3.0)
        return scaled

    monkeypatch.setattr(ReLUNetwork, "rescaled", spoiled)
    found = rescaling(**SMALL[rescaling])
    np.testing.assert_allclose(found.function_change, [0, 0, 0.01], atol=1e-12)


def test_filters_by_loops():
    found = small(filter_rule)
    rng = np.random.default_rng([0, 1])
    weights = rng.normal(size=(3, 4)) * np.exp(rng.normal(size=(3, 1)))
    noise = np.empty((200, 3, 4))
    for t in range(200):
        u = rng.uniform(-1.0, 1.0, (3, 4))
        for f in range(3):
            length = np.sqrt(weights[f] @ weights[f]) / (np.sqrt(u[f] @ u[f]) + 1e-6)
            noise[t, f] = 0.2 * length * u[f]
    for f in range(3):
        predicted = 0.2**2 * (weights[f] @ weights[f]) / 4
        expected = np.mean(noise[:, f] ** 2, axis=0) / predicted
        np.testing.assert_allclose(found.variance[f], expected)
        pairs = itertools.combinations(noise[:, f].T, 2)
        largest = max(abs(a @ b) / np.sqrt((a @ a) * (b @ b)) for a, b in pairs)
        assert float(found.correlation_z[f]) == pytest.approx(np.sqrt(200) * largest)
    assert np.all(found.length_error < 1e-9)


def test_a_noise_of_another_length_is_seen(monkeypatch):
    from theory import smoothout

    right = smoothout.filter_noise
    monkeypatch.setattr(
        smoothout,
        "filter_noise",
        lambda *arguments, **options: 1.01 * right(*arguments, **options),
    )
    found = filter_rule(**SMALL[filter_rule])
    np.testing.assert_allclose(found.length_error, 0.01, rtol=1e-6)


def test_filter_noise_has_the_variance_that_is_predicted():
    n = 40  # seeds
    ratios = over_seeds(filter_rule, "variance", n)[:, 0]
    # The length is fixed: of a filter's mean variance E(1 + 1e-6/|u|)^-2 is left to chance.
    np.testing.assert_allclose(ratios.mean(axis=1), 1.0, rtol=1e-4)
    assert_mean(ratios[:, 0], 1.0)
    with pytest.raises(AssertionError):
        assert_mean(ratios[:, 0], 1.1)
