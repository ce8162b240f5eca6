"""Random numbers for kernels: one stream per replicate, the same bits for any number of threads.

The state of stream ``i`` is the ``i``-th block of 256 bits that Philox4x64-10 (Salmon et al. 2011)
gives for the seed: the same however many streams there are, and a million are made in 0.2 s.
Kernels advance the states by xoshiro256++ (Blackman & Vigna 2021), whose period is 2²⁵⁶ - 1: two of
n streams overlap within L draws with a probability below n² L / 2²⁵⁶.

A kernel takes its streams in one of two forms, which give the same numbers:

- one ``state`` (4,) of uint64, for replicates that draw at their own pace;
- ``lanes`` (4, LANES) or (4, width), a block of streams that draw together. The processor's vector
  unit then draws for 4 or 8 streams at once.

Normals are made in pairs by Box and Muller's transform. Its logarithm, sine and cosine are
polynomials here: sums, products, quotients and roots alone, which IEEE 754 rounds in one way only.
They vectorize, reject nothing, and have the same bits on every machine. Two words give two normals.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

from theory._validation import positive_integer

Words = NDArray[np.uint64]
Array = NDArray[np.float64]
Rng = np.random.Generator | np.random.SeedSequence | int | None
Kernel = TypeVar("Kernel", bound=Callable[..., Any])

LANES = (
    512  # enough that a step's fixed cost vanishes; a block's state and draws fit the first cache
)


def jit(kernel: Kernel) -> Kernel:
    """Compile a kernel: without the interpreter's lock, and with IEEE arithmetic as written."""
    return cast(Kernel, njit(nogil=True, error_model="numpy")(kernel))


def states(rng: Rng, n: int, *, first: int = 0) -> Words:
    """Return the states of ``n`` independent streams.

    Parameters
    ----------
    rng : None, int, numpy.random.SeedSequence or numpy.random.Generator
        The seed, as :func:`numpy.random.default_rng` takes it. A Generator or SeedSequence spawns a
        child, so that each call gives new streams.
    n : int
        Number of streams.
    first : int, optional
        Number of the first one: ``states(seed, 5, first=3)`` equals ``states(seed, 8)[3:]``.

    Returns
    -------
    ndarray of uint64, shape (n, 4)
        A row per replicate, to be advanced in place by the functions of this module.

    Raises
    ------
    ValueError
        If ``n`` is not a positive integer, or ``first`` a negative one.
    TypeError
        If a Generator has no seed from which to spawn a child.

    References
    ----------
    Salmon, Moraes, Dror & Shaw (2011), SC'11. Blackman & Vigna (2021), ACM TOMS 47(4), 36.

    Examples
    --------
    >>> states(7, 2).shape, bool((states(7, 9)[:2] == states(7, 2)).all())
    ((2, 4), True)
    """
    positive_integer("n", n)
    positive_integer("first", first, minimum=0)
    seed = np.random.default_rng(rng).spawn(1)[0].bit_generator.seed_seq
    counter = np.random.Philox(seed)  # type: ignore[arg-type]
    counter.advance(first)
    return counter.random_raw(4 * n).reshape(n, 4)


