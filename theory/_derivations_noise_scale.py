"""The algebra of :mod:`theory.noise_scale`: Smith & Le (2018), section 5, and its neighbors."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from theory._identity import Identity

if TYPE_CHECKING:
    import sympy as sp


def _sizes() -> tuple[sp.Symbol, sp.Symbol]:
    import sympy as sp

    train_size, batch_size = sp.symbols("N B", positive=True)
    return train_size, batch_size


def _pairs(examples: sp.Expr, same: sp.Expr, different: sp.Expr) -> sp.Expr:
    """Sum of d_i d_j over all pairs, weighted by the pair's expected count in two batches.

    Deviations d_i from the mean sum to zero and their squares to (N - 1) F, so that those of
    different examples have products that sum to minus that.
    """
    import sympy as sp

    covariance = sp.Symbol("F", positive=True)
    return (examples - 1) * covariance * (same - different)


def _without_replacement() -> Identity:
    import sympy as sp

    N, B = _sizes()
    F = sp.Symbol("F", positive=True)
    both = B * (B - 1) / (N * (N - 1))
    return Identity(
        name="noise-without-replacement",
        source="Smith & Le 2018, before Eq. 12",
        statement=(
            "A batch without replacement holds an example with probability B / N and two with "
            "B (B - 1) / (N (N - 1)): N / B times its sum has the variance N (N / B - 1) F about "
            "the full sum, exactly, if F has the denominator N - 1."
        ),
        left=(N / B) ** 2 * _pairs(N, B / N, both),
        right=N * (N / B - 1) * F,
    )


def _with_replacement() -> Identity:
    import sympy as sp

    N, B = _sizes()
    F = sp.Symbol("F", positive=True)
    same = B / N * (1 - 1 / N) + (B / N) ** 2
    return Identity(
        name="noise-with-replacement",
        source="Smith & Le 2018, before Eq. 12 (derived)",
        statement=(
            "With replacement the counts of examples in a batch are multinomial: N / B times the "
            "batch's sum has the variance N (N - 1) F / B, which does not vanish at B = N."
        ),
        left=(N / B) ** 2 * _pairs(N, same, B * (B - 1) / N**2),
        right=N * (N - 1) * F / B,
    )


def _shuffle_lag() -> Identity:
    import sympy as sp

    free = sp.symbols("d_1 d_2 d_3", real=True)
    d = (*free, -sp.Add(*free))
    splits = [(pair, set(range(4)) - set(pair)) for pair in itertools.combinations(range(4), 2)]
    products = [sp.Mul(*(sp.Add(*(d[i] for i in half)) / 2 for half in split)) for split in splits]
    F = sp.Add(*(x**2 for x in d)) / 3
    return Identity(
        name="shuffle-lag-covariance",
        source="Kuhn & Rosenow 2023 (derived)",
        statement=(
            "N = 4 deviations d from the mean, all ways to shuffle them into two batches of "
            "B = 2: the batch means have the covariance -F / N."
        ),
        left=sp.Add(*products) / len(products),
        right=-F / 4,
    )


def _epoch_noise() -> Identity:
    import sympy as sp

    B, F = sp.symbols("B F", positive=True)
    K = sp.Symbol("K", integer=True, positive=True)
    N = K * B
    return Identity(
        name="epoch-noise-sums-to-zero",
        source="Kuhn & Rosenow 2023 (derived)",
        statement=(
            "Those variances and covariances over the K = N / B batches of an epoch: their sum is "
            "the full gradient, without noise."
        ),
        left=K * F * (1 / B - 1 / N) + K * (K - 1) * (-F / N),
        right=sp.Integer(0),
    )


def _matching() -> Identity:
    import sympy as sp

    N, B = _sizes()
    t = sp.Symbol("t", real=True)
    rate, F = sp.symbols("epsilon F", positive=True)
    noise_scale = rate * (N / B - 1)
    return Identity(
        name="noise-scale",
        source="Smith & Le 2018, Eq. 13",
        statement=(
            "White noise of strength g F, g = epsilon (N / B - 1), over one step's time "
            "epsilon / N has the variance of that step's noise, (epsilon / N)^2 N (N / B - 1) F."
        ),
        left=sp.Integral(noise_scale * F, (t, 0, rate / N)),
        right=(rate / N) ** 2 * N * (N / B - 1) * F,
    )


def _momentum_matching() -> Identity:
    import sympy as sp

    N, B = _sizes()
    t = sp.Symbol("t", real=True)
    step, friction, F = sp.symbols("Delta k F", positive=True)
    rate, momentum = N * step**2, 1 - friction * step
    noise_scale = rate / (1 - momentum) * (N / B - 1)
    return Identity(
        name="noise-scale-with-momentum",
        source="Smith & Le 2018, App. D (reconstructed)",
        statement=(
            "w'' = -k w' - C' + noise of strength g k F, in steps Delta: heavy ball with "
            "m = 1 - k Delta and epsilon / N = Delta^2. Its noise per step, Delta times the "
            "integrated noise, has the minibatch variance if g = epsilon (N / B - 1) / (1 - m)."
        ),
        left=step**2 * sp.Integral(noise_scale * friction * F, (t, 0, step)),
        right=(rate / N) ** 2 * N * (N / B - 1) * F,
    )


def _temperature() -> Identity:
    import sympy as sp

    N, B = _sizes()
    rate, momentum, f, loss = sp.symbols("epsilon m f L", positive=True)
    temperature = rate / (1 - momentum) * (N / B - 1) * f / 2
    mean_temperature = rate * f / (2 * (1 - momentum)) * (1 / B - 1 / N)
    return Identity(
        name="temperature-of-the-mean-loss",
        source="Smith & Le 2018, App. A (derived)",
        statement=(
            "F = f I: the law exp(-N L / T) with T = g f / 2 is exp(-L / T_L) with "
            "T_L = epsilon f (1 / B - 1 / N) / (2 (1 - m))."
        ),
        left=-N * loss / temperature,
        right=-loss / mean_temperature,
    )


def _sgd_covariance() -> Identity:
    import sympy as sp

    rate, h1, h2 = sp.symbols("epsilon h_1 h_2", positive=True)
    h = (h1, h2)
    C = sp.ImmutableMatrix(2, 2, lambda i, j: sp.Symbol(f"c_{min(i, j)}{max(i, j)}", real=True))
    step = sp.eye(2) - rate * sp.diag(*h)
    S = sp.Matrix(2, 2, lambda i, j: rate * C[i, j] / (h[i] + h[j] - rate * h[i] * h[j]))
    return Identity(
        name="sgd-stationary-covariance",
        source="Liu, Ziyin & Ueda 2021 (derived)",
        statement=(
            "P = 2, in the Hessian's eigenbasis, any C: one step of SGD leaves "
            "S_ij = epsilon C_ij / (h_i + h_j - epsilon h_i h_j) as it is."
        ),
        left=sp.ImmutableMatrix(step * S * step.T + rate**2 * C),
        right=sp.ImmutableMatrix(S),
    )


def _small_rate() -> Identity:
    import sympy as sp

    rate, h, c, m = sp.symbols("epsilon h c m", positive=True)
    variance = rate * c * (1 + m) / (h * (1 - m) * (2 * (1 + m) - rate * h))
    return Identity(
        name="small-rate-variance",
        source="Smith & Le 2018, App. D (derived)",
        statement=(
            "As epsilon -> 0 the stationary variance of heavy ball over epsilon tends to "
            "c / (2 h (1 - m)): the noise scale's factor 1 / (1 - m)."
        ),
        left=sp.Limit(variance / rate, rate, 0, "+"),
        right=c / (2 * h * (1 - m)),
    )


def _heavy_ball() -> Identity:
    import sympy as sp

    rate, h, c, m = sp.symbols("epsilon h c m", positive=True)
    velocity = 2 * c / ((1 - m) * (2 * (1 + m) - rate * h))
    position = rate * (1 + m) * velocity / (2 * h)
    S = sp.Matrix([[position, -rate * velocity / 2], [-rate * velocity / 2, velocity]])
    step = sp.Matrix([[1 - rate * h, -rate * m], [h, m]])
    kick = sp.Matrix([-rate, 1])
    return Identity(
        name="heavy-ball-stationary-covariance",
        source="Liu, Ziyin & Ueda 2021 (derived)",
        statement=(
            "v <- m v + g, w <- w - epsilon v leaves as they are the variance of the velocity, "
            "2 c / ((1 - m) (2 (1 + m) - epsilon h)), epsilon (1 + m) / (2 h) times that of the "
            "position, and -epsilon / 2 times that between them."
        ),
        left=sp.ImmutableMatrix(step * S * step.T + c * kick * kick.T),
        right=sp.ImmutableMatrix(S),
    )


def _heavy_ball_stability() -> Identity:
    import sympy as sp

    m = sp.Symbol("m", positive=True)
    x = sp.Symbol("x", real=True)
    product = 2 * (1 + m)
    return Identity(
        name="heavy-ball-stability",
        source="Polyak 1964 (derived)",
        statement=(
            "At epsilon h = 2 (1 + m) the step of heavy ball has the eigenvalues -1 and -m: the "
            "limit of stability."
        ),
        left=sp.Determinant(sp.ImmutableMatrix([[x - 1 + product, m], [-product, x - m]])),
        right=(x + 1) * (x + m),
    )


def _shuffled_variance() -> Identity:
    import sympy as sp

    rate, h, F, B = sp.symbols("epsilon h F B", positive=True)
    K = 3
    shrink = 1 - rate * h
    squares = sp.Add(*(shrink ** (2 * k) for k in range(K)))
    plain = sp.Add(*(shrink**k for k in range(K)))
    noise = rate**2 * F * (squares / B - plain**2 / (K * B))
    return Identity(
        name="shuffled-flat-directions",
        source="Kuhn & Rosenow 2023 (derived)",
        statement=(
            "K = 3 batches an epoch: the stationary variance at an epoch's end falls in flat "
            "directions as epsilon^3 h F (K^2 - 1) / (24 B), while that of independent batches "
            "grows as 1 / h."
        ),
        left=sp.Limit(noise / (1 - shrink ** (2 * K)) / h, h, 0, "+"),
        right=rate**3 * F * (K**2 - 1) / (24 * B),
    )


def _fourth_moments() -> Identity:
    import sympy as sp

    p, q = sp.symbols("p q", real=True)
    u, v = (sp.Matrix(sp.symbols(f"{x}_1 {x}_2", real=True)) for x in "uv")
    a11, a12, a22 = sp.symbols("a_11 a_12 a_22", real=True)
    A = sp.Matrix([[a11, a12], [a12, a22]])
    probe = p * u + q * v
    generating = sp.exp((probe.T * A * probe)[0] / 2)
    M = v * v.T
    return Identity(
        name="gaussian-fourth-moments",
        source="Isserlis 1918 (derived)",
        statement=(
            "x ~ N(0, A), D = 2, any u and v, from the moment generating function: the mean of "
            "(u'x)^2 (v'x)^2 is u' (2 A M A + tr(A M) A) u with M = v v', which is the mean of "
            "x x' M x x'."
        ),
        left=sp.Subs(sp.Derivative(generating, (p, 2), (q, 2)), (p, q), (0, 0)),
        right=(u.T * (2 * A * M * A + sp.trace(A * M) * A) * u)[0],
    )


def _linear_regression() -> Identity:
    import sympy as sp

    x = sp.Symbol("x", real=True)
    rate, a, noise, B = sp.symbols("epsilon a s B", positive=True)
    density = sp.exp(-(x**2) / (2 * a)) / sp.sqrt(2 * sp.pi * a)
    fourth = sp.Integral(x**4 * density, (x, -sp.oo, sp.oo))
    variance = rate * noise**2 / B / (2 - rate * a * (1 + 2 / B))
    shrink = 1 - 2 * rate * a + rate**2 * (fourth / B + (1 - 1 / B) * a**2)
    return Identity(
        name="linear-regression-variance",
        source="compare Ziyin et al. 2022 (derived)",
        statement=(
            "One Gaussian feature of variance a, label noise s, fresh batches: the step with mean "
            "squared batch Hessian E[x^4] / B + (1 - 1 / B) a^2 leaves the variance "
            "(epsilon s^2 / B) / (2 - epsilon a (1 + 2 / B)) as it is."
        ),
        left=shrink * variance + rate**2 * a * noise**2 / B,
        right=variance,
    )


def _linear_stability() -> Identity:
    import sympy as sp

    rate = sp.Symbol("epsilon", positive=True)
    h = sp.symbols("h_1 h_2 h_3", positive=True)
    batches = ((h[0], h[1]), (h[0], h[2]), (h[1], h[2]))
    mean, mean_square = sp.Add(*h) / 3, sp.Add(*(x**2 for x in h)) / 3
    N, B = 3, 2
    spread = sp.Rational(N - B, B * (N - 1)) * (mean_square - mean**2)
    return Identity(
        name="linear-stability",
        source="Wu, Ma & E 2018 (from memory; derived)",
        statement=(
            "P = 1, all batches of B = 2 among N = 3: the mean squared factor of one step is "
            "(1 - epsilon h)^2 + epsilon^2 (N - B) / (B (N - 1)) (mean h_i^2 - h^2)."
        ),
        left=sp.Add(*((1 - rate * sp.Add(*batch) / B) ** 2 for batch in batches)) / 3,
        right=(1 - rate * mean) ** 2 + rate**2 * spread,
    )


def _modified_drift() -> Identity:
    import sympy as sp

    w = sp.symbols("w_1 w_2", real=True)
    a, b, c = sp.symbols("a b c", real=True)
    rate = sp.Symbol("epsilon", positive=True)
    loss = a * w[0] ** 2 / 2 + b * w[0] * w[1] ** 2 + c * w[1] ** 4
    gradient = sp.Matrix([sp.diff(loss, x) for x in w])
    modified = loss + rate / 4 * (gradient.T * gradient)[0]
    drift = -(sp.eye(2) + rate / 2 * sp.hessian(loss, w)) * gradient
    return Identity(
        name="modified-drift",
        source="Li, Tai & E 2019 (derived)",
        statement=(
            "A quartic loss of two parameters: minus the gradient of L + epsilon |grad L|^2 / 4 "
            "is -(I + epsilon H / 2) grad L."
        ),
        left=sp.ImmutableMatrix([-sp.Derivative(modified, x) for x in w]),
        right=sp.ImmutableMatrix(drift),
    )


def _modified_error(order: int) -> Identity:
    import sympy as sp

    rate, h = sp.symbols("epsilon h", positive=True)
    exponent = -rate * h * (1 + (rate * h / 2 if order == 2 else 0))
    right = h**2 / 2 if order == 1 else h**3 / 3
    return Identity(
        name=f"modified-equation-order-{order}",
        source="Li, Tai & E 2019 (derived)",
        statement=(
            f"Loss h w^2 / 2: over one step's time epsilon the order-{order} equation's mean "
            f"shrinks by SGD's factor 1 - epsilon h up to O(epsilon^{order + 1}), which over "
            f"1 / epsilon steps is order {order}."
        ),
        left=sp.Limit((sp.exp(exponent) - (1 - rate * h)) / rate ** (order + 1), rate, 0, "+"),
        right=right,
    )


def _modified_first() -> Identity:
    return _modified_error(1)


def _modified_second() -> Identity:
    return _modified_error(2)


def _progress() -> tuple[sp.Expr, sp.Symbol, sp.Expr, sp.Expr]:
    """Return one step's expected decrease of the loss, its rate, the best rate, best decrease."""
    import sympy as sp

    rate, B = sp.symbols("epsilon B", positive=True)
    # |G|^2, G'HG and tr(H Sigma)
    slope, curvature, noise = sp.symbols("G_2 G_H T_H", positive=True)
    decrease = rate * slope - rate**2 * (curvature + noise / B) / 2
    shrink = 1 + noise / curvature / B
    return decrease, rate, slope / curvature / shrink, slope**2 / (2 * curvature) / shrink


