import contextlib
import importlib
import inspect
import json
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
import xarray as xr

import sims
import sims.__main__ as command_line
from sims import evidence
from sims.__main__ import main
from store import datasets
from store.results import ResultStore
from store.sweep import SweepFailed, WorkerDied, stacked

TOPICS = (
    "evidence",
    "noise_scale",
    "memorization",
    "interpolation",
    "capacity",
    "smoothout",
    "bad_minima",
)
STUDIES = {
    f"{topic}.{study.__name__}": study
    for topic in TOPICS
    for study in importlib.import_module(f"sims.{topic}").STUDIES
}
CHEAP = "evidence.laplace_quadrature"
CALLS = []


def probe(
    *,
    count=3,
    rate=0.5,
    rates=(0.1, 1.0),
    words=("a", "b"),
    pairs=((0.5, 1), (0.1, 4)),
    dataset="digits",
    flag=False,
    anything=None,
    seed=0,
    data_dir=None,
):
    """Tell what it is called with: 100 % of it.

    And nothing else.
    """
    CALLS.append({name: value for name, value in locals().items() if name != "seed"})
    if count < 0:
        raise ValueError(f"count must not be negative, got {count}")
    if dataset == "deadly":
        raise SweepFailed("they died")
    return xr.Dataset({"product": ("rate", [rate * seed for rate in rates], {"units": "nat"})})


@pytest.fixture(autouse=True)
def probe_is_a_study(monkeypatch):
    CALLS.clear()
    module = types.ModuleType("sims.probes")
    module.STUDIES = (probe,)
    monkeypatch.setitem(sys.modules, "sims.probes", module)
    monkeypatch.setattr(sims, "probes", module, raising=False)
    monkeypatch.setattr(command_line, "TOPICS", (*command_line.TOPICS, "probes"))


@pytest.fixture
def run(capsys, tmp_path):
    """Run a study here, and return (status, stdout, stderr)."""

    def run(name, *arguments):
        options = ["--jobs", "1", "--store", str(tmp_path / "store")]
        try:
            status = main(["run", name, *arguments, *options])
        except SystemExit as stopped:
            status = stopped.code
        return status, *capsys.readouterr()

    return run


