"""The gradient noise of a network while it is trained, as an experiment."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from deep import models
from deep._image_pool import image_tensors
from deep._noise_scale_distribution import gradient_normality, tail_index
from deep._noise_scale_gradients import per_example_gradients
from deep._noise_scale_measured import GradientNoiseScale, gradient_noise_scale
from store import datasets
from theory._validation import positive_integer, positive_number

_MEASURED = (
    "noise_scale",
    "noise_scale_error",
    "noise_trace",
    "noise_trace_error",
    "gradient_square",
    "gradient_square_error",
    "loss",
)


def gradient_noise(
    *,
    dataset: str = "digits",
    model: str = "mlp",
    widths: Sequence[int] = (100,),
    law: str = "glorot",
    train_size: int = 1500,
    examples: int = 500,
    learning_rate: float = 0.1,
    batch_size: int = 32,
    epochs: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
    batch_sizes: Sequence[int] = (1, 30),
    draws: int = 20_000,
    weights: int = 20,
    seed: int = 0,
    data_dir: str | None = None,
    device: str | None = None,
) -> xr.Dataset:
    r"""Measure the gradient noise scale of a network along plain SGD, and its law at the start.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it.
    model : str
        As :func:`deep.models.build` names it.
    widths : sequence of int
        Hidden units of "mlp"; other networks take none.
    law : str
        Law of the initial weights.
    train_size : int
        N.
    examples : int
        Training images, drawn anew at each time, that the noise scale is measured on.
    learning_rate, batch_size : float, int
        Of the run, which has no momentum and draws each batch from all N.
    epochs : sequence of float
        Increasing times, from above 0, to measure at.
    batch_sizes : sequence of int
        At the start, gradients of batches of these sizes are compared with a normal law.
    draws : int
        Batches of each size.
    weights : int
        Weights of the last layer that are drawn for it, of those whose gradient is not zero for a
        tenth of the examples or more.
    seed : int
        Draws images, initial weights, batches and examples.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.
    device : str, optional
        A GPU if there is one.

    Returns
    -------
    xarray.Dataset
        Along ``epoch``: ``noise_scale``, ``noise_trace``, ``gradient_square``, each with its
        ``_error``, and ``loss``. Along ``batch_size``: ``excess_kurtosis``, the mean over the
        weights, and ``tail_index``, 2 for a normal law.

    Raises
    ------
    ValueError
        If the data set has too few images, the times do not increase, or an argument is out of
        range.

    References
    ----------
    McCandlish et al. (2018), arXiv:1812.06162, section 2.2; Smith & Le (2018), appendix C,
    Figure 9; Simsekli et al. (2019), arXiv:1901.06053 (from memory), for the tail index.
    """
    times = np.asarray(epochs, dtype=float)
    if times.ndim != 1 or not len(times) or np.any(np.diff(times, prepend=0.0) <= 0.0):
        raise ValueError(f"epochs must increase from above 0, got {list(epochs)}")
    rate = positive_number("learning_rate", learning_rate)
    batch_size = positive_integer("batch_size", batch_size)
    examples = positive_integer("examples", examples, minimum=3)
    inputs, labels = _images(dataset, data_dir, train_size, seed, device)
    for name, size in (("batch_size", batch_size), ("examples", examples)):
        if size > train_size:
            raise ValueError(f"{name} must be at most train_size = {train_size}, got {size}")
    network = models.build(
        model,
        input_shape=tuple(inputs.shape[1:]),
        classes=1 + int(labels.max()),
        generator=torch.Generator().manual_seed(seed),
        law=law,
        device=inputs.device,
        **({"widths": tuple(widths)} if model == "mlp" else {}),
    )
    rng = np.random.default_rng([seed, 1])
    normality = _normality(network, inputs, labels, batch_sizes, draws, weights, rng)
    found, done = [], 0
    for end in np.maximum(1, np.rint(times * train_size / batch_size)).astype(int):
        for _ in range(end - done):
            _step(network, inputs, labels, rng.choice(train_size, batch_size, replace=False), rate)
        done = max(done, end)
        rows = rng.choice(train_size, examples, replace=False)
        found.append(_noise_scale(network, inputs[rows], labels[rows], train_size))
    along = {
        name: ("epoch", np.array([float(getattr(each, name)) for each in found]))
        for name in _MEASURED
    }
    return normality.assign(along).assign_coords(epoch=times)


def _images(
    dataset: str, data_dir: str | None, train_size: int, seed: int, device: str | None
) -> tuple[Tensor, Tensor]:
    """Return pixels (N, channels, height, width) in [0, 1], and labels."""
    images, _ = datasets.draw(dataset, data_dir, train_size, 1, seed=seed)
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    return image_tensors(images, place)


def _step(
    network: nn.Module, inputs: Tensor, labels: Tensor, rows: NDArray[np.int64], rate: float
) -> None:
    loss = cross_entropy(network(inputs[rows]), labels[rows])
    parameters = list(network.parameters())
    with torch.no_grad():
        for parameter, slope in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.sub_(slope, alpha=rate)


def _noise_scale(
    network: nn.Module, inputs: Tensor, labels: Tensor, train_size: int
) -> GradientNoiseScale:
    network.eval()
    found = gradient_noise_scale(
        network, cross_entropy, (inputs, labels), train_size=train_size, progress=False
    )
    network.train()
    return found


def _normality(
    network: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    batch_sizes: Sequence[int],
    draws: int,
    weights: int,
    rng: np.random.Generator,
) -> xr.Dataset:
    """Return kurtosis and tail index of gradients of the last layer's weights."""
    *_, last = (name for name, part in network.named_parameters() if part.ndim > 1)
    network.eval()
    options: dict[str, Any] = {"parameters": [last], "progress": False}
    slopes = per_example_gradients(network, cross_entropy, (inputs, labels), **options)
    network.train()
    active = np.flatnonzero(np.mean(slopes != 0.0, axis=0) >= 0.1)
    positive_integer("weights", weights)
    if len(active) < weights:
        raise ValueError(f"weights must be at most {len(active)}, those that move, got {weights}")
    chosen = slopes[:, rng.choice(active, weights, replace=False)].astype(np.float64)
    seed = int(rng.integers(2**32))
    kurtosis = gradient_normality(chosen, batch_sizes, draws=draws, seed=seed).excess_kurtosis
    tails = [_tail_index(chosen, size, rng) for size in batch_sizes]
    return xr.Dataset(
        {"excess_kurtosis": kurtosis.mean("parameter"), "tail_index": ("batch_size", tails)}
    )


def _tail_index(slopes: NDArray[np.float64], size: int, rng: np.random.Generator) -> float:
    """Return the tail index of batches' gradients, standardized weight by weight."""
    batches = [rng.choice(len(slopes), size, replace=False) for _ in range(len(slopes))]
    means = np.array([slopes[batch].mean(0) for batch in batches])
    noise = (means - means.mean(0)) / means.std(0)
    return float(tail_index(rng.permutation(noise.ravel())).alpha)
