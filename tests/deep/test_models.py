"""Architectures: published numbers, plain re-implementations, laws of initialization, bad input."""

import sys
import types
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from scipy.stats import norm, uniform
from stat_asserts import assert_distribution

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

import deep.models  # noqa: E402
from deep.models import build, initialize, names, parameter_count  # noqa: E402
from deep.models.alexnet import alexnet  # noqa: E402
from deep.models.densenet import densenet  # noqa: E402
from deep.models.inception import inception  # noqa: E402
from deep.models.mlp import f1, mlp  # noqa: E402
from deep.models.resnet import resnet18, resnet50, thin_resnet  # noqa: E402
from deep.models.shallow import shallow  # noqa: E402
from deep.models.vgg import vgg16  # noqa: E402

CIFAR, CROPPED, MNIST = (3, 32, 32), (3, 28, 28), (1, 28, 28)

PUBLISHED = [
    ("inception", CROPPED, 10, 1_649_402),
    ("inception_without_batch_norm", CROPPED, 10, 1_649_402),
    ("alexnet", CROPPED, 10, 1_387_786),
    ("mlp_3x512", CROPPED, 10, 1_735_178),
    ("mlp_1x512", CROPPED, 10, 1_209_866),
    ("mlp", CROPPED, 10, 1_209_866),
    ("f1", MNIST, 10, 1_462_794),
    ("c1", CIFAR, 10, 1_388_490),
    ("c3", CIFAR, 100, 1_405_860),
    ("resnet44", CIFAR, 10, 661_338),
    ("resnet44", CIFAR, 100, 667_188),
    ("resnet18", CIFAR, 10, 11_173_962),
    ("resnet50", CIFAR, 10, 23_520_842),
    ("vgg16", CIFAR, 10, 14_728_266),
    ("densenet40", CIFAR, 10, 176_122),
]

# Each function of the package, at a size at which it is quick.
SMALL = {
    "alexnet": (alexnet, (1, 8, 8), {}),
    "c1": (shallow, (1, 8, 8), {}),
    "c3": (shallow, (2, 7, 9), {}),
    "densenet40": (densenet, (1, 8, 8), {}),
    "f1": (f1, (1, 8, 8), {}),
    "inception": (inception, (1, 8, 8), {}),
    "inception_without_batch_norm": (inception, (2, 7, 9), {"batch_norm": False}),
    "mlp": (mlp, (1, 8, 8), {"widths": (20, 30)}),
    "mlp_1x512": (mlp, (1, 8, 8), {"widths": (512,)}),
    "mlp_3x512": (mlp, (1, 8, 8), {"widths": (512,) * 3}),
    "resnet18": (resnet18, (1, 8, 8), {}),
    "resnet44": (thin_resnet, (1, 8, 8), {}),
    "resnet50": (resnet50, (1, 8, 8), {}),
    "vgg16": (vgg16, (1, 32, 32), {}),
}


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def images(shape, n=4, seed=1, dtype=torch.float32):
    return torch.randn(n, *shape, generator=seeded(seed), dtype=torch.float64).to(dtype)


def small(name, seed=0, **arguments):
    _, shape, options = SMALL[name]
    options = {} if name.startswith(("mlp_", "inception_")) else options
    return build(
        name, input_shape=shape, classes=10, generator=seeded(seed), **(options | arguments)
    )


def state(model):
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def identical(first, second):
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


# --- numbers of parameters and shapes -------------------------------------------------------------


@pytest.mark.parametrize(("name", "shape", "classes", "parameters"), PUBLISHED)
def test_published_numbers_of_parameters(name, shape, classes, parameters):
    model = build(name, input_shape=shape, classes=classes, device="meta")
    assert parameter_count(model) == parameters


def test_every_name_has_a_published_number_and_a_small_case():
    assert set(names()) == {name for name, *_ in PUBLISHED} == set(SMALL)
    assert list(names()) == sorted(names())


