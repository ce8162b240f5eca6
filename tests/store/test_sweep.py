import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path

import cloudpickle
import numpy as np
import pytest
import signac
import xarray as xr

from sims import evidence
from store.commands import run_studies
from store.results import CorruptResult, ResultStore
from store.sweep import (
    Cell,
    SweepFailed,
    WorkerDied,
    deaths_as_plain_lines,
    run_cells,
    stacked,
    study_name,
    workers,
)

posix = pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
CALLS = []


def counted(*, scale=1.0, seed, folder=None):
    """A study that tells when it runs."""
    CALLS.append((scale, seed, folder))
    return xr.Dataset({"value": ("x", [scale * seed, scale])})


def refusing(*, seed):
    """A study that fails half-way."""
    if seed == 2:
        raise ArithmeticError(f"no seed {seed}")
    return counted(seed=seed)


def where(*, seed):
    """A study of the process that it runs in."""
    return xr.Dataset({"pid": os.getpid(), "seed_again": seed})


def slow(*, seed):
    """A study that takes a while."""
    time.sleep(0.3)
    return xr.Dataset({"value": seed})


def deadly(*, seed, markers=None):
    """A study whose seed 2 kills its process: always, or until a marker says that it has."""
    marker = markers and os.path.join(markers, "killed")
    if seed == 2 and not (marker and os.path.exists(marker)):
        if marker:
            open(marker, "x").close()
        time.sleep(0.2)  # some neighbors finish first
        os.kill(os.getpid(), signal.SIGKILL)
    return xr.Dataset({"value": np.random.default_rng(seed).standard_normal()})


def stepwise(*, seed, fate=None, checkpoints=None):
    """A study of three steps; the fate of seed 1 meets it in each but the last."""
    found = 0
    if checkpoints is not None:
        found = len(os.listdir(checkpoints))
        Path(checkpoints, f"step {found}").write_text("done")
    if seed == 1 and fate == "killed" and found < 2:
        time.sleep(0.2)  # a neighbor finishes first
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == 1 and fate in FATES and found < 2:
        raise FATES[fate]
    return xr.Dataset({"found": found, "folder": str(checkpoints)})


FATES = {"fails": ArithmeticError("half-way"), "interrupted": KeyboardInterrupt()}


@pytest.fixture(autouse=True)
def no_calls():
    CALLS.clear()


@pytest.fixture(autouse=True, scope="module")
def studies_by_value():
    """Workers cannot import a test module: its studies travel whole."""
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


@pytest.fixture
def store(tmp_path):
    return ResultStore(tmp_path / "results")


def cells_of(study, seeds, **location):
    return [Cell(study, {"seed": seed}, location) for seed in range(seeds)]


def finished(store):
    return len(list(store.directory.glob("workspace/*/result.nc")))


# --- in one process -----------------------------------------------------------------------------


def test_only_what_is_missing_is_run_and_equal_cells_once(store):
    run_cells(cells_of(counted, 2) * 2, store, jobs=1)
    assert [seed for _, seed, _ in CALLS] == [0, 1]
    run_cells(cells_of(counted, 4), store, jobs=1)
    assert [seed for _, seed, _ in CALLS] == [0, 1, 2, 3]
    run_cells(cells_of(counted, 4), store, jobs=1)
    assert len(CALLS) == 4
    run_cells(cells_of(counted, 3), store, jobs=1, recompute=True)
    assert [seed for _, seed, _ in CALLS[4:]] == [0, 1, 2]


def test_where_things_lie_is_no_part_of_the_identity(store):
    run_cells(cells_of(counted, 1, folder="here"), store, jobs=1)
    run_cells(cells_of(counted, 1, folder="there"), store, jobs=1)
    assert CALLS == [(1.0, 0, "here")]
    assert store.load(study_name(counted), {"seed": 0}) is not None


def test_nothing_is_run_for_nothing(store):
    run_cells([], store)
    assert not store.directory.exists()


def test_an_exception_of_a_study_passes_and_what_was_finished_is_kept(store):
    with pytest.raises(ArithmeticError, match="no seed 2"):
        run_cells(cells_of(refusing, 4), store, jobs=1)
    assert finished(store) == 2


@pytest.mark.parametrize(
    ("parameter", "error"), [(np.nan, ValueError), (object(), TypeError), (np.ones(2), TypeError)]
)
def test_a_bad_parameter_is_refused_before_any_work(store, parameter, error):
    with pytest.raises(error, match="scale"):
        run_cells(
            [*cells_of(counted, 1), Cell(counted, {"scale": parameter, "seed": 0})], store, jobs=1
        )
    assert CALLS == []


