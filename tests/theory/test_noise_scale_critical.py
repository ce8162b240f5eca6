"""Critical batch sizes by brute-force minimization; estimators by enumeration of all batches."""

import itertools
import math
from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from stat_asserts import assert_mean

from theory.noise_scale import (
    critical_batch_size,
    estimate_noise_scale,
    fit_tradeoff,
    hessian_noise_scale,
    loss_improvement_fraction,
    max_learning_rate,
    noise_scale_from_gradients,
    optimal_learning_rate,
    simple_noise_scale,
    steps_and_examples,
    svag,
)

positive = st.floats(1e-3, 1e3)


def problem(seed=0, P=4):
    rng = np.random.default_rng(seed)
    A, B = rng.standard_normal((2, P, P))
    return rng.standard_normal(P), A @ A.T, B @ B.T


# ------------------------------------------------------------------------- step, Hessian, learning


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("B", [1, 10, 1000])
def test_best_step_by_search(seed, B):
    """Average the loss change over ± √P columns of √C, which have exactly its covariance."""
    G, C, H = problem(seed)
    P = len(G)
    root = np.linalg.cholesky(C) * math.sqrt(P / B)
    gradients = np.concatenate([G + root.T, G - root.T])

    def mean_change(rate, samples):
        steps = -rate * samples
        return np.mean(steps @ G + 0.5 * np.einsum("ni,ij,nj->n", steps, H, steps))

    longest = max_learning_rate(G, H)
    clean = minimize_scalar(lambda e: mean_change(e, G[None]), bracket=(0.0, longest))
    noisy = minimize_scalar(lambda e: mean_change(e, gradients), bracket=(0.0, longest / 10))
    noise = hessian_noise_scale(G, C, H)
    assert clean.x == pytest.approx(longest, rel=1e-6)
    assert noisy.x == pytest.approx(optimal_learning_rate(B, noise, longest), rel=1e-6)
    assert noisy.fun / clean.fun == pytest.approx(loss_improvement_fraction(B, noise), rel=1e-9)


def test_simple_noise_scale_is_that_of_a_round_hessian():
    G, C, _ = problem()
    expected = sum(C[i, i] for i in range(4)) / sum(x * x for x in G)
    assert simple_noise_scale(G, C) == pytest.approx(expected)
    assert hessian_noise_scale(G, C, 2.5 * np.eye(4)) == pytest.approx(expected)


