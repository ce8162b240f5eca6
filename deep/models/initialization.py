"""Random initialization of a network from a generator of one's own."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

__all__ = ["LAWS", "initialize"]

LAWS = ("torch", "he", "glorot")

_NORMALIZATIONS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def initialize(
    model: nn.Module, generator: torch.Generator | None = None, *, law: str = "torch"
) -> nn.Module:
    r"""Draw every parameter of a network anew, in place, and return the network.

    With ``law="torch"`` weights and biases of convolutions and linear layers are uniform in
    ±1/√fan_in, where fan_in is the number of inputs of a unit, as torch's constructors make them:
    the same numbers that these draw from the global generator of the same seed. With ``law="he"``
    the weights of convolutions are normal with variance 2/fan_out instead, where fan_out is output
    channels times positions of the kernel. With ``law="glorot"`` all weights are uniform in
    ±√(6/(fan_in + fan_out)) and biases 0, as TensorFlow's layers have it. Normalization starts at
    scale 1, shift 0, running mean 0 and running variance 1.

    Numbers are drawn in float32 on the generator's device, whatever the device and type of the
    parameters, so that one generator on the CPU gives one network everywhere.

    Parameters
    ----------
    model : torch.nn.Module
        A network of convolutions, linear layers and normalization; all else without parameters.
    generator : torch.Generator or None
        Source of the random numbers; None takes a new one, seeded by the system.
    law : {"torch", "he", "glorot"}

    Returns
    -------
    torch.nn.Module
        ``model``.

    Raises
    ------
    ValueError
        If ``law`` is another, or a module of another kind has parameters; nothing is drawn then.

    References
    ----------
    He, Zhang, Ren & Sun (2015), equation 14, for "he"; Glorot & Bengio (2010), equation 16, for
    "glorot" (both from memory).

    Examples
    --------
    >>> network = nn.Linear(3, 2)
    >>> first = initialize(network, torch.Generator().manual_seed(0)).weight.clone()
    >>> again = initialize(network, torch.Generator().manual_seed(0)).weight
    >>> bool((first == again).all())
    True
    """
    if law not in LAWS:
        raise ValueError(f"law is {law!r}; it must be one of {', '.join(LAWS)}")
    for name, module in model.named_modules():
        if _owns_parameters(module) and not isinstance(
            module, (_ConvNd, nn.Linear, *_NORMALIZATIONS)
        ):
            raise ValueError(
                f"model has a {type(module).__name__} at {name or 'its root'!r} with parameters of "
                "its own: only convolutions, linear layers and normalization have a law of "
                "initialization"
            )
    source = new_generator() if generator is None else generator
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (_ConvNd, nn.Linear)):
                _draw_weights(module, source, law)
            elif isinstance(module, _NORMALIZATIONS):
                module.reset_parameters()
    return model


def new_generator() -> torch.Generator:
    """Return a generator on the CPU with a seed from the system."""
    generator = torch.Generator()
    generator.seed()
    return generator


def _owns_parameters(module: nn.Module) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _draw_weights(module: _ConvNd | nn.Linear, generator: torch.Generator, law: str) -> None:
    weight = _empty(module.weight, generator)
    if law == "he" and isinstance(module, _ConvNd):
        nn.init.kaiming_normal_(weight, mode="fan_out", generator=generator)
    elif law == "glorot":
        nn.init.xavier_uniform_(weight, generator=generator)
    else:
        nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)  # ±1/√fan_in
    module.weight.copy_(weight)
    if module.bias is not None:
        bound = 0.0 if law == "glorot" else module.weight[0].numel() ** -0.5
        bias = _empty(module.bias, generator).uniform_(-bound, bound, generator=generator)
        module.bias.copy_(bias)


def _empty(parameter: Tensor, generator: torch.Generator) -> Tensor:
    return torch.empty(parameter.shape, dtype=torch.float32, device=generator.device)