def _best_rate() -> Identity:
    import sympy as sp

    decrease, rate, best_rate, _ = _progress()
    return Identity(
        name="best-rate-at-batch-size",
        source="McCandlish et al. 2018, Eqs. 2.6-2.7 (numbers from memory; derived)",
        statement=(
            "The expected decrease epsilon |G|^2 - epsilon^2 (G'HG + tr(H Sigma) / B) / 2 is "
            "stationary at epsilon_max / (1 + B_noise / B), epsilon_max = |G|^2 / G'HG and "
            "B_noise = tr(H Sigma) / G'HG."
        ),
        left=sp.Subs(sp.Derivative(decrease, rate), rate, best_rate),
        right=sp.Integer(0),
    )


def _best_decrease() -> Identity:
    decrease, rate, best_rate, best = _progress()
    return Identity(
        name="best-decrease-at-batch-size",
        source="McCandlish et al. 2018, Eq. 2.7 (number from memory; derived)",
        statement=(
            "At that rate the decrease is Delta L_max / (1 + B_noise / B), "
            "Delta L_max = |G|^4 / (2 G'HG)."
        ),
        left=decrease.subs(rate, best_rate),
        right=best,
    )


def _trade_off() -> Identity:
    import sympy as sp

    B, inverse, fewest, noise = sp.symbols("B b S_min B_noise", positive=True)
    steps = fewest * (1 + noise / B)
    examples = B * steps
    least_steps = sp.Limit(sp.expand(steps).subs(B, 1 / inverse), inverse, 0, "+")
    least_examples = sp.Limit(sp.expand(examples), B, 0, "+")
    return Identity(
        name="steps-examples-hyperbola",
        source="McCandlish et al. 2018, Eq. 2.11 (number from memory; derived)",
        statement=(
            "Steps S proportional to 1 + B_noise / B and examples E = B S, with their least "
            "values at large and at small batches: (S / S_min - 1) (E / E_min - 1) = 1."
        ),
        left=(steps / least_steps - 1) * (examples / least_examples - 1),
        right=sp.Integer(1),
    )


