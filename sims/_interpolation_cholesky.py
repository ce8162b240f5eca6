"""Cholesky factorization of a kernel matrix that is held in tiles, the lower triangle alone.

A dense matrix of 60,000 points takes 28.8 GB, and a factorization of it in place leaves the upper
half unused; tiles take 14.9 GB, and LAPACK's speed on every one of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

Array = NDArray[np.float64]
Tiles = dict[tuple[int, int], Array]  # (i, j), i ≥ j: rows i, columns j, in Fortran order


def tile_slices(n: int, tile: int) -> list[slice]:
    """Return the parts of 0, …, n - 1 that make a tile's rows; the last may be shorter."""
    return [slice(start, min(start + tile, n)) for start in range(0, n, tile)]


def lower_pairs(count: int) -> Iterator[tuple[int, int]]:
    """Return the indices (j, i), j ≤ i, of the lower tiles, ordered by columns."""
    return itertools.combinations_with_replacement(range(count), 2)


class TiledCholesky:
    """The factor L of A = L Lᵀ, made in the place of A's tiles.

    Parameters
    ----------
    tiles : dict
        Lower tiles of A, symmetric, in Fortran order; they become those of L. Of the diagonal ones
        the lower triangle is read.
    rows : sequence of slice
        The rows of each tile.

    Raises
    ------
    numpy.linalg.LinAlgError
        If A is not positive definite to working precision.
    """

    def __init__(self, tiles: Tiles, rows: Sequence[slice]) -> None:
        self._tiles, self._rows = tiles, rows
        count = len(rows)
        for j in range(count):
            for i, k in itertools.product(range(j, count), range(j)):
                self._subtract_product(i, j, k)
            tiles[j, j], info = lapack.dpotrf(tiles[j, j], lower=1, clean=0, overwrite_a=1)
            if info != 0:
                raise np.linalg.LinAlgError(f"minor {rows[j].start + info} is not positive")
            for i in range(j + 1, count):
                tiles[i, j] = blas.dtrsm(
                    1.0, tiles[j, j], tiles[i, j], side=1, lower=1, trans_a=1, overwrite_b=1
                )

    def _subtract_product(self, i: int, j: int, k: int) -> None:
        """Take L_ik L_jkᵀ from tile (i, j)."""
        tiles = self._tiles
        if i == j:
            tiles[i, i] = blas.dsyrk(
                -1.0, tiles[i, k], beta=1.0, c=tiles[i, i], lower=1, overwrite_c=1
            )
        else:
            tiles[i, j] = blas.dgemm(
                -1.0, tiles[i, k], tiles[j, k], 1.0, tiles[i, j], trans_b=1, overwrite_c=1
            )

    def solve(self, right: Array) -> Array:
        """Return A⁻¹ times right-hand sides (n, m)."""
        tiles, rows = self._tiles, self._rows
        solution = np.array(right, dtype=np.float64)
        for i, part in enumerate(rows):
            for k in range(i):
                solution[part] -= tiles[i, k] @ solution[rows[k]]
            solution[part] = blas.dtrsm(1.0, tiles[i, i], solution[part], lower=1)
        for i, part in reversed(list(enumerate(rows))):
            for k in range(i + 1, len(rows)):
                solution[part] -= tiles[k, i].T @ solution[rows[k]]
            solution[part] = blas.dtrsm(1.0, tiles[i, i], solution[part], lower=1, trans_a=1)
        return solution
