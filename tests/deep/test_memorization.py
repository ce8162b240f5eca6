"""Modules of memorizing networks: error bounds, gradients against closed forms, memory, files."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from deep.memorization import TiedMemorizingModule, to_module  # noqa: E402
from theory.memorization import memorize, memorize_deep  # noqa: E402

FORMS = ["tied", "dense"]


def problem(n, d=10, outputs=None, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, rng.choice([-1.0, 1.0], size=n if outputs is None else (n, outputs))


def shallow(n=50, d=4, outputs=None):
    X, y = problem(n, d, outputs)
    return memorize(X, y, rng=0)


def deep(depth=5, construction="split"):
    return memorize_deep(*problem(50, 4), depth=depth, construction=construction, rng=0)


def values(module, X):
    with torch.no_grad():
        return module(torch.tensor(X)).numpy()


def rounding_bound(network, X):
    """Worst case of m operations after one another: relative error of m u / (1 - m u), u = 2⁻⁵³.

    Every term has at most d + 3 roundings, and n more when it is added up; no term is larger than
    |w| (Σ|x a| + |b|).
    """
    rounding = (len(network.biases) + len(network.projection) + 3) * 2.0**-53
    sizes = np.abs(X) @ np.abs(network.projection)
    weights = np.abs(network.weights.reshape(len(network.biases), -1))
    bound = np.outer(sizes, weights.sum(axis=0)) + np.abs(network.biases) @ weights
    return rounding / (1.0 - rounding) * (bound[:, 0] if network.weights.ndim == 1 else bound)


# --- the function ---------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("n", "m", "outputs"),
    [
        (1, 5, None),
        (2, 1, None),
        (100, 300, None),
        (100, 300, 3),
        (100, 300, 1),
        (2049, 2100, None),
        (4100, 70, 2),
    ],
)
def test_values_are_those_of_the_network(n, m, outputs, form):
    X, y = problem(n, outputs=outputs)
    network = memorize(X, y, rng=0)
    module, new = to_module(network, form=form), problem(m, seed=1)[0]
    assert np.all(np.abs(values(module, X) - y) <= rounding_bound(network, X) + network.error)
    found, expected = values(module, new), network(new)
    assert found.shape == expected.shape
    slack = 1e-13 * np.max(np.abs(expected))  # the network's own rounding
    assert np.all(np.abs(found - expected) <= rounding_bound(network, new) + slack)
    # The bound is of use: far below what is bounded.
    assert np.max(rounding_bound(network, new)) < 1e-3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [100, 1000])
def test_accuracy_is_as_documented(n, form):
    errors = []
    for seed in range(5):
        X, y = problem(n, seed=seed)
        network = memorize(X, y, rng=seed)
        error = np.max(np.abs(values(to_module(network, form=form), X) - y))
        # Twice what was ever seen, for another order of summation.
        assert error < 20 * np.finfo(float).eps * np.ptp(network.biases) / network.margin
        assert error > 10 * network.error
        errors.append(error)
    assert np.median(errors) < 1e-14 * n**2


@pytest.mark.parametrize("outputs", [None, 3])
def test_forms_agree(outputs):
    network, new = shallow(outputs=outputs), problem(300, 4, seed=1)[0]
    tied, dense = (values(to_module(network, form=form), new) for form in FORMS)
    np.testing.assert_allclose(tied, dense, rtol=0.0, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_no_points_have_no_values(outputs, form):
    module = to_module(shallow(outputs=outputs), form=form)
    shape = (0,) if outputs is None else (0, outputs)
    assert values(module, np.empty((0, 4))).shape == shape


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("depth", "construction"),
    [(1, "split"), (5, "split"), (50, "split"), (2, "gated"), (6, "gated")],
)
def test_deep_networks(depth, construction, form):
    X, y = problem(50, 4)
    network = memorize_deep(X, y, depth=depth, construction=construction, rng=0)
    module, new = to_module(network, form=form), problem(300, 4, seed=1)[0]
    assert np.max(np.abs(values(module, X) - y)) < 1e-9
    assert np.max(np.abs(values(module, new) - network(new))) < 1e-9
    assert sum(isinstance(layer, torch.nn.ReLU) for layer in module) == depth


# --- parameters -----------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [None, 1, 3])
def test_parameter_counts(outputs):
    network = shallow(outputs=outputs)
    tied, dense = (
        sum(p.numel() for p in to_module(network, form=form).parameters()) for form in FORMS
    )
    assert tied == network.n_parameters == 50 * (1 + (outputs or 1)) + 4
    assert dense == network.n_dense_parameters == 50 * (4 + 1 + (outputs or 1))


@pytest.mark.parametrize("construction", ["split", "gated"])
def test_nonzero_parameters_of_deep_networks(construction):
    network = deep(construction=construction)
    module = to_module(network, form="tied")
    nonzero = sum(int(torch.count_nonzero(p)) for p in module.parameters())
    assert nonzero == network.n_nonzero
    assert nonzero < sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [shallow, deep])
def test_modules_hold_copies_and_draw_nothing(make, form):
    network, new = make(), problem(20, 4, seed=1)[0]
    before, state = network(new), torch.random.get_rng_state()
    module = to_module(network, form=form)
    assert torch.equal(torch.random.get_rng_state(), state)
    with torch.no_grad():
        for parameter in module.parameters():
            assert parameter.dtype == torch.float64
            assert parameter.requires_grad
            parameter.zero_()
    assert np.all(values(module, new) == 0.0)
    assert np.array_equal(network(new), before)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [shallow, deep])
def test_device(make, form):
    network = make()
    for device in ("cpu", "meta", torch.device("meta")):
        module = to_module(network, form=form, device=device)
        assert {p.device for p in module.parameters()} == {torch.device(device)}
    with torch.device("meta"):
        module = to_module(network, form=form)
    assert {p.device.type for p in module.parameters()} == {"meta"}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [shallow, deep, lambda: shallow(outputs=3)])
def test_state_survives_a_file(make, form, tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    module, new = to_module(make(), form=form), problem(300, 4, seed=1)[0]
    safetensors.save_file(module.state_dict(), tmp_path / "module.safetensors")
    other = to_module(make(), form=form)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.fill_(1.0)
    assert not np.array_equal(values(other, new), values(module, new))
    other.load_state_dict(safetensors.load_file(tmp_path / "module.safetensors"))
    assert np.array_equal(values(other, new), values(module, new))


def test_tied_modules_load_without_a_network():
    module, new = to_module(shallow()), problem(300, 4, seed=1)[0]
    state = module.state_dict()
    assert list(state) == ["projection", "biases", "weights"]
    other = TiedMemorizingModule(**{name: torch.empty_like(part) for name, part in state.items()})
    other.load_state_dict(state)
    assert np.array_equal(values(other, new), values(module, new))


# --- gradients ------------------------------------------------------------------------------------


def gradients(module, X, weights):
    loss = (module(torch.tensor(X)) * torch.tensor(weights)).sum()
    return [part.numpy() for part in torch.autograd.grad(loss, list(module.parameters()))]


@pytest.mark.parametrize(("n", "m", "outputs"), [(50, 30, None), (50, 30, 3), (2500, 2100, 2)])
def test_gradients_by_closed_form_and_by_the_dense_form(n, m, outputs):
    """In one block and in several, which are computed again in the backward pass."""
    network, new = shallow(n, outputs=outputs), problem(m, 4, seed=1)[0]
    upstream = np.random.default_rng(2).standard_normal(network(new).shape)
    tied = gradients(to_module(network), new, upstream)
    hinges = np.maximum((new @ network.projection)[:, None] - network.biases, 0.0)
    signal, weights = upstream.reshape(m, -1), network.weights.reshape(n, -1)
    active = (signal @ weights.T) * (hinges > 0.0)
    expected = [
        new.T @ active.sum(axis=1),
        -active.sum(axis=0),
        (hinges.T @ signal).reshape(network.weights.shape),
    ]
    dense = gradients(to_module(network, form="dense"), new, upstream)
    untied = [dense[0].sum(axis=0), -dense[1], dense[2].T.reshape(network.weights.shape)]
    for found, *others in zip(tied, expected, untied, strict=True):
        for other in others:
            np.testing.assert_allclose(found, other, rtol=1e-7, atol=1e-9 * np.max(np.abs(other)))


@pytest.mark.parametrize("form", FORMS)
def test_gradient_of_the_input_is_the_slope_times_the_projection(form):
    network, new = shallow(), problem(30, 4, seed=1)[0]
    points = torch.tensor(new, requires_grad=True)
    to_module(network, form=form)(points).sum().backward()
    pieces = np.searchsorted(network.biases, new @ network.projection)
    slopes = np.append(0.0, np.cumsum(network.weights))[pieces]
    np.testing.assert_allclose(
        points.grad.numpy(), np.outer(slopes, network.projection), rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [shallow, deep])
def test_training_goes_on(make, form):
    network = make()
    X, y = (torch.tensor(part) for part in problem(50, 4))
    module = to_module(network, form=form)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.mul_(1.01)
    optimizer = torch.optim.Adam(module.parameters(), lr=1e-5)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(torch.nn.functional.mse_loss(module(X), y))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.99 * losses[0]


def test_functional_transforms_of_one_block():
    module, new = to_module(shallow()), torch.tensor(problem(5, 4, seed=1)[0])
    parameters = dict(module.named_parameters())
    jacobian = torch.func.jacrev(lambda p: torch.func.functional_call(module, p, (new,)))(
        parameters
    )
    for i in range(5):
        each = torch.autograd.grad(module(new)[i], list(parameters.values()))
        for name, gradient in zip(parameters, each, strict=True):
            torch.testing.assert_close(jacobian[name][i], gradient)


@pytest.mark.parametrize(("form", "bounded"), [("tied", True), ("dense", False)])
def test_memory_of_the_backward_pass(form, bounded):
    """What is kept for it is counted: points by units, or only about as many as there are."""
    n = m = 3000
    module, kept = to_module(shallow(n), form=form), []

    def keep(tensor):
        kept.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        module(torch.tensor(problem(m, 4, seed=1)[0]))
    assert (sum(kept) < 50 * (n + m)) == bounded
    assert (sum(kept) >= n * m) != bounded


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [shallow, deep])
def test_wrong_form_raises(make):
    with pytest.raises(ValueError, match="form is 'sparse'; it must be one of tied, dense"):
        to_module(make(), form="sparse")


def test_wrong_network_raises():
    with pytest.raises(TypeError, match=r"must be a MemorizingNetwork or .*, got ndarray"):
        to_module(np.eye(3))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("make", [shallow, deep])
def test_other_points_raise(make, form):
    module = to_module(make(), form=form)
    new = torch.tensor(problem(5, 4)[0])
    with pytest.raises(TypeError, match=r"points are torch\.float32, .* torch\.float64"):
        module(new.float())
    with pytest.raises(ValueError, match=r"shape \(m, 4\), got \(5, 3\)"):
        module(new[:, :3])
    with pytest.raises(ValueError, match=r"shape \(m, 4\), got \(4,\)"):
        module(new[0])
    with pytest.raises(TypeError, match=r"points are torch\.float64, .* torch\.float32"):
        module.float()(new)
    with pytest.raises(TypeError, match=r"points are torch\.float32, .* torch\.float32"):
        module.float()(new.float())