def test_a_damaged_cell_is_named_before_any_work(store):
    run_cells(cells_of(counted, 1), store, jobs=1)
    path = store.path(study_name(counted), {"seed": 0})
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(CorruptResult, match=re.escape(str(path))):
        run_cells(cells_of(counted, 3)[::-1], store, jobs=1)
    assert len(CALLS) == 1
    run_cells(cells_of(counted, 3), store, jobs=1, recompute=True)
    assert len(CALLS) == 4


def test_seeds_are_stacked(store):
    parameters = {"scale": 3.0}
    run_cells([Cell(counted, {**parameters, "seed": seed}) for seed in range(12)], store, jobs=1)
    result = stacked(counted, parameters, 12, store)
    np.testing.assert_array_equal(result.value, [[3.0 * seed, 3.0] for seed in range(12)])
    np.testing.assert_array_equal(result.seed, np.arange(12))
    assert result.attrs["study"] == study_name(counted)
    assert result.attrs["parameters"] == '{"scale": 3.0}'
    each = [
        store.load(study_name(counted), {**parameters, "seed": seed}).attrs for seed in range(12)
    ]
    assert result.attrs["wall_seconds"] == sum(attrs["wall_seconds"] for attrs in each) > 0
    assert result.attrs["created"] == each[-1]["created"]
    with pytest.raises(LookupError, match="for seed 12"):
        stacked(counted, parameters, 13, store)


# --- checkpoints --------------------------------------------------------------------------------


def steps_found(store, seeds=2):
    return stacked(stepwise, {}, seeds, store).found.values.tolist()


def unfinished(store):
    """What lies in the folders of the cells that are not finished."""
    folders = store.directory.glob("unfinished/*")
    return [sorted(each.name for each in folder.iterdir()) for folder in folders]


def folder_of(store, seed):
    """Where a cell's folder is: named as its job of signac's."""
    job = store.path(study_name(stepwise), {"seed": seed}).parent.name
    return store.directory.absolute() / "unfinished" / job


@pytest.mark.parametrize(
    ("jobs", "fate", "error"),
    [
        (1, "fails", ArithmeticError),
        (2, "fails", ArithmeticError),
        (1, "interrupted", KeyboardInterrupt),
    ],
)
def test_a_cell_that_stopped_goes_on_from_its_checkpoints(store, jobs, fate, error):
    cells = cells_of(stepwise, 2, fate=fate)
    for there in (["step 0"], ["step 0", "step 1"]):
        with pytest.raises(error):
            run_cells(cells, store, jobs=jobs)
        assert there in unfinished(store)
    run_cells(cells * 2, store, jobs=jobs)
    assert steps_found(store)[1] == 2
    assert unfinished(store) == []
    folders = [str(folder_of(store, seed)) for seed in range(2)]
    assert stacked(stepwise, {}, 2, store).folder.values.tolist() == folders
    assert len(signac.get_project(store.directory)) == 2
    signac.get_project(store.directory).check()


@posix
def test_a_cell_whose_worker_died_goes_on_from_its_checkpoints_even_if_recomputed(store):
    with pytest.warns(WorkerDied) as deaths:
        run_cells(cells_of(stepwise, 2, fate="killed"), store, jobs=2, recompute=True)
    assert len(deaths) == 2
    assert steps_found(store)[1] == 2
    assert unfinished(store) == []


KILLED = """
import os, pathlib, sys
import xarray as xr
from store.results import ResultStore
from store.sweep import Cell, run_cells, stacked

def study(*, seed, checkpoints=None):
    step = pathlib.Path(checkpoints, "step")
    if not step.exists():
        step.write_text("done")
        os._exit(3)
    return xr.Dataset({"value": seed})

run_cells([Cell(study, {"seed": 0})], ResultStore(sys.argv[1]), jobs=1)
"""


def test_a_sweep_that_was_killed_goes_on_from_its_checkpoints(store):
    sweep = [sys.executable, "-c", KILLED, store.directory]
    assert subprocess.run(sweep, check=False).returncode == 3
    assert (unfinished(store), finished(store)) == ([["step"]], 0)
    assert subprocess.run(sweep, check=False).returncode == 0
    assert (unfinished(store), finished(store)) == ([], 1)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_result_that_is_computed_again_begins_without_checkpoints(store, jobs):
    for seed in range(3):
        folder_of(store, seed).mkdir(parents=True)
        (folder_of(store, seed) / "of old").mkdir()
    run_cells(cells_of(stepwise, 2), store, jobs=jobs, recompute=True)
    assert steps_found(store) == [0, 0]
    assert unfinished(store) == [["of old"]]  # that of a cell which nobody asked for