def test_leading_axes():
    problems = [problem(seed) for seed in range(6)]
    G, C, H = (np.stack(x).reshape(2, 3, *x[0].shape) for x in zip(*problems, strict=True))
    for i, j in np.ndindex(2, 3):
        one = problems[3 * i + j]
        assert simple_noise_scale(G, C)[i, j] == pytest.approx(simple_noise_scale(*one[:2]))
        assert hessian_noise_scale(G, C, H)[i, j] == pytest.approx(hessian_noise_scale(*one))
        assert max_learning_rate(G, H)[i, j] == pytest.approx(max_learning_rate(one[0], one[2]))
    assert optimal_learning_rate([[1], [2]], [1.0, 2.0, 3.0], 1.0).shape == (2, 3)
    assert loss_improvement_fraction(5, 0.0) == 1.0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simple_noise_scale(1.0, [[1.0]]), "gradient must have at least one dimension"),
        (lambda: simple_noise_scale([0.0, 0.0], np.eye(2)), "gradient must not be zero"),
        (lambda: simple_noise_scale([np.nan, 1.0], np.eye(2)), "gradient has NaN"),
        (lambda: simple_noise_scale([1.0, 1.0], np.eye(3)), r"covariance must end in \(2, 2\)"),
        (lambda: simple_noise_scale([1.0, 1.0], [1.0, 1.0]), "covariance must be square"),
        (lambda: simple_noise_scale([1.0], [[-1.0]]), "covariance has a negative variance, -1"),
        (
            lambda: simple_noise_scale([1.0, 1.0], [[1.0, 0.5], [0.0, 1.0]]),
            "covariance must be symmetric",
        ),
        (lambda: hessian_noise_scale([1.0], [[1.0]], [[0.0]]), "hessian must be positive along"),
        (
            lambda: hessian_noise_scale([1.0, 0.0], np.eye(2), np.diag([1.0, -2.0])),
            r"tr\(hessian covariance\) must not be negative, got -1",
        ),
        (lambda: max_learning_rate([1.0], [[-1.0]]), "hessian must be positive along gradient"),
        (lambda: max_learning_rate([1.0], [[np.inf]]), "hessian has NaN or infinite"),
        (
            lambda: max_learning_rate([1.0, 1.0], [[1.0, 0.5], [0.0, 1.0]]),
            "hessian must be symmetric",
        ),
        (lambda: loss_improvement_fraction(0, 1.0), "batch_size must be positive"),
        (lambda: loss_improvement_fraction(1, -1.0), "noise_scale must not be negative, got -1"),
        (lambda: optimal_learning_rate(1, 1.0, 0.0), "max_learning_rate must be positive"),
        (lambda: critical_batch_size(0.0, 1.0), "min_examples must be positive"),
        (lambda: critical_batch_size(1.0, 0.0), "min_steps must be positive"),
        (lambda: steps_and_examples(0, 1.0, 1.0), "batch_size must be positive"),
        (lambda: steps_and_examples(1, 0.0, 1.0), "critical_batch_size must be positive"),
        (lambda: steps_and_examples(1, 1.0, np.nan), "min_steps has NaN"),
        (
            lambda: simple_noise_scale(np.ones((2, 1)), np.ones((3, 1, 1))),
            r"do not broadcast: gradient \(2,\), covariance \(3,\)",
        ),
        (
            lambda: hessian_noise_scale([1.0], np.ones((2, 1, 1)), np.ones((3, 1, 1))),
            r"do not broadcast: covariance \(2,\), hessian \(3,\)",
        ),
        (lambda: loss_improvement_fraction([1] * 2, [1] * 3), "broadcast: batch_size"),
        (lambda: optimal_learning_rate([1] * 2, 1, [1] * 3), "broadcast: max_learning_rate"),
        (lambda: critical_batch_size([1] * 2, [1] * 3), "broadcast: min_examples"),
        (lambda: steps_and_examples([1] * 2, [1] * 3, 1), "broadcast: batch_size"),
        (lambda: svag(0.0, 2), "learning_rate must be positive"),
        (lambda: svag([0.1], 2), "learning_rate must have 0 dimensions"),
        (lambda: svag(0.1, 0), "refinement must be an integer of at least 1, got 0"),
        (lambda: svag(0.1, 1.5), "refinement must be an integer of at least 1, got 1.5"),
    ],
)
def test_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("refinement", [1, 2, 3, 8, 100])
def test_svag_keeps_drift_and_noise(refinement):
    """With gradients ±1 of two batches enumerated: mean 1/l and variance 1/l of SGD's step."""
    step = svag(0.3, refinement)
    exact = mp.sqrt(2 * refinement - 1)
    assert step.first == pytest.approx(float((1 + exact) / 2))
    assert step.second == pytest.approx(float((1 - exact) / 2), abs=1e-15)
    moves = [
        step.learning_rate * (step.first * (2.0 + a) + step.second * (2.0 + b))
        for a, b in itertools.product((-1.0, 1.0), repeat=2)
    ]
    assert refinement * np.mean(moves) == pytest.approx(0.3 * 2.0)
    assert refinement * np.var(moves) == pytest.approx(0.3**2)


# ---------------------------------------------------------------------------- steps and examples


@given(B=positive, critical=positive, least=positive)
def test_tradeoff_curve(B, critical, least):
    steps, examples = steps_and_examples(B, critical, least)
    assert examples == pytest.approx(B * steps)
    min_examples = critical * least
    assert critical_batch_size(min_examples, least) == pytest.approx(critical)
    assert least / steps + min_examples / examples == pytest.approx(1.0)
    product = (Fraction(steps) / Fraction(least) - 1) * (
        Fraction(examples) / Fraction(min_examples) - 1
    )
    assert float(product) == pytest.approx(1.0, rel=1e-6)


