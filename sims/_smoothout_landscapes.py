"""Studies of smoothed landscapes: how minima merge, stay stationary, and are cleared away."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import brentq

from sims._smoothout_descent import descend
from sims._variables import filled_up, named
from theory import smoothout
from theory._landscapes_base import NOISES
from theory._validation import positive_array, positive_integer, positive_number
from theory.landscapes import (
    BoxWell,
    CoordinateProduct,
    CoordinateSum,
    DisjointSum,
    DoubleWell,
    GaussianWell,
    LineLandscape,
    Polynomial,
    SpaceLandscape,
    VWell,
    rastrigin,
    stationary_points,
)

Array = NDArray[np.float64]

LANDSCAPES: dict[str, Callable[[], LineLandscape]] = {
    "rastrigin": lambda: rastrigin(10.0),
    "double-well": DoubleWell,
    "sharp-and-flat": lambda: (
        1.0 * GaussianWell(width=0.1, center=-1.0) + 0.8 * GaussianWell(width=0.5, center=1.0) + 1.0
    ),
}


def matched(strength: float, noise: str) -> float:
    """Return the strength at which a law has the variance of uniform noise of this strength."""
    return strength if noise == "uniform" else strength / np.sqrt(3.0)


def smoothed_landscapes(
    *,
    landscape: str = "rastrigin",
    strengths: Sequence[float] = (0.2, 0.4, 0.45, 0.5, 0.7, 1.0),
    lower: float = -6.0,
    upper: float = 6.0,
    points: int = 601,
    seed: int = 0,
) -> xr.Dataset:
    """Smooth a landscape on the line more and more, by noise of both laws and equal variance.

    Parameters
    ----------
    landscape : str
        "rastrigin", "double-well" or "sharp-and-flat".
    strengths : sequence of float
        a of uniform noise; normal noise has the standard deviation a/√3.
    lower, upper : float
        Ends of the interval.
    points : int
        Grid points in it.
    seed : int
        Unused: nothing is drawn.

    Returns
    -------
    xarray.Dataset
        ``loss`` along x; ``smoothed`` along noise, a and x; ``n_minima`` and ``minima``, filled up
        with NaN, along noise and a.

    Raises
    ------
    ValueError
        If the landscape is unknown, or a number out of range.

    References
    ----------
    Wen et al. (2018), Eq. 2.
    """
    plain = _landscape(landscape)
    x = np.linspace(lower, upper, positive_integer("points", points))
    values, minima = [], []
    for noise in NOISES:
        for a in positive_array("strengths", strengths, ndim=1):
            smooth = plain.smoothed(matched(a, noise), noise=noise)
            values.append(smooth.value(x))
            minima.append(stationary_points(smooth, lower=lower, upper=upper).minima)
    padded = filled_up(minima)
    grid = (len(NOISES), len(strengths))
    return xr.Dataset(
        {
            "loss": ("x", plain.value(x), named("loss")),
            "smoothed": (("noise", "a", "x"), np.reshape(values, (*grid, -1)), named("mean loss")),
            "n_minima": (
                ("noise", "a"),
                np.reshape([len(each) for each in minima], grid),
                named("number of local minima"),
            ),
            "minima": (
                ("noise", "a", "minimum"),
                np.reshape(padded, (*grid, -1)),
                named("place of the minimum"),
            ),
        },
        {"noise": list(NOISES), "a": list(strengths), "x": x},
    )


def merging(
    *,
    amplitude: float = 10.0,
    half_widths: Sequence[float] = (0.5, 1.0, 2.0),
    seed: int = 0,
) -> xr.Dataset:
    """Find where minima merge, once by counting them and once by solving for it.

    Parameters
    ----------
    amplitude : float
        A, of the ripples of x² + A (1 - cos 2πx); above 0.31, so that minima are left at a = 0.2.
    half_widths : sequence of float
        b, of double wells (x² - b²)².
    seed : int
        Unused: nothing is drawn.

    Returns
    -------
    xarray.Dataset
        ``rastrigin`` and ``rastrigin_solved`` along noise, the strength a (a/√3 for normal noise)
        from which one minimum is left; ``double_well`` along the half-width b and noise, in b.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Wen et al. (2018), abstract: sharp minima are eliminated (derived).
    """
    # A ripple of amplitude A s leaves no minimum but 0 if 2 π² A s max(-sin y / y) < 1.
    lobe = -np.sin(_LOBE) / _LOBE
    left = 1.0 / (2.0 * np.pi**2 * positive_number("amplitude", amplitude) * lobe)
    if left >= np.sinc(0.4):
        raise ValueError(
            f"amplitude must exceed {amplitude * left / np.sinc(0.4):.2g}, got {amplitude:g}"
        )
    solved = [
        brentq(lambda a: np.sinc(2.0 * a) - left, 0.1, 0.5, xtol=1e-14),
        np.sqrt(-6.0 * np.log(left)) / (2.0 * np.pi),
    ]
    counted = [
        smoothout.merging_strength(
            rastrigin(amplitude),
            lower=-6.0,
            upper=6.0,
            weakest=matched(0.2, noise),
            strongest=matched(0.5 if noise == "uniform" else 2.0, noise),
            noise=noise,
        )
        / matched(1.0, noise)
        for noise in NOISES
    ]
    merged = [
        [
            smoothout.merging_strength(
                DoubleWell(half_width=b),
                lower=-2.0 * b,
                upper=2.0 * b,
                weakest=0.2 * b,
                strongest=2.0 * b,
                noise=noise,
            )
            / (b * matched(1.0, noise))
            for noise in NOISES
        ]
        for b in positive_array("half_widths", half_widths, ndim=1)
    ]
    return xr.Dataset(
        {
            "rastrigin": ("noise", counted, named("strength that leaves one minimum, counted")),
            "rastrigin_solved": ("noise", solved, named("the same, solved for")),
            "double_well": (("b", "noise"), merged, named("strength that merges the wells, in b")),
        },
        {"noise": list(NOISES), "b": list(half_widths)},
    )


_LOBE = 4.493409457909064  # where sin(y)/y is lowest: tan y = y


def _landscape(name: str) -> LineLandscape:
    if name not in LANDSCAPES:
        raise ValueError(f"landscape must be one of {', '.join(LANDSCAPES)}, got {name!r}")
    return LANDSCAPES[name]()


def elimination(
    *,
    dimensions: Sequence[int] = (1, 2, 3, 4, 6, 8, 12),
    half_widths: Sequence[float] = (0.5, 0.7, 0.9),
    slope: float = 0.05,
    strength: float = 1.0,
    trajectories: int = 64,
    learning_rate: float = 0.02,
    time: float = 100.0,
    seed: int = 0,
) -> xr.Dataset:
    r"""Put Theorem D to the test: a slope of the background clears a narrow well away.

    The loss is :math:`g\,w_1` less a product well of depth 1, of boxes or of V's, of half-width
    ε'. By symmetry the smoothed loss has a stationary point if and only if its well is somewhere as
    steep as g along the first coordinate.

    Parameters
    ----------
    dimensions : sequence of int
        m.
    half_widths : sequence of float
        ε', at most the strength.
    slope : float
        g.
    strength : float
        a, of uniform noise.
    trajectories : int
        Of SmoothOut, from the bottom of the V's. (A box has no gradient to descend by.)
    learning_rate : float
        Of those.
    time : float
        Learning rate times steps.
    seed : int
        Draws the noise.

    Returns
    -------
    xarray.Dataset
        Along well, m and ε': ``steepest``, the exact largest slope of the smoothed well; along m
        and ε': ``bound``, Theorem D's; ``eliminated``, whether it holds; ``escaped``, the share of
        trajectories that are 3 a down the slope of the V's at the end.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Wen et al. (2018), abstract: sharp minima are eliminated (derived: Theorem D).
    """
    steps = round(positive_number("time", time) / positive_number("learning_rate", learning_rate))
    shape = (len(dimensions), len(half_widths))
    steepest = np.empty((2, *shape))
    bound, eliminated, escaped = (np.empty(shape) for _ in range(3))
    for i, m in enumerate(dimensions):
        for j, width in enumerate(half_widths):
            steepest[:, i, j] = [
                _steepest(factor, m, strength)
                for factor in (BoxWell(width=width), VWell(width=width))
            ]
            dent = smoothout.dent_bound(
                depth=1.0, half_width=width, strength=strength, dimension=m, slope=slope
            )
            bound[i, j], eliminated[i, j] = np.exp(dent.log_slope), dent.holds
            ends = descend(
                _tilted_wells(m, width, slope),
                np.zeros((trajectories, m)),
                strength=strength,
                learning_rate=learning_rate,
                steps=steps,
                rng=np.random.default_rng([seed, i, j]),
            ).points[-1]
            escaped[i, j] = np.mean(ends[:, 0] < -3.0 * strength)
    along = ("m", "half_width")
    return xr.Dataset(
        {
            "steepest": (("well", *along), steepest, named("largest slope of the smoothed well")),
            "bound": (along, bound, named("Theorem D's bound on it")),
            "eliminated": (along, eliminated, named("whether the background is steeper")),
            "escaped": (along, escaped, named("share of trajectories that left the well")),
        },
        {
            "well": ["box", "V"],
            "m": list(dimensions),
            "half_width": list(half_widths),
            "slope": slope,
        },
    )


def _steepest(factor: LineLandscape, m: int, a: float) -> float:
    """Return the largest slope of a smoothed product of wells along its first coordinate."""
    smooth = factor.smoothed(a)
    slopes = smooth.gradient(np.linspace(-2.0 * a, 2.0 * a, 20_001))
    return float(np.max(np.abs(slopes)) * abs(smooth.value(0.0)) ** (m - 1))


def _tilted_wells(m: int, width: float, slope: float) -> SpaceLandscape:
    """Return slope · w_1 less a product of V wells of depth 1."""
    tilt = CoordinateSum(line=Polynomial(coefficients=(0.0, slope)), centers=np.zeros(1))
    wells = -1.0 * CoordinateProduct(line=-1.0 * VWell(width=width), centers=np.zeros(m))
    if m == 1:
        return tilt + wells
    level = CoordinateSum(line=Polynomial(coefficients=(0.0,)), centers=np.zeros(m - 1))
    return DisjointSum(blocks=[tilt, level]) + wells


# --- symmetric points ---------------------------------------------------------------------------


def symmetric_points(
    *, strength: float = 0.5, width: float = 0.1, draws: int = 1_000_000, seed: int = 0
) -> xr.Dataset:
    r"""Look at the smoothed gradient in the middle of symmetric minima, flat and sharp, and others.

    Parameters
    ----------
    strength : float
        a, of uniform noise.
    width : float
        Of the sharp minimum and the sharp maximum.
    draws : int
        Noise vectors for the measured gradients.
    seed : int
        Draws the noise.

    Returns
    -------
    xarray.Dataset
        Along point ("flat minimum", "sharp minimum", "maximum", and, not symmetric, "tilted") and
        coordinate: ``gradient`` by the box's faces; ``measured``, ``standard_error`` by drawing.
        ``curvature``, along a/s: the smoothed curvature at the center of
        :math:`w^2 e^{-w^2/(2s^2)}`; ``flip`` and ``predicted_flip``: where it changes its sign.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Wen et al. (2018), Theorem 1.
    """
    positive_integer("draws", draws, minimum=2)
    positive_number("width", width)
    rng = np.random.default_rng([seed, 1])
    gradients, means, errors = [], [], []
    for loss, slope in _SYMMETRIC.values():
        gradients.append(
            smoothout.smoothed_gradient(
                functools.partial(loss, s=width), [0.0, 0.0], strength=strength, nodes=100
            )
        )
        theta = rng.uniform(-strength, strength, (draws, 2))
        drawn = slope(theta, s=width)
        means.append(drawn.mean(axis=0))
        errors.append(drawn.std(axis=0, ddof=1) / np.sqrt(draws))
    flip = smoothout.smoothing_strength(_dimple_curvature, lower=1.0, upper=2.0)
    a = np.linspace(0.0, 4.0, 81)
    along = ("point", "coordinate")
    return xr.Dataset(
        {
            "gradient": (along, np.array(gradients), named("smoothed gradient, by faces")),
            "measured": (along, np.array(means), named("smoothed gradient, drawn")),
            "standard_error": (along, np.array(errors), named("standard error of the gradient")),
            "flip": ((), flip, named("strength that turns the center, over s")),
            "predicted_flip": ((), np.sqrt(2.0), named("the same, predicted")),
            "curvature": (
                "a_over_s",
                [_dimple_curvature(each) for each in a],
                named("smoothed curvature at the center"),
            ),
        },
        {"point": list(_SYMMETRIC), "a_over_s": a},
    )


def _flat_loss(w: Array, s: float) -> Array:
    x, y = w.T
    return np.asarray((x + y) ** 4 + x**2 + 0.5 * np.sin(3.0 * x * y))


def _flat_slope(w: Array, s: float) -> Array:
    x, y = w.T
    cubic, wave = 4.0 * (x + y) ** 3, 1.5 * np.cos(3.0 * x * y)
    return np.stack([cubic + 2.0 * x + y * wave, cubic + x * wave], axis=1)


def _well_loss(w: Array, s: float) -> Array:
    x, y = w.T
    return np.asarray(-np.exp(-(x**2 + x * y + y**2) / (2.0 * s**2)))


def _well_slope(w: Array, s: float) -> Array:
    x, y = w.T
    toward = np.stack([2.0 * x + y, x + 2.0 * y], axis=1) / (2.0 * s**2)
    return np.asarray(-_well_loss(w, s)[:, None] * toward)


def _tilted_loss(w: Array, s: float) -> Array:
    return _flat_loss(w, s) + w[:, 0] ** 3


def _tilted_slope(w: Array, s: float) -> Array:
    return _flat_slope(w, s) + np.stack([3.0 * w[:, 0] ** 2, np.zeros(len(w))], axis=1)


_SYMMETRIC: dict[str, tuple[Callable[..., Array], Callable[..., Array]]] = {
    "flat minimum": (_flat_loss, _flat_slope),
    "sharp minimum": (_well_loss, _well_slope),
    "maximum": (lambda w, s: -_well_loss(w, s), lambda w, s: -_well_slope(w, s)),
    "tilted": (_tilted_loss, _tilted_slope),
}


def _dimple_curvature(a: float) -> float:
    """Return the smoothed curvature, at 0, of w² exp(-w²/2): the mean of its second derivative."""
    nodes, weights = np.polynomial.legendre.leggauss(40)
    square = (a * nodes) ** 2
    curvature = (2.0 - 5.0 * square + square**2) * np.exp(-0.5 * square)
    return float(weights @ curvature / 2.0)
