"""The algebra of :mod:`theory.smoothout`: Wen et al. (2018) and what its theorems need."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from theory._identity import Identity

if TYPE_CHECKING:
    import sympy as sp


def _mean(loss: sp.Expr, *noises: sp.Symbol, strength: sp.Expr) -> sp.Expr:
    """Return the mean over independent noises, uniform on [-strength, strength]; not evaluated."""
    import sympy as sp

    limits = [(noise, -strength, strength) for noise in noises]
    return sp.Integral(loss, *limits) / (2 * strength) ** len(noises)


def _line() -> tuple[sp.Symbol, sp.Symbol, sp.Symbol]:
    """Return a weight w, its noise t and the half-width a."""
    import sympy as sp

    w, t = sp.symbols("w t", real=True)
    return w, t, sp.Symbol("a", positive=True)


def _plane() -> tuple[sp.Symbol, ...]:
    """Return two weights, their noises and the half-width a."""
    import sympy as sp

    return (*sp.symbols("w_1 w_2 t_1 t_2", real=True), sp.Symbol("a", positive=True))


def _faces_on_the_line() -> Identity:
    import sympy as sp

    w, x, a = _line()
    loss = sp.Function("C")
    return Identity(
        name="gradient-from-two-faces",
        source="Wen et al. 2018, Eq. 3",
        statement=(
            "Any continuous loss on the line: the mean over [w - a, w + a] has the slope "
            "(C(w + a) - C(w - a)) / (2 a), so it is stationary at chords of length 2 a."
        ),
        left=sp.Derivative(sp.Integral(loss(x), (x, w - a, w + a)) / (2 * a), w),
        right=(loss(w + a) - loss(w - a)) / (2 * a),
    )


def _even_quartic(x: sp.Expr, y: sp.Expr) -> sp.Expr:
    """Return the general centrally symmetric quartic in two variables."""
    import sympy as sp

    powers = [(i, n - i) for n in (2, 4) for i in range(n + 1)]
    coefficients = [sp.Symbol(f"c_{i}{j}", real=True) for i, j in powers]
    return sp.Add(*(c * x**i * y**j for c, (i, j) in zip(coefficients, powers, strict=True)))


def _faces_in_the_plane() -> Identity:
    import sympy as sp

    w1, w2, t1, t2, a = _plane()
    on_faces = _even_quartic(w1 + a, w2 + t2) - _even_quartic(w1 - a, w2 + t2)
    gradient = sp.diff(_even_quartic(w1 + t1, w2 + t2), w1)
    return Identity(
        name="gradient-from-opposite-faces",
        source="Wen et al. 2018, Eq. 3",
        statement=(
            "d = 2, any even quartic, any point: the mean of the gradient at noisy weights, which "
            "a SmoothOut step follows, is the mean over the other coordinate of the difference "
            "between two opposite faces, over 2 a."
        ),
        left=_mean(gradient, t1, t2, strength=a),
        right=_mean(on_faces, t2, strength=a) / (2 * a),
    )


def _symmetric_point() -> Identity:
    import sympy as sp

    t1, t2 = sp.symbols("t_1 t_2", real=True)
    a = sp.Symbol("a", positive=True)
    first = _even_quartic(a, t2) - _even_quartic(-a, t2)
    second = _even_quartic(t1, a) - _even_quartic(t1, -a)
    return Identity(
        name="symmetric-minimum-is-stationary",
        source="Wen et al. 2018, Theorem 1",
        statement=(
            "d = 2, any even quartic: both derivatives of the mean at the center of symmetry, from "
            "opposite faces, are 0. Central symmetry is enough; that the center is a flat "
            "minimum, or a minimum at all, is not used."
        ),
        left=sp.ImmutableMatrix(
            [
                _mean(first, t2, strength=a) / (2 * a),
                _mean(second, t1, strength=a) / (2 * a),
            ]
        ),
        right=sp.ImmutableMatrix([0, 0]),
    )


def _symmetric_maximum() -> Identity:
    import sympy as sp

    w, t, a = _line()
    k, h = sp.symbols("k h", positive=True)
    mean = _mean(h * sp.cos(k * (w + t)), t, strength=a)
    return Identity(
        name="symmetric-maximum-is-stationary",
        source="Wen et al. 2018, Theorem 1 (derived)",
        statement=(
            "h cos(k w) at its maximum, however sharp: the mean is stationary too, with the "
            "curvature -h k sin(k a) / a. So the theorem does not single out flat minima."
        ),
        left=sp.ImmutableMatrix(
            [sp.Subs(sp.Derivative(mean, (w, order)), w, 0) for order in (1, 2)]
        ),
        right=sp.ImmutableMatrix([0, -h * k * sp.sin(k * a) / a]),
    )


def _curvature_sign() -> Identity:
    import sympy as sp

    w, _, a = _line()
    s = sp.Symbol("s", positive=True)
    loss = w**2 * sp.exp(-(w**2) / (2 * s**2))
    slope = (loss.subs(w, w + a) - loss.subs(w, w - a)) / (2 * a)
    curvature = sp.Subs(sp.Derivative(slope, w), w, 0)
    return Identity(
        name="curvature-of-a-smoothed-minimum",
        source="Wen et al. 2018, Theorem 1 (derived)",
        statement=(
            "w^2 exp(-w^2 / (2 s^2)): stationary need not be minimal. The mean's curvature at 0 is "
            "C'(a) / a and turns negative at a = sqrt(2) s, once the edges are past the rim."
        ),
        left=sp.ImmutableMatrix([curvature, sp.Subs(curvature, a, sp.sqrt(2) * s)]),
        right=sp.ImmutableMatrix([(2 - a**2 / s**2) * sp.exp(-(a**2) / (2 * s**2)), 0]),
    )


def _expansion_on_the_line() -> Identity:
    import sympy as sp

    w, t, a = _line()
    coefficients = sp.symbols("c_0:5", real=True)

    def loss(x: sp.Expr) -> sp.Expr:
        return sp.Add(*(c * x**power for power, c in enumerate(coefficients)))

    second, fourth = (sp.Derivative(loss(w), (w, order)) for order in (2, 4))
    return Identity(
        name="expansion-on-the-line",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "Any quartic: the mean is C + a^2 C'' / 6 + a^4 C'''' / 120, exactly; for other losses "
            "up to a^6."
        ),
        left=_mean(loss(w + t), t, strength=a),
        right=loss(w) + a**2 / 6 * second + a**4 / 120 * fourth,
    )


def _expansion_in_the_plane() -> Identity:
    import sympy as sp

    w1, w2, t1, t2, a = _plane()
    loss = _even_quartic(w1, w2)
    trace = sp.Derivative(loss, (w1, 2)) + sp.Derivative(loss, (w2, 2))
    fourth = sp.Derivative(loss, (w1, 4)) + sp.Derivative(loss, (w2, 4))
    mixed = sp.Derivative(loss, (w1, 2), (w2, 2))
    return Identity(
        name="trace-of-the-hessian",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "d = 2, any even quartic, any point: the mean adds a^2 tr H / 6, and at fourth order "
            "a^4 (sum of d_i^4 C / 120 + d_1^2 d_2^2 C / 36)."
        ),
        left=_mean(_even_quartic(w1 + t1, w2 + t2), t1, t2, strength=a),
        right=loss + a**2 / 6 * trace + a**4 * (fourth / 120 + mixed / 36),
    )


def _shift() -> Identity:
    import sympy as sp

    a, h = sp.symbols("a h", positive=True)
    third = sp.Symbol("C_3", real=True)
    w = sp.Symbol("w", real=True)

    def loss(x: sp.Expr) -> sp.Expr:
        return h * x**2 / 2 + third * x**3 / 6

    minimum = (-h + sp.sqrt(h**2 - third**2 * a**2 / 3)) / third
    slope = (loss(w + a) - loss(w - a)) / (2 * a)
    return Identity(
        name="shift-of-an-asymmetric-minimum",
        source="Wen et al. 2018, Theorem 1 (derived)",
        statement=(
            "h w^2 / 2 + C_3 w^3 / 6: the mean's slope vanishes at (-h + sqrt(h^2 - C_3^2 a^2 / 3))"
            " / C_3, so without symmetry the minimum moves, by -a^2 C_3 / (6 h) to second order."
        ),
        left=sp.ImmutableMatrix([sp.Subs(slope, w, minimum), sp.Limit(minimum / a**2, a, 0, "+")]),
        right=sp.ImmutableMatrix([0, -third / (6 * h)]),
    )


def _quadratic() -> Identity:
    import sympy as sp

    w1, w2, t1, t2, a = _plane()
    h11, h12, h22 = sp.symbols("h_11 h_12 h_22", real=True)

    def loss(x: sp.Expr, y: sp.Expr) -> sp.Expr:
        return (h11 * x**2 + 2 * h12 * x * y + h22 * y**2) / 2

    mean = _mean(loss(w1 + t1, w2 + t2), t1, t2, strength=a)
    return Identity(
        name="smoothed-quadratic",
        source="Wen et al. 2018, Theorem 2 (derived)",
        statement=(
            "Every quadratic, flat or sharp, is lifted by a^2 tr H / 6 everywhere, so that its "
            "gradient does not change."
        ),
        left=sp.ImmutableMatrix(
            [mean - loss(w1, w2), _mean(sp.diff(loss(w1 + t1, w2 + t2), w1), t1, t2, strength=a)]
        ),
        right=sp.ImmutableMatrix([a**2 * (h11 + h22) / 6, h11 * w1 + h12 * w2]),
    )


def _quadratic_threshold() -> Identity:
    import sympy as sp

    _, t, a = _line()
    curvature = sp.Symbol("lambda", positive=True)
    m = sp.Symbol("m", integer=True, positive=True)
    i = sp.Symbol("i", integer=True)
    lifted = sp.Sum(_mean(curvature * t**2 / 2, t, strength=a), (i, 1, m))
    return Identity(
        name="lift-of-a-quadratic-is-no-sign-of-sharpness",
        source="Wen et al. 2018, Theorem 2 (derived)",
        statement=(
            "(lambda / 2) |w|^2 in m dimensions: the least mean is the loss at a corner of the box "
            "of half-width a / sqrt(3). So it exceeds the largest loss in every smaller box, "
            "whatever the curvature and the dimension."
        ),
        left=lifted,
        right=sp.Sum(curvature / 2 * (a / sp.sqrt(3)) ** 2, (i, 1, m)),
    )


def _moved_box() -> Identity:
    import sympy as sp

    x, y = sp.symbols("x y", real=True)
    further, rest, out = sp.symbols("delta r s", positive=True)
    inner = (rest + out) / 2
    a = inner + further
    shift = further + out
    ramp = sp.Integral(1, (x, shift - a, inner))
    plateau = sp.Integral(1, (y, -inner, inner))
    return Identity(
        name="volume-in-a-moved-box",
        source="Wen et al. 2018, Eqs. 7-9 (derived)",
        statement=(
            "Box of half-width b = (r + s) / 2 inside, a = b + delta around a center moved by "
            "delta + s (so part of b sticks out) or by less than delta: the fractions are "
            "(a + b - shift) / (2 a) = r / (2 a) and b / a. The first is s / (2 a) short of b / a, "
            "and in the plane the fractions multiply, so they stay below (b / a)^m."
        ),
        left=sp.ImmutableMatrix(
            [
                ramp / (2 * a),
                plateau / (2 * a) - ramp / (2 * a),
                ramp * plateau / (2 * a) ** 2,
            ]
        ),
        right=sp.ImmutableMatrix(
            [rest / (2 * a), out / (2 * a), rest / (2 * a) * (rest + out) / (2 * a)]
        ),
    )


def _lift_dimension() -> Identity:
    import sympy as sp

    m, log_ratio, gap, depth = sp.symbols("m q x y", positive=True)
    floor = sp.Symbol("C_s", real=True)
    highest = floor + depth
    level = highest + gap
    bound = level - sp.exp(-log_ratio * m) * (level - floor)
    return Identity(
        name="dimension-of-the-lift",
        source="Wen et al. 2018, Theorem 2 (derived)",
        statement=(
            "With a / eps' = e^q, a loss of at least mu = M + x on the shell and C_s = M - y "
            "inside: the bound mu - (eps' / a)^m (mu - C_s) on the mean reaches M, the largest "
            "loss near the minimum, at m* = log((mu - C_s) / (mu - M)) / q."
        ),
        left=sp.Subs(bound, m, sp.log((level - floor) / (level - highest)) / log_ratio),
        right=highest,
    )


def _flat_shell() -> Identity:
    import sympy as sp

    w = sp.symbols("w_1 w_2", real=True)
    inner, radius = sp.symbols("epsilon r", positive=True)
    loss = w[0] ** 2
    return Identity(
        name="running-maximum-bounds-no-shell",
        source="Wen et al. 2018, Eq. 7 (counter-example)",
        statement=(
            "Printed: as the maximum over a box grows with it, the loss on the shell exceeds it. "
            "Not so: w_1^2 has the maximum epsilon^2 over the box, growing, but is 0 at (0, r) on "
            "every shell. A lower bound on the shell has to be assumed."
        ),
        left=sp.ImmutableMatrix([sp.Subs(loss, w, (inner, 0)), sp.Subs(loss, w, (0, radius))]),
        right=sp.ImmutableMatrix([inner**2, 0]),
    )


def _shell_against_box() -> Identity:
    import sympy as sp

    curvature, radius = sp.symbols("lambda r", positive=True)
    m = sp.Symbol("m", integer=True, positive=True)
    i = sp.Symbol("i", integer=True)
    side = curvature * radius**2 / 2
    return Identity(
        name="shell-minimum-over-box-maximum",
        source="Wen et al. 2018, Eqs. 6-7 (counter-example)",
        statement=(
            "One function of the radius serves as maximum over the box and as minimum over the "
            "shell, which makes level sets cubes. For (lambda / 2) |w|^2 the minimum, at the "
            "middle of a side, is 1 / m of the maximum, at a corner."
        ),
        left=side / sp.Sum(side, (i, 1, m)),
        right=1 / m,
    )


def _moving_box() -> Identity:
    import sympy as sp

    t = sp.Symbol("t", real=True)
    inner, ring, moved, pit = sp.symbols("b delta epsilon B", positive=True)
    a = inner + ring + moved
    high = sp.Integral(1, (t, moved - a, -inner)) + sp.Integral(1, (t, inner, a))
    low = sp.Integral(pit, (t, a, a + moved))
    return Identity(
        name="shell-of-the-moved-box",
        source="Wen et al. 2018, Eqs. 7-8 (counter-example)",
        statement=(
            "Loss 0 below b, 1 up to a, -B beyond: averaged about epsilon instead of 0, the box "
            "reaches a + epsilon, and the mean is epsilon (1 + B) / (2 a) below 1 - b / a. The "
            "shell must be assumed up to a + epsilon."
        ),
        left=(high - low) / (2 * a),
        right=1 - inner / a - moved * (1 + pit) / (2 * a),
    )


def _cone_limit() -> Identity:
    import sympy as sp

    r = sp.Symbol("r", real=True)
    a, m, inverse = sp.symbols("a m n", positive=True)
    mean = a * m / (m + 1)
    return Identity(
        name="limit-of-many-dimensions",
        source="Wen et al. 2018, Eqs. 9-10 (counter-example)",
        statement=(
            "Said to tend to C_eps', the level at any eps' < a. The largest of m noises has the "
            "mean a m / (m + 1), the smoothed cone |w|_infinity at its tip; with n = 1 / m -> 0 it "
            "tends to a, above the level eps' of every such box."
        ),
        left=sp.ImmutableMatrix(
            [
                sp.Integral(1 - (r / a) ** m, (r, 0, a)),
                sp.Limit(mean.subs(m, 1 / inverse), inverse, 0, "+"),
            ]
        ),
        right=sp.ImmutableMatrix([mean, a]),
    )


def _ranking() -> Identity:
    import sympy as sp

    a, gap, excess, flat_trace = sp.symbols("a x y T_f", positive=True)
    deeper = sp.Symbol("C_s", real=True)
    sharp = deeper + a**2 / 6 * (flat_trace + excess)
    flat = deeper + gap + a**2 / 6 * flat_trace
    return Identity(
        name="ranking-of-two-quadratics",
        source="Wen et al. 2018, Eq. 13 (derived)",
        statement=(
            "A sharp minimum deeper by x, of a trace greater by y: the means are equal at "
            "a^2 = 6 x / y, and beyond it the flat one is the lower."
        ),
        left=sp.Subs(sharp - flat, a, sp.sqrt(6 * gap / excess)),
        right=sp.Integer(0),
    )


def _dent() -> Identity:
    import sympy as sp

    d = sp.Symbol("d", real=True)
    h, b, more = sp.symbols("h b delta", positive=True)
    a = b + more
    plateau = sp.Integral(h * b / a, (d, -more, more))
    ramps = 2 * sp.Integral(h * (a + b - d) / (2 * a), (d, more, a + b))
    return Identity(
        name="area-of-a-dent",
        source="Wen et al. 2018, Theorem 2 (derived)",
        statement=(
            "A box well of depth h and half-width b < a becomes a plateau of depth h b / a and "
            "half-width a - b = delta between ramps of width 2 b: shallower and wider, of the same "
            "area 2 h b."
        ),
        left=plateau + ramps,
        right=2 * h * b,
    )


def _elimination() -> Identity:
    import sympy as sp

    m, log_ratio, h, a, slope = sp.symbols("m q h a g", positive=True)
    steepest = h / (2 * a) * sp.exp(-log_ratio * (m - 1))
    return Identity(
        name="dimension-of-elimination",
        source="Wen et al. 2018, abstract (derived)",
        statement=(
            "With a / eps' = e^q: the slope of a smoothed well of depth h, at most "
            "(h / (2 a)) (eps' / a)^(m - 1), falls to a background slope g at "
            "m = 1 + log(h / (2 a g)) / q; with more sharp directions no stationary point is left."
        ),
        left=sp.Subs(steepest, m, 1 + sp.log(h / (2 * a * slope)) / log_ratio),
        right=slope,
    )


def _steepest_ramp() -> Identity:
    import sympy as sp

    y, d = sp.symbols("y d", real=True)
    h, b, more = sp.symbols("h b delta", positive=True)
    a = b + more
    fraction = (a + b - d) / (2 * a) * sp.Integral(1, (y, -b, b)) / (2 * a)
    return Identity(
        name="slope-of-a-dent",
        source="Wen et al. 2018, abstract (derived)",
        statement=(
            "d = 2, a box well of depth h: on a ramp the smoothed well has the slope "
            "(h / (2 a)) (b / a)^(m - 1), the bound itself."
        ),
        left=sp.Derivative(-h * fraction, d),
        right=h / (2 * a) * (b / a),
    )


def _few_directions() -> Identity:
    import sympy as sp

    r = sp.Symbol("r", real=True)
    a, z = sp.symbols("a z", positive=True)
    radius = z * a * sp.sqrt(sp.Rational(2, 3))
    weight = sp.exp(-3 * r**2 / (2 * a**2))

    def mass(k: int) -> sp.Expr:
        whole = 2 ** (sp.Rational(k, 2) - 1) * sp.gamma(sp.Rational(k, 2)) * (a / sp.sqrt(3)) ** k
        return sp.Integral(r ** (k - 1) * weight, (r, 0, radius)) / whole

    return Identity(
        name="mass-in-few-directions",
        source="Wen et al. 2018, Theorem 2 (derived)",
        statement=(
            "k directions in general position among many: their noise is normal of variance "
            "a^2 / 3, and the mass within rho is the regularized gamma function of k / 2 at "
            "z^2 = 3 rho^2 / (2 a^2): for k = 1, 2, 4 as printed here."
        ),
        left=sp.ImmutableMatrix([mass(k) for k in (1, 2, 4)]),
        right=sp.ImmutableMatrix(
            [sp.erf(z), 1 - sp.exp(-(z**2)), 1 - (1 + z**2) * sp.exp(-(z**2))]
        ),
    )


def _normal_mass() -> Identity:
    import sympy as sp

    t = sp.Symbol("t", real=True)
    sigma, b = sp.symbols("sigma b", positive=True)
    density = sp.exp(-(t**2) / (2 * sigma**2)) / sp.sqrt(2 * sp.pi * sigma**2)
    return Identity(
        name="normal-mass-in-a-box",
        source="Wen et al. 2018, Theorem 2 (derived)",
        statement=(
            "Normal noise: a box of half-width b holds erf(b / (sigma sqrt(2))) per direction in "
            "place of b / a."
        ),
        left=sp.Integral(density, (t, -b, b)),
        right=sp.erf(b / (sigma * sp.sqrt(2))),
    )


def _radial_means() -> Identity:
    import sympy as sp

    r = sp.Symbol("r", real=True)
    h, b, more, m, q = sp.symbols("h b delta m q", positive=True)
    a = b + more
    density = m * r ** (m - 1) / a**m
    capped = sp.Integral(h * r / b * density, (r, 0, b)) + h * sp.Integral(density, (r, b, a))
    return Identity(
        name="radial-means",
        source="Wen et al. 2018, Theorem 2 (derived)",
        statement=(
            "The largest of m noises has the density m r^(m - 1) / a^m. So |w|_infinity^q has the "
            "mean a^q m / (m + q) at its center, and h min(1, |w|_infinity / b) has "
            "h (1 - (b / a)^m / (m + 1)), where the bound is h (1 - (b / a)^m)."
        ),
        left=sp.ImmutableMatrix([sp.Integral(r**q * density, (r, 0, a)), capped]),
        right=sp.ImmutableMatrix([a**q * m / (m + q), h * (1 - (b / a) ** m / (m + 1))]),
    )


def _tightness() -> Identity:
    import sympy as sp

    x, a = sp.symbols("x a", positive=True)
    m = sp.Symbol("m", integer=True, positive=True)
    best = a * (m + 1) ** (-1 / m)
    bound = x * (1 - (x / a) ** m)
    exact = a * m / (m + 1)
    return Identity(
        name="tightness-of-the-lift",
        source="Wen et al. 2018, Theorem 2 (derived)",
        statement=(
            "The cone |w|_infinity: the bound eps' (1 - (eps' / a)^m) is best at "
            "eps' = a (m + 1)^(-1 / m), where it is that share (m + 1)^(-1 / m) of the exact mean."
        ),
        left=sp.ImmutableMatrix(
            [sp.Subs(sp.Derivative(bound, x), x, best), sp.Subs(bound, x, best) / exact]
        ),
        right=sp.ImmutableMatrix([0, (m + 1) ** (-1 / m)]),
    )


def _powers() -> Identity:
    import sympy as sp

    w, t, a = _line()
    b = sp.Symbol("b", positive=True)
    well = (w + t) ** 2 - b**2
    return Identity(
        name="smoothed-powers-and-double-well",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "The means of w^2, w^3, w^4 and (w^2 - b^2)^2; the last has its minima at "
            "w^2 = b^2 - a^2 and so a single one from a = b on."
        ),
        left=sp.ImmutableMatrix(
            [
                *(_mean((w + t) ** n, t, strength=a) for n in (2, 3, 4)),
                _mean(well**2, t, strength=a),
            ]
        ),
        right=sp.ImmutableMatrix(
            [
                w**2 + a**2 / 3,
                w**3 + a**2 * w,
                w**4 + 2 * a**2 * w**2 + a**4 / 5,
                (w**2 + a**2 - b**2) ** 2 - sp.Rational(4, 5) * a**4 + 4 * a**2 * b**2 / 3,
            ]
        ),
    )


def _kinks() -> Identity:
    import sympy as sp

    x = sp.Symbol("x", real=True)
    u, v = sp.symbols("u v", positive=True)
    a, w = (u + v) / 2, (u - v) / 2
    rising, falling = sp.Integral(x, (x, 0, w + a)), sp.Integral(-x, (x, w - a, 0))
    return Identity(
        name="smoothed-kinks",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "The box from w - a = -v to w + a = u holds the kink: the mean of |w| is "
            "(w^2 + a^2) / (2 a), that of max(w, 0) is (w + a)^2 / (4 a)."
        ),
        left=sp.ImmutableMatrix([(falling + rising) / (2 * a), rising / (2 * a)]),
        right=sp.ImmutableMatrix([(w**2 + a**2) / (2 * a), (w + a) ** 2 / (4 * a)]),
    )


def _waves() -> Identity:
    import sympy as sp

    w, t, a = _line()
    k, phase = sp.symbols("k phi", positive=True)
    height = sp.Symbol("A", positive=True)
    x = w + t
    rastrigin = x**2 + height * (1 - sp.cos(2 * sp.pi * x))
    return Identity(
        name="smoothed-waves",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "cos(k w + phi) is multiplied by sin(k a) / (k a). So w^2 + A (1 - cos 2 pi w) is "
            "an exact parabola at a = 1 / 2."
        ),
        left=sp.ImmutableMatrix(
            [
                _mean(sp.cos(k * x + phase), t, strength=a),
                _mean(rastrigin, t, strength=sp.Rational(1, 2)),
            ]
        ),
        right=sp.ImmutableMatrix(
            [
                sp.sin(k * a) / (k * a) * sp.cos(k * w + phase),
                w**2 + sp.Rational(1, 12) + height,
            ]
        ),
    )


def _negative_lobe() -> Identity:
    import sympy as sp

    w, t, a = _line()
    frequency = 3 * sp.pi / (2 * a)
    density = sp.exp(-3 * t**2 / (2 * a**2)) * sp.sqrt(3 / (2 * sp.pi)) / a
    ripple = sp.cos(frequency * t)
    return Identity(
        name="ripples-upside-down",
        source="Wen et al. 2018, uniform against normal noise (derived)",
        statement=(
            "A ripple cos(k w) of wavelength 4 a / 3, k a = 3 pi / 2: uniform noise multiplies it "
            "by -2 / (3 pi), so that minima become maxima; normal noise of the same variance by "
            "exp(-k^2 a^2 / 6) > 0 (at w = 0)."
        ),
        left=sp.ImmutableMatrix(
            [
                _mean(sp.cos(frequency * (w + t)), t, strength=a),
                2 * sp.Integral(ripple * density, (t, 0, sp.oo)),
            ]
        ),
        right=sp.ImmutableMatrix(
            [-2 / (3 * sp.pi) * sp.cos(frequency * w), sp.exp(-3 * sp.pi**2 / 8)]
        ),
    )


def _wells() -> Identity:
    import sympy as sp

    w, t, a = _line()
    s = sp.Symbol("s", positive=True)
    u = (w + t) / s
    high, low = (w + a) / s, (w - a) / s
    erf, root = sp.erf, sp.sqrt(2)
    return Identity(
        name="smoothed-wells",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement="The means of a Gaussian and a Lorentz well of width s and depth 1.",
        left=sp.ImmutableMatrix(
            [
                _mean(-sp.exp(-(u**2) / 2), t, strength=a),
                _mean(-1 / (1 + u**2), t, strength=a),
            ]
        ),
        right=sp.ImmutableMatrix(
            [
                -s * sp.sqrt(sp.pi / 2) / (2 * a) * (erf(high / root) - erf(low / root)),
                -s / (2 * a) * (sp.atan(high) - sp.atan(low)),
            ]
        ),
    )


def _summed_over_the_box() -> Identity:
    import sympy as sp

    w, _, a = _line()

    def between(antiderivative: sp.Expr) -> sp.Expr:
        return antiderivative.subs(w, w + a) - antiderivative.subs(w, w - a)

    pairs = [
        (w * sp.log(1 + w**2) - 2 * w + 2 * sp.atan(w), sp.log(1 + w**2)),
        (sp.tanh(w), 1 - sp.tanh(w) ** 2),
        (sp.log(1 + sp.exp(w)), 1 / (1 + sp.exp(-w))),
    ]
    return Identity(
        name="smoothed-log-sech-sigmoid",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "2 a times the mean of log(1 + w^2), of sech^2 w = 1 - tanh^2 w and of the sigmoid: "
            "each is 0 at a = 0 and has the derivative C(w + a) + C(w - a) by a, so it is the "
            "integral over the box."
        ),
        left=sp.ImmutableMatrix([sp.Derivative(between(F), a) for F, _ in pairs]),
        right=sp.ImmutableMatrix([C.subs(w, w + a) + C.subs(w, w - a) for _, C in pairs]),
    )


def _exponential_well() -> Identity:
    import sympy as sp

    x = sp.Symbol("x", real=True)
    u, v, s = sp.symbols("u v s", positive=True)
    inside = sp.Integral(sp.exp(x / s), (x, -v, 0)) + sp.Integral(sp.exp(-x / s), (x, 0, u))
    outside = sp.Integral(sp.exp(-x / s), (x, v, v + u))
    return Identity(
        name="smoothed-exponential-well",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "The integrals of exp(-|x| / s) from -v to u and from v to v + u are differences of "
            "G(x) = sgn(x) s (1 - exp(-|x| / s)) between the ends."
        ),
        left=sp.ImmutableMatrix([inside, outside]),
        right=sp.ImmutableMatrix(
            [
                s * (1 - sp.exp(-u / s)) + s * (1 - sp.exp(-v / s)),
                s * sp.exp(-v / s) * (1 - sp.exp(-u / s)),
            ]
        ),
    )


def _concentration() -> Identity:
    import sympy as sp

    _, t, a = _line()
    m = sp.Symbol("m", integer=True, positive=True)
    i = sp.Symbol("i", integer=True)
    curvatures = sp.symbols("lambda_1 lambda_2", positive=True)
    mean = _mean(t**2, t, strength=a)
    variance = _mean(t**4, t, strength=a) - mean**2
    return Identity(
        name="size-of-the-noise",
        source="Wen et al. 2018, Theorem 2 (derived)",
        statement=(
            "|Theta|^2 has the mean m a^2 / 3 and the variance 4 m a^4 / 45; sum lambda_i "
            "Theta_i^2 / 2 has (a^2 / 6) sum lambda_i and (a^4 / 45) sum lambda_i^2 (two terms)."
        ),
        left=sp.ImmutableMatrix(
            [
                sp.Sum(mean, (i, 1, m)),
                sp.Sum(variance, (i, 1, m)),
                sp.Add(*(each / 2 * mean for each in curvatures)),
                sp.Add(*(each**2 / 4 * variance for each in curvatures)),
            ]
        ),
        right=sp.ImmutableMatrix(
            [
                m * a**2 / 3,
                4 * m * a**4 / 45,
                a**2 / 6 * sp.Add(*curvatures),
                a**4 / 45 * sp.Add(*(each**2 for each in curvatures)),
            ]
        ),
    )


def _small_dent() -> Identity:
    import sympy as sp

    z, ratio, m = sp.symbols("z l m", positive=True)
    a, excess = sp.symbols("a x", positive=True)
    log_mean = sp.log(sp.sqrt(sp.pi) * sp.erf(z) / (2 * z))
    odds = ratio - m * a**2 / 6 * excess
    return Identity(
        name="ranking-of-two-product-wells",
        source="Wen et al. 2018, Eq. 13 (derived)",
        statement=(
            "A Gaussian well of width s keeps the share with the logarithm -z^2 / 3 + 2 z^4 / 45, "
            "z = a / (s sqrt(2)). To second order two wells in m dimensions, of depths with the "
            "log ratio l and inverse squared widths x apart, are equally deep at "
            "a^2 = 6 l / (m x)."
        ),
        left=sp.ImmutableMatrix(
            [
                sp.Limit(sp.Derivative(log_mean, z).doit() / z, z, 0, "+"),
                sp.Subs(odds, a, sp.sqrt(6 * ratio / (m * excess))),
            ]
        ),
        right=sp.ImmutableMatrix([-sp.Rational(2, 3), 0]),
    )


def _two_factors() -> Identity:
    w1, w2, t1, t2, a = _plane()
    b = a**2 / 3
    loss = (w1 * w2 - 1) ** 2
    return Identity(
        name="smoothed-two-factors",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "(w_1 w_2 - 1)^2 gains b (w_1^2 + w_2^2) + b^2, b = a^2 / 3: of all equal minima the "
            "balanced one is selected."
        ),
        left=_mean(((w1 + t1) * (w2 + t2) - 1) ** 2, t1, t2, strength=a),
        right=loss + b * (w1**2 + w2**2) + b**2,
    )


def _smoothed_factors(w: Sequence[sp.Expr], variance: sp.Expr) -> sp.Expr:
    """Return the smoothed loss (prod w_i - 1)^2 under noise of a variance."""
    import sympy as sp

    return sp.Mul(*(each**2 + variance for each in w)) - 2 * sp.Mul(*w) + 1


def _balanced_minimum() -> Identity:
    import sympy as sp

    w = sp.symbols("w_1 w_2", real=True)
    u = sp.Symbol("u", positive=True)
    b = 1 - u**2
    loss = _smoothed_factors(w, b)
    at = (u, u)
    slopes = [sp.Subs(sp.Derivative(loss, each), w, at) for each in w]
    return Identity(
        name="balanced-minimum",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "The smoothed two factors are stationary at w_1 = w_2 = u = sqrt(1 - b), where the "
            "curvatures along and across the diagonal are 4 u^2 and 4 b."
        ),
        left=sp.ImmutableMatrix(
            [
                *slopes,
                sp.Subs(sp.Derivative(loss, (w[0], 2)) + sp.Derivative(loss, *w), w, at),
                sp.Subs(sp.Derivative(loss, (w[0], 2)) - sp.Derivative(loss, *w), w, at),
            ]
        ),
        right=sp.ImmutableMatrix([0, 0, 4 * u**2, 4 * b]),
    )


def _factor_chain() -> Identity:
    import sympy as sp

    u, b = sp.symbols("u b", positive=True)
    depth = sp.Symbol("L", integer=True, positive=True)
    balanced = (u**2 + b) ** depth - 2 * u**depth + 1
    w = sp.symbols("w_1:4", real=True)
    slope = sp.Derivative(_smoothed_factors(w, b), w[0])
    return Identity(
        name="balanced-minimum-of-a-chain",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "(prod w_i - 1)^2 of L factors, smoothed and all of them u: the slope is "
            "2 L u ((u^2 + b)^(L - 1) - u^(L - 2)), L times that of one factor (shown for L = 3)."
        ),
        left=sp.ImmutableMatrix([sp.Derivative(balanced, u), sp.Subs(slope, w, (u, u, u))]),
        right=sp.ImmutableMatrix(
            [
                2 * depth * u * ((u**2 + b) ** (depth - 1) - u ** (depth - 2)),
                2 * u * ((u**2 + b) ** 2 - u),
            ]
        ),
    )


def _balance() -> Identity:
    import sympy as sp

    w1, w2 = w = sp.symbols("w_1 w_2", real=True)
    b = sp.Symbol("b", positive=True)
    slopes = [sp.Derivative(_smoothed_factors(w, b), each) for each in w]
    return Identity(
        name="decay-of-the-imbalance",
        source="Wen et al. 2018, Eq. 2 (derived)",
        statement=(
            "Gradient flow on the smoothed two factors: d(w_1^2 - w_2^2)/dt = -4 b (w_1^2 - w_2^2),"
            " everywhere."
        ),
        left=-2 * w1 * slopes[0] + 2 * w2 * slopes[1],
        right=-4 * b * (w1**2 - w2**2),
    )


def _step_sizes() -> tuple[sp.Symbol, sp.Expr, sp.Expr]:
    """Return h, the learning rate times the curvature, the momentum m and the noise's variance."""
    import sympy as sp

    h, m, variance = sp.symbols("h m v", positive=True)
    return h, m, variance


