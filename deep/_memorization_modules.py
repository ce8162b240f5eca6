r"""Memorizing networks of :mod:`theory.memorization` as modules of torch, in float64.

A module has the network's own numbers and adds up its hidden units in plain float64, where the
network itself works in double-double. The terms of the sum are far larger than the sum, the more so
the narrower the network's ``margin``, which shrinks as n⁻². For n standard normal points in 10
dimensions with labels ±1, the largest error at a point was, in the median of 40 networks (of 5 for
n = 10⁴):

======  =======  ============  ==========
n       network  tied module   in float32
======  =======  ============  ==========
10²     7e-15    3e-12         1e-3
10³     8e-14    8e-10         0.5
10⁴     5e-13    1e-7          200
======  =======  ============  ==========

which is some 10⁻¹⁵ n² max\|y\|, and was never more than 10 ε max\|y\| (b_n - b_1) / margin. Modules
therefore work in float64 alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from theory.memorization import DeepMemorizingNetwork, MemorizingNetwork

Array = NDArray[np.float64]

__all__ = ["FORMS", "TiedMemorizingModule", "to_module"]

FORMS = ("tied", "dense")

_BLOCK = 2**11  # points, and hidden units, that are multiplied at a time: 32 MiB


def to_module(
    network: MemorizingNetwork | DeepMemorizingNetwork,
    *,
    form: str = "tied",
    device: torch.device | str | None = None,
) -> nn.Module:
    r"""Return a float64 module that computes the network's function and can be trained further.

    ``form`` says where the projection goes. Of a network with one hidden layer, "tied" makes a
    :class:`TiedMemorizingModule` of 2n + d parameters, ``network.n_parameters``; "dense" makes the
    usual ``Linear(d, n)``, ``ReLU``, ``Linear(n, K, bias=False)``, in which every hidden unit has
    a copy of the projection of its own: ``network.n_dense_parameters``. A deep network becomes a
    stack of dense ``Linear`` layers, most of their weights zero but free to train, about
    n² / depth of them; "tied" puts ``Linear(d, 1, bias=False)`` first, "dense" multiplies it into
    the first hidden layer.

    Modules copy the network's numbers and draw no random ones. Layers of ``Linear`` need memory for
    an array of points by units; :class:`TiedMemorizingModule` does not.

    Parameters
    ----------
    network : MemorizingNetwork or DeepMemorizingNetwork
    form : {"tied", "dense"}
    device : torch.device, str or None
        Where the parameters are; None is torch's default.

    Returns
    -------
    torch.nn.Module
        Takes float64 points (m, d) and returns (m,), or (m, K) if the network has K outputs. It
        raises TypeError if points or parameters are of another dtype, and ValueError if the points
        are not (m, d).

    Raises
    ------
    TypeError
        If ``network`` is of another class.
    ValueError
        If ``form`` is another.

    Examples
    --------
    >>> from theory.memorization import memorize
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(100, 20)), rng.choice([-1.0, 1.0], size=100)
    >>> module = to_module(memorize(X, y, rng=0))
    >>> sum(parameter.numel() for parameter in module.parameters())  # 2 * 100 + 20
    220
    >>> bool((module(torch.tensor(X)) - torch.tensor(y)).abs().max() < 1e-10)
    True
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}; it must be one of {', '.join(FORMS)}")
    if isinstance(network, MemorizingNetwork):
        if form == "tied":
            parts = (network.projection, network.biases, network.weights)
            return TiedMemorizingModule(*(_copy(part, device) for part in parts))
        hidden = [(np.ones((len(network.biases), 1)), -network.biases)]
        readout = network.weights.T
    elif isinstance(network, DeepMemorizingNetwork):
        hidden = [(matrix.toarray(), bias) for matrix, bias in network.layers]
        readout = network.readout
    else:
        raise TypeError(
            "network must be a MemorizingNetwork or a DeepMemorizingNetwork, "
            f"got {type(network).__name__}"
        )
    return _Stack(*_layers(network.projection, hidden, readout, form, device))


