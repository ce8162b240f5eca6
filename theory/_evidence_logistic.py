"""MAP path of logistic and softmax regression under a Gaussian prior.

The cost is the summed cross-entropy plus half the prior precision times the squared weights. One
Newton iteration serves both the primal and the dual: its linear systems are solved by conjugate
gradients in weight space, preconditioned by the last Cholesky factor. So a step along the path
costs one factorization, at the optimum, where the log determinant needs it anyway; and because the
operator itself is never formed, the gradient reached does not suffer from the squared condition
number of the factor.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from scipy.linalg import blas, lapack
from scipy.special import expit, logsumexp, softmax

from theory._validation import Array

# Conjugate gradients stop at this residual, relative to the Newton right-hand side, and give way to
# a new factorization after this many iterations: one factor costs about as much as 20 of them.
_CG_TOLERANCE = 1e-2
_CG_LIMIT = 24

# Newton steps that may fail to halve the gradient before the search is given up.
_PATIENCE = 20


@dataclass(frozen=True)
class RegularizedCost:
    """C(w) = summed cross-entropy + λ |w|² / 2, at one prior precision λ.

    Design ``X`` (n, p), one-hot targets ``T`` (n, m), and which of the p columns the prior acts on.
    m is 1 for two classes (one logit) and the number of classes otherwise. Weights are (p, m),
    logits Z = X w are (n, m).
    """

    X: Array
    T: Array
    penalized: Array
    prior_precision: float

    def at(self, prior_precision: float) -> RegularizedCost:
        """Return the same cost at another prior precision."""
        return replace(self, prior_precision=float(prior_precision))

    @property
    def weight_decay(self) -> Array:
        """The prior precision of each row of the weights (p, 1); zero where there is no prior."""
        return self.prior_precision * self.penalized[:, None]

    def value(self, w: Array, Z: Array) -> float:
        """Return the cost at weights ``w`` and their logits."""
        log_normalizer = np.logaddexp(0.0, Z) if Z.shape[1] == 1 else logsumexp(Z, axis=1)
        return float(
            np.sum(log_normalizer) - np.sum(self.T * Z) + 0.5 * np.sum(self.weight_decay * w * w)
        )

    def residual(self, at: Prediction) -> Array:
        """Return probabilities minus targets (n, m)."""
        return np.where(self.T > 0.0, -at.Q, at.P)

    def gradient(self, w: Array, at: Prediction) -> Array:
        """Return the gradient (p, m)."""
        return np.asarray(self.X.T @ self.residual(at) + self.weight_decay * w)

    def gradient_rounding(self, w: Array, at: Prediction) -> float:
        """Return the gradient norm that rounding of the residuals and logits can leave."""
        size = np.abs(self.X)
        moved = np.abs(self.residual(at)) + at.P * at.Q * (size @ np.abs(w))
        return 4.0 * float(np.finfo(float).eps) * float(np.linalg.norm(size.T @ moved))

    def is_minimal(self, w: Array, gradient_norm: float, tolerance: float) -> bool:
        """Return whether the gradient is small beside 1 and beside the two terms that cancel in it.

        The second matters at weak regularization of separable data, where both terms vanish: an
        absolute tolerance alone would call a point converged that is far from the minimum.
        """
        cancelling = float(np.linalg.norm(self.weight_decay * w))
        return gradient_norm <= tolerance * min(1.0, cancelling)

    def hessian_product(self, V: Array, at: Prediction) -> Array:
        """Return the Hessian at a prediction times ``V`` (p, m)."""
        U = self.X @ V
        pull = at.P * U
        others = np.sum(pull, axis=1, keepdims=True) - pull
        product = self.X.T @ (at.Q * pull - at.P * others) + self.weight_decay * V
        return np.asarray(product)


class Prediction(NamedTuple):
    """Class probabilities P and their complements Q = 1 - P, both (n, m), to relative accuracy.

    Deep in the tails of separable data, 1 - P would lose every digit to rounding.
    """

    P: Array
    Q: Array


def predict(Z: Array) -> Prediction:
    """Return the prediction of logits (n, m)."""
    if Z.shape[1] == 1:
        return Prediction(expit(Z), expit(-Z))
    P = softmax(Z, axis=1)
    Q = np.stack([np.delete(P, c, axis=1).sum(axis=1) for c in range(P.shape[1])], axis=1)
    return Prediction(P, Q)


class Factor(Protocol):
    """A factorized Hessian; ``log_det_ratio`` is log det(H + λ) − log det(λ), nats.

    Columns without a prior are left out of the second determinant.
    """

    log_det_ratio: float

    def solve(self, V: Array) -> Array:
        """Return the inverse Hessian times ``V`` (p, m)."""


def _cholesky(A: Array) -> Array:
    """Return the lower Cholesky factor of a symmetric matrix, which it may overwrite."""
    factor, info = lapack.dpotrf(A.T, lower=1, overwrite_a=1, clean=0)
    if info != 0:
        raise np.linalg.LinAlgError("the Hessian is not positive definite in float64")
    return np.asarray(factor)


def _cholesky_solve(factor: Array, v: Array) -> Array:
    """Solve for one vector by two dtrsv, a third of the time that dpotrs takes."""
    half = blas.dtrsv(factor, v, lower=1)
    return np.asarray(blas.dtrsv(factor, half, lower=1, trans=1, overwrite_x=1))


def _log_det(factor: Array) -> float:
    return float(2.0 * np.sum(np.log(np.diagonal(factor))))


class PrimalFactor:
    """Cholesky factor of the (p m, p m) Hessian itself."""

    def __init__(self, cost: RegularizedCost, at: Prediction) -> None:
        X, (P, Q) = cost.X, at
        p, m = X.shape[1], P.shape[1]
        if m == 1:
            Y = X * np.sqrt(P * Q)
            H = Y.T @ Y
        else:
            blocks = np.empty((m, p, m, p))
            for c in range(m):
                for d in range(c + 1):
                    weight = P[:, c] * (Q[:, c] if c == d else -P[:, d])
                    blocks[c, :, d, :] = blocks[d, :, c, :] = (X * weight[:, None]).T @ X
            H = blocks.reshape(m * p, m * p)
        H.flat[:: m * p + 1] += np.tile(cost.weight_decay[:, 0], m)
        self._factor = _cholesky(H)
        n_penalized = m * float(np.sum(cost.penalized))
        self.log_det_ratio = _log_det(self._factor) - n_penalized * np.log(cost.prior_precision)

    def solve(self, V: Array) -> Array:
        """Return the inverse Hessian times ``V`` (p, m)."""
        return _cholesky_solve(self._factor, V.T.reshape(-1)).reshape(V.shape[::-1]).T


class DualFactor:
    """Woodbury form over the n examples, for two classes: B = I + √W K √W / λ."""

    def __init__(self, cost: RegularizedCost, K: Array, at: Prediction) -> None:
        self._X, self._prior_precision = cost.X, cost.prior_precision
        self._root = np.sqrt(at.P * at.Q)
        scale = self._root[:, 0] / np.sqrt(cost.prior_precision)
        B = np.multiply(K, scale)
        B *= scale[:, None]
        B.flat[:: len(B) + 1] += 1.0
        self._factor = _cholesky(B)
        self.log_det_ratio = _log_det(self._factor)

    def solve(self, V: Array) -> Array:
        """Return the inverse Hessian times ``V`` (p, 1)."""
        u = _cholesky_solve(self._factor, (self._root * (self._X @ V))[:, 0])
        back = self._X.T @ (self._root * u[:, None]) / self._prior_precision
        return np.asarray((V - back) / self._prior_precision)


class SoftmaxDualFactor:
    """The same for K classes in K + 1 factorizations (Rasmussen & Williams 2006, Algorithm 3.3)."""

    def __init__(self, cost: RegularizedCost, K: Array, at: Prediction) -> None:
        self._X, self._prior_precision = cost.X, cost.prior_precision
        P, (n, m) = at.P, at.P.shape
        self._E = np.empty((m, n, n))
        self.log_det_ratio = 0.0
        for c in range(m):
            root = np.sqrt(P[:, c] / cost.prior_precision)
            B = K * root * root[:, None]
            B.flat[:: n + 1] += 1.0
            factor = _cholesky(B)
            self.log_det_ratio += _log_det(factor)
            inverse, _ = lapack.dpotri(factor, lower=1)
            inverse = np.tril(inverse)
            inverse += np.tril(inverse, -1).T
            self._E[c] = inverse * np.sqrt(P[:, c]) * np.sqrt(P[:, c])[:, None]
        self._sum_factor = _cholesky(np.sum(self._E, axis=0))
        self.log_det_ratio += _log_det(self._sum_factor)

    def solve(self, V: Array) -> Array:
        """Return the inverse Hessian times ``V`` (p, m)."""
        EU = np.einsum("cij,jc->ic", self._E, self._X @ V)
        shift = _cholesky_solve(self._sum_factor, np.sum(EU, axis=1))
        U = EU - np.einsum("cij,j->ic", self._E, shift)
        return np.asarray((V - self._X.T @ U / self._prior_precision) / self._prior_precision)


class Factorizer:
    """Factorizes the Hessian in the primal or the dual, whichever takes fewer operations."""

    def __init__(self, cost: RegularizedCost) -> None:
        (n, p), m = cost.X.shape, cost.T.shape[1]
        self._binary = m == 1
        primal = p * p * n * m * (m + 1) / 2 + (m * p) ** 3 / 3
        dual = n**3 / 3 if self._binary else (4 * m + 1) * n**3 / 3
        self.is_dual = bool(np.all(cost.penalized)) and dual < primal
        self._K = cost.X @ cost.X.T if self.is_dual else None

    def __call__(self, cost: RegularizedCost, at: Prediction) -> Factor:
        """Return the factorized Hessian of ``cost`` at a prediction."""
        if self._K is None:
            return PrimalFactor(cost, at)
        return (DualFactor if self._binary else SoftmaxDualFactor)(cost, self._K, at)


@dataclass(frozen=True)
class Estimate:
    """Weights (p, m) at one prior precision, with the cost, curvature and gradient there."""

    weights: Array
    cost: float
    log_det_ratio: float
    gradient_norm: float
    converged: bool


def map_path(
    cost: RegularizedCost, prior_precisions: Array, *, tolerance: float, max_iterations: int
) -> list[Estimate]:
    """Return the minimizer for each prior precision, given in decreasing order, warm-started."""
    factorize = Factorizer(cost)
    w = np.zeros((cost.X.shape[1], cost.T.shape[1]))
    factor: Factor | None = None
    path = []
    for prior_precision in prior_precisions:
        if factor is not None:  # start along the path's tangent in ln λ
            decrease = float(np.log(cost.prior_precision / prior_precision))
            w = w + decrease * factor.solve(cost.weight_decay * w)
        cost = cost.at(prior_precision)
        w = _newton(cost, factorize, factor, w, tolerance, max_iterations)
        factor, estimate = _evaluate(cost, factorize, w, tolerance)
        path.append(estimate)
    return path


def gradient_descent_path(
    cost: RegularizedCost,
    prior_precisions: Array,
    learning_rates: Array,
    *,
    steps: int,
    tolerance: float,
) -> list[Estimate]:
    """Return where ``steps`` of full-batch gradient descent from zero end, for each precision.

    All precisions descend together, so that a step is two matrix products.
    """
    (n, p), m, L = cost.X.shape, cost.T.shape[1], len(prior_precisions)
    decay = learning_rates * prior_precisions * cost.penalized[:, None, None]
    w = np.zeros((p, m, L))
    for _ in range(steps):
        Z = (cost.X @ w.reshape(p, m * L)).reshape(n, m, L)
        P = expit(Z) if m == 1 else softmax(Z, axis=1)
        residual = (P - cost.T[:, :, None]).reshape(n, m * L)
        w -= decay * w + learning_rates * (cost.X.T @ residual).reshape(p, m, L)
    factorize = Factorizer(cost)
    return [
        _evaluate(cost.at(precision), factorize, np.ascontiguousarray(w[:, :, i]), tolerance)[1]
        for i, precision in enumerate(prior_precisions)
    ]


def _evaluate(
    cost: RegularizedCost, factorize: Factorizer, w: Array, tolerance: float
) -> tuple[Factor, Estimate]:
    """Return the factorized Hessian at given weights, a minimum or not, and the estimate there."""
    Z = cost.X @ w
    at = predict(Z)
    factor = factorize(cost, at)
    gradient_norm = float(np.linalg.norm(cost.gradient(w, at)))
    return factor, Estimate(
        weights=w,
        cost=cost.value(w, Z),
        log_det_ratio=factor.log_det_ratio,
        gradient_norm=gradient_norm,
        converged=cost.is_minimal(w, gradient_norm, tolerance)
        or gradient_norm <= cost.gradient_rounding(w, at),
    )


def _newton(
    cost: RegularizedCost,
    factorize: Factorizer,
    factor: Factor | None,
    w: Array,
    tolerance: float,
    max_iterations: int,
) -> Array:
    """Return the weights where the gradient is small, or where float64 makes no more progress."""
    stalls, least = 0, np.inf
    for _ in range(max_iterations):
        Z = cost.X @ w
        at = predict(Z)
        gradient = cost.gradient(w, at)
        gradient_norm = float(np.linalg.norm(gradient))
        if cost.is_minimal(w, gradient_norm, tolerance):
            break
        if gradient_norm > 0.5 * least:
            stalls += 1
            if stalls == _PATIENCE or gradient_norm <= cost.gradient_rounding(w, at):
                break
        least = min(least, gradient_norm)
        step = None if factor is None else _conjugate_gradients(cost, at, factor, -gradient)
        if step is None:
            factor = factorize(cost, at)
            step = _conjugate_gradients(cost, at, factor, -gradient)
            if step is None:
                step = -factor.solve(gradient)
        t = _step_length(cost, w, Z, gradient, step)
        if t == 0.0:
            break
        w = w + t * step
    return w


def _conjugate_gradients(
    cost: RegularizedCost, at: Prediction, factor: Factor, rhs: Array
) -> Array | None:
    """Solve Hessian · x = rhs to a relative residual; None if the preconditioner is too stale."""
    x = np.zeros_like(rhs)
    residual = rhs.copy()
    direction = preconditioned = factor.solve(residual)
    rho = float(np.sum(residual * preconditioned))
    target = _CG_TOLERANCE * float(np.linalg.norm(rhs))
    for _ in range(_CG_LIMIT):
        product = cost.hessian_product(direction, at)
        curvature = float(np.sum(direction * product))
        if not (rho > 0.0 and curvature > 0.0):  # rounding in a stale preconditioner
            return None
        length = rho / curvature
        x += length * direction
        residual -= length * product
        if np.linalg.norm(residual) <= target:
            return x
        preconditioned = factor.solve(residual)
        rho, previous = float(np.sum(residual * preconditioned)), rho
        direction = preconditioned + (rho / previous) * direction
    return None


def _step_length(cost: RegularizedCost, w: Array, Z: Array, gradient: Array, step: Array) -> float:
    """Halve the step until the cost falls, to rounding, by Armijo's rule; 0 if it never does."""
    slope = float(np.sum(gradient * step))
    start = cost.value(w, Z)
    rounding = 64 * float(np.finfo(float).eps) * (abs(start) + len(Z))
    step_logits = cost.X @ step
    t = 1.0
    while t > 1e-12:
        if cost.value(w + t * step, Z + t * step_logits) <= start + 1e-4 * t * slope + rounding:
            return t
        t /= 2.0
    return 0.0
