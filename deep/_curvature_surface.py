"""The mean loss of a user's network as a function of its weights, measured on a copy."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from deep._evidence_likelihood import Batches, Data, _checked_data, flat
from deep._noise_scale_gradients import Examples, Loss, Objective, choice
from theory._validation import positive_array, positive_integer

Array = NDArray[np.float64]
Variable = tuple[Any, Any, dict[str, str]]

BATCH_NORMS = ("running", "batch")
NOISES = ("uniform", "normal")

# Added to the norm of a drawn filter, as AdaSmoothOut's code does.
_FILTER_EPSILON = 1e-6


class Surface:
    """Mean loss over data as a function of some of a network's parameters, flattened.

    Parameters
    ----------
    model : torch.nn.Module
        Is copied, into evaluation mode.
    loss, data
        As :class:`deep._noise_scale_gradients.Objective` and ``Batches`` take them.
    parameters : sequence of str, optional
        Those that count as variables; all that are trained, if omitted.
    batch_norm : {"running", "batch"}
        The statistics that batch normalization takes.
    batch_size : int

    Attributes
    ----------
    network : torch.nn.Module
        The copy.
    weights : Tensor (P,)
        The parameters as they are.
    loss : float
        There.
    names : list of str
    n_examples : int
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        data: Data,
        *,
        parameters: Sequence[str] | None = None,
        batch_norm: str = "running",
        batch_size: int = 512,
    ) -> None:
        choice("batch_norm", batch_norm, BATCH_NORMS)
        positive_integer("batch_size", batch_size)
        objective = Objective(_copied(model, batch_norm), loss)
        objective.only(parameters)
        self.network, self._criterion = objective.model, loss
        self._parts, self.names = objective.parameters, list(objective.parameters)
        self.weights = flat(self._parts.values())
        self.batches = Batches(
            _checked_data(data), batch_size, self.weights.device, self.weights.dtype
        )
        objective.check_loss(Examples(next(iter(self.batches)), self.weights.device))
        self.n_examples = sum(len(targets) for _, targets in self.batches)
        self._batch_norm = _statistics(self.network)
        self.loss = self.value(self.weights, "at the model's weights")

    def __len__(self) -> int:
        """Return the number of parameters P."""
        return len(self.weights)

    def named(self, weights: Tensor) -> dict[str, Tensor]:
        """Return a vector (P,) as the parameters it stands for."""
        pieces = torch.split(weights, [part.numel() for part in self._parts.values()])
        pairs = zip(self._parts.items(), pieces, strict=True)
        return {name: piece.view(part.shape) for (name, part), piece in pairs}

    def parameter(self, name: str) -> Tensor:
        """Return one of the parameters."""
        return self._parts[name]

    # --- the loss ---------------------------------------------------------------------------------

    def value(self, weights: Tensor, where: str) -> float:
        """Return the loss at weights (P,), or raise ValueError if it is not finite there."""
        return self.value_of(self.named(weights), where)

    def value_of(self, state: Mapping[str, Tensor], where: str) -> float:
        """Return the loss with these parameters and buffers in place of the network's."""
        total = 0.0
        with torch.no_grad():
            for share, inputs, targets in self._shares():
                total += share * float(self._of_batch(state, inputs, targets))
        return finite(total, where)

    def value_and_gradient(self, weights: Tensor, where: str) -> tuple[float, Tensor]:
        """Return the loss at weights (P,) and its gradient (P,)."""
        leaf = weights.detach().requires_grad_()
        total, slope = 0.0, torch.zeros_like(weights)
        for share, inputs, targets in self._shares():
            with torch.enable_grad():
                value = self._of_batch(self.named(leaf), inputs, targets)
            slope += share * torch.autograd.grad(value, leaf)[0]
            total += share * float(value.detach())
        return finite(total, where), slope

    def outputs(self) -> Iterator[Tensor]:
        """Yield the outputs for every batch."""
        for inputs, _ in self.batches:
            with torch.no_grad():  # not around the yield, where it would be the caller's as well
                outputs: Tensor = self.network(inputs)
            yield outputs

    def state(self) -> dict[str, Tensor]:
        """Return all parameters and buffers of the copy."""
        parts = [*self.network.named_parameters(), *self.network.named_buffers()]
        return {name: part.detach() for name, part in parts}

    def _shares(self) -> Iterator[tuple[float, Tensor, Tensor]]:
        for inputs, targets in self.batches:
            yield len(targets) / self.n_examples, inputs, targets

    def _of_batch(self, state: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return self._criterion(functional_call(self.network, dict(state), (inputs,)), targets)

    # --- its Hessian ------------------------------------------------------------------------------

    def hessian_product(self, names: Sequence[str] | None = None) -> Callable[[Tensor], Tensor]:
        """Return what multiplies columns (P, n) by the Hessian, of all or of named parameters."""
        with _silent_about_torch_script():
            import curvlinops  # type: ignore[import-untyped]  # takes a second

        operator = curvlinops.HessianLinearOperator(
            self.network,
            _Mean(self._criterion),
            [self.network.get_parameter(name) for name in (names or self.names)],
            self.batches,
            check_deterministic=False,
            num_data=self.n_examples,
        )

        def product(columns: Tensor) -> Tensor:
            with _silent_about_torch_script():
                result: Tensor = operator @ columns
            if not bool(result.isfinite().all()):
                raise ValueError("the Hessian at the model's weights has NaN or infinite values")
            return result

        return product

    # --- directions -------------------------------------------------------------------------------

    def tensor(self, values: ArrayLike) -> Tensor:
        """Return numbers in the type and on the device of the weights."""
        return torch.as_tensor(
            np.asarray(values), dtype=self.weights.dtype, device=self.weights.device
        )

    def sums_by_parameter(self, columns: Tensor) -> Array:
        """Return the sum (parameters, n) of every parameter's entries in columns (P, n)."""
        pieces = torch.split(columns, [part.numel() for part in self._parts.values()])
        return np.array([numbers(piece).sum(axis=0) for piece in pieces])

    def drawn(self, noise: str, scaling: str | None, rng: np.random.Generator) -> Tensor:
        """Return a random direction (P,): noise of strength 1."""
        P = len(self)
        draw = self.tensor(
            rng.uniform(-1.0, 1.0, P) if noise == "uniform" else rng.standard_normal(P)
        )
        if scaling is None:
            return draw
        if scaling == "weight":
            return self.weights.abs() * draw
        pairs = zip(self._parts.values(), self.named(draw).values(), strict=True)
        return flat(_as_long_as_filters(weights, each) for weights, each in pairs)

    # --- results ----------------------------------------------------------------------------------

    def dataset(
        self, variables: Mapping[str, Variable], coords: Mapping[str, Variable]
    ) -> xr.Dataset:
        """Return results beside the loss at the weights and what was measured how."""
        everything = {**variables, "loss": ((), self.loss, named("mean loss at the weights"))}
        attributes = {
            "n_parameters": len(self),
            "n_examples": self.n_examples,
            "batch_norm": self._batch_norm,
        }
        return xr.Dataset(everything, dict(coords), attributes)


class _Mean(nn.Module):
    """A user's loss as curvlinops takes it."""

    reduction = "mean"

    def __init__(self, loss: Loss) -> None:
        super().__init__()
        self._loss: Callable[[Tensor, Tensor], Tensor] = loss

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss."""
        return self._loss(outputs, targets)


@contextmanager
def _silent_about_torch_script() -> Iterator[None]:
    """Hide a warning that curvlinops and torch.func raise when they are first used."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", DeprecationWarning)
        yield


