r"""Scaling rules as plans: new settings, what becomes of the noise scale, and warnings in numbers.

Every rule here is a limit. Its plan does the arithmetic exactly, and ``warnings`` say where a
quantity that the rule takes for small is above a tenth, and what that changes.
"""

from __future__ import annotations

from dataclasses import dataclass

from theory._noise_scale_settings import (
    batch_within,
    learning_rate_for_noise_scale,
    noise_scale,
)
from theory._validation import decay, number, positive_integer, positive_number

_SMALL = 0.1 * (1.0 + 1e-9)  # what a limit may neglect without a warning: a tenth, and rounding


@dataclass(frozen=True)
class SGDPlan:
    """New settings of SGD.

    Attributes
    ----------
    learning_rate, batch_size, momentum
        To use from now on.
    noise_scale_before, noise_scale_after : float
        Of the old and of the new settings.
    warnings : tuple of str
        What takes the plan out of the rule's range, with numbers; empty inside.
    """

    learning_rate: float
    batch_size: int
    momentum: float
    noise_scale_before: float
    noise_scale_after: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class AdamPlan:
    """New settings of Adam, or of RMSprop where ``beta1`` is None.

    Attributes
    ----------
    learning_rate, batch_size, beta1, beta2, epsilon
        To use from now on.
    warnings : tuple of str
        What takes the plan out of the rule's range, with numbers; empty inside.
    """

    learning_rate: float
    batch_size: int
    beta1: float | None
    beta2: float
    epsilon: float
    warnings: tuple[str, ...]


def linear_scaling(
    learning_rate: float,
    batch_size: int,
    new_batch_size: int,
    *,
    train_size: int,
    momentum: float = 0.0,
    new_momentum: float | None = None,
    max_curvature: float | None = None,
) -> SGDPlan:
    r"""Change the batch size at constant :math:`\epsilon / (B(1-m))`: the linear scaling rule.

    :math:`\epsilon' = \epsilon\,\frac{B'}{B}\,\frac{1-m'}{1-m}` keeps the distance traveled per
    epoch under a lasting gradient. The noise scale is kept for :math:`B, B' \ll N` only: it changes
    by the factor :math:`(N - B')/(N - B)`.

    Parameters
    ----------
    learning_rate : float
        :math:`\epsilon` of the mean loss.
    batch_size, new_batch_size : int
        B and B', from 1 to N.
    train_size : int
        N.
    momentum : float, default 0
        m, heavy ball, in [0, 1).
    new_momentum : float, optional
        m'; m if omitted.
    max_curvature : float, optional
        Largest eigenvalue h of the mean loss's Hessian, to check the new rate against the
        heavy ball's stability limit :math:`\epsilon h < 2(1+m)`.

    Returns
    -------
    SGDPlan
        With a warning where a batch is above N / 10; where :math:`f = \epsilon'h/(2(1+m'))` is
        above a tenth, since the stationary variance along h is 1 / (1 - f) of the SDE's; and where
        the velocity, starting from zero, needs :math:`1/(1-m')` steps that are over an epoch.

    Raises
    ------
    ValueError
        If an argument is out of its range, not finite, or not a number.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD" (2017); Smith, Kindermans, Ying & Le, "Don't decay
    the learning rate, increase the batch size" (2018), for momentum and its start-up.

    Examples
    --------
    >>> from theory.noise_scale import linear_scaling
    >>> plan = linear_scaling(0.1, 100, 200, train_size=1000)
    >>> plan.learning_rate, round(plan.noise_scale_before, 6), round(plan.noise_scale_after, 6)
    (0.2, 0.9, 0.8)
    >>> plan.warnings
    ('batch 200 is 20% of train_size 1000: the noise scale changes by -11.1%',)
    """
    m_new = momentum if new_momentum is None else decay("new_momentum", new_momentum)
    g = single_noise_scale(learning_rate, train_size, batch_size, momentum)
    batch_within("new_batch_size", new_batch_size, train_size)
    rate = learning_rate * (new_batch_size / batch_size) * ((1.0 - m_new) / (1.0 - momentum))
    return SGDPlan(
        learning_rate=rate,
        batch_size=new_batch_size,
        momentum=m_new,
        noise_scale_before=g,
        noise_scale_after=single_noise_scale(rate, train_size, new_batch_size, m_new),
        warnings=size_warning(batch_size, new_batch_size, train_size)
        + _curvature_warning(rate, m_new, max_curvature)
        + startup_warning(new_batch_size, train_size, m_new),
    )