def _denoised() -> Identity:
    h, _, v = _step_sizes()
    variance = h * v / (2 - h)
    return Identity(
        name="variance-with-denoising",
        source="Wen et al. 2018, SmoothOut (derived)",
        statement=(
            "w+ = w - epsilon lambda (w + theta), h = epsilon lambda: the variance h v / (2 - h) "
            "is kept by a step; v = a^2 / 3. It vanishes with h."
        ),
        left=(1 - h) ** 2 * variance + h**2 * v,
        right=variance,
    )


def _not_denoised() -> Identity:
    import sympy as sp

    h, _, v = _step_sizes()
    variance = v * (1 - h) ** 2 / (h * (2 - h))
    return Identity(
        name="variance-without-denoising",
        source="Wen et al. 2018, SmoothOut (derived)",
        statement=(
            "w+ = (1 - h) (w + theta): the variance v (1 - h)^2 / (1 - (1 - h)^2) is kept by a "
            "step. It diverges as v / (2 h) when h vanishes."
        ),
        left=sp.ImmutableMatrix([(1 - h) ** 2 * (variance + v), sp.Limit(h * variance, h, 0, "+")]),
        right=sp.ImmutableMatrix([variance, v / 2]),
    )


def _heavy_ball_step() -> tuple[sp.Matrix, sp.Matrix, sp.Matrix]:
    """Return the step of (w, epsilon u), and the gains of the noise with and without de-noising."""
    import sympy as sp

    h, m, _ = _step_sizes()
    step = sp.Matrix([[1 - h, -m], [h, m]])
    return step, sp.Matrix([-h, h]), sp.Matrix([1 - h, h])


