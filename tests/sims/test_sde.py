import functools
import math

import numpy as np
import pytest
from numba import njit
from numba.core.event import install_recorder
from scipy.integrate import solve_ivp
from scipy.linalg import expm, solve_continuous_lyapunov
from scipy.stats import norm
from stat_asserts import assert_counts, assert_mean

from sims import sde, streams
from sims.sde import Equation, first_passage, occupation, ornstein_uhlenbeck, paths
from sims.streams import LANES
from theory.landscapes import DoubleWell, Parabola, Quadratic, WellMixture

ALPHA = 1e-5
ROOT3 = np.sqrt(3.0)
CASES = [(scheme, noise) for scheme in sde.SCHEMES for noise in sde.NOISES]
ORDER = {"euler-maruyama": 1, "platen": 2}

# Drift c - λx and diffusion σ + μx: parameters (λ, c, σ, μ).
AFFINE = Equation(lambda x, p: p[1] - p[0] * x, lambda x, p: p[2] + p[3] * x)
EQUATIONS = {
    "additive noise": (1.5, 0.6, 0.7, 0.0),
    "geometric Brownian motion": (-0.8, 0.0, 0.0, 0.6),
    "affine noise": (1.5, 0.6, 0.3, 0.3),
}
# A drift and diffusion that no formula solves; the last parameter is the noise's size.
WAVE = Equation(
    lambda x, p: math.sin(p[0] * x) - x,
    lambda x, p: p[1] * (0.5 + 0.2 * math.cos(x)),
    (2.0, 1.0),
)
WALK = Equation(lambda x, p: 0.0, lambda x, p: 1.0)
REVERTING = Equation(lambda x, p: -p[0] * x, lambda x, p: 1.0, (1.0,))
POWER = Equation(lambda x, p: -(x ** p[0]), lambda x, p: 0.0, (3.0,))


def affine(name):
    return AFFINE._replace(parameters=EQUATIONS[name])


# --- the schemes by the book, in plain Python ---------------------------------------------------


def euler_maruyama(x, z, h, a, b):
    return x + a(x) * h + b(x) * np.sqrt(h) * z


def platen(x, z, h, a, b):
    """Kloeden and Platen (1992), equation 15.1.1, with ΔW = √h z."""
    increment = np.sqrt(h) * z
    support = x + a(x) * h + b(x) * increment
    plus, minus = x + a(x) * h + b(x) * np.sqrt(h), x + a(x) * h - b(x) * np.sqrt(h)
    return (
        x
        + 0.5 * (a(support) + a(x)) * h
        + 0.25 * (b(plus) + b(minus) + 2 * b(x)) * increment
        + 0.25 * (b(plus) - b(minus)) * (increment**2 - h) / np.sqrt(h)
    )


STEP = {"euler-maruyama": euler_maruyama, "platen": platen}


def increments(scheme, noise):
    """Values of z and their probabilities, enough for the moments that a step's square asks for."""
    if noise == "normal":
        nodes, weights = np.polynomial.hermite_e.hermegauss(8)
        return nodes, weights / weights.sum()
    if scheme == "euler-maruyama":
        return np.array([-1.0, 1.0]), np.array([0.5, 0.5])
    return np.array([-ROOT3, 0.0, ROOT3]), np.array([1, 4, 1]) / 6


def scheme_moments(scheme, noise, parameters, start, h, steps):
    """Mean of x and x² after some steps, exactly: a step is p(z) + q(z) x."""
    rate, level, sigma, slope = parameters
    z, weights = increments(scheme, noise)

    def step(x):
        return STEP[scheme](x, z, h, lambda y: level - rate * y, lambda y: sigma + slope * y)

    p = step(np.zeros_like(z))
    q = step(np.ones_like(z)) - p
    mean, square = start, start**2
    for _ in range(steps):
        mean, square = (
            weights @ (p + q * mean),
            weights @ (p**2 + 2 * p * q * mean + q**2 * square),
        )
    return np.array([mean, square])


def exact_moments(parameters, start, time):
    """Mean of x and x²; Itô's formula gives them a linear equation."""
    rate, level, sigma, slope = parameters
    generator = np.array(
        [
            [0.0, 0.0, 0.0],
            [level, -rate, 0.0],
            [sigma**2, 2 * level + 2 * sigma * slope, -2 * rate + slope**2],
        ]
    )
    return (expm(generator * time) @ [1.0, start, start**2])[1:]


def naive_paths(equation, start, h, steps, scheme, seed):
    """Every point (steps, n), path after path, from the normals of the path's stream."""
    out = np.empty((steps, len(start)))
    a, b = (functools.partial(lambda f, x: f(x, equation.parameters), f) for f in equation[:2])
    for i, state in enumerate(streams.states(seed, len(start))):
        z = np.empty(steps + steps % 2)
        streams.fill_normals(state, z)
        x = start[i]
        for t in range(steps):
            x = out[t, i] = STEP[scheme](x, z[t], h, a, b)
    return out


