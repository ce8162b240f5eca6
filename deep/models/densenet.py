"""Densely connected networks for small images."""

from __future__ import annotations

from torch import nn

from deep.models._blocks import Concatenate, Shape, check_size, convolution, mean_and_linear
from theory._validation import number, positive_integer

__all__ = ["densenet"]


def densenet(
    input_shape: Shape,
    classes: int,
    *,
    depth: int = 40,
    growth: int = 12,
    bottleneck: bool = True,
    compression: float = 0.5,
) -> nn.Sequential:
    """Return DenseNet-BC of 40 layers: 176,122 parameters for 3 channels and 10 classes.

    Three dense blocks, in which each layer adds ``growth`` channels to those it is given, with a
    transition (convolution 1×1, mean over 2×2) between them. Batch normalization and ReLU come
    before each convolution.

    The network without "BC", ``bottleneck=False, compression=1.0``, starts with 16 channels instead
    of twice the growth (from memory).

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, height, width. Sizes go 32, 16, 8.
    classes : int
        Number of outputs.
    depth : int
        Number of convolutions and linear layers: 6n + 4 with bottlenecks, 3n + 4 without.
    growth : int
        Channels that each layer adds.
    bottleneck : bool
        Whether each layer has a convolution 1×1 to ``4 * growth`` channels before the one 3×3.
    compression : float
        Fraction of the channels, rounded down, that a transition keeps.

    Returns
    -------
    torch.nn.Sequential
        Takes images (B, channels, height, width) and returns logits (B, classes).

    Raises
    ------
    ValueError
        If images are smaller than 4 × 4, ``depth`` is of no such form, ``growth`` is not a positive
        integer, or ``compression`` is not in (0, 1] or leaves no channel.

    References
    ----------
    Huang, Liu, van der Maaten & Weinberger (2017), section 3; Liu, Papailiopoulos & Achlioptas
    (2020), the code.

    Examples
    --------
    >>> sum(p.numel() for p in densenet((3, 32, 32), 10).parameters())
    176122
    """
    check_size("densenet", input_shape, 4)
    convolutions = 6 if bottleneck else 3
    blocks, rest = divmod(positive_integer("depth", depth) - 4, convolutions)
    if rest or blocks < 1:
        raise ValueError(f"depth must be {convolutions}n + 4, such as 40, got {depth}")
    if not 0.0 < number("compression", compression) <= 1.0:
        raise ValueError(f"compression must be in (0, 1], got {compression:g}")
    channels = 2 * positive_integer("growth", growth) if bottleneck else 16
    layers: list[nn.Module] = [convolution(input_shape[0], channels, 3)]
    for block in range(3):
        if block:
            kept = positive_integer("channels that compression keeps", int(channels * compression))
            layers += [*_convolution(channels, kept, 1), nn.AvgPool2d(2)]
            channels = kept
        for _ in range(blocks):
            layers.append(Concatenate(nn.Identity(), _layer(channels, growth, bottleneck)))
            channels += growth
    layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers, *mean_and_linear(channels, classes))


def _layer(inputs: int, growth: int, bottleneck: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    if bottleneck:
        layers += _convolution(inputs, 4 * growth, 1)
        inputs = 4 * growth
    return nn.Sequential(*layers, *_convolution(inputs, growth, 3))


def _convolution(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
    return [nn.BatchNorm2d(inputs), nn.ReLU(), convolution(inputs, outputs, kernel)]
