"""Images drawn from a law that is known: oriented gratings under noise."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import ArrayLike, NDArray

from store._datasets_binary import Piece

Array = NDArray[np.float64]

_SIGNAL = 128.0  # gray of an image without grating
_PARTS = ("train", "test")


@dataclass(frozen=True, kw_only=True)
class Gratings:
    """Gratings whose orientation is the class and whose every other property is nuisance.

    The pixel at row i and column j, both measured from the middle in units of the image's side, is

        128 + b + a cos(2π f (j cos θ + i sin θ) + φ) + σ ε,

    rounded and clipped to 0 … 255. The class k = 0 … K - 1 sets the orientation θ = π k / K and
    nothing else. The nuisances are drawn anew for each image: the phase φ, a shift of the grating,
    uniformly from the circle; the contrast a uniformly from half of `contrast` to `contrast`; the
    brightness b normally with deviation `brightness`; the noise ε of each pixel normally.

    All classes have the same mean image, so no linear classifier is better than chance. What
    matters is the image's power in the two-dimensional space of each class's gratings: the class
    of the greatest (see `energies`) is the Bayes rule, but for the rounding and the small
    overlap of these spaces on a grid of pixels.

    Parameters
    ----------
    classes : int
        Number K of classes, at least 2.
    size : int
        Height and width in pixels, at least 4.
    channels : int
        1 for gray images, 3 for color images: the same grating, each channel with its own noise.
    frequency : float
        Periods f of a grating across the image, less than half of `size`.
    contrast : float
        Greatest amplitude of a grating.
    brightness : float
        Standard deviation of an image's brightness.
    noise : float
        Standard deviation σ of a pixel's noise.
    train_size, test_size : int
        Number of images in each part, drawn from separate streams.
    seed : int
        Where the randomness comes from.

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> law = Gratings(classes=4, noise=10, train_size=5)
    >>> law.name
    'procedural:classes=4,noise=10,train_size=5'
    >>> images, labels = law.draw("train")
    >>> bool((law.energies(images).argmax(axis=1) == labels).all())
    True
    """

    classes: int = 10
    size: int = 16
    channels: int = 1
    frequency: float = 4.0
    contrast: float = 60.0
    brightness: float = 20.0
    noise: float = 40.0
    train_size: int = 2000
    test_size: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        lowest = {"classes": 2, "size": 4, "train_size": 1, "test_size": 1, "seed": 0}
        for name, minimum in lowest.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"{name} must be at least {minimum}, got {getattr(self, name)}")
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, got {self.channels}")
        if not 0.0 < self.frequency < self.size / 2:
            raise ValueError(
                f"frequency must be positive and below half of size {self.size}, "
                f"got {self.frequency:g}"
            )
        for name in ("contrast", "brightness", "noise"):
            if not 0.0 <= getattr(self, name) < np.inf:
                raise ValueError(f"{name} must be 0 or more, got {getattr(self, name):g}")

    @property
    def name(self) -> str:
        """The identity: "procedural" and the parameters that are not the default ones."""
        given = [
            f"{each.name}={str(value).removesuffix('.0')}"
            for each in fields(self)
            if (value := getattr(self, each.name)) != each.default
        ]
        return "procedural" + (":" + ",".join(given) if given else "")

    @classmethod
    def from_name(cls, name: str) -> Gratings:
        """Make the law from its identity; the parameters may stand in any order."""
        kinds = {each.name: int if each.type == "int" else float for each in fields(cls)}
        given: dict[str, int | float] = {}
        for item in name.removeprefix("procedural").removeprefix(":").split(","):
            if not item:
                continue
            parameter, _, value = item.partition("=")
            if parameter not in kinds:
                allowed = ", ".join(kinds)
                raise ValueError(f"{name!r} has no parameter {parameter!r}: allowed are {allowed}")
            try:
                given[parameter] = kinds[parameter](value)
            except ValueError:
                kind = kinds[parameter].__name__
                raise ValueError(f"{parameter} of {name!r} must be {kind}, got {value!r}") from None
        return cls(**given)  # type: ignore[arg-type]

    def draw(self, part: str) -> Piece:
        """Images, uint8 of shape (n, size, size) or (n, size, size, 3), and classes (n,).

        The images of a part are the same whatever the size of the other part.
        """
        rng = np.random.default_rng([self.seed, _PARTS.index(part)])
        n = self.train_size if part == "train" else self.test_size
        labels = rng.integers(0, self.classes, n)
        amplitude = self.contrast * rng.uniform(0.5, 1.0, n)
        phase = rng.uniform(0.0, 2 * np.pi, n)
        brightness = self.brightness * rng.standard_normal(n)
        clean = self._waves(labels, phase) * amplitude[:, None, None] + brightness[:, None, None]
        shape = (n, self.size, self.size) + ((3,) if self.channels == 3 else ())
        pixels = clean.reshape(shape[:3] + (1,) * (len(shape) - 3))
        noisy = _SIGNAL + pixels + self.noise * rng.standard_normal(shape)
        return np.clip(np.rint(noisy), 0, 255).astype(np.uint8), labels

    def energies(self, images: ArrayLike) -> Array:
        """Power of images in the space of each class's gratings.

        Parameters
        ----------
        images : array-like, shape (n, size, size) or (n, size, size, 3)
            Images, of which the mean is taken off and color channels are averaged.

        Returns
        -------
        ndarray, shape (n, classes)
            Squared length of the projection on what phases and contrasts of a class span.

        Raises
        ------
        ValueError
            If the images are not of the law's size.
        """
        pixels = np.asarray(images, np.float64)
        if pixels.ndim == 4:
            pixels = pixels.mean(axis=3)
        if pixels.shape[1:] != (self.size, self.size):
            raise ValueError(
                f"images must be of {self.size} x {self.size} pixels, got shape {np.shape(images)}"
            )
        flat = pixels.reshape(len(pixels), -1)
        centered = flat - flat.mean(axis=1, keepdims=True)
        return np.stack([((centered @ base) ** 2).sum(axis=1) for base in self._bases()], axis=1)

    def _bases(self) -> list[Array]:
        """Orthonormal gratings (size², 2) of each class, of mean zero."""
        bases = []
        for k in range(self.classes):
            pair = self._waves(np.array([k, k]), np.array([0.0, np.pi / 2])).reshape(2, -1)
            bases.append(np.linalg.qr((pair - pair.mean(axis=1, keepdims=True)).T)[0])
        return bases

    def _waves(self, labels: NDArray[np.int64], phases: Array) -> Array:
        """Gratings (n, size, size) of unit amplitude."""
        place = (np.arange(self.size) - (self.size - 1) / 2) / self.size
        angles = np.pi * labels[:, None, None] / self.classes
        along = np.cos(angles) * place + np.sin(angles) * place[:, None]
        return np.asarray(np.cos(2 * np.pi * self.frequency * along + phases[:, None, None]))


def is_procedural(name: str) -> bool:
    return re.fullmatch(r"procedural(:.*)?", name) is not None
