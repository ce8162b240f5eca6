"""Dinh et al.'s test: what measures of sharpness say of one function in other coordinates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import nn

from deep._curvature_hessian import hessian_trace, relative_flatness
from deep._curvature_sharpness import expected_sharpness, keskar_sharpness
from deep._curvature_surface import Array, Surface, named, positive_values
from deep._evidence_likelihood import Data
from deep._noise_scale_gradients import Loss, shown
from deep.evidence import rescale_layers
from theory._validation import positive_integer, positive_number

_MEASURED = {
    "hessian_trace": "trace of the Hessian",
    "hessian_trace_error": "its standard error",
    "keskar_sharpness": "Keskar sharpness",
    "expected_sharpness": "mean rise of the loss under uniform noise",
    "expected_sharpness_error": "its standard error",
    "filter_sharpness": "mean rise of the loss under noise as long as filters",
    "filter_sharpness_error": "its standard error",
}
_OF_LAYERS = {
    "relative_flatness": "relative flatness",
    "relative_flatness_error": "its standard error",
}


def rescaling_test(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    first: str,
    second: str,
    scale: ArrayLike,
    epsilon: float = 1e-3,
    strength: float = 0.01,
    filter_strength: float = 0.1,
    draws: int = 100,
    probes: int = 100,
    seed: int = 0,
    batch_norm: str = "running",
    batch_size: int = 512,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Measure the sharpness of one and the same function in coordinates of many scales.

    One layer's weights and bias are multiplied by :math:`\alpha` and the next layer's weights
    divided by it, by :func:`deep.evidence.rescale_layers`. With only ReLU, pooling and the like
    between them no output changes, but blocks of the Hessian do:

    .. math:: \text{tr}\,H(\alpha) = \alpha^{-2}\,\text{tr}\,H_1 + \alpha^2\,\text{tr}\,H_2
              + \text{tr}\,H_{\text{rest}},

    so a measure that follows the trace can be made as large as one likes. One that is of the
    function, such as relative flatness, stays.

    Parameters
    ----------
    model, loss, data, batch_norm, batch_size, progress
        As :func:`keskar_sharpness` takes them.
    first, second : str
        Names of the two modules, such as "0" and "2".
    scale : float or array_like (n,)
        :math:`\alpha`, positive.
    epsilon : float
        Of :func:`keskar_sharpness`.
    strength, filter_strength : float
        Of :func:`expected_sharpness`, with uniform noise: plain, and scaled by filters.
    draws, probes, seed : int
        As :func:`expected_sharpness` and :func:`hessian_trace` take them. Noise and probes are the
        same for all scales.

    Returns
    -------
    xarray.Dataset
        Along scale: ``function_change``, the largest change of an output over the largest output;
        ``hessian_trace`` and ``predicted_trace``, by the law above from the traces at scale 1;
        ``keskar_sharpness`` in percent; ``expected_sharpness`` and ``filter_sharpness``. Along
        scale and layer: ``relative_flatness`` of the two. All but change and Keskar's have standard
        errors, ``…_error``. And ``loss``.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As the functions named do; ValueError if outputs change by more than rounding, because
        something else stands between the two modules.

    References
    ----------
    Dinh et al., "Sharp minima can generalize for deep nets" (2017).

    Examples
    --------
    >>> with torch.random.fork_rng():
    ...     _ = torch.manual_seed(0)
    ...     model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1)).double()
    >>> data = torch.eye(2).double(), torch.ones(2, 1).double()
    >>> found = rescaling_test(
    ...     model, nn.MSELoss(), data, first="0", second="2", scale=[0.1, 1.0, 10.0], draws=2
    ... )
    >>> bool(np.allclose(found.hessian_trace, found.predicted_trace))
    True
    """
    scales = positive_values("scale", scale)
    for name, value in (
        ("epsilon", epsilon),
        ("strength", strength),
        ("filter_strength", filter_strength),
    ):
        positive_number(name, value)
    for name, count in (("draws", draws), ("probes", probes)):
        positive_integer(name, count, minimum=2)
    how: dict[str, Any] = {"batch_norm": batch_norm, "batch_size": batch_size}
    surface = Surface(model, loss, data, **how)
    how |= {"loss": loss, "data": list(surface.batches)}  # a loader is read once
    rescaled = [rescale_layers(model, 1.0, first=first, second=second, scale=a)[0] for a in scales]
    changes = [_function_change(surface, Surface(each, **how)) for each in rescaled]
    how["progress"] = False
    weights = [f"{first}.weight", f"{second}.weight"]

    def measured(own: nn.Module) -> dict[str, Any]:
        chance: dict[str, Any] = {"seed": seed, **how}
        trace = hessian_trace(own, probes=probes, **chance)
        plain = expected_sharpness(own, strength=strength, draws=draws, **chance)
        scaled = expected_sharpness(
            own, strength=filter_strength, scaling="filter", draws=draws, **chance
        )
        flatness = relative_flatness(own, layers=weights, probes=probes, **chance)
        return {
            "hessian_trace": trace.hessian_trace,
            "hessian_trace_error": trace.standard_error,
            "keskar_sharpness": keskar_sharpness(own, epsilon=epsilon, **how).sharpness[0, 0],
            "expected_sharpness": plain.expected_sharpness[0],
            "expected_sharpness_error": plain.standard_error[0],
            "filter_sharpness": scaled.expected_sharpness[0],
            "filter_sharpness_error": scaled.standard_error[0],
            "relative_flatness": flatness.relative_flatness,
            "relative_flatness_error": flatness.standard_error,
        }

    rows = [measured(each) for each in shown(rescaled, "scales", progress)]
    at_one = hessian_trace(model, probes=probes, seed=seed, **how)
    return _table(surface, scales, changes, rows, _law(at_one, scales, first, second), weights)