def test_tradeoff_is_the_sum_of_improvements():
    """A fixed gain is reached in 1 / fraction times the steps of the noiseless run."""
    for B in (1, 30, 900):
        expected = 50 / loss_improvement_fraction(B, 900.0)
        assert steps_and_examples(B, 900.0, 50).steps == pytest.approx(expected)


batch_grid = st.lists(st.integers(0, 20), min_size=3, max_size=10, unique=True)


@given(powers=batch_grid, critical=st.floats(10.0, 1e4), least=st.floats(1.0, 1e6))
def test_fit_of_exact_data(powers, critical, least):
    cost = steps_and_examples(2.0 ** np.array(powers), critical, least)
    fit = fit_tradeoff(cost.steps, cost.examples)
    share = steps_and_examples(2.0 ** np.array(powers), critical, 1.0).steps  # 1 + B_crit / B
    informed = np.ptp(1.0 / share) > 1e-2
    if informed:
        assert fit.min_steps == pytest.approx(least, rel=1e-4)
        assert fit.min_examples == pytest.approx(least * critical, rel=1e-4)
        assert fit.critical_batch_size == pytest.approx(critical, rel=1e-4)
    assert fit.scatter < 1e-5


def noisy_runs(rng, scatter=0.1):
    batches = np.geomspace(10, 30_000, 9)
    steps, _ = steps_and_examples(batches, 900.0, 200.0)
    steps = steps * np.exp(scatter * rng.standard_normal(len(batches)))
    return steps, batches * steps


def test_fit_against_a_grid_search():
    """Minimize the squared log residuals over a fine grid of both parameters."""
    steps, examples = noisy_runs(np.random.default_rng(5))
    fit = fit_tradeoff(steps, examples)
    log_s, log_e = np.meshgrid(
        np.log(fit.min_steps) + np.linspace(-0.3, 0.3, 241),
        np.log(fit.min_examples) + np.linspace(-0.3, 0.3, 241),
        indexing="ij",
    )
    model = np.log(np.exp(log_s)[..., None] + np.exp(log_e)[..., None] / (examples / steps))
    cost = np.sum((np.log(steps) - model) ** 2, axis=-1)
    assert np.unravel_index(np.argmin(cost), cost.shape) == (120, 120)
    assert fit.scatter == pytest.approx(math.sqrt(cost.min() / 7))
    # The standard errors are the half-widths of the valley's section, cost ≤ min + scatter².
    inside = cost <= cost.min() + fit.scatter**2
    for axis, logs, error in (
        (1, log_s[:, 0], fit.min_steps_error / fit.min_steps),
        (0, log_e[0], fit.min_examples_error / fit.min_examples),
    ):
        reach = logs[np.any(inside, axis=axis)]
        assert np.ptp(reach) / 2 == pytest.approx(error, rel=0.15)


def fitted_errors(names, n=400):
    """Squared error over squared standard error of fits to n noisy sets of runs."""
    rng = np.random.default_rng(6)
    truth = {"min_steps": 200.0, "min_examples": 180_000.0, "critical_batch_size": 900.0}
    samples = {name: [] for name in names}
    for _ in range(n):
        fit = fit_tradeoff(*noisy_runs(rng))
        for name in names:
            z = math.log(getattr(fit, name) / truth[name])
            samples[name].append(z * getattr(fit, name) / getattr(fit, f"{name}_error"))
    return samples


def test_fit_is_unbiased_within_its_errors():
    samples = fitted_errors(("min_steps", "min_examples", "critical_batch_size"))
    for z in samples.values():
        assert_mean(z, 0.0)
        # Seven degrees of freedom: Student's t² has mean 7 / 5.
        assert_mean(np.minimum(np.square(z), 50.0), 7 / 5)


def test_wrong_standard_errors_fail():
    (z,) = fitted_errors(("critical_batch_size",)).values()
    with pytest.raises(AssertionError):
        assert_mean(np.minimum(np.square(z), 50.0) * 2.0, 7 / 5)


