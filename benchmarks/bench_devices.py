"""The engines against the usual loops on one GPU, in wall seconds; without one, small on the CPU.

Run with ``pytest benchmarks/bench_devices.py -n 0``. The targets are for a GPU.
"""

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy  # noqa: E402
from torch.utils.data import DataLoader, Subset, TensorDataset  # noqa: E402

from deep import models  # noqa: E402
from deep.loader import Preprocessing, to_device  # noqa: E402
from deep.population import Members, train_population  # noqa: E402
from deep.training import train  # noqa: E402

ON_GPU = torch.cuda.is_available()
DEVICE = torch.device("cuda", 0) if ON_GPU else torch.device("cpu")
BATCH, RATE, MOMENTUM = 128, 0.01, 0.9
IMAGES = 50_000 if ON_GPU else 256
MEMBERS = (1, 16, 64, 256) if ON_GPU else (1, 4)
STEPS = 200 if ON_GPU else 4


def wall(work):
    """Return the seconds that work takes, until the device is idle."""
    start = time.perf_counter()
    work()
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def colors():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (IMAGES, 32, 32, 3), dtype=np.uint8)
    return images, rng.integers(0, 10, IMAGES)


def network(name="resnet18", generator=None):
    generator = generator or torch.Generator().manual_seed(0)
    return models.build(name, input_shape=(3, 28, 28), classes=10, generator=generator)


def plain_loop(model, examples):
    """Train for an epoch as the author of the experiments does, in float32."""
    model.to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    loader = DataLoader(examples, BATCH, shuffle=True, num_workers=int(ON_GPU), pin_memory=ON_GPU)
    for inputs, labels in loader:
        inputs, labels = inputs.to(DEVICE), labels.to(DEVICE)
        loss = cross_entropy(model(inputs), labels)
        loss.item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


ENGINES = {
    "float32": {},
    "bfloat16, channels last": {"precision": "bfloat16", "channels_last": True},
    "the same, recorded": {"precision": "bfloat16", "channels_last": True, "cuda_graph": True},
    "the same, compiled": {"precision": "bfloat16", "channels_last": True, "compile": True},
}


def test_resnet18(figure):
    data = to_device(colors(), preprocessing=Preprocessing(crop=28, whiten=True))
    examples = TensorDataset(*data.batch(slice(None)))  # generous: its preprocessing is not timed
    model = network()
    plain_loop(model, Subset(examples, range(BATCH)))  # kernels are chosen
    usual = IMAGES / wall(lambda: plain_loop(model, examples))
    group = f"ResNet-18 on {DEVICE.type}, images/s"
    figure(group, "a plain DataLoader loop, float32", usual, "images/s")
    best = 0.0
    for name, options in ENGINES.items():
        if options and not ON_GPU:
            continue
        curve = train(
            network(),
            data,
            epochs=3 if ON_GPU else 1,
            batch_size=BATCH,
            optimizer_options={"lr": RATE, "momentum": MOMENTUM},
            evaluate_every=3,
            device=DEVICE,
            **options,
        )
        speed = float(curve.images_per_second[-1])  # the first epoch compiles and records
        figure(group, f"deep.training, {name}", speed, "images/s")
        best = max(best, speed)
    figure(
        group,
        "the fastest over the plain loop",
        best / usual,
        "times",
        target=10.0 if ON_GPU else None,
    )


def one_network(X, y):
    model = network("mlp_1x512").to(DEVICE)
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    order = torch.randperm(len(y), device=DEVICE)
    for step in range(STEPS):
        index = order[step * BATCH % (len(y) - BATCH) :][:BATCH]
        optimizer.zero_grad()
        cross_entropy(model(X[index]), y[index]).backward()
        optimizer.step()


def test_population(figure):
    generator = torch.Generator().manual_seed(0)
    X = torch.rand(IMAGES, 3, 28, 28, generator=generator).to(DEVICE)
    y = torch.randint(10, (IMAGES,), generator=generator).to(DEVICE)
    one_network(X, y)
    usual = 3600.0 / wall(lambda: one_network(X, y))
    group = f"MLP 1×512, {STEPS} steps at B = {BATCH}, on {DEVICE.type}"
    figure(group, "one after the other", usual, "runs/h")
    best = 0.0
    for count in MEMBERS:
        members = Members(RATE, momentum=MOMENTUM, batch_size=BATCH, seed=range(count))

        def run(members=members):
            options = {"steps": STEPS, "record_every": STEPS, "progress": False}
            train_population(lambda seeded: network("mlp_1x512", seeded), X, y, members, **options)

        run()
        speed = 3600.0 * count / wall(run)
        figure(group, f"deep.population, {count} together", speed, "runs/h")
        best = max(best, speed)
    figure(
        group,
        "the fastest over one after the other",
        best / usual,
        "times",
        target=50.0 if ON_GPU else None,
    )
