"""Kernel matrices of a training set in tiles, and predictions that hold no whole one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from sims._interpolation_cholesky import Tiles, lower_pairs

Array = NDArray[np.float64]

_ROWS_AT_ONCE = 1000


class KernelMachine(Protocol):
    """A kernel on N points, of which the first n are to be trained on."""

    def tiles(self) -> Tiles:
        """Return the lower tiles of the training points' kernel matrix, free to be overwritten."""

    def predict(self, coefficients: Array) -> Array:
        """Return the values (N, m) at all points of functions with coefficients (n, m)."""


class DistanceKernel:
    """A kernel of the distance between rows of features (N, d), made anew wherever it is needed."""

    def __init__(
        self,
        features: Array,
        train_size: int,
        rows: Sequence[slice],
        kernel: Callable[..., Array],
    ) -> None:
        self._features, self._rows, self._kernel = features, rows, kernel
        self._train = features[:train_size]

    def tiles(self) -> Tiles:
        """See :class:`KernelMachine`."""
        parts = [self._train[rows] for rows in self._rows]
        # A transpose is in Fortran order.
        return {(i, j): self._kernel(parts[j], parts[i]).T for j, i in lower_pairs(len(parts))}

    def predict(self, coefficients: Array) -> Array:
        """See :class:`KernelMachine`."""
        features = self._features
        return np.concatenate(
            [
                self._kernel(features[start : start + _ROWS_AT_ONCE], self._train) @ coefficients
                for start in range(0, len(features), _ROWS_AT_ONCE)
            ]
        )


class LinearKernel:
    """Inner products of features that come in blocks (N, b), each of which is used but once.

    The matrix is therefore kept, beside the tiles that are given away.
    """

    def __init__(self, blocks: Iterable[Array], train_size: int, rows: Sequence[slice]) -> None:
        heights = [part.stop - part.start for part in rows]
        self._rows = rows
        self._tiles = {
            (i, j): np.zeros((heights[i], heights[j]), order="F") for j, i in lower_pairs(len(rows))
        }
        self._rest: Array | float = 0.0
        for block in blocks:
            for (i, j), tile in self._tiles.items():
                # Transposes of rows are in Fortran order, as BLAS wants them: nothing is copied.
                factors = block[rows[i]].T, block[rows[j]].T
                self._tiles[i, j] = blas.dgemm(1.0, *factors, 1.0, tile, trans_a=1, overwrite_c=1)
            self._rest = self._rest + block[train_size:] @ block[:train_size].T

    def tiles(self) -> Tiles:
        """See :class:`KernelMachine`."""
        return {index: tile.copy(order="F") for index, tile in self._tiles.items()}

    def predict(self, coefficients: Array) -> Array:
        """See :class:`KernelMachine`."""
        values = np.zeros_like(coefficients)
        for (i, j), tile in self._tiles.items():
            values[self._rows[i]] += tile @ coefficients[self._rows[j]]
            if i != j:
                values[self._rows[j]] += tile.T @ coefficients[self._rows[i]]
        return np.concatenate([values, self._rest @ coefficients])
