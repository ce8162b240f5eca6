import os
import signal
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import xarray as xr

from paper_figures import results
from paper_figures.results import Need, Options, Unavailable, obtain, record
from sims import evidence
from store import datasets
from store.results import CorruptResult, ResultStore

CALLS = []
FAILS_AT = set()


def counted(*, scale, seed):
    """A study that tells when it runs, and fails where it is told to."""
    CALLS.append((scale, seed))
    if seed in FAILS_AT:
        raise RuntimeError(f"stopped at seed {seed}")
    return xr.Dataset(
        {"value": ("x", [scale * seed, scale], {"units": "nat", "long_name": "a value"})},
        coords={"x": ("x", [1.0, 2.0], {"units": "m"})},
        attrs={"origin": "a test"},
    )


@pytest.fixture(autouse=True)
def no_calls():
    CALLS.clear()
    FAILS_AT.clear()


@pytest.fixture
def options(tmp_path):
    return Options(ResultStore(tmp_path / "results"), jobs=1)


def changed(options, **changes):
    return Options(**{**vars(options), **changes})


def need(**changes):
    return Need(
        **{
            "study": counted,
            "parameters": {"scale": 2.0},
            "seeds": 3,
            "quick_seeds": 1,
            "quick": {"scale": 5.0},
            **changes,
        }
    )


def test_only_what_is_missing_is_computed(options):
    small, large = need(seeds=2), need(seeds=4)
    obtain([small], options)
    assert CALLS == [(2.0, 0), (2.0, 1)]
    first = obtain([large], options)[large]
    assert CALLS[2:] == [(2.0, 2), (2.0, 3)]
    again = obtain([small, large], options)
    assert len(CALLS) == 4
    xr.testing.assert_identical(again[large], first)
    assert again[small].sizes["seed"] == 2


def test_needs_that_share_cells_compute_them_once(options):
    needs = [need(), need(), need(seeds=2)]
    outcomes = obtain(needs, options)
    assert sorted(CALLS) == [(2.0, 0), (2.0, 1), (2.0, 2)]
    assert [outcomes[each].sizes["seed"] for each in needs] == [3, 3, 2]


def test_seeds_are_stacked_in_their_order(options):
    wanted = need(seeds=12)
    result = obtain([wanted], options)[wanted]
    assert result.value.dims == ("seed", "x")
    np.testing.assert_array_equal(result.value.sel(x=1.0), 2.0 * np.arange(12))
    np.testing.assert_array_equal(result.seed, np.arange(12))
    np.testing.assert_array_equal(result.x, [1.0, 2.0])


def test_attributes_and_wall_time_are_kept(options):
    wanted = need()
    result = obtain([wanted], options)[wanted]
    assert result.value.attrs == {"units": "nat", "long_name": "a value"}
    assert result.x.attrs == {"units": "m"}
    assert result.attrs["origin"] == "a test"
    assert result.attrs["study"] == wanted.study_name
    assert result.attrs["numpy_version"] == np.__version__
    assert result.attrs["created"]
    seconds = [
        options.store.load(wanted.study_name, {"scale": 2.0, "seed": seed}).attrs["wall_seconds"]
        for seed in range(3)
    ]
    assert all(each > 0 for each in seconds)
    assert result.attrs["wall_seconds"] == pytest.approx(sum(seconds))


def test_a_quick_run_uses_the_small_parameters(options):
    wanted = need()
    quick = obtain([wanted], changed(options, quick=True))[wanted]
    assert CALLS == [(5.0, 0)]
    assert quick.sizes["seed"] == 1
    np.testing.assert_array_equal(quick.value, [[0.0, 5.0]])
    assert obtain([wanted], options)[wanted].sizes["seed"] == 3
    assert sorted(CALLS[1:]) == [(2.0, 0), (2.0, 1), (2.0, 2)]


def test_a_failed_run_keeps_what_was_finished(options):
    wanted = need(seeds=5)
    FAILS_AT.add(3)
    with pytest.raises(RuntimeError, match="stopped at seed 3"):
        obtain([wanted], options)
    FAILS_AT.clear()
    CALLS.clear()
    assert obtain([wanted], options)[wanted].sizes["seed"] == 5
    assert CALLS == [(2.0, 3), (2.0, 4)]


