"""Noise scale of settings, its inverses, and the plans that scaling rules make of them."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stat_asserts import assert_mean

from theory import _noise_scale_diffusion, _noise_scale_stationary
from theory import noise_scale as facade
from theory.noise_scale import (
    batch_size_for_noise_scale,
    constant_noise_scaling,
    decay_rate_instead,
    gradual_warmup,
    grow_batch_instead,
    learning_rate_for_noise_scale,
    linear_scaling,
    momentum_for_noise_scale,
    noise_scale,
    square_root_scaling,
)

rates = st.floats(1e-5, 1e2)
momenta = st.floats(0.0, 0.999)
sizes = st.integers(2, 10**6).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, n - 1)))


def test_the_facade_exports_what_it_names():
    assert len(set(facade.__all__)) == len(facade.__all__)
    assert {*_noise_scale_diffusion.__all__, *_noise_scale_stationary.__all__} < {*facade.__all__}
    assert all(getattr(facade, name).__doc__ for name in facade.__all__)


# ------------------------------------------------------------------------------------ noise scale


@given(rate=rates, size=sizes, m=momenta)
def test_exact_arithmetic(rate, size, m):
    N, B = size
    exact = Fraction(rate) * (Fraction(N, B) - 1) / (1 - Fraction(m))
    assert noise_scale(rate, N, B, m) == pytest.approx(float(exact), rel=1e-9)


def velocity_variance(weight, m, updates=4000):
    """Long-run variance per update of the position under unit white gradients, added up."""
    response = np.zeros(updates)
    velocity = 1.0 * weight
    for t in range(updates):
        response[t] = velocity
        velocity *= m
    return np.sum(response) ** 2


@pytest.mark.parametrize("m", [0.0, 0.5, 0.9, 0.99])
def test_long_run_variance_of_batches_enumerated(m):
    """Per update ε² (Σ response)² Var(batch gradient), which g F is in the time ε_eff / N."""
    g = [Fraction(x) for x in (3, -1, 4, 1, -5, 9)]
    N, B, rate = len(g), 2, 0.05
    mean = sum(g) / N
    F = sum((x - mean) ** 2 for x in g) / (N - 1)
    batches = list(itertools.combinations(g, B))
    variance = float(sum((sum(b) / B - mean) ** 2 for b in batches) / len(batches))
    for dampened in (False, True):
        per_update = rate**2 * velocity_variance(1 - m if dampened else 1.0, m) * variance
        effective = rate if dampened else rate / (1 - m)
        expected = noise_scale(rate, N, B, m, dampened=dampened) * float(F) * effective / N
        assert per_update == pytest.approx(expected, rel=1e-9)


def test_broadcasting_and_scalars():
    assert isinstance(noise_scale(0.1, 1000, 100), float)
    assert noise_scale(0.1, 1000, 1000, 0.9) == 0.0
    grid = noise_scale([[0.1], [0.2]], 1000, [1, 10, 100], 0.5)
    assert grid.shape == (2, 3)
    for (i, rate), (j, B) in itertools.product(enumerate((0.1, 0.2)), enumerate((1, 10, 100))):
        assert grid[i, j] == noise_scale(rate, 1000, B, 0.5)
    np.testing.assert_array_equal(
        noise_scale(0.1, 1000, 10, [0.0, 0.5, 0.9], dampened=True), noise_scale(0.1, 1000, 10)
    )


@given(rate=rates, size=sizes, m=momenta, dampened=st.booleans())
def test_inverses(rate, size, m, dampened):
    N, B = size
    g = noise_scale(rate, N, B, m, dampened=dampened)
    assert batch_size_for_noise_scale(g, rate, N, m, dampened=dampened) == pytest.approx(B)
    assert learning_rate_for_noise_scale(g, N, B, m, dampened=dampened) == pytest.approx(rate)
    if not dampened:
        assert momentum_for_noise_scale(g, rate, N, B) == pytest.approx(m, abs=1e-9)


@given(rate=rates, size=sizes, m=momenta, share=st.floats(0.0, 1.0))
def test_inverses_the_other_way(rate, size, m, share):
    N, B = size
    g = share * noise_scale(rate, N, 1, m)
    batch = batch_size_for_noise_scale(g, rate, N, m)
    assert 1.0 <= batch <= N
    assert rate * (N / batch - 1) / (1 - m) == pytest.approx(g, abs=1e-9 * rate / (1 - m))
    wanted = noise_scale(rate, N, B) * (1.0 + 100.0 * share)
    m_wanted = momentum_for_noise_scale(wanted, rate, N, B)
    assert noise_scale(rate, N, B, m_wanted) == pytest.approx(wanted)
    assert noise_scale(learning_rate_for_noise_scale(wanted, N, B, m), N, B, m) == pytest.approx(
        wanted
    )


def test_inverses_broadcast():
    assert batch_size_for_noise_scale([0.9, 0.0], 0.1, 1000) == pytest.approx([100, 1000])
    assert learning_rate_for_noise_scale([0.9, 9.0], 1000, 100) == pytest.approx([0.1, 1.0])
    assert momentum_for_noise_scale([0.9, 9.0], 0.1, 1000, 100) == pytest.approx([0.0, 0.9])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 1000, 100), "learning_rate must be positive, got 0"),
        ((-0.1, 1000, 100), "learning_rate must be positive, got -0.1"),
        ((np.nan, 1000, 100), "learning_rate has NaN"),
        ((0.1, 1000, 1001), "batch_size must be at most train_size, got 1001.* against 1000"),
        ((0.1, 1000, [10, 1001]), "batch_size must be at most train_size"),
        ((0.1, 1000, 0), "batch_size must be an integer of at least 1, got 0"),
        ((0.1, 1000, 2.5), "batch_size must be an integer of at least 1, got 2.5"),
        ((0.1, 1000.5, 2), "train_size must be an integer of at least 1, got 1000.5"),
        ((0.1, np.nan, 2), "train_size has NaN"),
        ((0.1, 1000, 100, 1.0), r"momentum must be in \[0, 1\), got 1"),
        ((0.1, 1000, 100, -0.1), r"momentum must be in \[0, 1\), got -0.1"),
        ((0.1, 1000, 100, np.nan), "momentum has NaN"),
        (([0.1] * 2, 1000, [1] * 3), r"do not broadcast: learning_rate \(2,\), .*batch_size \(3,"),
        (([0.1] * 2, 1000, 1, [0.0] * 3), r"do not broadcast: learning_rate \(2,\), momentum"),
        (("fast", 1000, 100), "learning_rate must be an array of numbers"),
    ],
)
def test_settings_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        noise_scale(*arguments)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: batch_size_for_noise_scale(-1.0, 0.1, 1000), "noise_scale must not be negative"),
        (lambda: batch_size_for_noise_scale(99.91, 0.1, 1000), r"at most \(N - 1\).*got 99.91 aga"),
        (lambda: batch_size_for_noise_scale([1.0] * 2, [0.1] * 3, 10), "do not broadcast"),
        (lambda: learning_rate_for_noise_scale(0.0, 1000, 10), "noise_scale must be positive"),
        (lambda: learning_rate_for_noise_scale(1.0, 1000, 1000), "batch_size must be below train"),
        (lambda: learning_rate_for_noise_scale([1.0] * 2, [10] * 3, 1), "do not broadcast"),
        (lambda: momentum_for_noise_scale(0.5, 0.1, 1000, 100), r"at least 0.9, .*\[0, 1\); got 0"),
        (lambda: momentum_for_noise_scale(1e20, 0.1, 1000, 100), r"for a momentum in \[0, 1\)"),
        (lambda: momentum_for_noise_scale(1.0, 0.1, 1000, 1000), "batch_size must be below train"),
        (lambda: momentum_for_noise_scale([1.0] * 2, [0.1] * 3, 10, 1), "do not broadcast"),
    ],
)
def test_inverses_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# ----------------------------------------------------------------------- linear and exact scaling


@given(rate=rates, size=sizes, m=momenta, m_new=momenta, data=st.data())
def test_what_the_two_rules_keep(rate, size, m, m_new, data):
    N, B = size
    B_new = data.draw(st.integers(1, N - 1))
    keywords = {"train_size": N, "momentum": m, "new_momentum": m_new}
    linear = linear_scaling(rate, B, B_new, **keywords)
    exact = constant_noise_scaling(rate, B, B_new, **keywords)
    distance_per_epoch = rate / (B * (1 - m))
    assert linear.learning_rate / (B_new * (1 - m_new)) == pytest.approx(distance_per_epoch)
    assert exact.noise_scale_after == pytest.approx(exact.noise_scale_before)
    assert linear.noise_scale_after / linear.noise_scale_before == pytest.approx(
        (N - B_new) / (N - B)
    )
    assert exact.learning_rate / linear.learning_rate == pytest.approx((N - B) / (N - B_new))
    for plan in (linear, exact):
        assert (plan.batch_size, plan.momentum) == (B_new, m_new)
        assert plan.noise_scale_before == noise_scale(rate, N, B, m)
        assert plan.noise_scale_after == noise_scale(plan.learning_rate, N, B_new, m_new)


@pytest.mark.parametrize("rule", [linear_scaling, constant_noise_scaling])
def test_inside_the_range_there_is_no_warning(rule):
    plan = rule(0.1, 10, 100, train_size=1000, momentum=0.9, max_curvature=0.34)
    assert plan.momentum == 0.9
    assert plan.warnings == ()
    assert rule(0.1, 500, 500, train_size=1000).warnings == ()


def test_size_warning_tells_the_change():
    (text,) = linear_scaling(0.1, 100, 500, train_size=1000).warnings
    assert text == "batch 500 is 50% of train_size 1000: the noise scale changes by -44.4%"
    (text,) = linear_scaling(0.1, 500, 100, train_size=1000).warnings
    assert text == "batch 500 is 50% of train_size 1000: the noise scale changes by +80.0%"
    plan = linear_scaling(0.1, 1000, 100, train_size=1000)
    assert plan.noise_scale_before == 0.0
    assert plan.warnings[0].endswith("the noise scale rises from zero")
    (text,) = constant_noise_scaling(0.1, 100, 500, train_size=1000).warnings
    assert text == (
        "batch 500 is 50% of train_size 1000: the learning rate is +80.0% off the linear rule's"
    )


@pytest.mark.parametrize("m", [0.0, 0.9])
@pytest.mark.parametrize("share", [0.15, 0.5, 0.9])
def test_curvature_warning_is_the_excess_of_the_exact_variance(m, share):
    """Second moments of a heavy ball on h w²/2 under unit noise, over the SDE's ε/(2h(1-m))."""
    curvature, rate = 3.0, share * 2 * (1 + m) / 3.0
    step = np.array([[1 - rate * curvature, -rate * m], [curvature, m]])  # of (w, v)
    push = np.array([-rate, 1.0])
    kernel = np.kron(step, step)
    moments = np.linalg.solve(np.eye(4) - kernel, np.kron(push, push))
    excess = moments[0] / (rate / (2 * curvature * (1 - m))) - 1
    plan = linear_scaling(rate / 2, 1, 2, train_size=1000, momentum=m, max_curvature=curvature)
    (text,) = plan.warnings
    assert f"{share:.0%} of the stability limit" in text
    assert f" is {excess:.0%} above" in text


