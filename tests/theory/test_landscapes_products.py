"""Landscapes in space by naive loops, tensor quadrature, 30 digits and Monte Carlo."""

from itertools import product as tuples
from math import prod

import mpmath as mp
import numba
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from stat_asserts import assert_mean

from theory.landscapes import (
    CoordinateProduct,
    CoordinateSum,
    CubeCone,
    DisjointProduct,
    DisjointSum,
    DoubleWell,
    FactorChain,
    LineWellMixture,
    Parabola,
    ProductWell,
    Quadratic,
)

DOUBLE_WELL = DoubleWell(barrier=0.7, half_width=1.2, tilt=0.3)
LINE = DOUBLE_WELL + Parabola(curvature=0.5, center=0.2)
BOWL = Quadratic(hessian_matrix=[[2.0, 0.5], [0.5, 1.0]], center=[0.3, -0.2])
WELL = ProductWell(center=[0.2, -0.4, 0.1], widths=[0.6, 1.5, 1.0], log_height=0.7)
CHAIN = FactorChain(depth=3, center=[0.1, -0.2, 0.3], width=1.3, variance=0.2)
SMOOTH = {
    "sum": CoordinateSum(line=LINE, centers=[0.3, -0.5, 1.0]),
    "product": CoordinateProduct(line=LINE, centers=[0.3, -0.5, 1.0]),
    "disjoint sum": DisjointSum([BOWL + 0.4, CoordinateSum(line=LINE, centers=[0.2])]),
    "disjoint product": DisjointProduct([BOWL + 0.4, CoordinateSum(line=LINE, centers=[0.2])]),
    "three blocks": DisjointProduct([FactorChain(depth=1)] * 3),
    "well": WELL,
    "chain": CHAIN,
    "long chain": FactorChain(depth=2),
}
CONES = {
    "cone": CubeCone(center=[0.2, -0.3, 0.1], width=1.4),
    "capped": CubeCone(center=[0.2, -0.3, 0.1], power=1.5, cap=0.9),
    "steep": CubeCone(center=[0.2, -0.3], width=0.7, power=3.0),
}
ALL = SMOOTH | CONES | {"smoothed well": WELL.smoothed(0.8)}
NOISES = ["uniform", "normal"]
landscapes = pytest.mark.parametrize("landscape", ALL.values(), ids=ALL)
smooth_landscapes = pytest.mark.parametrize("landscape", SMOOTH.values(), ids=SMOOTH)
cones = pytest.mark.parametrize("cone", CONES.values(), ids=CONES)
noises = pytest.mark.parametrize("noise", NOISES)


def points(landscape, n=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, landscape.dimension))


def differences(function, x, step=1e-5):
    """Central differences of a function of points by each coordinate, as the last axis."""
    steps = step * np.eye(len(x))
    return np.stack([(function(x + h) - function(x - h)) / (2 * step) for h in steps], axis=-1)


# --------------------------------------------------------------- values, slopes, kernels, copies


def naive_value(landscape, x):
    """C at one point from the formula in the docstring."""
    if isinstance(landscape, CoordinateSum | CoordinateProduct):
        factors = [float(landscape.line.value(a)) for a in x - landscape.centers]
        return sum(factors) if isinstance(landscape, CoordinateSum) else prod(factors)
    if isinstance(landscape, DisjointSum | DisjointProduct):
        n = landscape.blocks[0].dimension
        parts = [float(landscape.blocks[0].value(x[:n]))]
        for block in landscape.blocks[1:]:
            parts.append(float(block.value(x[n : n + block.dimension])))
            n += block.dimension
        return sum(parts) if isinstance(landscape, DisjointSum) else prod(parts)
    if isinstance(landscape, ProductWell):
        exponents = (x - landscape.center) ** 2 / (2 * landscape.widths**2)
        return -np.exp(landscape.log_height) * prod(np.exp(-exponents))
    if isinstance(landscape, FactorChain):
        u = (x - landscape.center) / landscape.width
        return prod(u**2 + landscape.variance) - 2 * prod(u) + 1
    radius = max(abs(x - landscape.center)) / landscape.width
    return min(radius, landscape.cap) ** landscape.power


@pytest.mark.parametrize("landscape", (SMOOTH | CONES).values(), ids=SMOOTH | CONES)
def test_values_are_those_of_the_formula(landscape):
    x = points(landscape, 50)
    expected = [naive_value(landscape, point) for point in x]
    np.testing.assert_allclose(landscape.value(x), expected, rtol=1e-12, atol=1e-13)