# --- paths ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", sde.SCHEMES)
def test_paths_are_those_of_a_naive_loop(scheme):
    start = np.linspace(-2.0, 2.0, LANES + 3)
    times, values = paths(
        WAVE, start, step_size=0.1, steps=15, record_every=1, scheme=scheme, rng=4
    )
    np.testing.assert_allclose(times, 0.1 * np.arange(1, 16), rtol=1e-15)
    expected = naive_paths(WAVE, start, 0.1, 15, scheme, 4)
    np.testing.assert_allclose(values, expected, rtol=1e-12, atol=1e-12)
    other = naive_paths(
        WAVE, start, 0.1, 15, "platen" if scheme != "platen" else "euler-maruyama", 4
    )
    assert np.max(np.abs(values - other)) > 0.01


@pytest.mark.parametrize(("scheme", "noise"), CASES)
@pytest.mark.parametrize(("steps", "every"), [(130, 1), (130, 2), (130, 7), (65, 65), (129, 64)])
def test_records_are_points_of_the_same_path(scheme, noise, steps, every):
    options = {"step_size": 0.05, "steps": steps, "scheme": scheme, "noise": noise, "rng": 1}
    _, every_point = paths(WAVE, [0.3, -1.0, 2.0], record_every=1, **options)
    times, values = paths(WAVE, [0.3, -1.0, 2.0], record_every=every, **options)
    np.testing.assert_array_equal(values, every_point[every - 1 :: every])
    np.testing.assert_allclose(times, 0.05 * np.arange(every, steps + 1, every), rtol=1e-15)


def test_the_end_alone_is_recorded_by_default():
    times, values = paths(WAVE, [0.3], step_size=0.05, steps=9, rng=1)
    assert times == pytest.approx([0.45], rel=1e-15)
    assert values.shape == (1, 1)


@pytest.mark.parametrize(("scheme", "noise"), CASES)
def test_without_diffusion_paths_solve_the_ordinary_equation(scheme, noise):
    still = WAVE._replace(parameters=(2.0, 0.0))
    start = [-1.0, 0.2, 3.0]
    exact = solve_ivp(
        lambda t, x: np.sin(2.0 * x) - x, (0.0, 1.0), start, rtol=1e-12, atol=1e-13
    ).y[:, -1]
    errors = [
        np.max(
            np.abs(
                paths(still, start, step_size=1 / n, steps=n, scheme=scheme, noise=noise)[1] - exact
            )
        )
        for n in (100, 200)
    ]
    assert np.log2(errors[0] / errors[1]) == pytest.approx(ORDER[scheme], abs=0.1)
    decay = AFFINE._replace(parameters=(1.0, 0.0, 0.0, 0.0))
    _, values = paths(decay, [2.0], step_size=0.1, steps=10, scheme=scheme, noise=noise)
    factor = 0.9 if scheme == "euler-maruyama" else 0.905
    assert values[0, 0] == pytest.approx(2.0 * factor**10, rel=1e-13)


@pytest.mark.parametrize(("scheme", "noise"), CASES)
@pytest.mark.parametrize("name", EQUATIONS)
def test_moments_of_the_scheme_converge_at_its_weak_order(name, scheme, noise):
    parameters = EQUATIONS[name]
    exact = exact_moments(parameters, 1.2, 1.0)
    errors = [scheme_moments(scheme, noise, parameters, 1.2, 1 / n, n) - exact for n in (256, 512)]
    np.testing.assert_allclose(np.log2(np.divide(*errors)), ORDER[scheme], atol=0.05)
    # Discrete increments have the moments that these averages see.
    np.testing.assert_allclose(
        scheme_moments(scheme, noise, parameters, 1.2, 0.25, 4),
        scheme_moments(scheme, "normal", parameters, 1.2, 0.25, 4),
        rtol=1e-13,
    )


@functools.cache
def ends(name, scheme, noise):
    """Forty thousand ends of four steps so long that the schemes differ."""
    options = {"step_size": 0.25, "steps": 4, "scheme": scheme, "noise": noise}
    return paths(affine(name), np.full(40_000, 1.2), rng=[3, len(name)], **options)[1][0]


