"""Interpolation, simulated: SGD's choice among perfect fits, and kernels that fit any labels.

The **studies** of Zhang et al. (2017), section 5 and appendix D: plain parameters and a seed go in,
one :class:`xarray.Dataset` comes out.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sims import _interpolation_features as image_features
from sims._interpolation_cholesky import TiledCholesky, tile_slices
from sims._interpolation_machines import DistanceKernel, KernelMachine, LinearKernel
from store import datasets
from theory._validation import finite_array, positive_integer, positive_number
from theory.interpolation import gaussian_kernel, laplacian_kernel

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

__all__ = ["FEATURES", "KERNELS", "STUDIES", "kernel_interpolation"]

FEATURES = ("pixels", "gabor", "random_convolution")
KERNELS = {"gaussian": gaussian_kernel, "laplacian": laplacian_kernel, "linear": None}

_load = functools.lru_cache(maxsize=2)(datasets.load)


# --- kernels on images ---------------------------------------------------------------------------


def kernel_interpolation(
    *,
    dataset: str = "digits",
    train_size: int = 1437,
    test_size: int = 360,
    features: str = "pixels",
    kernel: str | None = None,
    gamma: float = 0.5,
    n_filters: int = 1000,
    ridges: Sequence[float] = (0.0,),
    force_test: bool = False,
    tile: int = 2000,
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    r"""Classify images by the kernel interpolant of least norm, of true and of random labels.

    The targets are a 1 for an image's class and 0 for the others; the coefficients solve
    :math:`(K + \lambda I)\alpha = Y` in float64, and the largest output is the predicted class. Of
    K the lower half alone is held, in tiles: :math:`4n^2` bytes and a little, 15 GB for 60,000
    images. True and random labels share the factorization, of :math:`n^3/3` multiplications.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it. The digits are split at random; of other sets, the
        training and test files are each drawn from.
    train_size, test_size : int
    features : str
        "pixels", in [0, 1]. "gabor": magnitudes of Gabor filters' responses. "random_convolution":
        one layer of random patches for filters.
    kernel : str, optional
        "gaussian", :math:`e^{-\gamma|x - z|^2}`; "laplacian", :math:`e^{-\gamma|x - z|}`; "linear",
        the default for random convolution and the only one for it. Else gaussian is the default.
    gamma : float
        Of the gaussian or laplacian kernel. For pixels it is in units of their distances; Gabor
        features are first scaled to a median squared distance of 1.
    n_filters : int
        Of the random convolution.
    ridges : sequence of float (L,)
        :math:`\lambda \ge 0`; each costs a factorization.
    force_test : bool
        Train on the test images too: with their true labels, and with random labels for them
        beside true ones for the others. Both fit all they are given; the second is a fit to the
        true training labels that is wrong wherever it is tested.
    tile : int
        Rows of a tile; it changes the results by rounding alone.
    seed : int
        Draws the images, labels and filters.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.

    Returns
    -------
    xarray.Dataset
        Along ``ridge`` and ``labels`` ("true" and "random", or "true" and "forced"):

        - ``test_error``: share of the test images that are not put into their true class;
        - ``train_error``: share of the examples trained on that do not get the label given;
        - ``residual``: largest :math:`|K\alpha - Y|`;
        - ``rkhs_norm``: :math:`\sqrt{\mathrm{tr}\,\alpha^\top K\alpha}`, without a ridge
          :math:`\sqrt{\mathrm{tr}\,Y^\top K^{-1}Y}`;
        - ``label_complexity``: :math:`\sqrt{y^\top(K + \lambda I)^{-1}y}`, with y = 1 for the lower
          half of the classes and -1 for the upper.

        ``n_features`` without dimensions.

    Raises
    ------
    ValueError
        If an argument is out of range, the data set has too few images, or K with a ridge is not
        positive definite to working precision.

    References
    ----------
    Zhang et al. (2017), section 5, Table 3, appendix D. The Gaussian kernel with
    :math:`\gamma = 0.02` on MNIST is that of the authors' published code. Random convolution: Coates
    & Ng (2012), with random patches in place of k-means (from memory, not checked against the
    paper's text).
    """
    positive_integer("tile", tile)
    penalties = finite_array("ridges", ridges, ndim=1)
    if np.any(penalties < 0):
        raise ValueError(f"ridges must be at least 0, got {penalties.min():g}")
    _check_kernel(features, kernel, gamma)
    positive_integer("n_filters", n_filters)
    rng = np.random.default_rng([seed, 0])
    split = _draw_split(dataset, data_dir, train_size, test_size, rng)
    classes = int(split.labels.max()) + 1
    given = _given_labels(split, classes, force_test, np.random.default_rng([seed, 1]))
    tiles = tile_slices(given.shape[1], tile)
    machine, n_features = _machine(
        split, tiles, features, kernel, gamma, n_filters, np.random.default_rng([seed, 2])
    )
    targets = np.concatenate([np.eye(classes)[labels] for labels in given], axis=1)
    halfway, coefficients = zip(
        *(_solve(machine, tiles, targets, ridge) for ridge in penalties), strict=True
    )
    # One fit has all columns of one class each: (ridge, row, labels, class).
    fits = (len(penalties), -1, len(given), classes)
    values = machine.predict(np.concatenate(coefficients, axis=1))
    values = values.reshape(-1, fits[0], *fits[2:]).swapaxes(0, 1)
    rows = [
        [
            _measure(values[i, :, k], half[:, k], whole[:, k], ridge, given[k], split)
            for k in range(len(given))
        ]
        for i, (ridge, half, whole) in enumerate(
            zip(penalties, np.reshape(halfway, fits), np.reshape(coefficients, fits), strict=True)
        )
    ]
    measured = {
        name: (
            ("ridge", "labels"),
            [[one[name] for one in row] for row in rows],
            {"long_name": long_name, "units": "1"},
        )
        for name, long_name in _MEASURED.items()
    }
    return xr.Dataset(
        {**measured, "n_features": ((), n_features, {"long_name": "features", "units": "1"})},
        {
            "ridge": ("ridge", penalties, {"long_name": "ridge penalty λ", "units": "1"}),
            "labels": ["true", "forced" if force_test else "random"],
        },
    )


_MEASURED = {
    "test_error": "error on the test images",
    "train_error": "error on the labels given",
    "residual": "largest residual on the training set",
    "rkhs_norm": "norm in the kernel's space",
    "label_complexity": "label complexity",
}


class _Split(NamedTuple):
    """Training images and then test images, (N, height, width, channels) in [0, 1]."""

    images: NDArray[np.float32]
    labels: Labels
    train_size: int


def _draw_split(
    dataset: str, data_dir: str | None, train_size: int, test_size: int, rng: np.random.Generator
) -> _Split:
    sizes = positive_integer("train_size", train_size), positive_integer("test_size", test_size)
    if dataset == "digits":
        sources = [_load(dataset, part="all")]
        drawn = [rng.permutation(len(sources[0].labels))[: sum(sizes)]]
        wanted = [sum(sizes)]
    else:
        sources = [_load(dataset, data_dir, part=part) for part in ("train", "test")]
        drawn = [
            rng.permutation(len(source.labels))[:size]
            for source, size in zip(sources, sizes, strict=True)
        ]
        wanted = list(sizes)
    for source, rows, size in zip(sources, drawn, wanted, strict=True):
        if len(rows) < size:
            raise ValueError(
                f"{dataset!r} has {len(source.labels)} images, too few for {size}: train_size is "
                f"{train_size}, test_size {test_size}"
            )
    images = np.concatenate(
        [
            source.images[rows].astype(np.float32) / np.float32(source.max_value)
            for source, rows in zip(sources, drawn, strict=True)
        ]
    )
    labels = np.concatenate(
        [source.labels[rows] for source, rows in zip(sources, drawn, strict=True)]
    )
    return _Split(images.reshape(*images.shape[:3], -1), labels, train_size)


def _given_labels(
    split: _Split, classes: int, force_test: bool, rng: np.random.Generator
) -> Labels:
    """Return the two sets of labels to be fitted (2, n): true ones, and random or forced ones."""
    n = len(split.labels) if force_test else split.train_size
    true = split.labels[:n]
    other = rng.integers(classes, size=n)
    if force_test:
        other[: split.train_size] = true[: split.train_size]
    return np.stack([true, other])


def _check_kernel(features: str, kernel: str | None, gamma: float) -> None:
    positive_number("gamma", gamma)
    if features not in FEATURES:
        raise ValueError(f"features is {features!r}; it must be one of {', '.join(FEATURES)}")
    if kernel is not None and kernel not in KERNELS:
        raise ValueError(f"kernel is {kernel!r}; it must be one of {', '.join(KERNELS)}")
    if features == "random_convolution" and kernel not in (None, "linear"):
        raise ValueError(f"kernel is {kernel!r}; for random_convolution it must be linear")


def _machine(
    split: _Split,
    rows: Sequence[slice],
    features: str,
    kernel: str | None,
    gamma: float,
    n_filters: int,
    rng: np.random.Generator,
) -> tuple[KernelMachine, int]:
    """Return the kernel machine, in tiles of the given rows, and the number of features."""
    n = rows[-1].stop
    if features == "random_convolution":
        blocks = image_features.random_convolution(split.images, split.train_size, n_filters, rng)
        return LinearKernel(blocks, n, rows), 1 + 8 * n_filters
    if features == "gabor":
        found = image_features.gabor(split.images, split.train_size, rng)
    else:
        found = image_features.pixels(split.images)
    if kernel == "linear":
        return LinearKernel(lambda: iter([found]), n, rows), found.shape[1]
    function = functools.partial(KERNELS[kernel or "gaussian"], gamma=gamma)
    return DistanceKernel(found, n, rows, function), found.shape[1]


def _solve(
    machine: KernelMachine, rows: Sequence[slice], targets: Array, ridge: float
) -> tuple[Array, Array]:
    """Return L⁻¹Y and K⁻¹Y, the ridge being a part of K = LLᵀ."""
    tiles = machine.tiles()
    for i in range(len(rows)):
        np.einsum("kk->k", tiles[i, i])[:] += ridge
    try:
        factor = TiledCholesky(tiles, rows)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"K with ridge {ridge:g} is not positive definite to working precision ({error}); use "
            f"a larger ridge"
        ) from None
    halfway = factor.solve_lower(targets)
    return halfway, factor.solve_upper(halfway)


def _measure(
    values: Array,
    halfway: Array,
    coefficients: Array,
    ridge: float,
    labels: Labels,
    split: _Split,
) -> dict[str, float]:
    """Return each measure of one fit, with values (N, classes) and the others (n, classes)."""
    n, classes = halfway.shape
    predicted = values.argmax(1)
    square = np.sum(halfway**2) - ridge * np.sum(coefficients**2)
    signs = np.where(np.arange(classes) < classes / 2, 1.0, -1.0)
    tested = slice(split.train_size, None)
    return {
        "test_error": float(np.mean(predicted[tested] != split.labels[tested])),
        "train_error": float(np.mean(predicted[:n] != labels)),
        "residual": float(np.max(np.abs(values[:n] - np.eye(classes)[labels]))),
        "rkhs_norm": float(np.sqrt(square)),
        "label_complexity": float(np.linalg.norm(halfway @ signs)),
    }


STUDIES: tuple[Any, ...] = (kernel_interpolation,)
