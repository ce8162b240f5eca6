"""One loop for one network: training that can be killed at any moment and goes on in the same bits.

All that is random, the order of the examples, their augmentation and what the network's own layers
draw, is a function of the seed and of the position in training. A checkpoint therefore needs no
state of generators, and torch's global generators are as they were when training returns.

Started by torchrun, the same call trains with all its processes: each takes its part of every
batch. Batch normalization then takes the statistics of each part, as is usual.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
import torch
import xarray as xr
from torch import Tensor, nn, optim
from torch.optim import lr_scheduler
from tqdm import tqdm

from deep import _training_checkpoint as checkpoints
from deep._training_processes import Processes, join
from deep._training_step import (
    LOSSES,
    PRECISIONS,
    LaunchedStep,
    RecordedStep,
    Scorer,
    arithmetic,
)
from deep.loader import DeviceDataset
from theory._validation import positive_integer

__all__ = ["DivergenceError", "Measurement", "measure", "train"]

_NEED_A_CLOSURE = {"LBFGS"}
_MADE_OF_SCHEDULERS = {"ChainedScheduler", "SequentialLR"}


class DivergenceError(ArithmeticError):
    """The loss or the weights are not finite any more.

    Attributes
    ----------
    epoch, step : int
        Where it was noticed first: the epoch and the batch in it, counted from 1.
    """

    def __init__(self, what: str, epoch: int, step: int, steps: int) -> None:
        super().__init__(f"{what} in epoch {epoch}, step {step} of {steps}")
        self.epoch = epoch
        self.step = step


class Measurement(NamedTuple):
    """Mean loss and share of right answers of a network on a data set.

    Attributes
    ----------
    loss : float
        Mean over the examples.
    accuracy : float
        In [0, 1].
    """

    loss: float
    accuracy: float


@dataclass(frozen=True, slots=True)
class _Settings:
    """The arguments of :func:`train` that decide its result."""

    epochs: int
    batch_size: int
    optimizer: str
    optimizer_options: Mapping[str, Any]
    scheduler: str | None
    scheduler_options: Mapping[str, Any]
    scheduler_step: str
    loss: str
    evaluate_every: int
    evaluation_batch_size: int
    stop_at_accuracy: float | None
    precision: str
    channels_last: bool
    seed: int

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "evaluate_every", "evaluation_batch_size"):
            positive_integer(name, getattr(self, name))
        positive_integer("seed", self.seed, minimum=0)
        _choice("optimizer", self.optimizer, _optimizers())
        if self.scheduler is not None:
            _choice("scheduler", self.scheduler, _schedulers())
        _choice("scheduler_step", self.scheduler_step, ["epoch", "update"])
        if (self.scheduler, self.scheduler_step) == ("ReduceLROnPlateau", "update"):
            raise ValueError("scheduler_step must be 'epoch' for ReduceLROnPlateau")
        _choice("loss", self.loss, LOSSES)
        _choice("precision", self.precision, PRECISIONS)
        if self.stop_at_accuracy is not None and not 0.0 < self.stop_at_accuracy <= 1.0:
            raise ValueError(f"stop_at_accuracy must be in (0, 1], got {self.stop_at_accuracy}")


def train(
    model: nn.Module,
    data: DeviceDataset,
    *,
    epochs: int,
    batch_size: int,
    optimizer: str = "SGD",
    optimizer_options: Mapping[str, Any] | None = None,
    scheduler: str | None = None,
    scheduler_options: Mapping[str, Any] | None = None,
    scheduler_step: str = "epoch",
    loss: str = "cross_entropy",
    evaluate: Mapping[str, DeviceDataset] | None = None,
    evaluate_every: int = 1,
    evaluation_batch_size: int = 512,
    stop_at_accuracy: float | None = None,
    precision: str = "float32",
    channels_last: bool = False,
    compile: bool = False,
    cuda_graph: bool = False,
    seed: int = 0,
    checkpoint: Path | str | None = None,
    checkpoint_every: int | None = None,
    progress: bool | str | None = None,
    device: torch.device | str | None = None,
) -> xr.Dataset:
    """Train a network in place.

    With ``checkpoint``, a run that was killed goes on from its last checkpoint when the same call
    is made again, and a finished one returns at once. On a CPU, the weights and all numbers but the
    times are then the same bits as those of a run that was never killed.

    Parameters
    ----------
    model : torch.nn.Module
        Takes a batch of inputs (B, …) and returns (B, n_classes). It is moved to the device and the
        type of ``precision``, and is in evaluation mode when training returns.
    data : DeviceDataset
        What it is trained on, with its augmentation. An epoch takes every example once; its last
        batch may be smaller.
    epochs : int
    batch_size : int
        Of all processes together.
    optimizer : str
        A class of :mod:`torch.optim`, such as "SGD" or "AdamW".
    optimizer_options : mapping, optional
        Its keyword arguments, such as ``{"lr": 0.1, "momentum": 0.9}``.
    scheduler : str, optional
        A class of :mod:`torch.optim.lr_scheduler`.
    scheduler_options : mapping, optional
        Its keyword arguments.
    scheduler_step : {"epoch", "update"}
        What the scheduler counts.
    loss : {"cross_entropy", "squared_error"}
        The mean over a batch is minimized; "squared_error" is the mean squared distance from the
        unit vector of the class, per output.
    evaluate : mapping of str to DeviceDataset, optional
        Data sets on which the network is measured, without augmentation.
    evaluate_every : int
        Epochs between measurements, those on the training data included. The last epoch always has
        one.
    evaluation_batch_size : int
    stop_at_accuracy : float, optional
        Stop after the first measured epoch with at least this accuracy on the training data,
        without augmentation.
    precision : {"float32", "tf32", "bfloat16", "float64"}
        "tf32" and "bfloat16" keep float32 weights. "tf32" needs CUDA.
    channels_last : bool
        Layout of images and of convolutions' weights.
    compile : bool
        Use :func:`torch.compile` for the training steps. Needs CUDA.
    cuda_graph : bool
        Replay forward and backward as a CUDA graph, which pays for networks whose kernels are
        shorter than their launch. Needs CUDA and one process.
    seed : int
        Of order, augmentation and random layers. The initial weights are the model's.
    checkpoint : Path or str, optional
        File from which training goes on and in which its state is kept.
    checkpoint_every : int, optional
        Updates between checkpoints. There is one after every epoch anyway.
    progress : bool or str, optional
        Show a bar; None shows it on a terminal alone, and so does the name that it shall have.
    device : torch.device, str or None
        None is where the data is.

    Returns
    -------
    xarray.Dataset
        Along ``epoch``, from 1: ``online_loss`` and ``online_accuracy``, means over the batches as
        they were trained on; ``training_loss`` and ``training_accuracy`` at the epoch's end,
        without augmentation; ``learning_rate`` of the last update; ``seconds`` of its updates,
        without measurements, and ``images_per_second``. Along ``evaluation`` and ``epoch``:
        ``evaluation_loss`` and ``evaluation_accuracy``. NaN where there was no measurement. The
        attribute ``stopped_early`` is 1 if ``stop_at_accuracy`` was reached before the last epoch.

    Raises
    ------
    DivergenceError
        If the loss or a weight is NaN or infinite. The checkpoint is of before; there may be up to
        an epoch between, since the losses are looked at together.
    OSError
        If a checkpoint cannot be written. The older one is untouched.
    ValueError
        If an argument is out of its range, the outputs do not fit the labels, or ``checkpoint`` is
        damaged or that of another study: its first different parameter is named. Nothing has been
        trained then.
    TypeError
        If an option is neither a number, string, boolean, None nor a list or mapping of these.

    Examples
    --------
    >>> from deep.loader import to_device
    >>> from store.datasets import load
    >>> digits = to_device(load("digits"))
    >>> with torch.random.fork_rng([]):
    ...     _ = torch.manual_seed(0)
    ...     model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    >>> curve = train(model, digits, epochs=3, batch_size=32, optimizer_options={"lr": 0.2})
    >>> curve.sizes["epoch"], bool(curve.training_accuracy[-1] > 0.9)
    (3, True)
    """
    settings = _Settings(
        epochs=epochs,
        batch_size=batch_size,
        optimizer=optimizer,
        optimizer_options=_plain("optimizer_options", optimizer_options),
        scheduler=scheduler,
        scheduler_options=_plain("scheduler_options", scheduler_options),
        scheduler_step=scheduler_step,
        loss=loss,
        evaluate_every=evaluate_every,
        evaluation_batch_size=evaluation_batch_size,
        stop_at_accuracy=stop_at_accuracy,
        precision=precision,
        channels_last=channels_last,
        seed=seed,
    )
    if checkpoint_every is not None:
        positive_integer("checkpoint_every", checkpoint_every)
    processes = join(data.labels.device if device is None else device)
    _check_machine(processes, settings, len(data), compile, cuda_graph)
    data = data.to(processes.device)
    others = {name: part.to(processes.device) for name, part in (evaluate or {}).items()}
    with _own_randomness(processes.device), arithmetic(precision, processes.device):
        _place(model, settings, processes.device)
        _check_outputs(_scorer(model, settings, processes.device), data, others)
        run = _Run(model, data, others, settings, processes, compile, cuda_graph)
        if checkpoint is not None:
            run.keep(Path(checkpoint), checkpoint_every)
        name, shown = (progress, None) if isinstance(progress, str) else ("training", progress)
        hidden = True if processes.rank else None if shown is None else not shown
        run.train(name, hidden)
    return run.result()


def measure(
    model: nn.Module,
    data: DeviceDataset,
    *,
    loss: str = "cross_entropy",
    batch_size: int = 512,
    precision: str = "float32",
    channels_last: bool = False,
) -> Measurement:
    """Measure a network on a data set: in evaluation mode, without augmentation.

    The sums stay on the device until the end; the host waits once.

    Parameters
    ----------
    model : torch.nn.Module
        On the data's device, in the type of ``precision``. Its mode is restored.
    data : DeviceDataset
    loss, precision, channels_last
        As :func:`train` takes them.
    batch_size : int

    Returns
    -------
    Measurement

    Raises
    ------
    ValueError
        If an argument is out of its range, or the outputs do not fit the labels.
    """
    _choice("loss", loss, LOSSES)
    _choice("precision", precision, PRECISIONS)
    positive_integer("batch_size", batch_size)
    device = data.labels.device
    scorer = Scorer(
        model, loss=loss, precision=precision, channels_last=channels_last, device=device
    )
    with arithmetic(precision, device):
        _check_outputs(scorer, None, {"data": data})
        return _measured(scorer, data, batch_size, Processes(0, 1, device))


class _Run:
    """A network in training: its optimizer and schedule, how far it is, and what was seen."""

    def __init__(
        self,
        model: nn.Module,
        data: DeviceDataset,
        evaluate: Mapping[str, DeviceDataset],
        settings: _Settings,
        processes: Processes,
        compile: bool,
        cuda_graph: bool,
    ) -> None:
        self.model, self.data, self.evaluate = model, data, evaluate
        self.settings, self.processes = settings, processes
        self.optimizer = _optimizer(settings, model)
        self.scheduler = _scheduler(settings, self.optimizer)
        network = processes.parallel(model)
        if compile:
            network = cast(nn.Module, torch.compile(network))
        launched = LaunchedStep(
            _scorer(network, settings, processes.device),
            self.optimizer,
            processes.size,
            keep_gradients=cuda_graph,
        )
        self.step = RecordedStep(launched, settings.batch_size) if cuda_graph else launched
        self.scorer = _scorer(model, settings, processes.device)
        self.steps = math.ceil(len(data) / settings.batch_size)
        self.epoch = self.position = 0  # what is done: epochs, and steps of the next one
        self.seconds = 0.0
        self.tallies = torch.zeros(self.steps, 2, dtype=torch.float64, device=processes.device)
        self.history: dict[str, list[Any]] = {name: [] for name in _HISTORY}
        self.finished = self.stopped_early = False
        self.path: Path | None = None
        self.every: int | None = None

    # --- training ---------------------------------------------------------------------------------

    def train(self, name: str, hidden: bool | None) -> None:
        n = len(self.data)
        done = self.epoch * n + min(self.position * self.settings.batch_size, n)
        with tqdm(
            total=self.settings.epochs * n,
            initial=done,
            desc=name,
            unit="image",
            unit_scale=True,
            disable=hidden,
        ) as bar:
            while not self.finished:
                self._train_epoch(bar)
                self._close_epoch()
                bar.set_postfix(
                    epoch=self.epoch,
                    loss=f"{self.history['online_loss'][-1]:.4f}",
                    accuracy=f"{self.history['online_accuracy'][-1]:.4f}",
                )
                self._save()
        self.model.eval()

    def _train_epoch(self, bar: tqdm[Any]) -> None:
        """Make the updates that the epoch still lacks."""
        seed, size = self.settings.seed, self.settings.batch_size
        order = torch.split(self.data.order(self.epoch, seed=seed), size)
        uniforms = self.data.uniforms(self.epoch, seed=seed)
        draws = [None] * self.steps if uniforms is None else torch.split(uniforms, size)
        words = np.random.SeedSequence([seed, self.epoch, 2, self.processes.rank])
        seeds = words.generate_state(self.steps, np.uint64).tolist()
        batches = zip(order, draws, seeds, strict=True)
        self.model.train()
        self.started = time.perf_counter()
        for batch in itertools.islice(batches, self.position, None):
            self._update(*batch)
            bar.update(len(batch[0]))
            updates = self.epoch * self.steps + self.position
            if self.every and updates % self.every == 0 and self.position < self.steps:
                self._save()

    def _update(self, examples: Tensor, uniforms: Tensor | None, seed: int) -> None:
        share = self.processes.share(len(examples))
        inputs, labels = self.data.batch(
            examples[share], None if uniforms is None else uniforms[share]
        )
        _seed(self.processes.device, seed)
        inputs = self.scorer.inputs(inputs)
        self.tallies[self.position] = self.step(inputs, labels, len(examples))
        self.optimizer.step()
        self.learning_rate = float(self.optimizer.param_groups[0]["lr"])
        if self.scheduler is not None and self.settings.scheduler_step == "update":
            self.scheduler.step()
        self.position += 1

    def _close_epoch(self) -> None:
        """Look at the losses, measure, and go to the next epoch."""
        tallies = self._finite_tallies()
        seconds, n = self._elapsed(), len(self.data)
        loss, right = tallies.sum(0).tolist()
        self.epoch, self.position, self.seconds = self.epoch + 1, 0, 0.0
        measured = self._measure_all()
        row = {
            "online_loss": loss / n,
            "online_accuracy": right / n,
            "training_loss": measured[0].loss,
            "training_accuracy": measured[0].accuracy,
            "learning_rate": self.learning_rate,
            "seconds": seconds,
            "images_per_second": n / seconds,
            "evaluation_loss": [one.loss for one in measured[1:]],
            "evaluation_accuracy": [one.accuracy for one in measured[1:]],
        }
        for name, value in row.items():
            self.history[name].append(value)
        self._step_schedule(loss / n)
        goal = self.settings.stop_at_accuracy
        self.finished = self.epoch == self.settings.epochs
        if goal is not None and measured[0].accuracy >= goal and not self.finished:
            self.finished = self.stopped_early = True

    def _step_schedule(self, loss: float) -> None:
        if self.scheduler is None or self.settings.scheduler_step != "epoch":
            return
        if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
            self.scheduler.step(loss)
        else:
            self.scheduler.step()

    def _measure_all(self) -> list[Measurement]:
        sets = [self.data, *self.evaluate.values()]
        if self.epoch % self.settings.evaluate_every and self.epoch != self.settings.epochs:
            return [Measurement(math.nan, math.nan)] * len(sets)
        self.processes.equalize(self.model.buffers())
        size = self.settings.evaluation_batch_size
        return [_measured(self.scorer, data, size, self.processes) for data in sets]

    def _finite_tallies(self) -> Tensor:
        """Return the tallies of all processes, or raise if the epoch so far is not finite."""
        tallies = self.processes.total(self.tallies)
        wrong = torch.nonzero(~tallies[: self.position, 0].isfinite())
        if len(wrong):
            step = int(wrong[0])
            what = f"the loss is {tallies[step, 0]:g}"
            raise DivergenceError(what, self.epoch + 1, step + 1, self.steps)
        parts = [part.isfinite().all() for part in self.model.state_dict().values()]
        if not torch.stack(parts).all():
            what = "the weights are not finite"
            raise DivergenceError(what, self.epoch + 1, self.position, self.steps)
        return tallies

    def _elapsed(self) -> float:
        """Return the seconds that the updates of this epoch took. The device must be idle."""
        return self.seconds + time.perf_counter() - self.started

    # --- checkpoints ------------------------------------------------------------------------------

    def keep(self, path: Path, every: int | None) -> None:
        """Go on from the checkpoint, if there is one, and write others there."""
        self.study = {
            **asdict(self.settings),
            "model": checkpoints.architecture(self.model),
            "data": checkpoints.content(self.data),
            "evaluate": {name: checkpoints.content(part) for name, part in self.evaluate.items()},
        }
        state = checkpoints.load(path, self.study, self.processes.device)
        self.path, self.every = path, every
        if state is not None:
            self._restore(state)
        elif not path.parent.is_dir():
            raise ValueError(f"checkpoint must be in a folder that exists, got {path}")

    def _save(self) -> None:
        if self.path is None:
            return
        tallies = self._finite_tallies()
        if self.processes.rank:
            return
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler and self.scheduler.state_dict(),
            "tallies": tallies,
            "seconds": self._elapsed() if self.position else 0.0,
            **{name: getattr(self, name) for name in _POSITION},
        }
        checkpoints.save(self.path, state, self.study)

    def _restore(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.scheduler is not None:
            self.scheduler.load_state_dict(state["scheduler"])
        if self.processes.rank == 0:  # they are the sum of all processes
            self.tallies.copy_(state["tallies"])
        self.seconds = state["seconds"]
        for name in _POSITION:
            setattr(self, name, state[name])

    # --- what comes out ---------------------------------------------------------------------------

    def result(self) -> xr.Dataset:
        variables = {}
        for name, (long_name, units) in _HISTORY.items():
            values = np.array(self.history[name], dtype=np.float64)
            attributes = {"long_name": long_name, "units": units}
            dims = ("evaluation", "epoch")[-values.ndim :]
            variables[name] = (dims, values.T, attributes)
        return xr.Dataset(
            variables,
            coords={
                "epoch": np.arange(1, self.epoch + 1),
                "evaluation": np.array(list(self.evaluate), dtype=str),
            },
            attrs={
                "stopped_early": int(self.stopped_early),
                "device": str(self.processes.device),
                "processes": self.processes.size,
            },
        )


_POSITION = ("epoch", "position", "history", "finished", "stopped_early")
_HISTORY = {
    "online_loss": ("mean loss of the batches as trained on", "nats"),
    "online_accuracy": ("accuracy on the batches as trained on", "1"),
    "training_loss": ("mean loss on the training data", "nats"),
    "training_accuracy": ("accuracy on the training data", "1"),
    "learning_rate": ("learning rate of the last update", "1"),
    "seconds": ("time of the updates", "s"),
    "images_per_second": ("training examples per second", "1/s"),
    "evaluation_loss": ("mean loss on other data", "nats"),
    "evaluation_accuracy": ("accuracy on other data", "1"),
}


def _measured(
    scorer: Scorer, data: DeviceDataset, batch_size: int, processes: Processes
) -> Measurement:
    total = torch.zeros(2, dtype=torch.float64, device=processes.device)
    with _evaluation_mode(scorer.network), torch.no_grad():
        for start in range(0, len(data), batch_size):
            share = processes.share(min(batch_size, len(data) - start))
            if share.start < share.stop:
                inputs, labels = data.batch(slice(start + share.start, start + share.stop))
                total += scorer(scorer.inputs(inputs), labels)[1]
    loss, right = processes.total(total).tolist()
    return Measurement(loss / len(data), right / len(data))


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)


@contextmanager
def _own_randomness(device: torch.device) -> Iterator[None]:
    """Restore torch's global generators, which random layers use, in the end."""
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        yield


