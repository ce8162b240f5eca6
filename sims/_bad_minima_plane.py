"""Two clouds of points in the plane, and what a network makes of the plane around them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from theory._validation import finite_array, positive_array

Array = NDArray[np.float64]

MIDDLE = 0.2  # the clouds lie at 0.2 ± 0.65 along x₀, and at 0.2 along x₁
SHIFT, SPREAD = 0.65, 0.15
WINDOW = ((-1.25, 1.8), (-0.75, 1.25))


class Boundary(NamedTuple):
    """What a decision map looks like.

    Attributes
    ----------
    length : float
        Of the curve on which the logit, linear between grid points, is zero; in units of the axes.
    cells : int
        Pairs of neighbours on the grid that are decided differently.
    regions : int
        Connected parts of the window, of either class.
    """

    length: float
    cells: int
    regions: int


def draw_clouds(
    n: int, rng: np.random.Generator, *, stretch: float = 1.0
) -> tuple[Array, NDArray[np.int64]]:
    """Return n/2 points of class 1, then n/2 of class 0, and their labels."""
    y = np.repeat([1, 0], n // 2)
    X = MIDDLE + stretch * SPREAD * rng.normal(size=(len(y), 2))
    X[:, 0] += SHIFT * (2 * y - 1)
    return X, y


def grid(step: float) -> tuple[Array, Array]:
    """Return the coordinates of a grid on the window."""
    axes = [np.arange(round((high - low) / step) + 1) * step + low for low, high in WINDOW]
    return np.asarray(axes[0], float), np.asarray(axes[1], float)


def boundary(logits: ArrayLike, *, spacing: ArrayLike = (1.0, 1.0)) -> Boundary:
    """Measure the decision boundary on a grid.

    Parameters
    ----------
    logits : array_like (n0, n1)
        At the points of a grid, at least 2 × 2; class 1 where positive.
    spacing : array_like (2,)
        Of the grid, along its axes.

    Returns
    -------
    Boundary

    Raises
    ------
    ValueError
        If the logits are not finite, or a size is out of range.

    Examples
    --------
    >>> x, y = np.meshgrid(np.linspace(-1, 1, 201), np.linspace(-1, 1, 201), indexing="ij")
    >>> disc = boundary(0.25 - x**2 - y**2, spacing=(0.01, 0.01))
    >>> round(disc.length, 3), disc.cells, disc.regions
    (3.141, 396, 2)
    """
    values = finite_array("logits", logits, ndim=2)
    if min(values.shape) < 2:
        raise ValueError(f"logits must have two points along each axis, got shape {values.shape}")
    steps = positive_array("spacing", spacing, ndim=1)
    if len(steps) != 2:
        raise ValueError(f"spacing must have 2 entries, got {len(steps)}")
    inside = values > 0
    cells = sum(int(np.sum(np.diff(inside, axis=axis))) for axis in (0, 1))
    regions = sum(ndimage.label(part)[1] for part in (inside, ~inside))
    return Boundary(_length(values, steps), cells, regions)


def _length(values: Array, steps: Array) -> float:
    """Return the length of the zero curve: in each cell, straight between crossings of its sides.

    Where all four sides are crossed, the sides are joined in pairs by the sign at the middle.
    """
    corners = np.stack([values[:-1, :-1], values[1:, :-1], values[1:, 1:], values[:-1, 1:]])
    places = np.array([(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]) * steps
    inside = corners > 0
    mixed = np.any(inside, axis=0) & ~np.all(inside, axis=0)
    corners, inside = corners[:, mixed], inside[:, mixed]
    after = np.roll(corners, -1, axis=0)
    crossed = inside != np.roll(inside, -1, axis=0)
    share = np.divide(corners, corners - after, out=np.zeros_like(corners), where=crossed)
    sides = places[:, None] + share[..., None] * (np.roll(places, -1, axis=0) - places)[:, None]
    count = np.sum(crossed, axis=0)
    order = np.argsort(~crossed, axis=0, kind="stable")
    ends = np.take_along_axis(sides, order[..., None], axis=0)
    four = count == 4
    # From side 0 on: joined to side 1 around corner 1, unless the middle parts it from there.
    cut = four & (inside[1] == (np.mean(corners, axis=0) > 0))
    ends[:, cut] = np.roll(ends[:, cut], 1, axis=0)
    first = np.linalg.norm(ends[0] - ends[1], axis=-1)
    second = np.linalg.norm(ends[2] - ends[3], axis=-1)
    return float(np.sum(first) + np.sum(second[four]))
