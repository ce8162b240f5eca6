"""Sharpness of a minimum: the largest loss in a box around it, and the mean loss under noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from scipy.optimize import minimize
from torch import Tensor, nn

from deep._curvature_surface import NOISES, Array, Surface, named, numbers, positive_values
from deep._evidence_likelihood import Data, progress_bar
from deep._noise_scale_gradients import Loss, choice
from theory._validation import positive_integer

CONVENTIONS = ("keskar", "smoothout")
SCALINGS = ("weight", "filter")
STARTS = ("weights", "random")


class Coordinates(Protocol):
    """Coordinates z (p,) of displacements A z (P,) from the weights x."""

    size: int

    def displacement(self, z: Array) -> Tensor:
        """Return A z."""

    def slope(self, gradient: Tensor) -> Array:
        """Return Aᵀ g."""

    def of_weights(self) -> Array:
        """Return A⁺ x."""


class FullSpace:
    """A = 1."""

    def __init__(self, surface: Surface) -> None:
        self._surface, self.size = surface, len(surface)

    def displacement(self, z: Array) -> Tensor:
        """Return z."""
        return self._surface.tensor(z)

    def slope(self, gradient: Tensor) -> Array:
        """Return g."""
        return numbers(gradient)

    def of_weights(self) -> Array:
        """Return x."""
        return numbers(self._surface.weights)


class Subspace:
    """A is spanned by p random unit vectors, the rows of R (p, P).

    "keskar" draws A = Rᵀ, of which A⁺ = (RRᵀ)⁻¹R. "smoothout" draws A⁺ = R, A = Rᵀ(RRᵀ)⁻¹.
    """

    def __init__(
        self, surface: Surface, size: int, convention: str, rng: np.random.Generator
    ) -> None:
        noise = "normal" if convention == "keskar" else "uniform"
        rows = torch.stack([surface.drawn(noise, None, rng) for _ in range(size)])
        self._surface, self.size, self._draws_inverse = surface, size, convention == "smoothout"
        self._R = rows / torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        self._gram = numbers(self._R @ self._R.T)

    def displacement(self, z: Array) -> Tensor:
        """Return A z."""
        along = np.linalg.solve(self._gram, z) if self._draws_inverse else z
        return self._R.T @ self._surface.tensor(along)

    def slope(self, gradient: Tensor) -> Array:
        """Return Aᵀ g."""
        along = numbers(self._R @ gradient)
        return np.linalg.solve(self._gram, along) if self._draws_inverse else along

    def of_weights(self) -> Array:
        """Return A⁺ x."""
        along = numbers(self._R @ self._surface.weights)
        return along if self._draws_inverse else np.linalg.solve(self._gram, along)


class Ascent(NamedTuple):
    """Where L-BFGS-B stopped in a box."""

    largest: float
    iterations: int
    evaluations: int


def keskar_sharpness(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    epsilon: ArrayLike = 5e-4,
    subspace_dimension: int | None = None,
    convention: str = "keskar",
    start: str = "weights",
    repeats: int = 1,
    max_iterations: int = 10,
    seed: int = 0,
    parameters: Sequence[str] | None = None,
    batch_norm: str = "running",
    batch_size: int = 512,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Keskar et al.'s sharpness: how far the loss rises in a small box around the weights.

    .. math:: \phi = 100\,\frac{\max_{z \in \mathcal C_\varepsilon} f(x + Az) - f(x)}{1 + f(x)},
              \qquad \mathcal C_\varepsilon
              = \{z : |z_i| \le \varepsilon(|(A^+x)_i| + 1)\}.

    The maximum is approached as published, by 10 iterations of L-BFGS-B from the weights themselves
    with SciPy's other settings, so that it is a lower bound. L-BFGS-B does not move where no
    component of the gradient exceeds 1e-5: at a minimum trained to that precision, :math:`\phi` is
    0 however sharp it is, and ``iterations`` is 0. ``start="random"`` does not have this fault.

    Parameters
    ----------
    model : torch.nn.Module
        It stays as it is, on its device: a copy of it is measured, in evaluation mode.
    loss : callable
        Takes outputs and targets of a batch, returns the mean over its examples.
    data : DeviceDataset, (inputs, targets), or iterable of such batches
        All its examples count. An iterable is read once and kept. Keskar et al. took the training
        data, Wen et al.'s code the test data.
    epsilon : float or array_like (e,)
        :math:`\varepsilon`, positive. Published: 1e-3 and 5e-4.
    subspace_dimension : int, optional
        p, the number of columns of a random A, all kept in memory; the full space, A = 1, if
        omitted. Published: 100.
    convention : {"keskar", "smoothout"}
        Law of A. "keskar" draws normal columns of length 1; the paper does not tell the law.
        "smoothout", the code of Wen et al., draws uniform rows of length 1 for :math:`A^+` and
        takes its pseudo-inverse for A. (That code weights a smaller last batch as a whole one in
        the gradient. Here every example counts alike.)
    start : {"weights", "random"}
        Where L-BFGS-B begins: at the weights, as published, or uniformly in the box.
    repeats : int
        Subspaces and random starts to draw; 1 if neither is random.
    max_iterations : int
        Of L-BFGS-B. Published: 10.
    seed : int
        Of subspaces and starts, the same for every ``epsilon``.
    parameters : sequence of str, optional
        Names of the parameters that are moved, as ``model.named_parameters()`` has them; all that
        require a gradient, if omitted.
    batch_norm : {"running", "batch"}
        Whether batch normalization takes its running statistics, which then do not follow the
        weights, or those of the batch at hand, computed anew for all weights. Neither is updated.
    batch_size : int
        Examples at a time; a loader's batches stay as they are.
    progress : bool, optional
        Show a bar; None shows it on a terminal alone.

    Returns
    -------
    xarray.Dataset
        Along epsilon and repeat: ``sharpness`` in percent, ``largest_loss``, ``iterations`` and
        ``evaluations`` of loss and gradient; and ``loss``, that at the weights. The attribute
        ``batch_norm`` tells the statistics that were taken.

    Raises
    ------
    TypeError
        If the model is no module, ``loss`` cannot be called, or data are of no such form.
    ValueError
        If data are empty, the loss is no mean or not finite, the model has no trainable parameters,
        the subspace has more dimensions than there are parameters, repeats would all be the same,
        or another argument is out of its range.

    References
    ----------
    Keskar et al., "On large-batch training for deep learning: generalization gap and sharp minima"
    (2017), metric 2.1 and section 2.2.2 (numbers from memory); Wen et al. (2018), official code,
    ``measure_sharpness.py``.

    Examples
    --------
    >>> model = nn.Linear(1, 1, bias=False).double()
    >>> _ = nn.init.ones_(model.weight)  # mean squared error w² on this data
    >>> data = torch.ones(4, 1).double(), torch.zeros(4, 1).double()
    >>> found = keskar_sharpness(model, nn.MSELoss(), data, epsilon=[0.1, 0.2])
    >>> found.sharpness.values.round(6).ravel()  # 100 ((1 + 2ε)² - 1) / 2
    array([22., 48.])
    """
    widths = positive_values("epsilon", epsilon)
    choice("convention", convention, CONVENTIONS)
    choice("start", start, STARTS)
    if subspace_dimension is not None:
        positive_integer("subspace_dimension", subspace_dimension)
    for name, value in (("repeats", repeats), ("max_iterations", max_iterations)):
        positive_integer(name, value)
    positive_integer("seed", seed, minimum=0)
    if repeats > 1 and subspace_dimension is None and start == "weights":
        raise ValueError(
            f"repeats is {repeats}, but they would all be the same: in the full space from the "
            "weights nothing is random"
        )
    surface = Surface(
        model, loss, data, parameters=parameters, batch_norm=batch_norm, batch_size=batch_size
    )
    if subspace_dimension is not None and subspace_dimension > len(surface):
        raise ValueError(
            f"subspace_dimension must be at most the number of parameters, {len(surface)}, "
            f"got {subspace_dimension}"
        )
    found = np.empty((len(widths), repeats, len(Ascent._fields)))
    with progress_bar(found[..., 0].size, "L-BFGS-B", progress) as bar:
        for repeat in range(repeats):
            rng = np.random.default_rng([seed, repeat])
            place: Coordinates = FullSpace(surface)
            if subspace_dimension is not None:
                place = Subspace(surface, subspace_dimension, convention, rng)
            begin = rng.uniform(-1.0, 1.0, place.size) * (start == "random")
            for number, width in enumerate(widths):
                found[number, repeat] = _ascent(surface, place, width, begin, max_iterations)
                bar.update()
    return _keskar_dataset(surface, widths, found)


