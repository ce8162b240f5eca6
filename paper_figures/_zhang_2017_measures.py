"""What the claims of Zhang et al. (2017) are judged by: numbers with error bars from Datasets."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from paper_figures._measured import largest_over_seeds, least_over_seeds, mean_over_seeds
from paper_figures.claims import Measured

Data = Mapping[str, xr.Dataset]
PRINTED_PARAMETERS = {
    "Inception": 1_649_402,
    "AlexNet": 1_387_786,
    "MLP 3x512": 1_735_178,
    "MLP 1x512": 1_209_866,
}


def _percent(share: xr.DataArray, examples: int) -> Measured:
    """Return a mean over seeds in percent; of one seed, with the binomial error of its examples."""
    value, error = mean_over_seeds(100 * share)
    if share.size == 1:
        error = float(np.sqrt(value * (100 - value) / examples))
    return Measured(value, error)


# --- memorization --------------------------------------------------------------------------------


def _miscounted(fits: xr.Dataset) -> Measured:
    """Return the difference of the numbers of parameters that is farthest from zero."""
    difference = (fits.n_parameters - fits.expected_parameters).values.ravel()
    return Measured(float(difference[np.argmax(np.abs(difference))]), 0.0)


def _evaluated(fits: xr.Dataset) -> xr.DataArray:
    """Return the larger of the exact error and that of the values returned."""
    return np.maximum(fits.error, fits.evaluated_error)


def fits_gaussian(data: Data) -> list[Measured]:
    """Return the largest errors of small and large fits, and the parameters too many."""
    fits = data["fits"]
    errors = _evaluated(fits)
    return [
        largest_over_seeds(errors.sel(n=fits.n[fits.n <= 2000])),
        largest_over_seeds(errors.sel(n=50_000)),
        _miscounted(fits),
    ]


def fits_images(data: Data) -> list[Measured]:
    """Return the largest error, the parameters too many, and the least accuracy."""
    fits = data["fits"]
    return [
        largest_over_seeds(_evaluated(fits)),
        _miscounted(fits),
        least_over_seeds(fits.accuracy),
    ]


def lemma(data: Data) -> list[Measured]:
    """Return errors of Lemma 1's eigenvalues, and how they compare with singular values."""
    d = data["conditioning"]
    ratio = d.smallest_singular_value / d.smallest_eigenvalue
    return [
        largest_over_seeds(d.eigenvalue_error),
        largest_over_seeds(d.above_diagonal),
        largest_over_seeds(ratio),
    ]


def interleaving(data: Data) -> list[Measured]:
    """Return residuals beyond the middle of the gaps, in rational arithmetic, and at ρ = 0."""
    residual = data["conditioning"].residual
    plain, rational = (residual.sel(arithmetic=kind) for kind in ("float64", "rational"))
    return [
        least_over_seeds(plain.sel(interleave=0.75, n=50)),
        largest_over_seeds(rational.sel(n=residual.n[residual.n <= 50])),
        largest_over_seeds(plain.sel(interleave=0.0)),
    ]


def depths(prefix: str) -> Callable[[Data], list[Measured]]:
    """Return the measure of a construction: error, and width and weights beyond their bounds."""

    def measure(data: Data) -> list[Measured]:
        d = data["depths"]
        n, k = d.attrs["n"], d.depth
        parts = np.ceil(n / (k - 1)) if prefix else n / k
        bound = 8 * n + d.attrs["n_features"] + 10 * k
        return [
            largest_over_seeds(d[f"{prefix}error"]),
            largest_over_seeds(d[f"{prefix}width"] - parts),
            largest_over_seeds(d[f"{prefix}n_nonzero"] - bound),
        ]

    return measure


def general_position(data: Data) -> list[Measured]:
    """Return the largest error and the number of units."""
    d = data["depths"]
    return [largest_over_seeds(d.general_error), largest_over_seeds(d.general_width)]


# --- interpolation -------------------------------------------------------------------------------


def sgd_limit(data: Data) -> list[Measured]:
    """Return distances to the predicted limits, from zero and elsewhere; errors of the norms."""
    d = data["sgd"]
    final = d.distance.isel(epoch=-1)
    return [
        largest_over_seeds(final.sel(start_norm=0.0)),
        largest_over_seeds(final.sel(start_norm=d.start_norm[d.start_norm > 0])),
        largest_over_seeds(abs(d.norm / d.predicted_norm - 1)),
    ]


def hessians(data: Data) -> list[Measured]:
    """Return the difference of the spectra, and of their rank from n."""
    d = data["hessians"]
    return [
        largest_over_seeds(np.maximum(d.difference, d.theory_difference)),
        largest_over_seeds(abs(d["rank"] - d.n_examples)),
    ]


def _true(fit: xr.Dataset) -> xr.Dataset:
    """Return the fit of the true labels without a ridge."""
    return fit.sel(labels="true", ridge=0.0)


def interpolates(data: Data) -> list[Measured]:
    """Return test and training error in percent."""
    fit = _true(data["fit"])
    tested = json.loads(fit.attrs.get("parameters", "{}")).get("test_size", 10_000)
    return [_percent(fit.test_error, tested), largest_over_seeds(100 * fit.train_error)]


