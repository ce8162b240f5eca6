"""The gradient noise scale of a network on data, and what it says about batch sizes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from deep._noise_scale_gradients import (
    METHODS,
    Data,
    Examples,
    Gradients,
    Loss,
    Objective,
    check_finite,
    choice,
    require_per_example,
    rows_per_call,
    shown,
)
from theory._validation import positive_integer
from theory.noise_scale import NoiseScaleEstimate, estimate_noise_scale, steps_and_examples

Array = NDArray[np.float64]

_BATCHES = 32  # that a data set is cut into
_LEAST = 3  # samples for a jackknife of a variance
_CACHED = 2**24  # bytes of gradients that are still in the caches when they are read again


@dataclass(frozen=True, eq=False)
class GradientNoiseScale(NoiseScaleEstimate):
    """Gradient noise scale of a network on data.

    Attributes
    ----------
    noise_scale, noise_scale_error, gradient_square, gradient_square_error, noise_trace, \
noise_trace_error, n
        As in :class:`theory.noise_scale.NoiseScaleEstimate`; n is the number of gradients.
    n_examples : int
        How many examples they are of.
    loss : float
        Mean over these.
    method : {"per_example", "two_batches"}
        Which gradients were taken.
    """

    n_examples: int
    loss: float
    method: str


class HessianNoiseScale(NamedTuple):
    r"""Noise scale of a network's gradients as its curvature weighs them, with standard errors.

    Attributes
    ----------
    noise_scale, noise_scale_error : float
        :math:`\text{tr}(HC)/(G^\top HG)` in examples; both infinite where the estimate of
        :math:`G^\top HG` is not positive.
    noise_curvature, noise_curvature_error : float
        :math:`\text{tr}(HC)`, unbiased.
    gradient_curvature, gradient_curvature_error : float
        :math:`G^\top HG`, unbiased.
    n_examples, n_batches : int
    """

    noise_scale: float
    noise_scale_error: float
    noise_curvature: float
    noise_curvature_error: float
    gradient_curvature: float
    gradient_curvature_error: float
    n_examples: int
    n_batches: int


class TradeOff(NamedTuple):
    r"""What training costs at batch sizes, beside the least that it can cost.

    Attributes
    ----------
    critical_batch_size, critical_batch_size_error : float
        At which both are twice their least.
    steps : float or ndarray (...)
        Updates over those needed at ever larger batches: training time.
    examples : float or ndarray (...)
        Examples over those needed at ever smaller batches: arithmetic.
    """

    critical_batch_size: float
    critical_batch_size_error: float
    steps: Array
    examples: Array


def gradient_noise_scale(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    method: str = "auto",
    batch_size: int | None = None,
    train_size: int | None = None,
    seed: int = 0,
    max_bytes: int = 2**28,
    progress: bool | None = None,
) -> GradientNoiseScale:
    r"""Measure the simple gradient noise scale :math:`\text{tr}\,C/|G|^2` of your network.

    G is the gradient of the mean loss and C the covariance of one example's gradient. The network
    is left as it is: weights, gradients, buffers and mode. Random layers such as dropout draw if
    the model is in training mode, anew for each gradient, from torch's global generator; their
    noise is then part of C.

    Parameters
    ----------
    model : torch.nn.Module
        Takes a batch of inputs and returns a tensor with one row for each. All parameters that
        require gradients count.
    loss : callable
        ``loss(outputs, targets)``, the plain mean over the examples of a batch.
    data : DeviceDataset, (inputs, targets), or iterable of (inputs, targets)
        Tensors on the model's device. A data set is taken without augmentation; of a loader, every
        batch is read once and kept, so that ``itertools.islice`` bounds it.
    method : {"auto", "per_example", "two_batches"}
        "per_example" takes each example's gradient by ``torch.func``. "two_batches" takes those of
        small batches, and compares their squares with that of the mean of all; it runs any model.
        "auto" is the first where the model allows it and two gradients fit ``max_bytes``, or else
        the second.
    batch_size : int, optional
        Of the small batches. Otherwise they are a loader's own, or 32 that a data set is cut into.
        Those that are smaller are left out.
    train_size : int, optional
        N, if the data are different examples of N whose noise scale is wanted: with all N and
        "per_example" the result is exact, its errors zero. If omitted, they are independent draws
        of more, and the noise scale is that of the distribution that they come from.
    seed : int
        Of the order in which a data set is cut into small batches. A loader has to shuffle by
        itself.
    max_bytes : int
        That the gradients of examples may take at a time. On a CPU, 16 MiB are taken at most.
    progress : bool, optional
        Show a bar; None shows it on a terminal alone.

    Returns
    -------
    GradientNoiseScale
        Standard errors by the jackknife over examples or small batches.

    Raises
    ------
    TypeError
        If model, loss, data or outputs are of another kind.
    ValueError
        If the model has no trainable parameters or is on another device than the data; if the loss
        is a sum or else no mean over examples, or not finite; if there are no per-example gradients
        and ``method`` asks for them; if there are fewer than 3 examples or small batches;
        if an option is out of its range; or if a gradient is not finite.

    Notes
    -----
    Both methods are unbiased in :math:`|G|^2` and :math:`\text{tr}\,C`. The error of
    :math:`\text{tr}\,C` is larger by "two_batches", for Gaussian gradients by the root of
    ``batch_size``. Two passes are made over the data: the jackknife needs each gradient's product
    with the mean.

    Batch normalization in training mode makes an example's gradient depend on its batch. What
    "two_batches" measures then belongs to batches of that size.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.2 and
    appendix A.1 (numbers from memory); Efron & Stein, "The jackknife estimate of variance" (1981).

    Examples
    --------
    >>> from torch.nn.functional import mse_loss
    >>> model = nn.Linear(1, 1, bias=False).double()
    >>> _ = nn.init.ones_(model.weight)
    >>> inputs = torch.tensor([[1.0], [2.0], [3.0]]).double()
    >>> found = gradient_noise_scale(model, mse_loss, (inputs, 0 * inputs))  # gradients 2, 8, 18
    >>> found.method, round(float(found.noise_trace), 6)
    ('per_example', 65.333333)
    """
    choice("method", method, METHODS)
    positive_integer("max_bytes", max_bytes)
    positive_integer("seed", seed, minimum=0)
    objective = Objective(model, loss)
    examples = Examples(data, objective.device)
    _check_sizes(examples, train_size)
    objective.check_loss(examples)
    method = _method(method, objective, examples, max_bytes)
    if method == "per_example":
        size, take = 1, objective.of_examples
        room = min(max_bytes, _CACHED) if objective.device.type == "cpu" else max_bytes
        pieces = examples.rows(max(1, rows_per_call(objective, room)))
    else:
        pieces = examples.batches(batch_size, count=_BATCHES, least=_LEAST, seed=seed)
        size, take = len(pieces[0][1]), objective.of_batch

    def gradients() -> Iterator[Gradients]:
        for source, rows in shown(pieces, "noise scale", progress):
            yield take(*source.batch(rows))

    with objective.rehearsal():  # so that random layers draw the same twice
        mean, losses = _mean(gradients())
    squares, projections = _deviations(gradients(), mean)
    estimate = _jackknife(mean, squares, projections, size, train_size)
    return GradientNoiseScale(
        **{field.name: getattr(estimate, field.name) for field in fields(estimate)},
        n_examples=size * len(losses),
        loss=float(losses.mean()),
        method=method,
    )


def _check_sizes(examples: Examples, train_size: int | None) -> None:
    if len(examples) < _LEAST:
        raise ValueError(f"data must have at least {_LEAST} examples, got {len(examples)}")
    if train_size is not None and positive_integer("train_size", train_size) < len(examples):
        raise ValueError(
            f"train_size must be at least {len(examples)}, the number of examples, got {train_size}"
        )


def _method(method: str, objective: Objective, examples: Examples, max_bytes: int) -> str:
    """Return the method that is used; raise ValueError if per-example gradients cannot be."""
    if method == "per_example":
        require_per_example(objective, examples)
    if method != "auto":
        return method
    fits = rows_per_call(objective, max_bytes) >= 2
    return "per_example" if fits and objective.obstacle(examples) is None else "two_batches"


def _mean(gradients: Iterator[Gradients]) -> tuple[dict[str, Tensor], Array]:
    """Return the mean of all gradients, float64, and the losses."""
    sums: dict[str, Tensor] = {}
    losses = []
    for row in gradients:
        losses.append(row.losses.double())
        for name, part in row.by_name.items():
            total = part.sum(0, dtype=torch.float64)
            sums[name] = sums[name].add_(total) if name in sums else total
    check_finite(sums)
    values = torch.cat(losses).cpu().numpy()
    return {name: total / len(values) for name, total in sums.items()}, values


def _deviations(gradients: Iterator[Gradients], mean: dict[str, Tensor]) -> tuple[Array, Array]:
    """Return of each gradient's deviation from the mean its square and its product with that."""
    squares, projections = [], []
    for row in gradients:
        deviations = {name: (part - mean[name]).flatten(1) for name, part in row.by_name.items()}
        parts = [torch.linalg.vecdot(part, part) for part in deviations.values()]
        squares.append(torch.stack(parts).sum(0))
        parts = [part @ mean[name].flatten() for name, part in deviations.items()]
        projections.append(torch.stack(parts).sum(0))
    return torch.cat(squares).cpu().numpy(), torch.cat(projections).cpu().numpy()


