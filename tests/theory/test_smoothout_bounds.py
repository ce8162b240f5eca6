"""Theorems on sharp minima against landscapes whose means over noise are known exactly."""

import functools
import itertools

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from scipy.integrate import nquad, quad
from scipy.special import erf, gammainc
from stat_asserts import assert_mean

from theory.landscapes import BoxWell, DoubleWell, LineWellMixture, Parabola, Quadratic, rastrigin
from theory.smoothout import (
    dent_bound,
    log_few_directions_share,
    log_volume_ratio,
    merging_strength,
    overtaking_strength,
    pathwise_bias,
    pathwise_gradient,
    radial_minimum,
    ranking_strength,
    sharp_minimum_bound,
    smoothed_gradient,
    smoothed_value,
    smoothing_strength,
)

LEVELS = {
    "lowest": 0.0,
    "highest": 0.9,
    "shell": 1.0,
    "inner_radius": 0.5,
    "outer_radius": 0.9,
    "strength": 1.0,
    "dimension": 10,
}


# ----------------------------------------------------------------- exact means over uniform noise


def overlap(w, half_width, strength):
    """Shares (..., m) of the box around w (..., m) that lie in the box around 0, per coordinate."""
    length = strength + half_width - np.abs(w)
    return np.clip(length, 0.0, 2.0 * min(half_width, strength)) / (2.0 * strength)


def cone_mean(w, strength, profile_slope, end):
    """E φ(‖w + θ‖∞) for φ(0) = 0, as ∫ φ'(r) P(‖w + θ‖∞ > r) dr."""
    kinks = np.abs(np.concatenate([strength - np.abs(w), strength + np.abs(w)]))
    edges = sorted({0.0, end, *(float(k) for k in kinks if 0.0 < k < end)})

    def density(r):
        return profile_slope(r) * (1.0 - np.prod(overlap(w, r, strength)))

    panels = [(low, high) for low, high in itertools.pairwise(edges) if high - low > 1e-14 * end]
    parts = [quad(density, low, high, epsabs=1e-12)[0] for low, high in panels]
    return float(sum(parts))


def gaussian_factor(w, width, strength):
    """Mean of exp(-t²/(2 s²)) over w - a < t < w + a."""
    ends = [erf((w + side * strength) / (width * np.sqrt(2.0))) for side in (1, -1)]
    return (ends[0] - ends[1]) * width * np.sqrt(np.pi / 8.0) / strength


def grid(half_width, m, points=5):
    line = np.linspace(-half_width, half_width, points)
    return np.stack(np.meshgrid(*[line] * m, indexing="ij"), axis=-1).reshape(-1, m)


@st.composite
def radii(draw):
    """0 ≤ ε < ε' < a."""
    strength = draw(st.floats(0.1, 10.0))
    outer = draw(st.floats(0.05, 0.98)) * strength
    return draw(st.floats(0.0, 0.98)) * outer, outer, strength


def bound_of(lowest, highest, shell, lengths, m, **options):
    inner, outer, strength = lengths
    return sharp_minimum_bound(
        lowest=lowest,
        highest=highest,
        shell=shell,
        inner_radius=inner,
        outer_radius=outer,
        strength=strength,
        dimension=m,
        **options,
    )


def assert_bounds(bound, values, highest):
    """The bound is never violated; if it holds, the minimum is lifted above its surroundings."""
    lowest_mean = np.min(values)
    assert lowest_mean >= bound.value - 1e-9 * (1.0 + abs(bound.value))
    if bound.holds:
        assert lowest_mean > highest - 1e-12


# --------------------------------------------------------------- Theorem A: sharp minima are lifted


@given(radii(), st.integers(1, 4))
def test_cones_obey_the_bound(lengths, m):
    inner, outer, strength = lengths
    bound = bound_of(0.0, inner, outer, lengths, m)
    points = inner * np.vstack([np.zeros(m), np.ones(m), np.eye(m)[0], np.linspace(-1, 1, m)])
    values = [cone_mean(w, strength, lambda r: 1.0, 2.0 * strength) for w in points]
    assert_bounds(bound, values, inner)


@given(radii(), st.integers(1, 3), st.floats(0.1, 3.0))
def test_box_wells_obey_the_bound_and_reach_it(lengths, m, depth):
    inner, outer, strength = lengths
    bound = bound_of(-depth, -depth, 0.0, lengths, m)
    values = -depth * np.prod(overlap(grid(inner, m), outer, strength), axis=-1)
    assert_bounds(bound, values, -depth)
    assert bound.holds  # any smoothing lifts the bottom of a well that is narrower than the noise
    assert bound.value == pytest.approx(np.min(values), rel=1e-12)


@given(radii(), st.integers(1, 3), st.floats(0.05, 2.0))
def test_gaussian_wells_obey_the_bound(lengths, m, relative_width):
    inner, outer, strength = lengths
    width = relative_width * outer
    highest = -np.exp(-0.5 * m * (inner / width) ** 2)
    shell = -np.exp(-0.5 * (outer / width) ** 2)
    assume(highest < 0.0 and shell > -1.0)
    bound = bound_of(-1.0, highest, shell, lengths, m)
    values = -np.prod(gaussian_factor(grid(inner, m), width, strength), axis=-1)
    assert_bounds(bound, values, highest)


@given(radii(), st.integers(1, 5), st.floats(0.1, 10.0))
def test_round_quadratics_obey_the_bound(lengths, m, curvature):
    inner, outer, strength = lengths
    highest, shell = 0.5 * m * curvature * inner**2, 0.5 * curvature * outer**2
    landscape = Quadratic(hessian_matrix=curvature * np.eye(m)).smoothed(strength)
    bound = bound_of(0.0, highest, shell, lengths, m)
    assert_bounds(bound, landscape.value(grid(inner, m, 3)), highest)