@landscapes
def test_slopes_are_differences(landscape):
    for x in points(landscape, 10):
        gradient, hessian = landscape.gradient(x), landscape.hessian(x)
        scale = 1.0 + np.max(np.abs(hessian))
        expected = differences(landscape.value, x)
        np.testing.assert_allclose(gradient, expected, rtol=1e-6, atol=1e-8 * scale)
        expected = differences(landscape.gradient, x)
        np.testing.assert_allclose(hessian, expected, rtol=1e-6, atol=1e-8 * scale)


@landscapes
def test_batches_are_points_one_by_one(landscape):
    x = points(landscape, 6).reshape(2, 3, -1)
    for name in ("value", "gradient", "hessian"):
        method = getattr(landscape, name)
        one_by_one = np.array([[method(point) for point in row] for row in x])
        np.testing.assert_allclose(method(x), one_by_one, rtol=1e-13, atol=1e-14)


@numba.njit
def over_points(function, parameters, x, out):
    for i in range(len(x)):
        out[i] = function(x[i], parameters)


@numba.njit
def gradients_over_points(function, parameters, x, weight, out):
    for i in range(len(x)):
        function(x[i], parameters, weight, out[i])


# Compiled: each kind of kernel once. Plain: everything.
COMPILED = ["sum", "product", "disjoint product", "disjoint sum", "chain", "cone", "smoothed well"]
KERNELS = [(name, numba.njit) for name in COMPILED] + [(name, None) for name in ALL]


@pytest.mark.parametrize(
    ("name", "compiler"), KERNELS, ids=[f"{name}-{'njit' if c else 'plain'}" for name, c in KERNELS]
)
def test_kernels_are_the_methods(name, compiler):
    landscape = ALL[name]
    x = points(landscape, 40)
    x[:3] *= np.array([0.0, 1e-3, 30.0])[:, None]  # tails, where the smoothed well underflows
    kernels = landscape.kernels(compiler) if compiler else landscape.kernels()
    over, adding = (f if compiler else f.py_func for f in (over_points, gradients_over_points))
    out, gradients = np.empty(len(x)), np.ones(x.shape)
    over(kernels.value, landscape.parameters, x, out)
    np.testing.assert_allclose(out, landscape.value(x), rtol=1e-12)
    adding(kernels.add_gradient, landscape.parameters, x, -0.5, gradients)
    expected = 1.0 - 0.5 * landscape.gradient(x)
    np.testing.assert_allclose(gradients, expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("half_width", [1e-4, 0.3, 2.0, 30.0])
def test_kernels_of_a_smoothed_well_at_any_distance(half_width):
    well = ProductWell(center=[0.0], log_height=2.0).smoothed(half_width)
    x = np.linspace(-1.3, 1.3, 27)[:, None] * (half_width + 25.0)
    kernels, gradient = well.kernels(), np.zeros((27, 1))
    value = [kernels.value(point, well.parameters) for point in x]
    np.testing.assert_allclose(value, well.value(x), rtol=3e-13)
    gradients_over_points.py_func(kernels.add_gradient, well.parameters, x, 1.0, gradient)
    np.testing.assert_allclose(gradient, well.gradient(x), rtol=3e-13)


def test_one_structure_is_compiled_once():
    other = DisjointProduct([Quadratic(hessian_matrix=[[3.0]]) + 1.0, SMOOTH["sum"]])
    assert other.kernels(numba.njit) == SMOOTH["disjoint product"].kernels(numba.njit)
    longer = CoordinateSum(line=DoubleWell() + Parabola(curvature=2.0), centers=np.zeros(7))
    assert longer.kernels(numba.njit) == SMOOTH["sum"].kernels(numba.njit)


@landscapes
def test_moved(landscape):
    shift, stretch = np.linspace(-1.0, 2.0, landscape.dimension), 1.7
    moved, x = landscape.moved(shift=shift, stretch=stretch), points(landscape)
    origin = (x - shift) / stretch
    for power, name in enumerate(["value", "gradient", "hessian"]):
        expected = getattr(landscape, name)(origin) / stretch**power
        np.testing.assert_allclose(getattr(moved, name)(x), expected, rtol=1e-11, atol=1e-12)


@noises
@pytest.mark.parametrize("landscape", (SMOOTH | CONES).values(), ids=SMOOTH | CONES)
def test_moving_and_smoothing_commute(landscape, noise):
    move = {"shift": 0.3, "stretch": 1.7}
    before = landscape.smoothed(0.4, noise=noise).moved(**move)
    after = landscape.moved(**move).smoothed(0.4 * 1.7, noise=noise)
    x = points(landscape, 2)
    for name in ("value", "gradient", "hessian"):
        expected = getattr(after, name)(x)
        np.testing.assert_allclose(getattr(before, name)(x), expected, rtol=1e-10, atol=1e-11)


# ------------------------------------------------------------------------ the mean over noise


def mean_over_noise(function, x, strength, noise, n=48):
    """The mean by a tensor rule: Gauss and Legendre, or Gauss and Hermite."""
    if noise == "uniform":
        nodes, weights = np.polynomial.legendre.leggauss(n)
    else:
        nodes, weights = np.polynomial.hermite_e.hermegauss(n)
    weights = weights / np.sum(weights)
    steps = strength * np.array(list(tuples(nodes, repeat=len(x))))
    shares = np.prod(list(tuples(weights, repeat=len(x))), axis=-1)
    return np.tensordot(shares, function(x + steps), axes=1)


@noises
@smooth_landscapes
def test_smoothed_is_the_mean_over_noise(landscape, noise):
    smoothed = landscape.smoothed(0.6, noise=noise)
    for x in points(landscape, 2):
        for name in ("value", "gradient", "hessian"):
            expected = mean_over_noise(getattr(landscape, name), x, 0.6, noise, n=30)
            got = getattr(smoothed, name)(x)
            scale = np.max(np.abs(expected))
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-10 * scale)