def ridge_gain(data: Data) -> list[Measured]:
    """Return by how many points the best ridge lowers the mean test error."""
    errors = 100 * data["fit"].test_error.sel(labels="true")
    gains = errors.sel(ridge=0.0) - errors.sel(ridge=errors.ridge[errors.ridge > 0])
    return [mean_over_seeds(gains.isel(ridge=int(gains.mean("seed").argmax("ridge"))))]


def features_against_pixels(data: Data) -> list[Measured]:
    """Return the difference of test errors in points, and the ratio of norms."""
    pixels, features = (_true(data[name]) for name in ("pixels", "features"))
    return [
        mean_over_seeds(100 * (features.test_error - pixels.test_error)),
        mean_over_seeds(features.rkhs_norm / pixels.rkhs_norm),
    ]


def filters(data: Data) -> list[Measured]:
    """Return the test error in percent, and the gain by a ridge."""
    return [*interpolates(data)[:1], *ridge_gain(data)]


def filters_on_a_subset(data: Data) -> list[Measured]:
    """Return the test error less that of pixels and less that of fewer images; a ridge's gain."""
    fewer = _true(data["features"]).test_error - _true(data["fewer"]).test_error
    return [
        *features_against_pixels(data)[:1],
        mean_over_seeds(100 * fewer),
        *ridge_gain({"fit": data["features"]}),
    ]


def norm_ratios(fit: xr.Dataset) -> xr.DataArray:
    """Return the norm of the random-label fit over that of the true labels, without a ridge."""
    norm = fit.rkhs_norm.sel(ridge=0.0)
    return norm.sel(labels="random", drop=True) / norm.sel(labels="true", drop=True)


def norm_ratio(data: Data) -> list[Measured]:
    """Return the ratio of the norms, random over true labels."""
    return [mean_over_seeds(norm_ratios(data["fit"]))]


def growing_norms(data: Data) -> list[Measured]:
    """Return the ratio of the norms at the largest n, and by which factor it is that at the least.

    ``data`` are named by n.
    """
    sizes = sorted(data, key=int)
    least, largest = (norm_ratios(data[size]) for size in (sizes[0], sizes[-1]))
    return [mean_over_seeds(largest), mean_over_seeds(largest / least)]


def forced(data: Data) -> list[Measured]:
    """Return norm, error on the forced points and training error of the forced fit."""
    fit = data["fit"].sel(ridge=0.0)
    true, wrong = (fit.sel(labels=labels, drop=True) for labels in ("true", "forced"))
    return [
        mean_over_seeds(wrong.rkhs_norm / true.rkhs_norm),
        mean_over_seeds(100 * wrong.test_error),
        largest_over_seeds(100 * np.maximum(true.train_error, wrong.train_error)),
    ]


# --- capacity ------------------------------------------------------------------------------------


def rademacher(data: Data) -> list[Measured]:
    """Return what the network, theorem 1's and a linear classifier reach on random signs."""
    correlation = data["rademacher"].correlation
    return [
        mean_over_seeds(correlation.sel(learner="network").isel(n=-1)),
        least_over_seeds(correlation.sel(learner="memorizing")),
        mean_over_seeds(correlation.sel(learner="linear", n=512)),
    ]


def vc_dimension(data: Data) -> list[Measured]:
    """Return the least VC bound on the risk."""
    return [Measured(float(data["networks"].vc_bound.min()), 0.0)]


def parameter_counts(data: Data) -> list[Measured]:
    """Return the largest difference from the printed numbers of parameters."""
    counts = data["networks"].n_parameters.isel(seed=0)
    differences = [
        abs(float(counts.sel(network=name)) - n) for name, n in PRINTED_PARAMETERS.items()
    ]
    return [Measured(max(differences), 0.0)]


def stability(data: Data) -> list[Measured]:
    """Return the ratio of the mean output changes, and the difference of the gaps."""
    d = data["stability"]
    change, gap = (
        {kind: d[name].sel(labels=kind, drop=True) for kind in ("true", "random")}
        for name in ("output_change", "gap")
    )
    ratio = float(change["random"].mean() / change["true"].mean())
    relative = [values / values.mean() for values in change.values()]
    error = mean_over_seeds(ratio * (relative[1] - relative[0])).uncertainty  # first order
    return [Measured(ratio, error), mean_over_seeds(gap["random"] - gap["true"])]


def patterns_first(data: Data) -> list[Measured]:
    """Return the peak over the final accuracy, and the wrong labels fitted at the peak."""
    d = data["training"].sel(condition="corrupted labels 0.4")
    peak = d.test_accuracy.argmax("epoch")
    drop = d.test_accuracy.max("epoch") - d.test_accuracy.isel(epoch=-1)
    fitted = d.wrong_fitted.isel(epoch=peak)
    return [mean_over_seeds(100 * drop), mean_over_seeds(100 * fitted)]


def harder_labels(data: Data) -> list[Measured]:
    """Return the ratio of the epochs to the target, random labels over Gaussian pixels."""
    epochs = data["training"].epochs_to_target
    ratio = epochs.sel(condition="random labels", drop=True) / epochs.sel(
        condition="Gaussian pixels", drop=True
    )
    known = bool(np.isfinite(ratio).all())
    return [mean_over_seeds(ratio) if known else Measured(np.nan, np.nan)]
