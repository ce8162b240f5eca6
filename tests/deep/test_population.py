"""Populations against training one by one with torch.optim.SGD, and what they may not depend on."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from stat_asserts import assert_counts

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

from deep.population import (  # noqa: E402
    LARGEST_STEP,
    Members,
    example_order,
    train_population,
)

N, CLASSES = 37, 3
DOUBLE = {"dtype": torch.float64, "progress": False}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def drawn(model, generator, scale=0.4):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, scale, generator=generator)
    return model


def perceptron(generator):
    layers = nn.Flatten(), nn.Linear(16, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU()
    return drawn(nn.Sequential(*layers, nn.Linear(5, CLASSES)), generator)


def wide(generator):
    layers = nn.Flatten(), nn.Linear(16, 520), nn.ReLU(), nn.Linear(520, CLASSES)
    return drawn(nn.Sequential(*layers), generator, 0.1)


def without_bias(generator):
    layers = nn.Flatten(), nn.Linear(16, 7, bias=False), nn.ReLU(), nn.Linear(7, CLASSES)
    return drawn(nn.Sequential(*layers), generator)


def linear(generator):
    return drawn(nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES)), generator)


def tanh(generator):
    layers = nn.Flatten(), nn.Linear(16, 7), nn.Tanh(), nn.Linear(7, CLASSES)
    return drawn(nn.Sequential(*layers), generator)


def convolutional(generator, *norm):
    layers = nn.Conv2d(1, 4, 3, padding=1), *norm, nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    return drawn(nn.Sequential(*layers, nn.Linear(16, CLASSES)), generator)


def normalized(generator):
    return convolutional(generator, nn.BatchNorm2d(4))


def normalized_units(generator):
    layers = nn.Flatten(), nn.Linear(16, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, CLASSES)
    return drawn(nn.Sequential(*layers), generator)


def shared(generator):
    twice = nn.Linear(16, 16)
    layers = nn.Flatten(), twice, nn.ReLU(), twice, nn.ReLU(), nn.Linear(16, CLASSES)
    return drawn(nn.Sequential(*layers), generator)


def hooked(generator):
    model = perceptron(generator)
    model[1].register_forward_hook(lambda module, inputs, output: 2.0 * output)
    return model


class Wrapped(nn.Module):
    """A perceptron that does not look like one."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, inputs):
        return self.model(inputs)


MODELS = [perceptron, wide, without_bias, linear, tanh, convolutional, normalized, normalized_units]
MODELS += [shared, hooked]


def problem(n=N, seed=0):
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.standard_normal((n, 1, 4, 4))), torch.tensor(
        rng.integers(CLASSES, size=n)
    )


def various(batch_size=8):
    """Four members with nothing in common."""
    return Members(
        [0.05, 0.1, 0.02, 0.3],
        momentum=[0.9, 0.0, 0.5, 0.2],
        weight_decay=[0.0, 0.01, 0.1, 0.0],
        batch_size=batch_size,
        seed=[0, 1, 2, 2**62],
    )


def labels_of_members(members):
    rng = np.random.default_rng(1)
    return torch.tensor(rng.integers(CLASSES, size=(len(members), N)))


def loss_and_accuracy(model, X, y):
    model.eval()
    with torch.no_grad():
        logits = model(X)
    model.train()
    return float(cross_entropy(logits, y)), float((logits.argmax(1) == y).double().mean())


def alone(make_model, X, y, members, member, steps, schedule=lambda step: 1.0):
    """Train by torch.optim.SGD; return losses and accuracies (steps + 1, 2), and the model."""
    rate, momentum, decay, size, seed = (
        getattr(members, name)[member].item()
        for name in ("learning_rate", "momentum", "weight_decay", "batch_size", "seed")
    )
    model = make_model(torch.Generator().manual_seed(seed)).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, weight_decay=decay)
    track, batches, epoch = [loss_and_accuracy(model, X, y)], [], 0
    for step in range(steps):
        if not batches:
            batches = list(example_order([seed], epoch, len(X))[0].split(size))
            epoch += 1
        index = batches.pop(0)
        optimizer.param_groups[0]["lr"] = rate * schedule(step)
        optimizer.zero_grad()
        cross_entropy(model(X[index]), y[index]).backward()
        optimizer.step()
        track.append(loss_and_accuracy(model, X, y))
    return np.array(track), model