def _heavy_ball(name: str, statement: str, gain: sp.Matrix, covariance: sp.Matrix) -> Identity:
    step, *_ = _heavy_ball_step()
    *_, v = _step_sizes()
    kept = step * covariance * step.T + v * gain * gain.T
    return Identity(
        name=name,
        source="Wen et al. 2018, SmoothOut (derived)",
        statement=statement,
        left=kept.as_immutable(),
        right=covariance.as_immutable(),
    )


def _heavy_ball_denoised() -> Identity:
    import sympy as sp

    h, m, v = _step_sizes()
    width = (1 - m) * (2 * (1 + m) - h)
    covariance = v * h / width * sp.Matrix([[1 + m, -h], [-h, 2 * h]])
    return _heavy_ball(
        "heavy-ball-with-denoising",
        "Momentum m, velocity times rate beside the weight: a step keeps this covariance; w has "
        "the variance v h (1 + m) / ((1 - m) (2 (1 + m) - h)).",
        _heavy_ball_step()[1],
        covariance,
    )


def _heavy_ball_not_denoised() -> Identity:
    import sympy as sp

    h, m, v = _step_sizes()
    width = h * (1 - m) * (2 * (1 + m) - h)
    spread = (1 + m) * (1 - m - h) ** 2 + 2 * m * h * (1 - h)
    together = h * (1 - m**2 - h)
    covariance = v / width * sp.Matrix([[spread, together], [together, h**2 * (1 + m)]])
    return _heavy_ball(
        "heavy-ball-without-denoising",
        "The same with w+ = w + theta - velocity: w has the variance "
        "v ((1 + m) (1 - m - h)^2 + 2 m h (1 - h)) / ((1 - m) h (2 (1 + m) - h)).",
        _heavy_ball_step()[2],
        covariance,
    )


