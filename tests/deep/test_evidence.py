"""Laplace evidence of networks: exact cases, naive Jacobians and Hessians, rescaled layers."""

import copy
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from stat_asserts import assert_mean

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.autograd.functional import hessian as naive_hessian  # noqa: E402
from torch.autograd.functional import jacobian as naive_jacobian  # noqa: E402
from torch.func import functional_call  # noqa: E402
from torch.nn import functional  # noqa: E402

from deep.evidence import (  # noqa: E402
    NotStationaryWarning,
    laplace_log_evidence,
    rescale_layers,
)
from deep.loader import DeviceDataset, Preprocessing  # noqa: E402
from theory.evidence import (  # noqa: E402
    laplace_evidence,
    linear_evidence,
    log_determinant,
    log_evidence_from_hessian,
)

EXACT = ["full", "dual"]

# What curvlinops and torch.func themselves call when they are first used.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated")


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def seeded(make, seed=5):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make().double()


def perceptron(d=4, hidden=3, outputs=3, seed=5, activation=nn.ReLU):
    return seeded(
        lambda: nn.Sequential(nn.Linear(d, hidden), activation(), nn.Linear(hidden, outputs)), seed
    )


def examples(n=9, d=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(classes), rng.integers(0, classes, size=n - classes)])
    return torch.tensor(rng.standard_normal((n, d))), torch.tensor(labels)


def targets(n=9, outputs=3, seed=1):
    return torch.tensor(np.random.default_rng(seed).standard_normal((n, outputs)))


