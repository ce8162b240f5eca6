r"""Networks of one architecture side by side: parameters and velocities (members, P), logits.

Two engines with one interface. A perceptron of ``Linear`` and ``ReLU`` has batched products written
out; any other module goes through ``torch.func``, at some 2 ms of a CPU's time for each step beside
the arithmetic.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

MakeModel = Callable[[torch.Generator], nn.Module]

_LARGE = 2**13  # weights of a layer


def initialized(make_model: MakeModel, seed: int) -> nn.Module:
    """Return the model that ``make_model`` draws from this seed."""
    return make_model(torch.Generator().manual_seed(seed))


def stacked(
    make_model: MakeModel, seeds: Sequence[int], *, device: torch.device, dtype: torch.dtype
) -> Networks:
    """Return the networks that ``make_model`` draws from the seeds."""
    template = initialized(make_model, seeds[0]).to(device, dtype)
    kind = Perceptrons if is_perceptron(template) else Networks
    networks = kind(template, len(seeds))
    networks.set(0, template)
    for member in range(1, len(seeds)):
        networks.set(member, initialized(make_model, seeds[member]))
    return networks


def is_perceptron(model: nn.Module) -> bool:
    """Tell whether a module is Linear layers with a ReLU between any two, and nothing else."""
    if type(model) is not nn.Sequential:
        return False
    layers = list(model)
    if layers and _flattens(layers[0]):
        del layers[0]
    kinds = [nn.ReLU if place % 2 else nn.Linear for place in range(len(layers))]
    hooked = any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())
    distinct = len({id(layer) for layer in layers[::2]}) == len(layers[::2])
    return (
        len(layers) % 2 == 1
        and all(type(layer) is kind for layer, kind in zip(layers, kinds, strict=True))
        and not hooked
        and distinct
    )


def _flattens(layer: nn.Module) -> bool:
    return type(layer) is nn.Flatten and (layer.start_dim, layer.end_dim) == (1, -1)


class Networks:
    """Networks of any architecture, with weights 0 at first: vmap inside, autograd outside.

    Attributes
    ----------
    weights : Tensor (members, P)
        All the parameters of a member in a row.
    velocity : Tensor (members, P)
        0 at first; what gradients are added to.
    parameters : dict of Tensor (members, ...)
        Views of them by name.
    buffers : dict of Tensor (members, ...)
        By name; batch normalization's running statistics.
    """

    def __init__(self, template: nn.Module, members: int) -> None:
        self._template = template
        parameters = list(template.parameters())
        size = sum(parameter.numel() for parameter in parameters)
        self.weights = parameters[0].new_zeros(members, size)
        self.velocity = torch.zeros_like(self.weights)
        self.parameters = self._views(self.weights)
        self.buffers = {
            name: buffer.repeat(members, *[1] * buffer.ndim)
            for name, buffer in template.named_buffers()
        }

    def _views(self, rows: Tensor) -> dict[str, Tensor]:
        named = dict(self._template.named_parameters())
        sizes = [parameter.numel() for parameter in named.values()]
        parts = torch.split(rows, sizes, dim=1)
        return {
            name: part.view(-1, *parameter.shape)
            for (name, parameter), part in zip(named.items(), parts, strict=True)
        }

    def set(self, member: int, model: nn.Module) -> None:
        """Give a member the parameters and buffers of a module."""
        state = dict(model.named_parameters()) | dict(model.named_buffers())
        for name, values in (self.parameters | self.buffers).items():
            values[member].copy_(state[name].detach())

    def add_gradients(self, inputs: Tensor, labels: Tensor) -> None:
        """Add the gradients of the mean cross-entropy to the velocity; update the buffers.

        Inputs are (members, B, ...), labels (members, B).
        """
        self._template.train()
        leaves = {name: view.detach().requires_grad_() for name, view in self.parameters.items()}
        with torch.enable_grad():
            losses = vmap(self._loss)(leaves, self.buffers, inputs, labels)
            parts = torch.autograd.grad(losses.sum(), list(leaves.values()))
        self.velocity.add_(torch.cat([part.flatten(1) for part in parts], dim=1))

    def _loss(
        self,
        parameters: dict[str, Tensor],
        buffers: dict[str, Tensor],
        inputs: Tensor,
        labels: Tensor,
    ) -> Tensor:
        logits = functional_call(self._template, (parameters, buffers), (inputs,))
        return cross_entropy(logits, labels)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the logits (members, K, n) of inputs (n, ...) that all members share."""
        self._template.eval()

        def run(parameters: dict[str, Tensor], buffers: dict[str, Tensor]) -> Tensor:
            values = functional_call(self._template, (parameters, buffers), (inputs,))
            return torch.as_tensor(values).mT

        values: Tensor = vmap(run)(self.parameters, self.buffers)
        return values


