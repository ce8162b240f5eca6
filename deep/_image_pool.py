"""Images of which every seed of a population has a training set of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from deep import models
from store import datasets

NOT_TRAINED_ON = -100


def image_tensors(
    images: datasets.LabeledImages,
    device: torch.device | str,
    *,
    rows: Any = slice(None),
    scale: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Return pixels (n, channels, height, width) in [0, scale], float32, and labels (n,)."""
    shape = images.images.shape[1:]
    pixels = torch.as_tensor(scale * images.features()[rows], dtype=torch.float32)
    pixels = pixels.view(-1, *shape, *[1] * (3 - len(shape))).movedim(-1, 1).contiguous()
    return pixels.to(device), torch.as_tensor(images.labels[rows], device=device)


class ImagePool(NamedTuple):
    """All images that some seed trains on, and of each seed the order in which it takes them."""

    inputs: Tensor
    labels: Tensor
    orders: NDArray[np.int64]
    test: tuple[Tensor, Tensor]

    @staticmethod
    def drawn(
        dataset: str,
        data_dir: str | None,
        train_sizes: Sequence[int],
        test_size: int,
        seeds: int,
        pixel_scale: float,
        device: str | None,
    ) -> ImagePool:
        train, test = datasets.draw(dataset, data_dir, None, test_size, seed=0)
        largest, n = max(train_sizes), len(train.labels)
        if largest > n:
            raise ValueError(
                f"train_sizes must be at most {n}, what the test set leaves of {dataset!r}, "
                f"got {largest}"
            )
        taken = np.stack(
            [np.random.default_rng([seed, 1]).permutation(n)[:largest] for seed in range(seeds)]
        )
        used, orders = np.unique(taken, return_inverse=True)
        place = device or ("cuda" if torch.cuda.is_available() else "cpu")

        inputs, labels = image_tensors(train, place, rows=used, scale=pixel_scale)
        tested = image_tensors(test, place, scale=pixel_scale)
        return ImagePool(inputs, labels, orders.reshape(taken.shape), tested)

    @property
    def classes(self) -> int:
        return 1 + int(max(self.labels.max(), self.test[1].max()))

    def perceptron(self, hidden: int, law: str) -> Callable[[torch.Generator], nn.Module]:
        """Return what makes a perceptron of one hidden layer for these images."""

        def make_model(generator: torch.Generator) -> nn.Module:
            return models.build(
                "mlp",
                input_shape=self.inputs.shape[1:],
                classes=self.classes,
                widths=(hidden,),
                law=law,
                generator=generator,
                device="cpu",
            )

        return make_model

    def of_seeds(self, seeds: NDArray[np.int64], size: int) -> tuple[Tensor, Tensor]:
        """Return inputs (n, ...) and labels (members, n) of the first ``size`` images of seeds."""
        rows = self.orders[:, :size]
        used, places = np.unique(rows, return_inverse=True)
        chosen = torch.as_tensor(used, device=self.labels.device)
        own = torch.zeros(len(rows), len(used), dtype=torch.bool, device=chosen.device)
        own.scatter_(1, torch.as_tensor(places.reshape(rows.shape), device=chosen.device), True)
        labels = self.labels[chosen].where(own, NOT_TRAINED_ON)
        return self.inputs[chosen], labels[torch.as_tensor(seeds, device=chosen.device)]
