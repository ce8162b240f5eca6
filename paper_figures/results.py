"""What figures and claims need, and how it is obtained: recorded, stored, or computed now.

A :class:`Need` is a study with its parameters over a number of seeds. Every seed is a cell of the
result store, computed once; an interrupted run goes on where it stopped.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import xarray as xr

from store import datasets
from store.results import ResultStore
from store.sweep import Cell, cells_of, run_cells, stacked, study_name

RECORDED = Path(__file__).parent / "recorded"
EMBEDDED = ("digits",)
FAMILIES = {"mnist": "MNIST's IDX files", "cifar10": "CIFAR-10's binary version"}


@dataclass(frozen=True, eq=False)  # two needs are the same only if they are one object
class Need:
    """A study's results over ``seeds`` seeds; ``quick`` replaces parameters in a quick run.

    The study of a network goes by its dotted name: it is imported only to be run, since it takes
    torch. ``kept`` is for long runs on embedded data: what is recorded of them is not computed
    again. ``gpu`` is for runs that would take days without one; quick ones take none.
    """

    study: Callable[..., xr.Dataset] | str
    parameters: Mapping[str, Any]
    seeds: int
    quick_seeds: int
    quick: Mapping[str, Any] = field(default_factory=dict)
    kept: bool = False
    gpu: bool = False

    @property
    def study_name(self) -> str:
        """The dotted name that the store knows the study by."""
        return self.study if isinstance(self.study, str) else study_name(self.study)

    def function(self) -> Callable[..., xr.Dataset]:
        """Return the study itself."""
        if not isinstance(self.study, str):
            return self.study
        module, _, name = self.study.rpartition(".")
        study: Callable[..., xr.Dataset] = getattr(importlib.import_module(module), name)
        return study

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
    ``FAMILIES``; where one is lacking, or torch or a GPU that a study takes, its recorded results
    are used. ``recompute`` ignores what is stored or kept. ``jobs`` is joblib's.
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
    obstacles = {need: _obstacle(need, folders, options.quick) for need in needs}
    plans = {}
    for need in needs:
        is_kept = need.kept and not options.quick and not options.recompute and is_recorded(need)
        if not is_kept and not obstacles[need]:
            plan = need.sped_up() if options.quick else need
            plans[need] = _on_folder(plan, folders) if need.is_external else plan
    run_cells(
        [cell for plan in plans.values() for cell in _cells(plan, folders)],
        options.store,
        jobs=options.jobs,
        recompute=options.recompute,
    )
    return {
        need: _stacked(plans[need], options.store)
        if need in plans
        else _recorded(need, obstacles[need])
        for need in needs
    }


def obstacles(needs: Collection[Need], options: Options) -> dict[Need, str]:
    """Say of each need what keeps it from being computed here; nothing if it can be."""
    folders = _folders(options.data_dirs)
    return {need: _obstacle(need, folders, options.quick) for need in needs}


def _obstacle(need: Need, folders: Mapping[str, _Folder], quick: bool) -> str:
    if need.is_external and _family(need.dataset) not in folders:
        return f"give the folder of {FAMILIES[_family(need.dataset)]} with --data"
    if isinstance(need.study, str) and importlib.util.find_spec("torch") is None:
        return "it takes PyTorch: pip install -e '.[deep]'"
    if need.gpu and not quick and not _has_gpu():
        return "it takes a GPU"
    return ""


def _has_gpu() -> bool:
    torch = importlib.import_module("torch")
    return bool(torch.cuda.is_available())


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


def _on_folder(need: Need, folders: Mapping[str, _Folder]) -> Need:
    return need.on(folders[_family(need.dataset)].dataset)


def _recorded(need: Need, obstacle: str) -> Outcome:
    found = ResultStore(RECORDED).load(need.study_name, _recorded_parameters(need))
    if found is None:
        return Unavailable(f"not recorded; {obstacle}")
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
    return cells_of(need.function(), need.parameters, need.seeds, location)


def _stacked(need: Need, store: ResultStore) -> xr.Dataset:
    """Return the stored cells of all seeds along a dimension ``seed``."""
    together = stacked(need.function(), need.parameters, need.seeds, store)
    if need.is_external:
        together.attrs["dataset"] = need.dataset
    return together
