"""Covariances of minibatch noise, and of the parameters that it keeps in motion at a minimum."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory._noise_scale_modes import (
    check_rate,
    positive_modes,
    quadratic_problem,
    rotate_back,
)
from theory._noise_scale_motion import (
    HeavyBallCovariance,
    ShuffledCovariance,
    heavy_ball_stationary_covariance,
    shuffled_stationary_covariance,
)
from theory._noise_scale_stability import (
    LinearStability,
    linear_regression_stability_limit,
    linear_stability,
    stability_limit,
)
from theory._validation import (
    Array,
    data_array,
    decay,
    nonnegative_number,
    positive_array,
    positive_integer,
)

__all__ = [
    "SAMPLERS",
    "HeavyBallCovariance",
    "LinearStability",
    "ShuffledCovariance",
    "continuous_stationary_covariance",
    "gradient_noise_covariance",
    "heavy_ball_stationary_covariance",
    "linear_regression_stability_limit",
    "linear_regression_stationary_covariance",
    "linear_stability",
    "shuffled_stationary_covariance",
    "stability_limit",
    "stationary_covariance",
]

SAMPLERS = ("with_replacement", "without_replacement", "shuffle")


def gradient_noise_covariance(
    gradients: ArrayLike,
    batch_size: int,
    *,
    sampler: str = "without_replacement",
    lag: int = 0,
) -> Array:
    r"""Covariance of minibatch mean gradients about the full one.

    With :math:`F = \frac{1}{N-1}\sum_i (g_i - \bar g)(g_i - \bar g)^\top`: ``without_replacement``
    within a batch gives :math:`F(1/B - 1/N)`, ``with_replacement`` :math:`F(1 - 1/N)/B`.
    ``shuffle`` cuts a permutation of the data into batches, so that one batch is drawn as without
    replacement, and two different batches of an epoch have the covariance :math:`-F/N`: what one
    has seen the other lacks. Batches of the other samplers are independent.

    Parameters
    ----------
    gradients : array_like (N, P)
        Gradient of each example's loss.
    batch_size : int
        B; at most N unless the sampler is ``with_replacement``.
    sampler : {"without_replacement", "with_replacement", "shuffle"}
        How batches are drawn.
    lag : int, default 0
        Steps between the two batches; for ``shuffle`` both lie in the same epoch, so
        ``lag`` is below N // B.

    Returns
    -------
    ndarray (P, P)
        Exactly 0 for a full batch drawn without replacement.

    Raises
    ------
    ValueError
        If the gradients are not a finite matrix, the sampler is unknown, B is not in range, or
        the lag is negative or leaves the epoch.

    References
    ----------
    Smith & Le (2018), before equation 12: :math:`\langle\alpha\alpha^\top\rangle = N(N/B - 1)F`
    for the summed cost is N² times the result without replacement. Lags: Kuhn & Rosenow (2023)
    (derived).

    Examples
    --------
    >>> from theory.noise_scale import gradient_noise_covariance
    >>> gradients = [[0.0], [2.0], [4.0]]
    >>> float(gradient_noise_covariance(gradients, 1)[0, 0])
    2.6666666666666665
    >>> float(gradient_noise_covariance(gradients, 1, sampler="shuffle", lag=2)[0, 0])
    -1.3333333333333333
    """
    g, _ = data_array("gradients", gradients, ndim=2)
    N, B, lag = len(g), *_sampling(len(g), batch_size, sampler, lag)
    centered = g - np.mean(g, axis=0)
    population = centered.T @ centered / N
    if lag > 0:
        weight = -1.0 / (N - 1) if sampler == "shuffle" else 0.0
    elif sampler == "with_replacement":
        weight = 1.0 / B
    else:
        weight = (N - B) / (B * max(N - 1, 1))  # N = B = 1 has no noise
    return np.asarray(weight * population)


def _sampling(N: int, batch_size: int, sampler: str, lag: int) -> tuple[int, int]:
    """Return the batch size and the lag, checked against the sampler."""
    if sampler not in SAMPLERS:
        raise ValueError(f"sampler is {sampler!r}; it must be one of {', '.join(SAMPLERS)}")
    B, lag = positive_integer("batch_size", batch_size), positive_integer("lag", lag, minimum=0)
    if B > N and sampler != "with_replacement":
        raise ValueError(f"batch_size must be at most the number of examples, {N}, got {B}")
    if sampler == "shuffle" and lag >= N // B:
        raise ValueError(f"lag must be below {N // B}, the batches in an epoch, got {lag}")
    return B, lag


def continuous_stationary_covariance(
    hessian: ArrayLike,
    gradient_covariance: ArrayLike,
    learning_rate: float,
    momentum: float = 0.0,
) -> Array:
    r"""Stationary covariance of the diffusion that SGD approaches at small learning rates.

    :math:`H S + S H = \frac{\epsilon}{1-m} C`: what Smith & Le's noise scale predicts, since
    :math:`\epsilon C/(1-m) = g F/N`. It exists at every learning rate; that of SGD itself
    does not, see :func:`stationary_covariance` and :func:`heavy_ball_stationary_covariance`.

    Parameters
    ----------
    hessian : array_like (P, P)
        H of the mean loss, positive definite.
    gradient_covariance : array_like (P, P)
        C of the minibatch mean gradient, positive semidefinite.
    learning_rate : float
        :math:`\epsilon`, positive.
    momentum : float, default 0
        m in [0, 1), heavy ball.

    Returns
    -------
    ndarray (P, P)
        S, about the minimum.

    Raises
    ------
    ValueError
        If a matrix is not symmetric, H is not positive definite, C is not semidefinite, their
        shapes differ, or a number is out of range.

    References
    ----------
    Smith & Le (2018), equations 12-13 and appendix D; Mandt, Hoffman & Blei (2017) (derived).

    Examples
    --------
    >>> from theory.noise_scale import continuous_stationary_covariance
    >>> float(continuous_stationary_covariance([[2.0]], [[8.0]], learning_rate=0.1)[0, 0])
    0.2
    """
    h, vectors, C = quadratic_problem(hessian, gradient_covariance)
    m = decay("momentum", momentum)
    rate = float(positive_array("learning_rate", learning_rate, ndim=0)) / (1.0 - m)
    return rotate_back(rate * C / (h[:, None] + h), vectors)


def stationary_covariance(
    hessian: ArrayLike, gradient_covariance: ArrayLike, learning_rate: float
) -> Array:
    r"""Stationary covariance of SGD with additive noise on a quadratic loss, at any learning rate.

    :math:`S H + H S - \epsilon H S H = \epsilon C`; the last term on the left is the
    discretization that a diffusion leaves out.

    Parameters
    ----------
    hessian : array_like (P, P)
        H of the mean loss, positive definite.
    gradient_covariance : array_like (P, P)
        C of the minibatch mean gradient, positive semidefinite, independent between steps.
    learning_rate : float
        :math:`\epsilon`, positive and below :math:`2/h_{\max}`.

    Returns
    -------
    ndarray (P, P)
        S, about the minimum.

    Raises
    ------
    ValueError
        If a matrix is not symmetric, H is not positive definite, C is not semidefinite, their
        shapes differ, or the learning rate is not positive or not stable.

    References
    ----------
    Liu, Ziyin & Ueda, "Noise and fluctuation of finite learning rate SGD" (2021) (derived).

    Examples
    --------
    >>> from theory.noise_scale import stationary_covariance
    >>> float(stationary_covariance([[2.0]], [[8.0]], learning_rate=0.5)[0, 0])  # εc / h(2 - εh)
    2.0
    """
    h, vectors, C = quadratic_problem(hessian, gradient_covariance)
    rate = check_rate(learning_rate, 2.0 / float(h[-1]), "2 / h_max")
    return rotate_back(rate * C / (h[:, None] + h - rate * h[:, None] * h), vectors)


def linear_regression_stationary_covariance(
    feature_covariance: ArrayLike, label_variance: float, learning_rate: float, batch_size: int
) -> Array:
    r"""Stationary covariance of linear regression by SGD, whose noise depends on the state.

    Features are Gaussian with covariance A, labels have noise of variance s², every batch is
    fresh. By Gaussian fourth moments the per-example gradient at :math:`\theta` off the minimum
    has the covariance :math:`A\theta\theta^\top A + (\theta^\top A\theta + s^2)A`, hence

    .. math:: S = (I-\epsilon A)S(I-\epsilon A)
                  + \frac{\epsilon^2}{B}\big[A S A + (\operatorname{tr} AS + s^2) A\big],

    which is diagonal in the eigenbasis of A with :math:`S_i = \frac{\epsilon}{B}\,
    \frac{\operatorname{tr}AS + s^2}{2 - \epsilon(1+1/B)a_i}`.

    Parameters
    ----------
    feature_covariance : array_like (D, D)
        A, positive definite.
    label_variance : float
        s², not negative.
    learning_rate : float
        :math:`\epsilon` of half the mean squared error, positive and below
        :func:`linear_regression_stability_limit`.
    batch_size : int
        B, at least 1.

    Returns
    -------
    ndarray (D, D)
        S, about the minimum.

    Raises
    ------
    ValueError
        If A is not symmetric and positive definite, s² is negative, B is not a positive integer,
        or the learning rate is not positive or not stable.

    References
    ----------
    Derived; compare Ziyin et al., "Strength of minibatch noise in SGD" (2022).

    Examples
    --------
    >>> from theory.noise_scale import linear_regression_stationary_covariance
    >>> S = linear_regression_stationary_covariance([[1.0]], 1.0, 0.5, batch_size=2)
    >>> float(S[0, 0])  # (ε s² / B) / (2 - εa(1 + 2/B))
    0.25
    """
    limit = linear_regression_stability_limit(feature_covariance, batch_size)
    a, vectors = positive_modes("feature_covariance", feature_covariance)
    variance = nonnegative_number("label_variance", label_variance)
    rate = check_rate(learning_rate, limit, "set by the noise of the features")
    response = rate / batch_size / (2.0 - rate * (1.0 + 1.0 / batch_size) * a)
    amplified = variance / (1.0 - np.sum(a * response))  # tr AS + s²
    return rotate_back(np.diag(amplified * response), vectors)
