"""Profiles and their means over noise by 40 digits, rules and samples; kernels under Numba."""

from itertools import pairwise

import mpmath as mp
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.stat_asserts import assert_mean
from theory._landscapes_smoothing import log_gaussian_mean
from theory.landscapes import (
    AbsoluteValue,
    BoxWell,
    Cosine,
    GaussianWell,
    Hinge,
    LaplaceWell,
    LogWell,
    LorentzWell,
    Parabola,
    Polynomial,
    SechWell,
    Sigmoid,
    Softplus,
    VWell,
    rastrigin,
    stationary_points,
)

# The profiles from their docstrings and, for chords, their slopes; in any number of digits.
EXACT = {
    AbsoluteValue: (abs, mp.sign),
    Hinge: (lambda u: max(u, mp.mpf(0)), lambda u: (1 + mp.sign(u)) / 2),
    BoxWell: (lambda u: -mp.mpf(abs(u) <= 1), lambda u: mp.mpf(0)),
    VWell: (lambda u: -max(1 - abs(u), mp.mpf(0)), lambda u: mp.sign(u) * (abs(u) < 1)),
    GaussianWell: (lambda u: -mp.exp(-u * u / 2), lambda u: u * mp.exp(-u * u / 2)),
    LorentzWell: (lambda u: -1 / (1 + u * u), lambda u: 2 * u / (1 + u * u) ** 2),
    LaplaceWell: (lambda u: -mp.exp(-abs(u)), lambda u: mp.sign(u) * mp.exp(-abs(u))),
    LogWell: (lambda u: mp.log1p(u * u), lambda u: 2 * u / (1 + u * u)),
    SechWell: (lambda u: -(mp.sech(u) ** 2), lambda u: 2 * mp.tanh(u) * mp.sech(u) ** 2),
    Sigmoid: (lambda u: 1 / (1 + mp.exp(-u)), lambda u: mp.sech(u / 2) ** 2 / 4),
    Softplus: (lambda u: mp.log1p(mp.exp(u)), lambda u: 1 / (1 + mp.exp(-u))),
}
PROFILES = list(EXACT)
SLOPES = (Hinge, Sigmoid, Softplus)

profiles = pytest.mark.parametrize("kind", PROFILES, ids=lambda kind: kind.__name__)


def derivatives(landscape, x):
    return np.array([landscape.value(x), landscape.gradient(x), landscape.hessian(x)])


# --------------------------------------------------------------------------- profiles, unsmoothed


@profiles
def test_profiles_match_40_digits(kind):
    well = kind(width=0.5, center=-1.0)
    for u in (-20.0, -1.7, -0.3, 0.45, 0.9, 2.5, 20.0):
        with mp.workdps(60):
            exact, h = EXACT[kind][0], mp.mpf(10) ** -15
            value, left, right = (exact(mp.mpf(u) + s * h) for s in (0, -1, 1))
            expected = [value, (right - left) / h, 4 * (right - 2 * value + left) / h**2]
        np.testing.assert_allclose(
            derivatives(well, 0.5 * u - 1.0), [float(e) for e in expected], rtol=1e-13, atol=1e-300
        )


def test_gradients_at_kinks_are_mean_slopes():
    assert [float(VWell().gradient(x)) for x in (-1.0, 0.0, 1.0)] == [-0.5, 0.0, 0.5]
    assert float(Hinge(width=2.0).gradient(0.0)) == 0.25
    assert float(AbsoluteValue().gradient(0.0)) == float(LaplaceWell().gradient(0.0)) == 0.0
    assert float(LaplaceWell().hessian(0.0)) == -1.0
    assert np.all(BoxWell().gradient([-1.0, 0.0, 1.0]) == 0.0)
    assert float(BoxWell().value(1.0)) == -1.0