def test_the_mean_over_noise_of_another_law_is_another():
    x = points(WELL, 1)[0]
    wrong = mean_over_noise(WELL.value, x, 0.6, "normal", n=30)
    assert abs(WELL.smoothed(0.6).value(x) / wrong - 1.0) > 0.01


numbers = st.floats(-3.0, 3.0)
vectors = st.lists(numbers, min_size=1, max_size=5)
lines = st.builds(
    lambda a, b, c: a * DoubleWell(half_width=b) + c * Parabola(curvature=1.0, center=0.5),
    numbers,
    st.floats(0.5, 2.0),
    numbers,
)


@given(lines, vectors, st.floats(0.01, 3.0), st.sampled_from(NOISES))
def test_smoothing_enters_sums_and_products(line, centers, strength, noise):
    x = np.linspace(-1.0, 1.0, len(centers))
    means = np.array([line.smoothed(strength, noise=noise).value(a) for a in x - centers])
    total = CoordinateSum(line=line, centers=centers).smoothed(strength, noise=noise)
    np.testing.assert_allclose(total.value(x), sum(means), rtol=1e-12, atol=1e-11)
    total = CoordinateProduct(line=line, centers=centers).smoothed(strength, noise=noise)
    np.testing.assert_allclose(total.value(x), prod(means), rtol=1e-11)
    blocks = [CoordinateSum(line=line, centers=[c]) for c in centers]
    disjoint = DisjointProduct(blocks).smoothed(strength, noise=noise)
    np.testing.assert_allclose(disjoint.value(x), prod(means), rtol=1e-11)
    disjoint = DisjointSum(blocks).smoothed(strength, noise=noise)
    np.testing.assert_allclose(disjoint.value(x), sum(means), rtol=1e-12, atol=1e-11)


# f(x) = x: the difference of two parabolas, so that products of it are multi-affine
IDENTITY = 0.5 * Parabola(curvature=1.0, center=-1.0) + -0.5 * Parabola(curvature=1.0, center=1.0)


@given(vectors, st.floats(0.01, 10.0), st.sampled_from(NOISES))
def test_multi_affine_landscapes_are_their_own_means(x, strength, noise):
    product = CoordinateProduct(line=IDENTITY, centers=np.zeros(len(x)))
    np.testing.assert_allclose(product.value(x), prod(x), rtol=1e-12, atol=1e-12)
    smoothed = product.smoothed(strength, noise=noise)
    bound = 1e-14 * (10.0 + strength) ** (2 * len(x))
    np.testing.assert_allclose(smoothed.value(x), product.value(x), rtol=1e-11, atol=bound)


