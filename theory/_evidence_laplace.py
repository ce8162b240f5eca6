"""Laplace evidence of logistic and softmax regression along a path of prior precisions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from theory._evidence_logistic import RegularizedCost, gradient_descent_path, map_path
from theory._validation import (
    Array,
    class_labels,
    data_array,
    positive_array,
    positive_integer,
)


@dataclass(frozen=True, eq=False)
class LaplaceEvidence:
    r"""Laplace evidence of a linear classifier, for every prior precision asked for.

    Arrays have the shape (...) of ``prior_precision``, and its order.

    Attributes
    ----------
    log_evidence : float or ndarray (...)
        :math:`-C(\omega_0) + \ln(\text{Occam factor})`, nats.
    cost : float or ndarray (...)
        :math:`C(\omega_0)`: summed cross-entropy plus :math:`\lambda|\omega_0|^2/2`, nats.
    log_occam_factor : float or ndarray (...)
        :math:`-\frac12\sum_i \ln(\lambda_i/\lambda)`, nats. With an unpenalized bias, whose prior
        is not normalized, :math:`\frac12\ln 2\pi` is added and it is no fraction.
    log_evidence_ratio : float or ndarray (...)
        :math:`E(\omega_0)` of equation 10, nats: *negative* where the model beats the null model
        that calls every class equally likely.
    weights : ndarray (..., d + 1) for two classes, (..., d + 1, K) for K > 2
        :math:`\omega_0`; the bias comes last, and is absent with ``bias=False``. For two classes
        the logit is that of the larger label.
    gradient_norm : float or ndarray (...)
        Euclidean norm of the gradient of C that was reached.
    converged : bool or ndarray (...)
        Whether it is below ``tolerance`` times min(1, norm of :math:`\lambda\omega_0`), or below
        what rounding leaves of an exact zero.
    prior_precision : float or ndarray (...)
        :math:`\lambda` as given.
    classes : ndarray (K,)
        The labels found, sorted.
    """

    log_evidence: Array
    cost: Array
    log_occam_factor: Array
    log_evidence_ratio: Array
    weights: Array
    gradient_norm: Array
    converged: NDArray[np.bool_]
    prior_precision: Array
    classes: NDArray[np.int64]


def laplace_evidence(
    X: ArrayLike,
    y: ArrayLike,
    *,
    prior_precision: ArrayLike,
    bias: bool = True,
    penalize_bias: bool = True,
    steps: int | None = None,
    tolerance: float = 1e-8,
    max_iterations: int = 200,
) -> LaplaceEvidence:
    r"""Laplace log evidence of logistic (two classes) or softmax regression (more).

    The cost is the paper's: **summed** cross-entropy plus :math:`\lambda|\omega|^2/2`, so the prior
    is :math:`N(0, I/\lambda)`. All prior precisions are fitted as one warm-started path, in the
    primal or over the examples by operation count, with one Cholesky factorization each.

    Parameters
    ----------
    X : array_like (n, d)
        Features; a column of ones is appended for the bias.
    y : array_like (n,)
        Integer class labels, any values, at least two of them.
    prior_precision : array_like (...)
        :math:`\lambda`, positive, in any order.
    bias : bool, default True
        Whether to append the bias: d + 1 parameters a logit instead of d.
    penalize_bias : bool, default True
        Whether the prior acts on the bias too. If not, its prior is flat with density one, so the
        log evidence depends on the bias's unit. Two classes only: in a softmax no label determines
        the common shift of all biases, and the evidence would be infinite.
    steps : int, optional
        Instead of the optimum, take the weights after this many steps of full-batch gradient
        descent from zero, with learning rate 1 / (largest curvature), and apply the formula there:
        what an experiment reports that stops early.
    tolerance : float, default 1e-8
        Gradient norm to reach, absolute and relative to the norm of :math:`\lambda\omega_0`. The
        second counts at weak regularization of separable data: there the absolute one alone
        is met before the optimum, and misplaces the evidence by nats.
    max_iterations : int, default 200
        Newton iterations for each prior precision.

    Returns
    -------
    LaplaceEvidence
        Log evidence, its parts, the weights and the convergence reached.

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape; labels are not integers or all the
        same; a prior precision is not positive, or so small beside the features' curvature that
        float64 cannot hold the log determinant to about 1e-3 nats;
        ``penalize_bias=False`` with more than two classes; an option is out of range.

    References
    ----------
    Smith & Le (2018), equations 7 to 10; Rasmussen & Williams, "Gaussian Processes for Machine
    Learning" (2006), Algorithms 3.1 and 3.3 for the dual forms.

    Examples
    --------
    >>> from theory.evidence import laplace_evidence
    >>> fit = laplace_evidence([[-2.0], [-1.0], [1.0], [2.0]], [0, 0, 1, 1], prior_precision=1.0)
    >>> bool(fit.converged), round(float(fit.log_evidence_ratio), 4)
    (True, -0.7577)
    """
    X, squares = data_array("X", X, ndim=2)
    classes, codes = class_labels("y", y)
    if len(codes) != len(X):
        raise ValueError(f"X has {len(X)} rows but y has {len(codes)} entries")
    binary = len(classes) == 2
    targets = codes[:, None].astype(np.float64) if binary else np.eye(len(classes))[codes]
    precision = positive_array("prior_precision", prior_precision)
    tolerance = float(positive_array("tolerance", tolerance))
    max_iterations = positive_integer("max_iterations", max_iterations)
    if steps is not None:
        steps = positive_integer("steps", steps)
    unpenalized = bias and not penalize_bias
    if unpenalized and len(classes) > 2:
        raise ValueError(
            "penalize_bias=False needs two classes: the common shift of all "
            f"{len(classes)} biases would have a flat prior and no likelihood"
        )
    _check_resolution(squares + bias * len(X), float(np.min(precision)))

    # A flat prior on the bias needs the primal: cheapest in the row space of the features.
    features, row_space = _row_space(X) if unpenalized and X.shape[1] > len(X) else (X, None)
    design = np.column_stack([features, np.ones(len(X))]) if bias else features
    penalized = np.ones(design.shape[1])
    if unpenalized:
        penalized[-1] = 0.0
    order = np.argsort(precision, axis=None)[::-1]
    descending = precision.ravel()[order]
    cost = RegularizedCost(design, targets, penalized, float(descending[0]))
    if steps is None:
        path = map_path(cost, descending, tolerance=tolerance, max_iterations=max_iterations)
    else:
        curvature = np.linalg.norm(design, 2) ** 2 / (4.0 if binary else 2.0)
        path = gradient_descent_path(
            cost,
            descending,
            1.0 / (curvature + descending),
            steps=steps,
            tolerance=tolerance,
        )

    def collect(values: list[float] | list[Array] | list[bool]) -> Array:
        """Return one value per precision in the caller's order and shape."""
        stacked = np.array(values)
        ordered = np.empty_like(stacked)
        ordered[order] = stacked
        return ordered.reshape(precision.shape + stacked.shape[1:])[()]

    occam = -0.5 * collect([point.log_det_ratio for point in path])
    if unpenalized:
        occam = occam + 0.5 * np.log(2 * np.pi)
    total = collect([point.cost for point in path])
    weights = [point.weights for point in path]
    if row_space is not None:
        weights = [np.concatenate([row_space @ w[:-1], w[-1:]]) for w in weights]
    if binary:
        weights = [w[:, 0] for w in weights]
    return LaplaceEvidence(
        log_evidence=occam - total,
        cost=total,
        log_occam_factor=occam,
        log_evidence_ratio=total - occam - len(X) * np.log(len(classes)),
        weights=collect(weights),
        gradient_norm=collect([point.gradient_norm for point in path]),
        converged=collect([point.converged for point in path]).astype(bool)[()],
        prior_precision=precision[()],
        classes=classes,
    )


def _check_resolution(squares: float, prior_precision: float) -> None:
    """Refuse a precision that rounding in the Hessian would drown."""
    curvature = squares / 4.0
    limit = 100.0 * float(np.finfo(float).eps) * curvature
    if prior_precision < limit:
        raise ValueError(
            f"prior_precision = {prior_precision:.3g} is too small for float64 beside the "
            f"features' curvature {curvature:.3g}; the smallest that can be resolved is "
            f"{limit:.3g}"
        )


def _row_space(X: Array) -> tuple[Array, Array]:
    """Return coordinates (n, n) of the rows of X in an orthonormal basis (d, n), n < d."""
    basis, upper = np.linalg.qr(X.T)
    return np.ascontiguousarray(upper.T), basis
