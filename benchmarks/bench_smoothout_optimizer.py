"""What SmoothOut adds to a step of SGD, and its noise against a loop; on a GPU if there is one.

Run with ``pytest benchmarks/bench_smoothout_optimizer.py -n 0``.
"""

import time
from statistics import median

import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from torch.nn.functional import cross_entropy  # noqa: E402

from deep import models  # noqa: E402
from deep.smoothout import AdaSmoothOut, SmoothOut  # noqa: E402

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if ON_GPU else torch.device("cpu")
STRENGTH, SHARE = 1e-3, 0.1
NETWORKS = {  # input, batch size, rounds, most that plain noise may add on a CPU and on a GPU
    "resnet18": ((3, 32, 32), 128 if ON_GPU else 32, 50 if ON_GPU else 7, (15.0, 5.0)),
    "resnet44": ((3, 32, 32), 128, 50 if ON_GPU else 5, None),
    "f1": ((1, 28, 28), 128, 50, None),
}


def network(name):
    generator = torch.Generator().manual_seed(0)
    shape = NETWORKS[name][0]
    return models.build(name, input_shape=shape, classes=10, generator=generator).to(DEVICE)


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)


def smoothed(model, noise):
    if noise == "adaptive":
        return AdaSmoothOut(sgd(model), model, strength=SHARE)
    return SmoothOut(sgd(model), model, strength=STRENGTH, noise=noise)


def quiet(model):
    """Return the parameters of batch normalization."""
    kind = torch.nn.modules.batchnorm._BatchNorm
    return [p for m in model.modules() if isinstance(m, kind) for p in m.parameters()]


# --- a step ---------------------------------------------------------------------------------------


def spent(work):
    """Return the CPU seconds of work; on a GPU the seconds until it is idle."""
    clock = time.perf_counter if ON_GPU else time.process_time
    start = clock()
    work()
    if ON_GPU:
        torch.cuda.synchronize()
    return clock() - start


@pytest.mark.parametrize("name", NETWORKS)
def test_overhead(figure, name):
    shape, size, rounds, most = NETWORKS[name]
    model = network(name)
    inputs = torch.randn(size, *shape, device=DEVICE)
    labels = torch.randint(10, (size,), device=DEVICE)

    def plain(optimizer):
        optimizer.zero_grad()
        cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    def noisy(optimizer):
        optimizer.zero_grad()
        with optimizer.perturbed():
            cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    steps = {"SGD": (plain, sgd(model))}
    for noise in ("uniform", "normal", "adaptive"):
        steps[noise] = (noisy, smoothed(model, noise))
    times = {key: [] for key in steps}
    for _ in range(rounds + 1):
        for key, (step, optimizer) in steps.items():
            times[key].append(spent(lambda step=step, optimizer=optimizer: step(optimizer)))
    group = f"SmoothOut, a step of {name}, B = {size}, on {DEVICE.type}"
    usual = times.pop("SGD")
    figure(group, "SGD", 1e3 * median(usual[1:]), "ms")
    for key, each in times.items():
        ratios = [a / b for a, b in zip(each[1:], usual[1:], strict=True)]
        limit = most[ON_GPU] if most and key == "uniform" else None
        figure(group, f"{key} noise adds", 100.0 * (median(ratios) - 1.0), "%", most=limit)


# --- noise alone, against a loop ------------------------------------------------------------------


def loop(parameters, generator):
    """Have noise on every parameter by itself, and take it away, by a copy of each."""
    clean = [part.detach().clone() for part in parameters]
    with torch.no_grad():
        for part in parameters:
            part.add_(torch.empty_like(part).uniform_(-STRENGTH, STRENGTH, generator=generator))
        noisy = [part.detach().clone() for part in parameters[:1]]
        for part, value in zip(parameters, clean, strict=True):
            part.copy_(value)
    return noisy[0]


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("name", NETWORKS)
def test_noise(against, benchmark, figure, name):
    benchmark.group = "SmoothOut, noise on and off, CPU seconds; a loop over the parameters / ours"
    model = network(name)
    optimizer = smoothed(model, "uniform")
    silent = {id(part) for part in quiet(model)}
    parameters = [part for part in model.parameters() if id(part) not in silent]

    def ours():
        optimizer.perturb()
        noisy = parameters[0].detach().clone()
        optimizer.restore()
        if ON_GPU:
            torch.cuda.synchronize()
        return noisy

    def peer():
        noisy = loop(parameters, optimizer.generator)
        if ON_GPU:
            torch.cuda.synchronize()
        return noisy

    against(peer, ours, rounds=15, warmup_rounds=1)
    weights = sum(part.numel() for part in parameters)
    drawn = torch.empty(weights, device=DEVICE)
    floor = median(
        spent(lambda: drawn.uniform_(-1.0, 1.0, generator=optimizer.generator)) for _ in range(15)
    )
    own = median(spent(ours) for _ in range(15))
    group = "SmoothOut, noise on and off, a weight"
    figure(group, f"{name}, {weights} weights", 1e9 * own / weights, "ns")
    figure(group, f"{name}, the floor: numbers alone", 1e9 * floor / weights, "ns")
    if not ON_GPU:
        state = optimizer.generator.get_state()
        first = ours()
        optimizer.generator.set_state(state)
        assert torch.equal(first, peer())
