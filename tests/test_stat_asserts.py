import numpy as np
import pytest
from scipy.stats import norm
from stat_asserts import assert_counts, assert_distribution, assert_mean

RUNS = 1000
ALPHA = 0.05


def failures(assertion, batches, theory):
    count = 0
    for batch in batches:
        try:
            assertion(batch, theory, ALPHA)
        except AssertionError:
            count += 1
    return count


CASES = {
    "mean": (assert_mean, lambda rng: rng.normal(0.5, 2.0, (RUNS, 10)), 0.5, 0.9),
    "distribution": (
        assert_distribution,
        lambda rng: rng.normal(0.0, 1.0, (RUNS, 50)),
        norm.cdf,
        norm(0.2).cdf,
    ),
    "counts": (
        assert_counts,
        lambda rng: rng.multinomial(200, [0.2, 0.3, 0.5], RUNS),
        [0.2, 0.3, 0.5],
        [0.25, 0.25, 0.5],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_right_theory_fails_with_probability_alpha_and_a_wrong_one_more_often(case):
    assertion, draw, right, wrong = CASES[case]
    batches = draw(np.random.default_rng(0))
    spread = np.sqrt(RUNS * ALPHA * (1 - ALPHA))
    assert abs(failures(assertion, batches, right) - RUNS * ALPHA) < 4.4 * spread
    assert failures(assertion, batches, wrong) - RUNS * ALPHA > 4.4 * spread


@pytest.mark.parametrize(
    ("assertion", "theory"), [(assert_mean, 1.0), (assert_distribution, norm(1.0).cdf)]
)
def test_the_detectable_difference_is_detected(assertion, theory):
    samples = np.random.default_rng(1).standard_normal(1000)
    with pytest.raises(AssertionError, match="detectable difference") as failure:
        assertion(samples, theory)
    detectable = float(str(failure.value).split()[-1])
    assert 0.0 < detectable < 0.25  # far below the 1, and the 0.38 of the cdf, that was wrong


@pytest.mark.parametrize("samples", [[1.0], [[1.0, 2.0]], [1.0, np.nan], [1.0, np.inf], []])
def test_samples_must_be_finite_numbers_in_a_row(samples):
    with pytest.raises(ValueError, match="at least two finite"):
        assert_mean(samples, 0.0)
    with pytest.raises(ValueError, match="at least two finite"):
        assert_distribution(samples, norm.cdf)


def test_equal_samples_are_no_matter_of_chance():
    with pytest.raises(ValueError, match="all equal"):
        assert_mean([1.0, 1.0], 1.0)


def test_a_cdf_of_nan_does_not_pass():
    with pytest.raises((AssertionError, ValueError)):
        assert_distribution([0.0, 1.0, 2.0], lambda x: np.full_like(x, np.nan))


@pytest.mark.parametrize(
    ("counts", "probabilities"),
    [([100, 100], [0.5, 0.4]), ([100, 10], [0.95, 0.05]), ([100, 100], [1.0])],
)
def test_classes_need_probabilities_and_samples(counts, probabilities):
    with pytest.raises(ValueError, match="classes must"):
        assert_counts(counts, probabilities)
