"""Landscapes by 40 digits, finite sums and quadrature; their kernels under Numba."""

import mpmath as mp
import numba
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.special import logsumexp

from theory.landscapes import (
    DoubleWell,
    LineWellMixture,
    Parabola,
    Quadratic,
    WellMixture,
    basin_log_probabilities,
    log_partition,
    stationary_points,
)

SPREAD = np.array([[2.0, 0.5], [0.5, 1.0]])
PARABOLA = Parabola(curvature=3.0, center=0.5)
DOUBLE_WELL = DoubleWell(barrier=2.0, half_width=1.5, tilt=-0.7, center=0.25)
LINE_WELLS = LineWellMixture(
    costs=[0.0, 0.5, -1.0], centers=[-1.0, 1.0, 4.0], curvatures=[9.0, 1.0, 40.0]
)
QUADRATIC = Quadratic(hessian_matrix=SPREAD, center=[1.0, -1.0])
WELLS = WellMixture(
    costs=[0.0, 0.3], centers=[[-2.0, 0.0], [2.0, 1.0]], hessians=[SPREAD, 3.0 * np.eye(2)]
)


# ------------------------------------------------------------------------- the same, in 40 digits


def exact_value(landscape, x):
    """C at one point (a list of mpf), from the formula in the docstring."""
    if hasattr(landscape, "terms"):
        return mp.fsum(w * exact_value(term, x) for w, term in landscape.terms)
    if isinstance(landscape, DoubleWell):
        u = (x[0] - mp.mpf(landscape.center)) / mp.mpf(landscape.half_width)
        return landscape.barrier * (u**2 - 1) ** 2 + landscape.tilt * u
    if isinstance(landscape, Parabola):
        return mp.mpf(landscape.curvature) / 2 * (x[0] - mp.mpf(landscape.center)) ** 2
    if isinstance(landscape, Quadratic):
        return exact_form(x, landscape.center, landscape.hessian_matrix)
    hessians = (
        landscape.hessians
        if isinstance(landscape, WellMixture)
        else landscape.curvatures[:, None, None]
    )
    centers = landscape.centers.reshape(len(hessians), -1)
    wells = zip(landscape.costs, centers, hessians, strict=True)
    return -mp.log(mp.fsum(mp.exp(-mp.mpf(float(c)) - exact_form(x, m, H)) for c, m, H in wells))


def exact_form(x, center, H):
    r = [a - mp.mpf(float(b)) for a, b in zip(x, center, strict=True)]
    d = range(len(r))
    return mp.fsum(mp.mpf(float(H[i, j])) * r[i] * r[j] for i in d for j in d) / 2


def assert_exact(landscape, x, rtol=1e-13):
    """Value, gradient and Hessian at one point equal differences in 40 digits."""
    d = landscape.dimension
    with mp.workdps(40):
        point = [mp.mpf(float(a)) for a in np.atleast_1d(x)]
        h = mp.mpf(10) ** -9

        def at(*steps):
            moved = list(point)
            for i, step in steps:
                moved[i] += step * h
            return exact_value(landscape, moved)

        # Central differences: their error is about h² = 1e-18, their rounding 1e-40 / h² = 1e-22.
        gradient = [float((at((i, 1)) - at((i, -1))) / (2 * h)) for i in range(d)]
        hessian = [
            [
                float(
                    mp.fsum(a * b * at((i, a), (j, b)) for a in (-1, 1) for b in (-1, 1))
                    / (4 * h**2)
                )
                for j in range(d)
            ]
            for i in range(d)
        ]
        value = float(at())
    for got, expected in (
        (landscape.value(x), value),
        (landscape.gradient(x), np.squeeze(gradient)),
        (landscape.hessian(x), np.squeeze(hessian)),
    ):
        scale = 1.0 + np.max(np.abs(expected))
        np.testing.assert_allclose(got, expected, rtol=rtol, atol=10 * rtol * scale)


FINITE = st.floats(-5.0, 5.0)
POSITIVE = st.floats(0.05, 20.0)