@given(st.lists(st.sampled_from([0.0, -0.5, 2.0]), min_size=1, max_size=5))
@example([0.0])
@example([0.0, 0.0, 2.0])
def test_products_where_factors_vanish(x):
    """Slopes of x₁ ... x_d, by leaving one or two factors out."""
    product, d = CoordinateProduct(line=IDENTITY, centers=np.zeros(len(x))), range(len(x))
    gradient = [prod(x[k] for k in d if k != i) for i in d]
    hessian = [[prod(x[k] for k in d if k not in (i, j)) * (i != j) for j in d] for i in d]
    np.testing.assert_allclose(product.gradient(x), gradient, rtol=1e-13)
    np.testing.assert_allclose(product.hessian(x), hessian, rtol=1e-13)
    added = np.zeros(len(x))
    product.kernels().add_gradient(np.array(x), product.parameters, 1.0, added)
    np.testing.assert_allclose(added, gradient, rtol=1e-13)
    blocks = DisjointProduct([CoordinateSum(line=IDENTITY, centers=[0.0]) for _ in d])
    np.testing.assert_allclose(blocks.gradient(x), gradient, rtol=1e-13)
    np.testing.assert_allclose(blocks.hessian(x), hessian, rtol=1e-13)


def test_partial_products_may_leave_the_range():
    parabola = Parabola(curvature=2.0)  # x²
    x = np.concatenate([np.full(3000, 1e5), np.full(3000, 1e-5), [3.0]])
    product = CoordinateProduct(line=parabola, centers=np.zeros(6001))
    np.testing.assert_allclose(product.value(x), 9.0, rtol=1e-12)
    np.testing.assert_allclose(product.gradient(x) * x, 18.0, rtol=1e-12)
    np.testing.assert_allclose(product.kernels().value(x, product.parameters), 9.0, rtol=1e-12)
    added = np.zeros(6001)
    product.kernels().add_gradient(x, product.parameters, 1.0, added)
    np.testing.assert_allclose(added * x, 18.0, rtol=1e-12)


# ---------------------------------------------------------------------------------- the wells


def exact_log_depth(u, alpha):
    """Log of the mean of exp(-(u + α T)²/2), T uniform on [-1, 1], in 30 digits."""
    with mp.workdps(30):
        u, alpha = abs(mp.mpf(float(u))), mp.mpf(float(alpha))
        if u > alpha:  # the mean is a difference of complements: no digit is lost
            ends = mp.erfc((u - alpha) / mp.sqrt(2)) - mp.erfc((u + alpha) / mp.sqrt(2))
        else:
            ends = mp.erf((u + alpha) / mp.sqrt(2)) - mp.erf((u - alpha) / mp.sqrt(2))
        return float(mp.log(mp.sqrt(mp.pi / 8) / alpha * ends))


@given(
    st.lists(st.floats(-40.0, 40.0), min_size=1, max_size=4),
    st.floats(-3.0, 3.0).map(lambda e: 10.0**e),
)
def test_log_depth_of_a_smoothed_well(u, strength):
    widths = np.linspace(0.5, 2.0, len(u))
    well = ProductWell(center=np.ones(len(u)), widths=widths, log_height=-0.3)
    x = 1.0 + widths * u
    means = [exact_log_depth((a - 1.0) / w, strength / w) for a, w in zip(x, widths, strict=True)]
    got = well.smoothed(strength).log_depth(x)
    np.testing.assert_allclose(got, -0.3 + sum(means), rtol=1e-12, atol=1e-12)


@given(vectors, st.floats(0.01, 10.0))
def test_log_depth_of_a_well_under_normal_noise(u, strength):
    """Normal densities fold: exp(-u²/2) is one of variance s², times s sqrt(2π)."""
    well = ProductWell(center=np.zeros(len(u)), widths=0.7)
    variance = 0.49 + strength**2
    expected = sum(0.5 * np.log(0.49 / variance) - 0.5 * a**2 / variance for a in u)
    got = well.smoothed(strength, noise="normal").log_depth(u)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def test_a_hundred_thousand_dimensions():
    d = 100_000
    for noise, exact in (
        ("uniform", exact_log_depth(0.0, 0.3)),
        ("normal", -0.5 * float(mp.log1p(mp.mpf("0.09")))),
    ):
        mean = ProductWell(center=np.zeros(d), widths=0.1).smoothed(0.03, noise=noise)
        np.testing.assert_allclose(mean.log_depth(np.zeros(d)), d * exact, rtol=1e-12)
        assert mean.value(np.zeros(d)) == 0.0


@pytest.mark.parametrize(
    ("d", "crossing"),
    [(1, 0.126472), (10, 0.037984), (100, 0.0119564), (10**4, 0.00119505), (10**9, 3.7790458e-6)],
)
def test_the_flat_well_overtakes_the_sharp_one(d, crossing):
    """A shallower but wider well becomes the deeper one, at a strength that falls as d^-1/2."""
    part = min(d, 10_000)  # the others do the same
    sharp, flat = (ProductWell(center=np.zeros(part), widths=width) for width in (0.1, 0.4))
    lead = [
        (sharp.smoothed(a).log_depth(np.zeros(part)) - flat.smoothed(a).log_depth(np.zeros(part)))
        * (d / part)
        for a in crossing * np.array([1.0 - 1e-5, 1.0 + 1e-5])
    ]
    assert lead[0] > np.log(0.8) > lead[1]