def evidence(model, data, **options):
    """Evidence at weights that need not be stationary."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotStationaryWarning)
        return laplace_log_evidence(model, data, **options)


def linear(weights):
    """A linear module with weights (d + 1, K), biases last."""
    weights = torch.as_tensor(weights).reshape(len(weights), -1)
    model = nn.Linear(len(weights) - 1, weights.shape[1], dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(weights[:-1].T)
        model.bias.copy_(weights[-1])
    return model


# --- the naive route ------------------------------------------------------------------------------


class Naive:
    """Everything by nested loops of autograd on the flattened parameters."""

    def __init__(self, model, X, y, noise_precision=None):
        self.model, self.X, self.y, self.alpha = model, X, y, noise_precision
        self.shapes = {name: part.shape for name, part in model.named_parameters()}
        self.w = torch.cat([part.detach().reshape(-1) for part in model.parameters()])

    def outputs(self, w):
        parts, start = {}, 0
        for name, shape in self.shapes.items():
            parts[name] = w[start : start + shape.numel()].view(shape)
            start += shape.numel()
        return functional_call(self.model, parts, (self.X,))

    def loss_of(self, outputs):
        if self.alpha is None:
            return -outputs.log_softmax(1)[torch.arange(len(self.y)), self.y].sum()
        constant = 0.5 * outputs.numel() * np.log(self.alpha / (2 * np.pi))
        return 0.5 * self.alpha * ((outputs - self.y) ** 2).sum() - constant

    def loss(self, w):
        return self.loss_of(self.outputs(w))

    def gauss_newton(self):
        J = naive_jacobian(self.outputs, self.w).flatten(0, 1)
        outputs = self.outputs(self.w).detach()
        H = naive_hessian(self.loss_of, outputs).reshape(len(J), len(J))
        return (J.T @ H @ J).numpy()

    def hessian(self):
        return naive_hessian(self.loss, self.w).numpy()

    def check(self, found, curvature, precision):
        """Compare all that was found at one prior (P,) with dense linear algebra."""
        w, P = self.w.numpy(), len(self.w)
        L = np.broadcast_to(precision, P)
        loss, penalty = float(self.loss(self.w)), 0.5 * float(np.sum(L * w * w))
        (slope,) = torch.autograd.grad(self.loss(w_ := self.w.clone().requires_grad_()), w_)
        g = slope.numpy() + L * w
        A = curvature + np.diag(L)
        expected = {
            "log_likelihood": -loss,
            "penalty": penalty,
            "log_evidence": log_evidence_from_hessian(loss + penalty, curvature, prior_precision=L),
            "log_occam_factor": -0.5 * (np.linalg.slogdet(A)[1] - np.sum(np.log(L))),
            "effective_parameters": np.trace(np.linalg.solve(A, curvature)),
            "gradient_norm": np.linalg.norm(g),
            "newton_gain": 0.5 * g @ np.linalg.solve(A, g),
            "standard_error": 0.0,
            "truncation": 0.0,
            "n_parameters": P,
            "train_size": len(self.X),
        }
        for name, value in expected.items():
            assert getattr(found, name) == pytest.approx(value, rel=1e-8, abs=1e-10), name


def per_parameter(model, prior):
    """Spread a mapping of full names over the parameters."""
    parts = model.named_parameters()
    return np.concatenate([np.full(part.numel(), float(prior[name])) for name, part in parts])


@pytest.mark.parametrize("curvature", EXACT)
@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh], ids=["relu", "tanh"])
def test_cross_entropy_equals_naive_loops(curvature, activation):
    model, (X, y) = perceptron(activation=activation), examples()
    naive = Naive(model, X, y)
    found = evidence(model, (X, y), prior_precision=0.7, curvature=curvature)
    naive.check(found, naive.gauss_newton(), 0.7)
    assert found.method == curvature
    assert found.log_evidence_ratio == pytest.approx(-9 * np.log(3) - found.log_evidence)


@pytest.mark.parametrize("curvature", EXACT)
def test_squared_error_equals_naive_loops(curvature):
    model, X, y = perceptron(), examples()[0], targets()
    naive = Naive(model, X, y, noise_precision=2.5)
    found = evidence(
        model,
        (X, y),
        prior_precision=0.7,
        loss="squared_error",
        noise_precision=2.5,
        curvature=curvature,
    )
    naive.check(found, naive.gauss_newton(), 0.7)
    null = stats.norm.logpdf(y.numpy(), scale=2.5**-0.5).sum()
    assert found.log_evidence_ratio == pytest.approx(null - found.log_evidence)


@pytest.mark.parametrize("curvature", EXACT)
def test_a_prior_for_each_layer_equals_naive_loops(curvature):
    model, (X, y) = perceptron(), examples()
    naive = Naive(model, X, y)
    found = evidence(
        model,
        (X, y),
        prior_precision={"0.weight": 0.1, "0.bias": 2.0, "2": 30.0},
        curvature=curvature,
    )
    full_names = {"0.weight": 0.1, "0.bias": 2.0, "2.weight": 30.0, "2.bias": 30.0}
    naive.check(found, naive.gauss_newton(), per_parameter(model, full_names))


def test_convolutions_with_batch_normalization_equal_naive_loops():
    model = seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 2, 2), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 2)
        )
    )
    X = torch.tensor(np.random.default_rng(0).standard_normal((6, 1, 3, 3)))
    y = torch.tensor([0, 1, 1, 0, 1, 0])
    model(X)  # running averages that are not 0 and 1
    model.eval()
    naive = Naive(model, X, y)
    for curvature in EXACT:
        found = evidence(model, (X, y), prior_precision=0.4, curvature=curvature)
        naive.check(found, naive.gauss_newton(), 0.4)


# --- exact cases ----------------------------------------------------------------------------------


@pytest.mark.parametrize("curvature", [*EXACT, "hessian", "kronecker"])
@pytest.mark.parametrize("n", [3, 12], ids=["fewer", "more"])
def test_linear_regression_is_exact(curvature, n):
    rng = np.random.default_rng(n)
    X, y = rng.standard_normal((n, 4)), rng.standard_normal(n)
    design = np.column_stack([X, np.ones(n)])
    path = np.array([[0.01, 1.0], [3.0, 200.0]])
    for index in np.ndindex(path.shape):
        exact = linear_evidence(design, y, prior_precision=path[index], noise_precision=2.0)
        found = laplace_log_evidence(
            linear(exact.weights()),
            (torch.tensor(X), torch.tensor(y)),
            prior_precision=path[index],
            loss="squared_error",
            noise_precision=2.0,
            curvature=curvature,
        )
        assert found.log_evidence == pytest.approx(exact.log_evidence, abs=1e-8)
        assert found.log_occam_factor == pytest.approx(exact.log_occam_factor, abs=1e-8)
        assert found.effective_parameters == pytest.approx(exact.effective_parameters, abs=1e-8)
        assert found.gradient_norm < 1e-10
        assert found.newton_gain < 1e-12


@pytest.mark.parametrize("curvature", [*EXACT, "hessian", "kronecker"])
def test_newtons_step_leads_to_the_exact_evidence_from_anywhere(curvature):
    rng = np.random.default_rng(2)
    X, Y = rng.standard_normal((7, 4)), rng.standard_normal((7, 2))
    design = np.column_stack([X, np.ones(7)])
    path = np.array([0.03, 1.0, 50.0])
    exact = sum(
        linear_evidence(design, y, prior_precision=path, noise_precision=0.8).log_evidence
        for y in Y.T
    )
    found = evidence(
        linear(rng.standard_normal((5, 2))),
        (torch.tensor(X), torch.tensor(Y)),
        prior_precision=path,
        loss="squared_error",
        noise_precision=0.8,
        curvature=curvature,
    )
    np.testing.assert_allclose(found.log_evidence + found.newton_gain, exact, rtol=1e-10)
    assert np.all(found.newton_gain > 0.1)


@pytest.mark.parametrize("curvature", [*EXACT, "hessian"])
@pytest.mark.parametrize("classes", [2, 3], ids=["one_logit", "softmax"])
def test_logistic_regression_equals_its_closed_form(curvature, classes):
    X, y = examples(n=11, d=3, classes=classes)
    for precision in (0.02, 1.0):
        fit = laplace_evidence(X, y, prior_precision=precision)
        found = laplace_log_evidence(
            linear(fit.weights), (X, y), prior_precision=precision, curvature=curvature
        )
        assert found.log_evidence == pytest.approx(fit.log_evidence, abs=1e-8)
        assert found.log_evidence_ratio == pytest.approx(fit.log_evidence_ratio, abs=1e-8)
        assert found.log_occam_factor == pytest.approx(fit.log_occam_factor, abs=1e-8)
        assert found.penalty - found.log_likelihood == pytest.approx(fit.cost, abs=1e-8)


def test_outputs_without_a_second_axis_are_one_logit_or_one_prediction():
    class Squeezed(nn.Linear):
        def forward(self, inputs):
            return super().forward(inputs)[:, 0]

    flat, column = (seeded(lambda make=make: make(4, 1)) for make in (Squeezed, nn.Linear))
    X, y = examples(classes=2)
    for labels, loss in ((y, "cross_entropy"), (targets(outputs=1)[:, 0], "squared_error")):
        found = [
            evidence(model, (X, labels), prior_precision=1.0, loss=loss).log_evidence
            for model in (flat, column)
        ]
        assert found[0] == found[1]


# --- the Hessian ----------------------------------------------------------------------------------


def test_a_semidefinite_hessian_is_taken_as_it_is():
    model, (X, y) = seeded(lambda: nn.Linear(4, 3)), examples()
    naive = Naive(model, X, y)
    found = evidence(model, (X, y), prior_precision=[0.7, 2.0], curvature="hessian")
    for i, precision in enumerate([0.7, 2.0]):
        expected = log_evidence_from_hessian(
            float(naive.loss(naive.w)) + 0.5 * precision * float(naive.w @ naive.w),
            naive.hessian(),
            prior_precision=precision,
        )
        assert found.log_evidence[i] == pytest.approx(expected, abs=1e-9)


def test_a_hessian_with_negative_eigenvalues_is_refused():
    model, (X, y) = perceptron(activation=nn.Tanh), examples()
    spectrum = np.linalg.eigvalsh(Naive(model, X, y).hessian())
    expected = rf"{np.sum(spectrum < -1e-9)} of its 27 .* negative, down to {spectrum[0]:.3g}; "
    with pytest.raises(ValueError, match=expected):
        laplace_log_evidence(model, (X, y), prior_precision=1.0, curvature="hessian")


# --- Kronecker factors ----------------------------------------------------------------------------


def kronecker_factors(model, X, y, alpha):
    """Input and gradient factors of a perceptron's two layers, example by example."""
    first, second = model[0], model[2]
    A, B = [0.0, 0.0], [0.0, 0.0]
    for x, label in zip(X, y, strict=True):
        z = first(x).detach().requires_grad_()
        out = second(torch.relu(z))

        def loss(o, label=label):
            if alpha is None:
                return functional.cross_entropy(o[None], label[None])
            return 0.5 * alpha * ((o - label) ** 2).sum()

        H = naive_hessian(loss, out.detach())
        J = naive_jacobian(lambda z: second(torch.relu(z)), z.detach())
        inputs = (x, torch.relu(z).detach())
        for layer, a in enumerate(inputs):
            a = torch.cat([a, torch.ones(1)])
            A[layer] = A[layer] + torch.outer(a, a) / len(X)
        B = [B[0] + J.T @ H @ J, B[1] + H]
    return A, B


