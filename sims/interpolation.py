"""Interpolation, simulated: SGD's choice among perfect fits, and kernels that fit any labels.

The **studies** of Zhang et al. (2017), section 5 and appendix D: plain parameters and a seed go in,
one :class:`xarray.Dataset` comes out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from sims import _interpolation_features as image_features
from sims import streams
from sims._interpolation_cholesky import TiledCholesky, tile_slices
from sims._interpolation_machines import DistanceKernel, KernelMachine, LinearKernel
from store import datasets
from theory import interpolation as closed_form
from theory._validation import finite_array, positive_integer, positive_number

Array = NDArray[np.float64]
Labels = NDArray[np.int64]

__all__ = [
    "FEATURES",
    "KERNELS",
    "LOSSES",
    "STUDIES",
    "interpolant_hessians",
    "kernel_interpolation",
    "sgd_limit",
]

FEATURES = ("pixels", "gabor", "random_convolution")
KERNELS = ("gaussian", "laplacian", "linear")

# Each loss is zero at z = y and positive elsewhere; what is needed of it is its second derivative
# in z: of (z - y)²/2, of ln cosh(z - y), and of eᶻ - eʸ - eʸ(z - y), a Poisson model's deviance.
LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "square": lambda z, y: np.ones_like(z),
    "log_cosh": lambda z, y: np.cosh(z - y) ** -2.0,
    "poisson": lambda z, y: np.exp(z),
}

_load = functools.lru_cache(maxsize=2)(datasets.load)


# --- linear models -------------------------------------------------------------------------------


def sgd_limit(
    *,
    n_examples: int = 100,
    n_features: int = 400,
    start_norms: Sequence[float] = (0.0, 1.0, 20.0),
    step: float = 1.0,
    epochs: int = 400,
    looks: int = 100,
    seed: int = 0,
) -> xr.Dataset:
    r"""Run SGD on an overparametrized linear model and compare its end with the closed form.

    Inputs and targets are standard normal; the loss is half the squared error; each update is by
    one example, drawn with replacement.

    Parameters
    ----------
    n_examples, n_features : int
        n < d.
    start_norms : sequence of float
        Norms of the initial weights; their direction is random.
    step : float
        Learning rate times the largest squared norm of an input, in (0, 2).
    epochs : int
        n updates each.
    looks : int
        Number of times, equally spaced and the last at the end, that the distance is measured.
    seed : int

    Returns
    -------
    xarray.Dataset
        ``distance`` to the predicted limit, relative to the limit's norm, along ``start_norm`` and
        ``epoch``. Along ``start_norm``, at the end: ``null_drift``, the part of w - w₀ that is
        orthogonal to all inputs, relative to w; ``norm`` of w, and ``predicted_norm``, the root of
        ``minimum_norm`` (without dimensions) squared and the squared orthogonal part of w₀.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Zhang et al. (2017), section 5, equation 3.
    """
    positive_integer("n_examples", n_examples)
    positive_integer("n_features", n_features, minimum=n_examples + 1)
    positive_integer("looks", looks)
    positive_integer("epochs", epochs, minimum=looks)
    norms = finite_array("start_norms", start_norms, ndim=1)
    if np.any(norms < 0):
        raise ValueError(f"start_norms must be at least 0, got {norms.min():g}")
    if not 0 < positive_number("step", step) < 2:
        raise ValueError(f"step must be in (0, 2), got {step:g}")
    rng = np.random.default_rng([seed, 0])
    X = rng.normal(size=(n_examples, n_features))
    y = rng.normal(size=n_examples)
    directions = rng.normal(size=(len(norms), n_features))
    starts = norms[:, None] * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    updates = np.diff(np.rint(np.linspace(0, epochs * n_examples, looks + 1)).astype(int))
    states = streams.states(rng, len(norms))
    weights = np.stack(
        [
            _follow_sgd(state, X, y, step, updates, start)
            for state, start in zip(states, starts, strict=True)
        ]
    )
    limits = np.stack([closed_form.sgd_limit(X, y, initial=start) for start in starts])
    distances = np.linalg.norm(weights - limits[:, None], axis=-1)
    ends = weights[:, -1]
    minimum_norm = closed_form.minimum_norm_interpolant(X, y).norm
    span = np.linalg.qr(X.T)[0]
    kept = np.linalg.norm(_orthogonal(starts, span), axis=1)
    drift = np.linalg.norm(_orthogonal(ends - starts, span), axis=1)
    end_norms = np.linalg.norm(ends, axis=1)
    return _dataset(
        {
            "distance": (
                ("start_norm", "epoch"),
                distances / np.linalg.norm(limits, axis=1, keepdims=True),
                "relative distance to the predicted limit",
            ),
            "null_drift": (("start_norm",), drift / end_norms, "drift orthogonal to the inputs"),
            "norm": (("start_norm",), end_norms, "norm of the weights"),
            "predicted_norm": (
                ("start_norm",),
                np.hypot(minimum_norm, kept),
                "predicted norm of the weights",
            ),
            "minimum_norm": ((), minimum_norm, "least norm of an interpolant"),
        },
        {"start_norm": norms, "epoch": np.cumsum(updates) / n_examples},
    )


def _follow_sgd(
    state: Any, X: Array, y: Array, step: float, updates: NDArray[np.int64], start: Array
) -> Array:
    """Return the weights (looks, d) after so many more updates each."""
    learning_rate = step / np.max(np.sum(X**2, axis=1))
    w, path = start.copy(), []
    for count in updates:
        _single_example_sgd(state, X, y, learning_rate, count, w)
        path.append(w.copy())
    return np.stack(path)


@streams.jit
def _single_example_sgd(
    state: Any, X: Any, y: Any, learning_rate: float, updates: int, w: Any
) -> None:
    """Make updates of w (d,), in place, each by one example's squared error."""
    n, d = X.shape
    for _ in range(updates):
        i = streams.integer(state, n)
        error = -y[i]
        for j in range(d):
            error += X[i, j] * w[j]
        for j in range(d):
            w[j] -= learning_rate * error * X[i, j]


