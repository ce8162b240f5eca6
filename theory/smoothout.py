r"""SmoothOut in closed form: what noise on the weights does to a loss landscape, and to SGD.

Wen et al. (2018) train on the mean of the loss over a box,
:math:`\bar C(w) = E\,C(w + \theta)` with θ uniform on :math:`[-a, a]^m`. Their two theorems say
that a symmetric flat minimum stays stationary, and that sharp minima are lifted in high dimension.
As printed, the first does not use flatness and the second has gaps; here stand statements that
hold, each with its hypotheses:

===  =====================================================  ======================================
A    a sharp minimum is lifted above its surroundings       :func:`sharp_minimum_bound`
B    and above a flat one                                   the same, with ``flat``
C    what is left of a narrow well                          :func:`dent_bound`
D    its minimum is gone                                    the same, with ``slope``
E    few sharp directions: k takes the place of m           :func:`log_few_directions_share`
F    normal noise                                           :func:`sharp_minimum_bound`, ``noise``
G    cubes, exactly                                         :func:`radial_minimum`
===  =====================================================  ======================================

The smoothed loss itself is :meth:`theory.landscapes.Landscape.smoothed`, or, for any loss of few
weights, :func:`smoothed_value`. The **strength** of noise is the half-width a of a uniform law, or
the standard deviation σ of a normal one; laws of equal variance have :math:`\sigma = a/\sqrt3`.
Shares of volume are given in nats: in :math:`10^9` dimensions they underflow.
"""

from __future__ import annotations

from theory._smoothout_adaptive import (
    AdaptiveProducts,
    adaptive_gradient,
    adaptive_products,
    filter_noise,
    filter_noise_variance,
    smoothing_schedule,
    weight_noise,
)
from theory._smoothout_bounds import (
    DentBound,
    Hypothesis,
    LiftBound,
    dent_bound,
    log_few_directions_share,
    radial_minimum,
    sharp_minimum_bound,
)
from theory._smoothout_dynamics import (
    OnePointNeighborhood,
    balance_decay,
    one_point_convexity,
    one_point_neighborhood,
    smoothout_covariance,
    smoothout_variance,
    two_factor_minimum,
)
from theory._smoothout_gradient import (
    pathwise_bias,
    pathwise_gradient,
    smoothed_gradient,
    smoothed_value,
)
from theory._smoothout_strength import (
    merging_strength,
    overtaking_strength,
    ranking_strength,
    smoothing_strength,
)
from theory._smoothout_volumes import (
    NoiseNorms,
    QuadraticNoise,
    log_deviation_bound,
    log_normal_mass,
    log_volume_ratio,
    noise_crossover,
    noise_norms,
    quadratic_noise,
    shell_thickness,
)

__all__ = [
    "AdaptiveProducts",
    "DentBound",
    "Hypothesis",
    "LiftBound",
    "NoiseNorms",
    "OnePointNeighborhood",
    "QuadraticNoise",
    "adaptive_gradient",
    "adaptive_products",
    "balance_decay",
    "dent_bound",
    "filter_noise",
    "filter_noise_variance",
    "log_deviation_bound",
    "log_few_directions_share",
    "log_normal_mass",
    "log_volume_ratio",
    "merging_strength",
    "noise_crossover",
    "noise_norms",
    "one_point_convexity",
    "one_point_neighborhood",
    "overtaking_strength",
    "pathwise_bias",
    "pathwise_gradient",
    "quadratic_noise",
    "radial_minimum",
    "ranking_strength",
    "sharp_minimum_bound",
    "shell_thickness",
    "smoothed_gradient",
    "smoothed_value",
    "smoothing_schedule",
    "smoothing_strength",
    "smoothout_covariance",
    "smoothout_variance",
    "two_factor_minimum",
    "weight_noise",
]
