import json
import os
import platform
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import signac
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import store.results
from store.results import CorruptResult, ResultStore, provenance

STUDY = "sims.demo"
PARAMETERS = {"seed": 0, "rates": [0.1, 0.2], "model": {"width": 3, "bias": True}, "note": None}


def small_dataset(value=1.0):
    return xr.Dataset(
        {"loss": ("step", [value, np.nan, -0.0], {"units": "seconds", "long_name": "mean loss"})},
        coords={"step": [1, 2, 3], "kind": ("step", ["a", "bb", "é"])},
        attrs={"title": "demo"},
    )


# Round trip

texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5)
names = st.text("abcXYZ_é", min_size=1, max_size=4).map(lambda name: f"v{name}")
integers = st.integers(-(2**63), 2**63 - 1)
attribute_values = (
    st.none()
    | st.booleans()
    | integers
    | st.floats()
    | texts
    | st.lists(integers, max_size=3)
    | st.lists(texts, min_size=1, max_size=3)
)
attributes = st.dictionaries(names, attribute_values, max_size=3)


@st.composite
def generated_datasets(draw):
    sizes = {"x": draw(st.integers(0, 3)), "y": draw(st.integers(0, 2))}

    def variable():
        dims = draw(st.sampled_from([(), ("x",), ("y", "x")]))
        shape = tuple(sizes[dim] for dim in dims)
        dtype = draw(st.sampled_from(["?", "i1", "i4", ">i8", "u2", "f4", "f8", "U"]))
        if dtype == "U":
            size = int(np.prod(shape))
            strings = draw(st.lists(texts, min_size=size, max_size=size))
            values = np.array(strings, dtype=str).reshape(shape)
        else:
            values = draw(hnp.arrays(dtype, shape))
        return dims, values, draw(attributes)

    variables = {name: variable() for name in draw(st.lists(names, max_size=3, unique=True))}
    dataset = xr.Dataset(variables, attrs=draw(attributes))
    if draw(st.booleans()):
        dataset = dataset.assign_coords(x=range(sizes["x"]))
    return dataset


def as_stored(attrs):
    """What the documentation of `save` says of attributes."""
    words = {key: "None" if value is None else value for key, value in attrs.items()}
    return {key: int(value) if isinstance(value, bool) else value for key, value in words.items()}


@given(dataset=generated_datasets())
def test_round_trip(dataset):
    with TemporaryDirectory() as folder:
        results = ResultStore(folder)
        before = dataset.copy(deep=True)
        results.save(STUDY, PARAMETERS, dataset)
        loaded = results.load(STUDY, PARAMETERS)
    assert dataset.identical(before)
    assert set(loaded.variables) == set(dataset.variables)
    assert set(loaded.coords) == set(dataset.coords)
    for name, variable in dataset.variables.items():
        assert loaded[name].dims == variable.dims
        assert loaded[name].dtype.kind == variable.dtype.kind
        np.testing.assert_array_equal(loaded[name].values, variable.values)
        if variable.dtype.kind == "f":
            np.testing.assert_array_equal(np.signbit(loaded[name]), np.signbit(variable))
    for holder, given_attrs in [
        (loaded, dataset.attrs),
        *((loaded[name], variable.attrs) for name, variable in dataset.variables.items()),
    ]:
        for key, value in as_stored(given_attrs).items():
            np.testing.assert_array_equal(
                np.atleast_1d(holder.attrs[key]), np.atleast_1d(value), err_msg=key
            )


def test_units_do_not_turn_numbers_into_times(tmp_path):
    results = ResultStore(tmp_path)
    results.save(STUDY, PARAMETERS, small_dataset())
    loss = results.load(STUDY, PARAMETERS)["loss"]
    assert loss.dtype == np.float64
    assert loss.attrs == {"units": "seconds", "long_name": "mean loss"}


def test_loaded_result_can_be_changed_and_saved_again(tmp_path):
    results = ResultStore(tmp_path)
    results.save(STUDY, PARAMETERS, small_dataset())
    loaded = results.load(STUDY, PARAMETERS)
    loaded["loss"][0] = 7.0
    results.save(STUDY, PARAMETERS, loaded)
    assert results.load(STUDY, PARAMETERS)["loss"][0] == 7.0


