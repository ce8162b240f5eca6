"""Exact evidence of logistic regression by Hamiltonian Monte Carlo along a tempered posterior.

At inverse temperature β the posterior of logistic regression is prior · likelihoodᵝ. Its mode is
the MAP at prior precision λ/β, and in the coordinates u = Lᵀ(w − mode), L Lᵀ the Hessian there, it
is nearly a standard normal. So one step size and one trajectory length serve every temperature,
and successive samples are almost independent.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import solve_triangular
from scipy.special import expit, logsumexp

from sims.streams import Rng, jit
from theory._validation import class_labels, data_array, positive_integer
from theory.evidence import laplace_evidence

Array = NDArray[np.float64]

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


@jit
def _log_likelihood(logits: Array, signs: Array) -> float:
    total = 0.0
    for i in range(len(logits)):
        x = signs[i] * logits[i]
        total -= np.log1p(np.exp(-abs(x))) - min(x, 0.0)
    return total


# In u the whole Hessian at the mode is the identity, so the prior's share of it is what the
# likelihood leaves: |u|² less the curvature-weighted squares of the logits' shifts z - z(mode).


@jit
def _log_prior(u: Array, shifts: Array, curvatures: Array, slope: Array) -> float:
    total = 0.0
    for j in range(len(u)):
        total -= u[j] * (slope[j] + 0.5 * u[j])
    for i in range(len(shifts)):
        total += 0.5 * curvatures[i] * shifts[i] ** 2
    return total


# The inner loops below run over contiguous rows and write arrays, never a running sum, so that the
# compiler may vectorize them without reordering a floating-point addition.


@jit
def _set_shifts(u: Array, transposed_design: Array, shifts: Array) -> None:
    shifts[:] = 0.0
    for j in range(len(u)):
        column, coordinate = transposed_design[j], u[j]
        for i in range(len(shifts)):
            shifts[i] += column[i] * coordinate


@jit
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


@jit
def _log_density(u: Array, shifts: Array, posterior: TemperedPosterior, t: int) -> float:
    """Return the log density of ``u``, up to a constant."""
    logits = posterior.mode_logits[t] + shifts
    log_likelihood: float = _log_likelihood(logits, posterior.signs)
    log_prior: float = _log_prior(u, shifts, posterior.curvatures[t], posterior.slopes[t])
    return float(posterior.inverse_temperatures[t]) * log_likelihood + log_prior


@jit
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


@jit
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


@jit
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


class LogEvidenceEstimate(NamedTuple):
    """A Monte-Carlo estimate: log evidence and standard error in nats, and independent runs n."""

    log_evidence: float
    standard_error: float
    n: int


def thermodynamic_integration(
    X: ArrayLike,
    y: ArrayLike,
    *,
    prior_precision: float,
    temperatures: int = 24,
    chains: int = 16,
    samples: int = 60,
    rng: Rng = None,
) -> LogEvidenceEstimate:
    r"""Log evidence of logistic regression by thermodynamic integration.

    :math:`\ln Z = \int_0^1 \langle\ln p(y \mid w)\rangle_\beta\,d\beta` under prior times
    likelihood to the power :math:`\beta`, with Gauss-Legendre nodes in :math:`\beta^{1/5}`, where
    the integrand is smooth. Every chain visits every temperature, so the chains' own integrals are
    independent and their spread is the error bar.

    Parameters
    ----------
    X : array_like (n, d)
        Features; a column of ones is appended, and penalized like the rest.
    y : array_like (n,)
        Integer labels of two classes.
    prior_precision : float
        :math:`\lambda` of the summed cost, positive.
    temperatures : int, default 24
        Quadrature nodes.
    chains : int, default 16
        Independent chains, at least 2.
    samples : int, default 60
        Samples of a chain at a temperature, after a fifth as many that are thrown away.
    rng : None, int, SeedSequence or Generator
        Source of one stream a chain; spawning them advances a SeedSequence or Generator.

    Returns
    -------
    LogEvidenceEstimate
        In nats; n is the number of chains.

    Raises
    ------
    ValueError
        If shapes or values are not those of a two-class problem (as for
        :func:`theory.evidence.laplace_evidence`) or a count is too small.

    References
    ----------
    Gelman & Meng, "Simulating normalizing constants", Statistical Science 13 (1998).

    Examples
    --------
    >>> from sims.evidence import thermodynamic_integration
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], [0, 0, 1, 1]
    >>> estimate = thermodynamic_integration(X, y, prior_precision=1.0, rng=0)
    >>> round(estimate.log_evidence, 1)
    -2.0
    """
    X, signs = _two_classes(X, y)
    temperatures = positive_integer("temperatures", temperatures)
    samples = positive_integer("samples", samples)
    chains = positive_integer("chains", chains, minimum=2)
    nodes, weights = np.polynomial.legendre.leggauss(temperatures)
    s = 0.5 * (nodes + 1.0)  # β = s⁵, dβ = 5 s⁴ ds
    posterior = tempered_posterior(X, signs, prior_precision, s**5)
    integrals = np.empty(chains)
    for chain, stream in enumerate(np.random.default_rng(rng).spawn(chains)):
        means = mean_log_likelihoods(stream, posterior, samples // 5, samples)
        integrals[chain] = np.sum(0.5 * weights * 5.0 * s**4 * means)
    error = float(np.std(integrals, ddof=1) / np.sqrt(chains))
    return LogEvidenceEstimate(float(np.mean(integrals)), error, chains)


def annealed_importance_sampling(
    X: ArrayLike,
    y: ArrayLike,
    *,
    prior_precision: float,
    temperatures: int = 128,
    particles: int = 64,
    rng: Rng = None,
) -> LogEvidenceEstimate:
    r"""Log evidence of logistic regression by annealed importance sampling.

    Particles drawn from the prior are moved by one Hamiltonian transition at each
    :math:`\beta_t = (t/T)^5`; the mean of their importance weights is an unbiased estimate of the
    evidence, so its log is a stochastic lower bound.

    Parameters
    ----------
    X : array_like (n, d)
        Features; a column of ones is appended, and penalized like the rest.
    y : array_like (n,)
        Integer labels of two classes.
    prior_precision : float
        :math:`\lambda` of the summed cost, positive.
    temperatures : int, default 128
        T, the rungs of the ladder.
    particles : int, default 64
        Independent runs, at least 2.
    rng : None, int, SeedSequence or Generator
        Source of one stream a particle; spawning them advances a SeedSequence or Generator.

    Returns
    -------
    LogEvidenceEstimate
        In nats, with the delta method's error; n is the number of particles.

    Raises
    ------
    ValueError
        If shapes or values are not those of a two-class problem (as for
        :func:`theory.evidence.laplace_evidence`) or a count is too small.

    References
    ----------
    Neal, "Annealed importance sampling", Statistics and Computing 11 (2001).

    Examples
    --------
    >>> from sims.evidence import annealed_importance_sampling
    >>> X, y = [[-2.0], [-1.0], [1.0], [2.0]], [0, 0, 1, 1]
    >>> estimate = annealed_importance_sampling(X, y, prior_precision=1.0, rng=0)
    >>> round(estimate.log_evidence, 1)
    -2.0
    """
    X, signs = _two_classes(X, y)
    temperatures = positive_integer("temperatures", temperatures)
    particles = positive_integer("particles", particles, minimum=2)
    ladder = (np.arange(1, temperatures + 1) / temperatures) ** 5
    posterior = tempered_posterior(X, signs, prior_precision, ladder)
    log_weights = np.array(
        [
            annealed_log_weight(stream, posterior, X, prior_precision)
            for stream in np.random.default_rng(rng).spawn(particles)
        ]
    )
    weights = np.exp(log_weights - log_weights.max())
    error = float(np.std(weights, ddof=1) / np.mean(weights) / np.sqrt(particles))
    return LogEvidenceEstimate(float(logsumexp(log_weights) - np.log(particles)), error, particles)


def _two_classes(X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return the design with its column of ones, and labels as signs."""
    design, _ = data_array("X", X, ndim=2)
    classes, codes = class_labels("y", y)
    if len(codes) != len(design):
        raise ValueError(f"X has {len(design)} rows but y has {len(codes)} entries")
    if len(classes) != 2:
        raise ValueError(f"y must hold two classes, got {len(classes)}")
    return np.column_stack([design, np.ones(len(design))]), np.where(codes == 1, 1.0, -1.0)
