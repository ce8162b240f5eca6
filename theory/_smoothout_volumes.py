"""How much of a box or of a normal law lies in a small body: in logs, for up to 10⁹ dimensions."""

from __future__ import annotations

import itertools
from math import comb, factorial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import quad
from scipy.optimize import brentq
from scipy.special import dawsn, erf, gammainc, gammaln, ndtr, poch

from theory._landscapes_base import check_noise, noise_fourth_moment, noise_variance
from theory._landscapes_smoothing import log_gaussian_mean
from theory._validation import Array, finite_array, positive_array, positive_integer

SHAPES = ("box", "ball")

_ROOT_2 = float(np.sqrt(2.0))


def log_volume_ratio(
    radius: ArrayLike,
    strength: ArrayLike,
    *,
    dimension: int,
    shape: str = "box",
    offset: ArrayLike = 0.0,
) -> Array:
    r"""Log of the share of the box :math:`[-a, a]^m` that lies in a smaller body.

    Parameters
    ----------
    radius : array_like (...)
        Half-width b of an inner box, or radius of a ball; positive, any size: what sticks out of
        the box does not count.
    strength : array_like (...)
        a, positive, in the unit of the radius.
    dimension : int
        m, up to 10⁹ and beyond: the time does not grow with it.
    shape : str
        "box" or "ball".
    offset : array_like () or (m,)
        Where the inner box is centered: one number for all coordinates, or one for each. A ball
        is centered in the box.

    Returns
    -------
    float or ndarray (...)
        Nats, at most 0; -inf where the bodies are apart. Accurate to 1e-11 + 1e-15 times what is
        returned or m, whichever is larger.

    Raises
    ------
    ValueError
        If a length is not positive and finite, the dimension not a positive integer, the shape
        unknown, the offset of another shape than () or (m,), or that of a ball not zero.

    References
    ----------
    Wen et al. (2018), Theorem 2 (Eq. 9): :math:`(\epsilon'/a)^m`; the other cases are derived.

    Examples
    --------
    >>> from theory.smoothout import log_volume_ratio
    >>> float(log_volume_ratio(0.99, 1.0, dimension=1000).round(3))
    -10.05
    >>> float(log_volume_ratio(1.0, 1.0, dimension=10**9, shape="ball"))
    -9635841576.76...
    >>> float(log_volume_ratio(5.0, 1.0, dimension=100, shape="ball").round(4))  # it sticks out
    -6.2287
    """
    return _log_mass(_LOG_UNIFORM, radius, strength, dimension, shape, offset)


def log_normal_mass(
    radius: ArrayLike,
    strength: ArrayLike,
    *,
    dimension: int,
    shape: str = "box",
    offset: ArrayLike = 0.0,
) -> Array:
    r"""Log of the mass that normal noise :math:`N(0, \sigma^2 I)` puts into a box or a ball.

    Parameters
    ----------
    radius : array_like (...)
        Half-width of the box, or radius of the ball; positive.
    strength : array_like (...)
        σ, positive, in the unit of the radius. Noise of the variance of a uniform law on
        :math:`[-a, a]` has :math:`\sigma = a/\sqrt3`.
    dimension, shape, offset
        As :func:`log_volume_ratio` takes them.

    Returns
    -------
    float or ndarray (...)
        Nats, at most 0.

    Raises
    ------
    ValueError
        As :func:`log_volume_ratio`.

    References
    ----------
    Wen et al. (2018), Theorem 2 with the noise they compare with (derived).

    Examples
    --------
    >>> import numpy as np
    >>> from theory.smoothout import log_normal_mass, log_volume_ratio
    >>> for radius in (0.5, 0.99):  # a narrow well, and one nearly as wide as the noise
    ...     uniform = log_volume_ratio(radius, 1.0, dimension=1000)
    ...     normal = log_normal_mass(radius, 3**-0.5, dimension=1000)
    ...     print((np.array([uniform, normal]) / np.log(10)).round(1))
    [-301.  -212.2]
    [ -4.4 -39.2]
    """
    return _log_mass(_LOG_NORMAL, radius, strength, dimension, shape, offset)