@pytest.mark.parametrize(
    ("steps", "examples", "message"),
    [
        ([1.0, 2.0], [1.0, 2.0], "pairs of at least 3 runs"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], "pairs of at least 3 runs"),
        ([1.0, 2.0, 0.0], [1.0, 2.0, 3.0], "steps must be positive"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, -3.0], "examples must be positive"),
        ([[1.0]], [[1.0]], "steps must have 1 dimensions"),
        ([1.0, 2.0, 3.0], [np.nan, 1.0, 1.0], "examples has NaN"),
        ([400.0, 200.0, 100.0], [400.0, 400.0, 400.0], "min_steps is not in the data"),
        ([9.0, 8.0, 7.0], [90.0, 80.0, 70.0], "min_steps is not in the data"),
        ([100.0, 100.0, 100.0], [100.0, 200.0, 400.0], "min_examples is not in the data: steps"),
    ],
)
def test_fit_out_of_range(steps, examples, message):
    with pytest.raises(ValueError, match=message):
        fit_tradeoff(steps, examples)


# ---------------------------------------------------------------------- estimators, enumerated

POPULATION = [(3, 1), (-1, 2), (4, 0), (0, -5), (2, 2)]


def truths(denominator_loss):
    """|G|² and tr C of the population in fractions, C with denominator N - ``denominator_loss``."""
    N = len(POPULATION)
    mean = [Fraction(sum(x), N) for x in zip(*POPULATION, strict=True)]
    trace = sum((x - m) ** 2 for g in POPULATION for x, m in zip(g, mean, strict=True))
    return float(sum(m * m for m in mean)), float(trace / (N - denominator_loss))


def all_batches(B, replacement):
    draw = itertools.product(POPULATION, repeat=B) if replacement else None
    return np.array(list(draw or itertools.combinations(POPULATION, B)), dtype=float)


def squared_norms(batches):
    return np.sum(batches.mean(axis=1) ** 2, axis=-1)


def all_pairs(small, large):
    first, second = np.meshgrid(small, large)
    return first.ravel(), second.ravel()


@pytest.mark.parametrize(("small", "large"), [(1, 2), (1, 5), (2, 4), (3, 5)])
def test_two_batches_without_replacement_enumerated(small, large):
    norms = [squared_norms(all_batches(B, replacement=False)) for B in (small, large)]
    estimate = estimate_noise_scale(
        *all_pairs(*norms), small_batch_size=small, large_batch_size=large, train_size=5
    )
    square, trace = truths(denominator_loss=1)
    assert estimate.gradient_square == pytest.approx(square)
    assert estimate.noise_trace == pytest.approx(trace)
    assert estimate.noise_scale == pytest.approx(trace / square)
    infinite = estimate_noise_scale(
        *all_pairs(*norms), small_batch_size=small, large_batch_size=large
    )
    assert infinite.noise_trace == pytest.approx(trace)  # 1/N cancels in the difference
    assert infinite.gradient_square == pytest.approx(square - trace / 5)  # and here it is the bias


@pytest.mark.parametrize(("small", "large"), [(1, 2), (1, 4), (2, 3)])
def test_two_batches_with_replacement_enumerated(small, large):
    norms = [squared_norms(all_batches(B, replacement=True)) for B in (small, large)]
    estimate = estimate_noise_scale(
        *all_pairs(*norms), small_batch_size=small, large_batch_size=large
    )
    square, trace = truths(denominator_loss=0)
    assert estimate.gradient_square == pytest.approx(square)
    assert estimate.noise_trace == pytest.approx(trace)


def test_nested_batches_enumerated():
    """The small batch is the first device's share of the large one."""
    large = all_batches(4, replacement=True)
    estimate = estimate_noise_scale(
        squared_norms(large[:, :2]), squared_norms(large), small_batch_size=2, large_batch_size=4
    )
    square, trace = truths(denominator_loss=0)
    assert estimate.gradient_square == pytest.approx(square)
    assert estimate.noise_trace == pytest.approx(trace)


@pytest.mark.parametrize(("n", "replacement"), [(3, True), (4, True), (3, False), (4, False)])
def test_gradient_sets_enumerated(n, replacement):
    estimates = [
        noise_scale_from_gradients(batch, train_size=None if replacement else 5)
        for batch in all_batches(n, replacement)
    ]
    square, trace = truths(denominator_loss=0 if replacement else 1)
    assert np.mean([e.gradient_square for e in estimates]) == pytest.approx(square)
    assert np.mean([e.noise_trace for e in estimates]) == pytest.approx(trace)


