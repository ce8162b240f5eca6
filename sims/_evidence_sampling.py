"""Numba kernels of :mod:`sims.evidence`: Hamiltonian Monte Carlo along a tempered posterior.

At inverse temperature β the posterior of logistic regression is prior · likelihoodᵝ. Its mode is
the MAP at prior precision λ/β, and in the coordinates u = Lᵀ(w − mode), L Lᵀ the Hessian there, it
is nearly a standard normal. So one step size and one trajectory length serve every temperature,
and successive samples are almost independent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.linalg import solve_triangular
from scipy.special import expit

from theory.evidence import laplace_evidence

Array = NDArray[np.float64]
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

STEP_SIZE = 0.3
SHORTEST, LONGEST = 3, 8  # leapfrog steps, drawn uniformly: a trajectory of about a quarter turn


class TemperedPosterior(NamedTuple):
    """Posteriors at T inverse temperatures, each whitened at its own mode; P weights, n examples.

    ``signs`` (n,) are +1 for the larger label and -1 for the other.
    """

    inverse_temperatures: Array  # (T,) β
    modes: Array  # (T, P)
    roots: Array  # (T, P, P) Lᵀ
    inverse_roots: Array  # (T, P, P) L⁻ᵀ
    mode_logits: Array  # (T, n)
    designs: Array  # (T, n, P) X L⁻ᵀ
    transposed_designs: Array  # (T, P, n) the same, for loops over examples
    curvatures: Array  # (T, n) β p (1 - p) at the mode: the likelihood's share of the Hessian
    slopes: Array  # (T, P) λ L⁻¹ mode: the prior's gradient at u = 0
    signs: Array


def tempered_posterior(
    X: Array, signs: Array, prior_precision: float, inverse_temperatures: Array
) -> TemperedPosterior:
    """Return the whitened posteriors at positive inverse temperatures, for a design as it is."""
    beta = inverse_temperatures
    modes = laplace_evidence(X, signs, prior_precision=prior_precision / beta, bias=False).weights
    T, P = len(beta), X.shape[1]
    mode_logits = modes @ X.T
    curvatures = beta[:, None] * expit(mode_logits) * expit(-mode_logits)
    roots, inverse_roots = np.empty((T, P, P)), np.empty((T, P, P))
    for t in range(T):
        H = (X.T * curvatures[t]) @ X + prior_precision * np.eye(P)
        roots[t] = np.linalg.cholesky(H).T
        inverse_roots[t] = solve_triangular(roots[t], np.eye(P))
    designs = X @ inverse_roots
    return TemperedPosterior(
        inverse_temperatures=beta,
        modes=modes,
        roots=roots,
        inverse_roots=inverse_roots,
        mode_logits=mode_logits,
        designs=designs,
        transposed_designs=np.ascontiguousarray(np.swapaxes(designs, 1, 2)),
        curvatures=curvatures,
        slopes=prior_precision * np.einsum("tji,tj->ti", inverse_roots, modes),
        signs=signs,
    )


def _jit(kernel: Kernel) -> Kernel:
    return cast(Kernel, njit(nogil=True, error_model="numpy")(kernel))


@_jit
def _log_likelihood(logits: Array, signs: Array) -> float:
    total = 0.0
    for i in range(len(logits)):
        x = signs[i] * logits[i]
        total -= np.log1p(np.exp(-abs(x))) - min(x, 0.0)
    return total


# In u the whole Hessian at the mode is the identity, so the prior's share of it is what the
# likelihood leaves: |u|² less the curvature-weighted squares of the logits' shifts z - z(mode).


@_jit
def _log_prior(u: Array, shifts: Array, curvatures: Array, slope: Array) -> float:
    total = 0.0
    for j in range(len(u)):
        total -= u[j] * (slope[j] + 0.5 * u[j])
    for i in range(len(shifts)):
        total += 0.5 * curvatures[i] * shifts[i] ** 2
    return total


# The inner loops below run over contiguous rows and write arrays, never a running sum, so that the
# compiler may vectorize them without reordering a floating-point addition.


@_jit
def _set_shifts(u: Array, transposed_design: Array, shifts: Array) -> None:
    shifts[:] = 0.0
    for j in range(len(u)):
        column, coordinate = transposed_design[j], u[j]
        for i in range(len(shifts)):
            shifts[i] += column[i] * coordinate


@_jit
def _set_force(u: Array, shifts: Array, posterior: TemperedPosterior, t: int, force: Array) -> None:
    """Write the gradient of the log density with respect to ``u``."""
    beta, signs = posterior.inverse_temperatures[t], posterior.signs
    mode_logits, curvatures = posterior.mode_logits[t], posterior.curvatures[t]
    design, slope = posterior.designs[t], posterior.slopes[t]
    for j in range(len(u)):
        force[j] = -slope[j] - u[j]
    for i in range(len(shifts)):
        logit = signs[i] * (mode_logits[i] + shifts[i])
        pull = beta * signs[i] / (1.0 + np.exp(logit)) + curvatures[i] * shifts[i]
        row = design[i]
        for j in range(len(u)):
            force[j] += pull * row[j]


@_jit
def _log_density(u: Array, shifts: Array, posterior: TemperedPosterior, t: int) -> float:
    """Return the log density of ``u``, up to a constant."""
    logits = posterior.mode_logits[t] + shifts
    log_likelihood: float = _log_likelihood(logits, posterior.signs)
    log_prior: float = _log_prior(u, shifts, posterior.curvatures[t], posterior.slopes[t])
    return float(posterior.inverse_temperatures[t]) * log_likelihood + log_prior


@_jit
def _transition(
    rng: np.random.Generator, u: Array, shifts: Array, posterior: TemperedPosterior, t: int
) -> None:
    """Move ``u`` and its logits' shifts by one Hamiltonian trajectory, in place."""
    P = len(u)
    transposed_design = posterior.transposed_designs[t]
    proposal, proposal_shifts = u.copy(), shifts.copy()
    force, momentum = np.empty(P), np.empty(P)
    _set_force(u, shifts, posterior, t, force)
    log_ratio = -_log_density(u, shifts, posterior, t)
    for j in range(P):
        momentum[j] = rng.standard_normal()
        log_ratio += 0.5 * momentum[j] ** 2
        momentum[j] += 0.5 * STEP_SIZE * force[j]
    steps = SHORTEST + int(rng.random() * (LONGEST - SHORTEST + 1))
    for step in range(steps):
        for j in range(P):
            proposal[j] += STEP_SIZE * momentum[j]
        _set_shifts(proposal, transposed_design, proposal_shifts)
        _set_force(proposal, proposal_shifts, posterior, t, force)
        kick = STEP_SIZE if step < steps - 1 else 0.5 * STEP_SIZE
        for j in range(P):
            momentum[j] += kick * force[j]
    log_ratio += _log_density(proposal, proposal_shifts, posterior, t)
    for j in range(P):
        log_ratio -= 0.5 * momentum[j] ** 2
    if np.log(rng.random()) < log_ratio:
        u[:] = proposal
        shifts[:] = proposal_shifts


