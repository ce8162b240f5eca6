"""Data sets of one folder a class, on small files in the layout of the real ones."""

import io

import numpy as np
import pytest
from PIL import Image

from store.datasets import RESTRICTED_RANGES, identify, load

CLASSES = [
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
]
PARTS = ("train", "valid", "test")


def encoded(pixels, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def write_cinic10(folder):
    """Two images of each class in training, one in the other parts; in the order of labels."""
    rng = np.random.default_rng(0)
    written = {part: ([], []) for part in PARTS}
    for part in PARTS:
        for label, name in enumerate(CLASSES):
            place = folder / part / name
            place.mkdir(parents=True)
            for k in range(2 if part == "train" else 1):
                pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
                (place / f"cifar10-{part}-{k}.png").write_bytes(encoded(pixels, "PNG"))
                written[part][0].append(pixels)
                written[part][1].append(label)
    return {part: tuple(map(np.array, pair)) for part, pair in written.items()}


def test_cinic10(tmp_path):
    written = write_cinic10(tmp_path)
    (tmp_path / "README").write_text("not an image")
    (tmp_path / "train" / "cat" / "notes.txt").write_text("not an image")
    name = identify(tmp_path)
    assert name.startswith("cinic10-")
    assert len(name) == len("cinic10-") + 12
    for part in PARTS:
        found = load(name, tmp_path, part=part)
        np.testing.assert_array_equal(found.images, written[part][0], strict=True)
        np.testing.assert_array_equal(found.labels, written[part][1], strict=True)
        assert (found.name, found.max_value) == (name, 255)
    everything = load(name, tmp_path)
    np.testing.assert_array_equal(
        everything.images, np.concatenate([written[part][0] for part in PARTS])
    )


def test_identity_is_of_names_and_sizes(tmp_path):
    """And of the folder an image stands in, which is its label."""
    one, same, moved, larger = (tmp_path / name for name in ("one", "same", "moved", "larger"))
    for folder in (one, same, moved, larger):
        folder.mkdir()
        write_cinic10(folder)
    (moved / "train/cat/cifar10-train-1.png").rename(moved / "train/dog/cifar10-train-2.png")
    with (larger / "test/cat/cifar10-test-0.png").open("ab") as file:
        file.write(b"\0")
    assert identify(one) == identify(same)
    assert len({identify(folder) for folder in (one, moved, larger)}) == 3
    with pytest.raises(ValueError, match=f"asked for the data set '{identify(moved)}', but"):
        load(identify(moved), one)


def test_identity_is_of_the_labels_too(tmp_path):
    """The same names and sizes in the same order, but one image in the next class."""
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        write_cinic10(folder)
        for file in (folder / "train" / "cat").iterdir():
            file.rename(file.with_name(f"x-{file.name}"))
    name = "cifar10-train-1.png"
    (other / "train" / "bird" / name).rename(other / "train" / "cat" / name)
    assert identify(one) != identify(other)


@pytest.mark.parametrize("missing", ["valid", "train/cat"])
def test_a_missing_folder_of_cinic10_is_named(tmp_path, missing):
    write_cinic10(tmp_path)
    (tmp_path / missing).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=r"no folder (airplane|cat) in") as caught:
        identify(tmp_path)
    assert str(tmp_path / missing.split("/")[0]) in str(caught.value)


def test_a_class_without_images_is_named(tmp_path):
    write_cinic10(tmp_path)
    (tmp_path / "valid/dog/cifar10-valid-0.png").unlink()
    name = identify(tmp_path)
    assert len(load(name, tmp_path, part="train").labels) == 20
    with pytest.raises(FileNotFoundError, match=r"no image in .*dog \(accepted: \.png") as caught:
        load(name, tmp_path)
    assert str(tmp_path / "valid" / "dog") in str(caught.value)


GOOD = encoded(np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8), "PNG")
BROKEN_CHUNK = GOOD[:60] + bytes([GOOD[60] ^ 255]) + GOOD[61:]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not a readable image"),
        (b"not an image at all", "is not a readable image"),
        (GOOD[: len(GOOD) // 2], "is not a readable image"),
        (GOOD[:20], "is not a readable image"),
        (BROKEN_CHUNK, "is not a readable image"),
        (encoded(np.zeros((31, 33, 3), np.uint8), "PNG"), "32 x 32 pixels, not 33 x 31"),
    ],
    ids=["empty", "text", "truncated", "header", "altered", "size"],
)
def test_an_unreadable_image_is_named(tmp_path, data, message):
    write_cinic10(tmp_path)
    file = tmp_path / "train/horse/cifar10-train-1.png"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        load(identify(tmp_path), tmp_path)
    assert str(file) in str(caught.value)


def test_gray_images_get_three_channels(tmp_path):
    write_cinic10(tmp_path)
    pixels = np.random.default_rng(1).integers(0, 256, (32, 32), np.uint8)
    (tmp_path / "test/airplane/cifar10-test-0.png").write_bytes(encoded(pixels, "PNG"))
    image = load(identify(tmp_path), tmp_path, part="test").images[0]
    np.testing.assert_array_equal(image, np.stack([pixels] * 3, axis=2))


# --- ImageNet -------------------------------------------------------------------------------------


def constant_jpeg(color, width=20, height=12):
    return encoded(np.full((height, width, 3), color, np.uint8), "JPEG", quality=95)


def write_imagenet(folder, wordnet_ids, suffix="JPEG"):
    """One image of each class in each part, whose brightness tells class and part."""
    for part, shift in (("train", 0), ("val", 5)):
        for k, name in enumerate(wordnet_ids):
            place = folder / part / name
            place.mkdir(parents=True)
            image = constant_jpeg(10 * (k % 20) + shift)
            (place / f"{name}_{k}.{suffix}").write_bytes(image)


