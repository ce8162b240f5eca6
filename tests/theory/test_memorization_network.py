"""The network of 2n + d weights: exact rational arithmetic, projections, bits, counts, draws."""

import copy
import os
import pickle
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from exact_networks import (
    EPS,
    assert_values,
    exact_error,
    exact_projections,
    exact_values,
    rounding_limit,
)

from theory.memorization import MemorizingNetwork, hinge_weights, memorize


def problem(n, d, seed=0, outputs=None, dtype=np.float64):
    rng = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "u":
        X = rng.integers(0, 256, size=(n, d)).astype(dtype)
    else:
        X = rng.normal(size=(n, d)).astype(dtype)
    return X, rng.normal(size=n if outputs is None else (n, outputs))


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


@pytest.mark.parametrize("seed", range(6))
def test_interleaving_that_rounds_to_one(seed):
    X = np.array([[1.0], [3.0], [5.0], [11.0]])
    network = memorize(X, [1.0, 2.0, -1.0, 1.0], rng=seed, interleave=np.nextafter(1.0, 0.0))
    at = np.sort(X[:, 0] * network.projection[0])
    assert np.all(network.biases < at)
    assert np.all(network.biases[1:] >= at[:-1])
    assert np.isfinite(network.error)


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


NARROW = {
    bool: 2,
    np.uint8: 256,
    np.int16: 2**15,
    np.uint16: 2**16,
    np.int32: 2**31,
    np.int64: 2**53,
}


@pytest.mark.parametrize("dtype", [np.float16, np.float32, *NARROW])
def test_narrow_numbers_are_read_as_they_are(dtype):
    rng = np.random.default_rng(3)
    if dtype in NARROW:
        X = rng.integers(0, NARROW[dtype], size=(40, 37)).astype(dtype)
    else:
        X = rng.normal(size=(40, 37)).astype(dtype)
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
