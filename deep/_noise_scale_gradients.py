"""Gradients of a user's network, one for each example or one for each small batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.modules.batchnorm import _BatchNorm
from tqdm import tqdm

from deep.loader import DeviceDataset
from theory._validation import positive_integer

Loss = Callable[[Tensor, Tensor], Tensor]
Data = DeviceDataset | tuple[Tensor, Tensor] | Iterable[tuple[Tensor, Tensor]]

METHODS = ("auto", "per_example", "two_batches")

_PROBED = 16  # examples on which the loss is tried


class Gradients(NamedTuple):
    """Losses (k,) of k examples or batches, and their gradients (k, …) by parameter."""

    losses: Tensor
    by_name: dict[str, Tensor]


class Source(Protocol):
    """Examples of which batches are made."""

    def __len__(self) -> int:
        """Return the number of examples."""

    def batch(self, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of some examples."""


@dataclass(frozen=True, slots=True, eq=False)
class TensorSource:
    """Examples that are tensors already."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.inputs)

    def batch(self, examples: Tensor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets of some examples."""
        return self.inputs[examples], self.targets[examples]


class Examples:
    """The examples that a user handed over, as one source or as the batches of a loader.

    Parameters
    ----------
    data : Data
    device : torch.device
        Of the model: the data must be there.
    """

    def __init__(self, data: Data, device: torch.device) -> None:
        self.sources, self.batched = _sources(data)
        for source in self.sources:
            inputs, targets = source.batch(torch.zeros(1, dtype=torch.int64))
            for name, part in (("inputs", inputs), ("targets", targets)):
                if part.device != device:
                    raise ValueError(
                        f"model and data must be on one device: the model is on {device}, "
                        f"the {name} on {part.device}"
                    )

    def __len__(self) -> int:
        """Return the number of examples."""
        return sum(len(source) for source in self.sources)

    def rows(self, size: int, seed: int | None = None) -> list[tuple[Source, Tensor]]:
        """Return pieces of at most ``size`` examples; shuffled within sources, if by a seed."""
        pieces = []
        for number, source in enumerate(self.sources):
            order = torch.arange(len(source))
            if seed is not None:
                order = order[np.random.default_rng([seed, number]).permutation(len(source))]
            pieces += [(source, rows) for rows in torch.split(order, size)]
        return pieces

    def batches(
        self, batch_size: int | None, *, count: int, least: int, seed: int
    ) -> list[tuple[Source, Tensor]]:
        """Return batches of one size: ``count`` of them, if neither user nor loader says which.

        Smaller rests are left out. There must be ``least`` batches.
        """
        size = len(self.sources[0]) if self.batched else max(2, len(self) // count)
        if batch_size is not None:
            size = positive_integer("batch_size", batch_size)
        whole = [piece for piece in self.rows(size, seed) if len(piece[1]) == size]
        if len(whole) < least:
            raise ValueError(
                f"data must have at least {least} batches of {size} examples, got {len(whole)}: "
                "hand over more of them, or give a smaller batch_size"
            )
        return whole


def _sources(data: Data) -> tuple[Sequence[Source], bool]:
    """Return the sources and whether they are a loader's batches."""
    if isinstance(data, DeviceDataset):
        return [data], False
    if isinstance(data, tuple | list) and len(data) == 2 and isinstance(data[0], Tensor):
        return [_tensors("data", data)], False
    if isinstance(data, Tensor) or not isinstance(data, Iterable):
        raise TypeError(
            "data must be a DeviceDataset, a pair of tensors (inputs, targets) or an iterable of "
            f"such pairs, got {type(data).__name__}"
        )
    sources = [_tensors(f"batch {number} of data", pair) for number, pair in enumerate(data)]
    if not sources:
        raise ValueError("data has no batches")
    return sources, True


def _tensors(name: str, pair: Any) -> TensorSource:
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise TypeError(f"{name} must be a pair (inputs, targets), got {type(pair).__name__}")
    if not all(isinstance(part, Tensor) for part in pair):
        kinds = ", ".join(type(part).__name__ for part in pair)
        raise TypeError(f"{name} must be a pair of tensors (inputs, targets), got ({kinds})")
    inputs, targets = pair
    if not inputs.ndim or not targets.ndim or len(inputs) != len(targets) or not len(inputs):
        raise ValueError(
            f"{name} must have one target for each input, and at least one; got inputs "
            f"{tuple(inputs.shape)} and targets {tuple(targets.shape)}"
        )
    return TensorSource(inputs.detach(), targets.detach())


class Objective:
    """Mean loss of a network as a function of its trainable parameters; the network stays as it is.

    Parameters
    ----------
    model : torch.nn.Module
        In the mode in which it is to be measured.
    loss : callable
        Takes outputs and targets of a batch, returns the mean over its examples.
    """

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
        if not callable(loss):
            raise TypeError(f"loss must be callable, got {type(loss).__name__}")
        self.model, self.loss = model, loss
        trained = {name: part for name, part in model.named_parameters() if part.requires_grad}
        if not trained:
            raise ValueError("model must have parameters that require gradients, it has none")
        self.parameters = {name: part.detach() for name, part in trained.items()}
        self._constants = {name: part.detach() for name, part in model.named_parameters()}
        # Batch normalization in training mode updates its buffers: these copies, not the model's.
        self._constants |= {name: part.clone() for name, part in model.named_buffers()}
        self.device = next(iter(self.parameters.values())).device

    @property
    def size(self) -> int:
        """Number of trainable parameters."""
        return sum(part.numel() for part in self.parameters.values())

    def only(self, names: Sequence[str] | None) -> None:
        """Let the named parameters be the only ones with gradients."""
        if names is None:
            return
        unknown = [name for name in names if name not in self.parameters]
        if unknown or not len(names):
            raise ValueError(
                f"parameters must name some of {', '.join(self.parameters)}; got "
                f"{', '.join(unknown) or 'none'}"
            )
        self.parameters = {name: self.parameters[name] for name in names}

    def _outputs(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        values: Tensor = functional_call(self.model, {**self._constants, **parameters}, (inputs,))
        return values

    def _value(self, parameters: Mapping[str, Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss(self._outputs(parameters, inputs), targets)

    def graph(self, inputs: Tensor, targets: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the mean loss of a batch as a function of new leaves, and these."""
        leaves = self._leaves()
        with torch.enable_grad():
            return self._value(leaves, inputs, targets), leaves

    def _leaves(self) -> dict[str, Tensor]:
        return {name: part.detach().requires_grad_() for name, part in self.parameters.items()}

    def of_batch(self, inputs: Tensor, targets: Tensor) -> Gradients:
        """Return loss and gradient of a batch, as one row."""
        value, leaves = self.graph(inputs, targets)
        parts = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
        rows = {name: part[None] for name, part in zip(leaves, parts, strict=True)}
        return Gradients(value.detach()[None], rows)

    def of_examples(self, inputs: Tensor, targets: Tensor) -> Gradients:
        """Return loss and gradient of each example."""

        def example(parameters: dict[str, Tensor], one: Tensor, target: Tensor) -> Tensor:
            return self._value(parameters, one[None], target[None])

        rows = vmap(grad_and_value(example), in_dims=(None, 0, 0), randomness="different")
        by_name, losses = rows(self.parameters, inputs, targets)
        return Gradients(losses, by_name)

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Leave what random layers draw inside as if it had not been drawn."""
        with torch.random.fork_rng([self.device] if self.device.type == "cuda" else []):
            yield

    def check_loss(self, examples: Examples) -> None:
        """Raise ValueError or TypeError unless the loss is a mean over the examples of a batch."""
        inputs, targets = _spread(examples.sources[0])
        try:
            with self.rehearsal(), torch.enable_grad():
                outputs = self._outputs(self._leaves(), inputs)
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"model does not take these inputs: {error}") from error
        if not isinstance(outputs, Tensor) or not outputs.ndim or len(outputs) != len(inputs):
            found = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
            raise TypeError(
                f"model must return a tensor with one row for each of {len(inputs)} examples, "
                f"got {found}"
            )
        with torch.enable_grad():
            value = self.loss(outputs, targets)
        if not isinstance(value, Tensor) or value.ndim:
            found = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"loss must return the mean over a batch, a tensor without dimensions, got {found}"
            )
        if not value.requires_grad:
            raise ValueError("loss must depend on the parameters that require gradients")
        _check_mean(self.loss, outputs.detach(), targets)

    def obstacle(self, examples: Examples) -> str | None:
        """Return why there are no gradients of single examples, or None if there are."""
        for name, layer in self.model.named_modules():
            if isinstance(layer, _BatchNorm) and (layer.training or layer.running_mean is None):
                return (
                    f"batch normalization ({name or 'the model'}) takes the statistics of its "
                    "batch, so that an example's gradient depends on the others; call model.eval() "
                    "to use the running statistics"
                )
        inputs, targets = (part[:2] for part in _spread(examples.sources[0]))
        try:
            with self.rehearsal():
                self.of_examples(inputs, targets)
        except RuntimeError as error:
            reason = str(error).strip().partition("\n")[0]
            return f"torch.func.vmap cannot run the model: {reason}"
        return None


def _spread(source: Source) -> tuple[Tensor, Tensor]:
    """Return a few examples from all over the source."""
    count = min(_PROBED, len(source))
    return source.batch(torch.arange(count) * len(source) // count)


def _check_mean(loss: Loss, outputs: Tensor, targets: Tensor) -> None:
    """Raise ValueError unless the loss is the mean of that of single examples.

    Repeating a batch does not change a mean. A mean whose weights are the examples' own passes
    that, and fails against the mean of the parts.
    """
    with torch.no_grad():
        whole = float(loss(outputs, targets))
        twice = float(loss(torch.cat([outputs, outputs]), torch.cat([targets, targets])))
        single = [
            float(loss(outputs[row : row + 1], targets[row : row + 1]))
            for row in range(len(outputs))
        ]
    for value in (whole, *single):
        if not math.isfinite(value):
            raise ValueError(f"loss must be finite on every example, got {value:g}")
    tolerance = math.sqrt(torch.finfo(outputs.dtype).eps) * float(np.mean(np.abs(single)))
    if abs(twice - whole) > tolerance:
        raise ValueError(
            "loss must be the mean over a batch, but repeating a batch changes it from "
            f"{whole:g} to {twice:g}: is it a sum?"
        )
    if abs(np.mean(single) - whole) > tolerance:
        raise ValueError(
            f"loss must be the plain mean over a batch, but it is {whole:g} where the mean of the "
            f"examples' own losses is {np.mean(single):g}: has it weights, ignored targets or "
            "pairs of examples?"
        )


def rows_per_call(objective: Objective, max_bytes: int) -> int:
    """Return how many examples' gradients fit, with a float64 copy of them."""
    itemsize = next(iter(objective.parameters.values())).element_size()
    return max_bytes // (objective.size * (itemsize + 8))


def check_finite(sums: Mapping[str, Tensor]) -> None:
    """Raise ValueError naming the first parameter whose gradients are not all finite."""
    for name, total in sums.items():
        if not bool(torch.isfinite(total).all()):
            raise ValueError(f"the gradient of parameter {name} has NaN or infinite values")


def choice(name: str, value: str, allowed: Sequence[str]) -> str:
    """Return a value if it is allowed, or raise ValueError."""
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")
    return value


def shown(pieces: Sequence[Any], name: str, progress: bool | None) -> Iterable[Any]:
    """Return the pieces behind a bar, on a terminal or where it is asked for."""
    hidden = None if progress is None else not progress
    bar: Iterable[Any] = tqdm(pieces, desc=name, disable=hidden, leave=False)
    return bar


def per_example_gradients(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    parameters: Sequence[str] | None = None,
    max_bytes: int = 2**30,
    progress: bool | None = None,
) -> NDArray[Any]:
    r"""Return the gradient of each example's loss, one in a row.

    Parameters
    ----------
    model, loss, data
        As :func:`gradient_noise_scale` takes them.
    parameters : sequence of str, optional
        Names of parameters, as ``model.named_parameters()`` has them; all that are trained, if
        omitted.
    max_bytes : int
        That the result may take.
    progress : bool, optional
        Show a bar; None shows it on a terminal alone.

    Returns
    -------
    ndarray (n, P)
        In the type of the parameters, in their order.

    Raises
    ------
    TypeError, ValueError
        As :func:`gradient_noise_scale` with ``method="per_example"``; if a parameter is unknown, or
        if the result is larger than ``max_bytes``.

    Examples
    --------
    >>> model = nn.Linear(1, 1, bias=False).double()
    >>> _ = nn.init.ones_(model.weight)
    >>> inputs, targets = torch.tensor([[1.0], [2.0], [3.0]]).double(), torch.zeros(3, 1).double()
    >>> per_example_gradients(model, nn.MSELoss(), (inputs, targets)).tolist()  # 2 x² w
    [[2.0], [8.0], [18.0]]
    """
    positive_integer("max_bytes", max_bytes)
    objective = Objective(model, loss)
    objective.only(parameters)
    examples = Examples(data, objective.device)
    objective.check_loss(examples)
    needed = len(examples) * objective.size * next(iter(objective.parameters.values())).itemsize
    if needed > max_bytes:
        raise ValueError(
            f"the gradients of {len(examples)} examples need {needed} bytes, beyond max_bytes "
            f"{max_bytes}: name fewer parameters, or hand over fewer examples"
        )
    require_per_example(objective, examples)
    blocks = []
    for source, rows in shown(
        examples.rows(max(1, 2**26 // objective.size)), "gradients", progress
    ):
        gradients = objective.of_examples(*source.batch(rows)).by_name
        check_finite(gradients)
        blocks.append(torch.cat([part.flatten(1) for part in gradients.values()], dim=1).cpu())
    return np.asarray(torch.cat(blocks))


def require_per_example(objective: Objective, examples: Examples) -> None:
    """Raise ValueError, saying why, if there are no gradients of single examples."""
    obstacle = objective.obstacle(examples)
    if obstacle is not None:
        raise ValueError(f"there are no per-example gradients: {obstacle}")
