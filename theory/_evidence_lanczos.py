"""Stochastic Lanczos quadrature for the log determinant of a shifted symmetric operator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import eigh_tridiagonal

from theory._validation import Array, finite_array, positive_integer


@dataclass(frozen=True, eq=False)
class LogDeterminant:
    """A stochastic estimate of log det(A + shift).

    Attributes
    ----------
    value : float or ndarray (...)
        The estimate, nats, for each shift.
    standard_error : float or ndarray (...)
        Standard error of the mean over probes.
    truncation : float or ndarray (...)
        How much the last Lanczos step moved the estimate: the size of the quadrature error, which
        the standard error does not see. Infinite after one step; 0 where the quadrature is exact.
    probes, steps : int
        What was used; ``steps`` is smaller than asked if every Krylov space was exhausted earlier.
    """

    value: Array
    standard_error: Array
    truncation: Array
    probes: int
    steps: int


def log_determinant(
    matvec: Callable[[Array], Any],
    dimension: int,
    *,
    shift: ArrayLike = 0.0,
    probes: int = 32,
    steps: int = 64,
    rng: np.random.Generator | np.random.SeedSequence | int | None = None,
) -> LogDeterminant:
    r"""Estimate log det(A + shift) of a symmetric operator that is only given as a product.

    :math:`\ln\det(A + \lambda) \approx \frac{P}{n_v} \sum_v \sum_k \tau_{vk}^2 \ln(\theta_{vk} +
    \lambda)`, with :math:`\theta, \tau` the eigenvalues and first eigenvector components of the
    Lanczos tridiagonal of each Rademacher probe. One Krylov space serves all shifts. Lanczos
    vectors are fully reorthogonalized: memory is ``steps * dimension`` floats.

    Parameters
    ----------
    matvec : callable
        Maps a float64 vector (dimension,) to A times it.
    dimension : int
        P, at least 1.
    shift : array_like (...), default 0
        :math:`\lambda`; A + shift must be positive definite.
    probes : int, default 32
        Random vectors, at least 2. The standard error falls with their square root.
    steps : int, default 64
        Products per probe. The quadrature error falls exponentially in it, at a rate set by the
        square root of the condition number of A + shift.
    rng : None, int, SeedSequence or Generator
        Source of the probes.

    Returns
    -------
    LogDeterminant
        Value, standard error and size of the last step's change, for each shift.

    Raises
    ------
    ValueError
        If an argument is out of range, the product has the wrong shape or is not finite, or
        A + shift is found not to be positive definite.

    References
    ----------
    Ubaru, Chen & Saad, "Fast estimation of tr(f(A)) via stochastic Lanczos quadrature", SIAM J.
    Matrix Anal. Appl. 38 (2017).

    Examples
    --------
    >>> import numpy as np
    >>> from theory.evidence import log_determinant
    >>> spectrum = np.linspace(0.0, 3.0, 400)
    >>> estimate = log_determinant(lambda v: spectrum * v, 400, shift=0.5, rng=0)
    >>> float(abs(estimate.value - np.log(spectrum + 0.5).sum())) < 1e-8  # diagonal: no noise
    True
    """
    dimension = positive_integer("dimension", dimension)
    probes = positive_integer("probes", probes, minimum=2)
    steps = min(positive_integer("steps", steps), dimension)
    shifts = finite_array("shift", shift)
    rng = np.random.default_rng(rng)
    values = np.empty((probes, *shifts.shape))
    previous = np.empty_like(values)
    most = 0
    for i in range(probes):
        v = rng.choice([-1.0, 1.0], size=dimension) / np.sqrt(dimension)
        diagonal, off_diagonal = _lanczos(matvec, v, steps)
        k = len(diagonal)
        most = max(most, k)
        values[i] = dimension * _quadrature(diagonal, off_diagonal, shifts)
        if k < steps or k == dimension:  # the Krylov space is exhausted: the quadrature is exact
            previous[i] = values[i]
        elif k == 1:
            previous[i] = np.inf
        else:
            previous[i] = dimension * _quadrature(diagonal[:-1], off_diagonal[:-1], shifts)
    return LogDeterminant(
        value=values.mean(axis=0)[()],
        standard_error=(values.std(axis=0, ddof=1) / np.sqrt(probes))[()],
        truncation=np.abs(values.mean(axis=0) - previous.mean(axis=0))[()],
        probes=probes,
        steps=most,
    )


def _lanczos(matvec: Callable[[Array], Any], v: Array, steps: int) -> tuple[Array, Array]:
    """Return the tridiagonal matrix of A in the Krylov space of the unit vector ``v``."""
    basis = np.empty((steps, len(v)))
    diagonal, off_diagonal = np.empty(steps), np.empty(steps)
    basis[0] = v
    for k in range(steps):
        w = finite_array("the product that matvec returns", matvec(basis[k].copy())).copy()
        if w.shape != v.shape:
            raise ValueError(f"matvec must return an array of shape {v.shape}, got {w.shape}")
        scale = float(np.linalg.norm(w))
        diagonal[k] = basis[k] @ w
        for _ in range(2):  # twice is enough (Kahan, in Parlett 1980)
            w -= basis[: k + 1].T @ (basis[: k + 1] @ w)
        off_diagonal[k] = np.linalg.norm(w)
        if k + 1 == steps or off_diagonal[k] <= 1e-13 * scale:
            break
        basis[k + 1] = w / off_diagonal[k]
    return diagonal[: k + 1], off_diagonal[:k]


def _quadrature(diagonal: Array, off_diagonal: Array, shifts: Array) -> Array:
    """Return the Gauss quadrature of ln(θ + shift) for each shift."""
    nodes, vectors = eigh_tridiagonal(diagonal, off_diagonal)
    shifted = nodes + shifts[..., None]
    if np.any(shifted <= 0.0):
        raise ValueError(
            f"A + shift is not positive definite: it has an eigenvalue below {shifted.min():.3g}"
        )
    return np.asarray(np.log(shifted) @ vectors[0] ** 2)
