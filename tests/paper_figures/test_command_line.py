import json
import re
import subprocess
import sys
import warnings

import pytest
import xarray as xr

from paper_figures import registry
from paper_figures.__main__ import main
from paper_figures.results import Options, obtain
from store.results import ResultStore

FIGURES = {figure.name: figure for figure in registry.figures()}
CHEAP = "smith_le_2018_invariance"  # its studies take a second


@pytest.fixture
def run(capsys, tmp_path):
    """Run the command line here, and return (status, stdout, stderr)."""

    def run(*arguments, out=tmp_path / "out"):
        try:
            status = main([*arguments, "--jobs", "1", "--out", str(out)])
        except SystemExit as stopped:
            status = stopped.code
        return status, *capsys.readouterr()

    return run


def spawn(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "paper_figures", *arguments],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
        check=False,
        **options,
    )


# --- help, list and mistakes --------------------------------------------------------------------


def test_help_imports_nothing_heavy(tmp_path):
    code = """
import sys
before = set(sys.modules)
from paper_figures.__main__ import main
try:
    main(["--help"])
except SystemExit as stopped:
    status = stopped.code
heavy = {"numpy", "scipy", "numba", "matplotlib", "xarray", "dask", "joblib", "sklearn", "tqdm"}
print(status, sorted(heavy & set(sys.modules) - before))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=True
    )
    assert done.stdout.splitlines()[-1] == "0 []"
    for option in ("--quick", "--data", "--out", "--format", "--json", "--recompute", "--cluster"):
        assert option in done.stdout
    assert not list(tmp_path.iterdir())


def test_list_names_every_figure_and_writes_nothing(run, tmp_path):
    status, out, err = run("list")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0::2] == list(FIGURES)
    assert [line.strip() for line in lines[1::2]] == [each.caption for each in FIGURES.values()]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nonesuch",), "no figure nonesuch; there are: " + ", ".join(FIGURES)),
        ((CHEAP, "nonesuch", "other"), "no figure nonesuch, other"),
        ((CHEAP, "claims"), "no figure claims"),
        (("--json",), "--json goes with 'claims'"),
        (("list", "--json"), "--json goes with 'claims'"),
        ((CHEAP, "--json"), "--json goes with 'claims'"),
        (("claims", CHEAP), "'claims' takes no names"),
        (("list", CHEAP), "'list' takes no names"),
        ((CHEAP, "--jobs", "0"), "--jobs must not be 0"),
        ((CHEAP, "--jobs", "many"), "invalid int value: 'many'"),
        ((CHEAP, "--format", "bmp"), "invalid choice: 'bmp'"),
        ((CHEAP, "--nonsense"), "unrecognized arguments: --nonsense"),
    ],
)
def test_mistakes_are_told_with_status_2(arguments, message, capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--out", str(tmp_path / "out")])
    assert stopped.value.code == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert not (tmp_path / "out").exists()


# --- figures and the ledger ---------------------------------------------------------------------


def test_a_second_run_prints_the_same_ledger_and_computes_nothing(run, quick_run):
    stored = {path: path.stat().st_mtime_ns for path in quick_run.out.rglob("result.nc")}
    assert stored
    status, out, err = run("claims", "--json", "--quick", out=quick_run.out)
    assert (status, err) == (0, "")
    rows = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert rows == quick_run.rows
    assert len(rows) == 33
    keys = "id paper where statement level data value uncertainty threshold verdict"
    assert all(row.keys() >= set(keys.split()) for row in rows)
    status, out, err = run("claims", "--quick", out=quick_run.out)
    assert (status, err) == (0, "")
    assert out.startswith("Quick run, with few seeds")
    assert all(row["id"] in out for row in rows)
    assert "33 claims: " in out
    assert {path: path.stat().st_mtime_ns for path in quick_run.out.rglob("result.nc")} == stored


def test_everything_is_drawn_into_a_pipe_in_silence(quick_run, tmp_path):
    done = spawn("--quick", "--jobs", "1", "--out", str(quick_run.out), cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert not re.search(r"[\r\x1b\b]", done.stdout)
    lines = done.stdout.splitlines()
    for name in FIGURES:
        path = quick_run.out / f"{name}.png"
        assert str(path) in lines
        assert path.read_bytes().startswith(b"\x89PNG")
    assert "33 claims: " in done.stdout
    assert not list(tmp_path.iterdir())


MAGIC = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


@pytest.mark.parametrize("suffix", MAGIC)
def test_one_figure_is_drawn_in_the_format_asked_for(run, quick_run, suffix):
    status, out, err = run(CHEAP, "--quick", "--format", suffix, out=quick_run.out)
    path = quick_run.out / f"{CHEAP}.{suffix}"
    assert (status, out.strip(), err) == (0, str(path), "")  # and no ledger
    assert path.read_bytes().startswith(MAGIC[suffix])


def test_only_what_the_named_figure_needs_is_computed(run, tmp_path):
    status, _, _ = run(CHEAP, "--quick")
    assert status == 0
    needs = FIGURES[CHEAP].needs.values()
    assert len(list(tmp_path.rglob("result.nc"))) == sum(need.quick_seeds for need in needs)
    assert [path.name for path in (tmp_path / "out").iterdir() if path.is_file()] == [
        f"{CHEAP}.png"
    ]


def test_a_figure_without_any_data_says_so(run, monkeypatch, tmp_path):
    need = next(need for need in registry.recorded())
    only_external = registry.Figure("far", "Far away.", {"mnist": need}, lambda data: None)
    monkeypatch.setattr(registry, "figures", lambda: [only_external])
    status, out, _ = run("far")
    assert status == 0
    assert out.startswith("far is not drawn: ")
    assert "--data" in out
    assert not list(tmp_path.rglob("far*"))


# --- bad files ----------------------------------------------------------------------------------


def test_an_empty_data_folder_is_an_error_that_names_the_file(run, tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    for data in (folder, tmp_path / "absent"):
        status, out, err = run(CHEAP, "--quick", "--data", str(data))
        assert (status, out) == (2, "")
        assert err.startswith("error: ")
        assert "train-images-idx3-ubyte" in err
        assert str(data) in err
        assert "Traceback" not in err
    assert not (tmp_path / "out").exists()


def test_a_truncated_data_file_is_named(run, idx_folder):
    images = idx_folder / "train-images-idx3-ubyte"
    images.write_bytes(images.read_bytes()[:-3])
    status, _, err = run("smith_le_2018_figure_1", "--quick", "--data", str(idx_folder))
    assert status == 2
    assert str(images) in err
    assert "truncated" in err
    assert len(err.splitlines()) == 1


def test_a_data_set_that_is_too_small_is_refused(run, idx_folder):
    status, _, err = run("smith_le_2018_figure_1", "--quick", "--data", str(idx_folder))
    assert status == 2
    assert re.search(r"needs 5400 images of class 0; the data set has 20", err)


def test_a_damaged_result_is_named_and_recomputed_on_demand(run, tmp_path):
    assert run(CHEAP, "--quick")[0] == 0
    path = sorted(tmp_path.rglob("result.nc"))[0]
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    drawn = (tmp_path / "out" / f"{CHEAP}.png").stat().st_mtime_ns
    status, out, err = run(CHEAP, "--quick")
    assert (status, out) == (1, "")
    assert str(path) in err
    assert "--recompute" in err
    assert len(err.splitlines()) == 1
    assert (tmp_path / "out" / f"{CHEAP}.png").stat().st_mtime_ns == drawn
    status, out, err = run(CHEAP, "--quick", "--recompute")
    assert (status, err) == (0, "")
    assert run(CHEAP, "--quick")[0] == 0


def test_an_output_folder_that_is_a_file_is_an_error(run, tmp_path):
    (tmp_path / "file").write_text("")
    status, _, err = run(CHEAP, "--quick", out=tmp_path / "file")
    assert status == 2
    assert str(tmp_path / "file") in err


# --- a cluster ----------------------------------------------------------------------------------


def test_a_cluster_gives_the_same_results(run, tmp_path, quick_run):
    distributed = pytest.importorskip("distributed")
    with warnings.catch_warnings():
        # dask's own, when the cluster of a test goes away: none of ours can be of these kinds
        warnings.simplefilter("ignore", ResourceWarning)
        with distributed.LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            processes=True,
            dashboard_address=":0",
        ) as cluster:
            status, out, _ = run(CHEAP, "--quick", "--cluster", cluster.scheduler_address)
    assert status == 0
    assert out.strip().endswith(f"{CHEAP}.png")
    needs = list(FIGURES[CHEAP].needs.values())
    remote = obtain(needs, Options(ResultStore(tmp_path / "out" / "results"), quick=True, jobs=1))
    for need in needs:
        xr.testing.assert_equal(remote[need], quick_run.outcomes[need])