def constant_noise_scaling(
    learning_rate: float,
    batch_size: int,
    new_batch_size: int,
    *,
    train_size: int,
    momentum: float = 0.0,
    new_momentum: float | None = None,
    max_curvature: float | None = None,
) -> SGDPlan:
    r"""Change the batch size at constant noise scale, exactly.

    :math:`\epsilon' = g(1-m')/(N/B' - 1)`, the linear rule's rate times
    :math:`(N - B)/(N - B')`.

    Parameters
    ----------
    learning_rate, batch_size, new_batch_size, train_size, momentum, new_momentum, max_curvature
        As in :func:`linear_scaling`, but both batches below N: the full batch has no noise.

    Returns
    -------
    SGDPlan
        With warnings as :func:`linear_scaling`; above N / 10 the warning says how far the rate, and
        with it the distance traveled per epoch, leaves the linear rule.

    Raises
    ------
    ValueError
        As :func:`linear_scaling`, or if a batch size is N.

    References
    ----------
    Smith & Le (2018), equation 13 and appendix D.

    Examples
    --------
    >>> from theory.noise_scale import constant_noise_scaling
    >>> plan = constant_noise_scaling(0.1, 100, 200, train_size=1000)
    >>> round(plan.learning_rate, 9), round(plan.noise_scale_after, 9)
    (0.225, 0.9)
    """
    m_new = momentum if new_momentum is None else decay("new_momentum", new_momentum)
    g = single_noise_scale(learning_rate, train_size, batch_size, momentum)
    batch_within("new_batch_size", new_batch_size, train_size)
    for name, size in (("batch_size", batch_size), ("new_batch_size", new_batch_size)):
        if size == train_size:
            raise ValueError(
                f"{name} must be below train_size {train_size}: the full batch has no noise"
            )
    rate = float(learning_rate_for_noise_scale(g, train_size, new_batch_size, m_new))
    return SGDPlan(
        learning_rate=rate,
        batch_size=new_batch_size,
        momentum=m_new,
        noise_scale_before=g,
        noise_scale_after=single_noise_scale(rate, train_size, new_batch_size, m_new),
        warnings=_linearity_warning(batch_size, new_batch_size, train_size)
        + _curvature_warning(rate, m_new, max_curvature)
        + startup_warning(new_batch_size, train_size, m_new),
    )


def square_root_scaling(
    learning_rate: float,
    batch_size: int,
    new_batch_size: int,
    *,
    beta1: float | None = None,
    beta2: float,
    epsilon: float,
    gradient_noise_scale: float | None = None,
) -> AdamPlan:
    r"""Change the batch size of Adam or RMSprop: the square-root scaling rule.

    With :math:`\kappa = B'/B`: :math:`\eta\sqrt\kappa`, :math:`1-\beta \to \kappa(1-\beta)` for
    both averages, :math:`\epsilon/\sqrt\kappa`.

    Parameters
    ----------
    learning_rate : float
        :math:`\eta`.
    batch_size, new_batch_size : int
        B and B'.
    beta1 : float, optional
        Decay of the gradient average, in [0, 1); None for RMSprop.
    beta2 : float
        Decay of the average of squares, in [0, 1).
    epsilon : float
        Added to the root of the average of squares; not negative.
    gradient_noise_scale : float, optional
        :math:`B_\text{simple}` (:func:`simple_noise_scale`), to check that noise dominates.

    Returns
    -------
    AdamPlan
        With a warning where an average spans less than ten steps, and where a batch is above a
        tenth of ``gradient_noise_scale``.

    Raises
    ------
    ValueError
        If an argument is out of its range or not finite, or a new decay would leave [0, 1).

    References
    ----------
    Malladi, Lyu, Panigrahi & Arora, "On the SDEs and scaling rules for adaptive gradient
    algorithms" (2022).

    Notes
    -----
    Where noise dominates, the average of squares is :math:`v \approx \sigma^2/B`, and a step
    :math:`-\eta\,\hat G/(\sqrt v + \epsilon)` has drift :math:`\eta\sqrt B\,G/\sigma` and variance
    :math:`\eta^2`, which is therefore the SDE's time per step. The drift per unit time,
    :math:`\sqrt B\,G/(\eta\sigma)`, stays if :math:`\eta \propto \sqrt B`; a step then lasts
    :math:`\kappa` times as long, so the averages' memory :math:`1/(1-\beta)`, in steps, shrinks by
    :math:`\kappa`; and :math:`\epsilon` keeps its ratio to :math:`\sqrt v \propto 1/\sqrt B`.

    Examples
    --------
    >>> from theory.noise_scale import square_root_scaling
    >>> plan = square_root_scaling(1e-3, 256, 1024, beta2=0.99, epsilon=1e-8)
    >>> plan.learning_rate, round(plan.beta2, 9), plan.epsilon, plan.warnings
    (0.002, 0.96, 5e-09, ())
    """
    positive_number("learning_rate", learning_rate)
    positive_integer("batch_size", batch_size)
    positive_integer("new_batch_size", new_batch_size)
    if number("epsilon", epsilon) < 0.0:
        raise ValueError(f"epsilon must not be negative, got {epsilon}")
    ratio = new_batch_size / batch_size
    new_beta1 = None if beta1 is None else _scaled_decay("beta1", beta1, ratio)
    new_beta2 = _scaled_decay("beta2", beta2, ratio)
    return AdamPlan(
        learning_rate=learning_rate * ratio**0.5,
        batch_size=new_batch_size,
        beta1=new_beta1,
        beta2=new_beta2,
        epsilon=epsilon / ratio**0.5,
        warnings=_memory_warning("beta1", new_beta1)
        + _memory_warning("beta2", new_beta2)
        + _signal_warning(batch_size, new_batch_size, gradient_noise_scale),
    )


