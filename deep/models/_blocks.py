"""The pieces that several architectures are made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]


class Concatenate(nn.Module):
    """Branches of one input, their outputs side by side along the channels."""

    def __init__(self, *branches: nn.Module) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, sum of the branches' channels, H, W)."""
        return torch.cat([branch(images) for branch in self.branches], dim=1)


class Residual(nn.Module):
    """ReLU of the sum of a body and a shortcut of the same output shape."""

    def __init__(self, body: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        self.body = body
        self.shortcut = shortcut

    def forward(self, images: Tensor) -> Tensor:
        """Return (B, channels of the body, H, W)."""
        return torch.relu(self.body(images) + self.shortcut(images))


def convolution(
    inputs: int, outputs: int, kernel: int, *, stride: int = 1, bias: bool = False
) -> nn.Conv2d:
    """Return a convolution that keeps the size, or divides it by the stride and rounds up."""
    return nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=bias)


def mean_and_linear(channels: int, classes: int) -> list[nn.Module]:
    """Return the layers from feature maps of any size to logits: mean over positions, linear."""
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]


def check_size(architecture: str, input_shape: Shape, minimum: int) -> None:
    """Raise ValueError if the pools would leave nothing of the image."""
    _, height, width = input_shape
    if min(height, width) < minimum:
        raise ValueError(
            f"input_shape is {input_shape}: the pools of {architecture} need images of at least "
            f"{minimum}×{minimum} pixels"
        )
