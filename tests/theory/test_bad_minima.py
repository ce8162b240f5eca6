import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import t as student
from stat_asserts import assert_mean

from theory.bad_minima import (
    check_confusion_set,
    expected_risk_difference,
    fit_ceiling,
    forgetting,
    gradient_descent_limit,
    linear_control,
    recovery,
)

# --- the linear control ---------------------------------------------------------------------------


def problem(seed, n=8, d=20, replicas=2, zeroed=4):
    """Return inputs, targets, true weights, copies with zeros, and labels of the copies."""
    rng = np.random.default_rng(seed)
    X, truth = rng.normal(size=(n, d)), rng.normal(size=d)
    copies = np.repeat(X, replicas, axis=0)
    for row in copies:
        row[rng.choice(d, zeroed, replace=False)] = 0.0
    return X, X @ truth, truth, copies, rng.choice([-1.0, 1.0], len(copies))


def descend(X, y, w, steps=40_000):
    rate = 1.0 / np.linalg.norm(X, 2) ** 2
    for _ in range(steps):
        w = w - rate * (X.T @ (X @ w - y))
    return w


@pytest.mark.parametrize(("n", "d"), [(4, 9), (9, 4), (5, 5)])
def test_limit_is_where_gradient_descent_ends(n, d):
    rng = np.random.default_rng(n)
    X, y, start = rng.normal(size=(n, d)), rng.normal(size=n), rng.normal(size=d)
    X[1] = X[0]  # conflicting copies
    limit = gradient_descent_limit(X, y, initial=start)
    np.testing.assert_allclose(limit, descend(X, y, start), rtol=0, atol=1e-7)
    moved, *_ = np.linalg.lstsq(X, y - X @ start, rcond=None)
    np.testing.assert_allclose(limit, start + moved, rtol=0, atol=1e-12)


@given(st.integers(0, 999), st.sampled_from([1, 2, 5]))
def test_same_inputs_have_no_effect_whatever_their_labels(seed, replicas):
    X, y, truth, _, _ = problem(seed)
    rng = np.random.default_rng(seed)
    found = linear_control(
        X,
        y,
        pretraining_inputs=np.repeat(X, replicas, axis=0),
        pretraining_targets=100 * rng.normal(size=replicas * len(X)),
        true_weights=truth,
        initial=rng.normal(size=len(truth)),
    )
    assert np.linalg.norm(found.pretrained - found.direct) > 1.0
    assert np.linalg.norm(found.displacement) < 1e-10
    assert abs(found.risk_difference) < 1e-10


def test_copies_with_zeros_leave_what_gradient_descent_leaves():
    X, y, truth, copies, labels = problem(0, replicas=1)
    start = np.random.default_rng(1).normal(size=len(truth))
    covariance = np.diag(np.linspace(0.5, 2.0, len(truth)))
    found = linear_control(
        X,
        y,
        pretraining_inputs=copies,
        pretraining_targets=labels,
        true_weights=truth,
        initial=start,
        covariance=covariance,
    )
    pretrained = descend(copies, labels, start)
    direct, fine_tuned = descend(X, y, start), descend(X, y, pretrained)
    np.testing.assert_allclose(found.pretrained, pretrained, atol=1e-6)
    np.testing.assert_allclose(found.direct, direct, atol=1e-6)
    np.testing.assert_allclose(found.fine_tuned, fine_tuned, atol=1e-6)
    np.testing.assert_allclose(found.displacement, fine_tuned - direct, atol=1e-6)
    risks = [(w - truth) @ covariance @ (w - truth) for w in (direct, fine_tuned)]
    assert found.direct_risk == pytest.approx(risks[0], rel=1e-5)
    assert found.fine_tuned_risk == pytest.approx(risks[1], rel=1e-5)
    assert found.risk_difference == pytest.approx(risks[1] - risks[0], rel=1e-5)
    assert np.linalg.norm(found.displacement) > 0.01
    np.testing.assert_allclose(X @ found.fine_tuned, y, atol=1e-12)