def _ascent(
    surface: Surface, place: Coordinates, width: float, begin: Array, max_iterations: int
) -> Ascent:
    """Return how far L-BFGS-B climbs from a point of the box, given as shares of its sides."""

    def negative(z: Array) -> tuple[float, Array]:
        value, gradient = surface.value_and_gradient(
            surface.weights + place.displacement(z), f"in the box of epsilon = {width:g}"
        )
        return -value, -place.slope(gradient)

    sides = width * (np.abs(place.of_weights()) + 1.0)
    result = minimize(
        negative,
        begin * sides,
        jac=True,
        method="L-BFGS-B",
        bounds=np.stack([-sides, sides], axis=1),
        options={"maxiter": max_iterations},
    )
    return Ascent(-float(result.fun), int(result.nit), int(result.nfev))


def _keskar_dataset(surface: Surface, widths: Array, found: Array) -> xr.Dataset:
    along = ("epsilon", "repeat")
    largest, iterations, evaluations = np.moveaxis(found, -1, 0)
    largest = np.maximum(largest, surface.loss)  # the weights are in the box
    sharpness = 100.0 * (largest - surface.loss) / (1.0 + surface.loss)
    return surface.dataset(
        {
            "sharpness": (along, sharpness, named("Keskar sharpness", "percent")),
            "largest_loss": (along, largest, named("largest mean loss found in the box")),
            "iterations": (along, iterations.astype(int), named("iterations of L-BFGS-B")),
            "evaluations": (along, evaluations.astype(int), named("evaluations of the loss")),
        },
        {"epsilon": ("epsilon", widths, named("size of the box, over |x| + 1"))},
    )


