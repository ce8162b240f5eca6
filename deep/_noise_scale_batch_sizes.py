"""Smith & Le's batch-size experiments on networks, many of them trained at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from deep._image_pool import ImagePool
from deep.population import Members, train_population
from store.results import ResultStore
from theory._validation import positive_array, positive_integer

_MEASURES = {"train_loss": "nat", "train_accuracy": "1", "test_loss": "nat", "test_accuracy": "1"}
_DIMS = ("seed", "learning_rate", "momentum", "weight_decay", "train_size", "batch_size", "time")


def batch_size_sweep(
    *,
    dataset: str = "digits",
    train_sizes: Sequence[int] = (500,),
    test_size: int = 1200,
    pixel_scale: float = 1.0,
    hidden: int = 100,
    law: str = "glorot",
    learning_rates: Sequence[float] = (0.1,),
    momenta: Sequence[float] = (0.9,),
    dampened: bool = False,
    weight_decays: Sequence[float] = (0.0,),
    batch_sizes: Sequence[int] = (4, 8, 16, 32, 64, 128, 250, 500),
    training_time: float = 200.0,
    looks: int = 1,
    seeds: int = 5,
    data_dir: str | None = None,
    device: str | None = None,
    checkpoints: str | None = None,
) -> xr.Dataset:
    r"""Train a perceptron of one hidden layer at every combination of settings, for several seeds.

    Every run makes ``training_time`` / :math:`\epsilon` updates, so that runs of one call are
    compared at equal time t = updates :math:`\times\,\epsilon`, as in the paper's Figure 5. Batches
    go through the training set in a new order each epoch. Networks that differ in seed, momentum
    and weight decay alone are trained together.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it.
    train_sizes : sequence of int
        N. Each seed draws its own training images; smaller sets are the beginning of larger ones.
    test_size : int
        Images that all seeds are tested on.
    pixel_scale : float
        Inputs are pixels in [0, pixel_scale].
    hidden : int
        Hidden units; the paper has 800.
    law : str
        Law of the initial weights, as :func:`deep.models.build` takes it. The paper's is unknown.
    learning_rates, momenta, weight_decays, batch_sizes : sequence
        ε, m, the L2 coefficient of the mean loss, and B. Where B > N there is no run, and NaN.
    dampened : bool
        Multiply the gradient by 1 - m in the momentum's update.
    training_time : float
        ε times the number of updates.
    looks : int
        Number of evaluations, equally spaced, the last one at the end.
    seeds : int
        Seeds 0 to ``seeds`` - 1 draw images, initial weights and batches.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.
    device : str, optional
        A GPU if there is one.
    checkpoints : str, optional
        Folder for what is finished of each learning rate and N: a run that was killed goes on.

    Returns
    -------
    xarray.Dataset
        ``train_loss``, ``test_loss`` (nats, infinite after divergence), ``train_accuracy`` and
        ``test_accuracy`` along seed, learning_rate, momentum, weight_decay, train_size, batch_size
        and ``time`` (ε × updates), as :func:`sims.noise_scale.batch_size_sweep` gives them.

    Raises
    ------
    ValueError
        If the data set has too few images, or an argument is out of range.

    References
    ----------
    Smith & Le (2018), sections 4 and 5, Figures 3 to 8.
    """
    positive_integer("looks", looks)
    positive_integer("seeds", seeds)
    for name, numbers in (("learning_rates", learning_rates), ("pixel_scale", pixel_scale)):
        positive_array(name, numbers)
    positive_array("training_time", training_time, ndim=0)
    for number, size in enumerate(train_sizes):
        if positive_integer(f"train_sizes[{number}]", size) < min(batch_sizes):
            raise ValueError(f"batch_sizes must hold one of at most N = {size}, got {batch_sizes}")
    source = {
        "dataset": dataset,
        "train_sizes": list(train_sizes),
        "test_size": test_size,
        "seeds": seeds,
        "pixel_scale": pixel_scale,
    }
    pool = ImagePool.drawn(**source, data_dir=data_dir, device=device)
    finished = ResultStore(checkpoints) if checkpoints else None

    def runs(rate: float, size: int) -> xr.Dataset:
        settings = {
            "learning_rate": float(rate),
            "momentum": list(momenta),
            "weight_decay": list(weight_decays),
            "train_size": size,
            "batch_size": [batch for batch in batch_sizes if batch <= size],
            "updates": looks * max(1, round(training_time / rate / looks)),
            "hidden": hidden,
            "law": law,
            "dampened": dampened,
            "looks": looks,
        }
        part = finished.load("part", {**source, **settings}) if finished else None
        if part is None:
            part = _trained(pool, **settings)
            if finished:
                finished.save("part", {**source, **settings}, part)
        return part.reindex(batch_size=list(batch_sizes)).drop_attrs(deep=False)

    rows = [
        xr.concat([runs(rate, size) for size in train_sizes], _axis("train_size", train_sizes))
        for rate in learning_rates
    ]
    times = training_time * np.linspace(0, 1, looks + 1)[1:]
    found = xr.concat(rows, _axis("learning_rate", learning_rates)).assign_coords(time=times)
    return found.transpose(*_DIMS).assign_attrs(classes=pool.classes)


def _axis(name: str, values: Sequence[float]) -> xr.Variable:
    return xr.Variable(name, list(values))


# --- runs -----------------------------------------------------------------------------------------


def _trained(
    pool: ImagePool,
    *,
    learning_rate: float,
    momentum: Sequence[float],
    weight_decay: Sequence[float],
    train_size: int,
    batch_size: Sequence[int],
    updates: int,
    hidden: int,
    law: str,
    dampened: bool,
    looks: int,
) -> xr.Dataset:
    """Train the networks of one learning rate and training-set size."""
    seeds = range(len(pool.orders))
    grid = {
        "seed": seeds,
        "momentum": momentum,
        "weight_decay": weight_decay,
        "batch_size": batch_size,
    }
    members = Members.product(**grid, learning_rate=[learning_rate])
    if dampened:
        settings = {name: getattr(members, name) for name in grid}
        members = Members(learning_rate * (1 - members.momentum), **settings)
    inputs, labels = pool.of_seeds(members.seed, train_size)

    runs = train_population(
        pool.perceptron(hidden, law),
        inputs,
        labels,
        members,
        steps=updates,
        record_every=updates // looks,
        evaluate={"test": pool.test},
    )
    shape = [len(axis) for axis in grid.values()]
    return xr.Dataset(
        {
            name: (
                (*grid, "time"),
                _after_divergence(runs, name).reshape(*shape, looks),
                {"long_name": name.replace("_", " "), "units": units},
            )
            for name, units in _MEASURES.items()
        },
        {name: list(axis) for name, axis in grid.items()},
    )


def _after_divergence(runs: xr.Dataset, name: str) -> NDArray[np.float64]:
    """Return what is recorded (members, looks); a loss is infinite from a divergence on."""
    recorded = runs[name].isel(step=slice(1, None))
    if not name.endswith("loss"):
        return recorded.values
    alive = (runs.diverged_at < 0) | (recorded.step <= runs.diverged_at)
    return recorded.where(alive, np.inf).transpose("member", "step").values
