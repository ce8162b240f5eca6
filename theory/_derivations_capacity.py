"""The algebra of :mod:`theory.capacity`: Zhang et al. (2017), section 2.2, and its neighbors."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from theory._identity import Identity

if TYPE_CHECKING:
    import sympy as sp


def _signs(n: int) -> list[tuple[int, ...]]:
    return list(itertools.product((-1, 1), repeat=n))


def _supremum() -> Identity:
    import sympy as sp

    s, w = sp.symbols("s_1 s_2", real=True), sp.symbols("w_1 w_2", real=True)
    radius = sp.Symbol("B", positive=True)
    length = sp.sqrt(s[0] ** 2 + s[1] ** 2)
    multiplier = length / (2 * radius)
    lagrangian = w[0] * s[0] + w[1] * s[1]
    lagrangian += multiplier * (radius**2 - w[0] ** 2 - w[1] ** 2)
    best = tuple(radius * each / length for each in s)
    return Identity(
        name="supremum-over-a-ball",
        source="Zhang et al. 2017, Eq. 1 (derived)",
        statement=(
            "s = sum sigma_i x_i in d = 2: w's over |w| <= B is stationary at w = B s / |s|, where "
            "it is B |s|: the class of linear functions reaches B |s| / n."
        ),
        left=sp.ImmutableMatrix(
            [
                *(sp.Subs(sp.Derivative(lagrangian, each), w, best) for each in w),
                sp.Subs(lagrangian, w, best),
            ]
        ),
        right=sp.ImmutableMatrix([0, 0, radius * length]),
    )


def _second_moment() -> Identity:
    import sympy as sp

    n = 3
    x = [sp.Matrix(sp.symbols(f"x_{i}1 x_{i}2", real=True)) for i in range(1, n + 1)]
    X = sp.Matrix.hstack(*x)
    sums = [X * sp.Matrix(signs) for signs in _signs(n)]
    return Identity(
        name="mean-square-of-a-random-sum",
        source="Zhang et al. 2017, Eq. 1 (derived)",
        statement=(
            "n = 3, d = 2, all 8 signs: the mean of |sum sigma_i x_i|^2 is sum |x_i|^2 = tr K, so "
            "that the Rademacher complexity of a ball is at most B sqrt(tr K) / n, by Jensen."
        ),
        left=sp.Add(*(each.dot(each) for each in sums)) / 2**n,
        right=sp.Add(*(each.dot(each) for each in x)),
    )


def _fourth_moment() -> Identity:
    import sympy as sp

    n = 4
    c = sp.symbols(f"c_1:{n + 1}", real=True)
    sums = [sp.Add(*(s * each for s, each in zip(signs, c, strict=True))) for signs in _signs(n)]
    squares = sp.Add(*(each**2 for each in c))
    return Identity(
        name="fourth-moment-of-a-random-sum",
        source="Khintchine 1923 (derived)",
        statement=(
            "n = 4, all 16 signs: the mean of (sum sigma_i c_i)^4 is 3 (sum c_i^2)^2 - 2 sum "
            "c_i^4: at most three times the squared second moment, so that Jensen's bound is of "
            "the right order."
        ),
        left=sp.Add(*(each**4 for each in sums)) / 2**n,
        right=3 * squares**2 - 2 * sp.Add(*(each**4 for each in c)),
    )


def _gaussian_limit() -> Identity:
    import sympy as sp

    g = sp.Symbol("g", real=True)
    variance = sp.Symbol("T", positive=True)
    density = sp.exp(-(g**2) / (2 * variance)) / sp.sqrt(2 * sp.pi * variance)
    return Identity(
        name="random-sum-on-a-line",
        source="Khintchine 1923 (derived)",
        statement=(
            "Many points on a line: the random sum is normal with variance T = tr K; its mean size "
            "is sqrt(2 T / pi), 0.80 of Jensen's sqrt(T)."
        ),
        left=2 * sp.Integral(g * density, (g, 0, sp.oo)),
        right=sp.sqrt(2 * variance / sp.pi),
    )


def _margin_of_signs() -> Identity:
    import sympy as sp

    right, wrong = sp.symbols("r m", integer=True, positive=True)
    i = sp.Symbol("i", integer=True)
    n = right + wrong
    return Identity(
        name="correlation-is-accuracy",
        source="Zhang et al. 2017, Eq. 1 (derived)",
        statement=(
            "r of n = r + m random signs predicted: the mean of sigma_i h(x_i) is 2 r / n - 1, "
            "twice the training accuracy minus 1: 1 for a learner that fits all."
        ),
        left=(sp.Sum(1, (i, 1, right)) + sp.Sum(-1, (i, right + 1, n))) / n,
        right=2 * right / n - 1,
    )


def _corrupted_error() -> Identity:
    import sympy as sp

    error, p = sp.symbols("e p", positive=True)
    classes = sp.Symbol("K", integer=True, positive=True)
    c = sp.Symbol("c", integer=True)
    return Identity(
        name="error-on-corrupted-labels",
        source="Zhang et al. 2017, Figure 1c (derived)",
        statement=(
            "Labels that are replaced with probability p by one of K classes, all as likely: a "
            "classifier of error e has the error (1 - p) e + p (K - 1) / K on them."
        ),
        left=(1 - p) * error + p * sp.Sum(1 / classes, (c, 1, classes - 1)),
        right=(1 - p) * error + p * (classes - 1) / classes,
    )


def _dichotomies(n: sp.Expr, d: sp.Expr) -> sp.Expr:
    """Return Cover's number of dichotomies of n points in general position by hyperplanes."""
    import sympy as sp

    k = sp.Symbol("k", integer=True, nonnegative=True)
    return 2 * sp.Sum(sp.binomial(n - 1, k), (k, 0, d - 1))


