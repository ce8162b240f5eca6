"""The algebra of :mod:`theory.memorization`: Zhang et al. (2017), section 4 and appendix C."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from theory._identity import Identity

if TYPE_CHECKING:
    import sympy as sp

_N = 4  # points, in the identities of matrices


def _relu(z: sp.Expr) -> sp.Expr:
    import sympy as sp

    return sp.Max(z, 0, evaluate=False)


def _interleaved() -> tuple[list[sp.Expr], list[sp.Expr], Sequence[sp.Symbol], Sequence[sp.Symbol]]:
    """Return x, b and the gaps u_j = b_j - x_{j-1} and v_j = x_j - b_j between them.

    The gaps are positive, so that b_1 < x_1 < b_2 < x_2 ... is in the symbols themselves.
    """
    import sympy as sp

    u = sp.symbols(f"u_1:{_N + 1}", positive=True)
    v = sp.symbols(f"v_1:{_N + 1}", positive=True)
    x: list[sp.Expr] = []
    b: list[sp.Expr] = [sp.Symbol("b_1", real=True)]
    for j in range(_N):
        if j > 0:
            b.append(x[-1] + u[j])
        x.append(b[-1] + v[j])
    return x, b, u, v


def _hinges(x: Sequence[sp.Expr], b: Sequence[sp.Expr]) -> sp.Matrix:
    """Return the matrix of lemma 1, hinges not evaluated."""
    import sympy as sp

    return sp.ImmutableMatrix(len(x), len(b), lambda i, j: _relu(x[i] - b[j]))


def _labels() -> Sequence[sp.Symbol]:
    import sympy as sp

    labels: Sequence[sp.Symbol] = sp.symbols(f"y_1:{_N + 1}", real=True)
    return labels


def _differences(values: Sequence[sp.Expr]) -> list[sp.Expr]:
    """Return each value minus the one before it; before the first is 0."""
    return [value - before for value, before in zip(values, [0, *values[:-1]], strict=True)]


def _factorization() -> Identity:
    import sympy as sp

    x, b, u, v = _interleaved()
    ones = sp.Matrix(_N, _N, lambda i, j: 1 if i >= j else 0)
    bidiagonal = sp.Matrix(_N, _N, lambda i, j: v[i] if i == j else u[i] if i == j + 1 else 0)
    return Identity(
        name="lemma-1-factorization",
        source="Zhang et al. 2017, Lemma 1 (derived)",
        statement=(
            "n = 4, b_1 < x_1 < ... < b_n < x_n: A_ij = relu(x_i - b_j) is L B L, with L the "
            "lower triangle of ones and B bidiagonal, x_i - b_i on the diagonal and "
            "b_i - x_{i-1} below it. So A w = y is solved by two running differences and one "
            "recursion."
        ),
        left=_hinges(x, b),
        right=sp.ImmutableMatrix(ones * bidiagonal * ones),
    )


def _determinant() -> Identity:
    import sympy as sp

    x, b, _, v = _interleaved()
    return Identity(
        name="lemma-1-determinant",
        source="Zhang et al. 2017, Lemma 1 (derived)",
        statement="n = 4: det A is the product of the x_i - b_i = v_i, so that A has full rank.",
        left=sp.Determinant(_hinges(x, b)),
        right=sp.Mul(*v),
    )


def _eigenvalues() -> Identity:
    import sympy as sp

    x, b, _, v = _interleaved()
    at = sp.Symbol("z", real=True)
    return Identity(
        name="lemma-1-eigenvalues",
        source="Zhang et al. 2017, Lemma 1",
        statement=(
            "n = 4: the characteristic polynomial of A has the roots x_i - b_i = v_i, the least "
            "of which is the smallest eigenvalue."
        ),
        left=sp.Determinant(sp.ImmutableMatrix(at * sp.eye(_N) - _hinges(x, b))),
        right=sp.Mul(*(at - gap for gap in v)),
    )


def _slope_recursion() -> Identity:
    import sympy as sp

    x, b, u, v = _interleaved()
    y = _labels()
    slopes: list[sp.Expr] = []
    for step, below, above in zip(_differences(y), u, v, strict=True):
        slopes.append((step - below * slopes[-1]) / above if slopes else step / above)
    weights = sp.Matrix(_differences(slopes))
    return Identity(
        name="slope-recursion",
        source="Zhang et al. 2017, Theorem 1 (derived)",
        statement=(
            "n = 4: the slopes S_j = (y_j - y_{j-1}) / ((1 - rho) g_j) - S_{j-1} rho / (1 - rho), "
            "g_j = x_j - x_{j-1} and rho = u_j / g_j the place of b_j in the gap, give the weights "
            "w_j = S_j - S_{j-1} that solve A w = y."
        ),
        left=sp.ImmutableMatrix(_hinges(x, b) * weights),
        right=sp.ImmutableMatrix(y),
    )


def _alternating_slopes() -> Identity:
    import sympy as sp

    u, v = sp.symbols("u v", positive=True)
    x = [v + j * (u + v) for j in range(_N)]
    slopes = [(-u / v) ** j / v for j in range(_N)]
    hinges = _hinges(x, [at - v for at in x])
    return Identity(
        name="slopes-grow-geometrically",
        source="Zhang et al. 2017, Theorem 1 (derived)",
        statement=(
            "n = 4 equal gaps, all labels 1: the slopes are (-r)^(j-1) / v with "
            "r = u / v = rho / (1 - rho), which grow geometrically if rho > 1/2."
        ),
        left=sp.ImmutableMatrix(hinges * sp.Matrix(_differences(slopes))),
        right=sp.ones(_N, 1).as_immutable(),
    )


def _on_the_points() -> tuple[list[sp.Expr], list[sp.Expr], Sequence[sp.Symbol], list[sp.Expr]]:
    """Return x, b_j = x_{j-1} and y, with the weights that are their second differences."""
    import sympy as sp

    g = sp.symbols(f"g_1:{_N + 1}", positive=True)
    b = [sp.Symbol("b_1", real=True)]
    for gap in g[:-1]:
        b.append(b[-1] + gap)
    x = [below + gap for below, gap in zip(b, g, strict=True)]
    y = _labels()
    slopes = [step / gap for step, gap in zip(_differences(y), g, strict=True)]
    return x, b, y, _differences(slopes)


def _second_differences() -> Identity:
    import sympy as sp

    x, b, y, weights = _on_the_points()
    return Identity(
        name="biases-on-the-points",
        source="Zhang et al. 2017, Theorem 1 (derived)",
        statement=(
            "n = 4, rho = 0, so that b_j = x_{j-1}: the weights are the second differences "
            "w_j = S_j - S_{j-1}, S_j = (y_j - y_{j-1}) / (x_j - x_{j-1}), y_0 = 0 at b_1; no "
            "slope depends on the one before it."
        ),
        left=sp.ImmutableMatrix(_hinges(x, b) * sp.Matrix(weights)),
        right=sp.ImmutableMatrix(y),
    )


def _interpolant() -> Identity:
    import sympy as sp

    x, b, y, weights = _on_the_points()
    before, after = sp.symbols("p q", positive=True)
    place = before / (before + after)
    at = x[1] + (x[2] - x[1]) * place
    return Identity(
        name="hinges-interpolate",
        source="Zhang et al. 2017, Theorem 1 (derived)",
        statement=(
            "n = 4, rho = 0: at any point between x_2 and x_3, which it divides as p to q, the "
            "sum of the hinges is (q y_2 + p y_3) / (p + q): the network is the piecewise linear "
            "interpolant."
        ),
        left=sp.Add(*(w * _relu(at - bias) for w, bias in zip(weights, b, strict=True))),
        right=(after * y[1] + before * y[2]) / (before + after),
    )


def _counts() -> Identity:
    import sympy as sp

    n, d, K = sp.symbols("n d K", integer=True, positive=True)
    j = sp.Symbol("j", integer=True)
    return Identity(
        name="numbers-of-weights",
        source="Zhang et al. 2017, Theorem 1 (derived)",
        statement=(
            "d inputs, n hidden units, K outputs: a shared projection, and a bias and K weights a "
            "unit, are n (K + 1) + d numbers (2 n + d if K = 1); untied, n (d + K + 1)."
        ),
        left=sp.ImmutableMatrix([d + sp.Sum(1 + K, (j, 1, n)), sp.Sum(d + 1 + K, (j, 1, n))]),
        right=sp.ImmutableMatrix([n * (K + 1) + d, n * (d + K + 1)]),
    )


def _scaling_direction() -> Identity:
    import sympy as sp

    a, z, b, w = (sp.symbols(f"{name}_1 {name}_2", real=True) for name in "azbw")
    projected = a[0] * z[0] + a[1] * z[1]
    output = w[0] * (projected - b[0]) + w[1] * (projected - b[1])
    along = [*zip((*a, *b), (*a, *b), strict=True), *zip(w, (-each for each in w), strict=True)]
    return Identity(
        name="scaling-direction",
        source="Zhang et al. 2017, Theorem 1 (derived)",
        statement=(
            "d = n = 2, wherever both units are active: the output does not change along "
            "(a, b, -w), so that 2 n + d weights have 2 n + d - 1 degrees of freedom."
        ),
        left=sp.Add(*(sp.Derivative(output, weight) * change for weight, change in along)),
        right=sp.Integer(0),
    )


def _indicator() -> Identity:
    import sympy as sp

    low = sp.Symbol("l", real=True)
    inside, outside = sp.symbols("i o", positive=True)
    rise, fall = sp.symbols("e_1 e_2", positive=True)
    high = low + 2 * inside

    def trapezoid(x: sp.Expr) -> sp.Expr:
        up = (_relu(x - low + rise) - _relu(x - low)) / rise
        return up - (_relu(x - high) - _relu(x - high - fall)) / fall

    places = [low - rise - outside, low - rise, low, low + inside, high, high + fall]
    places.append(high + fall + outside)
    return Identity(
        name="indicator-of-an-interval",
        source="Zhang et al. 2017, Corollary 1 (derived)",
        statement=(
            "Four hinges whose ramps lie in the gaps e_1 below and e_2 above the interval are 1 on "
            "it and 0 beyond the gaps: an exact indicator on the data."
        ),
        left=sp.ImmutableMatrix([trapezoid(place) for place in places]),
        right=sp.ImmutableMatrix([0, 0, 1, 1, 1, 0, 0]),
    )


def _gate() -> Identity:
    import sympy as sp

    size, margin = sp.symbols("p m", positive=True)
    bound = size + margin

    def gated(value: sp.Expr, indicator: int) -> sp.Expr:
        closing = bound * (1 - indicator)
        return _relu(value - closing) - _relu(-value - closing)

    return Identity(
        name="gate",
        source="Zhang et al. 2017, Corollary 1 (derived)",
        statement=(
            "relu(o - M (1 - f)) - relu(-o - M (1 - f)) = f o for f = 1 and f = 0, o = p and "
            "o = -p, and any M > p: the product that a ReLU network cannot form otherwise."
        ),
        left=sp.ImmutableMatrix([gated(s * size, f) for f in (1, 0) for s in (1, -1)]),
        right=sp.ImmutableMatrix([size, -size, 0, 0]),
    )


def _slab() -> Identity:
    import sympy as sp

    delta, value, slack, away = sp.symbols("delta p m a", positive=True)
    half_width = delta * value + slack

    def pair(along: sp.Expr, target: sp.Expr) -> sp.Expr:
        """D_{1-t} - D_{1+t} at a point with <u, x> = along and <v, x> = target."""

        def difference(threshold: sp.Expr) -> sp.Expr:
            shifted = _relu(along + delta * target - threshold)
            return (shifted - _relu(along - threshold)) / delta

        return difference(1 - half_width) - difference(1 + half_width)

    far = half_width + delta * value + away
    places = [(1 + offset, s * value) for offset in (0, far, -far) for s in (1, -1)]
    return Identity(
        name="slab-of-four-hinges",
        source="Bubeck et al. 2020 (from memory; derived)",
        statement=(
            "D_s(x) = (relu(<u + delta v, x> - s) - relu(<u, x> - s)) / delta: D_{1-t} - D_{1+t} "
            "is exactly <v, x> = +-p on the hyperplane <u, x> = 1 if delta p < t, and 0 farther "
            "than t + delta p from it."
        ),
        left=sp.ImmutableMatrix([pair(*place) for place in places]),
        right=sp.ImmutableMatrix([value, -value, 0, 0, 0, 0]),
    )


# In the order of Zhang et al. (2017), then of the papers that followed.
DERIVATIONS = (
    _factorization,
    _determinant,
    _eigenvalues,
    _slope_recursion,
    _alternating_slopes,
    _second_differences,
    _interpolant,
    _counts,
    _scaling_direction,
    _indicator,
    _gate,
    _slab,
)
