"""Modified equations by expansion, sampling by minimizing divergences, escape by quadrature."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
from scipy.linalg import solve_continuous_lyapunov, sqrtm
from scipy.optimize import minimize, minimize_scalar
from scipy.sparse import coo_array, diags
from scipy.sparse.linalg import eigsh

from theory.evidence import log_evidence_from_spectrum
from theory.noise_scale import (
    basin_log_odds,
    continuous_stationary_covariance,
    critical_temperature,
    heavy_ball_stationary_covariance,
    kramers_time,
    mean_passage_time,
    modified_diffusion,
    modified_drift,
    noise_scale,
    sampling_learning_rate,
    sampling_preconditioner,
    sgd_temperature,
)


def spd(seed, size, decades=1.0):
    rng = np.random.default_rng(seed)
    Q = np.linalg.qr(rng.standard_normal((size, size)))[0]
    return Q * 10.0 ** rng.uniform(-decades, decades, size) @ Q.T


seeds = st.integers(0, 2**32 - 1)

# ------------------------------------------------------------------------------ modified equations


def loss(w):
    return np.exp(0.3 * w[0]) + w[0] ** 2 * w[1] + w[1] ** 4


def slopes(w):
    gradient = [0.3 * np.exp(0.3 * w[0]) + 2 * w[0] * w[1], w[0] ** 2 + 4 * w[1] ** 3]
    mixed = 2 * w[0]
    hessian = [[0.09 * np.exp(0.3 * w[0]) + 2 * w[1], mixed], [mixed, 12 * w[1] ** 2]]
    return np.array(gradient), np.array(hessian)


@given(st.floats(-2, 2), st.floats(-2, 2), st.floats(1e-3, 1.0))
def test_second_order_drift_descends_the_modified_loss(x, y, rate):
    def modified(w):
        return loss(w) + rate / 4 * np.sum(slopes(w)[0] ** 2)

    w, step = np.array([x, y]), 1e-5
    gradient, hessian = slopes(w)
    numeric = [(modified(w + step * e) - modified(w - step * e)) / (2 * step) for e in np.eye(2)]
    found = modified_drift(gradient, hessian, rate)
    np.testing.assert_allclose(-found, numeric, atol=1e-5)
    np.testing.assert_array_equal(modified_drift(gradient, hessian, rate, order=1), -gradient)


@pytest.mark.parametrize("order", [1, 2])
def test_weak_error_of_the_mean_has_the_stated_order(order):
    """Loss h w²/2 over the time 1: SGD's mean against the exponential of the linear drift."""
    h = 0.8

    def error(steps):
        rate = 1.0 / steps
        slope = modified_drift([h], [[h]], rate, order=order)[0]  # at w = 1
        return abs((1 - rate * h) ** steps - np.exp(slope))

    assert np.log2(error(1000) / error(2000)) == pytest.approx(order, abs=0.01)


def test_drift_broadcasts_over_points_and_rates():
    points = np.random.default_rng(0).standard_normal((3, 2))
    gradients, hessians = map(np.array, zip(*(slopes(w) for w in points), strict=True))
    rates = np.array([[0.1], [0.2]])
    found = modified_drift(gradients, hessians, rates)
    assert found.shape == (2, 3, 2)
    for i, j in np.ndindex(2, 3):
        alone = modified_drift(gradients[j], hessians[j], rates[i, 0])
        np.testing.assert_allclose(found[i, j], alone)


@given(seeds, st.floats(1e-4, 10.0))
def test_diffusion_squares_to_the_covariance(seed, rate):
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((2, 4, 3))  # of rank 3 in 4 dimensions
    C = factor @ factor.swapaxes(-1, -2)
    found = modified_diffusion(C, rate)
    np.testing.assert_allclose(found @ found, rate * C, atol=1e-12 * np.abs(C).max() * rate)
    full = spd(seed, 3)
    np.testing.assert_allclose(modified_diffusion(full, rate), np.sqrt(rate) * sqrtm(full))
    assert modified_diffusion(C, [[rate], [1.0], [2.0]]).shape == (3, 2, 4, 4)


