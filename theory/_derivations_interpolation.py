"""The algebra of :mod:`theory.interpolation`: Zhang et al. (2017), section 5, and its neighbors.

Most identities have n = 2 examples of d = 3 features: the smallest problem that has one direction
that no example sees, k = x_1 x x_2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from theory._identity import Identity

if TYPE_CHECKING:
    import sympy as sp


def _problem() -> tuple[sp.Matrix, sp.Matrix, sp.Matrix]:
    """Return X (2 x 3), y and the direction k that is orthogonal to both rows."""
    import sympy as sp

    X = sp.ImmutableMatrix(2, 3, lambda i, j: sp.Symbol(f"x_{i + 1}{j + 1}", real=True))
    y = sp.ImmutableMatrix(sp.symbols("y_1 y_2", real=True))
    return X, y, X.row(0).cross(X.row(1)).T


def _shortest(X: sp.Matrix, y: sp.Matrix) -> sp.Matrix:
    """Return the interpolant X' alpha with X X' alpha = y."""
    return X.T * (X * X.T).inv() * y


def _weights(name: str) -> Sequence[sp.Symbol]:
    import sympy as sp

    weights: Sequence[sp.Symbol] = sp.symbols(f"{name}_1:4", real=True)
    return weights


def _column(values: Sequence[sp.Expr]) -> sp.Matrix:
    import sympy as sp

    return sp.ImmutableMatrix(values)


def _stationary() -> Identity:
    import sympy as sp

    X, y, _ = _problem()
    w, alpha = _weights("w"), sp.ImmutableMatrix(sp.symbols("alpha_1:3", real=True))
    lagrangian = _column(w).dot(_column(w)) / 2 + alpha.dot(y - X * _column(w))
    at = tuple(X.T * alpha)
    slopes = [sp.Subs(sp.Derivative(lagrangian, each), w, at) for each in w]
    return Identity(
        name="minimum-norm-is-stationary",
        source="Zhang et al. 2017, Eq. 3",
        statement=(
            "|w|^2 / 2 + alpha'(y - X w) is stationary in w at w = X' alpha, for any multipliers "
            "alpha: the shortest interpolant lies in the span of the examples."
        ),
        left=_column(slopes),
        right=sp.zeros(3, 1).as_immutable(),
    )


def _normal_equations() -> Identity:
    X, y, _ = _problem()
    return Identity(
        name="minimum-norm-interpolates",
        source="Zhang et al. 2017, Eq. 3",
        statement="w = X' alpha with X X' alpha = y interpolates: X w = y.",
        left=X * _shortest(X, y),
        right=y,
    )


def _pythagoras() -> Identity:
    import sympy as sp

    X, y, k = _problem()
    c = sp.Symbol("c", real=True)
    w = _shortest(X, y)
    return Identity(
        name="other-interpolants-are-longer",
        source="Zhang et al. 2017, section 5 (derived)",
        statement=(
            "Every interpolant is w + c k, k orthogonal to all examples: its squared norm is "
            "c^2 |k|^2 above y'(X X')^-1 y, that of the shortest."
        ),
        left=(w + c * k).dot(w + c * k),
        right=(y.T * (X * X.T).inv() * y)[0] + c**2 * k.dot(k),
    )


def _step(X: sp.Matrix, y: sp.Matrix, w: sp.Matrix) -> sp.Matrix:
    """Return the weights after a step of SGD on the first example."""
    import sympy as sp

    rate = sp.Symbol("epsilon", positive=True)
    x = X.row(0).T
    return w - rate * (x.dot(w) - y[0]) * x


def _unseen_part() -> Identity:
    X, y, k = _problem()
    w = _column(_weights("w"))
    return Identity(
        name="sgd-keeps-the-unseen-part",
        source="Zhang et al. 2017, section 5 (derived)",
        statement="A step of SGD on an example leaves k'w as it was at the start.",
        left=k.dot(_step(X, y, w)),
        right=k.dot(w),
    )


def _residual_shrinks() -> Identity:
    import sympy as sp

    X, y, _ = _problem()
    rate = sp.Symbol("epsilon", positive=True)
    w, x = _column(_weights("w")), X.row(0)
    return Identity(
        name="sgd-shrinks-the-residual",
        source="Kaczmarz 1937 (derived)",
        statement=(
            "A step of SGD on an example multiplies its residual by 1 - epsilon |x|^2: one step at "
            "epsilon = 1 / |x|^2 fits it."
        ),
        left=x.dot(_step(X, y, w)) - y[0],
        right=(1 - rate * x.dot(x)) * (x.dot(w) - y[0]),
    )


def _sgd_limit() -> Identity:
    X, _, k = _problem()
    start, fit = _column(_weights("w")), _column(_weights("v"))
    limit = fit + k * k.dot(start - fit) / k.dot(k)
    return Identity(
        name="sgd-limit",
        source="Zhang et al. 2017, section 5 (derived)",
        statement=(
            "v + k k'(w_0 - v) / |k|^2, v any interpolant, fits both examples, too, and has "
            "k'w = k'w_0: three equations for three weights that SGD's limit meets. From w_0 = 0 "
            "it is the shortest interpolant."
        ),
        left=_column([*(X * limit), k.dot(limit)]),
        right=_column([*(X * fit), k.dot(start)]),
    )


def _hessian(losses: Sequence[Callable[[sp.Expr], sp.Expr]]) -> sp.Matrix:
    """Return the second derivatives of the mean loss at an interpolant v, not carried out.

    Each loss is a function of its example's residual, which is 0 at any interpolant.
    """
    import sympy as sp

    X, _, _ = _problem()
    w, at = _weights("w"), _weights("v")
    residuals = X * (_column(w) - _column(at))
    mean = sp.Add(*(loss(z) for loss, z in zip(losses, residuals, strict=True))) / 2

    def entry(i: int, j: int) -> sp.Expr:
        first, second = sorted((w[i], w[j]), key=str)
        return sp.Subs(sp.Derivative(mean, first, second), w, at)

    return sp.ImmutableMatrix(3, 3, lambda i, j: entry(int(i), int(j)))


def _hessian_of_any_loss() -> Identity:
    import sympy as sp

    X, _, _ = _problem()
    curvatures = sp.symbols("beta_1 beta_2", real=True)
    thirds, fourths = sp.symbols("c_1 c_2", real=True), sp.symbols("d_1 d_2", real=True)

    def loss(i: int) -> Callable[[sp.Expr], sp.Expr]:
        return lambda z: curvatures[i] * z**2 / 2 + thirds[i] * z**3 + fourths[i] * z**4

    return Identity(
        name="hessian-at-an-interpolant",
        source="Zhang et al. 2017, section 5",
        statement=(
            "Losses beta_i z^2 / 2 + c_i z^3 + d_i z^4 of the residuals z: the mean loss has the "
            "Hessian X' diag(beta) X / n at any interpolant v, whichever: curvature does not tell "
            "interpolants apart."
        ),
        left=_hessian([loss(0), loss(1)]),
        right=(X.T * sp.diag(*curvatures) * X / 2).as_immutable(),
    )


def _hessian_of_log_cosh() -> Identity:
    import sympy as sp

    X, _, _ = _problem()
    return Identity(
        name="hessian-of-log-cosh",
        source="Zhang et al. 2017, section 5 (derived)",
        statement="Likewise for the loss ln cosh z, whose curvature at 0 is 1: X'X / n.",
        left=_hessian([lambda z: sp.log(sp.cosh(z))] * 2),
        right=(X.T * X / 2).as_immutable(),
    )


def _spectrum() -> Identity:
    import sympy as sp

    X, _, _ = _problem()
    at = sp.Symbol("z", real=True)
    return Identity(
        name="hessian-is-singular",
        source="Zhang et al. 2017, section 5",
        statement=(
            "The d = 3 eigenvalues of X'X are the n = 2 of X X' and d - n zeros: the Hessian is "
            "singular at every interpolant."
        ),
        left=sp.Determinant(sp.ImmutableMatrix(at * sp.eye(3) - X.T * X)),
        right=at * sp.Determinant(sp.ImmutableMatrix(at * sp.eye(2) - X * X.T)),
    )


def _push_through() -> Identity:
    import sympy as sp

    X, y, _ = _problem()
    penalty = sp.Symbol("lambda", positive=True)
    alpha = (X * X.T + penalty * sp.eye(2)).inv() * y
    return Identity(
        name="ridge-in-the-span",
        source="Saunders et al. 1998 (from memory; derived)",
        statement=(
            "Ridge regression, too, lies in the span of the examples: X' alpha with "
            "(X X' + lambda) alpha = y solves (X'X + lambda) w = X'y."
        ),
        left=((X.T * X + penalty * sp.eye(3)) * X.T * alpha).as_immutable(),
        right=X.T * y,
    )


def _ridgeless() -> Identity:
    import sympy as sp

    x = sp.ImmutableMatrix(sp.symbols("x_1:4", real=True))
    y = sp.Symbol("y", real=True)
    penalty = sp.Symbol("lambda", positive=True)
    return Identity(
        name="ridgeless-limit",
        source="Zhang et al. 2017, section 5 (derived)",
        statement=(
            "n = 1: as lambda -> 0 the weights of ridge regression tend to the shortest "
            "interpolant, x y / |x|^2."
        ),
        left=_column([sp.Limit(each * y / (x.dot(x) + penalty), penalty, 0, "+") for each in x]),
        right=(x * y / x.dot(x)).as_immutable(),
    )


def _kernel(n: int) -> tuple[sp.Matrix, sp.Matrix]:
    """Return a symmetric matrix of kernel values, and labels."""
    import sympy as sp

    K = sp.ImmutableMatrix(
        n, n, lambda i, j: sp.Symbol(f"k_{min(i, j) + 1}{max(i, j) + 1}", real=True)
    )
    return K, sp.ImmutableMatrix(sp.symbols(f"y_1:{n + 1}", real=True))


def _squared_norm(K: sp.Matrix, y: sp.Matrix) -> sp.Expr:
    """Return y'K^-1 y, as a ratio of determinants."""
    import sympy as sp

    bordered = sp.Matrix.vstack(sp.Matrix.hstack(K, y), sp.Matrix([[*y, 0]]))
    return -sp.Determinant(bordered.as_immutable()) / sp.Determinant(K)