def assert_same(result, member, track, model=None):
    # atol is not needed: losses here are of order one
    np.testing.assert_allclose(result.train_loss[member], track[:, 0], rtol=1e-11)
    np.testing.assert_allclose(result.train_accuracy[member], track[:, 1], rtol=1e-12)
    if model is not None:
        for name, values in [*model.named_parameters(), *model.named_buffers()]:
            ours = result[f"parameters.{name}"].values[member]
            np.testing.assert_allclose(ours, values.detach().numpy(), rtol=1e-10, atol=1e-12)


# --- one by one -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make_model", MODELS)
def test_members_are_what_sgd_makes_of_each_alone(make_model):
    X, _ = problem()
    members = various()
    y = labels_of_members(members)
    result = train_population(make_model, X, y, members, steps=14, keep_parameters=True, **DOUBLE)
    for member in range(len(members)):
        assert_same(result, member, *alone(make_model, X, y[member], members, member, 14))
    assert (result.diverged_at == -1).all()


@given(
    rate=st.floats(1e-3, 0.3),
    momentum=st.floats(0.0, 0.95),
    decay=st.sampled_from([0.0, 1e-3, 0.1]),
    size=st.integers(1, N),
    seed=st.integers(0, 2**63 - 1),
)
@settings(max_examples=15)
def test_any_settings(rate, momentum, decay, size, seed):
    X, y = problem()
    members = Members(rate, momentum=momentum, weight_decay=decay, batch_size=size, seed=seed)
    result = train_population(perceptron, X, y, members, steps=5, keep_parameters=True, **DOUBLE)
    track, model = alone(perceptron, X, y, members, 0, 5)
    np.testing.assert_allclose(result.train_loss[0], track[:, 0], rtol=1e-9)
    for name, values in model.state_dict().items():
        ours = result[f"parameters.{name}"].values[0]
        np.testing.assert_allclose(ours, values.numpy(), rtol=1e-8, atol=1e-10)


def test_both_engines_agree():
    X, y = problem()
    members = various()
    ours = train_population(perceptron, X, y, members, epochs=3, **DOUBLE)
    general = train_population(lambda g: Wrapped(perceptron(g)), X, y, members, epochs=3, **DOUBLE)
    xr.testing.assert_allclose(ours, general, rtol=1e-12)


def test_members_of_several_batch_sizes_keep_their_places():
    X, y = problem()
    members = various(batch_size=[8, 5, 8, 37])
    result = train_population(perceptron, X, y, members, epochs=2, **DOUBLE)
    for member, pace in enumerate([5, 8, 5, 1]):
        track, _ = alone(perceptron, X, y, members, member, 2 * pace)
        assert_same(result, member, track[::pace])


def test_float32_is_near_float64():
    X, y = problem()
    double = train_population(perceptron, X, y, various(), epochs=2, **DOUBLE)
    single = train_population(perceptron, X, y, various(), epochs=2, progress=False)
    np.testing.assert_allclose(single.train_loss, double.train_loss, rtol=1e-5)
    assert (single.train_loss != double.train_loss).any()


# --- chunks, seeds, order -------------------------------------------------------------------------


@pytest.mark.parametrize("make_model", [perceptron, wide, tanh, convolutional, normalized])
def test_chunks_change_results_by_rounding_at_most(make_model):
    X, y = problem()
    options = {"epochs": 2, "keep_parameters": True, **DOUBLE}
    one = train_population(make_model, X, y, various(), max_bytes=1, **options)
    for max_bytes in (2**20, 2**30):
        other = train_population(make_model, X, y, various(), max_bytes=max_bytes, **options)
        xr.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-13)