H2, G2 = np.eye(2), np.ones(2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: modified_drift(G2, H2, 0.1, order=3), "order must be 1 or 2, got 3"),
        (lambda: modified_drift(G2, H2, 0.1, order=True), "order must be 1 or 2"),
        (lambda: modified_drift(1.0, H2, 0.1), "do not fit"),
        (lambda: modified_drift(np.ones(3), H2, 0.1), r"gradient \(3,\) and hessian \(2, 2\)"),
        (lambda: modified_drift(np.ones((3, 2)), H2, [0.1, 0.2]), "do not broadcast"),
        (lambda: modified_drift(G2, [[1.0, 1.0], [0.0, 1.0]], 0.1), "hessian must be symmetric"),
        (lambda: modified_drift(G2, H2, 0.0), "learning_rate must be positive"),
        (lambda: modified_drift([np.nan, 1.0], H2, 0.1), "gradient has NaN"),
        (lambda: modified_diffusion(-H2, 0.1), "covariance must be positive semidefinite"),
        (lambda: modified_diffusion(H2, -0.1), "learning_rate must be positive"),
        (lambda: modified_diffusion(np.ones((3, 2, 2)), [0.1, 0.2]), "do not broadcast"),
        (lambda: modified_diffusion(G2, 0.1), "covariance must be square"),
    ],
)
def test_modified_equation_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ----------------------------------------------------------------------------- sampling a posterior


def divergence(S, A, N):
    """Kullback-Leibler divergence of N(0, S) from the posterior N(0, (N A)⁻¹)."""
    M = N * A @ S
    return 0.5 * (np.trace(M) - len(S) - np.linalg.slogdet(M)[1])


@given(seeds, st.integers(1, 4), st.sampled_from([0.0, 0.9]))
def test_sampling_rate_minimizes_the_divergence(seed, size, m):
    A, C, N, B = spd(seed, size), spd(seed + 1, size), 500, 20

    def of_log_rate(log_rate):
        S = continuous_stationary_covariance(A, C / B, np.exp(log_rate), m)
        return divergence(S, A, N)

    best = minimize_scalar(of_log_rate, bracket=(-5.0, 0.0), tol=1e-10).x
    assert sampling_learning_rate(C, N, B, m) == pytest.approx(np.exp(best), rel=1e-5)


@given(seeds, st.integers(1, 4), st.sampled_from([0.0, 0.9]))
def test_preconditioned_sgd_samples_the_posterior(seed, size, m):
    A, C, N, B, rate = spd(seed, size), spd(seed + 1, size), 500, 20, 0.03
    G = sampling_preconditioner(C, rate, N, B, m)
    S = solve_continuous_lyapunov(G @ A, rate / (1 - m) * G @ (C / B) @ G)
    np.testing.assert_allclose(S, np.linalg.inv(N * A), rtol=1e-6, atol=1e-9 * np.abs(S).max())


def test_preconditioner_is_the_best_one():
    A, C, N, B, rate = spd(1, 2), spd(2, 2), 100, 10, 0.1

    def of_factor(entries):
        L = np.array([[entries[0], 0.0], entries[1:]])
        G = L @ L.T
        return divergence(solve_continuous_lyapunov(G @ A, rate / B * G @ C @ G), A, N)

    found = minimize(of_factor, [1.0, 0.0, 1.0], method="Nelder-Mead", options={"xatol": 1e-9})
    L = np.array([[found.x[0], 0.0], found.x[1:]])
    np.testing.assert_allclose(L @ L.T, sampling_preconditioner(C, rate, N, B), rtol=1e-3)