@profiles
def test_moved_profiles(kind):
    well, x = kind(width=2.0, center=1.0), np.linspace(-7.0, 7.0, 29)
    for landscape in (well, well.smoothed(0.75), well.smoothed(0.75, noise="normal")):
        copy, factors = landscape.moved(shift=3.0, stretch=0.5), 2.0 ** np.arange(3.0)
        np.testing.assert_allclose(
            derivatives(copy, 0.5 * x + 3.0),
            factors[:, None] * derivatives(landscape, x),
            rtol=1e-13,
            atol=1e-14,
        )
    assert well.moved(shift=3.0, stretch=0.5).minima.tolist() == ([] if kind in SLOPES else [3.5])


# ---------------------------------------------------------------------------- means over noise


def quadrature(lower, upper, scale, centers):
    """Points and weights by Gauss and Legendre on panels that grow away from the kinks."""
    edges = {lower, upper} | {c + scale * j for c in centers for j in range(-12, 13)}
    steps = [min(scale, mp.mpf(1)) / 2 * 2**j for j in range(50)]
    kinks = (-1, 0, 1, lower, upper)
    edges |= {k + s * step for k in kinks for step in steps for s in (-1, 0, 1)}
    edges = sorted(e for e in edges if lower <= e <= upper)
    rule = mp.calculus.quadrature.GaussLegendre(mp.mp).calc_nodes(3, mp.mp.prec)
    for left, right in pairwise(edges):
        half = (right - left) / 2
        for t, weight in rule:
            yield (left + right) / 2 + half * t, half * weight


def exact_uniform(kind, u, a):
    value, slope = EXACT[kind]
    total = mp.fsum(w * value(t) for t, w in quadrature(u - a, u + a, a, [u - a, u + a]))
    return [e / (2 * a) for e in (total, value(u + a) - value(u - a), slope(u + a) - slope(u - a))]


def exact_normal(kind, u, s):
    """Derivatives are moved to the density, which serves jumps and kinks as well."""
    value, totals = EXACT[kind][0], [mp.mpf(0)] * 3
    sides = [u + k * s * s * sign for k in (0, 1, 2) for sign in (-1, 1)]
    for t, weight in quadrature(u - 44 * s, u + 44 * s, s, sides):
        z = (t - u) / s
        mass = weight * value(t) * mp.npdf(z) / s
        for k, factor in enumerate((1, z / s, (z * z - 1) / s**2)):
            totals[k] += mass * factor
    return totals


def points(strength):
    return (0.4, 1.125 + 6.0 * strength, -(0.75 * strength + 0.125))


@profiles
@pytest.mark.parametrize("strength", [1e-6, 0.8, 2.5, 40.0, 1e6])
def test_means_over_uniform_noise_match_30_digits(kind, strength):
    smoothed = kind().smoothed(strength)
    for u in points(strength):
        with mp.workdps(110):
            expected = [float(e) for e in exact_uniform(kind, mp.mpf(u), mp.mpf(strength))]
        np.testing.assert_allclose(derivatives(smoothed, u), expected, rtol=1e-12, atol=1e-300)


@profiles
@pytest.mark.parametrize(("strength", "u"), [(0.7, 5.0), (2.5, -2.0)])
def test_means_over_normal_noise_match_30_digits(kind, strength, u):
    with mp.workdps(30):
        expected = [float(e) for e in exact_normal(kind, mp.mpf(u), mp.mpf(strength))]
    smoothed = kind().smoothed(strength, noise="normal")
    np.testing.assert_allclose(derivatives(smoothed, u), expected, rtol=2e-12)


@profiles
@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_weak_noise_changes_nothing_off_the_kinks(kind, noise):
    x = np.array([-6.0, -1.7, 0.4, 2.5, 6.0])
    smoothed = kind().smoothed(1e-7, noise=noise)
    np.testing.assert_allclose(derivatives(smoothed, x), derivatives(kind(), x), rtol=1e-12)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_a_kink_under_weak_noise_is_a_hinge(noise):
    z = np.array([-1.0, -0.5, 0.25, 4.0, 8.0]) if noise == "normal" else np.array([-0.5, 0.75])
    x, scale = 1.0 + 2.0**-20 * z, 2.0**-20
    hinge = derivatives(Hinge().smoothed(1.0, noise=noise), -z)
    for landscape, expected in ((VWell(), -hinge), (BoxWell(), None)):
        got = derivatives(landscape.smoothed(scale, noise=noise), x)
        if expected is None:
            np.testing.assert_allclose(got[:2], [-hinge[1], hinge[2] / scale], rtol=1e-12)
        else:
            factors = np.array([scale, -1.0, 1.0 / scale])[:, None]
            np.testing.assert_allclose(got, factors * expected, rtol=1e-12)


