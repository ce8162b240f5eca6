"""Laplace log evidence of a network, and the same network in other coordinates."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from deep import _evidence_curvature as curvatures
from deep._evidence_likelihood import Data, Likelihood
from deep._evidence_prior import Prior, PriorPrecision
from theory._validation import Array, positive_integer, positive_number

CURVATURES = curvatures.CURVATURES

# A Newton step that would change the log evidence by less than this many nats is not worth a word.
_STATIONARY = 0.1


class NotStationaryWarning(UserWarning):
    """The weights are not where the posterior is largest, so the log evidence is too small."""


@dataclass(frozen=True, eq=False)
class NetworkEvidence:
    r"""Laplace evidence of a network, for every prior precision asked for.

    Arrays have the shape (...) of ``prior_precision``.

    Attributes
    ----------
    log_evidence : float or ndarray (...)
        ``log_likelihood - penalty + log_occam_factor``, nats, with all constants.
    log_evidence_ratio : float or ndarray (...)
        :math:`E` of equation 10, nats: *negative* where the network beats the null model, which
        calls every class equally likely. For squared errors, which the paper does not treat, the
        null model is the noise about 0.
    log_occam_factor : float or ndarray (...)
        :math:`-\frac12\ln\det(1 + \Lambda^{-1/2}G\Lambda^{-1/2})`, nats, at most 0.
    log_likelihood : float
        :math:`-H(\omega_0)`, nats.
    penalty : float or ndarray (...)
        :math:`\frac12\omega_0^\top\Lambda\,\omega_0`, nats.
    effective_parameters : float or ndarray (...)
        :math:`\gamma = \operatorname{tr} G(G + \Lambda)^{-1}`, the number of directions that the
        data decide and not the prior.
    gradient_norm : float or ndarray (...)
        Euclidean norm of the gradient of H plus penalty: 0 at the maximum of the posterior, of
        which equation 9 is the expansion.
    newton_gain : float or ndarray (...)
        :math:`\frac12 g^\top(G + \Lambda)^{-1}g`, nats: what a Newton step would add to the log
        evidence, to second order. By "lanczos" a lower bound of it.
    standard_error : float or ndarray (...)
        Of ``log_evidence`` over the probes of "lanczos", nats. 0 for the others.
    truncation : float or ndarray (...)
        How much the last Lanczos step moved ``log_evidence``, nats: the size of the error that
        more ``steps`` would remove and more ``probes`` would not. 0 for the others.
    prior_precision : float, ndarray (...) or dict
        As given.
    n_parameters, train_size, n_outputs : int
        P, N and K.
    method : {"full", "dual", "kronecker", "lanczos", "hessian"}
        How the curvature was treated.
    """

    log_evidence: Array
    log_evidence_ratio: Array
    log_occam_factor: Array
    log_likelihood: float
    penalty: Array
    effective_parameters: Array
    gradient_norm: Array
    newton_gain: Array
    standard_error: Array
    truncation: Array
    prior_precision: Array | dict[str, Array]
    n_parameters: int
    train_size: int
    n_outputs: int
    method: str


def laplace_log_evidence(
    model: nn.Module,
    data: Data,
    *,
    prior_precision: PriorPrecision,
    loss: str = "cross_entropy",
    noise_precision: float = 1.0,
    curvature: str = "auto",
    batch_size: int = 512,
    probes: int = 32,
    steps: int = 64,
    rng: np.random.Generator | np.random.SeedSequence | int | None = None,
    dtype: torch.dtype = torch.float64,
    progress: bool | None = None,
) -> NetworkEvidence:
    r"""Laplace log evidence of a trained network, its Occam factor and its odds against chance.

    The weights are taken as they are: train them to the maximum of the posterior first, that is
    with a weight decay of :math:`\lambda` on the **summed** loss, or :math:`\lambda/N` on the mean.
    Where they are not there, the evidence is too small, by ``newton_gain`` to second order, and a
    :class:`NotStationaryWarning` says so. All priors of a path share the weights and, if they
    differ by a factor alone, one decomposition of the curvature.

    Equal evidence of hidden units' permutations is not added: add :math:`\ln` of their number, such
    as :math:`\ln n!` for n interchangeable units, before comparing networks of different widths.

    Parameters
    ----------
    model : torch.nn.Module
        Takes a batch of inputs (B, …) and returns (B, K) logits or, for squared errors,
        predictions; (B, 1) and (B,) are one logit, that of class 1 against 0, or one prediction.
        It stays as it is, on its device. Parameters that do not require a gradient count as fixed.
    data : DeviceDataset, (inputs, targets), or iterable of such batches
        The training data, without augmentation. An iterable is read once and kept. Targets are
        integer labels (n,) or, for squared errors, also (n, K) or (n,) floating-point numbers;
        labels then stand for unit vectors.
    prior_precision : float, array_like (...), or mapping of str to these
        :math:`\lambda`, positive. A mapping gives each layer its own: a key is the beginning of
        parameters' names up to a dot, such as "0" or "features.3.weight", the longest that fits
        counts, and "" fits all.
    loss : {"cross_entropy", "squared_error"}
        "squared_error" is Gaussian noise of ``noise_precision`` :math:`\alpha`, in every output.
    noise_precision : float
        Without effect on cross-entropy.
    curvature : {"auto", "full", "dual", "kronecker", "lanczos", "hessian"}
        "full" decomposes the Gauss-Newton matrix (P, P), "dual" the same on the side of the data
        (N K, N K), for which it keeps N K P numbers. "lanczos" estimates its log determinant from
        products alone and says how well; it needs no more memory than ``steps`` vectors.
        "kronecker" is KFAC, for Linear and Conv2d layers: one pass over the data and one
        decomposition for each side of a layer, but an approximation of unknown error.
        "hessian" takes the Hessian itself and refuses it where it is not positive semidefinite.
        "auto" is the smaller of "full" and "dual" up to a side of 4096, "lanczos" beyond.
    batch_size : int
        Examples at a time.
    probes, steps : int
        Of "lanczos", as :func:`theory.evidence.log_determinant` takes them: their product is the
        number of passes over the data. More probes lessen ``standard_error``, more steps
        ``truncation``.
    rng : None, int, SeedSequence or Generator
        Source of the probes.
    dtype : torch.dtype
        Of the computation, in a copy of the model. float32 resolves prior precisions down to some
        1e-6 P of the largest curvature only, float64 to 2e-15 P.
    progress : bool, optional
        Show a bar; None shows it on a terminal alone.

    Returns
    -------
    NetworkEvidence

    Raises
    ------
    TypeError
        If ``model`` is no module, ``data`` of no such form, labels are not integers, or a key of
        ``prior_precision`` is no str.
    ValueError
        If a prior precision is not positive, is too small to be resolved in ``dtype`` beside the
        curvature, fits no parameter or leaves some out; if a batch normalization or dropout is in
        training mode; if outputs do not fit the targets; if weights, loss or gradient are not
        finite; if the Hessian asked for has negative eigenvalues; if "kronecker" meets another
        layer; or if another argument is out of its range.

    Warns
    -----
    NotStationaryWarning
        If a Newton step would raise a log evidence by more than 0.1 nats.

    References
    ----------
    Smith & Le (2018), equations 7 to 10; MacKay, "A practical Bayesian framework for
    backpropagation networks", Neural Computation 4 (1992), for the effective number of parameters;
    Immer et al., "Scalable marginal likelihood estimation for model selection in deep learning",
    ICML (2021), for the Gauss-Newton and Kronecker forms (both from memory).

    Examples
    --------
    >>> from theory.evidence import laplace_evidence
    >>> X = [[-2.0], [-1.0], [1.0], [2.0]]
    >>> fit = laplace_evidence(X, [0, 0, 1, 1], prior_precision=1.0)
    >>> model = nn.Linear(1, 1, dtype=torch.float64)
    >>> with torch.no_grad():
    ...     _ = model.weight.fill_(fit.weights[0]), model.bias.fill_(fit.weights[1])
    >>> data = torch.tensor(X), torch.tensor([0, 0, 1, 1])
    >>> evidence = laplace_log_evidence(model, data, prior_precision=1.0)
    >>> bool(abs(evidence.log_evidence - fit.log_evidence) < 1e-12)
    True
    """
    probes, steps = positive_integer("probes", probes, minimum=2), positive_integer("steps", steps)
    curvatures.check(curvature)
    likelihood = Likelihood(
        model,
        data,
        loss=loss,
        noise_precision=noise_precision,
        batch_size=batch_size,
        dtype=dtype,
    )
    prior = Prior.of(prior_precision, likelihood.parameters)
    method = curvatures.choose(
        curvature, likelihood.n_parameters, likelihood.train_size * likelihood.n_outputs
    )
    log_likelihood, slope = likelihood.value_and_gradient()
    weights = likelihood.weights()
    columns = _along(
        prior,
        weights,
        slope,
        curvatures.whitened(
            method,
            likelihood,
            probes=probes,
            steps=steps,
            rng=np.random.default_rng(rng),
            progress=progress,
        ),
    )
    result = {name: column.reshape(prior.shape)[()] for name, column in columns.items()}
    log_evidence = log_likelihood - result["penalty"] + result["log_occam_factor"]
    _warn(float(np.max(result["newton_gain"])))
    return NetworkEvidence(
        **result,
        log_evidence=log_evidence,
        log_evidence_ratio=likelihood.null() - log_evidence,
        log_likelihood=log_likelihood,
        prior_precision=_plain(prior.given),
        n_parameters=likelihood.n_parameters,
        train_size=likelihood.train_size,
        n_outputs=likelihood.n_outputs,
        method=method,
    )


def _along(
    prior: Prior, weights: Tensor, slope: Tensor, whitened: curvatures.Whitened
) -> dict[str, Array]:
    """Return what depends on the prior, along its path (T,)."""
    length = len(prior.precisions)
    of_volume = curvatures.Volume._fields
    columns = {
        name: np.empty(length) for name in (*of_volume, "penalty", "gradient_norm", "newton_gain")
    }
    for relative, scales, members in prior.families(weights):
        decomposition = whitened(relative)
        for name, values in decomposition.volume(scales)._asdict().items():
            columns[name][members] = values
        for member, scale in zip(members, scales, strict=True):
            pull = prior.at(member, weights) * weights
            gradient = slope + pull
            columns["penalty"][member] = 0.5 * float(weights @ pull)
            columns["gradient_norm"][member] = float(gradient.norm())
            columns["newton_gain"][member] = decomposition.newton_gain(
                gradient / relative.sqrt(), float(scale)
            )
    return columns


def _plain(given: Array | dict[str, Array]) -> Array | dict[str, Array]:
    if isinstance(given, dict):
        return {prefix: value[()] for prefix, value in given.items()}
    return given[()]


def _warn(gain: float) -> None:
    if gain > _STATIONARY:
        warnings.warn(
            "the weights are not the posterior's maximum for all of prior_precision: a Newton step "
            f"would raise the log evidence by up to {gain:.3g} nats",
            NotStationaryWarning,
            stacklevel=3,
        )


def rescale_layers(
    model: nn.Module,
    prior_precision: PriorPrecision,
    *,
    first: str,
    second: str,
    scale: float,
) -> tuple[nn.Module, dict[str, Array]]:
    r"""Return the same function and prior with one layer's parameters larger, the next's smaller.

    Weights and bias of the first layer are multiplied by a and the weights of the second divided by
    it. If only positively homogeneous steps such as ReLU, max or average pooling stand between
    them, and nothing else takes the first layer's outputs, no output changes. The curvature
    does: sharpness can be made anything (Dinh et al. 2017). With their prior precisions divided by
    :math:`a^2` and multiplied by it, the model is the same one in other coordinates, and so is its
    evidence.

    Parameters
    ----------
    model : torch.nn.Module
        Stays as it is.
    prior_precision : float, array_like (...), or mapping of str to these
        As :func:`laplace_log_evidence` takes it.
    first, second : str
        Names of two modules of the model with a ``weight``, such as "0" and "2".
    scale : float
        a, positive.

    Returns
    -------
    model : torch.nn.Module
        A copy.
    prior_precision : dict of str to float or ndarray (...)
        Of every parameter, by its name.

    Raises
    ------
    TypeError, ValueError
        If ``scale`` is not positive, a name is not that of a module with a weight, both are the
        same, or as :func:`laplace_log_evidence` does of ``prior_precision``.

    References
    ----------
    Smith & Le (2018), section 2; Dinh et al., "Sharp minima can generalize for deep nets" (2017).

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> sharp, prior = rescale_layers(model, 1.0, first="0", second="2", scale=0.5)
    >>> {name: float(precision) for name, precision in prior.items()}
    {'0.weight': 4.0, '0.bias': 4.0, '2.weight': 0.25, '2.bias': 1.0}
    >>> x = torch.ones(1, 3)
    >>> bool(torch.allclose(model(x), sharp(x)))
    True
    """
    a = positive_number("scale", scale)
    if first == second:
        raise ValueError(f"first and second must be two modules, got {first!r} twice")
    own = copy.deepcopy(model)
    factors = {f"{first}.weight": a, f"{first}.bias": a, f"{second}.weight": 1.0 / a}
    for name in (first, second):
        layer = dict(own.named_modules()).get(name)
        if not isinstance(getattr(layer, "weight", None), Tensor):
            raise ValueError(f"{name!r} is not the name of a module with a weight")
    parameters = dict(own.named_parameters())
    trainable = {name: part for name, part in parameters.items() if part.requires_grad}
    prior = Prior.of(prior_precision, trainable)
    with torch.no_grad():
        for name in factors.keys() & parameters.keys():
            parameters[name].mul_(factors[name])
    precisions = prior.by_name(trainable)
    return own, {name: value / factors.get(name, 1.0) ** 2 for name, value in precisions.items()}
