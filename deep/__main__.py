"""The command line, ``python -m deep``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from store.commands import run_studies

# The modules of this package that declare STUDIES.
TOPICS = ("memorization", "evidence", "noise_scale", "smoothout", "bad_minima")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status: 0, 1 for damage, 2 for bad input."""
    return run_studies(
        "deep", TOPICS, arguments, description="Run network experiments.", on_devices=True
    )


if __name__ == "__main__":
    sys.exit(main())
