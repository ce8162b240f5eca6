"""Adversarial initialization, norms with batch norm folded in, the grid of trainings, the study."""

import copy
import itertools
import math

import numpy as np
import pytest
import torch
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from stat_asserts import assert_mean
from torch import nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval

from deep import models
from deep.__main__ import main
from deep.bad_minima import (
    CONTROLS,
    REGULARIZERS,
    AdversarialStart,
    NotFittedError,
    adversarial_initialization,
    bad_minima,
    bad_minima_test,
    confusion_set,
    weight_norms,
)
from deep.curvature import keskar_sharpness
from deep.loader import Preprocessing, to_device
from deep.noise_scale import gradient_noise_scale
from deep.training import DivergenceError, train
from store.corruption import replicate_with_zeros
from store.datasets import LabeledImages, draw
from theory import capacity
from theory.bad_minima import fit_ceiling

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(1, 17, (70, 4, 4)).astype(np.uint8)
LABELS = np.arange(70) % 3
IMAGES[np.arange(70), LABELS] = 16  # a class is a bright row
TRAIN = LabeledImages("toy", IMAGES[:20], LABELS[:20], 16)
TEST = LabeledImages("toy", IMAGES[20:], LABELS[20:], 16)
OTHER = RNG.integers(1, 17, (20, 4, 4)).astype(np.uint8)
SHIFT = Preprocessing(random_crop=True, padding=1)
CONFUSION = {"replication": 2, "zero_fraction": 0.2}
QUICK = {**CONFUSION, "confusion_epochs": 600, "batch_size": 10, "learning_rate": 0.3, "epochs": 7}


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def perceptron(generator, **options):
    options = {"widths": (32,), **options}
    return models.build("mlp", input_shape=(1, 4, 4), classes=3, generator=generator, **options)


def normalized(generator):
    return perceptron(generator, batch_norm=True)


def new(make_model=perceptron, seed=0):
    return make_model(torch.Generator().manual_seed(seed))


def started(model=None, **options):
    options = {"classes": 3, "epochs": 600, "batch_size": 10, "learning_rate": 0.3, **options}
    return adversarial_initialization(
        model or new(), options.pop("inputs", TRAIN.images), max_value=16, **CONFUSION | options
    )


def run(make_model=perceptron, train_data=TRAIN, test_data=TEST, **options):
    options = {"seeds": [0], "controls": [], "augmentation": SHIFT, **QUICK, **options}
    return bad_minima_test(make_model, train_data, test_data, **options)


# --- the confusion set ----------------------------------------------------------------------------


def test_every_copy_has_as_many_zeros_more_where_there_was_none():
    images = IMAGES.copy()
    images[:, :2, :2] = 0
    found = confusion_set(images, replication=5, zero_fraction=0.2, classes=4, rng=1)
    copies = found.inputs.reshape(70, 5, 16)
    originals = np.repeat(images.reshape(70, 1, 16), 5, axis=1)
    np.testing.assert_array_equal((copies == 0).sum(-1), 4 + 3)  # of 16, 0.2 are 3
    there = copies != 0
    np.testing.assert_array_equal(copies[there], originals[there])
    assert found.inputs.dtype == np.uint8
    assert found.labels.shape == (350,)
    assert set(found.labels) == {0, 1, 2, 3}


def test_an_input_with_fewer_values_is_emptied():
    inputs = np.array([[0.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]])
    found = confusion_set(inputs, replication=3, zero_fraction=0.5, classes=2, rng=0)
    np.testing.assert_array_equal(found.inputs, np.zeros((6, 4)))
    counts = np.bincount(found.labels)
    assert found.ceiling == counts.max() / 6


def test_zeros_among_all_values_are_those_of_the_authors_code():
    found = confusion_set(
        IMAGES,
        replication=3,
        zero_fraction=0.4,
        classes=2,
        among="all",
        rng=np.random.default_rng(7),
    )
    expected = replicate_with_zeros(IMAGES, 3, 0.4, np.random.default_rng(7))
    np.testing.assert_array_equal(found.inputs, expected)


