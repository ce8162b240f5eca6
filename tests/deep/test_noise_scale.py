"""The noise scale of networks against closed forms, naive loops and its spread over draws."""

import copy
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

torch = pytest.importorskip("torch")

from stat_asserts import assert_mean  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.utils.data import DataLoader, TensorDataset  # noqa: E402

from deep.loader import Preprocessing, to_device  # noqa: E402
from deep.noise_scale import (  # noqa: E402
    covariance_spectrum,
    gradient_noise_scale,
    gradient_normality,
    hessian_noise_scale,
    per_example_gradients,
    sde_noise_scale,
    tail_index,
    trade_off,
)
from theory import noise_scale as theory  # noqa: E402

FIELDS = [
    f"{name}{kind}"
    for name in ("noise_scale", "gradient_square", "noise_trace")
    for kind in ("", "_error")
]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def seeded(make, seed=5):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make().double()


def perceptron(*extra):
    return seeded(lambda: nn.Sequential(nn.Linear(4, 5), *extra, nn.ReLU(), nn.Linear(5, 3)))


def classes(n=12, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, 4))), torch.tensor(rng.integers(0, 3, size=n))


def naive_gradients(model, loss, inputs, targets, size=1):
    """Gradients of consecutive batches, by plain backward passes."""
    model, rows = copy.deepcopy(model), []
    for start in range(0, len(inputs), size):
        model.zero_grad()
        chosen = slice(start, start + size)
        loss(model(inputs[chosen]), targets[chosen]).backward()
        rows.append(torch.cat([part.grad.flatten() for part in model.parameters()]).numpy())
    return np.array(rows)


def assert_same_estimate(found, expected, factor=1.0):
    for name in FIELDS:
        scale = factor if name.startswith("noise") else 1.0
        np.testing.assert_allclose(
            getattr(found, name), scale * getattr(expected, name), rtol=1e-9, err_msg=name
        )


# --- linear regression, where everything has a closed form ------------------------------------

FAR, NEAR = (0.8, -0.3), (0.15, -0.1)  # weights: with much gradient, and with little
X_ALL = np.random.default_rng(7).uniform(-2, 2, size=(40, 2))  # all that examples are drawn from
Y_ALL = np.random.default_rng(8).uniform(-1, 1, size=(40, 1))


def regression(weights=FAR):
    model = nn.Linear(2, 1, bias=False).double()
    with torch.no_grad():
        model.weight.copy_(torch.tensor([weights], dtype=torch.float64))
    return model


def regression_moments(weights=FAR):
    """G, C and H of the mean squared error, of an example drawn from all."""
    gradients = 2 * (X_ALL @ np.array(weights)[:, None] - Y_ALL) * X_ALL
    return gradients.mean(0), np.cov(gradients.T, ddof=0), 2 * X_ALL.T @ X_ALL / len(X_ALL)


def regression_data(n, rng):
    chosen = rng.integers(0, len(X_ALL), size=n)
    return torch.tensor(X_ALL[chosen]), torch.tensor(Y_ALL[chosen])


def test_all_of_a_finite_population_is_exact():
    G, C, _ = regression_moments()
    data = torch.tensor(X_ALL), torch.tensor(Y_ALL)
    found = gradient_noise_scale(regression(), nn.MSELoss(), data, train_size=40)
    expected = theory.simple_noise_scale(G, C * 40 / 39)
    assert found.noise_scale == pytest.approx(float(expected), rel=1e-12)
    assert (found.noise_scale_error, found.noise_trace_error) == (0.0, 0.0)
    loss = np.mean((X_ALL @ np.array(FAR)[:, None] - Y_ALL) ** 2)
    assert found.loss == pytest.approx(float(loss), rel=1e-12)


def test_logistic_regression():
    """One logit: the gradient is (p - y) x."""
    rng = np.random.default_rng(1)
    X, y = rng.normal(size=(25, 2)), rng.integers(0, 2, size=(25, 1)).astype(float)
    gradients = (1 / (1 + np.exp(-X @ np.array(FAR)[:, None])) - y) * X
    expected = theory.noise_scale_from_gradients(gradients)
    data = torch.tensor(X), torch.tensor(y)
    found = gradient_noise_scale(regression(), nn.BCEWithLogitsLoss(), data)
    assert_same_estimate(found, expected)
    assert (found.n, found.n_examples, found.method) == (25, 25, "per_example")


def estimates(weights, size, method, draws, batch_size):
    rng, model = np.random.default_rng(2), regression(weights)
    return [
        gradient_noise_scale(
            model, nn.MSELoss(), regression_data(size, rng), method=method, batch_size=batch_size
        )
        for _ in range(draws)
    ]


