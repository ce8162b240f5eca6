"""VGG-16 for small images."""

from __future__ import annotations

from torch import nn

from deep.models._blocks import Shape, check_size, convolution, mean_and_linear

__all__ = ["vgg16"]


def vgg16(input_shape: Shape, classes: int) -> nn.Sequential:
    """Return VGG-16 with batch normalization: 14,728,266 parameters for 3 channels, 10 classes.

    Thirteen convolutions 3×3 with biases, batch normalization and ReLU, a maximum over 2×2 after
    each of five groups, the mean over the positions left, and one linear layer.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, height, width. Sizes go 32, 16, 8, 4, 2, 1.
    classes : int
        Number of outputs.

    Returns
    -------
    torch.nn.Sequential
        Takes images (B, channels, height, width) and returns logits (B, classes).

    Raises
    ------
    ValueError
        If images are smaller than 32 × 32.

    References
    ----------
    Simonyan & Zisserman (2015); Liu, Papailiopoulos & Achlioptas (2020), the code.

    Examples
    --------
    >>> sum(p.numel() for p in vgg16((3, 32, 32), 10).parameters())
    14728266
    """
    check_size("vgg16", input_shape, 32)
    channels, _, _ = input_shape
    layers: list[nn.Module] = []
    for convolutions, outputs in ((2, 64), (2, 128), (3, 256), (3, 512), (3, 512)):
        for _ in range(convolutions):
            layers += [convolution(channels, outputs, 3, bias=True)]
            layers += [nn.BatchNorm2d(outputs), nn.ReLU()]
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers, *mean_and_linear(channels, classes))
