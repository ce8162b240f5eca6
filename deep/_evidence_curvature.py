"""The curvature of a network's log likelihood, decomposed against a Gaussian prior.

Everything is measured in the units of the prior: with Λ the relative precision of every parameter,
the decomposition is of Λ^(-1/2) G Λ^(-1/2), and a prior sΛ is a shift of it by s.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from scipy import linalg
from scipy.sparse.linalg import LinearOperator, cg
from torch import Tensor

from deep._evidence_likelihood import Likelihood, progress_bar
from theory._validation import Array
from theory.evidence import log_determinant, log_occam_factor

CURVATURES = ("auto", "full", "dual", "kronecker", "lanczos", "hessian")

# What "auto" decomposes exactly: at most this side, from rows of at most so many numbers (1 GiB).
_EXACT_SIDE = 4096
_EXACT_NUMBERS = 2**27

_HESSIAN_COLUMNS = 64  # at a time

# Central differences in ln s of the log determinant, at multiples of _STEP: the fourth order's
# error is 1e-9 for each eigenvalue, and rounding's is a hundred times that of the log determinant.
_STEP = 0.02
_POINTS = np.array([0.0, -2.0, -1.0, 1.0, 2.0])
_SLOPE = np.array([0.0, 1.0, -8.0, 8.0, -1.0]) / (12.0 * _STEP)


class Volume(NamedTuple):
    """What a decomposition says of a prior, for F shifts s.

    Attributes
    ----------
    log_occam_factor : ndarray (F,)
        -½ ln det(1 + G/s), nats.
    effective_parameters : ndarray (F,)
        tr G (G + s)⁻¹.
    standard_error, truncation : ndarray (F,)
        Errors of the log Occam factor: of probes, and of the quadrature.
    """

    log_occam_factor: Array
    effective_parameters: Array
    standard_error: Array
    truncation: Array


class Decomposition(Protocol):
    """A decomposed curvature G."""

    def volume(self, shifts: Array) -> Volume:
        """Return what it says of priors (F,)."""

    def newton_gain(self, gradient: Tensor, shift: float) -> float:
        """Return ½ gᵀ(G + s)⁻¹g for a gradient (P,)."""


Whitened = Callable[[Tensor], Decomposition]


class Spectrum:
    """Eigenvalues (k,) of G, the others being 0, and coordinates of vectors in its eigenvectors."""

    def __init__(self, eigenvalues: Tensor, coordinates: Callable[[Tensor], Tensor]) -> None:
        self.eigenvalues = eigenvalues.double().cpu().numpy()
        self.coordinates = coordinates
        largest = float(np.abs(self.eigenvalues).max())
        self.resolution = _resolution(largest, len(self.eigenvalues), eigenvalues.dtype)

    def volume(self, shifts: Array) -> Volume:
        """Return what it says of priors (F,)."""
        _check_resolution(shifts, self.resolution)
        kept = np.maximum(self.eigenvalues, 0.0)
        occam = [self._log_occam(shift) for shift in shifts]
        effective = [np.sum(kept / (kept + shift)) for shift in shifts]
        return Volume(np.array(occam), np.array(effective), *np.zeros((2, len(shifts))))

    def _log_occam(self, shift: float) -> float:
        return float(log_occam_factor(self.eigenvalues, prior_precision=shift))

    def newton_gain(self, gradient: Tensor, shift: float) -> float:
        """Return ½ gᵀ(G + s)⁻¹g for a gradient (P,)."""
        inside = self.coordinates(gradient).double().cpu().numpy() ** 2
        outside = max(0.0, float(gradient.double().square().sum()) - float(inside.sum()))
        kept = np.maximum(self.eigenvalues, 0.0)
        return 0.5 * float(np.sum(inside / (kept + shift)) + outside / shift)


class LanczosEstimate:
    """G as a product alone: stochastic quadrature and conjugate gradients."""

    def __init__(
        self,
        product: Callable[[Tensor], Tensor],
        like: Tensor,
        *,
        probes: int,
        steps: int,
        rng: np.random.Generator,
        progress: bool | None,
    ) -> None:
        self._product, self._like = product, like
        self._probes, self._steps, self._rng = probes, min(steps, len(like)), rng
        self._progress = progress
        self._largest = 0.0

    def _multiply(self, vector: Array) -> Array:
        v = torch.as_tensor(vector, dtype=self._like.dtype, device=self._like.device)
        return np.asarray(self._product(v).double().cpu().numpy())

    def volume(self, shifts: Array) -> Volume:
        """Return what it says of priors (F,), all from the same probes."""
        with progress_bar(self._probes * self._steps, "Lanczos", self._progress) as bar:

            def product(vector: Array) -> Array:
                bar.update()
                result = self._multiply(vector)
                self._largest = max(self._largest, float(np.linalg.norm(result)))
                return result

            estimate = log_determinant(
                product,
                len(self._like),
                shift=shifts[:, None] * np.exp(_STEP * _POINTS),
                probes=self._probes,
                steps=self._steps,
                rng=self._rng,
            )
        like = self._like
        _check_resolution(shifts, _resolution(self._largest, len(like), like.dtype))
        ln_shifts = np.log(shifts)[:, None] + _STEP * _POINTS
        log_ratio = estimate.value - len(like) * ln_shifts
        return Volume(
            -0.5 * log_ratio[:, 0],
            -log_ratio @ _SLOPE,
            0.5 * estimate.standard_error[:, 0],
            0.5 * estimate.truncation[:, 0],
        )

    def newton_gain(self, gradient: Tensor, shift: float) -> float:
        """Return ½ gᵀ(G + s)⁻¹g for a gradient (P,), from below if it takes more steps."""
        g = gradient.double().cpu().numpy()
        shifted = LinearOperator((len(g), len(g)), matvec=lambda v: self._multiply(v) + shift * v)
        solution, _ = cg(shifted, g, rtol=1e-4, maxiter=self._steps)
        return 0.5 * float(g @ solution)


# --- how each is made -----------------------------------------------------------------------------


def check(curvature: str) -> None:
    """Raise ValueError if there is no such curvature."""
    if curvature not in CURVATURES:
        raise ValueError(
            f"curvature must be one of {', '.join(sorted(CURVATURES))}; got {curvature!r}"
        )


def choose(curvature: str, n_parameters: int, n_rows: int) -> str:
    """Return what "auto" stands for, or the name that was given."""
    if curvature != "auto":
        return curvature
    if min(n_parameters, n_rows) > _EXACT_SIDE:
        return "lanczos"
    if n_parameters <= n_rows:
        return "full"
    return "dual" if n_parameters * n_rows <= _EXACT_NUMBERS else "lanczos"


def whitened(
    method: str,
    likelihood: Likelihood,
    *,
    probes: int,
    steps: int,
    rng: np.random.Generator,
    progress: bool | None,
) -> Whitened:
    """Return how a curvature is decomposed in the units of a prior (P,)."""
    if method == "lanczos":
        return lanczos(likelihood, probes=probes, steps=steps, rng=rng, progress=progress)
    if method == "kronecker":
        return kronecker(likelihood)
    if method == "hessian":
        return hessian(likelihood)
    return (full if method == "full" else dual)(likelihood, progress)


def full(likelihood: Likelihood, progress: bool | None) -> Whitened:
    """Return how the Gauss-Newton matrix (P, P) is decomposed."""
    weights = likelihood.weights()
    G = weights.new_zeros(len(weights), len(weights))
    for rows in likelihood.curvature_rows(progress=progress):
        G.addmm_(rows.T, rows)
    return lambda relative: _eigen(_whitened(G, relative))


def hessian(likelihood: Likelihood) -> Whitened:
    """Return how the Hessian (P, P) of the summed loss is decomposed."""
    weights = likelihood.weights()
    operator = _operator("HessianLinearOperator", likelihood)
    eye = torch.eye(len(weights), dtype=weights.dtype, device=weights.device)
    columns = [operator @ part for part in torch.split(eye, _HESSIAN_COLUMNS, dim=1)]
    H = likelihood.factor * torch.cat(columns, dim=1)

    def decomposed(relative: Tensor) -> Spectrum:
        spectrum = _eigen(_whitened(0.5 * (H + H.T), relative))
        lowest = float(spectrum.eigenvalues[0])
        if lowest < -spectrum.resolution:
            negative = int(np.sum(spectrum.eigenvalues < -spectrum.resolution))
            raise ValueError(
                f"the Hessian is not positive semidefinite at these weights: {negative} of its "
                f"{len(weights)} eigenvalues are negative, down to {lowest:.3g}; "
                "curvature='full' takes the Gauss-Newton matrix, which has none"
            )
        return spectrum

    return decomposed


def dual(likelihood: Likelihood, progress: bool | None) -> Whitened:
    """Return how the Gauss-Newton matrix is decomposed on the side of the N K outputs."""
    R = likelihood.weights().new_empty(
        likelihood.train_size * likelihood.n_outputs, likelihood.n_parameters
    )
    filled = 0
    for rows in likelihood.curvature_rows(progress=progress):
        R[filled : filled + len(rows)] = rows
        filled += len(rows)

    def decomposed(relative: Tensor) -> Spectrum:
        rows = R / relative.sqrt()
        eigenvalues, U = _eigh(rows @ rows.T)
        lengths = eigenvalues.clamp(min=0.0).sqrt()
        # A direction shorter than rounding is none, and its coordinate would be noise.
        kept = eigenvalues > len(R) * torch.finfo(R.dtype).eps * eigenvalues[-1]
        scale = torch.where(kept, 1.0 / lengths, 0.0)
        return Spectrum(eigenvalues, lambda vector: scale * (U.T @ (rows @ vector)))

    return decomposed


def kronecker(likelihood: Likelihood) -> Whitened:
    """Return how the Kronecker-factored approximation is decomposed, layer by layer."""
    names, parts = list(likelihood.parameters), list(likelihood.parameters.values())
    try:
        find_layers = _curvlinops().KFACLinearOperator.compute_parameter_mapping
        layers = find_layers(parts, likelihood.network)
    except NotImplementedError:
        layers = {}
    if sum(len(layer) for layer in layers.values()) != len(parts):
        raise ValueError(
            "curvature='kronecker' needs all trainable parameters in Linear and Conv2d layers that "
            f"share none; the parameters are {', '.join(names)}"
        )
    operator = _operator(
        "KFACLinearOperator",
        likelihood,
        fisher_type="type-2",
        separate_weight_and_bias=False,
        num_per_example_loss_terms=1,
    )
    with torch.enable_grad():
        operator.compute_kronecker_factors()
    factors = operator.state_dict()

    def decomposed(relative: Tensor) -> Spectrum:
        precisions = _split(relative, parts)
        blocks = []
        for name, layer in layers.items():
            B = likelihood.factor * factors["gradient_covariances"][name]
            A = factors["input_covariances"].get(name, B.new_ones(1, 1))
            # One precision for all weights of a layer and one for all its biases: the prior acts
            # on the inputs' side alone.
            columns = _columns(layer, precisions)[0]
            blocks.append((layer, *_eigh(B), *_eigh(_whitened(A, columns))))

        def coordinates(vector: Tensor) -> Tensor:
            tensors = _split(vector, parts)
            return torch.cat(
                [(U.T @ _columns(layer, tensors) @ V).reshape(-1) for layer, _, U, _, V in blocks]
            )

        eigenvalues = [
            torch.outer(b.clamp(min=0.0), a.clamp(min=0.0)).reshape(-1) for _, b, _, a, _ in blocks
        ]
        return Spectrum(torch.cat(eigenvalues), coordinates)

    return decomposed


def lanczos(
    likelihood: Likelihood,
    *,
    probes: int,
    steps: int,
    rng: np.random.Generator,
    progress: bool | None,
) -> Whitened:
    """Return how the Gauss-Newton matrix is probed."""
    operator = _operator("GGNLinearOperator", likelihood)

    def decomposed(relative: Tensor) -> LanczosEstimate:
        root = relative.sqrt()
        return LanczosEstimate(
            lambda v: likelihood.factor * (operator @ (v / root)) / root,
            relative,
            probes=probes,
            steps=steps,
            rng=rng,
            progress=progress,
        )

    return decomposed


def _operator(kind: str, likelihood: Likelihood, **options: Any) -> Any:
    """Return an operator of curvlinops for the criterion, which the likelihood's factor scales."""
    return getattr(_curvlinops(), kind)(
        likelihood.network,
        likelihood.criterion,
        list(likelihood.parameters.values()),
        likelihood,
        check_deterministic=False,
        num_data=likelihood.train_size,
        **options,
    )


