"""Uniform stability: how much one example can move what a learner has learnt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve

from theory._validation import (
    Array,
    design_and_targets,
    finite_array,
    positive_array,
    positive_integer,
    positive_number,
)


class StabilityBound(NamedTuple):
    """A bound on how much the loss of any example can change.

    Attributes
    ----------
    value : float
    vacuous : bool
        Whether it is no less than the largest loss, which no change exceeds.
    """

    value: float
    vacuous: bool


class RidgeReplacement(NamedTuple):
    """Ridge regression before and after examples are replaced, one at a time.

    Attributes
    ----------
    weights : ndarray (d,)
        Of all examples.
    replaced_weights : ndarray (r, d)
        After each replacement.
    """

    weights: Array
    replaced_weights: Array


def ridge_replacement(
    X: ArrayLike,
    y: ArrayLike,
    *,
    rows: Sequence[int] | NDArray[np.integer[Any]],
    new_X: ArrayLike,
    new_y: ArrayLike,
    regularization: float,
) -> RidgeReplacement:
    r"""Refit ridge regression after each of many replacements of one example, in closed form.

    The weights minimize :math:`\frac1n \sum_i (w^\top x_i - y_i)^2 + \lambda |w|^2`. One
    factorization serves all: an example is taken out, and another put in, by updates of rank one.

    Parameters
    ----------
    X : array_like (n, d)
        Design. Add a column of ones for a (penalized) intercept.
    y : array_like (n,)
        Targets.
    rows : sequence of int (r,)
        Which example each replacement takes out, from 0 to n - 1.
    new_X : array_like (r, d)
        What it puts in.
    new_y : array_like (r,)
        Its targets.
    regularization : float
        :math:`\lambda`, positive.

    Returns
    -------
    RidgeReplacement

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, a row is not one of X, or the
        regularization is not positive.

    References
    ----------
    Zhang et al. (2017), section 2.2, for the question. Sherman & Morrison's formula: derived.

    Examples
    --------
    >>> from theory.capacity import ridge_replacement
    >>> fit = ridge_replacement(
    ...     [[1.0], [1.0]], [0.0, 1.0], rows=[0], new_X=[[1.0]], new_y=[1.0], regularization=1.0
    ... )
    >>> fit.weights, fit.replaced_weights
    (array([0.25]), array([[0.5]]))
    """
    X, y, _, moments = design_and_targets(X, y)
    n, d = X.shape
    inputs, targets = finite_array("new_X", new_X, ndim=2), finite_array("new_y", new_y, ndim=1)
    taken = np.asarray(rows)
    _check_replacements(taken, inputs, targets, n, d)
    penalty = n * positive_number("regularization", regularization)

    factor = cho_factor(X.T @ X + penalty * np.eye(d))
    w = cho_solve(factor, moments)
    outgoing, residuals = X[taken], y[taken] - X[taken] @ w
    solved_out = cho_solve(factor, outgoing.T).T
    solved_in = cho_solve(factor, inputs.T).T
    kept = 1.0 - _products(outgoing, solved_out)
    without = w - solved_out * (residuals / kept)[:, None]
    # Sherman & Morrison: the inverse without the old example, applied to the new one
    direction = solved_in + solved_out * (_products(outgoing, solved_in) / kept)[:, None]
    gain = (targets - _products(inputs, without)) / (1.0 + _products(inputs, direction))
    return RidgeReplacement(w, without + direction * gain[:, None])


def _products(a: Array, b: Array) -> Array:
    return np.asarray(np.sum(a * b, axis=1))


def _check_replacements(rows: NDArray[Any], inputs: Array, targets: Array, n: int, d: int) -> None:
    if rows.ndim != 1 or rows.size == 0 or rows.dtype.kind not in "iu":
        raise ValueError("rows must be a sequence of integers, at least one")
    if rows.min() < 0 or rows.max() >= n:
        raise ValueError(f"rows must be from 0 to {n - 1}, got {rows.min()} to {rows.max()}")
    if inputs.shape != (len(rows), d) or targets.shape != rows.shape:
        raise ValueError(
            f"new_X must have shape ({len(rows)}, {d}) and new_y ({len(rows)},), got "
            f"{inputs.shape} and {targets.shape}"
        )


def regularized_stability(
    *,
    lipschitz: float,
    feature_norm: float,
    regularization: float,
    n: int,
    max_loss: float = 1.0,
) -> StabilityBound:
    r"""Uniform stability of regularized learning with a convex loss in an RKHS.

    For :math:`\frac1n \sum_i \ell(f(x_i), y_i) + \lambda \|f\|^2` and one example taken out,

    .. math:: \beta \le \frac{\sigma^2 \kappa^2}{2 \lambda n}.

    It holds whatever the labels are. Replacing an example changes at most twice as much.

    Parameters
    ----------
    lipschitz : float
        :math:`\sigma`, of the loss as a function of the prediction.
    feature_norm : float
        :math:`\kappa`, the largest :math:`\sqrt{k(x, x)}`: the longest example of a linear model.
    regularization : float
        :math:`\lambda`.
    n : int
        Number of examples.
    max_loss : float, default 1
        Beyond which the bound is vacuous.

    Returns
    -------
    StabilityBound

    Raises
    ------
    ValueError
        If a number is not positive, or n not an integer.

    References
    ----------
    Bousquet & Elisseeff, JMLR 2 (2002), theorem 22 (from memory, not checked against the paper's
    text; it follows from the strong convexity of the objective).

    Examples
    --------
    >>> from theory.capacity import regularized_stability
    >>> regularized_stability(lipschitz=1.0, feature_norm=1.0, regularization=0.01, n=1000)
    StabilityBound(value=0.05, vacuous=False)
    """
    sigma = positive_number("lipschitz", lipschitz)
    kappa = positive_number("feature_norm", feature_norm)
    penalty = positive_number("regularization", regularization) * positive_integer("n", n)
    limit = positive_number("max_loss", max_loss)
    value = (sigma * kappa) ** 2 / (2.0 * penalty)
    return StabilityBound(value, value >= limit)


def ridge_stability(
    *, feature_norm: float, regularization: float, n: int, target_bound: float = 1.0
) -> StabilityBound:
    r"""Uniform stability of ridge regression, :func:`regularized_stability` with its constants.

    The objective is no more than :math:`M^2` at the minimum, as at w = 0, so that predictions are
    at most :math:`M\kappa/\sqrt\lambda`, squared losses at most :math:`M^2(1 +
    \kappa/\sqrt\lambda)^2` and their slopes :math:`\sigma = 2M(1 + \kappa/\sqrt\lambda)`.

    Parameters
    ----------
    feature_norm : float
        :math:`\kappa`, length of the longest example.
    regularization : float
        :math:`\lambda`, as in :func:`ridge_replacement`.
    n : int
        Number of examples.
    target_bound : float, default 1
        M, the largest target in size.

    Returns
    -------
    StabilityBound
        Of the squared loss; vacuous if it is no less than the largest squared loss.

    Raises
    ------
    ValueError
        If a number is not positive, or n not an integer.

    References
    ----------
    Bousquet & Elisseeff, JMLR 2 (2002), theorem 22, as :func:`regularized_stability`. The constants
    are derived.

    Examples
    --------
    >>> from theory.capacity import ridge_stability
    >>> ridge_stability(feature_norm=1.0, regularization=1.0, n=100)
    StabilityBound(value=0.08, vacuous=False)
    """
    kappa = positive_number("feature_norm", feature_norm)
    root = float(np.sqrt(positive_number("regularization", regularization)))
    largest_error = positive_number("target_bound", target_bound) * (1.0 + kappa / root)
    return regularized_stability(
        lipschitz=2.0 * largest_error,
        feature_norm=kappa,
        regularization=regularization,
        n=n,
        max_loss=largest_error**2,
    )


def sgd_stability(
    *,
    lipschitz: float,
    smoothness: float,
    learning_rates: ArrayLike,
    n: int,
    max_loss: float = 1.0,
) -> StabilityBound:
    r"""Uniform stability of single-example SGD on convex losses.

    .. math:: \epsilon_\text{stab} \le \frac{2L^2}{n} \sum_t \alpha_t.

    Linear losses attain it.

    Parameters
    ----------
    lipschitz : float
        L, of the loss as a function of the weights.
    smoothness : float
        :math:`\beta`, the largest curvature; no step may be longer than :math:`2/\beta`.
    learning_rates : array_like (T,)
        :math:`\alpha_t`, of every step.
    n : int
        Number of examples.
    max_loss : float, default 1
        Beyond which the bound is vacuous.

    Returns
    -------
    StabilityBound
        Of the expected loss when an example is replaced; it bounds the expected gap as well.

    Raises
    ------
    ValueError
        If a number is not positive, n is not an integer, or a step is longer than
        :math:`2/\beta`.

    References
    ----------
    Hardt, Recht & Singer, ICML 2016, theorem 3.8 (from memory, not checked against the paper's
    text).

    Examples
    --------
    >>> from theory.capacity import sgd_stability
    >>> sgd_stability(lipschitz=1.0, smoothness=1.0, learning_rates=[0.125] * 800, n=1000)
    StabilityBound(value=0.2, vacuous=False)
    """
    L = positive_number("lipschitz", lipschitz)
    longest = 2.0 / positive_number("smoothness", smoothness)
    rates = positive_array("learning_rates", learning_rates, ndim=1)
    if np.max(rates) > longest:
        raise ValueError(
            f"learning_rates must be at most 2 / smoothness = {longest:g}, got {np.max(rates):g}"
        )
    limit = positive_number("max_loss", max_loss)
    value = 2.0 * L**2 / positive_integer("n", n) * float(np.sum(rates))
    return StabilityBound(value, value >= limit)


def sgd_stability_nonconvex(
    *, lipschitz: float, smoothness: float, rate_constant: float, steps: int, n: int
) -> StabilityBound:
    r"""Uniform stability of single-example SGD on losses in [0, 1] that need not be convex.

    With learning rates :math:`\alpha_t \le c/t`,

    .. math:: \epsilon_\text{stab} \le \frac{1 + 1/(\beta c)}{n - 1}
              (2cL^2)^{1/(\beta c + 1)}\, T^{\beta c/(\beta c + 1)}.

    Parameters
    ----------
    lipschitz : float
        L, of the loss as a function of the weights.
    smoothness : float
        :math:`\beta`, the largest curvature in size.
    rate_constant : float
        c.
    steps : int
        T.
    n : int
        Number of examples, at least 2.

    Returns
    -------
    StabilityBound
        Of the expected loss when an example is replaced; vacuous from 1 on.

    Raises
    ------
    ValueError
        If a number is not positive, ``steps`` or n is not an integer, or n is 1.

    References
    ----------
    Hardt, Recht & Singer, ICML 2016, theorem 3.12 (from memory, not checked against the paper's
    text).

    Examples
    --------
    >>> from theory.capacity import sgd_stability_nonconvex
    >>> bound = sgd_stability_nonconvex(
    ...     lipschitz=1.0, smoothness=1.0, rate_constant=1.0, steps=200, n=1001
    ... )
    >>> round(bound.value, 6), bound.vacuous
    (0.04, False)
    """
    L = positive_number("lipschitz", lipschitz)
    c = positive_number("rate_constant", rate_constant)
    q = positive_number("smoothness", smoothness) * c
    T = positive_integer("steps", steps)
    others = positive_integer("n", n, minimum=2) - 1
    log_time = (np.log(2.0 * c) + 2.0 * np.log(L) + q * np.log(T)) / (q + 1.0)
    value = (1.0 + 1.0 / q) / others * float(np.exp(log_time))
    return StabilityBound(value, value >= 1.0)
