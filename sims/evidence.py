"""Memorization by linear models, and where Laplace's evidence is right.

The experiment of Smith & Le (2018), section 3: logistic regression on two classes of handwritten
digits, with true and with random labels, along a path of prior precisions. Beside it the ground
truth that the paper did not have: the exact evidence of the same posteriors by thermodynamic
integration and by annealed importance sampling.

The functions named after an experiment are **studies**: plain parameters and a seed in, one
:class:`xarray.Dataset` out.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.integrate import quad
from scipy.special import expit, logsumexp
from scipy.stats import multivariate_normal

from sims._evidence_sampling import (
    LogEvidenceEstimate,
    annealed_importance_sampling,
    thermodynamic_integration,
)
from store import datasets
from theory._validation import positive_integer
from theory.evidence import (
    LaplaceEvidence,
    laplace_evidence,
    laplace_log_integral,
    linear_evidence,
    log_evidence_from_hessian,
    log_evidence_from_spectrum,
)

Array = NDArray[np.float64]

__all__ = [
    "LABELS",
    "STUDIES",
    "LogEvidenceEstimate",
    "annealed_importance_sampling",
    "gaussian_evidence",
    "laplace_accuracy",
    "laplace_quadrature",
    "linear_memorization",
    "nonlinear_coordinates",
    "rescaling",
    "thermodynamic_integration",
]

# Random labels leave the task without a rule; true ones are the images' own.
LABELS = ("random", "true")

_load = functools.lru_cache(maxsize=1)(datasets.load)


def linear_memorization(
    *,
    dataset: str = "digits",
    classes: Sequence[int] = (0, 1),
    train_size: int = 60,
    test_size: int = 280,
    prior_precisions: Sequence[float] = (1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0, 100.0),
    steps: int | None = None,
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    r"""Fit true and random labels with logistic regression along a path of prior precisions.

    Train and test sets are balanced and drawn without overlap from all images of the two classes;
    pixels lie in [0, 1]; the bias is penalized. Random labels are the true ones of each set,
    shuffled. The same images serve both, so that they are compared in pairs.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it.
    classes : (int, int)
        The two digits.
    train_size, test_size : int
        Even numbers of images.
    prior_precisions : sequence of float (L,)
        :math:`\lambda` of the summed cost.
    steps : int, optional
        Stop after this many steps of gradient descent instead of at the optimum.
    seed : int
        Draws the images and shuffles the labels.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.

    Returns
    -------
    xarray.Dataset
        Dimensions ``labels`` (random, true) and ``prior_precision`` (L).

    Raises
    ------
    ValueError
        If a size is odd or not positive, or the data set has too few images of a class.

    References
    ----------
    Smith & Le (2018), section 3, Figures 1 and 2.
    """
    rng = np.random.default_rng(seed)
    images = _load(dataset, data_dir)
    train, test = _balanced_draws(
        images.labels, classes, rng, train_size=train_size, test_size=test_size
    )
    features = images.features()
    X_train, X_test = features[train], features[test]
    shuffled = {
        "random": (rng.permutation(images.labels[train]), rng.permutation(images.labels[test])),
        "true": (images.labels[train], images.labels[test]),
    }
    columns = []
    for kind in LABELS:
        y_train, y_test = shuffled[kind]
        fit = laplace_evidence(X_train, y_train, prior_precision=prior_precisions, steps=steps)
        columns.append(_measurements(fit, X_train, y_train, X_test, y_test))
    return xr.Dataset(
        {
            name: (
                ("labels", "prior_precision"),
                np.stack([column[name] for column in columns]),
                {"long_name": long_name, "units": units},
            )
            for name, (long_name, units) in _MEASURED.items()
        },
        coords={
            "labels": list(LABELS),
            "prior_precision": (
                "prior_precision",
                np.asarray(prior_precisions, dtype=float),
                {"long_name": "prior precision λ of the summed cost", "units": "1"},
            ),
        },
    )


_MEASURED = {
    "train_accuracy": ("training accuracy", "1"),
    "test_accuracy": ("test accuracy", "1"),
    "train_cross_entropy": ("mean training cross-entropy", "nat"),
    "test_cross_entropy": ("mean test cross-entropy", "nat"),
    "margin": ("mean signed distance to the decision boundary, training set", "1"),
    "cost": ("summed cross-entropy plus penalty C", "nat"),
    "log_occam_factor": ("log Occam factor", "nat"),
    "log_evidence_ratio": ("log evidence ratio E in favour of the null model", "nat"),
    "gradient_norm": ("norm of the gradient of C", "nat"),
    "converged": ("whether the optimum was reached", "1"),
}


def _measurements(
    fit: LaplaceEvidence, X_train: Array, y_train: Array, X_test: Array, y_test: Array
) -> dict[str, Array]:
    """Return every variable of the study (L,) for one labelling."""
    w, b = fit.weights[:, :-1], fit.weights[:, -1]

    def signed_logits(X: Array, y: Array) -> Array:
        return np.where(y == fit.classes[1], 1.0, -1.0)[:, None] * (X @ w.T + b)

    z_train, z_test = signed_logits(X_train, y_train), signed_logits(X_test, y_test)
    return {
        "train_accuracy": np.mean(z_train > 0, axis=0),
        "test_accuracy": np.mean(z_test > 0, axis=0),
        "train_cross_entropy": np.mean(np.logaddexp(0.0, -z_train), axis=0),
        "test_cross_entropy": np.mean(np.logaddexp(0.0, -z_test), axis=0),
        "margin": np.mean(z_train, axis=0) / np.linalg.norm(w, axis=1),
        "cost": fit.cost,
        "log_occam_factor": fit.log_occam_factor,
        "log_evidence_ratio": fit.log_evidence_ratio,
        "gradient_norm": fit.gradient_norm,
        "converged": fit.converged.astype(np.int8),
    }


def _balanced_draws(
    labels: NDArray[np.int64], classes: Sequence[int], rng: np.random.Generator, **sizes: int
) -> list[NDArray[np.int64]]:
    """Return disjoint row numbers with as many of each class, one array for each named size."""
    for name, size in sizes.items():
        if size < 2 or size % 2:
            raise ValueError(f"{name} must be a positive even number, got {size}")
    if len(classes) != 2 or classes[0] == classes[1]:
        raise ValueError(f"classes must be two different digits, got {classes!r}")
    ends = np.cumsum([size // 2 for size in sizes.values()])
    parts = []
    for digit in classes:
        rows = np.flatnonzero(labels == digit)
        if len(rows) < ends[-1]:
            raise ValueError(
                f"{' + '.join(sizes)} needs {ends[-1]} images of class {digit}; "
                f"the data set has {len(rows)}"
            )
        parts.append(np.split(rng.permutation(rows), ends)[:-1])
    return [np.concatenate(rows) for rows in zip(*parts, strict=True)]


def laplace_accuracy(
    *,
    dataset: str = "digits",
    classes: Sequence[int] = (3, 8),
    train_size: int = 60,
    prior_precisions: Sequence[float] = (0.1, 10.0),
    chains: int = 4,
    samples: int = 20,
    particles: int = 32,
    rungs: int = 64,
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    """Compare Laplace's log evidence with two Monte-Carlo ground truths.

    Parameters
    ----------
    dataset, classes, train_size, prior_precisions, data_dir
        As :func:`linear_memorization`.
    chains, samples : int
        Of :func:`thermodynamic_integration`.
    particles, rungs : int
        Of :func:`annealed_importance_sampling`; rungs are its temperatures.
    seed : int
        Draws the images, shuffles the labels and feeds the samplers.

    Returns
    -------
    xarray.Dataset
        Dimensions ``labels`` (random, true) and ``prior_precision``; log evidences in nats, each
        sampler with its standard error.

    Raises
    ------
    ValueError
        As :func:`linear_memorization` and the two samplers.
    """
    rng = np.random.default_rng(seed)
    images = _load(dataset, data_dir)
    (train,) = _balanced_draws(images.labels, classes, rng, train_size=train_size)
    X, y = images.features()[train], images.labels[train]
    shuffled = {"random": rng.permutation(y), "true": y}
    names = (
        "laplace",
        "thermodynamic_integration",
        "thermodynamic_integration_error",
        "annealed_importance_sampling",
        "annealed_importance_sampling_error",
    )
    values = np.empty((len(LABELS), len(prior_precisions), len(names)))
    for i, kind in enumerate(LABELS):
        labels = shuffled[kind]
        fit = laplace_evidence(X, labels, prior_precision=prior_precisions)
        for j, precision in enumerate(prior_precisions):
            ti_stream, ais_stream = rng.spawn(2)
            ti = thermodynamic_integration(
                X,
                labels,
                prior_precision=precision,
                chains=chains,
                samples=samples,
                rng=ti_stream,
            )
            ais = annealed_importance_sampling(
                X,
                labels,
                prior_precision=precision,
                particles=particles,
                temperatures=rungs,
                rng=ais_stream,
            )
            values[i, j] = fit.log_evidence[j], *ti[:2], *ais[:2]
    return xr.Dataset(
        {
            name: (
                ("labels", "prior_precision"),
                values[:, :, k],
                {"long_name": f"log evidence, {name.replace('_', ' ')}", "units": "nat"},
            )
            for k, name in enumerate(names)
        },
        coords={"labels": list(LABELS), "prior_precision": list(prior_precisions)},
    )


def laplace_quadrature(
    *, train_sizes: Sequence[int] = (20, 100), prior_precision: float = 1.0, seed: int = 0
) -> xr.Dataset:
    """Compare Laplace's log evidence with quadrature for a logistic model of two weights.

    Features are standard normal; labels are drawn from the model with weights from its prior.

    Parameters
    ----------
    train_sizes : sequence of int
        Numbers of examples N; the smaller sets are the first rows of the largest.
    prior_precision : float
        Of the summed cost.
    seed : int
        Draws features, weights and labels.

    Returns
    -------
    xarray.Dataset
        ``error`` (train_size), Laplace minus exact, nats.

    Raises
    ------
    ValueError
        If a train size is not an integer of at least 2, or there is none.
    """
    for n in train_sizes:
        positive_integer("every train size", n, minimum=2)
    if not train_sizes:
        raise ValueError("train_sizes is empty")
    rng = np.random.default_rng(seed)
    size = max(train_sizes)
    while True:  # one class alone is no classification problem
        X = rng.standard_normal((size, 2))
        w = rng.standard_normal(2) / np.sqrt(prior_precision)
        y = (rng.random(size) < expit(X @ w)).astype(int)
        if 0 < y[: min(train_sizes)].sum() < min(train_sizes):
            break
    errors = [
        laplace_evidence(X[:n], y[:n], prior_precision=prior_precision, bias=False).log_evidence
        - _exact_log_evidence(X[:n], y[:n], prior_precision)
        for n in train_sizes
    ]
    return xr.Dataset(
        {
            "error": (
                "train_size",
                np.array(errors),
                {"long_name": "Laplace minus exact log evidence", "units": "nat"},
            )
        },
        coords={"train_size": list(train_sizes)},
    )


def _exact_log_evidence(X: Array, y: Array, prior_precision: float) -> float:
    """Return the log evidence of a two-weight logistic model on a grid that resolves it.

    The trapezoidal rule converges geometrically for a smooth integrand that vanishes at the edges
    (Trefethen & Weideman 2014): 400 points over 12 posterior widths are exact to rounding.
    """
    mode = laplace_evidence(X, y, prior_precision=prior_precision, bias=False).weights
    p = expit(X @ mode)
    H = (X.T * (p * (1 - p))) @ X + prior_precision * np.eye(2)
    widths = 12.0 * np.sqrt(np.diag(np.linalg.inv(H)))
    axes = [np.linspace(m - r, m + r, 401) for m, r in zip(mode, widths, strict=True)]
    w = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
    z = np.where(y == 1, 1.0, -1.0) * (w @ X.T)
    log_density = -np.sum(np.logaddexp(0.0, -z), axis=-1)
    log_density += np.log(prior_precision / (2 * np.pi)) - 0.5 * prior_precision * np.sum(w**2, -1)
    cell = np.prod([axis[1] - axis[0] for axis in axes])
    return float(logsumexp(log_density) + np.log(cell))


def gaussian_evidence(
    *,
    train_size: int = 60,
    n_features: int = 20,
    prior_precisions: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
    seed: int = 0,
) -> xr.Dataset:
    """Compute the evidence of Gaussian linear regression by three routes, where Laplace is exact.

    Parameters
    ----------
    train_size, n_features : int
        Shape of a standard normal design.
    prior_precisions : sequence of float
        The noise precision is 1.
    seed : int
        Draws design, weights and noise.

    Returns
    -------
    xarray.Dataset
        ``laplace`` (equation 9 from cost and Hessian spectrum), ``exact`` (one Gram factorization)
        and ``function_space`` (the density of a multivariate normal), each over
        ``prior_precision``, nats.
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((train_size, n_features))
    y = X @ rng.standard_normal(n_features) + rng.standard_normal(train_size)
    exact = linear_evidence(X, y, prior_precision=prior_precisions, noise_precision=1.0)
    spectrum = np.linalg.eigvalsh(X.T @ X)
    laplace, function_space = [], []
    for precision in prior_precisions:
        w = np.linalg.solve(X.T @ X + precision * np.eye(n_features), X.T @ y)
        cost = 0.5 * np.sum((y - X @ w) ** 2) + 0.5 * precision * w @ w
        cost += 0.5 * train_size * np.log(2 * np.pi)
        laplace.append(log_evidence_from_spectrum(cost, spectrum, prior_precision=precision))
        covariance = np.eye(train_size) + X @ X.T / precision
        function_space.append(multivariate_normal.logpdf(y, np.zeros(train_size), covariance))
    return xr.Dataset(
        {
            name: ("prior_precision", np.asarray(values), {"long_name": long_name, "units": "nat"})
            for name, values, long_name in (
                ("laplace", laplace, "log evidence by equation 9"),
                ("exact", exact.log_evidence, "log evidence by one factorization"),
                ("function_space", function_space, "log density of the targets"),
            )
        },
        coords={"prior_precision": list(prior_precisions)},
    )


