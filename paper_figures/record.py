"""Keep results of long runs with the package: ``python -m paper_figures.record --data DIR``.

Run it from a clean checkout: the commit goes into the provenance of every file.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paper_figures import registry
from paper_figures.results import Options, is_recorded, obstacles, obtain, record
from store import datasets
from store.results import ResultStore


def main(arguments: Sequence[str] | None = None) -> None:
    """Compute the needs that are not recorded, and write each to ``recorded/``."""
    parser = argparse.ArgumentParser(prog="python -m paper_figures.record", description=__doc__)
    parser.add_argument(
        "--data",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="folder of a data set, may be given several times; the results of those that are not "
        "given, or take a GPU that is not there, are left as they are",
    )
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    parser.add_argument("--recompute", action="store_true", help="also what is recorded already")
    parser.add_argument(
        "--jobs", type=int, default=-1, metavar="N", help="processes (default: one a core)"
    )
    options = parser.parse_args(arguments)
    store = ResultStore(options.out / "results")
    given = {datasets.identify(folder): folder for folder in options.data}
    for dataset in given.keys() - {need.dataset for need in registry.recorded()}:
        parser.error(f"{given[dataset]} holds {dataset!r}, of which nothing is to be recorded")
    how = Options(store, data_dirs=options.data, jobs=options.jobs)
    # Not kept: to be computed, even where they are recorded.
    needs = [
        replace(need, kept=False)
        for need, obstacle in obstacles(registry.recorded(), how).items()
        if not obstacle and (options.recompute or not is_recorded(need))
    ]
    obtain(needs, how)
    for need in needs:
        print(record(need, store))


if __name__ == "__main__":
    main()