@pytest.mark.parametrize(("scheme", "noise"), CASES)
@pytest.mark.parametrize("name", EQUATIONS)
def test_paths_have_the_moments_of_their_scheme(name, scheme, noise):
    x = ends(name, scheme, noise)
    mean, square = scheme_moments(scheme, noise, EQUATIONS[name], 1.2, 0.25, 4)
    assert_mean(x, mean, ALPHA)
    assert_mean(x**2, square, ALPHA)
    other = "platen" if scheme == "euler-maruyama" else "euler-maruyama"
    mean, square = scheme_moments(other, noise, EQUATIONS[name], 1.2, 0.25, 4)
    with pytest.raises(AssertionError):
        assert_mean(x, mean, ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(x**2, square, ALPHA)


def test_geometric_brownian_motion_is_lognormal_for_short_steps():
    equation = Equation(AFFINE.drift, AFFINE.diffusion, (-0.3, 0.0, 0.0, 0.5))
    _, values = paths(equation, np.ones(20_000), step_size=1 / 64, steps=64, scheme="platen", rng=2)
    assert_mean(values[0], np.exp(0.3), ALPHA)
    assert_mean(np.log(values[0]), 0.3 - 0.5**2 / 2, ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(np.log(values[0]), 0.3, ALPHA)  # Stratonovich's reading


# --- increments -----------------------------------------------------------------------------------


@functools.cache
def walk_increments(scheme, noise, steps=130, n=2048):
    """Increments over √h (steps, n) of paths that only diffuse, h = 1 so that sums are exact."""
    start = np.zeros(n)
    _, values = paths(
        WALK, start, step_size=1.0, steps=steps, record_every=1, scheme=scheme, noise=noise, rng=8
    )
    return np.diff(values, axis=0, prepend=0.0)


def assert_uncorrelated(z):
    """Fail if any two rows of z (T, n) are correlated (Bonferroni's bound over the pairs)."""
    scores = (z @ z.T) / np.sqrt(np.mean(z**2, axis=1)[:, None] * np.sum(z**2, axis=1))
    off = scores[np.triu_indices(len(z), 1)]
    limit = norm.isf(ALPHA / (2 * len(off)))
    if np.max(np.abs(off)) > limit:
        raise AssertionError(f"largest correlation is {np.max(np.abs(off)):.3g} of {limit:.3g}")


@pytest.mark.parametrize(("scheme", "noise"), CASES)
def test_increments_are_uncorrelated_along_and_across_paths(scheme, noise):
    z = walk_increments(scheme, noise)
    assert_uncorrelated(z)
    assert_uncorrelated(z[:, :256].T)
    assert_mean(z.ravel(), 0.0, ALPHA)
    if noise == "normal" or scheme == "platen":
        assert_mean(z.ravel() ** 2, 1.0, ALPHA)
        assert_mean(z.ravel() ** 4, 3.0, ALPHA)


def test_increments_used_twice_would_show():
    z = walk_increments("euler-maruyama", "discrete").copy()
    z[64] = z[0]
    with pytest.raises(AssertionError, match="largest correlation"):
        assert_uncorrelated(z)
    with pytest.raises(AssertionError, match="largest correlation"):
        assert_uncorrelated(z[:, [0, 1, 2, 1]].T)
    with pytest.raises(AssertionError):
        assert_mean(walk_increments("platen", "discrete").ravel() ** 4, 2.9, ALPHA)


def test_discrete_increments_take_their_values_with_their_probabilities():
    z = walk_increments("euler-maruyama", "discrete")
    assert set(np.unique(z)) == {-1.0, 1.0}
    codes = (z[:-1:2] > 0) * 2 + (z[1::2] > 0)
    assert_counts(np.bincount(codes.ravel().astype(int)), np.full(4, 0.25), ALPHA)

    z = walk_increments("platen", "discrete")
    codes = np.rint(z / ROOT3).astype(int) + 1
    np.testing.assert_allclose(z, (codes - 1) * ROOT3, atol=1e-12)
    pairs = np.bincount((3 * codes[:-1:2] + codes[1::2]).ravel(), minlength=9)
    sixths = np.array([1, 4, 1]) / 6
    assert_counts(pairs, np.outer(sixths, sixths), ALPHA)
    wrong = np.array([1.04, 4.0, 0.96]) / 6
    with pytest.raises(AssertionError):
        assert_counts(pairs, np.outer(wrong, sixths), ALPHA)


# --- the same bits --------------------------------------------------------------------------------


def run(function, start, threads=1, **options):
    if function is paths:
        return paths(
            WAVE, start, step_size=0.1, steps=20, record_every=3, rng=6, threads=threads, **options
        )[1]
    if function is occupation:
        return occupation(
            WAVE,
            start,
            edges=[0.0, 1.0],
            step_size=0.1,
            steps=20,
            rng=6,
            threads=threads,
            **options,
        ).T
    return np.array(
        first_passage(
            WAVE, start, lower=-1.0, upper=1.0, step_size=0.1, max_steps=30, rng=6, threads=threads
        )
    )


KINDS = [(paths, *case) for case in CASES] + [(occupation, *CASES[0]), (first_passage, *CASES[0])]


@pytest.mark.parametrize(("function", "scheme", "noise"), KINDS)
def test_bits_depend_on_neither_threads_nor_the_number_of_paths(function, scheme, noise):
    start = np.linspace(-0.9, 0.9, 2 * LANES + 5)
    kept = start.copy()
    options = {} if function is first_passage else {"scheme": scheme, "noise": noise}
    result = run(function, start, **options)
    for threads in (2, 3):
        np.testing.assert_array_equal(run(function, start, threads, **options), result)
    for k in (1, 100, LANES, LANES + 1):
        np.testing.assert_array_equal(run(function, start[:k], **options), result[:, :k])
    np.testing.assert_array_equal(start, kept)


def test_paths_are_different_and_new_when_unseeded():
    result = paths(WALK, np.zeros(1500), step_size=0.1, steps=1)[1][0]
    again = paths(WALK, np.zeros(1500), step_size=0.1, steps=1)[1][0]
    assert len(np.unique([result, again])) == 3000


# --- occupation -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("scheme", "noise"), CASES)
@pytest.mark.parametrize(("steps", "burn_in"), [(50, 0), (47, 13)])
def test_occupation_counts_the_points_of_the_paths(scheme, noise, steps, burn_in):
    options = {"step_size": 0.2, "scheme": scheme, "noise": noise, "rng": 5}
    start, edges = np.linspace(-2.0, 2.0, LANES + 5), np.array([-1.0, 0.0, 0.3, 2.0])
    shares = occupation(WAVE, start, edges=edges, steps=steps, burn_in=burn_in, **options)
    _, values = paths(WAVE, start, steps=burn_in + steps, record_every=1, **options)
    bins = np.digitize(values[burn_in:], edges)
    counts = np.array([np.bincount(column, minlength=5) for column in bins.T])
    np.testing.assert_array_equal(np.rint(shares * steps), counts)
    np.testing.assert_allclose(shares, counts / steps, rtol=0, atol=1e-15)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, rtol=0, atol=1e-15)


def test_a_path_on_an_edge_is_above_it():
    still = AFFINE._replace(parameters=(0.0, 0.0, 0.0, 0.0))
    shares = occupation(still, [0.0, 1.0], edges=[0.0, 1.0], step_size=1.0, steps=3)
    np.testing.assert_array_equal(shares, [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def test_a_mean_reverting_path_spends_its_time_by_the_stationary_normal():
    # Euler and Maruyama's own stationary variance: v = (1 - h)² v + h, v = 1 / (2 - h).
    shares = occupation(
        REVERTING, np.zeros(1000), edges=[0.5], step_size=0.5, steps=400, burn_in=60, rng=0
    )[:, 1]
    assert_mean(shares, norm.sf(0.5 * np.sqrt(1.5)), ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(shares, norm.sf(0.5 * np.sqrt(2.0)), ALPHA)  # the equation's


# --- first passage --------------------------------------------------------------------------------


def test_first_passages_are_those_of_the_paths():
    start = np.linspace(-0.9, 1.4, LANES + 5)
    found = first_passage(WAVE, start, lower=-1.0, upper=1.5, step_size=0.1, max_steps=25, rng=7)
    _, values = paths(WAVE, start, step_size=0.1, steps=25, record_every=1, rng=7)
    assert found.times.shape == found.exits.shape == start.shape
    for i, x in enumerate(values.T):
        outside = np.flatnonzero((x <= -1.0) | (x >= 1.5))
        if len(outside):
            assert found.times[i] == 0.1 * (outside[0] + 1)
            assert found.exits[i] == (1 if x[outside[0]] >= 1.5 else -1)
        else:
            assert (found.times[i], found.exits[i]) == (np.inf, 0)
    assert set(found.exits) == {-1, 0, 1}


@pytest.mark.parametrize(("lower", "upper", "exit_"), [(-1.0, np.inf, -1), (-np.inf, 1.0, 1)])
def test_an_open_end_is_never_reached(lower, upper, exit_):
    found = first_passage(
        WALK, np.zeros(200), lower=lower, upper=upper, step_size=0.1, max_steps=100, rng=0
    )
    assert set(found.exits) == {0, exit_}
    assert np.array_equal(found.exits == 0, np.isinf(found.times))


def test_touching_an_end_is_leaving():
    for velocity in (0.25, -0.25):
        found = first_passage(
            AFFINE._replace(parameters=(0.0, velocity, 0.0, 0.0)),
            [0.0],
            lower=-1.0,
            upper=1.0,
            step_size=1.0,
            max_steps=4,
        )
        assert (found.times[0], found.exits[0]) == (4.0, np.sign(velocity))


LOWER, UPPER, RATE, STEP_SIZE = -1.0, 1.5, 0.5, 0.01


@functools.cache
def mean_time_and_exit(h, rate, lower=LOWER, upper=UPPER):
    """Mean time and probability of the upper end for the scheme's chain started at 0.

    Its integral equation u(x) = h + ∫ N(y; x - rate h x, h) u(y) dy, by Gauss and Legendre's nodes.
    """
    nodes, weights = np.polynomial.legendre.leggauss(400)
    y = 0.5 * (lower + upper) + 0.5 * (upper - lower) * nodes
    weights = 0.5 * (upper - lower) * weights
    transitions = norm.pdf(y, y[:, None] * (1 - rate * h), np.sqrt(h)) * weights
    above = norm.sf(upper, y * (1 - rate * h), np.sqrt(h))
    inside = np.linalg.solve(np.eye(len(y)) - transitions, np.column_stack([h + 0 * y, above]))
    here = norm.pdf(y, 0.0, np.sqrt(h)) * weights
    return here @ inside + [h, norm.sf(upper, 0.0, np.sqrt(h))]


@functools.cache
def passages(rate):
    return first_passage(
        REVERTING._replace(parameters=(rate,)),
        np.zeros(20_000),
        lower=LOWER,
        upper=UPPER,
        step_size=STEP_SIZE,
        max_steps=10**5,
        rng=1,
    )


@pytest.mark.parametrize("rate", [0.0, RATE])
def test_first_passages_have_the_mean_time_and_exits_of_the_chain(rate):
    found = passages(rate)
    time, upper = mean_time_and_exit(STEP_SIZE, rate)
    assert_mean(found.times, time, ALPHA)
    assert_mean(found.exits > 0, upper, ALPHA)
    for wrong in (0.5 - rate, rate + 0.1):
        with pytest.raises(AssertionError):
            assert_mean(found.times, mean_time_and_exit(STEP_SIZE, wrong)[0], ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(found.times, mean_time_and_exit(1e-4, rate)[0], ALPHA)


def test_brownian_motion_leaves_late_by_the_known_root_of_the_step():
    """Ends moved outward by 0.5826 √h give the chain's mean time: exits follow a / (a + b)."""
    for h in (0.01, 0.0025):
        shift = 0.5826 * np.sqrt(h)
        a, b = -LOWER + shift, UPPER + shift
        time, upper = mean_time_and_exit(h, 0.0)
        assert time == pytest.approx(a * b, abs=0.6 * h)  # the overshoot's variance is h / 4
        assert upper == pytest.approx(a / (a + b), abs=1e-4)
        assert abs(time + LOWER * UPPER) > shift
    found = passages(0.0)
    shift = 0.5826 * np.sqrt(STEP_SIZE)
    assert_mean(found.exits > 0, (shift - LOWER) / (2 * shift - LOWER + UPPER), ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(found.times, -LOWER * UPPER, ALPHA)


# --- Ornstein and Uhlenbeck's process -------------------------------------------------------------

ANGLE = np.array([[np.cos(0.4), -np.sin(0.4)], [np.sin(0.4), np.cos(0.4)]])
NOISE = np.array([[1.0, 0.3], [0.3, 2.0]])
RATES = {
    "symmetric": np.array([[1.0, 0.2], [0.2, 0.5]]),
    "turning": np.array([[0.3, 2.0], [-1.0, 0.6]]),
    "defective": np.array([[1.0, 1.0], [0.0, 1.0]]),
    "stiff": ANGLE @ np.diag([1.0, 100.0]) @ ANGLE.T,
    "unstable": np.array([[-0.5, 0.2], [0.0, 0.7]]),
}


def step_moments(rate, noise, time):
    """Return exp(-A t) and the covariance, by Lyapunov's equation A S + S Aᵀ = D."""
    stationary = solve_continuous_lyapunov(rate, noise)
    decay = expm(-rate * time)
    return decay, stationary - decay @ stationary @ decay.T


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("time", [0.03, 0.7, 4.0])
def test_a_step_is_exact(name, time):
    rate, n = RATES[name], 50
    start = np.random.default_rng(0).standard_normal((n, 2))
    decay, covariance = step_moments(rate, NOISE, time)
    options = {"rate": rate, "noise_covariance": NOISE, "time": time, "rng": 3}
    noise = ornstein_uhlenbeck(np.zeros((n, 2)), **options)[0]
    size = np.max(np.abs(covariance))
    np.testing.assert_allclose(
        ornstein_uhlenbeck(start, **options)[0] - noise, start @ decay.T, atol=1e-13 * (1 + size)
    )
    # The noise is linear in the two normals of each path's stream.
    normals = np.array([streams.normals(state) for state in streams.states(3, n)])
    root = np.linalg.lstsq(normals, noise, rcond=None)[0]
    np.testing.assert_allclose(normals @ root, noise, atol=1e-13 * (1 + size))
    np.testing.assert_allclose(root.T @ root, covariance, rtol=1e-9, atol=1e-12 * size)


def test_steps_chain_and_start_where_they_ended():
    rate, noise = RATES["turning"], np.zeros((2, 2))
    values = ornstein_uhlenbeck(
        [[1.0, 2.0]], rate=rate, noise_covariance=noise, time=0.3, records=5
    )
    assert values.shape == (5, 1, 2)
    for k in range(5):
        np.testing.assert_allclose(
            values[k, 0], expm(-0.3 * (k + 1) * rate) @ [1.0, 2.0], rtol=1e-12
        )


@pytest.mark.parametrize("name", ["turning", "stiff"])
def test_records_have_the_mean_and_covariance_of_the_process(name):
    n, time, start = 40_000, 0.4, np.array([1.0, -0.5])
    values = ornstein_uhlenbeck(
        np.tile(start, (n, 1)),
        rate=RATES[name],
        noise_covariance=NOISE,
        time=time,
        records=2,
        rng=1,
    )
    for k in (1, 2):
        decay, covariance = step_moments(RATES[name], NOISE, k * time)
        white = np.linalg.solve(np.linalg.cholesky(covariance), (values[k - 1] - decay @ start).T)
        for i in range(2):
            assert_mean(white[i], 0.0, ALPHA)
            assert_mean(white[i] ** 2, 1.0, ALPHA)
        assert_mean(white[0] * white[1], 0.0, ALPHA)
    decay, covariance = step_moments(RATES[name], NOISE, time)
    moved = values[1] - values[0] @ decay.T  # what the second step adds is new
    for i, j in np.ndindex(2, 2):
        assert_mean(moved[:, i] * (values[0] - decay @ start)[:, j], 0.0, ALPHA)
    with pytest.raises(AssertionError):
        assert_mean((values[0] - decay @ start)[:, 1] ** 2, 1.05 * covariance[1, 1], ALPHA)
    with pytest.raises(AssertionError):  # the transpose
        assert_mean(values[1] @ [1.0, 0.0], (expm(-RATES["turning"].T * 0.8) @ start)[0], ALPHA)


def test_a_scalar_process_agrees_with_platen_s_scheme():
    rate, sigma = 1.5, 0.7
    exact = ornstein_uhlenbeck(
        np.full((20_000, 1), 1.2), rate=[[rate]], noise_covariance=[[sigma**2]], time=1.0, rng=0
    )[0, :, 0]
    mean, square = exact_moments((rate, 0.0, sigma, 0.0), 1.2, 1.0)
    assert_mean(exact, mean, ALPHA)
    assert_mean(exact**2, square, ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(exact**2, 1.1 * square, ALPHA)


def test_covariances_with_rounding_or_without_rank_are_welcome():
    Q = np.linalg.qr(np.random.default_rng(2).standard_normal((5, 5)))[0]
    almost = (Q * [1.0, 2.0, 3.0, 0.0, 0.0]) @ Q.T
    values = ornstein_uhlenbeck(
        np.zeros((300, 5)), rate=np.zeros((5, 5)), noise_covariance=almost, time=1.0, rng=0
    )
    assert np.linalg.matrix_rank(values[0], tol=1e-6) == 3
    lopsided = np.eye(5) + 1e-17 * np.triu(np.ones((5, 5)), 1)
    ornstein_uhlenbeck(np.zeros((1, 5)), rate=np.eye(5), noise_covariance=lopsided, time=1.0)


# --- functions, compilation and bad arguments -----------------------------------------------------


def named_drift(x, parameters):
    return -x if x > 0.0 else -2.0 * x


def test_functions_may_be_plain_named_or_compiled():
    strength = 1.5
    options = {"step_size": 0.1, "steps": 7, "rng": 0}
    equations = (
        Equation(named_drift, lambda x, p: strength),
        Equation(njit(named_drift), lambda x, p: 1.5),
        Equation(lambda x, p: -x if x > 0.0 else -2.0 * x, njit(lambda x, p: 1.5)),
    )
    results = [paths(equation, [0.5, -0.5], **options)[1] for equation in equations]
    for result in results[1:]:
        np.testing.assert_array_equal(result, results[0])
    whole = paths(Equation(lambda x, p: 0, lambda x, p: 1), [0.0], **options)[1]
    np.testing.assert_array_equal(whole, paths(WALK, [0.0], **options)[1])


def test_new_parameters_compile_nothing():
    def every(equation, seed, n):
        start = np.full(n, 0.1)
        paths(equation, start, step_size=0.1 / n, steps=n, rng=seed)
        occupation(equation, start, edges=np.arange(n), step_size=0.1, steps=3, rng=seed)
        first_passage(equation, start, lower=-n, upper=2.0, step_size=1, max_steps=5, rng=seed)

    every(affine("affine noise"), 0, 3)
    with install_recorder("numba:compile") as recorder:
        every(AFFINE._replace(parameters=(1, 0, 2, 0.3)), np.random.default_rng(0), 700)
        every(AFFINE._replace(parameters=(np.float64(1), 0, 1, 0)), None, 2)
    assert not recorder.buffer


def raises(message):
    return pytest.raises(ValueError, match=message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": []}, "start is empty"),
        ({"start": [[0.0]]}, "start must have 1 dimensions"),
        ({"start": [np.nan]}, "start has NaN"),
        ({"start": ["x"]}, "start must be an array of numbers"),
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"step_size": -0.1}, "step_size must be positive"),
        ({"step_size": np.inf}, "step_size has NaN or infinite"),
        ({"step_size": [0.1, 0.2]}, "step_size must have 0 dimensions"),
        ({"threads": 0}, "threads must be an integer of at least 1, got 0"),
        ({"threads": 1.5}, "threads must be an integer"),
        ({"rng": -1}, "non-negative"),
    ],
)
def test_bad_arguments_common_to_all_are_named(change, message):
    options = {"start": [0.0], "step_size": 0.1} | change
    with raises(message):
        paths(WALK, steps=3, **options)
    with raises(message):
        occupation(WALK, edges=[0.0], steps=3, **options)
    with raises(message):
        first_passage(WALK, lower=-1.0, max_steps=3, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"steps": 2.0}, "steps must be an integer"),
        ({"scheme": "milstein"}, "scheme is 'milstein'; it must be one of euler-maruyama, platen"),
        ({"noise": "pink"}, "noise is 'pink'; it must be one of normal, discrete"),
    ],
)
def test_bad_schemes_are_named(change, message):
    options = {"steps": 3, "step_size": 0.1} | change
    with raises(message):
        paths(WALK, [0.0], **options)
    with raises(message):
        occupation(WALK, [0.0], edges=[0.0], **options)


@pytest.mark.parametrize(
    ("record_every", "message"),
    [(0, "record_every must be"), (1.5, "record_every must be"), (4, "only 3 steps")],
)
def test_bad_records_are_named(record_every, message):
    with raises(message):
        paths(WALK, [0.0], step_size=0.1, steps=3, record_every=record_every)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"edges": [1.0, 0.0]}, "edges must increase"),
        ({"edges": [1.0, 1.0]}, "edges must increase"),
        ({"edges": []}, "edges is empty"),
        ({"edges": [0.0, np.inf]}, "edges has NaN or infinite"),
        ({"burn_in": -1}, "burn_in must be an integer of at least 0"),
    ],
)
def test_bad_bins_are_named(change, message):
    with raises(message):
        occupation(WALK, [0.0], **{"edges": [0.0], "step_size": 0.1, "steps": 3} | change)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"lower": -np.inf, "upper": np.inf}, "one of lower and upper must be finite"),
        ({"start": [0.0, 1.0]}, r"start must lie inside \(-1, 1\)"),
        ({"start": [-1.0]}, r"start must lie inside \(-1, 1\)"),
        ({"lower": 1.0, "upper": -1.0}, "start must lie inside"),
        ({"lower": np.nan}, "start must lie inside"),
        ({"max_steps": 0}, "max_steps must be an integer of at least 1"),
    ],
)
def test_bad_intervals_are_named(change, message):
    options = {"start": [0.0], "lower": -1.0, "upper": 1.0, "max_steps": 3} | change
    with raises(message):
        first_passage(WALK, step_size=0.1, **options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"start": [0.0, 0.0]}, "start must have 2 dimensions"),
        ({"rate": np.eye(3)}, r"start has 2 columns, but rate has shape \(3, 3\)"),
        ({"noise_covariance": np.eye(3)}, r"noise_covariance \(3, 3\)"),
        ({"noise_covariance": np.ones((2, 3))}, "noise_covariance must be square"),
        ({"noise_covariance": [[1.0, 0.5], [0.0, 1.0]]}, "noise_covariance must be symmetric"),
        ({"noise_covariance": [[1.0, 2.0], [2.0, 1.0]]}, "must be positive semidefinite.* -1"),
        ({"time": 0.0}, "time must be positive"),
        ({"time": [1.0, 2.0]}, "time must have 0 dimensions"),
        ({"records": 0}, "records must be an integer"),
        ({"rate": -np.eye(2), "time": 1000.0}, "beyond the range of float64"),
        ({"rate": -np.eye(2), "time": 100.0, "records": 10}, "beyond the range of float64"),
    ],
)
def test_bad_processes_are_named(change, message):
    options = {"start": np.zeros((4, 2)), "rate": np.eye(2), "noise_covariance": np.eye(2)}
    with raises(message):
        ornstein_uhlenbeck(**options | {"time": 1.0, "rng": 0} | change)


