"""Studies of gradients and of AdaSmoothOut, on ReLU networks of one hidden layer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sims._smoothout_estimates import smoothed_gradient
from sims._smoothout_network import ReLUNetwork
from sims._variables import named
from theory import smoothout
from theory._validation import positive_array, positive_integer, positive_number
from theory.landscapes import BoxWell, FactorChain

Array = NDArray[np.float64]


def unbiasedness(*, strength: float = 0.5, draws: int = 1_000_000, seed: int = 0) -> xr.Dataset:
    """Compare the mean gradient at noisy weights with the gradient of the smoothed loss.

    Parameters
    ----------
    strength : float
        a, of uniform noise.
    draws : int
        Noise vectors.
    seed : int
        Draws the noise, and the ReLU network's weights and data.

    Returns
    -------
    xarray.Dataset
        ``smooth_z`` (chain of three factors) and ``relu_z`` (network of 2 inputs and 2 ReLUs, mean
        squared error): the difference over its standard error, for each weight. ``box_pathwise``
        and ``box_gradient``: mean gradient and true one at the rim of a smoothed box well, which
        jumps; ``box_error`` the standard error of the first.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Wen et al. (2018), abstract: stochastic SmoothOut is unbiased.
    """
    rng = np.random.default_rng([seed, 2])
    chain, point = FactorChain(depth=3), np.array([0.9, 1.2, 0.8])
    drawn = smoothed_gradient(chain, point, strength=strength, draws=draws, rng=rng)
    smooth_z = (drawn.mean - chain.smoothed(strength).gradient(point)) / drawn.standard_error
    network = ReLUNetwork.drawn(inputs=2, hidden=2, examples=8, rng=rng)
    path = _mean_and_error(network.gradient, network.weights, strength, draws, rng)
    face = _mean_and_error(network.face_differences, network.weights, strength, draws, rng)
    relu_z = (path[0] - face[0]) / np.hypot(path[1], face[1])
    well = BoxWell(width=strength)
    box = smoothed_gradient(well, 1.5 * strength, strength=strength, draws=draws, rng=rng)
    return xr.Dataset(
        {
            "smooth_z": ("factor", smooth_z, named("deviation, in standard errors")),
            "relu_z": ("weight", relu_z, named("deviation, in standard errors")),
            "box_pathwise": ((), box.mean, named("mean gradient of a box well")),
            "box_error": ((), box.standard_error, named("its standard error")),
            "box_gradient": (
                (),
                well.smoothed(strength).gradient(1.5 * strength),
                named("gradient of the smoothed box well"),
            ),
        }
    )


def _mean_and_error(
    function: Callable[..., Array],
    weights: Array,
    strength: float,
    draws: int,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """Return the mean of what a function makes of noisy weights, and its standard error."""
    total, squares, done = np.zeros(weights.size), np.zeros(weights.size), 0
    while done < draws:
        n = min(20_000, draws - done)
        values = function(weights, rng.uniform(-strength, strength, (n, weights.size)), strength)
        total, squares, done = total + values.sum(0), squares + (values**2).sum(0), done + n
    mean = total / draws
    return mean, np.sqrt((squares / draws - mean**2) / (draws - 1))


def rescaling(
    *,
    scales: Sequence[float] = (0.1, 0.3, 1.0, 3.0, 10.0),
    strength: float = 0.05,
    adaptive_strength: float = 0.2,
    inputs: int = 4,
    hidden: int = 16,
    examples: int = 64,
    draws: int = 20_000,
    seed: int = 0,
) -> xr.Dataset:
    """Rescale the layers of a ReLU network, its function unchanged, and look at its sharpness.

    The first layer is multiplied by a number and the second divided by it. The weights are a
    teacher's, so that the loss, the mean squared error, is 0.

    Parameters
    ----------
    scales : sequence of float
        Numbers to multiply by; 1 must be one of them.
    strength, adaptive_strength : float
        Of SmoothOut and of AdaSmoothOut.
    inputs, hidden, examples : int
        Size of the network and its data.
    draws : int
        Noise vectors; the same for every scale.
    seed : int
        Draws weights, data and noise.

    Returns
    -------
    xarray.Dataset
        Along scale: ``smoothed_loss`` and ``standard_error``, also along form ("SmoothOut",
        "AdaSmoothOut"); ``function_change``, the largest change of an output over the largest
        output; ``trace``, tr H, and ``predicted_trace``.

    Raises
    ------
    ValueError
        If a number is out of range or no scale is 1.

    References
    ----------
    Wen et al. (2018), version 3: AdaSmoothOut; Dinh et al. (2017), Theorem 4.
    """
    positive_integer("draws", draws, minimum=2)
    positive_number("strength", strength)
    if 1.0 not in positive_array("scales", scales, ndim=1):
        raise ValueError(f"scales must hold 1, got {list(scales)}")
    network = ReLUNetwork.drawn(
        inputs=inputs, hidden=hidden, examples=examples, rng=np.random.default_rng([seed, 1])
    ).taught()
    u = np.random.default_rng([seed, 2]).uniform(-1.0, 1.0, (draws, network.weights.size))
    loss, error = np.empty((2, len(scales))), np.empty((2, len(scales)))
    change, traces = [], []
    parts = network.layer_traces()
    for i, scale in enumerate(scales):
        scaled = network.rescaled(scale)
        noises = (strength * u, scaled.filter_noise(u, adaptive_strength))
        for j, theta in enumerate(noises):
            drawn = scaled.loss(scaled.weights + theta)
            loss[j, i], error[j, i] = drawn.mean(), drawn.std(ddof=1) / np.sqrt(draws)
        difference = scaled.outputs() - network.outputs()
        change.append(np.max(np.abs(difference)) / np.max(np.abs(network.outputs())))
        traces.append(scaled.measured_trace())
    squares = np.square(scales)
    along = ("form", "scale")
    return xr.Dataset(
        {
            "smoothed_loss": (along, loss, named("smoothed loss")),
            "standard_error": (along, error, named("its standard error")),
            "function_change": ("scale", change, named("relative change of the function")),
            "trace": ("scale", traces, named("trace of the Hessian, by differences")),
            "predicted_trace": (
                "scale",
                parts[0] / squares + parts[1] * squares,
                named("trace of the Hessian, predicted"),
            ),
        },
        {"form": ["SmoothOut", "AdaSmoothOut"], "scale": list(scales)},
    )


def filter_rule(
    *,
    strength: float = 0.3,
    filters: int = 16,
    fan_in: int = 27,
    draws: int = 20_000,
    seed: int = 0,
) -> xr.Dataset:
    """Measure AdaSmoothOut's noise, filter by filter: its length and its covariance.

    Parameters
    ----------
    strength : float
        a.
    filters, fan_in : int
        Shape of the weights.
    draws : int
        Noise arrays.
    seed : int
        Draws weights and noise.

    Returns
    -------
    xarray.Dataset
        ``length_error``: largest relative deviation of a filter's noise from its predicted length,
        along filter; ``variance`` of each weight over its prediction, along filter and coordinate;
        ``correlation_z``: largest correlation of two weights of a filter, in standard errors, along
        filter.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Wen et al. (2018), AdaSmoothOut in the official code.
    """
    positive_integer("draws", draws)
    rng = np.random.default_rng([seed, 1])
    weights = rng.normal(size=(filters, fan_in)) * np.exp(rng.normal(size=(filters, 1)))
    norms = np.linalg.norm(weights, axis=1)
    squares = np.zeros((filters, fan_in, fan_in))
    length_error = np.zeros(filters)
    for _ in range(draws):
        u = rng.uniform(-1.0, 1.0, weights.shape)
        theta = smoothout.filter_noise(weights, u, strength=strength)
        predicted = strength * norms * (1.0 - 1e-6 / np.linalg.norm(u, axis=1))
        error = np.abs(np.linalg.norm(theta, axis=1) / predicted - 1.0)
        length_error = np.maximum(length_error, error)
        squares += theta[:, :, None] * theta[:, None, :]
    covariance = squares / draws
    variance = np.diagonal(covariance, axis1=1, axis2=2)
    expected = strength**2 * norms[:, None] ** 2 / fan_in
    root = np.sqrt(variance)
    correlation = covariance / (root[:, :, None] * root[:, None, :]) - np.eye(fan_in)
    return xr.Dataset(
        {
            "length_error": ("filter", length_error, named("relative error of the length")),
            "variance": (
                ("filter", "coordinate"),
                variance / expected,
                named("variance over the predicted one"),
            ),
            "correlation_z": (
                "filter",
                np.abs(correlation).max(axis=(1, 2)) * np.sqrt(draws),
                named("largest correlation, in standard errors"),
            ),
        },
        {"filter": np.arange(filters)},
    )
