"""Studies of SmoothOut's motion: how far it wanders, where it ends, and what it selects."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from sims._smoothout_descent import descend
from sims._variables import filled_up, named
from theory import smoothout
from theory._validation import positive_array, positive_integer, positive_number
from theory.landscapes import Cosine, FactorChain, Parabola, rastrigin, stationary_points


def denoising(
    *,
    curvature: float = 2.0,
    strength: float = 0.3,
    learning_rates: Sequence[float] = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8),
    momenta: Sequence[float] = (0.0, 0.9),
    copies: int = 4,
    trajectories: int = 200_000,
    seed: int = 0,
) -> xr.Dataset:
    """Measure how far SmoothOut wanders about a quadratic minimum, with and without de-noising.

    Parameters
    ----------
    curvature : float
        λ.
    strength : float
        a, of uniform noise.
    learning_rates, momenta : sequence of float
        Of SGD; heavy ball.
    copies : int
        Noisy copies of the form that averages several.
    trajectories : int
        Independent ones, each looked at once, 20 times of relaxation after the start.
    seed : int
        Draws the noise.

    Returns
    -------
    xarray.Dataset
        ``variance`` and ``predicted`` along form ("denoised", "copies", "noisy"), momentum and
        learning rate; ``curve``: predicted along 400 rates in between. ``alike``: the learning
        rate at which noisy and de-noised weights wander alike, at momentum 0.

    Raises
    ------
    ValueError
        If a number is out of range, or a learning rate is not stable.

    References
    ----------
    Wen et al. (2018), version 3: noise is removed before the update (formulas derived).
    """
    bowl = Parabola(curvature=curvature)
    shape = (len(_FORMS), len(momenta), len(learning_rates))
    variance, predicted = np.empty(shape), np.empty(shape)
    rates = positive_array("learning_rates", learning_rates, ndim=1)
    fine = np.geomspace(rates.min(), rates.max(), 400)
    curve = np.empty((*shape[:2], len(fine)))
    for i, (denoise, several) in enumerate(_FORMS.values()):
        for j, momentum in enumerate(momenta):
            rule: dict[str, Any] = {
                "strength": strength,
                "momentum": momentum,
                "copies": copies if several else 1,
                "denoise": denoise,
            }
            predict = functools.partial(smoothout.smoothout_variance, curvature, **rule)
            predicted[i, j] = [predict(learning_rate=rate) for rate in learning_rates]
            curve[i, j] = [predict(learning_rate=rate) for rate in fine]
            for k, rate in enumerate(learning_rates):
                ends = descend(
                    bowl,
                    np.zeros(trajectories),
                    **rule,
                    learning_rate=rate,
                    steps=_settled(rate * curvature, momentum),
                    rng=np.random.default_rng([seed, i, j, k]),
                ).points[-1]
                variance[i, j, k] = np.mean(ends**2)
    along = ("form", "momentum", "learning_rate")
    return xr.Dataset(
        {
            "variance": (along, variance, named("stationary variance, measured")),
            "predicted": (along, predicted, named("stationary variance, predicted")),
            "alike": ((), 0.5 / curvature, named("learning rate at which both are alike")),
            "curve": (("form", "momentum", "fine_rate"), curve, named("the same, between rates")),
        },
        {
            "form": list(_FORMS),
            "momentum": list(momenta),
            "learning_rate": list(learning_rates),
            "fine_rate": fine,
        },
    )


_FORMS = {"denoised": (True, False), "copies": (True, True), "noisy": (False, False)}


def _settled(h: float, momentum: float) -> int:
    """Return the number of steps in which a start is forgotten to exp(-20)."""
    modes = np.roots([1.0, -(1.0 + momentum - h), momentum]) if momentum else np.array([1.0 - h])
    slowest = float(np.max(np.abs(modes)))
    return int(np.ceil(20.0 / -np.log(max(slowest, 0.1))))


def survival(
    *,
    strengths: Sequence[float] = (0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.6, 0.7, 0.8, 1.0),
    amplitude: float = 10.0,
    trajectories: int = 512,
    learning_rate: float = 1e-4,
    copies: int = 8,
    steps: int = 25_000,
    reach: float = 6.0,
    seed: int = 0,
) -> xr.Dataset:
    """Follow SmoothOut from starts all over a rugged landscape, to see which minima survive.

    Parameters
    ----------
    strengths : sequence of float
        a, of uniform noise.
    amplitude : float
        Of the ripples of x² + A (1 - cos 2πx).
    trajectories : int
        Starts, evenly from -reach to reach.
    learning_rate : float
        Small, so that trajectories feel the smoothed loss more than the noise.
    copies : int
        Noisy copies whose gradients are averaged.
    steps : int
        Number of steps.
    reach : float
        End of the starts.
    seed : int
        Draws the noise.

    Returns
    -------
    xarray.Dataset
        ``start``, and along a: ``end`` of each trajectory; ``minima`` of the smoothed landscape,
        filled up with NaN; ``n_minima``; ``visited``, how many of them at least one trajectory ends
        within 0.25 of; ``settled``, the share of trajectories that end so near to one.

    Raises
    ------
    ValueError
        If a number is out of range, or the learning rate too large.

    References
    ----------
    Wen et al. (2018), abstract: SmoothOut eliminates sharp minima.
    """
    rugged = rastrigin(amplitude)
    start = np.linspace(-reach, reach, positive_integer("trajectories", trajectories))
    ends, minima = [], []
    for i, a in enumerate(positive_array("strengths", strengths, ndim=1)):
        smooth = rugged.smoothed(a)
        minima.append(stationary_points(smooth, lower=-reach, upper=reach).minima)
        ends.append(
            descend(
                rugged,
                start,
                strength=a,
                learning_rate=learning_rate,
                copies=copies,
                steps=steps,
                rng=np.random.default_rng([seed, i]),
            ).points[-1]
        )
    near = [np.abs(end[:, None] - m) < 0.25 for end, m in zip(ends, minima, strict=True)]
    return xr.Dataset(
        {
            "end": (("a", "start"), np.array(ends), named("end of the trajectory")),
            "minima": (("a", "minimum"), filled_up(minima), named("minimum of the smoothed loss")),
            "n_minima": (
                "a",
                [len(each) for each in minima],
                named("minima of the smoothed loss"),
            ),
            "visited": (
                "a",
                [int(each.any(axis=0).sum()) for each in near],
                named("minima that trajectories end in"),
            ),
            "settled": (
                "a",
                [float(each.any(axis=1).mean()) for each in near],
                named("share of trajectories that end in a minimum"),
            ),
        },
        {"a": list(strengths), "start": start},
    )


def balance(
    *,
    strength: float = 0.3,
    learning_rate: float = 0.002,
    time: float = 20.0,
    start: Sequence[float] = (2.0, 0.5),
    trajectories: int = 500,
    records: int = 40,
    seed: int = 0,
) -> xr.Dataset:
    r"""Follow SmoothOut and AdaSmoothOut along the minima of two factors, :math:`(w_1 w_2 - 1)^2`.

    Parameters
    ----------
    strength : float
        a: half-width of SmoothOut's noise; AdaSmoothOut's is :math:`a|w_i|` times a uniform one.
    learning_rate : float
        Of SGD.
    time : float
        Learning rate times steps.
    start : sequence of float
        Both factors at the start.
    trajectories : int
        Independent ones.
    records : int
        Points in time.
    seed : int
        Draws the noise.

    Returns
    -------
    xarray.Dataset
        Along form ("SmoothOut", "AdaSmoothOut") and time: ``imbalance``, the mean of
        :math:`w_1^2 - w_2^2`, and ``product``, that of :math:`w_1 w_2`; along time, ``predicted``:
        the flow's imbalance. ``balanced`` and ``adaptive_product``: predicted ends.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Wen et al. (2018), Eq. 2, and AdaSmoothOut (derived).
    """
    steps = round(positive_number("time", time) / positive_number("learning_rate", learning_rate))
    every = max(1, steps // positive_integer("records", records))
    w = np.tile(np.asarray(start, dtype=float), (trajectories, 1))
    plain = descend(
        FactorChain(depth=2),
        w,
        strength=strength,
        learning_rate=learning_rate,
        steps=steps,
        record_every=every,
        rng=np.random.default_rng([seed, 1]),
    )
    rng = np.random.default_rng([seed, 2])
    adaptive = np.empty_like(plain.points)
    for t in range(plain.steps[-1]):
        noisy = w + smoothout.weight_noise(w, rng.uniform(-1.0, 1.0, w.shape), strength=strength)
        slope = 2.0 * (noisy[:, :1] * noisy[:, 1:] - 1.0)
        w = w - learning_rate * slope * noisy[:, ::-1]
        if (t + 1) % every == 0:
            adaptive[(t + 1) // every - 1] = w
    points = np.stack([plain.points, adaptive])
    times = learning_rate * plain.steps
    first = start[0] ** 2 - start[1] ** 2
    squares = points**2
    along = ("form", "time")
    return xr.Dataset(
        {
            "imbalance": (
                along,
                (squares[..., 0] - squares[..., 1]).mean(axis=-1),
                named("mean imbalance"),
            ),
            "product": (along, np.prod(points, axis=-1).mean(axis=-1), named("mean product")),
            "predicted": (
                "time",
                first * smoothout.balance_decay(times, strength=strength),
                named("imbalance of the smoothed flow"),
            ),
            "balanced": ((), smoothout.two_factor_minimum(strength), named("balanced factor")),
            "adaptive_product": (
                (),
                smoothout.adaptive_products(strength).expected_update,
                named("AdaSmoothOut's product"),
            ),
        },
        {"form": ["SmoothOut", "AdaSmoothOut"], "time": times},
    )


def one_point_convergence(
    *,
    learning_rates: Sequence[float] = (0.002, 0.003, 0.0045, 0.0067, 0.01, 0.015),
    ripple: float = 5.5,
    wavelength: float = 0.1,
    noise_radius: float = 50.0,
    trajectories: int = 8192,
    seed: int = 0,
) -> xr.Dataset:
    r"""Measure how close SGD gets to the center of a loss that is one-point convex once smoothed.

    The loss is ½x² with ripples of a curvature that makes it non-convex. SGD in Kleinberg, Li and
    Yuan's form is SmoothOut without de-noising, of strength learning rate times noise radius.

    Parameters
    ----------
    learning_rates : sequence of float
        ε.
    ripple : float
        Largest curvature of the ripples.
    wavelength : float
        Theirs.
    noise_radius : float
        r: gradient noise is uniform on [-r, r].
    trajectories : int
        Independent ones.
    seed : int
        Draws starts, on [-1, 1], and noise.

    Returns
    -------
    xarray.Dataset
        Along ε: ``convexity``, c of the smoothed loss; ``squared_radius``, the mean squared
        distance from the center at the end; ``predicted``, the theorem's bound on it.
        ``plain_convexity``: c of the loss itself.

    Raises
    ------
    ValueError
        If a number is out of range, or a learning rate too large for the theorem.

    References
    ----------
    Kleinberg, Li & Yuan (2018), main theorem (from memory).
    """
    k = 2.0 * np.pi / positive_number("wavelength", wavelength)
    loss = Parabola(curvature=1.0) + (-ripple / k**2) * Cosine(wavelength=wavelength)
    convexity, radius, predicted = [], [], []
    for i, rate in enumerate(learning_rates):
        a = rate * noise_radius
        c = smoothout.one_point_convexity(loss.smoothed(a), 0.0, lower=-2.0, upper=2.0)
        bound = smoothout.one_point_neighborhood(
            convexity=c, smoothness=1.0 + ripple, learning_rate=rate, noise_radius=noise_radius
        )
        rng = np.random.default_rng([seed, i])
        ends = descend(
            loss,
            rng.uniform(-1.0, 1.0, trajectories),
            strength=a,
            learning_rate=rate,
            denoise=False,
            steps=round(15.0 / rate),
            rng=rng,
        ).points[-1]
        convexity.append(c)
        radius.append(np.mean(ends**2))
        predicted.append(bound.squared_radius)
    plain = smoothout.one_point_convexity(loss, 0.0, lower=-2.0, upper=2.0)
    return xr.Dataset(
        {
            "convexity": ("learning_rate", convexity, named("one-point convexity, smoothed")),
            "squared_radius": ("learning_rate", radius, named("mean squared distance")),
            "predicted": ("learning_rate", predicted, named("bound on the squared distance")),
            "plain_convexity": ((), plain, named("one-point convexity of the loss itself")),
        },
        {"learning_rate": list(learning_rates)},
    )