@pytest.mark.parametrize("alpha", [None, 2.5], ids=["cross_entropy", "squared_error"])
def test_kronecker_factors_equal_naive_loops(alpha):
    model, (X, y) = perceptron(), examples()
    if alpha is not None:
        y = targets()
    prior = {"0.weight": 0.1, "0.bias": 2.0, "2.weight": 0.3, "2.bias": 5.0}
    found = evidence(
        model,
        (X, y),
        prior_precision=prior,
        loss="cross_entropy" if alpha is None else "squared_error",
        noise_precision=alpha or 1.0,
        curvature="kronecker",
        batch_size=4,
    )
    naive = Naive(model, X, y, noise_precision=alpha)
    blocks = []
    for A, B in zip(*kronecker_factors(model, X, y, alpha), strict=True):
        d, k = len(A) - 1, len(B)
        # Rows of the weight, then the bias: the order of the parameters.
        order = [i * (d + 1) + j for i in range(k) for j in range(d)]
        order += [i * (d + 1) + d for i in range(k)]
        blocks.append(torch.kron(B, A)[order][:, order])
    naive.check(found, torch.block_diag(*blocks).numpy(), per_parameter(model, prior))


def test_kronecker_factors_of_one_example_and_one_layer_are_exact():
    model, (X, y) = seeded(lambda: nn.Linear(4, 3)), examples(n=3)
    data = X[:1], y[:1]
    kronecker, full = (
        evidence(model, data, prior_precision=[0.2, 1.0], curvature=curvature)
        for curvature in ("kronecker", "full")
    )
    np.testing.assert_allclose(kronecker.log_evidence, full.log_evidence, rtol=1e-12)
    np.testing.assert_allclose(kronecker.newton_gain, full.newton_gain, rtol=1e-10)