def test_original_densenet_has_a_million_parameters():
    """Huang et al. (2017), Table 2, L = 40, k = 12: 1.0 M. Added up here by hand."""
    channels, parameters = 16, 3 * 16 * 9
    for block in range(3):
        if block:
            parameters += 2 * channels + channels**2
        for _ in range(12):
            parameters += 2 * channels + 9 * 12 * channels
            channels += 12
    parameters += 2 * channels + 11 * 10 + (channels - 11) * 10 + 10
    model = densenet((3, 32, 32), 10, bottleneck=False, compression=1.0)
    assert parameter_count(model) == parameters == 1_019_722


@pytest.mark.parametrize("widths", [(), (7,), (5, 3, 2)])
def test_mlp_of_any_widths(widths):
    sizes = (1 * 2 * 3, *widths, 4)
    parameters = sum((a + 1) * b for a, b in pairwise(sizes))
    assert parameter_count(mlp((1, 2, 3), 4, widths=widths)) == parameters


INCEPTION = [  # channels, size, parameters so far: convolutions with biases
    (96, 28, 2_688),
    (64, 28, 33_472),
    (80, 28, 63_248),
    (160, 14, 120_928),
    (160, 14, 208_128),
    (160, 14, 315_808),
    (160, 14, 443_968),
    (144, 14, 590_032),
    (240, 7, 714_544),
    (336, 7, 1_102_720),
    (336, 7, 1_646_032),
]


@pytest.mark.parametrize("batch_norm", [True, False])
def test_inception_layer_by_layer(batch_norm):
    features, parameters, rows = images(CROPPED, n=2), 0, []
    for layer in list(inception(CROPPED, 10, batch_norm=batch_norm))[:-3]:
        features = layer(features)
        parameters += parameter_count(layer)
        assert features.shape[2] == features.shape[3]
        rows.append((*features.shape[1:3], parameters))
    assert rows == INCEPTION


def test_parameter_count_leaves_out_frozen_parameters_and_counts_shared_ones_once():
    shared = nn.Linear(3, 2)
    frozen = nn.Linear(5, 5).requires_grad_(False)
    assert parameter_count(nn.Sequential(shared, shared, frozen)) == 8


def sizes_of(model, shape):
    """Return the distinct heights, in order, of the feature maps of the outermost layers."""
    features, sizes = torch.empty(2, *shape, device="meta"), []
    for layer in model:
        features = layer(features)
        if features.ndim == 4 and features.shape[2] not in sizes[-1:]:
            sizes.append(features.shape[2])
    return sizes


@pytest.mark.parametrize(
    ("name", "shape", "sizes"),
    [
        ("inception", CROPPED, [28, 14, 7, 1]),
        ("alexnet", CROPPED, [28, 14, 7]),
        ("c1", CIFAR, [32, 15, 7]),
        ("resnet44", CIFAR, [32, 16, 8, 1]),
        ("resnet18", CIFAR, [32, 16, 8, 4, 1]),
        ("resnet50", CIFAR, [32, 16, 8, 4, 1]),
        ("vgg16", CIFAR, [32, 16, 8, 4, 2, 1]),
        ("densenet40", CIFAR, [32, 16, 8, 1]),
    ],
)
def test_sizes_of_the_feature_maps(name, shape, sizes):
    model = build(name, input_shape=shape, classes=10, device="meta")
    assert sizes_of(model, shape) == sizes


@pytest.mark.parametrize("name", names())
def test_logits_and_gradients(name):
    model = small(name)
    logits = model(images(SMALL[name][1], n=3))
    assert logits.shape == (3, 10)
    assert model.training
    functional.cross_entropy(logits, torch.tensor([0, 3, 9])).backward()
    for parameter in model.parameters():
        assert torch.isfinite(parameter.grad).all()
        if parameter.ndim > 1:  # a bias before batch normalization has no effect
            assert parameter.grad.abs().max() > 0.0


@pytest.mark.parametrize("name", ["alexnet", "inception_without_batch_norm", "mlp_1x512"])
def test_networks_without_batch_norm_have_no_buffers_and_see_each_image_alone(name):
    model = small(name, dtype=torch.float64)
    assert not list(model.buffers())
    batch = images(SMALL[name][1], dtype=torch.float64)
    torch.testing.assert_close(model(batch)[1:2], model(batch[1:2]), rtol=1e-12, atol=1e-12)


