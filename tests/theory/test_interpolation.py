"""Interpolants by pseudo-inverses, 50 digits, refits and finite differences."""

import re
import tracemalloc

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import null_space
from scipy.spatial.distance import cdist
from sklearn.kernel_ridge import KernelRidge
from sklearn.metrics.pairwise import rbf_kernel

from theory.interpolation import (
    gaussian_kernel,
    interpolation_hessian,
    kernel_interpolant,
    laplacian_kernel,
    minimum_norm_interpolant,
    ridge_path,
    sgd_limit,
)

SHAPES = [(1, 1), (1, 5), (3, 3), (4, 9), (20, 50)]
OUTPUTS = [(), (1,), (3,)]
KERNELS = [gaussian_kernel, laplacian_kernel]
seeds = st.integers(0, 2**32 - 1)


def problem(n, d, outputs=(), seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, *outputs))


def conditioned(n, d, decades, seed=0):
    """Inputs whose singular values go from 1 down by so many decades."""
    rng = np.random.default_rng(seed)
    U = np.linalg.qr(rng.standard_normal((n, n)))[0]
    V = np.linalg.qr(rng.standard_normal((d, n)))[0]
    return U * np.logspace(0, -decades, n) @ V.T


def fifty_digits(X, y):
    """Weights and coefficients of the interpolant of least norm."""
    with mp.workdps(50):
        inputs = mp.matrix(X.tolist())
        alpha = mp.lu_solve(inputs * inputs.T, mp.matrix(y.tolist()))
        weights = inputs.T * alpha
        return np.array([float(w) for w in weights]), np.array([float(a) for a in alpha])


