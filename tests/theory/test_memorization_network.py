"""The network of 2n + d weights: exact rational arithmetic, interpolation, bits, hypothesis."""

import copy
import os
import pickle
import subprocess
import sys
from bisect import bisect_left
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction
from itertools import accumulate, pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from theory.memorization import MemorizingNetwork, hinge_weights, memorize

EPS = np.finfo(float).eps


def problem(n, d, seed=0, outputs=None, dtype=np.float64):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "u":
        X = rng.integers(0, 256, size=(n, d)).astype(dtype)
    else:
        X = rng.normal(size=(n, d)).astype(dtype)
    return X, rng.normal(size=n if outputs is None else (n, outputs))


def whole(array):
    """Integers, and the power of two they are to be divided by, that equal the array's numbers."""
    mantissas, exponents = np.frexp(np.asarray(array, dtype=np.float64).ravel())
    integers = (mantissas * 2.0**53).astype(np.int64).tolist()
    exponents = (exponents - 53).tolist()
    lowest = min([0, *(e for m, e in zip(integers, exponents, strict=True) if m)])
    return [
        m << (e - lowest) if m else 0 for m, e in zip(integers, exponents, strict=True)
    ], -lowest


def exact_projections(projection, X):
    X = np.asarray(X, dtype=np.float64)
    (a, a_shift), (x, x_shift) = whole(projection), whole(X)
    d = X.shape[1]
    rows = [x[i : i + d] for i in range(0, len(x), d)]
    return [sum(map(int.__mul__, a, row)) for row in rows], a_shift + x_shift


def exact_values(network, X, output=0):
    """What the stored float64 numbers define, as rational numbers, by exact prefix sums."""
    at, at_shift = exact_projections(network.projection, X)
    biases, shift = whole(network.biases)
    weights, w_shift = whole(network.weights.reshape(len(biases), -1)[:, output])
    common = max(at_shift, shift)
    at = [p << (common - at_shift) for p in at]
    biases = [b << (common - shift) for b in biases]
    slopes = [0, *accumulate(weights)]
    offsets = [0, *accumulate(map(int.__mul__, weights, biases))]
    active = [bisect_left(biases, p) for p in at]
    bits = 1 << (common + w_shift)
    return [Fraction(slopes[j] * p - offsets[j], bits) for j, p in zip(active, at, strict=True)]


def exact_error(network, X, y, output=0):
    values = exact_values(network, X, output)
    return float(max(abs(v - Fraction(t)) for v, t in zip(values, y.tolist(), strict=True)))


def rounding_limit(network, X, y):
    """Twice what rounding the one weight of a point, and the slope it aims for, can move it."""
    at, shift = exact_projections(network.projection, X)
    at = np.sort([p / (1 << shift) for p in at])
    reach = (
        np.abs(network.weights.reshape(len(network.biases), -1)) * (at - network.biases)[:, None]
    )
    return 2 * EPS * (np.max(reach) + 2 * np.max(np.abs(y)))


def cancellation(network):
    """What double-double, of about 2^-104, may lose of the sums that cancel."""
    return 2.0**-98 * np.sum(np.abs(network.weights)) * np.ptp(np.append(network.biases, 0.0))


def assert_values(network, X, few=4, output=0):
    """Fail if the network's values are not the exact ones to a few units in the last place."""
    got = network(X)
    got = got if got.ndim == 1 else got[:, output]
    exact = exact_values(network, X, output)
    off = np.array([float(Fraction(g) - e) for g, e in zip(got.tolist(), exact, strict=True)])
    allowed = few * np.spacing(np.abs([float(e) for e in exact])) + cancellation(network)
    assert np.all(np.abs(off) <= allowed)


# ---------------------------------------------------------------------------------- the exact truth


def test_prefix_sums_of_integers_are_the_double_sum_of_fractions():
    X, y = problem(30, 3)
    network = memorize(X, y, rng=1)
    new = np.vstack([X, problem(10, 3, seed=2)[0]])
    a, b, w = (
        [Fraction(v) for v in part.tolist()]
        for part in (network.projection, network.biases, network.weights)
    )
    for row, value in zip(new.tolist(), exact_values(network, new), strict=True):
        at = sum(weight * Fraction(entry) for weight, entry in zip(a, row, strict=True))
        hinges = (wj * max(at - bj, Fraction(0)) for wj, bj in zip(w, b, strict=True))
        assert value == sum(hinges)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.uint8])
