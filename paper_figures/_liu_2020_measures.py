"""What the claims of Liu et al. (2020) are judged by: numbers with error bars from Datasets.

Where a criterion does not say "in every seed" or "share of seeds", it is judged by the mean.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from paper_figures._measured import largest_over_seeds, least_over_seeds, mean_over_seeds
from paper_figures.claims import Measured
from theory.bad_minima import recovery

Data = Mapping[str, xr.Dataset]

SINGLES = {
    "augmentation": (1, 0, 0),
    "weight decay": (0, 1, 0),
    "momentum": (0, 0, 1),
}
COMBINATIONS = {
    "augmentation, weight decay": (1, 1, 0),
    "augmentation, momentum": (1, 0, 1),
    "weight decay, momentum": (0, 1, 1),
    "all three": (1, 1, 1),
}
CHOICES = {"none": (0, 0, 0), **SINGLES, **COMBINATIONS}

AREA_AT_LEAST, BOUNDARY_AT_LEAST = 0.1, 3.0  # of a bad minimum; the second over a good one's


def chosen(d: xr.Dataset, choice: str) -> xr.Dataset:
    """Return the runs with a choice of regularizers."""
    augmentation, weight_decay, momentum = CHOICES[choice]
    return d.sel(augmentation=augmentation, weight_decay=weight_decay, momentum=momentum)


def recovered(adversarial: xr.DataArray, random: xr.DataArray, baseline: xr.DataArray) -> Measured:
    """Return the share of the damage that is repaired, of means over seeds."""
    repaired, damage = (float((values - baseline).mean()) for values in (adversarial, random))
    if damage == 0.0:
        return Measured(np.nan, np.nan)
    if baseline.size == 1:
        return Measured(repaired / damage, np.nan)
    found = recovery(adversarial, random, baseline=baseline)
    return Measured(found.value, found.standard_error)


def shares_recovered(d: xr.Dataset) -> dict[str, Measured]:
    """Return what each choice of regularizers repairs of the area error."""
    adversarial, random = (d.sel(start=start) for start in ("adversarial", "random"))
    baseline = chosen(adversarial, "none").area_error
    return {
        choice: recovered(
            chosen(adversarial, choice).area_error, chosen(random, choice).area_error, baseline
        )
        for choice in (*SINGLES, *COMBINATIONS)
    }


def early_recovered(d: xr.Dataset, first: str, switch: int) -> Measured:
    """Return what a schedule repairs of the area error, against regularization all along."""
    area = d.area_error
    never, always = (
        area.sel(first=name, switch=0, drop=True) for name in ("regularized", "vanilla")
    )
    return recovered(area.sel(first=first, switch=switch, drop=True), always, never)


def _ratio(d: xr.Dataset, name: str, run: str, other: str) -> xr.DataArray:
    return d[name].sel(run=run, drop=True) / d[name].sel(run=other, drop=True)


def _drop(d: xr.Dataset, name: str) -> xr.DataArray:
    """Return by how many points the adversarial start lowers an accuracy."""
    accuracy = 100 * d[name]
    return accuracy.sel(run="random", drop=True) - accuracy.sel(run="adversarial", drop=True)


# --- the start, and how fast it is left -----------------------------------------------------------


def pretrained(data: Data) -> list[Measured]:
    """Return the least accuracy on the random labels, in percent."""
    return [least_over_seeds(100 * data["runs"].train_accuracy.sel(run="shattered"))]


def fitted(data: Data) -> list[Measured]:
    """Return the least accuracy on the true labels: of vanilla SGD, and of all regularizers."""
    return [
        least_over_seeds(100 * data["runs"].train_accuracy.sel(run="adversarial")),
        least_over_seeds(100 * data["grid"].train_accuracy),
    ]


def quickly(data: Data) -> list[Measured]:
    """Return the epochs that vanilla SGD takes to fit, and their ratio to the random start's."""
    epochs = chosen(data["grid"], "none").epochs_to_fit
    adversarial, random = (epochs.sel(start=start) for start in ("adversarial", "random"))
    with np.errstate(invalid="ignore"):  # infinite where a run did not fit
        return [
            mean_over_seeds(adversarial),
            mean_over_seeds(adversarial / float(random.mean())),
        ]


def labels_unused(data: Data) -> list[Measured]:
    """Return how many of the random labels are the true ones."""
    d = data["runs"]
    return [mean_over_seeds((d.random_label == d.y).mean("example"))]


# --- bad minima -----------------------------------------------------------------------------------


def bad(data: Data) -> list[Measured]:
    """Return the drop of accuracy, and in how many seeds the map is bad."""
    d = data["runs"]
    shattered = (d.area_error.sel(run="adversarial") >= AREA_AT_LEAST) & (
        _ratio(d, "boundary_cells", "adversarial", "random") >= BOUNDARY_AT_LEAST
    )
    return [mean_over_seeds(_drop(d, "fresh_accuracy")), mean_over_seeds(1.0 * shattered)]