def named(long_name: str, units: str = "1") -> dict[str, str]:
    """Return a variable's attributes."""
    return {"long_name": long_name, "units": units}


def finite(loss: float, where: str) -> float:
    """Return a loss, or raise ValueError if it is not finite."""
    if not math.isfinite(loss):
        raise ValueError(f"the loss {where} is not finite: {loss:g}")
    return loss


def numbers(values: Tensor) -> Any:
    """Return a tensor's numbers in float64."""
    return values.detach().cpu().double().numpy()


def positive_values(name: str, values: ArrayLike) -> Array:
    """Return positive numbers, one or a row of them, as (n,)."""
    return np.atleast_1d(positive_array(name, values, ndim=min(np.ndim(values), 1)))


def _copied(model: nn.Module, batch_norm: str) -> nn.Module:
    if not isinstance(model, nn.Module):
        return model  # for Objective to refuse
    own = copy.deepcopy(model).eval()
    for layer in own.modules():
        if isinstance(layer, _BatchNorm) and batch_norm == "batch":
            # Without running statistics, a layer takes those of the batch in evaluation mode too.
            layer.running_mean = layer.running_var = layer.num_batches_tracked = None
    return own


def _statistics(network: nn.Module) -> str:
    """Return what batch normalization takes in a network."""
    layers = [layer for layer in network.modules() if isinstance(layer, _BatchNorm)]
    kinds = {"batch" if layer.running_mean is None else "running" for layer in layers}
    return f"{' and '.join(sorted(kinds))} statistics" if kinds else "none in the network"


def _as_long_as_filters(weights: Tensor, draw: Tensor) -> Tensor:
    """Return a draw, each slice along the first axis as long as that of the weights."""

    def norms(part: Tensor) -> Tensor:
        rows = part.reshape(*part.shape[:1], -1)
        return torch.linalg.vector_norm(rows, dim=-1, keepdim=True)

    scale = norms(weights) / (norms(draw) + _FILTER_EPSILON)
    return (draw.reshape(*draw.shape[:1], -1) * scale).reshape(draw.shape)