@given(radii(), st.integers(1, 10**9), st.floats(0.0, 1.2), st.floats(-3.0, 3.0))
def test_the_bound_is_its_formula(lengths, m, highest, base):
    _, outer, strength = lengths
    bound = bound_of(base, base + highest, base + 1.0, lengths, m, flat=base - 1.0)
    with mp.workdps(40):
        share = (mp.mpf(outer) / mp.mpf(strength)) ** m
        log_share = float(m * mp.log(mp.mpf(outer) / mp.mpf(strength)))
        value = float(base + 1 - share)
    assert bound.log_share == pytest.approx(log_share, rel=1e-12)
    assert bound.log_gap == pytest.approx(log_share, rel=1e-12, abs=1e-14)
    assert bound.value == pytest.approx(value, abs=1e-12)
    lifted, dimension, ranked = bound.hypotheses
    assert lifted.margin == pytest.approx(1.0 - highest, abs=1e-14)
    assert ranked.margin == pytest.approx(value - (base - 1.0), abs=1e-12)
    if highest < 1.0 - 1e-6:
        threshold = -np.log1p(-highest) / np.log(strength / outer)
        assert bound.threshold_dimension == pytest.approx(threshold, rel=1e-8, abs=1e-8)
        assert dimension.margin == pytest.approx(m - threshold, rel=1e-8, abs=1e-7)
    elif highest >= 1.0 + 1e-6:
        assert bound.threshold_dimension == np.inf
        assert dimension.margin == -np.inf
    assert bound.holds == all(each.holds for each in bound.hypotheses)
    assert [each.holds for each in bound.hypotheses] == [e.margin > 0 for e in bound.hypotheses]


@pytest.mark.parametrize(("outer", "printed"), [(0.9, 21.9), (0.99, 229.1), (0.999, 2301.4)])
def test_printed_thresholds_decide(outer, printed):
    levels = LEVELS | {"outer_radius": outer}
    threshold = sharp_minimum_bound(**levels).threshold_dimension
    assert round(threshold, 1) == printed
    below, above = (
        sharp_minimum_bound(**levels | {"dimension": m})
        for m in (int(threshold), int(threshold) + 1)
    )
    assert (below.holds, above.holds) == (False, True)
    assert below.value <= 0.9 < above.value
    assert not below.hypotheses[1].holds
    assert below.hypotheses[0].holds


@pytest.mark.parametrize(
    ("m", "printed"), [(1, 0.5), (2, 0.577), (5, 0.699), (20, 0.859), (1000, 0.9931)]
)
def test_the_best_bound_on_a_cone_is_a_known_share_of_its_mean(m, printed):
    exact = radial_minimum(lambda r: r, strength=1.0, dimension=m)
    assert exact == pytest.approx(m / (m + 1), rel=1e-13)
    outer = (m + 1.0) ** (-1.0 / m)
    best, *others = (
        bound_of(0.0, 0.0, radius, (0.0, radius, 1.0), m).value
        for radius in (outer, 0.999 * outer, min(1.001 * outer, 0.5 * (1.0 + outer)))
    )
    assert best > max(others)
    assert best / exact == pytest.approx(outer, abs=1e-9)
    assert best / exact == pytest.approx(printed, abs=6e-4)


def test_the_gap_is_known_where_the_value_rounds_it_away():
    bound = sharp_minimum_bound(**LEVELS | {"dimension": 10**9})
    assert bound.value == 1.0
    assert bound.log_gap == pytest.approx(1e9 * np.log(0.9), rel=1e-13)


# ---------------------------------------------------------------- Theorem A: without its hypotheses


def test_a_running_maximum_does_not_bound_the_shell():
    """C = w₁² rises strictly, but is 0 on the shell: taking ε'² for the shell is an error."""
    m, strength, inner, outer = 50, 1.0, 0.7, 0.9
    wrong = bound_of(0.0, inner**2, outer**2, (inner, outer, strength), m)
    curvatures = np.zeros((m, m))
    curvatures[0, 0] = 2.0
    mean = Quadratic(hessian_matrix=curvatures).smoothed(strength).value(np.zeros(m))
    assert mean == pytest.approx(1.0 / 3.0)
    assert wrong.holds
    assert mean < inner**2 < wrong.value
    right = bound_of(0.0, inner**2, outer**2, (inner, outer, strength), 1)  # Theorem E: k = 1
    assert not right.holds
    assert right.value <= mean


def test_the_shell_has_to_reach_as_far_as_the_moving_box():
    """C is 1 on D(a) but for its well, and -9 beyond it: what the shell would be on D(a) alone."""
    inner, outer, strength = 0.4, 0.5, 1.0
    wrong = bound_of(0.0, 0.0, 1.0, (inner, outer, strength), 1)
    shares = overlap(np.array([inner]), outer, strength), overlap(np.array([inner]), 1.0, strength)
    mean = float((shares[1] - shares[0] - 9.0 * (1.0 - shares[1]))[0])
    assert wrong.holds
    assert mean < 0.0 < wrong.value


def test_few_sharp_directions_take_the_place_of_the_dimension():
    """A cone in 2 of 100 coordinates."""
    lengths = (0.6, 0.95, 1.0)
    mean = cone_mean(np.zeros(2), 1.0, lambda r: 1.0, 1.0)
    wrong, right = (bound_of(0.0, 0.6, 0.95, lengths, m) for m in (100, 2))
    assert wrong.value > mean >= right.value


# ------------------------------------------------------------------- Theorem B: and above flat ones


@given(radii(), st.integers(1, 3), st.floats(-1.0, 1.0), st.floats(0.0, 2.0))
def test_holding_bounds_rank_the_minima(lengths, m, floor, steepness):
    inner, _, strength = lengths
    highest_flat = floor + steepness * (strength + inner)  # a cone around the flat minimum
    bound = bound_of(-1.0, -1.0, 0.0, lengths, m, flat=highest_flat)
    sharp = -np.prod(overlap(grid(inner, m), lengths[1], strength), axis=-1)
    flat = floor + cone_mean(np.full(m, inner), strength, lambda r: steepness, 2.0 * strength)
    assert bound.hypotheses[-1].margin == pytest.approx(bound.value - highest_flat)
    if bound.hypotheses[-1].holds:
        assert np.min(sharp) > flat
    assert bound.hypotheses[-1].statement == "bound > F_{a+ε}"


def test_without_a_low_flat_minimum_the_order_is_not_promised():
    """Both minima are lifted here, the flat one to 0.1 and the sharp one to -0.5."""
    bound = bound_of(-1.0, -1.0, 0.0, (0.1, 0.5, 1.0), 1, flat=0.1)
    assert [each.holds for each in bound.hypotheses] == [True, True, False]
    assert bound.hypotheses[-1].margin == pytest.approx(-0.6)
    assert not bound.holds