class Perceptrons(Networks):
    """Perceptrons: a batched product for each layer, forth and back."""

    def __init__(self, template: nn.Module, members: int) -> None:
        super().__init__(template, members)
        self._layers = self._pairs(self.parameters)
        self._velocities = self._pairs(self._views(self.velocity))

    def _pairs(self, views: dict[str, Tensor]) -> list[tuple[Tensor, Tensor | None]]:
        """Return weights (members, units, inputs) and bias (members, units) of each layer."""
        return [
            (views[f"{name}.weight"], views.get(f"{name}.bias"))
            for name, layer in self._template.named_children()
            if isinstance(layer, nn.Linear)
        ]

    def add_gradients(self, inputs: Tensor, labels: Tensor) -> None:
        """Add the gradients of the mean cross-entropy to the velocity."""
        activations = self._activations(inputs.flatten(2).mT)
        errors = activations.pop().softmax(1)
        target = labels[:, None]
        errors.scatter_add_(1, target, errors.new_full((), -1.0).expand_as(target))
        errors /= labels.shape[1]
        for place in reversed(range(len(self._layers))):
            weight, bias = self._velocities[place]
            _add_product(weight, errors, activations[place].mT)
            if bias is not None:
                bias.add_(errors.sum(2))
            if place:
                passed = activations[place].sign_()  # five times as fast as > 0
                errors = (self._layers[place][0].mT @ errors).mul_(passed)

    def logits(self, inputs: Tensor) -> Tensor:
        """Return the logits (members, K, n) of inputs (n, ...) that all members share."""
        return self._activations(inputs.flatten(1).T.expand(len(self.weights), -1, -1))[-1]

    def _activations(self, inputs: Tensor) -> list[Tensor]:
        """Return inputs, hidden layers and logits, each (members, units, n).

        Examples are last: the products have longer rows and the classes' sums vectorize.
        """
        activations = [inputs]
        for place, (weight, bias) in enumerate(self._layers):
            if place:
                activations[-1].relu_()
            if bias is None:
                activations.append(weight @ activations[-1])
            else:
                activations.append(torch.baddbmm(bias[..., None], weight, activations[-1]))
        return activations


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    """Add left @ right to the total (members, units, inputs)."""
    if total[0].numel() < _LARGE:
        total.add_(left @ right)
    else:  # a CPU takes the members one by one here, but memory is passed over once, not thrice
        total.baddbmm_(left, right)


# --- what a model must be -------------------------------------------------------------------------


def check_model(make_model: MakeModel, seed: int, inputs: Tensor, classes: int) -> nn.Module:
    """Return the model of a seed, or raise ValueError.

    ``inputs`` are tried as one batch; the logits must be for at least ``classes``.
    """
    model, again = (initialized(make_model, seed).to(inputs) for _ in range(2))
    named, state = dict(model.named_parameters()), again.state_dict()
    if not named or not all(parameter.requires_grad for parameter in named.values()):
        raise ValueError("make_model must return a module whose parameters can all be trained")
    if any(not torch.equal(value, state[name]) for name, value in model.state_dict().items()):
        raise ValueError(
            "make_model must draw every parameter from its generator alone: two models from the "
            "same seed differ"
        )
    random = [name for name, layer in model.named_modules() if _draws(layer)]
    if random:
        raise ValueError(
            f"make_model's modules {', '.join(random)} draw random numbers in training"
        )
    _check_logits(model.train(), inputs, classes)
    return again


def _draws(layer: nn.Module) -> bool:
    if isinstance(layer, nn.modules.dropout._DropoutNd):
        return layer.p > 0
    return isinstance(layer, nn.RReLU | nn.FractionalMaxPool2d | nn.FractionalMaxPool3d)


def _check_logits(model: nn.Module, inputs: Tensor, classes: int) -> None:
    try:
        logits = model(inputs)
    except (RuntimeError, ValueError, IndexError) as error:
        shape = tuple(inputs.shape)
        raise ValueError(f"the model cannot take inputs of shape {shape}: {error}") from None
    if logits.shape[:1] != inputs.shape[:1] or logits.ndim != 2 or logits.shape[1] < classes:
        raise ValueError(
            f"the model must return logits ({len(inputs)}, K) with K of at least {classes}, one "
            f"for each label, got shape {tuple(logits.shape)}"
        )
    if not torch.isfinite(logits).all():
        raise ValueError("the model's logits have NaN or infinite values before any training")


def count_activations(model: nn.Module, example: Tensor) -> int:
    """Return how many numbers an example is, and how many the innermost modules make of it."""
    counts = [example.numel()]

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        counts.append(output.numel())

    hooks = [
        module.register_forward_hook(count)
        for module in model.eval().modules()
        if not list(module.children())
    ]
    with torch.no_grad():
        model(example)
    for hook in hooks:  # a layer may belong to other models, too
        hook.remove()
    return sum(counts)
