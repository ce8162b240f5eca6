"""Memorizing networks, measured: how exact they are, what is unstable, what they cost.

The **studies** of Zhang et al. (2017), section 4 and appendix C: plain parameters and a seed go in,
one :class:`xarray.Dataset` comes out. Labels are random throughout.
"""

from __future__ import annotations

import functools
import time
import tracemalloc
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from store import datasets
from theory._validation import decay, positive_integer
from theory.memorization import (
    MemorizingNetwork,
    hinge_weights,
    lemma_1,
    memorize,
    memorize_deep,
    memorize_general_position,
)

Array = NDArray[np.float64]

__all__ = ["STUDIES", "conditioning", "construction", "cost", "depths", "memorization"]

ARITHMETIC = ("float32", "float64", "feedback", "rational")

_load = functools.lru_cache(maxsize=2)(datasets.load)


# --- the fit --------------------------------------------------------------------------------------


def memorization(
    *,
    dataset: str = "gaussian",
    sizes: Sequence[int] = (100, 1000, 10_000, 100_000),
    n_features: Sequence[int] = (2, 10, 100),
    classes: int = 2,
    projections: int = 1,
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    """Fit random labels by the network of 2n + d weights, and by the same without feedback.

    Parameters
    ----------
    dataset : str
        "gaussian" for standard normal points, or as :func:`store.datasets.load` names it: then n
        images are drawn.
    sizes : sequence of int
        n.
    n_features : sequence of int
        d, of Gaussian points.
    classes : int
        Of the random labels: two are -1 and 1, more are one output each, 0 or 1.
    projections : int
        Directions to choose from.
    seed : int
        Draws points, labels and directions.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.

    Returns
    -------
    xarray.Dataset
        Along n and d:

        - ``error``: largest error of the stored parameters at a point, as the network reports it;
          ``evaluated_error`` is that of what it returns;
        - ``rounded_error``: the same for second differences that are each rounded by themselves;
        - ``accuracy``: share of the points that get their label;
        - ``n_parameters``, ``n_dense_parameters``, ``expected_parameters`` (2n + d for one output);
        - ``margin``: smallest projected gap; ``largest_weight``.

    Raises
    ------
    ValueError
        If the data set has too few images or equal ones with different labels, or an argument is
        out of range.

    References
    ----------
    Zhang et al. (2017), Theorem 1.
    """
    _check_integers("sizes", sizes)
    _check_integers("n_features", n_features)
    positive_integer("classes", classes, minimum=2)
    positive_integer("projections", projections)
    axis = list(n_features) if dataset == "gaussian" else [0]
    fits = []
    for d in axis:
        for n in sizes:
            rng = np.random.default_rng([seed, d, n])
            X = rng.normal(size=(n, d)) if d else _images(dataset, data_dir, n, rng)
            fits.append(_fit(X, rng.integers(classes, size=n), classes, projections, rng))
    if dataset != "gaussian":
        axis = [X.shape[1]]
    return xr.Dataset(
        {
            name: (
                ("n_features", "n"),
                np.reshape([fit[name] for fit in fits], (len(axis), len(sizes))),
                {"long_name": long_name, "units": "1"},
            )
            for name, long_name in _FIT.items()
        },
        {"n_features": axis, "n": list(sizes)},
    )


_FIT = {
    "error": "largest error of the stored parameters",
    "evaluated_error": "largest error as evaluated",
    "rounded_error": "largest error without feedback",
    "accuracy": "training accuracy",
    "n_parameters": "parameters",
    "n_dense_parameters": "parameters, projection not shared",
    "expected_parameters": "n (outputs + 1) + d",
    "margin": "smallest projected gap",
    "largest_weight": "largest weight",
}


def _check_integers(name: str, values: Sequence[int], *, minimum: int = 1) -> None:
    if len(values) == 0:
        raise ValueError(f"{name} is empty")
    for value in values:
        positive_integer(name, value, minimum=minimum)


def _images(
    dataset: str, data_dir: str | None, n: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    source = _load(dataset, data_dir)
    if n > len(source.labels):
        raise ValueError(f"{dataset!r} has {len(source.labels)} images, too few for n = {n}")
    rows = rng.permutation(len(source.labels))[:n]
    return source.images[rows].reshape(n, -1).astype(np.float32)


def _fit(
    X: NDArray[Any],
    labels: NDArray[np.int64],
    classes: int,
    projections: int,
    rng: np.random.Generator,
) -> dict[str, float]:
    y: Array = np.asarray(2.0 * labels - 1.0 if classes == 2 else np.eye(classes)[labels])
    network = memorize(X, y, rng=rng, projections=projections)
    values = network(X)
    predicted = (values > 0).astype(int) if y.ndim == 1 else values.argmax(1)
    without = _rounded_by_themselves(network, X, y)
    outputs = 1 if y.ndim == 1 else y.shape[1]
    return {
        "error": network.error,
        "evaluated_error": float(np.max(np.abs(values - y))),
        "rounded_error": float(np.max(np.abs(without(X) - y))),
        "accuracy": float(np.mean(predicted == labels)),
        "n_parameters": network.n_parameters,
        "n_dense_parameters": network.n_dense_parameters,
        "expected_parameters": len(X) * (outputs + 1) + X.shape[1],
        "margin": network.margin,
        "largest_weight": float(np.max(np.abs(network.weights))),
    }


def _rounded_by_themselves(network: MemorizingNetwork, X: NDArray[Any], y: Array) -> Any:
    """Return the network with the same hinges whose weights are plain second differences."""
    place = X.astype(np.float64) @ network.projection
    order = np.argsort(place)
    rises = np.diff(y[order], axis=0, prepend=0.0 * y[:1])
    runs = np.diff(place[order], prepend=network.biases[0]).reshape(-1, *[1] * (y.ndim - 1))
    weights = np.diff(rises / runs, axis=0, prepend=0.0 * y[:1])
    return MemorizingNetwork(
        network.projection, network.biases, weights, margin=network.margin, error=np.nan
    )


# --- conditioning ---------------------------------------------------------------------------------


def conditioning(
    *,
    sizes: Sequence[int] = (20, 50, 100, 500, 2000),
    interleavings: Sequence[float] = (0.0, 0.1, 0.5, 0.6, 0.75),
    n_features: int = 10,
    rational_up_to: int = 50,
    dense_up_to: int = 500,
    seed: int = 0,
) -> xr.Dataset:
    r"""Solve for the weights at biases :math:`x_{j-1} + \rho g_j`, in four kinds of arithmetic.

    Parameters
    ----------
    sizes : sequence of int
        n, Gaussian points, labels -1 and 1. Smaller sets are parts of larger ones.
    interleavings : sequence of float
        ρ in [0, 1).
    n_features : int
        d.
    rational_up_to : int
        Largest n for rational arithmetic.
    dense_up_to : int
        Largest n for the eigenvalues of the dense matrix.
    seed : int
        Draws points and labels.

    Returns
    -------
    xarray.Dataset
        Along ``interleave`` and n:

        - ``residual`` (arithmetic): largest \|A w - y\|. "float32" and "float64" are forward
          substitution, evaluated in the same arithmetic; "feedback" is
          :func:`theory.memorization.memorize`'s, evaluated exactly; "rational" has no rounding.
          Infinite beyond the range of the numbers;
        - ``largest_weight`` (arithmetic);
        - ``smallest_eigenvalue``, ``smallest_singular_value`` of A;
        - ``eigenvalue_error``: largest relative distance of the dense matrix's eigenvalues from
          :math:`x_j - b_j`, and ``above_diagonal``: its largest entry there.

    Raises
    ------
    ValueError
        If n is not at least 2, ρ not in [0, 1) or d not at least 1.

    References
    ----------
    Zhang et al. (2017), Lemma 1. That interleavings differ in floating point is not in the paper.
    """
    _check_integers("sizes", sizes, minimum=2)
    positive_integer("n_features", n_features)
    for rho in interleavings:
        decay("interleavings", rho)
    rng = np.random.default_rng([seed, 0])
    points = rng.normal(size=(max(sizes), n_features))
    signs = rng.choice([-1.0, 1.0], size=max(sizes))
    normal = np.random.default_rng([seed, 1]).normal(size=n_features)
    direction = normal / np.linalg.norm(normal)  # the one that memorize draws, too
    cells = []
    for rho in interleavings:
        for n in sizes:
            X, y = points[:n], signs[:n]
            place = X @ direction
            order = np.argsort(place)
            x, gaps = place[order], np.diff(place[order])
            b = np.append(x[0] - np.mean(gaps), x[:-1] + rho * gaps)
            solutions = [
                _plainly(x, b, y[order], np.float32),
                _plainly(x, b, y[order], np.float64),
                _with_feedback(X, y, rho, [seed, 1]),
                _rationally(x, b, y[order]) if n <= rational_up_to else (np.nan, np.nan),
            ]
            residuals, weights = zip(*solutions, strict=True)
            lemma = _lemma(x, b, dense=n <= dense_up_to)
            cells.append({"residual": residuals, "largest_weight": weights, **lemma})
    shape = (len(interleavings), len(sizes))
    variables = {}
    for name, long_name in _CONDITIONING.items():
        values = np.array([cell[name] for cell in cells])
        dimensions = ("interleave", "n", "arithmetic")[: 1 + values.ndim]
        attributes = {"long_name": long_name, "units": "1"}
        variables[name] = (dimensions, values.reshape(*shape, *values.shape[1:]), attributes)
    return xr.Dataset(
        variables,
        {
            "interleave": ("interleave", list(interleavings), {"long_name": "interleaving ρ"}),
            "n": list(sizes),
            "arithmetic": list(ARITHMETIC),
        },
    )


_CONDITIONING = {
    "residual": "largest residual |Aw - y|",
    "largest_weight": "largest weight",
    "smallest_eigenvalue": "smallest eigenvalue of A",
    "smallest_singular_value": "smallest singular value of A",
    "eigenvalue_error": "relative error of the dense eigenvalues",
    "above_diagonal": "largest entry above the diagonal",
}


def _plainly(x: Array, b: Array, y: Array, kind: Any) -> tuple[float, float]:
    points, biases, labels = (values.astype(kind) for values in (x, b, y))
    # In float32 points may coincide, or biases with points: then there is no solution.
    if not (np.all(biases < points) and np.all(points[:-1] <= biases[1:])):
        return np.inf, np.inf
    weights = hinge_weights(points, biases, labels)
    with np.errstate(all="ignore"):
        residual = np.max(np.abs(np.maximum(points[:, None] - biases, 0) @ weights - labels))
    return _or_infinite(residual), _or_infinite(np.max(np.abs(weights)))


def _or_infinite(value: float) -> float:
    return float(value) if np.isfinite(value) else np.inf


def _with_feedback(X: Array, y: Array, rho: float, seed: Any) -> tuple[float, float]:
    try:
        network = memorize(X, y, rng=np.random.default_rng(seed), interleave=rho)
    except OverflowError:
        return np.inf, np.inf
    return network.error, float(np.max(np.abs(network.weights)))


def _rationally(x: Array, b: Array, y: Array) -> tuple[float, float]:
    points, biases, labels = ([Fraction(v) for v in values.tolist()] for values in (x, b, y))
    weights = hinge_weights(points, biases, labels)
    residuals = [
        sum(w * max(point - bias, Fraction(0)) for w, bias in zip(weights, biases, strict=True))
        - label
        for point, label in zip(points, labels, strict=True)
    ]
    return float(max(map(abs, residuals))), float(max(map(abs, weights)))


def _lemma(x: Array, b: Array, *, dense: bool) -> dict[str, float]:
    hinges = lemma_1(x, b)
    error = above = np.nan
    if dense:
        matrix = hinges.matrix
        eigenvalues = np.sort(np.linalg.eigvals(matrix).real)
        error = np.max(np.abs(eigenvalues / np.sort(hinges.diagonal) - 1.0))
        above = np.max(np.triu(matrix, 1))
    return {
        "smallest_eigenvalue": hinges.smallest_eigenvalue,
        "smallest_singular_value": hinges.smallest_singular_value,
        "eigenvalue_error": error,
        "above_diagonal": above,
    }


# --- other shapes ---------------------------------------------------------------------------------


def depths(
    *,
    n: int = 600,
    n_features: int = 20,
    depths: Sequence[int] = (2, 4, 10, 30),
    seed: int = 0,
) -> xr.Dataset:
    """Fit random signs by networks of several depths, and by 4⌈n/d⌉ units.

    Parameters
    ----------
    n, n_features : int
        Gaussian points (n, d).
    depths : sequence of int
        Numbers of hidden layers.
    seed : int
        Draws points, signs and projections.

    Returns
    -------
    xarray.Dataset
        Along ``depth``, for the split construction, and with ``gated_`` before, for the paper's:
        ``error``, ``width``, ``n_nonzero``. Without dimensions, for points in general position:
        ``general_error``, ``general_width``, ``general_n_nonzero``.

    Raises
    ------
    ValueError
        If n or d is not at least 1, or a depth not in 2, …, n.

    References
    ----------
    Zhang et al. (2017), Corollary 1; Bubeck et al. (2020).
    """
    positive_integer("n", n)
    positive_integer("n_features", n_features)
    _check_integers("depths", depths, minimum=2)
    rng = np.random.default_rng([seed, 0])
    X, y = rng.normal(size=(n, n_features)), rng.choice([-1.0, 1.0], size=n)
    variables: dict[str, Any] = {}
    for prefix, construction in (("", "split"), ("gated_", "gated")):
        networks = [
            memorize_deep(
                X, y, depth=depth, construction=construction, rng=np.random.default_rng([seed, 1])
            )
            for depth in depths
        ]
        for name, long_name in _SHAPE.items():
            values = [getattr(network, name) for network in networks]
            attributes = {"long_name": f"{long_name}, {construction}", "units": "1"}
            variables[prefix + name] = ("depth", values, attributes)
    general = memorize_general_position(X, y)
    for name, long_name in _SHAPE.items():
        attributes = {"long_name": f"{long_name}, 4⌈n/d⌉ units", "units": "1"}
        variables[f"general_{name}"] = ((), getattr(general, name), attributes)
    return xr.Dataset(variables, {"depth": list(depths)}, {"n": n, "n_features": n_features})


_SHAPE = {"error": "largest error", "width": "width", "n_nonzero": "weights that are not zero"}


def construction(*, n: int = 12, grid: int = 201, seed: int = 0) -> xr.Dataset:
    """Return a small network in the plane, for the eye.

    Parameters
    ----------
    n : int
        Gaussian points in the plane, labels -1 and 1 at random.
    grid : int
        Positions along each axis.
    seed : int
        Draws points, labels and projection.

    Returns
    -------
    xarray.Dataset
        ``point`` (n, 2), ``label`` and ``place`` (n,), the position on the projection along
        ``direction`` (2,); ``bias`` and ``weight`` (n,), the hinges; ``plane`` (second, first), the
        network's value over the plane; ``line`` (position,), its value along the projection.

    Raises
    ------
    ValueError
        If n or ``grid`` is not at least 2.

    References
    ----------
    Zhang et al. (2017), Theorem 1.
    """
    positive_integer("n", n, minimum=2)
    positive_integer("grid", grid, minimum=2)
    rng = np.random.default_rng([seed, 0])
    X, y = rng.normal(size=(n, 2)), rng.choice([-1.0, 1.0], size=n)
    network = memorize(X, y, rng=rng, projections=100)
    place = X @ network.projection
    sides = np.linspace(-1.1, 1.1, grid) * np.max(np.abs(X))
    first, second = np.meshgrid(sides, sides)
    plane = network(np.column_stack([first.ravel(), second.ravel()])).reshape(grid, grid)
    margin = 0.05 * np.ptp(place)
    positions = np.unique(
        np.concatenate([place, np.linspace(network.biases[0] - margin, place.max() + margin, grid)])
    )
    line = network(positions[:, None] * network.projection)
    return xr.Dataset(
        {
            "point": (("n", "axis"), X, {"long_name": "points", "units": "1"}),
            "label": ("n", y, {"long_name": "label", "units": "1"}),
            "direction": ("axis", network.projection, {"long_name": "direction a", "units": "1"}),
            "place": ("n", place, {"long_name": "projection <a, x>", "units": "1"}),
            "bias": ("n", network.biases, {"long_name": "bias", "units": "1"}),
            "weight": ("n", network.weights, {"long_name": "weight", "units": "1"}),
            "plane": (("second", "first"), plane, {"long_name": "c(x)", "units": "1"}),
            "line": ("position", line, {"long_name": "c(x)", "units": "1"}),
        },
        {"first": sides, "second": sides, "position": positions},
        {"error": network.error},
    )


# --- cost -----------------------------------------------------------------------------------------


def cost(
    *,
    sizes: Sequence[int] = (100, 1000, 10_000, 100_000, 1_000_000),
    n_features: int = 64,
    triangular_up_to: int = 10_000,
    dense_up_to: int = 4000,
    repeats: int = 5,
    seed: int = 0,
) -> xr.Dataset:
    """Time the construction beside reading the data once and beside dense solves.

    The times are those of the machine and of what else it does; they are the one thing in these
    studies that a seed does not fix.

    Parameters
    ----------
    sizes : sequence of int
        n, Gaussian points in float64, labels -1 and 1.
    n_features : int
        d.
    triangular_up_to, dense_up_to : int
        Largest n for ``scipy.linalg.solve_triangular`` and for ``numpy.linalg.solve``, both with
        the n × n matrix made for them.
    repeats : int
        The shortest of so many times counts.
    seed : int
        Draws points, labels and directions.

    Returns
    -------
    xarray.Dataset
        Along n: ``seconds`` (task: "memorize", "evaluate", "product" X a, "triangular", "dense";
        NaN where not run), ``memory`` (bytes that memorize allocates at its peak beside X), and
        ``error``, the largest.

    Raises
    ------
    ValueError
        If n, d or ``repeats`` is not at least 1.
    """
    _check_integers("sizes", sizes)
    positive_integer("n_features", n_features)
    positive_integer("repeats", repeats)
    tasks = ("memorize", "evaluate", "product", "triangular", "dense")
    seconds = np.full((len(sizes), len(tasks)), np.nan)
    memory, error = np.empty(len(sizes)), np.empty(len(sizes))
    memorize(np.zeros((1, 1)), [1.0], rng=0)(np.zeros((1, 1)))  # compiles
    for i, n in enumerate(sizes):
        rng = np.random.default_rng([seed, n])
        X, y = rng.normal(size=(n, n_features)), rng.choice([-1.0, 1.0], size=n)
        direction = rng.normal(size=n_features)
        build = functools.partial(memorize, X, y, rng=seed)
        network = build()
        network(X[:1])
        place = np.sort(X @ network.projection)
        runs: dict[str, Callable[[], Any]] = {
            "memorize": build,
            "evaluate": functools.partial(network, X),
            "product": functools.partial(np.matmul, X, direction),
        }
        if n <= triangular_up_to:
            runs["triangular"] = functools.partial(
                _dense, _triangular_solve, place, network.biases, y
            )
        if n <= dense_up_to:
            runs["dense"] = functools.partial(_dense, np.linalg.solve, place, network.biases, y)
        for name, run in runs.items():
            seconds[i, tasks.index(name)] = _shortest(run, repeats)
        tracemalloc.start()
        build()
        memory[i] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        error[i] = network.error
    return xr.Dataset(
        {
            "seconds": (("n", "task"), seconds, {"long_name": "shortest time", "units": "s"}),
            "memory": ("n", memory, {"long_name": "memory beside X, at the peak", "units": "B"}),
            "error": ("n", error, {"long_name": "largest error", "units": "1"}),
        },
        {"n": list(sizes), "task": list(tasks)},
    )


def _dense(solve: Callable[..., Array], x: Array, b: Array, y: Array) -> Array:
    return solve(np.maximum(x[:, None] - b, 0.0), y)


def _triangular_solve(matrix: Array, y: Array) -> Array:
    return np.asarray(solve_triangular(matrix, y, lower=True, check_finite=False))


def _shortest(run: Callable[[], Any], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


STUDIES: tuple[Any, ...] = (memorization, conditioning, depths, construction, cost)