def expected_sharpness(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    strength: ArrayLike,
    noise: str = "uniform",
    scaling: str | None = None,
    draws: int = 100,
    seed: int = 0,
    parameters: Sequence[str] | None = None,
    batch_norm: str = "running",
    batch_size: int = 512,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""How far the loss rises on average under noise on the weights: :math:`E\,C(w+\theta)-C(w)`.

    To second order it is half the trace of the Hessian times the variance of the noise:
    :math:`\frac{a^2}{6}\,\text{tr}\,H` for uniform noise on :math:`[-a, a]`,
    :math:`\frac{a^2}{2}\,\text{tr}\,H` for normal noise of standard deviation a, as in Wen et al.'s
    code; noise of the same variance as uniform noise has :math:`a/\sqrt 3`.

    Parameters
    ----------
    model, loss, data, parameters, batch_norm, batch_size, progress
        As :func:`keskar_sharpness` takes them.
    strength : float or array_like (s,)
        a, positive. In units of the weights, or a share of them by ``scaling``.
    noise : {"uniform", "normal"}
    scaling : {"weight", "filter"}, optional
        The noise of a weight in proportion to the weight; or that of a filter, a slice along the
        first axis, as long as a times the filter (AdaSmoothOut, filter normalization). An entry of
        a vector, such as a bias, is a filter of its own, whose noise is ±a times it.
    draws : int
        Noises, at least 2, the same for every strength but for the factor a.
    seed : int
        Of the noise, which is the same on all devices.

    Returns
    -------
    xarray.Dataset
        Along strength: ``expected_sharpness`` and its ``standard_error``. Along strength and draw:
        ``increase``, of which they are mean and error. And ``loss``, that at the weights.

    Raises
    ------
    TypeError, ValueError
        As :func:`keskar_sharpness` does; if ``noise`` or ``scaling`` is unknown, there are fewer
        than 2 draws, or the loss under noise is not finite.

    References
    ----------
    Wen et al. (2018), equation 2, and official code, ``evaluate.py``.

    Examples
    --------
    >>> model = nn.Linear(1, 1, bias=False).double()
    >>> _ = nn.init.zeros_(model.weight)  # mean squared error w² on this data
    >>> data = torch.ones(4, 1).double(), torch.zeros(4, 1).double()
    >>> found = expected_sharpness(model, nn.MSELoss(), data, strength=0.3, draws=1000)
    >>> z = (found.expected_sharpness - 0.3**2 / 3) / found.standard_error
    >>> bool(abs(z) < 4)
    True
    """
    strengths = positive_values("strength", strength)
    choice("noise", noise, NOISES)
    if scaling is not None:
        choice("scaling", scaling, SCALINGS)
    positive_integer("draws", draws, minimum=2)
    rng = np.random.default_rng(positive_integer("seed", seed, minimum=0))
    surface = Surface(
        model, loss, data, parameters=parameters, batch_norm=batch_norm, batch_size=batch_size
    )
    increase = np.empty((len(strengths), draws))
    with progress_bar(increase.size, "noise", progress) as bar:
        for draw in range(draws):
            direction = surface.drawn(noise, scaling, rng)
            for number, a in enumerate(strengths):
                there = surface.value(
                    surface.weights + float(a) * direction, f"under noise of strength {a:g}"
                )
                increase[number, draw] = there - surface.loss
                bar.update()
    return _noise_dataset(surface, strengths, increase)


def _noise_dataset(surface: Surface, strengths: Array, increase: Array) -> xr.Dataset:
    error = np.std(increase, axis=1, ddof=1) / np.sqrt(increase.shape[1])
    return surface.dataset(
        {
            "expected_sharpness": (
                "strength",
                np.mean(increase, axis=1),
                named("mean rise of the loss under noise"),
            ),
            "standard_error": ("strength", error, named("standard error of the mean rise")),
            "increase": (("strength", "draw"), increase, named("rise of the loss under noise")),
        },
        {"strength": ("strength", strengths, named("strength of the noise"))},
    )
