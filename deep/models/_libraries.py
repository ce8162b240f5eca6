"""Networks of torchvision and timm, where these are installed."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch import nn

from deep.models._blocks import Shape

LIBRARIES = ("torchvision", "timm")


def library_model(
    library: str,
    name: str,
    input_shape: Shape,
    classes: int,
    generator: torch.Generator,
    options: dict[str, Any],
) -> nn.Module:
    """Return a network of torchvision or timm, without pretrained weights.

    Their constructors know no generator but torch's global one. It is seeded from ``generator``
    meanwhile, and left as it was.
    """
    if library not in LIBRARIES:
        raise ValueError(f"{library!r} is no library of networks; known: {', '.join(LIBRARIES)}")
    package = _import(library)
    channels = input_shape[0]
    if library == "torchvision" and channels != 3:
        raise ValueError(f"networks of torchvision take 3 channels, input_shape is {input_shape}")
    seed = int(torch.randint(2**63 - 1, (), generator=generator, device=generator.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            if library == "torchvision":
                model = package.get_model(name, weights=None, num_classes=classes, **options)
            else:
                model = package.create_model(
                    name, pretrained=False, num_classes=classes, in_chans=channels, **options
                )
        except (RuntimeError, ValueError) as error:
            raise ValueError(f"{library} could not make {name!r}: {error}") from error
    if not isinstance(model, nn.Module):
        raise TypeError(f"{library} made a {type(model).__name__} of {name!r}, not a module")
    return model


def _import(library: str) -> Any:
    try:
        return importlib.import_module("torchvision.models" if library == "torchvision" else "timm")
    except ImportError as error:
        raise ValueError(
            f"networks of {library} need the package {library!r}, which could not be imported "
            f"({error}): pip install {library}"
        ) from error
