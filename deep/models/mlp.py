"""Multilayer perceptrons: those of Zhang et al. (2017) and F1 of Keskar et al. (2017)."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from torch import nn

from deep.models._blocks import Shape
from theory._validation import positive_integer

__all__ = ["f1", "mlp"]


def mlp(
    input_shape: Shape, classes: int, *, widths: Sequence[int] = (512,), batch_norm: bool = False
) -> nn.Sequential:
    r"""Return a multilayer perceptron of ReLUs on the pixels in a row.

    For 3 × 28 × 28 images and 10 classes one hidden layer of 512 units has 1,209,866 parameters and
    three have 1,735,178, the numbers of the paper.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, height, width.
    classes : int
        Number of outputs.
    widths : sequence of int
        Units of each hidden layer; none gives a linear model.
    batch_norm : bool
        Whether hidden layers are normalized before the ReLU, with trainable scale and shift.

    Returns
    -------
    torch.nn.Sequential
        Takes images (B, channels, height, width) and returns logits (B, classes).

    Raises
    ------
    ValueError
        If a width is not a positive integer.
    TypeError
        If ``widths`` is not a sequence.

    References
    ----------
    Zhang, Bengio, Hardt, Recht & Vinyals (2017), Appendix A and Table 1.

    Examples
    --------
    >>> sum(p.numel() for p in mlp((3, 28, 28), 10, widths=(512, 512, 512)).parameters())
    1735178
    """
    if not isinstance(widths, Sequence):
        raise TypeError(f"widths must be a sequence of integers, got {widths!r}")
    layers: list[nn.Module] = [nn.Flatten()]
    inputs = prod(input_shape)
    for layer, width in enumerate(widths):
        units = positive_integer(f"widths[{layer}]", width)
        layers.append(nn.Linear(inputs, units))
        if batch_norm:
            layers.append(nn.BatchNorm1d(units))
        layers.append(nn.ReLU())
        inputs = units
    return nn.Sequential(*layers, nn.Linear(inputs, classes))


def f1(input_shape: Shape, classes: int) -> nn.Sequential:
    """Return F1: five hidden layers of 512 units with batch normalization.

    It has 1,462,794 parameters for 1 × 28 × 28 images and 10 classes, as in the code published with
    SmoothOut.

    Parameters
    ----------
    input_shape : (int, int, int)
        Channels, height, width.
    classes : int
        Number of outputs.

    Returns
    -------
    torch.nn.Sequential
        Takes images (B, channels, height, width) and returns logits (B, classes).

    References
    ----------
    Keskar, Mudigere, Nocedal, Smelyanskiy & Tang (2017); Wen et al. (2018), the code.

    Examples
    --------
    >>> sum(p.numel() for p in f1((1, 28, 28), 10).parameters())
    1462794
    """
    return mlp(input_shape, classes, widths=(512,) * 5, batch_norm=True)