@st.composite
def double_wells(draw):
    barrier = draw(POSITIVE)
    return DoubleWell(
        barrier=barrier,
        half_width=draw(st.floats(0.3, 3.0)),
        tilt=draw(st.floats(-1.539, 1.539)) * barrier,
        center=draw(FINITE),
    )


@st.composite
def line_wells(draw):
    K = draw(st.integers(1, 4))
    numbers = st.lists(FINITE, min_size=K, max_size=K)
    curvatures = draw(st.lists(POSITIVE, min_size=K, max_size=K))
    return LineWellMixture(costs=draw(numbers), centers=draw(numbers), curvatures=curvatures)


@st.composite
def space_wells(draw):
    K, d = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    roots = rng.standard_normal((K, d, d))
    return WellMixture(
        costs=rng.standard_normal(K),
        centers=2.0 * rng.standard_normal((K, d)),
        hessians=roots @ np.swapaxes(roots, 1, 2) + 0.2 * np.eye(d),
    )


line_landscapes = st.one_of(
    double_wells(), line_wells(), st.builds(Parabola, curvature=FINITE, center=FINITE)
)


@given(line_landscapes, FINITE)
def test_line_landscapes_match_40_digits(landscape, x):
    assert_exact(landscape, x, rtol=1e-12)


@given(space_wells(), st.integers(0, 10**6))
def test_space_landscapes_match_40_digits(landscape, seed):
    x = 2.0 * np.random.default_rng(seed).standard_normal(landscape.dimension)
    quadratic = Quadratic(hessian_matrix=landscape.hessians[0], center=landscape.centers[0])
    if landscape.dimension > 1:  # np.squeeze in the reference takes the axes of one point away
        assert_exact(landscape, x, rtol=1e-12)
        assert_exact(quadratic, x)
    one, line = landscape.value(x), landscape.value(x[None])
    assert one.shape == ()
    assert line.shape == (1,)


def test_one_dimension_in_space_is_the_line():
    flat = WellMixture(
        costs=LINE_WELLS.costs,
        centers=LINE_WELLS.centers[:, None],
        hessians=LINE_WELLS.curvatures[:, None, None],
    )
    x = np.linspace(-3.0, 6.0, 200)
    np.testing.assert_allclose(flat.value(x[:, None]), LINE_WELLS.value(x), rtol=1e-13)
    np.testing.assert_allclose(
        flat.gradient(x[:, None])[:, 0], LINE_WELLS.gradient(x), rtol=1e-12, atol=1e-12
    )
    np.testing.assert_allclose(
        flat.hessian(x[:, None])[:, 0, 0], LINE_WELLS.hessian(x), rtol=1e-11, atol=1e-11
    )
    np.testing.assert_allclose(flat.log_weights, LINE_WELLS.log_weights, rtol=1e-14)
    np.testing.assert_allclose(np.sort(flat.minima[:, 0]), LINE_WELLS.minima, rtol=1e-12)


@pytest.mark.parametrize(("landscape", "d"), [(LINE_WELLS, 0), (DOUBLE_WELL, 0), (WELLS, 2)])
def test_batches_are_points_one_by_one(landscape, d):
    x = np.random.default_rng(0).standard_normal((3, 4, *([2] if d else [])))
    for name, tail in (("value", ()), ("gradient", (2,)), ("hessian", (2, 2))):
        got = getattr(landscape, name)(x)
        assert got.shape == (3, 4, *(tail if d else ()))
        for i in np.ndindex(3, 4):
            np.testing.assert_allclose(got[i], getattr(landscape, name)(x[i]), rtol=1e-14)


# ------------------------------------------------------------------------- far out, sums, copies


def test_mixture_is_stable_where_every_exponential_underflows():
    assert LINE_WELLS.value(1000.0) == pytest.approx(0.5 + 0.5 * 999.0**2, rel=1e-14)
    assert LINE_WELLS.gradient(1000.0) == pytest.approx(999.0)
    assert LINE_WELLS.hessian(1000.0) == pytest.approx(1.0)
    x = np.array([1000.0, 1000.0])
    np.testing.assert_allclose(WELLS.gradient(x), SPREAD @ (x - WELLS.centers[0]), rtol=1e-13)


