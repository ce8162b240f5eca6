"""Sharpness and curvature of networks: closed forms, dense Hessians, corner searches, naive loops.

Statistical tests fix their number of draws and α = 1e-5; each has a sibling that must fail.
"""

import copy
import functools
import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.optimize import fmin_l_bfgs_b

torch = pytest.importorskip("torch")

from stat_asserts import assert_mean  # noqa: E402
from torch import nn  # noqa: E402
from torch.autograd.functional import hessian as naive_hessian  # noqa: E402
from torch.func import functional_call  # noqa: E402
from torch.nn.functional import cross_entropy, mse_loss  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from deep.curvature import (  # noqa: E402
    expected_sharpness,
    hessian_eigenvalues,
    hessian_trace,
    keskar_sharpness,
    line_between,
    relative_flatness,
    rescaling_test,
    section,
)
from deep.evidence import rescale_layers  # noqa: E402
from deep.loader import to_device  # noqa: E402
from theory.smoothout import filter_noise, weight_noise  # noqa: E402


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def seeded(make, seed=5):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make().double()


def perceptron(d=4, hidden=3, outputs=3, seed=5, activation=nn.Tanh):
    return seeded(
        lambda: nn.Sequential(nn.Linear(d, hidden), activation(), nn.Linear(hidden, outputs)), seed
    )


def examples(n=9, d=4, classes=3, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.standard_normal((n, d))), torch.tensor(rng.integers(0, classes, n))


def direct(model, data):
    """The cross-entropy of a model as it is."""
    with torch.no_grad():
        return cross_entropy(model(data[0]), data[1]).item()


def linear(weights):
    weights = np.atleast_1d(weights)
    model = nn.Linear(len(weights), 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor(weights)[None])
    return model


def separable(curvatures, minimum):
    """Data on which the mean squared error of a linear model is ½ Σ h_i (w_i - c_i)²."""
    h, c = np.asarray(curvatures), np.asarray(minimum)
    X = np.diag(np.sqrt(len(h) * h / 2.0))
    return torch.tensor(X), torch.tensor(X @ c)[:, None]


def regression(d=5, n=12, seed=3):
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((n, d)), rng.standard_normal((n, 1))
    return rng.standard_normal(d), (torch.tensor(X), torch.tensor(y))


def mean_square(w, data):
    X, y = (part.numpy() for part in data)
    return float(np.mean((X @ w - y[:, 0]) ** 2))


class Naive:
    """The loss of a model as a function of its flat weights, and its dense Hessian."""

    def __init__(self, model, loss, data):
        self.model, self.loss, self.data = model, loss, data
        self.parts = dict(model.named_parameters())
        self.w = torch.cat([part.detach().reshape(-1) for part in self.parts.values()])

    def __call__(self, w):
        pieces = torch.split(w, [part.numel() for part in self.parts.values()])
        pairs = zip(self.parts.items(), pieces, strict=True)
        state = {name: piece.view(part.shape) for (name, part), piece in pairs}
        return self.loss(functional_call(self.model, state, (self.data[0],)), self.data[1])

    def at(self, w):
        return float(self(torch.as_tensor(w)))

    def gradient(self, w):
        leaf = torch.tensor(w, requires_grad=True)
        return torch.autograd.grad(self(leaf), leaf)[0].numpy()

    def hessian(self):
        return naive_hessian(self, self.w).numpy()

    def block(self, name):
        """The places of a parameter's entries."""
        sizes = [part.numel() for part in self.parts.values()]
        at = list(self.parts).index(name)
        return slice(sum(sizes[:at]), sum(sizes[: at + 1]))


# --- Keskar sharpness -----------------------------------------------------------------------------


def phi(largest, loss):
    return 100.0 * (largest - loss) / (1.0 + loss)


def corner_maximum(function, centre, A, sides):
    """The maximum of a convex function over a box is at one of its corners."""
    corners = itertools.product([-1.0, 1.0], repeat=len(sides))
    return max(function(centre + A @ (np.array(signs) * sides)) for signs in corners)


