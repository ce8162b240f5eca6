"""The algebra of :mod:`theory.evidence`: Smith & Le (2018), section 2, and MacKay (1992)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from theory._identity import Identity

if TYPE_CHECKING:
    import sympy as sp


def _rotated(first: sp.Expr, second: sp.Expr) -> sp.ImmutableDenseMatrix:
    """Build the general symmetric 2x2 matrix with the given eigenvalues: a rotation of them."""
    import sympy as sp

    angle = sp.Symbol("theta", real=True)
    rotation = sp.Matrix([[sp.cos(angle), -sp.sin(angle)], [sp.sin(angle), sp.cos(angle)]])
    return sp.ImmutableMatrix(rotation * sp.diag(first, second) * rotation.T)


def _laplace(cost: sp.Expr, variable: sp.Symbol, at: sp.Expr) -> sp.Expr:
    """Laplace value of the integral of exp(-cost) over one variable, about a minimum."""
    import sympy as sp

    curvature = sp.Subs(sp.Derivative(cost, (variable, 2)), variable, at)
    return sp.exp(-cost.subs(variable, at)) * sp.sqrt(2 * sp.pi / curvature)


def _laplace_one_parameter() -> Identity:
    import sympy as sp

    w, w0, cost0 = sp.symbols("w w_0 C_0", real=True)
    curvature, precision = sp.symbols("C_2 lambda", positive=True)
    cost = cost0 + curvature * (w - w0) ** 2 / 2
    return Identity(
        name="laplace-one-parameter",
        source="Smith & Le 2018, Eqs. 7-8",
        statement=(
            "One parameter, prior N(0, 1/lambda), cost quadratic about its minimum w_0 with "
            "curvature C_2: the log evidence is -C_0 - ln(C_2 / lambda) / 2."
        ),
        left=sp.log(
            sp.sqrt(precision / (2 * sp.pi)) * sp.Integral(sp.exp(-cost), (w, -sp.oo, sp.oo))
        ),
        right=-cost0 - sp.log(curvature / precision) / 2,
    )


def _laplace_two_parameters() -> Identity:
    import sympy as sp

    v = sp.Matrix(sp.symbols("v_1 v_2", real=True))
    cost0, l21 = sp.symbols("C_0 l_21", real=True)
    precision, l11, l22 = sp.symbols("lambda l_11 l_22", positive=True)
    factor = sp.Matrix([[l11, 0], [l21, l22]])
    hessian = sp.ImmutableMatrix(factor * factor.T)
    cost = cost0 + sp.expand((v.T * hessian * v)[0]) / 2
    return Identity(
        name="laplace-two-parameters",
        source="Smith & Le 2018, before Eq. 9",
        statement=(
            "P = 2 parameters at displacement v from the minimum, any positive-definite Hessian "
            "(given by its Cholesky factor l): the evidence is lambda^(P/2) exp(-C_0) / "
            "sqrt(det Hessian)."
        ),
        left=precision
        / (2 * sp.pi)
        * sp.Integral(sp.exp(-cost), (v[0], -sp.oo, sp.oo), (v[1], -sp.oo, sp.oo)),
        right=precision * sp.exp(-cost0) / sp.sqrt(sp.Determinant(hessian)),
    )


def _rotated_eigenvalues() -> Identity:
    import sympy as sp

    x = sp.Symbol("x", real=True)
    first, second = sp.symbols("lambda_1 lambda_2", positive=True)
    shifted = sp.ImmutableMatrix(x * sp.eye(2) - _rotated(first, second))
    return Identity(
        name="rotated-eigenvalues",
        source="Smith & Le 2018, Eq. 9 (derived)",
        statement=(
            "The general symmetric 2x2 Hessian used below has eigenvalues lambda_1, lambda_2: "
            "its characteristic polynomial."
        ),
        left=sp.Determinant(shifted),
        right=(x - first) * (x - second),
    )


def _determinant_as_eigenvalues() -> Identity:
    import sympy as sp

    cost0 = sp.Symbol("C_0", real=True)
    precision, first, second = sp.symbols("lambda lambda_1 lambda_2", positive=True)
    determinant = sp.Determinant(_rotated(first, second))
    occam = (sp.log(first / precision) + sp.log(second / precision)) / 2
    return Identity(
        name="determinant-as-eigenvalues",
        source="Smith & Le 2018, Eq. 9",
        statement=(
            "P = 2: the log of the determinant form of the evidence is -C_0 minus half the sum of "
            "ln(lambda_i / lambda) over the Hessian's eigenvalues."
        ),
        left=sp.log(precision * sp.exp(-cost0) / sp.sqrt(determinant)),
        right=-cost0 - occam,
    )


def _regularized_hessian() -> Identity:
    import sympy as sp

    x = sp.Symbol("x", real=True)
    w = sp.symbols("w_1 w_2", real=True)
    precision = sp.Symbol("lambda", positive=True)
    data = sp.Function("H")(*w)
    cost = data + precision * (w[0] ** 2 + w[1] ** 2) / 2

    def shifted(eigenvalue: sp.Expr, function: sp.Expr) -> sp.ImmutableDenseMatrix:
        hessian = sp.Matrix(2, 2, lambda i, j: sp.Derivative(function, w[i], w[j]))
        return sp.ImmutableMatrix(eigenvalue * sp.eye(2) - hessian)

    return Identity(
        name="regularized-hessian",
        source="Smith & Le 2018, Eq. 9 (derived)",
        statement=(
            "For any data term H, x is an eigenvalue of the Hessian of H + lambda |w|^2 / 2 "
            "exactly where x - lambda is one of the Hessian of H: lambda_i = h_i + lambda."
        ),
        left=sp.Determinant(shifted(x, cost)),
        right=sp.Determinant(shifted(x - precision, data)),
    )


def _occam_sum() -> Identity:
    import sympy as sp

    w = sp.Matrix(sp.symbols("w_1 w_2", real=True))
    precision = sp.Symbol("lambda", positive=True)
    first, second = sp.symbols("h_1 h_2", nonnegative=True)
    cost = ((w.T * _rotated(first, second) * w)[0] + precision * (w.T * w)[0]) / 2
    hessian = sp.ImmutableMatrix(sp.hessian(cost, list(w)))
    return Identity(
        name="occam-sum",
        source="Smith & Le 2018, Eq. 9 (derived)",
        statement=(
            "Where the data term has Hessian eigenvalues h_i >= 0, half the log determinant of the "
            "cost's Hessian over lambda^P is half the sum of ln(1 + h_i / lambda)."
        ),
        left=sp.log(sp.Determinant(hessian) / precision**2) / 2,
        right=(sp.log(1 + first / precision) + sp.log(1 + second / precision)) / 2,
    )


def _null_model() -> Identity:
    import sympy as sp

    i = sp.Symbol("i", integer=True, positive=True)
    classes, train_size = sp.symbols("n N", integer=True, positive=True)
    return Identity(
        name="null-model",
        source="Smith & Le 2018, before Eq. 10",
        statement="N labels, each uniform over n classes: the null evidence is exp(-N ln n).",
        left=sp.Product(1 / classes, (i, 1, train_size)),
        right=sp.exp(-train_size * sp.log(classes)),
    )


def _log_evidence_ratio() -> Identity:
    import sympy as sp

    v = sp.symbols("v_1 v_2", real=True)
    cost0 = sp.Symbol("C_0", real=True)
    precision, first, second = sp.symbols("lambda lambda_1 lambda_2", positive=True)
    classes, train_size = sp.symbols("n N", integer=True, positive=True)
    cost = cost0 + (first * v[0] ** 2 + second * v[1] ** 2) / 2
    evidence = (
        precision
        / (2 * sp.pi)
        * sp.Integral(sp.exp(-cost), (v[1], -sp.oo, sp.oo), (v[0], -sp.oo, sp.oo))
    )
    occam = (sp.log(first / precision) + sp.log(second / precision)) / 2
    return Identity(
        name="log-evidence-ratio",
        source="Smith & Le 2018, Eq. 10",
        statement=(
            "P = 2, displacements v along the Hessian's eigenvectors: minus the log ratio of the "
            "evidence to that of the null model is E = C_0 + half the sum of "
            "ln(lambda_i / lambda) - N ln n."
        ),
        left=-sp.log(evidence / classes ** (-train_size)),
        right=cost0 + occam - train_size * sp.log(classes),
    )


def _two_point_logistic() -> tuple[sp.Symbol, sp.Expr, sp.Expr]:
    """Two logistic examples, inputs x_1, x_2 > 0, both labelled 1, no bias.

    Returns the MAP weight w, and as functions of it the prior precision that makes it the MAP
    (stationarity, lambda w = -H'(w)) and the log evidence ratio E of Eq. 10.
    """
    import sympy as sp

    w, x1, x2 = sp.symbols("w x_1 x_2", positive=True)
    data = sp.log(1 + sp.exp(-x1 * w)) + sp.log(1 + sp.exp(-x2 * w))
    precision = -sp.diff(data, w) / w
    occam = sp.log(1 + sp.diff(data, w, 2) / precision) / 2
    ratio = data + precision * w**2 / 2 + occam - 2 * sp.log(2)
    return w, precision, ratio


def _strong_prior_map() -> Identity:
    import sympy as sp

    w, precision, _ = _two_point_logistic()
    x1, x2 = sp.symbols("x_1 x_2", positive=True)
    return Identity(
        name="strong-prior-map",
        source="Smith & Le 2018, Eq. 10 (derived)",
        statement=(
            "Logistic regression on two examples labelled 1, no bias, followed along its MAP "
            "weight w: lambda w tends to (x_1 + x_2) / 2 as w -> 0, so w -> 0 is lambda -> "
            "infinity."
        ),
        left=sp.Limit(precision * w, w, 0, "+"),
        right=(x1 + x2) / 2,
    )


def _strong_prior_ratio() -> Identity:
    import sympy as sp

    w, _, ratio = _two_point_logistic()
    return Identity(
        name="strong-prior-ratio",
        source="Smith & Le 2018, Eq. 10 (derived)",
        statement=(
            "The same logistic regression: as lambda -> infinity (w -> 0) the cost tends to "
            "N ln 2 and the Occam sum to 0, so E -> 0: the model becomes the null model."
        ),
        left=sp.Limit(ratio, w, 0, "+"),
        right=sp.Integer(0),
    )


def _strong_prior_rate() -> Identity:
    import sympy as sp

    w, precision, ratio = _two_point_logistic()
    x1, x2 = sp.symbols("x_1 x_2", positive=True)
    # SymPy 1.14 finds this limit only when the logarithms' arguments are in simplest form.
    ratio = ratio.replace(sp.log, lambda argument: sp.log(sp.simplify(argument)))
    return Identity(
        name="strong-prior-rate",
        source="Smith & Le 2018, Eq. 10 (derived)",
        statement=(
            "The same logistic regression: lambda E tends to half of (trace of the Hessian minus "
            "squared gradient) at w = 0, so a weak model beats the null where its gradient wins."
        ),
        left=sp.Limit(precision * ratio, w, 0, "+"),
        right=((x1**2 + x2**2) / 4 - ((x1 + x2) / 2) ** 2) / 2,
    )


def _occam_factor_as_widths() -> Identity:
    import sympy as sp

    w, w0 = sp.symbols("w w_0", real=True)
    precision, eigenvalue = sp.symbols("lambda lambda_1", positive=True)
    everywhere = (w, -sp.oo, sp.oo)

    def width(density: sp.Expr, centre: sp.Expr) -> sp.Expr:
        second_moment = sp.Integral((w - centre) ** 2 * density, everywhere)
        return sp.sqrt(second_moment / sp.Integral(density, everywhere))

    posterior = width(sp.exp(-eigenvalue * (w - w0) ** 2 / 2), w0)
    prior = width(sp.exp(-precision * w**2 / 2), sp.Integer(0))
    return Identity(
        name="occam-factor-as-widths",
        source="Smith & Le 2018, after Eq. 9 (derived)",
        statement=(
            "One parameter: the Occam factor sqrt(lambda / lambda_1) is the posterior's standard "
            "deviation over the prior's."
        ),
        left=posterior / prior,
        right=sp.sqrt(precision / eigenvalue),
    )


def _scaled_hessian(
    scales: Sequence[sp.Expr],
) -> tuple[sp.ImmutableDenseMatrix, sp.ImmutableDenseMatrix]:
    """Hessian of a quadratic data term in w, and in u = scales * w (by differentiation)."""
    import sympy as sp

    u = sp.symbols("u_1 u_2", real=True)
    a, b, c = sp.symbols("H_11 H_12 H_22", real=True)
    hessian = sp.ImmutableMatrix([[a, b], [b, c]])
    w = sp.Matrix([u[0] / scales[0], u[1] / scales[1]])
    data = (w.T * hessian * w)[0] / 2
    return hessian, sp.ImmutableMatrix(sp.hessian(data, u))


def _linear_reparametrization() -> Identity:
    import sympy as sp

    scales = sp.symbols("s_1 s_2", positive=True)
    precisions = sp.symbols("lambda_1 lambda_2", positive=True)
    before, after = _scaled_hessian(scales)
    prior_before = sp.ImmutableMatrix(sp.diag(*precisions))
    prior_after = sp.ImmutableMatrix(
        sp.diag(precisions[0] / scales[0] ** 2, precisions[1] / scales[1] ** 2)
    )
    return Identity(
        name="linear-reparametrization",
        source="Smith & Le 2018, sec. 2, discussion of Dinh et al. 2017 (argument from memory)",
        statement=(
            "u_i = s_i w_i with prior precisions lambda_i / s_i^2: the Occam factor "
            "det(H + Lambda) / det(Lambda) does not change."
        ),
        left=sp.Determinant(sp.ImmutableMatrix(after + prior_after)) / sp.Determinant(prior_after),
        right=sp.Determinant(sp.ImmutableMatrix(before + prior_before))
        / sp.Determinant(prior_before),
    )


def _rescaled_spectrum() -> Identity:
    import sympy as sp

    x = sp.Symbol("x", real=True)
    scale = sp.Symbol("a", positive=True)
    before, after = _scaled_hessian([scale, scale])
    return Identity(
        name="rescaled-spectrum",
        source="Dinh et al. 2017; Smith & Le 2018, sec. 2 (argument from memory)",
        statement=(
            "u = a w: x is an eigenvalue of the new Hessian exactly where a^2 x is one of the old, "
            "so every eigenvalue, the largest included, is divided by a^2."
        ),
        left=sp.Determinant(sp.ImmutableMatrix(x * sp.eye(2) - after)),
        right=sp.Determinant(sp.ImmutableMatrix(scale**2 * x * sp.eye(2) - before)) / scale**4,
    )


def _rescaled_sharpness() -> Identity:
    import sympy as sp

    scale = sp.Symbol("a", positive=True)
    before, after = _scaled_hessian([scale, scale])
    return Identity(
        name="rescaled-sharpness",
        source="Dinh et al. 2017; Smith & Le 2018, sec. 2 (argument from memory)",
        statement=(
            "u = a w: the trace of the Hessian is divided by a^2, while the evidence stays: "
            "sharpness without its prior is not a property of the model."
        ),
        left=sp.Trace(after),
        right=sp.Trace(before) / scale**2,
    )


def _relu_output(weights: Sequence[sp.Expr], x: sp.Expr) -> sp.Expr:
    """One hidden ReLU unit, max(z, 0) written as (z + |z|) / 2; weights are (W_1, b_1, W_2)."""
    import sympy as sp

    z = weights[0] * x + weights[1]
    return weights[2] * (z + sp.Abs(z)) / 2


def _relu_function() -> Identity:
    import sympy as sp

    weights = sp.Matrix(sp.symbols("W_1 b_1 W_2", real=True))
    x = sp.Symbol("x", real=True)
    _, _, scaling = _relu_priors()
    return Identity(
        name="relu-rescaling-function",
        source="Dinh et al. 2017; Smith & Le 2018, sec. 2 (derived)",
        statement=(
            "One ReLU unit, max(z, 0) = (z + |z|) / 2: W_1 -> a W_1, b_1 -> a b_1, "
            "W_2 -> W_2 / a with a > 0 leaves the output unchanged on both sides of the kink."
        ),
        left=_relu_output(scaling * weights, x),
        right=_relu_output(weights, x),
    )


def _relu_cost() -> Identity:
    import sympy as sp

    weights = sp.Matrix(sp.symbols("W_1 b_1 W_2", real=True))
    x, y = sp.symbols("x y", real=True)
    prior, scaled_prior, scaling = _relu_priors()

    def cost(point: sp.Matrix, precisions: sp.ImmutableDenseMatrix) -> sp.Expr:
        return ((y - _relu_output(point, x)) ** 2 + (point.T * precisions * point)[0]) / 2

    return Identity(
        name="relu-rescaling-cost",
        source="Smith & Le 2018, sec. 2 (derived)",
        statement=(
            "The same rescaling with layer priors lambda_1 / a^2 and lambda_2 a^2 leaves the "
            "regularized squared error unchanged, L2 penalty included."
        ),
        left=cost(scaling * weights, scaled_prior),
        right=cost(weights, prior),
    )


def _relu_priors() -> tuple[
    sp.ImmutableDenseMatrix, sp.ImmutableDenseMatrix, sp.ImmutableDenseMatrix
]:
    """Prior precisions of (W_1, b_1, W_2) before and after the rescaling, and the rescaling."""
    import sympy as sp

    scale, layer1, layer2 = sp.symbols("a lambda_1 lambda_2", positive=True)
    prior = sp.ImmutableMatrix(sp.diag(layer1, layer1, layer2))
    scaled = sp.ImmutableMatrix(sp.diag(layer1 / scale**2, layer1 / scale**2, layer2 * scale**2))
    return prior, scaled, sp.ImmutableMatrix(sp.diag(scale, scale, 1 / scale))


def _relu_hessians() -> tuple[sp.ImmutableDenseMatrix, sp.ImmutableDenseMatrix]:
    """Hessian of two examples' squared error, unit active, at a point and at the rescaled one."""
    import sympy as sp

    weights = sp.symbols("W_1 b_1 W_2", real=True)
    inputs = sp.symbols("x_1 x_2", real=True)
    targets = sp.symbols("y_1 y_2", real=True)
    _, _, scaling = _relu_priors()
    data = sp.Add(
        *(
            (y - weights[2] * (weights[0] * x + weights[1])) ** 2 / 2
            for x, y in zip(inputs, targets, strict=True)
        )
    )
    hessian = sp.ImmutableMatrix(sp.hessian(data, weights))
    scaled = scaling * sp.Matrix(weights)
    moved = dict(zip(weights, scaled, strict=True))
    return hessian, hessian.subs(moved, simultaneous=True)


def _relu_occam() -> Identity:
    import sympy as sp

    prior, scaled_prior, _ = _relu_priors()
    hessian, scaled_hessian = _relu_hessians()
    return Identity(
        name="relu-rescaling-occam",
        source="Smith & Le 2018, sec. 2 (derived)",
        statement=(
            "The same rescaling, squared error of two examples on the active side, at any point: "
            "det(H + Lambda) / det(Lambda) does not change when the layer priors follow."
        ),
        left=sp.Determinant(sp.ImmutableMatrix(scaled_hessian + scaled_prior))
        / sp.Determinant(scaled_prior),
        right=sp.Determinant(sp.ImmutableMatrix(hessian + prior)) / sp.Determinant(prior),
    )


def _relu_sharpness() -> Identity:
    import sympy as sp

    scale = sp.Symbol("a", positive=True)
    hessian, scaled_hessian = _relu_hessians()
    return Identity(
        name="relu-rescaling-sharpness",
        source="Dinh et al. 2017 (derived)",
        statement=(
            "The same rescaling changes the trace of the Hessian: the first layer's part is "
            "divided by a^2 and the second's multiplied by it, so it can be made as large as one "
            "likes for the same function."
        ),
        left=sp.Trace(scaled_hessian),
        right=(hessian[0, 0] + hessian[1, 1]) / scale**2 + scale**2 * hessian[2, 2],
    )


def _exact_evidence_invariant() -> Identity:
    import sympy as sp

    w, u = sp.symbols("w u", real=True)
    old = 1 / sp.cosh(w) ** 2
    new = old.subs(w, sp.asinh(u)) * sp.diff(sp.asinh(u), u)
    return Identity(
        name="exact-evidence-invariant",
        source="Smith & Le 2018, sec. 2",
        statement=(
            "Nonlinear coordinates u = sinh(w), the density cosh(w)^-2 transformed with its "
            "Jacobian: the exact integral is the same in both. (Two logistic examples with input "
            "2 and opposite labels have the likelihood 1 / (4 cosh(w)^2).)"
        ),
        left=sp.Integral(new, (u, -sp.oo, sp.oo)),
        right=sp.Integral(old, (w, -sp.oo, sp.oo)),
    )


def _laplace_not_invariant() -> Identity:
    import sympy as sp

    w, u = sp.symbols("w u", real=True)
    k = sp.Symbol("k", positive=True)
    cost = 2 * k * sp.log(sp.cosh(w))
    jacobian = sp.diff(sp.asinh(u), u)
    new_cost = cost.subs(w, sp.asinh(u)) - sp.log(jacobian)
    return Identity(
        name="laplace-not-invariant",
        source="Smith & Le 2018, sec. 2 (derived)",
        statement=(
            "The same change of coordinates on the density cosh(w)^(-2k): in both the peak is at "
            "0, yet Laplace's value in u is sqrt(2k / (2k + 1)) < 1 times that in w. The "
            "difference vanishes only as the data (k) grow."
        ),
        left=_laplace(new_cost, u, sp.Integer(0)) / _laplace(cost, w, sp.Integer(0)),
        right=sp.sqrt(2 * k / (2 * k + 1)),
    )


def _linear_model(features: int) -> tuple[sp.ImmutableDenseMatrix, sp.Matrix, sp.Expr, sp.Expr]:
    """Two examples of a Gaussian linear model: inputs, targets, noise precision, prior's."""
    import sympy as sp

    inputs = sp.ImmutableMatrix(2, features, lambda i, j: sp.Symbol(f"x_{i + 1}{j + 1}", real=True))
    targets = sp.ImmutableMatrix(sp.symbols("y_1 y_2", real=True))
    noise_precision, precision = sp.symbols("alpha lambda", positive=True)
    return inputs, targets, noise_precision, precision


def _log_function_space_evidence(
    inputs: sp.ImmutableDenseMatrix,
    targets: sp.ImmutableDenseMatrix,
    noise_precision: sp.Expr,
    precision: sp.Expr,
) -> sp.Expr:
    """Log density of the targets under N(0, I / alpha + X X' / lambda), two examples."""
    import sympy as sp

    kernel = sp.ImmutableMatrix(sp.eye(2) / noise_precision + inputs * inputs.T / precision)
    fit = (targets.T * kernel.adjugate() * targets)[0] / kernel.det()
    return -fit / 2 - sp.log(sp.Determinant(kernel)) / 2 - sp.log(2 * sp.pi)


def _linear_evidence_by_integration() -> Identity:
    import sympy as sp

    inputs, targets, noise_precision, precision = _linear_model(features=1)
    w = sp.Symbol("w", real=True)
    error = targets - inputs * w
    cost = noise_precision * (error.T * error)[0] / 2 + precision * w**2 / 2
    front = (noise_precision / (2 * sp.pi)) * sp.sqrt(precision / (2 * sp.pi))
    return Identity(
        name="linear-evidence-by-integration",
        source="MacKay 1992, Bayesian Interpolation",
        statement=(
            "Gaussian linear model, N = 2 examples and one weight: integrating the weight out of "
            "likelihood times prior gives N(y; 0, I / alpha + X X' / lambda)."
        ),
        left=front * sp.Integral(sp.exp(-cost), (w, -sp.oo, sp.oo)),
        right=sp.exp(_log_function_space_evidence(inputs, targets, noise_precision, precision)),
    )


def _linear_evidence_by_laplace() -> Identity:
    import sympy as sp

    inputs, targets, noise_precision, precision = _linear_model(features=2)
    weights = sp.symbols("w_1 w_2", real=True)
    error = targets - inputs * sp.Matrix(weights)
    cost = (
        noise_precision * (error.T * error)[0] / 2
        + precision * (weights[0] ** 2 + weights[1] ** 2) / 2
        - sp.log(noise_precision / (2 * sp.pi))
    )
    hessian = sp.ImmutableMatrix(sp.hessian(cost, weights).applyfunc(sp.factor))
    (optimum,) = sp.linsolve([sp.diff(cost, weight) for weight in weights], weights)
    least_cost = cost.subs(dict(zip(weights, optimum, strict=True)))
    return Identity(
        name="linear-evidence-by-laplace",
        source="MacKay 1992, Bayesian Interpolation; Smith & Le 2018, Eq. 9",
        statement=(
            "Gaussian linear model, N = 2 examples and P = 2 weights: Laplace's formula at the MAP "
            "(solved for) is exact, equal to ln N(y; 0, I / alpha + X X' / lambda)."
        ),
        left=-least_cost - sp.log(sp.Determinant(hessian) / precision**2) / 2,
        right=_log_function_space_evidence(inputs, targets, noise_precision, precision),
    )


def _fixed_point() -> tuple[sp.Expr, sp.Expr, sp.Expr, sp.Expr]:
    """Log evidence of a linear model with diagonal X'X, P = 2; |w|^2, SSE and gamma at its MAP."""
    import sympy as sp

    noise_precision, precision, train_size = sp.symbols("alpha lambda N", positive=True)
    square, *projections = sp.symbols("y^2 b_1 b_2", real=True)
    spectrum = sp.symbols("e_1 e_2", nonnegative=True)
    posterior = [precision + noise_precision * e for e in spectrum]
    mean = [noise_precision * b / p for b, p in zip(projections, posterior, strict=True)]
    norm = sp.Add(*(m**2 for m in mean))
    error = square + sp.Add(
        *(e * m**2 - 2 * b * m for e, m, b in zip(spectrum, mean, projections, strict=True))
    )
    log_evidence = (
        sp.log(precision)
        + train_size * sp.log(noise_precision / (2 * sp.pi)) / 2
        - noise_precision * error / 2
        - precision * norm / 2
        - sp.Add(*(sp.log(p) for p in posterior)) / 2
    )
    effective = sp.Add(*(noise_precision * e / p for e, p in zip(spectrum, posterior, strict=True)))
    return log_evidence, norm, error, effective


def _fixed_point_prior() -> Identity:
    import sympy as sp

    precision = sp.Symbol("lambda", positive=True)
    log_evidence, norm, _, effective = _fixed_point()
    return Identity(
        name="mackay-fixed-point-prior",
        source="MacKay 1992, Bayesian Interpolation",
        statement=(
            "Linear model, X'X = diag(e_i), b = X'y: 2 lambda d ln Z / d lambda = gamma - "
            "lambda |w|^2 with gamma = sum alpha e_i / (lambda + alpha e_i), so the evidence is "
            "stationary where lambda |w|^2 = gamma."
        ),
        left=2 * precision * sp.Derivative(log_evidence, precision),
        right=effective - precision * norm,
    )


def _fixed_point_noise() -> Identity:
    import sympy as sp

    noise_precision, train_size = sp.symbols("alpha N", positive=True)
    log_evidence, _, error, effective = _fixed_point()
    return Identity(
        name="mackay-fixed-point-noise",
        source="MacKay 1992, Bayesian Interpolation",
        statement=(
            "The same model: 2 alpha d ln Z / d alpha = N - gamma - alpha SSE, so the evidence is "
            "stationary where alpha SSE = N - gamma."
        ),
        left=2 * noise_precision * sp.Derivative(log_evidence, noise_precision),
        right=train_size - effective - noise_precision * error,
    )


def _effective_parameters() -> Identity:
    import sympy as sp

    inputs, _, noise_precision, precision = _linear_model(features=2)
    gram = inputs.T * inputs
    posterior = sp.ImmutableMatrix(precision * sp.eye(2) + noise_precision * gram)
    return Identity(
        name="effective-parameters",
        source="MacKay 1992, Bayesian Interpolation",
        statement=(
            "P = 2, A = lambda I + alpha X'X: the number of well-determined parameters, "
            "gamma = trace(alpha X'X A^-1), is P - lambda trace(A^-1)."
        ),
        left=sp.Trace(sp.ImmutableMatrix(noise_precision * gram * posterior.inv())),
        right=2 - precision * sp.Trace(sp.ImmutableMatrix(posterior.inv())),
    )


def _logistic_hessian() -> Identity:
    import sympy as sp

    z, label = sp.symbols("z y", real=True)
    probability = 1 / (1 + sp.exp(-z))
    cost = -label * sp.log(probability) - (1 - label) * sp.log(1 - probability)
    return Identity(
        name="logistic-hessian",
        source="standard result (derived)",
        statement=(
            "Binary cross-entropy of logit z and label y in {0, 1}: its second derivative is "
            "p (1 - p), whatever the label."
        ),
        left=sp.Derivative(cost, (z, 2)),
        right=probability * (1 - probability),
    )


def _softmax_hessian() -> Identity:
    import sympy as sp

    logits = sp.symbols("z_1 z_2 z_3", real=True)
    total = sp.Add(*(sp.exp(z) for z in logits))
    probabilities = sp.Matrix([sp.exp(z) / total for z in logits])
    cost = sp.log(total) - logits[0]
    return Identity(
        name="softmax-hessian",
        source="standard result (derived)",
        statement=(
            "Cross-entropy of K = 3 logits, label 1: its Hessian in the logits is diag(p) - p p'."
        ),
        left=sp.ImmutableMatrix(3, 3, lambda i, j: sp.Derivative(cost, logits[i], logits[j])),
        right=sp.ImmutableMatrix(sp.diag(*probabilities) - probabilities * probabilities.T),
    )


# In the order of the papers.
DERIVATIONS = (
    _laplace_one_parameter,
    _laplace_two_parameters,
    _rotated_eigenvalues,
    _determinant_as_eigenvalues,
    _regularized_hessian,
    _occam_sum,
    _occam_factor_as_widths,
    _null_model,
    _log_evidence_ratio,
    _strong_prior_map,
    _strong_prior_ratio,
    _strong_prior_rate,
    _linear_reparametrization,
    _rescaled_spectrum,
    _rescaled_sharpness,
    _relu_function,
    _relu_cost,
    _relu_occam,
    _relu_sharpness,
    _exact_evidence_invariant,
    _laplace_not_invariant,
    _linear_evidence_by_integration,
    _linear_evidence_by_laplace,
    _effective_parameters,
    _fixed_point_prior,
    _fixed_point_noise,
    _logistic_hessian,
    _softmax_hessian,
)