def _two_batches() -> tuple[sp.Expr, ...]:
    """Batch sizes, |G|^2 and tr(Sigma), and the expected squared gradient at each batch size."""
    import sympy as sp

    small, big, signal, noise = sp.symbols("b B G_2 T", positive=True)
    return small, big, signal, noise, signal + noise / small, signal + noise / big


def _gradient_estimator() -> Identity:
    small, big, signal, _, at_small, at_big = _two_batches()
    return Identity(
        name="two-batch-squared-gradient",
        source="McCandlish et al. 2018, App. A (from memory; derived)",
        statement=(
            "A batch mean has E|G_B|^2 = |G|^2 + tr(Sigma) / B: from two batch sizes, "
            "(B |G_B|^2 - b |G_b|^2) / (B - b) is an unbiased estimate of |G|^2."
        ),
        left=(big * at_big - small * at_small) / (big - small),
        right=signal,
    )


def _noise_estimator() -> Identity:
    small, big, _, noise, at_small, at_big = _two_batches()
    return Identity(
        name="two-batch-noise",
        source="McCandlish et al. 2018, App. A (from memory; derived)",
        statement=(
            "Likewise (|G_b|^2 - |G_B|^2) / (1 / b - 1 / B) is an unbiased estimate of tr(Sigma)."
        ),
        left=(at_small - at_big) / (1 / small - 1 / big),
        right=noise,
    )