def test_curvature_warning_beyond_stability():
    (text,) = linear_scaling(0.5, 1, 8, train_size=1000, max_curvature=0.5).warnings
    assert "is 2, not below the stability limit 2: training diverges" in text
    (text,) = linear_scaling(
        0.5, 1, 8, train_size=1000, new_momentum=0.5, max_curvature=0.5
    ).warnings
    assert "33% of the stability limit 3" in text


def test_startup_warning_is_the_lag_of_a_velocity_from_rest():
    m = 0.99
    position, velocity = 0.0, 0.0
    for _ in range(5000):
        velocity = m * velocity + 1.0
        position += velocity
    lag = 5000 - position * (1 - m)
    assert lag == pytest.approx(m / (1 - m))
    (text,) = linear_scaling(0.1, 10, 100, train_size=1000, new_momentum=m).warnings
    assert "fills its velocity in 100 updates, 10 epochs" in text
    assert f"progress lags {lag:.4g} updates behind" in text


@pytest.mark.parametrize("rule", [linear_scaling, constant_noise_scaling])
@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        ((0.0, 10, 20), {}, "learning_rate must be positive"),
        (([0.1], 10, 20), {}, "learning_rate must have 0 dimensions"),
        ((0.1, 10.0, 20), {}, "batch_size must be an integer"),
        ((0.1, 10, 2.5), {}, "new_batch_size must be an integer"),
        ((0.1, 101, 20), {}, "batch_size must be at most train_size 100, got 101"),
        ((0.1, 10, 101), {}, "new_batch_size must be at most train_size 100, got 101"),
        ((0.1, 10, 20), {"train_size": 0}, "train_size must be an integer"),
        ((0.1, 10, 20), {"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1"),
        ((0.1, 10, 20), {"momentum": math.nan}, "momentum has NaN"),
        ((0.1, 10, 20), {"new_momentum": -0.5}, r"new_momentum must be in \[0, 1\), got -0.5"),
        ((0.1, 10, 20), {"max_curvature": 0.0}, "max_curvature must be positive"),
    ],
)
def test_plans_out_of_range(rule, arguments, keywords, message):
    with pytest.raises(ValueError, match=message):
        rule(*arguments, **{"train_size": 100, **keywords})


