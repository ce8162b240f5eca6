r"""How sharp a minimum is: measures of your own network's loss around its weights.

- :func:`keskar_sharpness` is the largest loss in a small box, :func:`expected_sharpness` the mean
  loss under noise.
- :func:`hessian_trace` and :func:`hessian_eigenvalues` are of the curvature at the weights, with
  error bars.
- :func:`relative_flatness` does not change when neurons are rescaled; :func:`rescaling_test` shows
  that the others do.
- :func:`section` and :func:`line_between` are the loss along lines and planes, to look at.

Each takes a ``torch.nn.Module``, its mean loss, and data: tensors (inputs, targets), a loader, or a
:class:`deep.loader.DeviceDataset`. The network stays as it is, bit for bit: a copy of it is
measured, in evaluation mode, so dropout is off. What batch normalization takes is an argument:

- "running", the default: its running statistics, which belong to the weights as they are and do not
  follow them. It is the network as it is used, but noise on its weights is then felt in full.
- "batch": the statistics of each batch, anew for all weights, as in training. A batch of all
  examples stands for statistics that are estimated again.

Each returns an ``xarray.Dataset`` whose attribute ``batch_norm`` says what was taken.
"""

from __future__ import annotations

from deep._curvature_hessian import (
    hessian_eigenvalues,
    hessian_trace,
    relative_flatness,
)
from deep._curvature_rescaling import rescaling_test
from deep._curvature_sections import line_between, section
from deep._curvature_sharpness import expected_sharpness, keskar_sharpness

__all__ = [
    "expected_sharpness",
    "hessian_eigenvalues",
    "hessian_trace",
    "keskar_sharpness",
    "line_between",
    "relative_flatness",
    "rescaling_test",
    "section",
]