def test_the_seed_is_what_a_member_draws_from():
    X, y = problem()
    members = Members(0.1, batch_size=8, seed=[3, 4, 3])
    result = train_population(perceptron, X, y, members, epochs=2, **DOUBLE)
    xr.testing.assert_equal(result.isel(member=0, drop=True), result.isel(member=2, drop=True))
    assert (result.train_loss[0] != result.train_loss[1]).all()


def test_words_are_those_of_splitmix64():
    """The order for one stream, made again by integers without a limit."""

    def mixed(word):
        word = (word ^ (word >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        word = (word ^ (word >> 27)) * 0x94D049BB133111EB % 2**64
        return word ^ (word >> 31)

    golden = 0x9E3779B97F4A7C15
    assert mixed(1234567 + golden) == 6457827717110365317  # the authors' first output
    for seed, epoch, n in [(0, 0, 1), (7, 3, 100), (2**63 - 1, 10**6, 50)]:
        stream = mixed((mixed((seed + golden) % 2**64) + (epoch + 1) * golden) % 2**64)
        keys = [mixed((stream + (i + 1) * golden) % 2**64) for i in range(n)]
        signed = [key - 2**64 if key >= 2**63 else key for key in keys]
        assert example_order([seed], epoch, n)[0].tolist() == np.argsort(signed).tolist()


def test_orders_are_uniform_permutations():
    orders = torch.cat([example_order(range(2000), epoch, 4) for epoch in range(6)]).numpy()
    assert (np.sort(orders, axis=1) == np.arange(4)).all()
    _, counts = np.unique(orders @ [64, 16, 4, 1], return_counts=True)
    uniform = np.full(24, 1 / 24)
    assert_counts(counts, uniform)
    tilted = np.where(np.arange(24) < 12, 1.1, 0.9) / 24
    with pytest.raises(AssertionError):
        assert_counts(counts, tilted)
    for one, other in [(orders[:2000], orders[2000:4000]), (orders[:-1:2], orders[1::2])]:
        same = (one == other).all(axis=1).sum()  # epochs, and seeds, know nothing of each other
        assert_counts([same, len(one) - same], [1 / 24, 23 / 24])


# --- time -----------------------------------------------------------------------------------------


def test_the_schedule_multiplies_learning_rates_in_the_unit_of_the_run():
    X, y = problem()
    members = various()
    by_step = train_population(
        perceptron, X, y, members, steps=12, schedule=lambda t: 0.9**t, **DOUBLE
    )
    by_epoch = train_population(
        perceptron, X, y, members, epochs=3, schedule=lambda t: 0.5 ** int(t), **DOUBLE
    )
    for member in range(len(members)):
        track, _ = alone(perceptron, X, y, members, member, 12, lambda step: 0.9**step)
        assert_same(by_step, member, track)
        track, _ = alone(perceptron, X, y, members, member, 15, lambda step: 0.5 ** (step // 5))
        assert_same(by_epoch, member, track[::5])


def test_records_can_be_rare():
    X, y = problem()
    often = train_population(perceptron, X, y, various(), steps=10, **DOUBLE)
    rare = train_population(perceptron, X, y, various(), steps=10, record_every=4, **DOUBLE)
    assert rare.step.values.tolist() == [0, 4, 8, 10]
    xr.testing.assert_identical(rare, often.sel(step=rare.step))


# --- data and results -----------------------------------------------------------------------------


def test_bytes_are_divided_by_255():
    rng = np.random.default_rng(0)
    X, y = rng.integers(256, size=(N, 4, 4), dtype=np.uint8), rng.integers(CLASSES, size=N)
    ours = train_population(perceptron, X, y, various(), epochs=2, **DOUBLE)
    other = train_population(perceptron, X / 255, y, various(), epochs=2, **DOUBLE)
    xr.testing.assert_identical(ours, other)


def test_further_sets_are_evaluated_without_the_examples_left_out():
    X, y = problem()
    Z, wanted = problem(300, seed=2)
    some = labels_of_members(various())
    some[:, ::3] = -100
    result = train_population(
        perceptron,
        *(X, y, various()),
        epochs=2,
        evaluate={"test": (Z, wanted), "some": (X, some)},
        keep_parameters=True,
        **DOUBLE,
    )
    for member in range(4):
        model = perceptron(torch.Generator()).double()
        state = {name: result[f"parameters.{name}"].values[member] for name in model.state_dict()}
        model.load_state_dict({name: torch.tensor(values) for name, values in state.items()})
        left = some[member] >= 0
        for name, inputs, labels in [("test", Z, wanted), ("some", X[left], some[member][left])]:
            last = result.isel(member=member, epoch=-1)
            got = float(last[f"{name}_loss"]), float(last[f"{name}_accuracy"])
            assert got == pytest.approx(loss_and_accuracy(model, inputs, labels), rel=1e-12)


@pytest.mark.parametrize("shared", [True, False])
def test_members_are_trained_on_their_own_examples_alone(shared):
    X, _ = problem()
    members = various()
    y = labels_of_members(members)
    left_out = np.random.default_rng(5).permuted(np.tile(np.arange(N), (4, 1)), axis=1)[:, :10]
    if shared:
        y, left_out = y[:1].expand(4, -1).clone(), np.tile(left_out[:1], (4, 1))
    y.scatter_(1, torch.tensor(left_out), -100)
    given = y[0] if shared else y
    result = train_population(perceptron, X, given, members, steps=9, **DOUBLE)
    for member in range(4):
        own = y[member] >= 0
        track, _ = alone(perceptron, X[own], y[member][own], members, member, 9)
        assert_same(result, member, track)


def test_the_result_has_settings_and_units_and_can_be_stored(tmp_path):
    X, y = problem()
    result = train_population(normalized, X, y, various(), epochs=1, keep_parameters=True, **DOUBLE)
    np.testing.assert_array_equal(result.weight_decay, various().weight_decay)
    assert result.train_loss.attrs == {"long_name": "train loss", "units": "nat"}
    assert (result["parameters.1.num_batches_tracked"] == 5).all()
    result.to_netcdf(tmp_path / "result.nc", engine="netcdf4")
    with xr.open_dataset(tmp_path / "result.nc", engine="netcdf4") as stored:
        xr.testing.assert_identical(stored.load(), result)


def test_a_layer_that_models_share_is_left_as_it_was():
    X, y = problem()
    relu = nn.ReLU()

    def sharing(generator):
        layers = nn.Flatten(), nn.Linear(16, 5), relu, nn.Linear(5, CLASSES)
        return drawn(nn.Sequential(*layers), generator)

    train_population(sharing, X, y, various(), epochs=1, **DOUBLE)
    assert not relu._forward_hooks


def test_of_equal_logits_the_first_counts():
    def zero(generator):
        return nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES)).apply(vanish)

    def vanish(layer):
        for parameter in layer.parameters():
            nn.init.zeros_(parameter)

    X, y = problem()
    result = train_population(zero, X, y, Members(0.1, batch_size=8), epochs=1, **DOUBLE)
    assert float(result.train_accuracy[0, 0]) == float((y == 0).double().mean())
    assert float(result.train_loss[0, 0]) == pytest.approx(np.log(CLASSES), rel=1e-14)


# --- divergence -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make_model", [perceptron, wide, tanh, normalized])
def test_a_member_that_diverges_is_frozen_and_touches_no_other(make_model):
    X, y = problem()
    wild = Members([0.05, 1e12, 0.1, 1e36], momentum=0.5, batch_size=8, weight_decay=0.1)
    options = {"steps": 40, "keep_parameters": True, "progress": False}
    result = train_population(make_model, X, y, wild, **options)
    tame = train_population(make_model, X, y, wild[[0, 2]], **options)
    assert all(np.isfinite(values).all() for values in result.values())
    diverged = result.diverged_at.values
    assert (diverged[[0, 2]] == -1).all()
    assert (diverged[[1, 3]] >= 0).all()
    xr.testing.assert_allclose(result.isel(member=[0, 2]), tame, rtol=1e-5, atol=1e-6)
    for member in (1, 3):
        after = result.isel(member=member, step=slice(diverged[member], None))
        for values in (after.train_loss, after.train_accuracy):
            assert (values == values[0]).all()


def test_the_step_at_which_a_member_diverges():
    """By weight decay alone, v = λ w: each step multiplies w by 1 - ελ until one is too large."""
    X, y = torch.zeros(10, 16), torch.zeros(10, dtype=torch.long)
    make_model = lambda g: drawn(nn.Sequential(nn.Linear(16, 1)), g)  # noqa: E731
    members = Members([101.0, 0.1], weight_decay=1.0, batch_size=10)
    result = train_population(make_model, X, y, members, steps=40, keep_parameters=True, **DOUBLE)
    start = make_model(torch.Generator().manual_seed(0)).state_dict()
    largest = max(float(values.abs().max()) for values in start.values())
    expected = next(k for k in range(40) if 101.0 * largest * 100.0**k >= LARGEST_STEP)
    assert result.diverged_at.values.tolist() == [expected, -1]
    weights = start["0.weight"].double().numpy() * (-100.0) ** expected
    np.testing.assert_allclose(result["parameters.0.weight"].values[0], weights, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("decay", [1e-6, 1.0, 1e22])
@pytest.mark.parametrize("width", [1, 16])
def test_what_counts_is_the_largest_change_of_a_weight(width, decay, dtype):
    """By weight decay alone: neither the norm of the step, nor its square, nor the velocity."""
    X, y = torch.zeros(10, width), torch.zeros(10, dtype=torch.long)
    make_model = lambda g: drawn(nn.Sequential(nn.Linear(width, 1, bias=False)), g)  # noqa: E731
    weight = make_model(torch.Generator().manual_seed(0))[0].weight.detach()
    largest = float(weight.abs().max())
    rates = np.array([0.1, 0.49, 0.51, 0.999, 1.001, 2.1]) * LARGEST_STEP / (decay * largest)
    members = Members(rates, weight_decay=decay, batch_size=10)
    options = {"steps": 1, "max_bytes": 1, "dtype": dtype, "progress": False}  # each by itself
    result = train_population(make_model, X, y, members, **options)
    assert result.diverged_at.values.tolist() == [-1, -1, -1, -1, 0, 0]


def test_a_loss_that_overflows_ends_a_member_at_its_last_record():
    X, y = problem()
    far = {"far": (1e30 * X, y)}
    members = Members([1e12, 0.1], batch_size=8)
    options = {"evaluate": far, "keep_parameters": True, "progress": False}
    result = train_population(linear, X, y, members, steps=3, **options)
    assert result.diverged_at.values.tolist() == [1, -1]
    assert all(np.isfinite(values).all() for values in result.values())
    assert (result.train_loss[0] == result.train_loss[0, 0]).all()
    once = train_population(linear, X, y, members, steps=1, **options)
    for name in ("parameters.1.weight", "parameters.1.bias"):
        np.testing.assert_array_equal(result[name][0], once[name][0])


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": [0.1, -1.0]}, "learning_rate must be positive"),
        ({"learning_rate": np.nan}, "learning_rate has NaN"),
        ({"learning_rate": []}, "learning_rate is empty"),
        ({"momentum": 1.0}, "momentum must be in"),
        ({"momentum": -0.1}, "momentum must be in"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"batch_size": 0}, "batch_size must hold integers from 1"),
        ({"batch_size": 1.5}, "batch_size must hold integers"),
        ({"seed": -1}, "seed must hold integers from 0"),
        ({"seed": []}, "seed is empty"),
        ({"seed": [1, 2], "momentum": [0.0, 0.1, 0.2]}, "single numbers or all"),
        ({"seed": [[1, 2]]}, "single numbers or all"),
    ],
    ids=range(13),
)
def test_settings_out_of_range(setting, message):
    with pytest.raises(ValueError, match=message):
        Members(**{"learning_rate": 0.1, **setting})


