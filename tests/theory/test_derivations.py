"""The identities hold, agree with numbers found by another route, and can fail."""

import math
import random
import subprocess
import sys
from dataclasses import replace

import mpmath as mp
import pytest
import sympy as sp
from scipy.integrate import nquad

from theory import derivations

IDENTITIES = {identity.name: identity for identity in derivations.identities()}
each_identity = pytest.mark.parametrize("name", IDENTITIES)


def concrete(expression: sp.Expr) -> sp.Expr:
    """Put a definite function in place of the arbitrary data term H(w_1, w_2)."""
    return expression.replace(sp.Function("H"), lambda u, v: sp.exp(u * v / 2) + u**3 - u * v**2)


def random_point(symbols: set[sp.Symbol], seed: str) -> dict[sp.Symbol, sp.Expr]:
    rng = random.Random(seed)
    point = {}
    for symbol in sorted(symbols, key=str):
        if symbol.is_integer:
            point[symbol] = sp.Integer(rng.randint(2, 6))
        else:
            sign = 1 if symbol.is_nonnegative else rng.choice([-1, 1])
            point[symbol] = sign * sp.Rational(rng.randint(20, 60), 40)
    return point


def number(expression: sp.Expr, point: dict[sp.Symbol, sp.Expr]) -> mp.mpf:
    """Evaluate at a point with pending operations done by mpmath, not by SymPy's algebra."""

    def function_of(inner: sp.Expr, variables: list[sp.Symbol]) -> object:
        rest = {symbol: at for symbol, at in point.items() if symbol not in variables}
        return sp.lambdify(variables, inner.subs(rest), "mpmath")

    match expression:
        case sp.Integral():
            variables = [limit[0] for limit in expression.limits]
            integrand = function_of(expression.function, variables)
            if len(variables) == 1:
                ends = [e if e.is_infinite else number(e, point) for e in expression.limits[0][1:]]
                return mp.quad(integrand, ends)
            assert all(limit[1:] == (-sp.oo, sp.oo) for limit in expression.limits)
            line = (-math.inf, math.inf)
            return nquad(integrand, [line] * len(variables), opts={"epsabs": 1e-11})[0]
        case sp.Limit():
            inner, variable, target, direction = expression.args
            assert (target, str(direction)) == (0, "+")
            return function_of(inner, [variable])(mp.mpf("1e-12"))
        case sp.Subs():
            inner, variables, values = expression.args
            values = [v if v.is_number else sp.Float(number(v, point), mp.mp.dps) for v in values]
            return number(inner, point | dict(zip(variables, values, strict=True)))
        case sp.Derivative():
            variables, orders = zip(*expression.variable_count, strict=True)
            at = tuple(number(point[v], {}) for v in variables)
            slope = function_of(expression.expr, list(variables))
            return mp.diff(slope, at, tuple(int(order) for order in orders))
        case sp.Determinant():
            matrix = expression.arg
            return mp.det(mp.matrix([[number(x, point) for x in row] for row in matrix.tolist()]))
        case sp.Trace():
            return mp.fsum(number(x, point) for x in expression.arg.diagonal())
        case sp.Product():
            ((index, first, last),) = expression.limits
            steps = range(int(first), int(last.subs(point)) + 1)
            return mp.fprod(number(expression.function, point | {index: sp.S(i)}) for i in steps)
        case _ if expression.args:
            values = [sp.Float(number(x, point), mp.mp.dps) for x in expression.args]
            return mp.mpf(expression.func(*values).evalf(mp.mp.dps))
        case _:
            return mp.mpf(expression.subs(point).evalf(mp.mp.dps))


@each_identity
def test_holds(name):
    assert IDENTITIES[name].holds()


@each_identity
def test_both_sides_agree_numerically(name):
    identity = IDENTITIES[name]
    left, right = sp.Matrix([identity.left]), sp.Matrix([identity.right])
    point = random_point(left.free_symbols | right.free_symbols, seed=name)
    # A limit is taken at 1e-12, which a third-order difference feels as 1e-36.
    with mp.workdps(60 if left.has(sp.Limit) else 20):
        for one, other in zip(left, right, strict=True):
            found, claimed = number(concrete(one), point), number(concrete(other), point)
            assert mp.almosteq(found, claimed, rel_eps=1e-9, abs_eps=1e-9), (found, claimed)


@each_identity
def test_sides_are_different_expressions(name):
    assert IDENTITIES[name].left != IDENTITIES[name].right


