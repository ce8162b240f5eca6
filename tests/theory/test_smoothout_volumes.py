"""Shares of noise in boxes and balls by 40 digits, exact Fourier sums, quadrature and sampling."""

import itertools

import mpmath as mp
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
from scipy.optimize import brentq
from scipy.special import dawsn, erf, fresnel, gammaln, ndtr
from stat_asserts import assert_mean

from theory.smoothout import (
    log_deviation_bound,
    log_normal_mass,
    log_volume_ratio,
    noise_crossover,
    noise_norms,
    quadratic_noise,
    shell_thickness,
)

MASSES = pytest.mark.parametrize("mass", [log_volume_ratio, log_normal_mass])
DIMENSIONS = st.one_of(st.integers(1, 30), st.integers(1, 10**9))


# ------------------------------------------------------------------------ the same, by other routes


def log_overlap(radius, strength, offset):
    """Log share of [-a, a] in [offset - b, offset + b], in 40 digits."""
    with mp.workdps(40):
        b, a, c = mp.mpf(radius), mp.mpf(strength), mp.mpf(offset)
        length = min(a, c + b) - max(-a, c - b)
        return mp.log(length / (2 * a)) if length > 0 else mp.mpf("-inf")


def log_normal_interval(radius, strength, offset):
    with mp.workdps(60):
        b, c = (mp.mpf(each) / mp.mpf(strength) for each in (radius, abs(offset)))
        near, far = (c - b) / mp.sqrt(2), (c + b) / mp.sqrt(2)
        if near > 0:
            return mp.log((mp.erfc(near) - mp.erfc(far)) / 2)
        return mp.log((mp.erf(far) - mp.erf(near)) / 2)


def exact_ball_share(x, m, digits):
    """P(sum of m squares of uniform numbers on [0, 1] < x), by Davies's sum over frequencies.

    The sum is bounded by m: with frequencies π (2k + 1)/m the sum over them is exact, and it ends
    where the characteristic function's power is below 10^-digits.
    """
    with mp.workdps(digits + 10):
        total, power, k = mp.mpf(0), mp.mpf(1), 1
        while abs(power) > mp.mpf(10) ** -digits:
            t = mp.pi * k / m
            root = mp.sqrt(2 * t / mp.pi)
            power = ((mp.fresnelc(root) + 1j * mp.fresnels(root)) / root) ** m
            total += mp.im(power * mp.expj(-t * x)) / k
            k += 2
        return mp.mpf(0.5) - 2 * total / mp.pi


def ball_shares(x, m):
    """The same sum in float64 at many x: absolute accuracy 1e-13."""
    t = np.pi * (2.0 * np.arange(20_000 if m > 8 else 150_000) + 1.0) / m
    root = np.sqrt(2.0 * t / np.pi)
    imaginary, real = fresnel(root)
    power = ((real + 1j * imaginary) / root) ** m
    assert np.abs(power[-1]) < 1e-13
    used = np.abs(power) > 1e-18
    t, power = t[used], power[used]
    return 0.5 - 2.0 * np.imag(np.exp(-1j * np.outer(x, t)) @ (power / t)) / m


def pair_share(x):
    """P(u² + v² < x) by quadrature over u, for the share of a square in a disk."""
    edge = np.sqrt(np.clip(x - 1.0, 0.0, 1.0))
    value = quad(lambda u: np.sqrt(x - u * u), edge, min(np.sqrt(x), 1.0), epsabs=1e-14)[0]
    return float(edge + value)


def share_table(m, x):
    """P(X_m < x) from P(X_(m-1) < x - u²), by quadrature in u between its kinks."""
    if m == 2:
        return 0.0 if x <= 0.0 else 1.0 if x >= 2.0 else pair_share(x)
    kinks = [np.sqrt(x - k) for k in range(m) if 0.0 < x - k < 1.0]
    edges = [0.0, *sorted(kinks), 1.0]
    return sum(
        quad(lambda u: share_table(m - 1, x - u * u), low, high, epsabs=1e-9, epsrel=1e-9)[0]
        for low, high in itertools.pairwise(edges)
    )


def saddlepoint_log_share(x, m):
    """The leading term, for x far below the mean m/3."""

    def generating(t):  # t < 0
        mean = np.sqrt(np.pi / (4.0 * -t)) * erf(np.sqrt(-t))
        slope = (np.exp(t) - mean) / (2.0 * t)
        return mean, slope, (np.exp(t) - 3.0 * slope) / (2.0 * t)

    def excess(log_t):
        mean, slope, _ = generating(-np.exp(log_t))
        return m * slope / mean - x

    t = -np.exp(brentq(excess, -12.0, 30.0))
    mean, slope, curvature = generating(t)
    variance = curvature / mean - (slope / mean) ** 2
    return m * np.log(mean) - t * x - 0.5 * np.log(2.0 * np.pi * m * t * t * variance)