def shell_thickness(share: ArrayLike, *, dimension: int) -> Array:
    r"""Thickness, relative to a, of the box's outer shell that holds a share of its volume.

    Parameters
    ----------
    share : array_like (...)
        In (0, 1).
    dimension : int
        m.

    Returns
    -------
    float or ndarray (...)
        :math:`1 - (1 - \text{share})^{1/m}`, about :math:`-\ln(1 - \text{share})/m`.

    Raises
    ------
    ValueError
        If a share is not between 0 and 1, or the dimension not a positive integer.

    References
    ----------
    Wen et al. (2018), Eq. 9 (derived).

    Examples
    --------
    >>> from theory.smoothout import shell_thickness
    >>> float(shell_thickness(0.5, dimension=10**6).round(9))
    6.93e-07
    """
    m = positive_integer("dimension", dimension)
    shares = finite_array("share", share)
    if np.any((shares <= 0.0) | (shares >= 1.0)):
        raise ValueError(
            f"share must be between 0 and 1, got {shares[(shares <= 0) | (shares >= 1)][0]:g}"
        )
    return np.asarray(-np.expm1(np.log1p(-shares) / m))[()]


class NoiseNorms(NamedTuple):
    r"""How long a noise vector θ in m dimensions is.

    Attributes
    ----------
    mean_square, variance_of_square : float
        Of :math:`\|\theta\|_2^2`.
    mean, standard_deviation : float
        Of :math:`\|\theta\|_2`, to 1e-9 relative.
    mean_largest : float
        Of :math:`\|\theta\|_\infty`.
    """

    mean_square: float
    variance_of_square: float
    mean: float
    standard_deviation: float
    mean_largest: float


def noise_norms(strength: float, *, dimension: int, noise: str = "uniform") -> NoiseNorms:
    r"""Lengths of the noise: concentrated within a constant of :math:`a\sqrt{m/3}`.

    Parameters
    ----------
    strength : float
        Half-width a of uniform noise, or standard deviation σ of normal noise.
    dimension : int
        m.
    noise : str
        "uniform" or "normal".

    Returns
    -------
    NoiseNorms
        In the unit of the strength, and its powers.

    Raises
    ------
    ValueError
        If the strength is not positive, the law unknown, or m not a positive integer.

    References
    ----------
    Wen et al. (2018), section on Theorem 2 (derived).

    Examples
    --------
    >>> from theory.smoothout import noise_norms
    >>> norms = noise_norms(1.0, dimension=100)
    >>> round(norms.mean, 4), round(norms.standard_deviation, 4)
    (5.7677, 0.2587)
    """
    scale = check_noise(strength, noise)
    m = positive_integer("dimension", dimension)
    variance, fourth = noise_variance(1.0, noise), noise_fourth_moment(1.0, noise)
    mean_square, variance_of_square = m * variance, m * (fourth - variance**2)
    mean, deviation = _root_moments(m, noise)
    largest = m / (m + 1.0) if noise == "uniform" else _largest_normal(m)
    return NoiseNorms(
        scale**2 * mean_square,
        scale**4 * variance_of_square,
        scale * mean,
        scale * deviation,
        scale * largest,
    )


def log_deviation_bound(deviation: ArrayLike, strength: float, *, lipschitz: float) -> Array:
    r"""Log of a bound on :math:`P(|f(\theta) - E f(\theta)| > t)`, θ uniform on :math:`[-a, a]^m`.

    Parameters
    ----------
    deviation : array_like (...)
        t, positive.
    strength : float
        a.
    lipschitz : float
        L: f changes by at most :math:`L\|\theta - \theta'\|_2`.

    Returns
    -------
    float or ndarray (...)
        :math:`\ln 2 - \pi t^2/(4 a^2 L^2)`, whatever m: θ is a map of normal noise that stretches
        by at most :math:`2a/\sqrt{2\pi}`.

    Raises
    ------
    ValueError
        If a number is not positive.

    References
    ----------
    Ledoux (2001), The Concentration of Measure Phenomenon, section 2.1 (derived).

    Examples
    --------
    >>> from theory.smoothout import log_deviation_bound
    >>> float(log_deviation_bound(2.0, 1.0, lipschitz=1.0).round(3))
    -2.448
    """
    t = positive_array("deviation", deviation)
    scale = positive_array("strength", strength, ndim=0) * positive_array(
        "lipschitz", lipschitz, ndim=0
    )
    return np.asarray(np.log(2.0) - 0.25 * np.pi * (t / scale) ** 2)[()]


class QuadraticNoise(NamedTuple):
    """Mean and standard deviation of a quadratic loss under noise, above its value without.

    Attributes
    ----------
    mean, standard_deviation : float
        Of the average over ``draws``.
    """

    mean: float
    standard_deviation: float