@pytest.mark.parametrize(("B", "B_new", "name"), [(100, 10, "^batch"), (10, 100, "^new_batch")])
def test_full_batch_has_no_noise_to_keep(B, B_new, name):
    with pytest.raises(ValueError, match=f"{name}_size must be below train_size 100"):
        constant_noise_scaling(0.1, B, B_new, train_size=100)


# ---------------------------------------------------------------------------- square-root scaling


@given(ratio=st.integers(1, 64), beta1=st.floats(0.99, 0.99999), beta2=st.floats(0.99, 0.99999))
def test_square_root_rule(ratio, beta1, beta2):
    plan = square_root_scaling(1e-3, 32, 32 * ratio, beta1=beta1, beta2=beta2, epsilon=1e-8)
    assert plan.learning_rate == pytest.approx(1e-3 * math.sqrt(ratio))
    assert plan.epsilon == pytest.approx(1e-8 / math.sqrt(ratio))
    assert 1 - plan.beta1 == pytest.approx(ratio * (1 - beta1))
    assert 1 - plan.beta2 == pytest.approx(ratio * (1 - beta2))
    back = square_root_scaling(
        plan.learning_rate,
        plan.batch_size,
        32,
        beta1=plan.beta1,
        beta2=plan.beta2,
        epsilon=plan.epsilon,
    )
    settings = (back.learning_rate, back.batch_size, back.beta1, back.beta2, back.epsilon)
    assert settings == pytest.approx((1e-3, 32, beta1, beta2, 1e-8))