@_jit
def mean_log_likelihoods(
    rng: np.random.Generator, posterior: TemperedPosterior, burn_in: int, samples: int
) -> Array:
    """Return one chain's mean log likelihood at each temperature (T,), given in increasing order.

    The chain starts where sampling is exact, in the nearly normal posterior at the first of them,
    and takes its whitened position along: a start at each mode would bias short runs.
    """
    T, P = posterior.modes.shape
    means = np.zeros(T)
    u, shifts = np.empty(P), np.empty(len(posterior.signs))
    for j in range(P):
        u[j] = rng.standard_normal()
    for t in range(T):
        _set_shifts(u, posterior.transposed_designs[t], shifts)
        for sample in range(burn_in + samples):
            _transition(rng, u, shifts, posterior, t)
            if sample >= burn_in:
                logits = posterior.mode_logits[t] + shifts
                means[t] += _log_likelihood(logits, posterior.signs) / samples
    return means


@_jit
def annealed_log_weight(
    rng: np.random.Generator,
    posterior: TemperedPosterior,
    X: Array,
    prior_precision: float,
) -> float:
    """Return the log importance weight of one particle annealed from the prior to β = 1."""
    T, P = posterior.modes.shape
    w = np.empty(P)
    for j in range(P):
        w[j] = rng.standard_normal() / np.sqrt(prior_precision)
    logits = np.zeros(len(X))
    for i in range(len(X)):
        for j in range(P):
            logits[i] += X[i, j] * w[j]
    u, shifts = np.empty(P), np.empty(len(X))
    log_weight, beta = 0.0, 0.0
    for t in range(T):
        rise = posterior.inverse_temperatures[t] - beta
        log_weight += rise * _log_likelihood(logits, posterior.signs)
        beta = posterior.inverse_temperatures[t]
        for j in range(P):
            u[j] = 0.0
            for k in range(j, P):
                u[j] += posterior.roots[t, j, k] * (w[k] - posterior.modes[t, k])
        shifts[:] = logits - posterior.mode_logits[t]
        _transition(rng, u, shifts, posterior, t)
        logits[:] = posterior.mode_logits[t] + shifts
        for j in range(P):
            w[j] = posterior.modes[t, j]
            for k in range(j, P):
                w[j] += posterior.inverse_roots[t, j, k] * u[k]
    return log_weight
