r"""Noise scale of SGD: the one number by which learning rate, batch and momentum act together.

Smith & Le (2018), section 5: while learning rates are small, SGD follows

.. math:: \frac{d\omega}{dt} = -\nabla C_\text{sum}(\omega) + \eta(t), \qquad
          \langle\eta(t)\eta(t')^\top\rangle = g\,F(\omega)\,\delta(t - t'), \qquad
          g = \frac{\epsilon}{1 - m}\Bigl(\frac NB - 1\Bigr) \approx \frac{\epsilon N}{B(1 - m)},

with :math:`C_\text{sum}` the summed cost, :math:`F` the covariance of the gradient over examples
and :math:`t` growing by :math:`\epsilon/(N(1 - m))` a step. Settings of equal g then train alike,
in equal time t, which is what the scaling rules rest on. g is a property of the settings alone; how
much noise there is in the gradients is the *gradient noise scale* :math:`\text{tr}\,C/|G|^2`, a
batch size, which has to be measured (:func:`estimate_noise_scale`).

Valid while batch noise is close to Gaussian; while every curvature h of the mean loss has
:math:`\epsilon h \ll 2(1 + m)` at the minimum, beyond which see :func:`stationary_covariance`, and
:math:`m\epsilon h \ll (1 - m)^2` on the way there, beyond which the heavy ball oscillates; and, for
the rules that drop the -1, while :math:`B \ll N`. Plans say in numbers when they leave this range.
"""

from __future__ import annotations

from theory._noise_scale_critical import (
    TrainingCost,
    critical_batch_size,
    hessian_noise_scale,
    loss_improvement_fraction,
    max_learning_rate,
    optimal_learning_rate,
    simple_noise_scale,
    steps_and_examples,
)
from theory._noise_scale_diffusion import (
    basin_log_odds,
    critical_temperature,
    kramers_time,
    mean_passage_time,
    modified_diffusion,
    modified_drift,
    sampling_learning_rate,
    sampling_preconditioner,
    sgd_temperature,
)
from theory._noise_scale_estimates import (
    NoiseScaleEstimate,
    TradeoffFit,
    estimate_noise_scale,
    fit_tradeoff,
    noise_scale_from_gradients,
)
from theory._noise_scale_plans import (
    AdamPlan,
    SGDPlan,
    constant_noise_scaling,
    linear_scaling,
    square_root_scaling,
)
from theory._noise_scale_schedules import (
    BatchSchedule,
    decay_rate_instead,
    gradual_warmup,
    grow_batch_instead,
)
from theory._noise_scale_settings import (
    SVAGStep,
    batch_size_for_noise_scale,
    learning_rate_for_noise_scale,
    momentum_for_noise_scale,
    noise_scale,
    svag,
)
from theory._noise_scale_stationary import (
    SAMPLERS,
    HeavyBallCovariance,
    LinearStability,
    ShuffledCovariance,
    continuous_stationary_covariance,
    gradient_noise_covariance,
    heavy_ball_stationary_covariance,
    linear_regression_stability_limit,
    linear_regression_stationary_covariance,
    linear_stability,
    shuffled_stationary_covariance,
    stability_limit,
    stationary_covariance,
)

__all__ = [
    "SAMPLERS",
    "AdamPlan",
    "BatchSchedule",
    "HeavyBallCovariance",
    "LinearStability",
    "NoiseScaleEstimate",
    "SGDPlan",
    "SVAGStep",
    "ShuffledCovariance",
    "TradeoffFit",
    "TrainingCost",
    "basin_log_odds",
    "batch_size_for_noise_scale",
    "constant_noise_scaling",
    "continuous_stationary_covariance",
    "critical_batch_size",
    "critical_temperature",
    "decay_rate_instead",
    "estimate_noise_scale",
    "fit_tradeoff",
    "gradient_noise_covariance",
    "gradual_warmup",
    "grow_batch_instead",
    "heavy_ball_stationary_covariance",
    "hessian_noise_scale",
    "kramers_time",
    "learning_rate_for_noise_scale",
    "linear_regression_stability_limit",
    "linear_regression_stationary_covariance",
    "linear_scaling",
    "linear_stability",
    "loss_improvement_fraction",
    "max_learning_rate",
    "mean_passage_time",
    "modified_diffusion",
    "modified_drift",
    "momentum_for_noise_scale",
    "noise_scale",
    "noise_scale_from_gradients",
    "optimal_learning_rate",
    "sampling_learning_rate",
    "sampling_preconditioner",
    "sgd_temperature",
    "shuffled_stationary_covariance",
    "simple_noise_scale",
    "square_root_scaling",
    "stability_limit",
    "stationary_covariance",
    "steps_and_examples",
    "svag",
]