def test_the_file_is_a_netcdf_file(tmp_path):
    path = ResultStore(tmp_path).save(STUDY, PARAMETERS, small_dataset())
    with xr.open_dataset(path, engine="netcdf4", decode_timedelta=False) as dataset:
        assert dataset["loss"][0] == 1.0


# Keys


def test_the_key_does_not_depend_on_order_or_on_numpy(tmp_path):
    path = ResultStore(tmp_path).path
    expected = path(STUDY, {"a": 1, "b": [1.5, {"c": True, "d": None}]})
    assert path(STUDY, {"b": (1.5, {"d": None, "c": True}), "a": 1}) == expected
    assert path(STUDY, {"b": [np.float64(1.5), {"d": None, "c": np.True_}], "a": np.int32(1)}) == (
        expected
    )


def test_different_cells_have_different_paths(tmp_path):
    path = ResultStore(tmp_path).path
    parameters = [{}, {"a": 1}, {"a": 1.0}, {"a": "1"}, {"a": [1]}, {"a": True}, {"b": 1}]
    paths = {path(study, each) for study in ("sims.demo", "sims.demo2") for each in parameters}
    assert len(paths) == 2 * len(parameters)


def test_signac_finds_the_result(tmp_path):
    results = ResultStore(tmp_path)
    saved = results.save(STUDY, PARAMETERS, small_dataset())
    results.save(STUDY, {**PARAMETERS, "seed": 1}, small_dataset())
    project = signac.get_project(tmp_path)
    (job,) = project.find_jobs({"study": STUDY, "parameters.seed": 0})
    assert job.statepoint() == {"study": STUDY, "parameters": PARAMETERS}
    assert Path(job.fn("result.nc")) == saved == results.path(STUDY, PARAMETERS)
    project.check()


# Absence


def test_reading_creates_nothing(tmp_path):
    results = ResultStore(tmp_path / "absent")
    results.path(STUDY, PARAMETERS)
    assert results.load(STUDY, PARAMETERS) is None
    results.remove(STUDY, PARAMETERS)
    assert os.listdir(tmp_path) == []


def test_a_read_only_store_is_readable(tmp_path):
    ResultStore(tmp_path).save(STUDY, PARAMETERS, small_dataset())
    folders = [Path(folder) for folder, _, _ in os.walk(tmp_path)]
    try:
        for folder in folders:
            folder.chmod(0o555)
        results = ResultStore(str(tmp_path))
        assert results.load(STUDY, PARAMETERS)["loss"][0] == 1.0
        assert results.load(STUDY, {"seed": 99}) is None
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_remove_and_save_again(tmp_path):
    results = ResultStore(tmp_path)
    path = results.save(STUDY, PARAMETERS, small_dataset(1.0))
    results.remove(STUDY, PARAMETERS)
    assert results.load(STUDY, PARAMETERS) is None
    results.remove(STUDY, PARAMETERS)
    assert results.save(STUDY, PARAMETERS, small_dataset(2.0)) == path
    assert results.load(STUDY, PARAMETERS)["loss"][0] == 2.0


# Damage


def assert_corrupt(results, path):
    with pytest.raises(CorruptResult, match=r"remove the file or pass --recompute") as caught:
        results.load(STUDY, PARAMETERS)
    assert str(path) in str(caught.value)


@given(data=st.data())
def test_a_truncated_or_garbled_file_is_corrupt(data):
    with TemporaryDirectory() as folder:
        results = ResultStore(folder)
        path = results.save(STUDY, PARAMETERS, small_dataset())
        content = path.read_bytes()
        place = data.draw(st.integers(0, len(content) - 1))
        flipped = content[place] ^ data.draw(st.integers(1, 255))
        for damaged in (
            content[:place],
            content[:place] + bytes([flipped]) + content[place + 1 :],
            content + content[place:],
        ):
            path.write_bytes(damaged)
            assert_corrupt(results, path)
        path.write_bytes(content)
        assert results.load(STUDY, PARAMETERS) is not None


def test_a_netcdf_file_that_was_not_saved_here_is_corrupt(tmp_path):
    results = ResultStore(tmp_path)
    path = results.save(STUDY, PARAMETERS, small_dataset())
    altered = results.load(STUDY, PARAMETERS)
    altered["loss"][0] = 2.0
    altered.to_netcdf(path, engine="netcdf4")
    assert_corrupt(results, path)


