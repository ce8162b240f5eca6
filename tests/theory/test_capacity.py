"""Capacity: closed forms against enumeration, refits, exact integers and 40 digits."""

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize_scalar
from scipy.special import expit
from sklearn.linear_model import Ridge
from stat_asserts import assert_mean

from theory.capacity import (
    Architecture,
    Layer,
    convolution_parameters,
    cover_count,
    dense_parameters,
    generalization_bound,
    kernel_rademacher,
    kernel_rademacher_bounds,
    kernel_supremum,
    linear_rademacher,
    linear_rademacher_bounds,
    linear_supremum,
    log_cover_count,
    monte_carlo_rademacher,
    regularized_stability,
    ridge_replacement,
    ridge_stability,
    separable_probability,
    sgd_stability,
    sgd_stability_nonconvex,
    stability_generalization_bound,
    vc_dimension_bounds,
    vc_generalization_bound,
    zhang_networks,
)

seeds = st.integers(0, 2**32 - 1)


def sample(n, d, seed=0):
    return np.random.default_rng(seed).normal(size=(n, d))


def all_signs(n):
    return np.array(list(itertools.product([-1.0, 1.0], repeat=n)))


# ---------------------------------------------------------------------------- Rademacher complexity


@pytest.mark.parametrize("norm", ["l2", "l1"])
def test_no_function_of_the_ball_correlates_better_than_the_supremum(norm):
    X, signs, radius = sample(7, 3), sample(5, 7, 1), 2.5
    suprema = linear_supremum(X, signs, radius=radius, norm=norm)
    w = np.random.default_rng(2).normal(size=(20_000, 3))
    w *= radius / np.linalg.norm(w, ord=2 if norm == "l2" else 1, axis=1, keepdims=True)
    corners = radius * np.vstack([np.eye(3), -np.eye(3)])
    best = np.max(np.vstack([w, corners]) @ X.T @ signs.T / 7, axis=0)
    assert np.all(best <= suprema * (1 + 1e-12))
    assert np.all(best >= 0.999 * suprema)


def test_the_kernel_ball_of_inner_products_is_the_linear_one():
    X, signs = sample(9, 4), all_signs(9)
    linear = linear_supremum(X, signs, radius=3.0)
    np.testing.assert_allclose(kernel_supremum(X @ X.T, signs, radius=3.0), linear, rtol=1e-12)
    exact = linear_rademacher(X, radius=3.0)
    assert kernel_rademacher(X @ X.T, radius=3.0) == pytest.approx(exact, rel=1e-12)
    assert kernel_rademacher_bounds(X @ X.T, radius=3.0) == pytest.approx(
        linear_rademacher_bounds(X, radius=3.0), rel=1e-12
    )


def test_an_infinite_dimensional_ball_by_its_features():
    """The kernel exp(-(x - y)²/2) has the features exp(-x²/2) xᵏ/√k!."""
    x = np.linspace(-1, 1, 6)
    K = np.exp(-0.5 * (x[:, None] - x) ** 2)
    features = np.column_stack(
        [np.exp(-0.5 * x**2) * x**k / math.sqrt(math.factorial(k)) for k in range(30)]
    )
    assert kernel_rademacher(K) == pytest.approx(linear_rademacher(features), rel=1e-9)


@pytest.mark.parametrize("norm", ["l2", "l1"])
@pytest.mark.parametrize(("n", "d"), [(1, 1), (1, 3), (2, 1), (5, 2), (8, 20), (10, 3)])
def test_exact_complexity_is_the_average_over_all_signs(n, d, norm):
    X = sample(n, d)
    sums = [signs @ X for signs in all_signs(n)]
    order = 2 if norm == "l2" else np.inf
    naive = 1.5 / n * np.mean([np.linalg.norm(total, ord=order) for total in sums])
    assert linear_rademacher(X, radius=1.5, norm=norm) == pytest.approx(naive, rel=1e-12)


def test_exact_complexity_over_several_blocks_of_signs():
    """One feature of ones: the mean distance of a walk, 2 m C(2m, m) / 4ᵐ after 2m steps."""
    m = 9
    walk = 2 * m * math.comb(2 * m, m) / 4**m
    assert linear_rademacher(np.ones((2 * m, 1))) == pytest.approx(walk / (2 * m), rel=1e-13)