# -------------------------------------------------------------------------------------------- boxes


@given(st.floats(1e-6, 50.0), st.floats(1e-3, 1e3), st.floats(-3.0, 3.0), DIMENSIONS)
@example(2.7, 2.7, 0.0, 10**9)
@example(1.0 - 1e-12, 1.0, 0.0, 10**9)
@example(2.9999999, 3.0, 0.0, 10**9)
@example(0.5, 1.0, 1.5, 3)
@example(0.5, 1.0, -0.5, 10**9)
def test_box_shares_match_40_digits(radius, strength, offset, m):
    radius, offset = radius * strength, offset * strength
    got = log_volume_ratio(radius, strength, dimension=m, offset=offset)
    expected = float(m * log_overlap(radius, strength, offset))
    if expected > -30.0 * m:  # where the bodies barely touch the overlap is rounding itself
        error = 1e-11 + 1e-15 * max(m, -expected) + 4e-16 * m / np.exp(expected / m)
        assert got <= 0.0
        assert abs(got - expected) < error
    else:
        assert got < -25.0 * m


@given(st.floats(1e-3, 1.0), st.floats(1e-3, 1e3), st.integers(1, 10**9))
def test_centered_boxes_are_as_accurate_as_promised(radius, strength, m):
    expected = float(m * log_overlap(radius * strength, strength, 0.0))
    got = log_volume_ratio(radius * strength, strength, dimension=m)
    assert abs(got - expected) <= 1e-11 + 1e-15 * max(m, -expected)


@given(st.floats(1e-9, 50.0), st.floats(1e-3, 1e3), st.floats(-40.0, 40.0), DIMENSIONS)
@example(1e-8, 1.0, 5.0, 10**9)
@example(6.0, 1.0, 0.0, 10**9)
@example(1.0, 1.0, 1.0, 10**6)
@example(1.5, 1.0, 0.5, 10**6)
@example(9.0, 1.0, 3.0, 10**9)
def test_normal_mass_in_boxes_matches_60_digits(radius, strength, offset, m):
    radius, offset = radius * strength, offset * strength
    got = log_normal_mass(radius, strength, dimension=m, offset=offset)
    expected = float(m * log_normal_interval(radius, strength, offset))
    near = abs(offset) - radius
    # The rounding of a length moves the nearer end, and the density's exponent.
    error = 2e-14 + 1e-15 * (near / strength) ** 2
    assert abs(got - expected) <= error * (abs(expected) + m * (near > -strength)) + 1e-25 * m


@MASSES
def test_one_offset_for_each_coordinate_multiplies_their_shares(mass):
    offsets = np.array([0.0, 0.3, -0.9, 1.2])
    each = [mass(0.7, 1.0, dimension=1, offset=o) for o in offsets]
    assert mass(0.7, 1.0, dimension=4, offset=offsets) == pytest.approx(sum(each), rel=1e-14)
    two = mass([0.7, 0.9], [[1.0], [2.0]], dimension=4, offset=offsets)
    assert two.shape == (2, 2)
    assert two[1, 0] == mass(0.7, 2.0, dimension=4, offset=offsets)


@MASSES
@pytest.mark.parametrize("shape", ["box", "ball"])
def test_masses_broadcast_and_depend_on_the_ratio_of_lengths_alone(mass, shape):
    radii, strengths = np.array([[0.5], [1.4]]), np.array([1.0, 2.0, 4.0])
    table = mass(radii, strengths, dimension=5, shape=shape)
    assert table.shape == (2, 3)
    for (i, j), value in np.ndenumerate(table):
        ratio = radii[i, 0] / strengths[j]
        assert value == mass(ratio, 1.0, dimension=5, shape=shape)
    assert np.ndim(mass(0.5, 1.0, dimension=5, shape=shape)) == 0


def test_boxes_apart_have_no_share():
    assert log_volume_ratio(0.5, 1.0, dimension=3, offset=1.5) == -np.inf
    assert log_volume_ratio(0.5, 1.0, dimension=3, offset=[0.0, 9.0, 0.0]) == -np.inf
    assert log_volume_ratio(0.5, 1.0, dimension=10**9, offset=1e200) == -np.inf
    assert log_normal_mass(0.5, 1.0, dimension=10**9, offset=1e200) == -np.inf


