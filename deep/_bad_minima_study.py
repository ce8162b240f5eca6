"""Bad minima of networks on standard images, as an experiment."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, cast

import torch
import xarray as xr
from torch import nn

from deep import models
from deep._bad_minima_grid import REGULARIZERS, MakeModel, bad_minima_test
from deep.loader import Preprocessing, to_device
from deep.models._libraries import LIBRARIES
from store import datasets
from store.datasets import LabeledImages
from theory._validation import positive_integer

AUGMENTATIONS = ("shift", "shift and flip")


def bad_minima(
    *,
    dataset: str = "digits",
    model: str = "mlp",
    widths: Sequence[int] = (256, 256),
    train_size: int = 300,
    test_size: int = 797,
    replication: int = 5,
    zero_fraction: float = 0.1,
    among: str = "nonzero",
    regularizers: Sequence[str] = REGULARIZERS,
    extremes: bool = False,
    controls: Sequence[str] | None = None,
    augmentation: str = "shift",
    epochs: int = 350,
    confusion_epochs: int = 350,
    fit_accuracy: float = 0.9999,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    weight_decay: float | None = 0.02,
    momentum: float = 0.9,
    measures: bool = True,
    evaluate_every: int = 1,
    precision: str = "float32",
    seed: int = 0,
    data_dir: str | None = None,
    device: str | None = None,
    checkpoints: str | None = None,
) -> xr.Dataset:
    """Train a network from random and from adversarial weights, with and without regularizers.

    Each channel is standardized by its mean and deviation in the training set. "mlp" does not
    fit 300 digits with a weight decay of 0.067, which would forget as much as in the authors' code.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it.
    model : str
        "mlp"; "cnn", convolutions 3 × 3 with batch normalization; as
        :func:`deep.models.build` names it; or "module:function", a function of your own, which
        takes a ``torch.Generator`` that it must draw every parameter from and returns a module that
        takes images (B, channels, height, width).
    widths : sequence of int
        Hidden units of "mlp", or channels of "cnn", such as 16, 32, 64; others take none.
    train_size, test_size : int
        Images drawn. If as many training images are left over, the control "other inputs" takes
        them.
    replication, zero_fraction, among, regularizers, extremes, controls, confusion_epochs, \
fit_accuracy, epochs, batch_size, learning_rate, weight_decay, momentum, measures, evaluate_every, \
precision
        As :func:`bad_minima_test` takes them.
    augmentation : {"shift", "shift and flip"}
        Random, by up to an eighth of the side in each direction.
    seed : int
        Draws images, weights, order, masks and random labels.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.
    device : str, optional
        A GPU if there is one.
    checkpoints : str, optional
        Folder for checkpoints, from which a run that was killed goes on.

    Returns
    -------
    xarray.Dataset
        As :func:`bad_minima_test` gives for this seed, without the seed's dimension.

    Raises
    ------
    ValueError
        If the data set has too few images, a name is unknown or a number out of range.
    NotFittedError
        If the network does not fit the confusion set.

    References
    ----------
    Liu et al. (2020), sections 3 and 4 (numbers from memory).
    """
    positive_integer("train_size", train_size)
    if augmentation not in AUGMENTATIONS:
        raise ValueError(
            f"augmentation must be one of {', '.join(AUGMENTATIONS)}, got {augmentation!r}"
        )
    train_data, test_data, other_inputs = _images(dataset, data_dir, train_size, test_size, seed)
    side, channels = train_data.images.shape[1], 1 if train_data.images.ndim == 3 else 3
    mean, std = to_device(train_data).channel_statistics()
    found = bad_minima_test(
        _maker(model, widths, (channels, side, side), 1 + _largest(train_data, test_data)),
        train_data,
        test_data,
        regularizers=regularizers,
        extremes=extremes,
        controls=controls,
        replication=replication,
        zero_fraction=zero_fraction,
        among=among,
        seeds=[seed],
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        momentum=momentum,
        augmentation=Preprocessing(
            random_crop=True,
            padding=max(1, side // 8),
            flip=augmentation == "shift and flip",
            mean=mean,
            std=std,
        ),
        confusion_epochs=confusion_epochs,
        fit_accuracy=fit_accuracy,
        other_inputs=other_inputs,
        measures=measures,
        evaluate_every=evaluate_every,
        precision=precision,
        channels_last=model != "mlp",
        checkpoints=checkpoints,
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
    )
    return found.isel(seed=0, drop=True)


def _images(
    dataset: str, data_dir: str | None, train_size: int, test_size: int, seed: int
) -> tuple[LabeledImages, LabeledImages, Any]:
    """Return training and test set, and other training images if as many are left."""
    whole, test_data = datasets.draw(dataset, data_dir, None, test_size, seed=seed)
    n = len(whole.labels)
    if train_size > n:
        raise ValueError(
            f"train_size must be at most {n}, what the test set leaves of {dataset!r}, "
            f"got {train_size}"
        )
    taken = LabeledImages(
        whole.name, whole.images[:train_size], whole.labels[:train_size], whole.max_value
    )
    rest = whole.images[train_size : 2 * train_size]
    return taken, test_data, rest if len(rest) == train_size else None


# --- networks -------------------------------------------------------------------------------------


def _maker(
    model: str, widths: Sequence[int], input_shape: tuple[int, int, int], classes: int
) -> MakeModel:
    """Return what makes the network that a name stands for."""
    module, colon, function = model.partition(":")
    if colon and module not in LIBRARIES:
        return _imported(module, function)
    if model == "cnn":
        return lambda generator: _small_cnn(input_shape[0], classes, widths, generator)
    options: dict[str, Any] = {"input_shape": input_shape, "classes": classes}
    if model == "mlp":
        options["widths"] = tuple(widths)
    return lambda generator: models.build(model, generator=generator, **options)


def _imported(module: str, function: str) -> MakeModel:
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"model {module}:{function} cannot be imported: {error}") from error
    if not callable(found):
        raise ValueError(f"model {module}:{function} must be a function, got {found!r}")
    return cast(MakeModel, found)


def _small_cnn(
    channels: int, classes: int, widths: Sequence[int], generator: torch.Generator
) -> nn.Module:
    """Return convolutions with batch normalization and ReLU, halving between, and a mean."""
    layers: list[nn.Module] = []
    for number, width in enumerate(widths):
        positive_integer(f"widths[{number}]", width)
        if number:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes)]
    return models.initialize(nn.Sequential(*layers), generator)


def _largest(*parts: LabeledImages) -> int:
    return max(int(part.labels.max()) for part in parts)