def wrong_identities():
    def wrong(name, change):
        identity = IDENTITIES[name]
        return pytest.param(replace(identity, right=change(identity.right)), id=name)

    half = sp.Rational(1, 2)
    n, train_size = sp.symbols("n N", integer=True, positive=True)
    precision, curvature = sp.symbols("lambda C_2", positive=True)
    cost0 = sp.Symbol("C_0", real=True)
    scale = sp.Symbol("a", positive=True)
    first, second = sp.symbols("h_1 h_2", nonnegative=True)
    yield wrong("laplace-one-parameter", lambda _: -cost0 - sp.log(curvature / precision))
    yield wrong("laplace-two-parameters", lambda right: right / sp.sqrt(2 * sp.pi))
    yield wrong("regularized-hessian", lambda right: right.subs(precision, 0))
    yield wrong(
        "occam-sum", lambda _: half * (sp.log(first / precision) + sp.log(second / precision))
    )
    yield wrong("log-evidence-ratio", lambda right: right + 2 * train_size * sp.log(n))
    yield wrong("strong-prior-ratio", lambda _: 2 * sp.log(2))
    yield wrong("linear-evidence-by-laplace", lambda right: right + sp.log(2 * sp.pi) / 2)
    yield wrong("exact-evidence-invariant", lambda _: sp.sqrt(sp.pi))
    yield wrong("laplace-not-invariant", lambda _: sp.Integer(1))
    yield wrong("relu-rescaling-sharpness", lambda right: right.subs(scale, 1))
    yield wrong("softmax-hessian", lambda right: -right)
    yield wrong("null-model", lambda _: sp.nan)
    yield from wrong_noise_identities(wrong)


def wrong_noise_identities(wrong):
    train_size, batch_size, rate, m, h = sp.symbols("N B epsilon m h", positive=True)
    covariance = sp.Symbol("F", positive=True)
    # F with the denominator N; the linear scaling rule; dampened momentum; the missing halves.
    yield wrong("noise-without-replacement", lambda right: right * train_size / (train_size - 1))
    yield wrong("noise-scale", lambda right: right + rate**2 * covariance)
    yield wrong("small-rate-variance", lambda right: right * (1 - m))
    yield wrong("shuffle-lag-covariance", lambda _: sp.Integer(0))
    yield wrong("shuffled-flat-directions", lambda right: right / h**2)
    yield wrong("heavy-ball-stationary-covariance", lambda right: right.subs(h, 0))
    yield wrong("linear-regression-variance", lambda right: right.subs(batch_size, 2 * batch_size))
    yield wrong("modified-drift", lambda right: right.subs(rate, 2 * rate))
    yield wrong("modified-equation-order-2", lambda right: right + h**3 / 6)
    yield wrong("steps-examples-hyperbola", lambda right: right + 1)
    yield wrong("svag-coefficients", lambda right: 2 * right)
    yield wrong("sampling-preconditioner", lambda right: right / 2)
    yield wrong("boltzmann-is-stationary", lambda right: right + 1)
    yield wrong("kramers-time", lambda right: right / 2)


@pytest.mark.parametrize("identity", list(wrong_identities()))
def test_a_wrong_identity_fails(identity):
    assert not identity.holds()


def test_moving_the_weights_without_the_prior_changes_the_occam_factor():
    """The slip in the sharpness argument: Hessian rescaled, regularisation left behind."""
    identity = IDENTITIES["linear-reparametrization"]
    scales = sp.symbols("s_1 s_2", positive=True)
    precisions = sp.symbols("lambda_1 lambda_2", positive=True)
    moved_back = {p: p * s**2 for p, s in zip(precisions, scales, strict=True)}
    left = identity.left.subs(moved_back, simultaneous=True)
    assert not replace(identity, left=left).holds()


def test_names_are_unique_and_every_identity_says_where_it_comes_from():
    built = derivations.identities()
    assert len(IDENTITIES) == len(built)
    for identity in built:
        assert identity.source
        assert identity.statement.endswith((".", ")"))


@each_identity
def test_latex_shows_both_sides(name):
    identity = IDENTITIES[name]
    left, right = identity.latex().split(" = ", 1)
    assert left == sp.latex(identity.left, ln_notation=True)
    assert right == sp.latex(identity.right, ln_notation=True)


def test_latex_reads_like_the_paper():
    assert (
        IDENTITIES["laplace-one-parameter"]
        .latex()
        .endswith(r"= - C_{0} - \frac{\ln{\left(\frac{C_{2}}{\lambda} \right)}}{2}")
    )
    assert r"\int\limits_{-\infty}^{\infty}" in IDENTITIES["laplace-one-parameter"].latex()


def test_topics_partition_the_identities():
    by_topic = [i for topic in derivations.topics() for i in derivations.identities(topic)]
    assert [identity.name for identity in by_topic] == list(IDENTITIES)


def test_unknown_topic_is_named():
    with pytest.raises(ValueError, match="'sharpness'; it must be one of evidence"):
        derivations.identities("sharpness")


def test_command_line_prints_one_line_each_and_succeeds():
    done = subprocess.run(
        [sys.executable, "-m", "theory.derivations"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == list(IDENTITIES)
    for line, identity in zip(lines, IDENTITIES.values(), strict=True):
        assert identity.source in line
        assert line.endswith("holds")


def test_command_line_reports_a_failure(monkeypatch, capsys):
    good = IDENTITIES["logistic-hessian"]
    bad = replace(good, name="wrong", right=2 * good.right)
    monkeypatch.setattr(derivations, "_DERIVATIONS", {"evidence": (lambda: good, lambda: bad)})
    assert derivations.main(["evidence"]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("holds")
    assert second.startswith("wrong")
    assert second.endswith("FAILS")


def test_import_leaves_sympy_alone():
    code = "import sys, theory.derivations; sys.exit('sympy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