def rescaling(
    *,
    dataset: str = "digits",
    classes: Sequence[int] = (0, 1),
    train_size: int = 60,
    prior_precision: float = 0.1,
    scales: Sequence[float] = (0.01, 0.1, 1.0, 10.0, 100.0),
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    r"""Write the same models in rescaled parameters: sharpness moves, the evidence must not.

    Two models: logistic regression, refitted in :math:`u = a\omega` with :math:`\lambda/a^2`; and a
    small two-layer ReLU network at random weights, its layers scaled by a and 1/a and its per-layer
    prior precisions along with them. Costs and Hessians are computed anew at every scale.

    Parameters
    ----------
    dataset, classes, train_size, data_dir
        As :func:`linear_memorization`.
    prior_precision : float
        Before rescaling.
    scales : sequence of float
        The factors a.
    seed : int
        Draws images and network.

    Returns
    -------
    xarray.Dataset
        Over ``scale``: ``logistic`` and ``relu`` log evidence (nats) and the largest eigenvalue of
        the Hessian of each data term, ``logistic_sharpness`` and ``relu_sharpness``.
    """
    rng = np.random.default_rng(seed)
    images = _load(dataset, data_dir)
    (train,) = _balanced_draws(images.labels, classes, rng, train_size=train_size)
    X, y = images.features()[train], images.labels[train]
    design = np.column_stack([X, np.ones(len(X))])
    inputs, targets = rng.standard_normal((12, 5)), rng.standard_normal(12)
    W, v = rng.standard_normal((4, 5)), rng.standard_normal(4)
    values = np.empty((len(scales), 4))
    for i, a in enumerate(scales):
        # In u = aω the logit is (x/a)ᵀu, so the fit in the new coordinates is one on x/a.
        rescaled = design / a
        precision = prior_precision / a**2
        fit = laplace_evidence(rescaled, y, prior_precision=precision, bias=False)
        p = expit(rescaled @ fit.weights)
        logistic_hessian = (rescaled.T * (p * (1 - p))) @ rescaled
        layers = np.concatenate(
            [np.full(W.size, precision), np.full(v.size, prior_precision * a**2)]
        )
        relu_evidence, relu_hessian = _relu_network_evidence(inputs, targets, a * W, v / a, layers)
        values[i] = (
            fit.log_evidence,
            np.linalg.eigvalsh(logistic_hessian)[-1],
            relu_evidence,
            np.linalg.eigvalsh(relu_hessian)[-1],
        )
    names = (
        ("logistic", "log evidence of logistic regression", "nat"),
        ("logistic_sharpness", "largest Hessian eigenvalue of its data term", "nat"),
        ("relu", "log evidence of the ReLU network", "nat"),
        ("relu_sharpness", "largest Hessian eigenvalue of its data term", "nat"),
    )
    return xr.Dataset(
        {
            name: ("scale", values[:, k], {"long_name": long_name, "units": units})
            for k, (name, long_name, units) in enumerate(names)
        },
        coords={"scale": list(scales)},
    )


def _relu_network_evidence(
    inputs: Array, targets: Array, W: Array, v: Array, prior_precision: Array
) -> tuple[float, Array]:
    """Return Laplace's log evidence of f(x) = vᵀ relu(W x) and its Gauss-Newton Hessian.

    Squared loss with unit noise, at the weights given; the prior has one precision a parameter.
    """
    hidden = np.maximum(inputs @ W.T, 0.0)
    residual = hidden @ v - targets
    to_W = ((hidden > 0) * v)[:, :, None] * inputs[:, None, :]
    jacobian = np.column_stack([to_W.reshape(len(inputs), -1), hidden])
    hessian = jacobian.T @ jacobian
    weights = np.concatenate([W.ravel(), v])
    cost = 0.5 * residual @ residual + 0.5 * prior_precision @ weights**2
    return float(log_evidence_from_hessian(cost, hessian, prior_precision=prior_precision)), hessian


def nonlinear_coordinates(
    *,
    heads: int = 7,
    tosses: int = 10,
    prior_precisions: Sequence[float] = (0.1, 1.0, 10.0),
    seed: int = 0,
) -> xr.Dataset:
    r"""Laplace and exact evidence of a coin's log odds w, in w and in :math:`u = \sinh w`.

    The prior on w is normal, and moves to u with its Jacobian, so the model is the same.

    Parameters
    ----------
    heads, tosses : int
        The data.
    prior_precisions : sequence of float
        Of w.
    seed : int
        Unused: nothing here is random.

    Returns
    -------
    xarray.Dataset
        ``laplace`` and ``exact`` log evidence over ``coordinate`` (w, sinh w) and
        ``prior_precision``, nats.
    """
    values = np.empty((2, 2, len(prior_precisions)))
    for j, precision in enumerate(prior_precisions):

        def energy(w: Any, precision: float = precision) -> Any:
            log_prior = 0.5 * np.log(precision / (2 * np.pi)) - 0.5 * precision * w * w
            return tosses * np.logaddexp(0.0, w) - heads * w - log_prior

        def energy_of_sinh(u: Any, energy: Any = energy) -> Any:
            return energy(np.arcsinh(u)) + 0.5 * np.log1p(u * u)

        for i, (U, edge) in enumerate(((energy, 8.0), (energy_of_sinh, np.sinh(8.0)))):
            values[0, i, j] = laplace_log_integral(U, bracket=(-edge, edge))
            values[1, i, j] = _log_integral(U, edge * 1e3 if i else 40.0)
    return xr.Dataset(
        {
            name: (
                ("coordinate", "prior_precision"),
                values[k],
                {"long_name": f"log evidence, {name}", "units": "nat"},
            )
            for k, name in enumerate(("laplace", "exact"))
        },
        coords={"coordinate": ["w", "sinh w"], "prior_precision": list(prior_precisions)},
    )


def _log_integral(energy: Any, edge: float) -> float:
    """Return log of the integral of exp(-energy), split where its mass may lie."""
    pieces = np.concatenate([-np.geomspace(edge, 1e-3, 30), [0.0], np.geomspace(1e-3, edge, 30)])
    total = sum(
        quad(lambda x: np.exp(-energy(x)), a, b, epsabs=1e-14, epsrel=1e-12)[0]
        for a, b in itertools.pairwise(pieces)
    )
    return float(np.log(total))


STUDIES: tuple[Callable[..., xr.Dataset], ...] = (
    linear_memorization,
    laplace_accuracy,
    laplace_quadrature,
    gaussian_evidence,
    rescaling,
    nonlinear_coordinates,
)