@given(
    h=arrays(float, 4, elements=st.floats(0.1, 5.0)),
    w=arrays(float, 4, elements=st.floats(-2.0, 2.0)),
    c=arrays(float, 4, elements=st.floats(-2.0, 2.0)),
    epsilon=st.floats(1e-4, 0.5),
)
def test_the_box_maximum_of_a_separable_quadratic_is_exact(h, w, c, epsilon):
    assume(np.min(np.abs(w - c)) > 0.05)
    found = keskar_sharpness(linear(w), mse_loss, separable(h, c), epsilon=epsilon)
    farthest = np.abs(w - c) + epsilon * (np.abs(w) + 1.0)
    largest, loss = 0.5 * np.sum(h * farthest**2), 0.5 * np.sum(h * (w - c) ** 2)
    assert float(found.loss) == pytest.approx(loss, rel=1e-12)
    assert found.sharpness.item() == pytest.approx(phi(largest, loss), rel=1e-6)
    assert found.largest_loss.item() == pytest.approx(largest, rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_random_starts_find_the_best_corner_of_the_box(seed):
    w, data = regression(seed=seed)
    epsilon = 0.3
    best = corner_maximum(lambda v: mean_square(v, data), w, np.eye(5), epsilon * (np.abs(w) + 1.0))
    options = {"epsilon": epsilon, "max_iterations": 100}
    found = keskar_sharpness(linear(w), mse_loss, data, start="random", repeats=40, **options)
    assert found.largest_loss.max().item() == pytest.approx(best, rel=1e-9)
    assert np.all(found.largest_loss <= best * (1.0 + 1e-12))
    published = keskar_sharpness(linear(w), mse_loss, data, epsilon=epsilon)
    assert found.loss < published.largest_loss.item() <= best * (1.0 + 1e-12)


@pytest.mark.parametrize("convention", ["keskar", "smoothout"])
def test_a_subspace_is_searched_as_its_convention_says(convention):
    w, data = regression()
    p, seed, epsilon = 2, 11, 0.2
    rng = np.random.default_rng([seed, 0])
    if convention == "keskar":
        A = rng.standard_normal((p, 5)).T
        A /= np.linalg.norm(A, axis=0)
        inverse = np.linalg.pinv(A)
    else:
        inverse = rng.uniform(-1.0, 1.0, (p, 5))
        inverse /= np.linalg.norm(inverse, axis=1)[:, None]
        A = np.linalg.pinv(inverse)
    best = corner_maximum(
        lambda v: mean_square(v, data), w, A, epsilon * (np.abs(inverse @ w) + 1.0)
    )
    found = keskar_sharpness(
        linear(w),
        mse_loss,
        data,
        epsilon=epsilon,
        subspace_dimension=p,
        convention=convention,
        seed=seed,
    )
    assert found.largest_loss.item() == pytest.approx(best, rel=1e-9)
    assert found.sharpness.item() == pytest.approx(phi(best, mean_square(w, data)), rel=1e-7)


def test_a_subspace_of_one_parameter_is_the_full_space():
    data = separable([2.0], [0.5])
    whole = keskar_sharpness(linear([1.5]), mse_loss, data, epsilon=0.01)
    for convention in ("keskar", "smoothout"):
        found = keskar_sharpness(
            linear([1.5]),
            mse_loss,
            data,
            epsilon=0.01,
            subspace_dimension=1,
            convention=convention,
            repeats=3,
        )
        np.testing.assert_allclose(found.sharpness, whole.sharpness.item(), rtol=1e-9)


def test_of_a_network_it_is_what_the_published_code_computes():
    model, data = perceptron(), examples()
    naive = Naive(model, cross_entropy, data)
    x = naive.w.numpy()
    for epsilon in (5e-4, 1e-3, 0.05):
        b = epsilon * (np.abs(x) + 1.0)
        _, lowest, info = fmin_l_bfgs_b(
            lambda v: (-naive.at(v), -naive.gradient(v)),
            x,
            maxiter=10,
            bounds=np.stack([x - b, x + b], axis=1),
        )
        found = keskar_sharpness(model, cross_entropy, data, epsilon=epsilon)
        assert found.sharpness.item() == pytest.approx(phi(-lowest, naive.at(x)), rel=1e-5)
        assert found.iterations.item() == info["nit"]
        assert found.evaluations.item() == info["funcalls"]


def test_from_an_exact_minimum_lbfgsb_does_not_move():
    model, data = linear([1.0, -1.0]), separable([4.0, 3.0], [1.0, -1.0])
    stuck = keskar_sharpness(model, mse_loss, data, epsilon=1e-3)
    assert (stuck.sharpness.item(), stuck.iterations.item()) == (0.0, 0)
    moved = keskar_sharpness(model, mse_loss, data, epsilon=0.1, start="random", repeats=2)
    np.testing.assert_allclose(moved.sharpness, 100 * 0.5 * (4 + 3) * 0.2**2, rtol=1e-9)


def test_named_parameters_alone_are_moved():
    data = torch.ones(4, 1).double(), torch.zeros(4, 1).double()
    model = nn.Linear(1, 1).double()
    nn.init.constant_(model.weight, 1.0)
    nn.init.constant_(model.bias, 2.0)
    found = keskar_sharpness(model, mse_loss, data, epsilon=0.1, parameters=["bias"])
    assert found.largest_loss.item() == pytest.approx((1.0 + 2.3) ** 2)
    assert found.attrs["n_parameters"] == 1


def test_epsilons_share_their_subspaces_and_are_ordered():
    w, data = regression()
    options = {"subspace_dimension": 2, "repeats": 3, "seed": 4}
    both = keskar_sharpness(linear(w), mse_loss, data, epsilon=[0.01, 0.1], **options)
    assert dict(both.sizes) == {"epsilon": 2, "repeat": 3}
    assert np.all(both.sharpness[0] < both.sharpness[1])
    one = keskar_sharpness(linear(w), mse_loss, data, epsilon=0.1, **options)
    np.testing.assert_array_equal(both.sharpness[1], one.sharpness[0])
    assert len(np.unique(one.sharpness)) == 3


# --- expected sharpness ---------------------------------------------------------------------------

DRAWS = 2000
STRENGTH = 0.3


@functools.cache
def noisy_rises(noise, scaling=None):
    w, data = regression()
    found = expected_sharpness(
        linear(w),
        mse_loss,
        data,
        strength=STRENGTH,
        noise=noise,
        scaling=scaling,
        draws=DRAWS,
    )
    return found.increase.values[0], w, 2.0 * np.diag(data[0].numpy().T @ data[0].numpy()) / 12


@pytest.mark.parametrize(("noise", "variance"), [("uniform", 1 / 3), ("normal", 1.0)])
def test_the_mean_rise_of_a_quadratic_is_half_the_trace_times_the_variance(noise, variance):
    rises, _, h = noisy_rises(noise)
    assert_mean(rises, 0.5 * variance * STRENGTH**2 * np.sum(h))


@pytest.mark.parametrize(("noise", "variance"), [("uniform", 1.0), ("normal", 1 / 3)])
def test_the_variance_of_the_other_noise_is_refuted(noise, variance):
    rises, _, h = noisy_rises(noise)
    with pytest.raises(AssertionError):
        assert_mean(rises, 0.5 * variance * STRENGTH**2 * np.sum(h))


@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_filter_noise_has_the_variance_of_its_filter(noise):
    rises, w, h = noisy_rises(noise, "filter")
    assert_mean(rises, 0.5 * STRENGTH**2 * np.sum(h) * np.mean(w**2))
    with pytest.raises(AssertionError):
        assert_mean(rises, 0.5 * STRENGTH**2 * np.sum(h) * np.sum(w**2))


def test_weight_noise_has_the_variance_of_its_weight():
    rises, w, h = noisy_rises("uniform", "weight")
    assert_mean(rises, STRENGTH**2 * np.sum(h * w**2) / 6)
    with pytest.raises(AssertionError):
        assert_mean(rises, STRENGTH**2 * np.sum(h * w**2) / 2)


@pytest.mark.parametrize("scaling", [None, "weight", "filter"])
def test_rises_are_those_of_a_naive_loop(scaling):
    model, data = perceptron(), examples()
    naive = Naive(model, cross_entropy, data)
    found = expected_sharpness(
        model, cross_entropy, data, strength=[0.1, 0.5], scaling=scaling, draws=3, seed=9
    )
    rng = np.random.default_rng(9)
    for draw in range(3):
        u = rng.uniform(-1.0, 1.0, len(naive.w))
        for number, a in enumerate([0.1, 0.5]):
            noises = []
            for name, part in naive.parts.items():
                w = part.detach().numpy()
                piece = u[naive.block(name)].reshape(w.shape)
                if scaling == "filter":
                    noises.append(filter_noise(w, piece, strength=a).ravel())
                elif scaling == "weight":
                    noises.append(weight_noise(w, piece, strength=a).ravel())
                else:
                    noises.append(a * piece.ravel())
            rise = naive.at(naive.w.numpy() + np.concatenate(noises)) - naive.at(naive.w)
            assert found.increase[number, draw].item() == pytest.approx(rise, abs=1e-12)
    error = found.increase.std("draw", ddof=1) / np.sqrt(3)
    np.testing.assert_allclose(found.standard_error, error)
    np.testing.assert_allclose(found.expected_sharpness, found.increase.mean("draw"))


def test_filter_noise_does_not_see_a_rescaling_and_plain_noise_does():
    model, data = perceptron(activation=nn.ReLU), examples()
    rescaled, _ = rescale_layers(model, 1.0, first="0", second="2", scale=5.0)
    options = {"strength": 0.2, "draws": 5}

    def rises(own, scaling):
        return expected_sharpness(own, cross_entropy, data, scaling=scaling, **options).increase

    np.testing.assert_allclose(rises(model, "filter"), rises(rescaled, "filter"), rtol=1e-9)
    assert np.abs(rises(model, None) - rises(rescaled, None)).max() > 0.1


# --- trace and eigenvalues ------------------------------------------------------------------------


@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_an_exact_trace_is_that_of_the_dense_hessian(activation):
    model, data = perceptron(activation=activation), examples()
    naive = Naive(model, cross_entropy, data)
    diagonal = np.diag(naive.hessian())
    found = hessian_trace(model, cross_entropy, data, probes=len(naive.w))
    assert float(found.hessian_trace) == pytest.approx(diagonal.sum(), rel=1e-12)
    for name in naive.parts:
        expected = diagonal[naive.block(name)].sum()
        assert float(found.parameter_trace.sel(parameter=name)) == pytest.approx(expected)
    assert float(found.standard_error) == 0.0
    assert not found.parameter_standard_error.any()


SEEDS = 60  # estimates of a trace, each of PROBES probes
PROBES = 10


def test_hutchinson_is_unbiased_and_knows_its_error():
    model, data = perceptron(), examples()
    naive = Naive(model, cross_entropy, data)
    diagonal = np.diag(naive.hessian())
    estimates = [
        hessian_trace(model, cross_entropy, data, probes=PROBES, seed=seed) for seed in range(SEEDS)
    ]
    traces = np.array([float(found.hessian_trace) for found in estimates])
    assert_mean(traces, diagonal.sum())
    with pytest.raises(AssertionError):
        assert_mean(traces, 1.5 * diagonal.sum())
    layer = [float(found.parameter_trace.sel(parameter="2.weight")) for found in estimates]
    assert_mean(layer, diagonal[naive.block("2.weight")].sum())
    squares = np.array([float(found.standard_error) ** 2 for found in estimates])
    # Squared deviations and squared errors have one mean.
    assert_mean((traces - diagonal.sum()) ** 2 - squares, 0.0)
    with pytest.raises(AssertionError):
        assert_mean((traces - diagonal.sum()) ** 2 - 4.0 * squares, 0.0)


@pytest.mark.parametrize("which", ["largest", "smallest", "magnitude"])
@pytest.mark.parametrize("hidden", [3, 20], ids=["dense", "lanczos"])
def test_eigenvalues_are_those_of_the_dense_hessian(which, hidden):
    model, data = perceptron(hidden=hidden), examples()
    exact = np.linalg.eigvalsh(Naive(model, cross_entropy, data).hessian())
    order = {"largest": -exact, "smallest": exact, "magnitude": -np.abs(exact)}[which]
    expected = exact[np.argsort(order)[:3]]
    found = hessian_eigenvalues(model, cross_entropy, data, k=3, which=which)
    np.testing.assert_allclose(found.eigenvalue, expected, rtol=1e-6)
    assert np.all(np.abs(found.eigenvalue - expected) <= found.residual + 1e-12)
    assert np.all(found.residual < 1e-4 * np.abs(exact).max())


def test_all_eigenvalues_sum_to_the_trace():
    model, data = perceptron(hidden=20), examples()
    P = 163
    found = hessian_eigenvalues(model, cross_entropy, data, k=P)
    trace = hessian_trace(model, cross_entropy, data, probes=P).hessian_trace
    assert float(found.eigenvalue.sum()) == pytest.approx(float(trace), rel=1e-10)
    assert found.attrs["n_parameters"] == P


def test_arpack_says_that_it_did_not_converge():
    with pytest.raises(RuntimeError, match="max_iterations"):
        hessian_eigenvalues(
            perceptron(hidden=40),
            cross_entropy,
            examples(),
            k=2,
            which="smallest",
            tolerance=1e-15,
            max_iterations=1,
        )


# --- relative flatness ----------------------------------------------------------------------------


def naive_kappa(naive, name):
    """Petzka's double sum over neurons, from the dense Hessian."""
    W = naive.parts[name].detach().flatten(1).numpy()
    n, d = W.shape
    place = naive.block(name)
    H = naive.hessian()[place, place].reshape(n, d, n, d)
    return sum(
        W[s] @ W[t] * sum(H[s, j, t, j] for j in range(d)) for s in range(n) for t in range(n)
    )


def convolution():
    return seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 2, 2), nn.Tanh(), nn.Flatten(), nn.Linear(8, 3))
    )


