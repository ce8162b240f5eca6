import hashlib

import numpy as np
import pytest
from stat_asserts import assert_counts, assert_mean

from store.datasets import Gratings, identify, load

LAW = Gratings(classes=4, size=12, noise=30, train_size=400, test_size=300, seed=3)


def accuracy(law, part="test"):
    images, labels = law.draw(part)
    return np.mean(law.energies(images).argmax(axis=1) == labels)


def linear_accuracy(law):
    """Least squares on pixels and a constant, trained on the first part, tested on the second."""
    (images, labels), (tests, truth) = law.draw("train"), law.draw("test")
    X, X_test = (np.column_stack([a.reshape(len(a), -1), np.ones(len(a))]) for a in (images, tests))
    weights = np.linalg.lstsq(X, np.eye(law.classes)[labels], rcond=None)[0]
    return (X_test @ weights).argmax(axis=1) == truth


def test_loaded_by_name_with_parameters():
    train, test, everything = (load(LAW.name, part=part) for part in ("train", "test", "all"))
    assert LAW.name == ("procedural:classes=4,size=12,noise=30,train_size=400,test_size=300,seed=3")
    assert (train.name, train.max_value) == (LAW.name, 255)
    assert train.images.shape == (400, 12, 12)
    assert (train.images.dtype, train.labels.dtype) == (np.uint8, np.int64)
    np.testing.assert_array_equal(train.images, LAW.draw("train")[0])
    np.testing.assert_array_equal(everything.images, np.concatenate([train.images, test.images]))
    np.testing.assert_array_equal(everything.labels, [*train.labels, *test.labels])
    assert load("procedural", "/ignored").images.shape == (3000, 16, 16)
    other = load("procedural:seed=3,train_size=400,noise=30.0")
    assert other.name == "procedural:noise=30,train_size=400,seed=3"


def test_the_default_set_is_the_same_on_every_machine():
    """So that a recorded result keeps its data: the bits of the images, as first drawn."""
    law = Gratings(train_size=50, test_size=20)
    digest = hashlib.sha256(b"".join(law.draw(part)[0].tobytes() for part in ("train", "test")))
    assert digest.hexdigest()[:16] == "ef13b6a799887c31"


def test_parts_and_seeds_are_streams_of_their_own():
    larger = Gratings(**{**vars(LAW), "train_size": 500})
    np.testing.assert_array_equal(larger.draw("test")[0], LAW.draw("test")[0])
    other = Gratings(**{**vars(LAW), "seed": 4})
    assert np.mean(other.draw("test")[0] == LAW.draw("test")[0]) < 0.1
    equal = Gratings(**{**vars(LAW), "test_size": 400})
    assert np.mean(equal.draw("test")[0] == equal.draw("train")[0]) < 0.1


def test_a_pixel_is_as_the_formula_says():
    """Without nuisance but phase and contrast: fit both to each image, nothing may be left."""
    law = Gratings(classes=5, size=9, brightness=0, noise=0, train_size=30, frequency=2.5)
    images, labels = law.draw("train")
    amplitudes = []
    for image, label in zip(images, labels, strict=True):
        theta = np.pi * label / 5
        rows = []
        for i in range(9):
            for j in range(9):
                x, y = (j - 4) / 9, (i - 4) / 9
                along = 2 * np.pi * 2.5 * (x * np.cos(theta) + y * np.sin(theta))
                rows.append([np.cos(along), np.sin(along)])
        target = image.ravel() - 128.0
        weights = np.linalg.lstsq(np.array(rows), target, rcond=None)[0]
        assert np.max(np.abs(np.array(rows) @ weights - target)) < 0.6  # rounded
        amplitudes.append(np.hypot(*weights))
    assert 29.5 < min(amplitudes) < max(amplitudes) < 60.5
    assert max(amplitudes) - min(amplitudes) > 20


def test_noise_and_brightness_have_their_deviations():
    law = Gratings(contrast=0, brightness=10, noise=20, train_size=3000, size=4, frequency=1)
    images = law.draw("train")[0].astype(float)
    pixels = images[:, 0, 0] - 128
    other = images[:, 3, 2] - 128
    assert_mean(pixels**2, 10**2 + 20**2 + 1 / 12)
    assert_mean(pixels * other, 10**2)
    with pytest.raises(AssertionError):
        assert_mean(pixels * other, 12**2)