def test_the_best_rate_preconditions_isotropic_noise():
    rate = sampling_learning_rate(3.0 * np.eye(4), 200, 10, 0.5)
    assert rate == pytest.approx(2 * 0.5 * 10 / (200 * 3.0))
    np.testing.assert_allclose(
        sampling_preconditioner(3.0 * np.eye(4), rate, 200, 10, 0.5), np.eye(4), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: sampling_learning_rate(0 * H2, 10, 1), "without noise SGD does not sample"),
        (lambda: sampling_learning_rate(-H2, 10, 1), "positive semidefinite"),
        (lambda: sampling_learning_rate(H2, 10, 11), "batch_size must be at most train_size"),
        (lambda: sampling_learning_rate(H2, 10.0, 1), "train_size must be an integer"),
        (lambda: sampling_learning_rate(H2, 10, 0), "batch_size must be an integer"),
        (lambda: sampling_learning_rate(H2, 10, 1, 1.0), r"momentum must be in \[0, 1\)"),
        (lambda: sampling_preconditioner(np.ones((2, 2)), 0.1, 10, 1), "positive definite"),
        (lambda: sampling_preconditioner(H2, 0.0, 10, 1), "learning_rate must be positive"),
        (lambda: sampling_preconditioner(H2, 0.1, 10, 11), "batch_size must be at most"),
        (lambda: sampling_preconditioner(H2, 0.1, 10, 1, -0.1), "momentum must be in"),
    ],
)
def test_sampling_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -------------------------------------------------------------------------------------- temperature


@pytest.mark.parametrize("m", [0.0, 0.9])
def test_temperature_is_the_variance_times_the_curvature(m):
    """exp(-N h w² / 2T) has the variance T / (N h): that of SGD at a small rate."""
    N, B, f, h, rate = 100, 10, 2.0, 1.5, 1e-6
    noise = [[f * (1 / B - 1 / N)]]
    S = heavy_ball_stationary_covariance([[h]], noise, rate, m).position[0, 0]
    found = sgd_temperature(rate, N, B, f, m)
    assert found == pytest.approx(N * h * S, rel=1e-5)
    assert found == pytest.approx(noise_scale(rate, N, B, m) * f / 2, rel=1e-14)
    mean_loss = rate * f * (1 / B - 1 / N) / (2 * (1 - m))
    assert found / N == pytest.approx(mean_loss, rel=1e-12)


def test_temperature_broadcasts_and_the_full_batch_is_cold():
    T = sgd_temperature([[0.1], [0.2]], 100, [1, 10, 100], 2.0)
    assert T.shape == (2, 3)
    np.testing.assert_allclose(T[1], 2 * T[0])
    assert T[0, 2] == 0.0
    assert sgd_temperature(0.1, 100, 10, 0.0) == 0.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.1, 100, 10, -1.0), "gradient_variance must not be negative, got -1"),
        ((0.1, 100, 10, np.nan), "gradient_variance has NaN"),
        ((0.1, 100, 101, 1.0), "batch_size must be at most train_size"),
        ((0.1, 100, 10, 1.0, 1.0), "momentum must be in"),
        ((0.0, 100, 10, 1.0), "learning_rate must be positive"),
        (([0.1, 0.2], 100, 10, [1.0, 2.0, 3.0]), "do not broadcast"),
    ],
)
def test_temperature_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        sgd_temperature(*arguments)


# ------------------------------------------------------------------------------------------- basins


@pytest.mark.parametrize("T", [0.1, 0.5, 1.0])
def test_basins_by_quadrature(T):
    """Two parabolas far apart: each basin's mass is its Gaussian integral."""
    costs, curvatures = np.array([0.3, 0.0]), np.array([1.0, 40.0])
    masses = [
        quad(lambda v, C=C, h=h: np.exp(-(C + h * v**2 / 2) / T), -20, 20, points=[0])[0]
        for C, h in zip(costs, curvatures, strict=True)
    ]
    found = basin_log_odds(costs, curvatures[:, None, None], T)
    np.testing.assert_allclose(np.exp(found), np.array(masses) / sum(masses), rtol=1e-8)
    np.testing.assert_allclose(basin_log_odds(costs, np.log(curvatures), T), found)