def images():
    rng = np.random.default_rng(0)
    return torch.tensor(rng.standard_normal((6, 1, 3, 3))), torch.tensor(rng.integers(0, 3, 6))


@pytest.mark.parametrize(
    ("model", "data"), [(perceptron(), examples()), (convolution(), images())], ids=["mlp", "conv"]
)
def test_relative_flatness_is_the_double_sum_over_neurons(model, data):
    naive = Naive(model, cross_entropy, data)
    found = relative_flatness(model, cross_entropy, data)
    layers = [name for name, part in naive.parts.items() if part.ndim > 1]
    assert list(found.layer.values) == layers
    for name in layers:
        kappa = float(found.relative_flatness.sel(layer=name))
        assert kappa == pytest.approx(naive_kappa(naive, name), rel=1e-10)
    assert not found.standard_error.any()


def test_relative_flatness_is_invariant_under_rescaled_layers_and_neurons():
    model, data = perceptron(activation=nn.ReLU), examples()
    kappa = relative_flatness(model, cross_entropy, data).relative_flatness
    whole, _ = rescale_layers(model, 1.0, first="0", second="2", scale=3.0)
    found = relative_flatness(whole, cross_entropy, data).relative_flatness
    np.testing.assert_allclose(found, kappa, rtol=1e-10)
    neurons, factors = copy.deepcopy(model), torch.tensor([0.2, 1.0, 7.0]).double()
    with torch.no_grad():
        neurons[0].weight *= factors[:, None]
        neurons[0].bias *= factors
        neurons[2].weight /= factors
    found = relative_flatness(neurons, cross_entropy, data).relative_flatness
    assert float(found[0]) == pytest.approx(float(kappa[0]), rel=1e-10)
    assert float(found[1]) != pytest.approx(float(kappa[1]), rel=1e-2)  # inputs scaled one by one
    traces = [
        float(hessian_trace(own, cross_entropy, data).hessian_trace) for own in (model, whole)
    ]
    assert traces[1] > 2.0 * traces[0]