@pytest.mark.parametrize("scheme", sde.SCHEMES)
def test_paths_that_blow_up_say_so(scheme):
    options = {"step_size": 0.5, "steps": 50, "scheme": scheme}
    message = "1 of 3 paths left the range of float64: step_size = 0.5 is too large"
    with raises(message):
        paths(POWER, [10.0, 0.1, 0.0], **options)
    with raises(message):
        occupation(POWER, [10.0, 0.1, 0.0], edges=[0.0], **options)


def test_a_path_that_blows_up_has_not_passed():
    away = POWER._replace(parameters=(2.0,))
    with raises("1 of 2 paths left the range of float64"):
        first_passage(away, [-1.0, 0.5], upper=1.0, step_size=0.5, max_steps=50)


@pytest.mark.parametrize(
    ("drift", "reason"),
    [
        (lambda x, p: x.height, "Unknown attribute 'height'"),
        (lambda x, p: p[3] * x, "tuple index out of range"),
        (lambda x: x, "takes 1 arguments"),
    ],
)
@pytest.mark.parametrize("place", ["drift", "diffusion"])
def test_functions_that_do_not_compile_are_named_with_the_reason(drift, reason, place):
    equation = Equation(lambda x, p: 0.0, lambda x, p: 0.0, (1.0,))._replace(**{place: drift})
    message = rf"{place} must be a function of \(x, parameters\)(.|\n)*{reason}"
    with raises(message):
        paths(equation, [0.0], step_size=0.1, steps=3)
    with raises(message):
        first_passage(equation, [0.0], lower=-1.0, step_size=0.1, max_steps=3)


