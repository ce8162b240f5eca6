"""What figures and claims need, and how it is obtained: recorded, stored, or computed now.

A :class:`Need` is a study with its parameters over a number of seeds. Every seed is a cell of the
result store, computed once; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from store import datasets
from store.results import ResultStore
from store.sweep import Cell, run_cells, stacked, study_name

RECORDED = Path(__file__).parent / "recorded"
EMBEDDED = ("digits",)


@dataclass(frozen=True, eq=False)  # two needs are the same only if they are one object
class Need:
    """A study's results over ``seeds`` seeds; ``quick`` replaces parameters in a quick run."""

    study: Callable[..., xr.Dataset]
    parameters: Mapping[str, Any]
    seeds: int
    quick_seeds: int
    quick: Mapping[str, Any] = field(default_factory=dict)

    @property
    def study_name(self) -> str:
        """The dotted name that the store knows the study by."""
        return study_name(self.study)

    def sped_up(self) -> Need:
        """Return the small version of this need."""
        return Need(self.study, {**self.parameters, **self.quick}, self.quick_seeds, 0)

    def on(self, dataset: str) -> Need:
        """Return this need on another data set."""
        parameters = {**self.parameters, "dataset": dataset}
        return Need(self.study, parameters, self.seeds, self.quick_seeds, self.quick)

    @property
    def is_external(self) -> bool:
        """Whether it needs files that do not come with the package."""
        return self.parameters.get("dataset", EMBEDDED[0]) not in EMBEDDED


@dataclass(frozen=True)
class Unavailable:
    """Stands for results that cannot be had here."""

    reason: str


@dataclass(frozen=True)
class Options:
    """How to obtain results.

    ``data_dir`` holds the IDX files for the studies of external data; without it the recorded
    results of those studies are used. ``recompute`` ignores what is stored. ``jobs`` is joblib's.
    """

    store: ResultStore
    data_dir: Path | None = None
    quick: bool = False
    recompute: bool = False
    jobs: int = -1


Outcome = xr.Dataset | Unavailable


def obtain(needs: Collection[Need], options: Options) -> dict[Need, Outcome]:
    """Return every need's results, having computed and stored those that are missing.

    Raises
    ------
    store.results.CorruptResult
        If a stored file is damaged, naming it, unless ``options.recompute``.
    ValueError, FileNotFoundError
        If the data folder lacks a file or its files are not what they should be.
    """
    dataset = None if options.data_dir is None else datasets.identify(options.data_dir)
    plans = {}
    for need in needs:
        plan = need.sped_up() if options.quick else need
        if not need.is_external:
            plans[need] = plan
        elif dataset is not None:
            plans[need] = plan.on(dataset)
    run_cells(
        [cell for plan in plans.values() for cell in _cells(plan, options.data_dir)],
        options.store,
        jobs=options.jobs,
        recompute=options.recompute,
    )
    return {
        need: _stacked(plans[need], options.store) if need in plans else _recorded(need)
        for need in needs
    }


def _recorded(need: Need) -> Outcome:
    found = ResultStore(RECORDED).load(need.study_name, _recorded_parameters(need))
    if found is None:
        return Unavailable("not recorded; give the folder of MNIST's IDX files with --data")
    return found.assign_attrs(recorded=found.attrs["created"][:10])


def record(need: Need, store: ResultStore) -> Path:
    """Keep a finished need's results with the package, all seeds in one file."""
    return ResultStore(RECORDED).save(
        need.study_name, _recorded_parameters(need), _stacked(need, store)
    )


def is_recorded(need: Need) -> bool:
    """Return whether a need's results are kept with the package."""
    return ResultStore(RECORDED).path(need.study_name, _recorded_parameters(need)).is_file()


def _recorded_parameters(need: Need) -> dict[str, Any]:
    return {**need.parameters, "seeds": need.seeds}


def _cells(need: Need, data_dir: Path | None) -> list[Cell]:
    location = {"data_dir": str(data_dir)} if need.is_external else {}
    return [
        Cell(need.study, {**need.parameters, "seed": seed}, location) for seed in range(need.seeds)
    ]


def _stacked(need: Need, store: ResultStore) -> xr.Dataset:
    """Return the stored cells of all seeds along a dimension ``seed``."""
    together = stacked(need.study, need.parameters, need.seeds, store)
    if need.is_external:
        together.attrs["dataset"] = need.parameters["dataset"]
    return together
