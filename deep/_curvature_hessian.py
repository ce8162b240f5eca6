"""Traces and eigenvalues of a network's Hessian, through its products with vectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import xarray as xr
from scipy.sparse.linalg import ArpackError, LinearOperator, eigsh
from torch import nn

from deep._curvature_surface import Array, Surface, named, numbers
from deep._evidence_likelihood import Data, progress_bar
from deep._noise_scale_gradients import Loss, choice
from theory._validation import positive_integer, positive_number

# Which end of the spectrum, and ARPACK's name for it.
ENDS = {"largest": "LA", "smallest": "SA", "magnitude": "LM"}

_DENSE = 128  # parameters up to which the Hessian is decomposed as a matrix
_COLUMNS = 16  # vectors that are multiplied at a time, at most
_NUMBERS = 2**20  # in these, at most: activations, which they cost as well, go with the weights


class Probes:
    """Vectors V (size, count) with E V Vᵀ = 1: random signs, or all unit vectors if so few."""

    def __init__(self, size: int, count: int, rng: np.random.Generator) -> None:
        self.exact = size <= count
        self._size, self.count, self._rng = size, size if self.exact else count, rng

    def blocks(self) -> Iterator[Array]:
        """Yield them, some at a time."""
        width = max(1, min(_COLUMNS, _NUMBERS // self._size))
        for start in range(0, self.count, width):
            columns = range(start, min(start + width, self.count))
            if self.exact:
                yield np.eye(self._size, len(columns), -start)
            else:
                yield self._rng.choice([-1.0, 1.0], (self._size, len(columns)))

    def estimate(self, samples: Array) -> tuple[Array, Array]:
        """Return traces (...) and standard errors from samples vᵀHv (..., count)."""
        if self.exact:
            total = np.sum(samples, axis=-1)
            return total, np.zeros_like(total)
        error = np.std(samples, axis=-1, ddof=1) / np.sqrt(self.count)
        return np.mean(samples, axis=-1), error


def hessian_trace(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    probes: int = 100,
    seed: int = 0,
    parameters: Sequence[str] | None = None,
    batch_norm: str = "running",
    batch_size: int = 512,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Trace of the Hessian of the mean loss, and the share of every parameter tensor.

    Hutchinson's estimate, the mean of :math:`v^\top H v` over vectors of random signs. Where there
    are not more parameters than probes, unit vectors give it exactly, with errors 0.

    Parameters
    ----------
    model, loss, data, parameters, batch_norm, batch_size, progress
        As :func:`keskar_sharpness` takes them.
    probes : int
        Products with the Hessian, at least 2.
    seed : int
        Of the signs, which are the same on all devices.

    Returns
    -------
    xarray.Dataset
        ``hessian_trace`` and its ``standard_error``; along parameter ``parameter_trace``, the trace
        of its block on the diagonal, and ``parameter_standard_error``; and ``loss``.

    Raises
    ------
    TypeError, ValueError
        As :func:`keskar_sharpness` does; if there are fewer than 2 probes, or the Hessian is not
        finite.
    RuntimeError
        If a layer has no second derivative, or ``torch.func`` cannot run the model.

    References
    ----------
    Hutchinson, "A stochastic estimator of the trace of the influence matrix for Laplacian
    smoothing splines" (1989, from memory).

    Examples
    --------
    >>> import torch
    >>> model = nn.Linear(2, 1).double()
    >>> data = torch.tensor([[1.0, 2.0], [3.0, 0.0]]).double(), torch.zeros(2, 1).double()
    >>> found = hessian_trace(model, nn.MSELoss(), data)  # 2 mean(|x|² + 1)
    >>> float(found.hessian_trace), found.parameter_trace.values
    (16.0, array([14.,  2.]))
    """
    positive_integer("probes", probes, minimum=2)
    rng = np.random.default_rng(positive_integer("seed", seed, minimum=0))
    surface = Surface(
        model, loss, data, parameters=parameters, batch_norm=batch_norm, batch_size=batch_size
    )
    source, product, samples = Probes(len(surface), probes, rng), surface.hessian_product(), []
    with progress_bar(source.count, "Hessian products", progress) as bar:
        for block in source.blocks():
            V = surface.tensor(block)
            samples.append(surface.sums_by_parameter(V * product(V)))
            bar.update(V.shape[1])
    by_parameter = np.concatenate(samples, axis=1)
    whole, whole_error = source.estimate(by_parameter.sum(axis=0))
    parts, parts_error = source.estimate(by_parameter)
    return surface.dataset(
        {
            "hessian_trace": ((), whole, named("trace of the Hessian")),
            "standard_error": ((), whole_error, named("standard error of the trace")),
            "parameter_trace": ("parameter", parts, named("trace of a parameter's Hessian")),
            "parameter_standard_error": ("parameter", parts_error, named("its standard error")),
        },
        {"parameter": ("parameter", surface.names, {"long_name": "name of the parameter"})},
    )


