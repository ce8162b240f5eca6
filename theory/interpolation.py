r"""Interpolation: which of the many perfect fits one gets, and how large it is.

Zhang et al. (2017), section 5: a linear model with d ≥ n weights fits any targets, in infinitely
many ways if d > n. All these fits have the same, singular Hessian
(:func:`interpolation_hessian`); what chooses among them is the algorithm. SGD ends at the one
nearest to its start (:func:`sgd_limit`), which from zero is the one of least norm
(:func:`minimum_norm_interpolant`). By :math:`XX^\top\alpha = y` that fit needs inner products
alone, so kernels take the place of X (:func:`kernel_interpolant`, :func:`ridge_path`).
"""

from __future__ import annotations

from theory._interpolation_kernels import (
    KernelInterpolant,
    RidgePath,
    gaussian_kernel,
    kernel_interpolant,
    laplacian_kernel,
    ridge_path,
)
from theory._interpolation_linear import (
    InterpolationHessian,
    MinimumNormInterpolant,
    interpolation_hessian,
    minimum_norm_interpolant,
    sgd_limit,
)

__all__ = [
    "InterpolationHessian",
    "KernelInterpolant",
    "MinimumNormInterpolant",
    "RidgePath",
    "gaussian_kernel",
    "interpolation_hessian",
    "kernel_interpolant",
    "laplacian_kernel",
    "minimum_norm_interpolant",
    "ridge_path",
    "sgd_limit",
]
