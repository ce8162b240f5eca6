"""Norms of a network's weights: sums over its paths, over its weights, and spectral products."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from theory._validation import Array, finite_array, positive_number


def path_norm(
    weights: Sequence[ArrayLike], *, biases: Sequence[ArrayLike] | None = None, p: float = 2.0
) -> float:
    r"""Return the :math:`\ell_p` path norm of a network of fully connected layers.

    .. math:: \Big(\sum_\text{paths} \prod_l |w_l|^p\Big)^{1/p},

    over the paths from each input, and from each bias, to each output. It is what the network, its
    weights replaced by :math:`|w|^p`, gives for an input of ones. ReLUs may scale a hidden unit's
    weights from one side to the other: the path norm does not change.

    Parameters
    ----------
    weights : sequence of array_like (outputs, inputs)
        The layers' matrices, the first layer first.
    biases : sequence of array_like (outputs,), optional
        The layers' biases; none by default.
    p : float, default 2
        Exponent, positive.

    Returns
    -------
    float
        Infinite where :func:`log_path_norm` exceeds float64's range.

    Raises
    ------
    ValueError
        If there is no layer, an array is not finite or not of the shape that its neighbours
        demand, or p is not positive.

    References
    ----------
    Neyshabur, Tomioka & Srebro, COLT 2015. Liu et al. (2020) report p = 1 and 2 (from memory).

    Examples
    --------
    >>> from theory.capacity import path_norm
    >>> round(path_norm([[[1.0, -2.0]], [[3.0]]], p=1), 12)
    9.0
    >>> round(path_norm([[[1.0, -2.0]], [[3.0]]], biases=[[0.5], [1.0]], p=1), 12)
    11.5
    """
    with np.errstate(over="ignore"):
        return float(np.exp(log_path_norm(weights, biases=biases, p=p)))


def log_path_norm(
    weights: Sequence[ArrayLike], *, biases: Sequence[ArrayLike] | None = None, p: float = 2.0
) -> float:
    """Return the logarithm of :func:`path_norm`, which deep networks do not overflow.

    Parameters
    ----------
    weights, biases, p
        As :func:`path_norm` takes them.

    Returns
    -------
    float
        Minus infinity if no path is left.

    Raises
    ------
    ValueError
        As :func:`path_norm`.

    Examples
    --------
    >>> from theory.capacity import log_path_norm
    >>> round(log_path_norm([[[1e300]], [[1e300]]], p=1), 2)
    1381.55
    """
    matrices, offsets = _layers(weights, biases)
    power = positive_number("p", p)
    logs = np.zeros(matrices[0].shape[1])
    with np.errstate(divide="ignore"):
        for matrix, offset in zip(matrices, offsets, strict=True):
            steps = power * np.log(np.abs(np.column_stack([matrix, offset])))
            logs = np.logaddexp.reduce(steps + np.append(logs, 0.0), axis=1)
    return float(np.logaddexp.reduce(logs)) / power


def frobenius_norm(
    weights: Sequence[ArrayLike], *, biases: Sequence[ArrayLike] | None = None
) -> float:
    """Return the root of the sum of squares of all weights and biases.

    Papers that report "the Frobenius norm" may mean its square: say which.

    Parameters
    ----------
    weights, biases
        As :func:`path_norm` takes them.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As :func:`path_norm`.

    References
    ----------
    A reproduction of Liu et al. (2020) logs the square under this name.

    Examples
    --------
    >>> from theory.capacity import frobenius_norm
    >>> frobenius_norm([[[1.0, -2.0]], [[2.0]]]), frobenius_norm([[[0.0]]], biases=[[4.0]])
    (3.0, 4.0)
    """
    matrices, offsets = _layers(weights, biases)
    everything = np.concatenate([part.ravel() for part in (*matrices, *offsets)])
    largest = float(np.max(np.abs(everything)))  # whose square may overflow
    return largest * float(np.linalg.norm(everything / largest)) if largest else 0.0


def spectral_product(weights: Sequence[ArrayLike]) -> float:
    """Return the product of the layers' largest singular values.

    It bounds how much a network of ReLUs can stretch a distance.

    Parameters
    ----------
    weights
        As :func:`path_norm` takes them.

    Returns
    -------
    float
        Infinite where :func:`log_spectral_product` exceeds float64's range.

    Raises
    ------
    ValueError
        As :func:`path_norm`.

    References
    ----------
    Bartlett, Foster & Telgarsky, NeurIPS 2017, the first factor of their bound (from memory).

    Examples
    --------
    >>> from theory.capacity import spectral_product
    >>> round(spectral_product([[[3.0, 4.0]], [[-2.0]]]), 12)
    10.0
    """
    with np.errstate(over="ignore"):
        return float(np.exp(log_spectral_product(weights)))


def log_spectral_product(weights: Sequence[ArrayLike]) -> float:
    """Return the logarithm of :func:`spectral_product`, which deep networks do not overflow.

    Parameters
    ----------
    weights
        As :func:`path_norm` takes them.

    Returns
    -------
    float
        Minus infinity if a layer is zero.

    Raises
    ------
    ValueError
        As :func:`path_norm`.

    Examples
    --------
    >>> from theory.capacity import log_spectral_product
    >>> round(log_spectral_product([[[1e300]], [[1e300]]]), 2)
    1381.55
    """
    matrices, _ = _layers(weights, None)
    with np.errstate(divide="ignore"):
        return float(sum(np.log(np.linalg.norm(matrix, 2)) for matrix in matrices))


def _layers(
    weights: Sequence[ArrayLike], biases: Sequence[ArrayLike] | None
) -> tuple[list[Array], list[Array]]:
    """Return the matrices and the biases, zero where there are none, checked to fit together."""
    if len(weights) == 0:
        raise ValueError("weights must hold at least one layer, got none")
    matrices = [
        finite_array(f"weights[{layer}]", matrix, ndim=2) for layer, matrix in enumerate(weights)
    ]
    for layer, (before, after) in enumerate(itertools.pairwise(matrices), start=1):
        if after.shape[1] != len(before):
            raise ValueError(
                f"weights[{layer}] must have {len(before)} columns, one for each output of the "
                f"layer before, got shape {after.shape}"
            )
    if biases is None:
        return matrices, [np.zeros(len(matrix)) for matrix in matrices]
    if len(biases) != len(matrices):
        raise ValueError(f"biases must hold {len(matrices)} arrays, one a layer, got {len(biases)}")
    offsets = [finite_array(f"biases[{layer}]", bias, ndim=1) for layer, bias in enumerate(biases)]
    for layer, (matrix, offset) in enumerate(zip(matrices, offsets, strict=True)):
        if len(offset) != len(matrix):
            raise ValueError(
                f"biases[{layer}] must have {len(matrix)} entries, one an output, got {len(offset)}"
            )
    return matrices, offsets
