"""Adversarial initialization: a network that has memorized random labels of its own inputs."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn

from deep.loader import Preprocessing, to_device
from deep.training import train
from store.corruption import RandomSource, replicate_with_zeros
from theory._validation import decay, positive_integer, positive_number
from theory.bad_minima import fit_ceiling

AMONG = ("nonzero", "all")

# Of all epochs, when the learning rate falls to a tenth, twice: 150 and 250 of the paper's 350.
DROPS = (3 / 7, 5 / 7)


class NotFittedError(ArithmeticError):
    """A network has not fitted its confusion set, so that it is no adversarial start.

    Attributes
    ----------
    accuracy : float
        On the confusion set, when the epochs were over.
    epochs : int
    ceiling : float
        Largest accuracy that is possible on it.
    """

    def __init__(self, accuracy: float, wanted: float, epochs: int, ceiling: float) -> None:
        super().__init__(
            f"after {epochs} epochs the network has fitted {accuracy:.4f} of the random labels; "
            f"{wanted:g} are wanted and {ceiling:.4f} are possible: take more epochs, a larger "
            "network, fewer copies, or accept less"
        )
        self.accuracy, self.epochs, self.ceiling = accuracy, epochs, ceiling


class ConfusionSet(NamedTuple):
    """Masked copies of inputs, with random labels.

    Attributes
    ----------
    inputs : ndarray (n R, ...)
        The copies of the first input, then those of the second, and so on.
    labels : ndarray of int64 (n R,)
    ceiling : float
        Share of the labels that a function of the inputs can give at most: copies that are equal
        may have labels that are not.
    """

    inputs: NDArray[Any]
    labels: NDArray[np.int64]
    ceiling: float


@dataclass(frozen=True, eq=False)
class AdversarialStart:
    """A network that has fitted random labels, and how it came to that.

    Attributes
    ----------
    model : torch.nn.Module
        In evaluation mode.
    accuracy : float
        On the confusion set, in evaluation mode.
    epochs : int
        That were needed.
    ceiling : float
        Largest accuracy that was possible.
    n_examples : int
        Of the confusion set, n R.
    curve : xarray.Dataset
        As :func:`deep.training.train` returns it.
    """

    model: nn.Module
    accuracy: float
    epochs: int
    ceiling: float
    n_examples: int
    curve: xr.Dataset


def confusion_set(
    inputs: NDArray[Any],
    *,
    replication: int,
    zero_fraction: float,
    classes: int,
    among: str = "nonzero",
    rng: RandomSource = None,
) -> ConfusionSet:
    r"""Copy inputs, set other values of each copy to zero, and draw labels uniformly.

    Masks and labels are drawn once; training sees the same in all epochs.

    Parameters
    ----------
    inputs : ndarray (n, ...)
        Images, or other examples, of any type.
    replication : int
        R, copies of each input.
    zero_fraction : float
        Z in [0, 1), share of an input's values that is set to zero in each copy, rounded down to a
        whole number of values; not 0 if R > 1.
    classes : int
        Number K of classes, at least 2.
    among : {"nonzero", "all"}
        Where the values that are set to zero are drawn: among those of an input that are not zero
        (all of them, if there are no more), or among all, as in the authors' code. On sparse images
        many of the latter are zero already, and copies whose masks differ there alone are equal.
    rng : None, int, SeedSequence or Generator

    Returns
    -------
    ConfusionSet

    Raises
    ------
    ValueError
        If an argument is out of its range, there are no inputs, or R > 1 and Z = 0: such copies are
        equal, and the message tells how many of their labels can be fitted.

    References
    ----------
    Liu et al. (2020), section 2 (number from memory), and the authors' code.

    Examples
    --------
    >>> found = confusion_set(
    ...     np.arange(8).reshape(2, 4), replication=2, zero_fraction=0.5, classes=2, rng=0
    ... )
    >>> found.inputs.tolist(), found.labels.tolist(), found.ceiling
    ([[0, 1, 0, 0], [0, 1, 0, 0], [0, 5, 6, 0], [4, 0, 6, 0]], [1, 1, 1, 1], 1.0)
    """
    check_confusion(replication, zero_fraction, classes, among)
    inputs = np.asarray(inputs)
    if inputs.ndim < 2 or not inputs.size:
        raise ValueError(f"inputs must be (n, ...) with n > 0, got shape {inputs.shape}")
    rng = np.random.default_rng(rng)
    if among == "all" or zero_fraction == 0.0:
        copies = replicate_with_zeros(inputs, replication, zero_fraction, rng)
    else:
        copies = _masked_where_nonzero(inputs, replication, zero_fraction, rng)
    labels = rng.integers(0, classes, len(copies))
    return ConfusionSet(copies, labels, _ceiling(copies, labels))


def check_confusion(replication: int, zero_fraction: float, classes: int, among: str) -> None:
    """Refuse a confusion set that is not one, or that cannot be fitted."""
    R = positive_integer("replication", replication)
    K = positive_integer("classes", classes, minimum=2)
    if among not in AMONG:
        raise ValueError(f"among must be one of {', '.join(AMONG)}, got {among!r}")
    if decay("zero_fraction", zero_fraction) == 0.0 and R > 1:
        raise ValueError(
            f"zero_fraction is 0, so that the {R} copies of an input are equal but their labels "
            f"are not: at most {fit_ceiling(R, classes=K):.3f} of the labels can be fitted; take a "
            "positive fraction or replication = 1"
        )


def _masked_where_nonzero(
    inputs: NDArray[Any], copies: int, share: float, rng: np.random.Generator
) -> NDArray[Any]:
    replicated = np.repeat(inputs, copies, axis=0)
    rows = replicated.reshape(len(inputs), copies, -1)
    zeros = int(share * rows.shape[2])
    for row in rows:
        there = np.flatnonzero(row[0])
        own_share = min(1.0, (zeros + 0.5) / max(1, len(there)))  # so many zeros, rounded down
        row[:, there] = replicate_with_zeros(row[:1, there], copies, own_share, rng)
    return replicated


def _ceiling(inputs: NDArray[Any], labels: NDArray[np.int64]) -> float:
    """Return the share of the labels that are the commonest of their input."""
    rows = np.ascontiguousarray(inputs.reshape(len(inputs), -1))
    as_bytes = rows.view(np.dtype((np.void, rows.strides[0]))).ravel()
    _, which = np.unique(as_bytes, return_inverse=True)
    votes = np.zeros((which.max() + 1, labels.max() + 1), dtype=np.int64)
    np.add.at(votes, (which, labels), 1)
    return int(votes.max(axis=1).sum()) / len(labels)


def adversarial_initialization(
    model: nn.Module,
    inputs: Any,
    *,
    replication: int,
    zero_fraction: float,
    classes: int,
    among: str = "nonzero",
    epochs: int = 350,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    fit_accuracy: float = 0.9999,
    evaluate_every: int = 1,
    preprocessing: Preprocessing | None = None,
    max_value: float | None = None,
    precision: str = "float32",
    channels_last: bool = False,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    progress: bool | str | None = None,
    device: torch.device | str | None = None,
) -> AdversarialStart:
    r"""Train a copy of a network by plain SGD until it has memorized random labels of its inputs.

    True labels are not needed. Training from where this leads, on the true labels and by plain SGD,
    ends in minima that fit all of them and generalize badly.

    Plain SGD is without momentum, weight decay and augmentation. The learning rate falls to a tenth
    after 3/7 and again after 5/7 of the epochs, as in the authors' code, unless all is fitted
    before.

    Parameters
    ----------
    model : torch.nn.Module
        It stays as it is. Takes a batch of preprocessed inputs, returns logits (B, K).
    inputs : array_like or Tensor
        A NumPy array of images (n, H, W) or (n, H, W, C), or of other examples (n, d); or a Tensor
        (n, C, H, W) or (n, d).
    replication, zero_fraction, classes, among
        As :func:`confusion_set` takes them.
    epochs : int
        Most that are allowed.
    batch_size, learning_rate : int, float
    fit_accuracy : float
        In (0, 1]: share of the random labels that must be fitted, in evaluation mode, and at which
        training stops.
    evaluate_every : int
        Epochs between measurements of that.
    preprocessing : Preprocessing, optional
        Its random steps are left out. Zeros stand in the inputs before it.
    max_value : float, optional
        The input that becomes 1, as :func:`deep.loader.to_device` takes it.
    precision, channels_last
        As :func:`deep.training.train` takes them.
    seed : int
        Of masks, labels and the order of the examples.
    checkpoint : Path or str, optional
        File from which training goes on and in which its state is kept.
    progress : bool or str, optional
        As :func:`deep.training.train` takes it.
    device : torch.device, str or None
        None is torch's default.

    Returns
    -------
    AdversarialStart

    Raises
    ------
    NotFittedError
        If the epochs are over before ``fit_accuracy`` is reached; it has the accuracy.
    ValueError
        If an argument is out of its range, R > 1 and Z = 0, some copies are equal so that
        ``fit_accuracy`` is impossible, or as :func:`deep.training.train` does. Nothing has been
        trained then.
    deep.training.DivergenceError
        If training diverges.

    References
    ----------
    Liu et al. (2020), section 2 (number from memory), and the authors' code.

    Examples
    --------
    >>> from deep import models
    >>> from store.datasets import load
    >>> images = load("digits").images[:20]
    >>> model = models.build("mlp", input_shape=(1, 8, 8), classes=10)
    >>> start = adversarial_initialization(
    ...     model, images, max_value=16, replication=2, zero_fraction=0.2, classes=10
    ... )
    >>> start.accuracy, start.n_examples
    (1.0, 40)
    """
    check_confusion(replication, zero_fraction, classes, among)
    positive_integer("epochs", epochs)
    positive_integer("seed", seed, minimum=0)
    positive_number("learning_rate", learning_rate)
    if not 0.0 < fit_accuracy <= 1.0:
        raise ValueError(f"fit_accuracy must be in (0, 1], got {fit_accuracy}")
    arrays = inputs.detach().cpu().numpy() if isinstance(inputs, Tensor) else np.asarray(inputs)
    options: dict[str, Any] = {"replication": replication, "zero_fraction": zero_fraction}
    confused = confusion_set(
        arrays, classes=classes, among=among, rng=np.random.default_rng([seed, 1]), **options
    )
    if confused.ceiling < fit_accuracy:
        raise ValueError(
            f"fit_accuracy is {fit_accuracy:g}, but at most {confused.ceiling:.4f} of the labels "
            "can be fitted, for some inputs are equal and their labels are not: take a larger "
            "zero_fraction, among = 'nonzero', or a lower fit_accuracy"
        )
    copies = torch.from_numpy(confused.inputs) if isinstance(inputs, Tensor) else confused.inputs
    data = to_device(
        (copies, confused.labels),
        preprocessing=without_augmentation(preprocessing or Preprocessing()),
        n_classes=classes,
        max_value=max_value,
        device=device,
    )
    network = copy.deepcopy(model)
    curve = train(
        network,
        data,
        **plain_sgd(epochs, batch_size, learning_rate),
        evaluate_every=evaluate_every,
        stop_at_accuracy=fit_accuracy,
        precision=precision,
        channels_last=channels_last,
        seed=seed,
        checkpoint=checkpoint,
        progress=progress,
    )
    accuracy, last = float(curve.training_accuracy[-1]), int(curve.epoch[-1])
    if accuracy < fit_accuracy:
        raise NotFittedError(accuracy, fit_accuracy, last, confused.ceiling)
    return AdversarialStart(network, accuracy, last, confused.ceiling, len(data), curve)


def without_augmentation(preprocessing: Preprocessing) -> Preprocessing:
    """Return what the preprocessing does to images that are only evaluated."""
    return replace(preprocessing, random_crop=False, padding=0, flip=False, rotation=0.0)


def plain_sgd(epochs: int, batch_size: int, learning_rate: float, **more: float) -> dict[str, Any]:
    """Return the arguments of :func:`deep.training.train` for SGD, and what is more than plain."""
    return {
        "epochs": epochs,
        "batch_size": batch_size,
        "optimizer": "SGD",
        "optimizer_options": {"lr": learning_rate, **more},
        "scheduler": "MultiStepLR",
        "scheduler_options": {"milestones": drops(epochs), "gamma": 0.1},
    }


def drops(epochs: int) -> list[int]:
    """Return after how many epochs the learning rate falls."""
    return [max(1, round(share * epochs)) for share in DROPS]
