"""Bad minima in the plane: a start that fits random labels, and what SGD makes of it.

The **studies** of Liu, Papailiopoulos & Achlioptas (2020) on their toy: two clouds of points that a
line separates, and a ReLU network 2-100-100-1 that is first made to fit random labels of the same
points. Vanilla SGD on the true labels then stays near this start, fits, and keeps much of the
shattered boundary; weight decay, momentum and augmentation lead away from it. Plain parameters and
a seed go in, one :class:`xarray.Dataset` comes out.

:class:`TwoLayerNetwork` trains such networks, :func:`boundary` measures a decision map.
:data:`MEASURES` are the names of what every run of the toy is measured by, and what they mean.
"""

from __future__ import annotations

from sims._bad_minima_linear import linear_control
from sims._bad_minima_network import Training, TwoLayerNetwork
from sims._bad_minima_plane import Boundary, boundary
from sims._bad_minima_toy import (
    MEASURES,
    early_regularization,
    four_runs,
    regularizers,
    straight_lines,
)

__all__ = [
    "MEASURES",
    "STUDIES",
    "Boundary",
    "Training",
    "TwoLayerNetwork",
    "boundary",
    "early_regularization",
    "four_runs",
    "linear_control",
    "regularizers",
    "straight_lines",
]

STUDIES = (four_runs, regularizers, early_regularization, straight_lines, linear_control)
for _study in STUDIES:
    _study.__module__ = __name__  # results are stored under this name, whatever file it stands in
