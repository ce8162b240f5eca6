"""What figures and claims need, and how it is obtained: recorded, stored, or computed now.

A :class:`Need` is a study with its parameters over a number of seeds. Every seed is a cell of the
result store, computed once; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from store import datasets
from store.results import ResultStore
from store.sweep import Cell, run_cells, stacked, study_name

RECORDED = Path(__file__).parent / "recorded"
EMBEDDED = ("digits",)
FAMILIES = {"mnist": "MNIST's IDX files", "cifar10": "CIFAR-10's binary version"}


@dataclass(frozen=True, eq=False)  # two needs are the same only if they are one object
class Need:
    """A study's results over ``seeds`` seeds; ``quick`` replaces parameters in a quick run.

    ``kept`` is for long runs on embedded data: what is recorded of them is not computed again.
    """

    study: Callable[..., xr.Dataset]
    parameters: Mapping[str, Any]
    seeds: int
    quick_seeds: int
    quick: Mapping[str, Any] = field(default_factory=dict)
    kept: bool = False

    @property
    def study_name(self) -> str:
        """The dotted name that the store knows the study by."""
        return study_name(self.study)

    def sped_up(self) -> Need:
        """Return the small version of this need."""
        return replace(self, parameters={**self.parameters, **self.quick}, seeds=self.quick_seeds)

    def on(self, dataset: str) -> Need:
        """Return this need on another data set."""
        return replace(self, parameters={**self.parameters, "dataset": dataset})

    @property
    def dataset(self) -> str:
        """The data set's identity, or that of an embedded one if the study takes none."""
        return str(self.parameters.get("dataset", EMBEDDED[0]))

    @property
    def is_external(self) -> bool:
        """Whether it needs files that do not come with the package."""
        return self.dataset not in EMBEDDED


@dataclass(frozen=True)
class Unavailable:
    """Stands for results that cannot be had here."""

    reason: str


@dataclass(frozen=True)
class Options:
    """How to obtain results.

    ``data_dirs`` hold the files for the studies of external data, one folder for each of
    ``FAMILIES``; where one is lacking, the recorded results of its studies are used. ``recompute``
    ignores what is stored or kept. ``jobs`` is joblib's.
    """

    store: ResultStore
    data_dirs: Sequence[Path] = ()
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
        If a data folder lacks a file or its files are not what they should be, or two folders hold
        data sets of one family.
    """
    folders = _folders(options.data_dirs)
    plans = {}
    for need in needs:
        plan = need.sped_up() if options.quick else need
        if not need.is_external:
            if not need.kept or options.quick or options.recompute or not is_recorded(need):
                plans[need] = plan
        elif folder := folders.get(_family(need.dataset)):
            plans[need] = plan.on(folder.dataset)
    run_cells(
        [cell for plan in plans.values() for cell in _cells(plan, folders)],
        options.store,
        jobs=options.jobs,
        recompute=options.recompute,
    )
    return {
        need: _stacked(plans[need], options.store) if need in plans else _recorded(need)
        for need in needs
    }


class _Folder(NamedTuple):
    path: Path
    dataset: str


def _folders(directories: Sequence[Path]) -> dict[str, _Folder]:
    """Return the folders by the family of what they hold."""
    folders: dict[str, _Folder] = {}
    for path in directories:
        folder = _Folder(path, datasets.identify(path))
        other = folders.setdefault(_family(folder.dataset), folder)
        if other is not folder:
            raise ValueError(
                f"{other.path} and {path} hold {other.dataset!r} and {folder.dataset!r}: "
                f"give one folder of {FAMILIES[_family(folder.dataset)]}"
            )
    return folders


def _family(dataset: str) -> str:
    """Return what an external data set can stand in for: MNIST or CIFAR-10."""
    return "cifar10" if dataset.startswith("cifar10") else "mnist"


def _recorded(need: Need) -> Outcome:
    found = ResultStore(RECORDED).load(need.study_name, _recorded_parameters(need))
    if found is None:
        files = FAMILIES[_family(need.dataset)]
        return Unavailable(f"not recorded; give the folder of {files} with --data")
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


def _cells(need: Need, folders: Mapping[str, _Folder]) -> list[Cell]:
    location = {"data_dir": str(folders[_family(need.dataset)].path)} if need.is_external else {}
    return [
        Cell(need.study, {**need.parameters, "seed": seed}, location) for seed in range(need.seeds)
    ]


def _stacked(need: Need, store: ResultStore) -> xr.Dataset:
    """Return the stored cells of all seeds along a dimension ``seed``."""
    together = stacked(need.study, need.parameters, need.seeds, store)
    if need.is_external:
        together.attrs["dataset"] = need.dataset
    return together