@pytest.mark.parametrize(("n", "d", "outputs"), [(300, 1, None), (120, 2, 3), (200, 17, None)])
@pytest.mark.parametrize("interleave", [0.0, 0.3, 0.5])
def test_stored_parameters_fit_exactly_as_reported(n, d, outputs, dtype, interleave):
    n = 100 if d == 1 and dtype == np.uint8 else n
    X, y = problem(n, d, outputs=outputs, dtype=dtype)
    if d == 1 and dtype == np.uint8:
        X = np.random.default_rng(0).permutation(256)[:n, None].astype(np.uint8)
    network = memorize(X, y, rng=0, interleave=interleave)
    columns = y.reshape(n, -1).T
    errors = [exact_error(network, X, column, k) for k, column in enumerate(columns)]
    assert network.error == pytest.approx(max(errors), rel=1e-12)
    assert network.error < 1e-8
    if interleave == 0.0:
        assert network.error <= rounding_limit(network, X, y)
    for k in range(len(columns)):
        assert_values(network, X, output=k)


@pytest.mark.parametrize("interleave", [0.6, 0.75])
def test_unstable_interleaving_is_reported_truly(interleave):
    X, y = problem(60, 5)
    network = memorize(X, y, rng=0, interleave=interleave)
    assert network.error == pytest.approx(exact_error(network, X, y), rel=1e-12)
    assert network.error > 100 * memorize(X, y, rng=0).error
    long = problem(300, 5)
    assert memorize(*long, rng=0, interleave=interleave).error > 1.0


def test_slopes_explode_as_the_interleaving_says():
    X = np.arange(1.0, 41.0)[:, None]
    y = np.where(np.arange(40) % 2, 1.0, -1.0)
    ratio = 0.75 / 0.25
    network = memorize(X, y, rng=0, interleave=0.75)
    slopes = np.abs(np.cumsum(network.weights))
    assert slopes[30] / slopes[20] == pytest.approx(ratio**10, rel=1e-3)


def test_new_points_kinks_and_beyond():
    X, y = problem(200, 4)
    network = memorize(X, y, rng=0)
    inside, _ = problem(300, 4, seed=5)
    assert_values(network, inside)
    assert_values(network, 1e6 * inside)
    assert_values(network, 1e-12 * inside)
    far = -1e3 * network.projection[None]
    assert network(far).tolist() == [0.0]


@pytest.mark.parametrize("interleave", [0.0, 0.4])
def test_exactly_at_and_next_to_kinks(interleave):
    X, y = problem(150, 1)
    network = memorize(X, y, rng=0, interleave=interleave)
    kinks = network.biases * network.projection
    sides = np.concatenate([kinks, np.nextafter(kinks, -np.inf), np.nextafter(kinks, np.inf)])
    assert_values(network, sides[:, None])
    assert network(kinks[:1, None]).tolist() == [0.0]


def test_kinks_that_lie_between_float64_numbers():
    # <a, x> is a little above or below b, by less than one unit in the last place of b.
    X, y = problem(100, 3)
    network = memorize(X, y, rng=0)
    at, shift = exact_projections(network.projection, X)
    sides = set()
    for j in range(20):
        bias = float(Fraction(at[j], 1 << shift))
        one = replace(network, biases=np.array([bias - 1.0, bias]), weights=np.array([1.0, 1e18]))
        sides.add(Fraction(at[j], 1 << shift) > Fraction(bias))
        assert_values(one, X[j : j + 1])
    assert sides == {True, False}