@given(seeds)
def test_at_temperature_one_basins_are_held_by_their_evidence(seed):
    costs = np.random.default_rng(seed).uniform(0, 5, 3)
    data, decay = np.array([spd(seed + k, 4) for k in range(3)]), 0.2
    log_p = basin_log_odds(costs, data + decay * np.eye(4), 1.0)
    evidence = log_evidence_from_spectrum(costs, np.linalg.eigvalsh(data), prior_precision=decay)
    np.testing.assert_allclose(np.diff(log_p), np.diff(evidence), atol=1e-9)
    assert np.exp(log_p).sum() == pytest.approx(1.0)


def test_depth_wins_in_the_cold_and_breadth_in_the_heat():
    log_p = basin_log_odds([0.0, 1.0], [6.0, 0.0], [1e-3, 1e3])
    assert log_p.shape == (2, 2)
    np.testing.assert_allclose(log_p[0, 0], 0.0)
    np.testing.assert_allclose(log_p[1, 1] - log_p[1, 0], 3.0, atol=0.01)


@given(st.floats(0.01, 5), st.floats(0.01, 20), st.floats(-5, 5), st.booleans())
def test_critical_temperature_makes_the_odds_even(depth, breadth, shift, swap):
    costs, widths = [shift, shift + depth], [breadth, 0.0]
    if swap:
        costs, widths = costs[::-1], widths[::-1]
    T = critical_temperature(*costs, *widths)
    np.testing.assert_allclose(basin_log_odds(costs, widths, T), np.log(0.5), atol=1e-9)


@pytest.mark.parametrize("arguments", [(0, 1, 0, 1), (1, 0, 1, 0), (0, 0, 1, 2), (0, 1, 2, 2)])
def test_no_critical_temperature(arguments):
    with pytest.raises(ValueError, match="no temperature makes the odds even"):
        critical_temperature(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: basin_log_odds([0.0, 1.0], [0.0], 1.0), "costs has 2 basins but hessians has 1"),
        (lambda: basin_log_odds(0.0, [0.0], 1.0), "costs must have 1 dimensions"),
        (lambda: basin_log_odds([0.0], H2, 1.0), "hessians must have 3 dimensions"),
        (lambda: basin_log_odds([0.0], [[[0.0]]], 1.0), "hessians must be positive definite"),
        (lambda: basin_log_odds([0.0], [0.0], 0.0), "temperature must be positive"),
        (lambda: basin_log_odds([np.inf], [0.0], 1.0), "costs has NaN or infinite"),
        (lambda: critical_temperature(0.0, np.nan, 1.0, 2.0), "cost_b has NaN"),
        (lambda: critical_temperature(0.0, 1.0, [1.0], 2.0), "log_determinant_a must have 0"),
    ],
)
def test_basin_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ------------------------------------------------------------------------------------------- escape


def double_well(w):
    return w**4 / 4 - w**2 / 2


def tilted_well(w):
    return w**4 / 4 - w**2 / 2 + 0.15 * w


@pytest.mark.parametrize("potential", [double_well, tilted_well])
@pytest.mark.parametrize("T", [0.05, 0.3])
def test_passage_by_naive_quadrature(potential, T):
    naive = dblquad(
        lambda z, y: np.exp((potential(y) - potential(z)) / T) / T,
        -0.9,
        1.1,
        lambda y: -4.0,
        lambda y: y,
        epsabs=0.0,
        epsrel=1e-9,
    )[0]
    assert mean_passage_time(potential, -0.9, 1.1, T) == pytest.approx(naive, rel=1e-8)


@pytest.mark.parametrize("slope", [-300.0, -2.0, 1e-9, 2.0, 100.0])
def test_passage_along_a_slope(slope):
    T, start, end = 0.4, 0.5, 2.0
    with mp.workdps(60):
        s = mp.mpf(slope)
        rise = (mp.exp(s * end / T) - mp.exp(s * start / T)) * T / s
        exact = float((rise - (mp.mpf(end) - start)) / s)
    found = mean_passage_time(lambda w: slope * w, start, end, T, lower=0.0)
    assert found == pytest.approx(exact, rel=1e-9)