def test_networks_with_batch_norm_mix_the_images_of_a_batch():
    model = small("inception")
    assert list(model.buffers())
    batch = images((1, 8, 8))
    assert (model(batch)[1:2] - model(batch[1:2])).abs().max() > 1e-3


# --- forward passes, written out ------------------------------------------------------------------


def parameters_of(model):
    return [parameter.detach().numpy() for parameter in model.parameters()]


@pytest.mark.parametrize("widths", [(), (7,), (6, 5)])
def test_mlp_is_a_chain_of_matrix_products(widths):
    model = build("mlp", input_shape=(2, 3, 4), classes=3, widths=widths, dtype=torch.float64)
    batch = images((2, 3, 4), dtype=torch.float64)
    values, parameters = batch.numpy().reshape(4, 24), parameters_of(model)
    for layer in range(len(widths) + 1):
        values = np.maximum(values, 0.0) if layer else values
        values = values @ parameters[2 * layer].T + parameters[2 * layer + 1]
    np.testing.assert_allclose(model(batch).detach().numpy(), values, rtol=1e-12, atol=1e-14)


def test_f1_normalizes_before_the_relu():
    model = small("f1", dtype=torch.float64)
    batch = images((1, 8, 8), n=6, dtype=torch.float64)
    values, parameters = batch.numpy().reshape(6, 64), parameters_of(model)
    while len(parameters) > 2:
        weight, bias, scale, shift, *parameters = parameters
        values = values @ weight.T + bias
        values = (values - values.mean(axis=0)) / np.sqrt(values.var(axis=0) + 1e-5)
        values = np.maximum(scale * values + shift, 0.0)
    values = values @ parameters[0].T + parameters[1]
    np.testing.assert_allclose(model(batch).detach().numpy(), values, rtol=1e-9, atol=1e-12)


def plain_convolution(values, weight, bias):
    """Return Σ weight·window with zeros around, looped over the kernel's positions."""
    reach = weight.shape[2] // 2
    padded = np.pad(values, ((0, 0), (0, 0), (reach, reach), (reach, reach)))
    height, width = values.shape[2:]
    total = np.zeros((len(values), len(weight), height, width))
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            window = padded[:, :, row : row + height, column : column + width]
            total += np.einsum("ncij,oc->noij", window, weight[:, :, row, column])
    return total + bias[:, None, None]


def plain_maximum(values):
    """Return the maxima over 3×3 around every second position."""
    height, width = values.shape[2:]
    return np.stack(
        [
            np.stack(
                [
                    values[:, :, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].max(axis=(2, 3))
                    for j in range(0, width, 2)
                ],
                axis=-1,
            )
            for i in range(0, height, 2)
        ],
        axis=-2,
    )


def plain_response_norm(values):
    """Return TensorFlow's formula: depth radius 4, bias 1, alpha 0.001/9, beta 0.75."""
    result = np.empty_like(values)
    for channel in range(values.shape[1]):
        near = values[:, max(channel - 4, 0) : channel + 5]
        sums = 1.0 + 0.001 / 9.0 * (near**2).sum(axis=1)
        result[:, channel] = values[:, channel] / sums**0.75
    return result


@pytest.mark.parametrize("scale", [1.0, 300.0])
def test_alexnet_written_out(scale):
    """At the larger scale the normalization is far from 1."""
    shape = (2, 7, 6)
    model = build("alexnet", input_shape=shape, classes=3, generator=seeded(), dtype=torch.float64)
    batch = scale * images(shape, n=2, dtype=torch.float64)
    values, parameters = batch.numpy(), parameters_of(model)
    for layer in range(2):
        values = np.maximum(plain_convolution(values, *parameters[2 * layer : 2 * layer + 2]), 0.0)
        values = plain_response_norm(plain_maximum(values))
    values = values.reshape(2, -1)
    for layer in range(2, 5):
        values = np.maximum(values, 0.0) if layer > 2 else values
        values = values @ parameters[2 * layer].T + parameters[2 * layer + 1]
    np.testing.assert_allclose(model(batch).detach().numpy(), values, rtol=1e-11, atol=1e-13)


def test_response_norm_is_torchs_own():
    layer = alexnet((3, 8, 8), 10)[3]
    batch = 100.0 * images((64, 5, 4), dtype=torch.float64)
    own = nn.LocalResponseNorm(9, alpha=0.001, beta=0.75, k=1.0)(batch)
    torch.testing.assert_close(layer(batch), own, rtol=1e-12, atol=1e-12)
    assert (own / batch).min() < 0.7


