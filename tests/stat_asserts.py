"""Statistical assertions with a stated false-positive rate.

The number of samples and alpha stand in the test, fixed before it is run, and every use has a
sibling that hands in a wrong theory and must fail.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import t as student


def assert_mean(samples: ArrayLike, expected: float, alpha: float = 1e-5) -> None:
    """Fail if the mean of independent samples differs from ``expected`` (two-sided t test).

    A right theory fails with probability ``alpha``. The message states the difference that would
    have been seen with probability 0.99.
    """
    values = np.asarray(samples, dtype=float)
    if values.ndim != 1 or len(values) < 2 or not np.all(np.isfinite(values)):
        raise ValueError("samples must be at least two finite numbers in one dimension")
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
