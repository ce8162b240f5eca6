"""Schedules: a gradual warm-up, and batch growth in place of learning-rate decay."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory._noise_scale_plans import size_warning, startup_warning
from theory._noise_scale_settings import (
    batch_within,
    counts,
    noise_scale,
)
from theory._validation import (
    Array,
    decay,
    finite_array,
    number,
    positive_array,
    positive_integer,
    positive_number,
)


@dataclass(frozen=True, eq=False)
class BatchSchedule:
    """A schedule in which batch size and learning rate have changed roles; one entry a phase.

    Attributes
    ----------
    batch_sizes : ndarray of int (T,)
    learning_rates : ndarray (T,)
        To use in each phase.
    noise_scales_before, noise_scales_after : ndarray (T,)
        Of the given schedule and of this one.
    warnings : tuple of str
        What takes the schedule out of the rule's range, with numbers; empty inside.
    """

    batch_sizes: NDArray[np.int64]
    learning_rates: Array
    noise_scales_before: Array
    noise_scales_after: Array
    warnings: tuple[str, ...]


def gradual_warmup(learning_rate: float, scale: float, warmup_steps: int, steps: int) -> Array:
    r"""Learning rates of a gradual warm-up, one for each step.

    Step :math:`t = 0, 1, \dots` uses
    :math:`\frac\epsilon s + (\epsilon - \frac\epsilon s)\min(1, t/T)`: the first step the small
    batch's rate, step T (the one after the T warm-up steps) and all later ones the full rate.

    Parameters
    ----------
    learning_rate : float
        :math:`\epsilon`, the rate after the warm-up.
    scale : float
        :math:`s \ge 1`: the factor by which a scaling rule has raised the rate.
    warmup_steps : int
        T; 0 for none.
    steps : int
        Length of the schedule, which may end within the warm-up.

    Returns
    -------
    ndarray (steps,)

    Raises
    ------
    ValueError
        If an argument is out of its range or not finite.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD" (2017), section 2.2 (number from memory).

    Examples
    --------
    >>> from theory.noise_scale import gradual_warmup
    >>> gradual_warmup(0.8, 4.0, 3, 5)
    array([0.2, 0.4, 0.6, 0.8, 0.8])
    """
    positive_number("learning_rate", learning_rate)
    if number("scale", scale) < 1.0:
        raise ValueError(f"scale must be at least 1, got {scale}")
    positive_integer("warmup_steps", warmup_steps, minimum=0)
    done = np.minimum(np.arange(positive_integer("steps", steps)) / max(warmup_steps, 1), 1.0)
    if warmup_steps == 0:
        done[:] = 1.0
    start = learning_rate / scale
    return np.where(done < 1.0, start + (learning_rate - start) * done, learning_rate)


def grow_batch_instead(
    learning_rates: ArrayLike,
    batch_size: int,
    *,
    train_size: int,
    momentum: float = 0.0,
    max_batch_size: int | None = None,
) -> BatchSchedule:
    r"""Replace the decay of the learning rate by growth of the batch.

    :math:`B_t = B\,\epsilon_0/\epsilon_t`, rounded and capped, and then the rate
    :math:`\epsilon_t B_t / B`: :math:`\epsilon_0` where neither bites, and otherwise what keeps
    :math:`\epsilon/B` all the same. Phases keep their number of *epochs*; the number of updates
    falls as the batch grows.

    Parameters
    ----------
    learning_rates : array_like (T,)
        :math:`\epsilon_t` of each phase (epoch, stage) at the constant batch size.
    batch_size : int
        B.
    train_size : int
        N.
    momentum : float, default 0
        m, heavy ball, in [0, 1).
    max_batch_size : int, optional
        From B to N; N if omitted. Beyond it the learning rate decays after all.

    Returns
    -------
    BatchSchedule
        With a warning where batches are above N / 10, since the noise scale then falls below the
        schedule's, and where the velocity takes over an epoch to fill.

    Raises
    ------
    ValueError
        If an argument is out of its range, not finite, or of the wrong shape.

    References
    ----------
    Smith, Kindermans, Ying & Le, "Don't decay the learning rate, increase the batch size" (2018).

    Examples
    --------
    >>> from theory.noise_scale import grow_batch_instead
    >>> grown = grow_batch_instead([0.1, 0.02, 0.004], 128, train_size=50_000, max_batch_size=1280)
    >>> grown.batch_sizes, grown.learning_rates
    (array([ 128,  640, 1280]), array([0.1 , 0.1 , 0.04]))
    """
    rates = positive_array("learning_rates", learning_rates, ndim=1)
    batch_within("batch_size", batch_size, positive_integer("train_size", train_size))
    decay("momentum", momentum)
    cap = train_size
    if max_batch_size is not None:
        cap = batch_within("max_batch_size", max_batch_size, train_size)
    if cap < batch_size:
        raise ValueError(f"max_batch_size must be at least batch_size {batch_size}, got {cap}")
    grown = np.clip(np.rint(batch_size * (rates[0] / rates)), 1, cap).astype(np.int64)
    new_rates = rates * (grown / batch_size)
    return BatchSchedule(
        batch_sizes=grown,
        learning_rates=new_rates,
        noise_scales_before=noise_scale(rates, train_size, batch_size, momentum),
        noise_scales_after=noise_scale(new_rates, train_size, grown, momentum),
        warnings=size_warning(batch_size, _furthest(grown, batch_size), train_size)
        + startup_warning(int(grown.max()), train_size, momentum),
    )


def decay_rate_instead(
    learning_rate: float, batch_sizes: ArrayLike, *, train_size: int, momentum: float = 0.0
) -> BatchSchedule:
    r"""Replace growth of the batch by decay of the learning rate.

    The inverse of :func:`grow_batch_instead`: the batch stays :math:`B_0`, and
    :math:`\epsilon_t = \epsilon\,B_0/B_t`.

    Parameters
    ----------
    learning_rate : float
        :math:`\epsilon`, constant in the given schedule.
    batch_sizes : array_like of int (T,)
        :math:`B_t` of each phase.
    train_size : int
        N.
    momentum : float, default 0
        m, heavy ball, in [0, 1).

    Returns
    -------
    BatchSchedule
        With warnings as :func:`grow_batch_instead`.

    Raises
    ------
    ValueError
        If an argument is out of its range, not finite, or of the wrong shape.

    References
    ----------
    Smith, Kindermans, Ying & Le, "Don't decay the learning rate, increase the batch size" (2018).

    Examples
    --------
    >>> from theory.noise_scale import decay_rate_instead
    >>> decay_rate_instead(0.1, [128, 640, 3200], train_size=50_000).learning_rates
    array([0.1  , 0.02 , 0.004])
    """
    positive_number("learning_rate", learning_rate)
    positive_integer("train_size", train_size)
    decay("momentum", momentum)
    given = counts("batch_sizes", finite_array("batch_sizes", batch_sizes, ndim=1))
    if given.max() > train_size:
        raise ValueError(
            f"batch_sizes must be at most train_size {train_size}, got {given.max():g}"
        )
    first = int(given[0])
    rates = learning_rate * (first / given)
    return BatchSchedule(
        batch_sizes=np.full(given.shape, first),
        learning_rates=rates,
        noise_scales_before=noise_scale(learning_rate, train_size, given, momentum),
        noise_scales_after=noise_scale(rates, train_size, first, momentum),
        warnings=size_warning(_furthest(given, first), first, train_size)
        + startup_warning(first, train_size, momentum),
    )


def _furthest(batch_sizes: Array | NDArray[np.int64], batch_size: int) -> int:
    """Return the phase's batch whose noise scale changes most: by (B - B_t) / (N - B)."""
    return int(batch_sizes[np.argmax(np.abs(batch_sizes - batch_size))])