@given(
    n=st.integers(1, 9),
    d=st.integers(1, 5),
    norm=st.sampled_from(["l2", "l1"]),
    sparse=st.booleans(),
    seed=seeds,
)
def test_bounds_enclose_the_exact_complexity(n, d, norm, sparse, seed):
    X = sample(n, d, seed)
    if sparse:
        X = np.round(X)
    bounds = linear_rademacher_bounds(X, radius=0.7, norm=norm)
    exact = linear_rademacher(X, radius=0.7, norm=norm)
    assert bounds.lower * (1 - 1e-12) <= exact <= bounds.upper * (1 + 1e-12)


def test_bounds_of_an_l1_ball_by_hand():
    bounds = linear_rademacher_bounds([[3.0, 1.0], [4.0, 1.0]], radius=2.0, norm="l1")
    assert bounds == pytest.approx((5 / math.sqrt(2), 5 * math.sqrt(2 * math.log(4))))


def test_bounds_are_attained():
    equal = np.ones((2, 1))
    assert linear_rademacher_bounds(equal).lower == pytest.approx(linear_rademacher(equal))
    assert linear_rademacher_bounds(equal, norm="l1").lower == pytest.approx(
        linear_rademacher(equal, norm="l1")
    )
    orthogonal = np.diag([1.0, 2.0, 3.0])
    assert linear_rademacher_bounds(orthogonal).upper == pytest.approx(
        linear_rademacher(orthogonal)
    )
    # Massart's lemma is off by a factor that tends to 1 for many independent columns
    X = np.random.default_rng(0).choice([-1.0, 1.0], (18, 200))
    assert linear_rademacher(X, norm="l1") >= 0.7 * linear_rademacher_bounds(X, norm="l1").upper


def best_of_ball(X, signs):
    """The function of the unit ball that correlates best."""
    w = signs @ X
    return X @ w / np.linalg.norm(w)


def test_monte_carlo_of_the_best_learner_is_the_exact_complexity():
    X = sample(10, 1)
    signs = np.random.default_rng(5).choice([-1.0, 1.0], (1000, 10))
    samples = [np.mean(s * best_of_ball(X, s)) for s in signs]  # n = 1000
    assert_mean(samples, linear_rademacher(X))
    with pytest.raises(AssertionError):
        assert_mean(samples, linear_rademacher_bounds(X).upper)
    estimate = monte_carlo_rademacher(best_of_ball, X, draws=400, rng=3)
    assert abs(estimate.value - linear_rademacher(X)) < 5 * estimate.error
    assert estimate.error == pytest.approx(np.std(samples) / 20, rel=0.3)


def test_monte_carlo_by_hand():
    seen = []

    def learner(X, signs):
        seen.append(signs)
        return X[:, 0]

    X = sample(6, 2)
    estimate = monte_carlo_rademacher(learner, X, draws=5, rng=7)
    values = [float(signs @ X[:, 0]) / 6 for signs in seen]
    assert len(values) == 5
    assert np.all(np.abs(np.array(seen)) == 1)
    assert estimate.value == pytest.approx(np.mean(values), rel=1e-12)
    assert estimate.error == pytest.approx(np.std(values, ddof=1) / math.sqrt(5), rel=1e-12)
    assert monte_carlo_rademacher(learner, X, draws=5, rng=7) == estimate
    assert monte_carlo_rademacher(learner, X, draws=5, rng=8) != estimate


