"""What a measure of complexity promises about the error on new examples."""

from __future__ import annotations

import math
from typing import NamedTuple

from theory._capacity_counting import log_binomial_sum
from theory._validation import nonnegative_number, number, positive_integer, positive_number


class GeneralizationBound(NamedTuple):
    """An upper bound on the expected loss on a new example.

    Attributes
    ----------
    value : float
        Empirical risk plus ``gap``; not cut off at the largest loss.
    gap : float
        What is added to the empirical risk.
    vacuous : bool
        Whether ``value`` is no less than the largest loss, so that it says nothing.
    """

    value: float
    gap: float
    vacuous: bool


def generalization_bound(
    empirical_risk: float, complexity: float, *, n: int, delta: float = 0.05
) -> GeneralizationBound:
    r"""Bound the risk by the Rademacher complexity.

    With probability :math:`1 - \delta`, for all functions of the class at once,

    .. math:: R \le \hat R + 2 R_n + 3 \sqrt{\frac{\ln(2/\delta)}{2n}},

    with losses in [0, 1] and :math:`R_n` the empirical complexity of the losses. For the error rate
    of a class of ±1-valued functions that is half the class's own complexity. A class that fits
    random labels has complexity 1, and its bound is vacuous.

    Parameters
    ----------
    empirical_risk : float
        In [0, 1].
    complexity : float
        :math:`R_n`, not negative.
    n : int
        Number of examples.
    delta : float, default 0.05
        In (0, 1).

    Returns
    -------
    GeneralizationBound

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Zhang et al. (2017), section 2.2. Bartlett & Mendelson, JMLR 3 (2002) (from memory, in the form
    of textbooks; not checked against the paper's text).

    Examples
    --------
    >>> from theory.capacity import generalization_bound
    >>> generalization_bound(0.0, 0.5, n=50_000).vacuous
    True
    >>> round(generalization_bound(0.0, 0.05, n=50_000).value, 3)
    0.118
    """
    risk = _risk(empirical_risk, 1.0)
    capacity = nonnegative_number("complexity", complexity)
    confidence = 3.0 * _deviation(positive_integer("n", n), _probability(delta) / 2.0)
    return _bound(risk, 2.0 * capacity + confidence, 1.0)


def vc_generalization_bound(
    empirical_risk: float, vc_dimension: int, *, n: int, delta: float = 0.05
) -> GeneralizationBound:
    r"""Bound the error rate by the VC dimension D.

    With probability :math:`1 - \delta`, for all classifiers of the class at once,

    .. math:: R \le \hat R + \sqrt{\frac{2 \ln \Pi(n)}{n}} + \sqrt{\frac{\ln(1/\delta)}{2n}},
              \qquad \Pi(n) \le \sum_{k \le D} \binom nk,

    Sauer's bound on the number of ways to label n examples. For D ≥ n it is :math:`2^n`, and the
    bound is vacuous.

    Parameters
    ----------
    empirical_risk : float
        Error rate, in [0, 1].
    vc_dimension : int
        D, or a larger number.
    n : int
        Number of examples.
    delta : float, default 0.05
        In (0, 1).

    Returns
    -------
    GeneralizationBound

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Vapnik & Chervonenkis (1971), as in Mohri, Rostamizadeh & Talwalkar, *Foundations of Machine
    Learning*, section 3.2 and 3.3 (from memory, not checked against the book's text).

    Examples
    --------
    >>> from theory.capacity import vc_generalization_bound
    >>> vc_generalization_bound(0.0, 1_209_866, n=50_000).vacuous
    True
    >>> round(vc_generalization_bound(0.0, 65, n=50_000).value, 3)
    0.146
    """
    risk = _risk(empirical_risk, 1.0)
    dimension = positive_integer("vc_dimension", vc_dimension)
    size = positive_integer("n", n)
    confidence = _deviation(size, _probability(delta))
    growth = math.sqrt(2.0 * log_binomial_sum(size, dimension) / size)
    return _bound(risk, growth + confidence, 1.0)


def stability_generalization_bound(
    empirical_risk: float,
    stability: float,
    *,
    n: int,
    delta: float = 0.05,
    max_loss: float = 1.0,
) -> GeneralizationBound:
    r"""Bound the risk of what a uniformly stable algorithm has learnt.

    With probability :math:`1 - \delta`, for losses in [0, M],

    .. math:: R \le \hat R + 2\beta + (4n\beta + M) \sqrt{\frac{\ln(1/\delta)}{2n}}.

    It says something only if :math:`\beta` falls faster than :math:`1/\sqrt n`.

    Parameters
    ----------
    empirical_risk : float
        In [0, M].
    stability : float
        :math:`\beta`, the largest change of a loss when an example is taken out; not negative.
    n : int
        Number of examples.
    delta : float, default 0.05
        In (0, 1).
    max_loss : float, default 1
        M.

    Returns
    -------
    GeneralizationBound

    Raises
    ------
    ValueError
        If a number is out of its range.

    References
    ----------
    Bousquet & Elisseeff, JMLR 2 (2002), theorem 12 (from memory, not checked against the paper's
    text).

    Examples
    --------
    >>> from theory.capacity import stability_generalization_bound
    >>> round(stability_generalization_bound(0.1, 1e-4, n=10_000).value, 4)
    0.1614
    """
    largest = positive_number("max_loss", max_loss)
    risk = _risk(empirical_risk, largest)
    beta = nonnegative_number("stability", stability)
    size = positive_integer("n", n)
    confidence = (4.0 * size * beta + largest) * _deviation(size, _probability(delta))
    return _bound(risk, 2.0 * beta + confidence, largest)


# --- private --------------------------------------------------------------------------------------


def _bound(risk: float, gap: float, largest: float) -> GeneralizationBound:
    return GeneralizationBound(risk + gap, gap, risk + gap >= largest)


def _deviation(n: int, delta: float) -> float:
    """Return Hoeffding's deviation of a mean of n numbers in [0, 1]."""
    return math.sqrt(-math.log(delta) / (2.0 * n))


def _probability(delta: float) -> float:
    checked = number("delta", delta)
    if not 0.0 < checked < 1.0:
        raise ValueError(f"delta must be in (0, 1), got {checked:g}")
    return checked


def _risk(value: float, largest: float) -> float:
    checked = number("empirical_risk", value)
    if not 0.0 <= checked <= largest:
        raise ValueError(f"empirical_risk must be in [0, {largest:g}], got {checked:g}")
    return checked