def normalized(values, eps=1e-5):
    mean = values.mean(axis=(0, 2, 3), keepdims=True)
    return (values - mean) / np.sqrt(values.var(axis=(0, 2, 3), keepdims=True) + eps)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_inception_written_out(batch_norm):
    shape = (2, 5, 6)
    name = "inception" if batch_norm else "inception_without_batch_norm"
    model = build(name, input_shape=shape, classes=3, generator=seeded(), dtype=torch.float64)
    batch = images(shape, n=2, dtype=torch.float64)
    remaining = parameters_of(model)

    def unit(values, stride=1):
        weight, bias = remaining.pop(0), remaining.pop(0)
        values = plain_convolution(values, weight, bias)[:, :, ::stride, ::stride]
        return np.maximum(normalized(values) if batch_norm else values, 0.0)

    values = unit(batch.numpy())
    for module in range(10):
        first = plain_maximum(values) if module in (2, 7) else unit(values)
        values = np.concatenate([first, unit(values, 2 if module in (2, 7) else 1)], axis=1)
    weight, bias = remaining
    expected = values.mean(axis=(2, 3)) @ weight.T + bias
    np.testing.assert_allclose(model(batch).detach().numpy(), expected, rtol=1e-8, atol=1e-10)


class Written:
    """A network's parameters, taken one after another by the plain steps below."""

    def __init__(self, model):
        self.parameters = [parameter.detach() for parameter in model.parameters()]

    def convolved(self, x, bias=False):
        weight = self.parameters.pop(0)
        offset = self.parameters.pop(0) if bias else None
        return functional.conv2d(x, weight, offset, padding=weight.shape[2] // 2)

    def normalized(self, x):
        scale, shift = self.parameters.pop(0), self.parameters.pop(0)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        centered = x - x.mean(axes, keepdim=True)
        x = centered / (centered.square().mean(axes, keepdim=True) + 1e-5).sqrt()
        shape = (-1,) + (1,) * (x.ndim - 2)
        return scale.reshape(shape) * x + shift.reshape(shape)

    def logits(self, x):
        weight, bias = self.parameters
        return (x.mean((2, 3)) if x.ndim == 4 else x) @ weight.T + bias


def assert_written_out(model, shape, forward):
    batch = images(shape, n=4, dtype=torch.float64)
    initialize(model.double(), seeded())
    torch.testing.assert_close(model(batch), forward(Written(model), batch), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize(
    ("architecture", "stages", "bottleneck"),
    [
        (partial(thin_resnet, depth=14), (2, 2, 2), False),
        (resnet18, (2, 2, 2, 2), False),
        (resnet50, (3, 4, 6, 3), True),
    ],
    ids=["resnet14", "resnet18", "resnet50"],
)
def test_resnet_written_out(architecture, stages, bottleneck):
    def forward(network, x):
        def unit(x, stride=1):
            return network.normalized(network.convolved(x)[:, :, ::stride, ::stride])

        x = unit(x).clamp(min=0.0)
        for stage, blocks in enumerate(stages):
            for block in range(blocks):
                stride = 2 if stage and not block else 1
                inner = unit(x).clamp(min=0.0) if bottleneck else x
                inner = unit(inner, stride).clamp(min=0.0)
                changes = not block and (stage or bottleneck)
                x = (unit(inner) + (unit(x, stride) if changes else x)).clamp(min=0.0)
        return network.logits(x)

    assert_written_out(architecture((2, 9, 6), 3), (2, 9, 6), forward)


def test_shallow_written_out():
    def forward(network, x):
        for _ in range(2):
            x = functional.max_pool2d(network.convolved(x), 3, stride=2)
            x = network.normalized(x).clamp(min=0.0)
        x = x.reshape(len(x), -1)
        for _ in range(2):
            x = network.normalized(x @ network.parameters.pop(0).T).clamp(min=0.0)
        return network.logits(x)

    assert_written_out(shallow((2, 9, 11), 3, dropout=0.0), (2, 9, 11), forward)


def test_vgg_written_out():
    def forward(network, x):
        for convolutions in (2, 2, 3, 3, 3):
            for _ in range(convolutions):
                x = network.normalized(network.convolved(x, bias=True)).clamp(min=0.0)
            x = x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).amax((3, 5))
        return network.logits(x)

    assert_written_out(vgg16((1, 32, 32), 3), (1, 32, 32), forward)


@pytest.mark.parametrize("bottleneck", [True, False])
def test_densenet_written_out(bottleneck):
    def forward(network, x):
        def unit(x):
            return network.convolved(network.normalized(x).clamp(min=0.0))

        x = network.convolved(x)
        for block in range(3):
            if block:
                x = unit(x).unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean((3, 5))
            for _ in range(2):
                x = torch.cat([x, unit(unit(x)) if bottleneck else unit(x)], dim=1)
        return network.logits(network.normalized(x).clamp(min=0.0))

    model = densenet((2, 8, 12), 3, depth=16 if bottleneck else 10, bottleneck=bottleneck)
    assert_written_out(model, (2, 8, 12), forward)


def test_dropout_of_the_shallow_networks():
    model = small("c1")
    batch = images((1, 8, 8))
    assert not torch.equal(model(batch), model(batch))
    model.eval()
    assert torch.equal(model(batch), model(batch))
    assert [layer.p for layer in model if isinstance(layer, nn.Dropout)] == [0.5, 0.5]


# --- initialization -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names())
def test_the_seed_alone_decides(name):
    first, again, other = state(small(name)), state(small(name)), state(small(name, seed=1))
    assert identical(first, again)
    drawn = [key for key, value in first.items() if value.is_floating_point() and value.std() > 0.0]
    assert drawn
    assert not any(torch.equal(first[key], other[key]) for key in drawn)


@pytest.mark.parametrize("name", [name for name in names() if name != "resnet44"])
def test_the_law_is_that_of_torchs_constructors(name):
    """The same numbers as from the global generator with the same seed."""
    architecture, shape, options = SMALL[name]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        expected = architecture(shape, 10, **options)
    assert identical(state(small(name, seed=5)), state(expected))


def test_no_seed_gives_another_network_each_time():
    first, second = (build("mlp", input_shape=(1, 8, 8), classes=10) for _ in range(2))
    assert not identical(state(first), state(second))
    assert not identical(state(initialize(first)), state(initialize(second)))


@pytest.mark.parametrize("generator", [None, seeded()], ids=["fresh", "given"])
def test_the_global_generator_is_neither_used_nor_moved(generator):
    before = torch.get_rng_state()
    build("densenet40", input_shape=(1, 8, 8), classes=10, generator=generator)
    assert torch.equal(before, torch.get_rng_state())


def test_numbers_do_not_depend_on_the_type():
    model, doubled = small("c1"), small("c1", dtype=torch.float64)
    assert {p.dtype for p in doubled.parameters()} == {torch.float64}
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor.double(), doubled.state_dict()[name].double())


