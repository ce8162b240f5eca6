"""What studies make of their numbers before these become variables of a Dataset."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def named(long_name: str, units: str = "1") -> dict[str, str]:
    """Return a variable's attributes."""
    return {"long_name": long_name, "units": units}


def filled_up(rows: Sequence[Array]) -> Array:
    """Return rows of unequal lengths, the longest at least 1, filled up with NaN."""
    most = max(1, *(len(row) for row in rows))
    return np.array([np.pad(row, (0, most - len(row)), constant_values=np.nan) for row in rows])