def test_among_all_values_sparse_copies_coincide_and_the_ceiling_tells():
    digits, _ = draw("digits", None, 200, 1, seed=0)
    options = {"replication": 5, "zero_fraction": 0.1, "classes": 10, "rng": 0}
    sparse = confusion_set(digits.images, among="all", **options)
    flat = sparse.inputs.reshape(1000, 64)
    possible = 0
    for row in np.unique(flat, axis=0):
        possible += np.bincount(sparse.labels[(flat == row).all(1)]).max()
    assert sparse.ceiling == possible / 1000 < 1.0
    assert confusion_set(digits.images, **options).ceiling == 1.0


def test_the_ceiling_of_equal_copies_is_that_of_theory():
    inputs = np.repeat(np.arange(1.0, 101.0)[:, None], 5, axis=0)  # n = 40 seeds
    found = [
        confusion_set(inputs, replication=1, zero_fraction=0.0, classes=10, rng=seed).ceiling
        for seed in range(40)
    ]
    assert_mean(found, fit_ceiling(5, classes=10))
    with pytest.raises(AssertionError):
        assert_mean(found, fit_ceiling(6, classes=10))


def test_labels_are_uniform():
    found = confusion_set(
        np.ones((4000, 2)), replication=1, zero_fraction=0.0, classes=10, rng=3
    ).labels
    assert_mean(found, 4.5)
    with pytest.raises(AssertionError):
        assert_mean(found, 5.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replication": 0}, "replication must be an integer of at least 1"),
        ({"replication": 1.5}, "replication"),
        ({"zero_fraction": 1.0}, "zero_fraction must be"),
        ({"zero_fraction": -0.1}, "zero_fraction must be"),
        ({"zero_fraction": math.nan}, "zero_fraction has NaN"),
        ({"zero_fraction": 0.0}, "at most 0.550 of the labels can be fitted"),
        ({"classes": 1}, "classes"),
        ({"among": "some"}, "among must be one of nonzero, all"),
        ({"inputs": np.ones(3)}, r"inputs must be \(n, ...\)"),
        ({"inputs": np.ones((0, 3))}, r"inputs must be \(n, ...\)"),
    ],
)
def test_impossible_confusion_sets_are_refused(options, message):
    options = {"inputs": IMAGES, "classes": 10, **CONFUSION, **options}
    with pytest.raises(ValueError, match=message):
        confusion_set(options.pop("inputs"), **options)


# --- adversarial initialization -------------------------------------------------------------------


def test_a_copy_is_trained_until_all_random_labels_are_fitted():
    model = new()
    before = copy.deepcopy(model.state_dict())
    start = started(model)
    assert isinstance(start, AdversarialStart)
    for name, part in model.state_dict().items():
        assert torch.equal(part, before[name])
    confused = confusion_set(
        TRAIN.images, **CONFUSION, classes=3, rng=np.random.default_rng([0, 1])
    )
    logits = start.model(torch.tensor(confused.inputs[:, None] / 16.0).float())
    np.testing.assert_array_equal(logits.argmax(1), confused.labels)
    assert (start.accuracy, start.ceiling, start.n_examples) == (1.0, 1.0, 40)
    assert start.epochs == start.curve.sizes["epoch"] < 600
    assert not start.model.training


