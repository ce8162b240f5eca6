import json
import re
import subprocess
import sys
import types
import warnings

import numpy as np
import pytest
import xarray as xr

from paper_figures import registry
from paper_figures.__main__ import main
from paper_figures.claims import Check, Claim, Criterion
from paper_figures.results import Need, Options, obtain
from store.results import ResultStore

FIGURES = {figure.name: figure for figure in registry.figures()}
PAPER = "smith_le_2018"
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
heavy = set("numpy scipy numba matplotlib xarray dask joblib sklearn tqdm torch".split())
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
        (
            ("nonesuch",),
            "no figure or paper nonesuch; there are: " + ", ".join([*registry.PAPERS, *FIGURES]),
        ),
        ((CHEAP, "nonesuch", "other"), "no figure or paper nonesuch, other; there are: "),
        ((CHEAP, "claims"), "no figure or paper claims; there are: "),
        (("claims", CHEAP), f"no paper {CHEAP}; there are: " + ", ".join(registry.PAPERS)),
        (("claims", PAPER, "list"), "no paper list; there are: "),
        (("--json",), "--json goes with 'claims'"),
        (("list", "--json"), "--json goes with 'claims'"),
        ((CHEAP, "--json"), "--json goes with 'claims'"),
        ((PAPER, "--json"), "--json goes with 'claims'"),
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
    assert len(rows) == 117
    keys = "id paper where statement level data value uncertainty threshold verdict"
    assert all(row.keys() >= set(keys.split()) for row in rows)
    status, out, err = run("claims", "--quick", out=quick_run.out)
    assert (status, err) == (0, "")
    assert out.startswith("Quick run, with few seeds")
    assert all(row["id"] in out for row in rows)
    assert "117 claims: " in out
    assert {path: path.stat().st_mtime_ns for path in quick_run.out.rglob("result.nc")} == stored


def test_a_paper_is_drawn_into_a_pipe_in_silence(quick_run, tmp_path):
    done = spawn("liu_2020", "--quick", "--jobs", "1", "--out", str(quick_run.out), cwd=tmp_path)
    assert done.returncode == 0
    assert done.stderr == ""
    assert not re.search(r"[\r\x1b\b]", done.stdout)
    lines = done.stdout.splitlines()
    for figure in registry.figures("liu_2020"):
        path = quick_run.out / f"{figure.name}.png"
        assert str(path) in lines
        assert path.read_bytes().startswith(b"\x89PNG")
    assert f"{len(registry.claims('liu_2020'))} claims: " in done.stdout
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


@pytest.fixture
def two_papers(monkeypatch):
    """A first and a second paper, of one figure and one claim each, of which nothing is here."""
    for name in ("first", "second"):
        need = Need(np.empty, {"dataset": "mnist", "paper": name}, seeds=1, quick_seeds=1)
        check = Check("theory", "MNIST", {"x": need}, [Criterion("a", low=0.0)], lambda data: [])
        paper = types.SimpleNamespace(
            FIGURES=[registry.Figure(f"{name}_figure", "Nothing.", {"x": need}, lambda data: None)],
            CLAIMS=[Claim(f"{name}:C1", name, "page 1", "So it is.", [check])],
        )
        monkeypatch.setitem(sys.modules, f"paper_figures.{name}", paper)
    monkeypatch.setattr(registry, "PAPERS", ("first", "second"))


@pytest.mark.parametrize(
    ("names", "drawn", "judged"),
    [
        ((), ["first", "second"], ["first", "second"]),
        (("second",), ["second"], ["second"]),
        (("second", "first"), ["second", "first"], ["second", "first"]),
        (("second_figure",), ["second"], []),
        (("first", "first_figure", "first"), ["first"], ["first"]),
        (("second_figure", "first"), ["second", "first"], ["first"]),
        (("claims",), [], ["first", "second"]),
        (("claims", "second"), [], ["second"]),
        (("claims", "second", "first"), [], ["second", "first"]),
    ],
)
def test_papers_stand_for_their_figures_and_claims(run, two_papers, names, drawn, judged):
    status, out, err = run(*names)
    assert (status, err) == (0, "")
    assert re.findall(r"^(\w+)_figure is not drawn", out, re.MULTILINE) == drawn
    assert re.findall(r"^(\w+):C1 \(page 1\)", out, re.MULTILINE) == judged


def test_the_claims_of_one_paper_as_json(run, two_papers):
    status, out, _ = run("claims", "second", "--json")
    assert status == 0
    assert [row["id"] for row in json.loads(out)] == ["second:C1"]


def test_a_figure_without_any_data_says_so(run, monkeypatch, tmp_path):
    need = next(need for need in registry.recorded())
    only_external = registry.Figure("far", "Far away.", {"mnist": need}, lambda data: None)
    monkeypatch.setattr(registry, "figures", lambda *papers: [only_external])
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


def test_two_folders_of_a_family_are_an_error_that_names_both(run, idx_folder, tmp_path):
    folders = "--data", str(idx_folder), "--data", str(idx_folder)
    status, out, err = run(CHEAP, "--quick", *folders)
    assert (status, out) == (2, "")
    assert f"error: {idx_folder} and {idx_folder} hold " in err
    assert not (tmp_path / "out").exists()


def test_folders_of_two_families_are_both_taken(run, idx_folder, cifar_folder):
    folders = "--data", str(idx_folder), "--data", str(cifar_folder)
    assert run(CHEAP, "--quick", *folders)[0] == 0
    (cifar_folder / "test_batch.bin").unlink()
    status, _, err = run(CHEAP, "--quick", *folders)
    assert status == 2
    assert f"no test_batch.bin in {cifar_folder}" in err


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
