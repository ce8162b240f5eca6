"""Training the toy network of bad minima against its peers.

Run with ``pytest benchmarks/bench_bad_minima.py -n 0``. CPU seconds on one thread.

A batch of 10 costs three products of 10 × 100 × 100: 0.6 MFLOP; an epoch of ten batches, and the
accuracy at its end, 8 MFLOP.
"""

import time

import numpy as np
import pytest

from sims import streams
from sims.bad_minima import TwoLayerNetwork
from sims.sgd import next_batch

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

N, BATCH, RATE, EPOCHS = 100, 10, 0.003, 200
SHUFFLE = 2
GROUP = f"2-100-100-1, N={N}, B={BATCH}, accuracy after each epoch: {EPOCHS} epochs"


@streams.jit
def replay(state, order, batches):
    for t in range(len(batches)):
        next_batch(state, SHUFFLE, order, t, batches[t])


class Problem:
    """Points, random labels, a start, and the batches that our run draws."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.network = TwoLayerNetwork()
        self.X = rng.standard_normal((N, 2)).astype(np.float32)
        self.y = rng.integers(0, 2, N)
        self.start = self.network.draw(rng)
        self.batches = np.empty((EPOCHS, N // BATCH, BATCH), np.int64)
        replay(streams.states(0, 1)[0], np.arange(N), self.batches.reshape(-1, BATCH))

    def ours(self, epochs=EPOCHS, momentum=0.0):
        return self.network.train(
            self.start,
            self.X,
            self.y,
            epochs=epochs,
            learning_rate=RATE,
            batch_size=BATCH,
            momentum=momentum,
            rng=0,
        ).weights


@pytest.fixture(scope="module")
def problem():
    return Problem()


def numpy_loop(problem, epochs=EPOCHS):
    matrices, biases = problem.network.layers(problem.start)
    W1, W2, W3 = (np.ascontiguousarray(matrix.T, np.float32) for matrix in matrices)
    b1, b2, b3 = (bias.astype(np.float32) for bias in biases)
    parameters = W1, b1, W2, b2, W3, b3
    y = problem.y.astype(np.float32)[:, None]

    def units(rows):
        low = np.maximum(rows @ W1 + b1, 0)
        high = np.maximum(low @ W2 + b2, 0)
        return low, high, high @ W3 + b3

    for batches in problem.batches[:epochs]:
        for batch in batches:
            rows = problem.X[batch]
            low, high, logits = units(rows)
            slopes = 1 / (1 + np.exp(-logits)) - y[batch]
            back = (slopes @ W3.T) * (high > 0)
            first = (back @ W2.T) * (low > 0)
            gradients = (
                rows.T @ first,
                first.sum(axis=0),
                low.T @ back,
                back.sum(axis=0),
                high.T @ slopes,
                slopes.sum(axis=0),
            )
            for w, g in zip(parameters, gradients, strict=True):
                w -= np.float32(RATE) * g
        np.mean((units(problem.X)[2] > 0) == (y > 0))
    return np.concatenate([w.ravel() for w in parameters])


def torch_loop(problem, epochs=EPOCHS):
    X, y = torch.from_numpy(problem.X), torch.from_numpy(problem.y).float()[:, None]
    model = torch.nn.Sequential(
        torch.nn.Linear(2, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, 100),
        torch.nn.ReLU(),
        torch.nn.Linear(100, 1),
    )
    matrices, biases = problem.network.layers(problem.start)
    layers = [part for pair in zip(matrices, biases, strict=True) for part in pair]
    with torch.no_grad():
        for parameter, layer in zip(model.parameters(), layers, strict=True):
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(layer)))
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
    loss = torch.nn.BCEWithLogitsLoss(reduction="sum")
    for batches in torch.from_numpy(problem.batches[:epochs]):
        for batch in batches:
            optimizer.zero_grad()
            loss(model(X[batch]), y[batch]).backward()
            optimizer.step()
        with torch.no_grad():
            ((model(X) > 0) == (y > 0)).float().mean()
    return np.concatenate([p.detach().numpy().T.ravel() for p in model.parameters()])


@pytest.mark.benchmark(group=GROUP, timer=time.process_time)
@pytest.mark.parametrize(
    ("peer", "target"),
    [
        pytest.param(numpy_loop, 3.0, id="NumPy loop"),
        pytest.param(torch_loop, 10.0, id="torch loop"),
    ],
)
def test_training(problem, against, peer, target):
    """Weights are compared after 20 epochs: later, rounding has parted the runs."""
    against(lambda: peer(problem), problem.ours, rounds=5, target=target)
    np.testing.assert_allclose(peer(problem, 20), problem.ours(20), rtol=0, atol=1e-4)


def test_training_ours(problem, figure, seconds):
    for momentum in (0.0, 0.9):
        cost = seconds(lambda m=momentum: problem.ours(momentum=m), 5)
        figure(GROUP, f"ours, momentum {momentum:g}", EPOCHS / cost, "epochs a second")
