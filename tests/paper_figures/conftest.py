"""What several files share: one quick run of all results, and data sets in MNIST's format."""

import contextlib
import io
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from randomized_networks import randomization
from threadpoolctl import threadpool_limits

from paper_figures import _smith_le_2018_networks as batch_networks
from paper_figures import _smith_le_2018_noise as noise
from paper_figures import _zhang_2017_interpolation as interpolation
from paper_figures import _zhang_2017_memorization as memorization
from paper_figures import _zhang_2017_networks as networks
from paper_figures import registry, smith_le_2018
from paper_figures.__main__ import main
from paper_figures.claims import judge
from paper_figures.results import Options, Unavailable, obtain
from store.results import ResultStore


@pytest.fixture(autouse=True, scope="session")
def one_blas_thread():
    """With more, small products wait for cores that the other workers hold."""
    with threadpool_limits(1):
        yield


@pytest.fixture(autouse=True, scope="session")
def nothing_recorded(tmp_path_factory):
    """What is recorded grows with the package; the tests begin with nothing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("paper_figures.results.RECORDED", tmp_path_factory.mktemp("recorded"))
        yield


@dataclass(frozen=True)
class QuickRun:
    """A finished `claims --json --quick`."""

    out: Path
    rows: list[dict[str, Any]]
    outcomes: dict[Any, Any]


@pytest.fixture(scope="session")
def shared(tmp_path_factory, worker_id):
    """The folder that all workers see."""
    own = tmp_path_factory.getbasetemp()
    return own if worker_id == "master" else own.parent


@pytest.fixture(scope="session")
def quick_outcomes(shared):
    """All quick results by need: each worker computes what no other has begun."""
    marks = shared / "quick_marks"
    marks.mkdir(exist_ok=True)
    options = Options(ResultStore(shared / "quick" / "results"), quick=True, jobs=1)
    needs = quick_needs()
    for number, same in enumerate(needs):
        with shared_work(marks, f"need {number}") as is_mine:
            if is_mine:
                obtain(same, options)
    for number in range(len(needs)):
        await_work(marks, f"need {number}")
    return obtain([need for same in needs for need in same], options)


@pytest.fixture(scope="session")
def quick_run(shared, quick_outcomes):
    """The ledger of the quick results, which one worker prints."""
    marks, out, ledger = shared / "quick_marks", shared / "quick", shared / "ledger.json"
    with shared_work(marks, "ledger") as is_mine:
        if is_mine:
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                status = main(["claims", "--json", "--quick", "--jobs", "1", "--out", str(out)])
            assert status == 0
            ledger.write_text(printed.getvalue())
    await_work(marks, "ledger")
    return QuickRun(out, json.loads(ledger.read_text()), quick_outcomes)


def quick_needs():
    """All needs, those of a study together: its kernels are then compiled by one worker."""
    owners = [*registry.figures(), *(c for claim in registry.claims() for c in claim.checks)]
    by_study = {}
    for need in dict.fromkeys(need for owner in owners for need in owner.needs.values()):
        by_study.setdefault(need.study_name, []).append(need)
    return list(by_study.values())


@contextlib.contextmanager
def shared_work(marks, name):
    """Yield whether this worker is the first to come; mark the end, or the failure, of its work."""
    try:
        (marks / f"{name} begun").mkdir()
    except FileExistsError:
        yield False
        return
    try:
        yield True
    except BaseException:
        (marks / "failed").touch()
        raise
    (marks / f"{name} done").touch()


def await_work(marks, name):
    """Wait for another worker."""
    deadline = time.monotonic() + 600
    while not (marks / f"{name} done").exists():
        assert not (marks / "failed").exists(), "the quick run has failed in another worker"
        assert time.monotonic() < deadline, f"{name} was not done in time"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def assert_can_be_met_and_can_fail():
    """Assert that some data meet all criteria of a check, and some corruption fails each."""

    def check_criteria(check, synthetic, corruptions):
        outcomes = {need: synthetic(need).isel(seed=slice(0, 3)) for need in check.needs.values()}
        entry = judge(check, outcomes)
        assert entry["verdict"] == check.success, entry
        assert len(entry["measured"]) == len(check.criteria)
        json.dumps(entry, allow_nan=False)

        wanted, failed = {str(criterion) for criterion in check.criteria}, set()
        for need, data in outcomes.items():
            for corrupted in corruptions(data):
                wrong = judge(check, {**outcomes, need: corrupted})
                misses = {item["criterion"] for item in wrong["measured"] if not item["met"]}
                assert (wrong["verdict"] == "not reproduced") == bool(misses)
                failed |= misses
                if failed == wanted:
                    return
        raise AssertionError(f"no corruption fails {wanted - failed}")

    return check_criteria


@pytest.fixture(scope="session")
def data(quick_outcomes):
    """Results by need: quick ones, and for MNIST and CIFAR-10 those of the digits instead.

    Those of networks are made up where they cannot be had, without torch on the digits too.
    """
    conventions = noise.MNIST_STATED.values()
    stand_ins = {
        smith_le_2018.MNIST_01: smith_le_2018.DIGITS_01,
        smith_le_2018.MNIST_38: smith_le_2018.DIGITS_38,
        smith_le_2018.MNIST_STOPPED: smith_le_2018.DIGITS_STOPPED,
        noise.MNIST_RATES: noise.DIGITS_RATES,
        noise.MNIST_SIZES: noise.DIGITS_SIZES,
        noise.MNIST_MOMENTA: noise.DIGITS_MOMENTA,
        noise.MNIST_MOMENTA_SHORT: noise.DIGITS_MOMENTA,
        noise.MNIST_CURVES: noise.DIGITS_CURVES,
        noise.MNIST_DECAY: noise.DIGITS_DECAY,
        noise.MNIST_NORMALITY: noise.DIGITS_NORMALITY,
        **dict.fromkeys(conventions, noise.DIGITS_RATES),
        memorization.MNIST: memorization.DIGITS,
    }
    outcomes = dict(quick_outcomes)
    for absent, present in stand_ins.items():
        assert isinstance(outcomes[absent], Unavailable)
        outcomes[absent] = 1.25 * outcomes[present]  # to be told from the other
    for number, convention in enumerate(conventions):
        one = outcomes[convention].isel(learning_rate=[number])
        outcomes[convention] = one.assign_coords(learning_rate=[1.0])
    small = (noise.DIGITS_RATES, noise.DIGITS_MOMENTA, noise.DIGITS_SIZES)
    small = (*small, noise.DIGITS_CURVES, noise.DIGITS_DECAY)  # in the order of a family's needs
    for number, family in enumerate(batch_networks.FAMILIES):
        for need, present in zip(family.needs, small, strict=True):
            if isinstance(outcomes[need], Unavailable):
                outcomes[need] = (1.3 + number / 20) * outcomes[present]
    kernels = (*interpolation.RECORDED, interpolation.CIFAR_FILTERS_ALL)
    for number, need in enumerate(kernels):  # each of them to be told from the others
        assert isinstance(outcomes.get(need, Unavailable("")), Unavailable)
        one = outcomes[interpolation.DIGITS_PIXELS].sel(ridge=need.parameters.get("ridges", [0.0]))
        outcomes[need] = (1.25 + number / 20) * one
    absent = [need for need in networks.RECORDED if isinstance(outcomes[need], Unavailable)]
    return outcomes | {need: randomization(need) for need in absent}


def idx(array):
    header = bytes([0, 0, 0x08, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def idx_folder(tmp_path):
    """Forty 2 x 2 images of two classes, in four files named as MNIST's."""
    folder = tmp_path / "idx"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for prefix, size in (("train", 30), ("t10k", 10)):
        labels = np.arange(size) % 2
        images = rng.integers(0, 200, (size, 2, 2)) + 55 * labels[:, None, None]
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels))
    return folder


@pytest.fixture
def cifar_folder(tmp_path):
    """Three random images to a file, in six files named as those of CIFAR-10's binary version."""
    folder = tmp_path / "cifar"
    folder.mkdir()
    rng = np.random.default_rng(1)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        records = rng.integers(0, 256, (3, 3073), np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())
    return folder