def _rkhs_norm() -> Identity:
    K, y = _kernel(2)
    alpha = K.inv() * y
    return Identity(
        name="norm-of-a-kernel-interpolant",
        source="Zhang et al. 2017, section 5 (derived)",
        statement=(
            "n = 2: f = sum alpha_i k(x_i, .) with K alpha = y has the squared norm alpha'K alpha "
            "= y'K^-1 y, minus the determinant of K bordered by y over that of K."
        ),
        left=_squared_norm(K, y),
        right=(alpha.T * K * alpha)[0],
    )


def _norm_grows() -> Identity:
    K, y = _kernel(3)
    known, cross = K[:2, :2], K[:2, 2]
    solved = known.inv() * cross
    surprise = y[2] - solved.dot(y[:2])
    return Identity(
        name="norm-grows-with-every-example",
        source="Belkin, Ma & Mandal 2018 (derived)",
        statement=(
            "n = 3: the last example adds to y'K^-1 y the square of what the interpolant of the "
            "others misses it by, over its variance given theirs, k_33 - k'K^-1 k > 0."
        ),
        left=_squared_norm(K, y) - _squared_norm(known, y[:2, :]),
        right=surprise**2 / (K[2, 2] - cross.dot(solved)),
    )


def _left_out() -> Identity:
    import sympy as sp

    K, y = _kernel(3)
    K = K + sp.Symbol("lambda", positive=True) * sp.eye(3)
    inverse = K.inv()
    return Identity(
        name="left-out-residual",
        source="Allen 1974 (from memory; derived)",
        statement=(
            "n = 3, K + lambda: leaving an example out misses it by alpha_i / (K + lambda)^-1_ii, "
            "alpha = (K + lambda)^-1 y, without another solution."
        ),
        left=y[2] - K[:2, 2].dot(K[:2, :2].inv() * y[:2, :]),
        right=(inverse.row(2) * y)[0] / inverse[2, 2],
    )


# In the order of Zhang et al. (2017), then of the papers that followed.
DERIVATIONS = (
    _normal_equations,
    _stationary,
    _pythagoras,
    _unseen_part,
    _residual_shrinks,
    _sgd_limit,
    _hessian_of_any_loss,
    _hessian_of_log_cosh,
    _spectrum,
    _rkhs_norm,
    _norm_grows,
    _push_through,
    _ridgeless,
    _left_out,
)
