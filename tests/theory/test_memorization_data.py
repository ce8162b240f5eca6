"""The network of 2n + d weights on data of every kind: duplicates, ties, scales, bad input."""

from fractions import Fraction

import numpy as np
import pytest
from exact_networks import (
    EPS,
    assert_values,
    cancellation,
    exact_error,
    exact_projections,
    rounding_limit,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from theory.memorization import MemorizingNetwork, memorize


def problem(n, d, seed=0, outputs=None):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=n if outputs is None else (n, outputs))


# ----------------------------------------------------------------------------- duplicates and ties


def test_equal_rows_with_equal_labels_count_once():
    X, y = problem(60, 4, outputs=2)
    rows = np.random.default_rng(2).permutation(np.concatenate([np.arange(60)] * 3))
    single, triple = memorize(X, y, rng=0), memorize(X[rows], y[rows], rng=0)
    assert triple.n_parameters == single.n_parameters == 60 * 3 + 4
    assert np.array_equal(triple.weights, single.weights)
    assert np.max(np.abs(triple(X[rows]) - y[rows])) <= triple.error + 4 * EPS


def test_rows_of_zeros_of_either_sign_are_equal():
    X = np.array([[0.0, 1.0], [-0.0, 1.0], [2.0, -0.0], [2.0, 0.0]])
    assert len(memorize(X, [1.0, 1.0, -0.0, 0.0], rng=0).biases) == 2


def test_all_rows_equal():
    network = memorize(np.full((9, 3), 7.0), np.full(9, 2.5), rng=0)
    assert network.n_parameters == 2 + 3
    assert network(np.full((1, 3), 7.0)) == pytest.approx(2.5, rel=4 * EPS)


def test_conflicting_labels_are_named():
    X, y = problem(40, 3)
    X[17] = X[4]
    with pytest.raises(ValueError, match=r"^equal rows of X have different y: rows 4 and 17$"):
        memorize(X, y, rng=0)
    y[17] = y[4]
    memorize(X, y, rng=0)


def test_conflicts_in_one_output_suffice():
    X, y = problem(10, 3, outputs=3)
    X[[2, 5]], y[5] = X[8], y[8]
    y[2, :2] = y[8, :2]
    with pytest.raises(ValueError, match=r"equal rows of X have different y: rows 2 and [58]"):
        memorize(X, y, rng=0)


@pytest.mark.parametrize("pairs", [2, 5, 6, 9])
def test_several_conflicts(pairs):
    X, y = problem(40, 3)
    X[20 : 20 + pairs] = X[:pairs]
    named = ", ".join(f"{i} and {20 + i}" for i in range(min(pairs, 5)))
    more = f" and {pairs - 5} more pairs" if pairs > 5 else ""
    with pytest.raises(ValueError, match=f"different y: rows {named}{more}$"):
        memorize(X, y, rng=0)


@pytest.mark.parametrize("d", [1, 3])
def test_rows_closer_than_float64_can_tell(d):
    X, y = problem(20, d)
    X[:] = np.abs(X) + 1.0
    X[13] = np.nextafter(X[6], np.inf)
    with pytest.raises(ValueError, match=r"rows 6 and 13 of X are so close .* in each of 9 dir"):
        memorize(X, y, rng=0)


def points_with_a_tie(seed):
    """Two distinct points, among others, that coincide along the seed's first direction."""
    X, y = problem(20, 2)
    a = memorize(X, y, rng=seed).projection
    X[3] = 4.0 * a
    X[11] = X[3] + np.array([a[1], -a[0]])
    return X, y


@pytest.mark.parametrize("projections", [1, 3])
def test_ties_are_drawn_again(projections):
    X, y = points_with_a_tie(seed=6)
    assert np.linalg.norm(X[3] - X[11]) == pytest.approx(1.0)
    generator = np.random.default_rng(6)
    plain = problem(20, 2)
    drawn = [memorize(*plain, rng=generator).projection for _ in range(projections + 1)]
    network = memorize(X, y, rng=6, projections=projections)
    assert network.error == pytest.approx(exact_error(network, X, y), rel=1e-12)
    assert network.error < 1e-9
    after = [tuple(a) for a in drawn[1:]]
    assert tuple(network.projection) in after
    if projections == 1:
        assert np.array_equal(network.projection, drawn[1])


