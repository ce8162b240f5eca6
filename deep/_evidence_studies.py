"""The evidence of networks as experiments: what must hold of it, and which minima it prefers."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from deep._evidence_laplace import (
    NetworkEvidence,
    NotStationaryWarning,
    laplace_log_evidence,
    rescale_layers,
)
from deep._image_pool import NOT_TRAINED_ON, ImagePool
from deep.population import Members, train_population
from theory._validation import positive_array, positive_integer
from theory.evidence import linear_evidence

LABELS = ("true", "random")

_OF_EVIDENCE = {
    "log_evidence": "nat",
    "log_evidence_ratio": "nat",
    "log_occam_factor": "nat",
    "newton_gain": "nat",
    "effective_parameters": "1",
}
_OF_TRAINING = {"train_accuracy": "1", "test_accuracy": "1", "test_loss": "nat"}
_ANNEALED = 0.4  # share of the steps, at the end, in which the learning rate falls to zero


def evidence_of_minima(
    *,
    dataset: str = "digits",
    train_size: int = 300,
    test_size: int = 1200,
    hidden: int = 20,
    law: str = "glorot",
    prior_precisions: Sequence[float] = (0.01, 1.0),
    batch_sizes: Sequence[int] = (4, 8, 16, 32, 64, 128, 300),
    learning_rate: float = 0.1,
    momentum: float = 0.9,
    steps: int = 20_000,
    seeds: int = 5,
    data_dir: str | None = None,
    device: str | None = None,
) -> xr.Dataset:
    r"""Train networks at several batch sizes, on true and on random labels; measure their evidence.

    All are trained to the maximum of their posterior: with weight decay :math:`\lambda/N` on the
    mean loss, at a learning rate that falls to zero in the last two fifths of the steps.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it.
    train_size, test_size : int
        Images that each seed draws for training, and that all are tested on.
    hidden : int
        Units of the one hidden layer.
    law : str
        Law of the initial weights, as :func:`deep.models.build` takes it.
    prior_precisions : sequence of float
        :math:`\lambda`, that of training and of the evidence.
    batch_sizes : sequence of int
        B, at most ``train_size``.
    learning_rate, momentum : float
        Of SGD.
    steps : int
        Updates.
    seeds : int
        Seeds 0 to ``seeds`` - 1 draw images, random labels, initial weights and batches.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.
    device : str, optional
        A GPU if there is one.

    Returns
    -------
    xarray.Dataset
        Along seed, labels ("true", "random"), prior_precision and batch_size: ``log_evidence``,
        ``log_evidence_ratio`` (negative where the network beats chance), ``log_occam_factor``,
        ``newton_gain`` (what is lacking to the maximum; all in nats), ``effective_parameters``;
        ``train_accuracy`` on the labels trained on; ``test_accuracy`` and ``test_loss`` on true
        labels.

    Raises
    ------
    ValueError
        If the data set has too few images, or an argument is out of range.

    References
    ----------
    Smith & Le (2018), sections 2 and 4: that SGD's noise drives it to minima of large evidence is
    the paper's conjecture, which it does not measure.
    """
    steps, train_size = positive_integer("steps", steps), positive_integer("train_size", train_size)
    positive_array("prior_precisions", prior_precisions)
    seeds = positive_integer("seeds", seeds)
    pool = ImagePool.drawn(dataset, data_dir, [train_size], test_size, seeds, 1.0, device)
    axes: dict[str, Sequence[Any]] = {
        "seed": range(seeds),
        "labels": LABELS,
        "prior_precision": list(prior_precisions),
        "batch_size": list(batch_sizes),
    }
    grid = np.meshgrid(*(np.arange(len(axis)) for axis in axes.values()), indexing="ij")
    seed, kind, prior, size = (index.ravel() for index in grid)
    precision = np.asarray(prior_precisions, dtype=float)[prior]
    members = Members(
        learning_rate,
        momentum=momentum,
        weight_decay=precision / train_size,
        batch_size=np.asarray(batch_sizes)[size],
        seed=seed,
    )
    inputs, labels = pool.of_seeds(seed, train_size)
    labels = torch.where(
        torch.as_tensor(kind == 0, device=labels.device)[:, None],
        labels,
        _random(labels, seed, pool.classes),
    )
    make_model = pool.perceptron(hidden, law)
    runs = train_population(
        make_model,
        inputs,
        labels,
        members,
        steps=steps,
        record_every=steps,
        schedule=lambda step: min(1.0, (1.0 - step / steps) / _ANNEALED),
        evaluate={"test": pool.test},
        keep_parameters=True,
    )
    columns = [
        _evidence(make_model, runs.isel(member=member), inputs, labels[member], precision[member])
        for member in range(len(seed))
    ]
    shape = [len(axis) for axis in axes.values()]
    values = {name: np.array([column[name] for column in columns]) for name in _OF_EVIDENCE}
    values |= {name: runs[name].isel(step=-1).values for name in _OF_TRAINING}
    return _dataset(axes, {name: value.reshape(shape) for name, value in values.items()})


def _random(labels: Tensor, seed: NDArray[np.int64], classes: int) -> Tensor:
    """Return labels that each seed draws anew, where there are any."""
    drawn = [
        np.random.default_rng([each, 2]).integers(classes, size=labels.shape[1]) for each in seed
    ]
    noise = torch.as_tensor(np.array(drawn), device=labels.device)
    return noise.where(labels != NOT_TRAINED_ON, NOT_TRAINED_ON)


def _evidence(
    make_model: Any, run: xr.Dataset, inputs: Tensor, labels: Tensor, precision: float
) -> dict[str, float]:
    """Return the evidence of a trained member."""
    model = make_model(torch.Generator())
    state = {name: torch.as_tensor(run[f"parameters.{name}"].values) for name in model.state_dict()}
    model.load_state_dict(state)
    own = labels != NOT_TRAINED_ON
    data = inputs[own], labels[own]
    found = _measured(model.to(inputs.device), data, prior_precision=precision)
    return {name: float(getattr(found, name)) for name in _OF_EVIDENCE}


def _measured(model: nn.Module, data: tuple[Tensor, Tensor], **options: Any) -> NetworkEvidence:
    """Return the evidence, also where the weights are not quite at the posterior's maximum."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotStationaryWarning)
        return laplace_log_evidence(model, data, progress=False, **options)