# ------------------------------------------------------------------------- Theorem F: normal noise


@given(st.floats(0.0, 0.9), st.floats(0.1, 3.0), st.integers(1, 4), st.integers(0, 100))
def test_box_wells_obey_the_bound_under_normal_noise(relative_inner, outer, m, seed):
    inner = relative_inner * outer
    bound = bound_of(-1.0, -1.0, 0.0, (inner, outer, 1.0), m, noise="normal")
    points = np.random.default_rng(seed).uniform(-inner, inner, (20, m))
    ends = [erf((points + side * outer) / np.sqrt(2.0)) for side in (1, -1)]
    values = -np.prod(0.5 * (ends[0] - ends[1]), axis=-1)
    assert_bounds(bound, values, -1.0)
    assert bound.value == pytest.approx(-(erf(outer / np.sqrt(2.0)) ** m), rel=1e-12)
    assert bound.holds


def test_normal_noise_that_stays_in_the_well_up_to_rounding_lifts_nothing():
    bound = bound_of(0.0, 0.0, 1.0, (0.1, 50.0, 1.0), 10**6, noise="normal")
    assert bound.value == 0.0
    assert bound.threshold_dimension == np.inf
    assert not bound.holds


# --------------------------------------------------------------------- Theorem C: dents of wells


@given(st.floats(0.1, 5.0), st.floats(0.05, 1.0), st.floats(0.1, 10.0), st.integers(1, 3))
def test_box_wells_reach_the_largest_dent_and_slope(depth, relative_width, strength, m):
    half_width = relative_width * strength
    bound = dent_bound(depth=depth, half_width=half_width, strength=strength, dimension=m)
    points = grid(strength + half_width, m, 21)
    dents = depth * np.prod(overlap(points, half_width, strength), axis=-1)
    assert np.max(dents) == pytest.approx(np.exp(bound.log_depth), rel=1e-9)
    h = 1e-6 * half_width  # on the ramp along the first coordinate, in the middle of the others
    ramp = np.zeros((2, m))
    ramp[:, 0] = strength + h * np.array([-1.0, 1.0])
    low, high = depth * np.prod(overlap(ramp, half_width, strength), axis=-1)
    assert (low - high) / (2.0 * h) == pytest.approx(np.exp(bound.log_slope), rel=1e-6)
    assert bound.hypotheses == ()
    assert bound.holds
    assert bound.threshold_dimension == np.inf


@given(st.floats(0.05, 1.0), st.integers(1, 3), st.floats(0.2, 4.0), st.integers(0, 10**6))
def test_other_wells_leave_smaller_dents_and_slopes(half_width, m, power, seed):
    """W = h (1 - (‖w‖∞/ε')^q)₊, by differences of its mean over points and in slope."""
    bound = dent_bound(depth=1.0, half_width=half_width, strength=1.0, dimension=m)

    def dent(w):
        def slope(r):
            return power * (r / half_width) ** (power - 1.0) / half_width if r > 0.0 else 0.0

        return 1.0 - cone_mean(w, 1.0, slope, half_width)

    point = np.random.default_rng(seed).uniform(-1.0 - half_width, 1.0 + half_width, m)
    step = 1e-4 * np.eye(m)[0]
    assert -1e-9 <= dent(point) <= np.exp(bound.log_depth) + 1e-9
    assert abs(dent(point + step) - dent(point - step)) / 2e-4 <= np.exp(bound.log_slope) + 1e-5


def test_dents_of_a_billion_dimensions_are_known_in_logs():
    bound = dent_bound(depth=3.0, half_width=0.5, strength=2.0, dimension=10**9, slope=1e-300)
    assert bound.log_depth == pytest.approx(np.log(3.0) - 1e9 * np.log(4.0), rel=1e-14)
    assert bound.log_slope == pytest.approx(np.log(0.75) - (1e9 - 1) * np.log(4.0), rel=1e-14)
    assert bound.hypotheses[0].margin == 1e-300
    assert bound.holds


# ---------------------------------------------------------------- Theorem D: minima are eliminated


@given(st.floats(0.1, 0.95), st.integers(1, 3), st.floats(0.05, 3.0))
@example(0.5, 1, 0.99)
@example(0.5, 3, 1.01)
def test_the_minimum_of_a_tilted_box_well_is_gone_exactly_if_the_bound_holds(
    half_width, m, relative_slope
):
    """C = g w₁ - h 1(‖w‖∞ < ε'): the bound is reached, so that it decides."""
    assume(abs(relative_slope - 1.0) > 1e-9)
    steepest = 0.5 * half_width ** (m - 1)
    slope = relative_slope * steepest
    bound = dent_bound(depth=1.0, half_width=half_width, strength=1.0, dimension=m, slope=slope)

    def smoothed_along_the_tilt(w):  # through the middle
        points = np.stack([w, *[np.zeros_like(w)] * (m - 1)], axis=-1)
        return slope * w - np.prod(overlap(points, half_width, 1.0), axis=-1)

    values = smoothed_along_the_tilt(np.linspace(-1.0 - half_width, 1.0 + half_width, 4001))
    assert np.all(np.diff(values) > 0.0) == bound.holds
    assert bound.holds == (m > bound.threshold_dimension)
    assert bound.hypotheses[0].margin == pytest.approx(slope - steepest, rel=1e-9)
    threshold = 1.0 + np.log(0.5 / slope) / np.log(1.0 / half_width)
    assert bound.threshold_dimension == pytest.approx(threshold, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("m", "slope"), [(1, 0.6), (2, 0.3), (2, 0.26), (3, 0.14)])
def test_where_the_bound_holds_no_tilted_cone_is_stationary(m, slope):
    bound = dent_bound(depth=1.0, half_width=0.5, strength=1.0, dimension=m, slope=slope)
    assert bound.holds

    def loss(w):
        return slope * w[:, 0] - np.clip(1.0 - 2.0 * np.max(np.abs(w), axis=-1), 0.0, None)

    gradients = smoothed_gradient(loss, grid(1.5, m, 9), strength=1.0, nodes=40)
    assert np.all(gradients[:, 0] > 0.0)