# --- Langevin dynamics and paths in space ---------------------------------------------------------


def test_langevin_on_the_line_is_the_gradient_and_the_temperature():
    well = DoubleWell(barrier=2.0, tilt=0.3)
    equation = sde.langevin(well, 0.5)
    for x in (-1.3, 0.2, 2.0):
        assert equation.drift(x, equation.parameters) == pytest.approx(-float(well.gradient(x)))
        assert equation.diffusion(x, equation.parameters) == 1.0


def test_langevin_reaches_the_boltzmann_variance():
    thermal = sde.langevin(Parabola(curvature=4.0), 2.0)
    h, n = 0.05, 4000
    _, x = sde.paths(thermal, np.zeros(n), step_size=h, steps=200, rng=1)
    scheme = 2.0 / 4.0 / (1 - 4.0 * h / 2)  # the scheme's own variance: T/k over 1 - hk/2
    assert_mean(x[-1] ** 2, scheme)
    with pytest.raises(AssertionError):
        assert_mean(x[-1] ** 2, 1.15 * scheme)


def test_langevin_in_space_follows_the_landscape():
    bowl = Quadratic(hessian_matrix=[[3.0, 1.0], [1.0, 2.0]], center=[0.5, -0.5])
    start, h = np.array([[1.0, 2.0], [-1.0, 0.5], [3.0, 3.0]]), 0.01
    _, x = sde.space_paths(sde.langevin(bowl, 1e-18), start, step_size=h, steps=7, record_every=1)
    expected = start
    for step in x:
        expected = expected - h * bowl.gradient(expected)
        np.testing.assert_allclose(step, expected, atol=1e-7)


