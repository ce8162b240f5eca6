"""Minibatch noise by enumeration, stationary laws by SciPy's solvers and by running SGD."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import block_diag, solve_continuous_lyapunov, solve_discrete_lyapunov
from stat_asserts import assert_mean

from theory.noise_scale import (
    SAMPLERS,
    continuous_stationary_covariance,
    gradient_noise_covariance,
    heavy_ball_stationary_covariance,
    linear_regression_stability_limit,
    linear_regression_stationary_covariance,
    linear_stability,
    shuffled_stationary_covariance,
    stability_limit,
    stationary_covariance,
)

GRADIENTS = np.random.default_rng(0).normal([1.0, -2.0], 1.0, (6, 2))
MOMENTA = [0.0, 0.5, 0.95]


@st.composite
def problems(draw):
    """A positive definite H, a C that does not commute with it, possibly of low rank, and ε."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size = draw(st.integers(1, 4))
    Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    H = Q * 10.0 ** rng.uniform(-2, 2, size) @ Q.T
    factor = rng.standard_normal((size, draw(st.integers(1, size))))
    stable_fraction = draw(st.floats(0.01, 0.99))
    return H, factor @ factor.T, stable_fraction * 2.0 / np.linalg.eigvalsh(H)[-1]


def assert_close(found, expected, tolerance=1e-8):
    expected = np.asarray(expected)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


# --------------------------------------------------------------------------- noise of the gradient


def batches(sampler, N, B):
    """Every equally likely sequence of batches: two of them, or one epoch."""
    if sampler == "shuffle":
        for order in itertools.permutations(range(N)):
            yield [order[k : k + B] for k in range(0, N - B + 1, B)]
    else:
        draw = itertools.combinations if sampler == "without_replacement" else pairs_with_repeats
        yield from itertools.product(list(draw(range(N), B)), repeat=2)


def pairs_with_repeats(examples, B):
    return itertools.product(examples, repeat=B)


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("N", "B"), [(4, 1), (4, 2), (5, 2), (6, 2), (4, 3)])
def test_noise_by_enumeration(sampler, N, B):
    g = GRADIENTS[:N]
    means = np.array(
        [[g[list(b)].mean(axis=0) for b in drawn] for drawn in batches(sampler, N, B)]
    ) - g.mean(axis=0)
    for lag in range(means.shape[1]):
        enumerated = means[:, 0].T @ means[:, lag] / len(means)
        found = gradient_noise_covariance(g, B, sampler=sampler, lag=lag)
        np.testing.assert_allclose(found, enumerated, atol=1e-14)


def test_noise_is_the_papers():
    N, B = len(GRADIENTS), 2
    F = np.cov(GRADIENTS.T)
    summed = N**2 * gradient_noise_covariance(GRADIENTS, B)
    np.testing.assert_allclose(summed, N * (N / B - 1) * F, rtol=1e-13)


def test_full_batch_has_no_noise_unless_examples_repeat():
    N = len(GRADIENTS)
    for sampler in ("without_replacement", "shuffle"):
        assert np.all(gradient_noise_covariance(GRADIENTS, N, sampler=sampler) == 0.0)
    repeated = gradient_noise_covariance(GRADIENTS, N, sampler="with_replacement")
    np.testing.assert_allclose(repeated, np.cov(GRADIENTS.T, bias=True) / N)
    half = gradient_noise_covariance(GRADIENTS, 2 * N, sampler="with_replacement")
    np.testing.assert_allclose(half, repeated / 2)
    assert gradient_noise_covariance([[3.0, 1.0]], 1).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((GRADIENTS, 2), {"sampler": "bootstrap"}, "sampler is 'bootstrap'; .*with_replacement"),
        ((GRADIENTS, 7), {}, "batch_size must be at most the number of examples, 6, got 7"),
        ((GRADIENTS, 7), {"sampler": "shuffle"}, "batch_size must be at most"),
        ((GRADIENTS, 0), {}, "batch_size must be an integer of at least 1"),
        ((GRADIENTS, 2.0), {}, "batch_size must be an integer"),
        ((GRADIENTS, 2), {"lag": -1}, "lag must be an integer of at least 0"),
        ((GRADIENTS, 2), {"sampler": "shuffle", "lag": 3}, "lag must be below 3"),
        ((GRADIENTS[0], 1), {}, "gradients must have 2 dimensions"),
        (([[np.nan]], 1), {}, "gradients has NaN"),
        (([[1e200], [0.0]], 1), {}, "gradients is of size 1e\\+200"),
    ],
)
def test_noise_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        gradient_noise_covariance(*arguments, **options)