LINE_SUM = 0.5 * DOUBLE_WELL + LINE_WELLS + 2.0 * PARABOLA
SPACE_SUM = QUADRATIC + 0.5 * (WELLS + 3.0 * QUADRATIC)


def test_sums_match_40_digits():
    for x in (-2.0, 0.3, 4.1):
        assert_exact(LINE_SUM, x)
    for x in ([-2.0, 0.1], [1.5, 1.0]):
        assert_exact(SPACE_SUM, x)


def test_a_sum_is_flat_and_weighted():
    assert [weight for weight, _ in SPACE_SUM.terms] == [1.0, 0.5, 1.5]
    assert isinstance(np.float64(2.0) * PARABOLA, type(LINE_SUM))
    assert (np.float64(2.0) * PARABOLA).value(1.5) == 3.0


@pytest.mark.parametrize("landscape", [PARABOLA, DOUBLE_WELL, LINE_WELLS, LINE_SUM])
def test_moved_on_the_line(landscape):
    copy, x = landscape.moved(shift=2.0, stretch=0.5), np.linspace(-2.0, 2.0, 9)
    np.testing.assert_allclose(copy.value(0.5 * x + 2.0), landscape.value(x), rtol=1e-13)
    np.testing.assert_allclose(copy.gradient(0.5 * x + 2.0), 2 * landscape.gradient(x), rtol=1e-12)
    np.testing.assert_allclose(copy.hessian(0.5 * x + 2.0), 4 * landscape.hessian(x), rtol=1e-11)


@pytest.mark.parametrize("landscape", [QUADRATIC, WELLS, SPACE_SUM])
@pytest.mark.parametrize("shift", [2.0, [2.0, -1.0]])
def test_moved_in_space(landscape, shift):
    copy, x = landscape.moved(shift=shift, stretch=0.5), np.eye(2)
    moved = 0.5 * x + np.asarray(shift)
    np.testing.assert_allclose(copy.value(moved), landscape.value(x), rtol=1e-13)
    np.testing.assert_allclose(copy.gradient(moved), 2 * landscape.gradient(x), rtol=1e-12)
    np.testing.assert_allclose(copy.hessian(moved), 4 * landscape.hessian(x), rtol=1e-12)


# -------------------------------------------------------------------------------- minima, saddles


def stationary_by_mpmath(well):
    with mp.workdps(40):
        A, b, t = mp.mpf(well.barrier), mp.mpf(well.half_width), mp.mpf(well.tilt)
        roots = sorted(
            mp.re(u) for u in mp.polyroots([4 * A, 0, -4 * A, t], maxsteps=500, extraprec=200)
        )
        costs = [A * (u**2 - 1) ** 2 + t * u for u in roots]
        heights = [float(costs[1] - costs[0]), float(costs[1] - costs[2])]
        return [float(mp.mpf(well.center) + b * u) for u in roots], heights


@given(double_wells())
def test_double_well_stationary_points(well):
    (left, saddle, right), heights = stationary_by_mpmath(well)
    size = abs(well.center) + well.half_width
    # At a tilt of 1.539 of 8/(3√3) = 1.5396 barriers, one minimum and the saddle nearly meet.
    np.testing.assert_allclose(well.minima, [left, right], rtol=0, atol=1e-13 * size)
    np.testing.assert_allclose(well.saddle, saddle, rtol=0, atol=1e-13 * size)
    np.testing.assert_allclose(well.barrier_heights, heights, rtol=1e-10)
    assert np.all(well.hessian(well.minima) > 0.0)
    assert well.hessian(well.saddle) < 0.0


def test_saddle_of_a_tiny_tilt_keeps_its_digits():
    assert DoubleWell(tilt=4e-20).saddle == pytest.approx(1e-20, rel=1e-12)
    assert DoubleWell().saddle == pytest.approx(0.0, abs=1e-30)


