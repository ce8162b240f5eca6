"""A population of networks against training one at a time: CPU seconds a network, one thread.

Run with ``pytest benchmarks/bench_population.py -n 0``. The peer is a plain loop around
``torch.optim.SGD`` on tensors, without a DataLoader. The floor is the time of the arithmetic alone,
6 B operations a parameter and step, at the rate of one large matrix product.
"""

import time

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from deep.population import Members, train_population  # noqa: E402

torch.set_num_threads(1)

N, CLASSES = 1437, 10
SIDE = 1024
# Widths, batch size, members, epochs, and the speed-up that is wanted.
CASES = {
    "64-50-10, B = 16": ((64, 50, 10), 16, 256, 2, 5.0),
    "64-50-10, B = 32": ((64, 50, 10), 32, 256, 2, 5.0),
    "64-50-10, B = 64": ((64, 50, 10), 64, 256, 2, 5.0),
    "784-800-10, B = 16": ((784, 800, 10), 16, 4, 1, 5.0),
    "784-800-10, B = 64": ((784, 800, 10), 64, 4, 1, 5.0),
    "8 and 16 filters on 8×8, B = 32": ((8, 16), 32, 64, 1, None),
}


def redrawn(model, generator):
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.05, generator=generator)
    return model


def maker(widths):
    return lambda generator: redrawn(nn.Sequential(*layers(*widths)), generator)


def layers(first, second, outputs=None):
    if outputs is not None:
        return nn.Linear(first, second), nn.ReLU(), nn.Linear(second, outputs)
    return (
        *(nn.Conv2d(1, first, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(first, second, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(4 * second, CLASSES)),
    )


def data(widths):
    generator = torch.Generator().manual_seed(0)
    shape = (widths[0],) if len(widths) == 3 else (1, 8, 8)
    X = torch.rand(N, *shape, generator=generator)
    return X, torch.randint(CLASSES, (N,), generator=generator)


def one_network(make_model, X, y, size, epochs):
    generator = torch.Generator().manual_seed(0)
    model = make_model(generator)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for _ in range(epochs):
        for index in torch.randperm(N, generator=generator).split(size):
            optimizer.zero_grad()
            cross_entropy(model(X[index]), y[index]).backward()
            optimizer.step()
    with torch.no_grad():
        return float(cross_entropy(model(X), y))


@pytest.fixture(scope="module")
def rate():
    """Return the operations per second of a large product on one thread."""
    A, times = torch.rand(SIDE, SIDE), []
    for _ in range(10):
        start = time.process_time()
        A @ A
        times.append(time.process_time() - start)
    return 2.0 * SIDE**3 / min(times)


@pytest.mark.benchmark(group="population, seconds a network")
@pytest.mark.parametrize("case", CASES)
def test_networks(case, against, figure, rate, benchmark):
    widths, size, count, epochs, target = CASES[case]
    make_model, (X, y) = maker(widths), data(widths)
    members = Members(0.01, momentum=0.9, batch_size=size, seed=range(count))
    options = {"epochs": epochs, "record_every": epochs, "progress": False}
    loss = against(
        lambda: one_network(make_model, X, y, size, epochs),
        lambda: train_population(make_model, X, y, members, **options),
        rounds=3,
        share=1.0 / count,
        target=target,
    )
    ours = train_population(make_model, X, y, members[range(4)], **options).train_loss[:, -1]
    assert abs(loss - float(ours.mean())) < 0.1  # they have learned the same
    if len(widths) == 3 and not benchmark.disabled:
        parameters = sum(p.numel() for p in make_model(torch.Generator()).parameters())
        floor = 6.0 * parameters * N * epochs / rate
        group, seconds = "population, the arithmetic alone", benchmark.extra_info
        figure(group, f"{case}: peer / floor", seconds["peer"] / floor, "times")
        figure(group, f"{case}: ours / floor", seconds["ours"] / floor, "times")