class TiedMemorizingModule(nn.Module):
    r"""One hidden layer of ReLUs that share their input weights: 2n + d parameters.

    .. math:: c(x) = \sum_j w_j \max(\langle a, x \rangle - b_j, 0)

    Points and hidden units are taken 2048 at a time, so that beside the parameters, the points and
    their projections it holds some 32 MiB arrays, whatever their numbers. If there are more of
    either, the backward pass computes each block again instead of keeping it; the transforms of
    ``torch.func`` cannot do that and are limited to one block.

    Parameters
    ----------
    projection : Tensor (d,)
        a.
    biases : Tensor (n,)
        b.
    weights : Tensor (n,) or (n, K)
        w.
    """

    def __init__(self, projection: Tensor, biases: Tensor, weights: Tensor) -> None:
        super().__init__()
        self.projection = nn.Parameter(projection)
        self.biases = nn.Parameter(biases)
        self.weights = nn.Parameter(weights)

    def forward(self, points: Tensor) -> Tensor:
        """Return the values (m,) or (m, K) at float64 points (m, d)."""
        _check(points, self.biases, len(self.projection))
        rows = (points @ self.projection).split(_BLOCK)
        units = list(zip(self.biases.split(_BLOCK), self.weights.split(_BLOCK), strict=True))
        hinges = _hinges if len(rows) * len(units) == 1 else _recomputed_hinges
        return torch.cat([sum(hinges(row, *unit) for unit in units) for row in rows])


def _hinges(projected: Tensor, biases: Tensor, weights: Tensor) -> Tensor:
    return torch.relu(projected[:, None] - biases) @ weights


def _recomputed_hinges(*block: Tensor) -> Tensor:
    return checkpoint(_hinges, *block, use_reentrant=False, preserve_rng_state=False)


class _Stack(nn.Sequential):
    """Layers, the first a Linear, that take float64 points alone."""

    def forward(self, points: Tensor) -> Tensor:
        _check(points, self[0].weight, self[0].in_features)
        return super().forward(points)


def _check(points: Tensor, parameter: Tensor, features: int) -> None:
    if {points.dtype, parameter.dtype} != {torch.float64}:
        raise TypeError(
            "memorizing networks need float64 throughout: the points are "
            f"{points.dtype}, the parameters {parameter.dtype}"
        )
    if points.ndim != 2 or points.shape[1] != features:
        raise ValueError(f"points must have shape (m, {features}), got {tuple(points.shape)}")


def _layers(
    projection: Array,
    hidden: list[tuple[Array, Array]],
    readout: Array,
    form: str,
    device: torch.device | str | None,
) -> Iterator[nn.Module]:
    """Yield the layers of a network that is linear, ReLU, ..., linear on its projection."""
    if form == "tied":
        yield _linear(projection[None], None, device)
    else:
        matrix, bias = hidden[0]
        hidden = [(matrix * projection, bias), *hidden[1:]]
    for matrix, bias in hidden:
        yield _linear(matrix, bias, device)
        yield nn.ReLU()
    yield _linear(np.atleast_2d(readout), None, device)
    if readout.ndim == 1:
        yield nn.Flatten(0)


def _linear(matrix: Array, bias: Array | None, device: torch.device | str | None) -> nn.Linear:
    """Return a float64 layer of these weights, without drawing random ones first."""
    units, inputs = matrix.shape
    layer = nn.Linear(inputs, units, bias=bias is not None, dtype=torch.float64, device="meta")
    layer.weight = nn.Parameter(_copy(matrix, device))
    if bias is not None:
        layer.bias = nn.Parameter(_copy(bias, device))
    return layer


def _copy(array: Array, device: torch.device | str | None) -> Tensor:
    """Return a contiguous tensor, which is all that safetensors takes."""
    return torch.tensor(np.ascontiguousarray(array), device=device)
