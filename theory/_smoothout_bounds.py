"""Theorem 2 of Wen et al. (2018), corrected: what smoothing does to sharp minima."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.integrate import quad

from theory._landscapes_base import check_noise
from theory._smoothout_volumes import log_normal_mass, log_volume_ratio
from theory._validation import Array, number, positive_integer, positive_number


@dataclass(frozen=True)
class Hypothesis:
    """What a theorem asks for, whether it holds, and by how much.

    Attributes
    ----------
    statement : str
        The inequality.
    margin : float
        Its larger side less its smaller one: positive where it holds, else what is lacking.
    """

    statement: str
    margin: float

    @property
    def holds(self) -> bool:
        """Whether the inequality holds, strictly."""
        return self.margin > 0.0


@dataclass(frozen=True, kw_only=True)
class _Theorem:
    threshold_dimension: float
    hypotheses: tuple[Hypothesis, ...]

    @property
    def holds(self) -> bool:
        """Whether all hypotheses hold."""
        return all(hypothesis.holds for hypothesis in self.hypotheses)


@dataclass(frozen=True, kw_only=True)
class LiftBound(_Theorem):
    """A lower bound on the smoothed loss around a sharp minimum.

    Attributes
    ----------
    value : float
        The bound, in units of the loss.
    log_share : float
        Log of the largest share of the noise that can land in the sharp minimum.
    log_gap : float
        Log of how far the bound is below the shell; known also where ``value`` rounds it away.
    threshold_dimension : float
        m*, above which the minimum is lifted above its surroundings; infinite if it never is.
    hypotheses : tuple of Hypothesis
        Checked one by one; ``holds`` tells if all hold.
    """

    value: float
    log_share: float
    log_gap: float


@dataclass(frozen=True, kw_only=True)
class DentBound(_Theorem):
    """Upper bounds on what a narrow well leaves in the smoothed loss.

    Attributes
    ----------
    log_depth : float
        Log of the largest depth, in units of the loss.
    log_slope : float
        Log of the largest slope along a coordinate, in units of loss over length.
    threshold_dimension : float
        Above it no stationary point is left; infinite if none is known, minus infinity if the
        noise is no wider than the well and the background too steep for it in any dimension.
    hypotheses : tuple of Hypothesis
        Checked one by one; ``holds`` tells if all hold.
    """

    log_depth: float
    log_slope: float


def sharp_minimum_bound(
    *,
    lowest: float,
    highest: float,
    shell: float,
    inner_radius: float,
    outer_radius: float,
    strength: float,
    dimension: int,
    flat: float | None = None,
    noise: str = "uniform",
) -> LiftBound:
    r"""Bound the smoothed loss around a sharp minimum from below: it is lifted (Theorems A, B, F).

    With :math:`D(r)` the box of half-width r around the sharp minimum, C at least ``lowest`` on
    :math:`D(a + \epsilon)`, and at least ``shell`` on what lies outside of
    :math:`D(\epsilon')`, every point of :math:`D(\epsilon)` has

    .. math:: \bar C \ge \mu - (\epsilon'/a)^m\,(\mu - C_s),

    since that is the most of the moving box that the well can fill. The paper takes the box as
    fixed, and lets its running maximum bound the loss outside from below, which it does not: the
    shell is an assumption, and it has to reach :math:`a + \epsilon` far. For normal noise
    :math:`\epsilon'/a` becomes :math:`\text{erf}(\epsilon'/(\sigma\sqrt2))`, and the shell has to
    reach to infinity.

    Parameters
    ----------
    lowest, highest : float
        :math:`C_s`, the least value of C on :math:`D(a + \epsilon)`, and :math:`M_\epsilon`, its
        largest on :math:`D(\epsilon)`.
    shell : float
        μ, the least value of C on :math:`D(a + \epsilon)` outside of :math:`D(\epsilon')`.
    inner_radius, outer_radius : float
        ε and ε', :math:`0 \le \epsilon < \epsilon'`; below a for uniform noise.
    strength : float
        a or σ.
    dimension : int
        m, or the number of coordinates that C depends on, if it does on few (Theorem E).
    flat : float, optional
        The largest value of C on the box of half-width :math:`a + \epsilon` around a flat
        minimum: then the order of the two is asked for as well (Theorem B). Uniform noise only.
    noise : str
        "uniform" or "normal".

    Returns
    -------
    LiftBound
        Hypotheses: the shell is above the minimum's surroundings; the dimension is above
        :math:`m^* = \ln\frac{\mu - C_s}{\mu - M_\epsilon} / \ln\frac a{\epsilon'}`, beyond which
        :math:`\min_{D(\epsilon)}\bar C > M_\epsilon`; with ``flat``, the bound is above it.

    Raises
    ------
    ValueError
        If radii or levels are not in their order, m < 1, the strength is not positive, a number
        is not finite, or ``flat`` is given for normal noise.

    References
    ----------
    Wen et al. (2018), Theorem 2, corrected (derived).

    Examples
    --------
    >>> from theory.smoothout import sharp_minimum_bound
    >>> levels = dict(lowest=0.0, highest=0.9, shell=1.0, inner_radius=0.5, outer_radius=0.99)
    >>> bound = sharp_minimum_bound(**levels, strength=1.0, dimension=10**9)
    >>> bound.holds, round(bound.threshold_dimension, 1)
    (True, 229.1)
    >>> in_100 = sharp_minimum_bound(**levels, strength=1.0, dimension=100)
    >>> [(each.statement, round(each.margin, 1)) for each in in_100.hypotheses if not each.holds]
    [('m > m*', -129.1)]
    """
    a = check_noise(strength, noise)
    m = positive_integer("dimension", dimension)
    low, high, mu = number("lowest", lowest), number("highest", highest), number("shell", shell)
    if not low <= high:
        raise ValueError(f"lowest must be at most highest (C_s ≤ M_ε), got {low:g} and {high:g}")
    if not low < mu:
        raise ValueError(f"lowest must be below shell (C_s < μ), got {low:g} and {mu:g}")
    outer = _outer_radius(inner_radius, outer_radius, a if noise == "uniform" else np.inf)
    log_mass = log_volume_ratio if noise == "uniform" else log_normal_mass
    log_factor = float(log_mass(outer, a, dimension=1))
    log_share = m * log_factor
    log_gap = log_share + float(np.log(mu - low))
    value = mu - float(np.exp(log_gap))
    # Normal noise of a small share of ε' stays in the well up to rounding: then there is no factor.
    lifted = mu > high and log_factor < 0.0
    threshold = np.log((mu - low) / (mu - high)) / -log_factor if lifted else np.inf
    hypotheses = [Hypothesis("μ > M_ε", mu - high), Hypothesis("m > m*", m - float(threshold))]
    if flat is not None:
        if noise != "uniform":
            raise ValueError("flat bounds the loss on a box: normal noise leaves every box")
        hypotheses.append(Hypothesis("bound > F_{a+ε}", value - number("flat", flat)))
    return LiftBound(
        value=value,
        log_share=log_share,
        log_gap=log_gap,
        threshold_dimension=float(threshold),
        hypotheses=tuple(hypotheses),
    )


def dent_bound(
    *,
    depth: float,
    half_width: float,
    strength: float,
    dimension: int,
    slope: float | None = None,
) -> DentBound:
    r"""Bound what a narrow well leaves in the smoothed loss, and tell if its minimum is gone.

    A well of depth at most h inside the box :math:`D(\epsilon')`, :math:`\epsilon' \le a`, dents
    the smoothed background by at most :math:`h(\epsilon'/a)^m`, with slopes of at most
    :math:`\frac h{2a}(\epsilon'/a)^{m-1}` (Theorem C). Where the smoothed background itself slopes
    by more along one coordinate, all over :math:`D(a + \epsilon')`, the smoothed loss has no
    stationary point there: the minimum is eliminated (Theorem D).

    Parameters
    ----------
    depth : float
        h > 0.
    half_width : float
        ε', at most a.
    strength : float
        a, of uniform noise.
    dimension : int
        m.
    slope : float, optional
        g > 0: the least :math:`|\partial_i \bar B|` of the smoothed background B.

    Returns
    -------
    DentBound
        With ``slope``, the threshold is :math:`1 + \ln\frac h{2ag}/\ln\frac a{\epsilon'}` and
        the one hypothesis is :math:`g > \frac h{2a}(\epsilon'/a)^{m-1}`; without, there is none.

    Raises
    ------
    ValueError
        If a number is not positive and finite, or ε' > a.

    References
    ----------
    Wen et al. (2018), abstract: sharp minima are eliminated; Theorem 2 shows less (derived).

    Examples
    --------
    >>> from theory.smoothout import dent_bound
    >>> well = dict(depth=1.0, half_width=0.5, strength=1.0, slope=0.01)
    >>> [dent_bound(**well, dimension=m).holds for m in (1, 6, 7)]
    [False, False, True]
    """
    h, width = positive_number("depth", depth), positive_number("half_width", half_width)
    a, m = positive_number("strength", strength), positive_integer("dimension", dimension)
    if width > a:
        raise ValueError(f"half_width must be at most strength (ε' ≤ a), got {width:g} and {a:g}")
    log_factor = float(np.log(width / a))
    log_slope = float(np.log(0.5 * h / a)) + (m - 1) * log_factor
    threshold, hypotheses = np.inf, []
    if slope is not None:
        g = positive_number("slope", slope)
        hypotheses.append(Hypothesis("g > h/(2a) (ε'/a)^(m-1)", g - float(np.exp(log_slope))))
        excess = float(np.log(0.5 * h / (a * g)))
        threshold = 1.0 - excess / log_factor if width < a else np.copysign(np.inf, excess)
    return DentBound(
        log_depth=float(np.log(h)) + m * log_factor,
        log_slope=log_slope,
        threshold_dimension=float(threshold),
        hypotheses=tuple(hypotheses),
    )


def log_few_directions_share(radius: ArrayLike, strength: float, *, directions: int) -> Array:
    r"""Log of the share of uniform noise inside a well that is round in few rotated directions.

    The projections of :math:`\theta` on k orthonormal directions that mix many coordinates are
    close to :math:`N(0, \frac{a^2}{3} I_k)`, so that the share is
    :math:`P(\frac k2, \frac{3\rho^2}{2a^2})`, a regularized gamma function: k takes the place of m,
    which is why the few sharp directions of a network decide, and not its parameters' number.

    Parameters
    ----------
    radius : array_like (...)
        ρ > 0: the well is where the projection's norm is below it.
    strength : float
        a.
    directions : int
        k, much smaller than the number of coordinates that each direction mixes.

    Returns
    -------
    float or ndarray (...)
        Nats, at most 0.

    Raises
    ------
    ValueError
        If a length is not positive or k not a positive integer.

    References
    ----------
    Wen et al. (2018), Theorem 2, where C depends on few directions (derived; Theorem E).

    Examples
    --------
    >>> import numpy as np
    >>> from theory.smoothout import log_few_directions_share
    >>> round(float(np.exp(log_few_directions_share(1.2, 1.0, directions=6))), 4)
    0.3665
    """
    a = positive_number("strength", strength)
    return log_normal_mass(radius, a / np.sqrt(3.0), dimension=directions, shape="ball")


def radial_minimum(
    profile: Callable[[float], float],
    *,
    strength: float,
    dimension: int,
    breaks: Sequence[float] = (),
) -> float:
    r"""Smoothed value at the center of a loss :math:`C = \varphi(\|w - w_s\|_\infty)`, exactly.

    The largest coordinate of the noise is :math:`a e^{-S/m}` with S exponential, so that
    :math:`\bar C(w_s) = E\,\varphi(a e^{-S/m})`: it tends to :math:`\varphi(a^-)`, not to the value
    at a radius below a. For φ that does not decrease no point around has a lower one.

    Parameters
    ----------
    profile : callable
        φ, of one radius between 0 and a.
    strength : float
        a, of uniform noise.
    dimension : int
        m.
    breaks : sequence of float
        Radii at which φ jumps or bends.

    Returns
    -------
    float
        Accurate to 1e-10 for φ that is smooth between the breaks.

    Raises
    ------
    ValueError
        If a is not positive, m not a positive integer, a break not positive and finite, or φ not
        finite.

    References
    ----------
    Wen et al. (2018), Theorem 2, where its cubes are exact (derived; Theorem G).

    Examples
    --------
    >>> from theory.smoothout import radial_minimum
    >>> [round(radial_minimum(lambda r: r, strength=1.0, dimension=m), 9) for m in (1, 3, 10**9)]
    [0.5, 0.75, 0.999999999]
    """
    a, m = positive_number("strength", strength), positive_integer("dimension", dimension)
    radii = [positive_number("breaks", each) for each in breaks]

    def density(s: float) -> float:
        return number("the profile's value", profile(a * float(np.exp(-s / m)))) * float(np.exp(-s))

    bends = [min(m * float(np.log(a / r)), 45.0) for r in radii if r < a]
    edges = sorted({0.0, 1.0, 8.0, 45.0, *bends})
    parts = [
        quad(density, low, high, epsabs=1e-14, epsrel=1e-12)[0]
        for low, high in itertools.pairwise(edges)
    ]
    return float(sum(parts))


def _outer_radius(inner: float, outer: float, limit: float) -> float:
    """Return ε' where 0 ≤ ε < ε' < a; or raise ValueError."""
    inner, outer = number("inner_radius", inner), number("outer_radius", outer)
    if not 0.0 <= inner < outer:
        raise ValueError(
            f"radii must be ordered, 0 ≤ inner_radius < outer_radius (ε < ε'), got {inner:g} and "
            f"{outer:g}"
        )
    if not outer < limit:
        raise ValueError(
            f"outer_radius must be below strength (ε' < a), got {outer:g} and {limit:g}: the noise "
            "stays in the well"
        )
    return outer