def test_errors_of_rademacher_complexities():
    X = sample(3, 2)
    for function in (linear_rademacher, linear_rademacher_bounds):
        with pytest.raises(ValueError, match="X has NaN or infinite values"):
            function([[np.nan]])
        with pytest.raises(ValueError, match="X must have 2 dimensions"):
            function([1.0])
        with pytest.raises(ValueError, match="radius must be positive, got 0"):
            function(X, radius=0.0)
        with pytest.raises(ValueError, match="norm is 'l3'; it must be one of l2, l1"):
            function(X, norm="l3")
    for function in (kernel_rademacher, kernel_rademacher_bounds):
        with pytest.raises(ValueError, match="K must be positive semidefinite"):
            function([[1.0, 2.0], [2.0, 1.0]])
        with pytest.raises(ValueError, match="K must be square"):
            function([[1.0, 2.0]])
        with pytest.raises(ValueError, match="radius must be positive, got -1"):
            function(np.eye(2), radius=-1.0)
    with pytest.raises(ValueError, match="X has 21 examples: signs are enumerated for at most 20"):
        linear_rademacher(sample(21, 2))
    with pytest.raises(ValueError, match="K has 21 examples"):
        kernel_rademacher(np.eye(21))
    for supremum, data in ((linear_supremum, X), (kernel_supremum, np.eye(3))):
        with pytest.raises(ValueError, match=r"signs must have 3 entries in the last axis, .*2"):
            supremum(data, [1.0, -1.0])
        with pytest.raises(ValueError, match="signs must have 3 entries"):
            supremum(data, 1.0)
        with pytest.raises(ValueError, match="radius must be positive"):
            supremum(data, np.ones(3), radius=0.0)
    with pytest.raises(ValueError, match="norm is 'l0'"):
        linear_supremum(X, np.ones(3), norm="l0")
    with pytest.raises(ValueError, match="X is of size 1e"):
        linear_supremum(1e200 * np.ones((3, 1)), np.ones(3))
    with pytest.raises(ValueError, match="draws must be an integer of at least 2, got 1"):
        monte_carlo_rademacher(best_of_ball, X, draws=1)
    with pytest.raises(ValueError, match=r"the learner's predictions must be \(3,\), got \(2,\)"):
        monte_carlo_rademacher(lambda X, signs: signs[:2], X, draws=2)
    with pytest.raises(ValueError, match="the learner's predictions has NaN"):
        monte_carlo_rademacher(lambda X, signs: np.nan * signs, X, draws=2)
    with pytest.raises(ValueError, match="X is empty"):
        monte_carlo_rademacher(best_of_ball, np.empty((0, 2)), draws=2)


# ------------------------------------------------------------------------------------ Cover's count


def separable(signed):
    """Whether some w has <w, z> ≥ 1 for all rows z, by a linear program."""
    n, d = signed.shape
    program = linprog(np.zeros(d), A_ub=-signed, b_ub=-np.ones(n), bounds=(None, None))
    return program.status == 0


@pytest.mark.parametrize(("n", "d"), [(1, 1), (4, 1), (5, 2), (6, 3), (4, 4), (3, 5)])
def test_cover_counts_every_labeling(n, d):
    X = sample(n, d)
    assert sum(separable(X * signs[:, None]) for signs in all_signs(n)) == cover_count(n, d)


@given(n=st.integers(1, 300), d=st.integers(2, 320))
def test_covers_recursion(n, d):
    assert cover_count(n + 1, d) == cover_count(n, d) + cover_count(n, d - 1)
    if n <= d:
        assert cover_count(n, d) == 2**n


@given(n=st.integers(1, 1500), d=st.integers(1, 1600))
def test_log_count_and_probability_against_the_exact_count(n, d):
    count = cover_count(n, d)
    assert log_cover_count(n, d) == pytest.approx(math.log(count), rel=1e-12, abs=1e-12)
    share = mp.mpf(count) / mp.mpf(2) ** n
    assert separable_probability(n, d) == pytest.approx(float(share), rel=1e-10, abs=1e-300)


def test_counts_of_a_million_points():
    """The tail of the binomial law, by 40 digits of its largest terms."""
    n = 10**6
    with mp.workdps(40):
        for d in (1000, 499_000, 500_000, 501_000):
            N, m = n - 1, d - 1
            term = mp.binomial(N, min(m, N - m - 1))  # by symmetry the smaller tail
            k, total = min(m, N - m - 1), mp.mpf(0)
            while term > total * mp.mpf(10) ** -25 and k >= 0:
                total += term
                term *= mp.mpf(k) / (N - k + 1)
                k -= 1
            if m > N - m - 1:
                total = mp.mpf(2) ** N - total
            assert log_cover_count(n, d) == pytest.approx(float(mp.log(2 * total)), rel=1e-12)
            share = float(2 * total / mp.mpf(2) ** n)
            assert separable_probability(n, d) == pytest.approx(share, rel=1e-9, abs=1e-300)
    assert separable_probability(2 * 10**9, 10**9) == pytest.approx(0.5, rel=1e-6)
    assert log_cover_count(2 * 10**9, 10**9) == pytest.approx((2e9 - 1) * math.log(2), rel=1e-12)


@pytest.mark.parametrize("function", [cover_count, log_cover_count, separable_probability])
def test_errors_of_counts(function):
    with pytest.raises(ValueError, match="n must be an integer of at least 1, got 0"):
        function(0, 3)
    with pytest.raises(ValueError, match=r"d must be an integer of at least 1, got 2\.0"):
        function(3, 2.0)


