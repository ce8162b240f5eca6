"""The randomization tests as a function, as a study and on the command line."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from stat_asserts import assert_mean
from torch import nn

from deep import models
from deep.__main__ import main
from deep.loader import Preprocessing, to_device
from deep.memorization import CORRUPTIONS, randomization, randomization_test
from deep.training import train
from store.datasets import LabeledImages, identify

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 13, (90, 4, 4)).astype(np.uint8)
LABELS = RNG.integers(0, 2, 90)
IMAGES[LABELS == 0, :2] += 4  # class 0 is brighter above, class 1 below
IMAGES[LABELS == 1, 2:] += 4
TRAIN = LabeledImages("toy", IMAGES[:60], LABELS[:60], 16)
TEST = LabeledImages("toy", IMAGES[60:], LABELS[60:], 16)
QUICK = {"epochs": 3, "batch_size": 20, "optimizer_options": {"lr": 0.1}}
SMALL = {"train_size": 60, "test_size": 40, "epochs": 2, "batch_size": 32}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def make_model(generator):
    options = {"input_shape": (1, 4, 4), "classes": 2, "widths": (8,)}
    return models.build("mlp", generator=generator, **options)


def run(corruptions, seeds=(0,), **options):
    options = {**QUICK, **options}
    return randomization_test(
        make_model, TRAIN, TEST, corruptions=corruptions, seeds=seeds, **options
    )


# --- the test itself ------------------------------------------------------------------------------


def test_true_labels_are_trained_on_as_by_hand():
    found = run(["true labels"], seeds=[3, 5])
    for seed in (3, 5):
        model = make_model(torch.Generator().manual_seed(seed))
        fitted, test = (to_device(each) for each in (TRAIN, TEST))
        curve = train(model, fitted, evaluate={"test": test}, seed=seed, **QUICK)
        one = found.sel(seed=seed, corruption="true labels")
        for name in ("online_loss", "training_loss", "training_accuracy"):
            np.testing.assert_array_equal(one[name], curve[name])
        np.testing.assert_array_equal(one.test_accuracy, curve.evaluation_accuracy[0])
        np.testing.assert_array_equal(one.corrupted_test_accuracy, one.test_accuracy)
        np.testing.assert_array_equal(one.true_training_accuracy, one.training_accuracy)
        assert float(one.wrong) == 0.0


def test_shape_names_and_attributes():
    found = run([*CORRUPTIONS, 0.25], seeds=(0, 1))
    assert dict(found.sizes) == {"seed": 2, "corruption": 6, "epoch": 3}
    assert list(found.corruption.values) == [*CORRUPTIONS, "labels 0.25"]
    assert all({"long_name", "units"} <= set(each.attrs) for each in found.data_vars.values())
    assert found.attrs["n_parameters"] == 16 * 8 + 8 + 8 * 2 + 2
    assert found.attrs["surplus"] == pytest.approx(154 / (60 * 3 + 16))


def test_a_corruption_does_not_depend_on_the_others():
    alone, together = run(["random pixels"]), run([0.5, "random pixels", "random labels"])
    one = together.sel(corruption=["random pixels"])
    for name in alone.data_vars:
        np.testing.assert_array_equal(alone[name], one[name])
    again = run([0.5, "random pixels", "random labels"])
    assert together.identical(again)
    assert not np.array_equal(run(["random pixels"], seeds=[1]).online_loss, alone.online_loss)


def test_labels_are_replaced_with_their_probability():
    n = 40  # seeds
    found = run([0.3, "random labels"], seeds=range(n), epochs=1)
    # A class drawn from two is the wrong one half of the time.
    for kind, p in (("labels 0.3", 0.3), ("random labels", 1.0)):
        wrong = found.wrong.sel(corruption=kind).values
        assert_mean(wrong, p / 2)
        with pytest.raises(AssertionError):
            assert_mean(wrong, p)


def test_corrupted_test_labels_are_harder_by_as_much_as_is_drawn_anew():
    found = run([0.4], seeds=range(60), epochs=10, optimizer_options={"lr": 0.5})
    last = found.isel(epoch=-1)
    true, corrupted = last.test_accuracy, last.corrupted_test_accuracy
    # A hit stays one but for p / 2 of the labels, of which as many misses become one.
    difference = (corrupted - (true * (1 - 0.2) + (1 - true) * 0.2)).values.ravel()
    assert_mean(difference, 0.0)
    with pytest.raises(AssertionError):
        assert_mean((corrupted - true).values.ravel(), 0.0)


def test_patterns_are_learned_before_noise_is_fitted():
    def wide(generator):
        shape = {"input_shape": (1, 4, 4), "classes": 2}
        return models.build("mlp", generator=generator, widths=(200,), **shape)

    options = {**QUICK, "epochs": 150, "optimizer_options": {"lr": 0.1, "momentum": 0.9}}
    found = randomization_test(
        wide, TRAIN, TEST, corruptions=[0.5], seeds=range(5), **options
    ).isel(corruption=0)
    true, fitted = found.true_training_accuracy, found.training_accuracy
    # Where all labels trained on are fitted, the true ones are right where none was replaced.
    assert bool((fitted[:, -1] > 0.95).all())
    whole = fitted[:, -1] == 1.0
    np.testing.assert_allclose(true[whole.values, -1], 1 - found.wrong[whole.values])
    assert float((true.max("epoch") - true[:, -1]).mean()) > 0.02


def test_pixels_are_corrupted_in_both_sets_alike():
    seen = []

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(16, 2)

        def forward(self, x):
            seen.append(x.detach().clone())
            return self.layer(x.flatten(1))

    def spied(generator):
        return Spy()

    for kind in ("shuffled pixels", "random pixels", "Gaussian pixels"):
        seen.clear()
        randomization_test(
            spied, TRAIN, TEST, corruptions=[kind], seeds=[0], **{**QUICK, "epochs": 1}
        )
        images = {tuple(np.round(each.flatten().numpy() * 16, 6)) for x in seen for each in x}
        originals = [tuple(map(float, image.ravel())) for image in IMAGES]
        assert images.isdisjoint(originals)
        same_histogram = {tuple(sorted(image)) for image in images} <= {
            tuple(sorted(image)) for image in originals
        }
        assert same_histogram == (kind != "Gaussian pixels")


def test_a_training_that_stops_leaves_nan():
    found = run(["true labels"], epochs=200, stop_at_accuracy=0.9, optimizer_options={"lr": 0.5})
    accuracy = found.training_accuracy.values[0, 0]
    last = int(np.flatnonzero(np.isfinite(accuracy))[-1])
    assert last < 199
    assert accuracy[last] >= 0.9
    assert np.all(accuracy[:last] < 0.9)
    assert np.isnan(found.online_loss.values[0, 0, last + 1 :]).all()


def test_wrong_labels_are_followed_on_their_own():
    found = run([0.6, "true labels"], epochs=4)
    noisy, clean = (found.isel(seed=0, corruption=number) for number in (0, 1))
    # The labels as they were drawn, and the network trained on them by hand.
    model, drawn = make_model(torch.Generator().manual_seed(0)), []

    def spy(data, *arguments, **options):
        drawn.append(to_device(data, **options))
        return drawn[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("deep._memorization_randomization.to_device", spy)
        run([0.6], epochs=4)
    fitted = drawn[0]
    train(model, fitted, seed=0, **{**QUICK, "epochs": 4})
    with torch.no_grad():
        given = model(fitted.batch(slice(0, 60))[0]).argmax(1).numpy()
    labels, truth = fitted.labels.numpy(), LABELS[:60]
    wrong = labels != truth
    assert float(noisy.wrong) == wrong.mean() > 0.0
    last = noisy.isel(epoch=-1)
    assert float(last.wrong_labels_fitted) == np.mean(given[wrong] == labels[wrong])
    assert float(last.true_training_accuracy) == np.mean(given == truth)
    assert float(last.training_accuracy) == np.mean(given == labels)
    assert bool(clean.wrong_labels_fitted.isnull().all())


def test_epochs_without_measurement_are_nan():
    found = run([0.5], epochs=5, evaluate_every=2).isel(seed=0, corruption=0)
    every = run([0.5], epochs=5).isel(seed=0, corruption=0)
    np.testing.assert_array_equal(found.online_loss, every.online_loss)
    for name in ("training_accuracy", "true_training_accuracy", "wrong_labels_fitted"):
        measured = [False, True, False, True, True]
        np.testing.assert_array_equal(found[name].notnull(), measured)
        np.testing.assert_array_equal(found[name][measured], every[name][measured])


def test_when_it_has_fitted():
    found = run(["true labels"], epochs=30, fit_loss=0.65)
    loss = found.online_loss.values[0, 0]
    assert found.epochs_to_fit.values[0, 0] == 1 + np.flatnonzero(loss <= 0.65)[0] > 1
    assert math.isnan(run(["true labels"], fit_loss=1e-9).epochs_to_fit.values[0, 0])


def test_a_killed_test_goes_on(tmp_path, monkeypatch):
    whole = run(["true labels", "random labels"], seeds=[0, 1])
    calls = []

    def deadly(generator):
        calls.append(generator)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return make_model(generator)

    options = {**QUICK, "corruptions": ["true labels", "random labels"], "seeds": [0, 1]}
    with pytest.raises(KeyboardInterrupt):
        randomization_test(deadly, TRAIN, TEST, checkpoints=tmp_path, **options)
    assert len(list(tmp_path.glob("*.pt"))) == 2
    resumed = randomization_test(make_model, TRAIN, TEST, checkpoints=tmp_path, **options)
    assert resumed.identical(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corruptions": ["noise"]}, "unknown corruption 'noise'; known: true labels, "),
        ({"corruptions": [1.5]}, "probability must be between 0 and 1, got 1.5"),
        ({"seeds": []}, "seeds must hold at least one seed"),
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
        ({"fit_loss": 0.0}, "fit_loss must be positive, got 0"),
        ({"test_data": (IMAGES[:5, :2], LABELS[:5])}, r"one shape, got \(4, 4\) and \(2, 4\)"),
        ({"test_data": (IMAGES[:5], LABELS[:4])}, "test_data must hold inputs"),
        ({"train_data": (IMAGES[:5], -LABELS[:5] - 1)}, "train_data must hold inputs"),
        ({"preprocessing": Preprocessing(crop=9)}, "crop must be at most 4"),
        ({"optimizer": "nonesuch"}, "optimizer"),
    ],
)
def test_mistakes(options, message):
    arguments = {"train_data": TRAIN, "test_data": TEST, **QUICK, **options}
    with pytest.raises(ValueError, match=message):
        randomization_test(make_model, **arguments)


def test_a_model_of_too_few_outputs_is_refused():
    labels = np.arange(60) % 3
    with pytest.raises(ValueError, match="outputs"):
        randomization_test(make_model, (IMAGES[:60], labels), TEST, **QUICK)


# --- the study, and the command line --------------------------------------------------------------


def test_the_study_is_the_test_on_digits():
    found = randomization(seed=2, corruptions=["true labels", 0.5], **SMALL)
    assert dict(found.sizes) == {"corruption": 2, "epoch": 2}
    assert found.attrs["n_parameters"] == 64 * 512 + 512 + 512 * 10 + 10
    assert found.identical(randomization(seed=2, corruptions=["true labels", 0.5], **SMALL))
    other = randomization(seed=3, corruptions=["true labels", 0.5], **SMALL)
    assert not np.array_equal(other.online_loss, found.online_loss)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "nonesuch"}, "unknown network 'nonesuch'"),
        ({"augmentation": "mixup"}, "augmentation must be one of none, crop, flip and rotation"),
        (
            {"train_size": 1797},
            "train_size \\+ test_size must be at most 1797, the images of 'digits', got 1837",
        ),
        ({"train_size": 0}, "train_size must be a positive integer"),
    ],
)
def test_mistakes_of_the_study(options, message):
    with pytest.raises(ValueError, match=message):
        randomization(**{**SMALL, **options})


@pytest.mark.parametrize("crop", [None, 7])
@pytest.mark.parametrize("augmentation", ["crop", "flip and rotation"])
def test_augmented_trainings_differ(augmentation, crop):
    options = {**SMALL, "corruptions": ["random labels"], "crop": crop}
    plain, other = randomization(**options), randomization(**options, augmentation=augmentation)
    assert not np.array_equal(plain.online_loss, other.online_loss)


def test_initial_weights_follow_the_law():
    options = {**SMALL, "corruptions": ["true labels"], "model": "alexnet", "epochs": 1}
    plain, he = randomization(**options), randomization(**options, law="he")
    assert plain.identical(randomization(**options, law="torch"))
    assert not np.array_equal(plain.online_loss, he.online_loss)


def cifar10(folder):
    """Write sixty images that are brighter than the ten of the test file."""
    rng = np.random.default_rng(3)
    for number in range(1, 6):
        records = rng.integers(128, 256, (12, 3073), np.uint8)
        records[:, 0] = np.arange(12) % 10
        (folder / f"data_batch_{number}.bin").write_bytes(records.tobytes())
    records = rng.integers(0, 64, (10, 3073), np.uint8)
    records[:, 0] = np.arange(10)
    (folder / "test_batch.bin").write_bytes(records.tobytes())
    return identify(folder)


def test_a_data_set_with_parts_keeps_them(tmp_path):
    options = {**SMALL, "dataset": cifar10(tmp_path), "data_dir": str(tmp_path), "epochs": 1}
    found = randomization(**{**options, "train_size": 60, "test_size": 10})
    assert found.attrs["n_parameters"] == 1_209_866
    for sizes, message in (
        ({"train_size": 61}, "train_size must be at most 60"),
        ({"test_size": 11}, "test_size must be at most 10"),
    ):
        with pytest.raises(ValueError, match=message):
            randomization(**{**options, "train_size": 60, "test_size": 10, **sizes})


def test_a_killed_study_goes_on(tmp_path, monkeypatch):
    options = {**SMALL, "corruptions": ["true labels", "random labels"]}
    whole, done = randomization(**options), []

    def deadly(*arguments, **keywords):
        if done:
            raise KeyboardInterrupt
        done.append(train(*arguments, **keywords))
        return done[0]

    with monkeypatch.context() as patch:
        patch.setattr("deep._memorization_randomization.train", deadly)
        with pytest.raises(KeyboardInterrupt):
            randomization(**options, checkpoints=str(tmp_path))
    assert [file.name for file in tmp_path.glob("*.pt")] == ["true labels 0.pt"]
    assert randomization(**options, checkpoints=str(tmp_path)).identical(whole)


def test_the_command_line_runs_it_by_its_short_name(tmp_path, capsys):
    arguments = ["run", "randomization", "--device", "cpu", "--jobs", "1"]
    for name, value in SMALL.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    out = tmp_path / "found.nc"
    assert main([*arguments, "--store", str(tmp_path / "store"), "--out", str(out)]) == 0
    assert out.stat().st_size > 0
    assert main(["list"]) == 0
    assert "memorization.randomization" in capsys.readouterr().out


def on_the_command_line(folder, **parameters):
    arguments = ["run", "randomization", "--jobs", "1", "--store", str(folder)]
    for name, value in {**SMALL, **parameters}.items():
        arguments += [f"--{name.replace('_', '-')}", str(value)]
    return arguments


def test_a_divergence_is_told_plainly(tmp_path, capsys):
    arguments = on_the_command_line(tmp_path, learning_rate=1e9, epochs=9)
    assert main(arguments) == 1
    err = capsys.readouterr().err
    assert re.search(r"^error: the .* in epoch \d+, step \d+ of 2$", err, re.MULTILINE)
    assert "It was the training on true labels, seed 0." in err


def test_a_missing_device_is_told_plainly(tmp_path, capsys):
    assert main([*on_the_command_line(tmp_path), "--device", "cuda:99"]) == 2
    assert "error: device 'cuda:99' cannot be used: " in capsys.readouterr().err


def test_several_processes_give_one_result(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "deep"]
    arguments = on_the_command_line(tmp_path, corruptions='["random labels"]')
    found = subprocess.run(
        [*command, *arguments],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.count("Every seed's result is kept") == 1
    (result,) = tmp_path.rglob("result.nc")
    alone = randomization(corruptions=["random labels"], seed=0, device="cpu", **SMALL)
    together = xr.open_dataset(result, engine="netcdf4")
    np.testing.assert_allclose(together.online_loss, alone.online_loss, rtol=1e-5)
