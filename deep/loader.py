"""A data set as tensors on the device, from which batches are made there.

The pixels stay integers until a batch is made of them. What is random about an epoch, the order of
its examples and their augmentation, is a function of the seed and the epoch's number alone: whoever
starts again in the middle of an epoch, on whatever device, sees the same batches.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from store.datasets import LabeledImages

__all__ = ["DeviceDataset", "Preprocessing", "to_device"]

_DRAWS = 4  # uniform numbers for each example: row, column, flip, angle


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What is done to a batch of images, in the order of the attributes.

    The random steps belong to training. Without random numbers there is neither padding, flip nor
    rotation, and the crop is the central one.

    Attributes
    ----------
    rotation : float
        Largest angle in degrees, either way. Bilinear; what comes from outside is 0.
    padding : int
        Rows and columns of zeros that are added on each side before a random crop.
    crop : int or None
        Side of the square that is kept. None is all; a random crop of all has the image's size.
    random_crop : bool
        Whether the crop's place is random, uniformly.
    flip : bool
        Mirror left and right with probability 1/2.
    whiten : bool
        Subtract each image's mean and divide by its standard deviation, that of all its values and
        at least 1 / √(their number): TensorFlow's ``per_image_standardization``.
    mean, std : tuple of float, or None
        Subtracted from and divided out of each channel. Either both or none.

    Raises
    ------
    ValueError
        If a number is out of its range, or ``random_crop`` lacks ``crop`` and ``padding``.

    References
    ----------
    Zhang et al. (2017), appendix A: crops of 28 × 28, then whitening.

    Examples
    --------
    >>> zhang = Preprocessing(crop=28, whiten=True)
    >>> zhang(torch.rand(5, 3, 32, 32)).shape
    torch.Size([5, 3, 28, 28])
    """

    rotation: float = 0.0
    padding: int = 0
    crop: int | None = None
    random_crop: bool = False
    flip: bool = False
    whiten: bool = False
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not 0.0 <= self.rotation <= 180.0:
            raise ValueError(f"rotation must be in [0, 180] degrees, got {self.rotation}")
        if self.padding < 0:
            raise ValueError(f"padding must be at least 0, got {self.padding}")
        if self.crop is not None and self.crop < 1:
            raise ValueError(f"crop must be at least 1, got {self.crop}")
        if self.random_crop and self.crop is None and not self.padding:
            raise ValueError("random_crop needs a crop or padding")
        if self.padding and not self.random_crop:
            raise ValueError("padding is for random crops: random_crop must be True")
        if (self.mean is None) != (self.std is None):
            raise ValueError("mean and std must be given together")
        if self.std is not None and not all(0.0 < value < np.inf for value in self.std):
            raise ValueError(f"std must be positive, got {self.std}")

    @property
    def random(self) -> bool:
        """Whether a training batch needs random numbers."""
        return self.random_crop or self.flip or self.rotation > 0.0

    @property
    def needs_images(self) -> bool:
        """Whether there is a step that works on rows, columns or channels."""
        return self.random or self.crop is not None or self.mean is not None

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ValueError if examples of this shape cannot be preprocessed so."""
        if not self.needs_images:
            return
        if len(shape) != 3:
            raise ValueError(
                f"this preprocessing needs images (channels, height, width), got examples {shape}"
            )
        if self.crop is not None and self.crop > min(shape[1:]):
            raise ValueError(
                f"crop must be at most {min(shape[1:])}, the images' side, got {self.crop}"
            )
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values is not None and len(values) != shape[0]:
                raise ValueError(
                    f"{name} must have {shape[0]} values, one for each channel, got {len(values)}"
                )

    def __call__(
        self, pixels: Tensor, uniforms: Tensor | None = None, *, max_value: float = 1.0
    ) -> Tensor:
        """Return the batch as floating-point numbers, pixels of ``max_value`` being 1.

        Parameters
        ----------
        pixels : Tensor (B, C, H, W), or (B, …) if no step needs images
            Integers, which become float32, or floating-point numbers, whose type stays.
        uniforms : Tensor (B, 4) or None
            Numbers in [0, 1) that decide about row, column, flip and angle of each example; None
            for no augmentation.
        max_value : float
        """
        if uniforms is not None and self.random:
            pixels = self._augmented(pixels, uniforms)
        elif self.crop is not None:
            pixels = _central(pixels, self.crop)
        values = _floating(pixels)
        if max_value != 1.0:
            values = values / max_value
        if self.whiten:
            values = whitened(values)
        if self.mean is not None:
            mean, std = (values.new_tensor(part)[:, None, None] for part in (self.mean, self.std))
            values = (values - mean) / std
        return values

    def _augmented(self, pixels: Tensor, uniforms: Tensor) -> Tensor:
        height, width = pixels.shape[-2:]
        if self.crop is not None:
            height = width = self.crop
        if self.rotation:
            degrees = (2.0 * uniforms[:, 3] - 1.0) * self.rotation
            pixels = rotated(_floating(pixels), torch.deg2rad(degrees))
        if self.padding:
            pixels = functional.pad(pixels, (self.padding,) * 4)
        if self.random_crop:
            top, left = (
                (uniforms[:, axis] * (pixels.shape[axis + 2] - side + 1)).long()
                for axis, side in enumerate((height, width))
            )
            pixels = _windows(pixels, top, left, height, width)
        elif self.crop is not None:
            pixels = _central(pixels, self.crop)
        if self.flip:
            mirrored = uniforms[:, 2, None, None, None] < 0.5
            pixels = torch.where(mirrored, pixels.flip(3), pixels)
        return pixels


def whitened(images: Tensor) -> Tensor:
    r"""Return images of mean 0 and, unless they are all but constant, of variance 1.

    Divides by :math:`\max(\sigma, 1/\sqrt{n})`, σ the standard deviation of the n values of an
    image about their own mean.

    Parameters
    ----------
    images : Tensor (B, …)
        Of a floating-point type.
    """
    flat = images.flatten(1)
    variance, mean = torch.var_mean(flat, dim=1, correction=0, keepdim=True)
    deviation = variance.sqrt().clamp(min=flat.shape[1] ** -0.5)
    return ((flat - mean) / deviation).view(images.shape)


def rotated(images: Tensor, angles: Tensor) -> Tensor:
    """Return images turned about their centers, bilinearly, with zeros from outside.

    Parameters
    ----------
    images : Tensor (B, C, H, W)
        Of a floating-point type.
    angles : Tensor (B,)
        Radians; positive ones turn counterclockwise as the image is seen, rows downward.
    """
    height, width = images.shape[-2:]
    cos, sin = torch.cos(angles).to(images.dtype), torch.sin(angles).to(images.dtype)
    zero = torch.zeros_like(cos)
    # Of where each pixel comes from, in units of half the width and half the height.
    rows = (
        torch.stack([cos, -sin * (height / width), zero], dim=1),
        torch.stack([sin * (width / height), cos, zero], dim=1),
    )
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def _floating(pixels: Tensor) -> Tensor:
    return pixels if pixels.is_floating_point() else pixels.float()


def _central(pixels: Tensor, side: int) -> Tensor:
    top, left = ((length - side) // 2 for length in pixels.shape[-2:])
    return pixels[..., top : top + side, left : left + side]


def _windows(pixels: Tensor, top: Tensor, left: Tensor, height: int, width: int) -> Tensor:
    """Return each image's own window."""
    device = pixels.device
    examples = torch.arange(len(pixels), device=device)[:, None, None]
    rows = top[:, None, None] + torch.arange(height, device=device)[:, None]
    columns = left[:, None, None] + torch.arange(width, device=device)
    return pixels[examples, :, rows, columns].permute(0, 3, 1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class DeviceDataset:
    """Examples and their classes on one device, and how batches are made of them.

    Attributes
    ----------
    inputs : Tensor (n, C, H, W) or (n, …)
        uint8, or of a floating-point type.
    labels : Tensor of int64 (n,)
    n_classes : int
        Labels are below it.
    max_value : float
        The input that becomes 1.
    preprocessing : Preprocessing

    Raises
    ------
    TypeError
        If the inputs are neither uint8 nor floating-point numbers, or the labels not int64.
    ValueError
        If there are no examples, not as many labels as inputs, labels out of range, or examples
        that cannot be preprocessed so.
    """

    inputs: Tensor
    labels: Tensor
    n_classes: int
    max_value: float = 1.0
    preprocessing: Preprocessing = Preprocessing()

    def __post_init__(self) -> None:
        """Check that the parts fit together."""
        if self.inputs.dtype != torch.uint8 and not self.inputs.is_floating_point():
            raise TypeError(f"inputs must be uint8 or floating-point, got {self.inputs.dtype}")
        if self.labels.dtype != torch.int64:
            raise TypeError(f"labels must be int64, got {self.labels.dtype}")
        if self.labels.shape != self.inputs.shape[:1] or not len(self.labels):
            raise ValueError(
                f"labels must be (n,) for inputs (n, …), n > 0; got {tuple(self.labels.shape)} "
                f"and {tuple(self.inputs.shape)}"
            )
        low, high = (int(end) for end in torch.aminmax(self.labels))
        if low < 0 or high >= self.n_classes:
            raise ValueError(
                f"labels must be 0 to {self.n_classes - 1} for {self.n_classes} classes, "
                f"got {low} to {high}"
            )
        if not 0.0 < self.max_value < np.inf:
            raise ValueError(f"max_value must be positive, got {self.max_value}")
        self.preprocessing.check(tuple(self.inputs.shape[1:]))

    def __len__(self) -> int:
        """Return the number of examples."""
        return len(self.labels)

    def to(self, device: torch.device) -> DeviceDataset:
        """Return the data set on a device; itself, if it is there."""
        if self.labels.device == device:
            return self
        return replace(self, inputs=self.inputs.to(device), labels=self.labels.to(device))

    def order(self, epoch: int, *, seed: int) -> Tensor:
        """Return the order (n,) of the examples in an epoch, on the data's device."""
        order = np.random.default_rng([seed, epoch, 0]).permutation(len(self))
        return torch.from_numpy(order).to(self.labels.device)

    def uniforms(self, epoch: int, *, seed: int) -> Tensor | None:
        """Return random numbers (n, 4) for an epoch's augmentation, or None if there is none."""
        if not self.preprocessing.random:
            return None
        rng = np.random.default_rng([seed, epoch, 1])
        draws = rng.random((len(self), _DRAWS), dtype=np.float32)
        return torch.from_numpy(draws).to(self.labels.device)

    def batch(
        self, examples: Tensor | slice, uniforms: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the preprocessed inputs (B, …) and labels (B,) of some examples.

        Parameters
        ----------
        examples : Tensor of int64 (B,) or slice
        uniforms : Tensor (B, 4) or None
            Their random numbers; None for no augmentation.
        """
        inputs = self.preprocessing(self.inputs[examples], uniforms, max_value=self.max_value)
        return inputs, self.labels[examples]

    def channel_statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation of each channel, in units of ``max_value``.

        They are of the examples as they are stored, before any preprocessing, and what
        :class:`Preprocessing` takes as ``mean`` and ``std``.
        """
        means, deviations = [], []
        for channel in self.inputs.unbind(1):
            variance, mean = torch.var_mean(channel.double() / self.max_value, correction=0)
            means.append(float(mean))
            deviations.append(float(variance.sqrt()))
        return tuple(means), tuple(deviations)


def to_device(
    data: LabeledImages | tuple[Any, Any],
    *,
    preprocessing: Preprocessing = Preprocessing(),
    n_classes: int | None = None,
    max_value: float | None = None,
    device: torch.device | str | None = None,
) -> DeviceDataset:
    """Return a data set as tensors on the device.

    Parameters
    ----------
    data : LabeledImages, or (inputs, labels)
        Inputs are a NumPy array of images (n, H, W) or (n, H, W, C), as :class:`LabeledImages`
        has them, or of any other examples (n, d); or a Tensor (n, C, H, W) or (n, …), taken as
        it is. Unless they are floating-point numbers, they are pixels from 0 to 255.
    preprocessing : Preprocessing
    n_classes : int, optional
        Number of classes, if it is not the largest label plus 1.
    max_value : float, optional
        The input that becomes 1, if it is neither that of LabeledImages, nor 255 for pixels, nor
        1 for floating-point inputs.
    device : torch.device, str or None
        None is torch's default.

    Raises
    ------
    TypeError, ValueError
        As :class:`DeviceDataset` does.
    ValueError
        If there is no such device.

    Examples
    --------
    >>> from store.datasets import load
    >>> digits = to_device(load("digits"))
    >>> tuple(digits.inputs.shape), digits.inputs.dtype, digits.n_classes
    ((1797, 1, 8, 8), torch.uint8, 10)
    >>> inputs, labels = digits.batch(digits.order(0, seed=7)[:32])
    >>> inputs.shape, float(inputs.max())
    (torch.Size([32, 1, 8, 8]), 1.0)
    """
    _check_device(device)
    if isinstance(data, LabeledImages):
        max_value = data.max_value if max_value is None else max_value
        data = data.images, data.labels
    inputs = data[0] if isinstance(data[0], Tensor) else _channels_second(np.asarray(data[0]))
    labels = torch.as_tensor(data[1], device=device).clone()
    if n_classes is None:
        n_classes = int(labels.max()) + 1 if labels.numel() else 0
    if max_value is None:
        max_value = 1.0 if inputs.is_floating_point() else 255.0
    return DeviceDataset(inputs.to(device), labels, n_classes, float(max_value), preprocessing)


def _check_device(device: torch.device | str | None) -> None:
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:  # the former if torch is built without CUDA
        reason = str(error).partition("\n")[0]
        raise ValueError(f"device {str(device)!r} cannot be used: {reason}") from None


def _channels_second(inputs: np.ndarray[Any, Any]) -> Tensor:
    if inputs.ndim == 3:
        inputs = inputs[:, None]
    elif inputs.ndim == 4:
        inputs = inputs.transpose(0, 3, 1, 2)
    return torch.from_numpy(np.array(inputs, order="C"))