# ------------------------------------------------------------------------------------- VC dimension


@given(
    layers=st.integers(2, 50),
    weights=st.integers(50, 10**10),
    units=st.one_of(st.none(), st.integers(1, 10**8)),
)
def test_upper_bound_solves_its_inequality(layers, weights, units):
    found = vc_dimension_bounds(weights, layers, n_units=units).upper
    U = weights if units is None else units

    def shattered(m):
        growth = layers * weights * mp.log(2 * mp.e * layers * U * m / weights, 2)
        return m <= layers + growth

    with mp.workdps(40):
        margin = mp.mpf(1) + mp.mpf(10) ** -9
        assert shattered(found / margin)
        assert not shattered((found + 1) * margin)


@given(layers=st.integers(2, 10**4), weights=st.integers(10**4, 10**12))
def test_bounds_are_in_order(layers, weights):
    bounds = vc_dimension_bounds(weights, layers)
    assert (weights - 1) // 2 <= bounds.lower <= bounds.upper
    assert bounds.upper >= weights


def test_lower_bound_changes_to_the_deep_construction():
    W = 10**9
    assert vc_dimension_bounds(W, 640).lower == (W - 1) // 2
    deep = vc_dimension_bounds(W, 1000).lower
    assert deep == pytest.approx(W * 1000 * math.log2(W / 1000) / 640, rel=1e-9)
    assert deep > (W - 1) // 2
    assert vc_dimension_bounds(640_640, 1001).lower == (640_640 - 1) // 2  # not W > 640 L
    assert vc_dimension_bounds(640_641, 1001).lower > 10 * 640_641


def test_a_network_of_2n_plus_1_weights_shatters_n_points():
    n = 4
    x, biases = np.arange(1.0, n + 1), np.arange(0.0, n)
    units = np.maximum(x[:, None] - biases, 0)
    for labels in all_signs(n):
        weights = np.linalg.solve(units, labels)
        assert np.array_equal(np.sign(units @ weights), labels)
    assert vc_dimension_bounds(2 * n + 1, 2).lower == n


@pytest.mark.parametrize(("m", "W"), [(10, 2), (30, 5), (100, 40)])
def test_warrens_lemma_holds_where_signs_can_be_counted(m, W):
    """Linear polynomials through 0: Cover's count against 2 (2 e m / W)^W."""
    assert cover_count(m, W) <= 2 * (2 * math.e * m / W) ** W


def test_errors_of_vc_dimensions():
    with pytest.raises(ValueError, match="n_weights must be an integer of at least 2, got 1"):
        vc_dimension_bounds(1, 2)
    with pytest.raises(ValueError, match="n_layers must be an integer of at least 2, got 1"):
        vc_dimension_bounds(10, 1)
    with pytest.raises(ValueError, match="n_units must be an integer of at least 1, got 0"):
        vc_dimension_bounds(10, 2, n_units=0)
    with pytest.raises(ValueError, match="n_weights must be at least n_layers, 11, got 10"):
        vc_dimension_bounds(10, 11)


# --------------------------------------------------------------------------------------- parameters

TABLE_1 = {
    "Inception": (1_649_402, 12),
    "AlexNet": (1_387_786, 5),
    "MLP 3x512": (1_735_178, 4),
    "MLP 1x512": (1_209_866, 2),
}


@pytest.mark.parametrize("name", TABLE_1)
def test_parameters_of_table_1(name):
    network = zhang_networks()[name]
    assert (network.n_parameters, network.n_layers) == TABLE_1[name]
    assert list(zhang_networks()) == list(TABLE_1)