def rmsprop_displacements(batch_size, rate, beta2, epsilon, updates, chains, seed):
    """Displacement of ``chains`` runs under gradients of mean 0.1 and variance 1 / B."""
    rng = np.random.default_rng(seed)
    square = np.full(chains, 1.0 / batch_size)
    position = np.zeros(chains)
    for _ in range(updates):
        gradient = 0.1 + rng.standard_normal(chains) / math.sqrt(batch_size)
        position -= rate * gradient / (np.sqrt(square) + epsilon)
        square = beta2 * square + (1 - beta2) * gradient**2
    return position


def scaled_displacements(rate_exponent):
    """At four times the batch and a quarter of the updates, with the rule's averages."""
    plan = square_root_scaling(0.01, 1, 4, beta2=0.999, epsilon=0.5)
    rate = 0.01 * 4**rate_exponent
    return rmsprop_displacements(4, rate, plan.beta2, plan.epsilon, 500, 4000, seed=1)


def small_batch_mean():
    return -2000 * 0.01 * 0.1 / 1.5  # 2000 steps of η G / (σ + ε): v = σ² / B


def test_square_root_rule_keeps_the_drift():
    """The terms the rule neglects: the average of squares, 4 % signal, and its fluctuation."""
    samples = scaled_displacements(0.5)
    reference = rmsprop_displacements(1, 0.01, 0.999, 0.5, 2000, 4000, seed=2)
    assert np.mean(samples) == pytest.approx(np.mean(reference), rel=0.03)
    assert np.var(samples) == pytest.approx(np.var(reference), rel=0.12)
    assert np.mean(reference) == pytest.approx(small_batch_mean(), rel=0.02)