def test_whole_population_is_exact():
    estimate = noise_scale_from_gradients(POPULATION, train_size=5)
    square, trace = truths(denominator_loss=1)
    assert estimate.noise_scale == pytest.approx(trace / square)
    assert estimate.noise_scale == pytest.approx(
        simple_noise_scale(np.mean(POPULATION, axis=0), np.cov(np.transpose(POPULATION)))
    )
    errors = (
        estimate.noise_scale_error,
        estimate.gradient_square_error,
        estimate.noise_trace_error,
    )
    assert errors == (0.0, 0.0, 0.0)


# ------------------------------------------------------------------------- their standard errors


def test_ratio_error_against_a_leave_one_out_loop():
    rng = np.random.default_rng(7)
    g = rng.standard_normal((2000, 3)) + np.array([1.0, 0.0, 2.0])
    small = squared_norms(g[:1000, None])
    large = squared_norms(np.stack([g[:1000], g[1000:]], axis=1))
    sizes = {"small_batch_size": 1, "large_batch_size": 2}
    estimate = estimate_noise_scale(small, large, **sizes)
    names = ("noise_scale", "gradient_square", "noise_trace")
    left_out = [
        estimate_noise_scale(np.delete(small, i), np.delete(large, i), **sizes) for i in range(1000)
    ]
    for name in names:
        values = np.array([getattr(e, name) for e in left_out])
        jackknife = math.sqrt(999 * np.var(values))
        assert getattr(estimate, f"{name}_error") == pytest.approx(jackknife, rel=0.02)
    assert estimate.n == 1000


@pytest.mark.parametrize("train_size", [None, 60])
def test_jackknife_against_a_loop(train_size):
    g = np.random.default_rng(8).standard_normal((40, 3)) + np.array([1.0, 0.0, 2.0])
    estimate = noise_scale_from_gradients(g, train_size=train_size)
    left_out = [
        noise_scale_from_gradients(np.delete(g, i, axis=0), train_size=train_size)
        for i in range(40)
    ]
    part = 1.0 if train_size is None else 1 - 40 / 60
    for name, tolerance in (("gradient_square", 1e-9), ("noise_trace", 1e-9), ("noise_scale", 0.1)):
        values = np.array([getattr(e, name) for e in left_out])
        jackknife = math.sqrt(part * 39 * np.var(values))
        assert getattr(estimate, f"{name}_error") == pytest.approx(jackknife, rel=tolerance)


def gaussian_estimates(n=2000):
    """Estimates from n sets of 200 steps with nested batches, as layers: |G|² = 5, tr C = 20."""
    rng = np.random.default_rng(9)
    draws = [1.0, 2.0] + [2.0, 4.0] * rng.standard_normal((8, n, 200, 2))
    return estimate_noise_scale(
        np.sum(draws[:2].mean(axis=0) ** 2, axis=-1),
        np.sum(draws.mean(axis=0) ** 2, axis=-1),
        small_batch_size=2,
        large_batch_size=8,
    )


def test_two_batch_estimates_of_gaussians():
    estimate = gaussian_estimates()
    assert estimate.noise_scale.shape == (2000,)
    assert_mean(estimate.gradient_square, 5.0)
    assert_mean(estimate.noise_trace, 20.0)
    for name, truth in (("gradient_square", 5.0), ("noise_trace", 20.0)):
        z = (getattr(estimate, name) - truth) / getattr(estimate, f"{name}_error")
        assert np.mean(z**2) == pytest.approx(1.0, abs=0.2)
    z = (estimate.noise_scale - 4.0) / estimate.noise_scale_error
    assert np.mean(z**2) == pytest.approx(1.0, abs=0.2)


def test_ignoring_the_batch_noise_fails():
    estimate = gaussian_estimates()
    with pytest.raises(AssertionError):
        assert_mean(estimate.gradient_square + estimate.noise_trace / 200, 5.0)