def test_old_checkpoints_stay_if_a_cell_is_refused(store):
    folder_of(store, 0).mkdir(parents=True)
    with pytest.raises(ValueError, match="seed"):
        run_cells([*cells_of(stepwise, 1), Cell(stepwise, {"seed": np.nan})], store, recompute=True)
    assert unfinished(store) == [[]]


@pytest.mark.parametrize("jobs", [1, 2])
def test_checkpoints_that_are_placed_by_the_user_are_left_alone(store, tmp_path, jobs):
    cells = cells_of(stepwise, 1, checkpoints=str(tmp_path))
    run_cells(cells, store, jobs=jobs)
    assert steps_found(store, 1) == [0]
    run_cells(cells, store, jobs=jobs)  # it is the same cell wherever its checkpoints are
    run_cells(cells_of(stepwise, 1), store, jobs=jobs)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["results", "step 0"]
    run_cells(cells, store, jobs=jobs, recompute=True)
    assert (tmp_path / "step 0").exists()
    assert not (store.directory / "unfinished").exists()
    run_cells(cells_of(stepwise, 1, checkpoints=None), store, jobs=jobs, recompute=True)
    assert stacked(stepwise, {}, 1, store).folder == "None"


def test_a_study_without_the_parameter_gets_no_folder(store):
    run_cells(cells_of(counted, 2), store, jobs=1)
    assert not (store.directory / "unfinished").exists()


def test_a_store_with_a_relative_path_has_an_absolute_folder(tmp_path, monkeypatch):
    run_cells(cells_of(where, 2), ResultStore(tmp_path / "warm"), jobs=2)
    monkeypatch.chdir(tmp_path)  # the workers, which are there already, stay where they are
    store = ResultStore("results")
    run_cells(cells_of(stepwise, 2), store, jobs=2)
    folders = [str(folder_of(store, seed)) for seed in range(2)]
    assert stacked(stepwise, {}, 2, store).folder.values.tolist() == folders


def without_disk(*, seed, checkpoints=None):
    """A study whose seed 0 takes the folders away, as if the next ran where they are not."""
    if seed == 0:
        shutil.rmtree(os.path.dirname(checkpoints))
    return xr.Dataset({"folder": str(checkpoints)})


def test_where_the_folder_is_not_seen_there_are_no_checkpoints(store):
    run_cells(cells_of(without_disk, 2), store, jobs=1)
    assert stacked(without_disk, {}, 2, store).folder[1] == "None"
    assert not (store.directory / "unfinished").exists()


def test_checkpoints_are_no_option_of_the_command_line(store, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "toy.steps", types.SimpleNamespace(STUDIES=[stepwise]))
    command = functools.partial(run_studies, "toy", ["steps"], description="toys")
    assert command(["list"]) == 0
    assert "--fate" in (listed := capsys.readouterr().out)
    assert "checkpoints" not in listed
    run = ["run", "--seeds", "2", "--jobs", "1", "--store", str(store.directory), "stepwise"]
    assert command([*run, "--fate", "fails"]) == 1
    assert "error: half-way" in capsys.readouterr().err
    assert unfinished(store) == [["step 0"]]
    with pytest.raises(SystemExit):
        command([*run, "--checkpoints", "here"])
    assert "unknown --checkpoints" in capsys.readouterr().err


# --- processes that die -------------------------------------------------------------------------


@posix
def test_a_process_that_dies_is_reported_and_its_cells_are_run_again(store, tmp_path):
    with pytest.warns(WorkerDied, match=r"died by .*SIGKILL.*unfinished cells? will be run again"):
        run_cells(cells_of(deadly, 8, markers=str(tmp_path)), store, jobs=2)
    alone = ResultStore(tmp_path / "alone")  # the marker is there: nobody dies
    run_cells(cells_of(deadly, 8, markers=str(tmp_path)), alone, jobs=1)
    xr.testing.assert_equal(stacked(deadly, {}, 8, store), stacked(deadly, {}, 8, alone))


@posix
def test_a_cell_that_always_kills_its_process_is_given_up(store, capsys):
    with deaths_as_plain_lines(), pytest.raises(SweepFailed) as failed:
        run_cells(cells_of(deadly, 4), store, jobs=2)
    assert re.search(r"^in 3 rounds in a row none of \d+ cells? of .*SIGKILL", str(failed.value))
    assert study_name(deadly) in str(failed.value)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) >= 2
    assert all(line.startswith("warning: a worker process died") for line in lines)
    assert finished(store) < 4