def test_barrier_heights_where_the_well_almost_vanishes():
    well = DoubleWell(tilt=8.0 / (3.0 * np.sqrt(3.0)) * (1 - 1e-6))
    _, heights = stationary_by_mpmath(well)
    assert heights[1] < 1e-8
    np.testing.assert_allclose(well.barrier_heights, heights, rtol=1e-8)


@given(double_wells())
def test_numerical_stationary_points_agree_with_the_closed_form(well):
    edges = well.center - 3 * well.half_width, well.center + 3 * well.half_width
    minima, maxima = stationary_points(well, lower=edges[0], upper=edges[1])
    size = abs(well.center) + well.half_width
    np.testing.assert_allclose(minima, well.minima, rtol=0, atol=1e-11 * size)
    np.testing.assert_allclose(maxima, [well.saddle], rtol=0, atol=1e-11 * size)


@pytest.mark.parametrize("edge", [10.0, 1e4, 1e8])
def test_narrow_wells_in_a_wide_interval_are_found(edge):
    np.testing.assert_allclose(
        basin_log_probabilities(DoubleWell(barrier=0.1), 1e-3, lower=-edge, upper=edge),
        np.log([0.5, 0.5]),
        rtol=1e-10,
    )
    well = DoubleWell(tilt=8.0 / (3.0 * np.sqrt(3.0)) * (1 - 1e-9))
    minima, maxima = stationary_points(well + 0.5 * well, lower=-edge, upper=edge)
    np.testing.assert_allclose(minima, well.minima, atol=1e-10)
    np.testing.assert_allclose(maxima, [well.saddle], atol=1e-10)


@given(line_wells())
def test_line_mixture_minima(wells):
    minima = wells.minima
    assert 1 <= len(minima) <= len(wells.centers)
    assert np.all(np.abs(wells.gradient(minima)) < 1e-9)
    assert np.all(wells.hessian(minima) > -1e-6)
    lowest = np.min(wells.value(np.linspace(-7.0, 7.0, 3001)))
    assert np.min(wells.value(minima)) <= lowest + 1e-12


def test_minima_of_narrow_wells_far_apart():
    wells = LineWellMixture(costs=[0, 0, 0], centers=[0, 1, 1e6], curvatures=[1e8, 1e8, 1e-4])
    np.testing.assert_allclose(wells.minima, [0.0, 1.0, 1e6], atol=1e-12)


@given(space_wells())
def test_space_mixture_minima(wells):
    minima = wells.minima
    assert minima.shape[1] == wells.dimension
    assert 1 <= len(minima) <= len(wells.costs)
    assert np.all(np.abs(wells.gradient(minima)) < 1e-7)
    assert np.all(np.linalg.eigvalsh(wells.hessian(minima)) > 0.0)


def test_a_center_that_is_a_saddle_is_no_minimum():
    eye = np.eye(2)
    wells = WellMixture(
        costs=[0.0, 5.0, 0.0], centers=[[-2, 0], [0, 0], [2, 0]], hessians=[eye, eye, eye]
    )
    assert len(wells.minima) == 2


def test_quadratic_minima():
    assert QUADRATIC.minima.tolist() == [[1.0, -1.0]]
    assert Quadratic(hessian_matrix=[[1.0, 0.0], [0.0, -1.0]]).minima.shape == (0, 2)
    assert PARABOLA.minima.tolist() == [0.5]
    assert Parabola(curvature=-1.0).minima.shape == (0,)


# ------------------------------------------------------------------------ partition functions


@given(line_wells())
@example(LineWellMixture(costs=[0.0], centers=[0.0], curvatures=[17.75]))
@example(LineWellMixture(costs=[0.0, 0.0], centers=[0.0, 9.8e-251], curvatures=[1.0, 0.5]))
@example(LineWellMixture(costs=[0.0, 0.0], centers=[0.0, 2.2e-311], curvatures=[1.0, 1.0]))
def test_log_partition_of_a_mixture_at_temperature_one(wells):
    exact = logsumexp(-wells.costs + 0.5 * np.log(2 * np.pi / wells.curvatures))
    assert log_partition(wells, 1.0, lower=-60.0, upper=60.0) == pytest.approx(exact, abs=1e-10)


