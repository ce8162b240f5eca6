"""The loss along lines and planes: random sections, and the line between two checkpoints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import xarray as xr
from numpy.typing import ArrayLike
from torch import Tensor, nn

from deep._curvature_surface import NOISES, Array, Surface, named
from deep._evidence_likelihood import Data, progress_bar
from deep._noise_scale_gradients import Loss, choice
from theory._validation import finite_array, positive_integer


def section(
    model: nn.Module,
    loss: Loss,
    data: Data,
    *,
    x: ArrayLike,
    y: ArrayLike | None = None,
    filter_normalized: bool = True,
    noise: str = "normal",
    seed: int = 0,
    parameters: Sequence[str] | None = None,
    batch_norm: str = "running",
    batch_size: int = 512,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Loss along a random line through the weights, or in a random plane.

    :math:`C(w + x\,d)` or :math:`C(w + x\,d + y\,d')`, with every filter of a direction, a slice
    along the first axis, as long as that of the weights. An entry of a vector, such as a bias, is a
    filter of its own, which gives ±1 times it; to leave vectors as they are, as Li et al.'s code
    can, name the other parameters.

    Parameters
    ----------
    model, loss, data, parameters, batch_norm, batch_size, progress
        As :func:`keskar_sharpness` takes them.
    x : array_like (n,)
        Distances along the first direction, in lengths of the filters; without normalization, in
        units of the weights.
    y : array_like (m,), optional
        Distances along the second; a line, if omitted.
    filter_normalized : bool
        If not, directions are as they were drawn, with numbers of the size of 1.
    noise : {"normal", "uniform"}
        Law of the directions: standard normal as Li et al. have it, or uniform on [-1, 1] as Wen et
        al.'s code does.
    seed : int
        Of the directions, which are the same on all devices; the first does not depend on y.

    Returns
    -------
    xarray.Dataset
        ``section`` along x, or along x and y; ``cosine`` between the two directions, if there are
        two; and ``loss``, that at the weights.

    Raises
    ------
    TypeError, ValueError
        As :func:`keskar_sharpness` does; if ``noise`` is unknown, or the loss is not finite
        somewhere.

    References
    ----------
    Li et al., "Visualizing the loss landscape of neural nets" (2018), section 4 (number from
    memory); Wen et al. (2018), official code, ``visualize2_sharpness.py``.

    Examples
    --------
    >>> model = nn.Linear(1, 1, bias=False).double()
    >>> _ = nn.init.ones_(model.weight)  # mean squared error w² on this data
    >>> data = torch.ones(4, 1).double(), torch.zeros(4, 1).double()
    >>> found = section(model, nn.MSELoss(), data, x=[-1.0, 0.0, 1.0])
    >>> sorted(found.section.values.round(4).tolist())  # at w = 0, 1 and 2
    [0.0, 1.0, 4.0]
    """
    axes = {"x": finite_array("x", x, ndim=1)}
    if y is not None:
        axes["y"] = finite_array("y", y, ndim=1)
    choice("noise", noise, NOISES)
    rng = np.random.default_rng(positive_integer("seed", seed, minimum=0))
    surface = Surface(
        model, loss, data, parameters=parameters, batch_norm=batch_norm, batch_size=batch_size
    )
    scaling = "filter" if filter_normalized else None
    directions = [surface.drawn(noise, scaling, rng) for _ in axes]
    values = np.empty([len(axis) for axis in axes.values()])
    with progress_bar(values.size, "section", progress) as bar:
        for place in np.ndindex(values.shape):
            at = [float(axis[index]) for axis, index in zip(axes.values(), place, strict=True)]
            step = sum(t * d for t, d in zip(at, directions, strict=True))
            where = ", ".join(f"{name} = {t:g}" for name, t in zip(axes, at, strict=True))
            values[place] = surface.value(surface.weights + step, f"at {where}")
            bar.update()
    variables: dict[str, Any] = {"section": (list(axes), values, named("mean loss"))}
    if y is not None:
        cosine = float(nn.functional.cosine_similarity(*directions, dim=0))
        variables["cosine"] = ((), cosine, named("cosine of the angle between the directions"))
    unit = "filter length" if filter_normalized else "1"
    return surface.dataset(
        variables,
        {name: (name, axis, named("distance", unit)) for name, axis in axes.items()},
    )