@pytest.mark.parametrize("n", [10_000, 100_000])
def test_rounding_does_not_accumulate(n):
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(n, 1)), rng.choice([-1.0, 1.0], size=n)
    network = memorize(X, y, rng=0)
    error = exact_error(network, X, y)
    assert network.error == pytest.approx(error, rel=1e-12)
    assert error <= rounding_limit(network, X, y)
    order = np.argsort(X[:, 0] * network.projection[0])
    at = X[order, 0] * network.projection[0]
    naive = replace(network, weights=hinge_weights(at, network.biases, y[order]))
    with pytest.raises(AssertionError):
        assert exact_error(naive, X, y) <= rounding_limit(network, X, y)
    assert exact_error(naive, X, y) > 30 * error


# ----------------------------------------------------------------------------------- the projection


def precise(projection, row):
    """Read <a, x> off a network of one hinge just below it: what is left are the low bits."""
    (at,), shift = exact_projections(projection, row[None])
    exact = Fraction(at, 1 << shift)
    bias = float(exact)
    bias = np.nextafter(bias, -np.inf) if Fraction(bias) >= exact else bias
    one = MemorizingNetwork(
        projection, np.array([bias]), np.array([1.0]), margin=np.inf, error=np.nan
    )
    return Fraction(float(one(row[None])[0])), exact - Fraction(float(bias))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("d", [*range(1, 41), 784])
def test_projection_to_a_hundred_bits(d, dtype):
    rng = np.random.default_rng(d)
    for cancel in (False, True):
        direction = rng.normal(size=d)
        row = (rng.normal(size=d) * 10.0 ** rng.integers(-6, 7, size=d)).astype(dtype)
        if cancel and d > 1:
            row[-1] = -(row[:-1].astype(float) @ direction[:-1]) / direction[-1]
        got, wanted = precise(direction, row)
        size = np.abs(row.astype(float)) @ np.abs(direction)
        assert abs(got - wanted) <= 2.0**-100 * d * size + EPS * float(wanted)


def test_projection_in_float64_alone_would_be_seen():
    X, y = problem(200, 40)
    network = memorize(X, y, rng=0)
    rounded = (X @ network.projection)[:, None]
    line = replace(network, projection=np.ones(1))
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(line(rounded), network(X), rtol=1e-15, atol=0)


