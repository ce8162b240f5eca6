"""SGD's noise on small models: where the stochastic-process picture holds, and where it stops.

The **studies** of Smith & Le (2018), section 5 and appendices: the covariance of minibatch noise,
the stationary law of SGD and heavy ball on a quadratic loss, the occupation of basins and the time
to leave them under Langevin noise, and the batch-size experiments on one-hidden-layer networks.
Plain parameters and a seed go in, one :class:`xarray.Dataset` comes out.

:func:`optimal_batch_sizes` reads the optimum off a sweep, with its uncertainty.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.stats import kurtosis, norm

from sims import sde, sgd, streams
from sims._noise_scale_chains import batch_mean_products, draw_batch_means, quadratic_chain
from sims._noise_scale_optima import optimal_batch_sizes
from store import datasets
from theory._validation import positive_array, positive_integer
from theory.landscapes import (
    DoubleWell,
    LineWellMixture,
    basin_log_probabilities,
    stationary_points,
)
from theory.noise_scale import (
    SAMPLERS,
    basin_log_odds,
    continuous_stationary_covariance,
    estimate_noise_scale,
    gradient_noise_covariance,
    heavy_ball_stationary_covariance,
    kramers_time,
    mean_passage_time,
)

Array = NDArray[np.float64]

__all__ = [
    "STUDIES",
    "basin_occupation",
    "batch_size_sweep",
    "gradient_noise",
    "gradient_noise_scale",
    "gradient_normality",
    "kramers_times",
    "optimal_batch_sizes",
    "stationary_covariance",
    "two_batch_estimates",
]

_load = functools.lru_cache(maxsize=2)(datasets.load)


# --- networks ------------------------------------------------------------------------------------


def batch_size_sweep(
    *,
    dataset: str = "digits",
    train_sizes: Sequence[int] = (500,),
    test_size: int = 1200,
    pool: int = 1,
    pixel_scale: float = 1.0,
    model: str = "relu",
    hidden: int = 50,
    learning_rates: Sequence[float] = (0.1,),
    momenta: Sequence[float] = (0.9,),
    dampened: bool = False,
    weight_decays: Sequence[float] = (0.0,),
    batch_sizes: Sequence[int] = (4, 8, 16, 32, 64, 128, 250, 500),
    training_time: float = 400.0,
    looks: int = 1,
    sampler: str = "without_replacement",
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    r"""Train a small network at every combination of settings and measure it on a test set.

    Every run makes ``training_time`` / :math:`\epsilon` updates, so that runs of one call are
    compared at equal time t = updates :math:`\times\,\epsilon`, as in the paper's Figure 5.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it. The digits are split at random; of other sets, the
        training and test files are each drawn from.
    train_sizes : sequence of int
        N. Smaller training sets are parts of the larger ones.
    test_size : int
    pool : int
        Average blocks of ``pool`` × ``pool`` pixels.
    pixel_scale : float
        Features are pixels in [0, pixel_scale].
    model : str
        "relu", or "softmax" for the convex model.
    hidden : int
        Hidden units of "relu".
    learning_rates, momenta, weight_decays, batch_sizes : sequence
        ε, m, the L2 coefficient of the mean loss, and B. Where B > N there is no run, and NaN.
    dampened : bool
        Multiply the gradient by 1 - m in the momentum's update.
    training_time : float
        ε times the number of updates.
    looks : int
        Number of evaluations, equally spaced, the last one at the end.
    sampler : str
        As :func:`sims.sgd.train` takes it.
    seed : int
        Draws the images, initial weights and batches.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.

    Returns
    -------
    xarray.Dataset
        ``train_loss``, ``test_loss`` (nats, infinite after divergence), ``train_accuracy`` and
        ``test_accuracy`` along learning_rate, momentum, weight_decay, train_size, batch_size and
        ``time`` (ε × updates).

    Raises
    ------
    ValueError
        If the data set has too few images, or an argument is out of range.

    References
    ----------
    Smith & Le (2018), sections 4 and 5, Figures 3 to 8.
    """
    axes: dict[str, Sequence[float]] = {
        "learning_rate": learning_rates,
        "momentum": momenta,
        "weight_decay": weight_decays,
        "train_size": train_sizes,
        "batch_size": batch_sizes,
    }
    positive_integer("looks", looks)
    positive_integer("train_size", min(train_sizes))
    positive_array("learning_rate", learning_rates)
    positive_array("training_time", training_time, ndim=0)
    rng = np.random.default_rng(seed)
    train, test = _split(dataset, data_dir, max(train_sizes), test_size, pool, rng)
    grid = np.meshgrid(*(np.asarray(values) for values in axes.values()), indexing="ij")
    rates, momentum, decay, sizes, batches = grid
    possible = batches <= sizes
    gain = 1 - momentum if dampened else np.ones_like(momentum)
    times = np.linspace(0, 1, looks + 1)[1:]
    runs = sgd.train(
        model,
        pixel_scale * train[0],
        train[1],
        learning_rate=(rates * gain)[possible],
        batch_size=batches[possible],
        updates=np.maximum(looks, np.rint(training_time / rates[possible])),
        momentum=momentum[possible],
        weight_decay=decay[possible],
        train_size=sizes[possible],
        sampler=sampler,
        hidden=hidden if model == "relu" else None,
        test=(pixel_scale * test[0], test[1]),
        look_at=tuple(times),
        rng=rng,
    )
    measures = {}
    for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
        values = np.full((*possible.shape, looks), np.nan)
        values[possible] = getattr(runs, name)
        measures[name] = ((*axes, "time"), values)
    coordinates = {name: list(values) for name, values in axes.items()}
    return xr.Dataset(
        measures,
        {**coordinates, "time": training_time * times},
        {"classes": int(train[1].max()) + 1},
    )


def _split(
    dataset: str,
    data_dir: str | None,
    train_size: int,
    test_size: int,
    pool: int,
    rng: np.random.Generator,
) -> tuple[tuple[Array, NDArray[np.int64]], tuple[Array, NDArray[np.int64]]]:
    """Draw a training and a test set without overlap: features in [0, 1], and labels."""
    positive_integer("train_size", train_size)
    positive_integer("test_size", test_size)
    parts = ("all", "all") if dataset == "digits" else ("train", "test")
    sources = [_load(dataset, data_dir, part=part) for part in parts]
    taken = (slice(0, train_size), slice(0, test_size))
    orders = [rng.permutation(len(source.labels)) for source in sources]
    if dataset == "digits":
        taken = (slice(0, train_size), slice(train_size, train_size + test_size))
        orders = [orders[0], orders[0]]
    sets = []
    for source, order, part, wanted in zip(
        sources, orders, taken, (train_size, test_size), strict=True
    ):
        rows = order[part]
        if len(rows) < wanted:
            raise ValueError(
                f"{dataset!r} has {len(source.labels)} images: too few for {train_size} to train "
                f"and {test_size} to test"
            )
        n, (height, width) = len(rows), source.images.shape[1:]
        if pool < 1 or height % pool or width % pool:
            raise ValueError(f"pool is {pool}; it must divide {height} and {width}")
        blocks = source.images[rows].reshape(n, height // pool, pool, width // pool, pool)
        features = blocks.mean((2, 4)).reshape(n, -1) / source.max_value
        sets.append((features, source.labels[rows]))
    return sets[0], sets[1]


def gradient_normality(
    *,
    dataset: str = "digits",
    train_size: int = 500,
    hidden: int = 800,
    batch_sizes: Sequence[int] = (1, 30),
    draws: int = 50_000,
    bins: int = 60,
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    """Compare one weight's minibatch gradient, before training, with a normal distribution.

    The weight, of the softmax layer, is drawn at random from those of hidden units that are active
    for a tenth of the examples or more.

    Parameters
    ----------
    dataset, train_size, seed, data_dir
        As :func:`batch_size_sweep` takes them.
    hidden : int
        Hidden ReLUs.
    batch_sizes : sequence of int
        Batches are drawn without replacement.
    draws : int
        Batches drawn at each size.
    bins : int
        Bins of the histograms, from -5 to 5 standard deviations.

    Returns
    -------
    xarray.Dataset
        Along ``batch_size``: ``excess_kurtosis``; ``distance``, the largest difference between the
        distribution function and that of a normal with the same mean and variance; and ``density``
        along ``standardized``, the bins' centers.

    Raises
    ------
    ValueError
        As :func:`batch_size_sweep`; also if a batch is not smaller than the training set.

    References
    ----------
    Smith & Le (2018), appendix C, Figure 9.
    """
    positive_integer("draws", draws)
    positive_integer("bins", bins)
    rng = np.random.default_rng(seed)
    (X, y), _ = _split(dataset, data_dir, train_size, 1, 1, rng)
    slopes = _one_weight_slopes(X, y, hidden, rng)
    edges = np.linspace(-5, 5, bins + 1)
    rows = []
    for batch_size in batch_sizes:
        means = _batch_means(slopes, batch_size, draws, rng)
        z = np.sort((means - means.mean()) / means.std())
        steps = np.arange(draws + 1) / draws
        distance = max(np.max(steps[1:] - norm.cdf(z)), np.max(norm.cdf(z) - steps[:-1]))
        density = np.histogram(z, edges)[0] / (draws * np.diff(edges))
        rows.append((kurtosis(means), distance, density))
    excess, distances, densities = (np.array(column) for column in zip(*rows, strict=True))
    return xr.Dataset(
        {
            "excess_kurtosis": ("batch_size", excess),
            "distance": ("batch_size", distances),
            "density": (("batch_size", "standardized"), densities),
        },
        {"batch_size": list(batch_sizes), "standardized": 0.5 * (edges[1:] + edges[:-1])},
    )


def _one_weight_slopes(
    X: Array, y: NDArray[np.int64], hidden: int, rng: np.random.Generator
) -> Array:
    """Per-example gradients (N,) of one softmax weight of a network at its start."""
    classes = int(y.max()) + 1
    units, weights = (
        rng.uniform(-1, 1, shape) * np.sqrt(6 / sum(shape))
        for shape in ((X.shape[1], hidden), (hidden, classes))
    )
    activity = np.maximum(X @ units, 0)
    j = rng.choice(np.flatnonzero((activity > 0).mean(0) >= 0.1))
    k = rng.integers(classes)
    scores = activity @ weights
    probabilities = np.exp(scores - scores.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    slopes: Array = activity[:, j] * (probabilities[:, k] - (y == k))
    return slopes


def _batch_means(values: Array, batch_size: int, draws: int, rng: np.random.Generator) -> Array:
    """Return means of batches drawn without replacement from ``values`` (N,)."""
    if not 1 <= batch_size < len(values):
        raise ValueError(f"batch_size is {batch_size}; it must be from 1 to {len(values) - 1}")
    means = np.empty(draws)
    draw_batch_means(streams.states(rng, 1)[0], np.ascontiguousarray(values), batch_size, means)
    return means


def gradient_noise_scale(
    *,
    dataset: str = "digits",
    train_size: int = 1500,
    hidden: int = 50,
    learning_rate: float = 0.05,
    batch_size: int = 32,
    epochs: Sequence[float] = (0.25, 0.5, 1.0, 2.0, 4.0),
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    """Measure McCandlish's simple noise scale ``tr C / |G|²`` along a training run of plain SGD.

    All training examples enter: the trace of the gradient's covariance over examples and the
    squared norm of their mean are exact for the training set.

    Parameters
    ----------
    dataset, train_size, hidden, seed, data_dir
        As :func:`batch_size_sweep` takes them.
    learning_rate, batch_size : float, int
        Of the run, which has no momentum.
    epochs : sequence of float
        Increasing times to measure at.

    Returns
    -------
    xarray.Dataset
        ``noise_trace`` (tr C), ``gradient_square`` (``|G|²``), ``noise_scale`` and ``train_loss``
        along ``epoch``.

    Raises
    ------
    ValueError
        As :func:`batch_size_sweep`; also if ``epochs`` do not increase from above 0.

    References
    ----------
    McCandlish et al. (2018), arXiv:1812.06162, section 2.2.
    """
    positive_integer("batch_size", batch_size)
    rng = np.random.default_rng(seed)
    (X, y), _ = _split(dataset, data_dir, train_size, 1, 1, rng)
    times = np.asarray(epochs, dtype=float)
    if times.ndim != 1 or np.any(np.diff(times, prepend=0.0) <= 0):
        raise ValueError(f"epochs must increase from above 0, got {list(epochs)}")
    updates = np.maximum(1, np.rint(np.diff(times, prepend=0.0) * train_size / batch_size))
    weights, rows = None, []
    for count in updates:  # without momentum a run can be cut into pieces
        runs = sgd.train(
            "relu",
            X,
            y,
            hidden=hidden,
            learning_rate=learning_rate,
            batch_size=batch_size,
            updates=count,
            initial=weights,
            rng=rng,
        )
        weights = runs.weights
        rows.append((*_gradient_moments(X, y, hidden, weights), float(runs.train_loss[-1])))
    trace, square, loss = np.array(rows).T
    return xr.Dataset(
        {
            "noise_trace": ("epoch", trace),
            "gradient_square": ("epoch", square),
            "noise_scale": ("epoch", trace / square),
            "train_loss": ("epoch", loss),
        },
        {"epoch": times},
    )


def _gradient_moments(
    X: Array, y: NDArray[np.int64], hidden: int, weights: NDArray[Any]
) -> tuple[float, float]:
    """Return tr C and |G|² of a one-hidden-layer network, without its per-example gradients.

    A layer's gradient for one example is the product of its inputs and its outputs' slopes, so its
    squared norm is the product of theirs.
    """
    n, d = X.shape
    classes, split = int(y.max()) + 1, (d + 1) * hidden
    first = weights[:split].reshape(d + 1, hidden).astype(float)
    second = weights[split:].reshape(hidden + 1, classes).astype(float)
    inputs = np.column_stack([X, np.ones(n)])
    active = np.column_stack([np.maximum(inputs @ first, 0), np.ones(n)])
    scores = active @ second
    slopes = np.exp(scores - scores.max(1, keepdims=True))
    slopes /= slopes.sum(1, keepdims=True)
    slopes[np.arange(n), y] -= 1
    back = (slopes @ second[:-1].T) * (active[:, :-1] > 0)
    squares = np.zeros(n)
    mean_square = 0.0
    for rows, columns in ((inputs, back), (active, slopes)):
        squares += (rows**2).sum(1) * (columns**2).sum(1)
        mean_square += float(np.sum((rows.T @ columns / n) ** 2))
    return float(squares.sum() - n * mean_square) / (n - 1), mean_square


# --- laws of the process -------------------------------------------------------------------------


def gradient_noise(
    *,
    train_size: int = 24,
    n_features: int = 3,
    batch_sizes: Sequence[int] = (1, 4, 12, 24),
    draws: int = 100_000,
    seed: int = 0,
) -> xr.Dataset:
    """Measure the covariance of minibatch means under the three samplers.

    Parameters
    ----------
    train_size, n_features : int
        N gradients in P dimensions, standard normal.
    batch_sizes : sequence of int
    draws : int
        Pairs of successive batches drawn at each size.
    seed : int

    Returns
    -------
    xarray.Dataset
        Along ``sampler`` and ``batch_size``: ``trace`` and ``lag_trace``, of the covariance of one
        batch's mean and of that with the next batch of the epoch, beside ``trace_theory`` and
        ``lag_trace_theory``; ``error``, the Frobenius norm of the difference of the first from
        theory, relative to theory (absolute where that is zero). ``lag_trace`` is NaN where an
        epoch has one batch.

    Raises
    ------
    ValueError
        If a number is not a positive integer, or a batch is larger than the training set.

    References
    ----------
    Smith & Le (2018), before equation 12.
    """
    positive_integer("draws", draws)
    rng = np.random.default_rng(seed)
    shape = (positive_integer("train_size", train_size), positive_integer("n_features", n_features))
    gradients = rng.normal(size=shape)
    centered = gradients - gradients.mean(0)
    shown = ("trace", "trace_theory", "lag_trace", "lag_trace_theory", "error")
    found = np.full((len(SAMPLERS), len(batch_sizes), len(shown)), np.nan)
    states = streams.states(rng, found[..., 0].size).reshape(*found.shape[:2], 4)
    for i, sampler in enumerate(SAMPLERS):
        for k, B in enumerate(batch_sizes):
            theory = gradient_noise_covariance(gradients, B, sampler=sampler)
            one_epoch = sampler != "shuffle" or train_size >= 2 * B
            lag_theory = (
                gradient_noise_covariance(gradients, B, sampler=sampler, lag=1)
                if one_epoch
                else np.full_like(theory, np.nan)
            )
            same, following = np.zeros_like(theory), np.zeros_like(theory)
            # An epoch of a single batch: every batch is the first of its epoch.
            batch_mean_products(states[i, k], centered, B, i, draws, same, following)
            size = np.linalg.norm(theory)
            found[i, k] = (
                np.trace(same),
                np.trace(theory),
                np.trace(following) if one_epoch else np.nan,
                np.trace(lag_theory),
                np.linalg.norm(same - theory) / (size if size > 0 else 1.0),
            )
    coordinates = {"sampler": list(SAMPLERS), "batch_size": list(batch_sizes)}
    return xr.Dataset(
        {name: (tuple(coordinates), found[..., j]) for j, name in enumerate(shown)}, coordinates
    )


def stationary_covariance(
    *,
    settings: Sequence[Sequence[float]] = ((0.05, 1, 0.0), (0.2, 4, 0.0), (0.02, 4, 0.9)),
    train_size: int = 256,
    curvatures: Sequence[float] = (0.03, 0.1, 0.3, 1.0, 3.0),
    sampler: str = "without_replacement",
    burn_in: int = 20_000,
    steps: int = 400_000,
    seed: int = 0,
) -> xr.Dataset:
    r"""Follow SGD on a quadratic loss and compare the variance of its weights with theory.

    The loss of example i is :math:`\frac12\sum_j h_j (w_j - x_{ij})^2` with standard normal x, so
    that the gradient noise does not depend on w, and minibatches are drawn as in any training run.

    Parameters
    ----------
    settings : sequence of (learning rate, batch size, momentum)
    train_size : int
        N.
    curvatures : sequence of float (P,)
        :math:`h_j`.
    sampler : str
        "with_replacement" or "without_replacement"; theory for "shuffle" is another.
    burn_in, steps : int
        Steps before, and that are averaged over.
    seed : int

    Returns
    -------
    xarray.Dataset
        ``variance``, ``exact`` (of the discrete process), ``continuous`` (of the stochastic
        differential equation) and ``noise`` (of a minibatch gradient) along ``setting`` and
        ``curvature``; ``learning_rate``,
        ``batch_size`` and ``momentum`` along ``setting``.

    Raises
    ------
    ValueError
        If a number is out of range, or a setting is unstable.

    References
    ----------
    Smith & Le (2018), equation 13 and appendix D; Liu, Ziyin & Ueda (2021), arXiv:2012.03636.
    """
    positive_integer("steps", steps)
    positive_integer("burn_in", burn_in, minimum=0)
    if sampler not in SAMPLERS[:2]:
        raise ValueError(f"sampler is {sampler!r}; it must be one of {', '.join(SAMPLERS[:2])}")
    rng = np.random.default_rng(seed)
    h = np.asarray(curvatures, dtype=float)
    X = rng.normal(size=(positive_integer("train_size", train_size), len(h)))
    X -= X.mean(0)
    hessian = np.diag(h)
    variance, noise, exact, continuous = (np.zeros((len(settings), len(h))) for _ in range(4))
    for i, (rate, B, m) in enumerate(settings):
        if B % 1 != 0:
            raise ValueError(f"a batch size must be an integer, got {B:g}")
        C = gradient_noise_covariance(-X * h, int(B), sampler=sampler)
        noise[i] = np.diag(C)
        exact[i] = np.diag(heavy_ball_stationary_covariance(hessian, C, rate, m).position)
        continuous[i] = np.diag(continuous_stationary_covariance(hessian, C, rate, m))
    states = streams.states(rng, len(settings))
    for i, (rate, B, m) in enumerate(settings):
        index = SAMPLERS.index(sampler)
        chain = (states[i], X, h, rate, m, int(B), index, burn_in, steps, variance[i])
        quadratic_chain(*chain)
    rates, batches, momenta = (list(column) for column in zip(*settings, strict=True))
    dims = ("setting", "curvature")
    return xr.Dataset(
        {
            "variance": (dims, variance),
            "noise": (dims, noise),
            "exact": (dims, exact),
            "continuous": (dims, continuous),
        },
        {
            "curvature": h,
            "learning_rate": ("setting", rates),
            "batch_size": ("setting", batches),
            "momentum": ("setting", momenta),
        },
    )


def basin_occupation(
    *,
    costs: Sequence[float] = (0.0, 1.2),
    curvatures: Sequence[float] = (30.0, 2.0),
    centers: Sequence[float] = (-0.9, 0.9),
    temperatures: Sequence[float] = (0.6, 0.8, 1.0, 1.25, 1.6),
    paths: int = 512,
    step_size: float = 4e-3,
    steps: int = 12_000,
    burn_in: int = 5_000,
    seed: int = 0,
) -> xr.Dataset:
    """Count how often Langevin dynamics visits a narrow deep basin and a wide shallow one.

    Parameters
    ----------
    costs, curvatures, centers : sequences of two floats
        Of :class:`theory.landscapes.LineWellMixture`: depth, curvature and place of its wells.
    temperatures : sequence of float
    paths : int
        Independent paths, half of which start in either well.
    step_size : float
    steps, burn_in : int
        Steps that are counted, and before.
    seed : int

    Returns
    -------
    xarray.Dataset
        Log odds of the wide basin, along ``temperature``: ``simulated`` with its standard error
        over paths ``error``, ``exact`` (quadrature) and ``laplace`` (the ratio of the basins'
        Laplace evidences at temperature 1). ``landscape`` along ``position``, the cost itself.

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Smith & Le (2018), appendix A.
    """
    positive_integer("paths", paths, minimum=2)
    landscape = LineWellMixture(
        costs=np.asarray(costs), curvatures=np.asarray(curvatures), centers=np.asarray(centers)
    )
    far = 8.0 * np.sqrt(max(temperatures) / np.min(curvatures))
    lower, upper = min(centers) - far, max(centers) + far
    edge = stationary_points(landscape, lower=lower, upper=upper).maxima
    minima = landscape.minima
    if len(minima) != 2:
        raise ValueError(f"costs, curvatures and centers make {len(minima)} wells, not two")
    start = np.tile(minima, paths // 2 + 1)[:paths]
    rng = np.random.default_rng(seed)
    simulated, error = np.empty(len(temperatures)), np.empty(len(temperatures))
    for i, T in enumerate(temperatures):
        shares = sde.occupation(
            sde.langevin(landscape, T),
            start,
            edges=edge,
            step_size=step_size,
            steps=steps,
            burn_in=burn_in,
            scheme="platen",
            rng=rng,
        )
        p = shares[:, 1].mean()
        simulated[i] = np.log(p / (1 - p))
        error[i] = shares[:, 1].std(ddof=1) / np.sqrt(paths) / (p * (1 - p))
    exact = basin_log_probabilities(landscape, temperatures, lower=lower, upper=upper)
    log_curvatures = np.log(landscape.hessian(minima))
    laplace = basin_log_odds(landscape.value(minima), log_curvatures, temperatures)
    position = np.linspace(min(centers) - 1.5, max(centers) + 2.0, 200)
    return xr.Dataset(
        {
            "simulated": ("temperature", simulated),
            "error": ("temperature", error),
            "exact": ("temperature", np.diff(exact, axis=-1)[:, 0]),
            "laplace": ("temperature", np.diff(laplace, axis=-1)[:, 0]),
            "landscape": ("position", landscape.value(position)),
        },
        {"temperature": list(temperatures), "position": position},
    )


def kramers_times(
    *,
    barrier: float = 1.0,
    temperatures: Sequence[float] = (0.5, 0.33, 0.25, 0.2, 0.17),
    paths: int = 256,
    step_size: float = 2e-3,
    seed: int = 0,
) -> xr.Dataset:
    """Time how long Langevin dynamics needs from one minimum of a double well to the other.

    Parameters
    ----------
    barrier : float
        Height of the barrier; the minima are at -1 and 1.
    temperatures : sequence of float
    paths : int
    step_size : float
    seed : int

    Returns
    -------
    xarray.Dataset
        Along ``temperature``: the mean time ``simulated`` with its standard error ``error``,
        ``exact`` (the double integral) and ``kramers`` (its limit of low temperature).

    Raises
    ------
    ValueError
        If a number is out of range.

    References
    ----------
    Kramers (1940), Physica 7, 284.
    """
    positive_array("step_size", step_size, ndim=0)
    landscape = DoubleWell(barrier=barrier)
    left, right = landscape.minima
    curvatures = landscape.hessian([left, landscape.saddle])
    rng = np.random.default_rng(seed)
    rows = []
    for T in temperatures:
        limit = float(kramers_time(curvatures[0], curvatures[1], barrier, T))
        passage = sde.first_passage(
            sde.langevin(landscape, T),
            np.full(positive_integer("paths", paths, minimum=2), left),
            upper=right,
            step_size=step_size,
            max_steps=int(100 * limit / step_size),
            rng=rng,
        )
        mean, error = passage.times.mean(), passage.times.std(ddof=1) / np.sqrt(paths)
        exact = mean_passage_time(landscape.value, left, right, T)
        rows.append((mean, error, float(exact), limit))
    names = ("simulated", "error", "exact", "kramers")
    return xr.Dataset(
        {
            name: ("temperature", column)
            for name, column in zip(names, np.transpose(rows), strict=True)
        },
        {"temperature": list(temperatures)},
    )


def two_batch_estimates(
    *,
    n_features: int = 50,
    gradient_square: float = 0.05,
    noise_trace: float = 20.0,
    small_batch: int = 8,
    large_batch: int = 128,
    steps: int = 20_000,
    seed: int = 0,
) -> xr.Dataset:
    """Apply the two-batch estimators of the gradient noise scale to Gaussian gradients.

    Parameters
    ----------
    n_features : int
        Dimension of the gradient.
    gradient_square, noise_trace : float
        The true ``|G|²`` and tr C; C is isotropic.
    small_batch, large_batch : int
    steps : int
        Pairs of batches.
    seed : int

    Returns
    -------
    xarray.Dataset
        ``ratio`` of estimate to truth and its standard ``error``, along ``quantity``: ``|G|²``,
        tr C and the noise scale, their ratio.

    Raises
    ------
    ValueError
        If a number is not positive, there are fewer than two steps, or the batches are not in
        order.

    References
    ----------
    McCandlish et al. (2018), arXiv:1812.06162, appendix A.1.
    """
    positive_integer("n_features", n_features)
    positive_array("gradient_square", gradient_square, ndim=0)
    positive_array("noise_trace", noise_trace, ndim=0)
    positive_integer("small_batch", small_batch)
    positive_integer("large_batch", large_batch, minimum=small_batch + 1)
    positive_integer("steps", steps, minimum=2)
    rng = np.random.default_rng(seed)
    G = np.sqrt(gradient_square / n_features)
    norms = [
        np.sum(
            (G + rng.normal(size=(steps, n_features)) * np.sqrt(noise_trace / n_features / B)) ** 2,
            1,
        )
        for B in (small_batch, large_batch)
    ]
    found = estimate_noise_scale(*norms, small_batch_size=small_batch, large_batch_size=large_batch)
    truth = {
        "gradient_square": gradient_square,
        "noise_trace": noise_trace,
        "noise_scale": noise_trace / gradient_square,
    }
    ratios = [getattr(found, name) / true for name, true in truth.items()]
    errors = [getattr(found, f"{name}_error") / true for name, true in truth.items()]
    return xr.Dataset(
        {"ratio": ("quantity", ratios), "error": ("quantity", errors)}, {"quantity": list(truth)}
    )


STUDIES = (
    batch_size_sweep,
    gradient_normality,
    gradient_noise_scale,
    gradient_noise,
    stationary_covariance,
    basin_occupation,
    kramers_times,
    two_batch_estimates,
)