def line_between(
    first: nn.Module,
    second: nn.Module | Mapping[str, Tensor],
    loss: Loss,
    data: Data,
    *,
    position: ArrayLike,
    batch_norm: str = "running",
    batch_size: int = 512,
    progress: bool | None = None,
) -> xr.Dataset:
    r"""Loss on the straight line between two checkpoints: :math:`C((1 - t)\,w_0 + t\,w_1)`.

    Everything is interpolated that the state dictionary has: also parameters that are not trained
    and, unless ``batch_norm`` is "batch", the running statistics of batch normalization. At 0 and 1
    it is exactly that of the checkpoints. Integers are the first's. Beyond the two, a running
    variance may become negative, which is refused: take the batch's statistics there.

    Parameters
    ----------
    first : torch.nn.Module
        The network with the first checkpoint's state. It stays as it is.
    second : torch.nn.Module, or mapping of str to Tensor
        A network of the same architecture, or its ``state_dict()``.
    loss, data, batch_norm, batch_size, progress
        As :func:`keskar_sharpness` takes them.
    position : array_like (n,)
        t: 0 is the first checkpoint, 1 the second. Keskar et al. and Wen et al. go from -1 to 2.

    Returns
    -------
    xarray.Dataset
        ``line_loss`` along position; ``distance``, the Euclidean norm of :math:`w_1 - w_0` over all
        parameters; and ``loss``, that at the first.

    Raises
    ------
    TypeError, ValueError
        As :func:`keskar_sharpness` does; TypeError if the second is neither, ValueError if it has
        another architecture or is not finite, the loss is not finite somewhere, or a running
        variance is negative.

    References
    ----------
    Goodfellow et al., "Qualitatively characterizing neural network optimization problems" (2015);
    Keskar et al. (2017), figure 3 (both from memory); Wen et al. (2018), official code,
    ``visualize_sharpness.py``.

    Examples
    --------
    >>> first, second = (nn.Linear(1, 1, bias=False).double() for _ in range(2))
    >>> _, _ = nn.init.ones_(first.weight), nn.init.constant_(second.weight, 3.0)
    >>> data = torch.ones(4, 1).double(), torch.zeros(4, 1).double()  # mean squared error w²
    >>> found = line_between(first, second, nn.MSELoss(), data, position=[0, 0.5, 1])
    >>> found.line_loss.values
    array([1., 4., 9.])
    """
    positions = finite_array("position", position, ndim=1)
    surface = Surface(first, loss, data, batch_norm=batch_norm, batch_size=batch_size)
    start = surface.state()
    end = _fitted(_state(second), first.state_dict(), start)
    values = np.empty(len(positions))
    with progress_bar(len(values), "line", progress) as bar:
        for number, t in enumerate(positions):
            state = {name: _between(part, end[name], float(t)) for name, part in start.items()}
            _check_variances(state, t)
            values[number] = surface.value_of(state, f"at position {t:g}")
            bar.update()
    return surface.dataset(
        {
            "line_loss": ("position", values, named("mean loss")),
            "distance": ((), _distance(surface, start, end), named("distance of the checkpoints")),
        },
        {"position": ("position", positions, named("share of the way to the second"))},
    )


def _state(second: nn.Module | Mapping[str, Tensor]) -> Mapping[str, Any]:
    if isinstance(second, nn.Module):
        return second.state_dict()
    if not isinstance(second, Mapping):
        raise TypeError(
            "second must be a torch.nn.Module or the mapping that state_dict() returns, got "
            f"{type(second).__name__}"
        )
    return second


def _fitted(
    state: Mapping[str, Any], expected: Mapping[str, Tensor], start: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the entries of a state that correspond to the start, checked against a model's."""
    for name in [*expected, *state]:
        there, here = (_shape(part.get(name)) for part in (state, expected))
        if there != here:
            raise ValueError(
                "second must be a checkpoint of the same architecture as first, but "
                f"{name} is {there} in the second and {here} in the first"
            )
    fitted = {name: state[name].detach().to(part) for name, part in start.items() if name in state}
    for name, part in fitted.items():
        if not bool(part.isfinite().all()):
            raise ValueError(f"second has values that are not finite, in {name}")
    return {**start, **fitted}


def _shape(part: Any) -> str:
    return f"of shape {tuple(part.shape)}" if isinstance(part, Tensor) else "missing"


def _between(start: Tensor, end: Tensor, t: float) -> Tensor:
    return torch.lerp(start, end, t) if start.is_floating_point() else start


def _check_variances(state: Mapping[str, Tensor], t: float) -> None:
    for name, part in state.items():
        if name.rpartition(".")[2] == "running_var" and bool((part < 0.0).any()):
            raise ValueError(
                f"at position {t:g} the running variance {name} is negative; batch_norm='batch' "
                "takes the statistics of each batch instead"
            )


def _distance(surface: Surface, start: Mapping[str, Tensor], end: Mapping[str, Tensor]) -> Array:
    names = [name for name, _ in surface.network.named_parameters()]
    squares = [float((end[name] - start[name]).double().square().sum()) for name in names]
    return np.sqrt(np.sum(squares))