def damage(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def test_a_damaged_cell_is_named_and_can_be_recomputed(options):
    wanted = need()
    before = obtain([wanted], options)[wanted]
    path = options.store.path(wanted.study_name, {"scale": 2.0, "seed": 1})
    damage(path)
    CALLS.clear()
    with pytest.raises(CorruptResult) as caught:
        obtain([wanted], options)
    assert str(path) in str(caught.value)
    assert "--recompute" in str(caught.value)
    assert CALLS == []
    after = obtain([wanted], changed(options, recompute=True))[wanted]
    assert CALLS == [(2.0, 0), (2.0, 1), (2.0, 2)]
    xr.testing.assert_equal(after, before)
    obtain([wanted], options)
    assert len(CALLS) == 3


# --- a real study, killed -----------------------------------------------------------------------

SEEDS = 40


def slow_need():
    return Need(
        evidence.gaussian_evidence,
        {"train_size": 150, "n_features": 4, "prior_precisions": [0.1, 1.0, 10.0]},
        seeds=SEEDS,
        quick_seeds=1,
    )


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_run_goes_on_where_it_was(tmp_path, options, monkeypatch):
    code = f"""
        from paper_figures.results import Need, Options, obtain
        from sims import evidence
        from store.results import ResultStore
        need = Need(
            evidence.gaussian_evidence,
            {dict(slow_need().parameters)!r},
            seeds={SEEDS},
            quick_seeds=1,
        )
        obtain([need], Options(ResultStore({str(options.store.directory)!r}), jobs=1))
    """
    process = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path)
    finished = []
    deadline = time.monotonic() + 120
    while len(finished) < 3 and process.poll() is None and time.monotonic() < deadline:
        finished = list(options.store.directory.glob("workspace/*/result.nc"))
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    finished = {
        path: path.stat().st_mtime_ns
        for path in options.store.directory.glob("workspace/*/result.nc")
    }
    assert 3 <= len(finished) < SEEDS

    saved = []
    original = ResultStore.save
    monkeypatch.setattr(
        ResultStore,
        "save",
        lambda *args, **more: saved.append(original(*args, **more)) or saved[-1],
    )
    wanted = slow_need()
    result = obtain([wanted], options)[wanted]
    assert len(saved) == SEEDS - len(finished)
    assert not finished.keys() & set(saved)
    assert {path: path.stat().st_mtime_ns for path in finished} == finished
    for seed in (0, SEEDS - 1):
        fresh = evidence.gaussian_evidence(**wanted.parameters, seed=seed)
        for name in fresh.data_vars:
            np.testing.assert_allclose(result[name].isel(seed=seed), fresh[name], rtol=1e-12)


def test_processes_give_the_same_bits_as_none(tmp_path):
    wanted = Need(
        evidence.laplace_quadrature,
        {"train_sizes": [5, 9], "prior_precision": 1.0},
        seeds=4,
        quick_seeds=1,
    )
    one, two = (
        obtain([wanted], Options(ResultStore(tmp_path / str(jobs)), jobs=jobs))[wanted]
        for jobs in (1, 2)
    )
    np.testing.assert_array_equal(one.error, two.error)


# --- external data ------------------------------------------------------------------------------


def external(**changes):
    parameters = {
        "dataset": "mnist",
        "classes": [0, 1],
        "train_size": 8,
        "test_size": 10,
        "prior_precisions": [0.1, 10.0],
    }
    return Need(evidence.linear_memorization, {**parameters, **changes}, seeds=2, quick_seeds=1)


def test_external_data_are_unavailable_without_their_folder(options):
    wanted, embedded = external(), need()
    outcomes = obtain([wanted, embedded], options)
    assert isinstance(outcomes[wanted], Unavailable)
    assert "--data" in outcomes[wanted].reason
    assert outcomes[embedded].sizes["seed"] == 3
    assert wanted.is_external
    assert not embedded.is_external
    assert not external(dataset="digits").is_external


def test_results_are_keyed_by_what_the_folder_holds(options, idx_folder):
    wanted = external()
    name = datasets.identify(idx_folder)
    assert name.startswith("idx-")
    with_data = changed(options, data_dir=idx_folder)
    result = obtain([wanted], with_data)[wanted]
    direct = evidence.linear_memorization(
        **{**wanted.parameters, "dataset": name}, seed=1, data_dir=str(idx_folder)
    )
    xr.testing.assert_equal(result.isel(seed=1, drop=True), direct)
    own = {**wanted.parameters, "seed": 0}
    assert options.store.load(wanted.study_name, {**own, "dataset": name}) is not None
    assert options.store.load(wanted.study_name, own) is None
    for path in options.store.directory.rglob("*"):  # where the data lay is nobody's business
        assert path.is_dir() or str(idx_folder).encode() not in path.read_bytes()


def test_other_files_are_another_data_set(options, idx_folder):
    wanted = external()
    with_data = changed(options, data_dir=idx_folder)
    first = obtain([wanted], with_data)[wanted]
    images = idx_folder / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1] + b"\x07")
    evidence._load.cache_clear()
    second = obtain([wanted], with_data)[wanted]
    assert len(list(options.store.directory.glob("workspace/*/result.nc"))) == 4
    assert first.attrs["study"] == second.attrs["study"]


def test_a_folder_without_the_files_is_refused_before_any_work(options, tmp_path):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        obtain([need()], changed(options, data_dir=tmp_path))
    assert CALLS == []


def test_recorded_results_are_found_without_the_data(options, idx_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(datasets, "identify", lambda directory: "mnist")
    monkeypatch.setattr(evidence, "_load", lambda *_: datasets.load("digits"))
    wanted = external()
    computed = obtain([wanted], changed(options, data_dir=idx_folder))[wanted]
    path = record(wanted, options.store)
    assert path.is_relative_to(tmp_path / "recorded")
    for quick in (False, True):
        found = obtain([wanted], Options(ResultStore(tmp_path / "new"), quick=quick))[wanted]
        xr.testing.assert_equal(found, computed)
        assert found.sizes["seed"] == 2
        assert found.attrs["wall_seconds"] == computed.attrs["wall_seconds"]
    assert isinstance(obtain([external(test_size=4)], options).popitem()[1], Unavailable)
    damage(path)
    with pytest.raises(CorruptResult) as caught:
        obtain([wanted], options)
    assert str(path) in str(caught.value)