def test_basins_of_separated_wells_are_their_components():
    wells = LineWellMixture(costs=[0, 2, 1], centers=[-20, 0, 20], curvatures=[9, 0.5, 4])
    log_p = basin_log_probabilities(wells, 1.0, lower=-60.0, upper=60.0)
    np.testing.assert_allclose(log_p, wells.log_weights, atol=1e-10)
    # A well alone in its basin scales as a Gaussian: depth against breadth.
    T = np.array([0.1, 0.3])
    masses = -wells.costs / T[:, None] - 0.5 * np.log(wells.curvatures)
    expected = masses - logsumexp(masses, axis=-1, keepdims=True)
    log_p = basin_log_probabilities(wells, T, lower=-60.0, upper=60.0)
    np.testing.assert_allclose(log_p, expected, atol=1e-10)


@pytest.mark.parametrize("temperature", [1e-3, 0.05, 1.0, 50.0])
def test_partition_against_40_digits(temperature):
    well, edges = DOUBLE_WELL, (-4.0, 5.0)
    with mp.workdps(40):
        T, masses = mp.mpf(temperature), []
        for bottom, ends in zip(
            well.minima, ((edges[0], well.saddle), (well.saddle, edges[1])), strict=True
        ):
            width = np.sqrt(temperature / float(well.hessian(bottom)))
            inner = bottom + width * np.array([-20, -8, -3, 0, 3, 8, 20])
            pieces = [ends[0], *inner[(inner > ends[0]) & (inner < ends[1])], ends[1]]
            level = exact_value(well, [mp.mpf(bottom)])  # mp.quad's tolerance is absolute
            masses.append(
                mp.exp(-level / T)
                * mp.quad(
                    lambda x, level=level: mp.exp((level - exact_value(well, [x])) / T), pieces
                )
            )
        log_Z = float(mp.log(masses[0] + masses[1]))
        log_p = [float(mp.log(mass / (masses[0] + masses[1]))) for mass in masses]
    got = log_partition(well, temperature, lower=edges[0], upper=edges[1])
    assert got == pytest.approx(log_Z, rel=1e-13, abs=1e-10)
    got = basin_log_probabilities(well, temperature, lower=edges[0], upper=edges[1])
    np.testing.assert_allclose(got, log_p, rtol=1e-12, atol=1e-10)


def test_cold_wells_follow_laplace():
    well, T = DoubleWell(barrier=1.0, tilt=1e-7), 1e-7
    log_p = basin_log_probabilities(well, T, lower=-3.0, upper=3.0)
    costs, curvatures = well.value(well.minima), well.hessian(well.minima)
    odds = (costs[1] - costs[0]) / T + 0.5 * np.log(curvatures[1] / curvatures[0])
    assert log_p[0] - log_p[1] == pytest.approx(odds, abs=1e-6)


def test_probabilities_broadcast_and_add_up():
    T = np.geomspace(0.01, 10.0, 6).reshape(2, 3)
    log_p = basin_log_probabilities(LINE_SUM, T, lower=-5.0, upper=9.0)
    K = len(stationary_points(LINE_SUM, lower=-5.0, upper=9.0).maxima) + 1
    assert log_p.shape == (2, 3, K)
    np.testing.assert_allclose(np.exp(log_p).sum(axis=-1), 1.0, rtol=1e-12)
    assert log_partition(LINE_SUM, T, lower=-5.0, upper=9.0).shape == (2, 3)


def test_a_slope_is_one_basin():
    log_p = basin_log_probabilities(PARABOLA, 1.0, lower=1.0, upper=2.0)
    np.testing.assert_allclose(log_p, [0.0], atol=1e-15)
    flat = Parabola(curvature=0.0)
    got = log_partition(flat, 1.0, lower=1.0, upper=3.0)
    assert got == pytest.approx(np.log(2.0), abs=1e-12)


# ------------------------------------------------------------------------------------- kernels


@numba.njit
def over_points(function, parameters, x, out):
    for i in range(len(x)):
        out[i] = function(x[i], parameters)


