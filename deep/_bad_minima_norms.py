"""Norms of a network's weights, with batch normalization folded into the layer before it."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from theory.capacity import spectral_product

# They divide by statistics of the input at hand, so that no sum over paths is what they give.
_NOT_AFFINE = (
    nn.LayerNorm,
    nn.RMSNorm,
    nn.GroupNorm,
    nn.InstanceNorm1d,
    nn.InstanceNorm2d,
    nn.InstanceNorm3d,
)


class WeightNorms(NamedTuple):
    r"""Norms of a network's weights.

    Attributes
    ----------
    l1_path_norm, l2_path_norm : float
        :math:`(\sum_\text{paths} \prod |w|^p)^{1/p}`, over the paths from each input and each bias
        to each output.
    spectral_product : float
        Of the largest singular values of the layers' matrices; that of a convolution is its kernel
        (outputs, inputs × positions).
    frobenius_norm : float
        Root of the sum of squares of all weights and biases.
    """

    l1_path_norm: float
    l2_path_norm: float
    spectral_product: float
    frobenius_norm: float


def weight_norms(model: nn.Module, example: Tensor) -> WeightNorms:
    r"""Return norms of a network's weights, batch normalization folded in.

    A path norm is the p-th root of what the network gives for ones, in evaluation mode, with
    :math:`|w|^p` for each weight. This is the sum over paths in networks of linear layers,
    convolutions, ReLUs, means and sums; of a maximum over positions, the largest counts alone.

    Batch normalization is multiplied, with its running statistics, into the layer before it; where
    it follows upon no layer, as in pre-activation blocks, it counts as a diagonal layer of its own.

    Parameters
    ----------
    model : torch.nn.Module
        It stays as it is: a copy is taken to float64 on the CPU.
    example : Tensor (1, ...)
        An input, of which the shape counts.

    Returns
    -------
    WeightNorms

    Raises
    ------
    ValueError
        If there is another kind of normalization, which cannot be folded, or batch normalization
        without running statistics.

    References
    ----------
    Neyshabur, Tomioka & Srebro, COLT 2015. An independent reproduction of Liu et al. (2020) takes
    ones as well, but leaves batch normalization as it is, and logs the Frobenius norm's square.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(2, 1), nn.BatchNorm1d(1), nn.ReLU(), nn.Linear(1, 1))
    >>> for part in model.parameters():
    ...     _ = nn.init.constant_(part, 2.0)
    >>> model[1].running_var[:] = 4.0 - model[1].eps  # folded, the first layer is (2, 2) and 4
    >>> round(weight_norms(model, torch.zeros(1, 2)).l1_path_norm, 6)  # (2 + 2 + 4) 2 + 2
    18.0
    """
    ones = torch.ones(example.shape, dtype=torch.float64)
    network = _folded(model, ones)
    stretch = float(np.prod([spectral_product([matrix]) for matrix in _matrices(network)]))
    squares = sum(float(part.detach().square().sum()) for part in network.parameters())
    l1, l2 = (_path_norm(network, ones, p) for p in (1, 2))
    return WeightNorms(l1, l2, stretch, math.sqrt(squares))


def _path_norm(network: nn.Module, ones: Tensor, p: int) -> float:
    positive = copy.deepcopy(network)
    with torch.no_grad():
        for part in positive.parameters():
            part.abs_().pow_(p)
        return math.pow(float(positive(ones).sum()), 1.0 / p)


def _matrices(network: nn.Module) -> Iterator[NDArray[np.float64]]:
    """Yield the layers' matrices."""
    for layer in network.modules():
        if isinstance(layer, _BatchNorm):
            yield np.diag(layer.weight.detach().numpy())
        elif isinstance(layer, nn.Linear | _ConvNd):
            yield layer.weight.detach().numpy().reshape(len(layer.weight), -1)


# --- batch normalization --------------------------------------------------------------------------


def _folded(model: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy in float64 that gives the same in evaluation mode, batch norm folded in."""
    network = copy.deepcopy(model).cpu().double().eval()
    for name, layer in network.named_modules():
        if isinstance(layer, _NOT_AFFINE):
            raise ValueError(
                f"norms over paths need layers that are affine: {name} is {type(layer).__name__}"
            )
        if isinstance(layer, _BatchNorm) and layer.running_var is None:
            raise ValueError(f"batch normalization {name} has no running statistics to fold in")
    before = _layers_before(network, example)
    for name, norm in list(network.named_modules()):
        if isinstance(norm, _BatchNorm):
            scale, shift = _affine(norm)
            if norm in before:
                _multiply_in(before[norm], scale, shift)
                network.set_submodule(name, nn.Identity())
            else:
                _set_affine(norm, scale, shift)
    return network


def _layers_before(network: nn.Module, example: Tensor) -> dict[nn.Module, Any]:
    """Return, of each batch normalization, the layer whose output it takes and none else."""
    made: list[tuple[Tensor, nn.Module]] = []
    taken: list[tuple[nn.Module, Any, Tensor]] = []

    def watch(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, _BatchNorm):
            taken.extend((layer, each, tensor) for tensor, each in made if tensor is inputs[0])
        else:
            made.append((output, layer))

    kinds = (nn.Linear, _ConvNd, _BatchNorm)
    handles = [
        layer.register_forward_hook(watch)
        for layer in network.modules()
        if isinstance(layer, kinds) and not isinstance(layer, _ConvTransposeNd)
    ]
    with torch.enable_grad():
        uses = _uses(network.requires_grad_()(example))
    for handle in handles:
        handle.remove()
    return {norm: layer for norm, layer, tensor in taken if uses[tensor.grad_fn] == 1}


def _uses(output: Tensor) -> Counter[Any]:
    """Return how often each intermediate result, known by its node of the graph, is used."""
    uses: Counter[Any] = Counter()
    waiting: list[Any] = [output.grad_fn]
    while waiting:
        for node, _ in waiting.pop().next_functions:
            if node is not None:
                if not uses[node]:
                    waiting.append(node)
                uses[node] += 1
    return uses


def _affine(norm: _BatchNorm) -> tuple[Tensor, Tensor]:
    """Return scale and shift that batch normalization has in evaluation mode."""
    mean, variance = norm.get_buffer("running_mean"), norm.get_buffer("running_var")
    scale = (variance + norm.eps).rsqrt()
    shift = -mean * scale
    if norm.affine:
        scale, shift = scale * norm.weight.detach(), shift * norm.weight.detach()
        shift = shift + norm.bias.detach()
    return scale, shift


def _multiply_in(layer: Any, scale: Tensor, shift: Tensor) -> None:
    bias = 0.0 if layer.bias is None else layer.bias.detach()
    wide = scale.view(-1, *[1] * (layer.weight.ndim - 1))
    layer.weight = nn.Parameter(layer.weight.detach() * wide)
    layer.bias = nn.Parameter(scale * bias + shift)


def _set_affine(norm: _BatchNorm, scale: Tensor, shift: Tensor) -> None:
    """Write the running statistics into weight and bias."""
    norm.running_mean = torch.zeros_like(scale)
    norm.running_var = torch.full_like(scale, 1.0 - norm.eps)
    norm.weight, norm.bias = nn.Parameter(scale), nn.Parameter(shift)