def test_passage_solves_its_backward_equation():
    """T τ'' - V' τ' = -1 for the time from x, by differences of the quadrature."""
    T, x, step = 0.2, -0.3, 1e-2
    times = [mean_passage_time(tilted_well, x + k * step, 1.0, T) for k in (-2, -1, 0, 1, 2)]
    first = np.dot([1, -8, 0, 8, -1], times) / (12 * step)
    second = np.dot([-1, 16, -30, 16, -1], times) / (12 * step**2)
    assert T * second - (x**3 - x + 0.15) * first == pytest.approx(-1.0, abs=1e-5)


def test_passages_add_up_and_do_not_overflow_on_the_way():
    whole = mean_passage_time(double_well, -1.0, 1.0, 0.01)
    parts = [mean_passage_time(double_well, a, b, 0.01) for a, b in ((-1.0, 0.2), (0.2, 1.0))]
    assert sum(parts) == pytest.approx(whole, rel=1e-9)
    assert mean_passage_time(double_well, -1.0, 1.0, 4e-4) > 1e250
    assert mean_passage_time(double_well, -1.0, 1.0, 1e-4) == np.inf
    assert np.isfinite(mean_passage_time(double_well, 0.1, 0.9, 1e-4, lower=0.0))


def test_kramers_is_the_low_temperature_limit_in_one_dimension():
    a, saddle, end = np.sort(np.roots([1.0, 0.0, -1.0, 0.15]).real)
    barrier = tilted_well(saddle) - tilted_well(a)
    T = np.array([0.02, 0.01, 0.005])
    kramers = kramers_time(3 * a**2 - 1, 3 * saddle**2 - 1, barrier, T)
    exact = np.array([mean_passage_time(tilted_well, a, end, t) for t in T])
    errors = exact / kramers - 1
    assert abs(errors[-1]) < 0.02
    np.testing.assert_allclose(errors[:-1] / errors[1:], 2.0, atol=0.3)  # O(T)
    to_the_saddle = mean_passage_time(tilted_well, a, saddle, 0.002)
    half = kramers_time(3 * a**2 - 1, 3 * saddle**2 - 1, barrier, 0.002) / 2
    assert to_the_saddle == pytest.approx(half, rel=0.05)


def relaxation_rate(T, points=(81, 61)):
    """Slowest rate of the diffusion in V = double well(x) + (1 + 3x²) y²/2, on a grid.

    Jumps between neighbors at rates (T/d²) exp(-ΔV/2T) have the Boltzmann law; symmetrized.
    """
    x, y = np.linspace(-1.6, 1.6, points[0]), np.linspace(-1.1, 1.1, points[1])
    V = double_well(x)[:, None] + (1 + 3 * x[:, None] ** 2) * y**2 / 2
    index = np.arange(V.size).reshape(V.shape)
    leaving, rows, columns, jumps = np.zeros(V.size), [], [], []
    for axis, grid in enumerate((x, y)):
        jump = T / (grid[1] - grid[0]) ** 2
        low = np.take(index, range(len(grid) - 1), axis).ravel()
        high = np.take(index, range(1, len(grid)), axis).ravel()
        difference = (V.ravel()[high] - V.ravel()[low]) / (2 * T)
        np.add.at(leaving, low, jump * np.exp(-difference))
        np.add.at(leaving, high, jump * np.exp(difference))
        rows, columns = [*rows, low, high], [*columns, high, low]
        jumps += [np.full(2 * len(low), jump)]
    moves = coo_array((np.concatenate(jumps), (np.concatenate(rows), np.concatenate(columns))))
    generator = diags(leaving) - moves
    return np.sort(eigsh(generator.tocsc(), k=2, sigma=-1e-6, which="LM")[0])[1]


def kramers_over_spectrum(minimum, saddle):
    """Ratio of times, extrapolated to T = 0 from two temperatures by its O(T) error."""
    warm, cold = 0.03, 0.02
    ratios = [
        # Both wells are left at the same rate, so the slowest mode decays at twice that.
        kramers_time(np.diag(minimum), np.diag(saddle), 0.25, T) / (2 / relaxation_rate(T))
        for T in (warm, cold)
    ]
    return (warm * ratios[1] - cold * ratios[0]) / (warm - cold)