def _jackknife(
    mean: dict[str, Tensor],
    squares: Array,
    projections: Array,
    size: int,
    train_size: int | None,
) -> NoiseScaleEstimate:
    """Return the estimate from n gradients, each the mean of ``size`` examples.

    The n sets that lack one gradient give n pairs of squared norms, at the batch sizes of one
    gradient and of the n - 1 others. Both estimates are U-statistics, so that the mean over the
    sets is that of all gradients; and the jackknife's error is n - 1 times that of a mean of n
    independent values.
    """
    n = len(squares)
    square = float(sum(torch.sum(part**2) for part in mean.values()))
    norms = square + 2.0 * projections + squares
    small = (np.sum(norms) - norms) / (n - 1)
    large = square - 2.0 * projections / (n - 1) + squares / (n - 1) ** 2
    estimate = estimate_noise_scale(
        np.maximum(small, 0.0),  # rounding
        np.maximum(large, 0.0),
        small_batch_size=size,
        large_batch_size=(n - 1) * size,
        train_size=train_size,
    )
    inflation = n - 1.0
    if train_size is not None and size == 1:
        inflation *= (1.0 - n / train_size) ** 0.5
    errors = ("noise_scale_error", "gradient_square_error", "noise_trace_error")
    return replace(estimate, **{name: inflation * getattr(estimate, name) for name in errors})