@pytest.mark.parametrize("rate_exponent", [0.0, 1.0])
def test_other_exponents_do_not(rate_exponent):
    assert np.mean(scaled_displacements(rate_exponent)) != pytest.approx(
        small_batch_mean(), rel=0.3
    )


def test_square_root_warnings():
    plan = square_root_scaling(1e-3, 256, 1024, beta1=0.9, beta2=0.999, epsilon=1e-8)
    assert plan.warnings == ("beta1 becomes 0.6: an average over 2.5 steps is short",)
    plan = square_root_scaling(1e-3, 1, 3, beta2=0.999, epsilon=0.0, gradient_noise_scale=10.0)
    (text,) = plan.warnings  # steps go with 1 / sqrt(1/B + 1/B_simple): sqrt(1.1 / 1.3)
    assert text.startswith("batch 3 is 0.3 of the gradient noise scale 10")
    assert text.endswith("by -8.0% against the rule")
    quiet = square_root_scaling(
        1e-3, 256, 512, beta2=0.999, epsilon=1e-8, gradient_noise_scale=5120.0
    )
    assert quiet.warnings == ()
    assert quiet.beta1 is None


def test_a_decay_may_reach_zero_but_not_leave():
    plan = square_root_scaling(1e-3, 1, 10, beta2=0.9, epsilon=0.0)
    assert plan.beta2 == pytest.approx(0.0, abs=1e-15)
    with pytest.raises(
        ValueError, match=r"beta2 0.9 would become -0.1, outside .* at least 0.9090"
    ):
        square_root_scaling(1e-3, 1, 11, beta2=0.9, epsilon=0.0)
    with pytest.raises(ValueError, match=r"beta1 0\.5 would become -1"):
        square_root_scaling(1e-3, 1, 4, beta1=0.5, beta2=0.999, epsilon=0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"batch_size": 0}, "batch_size must be an integer"),
        ({"new_batch_size": 1.5}, "new_batch_size must be an integer"),
        ({"beta1": 1.0}, r"beta1 must be in \[0, 1\)"),
        ({"beta2": math.nan}, "beta2 has NaN"),
        ({"epsilon": -1e-8}, "epsilon must not be negative"),
        ({"gradient_noise_scale": 0.0}, "gradient_noise_scale must be positive"),
    ],
)
def test_square_root_out_of_range(changes, message):
    good = {"learning_rate": 1e-3, "batch_size": 1, "new_batch_size": 2, "beta2": 0.9, "epsilon": 0}
    with pytest.raises(ValueError, match=message):
        square_root_scaling(**(good | changes))


# -------------------------------------------------------------------------------------- schedules


