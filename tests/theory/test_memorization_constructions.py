"""Depth k and width n/k, general position, Lemma 1: forward passes, fractions, dense algebra."""

from fractions import Fraction
from itertools import pairwise

import mpmath as mp
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from theory.memorization import (
    hinge_weights,
    lemma_1,
    memorize,
    memorize_deep,
    memorize_general_position,
)

BOTH = ["split", "gated"]


def problem(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], size=n)


def forward(network, X):
    """The layers as a reader would write them down: dense, one point at a time."""
    layers = [(matrix.toarray(), bias) for matrix, bias in network.layers]
    values = []
    for point in X:
        units = np.array([network.projection @ point])
        for matrix, bias in layers:
            units = np.maximum(matrix @ units + bias, 0.0)
        values.append(network.readout @ units)
    return np.array(values)


# ----------------------------------------------------------------------------------- several layers


@pytest.mark.parametrize("depth", [2, 4, 10, 30])
@pytest.mark.parametrize("construction", BOTH)
def test_depth_width_and_weights(construction, depth):
    n, d = 600, 20
    X, y = problem(n, d)
    network = memorize_deep(X, y, depth=depth, construction=construction, rng=0)
    widths = [len(bias) for _, bias in network.layers]
    limit = -(-n // depth) + 3 if construction == "split" else -(-n // (depth - 1)) + 9
    assert network.depth == len(widths) == depth
    assert network.width == max(widths) <= limit
    stored = sum(np.count_nonzero(m.toarray()) + np.count_nonzero(b) for m, b in network.layers)
    assert network.n_nonzero == stored + d + np.count_nonzero(network.readout)
    assert network.n_nonzero <= 8 * n + d + 10 * depth
    assert network.error < 1e-8
    assert np.max(np.abs(network(X) - y)) == pytest.approx(network.error, rel=1e-6)
    few = slice(0, 600, 10)
    np.testing.assert_allclose(forward(network, X[few]), y[few], atol=1e-7)


def test_width_is_not_spent_on_one_layer():
    X, y = problem(600, 20)
    for construction in BOTH:
        widths = [
            memorize_deep(X, y, depth=depth, construction=construction, rng=0).width
            for depth in (2, 4, 10, 30)
        ]
        assert np.all(np.diff(widths) < 0)


def test_split_is_the_shallow_network_everywhere():
    X, y = problem(300, 6)
    new = np.vstack([problem(500, 6, seed=1)[0], 50 * problem(50, 6, seed=2)[0]])
    shallow = memorize(X, y, rng=0)(new)
    for depth in (1, 2, 7, 300):
        deep = memorize_deep(X, y, depth=depth, rng=0)
        np.testing.assert_allclose(deep(new), shallow, rtol=1e-7, atol=1e-7)
    gated = memorize_deep(X, y, depth=5, construction="gated", rng=0)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(gated(new), shallow, rtol=1e-7, atol=1e-7)


def test_gated_is_the_shallow_network_within_an_interval_and_zero_beyond():
    X, y = problem(40, 1)
    gated = memorize_deep(X, y, depth=5, construction="gated", rng=0)
    shallow = memorize(X, y, rng=0)
    at = np.sort(X[:, 0] * gated.projection[0])
    for part in np.array_split(at, 4):
        inside = (np.linspace(part[0], part[-1], 50) * gated.projection[0])[:, None]
        np.testing.assert_allclose(gated(inside), shallow(inside), atol=1e-9)
    beyond = np.array([at[0] - 1e3, at[-1] + 1e3]) * gated.projection[0]
    np.testing.assert_allclose(gated(beyond[:, None]), 0.0, atol=1e-6)


@pytest.mark.parametrize("construction", BOTH)
@pytest.mark.parametrize("n", [1, 2, 3, 11])
def test_every_depth_of_small_samples(n, construction):
    X, y = problem(n, 3)
    extra = construction == "gated"
    for depth in range(1 + extra, n + 1 + extra):
        network = memorize_deep(X, y, depth=depth, construction=construction, rng=0)
        assert network.depth == depth
        np.testing.assert_allclose(forward(network, X), y, atol=1e-9)


@pytest.mark.parametrize("construction", BOTH)
@pytest.mark.parametrize("of_X", [1e-100, 1e-15, 1.0, 1e15, 1e100])
@pytest.mark.parametrize("of_y", [1e-100, 1.0, 1e100])
def test_depth_at_any_scale(construction, of_X, of_y):
    X, y = problem(50, 4)
    for depth in (2, 6, 50):
        network = memorize_deep(of_X * X, of_y * y, depth=depth, construction=construction, rng=0)
        assert network.error < 1e-8 * of_y
        np.testing.assert_allclose(network(of_X * X), of_y * y, atol=1e-8 * of_y)


@pytest.mark.parametrize("construction", BOTH)
def test_deep_networks_merge_rows_and_keep_the_best_projection(construction):
    X, y = problem(60, 4)
    rows = np.repeat(np.arange(60), 2)
    once = memorize_deep(X, y, depth=6, construction=construction, rng=3, projections=5)
    twice = memorize_deep(
        X[rows], y[rows], depth=6, construction=construction, rng=3, projections=5
    )
    assert twice.width == once.width
    assert np.array_equal(once.projection, memorize(X, y, rng=3, projections=5).projection)
    assert np.array_equal(twice(X), once(X))


@pytest.mark.parametrize("construction", BOTH)
def test_deep_networks_of_equal_labels(construction):
    X, _ = problem(30, 4)
    for label in (0.0, -2.0):
        network = memorize_deep(X, np.full(30, label), depth=4, construction=construction, rng=0)
        np.testing.assert_allclose(network(X), label, atol=1e-9)


X3, Y3 = problem(3, 2)
DEEP_ERRORS = [
    ({"depth": 4}, "depth is 4; with 3 distinct points it must be ≤ 3"),
    ({"depth": 5, "construction": "gated"}, "depth is 5; with 3 distinct points it must be ≤ 4"),
    ({"depth": 0}, "depth must be an integer of at least 1, got 0"),
    ({"depth": 1, "construction": "gated"}, "depth must be an integer of at least 2, got 1"),
    ({"depth": 2.0}, "depth must be an integer of at least 1, got 2.0"),
    ({"depth": True}, "depth must be an integer"),
    (
        {"depth": 2, "construction": "wide"},
        "construction is 'wide'; it must be one of split, gated",
    ),
    ({"depth": 2, "projections": 0}, "projections must be an integer of at least 1, got 0"),
    ({"depth": 2, "y": np.ones((3, 1))}, r"y must have 1 dimensions, got shape \(3, 1\)"),
    ({"depth": 2, "y": np.ones(4)}, "X has 3 rows but y has 4 entries"),
    ({"depth": 2, "X": X3[0]}, "X must have 2 dimensions"),
    ({"depth": 2, "X": X3 * np.nan}, "X has NaN or infinite values, in row 0"),
    ({"depth": 2, "y": [1.0, np.inf, 2.0]}, "y has NaN or infinite values"),
    ({"depth": 3, "X": X3[[0, 1, 1]], "y": np.ones(3)}, "with 2 distinct points it must be ≤ 2"),
    ({"depth": 2, "X": X3[[0, 1, 1]], "y": [0, 0, 1]}, "equal rows .* different y: rows 1 and 2"),
]


@pytest.mark.parametrize(("arguments", "message"), DEEP_ERRORS)
def test_errors_of_deep_networks(arguments, message):
    with pytest.raises(ValueError, match=message):
        memorize_deep(**{"X": X3, "y": Y3, "rng": 0, **arguments})


@pytest.mark.parametrize(
    "build", [memorize_general_position, lambda *a: memorize_deep(*a, depth=2)]
)
def test_errors_at_prediction(build):
    network = build(X3, Y3)
    with pytest.raises(ValueError, match="X has 3 features but the network takes 2"):
        network(np.ones((4, 3)))
    with pytest.raises(ValueError, match="X has NaN or infinite values"):
        network([[1.0, np.nan]])
    with pytest.raises(ValueError, match="X must have 2 dimensions"):
        network(X3[0])


# --------------------------------------------------------------------------------- general position


@pytest.mark.parametrize(
    ("n", "d"), [(600, 20), (601, 20), (619, 20), (7, 7), (3, 7), (9, 1), (1, 1)]
)
def test_four_units_for_d_points(n, d):
    X, y = problem(n, d)
    X = X if d > 1 else X + 3.0 * np.arange(n)[:, None]
    network = memorize_general_position(X, y)
    assert network.width == len(network.weights) == 4 * -(-n // d)
    assert network.input_weights.shape == (network.width, d)
    assert network.depth == 1
    assert network.error < 1e-6
    assert np.max(np.abs(network(X) - y)) == pytest.approx(network.error, rel=1e-6, abs=1e-15)
    parts = (network.input_weights, network.biases, network.weights)
    assert network.n_nonzero == sum(np.count_nonzero(part) for part in parts)
    assert network.n_nonzero <= network.width * (d + 2)


@pytest.mark.parametrize(("n", "d"), [(12, 4), (13, 4), (5, 9)])
def test_general_position_in_fractions(n, d):
    X, y = problem(n, d)
    network = memorize_general_position(X, y)
    units = list(
        zip(
            [[Fraction(v) for v in row] for row in network.input_weights.tolist()],
            [Fraction(b) for b in network.biases.tolist()],
            [Fraction(w) for w in network.weights.tolist()],
            strict=True,
        )
    )
    for point, label, value in zip(X.tolist(), y, network(X), strict=True):
        exact = Fraction(0)
        for row, bias, weight in units:
            at = sum(v * Fraction(x) for v, x in zip(row, point, strict=True))
            exact += weight * max(at - bias, Fraction(0))
        assert abs(float(exact) - label) < 1e-9
        assert abs(float(exact) - value) < 1e-9


def test_a_group_fits_its_own_points_alone():
    X, y = problem(12, 4)
    network = memorize_general_position(X, y)
    units = np.maximum(X @ network.input_weights.T - network.biases, 0.0) * network.weights
    groups = units.reshape(12, 3, 4).sum(axis=2)
    own = np.repeat(np.eye(3), 4, axis=0)
    np.testing.assert_allclose(groups, own * y[:, None], atol=1e-9)


@pytest.mark.parametrize("of_X", [1e-100, 1.0, 1e100])
@pytest.mark.parametrize("of_y", [1e-100, 1e-10, 1.0, 1e100])
def test_general_position_at_any_scale(of_X, of_y):
    X, y = problem(50, 4)
    assert memorize_general_position(of_X * X, of_y * y).error < 1e-6 * of_y


def test_general_position_of_zero_and_mixed_labels():
    X, y = problem(50, 4)
    assert memorize_general_position(X, 0 * y).error == 0.0
    X[4:8] *= 1e-3
    y[:4] = 0.0
    assert memorize_general_position(X, y).error < 1e-6


def test_points_not_in_general_position():
    X, y = problem(12, 4)
    dependent = X.copy()
    dependent[6] = 2 * X[4] - X[5]
    with pytest.raises(ValueError, match="not in general position: rows 4 to 7 are linearly dep"):
        memorize_general_position(dependent, y)
    for row in (1, 10):
        on = X.copy()
        on[row] = X[4:8].T @ [0.5, 0.25, 0.5, -0.25]
        named = f"not in general position: row {row} lies on the hyperplane of rows 4 to 7"
        with pytest.raises(ValueError, match=named):
            memorize_general_position(on, y)
        on[row] *= 1.001
        memorize_general_position(on, y)


GENERAL_ERRORS = [
    (X3, np.ones((3, 1)), "y must have 1 dimensions"),
    (X3, np.ones(2), "X has 3 rows but y has 2 entries"),
    (X3[0], Y3, "X must have 2 dimensions"),
    (np.zeros((0, 2)), np.zeros(0), "X must have 2 dimensions, points by features, none empty"),
    ([[1.0, np.inf]], [1.0], "X has NaN or infinite values"),
    (X3, [1.0, np.nan, 0.0], "y has NaN or infinite values"),
    (np.zeros((1, 2)), [1.0], "rows 0 to 0 are linearly dependent"),
]


@pytest.mark.parametrize(("X", "y", "message"), GENERAL_ERRORS)
def test_errors_of_general_position(X, y, message):
    with pytest.raises(ValueError, match=message):
        memorize_general_position(X, y)


# ------------------------------------------------------------------------------------------ lemma 1


def interleaved(n, rho, seed=0):
    """Points and biases of a given share of each gap, as fractions and as float64 numbers."""
    gaps = np.random.default_rng(seed).integers(1, 64, size=n + 1)
    points = [Fraction(int(p), 64) for p in np.cumsum(gaps)]
    share = Fraction(rho)
    biases = [left + share * (right - left) for left, right in pairwise(points)]
    points = points[1:]
    return points, biases, np.array(points, dtype=float), np.array(biases, dtype=float)


@pytest.mark.parametrize("rho", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("n", [1, 2, 3, 12])
def test_lemma_against_dense_algebra(n, rho):
    *_, x, b = interleaved(n, rho)
    hinges = lemma_1(x, b)
    A = np.array([[max(xi - bj, 0.0) for bj in b] for xi in x])
    assert np.array_equal(hinges.matrix, A)
    assert np.array_equal(A, np.tril(A))
    eigenvalues = np.sort(np.linalg.eigvals(A).real)
    np.testing.assert_allclose(np.sort(hinges.diagonal), eigenvalues, rtol=1e-9)
    assert hinges.smallest_eigenvalue == pytest.approx(eigenvalues[0], rel=1e-9)
    assert hinges.determinant == pytest.approx(np.linalg.det(A), rel=1e-9)
    assert hinges.log_determinant == pytest.approx(np.linalg.slogdet(A)[1], rel=1e-9, abs=1e-12)
    smallest = np.linalg.svd(A, compute_uv=False)[-1]
    assert hinges.smallest_singular_value == pytest.approx(smallest, rel=1e-7)
    assert hinges.smallest_singular_value <= hinges.smallest_eigenvalue * (1 + 1e-12)
    y = np.random.default_rng(1).normal(size=n)
    np.testing.assert_allclose(hinges.solve(y), np.linalg.solve(A, y), rtol=1e-6)


def test_matrix_is_the_product_of_its_factors():
    *_, x, b = interleaved(9, 0.375)
    ones = np.tril(np.ones((9, 9)))
    bidiagonal = np.diag(x - b) + np.diag(b[1:] - x[:-1], -1)
    np.testing.assert_allclose(lemma_1(x, b).matrix, ones @ bidiagonal @ ones, rtol=1e-13)


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.6, 0.75])
def test_singular_value_in_many_digits(rho):
    n = 40
    *_, x, b = interleaved(n, rho)
    hinges = lemma_1(x, b)
    with mp.workdps(60):
        A = mp.matrix(n, n)
        for i in range(n):
            for j in range(i + 1):
                A[i, j] = mp.mpf(x[i]) - mp.mpf(b[j])
        exact = float(mp.svd_r(A, compute_uv=False)[n - 1])
    assert hinges.smallest_singular_value == pytest.approx(exact, rel=1e-6)
    dense = np.linalg.svd(hinges.matrix, compute_uv=False)[-1]
    if rho == 0.75:  # beyond what a dense decomposition in float64 can see
        assert abs(dense / exact - 1) > 0.5


def test_singular_value_of_few_points_with_signs_that_alternate():
    for seed in range(40):
        *_, x, b = interleaved(2 + seed % 5, 0.125 * (seed % 8), seed)
        smallest = np.linalg.svd(lemma_1(x, b).matrix, compute_uv=False)[-1]
        assert lemma_1(x, b).smallest_singular_value == pytest.approx(smallest, rel=1e-7)


@pytest.mark.parametrize("narrow", [1, 100, 200, 299])
@pytest.mark.parametrize("rho", [0.0, 0.25])
def test_singular_value_wherever_the_narrowest_gap_is(rho, narrow):
    gaps = np.random.default_rng(narrow).integers(2**14, 2**15, size=300) / 2**14
    gaps[narrow] = 2.0**-13
    x = np.cumsum(gaps)
    hinges = lemma_1(x, x - (1 - rho) * gaps)
    smallest = np.linalg.svd(hinges.matrix, compute_uv=False)[-1]
    assert hinges.smallest_singular_value == pytest.approx(smallest, rel=1e-6)


def test_singular_value_beyond_float64_is_zero():
    n = 2000
    x = np.arange(1.0, n + 1)
    assert lemma_1(x, x - 0.25).smallest_singular_value == 0.0
    assert lemma_1(x, x - 1.0).smallest_singular_value > 0.2


def test_determinant_beyond_float64_has_a_logarithm():
    x = np.arange(1.0, 2001.0)
    hinges = lemma_1(x, x - 0.25)
    assert hinges.determinant == 0.0
    assert hinges.log_determinant == pytest.approx(2000 * np.log(0.25), rel=1e-12)
    assert lemma_1(8 * x, 8 * x - 8).determinant == np.inf


def test_determinant_whose_partial_products_are_beyond_float64():
    x, b = [1e-200, 2e-200, 1e200, 3e200], [0.0, 1e-200, 0.5e200, 1.5e200]
    assert lemma_1(x, b).determinant == pytest.approx(0.75, rel=1e-12)


@pytest.mark.parametrize(
    "rho", [0, Fraction(3, 10), Fraction(1, 2), Fraction(3, 4), Fraction(99, 100)]
)
def test_every_interleaving_is_exact_in_fractions(rho):
    x, b, *_ = interleaved(50, rho)
    y = [Fraction(int(v)) for v in np.random.default_rng(2).choice([-1, 1], size=50)]
    weights = hinge_weights(x, b, y)
    assert all(isinstance(w, Fraction) for w in weights)
    for xi, yi in zip(x, y, strict=True):
        assert sum(w * max(xi - bj, Fraction(0)) for w, bj in zip(weights, b, strict=True)) == yi


def largest_residual(n, rho, dtype):
    """Of the weights as they were rounded, in exact arithmetic."""
    _, _, x, b = interleaved(n, rho)
    y = np.random.default_rng(2).choice([-1.0, 1.0], size=n)
    weights = hinge_weights(x.astype(dtype), b.astype(dtype), y.astype(dtype))
    assert weights.dtype == dtype
    x, b, w = ([Fraction(v) for v in part.tolist()] for part in (x, b, weights))
    worst = Fraction(0)
    for xi, yi in zip(x, y, strict=True):
        value = sum(wj * max(xi - bj, Fraction(0)) for wj, bj in zip(w, b, strict=True))
        worst = max(worst, abs(value - Fraction(yi)))
    return float(worst)


def test_error_grows_with_the_interleaving_and_not_below_a_half():
    stable = [largest_residual(100, rho, np.float64) for rho in (0.0, 0.125, 0.25)]
    assert max(stable) < 1e-11
    assert largest_residual(100, 0.75, np.float64) > 1e10
    assert largest_residual(20, 0.75, np.float64) < 1e-3
    single = largest_residual(100, 0.0, np.float32)
    assert 1e-6 < single < 1e-2
    # 29 bits fewer.
    assert single > 1e6 * stable[0]


def test_slopes_follow_the_recursion():
    _, _, x, b = interleaved(20, 0.375)
    y = np.random.default_rng(2).normal(size=20)
    slopes = np.cumsum(hinge_weights(x, b, y))
    ratio, gaps = 0.375 / 0.625, np.diff(x)
    wanted = np.diff(y) / (0.625 * gaps) - ratio * slopes[:-1]
    np.testing.assert_allclose(slopes[1:], wanted, rtol=1e-9)


@given(
    st.lists(st.tuples(st.integers(1, 99), st.integers(0, 63)), min_size=1, max_size=9), st.data()
)
def test_hinges_of_fractions_in_any_place(gaps, data):
    ends = [Fraction(sum(g for g, _ in gaps[:i])) for i in range(len(gaps) + 1)]
    x = ends[1:]
    b = [left + Fraction(place, 64) * gap for left, (gap, place) in zip(ends, gaps, strict=False)]
    y = [Fraction(data.draw(st.integers(-50, 50))) for _ in x]
    weights = hinge_weights(x, b, y)
    for xi, yi in zip(x, y, strict=True):
        assert sum(w * max(xi - bj, Fraction(0)) for w, bj in zip(weights, b, strict=True)) == yi
    hinges = lemma_1([float(v) for v in x], [float(v) for v in b])
    assert hinges.smallest_eigenvalue == float(min(p - q for p, q in zip(x, b, strict=True)))
    assert hinges.determinant == pytest.approx(
        float(np.prod([p - q for p, q in zip(x, b, strict=True)])), rel=1e-12
    )
    assume(len(x) > 1)
    smallest = np.linalg.svd(hinges.matrix, compute_uv=False)
    assume(smallest[-1] > 1e-8 * smallest[0])
    assert hinges.smallest_singular_value == pytest.approx(smallest[-1], rel=1e-5)


def test_integers_are_solved_as_float64():
    np.testing.assert_allclose(hinge_weights([2, 4, 7], [0, 2, 4], [1, 0, 2]), [0.5, -1.0, 7 / 6])


LEMMA_ERRORS = [
    ([1.0, 2.0], [0.0], "x has 2 entries but b has 1"),
    ([1.0, 2.0], [1.0, 1.5], r"b must lie below x: b\[0\] = 1.0 but x\[0\] = 1.0"),
    ([1.0, 2.0, 3.0], [0.0, 0.5, 2.0], r"below the point before: b\[1\] = 0.5 but x\[0\] = 1.0"),
    ([2.0, 1.0], [0.0, 0.5], r"below the point before: b\[1\] = 0.5 but x\[0\] = 2.0"),
    ([1.0, 1.0], [0.0, 1.0], r"b must lie below x: b\[1\] = 1.0 but x\[1\] = 1.0"),
]


@pytest.mark.parametrize(("x", "b", "message"), LEMMA_ERRORS)
def test_errors_of_the_lemma(x, b, message):
    with pytest.raises(ValueError, match=message):
        lemma_1(x, b)
    with pytest.raises(ValueError, match=message if "entries" not in message else "of one length"):
        hinge_weights(x, b, np.ones(len(x)))


def test_more_errors_of_the_lemma():
    for bad, message in (
        ([], "x is empty"),
        ([[1.0]], "x must have 1 dimensions"),
        ([np.nan], "NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            lemma_1(bad, [0.0])
    with pytest.raises(ValueError, match="b has NaN or infinite values"):
        lemma_1([1.0], [-np.inf])
    with pytest.raises(ValueError, match="of one length, got 2, 2 and 1"):
        hinge_weights([1.0, 2.0], [0.0, 1.0], [1.0])
    with pytest.raises(ValueError, match="empty"):
        hinge_weights([], [], [])
    with pytest.raises(ValueError, match=r"."):
        lemma_1([1.0, 2.0], [0.0, 1.0]).solve([1.0, 2.0, 3.0])


def test_deep_networks_run_in_blocks_of_points():
    X = np.random.default_rng(3).normal(size=(200, 4))
    network = memorize_deep(X, np.sign(X[:, 0]), depth=1, rng=0)
    many = np.random.default_rng(4).normal(size=(2**22 // network.width + 100, 4))
    values = network(many)
    np.testing.assert_allclose(values[-200:], network(many[-200:]), atol=1e-8)
    np.testing.assert_allclose(values[:200], network(many[:200]), atol=1e-8)
