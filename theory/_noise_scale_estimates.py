r"""Estimates from training: the gradient noise scale, and the steps-examples trade-off.

All rest on one identity: the mean of B examples has

.. math:: E|G_B|^2 = |G|^2 + \text{tr}\,C\;a_B, \qquad a_B = \frac1B - \frac1N,

for batches without replacement from N examples, with G their mean gradient and C their covariance
with denominator N - 1; for independent examples the same holds with :math:`N = \infty`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares

from theory._validation import Array, finite_array, positive_array, positive_integer


@dataclass(frozen=True, eq=False)
class NoiseScaleEstimate:
    r"""Estimate of the gradient noise scale, with standard errors.

    Attributes
    ----------
    noise_scale, noise_scale_error : float or ndarray (...)
        :math:`\text{tr}\,C/|G|^2` in examples: the ratio of the two estimates below, and so biased
        by the order of its error squared over itself. Both are infinite where the estimate of
        :math:`|G|^2` is not positive: the samples do not bound the noise scale from above.
    gradient_square, gradient_square_error : float or ndarray (...)
        :math:`|G|^2`, unbiased.
    noise_trace, noise_trace_error : float or ndarray (...)
        :math:`\text{tr}\,C` of one example, unbiased.
    n : int
        Number of samples.
    """

    noise_scale: Array
    noise_scale_error: Array
    gradient_square: Array
    gradient_square_error: Array
    noise_trace: Array
    noise_trace_error: Array
    n: int


@dataclass(frozen=True)
class TradeoffFit:
    """Fitted trade-off between steps and examples, with standard errors.

    Attributes
    ----------
    min_steps, min_steps_error : float
        Updates needed at ever larger batches.
    min_examples, min_examples_error : float
        Examples needed at ever smaller batches.
    critical_batch_size, critical_batch_size_error : float
        Their ratio, at which both costs are twice their least.
    scatter : float
        Standard deviation of ln(steps) about the fit.
    """

    min_steps: float
    min_steps_error: float
    min_examples: float
    min_examples_error: float
    critical_batch_size: float
    critical_batch_size_error: float
    scatter: float


def estimate_noise_scale(
    small_squared_norms: ArrayLike,
    large_squared_norms: ArrayLike,
    *,
    small_batch_size: int,
    large_batch_size: int,
    train_size: int | None = None,
) -> NoiseScaleEstimate:
    r"""Estimate the simple noise scale from gradient norms at two batch sizes.

    Two batch sizes give two equations for :math:`|G|^2` and :math:`\text{tr}\,C`; their solutions
    are averaged over steps, and then divided. An average of per-step ratios would be biased, and
    has no mean. The two gradients of a step may share examples, as one device's and all devices'
    do: that changes the errors, not the means.

    Parameters
    ----------
    small_squared_norms, large_squared_norms : array_like (..., n)
        :math:`|G_B|^2` of the mean gradient at n steps, in pairs; n at least 2. Leading axes
        may be layers.
    small_batch_size, large_batch_size : int
        Batch sizes, the first below the second.
    train_size : int, optional
        N, if batches are drawn without replacement from N examples whose noise scale is wanted;
        the large batch may then be all of them. If omitted, examples are independent draws.

    Returns
    -------
    NoiseScaleEstimate
        Standard errors are those of independent steps, by the delta method with the pairs'
        covariance; along a training run they are too small where steps are correlated.

    Raises
    ------
    ValueError
        If values are not finite, negative or not in pairs, n is below 2, or a size is out of range.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), appendix A.1
    (number from memory); the finite-population form is derived here.

    Examples
    --------
    >>> from theory.noise_scale import estimate_noise_scale
    >>> small, large = [11.0, 13.0], [3.0, 5.0]  # |G|² = 2, tr C = 100
    >>> estimate = estimate_noise_scale(small, large, small_batch_size=10, large_batch_size=50)
    >>> round(float(estimate.gradient_square), 9), round(float(estimate.noise_trace), 9)
    (2.0, 100.0)
    """
    small = _squared_norms("small_squared_norms", small_squared_norms)
    large = _squared_norms("large_squared_norms", large_squared_norms)
    if small.shape != large.shape:
        raise ValueError(
            f"small_squared_norms {small.shape} and large_squared_norms {large.shape} are not pairs"
        )
    positive_integer("small_batch_size", small_batch_size)
    positive_integer("large_batch_size", large_batch_size, minimum=small_batch_size + 1)
    a_small = _noise_share(small_batch_size, train_size)
    a_large = _noise_share(large_batch_size, train_size)
    squares = (a_small * large - a_large * small) / (a_small - a_large)
    traces = (small - large) / (a_small - a_large)
    return _estimate(squares.mean(axis=-1), traces.mean(axis=-1), squares, traces, _error_of_mean)


def noise_scale_from_gradients(
    per_example_gradients: ArrayLike, *, train_size: int | None = None
) -> NoiseScaleEstimate:
    r"""Estimate the simple noise scale from one set of per-example gradients.

    :math:`\text{tr}\,C = \sum_i|g_i - \bar g|^2/(n-1)` and
    :math:`|G|^2 = |\bar g|^2 - a_n\,\text{tr}\,C`, both unbiased.

    Parameters
    ----------
    per_example_gradients : array_like (n, P)
        One gradient a row, n at least 3.
    train_size : int, optional
        N, if the examples are n different ones of N whose noise scale is wanted; n = N gives it
        exactly. If omitted, they are independent draws.

    Returns
    -------
    NoiseScaleEstimate
        Standard errors by the jackknife over examples, with the finite population's factor
        :math:`\sqrt{1 - n/N}`. Where G is near zero, that of :math:`|G|^2` is too large.

    Raises
    ------
    ValueError
        If values are not finite, there are fewer than 3 rows, or ``train_size`` is below n.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), for the noise scale;
    Efron & Stein, "The jackknife estimate of variance" (1981).

    Examples
    --------
    >>> from theory.noise_scale import noise_scale_from_gradients
    >>> estimate = noise_scale_from_gradients([[0.0], [2.0], [4.0]])
    >>> float(estimate.noise_trace), round(float(estimate.gradient_square), 6)  # 4, 4 - 4/3
    (4.0, 2.666667)
    """
    gradients = finite_array("per_example_gradients", per_example_gradients, ndim=2)
    n = len(gradients)
    if n < 3:
        raise ValueError(f"per_example_gradients must have at least 3 rows, got {n}")
    a_all, a_rest = _noise_share(n, train_size), _noise_share(n - 1, train_size)
    mean = gradients.mean(axis=0)
    deviations = gradients - mean
    squares = np.sum(deviations**2, axis=1)
    trace = np.sum(squares) / (n - 1)
    square = mean @ mean - a_all * trace
    # The same two numbers without example i, whose mean is ḡ - dᵢ / (n - 1).
    traces = ((n - 1) * trace - squares * n / (n - 1)) / (n - 2)
    means = mean @ mean - 2.0 * (deviations @ mean) / (n - 1) + squares / (n - 1) ** 2
    rest = means - a_rest * traces
    part = 1.0 if train_size is None else 1.0 - n / train_size

    def jackknife(values: Array) -> Array:
        return np.asarray(np.sqrt(part * (n - 1) * np.var(values, axis=-1)))

    return _estimate(np.asarray(square), np.asarray(trace), rest, traces, jackknife)


def _estimate(
    square: Array,
    trace: Array,
    squares: Array,
    traces: Array,
    standard_error: Callable[[Array], Array],
) -> NoiseScaleEstimate:
    """Divide the two estimates; the errors come from samples (..., n), the ratio's by its slope."""
    ratio = _ratio(trace, square)
    slope = np.where(square > 0.0, ratio, 0.0)[..., None]
    return NoiseScaleEstimate(
        noise_scale=ratio[()],
        noise_scale_error=_ratio(standard_error(traces - slope * squares), square)[()],
        gradient_square=square[()],
        gradient_square_error=standard_error(squares)[()],
        noise_trace=trace[()],
        noise_trace_error=standard_error(traces)[()],
        n=squares.shape[-1],
    )