def quadratic_noise(
    curvatures: ArrayLike, strength: float, *, noise: str = "uniform", draws: int = 1
) -> QuadraticNoise:
    r"""Mean and spread of :math:`\tfrac12\theta^\top H\theta`: how well a few draws know C̄.

    Parameters
    ----------
    curvatures : array_like (m,)
        Eigenvalues of H; under uniform noise H must be diagonal.
    strength : float
        a or σ.
    noise : str
        "uniform" or "normal".
    draws : int
        Independent draws that are averaged.

    Returns
    -------
    QuadraticNoise
        Mean :math:`\tfrac{a^2}{6}\text{tr} H`; variance :math:`\tfrac{a^4}{45}\text{tr} H^2`.

    Raises
    ------
    ValueError
        If the strength is not positive, the law unknown, a curvature not finite, or ``draws`` not
        a positive integer.

    References
    ----------
    Wen et al. (2018), Eq. 2 on a quadratic (derived).

    Examples
    --------
    >>> from theory.smoothout import quadratic_noise
    >>> mean, spread = quadratic_noise([1.0] * 1000, 0.3)
    >>> round(mean, 9), round(spread / mean, 4)  # one draw knows it to 3 percent
    (15.0, 0.0283)
    """
    scale = check_noise(strength, noise)
    values = finite_array("curvatures", curvatures, ndim=1)
    variance = noise_variance(scale, noise)
    spread = noise_fourth_moment(scale, noise) - variance**2
    return QuadraticNoise(
        0.5 * variance * float(np.sum(values)),
        0.5 * float(np.sqrt(spread * np.sum(values**2) / positive_integer("draws", draws))),
    )


def noise_crossover() -> float:
    r"""Relative half-width of the well that uniform and normal noise of one variance leave alike.

    Returns
    -------
    float
        The root of :math:`x = \text{erf}(\sqrt{3/2}\,x)` in (0, 1), 0.86668: narrower wells lose
        more to uniform noise, wider ones to the tails of normal noise; in any dimension.

    References
    ----------
    Wen et al. (2018), introduction: uniform instead of Gaussian noise (derived).

    Examples
    --------
    >>> from theory.smoothout import noise_crossover
    >>> round(noise_crossover(), 5)
    0.86668
    """
    return float(brentq(lambda x: erf(np.sqrt(1.5) * x) - x, 0.5, 1.0, xtol=1e-15))


# --- masses ---------------------------------------------------------------------------------------


def _log_mass(
    law: Any, radius: ArrayLike, strength: ArrayLike, dimension: int, shape: str, offset: ArrayLike
) -> Array:
    """Return the log mass of bodies; lengths in units of the strength from here on."""
    r = positive_array("radius", radius) / positive_array("strength", strength)
    m = positive_integer("dimension", dimension)
    if shape not in SHAPES:
        raise ValueError(f"shape must be one of {', '.join(SHAPES)}, got {shape!r}")
    shifts = finite_array("offset", offset)
    if shifts.shape not in ((), (m,)):
        raise ValueError(f"offset must be a number or have shape ({m},), got {shifts.shape}")
    in_slab, in_ball = law
    if shape == "ball":
        if np.any(shifts != 0.0):
            raise ValueError("offset must be 0 for a ball: its share is known where it is centered")
        result = np.vectorize(lambda each: in_ball(float(each), m), otypes=[float])(r)
    elif shifts.ndim == 0:
        result = m * in_slab(r, shifts / np.asarray(strength, float))
    else:
        each = in_slab(r[..., None], shifts / np.asarray(strength, float)[..., None])
        result = np.sum(each, axis=-1)
    return np.asarray(result)[()]


def _log_uniform_in_slab(half_width: Array, offset: Array) -> Array:
    """Return the log share of [-1, 1] in the interval around an offset."""
    width = np.minimum(offset + half_width, 1.0) - np.maximum(offset - half_width, -1.0)
    with np.errstate(divide="ignore"):
        # A centered interval by its half-width itself: the difference would round it.
        inside = np.where(
            np.abs(offset) + half_width <= 1.0, half_width, 0.5 * np.maximum(width, 0.0)
        )
        return np.asarray(np.log(np.minimum(inside, 1.0)))


def _log_normal_in_slab(half_width: Array, offset: Array) -> Array:
    """Return the log mass that a standard normal puts into the interval around an offset."""
    near, far = np.abs(offset) - half_width, np.abs(offset) + half_width
    part = 0.5 * np.log(2.0 / np.pi) + np.log(half_width) + log_gaussian_mean(offset, half_width)
    # Close to all of the mass, what two tails leave.
    nearly_all = np.log1p(-np.minimum(ndtr(near) + ndtr(-far), 0.5))
    return np.asarray(np.where(near < -1.0, nearly_all, part))