def _seed(device: torch.device, seed: int) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)


def _place(model: nn.Module, settings: _Settings, device: torch.device) -> None:
    model.to(device=device, dtype=PRECISIONS[settings.precision])
    if settings.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _scorer(network: nn.Module, settings: _Settings, device: torch.device) -> Scorer:
    return Scorer(
        network,
        loss=settings.loss,
        precision=settings.precision,
        channels_last=settings.channels_last,
        device=device,
    )


# --- optimizers and schedules ---------------------------------------------------------------------


def _optimizers() -> list[str]:
    found = _subclasses(optim, optim.Optimizer)
    return [name for name in found if name not in _NEED_A_CLOSURE]


def _schedulers() -> list[str]:
    found = _subclasses(lr_scheduler, lr_scheduler.LRScheduler)
    return [name for name in found if name not in _MADE_OF_SCHEDULERS]


def _subclasses(module: Any, base: type) -> list[str]:
    return [
        name
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base
    ]


def _optimizer(settings: _Settings, model: nn.Module) -> optim.Optimizer:
    made: optim.Optimizer = _made(
        getattr(optim, settings.optimizer),
        [part for part in model.parameters() if part.requires_grad],
        "optimizer_options",
        settings.optimizer_options,
    )
    return made


def _scheduler(settings: _Settings, optimizer: optim.Optimizer) -> lr_scheduler.LRScheduler | None:
    if settings.scheduler is None:
        return None
    made: lr_scheduler.LRScheduler = _made(
        getattr(lr_scheduler, settings.scheduler),
        optimizer,
        "scheduler_options",
        settings.scheduler_options,
    )
    return made


