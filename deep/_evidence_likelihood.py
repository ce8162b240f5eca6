"""The likelihood of data under a network: its value, its gradient and the rows of its curvature."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd
from tqdm import tqdm

from deep.loader import DeviceDataset
from theory._validation import positive_integer, positive_number
from theory.evidence import null_log_evidence

Data = DeviceDataset | tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]

LOSSES = ("cross_entropy", "squared_error")

_JACOBIAN_NUMBERS = 2**24  # held at a time: 128 MiB


class Logits(nn.Module):
    """A network with outputs (B, K); of one column that is a logit, the other class's is 0."""

    def __init__(self, network: nn.Module, *, one_logit: bool = False) -> None:
        super().__init__()
        self.network = network
        self.one_logit = one_logit

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs (B, K)."""
        outputs: Tensor = self.network(inputs)
        if outputs.ndim == 1:
            outputs = outputs[:, None]
        if self.one_logit:
            outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
        return outputs


@dataclass(frozen=True, eq=False)
class Batches:
    """The examples in batches, in the network's type, as often as they are asked for."""

    data: DeviceDataset | tuple[Tensor, Tensor] | list[tuple[Tensor, Tensor]]
    batch_size: int
    device: torch.device
    dtype: torch.dtype

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs (B, …) and targets."""
        for inputs, targets in self._stored():
            yield self._placed(inputs), self._placed(targets)

    def _stored(self) -> Iterator[tuple[Tensor, Tensor]]:
        if isinstance(self.data, list):
            yield from self.data
        elif isinstance(self.data, DeviceDataset):
            for start in range(0, len(self.data), self.batch_size):
                yield self.data.batch(slice(start, start + self.batch_size))
        else:
            yield from zip(*(torch.split(part, self.batch_size) for part in self.data), strict=True)

    def _placed(self, values: Tensor) -> Tensor:
        return values.to(self.device, self.dtype if values.is_floating_point() else None)


class Likelihood:
    """A network in evaluation mode, copied in the precision of the computation, and its data.

    Attributes
    ----------
    network : Logits
        The copy.
    parameters : dict of str to nn.Parameter
        Its trainable parameters, under their names in the user's model.
    batches : Batches
    train_size, n_outputs : int
        N and K.
    criterion : nn.CrossEntropyLoss or nn.MSELoss
        Summed. The log likelihood is ``constant - factor * criterion``.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Data,
        *,
        loss: str,
        noise_precision: float,
        batch_size: int,
        dtype: torch.dtype,
    ) -> None:
        if loss not in LOSSES:
            raise ValueError(f"loss must be one of {', '.join(LOSSES)}; got {loss!r}")
        self.loss = loss
        self.factor = 1.0
        if loss == "squared_error":
            self.factor = 0.5 * positive_number("noise_precision", noise_precision)
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        positive_integer("batch_size", batch_size)
        trainable = _checked_parameters(model)
        device = next(iter(trainable.values())).device
        own = copy.deepcopy(model).to(dtype=dtype).eval()
        named = dict(own.named_parameters())
        self.parameters = {name: named[name] for name in trainable}
        self.batches = Batches(_checked_data(data), batch_size, device, dtype)
        self.network = Logits(own)
        self._fit_outputs(data.n_classes if isinstance(data, DeviceDataset) else None)

    @property
    def n_parameters(self) -> int:
        """P."""
        return sum(part.numel() for part in self.parameters.values())

    @property
    def criterion(self) -> nn.CrossEntropyLoss | nn.MSELoss:
        """The summed loss."""
        if self.loss == "cross_entropy":
            return nn.CrossEntropyLoss(reduction="sum")
        return nn.MSELoss(reduction="sum")

    @property
    def constant(self) -> float:
        """Log of the likelihood's normalization."""
        if self.loss == "cross_entropy":
            return 0.0
        return 0.5 * self.train_size * self.n_outputs * math.log(self.factor / math.pi)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield inputs and targets as :attr:`criterion` takes them."""
        for inputs, targets in self.batches:
            yield inputs, self._fitted(targets)

    def weights(self) -> Tensor:
        """Return the parameters (P,)."""
        return flat(list(self.parameters.values())).detach()

    def value_and_gradient(self) -> tuple[float, Tensor]:
        """Return the log likelihood and the gradient (P,) of its negative, both finite."""
        parts = list(self.parameters.values())
        loss, slope = 0.0, torch.zeros_like(self.weights())
        with torch.enable_grad():
            for inputs, targets in self:
                term = self.factor * self.criterion(self.network(inputs), targets)
                slopes = torch.autograd.grad(term, parts, materialize_grads=True)
                loss += float(term.detach())
                slope += flat(slopes)
        if not math.isfinite(loss):
            raise ValueError(f"the loss at the model's weights is not finite: {loss:g}")
        if not slope.isfinite().all():
            raise ValueError("the gradient at the model's weights is not finite")
        return self.constant - loss, slope

    def null(self) -> float:
        """Return the log evidence of the model without parameters, all of whose outputs are 0."""
        if self.loss == "cross_entropy":
            return float(null_log_evidence(self.train_size, self.n_outputs))
        squares = sum(float(targets.square().sum()) for _, targets in self)
        return self.constant - self.factor * squares

    def curvature_rows(self, *, progress: bool | None) -> Iterator[Tensor]:
        """Yield rows (R, P), K for each example, whose Gram matrix RᵀR is the Gauss-Newton matrix.

        Of an example with the Jacobian J of its outputs, and S Sᵀ the Hessian of its loss with
        respect to them, they are Sᵀ J.
        """
        parameters = {f"network.{name}": part for name, part in self.parameters.items()}

        def outputs(parts: dict[str, Tensor], example: Tensor) -> Tensor:
            logits: Tensor = functional_call(self.network, parts, (example[None],))[0]
            return logits

        jacobian = vmap(jacrev(outputs), in_dims=(None, 0))
        size = max(1, _JACOBIAN_NUMBERS // (self.n_outputs * self.n_parameters))
        with torch.no_grad(), progress_bar(self.train_size, "Jacobians", progress) as bar:
            for inputs, _ in self.batches:
                for part in torch.split(inputs, size):
                    slopes = jacobian(parameters, part).values()
                    J = torch.cat([slope.flatten(2) for slope in slopes], dim=2)
                    S = self._root(self.network(part))
                    yield (S.mT @ J).flatten(0, 1)
                    bar.update(len(part))

    def _root(self, outputs: Tensor) -> Tensor:
        """Return S (B, K, K) of each example."""
        eye = torch.eye(self.n_outputs, dtype=outputs.dtype, device=outputs.device)
        if self.loss == "squared_error":
            return (math.sqrt(2.0 * self.factor) * eye).expand(len(outputs), -1, -1)
        P = outputs.softmax(1)
        return (eye - P[:, :, None]) * P.sqrt()[:, None, :]

    # --- how outputs and targets fit together -----------------------------------------------------

    def _fit_outputs(self, n_classes: int | None) -> None:
        """Find N and K, and check every target."""
        inputs, _ = next(iter(self.batches))
        shape = self._shape_of_outputs(inputs[:1])
        width = 1 if len(shape) == 1 else shape[1]
        if self.loss == "cross_entropy" and width == 1:
            self.network.one_logit, width = True, 2
        if n_classes is not None and n_classes != width:
            raise ValueError(
                f"the model must give one output for each of the {n_classes} classes, "
                f"got outputs {shape} for one example"
            )
        self.n_outputs, self.train_size = width, 0
        for _, targets in self.batches:
            self._check_targets(targets)
            self.train_size += len(targets)

    def _shape_of_outputs(self, example: Tensor) -> tuple[int, ...]:
        try:
            with torch.no_grad():
                shape = tuple(self.network.network(example).shape)
        except RuntimeError as error:
            raise ValueError(
                f"the model does not take an example {tuple(example.shape)}: {error}"
            ) from error
        if len(shape) not in (1, 2) or shape[0] != 1 or 0 in shape:
            raise ValueError(f"outputs for one example must be (1, K) or (1,), got {shape}")
        return shape

    def _check_targets(self, targets: Tensor) -> None:
        shape, K = tuple(targets.shape), self.n_outputs
        if not targets.is_floating_point():
            low, high = (int(end) for end in targets.aminmax())
            if low < 0 or high >= K:
                raise ValueError(
                    f"labels must be 0 to {K - 1} for {K} outputs, got {low} to {high}"
                )
            if len(shape) != 1:
                raise ValueError(f"labels must be (n,), got {shape}")
        elif self.loss == "cross_entropy":
            raise TypeError(f"labels of cross_entropy must be integers, got {targets.dtype}")
        elif shape[1:] != (K,) and (len(shape), K) != (1, 1):
            raise ValueError(f"targets must be (n, {K}) as the outputs are, got {shape}")

    def _fitted(self, targets: Tensor) -> Tensor:
        if self.loss == "cross_entropy":
            return targets.long()
        if not targets.is_floating_point():
            one_hot = nn.functional.one_hot(targets.long(), self.n_outputs)
            return one_hot.to(self.batches.dtype)
        return targets.reshape(len(targets), self.n_outputs)


def flat(parts: Iterable[Tensor]) -> Tensor:
    """Return tensors as one vector."""
    return torch.cat([part.reshape(-1) for part in parts])


def progress_bar(total: int, name: str, progress: bool | None) -> tqdm[Any]:
    """Return a bar that None shows on a terminal alone."""
    return tqdm(total=total, desc=name, disable=None if progress is None else not progress)


def _checked_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    for name, module in model.named_modules():
        if module.training and isinstance(module, (_BatchNorm, _DropoutNd)):
            raise ValueError(
                f"model must be in evaluation mode: {name or 'it'} is a {type(module).__name__} in "
                "training mode, under which an example's output is no function of the weights and "
                "that example alone; call model.eval()"
            )
    trainable = {name: part for name, part in model.named_parameters() if part.requires_grad}
    if not trainable:
        raise ValueError("model has no parameter that requires a gradient")
    for name, part in trainable.items():
        if not part.isfinite().all():
            raise ValueError(f"model has weights that are not finite, in {name}")
    return trainable


def _checked_data(
    data: Data,
) -> DeviceDataset | tuple[Tensor, Tensor] | list[tuple[Tensor, Tensor]]:
    if isinstance(data, DeviceDataset):
        return data
    if isinstance(data, tuple) and data and isinstance(data[0], Tensor):
        return _checked_batch(data)
    if isinstance(data, Tensor) or not isinstance(data, Iterable):
        raise TypeError(
            "data must be a DeviceDataset, (inputs, targets), or an iterable of such batches, "
            f"got {type(data).__name__}"
        )
    batches = [_checked_batch(batch) for batch in data]
    if not batches:
        raise ValueError("data is empty")
    return batches


def _checked_batch(batch: Any) -> tuple[Tensor, Tensor]:
    pair = isinstance(batch, (tuple, list)) and len(batch) == 2
    if not pair or not all(isinstance(part, Tensor) for part in batch):
        raise TypeError("data must have batches of two tensors, inputs and targets")
    inputs, targets = batch
    if not (inputs.ndim and targets.ndim and len(inputs) == len(targets) > 0):
        raise ValueError(
            "data must have as many targets as inputs, at least 1; "
            f"got inputs {tuple(inputs.shape)} and targets {tuple(targets.shape)}"
        )
    return inputs, targets