def test_relative_flatness_is_estimated_without_bias():
    model, data = perceptron(), examples()
    naive = Naive(model, cross_entropy, data)
    expected = naive_kappa(naive, "0.weight")
    found = [
        float(
            relative_flatness(
                model, cross_entropy, data, layers=["0.weight"], probes=8, seed=seed
            ).relative_flatness[0]
        )
        for seed in range(SEEDS)
    ]
    assert_mean(found, expected)
    with pytest.raises(AssertionError):
        assert_mean(found, 2.0 * expected)


# --- sections and lines ---------------------------------------------------------------------------

AXIS = np.linspace(-1.0, 1.0, 5)


@pytest.mark.parametrize("noise", ["normal", "uniform"])
def test_sections_are_direct_evaluations(noise):
    model, data = perceptron(), examples()
    naive = Naive(model, cross_entropy, data)
    rng = np.random.default_rng(2)
    directions = []
    for _ in range(2):
        draw = rng.standard_normal if noise == "normal" else lambda n: rng.uniform(-1, 1, n)
        u, pieces = draw(len(naive.w)), []
        for name, part in naive.parts.items():
            w, d = part.detach().numpy(), u[naive.block(name)].reshape(part.shape)
            for w_f, d_f in zip(w, d, strict=True):
                pieces.append(np.ravel(d_f / np.linalg.norm(d_f) * np.linalg.norm(w_f)))
        directions.append(np.concatenate(pieces))
    plane = section(model, cross_entropy, data, x=AXIS, y=AXIS[1:], noise=noise, seed=2)
    assert plane.section.dims == ("x", "y")
    d, e = directions
    for x, y in itertools.product(AXIS, AXIS[1:]):
        expected = naive.at(naive.w.numpy() + x * d + y * e)
        assert float(plane.section.sel(x=x, y=y)) == pytest.approx(expected, rel=1e-4)
    cosine = d @ e / np.linalg.norm(d) / np.linalg.norm(e)
    assert float(plane.cosine) == pytest.approx(cosine, abs=1e-4)
    line = section(model, cross_entropy, data, x=AXIS, noise=noise, seed=2)
    np.testing.assert_array_equal(line.section, plane.section.sel(y=0.0))
    assert float(line.section.sel(x=0.0)) == float(line.loss) == naive.at(naive.w)