def test_a_tie_next_to_merged_rows():
    X, y = points_with_a_tie(seed=6)
    rows = np.repeat(np.arange(20), 2)
    network = memorize(X[rows], y[rows], rng=6)
    assert len(network.biases) == 20
    assert exact_error(network, X, y) < 1e-9


# -------------------------------------------------------------------------- an independent function


@pytest.mark.parametrize("n", [2, 3, 50])
def test_between_the_points_it_interpolates_linearly(n):
    X, y = problem(n, 1)
    network = memorize(X, y, rng=0)
    order = np.argsort(X[:, 0] * network.projection[0])
    at = X[order, 0] * network.projection[0]
    new = np.linspace(at[0], at[-1], 1001)
    wanted = np.interp(new, at, y[order])
    np.testing.assert_allclose(network((new / network.projection[0])[:, None]), wanted, atol=1e-10)
    right = at[-1] + np.array([1.0, 10.0])
    slope = (y[order][-1] - y[order][-2]) / (at[-1] - at[-2])
    wanted = y[order][-1] + slope * (right - at[-1])
    np.testing.assert_allclose(network((right / network.projection[0])[:, None]), wanted, rtol=1e-9)


def test_outputs_do_not_touch_each_other():
    X, y = problem(60, 5, outputs=4)
    together = memorize(X, y, rng=0)
    alone = [memorize(X, column, rng=0) for column in y.T]
    assert np.array_equal(together.weights, np.column_stack([one.weights for one in alone]))
    assert np.array_equal(together(X), np.column_stack([one(X) for one in alone]))
    assert together.error == max(one.error for one in alone)


@pytest.mark.parametrize("scale", [1e-100, 1e-5, 1.0, 1e30, 1e100])
def test_labels_of_any_size(scale):
    X, y = problem(50, 3)
    network = memorize(X, scale * y, rng=0)
    assert network.error == pytest.approx(exact_error(network, X, scale * y), rel=1e-12)
    assert network.error < 1e-11 * scale


@pytest.mark.parametrize("scale", [1e-200, 1e-20, 1e16, 1e20, 1e200])
@pytest.mark.parametrize("n", [1, 2, 30])
def test_points_of_any_size(n, scale):
    X, y = problem(n, 3)
    network = memorize(scale * X, y, rng=0)
    assert network.error == pytest.approx(exact_error(network, scale * X, y), rel=1e-12)
    assert network.error < 1e-11


def test_labels_of_few_values():
    X, _ = problem(30, 3)
    zeros = memorize(X, np.zeros(30), rng=0)
    assert not np.any(zeros.weights)
    assert zeros.error == 0.0
    equal = memorize(X, np.full(30, 3.0), rng=0)
    np.testing.assert_allclose(equal(X), 3.0, rtol=4 * EPS)
    one = memorize(X, np.eye(30)[7], rng=0)
    assert exact_error(one, X, np.eye(30)[7]) < 1e-12
    for labels in (np.arange(30), (np.arange(30) % 2 == 0), np.arange(30, dtype=np.uint8)):
        network = memorize(X, labels, rng=0)
        assert exact_error(network, X, np.asarray(labels, dtype=float)) < 1e-11


def test_points_with_constant_columns_and_a_row_of_zeros():
    X, y = problem(30, 5)
    X[:, 1], X[:, 3] = 1.0, 0.0
    network = memorize(X, y, rng=0)
    assert exact_error(network, X, y) < 1e-11
    X[:, 1] = 0.0
    X[12] = 0.0
    network = memorize(X, y, rng=0)
    assert exact_error(network, X, y) < 1e-11
    assert memorize(np.zeros((1, 2)), [5.0], rng=0)(np.zeros((1, 2))) == pytest.approx(5.0)


