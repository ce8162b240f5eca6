import gzip
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from store import _datasets_binary as binary
from store.datasets import draw, identify, load, read_idx
from store.files import checksum

CODES = {"u1": 0x08, "i1": 0x09, "i2": 0x0B, "i4": 0x0C, "f4": 0x0D, "f8": 0x0E}
NAMES = [
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
]


def idx_bytes(array):
    header = bytes([0, 0, CODES[array.dtype.str[1:]], array.ndim])
    shape = np.array(array.shape, ">u4").tobytes()
    return header + shape + array.astype(array.dtype.newbyteorder(">")).tobytes()


def small_arrays():
    rng = np.random.default_rng(0)
    return {
        "train-images-idx3-ubyte": rng.integers(0, 256, (5, 2, 3), np.uint8),
        "train-labels-idx1-ubyte": rng.integers(0, 10, 5, np.uint8),
        "t10k-images-idx3-ubyte": rng.integers(0, 256, (3, 2, 3), np.uint8),
        "t10k-labels-idx1-ubyte": rng.integers(0, 10, 3, np.uint8),
    }


def write_folder(folder, arrays, *, compressed=False):
    for name, array in arrays.items():
        data = idx_bytes(array)
        file = folder / (f"{name}.gz" if compressed else name)
        file.write_bytes(gzip.compress(data) if compressed else data)


arrays_of_any_type = st.sampled_from(sorted(CODES)).flatmap(
    lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0))
)


@given(array=arrays_of_any_type, compressed=st.booleans())
def test_idx_round_trip(array, compressed):
    with TemporaryDirectory() as folder:
        file = Path(folder, "a.idx")  # the name does not say whether it is compressed
        file.write_bytes(gzip.compress(idx_bytes(array)) if compressed else idx_bytes(array))
        read = read_idx(file)
    np.testing.assert_array_equal(read, array, strict=True)
    assert read.flags.writeable


BYTES = idx_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3))
ZIPPED = gzip.compress(BYTES, mtime=0)  # a time would give the tests other names each second


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "wrong magic number"),
        (b"\0\0\x08", "wrong magic number"),
        (b"PNG" + BYTES, "wrong magic number 0x504e4700"),
        (b"\0\0\x07\1" + BYTES[4:], "wrong magic number"),
        (BYTES[:9], "truncated: expected 12 bytes of header, found 9"),
        (BYTES[:-2], "truncated: expected 18 bytes, found 16"),
        (BYTES + b"\0", "trailing bytes: expected 18 bytes, found 19"),
        (ZIPPED[:-9], "broken gzip"),
        (ZIPPED[:12] + b"\xff\xff" + ZIPPED[14:], "broken gzip"),
        (ZIPPED[:-8] + b"\0" * 8, "broken gzip"),
        (gzip.compress(BYTES[:-2], mtime=0), "truncated: expected 18 bytes, found 16"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, data, message):
    file = tmp_path / "damaged.idx"
    file.write_bytes(data)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(file)
    assert str(file) in str(caught.value)


def test_a_missing_idx_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file absent\.idx in .*" + tmp_path.name):
        read_idx(str(tmp_path / "absent.idx"))


@pytest.mark.parametrize("compressed", [False, True])
def test_load_by_identity(tmp_path, compressed):
    arrays = small_arrays()
    write_folder(tmp_path, arrays, compressed=compressed)
    name = identify(tmp_path)
    assert name.startswith("idx-")
    assert len(name) == len("idx-") + 12

    train, test, everything = (load(name, tmp_path, part=p) for p in ("train", "test", "all"))
    assert everything.name == name
    assert everything.max_value == 255
    assert everything.labels.dtype == np.int64
    np.testing.assert_array_equal(train.images, arrays[NAMES[0]], strict=True)
    np.testing.assert_array_equal(train.labels, arrays[NAMES[1]])
    np.testing.assert_array_equal(test.images, arrays[NAMES[2]], strict=True)
    np.testing.assert_array_equal(test.labels, arrays[NAMES[3]])
    np.testing.assert_array_equal(everything.images[:5], train.images)
    np.testing.assert_array_equal(everything.images[5:], test.images)
    np.testing.assert_array_equal(everything.labels, [*train.labels, *test.labels])

    features = everything.features()
    assert features.shape == (8, 6)
    assert features.dtype == np.float64
    np.testing.assert_array_equal(features[0], train.images[0].ravel() / 255)


def test_identity_is_of_the_content(tmp_path):
    plain, compressed, other = (tmp_path / each for each in ("plain", "compressed", "other"))
    for folder in (plain, compressed, other):
        folder.mkdir()
    arrays = small_arrays()
    write_folder(plain, arrays)
    write_folder(compressed, arrays, compressed=True)
    arrays[NAMES[3]][0] += 1
    write_folder(other, arrays)
    assert identify(plain) == identify(compressed) != identify(other)


