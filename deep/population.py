r"""Populations: hundreds to thousands of small networks trained at once on one device.

Every member is what ``torch.optim.SGD`` with ``DataLoader``-like epochs would make of it alone, to
rounding: it has its own learning rate, momentum, weight decay, batch size, seed and labels.
Members of one batch size are stacked and stepped together, as many at a time as fit the memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from deep._population_networks import (
    Networks,
    check_model,
    count_activations,
    is_perceptron,
    stacked,
)
from deep._population_settings import Members, example_order
from theory._validation import positive_integer

__all__ = ["LARGEST_STEP", "Members", "example_order", "train_population"]

LARGEST_STEP = 1e30
"""A member has diverged when a step would change a weight by this much, or by NaN."""

_ROWS = 256  # examples that are evaluated at a time
_PERCEPTRON_BYTES, _MODULE_BYTES = 2**26, 2**28  # at a time, on a CPU: the fastest

Schedule = Callable[[float], float]


def train_population(
    make_model: Callable[[torch.Generator], nn.Module],
    inputs: ArrayLike | Tensor,
    labels: ArrayLike | Tensor,
    members: Members,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    record_every: int = 1,
    schedule: Schedule | None = None,
    evaluate: Mapping[str, tuple[ArrayLike | Tensor, ArrayLike | Tensor]] | None = None,
    keep_parameters: bool = False,
    max_bytes: int | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
    progress: bool = True,
) -> xr.Dataset:
    r"""Train one network for each member by SGD on the mean cross-entropy.

    An epoch goes through the examples in the order of :func:`example_order`, in batches of B, the
    last one of what is left. Losses and accuracies are those of the whole set, in evaluation mode.

    A member diverges when a step would change a weight by :data:`LARGEST_STEP` or NaN, or a loss is
    not finite at a record. It keeps its last finite parameters and records (NaN before the first),
    and no other member is touched.

    How many members are trained at a time changes results by rounding alone: libraries may sum the
    products of another number of matrices in another order, and some do even on one thread.

    Parameters
    ----------
    make_model : callable
        Takes a ``torch.Generator`` with the member's seed, from which it must draw every parameter,
        and returns a module that takes inputs (B, ...) and returns logits (B, K). Batch
        normalization works; modules that draw random numbers in training are refused. A
        ``Sequential`` of ``Linear`` and ``ReLU``, after a ``Flatten`` or not, is fastest.
    inputs : array_like or Tensor (N, ...)
        Shared by all members. uint8 is kept as it is and divided by 255 a batch at a time.
    labels : array_like or Tensor (N,) or (members, N)
        Classes from 0, for all members or for each. A member is not trained on examples with label
        -100, of which all members must have equally many: each may have a training set of its own.
    members : Members
    epochs, steps : int, optional
        How long to train: one of the two. It is also the unit of time of the records and schedule.
    record_every : int
        Epochs, or steps, from record to record; start and end are always recorded.
    schedule : callable, optional
        Takes the time t, a fraction within an epoch, and returns what learning rates are multiplied
        by in the step that begins then. ``lambda t: 0.95 ** int(t)`` decays after each epoch.
    evaluate : mapping of str to (inputs, labels), optional
        Further sets to record, such as ``{"test": (X, y)}``. Examples with label -100 are left out.
    keep_parameters : bool
        Whether to return the final parameters and buffers.
    max_bytes : int, optional
        Memory of the members that are trained at a time, estimated. None is half of what is free on
        a CUDA device, and what is fastest on a CPU.
    device : torch.device or str, optional
        None is the device of ``inputs``.
    dtype : torch.float32 or torch.float64
    progress : bool
        Show a bar, if on a terminal.

    Returns
    -------
    xarray.Dataset
        Along ``member`` and ``epoch`` or ``step``; the settings are coordinates of ``member``:

        - ``train_loss``, ``train_accuracy``: on the member's own labels;
        - ``<name>_loss``, ``<name>_accuracy`` for each set of ``evaluate``;
        - ``diverged_at``: steps before the one that diverged, -1 if none did;
        - ``parameters.<name>``: the module's state by name, if it is kept.

    Raises
    ------
    ValueError
        If shapes do not fit each other or the model, labels are out of range, inputs are not
        finite, a batch is larger than N, a multiplier is negative or not finite, the model draws
        from anything but its generator, or not exactly one of ``epochs`` and ``steps`` is given.

    Examples
    --------
    >>> def make_model(generator):
    ...     layer = nn.Linear(2, 2)
    ...     nn.init.normal_(layer.weight, generator=generator)
    ...     nn.init.zeros_(layer.bias)
    ...     return nn.Sequential(layer)
    >>> X = torch.randn(50, 2, generator=torch.Generator().manual_seed(0))
    >>> members = Members.product(learning_rate=[0.1, 1.0], batch_size=10, seed=range(3))
    >>> result = train_population(make_model, X, (X[:, 0] > 0).long(), members, epochs=20)
    >>> dict(result.sizes), bool((result.train_accuracy[:, -1] > 0.9).all())
    ({'member': 6, 'epoch': 21}, True)
    """
    data = _Data.of(inputs, labels, evaluate or {}, members, device, dtype)
    unit, length = _duration(epochs, steps)
    times = [*range(0, length, positive_integer("record_every", record_every)), length]
    clocks = {
        int(size): _Clock.of(data.train_size, int(size), unit, length, times, schedule)
        for size in np.unique(members.batch_size)
    }
    model = _checked_model(make_model, data, members, clocks)
    at_a_time = _at_a_time(model, data, max_bytes)
    records = _Records(members, data, unit, times, keep_parameters)
    total = sum(clocks[int(size)].steps for size in members.batch_size)
    with tqdm(
        total=total, desc="population", unit="step", disable=None if progress else True
    ) as bar:
        for rows in _chunks(members, at_a_time):
            clock = clocks[int(members.batch_size[rows[0]])]
            chunk = _Chunk(make_model, data, members, rows)
            for place, step in chunk.train(clock):
                chunk.record(records, place, step)
                bar.update(len(rows) * (step - clock.records[max(place - 1, 0)]))
            chunk.finish(records)
    return records.dataset()


# --- what is trained on ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Data:
    """The training set and the sets to evaluate, the training set first, on the device.

    ``examples`` are the positions (n,) or (members, n) of what is trained on.
    """

    inputs: Tensor
    labels: Tensor
    examples: Tensor
    sets: dict[str, tuple[Tensor, Tensor]]
    dtype: torch.dtype

    @staticmethod
    def of(
        inputs: Any,
        labels: Any,
        evaluate: Mapping[str, tuple[Any, Any]],
        members: Members,
        device: torch.device | str | None,
        dtype: torch.dtype,
    ) -> _Data:
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype must be torch.float32 or torch.float64, got {dtype}")
        if "train" in evaluate:
            raise ValueError("evaluate must not name a set 'train': that is the training set")
        X = _inputs("inputs", inputs, device, dtype)
        y = _labels("labels", labels, X, len(members))
        sets = {"train": (X, y)}
        for name, (others, wanted) in evaluate.items():
            Z = _inputs(f"evaluate[{name!r}] inputs", others, X.device, dtype)
            if Z.shape[1:] != X.shape[1:]:
                shapes = f"{tuple(Z.shape[1:])} and {tuple(X.shape[1:])}"
                raise ValueError(f"inputs of {name!r} and of the training set differ: {shapes}")
            sets[name] = (Z, _labels(f"evaluate[{name!r}] labels", wanted, Z, len(members)))
        return _Data(X, y, _examples(y), sets, dtype)

    @property
    def train_size(self) -> int:
        return self.examples.shape[-1]

    @property
    def classes(self) -> int:
        return 1 + max(int(labels.max()) for _, labels in self.sets.values())

    def batch(self, index: Tensor) -> Tensor:
        """Return the inputs (..., *shape) at positions (...)."""
        rows = self.inputs.index_select(0, index.flatten())
        return _scaled(rows, self.dtype).view(*index.shape, *self.inputs.shape[1:])


def _inputs(
    name: str, values: Any, device: torch.device | str | None, dtype: torch.dtype
) -> Tensor:
    tensor = torch.as_tensor(values, device=device).detach()
    if tensor.dtype != torch.uint8:
        tensor = tensor.to(dtype)
    if tensor.ndim < 2 or tensor.numel() == 0:
        raise ValueError(f"{name} must be (N, ...) with N of at least 1, got {tuple(tensor.shape)}")
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise ValueError(f"{name} have NaN or infinite values")
    return tensor.contiguous()


def _labels(name: str, values: Any, inputs: Tensor, members: int) -> Tensor:
    tensor = torch.as_tensor(values, device=inputs.device)
    n = len(inputs)
    if tuple(tensor.shape) not in {(n,), (members, n)}:
        raise ValueError(
            f"{name} must be (N,) or (members, N) = ({members}, {n}), got {tuple(tensor.shape)}"
        )
    if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool:
        raise ValueError(f"{name} must be integers, got {tensor.dtype}")
    tensor = tensor.long()
    wrong = tensor[(tensor < 0) & (tensor != -100)]
    if wrong.numel():
        raise ValueError(f"{name} must be classes from 0, got {int(wrong.min())}")
    if bool((tensor < 0).all(-1).any()):
        raise ValueError(f"{name} leave every example out")
    return tensor


def _examples(labels: Tensor) -> Tensor:
    """Return the positions (..., n) of the labels that are not left out."""
    present = labels >= 0
    counts = present.sum(-1)
    if counts.ndim and not bool((counts == counts[0]).all()):
        least, most = int(counts.min()), int(counts.max())
        raise ValueError(
            f"labels must leave as many examples to each member, got {least} to {most} of them"
        )
    return present.nonzero()[:, -1].view(*labels.shape[:-1], -1)


def _scaled(rows: Tensor, dtype: torch.dtype) -> Tensor:
    return rows.to(dtype) / 255 if rows.dtype == torch.uint8 else rows


# --- how long, and how many at a time -------------------------------------------------------------


def _duration(epochs: int | None, steps: int | None) -> tuple[str, int]:
    if (epochs is None) == (steps is None):
        raise ValueError(f"give one of epochs and steps, got epochs={epochs}, steps={steps}")
    if epochs is not None:
        return "epoch", positive_integer("epochs", epochs)
    return "step", positive_integer("steps", steps or 0)


@dataclass(frozen=True)
class _Clock:
    """The steps of members with one batch size: multipliers (steps,), and which are recorded."""

    batch_size: int
    epoch: int
    multipliers: NDArray[np.float64]
    records: list[int]

    @property
    def steps(self) -> int:
        return len(self.multipliers)

    @staticmethod
    def of(
        n: int, size: int, unit: str, length: int, times: list[int], schedule: Schedule | None
    ) -> _Clock:
        if size > n:
            raise ValueError(f"batch_size must be at most N = {n}, got {size}")
        epoch = -(-n // size)
        pace = epoch if unit == "epoch" else 1
        steps = range(length * pace)
        multipliers = np.array([1.0 if schedule is None else schedule(k / pace) for k in steps])
        if multipliers.shape != (len(steps),) or not np.all(
            (multipliers >= 0.0) & (multipliers < np.inf)
        ):
            raise ValueError("schedule must return one finite number of at least 0 for each time")
        return _Clock(size, epoch, multipliers, [time * pace for time in times])


def _checked_model(
    make_model: Callable[[torch.Generator], nn.Module],
    data: _Data,
    members: Members,
    clocks: Mapping[int, _Clock],
) -> nn.Module:
    """Return the first member's model; the smallest batch has been tried on it."""
    n = data.train_size
    smallest = min(min(size, n - (clock.epoch - 1) * size) for size, clock in clocks.items())
    sample = data.batch(torch.arange(smallest, device=data.inputs.device))
    return check_model(make_model, int(members.seed[0]), sample, data.classes)


