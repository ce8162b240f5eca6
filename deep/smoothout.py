r"""SmoothOut and AdaSmoothOut for networks: any optimizer of torch, at noisy weights.

:class:`SmoothOut` takes gradients at weights with noise and lets an optimizer move the weights
without it, so that what is minimized is the loss's mean over noise,
:math:`\bar C(w) = E\,C(w + \theta)`. :class:`AdaSmoothOut` makes the noise of each filter as long
as a share of that filter.

:func:`generalization` and :func:`smoothout_identities` are the experiments of the claims on it. The
closed forms are those of :mod:`theory.smoothout`. SAM, ASAM and their like are in
pytorch_optimizer, averages of weights in ``torch.optim.swa_utils``.
"""

from __future__ import annotations

from deep._smoothout_optimizer import AdaSmoothOut, SmoothOut
from deep._smoothout_studies import METHODS, generalization, smoothout_identities

__all__ = [
    "METHODS",
    "STUDIES",
    "AdaSmoothOut",
    "SmoothOut",
    "generalization",
    "smoothout_identities",
]

STUDIES = (generalization, smoothout_identities)
for _study in STUDIES:
    _study.__module__ = __name__  # results are stored under this name, whatever file it stands in
