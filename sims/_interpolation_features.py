"""Features of images: pixels, Gabor filters, and one layer of random convolution.

Images are (N, height, width, channels) of float32, from 0 to 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from sims.streams import jit

Array = NDArray[np.float64]
Single = NDArray[np.float32]

_IMAGES_AT_ONCE = 64
_WAVELENGTHS = (4.0, 8.0)  # of Gabor filters, pixels
_ORIENTATIONS = 8
_FILTERS_AT_ONCE = 500
_CONTRAST = 10 / 255**2  # of a patch: variance that is added before division by its root
_WHITENING = 0.1  # variance that is added to the patches' covariance before its inverse root
_THRESHOLD, _ZERO = np.float32(0.25), np.float32(0)  # of the rectifiers


def pixels(images: Single) -> Array:
    """Return the pixels as rows (N, d)."""
    return images.reshape(len(images), -1).astype(np.float64)


def patches(images: Single, size: int) -> Single:
    """Return all patches (N, places, size * size * channels), by rows of places."""
    windows = sliding_window_view(images, (size, size), axis=(1, 2))
    n, height, width = windows.shape[:3]
    return np.ascontiguousarray(windows).reshape(n, height * width, -1)


# --- Gabor filters -------------------------------------------------------------------------------


def gabor(images: Single, train_size: int, rng: np.random.Generator) -> Array:
    """Return pooled magnitudes of Gabor filters' responses as rows (N, d).

    A filter is a plane wave under a Gaussian envelope, less a multiple of the envelope that gives
    it sum zero; the magnitude is that of the responses to cosine and sine together. Magnitudes are
    averaged by Gaussian windows on a grid of 8 x 8, or of a window every two pixels on small
    images. The rows are scaled so that the median squared distance of training images (among 1000
    of them) is 1. Colors are averaged first.

    Wavelengths of 4 and 8 pixels, the envelope's half wavelength and the grid are the best of a
    small search by the Gaussian kernel's error on 5000 of MNIST's training images, trained on 5000
    others (seed 1000): 1.1%, where one wavelength alone has 1.4% to 1.5%, and pixels 3.9%.
    """
    gray = images.mean(-1)
    features = np.concatenate([_magnitudes(gray, wavelength) for wavelength in _WAVELENGTHS], 1)
    sample = features[rng.permutation(train_size)[:1000]]
    distances = pdist(sample, "sqeuclidean")
    features /= np.sqrt(np.median(distances)) if np.any(distances) else 1.0
    return features


def _magnitudes(images: Single, wavelength: float) -> Array:
    """Return pooled magnitudes (N, orientations * cells) at one wavelength.

    Waves and envelopes are products of a function of the row and one of the column, and so is their
    convolution with an image: a product with one band matrix from either side.
    """
    angles = np.pi * np.arange(_ORIENTATIONS) / _ORIENTATIONS
    height, width = images.shape[1:]
    down, down_sums = _wave_matrices(height, wavelength, np.sin(angles))
    along, along_sums = _wave_matrices(width, wavelength, np.cos(angles))
    down_envelope, along_envelope = (
        _wave_matrices(length, wavelength, np.zeros(1))[0] for length in (height, width)
    )
    sums = (down_sums * along_sums)[:, None, None]
    pool_down, pool_along = _pooling_matrix(height), _pooling_matrix(width)
    found = []
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        some = images[start : start + _IMAGES_AT_ONCE, None]
        response = down @ (some @ along.swapaxes(1, 2))
        response -= sums * (down_envelope @ (some @ along_envelope.swapaxes(1, 2)))
        pooled = pool_down @ np.abs(response) @ pool_along.T
        found.append(pooled.reshape(len(some), -1))
    return np.concatenate(found).astype(np.float64)


def _wave_matrices(
    length: int, wavelength: float, directions: Array
) -> tuple[NDArray[np.complex64], NDArray[np.complex64]]:
    """Return convolutions with waves along one axis (m, length, length), and the waves' sums (m,).

    The envelope has sum 1, over all offsets: beyond the image there is nothing.
    """
    offsets = np.arange(1 - length, length)
    reach = np.arange(-4 * int(wavelength), 4 * int(wavelength) + 1)
    deviation = wavelength / 2

    def wave(t: NDArray[np.int64]) -> NDArray[np.complex128]:
        phases = 2 * np.pi / wavelength * np.multiply.outer(directions, t)
        total = np.exp(-0.5 * (reach / deviation) ** 2).sum()
        return np.asarray(np.exp(1j * phases - 0.5 * (t / deviation) ** 2) / total)

    places = np.arange(length)
    index = places - places[:, None] + length - 1
    return (
        wave(offsets)[:, index].astype(np.complex64),
        wave(reach).sum(-1).astype(np.complex64),
    )


def _pooling_matrix(length: int) -> Single:
    """Return the weights (cells, length) of Gaussian windows on a grid, each of sum 1."""
    cells = min(8, max(1, length // 2))
    centers = (np.arange(cells) + 0.5) * length / cells - 0.5
    scaled = (np.arange(length) - centers[:, None]) / (length / cells)
    weights = np.exp(-2.0 * scaled**2)
    return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)


# --- random convolution --------------------------------------------------------------------------


def random_convolution(
    images: Single, train_size: int, n_filters: int, rng: np.random.Generator
) -> Iterator[Array]:
    """Yield features in blocks (N, b): all of them need not be in memory at once.

    The network of Coates & Ng (2012) with random patches for filters: patches are normalized in
    contrast and whitened, multiplied by the filters, rectified on both sides of a threshold, and
    summed over the quadrants of the image. Each feature has mean 0 and variance 1 over the first
    ``train_size`` images, unless it is constant there; all are scaled so that the mean square of a
    row is 1. A constant feature 1 comes first, for an intercept.
    """
    yield np.ones((len(images), 1))
    size = 5 if images.shape[1] < 12 else 6
    filters, offsets = _patch_filters(images[:train_size], size, n_filters, rng)
    quadrants = _quadrants(*(length - size + 1 for length in images.shape[1:3]))
    scale = 1 / np.sqrt(2 * 4 * n_filters)
    for start in range(0, n_filters, _FILTERS_AT_ONCE):
        part = slice(start, start + _FILTERS_AT_ONCE)
        features = _pooled(images, size, filters[:, part], offsets[part], quadrants)
        features -= features[:train_size].mean(0)
        deviations = features[:train_size].std(0)
        features *= scale / np.where(deviations > 0, deviations, 1.0)
        yield features


def _normalized_patches(images: Single, size: int) -> Single:
    """Return patches (N, places, p) of mean 0 and, but for flat ones, of unit variance."""
    found = patches(images, size)
    found -= found.mean(-1, keepdims=True)
    variances = np.einsum("npk,npk->np", found, found)[..., None] / found.shape[-1]
    return np.asarray(found / np.sqrt(variances + np.float32(_CONTRAST)))


def _patch_filters(
    images: Single, size: int, n_filters: int, rng: np.random.Generator
) -> tuple[Single, Single]:
    """Return filters (p, n_filters) that act on normalized patches, and their offsets.

    A filter is a whitened random patch f of unit length; its response to a patch x, whitened too,
    is ⟨f, W(x - mean)⟩ = ⟨Wf, x⟩ - ⟨Wf, mean⟩, with W symmetric.
    """
    sample = _sampled_patches(images[rng.permutation(len(images))[:2000]], size, rng)
    mean = sample.mean(0)
    variances, axes = np.linalg.eigh(np.cov(sample.T))
    whitening = (axes / np.sqrt(variances + _WHITENING)) @ axes.T
    chosen = sample[rng.integers(len(sample), size=n_filters)]
    filters = (chosen - mean) @ whitening
    filters /= np.maximum(np.linalg.norm(filters, axis=1, keepdims=True), 1e-12)
    filters = whitening @ filters.T
    return filters.astype(np.float32), (mean @ filters).astype(np.float32)


def _sampled_patches(images: Single, size: int, rng: np.random.Generator) -> Array:
    """Return normalized patches (m, p) from 40 random places of each image."""
    found = []
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        some = _normalized_patches(images[start : start + _IMAGES_AT_ONCE], size)
        places = rng.integers(some.shape[1], size=(len(some), 40))
        found.append(np.take_along_axis(some, places[..., None], 1).reshape(-1, some.shape[-1]))
    return np.concatenate(found).astype(np.float64)


def _quadrants(height: int, width: int) -> NDArray[np.int64]:
    """Return the quadrant, 0 to 3, of each place (height * width,)."""
    row, column = np.indices((height, width)).reshape(2, -1)
    return 2 * (row >= (height + 1) // 2) + (column >= (width + 1) // 2)


def _pooled(
    images: Single, size: int, filters: Single, offsets: Single, quadrants: NDArray[np.int64]
) -> Array:
    """Return the pooled responses of both rectifiers (N, 2 * 4 * filters)."""
    found = np.empty((len(images), 2, 4, filters.shape[1]), np.float32)
    for start in range(0, len(images), _IMAGES_AT_ONCE):
        some = _normalized_patches(images[start : start + _IMAGES_AT_ONCE], size)
        for i, places in enumerate(some, start):
            _rectify_and_pool(places @ filters, offsets, quadrants, _THRESHOLD, found[i])
    return found.reshape(len(images), -1).astype(np.float64)


@jit
def _rectify_and_pool(
    responses: Any, offsets: Any, quadrants: Any, threshold: Any, out: Any
) -> None:
    """Sum responses (places, filters) beyond the thresholds into ``out`` (2, 4, filters)."""
    out[:] = 0
    for place, quadrant in enumerate(quadrants):
        above, below, row = out[0, quadrant], out[1, quadrant], responses[place]
        for k in range(len(row)):
            value = row[k] - offsets[k]
            above[k] += max(value - threshold, _ZERO)
            below[k] += max(-value - threshold, _ZERO)
