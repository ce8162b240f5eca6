"""The command line, ``python -m sims``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from store.commands import run_studies

# The modules of this package that declare STUDIES.
TOPICS = (
    "evidence",
    "noise_scale",
    "memorization",
    "interpolation",
    "capacity",
    "smoothout",
    "bad_minima",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 1 for damage, 2 for bad input."""
    return run_studies("sims", TOPICS, arguments, description="Run simulations.")


if __name__ == "__main__":
    sys.exit(main())
