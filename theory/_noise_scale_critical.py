r"""Critical batch sizes: how much noise the gradients have, and what that makes of a batch size.

Here :math:`G` is the gradient of the mean loss and :math:`C` the covariance of one example's
gradient, so that a batch of B examples has gradient covariance :math:`C/B`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from theory._noise_scale_settings import check_broadcast
from theory._validation import Array, finite_array, positive_array, symmetric_array


class TrainingCost(NamedTuple):
    """What it takes to reach a given loss.

    Attributes
    ----------
    steps : float or ndarray (...)
        Updates of the weights.
    examples : float or ndarray (...)
        Gradients of single examples: steps times batch size.
    """

    steps: Array
    examples: Array


def simple_noise_scale(gradient: ArrayLike, covariance: ArrayLike) -> Array:
    r"""Batch size at which noise and signal are equal, :math:`B_\text{simple}=\text{tr}\,C/|G|^2`.

    The gradient of B examples has :math:`E|G_B|^2 = |G|^2(1 + B_\text{simple}/B)`.

    Parameters
    ----------
    gradient : array_like (..., P)
        G of the mean loss, not zero.
    covariance : array_like (..., P, P)
        C of one example's gradient.

    Returns
    -------
    float or ndarray (...)
        In examples.

    Raises
    ------
    ValueError
        If values are not finite, shapes do not fit, a gradient is zero, or a covariance is not
        symmetric or has a negative variance.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.2
    (number from memory).

    Examples
    --------
    >>> from theory.noise_scale import simple_noise_scale
    >>> float(simple_noise_scale([3.0, 4.0], [[30.0, 0.0], [0.0, 20.0]]))
    2.0
    """
    G = _gradient(gradient)
    C = _covariance(covariance, G)
    return np.asarray(np.trace(C, axis1=-2, axis2=-1) / np.sum(G * G, axis=-1))[()]


def hessian_noise_scale(gradient: ArrayLike, covariance: ArrayLike, hessian: ArrayLike) -> Array:
    r"""Batch size at which noise halves a step's gain, :math:`B_H=\text{tr}(HC)/(G^\top H G)`.

    Parameters
    ----------
    gradient : array_like (..., P)
        G of the mean loss.
    covariance : array_like (..., P, P)
        C of one example's gradient.
    hessian : array_like (..., P, P)
        H of the mean loss, symmetric, positive along G.

    Returns
    -------
    float or ndarray (...)
        In examples; the simple noise scale where H is a multiple of the identity.

    Raises
    ------
    ValueError
        As :func:`simple_noise_scale`, or if :math:`G^\top H G` is not positive or
        :math:`\text{tr}(HC)` is negative: then H is indefinite and no quadratic bounds the step.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.2
    (number from memory).

    Notes
    -----
    To second order a step changes the loss by
    :math:`-\epsilon|G|^2 + \frac{\epsilon^2}{2}(G^\top H G + \text{tr}(HC)/B)` on average. Its
    minimum over :math:`\epsilon` gives :func:`optimal_learning_rate`,
    :func:`max_learning_rate` and :func:`loss_improvement_fraction`.

    Examples
    --------
    >>> from theory.noise_scale import hessian_noise_scale
    >>> covariance, hessian = [[30.0, 0.0], [0.0, 20.0]], [[1.0, 0.0], [0.0, 0.0]]
    >>> round(float(hessian_noise_scale([3.0, 4.0], covariance, hessian)), 6)
    3.333333
    """
    G = _gradient(gradient)
    C, H = _covariance(covariance, G), _symmetric("hessian", hessian, G)
    check_broadcast(covariance=C[..., 0, 0], hessian=H[..., 0, 0])
    curved = np.einsum("...ij,...ji->...", H, C)
    if np.any(curved < 0.0):
        raise ValueError(f"tr(hessian covariance) must not be negative, got {np.min(curved):g}")
    return np.asarray(curved / _curvature_along(G, H))[()]


def max_learning_rate(gradient: ArrayLike, hessian: ArrayLike) -> Array:
    r"""Best learning rate without noise, :math:`\epsilon_\text{max} = |G|^2/(G^\top H G)`.

    Parameters
    ----------
    gradient : array_like (..., P)
        G of the mean loss.
    hessian : array_like (..., P, P)
        H of the mean loss, symmetric, positive along G.

    Returns
    -------
    float or ndarray (...)

    Raises
    ------
    ValueError
        If values are not finite, shapes do not fit, a gradient is zero, or a Hessian is not
        symmetric or not positive along the gradient.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.2
    (number from memory).

    Examples
    --------
    >>> from theory.noise_scale import max_learning_rate
    >>> float(max_learning_rate([1.0, 1.0], [[1.0, 0.0], [0.0, 3.0]]))
    0.5
    """
    G = _gradient(gradient)
    H = _symmetric("hessian", hessian, G)
    return np.asarray(np.sum(G * G, axis=-1) / _curvature_along(G, H))[()]


def loss_improvement_fraction(batch_size: ArrayLike, noise_scale: ArrayLike) -> Array:
    r"""Gain of a step beside that of a noiseless one, :math:`1/(1 + B_\text{noise}/B)`.

    Both steps at their own best learning rate.

    Parameters
    ----------
    batch_size : array_like (...)
        B, positive.
    noise_scale : array_like (...)
        Gradient noise scale in examples (:func:`hessian_noise_scale`), not negative.

    Returns
    -------
    float or ndarray (...)
        In (0, 1].

    Raises
    ------
    ValueError
        If values are not finite or out of range.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.2
    (number from memory).

    Examples
    --------
    >>> from theory.noise_scale import loss_improvement_fraction
    >>> loss_improvement_fraction([100, 900, 8100], 900).round(6)
    array([0.1, 0.5, 0.9])
    """
    B, noise = positive_array("batch_size", batch_size), finite_array("noise_scale", noise_scale)
    if np.any(noise < 0.0):
        raise ValueError(f"noise_scale must not be negative, got {noise.min():g}")
    check_broadcast(batch_size=B, noise_scale=noise)
    return np.asarray(B / (B + noise))[()]


def optimal_learning_rate(
    batch_size: ArrayLike, noise_scale: ArrayLike, max_learning_rate: ArrayLike
) -> Array:
    r"""Learning rate of the largest gain, :math:`\epsilon_\text{max}/(1 + B_\text{noise}/B)`.

    Proportional to B while noise dominates, constant when it does not: the range of the linear
    scaling rule.

    Parameters
    ----------
    batch_size, noise_scale : array_like (...)
        As in :func:`loss_improvement_fraction`.
    max_learning_rate : array_like (...)
        Positive.

    Returns
    -------
    float or ndarray (...)

    Raises
    ------
    ValueError
        If values are not finite or out of range.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.2
    (number from memory).

    Examples
    --------
    >>> from theory.noise_scale import optimal_learning_rate
    >>> optimal_learning_rate([100, 900, 8100], 900, 2.0).round(6)
    array([0.2, 1. , 1.8])
    """
    rate = positive_array("max_learning_rate", max_learning_rate)
    fraction = np.asarray(loss_improvement_fraction(batch_size, noise_scale))
    check_broadcast(max_learning_rate=rate, batch_size_and_noise_scale=fraction)
    return np.asarray(rate * fraction)[()]


def critical_batch_size(min_examples: ArrayLike, min_steps: ArrayLike) -> Array:
    r"""Batch size at which both costs are twice their least, :math:`E_\text{min}/S_\text{min}`.

    Parameters
    ----------
    min_examples, min_steps : array_like (...)
        Positive.

    Returns
    -------
    float or ndarray (...)

    Raises
    ------
    ValueError
        If values are not finite or not positive.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.3
    (number from memory).

    Examples
    --------
    >>> from theory.noise_scale import critical_batch_size
    >>> float(critical_batch_size(90_000, 100))
    900.0
    """
    E, S = positive_array("min_examples", min_examples), positive_array("min_steps", min_steps)
    check_broadcast(min_examples=E, min_steps=S)
    return np.asarray(E / S)[()]


def steps_and_examples(
    batch_size: ArrayLike, critical_batch_size: ArrayLike, min_steps: ArrayLike
) -> TrainingCost:
    r"""Cost of training at a batch size, on :math:`(S/S_\text{min}-1)(E/E_\text{min}-1) = 1`.

    :math:`S = S_\text{min}(1 + B_\text{crit}/B)` and :math:`E = BS`, which adds up
    :func:`loss_improvement_fraction` over a training run.

    Parameters
    ----------
    batch_size : array_like (...)
        B, positive.
    critical_batch_size : array_like (...)
        :math:`B_\text{crit}`, positive.
    min_steps : array_like (...)
        :math:`S_\text{min}`, positive.

    Returns
    -------
    TrainingCost
        Steps and examples.

    Raises
    ------
    ValueError
        If values are not finite or not positive.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.3
    (number from memory).

    Examples
    --------
    >>> from theory.noise_scale import steps_and_examples
    >>> cost = steps_and_examples(900, 900, 100)
    >>> float(cost.steps), float(cost.examples)
    (200.0, 180000.0)
    """
    B = positive_array("batch_size", batch_size)
    critical = positive_array("critical_batch_size", critical_batch_size)
    least = positive_array("min_steps", min_steps)
    check_broadcast(batch_size=B, critical_batch_size=critical, min_steps=least)
    steps = np.asarray(least * (1.0 + critical / B))
    return TrainingCost(steps[()], np.asarray(B * steps)[()])


def _gradient(gradient: ArrayLike) -> Array:
    G = finite_array("gradient", gradient)
    if G.ndim == 0:
        raise ValueError("gradient must have at least one dimension, got a scalar")
    if not np.all(np.any(G != 0.0, axis=-1)):
        raise ValueError("gradient must not be zero: no batch size resolves it")
    return G


def _symmetric(name: str, value: ArrayLike, gradient: Array) -> Array:
    matrix, n = symmetric_array(name, value), gradient.shape[-1]
    if matrix.shape[-1] != n:
        raise ValueError(f"{name} must end in ({n}, {n}), as gradient does; got {matrix.shape}")
    check_broadcast(**{"gradient": gradient[..., 0], name: matrix[..., 0, 0]})
    return matrix


def _covariance(covariance: ArrayLike, gradient: Array) -> Array:
    C = _symmetric("covariance", covariance, gradient)
    variances = np.diagonal(C, axis1=-2, axis2=-1)
    if np.any(variances < 0.0):
        raise ValueError(f"covariance has a negative variance, {variances.min():g}")
    return C


def _curvature_along(gradient: Array, hessian: Array) -> Array:
    curvature = np.einsum("...i,...ij,...j->...", gradient, hessian, gradient)
    if np.any(curvature <= 0.0):
        raise ValueError(
            f"hessian must be positive along gradient, got a curvature of {np.min(curvature):g}"
        )
    return np.asarray(curvature)