@pytest.mark.parametrize("frozen", ["weight", "bias"])
def test_kronecker_factors_leave_out_what_is_fixed(frozen):
    model, X, y = seeded(lambda: nn.Linear(4, 2)), examples()[0], targets(outputs=2)
    getattr(model, frozen).requires_grad_(False)
    kronecker, full = (
        evidence(model, (X, y), prior_precision=0.6, loss="squared_error", curvature=curvature)
        for curvature in ("kronecker", "full")
    )
    assert kronecker.n_parameters == {"weight": 2, "bias": 8}[frozen]
    assert kronecker.log_evidence == pytest.approx(full.log_evidence, abs=1e-10)
    assert kronecker.newton_gain == pytest.approx(full.newton_gain, abs=1e-10)


# --- Lanczos --------------------------------------------------------------------------------------


def small_regression():
    """A linear model of four parameters, whose Gauss-Newton matrix has off-diagonal entries."""
    X, y = examples(n=5, d=3)[0], targets(n=5, outputs=1)
    model = seeded(lambda: nn.Linear(3, 1))
    return model, (X, y), Naive(model, X, y, noise_precision=1.5)


def lanczos(prior_precision, *, probes, rng, **options):
    model, data, _ = small_regression()
    return evidence(
        model,
        data,
        prior_precision=prior_precision,
        loss="squared_error",
        noise_precision=1.5,
        curvature="lanczos",
        probes=probes,
        rng=rng,
        **options,
    )


def test_lanczos_takes_the_probes_of_its_quadrature():
    G = small_regression()[2].gauss_newton()
    path = np.array([0.2, 3.0])
    for steps in (2, 64):
        found = lanczos(path, probes=3, rng=7, steps=steps)
        naive = log_determinant(lambda v: G @ v, 4, shift=path, probes=3, steps=steps, rng=7)
        occam = -0.5 * (naive.value - 4 * np.log(path))
        np.testing.assert_allclose(found.log_occam_factor, occam, rtol=1e-10)
        np.testing.assert_allclose(found.standard_error, 0.5 * naive.standard_error, rtol=1e-8)
        np.testing.assert_allclose(found.truncation, 0.5 * naive.truncation, rtol=1e-8)
        # γ is minus the derivative of ln det(1 + G/λ) in ln λ, of these very probes.
        ends = path * np.exp([[1e-4], [-1e-4]])
        naive = log_determinant(lambda v: G @ v, 4, shift=ends, probes=3, steps=steps, rng=7)
        slope = (naive.value[0] - naive.value[1]) / 2e-4 - 4
        np.testing.assert_allclose(found.effective_parameters, -slope, rtol=1e-7)


def test_lanczos_in_the_units_of_each_layers_prior():
    G = small_regression()[2].gauss_newton()
    prior = {"weight": np.array([0.2, 3.0]), "bias": np.array([1.0, 15.0])}
    found = lanczos(prior, probes=2, rng=7)
    L = np.array([0.2, 0.2, 0.2, 1.0])
    whitened = G / np.sqrt(np.outer(L, L))
    naive = log_determinant(lambda v: whitened @ v, 4, shift=[1.0, 15.0], probes=2, rng=7)
    occam = -0.5 * (naive.value - 4 * np.log([1.0, 15.0]))
    np.testing.assert_allclose(found.log_occam_factor, occam, rtol=1e-10)


def test_lanczos_estimates_without_bias_and_knows_its_error():
    model, data, naive = small_regression()
    found = lanczos(0.2, probes=60, rng=0)
    G = naive.gauss_newton()
    values, V = np.linalg.eigh(G)
    M = 0.5 * V @ np.diag(np.log1p(values / 0.2)) @ V.T
    deviation = np.sqrt(2.0 * (np.sum(M * M) - np.sum(np.diag(M) ** 2)))  # of one probe
    assert found.standard_error == pytest.approx(deviation / np.sqrt(60), rel=0.5)
    exact = evidence(model, data, prior_precision=0.2, loss="squared_error", noise_precision=1.5)
    assert found.newton_gain == pytest.approx(exact.newton_gain, rel=1e-6)
    assert found.newton_gain <= exact.newton_gain * (1 + 1e-12)
    runs = [lanczos(0.2, probes=2, rng=seed).log_occam_factor for seed in range(20)]
    assert_mean(runs, exact.log_occam_factor)
    with pytest.raises(AssertionError, match="beyond"):  # without the half
        assert_mean(runs, 2.0 * exact.log_occam_factor)


def test_lanczos_is_exact_for_a_diagonal_curvature():
    X = torch.diag(torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64))
    model = seeded(lambda: nn.Linear(3, 1, bias=False))
    options = {"prior_precision": [0.1, 4.0], "loss": "squared_error"}
    data = X, targets(n=3, outputs=1)
    found = evidence(model, data, curvature="lanczos", probes=2, rng=0, **options)
    exact = evidence(model, data, curvature="full", **options)
    np.testing.assert_allclose(found.log_evidence, exact.log_evidence, rtol=1e-10)
    np.testing.assert_allclose(found.effective_parameters, exact.effective_parameters, rtol=1e-7)
    assert np.all(found.standard_error < 1e-12)


# --- paths and mappings of priors -----------------------------------------------------------------


