"""SGD as a diffusion: its modified equations, sampling a posterior with it, and its temperature."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory._noise_scale_escape import (
    basin_log_odds,
    critical_temperature,
    kramers_time,
    mean_passage_time,
)
from theory._noise_scale_modes import positive_modes
from theory._noise_scale_settings import noise_scale
from theory._validation import (
    Array,
    decay,
    finite_array,
    positive_array,
    positive_integer,
    semidefinite_array,
    symmetric_array,
)

__all__ = [
    "basin_log_odds",
    "critical_temperature",
    "kramers_time",
    "mean_passage_time",
    "modified_diffusion",
    "modified_drift",
    "sampling_learning_rate",
    "sampling_preconditioner",
    "sgd_temperature",
]


def modified_drift(
    gradient: ArrayLike, hessian: ArrayLike, learning_rate: ArrayLike, *, order: int = 2
) -> Array:
    r"""Drift of the diffusion that follows SGD to weak order 1 or 2 in the learning rate.

    In :math:`d\omega = b\,dt + \Sigma\,dW`, one step of SGD takes the time :math:`\epsilon`. To
    order 1, :math:`b = -\nabla L`; to order 2, :math:`b = -\nabla(L + \frac\epsilon4|\nabla L|^2)
    = -(I + \frac\epsilon2 H)\nabla L`.

    Parameters
    ----------
    gradient : array_like (..., P)
        Of the mean loss.
    hessian : array_like (..., P, P)
        Of the mean loss; not needed but checked at order 1.
    learning_rate : array_like (...)
        :math:`\epsilon`, positive; broadcasts against the leading axes.
    order : {2, 1}
        Weak order of the equation.

    Returns
    -------
    ndarray (..., P)
        b, per unit of time.

    Raises
    ------
    ValueError
        If the order is neither 1 nor 2, the Hessian is not symmetric, shapes do not fit, or the
        rate is not positive.

    References
    ----------
    Li, Tai & E, "Stochastic modified equations and dynamics of stochastic gradient algorithms I"
    (2019), theorem 9 (number from memory; formula derived).

    Examples
    --------
    >>> from theory.noise_scale import modified_drift
    >>> modified_drift([1.0, 2.0], [[1.0, 0.0], [0.0, 3.0]], 0.2)
    array([-1.1, -2.6])
    """
    if isinstance(order, bool) or order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order!r}")
    g, H = finite_array("gradient", gradient), symmetric_array("hessian", hessian)
    rate = positive_array("learning_rate", learning_rate)
    if g.ndim == 0 or g.shape[-1] != H.shape[-1]:
        raise ValueError(f"gradient {g.shape} and hessian {H.shape} do not fit")
    _check_leading(gradient=g.shape[:-1], hessian=H.shape[:-2], learning_rate=rate.shape)
    correction = 0.5 * rate[..., None] * (H @ g[..., None])[..., 0]
    return -g if order == 1 else np.asarray(-g - correction)


def modified_diffusion(covariance: ArrayLike, learning_rate: ArrayLike) -> Array:
    r"""Diffusion matrix that goes with :func:`modified_drift`, at either order.

    :math:`\Sigma = \sqrt\epsilon\, C^{1/2}`, with the symmetric square root of the covariance of
    the minibatch mean gradient.

    Parameters
    ----------
    covariance : array_like (..., P, P)
        C, positive semidefinite.
    learning_rate : array_like (...)
        :math:`\epsilon`, positive; broadcasts against the leading axes.

    Returns
    -------
    ndarray (..., P, P)
        :math:`\Sigma`, symmetric and positive semidefinite.

    Raises
    ------
    ValueError
        If C is not symmetric and semidefinite, the rate is not positive, or shapes do not fit.

    References
    ----------
    Li, Tai & E (2019) (derived).

    Examples
    --------
    >>> from theory.noise_scale import modified_diffusion
    >>> modified_diffusion([[4.0, 0.0], [0.0, 9.0]], 0.25)
    array([[1. , 0. ],
           [0. , 1.5]])
    """
    C = semidefinite_array("covariance", covariance)
    rate = positive_array("learning_rate", learning_rate)
    _check_leading(covariance=C.shape[:-2], learning_rate=rate.shape)
    eigenvalues, vectors = np.linalg.eigh(C)
    widths = np.sqrt(np.maximum(eigenvalues, 0.0))[..., None, :]
    root = (vectors * widths) @ vectors.swapaxes(-1, -2)
    return np.asarray(np.sqrt(rate)[..., None, None] * root)


def sampling_learning_rate(
    gradient_covariance: ArrayLike, train_size: int, batch_size: int, momentum: float = 0.0
) -> float:
    r"""Constant learning rate at which SGD best samples the posterior :math:`\exp(-N L)`.

    :math:`\epsilon^* = \frac{2(1-m)BP}{N\operatorname{tr}C}` minimizes the Kullback-Leibler
    divergence of the diffusion's stationary law from the posterior at a minimum, whatever its
    Hessian.

    Parameters
    ----------
    gradient_covariance : array_like (P, P)
        C over *examples*; the minibatch mean has C/B (sampling with replacement, or B ≪ N).
    train_size, batch_size : int
        N and :math:`1 \le B \le N`.
    momentum : float, default 0
        m in [0, 1), heavy ball.

    Returns
    -------
    float
        :math:`\epsilon^*`.

    Raises
    ------
    ValueError
        If C is not symmetric and semidefinite or is zero, or a number is out of range.

    References
    ----------
    Mandt, Hoffman & Blei, "Stochastic gradient descent as approximate Bayesian inference" (2017)
    (derived).

    Examples
    --------
    >>> from theory.noise_scale import sampling_learning_rate
    >>> sampling_learning_rate([[3.0, 0.0], [0.0, 1.0]], train_size=100, batch_size=5)
    0.05
    """
    C = semidefinite_array("gradient_covariance", gradient_covariance, ndim=2)
    trace = float(np.trace(C))
    if trace <= 0.0:
        raise ValueError("gradient_covariance is zero: without noise SGD does not sample")
    return 2.0 * _noise_allowance(train_size, batch_size, momentum) * len(C) / trace


def sampling_preconditioner(
    gradient_covariance: ArrayLike,
    learning_rate: float,
    train_size: int,
    batch_size: int,
    momentum: float = 0.0,
) -> Array:
    r"""Preconditioner with which SGD samples the posterior :math:`\exp(-N L)` at a minimum.

    :math:`G = \frac{2(1-m)B}{\epsilon N} C^{-1}` in :math:`\omega \leftarrow \omega -
    \epsilon G \nabla`. The diffusion's stationary law is then exactly the posterior.

    Parameters
    ----------
    gradient_covariance : array_like (P, P)
        C over *examples*, positive definite; the minibatch mean has C/B.
    learning_rate : float
        :math:`\epsilon`, positive. Only :math:`\epsilon G` matters.
    train_size, batch_size : int
        N and :math:`1 \le B \le N`.
    momentum : float, default 0
        m in [0, 1), heavy ball.

    Returns
    -------
    ndarray (P, P)
        G.

    Raises
    ------
    ValueError
        If C is not symmetric and positive definite or a number is out of range.

    References
    ----------
    Mandt, Hoffman & Blei (2017) (derived).

    Examples
    --------
    >>> from theory.noise_scale import sampling_preconditioner
    >>> sampling_preconditioner([[4.0, 0.0], [0.0, 1.0]], 0.1, train_size=100, batch_size=5)
    array([[0.25, 0.  ],
           [0.  , 1.  ]])
    """
    c, vectors = positive_modes("gradient_covariance", gradient_covariance)
    rate = float(positive_array("learning_rate", learning_rate, ndim=0))
    strength = 2.0 * _noise_allowance(train_size, batch_size, momentum) / rate
    return np.asarray(strength * (vectors / c) @ vectors.T)


def sgd_temperature(
    learning_rate: ArrayLike,
    train_size: ArrayLike,
    batch_size: ArrayLike,
    gradient_variance: ArrayLike,
    momentum: ArrayLike = 0.0,
) -> Array:
    r"""Temperature of SGD whose gradient noise is isotropic, :math:`T = g f/2`.

    Smith & Le's :math:`d\omega/dt = -\nabla C + \eta` with :math:`\langle\eta\eta^\top\rangle =
    g f I\,\delta(t-t')` is the Langevin equation at this temperature: its law is
    :math:`\exp(-C/T)`. C is the **summed** cost; the mean loss L = C/N has the law
    :math:`\exp(-L/T_L)` with :math:`T_L = T/N = \frac{\epsilon f}{2(1-m)}(\frac1B - \frac1N)`.

    Parameters
    ----------
    learning_rate : array_like (...)
        :math:`\epsilon` of the mean loss, positive.
    train_size, batch_size : array_like of int (...)
        N and :math:`1 \le B \le N`.
    gradient_variance : array_like (...)
        f, the variance over examples of each component of the gradient, not negative.
    momentum : array_like (...), default 0
        m in [0, 1), heavy ball.

    Returns
    -------
    float or ndarray (...)
        T; at T = 1, where g f = 2, minima are occupied by their Bayesian evidence.

    Raises
    ------
    ValueError
        If an argument is out of range or shapes do not broadcast.

    References
    ----------
    Smith & Le (2018), equation 13 and appendix A (derived).

    Examples
    --------
    >>> from theory.noise_scale import sgd_temperature
    >>> float(sgd_temperature(0.1, 1000, 100, gradient_variance=2.0))
    0.9
    """
    variance = finite_array("gradient_variance", gradient_variance)
    if np.any(variance < 0.0):
        raise ValueError(f"gradient_variance must not be negative, got {variance.min():g}")
    g = np.asarray(noise_scale(learning_rate, train_size, batch_size, momentum))
    _check_leading(noise_scale=g.shape, gradient_variance=variance.shape)
    return np.asarray(0.5 * g * variance)[()]


def _noise_allowance(train_size: int, batch_size: int, momentum: float) -> float:
    """Return (1 - m) B / N, the rate at which noise of unit variance has temperature 1/2."""
    N, B = positive_integer("train_size", train_size), positive_integer("batch_size", batch_size)
    if B > N:
        raise ValueError(f"batch_size must be at most train_size, got {B} against {N}")
    return (1.0 - decay("momentum", momentum)) * B / N


def _check_leading(**shapes: tuple[int, ...]) -> None:
    """Raise ValueError unless the leading axes broadcast."""
    try:
        np.broadcast_shapes(*shapes.values())
    except ValueError:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise ValueError(f"leading axes do not broadcast: {listed}") from None