@pytest.mark.parametrize("suffix", ["JPEG", "jpg"])
def test_imagenet(tmp_path, suffix):
    # Written in another order than the sorted one, which gives the labels.
    write_imagenet(tmp_path, ["n02000000", "n00000001", "n01440764"], suffix)
    (tmp_path / "train" / "not_a_class").mkdir()
    name = identify(tmp_path)
    assert name.startswith("imagenet-")
    train, test = (load(name, tmp_path, part=part, image_size=8) for part in ("train", "test"))
    assert train.images.shape == test.images.shape == (3, 8, 8, 3)
    np.testing.assert_array_equal(train.labels, [0, 1, 2])
    for found, shift in ((train, 0), (test, 5)):
        for image, written in zip(found.images, [10, 20, 0], strict=True):
            np.testing.assert_allclose(image, written + shift, atol=2)
    everything = load(name, tmp_path)
    assert everything.images.shape == (6, 64, 64, 3)
    np.testing.assert_array_equal(everything.labels, [0, 1, 2, 0, 1, 2])


def test_the_square_in_the_middle_is_taken(tmp_path):
    """Bars left and right of it, or above and below, do not show."""
    write_imagenet(tmp_path, ["n00000000", "n00000001"])
    wide = np.zeros((40, 80, 3), np.uint8)
    wide[:, 20:60] = [200, 100, 50]
    for name, pixels in (("n00000000", wide), ("n00000001", wide.transpose(1, 0, 2))):
        for file in (tmp_path / "train" / name).iterdir():
            file.write_bytes(encoded(np.ascontiguousarray(pixels), "PNG"))  # content, not name
    images = load(identify(tmp_path), tmp_path, part="train", image_size=40).images
    np.testing.assert_array_equal(images, np.broadcast_to([200, 100, 50], (2, 40, 40, 3)))


def test_large_images_are_scaled_as_an_average(tmp_path):
    """A JPEG far larger than needed, decoded at part of its scale, against means of its blocks."""
    write_imagenet(tmp_path, ["n00000000", "n00000001"])
    rows, columns = np.mgrid[:256, :256]
    smooth = np.stack([rows // 2, columns // 2, (rows + columns) // 4], axis=2).astype(np.uint8)
    for file in (tmp_path / "train" / "n00000000").iterdir():
        file.write_bytes(encoded(smooth, "JPEG", quality=95, subsampling=0))
    image = load(identify(tmp_path), tmp_path, part="train", image_size=8).images[0]
    blocks = smooth.reshape(8, 32, 8, 32, 3).mean(axis=(1, 3))
    checkered = np.repeat((rows + columns) % 2 * 255, 3).astype(np.uint8).reshape(256, 256, 3)
    for file in (tmp_path / "train" / "n00000001").iterdir():
        file.write_bytes(encoded(checkered, "PNG"))
    gray = load(identify(tmp_path), tmp_path, part="train", image_size=8).images[1]
    np.testing.assert_allclose(gray, np.full((8, 8, 3), 127.5), atol=2)
    inner = (slice(1, -1), slice(1, -1))  # bilinear weights are cut off at the border
    np.testing.assert_allclose(image[inner], blocks[inner], atol=3)


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_class_of_one_part_alone_is_refused(tmp_path, part):
    write_imagenet(tmp_path, ["n00000000", "n00000001"])
    (tmp_path / part / "n00000002").mkdir()
    with pytest.raises(FileNotFoundError, match="no folder n00000002 in") as caught:
        identify(tmp_path)
    assert str(tmp_path / {"train": "val", "val": "train"}[part]) in str(caught.value)


def test_restricted_imagenet(tmp_path):
    """Nine superclasses of 203 classes; the sizes are those that the definition's ranges have."""
    wordnet_ids = [f"n{k:08d}" for k in range(1000)]
    write_imagenet(tmp_path, wordnet_ids)
    name = identify(tmp_path)
    found = load(f"restricted-{name}", tmp_path, part="test", image_size=4)
    assert found.name == f"restricted-{name}"
    np.testing.assert_array_equal(np.bincount(found.labels), [118, 5, 3, 5, 21, 18, 9, 4, 20])
    assert RESTRICTED_RANGES == {
        "dog": (151, 268),
        "cat": (281, 285),
        "frog": (30, 32),
        "turtle": (33, 37),
        "bird": (80, 100),
        "primate": (365, 382),
        "fish": (389, 397),
        "crab": (118, 121),
        "insect": (300, 319),
    }
    chosen = [k for first, last in RESTRICTED_RANGES.values() for k in range(first, last + 1)]
    expected = [10 * (k % 20) + 5 for k in chosen]
    np.testing.assert_allclose(found.images[:, 0, 0, 0], expected, atol=2)
    (tmp_path / "train" / "n00000999").rename(tmp_path / "a")
    (tmp_path / "val" / "n00000999").rename(tmp_path / "b")
    with pytest.raises(ValueError, match=r"ImageNet's 1000 classes, but .* has the folders of 999"):
        load(f"restricted-{identify(tmp_path)}", tmp_path)


def test_imagenet_has_no_validation_part(tmp_path):
    write_imagenet(tmp_path, ["n00000000", "n00000001"])
    with pytest.raises(ValueError, match="part must be 'all', 'train' or 'test' for 'imagenet-"):
        load(identify(tmp_path), tmp_path, part="valid")


def test_an_empty_file_of_imagenet_is_named(tmp_path):
    write_imagenet(tmp_path, ["n00000000", "n00000001"])
    file = tmp_path / "val" / "n00000001" / "n00000001_1.JPEG"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match="is not a readable image") as caught:
        load(identify(tmp_path), tmp_path)
    assert str(file) in str(caught.value)