def _at_a_time(model: nn.Module, data: _Data, max_bytes: int | None) -> Callable[[int], int]:
    """Return how many members of a batch size are trained at a time, as a function of that size."""
    room, n = _room(model, data.inputs.device, max_bytes), len(data.inputs)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    activations = count_activations(model, _scaled(data.inputs[:1], data.dtype))

    def members(size: int) -> int:
        numbers = 6 * parameters + 3 * activations * max(size, min(_ROWS, n))
        return max(1, room // (numbers * data.dtype.itemsize + 4 * 8 * n))

    return members


def _room(model: nn.Module, device: torch.device, max_bytes: int | None) -> int:
    if max_bytes is not None:
        return positive_integer("max_bytes", max_bytes)
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0] // 2
    return _PERCEPTRON_BYTES if is_perceptron(model) else _MODULE_BYTES


def _chunks(members: Members, at_a_time: Callable[[int], int]) -> Iterator[NDArray[np.intp]]:
    """Yield the positions of members that are trained together: all of one batch size."""
    for size in np.unique(members.batch_size):
        rows = np.flatnonzero(members.batch_size == size)
        yield from np.array_split(rows, -(-len(rows) // at_a_time(int(size))))


# --- training -------------------------------------------------------------------------------------


class _Chunk:
    """Members that are stepped together."""

    def __init__(
        self,
        make_model: Callable[[torch.Generator], nn.Module],
        data: _Data,
        members: Members,
        rows: NDArray[np.intp],
    ) -> None:
        device, dtype = data.inputs.device, data.dtype
        chosen = members[rows]
        self.data, self.rows = data, rows
        self.labels, self.examples = (
            _of_members(values, rows) for values in (data.labels, data.examples)
        )
        self.networks = stacked(make_model, chosen.seed.tolist(), device=device, dtype=dtype)
        self.seeds = torch.as_tensor(chosen.seed, device=device)
        self.learning_rate, self.momentum, self.weight_decay = (
            torch.as_tensor(values, device=device, dtype=dtype)[:, None]
            for values in (chosen.learning_rate, chosen.momentum, chosen.weight_decay)
        )
        self.decays = bool(np.any(chosen.weight_decay > 0.0))
        self.alive = torch.ones(len(rows), dtype=torch.bool, device=device)
        self.diverged_at = torch.full((len(rows),), -1, device=device)

    def train(self, clock: _Clock) -> Iterator[tuple[int, int]]:
        """Take all steps; stop to yield (number of the record, steps taken) at each record."""
        yield 0, 0
        place, n = 1, self.data.train_size
        for step, multiplier in enumerate(clock.multipliers):
            epoch, batch = divmod(step, clock.epoch)
            if batch == 0:
                order = _taken(self.examples, example_order(self.seeds, epoch, n))
            start = batch * clock.batch_size
            self._step(order[:, start : start + clock.batch_size], float(multiplier), step)
            if step + 1 == clock.records[place]:
                yield place, step + 1
                place += 1

    @torch.no_grad()
    def _step(self, index: Tensor, multiplier: float, step: int) -> None:
        weights, velocity = self.networks.weights, self.networks.velocity
        before = {name: buffer.clone() for name, buffer in self.networks.buffers.items()}
        labels = _taken(self.labels, index)
        velocity.mul_(self.momentum)
        if self.decays:
            velocity.addcmul_(weights, self.weight_decay)
        self.networks.add_gradients(self.data.batch(index), labels)
        rate = self.learning_rate * multiplier
        # No change exceeds their norm, which is quick to take; half is left for its rounding.
        small = torch.linalg.vector_norm(velocity, dim=1) * rate[:, 0] < LARGEST_STEP / 2
        if not bool((small & self.alive).all()):
            self._freeze(~(velocity.abs().amax(1) * rate[:, 0] < LARGEST_STEP), step)
            velocity.masked_fill_(~self.alive[:, None], 0.0)
            for name, buffer in self.networks.buffers.items():
                buffer[~self.alive] = before[name][~self.alive]
        weights.addcmul_(velocity, rate, value=-1.0)

    def _freeze(self, diverged: Tensor, step: int) -> None:
        self.diverged_at.masked_fill_(self.alive & diverged, step)
        self.alive &= ~diverged

    def record(self, records: _Records, place: int, step: int) -> None:
        """Evaluate all sets; a member with a loss that is not finite keeps its last record."""
        measured = {
            name: _evaluation(
                self.networks, inputs, _of_members(labels, self.rows), self.data.dtype
            )
            for name, (inputs, labels) in self.data.sets.items()
        }
        finite = torch.stack([torch.isfinite(loss) for loss, _ in measured.values()]).all(0)
        self._freeze(~finite, step)
        records.put(self.rows, place, measured, finite)

    def finish(self, records: _Records) -> None:
        """Hand over what is known at the end."""
        records.diverged_at[self.rows] = self.diverged_at.cpu().numpy()
        records.put_state(self.rows, self.networks.parameters | self.networks.buffers)


def _of_members(values: Tensor, rows: NDArray[np.intp]) -> Tensor:
    return values if values.ndim == 1 else values[torch.as_tensor(rows, device=values.device)]


def _taken(values: Tensor, index: Tensor) -> Tensor:
    """Return the values at positions (members, n), from (N,) or from each member's own (N,)."""
    return values[index] if values.ndim == 1 else values.gather(1, index)


@torch.no_grad()
def _evaluation(
    networks: Networks, inputs: Tensor, labels: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """Return the mean loss (members,) and the accuracy (members,) in float64."""
    members = len(networks.weights)
    sums = torch.zeros(2, members, dtype=torch.float64, device=inputs.device)
    wanted = labels.expand(members, -1)
    for start in range(0, len(inputs), _ROWS):
        part = wanted[:, start : start + _ROWS]
        logits = networks.logits(_scaled(inputs[start : start + _ROWS], dtype))
        sums[0] += cross_entropy(logits, part, reduction="none").sum(1, dtype=torch.float64)
        sums[1] += _right(logits, part).sum(1)
    loss, accuracy = sums / (wanted >= 0).sum(1)
    return loss, accuracy


def _right(logits: Tensor, labels: Tensor) -> Tensor:
    """Tell whether the first of the largest logits is the label's: argmax, ten times as fast."""
    target = labels.clamp(min=0)[:, None]
    own = logits.gather(1, target)
    classes = torch.arange(logits.shape[1], device=logits.device)[:, None]
    beaten = (logits > own) | ((logits == own) & (classes < target))
    return (labels >= 0) & ~beaten.any(1)


# --- results --------------------------------------------------------------------------------------


class _Records:
    """What is known of all members, in their own order."""

    def __init__(
        self, members: Members, data: _Data, unit: str, times: Sequence[int], keep: bool
    ) -> None:
        shape = (len(members), len(times))
        self.members, self.unit, self.times, self.keep = members, unit, list(times), keep
        self.losses = {name: np.full(shape, np.nan) for name in data.sets}
        self.accuracies = {name: np.full(shape, np.nan) for name in data.sets}
        self.diverged_at = np.full(len(members), -1)
        self.state: dict[str, NDArray[Any]] = {}

    def put(
        self,
        rows: NDArray[np.intp],
        place: int,
        measured: Mapping[str, tuple[Tensor, Tensor]],
        finite: Tensor,
    ) -> None:
        known = finite.cpu().numpy()
        for name, pair in measured.items():
            for table, tensor in zip((self.losses, self.accuracies), pair, strict=True):
                last = table[name][rows, max(place - 1, 0)]
                table[name][rows, place] = np.where(known, tensor.cpu().numpy(), last)

    def put_state(self, rows: NDArray[np.intp], state: Mapping[str, Tensor]) -> None:
        if not self.keep:
            return
        for name, values in state.items():
            part = values.detach().cpu().numpy()
            if name not in self.state:
                self.state[name] = np.zeros((len(self.members), *part.shape[1:]), part.dtype)
            self.state[name][rows] = part

    def dataset(self) -> xr.Dataset:
        dims = ("member", self.unit)
        variables: dict[str, Any] = {}
        for name in self.losses:
            loss = {"long_name": f"{name} loss", "units": "nat"}
            accuracy = {"long_name": f"{name} accuracy", "units": "1"}
            variables[f"{name}_loss"] = (dims, self.losses[name], loss)
            variables[f"{name}_accuracy"] = (dims, self.accuracies[name], accuracy)
        steps = {"long_name": "steps before divergence, -1 if there was none", "units": "1"}
        variables["diverged_at"] = ("member", self.diverged_at, steps)
        for name, values in self.state.items():
            axes = ("member", *(f"parameters.{name}.{axis}" for axis in range(values.ndim - 1)))
            variables[f"parameters.{name}"] = (axes, values, {"long_name": name, "units": "1"})
        settings = {
            name: ("member", values, {"long_name": name.replace("_", " "), "units": "1"})
            for name, values in vars(self.members).items()
        }
        time = (self.unit, self.times, {"long_name": self.unit, "units": "1"})
        return xr.Dataset(variables, {**settings, self.unit: time})