@pytest.mark.parametrize("curvature", [*EXACT, "kronecker"])
def test_a_path_is_its_priors_one_by_one(curvature):
    model, data = perceptron(), examples()
    path = np.array([[0.1, 1.0, 0.1], [3.0, 8.0, 20.0]])
    layers = {"0": path, "2": np.array([1.0, 2.0, 0.7])}
    for prior in (path, layers):
        found = evidence(model, data, prior_precision=prior, curvature=curvature)
        for index in np.ndindex(path.shape):
            one = path[index] if prior is path else {"0": path[index], "2": layers["2"][index[1]]}
            single = evidence(model, data, prior_precision=one, curvature=curvature)
            assert np.ndim(single.log_evidence) == 0
            for name in ("log_evidence", "effective_parameters", "newton_gain", "gradient_norm"):
                value = getattr(found, name)
                assert value.shape == path.shape
                assert value[index] == pytest.approx(getattr(single, name), rel=1e-9)


def test_the_longest_prefix_counts_and_names_end_at_dots():
    model = nn.Sequential(
        *(module for _ in range(11) for module in (nn.Linear(2, 2, bias=False),))
    ).double()
    X, y = examples(d=2, classes=2)
    named = {f"{i}.weight": 1.0 + i for i in range(11)}
    short = {"1": 2.0, "10.weight": 11.0, **{str(i): 1.0 + i for i in range(2, 10)}, "": 1.0}
    found = [
        evidence(model, (X, y), prior_precision=prior).log_evidence for prior in (named, short)
    ]
    assert found[0] == found[1]
    plain, under_empty = (
        evidence(model, (X, y), prior_precision=prior) for prior in (0.5, {"": 0.5})
    )
    assert plain.log_evidence == under_empty.log_evidence
    assert under_empty.prior_precision == {"": 0.5}
    assert plain.prior_precision == 0.5


# --- other coordinates ----------------------------------------------------------------------------

SCALES = st.floats(min_value=-6.0, max_value=6.0).map(lambda x: 2.0**x)


@given(scale=SCALES, first=SCALES, second=SCALES, seed=st.integers(0, 3))
def test_rescaled_layers_have_the_same_evidence(scale, first, second, seed):
    model, (X, y) = perceptron(hidden=2, seed=seed), examples(n=5, seed=seed)
    prior = {"0": first, "2": second}
    sharp, sharp_prior = rescale_layers(model, prior, first="0", second="2", scale=scale)
    assert torch.allclose(sharp(X), model(X), rtol=1e-12, atol=1e-12)
    here = evidence(model, (X, y), prior_precision=prior)
    there = evidence(sharp, (X, y), prior_precision=sharp_prior)
    for name in ("log_evidence", "effective_parameters", "newton_gain", "penalty"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), rel=1e-9, abs=1e-9)


def test_rescaling_changes_sharpness_and_without_its_prior_the_evidence():
    model, (X, y) = perceptron(), examples()
    here = evidence(model, (X, y), prior_precision=1.0)
    sharpness, unmatched = [], []
    for scale in (0.1, 1.0, 10.0):
        sharp, prior = rescale_layers(model, 1.0, first="0", second="2", scale=scale)
        there = evidence(sharp, (X, y), prior_precision=prior)
        assert there.log_evidence == pytest.approx(here.log_evidence, abs=1e-10)
        sharpness.append(np.linalg.eigvalsh(Naive(sharp, X, y).gauss_newton())[-1])
        unmatched.append(evidence(sharp, (X, y), prior_precision=1.0).log_evidence)
    assert min(sharpness[0], sharpness[2]) > 10 * sharpness[1]
    assert max(unmatched[0], unmatched[2]) < unmatched[1] - 1.0


def test_rescaling_copies_and_spreads_a_path_of_priors():
    model = perceptron()
    before = copy.deepcopy(model.state_dict())
    model[2].bias.requires_grad_(False)
    sharp, prior = rescale_layers(model, [1.0, 2.0], first="0", second="2", scale=4.0)
    assert list(prior) == ["0.weight", "0.bias", "2.weight"]
    np.testing.assert_array_equal(prior["0.bias"], [1 / 16, 1 / 8])
    np.testing.assert_array_equal(prior["2.weight"], [16.0, 32.0])
    torch.testing.assert_close(sharp[0].bias, 4.0 * model[0].bias, rtol=0.0, atol=0.0)
    torch.testing.assert_close(sharp[2].bias, model[2].bias, rtol=0.0, atol=0.0)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 0.0}, "scale must be positive, got 0"),
        ({"scale": float("nan")}, "scale has NaN"),
        ({"first": "2"}, "first and second must be two modules, got '2' twice"),
        ({"first": "1"}, "'1' is not the name of a module with a weight"),
        ({"second": "9"}, "'9' is not the name of a module with a weight"),
        ({"prior_precision": -1.0}, "prior_precision must be positive, got -1"),
    ],
)
def test_bad_rescalings_are_refused(options, message):
    given_options = {"prior_precision": 1.0, "first": "0", "second": "2", "scale": 2.0} | options
    with pytest.raises(ValueError, match=message):
        rescale_layers(perceptron(), **given_options)


# --- stationarity ---------------------------------------------------------------------------------


