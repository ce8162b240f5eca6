"""What the claims of Wen et al. (2018) are judged by: numbers with error bars from Datasets."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from paper_figures._measured import largest_over_seeds, least_over_seeds, mean_over_seeds
from paper_figures.claims import Measured

Data = Mapping[str, xr.Dataset]


def _pooled(deviations: xr.DataArray) -> xr.DataArray:
    """Return deviations in standard errors of all seeds together, in their standard error."""
    return deviations.sum("seed") / np.sqrt(deviations.sizes["seed"])


def _largest_pooled(deviations: xr.DataArray) -> Measured:
    """Return the largest deviation of all seeds together; its standard error is 1."""
    return Measured(float(np.abs(_pooled(deviations)).max()), 1.0)


def _exactly(value: xr.DataArray | float) -> Measured:
    return Measured(float(value), 0.0)


# --- theorem 1 ------------------------------------------------------------------------------------


def stationary(data: Data) -> list[Measured]:
    """Return the gradient at a symmetric flat minimum, and where the symmetry is broken."""
    gradient = np.abs(data["points"].gradient).max("coordinate")
    return [
        largest_over_seeds(gradient.sel(point="flat minimum")),
        least_over_seeds(gradient.sel(point="tilted")),
    ]


def stationary_drawn(data: Data) -> list[Measured]:
    """Return the largest drawn gradient at a symmetric flat minimum, in standard errors."""
    d = data["points"].sel(point="flat minimum")
    return [_largest_pooled(d.measured / d.standard_error)]


def flatness_not_used(data: Data) -> list[Measured]:
    """Return gradients at a sharp minimum and a maximum, and the error of the flip's place."""
    d = data["points"]
    gradient = np.abs(d.gradient).max("coordinate")
    return [
        largest_over_seeds(gradient.sel(point=["sharp minimum", "maximum"])),
        largest_over_seeds(np.abs(d.flip / d.predicted_flip - 1)),
    ]


# --- theorem 2 ------------------------------------------------------------------------------------


def lifted(data: Data) -> list[Measured]:
    """Return how far beyond m* the exact minimum is lifted, and how far below it at the most."""
    d = data["lift"].isel(seed=0)
    late = d.switch - np.maximum(np.floor(d.threshold) + 1, 1)
    return [_exactly(late.max())]


def bounded(data: Data) -> list[Measured]:
    """Return by how much the bound exceeds the exact value, and the error of its tightness."""
    d = data["lift"].isel(seed=0)
    tightness = (d.m + 1.0) ** (-1.0 / d.m)
    return [
        _exactly((d.bound - d.exact).max()),
        _exactly(np.abs(d.cone_bound / d.cone / tightness - 1).max()),
    ]


def bounded_drawn(data: Data) -> list[Measured]:
    """Return the largest deviation of drawn values, where 100 draws or more fall into the cone."""
    d = data["lift"]
    normal = (1 - d.bound) * d.draws >= 100
    return [_largest_pooled(((d.measured - d.exact) / d.standard_error).where(normal, 0.0))]


def limit(data: Data) -> list[Measured]:
    """Return the smoothed cone in the most dimensions over its edge, over C at ε', and a valley."""
    d = data["lift"].isel(seed=0)
    cone = d.cone.isel(m=-1)
    return [_exactly(np.abs(cone - 1)), _exactly(cone / 0.5), _exactly(d.valley / 0.9**2)]


def quadratics(data: Data) -> list[Measured]:
    """Return how far the largest lifted ε of a quadratic is from a/√3."""
    return [_exactly(np.abs(data["lift"].quadratic_limit * np.sqrt(3.0) - 1).max())]


def ranking(data: Data) -> list[Measured]:
    """Return how two routes to the critical strength differ, and its slopes against m."""
    d = data["overtaking"].isel(seed=0)
    strength = d.strength.sel(noise="uniform")
    large = strength.where(strength.m >= 10, drop=True)
    slopes = np.diff(np.log(large)) / np.diff(np.log(large.m))
    return [
        _exactly(np.abs(d.second_strength / strength - 1).max()),
        _exactly(slopes.min()),
        _exactly(slopes.max()),
    ]


def ranking_drawn(data: Data) -> list[Measured]:
    """Return the flat well's least lead above the critical strength, and its largest below."""
    lead = _pooled(data["overtaking"].z.dropna("m"))
    return [
        Measured(float(lead.sel(factor=1.25).min()), 1.0),
        Measured(float(lead.sel(factor=0.8).max()), 1.0),
    ]


# --- elimination ----------------------------------------------------------------------------------


def merged(data: Data) -> list[Measured]:
    """Return the strengths that leave one minimum: of ripples, and of double wells in b."""
    d = data["merging"].isel(seed=0).sel(noise="uniform")
    return [
        _exactly(d.rastrigin),
        _exactly(np.abs(d.double_well - 1).max()),
        _exactly(np.abs(d.rastrigin / d.rastrigin_solved - 1)),
    ]


