"""What measuring costs: the noise-scale meter in a loop, and the gradients of single examples.

Run with ``pytest benchmarks/bench_measuring.py -n 0``. CPU seconds on one thread, float32.
"""

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from deep import models  # noqa: E402
from deep.noise_scale import NoiseScaleMeter, gradient_noise_scale  # noqa: E402

# --- the meter ------------------------------------------------------------------------------------

MICRO, PARTS = 32, 4
NETWORKS = {
    "MLP 784-800-10": (lambda: build("mlp", (1, 28, 28), widths=(800,)), 20),
    "MLP 784-100-10": (lambda: build("mlp", (1, 28, 28), widths=(100,)), 60),
}


def build(name, shape, **options):
    generator = torch.Generator().manual_seed(0)
    model = models.build(name, input_shape=shape, classes=10, generator=generator, **options)
    return model, shape


def examples(shape, n):
    generator = torch.Generator().manual_seed(1)
    inputs = torch.rand(n, *shape, generator=generator)
    return inputs, torch.randint(10, (n,), generator=generator)


def train(model, inputs, labels, updates, meter=None):
    """Accumulate the gradients of micro-batches, as a loop of one's own does."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(updates):
        for rows in torch.arange(MICRO * PARTS).split(MICRO):
            (cross_entropy(model(inputs[rows]), labels[rows]) / PARTS).backward()
            if meter:
                meter.micro_batch()
        if meter:
            meter.update()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("every", [20, 1])
@pytest.mark.parametrize("name", NETWORKS)
def test_meter(figure, name, every):
    """Both loops in alternation; 2 % is what a meter may cost as it comes, every 20 updates."""
    make, updates = NETWORKS[name]
    model, shape = make()
    inputs, labels = examples(shape, MICRO * PARTS)
    meter = NoiseScaleMeter(model, MICRO, every=every)
    costs = []
    for _ in range(7):
        times = []
        for used in (None, meter):
            if used is None:
                meter.close()
            else:
                meter = used = NoiseScaleMeter(model, MICRO, every=every)
            start = time.process_time()
            train(model, inputs, labels, updates, used)
            times.append(time.process_time() - start)
        costs.append(times[1] / times[0] - 1)
    meter.close()
    most = 2.0 if every == 20 else None
    cost = 100 * float(np.median(costs))
    figure("noise-scale meter", f"added to {name}, every {every}", cost, "%", most=most)


# --- the noise scale of a network at rest ---------------------------------------------------------


def one_by_one(model, inputs, labels):
    """Return tr C and |G|², unbiased, from a loop over examples: a peer that needs no library."""
    total, squares = 0.0, 0.0
    parameters = list(model.parameters())
    for row in range(len(inputs)):
        loss = cross_entropy(model(inputs[row : row + 1]), labels[row : row + 1])
        slopes = torch.autograd.grad(loss, parameters)
        gradient = torch.cat([slope.flatten() for slope in slopes]).double()
        total = total + gradient
        squares += float(gradient @ gradient)
    n = len(inputs)
    mean = total / n
    trace = (squares - n * float(mean @ mean)) / (n - 1)
    return trace, float(mean @ mean) - trace / n


CASES = {
    "64-100-10, n = 500": ((1, 8, 8), 100, 500, 3.0),
    "784-800-10, n = 100": ((1, 28, 28), 800, 100, None),
}


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("name", CASES)
def test_noise_scale(against, benchmark, name):
    benchmark.group = "gradient noise scale, with its standard errors"
    shape, hidden, n, target = CASES[name]
    model, _ = build("mlp", shape, widths=(hidden,))
    inputs, labels = examples(shape, n)
    peer = against(
        lambda: one_by_one(model, inputs, labels),
        lambda: gradient_noise_scale(model, cross_entropy, (inputs, labels)),
        rounds=5,
        warmup_rounds=1,
        target=target,
    )
    found = gradient_noise_scale(model, cross_entropy, (inputs, labels))
    assert (found.noise_trace, found.gradient_square) == pytest.approx(peer, rel=1e-4)


def test_networks_take_the_same_steps():
    """The meter changes nothing of the training that it watches."""
    runs = []
    for watched in (False, True):
        model, shape = NETWORKS["MLP 784-800-10"][0]()
        inputs, labels = examples(shape, MICRO * PARTS)
        meter = NoiseScaleMeter(model, MICRO, every=1) if watched else None
        train(model, inputs, labels, 3, meter)
        runs.append(nn.utils.parameters_to_vector(model.parameters()))
    assert torch.equal(*runs)
