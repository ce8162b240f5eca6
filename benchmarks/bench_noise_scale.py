"""Minibatch SGD on small models against its peers, and what our first calls cost.

Run with ``pytest benchmarks/bench_noise_scale.py -n 0``. CPU seconds on one thread.
"""

import json
import os
import subprocess
import sys
import time
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import expit

from sims import sgd, streams
from theory.noise_scale import SAMPLERS

torch = pytest.importorskip("torch")
torch.set_num_threads(1)


def in_group(name):
    return pytest.mark.benchmark(group=name, timer=time.process_time)


# --- a sweep of logistic regressions ------------------------------------------------------------
# 100 steps of a thousand runs, a tenth of the whole sweep: all engines' times are linear in steps.

EXAMPLES, FEATURES, SEEDS, UPDATES = 1000, 784, 10, 100
RATES = np.geomspace(1e-4, 1e-2, 10)
BATCH_SIZES = 2 ** np.arange(10)


@streams.jit
def replay(state, sampler, N, batches):
    """Write the batches (updates, B) that a run with this stream sees."""
    order = np.arange(N)
    for t in range(len(batches)):
        sgd.next_batch(state, sampler, order, t, batches[t])


def replayed(states, N, B, updates):
    """Return the batches (runs, updates, B) of runs with the streams ``states``."""
    batches = np.empty((len(states), updates, B), np.int64)
    for state, own in zip(states, batches, strict=True):
        replay(state, SAMPLERS.index("without_replacement"), N, own)
    return batches


@pytest.fixture(scope="module")
def sweep():
    """Return the data, and for each batch size its 100 runs' rates and batches.

    The batches are those that our runs draw, so that weights can be compared.
    """
    rng = np.random.default_rng(0)
    X = rng.random((EXAMPLES, FEATURES), dtype=np.float32)
    y = (X @ rng.standard_normal(FEATURES) > 0).astype(np.int64)
    grid = (len(BATCH_SIZES), SEEDS, len(RATES))

    def ours(updates=UPDATES, dtype=np.float32):
        return sgd.train(
            "logistic",
            X,
            y,
            learning_rate=RATES,
            batch_size=BATCH_SIZES[:, None, None],
            updates=np.full((SEEDS, 1), updates),
            dtype=dtype,
            rng=0,
        ).weights

    states = streams.states(0, int(np.prod(grid))).reshape(len(BATCH_SIZES), -1, 4)
    batches = [
        replayed(own, EXAMPLES, B, UPDATES) for own, B in zip(states, BATCH_SIZES, strict=True)
    ]
    return SimpleNamespace(
        X=X,
        with_bias=np.column_stack([X, np.ones(EXAMPLES, np.float32)]),
        y=y.astype(np.float32),
        rates=np.tile(RATES, SEEDS).astype(np.float32),
        batches=batches,
        ours=ours,
        expected=ours().reshape(len(BATCH_SIZES), -1, FEATURES + 1),
    )


def empty_models(sweep):
    return np.zeros_like(sweep.expected)


def given(sweep):
    return sweep.batches


def drawn(sweep):
    """Return batches (runs, updates, B) for each B, as NumPy draws them fastest."""
    rng = np.random.default_rng(0)
    batches = [np.empty_like(own) for own in sweep.batches]
    for own in batches:
        for batch in own.reshape(-1, own.shape[2]):
            batch[:] = rng.choice(EXAMPLES, len(batch), replace=False, shuffle=False)
    return batches


def numpy_loop(sweep, batches):
    X, y, models = sweep.with_bias, sweep.y, empty_models(sweep)
    for group, group_batches in zip(models, batches, strict=True):
        rates = sweep.rates / group_batches.shape[2]
        for w, rate, own in zip(group, rates, group_batches, strict=True):
            for batch in own:
                rows = X[batch]
                w -= rate * ((expit(rows @ w) - y[batch]) @ rows)
    return models


def gathered_step(X, y, models, rates, batch):
    """One step of R models (R, d + 1), each on its own rows, batch (R, B)."""
    rows = X[batch]
    slopes = expit((rows @ models[:, :, None])[:, :, 0]) - y[batch]
    slopes *= rates[:, None] / batch.shape[1]
    models -= (slopes[:, None, :] @ rows)[:, 0]


def all_logits_step(X, y, models, rates, batches):
    """One step of all models: two matrix products with all examples, most slopes zero.

    ``models`` (R, d + 1); ``batches`` are those (runs, B) of each group of models in turn.
    """
    logits, slopes, start = models @ X.T, np.zeros((len(models), len(X)), X.dtype), 0
    for batch in batches:
        part = slice(start, start + len(batch))
        own = expit(np.take_along_axis(logits[part], batch, axis=1)) - y[batch]
        own *= rates[part, None] / batch.shape[1]
        np.put_along_axis(slopes[part], batch, own, axis=1)
        start += len(batch)
    models -= slopes @ X