@profiles
@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_means_join_where_their_formulas_change(kind, noise):
    """Across strengths and places at which another formula takes over, nothing jumps."""
    for strength in (0.5, 1.0, 2.0, 0.08, 10.0):
        well = kind().smoothed(strength, noise=noise)
        next_well = kind().smoothed(strength * (1.0 + 1e-14), noise=noise)
        x = np.array([0.1, 0.35, 1.3, 4.6, 15.3])
        np.testing.assert_allclose(derivatives(next_well, x), derivatives(well, x), rtol=1e-10)


@profiles
@given(
    u=st.floats(-30.0, 30.0),
    exponent=st.floats(-6.0, 6.0),
    noise=st.sampled_from(["uniform", "normal"]),
)
def test_means_are_mirrored(kind, u, exponent, noise):
    """Wells are even; of the slopes, sigmoid + mirror image is 1, hinge and softplus add |u|."""
    well = kind().smoothed(10.0**exponent, noise=noise)
    right, left = derivatives(well, u), derivatives(well, -u) * [1.0, -1.0, 1.0]
    if kind is Sigmoid:
        left = [1.0, 0.0, 0.0] - left
    elif kind in SLOPES:
        left = left + np.array([u, 1.0, 0.0])
    np.testing.assert_allclose(right, left, rtol=1e-13, atol=1e-15 * (1.0 + abs(u)))


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_mean_over_samples(noise):
    rng, n = np.random.default_rng(7), 200_000
    theta = rng.uniform(-1.5, 1.5, n) if noise == "uniform" else 1.5 * rng.standard_normal(n)
    wells = 2.0 * VWell(width=0.7) + LogWell(center=1.0) + Cosine(wavelength=3.0)
    wrong = {"uniform": "normal", "normal": "uniform"}[noise]
    samples = wells.value(0.3 + theta)
    assert_mean(samples, float(wells.smoothed(1.5, noise=noise).value(0.3)))
    with pytest.raises(AssertionError, match="mean"):
        assert_mean(samples, float(wells.smoothed(1.5, noise=wrong).value(0.3)))


@given(st.floats(0.0, 40.0), st.floats(-6.0, 6.0))
def test_log_gaussian_mean_matches_80_digits(u, exponent):
    alpha = 10.0**exponent
    with mp.workdps(80):
        low, high = (mp.mpf(u) + s * mp.mpf(alpha) for s in (-1, 1))
        area = mp.erfc(low / mp.sqrt(2)) - mp.erfc(high / mp.sqrt(2))
        expected = float(mp.log(area * mp.sqrt(mp.pi / 8) / mp.mpf(alpha)))
    assert float(log_gaussian_mean(u, alpha)) == pytest.approx(expected, rel=1e-13, abs=0.0)


def test_log_gaussian_mean_where_it_underflows_or_is_nearly_zero():
    assert float(log_gaussian_mean(1e4, 1.0)) == pytest.approx(-0.5 * 9999.0**2, rel=1e-6)
    assert float(log_gaussian_mean(0.0, 1e-9)) == pytest.approx(-1e-18 / 6.0, rel=1e-14)
    assert log_gaussian_mean(np.zeros((2, 1)), np.ones(3)).shape == (2, 3)


# ------------------------------------------------------------------- closed under smoothing