def _adaptive_update() -> Identity:
    import sympy as sp

    w1, w2, t1, t2, a = _plane()
    x1, x2 = w1 * (1 + t1), w2 * (1 + t2)
    slopes = [2 * x2 * (x1 * x2 - 1), 2 * x1 * (x1 * x2 - 1)]
    b = a**2 / 3
    excess = w1 * w2 * (1 + b) - 1
    return Identity(
        name="adaptive-expected-gradient",
        source="Wen et al. 2018, AdaSmoothOut (derived)",
        statement=(
            "Two factors, noise uniform within +-a |w_i|: the expected gradient is "
            "2 w_j (w_1 w_2 (1 + b) - 1), b = a^2 / 3, which vanishes on w_1 w_2 = 1 / (1 + b)."
        ),
        left=sp.ImmutableMatrix([_mean(each, t1, t2, strength=a) for each in slopes]),
        right=sp.ImmutableMatrix([2 * w2 * excess, 2 * w1 * excess]),
    )


def _adaptive_signs() -> Identity:
    import sympy as sp

    w1, w2, _, _, a = _plane()
    means = sp.zeros(2, 1)
    for s1, s2 in itertools.product((-1, 1), repeat=2):
        x1, x2 = w1 * (1 + a * s1), w2 * (1 + a * s2)
        means += sp.Matrix([2 * x2 * (x1 * x2 - 1), 2 * x1 * (x1 * x2 - 1)]) / 4
    return Identity(
        name="adaptive-noise-of-signs",
        source="Wen et al. 2018, AdaSmoothOut (derived)",
        statement=(
            "Filters of one weight have the noise +-a |w_i|, all four signs alike: the same with "
            "b = a^2. As w_1 g_1 = w_2 g_2, the flow keeps w_1^2 - w_2^2."
        ),
        left=sp.ImmutableMatrix([*means, w1 * means[0] - w2 * means[1]]),
        right=sp.ImmutableMatrix(
            [
                2 * w2 * (w1 * w2 * (1 + a**2) - 1),
                2 * w1 * (w1 * w2 * (1 + a**2) - 1),
                0,
            ]
        ),
    )


