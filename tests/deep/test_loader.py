"""Batches on the device: each step of preprocessing by a second route; what its bits depend on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

torch = pytest.importorskip("torch")

from deep.loader import DeviceDataset, Preprocessing, to_device  # noqa: E402
from store.datasets import LabeledImages  # noqa: E402

DTYPES = {"uint8": np.uint8, "float32": np.float32}


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def colors(n=6, height=9, width=7, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, size=(n, height, width, 3), dtype=np.uint8)


def planes(images):
    return torch.from_numpy(images.transpose(0, 3, 1, 2).copy())


def draws(n, seed=0, **columns):
    """Uniform numbers: row, column, flip, angle."""
    table = np.random.default_rng(seed).random((n, 4), dtype=np.float32)
    for index, name in enumerate(("row", "column", "flip", "angle")):
        if name in columns:
            table[:, index] = columns[name]
    return torch.from_numpy(table)


# --- from arrays to the device --------------------------------------------------------------------


def test_labeled_images_become_planes_on_the_device():
    images, labels = colors(), np.array([0, 1, 2, 0, 1, 2])
    data = to_device(LabeledImages("made-up", images, labels, 200))
    assert (data.inputs.dtype, data.n_classes, data.max_value) == (torch.uint8, 3, 200.0)
    for i, channel in np.ndindex(6, 3):
        assert np.array_equal(data.inputs[i, channel].numpy(), images[i, :, :, channel])
    inputs, targets = data.batch(torch.tensor([4, 0]))
    assert np.array_equal(targets.numpy(), [1, 0])
    expected = images[[4, 0]].transpose(0, 3, 1, 2) / 200.0
    np.testing.assert_allclose(inputs.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((5, 4, 3), (5, 1, 4, 3)), ((5, 4, 3, 2), (5, 2, 4, 3)), ((5, 4), (5, 4))],
)
def test_shapes_of_arrays(shape, expected):
    data = to_device((np.zeros(shape, np.uint8), np.zeros(5, np.int64)))
    assert tuple(data.inputs.shape) == expected
    assert data.max_value == 255.0


def test_tensors_stay_as_they_are_and_the_data_is_copied_from_arrays():
    inputs = torch.rand(5, 2, 4, 3, dtype=torch.float64)
    data = to_device((inputs, torch.arange(5)), n_classes=7)
    assert torch.equal(data.inputs, inputs)
    assert (data.max_value, data.n_classes) == (1.0, 7)
    assert data.batch(slice(0, 2))[0].dtype == torch.float64
    images, labels = colors(), np.zeros(6, np.int64)
    data = to_device((images, labels))
    before = data.inputs.clone()
    images[:], labels[:] = 0, 5
    assert torch.equal(data.inputs, before)
    assert int(data.labels.max()) == 0


def test_device():
    data = to_device((colors(), np.zeros(6, np.int64)), device="cpu")
    assert data.inputs.device == data.labels.device == torch.device("cpu")
    assert data.to(torch.device("cpu")) is data
    assert data.order(0, seed=0).device == torch.device("cpu")


def test_given_max_value_wins():
    images = LabeledImages("made-up", colors(), np.zeros(6, np.int64), 16)
    assert to_device(images).max_value == 16.0
    assert to_device(images, max_value=8).max_value == 8.0


def test_channel_statistics():
    images = colors(50)
    mean, std = to_device((images, np.zeros(50, np.int64))).channel_statistics()
    flat = images.reshape(-1, 3) / 255.0
    np.testing.assert_allclose(mean, flat.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(std, flat.std(axis=0), rtol=1e-12)


# --- order and random numbers ---------------------------------------------------------------------


@given(n=st.integers(1, 200), epoch=st.integers(0, 1000), seed=st.integers(0, 2**64))
def test_order_is_a_permutation_and_a_function_of_seed_and_epoch(n, epoch, seed):
    data = DeviceDataset(torch.zeros(n, 1), torch.zeros(n, dtype=torch.int64), 1)
    order = data.order(epoch, seed=seed)
    assert order.sort().values.tolist() == list(range(n))
    assert torch.equal(order, data.order(epoch, seed=seed))
    if n > 20:
        assert not torch.equal(order, data.order(epoch + 1, seed=seed))
        assert not torch.equal(order, data.order(epoch, seed=seed + 1))


def test_random_numbers_are_a_function_of_seed_and_epoch():
    parts = np.zeros((500, 4, 4), np.uint8), np.zeros(500, np.int64)
    assert to_device(parts).uniforms(0, seed=0) is None
    data = to_device(parts, preprocessing=Preprocessing(flip=True))
    first = data.uniforms(3, seed=1)
    assert first.shape == (500, 4)
    assert 0.0 <= float(first.min()) < float(first.max()) < 1.0
    assert torch.equal(first, data.uniforms(3, seed=1))
    assert not torch.equal(first, data.uniforms(4, seed=1))
    assert not torch.equal(first, data.uniforms(3, seed=2))


def test_global_generators_are_untouched():
    data = to_device(
        (colors(), np.zeros(6, np.int64)), preprocessing=Preprocessing(flip=True, rotation=5)
    )
    before, state = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002
    data.batch(data.order(0, seed=0), data.uniforms(0, seed=0))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002


# --- each step ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize("side", [1, 4, 7])
def test_central_crop(side, kind):
    images = colors().astype(DTYPES[kind])
    top, left = (9 - side) // 2, (7 - side) // 2
    expected = images[:, top : top + side, left : left + side].transpose(0, 3, 1, 2)
    for preprocessing in (Preprocessing(crop=side), Preprocessing(crop=side, random_crop=True)):
        assert np.array_equal(preprocessing(planes(images)).numpy(), expected)
    # A flip leaves a crop where it is.
    flipped = Preprocessing(crop=side, flip=True)(planes(images), draws(6, flip=0.1))
    assert np.array_equal(flipped.numpy(), expected[..., ::-1])


@pytest.mark.parametrize("kind", DTYPES)
@pytest.mark.parametrize(("crop", "padding"), [(5, 0), (None, 2), (7, 3), (6, 1)])
def test_random_crops_are_windows_of_the_padded_image(crop, padding, kind):
    images = colors(64).astype(DTYPES[kind])
    table = draws(64)
    table[0, :2], table[1, :2] = 0.0, 1.0 - 2.0**-24  # the ends
    height, width = (9, 7) if crop is None else (crop, crop)
    found = Preprocessing(crop=crop, padding=padding, random_crop=True)(planes(images), table)
    assert found.shape == (64, 3, height, width)
    padded = np.pad(images, ((0, 0), (padding,) * 2, (padding,) * 2, (0, 0)))
    ends = padded.shape[1] - height, padded.shape[2] - width
    for i, (row, column) in enumerate(table[:, :2].double().numpy()):
        top, left = int(row * (ends[0] + 1)), int(column * (ends[1] + 1))
        assert i != 0 or (top, left) == (0, 0)
        assert i != 1 or (top, left) == ends
        window = padded[i, top : top + height, left : left + width]
        assert np.array_equal(found[i].numpy(), window.transpose(2, 0, 1))


def test_all_places_of_a_crop_are_equally_likely():
    images = torch.arange(9.0).reshape(1, 1, 3, 3).expand(9000, 1, 3, 3)
    corners = Preprocessing(crop=1, random_crop=True)(images, draws(9000)).flatten()
    counts = np.bincount(corners.int().numpy(), minlength=9)
    assert np.max(np.abs(counts - 1000)) < 5 * np.sqrt(1000)


def test_flips():
    images = colors(1000)
    table = draws(1000)
    found = Preprocessing(flip=True)(planes(images), table).numpy()
    mirrored = table[:, 2].numpy() < 0.5
    assert 400 < mirrored.sum() < 600
    original = images.transpose(0, 3, 1, 2)
    assert np.array_equal(found[mirrored], original[mirrored][..., ::-1])
    assert np.array_equal(found[~mirrored], original[~mirrored])


@pytest.mark.parametrize("shape", [(8, 8), (9, 7), (6, 11)])
def test_rotation_is_that_of_scipy(shape):
    rng = np.random.default_rng(1)
    image, uniforms = rng.random((1, 2, *shape)), draws(1, angle=0.8)
    found = Preprocessing(rotation=50.0)(torch.from_numpy(image), uniforms)[0].numpy()
    for channel in range(2):
        expected = ndimage.rotate(
            image[0, channel], 0.6 * 50.0, reshape=False, order=1, mode="grid-constant"
        )
        np.testing.assert_allclose(found[channel], expected, atol=1e-5)
        assert np.max(np.abs(found[channel] - image[0, channel])) > 0.1


def test_angles_go_from_end_to_end():
    image = torch.rand(1, 1, 8, 8)
    turn = Preprocessing(rotation=90.0)
    ends = [turn(image, draws(1, angle=angle))[0, 0] for angle in (0.0, 0.5, 1.0)]
    for end, turns in zip(ends, (-1, 0, 1), strict=True):
        torch.testing.assert_close(end, torch.rot90(image[0, 0], turns), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 0.0])
def test_whitening_is_that_of_tensorflow(scale):
    """The last two are below the least standard deviation."""
    images = torch.rand(5, 3, 4, 6, dtype=torch.float64) * scale + 0.25
    found = Preprocessing(whiten=True)(images).numpy()
    for image, white in zip(images.numpy(), found, strict=True):
        deviation = max(image.std(), 1.0 / np.sqrt(image.size))
        np.testing.assert_allclose(white, (image - image.mean()) / deviation, atol=1e-12)


def test_whitening_of_vectors():
    rows = torch.rand(5, 40, dtype=torch.float64)
    white = Preprocessing(whiten=True)(rows)
    np.testing.assert_allclose(white.mean(1), 0.0, atol=1e-12)
    np.testing.assert_allclose(white.std(1, correction=0), 1.0, rtol=1e-12)


def test_channels_are_normalized():
    images = colors()
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    found = Preprocessing(mean=mean, std=std)(planes(images), max_value=255.0).numpy()
    expected = (images / 255.0 - mean) / std
    np.testing.assert_allclose(found, expected.transpose(0, 3, 1, 2), rtol=1e-5, atol=1e-6)


def test_crop_comes_before_whitening_and_whitening_before_normalization():
    images = planes(colors())
    both = Preprocessing(crop=5, whiten=True, mean=(1.0,) * 3, std=(2.0,) * 3)
    cropped = Preprocessing(crop=5)(images, max_value=255.0)
    white = Preprocessing(whiten=True)(cropped)
    torch.testing.assert_close(both(images, max_value=255.0), (white - 1.0) / 2.0)


def test_no_random_numbers_no_augmentation():
    images = planes(colors())
    all_steps = Preprocessing(rotation=30, padding=2, crop=5, random_crop=True, flip=True)
    assert torch.equal(all_steps(images), Preprocessing(crop=5)(images))
    assert not torch.equal(all_steps(images, draws(6)), all_steps(images))


def test_an_example_s_augmentation_does_not_depend_on_its_batch():
    steps = Preprocessing(rotation=30, padding=2, crop=5, random_crop=True, flip=True, whiten=True)
    data = to_device((colors(), np.zeros(6, np.int64)), preprocessing=steps)
    order, uniforms = data.order(0, seed=0), data.uniforms(0, seed=0)
    whole = data.batch(order, uniforms)[0]
    parts = [data.batch(order[i : i + 2], uniforms[i : i + 2])[0] for i in (0, 2, 4)]
    torch.testing.assert_close(whole, torch.cat(parts), rtol=1e-6, atol=1e-6)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rotation": -1.0}, r"rotation must be in \[0, 180\] degrees, got -1"),
        ({"rotation": float("nan")}, r"rotation must be in \[0, 180\] degrees, got nan"),
        ({"padding": -1}, "padding must be at least 0, got -1"),
        ({"crop": 0}, "crop must be at least 1, got 0"),
        ({"random_crop": True}, "random_crop needs a crop or padding"),
        ({"padding": 2}, "random_crop must be True"),
        ({"mean": (0.0,)}, "mean and std must be given together"),
        ({"mean": (0.0,), "std": (0.0,)}, "std must be positive"),
    ],
)
def test_wrong_preprocessing_raises(options, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**options)


@pytest.mark.parametrize(
    ("options", "shape", "message"),
    [
        ({"crop": 8}, (3, 9, 7), "crop must be at most 7, the images' side, got 8"),
        ({"flip": True}, (12,), r"needs images \(channels, height, width\), got examples \(12,\)"),
        ({"mean": (0.0,), "std": (1.0,)}, (3, 9, 7), "mean must have 3 values, .* got 1"),
    ],
)
def test_preprocessing_that_does_not_suit_the_examples_raises(options, shape, message):
    with pytest.raises(ValueError, match=message):
        to_device(
            (torch.zeros(2, *shape), torch.tensor([0, 1])), preprocessing=Preprocessing(**options)
        )


def test_wrong_data_raises():
    inputs, labels = torch.zeros(3, 2), torch.tensor([0, 1, 2])
    with pytest.raises(TypeError, match=r"inputs must be uint8 or .*, got torch\.int32"):
        to_device((inputs.int(), labels))
    with pytest.raises(TypeError, match=r"labels must be int64, got torch\.float32"):
        to_device((inputs, labels.float()))
    with pytest.raises(ValueError, match=r"got \(2,\) and \(3, 2\)"):
        to_device((inputs, labels[:2]))
    with pytest.raises(ValueError, match=r"n > 0; got \(0,\)"):
        to_device((inputs[:0], labels[:0]))
    with pytest.raises(ValueError, match="labels must be 0 to 1 for 2 classes, got 0 to 2"):
        to_device((inputs, labels), n_classes=2)
    with pytest.raises(ValueError, match="got -1 to 1"):
        to_device((inputs, labels - 1))
    with pytest.raises(ValueError, match="max_value must be positive, got 0"):
        to_device((inputs, labels), max_value=0.0)


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(ValueError, match=f"device '{device}' cannot be used: "):
        to_device((np.zeros((2, 3)), np.arange(2)), device=device)
