"""Normal draws and Langevin paths against their peers: CPU seconds on one thread.

Run with ``pytest benchmarks/bench_langevin.py -n 0``.
"""

import os
import time
from statistics import median

import numpy as np
import pytest

from sims import sde, streams
from theory.landscapes import DoubleWell

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


def in_group(name):
    return pytest.mark.benchmark(group=name, timer=time.process_time)


# --- normal draws -------------------------------------------------------------------------------

DRAWS = 20_000_000


@streams.jit
def lane_draws(block, first, second, times):
    for _ in range(times):
        streams.fill_lane_normals(block, first, second)


@streams.jit
def numba_draws(out, times):
    for _ in range(times):
        for k in range(len(out)):
            out[k] = np.random.normal()  # noqa: NPY002 (what numba compiles)


@streams.jit
def generator_draws(rng, out, times):
    for _ in range(times):
        for k in range(len(out)):
            out[k] = rng.standard_normal()


def draw_in_lanes():
    first, second = np.empty(streams.LANES), np.empty(streams.LANES)
    lane_draws(streams.lanes(0, 1)[0], first, second, DRAWS // (2 * streams.LANES))
    return np.concatenate([first, second])


def numpy_normals():
    rng, out = np.random.default_rng(0), np.empty(1024)
    for _ in range(DRAWS // len(out)):
        rng.standard_normal(out=out)
    return out


def numba_normals():
    out = np.empty(1024)
    numba_draws(out, DRAWS // len(out))
    return out


def numba_generator_normals():
    out = np.empty(1024)
    generator_draws(np.random.default_rng(0), out, DRAWS // len(out))
    return out


def torch_normals():
    out = torch.empty(1024)
    for _ in range(DRAWS // len(out)):
        out.normal_()
    return out.numpy()


DRAWING = f"{DRAWS:.0e} normal draws, 1024 at a time"


@in_group(DRAWING)
@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(numpy_normals, id="NumPy PCG64"),
        pytest.param(numba_normals, id="numba np.random.normal"),
        pytest.param(numba_generator_normals, id="numba, a NumPy Generator"),
        pytest.param(torch_normals, id="torch float32"),
    ],
)
def test_draws(against, peer):
    last = against(peer, draw_in_lanes, rounds=3, warmup_rounds=1)
    for draws in (last, draw_in_lanes()):  # their last 1024
        assert abs(draws.mean()) < 5 / np.sqrt(1024)
        assert abs(draws.var() - 1) < 5 * np.sqrt(2 / 1024)


def test_draws_ours(figure, seconds):
    figure(DRAWING, "ours", seconds(draw_in_lanes, 5) / DRAWS * 1e9, "ns a draw")


# --- Langevin dynamics in a double well ---------------------------------------------------------

PATHS, STEPS, STEP_SIZE, TEMPERATURE = 100_000, 1000, 0.01, 0.5
KICK = np.sqrt(2 * TEMPERATURE * STEP_SIZE)
START = np.full(PATHS, -1.0)


def our_paths(noise="normal", threads=1):
    equation = sde.langevin(DoubleWell(barrier=1.0), TEMPERATURE)
    options = {"step_size": STEP_SIZE, "steps": STEPS, "noise": noise, "threads": threads}
    return sde.paths(equation, START, **options, rng=0)[1][0]


def numpy_paths():
    rng, x = np.random.default_rng(0), START.copy()
    noise, slope = np.empty_like(x), np.empty_like(x)
    for _ in range(STEPS):
        rng.standard_normal(out=noise)
        noise *= KICK
        np.multiply(x, x, out=slope)
        slope -= 1.0
        slope *= x
        slope *= -4.0 * STEP_SIZE
        x += slope
        x += noise
    return x


@streams.jit
def numba_walk(draw, start, steps, h, kick, seed):
    x = start.copy()
    for i in range(len(x)):
        y = x[i]
        for _ in range(steps):
            y += -4.0 * h * y * (y * y - 1.0) + kick * draw(seed)
        x[i] = y
    return x


@streams.jit
def global_normal(unused):
    return np.random.normal()  # noqa: NPY002 (what numba compiles)


@streams.jit
def generator_normal(rng):
    return rng.standard_normal()


def numba_paths():
    return numba_walk(global_normal, START, STEPS, STEP_SIZE, KICK, 0)


def numba_generator_paths():
    rng = np.random.default_rng(0)
    return numba_walk(generator_normal, START, STEPS, STEP_SIZE, KICK, rng)


def torch_paths():
    x = torch.from_numpy(START).float()
    noise, slope = torch.empty_like(x), torch.empty_like(x)
    for _ in range(STEPS):
        noise.normal_(0, KICK)
        torch.mul(x, x, out=slope)
        slope.sub_(1.0).mul_(x)
        x.add_(slope, alpha=-4.0 * STEP_SIZE).add_(noise)
    return x.numpy().astype(float)


def check_same_law(x, y):
    """Compare two independent samples of paths: mean, second moment and occupation of a well."""
    for measure in (lambda x: x, np.square, lambda x: np.less(x, 0.0)):
        a, b = measure(x), measure(y)
        error = np.sqrt(a.var() / len(a) + b.var() / len(b))
        assert abs(a.mean() - b.mean()) < 5 * error


LANGEVIN = f"Langevin, double well, {PATHS} paths x {STEPS} steps, Euler-Maruyama"


@in_group(LANGEVIN)
@pytest.mark.parametrize(
    "peer",
    [
        pytest.param(numpy_paths, id="NumPy in place"),
        pytest.param(numba_paths, id="numba np.random.normal"),
        pytest.param(numba_generator_paths, id="numba, a NumPy Generator"),
        pytest.param(torch_paths, id="torch float32 in place"),
    ],
)
def test_langevin(against, peer):
    x = against(peer, our_paths, rounds=3, warmup_rounds=1)
    check_same_law(x, our_paths())


@pytest.mark.parametrize(("noise", "target"), [("normal", 5e8), ("discrete", 3e9)])
def test_langevin_ours(figure, seconds, noise, target):
    speed = PATHS * STEPS / seconds(lambda: our_paths(noise), 7)
    figure(LANGEVIN, f"ours, {noise}", speed, "path-steps/s on one core", target=target)
    check_same_law(our_paths(noise), numpy_paths())


@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="needs two cores")
def test_langevin_two_threads(figure, seconds):
    """The ratio of wall times means something only where no one else computes."""
    ratios, load = [], os.getloadavg()[0]
    for _ in range(5):
        one, two = (seconds(lambda t=t: our_paths(threads=t), 1, time.perf_counter) for t in (1, 2))
        ratios.append(one / two)
    idle = load < 1.2  # this process itself is one
    name = f"ours, two threads, load {load:.1f}" + ("" if idle else ": not judged")
    figure(LANGEVIN, name, median(ratios), "times one", target=1.9 if idle else None)
    np.testing.assert_array_equal(our_paths(threads=2), our_paths())
