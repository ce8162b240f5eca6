"""The randomization tests of Zhang et al. (2017), on any network and any labeled images."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import nn

from deep import models
from deep.loader import Preprocessing, to_device
from deep.training import DivergenceError, train
from store import corruption, datasets
from store.datasets import LabeledImages
from theory._validation import positive_integer, positive_number

MakeModel = Callable[[torch.Generator], nn.Module]
Images = LabeledImages | tuple[Any, Any]

CORRUPTIONS = (
    "true labels",
    "shuffled pixels",
    "Gaussian pixels",
    "random pixels",
    "random labels",
)


def randomization_test(
    make_model: MakeModel,
    train_data: Images,
    test_data: Images,
    *,
    corruptions: Sequence[str | float] = CORRUPTIONS,
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int = 100,
    batch_size: int = 128,
    preprocessing: Preprocessing | None = None,
    fit_loss: float = 0.05,
    checkpoints: Path | str | None = None,
    device: torch.device | str | None = None,
    **training: Any,
) -> xr.Dataset:
    """Train a network on true and on randomized data, to see whether it can fit noise.

    All corruptions of a seed start from the same weights and take the examples in the same order,
    without retuning. Labels are drawn once and stay for all epochs.

    Parameters
    ----------
    make_model : callable
        Takes a ``torch.Generator``, from which it must draw every parameter, and returns a module
        that takes a batch of preprocessed inputs and returns logits (B, K).
    train_data, test_data : LabeledImages, or (inputs, labels)
        Inputs are NumPy arrays of images (n, H, W) or (n, H, W, C), or of other examples (n, d).
    corruptions : sequence of str or float
        Of :data:`CORRUPTIONS`; a number p stands for labels that are each replaced with this
        probability by a class drawn uniformly from all.
    seeds : sequence of int
        Each draws weights, order and corruption.
    epochs, batch_size : int
        Length of a training, and size of its batches.
    preprocessing : Preprocessing, optional
        Of both sets; none by default. What is random about it belongs to training.
    fit_loss : float
        A network has fitted after the first epoch whose mean loss over its batches is at most this.
    checkpoints : Path or str, optional
        Folder for a checkpoint of each training: what was killed goes on where it was.
    device : torch.device, str or None
        None is torch's default.
    **training
        Further arguments of :func:`deep.training.train`, such as ``optimizer_options`` or
        ``stop_at_accuracy``. After a training that stopped early, curves are NaN.

    Returns
    -------
    xarray.Dataset
        Along seed, corruption and epoch: ``online_loss`` and ``online_accuracy`` of the batches as
        they were trained on; ``training_loss`` and ``training_accuracy`` on the labels that are
        trained on; ``true_training_accuracy`` on the true labels of the same images;
        ``wrong_labels_fitted``, the share of the wrong training labels that the network gives;
        ``test_accuracy`` on the true test labels; and ``corrupted_test_accuracy`` on test labels
        that are corrupted as those of training are. Along seed and corruption: ``epochs_to_fit``,
        NaN if it never was, and ``wrong``, the share of wrong training labels. The attributes
        ``n_parameters``, and ``surplus``: that over the n (K + 1) + d of Theorem 1.

    Raises
    ------
    ValueError
        If a corruption is unknown, there is no seed, sets have different shapes, or as
        :func:`deep.training.train` does. Nothing has been trained then, but for the last.
    deep.training.DivergenceError
        If a training diverges.

    References
    ----------
    Zhang et al. (2017), Figure 1 and Table 1.

    Examples
    --------
    >>> from store.datasets import load
    >>> digits = load("digits")
    >>> images, labels = digits.images / 16, digits.labels
    >>> sets = (images[:200], labels[:200]), (images[200:400], labels[200:400])
    >>> def make_model(generator):
    ...     return models.build("mlp", input_shape=(1, 8, 8), classes=10, generator=generator)
    >>> found = randomization_test(
    ...     make_model, *sets, corruptions=["true labels", "random labels"], seeds=[0], epochs=2
    ... )
    >>> dict(found.sizes)
    {'seed': 1, 'corruption': 2, 'epoch': 2}
    """
    positive_number("fit_loss", fit_loss)
    if not len(seeds):
        raise ValueError("seeds must hold at least one seed")
    seeds, kinds = [int(seed) for seed in seeds], [_kind(each) for each in corruptions]
    sets, max_value = _arrays(train_data, test_data)
    classes = 1 + max(int(part.labels.max()) for part in sets)
    place: dict[str, Any] = {"n_classes": classes, "max_value": max_value, "device": device}
    training["epochs"] = positive_integer("epochs", epochs)
    training["batch_size"] = positive_integer("batch_size", batch_size)
    curves = []
    for seed in seeds:
        for kind in kinds:
            model = make_model(torch.Generator().manual_seed(seed))
            spoiled = _spoiled(sets, kind, classes, seed)
            fitted, *others = (
                to_device(tuple(part), preprocessing=preprocessing or Preprocessing(), **place)
                for part in spoiled.values()
            )
            evaluate = dict(zip(list(spoiled)[1:], others, strict=True))
            file = None if checkpoints is None else Path(checkpoints) / f"{kind.name} {seed}.pt"
            named = {"progress": f"{kind.name}, seed {seed}", **training}
            try:
                curve = train(model, fitted, evaluate=evaluate, seed=seed, checkpoint=file, **named)
            except DivergenceError as error:
                error.add_note(f"It was the training on {kind.name}, seed {seed}.")
                raise
            curves.append(_row(curve, spoiled, epochs, fit_loss))
    n, values = len(sets[0].labels), int(np.prod(sets[0].inputs.shape[1:]))
    n_parameters = models.parameter_count(model)
    found = _stacked(curves, seeds, [kind.name for kind in kinds])
    return found.assign_attrs(
        n_parameters=n_parameters, surplus=n_parameters / (n * (classes + 1) + values)
    )


# --- the corruptions ------------------------------------------------------------------------------


class _Part(NamedTuple):
    inputs: NDArray[Any]
    labels: NDArray[np.int64]


class _Kind(NamedTuple):
    """A corruption by name: of the pixels, or of the labels with a probability."""

    name: str
    pixels: str | None
    probability: float


def _kind(given: str | float) -> _Kind:
    if isinstance(given, str):
        if given in corruption.PIXEL_CORRUPTIONS:
            return _Kind(given, given, 0.0)
        if given in ("true labels", "random labels"):
            return _Kind(given, None, float(given == "random labels"))
        known = ", ".join(CORRUPTIONS)
        raise ValueError(f"unknown corruption {given!r}; known: {known}, or a probability")
    if not 0.0 <= given <= 1.0:
        raise ValueError(f"a corruption's probability must be between 0 and 1, got {given}")
    return _Kind(f"labels {given:g}", None, float(given))


def _arrays(train_data: Images, test_data: Images) -> tuple[list[_Part], float | None]:
    """Return both sets as arrays, and the pixel value of full ink if it is told."""
    parts, max_value = [], None
    for name, data in (("train_data", train_data), ("test_data", test_data)):
        if isinstance(data, LabeledImages):
            max_value, data = float(data.max_value), (data.images, data.labels)
        inputs, labels = np.asarray(data[0]), np.asarray(data[1], dtype=np.int64)
        if labels.shape != inputs.shape[:1] or not len(labels) or labels.min() < 0:
            raise ValueError(
                f"{name} must hold inputs (n, …) and labels (n,) of 0 or more, n > 0; got "
                f"{inputs.shape} and {labels.shape}"
            )
        parts.append(_Part(inputs, labels))
    if parts[0].inputs.shape[1:] != parts[1].inputs.shape[1:]:
        raise ValueError(
            f"train_data and test_data must hold inputs of one shape, got "
            f"{parts[0].inputs.shape[1:]} and {parts[1].inputs.shape[1:]}"
        )
    return parts, max_value


def _spoiled(sets: Sequence[_Part], kind: _Kind, classes: int, seed: int) -> dict[str, _Part]:
    """Return what is trained on, and the sets to measure that are not the same as others."""
    rng = np.random.default_rng([seed, zlib.crc32(kind.name.encode())])
    inputs = [part.inputs for part in sets]
    if kind.pixels:
        inputs = corruption.PIXEL_CORRUPTIONS[kind.pixels](inputs, rng)
    truth = [part.labels for part in sets]
    drawn = corruption.corrupt_label_sets(truth, kind.probability, classes, rng)
    given = [part.labels for part in drawn]
    spoiled = {"fitted": _Part(inputs[0], given[0]), "test": _Part(inputs[1], truth[1])}
    if kind.probability:
        spoiled["corrupted test"] = _Part(inputs[1], given[1])
    wrong = given[0] != truth[0]
    if wrong.any():
        spoiled["wrong"] = _Part(inputs[0][wrong], given[0][wrong])
        spoiled["mended"] = _Part(inputs[0][wrong], truth[0][wrong])
    return spoiled


# --- the results ----------------------------------------------------------------------------------

_CURVES = {
    "online_loss": "mean loss over an epoch's batches",
    "online_accuracy": "accuracy over an epoch's batches",
    "training_loss": "training loss",
    "training_accuracy": "training accuracy, on the labels trained on",
    "true_training_accuracy": "training accuracy, on true labels",
    "wrong_labels_fitted": "share of wrong training labels that are fitted",
    "test_accuracy": "test accuracy, on true labels",
    "corrupted_test_accuracy": "test accuracy, on labels corrupted as those of training",
}
_NUMBERS = {
    "epochs_to_fit": "epochs until the mean loss is small",
    "wrong": "share of training labels that are wrong",
}


def _row(
    curve: xr.Dataset, spoiled: Mapping[str, _Part], epochs: int, fit_loss: float
) -> xr.Dataset:
    """Return the curves of one training over all epochs, and when it had fitted."""
    accuracy = {
        name: curve.evaluation_accuracy.sel(evaluation=name, drop=True)
        for name in curve.evaluation.values
    }
    fitted, n, n_wrong = curve.training_accuracy, len(spoiled["fitted"].labels), 0
    memorized, mended = xr.full_like(fitted, np.nan), 0.0 * fitted
    if "wrong" in spoiled:
        memorized, n_wrong = accuracy["wrong"], len(spoiled["wrong"].labels)
        mended = accuracy["mended"] - memorized
    row = curve[["online_loss", "online_accuracy", "training_loss", "training_accuracy"]].assign(
        true_training_accuracy=np.rint(n * fitted + n_wrong * mended) / n,  # counts, exactly
        wrong_labels_fitted=memorized,
        test_accuracy=accuracy["test"],
        corrupted_test_accuracy=accuracy.get("corrupted test", accuracy["test"]),
    )
    done = curve.epoch.values[curve.online_loss.values <= fit_loss]
    row = row.reindex(epoch=np.arange(1, epochs + 1))
    return row.assign(epochs_to_fit=float(done[0]) if len(done) else np.nan, wrong=n_wrong / n)


def _stacked(rows: list[xr.Dataset], seeds: list[int], names: list[str]) -> xr.Dataset:
    """Return rows, seed by seed, along seed and corruption."""
    shape = (len(seeds), len(names))
    variables: dict[str, Any] = {}
    for name, long_name in {**_CURVES, **_NUMBERS}.items():
        values = np.array([row[name].values for row in rows])
        dims = ("seed", "corruption", *(("epoch",) if name in _CURVES else ()))
        units = "epoch" if name == "epochs_to_fit" else "1"
        variables[name] = (
            dims,
            values.reshape(*shape, *values.shape[1:]),
            {"long_name": long_name, "units": units},
        )
    return xr.Dataset(
        variables, {"seed": seeds, "corruption": names, "epoch": rows[0].epoch.values}
    )


# --- studies --------------------------------------------------------------------------------------


def randomization(
    *,
    dataset: str = "digits",
    model: str = "mlp_1x512",
    corruptions: Sequence[str | float] = CORRUPTIONS,
    train_size: int = 1437,
    test_size: int = 360,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 0.05,
    momentum: float = 0.9,
    decay: float = 1.0,
    weight_decay: float = 0.0,
    law: str | None = None,
    crop: int | None = None,
    augmentation: str = "none",
    evaluate_every: int = 1,
    stop_at_accuracy: float | None = None,
    precision: str = "float32",
    seed: int = 0,
    data_dir: str | None = None,
    device: str | None = None,
    checkpoints: str | None = None,
) -> xr.Dataset:
    """Train one network of the paper's on true and on randomized images.

    Images are standardized one by one; those of 32 × 32 pixels are cropped to 28 × 28 first.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it.
    model : str
        As :func:`deep.models.build` names it.
    corruptions : sequence of str or float
        As :func:`randomization_test` takes them.
    train_size, test_size : int
        Images drawn from the training and the test part of the data set; from all of it, without
        overlap, if it has no parts, as the digits.
    epochs, batch_size : int
        Length of a training, and size of its batches.
    learning_rate, momentum, weight_decay : float
        Of SGD.
    decay : float
        What the learning rate is multiplied by after each epoch.
    law : str, optional
        Law of the initial weights, as :func:`deep.models.build` takes it.
    crop : int, optional
        Side of the square that is kept; 28 for 32 × 32 pixels, else all.
    augmentation : str
        "none", "crop" (its place is random; where all is kept, in the image with a border of zeros
        an eighth as wide), or "flip and rotation" (by up to 25 degrees).
    evaluate_every : int
        Epochs between measurements; accuracies, but the online one, are NaN in others.
    stop_at_accuracy : float, optional
        Stop a training that has reached this accuracy on its own labels.
    precision : str
        As :func:`deep.training.train` takes it.
    seed : int
        Draws images, weights, order and corruption.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.
    device : str, optional
        A GPU if there is one.
    checkpoints : str, optional
        Folder for checkpoints, from which a run that was killed goes on.

    Returns
    -------
    xarray.Dataset
        As :func:`randomization_test` gives for this seed, without the seed's dimension.

    Raises
    ------
    ValueError
        If the data set has too few images, a name is unknown or a number out of range.

    References
    ----------
    Zhang et al. (2017), Figures 1 and 2b, Tables 1 and 4, appendix A.
    """
    train_data, test_data = datasets.draw(dataset, data_dir, train_size, test_size, seed=seed)
    side, channels = train_data.images.shape[1], 1 if train_data.images.ndim == 3 else 3
    if crop is None:
        crop = 28 if side == 32 else side
    classes = 1 + max(int(part.labels.max()) for part in (train_data, test_data))

    def make_model(generator: torch.Generator) -> nn.Module:
        shape = (channels, crop, crop)
        return models.build(model, input_shape=shape, classes=classes, generator=generator, law=law)

    found = randomization_test(
        make_model,
        train_data,
        test_data,
        corruptions=corruptions,
        seeds=[seed],
        epochs=epochs,
        batch_size=batch_size,
        optimizer_options={
            "lr": learning_rate,
            "momentum": momentum,
            "weight_decay": weight_decay,
        },
        scheduler="ExponentialLR",
        scheduler_options={"gamma": decay},
        preprocessing=_preprocessing(augmentation, crop, side),
        evaluate_every=evaluate_every,
        stop_at_accuracy=stop_at_accuracy,
        precision=precision,
        channels_last=not model.startswith("mlp"),  # a third faster on a CPU
        checkpoints=checkpoints,
        device=device or ("cuda" if torch.cuda.is_available() else "cpu"),
    )
    return found.isel(seed=0, drop=True)


def _preprocessing(augmentation: str, crop: int, side: int) -> Preprocessing:
    border = side // 8 if crop == side else 0
    known: dict[str, dict[str, Any]] = {
        "none": {},
        "crop": {"random_crop": True, "padding": border},
        "flip and rotation": {"flip": True, "rotation": 25.0},
    }
    if augmentation not in known:
        raise ValueError(f"augmentation must be one of {', '.join(known)}, got {augmentation!r}")
    return Preprocessing(crop=crop, whiten=True, **known[augmentation])