@pytest.mark.parametrize(
    "dtype", [np.float32, np.float16, np.uint8, np.int16, np.int32, np.int64, bool]
)
def test_narrow_numbers_are_read_as_they_are(dtype):
    rng = np.random.default_rng(3)
    X = rng.integers(0, 2 if dtype is bool else 100, size=(40, 37)).astype(dtype)
    y = rng.normal(size=40)
    given, wide = memorize(X, y, rng=0), memorize(X.astype(float), y, rng=0)
    assert np.array_equal(given.weights, wide.weights)
    assert np.array_equal(given(X), wide(X.astype(float)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("d", [1, 16, 35])
def test_a_points_bits_are_its_own(d, dtype):
    X, y = problem(500, d, dtype=dtype, outputs=2)
    network = memorize(X, y, rng=0)
    X = np.vstack([X, problem(100, d, seed=9, dtype=dtype)[0]])
    values = network(X)
    order = np.random.default_rng(1).permutation(len(X))
    wide = np.zeros((len(X), 2 * d), dtype=dtype)
    wide[:, ::2] = X
    frozen = X.copy()
    frozen.setflags(write=False)
    assert all(np.array_equal(network(X[i : i + 1])[0], values[i]) for i in range(0, 600, 7))
    assert np.array_equal(network(X[order]), values[order])
    assert np.array_equal(network(X[13:317]), values[13:317])
    assert np.array_equal(network(X[::-3]), values[::-3])
    for same in (np.asfortranarray(X), wide[:, ::2], frozen, X.astype(X.dtype.newbyteorder())):
        assert np.array_equal(network(same), values)
    assert np.array_equal(network(X.tolist()), values)


def test_bits_do_not_depend_on_the_number_of_threads(monkeypatch):
    X, y = problem(3000, 2100, dtype=np.float32)
    line = np.random.default_rng(4).normal(size=(150_000, 1))
    found = []
    for cores in (1, 7):
        monkeypatch.setattr(
            os, "sched_getaffinity", lambda _, c=cores: set(range(c)), raising=False
        )
        network = memorize(X, y, rng=0)
        short = memorize(X[:50, :1], y[:50], rng=0)
        found.append((network.weights, network(X), short(line)))
    for one, many in zip(*found, strict=True):
        assert np.array_equal(one, many)


# ---------------------------------------------------------------------------- counts, margin, draws


@pytest.mark.parametrize(
    ("n", "d", "outputs"), [(1, 1, None), (7, 3, None), (7, 3, 1), (40, 64, 10)]
)
def test_counts(n, d, outputs):
    X, y = problem(n, d, outputs=outputs)
    network = memorize(X, y, rng=0)
    K = outputs or 1
    assert network.n_parameters == n * (K + 1) + d
    assert network.n_dense_parameters == n * d + n + n * K
    assert network.degrees_of_freedom == n * (K + 1) + d - 1
    assert network.weights.shape == y.shape
    assert network(X).shape == y.shape
    assert np.linalg.norm(network.projection) == pytest.approx(1.0, rel=1e-15)
    assert np.all(np.diff(network.biases) > 0)


def test_counts_of_digits_as_the_theorem_says():
    X, y = problem(1797, 64, dtype=np.uint8)
    assert memorize(X, y, rng=0).n_parameters == 2 * 1797 + 64


def test_degrees_of_freedom_leave_one_scale_out():
    X, y = problem(20, 4)
    network = memorize(X, y, rng=0)
    parts = {"biases": 8 * network.biases, "weights": network.weights / 8}
    same = replace(network, projection=8 * network.projection, **parts)
    assert np.array_equal(same(X), network(X))


def test_margin_is_the_smallest_gap():
    X, y = problem(80, 6)
    network = memorize(X, y, rng=0)
    at, shift = exact_projections(network.projection, X)
    gap = min(right - left for left, right in pairwise(sorted(at)))
    assert network.margin == pytest.approx(float(Fraction(gap, 1 << shift)), abs=4 * EPS * 10)
    assert memorize(X[:1], y[:1], rng=0).margin == np.inf


def test_projections_keep_the_largest_margin():
    X, y = problem(50, 8)
    generator = np.random.default_rng(5)
    one_by_one = [memorize(X, y, rng=generator) for _ in range(12)]
    margins = [network.margin for network in one_by_one]
    assert len(set(margins)) == 12
    for k in range(1, 13):
        best = memorize(X, y, rng=5, projections=k)
        assert best.margin == max(margins[:k])
        same = one_by_one[int(np.argmax(margins[:k]))]
        assert np.array_equal(best.projection, same.projection)
        assert np.array_equal(best.weights, same.weights)


def test_random_numbers():
    X, y = problem(30, 5)
    sources = (3, np.random.SeedSequence(3), np.random.default_rng(3), np.int64(3))
    first, *others = [memorize(X, y, rng=source) for source in sources]
    assert all(np.array_equal(first.projection, other.projection) for other in others)
    assert all(np.array_equal(first.weights, other.weights) for other in others)
    drawn = [memorize(X, y).projection, memorize(X, y).projection, first.projection]
    assert len({tuple(a) for a in drawn}) == 3


def test_directions_are_uniform_on_the_circle():
    X, y = problem(4, 2)
    generator = np.random.default_rng(11)
    angles = [np.arctan2(*memorize(X, y, rng=generator).projection) for _ in range(400)]
    octants = np.bincount(((np.array(angles) + np.pi) // (np.pi / 4)).astype(int) % 8, minlength=8)
    assert (
        np.sum((octants - 50) ** 2 / 50) < 37.5
    )  # chi-square of 7 degrees at alpha = 1e-5 is 38.0


def test_it_is_frozen_and_travels():
    X, y = problem(30, 5)
    network = memorize(X, y, rng=0)
    values = network(X)
    for moved in (pickle.loads(pickle.dumps(network)), copy.deepcopy(network), replace(network)):
        assert np.array_equal(moved(X), values)
    with pytest.raises(FrozenInstanceError):
        network.error = 0.0


def test_importing_does_not_bring_numba():
    code = "import sys, theory.memorization; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


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
    with pytest.raises(
        ValueError, match=r"rows (6 and 13|13 and 6) of X are so close .* in each of 9 dir"
    ):
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
