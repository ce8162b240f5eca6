"""What every function of ``theory`` demands of its arguments, checked before any work."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def finite_array(name: str, value: ArrayLike, *, ndim: int | None = None) -> Array:
    """Return ``value`` as a float64 array, or raise ValueError naming the argument."""
    array = _float_array(name, value, ndim)
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} has NaN or infinite values")
    return array


def data_array(name: str, value: ArrayLike, *, ndim: int) -> tuple[Array, float]:
    """Return ``value`` as a finite float64 array and its sum of squares, which must be one too."""
    array = _float_array(name, value, ndim)
    squares = sum_of_squares(array)
    _check_scale(name, array, squares)
    return array, squares


def sum_of_squares(array: Array) -> float:
    """Return the sum of squares; it overflows to infinity without a warning."""
    flat = array.ravel(order="K")
    with np.errstate(over="ignore"):
        return float(flat @ flat)


def _check_scale(name: str, array: Array, squares: float) -> None:
    """Tell from the sum of squares that every entry is an ordinary number, or what is wrong."""
    if not (1e-280 < squares < 1e280 or not np.any(array)):
        size = float(np.max(np.abs(finite_array(name, array))))
        raise ValueError(f"{name} is of size {size:g}: its square is beyond float64's range")


def _float_array(name: str, value: ArrayLike, ndim: int | None) -> Array:
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
    return array


def positive_array(name: str, value: ArrayLike, *, ndim: int | None = None) -> Array:
    """Return ``value`` as a float64 array of positive finite numbers, or raise ValueError."""
    array = finite_array(name, value, ndim=ndim)
    if np.any(array <= 0.0):
        raise ValueError(f"{name} must be positive, got {array.min():g}")
    return array


def number(name: str, value: ArrayLike) -> float:
    """Return one finite number as a float, or raise ValueError."""
    return float(finite_array(name, value, ndim=0))


def positive_number(name: str, value: ArrayLike) -> float:
    """Return one positive finite number as a float, or raise ValueError."""
    return float(positive_array(name, value, ndim=0))


def nonnegative_number(name: str, value: ArrayLike) -> float:
    """Return one finite number of at least 0 as a float, or raise ValueError."""
    checked = number(name, value)
    if checked < 0.0:
        raise ValueError(f"{name} must not be negative, got {checked:g}")
    return checked


def decay(name: str, value: ArrayLike) -> float:
    """Return one number in [0, 1) as a float, such as a momentum, or raise ValueError."""
    checked = number(name, value)
    if not 0.0 <= checked < 1.0:
        raise ValueError(f"{name} must be in [0, 1), got {checked:g}")
    return checked


def positive_integer(name: str, value: int, *, minimum: int = 1) -> int:
    """Return ``value`` if it is an integer of at least ``minimum``, or raise ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ValueError(f"{name} must be an integer of at least {minimum}, got {value!r}")
    return int(value)


def design_and_targets(X: ArrayLike, y: ArrayLike) -> tuple[Array, Array, float, Array]:
    """Return a design (n, d), targets (n,), the design's sum of squares and Xᵀy; or ValueError.

    The last two take one pass over a large design together: a block that the first has brought
    into the cache costs the second next to nothing.
    """
    design = _float_array("X", X, 2)
    targets, _ = data_array("y", y, ndim=1)
    n, d = design.shape
    if n != len(targets):
        raise ValueError(f"X has {n} rows but y has {len(targets)} entries")
    squares, moments = 0.0, np.zeros(d)
    rows = max(1, 2**17 // d)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, n, rows):
            block = design[start : start + rows]
            squares += sum_of_squares(block)
            moments += targets[start : start + rows] @ block
    _check_scale("X", design, squares)
    return design, targets, squares, moments


def class_labels(name: str, y: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the sorted classes (K,), K ≥ 2, and the position of each label among them (n,)."""
    labels = np.asarray(y)
    if labels.dtype.kind not in "biu":
        labels = finite_array(name, y, ndim=1)
        if np.any(labels != np.floor(labels)) or np.max(np.abs(labels)) > 2.0**53:
            raise ValueError(f"{name} must hold integer class labels")
    if labels.ndim != 1 or labels.size == 0:
        raise ValueError(
            f"{name} must have 1 dimensions, one label per row, got shape {labels.shape}"
        )
    classes, codes = np.unique(labels.astype(np.int64), return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"{name} must hold at least two classes, got only {classes[0]}")
    return classes, codes


def symmetric_array(name: str, value: ArrayLike, *, ndim: int | None = None) -> Array:
    """Return symmetric matrices (..., P, P), rounding evened out, or raise ValueError."""
    array = finite_array(name, value, ndim=ndim)
    if array.ndim < 2 or array.shape[-1] != array.shape[-2]:
        raise ValueError(f"{name} must be square in its last two axes, got shape {array.shape}")
    transpose = array.swapaxes(-1, -2)
    asymmetry, size = np.max(np.abs(array - transpose)), np.max(np.abs(array))
    if asymmetry > 1e-8 * size:
        raise ValueError(
            f"{name} must be symmetric: entries differ from their mirror images by up to "
            f"{asymmetry:.3g}, the largest being {size:.3g}"
        )
    return 0.5 * array + 0.5 * transpose


def semidefinite_array(name: str, value: ArrayLike, *, ndim: int | None = None) -> Array:
    """Return positive semidefinite matrices (..., P, P), up to rounding, or raise ValueError."""
    array = symmetric_array(name, value, ndim=ndim)
    eigenvalues = np.linalg.eigvalsh(array)
    lowest, highest = eigenvalues[..., 0], np.max(np.abs(eigenvalues), axis=-1)
    if np.any(lowest < -1e-10 * highest):
        raise ValueError(
            f"{name} must be positive semidefinite, but its smallest eigenvalue is "
            f"{np.min(lowest):.3g}"
        )
    return array