def _adaptive_loss() -> Identity:
    import sympy as sp

    w1, w2, t1, t2, a = _plane()
    b = a**2 / 3
    p = sp.Symbol("p", real=True)
    product_of_noisy = w1 * (1 + t1) * w2 * (1 + t2)
    mean = (1 + b) ** 2 * p**2 - 2 * p + 1
    return Identity(
        name="adaptive-update-is-no-gradient-of-the-mean",
        source="Wen et al. 2018, AdaSmoothOut (derived)",
        statement=(
            "The mean loss itself is (1 + b)^2 p^2 - 2 p + 1, p = w_1 w_2, stationary at "
            "p = 1 / (1 + b)^2: the update leaves out how the noise depends on the weights."
        ),
        left=sp.ImmutableMatrix(
            [
                _mean((product_of_noisy - 1) ** 2, t1, t2, strength=a),
                sp.Subs(sp.Derivative(mean, p), p, 1 / (1 + b) ** 2),
            ]
        ),
        right=sp.ImmutableMatrix([mean.subs(p, w1 * w2), 0]),
    )


def _filter_covariance() -> Identity:
    import sympy as sp

    u1, u2 = sp.symbols("u_1 u_2", real=True)
    a, length = sp.symbols("a W", positive=True)
    total = sp.zeros(2)
    for x, y in ((u1, u2), (u2, u1)):
        for s1, s2 in itertools.product((-1, 1), repeat=2):
            noise = a * length * sp.Matrix([s1 * x, s2 * y]) / sp.sqrt(u1**2 + u2**2)
            total += noise * noise.T / 8
    return Identity(
        name="covariance-of-filter-noise",
        source="Wen et al. 2018, AdaSmoothOut (derived)",
        statement=(
            "A filter of d = 2 weights and norm W, noise a W u / |u|: over signs and orders of any "
            "u the covariance is a^2 W^2 / d times the unit matrix, so u need not be isotropic."
        ),
        left=total.as_immutable(),
        right=(a**2 * length**2 / 2 * sp.eye(2)).as_immutable(),
    )