def single_noise_scale(
    learning_rate: float, train_size: int, batch_size: int, momentum: float
) -> float:
    """Return the noise scale of one setting, or raise ValueError."""
    positive_number("learning_rate", learning_rate)
    positive_integer("train_size", train_size)
    batch_within("batch_size", batch_size, train_size)
    decay("momentum", momentum)
    return float(noise_scale(learning_rate, train_size, batch_size, momentum))


def size_warning(batch_size: int, new_batch_size: int, train_size: int) -> tuple[str, ...]:
    """Warn where the linear rule takes batches for a small part of the data, and they are not."""
    share = _large_share(batch_size, new_batch_size, train_size)
    if not share:
        return ()
    if batch_size == train_size:
        return (f"{share}: the noise scale rises from zero",)
    change = (batch_size - new_batch_size) / (train_size - batch_size)
    return (f"{share}: the noise scale changes by {change:+.1%}",)


def startup_warning(batch_size: int, train_size: int, momentum: float) -> tuple[str, ...]:
    """Warn where the velocity takes over an epoch to fill.

    Under a constant gradient the position lags m / (1 - m) updates behind for good.
    """
    epochs = batch_size / (train_size * (1.0 - momentum))
    if momentum == 0.0 or epochs <= 1.0 + 1e-9:
        return ()
    return (
        f"momentum {momentum:g} at batch {batch_size} fills its velocity in "
        f"{1.0 / (1.0 - momentum):.4g} updates, {epochs:.3g} epochs: from rest, progress lags "
        f"{momentum / (1.0 - momentum):.4g} updates behind",
    )


def _linearity_warning(batch_size: int, new_batch_size: int, train_size: int) -> tuple[str, ...]:
    share = _large_share(batch_size, new_batch_size, train_size)
    if not share:
        return ()
    change = (new_batch_size - batch_size) / (train_size - new_batch_size)
    return (f"{share}: the learning rate is {change:+.1%} off the linear rule's",)


def _large_share(batch_size: int, new_batch_size: int, train_size: int) -> str:
    """Say what part of the data the larger batch is; nothing if it is small or none changes."""
    largest = max(batch_size, new_batch_size)
    if largest <= _SMALL * train_size or new_batch_size == batch_size:
        return ""
    return f"batch {largest} is {largest / train_size:.0%} of train_size {train_size}"


def _curvature_warning(
    learning_rate: float, momentum: float, max_curvature: float | None
) -> tuple[str, ...]:
    """Compare ε h with the heavy ball's limit; the SDE knows only its small end."""
    if max_curvature is None:
        return ()
    product = learning_rate * positive_number("max_curvature", max_curvature)
    limit = 2.0 * (1.0 + momentum)
    share = product / limit
    if share <= _SMALL:
        return ()
    at = f"learning_rate {learning_rate:g} times max_curvature {max_curvature:g} is {product:.3g}"
    if share >= 1.0:
        return (f"{at}, not below the stability limit {limit:.3g}: training diverges",)
    return (
        f"{at}, {share:.0%} of the stability limit {limit:.3g}: the stationary variance along that "
        f"direction is {share / (1.0 - share):.0%} above what the noise scale says",
    )


def _memory_warning(name: str, beta: float | None) -> tuple[str, ...]:
    if beta is None or 1.0 - beta <= _SMALL:
        return ()
    return (f"{name} becomes {beta:.4g}: an average over {1.0 / (1.0 - beta):.3g} steps is short",)


def _signal_warning(
    batch_size: int, new_batch_size: int, gradient_noise_scale: float | None
) -> tuple[str, ...]:
    """Warn where the average of squares, σ²/B + G², is not all noise."""
    if gradient_noise_scale is None:
        return ()
    noise = positive_number("gradient_noise_scale", gradient_noise_scale)
    old, new = batch_size / noise, new_batch_size / noise
    if max(old, new) <= _SMALL:
        return ()
    change = ((1.0 + old) / (1.0 + new)) ** 0.5 - 1.0
    return (
        f"batch {max(batch_size, new_batch_size)} is {max(old, new):.2g} of the gradient noise "
        f"scale {noise:g}: signal in the average of squares changes the steps by "
        f"{change:+.1%} against the rule",
    )


def _scaled_decay(name: str, beta: float, ratio: float) -> float:
    forgotten = ratio * (1.0 - decay(name, beta))
    if forgotten > 1.0 + 1e-12:
        raise ValueError(
            f"{name} {beta:g} would become {1.0 - forgotten:g}, outside [0, 1): a batch "
            f"{ratio:g} times as large needs {name} of at least {1.0 - 1.0 / ratio:.6g}"
        )
    return max(1.0 - forgotten, 0.0)
