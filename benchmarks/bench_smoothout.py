"""SmoothOut's descent against its peers: CPU seconds on one thread.

Run with ``pytest benchmarks/bench_smoothout.py -n 0``.
"""

import time

import numpy as np
import pytest

from sims import streams
from sims.smoothout import descend, smoothed_value
from theory.landscapes import CoordinateSum, Parabola, ProductWell

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

STRENGTH, RATE, NOISES = 0.1, 0.05, ("uniform", "normal")


# --- the peers: any gradient, weights (n,) or (n, d), everything in place -------------------------


def numpy_descent(add_gradient, start, steps, noise):
    rng, w = np.random.default_rng(0), start.copy()
    noisy, slope = np.empty_like(w), np.empty_like(w)
    for _ in range(steps):
        if noise == "uniform":
            rng.random(out=noisy)
            noisy -= 0.5
            noisy *= 2.0 * STRENGTH
        else:
            rng.standard_normal(out=noisy)
            noisy *= STRENGTH
        noisy += w
        add_gradient(noisy, slope)
        slope *= RATE
        w -= slope
    return w


def torch_descent(add_gradient, start, steps, noise):
    w = torch.from_numpy(start).float()
    noisy, slope = torch.empty_like(w), torch.empty_like(w)
    for _ in range(steps):
        if noise == "uniform":
            noisy.uniform_(-STRENGTH, STRENGTH)
        else:
            noisy.normal_(0.0, STRENGTH)
        noisy.add_(w)
        add_gradient(noisy, slope)
        w.sub_(slope, alpha=RATE)
    return w.numpy().astype(float)


PEERS = {"NumPy in place": (numpy_descent, 5.0), "torch float32": (torch_descent, 2.5)}


def numpy_bowl(noisy, slope):
    np.subtract(noisy, 0.5, out=slope)
    slope *= 2.0


def torch_bowl(noisy, slope):
    torch.sub(noisy, 0.5, out=slope).mul_(2.0)


def numpy_well(noisy, slope):
    np.multiply(noisy, WELL_STIFFNESS, out=slope)
    noisy *= slope
    depth = np.sum(noisy, axis=1)
    depth *= -0.5
    slope *= np.exp(depth)[:, None]


def torch_well(noisy, slope):
    torch.mul(noisy, WELL_STIFFNESS, out=slope)
    depth = noisy.mul_(slope).sum(1).mul_(-0.5).exp_()
    slope.mul_(depth[:, None])


# --- trajectories on the line, and in space -------------------------------------------------------

D, WELL_STIFFNESS = 1000, 1.0 / 16.0
LINE = np.zeros(100_000)
SPACE = np.zeros((100, D))
CASES = {
    "Parabola, 1e5 starts": (Parabola(curvature=2.0, center=0.5), LINE, numpy_bowl, torch_bowl),
    "sum of parabolas, 100 starts, d = 1000": (
        CoordinateSum(line=Parabola(curvature=2.0), centers=np.full(D, 0.5)),
        SPACE,
        numpy_bowl,
        torch_bowl,
    ),
    "product well, 100 starts, d = 1000": (
        ProductWell(center=np.zeros(D), widths=WELL_STIFFNESS**-0.5),
        SPACE + 0.3,
        numpy_well,
        torch_well,
    ),
}
STEPS = 500
TARGETS = {name: 1e8 if "well" in name else 4e8 for name in CASES}


def ours(name, noise, threads=1):
    landscape, start = CASES[name][:2]
    options = {"strength": STRENGTH, "learning_rate": RATE, "noise": noise, "threads": threads}
    return descend(landscape, start, steps=STEPS, rng=0, **options).points[-1]


def check_same_law(x, y):
    """Compare mean and second moment of the trajectories, whose coordinates may be dependent."""
    for measure in (lambda x: x, np.square):
        a, b = (measure(w).reshape(len(w), -1).mean(axis=1) for w in (x, y))
        error = np.sqrt(a.var() / a.size + b.var() / b.size)
        assert abs(a.mean() - b.mean()) < 5 * error


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("name", CASES)
def test_smoothout(against, benchmark, name, peer, noise):
    benchmark.group = f"SmoothOut, {name}"
    start, *gradients = CASES[name][1:]
    loop, target = PEERS[peer]
    gradient = gradients[loop is torch_descent]
    x = against(
        lambda: loop(gradient, start, STEPS, noise),
        lambda: ours(name, noise),
        rounds=5,
        warmup_rounds=1,
        target=target,
    )
    check_same_law(x, ours(name, noise))


@pytest.mark.parametrize("noise", NOISES)
@pytest.mark.parametrize("name", CASES)
def test_smoothout_ours(figure, seconds, name, noise):
    speed = CASES[name][1].size * STEPS / seconds(lambda: ours(name, noise), 7)
    group, target = f"SmoothOut, {name}", TARGETS[name]
    figure(group, f"ours, {noise}", speed, "coordinate-steps/s on one core", target=target)


def test_smoothout_few_coordinates(figure, seconds):
    start = np.zeros((2000, 2))
    bowl = CoordinateSum(line=Parabola(curvature=2.0), centers=np.zeros(2))
    options = {"strength": STRENGTH, "learning_rate": RATE, "steps": 1000, "rng": 0}
    speed = start.size * 1000 / seconds(lambda: descend(bowl, start, **options), 3)
    group = "SmoothOut, few coordinates"
    figure(group, "sum of parabolas, 2000 starts, d = 2", speed, "coordinate-steps/s on one core")


# --- the floor: noise alone -----------------------------------------------------------------------


@streams.jit
def fill_many(fill, block, rows, times):
    for _ in range(times):
        fill(block, rows)


@pytest.mark.parametrize(
    "fill",
    [
        pytest.param(streams.fill_block_uniforms, id="uniform"),
        pytest.param(streams.fill_block_normals, id="normal"),
    ],
)
def test_noise_alone(figure, seconds, request, fill):
    block, rows = streams.lanes(0, 32, width=32)[0], np.empty((32, 32))
    spent = seconds(lambda: fill_many(fill, block, rows, 20_000), 5)
    name = f"noise alone, {request.node.callspec.id}"
    figure("SmoothOut, the floor", name, spent / (20_000 * rows.size) * 1e9, "ns a coordinate")


def test_estimates_ours(figure, seconds):
    well, x = CASES["product well, 100 starts, d = 1000"][0], np.full(D, 0.3)
    spent = seconds(lambda: smoothed_value(well, x, strength=STRENGTH, draws=20_000, rng=0), 5)
    group = "SmoothOut, estimates"
    figure(group, "smoothed value of a product well", 20_000 * D / spent, "coordinates/s")
