"""SGD with noisy weights, SmoothOut's rule, on landscapes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims import _smoothout_kernels as kernels
from sims import streams
from sims._smoothout_kernels import WIDTH, Rule
from sims._threads import in_threads
from sims.streams import LANES, Rng, Words, jit
from theory._landscapes_base import check_law
from theory._validation import (
    decay,
    finite_array,
    nonnegative_number,
    positive_integer,
    positive_number,
)
from theory.landscapes import LineLandscape, SpaceLandscape

Array = NDArray[np.float64]

BLOCKS_AT_A_TIME, POINTS_AT_A_TIME = 4, 64  # one call of a kernel: long against the call itself


class Trajectories(NamedTuple):
    """Where n trajectories were at the recorded steps.

    ``steps`` (R,) counts the steps made, without the start; ``points`` is (R, n) on the line and
    (R, n, d) in space.
    """

    steps: NDArray[np.int64]
    points: Array


class FirstArrivals(NamedTuple):
    """When n trajectories first came near a target, and near which.

    ``steps`` (n,) are infinite, and ``targets`` (n,) -1, for trajectories that never did.
    """

    steps: Array
    targets: NDArray[np.int64]


def descend(
    landscape: LineLandscape | SpaceLandscape,
    start: ArrayLike,
    *,
    strength: float,
    learning_rate: float,
    steps: int,
    copies: int = 1,
    noise: str = "uniform",
    denoise: bool = True,
    momentum: float = 0.0,
    gradient_noise: float = 0.0,
    schedule: ArrayLike | None = None,
    record_every: int | None = None,
    rng: Rng = None,
    threads: int = 1,
) -> Trajectories:
    r"""Descend from n starts by gradients at noisy weights.

    Step t adds noise :math:`\theta_k`, independent for each of K copies and each coordinate, and
    takes the mean gradient :math:`g = \frac1K\sum_k \nabla C(w + \theta_k)`. Then

    .. math:: v \leftarrow \mu v + g, \qquad w \leftarrow w - \varepsilon v.

    Without de-noising the noise stays in the weights: :math:`w \leftarrow w + \theta - \varepsilon
    v`. Strength 0 is plain gradient descent.

    Parameters
    ----------
    landscape : LineLandscape or SpaceLandscape
        C. Its numbers, the number of starts and all arguments below compile nothing anew.
    start : array_like (n,) on the line, (n, d) in space
        Where each trajectory starts, at rest.
    strength : float
        In units of w: half-width a of uniform noise, or standard deviation of normal noise; 0 or
        more.
    learning_rate : float
        ε.
    steps : int
        Number of steps.
    copies : int
        K.
    noise : str
        "uniform" or "normal".
    denoise : bool
        Take the noise away before the update; if not, there is one copy.
    momentum : float
        μ in [0, 1).
    gradient_noise : float
        Standard deviation of a normal number added to each coordinate of g, in units of the
        gradient, instead of a minibatch's noise.
    schedule : array_like (steps,), optional
        Coefficients that multiply the strength, 0 or more; all 1 by default.
    record_every : int, optional
        Record after each so many steps, at most ``steps``; only the end by default.
    rng : None, int, SeedSequence or Generator
        Gives each trajectory its streams: the result for a start does not depend on those after
        it, nor the noise of the weights on ``gradient_noise``.
    threads : int
        Threads; the result does not depend on it.

    Returns
    -------
    Trajectories

    Raises
    ------
    ValueError
        If an argument is out of range, or trajectories leave the range of float64.
    TypeError
        If ``landscape`` is none, or has no kernels.

    References
    ----------
    Wen et al. (2018), arXiv:1805.07898: the stochastic form, with one copy, and the averaged one.

    Examples
    --------
    >>> from theory.landscapes import Parabola
    >>> bowl = Parabola(curvature=2.0)
    >>> exact = descend(bowl, [1.0, 2.0], strength=0.0, learning_rate=0.25, steps=3, record_every=1)
    >>> exact.steps, exact.points
    (array([1, 2, 3]), array([[0.5  , 1.   ],
           [0.25 , 0.5  ],
           [0.125, 0.25 ]]))
    >>> options = {"strength": 0.3, "learning_rate": 0.1, "steps": 200, "rng": 0}
    >>> denoised = descend(bowl, np.zeros(20_000), **options).points
    >>> noisy = descend(bowl, np.zeros(20_000), denoise=False, **options).points
    >>> float(denoised.var().round(4)), float(noisy.var().round(3))  # 1/300 and 4/75
    (0.0033, 0.053)
    """
    x = _starts(landscape, start)
    rule, strengths = _rule(
        strength, learning_rate, copies, noise, denoise, momentum, gradient_noise, schedule, steps
    )
    positive_integer("steps", steps)
    every = positive_integer("record_every", steps if record_every is None else record_every)
    if every > steps:
        raise ValueError(f"record_every is {every}, but there are only {steps} steps")
    run = _Run(landscape, rule, strengths, _seeds(rng), positive_integer("threads", threads))
    if isinstance(landscape, LineLandscape):
        points = _descend_line(run, x, steps // every, every)
    else:
        points = np.empty((len(x), steps // every, x.shape[1]))
        _follow_in_space(run, x, points, len(points[0]) * every, every)
        points = points.swapaxes(0, 1)
    _check_finite(points[-1], learning_rate)
    return Trajectories(every * np.arange(1, len(points) + 1), points)


def first_arrival(
    landscape: LineLandscape | SpaceLandscape,
    start: ArrayLike,
    *,
    targets: ArrayLike,
    radius: float,
    strength: float,
    learning_rate: float,
    max_steps: int,
    hold: int = 1,
    copies: int = 1,
    noise: str = "uniform",
    denoise: bool = True,
    momentum: float = 0.0,
    gradient_noise: float = 0.0,
    schedule: ArrayLike | None = None,
    rng: Rng = None,
    threads: int = 1,
) -> FirstArrivals:
    """Follow each trajectory of :func:`descend` until it has come near a target.

    The trajectories are those of :func:`descend` for the same ``rng``, bit for bit.

    Parameters
    ----------
    landscape, start, strength, learning_rate, copies, noise, denoise, momentum, gradient_noise
        As :func:`descend` takes them; so are ``rng`` and ``threads``.
    targets : array_like (K,) on the line, (K, d) in space
        Such as minima.
    radius : float
        Euclidean distance that counts as near. Where balls overlap the first target counts.
    max_steps : int
        Give up after so many steps.
    hold : int
        Number of points in a row, the first included, that must be near the same target.
    schedule : array_like (max_steps,), optional
        As :func:`descend` takes it.

    Returns
    -------
    FirstArrivals
        The step after which a trajectory came near and then stayed; 0 if it started there.

    Raises
    ------
    ValueError
        See :func:`descend`; also if ``targets`` do not fit the landscape.
    TypeError
        See :func:`descend`.

    Examples
    --------
    >>> from theory.landscapes import DoubleWell
    >>> wells = DoubleWell(barrier=1.0)
    >>> options = {"targets": wells.minima, "radius": 0.1, "learning_rate": 0.05, "max_steps": 999}
    >>> first_arrival(wells, [-0.5, 1.95, 0.0], strength=0.0, **options)
    FirstArrivals(steps=array([ 6.,  2., inf]), targets=array([ 0,  1, -1]))
    """
    x = _starts(landscape, start)
    rule, strengths = _rule(
        strength,
        learning_rate,
        copies,
        noise,
        denoise,
        momentum,
        gradient_noise,
        schedule,
        positive_integer("max_steps", max_steps),
    )
    positive_integer("hold", hold)
    radius = positive_number("radius", radius)
    goals = _points("targets", landscape, targets)
    run = _Run(landscape, rule, strengths, _seeds(rng), positive_integer("threads", threads))
    if isinstance(landscape, LineLandscape):
        arrivals = _arrive_on_line(run, x, max_steps, goals, radius, hold)
    else:
        nothing = np.empty((len(x), 0, x.shape[1]))
        near = (goals, radius, hold)
        arrivals = _follow_in_space(run, x, nothing, max_steps, max_steps + 1, near)
    _check_finite(x, learning_rate)
    return arrivals


# --- what is given -------------------------------------------------------------------------------


def _starts(landscape: LineLandscape | SpaceLandscape, start: ArrayLike) -> Array:
    if not isinstance(landscape, LineLandscape | SpaceLandscape):
        raise TypeError(
            f"landscape must be a LineLandscape or SpaceLandscape, got {type(landscape).__name__}"
        )
    return _points("start", landscape, start).copy()


def _points(name: str, landscape: LineLandscape | SpaceLandscape, value: ArrayLike) -> Array:
    """Return points (n,) on the line or (n, d) in space, contiguous; or raise ValueError."""
    if isinstance(landscape, LineLandscape):
        return np.ascontiguousarray(finite_array(name, value, ndim=1))
    points = np.ascontiguousarray(finite_array(name, value, ndim=2))
    if points.shape[1] != landscape.dimension:
        raise ValueError(f"{name} must have shape (n, {landscape.dimension}), got {points.shape}")
    return points


def _rule(
    strength: float,
    learning_rate: float,
    copies: int,
    noise: str,
    denoise: bool,
    momentum: float,
    gradient_noise: float,
    schedule: ArrayLike | None,
    steps: int,
) -> tuple[Rule, Array]:
    check_law(noise)
    if positive_integer("copies", copies) > 1 and not denoise:
        raise ValueError(f"copies is {copies}: without de-noising there can only be one")
    coefficients = np.ones(1) if schedule is None else finite_array("schedule", schedule, ndim=1)
    if len(coefficients) not in ((1,) if schedule is None else (steps,)):
        raise ValueError(f"schedule has {len(coefficients)} entries, but there are {steps} steps")
    if np.min(coefficients) < 0.0:
        raise ValueError(f"schedule must not be negative, got {np.min(coefficients):g}")
    rule = Rule(
        learning_rate=positive_number("learning_rate", learning_rate),
        momentum=decay("momentum", momentum),
        gradient_noise=nonnegative_number("gradient_noise", gradient_noise),
        copies=int(copies),
        denoise=bool(denoise),
        normal=noise == "normal",
    )
    return rule, nonnegative_number("strength", strength) * coefficients


def _check_finite(points: Array, learning_rate: float) -> None:
    lost = int(np.sum(~np.isfinite(points.reshape(len(points), -1)).all(axis=1)))
    if lost:
        raise ValueError(
            f"{lost} of {len(points)} trajectories left the range of float64: learning_rate = "
            f"{learning_rate:g} is too large for this landscape"
        )


# --- streams and threads -------------------------------------------------------------------------


class _Run(NamedTuple):
    """What trajectories have in common."""

    landscape: Any
    rule: Rule
    strengths: Array
    seeds: tuple[int, int]
    threads: int

    def states(self, part: slice, each: int) -> tuple[Words, Words]:
        """Return ``each`` streams a trajectory for both noises; in place of unused ones, others."""
        n, first = (part.stop - part.start) * each, part.start * each
        weights = streams.states(self.seeds[0], n, first=first)
        if self.rule.gradient_noise == 0.0:
            return weights, weights
        return weights, streams.states(self.seeds[1], n, first=first)

    def blocks(self, part: slice, width: int) -> tuple[Words, Words]:
        """Return the same in blocks (blocks, 4, width)."""
        weights, gradients = self.states(part, width)
        return streams.in_lanes(weights, width), streams.in_lanes(gradients, width)


def _seeds(rng: Rng) -> tuple[int, int]:
    """Return a seed for the noise of the weights and one for that of the gradients."""
    weights, gradients = np.random.default_rng(rng).spawn(2)
    return int(weights.integers(2**63)), int(gradients.integers(2**63))


def _parts(n: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]


def _descend_line(run: _Run, start: Array, count: int, every: int) -> Array:
    """Return ``count`` records (count, n)."""
    n, blocks = len(start), -(-len(start) // LANES)
    x = np.full((blocks, LANES), start[0])  # lanes to spare repeat the first start
    x.ravel()[:n] = start
    records = np.empty((count, blocks, LANES))
    gradient, parameters = run.landscape.kernels(jit).gradient, run.landscape.parameters
    arguments: tuple[Any, ...] = (run.rule, run.strengths, gradient, parameters, every)

    def descend_part(part: slice) -> None:
        out: tuple[Any, ...] = x[part], records[:, part].swapaxes(0, 1)
        kernels.descend_line(*run.blocks(part, LANES), *out, *arguments)

    in_threads(descend_part, _parts(blocks, BLOCKS_AT_A_TIME), run.threads)
    return records.reshape(count, -1)[:, :n]


def _arrive_on_line(
    run: _Run, x: Array, steps: int, targets: Array, radius: float, hold: int
) -> FirstArrivals:
    arrivals = FirstArrivals(np.full(len(x), np.inf), np.full(len(x), -1))
    gradient, parameters = run.landscape.kernels(jit).gradient, run.landscape.parameters
    arguments: tuple[Any, ...] = (
        run.rule,
        run.strengths,
        gradient,
        parameters,
        steps,
        targets,
        radius,
        hold,
    )

    def arrive_part(part: slice) -> None:
        out: tuple[Any, ...] = x[part], arrivals.steps[part], arrivals.targets[part]
        kernels.arrive_on_line(*run.states(part, 1), *out, *arguments)

    in_threads(arrive_part, _parts(len(x), POINTS_AT_A_TIME), run.threads)
    return arrivals


def _follow_in_space(
    run: _Run,
    x: Array,
    records: Array,
    steps: int,
    every: int,
    near: tuple[Array, float, int] | None = None,
) -> FirstArrivals:
    """Move ``x`` (n, d) and fill ``records`` (n, R, d); targets, their radius, hold: if wanted."""
    near = near or (np.empty((0, x.shape[1])), 0.0, 1)
    arrivals = FirstArrivals(np.full(len(x), np.inf), np.full(len(x), -1))
    follow = kernels.follower(run.landscape.kernels(kernels.inlined).add_gradient)
    arguments: tuple[Any, ...] = (
        run.rule,
        run.strengths,
        run.landscape.parameters,
        steps,
        every,
        *near,
    )

    def follow_part(part: slice) -> None:
        out: tuple[Any, ...] = x[part], records[part], arrivals.steps[part], arrivals.targets[part]
        follow(*run.blocks(part, WIDTH), *out, *arguments)

    in_threads(follow_part, _parts(len(x), POINTS_AT_A_TIME), run.threads)
    return arrivals