@pytest.mark.parametrize("method", ["per_example", "two_batches"])
def test_estimates_are_unbiased(method):
    G, C, _ = regression_moments(NEAR)
    found = estimates(NEAR, 9, method, draws=250, batch_size=3)
    squares = np.array([each.gradient_square for each in found])
    traces = np.array([each.noise_trace for each in found])
    assert_mean(squares, G @ G)
    assert_mean(traces, np.trace(C))
    with pytest.raises(AssertionError, match="beyond"):  # the square of the mean is no estimate
        assert_mean(squares + traces / 9, G @ G)
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(1.3 * traces, np.trace(C))


def test_errors_are_the_spread_over_draws():
    spread = {}
    for method in ("per_example", "two_batches"):
        found = estimates(FAR, 48, method, draws=150, batch_size=4)
        for name in ("gradient_square", "noise_trace", "noise_scale"):
            values = np.array([getattr(each, name) for each in found])
            errors = np.array([getattr(each, f"{name}_error") for each in found])
            spread[method, name] = stats.iqr(values) / 1.349
            assert 0.75 < np.median(errors) / spread[method, name] < 1.3, (method, name)
    assert spread["two_batches", "noise_trace"] > 1.2 * spread["per_example", "noise_trace"]


def curvatures(weights, size, batch_size, draws):
    rng, model = np.random.default_rng(3), regression(weights)
    data = (regression_data(size, rng) for _ in range(draws))
    found = [hessian_noise_scale(model, nn.MSELoss(), each, batch_size=batch_size) for each in data]
    names = ("noise_curvature", "gradient_curvature")
    values = np.array([[getattr(each, name) for each in found] for name in names])
    errors = np.array([[getattr(each, f"{name}_error") for each in found] for name in names])
    return values, errors


def test_hessian_noise_scale_is_unbiased():
    G, C, H = regression_moments(NEAR)
    (noise, signal), _ = curvatures(NEAR, 16, 4, draws=250)
    assert_mean(noise, np.trace(H @ C))
    assert_mean(signal, G @ H @ G)
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(signal + noise / 16, G @ H @ G)
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(noise, np.trace(C))


def test_errors_of_curvatures_are_the_spread_over_draws():
    values, errors = curvatures(FAR, 64, 8, draws=100)
    ratios = np.median(errors, axis=1) / (stats.iqr(values, axis=1) / 1.349)
    assert np.all((ratios > 0.7) & (ratios < 1.4))


def test_hessian_noise_scale_of_much_data_is_the_closed_form():
    data = regression_data(6000, np.random.default_rng(4))
    found = hessian_noise_scale(regression(), nn.MSELoss(), data)
    expected = theory.hessian_noise_scale(*regression_moments())
    assert (found.n_batches, found.n_examples) == (16, 6000)
    assert abs(found.noise_scale - expected) < 4 * found.noise_scale_error
    assert found.noise_scale == found.noise_curvature / found.gradient_curvature


def test_hessian_products_of_a_network_against_dense_hessians():
    model, (inputs, targets) = perceptron(nn.Tanh()), classes(20)
    model = nn.Sequential(model[0], nn.Tanh(), model[3])  # curved in every parameter
    found = hessian_noise_scale(model, functional.cross_entropy, [*loader(inputs, targets, 4)])
    gradients = naive_gradients(model, functional.cross_entropy, inputs, targets, size=4)
    names = [name for name, _ in model.named_parameters()]
    shapes = [part.shape for part in model.parameters()]
    flat = torch.cat([part.detach().flatten() for part in model.parameters()])

    def mean_loss(flat, chosen):
        parts = torch.split(flat, [math.prod(shape) for shape in shapes])
        views = [part.view(shape) for part, shape in zip(parts, shapes, strict=True)]
        named = dict(zip(names, views, strict=True))
        outputs = torch.func.functional_call(model, named, (inputs[chosen],))
        return functional.cross_entropy(outputs, targets[chosen])

    dense = [
        torch.autograd.functional.hessian(
            lambda flat, start=start: mean_loss(flat, slice(start, start + 4)), flat
        ).numpy()
        for start in range(0, 20, 4)
    ]
    signal, with_noise = [], []
    for j, H in enumerate(dense):
        others = [k for k in range(5) if k != j]
        with_noise += [gradients[k] @ H @ gradients[k] for k in others]
        signal += [gradients[k] @ H @ gradients[m] for k in others for m in others if k != m]
    assert found.gradient_curvature == pytest.approx(np.mean(signal), rel=1e-9)
    noise = 4 * (np.mean(with_noise) - np.mean(signal))
    assert found.noise_curvature == pytest.approx(noise, rel=1e-9)


