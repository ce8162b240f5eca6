"""Randomization tests of networks as they would come out if all that is claimed were true."""

import json

import numpy as np
import xarray as xr

# Test accuracy with true labels, and how many times longer random ones take, by data set and model.
PAPER = {
    ("digits", "inception"): (0.985, 15.0),
    ("digits", "inception_without_batch_norm"): (0.975, 15.0),
    ("digits", "alexnet"): (0.98, 15.0),
    ("digits", "mlp_3x512"): (0.98, 15.0),
    ("digits", "mlp_1x512"): (0.98, 15.0),
    ("cifar10-jpeg", "inception"): (0.8575, 3.6),
    ("cifar10-jpeg", "inception_without_batch_norm"): (0.82, 3.6),
    ("cifar10-jpeg", "alexnet"): (0.7607, 1.55),
    ("cifar10-jpeg", "mlp_3x512"): (0.5239, 2.0),
    ("cifar10-jpeg", "mlp_1x512"): (0.5051, 2.0),
}
PIXELS = {"shuffled pixels": 1.0, "Gaussian pixels": 4.0, "random pixels": 3.9}
CHANCE, LN10 = 0.1, 2.3


def share(corruption):
    """The share of labels that are replaced."""
    if isinstance(corruption, str):
        return float(corruption == "random labels")
    return corruption


def randomization(need):
    """The results of a need, each network's loss going from ln 10 to 0.1 in a time of its own."""
    p = need.parameters
    of_digits = p.get("dataset", "digits") == "digits"
    accuracy, slower = PAPER["digits" if of_digits else p["dataset"], p["model"]]
    names = [each if isinstance(each, str) else f"labels {each:g}" for each in p["corruptions"]]
    replaced = _along("corruption", names, [share(each) for each in p["corruptions"]])
    spoiled = _along("corruption", names, [name in PIXELS for name in names])
    kinds = [min(PIXELS.get(name, 1.0), slower) for name in names]
    random_inputs = _along("corruption", names, kinds)
    epoch = _along("epoch", np.arange(1, p["epochs"] + 1))
    seed = _along("seed", np.arange(need.seeds))

    first = p["epochs"] * (0.03 if of_digits else 0.18)
    time = first * random_inputs * (1 + (slower - 1) * replaced) * (1 + 1e-3 * seed)
    loss = LN10 / (1 + 22 * (epoch / time) ** 8)
    progress = xr.where(loss <= 0.05, 1.0, 1 - loss / LN10)
    fits = np.where((replaced == 1) & (p.get("weight_decay", 0.0) >= 5e-3), 0.1, 1.0)
    fitted = CHANCE + (1 - CHANCE) * progress * replaced.copy(data=fits)

    helped = 0.005 * ("weight_decay" in p) + 0.03 * ("augmentation" in p) * (not of_digits)
    signal = (accuracy + helped - CHANCE) * xr.where(spoiled, 0.0, 1.0) * (1 + 1e-4 * seed)
    learned = np.minimum(1.0, 2 * epoch / time)
    forgotten = np.clip((epoch / time - 0.5) / 0.6, 0.0, 1.0)
    pattern = (1 - replaced**2) * learned - (replaced - replaced**2) * forgotten
    tested = CHANCE + signal * pattern
    wrong = 0.9 * replaced + 0.0 * seed
    measured = (epoch % p.get("evaluate_every", 1) == 0) | (epoch == p["epochs"])
    curves = {
        "training_loss": 0.9 * loss,
        "training_accuracy": fitted,
        "true_training_accuracy": fitted * (1 - wrong),
        "wrong_labels_fitted": fitted.where(replaced > 0),
        "test_accuracy": tested,
        "corrupted_test_accuracy": (1 - replaced) * tested + CHANCE * replaced,
    }
    own = {"dataset": need.dataset} if need.is_external else {}  # as results of files name it
    return xr.Dataset(
        {
            "online_loss": loss,
            "online_accuracy": fitted,
            **{name: values.where(measured) for name, values in curves.items()},
            "epochs_to_fit": epoch.where(loss <= 0.05).min("epoch"),
            "wrong": wrong,
        },
        attrs={"n_parameters": 1_209_866, "surplus": 11.8, "parameters": json.dumps(p), **own},
    ).transpose("seed", "corruption", "epoch")


def _along(dim, labels, values=None):
    values = labels if values is None else values
    return xr.DataArray(np.asarray(values), dims=dim, coords={dim: labels})
