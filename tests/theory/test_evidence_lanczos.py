"""Stochastic Lanczos log determinants against dense ones, with honest error bars."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stat_asserts import assert_mean

from theory.evidence import log_determinant


def spd(dimension, seed=0, low=0.1, high=10.0):
    """Random symmetric matrix with eigenvalues spread geometrically between low and high."""
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0]
    A = Q * np.geomspace(low, high, dimension) @ Q.T
    return (A + A.T) / 2


def dense(A, shift=0.0):
    return np.linalg.slogdet(A + shift * np.eye(len(A)))[1]


def matrix_log(A):
    e, V = np.linalg.eigh(A)
    return V * np.log(e) @ V.T


# ---------------------------------------------------------------------------------------- accuracy


@pytest.mark.parametrize("shift", [0.0, 0.5, 100.0])
def test_dense_log_determinant_within_six_standard_errors(shift):
    A = spd(300)
    estimate = log_determinant(lambda v: A @ v, 300, shift=shift, probes=64, rng=1)
    assert estimate.truncation < 1e-6
    assert abs(estimate.value - dense(A, shift)) < 6 * estimate.standard_error + 1e-6
    assert isinstance(estimate.value, float)
    assert (estimate.probes, estimate.steps) == (64, 64)


@pytest.mark.parametrize("dimension", [1, 2, 17])
def test_exact_for_a_multiple_of_the_identity(dimension):
    estimate = log_determinant(lambda v: 3.0 * v, dimension, shift=0.5, rng=0)
    assert estimate.value == pytest.approx(dimension * np.log(3.5), rel=1e-14)
    assert estimate.standard_error < 1e-13
    assert estimate.steps == 1


def test_exact_for_a_diagonal_matrix_with_as_many_steps_as_dimensions():
    spectrum = np.geomspace(1e-6, 1e6, 12)
    estimate = log_determinant(lambda v: spectrum * v, 12, steps=12, shift=1e-8, rng=0)
    truth = np.sum(np.log(spectrum + 1e-8))
    assert estimate.value == pytest.approx(truth, abs=1e-3)  # eigenvalues to eps times the largest
    mild = np.linspace(1.0, 9.0, 12)
    estimate = log_determinant(lambda v: mild * v, 12, steps=999, rng=0)
    assert estimate.value == pytest.approx(np.sum(np.log(mild)), rel=1e-13)
    assert estimate.steps <= 12


def test_krylov_space_exhausted_by_few_distinct_eigenvalues():
    spectrum = np.repeat([1.0, 2.0, 7.0], [50, 30, 20])
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((100, 100)))[0]
    A = Q * spectrum @ Q.T
    A = (A + A.T) / 2
    estimate = log_determinant(lambda v: A @ v, 100, probes=400, rng=1)
    assert estimate.steps < 20
    assert estimate.truncation < 1e-9
    assert abs(estimate.value - np.sum(np.log(spectrum))) < 6 * estimate.standard_error


@pytest.mark.parametrize("shift", [1e-4, 1.0])
def test_rank_deficient_matrix(shift):
    rng = np.random.default_rng(3)
    J = rng.standard_normal((200, 8))
    truth = 192 * np.log(shift) + np.linalg.slogdet(J.T @ J + shift * np.eye(8))[1]
    estimate = log_determinant(lambda v: J @ (J.T @ v), 200, shift=shift, probes=200, rng=0)
    assert estimate.steps < 20
    assert abs(estimate.value - truth) < 6 * estimate.standard_error


@pytest.mark.parametrize("scale", [1e-120, 1.0, 1e120])
def test_scale(scale):
    A = spd(30)
    plain = log_determinant(lambda v: A @ v, 30, rng=0)
    scaled = log_determinant(lambda v: scale * (A @ v), 30, rng=0)
    assert scaled.value - 30 * np.log(scale) == pytest.approx(plain.value, abs=1e-8)


def test_truncation_shrinks_with_steps_and_has_the_size_of_the_error():
    spectrum = np.geomspace(1e-3, 10.0, 500)  # diagonal: no noise, only quadrature error
    truth, truncations = np.sum(np.log(spectrum)), []
    for steps in (5, 10, 20, 40, 80):
        estimate = log_determinant(lambda v: spectrum * v, 500, steps=steps, rng=0)
        error = abs(estimate.value - truth)
        truncations.append(estimate.truncation)
        assert error < 20 * estimate.truncation
    assert np.all(np.diff(truncations) < 0)


def test_one_step_does_not_claim_to_be_exact():
    spectrum = np.geomspace(1e-3, 10.0, 500)
    estimate = log_determinant(lambda v: spectrum * v, 500, steps=1, rng=0)
    error = abs(estimate.value - np.sum(np.log(spectrum)))
    assert error > 100
    assert not estimate.truncation < error / 100


# -------------------------------------------------------------------------------- shifts and seeds


def test_shifts_together_are_each_alone():
    A = spd(40)
    shifts = np.array([[0.0, 0.1, 1.0], [10.0, 1e3, -0.05]])
    together = log_determinant(lambda v: A @ v, 40, shift=shifts, rng=7)
    for field in ("value", "standard_error", "truncation"):
        assert getattr(together, field).shape == (2, 3)
    for i in np.ndindex(2, 3):
        alone = log_determinant(lambda v: A @ v, 40, shift=shifts[i], rng=7)
        assert together.value[i] == pytest.approx(alone.value, rel=1e-12)
        assert together.standard_error[i] == pytest.approx(alone.standard_error, rel=1e-9)


@pytest.mark.parametrize(
    "make", [lambda: 5, lambda: np.random.SeedSequence(5), lambda: np.random.default_rng(5)]
)
def test_same_rng_same_bits(make):
    A = spd(40)
    one = log_determinant(lambda v: A @ v, 40, rng=make())
    two = log_determinant(lambda v: A @ v, 40, rng=make())
    assert (one.value, one.standard_error) == (two.value, two.standard_error)


def test_different_rng_different_answer():
    A = spd(40)
    values = {float(log_determinant(lambda v: A @ v, 40, rng=s).value) for s in (0, 1, None, None)}
    assert len(values) == 4
    rng = np.random.default_rng(0)
    assert len({float(log_determinant(lambda v: A @ v, 40, rng=rng).value) for _ in "ab"}) == 2


def test_product_may_overwrite_its_argument_or_return_a_list():
    A = spd(20)
    plain = log_determinant(lambda v: A @ v, 20, rng=0).value

    def overwriting(v):
        v[:] = A @ v
        return v

    assert log_determinant(overwriting, 20, rng=0).value == plain
    assert log_determinant(lambda v: (A @ v).tolist(), 20, rng=0).value == plain


@given(st.integers(1, 12), st.integers(0, 1000), st.floats(-3, 3))
def test_diagonal_matrices_have_no_noise(dimension, seed, log_shift):
    e = np.random.default_rng(seed).uniform(0.1, 5.0, dimension)
    shift = 10.0**log_shift
    estimate = log_determinant(lambda v: e * v, dimension, shift=shift, rng=seed, probes=2)
    assert estimate.value == pytest.approx(np.sum(np.log(e + shift)), rel=1e-9, abs=1e-9)


# -------------------------------------------------------------------------------------- error bars
# 600 repetitions of 4 probes, alpha = 1e-5. The quadrature is exact (as many steps as dimensions),
# so the estimate is unbiased. Bias detectable: 0.28 standard deviations of one repetition.


@pytest.fixture(scope="module")
def repetitions():
    A = spd(25, low=0.5, high=50.0)
    rng = np.random.default_rng(20)
    estimates = [log_determinant(lambda v: A @ v, 25, probes=4, rng=rng) for _ in range(600)]
    return (
        A,
        np.array([estimate.value for estimate in estimates]),
        np.array([estimate.standard_error for estimate in estimates]),
    )


def test_unbiased(repetitions):
    A, values, _ = repetitions
    assert_mean(values, dense(A))


def test_unbiased_can_fail(repetitions):
    A, values, _ = repetitions
    with pytest.raises(AssertionError, match="z = "):
        assert_mean(values, dense(A) + 0.4 * np.std(values))
    with pytest.raises(AssertionError, match="z = "):
        assert_mean(values, len(A) * np.log(np.trace(A) / len(A)))  # Jensen: one Lanczos step


def test_standard_error_is_the_variance_of_rademacher_probes(repetitions):
    """One probe has variance 2 |offdiag(ln A)|², four times the squared standard error of four."""
    A, _, errors = repetitions
    L = matrix_log(A)
    off = L - np.diag(np.diagonal(L))
    assert_mean(4 * errors**2, 2 * np.sum(off**2))


def test_standard_error_can_fail(repetitions):
    A, _, errors = repetitions
    L = matrix_log(A)
    off = L - np.diag(np.diagonal(L))
    with pytest.raises(AssertionError, match="z = "):
        assert_mean(4 * errors**2, 2 * np.sum(L**2))  # Gaussian probes
    with pytest.raises(AssertionError, match="z = "):
        assert_mean(3 * errors**2, 2 * np.sum(off**2))  # divided by n instead of n - 1


def test_standard_error_falls_with_the_root_of_the_probes():
    A = spd(25)
    few, many = (
        np.mean(
            [
                log_determinant(lambda v: A @ v, 25, probes=p, rng=seed).standard_error ** 2 * p
                for seed in range(10)
            ]
        )
        for p in (8, 128)
    )
    assert few == pytest.approx(many, rel=0.5)


# ------------------------------------------------------------------------------------------ errors

VALID = {"matvec": lambda v: 2.0 * v, "dimension": 5, "rng": 0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": 0}, "dimension must be an integer of at least 1, got 0"),
        ({"dimension": 5.0}, "dimension must be an integer"),
        ({"probes": 1}, "probes must be an integer of at least 2, got 1"),
        ({"probes": True}, "probes must be an integer"),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"steps": "many"}, "steps must be an integer"),
        ({"shift": np.nan}, "shift has NaN"),
        ({"shift": []}, "shift is empty"),
        ({"shift": "none"}, "shift must be an array of numbers"),
        ({"shift": -2.0}, "shift is not positive definite"),
        ({"shift": [1.0, -3.0]}, "shift is not positive definite: .* -1"),
        ({"matvec": lambda v: -v}, "shift is not positive definite"),
        ({"matvec": lambda v: 0.0 * v}, "shift is not positive definite"),
        ({"matvec": lambda v: v[:-1]}, r"matvec must return .*\(5,\), got \(4,\)"),
        ({"matvec": lambda v: v[:, None]}, r"matvec must return .*\(5,\), got \(5, 1\)"),
        ({"matvec": lambda v: None}, "matvec returns"),
        ({"matvec": lambda v: np.nan * v}, "matvec returns has NaN"),
        ({"matvec": lambda v: np.full(5, np.inf)}, "matvec returns has NaN"),
        ({"matvec": lambda v: ["a"] * 5}, "matvec"),
    ],
)
def test_log_determinant_raises(change, message):
    with pytest.raises(ValueError, match=message):
        log_determinant(**VALID | change)


def test_an_indefinite_matrix_is_found_out():
    A = spd(60) - 2.0 * np.eye(60)
    with pytest.raises(ValueError, match="not positive definite"):
        log_determinant(lambda v: A @ v, 60, rng=0)