@pytest.mark.parametrize("name", TABLE_1)
def test_parameters_and_units_of_real_modules(name):
    torch = pytest.importorskip("torch")
    network = zhang_networks()[name]
    layers = {
        "Inception": inception,
        "AlexNet": alexnet,
        "MLP 3x512": lambda torch: dense(torch, [2352, 512, 512, 512, 10]),
        "MLP 1x512": lambda torch: dense(torch, [2352, 512, 10]),
    }[name](torch)
    x = torch.zeros(1, 3, 28, 28)
    for layer, module in zip(network.layers, layers, strict=True):
        x, units = run_layer(torch, x, module)
        assert layer.n_parameters == count(module)
        assert layer.n_units == units
    assert network.n_units == max(layer.n_units for layer in network.layers)
    assert x.shape == (1, 10)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def run_layer(torch, x, module):
    """Output of a layer, with the pooling around it, and the number of its own units."""
    if isinstance(module, torch.nn.Linear):
        if x.ndim == 4:  # global mean before Inception's read-out, all positions elsewhere
            x = x.mean((2, 3)) if x.shape[1] == module.in_features else x.flatten(1)
        x = module(x)
        return x, x.numel()
    if isinstance(module, torch.nn.ModuleList):
        out = torch.cat([part(x) for part in module], 1)
        return out, out.numel()
    out = module(x)
    units = out.numel()
    if module.stride == (2, 2):
        out = torch.cat([out, torch.nn.functional.max_pool2d(x, 3, 2, 1)], 1)
    if module.kernel_size == (5, 5):
        out = torch.nn.functional.max_pool2d(out, 3, 2, 1)
    return out, units


def dense(torch, widths):
    return [torch.nn.Linear(a, b) for a, b in itertools.pairwise(widths)]


def alexnet(torch):
    convolutions = [torch.nn.Conv2d(a, 64, 5, padding=2) for a in (3, 64)]
    return [*convolutions, *dense(torch, [7 * 7 * 64, 384, 192, 10])]


def inception(torch):
    conv, parts = torch.nn.Conv2d, torch.nn.ModuleList

    def module(channels, thin, thick):
        return parts([conv(channels, thin, 1), conv(channels, thick, 3, padding=1)])

    return [
        conv(3, 96, 3, padding=1),
        module(96, 32, 32),
        module(64, 32, 48),
        conv(80, 80, 3, stride=2, padding=1),
        module(160, 112, 48),
        module(160, 96, 64),
        module(160, 80, 80),
        module(160, 48, 96),
        conv(144, 96, 3, stride=2, padding=1),
        module(240, 176, 160),
        module(336, 176, 160),
        torch.nn.Linear(336, 10),
    ]


def test_surplus_over_theorem_1():
    network = Architecture(5, (Layer("a", 30, 7), Layer("b", 15, 3)))
    assert (network.n_parameters, network.n_layers, network.n_units) == (45, 2, 7)
    assert network.memorization_surplus(20) == 1.0
    surpluses = [network.memorization_surplus(50_000) for network in zhang_networks().values()]
    assert min(surpluses) == pytest.approx(1_209_866 / 102_352)
    assert max(surpluses) == pytest.approx(1_735_178 / 102_352)


def test_every_network_of_table_1_has_a_vacuous_vc_bound():
    """Even what a network of so many weights surely shatters, 2n + 1 weights for n, is above n."""
    for network in zhang_networks().values():
        bounds = vc_dimension_bounds(
            network.n_parameters, network.n_layers, n_units=network.n_units
        )
        assert bounds.lower > 50_000
        assert vc_generalization_bound(0.0, bounds.lower, n=50_000).vacuous


def test_errors_of_parameter_counts():
    with pytest.raises(ValueError, match="widths must hold at least two numbers, got 1"):
        dense_parameters([3])
    with pytest.raises(ValueError, match="widths must be an integer of at least 1, got 0"):
        dense_parameters([3, 0])
    for name in ("in_channels", "out_channels", "kernel_size"):
        sizes = {"in_channels": 3, "out_channels": 4, "kernel_size": 5} | {name: 0}
        with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1, got 0"):
            convolution_parameters(**sizes)
    with pytest.raises(ValueError, match="n must be an integer of at least 1, got 0"):
        zhang_networks()["AlexNet"].memorization_surplus(0)


# ---------------------------------------------------------------------------- generalization bounds


def test_rademacher_bound_by_hand():
    found = generalization_bound(0.25, 0.125, n=450, delta=2 * math.exp(-1))
    assert found.gap == pytest.approx(0.25 + 3 / 30)
    assert found.value == pytest.approx(0.6)
    assert not found.vacuous


def test_rademacher_bound_is_vacuous_from_one_half_on():
    assert generalization_bound(0.0, 0.5, n=10**12).vacuous
    assert not generalization_bound(0.0, 0.49, n=10**12).vacuous