def _svag() -> Identity:
    import sympy as sp

    factor = sp.Symbol("l", positive=True)
    root = sp.sqrt(2 * factor - 1)
    first, second = (1 + root) / 2, (1 - root) / 2
    return Identity(
        name="svag-coefficients",
        source="Li, Malladi & Arora 2021 (from memory; derived)",
        statement=(
            "The combination of two gradients with coefficients (1 +- sqrt(2 l - 1)) / 2 has the "
            "mean of one and l times its variance, so that l steps at the rate epsilon / l have "
            "the drift epsilon and the variance epsilon^2 of one step at epsilon."
        ),
        left=sp.ImmutableMatrix(
            [first + second, factor * (first**2 + second**2) * (1 / factor) ** 2]
        ),
        right=sp.ImmutableMatrix([1, 1]),
    )


def _sampling_problem() -> tuple[sp.Symbol, sp.Expr, sp.Expr, sp.Matrix, sp.Matrix]:
    """Return the rate, N, B, the Hessian A (diagonal) and any example covariance C, P = 2."""
    import sympy as sp

    rate, N, B, a1, a2, f11, f22 = sp.symbols("epsilon N B a_1 a_2 f_11 f_22", positive=True)
    factor = sp.Matrix([[f11, 0], [sp.Symbol("f_21", real=True), f22]])
    return rate, N, B, sp.diag(a1, a2), factor * factor.T