def evidence_identities(
    *,
    train_size: int = 60,
    n_features: int = 20,
    hidden: int = 12,
    prior_precisions: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
    scales: Sequence[float] = (1e-3, 1e-2, 0.1, 10.0, 100.0, 1e3),
    seed: int = 0,
) -> xr.Dataset:
    r"""Check of the networks' evidence what must hold: exactness, the null model, invariance.

    Parameters
    ----------
    train_size, n_features : int
        Of a Gaussian linear model, for which Laplace's approximation is exact.
    hidden : int
        Hidden units of a perceptron on as many digits, trained for :math:`\lambda = 1`.
    prior_precisions : sequence of float
        Of the linear model.
    scales : sequence of float
        a, by which the perceptron's first layer is multiplied and its second divided.
    seed : int
        Draws data, images and initial weights.

    Returns
    -------
    xarray.Dataset
        ``linear_error`` (nats) along curvature and prior_precision: the log evidence less the exact
        one; ``null_ratio`` (nats): that of the perceptron at :math:`\lambda = 10^6`, with the
        weights at 0; along scale ``rescaled`` (nats), the log evidence with rescaled layers and
        priors less that without, ``log_evidence`` without, and ``sharpness``, the trace of the
        first layer's curvature.

    Raises
    ------
    ValueError
        If a number is not positive.

    References
    ----------
    Smith & Le (2018), equations 7 to 10 and section 2; Dinh et al. (2017).
    """
    rng = np.random.default_rng(seed)
    positive_integer("train_size", train_size)
    positive_array("scales", scales)
    errors = _linear_errors(rng, train_size, n_features, prior_precisions)
    model, data = _trained_perceptron(train_size, hidden, seed)
    still = _copied(model, 0.0 * nn.utils.parameters_to_vector(model.parameters()))
    null = _measured(still, data, prior_precision=1e6).log_evidence_ratio
    reference = float(_measured(model, data, prior_precision=1.0).log_evidence)
    rescaled, sharpness = [], []
    for scale in scales:
        other, prior = rescale_layers(model, 1.0, first="1", second="3", scale=scale)
        found = _measured(other, data, prior_precision=prior)
        rescaled.append(float(found.log_evidence) - reference)
        sharpness.append(_first_layer_curvature(other, data))
    return xr.Dataset(
        {
            "linear_error": (("curvature", "prior_precision"), errors, _named("error", "nat")),
            "null_ratio": ((), float(null), _named("log evidence ratio at λ = 1e6", "nat")),
            "rescaled": ("scale", rescaled, _named("change of the log evidence", "nat")),
            "log_evidence": ((), reference, _named("log evidence", "nat")),
            "sharpness": ("scale", sharpness, _named("trace of the first layer's curvature", "1")),
        },
        {
            "curvature": ["full", "dual"],
            "prior_precision": list(prior_precisions),
            "scale": list(scales),
        },
    )


