"""Labeled images in one folder a class: CINIC-10, ImageNet and Restricted ImageNet."""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps
from tqdm import tqdm

from store._datasets_binary import Piece
from store.files import checksum

Pixels = NDArray[np.uint8]

CINIC10_CLASSES = (
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
)
# Positions in the sorted list of ImageNet's 1000 classes, first and last (Tsipras et al., 2019).
RESTRICTED_RANGES = {
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
_WORDNET_ID = re.compile(r"n\d{8}")
_SUFFIXES = (".png", ".jpeg", ".jpg")
# What Pillow raises for a damaged image, beyond OSError.
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)


@dataclass(frozen=True)
class Layout:
    """A format of folders: one a part, one in it a class, and in that the images.

    ``parts`` maps a part to its folder. ``find_classes`` lists the classes' folder names, in the
    order of the labels, of which ``is_in`` looks for one.
    """

    parts: Mapping[str, str]
    prefix: str
    find_classes: Callable[[Path], tuple[str, ...]]
    read_image: Callable[[Path, int], Pixels]
    restricted: bool = False

    def is_in(self, folder: Path) -> bool:
        parts = [folder / name for name in self.parts.values()]
        classes = self.find_classes(folder)
        return any((part / name).is_dir() for part in parts for name in classes)

    def open(self, folder: Path) -> ClassFolders:
        """List the images of every class of every part."""
        classes = self.find_classes(folder)
        for place in (folder / part / name for part in self.parts.values() for name in classes):
            if not place.is_dir():
                raise FileNotFoundError(f"no folder {place.name} in {place.parent}, of a class")
        return ClassFolders(self, folder, classes)


@dataclass(frozen=True)
class ClassFolders:
    """The images of a layout."""

    layout: Layout
    folder: Path
    classes: tuple[str, ...]

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(self.layout.parts)

    @cached_property
    def _listing(self) -> dict[str, list[list[tuple[str, int]]]]:
        """Name and size in bytes of each image, in each class of each part."""
        return {
            part: [_images_in(self.folder / place / name) for name in self.classes]
            for part, place in self.layout.parts.items()
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The identity, and the other name if there are larger classes."""
        lines = (
            f"{place}/{class_name}/{name} {size}\n"
            for part, place in self.layout.parts.items()
            for class_name, images in zip(self.classes, self._listing[part], strict=True)
            for name, size in images
        )
        suffix = checksum("".join(lines).encode())[:12]
        identity = f"{self.layout.prefix}-{suffix}"
        return (identity, f"restricted-{identity}") if self.layout.restricted else (identity,)

    def read(self, name: str, part: str, image_size: int) -> list[Piece]:
        restricted = name.startswith("restricted-")
        groups = self._restricted() if restricted else [(k,) for k in range(len(self.classes))]
        paths, labels = [], []
        for label, members in enumerate(groups):
            found = [path for k in members for path in self._paths(part, k)]
            paths += found
            labels += [label] * len(found)
        read = self.layout.read_image
        return [(_read_images(paths, read, image_size), np.array(labels, np.int64))]

    def _restricted(self) -> list[range]:
        if len(self.classes) != 1000:
            raise ValueError(
                "Restricted ImageNet is made of ranges of ImageNet's 1000 classes, but "
                f"{self.folder} has the folders of {len(self.classes)}"
            )
        return [range(first, last + 1) for first, last in RESTRICTED_RANGES.values()]

    def _paths(self, part: str, k: int) -> Iterator[Path]:
        place = self.folder / self.layout.parts[part] / self.classes[k]
        if not self._listing[part][k]:
            raise FileNotFoundError(f"no image in {place} (accepted: {', '.join(_SUFFIXES)})")
        return (place / name for name, _ in self._listing[part][k])


def _images_in(folder: Path) -> list[tuple[str, int]]:
    with os.scandir(folder) as entries:
        return sorted(
            (entry.name, entry.stat().st_size)
            for entry in entries
            if entry.name.lower().endswith(_SUFFIXES)
        )


def _read_images(
    paths: Sequence[Path], read: Callable[[Path, int], Pixels], image_size: int
) -> Pixels:
    images = np.empty((len(paths), *read(paths[0], image_size).shape), np.uint8)

    def fill(chunk: range) -> int:
        for k in chunk:
            images[k] = read(paths[k], image_size)
        return len(chunk)

    chunks = [range(len(paths))[start : start + 64] for start in range(0, len(paths), 64)]
    with (
        ThreadPoolExecutor() as threads,  # Pillow decodes outside Python's lock
        tqdm(total=len(paths), unit=" images", delay=2, disable=None) as bar,
    ):
        for count in threads.map(fill, chunks):
            bar.update(count)
    return images


def _small_image(path: Path, _image_size: int) -> Pixels:
    pixels = _decoded(path, lambda image: image)
    if pixels.shape != (32, 32, 3):
        height, width, _ = pixels.shape
        raise ValueError(f"{path} must be an image of 32 x 32 pixels, not {width} x {height}")
    return pixels


def _fitted_image(path: Path, image_size: int) -> Pixels:
    size = (image_size, image_size)

    def fit(image: Image.Image) -> Image.Image:
        image.draft("RGB", (2 * image_size, 2 * image_size))  # decodes at half the scale or less
        return ImageOps.fit(image.convert("RGB"), size, Image.Resampling.BILINEAR)

    return _decoded(path, fit)


def _decoded(path: Path, prepare: Callable[[Image.Image], Image.Image]) -> Pixels:
    try:
        with Image.open(path) as image:
            return np.asarray(prepare(image).convert("RGB"))
    except _DAMAGED as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error


def _wordnet_ids(folder: Path) -> tuple[str, ...]:
    """Sorted class folders of both parts: the standard order of ImageNet's classes."""
    parts = [folder / name for name in ("train", "val")]
    entries = (path for part in parts if part.is_dir() for path in part.iterdir())
    names = {path.name for path in entries if path.is_dir()}
    return tuple(sorted(name for name in names if _WORDNET_ID.fullmatch(name)))


CINIC10 = Layout(
    {"train": "train", "valid": "valid", "test": "test"},
    "cinic10",
    lambda _folder: CINIC10_CLASSES,
    _small_image,
)
IMAGENET = Layout(
    {"train": "train", "test": "val"}, "imagenet", _wordnet_ids, _fitted_image, restricted=True
)