def test_filter_normalized_sections_do_not_see_a_rescaling():
    model, data = perceptron(activation=nn.ReLU), examples()
    rescaled, _ = rescale_layers(model, 1.0, first="0", second="2", scale=5.0)

    def line(own, normalized):
        return section(own, cross_entropy, data, x=AXIS, filter_normalized=normalized).section

    np.testing.assert_allclose(line(model, True), line(rescaled, True), rtol=1e-9)
    assert np.abs(line(model, False) - line(rescaled, False)).max() > 0.01


def test_an_unnormalized_section_moves_along_the_draw():
    w, data = regression()
    found = section(linear(w), mse_loss, data, x=AXIS, filter_normalized=False, seed=6)
    d = np.random.default_rng(6).standard_normal(5)
    np.testing.assert_allclose(found.section, [mean_square(w + x * d, data) for x in AXIS])


def normalized_network(seed):
    model = seeded(
        lambda: nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.ReLU(), nn.Linear(3, 3)), seed
    )
    model.train()(examples(seed=seed)[0])  # running statistics of its own
    return model.eval()


def test_a_line_has_the_checkpoints_losses_at_its_ends():
    first, second, data = normalized_network(1), normalized_network(2), examples()
    found = line_between(first, second, cross_entropy, data, position=[-1, 0, 0.3, 1, 2])
    for t, model in ((0, first), (1, second)):
        assert float(found.line_loss.sel(position=t)) == direct(model, data)
    states = first.state_dict(), second.state_dict()
    mixture = copy.deepcopy(first)
    mixture.load_state_dict(
        {
            name: 0.7 * part + 0.3 * states[1][name] if part.is_floating_point() else part
            for name, part in states[0].items()
        }
    )
    middle = float(found.line_loss.sel(position=0.3))
    assert middle == pytest.approx(direct(mixture, data), rel=1e-12)
    squares = [
        (a - b).square().sum().item()
        for a, b in zip(first.parameters(), second.parameters(), strict=True)
    ]
    assert float(found.distance) == pytest.approx(np.sqrt(sum(squares)))


def test_a_line_takes_a_state_dictionary_and_estimates_statistics_again():
    first, second, data = normalized_network(1), normalized_network(2), examples()
    options = {"position": [0.0, 0.5, 1.0], "batch_norm": "batch"}
    found = line_between(first, second.state_dict(), cross_entropy, data, **options)
    expected = direct(copy.deepcopy(second).train(), data)
    assert float(found.line_loss[2]) == pytest.approx(expected, rel=1e-12)
    same = line_between(first, second, cross_entropy, data, **options)
    np.testing.assert_array_equal(found.line_loss, same.line_loss)
    running = line_between(first, second, cross_entropy, data, position=[0.5])
    assert running.attrs["batch_norm"] == "running statistics"
    assert found.attrs["batch_norm"] == "batch statistics"
    assert float(running.line_loss[0]) != float(found.line_loss[1])


# --- rescaling ------------------------------------------------------------------------------------