def standardized_kernels(fan):
    """Return the weights of ResNet-8's convolutions over the He law's standard deviation."""
    model = small("resnet44", depth=8).double()
    kernels = [layer.weight.detach() for layer in model.modules() if isinstance(layer, nn.Conv2d)]
    return np.concatenate(
        [(kernel.flatten() * (fan(*kernel.shape) / 2.0) ** 0.5).numpy() for kernel in kernels]
    )


def fan_out(outputs, inputs, height, width):
    return outputs * height * width


def fan_in(outputs, inputs, height, width):
    return inputs * height * width


def test_he_law_of_resnet44():
    assert_distribution(standardized_kernels(fan_out), norm.cdf)
    model = small("resnet44", depth=8)
    bound = 64**-0.5
    assert 0.9 * bound < float(model[-1].weight.detach().abs().max()) <= bound


def test_he_law_is_not_that_of_the_inputs():
    with pytest.raises(AssertionError, match="cdf of n"):
        assert_distribution(standardized_kernels(fan_in), norm.cdf)


def test_other_laws_on_request():
    by_torch, by_he = small("resnet44", law="torch"), small("resnet44", law="he")
    assert identical(state(by_he), state(small("resnet44")))
    weight = by_torch[0].weight
    assert 0.9 / 3.0 < weight.abs().max() <= 1.0 / 3.0
    with pytest.raises(ValueError, match=r"law is 'normal'; it must be one of torch, he, glorot"):
        small("resnet44", law="normal")


