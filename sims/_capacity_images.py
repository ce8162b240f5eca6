"""Images for the randomization tests: drawn, corrupted and standardized as in Zhang et al."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from store import corruption, datasets
from store.corruption import PIXEL_CORRUPTIONS
from theory._validation import positive_integer

__all__ = [
    "PIXEL_CORRUPTIONS",
    "Images",
    "Labels",
    "corrupt_labels",
    "draw_images",
    "standardized",
]

Array = NDArray[np.float64]
Labels = NDArray[np.int64]
Images = tuple[Array, Labels]  # pixels (n, d) in [0, 1] and classes (n,)

_load = functools.lru_cache(maxsize=1)(datasets.load)


def draw_images(
    dataset: str, data_dir: str | None, rng: np.random.Generator, **sizes: int
) -> list[Images]:
    """Draw sets of images without overlap from all of a data set, one for each named size."""
    for name, size in sizes.items():
        positive_integer(name, size)
    source = _load(dataset, data_dir)
    wanted, available = sum(sizes.values()), len(source.labels)
    if wanted > available:
        raise ValueError(f"{' + '.join(sizes)} needs {wanted} images; {dataset!r} has {available}")
    order = rng.permutation(available)[:wanted]
    pixels = source.images[order].reshape(wanted, -1) / source.max_value
    cuts = np.cumsum(list(sizes.values()))[:-1]
    pairs = zip(np.split(pixels, cuts), np.split(source.labels[order], cuts), strict=True)
    return list(pairs)


def standardized(pixels: Array) -> Array:
    """Give each image mean 0 and variance 1; as TensorFlow does, the deviation is floored."""
    centered = pixels - pixels.mean(axis=1, keepdims=True)
    deviation = centered.std(axis=1, keepdims=True)
    return np.asarray(centered / np.maximum(deviation, 1.0 / np.sqrt(pixels.shape[1])))


def corrupt_labels(labels: Labels, share: float, classes: int, rng: np.random.Generator) -> Labels:
    """Replace each label, with probability ``share``, by a class drawn uniformly from all."""
    return corruption.corrupt_labels(labels, share, classes, rng).labels
