r"""SmoothOut, simulated: SGD at noisy weights on exact landscapes.

:func:`descend` follows thousands of trajectories of SmoothOut, :func:`first_arrival` says when they
get where; :func:`smoothed_value`, :func:`smoothed_gradient` and :func:`volume_fraction` measure by
drawing. The **studies** of Wen et al. (2018) put the closed forms of :mod:`theory.smoothout` beside
such measurements: plain parameters and a seed go in, one :class:`xarray.Dataset` comes out.
"""

from __future__ import annotations

from sims._smoothout_adaptive import filter_rule, rescaling, unbiasedness
from sims._smoothout_descent import FirstArrivals, Trajectories, descend, first_arrival
from sims._smoothout_dimensions import lift, noise_laws, overtaking
from sims._smoothout_estimates import (
    Estimate,
    smoothed_gradient,
    smoothed_value,
    volume_fraction,
)
from sims._smoothout_landscapes import (
    elimination,
    merging,
    smoothed_landscapes,
    symmetric_points,
)
from sims._smoothout_motion import balance, denoising, one_point_convergence, survival

__all__ = [
    "STUDIES",
    "Estimate",
    "FirstArrivals",
    "Trajectories",
    "balance",
    "denoising",
    "descend",
    "elimination",
    "filter_rule",
    "first_arrival",
    "lift",
    "merging",
    "noise_laws",
    "one_point_convergence",
    "overtaking",
    "rescaling",
    "smoothed_gradient",
    "smoothed_landscapes",
    "smoothed_value",
    "survival",
    "symmetric_points",
    "unbiasedness",
    "volume_fraction",
]

STUDIES = (
    smoothed_landscapes,
    merging,
    overtaking,
    lift,
    noise_laws,
    elimination,
    symmetric_points,
    unbiasedness,
    denoising,
    survival,
    balance,
    one_point_convergence,
    rescaling,
    filter_rule,
)
for _study in STUDIES:
    _study.__module__ = __name__  # results are stored under this name, whatever file it stands in
