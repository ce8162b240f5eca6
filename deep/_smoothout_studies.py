"""SmoothOut as experiments: what it does to test error and sharpness, and what must hold of it."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import Optimizer

from deep import models
from deep._image_pool import image_tensors
from deep._smoothout_optimizer import AdaSmoothOut, SmoothOut
from deep.curvature import (
    expected_sharpness,
    hessian_trace,
    keskar_sharpness,
    rescaling_test,
    section,
)
from deep.population import example_order
from store import corruption, datasets
from theory._validation import (
    finite_array,
    nonnegative_number,
    positive_array,
    positive_integer,
    positive_number,
)

METHODS = ("smoothout", "adasmoothout", "normal noise", "noise kept", "sam")
OPTIMIZERS = ("sgd", "adam")

_DROPS = (0.6, 0.85)  # shares of the epochs after which the learning rate falls to a tenth


def generalization(
    *,
    dataset: str = "digits",
    train_size: int = 300,
    test_size: int = 1497,
    widths: Sequence[int] = (128, 128),
    label_noise: float = 0.0,
    optimizer: str = "sgd",
    learning_rate: float = 0.05,
    batch_size: int = 25,
    micro_batches: int = 1,
    epochs: int = 100,
    method: str = "smoothout",
    strengths: Sequence[float] = (0.0, 0.1),
    sharpness: bool = False,
    epsilons: Sequence[float] = (1e-3, 5e-3),
    noises: Sequence[float] = (0.02, 0.05, 0.06, 0.1, 0.12, 0.2),
    draws: int = 20,
    probes: int = 32,
    directions: int = 5,
    seed: int = 0,
    data_dir: str | None = None,
    device: str | None = None,
) -> xr.Dataset:
    r"""Train one perceptron without noise and under noise of several strengths; test them.

    Whatever the method and strength, a seed has the same images, initial weights and order of the
    examples, so that runs are compared in pairs. The learning rate falls to a tenth after 60 % of
    the epochs, and again after 85 %.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it; its pixels are scaled to [0, 1].
    train_size, test_size : int
        Images that the seed draws for training and for the test, without overlap.
    widths : sequence of int
        Units of the hidden layers, with ReLU.
    label_noise : float
        Probability with which a training label is replaced by one drawn uniformly from all classes.
    optimizer : {"sgd", "adam"}
        SGD with momentum 0.9, or Adam with the usual numbers.
    learning_rate, batch_size, epochs : float, int, int
        Of training.
    micro_batches : int
        Parts into which each batch is split, each with noise of its own.
    method : {"smoothout", "adasmoothout", "normal noise", "noise kept", "sam"}
        SmoothOut with uniform noise; AdaSmoothOut; SmoothOut with normal noise of the variance that
        uniform noise of this strength has; uniform noise that is not removed before the step; or
        SAM of the package pytorch_optimizer, which must be installed.
    strengths : sequence of float
        a ≥ 0, or SAM's :math:`\rho`; 0 is the optimizer itself, whatever the method.
    sharpness : bool
        Whether to measure the training loss around the end points.
    epsilons : sequence of float
        Of :func:`deep.curvature.keskar_sharpness`.
    noises, draws : sequence of float, int
        Of :func:`deep.curvature.expected_sharpness`, with uniform noise.
    probes : int
        Of :func:`deep.curvature.hessian_trace`.
    directions : int
        Lines along which the loss is followed, normalized by filters.
    seed : int
        Draws images, label noise, weights, order and noise.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.
    device : str, optional
        A GPU if there is one.

    Returns
    -------
    xarray.Dataset
        Along strength: ``test_error`` on true labels, ``training_error`` and ``training_loss`` on
        the labels trained on. With ``sharpness`` also ``keskar_sharpness`` (percent) along epsilon;
        ``expected_sharpness`` along noise; ``hessian_trace`` and ``hessian_trace_error``; along
        direction ``section``, the loss at a distance of -1.5 to 1.5 filter lengths, and
        ``valley_width``, that of the places where it is below twice its least value plus 0.1.

    Raises
    ------
    ValueError
        If the data set has too few images, a name is unknown, a number is out of range, or
        pytorch_optimizer is lacking.

    Notes
    -----
    Noise and initial weights are drawn by two generators of one seed, so that the first noise of a
    run is not independent of the weights it meets; all others are.

    References
    ----------
    Wen et al. (2018), with Keskar et al. (2017)'s large and small batches.

    Examples
    --------
    >>> found = generalization(train_size=100, test_size=100, epochs=50, strengths=[0.0, 0.1])
    >>> found.test_error.dims, bool((found.test_error < 0.5).all())
    (('strength',), True)
    """
    recipe = Recipe(
        optimizer, learning_rate, batch_size, micro_batches, epochs, method, seed
    ).checked()
    strengths = finite_array("strengths", strengths, ndim=1).tolist()
    for strength in strengths:
        nonnegative_number("strengths", strength)
    if method == "sam" and any(strengths):
        _sam()
    if sharpness:
        noises = positive_array("noises", noises, ndim=1).tolist()
        epsilons = positive_array("epsilons", epsilons, ndim=1).tolist()
        positive_integer("directions", directions)
        for name, count in (("draws", draws), ("probes", probes)):
            positive_integer(name, count, minimum=2)
    images = _Images.drawn(dataset, data_dir, train_size, test_size, label_noise, seed, device)
    rows = []
    for strength in strengths:
        model = images.perceptron(widths, seed)
        recipe.train(model, images.train, strength)
        row = _errors(model, images)
        if sharpness:
            row |= _around(model, images.train, epsilons, noises, draws, probes, directions, seed)
        rows.append(row)
    axes = {"strength": strengths}
    if sharpness:
        axes |= {"epsilon": epsilons, "noise": noises, "distance": _DISTANCES.tolist()}
    return _table(rows, axes)


# --- data -----------------------------------------------------------------------------------------


class _Images(NamedTuple):
    """Inputs (n, channels, height, width) and labels (n,) to train on and to test."""

    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    classes: int

    @staticmethod
    def drawn(
        dataset: str,
        data_dir: str | None,
        train_size: int,
        test_size: int,
        label_noise: float,
        seed: int,
        device: str | None,
    ) -> _Images:
        train, test = datasets.draw(dataset, data_dir, train_size, test_size, seed=seed)
        classes = 1 + int(max(train.labels.max(), test.labels.max()))
        rng = np.random.default_rng([seed, 2])
        labels = corruption.corrupt_labels(train.labels, label_noise, classes, rng).labels
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")

        def tensors(images: datasets.LabeledImages, labels: NDArray[Any]) -> tuple[Tensor, Tensor]:
            pixels, _ = image_tensors(images, place)
            return pixels, torch.as_tensor(labels, device=place)

        return _Images(tensors(train, labels), tensors(test, test.labels), classes)

    def perceptron(self, widths: Sequence[int], seed: int) -> nn.Module:
        inputs, _ = self.train
        return models.build(
            "mlp",
            input_shape=inputs.shape[1:],
            classes=self.classes,
            widths=tuple(widths),
            generator=torch.Generator().manual_seed(seed),
            device="cpu",
        ).to(inputs.device)


# --- training -------------------------------------------------------------------------------------


class Recipe(NamedTuple):
    """How a network is trained, but for the strength of the noise."""

    optimizer: str
    learning_rate: float
    batch_size: int
    micro_batches: int
    epochs: int
    method: str
    seed: int

    def checked(self) -> Recipe:
        """Return it, or raise ValueError."""
        for name, known in (("optimizer", OPTIMIZERS), ("method", METHODS)):
            if getattr(self, name) not in known:
                given = getattr(self, name)
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {given!r}")
        positive_number("learning_rate", self.learning_rate)
        for name in ("batch_size", "micro_batches", "epochs"):
            positive_integer(name, getattr(self, name))
        if self.method == "sam" and self.micro_batches > 1:
            raise ValueError(
                f"micro_batches must be 1 for SAM, whose batch moves as one: {self.micro_batches}"
            )
        return self

    def train(self, model: nn.Module, data: tuple[Tensor, Tensor], strength: float) -> None:
        """Train the network where it is."""
        inputs, labels = data
        inner, step = self._optimizer(model, strength)
        seeds = torch.tensor([self.seed], device=labels.device)
        drops = [round(share * self.epochs) for share in _DROPS]
        schedule = torch.optim.lr_scheduler.MultiStepLR(inner, drops)

        def add_gradients(rows: Tensor, share: float = 1.0) -> None:
            torch.autograd.backward(share * cross_entropy(model(inputs[rows]), labels[rows]))

        for epoch in range(self.epochs):
            order = example_order(seeds, epoch, len(labels))[0]
            for rows in torch.split(order, self.batch_size):
                inner.zero_grad()
                step(rows, add_gradients)
            schedule.step()

    def _optimizer(
        self, model: nn.Module, strength: float
    ) -> tuple[Optimizer, Callable[..., None]]:
        """Return what moves the weights, and how a step is made of a batch's gradients."""
        kind: Any = torch.optim.Adam
        options: dict[str, Any] = {"lr": self.learning_rate}
        if self.optimizer == "sgd":
            kind, options = torch.optim.SGD, {**options, "momentum": 0.9}
        if self.method == "sam" and strength:
            sam = _sam()(model.parameters(), kind, rho=strength, **options)
            return sam.base_optimizer, _ascending(sam)
        inner = kind(model.parameters(), **options)
        moving, noisy = self._noise(model, inner, strength)

        def step(rows: Tensor, add_gradients: Callable[..., None]) -> None:
            for part in rows.chunk(self.micro_batches):
                with noisy():
                    add_gradients(part, len(part) / len(rows))
            moving.step()

        return inner, step

    def _noise(
        self, model: nn.Module, inner: Optimizer, strength: float
    ) -> tuple[Optimizer, Callable[[], contextlib.AbstractContextManager[Any]]]:
        """Return the optimizer with this method's noise, and where gradients are taken."""
        if not strength:
            return inner, contextlib.nullcontext
        if self.method == "noise kept":
            generator = torch.Generator(next(model.parameters()).device).manual_seed(self.seed)
            return inner, lambda: _noise_kept(model, strength, generator)
        how: dict[str, Any] = {"strength": strength, "generator": self.seed}
        if self.method == "normal noise":
            how |= {"noise": "normal", "strength": strength / 3**0.5}
        moving = SmoothOut(inner, model, adaptive=self.method == "adasmoothout", **how)
        return moving, moving.perturbed


