"""The learning rates at which SGD stays at a minimum, with and without noise."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from theory._noise_scale_modes import positive_modes
from theory._validation import (
    decay,
    finite_array,
    positive_array,
    positive_integer,
    symmetric_array,
)


class LinearStability(NamedTuple):
    """Wu, Ma & E's condition at a minimum that fits every example.

    Attributes
    ----------
    largest_eigenvalue : float
        Largest factor by which one step multiplies the expected squared distance from the minimum.
    is_stable : bool
        Whether it is at most 1.
    """

    largest_eigenvalue: float
    is_stable: bool


def stability_limit(hessian: ArrayLike, momentum: float = 0.0, *, dampened: bool = False) -> float:
    r"""Largest learning rate at which (heavy-ball) gradient descent stays at a quadratic minimum.

    :math:`\epsilon h_{\max} < 2(1+m)` for :math:`v \leftarrow m v + \nabla,\ \omega \leftarrow
    \omega - \epsilon v`. Dampened, :math:`v \leftarrow m v + (1-m)\nabla`, the limit is larger by
    :math:`1/(1-m)`.

    Parameters
    ----------
    hessian : array_like (P, P) or float
        Hessian of the mean loss, or its largest eigenvalue.
    momentum : float, default 0
        :math:`m` in [0, 1).
    dampened : bool, default False
        Whether gradients enter the velocity with weight 1 - m.

    Returns
    -------
    float
        The limit itself is not stable. Additive gradient noise does not change it.

    Raises
    ------
    ValueError
        If the Hessian is neither a number nor a symmetric matrix, its largest eigenvalue is not
        positive, or the momentum is out of range.

    References
    ----------
    Polyak, "Some methods of speeding up the convergence of iteration methods" (1964) (derived).

    Examples
    --------
    >>> from theory.noise_scale import stability_limit
    >>> stability_limit([[4.0, 0.0], [0.0, 1.0]])
    0.5
    >>> round(stability_limit(4.0, momentum=0.9), 6)
    0.95
    """
    m = decay("momentum", momentum)
    if np.ndim(hessian) == 0:
        largest = float(finite_array("hessian", hessian))
    else:
        largest = float(np.linalg.eigvalsh(symmetric_array("hessian", hessian, ndim=2))[-1])
    if largest <= 0.0:
        raise ValueError(f"hessian must have a positive eigenvalue, the largest is {largest:.3g}")
    return 2.0 * (1.0 + m) / (largest * (1.0 - m if dampened else 1.0))


def linear_regression_stability_limit(feature_covariance: ArrayLike, batch_size: int) -> float:
    r"""Largest learning rate at which linear regression by SGD has a finite variance.

    Features are Gaussian with covariance A (eigenvalues :math:`a_i`) and every batch is fresh. The
    gradient noise grows with the distance from the minimum, so the limit lies below
    :math:`2/a_{\max}`: it is the root of

    .. math:: \sum_i \frac{\epsilon a_i/B}{2 - \epsilon(1 + 1/B)\,a_i} = 1,

    which for one feature is :math:`\epsilon a (1 + 2/B) = 2`.

    Parameters
    ----------
    feature_covariance : array_like (D, D)
        A, positive definite; also the Hessian of half the mean squared error.
    batch_size : int
        B, at least 1.

    Returns
    -------
    float
        The limit itself is not stable.

    Raises
    ------
    ValueError
        If A is not symmetric and positive definite or B is not a positive integer.

    References
    ----------
    Derived from Gaussian fourth moments; compare Ziyin et al., "Strength of minibatch noise in
    SGD" (2022).

    Examples
    --------
    >>> from theory.noise_scale import linear_regression_stability_limit
    >>> round(linear_regression_stability_limit([[1.0]], batch_size=2), 6)
    1.0
    """
    a, _ = positive_modes("feature_covariance", feature_covariance)
    B = positive_integer("batch_size", batch_size)
    ratio = a / a[-1]

    # With s = z/(1-z), z = ε(1 + 1/B) a_max / 2, the sum has no pole, and s lies between its
    # values for all eigenvalues equal and for a single one.
    def excess(s: float) -> float:
        return float(np.sum(s * ratio / (1.0 + s * (1.0 - ratio)))) - (B + 1.0)

    margin = 1e-9  # with equal eigenvalues the bracket is the root, up to rounding
    low, high = (B + 1.0) / len(a) * (1.0 - margin), (B + 1.0) * (1.0 + margin)
    s = float(brentq(excess, low, high, xtol=1e-300, rtol=1e-14))
    return 2.0 * B / ((B + 1.0) * float(a[-1])) * (s / (1.0 + s))


def linear_stability(hessians: ArrayLike, learning_rate: float, batch_size: int) -> LinearStability:
    r"""Whether SGD stays at a minimum that fits every example, by Wu, Ma & E's condition.

    There the gradients of all examples vanish and only their Hessians :math:`H_i` act. One step
    on a batch drawn without replacement multiplies the expected squared distance by at most

    .. math:: \lambda_{\max}\Big\{(I - \epsilon H)^2 + \epsilon^2\frac{N-B}{B(N-1)}
              \Big(\tfrac1N\sum_i H_i^2 - H^2\Big)\Big\}, \qquad H = \tfrac1N\sum_i H_i.

    Parameters
    ----------
    hessians : array_like (N, P, P)
        Hessian of each example's loss.
    learning_rate : float
        :math:`\epsilon`, positive.
    batch_size : int
        B, from 1 to N.

    Returns
    -------
    LinearStability
        The eigenvalue, and whether it is at most 1.

    Raises
    ------
    ValueError
        If the Hessians are not symmetric, the rate is not positive or B is not in 1..N.

    References
    ----------
    Wu, Ma & E, "How SGD selects the global minima" (2018), theorem 1 (from memory; the expectation
    is derived).

    Notes
    -----
    At most 1 is *sufficient* for a bounded expected squared distance. It is *necessary* only where
    the :math:`H_i` commute, P = 1 included: otherwise the worst direction of one step need not be
    that of the next, and a minimum may be stable though the condition fails.

    Examples
    --------
    >>> from theory.noise_scale import linear_stability
    >>> hessians = [[[0.0]], [[2.0]]]  # mean 1: the full batch is stable up to a rate of 2
    >>> linear_stability(hessians, learning_rate=1.5, batch_size=2).is_stable
    True
    >>> linear_stability(hessians, learning_rate=1.5, batch_size=1).is_stable
    False
    """
    H_i = symmetric_array("hessians", hessians, ndim=3)
    rate, N = float(positive_array("learning_rate", learning_rate, ndim=0)), len(H_i)
    B = positive_integer("batch_size", batch_size)
    if B > N:
        raise ValueError(f"batch_size must be at most the number of Hessians, {N}, got {B}")
    H = np.mean(H_i, axis=0)
    spread = np.tensordot(H_i, H_i, axes=([0, 2], [0, 2])) / N - H @ H
    step = np.eye(len(H)) - rate * H
    operator = step @ step + rate**2 * (N - B) / (B * max(N - 1, 1)) * spread
    largest = float(np.linalg.eigvalsh(operator)[-1])
    return LinearStability(largest, largest <= 1.0)