def bad_far_out(data: Data) -> list[Measured]:
    """Return the drop of accuracy on points of twice the spread, and the ratio of area errors."""
    d = data["runs"]
    area = d.area_error.mean("seed")
    return [
        mean_over_seeds(_drop(d, "wide_accuracy")),
        mean_over_seeds(
            d.area_error.sel(run="adversarial", drop=True) / float(area.sel(run="random"))
        ),
    ]


def complex_models(data: Data) -> list[Measured]:
    """Return norms of the bad minimum over those of the good one."""
    names = ("l1_path_norm", "frobenius_norm", "l2_path_norm", "spectral_product")
    return [mean_over_seeds(_ratio(data["runs"], name, "adversarial", "random")) for name in names]


def near(data: Data) -> list[Measured]:
    """Return the distance that vanilla SGD travels over that of regularized SGD."""
    return [mean_over_seeds(_ratio(data["runs"], "distance", "adversarial", "regularized"))]


def pictured(data: Data) -> list[Measured]:
    """Return numbers of regions of the four maps, and lengths of their boundaries."""
    d = data["runs"]
    regions = d.regions
    return [
        least_over_seeds(regions.sel(run="random")),
        largest_over_seeds(regions.sel(run="random")),
        least_over_seeds(regions.sel(run="shattered")),
        least_over_seeds(regions.sel(run="adversarial")),
        least_over_seeds(regions.sel(run="regularized")),
        largest_over_seeds(regions.sel(run="regularized")),
        *(
            mean_over_seeds(_ratio(d, "boundary_cells", run, "random"))
            for run in ("shattered", "adversarial", "regularized")
        ),
    ]


# --- regularizers ---------------------------------------------------------------------------------


def harmless(data: Data) -> list[Measured]:
    """Return area errors with all regularizers, and what the start makes of the accuracy."""
    d = chosen(data["grid"], "all three")
    accuracy = 100 * d.fresh_accuracy
    starts = ("adversarial", "random")
    return [
        *(mean_over_seeds(d.area_error.sel(start=start)) for start in starts),
        mean_over_seeds(
            accuracy.sel(start="random", drop=True) - accuracy.sel(start="adversarial", drop=True)
        ),
    ]


def decayed(data: Data) -> list[Measured]:
    """Return area errors from the adversarial start with each choice that has weight decay."""
    d = data["grid"].sel(start="adversarial")
    return [
        mean_over_seeds(chosen(d, choice).area_error)
        for choice, (_, weight_decay, _) in CHOICES.items()
        if weight_decay
    ]


def combined(data: Data) -> list[Measured]:
    """Return what combinations of two and three regularizers repair of the area error."""
    shares = shares_recovered(data["grid"])
    return [shares[choice] for choice in COMBINATIONS]


def alone(data: Data) -> list[Measured]:
    """Return what single regularizers repair of the area error."""
    shares = shares_recovered(data["grid"])
    return [shares[choice] for choice in SINGLES]


def early(data: Data) -> list[Measured]:
    """Return what 50 epochs of weight decay repair, vanilla SGD following."""
    return [early_recovered(data["schedules"], "regularized", 50)]


def long_or_late(data: Data) -> list[Measured]:
    """Return what 200 epochs of weight decay repair, and what it repairs from epoch 400 on."""
    d = data["schedules"]
    return [early_recovered(d, "regularized", 200), early_recovered(d, "vanilla", 400)]


# --- the linear control ---------------------------------------------------------------------------


def forgotten(data: Data) -> list[Measured]:
    """Return the effect of the same inputs, and the least expected one of inputs with zeros."""
    d = data["control"]
    zeros = d.zero_fraction > 0
    return [
        largest_over_seeds(np.abs(d.risk_difference.isel(case=~zeros.values))),
        least_over_seeds(d.predicted.isel(case=zeros.values)),
    ]


def _pooled(d: xr.Dataset, values: xr.DataArray) -> xr.DataArray:
    """Return deviations of all seeds together, in their standard error, where there are zeros."""
    z = (values / d.error).isel(case=(d.zero_fraction > 0).values)
    pooled: xr.DataArray = z.sum("seed") / np.sqrt(z.sizes["seed"])
    return pooled


def as_expected(data: Data) -> list[Measured]:
    """Return how measured effects deviate from expected ones, and from zero at the least."""
    d = data["control"]
    return [
        Measured(float(np.abs(_pooled(d, d.risk_difference - d.predicted)).max()), 1.0),
        Measured(float(_pooled(d, d.risk_difference).min()), 1.0),
    ]


def peaked(data: Data) -> list[Measured]:
    """Return where in R the expected effect is largest, and what is left of it for the most R."""
    d = data["copies"]
    table = d.predicted.set_index(case=("replicas", "zero_fraction")).unstack("case")
    places = table.idxmax("replicas")
    last = table.isel(replicas=-1) / table.max("replicas")
    return [least_over_seeds(places), largest_over_seeds(places), largest_over_seeds(last)]
