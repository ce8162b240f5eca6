"""What each member of a population trains with, and the order in which it sees the examples."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from theory._validation import finite_array, positive_array, positive_integer

Settings = NDArray[Any]


@dataclass(frozen=True)
class Members:
    """Settings of the networks of a population: one number for all, or one for each.

    Parameters
    ----------
    learning_rate : array_like (members,)
        ε, positive.
    momentum : array_like (members,)
        m in [0, 1), of the heavy ball: v ← m v + g, w ← w - ε v.
    weight_decay : array_like (members,)
        λ ≥ 0: λ w is added to the gradient.
    batch_size : array_like (members,) of int
        B.
    seed : array_like (members,) of int
        In [0, 2⁶³): draws the member's initial parameters and the order of its examples.

    Attributes
    ----------
    learning_rate, momentum, weight_decay, batch_size, seed : ndarray (members,)

    Raises
    ------
    ValueError
        If a setting is out of range, there is no member, or the lengths differ.

    Examples
    --------
    >>> members = Members([0.1, 0.2], momentum=0.9, batch_size=32)
    >>> len(members), members.momentum
    (2, array([0.9, 0.9]))
    """

    learning_rate: Any
    momentum: Any = 0.0
    weight_decay: Any = 0.0
    batch_size: Any = 128
    seed: Any = 0

    def __post_init__(self) -> None:
        """Check the settings and bring them to one length."""
        settings = {
            "learning_rate": positive_array("learning_rate", self.learning_rate),
            "momentum": finite_array("momentum", self.momentum),
            "weight_decay": finite_array("weight_decay", self.weight_decay),
            "batch_size": _integers("batch_size", self.batch_size, minimum=1),
            "seed": _integers("seed", self.seed, minimum=0),
        }
        momentum, decay = settings["momentum"], settings["weight_decay"]
        if np.any((momentum < 0.0) | (momentum >= 1.0)):
            raise ValueError(
                f"momentum must be in [0, 1), got {momentum.min():g} to {momentum.max():g}"
            )
        if np.any(decay < 0.0):
            raise ValueError(f"weight_decay must not be negative, got {decay.min():g}")
        for name, values in _one_length(settings).items():
            object.__setattr__(self, name, values)

    @classmethod
    def product(cls, **settings: ArrayLike) -> Members:
        """Return a member for each combination of the settings; the last one varies fastest.

        Raises
        ------
        ValueError
            See :class:`Members`.

        Examples
        --------
        >>> Members.product(learning_rate=[0.1, 0.2], seed=range(3)).seed
        array([0, 1, 2, 0, 1, 2])
        """
        axes = [np.ravel(np.asarray(values)) for values in settings.values()]
        grid = (axis.ravel() for axis in np.meshgrid(*axes, indexing="ij"))
        return cls(**dict(zip(settings, grid, strict=True)))

    def __len__(self) -> int:
        """Return the number of members."""
        return len(self.seed)

    def __getitem__(self, rows: Iterable[int]) -> Members:
        """Return the members at these positions."""
        chosen = np.asarray(rows)
        return Members(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


def _integers(name: str, values: ArrayLike, *, minimum: int) -> Settings:
    array = np.asarray(values)
    if array.size == 0:
        raise ValueError(f"{name} is empty: shape {array.shape}")
    if array.dtype.kind not in "iu" or array.min() < minimum or array.max() >= 2**63:
        raise ValueError(f"{name} must hold integers from {minimum} to 2⁶³ - 1, got {values!r}")
    return array.astype(np.int64)


def _one_length(settings: dict[str, Settings]) -> dict[str, Settings]:
    shapes = {name: values.shape for name, values in settings.items()}
    lengths = {shape for shape in shapes.values() if shape != ()}
    if len(lengths) > 1 or any(len(shape) > 1 for shape in lengths):
        raise ValueError(f"settings must be single numbers or all (members,), got shapes {shapes}")
    shape = lengths.pop() if lengths else (1,)
    return {name: np.broadcast_to(values, shape).copy() for name, values in settings.items()}


# --- the order of the examples --------------------------------------------------------------------

_GOLDEN, _FIRST, _SECOND = (
    np.uint64(word).astype(np.int64).item()
    for word in (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
)


def _mixed(words: Tensor) -> Tensor:
    """Return the outputs of SplitMix64 for its states: a bijection of the 64-bit words."""
    for shift, factor in ((30, _FIRST), (27, _SECOND)):
        words = (words ^ ((words >> shift) & (2 ** (64 - shift) - 1))) * factor
    return words ^ ((words >> 31) & (2**33 - 1))


def example_order(seeds: ArrayLike | Tensor, epoch: int, n: int) -> Tensor:
    """Return the order in which members see the examples in an epoch.

    A random permutation for each seed: a function of the seed and the epoch alone, the same on
    every device. It sorts one word of SplitMix64 for each example.

    Parameters
    ----------
    seeds : array_like or Tensor (members,) of int64
        The order is made on the tensor's device.
    epoch : int
        From 0.
    n : int
        Number of examples.

    Returns
    -------
    Tensor (members, n) of int64

    Raises
    ------
    ValueError
        If ``n`` is not positive or ``epoch`` negative.

    References
    ----------
    Steele, Lea & Flood (2014), OOPSLA, for SplitMix64.

    Examples
    --------
    >>> example_order([0, 1], 0, 5).sort().values.tolist()
    [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    """
    positive_integer("n", n)
    positive_integer("epoch", epoch, minimum=0)
    seeds = torch.as_tensor(seeds, dtype=torch.int64)
    streams = _mixed(_mixed(seeds + _GOLDEN) + torch.tensor(epoch + 1) * _GOLDEN)
    index = torch.arange(n, device=seeds.device)
    # The place in the lowest bits: what is sorted is distinct, and carries the answer.
    places = 2 ** (n - 1).bit_length() - 1
    words = (_mixed(streams[:, None] + (index + 1) * _GOLDEN) & ~places) | index
    if words.device.type == "cpu":
        words.numpy().sort(axis=1)  # ten times as fast as torch's
    else:
        words = words.sort(dim=1).values
    order: Tensor = words & places
    return order