@contextlib.contextmanager
def _noise_kept(model: nn.Module, strength: float, generator: torch.Generator) -> Iterator[None]:
    with torch.no_grad():
        for part in model.parameters():
            part.add_(torch.empty_like(part).uniform_(-strength, strength, generator=generator))
    yield


def _ascending(sam: Any) -> Callable[..., None]:
    def step(rows: Tensor, add_gradients: Callable[..., None]) -> None:
        add_gradients(rows)
        sam.first_step(zero_grad=True)
        add_gradients(rows)
        sam.second_step(zero_grad=True)

    return step


def _sam() -> Any:
    try:
        return importlib.import_module("pytorch_optimizer").SAM
    except ModuleNotFoundError:
        raise ValueError(
            "method 'sam' takes the package pytorch_optimizer, which is not installed"
        ) from None


# --- measures -------------------------------------------------------------------------------------

_DISTANCES = np.linspace(-1.5, 1.5, 61)


def _errors(model: nn.Module, images: _Images) -> dict[str, Any]:
    with torch.no_grad():
        outputs = [model(inputs) for inputs, _ in (images.train, images.test)]
    wrong = [
        float((output.argmax(1) != labels).double().mean())
        for output, (_, labels) in zip(outputs, (images.train, images.test), strict=True)
    ]
    loss = float(cross_entropy(outputs[0], images.train[1]))
    return {"test_error": wrong[1], "training_error": wrong[0], "training_loss": loss}


