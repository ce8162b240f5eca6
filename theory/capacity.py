r"""Capacity: the measures of complexity that networks which memorize put to the test.

Zhang et al. (2017), section 2.2: a class that fits random labels has an empirical Rademacher
complexity

.. math:: R_n = E_\sigma \sup_h \frac1n \sum_i \sigma_i h(x_i), \qquad \sigma_i = \pm1,

of about 1 and a VC dimension of n or more, and the bounds that rest on these are vacuous. Uniform
stability, a property of the algorithm alone, does not see the labels. Here are these measures in
closed form where there is one, bounds with all their constants where there is not, and the bounds
on the risk that follow, each of which says whether it is vacuous.

Classes whose capacity is known exactly serve as the measure for the others: balls of linear
functions and of an RKHS (:func:`linear_supremum`), and linear separators, of which Cover counted
what they can separate (:func:`cover_count`).
"""

from __future__ import annotations

from theory._capacity_bounds import (
    GeneralizationBound,
    generalization_bound,
    stability_generalization_bound,
    vc_generalization_bound,
)
from theory._capacity_counting import (
    Architecture,
    Layer,
    VCDimensionBounds,
    convolution_parameters,
    cover_count,
    dense_parameters,
    log_cover_count,
    separable_probability,
    vc_dimension_bounds,
    zhang_networks,
)
from theory._capacity_norms import (
    frobenius_norm,
    log_path_norm,
    log_spectral_product,
    path_norm,
    spectral_product,
)
from theory._capacity_rademacher import (
    MonteCarloEstimate,
    RademacherBounds,
    kernel_rademacher,
    kernel_rademacher_bounds,
    kernel_supremum,
    linear_rademacher,
    linear_rademacher_bounds,
    linear_supremum,
    monte_carlo_rademacher,
)
from theory._capacity_stability import (
    RidgeReplacement,
    StabilityBound,
    regularized_stability,
    ridge_replacement,
    ridge_stability,
    sgd_stability,
    sgd_stability_nonconvex,
)

__all__ = [
    "Architecture",
    "GeneralizationBound",
    "Layer",
    "MonteCarloEstimate",
    "RademacherBounds",
    "RidgeReplacement",
    "StabilityBound",
    "VCDimensionBounds",
    "convolution_parameters",
    "cover_count",
    "dense_parameters",
    "frobenius_norm",
    "generalization_bound",
    "kernel_rademacher",
    "kernel_rademacher_bounds",
    "kernel_supremum",
    "linear_rademacher",
    "linear_rademacher_bounds",
    "linear_supremum",
    "log_cover_count",
    "log_path_norm",
    "log_spectral_product",
    "monte_carlo_rademacher",
    "path_norm",
    "regularized_stability",
    "ridge_replacement",
    "ridge_stability",
    "separable_probability",
    "sgd_stability",
    "sgd_stability_nonconvex",
    "spectral_product",
    "stability_generalization_bound",
    "vc_dimension_bounds",
    "vc_generalization_bound",
    "zhang_networks",
]