def glorot_weights(fan):
    """Return the weights of AlexNet over the limit of Glorot's law, layer after layer."""
    model = build("alexnet", input_shape=(3, 28, 28), classes=10, law="glorot", generator=seeded())
    layers = [each for each in model.modules() if isinstance(each, (nn.Conv2d, nn.Linear))]
    assert not any(layer.bias.any() for layer in layers)
    weights = [layer.weight.detach().double() for layer in layers]
    positions = [weight[0, 0].numel() for weight in weights]
    return np.concatenate(
        [
            (weight.flatten()[:20_000] * (fan(*weight.shape[:2]) * each / 6.0) ** 0.5).numpy()
            for weight, each in zip(weights, positions, strict=True)
        ]
    )


def test_glorot_law():
    assert_distribution(glorot_weights(lambda out, inputs: out + inputs), uniform(-1, 2).cdf)
    with pytest.raises(AssertionError, match="cdf of n"):
        assert_distribution(glorot_weights(lambda out, inputs: 2 * inputs), uniform(-1, 2).cdf)


def test_initialize_forgets_training():
    model = small("c1")
    fresh = state(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model(images((1, 8, 8))).square().sum().backward()
    optimizer.step()
    assert not identical(fresh, state(model))
    assert initialize(model, seeded()) is model
    assert identical(fresh, state(model))


def test_initialize_knows_its_layers_and_changes_nothing_otherwise():
    known = [nn.Conv1d(2, 4, 3, groups=2), nn.ConvTranspose2d(3, 5, 2), nn.Linear(3, 4, bias=False)]
    norms = [nn.LayerNorm(3), nn.GroupNorm(2, 4), nn.BatchNorm3d(2), nn.RMSNorm(3)]
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for layer in known:
            layer.reset_parameters()
    expected = state(nn.ModuleList([*known, *norms]))
    model = nn.ModuleList([*known, *norms])
    for parameter in model.parameters():
        nn.init.constant_(parameter, 9.0)
    assert identical(state(initialize(model, seeded(3))), expected)

    model = nn.Sequential(nn.Linear(2, 2), nn.LSTM(2, 2))
    before = state(model)
    with pytest.raises(ValueError, match=r"model has a LSTM at '1' with parameters of its"):
        initialize(model, seeded())
    assert identical(before, state(model))
    with pytest.raises(ValueError, match=r"has a LSTM at 'its root'"):
        initialize(nn.LSTM(2, 2))


# --- networks of other packages -------------------------------------------------------------------


def drawing(record):
    """Return a maker of networks that draws from the global generator, as these packages do."""

    def make(name, **arguments):
        if name == "none":
            raise RuntimeError("Unknown model (none)")
        record.append((name, arguments))
        return nn.Sequential(nn.Flatten(), nn.Linear(12, arguments["num_classes"]))

    return make


@pytest.fixture
def packages(monkeypatch):
    record = []
    vision, models, timm = (types.ModuleType(n) for n in ("torchvision", "models", "timm"))
    models.get_model, timm.create_model, vision.models = drawing(record), drawing(record), models
    for name, module in (("torchvision", vision), ("torchvision.models", models), ("timm", timm)):
        monkeypatch.setitem(sys.modules, name, module)
    return record


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("torchvision:resnet18", {"weights": None, "num_classes": 7, "width": 2}),
        ("timm:resnet18", {"pretrained": False, "in_chans": 3, "num_classes": 7, "width": 2}),
    ],
)
def test_networks_of_other_packages(packages, name, arguments):
    before = torch.get_rng_state()
    first, again, other = (
        build(name, input_shape=(3, 2, 2), classes=7, generator=seeded(seed), width=2)
        for seed in (0, 0, 1)
    )
    assert packages == [("resnet18", arguments)] * 3
    assert torch.equal(before, torch.get_rng_state())
    assert identical(state(first), state(again))
    assert not identical(state(first), state(other))
    he = build(name, input_shape=(3, 2, 2), classes=7, law="he", dtype=torch.float64, width=2)
    assert next(he.parameters()).dtype == torch.float64
    with pytest.raises(ValueError, match=r"could not make 'none': Unknown model"):
        build(name.replace("resnet18", "none"), input_shape=(3, 2, 2), classes=7)


