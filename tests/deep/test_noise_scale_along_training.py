"""Gradient noise along training, against autograd example by example."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy  # noqa: E402

from deep import models  # noqa: E402
from deep.noise_scale import gradient_noise  # noqa: E402
from store import datasets  # noqa: E402

SMALL = {
    "train_size": 60,
    "examples": 60,
    "widths": [6],
    "epochs": [0.2, 0.5],
    "batch_size": 16,
    "draws": 300,
    "weights": 5,
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def by_hand():
    """Return loss, tr C and |G|² after 1 and 2 updates of the small run."""
    images, _ = datasets.draw("digits", None, 60, 1, seed=4)
    X = torch.tensor(images.images / 16, dtype=torch.float32)[:, None]
    y = torch.tensor(images.labels)
    options = {"input_shape": (1, 8, 8), "classes": 10, "widths": (6,), "law": "glorot"}
    model = models.build("mlp", generator=torch.Generator().manual_seed(4), **options)
    rng, rows = np.random.default_rng([4, 1]), []
    rng = _after_normality(model, X, y, rng)
    for _ in range(2):
        batch = rng.choice(60, 16, replace=False)
        loss = cross_entropy(model(X[batch]), y[batch])
        slopes = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, slope in zip(model.parameters(), slopes, strict=True):
                parameter -= 0.1 * slope
        rng.choice(60, 60, replace=False)  # which examples: all
        gradients = []
        for example in range(60):
            loss = cross_entropy(model(X[[example]]), y[[example]])
            slopes = torch.autograd.grad(loss, list(model.parameters()))
            gradients.append(torch.cat([slope.flatten() for slope in slopes]).double().numpy())
        gradients = np.array(gradients)
        total = cross_entropy(model(X), y).item()
        square = float((gradients.mean(0) ** 2).sum())
        rows.append((total, float(gradients.var(0, ddof=1).sum()), square))
    return np.array(rows).T


def _after_normality(model, X, y, rng):
    """Draw what the study draws before it trains."""
    slopes = []
    for example in range(60):
        loss = cross_entropy(model(X[[example]]), y[[example]])
        slopes.append(torch.autograd.grad(loss, model[-1].weight)[0].flatten().numpy())
    active = np.flatnonzero(np.mean(np.array(slopes) != 0.0, axis=0) >= 0.1)
    rng.choice(active, 5, replace=False)
    rng.integers(2**32)
    for size in (1, 30):
        [rng.choice(60, size, replace=False) for _ in range(60)]
        rng.permutation(np.zeros(300))
    return rng


def test_moments_are_those_of_gradients_one_by_one():
    found = gradient_noise(seed=4, **SMALL)
    loss, trace, square = by_hand()
    np.testing.assert_allclose(found.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(found.noise_trace, trace, rtol=1e-4)
    np.testing.assert_allclose(found.gradient_square, square, rtol=1e-4)  # exact: all N
    np.testing.assert_allclose(found.noise_scale, trace / square, rtol=1e-4)
    assert (found.noise_scale_error == 0).all()


def test_a_part_of_the_examples_has_errors_that_cover_all_of_them():
    whole = gradient_noise(seed=4, **{**SMALL, "train_size": 400, "examples": 400})
    part = gradient_noise(seed=4, **{**SMALL, "train_size": 400, "examples": 100})
    assert (part.noise_trace_error > 0).all()
    first = {"epoch": 0}  # later, the runs have drawn other batches
    distance = abs(part.noise_trace - whole.noise_trace).isel(first)
    assert distance < 6 * part.noise_trace_error.isel(first)


def test_batches_are_nearer_to_normal_than_examples():
    found = gradient_noise(**{**SMALL, "train_size": 400, "draws": 2000})
    assert abs(found.excess_kurtosis[1]) < 0.2 * found.excess_kurtosis[0]
    assert found.tail_index[0] < found.tail_index[1]


def test_a_network_with_convolutions_and_batch_norm_has_a_noise_scale():
    options = {**SMALL, "train_size": 40, "examples": 10, "epochs": [0.4], "draws": 20}
    found = gradient_noise(model="inception", law="he", **options)
    assert np.isfinite(found.noise_scale).all()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"epochs": [0.0, 1.0]}, "epochs must increase from above 0"),
        ({"epochs": [1.0, 0.5]}, "epochs must increase from above 0"),
        ({"epochs": []}, "epochs must increase from above 0"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"batch_size": 61}, "batch_size must be at most train_size = 60, got 61"),
        ({"examples": 61}, "examples must be at most train_size = 60, got 61"),
        ({"examples": 2}, "examples must be"),
        ({"train_size": 0}, "train_size must be"),
        ({"weights": 0}, "weights must be"),
        ({"weights": 1000}, "weights must be at most"),
        ({"batch_sizes": [1, 61]}, "batch_sizes must be at most 60"),
        ({"draws": 3}, "draws must be"),
        ({"model": "nonesuch"}, "unknown network"),
    ],
)
def test_mistakes(changed, message):
    with pytest.raises(ValueError, match=message):
        gradient_noise(**{**SMALL, **changed})