@pytest.mark.parametrize(
    ("identity", "table"),
    [("mnist", binary.MNIST), ("fashion-mnist", binary.FASHION_MNIST)],
    ids=["mnist", "fashion"],
)
def test_official_checksums_make_a_name(tmp_path, monkeypatch, identity, table):
    write_folder(tmp_path, small_arrays())
    digests = {name: checksum((tmp_path / name).read_bytes(), "md5") for name in NAMES}
    for name, digest in digests.items():
        monkeypatch.setitem(table, name, digest)
    assert identify(tmp_path) == identity
    assert load(identity, tmp_path, part="test").name == identity


# --- CIFAR-10's binary version ------------------------------------------------------------------

BATCHES = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]


def batches():
    """Two color images and their classes by file, but for one image in the first and test files."""
    rng = np.random.default_rng(2)
    sizes = {name: 1 if name in (BATCHES[0], BATCHES[5]) else 2 for name in BATCHES}
    return {
        name: (rng.integers(0, 256, (n, 32, 32, 3), np.uint8), rng.integers(0, 10, n))
        for name, n in sizes.items()
    }


def record_bytes(images, labels):
    """The class, then the red plane row by row, then the green and the blue one."""
    data = bytearray()
    for image, label in zip(images, labels, strict=True):
        data.append(label)
        for color in range(3):
            for row in range(32):
                data += bytes(image[row, :, color].tolist())
    return bytes(data)


def write_batches(folder, contents, *, compressed=False):
    folder.mkdir(exist_ok=True)
    for name, (images, labels) in contents.items():
        data = record_bytes(images, labels)
        file = folder / (f"{name}.gz" if compressed else name)
        file.write_bytes(gzip.compress(data) if compressed else data)


@pytest.mark.parametrize("place", [".", "cifar-10-batches-bin"])
@pytest.mark.parametrize("compressed", [False, True])
def test_color_images_are_loaded_by_identity(tmp_path, place, compressed):
    contents = batches()
    write_batches(tmp_path / place, contents, compressed=compressed)
    name = identify(tmp_path)
    assert name.startswith("cifar10-")
    assert len(name) == len("cifar10-") + 12

    train, test, everything = (load(name, tmp_path, part=p) for p in ("train", "test", "all"))
    images, labels = (np.concatenate([pair[k] for pair in contents.values()]) for k in (0, 1))
    assert (everything.name, everything.max_value) == (name, 255)
    assert everything.labels.dtype == np.int64
    np.testing.assert_array_equal(everything.images, images, strict=True)
    np.testing.assert_array_equal(everything.labels, labels)
    np.testing.assert_array_equal(train.images, images[:9], strict=True)
    np.testing.assert_array_equal(train.labels, labels[:9])
    np.testing.assert_array_equal(test.images, images[9:], strict=True)
    np.testing.assert_array_equal(test.labels, labels[9:])

    features = everything.features()
    assert features.shape == (10, 3072)
    assert features.dtype == np.float64
    np.testing.assert_array_equal(features[3], everything.images[3].ravel() / 255)


def test_identity_of_color_images_is_of_the_content(tmp_path):
    contents = batches()
    write_batches(tmp_path / "one", contents)
    write_batches(tmp_path / "same", contents, compressed=True)
    contents[BATCHES[3]][0][1, 31, 31, 2] ^= 1
    write_batches(tmp_path / "other", contents)
    one, same, other = (identify(tmp_path / each) for each in ("one", "same", "other"))
    assert one == same != other
    with pytest.raises(ValueError, match=f"asked for the data set '{other}', but .* holds '{one}'"):
        load(other, tmp_path / "one")


def test_the_known_copy_of_cifar10_has_a_name(tmp_path, monkeypatch):
    write_batches(tmp_path, batches())
    for name in BATCHES:
        digest = checksum((tmp_path / name).read_bytes(), "md5")
        monkeypatch.setitem(binary.CIFAR10_JPEG, name, digest)
    assert identify(tmp_path) == "cifar10-jpeg"
    assert len(load("cifar10-jpeg", tmp_path, part="test").labels) == 1


@pytest.mark.parametrize("name", BATCHES)
def test_a_missing_batch_is_named(tmp_path, name):
    write_batches(tmp_path / "cifar-10-batches-bin", batches())
    os.remove(tmp_path / "cifar-10-batches-bin" / name)
    for read in (identify, lambda folder: load("cifar10-jpeg", folder)):
        with pytest.raises(FileNotFoundError, match=f"accepted: {name} or {name}.gz") as caught:
            read(tmp_path)
        assert str(tmp_path / "cifar-10-batches-bin") in str(caught.value)


