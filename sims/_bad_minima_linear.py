"""The linear control of bad minima: least squares after random labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import xarray as xr

from sims._variables import named
from store.corruption import replicate_with_zeros
from theory import bad_minima
from theory._validation import nonnegative_number, positive_integer


def linear_control(
    *,
    n_examples: int = 40,
    n_features: int = 100,
    noise: float = 0.1,
    cases: Sequence[tuple[int, float]] = ((1, 0.0), (1, 0.1), (1, 0.3), (2, 0.1), (5, 0.1)),
    draws: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    r"""Pre-train a linear model on random labels of copies, and measure what least squares keeps.

    Inputs are standard normal and the targets linear in them, of variance 1, with noise; labels are
    ±1. Both fits are run to their limits, from zero.

    Parameters
    ----------
    n_examples, n_features : int
        n < d.
    noise : float
        Standard deviation.
    cases : sequence of (int, float)
        R, copies of each input, and Z, share of a copy's values that is set to zero.
    draws : int
        Of the random labels; at least 2.
    seed : int

    Returns
    -------
    xarray.Dataset
        Along ``case``: ``replicas``, ``zero_fraction``, the mean ``risk_difference`` over the draws
        and its standard ``error``, the ``predicted`` mean, and ``displacement``, the root mean
        square of the fine-tuned weights' distance to those without pre-training. ``direct_risk`` is
        the risk without it.

    Raises
    ------
    ValueError
        If an argument is out of range, or copies cannot be told apart (R > 1 and Z = 0).

    References
    ----------
    Liu et al. (2020), section 2, for the procedure; the control is derived.
    """
    n = positive_integer("n_examples", n_examples)
    d = positive_integer("n_features", n_features, minimum=n + 1)
    positive_integer("draws", draws, minimum=2)
    scale = nonnegative_number("noise", noise)
    for replicas, share in cases:
        bad_minima.check_confusion_set(replicas=replicas, zero_fraction=share, classes=2)
    rng = np.random.default_rng([seed, 0])
    X, truth = rng.normal(size=(n, d)), rng.normal(size=d) / np.sqrt(d)
    y = X @ truth + scale * rng.normal(size=n)
    columns: dict[str, list[float]] = {
        name: [] for name in ("risk_difference", "error", "predicted", "displacement")
    }
    direct_risk = np.nan
    for replicas, share in cases:
        copies = replicate_with_zeros(X, replicas, share, rng)
        found = [
            bad_minima.linear_control(
                X,
                y,
                pretraining_inputs=copies,
                pretraining_targets=rng.choice([-1.0, 1.0], len(copies)),
                true_weights=truth,
            )
            for _ in range(draws)
        ]
        direct_risk = found[0].direct_risk
        differences = [each.risk_difference for each in found]
        squares = [each.displacement @ each.displacement for each in found]
        columns["risk_difference"].append(float(np.mean(differences)))
        columns["error"].append(float(np.std(differences, ddof=1)) / np.sqrt(draws))
        columns["predicted"].append(
            bad_minima.expected_risk_difference(X, pretraining_inputs=copies)
        )
        columns["displacement"].append(float(np.sqrt(np.mean(squares))))
    long_names = {
        "risk_difference": "risk with pre-training less risk without it",
        "error": "standard error of the risk difference",
        "predicted": "expected risk difference",
        "displacement": "distance that pre-training leaves between the weights",
    }
    variables = {
        name: ("case", values, named(long_names[name])) for name, values in columns.items()
    }
    return xr.Dataset(
        {**variables, "direct_risk": ((), direct_risk, named("risk without pre-training"))},
        {
            "replicas": ("case", [replicas for replicas, _ in cases]),
            "zero_fraction": ("case", [share for _, share in cases]),
        },
    )
