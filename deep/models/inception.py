"""The small Inception network of Zhang et al. (2017)."""

from __future__ import annotations

from torch import nn

from deep.models._blocks import Concatenate, Shape, convolution, mean_and_linear

__all__ = ["inception"]


def inception(input_shape: Shape, classes: int, *, batch_norm: bool = True) -> nn.Sequential:
    r"""Return the small Inception network: 1,649,402 parameters for 3 channels and 10 classes.

    A convolution of 96 channels, ten modules and a linear layer on the mean over positions, each
    one child of the result. An Inception module concatenates convolutions 1×1 and 3×3; a
    downsampling module concatenates a convolution 3×3 and a maximum over 3×3, both of stride 2.
    Every convolution is followed by batch normalization, if there is any, and ReLU.

    The paper gives the structure and the number of parameters. That number is the one of
    convolutions with biases and of batch normalization without trainable ones (derived: no other
    choice gives it), which makes it the same without batch normalization.

    Modules of stride 2 are padded by one pixel on each side; for images of even size only the
    upper left one is used. TensorFlow pads at the lower right instead: the same network for images
    turned by 180 degrees.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, height, width; 3 × 28 × 28 in the paper. Sizes go 28, 14, 7.
    classes : int
        Number of outputs.
    batch_norm : bool
        Whether convolutions are followed by batch normalization.

    Returns
    -------
    torch.nn.Sequential
        Takes images (B, channels, height, width) and returns logits (B, classes).

    References
    ----------
    Zhang, Bengio, Hardt, Recht & Vinyals (2017), Figure 3 and Table 1.

    Examples
    --------
    >>> sum(p.numel() for p in inception((3, 28, 28), 10).parameters())
    1649402
    """
    channels, _, _ = input_shape
    layers: list[nn.Module] = [_convolution(channels, 96, 3, batch_norm)]
    channels = 96
    for narrow, wide in _MODULES:
        stride = 1 if narrow else 2
        first = (
            _convolution(channels, narrow, 1, batch_norm)
            if narrow
            else nn.MaxPool2d(3, stride=2, padding=1)
        )
        layers.append(Concatenate(first, _convolution(channels, wide, 3, batch_norm, stride)))
        channels = wide + (narrow or channels)
    return nn.Sequential(*layers, *mean_and_linear(channels, classes))


# Channels of the convolutions 1×1 and 3×3; a module without the former downsamples.
_MODULES = (
    (32, 32),
    (32, 48),
    (0, 80),
    (112, 48),
    (96, 64),
    (80, 80),
    (48, 96),
    (0, 96),
    (176, 160),
    (176, 160),
)


def _convolution(
    inputs: int, outputs: int, kernel: int, batch_norm: bool, stride: int = 1
) -> nn.Sequential:
    layers: list[nn.Module] = [convolution(inputs, outputs, kernel, stride=stride, bias=True)]
    if batch_norm:
        layers.append(nn.BatchNorm2d(outputs, affine=False))
    return nn.Sequential(*layers, nn.ReLU())
