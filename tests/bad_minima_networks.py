"""What the study of networks' bad minima returns, made up so that every claim on it is true."""

import numpy as np
import xarray as xr

STARTS = ["random", "adversarial"]
CONTROLS = ["shrunken adversarial", "enlarged random", "fresh batch norm", "other inputs"]
SINGLES = ["augmentation", "weight decay", "momentum"]
CHOICES = [
    "none",
    *SINGLES,
    "augmentation + weight decay",
    "augmentation + momentum",
    "weight decay + momentum",
    "augmentation + weight decay + momentum",
]
MEASURES = [
    "sharpness",
    "noise_scale",
    "noise_trace",
    "l1_path_norm",
    "l2_path_norm",
    "spectral_product",
    "frobenius_norm",
]
PER_TRAINING = [
    "training_accuracy",
    "training_loss",
    "test_accuracy",
    "epochs_to_fit",
    "distance",
]
EPOCHS = 6


def along(dim, values):
    return xr.DataArray(list(values), {dim: list(values)}, dim)


def bad_minima(need):
    """Return the results of a need, of all its seeds."""
    given = need.parameters
    convolutions = given["model"] != "mlp"
    controls = [each for each in CONTROLS if convolutions or each != "fresh batch norm"]
    if given.get("controls") is not None:
        controls = given["controls"]
    choices = CHOICES if given.get("regularizers") is None else CHOICES[:1]
    if given.get("extremes"):
        choices = [CHOICES[0], CHOICES[-1]]
    start = along("start", [*STARTS, *controls])
    choice = along("regularization", choices)
    epoch = along("epoch", np.arange(1, EPOCHS + 1))
    factor = 1.0 + 1e-4 * along("seed", range(need.seeds))
    bad, vanilla = start != "random", choice == "none"
    trained = (~start.isin(CONTROLS)) | vanilla
    drop = 0.06 if given.get("replication", 5) > 1 or given.get("extremes") else 0.0
    drop = (drop + 0.1 * (given.get("zero_fraction", 0.1) - 0.1)) * (bad & vanilla)
    size = 1.0 + 9.0 * (bad & vanilla)
    found = {
        "training_accuracy": 1.0 + 0.0 * factor * size * epoch,
        "training_loss": 0.01 * factor * size / epoch,
        "test_accuracy": (0.95 - drop * factor) * (1.0 - 0.1 / epoch) / (1.0 - 0.1 / EPOCHS),
        "epochs_to_fit": factor * (40.0 - 30.0 * bad) + 0.0 * size,
        "distance": factor * (10.0 - 8.0 * (bad & vanilla)),
    }
    assert list(found) == PER_TRAINING
    if given.get("measures", True):
        found |= dict.fromkeys(MEASURES, factor * size)
    found = {name: values.where(trained) for name, values in found.items()}
    found["fitted"] = (found["training_accuracy"].isel(epoch=-1, drop=True) == 1.0) & trained
    found |= {
        "confusion_accuracy": 1.0 + 0.0 * factor,
        "confusion_epochs": 100.0 * factor,
        "confusion_ceiling": 1.0 + 0.0 * factor,
        "confusion_test_accuracy": 0.1 * factor,
    }
    if given.get("measures", True):
        for name in MEASURES[3:]:
            found[f"start_{name}"] = factor * (1.0 + 9.0 * bad)
        position = along("position", np.linspace(0.0, 1.0, 21))
        for name in ("training", "test"):
            found[f"line_{name}_loss"] = factor * (0.01 + position * (1.0 - position))
    order = ("seed", "start", "regularization", "epoch", "position")
    return xr.Dataset(found).transpose(*order, missing_dims="ignore")