@given(n=st.integers(1, 400), dimension=st.integers(1, 500))
def test_vc_bound_holds_sauers_sum(n, dimension):
    delta = math.exp(-2)
    found = vc_generalization_bound(0.125, dimension, n=n, delta=delta)
    ways = sum(math.comb(n, k) for k in range(dimension + 1))
    growth = math.sqrt(2 * math.log(ways) / n)
    assert found.gap == pytest.approx(growth + math.sqrt(1 / n), rel=1e-10)
    assert found.value == pytest.approx(found.gap + 0.125, rel=1e-12)
    assert found.vacuous == (found.value >= 1)
    if dimension >= n:
        assert found.vacuous


def test_stability_bound_by_hand():
    found = stability_generalization_bound(1.0, 0.01, n=200, delta=math.exp(-4), max_loss=4.0)
    assert found.gap == pytest.approx(0.02 + (8 + 4) * 0.1)
    assert found.value == pytest.approx(2.22)
    assert not found.vacuous
    assert stability_generalization_bound(
        1.0, 0.02, n=200, delta=math.exp(-4), max_loss=2.2
    ).vacuous


@pytest.mark.parametrize(
    ("bound", "complexity", "name"),
    [
        (generalization_bound, 0.1, "complexity"),
        (vc_generalization_bound, 10, "vc_dimension"),
        (stability_generalization_bound, 0.1, "stability"),
    ],
)
def test_errors_of_generalization_bounds(bound, complexity, name):
    with pytest.raises(ValueError, match=r"empirical_risk must be in \[0, 1\], got 1\.5"):
        bound(1.5, complexity, n=10)
    with pytest.raises(ValueError, match=r"empirical_risk must be in \[0, 1\], got -1"):
        bound(-1.0, complexity, n=10)
    with pytest.raises(ValueError, match=f"{name} must .*, got -1"):
        bound(0.5, -1, n=10)
    with pytest.raises(ValueError, match="n must be an integer of at least 1, got 0"):
        bound(0.5, complexity, n=0)
    for delta in (0.0, 1.0):
        with pytest.raises(ValueError, match=rf"delta must be in \(0, 1\), got {delta:g}"):
            bound(0.5, complexity, n=10, delta=delta)


def test_errors_of_the_stability_bounds_scale():
    with pytest.raises(ValueError, match="max_loss must be positive, got 0"):
        stability_generalization_bound(0.0, 0.1, n=10, max_loss=0.0)
    with pytest.raises(ValueError, match=r"empirical_risk must be in \[0, 4\], got 5"):
        stability_generalization_bound(5.0, 0.1, n=10, max_loss=4.0)


# ---------------------------------------------------------------------------------- ridge stability


@pytest.mark.parametrize(("n", "d"), [(12, 4), (4, 12), (1, 1), (30, 30)])
def test_replacements_are_refits(n, d):
    rng = np.random.default_rng(n)
    X, y, rows = sample(n, d), rng.normal(size=n), rng.integers(0, n, 7)
    new_X, new_y = rng.normal(size=(7, d)), rng.normal(size=7)
    fit = ridge_replacement(X, y, rows=rows, new_X=new_X, new_y=new_y, regularization=0.1)

    def refit(X, y):
        return Ridge(alpha=0.1 * n, fit_intercept=False).fit(X, y).coef_

    np.testing.assert_allclose(fit.weights, refit(X, y), rtol=1e-9, atol=1e-12)
    for row, x, target, weights in zip(rows, new_X, new_y, fit.replaced_weights, strict=True):
        X_other, y_other = X.copy(), y.copy()
        X_other[row], y_other[row] = x, target
        np.testing.assert_allclose(weights, refit(X_other, y_other), rtol=1e-8, atol=1e-11)


@given(seed=seeds, n=st.integers(2, 30), d=st.integers(1, 8), log_ridge=st.floats(-6, 3))
def test_an_example_replaced_by_itself_changes_nothing(seed, n, d, log_ridge):
    X, y = sample(n, d, seed), sample(n, 1, seed + 1)[:, 0]
    rows = np.arange(n)
    fit = ridge_replacement(X, y, rows=rows, new_X=X, new_y=y, regularization=10.0**log_ridge)
    size = np.max(np.abs(fit.weights))
    assert np.max(np.abs(fit.replaced_weights - fit.weights)) <= 1e-7 * size