def test_weights_off_the_maximum_are_told_by_how_much():
    X, y = examples(n=11, d=3)
    fit = laplace_evidence(X, y, prior_precision=1.0)
    off = linear(fit.weights)
    with torch.no_grad():
        off.weight[0, 0] += 1.0
    with pytest.warns(NotStationaryWarning, match="raise the log evidence by up to") as caught:
        found = laplace_log_evidence(off, (X, y), prior_precision=1.0)
    assert f"{found.newton_gain:.3g} nats" in str(caught[0].message)
    assert caught[0].filename == __file__
    # To second order: the cost is not quadratic.
    assert found.newton_gain == pytest.approx(
        laplace_log_evidence(linear(fit.weights), (X, y), prior_precision=1.0).log_evidence
        - found.log_evidence,
        rel=0.3,
    )


# --- data and model -------------------------------------------------------------------------------


def test_all_forms_of_data_and_sizes_of_batches_are_one():
    model = perceptron(d=6)
    pixels = torch.tensor(np.random.default_rng(0).integers(0, 256, (9, 6)), dtype=torch.uint8)
    y = examples()[1]
    X = pixels.double() / 255
    forms = {
        "tensors": (X, y),
        "list": [(X[:4], y[:4]), (X[4:], y[4:].int())],
        "generator": ((X[i : i + 1], y[i : i + 1]) for i in range(9)),
        "dataset": DeviceDataset(X, y, 3),
        "pixels": DeviceDataset(pixels, y, 3, max_value=255.0),
    }
    found = {
        name: evidence(model, data, prior_precision=1.0, batch_size=2).log_evidence
        for name, data in forms.items()
    }
    assert found.pop("pixels") == pytest.approx(found["tensors"], abs=1e-4)  # float32 pixels
    for value in found.values():
        assert value == pytest.approx(found["tensors"], abs=1e-10)


def test_labels_are_unit_vectors_for_squared_errors():
    model, (X, y) = perceptron(), examples()
    unit = functional.one_hot(y, 3).double()
    for data in ((X, y), DeviceDataset(X, y, 3)):
        found = evidence(model, data, prior_precision=1.0, loss="squared_error")
        expected = evidence(model, (X, unit), prior_precision=1.0, loss="squared_error")
        assert found.log_evidence == expected.log_evidence


def test_preprocessing_is_without_augmentation():
    images = torch.tensor(np.random.default_rng(0).random((6, 1, 4, 4)))
    y = torch.tensor([0, 1, 0, 1, 1, 0])
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 2)))
    random = Preprocessing(crop=2, random_crop=True, flip=True)
    found = evidence(model, DeviceDataset(images, y, 2, preprocessing=random), prior_precision=1.0)
    expected = evidence(model, (images[..., 1:3, 1:3], y), prior_precision=1.0)
    assert found.log_evidence == expected.log_evidence


def test_the_model_stays_as_it_is():
    model = perceptron().float()
    before = copy.deepcopy(model.state_dict())
    X, y = examples()
    state = torch.get_rng_state()
    for curvature in (*EXACT, "kronecker"):
        evidence(model, (X.float(), y), prior_precision=1.0, curvature=curvature)
    assert model.training
    assert all(part.grad is None and part.requires_grad for part in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
        assert value.dtype == torch.float32
    assert torch.equal(torch.get_rng_state(), state)


def test_float32_models_are_computed_in_float64_unless_asked():
    model, (X, y) = perceptron().float(), examples()
    double = evidence(copy.deepcopy(model).double(), (X, y), prior_precision=1.0)
    assert evidence(model, (X, y), prior_precision=1.0).log_evidence == double.log_evidence
    single = evidence(model, (X, y), prior_precision=1.0, dtype=torch.float32)
    assert single.log_evidence == pytest.approx(double.log_evidence, rel=1e-5)
    assert single.log_evidence != double.log_evidence


def test_fixed_parameters_do_not_count():
    model, (X, y) = perceptron(), examples()
    model[0].requires_grad_(False)
    head = copy.deepcopy(model[2])
    features = model[:2](X).detach()
    for curvature in EXACT:
        found = evidence(model, (X, y), prior_precision={"2": 0.5}, curvature=curvature)
        expected = evidence(head, (features, y), prior_precision=0.5)
        assert found.n_parameters == expected.n_parameters == 12
        assert found.log_evidence == pytest.approx(expected.log_evidence, abs=1e-10)


def test_tied_weights_count_once():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3, 3)
            self.second = self.first

        def forward(self, inputs):
            return self.second(torch.tanh(self.first(inputs)))

    model, (X, y) = seeded(Tied), examples(d=3)
    found = evidence(model, (X, y), prior_precision=0.5)
    naive = Naive(model, X, y)
    naive.check(found, naive.gauss_newton(), 0.5)


def test_auto_decomposes_the_smaller_side():
    X, y = examples(n=20)
    model = perceptron()
    assert evidence(model, (X, y), prior_precision=1.0).method == "full"
    assert evidence(model, (X[:5], y[:5]), prior_precision=1.0).method == "dual"