def lanes(rng: Rng, n: int, *, first: int = 0, width: int = LANES) -> Words:
    """Return the states of at least ``n`` streams in blocks of ``width``.

    Parameters
    ----------
    rng, n, first
        As :func:`states` takes them.
    width : int, optional
        Streams in a block.

    Returns
    -------
    ndarray of uint64, shape (blocks, 4, width)
        Stream ``i`` of :func:`states` is ``[i // width, :, i % width]``; the last block is full.

    Raises
    ------
    ValueError
        See :func:`states`; also if ``width`` is not a positive integer.

    Examples
    --------
    >>> lanes(7, 1000).shape
    (2, 4, 512)
    """
    blocks = -(-positive_integer("n", n) // positive_integer("width", width))
    return in_lanes(states(rng, blocks * width, first=first), width)


def in_lanes(rows: Words, width: int = LANES) -> Words:
    """Return states (blocks * width, 4) in blocks of lanes (blocks, 4, width)."""
    return np.ascontiguousarray(rows.reshape(-1, width, 4).transpose(0, 2, 1))


# --- one word ------------------------------------------------------------------------------------

# Unsigned constants: with a signed one Numba would compute in floating point.
_ONE, _11, _17, _19, _23, _32, _41, _45, _62, _63 = (
    np.uint64(k) for k in (1, 11, 17, 19, 23, 32, 41, 45, 62, 63)
)
_LOW_HALF = np.uint64(0xFFFFFFFF)
_BITS_OF_ONE = np.float64(1.0).view(np.uint64)


@jit
def _step(a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any, Any, Any, Any]:
    """Return the word that a state gives, and the next state."""
    total = a + d
    word = ((total << _23) | (total >> _41)) + a
    shifted = b << _17
    c ^= a
    d ^= b
    b ^= c
    a ^= d
    c ^= shifted
    return word, a, b, c, (d << _45) | (d >> _19)


@jit
def next_word(state: Words) -> Any:
    """Return 64 random bits and advance ``state`` (4,)."""
    word, state[0], state[1], state[2], state[3] = _step(state[0], state[1], state[2], state[3])
    return word


@jit
def to_uniform(word: Any) -> float:
    """Return the number in [0, 1) that a word stands for: a multiple of 2⁻⁵³."""
    return np.int64(word >> _11) * 2.0**-53


@jit
def to_centered_uniform(word: Any) -> float:
    """Return the number in (-1, 1) that a word stands for: an odd multiple of 2⁻⁵³, of mean 0."""
    return (np.float64(np.int64(word) >> np.int64(11)) + 0.5) * 2.0**-52


@jit
def to_normals(first: Any, second: Any) -> tuple[float, float]:
    """Return the two standard normals that two words stand for; at most 8.58 in size.

    The coefficients are those of fdlibm's logarithm, sine and cosine (Sun Microsystems, 1993); each
    is right to about one unit in the last place on the interval that it is used on.
    """
    # ln of the uniform (k + 1) 2⁻⁵³, k < 2⁵³: m in [√½, √2) and 2^e by the bits of the float, then
    # ln m = 2 artanh(s), s = (m - 1) / (m + 1).
    bits = np.float64(np.int64(first >> _11) + 1).view(np.int64)
    exponent = (bits - np.int64(0x3FE6A09E667F3BCD)) >> np.int64(52)
    m = np.int64(bits - (exponent << np.int64(52))).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = 0.1531383769920937332 + z * 0.1479819860511658591
    series = 0.2222219843214978396 + z * (0.1818357216161805012 + z * series)
    series = 0.3999999999940941908 + z * (0.2857142874366239149 + z * series)
    series = 2.0 + z * (0.6666666666666735130 + z * series)
    log_uniform = np.float64(exponent - 53) * 0.6931471805599453 + s * series
    radius = np.sqrt(-2.0 * log_uniform)
    # An angle within π/4 of an axis from 62 bits; the other two say which axis.
    angle = np.float64(np.int64(second << np.uint64(2)) >> np.int64(10)) * (np.pi * 2.0**-55)
    z = angle * angle
    series = 2.7557313707070068e-06 + z * (-2.5050760253406863e-08 + z * 1.58969099521155e-10)
    series = 0.00833333333332248946 + z * (-0.000198412698298579493 + z * series)
    sine = radius * (angle + angle * z * (-0.166666666666666324 + z * series))
    series = -2.75573143513906633e-07 + z * (2.08757232129817482e-09 - z * 1.13596475577881948e-11)
    series = -0.00138888888888741096 + z * (2.48015872894767294e-05 + z * series)
    cosine = radius * (1.0 - 0.5 * z + z * z * (0.0416666666666666019 + z * series))
    cosine = -cosine if second >> _63 else cosine
    return (sine, cosine) if (second >> _62) & _ONE else (cosine, sine)


@jit
def to_sign(word: Any) -> float:
    """Return +1 or -1 by the lowest bit: the increment of a weak scheme of order 1."""
    return np.uint64((word << _63) | _BITS_OF_ONE).view(np.float64)


@jit
def to_three_point(word: Any) -> float:
    """Return -√3, 0 or √3 with probabilities 1/6, 2/3, 1/6, to 2⁻³², by the lower 32 bits.

    Its first five moments are those of a normal: the increment of a weak scheme of order 2.
    """
    die = np.int64(((word & _LOW_HALF) * np.uint64(6)) >> _32)
    return 1.7320508075688772 * (np.int64(die == 5) - np.int64(die == 0))


# --- one stream ----------------------------------------------------------------------------------


@jit
def uniform(state: Words) -> float:
    """Return a uniform number in [0, 1)."""
    return to_uniform(next_word(state))


@jit
def normals(state: Words) -> tuple[float, float]:
    """Return two independent standard normals."""
    first = next_word(state)
    return to_normals(first, next_word(state))


@jit
def fill_normals(state: Words, out: Array) -> None:
    """Fill ``out`` (n,) with standard normals, drawn in pairs."""
    for k in range(len(out) // 2):
        out[2 * k], out[2 * k + 1] = normals(state)
    if len(out) % 2:
        out[-1] = normals(state)[0]


@jit
def sign(state: Words) -> float:
    """Return +1 or -1 with equal probability."""
    return to_sign(next_word(state) >> _63)


@jit
def integer(state: Words, n: int) -> int:
    """Return one of 0, …, n - 1, n at most 2³²; each has probability 1/n to within 2⁻³²."""
    return np.int64(((next_word(state) >> _32) * np.uint64(n)) >> _32)  # type: ignore[return-value]


@jit
def exponential(state: Words) -> float:
    """Return an exponential number of mean 1."""
    return -np.log1p(-uniform(state))  # type: ignore[no-any-return]


@jit
def pareto(state: Words, tail_index: float) -> float:
    """Return a number X ≥ 1 with P(X > x) = x^-tail_index."""
    return np.exp(exponential(state) / tail_index)  # type: ignore[no-any-return]


@jit
def stable(state: Words, tail_index: float, skewness: float) -> float:
    r"""Return an α-stable number of unit scale: characteristic function exp(-|t|^α (1 - iβ Φ)).

    Φ = sign(t) tan(πα/2), or -(2/π) sign(t) ln|t| at α = 1, with α = ``tail_index`` in (0, 2] and
    β = ``skewness`` in [-1, 1]. At α = 2 it is normal with variance 2 (Chambers, Mallows & Stuck
    1976, in Weron's corrected form of 1996).
    """
    angle, weight = np.pi * (uniform(state) - 0.5), exponential(state)
    if tail_index == 1.0:
        slope = 0.5 * np.pi + skewness * angle
        ratio = 0.5 * np.pi * weight * np.cos(angle) / slope
        return (slope * np.tan(angle) - skewness * np.log(ratio)) * 2.0 / np.pi  # type: ignore[no-any-return]
    skew = skewness * np.tan(0.5 * np.pi * tail_index)
    shifted = tail_index * angle + np.arctan(skew)
    size = (1.0 + skew * skew) ** (0.5 / tail_index) * np.sin(shifted)
    size /= np.cos(angle) ** (1.0 / tail_index)
    return size * (np.cos(angle - shifted) / weight) ** ((1.0 - tail_index) / tail_index)  # type: ignore[no-any-return]


# --- a block of streams --------------------------------------------------------------------------


@jit
def fill_lane_words(block: Words, out: Words) -> None:
    """Draw a word from each stream of ``block`` (4, LANES) into ``out`` (LANES,)."""
    s0, s1, s2, s3 = block[0], block[1], block[2], block[3]
    for k in range(LANES):
        out[k], s0[k], s1[k], s2[k], s3[k] = _step(s0[k], s1[k], s2[k], s3[k])


@jit
def fill_lane_normals(block: Words, first: Array, second: Array) -> None:
    """Draw two normals from each stream of ``block`` into ``first`` and ``second`` (LANES,)."""
    s0, s1, s2, s3 = block[0], block[1], block[2], block[3]
    for k in range(LANES):
        one, a, b, c, d = _step(s0[k], s1[k], s2[k], s3[k])
        two, a, b, c, d = _step(a, b, c, d)
        s0[k], s1[k], s2[k], s3[k] = a, b, c, d
        first[k], second[k] = to_normals(one, two)


@jit
def fill_block_uniforms(block: Words, rows: Array) -> None:
    """Fill ``rows`` (R, width), R even, with numbers uniform in (-1, 1): a column for each stream.

    A block (4, width) is drawn from twice at a time, whatever its width.
    """
    for r in range(0, len(rows), 2):
        for k in range(rows.shape[1]):
            one, a, b, c, d = _step(block[0, k], block[1, k], block[2, k], block[3, k])
            two, a, b, c, d = _step(a, b, c, d)
            block[0, k], block[1, k], block[2, k], block[3, k] = a, b, c, d
            rows[r, k], rows[r + 1, k] = to_centered_uniform(one), to_centered_uniform(two)


@jit
def fill_block_normals(block: Words, rows: Array) -> None:
    """Fill ``rows`` (R, width), R even, with standard normals: a column for each stream."""
    for r in range(0, len(rows), 2):
        for k in range(rows.shape[1]):
            one, a, b, c, d = _step(block[0, k], block[1, k], block[2, k], block[3, k])
            two, a, b, c, d = _step(a, b, c, d)
            block[0, k], block[1, k], block[2, k], block[3, k] = a, b, c, d
            rows[r, k], rows[r + 1, k] = to_normals(one, two)
