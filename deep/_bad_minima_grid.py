"""Training from random and from adversarial starts, with and without regularizers."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from deep._bad_minima_norms import WeightNorms, weight_norms
from deep._bad_minima_start import (
    AdversarialStart,
    adversarial_initialization,
    check_confusion,
    drops,
    plain_sgd,
    without_augmentation,
)
from deep._curvature_surface import named
from deep.curvature import keskar_sharpness, line_between
from deep.loader import DeviceDataset, Preprocessing, to_device
from deep.models import parameter_count
from deep.noise_scale import gradient_noise_scale
from deep.training import measure, train
from store.datasets import LabeledImages
from theory._validation import decay, finite_array, positive_integer, positive_number
from theory.bad_minima import forgetting

MakeModel = Callable[[torch.Generator], nn.Module]
Examples = LabeledImages | tuple[Any, Any]

REGULARIZERS = ("augmentation", "weight decay", "momentum")
STARTS = ("random", "adversarial")
CONTROLS = ("shrunken adversarial", "enlarged random", "fresh batch norm", "other inputs")

LINE = tuple(number / 20 for number in range(21))

# lr · wd · steps at the first learning rate: 0.1 · 5e-4 · 58,650 in the authors' code.
_FORGETTING = 3.0


def bad_minima_test(
    make_model: MakeModel,
    train_data: Examples,
    test_data: Examples,
    *,
    regularizers: Sequence[str] = REGULARIZERS,
    extremes: bool = False,
    controls: Sequence[str] | None = None,
    replication: int = 5,
    zero_fraction: float = 0.1,
    among: str = "nonzero",
    seeds: Sequence[int] = (0, 1, 2),
    epochs: int = 350,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    weight_decay: float | None = None,
    momentum: float = 0.9,
    augmentation: Preprocessing | None = None,
    confusion_epochs: int = 350,
    fit_accuracy: float = 0.9999,
    other_inputs: Any = None,
    measures: bool = True,
    line: ArrayLike = LINE,
    evaluate_every: int = 1,
    precision: str = "float32",
    channels_last: bool = False,
    checkpoints: Path | str | None = None,
    device: torch.device | str | None = None,
) -> xr.Dataset:
    r"""Test whether a network has bad minima that plain SGD reaches, and what leads out of them.

    A network is trained on the true labels from its random weights and from an adversarial start,
    with every combination of regularizers. All trainings of a seed take the same number of steps
    and the examples in the same order, the learning rate starting anew and falling to a tenth after
    3/7 and 5/7 of the epochs.

    Controls are trained by plain SGD alone:

    - "shrunken adversarial": each parameter tensor of the adversarial start has the norm of the
      random one's;
    - "enlarged random": the other way round, tensors that are zero staying so;
    - "fresh batch norm": running statistics as in a new network;
    - "other inputs": the confusion set is made of ``other_inputs``.

    Parameters
    ----------
    make_model : callable
        Takes a ``torch.Generator``, from which it must draw every parameter, and returns a module
        that takes a batch of preprocessed inputs and returns logits (B, K).
    train_data, test_data : LabeledImages, or (inputs, labels)
        Inputs are NumPy arrays of images (n, H, W) or (n, H, W, C), or of other examples (n, d); or
        Tensors (n, C, H, W) or (n, d).
    regularizers : sequence of str
        Of :data:`REGULARIZERS`; all 2^k combinations of them are trained.
    extremes : bool
        Train with none of the regularizers and with all of them only.
    controls : sequence of str, optional
        Of :data:`CONTROLS`; if omitted, all that apply: the third needs batch normalization, the
        fourth ``other_inputs``.
    replication, zero_fraction, among, fit_accuracy
        Of the confusion set, as :func:`adversarial_initialization` takes them.
    seeds : sequence of int
        Each draws weights, order, masks and random labels.
    epochs, batch_size, learning_rate : int, int, float
        Of every training on true labels; all but the number of epochs also of that on the confusion
        set.
    weight_decay : float, optional
        Where there is some. If omitted, learning rate times weight decay times steps before the
        first drop is 3, as in the authors' code, so that a weight that no gradient holds falls to
        :math:`e^{-3}` (:func:`theory.bad_minima.forgetting`).
    momentum : float
        Where there is some, in [0, 1).
    augmentation : Preprocessing, optional
        Of both sets; its random steps belong to the regularizer "augmentation", which needs some.
    confusion_epochs : int
        Most that are allowed on the confusion set.
    other_inputs : array_like or Tensor, optional
        Inputs of the same kind and number as the training set's, and none of these.
    measures : bool
        Whether to measure sharpness, noise scale, norms and the line; networks with layer
        normalization, whose norms are not defined, need False.
    line : array_like (p,)
        Positions between the ends of plain SGD from the random start, 0, and the adversarial, 1.
    evaluate_every : int
        Epochs between measurements of accuracy.
    precision, channels_last
        As :func:`deep.training.train` takes them.
    checkpoints : Path or str, optional
        Folder for a checkpoint of each training: what was killed goes on where it was.
    device : torch.device, str or None
        None is torch's default.

    Returns
    -------
    xarray.Dataset
        Along seed, start (random, adversarial, and the controls) and regularization ("none",
        "augmentation", "augmentation + momentum", …), NaN for controls with a regularizer:

        - along epoch, too: ``training_accuracy`` and ``training_loss``, without augmentation, and
          ``test_accuracy``; NaN in epochs without a measurement;
        - ``fitted``, whether the last training accuracy is 1 (False where nothing was trained), and
          ``epochs_to_fit``, the first epoch measured at which it is, NaN if none;
        - ``distance``, moved from the start, over all parameters.

        If ``measures``, also ``sharpness`` (Keskar's, in percent, from a random point of the box of
        5e-4), ``noise_scale`` and ``noise_trace`` of the gradient on the training set, and the four
        of :class:`WeightNorms`, all of the last weights; the latter also along seed and start for
        the start's, with ``start_`` before their names; and along seed and position
        ``line_training_loss`` and ``line_test_loss``, with the statistics of each batch where there
        is batch normalization.

        Along seed, of the adversarial start: ``confusion_accuracy``, ``confusion_epochs``,
        ``confusion_ceiling``, and ``confusion_test_accuracy`` on the true test labels. Attributes:
        ``n_parameters``, ``weight_decay``, and ``forgetting``, the product above.

    Raises
    ------
    NotFittedError
        If a network does not fit its confusion set; no training on true labels has begun then.
    ValueError
        If a name is unknown, there is no seed, sets have different shapes, a regularizer or control
        lacks what it needs, R > 1 and Z = 0, or as :func:`adversarial_initialization` and
        :func:`deep.training.train` do.
    deep.training.DivergenceError
        If a training diverges.

    References
    ----------
    Liu et al. (2020), sections 2 to 4 (numbers from memory), and the authors' code, whose settings
    these are; the controls are not theirs.

    Examples
    --------
    >>> from deep import models
    >>> from store.datasets import draw
    >>> sets = draw("digits", None, 20, 200, seed=0)
    >>> def make_model(generator):
    ...     return models.build("mlp", input_shape=(1, 8, 8), classes=10, generator=generator)
    >>> found = bad_minima_test(
    ...     make_model, *sets, regularizers=["momentum"], controls=[], replication=2, seeds=[0],
    ...     epochs=20, batch_size=10, learning_rate=0.3, measures=False,
    ... )
    >>> random, adversarial = found.test_accuracy.sel(regularization="none").isel(epoch=-1)[0]
    >>> bool(random > adversarial)
    True
    """
    rate = positive_number("learning_rate", learning_rate)
    sgd = plain_sgd(
        positive_integer("epochs", epochs), positive_integer("batch_size", batch_size), rate
    )
    seeds = _checked_seeds(seeds)
    positions = finite_array("line", line, ndim=1)
    combinations = _combinations(regularizers, extremes, augmentation)
    sets = _sets(train_data, test_data, other_inputs, augmentation or Preprocessing(), device)
    check_confusion(replication, zero_fraction, sets.train.n_classes, among)
    steps = drops(epochs)[0] * math.ceil(len(sets.train) / batch_size)
    if weight_decay is None:
        weight_decay = _FORGETTING / (rate * steps)
    forgotten = forgetting(learning_rate=rate, weight_decay=weight_decay, steps=steps)
    first = make_model(torch.Generator().manual_seed(seeds[0]))
    controls = _controls(controls, first, other_inputs)
    if measures:
        weight_norms(first, sets.example())  # to refuse what it cannot measure before any work
    experiment = _Experiment(
        make_model=make_model,
        sets=sets,
        sgd=sgd,
        additions={
            "augmentation": {},
            "weight decay": {"weight_decay": weight_decay},
            "momentum": {"momentum": decay("momentum", momentum)},
        },
        confusion={
            "replication": replication,
            "zero_fraction": zero_fraction,
            "among": among,
            "epochs": confusion_epochs,
            "batch_size": batch_size,
            "learning_rate": rate,
            "fit_accuracy": fit_accuracy,
            "preprocessing": augmentation,
        },
        common={
            "evaluate_every": evaluate_every,
            "precision": precision,
            "channels_last": channels_last,
        },
        measures=measures,
        folder=None if checkpoints is None else Path(checkpoints),
    )
    memorized = {seed: experiment.memorized(seed, controls) for seed in seeds}
    found = xr.concat(
        [
            experiment.of_seed(seed, memorized[seed], controls, combinations, positions)
            for seed in seeds
        ],
        xr.Variable("seed", seeds),
    )
    return found.assign_attrs(
        n_parameters=parameter_count(first),
        weight_decay=float(weight_decay),
        forgetting=forgotten.scale,
    )


# --- what is trained on ---------------------------------------------------------------------------


class _Sets(NamedTuple):
    """The examples on the device; and the inputs as they were given, for confusion sets."""

    train: DeviceDataset
    augmented: DeviceDataset
    test: DeviceDataset
    inputs: Any
    other_inputs: Any
    max_value: float | None

    def example(self) -> Tensor:
        """Return one preprocessed input."""
        return self.train.batch(slice(0, 1))[0]


def _sets(
    train_data: Examples,
    test_data: Examples,
    other_inputs: Any,
    augmentation: Preprocessing,
    device: torch.device | str | None,
) -> _Sets:
    still = without_augmentation(augmentation)
    pairs, max_value = [], None
    for name, data in (("train_data", train_data), ("test_data", test_data)):
        if isinstance(data, LabeledImages):
            max_value, data = float(data.max_value), (data.images, data.labels)
        inputs, labels = data[0], np.asarray(data[1], dtype=np.int64)
        if labels.shape != np.shape(inputs)[:1] or not len(labels) or labels.min() < 0:
            raise ValueError(
                f"{name} must hold inputs (n, …) and labels (n,) of 0 or more, n > 0; got "
                f"{np.shape(inputs)} and {labels.shape}"
            )
        pairs.append((inputs, labels))
    others = {"test_data": pairs[1][0], "other_inputs": other_inputs}
    for name, inputs in others.items():
        if inputs is not None and np.shape(inputs)[1:] != np.shape(pairs[0][0])[1:]:
            raise ValueError(
                f"{name} must hold inputs of the same shape as train_data, "
                f"{np.shape(pairs[0][0])[1:]}, got {np.shape(inputs)[1:]}"
            )
    classes = 1 + max(int(labels.max()) for _, labels in pairs)
    place: dict[str, Any] = {"n_classes": classes, "max_value": max_value, "device": device}
    train_set, test_set = (to_device(pair, preprocessing=still, **place) for pair in pairs)
    augmented = replace(train_set, preprocessing=augmentation)
    return _Sets(train_set, augmented, test_set, pairs[0][0], other_inputs, max_value)


# --- what is asked for ----------------------------------------------------------------------------

Combination = tuple[str, ...]


def _checked_seeds(seeds: Sequence[int]) -> list[int]:
    if not len(seeds):
        raise ValueError("seeds must hold at least one seed")
    return [positive_integer("seeds", seed, minimum=0) for seed in seeds]


def _combinations(
    regularizers: Sequence[str], extremes: bool, augmentation: Preprocessing | None
) -> list[Combination]:
    """Return all subsets of the regularizers, or only the first, which is empty, and the last."""
    _check_names("regularizers", regularizers, REGULARIZERS)
    random = augmentation is not None and augmentation.random
    if "augmentation" in regularizers and not random:
        raise ValueError(
            "the regularizer 'augmentation' needs an argument augmentation with random steps, got "
            f"{augmentation}"
        )
    ordered = [name for name in REGULARIZERS if name in regularizers]
    sizes = sorted({0, len(ordered)}) if extremes else range(len(ordered) + 1)
    return [each for size in sizes for each in itertools.combinations(ordered, size)]


def _controls(controls: Sequence[str] | None, model: nn.Module, other_inputs: Any) -> Sequence[str]:
    """Return the controls that are to be run, in their order."""
    lacking = {}
    if not any(isinstance(layer, _BatchNorm) for layer in model.modules()):
        lacking["fresh batch norm"] = "a network with batch normalization"
    if other_inputs is None:
        lacking["other inputs"] = "the argument other_inputs"
    if controls is None:
        return [name for name in CONTROLS if name not in lacking]
    _check_names("controls", controls, CONTROLS)
    for name in controls:
        if name in lacking:
            raise ValueError(f"the control {name!r} needs {lacking[name]}")
    return [name for name in CONTROLS if name in controls]


def _check_names(argument: str, names: Sequence[str], known: Sequence[str]) -> None:
    for name in names:
        if name not in known:
            raise ValueError(f"{argument} must be of {', '.join(known)}; got {name!r}")


def _name(combination: Combination) -> str:
    return " + ".join(combination) or "none"


# --- starts ---------------------------------------------------------------------------------------


def _starts(
    random: nn.Module, memorized: Mapping[str, AdversarialStart], controls: Sequence[str]
) -> dict[str, nn.Module]:
    """Return the networks to start from."""
    adversarial = memorized["adversarial"].model
    random.to(next(adversarial.parameters()).device)
    made = {
        "shrunken adversarial": lambda: _with_norms_of(random, adversarial),
        "enlarged random": lambda: _with_norms_of(adversarial, random),
        "fresh batch norm": lambda: _with_fresh_statistics(adversarial),
        "other inputs": lambda: memorized["other inputs"].model,
    }
    return {
        "random": random,
        "adversarial": adversarial,
        **{name: made[name]() for name in controls},
    }


def _with_norms_of(like: nn.Module, model: nn.Module) -> nn.Module:
    """Return a copy of the model, each parameter tensor as long as that of another model."""
    scaled = copy.deepcopy(model)
    with torch.no_grad():
        for part, other in zip(scaled.parameters(), like.parameters(), strict=True):
            length = torch.linalg.vector_norm(part)
            if length > 0.0:
                part.mul_(torch.linalg.vector_norm(other) / length)
    return scaled


def _with_fresh_statistics(model: nn.Module) -> nn.Module:
    fresh = copy.deepcopy(model)
    for layer in fresh.modules():
        if isinstance(layer, _BatchNorm):
            layer.reset_running_stats()
    return fresh


# --- training and measuring -----------------------------------------------------------------------

_CURVES = {
    "training_accuracy": ("accuracy on the training set, without augmentation", "1"),
    "training_loss": ("mean loss on the training set, without augmentation", "nat"),
    "test_accuracy": ("accuracy on the test set", "1"),
}
_NUMBERS = {
    "epochs_to_fit": ("first epoch with a training accuracy of 1", "epoch"),
    "distance": ("distance of the last weights from the first", "1"),
    "sharpness": ("Keskar sharpness, epsilon = 5e-4", "percent"),
    "noise_scale": ("gradient noise scale on the training set", "example"),
    "noise_trace": ("trace of the gradients' covariance", "1"),
}
_NORMS = {
    "l1_path_norm": "l1 path norm",
    "l2_path_norm": "l2 path norm",
    "spectral_product": "product of spectral norms",
    "frobenius_norm": "root of the sum of squared weights",
}
_CONFUSION = {
    "confusion_accuracy": ("accuracy on the confusion set", "1"),
    "confusion_epochs": ("epochs to fit the confusion set", "epoch"),
    "confusion_ceiling": ("largest accuracy possible on the confusion set", "1"),
    "confusion_test_accuracy": ("test accuracy of the adversarial start", "1"),
}


@dataclass(frozen=True, eq=False)
class _Experiment:
    """Settings of all trainings."""

    make_model: MakeModel
    sets: _Sets
    sgd: Mapping[str, Any]
    additions: Mapping[str, Mapping[str, float]]  # of a regularizer, to the options of SGD
    confusion: Mapping[str, Any]
    common: Mapping[str, Any]
    measures: bool
    folder: Path | None

    def memorized(self, seed: int, controls: Sequence[str]) -> dict[str, AdversarialStart]:
        """Return what has fitted the confusion sets of a seed."""
        inputs = {"adversarial": self.sets.inputs, "other inputs": self.sets.other_inputs}
        kinds = [kind for kind in inputs if kind == "adversarial" or kind in controls]
        found = {}
        for kind in kinds:
            with self._named("confusion set", kind, seed) as names:
                found[kind] = adversarial_initialization(
                    self._random(seed),
                    inputs[kind],
                    classes=self.sets.train.n_classes,
                    max_value=self.sets.max_value,
                    seed=seed,
                    device=self.sets.train.labels.device,
                    **names,
                    **self.confusion,
                    **self.common,
                )
        return found

    def of_seed(
        self,
        seed: int,
        memorized: Mapping[str, AdversarialStart],
        controls: Sequence[str],
        combinations: Sequence[Combination],
        positions: NDArray[np.float64],
    ) -> xr.Dataset:
        """Train from all starts, and return what came out."""
        starts = _starts(self._random(seed), memorized, controls)
        rows, ends = {}, {}
        for start, model in starts.items():
            for combination in combinations if start in STARTS else [()]:
                network, rows[start, _name(combination)] = self._trained(
                    model, start, combination, seed
                )
                if not combination:
                    ends[start] = network
        found = _stacked(rows, list(starts), list(map(_name, combinations)))
        if self.measures:
            found = found.assign(self._norms_of(starts))
            found = found.assign(self._line(ends["random"], ends["adversarial"], positions))
        return found.assign(self._of_start(memorized["adversarial"]))

    def _random(self, seed: int) -> nn.Module:
        return self.make_model(torch.Generator().manual_seed(seed))

    @contextmanager
    def _named(self, kind: str, start: str, seed: int) -> Iterator[dict[str, Any]]:
        """Yield the name and the checkpoint of a training, and tell the name if it fails."""
        name = f"{kind}, {start}, seed {seed}"
        file = None if self.folder is None else self.folder / f"{name}.pt"
        try:
            yield {"progress": name, "checkpoint": file}
        except ArithmeticError as error:
            error.add_note(f"It was the training {name}.")
            raise

    def _trained(
        self, model: nn.Module, start: str, combination: Combination, seed: int
    ) -> tuple[nn.Module, dict[str, Any]]:
        """Train a copy of the model; return it and what is measured of it."""
        network, sgd = copy.deepcopy(model), dict(self.sgd)
        for name in combination:
            sgd["optimizer_options"] = {**sgd["optimizer_options"], **self.additions[name]}
        data = self.sets.augmented if "augmentation" in combination else self.sets.train
        evaluate = {"test": self.sets.test}
        with self._named(_name(combination), start, seed) as names:
            curve = train(
                network, data, evaluate=evaluate, seed=seed, **names, **sgd, **self.common
            )
        fitted = curve.epoch.values[curve.training_accuracy.values == 1.0]
        row = {
            "training_accuracy": curve.training_accuracy.values,
            "training_loss": curve.training_loss.values,
            "test_accuracy": curve.evaluation_accuracy.values[0],
            "epochs_to_fit": fitted[0] if len(fitted) else np.nan,
            "distance": _distance(model, network),
        }
        return network, row | (self._measured(network) if self.measures else {})

    def _measured(self, network: nn.Module) -> dict[str, float]:
        data = self.sets.train
        noise = gradient_noise_scale(
            network, cross_entropy, data, train_size=len(data), progress=False
        )
        sharpness = keskar_sharpness(network, cross_entropy, data, start="random", progress=False)
        return {
            "sharpness": sharpness.sharpness.item(),
            "noise_scale": noise.noise_scale,
            "noise_trace": noise.noise_trace,
            **weight_norms(network, self.sets.example())._asdict(),
        }

    def _norms_of(self, starts: Mapping[str, nn.Module]) -> dict[str, Any]:
        norms = [weight_norms(model, self.sets.example()) for model in starts.values()]
        return {
            f"start_{name}": ("start", list(values), named(f"{_NORMS[name]} of the start"))
            for name, values in zip(WeightNorms._fields, zip(*norms, strict=True), strict=True)
        }

    def _line(
        self, first: nn.Module, second: nn.Module, positions: NDArray[np.float64]
    ) -> dict[str, Any]:
        found = {}
        for name, data in (("training", self.sets.train), ("test", self.sets.test)):
            losses = line_between(
                first,
                second,
                cross_entropy,
                data,
                position=positions,
                batch_norm="batch",
                batch_size=_even_batches(len(data)),
                progress=False,
            )
            found[f"line_{name}_loss"] = losses.line_loss.assign_attrs(units="nat")
        return found

    def _of_start(self, start: AdversarialStart) -> dict[str, Any]:
        how = {name: self.common[name] for name in ("precision", "channels_last")}
        test = measure(start.model, self.sets.test, **how).accuracy
        values = (start.accuracy, start.epochs, start.ceiling, test)
        return {
            name: ((), value, named(*_CONFUSION[name]))
            for name, value in zip(_CONFUSION, values, strict=True)
        }


def _even_batches(n: int) -> int:
    """Return the size of batches of about 1000, the last no lone example."""
    return math.ceil(n / math.ceil(n / 1000))


def _distance(start: nn.Module, end: nn.Module) -> float:
    pairs = zip(start.parameters(), end.parameters(), strict=True)
    return math.sqrt(
        sum(float((b.detach() - a.detach()).double().square().sum()) for a, b in pairs)
    )


def _stacked(
    rows: Mapping[tuple[str, str], Mapping[str, Any]], starts: list[str], names: list[str]
) -> xr.Dataset:
    """Return rows along start and regularization, NaN where there is none."""
    labels = _CURVES | _NUMBERS | {name: (text, "1") for name, text in _NORMS.items()}
    example = rows["random", "none"]
    along = ("start", "regularization")
    variables: dict[str, Any] = {}
    for name, value in example.items():
        values = np.full((len(starts), len(names), *np.shape(value)), np.nan)
        for (start, regularization), row in rows.items():
            values[starts.index(start), names.index(regularization)] = row[name]
        dims = (*along, "epoch") if name in _CURVES else along
        variables[name] = (dims, values, named(*labels[name]))
    found = xr.Dataset(variables, {"start": starts, "regularization": names})
    found = found.assign_coords(epoch=1 + np.arange(found.sizes["epoch"]))
    fitted = found.training_accuracy.isel(epoch=-1) == 1.0
    return found.assign(fitted=fitted.assign_attrs(named("all of the training set is fitted")))