def gradient_set_estimates(train_size, n=2000):
    """Estimates from 30 of 50 fixed gradients, drawn anew n times."""
    rng = np.random.default_rng(10)
    population = rng.standard_normal((50, 3)) + np.array([1.0, 0.0, 0.5])
    estimates = [
        noise_scale_from_gradients(
            population[rng.choice(50, 30, replace=False)], train_size=train_size
        )
        for _ in range(n)
    ]
    return population, estimates


def test_finite_population():
    population, estimates = gradient_set_estimates(train_size=50)
    square = np.sum(population.mean(axis=0) ** 2)
    assert_mean([e.gradient_square for e in estimates], square)
    assert_mean([e.noise_trace for e in estimates], np.trace(np.cov(population.T)))
    z = [(e.gradient_square - square) / e.gradient_square_error for e in estimates]
    assert np.mean(np.square(z)) == pytest.approx(1.0, abs=0.2)


def test_forgetting_the_finite_population_fails():
    population, estimates = gradient_set_estimates(train_size=None)
    with pytest.raises(AssertionError):
        assert_mean([e.gradient_square for e in estimates], np.sum(population.mean(axis=0) ** 2))


def test_no_gradient_within_the_noise():
    """|G|² is estimated at -10/3: no finite noise scale is compatible, and nothing is NaN."""
    estimate = estimate_noise_scale(
        [10.0, 10.0], [0.0, 0.0], small_batch_size=1, large_batch_size=4
    )
    assert estimate.gradient_square == pytest.approx(-10 / 3)
    assert estimate.noise_scale == math.inf
    assert estimate.noise_scale_error == math.inf
    mixed = estimate_noise_scale(
        [[10.0, 10.0], [10.0, 12.0]],
        [[0.0, 0.0], [8.0, 9.0]],
        small_batch_size=1,
        large_batch_size=4,
    )
    np.testing.assert_array_equal(np.isfinite(mixed.noise_scale), [False, True])
    opposite = noise_scale_from_gradients([[1.0], [-1.0], [1.0], [-1.0]])
    assert opposite.gradient_square < 0.0
    assert opposite.noise_scale == opposite.noise_scale_error == math.inf


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"small_squared_norms": [1.0, 2.0, 3.0]}, r"\(3,\) and .* \(2,\) are not pairs"),
        ({"small_squared_norms": [1.0, -2.0]}, "small_squared_norms must not be negative, got -2"),
        ({"large_squared_norms": [1.0, np.nan]}, "large_squared_norms has NaN"),
        ({"large_squared_norms": [1.0]}, "large_squared_norms must have at least 2 samples last"),
        ({"small_squared_norms": 1.0}, "small_squared_norms must have at least 2 samples last"),
        ({"small_batch_size": 0}, "small_batch_size must be an integer of at least 1, got 0"),
        ({"large_batch_size": 10}, "large_batch_size must be an integer of at least 11, got 10"),
        ({"train_size": 39}, "train_size must be at least 40, got 39"),
        ({"train_size": 40.5}, "train_size must be an integer"),
    ],
)
def test_two_batches_out_of_range(changes, message):
    good = {"small_squared_norms": [3.0, 4.0], "large_squared_norms": [1.0, 2.0]}
    good |= {"small_batch_size": 10, "large_batch_size": 40}
    keywords = good | changes
    data = [keywords.pop(f"{size}_squared_norms") for size in ("small", "large")]
    with pytest.raises(ValueError, match=message):
        estimate_noise_scale(*data, **keywords)


@pytest.mark.parametrize(
    ("gradients", "train_size", "message"),
    [
        ([[1.0], [2.0]], None, "must have at least 3 rows, got 2"),
        ([1.0, 2.0, 3.0], None, "per_example_gradients must have 2 dimensions"),
        ([[1.0], [2.0], [np.inf]], None, "per_example_gradients has NaN or infinite"),
        ([[1.0], [2.0], [3.0]], 2, "train_size must be at least 3, got 2"),
    ],
)
def test_gradient_sets_out_of_range(gradients, train_size, message):
    with pytest.raises(ValueError, match=message):
        noise_scale_from_gradients(gradients, train_size=train_size)