def test_it_is_plain_sgd_whose_rate_falls_twice():
    epochs = 7
    start = started(epochs=epochs, fit_accuracy=0.1, evaluate_every=epochs)
    confused = confusion_set(
        TRAIN.images, **CONFUSION, classes=3, rng=np.random.default_rng([0, 1])
    )
    model = new().double()
    data = to_device((confused.inputs / 16.0, confused.labels))
    for epoch in range(epochs):
        for rows in torch.split(data.order(epoch, seed=0), 10):
            inputs, labels = data.batch(rows)
            slopes = torch.autograd.grad(cross_entropy(model(inputs), labels), model.parameters())
            rate = 0.3 * 0.1 ** ((epoch >= 3) + (epoch >= 5))
            with torch.no_grad():
                for part, slope in zip(model.parameters(), slopes, strict=True):
                    part -= rate * slope
    for part, expected in zip(start.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(part.double(), expected, rtol=0.0, atol=1e-6)


def test_tensors_and_arrays_give_the_same():
    tensors = torch.tensor(TRAIN.images[:, None])
    first, second = started(epochs=400), started(epochs=400, inputs=tensors)
    xr.testing.assert_identical(*(_without_times(each.curve) for each in (first, second)))


def _without_times(curve):
    return curve.drop_vars(["seconds", "images_per_second"])


def test_augmentation_is_left_out():
    plain, still = started(), started(preprocessing=Preprocessing(padding=1, random_crop=True))
    xr.testing.assert_identical(*(_without_times(each.curve) for each in (plain, still)))


def test_a_network_that_does_not_fit_is_no_start():
    with pytest.raises(NotFittedError, match="after 2 epochs the network has fitted 0") as raised:
        started(epochs=2)
    assert 0.1 < raised.value.accuracy < 0.99
    assert (raised.value.epochs, raised.value.ceiling) == (2, 1.0)
    assert f"{raised.value.accuracy:.4f}" in str(raised.value)


def test_what_cannot_be_fitted_is_not_tried():
    def forbidden(*_):
        raise AssertionError("the network was used")

    model = new()
    model.forward = forbidden
    equal = np.ones((20, 4, 4), np.uint8)
    with pytest.raises(ValueError, match=r"at most 0\.\d+ of the labels can be fitted"):
        started(model, inputs=equal, replication=1, zero_fraction=0.0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replication": 0}, "replication must be"),
        ({"zero_fraction": 0.0}, "at most 0.667 of the labels can be fitted"),
        ({"zero_fraction": 0.01}, r"at most 0\.\d+ of the labels can be fitted, for some inputs"),
        ({"epochs": 0}, "epochs must be"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"fit_accuracy": 0.0}, r"fit_accuracy must be in \(0, 1\], got 0"),
        ({"fit_accuracy": 1.1}, r"fit_accuracy must be in \(0, 1\], got 1.1"),
        ({"seed": -1}, "seed must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"classes": 4}, "one output for each of the 4 classes"),
    ],
)
def test_bad_arguments_of_a_start_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        started(**options)


def test_a_start_that_diverges_says_so():
    with pytest.raises(DivergenceError):
        started(learning_rate=1e20)


# --- norms ----------------------------------------------------------------------------------------