def test_curvature_that_is_not_positive_gives_no_noise_scale():
    model = seeded(lambda: nn.Linear(4, 1))
    inputs, _ = classes(16)
    found = hessian_noise_scale(model, lambda out, _: -out.square().mean(), (inputs, inputs))
    assert found.gradient_curvature < 0.0
    assert (found.noise_scale, found.noise_scale_error) == (math.inf, math.inf)
    flat = hessian_noise_scale(model, lambda out, _: out.mean(), (inputs, inputs))
    assert (flat.gradient_curvature, flat.noise_curvature) == (0.0, 0.0)


# --- networks, against plain loops ------------------------------------------------------------


def loader(inputs, targets, size):
    return DataLoader(TensorDataset(inputs, targets), batch_size=size)


def convolutional():
    return seeded(
        lambda: nn.Sequential(
            nn.Unflatten(1, (1, 2, 2)),
            nn.Conv2d(1, 2, 2),
            nn.BatchNorm2d(2),
            nn.Flatten(),
            nn.Linear(2, 3),
        )
    ).eval()


@pytest.mark.parametrize("make", [perceptron, convolutional])
@pytest.mark.parametrize("max_bytes", [2**28, 600])
def test_per_example_is_a_naive_loop(make, max_bytes):
    model, (inputs, targets) = make(), classes()
    rows = naive_gradients(model, functional.cross_entropy, inputs, targets)
    found = gradient_noise_scale(
        model,
        functional.cross_entropy,
        (inputs, targets),
        method="per_example",
        max_bytes=max_bytes,
        train_size=40,
    )
    assert_same_estimate(found, theory.noise_scale_from_gradients(rows, train_size=40))
    assert np.array_equal(
        per_example_gradients(model, functional.cross_entropy, (inputs, targets)).shape, rows.shape
    )
    np.testing.assert_allclose(
        per_example_gradients(model, functional.cross_entropy, (inputs, targets)), rows, atol=1e-14
    )


def test_two_batches_is_a_naive_loop():
    """A batch's noise is that of an example over the batch size."""
    model, (inputs, targets) = perceptron().train(), classes(22)
    batches = loader(inputs, targets, 4)
    found = gradient_noise_scale(model, functional.cross_entropy, batches, method="two_batches")
    rows = naive_gradients(model, functional.cross_entropy, inputs[:20], targets[:20], size=4)
    assert_same_estimate(found, theory.noise_scale_from_gradients(rows), factor=4.0)
    assert (found.n, found.n_examples, found.method) == (5, 20, "two_batches")


def test_single_examples_are_batches_too():
    model, data = perceptron(), classes()
    found, peer = (
        gradient_noise_scale(
            model, functional.cross_entropy, data, method=method, batch_size=1, train_size=40
        )
        for method in ("per_example", "two_batches")
    )
    assert_same_estimate(found, peer)


def test_a_sorted_data_set_is_shuffled_before_it_is_cut():
    inputs, targets = classes(120)
    order = torch.argsort(targets)
    inputs = inputs + 3.0 * targets[:, None]
    model, data = perceptron(), (inputs[order], targets[order])
    sizes = {"method": "two_batches", "batch_size": 10}
    cut = gradient_noise_scale(model, functional.cross_entropy, data, **sizes)
    whole = gradient_noise_scale(model, functional.cross_entropy, data)
    assert abs(cut.noise_trace - whole.noise_trace) < 4 * cut.noise_trace_error
    runs = gradient_noise_scale(
        model, functional.cross_entropy, [*loader(*data, 10)], method="two_batches"
    )
    assert runs.noise_trace > 2 * whole.noise_trace
    other = gradient_noise_scale(model, functional.cross_entropy, data, **sizes, seed=1)
    assert other.noise_trace != cut.noise_trace


def test_every_kind_of_data_gives_the_same():
    inputs, targets = classes()
    model, loss = perceptron(), functional.cross_entropy
    dataset = to_device((inputs, targets.numpy()))
    expected = gradient_noise_scale(model, loss, (inputs, targets))
    batches = loader(inputs, targets, 5)
    for data in ([inputs, targets], dataset, batches, iter(batches), [*batches]):
        assert_same_estimate(gradient_noise_scale(model, loss, data), expected)


