"""The training loop against a plain DataLoader loop: CPU seconds on one thread, float32.

Run with ``pytest benchmarks/bench_training.py -n 0``.
"""

import time

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.data import DataLoader, Dataset  # noqa: E402

from deep.loader import Preprocessing, to_device  # noqa: E402
from deep.training import train  # noqa: E402
from store.datasets import load  # noqa: E402

RATE, MOMENTUM, BATCH = 0.01, 0.9, 128


# --- the peer: examples made one by one, a number taken from every batch --------------------------


class Examples(Dataset):
    def __init__(self, images, labels, crop):
        self.images, self.labels, self.crop = images, labels, crop

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = torch.from_numpy(self.images[i].transpose(2, 0, 1)).float() / 255.0
        if self.crop:
            top = (image.shape[1] - self.crop) // 2
            image = image[:, top : top + self.crop, top : top + self.crop]
            std = image.std(correction=0).clamp(min=image.numel() ** -0.5)
            image = (image - image.mean()) / std
        return image, int(self.labels[i])


def plain_epoch(model, examples, order):
    """Train as the author of the experiments does, and evaluate on the training data."""
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE, momentum=MOMENTUM)
    total = right = 0.0
    model.train()
    for inputs, labels in DataLoader(examples, BATCH, sampler=order):
        outputs = model(inputs)
        loss = functional.cross_entropy(outputs, labels)
        total += loss.item() * len(labels)
        right += (outputs.argmax(1) == labels).sum().item()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    clean = 0.0
    with torch.no_grad():
        for inputs, labels in DataLoader(examples, 512):
            outputs = model(inputs)
            clean += functional.cross_entropy(outputs, labels, reduction="sum").item()
            right += (outputs.argmax(1) == labels).sum().item()
    return total / len(examples), clean / len(examples)


# --- networks and data ----------------------------------------------------------------------------


def perceptron(features):
    return nn.Sequential(nn.Flatten(), nn.Linear(features, 512), nn.ReLU(), nn.Linear(512, 10))


def convolutional():
    return nn.Sequential(
        nn.Conv2d(3, 16, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 49, 10),
    )


def digits():
    data = load("digits")
    return data.images[..., None], data.labels


def colors(n=2048):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    return images, rng.integers(0, 10, n)


CASES = {
    "MLP 1x512, digits": (lambda: perceptron(64), digits, None, 4.0),
    "MLP 1x512, 32x32x3 cropped and whitened": (lambda: perceptron(2352), colors, 28, 1.0),
    "small CNN, 32x32x3 cropped and whitened": (convolutional, colors, 28, 1.0),
}


def seeded(make):
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return make()


def case(name):
    make, parts, crop, target = CASES[name]
    images, labels = parts()
    steps = Preprocessing() if crop is None else Preprocessing(crop=crop, whiten=True)
    data = to_device((images, labels), preprocessing=steps)
    return make, data, Examples(images, labels, crop), target


def ours(make, data):
    options = {"lr": RATE, "momentum": MOMENTUM}
    return train(seeded(make), data, epochs=1, batch_size=BATCH, optimizer_options=options)


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("name", CASES)
def test_training(against, benchmark, name):
    benchmark.group = "training, one epoch and its evaluation"
    make, data, examples, target = case(name)
    order = data.order(0, seed=0).tolist()
    losses = against(
        lambda: plain_epoch(seeded(make), examples, order),
        lambda: ours(make, data),
        rounds=5,
        warmup_rounds=1,
        target=target,
    )
    curve = ours(make, data)
    found = float(curve.online_loss[0]), float(curve.training_loss[0])
    np.testing.assert_allclose(found, losses, rtol=1e-4)


@pytest.mark.parametrize("name", CASES)
def test_training_ours(figure, seconds, name):
    make, data, _, _ = case(name)
    speed = len(data) / seconds(lambda: ours(make, data), 5)
    figure("training, one epoch and its evaluation", f"ours, {name}", speed, "images/s on one core")