def test_errors_of_replacements():
    X, y = sample(3, 2), np.ones(3)
    good = {"rows": [0], "new_X": [[1.0, 2.0]], "new_y": [1.0], "regularization": 0.1}
    ridge_replacement(X, y, **good)
    for change, message in [
        ({"rows": [3]}, "rows must be from 0 to 2, got 3 to 3"),
        ({"rows": [-1]}, "rows must be from 0 to 2, got -1 to -1"),
        ({"rows": []}, "rows must be a sequence of integers, at least one"),
        ({"rows": [0.0]}, "rows must be a sequence of integers"),
        ({"rows": 0}, "rows must be a sequence of integers"),
        ({"new_X": [[1.0]]}, r"new_X must have shape \(1, 2\) and new_y \(1,\), got \(1, 1\)"),
        ({"new_y": [1.0, 2.0]}, r"and new_y \(1,\), got \(1, 2\) and \(2,\)"),
        ({"new_X": [1.0, 2.0]}, "new_X must have 2 dimensions"),
        ({"new_y": [np.inf]}, "new_y has NaN or infinite values"),
        ({"regularization": 0.0}, "regularization must be positive, got 0"),
    ]:
        with pytest.raises(ValueError, match=message):
            ridge_replacement(X, y, **good | change)
    with pytest.raises(ValueError, match="X has 3 rows but y has 2 entries"):
        ridge_replacement(X, y[:2], **good)


def test_regularized_stability_is_attained_by_linear_losses():
    """w = Σ yᵢ xᵢ / (2 λ n) minimizes the mean of -yᵢ <w, xᵢ> plus λ|w|²."""
    n, penalty, kappa = 5, 0.3, 2.0
    X = kappa * np.eye(n)
    w = X.sum(0) / (2 * penalty * n)
    without = X[1:].sum(0) / (2 * penalty * n)
    changes = np.abs(X @ (w - without))
    bound = regularized_stability(lipschitz=1.0, feature_norm=kappa, regularization=penalty, n=n)
    assert np.max(changes) == pytest.approx(bound.value, rel=1e-12)


@given(seed=seeds, n=st.integers(1, 12), d=st.integers(1, 4), log_ridge=st.floats(-3, 3))
def test_ridge_stability_bounds_every_removal(seed, n, d, log_ridge):
    rng = np.random.default_rng(seed)
    ridge = 10.0**log_ridge
    X, test = (rng.normal(size=(m, d)) for m in (n, 50))
    X, test = (Z / np.linalg.norm(Z, axis=1, keepdims=True) for Z in (X, test))
    y, y_test = rng.choice([-1.0, 1.0], n), rng.choice([-1.0, 1.0], 50)
    bound = ridge_stability(feature_norm=1.0, regularization=ridge, n=n)

    def loss(rows):
        gram = X[rows].T @ X[rows] + n * ridge * np.eye(d)
        return (test @ np.linalg.solve(gram, X[rows].T @ y[rows]) - y_test) ** 2

    for i in range(n):
        change = np.abs(loss(np.arange(n)) - loss(np.delete(np.arange(n), i)))
        assert np.max(change) <= bound.value * (1 + 1e-9)


def test_ridge_stability_is_attained_by_one_strongly_regularized_example():
    ridge, M, kappa = 1e8, 3.0, 0.5
    w = kappa * M / (kappa**2 + ridge)
    change = (kappa * w + M) ** 2 - M**2
    bound = ridge_stability(feature_norm=kappa, regularization=ridge, n=1, target_bound=M)
    assert change == pytest.approx(bound.value, rel=1e-3)


def test_stability_is_vacuous_where_it_exceeds_the_largest_loss():
    def at(ridge):
        return ridge_stability(feature_norm=1.0, regularization=ridge, n=10)

    assert at(0.199).vacuous  # 2 κ² ≥ λ n
    assert not at(0.201).vacuous
    kwargs = {"lipschitz": 1.0, "feature_norm": 1.0, "regularization": 0.5, "n": 10}
    assert regularized_stability(**kwargs, max_loss=0.1).vacuous
    assert not regularized_stability(**kwargs, max_loss=0.11).vacuous


# ------------------------------------------------------------------------------------ SGD stability


def coupled_sgd(gradient, data, other, rates, rng):
    """Weights after SGD on two data sets, with the same choice of examples."""
    w, v = np.zeros(data.shape[1]), np.zeros(data.shape[1])
    for rate in rates:
        i = rng.integers(len(data))
        w = w - rate * gradient(w, data[i])
        v = v - rate * gradient(v, other[i])
    return w, v