def hessian_eigenvalues(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    k: int = 1,
    which: str = "largest",
    tolerance: float = 1e-6,
    max_iterations: int = 300,
    seed: int = 0,
    parameters: Sequence[str] | None = None,
    batch_norm: str = "running",
    batch_size: int = 512,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Eigenvalues at an end of the spectrum of the mean loss's Hessian.

    By ARPACK's Lanczos iteration; of up to 128 parameters, by decomposition of the whole matrix.
    Beside each value :math:`\lambda` with its unit vector v stands the residual
    :math:`\|Hv - \lambda v\|`: there is an eigenvalue of H at most so far from :math:`\lambda`.

    Parameters
    ----------
    model, loss, data, parameters, batch_norm, batch_size, progress
        As :func:`keskar_sharpness` takes them.
    k : int
        How many, at most the number of parameters.
    which : {"largest", "smallest", "magnitude"}
        From above, from below, or those of the largest absolute value.
    tolerance : float
        Error relative to the eigenvalue at which ARPACK stops.
    max_iterations : int
        Restarts of ARPACK.
    seed : int
        Of the vector with which ARPACK starts.

    Returns
    -------
    xarray.Dataset
        Along index: ``eigenvalue``, falling, or rising for the smallest, and ``residual``. And
        ``loss``, that at the weights.

    Raises
    ------
    TypeError, ValueError
        As :func:`keskar_sharpness` does; if k is larger than the number of parameters, or the
        Hessian is not finite.
    RuntimeError
        If ARPACK does not converge, a layer has no second derivative, or ``torch.func`` cannot run
        the model.

    Examples
    --------
    >>> import torch
    >>> model = nn.Linear(2, 1, bias=False).double()
    >>> data = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double(), torch.zeros(2, 1).double()
    >>> found = hessian_eigenvalues(model, nn.MSELoss(), data, k=2)
    >>> found.eigenvalue.values
    array([4., 1.])
    """
    for name, value in (("k", k), ("max_iterations", max_iterations)):
        positive_integer(name, value)
    choice("which", which, list(ENDS))
    positive_number("tolerance", tolerance)
    rng = np.random.default_rng(positive_integer("seed", seed, minimum=0))
    surface = Surface(
        model, loss, data, parameters=parameters, batch_norm=batch_norm, batch_size=batch_size
    )
    P, hessian = len(surface), surface.hessian_product()
    if k > P:
        raise ValueError(f"k must be at most the number of parameters, {P}, got {k}")
    with progress_bar(0, "Hessian products", progress) as bar:

        def product(vectors: Array) -> Array:
            columns = surface.tensor(vectors.reshape(P, -1))
            bar.update(columns.shape[1])
            return numbers(hessian(columns)).reshape(vectors.shape)

        if P <= _DENSE or k == P:  # ARPACK takes fewer than all
            values, vectors = _dense(product, P)
        else:
            start = rng.standard_normal(P)
            options = {"tol": tolerance, "maxiter": max_iterations, "v0": start}
            values, vectors = _lanczos(product, k, which, options)
        values, vectors = _end(values, vectors, k, which)
        residual = np.linalg.norm(product(vectors) - vectors * values, axis=0)
    return surface.dataset(
        {
            "eigenvalue": ("index", values, named("eigenvalue of the Hessian")),
            "residual": ("index", residual, named("distance to an exact eigenvalue, at most")),
        },
        {"index": ("index", np.arange(k), named("place from the end of the spectrum"))},
    )


def _dense(product: Any, P: int) -> tuple[Array, Array]:
    columns = [product(np.eye(P, min(_COLUMNS, P - at), -at)) for at in range(0, P, _COLUMNS)]
    H = np.concatenate(columns, axis=1)
    values, vectors = np.linalg.eigh(0.5 * (H + H.T))
    return values, vectors


def _lanczos(product: Any, k: int, which: str, options: dict[str, Any]) -> tuple[Array, Array]:
    P = len(options["v0"])
    H = LinearOperator((P, P), matvec=product, matmat=product, dtype=np.float64)
    try:
        values, vectors = eigsh(H, k=k, which=ENDS[which], **options)
    except ArpackError as error:
        raise RuntimeError(
            f"ARPACK found fewer than k = {k} eigenvalues: {error}; allow more max_iterations or a "
            "larger tolerance"
        ) from error
    return values, vectors


def _end(values: Array, vectors: Array, k: int, which: str) -> tuple[Array, Array]:
    """Return k eigenpairs, the outermost first."""
    key = {"largest": -values, "smallest": values, "magnitude": -np.abs(values)}[which]
    kept = np.argsort(key, kind="stable")[:k]
    return values[kept], vectors[:, kept]


def relative_flatness(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    layers: Sequence[str] | None = None,
    probes: int = 100,
    seed: int = 0,
    batch_norm: str = "running",
    batch_size: int = 512,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Petzka et al.'s relative flatness of layers, which no rescaling of neurons changes.

    .. math:: \kappa = \sum_{s, s'} \langle w_s, w_{s'} \rangle\, \text{tr}\, H_{s s'}
              = \text{tr}\,(W W^\top \otimes 1)\, H

    with the rows :math:`w_s` of a weight matrix W, one for each neuron, and the blocks
    :math:`H_{ss'}` of its Hessian. The smaller, the flatter. Of a convolution the neurons are the
    output channels. The trace is taken as :func:`hessian_trace` does, exactly where W has not more
    entries than there are probes.

    Multiplying a neuron by a number and what follows it by the inverse leaves :math:`\kappa` as it
    is, both for its layer and for the next as long as all neurons share the number. It does depend
    on how the *inputs* of a layer are scaled one by one.

    Parameters
    ----------
    model, loss, data, batch_norm, batch_size, progress
        As :func:`keskar_sharpness` takes them.
    layers : sequence of str, optional
        Names of weights with at least two dimensions, such as "0.weight"; all that require a
        gradient, if omitted. The paper takes one layer, as a rule the last but one.
    probes : int
        Products with each layer's Hessian, at least 2.
    seed : int
        Of the signs.

    Returns
    -------
    xarray.Dataset
        Along layer: ``relative_flatness`` and its ``standard_error``. And ``loss``, that at the
        weights.

    Raises
    ------
    TypeError, ValueError, RuntimeError
        As :func:`hessian_trace` does; ValueError if a layer is unknown or a vector, or there is
        none.

    References
    ----------
    Petzka et al., "Relative flatness and generalization" (2021), definition 3 (number from memory).

    Examples
    --------
    >>> import torch
    >>> model = nn.Linear(2, 1, bias=False).double()
    >>> _ = model.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> data = torch.tensor([[1.0, 0.0], [0.0, 2.0]]).double(), torch.zeros(2, 1).double()
    >>> found = relative_flatness(model, nn.MSELoss(), data)  # |w|² tr H = 25 (1 + 4)
    >>> round(float(found.relative_flatness[0]), 9)
    125.0
    """
    positive_integer("probes", probes, minimum=2)
    positive_integer("seed", seed, minimum=0)
    surface = Surface(model, loss, data, batch_norm=batch_norm, batch_size=batch_size)
    matrices = [name for name in surface.names if surface.parameter(name).ndim > 1]
    chosen = matrices if layers is None else list(layers)
    if not chosen or not set(chosen) <= set(matrices):
        raise ValueError(
            f"layers must name trainable weights with two or more dimensions, of which the model "
            f"has {', '.join(matrices) or 'none'}; got {', '.join(map(str, chosen)) or 'none'}"
        )
    values, errors = np.empty((2, len(chosen)))
    for number, name in enumerate(chosen):
        size = surface.parameter(name).numel()
        source = Probes(size, probes, np.random.default_rng([seed, number]))
        values[number], errors[number] = source.estimate(_kappa(surface, name, source, progress))
    return surface.dataset(
        {
            "relative_flatness": ("layer", values, named("relative flatness")),
            "standard_error": ("layer", errors, named("its standard error")),
        },
        {"layer": ("layer", chosen, {"long_name": "name of the layer's weights"})},
    )


def _kappa(surface: Surface, name: str, source: Probes, progress: bool | None) -> Array:
    """Return samples uᵀHu (count,) for u = (R ⊗ 1)v, with R Rᵀ = W Wᵀ."""
    W = numbers(surface.parameter(name).flatten(1))
    U, lengths, _ = np.linalg.svd(W, full_matrices=False)
    R, product, samples = U * lengths @ U.T, surface.hessian_product([name]), []
    with progress_bar(source.count, name, progress) as bar:
        for block in source.blocks():
            count = block.shape[1]
            u = surface.tensor((R @ block.reshape(len(W), -1)).reshape(-1, count))
            samples.append(numbers(u * product(u)).sum(axis=0))
            bar.update(count)
    return np.concatenate(samples)