def _sampling_rate() -> Identity:
    import sympy as sp

    rate, N, B, A, C = _sampling_problem()
    S = sp.Matrix(2, 2, lambda i, j: rate / B * C[i, j] / (A[i, i] + A[j, j]))
    misfit = N * sp.trace(A * S)
    log_volume = sp.log(S.det()) + sp.log((N * A).det())
    divergence = (misfit - log_volume - 2) / 2
    best = 4 * B / (N * sp.trace(C))
    return Identity(
        name="sampling-learning-rate",
        source="Mandt, Hoffman & Blei 2017 (derived)",
        statement=(
            "P = 2, in the Hessian's eigenbasis, any C: the divergence of N(0, S), "
            "S_ij = (epsilon / B) C_ij / (a_i + a_j), from the posterior N(0, (N A)^-1) is "
            "stationary at epsilon = 2 B P / (N tr C)."
        ),
        left=sp.Subs(sp.Derivative(divergence, rate), rate, best),
        right=sp.Integer(0),
    )


def _sampling_preconditioner() -> Identity:
    import sympy as sp

    rate, N, B, A, C = _sampling_problem()
    G = 2 * B / (rate * N) * C.inv()
    posterior = (N * A).inv()
    return Identity(
        name="sampling-preconditioner",
        source="Mandt, Hoffman & Blei 2017 (derived)",
        statement=(
            "P = 2, in the Hessian's eigenbasis, any C: with the preconditioner "
            "G = 2 B C^-1 / (epsilon N) the posterior covariance (N A)^-1 solves "
            "G A S + S A G = (epsilon / B) G C G."
        ),
        left=sp.ImmutableMatrix(G * A * posterior + posterior * A * G),
        right=sp.ImmutableMatrix(rate / B * G * C * G),
    )


