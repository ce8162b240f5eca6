"""What the claims on Zhang et al.'s networks are judged by: numbers from their training curves."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import xarray as xr

from paper_figures._measured import mean_over_seeds
from paper_figures.claims import Measured

Data = Mapping[str, xr.Dataset]
Measure = Callable[[Data], list[Measured]]

TRUE, RANDOM = "true labels", "random labels"
SHUFFLED, GAUSSIAN, PERMUTED = "shuffled pixels", "Gaussian pixels", "random pixels"
UNKNOWN = Measured(np.nan, np.nan)


def _mean(values: xr.DataArray) -> Measured:
    """Return the mean over seeds, which is unknown if it is of one of them."""
    return mean_over_seeds(values) if np.isfinite(values).all() else UNKNOWN


def _final(values: xr.DataArray, corruption: str | list[str]) -> xr.DataArray:
    """Return a share after the last epoch, in percent."""
    return values.sel(corruption=corruption, drop=True).isel(epoch=-1) * 100


def _first(reached: xr.DataArray) -> xr.DataArray:
    """Return the first epoch in which something is reached, NaN if none is."""
    return reached["epoch"].where(reached).min("epoch")


def _epochs(network: xr.Dataset, corruption: str | list[str], loss: float = 0.1) -> xr.DataArray:
    """Return the epochs until the mean loss over the batches is at most this."""
    return _first(network.online_loss.sel(corruption=corruption, drop=True) <= loss)


def share(corruption: str) -> float:
    """Return the share of labels that are replaced."""
    known = {TRUE: 0.0, RANDOM: 1.0}
    return known[corruption] if corruption in known else float(corruption.removeprefix("labels "))


def by_share(network: xr.Dataset) -> xr.Dataset:
    """Return the trainings on true images, along the share of labels that are replaced."""
    names = [name for name in network.corruption.values if "pixels" not in name]
    along = network.sel(corruption=names).rename(corruption="share")
    return along.assign_coords(share=[share(name) for name in names]).sortby("share")


def _steps(values: xr.DataArray) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the values at each share but the last, and at the next one."""
    parts = (values.isel(share=slice(None, -1)), values.isel(share=slice(1, None)))
    before, after = (part.drop_vars("share") for part in parts)
    return before, after


# --- what is fitted ------------------------------------------------------------------------------


def final(corruption: str, *variables: str) -> Measure:
    """Return the measure of shares after the last epoch, in percent, each for all networks."""

    def measure(data: Data) -> list[Measured]:
        return [
            _mean(_final(network[variable], corruption))
            for variable in variables
            for network in data.values()
        ]

    return measure


def wider_gap(data: Data) -> list[Measured]:
    """Return by how much random labels widen each network's gap, in points."""
    gaps = [network.training_accuracy - network.test_accuracy for network in data.values()]
    return [_mean(_final(gap, RANDOM) - _final(gap, TRUE)) for gap in gaps]


def noise_inputs(data: Data) -> list[Measured]:
    """Return each network's least training accuracy on spoiled images, in percent."""
    kinds = [SHUFFLED, GAUSSIAN, PERMUTED]
    fitted = [_final(network.training_accuracy, kinds) for network in data.values()]
    return [_mean(each.min("corruption", skipna=False)) for each in fitted]


def always_fitted(data: Data) -> list[Measured]:
    """Return each network's least training accuracy over the shares of labels, in percent."""
    fitted = [100 * by_share(network).training_accuracy.isel(epoch=-1) for network in data.values()]
    return [_mean(each.min("share", skipna=False)) for each in fitted]


# --- how soon ------------------------------------------------------------------------------------


def _random_inputs(network: xr.Dataset) -> tuple[xr.DataArray, xr.DataArray]:
    """Return the epochs of the faster and of the slower of Gaussian and random pixels."""
    epochs = _epochs(network, [GAUSSIAN, PERMUTED])
    return epochs.min("corruption", skipna=False), epochs.max("corruption", skipna=False)


def speeds(data: Data) -> list[Measured]:
    """Return the epochs of true images or shuffled ones, and ratios of random inputs and labels."""
    (network,) = data.values()
    true, (faster, slower) = _epochs(network, TRUE), _random_inputs(network)
    return [
        _mean(_epochs(network, [TRUE, SHUFFLED]).max("corruption", skipna=False)),
        _mean(faster / true),
        _mean(slower / true),
        _mean(_epochs(network, RANDOM) / slower),
    ]


def order(data: Data) -> list[Measured]:
    """Return the ratios of each corruption's epochs to the one before, and of the last to true."""
    (network,) = data.values()
    true, shuffled, random = (_epochs(network, kind) for kind in (TRUE, SHUFFLED, RANDOM))
    faster, slower = _random_inputs(network)
    ratios = (shuffled / true, faster / shuffled, random / slower, random / true)
    return [_mean(ratio) for ratio in ratios]


def plateau(data: Data) -> list[Measured]:
    """Return the epochs of random labels near the loss of chance, and of the fall from it."""
    (network,) = data.values()
    stays = (network.online_loss.sel(corruption=RANDOM) > 2.2).sum("epoch")
    falls = _epochs(network, RANDOM) - _epochs(network, RANDOM, loss=2.0)
    return [_mean(stays), _mean(falls)]


