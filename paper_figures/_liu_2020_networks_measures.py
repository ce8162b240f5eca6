"""What the claims of Liu et al. (2020) on networks are judged by: numbers with error bars.

Where a criterion does not say "in every seed", it is judged by the mean over seeds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr

from paper_figures._liu_2020_measures import recovered
from paper_figures._measured import least_over_seeds, mean_over_seeds
from paper_figures.claims import Measured

Data = Mapping[str, xr.Dataset]

VANILLA, ALL = "none", "augmentation + weight decay + momentum"
SINGLES = ("augmentation", "weight decay", "momentum")
COMBINATIONS = (
    "augmentation + weight decay",
    "augmentation + momentum",
    "weight decay + momentum",
    ALL,
)
CHOICES = (VANILLA, *SINGLES, *COMBINATIONS)
OTHER_NORMS = {
    "l1_path_norm": "l1 path norm",
    "l2_path_norm": "l2 path norm",
    "spectral_product": "product of spectral norms",
}


def at_end(d: xr.Dataset, name: str, start: str, choice: str = VANILLA) -> xr.DataArray:
    """Return a number of each seed's trained network."""
    values = d[name].sel(start=start, regularization=choice, drop=True)
    return values.isel(epoch=-1, drop=True) if "epoch" in values.dims else values


def drop_of(d: xr.Dataset, choice: str = VANILLA) -> xr.DataArray:
    """Return by how many points the adversarial start lowers each seed's test accuracy."""
    random, adversarial = (
        at_end(d, "test_accuracy", start, choice) for start in ("random", "adversarial")
    )
    return 100.0 * (random - adversarial)


def bad_over_good(d: xr.Dataset, name: str) -> xr.DataArray:
    """Return a number of the bad minimum over that of the good one, both of vanilla SGD."""
    return at_end(d, name, "adversarial") / at_end(d, name, "random")


def share_repaired(d: xr.Dataset, choice: str) -> Measured:
    """Return what share of the drop of test accuracy a choice of regularizers repairs."""
    accuracy = "test_accuracy"
    return recovered(
        at_end(d, accuracy, "adversarial", choice),
        at_end(d, accuracy, "random", choice),
        at_end(d, accuracy, "adversarial"),
    )


# --- the start, and how fast it is left -----------------------------------------------------------


def memorized(data: Data) -> list[Measured]:
    """Return each network's least accuracy on the random labels, in percent."""
    return [least_over_seeds(100.0 * d.confusion_accuracy) for d in data.values()]


def memorized_no_more(data: Data) -> list[Measured]:
    """Return the same, and the accuracy on the test set's true labels, in percent."""
    (d,) = data.values()
    return [*memorized(data), mean_over_seeds(100.0 * d.confusion_test_accuracy)]


def fitted(data: Data) -> list[Measured]:
    """Return each network's least training accuracy from the bad start, in percent."""
    return [
        least_over_seeds(100.0 * at_end(d, "training_accuracy", "adversarial"))
        for d in data.values()
    ]


def fitted_in_all(data: Data) -> list[Measured]:
    """Return each network's least training accuracy from any start with any regularizers."""
    ends = (
        d.training_accuracy.sel(start=["random", "adversarial"]).isel(epoch=-1)
        for d in data.values()
    )
    return [least_over_seeds(100.0 * end) for end in ends]


def quickly(data: Data) -> list[Measured]:
    """Return each network's epochs to fit over those from the random start."""
    found = []
    for d in data.values():
        adversarial, random = (
            at_end(d, "epochs_to_fit", start) for start in ("adversarial", "random")
        )
        with np.errstate(invalid="ignore"):  # infinite where a run did not fit
            ratio = adversarial.fillna(np.inf) / float(random.mean(skipna=False))
            found.append(mean_over_seeds(ratio))
    return found


# --- bad minima -----------------------------------------------------------------------------------


def drops(data: Data) -> list[Measured]:
    """Return each network's drop of test accuracy, in points."""
    return [mean_over_seeds(drop_of(d)) for d in data.values()]


def clear_drop(data: Data) -> list[Measured]:
    """Return the drop, and the drop over its standard deviation between seeds."""
    (d,) = data.values()
    values = drop_of(d)
    spread = float(values.std(ddof=1)) if values.size > 1 else np.nan
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.float64(values.mean()) / spread
    return [mean_over_seeds(values), Measured(float(ratio), np.nan)]


def _ratios(data: Data, names: Sequence[str]) -> list[Measured]:
    return [mean_over_seeds(bad_over_good(d, name)) for name in names for d in data.values()]


def frobenius(data: Data) -> list[Measured]:
    """Return each network's Frobenius norm in the bad minimum over that in the good one."""
    return _ratios(data, ["frobenius_norm"])


def complex_models(data: Data) -> list[Measured]:
    """Return the same of the other norms."""
    return _ratios(data, list(OTHER_NORMS))


def sharper(data: Data) -> list[Measured]:
    """Return the same of Keskar's sharpness, and of the trace of the gradients' covariance."""
    return _ratios(data, ["sharpness", "noise_trace"])


def near(data: Data) -> list[Measured]:
    """Return each network's distance from the bad start, of vanilla over regularized SGD."""
    return [
        mean_over_seeds(
            at_end(d, "distance", "adversarial") / at_end(d, "distance", "adversarial", ALL)
        )
        for d in data.values()
    ]


# --- regularizers ---------------------------------------------------------------------------------


def harmless(data: Data) -> list[Measured]:
    """Return each network's drop of test accuracy with all regularizers, in points."""
    return [mean_over_seeds(drop_of(d, ALL)) for d in data.values()]


def decay_of_perceptron(data: Data) -> list[Measured]:
    """Return what weight decay repairs of the perceptron's drop."""
    return [share_repaired(data["perceptron"], "weight decay")]


def _shares(data: Data, choices: Sequence[str]) -> list[Measured]:
    return [share_repaired(d, choice) for choice in choices for d in data.values()]


def combined(data: Data) -> list[Measured]:
    """Return what combinations of regularizers repair of each network's drop."""
    return _shares(data, COMBINATIONS)


def alone(data: Data) -> list[Measured]:
    """Return what single regularizers repair of each network's drop."""
    return _shares(data, SINGLES)


# --- copies and zeros -----------------------------------------------------------------------------

NETWORKS = ("perceptron", "convolutions")


def drops_by_copies(data: Data) -> list[Measured]:
    """Return each network's drop for one, two and five copies with a tenth of zeros."""
    return [
        mean_over_seeds(drop_of(data[f"{network} {R} 0.1"]))
        for R in (1, 2, 5)
        for network in NETWORKS
    ]


def drop_by_zeros(data: Data) -> list[Measured]:
    """Return how much more each network's accuracy drops with twice the zeros."""
    return [
        mean_over_seeds(drop_of(data[f"{network} 5 0.2"]) - drop_of(data[f"{network} 5 0.1"]))
        for network in NETWORKS
    ]