# ------------------------------------------------------------------------------- independent noise


@given(problems(), st.sampled_from(MOMENTA))
def test_diffusion_by_scipy(problem, m):
    H, C, rate = problem
    expected = solve_continuous_lyapunov(H, rate / (1 - m) * C)
    assert_close(continuous_stationary_covariance(H, C, rate, m), expected)


@given(problems())
def test_sgd_by_scipy(problem):
    H, C, rate = problem
    expected = solve_discrete_lyapunov(np.eye(len(H)) - rate * H, rate**2 * C)
    assert_close(stationary_covariance(H, C, rate), expected)


def heavy_ball(H, rate, m, *, dampened=False):
    """One step of (w, v), written out, and how noise enters it."""
    identity, gain = np.eye(len(H)), 1.0 - m if dampened else 1.0
    step = np.block([[identity - rate * gain * H, -rate * m * identity], [gain * H, m * identity]])
    return step, np.vstack([-rate * gain * identity, gain * identity])


@given(problems(), st.sampled_from(MOMENTA), st.booleans())
def test_heavy_ball_by_scipy(problem, m, dampened):
    H, C, rate = problem
    P = len(H)
    found = heavy_ball_stationary_covariance(H, C, rate, m, dampened=dampened)
    step, kick = heavy_ball(H, rate, m, dampened=dampened)
    expected = solve_discrete_lyapunov(step, kick @ C @ kick.T)
    assert_close(found.position, expected[:P, :P], 1e-7)
    assert_close(found.velocity, expected[P:, P:], 1e-7)
    assert_close(found.cross, expected[:P, P:], 1e-7)
    # A position that does not spread on average: E|w - εv|² = E|w|².
    assert_close(found.cross + found.cross.T, -rate * found.velocity)


@given(problems())
def test_heavy_ball_without_momentum_is_sgd(problem):
    H, C, rate = problem
    found = heavy_ball_stationary_covariance(H, C, rate, 0.0)
    S = stationary_covariance(H, C, rate)
    assert_close(found.position, S)
    assert_close(found.velocity, H @ S @ H + C, 1e-6)


@pytest.mark.parametrize("m", MOMENTA)
@pytest.mark.parametrize("x", [1e-13, 1e-6, 0.3, 1.99])
def test_closed_forms_of_one_direction_keep_their_digits(x, m):
    rate, c = 0.25, 3.0
    h = x / rate
    found = heavy_ball_stationary_covariance([[h]], [[c]], rate, m)
    position = rate * c * (1 + m) / (h * (1 - m) * (2 * (1 + m) - x))
    velocity = 2 * c / ((1 - m) * (2 * (1 + m) - x))
    assert found.position[0, 0] == pytest.approx(position, rel=1e-11)
    assert found.velocity[0, 0] == pytest.approx(velocity, rel=1e-11)
    assert found.cross[0, 0] == pytest.approx(-rate / 2 * velocity, rel=1e-11)
    if m == 0.0:
        variance = stationary_covariance([[h]], [[c]], rate)[0, 0]
        assert variance == pytest.approx(rate * c / (h * (2 - x)), rel=1e-13)


