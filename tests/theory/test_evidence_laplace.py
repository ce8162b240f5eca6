"""Laplace evidence of linear classifiers by torch's Hessian, laplace-torch, quadrature, by hand."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, log_softmax, logsumexp, softmax

from theory.evidence import laplace_evidence, null_log_evidence

EPS = np.finfo(float).eps


def problem(n, d, n_classes, seed=0, signal=1.0):
    """Labels drawn from a softmax model, every class present."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    noise = rng.gumbel(size=(n, n_classes))
    y = np.argmax(signal * X @ rng.standard_normal((d, n_classes)) + noise, axis=1)
    y[:n_classes] = np.arange(n_classes)
    return X, y


def random_labels(n, d, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.permutation(np.arange(n) % 2)


def with_ones(X):
    return np.column_stack([X, np.ones(len(X))])


def data_hessian(design, weights):
    """Hessian of the summed cross-entropy, entry by entry from the per-example blocks."""
    if weights.ndim == 1:
        P = expit(design @ weights)
        return design.T @ (design * (P * (1 - P))[:, None])
    P = softmax(design @ weights, axis=1)
    size = weights.size
    H = np.zeros((size, size))
    for x, p in zip(design, P, strict=True):
        H += np.kron(np.outer(x, x), np.diag(p) - np.outer(p, p))
    return H


def summed_cross_entropy(design, y, weights):
    if weights.ndim == 1:
        z = design @ weights
        return float(np.sum(np.logaddexp(0.0, np.where(y == 1, -z, z))))
    return float(-np.sum(log_softmax(design @ weights, axis=1)[np.arange(len(y)), y]))


def by_hand(design, y, weights, prior):
    """Cost, log Occam factor and gradient norm recomputed at given weights."""
    cost = summed_cross_entropy(design, y, weights) + prior * np.sum(weights**2) / 2
    H = data_hessian(design, weights)
    occam = -0.5 * np.linalg.slogdet(np.eye(len(H)) + H / prior)[1]
    if weights.ndim == 1:
        residual = expit(design @ weights) - y
    else:
        residual = softmax(design @ weights, axis=1) - np.eye(weights.shape[1])[y]
    return cost, occam, np.linalg.norm(design.T @ residual + prior * weights)


def assert_same_evidence(one, two, tolerance=1e-8):
    for field in ("log_evidence", "cost", "log_occam_factor", "log_evidence_ratio"):
        np.testing.assert_allclose(
            getattr(one, field), getattr(two, field), rtol=tolerance, atol=tolerance, err_msg=field
        )


# ------------------------------------------------------------------------------ independent routes

CASES = [(40, 3, 2), (40, 3, 3), (6, 30, 2), (8, 12, 3), (60, 2, 10), (2, 1, 2), (3, 1, 3)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.func.hessian's own
@pytest.mark.parametrize(("n", "d", "n_classes"), CASES)
@pytest.mark.parametrize("prior", [0.01, 1.0, 50.0])
def test_newton_on_torch_derivatives(n, d, n_classes, prior):
    torch = pytest.importorskip("torch")
    X, y = problem(n, d, n_classes)
    design, target = torch.tensor(with_ones(X)), torch.tensor(y)
    shape = (d + 1,) if n_classes == 2 else (d + 1, n_classes)

    def cost(w):
        logits = design @ w.reshape(shape)
        if n_classes == 2:
            logits = torch.stack([torch.zeros_like(logits), logits], dim=1)
        loss = torch.nn.functional.cross_entropy(logits, target, reduction="sum")
        return loss + prior / 2 * (w * w).sum()

    gradient, hessian = torch.func.grad(cost), torch.func.hessian(cost)

    def at(function):
        return lambda w: function(torch.tensor(w)).numpy()

    w = np.zeros(int(np.prod(shape)))
    w = minimize(at(cost), w, method="trust-exact", jac=at(gradient), hess=at(hessian)).x
    for _ in range(3):
        w = w - np.linalg.solve(at(hessian)(w), at(gradient)(w))
    log_det = np.linalg.slogdet(at(hessian)(w))[1] - len(w) * np.log(prior)
    fit = laplace_evidence(X, y, prior_precision=prior)
    assert fit.converged
    assert fit.cost == pytest.approx(float(at(cost)(w)), abs=1e-9)
    assert fit.log_occam_factor == pytest.approx(-log_det / 2, abs=1e-8)
    assert fit.log_evidence == pytest.approx(-at(cost)(w) - log_det / 2, abs=1e-8)
    np.testing.assert_allclose(fit.weights, w.reshape(shape), atol=1e-7)


@pytest.fixture(scope="module")
def laplace_torch():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            import laplace
        except Exception as error:  # a broken torchvision raises anything
            pytest.skip(f"laplace-torch cannot be imported: {error!r}")
    return laplace.Laplace


@pytest.fixture
def double_torch():
    """Torch in float64: curvlinops, under laplace-torch, else loses digits (1e-6 nats)."""
    torch = pytest.importorskip("torch")
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield torch
    torch.set_default_dtype(before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("prior", [0.05, 0.3, 4.0])
def test_laplace_torch_full_gauss_newton(laplace_torch, double_torch, prior):
    torch = double_torch
    X, y = problem(60, 4, 3)
    fit = laplace_evidence(X, y, prior_precision=prior)
    model = torch.nn.Linear(4, 3)
    with torch.no_grad():
        model.weight.copy_(torch.tensor(fit.weights[:-1].T))
        model.bias.copy_(torch.tensor(fit.weights[-1]))
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(y))
    approximation = laplace_torch(
        model,
        "classification",
        subset_of_weights="all",
        hessian_structure="full",
        prior_precision=torch.tensor(prior),
    )
    approximation.fit(torch.utils.data.DataLoader(data, batch_size=60))
    theirs = float(approximation.log_marginal_likelihood())
    assert abs(float(fit.log_evidence) - theirs) < 1e-8


def exact_log_evidence(X, y, fit):
    """Log of the integral over slope and bias, by the trapezoid rule in whitened coordinates."""
    design, prior = with_ones(X), float(fit.prior_precision)
    A = data_hessian(design, fit.weights) + prior * np.eye(2)
    L = np.linalg.cholesky(np.linalg.inv(A))
    nodes = np.linspace(-12.0, 12.0, 97)
    offsets = np.stack(np.meshgrid(nodes, nodes), axis=-1).reshape(-1, 2)
    w = fit.weights + offsets @ L.T
    Z = w @ design.T * np.where(y == 1, -1.0, 1.0)
    log_joint = -np.sum(np.logaddexp(0.0, Z), axis=1) - prior * np.sum(w * w, axis=1) / 2
    log_cell = 2 * np.log(nodes[1] - nodes[0]) + np.log(np.linalg.det(L))
    return float(logsumexp(log_joint) + log_cell + np.log(prior / (2 * np.pi)))


@pytest.mark.parametrize(("n", "limit"), [(20, 0.1), (100, 0.02)])
def test_quadrature_in_two_dimensions(n, limit):
    errors = []
    for seed in range(20):
        X, y = problem(n, 1, 2, seed)
        fit = laplace_evidence(X, y, prior_precision=1.0)
        errors.append(fit.log_evidence - exact_log_evidence(X, y, fit))
    assert np.mean(np.abs(errors)) < limit
    assert np.max(errors) < 0.0  # Laplace is low here: the tails are heavier than a Gaussian's


@pytest.mark.parametrize(("n", "d", "n_classes"), [(30, 4, 2), (10, 40, 2), (30, 4, 4), (9, 20, 3)])
@pytest.mark.parametrize("bias", [True, False])
def test_parts_recomputed_from_the_weights(n, d, n_classes, bias):
    X, y = problem(n, d, n_classes)
    priors = np.array([[10.0, 1e-3], [0.1, 1e3]])
    fit = laplace_evidence(X, y, prior_precision=priors, bias=bias)
    design = with_ones(X) if bias else X
    assert fit.weights.shape == (2, 2, design.shape[1], *([n_classes] if n_classes > 2 else []))
    np.testing.assert_array_equal(fit.prior_precision, priors)
    np.testing.assert_array_equal(fit.classes, np.arange(n_classes))
    for i in np.ndindex(2, 2):
        cost, occam, gradient_norm = by_hand(design, y, fit.weights[i], priors[i])
        assert fit.cost[i] == pytest.approx(cost, rel=1e-10)
        assert fit.log_occam_factor[i] == pytest.approx(occam, rel=1e-9)
        assert fit.gradient_norm[i] == pytest.approx(gradient_norm, rel=1e-3, abs=1e-12)
        assert gradient_norm < 1e-8
        alone = laplace_evidence(X, y, prior_precision=priors[i], bias=bias)
        assert isinstance(alone.log_evidence, float)
        assert alone.log_evidence == pytest.approx(fit.log_evidence[i], abs=1e-6)
    assert np.all(fit.converged)
    np.testing.assert_allclose(fit.log_evidence, fit.log_occam_factor - fit.cost, rtol=1e-14)
    null = null_log_evidence(n, n_classes)
    np.testing.assert_allclose(fit.log_evidence_ratio, null - fit.log_evidence, rtol=1e-12)


# --------------------------------------------------------------------------------- primal and dual

SWEEP = np.logspace(3, -8, 12)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_zero_columns_switch_to_the_dual_and_change_nothing(n_classes):
    priors = SWEEP[:10]  # to 1e-6: below, the softmax dual leaves gradients of 1e-6
    X, y = problem(25, 3, n_classes)
    wide = np.column_stack([X, np.zeros((25, 50))])
    primal = laplace_evidence(X, y, prior_precision=priors)
    dual = laplace_evidence(wide, y, prior_precision=priors)
    assert_same_evidence(primal, dual, 1e-7)
    assert np.all(primal.converged)
    assert np.all(dual.converged)
    kept = np.r_[:3, -1]
    np.testing.assert_allclose(dual.weights[:, kept], primal.weights, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_row_space_coordinates_switch_to_the_primal_and_change_nothing(n_classes):
    X, y = problem(8, 60, n_classes)
    coordinates = np.linalg.qr(X.T)[1].T
    small = laplace_evidence(coordinates, y, prior_precision=SWEEP)
    assert_same_evidence(laplace_evidence(X, y, prior_precision=SWEEP), small, 1e-7)


def test_rotation_permutation_and_label_names():
    X, y = problem(30, 4, 3)
    reference = laplace_evidence(X, y, prior_precision=SWEEP)
    rng = np.random.default_rng(5)
    rotation, order = np.linalg.qr(rng.standard_normal((4, 4)))[0], rng.permutation(30)
    renamed = np.array([7, -1, 3])[y]
    other = laplace_evidence(X[order] @ rotation, renamed[order], prior_precision=SWEEP)
    assert_same_evidence(reference, other)
    np.testing.assert_array_equal(other.classes, [-1, 3, 7])


def test_swapped_classes_negate_the_weights():
    X, y = problem(30, 4, 2)
    one = laplace_evidence(X, y, prior_precision=SWEEP)
    two = laplace_evidence(X, 1 - y, prior_precision=SWEEP)
    assert_same_evidence(one, two)
    np.testing.assert_allclose(one.weights, -two.weights, rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize(
    "labels",
    [
        lambda y: np.where(y, 7, -1),
        lambda y: y.astype(np.uint8),
        lambda y: y.astype(bool),
        lambda y: y * 3.0,
        lambda y: y.tolist(),
        lambda y: np.repeat(y, 2)[::2],
        lambda y: np.where(y, 2**60 + 1, 2**60),
    ],
    ids=["-1 and 7", "uint8", "bool", "integral floats", "list", "strided", "beyond 2**53"],
)
def test_any_integer_labels(labels):
    X, y = problem(20, 3, 2)
    plain = laplace_evidence(X, y, prior_precision=1.0)
    other = laplace_evidence(X, labels(y), prior_precision=1.0)
    assert other.log_evidence == pytest.approx(plain.log_evidence, rel=1e-12)
    np.testing.assert_array_equal(other.classes, np.unique(labels(y)))


@pytest.mark.parametrize(
    "convert", [np.ndarray.tolist, np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2]]
)
@pytest.mark.parametrize("shape", [(20, 3), (5, 40)])
def test_any_design(convert, shape):
    X = np.random.default_rng(0).integers(-3, 4, shape)
    y = np.arange(len(X)) % 2
    plain = laplace_evidence(X * 1.0, y, prior_precision=[1.0, 0.01])
    before = X.copy()
    assert_same_evidence(plain, laplace_evidence(convert(X), y, prior_precision=[1.0, 0.01]))
    np.testing.assert_array_equal(X, before)


@given(
    st.integers(2, 12),
    st.integers(1, 12),
    st.integers(2, 4),
    st.integers(0, 1000),
    st.floats(-3, 3),
    st.floats(-2, 2),
)
def test_unit_of_the_features(n, d, n_classes, seed, log_unit, log_prior):
    X, y = problem(max(n, n_classes), d, n_classes, seed)
    a, prior = 10.0**log_unit, 10.0**log_prior
    one = laplace_evidence(X, y, prior_precision=prior, bias=False)
    two = laplace_evidence(X / a, y, prior_precision=prior / a**2, bias=False)
    assert two.log_evidence == pytest.approx(one.log_evidence, rel=1e-8)
    assert one.log_occam_factor <= 0.0


# ------------------------------------------------------------------------------------ flat bias


@pytest.mark.parametrize(("n", "d"), [(30, 3), (10, 40), (12, 12), (2, 5)])
@pytest.mark.parametrize("prior", [1e-4, 0.3, 100.0])
def test_flat_prior_on_the_bias(n, d, prior):
    X, y = problem(n, d, 2)
    design, decay = with_ones(X), np.append(np.full(d, prior), 0.0)

    def cost(w):
        return summed_cross_entropy(design, y, w) + np.sum(decay * w * w) / 2

    def gradient(w):
        return design.T @ (expit(design @ w) - y) + decay * w

    w = minimize(cost, np.zeros(d + 1), jac=gradient, method="L-BFGS-B").x
    for _ in range(20):
        w = w - np.linalg.solve(data_hessian(design, w) + np.diag(decay), gradient(w))
    log_det = np.linalg.slogdet(data_hessian(design, w) + np.diag(decay))[1] - d * np.log(prior)
    fit = laplace_evidence(X, y, prior_precision=prior, penalize_bias=False)
    assert fit.converged
    np.testing.assert_allclose(fit.weights, w, atol=1e-6)
    assert fit.cost == pytest.approx(cost(w), abs=1e-8)
    expected = -cost(w) - log_det / 2 + np.log(2 * np.pi) / 2
    assert fit.log_evidence == pytest.approx(expected, abs=1e-7)


def test_flat_bias_without_features_is_the_base_rate():
    y = np.array([0] * 6 + [1] * 3)
    fit = laplace_evidence(np.zeros((9, 2)), y, prior_precision=[1.0, 0.1], penalize_bias=False)
    entropy = -6 * np.log(2 / 3) - 3 * np.log(1 / 3)
    expected = -entropy + 0.5 * np.log(2 * np.pi / (9 * 2 / 9))
    assert fit.log_evidence == pytest.approx([expected, expected], abs=1e-10)
    assert np.all(fit.converged)


# ------------------------------------------------------------------------- weak and strong priors


@pytest.mark.parametrize(("n", "d"), [(40, 5), (10, 30)])
def test_separable_data_at_weak_regularization(n, d):
    rng = np.random.default_rng(2)
    X = rng.standard_normal((n, d))
    y = (X[:, 0] > 0).astype(int)
    fit = laplace_evidence(X, y, prior_precision=1e-10)
    assert fit.converged
    design = with_ones(X)
    z = np.abs(design @ fit.weights)
    root = np.exp(-z / 2) / (1 + np.exp(-z))
    s = np.linalg.svd(design * root[:, None], compute_uv=False)
    assert fit.log_occam_factor == pytest.approx(-0.5 * np.sum(np.log1p(s**2 / 1e-10)), abs=1e-8)
    # stationarity to relative accuracy: λ w = Σ (1 - p_i) (±x_i), every term from its tail
    sign = np.where(y == 1, 1.0, -1.0)
    pull = design.T @ (sign * expit(-sign * (design @ fit.weights)))
    np.testing.assert_allclose(1e-10 * fit.weights, pull, rtol=1e-5, atol=1e-16)


@pytest.mark.parametrize(("n", "d", "n_classes"), [(40, 3, 2), (6, 30, 2), (40, 3, 3), (6, 12, 3)])
def test_sweep_down_to_the_documented_limit(n, d, n_classes):
    X, y = problem(n, d, n_classes)
    limit = 100 * EPS * (np.linalg.norm(X) ** 2 + n) / 4
    priors = np.logspace(12, np.log10(1.001 * limit), 40)
    fit = laplace_evidence(X, y, prior_precision=priors)
    assert np.all(np.isfinite(fit.log_evidence))
    assert np.all(np.diff(fit.cost) < 1e-9)  # the cost at its minimum falls with λ
    assert np.all(np.diff(fit.log_occam_factor) < 1e-9)
    assert fit.log_evidence[0] == pytest.approx(null_log_evidence(n, n_classes), abs=1e-6)
    assert np.all(fit.converged)
    with pytest.raises(ValueError, match=r"prior_precision = .* too small"):
        laplace_evidence(X, y, prior_precision=0.999 * limit)


def test_not_separable_data_converge_at_any_prior():
    X, y = random_labels(60, 3)
    fit = laplace_evidence(X, y, prior_precision=np.logspace(-11, 12, 24))
    assert np.all(fit.converged)
    wide = laplace_evidence(
        np.repeat(X[:5], 2, axis=0), np.tile([0, 1], 5), prior_precision=[1e-9, 1.0]
    )
    assert np.all(wide.converged)


@pytest.mark.parametrize("scale", [1e-8, 1e4, 1e8])
def test_converged_at_any_feature_scale(scale):
    X, y = random_labels(60, 3)
    fit = laplace_evidence(scale * X, y, prior_precision=scale**2, bias=False)
    plain = laplace_evidence(X, y, prior_precision=1.0, bias=False)
    assert fit.converged
    assert fit.log_evidence == pytest.approx(plain.log_evidence, rel=1e-8)


HARD = {
    "one of thirty": lambda X: (X, np.r_[1, np.zeros(29)]),
    "constant features": lambda X: (np.ones_like(X), np.arange(30) % 2),
    "zero features": lambda X: (np.zeros_like(X), np.arange(30) % 2),
    "contradicting duplicates": lambda X: (np.repeat(X[:15], 2, 0), np.tile([0, 1], 15)),
    "ten classes": lambda X: (X, np.arange(30) % 10),
    "two rare classes": lambda X: (X, np.r_[1, 2, np.zeros(28)]),
    "columns over eight decades": lambda X: (X * np.logspace(-4, 4, 4), X[:, 0] > 0.3),
    "offset features": lambda X: (X + 1e3, np.arange(30) % 2),
    "two rows": lambda X: (X[:2], [0, 1]),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("prior", [1e6, 1.0, 1e-3, 2e-5])
def test_hard_data(name, prior):
    X, y = HARD[name](np.random.default_rng(0).standard_normal((30, 4)))
    fit = laplace_evidence(X, y, prior_precision=prior)
    assert fit.converged
    cost, occam, _ = by_hand(with_ones(X), np.asarray(y, dtype=int), fit.weights, prior)
    assert fit.cost == pytest.approx(cost, rel=1e-9)
    assert fit.log_occam_factor == pytest.approx(occam, rel=1e-6, abs=1e-6)


# ----------------------------------------------------------------------------- stopped descent


@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("bias", [True, False])
def test_steps_of_gradient_descent(n_classes, bias):
    X, y = problem(20, 3, n_classes)
    design = with_ones(X) if bias else X
    fit = laplace_evidence(X, y, prior_precision=[0.01, 3.0], bias=bias, steps=37)
    targets = np.eye(n_classes)[y] if n_classes > 2 else y[:, None]
    largest = np.linalg.norm(design, 2) ** 2 / (2 if n_classes > 2 else 4)
    for prior, ours, log_evidence in zip((0.01, 3.0), fit.weights, fit.log_evidence, strict=True):
        w = np.zeros((design.shape[1], targets.shape[1]))
        for _ in range(37):
            Z = design @ w
            P = softmax(Z, axis=1) if n_classes > 2 else expit(Z)
            w = w - (design.T @ (P - targets) + prior * w) / (largest + prior)
        w = w if n_classes > 2 else w[:, 0]
        np.testing.assert_allclose(ours, w, rtol=1e-9, atol=1e-12)
        cost, occam, _ = by_hand(design, y, w, prior)
        assert log_evidence == pytest.approx(occam - cost, rel=1e-10)
    assert not fit.converged[0]


def test_descent_of_an_unpenalized_bias():
    X, y = problem(20, 3, 2)
    design, decay = with_ones(X), np.array([0.5, 0.5, 0.5, 0.0])
    fit = laplace_evidence(X, y, prior_precision=0.5, penalize_bias=False, steps=50)
    w = np.zeros(4)
    for _ in range(50):
        gradient = design.T @ (expit(design @ w) - y) + decay * w
        w = w - gradient / (np.linalg.norm(design, 2) ** 2 / 4 + 0.5)
    np.testing.assert_allclose(fit.weights, w, rtol=1e-10)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_many_steps_reach_the_minimum(n_classes):
    X, y = problem(20, 3, n_classes)
    minimum = laplace_evidence(X, y, prior_precision=0.5)
    costs = [laplace_evidence(X, y, prior_precision=0.5, steps=T).cost for T in (1, 10, 100, 3000)]
    assert np.all(np.diff(costs[:3]) < 0)
    assert costs[3] <= costs[2] * (1 + 1e-14)  # which may be the minimum already
    last = laplace_evidence(X, y, prior_precision=0.5, steps=3000)
    assert last.converged
    assert last.log_evidence == pytest.approx(minimum.log_evidence, abs=1e-8)


def test_too_few_newton_iterations_are_reported():
    X, y = problem(20, 3, 2)
    fit = laplace_evidence(X, y, prior_precision=1e-6, max_iterations=1)
    assert not fit.converged
    _, _, gradient_norm = by_hand(with_ones(X), y, fit.weights, 1e-6)
    assert fit.gradient_norm == pytest.approx(gradient_norm, rel=1e-9)


@pytest.mark.parametrize("tolerance", [1e-3, 1e-11])
def test_tolerance_is_reached(tolerance):
    X, y = problem(20, 3, 2)
    fit = laplace_evidence(X, y, prior_precision=1.0, tolerance=tolerance)
    assert fit.converged
    assert fit.gradient_norm <= tolerance


# ------------------------------------------------------------------------------------------ errors

VALID = {"X": np.eye(4), "y": [0, 1, 0, 1], "prior_precision": 1.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones(4)}, "X must have 2 dimensions"),
        ({"X": np.ones((4, 0))}, "X is empty"),
        ({"X": np.full((4, 2), np.nan)}, "X has NaN"),
        ({"X": [["a"]] * 4}, "X must be an array of numbers"),
        ({"X": np.eye(5)}, "X has 5 rows but y has 4"),
        ({"y": [[0], [1], [0], [1]]}, "y must have 1 dimensions"),
        ({"y": [0, 1, 0, 0.5]}, "y must hold integer class labels"),
        ({"y": ["cat", "dog", "cat", "dog"]}, "^y must"),
        ({"y": [0, 1, np.nan, 1]}, "y has NaN"),
        ({"y": [0, 1e30, 0, 1]}, "^y must"),
        ({"y": [3, 3, 3, 3]}, "y must hold at least two classes, got only 3"),
        ({"prior_precision": 0.0}, "prior_precision must be positive, got 0"),
        ({"prior_precision": [1.0, -1.0]}, "prior_precision must be positive, got -1"),
        ({"prior_precision": np.inf}, "prior_precision has NaN or infinite"),
        ({"prior_precision": []}, "prior_precision is empty"),
        ({"prior_precision": 1e-20}, "prior_precision = 1e-20 is too small for float64"),
        ({"tolerance": 0.0}, "tolerance must be positive, got 0"),
        ({"tolerance": np.nan}, "tolerance has NaN"),
        ({"max_iterations": 0}, "max_iterations must be an integer of at least 1, got 0"),
        ({"max_iterations": 2.0}, "max_iterations must be an integer"),
        ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
        ({"steps": 10.0}, "steps must be an integer"),
        ({"steps": True}, "steps must be an integer"),
        ({"y": [0, 1, 2, 0], "penalize_bias": False}, "penalize_bias=False needs two classes"),
    ],
)
def test_laplace_evidence_raises(change, message):
    with pytest.raises(ValueError, match=message):
        laplace_evidence(**VALID | change)


def test_unpenalized_bias_of_many_classes_is_fine_without_a_bias():
    y = [0, 1, 2, 0]
    fit = laplace_evidence(np.eye(4), y, prior_precision=1.0, bias=False, penalize_bias=False)
    plain = laplace_evidence(np.eye(4), y, prior_precision=1.0, bias=False)
    assert fit.log_evidence == plain.log_evidence