def fit_tradeoff(steps: ArrayLike, examples: ArrayLike) -> TradeoffFit:
    r"""Fit :math:`(S/S_\text{min}-1)(E/E_\text{min}-1) = 1` to runs that reached the same loss.

    The curve is :math:`S_\text{min}/S + E_\text{min}/E = 1`. A run's batch size E / S is known, so
    all scatter is in the number of steps: least squares of
    :math:`\ln(S_\text{min}/S + E_\text{min}/E)`, the relative deviation of the steps at the run's
    batch size, in which runs of ten steps and of a million weigh alike.

    Parameters
    ----------
    steps, examples : array_like (n,)
        S and E of each run, positive; n at least 3.

    Returns
    -------
    TradeoffFit
        Standard errors assume equal relative scatter of all runs.

    Raises
    ------
    ValueError
        If values are not finite or not positive, the two are not pairs, there are fewer than 3
        runs, or an asymptote is not in the data: examples do not grow with the batch size, or steps
        do not fall (where it is :math:`\text{cov}(\ln E, B) \le 0` or
        :math:`\text{cov}(\ln S, 1/B) \le 0`, the best fit has :math:`S_\text{min}` or
        :math:`E_\text{min}` zero).

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.3
    (number from memory).

    Examples
    --------
    >>> import numpy as np
    >>> from theory.noise_scale import fit_tradeoff, steps_and_examples
    >>> cost = steps_and_examples(np.array([100, 1000, 10_000]), 900.0, 50.0)
    >>> round(fit_tradeoff(cost.steps, cost.examples).critical_batch_size, 6)
    900.0
    """
    S = positive_array("steps", steps, ndim=1)
    E = positive_array("examples", examples, ndim=1)
    if S.shape != E.shape or len(S) < 3:
        raise ValueError(
            f"steps and examples must be pairs of at least 3 runs, got {S.shape} and {E.shape}"
        )
    log_steps, log_examples = np.log(S), np.log(E)
    _check_asymptotes(log_steps, log_examples)
    terms = np.stack([log_steps, log_examples], axis=1)

    def residuals(parameters: Array) -> Array:
        return np.asarray(np.logaddexp.reduce(parameters - terms, axis=1))

    def shares(parameters: Array) -> Array:
        return np.asarray(np.exp(parameters - terms - residuals(parameters)[:, None]))

    start = np.array([log_steps.min(), log_examples.min()]) - np.log(2.0)
    fit = least_squares(residuals, start, jac=shares, xtol=1e-12, ftol=1e-12, gtol=1e-12)
    slopes = shares(fit.x)
    variance = float(np.sum(fit.fun**2)) / (len(S) - 2)
    covariance = variance * np.linalg.inv(slopes.T @ slopes)
    wanted = np.array(
        [[1.0, 0.0], [0.0, 1.0], [-1.0, 1.0]]
    )  # ln of S_min, of E_min, of their ratio
    values = np.exp(wanted @ fit.x)
    errors = values * np.sqrt(np.einsum("ki,ij,kj->k", wanted, covariance, wanted))
    return TradeoffFit(
        min_steps=float(values[0]),
        min_steps_error=float(errors[0]),
        min_examples=float(values[1]),
        min_examples_error=float(errors[1]),
        critical_batch_size=float(values[2]),
        critical_batch_size_error=float(errors[2]),
        scatter=variance**0.5,
    )


