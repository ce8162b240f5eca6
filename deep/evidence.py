r"""Laplace evidence of networks: how much of the prior's volume the data leave a trained model.

Smith & Le (2018), equations 7 to 10, for any ``torch.nn.Module`` at the weights :math:`\omega_0` it
has. With the summed loss :math:`H = -\ln P(y \mid x, \omega)` and the prior
:math:`N(0, \Lambda^{-1})`,

.. math:: \ln P(y \mid x) \approx -H(\omega_0) - \tfrac12\omega_0^\top\Lambda\,\omega_0
          - \tfrac12 \ln\det(1 + \Lambda^{-1/2} G\,\Lambda^{-1/2}).

The curvature G of the data term is the generalized Gauss-Newton matrix, the Hessian of the network
linearized at its weights, which is positive semidefinite where a network's own Hessian is not.

:func:`laplace_log_evidence` computes it, :func:`rescale_layers` writes the same network and prior
in other coordinates, in which it is as sharp as one likes and has the same evidence.

:func:`evidence_of_minima` and :func:`evidence_identities` are experiments with it.
"""

from __future__ import annotations

from deep._evidence_laplace import (
    CURVATURES,
    NetworkEvidence,
    NotStationaryWarning,
    laplace_log_evidence,
    rescale_layers,
)
from deep._evidence_likelihood import LOSSES
from deep._evidence_studies import evidence_identities, evidence_of_minima

__all__ = [
    "CURVATURES",
    "LOSSES",
    "STUDIES",
    "NetworkEvidence",
    "NotStationaryWarning",
    "evidence_identities",
    "evidence_of_minima",
    "laplace_log_evidence",
    "rescale_layers",
]

STUDIES = (evidence_of_minima, evidence_identities)
for _study in STUDIES:
    _study.__module__ = __name__  # results are stored under this name, whatever file it stands in
