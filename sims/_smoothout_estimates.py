"""Monte-Carlo estimates of smoothed landscapes, of their gradients, and of volume fractions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sims import _smoothout_kernels as kernels
from sims import streams
from sims._smoothout_kernels import WIDTH
from sims._threads import in_threads
from sims.streams import Rng, jit
from theory._landscapes_base import check_noise
from theory._validation import finite_array, positive_integer, positive_number
from theory.landscapes import LineKernels, LineLandscape, SpaceKernels, SpaceLandscape

Array = NDArray[np.float64]

DRAWS_AT_A_TIME = 4096  # of one point, by one block of streams
TASKS_AT_A_TIME = 64

ESTIMATORS = ("pathwise", "faces")
BODIES = {"box": kernels.inside_box, "ball": kernels.inside_ball}


class Estimate(NamedTuple):
    """A Monte-Carlo mean and its standard error, of the same shape."""

    mean: Array
    standard_error: Array


def smoothed_value(
    landscape: LineLandscape | SpaceLandscape,
    x: ArrayLike,
    *,
    strength: float,
    noise: str = "uniform",
    draws: int,
    rng: Rng = None,
    threads: int = 1,
) -> Estimate:
    r"""Estimate the smoothed loss :math:`\bar C(x) = E\,C(x + \theta)`.

    Parameters
    ----------
    landscape : LineLandscape or SpaceLandscape
        C; its numbers compile nothing anew.
    x : array_like (...) on the line, (..., d) in space
        Points; each has noise of its own.
    strength : float
        In units of x: half-width a of uniform noise, or standard deviation of normal noise.
    noise : str
        "uniform" or "normal".
    draws : int
        Draws at each point, 2 or more.
    rng : None, int, SeedSequence or Generator
        Gives each point its streams.
    threads : int
        Threads; the result does not depend on it.

    Returns
    -------
    Estimate
        Mean (...) and standard error (...), in units of C.

    Raises
    ------
    ValueError
        If an argument is out of range, or C overflows near a point.
    TypeError
        If ``landscape`` is none, or has no kernels.

    References
    ----------
    Wen et al. (2018), Eq. 2.

    Examples
    --------
    >>> from theory.landscapes import Parabola
    >>> mean, error = smoothed_value(
    ...     Parabola(curvature=6.0), [0.0, 1.0], strength=1.0, draws=100_000, rng=0
    ... )
    >>> mean.round(1), error.round(3)  # 1 and 4
    (array([1., 4.]), array([0.003, 0.011]))
    """
    points, shape = _points(landscape, x)
    value = _space_kernels(landscape).value
    sample = kernels.value_sample(value)
    arguments = (check_noise(strength, noise), noise, draws, rng, threads)
    estimate = _estimate("value", sample, landscape.parameters, points, 1, *arguments)
    return Estimate(*(part.reshape(shape)[()] for part in estimate))


def smoothed_gradient(
    landscape: LineLandscape | SpaceLandscape,
    x: ArrayLike,
    *,
    strength: float,
    noise: str = "uniform",
    estimator: str = "pathwise",
    draws: int,
    rng: Rng = None,
    threads: int = 1,
) -> Estimate:
    r"""Estimate the gradient of the smoothed loss.

    ``"pathwise"`` averages :math:`\nabla C(x + \theta)`: what a noisy step follows, but biased
    where C jumps (a box well has no slope anywhere). ``"faces"``, for uniform noise, takes for each
    coordinate the difference of two opposite faces of the noise's box,

    .. math:: \partial_i \bar C(x) = \frac{1}{2a} E\left[C(x + \theta_{\setminus i} + a e_i)
        - C(x + \theta_{\setminus i} - a e_i)\right],

    which is unbiased whether C jumps or not, and costs 2d values a draw; on the line it is exact.

    Parameters
    ----------
    landscape, x, strength, noise, draws, rng, threads
        As :func:`smoothed_value` takes them.
    estimator : str
        "pathwise" or "faces".

    Returns
    -------
    Estimate
        Mean and standard error of each derivative, of the shape of ``x``.

    Raises
    ------
    ValueError
        See :func:`smoothed_value`; also if the estimator is unknown, or the noise of faces normal.
    TypeError
        See :func:`smoothed_value`.

    References
    ----------
    Wen et al. (2018), Eq. 3: the faces.

    Examples
    --------
    >>> from theory.landscapes import DoubleWell
    >>> wells = DoubleWell(barrier=1.0)
    >>> exact = smoothed_gradient(wells, 0.5, strength=0.4, estimator="faces", draws=2)
    >>> noisy = smoothed_gradient(wells, 0.5, strength=0.4, draws=100_000, rng=0)
    >>> bool(abs(noisy.mean - exact.mean) < 4 * noisy.standard_error), float(exact.standard_error)
    (True, 0.0)
    """
    points, _ = _points(landscape, x)
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator must be one of {', '.join(ESTIMATORS)}, got {estimator!r}")
    arguments = (check_noise(strength, noise), noise, draws, rng, threads)
    if estimator == "faces" and noise != "uniform":
        raise ValueError(f"noise is {noise!r}: only uniform noise has faces")
    compiled = _space_kernels(landscape)
    if estimator == "pathwise":
        sample = kernels.gradient_sample(compiled.add_gradient)
    else:
        sample = kernels.face_sample(compiled.value)
    d = points.shape[1]
    estimate = _estimate("gradient", sample, landscape.parameters, points, d, *arguments)
    return Estimate(*(part.reshape(np.shape(x))[()] for part in estimate))


def volume_fraction(
    offset: ArrayLike,
    *,
    radius: float,
    strength: float,
    body: str = "box",
    noise: str = "uniform",
    draws: int,
    rng: Rng = None,
    threads: int = 1,
) -> Estimate:
    """Estimate the share of the noise that falls into a box or a ball.

    Under uniform noise it is the share of the noise's own box that the body takes up.

    Parameters
    ----------
    offset : array_like (..., m)
        Center of each body, less the center of the noise.
    radius : float
        Half the side of the box, or the radius of the ball, in units of the offset.
    strength, noise, draws, rng, threads
        As :func:`smoothed_value` takes them.
    body : str
        "box" or "ball".

    Returns
    -------
    Estimate
        Fraction (...) and its standard error (...), by the binomial law; the error says nothing
        where no draw, or every draw, is inside: then the fraction, or what it lacks to 1, is below
        12/draws but for a chance of 10⁻⁵.

    Raises
    ------
    ValueError
        If an argument is out of range.

    Examples
    --------
    >>> fraction, error = volume_fraction(
    ...     [0.0, 0.0], radius=1.0, strength=1.0, body="ball", draws=100_000, rng=0
    ... )
    >>> bool(abs(fraction - np.pi / 4) < 4 * error), round(float(error), 4)
    (True, 0.0013)
    """
    offsets = finite_array("offset", offset)
    if offsets.ndim == 0:
        raise ValueError("offset must have shape (..., m), got a number")
    if body not in BODIES:
        raise ValueError(f"body must be one of {', '.join(BODIES)}, got {body!r}")
    points = np.ascontiguousarray(-offsets.reshape(-1, offsets.shape[-1]))
    parameters = (positive_number("radius", radius),)
    arguments = (check_noise(strength, noise), noise, draws, rng, threads)
    estimate = _estimate("fraction", BODIES[body], parameters, points, 1, *arguments)
    return Estimate(*(part.reshape(offsets.shape[:-1])[()] for part in estimate))


def _points(
    landscape: LineLandscape | SpaceLandscape, x: ArrayLike
) -> tuple[Array, tuple[int, ...]]:
    """Return points as rows (n, d), and the shape (...) of the batch."""
    if not isinstance(landscape, LineLandscape | SpaceLandscape):
        raise TypeError(
            f"landscape must be a LineLandscape or SpaceLandscape, got {type(landscape).__name__}"
        )
    points = landscape._points(x)
    shape = points.shape if isinstance(landscape, LineLandscape) else points.shape[:-1]
    return np.ascontiguousarray(points.reshape(-1, landscape.dimension)), shape


def _space_kernels(landscape: LineLandscape | SpaceLandscape) -> SpaceKernels:
    compiled = landscape.kernels(jit)
    return kernels.as_space(compiled) if isinstance(compiled, LineKernels) else compiled


def _estimate(
    what: str,
    sample: Any,
    parameters: Any,
    points: Array,
    count: int,
    strength: float,
    noise: str,
    draws: int,
    rng: Rng,
    threads: int,
) -> Estimate:
    """Average the ``count`` numbers that a sample gives, at points (n, d): (n, count) each."""
    positive_integer("draws", draws, minimum=2)
    tasks = np.full(-(-draws // DRAWS_AT_A_TIME), DRAWS_AT_A_TIME)
    tasks[-1] = draws - (len(tasks) - 1) * DRAWS_AT_A_TIME
    x, sizes = np.repeat(points, len(tasks), axis=0), np.tile(tasks, len(points))
    means, squares = np.empty((len(x), count)), np.empty((len(x), count))
    blocks = streams.lanes(rng, len(x) * WIDTH, width=WIDTH)

    def run(part: slice) -> None:
        own = blocks[part], x[part], sizes[part], means[part], squares[part]
        kernels.sample_moments(*own, strength, noise == "normal", sample, parameters)

    firsts = range(0, len(x), TASKS_AT_A_TIME)
    in_threads(run, [slice(first, first + TASKS_AT_A_TIME) for first in firsts], threads)
    shape, weights = (len(points), len(tasks), count), tasks[:, None] / draws
    mean = np.sum(weights * means.reshape(shape), axis=1)
    between = np.sum(weights * (means.reshape(shape) - mean[:, None]) ** 2, axis=1)
    spread = between + np.sum(squares.reshape(shape), axis=1) / draws
    if not np.all(np.isfinite(mean)) or not np.all(np.isfinite(spread)):
        raise ValueError(f"the {what} overflows within the noise, of strength {strength:g}")
    return Estimate(mean, np.sqrt(spread / (draws - 1)))
