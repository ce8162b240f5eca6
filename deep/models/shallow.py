"""C1 and C3 of Keskar et al. (2017), as in the code of Wen et al. (2018)."""

from __future__ import annotations

from torch import nn

from deep.models._blocks import Shape, check_size, convolution

__all__ = ["shallow"]


def shallow(input_shape: Shape, classes: int, *, dropout: float = 0.5) -> nn.Sequential:
    """Return C1 (10 classes: 1,388,490 parameters) or C3 (100 classes: 1,405,860).

    Twice a convolution 5×5 of 64 channels, a maximum over 3×3 of stride 2, batch normalization and
    ReLU; then linear layers of 384 and 192 units, each with batch normalization, ReLU and dropout;
    then a linear layer. Biases stand in the last layer alone, the pools are not padded, and the
    numbers of parameters are those of 3 × 32 × 32 images.

    Dropout takes its random numbers from torch's global generator, as all of ``torch.nn`` does.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, height, width. Sizes go 32, 15, 7.
    classes : int
        Number of outputs.
    dropout : float
        Probability that a unit is dropped.

    Returns
    -------
    torch.nn.Sequential
        Takes images (B, channels, height, width) and returns logits (B, classes).

    Raises
    ------
    ValueError
        If images are smaller than 7 × 7, or ``dropout`` is not in [0, 1].

    References
    ----------
    Keskar, Mudigere, Nocedal, Smelyanskiy & Tang (2017); Wen et al. (2018), the code.

    Examples
    --------
    >>> sum(p.numel() for p in shallow((3, 32, 32), 10).parameters())
    1388490
    """
    check_size("c1 and c3", input_shape, 7)
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for _ in range(2):
        layers += [convolution(channels, 64, 5), nn.MaxPool2d(3, stride=2)]
        layers += [nn.BatchNorm2d(64), nn.ReLU()]
        channels, height, width = 64, (height - 1) // 2, (width - 1) // 2
    inputs = channels * height * width
    layers.append(nn.Flatten())
    for units in (384, 192):
        layers += [nn.Linear(inputs, units, bias=False), nn.BatchNorm1d(units)]
        layers += [nn.ReLU(), nn.Dropout(dropout)]
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, classes))