@pytest.mark.parametrize("name", [BATCHES[1], BATCHES[5]])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "expected a positive multiple of 3073 bytes, found"),
        (lambda data: data + b"\0", "expected a positive multiple of 3073 bytes, found"),
        (lambda data: b"", "expected a positive multiple of 3073 bytes, found 0"),
        (lambda data: data[:-3073] + b"\x0a" + data[1 - 3073 :], "classes 0 to 9, found 10"),
    ],
    ids=["short", "long", "empty", "class"],
)
def test_a_damaged_batch_is_named(tmp_path, name, damage, message):
    write_batches(tmp_path, batches())
    file = tmp_path / name
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        load(identify(tmp_path), tmp_path)
    assert str(file) in str(caught.value)


def test_classes_up_to_nine_are_taken(tmp_path):
    contents = batches()
    contents[BATCHES[0]][1][:] = 9
    write_batches(tmp_path, contents)
    assert load(identify(tmp_path), tmp_path).labels[0] == 9


# --- CIFAR-100's binary version -----------------------------------------------------------------


def write_cifar100(folder, *, compressed=False):
    """The coarse class, the fine one, then the planes; three images of training, two of test."""
    rng = np.random.default_rng(4)
    folder.mkdir(exist_ok=True)
    contents = {}
    for name, n in (("train.bin", 3), ("test.bin", 2)):
        images = rng.integers(0, 256, (n, 32, 32, 3), np.uint8)
        coarse, fine = rng.integers(0, 20, n), rng.integers(0, 100, n)
        coarse[0], fine[0] = 19, 99
        data = b"".join(
            bytes([coarse[k]]) + record_bytes(images[k : k + 1], fine[k : k + 1]) for k in range(n)
        )
        file = folder / (f"{name}.gz" if compressed else name)
        file.write_bytes(gzip.compress(data) if compressed else data)
        contents[name] = (images, coarse, fine)
    return contents


@pytest.mark.parametrize("place", [".", "cifar-100-binary"])
@pytest.mark.parametrize("compressed", [False, True])
def test_cifar100_has_fine_and_coarse_labels(tmp_path, place, compressed):
    contents = write_cifar100(tmp_path / place, compressed=compressed)
    name = identify(tmp_path)
    assert name.startswith("cifar100-")
    assert len(name) == len("cifar100-") + 12
    coarse_name = name.replace("cifar100-", "cifar100-coarse-")
    images, coarse, fine = (
        np.concatenate([contents[part][k] for part in ("train.bin", "test.bin")]) for k in range(3)
    )
    for each, labels in ((name, fine), (coarse_name, coarse)):
        everything, test = load(each, tmp_path), load(each, tmp_path, part="test")
        assert everything.name == test.name == each
        np.testing.assert_array_equal(everything.images, images, strict=True)
        np.testing.assert_array_equal(everything.labels, labels)
        np.testing.assert_array_equal(test.images, images[3:], strict=True)
        np.testing.assert_array_equal(test.labels, labels[3:])
    with pytest.raises(ValueError, match=f"holds '{name}' or '{coarse_name}'"):
        load("cifar100", tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1], "expected a positive multiple of 3074 bytes, found 6147"),
        (lambda data: b"", "expected a positive multiple of 3074 bytes, found 0"),
        (lambda data: b"\x14" + data[1:], "expected classes 0 to 19, found 20"),
        (lambda data: data[:1] + b"\x64" + data[2:], "expected classes 0 to 99, found 100"),
    ],
    ids=["short", "empty", "coarse", "fine"],
)
def test_a_damaged_file_of_cifar100_is_named(tmp_path, damage, message):
    write_cifar100(tmp_path)
    file = tmp_path / "test.bin"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        load(identify(tmp_path), tmp_path)
    assert str(file) in str(caught.value)


def test_a_missing_file_of_cifar100_is_named(tmp_path):
    write_cifar100(tmp_path / "cifar-100-binary")
    os.remove(tmp_path / "cifar-100-binary" / "test.bin")
    with pytest.raises(FileNotFoundError, match=r"no test\.bin in .*cifar-100-binary"):
        identify(tmp_path)


def test_only_cinic_has_validation_images(tmp_path):
    write_cifar100(tmp_path)
    with pytest.raises(ValueError, match="part must be 'all', 'train' or 'test' for 'cifar100-"):
        load(identify(tmp_path), tmp_path, part="valid")


# --- scikit-learn's digits, and arguments -------------------------------------------------------


def test_digits():
    digits = load("digits", "/ignored")
    assert digits.images.shape == (1797, 8, 8)
    assert digits.images.dtype == np.uint8
    assert digits.labels.dtype == np.int64
    assert digits.images.max() == digits.max_value == 16
    assert digits.features().max() == 1.0
    assert np.unique(digits.labels).tolist() == list(range(10))


