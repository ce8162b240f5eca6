"""The Hessian's eigenbasis, in which every pair of directions (i, j) decouples, and its checks.

It is the Hessian's alone: the gradient covariance need not be diagonal in it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from theory._validation import (
    Array,
    positive_array,
    semidefinite_array,
    symmetric_array,
)


def positive_modes(name: str, matrix: ArrayLike) -> tuple[Array, Array]:
    """Return the ascending eigenvalues (P,) and eigenvectors (P, P) of a positive matrix."""
    eigenvalues, vectors = np.linalg.eigh(symmetric_array(name, matrix, ndim=2))
    rounding = len(eigenvalues) * np.finfo(float).eps * abs(eigenvalues[-1])
    if eigenvalues[0] <= rounding:
        raise ValueError(
            f"{name} must be positive definite, but its eigenvalues range from "
            f"{eigenvalues[0]:.3g} to {eigenvalues[-1]:.3g}"
        )
    return eigenvalues, vectors


def check_rate(learning_rate: float, limit: float, formula: str) -> float:
    """Return the learning rate if it is positive and below the limit, or raise ValueError."""
    rate = float(positive_array("learning_rate", learning_rate, ndim=0))
    if rate >= limit * (1.0 - 1e-12):  # what rounding cannot tell from the limit counts as beyond
        raise ValueError(
            f"learning_rate must be below {limit:.6g}, the limit of stability {formula}; "
            f"{rate:.6g} is {rate / limit:.4g} times that"
        )
    return rate


def quadratic_problem(
    hessian: ArrayLike, covariance: ArrayLike, name: str = "gradient_covariance"
) -> tuple[Array, Array, Array]:
    """Return eigenvalues and eigenvectors of the Hessian, and the covariance in their basis."""
    h, vectors = positive_modes("hessian", hessian)
    C = semidefinite_array(name, covariance, ndim=2)
    if len(C) != len(h):
        raise ValueError(f"hessian is {len(h)} x {len(h)} but {name} is {len(C)} x {len(C)}")
    return h, vectors, vectors.T @ C @ vectors


def rotate_back(S: Array, vectors: Array) -> Array:
    """Return a covariance from the Hessian's eigenbasis to the original one."""
    rotated = vectors @ S @ vectors.T
    return np.asarray(0.5 * (rotated + rotated.T))