def test_a_data_set_is_taken_with_its_preprocessing_and_without_augmentation():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 255, size=(9, 4, 4)).astype(np.uint8), rng.integers(0, 3, size=9)
    cropped, augmented = (
        to_device(images, n_classes=3, preprocessing=Preprocessing(crop=2, random_crop=random))
        for random in (False, True)
    )
    model = nn.Sequential(nn.Flatten(), perceptron().float())
    plain, other = (
        gradient_noise_scale(model, functional.cross_entropy, data) for data in (cropped, augmented)
    )
    assert_same_estimate(plain, other)


def test_float32_gradients_are_added_up_in_float64():
    """The mean gradient is 1e4 times the noise."""
    rng = np.random.default_rng(0)
    inputs = torch.tensor(1.0 + 1e-4 * rng.normal(size=(4000, 1)), dtype=torch.float32)
    model = nn.Linear(1, 1, bias=False)
    rows = inputs.double().numpy()
    found = gradient_noise_scale(model, lambda out, y: out.mean(), (inputs, inputs))
    assert found.noise_trace == pytest.approx(np.var(rows, ddof=1), rel=1e-6)
    assert found.gradient_square == pytest.approx(np.mean(rows) ** 2, rel=1e-7)


# --- the model is left as it is ---------------------------------------------------------------


def measure(function, model, data, **options):
    return function(model, functional.cross_entropy, data, **options)


MEASUREMENTS = {
    "auto": (gradient_noise_scale, {}),
    "two_batches": (gradient_noise_scale, {"method": "two_batches", "batch_size": 4}),
    "hessian": (hessian_noise_scale, {"batch_size": 4}),
}


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("kind", MEASUREMENTS)
def test_the_model_is_untouched(kind, training):
    function, options = MEASUREMENTS[kind]
    model, data = perceptron(nn.BatchNorm1d(5), nn.Dropout(0.2)).train(training), classes(20)
    model[0].weight.requires_grad_(False)
    functional.cross_entropy(model(data[0]), data[1]).backward()
    before = copy.deepcopy(model.state_dict())
    gradients = [None if p.grad is None else p.grad.clone() for p in model.parameters()]
    pointers = [part.data_ptr() for part in model.parameters()]
    with torch.no_grad():
        found = measure(function, model, data, **options)
    assert found.n_examples > 0
    assert all(torch.equal(part, before[name]) for name, part in model.state_dict().items())
    for part, gradient in zip(model.parameters(), gradients, strict=True):
        assert (part.grad is None) == (gradient is None)
        assert gradient is None or torch.equal(part.grad, gradient)
    assert [part.data_ptr() for part in model.parameters()] == pointers
    assert {module.training for module in model.modules()} == {training}
    assert [part.requires_grad for part in model.parameters()] == [False] + [True] * 5


def test_frozen_parameters_do_not_count():
    model, (inputs, targets) = perceptron(), classes()
    model[0].requires_grad_(False)
    found = measure(gradient_noise_scale, model, (inputs, targets))
    head = measure(gradient_noise_scale, model[2], (torch.relu(model[0](inputs)), targets))
    assert_same_estimate(found, head)


def test_dropout_is_noise_in_training_mode_alone():
    model, data = perceptron(nn.Dropout(0.5)), classes(40)
    plain = measure(gradient_noise_scale, perceptron(), data)
    assert_same_estimate(measure(gradient_noise_scale, model.eval(), data), plain)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        first, second = (measure(gradient_noise_scale, model.train(), data) for _ in range(2))
        torch.manual_seed(0)
        again = measure(gradient_noise_scale, model, data)
    assert first.method == "per_example"
    assert first.noise_trace > 1.2 * plain.noise_trace
    assert first.noise_trace != second.noise_trace
    assert_same_estimate(first, again)


def test_both_passes_see_the_same_draws():
    """And the generator goes on as after one of them."""
    model, data, states = perceptron(nn.Dropout(0.5)), classes(40), []
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        rows = measure(per_example_gradients, model, data)
        states.append(torch.get_rng_state())
        torch.manual_seed(0)
        found = measure(gradient_noise_scale, model, data)
        states.append(torch.get_rng_state())
    assert_same_estimate(found, theory.noise_scale_from_gradients(rows))
    assert torch.equal(*states)


# --- which method ------------------------------------------------------------------------------


class Branching(nn.Module):
    def forward(self, inputs):
        return inputs if float(inputs.detach().sum()) > 1e9 else 2 * inputs