def test_enough_examples_forget_every_start():
    X, y, truth, copies, labels = problem(3, n=30)
    found = linear_control(
        X, y, pretraining_inputs=copies, pretraining_targets=labels, true_weights=truth
    )
    assert np.linalg.norm(found.displacement) < 1e-12


def differences(seed, n=2000):
    X, y, truth, copies, _ = problem(seed)
    rng = np.random.default_rng([seed, 1])
    found = [
        linear_control(
            X,
            y,
            pretraining_inputs=copies,
            pretraining_targets=rng.choice([-1.0, 1.0], len(copies)),
            true_weights=truth,
        ).risk_difference
        for _ in range(n)
    ]
    return found, expected_risk_difference(X, pretraining_inputs=copies)


def test_expected_difference_is_the_mean_over_labels():
    found, expected = differences(0)
    assert_mean(found, expected)


def test_expected_difference_of_another_variance_is_told_apart():
    found, expected = differences(0)
    with pytest.raises(AssertionError):
        assert_mean(found, 1.5 * expected)


def test_expected_difference_is_exact_over_all_labels():
    X, y, truth, copies, _ = problem(4, n=4, replicas=1)
    covariance = np.diag(np.linspace(0.5, 2.0, len(truth)))
    found = [
        linear_control(
            X,
            y,
            pretraining_inputs=copies,
            pretraining_targets=[3.0 * label for label in labels],
            true_weights=truth,
            covariance=covariance,
        ).risk_difference
        for labels in itertools.product([-1.0, 1.0], repeat=4)
    ]
    expected = expected_risk_difference(
        X, pretraining_inputs=copies, label_variance=9.0, covariance=covariance
    )
    assert np.mean(found) == pytest.approx(expected, rel=1e-12)


GOOD = {
    "X": np.eye(2, 3),
    "y": [1.0, 2.0],
    "pretraining_inputs": np.ones((1, 3)),
    "pretraining_targets": [1.0],
    "true_weights": np.ones(3),
}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"X": [1.0]}, "X must have 2 dimensions"),
        ({"y": [1.0]}, "X has 2 rows but y 1 entries"),
        ({"y": [1.0, np.nan]}, "y has NaN"),
        ({"pretraining_inputs": np.ones((1, 2))}, "pretraining_inputs must have 3 columns"),
        ({"pretraining_targets": [1.0, 1.0]}, "pretraining_inputs has 1 rows but"),
        ({"true_weights": [1.0]}, "true_weights must have 3 entries, one for each column of X"),
        ({"initial": [1.0]}, "initial must have 3 entries"),
        ({"covariance": np.eye(2)}, r"covariance must have shape \(3, 3\)"),
        ({"covariance": -np.eye(3)}, "covariance must be positive semidefinite"),
    ],
)
def test_linear_control_names_what_is_wrong(wrong, message):
    options = {**GOOD, **wrong}
    with pytest.raises(ValueError, match=message):
        linear_control(options.pop("X"), options.pop("y"), **options)


def test_limit_and_expectation_name_what_is_wrong():
    with pytest.raises(ValueError, match="initial must have 3 entries"):
        gradient_descent_limit(np.eye(2, 3), [1.0, 2.0], initial=[1.0])
    with pytest.raises(ValueError, match="pretraining_inputs must have 3 columns"):
        expected_risk_difference(np.eye(2, 3), pretraining_inputs=np.eye(2))
    with pytest.raises(ValueError, match="label_variance must be positive"):
        expected_risk_difference(np.eye(2), pretraining_inputs=np.eye(2), label_variance=0.0)


# --- the confusion set ----------------------------------------------------------------------------


def enumerated_ceiling(replicas, classes):
    labels = itertools.product(range(classes), repeat=replicas)
    most = sum(max(draw.count(k) for k in draw) for draw in labels)
    return Fraction(most, replicas * classes**replicas)