def _orthogonal(vectors: Array, span: Array) -> Array:
    """Return the part of vectors (..., d) orthogonal to the orthonormal columns of ``span``."""
    return np.asarray(vectors - (vectors @ span) @ span.T)


def _dataset(
    variables: dict[str, tuple[tuple[str, ...], Any, str]], coordinates: dict[str, Any]
) -> xr.Dataset:
    """Return a dataset of numbers without a unit: (dimensions, values, long name) of each."""
    return xr.Dataset(
        {
            name: (dims, values, {"long_name": long_name, "units": "1"})
            for name, (dims, values, long_name) in variables.items()
        },
        coordinates,
    )


def interpolant_hessians(
    *,
    n_examples: int = 60,
    n_features: int = 200,
    far: float = 100.0,
    seed: int = 0,
) -> xr.Dataset:
    r"""Compare the Hessians of the mean loss at two interpolants of the same data.

    Inputs and targets are standard normal. One interpolant is the shortest; the other lies ``far``
    from it, in a random direction orthogonal to all inputs. The dense Hessians are assembled from
    the second derivatives at the predictions that each of the two really makes.

    Parameters
    ----------
    n_examples, n_features : int
        n < d.
    far : float
        Distance between the interpolants, positive.
    seed : int

    Returns
    -------
    xarray.Dataset
        Along ``loss`` (the keys of :data:`LOSSES`): ``difference`` of the two spectra and
        ``theory_difference`` of the nearer one's from the closed form, each the largest over
        eigenvalues and relative to the largest eigenvalue; along ``loss`` and ``interpolant``
        ("shortest", "far"): ``rank``. Along ``interpolant``: ``norm`` of the weights, and
        ``residual``, the largest error of a prediction. ``n_examples`` and ``n_features`` without
        dimensions.

    Raises
    ------
    ValueError
        If an argument is out of range.

    References
    ----------
    Zhang et al. (2017), section 5.
    """
    positive_integer("n_examples", n_examples)
    positive_integer("n_features", n_features, minimum=n_examples + 1)
    positive_number("far", far)
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_examples, n_features))
    y = rng.normal(size=n_examples)
    away = _orthogonal(rng.normal(size=n_features), np.linalg.qr(X.T)[0])
    shortest = closed_form.minimum_norm_interpolant(X, y).weights
    interpolants = {"shortest": shortest, "far": shortest + far * away / np.linalg.norm(away)}
    difference, theory_difference, ranks = [], [], []
    for curvature in LOSSES.values():
        hessians = [
            X.T @ (curvature(X @ w, y)[:, None] * X) / n_examples for w in interpolants.values()
        ]
        here, there = (np.linalg.eigvalsh(H)[::-1] for H in hessians)
        theory = np.zeros(n_features)
        theory[:n_examples] = closed_form.interpolation_hessian(X, curvature(y, y)).eigenvalues
        difference.append(np.max(np.abs(here - there)) / here[0])
        theory_difference.append(np.max(np.abs(here - theory)) / here[0])
        ranks.append([np.linalg.matrix_rank(H, hermitian=True) for H in hessians])
    weights = np.stack(list(interpolants.values()))
    residuals = np.max(np.abs(weights @ X.T - y), axis=1)
    return _dataset(
        {
            "difference": (("loss",), difference, "relative difference of spectra"),
            "theory_difference": (("loss",), theory_difference, "relative error of theory"),
            "rank": (("loss", "interpolant"), ranks, "numerical rank"),
            "norm": (("interpolant",), np.linalg.norm(weights, axis=1), "norm of the weights"),
            "residual": (("interpolant",), residuals, "largest residual"),
            "n_examples": ((), n_examples, "examples"),
            "n_features": ((), n_features, "features"),
        },
        {"loss": list(LOSSES), "interpolant": list(interpolants)},
    )


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
    images, and twice that for a linear kernel. True and random labels share the factorization, of
    :math:`n^3/6` multiplications.

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
        - ``residual``: largest :math:`|K\alpha - Y|`, rounding alone without a ridge;
        - ``rkhs_norm``: :math:`\sqrt{\mathrm{tr}\,\alpha^\top K\alpha}`, without a ridge
          :math:`\sqrt{\mathrm{tr}\,Y^\top K^{-1}Y}`;
        - ``label_complexity``: :math:`\sqrt{y^\top(K + \lambda I)^{-1}y}`, with y = 1 for the lower
          half of the classes and -1 for the upper.

        ``n_features`` without dimensions.

    Raises
    ------
    ValueError
        If an argument is out of range, the data set has too few images or cannot be loaded (see
        :func:`store.datasets.load`), or K with a ridge is not positive definite to working
        precision.

    References
    ----------
    Zhang et al. (2017), section 5, Table 3, appendix D. The Gaussian kernel with
    :math:`\gamma = 0.02` on MNIST is that of the authors' published code. Random convolution:
    Coates & Ng (2012), with random patches in place of k-means (from memory, not checked
    against the paper's text).
    """
    positive_integer("tile", tile)
    penalties = finite_array("ridges", ridges, ndim=1)
    if np.any(penalties < 0):
        raise ValueError(f"ridges must be at least 0, got {penalties.min():g}")
    _check_kernel(features, kernel, gamma)
    positive_integer("n_filters", n_filters)
    rng = np.random.default_rng([seed, 0])
    split = _draw_split(dataset, data_dir, train_size, test_size, rng)
    given = _given_labels(split, force_test, np.random.default_rng([seed, 1]))
    tiles = tile_slices(given.shape[1], tile)
    machine, n_features = _machine(
        split, tiles, features, kernel, gamma, n_filters, np.random.default_rng([seed, 2])
    )
    fits = _fit(machine, tiles, given, split, penalties)
    shape = len(penalties), 2
    measured: dict[str, tuple[tuple[str, ...], Any, str]] = {
        name: (("ridge", "labels"), np.reshape([fit[name] for fit in fits], shape), long_name)
        for name, long_name in _MEASURED.items()
    }
    return _dataset(
        {**measured, "n_features": ((), n_features, "features")},
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
    positive_integer("train_size", train_size)
    positive_integer("test_size", test_size)
    parts = {"train": train_size, "test": test_size}
    if dataset == "digits":
        parts = {"all": train_size + test_size}
    images, labels = [], []
    for part, size in parts.items():
        source = _load(dataset, data_dir, part=part)
        rows = rng.permutation(len(source.labels))[:size]
        if len(rows) < size:
            raise ValueError(
                f"{dataset!r} has {len(rows)} images in part {part!r}: too few for {train_size} to "
                f"train and {test_size} to test"
            )
        images.append(source.images[rows].astype(np.float32) / np.float32(source.max_value))
        labels.append(source.labels[rows])
    joined = np.concatenate(images)
    joined = joined.reshape(*joined.shape[:3], -1)
    return _Split(joined, np.concatenate(labels), train_size)


def _given_labels(split: _Split, force_test: bool, rng: np.random.Generator) -> Labels:
    """Return the two sets of labels to be fitted (2, n): true ones, and random or forced ones."""
    n = len(split.labels) if force_test else split.train_size
    true = split.labels[:n]
    other = rng.integers(split.labels.max() + 1, size=n)
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
        return LinearKernel([found], n, rows), found.shape[1]
    function = getattr(closed_form, f"{kernel or 'gaussian'}_kernel")
    return DistanceKernel(found, n, rows, functools.partial(function, gamma=gamma)), found.shape[1]


def _fit(
    machine: KernelMachine, rows: Sequence[slice], given: Labels, split: _Split, penalties: Array
) -> list[dict[str, float]]:
    """Return the measures of each fit, for each penalty to both sets of labels (2, n)."""
    one_hot = np.eye(int(split.labels.max()) + 1)
    targets = np.concatenate(one_hot[given], axis=1)
    coefficients = np.concatenate(
        [_solve(machine, rows, targets, ridge) for ridge in penalties], axis=1
    )
    values = machine.predict(coefficients)
    fits = len(penalties) * len(given)
    return [
        _measure(*fit, split)
        for fit in zip(
            np.split(values, fits, axis=1),
            np.split(coefficients, fits, axis=1),
            np.tile(given, (len(penalties), 1)),
            strict=True,
        )
    ]


def _solve(machine: KernelMachine, rows: Sequence[slice], targets: Array, ridge: float) -> Array:
    """Return the coefficients of the fits to targets (n, m)."""
    tiles = machine.tiles()
    for i in range(len(rows)):
        np.einsum("kk->k", tiles[i, i])[:] += ridge
    try:
        return TiledCholesky(tiles, rows).solve(targets)
    except np.linalg.LinAlgError as error:
        raise ValueError(
            f"K with ridge {ridge:g} is not positive definite to working precision ({error}); use "
            f"a larger ridge"
        ) from None


def _measure(values: Array, coefficients: Array, labels: Labels, split: _Split) -> dict[str, float]:
    """Return each measure of one fit, with values (N, classes) and coefficients (n, classes)."""
    n, classes = coefficients.shape
    predicted = values.argmax(1)
    tested = slice(split.train_size, None)
    signs = np.where(np.arange(classes) < classes / 2, 1.0, -1.0)
    return {
        "test_error": float(np.mean(predicted[tested] != split.labels[tested])),
        "train_error": float(np.mean(predicted[:n] != labels)),
        "residual": float(np.max(np.abs(values[:n] - np.eye(classes)[labels]))),
        "rkhs_norm": _root(np.sum(coefficients * values[:n])),
        "label_complexity": _root(signs[labels] @ coefficients @ signs),
    }


def _root(square: Any) -> float:
    """Return the root of a square that rounding may have made negative."""
    return float(np.sqrt(np.maximum(square, 0.0)))


STUDIES = (sgd_limit, interpolant_hessians, kernel_interpolation)