def _function_change(surface: Surface, rescaled: Surface) -> float:
    """Return how much outputs change, or raise ValueError if it is more than rounding."""
    change = largest = 0.0
    for here, there in zip(surface.outputs(), rescaled.outputs(), strict=True):
        change = max(change, float((there - here).abs().max()))
        largest = max(largest, float(here.abs().max()))
    relative = change / largest if largest else change
    if not relative < math.sqrt(torch.finfo(surface.weights.dtype).eps):
        raise ValueError(
            f"first and second cannot be rescaled: outputs change by {relative:.3g} of the "
            "largest; only positively homogeneous steps such as ReLU and pooling may stand between "
            "the two, and nothing else may take the first's outputs"
        )
    return relative


def _law(at_one: xr.Dataset, scales: Array, first: str, second: str) -> tuple[Array, Array]:
    """Return the trace at every scale and its standard error, from the blocks at scale 1."""
    powers = {f"{first}.weight": -2, f"{first}.bias": -2, f"{second}.weight": 2}
    power = np.array([powers.get(name, 0) for name in at_one.parameter.values])
    factors = scales[:, None] ** power
    error = np.sqrt(factors**2 @ at_one.parameter_standard_error.values**2)
    return factors @ at_one.parameter_trace.values, error


def _table(
    surface: Surface,
    scales: Array,
    changes: list[float],
    rows: list[dict[str, Any]],
    law: tuple[Array, Array],
    weights: list[str],
) -> xr.Dataset:
    variables: dict[str, Any] = {
        "function_change": ("scale", changes, named("largest relative change of an output")),
        "predicted_trace": ("scale", law[0], named("trace of the Hessian, predicted")),
        "predicted_trace_error": ("scale", law[1], named("its standard error")),
    }
    for name, long_name in _MEASURED.items():
        unit = "percent" if name == "keskar_sharpness" else "1"
        values = [float(row[name]) for row in rows]
        variables[name] = ("scale", values, named(long_name, unit))
    for name, long_name in _OF_LAYERS.items():
        values = np.array([row[name].values for row in rows])
        variables[name] = (("scale", "layer"), values, named(long_name))
    return surface.dataset(
        variables,
        {
            "scale": ("scale", scales, named("factor of the first layer")),
            "layer": ("layer", weights, {"long_name": "name of the layer's weights"}),
        },
    )