@given(
    st.lists(st.floats(-3.0, 3.0), min_size=1, max_size=7),
    st.floats(-2.0, 2.0),
    st.floats(0.1, 3.0),
    st.sampled_from(["uniform", "normal"]),
)
def test_polynomials_by_gauss_rules(coefficients, x, strength, noise):
    landscape = Polynomial(coefficients=coefficients, center=0.5)
    rule = (
        np.polynomial.legendre.leggauss
        if noise == "uniform"
        else np.polynomial.hermite_e.hermegauss
    )
    nodes, weights = rule(8)
    theta, weights = strength * nodes, weights / np.sum(weights)
    exact = np.polynomial.Polynomial(coefficients)
    copies = [exact.deriv(k)(x + theta - 0.5) for k in range(3)]
    scale = sum(abs(c) * (2.5 + 5.0 * strength) ** k for k, c in enumerate(coefficients))
    np.testing.assert_allclose(
        derivatives(landscape.smoothed(strength, noise=noise), x),
        [copy @ weights for copy in copies],
        atol=1e-13 * 40.0 * scale,
    )
    moved = landscape.moved(shift=1.0, stretch=2.0)
    assert float(moved.value(2.0 * x + 1.0)) == pytest.approx(float(landscape.value(x)), abs=1e-9)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_ripples_and_gaussian_wells_by_quadrature(noise):
    theta = (
        np.linspace(-10.0, 10.0, 4001)
        if noise == "normal"
        else np.polynomial.legendre.leggauss(60)[0]
    )
    weights = (
        np.exp(-0.5 * theta**2) if noise == "normal" else np.polynomial.legendre.leggauss(60)[1]
    )
    for landscape in (Cosine(wavelength=2.5, center=0.3), GaussianWell(width=0.8, center=0.3)):
        expected = derivatives(landscape, 0.9 + 1.7 * theta) @ weights / np.sum(weights)
        smoothed = landscape.smoothed(1.7, noise=noise)
        np.testing.assert_allclose(derivatives(smoothed, 0.9), expected, rtol=1e-11)
    copy = Cosine(wavelength=2.5, center=0.3).moved(shift=1.0, stretch=2.0)
    assert float(copy.value(2.8)) == pytest.approx(float(np.cos(2 * np.pi * 0.6 / 2.5)))


def test_minima_of_polynomials():
    double = Polynomial(coefficients=[1.0, 0.0, -2.0, 0.0, 1.0], center=2.0)  # ((x - 2)² - 1)²
    np.testing.assert_allclose(double.minima, [1.0, 3.0], rtol=1e-12)
    np.testing.assert_allclose(double.smoothed(0.6).minima, [1.2, 2.8], rtol=1e-12)
    np.testing.assert_allclose(double.smoothed(1.001).minima, [2.0], rtol=1e-12)
    assert Polynomial(coefficients=[3.0]).minima.size == 0
    assert Polynomial(coefficients=[3.0, 1.0, 0.0]).minima.size == 0
    assert Polynomial(coefficients=[0.0, 0.0, 0.0, 0.0, 1.0]).minima.tolist() == [0.0]


# ---------------------------------------------------------------------------- minima that vanish


@pytest.mark.parametrize(
    ("strength", "count"),
    [(0.1, 13), (0.4, 13), (0.45, 7), (0.4885, 3), (0.4887, 1), (0.5, 1), (1.0, 1)],
)
def test_rastrigin_loses_its_minima(strength, count):
    minima = stationary_points(rastrigin(10.0).smoothed(strength), lower=-6.0, upper=6.0).minima
    assert len(minima) == count
    if count == 1:
        np.testing.assert_allclose(minima, 0.0, atol=1e-9)


def test_ripples_turn_upside_down():
    minima = stationary_points(rastrigin(10.0).smoothed(0.7), lower=-6.0, upper=6.0).minima
    assert len(minima) == 12
    assert np.all(np.abs(np.abs(minima) % 1.0 - 0.5) < 0.16)


def test_a_narrow_deep_well_vanishes_from_a_sum():
    wells = 2.0 * GaussianWell(center=-1.0, width=0.05) + VWell(center=1.0) + 0.1 * LogWell() + 3.0
    for noise in ("uniform", "normal"):
        before = stationary_points(wells.smoothed(0.01, noise=noise), lower=-6.0, upper=6.0)
        after = stationary_points(wells.smoothed(1.0, noise=noise), lower=-6.0, upper=6.0)
        assert np.min(np.abs(before.minima + 1.0)) < 0.01
        assert np.min(np.abs(after.minima + 1.0)) > 0.5