@numba.njit
def gradients_over_points(function, parameters, x, weight, out):
    for i in range(len(x)):
        function(x[i], parameters, weight, out[i])


@pytest.mark.parametrize("landscape", [PARABOLA, DOUBLE_WELL, LINE_WELLS, LINE_SUM])
def test_compiled_line_kernels_are_the_methods(landscape):
    x, out = np.linspace(-4.0, 5.0, 301), np.empty(301)
    kernels = landscape.kernels(numba.njit)
    for name in ("value", "gradient", "hessian"):
        over_points(getattr(kernels, name), landscape.parameters, x, out)
        expected = getattr(landscape, name)(x)
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(out, expected, rtol=1e-14, atol=4e-16 * scale)


def test_compiled_polynomials_equal_the_methods_bit_for_bit():
    x, out = np.linspace(-4.0, 5.0, 301), np.empty(301)
    over_points(DOUBLE_WELL.kernels(numba.njit).gradient, DOUBLE_WELL.parameters, x, out)
    np.testing.assert_array_equal(out, DOUBLE_WELL.gradient(x))


@pytest.mark.parametrize("landscape", [QUADRATIC, WELLS, SPACE_SUM])
@pytest.mark.parametrize("compiler", [numba.njit, None], ids=["compiled", "plain"])
def test_space_kernels_are_the_methods(landscape, compiler):
    x = np.random.default_rng(0).standard_normal((50, 2))
    kernels = landscape.kernels(compiler) if compiler else landscape.kernels()
    over, adding = (f if compiler else f.py_func for f in (over_points, gradients_over_points))
    out = np.empty(50)
    over(kernels.value, landscape.parameters, x, out)
    np.testing.assert_allclose(out, landscape.value(x), rtol=1e-13)
    gradients = np.ones((50, 2))  # the kernel adds to what is there
    adding(kernels.add_gradient, landscape.parameters, x, -0.5, gradients)
    np.testing.assert_allclose(gradients, 1.0 - 0.5 * landscape.gradient(x), rtol=1e-12)


def test_one_structure_is_compiled_once():
    other = 3.0 * DoubleWell(tilt=0.3) + LineWellMixture(costs=[0], centers=[1], curvatures=[2])
    other = other + PARABOLA
    assert other.kernels(numba.njit) == LINE_SUM.kernels(numba.njit)
    assert QUADRATIC.kernels(numba.njit) is (Quadratic(hessian_matrix=[[1.0]])).kernels(numba.njit)


def test_landscapes_cannot_be_changed():
    arrays = [LINE_WELLS.costs, QUADRATIC.hessian_matrix, QUADRATIC.center, WELLS.centers]
    for array in arrays:
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1.0
    with pytest.raises(AttributeError, match="cannot assign"):
        DOUBLE_WELL.tilt = 1.0
    costs = np.zeros(1)
    wells = LineWellMixture(costs=costs, centers=[0.0], curvatures=[1.0])
    costs[0] = 5.0
    assert wells.value(0.0) == 0.0