@pytest.mark.parametrize("m", MOMENTA)
@pytest.mark.parametrize("rate", [1e-3, 1e-5])
def test_small_rates_approach_the_diffusion(m, rate):
    H, C = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.6], [-0.6, 2.0]])
    diffusion = continuous_stationary_covariance(H, C, rate, m)
    exact = heavy_ball_stationary_covariance(H, C, rate, m).position
    assert_close(exact, diffusion, 2 * rate / (1 - m))
    damped = heavy_ball_stationary_covariance(H, C, rate, m, dampened=True).position
    assert_close(damped, continuous_stationary_covariance(H, C, rate), 2 * rate / (1 - m))


def final_positions(rate, m, seed):
    """Positions of 20,000 independent runs of heavy ball, h = 1, c = 1, after 400 steps."""
    rng = np.random.default_rng(seed)
    w, v = np.zeros(20_000), np.zeros(20_000)
    for _ in range(400):
        v = m * v + w + rng.standard_normal(len(w))
        w = w - rate * v
    return w


def test_running_heavy_ball():
    w = final_positions(0.5, 0.8, seed=1)
    found = heavy_ball_stationary_covariance([[1.0]], [[1.0]], 0.5, 0.8)
    assert_mean(w**2, found.position[0, 0])


def test_running_heavy_ball_rejects_the_diffusion():
    w = final_positions(0.5, 0.8, seed=1)
    with pytest.raises(AssertionError, match="detectable difference"):
        assert_mean(w**2, continuous_stationary_covariance([[1.0]], [[1.0]], 0.5, 0.8)[0, 0])


SOLVERS = {
    "continuous": lambda H, C, rate: continuous_stationary_covariance(H, C, rate, 0.5),
    "sgd": stationary_covariance,
    "heavy_ball": lambda H, C, rate: heavy_ball_stationary_covariance(H, C, rate, 0.5),
    "shuffled": lambda H, C, rate: shuffled_stationary_covariance(
        H, C, rate, train_size=4, batch_size=2
    ),
}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize(
    ("H", "C", "rate", "message"),
    [
        ([[1.0, 0.2], [0.0, 1.0]], np.eye(2), 0.1, "hessian must be symmetric: .* up to 0.2"),
        ([[1.0, 0.0]], np.eye(2), 0.1, "hessian must be square"),
        (np.ones((2, 2)), np.eye(2), 0.1, "hessian must be positive definite"),
        (np.diag([1.0, -0.5]), np.eye(2), 0.1, "range from -0.5 to 1"),
        (np.zeros((2, 2)), np.eye(2), 0.1, "hessian must be positive definite"),
        (np.eye(2), np.diag([1.0, -0.1]), 0.1, "positive semidefinite, .* is -0.1"),
        (np.eye(2), np.eye(3), 0.1, "hessian is 2 x 2 but .*_covariance is 3 x 3"),
        (np.eye(2), np.full((2, 2), np.inf), 0.1, "covariance has NaN or infinite"),
        (np.eye(2), np.eye(2), 0.0, "learning_rate must be positive"),
        (np.eye(2), np.eye(2), [0.1, 0.2], "learning_rate must have 0 dimensions"),
        (np.eye(2), np.eye(2), np.nan, "learning_rate has NaN"),
    ],
)
def test_problem_arguments(solver, H, C, rate, message):
    with pytest.raises(ValueError, match=message):
        SOLVERS[solver](H, C, rate)


