"""Standard on-disk formats of labeled images, read into NumPy arrays.

A folder is known by its content: MNIST and its look-alikes share their file names, and so do the
encodings of CIFAR-10, so the checksums decide which data set a folder holds. Nothing is unpickled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store._datasets_binary import (
    CIFAR10,
    CIFAR10_FOLDER,
    CIFAR100,
    CIFAR100_FOLDER,
    IDX,
    BinaryFiles,
    Piece,
    read_idx,
)
from store._datasets_folders import CINIC10, IMAGENET, RESTRICTED_RANGES, ClassFolders
from store._datasets_procedural import Gratings, is_procedural
from store._validation import positive_integer

__all__ = [
    "RESTRICTED_RANGES",
    "Gratings",
    "LabeledImages",
    "draw",
    "identify",
    "load",
    "read_idx",
]


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImages:
    """Gray or color images and their classes.

    Attributes
    ----------
    name : str
        The data set's identity, as `load` takes it.
    images : ndarray of uint8, shape (n, height, width) or (n, height, width, 3)
        Pixel values, 0 to `max_value`; those of color images are red, green, blue.
    labels : ndarray of int64, shape (n,)
        Class of each image.
    max_value : int
        The pixel value of full ink: 255, or 16 for scikit-learn's digits.
    """

    name: str
    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    max_value: int

    def features(self) -> NDArray[np.float64]:
        """Images as rows of numbers in [0, 1], one a pixel value, in the order of the array."""
        width = math.prod(self.images.shape[1:])
        return self.images.reshape(len(self.images), width) / self.max_value


def identify(directory: Path | str) -> str:
    """Name the data set that a folder holds.

    Parameters
    ----------
    directory : Path or str
        Folder of one of these layouts, each file of the first three with or without `.gz`:

        - MNIST's files (`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
          `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`), which Fashion-MNIST's share;
        - CIFAR-10's binary version (`data_batch_1.bin` to `data_batch_5.bin` and
          `test_batch.bin`), or a folder that contains it as `cifar-10-batches-bin`;
        - CIFAR-100's binary version (`train.bin` and `test.bin`), or a folder that contains it as
          `cifar-100-binary`;
        - CINIC-10's folders, `train`, `valid` and `test`, each with one folder a class;
        - ImageNet's folders, `train` and `val`, each with one folder a class, named by the
          class's WordNet number, such as `n01440764`.

    Returns
    -------
    str
        "mnist" or "fashion-mnist" if the uncompressed files have the official checksums,
        "cifar10-jpeg" if they are the known re-encoded copy of CIFAR-10; else "idx-", "cifar10-",
        "cifar100-", "cinic10-" or "imagenet-" and the first 12 digits of a checksum: of all
        files, or of the names and sizes in bytes of all images where these stand in folders.

    Raises
    ------
    FileNotFoundError
        If one of the files or folders is missing, or there is none of any of these layouts.
    ValueError
        If one of the files is a broken gzip stream.
    """
    return _open(directory).names[0]


def load(
    dataset: str,
    directory: Path | str | None = None,
    *,
    part: str = "all",
    image_size: int = 64,
) -> LabeledImages:
    """Load labeled images by name.

    Parameters
    ----------
    dataset : str
        "digits" for the 8 x 8 handwritten digits that come with scikit-learn; "procedural" for
        images drawn from a known law, with parameters as in "procedural:classes=4,noise=10" (see
        `Gratings`); any other name is the identity (see `identify`) that `directory` must have.
        "cifar100-coarse-…" instead of "cifar100-…" asks for the 20 superclasses instead of the 100
        classes, "restricted-imagenet-…" for the nine superclasses of `RESTRICTED_RANGES`.
    directory : Path or str, optional
        Folder of the files, as `identify` takes it; ignored for "digits" and "procedural".
    part : {"all", "train", "test", "valid"}
        Which examples; "all" is train followed by test. "digits" has no parts but "all"; CINIC-10
        alone has "valid", which "all" has in the middle. ImageNet's `val` is "test".
    image_size : int
        Height and width that ImageNet's images get: the largest square in the middle, scaled. All
        1.3 million take 16 GB at 64. Other images have the size that they have.

    Returns
    -------
    LabeledImages
        The examples, in the order of the files; those of folders by class and file name.

    Raises
    ------
    FileNotFoundError
        If `directory` lacks one of the files or folders, or a class has no image.
    ValueError
        If `part` is none of the above, `image_size` is not positive, `directory` is missing or
        holds another data set than `dataset`, images and labels differ in number, a file is damaged
        (see `read_idx`) or does not hold bytes of the expected dimensions or classes, an image
        cannot be read, or the name is of Restricted ImageNet and there are not 1000 classes.

    References
    ----------
    D. Tsipras, S. Santurkar, L. Engstrom, A. Turner, A. Madry, "Robustness may be at odds with
    accuracy", ICLR 2019: Restricted ImageNet.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.features().shape, digits.max_value
    ((1797, 64), 16)
    """
    if part not in ("all", "train", "test", "valid"):
        raise ValueError(f"part must be 'all', 'train' or 'test', or else 'valid', not {part!r}")
    if image_size < 1:
        raise ValueError(f"image_size must be positive, got {image_size!r}")
    if dataset == "digits":
        return _digits(part)
    if is_procedural(dataset):
        law = Gratings.from_name(dataset)
        return _joined(law.name, (law.draw(each) for each in _parts(part, law.name)))
    if directory is None:
        raise ValueError(f"directory must be given: {dataset!r} is not an embedded data set")

    found = _open(directory)
    if dataset not in found.names:
        holds = " or ".join(map(repr, found.names))
        raise ValueError(f"asked for the data set {dataset!r}, but {directory} holds {holds}")
    pieces = []
    for each in _parts(part, dataset, found.parts):
        pieces += found.read(dataset, each, image_size)
    return _joined(dataset, pieces)


def draw(
    name: str, directory: Path | str | None, train_size: int | None, test_size: int, *, seed: int
) -> list[LabeledImages]:
    """Return a training and a test set without overlap, drawn without replacement.

    Parameters
    ----------
    name, directory
        As :func:`load` takes them.
    train_size, test_size : int
        Images drawn from the training and the test part of the data set; from all of it if it has
        no parts, as the digits. A training size of None is all that there are.
    seed : int
        A smaller set of the same seed is the beginning of a larger one, but for the test images of
        data sets without parts.

    Returns
    -------
    list of LabeledImages
        The training and the test set.

    Raises
    ------
    ValueError
        If a size is not positive or the data set has too few images, or as :func:`load` does.

    Examples
    --------
    >>> train, test = draw("digits", None, 500, 1000, seed=0)
    >>> len(train.labels), len(test.labels)
    (500, 1000)
    """
    positive_integer("test_size", test_size)
    if train_size is not None:
        positive_integer("train_size", train_size)
    rng = np.random.default_rng([seed, 0])
    if name != "digits":
        train, test = (load(name, directory, part=part) for part in ("train", "test"))
        return [
            _sample(train, train_size, "train_size", rng),
            _sample(test, test_size, "test_size", rng),
        ]
    both = load(name)
    if train_size is None:
        train_size = max(1, len(both.labels) - test_size)
    drawn = _sample(both, train_size + test_size, "train_size + test_size", rng)
    return [_rows(drawn, slice(train_size)), _rows(drawn, slice(train_size, None))]


def _sample(
    source: LabeledImages, size: int | None, name: str, rng: np.random.Generator
) -> LabeledImages:
    n = len(source.labels)
    size = n if size is None else size
    if size > n:
        raise ValueError(f"{name} must be at most {n}, the images of {source.name!r}, got {size}")
    return _rows(source, rng.permutation(n)[:size])


def _rows(source: LabeledImages, rows: Any) -> LabeledImages:
    return LabeledImages(source.name, source.images[rows], source.labels[rows], source.max_value)


def _parts(part: str, name: str, parts: tuple[str, ...] = ("train", "test")) -> tuple[str, ...]:
    if part == "all":
        return parts
    if part not in parts:
        raise ValueError(f"part must be 'all', 'train' or 'test' for {name!r}, not {part!r}")
    return (part,)


def _joined(name: str, pieces: Iterable[Piece]) -> LabeledImages:
    images, labels = (_concatenated(arrays) for arrays in zip(*pieces, strict=True))
    return LabeledImages(name, images, labels.astype(np.int64), max_value=255)


def _concatenated(arrays: tuple[NDArray[np.uint8], ...]) -> NDArray[np.uint8]:
    return np.concatenate(arrays) if len(arrays) > 1 else arrays[0]  # no copy of what fills memory


def _digits(part: str) -> LabeledImages:
    if part != "all":
        raise ValueError(f"part must be 'all' for 'digits', which has no parts, not {part!r}")
    from sklearn.datasets import load_digits  # takes a second to import; only this set needs it

    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    return LabeledImages("digits", images, labels, max_value=16)


def _open(directory: Path | str) -> BinaryFiles | ClassFolders:
    """Open the files of a folder, or of the one in it that has them, in the layout they are in."""
    folder = Path(directory)
    for layout, place in (
        (IDX, folder),
        (CIFAR10, folder),
        (CIFAR10, folder / CIFAR10_FOLDER),
        (CIFAR100, folder),
        (CIFAR100, folder / CIFAR100_FOLDER),
        (CINIC10, folder),
        (IMAGENET, folder),
    ):
        if layout.is_in(place):
            return layout.open(place)
    raise FileNotFoundError(
        f"{folder} has no data set that is known: neither MNIST's IDX files, such as "
        "train-images-idx3-ubyte, nor the binary version of CIFAR-10 or CIFAR-100, such as "
        "data_batch_1.bin, nor folders of CINIC-10 or ImageNet, one a class"
    )