def test_where_the_bound_fails_a_tilted_gaussian_well_can_stay_stationary():
    """On the line: g w - exp(-w²/(2s²)), s so small that nearly all of it lies in D(ε')."""
    width, strength = 0.1, 1.0
    slopes = {}
    for slope in (0.4, 0.6):
        bound = dent_bound(depth=1.0, half_width=0.5, strength=strength, dimension=1, slope=slope)

        def loss(w, slope=slope):
            return slope * w[:, 0] - np.exp(-0.5 * (w[:, 0] / width) ** 2)

        gradients = smoothed_gradient(loss, grid(1.5, 1, 401), strength=strength)
        slopes[bound.holds] = np.min(gradients)
    assert slopes[False] < 0.0 < slopes[True]


@pytest.mark.parametrize(("slope", "holds"), [(0.4, False), (0.5, False), (0.6, True)])
def test_a_well_as_wide_as_the_noise_is_gone_in_all_dimensions_or_in_none(slope, holds):
    for m in (1, 50):
        bound = dent_bound(depth=1.0, half_width=1.0, strength=1.0, dimension=m, slope=slope)
        assert bound.holds == holds
        assert bound.threshold_dimension == (-np.inf if holds else np.inf)


# ----------------------------------------------------------------- Theorem E: few sharp directions


def test_few_directions_share_is_the_gamma_function_and_nearly_that_of_a_rotated_frame():
    share = float(np.exp(log_few_directions_share(1.2, 1.0, directions=6)))
    assert share == pytest.approx(gammainc(3.0, 1.5 * 1.2**2), rel=1e-13)
    density = quad(lambda r: r**5 * np.exp(-1.5 * r * r), 0.0, 1.2)[0]
    whole = quad(lambda r: r**5 * np.exp(-1.5 * r * r), 0.0, 12.0)[0]
    assert share == pytest.approx(density / whole, rel=1e-9)
    rng = np.random.default_rng(11)
    frame = np.linalg.qr(rng.standard_normal((400, 6)))[0]
    noise = rng.uniform(-1.0, 1.0, (40_000, 400))
    inside = (np.linalg.norm(noise @ frame, axis=1) < 1.2).astype(float)
    assert np.mean(inside) == pytest.approx(0.3653, abs=0.01)
    assert_mean(inside, share)
    with pytest.raises(AssertionError, match="beyond"):  # as if all coordinates counted
        assert_mean(inside, float(np.exp(log_volume_ratio(1.2, 1.0, dimension=6, shape="ball"))))


# ----------------------------------------------------------------------- Theorem G: cubes, exactly


@pytest.mark.parametrize("m", [1, 2, 7, 1000, 10**9])
@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 7.0])
def test_powers_of_the_radius_match_their_closed_form(m, power):
    got = radial_minimum(lambda r: r**power, strength=1.7, dimension=m)
    assert got == pytest.approx(1.7**power * m / (m + power), rel=1e-12)


@given(st.floats(0.05, 0.999), st.one_of(st.integers(1, 50), st.sampled_from([10**4, 10**9])))
def test_capped_cones_and_boxes_match_their_closed_forms(outer, m):
    capped = radial_minimum(
        lambda r: 3.0 * min(1.0, r / outer), strength=1.0, dimension=m, breaks=[outer]
    )
    assert capped == pytest.approx(3.0 * (1.0 - outer**m / (m + 1)), rel=1e-11)
    box = radial_minimum(
        lambda r: float(r > outer), strength=1.0, dimension=m, breaks=[0.01, outer, 5.0]
    )
    assert box == pytest.approx(-np.expm1(m * np.log(outer)), rel=1e-11, abs=1e-12)
    best = bound_of(0.0, 0.0, 3.0, (0.0, outer, 1.0), m).value
    assert capped >= best - 1e-14


def test_radial_minima_match_samples_and_other_integrals():
    noise = np.random.default_rng(2).uniform(-0.8, 0.8, (100_000, 5))
    values = np.cosh(np.max(np.abs(noise), axis=1))
    got = radial_minimum(np.cosh, strength=0.8, dimension=5)
    assert_mean(values, got)
    assert got == pytest.approx(quad(lambda u: 5 * u**4 * np.cosh(0.8 * u), 0, 1)[0], rel=1e-12)
    with pytest.raises(AssertionError, match="beyond"):  # the limit in high dimension
        assert_mean(values, np.cosh(0.8))


def test_the_limit_in_high_dimension_is_the_value_at_the_surface():
    for m in (10**3, 10**6, 10**9):
        got = radial_minimum(lambda r: r**2 + r, strength=1.0, dimension=m)
        assert got == pytest.approx(2.0, abs=4.0 / m)
        assert got > 0.9**2 + 0.9  # not the value at a radius below


@given(st.integers(1, 3), st.integers(0, 1000), st.floats(0.3, 3.0))
def test_no_point_around_the_center_is_lower(m, seed, power):
    at_center = radial_minimum(lambda r: r**power, strength=1.0, dimension=m)
    point = np.random.default_rng(seed).uniform(-0.5, 0.5, m)
    slope = power * np.float64(1.0)
    around = cone_mean(point, 1.0, lambda r: slope * max(r, 1e-300) ** (power - 1.0), 1.6)
    assert around >= at_center - 1e-6


# ------------------------------------------------------------------------------- critical strengths

PRODUCT_WELLS = {"sharp_depth": 1.0, "flat_depth": 0.8, "sharp_width": 0.1, "flat_width": 0.4}
PRINTED = {
    1: 0.126472,
    2: 0.086790,
    5: 0.053999,
    10: 0.037984,
    100: 0.0119564,
    10**4: 0.00119505,
    10**6: 1.19504e-4,
    10**9: 3.7790458e-6,
}


def exact_overtaking(m, sharp_depth, flat_depth, sharp_width, flat_width, noise="uniform"):
    """The same equation in 40 digits, bisected in the strength."""

    def log_mean(a):
        if noise == "normal":
            return -mp.log(1 + a * a) / 2
        z = a / mp.sqrt(2)
        return mp.log(mp.erf(z) * mp.sqrt(mp.pi) / (2 * z))

    def advantage(a):
        gain = log_mean(a / mp.mpf(sharp_width)) - log_mean(a / mp.mpf(flat_width))
        return mp.log(mp.mpf(sharp_depth) / mp.mpf(flat_depth)) + m * gain

    with mp.workdps(50):
        low, high = mp.mpf(10) ** -12, mp.mpf(10) ** 6
        for _ in range(160):
            middle = mp.sqrt(low * high)
            low, high = (middle, high) if advantage(middle) > 0 else (low, middle)
        return float(low)