def test_kramers_in_two_dimensions_by_the_spectrum_of_the_generator():
    assert kramers_over_spectrum([2.0, 4.0], [-1.0, 1.0]) == pytest.approx(1.0, abs=0.04)


def test_the_spectrum_rejects_curvatures_across_the_path_left_out():
    with pytest.raises(AssertionError):
        assert kramers_over_spectrum([2.0, 1.0], [-1.0, 1.0]) == pytest.approx(1.0, abs=0.04)


@given(seeds, st.floats(0, 2 * np.pi), st.floats(0, 2 * np.pi))
def test_kramers_depends_on_eigenvalues_only(seed, angle_a, angle_b):
    def rotated(angle, eigenvalues):
        R = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        return R * eigenvalues @ R.T

    rng = np.random.default_rng(seed)
    a, b = rng.uniform(0.1, 3, 2), rng.uniform(0.1, 3, 2) * [-1, 1]
    found = kramers_time(rotated(angle_a, a), rotated(angle_b, b), 1.0, [[0.5], [0.2]])
    direct = 2 * np.pi / -b[0] * np.sqrt(-b[0] * b[1] / (a[0] * a[1])) * np.exp([[2.0], [5.0]])
    np.testing.assert_allclose(found, direct, rtol=1e-9)


def test_kramers_time_may_overflow():
    assert kramers_time(1.0, -1.0, 1.0, 1e-4) == np.inf


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1.0, -1.0, 1.0, 1.0), "minimum_hessian must be positive definite"),
        ((1.0, 1.0, 1.0, 1.0), "saddle_hessian must have exactly one negative"),
        ((H2, -H2, 1.0, 1.0), "exactly one negative and no zero eigenvalue"),
        ((H2, np.diag([-1.0, 0.0]), 1.0, 1.0), "exactly one negative and no zero"),
        ((H2, -1.0, 1.0, 1.0), "minimum_hessian is 2 x 2 but saddle_hessian is 1 x 1"),
        ((1.0, [[-1.0, 0.0]], 1.0, 1.0), "saddle_hessian must be square"),
        ((1.0, -1.0, 0.0, 1.0), "barrier must be positive"),
        ((1.0, -1.0, 1.0, -1.0), "temperature must be positive"),
        ((1.0, -1.0, [1.0, 2.0], [1.0, 2.0, 3.0]), "do not broadcast"),
        ((np.nan, -1.0, 1.0, 1.0), "minimum_hessian has NaN"),
    ],
)
def test_kramers_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        kramers_time(*arguments)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((double_well, 1.0, -1.0, 0.1), {}, "start must be below end, got 1 and -1"),
        ((double_well, -1.0, 1.0, 0.0), {}, "temperature must be positive"),
        ((double_well, np.inf, 1.0, 0.1), {}, "start has NaN or infinite"),
        ((double_well, -1.0, 1.0, 0.1), {"lower": 0.0}, "lower must be a number of at most start"),
        ((double_well, -1.0, 1.0, 0.1), {"lower": np.nan}, "lower must be a number"),
        ((double_well, -1.0, 1.0, 0.1), {"lower": [-2.0]}, "lower must be a number"),
        ((lambda w: 0.0 * w, 0.0, 1.0, 0.1), {}, "potential does not rise to the left"),
        ((lambda w: w**3, 0.0, 1.0, 0.1), {}, "potential does not rise to the left"),
        ((lambda w: 1.0, 0.0, 1.0, 0.1), {"lower": 0.0}, "potential maps shape"),
        ((lambda w: np.full_like(w, np.nan), 0.0, 1.0, 0.1), {}, "potential.* has NaN"),
        ((lambda w: np.sign(w - 0.123), 0.0, 1.0, 0.1), {"lower": 0.0}, "not steady with 32768"),
    ],
)
def test_passage_arguments(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        mean_passage_time(*arguments, **options)