def trade_off(estimate: NoiseScaleEstimate, batch_size: ArrayLike) -> TradeOff:
    r"""Return what batch sizes cost in training time and in examples, from a noise scale.

    The critical batch size of a training run is an average of the noise scale over it:
    :math:`S/S_\text{min} = 1 + B_\text{crit}/B` and :math:`E/E_\text{min} = 1 + B/B_\text{crit}`.
    The noise scale grows as the loss falls; one measured early is small.

    Parameters
    ----------
    estimate : NoiseScaleEstimate
        Of :func:`gradient_noise_scale` or :meth:`NoiseScaleMeter.estimate`.
    batch_size : array_like (...)
        B, positive.

    Returns
    -------
    TradeOff

    Raises
    ------
    ValueError
        If the estimate is no positive finite number, or a batch size is not positive.

    References
    ----------
    McCandlish et al. (2018), section 2.3 (number from memory).

    Examples
    --------
    >>> from theory.noise_scale import noise_scale_from_gradients
    >>> cost = trade_off(noise_scale_from_gradients([[0.0], [2.0], [4.0]]), [0.5, 1.5, 4.5])
    >>> cost.steps.round(6), cost.examples.round(6)  # the noise scale is 1.5
    (array([4.      , 2.      , 1.333333]), array([1.333333, 2.      , 4.      ]))
    """
    critical = float(estimate.noise_scale)
    if not 0.0 < critical < np.inf:
        raise ValueError(
            f"the noise scale must be positive and finite, got {critical:g}: the gradients do not "
            "resolve it, more of them would"
        )
    cost = steps_and_examples(batch_size, critical, 1.0)
    error = float(estimate.noise_scale_error)
    return TradeOff(critical, error, cost.steps, np.asarray(cost.examples / critical)[()])