def test_far_from_the_origin():
    X, y = problem(40, 3)
    network = memorize(X + 1e9, y, rng=0)
    assert exact_error(network, X + 1e9, y) == pytest.approx(network.error, rel=1e-12)
    assert_values(network, X + 1e9)


# ---------------------------------------------------------------------------------------- bad input

X3, Y3 = problem(3, 2)
LARGE = 2**53 + 1
BAD = [
    (
        {"X": np.zeros((0, 2)), "y": []},
        r"X must have 2 dimensions.* none empty: got shape \(0, 2\)",
    ),
    ({"X": np.zeros((3, 0))}, r"X must have 2 dimensions.* none empty: got shape \(3, 0\)"),
    ({"X": [], "y": []}, "X must have 2 dimensions"),
    ({"X": X3[:, 0]}, r"X must have 2 dimensions, points by features, .* got shape \(3,\)"),
    ({"X": X3[None]}, "X must have 2 dimensions"),
    ({"X": [[1, 2], [3]]}, "X must be an array of numbers"),
    ({"X": [["a", "b"]] * 3}, "X must be an array of numbers"),
    ({"X": X3 + 1j}, "X must be an array of numbers: it is complex"),
    ({"X": np.where(np.eye(3, 2) > 0, np.nan, X3)}, "X has NaN or infinite values, in row 0"),
    ({"X": X3 + np.array([[0], [0], [np.inf]])}, "X has NaN or infinite values, in row 2"),
    ({"X": (X3 - np.array([[0], [np.inf], [0]])).astype("f4")}, "infinite values, in row 1"),
    ({"X": 1e300 * X3}, r"X is of size .*e\+(300|299): its products are beyond float64's range"),
    (
        {"X": 1.7e308 * np.sign(X3)},
        "X is of size 1.7e.308: its products are beyond float64's range",
    ),
    ({"X": 1e-300 * X3}, "X is of size .*e-30.: its products are beyond float64's range"),
    (
        {"X": [[LARGE, 0], [1, 0], [2, 0]]},
        f"X has the integer {LARGE}: float64 is exact up to 2^53",
    ),
    ({"X": [[-LARGE, 0], [1, 0], [2, 0]]}, f"X has the integer {LARGE}"),
    ({"X": [[-(2**63), 0], [1, 0], [2, 0]]}, f"X has the integer {2**63}"),
    ({"X": np.full((3, 1), 2**64 - 1, dtype=np.uint64)}, f"X has the integer {2**64 - 1}"),
    ({"X": [[2**70, 0], [1, 0], [2, 0]]}, f"X has the integer {2**70}"),
    ({"y": [1, 2]}, "X has 3 rows but y has 2 entries"),
    ({"y": np.ones((4, 2))}, "X has 3 rows but y has 4 entries"),
    ({"y": 1.0}, r"y must have 1 dimensions, got shape \(\)"),
    ({"y": np.ones((3, 1, 1))}, r"y must have 1 dimensions, got shape \(3, 1, 1\)"),
    ({"y": np.ones((3, 0))}, r"y is empty: shape \(3, 0\)"),
    ({"y": [1.0, np.nan, 2.0]}, "y has NaN or infinite values"),
    ({"y": [[1.0, 0.0], [2.0, -np.inf], [2.0, 2.0]]}, "y has NaN or infinite values"),
    ({"y": Y3 + 1j}, "y must be an array of numbers: it is complex"),
    ({"y": ["a", "b", "c"]}, "y must be an array of numbers"),
    ({"y": [[1, 2], [3], [4]]}, "y must be an array of numbers"),
    ({"y": 1e200 * Y3}, "y is of size .*: its square is beyond float64's range"),
    ({"y": 1e-200 * Y3}, "y is of size .*: its square is beyond float64's range"),
    ({"y": [LARGE, 1, 2]}, f"y has the integer {LARGE}: float64 is exact up to 2^53"),
    ({"y": [2**70, 1, 2]}, f"y has the integer {2**70}"),
    ({"projections": 0}, "projections must be an integer of at least 1, got 0"),
    ({"projections": 1.5}, "projections must be an integer of at least 1, got 1.5"),
    ({"projections": True}, "projections must be an integer of at least 1, got True"),
    ({"interleave": 1.0}, r"interleave must be in \[0, 1\), got 1.0"),
    ({"interleave": -0.1}, r"interleave must be in \[0, 1\), got -0.1"),
    ({"interleave": np.nan}, r"interleave must be in \[0, 1\), got nan"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message.replace("2^53", r"2\^53")):
        memorize(**{"X": X3, "y": Y3, "rng": 0, **arguments})


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (np.ones((4, 3)), "X has 3 features but the network takes 2"),
        (X3[0], r"X must have 2 dimensions, .* got shape \(2,\)"),
        (np.ones((0, 2)), "X must have 2 dimensions"),
        ([[1.0, 2.0], [1.0, np.nan]], "X has NaN or infinite values, in row 1"),
        ([[np.inf, 2.0]], "X has NaN or infinite values, in row 0"),
        ([["a", "b"]], "X must be an array of numbers"),
        ([[1.0 + 1j, 2.0]], "it is complex"),
        ([[2**60, 0]], f"X has the integer {2**60}"),
    ],
)
def test_bad_input_at_prediction(X, message):
    network = memorize(X3, Y3, rng=0)
    with pytest.raises(ValueError, match=message):
        network(X)