def test_product_wells_match_the_printed_table_and_50_digits():
    dimensions = np.array(list(PRINTED))
    got = overtaking_strength(**PRODUCT_WELLS, dimension=dimensions)
    np.testing.assert_allclose(got, list(PRINTED.values()), rtol=5e-6)
    exact = [exact_overtaking(int(m), **PRODUCT_WELLS) for m in dimensions]
    np.testing.assert_allclose(got, exact, rtol=1e-10)
    slopes = np.diff(np.log(got[3:])) / np.diff(np.log(dimensions[3:]))
    np.testing.assert_allclose(slopes, -0.5, atol=5e-3)
    leading = np.sqrt(6.0 * np.log(1.25) / (dimensions[-1] * (0.1**-2 - 0.4**-2)))
    assert got[-1] == pytest.approx(leading, rel=1e-8)


@given(
    st.floats(1.001, 50.0),
    st.floats(1.05, 20.0),
    st.one_of(st.integers(1, 20), st.integers(1, 10**9)),
    st.sampled_from(["uniform", "normal"]),
)
def test_overtaking_strengths_match_50_digits(depth_ratio, width_ratio, m, noise):
    log_room = m * np.log(width_ratio) - np.log(depth_ratio)
    wells = {"sharp_depth": depth_ratio, "flat_depth": 1.0, "sharp_width": 0.3}
    wells["flat_width"] = 0.3 * width_ratio
    got = overtaking_strength(**wells, dimension=m, noise=noise)
    assume(abs(log_room) > 1e-2)
    if log_room < 0.0:
        assert got == np.inf
    else:
        assert got == pytest.approx(exact_overtaking(m, **wells, noise=noise), rel=1e-10)


def test_nearly_infinite_overtaking_strengths_are_found_or_infinite():
    for excess, noise in itertools.product((1e-15, 1e-13, -1e-15), ("uniform", "normal")):
        wells = {"sharp_depth": 2.0, "flat_depth": 1.0 + excess, "flat_width": 2.0}
        got = overtaking_strength(**wells, sharp_width=1.0, dimension=1, noise=noise)
        assert got == np.inf if excess < 0.0 else 10.0 < got < np.inf


def test_overtaking_is_where_smoothed_product_wells_are_equally_deep():
    got = overtaking_strength(**PRODUCT_WELLS, dimension=[[2], [5]])
    assert got.shape == (2, 1)
    for m, strength in zip((2, 5), got[:, 0], strict=True):
        sharp = 1.0 * gaussian_factor(0.0, 0.1, strength) ** m
        flat = 0.8 * gaussian_factor(0.0, 0.4, strength) ** m
        assert sharp == pytest.approx(flat, rel=1e-11)
    line = quad(lambda t: np.exp(-0.5 * (t / 0.1) ** 2), -got[0, 0], got[0, 0])[0]
    assert gaussian_factor(0.0, 0.1, got[0, 0]) == pytest.approx(line / (2 * got[0, 0]), rel=1e-9)


@given(st.floats(0.01, 100.0), st.floats(0.01, 100.0))
def test_ranking_strengths_equate_smoothed_quadratics(loss_gap, trace_gap):
    sharp = Quadratic(hessian_matrix=np.diag([trace_gap, 2.0])) + (-loss_gap)
    flat = Quadratic(hessian_matrix=np.diag([1.0, 1.0]))
    for noise in ("uniform", "normal"):
        strength = ranking_strength(loss_gap=loss_gap, trace_gap=trace_gap, noise=noise)
        lifted = [c.smoothed(strength, noise=noise).value([0.0, 0.0]) for c in (sharp, flat)]
        assert lifted[0] == pytest.approx(lifted[1], rel=1e-9, abs=1e-12 * loss_gap)


@given(st.floats(1e-12, 1e6), st.floats(1.5, 1e8), st.floats(1.5, 1e8))
def test_smoothing_strengths_are_roots_to_rounding(root, below, above):
    for power in (1, 3):
        got = smoothing_strength(
            lambda a, power=power: ((a / root) ** 2 - 1.0) ** power,
            lower=root / below,
            upper=root * above,
        )
        assert got == pytest.approx(root, rel=1e-14 if power == 1 else 1e-5)


def test_a_root_at_an_end_is_found_and_tiny_advantages_do_not_vanish():
    assert smoothing_strength(lambda a: a - 0.3, lower=0.3, upper=1.0) == 0.3
    assert smoothing_strength(lambda a: a - 0.3, lower=0.1, upper=0.3) == 0.3
    got = smoothing_strength(lambda a: 1e-200 * (a - 0.3), lower=0.1, upper=1.0)
    assert got == pytest.approx(0.3, rel=1e-14)


def test_the_curvature_of_a_smoothed_well_changes_its_sign_as_printed():
    """C = w² exp(-w²/(2s²)): C̄''(0) = C'(a)/a, zero at a = s√2."""
    s = 0.7

    def curvature(a):
        return (2.0 - (a / s) ** 2) * np.exp(-0.5 * (a / s) ** 2)

    got = smoothing_strength(curvature, lower=0.1, upper=5.0)
    assert got == pytest.approx(np.sqrt(2.0) * s, rel=1e-14)


@settings(max_examples=15)
@given(st.floats(0.3, 2.0), st.floats(-1.2, 1.2), st.sampled_from(["uniform", "normal"]))
@example(0.7, 0.0, "uniform")
@example(0.7, 0.0, "normal")
def test_double_wells_merge_where_their_quartic_loses_a_root(half_width, tilt, noise):
    """4(u³ - p u) + τ/h has three roots if 4 p³ > 27 (τ/4h)², with p = 1 - a²/b² or 1 - 3σ²/b²."""
    well = DoubleWell(barrier=1.0, half_width=half_width, tilt=tilt)
    p = np.cbrt(27.0 * (tilt / 4.0) ** 2 / 4.0)
    expected = half_width * np.sqrt((1.0 - p) / (1.0 if noise == "uniform" else 3.0))
    ends = {"lower": -3.0 * half_width, "upper": 3.0 * half_width, "noise": noise}
    got = merging_strength(well, weakest=0.01 * half_width, strongest=2.0 * half_width, **ends)
    assert got == pytest.approx(expected, rel=1e-6)