def eliminated(data: Data) -> list[Measured]:
    """Return in how many cases a minimum stays that the inequality clears, or a box contradicts."""
    d = data["elimination"].isel(seed=0)
    stays, clears = d.steepest >= d.slope * (1 - 1e-12), d.eliminated > 0
    return [
        _exactly((stays & clears).sum()),
        _exactly((stays.sel(well="box") == clears).sum()),
    ]


def escaped(data: Data) -> list[Measured]:
    """Return the least share that escapes where the inequality holds."""
    d = data["elimination"]
    return [least_over_seeds(d.escaped.where(d.eliminated > 0).fillna(1.0))]


def survivors(data: Data) -> list[Measured]:
    """Return the share that ends in minima of the smoothed loss, and minima never reached."""
    d = data["survival"]
    return [
        least_over_seeds(d.settled),
        largest_over_seeds(d.n_minima - d.visited),
        largest_over_seeds(d.n_minima.sel(a=[0.5, 1.0])),
    ]


# --- noise ----------------------------------------------------------------------------------------


def crossover(data: Data) -> list[Measured]:
    """Return the half-width at which both laws leave the same, nearest and farthest."""
    at = data["laws"].crossover.isel(seed=0)
    return [_exactly(at.min()), _exactly(at.max())]


def laws_drawn(data: Data) -> list[Measured]:
    """Return uniform noise's lead in ten dimensions at 0.8, and normal noise's at 0.95."""
    d = data["laws"].sel(m=10)
    uniform, normal = (d.sel(noise=noise) for noise in ("uniform", "normal"))
    spread = np.hypot(uniform.standard_error, normal.standard_error)
    lead = _pooled((normal.measured - uniform.measured) / spread)
    return [
        Measured(float(lead.sel(half_width=0.8)), 1.0),
        Measured(float(-lead.sel(half_width=0.95)), 1.0),
    ]


# --- the algorithm --------------------------------------------------------------------------------


def unbiased(data: Data) -> list[Measured]:
    """Return the largest deviation of mean gradients: three factors, and a ReLU network."""
    d = data["unbiased"]
    return [_largest_pooled(d.smooth_z), _largest_pooled(d.relu_z)]


def biased(data: Data) -> list[Measured]:
    """Return the mean gradient of a box well over the true one's size."""
    d = data["unbiased"]
    return [
        mean_over_seeds(d.box_pathwise / np.abs(d.box_gradient)),
        least_over_seeds(np.abs(d.box_gradient)),
    ]


def wandering(data: Data) -> list[Measured]:
    """Return the largest relative error of the stationary variances, form by form."""
    d = data["denoising"]
    error = np.abs(d.variance.mean("seed") / d.predicted.isel(seed=0) - 1)
    spread = float((d.variance.std("seed", ddof=1) / d.variance.mean("seed")).max())
    forms = ["denoised", "copies"], ["noisy"]
    return [Measured(float(error.sel(form=form).max()), spread) for form in forms]


def invariant(data: Data) -> list[Measured]:
    """Return how the smoothed losses change as a network's layers are rescaled by 0.1 and 10."""
    d = data["rescaling"].sel(scale=[0.1, 1.0, 10.0])
    ada, plain = (d.sel(form=form) for form in ("AdaSmoothOut", "SmoothOut"))
    change = np.abs(ada.smoothed_loss - ada.smoothed_loss.sel(scale=1.0))
    ratio = plain.smoothed_loss.sel(scale=[0.1, 10.0]) / plain.smoothed_loss.sel(scale=1.0)
    return [
        largest_over_seeds(change / ada.standard_error.sel(scale=1.0)),
        least_over_seeds(np.maximum(ratio, 1.0 / ratio)),
    ]


def filters(data: Data) -> list[Measured]:
    """Return errors of AdaSmoothOut's lengths and variances, and its largest correlation."""
    d = data["filters"]
    return [
        largest_over_seeds(d.length_error),
        largest_over_seeds(np.abs(d.variance - 1)),
        largest_over_seeds(d.correlation_z),
    ]


def rescaled(data: Data) -> list[Measured]:
    """Return how function and trace of the Hessian change as a network's layers are rescaled."""
    d = data["rescaling"]
    return [
        largest_over_seeds(d.function_change),
        largest_over_seeds(np.abs(d.trace / d.predicted_trace - 1)),
    ]


def neighborhood(data: Data) -> list[Measured]:
    """Return the slope of the squared radius in ε, times c, and its largest share of the bound."""
    d = data["one_point"]
    scaled = np.log(d.squared_radius * d.convexity)
    log_rate = np.log(d.learning_rate)
    slopes = xr.DataArray(
        [np.polyfit(log_rate, scaled.isel(seed=i), 1)[0] for i in range(d.sizes["seed"])],
        dims="seed",
    )
    return [
        mean_over_seeds(slopes),
        largest_over_seeds(d.squared_radius / d.predicted),
        largest_over_seeds(d.plain_convexity),
    ]