def _cover_recursion() -> Identity:
    import sympy as sp

    n = sp.Symbol("n", integer=True, positive=True)
    d = 4
    return Identity(
        name="cover-recursion",
        source="Cover 1965 (from memory; derived)",
        statement=(
            "d = 4, any n: C(n, d) = 2 sum over k < d of binomial(n - 1, k) solves "
            "C(n + 1, d) = C(n, d) + C(n, d - 1), the dichotomies that a new point splits."
        ),
        left=_dichotomies(n + 1, d),
        right=_dichotomies(n, d) + _dichotomies(n, d - 1),
    )


def _cover_all() -> Identity:
    import sympy as sp

    n = sp.Symbol("n", integer=True, positive=True)
    return Identity(
        name="cover-shatters",
        source="Cover 1965 (from memory; derived)",
        statement="C(n, n) = 2^n: n points of d = n features are shattered.",
        left=_dichotomies(n, n),
        right=2**n,
    )


def _cover_half() -> Identity:
    import sympy as sp

    d = 7
    return Identity(
        name="cover-capacity",
        source="Cover 1965 (from memory; derived)",
        statement="d = 7: C(2 d, d) = 2^(2 d - 1), half of all labels of n = 2 d points.",
        left=_dichotomies(sp.Integer(2 * d), sp.Integer(d)),
        right=sp.Integer(2) ** (2 * d - 1),
    )


def _counted(layers: Sequence[tuple[sp.Expr, sp.Expr, int]]) -> sp.Expr:
    """Sum of (k^2 inputs + 1) outputs over layers (k, inputs, outputs), biases included."""
    import sympy as sp

    return sp.Add(*((side**2 * inputs + 1) * outputs for side, inputs, outputs in layers))


def _table_1() -> Identity:
    import sympy as sp

    features, colors, width, small, large = sp.symbols("d c h k K", positive=True)
    dense = [(1, features, width)]
    deep = [*dense, (1, width, width), (1, width, width)]
    # Two convolutions and pools of stride 2 (28 -> 14 -> 7), then three dense layers.
    alexnet = [(large, colors, 64), (large, 64, 64), (1, 49 * 64, 384), (1, 384, 192), (1, 192, 10)]
    inception: list[tuple[sp.Expr, sp.Expr, int]] = [(large, colors, 96)]
    channels = 96
    blocks = [(32, 32), (32, 48), (0, 80), (112, 48), (96, 64), (80, 80), (48, 96), (0, 96)]
    for ones, others in (*blocks, (176, 160), (176, 160)):
        inception += [(small, channels, ones), (large, channels, others)]
        # A block without small filters downsamples: its pool passes the channels on.
        channels = others + (ones or channels)
    inception.append((1, channels, 10))
    variables = (features, colors, width, small, large)
    return Identity(
        name="parameters-of-table-1",
        source="Zhang et al. 2017, Table 1 (layers reconstructed)",
        statement=(
            "Biases counted, batch normalization not: the small Inception (filters of sides "
            "k = 1 and K = 3), the small AlexNet (K = 5, 64 channels) and the perceptrons of "
            "three and one layers of h = 512, d = 28 x 28 x c features, c = 3, 10 classes."
        ),
        left=sp.ImmutableMatrix(
            [
                sp.Subs(_counted(inception), variables, (2352, 3, 512, 1, 3)),
                sp.Subs(_counted(alexnet), variables, (2352, 3, 512, 1, 5)),
                sp.Subs(_counted([*deep, (1, width, 10)]), variables, (2352, 3, 512, 1, 3)),
                sp.Subs(_counted([*dense, (1, width, 10)]), variables, (2352, 3, 512, 1, 3)),
            ]
        ),
        right=sp.ImmutableMatrix([1649402, 1387786, 1735178, 1209866]),
    )