def test_ripples_merge_as_printed():
    ripples = rastrigin(amplitude=10.0)

    def excess(a):  # C̄' = 2x + 2πA sinc(2a) sin(2πx): at y = 2πx, -sin(y)/y is 0.2172 at most
        y = mp.findroot(lambda y: mp.tan(y) - y, 4.4934)
        return 1 + 20 * mp.pi**2 * mp.sincpi(2 * a) * mp.sin(y) / y

    expected = float(mp.findroot(excess, 0.4886))
    assert round(expected, 6) == 0.488596
    got = merging_strength(ripples, lower=-6.0, upper=6.0, weakest=0.3, strongest=0.5)
    assert got == pytest.approx(expected, abs=1e-6)
    seven = {"lower": -6.0, "upper": 6.0, "weakest": 0.3, "strongest": 0.5, "minima": 7}
    assert 0.4 < merging_strength(ripples, **seven) < 0.45


# -------------------------------------------------------------------- values and gradients of means


def polynomial(w):
    """A loss of up to four coordinates, of degree 4 in the first and mixed in the others."""
    first = w[:, 0] ** 4 - 2.0 * w[:, 0] ** 3
    return first + sum(np.prod(w[:, :k] ** 2, axis=1) + w[:, k - 1] for k in range(2, w.shape[1]))