@pytest.mark.parametrize(
    ("extra", "training", "options", "method"),
    [
        (nn.Identity(), True, {}, "per_example"),
        (nn.BatchNorm1d(5), False, {}, "per_example"),
        (nn.BatchNorm1d(5), True, {}, "two_batches"),
        (nn.BatchNorm1d(5, track_running_stats=False), False, {}, "two_batches"),
        (Branching(), True, {}, "two_batches"),
        (nn.Identity(), True, {"max_bytes": 100}, "two_batches"),
    ],
    ids=["plain", "normalized eval", "normalized", "no statistics", "branching", "memory"],
)
def test_auto_takes_examples_where_it_can(extra, training, options, method):
    model = perceptron(extra).train(training)
    found = measure(gradient_noise_scale, model, classes(24), batch_size=4, **options)
    assert found.method == method


# --- invariances -------------------------------------------------------------------------------


@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 1000))
def test_scaling_the_loss_changes_nothing(scale, seed):
    model, data = perceptron(), classes(seed=seed)
    found = measure(gradient_noise_scale, model, data)
    scaled = gradient_noise_scale(
        model, lambda out, y: scale * functional.cross_entropy(out, y), data
    )
    assert scaled.noise_scale == pytest.approx(float(found.noise_scale), rel=1e-7)
    assert scaled.noise_trace == pytest.approx(float(scale**2 * found.noise_trace), rel=1e-7)


@given(times=st.integers(1, 4), seed=st.integers(0, 1000))
def test_repeating_a_population_changes_nothing_but_its_denominator(times, seed):
    model, (inputs, targets) = perceptron(), classes(7, seed=seed)
    one = measure(gradient_noise_scale, model, (inputs, targets), train_size=7)
    repeated = inputs.repeat(times, 1), targets.repeat(times)
    more = measure(gradient_noise_scale, model, repeated, train_size=7 * times)
    assert more.gradient_square == pytest.approx(float(one.gradient_square), rel=1e-9)
    population = one.noise_trace * 6 / 7
    assert more.noise_trace * (1 - 1 / (7 * times)) == pytest.approx(float(population), rel=1e-9)


@given(order=st.permutations(range(9)))
def test_the_order_of_the_examples_is_of_no_account(order):
    model, (inputs, targets) = perceptron(), classes(9)
    found = measure(gradient_noise_scale, model, (inputs, targets))
    assert_same_estimate(
        measure(gradient_noise_scale, model, (inputs[list(order)], targets[list(order)])), found
    )


# --- bad input ---------------------------------------------------------------------------------


class Cusp(nn.Module):
    """Of infinite slope at zero, where its value is finite."""

    def __init__(self):
        super().__init__()
        self.cusp = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, inputs):
        return inputs[:, :3] + self.cusp.abs().sqrt()


