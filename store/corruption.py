"""Corruptions of labeled images, for the randomization tests of networks.

Each is a function of arrays and a random generator: the same seed gives the same corruption. Images
are arrays (n, ...) of any shape and type, one image an entry of the first axis; where several sets
are given, such as training and test images, one call corrupts them all.

References
----------
C. Zhang, S. Bengio, M. Hardt, B. Recht, O. Vinyals, "Understanding deep learning requires
rethinking generalization", ICLR 2017, Section 2: labels and pixels. S. Liu, D. Papailiopoulos,
D. Achlioptas, "Bad global minima exist and SGD can reach them", NeurIPS 2020: copies with zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from store._validation import positive_integer

__all__ = [
    "PIXEL_CORRUPTIONS",
    "CorruptedLabels",
    "RandomSource",
    "corrupt_label_sets",
    "corrupt_labels",
    "gaussian_pixels",
    "randomize_pixels",
    "replicate_with_zeros",
    "shuffle_pixels",
]

RandomSource = None | int | np.random.SeedSequence | np.random.Generator
Images = NDArray[Any]


# --- labels ---------------------------------------------------------------------------------------


class CorruptedLabels(NamedTuple):
    """Labels, some of which were replaced.

    Attributes
    ----------
    labels : ndarray of int64, shape (n,)
        The labels after the corruption.
    replaced : ndarray of bool, shape (n,)
        Whether the label was drawn anew; it can be the true one nevertheless.
    """

    labels: NDArray[np.int64]
    replaced: NDArray[np.bool_]


def corrupt_labels(
    labels: ArrayLike, probability: float, classes: int, rng: RandomSource = None
) -> CorruptedLabels:
    """Replace each label, with a probability, by a class drawn uniformly from all.

    The class that is drawn may be the true one, so a share (1 - 1/K) p of the labels is wrong. They
    are drawn once: a run of training sees the same labels in every epoch.

    Parameters
    ----------
    labels : array-like of int, shape (n,)
        True classes, 0 to K - 1.
    probability : float
        Probability p of each label to be replaced, 0 to 1. With 1, no label depends on its image.
    classes : int
        Number K of classes.
    rng : None, int, SeedSequence or Generator
        Where the randomness comes from.

    Returns
    -------
    CorruptedLabels
        The labels and which of them were replaced.

    Raises
    ------
    ValueError
        If `labels` are not integers from 0 to K - 1 in one dimension, `probability` is not between
        0 and 1, or `classes` is not a positive integer.

    References
    ----------
    Zhang et al. (2017), Section 2: "partially corrupted labels" and "random labels".

    Examples
    --------
    >>> corrupted = corrupt_labels([0, 1, 2, 0, 1, 2], 0.5, 3, rng=0)
    >>> corrupted.labels, corrupted.replaced.sum()
    (array([0, 1, 2, 2, 1, 2]), np.int64(3))
    """
    _check_corruption(probability, classes)
    true = _checked_labels(labels, classes)
    rng = np.random.default_rng(rng)
    replaced = rng.random(len(true)) < probability
    drawn = rng.integers(0, classes, len(true))
    return CorruptedLabels(np.where(replaced, drawn, true), replaced)


def corrupt_label_sets(
    sets: Sequence[ArrayLike], probability: float, classes: int, rng: RandomSource = None
) -> list[CorruptedLabels]:
    """Corrupt the labels of several sets, such as those of training and test, independently.

    Against test labels that are corrupted as those of training are, a classifier of error e on the
    true ones has the error (1 - p) e + p (1 - 1/K): both are worth a report.

    Parameters
    ----------
    sets : sequence of array-like of int, each of shape (n,)
        True classes of each set.
    probability, classes, rng
        As :func:`corrupt_labels` takes them. The first set gets the labels that it would get alone.

    Returns
    -------
    list of CorruptedLabels
        One for each set.

    Raises
    ------
    ValueError
        As :func:`corrupt_labels` does.

    Examples
    --------
    >>> train, test = corrupt_label_sets([[0, 1, 2, 0, 1, 2], [1, 2]], 0.5, 3, rng=0)
    >>> train.labels, test.labels
    (array([0, 1, 2, 2, 1, 2]), array([1, 2]))
    """
    rng = np.random.default_rng(rng)
    return [corrupt_labels(labels, probability, classes, rng) for labels in sets]


def _check_corruption(probability: float, classes: int) -> None:
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"probability must be between 0 and 1, got {probability!r}")
    positive_integer("classes", classes)


def _checked_labels(labels: ArrayLike, classes: int) -> NDArray[np.int64]:
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise ValueError(
            f"labels must be integers in 1 dimension, got {array.dtype} in shape {array.shape}"
        )
    if array.size and not 0 <= array.min() <= array.max() < classes:
        raise ValueError(
            f"labels must be from 0 to {classes - 1}, got {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)


# --- pixels ---------------------------------------------------------------------------------------


def shuffle_pixels(
    sets: Sequence[Images], rng: RandomSource = None, *, channels: bool = False
) -> list[Images]:
    """Permute the pixels of all images alike: one permutation for all sets.

    Parameters
    ----------
    sets : sequence of ndarray, each of shape (n, ...)
        Images of one shape and any type.
    rng : None, int, SeedSequence or Generator
        Where the permutation comes from.
    channels : bool
        Whether the last axis holds color channels, which then move together; if not, every value
        moves on its own. The paper leaves it open.

    Returns
    -------
    list of ndarray
        The sets in their shapes and types.

    Raises
    ------
    ValueError
        If there is no set, a set has no axis but the first (or, with channels, the first and last),
        or the sets differ in the shape of an image.

    References
    ----------
    Zhang et al. (2017), Section 2: "shuffled pixels".

    Examples
    --------
    >>> shuffle_pixels([np.arange(8).reshape(2, 2, 2)], rng=0)[0].tolist()
    [[[2, 0], [1, 3]], [[6, 4], [5, 7]]]
    """
    flat = _as_pixels(sets, channels)
    order = np.random.default_rng(rng).permutation(flat[0].shape[1])
    return _shaped([pixels[:, order] for pixels in flat], sets)


def randomize_pixels(
    sets: Sequence[Images], rng: RandomSource = None, *, channels: bool = False
) -> list[Images]:
    """Permute the pixels of each image on its own: it keeps its histogram and nothing else.

    Parameters
    ----------
    sets, rng, channels
        As :func:`shuffle_pixels` takes them.

    Returns
    -------
    list of ndarray
        The sets in their shapes and types.

    Raises
    ------
    ValueError
        As :func:`shuffle_pixels` does.

    References
    ----------
    Zhang et al. (2017), Section 2: "random pixels".

    Examples
    --------
    >>> randomize_pixels([np.arange(8).reshape(2, 2, 2)], rng=0)[0].tolist()
    [[[2, 0], [1, 3]], [[7, 6], [5, 4]]]
    """
    rng = np.random.default_rng(rng)
    return _shaped([_permuted(pixels, rng) for pixels in _as_pixels(sets, channels)], sets)


def gaussian_pixels(
    sets: Sequence[Images], rng: RandomSource = None, *, channels: bool = False
) -> list[Images]:
    """Draw pixels from a normal law with the mean and variance of the first set's pixels.

    Standardizing the images, which often comes after, forgets both. Integers are rounded and
    clipped to the range of their type, which takes 8 % of the variance of CIFAR-10's bytes.

    Parameters
    ----------
    sets, rng
        As :func:`shuffle_pixels` takes them.
    channels : bool
        Whether the last axis holds color channels, each of which then has its own mean and
        variance. The paper leaves it open.

    Returns
    -------
    list of ndarray
        Noise in the shapes and types of the sets.

    Raises
    ------
    ValueError
        As :func:`shuffle_pixels` does, and if the first set is empty.

    References
    ----------
    Zhang et al. (2017), Section 2: "Gaussian".

    Examples
    --------
    >>> noise, = gaussian_pixels([np.full((2, 3), 7, np.uint8)], rng=0)
    >>> noise.tolist()
    [[7, 7, 7], [7, 7, 7]]
    """
    first = _as_pixels(sets, channels)[0]
    if not first.size:
        raise ValueError(f"sets[0] is empty: shape {sets[0].shape}")
    axes = (0, 1) if channels else None
    mean, deviation = (np.asarray(f(first, axis=axes, dtype=np.float64)) for f in (np.mean, np.std))
    rng = np.random.default_rng(rng)
    noise = [np.empty(part.shape, part.dtype) for part in sets]
    for rows in (rows for part in noise for rows in _blocks(part)):
        rows[...] = _as_type(rng.normal(mean, deviation, rows.shape), rows.dtype)
    return noise


def _blocks(images: Images) -> Iterator[Images]:
    """Cut images into views of some millions of values: what is drawn for them fits the memory."""
    length = max(1, 2**24 // max(1, images[:1].size))
    return (images[start : start + length] for start in range(0, len(images), length))


def _as_type(values: NDArray[np.float64], dtype: np.dtype[Any]) -> Images:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype, copy=False)


def _as_pixels(sets: Sequence[Images], channels: bool) -> list[Images]:
    """View each set as (n, pixels), or (n, pixels, channels)."""
    if not len(sets):
        raise ValueError("sets must hold at least one array of images")
    shape = sets[0].shape[1:]
    for number, part in enumerate(sets):
        if part.ndim < 2 + channels:
            kind = "color images" if channels else "images"
            raise ValueError(f"sets[{number}] must hold {kind}, got shape {part.shape}")
        if part.shape[1:] != shape:
            raise ValueError(
                f"sets must hold images of one shape, got {shape} and {part.shape[1:]}"
            )
    image = shape[-1:] if channels else ()
    count = int(np.prod(shape[:-1] if channels else shape))
    return [part.reshape(len(part), count, *image) for part in sets]


def _permuted(pixels: Images, rng: np.random.Generator) -> Images:
    if pixels.ndim == 2:
        return rng.permuted(pixels, axis=1)
    orders = rng.permuted(np.broadcast_to(np.arange(pixels.shape[1]), pixels.shape[:2]), axis=1)
    return np.take_along_axis(pixels, orders[:, :, None], axis=1)


def _shaped(flat: Sequence[Images], sets: Sequence[Images]) -> list[Images]:
    return [pixels.reshape(part.shape) for pixels, part in zip(flat, sets, strict=True)]


PixelCorruption = Callable[[Sequence[Images], np.random.Generator], list[Images]]
PIXEL_CORRUPTIONS: Mapping[str, PixelCorruption] = {
    "shuffled pixels": shuffle_pixels,
    "random pixels": randomize_pixels,
    "Gaussian pixels": gaussian_pixels,
}


# --- copies ---------------------------------------------------------------------------------------


def replicate_with_zeros(
    images: Images, copies: int, share: float, rng: RandomSource = None
) -> Images:
    """Copy each image several times and set other values to zero in each of the copies.

    With labels drawn at random, these are the images that a network first memorizes to start from
    an adversarial initialization: copies of one image get labels that conflict, which the zeros
    alone let it fit. Those labels are what :func:`corrupt_labels` makes of any labels of the copies
    with probability 1.

    Parameters
    ----------
    images : ndarray, shape (n, ...)
        Images of D values each, of any type.
    copies : int
        Number R of copies of each image.
    share : float
        Share of the D values that is set to zero, 0 to 1: the floor of `share` D, chosen at random
        in each copy. Values, not pixels: the channels of a color image are zeroed on their own.
    rng : None, int, SeedSequence or Generator
        Where the choice comes from.

    Returns
    -------
    ndarray, shape (n R, ...)
        The copies of the first image, then those of the second, and so on.

    Raises
    ------
    ValueError
        If `images` has less than 2 dimensions, `copies` is not a positive integer, or `share` is
        not between 0 and 1.

    References
    ----------
    Liu et al. (2020), the authors' code: replication factor R and ratio of values zeroed out.

    Examples
    --------
    >>> replicate_with_zeros(np.array([[1, 2, 3, 4], [5, 6, 7, 8]]), 2, 0.5, rng=0).tolist()
    [[1, 0, 0, 4], [1, 2, 0, 0], [0, 6, 0, 8], [0, 6, 7, 0]]
    """
    if images.ndim < 2:
        raise ValueError(f"images must have at least 2 dimensions, got shape {images.shape}")
    positive_integer("copies", copies)
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"share must be between 0 and 1, got {share!r}")
    rng = np.random.default_rng(rng)
    replicated = np.repeat(images, copies, axis=0)
    values = replicated.reshape(len(replicated), int(np.prod(images.shape[1:])))
    chosen = np.arange(values.shape[1]) < int(share * values.shape[1])
    for rows in _blocks(values):
        rows[rng.permuted(np.broadcast_to(chosen, rows.shape), axis=1)] = 0
    return replicated
