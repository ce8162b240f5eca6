r"""Stochastic differential equations :math:`dX = a(X)\,dt + b(X)\,dW`, many paths at once.

Drift and diffusion are functions that Numba can compile, a user's own or those of
:func:`langevin` over a landscape. Paths advance in blocks of :data:`sims.streams.LANES`, one path a
lane, so that the vector unit works on them together; each path has its own stream, so that the
result has the same bits for any number of threads.

==================  ============  ==========  ==================================================
scheme              noise         weak order  increments
==================  ============  ==========  ==================================================
``euler-maruyama``  ``normal``    1           √h times a standard normal
``euler-maruyama``  ``discrete``  1           ±√h; five times as fast
``platen``          ``normal``    2           √h times a standard normal
``platen``          ``discrete``  2           -√(3h), 0, √(3h) with probabilities 1/6, 2/3, 1/6
==================  ============  ==========  ==================================================

Discrete increments give the same averages to the weak order, but paths unlike those of the
equation: times of first passage want normal ones. Quadratic landscapes need no steps at all: see
:func:`ornstein_uhlenbeck`.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, overload

import numpy as np
from numba import float64, typeof
from numba.core.errors import NumbaError
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import expm

from sims import _sde_kernels as kernels
from sims import streams
from sims._threads import in_threads
from sims.streams import LANES, Rng, jit
from theory._validation import (
    finite_array,
    positive_array,
    positive_integer,
    semidefinite_array,
)
from theory.landscapes import LineLandscape, SpaceLandscape

Array = NDArray[np.float64]
Parameters = tuple[Any, ...]

SCHEMES = ("euler-maruyama", "platen")
NOISES = ("normal", "discrete")


class Equation(NamedTuple):
    """A stochastic differential equation for a number x.

    ``drift`` and ``diffusion`` take (x, parameters) and return a float; they are compiled once,
    whatever the parameters, a tuple of floats or of such tuples.
    """

    drift: Callable[[float, Parameters], float]
    diffusion: Callable[[float, Parameters], float]
    parameters: Parameters = ()


class SpaceEquation(NamedTuple):
    """A stochastic differential equation in d dimensions, with independent noise in each.

    ``drift`` and ``diffusion`` take (x, parameters, out) and write their values at x (d,) into
    ``out`` (d,). Parameters are a tuple of floats, of float64 arrays, or of such tuples.
    """

    drift: Callable[[Array, Parameters, Array], None]
    diffusion: Callable[[Array, Parameters, Array], None]
    parameters: Parameters = ()


@overload
def langevin(landscape: LineLandscape, temperature: float) -> Equation: ...


@overload
def langevin(landscape: SpaceLandscape, temperature: float) -> SpaceEquation: ...


def langevin(
    landscape: LineLandscape | SpaceLandscape, temperature: float
) -> Equation | SpaceEquation:
    r"""Return overdamped Langevin dynamics, :math:`dX = -\nabla C(X)\,dt + \sqrt{2T}\,dW`.

    Parameters
    ----------
    landscape : LineLandscape or SpaceLandscape
        The cost :math:`C`; its parameters and the temperature compile nothing anew.
    temperature : float
        :math:`T`. The stationary density is proportional to :math:`\exp(-C/T)`.

    Returns
    -------
    Equation or SpaceEquation
        For :func:`paths` and its siblings on the line, or for :func:`space_paths`.

    Raises
    ------
    ValueError
        If ``temperature`` is not positive.

    References
    ----------
    Smith & Le (2018), appendix A.

    Examples
    --------
    >>> from theory.landscapes import Parabola
    >>> thermal = langevin(Parabola(curvature=2.0), 0.5)
    >>> shares = occupation(thermal, [0.0] * 100, edges=[-0.5, 0.5], step_size=0.05, steps=999)
    >>> shares.mean(axis=0).round(1)  # a normal of variance 1/4: 0.16, 0.68, 0.16
    array([0.2, 0.7, 0.2])
    """
    positive_array("temperature", temperature, ndim=0)
    parameters = (float(np.sqrt(2 * temperature)), landscape.parameters)
    if isinstance(landscape, SpaceLandscape):
        return SpaceEquation(*_space_kernels(landscape.kernels(jit).add_gradient), parameters)
    return Equation(*_line_kernels(landscape.kernels(jit).gradient), parameters)


@functools.cache
def _line_kernels(gradient: Any) -> tuple[Any, Any]:
    @jit
    def drift(x: float, parameters: Any) -> Any:
        return -gradient(x, parameters[1])

    @jit
    def diffusion(x: float, parameters: Any) -> Any:
        return parameters[0]

    return drift, diffusion


@functools.cache
def _space_kernels(add_gradient: Any) -> tuple[Any, Any]:
    @jit
    def drift(x: Array, parameters: Any, out: Array) -> None:
        for j in range(len(out)):
            out[j] = 0.0
        add_gradient(x, parameters[1], -1.0, out)

    @jit
    def diffusion(x: Array, parameters: Any, out: Array) -> None:
        for j in range(len(out)):
            out[j] = parameters[0]

    return drift, diffusion


class FirstPassages(NamedTuple):
    """When and where n paths left an interval.

    ``times`` (n,) are infinite, and ``exits`` (n,) zero, for paths still inside at the last step;
    else an exit is -1 or +1 for the lower or upper end.
    """

    times: Array
    exits: NDArray[np.int64]


def paths(
    equation: Equation,
    start: ArrayLike,
    *,
    step_size: float,
    steps: int,
    record_every: int | None = None,
    scheme: str = "euler-maruyama",
    noise: str = "normal",
    rng: Rng = None,
    threads: int = 1,
) -> tuple[Array, Array]:
    """Simulate n independent paths.

    Parameters
    ----------
    equation : Equation
        Drift, diffusion and their parameters.
    start : array_like (n,)
        Where each path starts.
    step_size : float
        Time step h.
    steps : int
        Number of steps.
    record_every : int, optional
        Record after each so many steps, at most ``steps``; only the end by default.
    scheme, noise : str
        See the module.
    rng : None, int, SeedSequence or Generator
        Gives each path its stream.
    threads : int
        Threads; the result does not depend on it.

    Returns
    -------
    times : ndarray (R,)
        Times of the records, without the start.
    values : ndarray (R, n)
        The paths there.

    Raises
    ------
    ValueError
        If an argument is out of range, or a path leaves the range of float64 (the step is too
        large for a drift that grows faster than linearly).

    Examples
    --------
    >>> import math
    >>> decay = Equation(lambda x, p: -p[0] * x, lambda x, p: 0.0, (1.0,))
    >>> times, x = paths(decay, [1.0, 2.0], step_size=0.001, steps=1000)
    >>> times, x.round(3)
    (array([1.]), array([[0.368, 0.735]]))
    """
    x, move, step = _prepare(start, step_size, steps, scheme, noise)
    every = _every(steps, record_every)
    records = np.empty((steps // every, *x.shape))
    arguments = (move, step, *_compiled(equation), float(step_size), steps, every)
    _over_blocks(kernels.follow_paths, rng, x, records.swapaxes(0, 1), arguments, threads)
    n = np.size(start)
    values: Array = records.reshape(len(records), -1)[:, :n]
    _check_finite(x.ravel()[:n], step_size)
    return _times(step_size, every, len(records)), values


def space_paths(
    equation: SpaceEquation,
    start: ArrayLike,
    *,
    step_size: float,
    steps: int,
    record_every: int | None = None,
    rng: Rng = None,
    threads: int = 1,
) -> tuple[Array, Array]:
    """Simulate n independent paths in d dimensions by Euler and Maruyama's scheme.

    Parameters
    ----------
    equation : SpaceEquation
        Drift, diffusion and their parameters.
    start : array_like (n, d)
        Where each path starts.
    step_size, steps, record_every, rng, threads
        As :func:`paths` takes them.

    Returns
    -------
    times : ndarray (R,)
        Times of the records, without the start.
    values : ndarray (R, n, d)
        The paths there.

    Raises
    ------
    ValueError
        See :func:`paths`.

    Examples
    --------
    >>> from theory.landscapes import Quadratic
    >>> bowl = Quadratic(hessian_matrix=[[2.0, 1.0], [1.0, 2.0]])
    >>> times, x = space_paths(
    ...     langevin(bowl, 1.0), np.zeros((4000, 2)), step_size=0.02, steps=500, rng=0
    ... )
    >>> np.cov(x[-1].T).round(1)  # the inverse of the Hessian: 2/3 and -1/3
    array([[ 0.7, -0.3],
           [-0.3,  0.7]])
    """
    x = finite_array("start", start, ndim=2).copy()
    positive_array("step_size", step_size, ndim=0)
    every = _every(positive_integer("steps", steps), record_every)
    arguments = (*_compiled(equation), float(step_size), steps, every)
    records = np.empty((len(x), steps // every, x.shape[1]))
    states = streams.states(rng, len(x))

    def follow(part: slice) -> None:
        kernels.follow_space_paths(states[part], x[part], records[part], *arguments)

    in_threads(follow, _parts(len(x), threads), threads)
    _check_finite(x @ np.ones(x.shape[1]), step_size)
    return _times(step_size, every, records.shape[1]), records.swapaxes(0, 1)


def occupation(
    equation: Equation,
    start: ArrayLike,
    *,
    edges: ArrayLike,
    step_size: float,
    steps: int,
    burn_in: int = 0,
    scheme: str = "euler-maruyama",
    noise: str = "normal",
    rng: Rng = None,
    threads: int = 1,
) -> Array:
    """Return the fraction of time that each path spends between edges, without storing the path.

    Parameters
    ----------
    equation, start, step_size, scheme, noise, rng, threads
        As :func:`paths` takes them.
    edges : array_like (E,)
        Increasing boundaries between E + 1 bins, of which the first and last reach to infinity.
    steps : int
        Number of steps that count.
    burn_in : int
        Number of steps before those.

    Returns
    -------
    ndarray (n, E + 1)
        Rows sum to 1. Paths are independent; the steps of one path are not.

    Raises
    ------
    ValueError
        See :func:`paths`; also if ``edges`` do not increase.

    Examples
    --------
    >>> noise = Equation(lambda x, p: -x, lambda x, p: 1.0)
    >>> shares = occupation(noise, [0.0] * 100, edges=[0.0], step_size=0.1, steps=2000, rng=0)
    >>> shares.mean(axis=0).round(1)
    array([0.5, 0.5])
    """
    x, move, step = _prepare(start, step_size, steps, scheme, noise)
    positive_integer("burn_in", burn_in, minimum=0)
    bounds = finite_array("edges", edges, ndim=1)
    if np.any(np.diff(bounds) <= 0):
        raise ValueError("edges must increase")
    below = np.zeros((len(x), len(bounds), LANES))
    arguments = (move, step, *_compiled(equation), float(step_size), burn_in, steps, bounds)
    _over_blocks(kernels.count_occupation, rng, x, below, arguments, threads)
    n = np.size(start)
    _check_finite(x.ravel()[:n], step_size)
    shares = below.swapaxes(1, 2).reshape(-1, len(bounds))[:n] / steps
    return np.diff(shares, prepend=0.0, append=1.0)


def first_passage(
    equation: Equation,
    start: ArrayLike,
    *,
    lower: float = -np.inf,
    upper: float = np.inf,
    step_size: float,
    max_steps: int,
    rng: Rng = None,
    threads: int = 1,
) -> FirstPassages:
    """Follow each path by Euler and Maruyama's scheme until it leaves (lower, upper).

    A path is looked at once a step, so times are late by a multiple of √h; extrapolate over h.

    Parameters
    ----------
    equation, start, step_size, rng, threads
        As :func:`paths` takes them.
    lower, upper : float
        Ends of the interval.
    max_steps : int
        Give up after so many steps.

    Returns
    -------
    FirstPassages

    Raises
    ------
    ValueError
        See :func:`paths`; also if a start is not inside the interval, or the interval is all
        numbers.

    Examples
    --------
    >>> walk = Equation(lambda x, p: 0.0, lambda x, p: 1.0)
    >>> times, exits = first_passage(
    ...     walk, [0.0] * 1000, lower=-1.0, upper=1.0, step_size=1e-3, max_steps=10**5, rng=0
    ... )
    >>> float(times.mean().round(1)), bool(abs(exits.mean()) < 0.1)
    (1.0, True)
    """
    positive_integer("max_steps", max_steps)
    x = finite_array("start", start, ndim=1).copy()
    positive_array("step_size", step_size, ndim=0)
    if np.isinf(lower) and np.isinf(upper):
        raise ValueError("one of lower and upper must be finite: no path leaves all numbers")
    if not np.all((lower < x) & (x < upper)):
        raise ValueError(f"start must lie inside ({lower:g}, {upper:g})")
    taken, exits = np.zeros(len(x), np.int64), np.zeros(len(x), np.int64)
    ends = (float(lower), float(upper))
    arguments = (*_compiled(equation), float(step_size), max_steps, ends)
    states = streams.states(rng, len(x))

    def follow(part: slice) -> None:
        kernels.follow_to_exits(states[part], x[part], taken[part], exits[part], *arguments)

    in_threads(follow, _parts(len(x), threads), threads)
    _check_finite(x, step_size)
    return FirstPassages(np.where(exits == 0, np.inf, step_size * taken), exits)


def ornstein_uhlenbeck(
    start: ArrayLike,
    *,
    rate: ArrayLike,
    noise_covariance: ArrayLike,
    time: float,
    records: int = 1,
    rng: Rng = None,
) -> Array:
    r"""Draw from :math:`dX = -A X\,dt + \sqrt{D}\,dW` at equal times, exactly.

    Parameters
    ----------
    start : array_like (n, d)
        Where each path starts.
    rate : array_like (d, d)
        :math:`A`; it need not be symmetric, nor stable.
    noise_covariance : array_like (d, d)
        :math:`D`, symmetric positive semidefinite, per unit of time.
    time : float
        Time between records.
    records : int
        Number of records.
    rng : None, int, SeedSequence or Generator

    Returns
    -------
    ndarray (records, n, d)

    Raises
    ------
    ValueError
        If a shape does not fit, ``time`` is not positive, ``noise_covariance`` is not symmetric
        positive semidefinite, or paths leave the range of float64.

    References
    ----------
    Van Loan (1978), IEEE TAC 23(3), 395: the covariance of a short step from one exponential.

    Examples
    --------
    >>> start = np.zeros((4000, 1))
    >>> x = ornstein_uhlenbeck(start, rate=[[1]], noise_covariance=[[2]], time=9, rng=0)
    >>> x.shape, float(x.var().round(1))
    ((1, 4000, 1), 1.0)
    """
    x, A = finite_array("start", start, ndim=2), finite_array("rate", rate, ndim=2)
    D = semidefinite_array("noise_covariance", noise_covariance, ndim=2)
    n, d = x.shape
    if A.shape != (d, d) or D.shape != (d, d):
        raise ValueError(
            f"start has {d} columns, but rate has shape {A.shape} and noise_covariance {D.shape}"
        )
    positive_array("time", time, ndim=0)
    positive_integer("records", records)
    decay, root = _decay_and_root(A, D, time)
    states = streams.states(rng, n)
    out, normals = np.empty((records, n, d)), np.empty((n, d))
    with np.errstate(over="ignore", invalid="ignore"):
        for record in out:
            kernels.fill_rows(states, normals)
            x = x @ decay.T + normals @ root.T
            record[:] = x
    if not np.all(np.isfinite(out)):
        raise ValueError(
            f"paths grow beyond the range of float64 within {records} times time = {time:g}"
        )
    return out


# --- preparation ---------------------------------------------------------------------------------


def _prepare(
    start: ArrayLike, step_size: float, steps: int, scheme: str, noise: str
) -> tuple[Array, Callable[..., None], Callable[..., float]]:
    """Return the starts in blocks of lanes, and the functions that move and step."""
    x = finite_array("start", start, ndim=1)
    positive_array("step_size", step_size, ndim=0)
    positive_integer("steps", steps)
    if scheme not in SCHEMES:
        raise ValueError(f"scheme is {scheme!r}; it must be one of {', '.join(SCHEMES)}")
    if noise not in NOISES:
        raise ValueError(f"noise is {noise!r}; it must be one of {', '.join(NOISES)}")
    if noise == "normal":
        move = kernels.move_normal
    else:
        move = kernels.move_sign if scheme == "euler-maruyama" else kernels.move_three_point
    blocks = np.full(-(-len(x) // LANES) * LANES, x[0])  # lanes to spare repeat the first path
    blocks[: len(x)] = x
    return (
        blocks.reshape(-1, LANES),
        move,
        kernels.euler if scheme == "euler-maruyama" else kernels.platen,
    )


def _every(steps: int, record_every: int | None) -> int:
    every = positive_integer("record_every", steps if record_every is None else record_every)
    if every > steps:
        raise ValueError(f"record_every is {every}, but there are only {steps} steps")
    return every


def _times(step_size: float, every: int, count: int) -> Array:
    times: Array = step_size * every * np.arange(1.0, count + 1.0)
    return times


def _compiled(equation: Equation | SpaceEquation) -> tuple[Any, Any, Parameters]:
    """Return the functions compiled, and the parameters, or say which does not compile and why."""
    parameters, compiled = _floats(equation.parameters), []
    kind = typeof(parameters)  # type: ignore[no-untyped-call]
    types: tuple[Any, ...] = (float64, kind)
    signature = "(x, parameters)"
    if isinstance(equation, SpaceEquation):
        types, signature = (float64[::1], kind, float64[::1]), "(x, parameters, out)"
    for name in ("drift", "diffusion"):
        function = getattr(equation, name)
        kernel = function if hasattr(function, "py_func") else _compile(function)
        try:
            kernel.compile(types)
        except (NumbaError, TypeError) as error:
            raise ValueError(
                f"{name} must be a function of {signature} that Numba compiles for parameters = "
                f"{parameters}: {error}"
            ) from None
        compiled.append(kernel)
    return compiled[0], compiled[1], parameters


def _floats(parameters: Parameters) -> Parameters:
    """Return nested tuples with all numbers float64: an int would compile everything anew."""

    def as_float(value: Any) -> Any:
        if isinstance(value, tuple):
            return _floats(value)
        return np.ascontiguousarray(value, float) if isinstance(value, np.ndarray) else float(value)

    return tuple(as_float(value) for value in parameters)


_compile = functools.cache(jit)


def _parts(n: int, threads: int) -> list[slice]:
    """Cut n replicates into more parts than threads, so that none waits long for the last."""
    edges = np.linspace(0, n, min(n, 4 * positive_integer("threads", threads)) + 1).astype(int)
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def _over_blocks(
    kernel: Callable[..., None],
    rng: Rng,
    x: Array,
    out: Array,
    arguments: tuple[Any, ...],
    threads: int,
) -> None:
    states = streams.states(rng, x.size).reshape(len(x), LANES, 4)

    def run(part: slice) -> None:
        kernel(streams.in_lanes(states[part]), x[part], out[part], *arguments)

    in_threads(run, _parts(len(x), threads), threads)


def _decay_and_root(A: Array, D: Array, time: float) -> tuple[Array, Array]:
    """Return exp(-A t), and a root of the covariance that the noise adds in a time t.

    Van Loan's exponential holds exp(+A t) too, whose size would swamp the covariance: it is taken
    over a time short against all rates, which is doubled until it is t.
    """
    d = len(A)
    doublings = int(np.ceil(np.log2(max(1.0, float(np.linalg.norm(A, 1)) * time))))
    blocks = expm(np.block([[A, D], [np.zeros((d, d)), -A.T]]) * (time / 2**doublings))
    decay = blocks[d:, d:].T
    covariance = decay @ blocks[:d, d:]
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(doublings):
            covariance = covariance + decay @ covariance @ decay.T
            decay = decay @ decay
    if not np.all(np.isfinite(covariance)):
        raise ValueError(f"paths grow beyond the range of float64 within time = {time:g}")
    values, vectors = np.linalg.eigh(0.5 * (covariance + covariance.T))
    return decay, vectors * np.sqrt(np.maximum(values, 0.0))


def _check_finite(x: Array, step_size: float) -> None:
    lost = int(np.sum(~np.isfinite(x)))
    if lost:
        raise ValueError(
            f"{lost} of {len(x)} paths left the range of float64: step_size = {step_size:g} is too "
            "large for this drift"
        )