def _ridge_replacement() -> Identity:
    import sympy as sp

    a11, a12, a22, y = sp.symbols("a_11 a_12 a_22 y", real=True)
    A = sp.ImmutableMatrix([[a11, a12], [a12, a22]])
    b, x = (sp.ImmutableMatrix(sp.symbols(f"{name}_1 {name}_2", real=True)) for name in "bx")
    w = A.inv() * b
    gain = A.inv() * x / (1 + x.dot(A.inv() * x))
    return Identity(
        name="ridge-with-one-more-example",
        source="Bousquet & Elisseeff 2002 (derived)",
        statement=(
            "d = 2, A w = b without an example: with it, the solution of (A + x x') w = b + x y is "
            "w + A^-1 x (y - w'x) / (1 + x'A^-1 x). Replacing one example by another is two such "
            "steps."
        ),
        left=((A + x * x.T) * (w + gain * (y - w.dot(x)))).as_immutable(),
        right=(b + x * y).as_immutable(),
    )


def _convex_stability() -> Identity:
    import sympy as sp

    L, rate, n = sp.symbols("L epsilon n", positive=True)
    T = sp.Symbol("T", integer=True, positive=True)
    t = sp.Symbol("t", integer=True)
    apart = rate * L / n + rate * L / n
    return Identity(
        name="sgd-stability-convex",
        source="Hardt, Recht & Singer 2016 (from memory; derived)",
        statement=(
            "Convex, L-Lipschitz losses: two runs on sets that differ in one example meet it with "
            "probability 1 / n a step, and then move at most 2 epsilon L apart; the loss differs "
            "by L times that: 2 L^2 epsilon T / n after T steps."
        ),
        left=L * sp.Sum(apart, (t, 1, T)),
        right=2 * L**2 * rate * T / n,
    )


def _nonconvex() -> tuple[sp.Expr, sp.Symbol, sp.Symbol, sp.Expr]:
    """Return the bound of a first meeting after t steps, t, the best t, and q = beta c.

    The Lipschitz constant is written in terms of the best t.
    """
    import sympy as sp

    beta, c, T, n, t, best = sp.symbols("beta c T n t t_0", positive=True)
    q = beta * c
    squared_lipschitz = best ** (q + 1) / T**q / (2 * c)
    return (t + 2 * squared_lipschitz / beta * (T / t) ** q) / n, t, best, q


def _best_start() -> Identity:
    import sympy as sp

    bound, t, best, _ = _nonconvex()
    return Identity(
        name="sgd-stability-best-start",
        source="Hardt, Recht & Singer 2016 (from memory; derived)",
        statement=(
            "beta-smooth losses in [0, 1], steps c / t, n for n - 1: the bound "
            "t / n + 2 L^2 (T / t)^(beta c) / (beta n) is stationary at the t_0 with "
            "t_0^(beta c + 1) = 2 c L^2 T^(beta c)."
        ),
        left=sp.Subs(sp.Derivative(bound, t), t, best),
        right=sp.Integer(0),
    )


def _nonconvex_stability() -> Identity:
    import sympy as sp

    bound, t, best, q = _nonconvex()
    return Identity(
        name="sgd-stability-nonconvex",
        source="Hardt, Recht & Singer 2016 (from memory; derived)",
        statement="There the bound is (1 + 1 / (beta c)) t_0 / n.",
        left=sp.Subs(bound, t, best),
        right=(1 + 1 / q) * best / sp.Symbol("n", positive=True),
    )


# In the order of Zhang et al. (2017), then of the papers that it builds on.
DERIVATIONS = (
    _supremum,
    _second_moment,
    _fourth_moment,
    _gaussian_limit,
    _margin_of_signs,
    _corrupted_error,
    _table_1,
    _cover_recursion,
    _cover_all,
    _cover_half,
    _ridge_replacement,
    _convex_stability,
    _best_start,
    _nonconvex_stability,
)