@given(rate=rates, scale=st.floats(1.0, 100.0), warmup=st.integers(0, 20), steps=st.integers(1, 30))
def test_warmup_loop(rate, scale, warmup, steps):
    expected, current = [], rate / scale
    for t in range(steps):
        expected.append(current if t < warmup else rate)
        current += (rate - rate / scale) / max(warmup, 1)
    schedule = gradual_warmup(rate, scale, warmup, steps)
    np.testing.assert_allclose(schedule, expected, rtol=1e-12)
    assert np.all(schedule[warmup:] == rate)
    assert np.all(np.diff(schedule) >= -1e-12 * rate)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 2.0, 1, 1), "learning_rate must be positive"),
        ((0.1, 0.5, 1, 1), "scale must be at least 1, got 0.5"),
        ((0.1, math.inf, 1, 1), "scale has NaN or infinite"),
        ((0.1, 2.0, -1, 1), "warmup_steps must be an integer of at least 0"),
        ((0.1, 2.0, 1, 0), "steps must be an integer of at least 1"),
    ],
)
def test_warmup_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        gradual_warmup(*arguments)


@given(batches=st.lists(st.integers(1, 2000), min_size=1, max_size=8), rate=rates, m=momenta)
def test_schedules_round_trip(batches, rate, m):
    decayed = decay_rate_instead(rate, batches, train_size=2000, momentum=m)
    assert np.all(decayed.batch_sizes == batches[0])
    grown = grow_batch_instead(decayed.learning_rates, batches[0], train_size=2000, momentum=m)
    np.testing.assert_array_equal(grown.batch_sizes, batches)
    np.testing.assert_allclose(grown.learning_rates, rate)
    np.testing.assert_allclose(grown.noise_scales_before, decayed.noise_scales_after)
    np.testing.assert_allclose(grown.noise_scales_after, decayed.noise_scales_before)


@given(
    schedule=st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=8),
    batch=st.integers(1, 100),
    cap=st.integers(100, 1000),
)
def test_growth_keeps_rate_over_batch(schedule, batch, cap):
    grown = grow_batch_instead(schedule, batch, train_size=1000, max_batch_size=cap)
    rates = np.array(schedule)
    np.testing.assert_allclose(grown.learning_rates / grown.batch_sizes, rates / batch)
    assert grown.batch_sizes.dtype == np.int64
    assert np.all((grown.batch_sizes >= 1) & (grown.batch_sizes <= cap))
    free = (grown.batch_sizes > 1) & (grown.batch_sizes < cap)
    assert np.all(np.abs(grown.batch_sizes - batch * rates[0] / rates)[free] <= 0.5 + 1e-9)
    for before, after, rate, new_rate, size in zip(
        grown.noise_scales_before,
        grown.noise_scales_after,
        rates,
        grown.learning_rates,
        grown.batch_sizes,
        strict=True,
    ):
        assert before == noise_scale(rate, 1000, batch)
        assert after == noise_scale(new_rate, 1000, int(size))


def test_growth_is_capped_and_decays_the_rest():
    grown = grow_batch_instead([0.4, 0.2, 0.1, 0.05], 10, train_size=1000, max_batch_size=40)
    np.testing.assert_array_equal(grown.batch_sizes, [10, 20, 40, 40])
    np.testing.assert_allclose(grown.learning_rates, [0.4, 0.4, 0.4, 0.2])
    assert grown.warnings == ()
    beyond = grow_batch_instead([0.4, 0.0001], 10, train_size=1000)
    assert beyond.batch_sizes[1] == 1000
    assert beyond.noise_scales_after[1] == 0.0


