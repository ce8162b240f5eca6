"""Architectures by name, their parameters drawn from a generator of one's own.

==================================  ===========  ============  ================================
name                                input        parameters    as in
==================================  ===========  ============  ================================
``"inception"``                     3 × 28 × 28     1,649,402  Zhang et al. (2017)
``"inception_without_batch_norm"``  3 × 28 × 28     1,649,402  Zhang et al. (2017)
``"alexnet"``                       3 × 28 × 28     1,387,786  Zhang et al. (2017)
``"mlp_3x512"``                     3 × 28 × 28     1,735,178  Zhang et al. (2017)
``"mlp_1x512"``                     3 × 28 × 28     1,209,866  Zhang et al. (2017)
``"mlp"``                           any             any        option ``widths``
``"f1"``                            1 × 28 × 28     1,462,794  Wen et al. (2018)
``"c1"``                            3 × 32 × 32     1,388,490  Wen et al. (2018)
``"c3"``                            3 × 32 × 32     1,405,860  Wen et al. (2018), 100 classes
``"resnet44"``                      3 × 32 × 32       661,338  Wen et al. (2018)
``"resnet18"``                      3 × 32 × 32    11,173,962  Liu et al. (2020)
``"resnet50"``                      3 × 32 × 32    23,520,842  Liu et al. (2020)
``"vgg16"``                         3 × 32 × 32    14,728,266  Liu et al. (2020)
``"densenet40"``                    3 × 32 × 32       176,122  Liu et al. (2020)
==================================  ===========  ============  ================================

The numbers are those of 10 classes but for C3. Names such as ``"torchvision:resnet18"`` and
``"timm:resnet18"`` stand for the networks of these packages, where they are installed.

Each architecture is a function of its own module, which makes an ordinary module of torch with
parameters from torch's global generator; :func:`build` draws them from the generator it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from deep.models._blocks import Shape
from deep.models._libraries import LIBRARIES, library_model
from deep.models.alexnet import alexnet
from deep.models.densenet import densenet
from deep.models.inception import inception
from deep.models.initialization import LAWS, initialize, new_generator
from deep.models.mlp import f1, mlp
from deep.models.resnet import resnet18, resnet50, thin_resnet
from deep.models.shallow import shallow
from deep.models.vgg import vgg16
from theory._validation import positive_integer

__all__ = ["LAWS", "build", "initialize", "names", "parameter_count"]

_ARCHITECTURES: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "alexnet": alexnet,
        "c1": shallow,
        "c3": shallow,
        "densenet40": densenet,
        "f1": f1,
        "inception": inception,
        "inception_without_batch_norm": partial(inception, batch_norm=False),
        "mlp": mlp,
        "mlp_1x512": partial(mlp, widths=(512,)),
        "mlp_3x512": partial(mlp, widths=(512, 512, 512)),
        "resnet18": resnet18,
        "resnet44": thin_resnet,
        "resnet50": resnet50,
        "vgg16": vgg16,
    }
)

_PUBLISHED_LAWS = MappingProxyType({"resnet44": "he"})


def names() -> tuple[str, ...]:
    """Return the names that :func:`build` knows, but for those of torchvision and timm.

    Examples
    --------
    >>> names()[:4]
    ('alexnet', 'c1', 'c3', 'densenet40')
    """
    return tuple(_ARCHITECTURES)


def build(
    name: str,
    *,
    input_shape: Sequence[int],
    classes: int,
    generator: torch.Generator | None = None,
    law: str | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **options: Any,
) -> nn.Module:
    """Return a network with freshly drawn parameters.

    The same seed gives the same bits on every device; torch's global generator is neither used nor
    moved. Networks of torchvision and timm draw by their own laws.

    Parameters
    ----------
    name : str
        One of :func:`names`, or "torchvision:" or "timm:" and a name of theirs.
    input_shape : sequence of int
        Channels, height, width of an image.
    classes : int
        Number of outputs.
    generator : torch.Generator or None
        Source of the parameters; None takes a new one, seeded by the system.
    law : {"torch", "he", "glorot"} or None
        Law of the parameters (:func:`initialize`). None takes the published one, "he", for
        ResNet-44, and "torch" for all others, whose papers do not tell theirs.
    device : torch.device, str or None
        Where the parameters are; None is torch's default.
    dtype : torch.dtype or None
        Type of the parameters, which are drawn in float32; None is torch's default.
    **options
        What the architecture leaves open, such as ``widths``; see its function.

    Returns
    -------
    torch.nn.Module
        In training mode. Takes images (B, channels, height, width), returns logits (B, classes).

    Raises
    ------
    ValueError
        If the name is unknown, its package is not installed, ``input_shape`` is not three positive
        integers or too small for the network's pools, ``classes`` is not a positive integer, or an
        option has no such value.
    TypeError
        If the architecture has no such option.

    Examples
    --------
    >>> network = build("mlp", input_shape=(1, 8, 8), classes=10, widths=(50,))
    >>> network(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    >>> parameter_count(network)
    3760
    """
    shape = _image_shape(input_shape)
    outputs = positive_integer("classes", classes)
    source = new_generator() if generator is None else generator
    library, colon, network = name.partition(":")
    if colon:
        model = library_model(library, network, shape, outputs, source, options)
        model = model.to(device=device or torch.get_default_device(), dtype=dtype)
        return model if law is None else initialize(model, source, law=law)
    if name not in _ARCHITECTURES:
        packages = " or ".join(f'"{package}:NAME"' for package in LIBRARIES)
        raise ValueError(f"unknown network {name!r}; known: {', '.join(names())}; or {packages}")
    with torch.device("meta"):
        model = _ARCHITECTURES[name](shape, outputs, **options)
    model = model.to(dtype=dtype).to_empty(device=device or torch.get_default_device())
    return initialize(model, source, law=law or _PUBLISHED_LAWS.get(name, "torch"))


def parameter_count(model: nn.Module) -> int:
    """Return the number of trainable parameters, shared ones counted once.

    Examples
    --------
    >>> parameter_count(nn.Linear(3, 2))
    8
    """
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def _image_shape(input_shape: Sequence[int]) -> Shape:
    if not isinstance(input_shape, Sequence) or len(input_shape) != 3:
        raise ValueError(f"input_shape must be channels, height and width, got {input_shape!r}")
    channels, height, width = (
        positive_integer(f"input_shape[{axis}]", size) for axis, size in enumerate(input_shape)
    )
    return channels, height, width