@pytest.mark.parametrize(
    ("replicas", "classes"), [(1, 10), (2, 10), (3, 10), (5, 10), (5, 2), (12, 2), (7, 4), (4, 1)]
)
def test_ceiling_is_that_of_all_draws(replicas, classes):
    expected = float(enumerated_ceiling(replicas, classes))
    assert fit_ceiling(replicas, classes=classes) == pytest.approx(expected, abs=1e-13)


def ceilings(n=20_000):
    counts = np.random.default_rng(5).multinomial(60, np.full(7, 1 / 7), size=n)
    return counts.max(axis=1) / 60


def test_ceiling_of_many_copies_is_the_mean_over_draws():
    assert_mean(ceilings(), fit_ceiling(60, classes=7))


def test_ceiling_of_other_copies_is_told_apart():
    with pytest.raises(AssertionError):
        assert_mean(ceilings(), fit_ceiling(62, classes=7))


@given(st.integers(1, 300), st.integers(1, 40))
def test_ceiling_falls_to_chance(replicas, classes):
    ceiling = fit_ceiling(replicas, classes=classes)
    assert 1 / classes - 1e-12 <= ceiling <= 1 + 1e-12
    assert fit_ceiling(replicas + 1, classes=classes) <= ceiling + 1e-12


def test_ceiling_of_very_many_copies_follows_extremes_of_normals():
    """Two classes: E|n₁ - R/2| is √(R/2π) to a relative 1/4R."""
    R = 10_000
    expected = 0.5 + np.sqrt(1 / (2 * np.pi * R))
    assert fit_ceiling(R, classes=2) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"replicas": 0}, "replicas must be an integer of at least 1, got 0"),
        ({"replicas": 2.0}, "replicas must be an integer of at least 1, got 2.0"),
        ({"classes": 1}, "classes must be an integer of at least 2, got 1"),
        ({"zero_fraction": 1.0}, r"zero_fraction must be in \[0, 1\), got 1"),
        ({"zero_fraction": -0.1}, r"zero_fraction must be in \[0, 1\), got -0.1"),
        ({"zero_fraction": 0.0}, "the 3 copies .* at most 0.430 of the labels can be fitted"),
    ],
)
def test_confusion_sets_that_are_none_are_refused(wrong, message):
    options = {"replicas": 3, "zero_fraction": 0.1, "classes": 10}
    check_confusion_set(**options)
    check_confusion_set(**{**options, "replicas": 1, "zero_fraction": 0.0})
    with pytest.raises(ValueError, match=message):
        check_confusion_set(**{**options, **wrong})


def test_ceiling_needs_positive_integers():
    with pytest.raises(ValueError, match="replicas must be an integer"):
        fit_ceiling(0, classes=10)
    with pytest.raises(ValueError, match="classes must be an integer"):
        fit_ceiling(2, classes=0)


# --- forgetting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("h", [1e-4, 0.3, 1.5, 1.9])
def test_factor_is_what_the_steps_leave(momentum, h):
    w, v = 1.0, 0.0
    for steps in range(1, 60):
        v = momentum * v + 4.0 * h * w
        w -= 0.25 * v
        found = forgetting(learning_rate=0.25, weight_decay=4.0 * h, steps=steps, momentum=momentum)
        assert found.factor == pytest.approx(w, rel=1e-10, abs=1e-13)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_the_exponential_is_the_limit_of_small_steps(momentum):
    errors = []
    for steps in (10**4, 10**5, 10**6):
        found = forgetting(
            learning_rate=1.0,
            weight_decay=2.0 * (1 - momentum) / steps,
            steps=steps,
            momentum=momentum,
        )
        assert found.scale == pytest.approx(2.0)
        assert found.exponential == pytest.approx(np.exp(-2.0))
        errors.append(abs(found.factor / found.exponential - 1))
    assert errors[0] > 5 * errors[1] > 25 * errors[2]


