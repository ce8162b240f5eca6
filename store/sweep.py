"""Many runs of studies, over processes or a cluster, each result saved as it arrives.

A *cell* is one run: a study, its parameters and a seed. What the store holds is not computed again,
so an interrupted sweep goes on where it stopped; and a process that dies takes nothing with it but
the cells that it was computing, which are run again: from their checkpoints, if they keep some.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import json
import re
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import joblib
import xarray as xr
from joblib.externals.loky.process_executor import TerminatedWorkerError
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from store.results import ResultStore

__all__ = [
    "Cell",
    "SweepFailed",
    "WorkerDied",
    "cells_of",
    "deaths_as_plain_lines",
    "run_cells",
    "stacked",
    "study_name",
    "workers",
]

Study = Callable[..., xr.Dataset]

# A cell that kills its process would be tried for ever. One that died of its neighbors' hunger for
# memory deserves a second chance, and a third.
_FRUITLESS_ROUNDS = 3


class WorkerDied(RuntimeWarning):
    """A process that computed cells died; its cells are run again."""


class SweepFailed(RuntimeError):  # noqa: N818 - what became of the sweep
    """Its workers or its cluster failed, not a study; what was finished is kept."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One run of a study.

    Parameters
    ----------
    study : callable
        A function at the top level of a module, from keyword arguments to a Dataset.
    parameters : mapping
        All that the result depends on, the seed included: its identity in the store.
    location : mapping, optional
        Arguments that say only where things lie, such as ``data_dir``. A study with a parameter
        ``checkpoints`` that is not given here gets its folder from :func:`run_cells`.
    """

    study: Study
    parameters: Mapping[str, Any]
    location: Mapping[str, Any] = field(default_factory=dict)


def study_name(study: Study) -> str:
    """Return the dotted name that the store knows a study by.

    Examples
    --------
    >>> study_name(xr.concat)
    'xarray.structure.concat.concat'
    """
    return f"{study.__module__}.{study.__qualname__}"


def cells_of(
    study: Study, parameters: Mapping[str, Any], seeds: int, location: Mapping[str, Any]
) -> list[Cell]:
    """Return the cells of seeds 0 to `seeds` - 1 of a study, one for each.

    A study with a parameter ``seeds`` runs all of them at once and returns their dimension: it has
    one cell.

    Examples
    --------
    >>> def study(*, seed: int = 0): ...
    >>> [cell.parameters for cell in cells_of(study, {}, 2, {})]
    [{'seed': 0}, {'seed': 1}]
    >>> def study(*, seeds: int = 5): ...
    >>> [cell.parameters for cell in cells_of(study, {}, 2, {})]
    [{'seeds': 2}]
    """
    if _takes_all_seeds(study):
        return [Cell(study, {**parameters, "seeds": seeds}, location)]
    return [Cell(study, {**parameters, "seed": seed}, location) for seed in range(seeds)]


def _takes_all_seeds(study: Study) -> bool:
    return "seeds" in inspect.signature(study).parameters


def run_cells(
    cells: Iterable[Cell], store: ResultStore, *, jobs: int = -1, recompute: bool = False
) -> None:
    """Run every cell that the store lacks, and save each as it arrives.

    Equal cells are run once. Inside :func:`workers` the cells run on its cluster. On a terminal
    there is a progress bar.

    A study with a parameter ``checkpoints`` gets a folder of its cell's own, under ``unfinished``
    in the store's directory. It stays when the study raises or is killed, so that the next run can
    go on from what is in it (its ``wall_seconds`` are its own), and is removed when the result is
    saved. On a machine of a cluster that does not see the folder, the parameter has its default.
    If two sweeps run such a cell at once, the slower one may lose the folder, and fail.

    Parameters
    ----------
    cells : iterable of Cell
        What is wanted.
    store : ResultStore
        Where the results are kept.
    jobs : int
        Processes, as joblib counts them: -1 is one a core, 1 this process alone. A cluster uses
        all its workers whatever this says.
    recompute : bool
        Ignore what is stored, and remove old checkpoints.

    Raises
    ------
    store.results.CorruptResult
        If a stored file is damaged, unless `recompute`. Nothing has been run then.
    TypeError, ValueError
        If a cell has a parameter that the store cannot keep. Nothing has been run then.
    SweepFailed
        If workers died in three rounds in a row in which no cell was finished, or the cluster's
        scheduler is gone.
    Exception
        Whatever a study raises. What was finished before is kept.

    Warns
    -----
    WorkerDied
        If a process died. Its cells are run again.
    """
    missing = _missing(cells, store, recompute)
    if not missing:
        return
    if recompute:
        for path in missing:
            with contextlib.suppress(FileNotFoundError):
                shutil.rmtree(_unfinished(path))
    fruitless = 0
    with tqdm(total=len(missing), desc="studies", unit="cell", disable=None) as bar:
        while missing:
            before = len(missing)
            try:
                for path, dataset, seconds in _runs(missing, jobs):
                    cell = missing[path]
                    name = study_name(cell.study)
                    store.save(name, cell.parameters, dataset, wall_seconds=seconds)
                    shutil.rmtree(_unfinished(path), ignore_errors=True)
                    del missing[path]
                    bar.update()
            except _deaths() as error:
                fruitless = fruitless + 1 if len(missing) == before else 0
                if fruitless == _FRUITLESS_ROUNDS:
                    raise SweepFailed(_failure(missing, error)) from error
                _report_death(_what_died(error), len(missing))
            except CancelledError as error:
                raise SweepFailed(f"the cluster canceled its work: {error}") from error


def _missing(cells: Iterable[Cell], store: ResultStore, recompute: bool) -> dict[Path, Cell]:
    missing = {}
    for cell in cells:
        name = study_name(cell.study)
        path = store.path(name, cell.parameters)
        if recompute or store.load(name, cell.parameters) is None:
            missing[path] = cell
    return missing


def _runs(cells: Mapping[Path, Cell], jobs: int) -> Iterator[tuple[Path, xr.Dataset, float]]:
    """Run the cells in parallel; yield results in the order of their arrival."""
    parallel = joblib.Parallel(n_jobs=jobs, return_as="generator_unordered")
    # A list: the cells that are finished leave the mapping while joblib still reads.
    runs: Iterator[tuple[Path, xr.Dataset, float]] = parallel(
        [joblib.delayed(_run)(path, cell, _checkpoints(path, cell)) for path, cell in cells.items()]
    )
    return runs


def _checkpoints(path: Path, cell: Cell) -> Path | None:
    """Make the folder for a cell's checkpoints, if its study takes one and none is given."""
    taken = inspect.signature(cell.study).parameters
    if "checkpoints" not in taken or "checkpoints" in cell.location:
        return None
    folder = _unfinished(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _unfinished(path: Path) -> Path:
    """Return the folder for the checkpoints of the cell whose result will lie at `path`."""
    store, cell = path.parents[2], path.parent.name
    return Path(store, "unfinished", cell).absolute()  # a worker may be in another folder


def _run(path: Path, cell: Cell, checkpoints: Path | None) -> tuple[Path, xr.Dataset, float]:
    start = time.perf_counter()
    location = dict(cell.location)
    if checkpoints and checkpoints.is_dir():  # never made here: only its maker will remove it
        location["checkpoints"] = str(checkpoints)
    with threadpool_limits(1):  # the cores are busy with cells, and the bits stay the same
        dataset = cell.study(**cell.parameters, **location)
    return path, dataset, time.perf_counter() - start


def stacked(
    study: Study, parameters: Mapping[str, Any], seeds: int, store: ResultStore
) -> xr.Dataset:
    """Return the stored results of seeds 0 to `seeds` - 1 along a dimension ``seed``.

    Parameters
    ----------
    study : callable
        The study.
    parameters : mapping
        Its parameters but the seed.
    seeds : int
        How many.
    store : ResultStore
        Where they are.

    Returns
    -------
    xarray.Dataset
        Its attributes are those that the cells share; ``parameters`` are without the seed,
        ``wall_seconds`` is the sum and ``created`` the last seed's.

    Raises
    ------
    LookupError
        If a seed's result is not there.
    store.results.CorruptResult
        If a stored file is damaged.
    """
    name = study_name(study)
    cells = []
    for cell in cells_of(study, parameters, seeds, {}):
        found = store.load(name, cell.parameters)
        if found is None:
            which = f"seed {cell.parameters['seed']}" if "seed" in cell.parameters else "the seeds"
            raise LookupError(f"{store.directory} has no result of {name} for {which}")
        cells.append(found)
    if _takes_all_seeds(study):
        [together] = cells
    else:
        seed = xr.Variable("seed", range(seeds))
        together = xr.concat(cells, seed, combine_attrs="drop_conflicts")
    shared = json.loads(cells[0].attrs["parameters"])
    del shared["seeds" if _takes_all_seeds(study) else "seed"]
    together.attrs["parameters"] = json.dumps(shared, sort_keys=True)
    together.attrs["wall_seconds"] = sum(cell.attrs["wall_seconds"] for cell in cells)
    together.attrs["created"] = cells[-1].attrs["created"]
    return together


# --- workers that die -----------------------------------------------------------------------------


def _deaths() -> tuple[type[Exception], ...]:
    """Return what joblib raises when workers died: loky's exception, and dask's if in use."""
    distributed = sys.modules.get("distributed")
    lost = () if distributed is None else (distributed.KilledWorker,)
    return (TerminatedWorkerError, *lost)


def _what_died(error: Exception) -> str:
    if not isinstance(error, TerminatedWorkerError):
        return "a task was given up by the cluster, since it killed its workers"
    codes = re.search(r"exit codes of the workers are \{([^}]*)\}", str(error))
    return f"a worker process died by {codes[1]}" if codes else "a worker process died"


def _failure(missing: Mapping[Path, Cell], error: Exception) -> str:
    names = ", ".join(sorted({study_name(cell.study) for cell in missing.values()}))
    return (
        f"in {_FRUITLESS_ROUNDS} rounds in a row none of {_count(len(missing), 'cell')} of {names} "
        f"was finished; in the last, {_what_died(error)}. What was finished before is kept. If "
        "memory ran out, take fewer jobs."
    )


def _report_death(what: str, cells: int) -> None:
    message = f"{what}; {_count(cells, 'unfinished cell')} will be run again"
    warnings.warn(WorkerDied(message), stacklevel=3)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


@contextlib.contextmanager
def deaths_as_plain_lines() -> Iterator[None]:
    """Print every :class:`WorkerDied` on stderr as a line of its own, above a progress bar."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", WorkerDied)
        otherwise = warnings.showwarning

        def show(message: Any, category: type[Warning], *details: Any, **more: Any) -> None:
            if issubclass(category, WorkerDied):
                tqdm.write(f"warning: {message}", file=sys.stderr)
            else:
                otherwise(message, category, *details, **more)

        warnings.showwarning = show
        yield


@contextlib.contextmanager
def workers(cluster: str | None) -> Iterator[None]:
    """Send joblib's work to a dask cluster, if one is named.

    The cluster itself gives the cells of a worker that dies to the others;
    :class:`WorkerDied` tells of it.

    Parameters
    ----------
    cluster : str or None
        Address of the scheduler, such as ``"tcp://host:8786"``; None for processes of this
        machine.

    Raises
    ------
    ValueError
        If dask is not installed, or the address is malformed.
    OSError
        If no scheduler answers there.
    """
    if cluster is None:
        yield
        return
    try:
        distributed: Any = importlib.import_module("distributed")
    except ModuleNotFoundError:
        raise ValueError("a cluster needs dask: pip install 'wide-minima[cluster]'") from None
    # Not dask's default client: xarray would take a distributed lock for every file we write.
    with distributed.Client(cluster, set_as_default=False) as client:
        client.subscribe_topic("all", _report_departure)
        try:
            with joblib.parallel_config(backend=_dask_backend(client)):
                yield
        finally:
            if client.status == "running":  # no more so if the scheduler is gone
                client.unsubscribe_topic("all")


def _report_departure(event: tuple[float, Any]) -> None:
    """Warn if an event of dask's scheduler is the unexpected loss of a worker."""
    _, what = event
    if what.get("action") == "remove-worker" and not what.get("expected"):
        cells = sum(map(_cells_in, what["processing-tasks"] | what["lost-computed-tasks"]))
        _report_death(f"worker {what['worker']} of the cluster died", cells)


def _cells_in(task: str) -> int:
    """Return how many cells a task of joblib's is, which its name tells."""
    found = re.search(r"_(\d+)_calls-", task)
    return int(found[1]) if found else 0


def _dask_backend(client: Any) -> Any:
    """Return joblib's dask backend, mended in two places.

    joblib 1.6 waits for ever for a task that dask gave up because it killed its workers; and what
    it was told to send to a cluster of one worker it computes here.
    """
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):  # type: ignore[misc] # joblib is untyped
        def submit(self, func: Any, callback: Any = None) -> Any:
            def pass_on(done: Any) -> None:
                if (error := done.exception()) is not None:
                    callback(error)  # joblib raises it, as it raises what a task caught

            future = super().submit(func, callback)
            future.add_done_callback(pass_on)
            return future

        def effective_n_jobs(self, n_jobs: int) -> int:
            cores: int = super().effective_n_jobs(n_jobs)
            return max(2, cores)

    return Backend(client=client)