def test_largest_integers_that_are_allowed():
    X, y = np.array([[2**53], [-(2**53)], [3]]), np.array([2**53, -(2**53), 1])
    network = memorize(X, y, rng=0)
    assert exact_error(network, X, y) == pytest.approx(network.error, rel=1e-12)
    assert network.error <= rounding_limit(network, X, y)


def test_networks_put_together_by_hand():
    parts = {"projection": np.ones(1), "margin": 1.0, "error": 0.0}
    network = MemorizingNetwork(biases=np.array([0.0, 2.0]), weights=np.array([1.0, -3.0]), **parts)
    assert network([[-1.0], [1.0], [3.0]]).tolist() == [0.0, 1.0, 0.0]
    for biases, message in (
        ([], "a weight for each"),
        ([1.0], "a weight for each"),
        ([1.0, 1.0], "biases must increase"),
        ([1.0, 0.0], "biases must increase"),
    ):
        with pytest.raises(ValueError, match=message):
            MemorizingNetwork(biases=np.array(biases), weights=np.array([1.0, -3.0]), **parts)


@pytest.mark.parametrize("n", [2000, 5000])
def test_weights_beyond_float64(n):
    X, y = problem(n, 5)
    message = f"the weights are beyond float64: .*interleave=0.75 for n={n}"
    with pytest.raises(OverflowError, match=message):
        memorize(X, y, rng=0, interleave=0.75)
    memorize(X, y, rng=0, interleave=0.5)


def test_labels_too_far_apart_for_so_small_a_gap():
    with pytest.raises(OverflowError, match="the weights are beyond float64"):
        memorize([[0.0], [1e-200], [1.0]], [1e130, -1e130, 0.0], rng=0)


@pytest.mark.parametrize("size", [1e251, 1.7e308])
def test_points_too_large_to_be_predicted(size):
    X, y = problem(50, 2)
    network = memorize(X, y, rng=0)
    assert np.all(np.isfinite(network(1e240 * X)))
    with pytest.raises(ValueError, match=r"X is of size [\d.e+]+: its products are beyond"):
        network([[0.0, 0.0], [size, size], [size, -size]])


# --------------------------------------------------------------------------------------- properties