def _curvlinops() -> Any:
    """Return the library, whose import takes a second."""
    import curvlinops  # type: ignore[import-untyped]

    return curvlinops


def _whitened(matrix: Tensor, relative: Tensor) -> Tensor:
    root = relative.sqrt()
    return matrix / torch.outer(root, root)


def _eigh(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return eigenvalues (n,), the lowest first, and vectors (n, n) of a symmetric matrix.

    Divide and conquer, torch's way, can fail where many eigenvalues are the same, as the zeros of
    pixels that are always black; QR iteration does not, at a few times the cost.
    """
    try:
        values, vectors = torch.linalg.eigh(matrix)
    except torch.linalg.LinAlgError:
        found = linalg.eigh(matrix.cpu().numpy(), driver="ev")
        values, vectors = (torch.as_tensor(part, device=matrix.device) for part in found)
    return values, vectors


def _eigen(matrix: Tensor) -> Spectrum:
    eigenvalues, V = _eigh(matrix)
    return Spectrum(eigenvalues, lambda vector: V.T @ vector)


def _split(vector: Tensor, like: list[Any]) -> list[Tensor]:
    pieces = torch.split(vector, [part.numel() for part in like])
    return [piece.view(part.shape) for piece, part in zip(pieces, like, strict=True)]


def _columns(layer: dict[str, int], tensors: list[Tensor]) -> Tensor:
    """Return what belongs to a layer's weights and bias as a matrix (outputs, inputs [+ 1])."""
    return torch.cat(
        [
            tensors[layer[kind]].flatten(1) if kind == "weight" else tensors[layer[kind]][:, None]
            for kind in ("weight", "bias")
            if kind in layer
        ],
        dim=1,
    )


def _resolution(largest: float, side: int, dtype: torch.dtype) -> float:
    """Return the precision below which rounding moves a log determinant by some 0.1 nats."""
    return 10.0 * side * float(torch.finfo(dtype).eps) * largest


def _check_resolution(shifts: Array, resolution: float) -> None:
    """Refuse a precision that rounding in the curvature would drown."""
    if shifts.min() < resolution:
        raise ValueError(
            f"prior_precision = {shifts.min():.3g} is too small for the arithmetic beside the "
            f"curvature; the smallest that can be resolved is {resolution:.3g}"
        )