def test_unstable_rates_are_told_the_limit_and_by_how_much():
    H, C = np.diag([4.0, 1.0]), np.eye(2)
    limit = r"below 0\.5, the limit of stability 2 / h_max; 0\.6 is 1\.2 times that"
    with pytest.raises(ValueError, match=limit):
        stationary_covariance(H, C, 0.6)
    with pytest.raises(ValueError, match="is 1 times that"):
        stationary_covariance(H, C, 0.5)
    with pytest.raises(ValueError, match=r"below 0\.75, .* 2 \(1 \+ m\) / h_max; 0\.9 is 1\.2 "):
        heavy_ball_stationary_covariance(H, C, 0.9, 0.5)
    with pytest.raises(ValueError, match=r"below 1\.5, .* \(\(1 - m\) h_max\)"):
        heavy_ball_stationary_covariance(H, C, 1.5, 0.5, dampened=True)
    with pytest.raises(ValueError, match=r"below 0\.5"):
        shuffled_stationary_covariance(H, C, 0.5, train_size=4, batch_size=2)
    assert np.all(np.isfinite(continuous_stationary_covariance(H, C, 5.0)))


@pytest.mark.parametrize("m", [-0.1, 1.0, np.nan, [0.5]])
def test_momentum_out_of_range(m):
    for call in (
        lambda: continuous_stationary_covariance([[1.0]], [[1.0]], 0.1, m),
        lambda: heavy_ball_stationary_covariance([[1.0]], [[1.0]], 0.1, m),
        lambda: shuffled_stationary_covariance(
            [[1.0]], [[1.0]], 0.1, train_size=2, batch_size=1, momentum=m
        ),
        lambda: stability_limit(1.0, m),
    ):
        with pytest.raises(ValueError, match="momentum"):
            call()


# ---------------------------------------------------------------------------------- epoch shuffling


def enumerate_epochs(H, gradients, rate, B, m):
    """Covariance at the end of an epoch and averaged over its steps, from all permutations."""
    N, P = gradients.shape
    K, deviations = N // B, gradients - gradients.mean(axis=0)
    step, kick = heavy_ball(H, rate, m)
    noise = np.zeros((K, 2 * P, 2 * P))
    orders = list(itertools.permutations(range(N)))
    for order in orders:
        state = np.zeros(2 * P)
        for k in range(K):
            batch = list(order[k * B : (k + 1) * B])
            state = step @ state + kick @ deviations[batch].mean(axis=0)
            noise[k] += np.outer(state, state) / len(orders)
    epoch = np.linalg.matrix_power(step, K)
    S = solve_discrete_lyapunov(epoch, noise[-1])
    powers = [np.linalg.matrix_power(step, k + 1) for k in range(K)]
    during = [A @ S @ A.T + Q for A, Q in zip(powers, noise, strict=True)]
    return S[:P, :P], np.mean(during, axis=0)[:P, :P]


@pytest.mark.parametrize("m", [0.0, 0.6])
@pytest.mark.parametrize(("N", "B"), [(2, 1), (4, 1), (4, 2), (5, 1), (6, 2), (6, 3)])
def test_shuffling_by_enumeration(N, B, m):
    H, g = np.array([[2.0, 0.7], [0.7, 0.6]]), GRADIENTS[:N]
    found = shuffled_stationary_covariance(
        H, np.cov(g.T), 0.3, train_size=N, batch_size=B, momentum=m
    )
    end, average = enumerate_epochs(H, g, 0.3, B, m)
    assert_close(found.epoch_end, end, 1e-10)
    assert_close(found.average, average, 1e-10)


def one_direction(h, rate, N, B, m=0.0):
    found = shuffled_stationary_covariance(
        [[h]], [[1.0]], rate, train_size=N, batch_size=B, momentum=m
    )
    return found.epoch_end[0, 0], found.average[0, 0]


@pytest.mark.parametrize("x", [1e-2, 0.3, 1.7])
def test_shuffling_one_direction_by_geometric_sums(x):
    N, B, rate = 60, 5, 0.2
    K, a = N // B, 1 - x
    noise = rate**2 * ((1 - a ** (2 * K)) / (1 - a**2) / B - ((1 - a**K) / x) ** 2 / N)
    end, _ = one_direction(x / rate, rate, N, B)
    assert end == pytest.approx(noise / (1 - a ** (2 * K)), rel=1e-9)