def _log_normal_in_ball(radius: float, m: int) -> float:
    """Return the log of the regularized gamma function P(m/2, radius²/2)."""
    s, x = 0.5 * m, 0.5 * radius * radius
    mass = float(gammainc(s, x))
    if mass > 1e-200:
        return float(np.log(mass))
    # Far below the mean the series x^s e^-x / Γ(s+1) (1 + x/(s+1) + ...) falls geometrically.
    terms = np.arange(1, 2 + int(np.ceil(40.0 / np.log((s + 1.0) / x))))
    series = 1.0 + float(np.sum(np.cumprod(x / (s + terms))))
    return _log_power_over_factorial(x, s) - x + float(np.log(series))


def _log_uniform_in_ball(radius: float, m: int) -> float:
    """Return the log share of [-1, 1]^m in the ball around 0."""
    x = radius * radius
    if x >= m:
        return 0.0
    if x <= 1.0:
        return _log_power_over_factorial(0.25 * np.pi * x, 0.5 * m)
    if m <= 3:
        return float(np.log(_disk(x) if m == 2 else _sphere(x)))
    return _log_contour(x, m)


def _log_power_over_factorial(base: float, s: float) -> float:
    """Return ln(base^s / Γ(s + 1)), without the difference of large numbers that this is."""
    if s < 50.0:
        return float(s * np.log(base) - gammaln(s + 1.0))
    correction = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * s * s)) / (s * s)) / s
    return float(s * (1.0 + np.log(base / s)) - 0.5 * np.log(2.0 * np.pi * s) - correction)


def _disk(x: float) -> float:
    """Return the share of the square [-1, 1]² within the root of x of its center, 1 ≤ x ≤ 2."""
    edge = np.sqrt(x - 1.0)
    # A square of side 2 edge and four pieces of a disk, each up to the angle where it is cut.
    return float(edge + x * (0.25 * np.pi - np.arctan(edge)))


def _sphere(x: float) -> float:
    """Return the share of the cube within the root of x of its center: slices are disks."""

    def slice_(u: float) -> float:
        y = x - u * u
        return 1.0 if y >= 2.0 else _disk(y) if y >= 1.0 else 0.25 * np.pi * y

    cuts = [np.sqrt(c) for c in (x - 2.0, x - 1.0) if 0.0 < c < 1.0]
    edges = [0.0, *cuts, 1.0]
    parts = [
        quad(slice_, low, high, epsabs=0.0, epsrel=1e-13)[0]
        for low, high in itertools.pairwise(edges)
    ]
    return float(sum(parts))


# The sum of m squares of uniform numbers has the moment generating function M(t)^m, with
# M(t) = ∫₀¹ exp(t u²) du. Its distribution function is an integral of M(t)^m exp(-t x)/t along a
# vertical line, on either side of the pole at 0; through the saddle point nothing cancels, and the
# trapezoidal rule's error falls like a normal density.


def _log_contour(x: float, m: int) -> float:
    lower_tail = 3.0 * x < m
    saddle, deviation = _saddle(x, m, lower_tail)
    # So many deviations away what is tilted is down to 1e-16: a density close to a gamma density,
    # or, close to the mean, a distribution function, which only falls like exp(-√2 deviations).
    step = 2.0 * np.pi / ((26.0 + 60.0 / m) * deviation)
    # Far out the integrand falls like |t|^-(m/2 + 1), and oscillates.
    reach = abs(saddle) * np.sqrt(np.expm1(4.0 * 32.0 / (m + 2.0))) + 9.0 / deviation
    t = saddle + 1j * step * (np.arange(int(np.ceil(reach / step))) + 0.5)
    peak = m * _log_generating(np.array([saddle + 0j])).real[0] - saddle * x
    values = np.exp(m * _log_generating(t) - t * x - peak) / t
    tail = peak + np.log(abs(np.sum(values.real)) * step / np.pi)
    return float(tail if lower_tail else np.log1p(-np.exp(tail)))


def _log_generating(t: NDArray[Any]) -> NDArray[Any]:
    """Return ln M(t) by the error function on the left, by Dawson's integral on the right."""
    result = np.empty_like(t)
    near, left = np.abs(t) < 0.25, t.real < 0.0
    # Close to 0 the logarithm of nearly 1 is better summed from the cumulants of a square.
    cumulants = _cumulants([1.0 / (2 * j + 1) for j in range(1, 13)])
    result[near] = sum(c * t[near] ** j / factorial(j) for j, c in enumerate(cumulants, start=1))
    root = np.sqrt(-t[left & ~near])
    result[left & ~near] = np.log(0.5 * np.sqrt(np.pi) * erf(root) / root)
    right = t[~left & ~near]
    root = np.sqrt(right)
    result[~left & ~near] = right + np.log(dawsn(root) / root)
    return result