# ---------------------------------------------------------------------------------- the chain


def exact_chain(u, b):
    with mp.workdps(40):
        u, b = [mp.mpf(float(a)) for a in u], mp.mpf(float(b))
        return float(mp.fprod(a**2 + b for a in u) - 2 * mp.fprod(u) + 1)


@given(vectors, st.floats(-20.0, 1.0).map(lambda e: 10.0**e))
def test_chain_loses_no_digits_to_a_small_variance(u, b):
    chain = FactorChain(depth=len(u), variance=b)
    raw = FactorChain(depth=len(u)).value(u)
    rounding = 1e-14 * (1.0 + abs(prod(u))) * np.sqrt(raw)
    np.testing.assert_allclose(chain.value(u), exact_chain(u, b), rtol=1e-13, atol=rounding)
    np.testing.assert_allclose(chain.kernels().value(np.array(u), chain.parameters), chain.value(u))


def test_chain_at_its_minimum_keeps_a_tiny_variance():
    chain = FactorChain(depth=3, variance=1e-18)
    assert chain.value(np.ones(3)) == pytest.approx(3e-18, rel=1e-14)
    np.testing.assert_allclose(chain.gradient(np.ones(3)), 4e-18, rtol=1e-14)


@given(st.lists(st.sampled_from([0.0, -1.5, 0.5]), min_size=1, max_size=5), st.floats(0.0, 1.0))
def test_slopes_of_a_chain_where_factors_vanish(u, b):
    chain, d = FactorChain(depth=len(u), variance=b), range(len(u))

    def others(i, power):
        return prod(u[k] ** 2 + b if power == 2 else u[k] for k in d if k != i)

    gradient = [2 * u[i] * others(i, 2) - 2 * others(i, 1) for i in d]
    np.testing.assert_allclose(chain.gradient(u), gradient, rtol=1e-11, atol=1e-12)
    added = np.zeros(len(u))
    chain.kernels().add_gradient(np.array(u), chain.parameters, 1.0, added)
    np.testing.assert_allclose(added, gradient, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize(
    ("depth", "strength", "expected"),
    [
        (2, 0.3, 0.984886),
        (2, 0.8, 0.886942),
        (2, 1.5, 0.5),
        (2, 1.8, 0.0),
        (3, 0.5, 0.941905),
        (1, 5.0, 1.0),
    ],
)
def test_balanced_minima(depth, strength, expected):
    chain = FactorChain(depth=depth).smoothed(strength)
    assert chain.balanced_minimum == pytest.approx(expected, abs=5e-7)


@given(st.integers(2, 12), st.floats(0.001, 0.999))
def test_the_balanced_minimum_is_one_until_the_fold(depth, share):
    L = depth
    fold = ((L - 2) / L) ** ((L - 2) / L) * (L / (2 * (L - 1))) ** (2 * (L - 1) / L)
    chain = FactorChain(depth=L, variance=share * fold)
    u = chain.balanced_minimum
    assert 0.0 < u < 1.0
    np.testing.assert_allclose(chain.gradient(np.full(L, u)), 0.0, atol=1e-13)
    assert np.linalg.eigvalsh(chain.hessian(np.full(L, u)))[0] > 0.0
    assert FactorChain(depth=L, variance=fold / share).balanced_minimum == 0.0
    along = np.linspace(1e-6, 1.5, 2000)[:, None] * np.ones(L)  # no other way down
    slopes = FactorChain(depth=L, variance=fold / share).gradient(along)[:, 0]
    assert np.all(slopes > 0.0)


def test_the_raw_chain_and_the_origin():
    assert FactorChain(depth=4).balanced_minimum == 1.0
    chain = FactorChain(depth=3, variance=0.1)  # two kinds of minima
    assert np.all(np.linalg.eigvalsh(chain.hessian(np.zeros(3))) > 0.0)
    np.testing.assert_array_equal(chain.gradient(np.zeros(3)), 0.0)


def test_smoothing_a_chain_adds_variances():
    chain = FactorChain(depth=3, width=2.0).smoothed(0.6).smoothed(0.8, noise="normal")
    assert chain.variance == pytest.approx((0.6**2 / 3 + 0.8**2) / 4.0)


# ----------------------------------------------------------------------------------- the cone


def exact_cone_mean(v, alpha, power, cap):
    """The integral over radii of a cone under uniform noise, in 30 digits and with every kink."""
    with mp.workdps(30):
        v = [mp.mpf(float(a)) for a in v]
        alpha, q = mp.mpf(float(alpha)), mp.mpf(float(power))
        top = min(max(v) + alpha, mp.mpf(float(cap)))
        kinks = {b for a in v for b in (abs(a - alpha), a + alpha) if 0 < b < top}

        def beyond(r):
            inside = (max(min(a + alpha, r) - max(a - alpha, -r), 0) / (2 * alpha) for a in v)
            return (1 - mp.fprod(inside)) * q * r ** (q - 1)

        return float(mp.quad(beyond, sorted({mp.mpf(0), top} | kinks)))


@settings(max_examples=25)
@given(
    st.lists(numbers, min_size=1, max_size=3),
    st.floats(0.1, 5.0),
    st.sampled_from([0.5, 1.0, 1.7, 3.0]),
    st.sampled_from([0.3, 2.0, np.inf]),
)
@example([1.0], 1.0, 0.5, np.inf)
@example([1.0, -1.0], 1.0, 0.5, np.inf)
@example([0.0, 0.0, 0.0], 1.0, 0.5, 0.3)
def test_cone_under_uniform_noise(u, strength, power, cap):
    cone = CubeCone(center=np.zeros(len(u)), power=power, cap=cap).smoothed(strength)
    expected = exact_cone_mean(np.abs(u), strength, power, cap)
    np.testing.assert_allclose(cone.value(u), expected, rtol=1e-12)


@given(
    st.sampled_from([1, 2, 3, 10, 1000, 10_000]),
    st.floats(0.2, 8.0),
    st.floats(-3.0, 3.0).map(lambda e: 10.0**e),
)
def test_cone_at_its_center(d, power, strength):
    """The radius is a times the d-th root of a uniform number: a^q d / (d + q)."""
    cone = CubeCone(center=np.full(d, 2.0), power=power).smoothed(strength)
    expected = strength**power * d / (d + power)
    np.testing.assert_allclose(cone.value(np.full(d, 2.0)), expected, rtol=1e-11)


def test_capped_cone_at_its_center():
    """A cap at r_c leaves r_c [1 - (r_c/a)^d / (d + 1)] of the height."""
    for d in (1, 5, 100):
        cone = CubeCone(center=np.zeros(d), cap=0.9).smoothed(1.0)
        expected = 0.9 * (1.0 - 0.9**d / (d + 1))
        np.testing.assert_allclose(cone.value(np.zeros(d)), expected, rtol=1e-13)


def normal_cone_mean(u, deviation, power, cap):
    """The same integral under normal noise, by scipy; and by powers of one normal number."""

    def beyond(r):
        inside = [mp.ncdf((r - a) / deviation) - mp.ncdf((-r - a) / deviation) for a in u]
        return float(1 - mp.fprod(inside)) * power * r ** (power - 1)

    top = min(cap, max(np.abs(u)) + 12.0 * deviation)
    return quad(beyond, 0.0, top, epsabs=1e-13, epsrel=1e-12, limit=200)[0]


@pytest.mark.parametrize("u", [[0.0], [1.5], [0.2, -0.7], [3.0, 2.9, -0.1]])
@pytest.mark.parametrize(("power", "cap"), [(1.0, np.inf), (2.5, np.inf), (1.0, 1.2)])
def test_cone_under_normal_noise(u, power, cap):
    cone = CubeCone(center=np.zeros(len(u)), power=power, cap=cap).smoothed(0.6, noise="normal")
    expected = normal_cone_mean(u, 0.6, power, cap)
    np.testing.assert_allclose(cone.value(u), expected, rtol=1e-10)


@pytest.mark.parametrize("u", [0.0, 0.3, -4.0, 60.0])
def test_cone_on_the_line_under_normal_noise(u):
    cone = CubeCone(center=[0.0], power=2.0).smoothed(0.7, noise="normal")
    np.testing.assert_allclose(cone.value([u]), u**2 + 0.49, rtol=1e-13)
    np.testing.assert_allclose(cone.gradient([u]), [2.0 * u], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(cone.hessian([u]), [[2.0]], rtol=1e-12)
    distance = CubeCone(center=[0.0]).smoothed(0.7, noise="normal")
    with mp.workdps(30):  # the mean of the size of a normal number
        z = mp.mpf(u) / mp.mpf(0.7)
        expected = mp.mpf(0.7) * (mp.sqrt(2 / mp.pi) * mp.exp(-(z**2) / 2)) + u * mp.erf(
            z / mp.sqrt(2)
        )
    np.testing.assert_allclose(distance.value([u]), float(expected), rtol=1e-13)


@noises
@cones
def test_slopes_of_a_smoothed_cone(cone, noise):
    """Differences of the value; and the mean slope, as the cone is Lipschitz."""
    smoothed = cone.smoothed(0.8, noise=noise)
    for x in points(cone, 4, seed=1):
        gradient, hessian = smoothed.gradient(x), smoothed.hessian(x)
        np.testing.assert_allclose(gradient, differences(smoothed.value, x), atol=1e-8)
        expected = differences(smoothed.gradient, x)
        np.testing.assert_allclose(hessian, expected, atol=1e-7 * (1.0 + np.max(np.abs(expected))))


def test_two_equal_coordinates_far_from_the_center():
    """Both F are (r - 1)/2 between 1 and 3, so that all integrals are of polynomials."""
    cone = CubeCone(center=np.zeros(2)).smoothed(1.0)
    np.testing.assert_allclose(cone.value([2.0, -2.0]), 3.0 - 2.0 / 3.0, rtol=1e-14)
    np.testing.assert_allclose(cone.gradient([2.0, -2.0]), [0.5, -0.5], rtol=1e-14)
    expected = [[0.5, 0.5], [0.5, 0.5]]
    np.testing.assert_allclose(cone.hessian([2.0, -2.0]), expected, rtol=1e-13)


def test_smoothed_cone_in_many_dimensions_by_monte_carlo():
    rng = np.random.default_rng(5)
    u = rng.uniform(-0.5, 0.5, 300)
    cone = CubeCone(center=np.zeros(300), power=2.0, cap=1.48)
    noisy = u + rng.uniform(-1.0, 1.0, (20_000, 300))
    smoothed = cone.smoothed(1.0)
    assert_mean(cone.value(noisy), float(smoothed.value(u)))
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(cone.value(noisy), 1.01 * float(smoothed.value(u)))
    # The cone is Lipschitz: the slope of its mean is the mean of its slope.
    largest = int(np.argmax(np.abs(u)))
    slopes = cone.gradient(noisy)[:, largest]
    assert_mean(slopes, float(smoothed.gradient(u)[largest]))
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(slopes, 1.3 * float(smoothed.gradient(u)[largest]))


def test_many_kinks_are_all_counted_in_slopes():
    """Slopes of a product with more than a thousand kinks are those of its value."""
    v = np.linspace(0.0, 0.002, 600)
    cone = CubeCone(center=np.zeros(600)).smoothed(1.0)
    step = 1e-5
    for j in (0, 300, 599):
        steps = np.zeros(600)
        steps[j] = step
        expected = (cone.value(v + steps) - cone.value(v - steps)) / (2 * step)
        np.testing.assert_allclose(cone.gradient(v)[j], expected, rtol=1e-5)


@given(
    st.lists(numbers, min_size=1, max_size=4),
    st.floats(0.05, 3.0),
    st.floats(1.0, 4.0),
    st.sampled_from(NOISES),
)
def test_a_convex_cone_rises(u, strength, power, noise):
    """Jensen: the mean of a convex function is above it; the center stays the minimum."""
    cone = CubeCone(center=np.zeros(len(u)), power=power)
    smoothed = cone.smoothed(strength, noise=noise)
    assert smoothed.value(u) >= cone.value(u) * (1.0 - 1e-12)
    assert smoothed.value(u) >= smoothed.value(np.zeros(len(u))) * (1.0 - 1e-12)


def test_conventions_of_the_cone():
    cone = CubeCone(center=np.zeros(2), width=2.0, cap=1.5)
    np.testing.assert_array_equal(cone.gradient([1.0, -1.0]), [0.5, 0.0])
    np.testing.assert_array_equal(cone.gradient([-1.0, 1.0 + 1e-9]), [0.0, 0.5])
    np.testing.assert_array_equal(cone.gradient([[0.0, 0.0], [3.0, 0.0], [9.0, 0.0]]), 0.0)
    np.testing.assert_array_equal(cone.hessian([1.0, 0.3]), np.zeros((2, 2)))
    root = CubeCone(center=np.zeros(2), power=0.5)
    for method in (root.value, root.gradient, root.hessian):
        np.testing.assert_array_equal(method([0.0, 0.0]), 0.0)
    square = CubeCone(center=np.zeros(2), width=2.0, power=2.0)
    np.testing.assert_array_equal(square.hessian([1.0, 3.0]), [[0.0, 0.0], [0.0, 0.5]])
    out = np.zeros(2)
    cone.kernels().add_gradient(np.array([1.0, -1.0]), cone.parameters, 1.0, out)
    np.testing.assert_array_equal(out, [0.5, 0.0])


def test_minima():
    np.testing.assert_array_equal(WELL.minima, [[0.2, -0.4, 0.1]])
    np.testing.assert_array_equal(WELL.smoothed(0.3).minima, WELL.minima)
    np.testing.assert_array_equal(CONES["steep"].minima, [[0.2, -0.3]])


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: CoordinateSum(line=LINE, centers=0.0), "centers must have 1 dimensions"),
        (lambda: CoordinateProduct(line=LINE, centers=[np.nan]), "centers has NaN"),
        (lambda: DisjointSum([]), "blocks must hold at least one landscape"),
        (lambda: DisjointProduct([]), "blocks must hold at least one landscape"),
        (lambda: ProductWell(center=0.0), "center must have 1 dimensions"),
        (lambda: ProductWell(center=[0.0], widths=0.0), "widths must be positive, got 0"),
        (
            lambda: ProductWell(center=[0.0, 1.0], widths=[1.0, 1.0, 1.0]),
            r"widths must be a number or have shape \(2,\), got \(3,\)",
        ),
        (lambda: ProductWell(center=[0.0], log_height=np.inf), "log_height has NaN or infinite"),
        (lambda: CubeCone(center=[[0.0]]), "center must have 1 dimensions"),
        (lambda: CubeCone(center=[0.0], width=-1.0), "width must be positive, got -1"),
        (lambda: CubeCone(center=[0.0], power=0.0), "power must be positive, got 0"),
        (lambda: CubeCone(center=[0.0], cap=0.0), "cap must be positive, got 0"),
        (lambda: CubeCone(center=[0.0], cap=np.nan), "cap has NaN"),
        (lambda: FactorChain(depth=0), "depth must be an integer of at least 1, got 0"),
        (lambda: FactorChain(depth=2, variance=-0.1), "variance must not be negative, got -0.1"),
        (lambda: FactorChain(depth=2, width=0.0), "width must be positive, got 0"),
        (
            lambda: FactorChain(depth=2, center=[0.0, 0.0, 0.0]),
            r"center must be a number or have shape \(2,\), got \(3,\)",
        ),
        (lambda: WELL.value([0.0, 0.0]), r"x must have shape \(..., 3\), got \(2,\)"),
        (lambda: WELL.log_depth([0.0, 0.0]), r"x must have shape \(..., 3\), got \(2,\)"),
        (lambda: WELL.log_depth(np.full(3, 1e200)), "the log depth overflows there"),
        (lambda: CHAIN.smoothed(0.0), "strength must be positive, got 0"),
        (lambda: SMOOTH["product"].moved(stretch=0.0), "stretch must be positive, got 0"),
        (lambda: SMOOTH["disjoint sum"].moved(shift=[1.0, 2.0]), "shift must be a number or"),
        (lambda: CONES["cone"].smoothed(0.5).moved(stretch=-1.0), "stretch must be positive"),
        (
            lambda: CONES["cone"].smoothed(1e-15).gradient([9.0, 0.0, 0.0]),
            "x is at distance 8.8 from the center: noise of strength 1e-15 is lost there",
        ),
        (lambda: WELL.smoothed(0.5).moved(stretch=-1.0), "stretch must be positive"),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_wrong_kinds():
    with pytest.raises(TypeError, match="line must be a landscape on the line, got Quadratic"):
        CoordinateSum(line=BOWL, centers=[0.0])
    with pytest.raises(TypeError, match="blocks must be landscapes in space, got DoubleWell"):
        DisjointSum([BOWL, DOUBLE_WELL])
    wells = LineWellMixture(costs=[0.0], centers=[0.0], curvatures=[1.0])
    with pytest.raises(TypeError, match="mean of a LineWellMixture over uniform noise has no"):
        CoordinateSum(line=wells, centers=[0.0]).smoothed(0.1)
    with pytest.raises(TypeError, match="mean of a CubeCone has no kernels"):
        CONES["cone"].smoothed(0.1).kernels()
    for smoothed in (CONES["cone"].smoothed(0.1), WELL.smoothed(0.1)):
        with pytest.raises(TypeError, match="has no closed form"):
            smoothed.smoothed(0.1)


def test_they_cannot_be_changed():
    for array in (SMOOTH["sum"].centers, WELL.center, WELL.widths, CHAIN.center):
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1.0
    with pytest.raises(AttributeError, match="cannot assign"):
        CHAIN.depth = 4