@pytest.mark.parametrize("x", [1e-14, 1e-9, 1e-6])
def test_flat_directions_hardly_move_when_shuffled(x):
    N, B, rate = 40, 4, 0.5
    end, average = one_direction(x / rate, rate, N, B)
    assert end == pytest.approx(rate**2 * x * (10**2 - 1) / (24 * B), rel=20 * x + 1e-9)
    assert average == pytest.approx(rate**2 * (10**2 - 1) / (6 * 10 * B), rel=20 * x + 1e-9)
    independent = stationary_covariance([[x / rate]], [[1 / B - 1 / N]], rate)[0, 0]
    assert end < 100 * x**2 * independent


@pytest.mark.parametrize("m", [0.0, 0.9])
def test_steep_directions_do_not_feel_the_shuffling(m):
    N, B, rate = 4000, 4, 0.5
    independent = heavy_ball_stationary_covariance([[1.0]], [[1 / B - 1 / N]], rate, m)
    for variance in one_direction(1.0, rate, N, B, m):
        assert variance == pytest.approx(independent.position[0, 0], rel=0.003)


def test_full_batch_does_not_move_when_shuffled():
    assert one_direction(1.0, 0.5, 8, 8) == (0.0, 0.0)


def shuffled_ends(seed):
    """Positions of 5000 runs after 12 epochs: h = 1, N = 12, B = 3, rate 0.1, and their F."""
    rng = np.random.default_rng(seed)
    g = rng.standard_normal(12)
    w = np.zeros(5000)
    for _ in range(12):
        orders = rng.permuted(np.tile(g - g.mean(), (len(w), 1)), axis=1)
        for noise in orders.reshape(len(w), 4, 3).mean(axis=2).T:
            w = w - 0.1 * (w + noise)
    return w, np.var(g, ddof=1)


def test_running_shuffled_epochs():
    w, F = shuffled_ends(seed=3)
    found = shuffled_stationary_covariance([[1.0]], [[F]], 0.1, train_size=12, batch_size=3)
    assert_mean(w**2, found.epoch_end[0, 0])


def test_running_shuffled_epochs_rejects_independent_batches():
    w, F = shuffled_ends(seed=3)
    with pytest.raises(AssertionError, match="detectable difference"):
        assert_mean(w**2, stationary_covariance([[1.0]], [[F * (1 / 3 - 1 / 12)]], 0.1)[0, 0])


@pytest.mark.parametrize(
    ("N", "B", "message"),
    [
        (10, 3, "batch_size must divide train_size, got 3 and 10"),
        (4, 8, "batch_size must divide train_size"),
        (0, 1, "train_size must be an integer"),
        (4, 0, "batch_size must be an integer"),
    ],
)
def test_shuffling_sizes(N, B, message):
    with pytest.raises(ValueError, match=message):
        one_direction(1.0, 0.1, N, B)


# -------------------------------------------------------------------------------- linear regression


def second_moment_operator(A, rate, B):
    """Mean of (I - ε H_B) ⊗ (I - ε H_B), by Gauss-Hermite quadrature over Gaussian features."""
    D = len(A)
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)  # exact up to the fifth moment
    grid = np.array(list(itertools.product(nodes, repeat=D)))
    mass = np.prod(list(itertools.product(weights / weights.sum(), repeat=D)), axis=1)
    squares = np.einsum("ni,nj->nij", *(2 * [grid @ np.linalg.cholesky(A).T]))
    pairs = np.einsum("n,nij,nkl->ikjl", mass, squares, squares).reshape(D * D, D * D)
    step = np.eye(D) - rate * A
    return np.kron(step, step) + rate**2 / B * (pairs - np.kron(A, A))