def _saddle(x: float, m: int, lower_tail: bool) -> tuple[float, float]:
    """Return where M(t)^m exp(-t x)/|t| is least on the real line, and the root of its curvature.

    Any line gives the same integral: so neither has to be exact.
    """
    sign = -1.0 if lower_tail else 1.0

    def slope(log_size: float) -> float:
        t = sign * np.exp(log_size)
        return m * _cumulant_slope(t) - x - 1.0 / float(t)

    # Left: between the pole's 1/|t| and m/(2|t|), which is the slope's limit; right: (m - x) = m/t.
    t = sign * float(np.exp(brentq(slope, -30.0, np.log(2.0 * m * (1.0 + m / (m - x)) + 100.0))))
    nearby = 1e-3 * abs(t)
    curvature = m * (_cumulant_slope(t + nearby) - _cumulant_slope(t - nearby)) / (2.0 * nearby)
    return t, float(np.sqrt(curvature + 1.0 / t**2))


def _cumulant_slope(t: float) -> float:
    """Return M'(t)/M(t)."""
    if abs(t) < 1e-3:
        return 1.0 / 3.0 + t * (4.0 / 45.0 + t * 8.0 / 945.0)
    if t < 0.0:
        root = np.sqrt(-t)
        ratio = np.exp(t) * 2.0 * root / (np.sqrt(np.pi) * erf(root))
    else:
        root = np.sqrt(t)
        ratio = root / dawsn(root)
    return float((ratio - 1.0) / (2.0 * t))


_LOG_UNIFORM = (_log_uniform_in_slab, _log_uniform_in_ball)
_LOG_NORMAL = (_log_normal_in_slab, _log_normal_in_ball)


# --- lengths --------------------------------------------------------------------------------------


def _root_moments(m: int, noise: str) -> tuple[float, float]:
    """Return mean and standard deviation of the norm of noise of strength 1."""
    raw = [1 / 3, 1 / 5, 1 / 7, 1 / 9] if noise == "uniform" else [1.0, 3.0, 15.0, 105.0]
    if m <= 1000:
        mean = _mean_root(m, noise)
        return mean, float(np.sqrt(m * raw[0] - mean**2))
    # The difference would cancel: Taylor's series of the root around the mean square instead.
    c1, c2, c3, c4 = _cumulants(raw)
    c2, c3, c4 = c2 / c1**2, c3 / c1**3, c4 / c1**4
    shortfall = c2 / 8 + (15 * c2**2 / 128 - c3 / 16) / m
    shortfall += (5 * c4 / 128 - 35 * c2 * c3 / 128 + 315 * c2**3 / 1024) / m**2
    shortfall /= m
    variance = m * c1 * shortfall * (2.0 - shortfall)
    return float(np.sqrt(m * c1) * (1.0 - shortfall)), float(np.sqrt(variance))


def _cumulants(raw: list[float]) -> list[float]:
    """Return the first cumulants from as many moments."""
    cumulants: list[float] = []
    for n, moment in enumerate(raw, start=1):
        known = sum(
            comb(n - 1, k - 1) * c * raw[n - k - 1] for k, c in enumerate(cumulants, start=1)
        )
        cumulants.append(moment - known)
    return cumulants


def _mean_root(m: int, noise: str) -> float:
    """Return the mean norm by the integral of (1 - E exp(-v² X))/v² over v, X the squared norm.

    In ln v the integrand falls exponentially on both sides: there the trapezoidal rule is exact.
    """
    if noise == "normal":
        return float(_ROOT_2 * poch(0.5 * m, 0.5))
    log_v, step = np.linspace(-38.0, 38.0, 3041, retstep=True)
    v = np.exp(log_v)
    log_one = _log_generating(-v * v)
    return float(np.sum(-np.expm1(m * log_one) / v) * step / np.sqrt(np.pi))


def _largest_normal(m: int) -> float:
    """Return the mean of the largest size of m standard normals."""
    nodes, weights = np.polynomial.legendre.leggauss(300)
    end = np.sqrt(2.0 * np.log(m + 1.0)) + 10.0
    x = 0.5 * end * (nodes + 1.0)
    beyond = -np.expm1(m * np.log1p(-2.0 * ndtr(-x)))
    return float(0.5 * end * np.sum(weights * beyond))