def test_the_papers_numbers():
    paper = {"learning_rate": 0.1, "weight_decay": 5e-4, "steps": 150 * 391}
    assert forgetting(**paper).scale == pytest.approx(2.93, abs=0.005)
    assert forgetting(**paper, momentum=0.9).scale == pytest.approx(29.3, abs=0.05)
    assert forgetting(**{**paper, "weight_decay": 0.0}).factor == 1.0


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"steps": 0}, "steps must be an integer"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"learning_rate": 2.5}, "must be at most 2, got 2.5: weights would grow"),
    ],
)
def test_forgetting_names_what_is_wrong(wrong, message):
    with pytest.raises(ValueError, match=message):
        forgetting(**{"learning_rate": 0.1, "weight_decay": 1.0, "steps": 3, **wrong})


# --- recovery -------------------------------------------------------------------------------------


def test_recovery_of_means():
    adversarial, random, baseline = [0.95, 0.97], [0.99, 0.97], [0.90, 0.92]
    found = recovery(adversarial, random, baseline=baseline)
    assert found.value == pytest.approx((0.96 - 0.91) / (0.98 - 0.91))
    assert found.lower < found.value < found.upper


def test_complete_recovery_in_every_seed_is_certain():
    rng = np.random.default_rng(0)
    random, baseline = rng.uniform(0.9, 1.0, 6), rng.uniform(0.7, 0.8, 6)
    np.testing.assert_allclose(recovery(random, random, baseline=baseline), [1, 0, 1, 1], atol=1e-7)
    nothing = recovery(baseline, random, baseline=baseline)
    np.testing.assert_allclose(nothing, [0, 0, 0, 0], atol=1e-12)


def test_the_interval_is_that_of_the_t_test():
    rng = np.random.default_rng(1)
    adversarial, random, baseline = (rng.normal(mean, 0.02, 7) for mean in (0.95, 0.97, 0.85))
    found = recovery(adversarial, random, baseline=baseline, confidence=0.9)
    for end in (found.lower, found.upper):
        gap = (adversarial - baseline) - end * (random - baseline)
        t = np.mean(gap) / (np.std(gap, ddof=1) / np.sqrt(7))
        assert abs(t) == pytest.approx(student.isf(0.05, 6), rel=1e-9)


def test_without_clear_damage_the_interval_is_infinite():
    found = recovery([0.95, 0.97, 0.9], [0.96, 0.90, 0.95], baseline=[0.95, 0.93, 0.90])
    assert (found.lower, found.upper) == (-np.inf, np.inf)
    assert np.isfinite(found.standard_error)


def covered(confidence, n=4000):
    """Return whether intervals at 80 % hold the true ratio, 0.6."""
    rng = np.random.default_rng(2)
    inside = []
    for _ in range(n):
        baseline = rng.normal(0.8, 0.03, 5)
        adversarial, random = (rng.normal(mean, 0.02, 5) for mean in (0.86, 0.9))
        found = recovery(adversarial, random, baseline=baseline, confidence=confidence)
        inside.append(float(found.lower <= 0.6 <= found.upper))
    return inside


def test_coverage_is_the_confidence():
    assert_mean(covered(0.8), 0.8)


def test_coverage_of_another_confidence_is_told_apart():
    with pytest.raises(AssertionError):
        assert_mean(covered(0.75), 0.8)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"adversarial": [0.9]}, "an entry for each of two seeds or more, got 1, 2, 2"),
        ({"adversarial": [0.9, np.nan]}, "adversarial has NaN"),
        ({"baseline": [[0.9, 0.9]]}, "baseline must have 1 dimensions"),
        ({"confidence": 1.0}, r"confidence must be in \(0, 1\), got 1"),
        ({"baseline": [0.95, 0.97]}, "random and baseline have one mean"),
    ],
)
def test_recovery_names_what_is_wrong(wrong, message):
    options = {"adversarial": [0.9, 0.95], "random": [0.95, 0.97], "baseline": [0.8, 0.82], **wrong}
    with pytest.raises(ValueError, match=message):
        recovery(options.pop("adversarial"), options.pop("random"), **options)
