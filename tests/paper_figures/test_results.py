import importlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from paper_figures import record as recording
from paper_figures import registry, results
from paper_figures.claims import Check, Criterion, Measured, judge
from paper_figures.results import Need, Options, Unavailable, is_recorded, obstacles, obtain, record
from sims import evidence
from store import datasets
from store.results import CorruptResult, ResultStore
from store.sweep import study_name

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
    assert outcomes[wanted].reason.endswith("give the folder of MNIST's IDX files with --data")
    assert outcomes[embedded].sizes["seed"] == 3
    assert wanted.is_external
    assert not embedded.is_external
    assert not external(dataset="digits").is_external


def test_results_are_keyed_by_what_the_folder_holds(options, idx_folder):
    wanted = external()
    name = datasets.identify(idx_folder)
    assert name.startswith("idx-")
    with_data = changed(options, data_dirs=[idx_folder])
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
    with_data = changed(options, data_dirs=[idx_folder])
    first = obtain([wanted], with_data)[wanted]
    images = idx_folder / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-1] + b"\x07")
    evidence._load.cache_clear()
    second = obtain([wanted], with_data)[wanted]
    assert len(list(options.store.directory.glob("workspace/*/result.nc"))) == 4
    assert first.attrs["study"] == second.attrs["study"]


def test_a_folder_without_the_files_is_refused_before_any_work(options, tmp_path):
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        obtain([need()], changed(options, data_dirs=[tmp_path]))
    assert CALLS == []


