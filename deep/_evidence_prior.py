"""The Gaussian prior of a network's parameters: one precision for all or one for each layer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from theory._validation import Array, positive_array

PriorPrecision = ArrayLike | Mapping[str, ArrayLike]


class Family(NamedTuple):
    """Priors that differ by a factor alone, so that one decomposition serves them all.

    Attributes
    ----------
    relative : Tensor (P,)
        The precision of every parameter, up to the factor.
    scales : ndarray (F,)
        The factor of each prior.
    members : ndarray of int (F,)
        Which of the path's priors they are.
    """

    relative: Tensor
    scales: Array
    members: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Prior:
    """A path of T priors.

    Attributes
    ----------
    given : ndarray (...) or dict of str to ndarray
        As the user has it, checked.
    shape : tuple of int
        Of the path; T is the number of its entries.
    precisions : ndarray (T, G)
        Of every parameter of each of the G groups.
    group : Tensor of int64 (P,)
        Which group a parameter belongs to.
    """

    given: Array | dict[str, Array]
    shape: tuple[int, ...]
    precisions: Array
    group: Tensor

    @classmethod
    def of(cls, prior_precision: PriorPrecision, parameters: Mapping[str, Tensor]) -> Prior:
        """Check a prior precision, and give each of the named parameters its own."""
        given: Array | dict[str, Array]
        if isinstance(prior_precision, Mapping):
            groups = _groups(prior_precision, list(parameters))
            given = {
                prefix: positive_array(f"prior_precision[{prefix!r}]", value)
                for prefix, value in prior_precision.items()
            }
            columns = list(given.values())
        else:
            groups = [0] * len(parameters)
            given = positive_array("prior_precision", prior_precision)
            columns = [given]
        try:
            paths = np.broadcast_arrays(*columns)
        except ValueError:
            shapes = ", ".join(str(column.shape) for column in columns)
            raise ValueError(
                f"prior_precision must have shapes that broadcast, got {shapes}"
            ) from None
        sizes = torch.tensor([part.numel() for part in parameters.values()])
        return cls(
            given=given,
            shape=paths[0].shape,
            precisions=np.stack([path.ravel() for path in paths], axis=-1),
            group=torch.repeat_interleave(torch.tensor(groups), sizes),
        )

    def by_name(self, parameters: Mapping[str, Tensor]) -> dict[str, Array]:
        """Return the precision (...) of each of the named parameters that the prior is of."""
        ends = np.cumsum([part.numel() for part in parameters.values()])
        columns = self.precisions[:, self.group.numpy()[ends - 1]].T
        return {
            name: column.reshape(self.shape)[()]
            for name, column in zip(parameters, columns, strict=True)
        }

    def at(self, index: int, like: Tensor) -> Tensor:
        """Return the precision (P,) of every parameter, in the type and on the device of another.

        Parameters
        ----------
        index : int
            Into the path.
        like : Tensor
        """
        return self._spread(self.precisions[index], like)

    def families(self, like: Tensor) -> Iterator[Family]:
        """Yield the path in parts that one decomposition serves."""
        scales = self.precisions[:, 0]
        relative = self.precisions / scales[:, None]
        # Ratios that are equal but for rounding are one family; the result moves as little.
        _, family = np.unique(np.round(np.log(relative), 12), axis=0, return_inverse=True)
        for number in range(family.max() + 1):
            members = np.flatnonzero(family.ravel() == number)
            yield Family(self._spread(relative[members[0]], like), scales[members], members)

    def _spread(self, values: Array, like: Tensor) -> Tensor:
        return torch.as_tensor(values)[self.group].to(device=like.device, dtype=like.dtype)


def belongs(name: str, prefix: str) -> bool:
    """Return whether a parameter's dotted name starts with all parts of a prefix."""
    return prefix in ("", name) or name.startswith(f"{prefix}.")


def _groups(prefixes: Mapping[str, ArrayLike], names: list[str]) -> list[int]:
    """Return for each name the position of the longest prefix that it has."""
    listed = ", ".join(names)
    for prefix in prefixes:
        if not isinstance(prefix, str):
            raise TypeError(f"prior_precision must have str keys, got {prefix!r}")
        if not any(belongs(name, prefix) for name in names):
            raise ValueError(
                f"prior_precision has {prefix!r}, with which no parameter's name begins; "
                f"the parameters are {listed}"
            )
    missing = [name for name in names if not any(belongs(name, prefix) for prefix in prefixes)]
    if missing:
        raise ValueError(f"prior_precision has no entry for {', '.join(missing)}")
    order = list(prefixes)
    return [
        order.index(max((prefix for prefix in order if belongs(name, prefix)), key=len))
        for name in names
    ]