def test_auto_probes_what_is_too_large(monkeypatch):
    monkeypatch.setattr("deep._evidence_curvature._EXACT_SIDE", 3)
    model, data, _ = small_regression()
    options = {"prior_precision": 1.0, "loss": "squared_error", "probes": 2, "rng": 0}
    assert evidence(model, data, **options).method == "lanczos"
    assert (
        evidence(model, data, **options).log_evidence
        == evidence(model, data, **options).log_evidence
    )


def test_bars_are_silent_in_a_pipe(capsys):
    model, data, _ = small_regression()
    for curvature, name in (("dual", "Jacobians"), ("lanczos", "Lanczos")):
        for progress in (None, False, True):
            evidence(
                model,
                data,
                prior_precision=1.0,
                loss="squared_error",
                curvature=curvature,
                probes=2,
                steps=2,
                progress=progress,
            )
            shown = capsys.readouterr().err
            assert name in shown if progress else not shown


# --- bad input ------------------------------------------------------------------------------------


class Poisoned(nn.Module):
    """Its outputs are finite and its gradients are not."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 3, dtype=torch.float64))

    def forward(self, inputs):
        return inputs @ self.weight.abs().sqrt()


def not_finite():
    model = perceptron()
    with torch.no_grad():
        model[2].bias[0] = np.nan
    return model


def training_mode(layer):
    return nn.Sequential(nn.Linear(4, 3), layer).double()


X, Y = examples()
BAD_VALUES = {
    "zero": ({"prior_precision": 0.0}, "prior_precision must be positive, got 0"),
    "negative": ({"prior_precision": [1.0, -2.0]}, "prior_precision must be positive, got -2"),
    "nan": ({"prior_precision": np.nan}, "prior_precision has NaN"),
    "infinite": ({"prior_precision": np.inf}, "prior_precision has NaN or infinite"),
    "text": ({"prior_precision": "much"}, "prior_precision must be an array of numbers"),
    "empty path": ({"prior_precision": []}, "prior_precision is empty"),
    "layer's": ({"prior_precision": {"": 0.0}}, r"prior_precision\[''\] must be positive, got 0"),
    "no such layer": (
        {"prior_precision": {"": 1.0, "7": 1.0}},
        "has '7', with which no .* are 0.weight, 0.bias, 2.weight, 2.bias",
    ),
    "half a name": ({"prior_precision": {"": 1.0, "2.wei": 1.0}}, "has '2.wei', with which no"),
    "layers left out": (
        {"prior_precision": {"2.weight": 1.0, "0": 1.0}},
        "prior_precision has no entry for 2.bias",
    ),
    "no layers": ({"prior_precision": {}}, "prior_precision has no entry for 0.weight"),
    "paths": (
        {"prior_precision": {"0": [1.0, 2.0], "2": [1.0, 2.0, 3.0]}},
        r"prior_precision must have shapes that broadcast, got \(2,\), \(3,\)",
    ),
    "unresolved": ({"prior_precision": 1e-14}, "prior_precision = 1e-14 is too small"),
    "loss": ({"loss": "hinge"}, "loss must be one of cross_entropy, squared_error; got 'hinge'"),
    "curvature": ({"curvature": "diagonal"}, "curvature must be one of auto, dual, .* 'diagonal'"),
    "noise": (
        {"loss": "squared_error", "noise_precision": 0.0},
        "noise_precision must be positive, got 0",
    ),
    "batch_size": ({"batch_size": 0}, "batch_size must be an integer of at least 1, got 0"),
    "probes": ({"probes": 1}, "probes must be an integer of at least 2, got 1"),
    "steps": ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
    "dtype": ({"dtype": torch.float16}, "dtype must be torch.float32 or torch.float64"),
    "weights": ({"model": not_finite()}, "weights that are not finite, in 2.bias"),
    "loss value": ({"data": (X * np.nan, Y)}, "the loss at the model's weights is not finite: nan"),
    "gradient": ({"model": Poisoned()}, "the gradient at the model's weights is not finite"),
    "batch norm": (
        {"model": training_mode(nn.BatchNorm1d(3))},
        "1 is a BatchNorm1d in training mode.* call model.eval",
    ),
    "dropout": ({"model": training_mode(nn.Dropout(0.1))}, "1 is a Dropout in training mode"),
    "no parameters": ({"model": nn.ReLU()}, "model has no parameter that requires a gradient"),
    "inputs": ({"data": (X[:, :2], Y)}, r"the model does not take an example \(1, 2\)"),
    "labels high": ({"data": (X, Y + 1)}, "labels must be 0 to 2 for 3 outputs, got 1 to 3"),
    "labels low": ({"data": (X, Y - 1)}, "labels must be 0 to 2 for 3 outputs, got -1 to 1"),
    "labels' shape": ({"data": (X, Y[:, None])}, r"labels must be \(n,\), got \(9, 1\)"),
    "one logit": (
        {"model": perceptron(outputs=1)},
        "labels must be 0 to 1 for 2 outputs, got 0 to 2",
    ),
    "classes": (
        {"model": perceptron(outputs=4), "data": DeviceDataset(X, Y, 3)},
        r"one output for each of the 3 classes, got outputs \(1, 4\)",
    ),
    "outputs": (
        {"model": nn.Unflatten(1, (2, 2)), "frozen": True},
        r"outputs for one example must be \(1, K\) or \(1,\), got \(1, 2, 2\)",
    ),
    "targets": (
        {"loss": "squared_error", "data": (X, targets(outputs=2))},
        r"targets must be \(n, 3\) as the outputs are, got \(9, 2\)",
    ),
    "unequal": ({"data": (X, Y[:-1])}, "data must have as many targets as inputs"),
    "no examples": ({"data": (X[:0], Y[:0])}, "data must have as many targets as inputs, at least"),
    "no batches": ({"data": []}, "data is empty"),
    "layers": (
        {"model": nn.Sequential(nn.Linear(4, 3), nn.LayerNorm(3)), "curvature": "kronecker"},
        "curvature='kronecker' needs all .* in Linear and Conv2d .* 1.weight, 1.bias",
    ),
}


@pytest.mark.parametrize(("options", "message"), BAD_VALUES.values(), ids=list(BAD_VALUES))
def test_bad_values_are_refused(options, message):
    options = {"model": perceptron(), "data": (X, Y), "prior_precision": 1.0} | options
    if options.pop("frozen", False):
        options["model"] = nn.Sequential(nn.Linear(4, 4), options["model"])
    with pytest.raises(ValueError, match=message):
        laplace_log_evidence(options.pop("model"), options.pop("data"), **options)


BAD_TYPES = {
    "model": ({"model": "network"}, "model must be a torch.nn.Module, got str"),
    "data": ({"data": 3}, "data must be a DeviceDataset, .* got int"),
    "tensor": ({"data": X}, "data must be a DeviceDataset, .* got Tensor"),
    "text": ({"data": "data"}, "data must have batches of two tensors"),
    "numbers": ({"data": [1, 2]}, "data must have batches of two tensors"),
    "batches": ({"data": [(X, Y, Y)]}, "data must have batches of two tensors"),
    "arrays": ({"data": [(X.numpy(), Y.numpy())]}, "data must have batches of two tensors"),
    "labels": ({"data": (X, Y.double())}, "labels of cross_entropy must be integers"),
    "keys": ({"prior_precision": {0: 1.0}}, "prior_precision must have str keys, got 0"),
}


@pytest.mark.parametrize(("options", "message"), BAD_TYPES.values(), ids=list(BAD_TYPES))
def test_bad_types_are_refused(options, message):
    options = {"model": perceptron(), "data": (X, Y), "prior_precision": 1.0} | options
    with pytest.raises(TypeError, match=message):
        laplace_log_evidence(options.pop("model"), options.pop("data"), **options)


def test_float32_is_refused_a_prior_that_it_cannot_resolve():
    model, data = perceptron(), examples()
    assert np.isfinite(evidence(model, data, prior_precision=1e-6).log_evidence)
    for curvature in ("dual", "lanczos"):
        with pytest.raises(ValueError, match=r"prior_precision = 1e-06 is too small"):
            evidence(
                model,
                data,
                prior_precision=1e-6,
                dtype=torch.float32,
                curvature=curvature,
                probes=2,
                steps=3,
                rng=0,
            )


# --- against another library ----------------------------------------------------------------------


@pytest.fixture
def float64_by_default():
    """What the other library makes is of torch's default type."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("float64_by_default")