def relative(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


# ------------------------------------------------------------------------- minimum norm interpolant


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_minimum_norm_is_least_squares_of_lapack(n, d, outputs):
    X, y = problem(n, d, outputs)
    fit = minimum_norm_interpolant(X, y)
    expected = np.linalg.lstsq(X, y)[0]
    assert fit.weights.shape == (d, *outputs)
    assert fit.coefficients.shape == y.shape
    np.testing.assert_allclose(fit.weights, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(X.T @ fit.coefficients, fit.weights, rtol=0, atol=1e-10)
    assert fit.norm == pytest.approx(np.linalg.norm(expected), rel=1e-10)
    assert fit.residual == np.max(np.abs(X @ fit.weights - y)) < 1e-12
    assert fit.rank == n


@pytest.mark.parametrize("decades", [0, 3, 6, 9])
def test_weights_lose_digits_with_the_condition_number_only(decades):
    X = conditioned(8, 15, decades)
    y = np.random.default_rng(1).standard_normal(8)
    weights, alpha = fifty_digits(X, y)
    fit = minimum_norm_interpolant(X, y)
    assert relative(fit.weights, weights) < 1e-14 * 10**decades
    assert relative(fit.coefficients, alpha) < 1e-14 * 10 ** (2 * decades)


@pytest.mark.parametrize("scale", [1e-120, 1e120])
def test_minimum_norm_of_tiny_and_huge_inputs(scale):
    X, y = problem(4, 9)
    plain, scaled = minimum_norm_interpolant(X, y), minimum_norm_interpolant(scale * X, y)
    np.testing.assert_allclose(scale * scaled.weights, plain.weights, rtol=1e-12)


@given(seeds, st.integers(1, 6), st.integers(1, 6), st.floats(-3, 3))
def test_every_other_interpolant_is_longer(seed, n, extra, distance):
    X, y = problem(n, n + extra, seed=seed)
    fit = minimum_norm_interpolant(X, y)
    away = null_space(X)[:, 0]
    other = fit.weights + distance * away
    np.testing.assert_allclose(X @ other, y, atol=1e-7 * (1 + fit.norm))
    assert np.linalg.norm(other) == pytest.approx(np.hypot(fit.norm, distance), rel=1e-9)


# -------------------------------------------------------------------------------------- SGD's limit


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_limit_is_the_projection_of_the_start(n, d, outputs):
    X, y = problem(n, d, outputs)
    start = np.random.default_rng(1).standard_normal((d, *outputs))
    null = null_space(X)
    expected = np.linalg.pinv(X) @ y + null @ (null.T @ start)
    limit = sgd_limit(X, y, initial=start)
    np.testing.assert_allclose(limit, expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(X @ limit, y, rtol=0, atol=1e-11)
    zero = sgd_limit(X, y, initial=np.zeros_like(start))
    np.testing.assert_array_equal(zero, minimum_norm_interpolant(X, y).weights)


def test_limit_of_gradient_descent_on_two_losses():
    X, y = problem(5, 12)
    start = np.random.default_rng(1).standard_normal(12)
    for slope in (lambda error: error, np.tanh):
        w = start.copy()
        for _ in range(4000):
            w -= 0.05 * X.T @ slope(X @ w - y)
        np.testing.assert_allclose(w, sgd_limit(X, y, initial=start), rtol=0, atol=1e-11)


def test_shortest_interpolant_is_not_the_limit_from_elsewhere():
    X, y = problem(5, 12)
    start = np.random.default_rng(1).standard_normal(12)
    assert relative(sgd_limit(X, y, initial=start), minimum_norm_interpolant(X, y).weights) > 1


@given(seeds, st.integers(1, 6), st.integers(1, 6))
def test_limit_is_the_nearest_interpolant(seed, n, extra):
    X, y = problem(n, n + extra, seed=seed)
    rng = np.random.default_rng([seed, 1])
    start = rng.standard_normal(n + extra)
    limit = sgd_limit(X, y, initial=start)
    null = null_space(X)
    other = limit + null @ rng.standard_normal(extra)
    assert np.linalg.norm(other - start) > np.linalg.norm(limit - start)


# -------------------------------------------------------------------------------------- the Hessian


@pytest.mark.parametrize(("n", "d"), [*SHAPES, (9, 4), (5, 1)])
def test_hessian_is_that_of_the_dense_matrix(n, d):
    X, _ = problem(n, d)
    beta = np.random.default_rng(1).uniform(0.1, 2.0, n)
    found = interpolation_hessian(X, beta)
    dense = np.linalg.eigvalsh(X.T @ np.diag(beta) @ X / n)[::-1]
    k = min(n, d)
    assert found.eigenvalues.shape == (k,)
    np.testing.assert_allclose(found.eigenvalues, dense[:k], rtol=0, atol=1e-12 * dense[0])
    np.testing.assert_allclose(dense[k:], 0.0, atol=1e-12 * dense[0])
    assert (found.rank, found.nullity) == (k, d - k)


def test_flat_losses_lower_the_rank():
    X, _ = problem(4, 9)
    found = interpolation_hessian(X, [1.0, 0.0, 2.0, 0.0])
    assert (found.rank, found.nullity) == (2, 7)
    np.testing.assert_array_equal(found.eigenvalues[2:] < 1e-30, True)
    nothing = interpolation_hessian(X, np.zeros(4))
    assert (nothing.rank, nothing.nullity) == (0, 9)


@pytest.mark.parametrize("far", [0.0, 7.0])
def test_hessian_by_finite_differences_of_the_loss(far):
    X, y = problem(3, 5)
    w = minimum_norm_interpolant(X, y).weights + far * null_space(X)[:, 0]

    def loss(v):  # zero where exp(Xv) = exp(y)
        z = X @ v
        return np.mean(np.exp(z) - np.exp(y) - np.exp(y) * (z - y))

    h, eye = 1e-3, np.eye(5)
    numeric = [
        [
            sum(s * t * loss(w + h * (s * a + t * b)) for s in (1, -1) for t in (1, -1))
            / (4 * h**2)
            for a in eye
        ]
        for b in eye
    ]
    expected = interpolation_hessian(X, np.exp(y)).eigenvalues
    found = np.linalg.eigvalsh(numeric)[::-1]
    np.testing.assert_allclose(found, [*expected, 0, 0], atol=2e-5 * expected[0])


# ------------------------------------------------------------------------------------------ kernels


@pytest.mark.parametrize("gamma", [1e-3, 0.7, 30.0])
def test_kernels_are_those_of_pairwise_distances(gamma):
    X, _ = problem(7, 3)
    Z, _ = problem(5, 3, seed=1)
    np.testing.assert_allclose(
        gaussian_kernel(X, Z, gamma=gamma), rbf_kernel(X, Z, gamma=gamma), rtol=1e-12
    )
    np.testing.assert_allclose(
        laplacian_kernel(X, Z, gamma=gamma), np.exp(-gamma * cdist(X, Z)), rtol=1e-12
    )
    for kernel in KERNELS:
        np.testing.assert_allclose(
            kernel(X, gamma=gamma), kernel(X, X.copy(), gamma=gamma), rtol=0, atol=1e-6
        )


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_point_is_at_no_distance_from_itself(kernel):
    X = 1e6 + np.random.default_rng(0).standard_normal((40, 30))
    K = kernel(X, gamma=2.0)
    np.testing.assert_array_equal(np.diag(K), 1.0)
    np.testing.assert_array_equal(K, K.T)
    # With another array of the same points rounding decides, but no distance is below zero.
    assert np.all(K <= 1.0)
    assert np.all(kernel(X, X.copy(), gamma=2.0) <= 1.0)


@pytest.mark.parametrize("kernel", KERNELS)
def test_far_points_have_kernel_zero(kernel):
    np.testing.assert_array_equal(kernel([[0.0], [1e100]], gamma=1.0), np.eye(2))


@pytest.mark.parametrize("kernel", KERNELS)
def test_kernels_make_one_array_of_their_size(kernel):
    X, _ = problem(1000, 2)
    tracemalloc.start()
    kernel(X, gamma=1.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * 8 * 1000**2


@given(seeds, st.integers(1, 8), st.floats(1e-2, 1e2))
def test_kernel_matrices_are_positive_semidefinite(seed, n, gamma):
    X, _ = problem(n, 2, seed=seed)
    for kernel in KERNELS:
        assert np.linalg.eigvalsh(kernel(X, gamma=gamma))[0] > -1e-12


# ------------------------------------------------------------------------------ kernel interpolants


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("ridge", [0.0, 1e-3, 2.0])
def test_interpolant_solves_the_penalized_system(outputs, ridge):
    X, y = problem(12, 3, outputs)
    K = gaussian_kernel(X, gamma=0.8)
    fit = kernel_interpolant(K, y, ridge=ridge)
    alpha = np.linalg.solve(K + ridge * np.eye(12), y)
    assert fit.coefficients.shape == y.shape
    np.testing.assert_allclose(fit.coefficients, alpha, rtol=1e-9, atol=1e-9)
    assert fit.rkhs_norm == pytest.approx(np.sqrt(np.sum(alpha * (K @ alpha))), rel=1e-9)
    assert fit.residual == pytest.approx(np.max(np.abs(y - K @ alpha)), abs=1e-11)


def test_linear_kernel_has_the_norm_of_the_weights():
    X, y = problem(6, 20, (2,))
    by_kernel, by_weights = kernel_interpolant(X @ X.T, y), minimum_norm_interpolant(X, y)
    assert by_kernel.rkhs_norm == pytest.approx(by_weights.norm, rel=1e-11)
    np.testing.assert_allclose(X.T @ by_kernel.coefficients, by_weights.weights, atol=1e-12)


def test_predictions_are_those_of_scikit_learn():
    X, y = problem(15, 4, (2,))
    Z, _ = problem(6, 4, seed=1)
    fit = kernel_interpolant(laplacian_kernel(X, gamma=0.4), y, ridge=0.3)
    peer = KernelRidge(alpha=0.3, kernel=lambda a, b: np.exp(-0.4 * np.linalg.norm(a - b)))
    np.testing.assert_allclose(
        laplacian_kernel(Z, X, gamma=0.4) @ fit.coefficients,
        peer.fit(X, y).predict(Z),
        atol=1e-10,
    )


def test_norm_of_an_ill_conditioned_kernel():
    X = np.linspace(0, 1, 7)[:, None]
    K, y = gaussian_kernel(X, gamma=0.5), np.array([1.0, -1, 1, 1, -1, 1, -1])
    assert np.linalg.cond(K) > 1e8
    with mp.workdps(50):
        targets = mp.matrix(y.tolist())
        square = (targets.T * mp.lu_solve(mp.matrix(K.tolist()), targets))[0]
        expected = float(mp.sqrt(square))
    assert kernel_interpolant(K, y).rkhs_norm == pytest.approx(expected, rel=1e-4)


@given(seeds, st.integers(1, 7), st.floats(0.1, 10.0))
def test_every_other_fit_costs_more(seed, n, ridge):
    X, y = problem(n, 2, seed=seed)
    K = gaussian_kernel(X, gamma=1.0)
    other = np.random.default_rng([seed, 1]).standard_normal(n)

    def cost(alpha):
        return np.sum((K @ alpha - y) ** 2) + ridge * alpha @ K @ alpha

    alpha = kernel_interpolant(K, y, ridge=ridge).coefficients
    assert cost(alpha) <= cost(alpha + 0.1 * other) * (1 + 1e-12)


SINGULAR = {
    "equal points": gaussian_kernel([[0.0], [1.0], [1.0]], gamma=1.0),
    "rounding alone": gaussian_kernel(np.linspace(0, 1, 30)[:, None], gamma=0.1),
    "passed by Cholesky": np.array([[1.0, 1.0], [1.0, 1.0 + 2**-52]]),
    "rank one": np.outer([1.0, 2.0, 0.3], [1.0, 2.0, 0.3]),
    "indefinite": np.diag([1.0, -0.5, 3.0]),
    "negative": -np.eye(3),
    "zero": np.zeros((2, 2)),
}


@pytest.mark.parametrize("name", SINGULAR)
def test_the_named_ridge_helps(name):
    K = SINGULAR[name]
    y = np.random.default_rng(0).standard_normal(len(K))
    for fit in (
        lambda ridge: kernel_interpolant(K, y, ridge=ridge),
        lambda ridge: ridge_path(K, y, [1e3, ridge]),
    ):
        with pytest.raises(ValueError, match=r"ridge 0 is not positive definite") as raised:
            fit(0.0)
        ridge = float(re.search(r"a ridge of (\S+) would", str(raised.value))[1])
        assert np.all(np.isfinite(fit(ridge).coefficients))


# --------------------------------------------------------------------------------------- ridge path

PENALTIES = [0.0, 1e-4, 0.3, 50.0]


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_path_is_every_penalty_alone(outputs):
    X, y = problem(12, 3, outputs)
    K = gaussian_kernel(X, gamma=0.8)
    path = ridge_path(K, y, PENALTIES)
    np.testing.assert_array_equal(path.penalties, PENALTIES)
    for k, penalty in enumerate(PENALTIES):
        alone = kernel_interpolant(K, y, ridge=penalty)
        np.testing.assert_allclose(path.coefficients[k], alone.coefficients, rtol=0, atol=1e-9)
        assert path.rkhs_norms[k] == pytest.approx(alone.rkhs_norm, rel=1e-10)
        assert path.residuals[k].shape == y.shape
        np.testing.assert_allclose(
            path.residuals[k], y - K @ alone.coefficients, rtol=0, atol=1e-10
        )


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_leaving_one_out_is_a_refit(outputs):
    X, y = problem(12, 3, outputs)
    K = laplacian_kernel(X, gamma=0.8)
    path = ridge_path(K, y, PENALTIES)
    assert path.leave_one_out_residuals.shape == (4, 12, *outputs)
    for k, penalty in enumerate(PENALTIES):
        for i in range(12):
            rest = np.arange(12) != i
            fit = kernel_interpolant(K[np.ix_(rest, rest)], y[rest], ridge=penalty)
            expected = y[i] - K[i, rest] @ fit.coefficients
            np.testing.assert_allclose(
                path.leave_one_out_residuals[k, i], expected, rtol=0, atol=1e-10
            )


@given(seeds, st.integers(1, 8), st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=4))
def test_larger_penalties_fit_less_with_smaller_norms(seed, n, penalties):
    X, y = problem(n, 2, seed=seed)
    path = ridge_path(gaussian_kernel(X, gamma=1.0), y, sorted(penalties))
    assert np.all(np.diff(path.rkhs_norms) <= 1e-12 * path.rkhs_norms[0])
    errors = np.linalg.norm(path.residuals, axis=1)
    assert np.all(np.diff(errors) >= -1e-12 * errors[-1])


# ---------------------------------------------------------------------------------------- bad input

X23, K2, NAN = np.eye(3)[:2], np.eye(2), float("nan")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: minimum_norm_interpolant([1.0], [1.0]), r"X must have 2 dimensions, got .*\(1,\)"),
        (lambda: minimum_norm_interpolant([[NAN]], [1.0]), "X has NaN or infinite values"),
        (lambda: minimum_norm_interpolant([["a"]], [1.0]), "X must be an array of numbers"),
        (lambda: minimum_norm_interpolant(np.zeros((0, 3)), []), r"X is empty: shape \(0, 3\)"),
        (lambda: minimum_norm_interpolant([[1e200]], [1.0]), "X is of size 1e[+]200"),
        (lambda: minimum_norm_interpolant(X23, [1.0]), "X has 2 rows but y has 1"),
        (lambda: minimum_norm_interpolant(X23, 1.0), r"y must have 1 dimensions, got shape \(\)"),
        (lambda: minimum_norm_interpolant(X23, np.zeros((2, 1, 1))), "y must have 1 dimensions"),
        (lambda: minimum_norm_interpolant(X23, [1.0, np.inf]), "y has NaN or infinite values"),
        (
            lambda: minimum_norm_interpolant([[1.0, 2, 3], [4, 5, 6], [5, 7, 9]], [1, 2, 3]),
            "the 3 rows of X are linearly dependent, of rank 2",
        ),
        (
            lambda: minimum_norm_interpolant(problem(5, 3)[0], np.ones(5)),
            "the 5 rows of X are linearly dependent, of rank 3",
        ),
        (lambda: minimum_norm_interpolant([[0.0, 0.0]], [1.0]), "dependent, of rank 0"),
        (lambda: sgd_limit([[1.0], [1.0]], [1, 2], initial=[0.0]), "2 rows .* of rank 1"),
        (lambda: sgd_limit(X23, [1, 2], initial=[0.0]), r"initial must have shape \(3,\), got \(1"),
        (
            lambda: sgd_limit(X23, np.ones((2, 2)), initial=np.zeros(3)),
            r"initial must have shape \(3, 2\), got \(3,\)",
        ),
        (lambda: sgd_limit(X23, [1, 2], initial=[NAN] * 3), "initial has NaN or infinite values"),
        (lambda: interpolation_hessian([1.0], [1.0]), "X must have 2 dimensions"),
        (lambda: interpolation_hessian(X23, [[1.0], [1.0]]), "curvatures must have 1 dimensions"),
        (lambda: interpolation_hessian(X23, [1.0]), "X has 2 rows but curvatures has 1 entries"),
        (lambda: interpolation_hessian(X23, [1.0, -2.0]), "curvatures must be at least 0, got -2"),
        (lambda: gaussian_kernel([1.0], gamma=1.0), "X must have 2 dimensions"),
        (lambda: gaussian_kernel(X23, [[1.0]], gamma=1.0), "X has 3 columns but Z has 1"),
        (lambda: gaussian_kernel(X23, [[NAN] * 3], gamma=1.0), "Z has NaN or infinite values"),
        (lambda: gaussian_kernel([[1e150]], gamma=1.0), "X is of size 1e[+]150"),
        (lambda: gaussian_kernel(X23, gamma=0.0), "gamma must be positive, got 0"),
        (lambda: laplacian_kernel(X23, gamma=-1.0), "gamma must be positive, got -1"),
        (lambda: laplacian_kernel(X23, [[1.0]], gamma=1.0), "X has 3 columns but Z has 1"),
        (lambda: kernel_interpolant([[1.0, 2.0]], [1.0]), "K must be square"),
        (lambda: kernel_interpolant([[1.0, 0.5], [0, 1]], [1, 2]), "K must be symmetric"),
        (lambda: kernel_interpolant(K2, [1.0]), r"K has 2 rows but y has shape \(1,\)"),
        (lambda: kernel_interpolant(K2, np.zeros((2, 1, 1))), r"y has shape \(2, 1, 1\)"),
        (lambda: kernel_interpolant(K2, [1.0, NAN]), "y has NaN or infinite values"),
        (lambda: kernel_interpolant(K2, [1, 2], ridge=-0.1), "ridge must be at least 0, got -0.1"),
        (lambda: kernel_interpolant(K2, [1, 2], ridge=NAN), "ridge has NaN or infinite values"),
        (lambda: ridge_path(K2, [1, 2], 0.1), "penalties must have 1 dimensions"),
        (lambda: ridge_path(K2, [1, 2], []), "penalties is empty"),
        (lambda: ridge_path(K2, [1, 2], [1, -3]), "penalties must be at least 0, got -3"),
        (lambda: ridge_path(K2, [1, 2, 3], [1]), r"K has 2 rows but y has shape \(3,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