def test_one_function_is_as_sharp_as_one_likes():
    model, data = perceptron(activation=nn.ReLU), examples()
    scales = [0.1, 0.5, 1.0, 2.0, 10.0]
    found = rescaling_test(
        model, cross_entropy, data, first="0", second="2", scale=scales, draws=10
    )
    assert np.all(found.function_change < 1e-12)
    np.testing.assert_allclose(found.hessian_trace, found.predicted_trace, rtol=1e-9)
    naive = Naive(model, cross_entropy, data)
    diagonal = np.diag(naive.hessian())
    blocks = [diagonal[naive.block(name)].sum() for name in naive.parts]
    law = [a**-2 * (blocks[0] + blocks[1]) + a**2 * blocks[2] + blocks[3] for a in scales]
    np.testing.assert_allclose(found.predicted_trace, law, rtol=1e-9)
    for name in ("relative_flatness", "filter_sharpness"):
        np.testing.assert_allclose(found[name], found[name].sel(scale=[1.0] * 5), rtol=1e-7)
    for name in ("hessian_trace", "keskar_sharpness", "expected_sharpness"):
        assert found[name].max() > 2.0 * found[name].min()
    assert list(found.layer.values) == ["0.weight", "2.weight"]


def test_estimated_traces_follow_the_law_within_their_errors():
    model, data = perceptron(hidden=12, activation=nn.ReLU), examples(n=20)
    found = rescaling_test(
        model, cross_entropy, data, first="0", second="2", scale=[0.3, 3.0], draws=2, probes=60
    )
    error = np.hypot(found.hessian_trace_error, found.predicted_trace_error)
    assert np.all(error > 0.0)
    assert np.all(np.abs(found.hessian_trace - found.predicted_trace) < 5.0 * error)


def test_what_is_no_rescaling_is_refused():
    with pytest.raises(ValueError, match="positively homogeneous"):
        rescaling_test(
            perceptron(), cross_entropy, examples(), first="0", second="2", scale=[2.0], draws=2
        )


# --- what all have in common ----------------------------------------------------------------------

MEASURES = {
    "keskar": lambda *args, **more: keskar_sharpness(*args, epsilon=1e-3, **more),
    "expected": lambda *args, **more: expected_sharpness(*args, strength=0.1, draws=3, **more),
    "trace": lambda *args, **more: hessian_trace(*args, probes=4, **more),
    "eigenvalues": hessian_eigenvalues,
    "flatness": lambda *args, **more: relative_flatness(*args, probes=4, **more),
    "section": lambda *args, **more: section(*args, x=AXIS, **more),
    "line": lambda model, *args, **more: line_between(
        model, model.state_dict(), *args, position=[0.0, 0.5], **more
    ),
}
every_measure = pytest.mark.parametrize("measure", MEASURES.values(), ids=MEASURES)


def busy_network():
    """A network in the middle of training: modes, gradients and statistics of its own."""
    model = seeded(
        lambda: nn.Sequential(
            nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, 3)
        )
    )
    model[0].bias.requires_grad_(False)
    model.train()
    X, y = examples(seed=8)
    cross_entropy(model(X), y).backward()
    model[1].eval()
    return model


def snapshot(model):
    return {
        "state": {name: part.clone() for name, part in model.state_dict().items()},
        "gradients": {
            name: None if part.grad is None else part.grad.clone()
            for name, part in model.named_parameters()
        },
        "identity": [(id(part), id(part.grad)) for part in model.parameters()],
        "modes": [module.training for module in model.modules()],
        "trained": [part.requires_grad for part in model.parameters()],
        "random": torch.get_rng_state(),
    }


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, dict):
            assert_same(found[name], value)
        elif isinstance(value, torch.Tensor):
            assert torch.equal(found[name], value), name
        else:
            assert found[name] == value, name


@every_measure
@pytest.mark.parametrize("batch_norm", ["running", "batch"])
def test_the_model_stays_as_it_is_bit_for_bit(measure, batch_norm):
    model, data = busy_network(), examples()
    before, inputs = snapshot(model), data[0].clone()
    measure(model, cross_entropy, data, batch_norm=batch_norm, progress=False)
    assert_same(snapshot(model), before)
    assert torch.equal(inputs, data[0])


def test_rescaling_leaves_the_model_as_it_is():
    model = perceptron(activation=nn.ReLU).train()
    before = snapshot(model)
    rescaling_test(model, cross_entropy, examples(), first="0", second="2", scale=3.0, draws=2)
    assert_same(snapshot(model), before)


@every_measure
def test_dropout_is_off_and_batch_norm_is_as_asked(measure):
    model, data = busy_network(), examples()
    quiet = copy.deepcopy(model).eval()
    running = measure(model, cross_entropy, data)
    assert running.attrs["n_parameters"] == 24 + 6 + 6 + 18 + 3  # not the bias that is frozen
    assert float(running.loss) == pytest.approx(direct(quiet, data), rel=1e-14)
    assert running.attrs["batch_norm"] == "running statistics"
    quiet[1].train()
    batch = measure(model, cross_entropy, data, batch_norm="batch")
    assert float(batch.loss) == pytest.approx(direct(quiet, data), rel=1e-14)
    assert batch.attrs["batch_norm"] == "batch statistics"
    plain = measure(perceptron(), cross_entropy, data)
    assert plain.attrs["batch_norm"] == "none in the network"