ENTROPY = functional.cross_entropy
BAD = {
    "model": ((3, ENTROPY, classes()), TypeError, "model must be a torch.nn.Module, got int"),
    "loss": ((perceptron(), "mse", classes()), TypeError, "loss must be callable, got str"),
    "frozen": (
        (perceptron().requires_grad_(False), ENTROPY, classes()),
        ValueError,
        "model must have parameters that require gradients",
    ),
    "number": ((perceptron(), ENTROPY, 3), TypeError, "data must be a DeviceDataset, .* got int"),
    "inputs alone": (
        (perceptron(), ENTROPY, classes()[0]),
        TypeError,
        "data must be a DeviceDataset, .* got Tensor",
    ),
    "empty": ((perceptron(), ENTROPY, []), ValueError, "data has no batches"),
    "batches alone": (
        (perceptron(), ENTROPY, [classes()[0]]),
        TypeError,
        r"batch 0 of data must be a pair \(inputs, targets\), got Tensor",
    ),
    "arrays": (
        (perceptron(), ENTROPY, [(np.ones(3), np.ones(3))]),
        TypeError,
        r"batch 0 of data must be a pair of tensors .* got \(ndarray, ndarray\)",
    ),
    "lengths": (
        (perceptron(), ENTROPY, (classes()[0], classes(5)[1])),
        ValueError,
        r"one target for each input.* inputs \(12, 4\) and targets \(5,\)",
    ),
    "few": (
        (perceptron(), ENTROPY, classes(2)),
        ValueError,
        "data must have at least 3 examples, got 2",
    ),
    "device": (
        (perceptron().to("meta"), ENTROPY, classes()),
        ValueError,
        "the model is on meta, the inputs on cpu",
    ),
    "shape": (
        (perceptron(), ENTROPY, (torch.ones(5, 3).double(), torch.zeros(5).long())),
        ValueError,
        "model does not take these inputs",
    ),
    "type": (
        (perceptron(), ENTROPY, (torch.ones(5, 4), torch.zeros(5).long())),
        ValueError,
        "model does not take these inputs",
    ),
    "outputs": (
        (nn.Sequential(perceptron(), nn.Flatten(0)), ENTROPY, classes()),
        TypeError,
        r"one row for each of 12 examples, got \(36,\)",
    ),
    "sum": (
        (perceptron(), nn.CrossEntropyLoss(reduction="sum"), classes()),
        ValueError,
        "repeating a batch changes it from .* is it a sum",
    ),
    "vector": (
        (perceptron(), nn.CrossEntropyLoss(reduction="none"), classes()),
        ValueError,
        r"a tensor without dimensions, got \(12,\)",
    ),
    "plain number": (
        (perceptron(), lambda out, y: float(out.detach().mean()), classes()),
        ValueError,
        "a tensor without dimensions, got float",
    ),
    "weighted": (
        (perceptron(), nn.CrossEntropyLoss(torch.tensor([1.0, 9.0, 2.0]).double()), classes()),
        ValueError,
        "plain mean over a batch.* has it weights",
    ),
    "pairs": (
        (perceptron(), lambda out, y: (out @ out.T).mean(), classes()),
        ValueError,
        "plain mean over a batch",
    ),
    "constant": (
        (perceptron(), lambda out, y: out.detach().mean(), classes()),
        ValueError,
        "loss must depend on the parameters",
    ),
    "infinite": (
        (perceptron(), lambda out, y: out.mean() / 0.0, classes()),
        ValueError,
        "loss must be finite on every example, got",
    ),
    "gradient": (
        (Cusp(), ENTROPY, classes()),
        ValueError,
        "the gradient of parameter cusp has NaN or infinite values",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_told(name):
    arguments, kind, message = BAD[name]
    for function in (gradient_noise_scale, hessian_noise_scale, per_example_gradients):
        if function is per_example_gradients and name == "few":
            continue  # any number will do
        options = {"batch_size": 3} if function is hessian_noise_scale else {}
        with pytest.raises(kind, match=message):
            function(*arguments, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "exact"}, "method is 'exact'; it must be one of auto, per_example, two_batch"),
        ({"max_bytes": 0}, "max_bytes must be an integer of at least 1, got 0"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"train_size": 11}, "train_size must be at least 12, the number of examples, got 11"),
        ({"train_size": 12.5}, "train_size must be an integer"),
        ({"method": "two_batches", "batch_size": 0}, "batch_size must be an integer of at least 1"),
        (
            {"method": "two_batches", "batch_size": 5},
            "data must have at least 3 batches of 5 examples, got 2",
        ),
    ],
    ids=str,
)
def test_bad_options_are_told(options, message):
    with pytest.raises(ValueError, match=message):
        measure(gradient_noise_scale, perceptron(), classes(), **options)


def test_a_loader_of_few_batches_is_told():
    data = loader(*classes(), 6)
    with pytest.raises(ValueError, match="at least 3 batches of 6 examples, got 2"):
        measure(gradient_noise_scale, perceptron(), data, method="two_batches")
    with pytest.raises(ValueError, match="at least 4 batches of 6 examples, got 2"):
        measure(hessian_noise_scale, perceptron(), data)


def test_per_example_is_refused_with_the_reason():
    model = perceptron(nn.BatchNorm1d(5))
    reason = r"batch normalization \(1\) takes the statistics of its batch.*model.eval\(\)"
    for function, options in (
        (gradient_noise_scale, {"method": "per_example"}),
        (per_example_gradients, {}),
    ):
        with pytest.raises(ValueError, match=reason):
            measure(function, model, classes(), **options)
        with pytest.raises(ValueError, match="vmap cannot run the model"):
            measure(function, perceptron(Branching()), classes(), **options)


# --- the optimizer and the trade-off -----------------------------------------------------------