def _around(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    epsilons: Sequence[float],
    noises: Sequence[float],
    draws: int,
    probes: int,
    directions: int,
    seed: int,
) -> dict[str, Any]:
    """Return how sharp the training loss is around the weights."""
    at: tuple[Any, ...] = (model, cross_entropy, data)
    chance: dict[str, Any] = {"seed": seed, "progress": False}
    trace = hessian_trace(*at, probes=probes, **chance)
    lines = [
        section(*at, x=_DISTANCES, seed=line, progress=False).section.values
        for line in range(directions)
    ]
    noisy = expected_sharpness(*at, strength=noises, draws=draws, **chance)
    return {
        "keskar_sharpness": keskar_sharpness(
            *at, epsilon=epsilons, progress=False
        ).sharpness.values[:, 0],
        "expected_sharpness": noisy.expected_sharpness.values,
        "hessian_trace": float(trace.hessian_trace),
        "hessian_trace_error": float(trace.standard_error),
        "section": np.array(lines),
        "valley_width": np.array([_width(line) for line in lines]),
    }


def _width(values: NDArray[np.float64]) -> float:
    """Return how much of a line lies below twice its least value plus 0.1."""
    between = np.linspace(_DISTANCES[0], _DISTANCES[-1], 3001)
    low = np.interp(between, _DISTANCES, values) < 2.0 * values.min() + 0.1
    return float(np.mean(low) * np.ptp(_DISTANCES))