@every_measure
def test_loaders_batches_and_data_sets_give_the_same_numbers(measure):
    model, (X, y) = perceptron(), examples(n=10)
    whole = measure(model, cross_entropy, (X, y))
    parts = [
        measure(model, cross_entropy, (X, y), batch_size=4),
        measure(model, cross_entropy, DataLoader(TensorDataset(X, y), batch_size=3)),
        measure(model, cross_entropy, ((X[at : at + 7], y[at : at + 7]) for at in (0, 7))),
        measure(model, cross_entropy, to_device((X.numpy(), y.numpy()), n_classes=3)),
    ]
    for found in parts:
        for name in whole.data_vars:
            np.testing.assert_allclose(found[name], whole[name], rtol=2e-5, atol=1e-6, err_msg=name)
        assert found.attrs["n_examples"] == 10


@every_measure
def test_numbers_are_labeled_and_in_single_precision_about_the_same(measure):
    model, (X, y) = perceptron(), examples()
    whole, single = (
        measure(own, cross_entropy, (X.to(dtype), y))
        for own, dtype in ((model, torch.float64), (copy.deepcopy(model).float(), torch.float32))
    )
    assert float(single.loss) == pytest.approx(float(whole.loss), rel=1e-5)
    for name in ("hessian_trace", "eigenvalue", "relative_flatness", "section", "line_loss"):
        if name in whole:
            np.testing.assert_allclose(single[name], whole[name], rtol=1e-3)
    for name, variable in [*whole.data_vars.items(), *whole.coords.items()]:
        assert variable.attrs["long_name"], name
        assert variable.dtype.kind == "U" or variable.attrs["units"], name


# --- bad input ------------------------------------------------------------------------------------

LINE = {"position": [0.0, 1.0]}


def total(outputs, targets):
    return cross_entropy(outputs, targets, reduction="sum")


def exploding(outputs, targets):
    return (outputs[:, 0] / (targets - 1)).square().mean()


def frozen():
    return perceptron().requires_grad_(False)


@every_measure
@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"loss": total}, ValueError, "loss must be the mean over a batch"),
        ({"loss": exploding}, ValueError, "loss must be finite on every example"),
        ({"loss": "mean"}, TypeError, "loss must be callable"),
        ({"data": []}, ValueError, "data is empty"),
        ({"data": (torch.zeros(0, 4), torch.zeros(0))}, ValueError, "at least 1"),
        ({"data": 3}, TypeError, "data must be"),
        ({"data": (torch.zeros(3, 2).double(), torch.zeros(3).long())}, ValueError, "not take"),
        ({"model": frozen()}, ValueError, "parameters that require gradients"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"batch_norm": "train"}, ValueError, "batch_norm is 'train'"),
    ],
    ids=lambda value: "" if isinstance(value, dict) else None,
)
def test_what_all_refuse(measure, change, error, message):
    given = {"model": perceptron(), "loss": cross_entropy, "data": examples(), **change}
    more = {name: given[name] for name in given.keys() - {"model", "loss", "data"}}
    with pytest.raises(error, match=message):
        measure(given["model"], given["loss"], given["data"], **more)


@pytest.mark.parametrize("name", [name for name in MEASURES if name != "line"])
def test_what_is_no_module_is_refused(name):
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module"):
        MEASURES[name]("resnet", cross_entropy, examples())


def test_a_loss_that_is_not_finite_beyond_the_first_examples_is_refused():
    X, y = examples(n=40)
    X[39] = float("inf")
    with pytest.raises(ValueError, match="at the model's weights is not finite"):
        hessian_trace(perceptron(activation=nn.ReLU), cross_entropy, (X, y))


def squares_beyond(limit):
    def loss(outputs, targets):
        return torch.where(outputs.abs() < limit, outputs, torch.nan).square().mean()

    return loss


@pytest.mark.parametrize(
    ("measure", "options", "where"),
    [
        (keskar_sharpness, {"epsilon": 1.0}, "in the box of epsilon = 1"),
        (expected_sharpness, {"strength": [1e-3, 50.0]}, "under noise of strength 50"),
        (section, {"x": [0.0, 9.0]}, "at x = 9"),
        (section, {"x": [0.0], "y": [9.0]}, "at x = 0, y = 9"),
    ],
    ids=["keskar", "expected", "line", "plane"],
)
def test_a_loss_that_is_not_finite_elsewhere_says_where(measure, options, where):
    data = torch.ones(4, 1).double(), torch.zeros(4, 1).double()
    with pytest.raises(ValueError, match=where):
        measure(linear([1.0]), squares_beyond(2.0), data, **options)


def test_a_hessian_that_is_not_finite_is_refused():
    def kink(outputs, targets):
        return outputs.abs().pow(1.5).mean()

    data = torch.ones(4, 1).double(), torch.zeros(4, 1).double()
    for measure in (hessian_trace, hessian_eigenvalues, relative_flatness):
        with pytest.raises(ValueError, match="Hessian at the model's weights"):
            measure(linear([0.0]), kink, data)


