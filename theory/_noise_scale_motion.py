"""Stationary covariances of heavy-ball SGD, with independent and with reshuffled batches."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from theory._noise_scale_modes import (
    check_rate,
    quadratic_problem,
    rotate_back,
)
from theory._noise_scale_stability import stability_limit
from theory._validation import Array, decay, positive_integer


class HeavyBallCovariance(NamedTuple):
    r"""Joint stationary covariance of parameters and velocity, just after an update.

    Attributes
    ----------
    position : ndarray (P, P)
        :math:`\langle \omega\omega^\top\rangle` about the minimum.
    velocity : ndarray (P, P)
        :math:`\langle v v^\top\rangle`, in units of the squared gradient.
    cross : ndarray (P, P)
        :math:`\langle \omega v^\top\rangle`.
    """

    position: Array
    velocity: Array
    cross: Array


class ShuffledCovariance(NamedTuple):
    """Stationary covariance under reshuffling every epoch.

    Attributes
    ----------
    epoch_end : ndarray (P, P)
        After the last update of an epoch.
    average : ndarray (P, P)
        Mean over the N/B updates of an epoch.
    """

    epoch_end: Array
    average: Array


def heavy_ball_stationary_covariance(
    hessian: ArrayLike,
    gradient_covariance: ArrayLike,
    learning_rate: float,
    momentum: float,
    *,
    dampened: bool = False,
) -> HeavyBallCovariance:
    r"""Stationary covariance of SGD with momentum on a quadratic loss, at any learning rate.

    :math:`v \leftarrow m v + \nabla,\ \omega \leftarrow \omega - \epsilon v`. Where C and H share
    an eigenvector, with eigenvalues c and h,

    .. math:: \langle\omega^2\rangle = \frac{\epsilon c\,(1+m)}{h(1-m)[2(1+m)-\epsilon h]},\quad
              \langle v^2\rangle = \frac{2c}{(1-m)[2(1+m)-\epsilon h]},\quad
              \langle\omega v\rangle = -\tfrac{\epsilon}{2}\langle v^2\rangle.

    Parameters
    ----------
    hessian : array_like (P, P)
        H of the mean loss, positive definite.
    gradient_covariance : array_like (P, P)
        C of the minibatch mean gradient, positive semidefinite, independent between steps.
    learning_rate : float
        :math:`\epsilon`, positive and below :func:`stability_limit`.
    momentum : float
        m in [0, 1).
    dampened : bool, default False
        Whether gradients enter the velocity with weight 1 - m.

    Returns
    -------
    HeavyBallCovariance
        Of position, velocity and between them.

    Raises
    ------
    ValueError
        If a matrix is not symmetric, H is not positive definite, C is not semidefinite, their
        shapes differ, the momentum is out of range, or the learning rate is not positive or not
        stable.

    References
    ----------
    Liu, Ziyin & Ueda (2021) (derived).

    Examples
    --------
    >>> from theory.noise_scale import heavy_ball_stationary_covariance
    >>> moving = heavy_ball_stationary_covariance([[1.0]], [[1.0]], 0.1, 0.9)
    >>> round(float(moving.position[0, 0]), 6), round(float(moving.velocity[0, 0]), 6)
    (0.513514, 5.405405)
    """
    h, vectors, C = quadratic_problem(hessian, gradient_covariance)
    m = decay("momentum", momentum)
    rate = check_rate(
        learning_rate,
        stability_limit(float(h[-1]), m, dampened=dampened),
        "2 (1 + m) / ((1 - m) h_max)" if dampened else "2 (1 + m) / h_max",
    )
    gain = rate * (1.0 - m) if dampened else rate
    kick = gain * np.array([-1.0, 1.0])
    S = _fixed_point(_motion(h, gain, m), C[..., None, None] * np.outer(kick, kick))
    return HeavyBallCovariance(
        position=rotate_back(S[..., 0, 0], vectors),
        velocity=rotate_back(S[..., 1, 1], vectors) / rate**2,
        cross=vectors @ S[..., 0, 1] @ vectors.T / rate,
    )


def shuffled_stationary_covariance(
    hessian: ArrayLike,
    example_covariance: ArrayLike,
    learning_rate: float,
    *,
    train_size: int,
    batch_size: int,
    momentum: float = 0.0,
) -> ShuffledCovariance:
    r"""Stationary covariance of SGD that reshuffles the data every epoch, on a quadratic loss.

    Batches of an epoch are anticorrelated, see :func:`gradient_noise_covariance`: their noise sums
    to zero. In directions too flat to forget within an epoch, :math:`\epsilon h K \ll 1` with
    K = N/B, kicks cancel: without momentum the variance at its end falls to
    :math:`\epsilon^3 h F (K^2-1)/24B` instead of growing as 1/h, and its average is that of a
    random walk pinned to both ends of the epoch, :math:`\epsilon^2 F (K^2-1)/6KB`.

    Parameters
    ----------
    hessian : array_like (P, P)
        H of every example's loss, positive definite: the gradient noise is additive.
    example_covariance : array_like (P, P)
        F over examples, denominator N - 1, positive semidefinite.
    learning_rate : float
        :math:`\epsilon`, positive and below :func:`stability_limit`.
    train_size, batch_size : int
        N and B; B divides N.
    momentum : float, default 0
        m in [0, 1), heavy ball; the velocity is kept from epoch to epoch.

    Returns
    -------
    ShuffledCovariance
        At the end of an epoch, and averaged over its updates. Takes memory for N/B · 4P numbers.

    Raises
    ------
    ValueError
        If a matrix is not symmetric, H is not positive definite, F is not semidefinite, their
        shapes differ, B does not divide N, the momentum is out of range, or the learning rate is
        not positive or not stable.

    References
    ----------
    Kuhn & Rosenow, "Correlated noise in epoch-based stochastic gradient descent" (2023) (derived).

    Examples
    --------
    >>> from theory.noise_scale import shuffled_stationary_covariance
    >>> shuffled = shuffled_stationary_covariance(
    ...     [[1.0]], [[1.0]], 0.5, train_size=2, batch_size=1
    ... )
    >>> round(float(shuffled.epoch_end[0, 0]), 6), round(float(shuffled.average[0, 0]), 6)
    (0.033333, 0.083333)
    """
    h, vectors, F = quadratic_problem(hessian, example_covariance, "example_covariance")
    m = decay("momentum", momentum)
    rate = check_rate(learning_rate, stability_limit(float(h[-1]), m), "2 (1 + m) / h_max")
    N, B = positive_integer("train_size", train_size), positive_integer("batch_size", batch_size)
    if N % B:
        raise ValueError(f"batch_size must divide train_size, got {B} and {N}")
    K = N // B
    powers = _powers(_motion(h, rate, m), K)
    kick = rate * np.array([-1.0, 1.0])
    # The noises of an epoch sum to zero, so a part of their effects common to all cancels.
    effects = powers[:-1] @ kick
    noise = _products(effects - np.mean(effects, axis=0)) / B
    S = _fixed_point(powers[-1], F[..., None, None] * noise)

    carried = np.array([1.0, 0.0]) + powers[1:, :, 0, :]
    moved = effects[..., 0] + kick[0]
    so_far = np.cumsum(moved, axis=0)
    share = 1.0 - np.arange(K) / K  # of the epoch's ends of step that feel a kick k steps ago
    fresh = (share[:, None] * moved).T @ moved / B - so_far.T @ so_far / (N * K)
    average = np.sum(S * _products(carried), axis=(-2, -1)) / K + F * fresh
    return ShuffledCovariance(rotate_back(S[..., 0, 0], vectors), rotate_back(average, vectors))


def _motion(h: Array, rate: float, m: float) -> Array:
    """Return A - I (P, 2, 2), A taking (ω, εv) through one step without noise.

    The identity is left out throughout, because flat directions have their digits in A - I.
    """
    x = rate * h
    motion = np.empty((len(h), 2, 2))
    motion[:, 0] = np.stack([-x, np.full_like(x, -m)], axis=-1)
    motion[:, 1] = np.stack([x, np.full_like(x, m - 1.0)], axis=-1)
    return motion


def _powers(motion: Array, count: int) -> Array:
    """Return Aᵏ - I (count + 1, P, 2, 2) for k = 0, ..., count."""
    powers = np.zeros((count + 1, *motion.shape))
    for k in range(count):
        powers[k + 1] = powers[k] + motion + motion @ powers[k]
    return powers


def _products(vectors: Array) -> Array:
    """Return Σₖ rₖᵢ rₖⱼᵀ (P, P, 2, 2) for vectors r (K, P, 2)."""
    P = vectors.shape[1]
    flat = vectors.reshape(-1, 2 * P)
    return (flat.T @ flat).reshape(P, 2, P, 2).swapaxes(1, 2)


def _fixed_point(motion: Array, noise: Array) -> Array:
    """Solve Sᵢⱼ = Aᵢ Sᵢⱼ Aⱼᵀ + Qᵢⱼ (P, P, 2, 2), given A - I (P, 2, 2) and Q (P, P, 2, 2)."""
    P = len(motion)
    first, second = (np.einsum(s, motion, np.eye(2)) for s in ("iac,bd->iabcd", "jbd,ac->jabcd"))
    change = first[:, None] + second + np.einsum("iac,jbd->ijabcd", motion, motion)
    solved = np.linalg.solve(-change.reshape(P, P, 4, 4), noise.reshape(P, P, 4, 1))
    return np.asarray(solved.reshape(P, P, 2, 2))
