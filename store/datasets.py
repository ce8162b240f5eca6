"""Standard on-disk formats of labeled images, read into NumPy arrays.

A folder is known by its content: MNIST and its look-alikes share their file names, and so do the
encodings of CIFAR-10, so the checksums decide which data set a folder holds.
"""

import gzip
import math
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.files import checksum

_GZIP_MAGIC = b"\x1f\x8b"


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


def read_idx(path: Path | str) -> NDArray[Any]:
    """Read an IDX file, the format of MNIST.

    Parameters
    ----------
    path : Path or str
        The file, gzip-compressed or not: its content decides, not its name.

    Returns
    -------
    ndarray
        The array, with the shape and number type that the header states, in native byte order.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is a broken gzip stream, does not begin with an IDX magic number, or is
        shorter or longer than its header states.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "labels")
    ...     _ = file.write_bytes(bytes([0, 0, 0x08, 1]) + bytes([0, 0, 0, 3]) + bytes([7, 2, 1]))
    ...     read_idx(file)
    array([7, 2, 1], dtype=uint8)
    """
    path = Path(path)
    try:
        return _parse_idx(_read_uncompressed(path), path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no file {path.name} in {path.parent}") from error


def identify(directory: Path | str) -> str:
    """Name the data set that a folder holds.

    Parameters
    ----------
    directory : Path or str
        Folder of MNIST-named files (`train-images-idx3-ubyte`, `train-labels-idx1-ubyte`,
        `t10k-images-idx3-ubyte` and `t10k-labels-idx1-ubyte`), or of CIFAR-10's binary version
        (`data_batch_1.bin` to `data_batch_5.bin` and `test_batch.bin`), or one that contains the
        latter as `cifar-10-batches-bin`. Each file with or without `.gz`.

    Returns
    -------
    str
        "mnist" if the uncompressed files have the official checksums, "cifar10-jpeg" if they are
        the known re-encoded copy of CIFAR-10; else "idx-" or "cifar10-" and the first 12 digits of
        a checksum of all of them.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If one of the files is a broken gzip stream.
    """
    layout, folder = _recognized(directory)
    return layout.identity(
        {name: _read_uncompressed(path) for name, path in layout.find(folder).items()}
    )


def load(dataset: str, directory: Path | str | None = None, *, part: str = "all") -> LabeledImages:
    """Load labeled images by name.

    Parameters
    ----------
    dataset : str
        "digits" for the 8 x 8 handwritten digits that come with scikit-learn; any other name is
        the identity (see `identify`) that `directory` must have.
    directory : Path or str, optional
        Folder of the files, as `identify` takes it; ignored for "digits".
    part : {"all", "train", "test"}
        Which examples; "all" is train followed by test. "digits" has no parts but "all".

    Returns
    -------
    LabeledImages
        The examples, in the order of the files.

    Raises
    ------
    FileNotFoundError
        If `directory` lacks one of the files.
    ValueError
        If `part` is none of the above, `directory` is missing or holds another data set than
        `dataset`, images and labels differ in number, or a file is damaged (see `read_idx`) or
        does not hold bytes of the expected dimensions or classes.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.features().shape, digits.max_value
    ((1797, 64), 16)
    """
    if part not in ("all", "train", "test"):
        raise ValueError(f"part must be 'all', 'train' or 'test', not {part!r}")
    if dataset == "digits":
        return _digits(part)
    if directory is None:
        raise ValueError(f"directory must be given: {dataset!r} is not an embedded data set")

    layout, folder = _recognized(directory)
    paths = layout.find(folder)
    contents = {name: _read_uncompressed(path) for name, path in paths.items()}
    identity = layout.identity(contents)
    if identity != dataset:
        raise ValueError(f"asked for the data set {dataset!r}, but {directory} holds {identity!r}")

    pieces = []
    for each in ("train", "test") if part == "all" else (part,):
        pieces += layout.parse({paths[name]: contents[name] for name in layout.files[each]})
    images, labels = (np.concatenate(arrays) for arrays in zip(*pieces, strict=True))
    return LabeledImages(identity, images, labels.astype(np.int64), max_value=255)


def _digits(part: str) -> LabeledImages:
    if part != "all":
        raise ValueError(f"part must be 'all' for 'digits', which has no parts, not {part!r}")
    from sklearn.datasets import load_digits  # takes a second to import; only this set needs it

    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    return LabeledImages("digits", images, labels, max_value=16)


# --- what the formats have in common --------------------------------------------------------------

_Pieces = list[tuple[NDArray[np.uint8], NDArray[np.uint8]]]


@dataclass(frozen=True)
class _Layout:
    """A format of several files.

    ``known`` are the checksums of the one data set that has a name; others are called ``prefix``
    and a checksum. ``parse`` maps one part's contents, by path, to pieces of (images, labels).
    """

    files: Mapping[str, tuple[str, ...]]
    name: str
    known: Mapping[str, str]
    prefix: str
    parse: Callable[[Mapping[Path, bytes]], _Pieces]

    @property
    def all_files(self) -> tuple[str, ...]:
        return self.files["train"] + self.files["test"]

    def is_in(self, folder: Path) -> bool:
        return any(_present(folder, name) for name in self.all_files)

    def find(self, folder: Path) -> dict[str, Path]:
        """Path of each of the files, by its name without `.gz`."""
        paths = {}
        for name in self.all_files:
            if not (present := _present(folder, name)):
                raise FileNotFoundError(f"no {name} in {folder} (accepted: {name} or {name}.gz)")
            paths[name] = present[0]
        return paths

    def identity(self, contents: Mapping[str, bytes]) -> str:
        digests = {name: checksum(contents[name], "md5") for name in self.all_files}
        if digests == self.known:
            return self.name
        return f"{self.prefix}-{checksum(''.join(digests.values()).encode())[:12]}"


def _recognized(directory: Path | str) -> tuple[_Layout, Path]:
    """Return the format of a folder, and the folder itself or the one in it that has the files."""
    folder = Path(directory)
    for layout, place in ((_IDX, folder), (_CIFAR, folder), (_CIFAR, folder / _CIFAR_FOLDER)):
        if layout.is_in(place):
            return layout, place
    # Nothing is there: looked for as MNIST, which the message of the missing file then names.
    return _IDX, folder


def _present(folder: Path, name: str) -> list[Path]:
    return [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]


def _read_uncompressed(path: Path) -> bytes:
    data = path.read_bytes()
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a broken gzip stream: {error}") from error


# --- IDX, the format of MNIST ---------------------------------------------------------------------

_MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def _parse_idx(data: bytes, path: Path) -> NDArray[Any]:
    """Array of an IDX file's uncompressed content; `path` is for the messages."""
    # Two zero bytes, the number type, the number of dimensions; then the shape, big-endian.
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in _IDX_DTYPES:
        raise ValueError(f"{path} is not an IDX file: wrong magic number 0x{data[:4].hex()}")
    dtype = np.dtype(_IDX_DTYPES[data[2]])
    header_size = 4 + 4 * data[3]
    if len(data) < header_size:
        raise ValueError(
            f"{path} is truncated: expected {header_size} bytes of header, found {len(data)}"
        )
    shape = tuple(np.frombuffer(data[4:header_size], ">u4").tolist())
    expected = header_size + math.prod(shape) * dtype.itemsize
    if len(data) != expected:
        fault = "is truncated" if len(data) < expected else "has trailing bytes"
        raise ValueError(f"{path} {fault}: expected {expected} bytes, found {len(data)}")
    values = np.frombuffer(data, dtype, offset=header_size).reshape(shape)
    return values.astype(dtype.newbyteorder("="))  # a copy: the array owns its memory


def _parse_pair(contents: Mapping[Path, bytes]) -> _Pieces:
    """Images and labels of one part, as many of the one as of the other."""
    arrays = []
    for (path, data), ndim in zip(contents.items(), (3, 1), strict=True):
        array = _parse_idx(data, path)
        if array.dtype != np.uint8 or array.ndim != ndim:
            raise ValueError(
                f"{path} must hold uint8 in {ndim} dimension(s), not {array.dtype} in {array.ndim}"
            )
        arrays.append(array)
    images, labels = arrays
    if len(images) != len(labels):
        of_images, of_labels = contents
        raise ValueError(
            f"{of_images} holds {len(images)} images, but {of_labels} {len(labels)} labels"
        )
    return [(images, labels)]


_IDX = _Layout(
    {"train": tuple(_MNIST)[:2], "test": tuple(_MNIST)[2:]}, "mnist", _MNIST, "idx", _parse_pair
)

# --- CIFAR-10's binary version --------------------------------------------------------------------

_CIFAR_FOLDER = "cifar-10-batches-bin"  # as the official archive unpacks
# The images re-encoded as JPEG. The official checksums are published for the archive alone, not
# for the files in it, so the original goes by its checksum, "cifar10-" and 12 digits.
_CIFAR10_JPEG = {
    "data_batch_1.bin": "42760e2b1fff0bb467c40700a8afbc1d",
    "data_batch_2.bin": "9a0d8c60479b01d7d531fd5c9132a2ac",
    "data_batch_3.bin": "c1ec29819bf3be206e9d41c4106ae14a",
    "data_batch_4.bin": "eca9588efccf8d3a4a8984f41a18fa7f",
    "data_batch_5.bin": "c27bcbf4581f103595db169986722ccc",
    "test_batch.bin": "c21be9aaa6c0cd3bb2d052f6936183e9",
}
_PLANES = (3, 32, 32)  # red, green, blue, each row by row
_RECORD = 1 + math.prod(_PLANES)  # bytes: the class, then the planes
_CLASSES = 10


def _parse_batches(contents: Mapping[Path, bytes]) -> _Pieces:
    """Images and labels of each batch."""
    pieces = []
    for path, data in contents.items():
        if not data or len(data) % _RECORD:
            raise ValueError(
                f"{path} is damaged: expected a positive multiple of {_RECORD} bytes, "
                f"found {len(data)}"
            )
        records = np.frombuffer(data, np.uint8).reshape(-1, _RECORD)
        labels = records[:, 0]
        if labels.max() >= _CLASSES:
            raise ValueError(
                f"{path} is damaged: expected classes 0 to {_CLASSES - 1}, found {labels.max()}"
            )
        images = records[:, 1:].reshape(-1, *_PLANES).transpose(0, 2, 3, 1)
        pieces.append((np.ascontiguousarray(images), labels))
    return pieces


_CIFAR = _Layout(
    {"train": tuple(_CIFAR10_JPEG)[:5], "test": tuple(_CIFAR10_JPEG)[5:]},
    "cifar10-jpeg",
    _CIFAR10_JPEG,
    "cifar10",
    _parse_batches,
)
