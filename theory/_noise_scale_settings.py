"""The noise scale as a function of SGD's settings, its inverses, and settings that leave it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from theory._validation import (
    Array,
    finite_array,
    positive_array,
    positive_integer,
    positive_number,
)

_ROUNDING = 1e-9  # an inverse at the very edge of its range must survive its argument's rounding


class SVAGStep(NamedTuple):
    """Settings of stochastic variance amplified gradient descent.

    Attributes
    ----------
    learning_rate : float
        Of each small step.
    first, second : float
        Coefficients of the gradients of two independent batches.
    """

    learning_rate: float
    first: float
    second: float


def noise_scale(
    learning_rate: ArrayLike,
    train_size: ArrayLike,
    batch_size: ArrayLike,
    momentum: ArrayLike = 0.0,
    *,
    dampened: bool = False,
) -> Array:
    r"""Noise scale of SGD, :math:`g = \frac{\epsilon}{1-m}\left(\frac NB - 1\right)`.

    The update is :math:`v \leftarrow m v + \nabla,\ \omega \leftarrow \omega - \epsilon v` (heavy
    ball; a framework's ``momentum`` with ``dampening=0``). The dampened update
    :math:`v \leftarrow m v + (1-m)\nabla` is the same with :math:`\epsilon(1-m)` for
    :math:`\epsilon`, so that its noise scale does not depend on m.

    Parameters
    ----------
    learning_rate : array_like (...)
        :math:`\epsilon` of the mean loss, positive.
    train_size, batch_size : array_like of int (...)
        :math:`N` and :math:`1 \le B \le N`.
    momentum : array_like (...), default 0
        :math:`m` in [0, 1).
    dampened : bool, default False
        Whether gradients enter the velocity with weight 1 - m.

    Returns
    -------
    float or ndarray (...)
        g, in the unit of the learning rate; 0 for the full batch. Arguments broadcast.

    Raises
    ------
    ValueError
        If an argument is out of its range, not finite or, for the two sizes, not an integer, or if
        the shapes do not broadcast.

    References
    ----------
    Smith & Le (2018), equation 13 and appendix D.

    Notes
    -----
    Batches are drawn without replacement within a step, where the covariance of the batch mean is
    :math:`C(1/B - 1/N)` with the N - 1 denominator in C. With replacement -1 has to be dropped.

    Examples
    --------
    >>> from theory.noise_scale import noise_scale
    >>> float(noise_scale(0.1, 1000, 100))
    0.9
    >>> noise_scale(0.1, 1000, [10, 100, 1000], 0.9).round(9)
    array([99.,  9.,  0.])
    """
    N, B = _sizes(train_size, batch_size)
    rate = _effective_rate(learning_rate, momentum, dampened=dampened)
    check_broadcast(learning_rate=rate, train_size=N, batch_size=B)
    return np.asarray(rate * (N / B - 1.0))[()]


def batch_size_for_noise_scale(
    noise_scale: ArrayLike,
    learning_rate: ArrayLike,
    train_size: ArrayLike,
    momentum: ArrayLike = 0.0,
    *,
    dampened: bool = False,
) -> Array:
    r"""Batch size of a given noise scale, :math:`B = N / (1 + g(1-m)/\epsilon)`.

    Parameters
    ----------
    noise_scale : array_like (...)
        g, from 0 (the full batch) to :math:`(N-1)\epsilon/(1-m)` (one example).
    learning_rate, train_size, momentum, dampened
        As in :func:`noise_scale`.

    Returns
    -------
    float or ndarray (...)
        B, a real number in [1, N]: round it as you like.

    Raises
    ------
    ValueError
        As :func:`noise_scale`, or if g is beyond what one example gives.

    References
    ----------
    Smith & Le (2018), equation 13 and appendix D, solved for B.

    Examples
    --------
    >>> from theory.noise_scale import batch_size_for_noise_scale
    >>> round(float(batch_size_for_noise_scale(0.9, 0.1, 1000)), 9)
    100.0
    """
    g, N = _non_negative("noise_scale", noise_scale), counts("train_size", train_size)
    rate = _effective_rate(learning_rate, momentum, dampened=dampened)
    check_broadcast(noise_scale=g, learning_rate=rate, train_size=N)
    limit = rate * (N - 1.0)
    if np.any(g > limit * (1.0 + _ROUNDING)):
        raise ValueError(
            f"noise_scale must be at most (N - 1) learning_rate / (1 - momentum), which one "
            f"example gives; got {_shown(g)} against {_shown(limit)}"
        )
    return np.asarray(np.maximum(N / (1.0 + g / rate), 1.0))[()]


def learning_rate_for_noise_scale(
    noise_scale: ArrayLike,
    train_size: ArrayLike,
    batch_size: ArrayLike,
    momentum: ArrayLike = 0.0,
    *,
    dampened: bool = False,
) -> Array:
    r"""Learning rate of a given noise scale, :math:`\epsilon = g(1-m) / (N/B - 1)`.

    Parameters
    ----------
    noise_scale : array_like (...)
        g, positive.
    train_size, batch_size, momentum, dampened
        As in :func:`noise_scale`, but B below N: the full batch has the noise scale 0 at every
        learning rate.

    Returns
    -------
    float or ndarray (...)
        :math:`\epsilon`.

    Raises
    ------
    ValueError
        As :func:`noise_scale`, or if g is not positive or B is N.

    References
    ----------
    Smith & Le (2018), equation 13 and appendix D, solved for the learning rate.

    Examples
    --------
    >>> from theory.noise_scale import learning_rate_for_noise_scale
    >>> round(float(learning_rate_for_noise_scale(0.9, 1000, 100)), 9)
    0.1
    """
    g, (N, B) = positive_array("noise_scale", noise_scale), _noisy_sizes(train_size, batch_size)
    gain = _gain(momentum, dampened=dampened)
    check_broadcast(noise_scale=g, train_size=N, batch_size=B, momentum=gain)
    return np.asarray(g / (gain * (N / B - 1.0)))[()]


def momentum_for_noise_scale(
    noise_scale: ArrayLike,
    learning_rate: ArrayLike,
    train_size: ArrayLike,
    batch_size: ArrayLike,
) -> Array:
    r"""Heavy-ball momentum of a given noise scale, :math:`m = 1 - \epsilon(N/B - 1)/g`.

    Parameters
    ----------
    noise_scale : array_like (...)
        g, at least that of the same settings without momentum.
    learning_rate, train_size, batch_size
        As in :func:`noise_scale`, but B below N: the full batch has the noise scale 0 at every
        momentum.

    Returns
    -------
    float or ndarray (...)
        m in [0, 1).

    Raises
    ------
    ValueError
        As :func:`noise_scale`, or if B is N or the momentum would leave [0, 1).

    References
    ----------
    Smith & Le (2018), appendix D, solved for the momentum.

    Examples
    --------
    >>> from theory.noise_scale import momentum_for_noise_scale
    >>> round(float(momentum_for_noise_scale(9.0, 0.1, 1000, 100)), 9)
    0.9
    """
    g, rate = positive_array("noise_scale", noise_scale), _learning_rate(learning_rate)
    N, B = _noisy_sizes(train_size, batch_size)
    check_broadcast(noise_scale=g, learning_rate=rate, train_size=N, batch_size=B)
    plain = rate * (N / B - 1.0)
    m = np.asarray(1.0 - plain / np.maximum(g, plain))
    if np.any(g < plain * (1.0 - _ROUNDING)) or np.any(m == 1.0):
        raise ValueError(
            f"noise_scale must be at least {_shown(plain)}, its value without momentum, and finite "
            f"beside it, for a momentum in [0, 1); got {_shown(g)}"
        )
    return m[()]


def svag(learning_rate: float, refinement: int) -> SVAGStep:
    r"""Set up the scheme that turns SGD into its SDE without changing the SDE.

    A step :math:`\epsilon/l` along :math:`\frac{1+\sqrt{2l-1}}2 g_1 + \frac{1-\sqrt{2l-1}}2 g_2`,
    with gradients of two independent batches. The coefficients add up to 1 and their squares to l,
    so that l small steps have the drift and the noise of one step of SGD; as l grows the
    discretization vanishes and nothing else. If training changes with l, SGD was not its SDE.

    Parameters
    ----------
    learning_rate : float
        :math:`\epsilon`, positive.
    refinement : int
        l, at least 1; 1 is SGD.

    Returns
    -------
    SVAGStep
        Learning rate and the two coefficients.

    Raises
    ------
    ValueError
        If an argument is out of its range or not finite.

    References
    ----------
    Li, Malladi & Arora, "On the validity of modeling SGD with stochastic differential equations"
    (2021).

    Examples
    --------
    >>> from theory.noise_scale import svag
    >>> svag(0.5, 5)
    SVAGStep(learning_rate=0.1, first=2.0, second=-1.0)
    """
    rate = positive_number("learning_rate", learning_rate)
    root = (2.0 * positive_integer("refinement", refinement) - 1.0) ** 0.5
    return SVAGStep(rate / refinement, (1.0 + root) / 2.0, (1.0 - root) / 2.0)


def counts(name: str, value: ArrayLike) -> Array:
    """Return integers of at least 1 as a float64 array, or raise ValueError."""
    array = finite_array(name, value)
    if np.any(array < 1.0) or np.any(array != np.floor(array)):
        raise ValueError(f"{name} must be an integer of at least 1, got {_shown(array)}")
    return array


def batch_within(name: str, value: int, train_size: int) -> int:
    """Return a batch size from 1 to ``train_size``, or raise ValueError."""
    if positive_integer(name, value) > train_size:
        raise ValueError(f"{name} must be at most train_size {train_size}, got {value}")
    return int(value)


def _sizes(train_size: ArrayLike, batch_size: ArrayLike) -> tuple[Array, Array]:
    """Return N and B as float64 arrays of integers with 1 ≤ B ≤ N, or raise ValueError."""
    N, B = counts("train_size", train_size), counts("batch_size", batch_size)
    check_broadcast(train_size=N, batch_size=B)
    if np.any(B > N):
        raise ValueError(
            f"batch_size must be at most train_size, got {_shown(B)} against {_shown(N)}"
        )
    return N, B


def _noisy_sizes(train_size: ArrayLike, batch_size: ArrayLike) -> tuple[Array, Array]:
    N, B = _sizes(train_size, batch_size)
    if np.any(B == N):
        raise ValueError(
            f"batch_size must be below train_size, got {_shown(B)} of {_shown(N)}: the full batch "
            f"has no noise"
        )
    return N, B


def _effective_rate(learning_rate: ArrayLike, momentum: ArrayLike, *, dampened: bool) -> Array:
    """Return ε / (1 - m), the distance per unit of a lasting gradient; ε when dampened."""
    rate, gain = _learning_rate(learning_rate), _gain(momentum, dampened=dampened)
    check_broadcast(learning_rate=rate, momentum=gain)
    return np.asarray(rate * gain)


def _gain(momentum: ArrayLike, *, dampened: bool) -> Array:
    m = finite_array("momentum", momentum)
    if np.any(m < 0.0) or np.any(m >= 1.0):
        raise ValueError(f"momentum must be in [0, 1), got {_shown(m)}")
    return np.ones_like(m) if dampened else 1.0 / (1.0 - m)


def _learning_rate(value: ArrayLike) -> Array:
    return positive_array("learning_rate", value)


def _non_negative(name: str, value: ArrayLike) -> Array:
    array = finite_array(name, value)
    if np.any(array < 0.0):
        raise ValueError(f"{name} must not be negative, got {_shown(array)}")
    return array


def check_broadcast(**arrays: Array) -> None:
    """Raise ValueError, naming the arguments, if arrays do not broadcast against each other."""
    try:
        np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise ValueError(f"shapes do not broadcast: {shapes}") from None


def _shown(array: Array) -> str:
    return np.array2string(array, threshold=6, edgeitems=2, separator=", ")