@pytest.mark.parametrize(
    ("measure", "options", "message"),
    [
        (keskar_sharpness, {"epsilon": 0.0}, "epsilon must be positive"),
        (keskar_sharpness, {"epsilon": [1e-3, -1.0]}, "epsilon must be positive"),
        (keskar_sharpness, {"epsilon": [[1e-3]]}, "epsilon must have 1 dimensions"),
        (keskar_sharpness, {"subspace_dimension": 28}, "at most the number of parameters, 27"),
        (keskar_sharpness, {"subspace_dimension": 0}, "subspace_dimension"),
        (keskar_sharpness, {"convention": "dinh"}, "convention is 'dinh'"),
        (keskar_sharpness, {"start": "zero"}, "start is 'zero'"),
        (keskar_sharpness, {"repeats": 2}, "they would all be the same"),
        (keskar_sharpness, {"max_iterations": 0}, "max_iterations"),
        (keskar_sharpness, {"parameters": ["3.weight"]}, "parameters must name some of"),
        (keskar_sharpness, {"seed": -1}, "seed"),
        (expected_sharpness, {"strength": 0.0}, "strength must be positive"),
        (expected_sharpness, {"strength": [0.1, -0.1]}, "strength must be positive"),
        (expected_sharpness, {"strength": np.nan}, "strength has NaN"),
        (expected_sharpness, {"strength": 0.1, "noise": "cauchy"}, "noise is 'cauchy'"),
        (expected_sharpness, {"strength": 0.1, "scaling": "layer"}, "scaling is 'layer'"),
        (expected_sharpness, {"strength": 0.1, "draws": 1}, "draws"),
        (hessian_trace, {"probes": 1}, "probes"),
        (hessian_eigenvalues, {"k": 28}, "k must be at most the number of parameters, 27"),
        (hessian_eigenvalues, {"k": 0}, "k must be"),
        (hessian_eigenvalues, {"which": "LM"}, "which is 'LM'"),
        (hessian_eigenvalues, {"tolerance": 0.0}, "tolerance"),
        (relative_flatness, {"probes": 1}, "probes"),
        (relative_flatness, {"layers": ["0.bias"]}, "layers must name trainable weights"),
        (relative_flatness, {"layers": []}, "got none"),
        (section, {"x": []}, "x is empty"),
        (section, {"x": [0.0], "y": [np.inf]}, "y has NaN or infinite"),
        (section, {"x": [0.0], "noise": "sign"}, "noise is 'sign'"),
        (rescaling_test, {"scale": -1.0}, "scale must be positive"),
        (rescaling_test, {"scale": 2.0, "epsilon": 0.0}, "epsilon must be positive"),
        (rescaling_test, {"scale": 2.0, "strength": 0.0}, "strength must be positive"),
        (rescaling_test, {"scale": 2.0, "probes": 1}, "probes"),
        (rescaling_test, {"scale": 2.0, "first": "1"}, "not the name of a module with a weight"),
    ],
)
def test_arguments_out_of_range_are_refused(measure, options, message):
    if measure is rescaling_test:
        options = {"first": "0", "second": "2", **options}
    with pytest.raises(ValueError, match=message):
        measure(perceptron(), cross_entropy, examples(), **options)


@pytest.mark.parametrize(
    ("second", "error", "message"),
    [
        (perceptron(hidden=4), ValueError, r"0.weight is of shape \(4, 4\) in the second"),
        (nn.Linear(4, 3).double(), ValueError, "0.weight is missing in the second"),
        (
            {**perceptron().state_dict(), "3.weight": torch.zeros(1)},
            ValueError,
            "3.weight is of shape .* and missing in the first",
        ),
        (
            {**perceptron().state_dict(), "2.bias": torch.full((3,), torch.nan)},
            ValueError,
            "not finite, in 2.bias",
        ),
        ("checkpoint.pt", TypeError, "second must be a"),
    ],
    ids=["wider", "shallower", "more", "nan", "path"],
)
def test_a_checkpoint_that_does_not_fit_is_refused(second, error, message):
    with pytest.raises(error, match=message):
        line_between(perceptron(), second, cross_entropy, examples(), **LINE)


def test_a_negative_running_variance_is_refused():
    first, second = normalized_network(1), normalized_network(2)
    options = {"position": [-500.0, 500.0]}
    with pytest.raises(ValueError, match=r"at position -?500 the running variance 1\.running_var"):
        line_between(first, second, cross_entropy, examples(), **options)
    found = line_between(first, second, cross_entropy, examples(), batch_norm="batch", **options)
    assert np.all(np.isfinite(found.line_loss))


def test_a_line_refuses_a_first_that_is_no_module():
    with pytest.raises(TypeError, match=r"model must be a torch\.nn\.Module"):
        line_between(perceptron().state_dict(), perceptron(), cross_entropy, examples(), **LINE)


def test_a_model_without_matrices_has_no_relative_flatness():
    model = nn.Sequential(nn.BatchNorm1d(4)).double()
    with pytest.raises(ValueError, match="the model has none"):
        relative_flatness(model, cross_entropy, (examples(d=4)[0], examples()[1]))