@pytest.mark.parametrize(
    "options",
    [
        {"lr": 0.3},
        {"lr": 0.3, "dampening": 0.5},
        {"lr": 0.1, "momentum": 0.8},
        {"lr": 0.1, "momentum": 0.8, "nesterov": True},
        {"lr": 0.1, "momentum": 0.8, "dampening": 0.8},
        {"lr": torch.tensor(0.1), "momentum": 0.5, "dampening": 0.2, "maximize": True},
    ],
    ids=["plain", "ignored", "heavy", "nesterov", "average", "other"],
)
def test_sde_noise_scale_is_how_far_one_gradient_moves(options):
    """An impulse on the running optimizer moves the weight by g / (N/B - 1)."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], **options)
    for gradient in [0.0, 1.0] + 200 * [0.0]:
        weight.grad = torch.full_like(weight, gradient)
        optimizer.step()
    found = sde_noise_scale(optimizer, train_size=1000, batch_size=100)
    np.testing.assert_allclose(found, [9.0 * abs(weight.item())], rtol=1e-6)


def test_sde_noise_scale_has_a_value_for_each_group():
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(2)]
    groups = [{"params": [weights[0]], "lr": 0.5}, {"params": [weights[1]], "momentum": 0.9}]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    found = sde_noise_scale(optimizer, train_size=50, batch_size=10)
    expected = theory.noise_scale([0.5, 0.1], 50, 10, [0.0, 0.9])
    assert np.array_equal(found, expected)


def test_sde_noise_scale_refuses_what_has_none():
    weight = nn.Parameter(torch.zeros(1))
    for kind in (torch.optim.Adam, torch.optim.RMSprop):
        with pytest.raises(TypeError, match=f"got {kind.__name__}: the noise scale g is of steps"):
            sde_noise_scale(kind([weight]), train_size=10, batch_size=1)
    with pytest.raises(ValueError, match="batch_size must be at most train_size"):
        sde_noise_scale(torch.optim.SGD([weight], lr=0.1), train_size=10, batch_size=11)


def test_trade_off_is_the_theory_in_units_of_the_least():
    estimate = measure(gradient_noise_scale, perceptron(), classes(20), train_size=30)
    B = np.array([1.0, 10.0, 1e3])
    found = trade_off(estimate, B)
    least = 100.0
    cost = theory.steps_and_examples(B, found.critical_batch_size, least)
    np.testing.assert_allclose(found.steps, cost.steps / least)
    fewest = least * found.critical_batch_size
    assert theory.critical_batch_size(fewest, least) == found.critical_batch_size
    np.testing.assert_allclose(found.examples, cost.examples / fewest)
    np.testing.assert_allclose((found.steps - 1) * (found.examples - 1), 1.0)
    both = trade_off(estimate, found.critical_batch_size)
    assert (both.steps, both.examples) == (2.0, 2.0)
    assert found.critical_batch_size_error == estimate.noise_scale_error
    unresolved = theory.noise_scale_from_gradients([[1.0], [-1.0], [0.1]])
    with pytest.raises(ValueError, match="must be positive and finite, got inf"):
        trade_off(unresolved, 10)
    with pytest.raises(ValueError, match="batch_size must be positive"):
        trade_off(estimate, 0)


# --- how the noise is distributed ---------------------------------------------------------------


def test_gradients_of_named_parameters():
    model, (inputs, targets) = perceptron(), classes()
    rows = naive_gradients(model, ENTROPY, inputs, targets)
    found = per_example_gradients(model, ENTROPY, (inputs, targets), parameters=["2.bias"])
    np.testing.assert_allclose(found, rows[:, -3:], atol=1e-15)
    order = per_example_gradients(
        model, ENTROPY, (inputs, targets), parameters=["2.bias", "0.bias"]
    )
    np.testing.assert_allclose(order, np.hstack([rows[:, -3:], rows[:, 20:25]]), atol=1e-15)
    with pytest.raises(ValueError, match=r"parameters must name some of 0.weight.* got 7.bias"):
        per_example_gradients(model, ENTROPY, (inputs, targets), parameters=["2.bias", "7.bias"])
    with pytest.raises(ValueError, match=r"parameters must name some of .* got none"):
        per_example_gradients(model, ENTROPY, (inputs, targets), parameters=[])
    with pytest.raises(ValueError, match="need 4128 bytes, beyond max_bytes 4127"):
        per_example_gradients(model, ENTROPY, (inputs, targets), max_bytes=4127)


def test_kurtosis_falls_with_the_batch():
    """Cumulants add up: a mean of B has a B-th of the kurtosis of one; 6 if exponential."""
    rng = np.random.default_rng(0)
    rows = rng.exponential(size=(20_000, 2))
    found = gradient_normality(rows, (1, 4), draws=20_000)
    single = stats.kurtosis(rows)
    np.testing.assert_allclose(found.excess_kurtosis.sel(batch_size=1), single, rtol=1e-9)
    np.testing.assert_allclose(found.excess_kurtosis.sel(batch_size=4), single / 4, rtol=0.25)
    ratio = found.excess_kurtosis / found.excess_kurtosis[0]
    np.testing.assert_array_equal(found.kurtosis_ratio, ratio)
    again = gradient_normality(rows[:99], (3,), seed=4)
    assert again.identical(gradient_normality(rows[:99], (3,), seed=4))
    assert not again.identical(gradient_normality(rows[:99], (3,), seed=5))


def test_normality_of_a_constant_and_of_the_whole_set():
    rows = np.stack([np.arange(6.0), np.full(6, 0.1)], axis=1)
    found = gradient_normality(rows, (1, 6), draws=5)
    assert np.isfinite(found.excess_kurtosis[0, 0])
    assert np.isnan(found.excess_kurtosis.values.ravel()[1:]).all()
    for options, message in (
        ({"batch_sizes": (7,)}, "batch_sizes must be at most 6, the number of rows, got 7"),
        ({"batch_sizes": (0,)}, "batch_sizes must be an integer of at least 1"),
        ({"batch_sizes": ()}, "batch_sizes must hold at least one size"),
        ({"draws": 3}, "draws must be an integer of at least 4"),
        ({"seed": -1}, "seed must be an integer of at least 0"),
    ):
        with pytest.raises(ValueError, match=message):
            gradient_normality(rows, **options)
    with pytest.raises(ValueError, match="at least 4 rows, got 3"):
        gradient_normality(rows[:3])
    with pytest.raises(ValueError, match="gradients has NaN"):
        gradient_normality(np.full((5, 2), np.nan))


@pytest.mark.parametrize("alpha", [1.0, 1.5, 2.0])
def test_tail_index_of_stable_noise(alpha):
    rng = np.random.default_rng(0)
    draws = stats.levy_stable.rvs(alpha, 0, size=(200, 400), random_state=rng)
    found = [tail_index(noise) for noise in draws]
    inverse = np.array([1 / each.alpha for each in found])
    assert_mean(inverse, 1 / alpha)
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(inverse, 1 / (alpha - 0.3))
    errors = np.array([each.alpha_error / each.alpha**2 for each in found])
    assert np.sqrt(np.mean(errors**2)) == pytest.approx(np.std(inverse), rel=0.2)


def test_tail_index_is_the_printed_formula():
    noise = np.random.default_rng(1).normal(size=26)
    sums = [noise[start : start + 6].sum() for start in range(0, 24, 6)]
    inverse = (np.log(np.abs(sums)).mean() - np.log(np.abs(noise[:24])).mean()) / np.log(6)
    assert tail_index(noise, block_size=6).alpha == pytest.approx(1 / inverse, rel=1e-12)
    for values, size, message in (
        (noise[:3], None, "noise must have at least 4 values, got 3"),
        (noise, 14, "block_size must be at most 13, got 14"),
        (noise, 1, "block_size must be an integer of at least 2"),
        (np.append(noise, [0.0]), 3, "noise must not have zeros"),
        ([1.0, -1.0, 1.0, 2.0], 2, "blocks of sum zero"),
        ([1.0, -1.1, 1.0, -1.1], 2, "no tail index"),
        ([1.0, np.inf, 1.0, 2.0], 2, "noise has NaN or infinite"),
    ):
        with pytest.raises(ValueError, match=message):
            tail_index(values, block_size=size)


@pytest.mark.parametrize("shape", [(5, 12), (12, 5), (6, 6)])
def test_spectrum_is_that_of_the_covariance(shape):
    rows = np.random.default_rng(0).normal(size=shape)
    expected = np.linalg.eigvalsh(np.cov(rows.T))[::-1]
    found = covariance_spectrum(rows)
    np.testing.assert_allclose(found.eigenvalues, expected[: min(shape)], atol=1e-13)
    assert found.trace == pytest.approx(expected.sum(), rel=1e-12)
    np.testing.assert_array_equal(covariance_spectrum(rows, 2).eigenvalues, found.eigenvalues[:2])
    with pytest.raises(ValueError, match="k must be at most"):
        covariance_spectrum(rows, min(shape) + 1)
    with pytest.raises(ValueError, match="k must be an integer of at least 1"):
        covariance_spectrum(rows, 0)


def test_spectrum_adds_up_to_the_noise_of_the_network():
    model, data = perceptron(), classes()
    spectrum = covariance_spectrum(per_example_gradients(model, ENTROPY, data))
    found = measure(gradient_noise_scale, model, data)
    assert spectrum.trace == pytest.approx(float(found.noise_trace), rel=1e-10)
    with pytest.raises(ValueError, match="at least 2 rows, got 1"):
        covariance_spectrum([[1.0, 2.0]])
