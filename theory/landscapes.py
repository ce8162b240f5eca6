r"""Loss landscapes with exact gradients, Hessians and minima: the test bed of ``sims``.

Two families, told apart by their points. On the **line** a point is a number: ``x`` is (...), and
so are value, gradient and Hessian. In **space** a point is a vector: ``x`` is (..., d), the value
(...), the gradient (..., d) and the Hessian (..., d, d).

=======================  =========================================================================
on the line              :class:`Parabola`, :class:`DoubleWell`, :class:`Polynomial`,
                         :class:`Cosine`, :func:`rastrigin`, :class:`LineWellMixture`
wells, down to -1        :class:`BoxWell`, :class:`VWell`, :class:`GaussianWell`,
                         :class:`LorentzWell`, :class:`LaplaceWell`, :class:`SechWell`
other profiles           :class:`AbsoluteValue`, :class:`Hinge`, :class:`LogWell`,
                         :class:`Sigmoid`, :class:`Softplus`
in space                 :class:`Quadratic`, :class:`WellMixture`, :class:`ProductWell`,
                         :class:`CubeCone`, :class:`FactorChain`
by coordinates           :class:`CoordinateSum`, :class:`CoordinateProduct`
by blocks of them        :class:`DisjointSum`, :class:`DisjointProduct`
sums, higher copies      ``a + b``, ``a + 1.0``, ``2.0 * a``
shifted, wider copies    ``a.moved(shift=1.0, stretch=2.0)``, which is :math:`C((x - 1)/2)`
means over noise         ``a.smoothed(0.5, noise="uniform")``; "normal" noise has that deviation
=======================  =========================================================================

**In compiled loops.** ``landscape.kernels(numba.njit)`` returns compiled functions of one point
and of ``landscape.parameters``::

    gradient = landscape.kernels(numba.njit).gradient

    @numba.njit
    def descend(gradient, parameters, x, learning_rate, steps):
        for _ in range(steps):
            for i in range(len(x)):
                x[i] -= learning_rate * gradient(x[i], parameters)

    descend(gradient, landscape.parameters, x, 0.1, 100)

Landscapes of the same structure share their functions, so the loop above is compiled once for all
double wells. This module itself never compiles anything.
"""

from __future__ import annotations

from theory._landscapes_base import (
    Landscape,
    LineKernels,
    LineLandscape,
    SpaceKernels,
    SpaceLandscape,
)
from theory._landscapes_cones import CubeCone
from theory._landscapes_line import DoubleWell, LineWellMixture, Parabola
from theory._landscapes_models import FactorChain, ProductWell
from theory._landscapes_partition import (
    StationaryPoints,
    basin_log_probabilities,
    log_partition,
    stationary_points,
)
from theory._landscapes_products import (
    CoordinateProduct,
    CoordinateSum,
    DisjointProduct,
    DisjointSum,
)
from theory._landscapes_profiles import (
    AbsoluteValue,
    BoxWell,
    Cosine,
    GaussianWell,
    Hinge,
    LaplaceWell,
    LogWell,
    LorentzWell,
    Polynomial,
    SechWell,
    Sigmoid,
    Softplus,
    VWell,
    rastrigin,
)
from theory._landscapes_space import Quadratic, WellMixture

__all__ = [
    "AbsoluteValue",
    "BoxWell",
    "CoordinateProduct",
    "CoordinateSum",
    "Cosine",
    "CubeCone",
    "DisjointProduct",
    "DisjointSum",
    "DoubleWell",
    "FactorChain",
    "GaussianWell",
    "Hinge",
    "Landscape",
    "LaplaceWell",
    "LineKernels",
    "LineLandscape",
    "LineWellMixture",
    "LogWell",
    "LorentzWell",
    "Parabola",
    "Polynomial",
    "ProductWell",
    "Quadratic",
    "SechWell",
    "Sigmoid",
    "Softplus",
    "SpaceKernels",
    "SpaceLandscape",
    "StationaryPoints",
    "VWell",
    "WellMixture",
    "basin_log_probabilities",
    "log_partition",
    "rastrigin",
    "stationary_points",
]
