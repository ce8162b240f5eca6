"""Keep results of long runs with the package: ``python -m paper_figures.record --data DIR``.

Run it from a clean checkout: the commit goes into the provenance of every file.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from paper_figures import registry
from paper_figures.results import Options, is_recorded, obtain, record
from store.results import ResultStore


def main() -> None:
    """Compute the needs that are not recorded, and write each to ``recorded/``."""
    parser = argparse.ArgumentParser(prog="python -m paper_figures.record", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, metavar="DIR")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--recompute", action="store_true", help="also what is recorded already")
    arguments = parser.parse_args()
    store = ResultStore(arguments.out / "results")
    needs = [need for need in registry.recorded() if arguments.recompute or not is_recorded(need)]
    obtain(needs, Options(store, data_dir=arguments.data))
    for need in needs:
        print(record(need, store))


if __name__ == "__main__":
    main()
