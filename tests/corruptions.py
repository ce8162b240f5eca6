"""Ways to spoil a study's results, each of which some criterion of a claim has to notice."""

from collections.abc import Iterator

import numpy as np
import xarray as xr


def corruptions_of(values: xr.DataArray) -> Iterator[xr.DataArray]:
    """Yield values shifted, scaled altogether, and scaled or reversed along each axis but seeds."""
    for shift in (0.5, -0.5, 20_000.0, -20_000.0):
        yield values + shift
    for scale in (0.1, 10.0):
        yield values * scale
    for dim in sorted(set(values.dims) - {"seed"}):
        by = 1.0 + xr.DataArray(np.arange(values.sizes[dim]), dims=dim)
        yield values * by
        yield values / by**2
        yield values.copy(data=values.isel({dim: slice(None, None, -1)}))