@pytest.mark.parametrize("m", [2, 3])
def test_shares_of_moved_boxes_match_samples(m):
    offset = np.array([0.4, -0.8, 0.1])[:m]
    noise = np.random.default_rng(5).uniform(-1.0, 1.0, (200_000, m))
    inside = np.all(np.abs(noise - offset) < 0.7, axis=1).astype(float)
    right = float(np.exp(log_volume_ratio(0.7, 1.0, dimension=m, offset=offset)))
    assert_mean(inside, right)
    with pytest.raises(AssertionError, match="beyond"):  # as if the box did not stick out
        assert_mean(inside, 0.7**m)


# -------------------------------------------------------------------------------------------- balls


@pytest.mark.parametrize(
    ("m", "printed", "digits"),
    [(2, -0.2416, 4), (10, -5.995, 3), (100, -160.556, 3), (10**6, -6181971.406, 3)],
)
def test_the_ball_that_touches_the_box_has_its_volume(m, printed, digits):
    with mp.workdps(40):
        s = mp.mpf(m) / 2
        exact = s * mp.log(mp.pi) - mp.loggamma(s + 1) - m * mp.log(2)
    got = float(log_volume_ratio(1.0, 1.0, dimension=m, shape="ball"))
    assert got == pytest.approx(float(exact), rel=1e-15, abs=1e-13)
    assert round(got, digits) == printed
    if m >= 100:
        stirling = 0.5 * m * np.log(np.pi * np.e / (2 * m)) - 0.5 * np.log(np.pi * m)
        assert got == pytest.approx(stirling, abs=0.2 / m + 1e-14 * abs(got))


@given(st.floats(1e-3, 1.0), DIMENSIONS)
@example(1.0, 10**9)
@example(0.5, 99)
@example(0.5, 100)
@example(0.5, 101)
def test_inner_balls_match_40_digits(radius, m):
    with mp.workdps(40):
        s = mp.mpf(m) / 2
        exact = s * mp.log(mp.pi) - mp.loggamma(s + 1) + m * mp.log(mp.mpf(radius) / 2)
    got = log_volume_ratio(radius, 1.0, dimension=m, shape="ball")
    assert abs(got - float(exact)) <= 1e-11 + 1e-15 * max(m, abs(float(exact)))


def test_balls_on_the_line_are_intervals():
    radii = np.array([0.2, 0.99, 1.0, 1.01, 7.0])
    for mass in (log_volume_ratio, log_normal_mass):
        interval, ball = (mass(radii, 1.0, dimension=1, shape=s) for s in ("box", "ball"))
        np.testing.assert_allclose(ball, interval, rtol=1e-13, atol=1e-15)


@given(st.floats(1.0, 1.4142))
@example(1.0 + 1e-9)
@example(1.41421356)
def test_disks_that_stick_out_match_quadrature(radius):
    got = float(np.exp(log_volume_ratio(radius, 1.0, dimension=2, shape="ball")))
    assert got == pytest.approx(pair_share(radius**2), abs=1e-11)


@pytest.mark.parametrize("x", [1.01, 1.3, 1.9999, 2.0, 2.0001, 2.6, 2.97])
def test_spheres_that_stick_out_match_double_quadrature(x):
    def height(v, u):
        return np.sqrt(np.clip(x - u * u - v * v, 0.0, 1.0))

    naive = dblquad(height, 0.0, 1.0, 0.0, 1.0, epsabs=1e-6)[0]
    got = float(np.exp(log_volume_ratio(np.sqrt(x), 1.0, dimension=3, shape="ball")))
    assert got == pytest.approx(naive, abs=1e-5)
    assert got == pytest.approx(share_table(3, x), abs=1e-9)


@pytest.mark.parametrize("x", [1.05, 1.3333, 1.34, 2.2, 3.5, 3.97])
def test_four_dimensions_match_nested_quadrature(x):
    def density(y):  # of u² + v²: half the angle that lies inside the square
        return 0.25 * np.pi - (np.arccos(1.0 / np.sqrt(y)) if y > 1.0 else 0.0)

    def share(y):
        return 1.0 if y >= 2.0 else 0.0 if y <= 0.0 else pair_share(y)

    edges = sorted({0.0, min(x, 2.0), *(e for e in (1.0, x - 1.0, x - 2.0) if 0.0 < e < min(x, 2))})
    expected = sum(
        quad(lambda y: density(y) * share(x - y), low, high, epsabs=1e-11, limit=200)[0]
        for low, high in itertools.pairwise(edges)
    )
    got = float(np.exp(log_volume_ratio(np.sqrt(x), 1.0, dimension=4, shape="ball")))
    assert got == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("m", [5, 6, 7, 8, 20, 100, 400])