def _made(cls: type, subject: Any, name: str, options: Mapping[str, Any]) -> Any:
    try:
        return cls(subject, **options)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} do not suit {cls.__name__}: {error}") from error


# --- what is checked before any work --------------------------------------------------------------


def _choice(name: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(sorted(allowed))}; got {value!r}")


def _plain(name: str, options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return options as a checkpoint can keep and compare them."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(dict(options or {}), allow_nan=False))
    except (TypeError, ValueError) as error:
        raise TypeError(f"{name} must be plain numbers, strings and lists: {error}") from None
    return plain


def _check_machine(
    processes: Processes, settings: _Settings, n: int, compile: bool, cuda_graph: bool
) -> None:
    kind, size = processes.device.type, processes.size
    asked = {
        "compile": compile,
        "cuda_graph": cuda_graph,
        "precision 'tf32'": settings.precision == "tf32",
    }
    for name, wanted in asked.items():
        if wanted and kind != "cuda":
            raise ValueError(f"{name} needs a CUDA device, got {kind}")
    if cuda_graph and size > 1:
        raise ValueError(f"cuda_graph needs a single process, got {size}")
    if settings.batch_size % size:
        raise ValueError(
            f"batch_size must be a multiple of the {size} processes, got {settings.batch_size}"
        )
    if 0 < n % settings.batch_size < size:
        raise ValueError(
            f"batch_size {settings.batch_size} leaves {n % settings.batch_size} of {n} examples "
            f"to the last batch, fewer than the {size} processes"
        )


def _check_outputs(
    scorer: Scorer, data: DeviceDataset | None, others: Mapping[str, DeviceDataset]
) -> None:
    """Send one example of each data set through the network."""
    sets = dict(others) if data is None else {"data": data, **others}
    for name, part in sets.items():
        example = scorer.inputs(part.batch(slice(0, 1))[0])
        try:
            with _evaluation_mode(scorer.network), torch.no_grad():
                shape = tuple(scorer.network(example).shape)
        except RuntimeError as error:
            raise ValueError(
                f"the model does not take an example {tuple(example.shape)} of {name}: {error}"
            ) from error
        if len(shape) != 2 or shape[0] != 1 or shape[1] < part.n_classes:
            raise ValueError(_misfit(name, part, shape))
        if part is data and shape[1] != part.n_classes:
            raise ValueError(_misfit(name, part, shape))


def _misfit(name: str, data: DeviceDataset, shape: tuple[int, ...]) -> str:
    return (
        f"the model must give one output for each of the {data.n_classes} classes of {name}: "
        f"outputs for one example must be (1, {data.n_classes}), got {shape}"
    )