def test_channels_of_other_packages(packages):
    build("timm:resnet18", input_shape=(1, 2, 2), classes=7)
    assert packages[0][1]["in_chans"] == 1
    with pytest.raises(ValueError, match=r"torchvision take 3 channels, .* is \(1, 2, 2\)"):
        build("torchvision:resnet18", input_shape=(1, 2, 2), classes=7)


@pytest.mark.parametrize("package", ["torchvision", "timm"])
def test_packages_that_are_not_installed(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.models", None)
    with pytest.raises(ValueError, match=rf"need the package '{package}'.*pip install {package}"):
        build(f"{package}:resnet18", input_shape=CIFAR, classes=10)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("resnet19", {}, r"unknown network 'resnet19'; known: alexnet, .*, vgg16; or .*timm:NAME"),
        ("keras:vgg16", {}, r"'keras' is no library of networks; known: torchvision, timm"),
        ("mlp", {"classes": 0}, r"classes must be an integer of at least 1, got 0"),
        ("mlp", {"classes": 2.0}, r"classes must be an integer of at least 1, got 2\.0"),
        ("mlp", {"input_shape": (3, 32)}, r"input_shape must be .* width, got \(3, 32\)"),
        ("mlp", {"input_shape": 3072}, r"input_shape must be .* width, got 3072"),
        ("mlp", {"input_shape": (3, 0, 4)}, r"input_shape\[1\] must be an integer .*, got 0"),
        ("mlp", {"widths": (3, 0)}, r"widths\[1\] must be an integer of at least 1, got 0"),
        ("vgg16", {"input_shape": (3, 32, 31)}, r"pools of vgg16 need .* 32×32 pixels"),
        ("c1", {"input_shape": (3, 6, 32)}, r"pools of c1 and c3 need .* 7×7 pixels"),
        ("densenet40", {"input_shape": (3, 3, 3)}, r"pools of densenet need .* 4×4 pixels"),
        ("densenet40", {"depth": 43}, r"depth must be 6n \+ 4, such as 40, got 43"),
        ("densenet40", {"depth": 5, "bottleneck": False}, r"depth must be 3n \+ 4"),
        ("densenet40", {"depth": 4}, r"depth must be 6n \+ 4, such as 40, got 4"),
        ("densenet40", {"growth": 0}, r"growth must be an integer of at least 1, got 0"),
        ("densenet40", {"compression": 1.5}, r"compression must be in \(0, 1\], got 1\.5"),
        ("densenet40", {"compression": 1e-3}, r"channels that compression keeps"),
        ("resnet44", {"depth": 45}, r"depth must be 6n \+ 2, such as 20, 32 or 44, got 45"),
        ("resnet44", {"depth": 2}, r"depth must be an integer of at least 8, got 2"),
        ("c3", {"dropout": 1.5}, r"dropout probability has to be between 0 and 1"),
    ],
)
def test_bad_values(name, arguments, message):
    with pytest.raises(ValueError, match=message):
        build(name, **({"input_shape": CIFAR, "classes": 10} | arguments))


def test_bad_types():
    with pytest.raises(TypeError, match=r"widths must be a sequence of integers, got 512"):
        build("mlp", input_shape=CIFAR, classes=10, widths=512)
    with pytest.raises(TypeError, match=r"unexpected keyword argument 'widths'"):
        build("vgg16", input_shape=CIFAR, classes=10, widths=(3,))


@pytest.mark.parametrize("name", ["vgg16", "c1", "densenet40"])
def test_the_smallest_images_pass(name):
    side = {"vgg16": 32, "c1": 7, "densenet40": 4}[name]
    model = build(name, input_shape=(1, side, side), classes=2, device="meta")
    assert model(torch.empty(2, 1, side, side, device="meta")).shape == (2, 2)


def test_docs_table_has_every_name():
    assert all(f'``"{name}"``' in deep.models.__doc__ for name in names())