def test_balls_that_stick_out_match_the_exact_sum_over_frequencies(m):
    x = np.concatenate([np.linspace(1.0001, m - 1e-3, 15), m / 3 + np.array([-1e-3, 0.0, 1e-3])])
    got = np.exp(log_volume_ratio(np.sqrt(x), 1.0, dimension=m, shape="ball"))
    np.testing.assert_allclose(got, ball_shares(x, m), rtol=0, atol=3e-12)


@pytest.mark.parametrize(
    ("m", "x", "digits"),
    [
        (20, 1.02, 22),
        (20, 2.0, 20),
        (60, 1.5, 60),
        (60, 8.0, 40),
        (60, 19.9, 30),
        (60, 20.1, 30),
        (60, 33.0, 40),
        (200, 1.2, 190),
        (300, 30.0, 150),
        (300, 80.0, 40),
    ],
)
def test_deep_tails_match_many_digits(m, x, digits):
    with mp.workdps(digits):
        radius = np.sqrt(x)
        exact = float(mp.log(exact_ball_share(mp.mpf(float(radius)) ** 2, m, digits)))
    got = log_volume_ratio(radius, 1.0, dimension=m, shape="ball")
    assert got == pytest.approx(exact, rel=1e-13, abs=1e-12)


@pytest.mark.parametrize("m", [20, 100])
def test_balls_that_stick_out_match_samples(m):
    radius = np.sqrt(0.3 * m)
    noise = np.random.default_rng(m).uniform(-1.0, 1.0, (100_000, m))
    inside = (np.sum(noise**2, axis=1) < radius**2).astype(float)
    right = float(np.exp(log_volume_ratio(radius, 1.0, dimension=m, shape="ball")))
    assert_mean(inside, right)
    normal = float(np.exp(log_normal_mass(radius, 3**-0.5, dimension=m, shape="ball")))
    with pytest.raises(AssertionError, match="beyond"):  # noise of the same variance
        assert_mean(inside, normal)


def test_the_saddle_point_formula_is_off_where_samples_say_so():
    exact = float(log_volume_ratio(np.sqrt(5.0), 1.0, dimension=20, shape="ball"))
    assert exact == pytest.approx(float(mp.log(exact_ball_share(5.0, 20, 20))), abs=1e-12)
    assert round(exact, 2) == -2.26
    assert round(saddlepoint_log_share(5.0, 20), 2) == -1.97


@pytest.mark.parametrize("m", [2, 3, 4, 5, 30, 1000, 10**6, 10**9])
def test_shares_are_continuous_where_the_ball_leaves_the_box(m):
    delta = 1e-12
    below, at, above = (
        log_volume_ratio(r, 1.0, dimension=m, shape="ball") for r in (1 - delta, 1.0, 1 + delta)
    )
    tolerance = 1e-11 + 1e-15 * abs(at)
    assert above - below == pytest.approx(2.0 * m * delta, abs=3.0 * tolerance)
    assert at - below == pytest.approx(m * delta, abs=3.0 * tolerance)


@pytest.mark.parametrize("m", [2, 3, 4, 5])
def test_what_is_missing_near_the_corners_is_a_simplex(m):
    """Around a corner Σ(1 - u²) = δ is 2Σ(1 - u) = δ to leading order: δ^m/(2^m m!)."""
    for delta in (0.1, 0.05):
        share = log_volume_ratio(np.sqrt(m - delta), 1.0, dimension=m, shape="ball")
        missing = -np.expm1(share) / (delta**m / (2.0**m * np.exp(gammaln(m + 1))))
        assert 1.0 < missing < 1.0 + delta
    assert log_volume_ratio(np.sqrt(m) * (1 + 1e-15), 1.0, dimension=m, shape="ball") == 0.0
    assert log_volume_ratio(1e6, 1.0, dimension=m, shape="ball") == 0.0


@given(st.integers(1, 200), st.floats(0.5, 15.0), st.floats(1e-6, 0.1))
@example(4, 1.0, 1e-6)
@example(4, np.sqrt(4 / 3), 1e-6)
def test_shares_rise_with_the_radius_and_fall_with_the_dimension(m, radius, step):
    share = log_volume_ratio(radius, 1.0, dimension=m, shape="ball")
    assert share <= 0.0
    assert log_volume_ratio(radius + step, 1.0, dimension=m, shape="ball") >= share - 1e-12
    assert log_volume_ratio(radius, 1.0, dimension=m + 1, shape="ball") <= share + 1e-12


@pytest.mark.parametrize("m", [100, 10**4, 10**6, 10**9])
@pytest.mark.parametrize("fraction", [0.05, 0.15, 0.25])
def test_large_dimensions_match_the_saddle_point_formula(m, fraction):
    x = fraction * m
    deviations = (1 / 3 - fraction) * np.sqrt(m / (4 / 45))
    got = log_volume_ratio(np.sqrt(x), 1.0, dimension=m, shape="ball")
    assert got == pytest.approx(
        saddlepoint_log_share(x, m), rel=4e-15, abs=2.0 / deviations**2 + 1e-15 * m
    )