@profiles
def test_stationary_points_find_the_center(kind):
    for noise in ("uniform", "normal"):
        smoothed = kind(width=1e-3, center=0.1234).smoothed(4e-4, noise=noise)
        minima = stationary_points(smoothed, lower=-5.0, upper=5.0).minima
        np.testing.assert_allclose(minima, [] if kind in SLOPES else [0.1234], atol=1e-9)


# --------------------------------------------------------------------------------------- kernels


def assert_kernels_agree(landscape, compiler=None, atol=1e-13):
    kernels = landscape.kernels(compiler) if compiler else landscape.kernels()
    for x in (-3.1, -0.4, 0.0, 0.3, 1.05, 6.2):
        got = [kernel(x, landscape.parameters) for kernel in kernels]
        np.testing.assert_allclose(got, derivatives(landscape, x), rtol=1e-12, atol=atol)


@profiles
@pytest.mark.parametrize("strength", [0.02, 0.7, 9.0])
def test_kernels_of_smoothed_profiles(kind, strength):
    well = kind(width=1.25, center=0.1).smoothed(strength)
    assert_kernels_agree(well)
    assert_kernels_agree(well.moved(shift=1.0, stretch=3.0) + 2.0)


@profiles
def test_profiles_compile(kind):
    well = kind(width=0.7, center=0.1)
    gradient = well.kernels(numba.njit).gradient
    assert gradient(1.3, well.parameters) == pytest.approx(float(well.gradient(1.3)), rel=1e-14)


def test_smoothed_sums_compile():
    wells = (0.5 * VWell() + rastrigin(2.0)).smoothed(0.3)
    gradient = wells.kernels(numba.njit).gradient
    assert gradient(1.2, wells.parameters) == pytest.approx(float(wells.gradient(1.2)), rel=1e-13)
    wells = LorentzWell(width=0.1).smoothed(0.02)
    value = wells.kernels(numba.njit).value
    assert value(0.07, wells.parameters) == pytest.approx(float(wells.value(0.07)), rel=1e-13)


# ---------------------------------------------------------------------------------------- errors


@profiles
def test_profile_errors(kind):
    with pytest.raises(ValueError, match="width must be positive, got -1"):
        kind(width=-1.0)
    with pytest.raises(ValueError, match="center has NaN or infinite values"):
        kind(center=np.inf)
    with pytest.raises(ValueError, match="strength must be positive, got 0"):
        kind().smoothed(0.0)
    with pytest.raises(ValueError, match="noise must be one of uniform, normal, got 'cauchy'"):
        kind().smoothed(1.0, noise="cauchy")
    with pytest.raises(ValueError, match="x has NaN or infinite values"):
        kind().smoothed(1.0).value(np.nan)


def test_other_errors():
    with pytest.raises(ValueError, match="coefficients is empty"):
        Polynomial(coefficients=[])
    with pytest.raises(ValueError, match="coefficients has NaN or infinite values"):
        Polynomial(coefficients=[np.nan])
    with pytest.raises(ValueError, match="wavelength must be positive, got 0"):
        Cosine(wavelength=0.0)
    with pytest.raises(ValueError, match="amplitude must be positive, got -1"):
        rastrigin(-1.0)
    with pytest.raises(ValueError, match="has 1e\\+07 waves: too many to scan"):
        stationary_points(Cosine(wavelength=1e-6), lower=0.0, upper=10.0)
    with pytest.raises(TypeError, match="a VWell smoothed by normal noise has no kernels"):
        VWell().smoothed(1.0, noise="normal").kernels()
    with pytest.raises(TypeError, match="mean of a SmoothedProfile over uniform noise has no"):
        (VWell().smoothed(1.0) + Parabola(curvature=1.0)).smoothed(1.0)