def test_another_data_set_is_refused(tmp_path):
    write_folder(tmp_path, small_arrays())
    message = f"asked for the data set 'mnist', but .* holds '{identify(tmp_path)}'"
    with pytest.raises(ValueError, match=message):
        load("mnist", tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named(tmp_path, name):
    write_folder(tmp_path, small_arrays())
    os.remove(tmp_path / name)
    for read in (identify, lambda folder: load("mnist", folder)):
        with pytest.raises(FileNotFoundError, match=f"accepted: {name} or {name}.gz") as caught:
            read(tmp_path)
        assert str(tmp_path) in str(caught.value)


def test_a_broken_gzip_file_is_named(tmp_path):
    write_folder(tmp_path, small_arrays(), compressed=True)
    file = tmp_path / f"{NAMES[1]}.gz"
    file.write_bytes(file.read_bytes()[:-4])
    with pytest.raises(ValueError, match=f"{NAMES[1]}.gz is a broken gzip stream"):
        identify(tmp_path)


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (NAMES[1], np.zeros(4, np.uint8), "holds 5 images, but .* 4 labels"),
        (NAMES[2], np.zeros((2, 2, 3), np.uint8), "holds 2 images, but .* 3 labels"),
        (NAMES[0], np.zeros((5, 6), np.uint8), r"uint8 in 3 dimension\(s\), not uint8 in 2"),
        (NAMES[1], np.zeros(5, np.int32), r"uint8 in 1 dimension\(s\), not int32 in 1"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, name, array, message):
    write_folder(tmp_path, small_arrays() | {name: array})
    with pytest.raises(ValueError, match=message) as caught:
        load(identify(tmp_path), tmp_path)
    assert name in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dataset": "digits", "part": "validation"}, "part must be 'all', 'train' or 'test'"),
        ({"dataset": "digits", "part": "train"}, "part must be 'all' for 'digits'"),
        ({"dataset": "digits", "part": "valid"}, "part must be 'all' for 'digits'"),
        ({"dataset": "mnist"}, "directory must be given"),
        ({"dataset": "digits", "image_size": 0}, "image_size must be positive, got 0"),
    ],
)
def test_wrong_arguments_of_load(arguments, message):
    with pytest.raises(ValueError, match=message):
        load(**arguments)


def test_a_folder_of_nothing_known_is_told_what_is_known(tmp_path):
    (tmp_path / "train" / "nonesuch").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"no data set that is known: .* one a class") as it:
        identify(tmp_path)
    assert str(tmp_path) in str(it.value)


# --- drawing a training and a test set -----------------------------------------------------------


def rows(part):
    return {image.tobytes() for image in part.images}


def test_draws_have_no_image_in_common():
    train, test = draw("digits", None, 1000, 797, seed=1)
    assert len(rows(train)) == 1000
    assert len(rows(test)) == 797
    assert not rows(train) & rows(test)
    assert train.name == "digits"
    assert train.max_value == 16
    everything = np.sort(np.concatenate([train.labels, test.labels]))
    np.testing.assert_array_equal(everything, np.sort(load("digits").labels))


def test_the_training_set_may_be_all_that_there_is(tmp_path):
    train, test = draw("digits", None, None, 797, seed=1)
    assert len(train.labels) == 1000
    assert not rows(train) & rows(test)
    write_folder(tmp_path, small_arrays())
    train, _ = draw(identify(tmp_path), tmp_path, None, 2, seed=1)
    assert rows(train) == rows(load(identify(tmp_path), tmp_path, part="train"))


def test_parts_are_drawn_from_themselves(tmp_path):
    write_folder(tmp_path, small_arrays())
    name = identify(tmp_path)
    train, test = draw(name, tmp_path, 4, 2, seed=0)
    for part, drawn, size in (("train", train, 4), ("test", test, 2)):
        assert len(drawn.labels) == size
        assert rows(drawn) <= rows(load(name, tmp_path, part=part))


def test_a_larger_training_set_of_a_seed_begins_with_the_smaller():
    small, large = (draw("digits", None, size, 10, seed=3)[0] for size in (50, 200))
    np.testing.assert_array_equal(large.images[:50], small.images)
    other = draw("digits", None, 50, 10, seed=4)[0]
    assert rows(small) != rows(other)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 10), "train_size must be a positive integer, got 0"),
        ((10, 2.0), "test_size must be a positive integer, got 2.0"),
        ((None, 0), "test_size must be a positive integer, got 0"),
        ((None, 1797), r"train_size \+ test_size must be at most 1797, .* got 1798"),
        ((1000, 798), r"train_size \+ test_size must be at most 1797, .* got 1798"),
    ],
)
def test_sizes_that_cannot_be_drawn(sizes, message):
    with pytest.raises(ValueError, match=message):
        draw("digits", None, *sizes, seed=0)
