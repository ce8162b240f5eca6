"""SmoothOut's studies of networks as they would come out if all that is claimed were true."""

import numpy as np
import xarray as xr

from paper_figures import _wen_2018_networks as networks

# Test error by need and strength.
ERRORS = {
    networks.SMALL_PLAIN: {0.0: 0.062, 0.03: 0.061, 0.06: 0.058, 0.1: 0.056, 0.2: 0.055, 0.3: 0.07},
    networks.SMALL_ADAPTIVE: {0.3: 0.054, 0.6: 0.05, 1.0: 0.09},
    networks.LARGE_PLAIN: {
        **{0.0: 0.081, 0.01: 0.079, 0.03: 0.072, 0.06: 0.0624},
        **{0.1: 0.069, 0.2: 0.185, 0.3: 0.6},
    },
    networks.LARGE_ADAPTIVE: {0.1: 0.0755, 0.3: 0.0623, 0.6: 0.082, 1.0: 0.35},
    networks.KEPT: {0.003: 0.08, 0.01: 0.082, 0.03: 0.103},
    networks.NORMAL: {0.03: 0.073, 0.06: 0.067, 0.1: 0.071},
    networks.COPIES: {0.03: 0.077, 0.06: 0.071, 0.1: 0.066},
    networks.LONGER: {0.0: 0.075, 0.1: 0.055},
    networks.LONGER_ADAPTIVE: {0.3: 0.053},
    networks.UNSCALED: {0.0: 0.11, 0.1: 0.16},
    networks.ADAM_PLAIN: {0.0: 0.068, 0.03: 0.064, 0.06: 0.062, 0.1: 0.067},
    networks.ADAM_ADAPTIVE: {0.3: 0.06},
    networks.NOISY_SMALL: {0.0: 0.2},
    networks.NOISY_LARGE: {0.0: 0.17, 0.03: 0.136, 0.06: 0.113, 0.1: 0.111},
    networks.SAM: {0.05: 0.071, 0.2: 0.065, 0.5: 0.18},
}
DISTANCES = np.linspace(-1.5, 1.5, 61)


def smoothout(need):
    """The results of a need; a sped-up one has the parameters that it has."""
    if need.study_name.endswith("smoothout_identities"):
        return identities(need)
    (own,) = [
        table
        for each, table in ERRORS.items()
        if need.parameters in (each.parameters, each.sped_up().parameters)
    ]
    seed, a = along("seed", range(need.seeds)), along("strength", list(own))
    factor = 1 + 1e-4 * seed
    error = xr.zeros_like(a).copy(data=list(own.values())) * factor
    unscaled = need.parameters["batch_size"] == 300 and need.parameters["learning_rate"] == 0.05
    fitted = (0.05 if unscaled else 0.001) * xr.ones_like(error)
    made = {"test_error": error, "training_error": fitted, "training_loss": fitted}
    if need.parameters.get("sharpness"):
        made |= around(
            a, factor, need.parameters.get("directions", 5), "sam" in str(need.parameters)
        )
    return xr.Dataset(made).transpose("seed", ...)


def around(a, factor, directions, of_sam):
    """Sharpness that falls with the strength."""
    epsilon, noise = along("epsilon", [1e-3, 5e-3]), along("noise", NOISES)
    distance = along("distance", DISTANCES)
    direction = xr.DataArray(np.linspace(0.9, 1.1, directions), dims="direction")
    falls = np.exp(-40 * a) * (0.01 if of_sam else 1.0) * factor
    return {
        "keskar_sharpness": 1e6 * epsilon**2 * falls,
        "expected_sharpness": 4 * noise**2 * falls,
        "hessian_trace": 20 * falls,
        "hessian_trace_error": falls,
        "section": 0.01 + direction * falls * distance**2,
        "valley_width": 0.5 * direction * (1 + 8 * a) * factor,
    }


NOISES = [0.02, 0.05, 0.06, 0.1, 0.12, 0.2]


def identities(need):
    factor = 1 + 1e-4 * along("seed", range(need.seeds))
    scale = along("scale", [0.1, 10.0])
    ones = xr.ones_like(scale) * factor
    trace = 200 * scale**2 * factor + 3
    coordinate = xr.DataArray(np.linspace(-1.5, 1.5, 8), dims="coordinate")
    return xr.Dataset(
        {
            "function_change": 1e-15 * ones,
            "hessian_trace": trace,
            "predicted_trace": trace,
            "expected_sharpness": 0.8 * ones,
            "expected_sharpness_error": 0.08 * ones,
            "filter_sharpness": 0.9 * ones,
            "filter_sharpness_error": 0.05 * ones,
            "plain_at_one": 0.01 * factor,
            "filter_at_one": 0.9 * factor,
            "filter_at_one_error": 0.05 * factor,
            "gradient_deviation": coordinate * factor,
            "length_error": 3e-7 * factor,
        }
    ).transpose("seed", ...)


def along(dim, values):
    return xr.DataArray(np.asarray(values, float), dims=dim, coords={dim: list(values)})