def _same_recursion() -> Identity:
    import sympy as sp

    x, y, noise = sp.symbols("x y omega", real=True)
    rate = sp.Symbol("epsilon", positive=True)
    coefficients = sp.symbols("c_0:4", real=True)

    def slope(at: sp.Expr) -> sp.Expr:
        return sp.Add(*(c * at**power for power, c in enumerate(coefficients)))

    moved = x - rate * (slope(x) + noise)
    perturbed = y - rate * noise
    return Identity(
        name="sgd-is-smoothout-without-denoising",
        source="Kleinberg, Li & Yuan 2018 (from memory; derived)",
        statement=(
            "x+ = x - epsilon (C'(x) + omega) in the variable y = x - epsilon C'(x): "
            "y+ = (y + theta) - epsilon C'(y + theta), theta = -epsilon omega (any quartic C)."
        ),
        left=sp.Subs(x - rate * slope(x), x, moved),
        right=sp.Subs(perturbed - rate * slope(perturbed), y, x - rate * slope(x)),
    )


def _neighborhood() -> Identity:
    import sympy as sp

    rate, c, L, r, D = sp.symbols("epsilon c L r D", positive=True)
    noise = r**2 + 2 * rate * L * r**2  # |omega|^2 and twice its product with the gradient
    gradient = L**2 * (D**2 + rate**2 * r**2)
    contraction = 2 * rate * c - rate**2 * L**2
    kick = rate**2 * r**2 * (1 + rate * L) ** 2
    return Identity(
        name="one-point-neighborhood",
        source="Kleinberg, Li & Yuan 2018 (from memory; derived)",
        statement=(
            "At distance D: |y+ - x*|^2 is at most D^2 - 2 epsilon c D^2 plus epsilon^2 times "
            "|omega|^2 <= r^2, 2 omega'(grad C(y - epsilon omega) - grad C(y)) <= 2 epsilon L r^2 "
            "and |grad C|^2 <= L^2 (D^2 + epsilon^2 r^2), all in the mean: (1 - lambda) D^2 + b."
        ),
        left=D**2 - 2 * rate * c * D**2 + rate**2 * (noise + gradient),
        right=(1 - contraction) * D**2 + kick,
    )


# In the order of Wen et al. (2018): its mean, its theorems, its algorithms.
DERIVATIONS = (
    _faces_on_the_line,
    _faces_in_the_plane,
    _symmetric_point,
    _symmetric_maximum,
    _curvature_sign,
    _shift,
    _expansion_on_the_line,
    _expansion_in_the_plane,
    _powers,
    _kinks,
    _waves,
    _negative_lobe,
    _wells,
    _exponential_well,
    _summed_over_the_box,
    _flat_shell,
    _shell_against_box,
    _moving_box,
    _moved_box,
    _lift_dimension,
    _cone_limit,
    _radial_means,
    _tightness,
    _quadratic,
    _quadratic_threshold,
    _few_directions,
    _normal_mass,
    _concentration,
    _dent,
    _steepest_ramp,
    _elimination,
    _ranking,
    _small_dent,
    _two_factors,
    _balanced_minimum,
    _factor_chain,
    _balance,
    _denoised,
    _not_denoised,
    _heavy_ball_denoised,
    _heavy_ball_not_denoised,
    _adaptive_update,
    _adaptive_signs,
    _adaptive_loss,
    _filter_covariance,
    _same_recursion,
    _neighborhood,
)