def test_langevin_in_space_reaches_the_inverse_hessian():
    H, h, n = np.array([[3.0, 1.0], [1.0, 2.0]]), 0.05, 4000
    thermal = sde.langevin(Quadratic(hessian_matrix=H), 1.0)
    _, x = sde.space_paths(thermal, np.zeros((n, 2)), step_size=h, steps=200, rng=2)
    exact = np.linalg.inv(H @ (np.eye(2) - h * H / 2))
    for i, j in ((0, 0), (0, 1), (1, 1)):
        assert_mean(x[-1, :, i] * x[-1, :, j], exact[i, j])
    with pytest.raises(AssertionError):
        assert_mean(x[-1, :, 0] * x[-1, :, 1], -0.5 * exact[0, 1])


def test_space_paths_have_the_same_bits_for_any_threads_and_number_of_paths():
    wells = WellMixture(
        costs=[0.0, 1.0], centers=[[-1.0, 0.0], [1.0, 0.5]], hessians=[np.eye(2), 3 * np.eye(2)]
    )
    run = {"step_size": 0.01, "steps": 20, "record_every": 6, "rng": 3}
    times, x = sde.space_paths(sde.langevin(wells, 0.7), np.ones((9, 2)), **run)
    assert x.shape == (3, 9, 2)
    np.testing.assert_allclose(times, [0.06, 0.12, 0.18])
    for threads in (2, 3):
        again = sde.space_paths(sde.langevin(wells, 0.7), np.ones((9, 2)), threads=threads, **run)
        np.testing.assert_array_equal(again[1], x)
    fewer = sde.space_paths(sde.langevin(wells, 0.7), np.ones((4, 2)), **run)
    np.testing.assert_array_equal(fewer[1], x[:, :4])