def numpy_batched(sweep, batches, largest_gathered):
    """Step together the models of a batch size up to this one, and all models above it."""
    models = empty_models(sweep)
    data = sweep.with_bias, sweep.y
    small = int(np.searchsorted(BATCH_SIZES, largest_gathered, side="right"))
    together = models[small:].reshape(-1, FEATURES + 1)
    for t in range(UPDATES):
        for group, own in zip(models[:small], batches, strict=False):
            gathered_step(*data, group, sweep.rates, own[:, t])
        if len(together):
            rates = np.tile(sweep.rates, len(models) - small)
            all_logits_step(*data, together, rates, [own[:, t] for own in batches[small:]])
    return models


def torch_loop(sweep, batches):
    X, y = torch.from_numpy(sweep.X), torch.from_numpy(sweep.y)
    models = empty_models(sweep)
    for group, group_batches in zip(models, map(torch.from_numpy, batches), strict=True):
        for w, rate, own in zip(group, sweep.rates, group_batches, strict=True):
            model = torch.nn.Linear(FEATURES, 1)
            for parameter in model.parameters():
                torch.nn.init.zeros_(parameter)
            optimizer = torch.optim.SGD(model.parameters(), lr=float(rate))
            for batch in own:
                optimizer.zero_grad()
                logits = model(X[batch]).squeeze(1)
                torch.nn.functional.binary_cross_entropy_with_logits(logits, y[batch]).backward()
                optimizer.step()
            w[:-1], w[-1] = model.weight.detach()[0], model.bias.detach()[0]
    return models


def torch_vmap(sweep, batches):
    """One call of ``vmap(grad(loss))`` a step for the models of one batch size."""
    X, y = torch.from_numpy(sweep.with_bias), torch.from_numpy(sweep.y)
    rates = torch.from_numpy(sweep.rates)[:, None]

    def loss(w, rows, labels):
        return torch.nn.functional.binary_cross_entropy_with_logits(rows @ w, labels)

    gradients = torch.func.vmap(torch.func.grad(loss))
    models = empty_models(sweep)
    for group, own in zip(models, map(torch.from_numpy, batches), strict=True):
        w = torch.from_numpy(group)
        for t in range(UPDATES):
            batch = own[:, t]
            w -= rates * gradients(w, X[batch], y[batch])
    return models


SWEEP = "logistic sweep, n=1000, d=784: 100 (rate, B) x 10 seeds x 100 steps"


@in_group(SWEEP)
@pytest.mark.parametrize(
    ("peer", "batches", "target"),
    [
        pytest.param(numpy_loop, given, None, id="NumPy loop"),
        pytest.param(numpy_loop, drawn, None, id="NumPy loop that draws"),
        pytest.param(partial(numpy_batched, largest_gathered=0), given, 4.0, id="all logits"),
        pytest.param(partial(numpy_batched, largest_gathered=512), given, 4.0, id="gathered"),
        pytest.param(
            partial(numpy_batched, largest_gathered=64),
            given,
            4.0,
            id="gathered to B=64, logits above",
        ),
        pytest.param(
            partial(numpy_batched, largest_gathered=64), drawn, 4.0, id="the same, drawing"
        ),
        pytest.param(torch_loop, given, 20.0, id="torch loop"),
        pytest.param(torch_vmap, given, 25.0, id="torch.func.vmap"),
    ],
)
def test_sweep(sweep, against, peer, batches, target):
    """``given`` batches cost the peer nothing, whereas ours draws its own; ``drawn`` ones cost."""
    rounds = 1 if peer in (torch_loop, torch_vmap) else 3
    models = against(lambda: peer(sweep, batches(sweep)), sweep.ours, rounds=rounds, target=target)
    if batches is drawn:
        models = peer(sweep, sweep.batches)
    scale = np.abs(sweep.expected).max(axis=-1, keepdims=True)
    np.testing.assert_allclose(models / scale, sweep.expected / scale, rtol=0, atol=1e-5)


def test_sweep_ours(sweep, figure, seconds):
    figure(SWEEP, "ours, 1000 steps", seconds(lambda: sweep.ours(1000), 1), "s")
    figure(SWEEP, "ours, 100 steps", seconds(sweep.ours, 3), "s")
    figure(SWEEP, "ours, 100 steps, float64", seconds(lambda: sweep.ours(dtype=float), 3), "s")


# --- one hidden layer -----------------------------------------------------------------------------

INPUTS, HIDDEN, CLASSES, BATCH, RATE, MOMENTUM = 64, 50, 10, 32, 0.1, 0.9


