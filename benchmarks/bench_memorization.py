"""The 2n + d network against reading its data once, and against dense solves.

Run with ``pytest benchmarks/bench_memorization.py -n 0``, on a machine with 20 GB of memory. CPU
seconds; ours uses its threads, whose times add up.
"""

import resource
import time
from functools import partial

import numpy as np
import pytest
from scipy.linalg import solve_triangular
from threadpoolctl import threadpool_limits

from theory.memorization import memorize


def in_group(name):
    return pytest.mark.benchmark(group=name, timer=time.process_time)


def made(n, d, dtype=np.float64):
    """Return Gaussian points, random signs and a direction, made block by block."""
    rng = np.random.default_rng(0)
    X = np.empty((n, d), dtype)
    for start in range(0, n, 10_000):
        block = X[start : start + 10_000]
        block[:] = rng.standard_normal(block.shape)
    return X, rng.choice([-1.0, 1.0], n), rng.standard_normal(d).astype(dtype)


@pytest.fixture(scope="module", params=[np.float64, np.float32], ids=["float64", "float32"])
def million(request):
    """A million points of MNIST's dimension."""
    X, y, direction = made(1_000_000, 784, request.param)
    network = memorize(X, y, rng=0)
    assert np.max(np.abs(network(X[:1000]) - y[:1000])) < 1e-9
    return X, y, direction, network


@in_group("memorization, n = 1,000,000, d = 784: ours / X a")
def test_build_against_reading_the_data(million, benchmark, request, figure, seconds):
    X, y, direction, _ = million
    _over_product(partial(memorize, X, y, rng=0), X, direction, 1.6, request, figure, seconds)
    benchmark.pedantic(lambda: None)


@in_group("memorization, n = 1,000,000, d = 784: ours / X a")
def test_evaluation_against_reading_the_data(million, benchmark, request, figure, seconds):
    X, _, direction, network = million
    _over_product(partial(network, X), X, direction, 2.0, request, figure, seconds)
    benchmark.pedantic(lambda: None)


def _over_product(ours, X, direction, most, request, figure, seconds):
    """Note our time over that of X @ a, in CPU seconds and on the wall, in alternation."""
    name = request.node.name.removeprefix("test_")
    group = request.node.get_closest_marker("benchmark").kwargs["group"]
    product = partial(np.matmul, X, direction)
    for clock, unit, threads in ((time.process_time, "CPU", 1), (time.perf_counter, "wall", None)):
        times = {"ours": [], "product": []}
        with threadpool_limits(threads):
            for _ in range(7):
                for key, call in (("ours", ours), ("product", product)):
                    start = clock()
                    call()
                    times[key].append(clock() - start)
        mine, peer = (float(np.median(times[key])) for key in ("ours", "product"))
        figure(group, f"{name}, {unit}", mine / peer, f"= {mine:.3f} s / {peer:.3f} s", most=most)


@in_group("memorization, ten million points")
def test_ten_million_points(benchmark, figure):
    X, y, _ = made(10_000_000, 64, np.float32)
    start = time.perf_counter()
    network = memorize(X, y, rng=0)
    took = time.perf_counter() - start
    parts = range(0, len(X), 1_000_000)
    error = max(
        float(np.max(np.abs(network(X[i : i + 1_000_000]) - y[i : i + 1_000_000]))) for i in parts
    )
    assert network.n_parameters == 2 * len(X) + 64
    group = "memorization, n = 10,000,000, d = 64 in float32"
    figure(group, "wall seconds to build", took, "s")
    figure(group, "largest error of all points, evaluated", error, "of max |y|", most=1e-8)
    figure(group, "largest error of the stored parameters", network.error, "of max |y|", most=1e-8)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    figure(group, "peak memory of the process, X included", peak, "GiB", most=8)
    benchmark.pedantic(lambda: None)


# --- dense solves ---------------------------------------------------------------------------------


def _dense(solve, x, b, y):
    return solve(np.maximum(x[:, None] - b, 0.0), y)


def _triangular(matrix, y):
    return solve_triangular(matrix, y, lower=True, check_finite=False)


SOLVERS = {"solve_triangular": _triangular, "numpy.linalg.solve": np.linalg.solve}


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("n", [1000, 10_000])
@in_group("memorization, d = 64, against the dense matrix")
def test_against(solver, n, against):
    X, y, _ = made(n, 64)
    network = memorize(X, y, rng=0)
    x = np.sort(X @ network.projection)
    order = np.argsort(X @ network.projection)
    slow = solver == "numpy.linalg.solve" and n == 10_000
    weights = against(
        partial(_dense, SOLVERS[solver], x, network.biases, y[order]),
        partial(memorize, X, y, rng=0),
        rounds=1 if slow else 5,
    )
    # The peers' weights differ by their rounding errors, relative to the largest.
    assert np.max(np.abs(weights - network.weights)) < 1e-4 * np.max(np.abs(weights))