@st.composite
def regressions(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    D = draw(st.integers(1, 3))
    Q = np.linalg.qr(rng.standard_normal((D, D)))[0]
    return Q * 10.0 ** rng.uniform(-1, 1, D) @ Q.T, draw(st.integers(1, 20))


@given(regressions(), st.floats(0.01, 0.99))
def test_linear_regression_by_quadrature(problem, fraction):
    A, B = problem
    D, rate = len(A), fraction * linear_regression_stability_limit(A, B)
    operator = second_moment_operator(A, rate, B)
    noise = rate**2 * 0.7 / B * A.ravel()
    brute = np.linalg.solve(np.eye(D * D) - operator, noise).reshape(D, D)
    assert_close(linear_regression_stationary_covariance(A, 0.7, rate, B), brute, 1e-7)


@given(regressions())
def test_linear_regression_limit_is_where_the_second_moment_stops_shrinking(problem):
    A, B = problem
    limit = linear_regression_stability_limit(A, B)
    assert limit < stability_limit(A)
    radius = np.abs(np.linalg.eigvals(second_moment_operator(A, limit, B))).max()
    assert radius == pytest.approx(1.0, abs=1e-9)


@pytest.mark.parametrize("B", [1, 2, 1000, 10**7])
def test_linear_regression_of_one_feature(B):
    limit = linear_regression_stability_limit([[2.0]], B)
    assert limit == pytest.approx(2 / (2.0 * (1 + 2 / B)), rel=1e-9)
    S = linear_regression_stationary_covariance([[2.0]], 0.3, 0.1, B)
    assert S[0, 0] == pytest.approx(0.1 * 0.3 / B / (2 - 0.1 * 2.0 * (1 + 2 / B)), rel=1e-12)
    isotropic = linear_regression_stability_limit(2.0 * np.eye(5), B)
    assert isotropic == pytest.approx(2 / (2.0 * (1 + 6 / B)), rel=1e-8)  # 1 + (D + 1) / B


def regression_runs(seed):
    """Squared weights of 20,000 runs of 60 steps: a = 1, s² = 1, B = 2, rate 0.4."""
    rng = np.random.default_rng(seed)
    w = np.zeros(20_000)
    for _ in range(60):
        x, label = rng.standard_normal((2, len(w), 2))
        w = w - 0.4 * np.mean(x * (x * w[:, None] - label), axis=1)
    return w**2


def test_running_linear_regression():
    S = linear_regression_stationary_covariance([[1.0]], 1.0, 0.4, 2)
    assert_mean(regression_runs(seed=5), S[0, 0])


def test_running_linear_regression_rejects_noise_that_ignores_the_state():
    with pytest.raises(AssertionError, match="detectable difference"):
        assert_mean(regression_runs(seed=5), stationary_covariance([[1.0]], [[0.5]], 0.4)[0, 0])


def test_no_label_noise_no_variance():
    assert np.all(linear_regression_stationary_covariance(np.eye(2), 0.0, 0.1, 1) == 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([[1.0]], 1.0, 1.2, 2), r"below 1, the limit of stability .*; 1\.2 is 1\.2 times that"),
        (([[1.0]], -1.0, 0.1, 2), "label_variance must not be negative, got -1"),
        (([[1.0]], 1.0, -0.1, 2), "learning_rate must be positive"),
        (([[1.0]], 1.0, 0.1, 0), "batch_size must be an integer"),
        (([[0.0]], 1.0, 0.1, 1), "feature_covariance must be positive definite"),
        (([[1.0, 0.0], [0.5, 1.0]], 1.0, 0.1, 1), "feature_covariance must be symmetric"),
    ],
)
def test_linear_regression_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        linear_regression_stationary_covariance(*arguments)


# -------------------------------------------------------------------------------------- stability


@given(problems(), st.sampled_from(MOMENTA), st.booleans())
def test_limit_is_where_the_spectral_radius_is_one(problem, m, dampened):
    H, _, _ = problem
    limit = stability_limit(H, m, dampened=dampened)
    assert limit == pytest.approx(
        stability_limit(np.linalg.eigvalsh(H)[-1], m, dampened=dampened), rel=1e-12
    )
    for factor, compare in ((0.999, np.less), (1.001, np.greater)):
        step, _ = heavy_ball(H, factor * limit, m, dampened=dampened)
        assert compare(np.abs(np.linalg.eigvals(step)).max(), 1.0)