def _linear_errors(
    rng: np.random.Generator, n: int, d: int, prior_precisions: Sequence[float]
) -> NDArray[np.float64]:
    X, noise = rng.standard_normal((n, d)), 4.0
    y = X @ rng.standard_normal(d) + rng.standard_normal(n) / noise**0.5
    errors = np.empty((2, len(prior_precisions)))
    for k, precision in enumerate(prior_precisions):
        exact = linear_evidence(X, y, prior_precision=precision, noise_precision=noise)
        weights = np.linalg.solve(noise * X.T @ X + precision * np.eye(d), noise * X.T @ y)
        model = nn.Linear(d, 1, bias=False, dtype=torch.float64)
        model = _copied(model, torch.as_tensor(weights))
        for j, curvature in enumerate(("full", "dual")):
            found = _measured(
                model,
                (torch.as_tensor(X), torch.as_tensor(y)),
                prior_precision=precision,
                loss="squared_error",
                noise_precision=noise,
                curvature=curvature,
            )
            errors[j, k] = float(found.log_evidence - exact.log_evidence)
    return errors


def _trained_perceptron(n: int, hidden: int, seed: int) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """Return a perceptron at a maximum of its posterior for λ = 1, in float64, and its digits."""
    pool = ImagePool.drawn("digits", None, [n], 360, 1, 1.0, "cpu")
    model = pool.perceptron(hidden, "glorot")(torch.Generator().manual_seed(seed)).double()
    rows = torch.as_tensor(np.random.default_rng([seed, 3]).permutation(len(pool.labels))[:n])
    X, y = pool.inputs[rows].double(), pool.labels[rows]
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=300, line_search_fn="strong_wolfe")

    def posterior() -> Tensor:
        optimizer.zero_grad()
        squares = sum((part**2).sum() for part in model.parameters())
        value = cross_entropy(model(X), y, reduction="sum") + 0.5 * squares
        value.backward()
        return value

    optimizer.step(posterior)
    return model, (X, y)


def _copied(model: nn.Module, weights: Tensor) -> nn.Module:
    """Return the model with other weights (P,)."""
    other = copy.deepcopy(model)
    with torch.no_grad():
        nn.utils.vector_to_parameters(weights.detach().clone(), other.parameters())
    return other


def _first_layer_curvature(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    """Return the trace of the first layer's block of the Gauss-Newton matrix."""
    X, _ = data
    logits = model(X)
    probabilities = logits.softmax(1).detach()
    first = next(model.parameters())
    total = 0.0
    for example in range(len(X)):
        rows = torch.stack(
            [
                torch.autograd.grad(logits[example, k], first, retain_graph=True)[0].flatten()
                for k in range(logits.shape[1])
            ]
        )
        mean = probabilities[example] @ rows
        total += float((probabilities[example] @ rows**2).sum() - (mean**2).sum())
    return total


def _named(long_name: str, units: str) -> dict[str, str]:
    return {"long_name": long_name, "units": units}


def _dataset(axes: dict[str, Sequence[Any]], values: dict[str, NDArray[np.float64]]) -> xr.Dataset:
    units = _OF_EVIDENCE | _OF_TRAINING
    return xr.Dataset(
        {
            name: (tuple(axes), value, _named(name.replace("_", " "), units[name]))
            for name, value in values.items()
        },
        {name: list(axis) for name, axis in axes.items()},
    )
