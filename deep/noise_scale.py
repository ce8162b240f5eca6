r"""The noise scale of your own network: how noisy its gradients are, and what batch size suits.

- :func:`gradient_noise_scale` measures :math:`\text{tr}\,C/|G|^2` of a network on data, and
  :func:`hessian_noise_scale` what it is as the loss's curvature weighs it.
- :class:`NoiseScaleMeter` does so during training, from gradients that training computes anyway.
- :func:`trade_off` says what batch sizes then cost in time and in examples.
- :func:`sde_noise_scale` reads the noise scale g of Smith and Le off an optimizer.
- :func:`batch_size_sweep` and :func:`gradient_noise` are the studies of Smith & Le's Figures 3 to 9
  on networks.
- :func:`per_example_gradients` feeds :func:`gradient_normality`, :func:`tail_index` and
  :func:`covariance_spectrum`, which tell how the noise is distributed.

The closed forms are those of :mod:`theory.noise_scale`.
"""

from __future__ import annotations

from deep._noise_scale_along_training import gradient_noise
from deep._noise_scale_batch_sizes import batch_size_sweep
from deep._noise_scale_distribution import (
    CovarianceSpectrum,
    TailIndex,
    covariance_spectrum,
    gradient_normality,
    tail_index,
)
from deep._noise_scale_gradients import METHODS, per_example_gradients
from deep._noise_scale_measured import (
    GradientNoiseScale,
    HessianNoiseScale,
    TradeOff,
    gradient_noise_scale,
    hessian_noise_scale,
    trade_off,
)
from deep._noise_scale_meter import NoiseScaleMeter
from deep._noise_scale_optimizer import sde_noise_scale

__all__ = [
    "METHODS",
    "STUDIES",
    "CovarianceSpectrum",
    "GradientNoiseScale",
    "HessianNoiseScale",
    "NoiseScaleMeter",
    "TailIndex",
    "TradeOff",
    "batch_size_sweep",
    "covariance_spectrum",
    "gradient_noise",
    "gradient_noise_scale",
    "gradient_normality",
    "hessian_noise_scale",
    "per_example_gradients",
    "sde_noise_scale",
    "tail_index",
    "trade_off",
]

STUDIES = (batch_size_sweep, gradient_noise)
for _study in STUDIES:
    _study.__module__ = __name__  # results are stored under this name, whatever file it stands in