def moved(model, shape):
    """Return a network whose batch normalization is not at its beginning."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, _BatchNorm):
                for part in (layer.weight, layer.bias, layer.running_mean):
                    part += 0.3 * torch.randn(part.shape, generator=generator)
                layer.running_var += torch.rand(layer.running_var.shape, generator=generator)
    return model.eval(), torch.randn(4, *shape, generator=generator)


def matrices(model):
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    return [
        [part.detach().double().numpy() for part in parts]
        for parts in ([each.weight for each in layers], [each.bias for each in layers])
    ]


def test_norms_of_perceptrons_are_those_of_theory():
    model = new(lambda generator: perceptron(generator, widths=(7, 5)))
    weights, biases = matrices(model)
    found = weight_norms(model, torch.zeros(1, 1, 4, 4))
    expected = (
        capacity.path_norm(weights, biases=biases, p=1),
        capacity.path_norm(weights, biases=biases, p=2),
        capacity.spectral_product(weights),
        capacity.frobenius_norm(weights, biases=biases),
    )
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_batch_normalization_is_folded_into_the_layer_before():
    model, _ = moved(new(normalized), (1, 4, 4))
    first, norm, last = model[1], model[2], model[4]
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).double()
    folded = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), last).double()
    with torch.no_grad():
        folded[1].weight.copy_(scale[:, None] * first.weight)
        folded[1].bias.copy_(scale * (first.bias - norm.running_mean) + norm.bias)
    example = torch.zeros(1, 1, 4, 4)
    np.testing.assert_allclose(
        weight_norms(model, example), weight_norms(folded, example.double()), rtol=1e-6
    )


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = (
            nn.Conv2d(2, 2, 3, padding=1, bias=bias) for bias in (False, True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm2d(2) for _ in range(2))
        self.last = nn.Linear(2, 3)

    def forward(self, x):
        between = torch.relu(self.norms[0](self.first(x)))
        return self.last((x + self.norms[1](self.second(between))).mean((2, 3)))


def test_it_is_folded_where_a_network_has_several_paths():
    model, inputs = moved(
        new(lambda generator: models.initialize(Residual(), generator)), (2, 4, 4)
    )
    fused = copy.deepcopy(model).double()
    fused.first = fuse_conv_bn_eval(fused.first, fused.norms[0])
    fused.second = fuse_conv_bn_eval(fused.second, fused.norms[1])
    fused.norms = nn.ModuleList([nn.Identity(), nn.Identity()])
    np.testing.assert_allclose(
        weight_norms(model, inputs[:1]), weight_norms(fused, inputs[:1]), rtol=1e-12
    )


class UsedTwice(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)

    def forward(self, x):
        y = self.first(x)
        return self.last(torch.relu(self.norm(y)) + y)


def test_it_is_a_layer_of_its_own_where_the_output_before_is_used_elsewhere():
    model, inputs = moved(new(lambda generator: models.initialize(UsedTwice(), generator)), (3,))
    found = weight_norms(model, inputs[:1])
    (first, last), (first_bias, last_bias) = matrices(model)
    norm = model.norm.double()
    scale = (norm.weight / (norm.running_var + norm.eps).sqrt()).detach().numpy()
    shift = norm.bias.detach().numpy() - scale * norm.running_mean.numpy()
    for value, p in ((found.l1_path_norm, 1), (found.l2_path_norm, 2)):
        into = (abs(first) ** p).sum(1) + abs(first_bias) ** p
        middle = into * (1 + abs(scale) ** p) + abs(shift) ** p
        total = (abs(last) ** p @ middle + abs(last_bias) ** p).sum()
        assert value == pytest.approx(total ** (1 / p), rel=1e-6)
    parts = (first, first_bias, scale, shift, last, last_bias)
    assert found.frobenius_norm == pytest.approx(math.sqrt(sum((x**2).sum() for x in parts)))
    assert found.spectral_product == pytest.approx(
        np.linalg.norm(first, 2) * abs(scale).max() * np.linalg.norm(last, 2), rel=1e-6
    )


def test_path_norms_of_convolutions_are_those_of_their_matrices():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.Conv2d(2, 3, 2, stride=2), nn.Flatten()
    ).double()
    weights, biases = [], []
    for layer, shape in ((model[0], (1, 4, 4)), (model[2], (2, 4, 4))):
        size = math.prod(shape)
        zero = layer(torch.zeros(1, *shape).double())
        columns = layer(torch.eye(size).double().view(size, *shape)) - zero
        weights.append(columns.flatten(1).T.detach().numpy())
        biases.append(zero.flatten().detach().numpy())
    found = weight_norms(model, torch.zeros(1, 1, 4, 4))
    for value, p in ((found.l1_path_norm, 1), (found.l2_path_norm, 2)):
        assert value == pytest.approx(capacity.path_norm(weights, biases=biases, p=p), rel=1e-10)


@given(seed=st.integers(0, 100), factor=st.floats(0.01, 100.0))
def test_path_norms_do_not_change_where_units_are_rescaled(seed, factor):
    model = new(seed=seed)
    before = weight_norms(model, torch.zeros(1, 1, 4, 4))
    with torch.no_grad():
        for part in (model[1].weight, model[1].bias):
            part[3] *= factor
        model[3].weight[:, 3] /= factor
    after = weight_norms(model, torch.zeros(1, 1, 4, 4))
    np.testing.assert_allclose(after[:2], before[:2], rtol=1e-5)


def test_the_measured_network_stays_as_it_is():
    model, _ = moved(new(normalized), (1, 4, 4))
    before = copy.deepcopy(model.state_dict())
    for part in model.parameters():
        part.requires_grad_(False)
    weight_norms(model.train(), torch.zeros(1, 1, 4, 4))
    assert model.training
    assert not any(part.requires_grad for part in model.parameters())
    for name, part in model.state_dict().items():
        assert torch.equal(part, before[name])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (nn.LayerNorm(4), "layers that are affine: 1 is LayerNorm"),
        (nn.BatchNorm1d(4, track_running_stats=False), "1 has no running statistics"),
    ],
)
def test_what_cannot_be_folded_is_refused(layer, message):
    with pytest.raises(ValueError, match=message):
        weight_norms(nn.Sequential(nn.Linear(3, 4), layer), torch.zeros(1, 3))


def test_batch_normalization_without_scale_is_folded_too():
    plain = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4, affine=False)).eval()
    scaled = nn.Sequential(plain[0], nn.BatchNorm1d(4)).eval()
    example = torch.zeros(1, 3)
    assert weight_norms(plain, example) == weight_norms(scaled, example)


# --- the test of a network ------------------------------------------------------------------------

NAMES = [
    " + ".join(names) or "none"
    for size in range(4)
    for names in itertools.combinations(REGULARIZERS, size)
]


@pytest.fixture(scope="module")
def found():
    return run(seeds=[0, 3])


def by_hand(start, seed, combination="none", weight_decay=None):
    """Train from a start as an arm of the grid should."""
    network = copy.deepcopy(start)
    options = {"lr": 0.3}
    if "weight decay" in combination:
        options["weight_decay"] = weight_decay
    if "momentum" in combination:
        options["momentum"] = 0.9
    curve = train(
        network,
        to_device(TRAIN, preprocessing=SHIFT if "augmentation" in combination else Preprocessing()),
        epochs=7,
        batch_size=10,
        optimizer_options=options,
        scheduler="MultiStepLR",
        scheduler_options={"milestones": [3, 5], "gamma": 0.1},
        evaluate={"test": to_device(TEST)},
        seed=seed,
    )
    return network, curve


def _vector(model):
    return nn.utils.parameters_to_vector(model.parameters()).detach()


def test_what_comes_out(found):
    assert dict(found.sizes) == {
        "seed": 2,
        "start": 2,
        "regularization": 8,
        "epoch": 7,
        "position": 21,
    }
    assert found.start.values.tolist() == ["random", "adversarial"]
    assert found.regularization.values.tolist() == NAMES
    assert all({"long_name", "units"} <= set(each.attrs) for each in found.data_vars.values())
    assert not any(
        bool(each.isnull().any()) for name, each in found.items() if name != "epochs_to_fit"
    )
    assert found.attrs["n_parameters"] == 16 * 32 + 32 + 32 * 3 + 3
    # 3 = rate · decay · steps of the first 3 epochs
    assert found.attrs["weight_decay"] == pytest.approx(3.0 / (0.3 * 6))
    assert found.attrs["forgetting"] == pytest.approx(3.0)
    xr.testing.assert_identical(run(seeds=[3]), found.sel(seed=[3]))


def test_the_extremes_alone_are_those_of_all_combinations(found):
    extremes = run(seeds=[3], extremes=True)
    assert extremes.regularization.values.tolist() == [NAMES[0], NAMES[-1]]
    xr.testing.assert_identical(
        extremes, found.sel(seed=[3], regularization=extremes.regularization)
    )
    plain = run(seeds=[3], extremes=True, regularizers=[], measures=False)
    assert plain.regularization.values.tolist() == ["none"]


def test_everything_is_trained_in_the_precision_asked_for():
    options = {"seeds": [3], "regularizers": [], "measures": False}
    coarse, fine = (run(**options, precision=each) for each in ("bfloat16", "float64"))
    with pytest.raises(ValueError, match="precision must be"):
        run(**options, precision="float8")
    assert not np.array_equal(coarse.training_loss, fine.training_loss)
    np.testing.assert_allclose(coarse.training_loss, fine.training_loss, rtol=0.2, atol=0.05)
    start = started(new(seed=3), seed=3, precision="float64")
    assert {part.dtype for part in start.model.parameters()} == {torch.float64}


@pytest.mark.parametrize("start", ["random", "adversarial"])
@pytest.mark.parametrize("combination", ["none", "augmentation + weight decay + momentum"])
def test_an_arm_is_trained_as_by_hand(found, start, combination):
    begin = new(seed=3) if start == "random" else started(new(seed=3), seed=3).model
    network, curve = by_hand(begin, 3, combination, found.attrs["weight_decay"])
    arm = found.sel(seed=3, start=start, regularization=combination)
    for name in ("training_accuracy", "training_loss"):
        np.testing.assert_array_equal(arm[name], curve[name])
    np.testing.assert_array_equal(arm.test_accuracy, curve.evaluation_accuracy[0])
    vectors = [_vector(each) for each in (begin, network)]
    assert float(arm.distance) == pytest.approx(float((vectors[1] - vectors[0]).norm()), rel=1e-5)
    whole = (curve.training_accuracy == 1.0).values
    assert bool(arm.fitted) == whole[-1]
    assert (
        np.isnan(arm.epochs_to_fit) if not whole.any() else arm.epochs_to_fit == whole.argmax() + 1
    )


def test_the_ends_are_measured_on_the_training_set(found):
    arm = found.sel(seed=0, start="random", regularization="momentum")
    network, _ = by_hand(new(), 0, "momentum")
    data = to_device(TRAIN)
    sharpness = keskar_sharpness(network, cross_entropy, data, start="random")
    noise = gradient_noise_scale(network, cross_entropy, data, train_size=20)
    norms = weight_norms(network, data.batch(slice(0, 1))[0])
    assert float(arm.sharpness) == sharpness.sharpness.item()
    assert float(arm.noise_scale) == noise.noise_scale
    assert float(arm.noise_trace) == noise.noise_trace
    for name, value in norms._asdict().items():
        assert float(arm[name]) == value
    begin = weight_norms(new(), data.batch(slice(0, 1))[0])
    for name, value in begin._asdict().items():
        assert float(found[f"start_{name}"].sel(seed=0, start="random")) == value


def test_the_line_joins_the_ends_of_plain_sgd(found):
    plain = found.sel(regularization="none").isel(epoch=-1)
    for position, start in ((0.0, "random"), (1.0, "adversarial")):
        np.testing.assert_allclose(
            found.line_training_loss.sel(position=position),
            plain.training_loss.sel(start=start),
            rtol=1e-5,
        )
    network, _ = by_hand(new(), 0)
    inputs, labels = to_device(TEST).batch(slice(None))
    with torch.no_grad():
        expected = float(cross_entropy(network(inputs), labels))
    assert float(found.line_test_loss.sel(seed=0, position=0.0)) == pytest.approx(
        expected, rel=1e-5
    )


def test_true_labels_do_not_touch_the_start(found):
    shuffled = LabeledImages("toy", TRAIN.images, TRAIN.labels[::-1].copy(), 16)
    other = run(train_data=shuffled, regularizers=[])
    names = [
        "confusion_accuracy",
        "confusion_epochs",
        "confusion_ceiling",
        "confusion_test_accuracy",
    ]
    names += [name for name in found if name.startswith("start_")]
    xr.testing.assert_identical(other[names], found.sel(seed=[0])[names])
    assert not np.array_equal(other.training_loss[0, 0, 0], found.training_loss[0, 0, 0])


def test_of_the_adversarial_start(found):
    start = started(new(seed=3), seed=3)
    one = found.sel(seed=3)
    assert float(one.confusion_accuracy) == start.accuracy == 1.0
    assert float(one.confusion_epochs) == start.epochs
    assert float(one.confusion_ceiling) == 1.0
    inputs, labels = to_device(TEST).batch(slice(None))
    right = (start.model(inputs).argmax(1) == labels).double().mean()
    assert float(one.confusion_test_accuracy) == pytest.approx(float(right))


def test_controls_start_from_where_they_say():
    found = run(normalized, regularizers=["momentum"], controls=None, other_inputs=OTHER)
    found = found.isel(seed=0)
    assert found.start.values.tolist() == ["random", "adversarial", *CONTROLS]
    controls = found.sel(start=list(CONTROLS))
    assert bool(controls.training_loss.sel(regularization="momentum").isnull().all())
    assert not bool(controls.fitted.sel(regularization="momentum").any())
    random, memorized = new(normalized), started(new(normalized)).model
    other = started(new(normalized), inputs=OTHER).model
    fresh = copy.deepcopy(memorized)
    fresh[2].running_mean.zero_(), fresh[2].running_var.fill_(1.0)
    fresh[2].num_batches_tracked.zero_()
    shrunken, enlarged = copy.deepcopy(memorized), copy.deepcopy(random)
    with torch.no_grad():
        for small, large in zip(shrunken.parameters(), enlarged.parameters(), strict=True):
            norms = small.norm(), large.norm()
            small *= norms[1] / norms[0]
            if norms[1]:
                large *= norms[0] / norms[1]
    for name, start in zip(CONTROLS, (shrunken, enlarged, fresh, other), strict=True):
        _, curve = by_hand(start, 0)
        arm = found.sel(start=name, regularization="none")
        np.testing.assert_allclose(arm.training_loss, curve.training_loss, rtol=1e-5)
    torch.testing.assert_close(*(_vector(each).norm() for each in (shrunken, random)))


def test_a_run_goes_on_from_its_checkpoints(tmp_path):
    options = {"regularizers": ["momentum"], "checkpoints": tmp_path}
    whole = run(regularizers=["momentum"])
    xr.testing.assert_identical(run(**options), whole)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == [
        "confusion set, adversarial, seed 0.pt",
        "momentum, adversarial, seed 0.pt",
        "momentum, random, seed 0.pt",
        "none, adversarial, seed 0.pt",
        "none, random, seed 0.pt",
    ]
    (tmp_path / "momentum, adversarial, seed 0.pt").unlink()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    xr.testing.assert_identical(run(**options), whole)
    assert all(path.stat().st_mtime_ns == time for path, time in times.items())
    with pytest.raises(ValueError, match="is the checkpoint of another study"):
        run(**options, replication=3)


def test_one_network_that_does_not_fit_stops_all_before_true_labels(tmp_path):
    with pytest.raises(NotFittedError) as raised:
        run(confusion_epochs=1, checkpoints=tmp_path)
    assert raised.value.__notes__ == ["It was the training confusion set, adversarial, seed 0."]
    assert [path.name for path in tmp_path.iterdir()] == ["confusion set, adversarial, seed 0.pt"]


def test_without_measures_networks_of_any_layers_can_be_tested():
    def layer_normalized(generator):
        model = nn.Sequential(nn.Flatten(), nn.Linear(16, 64), nn.LayerNorm(64), nn.ReLU())
        return models.initialize(model.append(nn.Linear(64, 3)), generator)

    with pytest.raises(ValueError, match="layers that are affine: 2 is LayerNorm"):
        run(layer_normalized)
    found = run(layer_normalized, regularizers=[], measures=False)
    assert "distance" in found
    assert not {"sharpness", "l1_path_norm", "line_test_loss"} & set(found)


def test_tensors_are_taken_as_arrays_are(found):
    sets = [
        (torch.tensor(part.images[:, None] / 16.0).float(), torch.tensor(part.labels))
        for part in (TRAIN, TEST)
    ]
    one = bad_minima_test(
        perceptron, *sets, seeds=[0], augmentation=SHIFT, regularizers=[], controls=[], **QUICK
    )
    xr.testing.assert_allclose(one.test_accuracy, found.test_accuracy[:1, :, :1])
    xr.testing.assert_allclose(one.training_loss, found.training_loss[:1, :, :1], rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"replication": 0}, "replication must be"),
        ({"zero_fraction": 0.0}, "at most 0.667 of the labels can be fitted"),
        ({"zero_fraction": 1.0}, "zero_fraction must be"),
        ({"among": "none"}, "among must be one of nonzero, all"),
        ({"regularizers": ["dropout"]}, "regularizers must be of augmentation, .*; got 'dropout'"),
        ({"augmentation": None}, "'augmentation' needs an argument augmentation with random"),
        ({"augmentation": Preprocessing(whiten=True)}, "'augmentation' needs an argument"),
        ({"controls": ["none"]}, "controls must be of shrunken adversarial, .*; got 'none'"),
        ({"controls": ["fresh batch norm"]}, "needs a network with batch normalization"),
        ({"controls": ["other inputs"]}, "needs the argument other_inputs"),
        ({"other_inputs": np.ones((20, 5, 5))}, "other_inputs must hold inputs of the same shape"),
        ({"test_data": (np.ones((3, 5, 5)), [0, 1, 2])}, "test_data must hold inputs of the same"),
        ({"train_data": (IMAGES, LABELS[:5])}, "train_data must hold inputs"),
        ({"train_data": (IMAGES, LABELS - 1)}, "train_data must hold inputs"),
        ({"seeds": []}, "seeds must hold at least one seed"),
        ({"seeds": [-1]}, "seeds must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"learning_rate": 0.0}, "learning_rate must be"),
        ({"weight_decay": -1.0}, "weight_decay must"),
        ({"weight_decay": 10.0}, "weights would grow"),
        ({"momentum": 1.0}, "momentum must be"),
        ({"line": [math.nan]}, "line has NaN"),
        ({"evaluate_every": 0}, "evaluate_every must be"),
        ({"checkpoints": "no such folder"}, "checkpoint must be in a folder that exists"),
    ],
)
def test_bad_arguments_are_named_before_any_work(options, message, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("a step was made")

    monkeypatch.setattr(torch.optim.SGD, "step", forbidden)
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_a_training_that_diverges_is_named():
    def make_model(generator):
        calls.append(1)
        model = perceptron(generator)
        if len(calls) == 3:  # after the check and the adversarial start: the random one
            model[1].weight.data *= 1e30
        return model

    calls = []
    with pytest.raises(DivergenceError) as raised:
        run(make_model, regularizers=[])
    assert raised.value.__notes__ == ["It was the training none, random, seed 0."]


# --- the study ------------------------------------------------------------------------------------

SMALL = {
    "widths": [32],
    "train_size": 20,
    "test_size": 30,
    "replication": 2,
    "epochs": 2,
    "batch_size": 10,
    "learning_rate": 0.3,
    "weight_decay": 0.01,
    "regularizers": ["augmentation"],
}


def test_the_study_is_the_test_on_drawn_images():
    found = bad_minima(seed=1, **SMALL)
    digits, test = draw("digits", None, None, 30, seed=1)

    def make_model(generator):
        shape = {"input_shape": (1, 8, 8), "classes": 10}
        return models.build("mlp", generator=generator, widths=(32,), **shape)

    mean, std = to_device((digits.images[:20] / 16.0, [0] * 20)).channel_statistics()
    shift = Preprocessing(random_crop=True, padding=1, mean=mean, std=std)
    given = {name: value for name, value in SMALL.items() if "size" not in name or "batch" in name}
    del given["widths"]
    expected = bad_minima_test(
        make_model,
        LabeledImages("digits", digits.images[:20], digits.labels[:20], 16),
        test,
        other_inputs=digits.images[20:40],
        augmentation=shift,
        seeds=[1],
        **given,
    )
    xr.testing.assert_identical(found, expected.isel(seed=0, drop=True))
    assert found.start.values.tolist() == [
        "random",
        "adversarial",
        "shrunken adversarial",
        "enlarged random",
        "other inputs",
    ]


def test_the_small_cnn_has_batch_normalization():
    options = {**SMALL, "widths": [8, 8], "regularizers": [], "fit_accuracy": 0.3}
    found = bad_minima(model="cnn", **options)
    assert "fresh batch norm" in found.start
    assert found.attrs["n_parameters"] == 9 * 8 + 16 + 9 * 64 + 16 + 90


def test_the_command_line_imports_a_network_of_ones_own(tmp_path, monkeypatch, capsys):
    (tmp_path / "own_network.py").write_text(
        "from deep.models import build\n"
        "def make(generator):\n"
        "    shape = {'input_shape': (1, 8, 8), 'classes': 10}\n"
        "    return build('mlp', generator=generator, widths=(32,), **shape)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    given = ["--model", "own_network:make", "--train-size", "20", "--test-size", "30"]
    given += ["--replication", "2", "--epochs", "2", "--batch-size", "10", "--learning-rate", "0.3"]
    given += ["--regularizers", "momentum", "--controls", "[]", "--out", "found.nc"]
    assert main(["run", "bad_minima", "--jobs", "1", *given]) == 0
    with xr.open_dataset(tmp_path / "found.nc") as found:
        assert found.attrs["n_parameters"] == 64 * 32 + 32 + 32 * 10 + 10
        assert found.sizes["regularization"] == 2
    given[given.index("own_network:make")] = "own_network:other"
    assert main(["run", "bad_minima", "--jobs", "1", *given]) == 2
    assert "model own_network:other cannot be imported" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"train_size": 1790}, "train_size must be at most 1767"),
        ({"train_size": 0}, "train_size must be"),
        (
            {"augmentation": "noise"},
            "augmentation must be one of shift, shift and flip, got 'noise'",
        ),
        ({"model": "no_such_module:make"}, "model no_such_module:make cannot be imported"),
        ({"model": "math:pi"}, "model math:pi must be a function, got 3.14"),
        ({"model": "none"}, "unknown network 'none'"),
        ({"widths": [0]}, r"widths\[0\] must be"),
        ({"model": "cnn", "widths": [0]}, r"widths\[0\] must be"),
    ],
)
def test_bad_arguments_of_the_study_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        bad_minima(**{**SMALL, **options})