def hessian_noise_scale(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    batch_size: int | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> HessianNoiseScale:
    r"""Measure the noise scale :math:`\text{tr}(HC)/(G^\top HG)` that bounds the gain of a step.

    H is the Hessian of the mean loss, used through its products with vectors. All arguments are as
    in :func:`gradient_noise_scale`, but that a data set is cut into 16 batches, and examples are
    always independent draws.

    Parameters
    ----------
    model, loss, data, batch_size, seed, progress
        As :func:`gradient_noise_scale` takes them. There must be at least 4 batches.

    Returns
    -------
    HessianNoiseScale
        Standard errors by the jackknife over batches.

    Raises
    ------
    TypeError, ValueError
        As :func:`gradient_noise_scale` with ``method="two_batches"``.
    RuntimeError
        If a layer of the model has no second derivative.

    Notes
    -----
    With gradient :math:`g_k` and Hessian :math:`H_k` of batch k, the means of
    :math:`g_k^\top H_j g_l` over different j, k, l and of :math:`g_k^\top H_j g_k` over different
    j, k are unbiased for :math:`G^\top HG` and for that plus :math:`\text{tr}(HC)/B` (derived).
    K batches take memory for K gradients in float64 and the time of K - 1 products of the full
    Hessian with a vector.

    References
    ----------
    McCandlish et al., "An empirical model of large-batch training" (2018), section 2.2
    (number from memory).

    Examples
    --------
    >>> from torch.nn.functional import mse_loss
    >>> model = nn.Linear(1, 1, bias=False).double()
    >>> _ = nn.init.ones_(model.weight)
    >>> inputs = torch.linspace(1, 2, 64).double()[:, None]
    >>> found = hessian_noise_scale(model, mse_loss, (inputs, 0 * inputs))
    >>> simple = gradient_noise_scale(model, mse_loss, (inputs, 0 * inputs))
    >>> ratio = found.noise_scale / simple.noise_scale  # 1 for one parameter, within errors
    >>> bool(0.5 < ratio < 2)
    True
    """
    positive_integer("seed", seed, minimum=0)
    objective = Objective(model, loss)
    examples = Examples(data, objective.device)
    _check_sizes(examples, None)
    objective.check_loss(examples)
    pieces = examples.batches(batch_size, count=16, least=4, seed=seed)
    gradients = torch.stack(
        [_flat(objective.of_batch(*s.batch(rows)).by_name) for s, rows in pieces]
    )
    products = torch.stack(
        [
            _products(objective, source.batch(rows), gradients, number)
            for number, (source, rows) in enumerate(shown(pieces, "Hessian products", progress))
        ]
    )
    return _curvatures(products.cpu().numpy(), len(pieces[0][1]))


def _flat(by_name: dict[str, Tensor]) -> Tensor:
    check_finite(by_name)
    return torch.cat([part.flatten() for part in by_name.values()]).double()


def _products(
    objective: Objective, batch: tuple[Tensor, Tensor], gradients: Tensor, own: int
) -> Tensor:
    """Return g_k' H g_l (K, K) with the Hessian of batch ``own``, whose gradient gives zeros."""
    value, leaves = objective.graph(*batch)
    parts = list(leaves.values())
    slopes = torch.autograd.grad(value, parts, create_graph=True, materialize_grads=True)
    slope = torch.cat([part.flatten() for part in slopes])
    products = gradients.new_zeros(len(gradients), len(gradients))
    for number, vector in enumerate(gradients):
        if number != own and slope.requires_grad:
            curved = torch.autograd.grad(
                slope, parts, vector.to(slope.dtype), retain_graph=True, materialize_grads=True
            )
            flat = torch.cat([part.flatten() for part in curved]).double()
            products[:, number] = gradients @ flat
    products[own] = 0.0
    return products


def _curvatures(products: Array, size: int) -> HessianNoiseScale:
    """Return the estimate from g_k' H_j g_l (j, k, l), zero where j is k or l."""
    K = len(products)
    noise, signal = _u_statistics(products, size)
    lacking = [_u_statistics(_without(products, batch), size) for batch in range(K)]
    noises, signals = np.array(lacking).T
    ratio = noise / signal if signal > 0.0 else np.inf

    def error(values: Array) -> float:
        return float(np.sqrt((K - 1) * np.var(values)))

    return HessianNoiseScale(
        noise_scale=ratio,
        noise_scale_error=error(noises - ratio * signals) / signal if signal > 0.0 else np.inf,
        noise_curvature=noise,
        noise_curvature_error=error(noises),
        gradient_curvature=signal,
        gradient_curvature_error=error(signals),
        n_examples=K * size,
        n_batches=K,
    )


def _without(products: Array, batch: int) -> Array:
    for axis in range(3):
        products = np.delete(products, batch, axis=axis)
    return products


def _u_statistics(products: Array, size: int) -> tuple[float, float]:
    """Return tr(HC) and G'HG: means over pairs and triples of different batches."""
    K = len(products)
    same = float(np.einsum("jkk->", products))
    signal = (float(products.sum()) - same) / (K * (K - 1) * (K - 2))
    return size * (same / (K * (K - 1)) - signal), signal