def polynomial_mean(w, a):
    """By hand: u² becomes u² + b, b = a²/3; u³ becomes u³ + a²u; u⁴ becomes u⁴ + 2a²u² + a⁴/5."""
    u, b = w[0], a * a / 3.0
    first = u**4 + 2.0 * a * a * u * u + a**4 / 5.0 - 2.0 * (u**3 + a * a * u)
    return first + sum(np.prod(w[:k] ** 2 + b) + w[k - 1] for k in range(2, len(w)))


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_means_and_gradients_of_polynomials_match_those_by_hand(m):
    points = np.random.default_rng(m).standard_normal((2, 3, m))
    values = smoothed_value(polynomial, points, strength=0.6, nodes=5)
    gradients = smoothed_gradient(polynomial, points, strength=0.6, nodes=5)
    assert values.shape == (2, 3)
    assert gradients.shape == (2, 3, m)
    for place in np.ndindex(2, 3):
        w = points[place]
        assert values[place] == pytest.approx(polynomial_mean(w, 0.6), rel=1e-12, abs=1e-12)
        for i, step in enumerate(1e-5 * np.eye(m)):
            ends = [polynomial_mean(w + side * step, 0.6) for side in (1, -1)]
            slope = (ends[0] - ends[1]) / 2e-5
            assert gradients[(*place, i)] == pytest.approx(slope, rel=1e-7, abs=1e-7)
    one = smoothed_value(polynomial, points[0, 0], strength=0.6, nodes=5)
    assert np.ndim(one) == 0
    assert one == values[0, 0]
    single = smoothed_gradient(polynomial, points[0, 0], strength=0.6, nodes=5)
    np.testing.assert_allclose(single, gradients[0, 0], rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_quadratics_match_their_closed_form_by_all_routes(m):
    root = np.random.default_rng(m).standard_normal((m, m))
    landscape = Quadratic(hessian_matrix=root @ root.T, center=np.ones(m))
    smooth, points = landscape.smoothed(0.8), grid(1.0, m, 3)
    got = smoothed_value(landscape.value, points, strength=0.8, nodes=4)
    np.testing.assert_allclose(got, smooth.value(points), rtol=1e-12)
    faces = smoothed_gradient(landscape.value, points, strength=0.8, nodes=4)
    paths = pathwise_gradient(landscape.gradient, points, strength=0.8, nodes=4)
    assert paths.shape == points.shape
    np.testing.assert_allclose(faces, smooth.gradient(points), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(paths, smooth.gradient(points), rtol=1e-10, atol=1e-12)


def test_smooth_losses_match_nested_quadrature_and_samples():
    def loss(w):
        return np.exp(np.sin(w[..., 0]) - w[..., 1] * w[..., 0])

    point, a = np.array([0.3, -0.2]), 0.5
    naive = nquad(
        lambda u, v: loss(np.array([u, v])), [(-0.2, 0.8), (-0.7, 0.3)], opts={"epsabs": 1e-10}
    )[0]
    got = smoothed_value(loss, point, strength=a)
    assert got == pytest.approx(naive / (2 * a) ** 2, rel=1e-10)
    noise = np.random.default_rng(4).uniform(-a, a, (100_000, 2))
    assert_mean(loss(point + noise), float(got))
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(loss(point + noise), float(loss(point)))


@given(st.floats(0.05, 3.0), st.lists(st.floats(-2.0, 2.0), min_size=2, max_size=2))
def test_faces_and_paths_agree_on_smooth_losses(strength, point):
    def loss(w):
        return np.cos(w[:, 0]) * np.exp(0.5 * w[:, 1]) + w[:, 0] * w[:, 1]

    def gradient(w):
        wave = np.exp(0.5 * w[:, 1])
        along = -np.sin(w[:, 0]) * wave + w[:, 1]
        return np.stack([along, 0.5 * np.cos(w[:, 0]) * wave + w[:, 0]], axis=-1)

    faces = smoothed_gradient(loss, point, strength=strength)
    paths = pathwise_gradient(gradient, point, strength=strength)
    np.testing.assert_allclose(faces, paths, rtol=1e-10, atol=1e-11)


@given(st.lists(st.floats(-2.0, 2.0), min_size=3, max_size=3), st.floats(0.05, 2.0))
def test_centrally_symmetric_losses_are_stationary_whatever_their_curvature(direction, strength):
    def loss(w):
        return np.cos(w @ np.array(direction)) + (w[:, 0] + w[:, 1]) ** 4 - w[:, 2] ** 2

    gradients = smoothed_gradient(loss, np.zeros(3), strength=strength, nodes=8)
    np.testing.assert_allclose(gradients, 0.0, atol=1e-11)


def box_well(half_width, w):
    return -(np.max(np.abs(w), axis=-1) < half_width).astype(float)


@pytest.mark.parametrize("strength", [0.3, 0.5, 1.0])
def test_the_mean_gradient_of_a_box_well_misses_its_jumps(strength):
    x = np.array([-1.23, -0.4, 0.0, 0.17, 0.6, 1.45])
    faces = smoothed_gradient(functools.partial(box_well, 0.5), x[:, None], strength=strength)
    paths = pathwise_gradient(np.zeros_like, x[:, None], strength=strength)
    bias = pathwise_bias([-1.0, 1.0], [-0.5, 0.5], x, strength=strength)
    np.testing.assert_allclose((paths - faces)[:, 0], bias, atol=1e-14)
    exact = BoxWell(width=0.5).smoothed(strength).gradient(x)
    np.testing.assert_allclose(faces[:, 0], exact, atol=1e-14)
    assert np.any(bias != 0.0)
    assert np.ndim(pathwise_bias([1.0], [0.0], 0.3, strength=1.0)) == 0


def test_the_bias_adds_to_a_sloping_loss_with_jumps():
    """C = w² with a jump of 2 at 0.1 and one of -5 at 0.7."""

    def loss(w):
        return w[:, 0] ** 2 + 2.0 * (w[:, 0] > 0.1) - 5.0 * (w[:, 0] > 0.7)

    x = np.array([[-0.5], [0.0], [0.3], [2.0]])
    faces = smoothed_gradient(loss, x, strength=0.45)
    paths = pathwise_gradient(lambda w: 2.0 * w, x, strength=0.45)
    bias = pathwise_bias([2.0, -5.0], [0.1, 0.7], x[:, 0], strength=0.45)
    np.testing.assert_allclose((paths - faces)[:, 0], bias, atol=1e-12)
    np.testing.assert_allclose(bias, [0.0, -2.0 / 0.9, 3.0 / 0.9, 0.0], atol=1e-12)


# -------------------------------------------------------------------------------- what is rejected


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inner_radius": 0.9}, r"inner_radius < outer_radius \(ε < ε'\), got 0.9 and 0.9"),
        ({"inner_radius": 0.95}, r"0 ≤ inner_radius < outer_radius .*got 0.95 and 0.9"),
        ({"inner_radius": -0.1}, r"got -0.1 and 0.9"),
        ({"outer_radius": 1.0}, r"outer_radius must be below strength \(ε' < a\), got 1 and 1"),
        ({"outer_radius": 1.5}, "got 1.5 and 1: the noise stays in the well"),
        ({"lowest": 0.95}, r"lowest must be at most highest \(C_s ≤ M_ε\), got 0.95 and 0.9"),
        ({"lowest": 0.9, "shell": 0.9}, r"lowest must be below shell \(C_s < μ\), got 0.9 and 0.9"),
        ({"lowest": 0.5, "shell": 0.4}, r"lowest must be below shell .*got 0.5 and 0.4"),
        ({"dimension": 0}, "dimension must be an integer of at least 1, got 0"),
        ({"dimension": 2.5}, r"dimension must be an integer of at least 1, got 2\.5"),
        ({"dimension": True}, "dimension must be an integer of at least 1, got True"),
        ({"strength": 0.0}, "strength must be positive, got 0"),
        ({"noise": "cauchy"}, "noise must be one of uniform, normal, got 'cauchy'"),
        ({"noise": "normal", "flat": 0.0}, "flat bounds the loss on a box: normal noise leaves"),
        ({"flat": np.nan}, "flat has NaN"),
        ({"flat": [0.1, 0.2]}, "flat must have 0 dimensions"),
        *(
            ({name: value}, f"{name} has NaN or infinite")
            for name in ("lowest", "highest", "shell", "inner_radius", "outer_radius", "strength")
            for value in (np.nan, np.inf)
        ),
    ],
)
def test_bounds_on_sharp_minima_reject_what_they_cannot_take(change, message):
    with pytest.raises(ValueError, match=message):
        sharp_minimum_bound(**LEVELS | change)


DENT = {"depth": 1.0, "half_width": 0.5, "strength": 1.0, "dimension": 3}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"depth": 0.0}, "depth must be positive, got 0"),
        ({"depth": np.nan}, "depth has NaN"),
        ({"half_width": -1.0}, "half_width must be positive, got -1"),
        ({"half_width": 1.5}, r"half_width must be at most strength \(ε' ≤ a\), got 1.5 and 1"),
        ({"strength": np.inf}, "strength has NaN or infinite"),
        ({"dimension": 2.5}, r"dimension must be an integer of at least 1, got 2\.5"),
        ({"dimension": True}, "dimension must be an integer"),
        ({"slope": 0.0}, "slope must be positive, got 0"),
        ({"slope": -0.1}, "slope must be positive, got -0.1"),
    ],
)
def test_dents_reject_what_they_cannot_take(change, message):
    with pytest.raises(ValueError, match=message):
        dent_bound(**DENT | change)


WELL = DoubleWell()
LINE = {"lower": -2.0, "upper": 2.0, "weakest": 0.1, "strongest": 2.0}


def same(x):
    return x