def test_recorded_results_are_found_without_the_data(options, idx_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RECORDED", tmp_path / "recorded")
    monkeypatch.setattr(datasets, "identify", lambda directory: "mnist")
    monkeypatch.setattr(evidence, "_load", lambda *_: datasets.load("digits"))
    wanted = external()
    computed = obtain([wanted], changed(options, data_dirs=[idx_folder]))[wanted]
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


def brightness(*, dataset, seed, data_dir=None):
    """A study of images that reads whatever it is given."""
    CALLS.append((dataset, seed))
    images = datasets.load(dataset, data_dir)
    return xr.Dataset({"value": float(images.images.mean())})


def images_of(dataset, **changes):
    return Need(brightness, {"dataset": dataset}, seeds=2, quick_seeds=1, **changes)


@pytest.fixture
def recorded_here(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RECORDED", tmp_path / "recorded")


@pytest.mark.parametrize("order", [1, -1])
def test_each_need_takes_the_folder_of_its_data_set(options, idx_folder, cifar_folder, order):
    gray, color = images_of("mnist"), images_of("cifar10-jpeg")
    folders = [idx_folder, cifar_folder][::order]
    outcomes = obtain([gray, color], changed(options, data_dirs=folders))
    for need, folder in ((gray, idx_folder), (color, cifar_folder)):
        name = datasets.identify(folder)
        assert outcomes[need].attrs["dataset"] == name
        mean = datasets.load(name, folder).images.mean()
        np.testing.assert_array_equal(outcomes[need].value, [mean, mean])


def test_what_no_folder_is_given_for_is_taken_as_recorded(
    options, idx_folder, cifar_folder, recorded_here
):
    gray, color = images_of("mnist"), images_of("cifar10-jpeg")
    for folder, given, lacking, files in (
        (idx_folder, gray, color, "CIFAR-10's binary version"),
        (cifar_folder, color, gray, "MNIST's IDX files"),
    ):
        outcomes = obtain([gray, color], changed(options, data_dirs=[folder]))
        assert outcomes[given].attrs["dataset"] == datasets.identify(folder)
        reason = f"not recorded; give the folder of {files} with --data"
        assert outcomes[lacking] == Unavailable(reason)
    for need in (gray, color):
        parameters = {**need.parameters, "seeds": 2}
        ResultStore(results.RECORDED).save(need.study_name, parameters, outcomes[color])
    outcomes = obtain([gray, color], changed(options, data_dirs=[cifar_folder]))
    assert "recorded" in outcomes[gray].attrs
    assert "recorded" not in outcomes[color].attrs


def test_two_folders_of_one_family_are_refused_before_any_work(options, cifar_folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for file in cifar_folder.iterdir():
        (other / file.name).write_bytes(file.read_bytes()[3073:])
    names = [datasets.identify(folder) for folder in (cifar_folder, other)]
    message = f"{cifar_folder} and {other} hold '{names[0]}' and '{names[1]}': give one folder of "
    with pytest.raises(ValueError, match=message + "CIFAR-10's binary version"):
        obtain([need()], changed(options, data_dirs=[cifar_folder, other]))
    assert CALLS == []


def test_the_ledger_names_the_data_set_that_was_read(options, idx_folder, cifar_folder):
    gray, color = images_of("mnist"), images_of("cifar10-jpeg")
    outcomes = obtain([gray, color], changed(options, data_dirs=[idx_folder, cifar_folder]))
    both = Check(
        "network",
        "MNIST and cifar10-jpeg",
        {"gray": gray, "color": color},
        [Criterion("a", low=0.0)],
        lambda data: [Measured(1.0, 0.0)],
    )
    names = [datasets.identify(folder) for folder in (idx_folder, cifar_folder)]
    assert judge(both, outcomes)["data"] == f"{names[0]} and {names[1]}, 2 seeds"
    itself = {
        gray: outcomes[gray].assign_attrs(dataset="mnist"),
        color: outcomes[color].assign_attrs(dataset="cifar10-jpeg"),
    }
    assert judge(both, itself)["data"] == "MNIST and cifar10-jpeg, 2 seeds"


# --- studies of networks ------------------------------------------------------------------------


@pytest.fixture
def without_torch(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name)
    )


@pytest.fixture
def with_gpu(monkeypatch):
    """Say whether torch finds a GPU."""
    torch = pytest.importorskip("torch")
    return lambda found: monkeypatch.setattr(torch.cuda, "is_available", lambda: found)


INSTALL = "it takes PyTorch: pip install -e '.[deep]'"


def test_a_study_by_name_is_the_study_itself(options):
    pytest.importorskip("torch")
    named, direct = need(study=study_name(counted)), need()
    assert named.function() is direct.function() is counted
    assert named.study_name == direct.study_name
    outcomes = obtain([named, direct], options)
    assert CALLS == [(2.0, 0), (2.0, 1), (2.0, 2)]
    xr.testing.assert_identical(outcomes[named], outcomes[direct])
    assert named.sped_up().function() is counted


def test_a_need_by_name_imports_nothing_before_it_is_run(options):
    name = "paper_figures.nonesuch.study"
    named = need(study=name)
    assert (named.study_name, named.is_external, named.gpu) == (name, False, False)
    with pytest.raises(ModuleNotFoundError, match="nonesuch"):
        named.function()
    assert not is_recorded(named)


def test_without_torch_networks_are_taken_as_recorded(
    options, recorded_here, without_torch, idx_folder, tmp_path
):
    name = "paper_figures.nonesuch.study"  # it is not even looked for
    named, direct = need(study=name), need()
    far = images_of("mnist", gpu=True)
    far_named = replace(far, study=name)
    every = [named, direct, far_named]
    assert list(obstacles(every, options).values()) == [
        INSTALL,
        "",
        "give the folder of MNIST's IDX files with --data",
    ]
    with_data = changed(options, data_dirs=[idx_folder])
    assert list(obstacles(every, with_data).values()) == [INSTALL, "", INSTALL]
    outcomes = obtain(every, with_data)
    assert outcomes[named] == outcomes[far_named] == Unavailable(f"not recorded; {INSTALL}")
    assert outcomes[direct].sizes["seed"] == 3
    for each in (named, far_named):
        parameters = {**each.parameters, "seeds": each.seeds}
        ResultStore(results.RECORDED).save(name, parameters, outcomes[direct])
    for quick in (False, True):
        found = obtain(every, changed(with_data, quick=quick))
        for each in (named, far_named):
            assert found[each].attrs["recorded"] == found[each].attrs["created"][:10]
            np.testing.assert_array_equal(found[each].value, outcomes[direct].value)


def test_without_a_gpu_long_runs_are_taken_as_recorded(options, recorded_here, with_gpu):
    long, short = need(gpu=True), need()
    with_gpu(False)
    assert list(obstacles([long, short], options).values()) == ["it takes a GPU", ""]
    outcomes = obtain([long], options)
    assert outcomes[long] == Unavailable("not recorded; it takes a GPU")
    assert CALLS == []
    quick = obtain([long], changed(options, quick=True))[long]  # which takes none
    np.testing.assert_array_equal(quick.value, [[0.0, 5.0]])
    assert CALLS == [(5.0, 0)]
    with_gpu(True)
    computed = obtain([long], options)[long]
    record(long, options.store)
    with_gpu(False)
    found = obtain([long], options)[long]
    assert "recorded" in found.attrs
    xr.testing.assert_equal(found, computed)


# --- results kept with the package --------------------------------------------------------------


def test_long_runs_are_kept_and_computed_only_on_demand(options, recorded_here, tmp_path):
    wanted = need(kept=True)
    computed = obtain([wanted], options)[wanted]
    assert len(CALLS) == 3  # nothing was recorded yet
    path = record(wanted, options.store)
    CALLS.clear()

    elsewhere = Options(ResultStore(tmp_path / "new"), jobs=1)
    found = obtain([wanted], elsewhere)[wanted]
    assert CALLS == []
    assert "recorded" in found.attrs
    xr.testing.assert_equal(found, computed)

    assert obtain([wanted], changed(elsewhere, quick=True))[wanted].sizes["seed"] == 1
    assert CALLS == [(5.0, 0)]
    again = obtain([wanted], changed(elsewhere, recompute=True))[wanted]
    assert CALLS[1:] == [(2.0, 0), (2.0, 1), (2.0, 2)]
    assert "recorded" not in again.attrs

    CALLS.clear()
    plain = replace(wanted, kept=False)  # recorded, but nobody said to use it
    other = need(kept=True, parameters={"scale": 3.0})  # to be used, but not recorded
    obtain([plain, other], Options(ResultStore(tmp_path / "third"), jobs=1))
    assert sorted(CALLS) == [(scale, seed) for scale in (2.0, 3.0) for seed in range(3)]

    damage(path)
    with pytest.raises(CorruptResult) as caught:
        obtain([wanted], elsewhere)
    assert str(path) in str(caught.value)


@pytest.fixture
def record_main(recorded_here, monkeypatch, tmp_path):
    """Run ``python -m paper_figures.record`` on three needs."""
    needs = [need(kept=True), images_of("mnist"), images_of("cifar10-jpeg")]
    monkeypatch.setattr(registry, "recorded", lambda: needs)
    # The names of the data sets themselves: these results are to be recorded under them.
    real = datasets.identify
    official = {"idx": "mnist", "cifar10": "cifar10-jpeg"}
    monkeypatch.setattr(datasets, "identify", lambda folder: official[real(folder).split("-")[0]])
    monkeypatch.setattr(datasets, "load", lambda *_: datasets._digits("all"))
    out = ["--out", str(tmp_path / "out"), "--jobs", "1"]
    return needs, lambda *arguments: recording.main([*out, *arguments])


def test_recording_takes_several_folders_and_skips_what_is_there(
    record_main, capsys, idx_folder, cifar_folder
):
    needs, run = record_main
    run()
    assert [is_recorded(each) for each in needs] == [True, False, False]
    assert len(CALLS) == 3
    run("--data", str(idx_folder), "--data", str(cifar_folder))
    assert all(is_recorded(each) for each in needs)
    assert sorted(CALLS[3:]) == [
        (each, seed) for each in ("cifar10-jpeg", "mnist") for seed in (0, 1)
    ]
    assert len(capsys.readouterr().out.split()) == 3
    run("--data", str(idx_folder))
    assert len(CALLS) == 7
    assert capsys.readouterr().out == ""


def test_recording_again_is_from_the_store(record_main, capsys, idx_folder):
    _, run = record_main
    run("--data", str(idx_folder))
    before = capsys.readouterr().out.split()
    assert len(before) == 2
    stamps = [os.stat(path).st_mtime_ns for path in before]
    run("--data", str(idx_folder), "--recompute")
    assert capsys.readouterr().out.split() == before
    assert [os.stat(path).st_mtime_ns for path in before] != stamps
    assert len(CALLS) == 5  # a run that was stopped goes on where it was


def test_a_data_set_that_is_not_recorded_is_refused_before_any_work(
    recorded_here, monkeypatch, capsys, idx_folder
):
    monkeypatch.setattr(registry, "recorded", lambda: [need(kept=True), images_of("mnist")])
    with pytest.raises(SystemExit) as stopped:
        recording.main(["--data", str(idx_folder)])
    assert stopped.value.code == 2
    message = f"{idx_folder} holds '{datasets.identify(idx_folder)}', of which nothing"
    assert message in capsys.readouterr().err
    assert CALLS == []


def test_jobs_reach_the_computation(record_main, monkeypatch):
    _, run = record_main
    seen = []
    monkeypatch.setattr(
        results, "run_cells", lambda cells, store, *, jobs, recompute: seen.append(jobs)
    )
    monkeypatch.setattr(results, "_stacked", lambda need, store: xr.Dataset({"value": 1.0}))
    run("--jobs", "3")
    run()
    assert seen == [3, 1]