def test_space_paths_take_a_users_functions():
    def drift(x, parameters, out):
        out[0], out[1] = x[1], -parameters[0] * x[0]

    def quiet(x, parameters, out):
        out[0], out[1] = 0.0, 0.0

    oscillator = sde.SpaceEquation(drift, quiet, (4,))
    _, x = sde.space_paths(oscillator, [[1.0, 0.0]], step_size=1e-4, steps=10_000)
    np.testing.assert_allclose(x[-1, 0], [np.cos(2.0), -2 * np.sin(2.0)], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"start": [0.0, 1.0]}, "start must have 2 dimensions"),
        ({"steps": 0}, "steps must be an integer"),
        ({"step_size": 0.0}, "step_size must be positive"),
        ({"record_every": 11}, "record_every is 11"),
        ({"threads": 0}, "threads must be an integer"),
        ({"step_size": 50.0, "steps": 500}, "left the range of float64"),
    ],
)
def test_mistakes_in_space_are_told(changes, message):
    bowl = sde.langevin(Quadratic(hessian_matrix=np.eye(2)), 1.0)
    arguments = {"start": np.zeros((2, 2)), "step_size": 0.1, "steps": 10, **changes}
    with pytest.raises(ValueError, match=message), np.errstate(all="ignore"):
        sde.space_paths(bowl, **arguments)


def test_a_temperature_must_be_positive():
    with pytest.raises(ValueError, match="temperature must be positive"):
        sde.langevin(Parabola(curvature=1.0), 0.0)


def test_a_space_function_that_does_not_compile_is_named():
    equation = sde.SpaceEquation(lambda x, p: 0.0, lambda x, p, out: None)
    with pytest.raises(ValueError, match=r"drift must be a function of \(x, parameters, out\)"):
        sde.space_paths(equation, [[0.0]], step_size=0.1, steps=1)
