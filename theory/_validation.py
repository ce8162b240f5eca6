"""What every function of ``theory`` demands of its arguments, checked before any work."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def finite_array(name: str, value: ArrayLike, *, ndim: int | None = None) -> Array:
    """Return ``value`` as a float64 array, or raise ValueError naming the argument."""
    try:
        if np.iscomplexobj(value):
            raise TypeError("it is complex")
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be an array of numbers: {error}") from None
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimensions, got shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{name} is empty: shape {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} has NaN or infinite values")
    return array


def data_array(name: str, value: ArrayLike, *, ndim: int) -> Array:
    """Return ``value`` as a finite float64 array whose sums of squares float64 can hold."""
    array = finite_array(name, value, ndim=ndim)
    largest = float(np.max(np.abs(array)))
    if largest > 1e140 or 0.0 < largest < 1e-140:
        raise ValueError(f"{name} is of size {largest:g}: its square is beyond float64's range")
    return array


def positive_array(name: str, value: ArrayLike) -> Array:
    """Return ``value`` as a float64 array of positive finite numbers, or raise ValueError."""
    array = finite_array(name, value)
    if np.any(array <= 0.0):
        raise ValueError(f"{name} must be positive, got {array.min():g}")
    return array


def positive_integer(name: str, value: int, *, minimum: int = 1) -> int:
    """Return ``value`` if it is an integer of at least ``minimum``, or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")
    return int(value)


def design_and_targets(X: ArrayLike, y: ArrayLike) -> tuple[Array, Array]:
    """Return a design (n, d) and one target per row (n,), both finite, or raise ValueError."""
    design = data_array("X", X, ndim=2)
    targets = data_array("y", y, ndim=1)
    if len(design) != len(targets):
        raise ValueError(f"X has {len(design)} rows but y has {len(targets)} entries")
    return design, targets
