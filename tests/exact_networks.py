"""Values of networks of hinges in exact rational arithmetic: what stored float64 numbers define."""

from bisect import bisect_left
from fractions import Fraction
from itertools import accumulate

import numpy as np

EPS = np.finfo(float).eps


def whole(array):
    """Integers, and the power of two they are to be divided by, that equal the array's numbers."""
    mantissas, exponents = np.frexp(np.asarray(array, dtype=np.float64).ravel())
    integers = (mantissas * 2.0**53).astype(np.int64).tolist()
    exponents = (exponents - 53).tolist()
    lowest = min([0, *(e for m, e in zip(integers, exponents, strict=True) if m)])
    return [
        m << (e - lowest) if m else 0 for m, e in zip(integers, exponents, strict=True)
    ], -lowest


def exact_projections(projection, X):
    X = np.asarray(X, dtype=np.float64)
    (a, a_shift), (x, x_shift) = whole(projection), whole(X)
    d = X.shape[1]
    rows = [x[i : i + d] for i in range(0, len(x), d)]
    return [sum(map(int.__mul__, a, row)) for row in rows], a_shift + x_shift


def exact_values(network, X, output=0):
    """What the stored float64 numbers define, as rational numbers, by exact prefix sums."""
    at, at_shift = exact_projections(network.projection, X)
    biases, shift = whole(network.biases)
    weights, w_shift = whole(network.weights.reshape(len(biases), -1)[:, output])
    common = max(at_shift, shift)
    at = [p << (common - at_shift) for p in at]
    biases = [b << (common - shift) for b in biases]
    slopes = [0, *accumulate(weights)]
    offsets = [0, *accumulate(map(int.__mul__, weights, biases))]
    active = [bisect_left(biases, p) for p in at]
    bits = 1 << (common + w_shift)
    return [Fraction(slopes[j] * p - offsets[j], bits) for j, p in zip(active, at, strict=True)]


def exact_error(network, X, y, output=0):
    values = exact_values(network, X, output)
    return float(max(abs(v - Fraction(t)) for v, t in zip(values, y.tolist(), strict=True)))


def rounding_limit(network, X, y):
    """Twice what rounding the one weight of a point, and the slope it aims for, can move it."""
    at, shift = exact_projections(network.projection, X)
    at = np.sort([p / (1 << shift) for p in at])
    reach = (
        np.abs(network.weights.reshape(len(network.biases), -1)) * (at - network.biases)[:, None]
    )
    return 2 * EPS * (np.max(reach) + 2 * np.max(np.abs(y)))


def cancellation(network):
    """What double-double, of about 2^-104, may lose of the sums that cancel."""
    return 2.0**-98 * np.sum(np.abs(network.weights)) * np.ptp(np.append(network.biases, 0.0))


def assert_values(network, X, few=4, output=0):
    """Fail if the network's values are not the exact ones to a few units in the last place."""
    got = network(X)
    got = got if got.ndim == 1 else got[:, output]
    exact = exact_values(network, X, output)
    off = np.array([float(Fraction(g) - e) for g, e in zip(got.tolist(), exact, strict=True)])
    allowed = few * np.spacing(np.abs([float(e) for e in exact])) + cancellation(network)
    assert np.all(np.abs(off) <= allowed)