# --- help, list and mistakes --------------------------------------------------------------------


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["list", "--help"], ["run"]])
def test_help_and_usage_import_nothing_heavy(arguments, tmp_path):
    code = f"""
import sys
before = set(sys.modules)
from sims.__main__ import main
try:
    main({arguments!r})
except SystemExit as stopped:
    status = stopped.code
heavy = {{"numpy", "scipy", "numba", "xarray", "dask", "joblib", "sklearn", "tqdm"}}
print(status, sorted(heavy & set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines()[-1] == f"{2 if arguments == ['run'] else 0} []"
    if arguments == ["run", "--help"]:
        for option in ("--seeds", "--jobs", "--cluster", "--data", "--store", "--out FILE.nc"):
            assert option in done.stdout
    assert not list(tmp_path.iterdir())


def test_list_names_every_study_with_its_parameters(capsys):
    assert main(["list"]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    names = [line for line in out.splitlines() if not line.startswith(" ")]
    assert names == [*STUDIES, "probes.probe"]
    for name, study in STUDIES.items():
        assert f"\n{name}\n    {inspect.getdoc(study).splitlines()[0]}\n    --" in f"\n{out}"
    assert "    Compare Laplace's log evidence with two Monte-Carlo ground truths.\n" in out
    assert out.endswith(
        "probes.probe\n    Tell what it is called with: 100 % of it.\n"
        "    --count 3 --rate 0.5 --rates 0.1,1.0 --words a,b --pairs '[[0.5,1],[0.1,4]]' "
        "--dataset digits\n    --flag false --anything null\n"
    )
    assert "--seed" not in out
    assert "--data-dir" not in out


def test_help_of_a_study_tells_of_its_parameters(run):
    status, out, err = run("probes.probe", "--help")
    assert (status, err) == (0, "")
    assert "--rates VALUE" in out
    assert "default: 0.1,1.0" in out
    assert "--seeds N" in out
    assert "Tell what it is called with: 100 % of it.\n\nAnd nothing else." in out
    status, out, _ = run("evidence.linear_memorization", "--help")
    assert status == 0
    assert "--train-size VALUE, --train_size VALUE" in out
    assert "Even numbers of images." in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "required: COMMAND"),
        (("walk",), "invalid choice: 'walk'"),
        (("list", "more"), "unrecognized arguments: more"),
        (("run",), "required: NAME"),
        (("run", "nonesuch"), "no study nonesuch; there are: evidence.linear_memorization, "),
        (
            ("run", "rescaling"),
            "several studies are called rescaling; there are: evidence.rescaling, "
            "smoothout.rescaling",
        ),
        (("run", "probes.probe", "--cuont", "4"), "unknown --cuont 4; the study's parameters are "),
        (("run", "probes.probe", "--coun", "4"), "--count, --rate, --rates, --words, --pairs, "),
        (("run", "probes.probe", "--seed", "4"), "unknown --seed 4"),
        (("run", "probes.probe", "4"), "unknown 4"),
        (("run", "probes.probe", "--count"), "expected one argument"),
        (("run", "probes.probe", "--count", "many"), "must be like 3, not many"),
        (("run", "probes.probe", "--count", "3.5"), "must be like 3, not 3.5"),
        (("run", "probes.probe", "--count", "true"), "must be like 3, not true"),
        (("run", "probes.probe", "--count", "1,2"), "must be like 3, not 1,2"),
        (("run", "probes.probe", "--rate", "null"), "must be like 0.5, not null"),
        (("run", "probes.probe", "--rates", "0.1,x"), "must be like 0.1, not x"),
        (("run", "probes.probe", "--rates", "[0.1,[1]]"), "must be like 0.1, not 1"),
        (("run", "probes.probe", "--pairs", "[[1,2.5]]"), "must be like 1, not 2.5"),
        (("run", "probes.probe", "--flag", "1"), "must be like false, not 1"),
        (("run", "probes.probe", "--rate", "NaN"), "parameters['rate'] must be finite, not nan"),
        (("run", "probes.probe", "--seeds", "0"), "--seeds must be at least 1"),
        (("run", "probes.probe", "--seeds", "few"), "invalid int value: 'few'"),
        (("run", "probes.probe", "--jobs", "0"), "--jobs must not be 0"),
        (("run", "probes.probe", "--out", "file.txt"), "--out must end in .nc, not be file.txt"),
        (("run", "probes.probe", "--out", "folder.nc"), "--out must be a file: folder.nc"),
        (("run", "probes.probe", "--out", "file/result.nc"), "file"),
        (("run", "probes.probe", "--store", "file"), "file"),
        (("run", "probes.probe", "--cluster", "nonsense://x"), "nonsense"),
        (("run", "probes.probe", "--data", "folder.nc"), "folder.nc has no data set that is known"),
        (("run", CHEAP, "--data", "folder.nc"), f"{CHEAP} reads no data: it takes no --data"),
    ],
)
def test_mistakes_are_told_with_status_2_before_any_work(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.nc").mkdir()
    (tmp_path / "file").write_text("")
    try:
        status = main(arguments)
    except SystemExit as stopped:
        status = stopped.code
    out, err = capsys.readouterr()
    assert status == 2
    assert "error: " in err
    assert message in err
    assert "Traceback" not in err
    assert out == ""
    assert CALLS == []
    assert {path.name for path in tmp_path.iterdir()} == {"folder.nc", "file"}


def test_a_folder_that_is_read_only_is_refused_before_any_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    status, _, err = run("probes.probe", "--out", str(tmp_path / "a.nc"))
    assert status == 2
    assert f"{tmp_path} is read-only" in err
    assert CALLS == []


def test_what_a_study_refuses_is_told_in_one_line(run):
    status, out, err = run("probes.probe", "--count=-1")
    assert (status, out, err) == (2, "", "error: count must not be negative, got -1\n")
    status, _, err = run("evidence.linear_memorization", "--dataset", "mnist")
    assert status == 2
    assert err.startswith("error: directory must be given: 'mnist'")


def test_a_sweep_that_fails_ends_with_status_1(run):
    assert run("probes.probe", "--dataset", "deadly") == (1, "", "error: they died\n")


def test_a_damaged_result_ends_with_status_1_and_is_recomputed_on_demand(run, tmp_path):
    assert run(CHEAP)[0] == 0
    (path,) = tmp_path.rglob("result.nc")
    path.write_bytes(path.read_bytes()[:-100])
    status, out, err = run(CHEAP)
    assert (status, out) == (1, "")
    assert str(path) in err
    assert "--recompute" in err
    assert run(CHEAP, "--recompute")[0] == 0
    assert run(CHEAP)[0] == 0


# --- parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "changed"),
    [
        ((), {}),
        (("--count", "4"), {"count": 4}),
        (("--count=-0",), {"count": 0}),
        (("--rate", "2"), {"rate": 2.0}),
        (("--rate", "1e-3"), {"rate": 1e-3}),
        (("--rates", "1,2.5"), {"rates": [1.0, 2.5]}),
        (("--rates", "[1, 2.5]"), {"rates": [1.0, 2.5]}),
        (("--rates", "3"), {"rates": [3.0]}),
        (("--words", "c"), {"words": ["c"]}),
        (("--words", "c,d"), {"words": ["c", "d"]}),
        (("--pairs", "[[1, 2]]"), {"pairs": [[1.0, 2]]}),
        (("--dataset", "12"), {"dataset": "12"}),
        (("--flag", "true"), {"flag": True}),
        (("--anything", "null"), {"anything": None}),
        (("--anything", "7,x"), {"anything": [7, "x"]}),
        (("--anything", '{"a": [1]}'), {"anything": {"a": [1]}}),
        (("--anything", "word"), {"anything": "word"}),
    ],
)
def test_parameters_are_read_as_their_defaults_are(run, arguments, changed):
    assert run("probes.probe", *arguments)[0] == 0
    (called,) = CALLS
    expected = {
        "count": 3,
        "rate": 0.5,
        "rates": (0.1, 1.0),
        "words": ("a", "b"),
        "pairs": ((0.5, 1), (0.1, 4)),
        "dataset": "digits",
        "flag": False,
        "anything": None,
        "data_dir": None,
        **changed,
    }
    assert {name: repr(value) for name, value in called.items()} == {
        name: repr(value) for name, value in expected.items()
    }


def test_hyphens_and_underscores_are_the_same_and_options_may_stand_before_the_name(
    capsys, tmp_path
):
    results = []
    for arguments in (
        ["--seeds", "2", CHEAP, "--train-sizes", "6"],
        [CHEAP, "--train_sizes", "[6]", "--seeds", "2"],
    ):
        out = tmp_path / f"{len(results)}.nc"
        store = ["--store", str(tmp_path / "store"), "--jobs", "1", "--out", str(out)]
        assert main(["run", *store, *arguments]) == 0
        results.append(xr.load_dataset(out))
    capsys.readouterr()
    xr.testing.assert_identical(*results)
    assert len(list(tmp_path.rglob("result.nc"))) == 2


QUICK = """
evidence.linear_memorization evidence.laplace_quadrature evidence.gaussian_evidence
evidence.rescaling evidence.nonlinear_coordinates noise_scale.two_batch_estimates
memorization.depths memorization.construction interpolation.interpolant_hessians
capacity.network_sizes smoothout.smoothed_landscapes smoothout.merging smoothout.symmetric_points
"""


@pytest.mark.parametrize("name", QUICK.split())
def test_studies_can_be_run_as_they_stand(name, run):
    status, out, err = run(name)
    assert (status, err) == (0, "")
    assert f"{STUDIES[name].__module__}.{STUDIES[name].__name__}" in out


@pytest.mark.parametrize(
    ("name", "arguments", "sizes"),
    [
        ("memorization.memorization", "--sizes 20,30 --n-features 2", {"n": 2, "n_features": 1}),
        ("memorization.conditioning", "--sizes 9 --interleavings 0,0.5", {"interleave": 2}),
        ("memorization.cost", "--sizes 30 --repeats 1 --n-features 2", {"task": 5}),
        ("interpolation.sgd_limit", "--epochs 5 --looks 5 --start-norms 0", {"epoch": 5}),
        ("interpolation.kernel_interpolation", "--train-size 40 --test-size 9", {"labels": 2}),
        ("capacity.cover_curve", "--n-features 3 --draws 5", {"n_features": 1}),
        ("capacity.stability", "--train-size 40 --replacements 5", {"labels": 2}),
        ("smoothout.smoothed_landscapes", "--strengths 0.2,1 --points 7", {"x": 7, "a": 2}),
        ("smoothout.rescaling", "--scales 1,3 --draws 9", {"form": 2, "scale": 2}),
        ("smoothout.filter_rule", "--filters 5 --draws 9", {"filter": 5}),
        ("bad_minima.linear_control", "--cases [[1,0.0],[2,0.5]] --draws 3", {"case": 2}),
    ],
)
def test_studies_take_their_parameters_from_the_command_line(name, arguments, sizes, run, tmp_path):
    out = tmp_path / "result.nc"
    status, _, err = run(name, *arguments.split(), "--out", str(out))
    assert (status, err) == (0, "")
    found = xr.load_dataset(out).sizes
    assert found["seed"] == 1
    assert {dim: found[dim] for dim in sizes} == sizes


def test_every_topic_has_its_studies():
    assert command_line.TOPICS[:-1] == TOPICS  # the last is the probe's
    for topic in TOPICS:
        assert any(name.startswith(f"{topic}.") for name in STUDIES)


def test_every_study_has_defaults():
    for study in STUDIES.values():
        assert not [
            name
            for name, parameter in inspect.signature(study).parameters.items()
            if parameter.default is inspect.Parameter.empty
        ]


# --- results ------------------------------------------------------------------------------------


def test_the_file_holds_all_seeds(run, tmp_path):
    out = tmp_path / "new" / "folder" / "result.nc"
    status, printed, err = run(CHEAP, "--seeds", "3", "--train-sizes", "6,9", "--out", str(out))
    assert (status, printed, err) == (0, f"{out}\n", "")
    assert [path.name for path in out.parent.iterdir()] == ["result.nc"]
    parameters = {"train_sizes": [6, 9], "prior_precision": 1.0}
    expected = stacked(evidence.laplace_quadrature, parameters, 3, ResultStore(tmp_path / "store"))
    result = xr.load_dataset(out)
    xr.testing.assert_identical(result, expected)
    assert json.loads(result.attrs["parameters"]) == parameters
    for seed in range(3):
        direct = evidence.laplace_quadrature(**parameters, seed=seed)
        np.testing.assert_allclose(result.error.sel(seed=seed), direct.error, rtol=1e-9)


def test_without_a_file_the_result_is_summarized(run, tmp_path):
    status, out, err = run(CHEAP, "--seeds", "2")
    assert (status, err) == (0, "")
    assert "seed: 2, train_size: 2" in out
    assert str(tmp_path / "store") in out


def test_what_is_there_is_not_computed_again(run):
    for seeds, calls in (("2", 2), ("3", 3), ("1", 3)):
        assert run("probes.probe", "--seeds", seeds)[0] == 0
        assert len(CALLS) == calls
    assert run("probes.probe", "--seeds", "3", "--recompute")[0] == 0
    assert len(CALLS) == 6


def test_external_data_are_known_by_their_content(run, tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, "identify", lambda folder: f"content of {folder}")
    assert run("probes.probe", "--data", "there")[0] == 0
    assert (CALLS[-1]["dataset"], CALLS[-1]["data_dir"]) == ("content of there", "there")
    assert run("probes.probe", "--data", "there", "--dataset", "mnist")[0] == 0
    assert CALLS[-1]["dataset"] == "mnist"
    store = ResultStore(tmp_path / "store")
    states = [json.loads(path.read_text()) for path in store.directory.rglob("*statepoint.json")]
    assert sorted(state["parameters"]["dataset"] for state in states) == [
        "content of there",
        "mnist",
    ]
    assert not any("data_dir" in state["parameters"] for state in states)


def test_a_cluster_gets_its_address_and_deaths_are_plain_lines(run, monkeypatch):
    addresses = []

    @contextlib.contextmanager
    def workers(address):
        import warnings

        addresses.append(address)
        warnings.warn(WorkerDied("one died"), stacklevel=1)
        yield

    monkeypatch.setattr("store.sweep.workers", workers)
    status, _, err = run("probes.probe", "--cluster", "tcp://host:8786")
    assert (status, err) == (0, "warning: one died\n")
    assert addresses == ["tcp://host:8786"]


# --- a run that is killed -----------------------------------------------------------------------


@pytest.mark.skipif(os.name != "posix", reason="needs SIGKILL")
def test_a_killed_run_goes_on_where_it_was_in_silence(tmp_path):
    seeds = 30
    command = [sys.executable, "-m", "sims", "run", "evidence.gaussian_evidence", "--jobs", "1"]
    command += ["--train-size", "150", "--seeds", str(seeds), "--out", "result.nc"]

    def found():
        paths = (tmp_path / "out" / "results").glob("workspace/*/result.nc")
        return {path: path.stat().st_mtime_ns for path in paths}

    process = subprocess.Popen(command, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while len(found()) < 3 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = found()
    assert 3 <= len(before) < seeds
    assert not (tmp_path / "result.nc").exists()

    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True
    )
    assert (done.stdout, done.stderr) == ("result.nc\n", "")
    after = found()
    assert len(after) == seeds
    assert before.items() <= after.items()
    result = xr.load_dataset(tmp_path / "result.nc")
    np.testing.assert_array_equal(result.seed, np.arange(seeds))
    direct = evidence.gaussian_evidence(train_size=150, seed=seeds - 1)
    np.testing.assert_allclose(result.exact.isel(seed=-1), direct.exact, rtol=1e-12)
