"""Studies of many dimensions: Theorem 2, the strength that changes the order of wells, two laws."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import brentq

from sims._smoothout_estimates import smoothed_value, volume_fraction
from sims._smoothout_landscapes import matched
from sims._variables import named
from theory import smoothout
from theory._landscapes_base import NOISES
from theory._validation import positive_array
from theory.landscapes import CoordinateSum, CubeCone, Parabola, ProductWell

Array = NDArray[np.float64]


def overtaking(
    *,
    dimensions: Sequence[int] = (1, 10, 100, 1000, 10**4, 10**5, 10**6, 10**7, 10**8, 10**9),
    sharp_depth: float = 1.0,
    flat_depth: float = 0.8,
    sharp_width: float = 0.1,
    flat_width: float = 0.4,
    draws: int = 20_000,
    largest_drawn: int = 1000,
    seed: int = 0,
) -> xr.Dataset:
    """Find the strength at which a flat product well becomes deeper than a sharp one.

    Parameters
    ----------
    dimensions : sequence of int
        m.
    sharp_depth, flat_depth, sharp_width, flat_width : float
        Of the two wells.
    draws : int
        Noise vectors for each measurement.
    largest_drawn : int
        Largest m at which smoothed depths are measured as well.
    seed : int
        Draws the noise.

    Returns
    -------
    xarray.Dataset
        Along m: ``strength`` (also along noise) and its ``leading`` law; ``second_strength`` from
        the wells' smoothed landscapes, m ≤ 10⁴; ``z``, along the factors 0.8 and 1.25 on the
        strength, by how many standard errors the flat well is measured to be the deeper one.

    Raises
    ------
    ValueError
        If a number is out of range, or wells are not in their order.

    References
    ----------
    Wen et al. (2018), Theorem 2, Eq. 13 on product wells (derived).
    """
    depths, widths = (sharp_depth, flat_depth), (sharp_width, flat_width)
    wells = {
        "sharp_depth": sharp_depth,
        "flat_depth": flat_depth,
        "sharp_width": sharp_width,
        "flat_width": flat_width,
    }
    strengths = np.array(
        [smoothout.overtaking_strength(**wells, dimension=dimensions, noise=n) for n in NOISES]
    )
    if not np.all(np.isfinite(strengths)):
        raise ValueError(
            f"flat_depth is {flat_depth:g}: in {min(dimensions)} dimensions the flat well never "
            "becomes the deeper one"
        )
    factors = (0.8, 1.25)
    second = np.full(len(dimensions), np.nan)
    z = np.full((len(dimensions), len(factors)), np.nan)
    for i, (m, a) in enumerate(zip(dimensions, strengths[0], strict=True)):
        if m <= 10_000:
            second[i] = _second_strength(m, depths, widths, a)
        if m <= largest_drawn:
            rng = np.random.default_rng([seed, m])
            z[i] = [_flat_is_deeper(m, depths, widths, f * a, draws, rng) for f in factors]
    inverse_squares = sharp_width**-2 - flat_width**-2
    leading = np.sqrt(
        6.0 * np.log(sharp_depth / flat_depth) / (np.array(dimensions) * inverse_squares)
    )
    return xr.Dataset(
        {
            "strength": (("noise", "m"), strengths, named("critical strength")),
            "leading": ("m", leading, named("critical strength, to leading order")),
            "second_strength": ("m", second, named("critical strength, from the landscapes")),
            "z": (("m", "factor"), z, named("flat well's lead, in standard errors")),
        },
        {"noise": list(NOISES), "m": list(dimensions), "factor": list(factors)},
    )


def _wells(m: int, depths: Sequence[float], widths: Sequence[float]) -> list[ProductWell]:
    return [
        ProductWell(center=np.zeros(m), widths=width, log_height=float(np.log(depth)))
        for depth, width in zip(depths, widths, strict=True)
    ]


def _second_strength(
    m: int, depths: Sequence[float], widths: Sequence[float], near: float
) -> float:
    sharp, flat = _wells(m, depths, widths)
    center = np.zeros(m)

    def log_depth(well: ProductWell, a: float) -> float:
        smooth: Any = well.smoothed(a)
        return float(smooth.log_depth(center))

    def lead(a: float) -> float:
        return log_depth(sharp, a) - log_depth(flat, a)

    return smoothout.smoothing_strength(lead, lower=0.5 * near, upper=2.0 * near)


def _flat_is_deeper(
    m: int,
    depths: Sequence[float],
    widths: Sequence[float],
    a: float,
    draws: int,
    rng: np.random.Generator,
) -> float:
    sharp, flat = (
        smoothed_value(well, np.zeros(m), strength=a, draws=draws, rng=rng)
        for well in _wells(m, depths, widths)
    )
    return float((sharp.mean - flat.mean) / np.hypot(sharp.standard_error, flat.standard_error))


def lift(
    *,
    dimensions: Sequence[int] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 10**5, 10**7, 10**9),
    outer_radii: Sequence[float] = (0.5, 0.9, 0.99),
    inner_shares: Sequence[float] = (0.5, 0.9, 0.99),
    draws: int = 200_000,
    largest_drawn: int = 100,
    curvatures: Sequence[float] = (1e-3, 1.0, 1e3),
    seed: int = 0,
) -> xr.Dataset:
    r"""Put Theorem 2, corrected, beside exact values: cubes' cones, and quadratics.

    Noise is uniform with a = 1. The sharp minimum is the capped cone
    :math:`\min(1, \|w\|_\infty/\epsilon')`, whose smoothed value is lowest at its center.

    Parameters
    ----------
    dimensions : sequence of int
        m.
    outer_radii : sequence of float
        ε', below 1.
    inner_shares : sequence of float
        ε/ε', below 1.
    draws : int
        Noise vectors for each measurement.
    largest_drawn : int
        Largest m at which smoothed values are measured as well.
    curvatures : sequence of float
        Of the quadratics, in 1, 10 and 100 dimensions.
    seed : int
        Draws the noise.

    Returns
    -------
    xarray.Dataset
        - ``exact``, ``bound`` (Theorem A's) and ``measured`` with ``standard_error``: the smoothed
          capped cone's lowest value, along ε' and m;
        - ``switch``: the first m at which it exceeds the loss all over :math:`D(\epsilon)`, and
          ``threshold``: Theorem A's m*; along ε' and ε/ε';
        - ``cone`` and ``cone_bound``: a cone without a cap, exactly and by the best ε', along m;
        - ``quadratic_limit``: the ε below which quadratics do the same, along m and curvature;
        - ``valley``: the lowest smoothed value of the loss :math:`w_1^2`, in any dimension.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Wen et al. (2018), Theorem 2, corrected: Theorems A and G (derived).
    """
    positive_array("curvatures", curvatures, ndim=1)
    threshold = [
        [_cone_bound(outer, 1, share).threshold_dimension for share in inner_shares]
        for outer in outer_radii
    ]
    shape = (len(outer_radii), len(dimensions))
    exact, bound, measured, error = (np.full(shape, np.nan) for _ in range(4))
    for i, outer in enumerate(outer_radii):
        for j, m in enumerate(dimensions):
            exact[i, j] = smoothout.radial_minimum(
                lambda r, outer=outer: min(1.0, r / outer),  # type: ignore[misc]
                strength=1.0,
                dimension=m,
                breaks=[outer],
            )
            bound[i, j] = _cone_bound(outer, m).value
            if m <= largest_drawn:
                cone = CubeCone(center=np.zeros(m), width=outer, cap=1.0)
                rng = np.random.default_rng([seed, i, m])
                drawn = smoothed_value(cone, np.zeros(m), strength=1.0, draws=draws, rng=rng)
                measured[i, j], error[i, j] = drawn.mean, drawn.standard_error
    switch = [[_switch(outer, share) for share in inner_shares] for outer in outer_radii]
    best = [_cone_bound((m + 1.0) ** (-1.0 / m), m, height=None).value for m in dimensions]
    cones = [smoothout.radial_minimum(_identity, strength=1.0, dimension=m) for m in dimensions]
    limits = [[_quadratic_limit(m, curvature) for curvature in curvatures] for m in (1, 10, 100)]
    along = ("outer", "m")
    return xr.Dataset(
        {
            "exact": (along, exact, named("lowest smoothed loss")),
            "bound": (along, bound, named("Theorem A's lower bound")),
            "measured": (along, measured, named("lowest smoothed loss, measured")),
            "standard_error": (along, error, named("standard error of the measurement")),
            "switch": (("outer", "share"), switch, named("first m with a lifted minimum")),
            "threshold": (("outer", "share"), threshold, named("m*")),
            "cone": ("m", cones, named("lowest smoothed cone")),
            "cone_bound": ("m", best, named("best lower bound on the smoothed cone")),
            "valley": (
                (),
                float(Parabola(curvature=2.0).smoothed(1.0).value(0.0)),
                named("lowest smoothed value of a valley"),
            ),
            "quadratic_limit": (
                ("few", "curvature"),
                limits,
                named("largest ε at which a quadratic is lifted, over a"),
            ),
        },
        {
            "outer": list(outer_radii),
            "m": list(dimensions),
            "share": list(inner_shares),
            "few": [1, 10, 100],
            "curvature": list(curvatures),
            "draws": draws,
        },
    )


def _identity(r: float) -> float:
    return r


def _cone_bound(
    outer: float, m: int, share: float = 0.0, height: float | None = 1.0
) -> smoothout.LiftBound:
    """Return Theorem A's bound on a cone that is ``height`` high at ε'; or that has slope 1."""
    height = outer if height is None else height
    return smoothout.sharp_minimum_bound(
        lowest=0.0,
        highest=share * height,
        shell=height,
        inner_radius=share * outer,
        outer_radius=outer,
        strength=1.0,
        dimension=m,
    )


def _switch(outer: float, share: float) -> int:
    """Return the first m at which the exact minimum exceeds the loss all over D(ε)."""
    m = 1
    while 1.0 - outer**m / (m + 1.0) <= share:
        m += 1
    return m


def _quadratic_limit(m: int, curvature: float) -> float:
    """Return the ε, over a = 1, at which a quadratic's smoothed minimum equals its corner."""
    bowl = CoordinateSum(line=Parabola(curvature=curvature), centers=np.zeros(m))
    lowest = float(bowl.smoothed(1.0).value(np.zeros(m)))
    return smoothout.smoothing_strength(
        lambda eps: lowest - float(bowl.value(np.full(m, eps))), lower=0.1, upper=1.0
    )


def noise_laws(
    *,
    half_widths: Sequence[float] = (0.1, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95, 0.99),
    dimensions: Sequence[int] = (1, 10, 100, 1000),
    draws: int = 200_000,
    seed: int = 0,
) -> xr.Dataset:
    """Compare what uniform and normal noise of one variance leave of box wells.

    Parameters
    ----------
    half_widths : sequence of float
        Of the well, over a = 1.
    dimensions : sequence of int
        m.
    draws : int
        Noise vectors for each measured share, in up to 10 dimensions.
    seed : int
        Draws the noise.

    Returns
    -------
    xarray.Dataset
        ``log_share`` along noise, m and half-width; ``measured`` and ``standard_error`` of the
        share itself, m ≤ 10; ``crossover``: the half-width at which both leave the same, along m.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Wen et al. (2018), version 3: uniform instead of Gaussian noise (derived).
    """
    log_mass = {"uniform": smoothout.log_volume_ratio, "normal": smoothout.log_normal_mass}
    shape = (len(NOISES), len(dimensions), len(half_widths))
    log_share, measured, error = (np.full(shape, np.nan) for _ in range(3))
    for i, noise in enumerate(NOISES):
        strength = matched(1.0, noise)
        for j, m in enumerate(dimensions):
            log_share[i, j] = log_mass[noise](half_widths, strength, dimension=m)
            if m <= 10:
                for k, x in enumerate(half_widths):
                    rng = np.random.default_rng([seed, i, m, k])
                    drawn = volume_fraction(
                        np.zeros(m), radius=x, strength=strength, noise=noise, draws=draws, rng=rng
                    )
                    measured[i, j, k], error[i, j, k] = drawn.mean, drawn.standard_error
    crossover = [_crossover(m) for m in dimensions]
    along = ("noise", "m", "half_width")
    return xr.Dataset(
        {
            "log_share": (along, log_share, named("log share of the noise in the well", "nat")),
            "measured": (along, measured, named("share of the noise in the well, measured")),
            "standard_error": (along, error, named("standard error of the share")),
            "crossover": ("m", crossover, named("half-width at which the laws agree, over a")),
        },
        {"noise": list(NOISES), "m": list(dimensions), "half_width": list(half_widths)},
    )


def _crossover(m: int) -> float:
    """Return the half-width at which both laws leave the same of a well."""

    def lead(x: float) -> float:
        uniform = smoothout.log_volume_ratio(x, 1.0, dimension=m)
        normal = smoothout.log_normal_mass(x, matched(1.0, "normal"), dimension=m)
        return float(uniform - normal)

    return float(brentq(lead, 0.5, 0.99, xtol=1e-12))