_NAMES = {
    "test_error": ((), "test error", "1"),
    "training_error": ((), "training error, on the labels trained on", "1"),
    "training_loss": ((), "training loss", "nat"),
    "keskar_sharpness": (("epsilon",), "Keskar sharpness", "percent"),
    "expected_sharpness": (("noise",), "mean rise of the training loss under noise", "nat"),
    "hessian_trace": ((), "trace of the Hessian", "nat"),
    "hessian_trace_error": ((), "its standard error", "nat"),
    "section": (("direction", "distance"), "training loss along a line", "nat"),
    "valley_width": (("direction",), "width of the valley along a line", "filter length"),
}


def _table(rows: list[dict[str, Any]], axes: dict[str, Sequence[float]]) -> xr.Dataset:
    return xr.Dataset(
        {
            name: (
                ("strength", *_NAMES[name][0]),
                np.array([row[name] for row in rows]),
                {"long_name": _NAMES[name][1], "units": _NAMES[name][2]},
            )
            for name in rows[0]
        },
        axes,
    )


# --- what must hold -------------------------------------------------------------------------------


def smoothout_identities(
    *,
    train_size: int = 100,
    widths: Sequence[int] = (16, 16),
    epochs: int = 200,
    learning_rate: float = 0.1,
    scales: Sequence[float] = (0.1, 10.0),
    strength: float = 0.05,
    filter_strength: float = 0.3,
    draws: int = 1000,
    probes: int = 1500,
    coordinates: int = 8,
    seed: int = 0,
) -> xr.Dataset:
    r"""Check on a network trained on digits what must hold of SmoothOut and of sharpness.

    Parameters
    ----------
    train_size, widths, epochs, learning_rate : int, sequence of int, int, float
        Full-batch training of a ReLU perceptron; all else is done in float64.
    scales : sequence of float
        :math:`\alpha`, by which the first layer is multiplied and the second divided.
    strength, filter_strength : float
        a of SmoothOut and of AdaSmoothOut.
    draws : int
        Noises.
    probes : int
        Of :func:`deep.curvature.hessian_trace`, exact from the number of parameters on.
    coordinates : int
        Weights whose smoothed gradient is computed by the faces of the box.
    seed : int
        Draws images, weights, noise and coordinates.

    Returns
    -------
    xarray.Dataset
        Along scale, as :func:`deep.curvature.rescaling_test` gives them: ``function_change``,
        ``hessian_trace``, ``predicted_trace``, ``expected_sharpness`` and ``filter_sharpness`` with
        their errors. ``plain_at_one``, ``filter_at_one`` and ``filter_at_one_error``: the last two
        at scale 1. Along coordinate ``gradient_deviation``: the mean of the gradient at noisy
        weights less the smoothed loss's,
        :math:`(\bar C_{w_i = w_i + a} - \bar C_{w_i = w_i - a})/2a`, in standard errors.
        ``length_error``: of AdaSmoothOut's noise, the largest relative error of a filter's length.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Wen et al. (2018), equation 3 and AdaSmoothOut; Dinh et al. (2017).
    """
    for name, count in (("draws", draws), ("probes", probes), ("coordinates", coordinates)):
        positive_integer(name, count, minimum=2)
    for name, value in (("strength", strength), ("filter_strength", filter_strength)):
        positive_number(name, value)
    scales = positive_array("scales", scales, ndim=1).tolist()
    images = _Images.drawn("digits", None, train_size, 1, 0.0, seed, "cpu")
    model = images.perceptron(widths, seed)
    Recipe("sgd", learning_rate, train_size, 1, epochs, "smoothout", seed).checked().train(
        model, images.train, 0.0
    )
    model, data = model.double(), (images.train[0].double(), images.train[1])
    first, second = [name for name, part in model.named_modules() if isinstance(part, nn.Linear)][
        :2
    ]
    found = rescaling_test(
        model,
        cross_entropy,
        data,
        first=first,
        second=second,
        scale=[1.0, *scales],
        strength=strength,
        filter_strength=filter_strength,
        draws=min(draws, 100),
        probes=probes,
        seed=seed,
        progress=False,
    )
    kept = found[list(_OF_RESCALING)]
    at_one = kept.sel(scale=1.0, drop=True)
    return kept.isel(scale=slice(1, None)).assign(
        plain_at_one=at_one.expected_sharpness,
        filter_at_one=at_one.filter_sharpness,
        filter_at_one_error=at_one.filter_sharpness_error,
        gradient_deviation=_gradient_deviation(model, data, strength, draws, coordinates, seed),
        length_error=_length_error(model, filter_strength, seed),
    )