def dropout(generator):
    return Wrapped(nn.Sequential(perceptron(generator), nn.Dropout(0.5)))


def frozen(generator):
    return perceptron(generator).requires_grad_(False)


def careless(generator):
    return nn.Sequential(nn.Flatten(), nn.Linear(16, CLASSES))


def infinite(generator):
    model = linear(generator)
    model[1].bias.data.fill_(torch.inf)
    return model


def flat(generator):
    return Wrapped(nn.Sequential(perceptron(generator), nn.Flatten(0)))


X, Y = problem()
NAN = X.clone()
NAN[3] = torch.nan
MISTAKES = [
    ({"labels": Y[1:]}, "labels must be .* got \\(36,\\)"),
    ({"labels": torch.zeros(3, N, dtype=torch.long)}, "labels must be .* got \\(3, 37\\)"),
    ({"labels": Y.double()}, "labels must be integers"),
    ({"labels": Y - 1}, "labels must be classes from 0, got -1"),
    ({"labels": Y - 100}, "labels must be classes from 0, got -99"),
    ({"labels": 0 * Y - 100}, "labels leave every example out"),
    (
        {
            "labels": torch.stack([Y, Y.index_fill(0, torch.arange(2), -100)]),
            "members": Members([0.1, 0.1], batch_size=8),
        },
        "as many examples to each member, got 35 to 37",
    ),
    ({"labels": Y + 1}, "K of at least 4"),
    ({"inputs": X[:0], "labels": Y[:0]}, "inputs must be"),
    ({"inputs": NAN}, "inputs have NaN"),
    ({"inputs": X[..., :3]}, "cannot take inputs of shape"),
    ({"members": Members(0.1, batch_size=38)}, "batch_size must be at most N = 37, got 38"),
    ({"epochs": None}, "one of epochs and steps"),
    ({"steps": 3}, "one of epochs and steps"),
    ({"epochs": 0}, "epochs must be an integer"),
    ({"epochs": None, "steps": 0}, "steps must be an integer"),
    ({"record_every": 0}, "record_every must be"),
    ({"max_bytes": 0}, "max_bytes must be"),
    ({"schedule": lambda t: -1.0}, "schedule must return"),
    ({"schedule": lambda t: np.nan}, "schedule must return"),
    ({"dtype": torch.float16}, "dtype must be"),
    ({"evaluate": {"train": (X, Y)}}, "'train'"),
    ({"evaluate": {"test": (X[:, 0], Y)}}, "differ"),
    ({"evaluate": {"test": (X, Y[1:])}}, "evaluate\\['test'\\] labels must be"),
    ({"evaluate": {"test": (X, Y * 0 - 100)}}, "leave every example out"),
    ({"evaluate": {"test": (X, Y + 1)}}, "K of at least 4"),
    ({"make_model": dropout}, "draw random numbers"),
    ({"make_model": frozen}, "can all be trained"),
    ({"make_model": lambda g: nn.Flatten()}, "can all be trained"),
    ({"make_model": careless}, "two models from the same seed differ"),
    ({"make_model": infinite}, "logits have NaN or infinite"),
    ({"make_model": flat}, "must return logits"),
    ({"make_model": normalized_units, "members": Members(0.1, batch_size=36)}, "more than 1 value"),
]


@pytest.mark.parametrize(("changed", "message"), MISTAKES, ids=range(len(MISTAKES)))
def test_mistakes_are_named_before_any_work(changed, message):
    call = {"make_model": perceptron, "inputs": X, "labels": Y, "epochs": 1, "progress": False}
    call |= {"members": Members(0.1, batch_size=8)} | changed
    with pytest.raises(ValueError, match=message):
        train_population(**call)