def _boltzmann() -> Identity:
    import sympy as sp

    w = sp.Symbol("w", real=True)
    a, b = sp.symbols("a b", real=True)
    T = sp.Symbol("T", positive=True)
    cost = w**4 / 4 - a * w**2 / 2 + b * w
    density = sp.exp(-cost / T)
    return Identity(
        name="boltzmann-is-stationary",
        source="Smith & Le 2018, App. A",
        statement=(
            "A tilted double well C: exp(-C / T) solves the stationary Fokker-Planck equation of "
            "dw = -C' dt + sqrt(2 T) dW."
        ),
        left=T * sp.Derivative(density, (w, 2))
        + sp.Derivative(sp.expand(sp.diff(cost, w)) * density, w),
        right=sp.Integer(0),
    )


def _gaussian(cost: sp.Expr, curvature: sp.Expr, temperature: sp.Expr) -> sp.Expr:
    import sympy as sp

    v = sp.Symbol("v", real=True)
    weight = sp.exp(-(cost + curvature * v**2 / 2) / temperature)
    return sp.Integral(weight, (v, -sp.oo, sp.oo))


def _even_odds() -> Identity:
    import sympy as sp

    cost_a, cost_b = sp.symbols("C_a C_b", real=True)
    h_a, h_b = sp.symbols("h_a h_b", positive=True)
    T = sp.Symbol("T", positive=True)
    odds = _gaussian(cost_a, h_a, T) / _gaussian(cost_b, h_b, T)
    return Identity(
        name="basin-log-odds",
        source="Smith & Le 2018, App. A; Jastrzebski et al. 2017 (derived)",
        statement=(
            "Two basins of one parameter: the log odds are (C_b - C_a) / T + ln(h_b / h_a) / 2."
        ),
        left=sp.log(odds),
        right=(cost_b - cost_a) / T + (sp.log(h_b) - sp.log(h_a)) / 2,
    )


def _kramers() -> Identity:
    import sympy as sp

    h_a, h_b, T, barrier = sp.symbols("h_a h_b T Delta", positive=True)
    return Identity(
        name="kramers-time",
        source="Kramers 1940 (derived)",
        statement=(
            "Mean passage time over a barrier Delta of curvature -h_b from a minimum of curvature "
            "h_a, both integrals by Laplace: 2 pi exp(Delta / T) / sqrt(h_a h_b)."
        ),
        left=sp.exp(barrier / T)
        * _gaussian(sp.Integer(0), h_b, T)
        * _gaussian(sp.Integer(0), h_a, T)
        / T,
        right=2 * sp.pi * sp.exp(barrier / T) / sp.sqrt(h_a * h_b),
    )


# In the order of Smith & Le (2018), then of the papers that followed.
DERIVATIONS = (
    _without_replacement,
    _with_replacement,
    _matching,
    _momentum_matching,
    _boltzmann,
    _temperature,
    _even_odds,
    _kramers,
    _sampling_rate,
    _sampling_preconditioner,
    _modified_drift,
    _modified_first,
    _modified_second,
    _best_rate,
    _best_decrease,
    _trade_off,
    _gradient_estimator,
    _noise_estimator,
    _linear_stability,
    _heavy_ball_stability,
    _sgd_covariance,
    _heavy_ball,
    _small_rate,
    _fourth_moments,
    _linear_regression,
    _svag,
    _shuffle_lag,
    _epoch_noise,
    _shuffled_variance,
)