_OF_RESCALING = (
    "function_change",
    "hessian_trace",
    "predicted_trace",
    "expected_sharpness",
    "expected_sharpness_error",
    "filter_sharpness",
    "filter_sharpness_error",
)


def _gradient_deviation(
    model: nn.Module,
    data: tuple[Tensor, Tensor],
    strength: float,
    draws: int,
    coordinates: int,
    seed: int,
) -> xr.DataArray:
    """Return the noisy gradient's mean less the box's faces' difference, in standard errors."""
    parts = list(model.parameters())
    smooth = SmoothOut(torch.optim.SGD(parts, lr=1.0), model, strength=strength, generator=seed)
    clean = nn.utils.parameters_to_vector(parts).detach()
    rng = np.random.default_rng([seed, 3])
    inputs, labels = data
    at_clean = torch.autograd.grad(cross_entropy(model(inputs), labels), parts)
    live = nn.utils.parameters_to_vector(at_clean).nonzero()[:, 0].numpy()
    chosen = torch.as_tensor(rng.choice(live, coordinates, replace=False))

    def loss_at(weights: Tensor) -> Tensor:
        with torch.no_grad():
            nn.utils.vector_to_parameters(weights, parts)
            return cross_entropy(model(inputs), labels)

    difference = torch.empty(draws, coordinates, dtype=torch.float64)
    for draw in range(draws):
        with smooth.perturbed():
            gradients = torch.autograd.grad(cross_entropy(model(inputs), labels), parts)
            noisy = nn.utils.parameters_to_vector(parts).detach().clone()
        difference[draw] = nn.utils.parameters_to_vector(gradients)[chosen]
        for number, place in enumerate(chosen):
            above, below = noisy.clone(), noisy.clone()
            above[place], below[place] = clean[place] + strength, clean[place] - strength
            rise = (loss_at(above) - loss_at(below)) / (2.0 * strength)
            difference[draw, number] -= rise
        loss_at(clean)
    error = difference.std(dim=0) / draws**0.5
    return xr.DataArray(
        (difference.mean(dim=0) / error).numpy(),
        dims="coordinate",
        attrs={"long_name": "deviation of the mean gradient", "units": "standard errors"},
    )


def _length_error(model: nn.Module, strength: float, seed: int) -> float:
    """Return the largest relative error of a filter's noise, over the weight matrices."""
    weights = [part for part in model.parameters() if part.ndim > 1]
    clean = [part.detach().clone() for part in weights]
    smooth = AdaSmoothOut(
        torch.optim.SGD(model.parameters(), lr=1.0), model, strength=strength, generator=seed
    )
    with smooth.perturbed():
        shares = [
            (part.detach() - before).norm(dim=1) / before.norm(dim=1)
            for part, before in zip(weights, clean, strict=True)
        ]
    return float((torch.cat(shares) / strength - 1.0).abs().max())