@pytest.fixture(scope="module")
def network():
    rng = np.random.default_rng(0)
    X = rng.random((500, INPUTS), dtype=np.float32)
    y = np.argmax((X - 0.5) @ rng.standard_normal((INPUTS, CLASSES)), axis=1)
    limits = [np.sqrt(6 / (INPUTS + HIDDEN)), np.sqrt(6 / (HIDDEN + CLASSES))]
    layers = [
        rng.uniform(-limits[0], limits[0], (INPUTS, HIDDEN)),
        np.zeros(HIDDEN),
        rng.uniform(-limits[1], limits[1], (HIDDEN, CLASSES)),
        np.zeros(CLASSES),
    ]
    initial = np.concatenate([layer.ravel() for layer in layers])
    options = {"learning_rate": RATE, "batch_size": BATCH, "momentum": MOMENTUM, "hidden": HIDDEN}

    def ours(updates):
        run = sgd.train("relu", X, y, **options, updates=updates, initial=initial, rng=0)
        return run.weights

    return SimpleNamespace(
        X=X,
        y=y,
        layers=[layer.astype(np.float32) for layer in layers],
        batches=lambda updates: replayed(streams.states(0, 1), len(X), BATCH, updates)[0],
        ours=ours,
    )


def numpy_network(network, batches):
    weights = [layer.copy() for layer in network.layers]
    W1, b1, W2, b2 = weights
    velocities = [np.zeros_like(layer) for layer in weights]
    for batch in batches:
        rows, n = network.X[batch], np.arange(len(batch))
        hidden = np.maximum(rows @ W1 + b1, 0)
        scores = hidden @ W2 + b2
        slopes = np.exp(scores - scores.max(axis=1, keepdims=True))
        slopes /= slopes.sum(axis=1, keepdims=True)
        slopes[n, network.y[batch]] -= 1
        slopes /= np.float32(len(batch))
        back = (slopes @ W2.T) * (hidden > 0)
        gradients = rows.T @ back, back.sum(axis=0), hidden.T @ slopes, slopes.sum(axis=0)
        for w, v, g in zip(weights, velocities, gradients, strict=True):
            v *= np.float32(MOMENTUM)
            v += g
            w -= np.float32(RATE) * v
    return np.concatenate([w.ravel() for w in weights])


def torch_network(network, batches):
    X, y = torch.from_numpy(network.X), torch.from_numpy(network.y)
    model = torch.nn.Sequential(
        torch.nn.Linear(INPUTS, HIDDEN), torch.nn.ReLU(), torch.nn.Linear(HIDDEN, CLASSES)
    )
    with torch.no_grad():
        for parameter, layer in zip(model.parameters(), network.layers, strict=True):
            parameter.copy_(torch.from_numpy(layer.T))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    for batch in torch.from_numpy(batches):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
        optimizer.step()
    return np.concatenate([p.detach().numpy().T.ravel() for p in model.parameters()])


NETWORK = "one hidden layer, 64-50-10, N=500, B=32, momentum: 10000 updates"


@in_group(NETWORK)
@pytest.mark.parametrize(
    "peer",
    [pytest.param(numpy_network, id="NumPy loop"), pytest.param(torch_network, id="torch loop")],
)
def test_network(network, against, peer):
    """Weights are compared after 100 updates: later, rounding has parted the runs."""
    batches = network.batches(10_000)
    against(lambda: peer(network, batches), lambda: network.ours(10_000), rounds=3)
    few = peer(network, network.batches(100))
    np.testing.assert_allclose(few, network.ours(100), rtol=0, atol=1e-5)


def test_network_ours(network, figure, seconds):
    figure(NETWORK, "ours", seconds(lambda: network.ours(10_000), 5) * 100, "us an update")


# --- first calls ----------------------------------------------------------------------------------

COMPILING = """
import json, time
from sims import noise_scale
from store import datasets

datasets.load("digits")
few = {"training_time": 1.0, "batch_sizes": (32,)}
calls = {
    "batch_size_sweep, relu": lambda: noise_scale.batch_size_sweep(**few),
    "batch_size_sweep, softmax": lambda: noise_scale.batch_size_sweep(model="softmax", **few),
    "basin_occupation": lambda: noise_scale.basin_occupation(steps=10, burn_in=10),
    "kramers_times": lambda: noise_scale.kramers_times(temperatures=(2.0,), paths=2),
    "gradient_noise": lambda: noise_scale.gradient_noise(draws=10),
    "stationary_covariance": lambda: noise_scale.stationary_covariance(steps=10, burn_in=10),
}
found = {}
for name, call in calls.items():
    times = [time.process_time()]
    for _ in range(2):
        call()
        times.append(time.process_time())
    found[name] = 2 * times[1] - times[0] - times[2]
print(json.dumps(found))
"""


def fresh_process(code):
    """Return what a fresh interpreter prints for ``code``."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


FIRST = "first calls"


@pytest.mark.parametrize("code", ["pass", "import sims", "import sims.noise_scale"])
def test_start_up(figure, seconds, code):
    wall = seconds(lambda: fresh_process(code), 5, time.perf_counter)
    figure(FIRST, f"python -c '{code}', load {os.getloadavg()[0]:.1f}", wall, "s of wall time")


def test_compilation(figure):
    """The first call less the second, in the order of the table: kernels are shared."""
    for name, cost in json.loads(fresh_process(COMPILING)).items():
        figure(FIRST, f"{name}, compiled", cost, "CPU s")