# -------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Parabola(curvature=np.nan), "curvature has NaN"),
        (lambda: Parabola(curvature=1.0, center=np.inf), "center has NaN"),
        (lambda: Parabola(curvature=[1.0]), "curvature must have 0 dimensions"),
        (lambda: DoubleWell(barrier=0.0), "barrier must be positive, got 0"),
        (lambda: DoubleWell(half_width=-1.0), "half_width must be positive, got -1"),
        (lambda: DoubleWell(tilt="a"), "tilt must be an array of numbers"),
        (lambda: DoubleWell(center=np.nan), "center has NaN"),
        (lambda: DoubleWell(tilt=1.54), r"tilt must be below .* = 1\.5396 in size, .* got 1\.54"),
        (
            lambda: LineWellMixture(costs=[0.0], centers=[0.0, 1.0], curvatures=[1.0]),
            "costs has 1 entries but centers 2",
        ),
        (
            lambda: LineWellMixture(costs=[0.0], centers=[0.0], curvatures=[0.0]),
            "curvatures must be positive",
        ),
        (
            lambda: LineWellMixture(costs=[0.0], centers=[[0.0]], curvatures=[1.0]),
            "centers must have 1 dimensions",
        ),
        (lambda: Quadratic(hessian_matrix=[[1.0, 2.0]]), "must be square"),
        (lambda: Quadratic(hessian_matrix=[[1.0, 2.0], [0.0, 1.0]]), "must be symmetric"),
        (lambda: Quadratic(hessian_matrix=SPREAD, center=[1.0]), r"center .* got \(1,\)"),
        (
            lambda: WellMixture(costs=[0.0], centers=[[0.0], [1.0]], hessians=[[[1.0]]]),
            "costs has 1 entries but centers 2 rows",
        ),
        (
            lambda: WellMixture(costs=[0.0], centers=[[0.0, 1.0]], hessians=[[[1.0]]]),
            r"centers have shape \(1, 2\) but hessians \(1, 1, 1\)",
        ),
        (
            lambda: WellMixture(costs=[0.0], centers=[[0.0]], hessians=[[[-1.0]]]),
            "hessians must be positive definite, got an eigenvalue -1",
        ),
        (
            lambda: WellMixture(costs=[0], centers=[[0, 0]], hessians=[[[1, 2], [0, 1]]]),
            "hessians must be symmetric",
        ),
        (lambda: PARABOLA.value([np.nan]), "x has NaN"),
        (lambda: DOUBLE_WELL.value(1e100), r"x is of size 1e\+100: the value overflows"),
        (lambda: DOUBLE_WELL.gradient(1e200), "the gradient overflows"),
        (lambda: DOUBLE_WELL.hessian(1e200), "the Hessian overflows"),
        (lambda: LINE_WELLS.gradient(1e200), "the gradient overflows"),
        (lambda: WELLS.value([1e200, 0.0]), "the value overflows"),
        (lambda: QUADRATIC.value(1.0), r"x must have shape \(\.\.\., 2\), got \(\)"),
        (lambda: QUADRATIC.value([1.0, 2.0, 3.0]), r"x must have shape \(\.\.\., 2\), got \(3,\)"),
        (lambda: PARABOLA.moved(stretch=0.0), "stretch must be positive"),
        (lambda: DOUBLE_WELL.moved(shift=[1.0]), "shift must have 0 dimensions"),
        (lambda: WELLS.moved(shift=[1.0]), r"shift must be a number or have shape \(2,\)"),
        (lambda: QUADRATIC.moved(shift=np.inf), "shift has NaN"),
        (lambda: np.nan * PARABOLA, "height has NaN"),
        (lambda: np.inf * WELLS, "height has NaN"),
        (lambda: QUADRATIC + Quadratic(hessian_matrix=[[1.0]]), "dimensions 2 and 1"),
        (lambda: stationary_points(PARABOLA, lower=1.0, upper=1.0), "lower must be below upper"),
        (lambda: stationary_points(PARABOLA, lower=np.nan, upper=1.0), "lower has NaN"),
        (
            lambda: log_partition(PARABOLA, 0.0, lower=0.0, upper=1.0),
            "temperature must be positive",
        ),
        (lambda: log_partition(PARABOLA, 1.0, lower=0.0, upper=np.inf), "upper has NaN"),
        (lambda: log_partition(DOUBLE_WELL, 1.0, lower=0.0, upper=1e300), "overflows"),
        (
            lambda: log_partition(DOUBLE_WELL, [1.0, 1e-10], lower=-3.0, upper=3.0),
            "temperature 1e-10 is too low",
        ),
        (
            lambda: basin_log_probabilities(PARABOLA, -1.0, lower=0.0, upper=1.0),
            "temperature must be positive",
        ),
    ],
)
def test_bad_input(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_wrong_kinds():
    with pytest.raises(TypeError, match="landscape must be one on the line, got Quadratic"):
        log_partition(QUADRATIC, 1.0, lower=0.0, upper=1.0)
    with pytest.raises(TypeError):
        PARABOLA + QUADRATIC
    with pytest.raises(TypeError):
        QUADRATIC + "1.0"