ORDINARY = st.floats(-100, 100, allow_subnormal=False)
WIDE = st.builds(
    lambda mantissa, exponent: mantissa * 2.0**exponent, st.floats(-1, 1), st.integers(-90, 90)
)


@st.composite
def tasks(draw, numbers=ORDINARY):
    n, d = draw(st.integers(1, 8)), draw(st.integers(1, 4))
    X = draw(arrays(float, (n, d), elements=numbers))
    y = draw(arrays(float, n, elements=numbers))
    assume(not np.any(y) or np.max(np.abs(y)) > 1e-130)
    assume(not np.any(X) or np.max(np.abs(X)) > 1e-200)
    assume(len(np.unique(X + 0.0, axis=0)) == n)
    return X, y


def memorize_or_reject(X, y, **parameters):
    """Memorize, unless the points are as close as only float64's own spacing allows to refuse."""
    try:
        return memorize(X, y, rng=0, **parameters)
    except ValueError as error:
        if "are so close that their projections coincide" not in str(error):
            raise
        gaps = [np.linalg.norm(p - q) for i, p in enumerate(X) for q in X[:i]]
        assert min(gaps) < 1e-12 * np.max(np.abs(X)) * X.shape[1]
        assume(False)


@given(tasks(numbers=st.one_of(ORDINARY, WIDE)))
def test_any_labels_of_any_distinct_points(task):
    X, y = task
    network = memorize_or_reject(X, y)
    error = exact_error(network, X, y)
    assert network.error == pytest.approx(error, rel=1e-9, abs=cancellation(network))
    assert error <= rounding_limit(network, X, y) + cancellation(network)
    assert_values(network, X)


@given(tasks(), st.randoms(use_true_random=False))
def test_order_of_the_points_does_not_matter(task, random):
    X, y = task
    order = random.sample(range(len(y)), len(y))
    network, other = memorize_or_reject(X, y), memorize_or_reject(X[order], y[order])
    assert np.array_equal(network.biases, other.biases)
    assert np.array_equal(network.weights, other.weights)


@given(
    tasks(numbers=st.integers(-(10**6), 10**6).map(lambda i: i / 1024)), *[st.integers(-60, 60)] * 2
)
def test_powers_of_two_scale_exactly(task, of_X, of_y):
    X, y = task
    network = memorize_or_reject(X, y)
    scaled = memorize(np.ldexp(X, of_X), np.ldexp(y, of_y), rng=0)
    assert np.array_equal(scaled.biases, np.ldexp(network.biases, of_X))
    assert np.array_equal(scaled.weights, np.ldexp(network.weights, of_y - of_X))
    assert scaled.error == np.ldexp(network.error, of_y)


@given(tasks(), st.floats(0, 1), st.data())
def test_no_value_between_points_exceeds_the_labels(task, share, data):
    X, y = task
    network = memorize_or_reject(X, y)
    i, j = (data.draw(st.integers(0, len(y) - 1)) for _ in range(2))
    value = network((share * X[i] + (1 - share) * X[j])[None])[0]
    # Rounding the combination may move it past the last point, where the slope is no label's.
    slack = 4 * EPS * np.max(np.abs(X)) * len(X[0]) * np.max(np.abs(np.cumsum(network.weights)))
    slack += network.error + 4 * EPS * np.max(np.abs(y))
    assert np.min(y) - slack <= value <= np.max(y) + slack


@given(tasks(), st.floats(0, 0.5))
def test_any_stable_interleaving_fits(task, interleave):
    X, y = task
    network = memorize_or_reject(X, y, interleave=interleave)
    error = exact_error(network, X, y)
    assert network.error == pytest.approx(error, rel=1e-9, abs=cancellation(network))
    integers, shift = exact_projections(network.projection, X)
    at = [Fraction(p, 1 << shift) for p in sorted(integers)]
    biases = [Fraction(b) for b in network.biases.tolist()]
    assert all(b < x for b, x in zip(biases, at, strict=True))
    assert all(x <= b for b, x in zip(biases[1:], at[:-1], strict=True))
