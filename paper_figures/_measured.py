"""Numbers with error bars, from one value a seed."""

from __future__ import annotations

import numpy as np
import xarray as xr

from paper_figures.claims import Measured


def mean_over_seeds(values: xr.DataArray) -> Measured:
    """Return the mean over seeds and its standard error."""
    n = values.size
    error = float(values.std(ddof=1)) / np.sqrt(n) if n > 1 else np.nan
    return Measured(float(values.mean()), error)


def largest_over_seeds(values: xr.DataArray) -> Measured:
    """Return the largest value over all seeds, and the spread of the seeds' own largest."""
    per_seed = values.max([name for name in values.dims if name != "seed"])
    spread = float(per_seed.std(ddof=1)) if per_seed.size > 1 else np.nan
    return Measured(float(per_seed.max()), spread)


def least_over_seeds(values: xr.DataArray) -> Measured:
    """Return the least value over all seeds, and the spread of the seeds' own least."""
    least = largest_over_seeds(-values)
    return Measured(-least.value, least.uncertainty)