def first(w):
    return w[:, 0]


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (log_few_directions_share, {"radius": 0.0}, "radius must be positive"),
        (log_few_directions_share, {"strength": -1.0}, "strength must be positive"),
        (log_few_directions_share, {"directions": 1.5}, "must be an integer of at least 1"),
        (radial_minimum, {"strength": 0.0}, "strength must be positive"),
        (radial_minimum, {"dimension": 0}, "dimension must be an integer"),
        (radial_minimum, {"breaks": [0.5, -1.0]}, "breaks must be positive, got -1"),
        (radial_minimum, {"breaks": [np.nan]}, "breaks has NaN"),
        (radial_minimum, {"profile": np.log1p, "strength": np.nan}, "strength has NaN"),
        (radial_minimum, {"profile": lambda r: np.nan}, "the profile's value has NaN"),
        (smoothing_strength, {"lower": 0.0}, "lower must be positive"),
        (smoothing_strength, {"upper": np.nan}, "upper has NaN"),
        (smoothing_strength, {"lower": 2.0}, "lower must be below upper, got 2 and 2"),
        (smoothing_strength, {}, "one sign at both ends: 1 at 1, 2 at 2"),
        (smoothing_strength, {"advantage": lambda a: 1e-200}, "one sign at both ends: 1e-200"),
        (smoothing_strength, {"advantage": lambda a: np.nan}, "advantage has NaN"),
        (overtaking_strength, {"flat_depth": 1.0}, "sharp_depth must exceed flat_depth, got 1"),
        (overtaking_strength, {"flat_depth": -1.0}, "flat_depth must be positive"),
        (overtaking_strength, {"flat_width": 0.1}, "sharp_width must be below flat_width, got 0.1"),
        (overtaking_strength, {"sharp_width": np.nan}, "sharp_width has NaN"),
        (overtaking_strength, {"dimension": [1, 0]}, "integer of at least 1, got 0"),
        (overtaking_strength, {"dimension": 2.5}, r"integer of at least 1, got 2\.5"),
        (overtaking_strength, {"dimension": True}, "integer of at least 1, got True"),
        (overtaking_strength, {"noise": "t"}, "noise must be one of uniform, normal, got 't'"),
        (ranking_strength, {"loss_gap": 0.0}, "loss_gap must be positive"),
        (ranking_strength, {"trace_gap": -1.0}, "trace_gap must be positive"),
        (ranking_strength, {"noise": "t"}, "noise must be one of"),
        (merging_strength, {"weakest": 0.0}, "weakest must be positive"),
        (merging_strength, {"weakest": 3.0}, "weakest must be below strongest, got 3 and 2"),
        (merging_strength, {"minima": -1}, "minima must be an integer of at least 0"),
        (merging_strength, {"minima": 2}, "got 2 at 0.1 and 1 at 2"),
        (merging_strength, {"weakest": 1.5}, "more than 1 at the weakest strength .* got 1 at 1.5"),
        (merging_strength, {"upper": -3.0}, "lower must be below upper"),
        (merging_strength, {"noise": "t"}, "noise must be one of"),
        (smoothed_value, {"x": 1.0}, r"x must have shape \(..., m\), got a number"),
        (smoothed_value, {"x": [np.nan]}, "x has NaN"),
        (smoothed_value, {"strength": 0.0}, "strength must be positive"),
        (smoothed_value, {"nodes": 0}, "nodes must be an integer of at least 1, got 0"),
        (smoothed_value, {"nodes": 2.5}, "nodes must be an integer"),
        (smoothed_value, {"nodes": 1001}, "nodes must be at most 1000, got 1001"),
        (smoothed_value, {"x": np.ones(6)}, r"24 nodes in 6 dimensions are 2e\+08 points"),
        (smoothed_value, {"loss": same}, r"loss must return shape \(24,\) for points of shape"),
        (smoothed_value, {"loss": lambda w: np.inf * w[:, 0]}, "what loss returns has NaN or inf"),
        (smoothed_gradient, {"x": 1.0}, "got a number"),
        (smoothed_gradient, {"strength": -1.0}, "strength must be positive"),
        (smoothed_gradient, {"nodes": 10**6}, "nodes must be at most 1000"),
        (smoothed_gradient, {"x": np.ones(7)}, r"24 nodes in 6 dimensions"),
        (smoothed_gradient, {"loss": lambda w: 1.0}, r"loss must return shape \(1,\)"),
        (pathwise_gradient, {"gradient": first}, r"gradient must return shape \(24, 1\)"),
        (pathwise_gradient, {"gradient": lambda w: w / 0.0}, "what gradient returns has NaN"),
        (pathwise_gradient, {"nodes": True}, "nodes must be an integer"),
        (pathwise_bias, {"places": [0.0, 1.0]}, "there are 1 jumps but 2 places"),
        (pathwise_bias, {"jumps": [np.nan]}, "jumps has NaN"),
        (pathwise_bias, {"jumps": 1.0}, "jumps must have 1 dimensions"),
        (pathwise_bias, {"x": np.inf}, "x has NaN or infinite"),
        (pathwise_bias, {"strength": 0.0}, "strength must be positive"),
    ],
    ids=itertools.count(),
)
@pytest.mark.filterwarnings("ignore:(divide by zero|invalid value):RuntimeWarning")
def test_functions_reject_what_they_cannot_take(function, arguments, message):
    defaults = {
        log_few_directions_share: {"radius": 1.0, "strength": 1.0, "directions": 2},
        radial_minimum: {"profile": same, "strength": 1.0, "dimension": 2},
        smoothing_strength: {"advantage": same, "lower": 1.0, "upper": 2.0},
        overtaking_strength: PRODUCT_WELLS | {"dimension": 3},
        ranking_strength: {"loss_gap": 1.0, "trace_gap": 1.0},
        merging_strength: {"landscape": WELL, **LINE},
        smoothed_value: {"loss": first, "x": [1.0], "strength": 1.0},
        smoothed_gradient: {"loss": first, "x": [1.0], "strength": 1.0},
        pathwise_gradient: {"gradient": same, "x": [1.0], "strength": 1.0},
        pathwise_bias: {"jumps": [1.0], "places": [0.0], "x": 0.0, "strength": 1.0},
    }
    with pytest.raises(ValueError, match=message):
        function(**defaults[function] | arguments)


@pytest.mark.parametrize(
    ("landscape", "message"),
    [
        (3.0, "landscape must be one on the line, got float"),
        (Quadratic(hessian_matrix=[[1.0]]), "landscape must be one on the line, got Quadratic"),
        (
            LineWellMixture(costs=[0.0], centers=[0.0], curvatures=[1.0]),
            "the mean of a LineWellMixture over uniform noise has no closed form",
        ),
    ],
    ids=["number", "space", "mixture"],
)
def test_only_landscapes_on_the_line_with_closed_means_merge(landscape, message):
    with pytest.raises(TypeError, match=message):
        merging_strength(landscape, **LINE)


def test_a_parabola_has_nothing_to_merge():
    with pytest.raises(ValueError, match="minima must number more than 1"):
        merging_strength(Parabola(curvature=1.0), **LINE)
