"""Labeled images in a few binary files: IDX, the format of MNIST, and the binary one of CIFAR."""

from __future__ import annotations

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

Piece = tuple[NDArray[np.uint8], NDArray[np.integer[Any]]]  # images and their labels
_Parser = Callable[[Mapping[Path, bytes]], list[Piece]]


@dataclass(frozen=True)
class Layout:
    """A format of several files.

    ``known`` are the checksums of the data sets that have a name, by name; others are called
    ``prefix`` and a checksum. ``parse`` maps one part's contents, by path, to pieces of (images,
    labels); with ``coarse``, a second name asks for labels of larger classes.
    """

    files: Mapping[str, tuple[str, ...]]
    known: Mapping[str, Mapping[str, str]]
    prefix: str
    parse: _Parser
    coarse: _Parser | None = None

    @property
    def all_files(self) -> tuple[str, ...]:
        return tuple(name for names in self.files.values() for name in names)

    def is_in(self, folder: Path) -> bool:
        return any(_present(folder, name) for name in self.all_files)

    def open(self, folder: Path) -> BinaryFiles:
        """Read each of the files, with or without `.gz`."""
        paths = {}
        for name in self.all_files:
            if not (present := _present(folder, name)):
                raise FileNotFoundError(f"no {name} in {folder} (accepted: {name} or {name}.gz)")
            paths[name] = present[0]
        return BinaryFiles(self, {name: (path, _contents(path)) for name, path in paths.items()})


@dataclass(frozen=True)
class BinaryFiles:
    """The files of a layout: path and uncompressed content of each, by its name without `.gz`."""

    layout: Layout
    contents: Mapping[str, tuple[Path, bytes]]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.layout.files)

    @property
    def names(self) -> tuple[str, ...]:
        """The identity, and the other name if there are coarse labels."""
        digests = {name: checksum(data, "md5") for name, (_, data) in self.contents.items()}
        for name, known in self.layout.known.items():
            if digests == known:
                return (name,)
        suffix = checksum("".join(digests.values()).encode())[:12]
        prefix = self.layout.prefix
        if self.layout.coarse is None:
            return (f"{prefix}-{suffix}",)
        return (f"{prefix}-{suffix}", f"{prefix}-coarse-{suffix}")

    def read(self, name: str, part: str, _image_size: int) -> list[Piece]:
        parse = self.layout.parse
        if self.layout.coarse is not None and name.startswith(f"{self.layout.prefix}-coarse-"):
            parse = self.layout.coarse
        return parse(dict(self.contents[file] for file in self.layout.files[part]))


def _present(folder: Path, name: str) -> list[Path]:
    return [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]


def _contents(path: Path) -> bytes:
    data = path.read_bytes()
    if not data.startswith(_GZIP_MAGIC):
        return data
    try:
        return gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{path} is a broken gzip stream: {error}") from error


# --- IDX, the format of MNIST ---------------------------------------------------------------------

# Of the uncompressed files. Those of Fashion-MNIST's labels were computed from the official
# archives; those of its images are as several independent sources state them.
MNIST = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
FASHION_MNIST = {
    "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
    "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
    "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
    "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
}
_IDX_DTYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


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
        return _parse_idx(_contents(path), path)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"no file {path.name} in {path.parent}") from error


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


def _parse_pair(contents: Mapping[Path, bytes]) -> list[Piece]:
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


IDX = Layout(
    {"train": tuple(MNIST)[:2], "test": tuple(MNIST)[2:]},
    {"mnist": MNIST, "fashion-mnist": FASHION_MNIST},
    "idx",
    _parse_pair,
)

# --- CIFAR's binary version -----------------------------------------------------------------------

CIFAR10_FOLDER = "cifar-10-batches-bin"  # as the official archives unpack
CIFAR100_FOLDER = "cifar-100-binary"
# The images re-encoded as JPEG. The official checksums are published for the archives alone, not
# for the files in them, so the originals go by their checksum, "cifar10-" or "cifar100-" and 12
# digits.
CIFAR10_JPEG = {
    "data_batch_1.bin": "42760e2b1fff0bb467c40700a8afbc1d",
    "data_batch_2.bin": "9a0d8c60479b01d7d531fd5c9132a2ac",
    "data_batch_3.bin": "c1ec29819bf3be206e9d41c4106ae14a",
    "data_batch_4.bin": "eca9588efccf8d3a4a8984f41a18fa7f",
    "data_batch_5.bin": "c27bcbf4581f103595db169986722ccc",
    "test_batch.bin": "c21be9aaa6c0cd3bb2d052f6936183e9",
}
_PLANES = (3, 32, 32)  # red, green, blue, each row by row


def _batches(classes: tuple[int, ...], wanted: int) -> _Parser:
    """Make a parser of records that begin with one byte of class for each of ``classes``.

    ``wanted`` is the position of the byte that becomes the label.
    """
    record = len(classes) + math.prod(_PLANES)

    def parse(contents: Mapping[Path, bytes]) -> list[Piece]:
        pieces: list[Piece] = []
        for path, data in contents.items():
            if not data or len(data) % record:
                raise ValueError(
                    f"{path} is damaged: expected a positive multiple of {record} bytes, "
                    f"found {len(data)}"
                )
            records = np.frombuffer(data, np.uint8).reshape(-1, record)
            for position, count in enumerate(classes):
                if (highest := records[:, position].max()) >= count:
                    raise ValueError(
                        f"{path} is damaged: expected classes 0 to {count - 1}, found {highest}"
                    )
            images = records[:, len(classes) :].reshape(-1, *_PLANES).transpose(0, 2, 3, 1)
            pieces.append((np.ascontiguousarray(images), records[:, wanted]))
        return pieces

    return parse


CIFAR10 = Layout(
    {"train": tuple(CIFAR10_JPEG)[:5], "test": tuple(CIFAR10_JPEG)[5:]},
    {"cifar10-jpeg": CIFAR10_JPEG},
    "cifar10",
    _batches((10,), 0),
)
CIFAR100 = Layout(
    {"train": ("train.bin",), "test": ("test.bin",)},
    {},
    "cifar100",
    _batches((20, 100), 1),
    coarse=_batches((20, 100), 0),
)