def test_other_warnings_are_shown_as_ever(capsys):
    with pytest.warns(UserWarning, match="something else"), deaths_as_plain_lines():
        warnings.warn("something else", UserWarning, stacklevel=1)
    assert capsys.readouterr().err == ""


# --- a cluster ----------------------------------------------------------------------------------


@contextlib.contextmanager
def cluster_of(n_workers, allowed_failures=3):
    dask = pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        # dask's own, when the cluster of a test goes away: none of ours can be of this kind
        warnings.simplefilter("ignore", ResourceWarning)
        with (
            dask.config.set({"distributed.scheduler.allowed-failures": allowed_failures}),
            distributed.LocalCluster(
                n_workers=n_workers, threads_per_worker=1, processes=True, dashboard_address=":0"
            ) as cluster,
        ):
            yield cluster


class Interrupting(ResultStore):
    """A store that does something once `after` results are saved."""

    def __init__(self, directory, after, action):
        super().__init__(directory)
        self.left, self.action = after, action

    def save(self, *arguments, **options):
        path = super().save(*arguments, **options)
        self.left -= 1
        if self.left == 0:
            self.action()
        return path


@posix
def test_a_cluster_that_loses_a_worker_half_way_ends_complete_and_equal(tmp_path):
    parameters, seeds = {"train_size": 900, "prior_precisions": [0.1, 1.0]}, 10
    cells = [
        Cell(evidence.gaussian_evidence, {**parameters, "seed": seed}) for seed in range(seeds)
    ]
    with cluster_of(2) as cluster:
        victim = cluster.workers[0].pid
        store = Interrupting(tmp_path / "cluster", 3, lambda: os.kill(victim, signal.SIGKILL))
        with (
            pytest.warns(WorkerDied, match=r"worker tcp://\S+ of the cluster died; [1-9]\d* unfin"),
            workers(cluster.scheduler_address),
        ):
            run_cells(cells, store)
    assert store.left == 3 - seeds  # every cell arrived once
    alone = ResultStore(tmp_path / "alone")
    run_cells(cells, alone, jobs=1)
    xr.testing.assert_equal(
        stacked(evidence.gaussian_evidence, parameters, seeds, store),
        stacked(evidence.gaussian_evidence, parameters, seeds, alone),
    )


@posix
def test_a_cell_that_a_cluster_gives_up_is_run_again_and_then_given_up(store, tmp_path):
    with cluster_of(2, allowed_failures=0) as cluster, workers(cluster.scheduler_address):
        with pytest.warns(WorkerDied) as told:
            run_cells(cells_of(deadly, 4, markers=str(tmp_path)), store)
        assert any("given up by the cluster" in str(each.message) for each in told)
        assert stacked(deadly, {}, 4, store).sizes["seed"] == 4
        with pytest.warns(WorkerDied), pytest.raises(SweepFailed, match="3 rounds in a row"):
            run_cells(cells_of(deadly, 3), ResultStore(tmp_path / "other"))


def test_a_cluster_of_one_worker_is_used(store):
    with cluster_of(1) as cluster, workers(cluster.scheduler_address):
        run_cells(cells_of(where, 3), store, jobs=1)
        pid = cluster.workers[0].pid
    assert pid != os.getpid()
    np.testing.assert_array_equal(stacked(where, {}, 3, store).pid, [pid] * 3)


@posix
def test_a_cell_goes_on_from_its_checkpoints_on_another_worker_of_a_cluster(store):
    with cluster_of(2) as cluster, workers(cluster.scheduler_address), pytest.warns(WorkerDied):
        run_cells(cells_of(stepwise, 2, fate="killed"), store)
    assert steps_found(store)[1] == 2
    assert unfinished(store) == []


def test_a_cluster_that_goes_away_is_an_error(tmp_path):
    with cluster_of(1) as cluster:
        store = Interrupting(tmp_path, 1, cluster.close)
        with pytest.raises(SweepFailed, match="cancel"), workers(cluster.scheduler_address):
            run_cells(cells_of(slow, 9), store)
    assert 0 < finished(store) < 9


def test_a_malformed_address_is_an_error():
    pytest.importorskip("distributed")
    with pytest.raises(ValueError, match="nonsense"), workers("nonsense://nowhere"):
        pytest.fail("there is no such cluster")


def test_a_cluster_without_dask_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ValueError, match=r"wide-minima\[cluster\]"), workers("tcp://host:8786"):
        pytest.fail("there is no dask")
    with workers(None):
        pass