def test_the_saddle_point_formula_nearly_gives_the_exact_ball():
    exact = log_volume_ratio(1.0, 1.0, dimension=100, shape="ball")
    assert 1e-3 < abs(saddlepoint_log_share(1.0, 100) - exact) < 2e-3


@pytest.mark.parametrize(("m", "allowed"), [(10**4, 1e-4), (10**6, 1e-6), (10**9, 1e-8)])
def test_large_dimensions_are_normal_near_the_mean(m, allowed):
    """Edgeworth: Φ(z) - γ φ(z)(z² - 1)/(6 √m), γ the skewness of a square."""
    skewness = (1 / 7 - 3 * (1 / 5) * (1 / 3) + 2 * (1 / 3) ** 3) / (4 / 45) ** 1.5
    z = np.linspace(-3.0, 3.0, 13)
    x = m / 3 + z * np.sqrt(m * 4 / 45)
    z = (x - m / 3) / np.sqrt(m * 4 / 45)
    density = np.exp(-0.5 * z * z) / np.sqrt(2.0 * np.pi)
    expected = ndtr(z) - skewness * density * (z * z - 1.0) / (6.0 * np.sqrt(m))
    got = np.exp(log_volume_ratio(np.sqrt(x), 1.0, dimension=m, shape="ball"))
    np.testing.assert_allclose(got, expected, rtol=0, atol=allowed)
    assert np.max(np.abs(got - ndtr(z))) > allowed  # the skewness is needed


@given(st.floats(0.02, 4.0), st.one_of(st.integers(1, 60), st.sampled_from([1000, 10**5])))
@example(0.1, 10**5)
@example(0.999, 10**5)
@example(1.001, 10**5)
def test_normal_mass_in_balls_matches_40_digits(relative_radius, m):
    radius = relative_radius * np.sqrt(m)
    with mp.workdps(60):
        s, x = mp.mpf(m) / 2, mp.mpf(float(radius)) ** 2 / 2
        # Kummer: P(s, x) = x^s e^-x/Γ(s + 1) 1F1(1; s + 1; x); far out from the other tail.
        if x < s + 12 * mp.sqrt(s) + 12:
            exact = s * mp.log(x) - x - mp.loggamma(s + 1) + mp.log(mp.hyp1f1(1, s + 1, x))
        else:
            exact = mp.mpf(0)
    got = log_normal_mass(radius, 1.0, dimension=m, shape="ball")
    assert got == pytest.approx(float(exact), rel=1e-13, abs=1e-9 if exact == 0 else 1e-12)


def test_normal_mass_in_balls_of_a_billion_dimensions():
    """The series Σ Π x/(s + j) is 1/(1 - x/s) (1 - x/(s² (1 - x/s)²) + ...) for large s."""
    m = 10**9
    for relative_radius in (0.5, 0.99):
        got = log_normal_mass(relative_radius * np.sqrt(m), 1.0, dimension=m, shape="ball")
        with mp.workdps(60):
            s = mp.mpf(m) / 2
            x = mp.mpf(float(relative_radius * np.sqrt(m))) ** 2 / 2
            rest = 1 - x / s
            log_series = mp.log(1 - x / s**2 / rest**2) - mp.log(rest)
            expected = s * mp.log(x) - x - mp.loggamma(s + 1) + log_series
        assert got == pytest.approx(float(expected), rel=1e-14, abs=1e-15 * m)


# ----------------------------------------------------------------------------------- error messages