@pytest.mark.parametrize(("study", "seed"), [(STUDY, 1), ("sims.other", 0)])
def test_the_result_of_another_cell_is_corrupt(tmp_path, study, seed):
    results = ResultStore(tmp_path)
    path = results.save(STUDY, PARAMETERS, small_dataset())
    other = results.save(study, {**PARAMETERS, "seed": seed}, small_dataset())
    path.write_bytes(other.read_bytes())
    assert_corrupt(results, path)


# Many processes

RACE = """
import sys
from store.results import ResultStore
import numpy as np, xarray as xr
results = ResultStore(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
for seed in range(15):
    results.save("sims.demo", {"seed": seed}, xr.Dataset({"x": ("i", np.full(1000, seed))}))
"""


def test_two_processes_save_the_same_cells(tmp_path):
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, tmp_path / "store"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
    results = ResultStore(tmp_path / "store")
    for seed in range(15):
        assert (results.load(STUDY, {"seed": seed})["x"] == seed).all()
    assert len(signac.get_project(tmp_path / "store")) == 15


# Forks in a process of its own, so that each round costs no import. Every third round is the first
# in a new store, whose project is being made as well.
KILL = """
import os, signal, sys, time
import numpy as np, xarray as xr
from store.results import ResultStore

def save(folder, seed, value):
    dataset = xr.Dataset({"x": ("i", np.full(200_000, value))})
    ResultStore(os.path.join(sys.argv[1], folder)).save("sims.demo", {"seed": seed}, dataset)

save("warm", 0, 0)  # imports what is imported on first use
start = time.monotonic()
save("warm", 0, 0)
typical = time.monotonic() - start
random = np.random.default_rng(0)
for round in range(30):
    child = os.fork()
    if child == 0:
        while True:
            for value in range(10):
                save(str(round // 3), round, value)
    time.sleep(random.uniform(0, 4 * typical))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs fork and SIGKILL")
def test_a_killed_process_leaves_a_whole_result_or_none(tmp_path):
    subprocess.run([sys.executable, "-W", "ignore", "-c", KILL, tmp_path], check=True, timeout=60)
    found = 0
    for cell in range(30):
        results = ResultStore(tmp_path / str(cell // 3))
        loaded = results.load(STUDY, {"seed": cell})
        if loaded is not None:
            found += 1
            assert loaded["x"].size == 200_000
            assert (loaded["x"] == loaded["x"][0]).all()
        results.save(STUDY, {"seed": cell}, small_dataset())
        assert results.load(STUDY, {"seed": cell})["loss"].size == 3
        signac.get_project(results.directory).check()
    assert found > 0


# Provenance


def test_provenance_of_a_saved_result(tmp_path):
    results = ResultStore(tmp_path)
    results.save(STUDY, PARAMETERS, small_dataset(), wall_seconds=1.5)
    attrs = results.load(STUDY, PARAMETERS).attrs
    assert attrs["study"] == STUDY
    assert json.loads(attrs["parameters"]) == PARAMETERS
    assert attrs["wall_seconds"] == 1.5
    assert attrs["title"] == "demo"
    assert attrs["package_version"] == metadata.version("wide-minima")
    assert attrs["numpy_version"] == np.__version__
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", attrs["git_commit"])
    assert attrs["git_dirty"] in ("yes", "no", "unknown")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", attrs["created"])
    assert {"python_version", "scipy_version", "numba_version", "xarray_version", "device"} <= set(
        attrs
    )


def test_provenance_names_no_place():
    text = json.dumps(provenance())
    assert os.getcwd() not in text
    assert platform.node() not in text


def test_provenance_names_torch_only_where_it_is_used(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    assert "torch_version" not in provenance()
    monkeypatch.setitem(sys.modules, "torch", object())
    assert "torch_version" in provenance()


def test_provenance_outside_a_checkout(tmp_path, monkeypatch):
    monkeypatch.setattr(store.results, "__file__", str(tmp_path / "results.py"))
    store.results._checkout.cache_clear()
    try:
        assert provenance()["git_commit"] == provenance()["git_dirty"] == "unknown"
    finally:
        store.results._checkout.cache_clear()


def test_provenance_in_a_checkout(tmp_path, monkeypatch):
    def git(*arguments):
        settings = ["user.name=n", "user.email=e", "commit.gpgsign=false"]
        options = [option for setting in settings for option in ("-c", setting)]
        command = ["git", "-C", tmp_path, *options, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    code = tmp_path / "results.py"
    code.write_text("")
    git("init")
    git("add", ".")
    git("commit", "-m", "code")
    monkeypatch.setattr(store.results, "__file__", str(code))
    seen = []
    for text in ("", "changed"):
        code.write_text(text)
        store.results._checkout.cache_clear()
        seen.append((provenance()["git_commit"], provenance()["git_dirty"]))
    store.results._checkout.cache_clear()
    assert seen == [(git("rev-parse", "HEAD"), "no"), (git("rev-parse", "HEAD"), "yes")]


def test_a_copied_result_keeps_its_origin(tmp_path):
    first, second = ResultStore(tmp_path / "first"), ResultStore(tmp_path / "second")
    dataset = small_dataset().assign_attrs(device="a large GPU", created="long ago")
    first.save(STUDY, PARAMETERS, dataset, wall_seconds=3.0)
    second.save(STUDY, PARAMETERS, first.load(STUDY, PARAMETERS))
    assert second.load(STUDY, PARAMETERS).identical(first.load(STUDY, PARAMETERS))
    assert second.load(STUDY, PARAMETERS).attrs["device"] == "a large GPU"


# Mistakes


@pytest.mark.parametrize("method", ["path", "load", "save", "remove"])
@pytest.mark.parametrize(
    ("study", "parameters", "error", "message"),
    [
        (3, {}, TypeError, "study must be a string"),
        ("", {}, ValueError, "study must be a dotted name"),
        ("sims..demo", {}, ValueError, "study must be a dotted name"),
        ("../escape", {}, ValueError, "study must be a dotted name"),
        (STUDY, [("seed", 0)], TypeError, "parameters must be a mapping"),
        (STUDY, {"a": float("nan")}, ValueError, r"parameters\['a'\] must be finite, not nan"),
        (STUDY, {"a": [1.0, np.inf]}, ValueError, r"parameters\['a'\]\[1\] must be finite"),
        (STUDY, {"a": np.float32("nan")}, ValueError, "must be finite"),
        (STUDY, {"a": np.ones(2)}, TypeError, r"parameters\['a'\] must be .* not ndarray"),
        (STUDY, {"a": {"b": {1}}}, TypeError, r"parameters\['a'\]\['b'\] must be .* not set"),
        (STUDY, {"a": np.datetime64("2020-01-01")}, TypeError, "not date"),
        (STUDY, {1: 2}, TypeError, "keys of parameters must be strings, not 1"),
        (STUDY, {"a": {"b.c": 2}}, ValueError, r"keys of parameters\['a'\] must have no dot"),
    ],
)
def test_a_wrong_identity_is_refused(tmp_path, method, study, parameters, error, message):
    results = ResultStore(tmp_path)
    arguments = (small_dataset(),) if method == "save" else ()
    with pytest.raises(error, match=message):
        getattr(results, method)(study, parameters, *arguments)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("dataset", "error", "message"),
    [
        ({"x": 1}, TypeError, "dataset must be an xarray.Dataset, not dict"),
        (xr.Dataset({"x": ("i", np.array([{}]))}), TypeError, "variable 'x' must hold numbers"),
        (xr.Dataset({"x": 1j}), TypeError, "variable 'x' must hold numbers"),
        (xr.Dataset({"x": np.datetime64(0, "ns")}), TypeError, "variable 'x' must hold numbers"),
        (xr.Dataset(attrs={"a": {"b": 1}}), TypeError, "attribute 'a' must be a number"),
        (xr.Dataset(attrs={"a": [[1], [2]]}), TypeError, "attribute 'a' must be a number"),
        (xr.Dataset({"x": ((), 1.0, {"a": 2**70})}), TypeError, "attribute 'a' must be a number"),
        (xr.Dataset({"x": "a\0b"}), ValueError, "netCDF would alter"),
        (xr.Dataset({"x": ((), 1, {"dtype": "bool"})}), ValueError, "netCDF would alter"),
    ],
)
def test_what_netcdf_cannot_hold_is_refused(tmp_path, dataset, error, message):
    with pytest.raises(error, match=message):
        ResultStore(tmp_path).save(STUDY, PARAMETERS, dataset)
    assert os.listdir(tmp_path) == []
