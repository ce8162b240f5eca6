r"""Section 5 and appendix D of Zhang et al. (2017): which of the perfect fits SGD and kernels choose.

The Gaussian kernel on MNIST has the authors' published γ = 0.02. Gabor features and their γ = 2 were
picked on 10,000 *training* images of MNIST (5,000 to fit, 5,000 to validate), the γ of CIFAR-10's
pixels likewise; the paper states none of them.
"""

from __future__ import annotations

from typing import Any

from paper_figures.results import Need
from sims import interpolation

# --- results -------------------------------------------------------------------------------------

SIZES = (500, 2000, 8000)  # subsets of MNIST, drawn anew for each seed
_RIDGES = [0.0, 1e-4, 1e-3, 1e-2, 1e-1]


def _mnist(train_size: int, seeds: int, **changes: Any) -> Need:
    parameters = {
        "dataset": "mnist",
        "train_size": train_size,
        "test_size": 10_000,
        "gamma": 0.02,
        **changes,
    }
    quick = {"train_size": 200, "test_size": 200}
    return Need(interpolation.kernel_interpolation, parameters, seeds, 1, quick)


MNIST_SUBSETS = {size: _mnist(size, seeds=3) for size in SIZES}
MNIST_RIDGES = _mnist(10_000, seeds=3, ridges=_RIDGES)
MNIST_GABOR_SUBSET = _mnist(10_000, seeds=3, features="gabor", gamma=2.0)
# All 60,000 images: each takes 17 GB and, on one core, half an hour.
MNIST_ALL = _mnist(60_000, seeds=1)
MNIST_GABOR_ALL = _mnist(60_000, seeds=1, features="gabor", gamma=2.0)

RECORDED: tuple[Need, ...] = (
    *MNIST_SUBSETS.values(),
    MNIST_RIDGES,
    MNIST_GABOR_SUBSET,
    MNIST_ALL,
    MNIST_GABOR_ALL,
)