@pytest.mark.parametrize(
    ("hessian", "message"),
    [
        (0.0, "hessian must have a positive eigenvalue, the largest is 0"),
        (-np.eye(2), "the largest is -1"),
        ([1.0, 2.0], "hessian must have 2 dimensions"),
        ([[1.0, 2.0], [0.0, 1.0]], "hessian must be symmetric"),
        (np.inf, "hessian has NaN or infinite"),
    ],
)
def test_limit_arguments(hessian, message):
    with pytest.raises(ValueError, match=message):
        stability_limit(hessian)


def every_step(hessians, rate, B):
    """I - ε H_B for all batches without replacement."""
    identity = np.eye(hessians.shape[1])
    for batch in itertools.combinations(range(len(hessians)), B):
        yield identity - rate * hessians[list(batch)].mean(axis=0)


def growth_of_second_moments(hessians, rate, B):
    """Spectral radius of the exact map of E[w wᵀ]."""
    operator = np.mean([np.kron(A, A) for A in every_step(hessians, rate, B)], axis=0)
    return np.abs(np.linalg.eigvals(operator)).max()


@st.composite
def example_hessians(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    N, P = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    x = rng.standard_normal((N, P))
    return np.einsum("ni,nj->nij", x, x), draw(st.integers(1, N)), draw(st.floats(0.05, 1.5))


@given(example_hessians())
def test_linear_stability_by_enumeration(problem):
    hessians, B, rate = problem
    found = linear_stability(hessians, rate, B)
    mean_square = np.mean([A @ A for A in every_step(hessians, rate, B)], axis=0)
    assert found.largest_eigenvalue == pytest.approx(np.linalg.eigvalsh(mean_square)[-1], rel=1e-9)
    assert found.is_stable == (found.largest_eigenvalue <= 1.0)
    # sufficient, whatever the examples ...
    assert growth_of_second_moments(hessians, rate, B) <= found.largest_eigenvalue * (1 + 1e-9)
    # ... and exact where their Hessians commute
    diagonal = np.array([np.diag(np.diag(H)) for H in hessians])
    exact = growth_of_second_moments(diagonal, rate, B)
    assert linear_stability(diagonal, rate, B).largest_eigenvalue == pytest.approx(exact, rel=1e-9)


def test_the_condition_is_not_necessary():
    x = np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 0.3]])
    hessians = np.einsum("ni,nj->nij", x, x)
    rates = np.linspace(0.5, 1.5, 101)
    escaped = [
        rate
        for rate in rates
        if not linear_stability(hessians, rate, 1).is_stable
        and growth_of_second_moments(hessians, rate, 1) < 1.0
    ]
    assert escaped


def test_noise_lowers_the_limit_of_the_full_batch():
    hessians = np.array([[[0.0]], [[2.0]]])
    assert linear_stability(hessians, 1.9, 2).is_stable
    assert linear_stability(hessians, 1.0, 1) == (1.0, True)
    assert not linear_stability(hessians, 1.01, 1).is_stable
    blocks = np.array([block_diag(*H, *H) for H in hessians])
    assert linear_stability(blocks, 1.0, 1).largest_eigenvalue == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.eye(2), 0.1, 1), "hessians must have 3 dimensions"),
        (([[[1.0, 0.0], [1.0, 1.0]]], 0.1, 1), "hessians must be symmetric"),
        (([[[1.0]]], 0.1, 2), "batch_size must be at most the number of Hessians, 1, got 2"),
        (([[[1.0]]], 0.1, 0), "batch_size must be an integer"),
        (([[[1.0]]], -0.1, 1), "learning_rate must be positive"),
    ],
)
def test_linear_stability_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        linear_stability(*arguments)
