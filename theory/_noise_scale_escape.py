"""Which minimum a diffusion at a given temperature is in, and how long it takes to leave it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import logsumexp

from theory._noise_scale_modes import positive_modes
from theory._validation import Array, finite_array, positive_array, symmetric_array

_NODES = 16
_FIRST_PANELS, _LAST_PANELS = 32, 32768
_TOLERANCE = 1e-10  # of the mean passage time, between a number of panels and twice that
_NEGLIGIBLE = 60.0  # nats: what lies this far above the minimum, in units of T, is left out


def basin_log_odds(costs: ArrayLike, hessians: ArrayLike, temperature: ArrayLike) -> Array:
    r"""Log probability of each basin by Laplace's approximation; differences are log odds.

    :math:`p_k \propto e^{-C_k/T}(2\pi T)^{P/2}/\sqrt{|H_k|}`, normalized over the basins. At T = 1
    these are the basins' shares of the Bayesian evidence; below it depth counts more, above it
    breadth.

    Parameters
    ----------
    costs : array_like (K,)
        :math:`C_k` at each minimum: summed cost, with the temperature that belongs to it.
    hessians : array_like (K, P, P) or (K,)
        Hessians of that cost, positive definite, or their log determinants.
    temperature : array_like (...)
        T, positive.

    Returns
    -------
    ndarray (..., K)
        Natural logs of the probabilities.

    Raises
    ------
    ValueError
        If values are not finite, shapes do not fit, a Hessian is not positive definite or a
        temperature is not positive.

    References
    ----------
    Smith & Le (2018), appendix A; Jastrzębski et al., "Three factors influencing minima in SGD"
    (2017) (derived).

    Examples
    --------
    >>> import numpy as np
    >>> from theory.noise_scale import basin_log_odds
    >>> np.exp(basin_log_odds([0.0, 1.0], [[[100.0]], [[1.0]]], [0.1, 10.0])).round(3)
    array([[1. , 0. ],
           [0.1, 0.9]])
    """
    C = finite_array("costs", costs, ndim=1)
    determinants = _log_determinants(hessians)
    if len(determinants) != len(C):
        raise ValueError(f"costs has {len(C)} basins but hessians has {len(determinants)}")
    T = positive_array("temperature", temperature)
    # (2πT)^(P/2) is common to all basins.
    weights = -C / T[..., None] - 0.5 * determinants
    return np.asarray(weights - logsumexp(weights, axis=-1, keepdims=True))


def _log_determinants(hessians: ArrayLike) -> Array:
    if np.ndim(hessians) == 1:
        return finite_array("hessians", hessians)
    stack = symmetric_array("hessians", hessians, ndim=3)
    return np.array([np.sum(np.log(positive_modes("hessians", H)[0])) for H in stack])


def critical_temperature(
    cost_a: float, cost_b: float, log_determinant_a: float, log_determinant_b: float
) -> float:
    r"""Temperature at which two quadratic basins are equally probable.

    :math:`T = \frac{C_a - C_b}{\frac12(\ln|H_b| - \ln|H_a|)}`: above it the wider basin wins,
    below it the deeper one.

    Parameters
    ----------
    cost_a, cost_b : float
        Costs at the two minima.
    log_determinant_a, log_determinant_b : float
        Natural logs of the determinants of their Hessians.

    Returns
    -------
    float
        In the unit of the costs.

    Raises
    ------
    ValueError
        If a number is not finite, or if one basin is the more probable at every temperature: the
        deeper one is the wider one too, or they differ in one respect only, or in none.

    References
    ----------
    Jastrzębski et al. (2017) (derived).

    Examples
    --------
    >>> from theory.noise_scale import critical_temperature
    >>> round(critical_temperature(1.0, 0.0, 0.0, 4.0), 6)
    0.5
    """
    names = ("cost_a", "cost_b", "log_determinant_a", "log_determinant_b")
    given = (cost_a, cost_b, log_determinant_a, log_determinant_b)
    a, b, width_a, width_b = (
        float(finite_array(name, value, ndim=0)) for name, value in zip(names, given, strict=True)
    )
    depth, breadth = a - b, 0.5 * (width_b - width_a)
    if np.sign(depth) * np.sign(breadth) <= 0.0:
        raise ValueError(
            f"no temperature makes the odds even: cost_a - cost_b = {depth:g} and "
            f"log_determinant_b - log_determinant_a = {2.0 * breadth:g} must have the same sign"
        )
    return depth / breadth


def kramers_time(
    minimum_hessian: ArrayLike,
    saddle_hessian: ArrayLike,
    barrier: ArrayLike,
    temperature: ArrayLike,
) -> Array:
    r"""Mean time to cross a saddle into the next basin, at temperatures well below the barrier.

    For :math:`d\omega = -\nabla C\,dt + \sqrt{2T}\,dW`,

    .. math:: \tau = \frac{2\pi}{|\mu_-|}\sqrt{\frac{|\det H_b|}{\det H_a}}\; e^{\Delta C/T},

    with the saddle's one negative eigenvalue :math:`\mu_-`. The mean time to reach the saddle
    itself is half of this. For SGD on the summed cost C, a step takes the time
    :math:`\epsilon/(N(1-m))`.

    Parameters
    ----------
    minimum_hessian, saddle_hessian : array_like (P, P) or float
        :math:`H_a` and :math:`H_b` of C; numbers for one parameter.
    barrier : array_like (...)
        :math:`\Delta C`, positive: cost at the saddle minus that at the minimum.
    temperature : array_like (...)
        T, positive.

    Returns
    -------
    float or ndarray (...)
        Time in the unit of 1 / curvature; infinite where it overflows. Relative error O(T).

    Raises
    ------
    ValueError
        If :math:`H_a` is not positive definite, :math:`H_b` has not exactly one negative and no
        zero eigenvalue, shapes do not fit, or a barrier or temperature is not positive.

    References
    ----------
    Kramers (1940); Berglund, "Kramers' law: validity, derivations and generalisations" (2013),
    equations 1.6 and 1.9 (numbers from memory; one parameter derived).

    Examples
    --------
    >>> from theory.noise_scale import kramers_time
    >>> round(float(kramers_time(2.0, -1.0, barrier=0.25, temperature=0.05)), 1)
    659.4
    """
    floor, _ = positive_modes("minimum_hessian", _matrix(minimum_hessian))
    H_b = symmetric_array("saddle_hessian", _matrix(saddle_hessian), ndim=2)
    if len(H_b) != len(floor):
        raise ValueError(
            f"minimum_hessian is {len(floor)} x {len(floor)} but saddle_hessian is "
            f"{len(H_b)} x {len(H_b)}"
        )
    saddle = np.linalg.eigvalsh(H_b)
    rounding = len(saddle) * np.finfo(float).eps * np.max(np.abs(saddle))
    if not saddle[0] < -rounding or np.any(saddle[1:] <= rounding):
        raise ValueError(
            "saddle_hessian must have exactly one negative and no zero eigenvalue, got "
            f"{np.array2string(saddle, precision=3, threshold=6)}"
        )
    height, T = positive_array("barrier", barrier), positive_array("temperature", temperature)
    try:
        np.broadcast_shapes(height.shape, T.shape)
    except ValueError:
        raise ValueError(
            f"barrier {height.shape} and temperature {T.shape} do not broadcast"
        ) from None
    entropy = 0.5 * float(np.sum(np.log(np.abs(saddle))) - np.sum(np.log(floor)))
    with np.errstate(over="ignore"):
        return np.asarray(2.0 * np.pi / -saddle[0] * np.exp(entropy + height / T))[()]


def _matrix(value: ArrayLike) -> ArrayLike:
    """Return a number as a 1 x 1 matrix, and anything else as it is."""
    return np.reshape(value, (1, 1)) if np.ndim(value) == 0 else value


def mean_passage_time(
    potential: Callable[[Array], ArrayLike],
    start: float,
    end: float,
    temperature: float,
    *,
    lower: float = -np.inf,
) -> float:
    r"""Mean time of a one-dimensional diffusion to first reach ``end`` from ``start`` below it.

    For :math:`d\omega = -V'(\omega)dt + \sqrt{2T}\,dW`, reflected at ``lower``, exactly

    .. math:: \tau = \frac1T\int_{start}^{end} e^{V(y)/T}\int_{lower}^{y} e^{-V(z)/T}\,dz\,dy.

    Both integrals are taken by Gauss-Legendre rules on panels, with logarithms in place of the
    exponentials; panels are halved until the result is steady to 1e-10.

    Parameters
    ----------
    potential : callable
        V, from an array of positions to an array of finite values of the same shape.
    start, end : float
        Positions; ``lower`` ≤ ``start`` < ``end``. For a passage to the left mirror the potential.
    temperature : float
        T, positive.
    lower : float, default -inf
        Reflecting wall. Without one, V has to rise at least 60 T above its minimum left of
        ``start``.

    Returns
    -------
    float
        Time; infinite where it overflows.

    Raises
    ------
    ValueError
        If a number is not finite or out of order, V returns another shape or something not finite,
        V does not rise to the left and there is no wall, or the integral does not converge.

    References
    ----------
    Gardiner, "Handbook of stochastic methods", section 5.2.7 (number from memory; derived).

    Examples
    --------
    >>> from theory.noise_scale import mean_passage_time
    >>> free = mean_passage_time(lambda x: 0.0 * x, 0.0, 2.0, temperature=0.5, lower=0.0)
    >>> round(free, 9)  # length² / 2T
    4.0
    """
    T = float(positive_array("temperature", temperature, ndim=0))
    first = float(finite_array("start", start, ndim=0))
    last = float(finite_array("end", end, ndim=0))
    if not first < last:
        raise ValueError(f"start must be below end, got {first:g} and {last:g}")

    def scaled(x: Array) -> Array:
        values = finite_array("potential(x)", potential(x))
        if values.shape != x.shape:
            raise ValueError(f"potential maps shape {x.shape} to {values.shape}")
        return values / T

    wall = float(lower) if np.ndim(lower) == 0 else np.nan
    if wall == -np.inf:
        wall = _negligible_below(scaled, first, last - first)
    if not (np.isfinite(wall) and wall <= first):
        raise ValueError(f"lower must be a number of at most start, {first:g}, got {lower}")
    panels, log_time = _FIRST_PANELS, _log_passage_time(scaled, wall, first, last, _FIRST_PANELS)
    change = np.inf
    while change > _TOLERANCE:
        if panels == _LAST_PANELS:
            raise ValueError(
                f"the integral is not steady with {panels} panels (change {change:.1g}): the "
                f"potential is too rough, or {wall:g} to {last:g} too wide, at this temperature"
            )
        panels, before = 2 * panels, log_time
        log_time = _log_passage_time(scaled, wall, first, last, panels)
        change = abs(log_time - before)
    with np.errstate(over="ignore"):
        return float(np.exp(log_time) / T)


def _negligible_below(V: Callable[[Array], Array], start: float, step: float) -> float:
    """Return a position below which e^-V adds nothing to its integral up to the start."""
    lowest = np.inf
    for doubling in range(40):
        near, far = start - step * (2.0**doubling - 1.0), start - step * (2.0 ** (doubling + 1) - 1)
        values = V(np.linspace(near, far, 257))
        lowest = min(lowest, float(np.min(values)))
        if values[-1] - lowest >= _NEGLIGIBLE and values[-1] >= values[-2]:
            return far
    raise ValueError("potential does not rise to the left: give a reflecting wall, lower")


def _log_passage_time(
    V: Callable[[Array], Array], wall: float, start: float, end: float, panels: int
) -> float:
    """Return the log of the double integral, V being in units of T, with 2 x panels panels."""
    edges = np.linspace(start, end, panels + 1)
    if wall < start:
        edges = np.concatenate([np.linspace(wall, start, panels + 1)[:-1], edges])
    nodes, weights, partial = _panel_rule()
    half = 0.5 * np.diff(edges)[:, None]
    x = edges[:-1, None] + half * (1.0 + nodes)
    v = V(x)
    peak = np.max(-v, axis=1, keepdims=True)
    density = np.exp(-v - peak) * half
    whole = peak[:, 0] + np.log(density @ weights)
    before = np.concatenate([[-np.inf], np.logaddexp.accumulate(whole)[:-1]])[:, None]
    inside = density @ partial.T
    up_to_node = np.logaddexp(before, peak + np.log(np.maximum(inside, np.finfo(float).tiny)))
    outer = v + up_to_node + np.log(half * weights)
    return float(logsumexp(outer[x > start]))


def _panel_rule() -> tuple[Array, Array, Array]:
    """Return Gauss-Legendre nodes, weights, and the matrix of integrals from -1 to each node."""
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    # Up to x_j: Legendre coefficients from the nodes, then (2n + 1) ∫P_n = P_{n+1} - P_{n-1}.
    degrees = np.arange(_NODES)
    values = np.polynomial.legendre.legvander(nodes, _NODES)
    coefficients = (degrees[:, None] + 0.5) * values[:, :_NODES].T * weights
    lower_degree = np.hstack([-np.ones((_NODES, 1)), values[:, : _NODES - 1]])
    antiderivatives = (values[:, 1:] - lower_degree) / (2 * degrees + 1)
    return nodes, weights, antiderivatives @ coefficients
