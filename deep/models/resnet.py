"""Residual networks with the stem for small images: a convolution 3×3 and no pool."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import nn

from deep.models._blocks import Residual, Shape, convolution, mean_and_linear
from theory._validation import positive_integer

__all__ = ["resnet18", "resnet50", "thin_resnet"]


def resnet18(input_shape: Shape, classes: int) -> nn.Sequential:
    """Return ResNet-18: 11,173,962 parameters for 3 channels and 10 classes.

    Four stages of two blocks of two convolutions 3×3, with 64, 128, 256 and 512 channels. Where a
    block changes the shape, its shortcut is a convolution 1×1 with batch normalization.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, height, width. Sizes go 32, 16, 8, 4.
    classes : int
        Number of outputs.

    Returns
    -------
    torch.nn.Sequential
        Takes images (B, channels, height, width) and returns logits (B, classes).

    References
    ----------
    He, Zhang, Ren & Sun (2016); Liu, Papailiopoulos & Achlioptas (2020), the code.

    Examples
    --------
    >>> sum(p.numel() for p in resnet18((3, 32, 32), 10).parameters())
    11173962
    """
    return _resnet(input_shape, classes, _basic, stem=64, stages=(2, 2, 2, 2))


def resnet50(input_shape: Shape, classes: int) -> nn.Sequential:
    """Return ResNet-50: 23,520,842 parameters for 3 channels and 10 classes.

    Four stages of 3, 4, 6 and 3 bottlenecks, each of convolutions 1×1, 3×3 (of stride 2 where the
    size is halved) and 1×1, with 256, 512, 1024 and 2048 channels.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, height, width. Sizes go 32, 16, 8, 4.
    classes : int
        Number of outputs.

    Returns
    -------
    torch.nn.Sequential
        Takes images (B, channels, height, width) and returns logits (B, classes).

    References
    ----------
    He, Zhang, Ren & Sun (2016); Liu, Papailiopoulos & Achlioptas (2020), the code.

    Examples
    --------
    >>> sum(p.numel() for p in resnet50((3, 32, 32), 10).parameters())
    23520842
    """
    return _resnet(input_shape, classes, _bottleneck, stem=64, stages=(3, 4, 6, 3), expansion=4)


def thin_resnet(input_shape: Shape, classes: int, *, depth: int = 44) -> nn.Sequential:
    """Return the residual network of 6n + 2 layers with 16, 32 and 64 channels.

    ResNet-44 has 661,338 parameters for 3 channels and 10 classes, 667,188 for 100. Shortcuts that
    change the shape are convolutions 1×1 with batch normalization, as in the code published with
    SmoothOut; He et al. pad with zeros instead.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, height, width. Sizes go 32, 16, 8.
    classes : int
        Number of outputs.
    depth : int
        6n + 2 for a positive n, the number of blocks of each stage.

    Returns
    -------
    torch.nn.Sequential
        Takes images (B, channels, height, width) and returns logits (B, classes).

    Raises
    ------
    ValueError
        If ``depth`` is another number.

    References
    ----------
    He, Zhang, Ren & Sun (2016), section 4.2; Wen et al. (2018), the code.

    Examples
    --------
    >>> sum(p.numel() for p in thin_resnet((3, 32, 32), 10).parameters())
    661338
    """
    blocks, rest = divmod(positive_integer("depth", depth, minimum=8) - 2, 6)
    if rest:
        raise ValueError(f"depth must be 6n + 2, such as 20, 32 or 44, got {depth}")
    return _resnet(input_shape, classes, _basic, stem=16, stages=(blocks,) * 3)


def _resnet(
    input_shape: Shape,
    classes: int,
    body: Callable[[int, int, int], nn.Sequential],
    *,
    stem: int,
    stages: Sequence[int],
    expansion: int = 1,
) -> nn.Sequential:
    layers: list[nn.Module] = [*_convolution(input_shape[0], stem, 3), nn.ReLU()]
    channels = stem
    for stage, blocks in enumerate(stages):
        inner = stem * 2**stage
        outputs = inner * expansion
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            inside = body(channels, inner, stride)
            layers.append(Residual(inside, _shortcut(channels, outputs, stride)))
            channels = outputs
    return nn.Sequential(*layers, *mean_and_linear(channels, classes))


def _basic(inputs: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(inputs, channels, 3, stride),
        nn.ReLU(),
        *_convolution(channels, channels, 3),
    )


def _bottleneck(inputs: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *_convolution(inputs, channels, 1),
        nn.ReLU(),
        *_convolution(channels, channels, 3, stride),
        nn.ReLU(),
        *_convolution(channels, 4 * channels, 1),
    )


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module:
    if stride == 1 and inputs == outputs:
        return nn.Identity()
    return nn.Sequential(*_convolution(inputs, outputs, 1, stride))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    return [convolution(inputs, outputs, kernel, stride=stride), nn.BatchNorm2d(outputs)]