@pytest.mark.parametrize("likelihood", ["classification", "regression"])
def test_laplace_torch_agrees(likelihood):
    laplace = pytest.importorskip("laplace")
    from torch.utils.data import DataLoader, TensorDataset

    inputs, labels = examples(n=20)
    options = {"loss": "cross_entropy"}
    noise = {}
    if likelihood == "regression":
        labels = targets(n=20)
        options = {"loss": "squared_error", "noise_precision": 4.0}
        noise = {"sigma_noise": 0.5}
    model = perceptron().eval()
    theirs = laplace.Laplace(
        model,
        likelihood,
        subset_of_weights="all",
        hessian_structure="full",
        prior_precision=0.3,
        **noise,
    )
    theirs.fit(DataLoader(TensorDataset(inputs, labels), batch_size=20))
    found = evidence(model, (inputs, labels), prior_precision=0.3, **options)
    assert found.log_evidence == pytest.approx(float(theirs.log_marginal_likelihood()), abs=1e-6)


# --- decompositions that fail ---------------------------------------------------------------------


@pytest.mark.parametrize("curvature", ["full", "dual", "kronecker", "hessian"])
def test_a_decomposition_that_fails_is_made_in_another_way(curvature, monkeypatch):
    """As that of many equal eigenvalues may: inputs that are always zero give as many."""
    model, (X, y) = perceptron(), examples()
    X[:, 2:] = 0.0
    if curvature == "hessian":
        model = linear(np.zeros((5, 3)))
    options = {"prior_precision": [0.5, 2.0], "curvature": curvature}
    usual = evidence(model, (X, y), **options)

    def fails(matrix):
        raise torch.linalg.LinAlgError("linalg.eigh: The algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    other = evidence(model, (X, y), **options)
    for name in ("log_evidence", "effective_parameters", "newton_gain"):
        np.testing.assert_allclose(getattr(other, name), getattr(usual, name), rtol=1e-10)
