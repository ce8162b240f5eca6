"""Batch-size sweeps of networks against training one by one, and what they may not depend on."""

import numpy as np
import pytest
import xarray as xr

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy  # noqa: E402

from deep import _noise_scale_batch_sizes as sweeps  # noqa: E402
from deep import models  # noqa: E402
from deep._image_pool import ImagePool  # noqa: E402
from deep.noise_scale import batch_size_sweep  # noqa: E402
from deep.population import example_order  # noqa: E402
from store import datasets  # noqa: E402

SMALL = {"hidden": 8, "seeds": 2, "test_size": 1200}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def alone(seed, rate, momentum, decay, size, batch, updates, pixel_scale=1.0):
    """Train one network by torch.optim.SGD; return its test loss and accuracy."""
    train, test = datasets.draw("digits", None, None, 1200, seed=0)
    rows = np.random.default_rng([seed, 1]).permutation(len(train.labels))[:size]
    rows = np.sort(rows)  # the order of a pool, which the batches' order refers to
    X, Z = (
        torch.tensor(pixel_scale * part.features(), dtype=torch.float32).view(-1, 1, 8, 8)
        for part in (train, test)
    )
    X, y = X[rows], torch.tensor(train.labels[rows])
    model = models.build(
        "mlp",
        input_shape=(1, 8, 8),
        classes=10,
        widths=(8,),
        law="glorot",
        generator=torch.Generator().manual_seed(seed),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, weight_decay=decay)
    batches, epoch = [], 0
    for _ in range(updates):
        if not batches:
            batches = list(example_order([seed], epoch, size)[0].split(batch))
            epoch += 1
        index = batches.pop(0)
        optimizer.zero_grad()
        cross_entropy(model(X[index]), y[index]).backward()
        optimizer.step()
    with torch.no_grad():
        logits = model(Z)
    labels = torch.tensor(test.labels)
    accuracy = (logits.argmax(1) == labels).double().mean()
    return float(cross_entropy(logits, labels)), float(accuracy)


def test_every_run_is_what_sgd_makes_of_it_alone():
    found = batch_size_sweep(
        train_sizes=[30, 64],
        learning_rates=[0.1, 0.2],
        momenta=[0.0, 0.9],
        weight_decays=[0.0, 0.01],
        batch_sizes=[7, 40],
        training_time=4.0,
        pixel_scale=0.5,
        **SMALL,
    )
    axes = ["seed", "learning_rate", "momentum", "weight_decay", "train_size", "batch_size"]
    runs = found.isel(time=-1).stack(run=axes)
    possible = runs.sel(run=runs.batch_size <= runs.train_size)
    assert np.isnan(runs.test_loss.sel(run=runs.batch_size > runs.train_size)).all()
    for run in np.random.default_rng(0).choice(possible.sizes["run"], 12, replace=False):
        one = possible.isel(run=run)
        settings = [one[name].item() for name in axes]
        updates = round(4.0 / settings[1])
        loss, accuracy = alone(*settings, updates, pixel_scale=0.5)
        assert one.test_loss.item() == pytest.approx(loss, rel=1e-5)
        assert one.test_accuracy.item() == pytest.approx(accuracy, abs=1e-12)


def test_the_last_look_is_at_the_end_and_looks_do_not_disturb():
    options = {"train_sizes": [64], "batch_sizes": [16, 64], "training_time": 2.0, **SMALL}
    one, four = (batch_size_sweep(looks=looks, **options) for looks in (1, 4))
    assert four.time.values.tolist() == [0.5, 1.0, 1.5, 2.0]
    xr.testing.assert_identical(four.isel(time=[-1]), one)
    assert (four.train_loss.diff("time") < 0).all()
    assert four.test_loss.attrs == {"long_name": "test loss", "units": "nat"}


def test_damped_momentum_is_heavy_ball_at_a_smaller_rate():
    options = {"train_sizes": [64], "batch_sizes": [16], "momenta": [0.75], **SMALL}
    damped = batch_size_sweep(dampened=True, learning_rates=[0.5], training_time=20.0, **options)
    heavy = batch_size_sweep(learning_rates=[0.125], training_time=5.0, **options)
    np.testing.assert_allclose(damped.test_loss, heavy.test_loss, rtol=1e-6)


def test_a_loss_is_infinite_after_divergence():
    found = batch_size_sweep(
        train_sizes=[64],
        batch_sizes=[16],
        learning_rates=[1e30],
        training_time=4e30,
        looks=2,
        **SMALL,
    )
    assert np.isposinf(found.test_loss).all()
    assert np.isposinf(found.train_loss).all()


def test_smaller_training_sets_are_parts_of_larger_ones_and_seeds_have_their_own():
    pool = ImagePool.drawn(
        dataset="digits",
        train_sizes=[20, 50],
        test_size=1200,
        seeds=3,
        pixel_scale=1.0,
        data_dir=None,
        device=None,
    )
    few, many = (pool.of_seeds(np.arange(3), size) for size in (20, 50))
    for seed in range(3):
        rows = [
            {row.numpy().tobytes() for row in inputs[labels[seed] >= 0]}
            for inputs, labels in (few, many)
        ]
        assert [len(each) for each in rows] == [20, 50]
        assert rows[0] < rows[1]
    own = (many[1] >= 0).sum(0)
    assert own.min() >= 1  # nobody's image is kept
    assert (own < 3).any()


def test_a_run_that_was_killed_goes_on(tmp_path, monkeypatch):
    options = {
        "train_sizes": [30, 64],
        "learning_rates": [0.1, 0.2],
        "batch_sizes": [8, 16],
        "training_time": 1.0,
        **SMALL,
    }
    whole = batch_size_sweep(**options)
    trained, train = [], sweeps.train_population

    def killed_at_the_third(*arguments, **more):
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(more)
        return train(*arguments, **more)

    monkeypatch.setattr(sweeps, "train_population", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        batch_size_sweep(checkpoints=str(tmp_path), **options)
    trained.clear()
    monkeypatch.setattr(
        sweeps, "train_population", lambda *a, **k: trained.append(k) or train(*a, **k)
    )
    xr.testing.assert_identical(batch_size_sweep(checkpoints=str(tmp_path), **options), whole)
    assert len(trained) == 2
    other = batch_size_sweep(checkpoints=str(tmp_path), **options, pixel_scale=0.5)
    assert len(trained) == 6  # nothing of another study is taken
    assert (other.test_loss != whole.test_loss).any()


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seeds": 0}, "seeds must be an integer of at least 1"),
        ({"looks": 0}, "looks must be"),
        ({"train_sizes": [598]}, "train_sizes must be at most 597, what the test set leaves"),
        ({"train_sizes": [0]}, "train_sizes"),
        ({"test_size": 0}, "test_size must be a positive integer"),
        ({"pixel_scale": 0.0}, "pixel_scale must be positive"),
        ({"learning_rates": [0.1, -0.1]}, "learning_rates must be positive"),
        ({"training_time": 0.0}, "training_time must be positive"),
        ({"batch_sizes": [0]}, "batch_size"),
        ({"batch_sizes": [65]}, "batch_sizes must hold one of at most N = 64"),
        ({"momenta": [1.0]}, "momentum"),
        ({"hidden": 0}, "widths"),
        ({"law": "none"}, "law is 'none'"),
    ],
)
def test_mistakes(changed, message):
    options = {"train_sizes": [64], "batch_sizes": [16], "training_time": 0.1, **SMALL}
    with pytest.raises(ValueError, match=message):
        batch_size_sweep(**{**options, **changed})