def test_classes_are_uniform():
    labels = Gratings(classes=4, train_size=4000, size=4, frequency=1).draw("train")[1]
    assert_counts(np.bincount(labels), np.full(4, 0.25))


def test_the_signal_is_there_but_no_linear_one():
    assert accuracy(LAW) > 0.97
    right = linear_accuracy(LAW)
    assert_counts([right.sum(), (~right).sum()], [0.25, 0.75])
    with pytest.raises(AssertionError):
        assert_counts([right.sum(), (~right).sum()], [0.45, 0.55])


def test_noise_hides_the_signal():
    found = [accuracy(Gratings(**{**vars(LAW), "noise": noise})) for noise in (30, 120, 100000)]
    assert found[0] > found[1] > 0.35 > found[2]


def test_energies_against_a_bayes_rule_by_quadrature():
    """Likelihoods integrated over phase, contrast and brightness pick the same classes."""
    law = Gratings(classes=3, size=8, frequency=2, brightness=15, noise=60, test_size=60)
    images, _ = law.draw("test")
    grid = (np.arange(8) - 3.5) / 8
    phases, contrasts = np.arange(24) * np.pi / 12, np.linspace(30, 60, 7)
    noise = 60.0**2 * np.eye(64) + 15.0**2 * np.ones((64, 64))
    scores = np.zeros((60, 3))
    for k in range(3):
        along = np.cos(np.pi * k / 3) * grid + np.sin(np.pi * k / 3) * grid[:, None]
        waves = np.cos(4 * np.pi * along.ravel() + phases[:, None])
        means = 128 + (contrasts[:, None, None] * waves).reshape(-1, 64)
        left = images.reshape(60, 1, 64) - means
        exponents = -0.5 * np.einsum("nmi,ij,nmj->nm", left, np.linalg.inv(noise), left)
        scores[:, k] = np.logaddexp.reduce(exponents, axis=1)
    agreement = np.mean(scores.argmax(axis=1) == law.energies(images).argmax(axis=1))
    assert agreement > 0.9


def test_color_images_differ_by_noise_alone():
    law = Gratings(channels=3, noise=10, contrast=40, brightness=5, test_size=200)
    images, labels = law.draw("test")
    assert images.shape == (200, 16, 16, 3)
    difference = images[..., 0].astype(float) - images[..., 1]
    assert np.std(difference) == pytest.approx(10 * np.sqrt(2), rel=0.02)
    assert np.mean(law.energies(images).argmax(axis=1) == labels) > 0.97
    assert load(law.name, part="test").images.shape == (200, 16, 16, 3)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("procedural:colour=3", "has no parameter 'colour': allowed are classes, size, channels"),
        ("procedural:size=big", "size of 'procedural:size=big' must be int, got 'big'"),
        ("procedural:size=8.5", "must be int, got '8.5'"),
        ("procedural:noise=", "noise of 'procedural:noise=' must be float, got ''"),
        ("procedural:classes=1", "classes must be at least 2, got 1"),
        ("procedural:size=2", "size must be at least 4, got 2"),
        ("procedural:train_size=0", "train_size must be at least 1, got 0"),
        ("procedural:test_size=0", "test_size must be at least 1, got 0"),
        ("procedural:seed=-1", "seed must be at least 0, got -1"),
        ("procedural:channels=2", "channels must be 1 or 3, got 2"),
        ("procedural:frequency=8", "frequency must be positive and below half of size 16, got 8"),
        ("procedural:frequency=nan", "frequency must be positive and below half of size 16"),
        ("procedural:noise=-1", "noise must be 0 or more, got -1"),
        ("procedural:contrast=inf", "contrast must be 0 or more, got inf"),
        ("procedural:brightness=nan", "brightness must be 0 or more, got nan"),
    ],
)
def test_wrong_parameters(name, message):
    with pytest.raises(ValueError, match=message):
        load(name)


def test_wrong_use(tmp_path):
    with pytest.raises(ValueError, match="part must be 'all', 'train' or 'test' for 'procedural'"):
        load("procedural", part="valid")
    with pytest.raises(ValueError, match="images must be of 12 x 12 pixels, got shape"):
        LAW.energies(np.zeros((2, 8, 8)))
    with pytest.raises(ValueError, match="directory must be given: 'procedurals'"):
        load("procedurals")
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        identify(tmp_path)
