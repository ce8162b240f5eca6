"""Stationary variances, two factors, adaptive noise and one-point convexity, by second routes."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.polynomial.hermite_e import hermegauss
from numpy.polynomial.legendre import leggauss
from scipy.integrate import quad, solve_ivp
from scipy.linalg import solve_discrete_lyapunov
from scipy.optimize import brentq, minimize, minimize_scalar
from stat_asserts import assert_mean

from theory import noise_scale
from theory.landscapes import DoubleWell, Parabola, Quadratic, stationary_points
from theory.smoothout import (
    adaptive_gradient,
    adaptive_products,
    balance_decay,
    filter_noise,
    filter_noise_variance,
    one_point_convexity,
    one_point_neighborhood,
    smoothing_schedule,
    smoothout_covariance,
    smoothout_variance,
    two_factor_minimum,
    weight_noise,
)

curvatures = st.floats(1e-3, 1e3)
momenta = st.floats(0.0, 0.99)
shares = st.floats(0.01, 0.97)  # of the limit of stability
strengths = st.floats(1e-3, 1e3)
laws = st.sampled_from(["uniform", "normal"])


def spread(strength, noise):
    """Variance of the noise by quadrature of its density."""
    if noise == "uniform":
        return quad(lambda t: t * t / (2.0 * strength), -strength, strength)[0]
    nodes, weights = hermegauss(20)
    return float(np.sum(weights * (strength * nodes) ** 2) / np.sum(weights))


def lyapunov(curvature, variance, rate, m, denoise):
    """Variance of w from the linear step of (w, u)."""
    step = np.array([[1.0 - rate * curvature, -rate * m], [curvature, m]])
    gain = np.array([-rate * curvature if denoise else 1.0 - rate * curvature, curvature])
    return solve_discrete_lyapunov(step, variance * np.outer(gain, gain))[0, 0]


@pytest.mark.parametrize("denoise", [True, False])
@given(curvature=curvatures, m=momenta, share=shares, strength=strengths, noise=laws)
def test_variance_solves_the_lyapunov_equation(denoise, curvature, m, share, strength, noise):
    rate = share * 2.0 * (1.0 + m) / curvature
    found = smoothout_variance(
        curvature,
        strength=strength,
        learning_rate=rate,
        momentum=m,
        denoise=denoise,
        noise=noise,
    )
    # In units of the noise and of the curvature, where the solver is well conditioned.
    noise_variance = spread(strength, noise)
    expected = lyapunov(1.0, 1.0, rate * curvature, m, denoise) * noise_variance
    # Where the variance all but vanishes the solver is right to the noise's; digits come below.
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-12 * noise_variance)


def test_variances_in_numbers():
    at = {"strength": 0.3, "learning_rate": 0.1}
    assert smoothout_variance(2.0, **at) == pytest.approx(0.1 * 2.0 * 0.09 / (3.0 * 1.8), rel=1e-14)
    kept = smoothout_variance(2.0, **at, denoise=False)
    assert kept == pytest.approx(0.03 * 0.64 / 0.36, rel=1e-14)
    rolling = smoothout_variance(2.0, strength=0.3, learning_rate=0.02, momentum=0.9)
    assert rolling == pytest.approx(0.0060638, abs=5e-8)


@pytest.mark.parametrize("m", [1e-9, 1e-4, 0.3, 0.65, 0.9, 0.999])
@pytest.mark.parametrize("h", [1e-9, 0.5, 1.0 - 1e-5, 1.0, 1.0 + 1e-5, 1.9])
def test_no_digits_are_lost_without_denoising(m, h):
    import mpmath as mp

    with mp.workdps(60):
        M, H = mp.mpf(m), mp.mpf(h)
        # The variance of a moving average of autoregressive noise, less the noise itself.
        moving = (1 + M**2) * (1 + M) - 2 * M * (1 + M - H)
        whole = moving / ((1 - M) * ((1 + M) ** 2 - (1 + M - H) ** 2))
        expected = float(whole - 1)
    found = smoothout_variance(
        1.0, strength=1.0, learning_rate=h, momentum=m, denoise=False, noise="normal"
    )
    assert found == pytest.approx(expected, rel=1e-12, abs=0.0)


def rotated_hessian():
    rotation = np.linalg.qr(np.random.default_rng(5).normal(size=(4, 4)))[0]
    return rotation @ np.diag([0.3, 1.0, 2.5, 7.0]) @ rotation.T


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_covariance_is_that_of_sgd_with_noise_v_h_squared(noise):
    H = rotated_hessian()
    found = smoothout_covariance(H, strength=0.4, learning_rate=0.2, noise=noise, copies=3)
    gradients = spread(0.4, noise) / 3.0 * H @ H
    expected = noise_scale.stationary_covariance(H, gradients, 0.2)
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("denoise", [True, False])
def test_covariance_solves_the_lyapunov_equation_of_all_weights(denoise):
    H, rate, m = rotated_hessian(), 0.3, 0.6
    identity = np.eye(4)
    step = np.block([[identity - rate * H, -rate * m * identity], [H, m * identity]])
    gain = np.vstack([-rate * H if denoise else identity - rate * H, H])
    whole = solve_discrete_lyapunov(step, spread(0.7, "uniform") * gain @ gain.T)
    found = smoothout_covariance(H, strength=0.7, learning_rate=rate, momentum=m, denoise=denoise)
    np.testing.assert_allclose(found, whole[:4, :4], rtol=1e-9, atol=1e-12)


def test_batches_of_curvatures_and_copies():
    curvature = np.array([[0.5, 1.0], [2.0, 3.0]])
    one = smoothout_variance(curvature, strength=0.2, learning_rate=0.3)
    each = [smoothout_variance(c, strength=0.2, learning_rate=0.3) for c in curvature.ravel()]
    np.testing.assert_array_equal(one.ravel(), each)
    many = smoothout_variance(curvature, strength=0.2, learning_rate=0.3, copies=16)
    np.testing.assert_allclose(many, one / 16.0, rtol=1e-15)


def squares_after_many_steps(n, *, denoise, m, copies=1):
    """Squares of n independent weights, uniform noise a = 0.5, curvature 2, rate 0.1."""
    rng = np.random.default_rng(11)
    w, u = np.zeros(n), np.zeros(n)
    for _ in range(400):
        noise = rng.uniform(-0.5, 0.5, size=(copies, n))
        u = m * u + np.mean(2.0 * (w + noise), axis=0)
        w = w - 0.1 * u + (0.0 if denoise else noise[0])
    return w**2


MOTIONS = [(True, 0.0, 1), (True, 0.5, 1), (True, 0.0, 4), (False, 0.0, 1), (False, 0.5, 1)]


@pytest.mark.parametrize(("denoise", "m", "copies"), MOTIONS)
def test_simulated_variance(denoise, m, copies):
    squares = squares_after_many_steps(20_000, denoise=denoise, m=m, copies=copies)
    theory = {"strength": 0.5, "learning_rate": 0.1, "momentum": m, "copies": copies}
    assert_mean(squares, float(smoothout_variance(2.0, **theory, denoise=denoise)))
    of_normal_noise = smoothout_variance(2.0, **theory, denoise=denoise, noise="normal")
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(squares, float(of_normal_noise))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"curvature": 0.0}, "curvature must be positive, got 0"),
        ({"curvature": [1.0, np.nan]}, "curvature has NaN or infinite values"),
        ({"strength": 0.0}, "strength must be positive, got 0"),
        ({"noise": "cauchy"}, "noise must be one of uniform, normal, got 'cauchy'"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0"),
        (
            {"learning_rate": 1.5, "momentum": 0.5},
            r"learning_rate must be below 1.5, the limit of stability 2 \(1 \+ momentum\)",
        ),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1"),
        ({"copies": 0}, "copies must be an integer of at least 1, got 0"),
        ({"copies": 2, "denoise": False}, "copies must be 1 without de-noising, got 2"),
    ],
)
def test_variance_rejects(change, message):
    arguments = {"curvature": [1.0, 2.0], "strength": 0.1, "learning_rate": 0.1} | change
    curvature = arguments.pop("curvature")
    with pytest.raises(ValueError, match=message):
        smoothout_variance(curvature, **arguments)


@pytest.mark.parametrize(
    ("hessian", "message"),
    [
        ([[1.0, 2.0], [0.0, 1.0]], "hessian must be symmetric"),
        ([[1.0, 0.0], [0.0, -1.0]], "hessian must be positive definite"),
        ([1.0, 2.0], "hessian must have 2 dimensions"),
    ],
)
def test_covariance_rejects(hessian, message):
    with pytest.raises(ValueError, match=message):
        smoothout_covariance(hessian, strength=0.1, learning_rate=0.1)


def nodes_of(noise, strength):
    """Quadrature of the noise of one coordinate: points and probabilities."""
    points, weights = leggauss(8) if noise == "uniform" else hermegauss(8)
    return strength * points, weights / np.sum(weights)


def mean_over(noise, strength, function):
    """Mean of function(theta_1, theta_2) over two independent noises."""
    points, weights = nodes_of(noise, strength)
    pairs = itertools.product(range(len(points)), repeat=2)
    return sum(weights[i] * weights[j] * function(points[i], points[j]) for i, j in pairs)


def smoothed_two_factors(w, noise, strength):
    return mean_over(noise, strength, lambda s, t: ((w[0] + s) * (w[1] + t) - 1.0) ** 2)


@pytest.mark.parametrize(
    ("noise", "strength"), [("uniform", 0.3), ("uniform", 0.8), ("uniform", 1.5), ("normal", 0.5)]
)
def test_two_factor_minimum_by_descent(noise, strength):
    found = minimize(
        lambda w: float(smoothed_two_factors(w, noise, strength)),
        [1.5, 0.4],
        options={"gtol": 1e-9},
    )
    expected = two_factor_minimum(strength, noise=noise)
    np.testing.assert_allclose(found.x, expected, atol=1e-6)


def test_two_factor_minimum_in_numbers():
    found = [two_factor_minimum(a) for a in (0.3, 0.8, 1.5, np.sqrt(3.0), 1.8)]
    np.testing.assert_allclose(found, [0.984886, 0.886942, 0.5, 0.0, 0.0], atol=1e-6)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_balance_decay_along_the_flow(noise):
    def flow(_, w):
        first = mean_over(noise, 0.4, lambda s, t: 2.0 * (w[1] + t) * ((w[0] + s) * (w[1] + t) - 1))
        second = mean_over(
            noise, 0.4, lambda s, t: 2.0 * (w[0] + s) * ((w[0] + s) * (w[1] + t) - 1)
        )
        return [-first, -second]

    times = np.array([0.0, 0.3, 1.0, 2.0])
    path = solve_ivp(flow, (0.0, 2.0), [2.0, -0.3], t_eval=times, rtol=1e-9, atol=1e-11).y
    imbalance = path[0] ** 2 - path[1] ** 2
    share = balance_decay(times, strength=0.4, noise=noise)
    np.testing.assert_allclose(imbalance / imbalance[0], share, rtol=1e-7)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: two_factor_minimum(-1.0), "strength must be positive, got -1"),
        (lambda: two_factor_minimum(1.0, noise="x"), "noise must be one of uniform, normal"),
        (lambda: balance_decay([1.0, -2.0], strength=0.1), "time must not be negative, got -2"),
        (lambda: balance_decay(1.0, strength=0.0), "strength must be positive, got 0"),
        (lambda: balance_decay(1.0, strength=1.0, noise="x"), "noise must be one of uniform"),
    ],
    ids=["strength", "law", "time", "decay-strength", "decay-law"],
)
def test_two_factors_reject(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def relative_nodes(noise, strength):
    """Points and probabilities of theta_i / |w_i|."""
    if noise == "sign":
        return np.array([-strength, strength]), np.array([0.5, 0.5])
    return nodes_of(noise, strength)


def adaptive_mean(function, w, noise, strength):
    points, weights = relative_nodes(noise, strength)
    total = 0.0
    for i, j in itertools.product(range(len(points)), repeat=2):
        noisy = w + np.abs(w) * np.array([points[i], points[j]])
        total = total + weights[i] * weights[j] * function(noisy)
    return total


def two_factor_gradient(w):
    return 2.0 * (w[0] * w[1] - 1.0) * w[::-1]


@given(
    w=st.tuples(st.floats(-3.0, 3.0), st.floats(-3.0, 3.0)),
    strength=st.floats(0.01, 2.0),
    noise=st.sampled_from(["uniform", "normal", "sign"]),
)
def test_adaptive_gradient_is_the_mean_over_the_noise(w, strength, noise):
    w = np.array(w)
    found = adaptive_gradient(w, strength=strength, noise=noise)
    expected = adaptive_mean(two_factor_gradient, w, noise, strength)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    # What is conserved: w_1^2 - w_2^2.
    assert w[0] * found[0] == pytest.approx(w[1] * found[1], rel=1e-12, abs=1e-13)


@pytest.mark.parametrize("noise", ["uniform", "normal", "sign"])
def test_adaptive_products_by_root_and_by_descent(noise):
    products = adaptive_products(0.6, noise=noise)
    resting = brentq(
        lambda p: adaptive_mean(two_factor_gradient, np.array([p, 1.0]), noise, 0.6)[0], 0.1, 2.0
    )
    assert products.expected_update == pytest.approx(resting, rel=1e-10)
    least = minimize_scalar(
        lambda p: adaptive_mean(lambda w: (w[0] * w[1] - 1.0) ** 2, np.array([p, 1.0]), noise, 0.6),
        bounds=(0.1, 2.0),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert products.expected_loss == pytest.approx(least.x, abs=1e-7)


def test_filter_noise_of_one_weight_is_a_sign():
    w = np.array([2.0, -3.0])
    signs = [filter_noise(w, s, strength=0.5) for s in itertools.product((-1.0, 1.0), repeat=2)]
    mean = np.mean([two_factor_gradient(w + noise) for noise in signs], axis=0)
    np.testing.assert_allclose(mean, adaptive_gradient(w, strength=0.5, noise="sign"), rtol=1e-5)


@pytest.mark.parametrize("shape", [(4,), (3, 5), (2, 3, 2, 2)])
def test_filter_noise_in_a_loop(shape):
    rng = np.random.default_rng(3)
    weights, draw = rng.normal(size=shape), rng.uniform(-1.0, 1.0, size=shape)
    found = filter_noise(weights, draw, strength=0.7, epsilon=1e-2)
    for w, u, noise in zip(weights, draw, found, strict=True):
        length = np.linalg.norm(np.ravel(u))
        expected = 0.7 * np.linalg.norm(np.ravel(w)) * u / (length + 1e-2)
        np.testing.assert_allclose(noise, expected, rtol=1e-14)
        norm = 0.7 * np.linalg.norm(np.ravel(w)) / (1.0 + 1e-2 / length)
        assert np.linalg.norm(np.ravel(noise)) == pytest.approx(norm, rel=1e-13)


def test_filter_noise_of_nothing_is_nothing():
    np.testing.assert_array_equal(
        filter_noise([[0.0, 0.0], [1.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]], strength=1.0),
        np.zeros((2, 2)),
    )


@given(
    scales=st.lists(st.floats(1e-3, 1e3), min_size=3, max_size=3),
    signs=st.lists(st.sampled_from([-1.0, 1.0]), min_size=3, max_size=3),
    seed=st.integers(0, 99),
)
def test_filter_noise_follows_the_size_of_the_filter(scales, signs, seed):
    rng = np.random.default_rng(seed)
    weights, draw = rng.normal(size=(3, 4)), rng.uniform(-1.0, 1.0, size=(3, 4))
    factors = np.array(scales)[:, None]
    rescaled = filter_noise(factors * np.array(signs)[:, None] * weights, draw, strength=0.2)
    np.testing.assert_allclose(
        rescaled, factors * filter_noise(weights, draw, strength=0.2), rtol=1e-13
    )


def test_weight_noise():
    np.testing.assert_array_equal(
        weight_noise([[2.0, -4.0]], [[-0.5, 0.25]], strength=0.5), [[-0.5, 0.5]]
    )


@pytest.mark.parametrize("law", ["uniform", "normal"])
def test_covariance_of_filter_noise(law):
    rng = np.random.default_rng(21)
    n, w = 40_000, np.array([1.0, -2.0, 0.5])
    draw = rng.uniform(-1.0, 1.0, size=(n, 3)) if law == "uniform" else rng.normal(size=(n, 3))
    noise = filter_noise(np.broadcast_to(w, (n, 3)), draw, strength=0.4)
    variance = float(filter_noise_variance([w], strength=0.4)[0])
    for i in range(3):
        assert_mean(noise[:, i] ** 2, variance)
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert_mean(noise[:, i] * noise[:, j], 0.0)
    with pytest.raises(AssertionError, match="beyond"):  # a²/3 per coordinate of plain noise
        assert_mean(noise[:, 0] ** 2, 0.4**2 / 3.0)


def test_a_uniform_draw_has_no_isotropic_direction():
    """Yet the covariance is the same: on the circle the fourth moment shows the corners."""
    rng = np.random.default_rng(22)
    n = 40_000
    unit = {}
    for law, draw in (
        ("uniform", rng.uniform(-1.0, 1.0, size=(n, 2))),
        ("normal", rng.normal(size=(n, 2))),
    ):
        unit[law] = filter_noise(np.full((n, 2), np.sqrt(0.5)), draw, strength=1.0)
        assert_mean(unit[law][:, 0] ** 2, 0.5)
    assert_mean(unit["normal"][:, 0] ** 4, 3.0 / 8.0)
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(unit["uniform"][:, 0] ** 4, 3.0 / 8.0)


def test_epsilon_takes_from_the_variance():
    """One weight: the mean of (1 + eps/|u|)^-2 over a uniform u, in closed form."""
    epsilon, n = 0.05, 200_000
    u = (np.arange(n) + 0.5) / n
    noise = filter_noise(np.ones(n), u, strength=1.0, epsilon=epsilon)
    share = 1.0 - 2.0 * epsilon * np.log1p(1.0 / epsilon) + epsilon / (1.0 + epsilon)
    variance = filter_noise_variance([1.0], strength=1.0)[0]
    assert np.mean(noise**2) == pytest.approx(variance * share, rel=1e-8)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: filter_noise([[1.0, 2.0]], [[1.0]], strength=0.1),
            r"draw must have the shape of weights, \(1, 2\), got \(1, 1\)",
        ),
        (lambda: filter_noise(1.0, 1.0, strength=0.1), "weights must have 1 dimensions"),
        (lambda: filter_noise([1.0], [np.inf], strength=0.1), "draw"),
        (lambda: filter_noise([1e200], [1.0], strength=0.1), "its square is beyond float64"),
        (lambda: filter_noise([1.0], [1.0], strength=0.0), "strength must be positive, got 0"),
        (
            lambda: filter_noise([1.0], [1.0], strength=0.1, epsilon=0.0),
            "epsilon must be positive, got 0",
        ),
        (lambda: weight_noise([1.0, 2.0], [1.0], strength=0.1), "draw must have the shape"),
        (lambda: weight_noise([1.0], [1.0], strength=-1.0), "strength must be positive, got -1"),
        (lambda: filter_noise_variance(2.0, strength=0.1), "weights must have 1 dimensions"),
        (lambda: filter_noise_variance([2.0], strength=0.0), "strength must be positive, got 0"),
        (
            lambda: adaptive_gradient([1.0, 2.0, 3.0], strength=0.1),
            r"w must have shape \(..., 2\), got \(3,\)",
        ),
        (lambda: adaptive_gradient(1.0, strength=0.1), r"w must have shape \(..., 2\), got \(\)"),
        (
            lambda: adaptive_gradient([1.0, 2.0], strength=0.1, noise="filter"),
            "noise must be one of uniform, normal, sign, got 'filter'",
        ),
        (lambda: adaptive_products(0.0), "strength must be positive, got 0"),
        (lambda: smoothing_schedule("cosine", 3), "name must be one of constant, anneal, tanh"),
        (lambda: smoothing_schedule("tanh", 0), "steps must be an integer of at least 1, got 0"),
    ],
    ids=lambda value: "" if callable(value) else value[:20].replace(" ", "-"),
)
def test_adaptive_rejects(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_schedules_in_a_loop():
    steps = 50
    factors = {
        "constant": lambda t: 1.0,
        "anneal": lambda t: np.sqrt(1.0 / (1.0 + t) ** 0.55),
        "tanh": lambda t: 1.0 / (1.0 + np.exp(-20.0 * (t / steps - 0.5))),
    }
    for name, factor in factors.items():
        expected = [factor(t) for t in range(steps)]
        np.testing.assert_allclose(smoothing_schedule(name, steps), expected, rtol=1e-11)


@given(center=st.floats(-2.0, 2.0), strength=st.floats(0.05, 2.0), noise=laws)
def test_one_point_convexity_of_a_smoothed_double_well(center, strength, noise):
    """The slope is 4 u³ + k u - d with a root u_0: over u - u_0 it is 4 (u² + u u_0 + u_0²) + k.

    That is least at u = -u_0 / 2, away from the center unless u_0 = 0.
    """
    k = 4.0 * (3.0 * spread(strength, noise) - 1.0) + 1.0
    offset = 4.0 * center**3 + k * center
    smoothed = (DoubleWell() + Parabola(curvature=1.0, center=offset)).smoothed(
        strength, noise=noise
    )
    found = one_point_convexity(smoothed, center, lower=-4.0, upper=4.0)
    assert found == pytest.approx(3.0 * center**2 + k, abs=1e-8)


@pytest.mark.parametrize("strength", [0.2, 0.6, 1.1])
def test_one_point_convexity_by_brute_force(strength):
    smoothed = (DoubleWell(barrier=0.4, center=1.5) + Parabola(curvature=1.0)).smoothed(strength)
    for center in stationary_points(smoothed, lower=-2.0, upper=4.0).minima:
        found = one_point_convexity(smoothed, center, lower=-2.0, upper=4.0)
        y = np.linspace(-2.0, 4.0, 234_567)
        y = y[np.abs(y - center) > 1e-4]
        quotients = smoothed.gradient(y) / (y - center)
        assert found <= np.min(quotients) + 1e-10
        assert found == pytest.approx(np.min(quotients), abs=1e-6)


def test_one_point_convexity_of_a_parabola_and_beside_the_minimum():
    parabola = Parabola(curvature=3.0, center=0.25)
    found = one_point_convexity(parabola, 0.25, lower=-1.0, upper=2.0)
    assert found == pytest.approx(3.0, rel=1e-9)
    assert one_point_convexity(parabola, 0.26, lower=-1.0, upper=2.0) == -np.inf


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"center": 2.0},
            ValueError,
            "lower, center and upper must be in order, got -1, 2 and 1",
        ),
        ({"lower": np.nan}, ValueError, "lower has NaN or infinite values"),
        ({"upper": 1e200}, ValueError, "overflows there"),
        (
            {"landscape": Quadratic(hessian_matrix=np.eye(2), center=np.zeros(2))},
            TypeError,
            "landscape must be a LineLandscape, got Quadratic",
        ),
    ],
    ids=["order", "finite", "overflow", "space"],
)
def test_one_point_convexity_rejects(arguments, error, message):
    given_ = {"landscape": DoubleWell(), "center": 0.0, "lower": -1.0, "upper": 1.0} | arguments
    landscape, center = given_.pop("landscape"), given_.pop("center")
    with pytest.raises(error, match=message):
        one_point_convexity(landscape, center, **given_)


# C(y) = y²/2 + (A/k²)(1 - cos k y): stationary at 0, |C''| ≤ 1 + A; its mean over a box of
# half-width a damps the ripple by sin(k a)/(k a).
RIPPLE, WAVENUMBER = 1.5, 9.0


def rippled_slope(y):
    return y + RIPPLE / WAVENUMBER * np.sin(WAVENUMBER * y)


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.09])
def test_a_step_of_a_one_point_convex_loss_keeps_the_bound(rate):
    a = 0.3
    damped = RIPPLE * abs(np.sin(WAVENUMBER * a)) / (WAVENUMBER * a)
    bound = one_point_neighborhood(
        convexity=1.0 - damped,
        smoothness=1.0 + RIPPLE,
        learning_rate=rate,
        noise_radius=a / rate,
    )
    points, weights = leggauss(40)
    room = []
    for y in np.linspace(-2.0, 2.0, 401):
        noisy = y + a * points
        mean = np.sum(weights / 2.0 * (noisy - rate * rippled_slope(noisy)) ** 2)
        room.append((1.0 - bound.contraction) * y**2 + bound.kick - mean)
    assert min(room) >= 0.0
    assert min(room) < 0.9 * bound.kick  # a tenth of the kick would not be enough


def test_a_quadratic_settles_inside_the_neighborhood():
    a, rate, curvature = 0.2, 0.1, 2.0
    found = one_point_neighborhood(
        convexity=curvature, smoothness=curvature, learning_rate=rate, noise_radius=a / rate
    )
    exact = smoothout_variance(curvature, strength=a, learning_rate=rate, denoise=False)
    assert exact < found.squared_radius
    # Of noise ±a the variance is three times that; the bound adds what the gradient takes off.
    h = rate * curvature
    assert 3.0 * exact * (1 + h) ** 2 / (1 - h) ** 2 == pytest.approx(
        found.squared_radius, rel=1e-12
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"convexity": 0.0}, "convexity must be positive, got 0"),
        ({"smoothness": -1.0}, "smoothness must be positive, got -1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0"),
        ({"noise_radius": 0.0}, "noise_radius must be positive, got 0"),
        ({"convexity": 3.0}, "convexity must be at most the smoothness, 2, got 3"),
        (
            {"convexity": 2.0, "learning_rate": 0.25},
            r"learning_rate must be below 1 / \(2 L\) = 0.25, got 0.25",
        ),
        ({"convexity": 0.1, "learning_rate": 0.03}, "below c / L² = 0.025, got 0.03"),
    ],
)
def test_neighborhood_rejects(change, message):
    arguments = {
        "convexity": 1.0,
        "smoothness": 2.0,
        "learning_rate": 0.1,
        "noise_radius": 1.0,
    } | change
    with pytest.raises(ValueError, match=message):
        one_point_neighborhood(**arguments)
