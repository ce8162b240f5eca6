"""Standard on-disk formats of labeled images, read into NumPy arrays.

A folder is known by its content: MNIST and its look-alikes share their file names, so the
checksums decide which of them a folder holds.
"""

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from store.files import checksum

_PREFIXES = {"train": "train", "test": "t10k"}
_IMAGES, _LABELS = "images-idx3-ubyte", "labels-idx1-ubyte"
_FILES = [f"{prefix}-{kind}" for prefix in _PREFIXES.values() for kind in (_IMAGES, _LABELS)]
_MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP_MAGIC = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, eq=False)
class LabeledImages:
    """Gray images and their classes.

    Attributes
    ----------
    name : str
        The data set's identity, as `load` takes it.
    images : ndarray of uint8, shape (n, height, width)
        Pixel values, 0 to `max_value`.
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
        """Images as rows of numbers in [0, 1], shape (n, height * width)."""
        height, width = self.images.shape[1:]
        return self.images.reshape(len(self.images), height * width) / self.max_value


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
    """Name the data set that a folder of four MNIST-named files holds.

    Parameters
    ----------
    directory : Path or str
        Folder of `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte`
        and `t10k-labels-idx1-ubyte`, each with or without `.gz`.

    Returns
    -------
    str
        "mnist" if the uncompressed files have the official checksums; else "idx-" and the first
        12 digits of a checksum of the four.

    Raises
    ------
    FileNotFoundError
        If one of the files is missing.
    ValueError
        If one of the files is a broken gzip stream.
    """
    return _identity({name: _read_uncompressed(path) for name, path in _find(directory).items()})


def load(dataset: str, directory: Path | str | None = None, *, part: str = "all") -> LabeledImages:
    """Load labeled images by name.

    Parameters
    ----------
    dataset : str
        "digits" for the 8 x 8 handwritten digits that come with scikit-learn; any other name is
        the identity (see `identify`) that `directory` must have.
    directory : Path or str, optional
        Folder of the four MNIST-named files; ignored for "digits".
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
        does not hold bytes of the expected dimensions.

    Examples
    --------
    >>> digits = load("digits")
    >>> digits.features().shape, digits.max_value
    ((1797, 64), 16)
    """
    if part not in ("all", *_PREFIXES):
        raise ValueError(f"part must be 'all', 'train' or 'test', not {part!r}")
    if dataset == "digits":
        return _digits(part)
    if directory is None:
        raise ValueError(f"directory must be given: {dataset!r} is not an embedded data set")

    paths = _find(directory)
    contents = {name: _read_uncompressed(path) for name, path in paths.items()}
    identity = _identity(contents)
    if identity != dataset:
        raise ValueError(f"asked for the data set {dataset!r}, but {directory} holds {identity!r}")

    parts = _PREFIXES if part == "all" else [part]
    pairs = [_parse_pair(_PREFIXES[each], contents, paths) for each in parts]
    images, labels = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    return LabeledImages(identity, images, labels.astype(np.int64), max_value=255)


def _digits(part: str) -> LabeledImages:
    if part != "all":
        raise ValueError(f"part must be 'all' for 'digits', which has no parts, not {part!r}")
    from sklearn.datasets import load_digits  # takes a second to import; only this set needs it

    digits = load_digits()
    images, labels = digits.images.astype(np.uint8), digits.target.astype(np.int64)
    return LabeledImages("digits", images, labels, max_value=16)


def _find(directory: Path | str) -> dict[str, Path]:
    """Path of each of the four files, by its name without `.gz`."""
    folder = Path(directory)
    paths = {}
    for name in _FILES:
        accepted = (name, f"{name}.gz")
        present = [folder / each for each in accepted if (folder / each).is_file()]
        if not present:
            raise FileNotFoundError(f"no {name} in {folder} (accepted: {' or '.join(accepted)})")
        paths[name] = present[0]
    return paths


def _read_uncompressed(path: Path) -> bytes:
    data = path.read_bytes()
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a broken gzip stream: {error}") from error


def _identity(contents: dict[str, bytes]) -> str:
    digests = {name: checksum(data, "md5") for name, data in contents.items()}
    if digests == _MNIST:
        return "mnist"
    return "idx-" + checksum("".join(digests[name] for name in _FILES).encode())[:12]


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


def _parse_pair(
    prefix: str, contents: dict[str, bytes], paths: dict[str, Path]
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images and labels of one part, as many of the one as of the other."""
    arrays = []
    for name, ndim in ((f"{prefix}-{_IMAGES}", 3), (f"{prefix}-{_LABELS}", 1)):
        array = _parse_idx(contents[name], paths[name])
        if array.dtype != np.uint8 or array.ndim != ndim:
            raise ValueError(
                f"{paths[name]} must hold uint8 in {ndim} dimension(s), "
                f"not {array.dtype} in {array.ndim}"
            )
        arrays.append(array)
    images, labels = arrays
    if len(images) != len(labels):
        raise ValueError(
            f"{paths[f'{prefix}-{_IMAGES}']} holds {len(images)} images, "
            f"but {paths[f'{prefix}-{_LABELS}']} {len(labels)} labels"
        )
    return images, labels