def slower_to_accuracy(data: Data) -> list[Measured]:
    """Return how much later random labels are fitted than true ones, and the least corrupted."""
    (network,) = data.values()
    times = _first(by_share(network).training_accuracy >= 0.999)
    ratios = times.isel(share=slice(1, None)) / times.sel(share=0.0, drop=True)
    return [_mean(ratios.sel(share=1.0)), _mean(ratios.min("share", skipna=False))]


def slower_to_loss(data: Data) -> list[Measured]:
    """Return how much later random labels are fitted, and the largest fall on the way, percent."""
    (network,) = data.values()
    times = _first(by_share(network).online_loss <= 0.05)
    return [_mean(times.sel(share=1.0) / times.sel(share=0.0)), _largest_fall(times)]


def _largest_fall(times: xr.DataArray) -> Measured:
    """Return by how many percent the mean over seeds falls where it does most, 0 if nowhere."""
    if not np.isfinite(times).all():
        return UNKNOWN
    before, after = _steps(times)
    kept = after.mean("seed") / before.mean("seed")
    step = {"share": int(kept.argmin("share"))}
    relative = [(each / each.mean("seed")).isel(step) for each in (before, after)]
    error = mean_over_seeds(100 * kept.isel(step) * (relative[1] - relative[0])).uncertainty
    return Measured(max(100 * (1 - float(kept.isel(step))), 0.0), error)  # first order


def harder_labels(data: Data) -> list[Measured]:
    """Return the ratio of the epochs of random labels to those of Gaussian pixels."""
    (network,) = data.values()
    return [_mean(_epochs(network, RANDOM) / _epochs(network, GAUSSIAN))]


# --- test error ----------------------------------------------------------------------------------


def growing_error(data: Data) -> list[Measured]:
    """Return the error after random labels, and the least growths of two errors with the share."""
    (network,) = data.values()
    last = by_share(network).isel(epoch=-1)
    true, alike = (100 * (1 - last[f"{kind}test_accuracy"]) for kind in ("", "corrupted_"))
    return [_mean(true.sel(share=1.0)), _least_growth(true), _least_growth(alike)]


def _least_growth(values: xr.DataArray) -> Measured:
    """Return the growth from one share to the next where the mean over seeds grows least."""
    before, after = _steps(values)
    growth = after - before
    mean = growth.mean("seed", skipna=False)
    return _mean(growth.isel(share=int(mean.argmin("share", skipna=False))))


def corrupted_errors(*probabilities: float) -> Measure:
    """Return the measure of the errors at these shares, test labels corrupted alike, in percent."""

    def measure(data: Data) -> list[Measured]:
        (network,) = data.values()
        error = 100 * (1 - by_share(network).corrupted_test_accuracy.isel(epoch=-1))
        return [_mean(error.sel(share=probability)) for probability in probabilities]

    return measure


def stopping_early(data: Data) -> list[Measured]:
    """Return the best less the final test accuracy of each network on true labels, in points."""
    return [_mean(_peak(network, TRUE)[0]) for network in data.values()]


def _peak(network: xr.Dataset, corruption: str) -> tuple[xr.DataArray, xr.DataArray]:
    """Return how far test accuracy comes down from its peak, in points, and the peak's place."""
    accuracy = 100 * network.test_accuracy.sel(corruption=corruption, drop=True)
    return accuracy.max("epoch") - accuracy.isel(epoch=-1), accuracy.argmax("epoch")


def patterns_first(data: Data) -> list[Measured]:
    """Return the peak less the final accuracy, and the wrong labels fitted at the peak, percent."""
    (network,) = data.values()
    fall, place = _peak(network, "labels 0.4")
    fitted = 100 * network.wrong_labels_fitted.sel(corruption="labels 0.4", drop=True)
    return [_mean(fall), _mean(fitted.isel(epoch=place))]


def fitted_at_peak(data: Data) -> list[Measured]:
    """Return the share of wrong labels that are fitted at the peak, in percent."""
    return patterns_first(data)[1:]


# --- regularizers --------------------------------------------------------------------------------


def gains(data: Data) -> list[Measured]:
    """Return what the networks named "…, regularized" gain in test accuracy, in points."""
    accuracy = {name: _final(network.test_accuracy, TRUE) for name, network in data.items()}
    plain = [name for name in data if f"{name}, regularized" in data]
    return [_mean(accuracy[f"{name}, regularized"] - accuracy[name]) for name in plain]


def stopped_by_decay(data: Data) -> list[Measured]:
    """Return random labels fitted under a large and small decays, and the accuracy it costs.

    ``data`` are named by the coefficient.
    """
    fitted = {name: _final(each.training_accuracy, RANDOM) for name, each in data.items()}
    tested = {name: _final(each.test_accuracy, TRUE) for name, each in data.items()}
    small = xr.concat([fitted["0.0001"], fitted["0.0005"]], "weight_decay")
    return [
        _mean(fitted["0.02"]),
        _mean(small.min("weight_decay", skipna=False)),
        _mean(tested["0.0001"] - tested["0.02"]),
    ]


def without_batch_norm(data: Data) -> list[Measured]:
    """Return random labels fitted without batch normalization, and the test accuracy it costs."""
    with_it, without = data["inception"], data["inception_without_batch_norm"]
    lost = _final(with_it.test_accuracy, TRUE) - _final(without.test_accuracy, TRUE)
    return [_mean(_final(without.training_accuracy, RANDOM)), _mean(lost)]