def test_linear_losses_attain_the_bound_on_sgd():
    """The loss -<w, x>, |x| = L: each visit to the example that was turned around adds 2 α L."""
    n, L = 4, 1.5
    rates = np.linspace(0.1, 0.5, 10)
    data = np.tile([L, 0.0], (n, 1))
    other = data.copy()
    other[0] = -data[0]
    rng = np.random.default_rng(0)
    changes = []
    for _ in range(500):  # n = 500
        w, v = coupled_sgd(lambda w, x: -x, data, other, rates, rng)
        changes.append(L * np.linalg.norm(w - v))
    bound = sgd_stability(lipschitz=L, smoothness=1.0, learning_rates=rates, n=n)
    assert_mean(changes, bound.value)
    with pytest.raises(AssertionError):
        assert_mean(changes, 0.8 * bound.value)


def test_logistic_losses_stay_within_the_bound():
    """Losses ln(1 + exp(-<w, x>)) with |x| ≤ 1 are 1-Lipschitz and 1/4-smooth."""
    n, rates = 5, np.full(60, 2.0)
    rng = np.random.default_rng(1)
    data = rng.normal(size=(n, 3))
    data /= np.linalg.norm(data, axis=1, keepdims=True)
    other = data.copy()
    other[0] = -data[0]
    gaps = [
        np.linalg.norm(np.subtract(*coupled_sgd(logistic_gradient, data, other, rates, rng)))
        for _ in range(100)
    ]
    bound = sgd_stability(lipschitz=1.0, smoothness=0.25, learning_rates=rates, n=n, max_loss=100.0)
    assert 0.01 * bound.value < np.mean(gaps) < bound.value


def logistic_gradient(w, x):
    return -x * expit(-x @ w)


@pytest.mark.parametrize("L", [0.5, 2.0])
@pytest.mark.parametrize("c", [0.1, 3.0])
@pytest.mark.parametrize("smoothness", [0.2, 5.0])
def test_nonconvex_bound_is_the_best_waiting_time(L, c, smoothness):
    """Hardt et al.: before t₀ the example is missed, after it differences grow by 1 + βc/t."""
    n, T = 500, 3000

    def waiting(log_start):
        start = math.exp(log_start)
        growth = 2 * L**2 / (smoothness * (n - 1)) * (T / start) ** (smoothness * c)
        return start / (n - 1) + growth

    best = minimize_scalar(waiting, bounds=(-40, 40), method="bounded", options={"xatol": 1e-9})
    bound = sgd_stability_nonconvex(
        lipschitz=L, smoothness=smoothness, rate_constant=c, steps=T, n=n
    )
    assert bound.value == pytest.approx(best.fun, rel=1e-9)
    assert bound.vacuous == (bound.value >= 1)


def test_errors_of_stability():
    ridge = {"lipschitz": 1.0, "feature_norm": 1.0, "regularization": 1.0, "n": 5}
    convex = {"lipschitz": 1.0, "smoothness": 2.0, "learning_rates": [0.5, 1.0], "n": 5}
    nonconvex = {"lipschitz": 1.0, "smoothness": 2.0, "rate_constant": 1.0, "steps": 9, "n": 5}
    squared = {"feature_norm": 1.0, "regularization": 1.0, "n": 5, "target_bound": 1.0}
    for function, good in [
        (regularized_stability, ridge | {"max_loss": 1.0}),
        (ridge_stability, squared),
        (sgd_stability, convex | {"max_loss": 1.0}),
        (sgd_stability_nonconvex, nonconvex),
    ]:
        function(**good)
        for name in set(good) - {"n", "steps", "learning_rates"}:
            with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
                function(**good | {name: 0.0})
        with pytest.raises(ValueError, match=r"n must be an integer of at least \d, got 0"):
            function(**good | {"n": 0})
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got 0"):
        sgd_stability_nonconvex(**nonconvex | {"steps": 0})
    with pytest.raises(ValueError, match="n must be an integer of at least 2, got 1"):
        sgd_stability_nonconvex(**nonconvex | {"n": 1})
    with pytest.raises(ValueError, match="learning_rates must be positive, got -1"):
        sgd_stability(**convex | {"learning_rates": [0.1, -1.0]})
    with pytest.raises(ValueError, match="learning_rates must have 1 dimensions"):
        sgd_stability(**convex | {"learning_rates": 0.1})
    with pytest.raises(ValueError, match=r"learning_rates must be at most 2 / smoothness = 1, .*2"):
        sgd_stability(**convex | {"learning_rates": [1.0, 2.0]})
