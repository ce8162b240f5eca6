"""Statistical assertions with a stated false-positive rate.

The number of samples and alpha stand in the test, fixed before it is run, and every use has a
sibling that hands in a wrong theory and must fail.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import kolmogi
from scipy.stats import chi2, ks_1samp
from scipy.stats import t as student


def _finite(samples: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(samples, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.all(np.isfinite(values)):
        raise ValueError("samples must be at least two finite numbers in one dimension")
    return values


def assert_mean(samples: ArrayLike, expected: float, alpha: float = 1e-5) -> None:
    """Fail if the mean of independent samples differs from ``expected`` (two-sided t test).

    A right theory fails with probability ``alpha``. The message states the difference that would
    have been seen with probability 0.99.
    """
    values = _finite(samples)
    n, mean = len(values), float(np.mean(values))
    error = float(np.std(values, ddof=1)) / np.sqrt(n)
    if error == 0.0:
        raise ValueError("samples are all equal: compare them exactly instead")
    limit = float(student.isf(alpha / 2, n - 1))
    z = (mean - expected) / error
    if not abs(z) <= limit:
        detectable = (limit + float(student.isf(0.01, n - 1))) * error
        raise AssertionError(
            f"mean {mean:.8g} of n = {n} samples against {expected:.8g}: z = {z:.3g}, beyond "
            f"{limit:.3g} (alpha = {alpha:g}); detectable difference {detectable:.3g}"
        )


def assert_distribution(
    samples: ArrayLike,
    cdf: Callable[[NDArray[np.float64]], ArrayLike],
    alpha: float = 1e-5,
) -> None:
    """Fail if independent samples do not have a continuous ``cdf`` (Kolmogorov and Smirnov's test).

    A right theory fails with probability ``alpha``. The message states a difference of cdfs that
    would have been seen with probability 0.99 or more.
    """
    values = _finite(samples)
    test = ks_1samp(values, cdf)
    if not test.pvalue >= alpha:
        n = len(values)
        detectable = float(kolmogi(alpha) + kolmogi(0.01)) / np.sqrt(n)
        raise AssertionError(
            f"cdf of n = {n} samples is off by {test.statistic:.3g} at "
            f"{test.statistic_location:.6g}: p = {test.pvalue:.3g}, below alpha = {alpha:g}; "
            f"detectable difference {detectable:.3g}"
        )


def assert_counts(counts: ArrayLike, probabilities: ArrayLike, alpha: float = 1e-5) -> None:
    """Fail if counts of independent samples do not have ``probabilities`` (Pearson's χ² test).

    A right theory fails with probability ``alpha``, nearly: at least 20 samples are demanded in
    each class, for which χ² is the statistic's limit.
    """
    seen, shares = np.ravel(counts), np.ravel(probabilities)
    expected = shares * np.sum(seen)
    if seen.shape != shares.shape or abs(np.sum(shares) - 1.0) > 1e-9 or np.min(expected) < 20:
        raise ValueError("classes must have probabilities of sum 1, and expect 20 samples or more")
    squares = (seen - expected) ** 2 / expected
    statistic, limit = float(np.sum(squares)), float(chi2.isf(alpha, len(seen) - 1))
    if not statistic <= limit:
        k = int(np.argmax(squares))
        raise AssertionError(
            f"chi-square {statistic:.4g} of {len(seen)} classes is beyond {limit:.4g} (alpha = "
            f"{alpha:g}); class {k} has {seen[k]:g} samples against {expected[k]:.6g}"
        )