def test_schedule_warnings():
    grown = grow_batch_instead([0.4, 0.02], 10, train_size=1000, momentum=0.9)
    change = grown.noise_scales_after[1] / grown.noise_scales_before[1] - 1
    size, startup = grown.warnings
    assert size.endswith(f"20% of train_size 1000: the noise scale changes by {change:+.1%}")
    assert "fills its velocity in 10 updates, 2 epochs" in startup
    decayed = decay_rate_instead(0.4, [10, 200], train_size=1000, momentum=0.9)
    change = decayed.noise_scales_after[1] / decayed.noise_scales_before[1] - 1
    (size,) = decayed.warnings
    assert size.endswith(f"20% of train_size 1000: the noise scale changes by {change:+.1%}")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: grow_batch_instead([0.1, 0.0], 1, train_size=9),
            "learning_rates must be positive",
        ),
        (lambda: grow_batch_instead(0.1, 1, train_size=9), "learning_rates must have 1 dimensions"),
        (lambda: grow_batch_instead([], 1, train_size=9), "learning_rates is empty"),
        (lambda: grow_batch_instead([0.1], 0, train_size=9), "batch_size must be an integer"),
        (
            lambda: grow_batch_instead([0.1], 10, train_size=9),
            "batch_size must be at most train_si",
        ),
        (lambda: grow_batch_instead([0.1], 1, train_size=0), "train_size must be an integer"),
        (lambda: grow_batch_instead([0.1], 1, train_size=9, momentum=1), "momentum must be in"),
        (
            lambda: grow_batch_instead([0.1], 5, train_size=9, max_batch_size=4),
            "max_batch_size must be at least batch_size 5, got 4",
        ),
        (
            lambda: grow_batch_instead([0.1], 5, train_size=9, max_batch_size=10),
            "max_batch_size must be at most train_size 9, got 10",
        ),
        (lambda: decay_rate_instead(0.0, [1], train_size=9), "learning_rate must be positive"),
        (lambda: decay_rate_instead(0.1, [1, 2.5], train_size=9), "batch_sizes must be an integer"),
        (
            lambda: decay_rate_instead(0.1, [1, 10], train_size=9),
            "batch_sizes must be at most trai",
        ),
        (lambda: decay_rate_instead(0.1, 3, train_size=9), "batch_sizes must have 1 dimensions"),
        (lambda: decay_rate_instead(0.1, [1], train_size=1.5), "train_size must be an integer"),
        (lambda: decay_rate_instead(0.1, [1], train_size=9, momentum=-1), "momentum must be in"),
    ],
)
def test_schedules_out_of_range(call, message):
    with pytest.raises(ValueError, match=message):
        call()


# --------------------------------------------------------------------- settings of equal g, in SGD


def final_squares(rate, batch_size, seed, n=5000):
    """Squared final positions of SGD on the mean of (w - xᵢ)²/2, over the SDE's variance g F / 2N.

    Each step adds noise of variance ε² F (1/B - 1/N); that makes them 1 / (1 - ε/2) on average.
    """
    x = np.array([-2.0, -1.0, 0.0, 0.0, 1.0, 2.0, 3.0, -3.0, 0.5, -0.5])
    rng = np.random.default_rng(seed)
    w = np.zeros(n)
    for _ in range(round(10.0 / rate)):
        keys = rng.random((n, len(x)))
        batch = np.argpartition(keys, batch_size - 1, axis=1)[:, :batch_size]
        w -= rate * (w - x[batch].mean(axis=1))
    g = noise_scale(rate, len(x), batch_size)
    return w**2 / (g * np.var(x, ddof=1) / (2 * len(x)))


@pytest.mark.parametrize(("rate", "batch_size"), [(0.05, 1), (0.1125, 2), (0.3, 4)])
def test_equal_noise_scale_gives_equal_spread(rate, batch_size):
    assert noise_scale(rate, 10, batch_size) == pytest.approx(0.45)
    assert_mean(final_squares(rate, batch_size, seed=3), 1.0 / (1.0 - rate / 2))


@pytest.mark.parametrize(("rate", "batch_size"), [(0.1125, 2), (0.3, 4)])
def test_without_the_minus_one_it_does_not(rate, batch_size):
    samples = final_squares(rate, batch_size, seed=3) * (1.0 - batch_size / 10)  # g = ε N / B
    with pytest.raises(AssertionError):
        assert_mean(samples, 1.0 / (1.0 - rate / 2))
