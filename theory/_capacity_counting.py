"""Counting: Cover's dichotomies, the VC dimension of ReLU networks, and their parameters."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from scipy.special import betainc, gammaln, lambertw, logsumexp

from theory._validation import positive_integer

# Bartlett et al.'s universal constant.
_DEEP_CONSTANT = 640


# --- Cover's count --------------------------------------------------------------------------------


def cover_count(n: int, d: int) -> int:
    r"""Count the dichotomies of n points that hyperplanes through 0 make.

    Of all :math:`2^n` they are

    .. math:: C(n, d) = 2 \sum_{k < d} \binom{n-1}{k}

    for points in general position in d dimensions: any d of them linearly independent. An affine
    hyperplane in d dimensions is one through 0 in d + 1.

    Parameters
    ----------
    n, d : int
        Points and dimensions, at least 1.

    Returns
    -------
    int
        Exact, with as many digits as it takes: up to n of them, in d steps.

    Raises
    ------
    ValueError
        If a number is not a positive integer.

    References
    ----------
    Cover, IEEE Trans. Electronic Computers 14 (1965), theorem 1 (from memory, not checked against
    the paper's text; the recursion C(n + 1, d) = C(n, d) + C(n, d - 1) is its proof).

    Examples
    --------
    >>> from theory.capacity import cover_count
    >>> cover_count(4, 2), cover_count(4, 4)
    (8, 16)
    """
    N, m = positive_integer("n", n) - 1, positive_integer("d", d) - 1
    term = total = 1
    for k in range(min(N, m)):
        term = term * (N - k) // (k + 1)
        total += term
    return 2 * total


def log_cover_count(n: int, d: int) -> float:
    r"""Natural logarithm of :func:`cover_count`, at any size.

    Parameters
    ----------
    n, d : int
        Points and dimensions, at least 1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If a number is not a positive integer.

    References
    ----------
    As :func:`cover_count`.

    Examples
    --------
    >>> from theory.capacity import log_cover_count
    >>> round(log_cover_count(1_000_000, 1000), 3)
    7896.669
    """
    N, m = positive_integer("n", n) - 1, positive_integer("d", d) - 1
    return math.log(2) + log_binomial_sum(N, m)


def separable_probability(n: int, d: int) -> float:
    r"""Probability that random labels of n points in general position are linearly separable.

    :math:`C(n, d)/2^n`, which is the probability of less than d heads in n - 1 throws of a coin:
    1 for n ≤ d, 1/2 at n = 2d, and a step there for large d.

    Parameters
    ----------
    n, d : int
        Points and dimensions, at least 1.

    Returns
    -------
    float
        It is 0 where it is below the smallest float; see :func:`log_cover_count`.

    Raises
    ------
    ValueError
        If a number is not a positive integer.

    References
    ----------
    As :func:`cover_count`.

    Examples
    --------
    >>> from theory.capacity import separable_probability
    >>> [round(separable_probability(n, 64), 3) for n in (64, 96, 128, 192)]
    [1.0, 1.0, 0.5, 0.0]
    """
    positive_integer("n", n)
    positive_integer("d", d)
    return 1.0 if n <= d else float(betainc(n - d, d, 0.5))


def log_binomial_sum(n: int, m: int) -> float:
    """Return ln Σ_{k ≤ m} C(n, k), summing over the smaller part of the 2^n."""
    if m >= n:
        return n * math.log(2)
    if 2 * m < n:
        return _log_lower_sum(n, m)
    rest = _log_lower_sum(n, n - m - 1) - n * math.log(2)
    return n * math.log(2) + math.log1p(-math.exp(rest))


def _log_lower_sum(n: int, m: int) -> float:
    # Below the middle the terms fall like a Gaussian of variance n / 4, or faster: beyond 10 √n of
    # them, 20 standard deviations, they do not count.
    k = np.arange(max(0, m - int(10 * math.sqrt(n))), m + 1.0)
    return float(logsumexp(gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)))


# --- VC dimension ---------------------------------------------------------------------------------


class VCDimensionBounds(NamedTuple):
    """Numbers that enclose a VC dimension.

    Attributes
    ----------
    lower : int
        Some network of so many weights and layers has at least this VC dimension.
    upper : int
        No such network has a larger one.
    """

    lower: int
    upper: int


def vc_dimension_bounds(
    n_weights: int, n_layers: int, *, n_units: int | None = None
) -> VCDimensionBounds:
    r"""Bounds on the VC dimension of ReLU networks, with all constants.

    *Upper.* Layer after layer, Warren's lemma counts the ways in which the signs of the units of
    layer i, which are polynomials of degree i in W weights where the signs of earlier layers are
    fixed, can come out on m ≥ W points. The product of at most
    :math:`2\,(2e\,i\,k_i\,m/W)^W` for each layer of :math:`k_i \le U` units must be at least
    :math:`2^m` if the m points are shattered:

    .. math:: m \le L + L W \log_2(2e\,L\,U\,m/W),

    whose largest solution is :math:`O(L W \log W)`.

    *Lower.* The larger of two constructions. :math:`(W - 1)/2` by Zhang et al.'s theorem 1, by
    which 2n + 1 weights in two layers fit any labels of n points on a line; and
    :math:`W L \log_2(W/L)/640` by Bartlett et al., where :math:`W > 640 L > 640^2`.

    Parameters
    ----------
    n_weights : int
        W, weights and biases; shared ones count once.
    n_layers : int
        L, layers of weights, at least 2.
    n_units : int, optional
        U, the largest number of units in a layer. By default W, which is enough if no weights are
        shared; convolutions have more units than weights.

    Returns
    -------
    VCDimensionBounds

    Raises
    ------
    ValueError
        If a number is not an integer, is too small, or there are fewer weights than layers.

    Notes
    -----
    The upper bound is for units max(0, x). A maximum over p inputs (max-pooling) can be written
    with more of them; local response normalization is not piecewise linear and is not covered.

    References
    ----------
    Bartlett, Harvey, Liaw & Mehrabian, JMLR 20 (2019) 63: O(W L log W) and Ω(W L log(W/L)) as in
    the abstract; the constant 640 and its condition, and Warren's lemma in the form of Anthony &
    Bartlett (1999), theorem 8.3, are from memory, not checked against the text. Zhang et al.
    (2017), theorem 1.

    Examples
    --------
    >>> from theory.capacity import vc_dimension_bounds
    >>> vc_dimension_bounds(1_209_866, 2)
    VCDimensionBounds(lower=604932, upper=71462880)
    """
    W = positive_integer("n_weights", n_weights, minimum=2)
    L = positive_integer("n_layers", n_layers, minimum=2)
    U = W if n_units is None else positive_integer("n_units", n_units)
    if W < L:
        raise ValueError(f"n_weights must be at least n_layers, {L}, got {W}")
    lower = (W - 1) // 2
    if W > _DEEP_CONSTANT * L > _DEEP_CONSTANT**2:
        lower = max(lower, int(W * L * math.log2(W / L) / _DEEP_CONSTANT))
    return VCDimensionBounds(lower, _largest_shattered(W, L, U))


def _largest_shattered(W: int, L: int, U: int) -> int:
    """Return the largest m with m ≤ L + L W log2(2 e L U m / W).

    With t = m ln 2 / (L W) it is t - ln t ≤ c, whose end is a branch of Lambert's function.
    """
    scale = L * W / math.log(2)
    c = 1.0 / W * math.log(2) + math.log(2 * math.e * L * U / W * scale)
    return int(-scale * float(lambertw(-math.exp(-c), k=-1).real))


# --- parameters -----------------------------------------------------------------------------------


def dense_parameters(widths: Sequence[int]) -> int:
    """Weights and biases of a fully connected network.

    Parameters
    ----------
    widths : sequence of int
        Numbers of inputs, of each layer's units, and of outputs: at least two.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If there are fewer than two widths, or one is not a positive integer.

    References
    ----------
    Zhang et al. (2017), appendix A.

    Examples
    --------
    >>> from theory.capacity import dense_parameters
    >>> dense_parameters([28 * 28 * 3, 512, 10])
    1209866
    """
    checked = [positive_integer("widths", width) for width in widths]
    if len(checked) < 2:
        raise ValueError(f"widths must hold at least two numbers, got {len(checked)}")
    return sum((a + 1) * b for a, b in itertools.pairwise(checked))


def convolution_parameters(in_channels: int, out_channels: int, *, kernel_size: int) -> int:
    """Weights and biases of a two-dimensional convolution with a square kernel.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size : int
        Side of the kernel.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If a number is not a positive integer.

    References
    ----------
    Zhang et al. (2017), appendix A.

    Examples
    --------
    >>> from theory.capacity import convolution_parameters
    >>> convolution_parameters(3, 96, kernel_size=3)
    2688
    """
    inputs = positive_integer("in_channels", in_channels)
    outputs = positive_integer("out_channels", out_channels)
    return (positive_integer("kernel_size", kernel_size) ** 2 * inputs + 1) * outputs


class Layer(NamedTuple):
    """A layer of weights, or several that lie side by side.

    Attributes
    ----------
    name : str
    n_parameters : int
        Weights and biases.
    n_units : int
        Units that they compute for one image, at all positions.
    """

    name: str
    n_parameters: int
    n_units: int


@dataclass(frozen=True)
class Architecture:
    """A feedforward network, by its layers of weights.

    Attributes
    ----------
    n_inputs : int
        Numbers in an example.
    layers : tuple of Layer
        From the input on; pooling and normalization without weights are left out.
    """

    n_inputs: int
    layers: tuple[Layer, ...]

    @property
    def n_parameters(self) -> int:
        """Weights and biases of all layers."""
        return sum(layer.n_parameters for layer in self.layers)

    @property
    def n_layers(self) -> int:
        """Depth: the number of layers of weights that a path from input to output goes through."""
        return len(self.layers)

    @property
    def n_units(self) -> int:
        """Units of the widest layer."""
        return max(layer.n_units for layer in self.layers)

    def memorization_surplus(self, n: int) -> float:
        """Return how many times the 2n + d weights that theorem 1 needs for n examples it has."""
        return self.n_parameters / (2 * positive_integer("n", n) + self.n_inputs)


def _dense_layers(widths: Sequence[int]) -> tuple[Layer, ...]:
    return tuple(
        Layer(f"dense {b}", dense_parameters([a, b]), b) for a, b in itertools.pairwise(widths)
    )


def _small_inception() -> Architecture:
    """Figure 3; the modules' parts are (channels of 1 × 1, channels of 3 × 3), or a stride of 2."""
    side, channels = 28, 96
    layers = [
        Layer("conv 96", convolution_parameters(3, 96, kernel_size=3), 96 * side**2),
    ]
    modules: tuple[tuple[int, ...], ...] = (
        *((32, 32), (32, 48), (80,)),
        *((112, 48), (96, 64), (80, 80), (48, 96), (96,)),
        *((176, 160), (176, 160)),
    )
    for module in modules:
        if len(module) == 2:
            thin, thick = module
            parameters = convolution_parameters(channels, thin, kernel_size=1)
            parameters += convolution_parameters(channels, thick, kernel_size=3)
            name, channels = f"inception {thin} + {thick}", thin + thick
            units = channels * side**2
        else:  # half of the next layer's inputs are pooled, without weights
            (thick,) = module
            parameters = convolution_parameters(channels, thick, kernel_size=3)
            name, channels, side = f"downsample {thick}", channels + thick, side // 2
            units = thick * side**2
        layers.append(Layer(name, parameters, units))
    return Architecture(28 * 28 * 3, (*layers, *_dense_layers([channels, 10])))


def _small_alexnet() -> Architecture:
    """Two convolutions of 64 channels, each pooled to half the side, and three dense layers."""
    convolutions = tuple(
        Layer("conv 64", convolution_parameters(channels, 64, kernel_size=5), 64 * side**2)
        for channels, side in ((3, 28), (64, 14))
    )
    return Architecture(28 * 28 * 3, (*convolutions, *_dense_layers([7 * 7 * 64, 384, 192, 10])))


def zhang_networks() -> Mapping[str, Architecture]:
    """Return the four networks of Zhang et al.'s Table 1, layer by layer.

    Biases count, batch normalization's scale and shift do not: so the paper's numbers come out
    exactly. The paper does not state the 64 channels of the small AlexNet; they follow from its
    number of parameters.

    Returns
    -------
    mapping of str to Architecture
        "Inception", "AlexNet", "MLP 3x512" and "MLP 1x512", for images of 28 × 28 × 3.

    References
    ----------
    Zhang et al. (2017), appendix A, Figure 3 and Table 1.

    Examples
    --------
    >>> from theory.capacity import zhang_networks
    >>> for name, network in zhang_networks().items():
    ...     surplus = network.memorization_surplus(50_000)
    ...     print(f"{name}: {network.n_parameters}, {surplus:.1f} times 2n + d")
    Inception: 1649402, 16.1 times 2n + d
    AlexNet: 1387786, 13.6 times 2n + d
    MLP 3x512: 1735178, 17.0 times 2n + d
    MLP 1x512: 1209866, 11.8 times 2n + d
    """
    d = 28 * 28 * 3
    return MappingProxyType(
        {
            "Inception": _small_inception(),
            "AlexNet": _small_alexnet(),
            "MLP 3x512": Architecture(d, _dense_layers([d, 512, 512, 512, 10])),
            "MLP 1x512": Architecture(d, _dense_layers([d, 512, 10])),
        }
    )