def _check_asymptotes(log_steps: Array, log_examples: Array) -> None:
    """Raise where the least squares would rather have S_min = 0 or E_min = 0: see the slopes there.

    At S_min = 0 the residuals are mean(ln E) - ln E, and the sum of squares falls as S_min leaves
    zero exactly if cov(ln E, B) > 0; at E_min = 0 likewise if cov(ln S, 1/B) > 0.
    """
    log_batch = log_examples - log_steps
    log_batch = log_batch - log_batch.mean()  # the unit is arbitrary: keep it within range
    for cost, power, name, change in (
        (log_examples, 1.0, "min_steps", "examples do not grow with the batch size"),
        (log_steps, -1.0, "min_examples", "steps do not fall with the batch size"),
    ):
        if (cost - cost.mean()) @ np.exp(power * log_batch) <= 1e-12:
            raise ValueError(f"{name} is not in the data: {change}")


def _squared_norms(name: str, value: ArrayLike) -> Array:
    norms = finite_array(name, value)
    if norms.ndim == 0 or norms.shape[-1] < 2:
        raise ValueError(f"{name} must have at least 2 samples last, got shape {norms.shape}")
    if np.any(norms < 0.0):
        raise ValueError(f"{name} must not be negative, got {norms.min():g}")
    return norms


def _noise_share(batch_size: int, train_size: int | None) -> float:
    """Return a, the variance of a batch's mean in units of one example's."""
    if train_size is None:
        return 1.0 / batch_size
    if positive_integer("train_size", train_size) < batch_size:
        raise ValueError(f"train_size must be at least {batch_size}, got {train_size}")
    return 1.0 / batch_size - 1.0 / train_size


def _ratio(numerator: Array, denominator: Array) -> Array:
    """Divide; infinite where the denominator is not positive."""
    infinite = np.full(denominator.shape, np.inf)
    return np.asarray(np.divide(numerator, denominator, out=infinite, where=denominator > 0.0))


def _error_of_mean(samples: Array) -> Array:
    n = samples.shape[-1]
    return np.asarray(np.std(samples, axis=-1, ddof=1) / np.sqrt(n))
