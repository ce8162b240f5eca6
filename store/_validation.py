"""What functions of ``store`` demand of their arguments, checked before any work."""

from __future__ import annotations

import numpy as np


def positive_integer(name: str, value: int) -> int:
    """Return ``value``, or raise ValueError naming the argument."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
        raise ValueError(f"{name} must be a positive integer, got {value!r}")
    return int(value)