@MASSES
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": 0.0}, "radius must be positive, got 0"),
        ({"radius": [1.0, -2.0]}, "radius must be positive, got -2"),
        ({"radius": np.nan}, "radius has NaN"),
        ({"radius": "wide"}, "radius must be an array of numbers"),
        ({"strength": 0.0}, "strength must be positive, got 0"),
        ({"strength": np.inf}, "strength has NaN or infinite"),
        ({"dimension": 0}, "dimension must be an integer of at least 1, got 0"),
        ({"dimension": 2.5}, r"dimension must be an integer of at least 1, got 2\.5"),
        ({"dimension": True}, "dimension must be an integer of at least 1, got True"),
        ({"dimension": "3"}, "dimension must be an integer of at least 1, got '3'"),
        ({"shape": "sphere"}, "shape must be one of box, ball, got 'sphere'"),
        ({"offset": np.nan}, "offset has NaN"),
        ({"offset": [0.1, 0.2]}, r"offset must be a number or have shape \(3,\), got \(2,\)"),
        ({"offset": [[0.1, 0.2, 0.3]]}, r"have shape \(3,\), got \(1, 3\)"),
        ({"dimension": 10**9, "offset": [0.1, 0.2]}, r"shape \(1000000000,\), got \(2,\)"),
        ({"shape": "ball", "offset": 0.1}, "offset must be 0 for a ball"),
        ({"shape": "ball", "offset": [0.0, 0.0, 0.1]}, "offset must be 0 for a ball"),
    ],
)
def test_masses_reject_what_they_cannot_take(mass, change, message):
    arguments = {"radius": 0.5, "strength": 1.0, "dimension": 3} | change
    radius, strength = arguments.pop("radius"), arguments.pop("strength")
    with pytest.raises(ValueError, match=message):
        mass(radius, strength, **arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shell_thickness(0.0, dimension=3), "share must be between 0 and 1, got 0"),
        (lambda: shell_thickness([0.5, 1.5], dimension=3), "between 0 and 1, got 1.5"),
        (lambda: shell_thickness(0.5, dimension=0), "dimension must be an integer"),
        (lambda: noise_norms(0.0, dimension=3), "strength must be positive"),
        (lambda: noise_norms(1.0, dimension=2.0), "dimension must be an integer"),
        (
            lambda: noise_norms(1.0, dimension=2, noise="cauchy"),
            "noise must be one of uniform, normal, got 'cauchy'",
        ),
        (lambda: log_deviation_bound(0.0, 1.0, lipschitz=1.0), "deviation must be positive"),
        (lambda: log_deviation_bound(1.0, -1.0, lipschitz=1.0), "strength must be positive"),
        (lambda: log_deviation_bound(1.0, 1.0, lipschitz=np.nan), "lipschitz has NaN"),
        (lambda: quadratic_noise([1.0, np.inf], 1.0), "curvatures has NaN or infinite"),
        (lambda: quadratic_noise(1.0, 1.0), "curvatures must have 1 dimensions"),
        (lambda: quadratic_noise([1.0], 0.0), "strength must be positive"),
        (lambda: quadratic_noise([1.0], 1.0, noise="t"), "noise must be one of"),
        (lambda: quadratic_noise([1.0], 1.0, draws=0), "draws must be an integer"),
    ],
    ids=itertools.count(),
)
def test_the_other_functions_reject_what_they_cannot_take(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ---------------------------------------------------------------------------- shells, concentration


@given(st.floats(1e-12, 1.0 - 1e-12), DIMENSIONS)
def test_the_shell_holds_its_share(share, m):
    with mp.workdps(40):
        exact = 1 - (1 - mp.mpf(share)) ** (mp.mpf(1) / m)
    assert float(shell_thickness(share, dimension=m)) == pytest.approx(float(exact), rel=1e-14)


def test_printed_shells_and_dimensions():
    halves = [shell_thickness(0.5, dimension=m) for m in (10, 10**3, 10**6, 10**9)]
    assert [f"{float(each):.3g}" for each in halves] == [
        "0.067",
        "0.000693",
        "6.93e-07",
        "6.93e-10",
    ]
    assert shell_thickness(0.99, dimension=10**6) == pytest.approx(4.6e-6, rel=2e-3)
    for radius, needed in ((0.5, 10), (0.9, 66), (0.99, 688), (0.999, 6905)):
        shares = [log_volume_ratio(radius, 1.0, dimension=m) for m in (needed - 1, needed)]
        assert shares[0] > np.log(1e-3) >= shares[1]


def mean_norm_by_distribution(m):
    """E R = √m - ∫ P(R < r) dr."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    r = 0.5 * np.sqrt(m) * (nodes + 1.0)
    return float(np.sqrt(m) * (1.0 - 0.5 * weights @ ball_shares(r * r, m)))


@pytest.mark.parametrize(
    ("m", "mean"),
    [
        (1, 0.5),
        (2, (np.sqrt(2.0) + np.arcsinh(1.0)) / 3.0),
        (3, np.sqrt(3.0) / 4.0 - np.pi / 24.0 + 0.5 * np.log(2.0 + np.sqrt(3.0))),
        (20, None),
        (150, None),
    ],
)
def test_mean_norms_of_uniform_noise(m, mean):
    norms = noise_norms(2.0, dimension=m)
    mean = mean_norm_by_distribution(m) if mean is None else mean
    assert norms.mean == pytest.approx(2.0 * mean, rel=1e-11)
    assert norms.standard_deviation == pytest.approx(2.0 * np.sqrt(m / 3 - mean**2), rel=1e-9)
    assert norms.mean_square == pytest.approx(4.0 * m / 3)
    assert norms.variance_of_square == pytest.approx(16.0 * 4.0 * m / 45.0)
    largest = quad(lambda r: m * r**m, 0.0, 1.0, epsabs=1e-13)[0]
    assert norms.mean_largest == pytest.approx(2.0 * largest, rel=1e-11)


@pytest.mark.parametrize("m", [1, 3, 1000, 1001, 10**5, 10**9])
def test_norms_of_normal_noise(m):
    norms = noise_norms(0.5, dimension=m, noise="normal")
    with mp.workdps(50):
        s = mp.mpf(m) / 2
        mean = mp.sqrt(2) * mp.exp(mp.loggamma(s + 0.5) - mp.loggamma(s))
        deviation = mp.sqrt(m - mean**2)
    assert norms.mean == pytest.approx(0.5 * float(mean), rel=1e-12)
    assert norms.standard_deviation == pytest.approx(0.5 * float(deviation), rel=1e-9)
    assert norms.mean_square == pytest.approx(0.25 * m)
    assert norms.variance_of_square == pytest.approx(0.0625 * 2.0 * m)
    scale = np.sqrt(2.0 * np.log(m + 1.0)) + 12.0
    tail = [
        quad(lambda x: -np.expm1(m * np.log1p(-2.0 * ndtr(-x))), low, high, epsabs=1e-12)[0]
        for low, high in itertools.pairwise(np.linspace(0.0, scale, 9))
    ]
    assert norms.mean_largest == pytest.approx(0.5 * sum(tail), rel=1e-9)


@pytest.mark.parametrize("m", [1000, 1001, 4000])
def test_norms_of_uniform_noise_in_many_dimensions_match_40_digits(m):
    """E √X = ∫ (1 - E exp(-s X)) s^-3/2 ds/(2√π), in panels of ln s."""
    with mp.workdps(40):

        def integrand(log_s):
            s = mp.exp(log_s)
            one = mp.erf(mp.sqrt(s)) * mp.sqrt(mp.pi / s) / 2
            return (1 - one**m) * mp.exp(-log_s / 2) / (2 * mp.sqrt(mp.pi))

        center = -mp.log(mp.mpf(m) / 3)
        step = mp.mpf(1) / 8
        terms = (integrand(center + k * step) for k in range(-520, 521))
        mean = step * mp.fsum(terms)
        deviation = mp.sqrt(mp.mpf(m) / 3 - mean**2)
    norms = noise_norms(1.0, dimension=m)
    assert norms.mean == pytest.approx(float(mean), rel=1e-12)
    assert norms.standard_deviation == pytest.approx(float(deviation), rel=1e-9)


def test_norms_concentrate_as_printed():
    noise = np.random.default_rng(7).uniform(-1.0, 1.0, (40_000, 100))
    lengths, norms = np.linalg.norm(noise, axis=1), noise_norms(1.0, dimension=100)
    assert_mean(lengths, norms.mean)
    assert_mean((lengths - norms.mean) ** 2, norms.standard_deviation**2)
    assert_mean(np.max(np.abs(noise), axis=1), norms.mean_largest)
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(lengths, np.sqrt(100 / 3))
    assert norms.mean == pytest.approx(np.sqrt(100 / 3) * (1.0 - 1e-3), rel=1e-5)
    for m in (10**4, 10**9):
        far = noise_norms(1.0, dimension=m)
        assert far.standard_deviation == pytest.approx(15**-0.5, rel=1.0 / m + 1e-9)
        assert m * (1.0 - far.mean_largest) == pytest.approx(1.0, rel=2.0 / m + 1e-6)
        normal = noise_norms(3**-0.5, dimension=m, noise="normal")
        assert normal.standard_deviation == pytest.approx(0.408, rel=1e-3)


def largest_slope_of_the_map():
    """Of z → 2Φ(z) - 1, which makes uniform numbers on [-1, 1] of normal ones."""
    z = np.linspace(-1.0, 1.0, 2001)
    return float(np.max(np.diff(2.0 * ndtr(z)) / np.diff(z)))


def test_the_deviation_bound_is_that_of_a_lipschitz_map_of_normal_noise():
    t, a, lipschitz = np.array([0.1, 1.0, 3.0]), 0.7, 1.3
    spread = a * lipschitz * largest_slope_of_the_map()
    normal_bound = np.log(2.0) - t**2 / (2.0 * spread**2)
    got = log_deviation_bound(t, a, lipschitz=lipschitz)
    np.testing.assert_allclose(got, normal_bound, rtol=1e-6, atol=1e-6)


LIPSCHITZ = {
    "one coordinate": lambda noise: noise[:, 0],
    "mean": lambda noise: np.sum(noise, axis=1) / np.sqrt(noise.shape[1]),
    "length": lambda noise: np.linalg.norm(noise, axis=1),
    "largest": lambda noise: np.max(noise, axis=1),
    "distance": lambda noise: np.linalg.norm(noise - 1.0, axis=1),
}


@pytest.mark.parametrize("name", LIPSCHITZ)
@pytest.mark.parametrize("m", [1, 2, 30])
def test_the_deviation_bound_holds_for_samples(name, m):
    values = LIPSCHITZ[name](np.random.default_rng(m).uniform(-2.0, 2.0, (100_000, m)))
    t = np.linspace(0.2, 4.0, 20)
    deviations = np.abs(values - np.mean(values))
    frequencies = np.mean(deviations > t[:, None], axis=1)
    bound = np.exp(log_deviation_bound(t, 2.0, lipschitz=1.0))
    assert np.all(frequencies <= bound + 5.0 * np.sqrt(bound / 100_000))
    if (name, m) == ("mean", 30):  # nearly normal: a constant half as large is too small
        wrong = np.exp(log_deviation_bound(t, 2.0, lipschitz=0.5))
        assert np.any(frequencies > wrong + 5.0 * np.sqrt(wrong / 100_000))


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_quadratics_under_noise_match_quadrature_and_samples(noise):
    curvatures, strength = np.array([3.0, -1.0, 0.5, 8.0]), 0.4
    if noise == "uniform":
        moments = [
            quad(lambda u, k=k: u**k, -strength, strength)[0] / (2 * strength) for k in (2, 4)
        ]
        draws = np.random.default_rng(3).uniform(-strength, strength, (100_000, 3, 4))
    else:
        moments = [strength**2, 3.0 * strength**4]
        draws = np.random.default_rng(3).normal(0.0, strength, (100_000, 3, 4))
    got = quadratic_noise(curvatures, strength, noise=noise)
    assert got.mean == pytest.approx(0.5 * moments[0] * np.sum(curvatures), rel=1e-12)
    variance = 0.25 * (moments[1] - moments[0] ** 2) * np.sum(curvatures**2)
    assert got.standard_deviation**2 == pytest.approx(variance, rel=1e-12)
    three = quadratic_noise(curvatures, strength, noise=noise, draws=3)
    losses = np.mean(0.5 * draws**2 @ curvatures, axis=1)
    assert_mean(losses, three.mean)
    assert_mean((losses - three.mean) ** 2, three.standard_deviation**2)
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean((losses - three.mean) ** 2, got.standard_deviation**2)


def test_one_draw_knows_a_quadratic_of_many_curvatures():
    curvatures = np.random.default_rng(0).exponential(size=500)
    mean, spread = quadratic_noise(curvatures, 0.3)
    ratio = np.sqrt(np.sum(curvatures**2)) / np.sum(curvatures)
    assert round(spread / mean / ratio, 3) == 0.894


# --------------------------------------------------------------------- uniform against normal noise


def test_the_crossover_and_the_printed_masses():
    with mp.workdps(30):
        root = mp.findroot(lambda x: mp.erf(mp.sqrt(mp.mpf(3) / 2) * x) - x, 0.87)
    assert noise_crossover() == pytest.approx(float(root), rel=1e-14)
    assert round(noise_crossover(), 5) == 0.86668
    assert round(float(np.exp(log_normal_mass(1.0, 3**-0.5, dimension=1))), 4) == 0.9167
    for radius, uniform, normal in ((0.5, -301, -212), (0.9, -45.8, -55.0), (0.99, -4.4, -39.2)):
        logs = (
            log_volume_ratio(radius, 1.0, dimension=1000),
            log_normal_mass(radius, 3**-0.5, dimension=1000),
        )
        np.testing.assert_allclose(np.divide(logs, np.log(10.0)), [uniform, normal], atol=0.25)


@given(st.floats(0.01, 1.0), st.integers(1, 10**9))
def test_narrow_wells_lose_more_to_uniform_noise_and_wide_ones_to_normal_noise(relative_width, m):
    uniform = log_volume_ratio(relative_width, 1.0, dimension=m)
    normal = log_normal_mass(relative_width, 3**-0.5, dimension=m)
    if abs(relative_width - noise_crossover()) > 1e-9:
        assert (uniform < normal) == (relative_width < noise_crossover())


def test_the_generating_function_by_two_routes():
    """Dawson's integral against quadrature: what the upper tail of balls rests on."""
    for t in (0.3, 4.0, 30.0):
        expected = quad(lambda u, t=t: np.exp(t * (u * u - 1.0)), 0.0, 1.0)[0]
        assert dawsn(np.sqrt(t)) / np.sqrt(t) == pytest.approx(expected, rel=1e-12)
