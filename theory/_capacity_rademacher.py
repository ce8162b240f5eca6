"""Rademacher complexity: the mean size of the best correlation with random signs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory._validation import (
    Array,
    data_array,
    finite_array,
    positive_integer,
    positive_number,
    semidefinite_array,
)

NORMS = ("l2", "l1")

_ENUMERABLE = 20  # examples: half a million choices of signs up to a common factor
_SIGNS_AT_ONCE = 2**14


class RademacherBounds(NamedTuple):
    """Numbers that enclose an empirical Rademacher complexity.

    Attributes
    ----------
    lower, upper : float
    """

    lower: float
    upper: float


class MonteCarloEstimate(NamedTuple):
    """Mean of independent draws.

    Attributes
    ----------
    value : float
        The mean.
    error : float
        Its standard error.
    """

    value: float
    error: float


def linear_supremum(
    X: ArrayLike, signs: ArrayLike, *, radius: float = 1.0, norm: str = "l2"
) -> Array:
    r"""Largest correlation of bounded linear functions with given signs, in closed form.

    .. math:: \sup_{\|w\| \le B} \frac1n \sum_i \sigma_i \langle w, x_i \rangle
              = \frac Bn \Bigl\| \sum_i \sigma_i x_i \Bigr\|_*,

    the dual norm being the Euclidean one for ``"l2"`` and the largest entry for ``"l1"``.

    Parameters
    ----------
    X : array_like (n, d)
        Sample.
    signs : array_like (..., n)
        :math:`\sigma`, usually entries of ±1.
    radius : float, default 1
        B.
    norm : str, default "l2"
        Of w: "l2" or "l1".

    Returns
    -------
    ndarray (...)

    Raises
    ------
    ValueError
        If an array is not finite, cannot be squared, is empty or of the wrong shape, the radius is
        not positive or the norm is unknown.

    References
    ----------
    Zhang et al. (2017), equation 1. Dual norms: derived.

    Examples
    --------
    >>> from theory.capacity import linear_supremum
    >>> float(linear_supremum([[3.0, 0.0], [0.0, 4.0]], [1, -1]))
    2.5
    """
    design, _ = data_array("X", X, ndim=2)
    sigma = _signs(signs, len(design))
    B = positive_number("radius", radius)
    _check_norm(norm)
    return _linear_supremum(design, sigma, B, norm)[()]


def _linear_supremum(X: Array, signs: Array, radius: float, norm: str) -> Array:
    sums = signs @ X
    dual = np.linalg.norm(sums, axis=-1) if norm == "l2" else np.max(np.abs(sums), axis=-1)
    return np.asarray(radius / len(X) * dual)


def kernel_supremum(K: ArrayLike, signs: ArrayLike, *, radius: float = 1.0) -> Array:
    r"""Largest correlation of bounded functions of an RKHS with given signs, in closed form.

    It is :math:`B \sqrt{\sigma^\top K \sigma}/n`.

    Parameters
    ----------
    K : array_like (n, n)
        Kernel matrix of the sample, positive semidefinite.
    signs : array_like (..., n)
    radius : float, default 1
        B, the largest norm in the RKHS.

    Returns
    -------
    ndarray (...)

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, K is not positive semidefinite or
        the radius is not positive.

    References
    ----------
    Zhang et al. (2017), equation 1. Closed form: derived.

    Examples
    --------
    >>> from theory.capacity import kernel_supremum
    >>> float(kernel_supremum([[9.0, 0.0], [0.0, 16.0]], [1, -1]))
    2.5
    """
    gram = semidefinite_array("K", K, ndim=2)
    sigma = _signs(signs, len(gram))
    return _kernel_supremum(gram, sigma, positive_number("radius", radius))[()]


def _kernel_supremum(K: Array, signs: Array, radius: float) -> Array:
    squares = np.sum((signs @ K) * signs, axis=-1)
    return np.asarray(radius / len(K) * np.sqrt(np.maximum(squares, 0.0)))


def linear_rademacher(X: ArrayLike, *, radius: float = 1.0, norm: str = "l2") -> float:
    r"""Empirical Rademacher complexity of bounded linear functions, exactly.

    The average of :func:`linear_supremum` over all :math:`2^n` choices of signs.

    Parameters
    ----------
    X : array_like (n, d)
        Sample of at most 20 examples.
    radius : float, default 1
        Largest norm of w.
    norm : str, default "l2"
        "l2" or "l1".

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As :func:`linear_supremum`; also if there are more than 20 examples.

    References
    ----------
    Zhang et al. (2017), equation 1.

    Examples
    --------
    >>> from theory.capacity import linear_rademacher
    >>> linear_rademacher([[1.0], [1.0]])
    0.5
    """
    design, _ = data_array("X", X, ndim=2)
    B = positive_number("radius", radius)
    _check_norm(norm)
    return _mean_over_signs("X", lambda s: _linear_supremum(design, s, B, norm), len(design))


def kernel_rademacher(K: ArrayLike, *, radius: float = 1.0) -> float:
    r"""Empirical Rademacher complexity of a ball of an RKHS, exactly.

    The average of :func:`kernel_supremum` over all :math:`2^n` choices of signs.

    Parameters
    ----------
    K : array_like (n, n)
        Kernel matrix of at most 20 examples.
    radius : float, default 1
        Largest norm in the RKHS.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As :func:`kernel_supremum`; also if there are more than 20 examples.

    References
    ----------
    Zhang et al. (2017), equation 1.

    Examples
    --------
    >>> from theory.capacity import kernel_rademacher
    >>> kernel_rademacher([[1.0, 1.0], [1.0, 1.0]])
    0.5
    """
    gram = semidefinite_array("K", K, ndim=2)
    B = positive_number("radius", radius)
    return _mean_over_signs("K", lambda s: _kernel_supremum(gram, s, B), len(gram))


def linear_rademacher_bounds(
    X: ArrayLike, *, radius: float = 1.0, norm: str = "l2"
) -> RademacherBounds:
    r"""Bounds on the empirical Rademacher complexity of bounded linear functions.

    For an L2 ball Jensen's inequality gives the upper bound, Khintchine & Kahane's with its best
    constant the lower:

    .. math:: \frac{B}{n}\sqrt{\tfrac12 \textstyle\sum_i |x_i|^2} \le R_n
              \le \frac Bn \sqrt{\textstyle\sum_i |x_i|^2}.

    For an L1 ball, with :math:`x^j` the j-th column (n,), the upper bound is Massart's lemma for
    the 2d corners, the lower one Khintchine's for the longest column alone:

    .. math:: \frac{B}{n\sqrt2} \max_j |x^j| \le R_n
              \le \frac Bn \sqrt{2\ln 2d}\, \max_j |x^j|.

    Parameters
    ----------
    X : array_like (n, d)
        Sample.
    radius : float, default 1
        B.
    norm : str, default "l2"
        Of w: "l2" or "l1".

    Returns
    -------
    RademacherBounds

    Raises
    ------
    ValueError
        If X is not finite, cannot be squared, is empty or not a matrix, the radius is not positive
        or the norm is unknown.

    References
    ----------
    Zhang et al. (2017), section 2.2. Latała & Oleszkiewicz, Studia Math. 109 (1994), for the
    constant of the lower bound; Massart's lemma (both from memory, not checked against the papers'
    text).

    Examples
    --------
    >>> from theory.capacity import linear_rademacher_bounds
    >>> [round(bound, 4) for bound in linear_rademacher_bounds([[1.0], [1.0]])]
    [0.5, 0.7071]
    """
    design, squares = data_array("X", X, ndim=2)
    scale = positive_number("radius", radius) / len(design)
    _check_norm(norm)
    if norm == "l2":
        upper = scale * math.sqrt(squares)
        return RademacherBounds(upper / math.sqrt(2), upper)
    longest = float(np.max(np.linalg.norm(design, axis=0)))
    massart = math.sqrt(2 * math.log(2 * design.shape[1]))
    return RademacherBounds(scale * longest / math.sqrt(2), scale * longest * massart)


def kernel_rademacher_bounds(K: ArrayLike, *, radius: float = 1.0) -> RademacherBounds:
    r"""Bounds on the empirical Rademacher complexity of a ball of an RKHS.

    .. math:: \frac Bn \sqrt{\tfrac12 \text{tr}\,K} \le R_n \le \frac Bn \sqrt{\text{tr}\,K}.

    Parameters
    ----------
    K : array_like (n, n)
        Kernel matrix of the sample, positive semidefinite.
    radius : float, default 1
        B.

    Returns
    -------
    RademacherBounds

    Raises
    ------
    ValueError
        If K is not finite, empty or not positive semidefinite, or the radius is not positive.

    References
    ----------
    As :func:`linear_rademacher_bounds`.

    Examples
    --------
    >>> from theory.capacity import kernel_rademacher_bounds
    >>> [round(bound, 4) for bound in kernel_rademacher_bounds([[1.0, 1.0], [1.0, 1.0]])]
    [0.5, 0.7071]
    """
    gram = semidefinite_array("K", K, ndim=2)
    upper = positive_number("radius", radius) / len(gram) * math.sqrt(float(np.trace(gram)))
    return RademacherBounds(upper / math.sqrt(2), upper)


def monte_carlo_rademacher(
    learner: Callable[[Array, Array], ArrayLike],
    X: ArrayLike,
    *,
    draws: int,
    rng: np.random.Generator | np.random.SeedSequence | int | None = None,
) -> MonteCarloEstimate:
    r"""Rademacher complexity of what a learner reaches, by training it on random labels.

    The mean of :math:`\frac1n \sum_i \sigma_i h(x_i)` over draws of :math:`\sigma`, with h the
    function that the learner returns for them. A learner that does not find the best function of
    its class gives a lower bound. For predictions of ±1 it is twice the accuracy less one.

    Parameters
    ----------
    learner : callable
        Called as ``learner(X, signs)`` with ``signs`` (n,) of ±1; returns its predictions (n,).
    X : array_like (n, d)
        Sample.
    draws : int
        At least 2.
    rng : None, int, SeedSequence or Generator
        Draws the signs.

    Returns
    -------
    MonteCarloEstimate

    Raises
    ------
    ValueError
        If X is not finite, cannot be squared, is empty or not a matrix, there are fewer than 2
        draws, or the learner does not return n finite numbers.

    References
    ----------
    Zhang et al. (2017), equation 1 and section 2.2.

    Examples
    --------
    A learner by heart, which fits every label:

    >>> from theory.capacity import monte_carlo_rademacher
    >>> monte_carlo_rademacher(lambda X, signs: signs, [[0.0], [1.0]], draws=10, rng=0)
    MonteCarloEstimate(value=1.0, error=0.0)
    """
    design, _ = data_array("X", X, ndim=2)
    positive_integer("draws", draws, minimum=2)
    generator = np.random.default_rng(rng)
    correlations = np.empty(draws)
    for k in range(draws):
        signs = generator.choice([-1.0, 1.0], len(design))
        predictions = finite_array("the learner's predictions", learner(design, signs))
        if predictions.shape != signs.shape:
            raise ValueError(
                f"the learner's predictions must be ({len(signs)},), got {predictions.shape}"
            )
        correlations[k] = np.mean(signs * predictions)
    return MonteCarloEstimate(
        float(np.mean(correlations)), float(np.std(correlations, ddof=1) / np.sqrt(draws))
    )


# --- private --------------------------------------------------------------------------------------


def _signs(signs: ArrayLike, n: int) -> Array:
    sigma = finite_array("signs", signs)
    if sigma.ndim == 0 or sigma.shape[-1] != n:
        raise ValueError(f"signs must have {n} entries in the last axis, got shape {sigma.shape}")
    return sigma


def _check_norm(norm: str) -> None:
    if norm not in NORMS:
        raise ValueError(f"norm is {norm!r}; it must be one of {', '.join(NORMS)}")


def _mean_over_signs(name: str, supremum: Callable[[Array], Array], n: int) -> float:
    """Average over all signs; the first is +1, for a norm does not see a common factor."""
    if n > _ENUMERABLE:
        raise ValueError(
            f"{name} has {n} examples: signs are enumerated for at most {_ENUMERABLE}; "
            "draw them instead"
        )
    choices = 1 << (n - 1)
    totals = []
    for start in range(0, choices, _SIGNS_AT_ONCE):
        block = np.arange(start, min(choices, start + _SIGNS_AT_ONCE))
        totals.append(float(np.sum(supremum(_signs_of(block, n)))))
    return math.fsum(totals) / choices


def _signs_of(numbers: NDArray[Any], n: int) -> Array:
    """Return the bits of the numbers as signs (..., n)."""
    bits = (numbers[:, None] >> np.arange(n)) & 1
    return 1.0 - 2.0 * bits.astype(np.float64)
