"""SmoothOut's optimizers: against closed forms, a naive loop, a killed run and two processes."""

import copy
import io
import math
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from stat_asserts import assert_distribution, assert_mean

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402
from torch.optim.swa_utils import update_bn  # noqa: E402

from deep.smoothout import AdaSmoothOut, SmoothOut  # noqa: E402
from theory import landscapes, smoothout  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
FORMS = pytest.mark.parametrize("form", [SmoothOut, AdaSmoothOut])
DEVICES = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
LAWS = pytest.mark.parametrize("noise", ["uniform", "normal"])


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def seeded(make, seed=3):
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return make()


def perceptron(dtype=torch.float64):
    return seeded(lambda: nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).to(dtype))


def convolutional():
    """With batch normalization, and weights in two orders of memory."""

    def make():
        body = [nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 3)]
        model = nn.Sequential(*body, nn.Flatten(), nn.Linear(12, 3))
        return model.to(memory_format=torch.channels_last)

    return seeded(make)


def batch(step, n=8, dtype=torch.float64):
    rng = np.random.default_rng(step)
    inputs = torch.tensor(rng.normal(size=(n, 4)), dtype=dtype)
    return inputs, torch.tensor(rng.integers(0, 3, n))


def smoothed(model, form=SmoothOut, *, lr=0.1, momentum=0.9, **options):
    inner = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    return form(inner, model, **{"strength": 0.1, **options})


def backward(model, step, **options):
    inputs, targets = batch(step, **options)
    loss = functional.cross_entropy(model(inputs), targets)
    loss.backward()
    return loss


def train(model, optimizer, steps, *, first=0):
    for step in range(first, first + steps):
        optimizer.zero_grad()
        with optimizer.perturbed():
            backward(model, step)
        optimizer.step()


def copies_of(model):
    return [part.detach().clone() for part in model.parameters()]


INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(part):
    return part.view(INTEGERS[part.element_size()])


def same_bits(parts, others):
    return all(
        a.dtype == b.dtype and torch.equal(bits(a), bits(b))
        for a, b in zip(parts, others, strict=True)
    )


def noise_of(model, optimizer):
    """Return the noise of one draw, up to the rounding of weights."""
    clean = copies_of(model)
    with optimizer.perturbed():
        noisy = copies_of(model)
    assert same_bits(copies_of(model), clean)
    return [after - before for after, before in zip(noisy, clean, strict=True)]


# --- the noise ------------------------------------------------------------------------------------


@LAWS
def test_noise_is_that_of_a_naive_loop(noise):
    """On a CPU: uniform numbers one parameter after the other, normal ones in one piece."""
    model, generator = perceptron(), torch.Generator().manual_seed(5)
    found = noise_of(model, smoothed(model, noise=noise, generator=5))
    if noise == "uniform":
        expected = [
            torch.empty_like(part).uniform_(-0.1, 0.1, generator=generator)
            for part in model.parameters()
        ]
    else:
        sizes = [part.numel() for part in model.parameters()]
        drawn = torch.empty(sum(sizes), dtype=torch.float64).normal_(0, 0.1, generator=generator)
        pieces = torch.split(drawn, sizes)
        expected = [u.view_as(p) for u, p in zip(pieces, model.parameters(), strict=True)]
    for one, other, part in zip(found, expected, model.parameters(), strict=True):
        assert torch.equal(one, (part + other) - part)


@pytest.mark.parametrize("noise", ["uniform", "normal"])
@pytest.mark.parametrize("adaptive", [False, True])
def test_training_is_that_of_a_naive_loop(noise, adaptive):
    """Official order: noise, gradient, noise off, step; strength of a schedule."""
    model, naive = perceptron(), perceptron()
    optimizer = smoothed(
        model, adaptive=adaptive, noise=noise, schedule=lambda t: (1 + t) ** -0.275, generator=5
    )
    peer = torch.optim.SGD(naive.parameters(), lr=0.1, momentum=0.9)
    generator = torch.Generator().manual_seed(5)
    factors = smoothout.smoothing_schedule("anneal", 6)
    for step in range(6):
        peer.zero_grad()
        clean = copies_of(naive)
        sizes = [part.numel() for part in clean]
        drawn = torch.empty(sum(sizes), dtype=torch.float64)
        if noise == "uniform":
            drawn.uniform_(-1, 1, generator=generator)
        else:
            drawn.normal_(generator=generator)
        for part, u in zip(naive.parameters(), torch.split(drawn, sizes), strict=True):
            w, u, a = part.detach(), u.view_as(part), 0.1 * factors[step]
            theta = (
                torch.tensor(smoothout.filter_noise(w, u, strength=a)) if adaptive else float(a) * u
            )
            part.data += theta
        backward(naive, step)
        for part, value in zip(naive.parameters(), clean, strict=True):
            part.data.copy_(value)
        peer.step()
    train(model, optimizer, 6)
    for part, other in zip(model.parameters(), naive.parameters(), strict=True):
        torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("device", DEVICES)
def test_a_generator_on_the_cpu_draws_for_any_device(device):
    model, there = perceptron(), perceptron().to(device)
    found = noise_of(there, smoothed(there, generator=torch.Generator().manual_seed(5)))
    expected = noise_of(model, smoothed(model, generator=5))
    assert all(torch.equal(a.cpu(), b) for a, b in zip(found, expected, strict=True))


def big():
    return seeded(lambda: nn.Linear(150, 200, bias=False).double())


def test_laws_of_the_noise():
    """n = 30,000 coordinates; alpha = 1e-5."""
    from scipy.stats import norm, uniform

    model = big()
    laws = {"uniform": uniform(-0.1, 0.2).cdf, "normal": norm(0, 0.1).cdf}
    for noise, cdf in laws.items():
        values = noise_of(model, smoothed(model, noise=noise))[0].ravel()
        assert_distribution(values, cdf)
        with pytest.raises(AssertionError, match="p ="):
            assert_distribution(values * 1.05, cdf)


def test_normal_noise_of_matching_strength_has_the_variance_of_uniform_noise():
    """n = 30,000; the sibling takes the same strength, which is not the same variance."""
    model = big()
    for strength, matches in ((0.1 / 3**0.5, True), (0.1, False)):
        values = noise_of(model, smoothed(model, noise="normal", strength=strength))[0].ravel()
        if matches:
            assert_mean(values**2, 0.1**2 / 3)
        else:
            with pytest.raises(AssertionError, match="z ="):
                assert_mean(values**2, 0.1**2 / 3)


def test_every_draw_is_another():
    model = big()
    optimizer = smoothed(model)
    first, second = (noise_of(model, optimizer)[0] for _ in range(2))
    assert abs(float((first * second).mean() / first.square().mean())) < 0.05
    assert torch.equal(first, noise_of(model, smoothed(model))[0])
    assert not torch.equal(first, noise_of(model, smoothed(model, generator=1))[0])


# --- what it minimizes ----------------------------------------------------------------------------


def stochastic_gradients(loss, point, n, *, strength=0.5, **options):
    """Return gradients at noisy weights (n, m): n independent copies of a point in one step."""
    start = torch.tensor(point, dtype=torch.float64).repeat(n, 1)
    weights = nn.Parameter(start.clone())
    inner = torch.optim.SGD([weights], lr=1.0)
    optimizer = SmoothOut(inner, exclude=(), strength=strength, **options)
    with optimizer.perturbed():
        loss(weights).sum().backward()
    optimizer.step()
    return (start - weights.detach()).numpy()


WELLS = [0.9, -0.4, 1.3]


@LAWS
def test_the_mean_gradient_is_that_of_the_smoothed_quartic(noise):
    """n = 20,000 draws; the siblings take another strength, or no noise at all, for the truth."""
    wells = landscapes.CoordinateSum(line=landscapes.DoubleWell(), centers=np.zeros(3))
    found = stochastic_gradients(
        lambda w: ((w**2 - 1) ** 2).sum(1), WELLS, 20_000, noise=noise, generator=11
    )
    truth = wells.smoothed(0.5, noise=noise).gradient(WELLS)
    wrong = wells.smoothed(0.6, noise=noise).gradient(WELLS)
    for i in range(3):
        assert_mean(found[:, i], truth[i])
    for theory in (wrong[0], wells.gradient(WELLS)[0]):
        with pytest.raises(AssertionError, match="z ="):
            assert_mean(found[:, 0], theory)


def test_a_quadratic_has_the_same_gradient_and_more_noise():
    """n = 20,000: the mean is H w, the covariance (a²/3) H²; the sibling has a² H²."""
    H = np.array([[3.0, 1.0], [1.0, 2.0]])
    matrix = torch.tensor(H)
    found = stochastic_gradients(
        lambda w: 0.5 * torch.einsum("ni,ij,nj->n", w, matrix, w), [1.0, -2.0], 20_000
    )
    truth = H @ [1.0, -2.0]
    for i in range(2):
        assert_mean(found[:, i], truth[i])
        squares = (found[:, i] - truth[i]) ** 2
        assert_mean(squares, 0.25 / 3 * (H @ H)[i, i])
        with pytest.raises(AssertionError, match="z ="):
            assert_mean(squares, 0.25 * (H @ H)[i, i])


def test_weights_rest_with_the_variance_of_denoised_steps():
    """n = 1000 weights of curvature 2, 60 steps; the sibling keeps the noise in the weights."""
    options = {"strength": 0.3, "learning_rate": 0.1}
    weights = nn.Parameter(torch.zeros(1000, dtype=torch.float64))
    inner = torch.optim.SGD([weights], lr=0.1)
    optimizer = SmoothOut(inner, exclude=(), strength=0.3)
    for _ in range(60):
        optimizer.zero_grad()
        with optimizer.perturbed():
            weights.square().sum().backward()
        optimizer.step()
    squares = weights.detach().numpy() ** 2
    assert_mean(squares, float(smoothout.smoothout_variance(2.0, **options)))
    with pytest.raises(AssertionError, match="z ="):
        assert_mean(squares, float(smoothout.smoothout_variance(2.0, denoise=False, **options)))


def test_copies_divide_the_noise_of_the_gradient():
    """n = 1000 weights after one step of four copies; the sibling is one of one copy."""
    weights = nn.Parameter(torch.zeros(1000, dtype=torch.float64))
    inner = torch.optim.SGD([weights], lr=1.0)
    optimizer = SmoothOut(inner, exclude=(), strength=0.3, copies=4)

    def closure():
        optimizer.zero_grad()
        loss = weights.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    squares = weights.detach().numpy() ** 2
    assert_mean(squares, 4 * 0.03 / 4)
    with pytest.raises(AssertionError, match="z ="):
        assert_mean(squares, 4 * 0.03)


def two_factors(n):
    return [nn.Parameter(torch.full((n,), each, dtype=torch.float64)) for each in (2.0, 0.5)]


def test_two_factors_lose_their_imbalance_under_plain_noise_alone():
    """SmoothOut drifts to the flattest of equal minima, as the gradient flow of the mean loss."""
    for form, share in (
        (SmoothOut, float(smoothout.balance_decay(3.0, strength=0.3))),
        (AdaSmoothOut, 1.0),
    ):
        left, right = two_factors(500)
        optimizer = form(torch.optim.SGD([left, right], lr=0.004), exclude=(), strength=0.3)
        for _ in range(750):
            optimizer.zero_grad()
            with optimizer.perturbed():
                (left * right - 1).square().sum().backward()
            optimizer.step()
        imbalance = (left**2 - right**2).detach().mean() / (2.0**2 - 0.5**2)
        assert imbalance.item() == pytest.approx(share, abs=0.02)


# --- adaptive noise -------------------------------------------------------------------------------


@LAWS
def test_each_filter_has_noise_of_its_own_length(noise):
    """A5, by the closed form and by theory's noise for the same draw."""
    model = convolutional().double()
    optimizer = smoothed(model, AdaSmoothOut, strength=0.3, noise=noise, generator=2)
    names = [name for name, _ in model.named_parameters()]
    named = dict(zip(names, noise_of(model, optimizer), strict=True))
    chosen = [(n, p) for n, p in model.named_parameters() if not n.startswith("1.")]
    drawn = torch.empty(sum(p.numel() for _, p in chosen), dtype=torch.float64)
    generator = torch.Generator().manual_seed(2)
    if noise == "uniform":
        drawn.uniform_(-1, 1, generator=generator)
    else:
        drawn.normal_(generator=generator)
    pieces = torch.split(drawn, [p.numel() for _, p in chosen])
    for (name, part), flat in zip(chosen, pieces, strict=True):
        w, theta = part.detach(), named[name]
        if part.ndim == 4:  # drawn in the order of memory
            F, C, *size = part.shape
            u = flat.view(F, *size, C).permute(0, 3, 1, 2)
        else:
            u = flat.view_as(part)
        expected = smoothout.filter_noise(w.numpy(), u.numpy(), strength=0.3)
        np.testing.assert_allclose(theta, expected, atol=1e-15)
        shares = (
            theta.flatten(1).norm(dim=1) / w.flatten(1).norm(dim=1)
            if w.ndim > 1
            else (theta.abs() / w.abs())
        )
        lengths = u.flatten(1).norm(dim=1) if w.ndim > 1 else u.abs()
        torch.testing.assert_close(shares, 0.3 * (1 - 1e-6 / lengths), rtol=1e-9, atol=1e-9)
        with pytest.raises(AssertionError):
            torch.testing.assert_close(shares, 0.3 * (1 - 1e-3 / lengths), rtol=1e-9, atol=1e-9)


@given(alpha=st.floats(0.05, 20.0), strength=st.floats(0.01, 1.0), seed=st.integers(0, 2**63 - 1))
def test_adaptive_noise_follows_any_rescaling_of_filters(alpha, strength, seed):
    """Each row by its own number: noise is multiplied by the same."""
    noises, scales = [], torch.tensor([1.0, alpha, -alpha])[:, None].double()
    for factor in (torch.ones_like(scales), scales):
        model = seeded(lambda: nn.Linear(5, 3, bias=False).double())
        model.weight.data.mul_(factor)
        optimizer = smoothed(model, AdaSmoothOut, strength=strength, generator=seed)
        noises.append(noise_of(model, optimizer)[0])
    torch.testing.assert_close(noises[1], noises[0] * scales.abs(), rtol=1e-9, atol=1e-13)


def loss_under_noise(form, alpha, draws=400, **options):
    """Return losses at noisy weights of a rescaled ReLU network, less its clean loss."""

    def make():
        return nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU(), nn.Linear(6, 3, bias=False))

    model = seeded(make).double()
    inputs, targets = batch(0, n=32)
    with torch.no_grad():
        before = model(inputs)
        model[0].weight.mul_(alpha)
        model[2].weight.div_(alpha)
        torch.testing.assert_close(model(inputs), before)
        optimizer = smoothed(model, form, generator=7, **options)
        losses = []
        for _ in range(draws):
            with optimizer.perturbed():
                losses.append(float(functional.cross_entropy(model(inputs), targets)))
        return np.array(losses) - float(functional.cross_entropy(model(inputs), targets))


@pytest.mark.parametrize("alpha", [0.1, 10.0])
def test_rescaling_changes_what_plain_noise_does_and_not_what_adaptive_does(alpha):
    """A3. With the same draws, adaptive losses are equal to rounding."""
    rises = [loss_under_noise(AdaSmoothOut, each, strength=0.5) for each in (1.0, alpha)]
    np.testing.assert_allclose(rises[1], rises[0], rtol=1e-5, atol=1e-8)
    plain = [loss_under_noise(SmoothOut, each, strength=0.1).mean() for each in (1.0, alpha)]
    assert plain[1] > 5 * plain[0]


def test_the_mean_gradient_of_two_factors_under_adaptive_noise():
    """n = 20,000; a vector is of filters of one weight, so the sibling's uniform law is wrong."""
    left, right = two_factors(20_000)
    optimizer = AdaSmoothOut(torch.optim.SGD([left, right]), exclude=(), strength=0.3)
    with optimizer.perturbed():
        (left * right - 1).square().sum().backward()
    truth, wrong = (
        smoothout.adaptive_gradient([2.0, 0.5], strength=0.3, noise=law)
        for law in ("sign", "uniform")
    )
    for i, part in enumerate((left, right)):
        assert_mean(part.grad.numpy(), truth[i])
        with pytest.raises(AssertionError, match="z ="):
            assert_mean(part.grad.numpy(), wrong[i])


def test_a_weight_of_zero_has_no_adaptive_noise():
    model = perceptron()
    model[0].bias.data.zero_()
    noises = noise_of(model, smoothed(model, AdaSmoothOut))
    assert not noises[1].any()
    assert noises[0].all()


# --- restoring, and which parameters --------------------------------------------------------------


@FORMS
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16", "float16"])
def test_weights_are_restored_bit_for_bit(form, dtype, device):
    model = perceptron(getattr(torch, dtype)).to(device)
    model[0].weight.data[0, 0] = -0.0
    addresses = [part.data_ptr() for part in model.parameters()]
    before, optimizer = copies_of(model), smoothed(model, form, strength=0.3)
    for _ in range(20):
        optimizer.perturb()
        assert not any(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))
        optimizer.restore()
        assert same_bits(copies_of(model), before)
    assert [part.data_ptr() for part in model.parameters()] == addresses


def test_sixteen_bit_sums_are_rounded_once():
    """Noise that was rounded before would give others."""
    weights = nn.Parameter(seeded(lambda: torch.randn(1000)).bfloat16())
    clean = weights.detach().clone()
    SmoothOut(torch.optim.SGD([weights]), exclude=(), strength=1.0, generator=6).perturb()
    u = torch.empty(1000).uniform_(-1.0, 1.0, generator=torch.Generator().manual_seed(6))
    assert torch.equal(weights, (clean.float() + u).bfloat16())
    assert not torch.equal(weights, clean + u.bfloat16())


def test_mixed_types_and_frozen_parameters():
    model = nn.Sequential(perceptron(torch.float32)[0], perceptron(torch.float64)[2])
    model.append(nn.Linear(3, 3).requires_grad_(False))
    model.register_parameter("empty", nn.Parameter(torch.empty(0)))
    model.register_parameter("number", nn.Parameter(torch.tensor(2.0)))
    before, optimizer = copies_of(model), smoothed(model)
    optimizer.perturb()
    moved = [not torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True)]
    optimizer.restore()
    names = [name for name, _ in model.named_parameters()]
    assert [name for name, each in zip(names, moved, strict=True) if not each] == [
        "empty", "2.weight", "2.bias",
    ]  # fmt: skip
    assert same_bits(copies_of(model), before)


def test_batch_normalization_is_quiet_and_others_on_demand():
    model = convolutional()

    def quiet(*model_given, **options):
        inner = torch.optim.SGD(model.parameters(), lr=0.1)
        noises = noise_of(model, SmoothOut(inner, *model_given, strength=0.1, **options))
        names = [name for name, _ in model.named_parameters()]
        return [name for name, each in zip(names, noises, strict=True) if not each.any()]

    assert quiet(model) == ["1.weight", "1.bias"]
    assert quiet(DistributedDataParallelLike(model)) == ["1.weight", "1.bias"]
    assert quiet(exclude=()) == []
    biases = [part for name, part in model.named_parameters() if name.endswith("bias")]
    assert quiet(exclude=biases) == ["0.bias", "1.bias", "3.bias", "5.bias"]
    assert quiet(model, exclude=iter(biases[:1])) == ["0.bias", "1.weight", "1.bias"]


class DistributedDataParallelLike(nn.Module):
    def __init__(self, module):
        super().__init__()
        self.module = module


def test_parameters_may_be_added_thawed_and_moved():
    model = perceptron()
    model[0].requires_grad_(False)
    optimizer = smoothed(model)
    assert [bool(each.any()) for each in noise_of(model, optimizer)] == [False] * 2 + [True] * 2
    model[0].requires_grad_(True)
    assert all(each.any() for each in noise_of(model, optimizer))
    model.append(nn.BatchNorm1d(3)).append(nn.Linear(3, 3))
    optimizer.add_param_group({"params": [*model[3].parameters(), *model[4].parameters()]})
    moved = [bool(each.any()) for each in noise_of(model, optimizer)]
    assert moved == [True] * 4 + [False] * 2 + [True] * 2
    model.to(torch.float32)
    assert all(each.dtype == torch.float32 for each in noise_of(model, optimizer))
    assert len(optimizer.param_groups) == 2


# --- with everything else that a loop has ---------------------------------------------------------

OPTIMIZERS = [
    each
    for each in vars(torch.optim).values()
    if isinstance(each, type)
    and issubclass(each, torch.optim.Optimizer)
    and each not in (torch.optim.Optimizer, torch.optim.SparseAdam)
]


@pytest.mark.parametrize("kind", OPTIMIZERS, ids=lambda kind: kind.__name__)
def test_any_optimizer(kind):
    """Through a closure: gradients are those of the noisy weights, and steps from clean ones."""
    model = seeded(lambda: nn.Linear(4, 3, bias=False).double())
    peer, seen = copy.deepcopy(model), []
    optimizer = SmoothOut(kind(model.parameters(), lr=0.01), model, strength=0.1, generator=4)
    generator = torch.Generator().manual_seed(4)
    inner = kind(peer.parameters(), lr=0.01)

    def closure():
        optimizer.zero_grad()
        seen.append(model.weight.detach().clone())
        return backward(model, 0)

    def by_hand():
        inner.zero_grad()
        clean = peer.weight.detach().clone()
        u = torch.empty_like(clean).uniform_(-0.1, 0.1, generator=generator)
        peer.weight.data += u
        loss = backward(peer, 0)
        peer.weight.data.copy_(clean)
        return loss

    for _ in range(3):
        assert optimizer.step(closure).item() == inner.step(by_hand).item()
    assert torch.equal(model.weight, peer.weight)
    assert optimizer.steps == 3
    assert not torch.equal(seen[0], seen[1])


def test_sparse_gradients():
    table = seeded(lambda: nn.Embedding(5, 2, sparse=True))
    optimizer = SmoothOut(torch.optim.SparseAdam(table.parameters()), table, strength=0.1, copies=2)

    def closure():
        optimizer.zero_grad()
        loss = table(torch.tensor([1, 3, 3])).square().sum()
        loss.backward()
        return loss

    before = table.weight.detach().clone()
    optimizer.step(closure)
    assert (table.weight != before).any(1).tolist() == [False, True, False, True, False]


def test_copies_average_gradients_of_their_own_noise():
    model, alone = perceptron(), perceptron()
    optimizer = smoothed(model, copies=3, momentum=0.0)
    single = smoothed(alone, momentum=0.0)

    def closure():
        optimizer.zero_grad()
        return backward(model, 0)

    mean = optimizer.step(closure)
    losses = []
    for _ in range(3):
        with single.perturbed():
            loss = backward(alone, 0)
            losses.append(loss.item())
    for part in alone.parameters():
        part.grad /= 3
    single.step()
    assert mean.item() == pytest.approx(np.mean(losses), rel=1e-12)
    assert len(set(losses)) == 3
    for part, other in zip(model.parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-14)


def test_a_closure_may_return_nothing_and_leave_parameters_unused():
    model, calls = perceptron(), []
    optimizer = smoothed(model, copies=2, momentum=0.0)

    def closure():
        optimizer.zero_grad()
        calls.append(len(calls))
        inputs, targets = batch(0)
        head = model[2] if calls[-1] == 0 else lambda hidden: hidden[:, :3]
        functional.cross_entropy(head(model[1](model[0](inputs))), targets).backward()

    before = copies_of(model)
    assert optimizer.step(closure) is None
    assert calls == [0, 1]
    assert not any(torch.equal(a, b) for a, b in zip(model.parameters(), before, strict=True))


def test_micro_batches_have_draws_of_their_own():
    model, seen = perceptron(), []
    optimizer = smoothed(model)
    optimizer.zero_grad()
    for step in range(3):
        with optimizer.perturbed():
            (backward(model, step) / 3).detach()
            seen.append(model[0].weight.detach().clone())
    optimizer.step()
    assert not torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[1], seen[2])
    assert optimizer.steps == 1


def test_the_schedule_is_of_steps_and_not_of_draws():
    model, asked = perceptron(), []

    def schedule(step):
        asked.append(step)
        return 0.0 if step == 0 else 1.0

    optimizer = smoothed(model, schedule=schedule)
    for _ in range(2):
        optimizer.zero_grad()
        for _ in range(2):
            noises = noise_of(model, optimizer)
            backward(model, 0)
        assert noises[0].any() == (optimizer.steps == 1)
        optimizer.step()
    assert asked == [0, 0, 1, 1]


@pytest.mark.parametrize("outer", [True, False])
@pytest.mark.parametrize(
    "schedule",
    [
        lambda o: torch.optim.lr_scheduler.StepLR(o, 2, 0.1),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=8),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 5),
        lambda o: torch.optim.swa_utils.SWALR(o, 0.05, anneal_epochs=3),
    ],
    ids=["StepLR", "OneCycleLR", "CosineAnnealingLR", "SWALR"],
)
def test_learning_rate_schedulers_take_either(outer, schedule):
    model, plain = perceptron(), perceptron()
    optimizer = smoothed(model, schedule=lambda step: 0.0)
    peer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9)
    ours, theirs = schedule(optimizer if outer else optimizer.optimizer), schedule(peer)
    for step in range(5):
        train(model, optimizer, 1, first=step)
        peer.zero_grad()
        backward(plain, step)
        peer.step()
        ours.step()
        theirs.step()
        assert ours.get_last_lr() == theirs.get_last_lr()
    assert same_bits(copies_of(model), copies_of(plain))


def test_gradients_are_clipped_at_clean_weights():
    model = perceptron()
    optimizer = smoothed(model, momentum=0.0)
    before = copies_of(model)
    with optimizer.perturbed():
        backward(model, 0)
    nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
    optimizer.step()
    moves = [a.detach() - b for a, b in zip(model.parameters(), before, strict=True)]
    assert float(nn.utils.get_total_norm(moves)) == pytest.approx(0.1 * 1e-3, rel=1e-4)


def test_autocast_does_not_keep_the_noisy_weights_of_before():
    """Casts are kept inside of autocast: with it around several draws they would be stale."""
    model = perceptron(torch.float32)
    inputs, _ = batch(0, dtype=torch.float32)
    optimizer, outputs = smoothed(model, strength=0.5), []
    with torch.autocast("cpu", torch.bfloat16):
        for _ in range(2):
            with optimizer.perturbed():
                outputs.append(model(inputs))
        outputs.append(model(inputs))
    with torch.autocast("cpu", torch.bfloat16):
        fresh = model(inputs)
    assert not torch.equal(outputs[0], outputs[1])
    assert torch.equal(outputs[2], fresh)
    assert outputs[0].dtype == torch.bfloat16


@pytest.mark.parametrize("scaled", [True, False])
def test_autocast_and_gradient_scaling(scaled):
    model = perceptron(torch.float32)
    optimizer = smoothed(model, lr=0.05)
    scaler = torch.amp.GradScaler("cpu", enabled=scaled, init_scale=2.0**10)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        with optimizer.perturbed(), torch.autocast("cpu", torch.bfloat16):
            inputs, targets = batch(0, dtype=torch.float32)
            loss = functional.cross_entropy(model(inputs), targets)
            losses.append(loss.item())
            scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        scaler.step(optimizer)
        scaler.update()
    assert optimizer.steps == 60
    assert losses[-1] < 0.7 * losses[0]


def test_a_scaler_passes_over_infinite_gradients():
    model = perceptron(torch.float32)
    optimizer = smoothed(model)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127)
    before = copies_of(model)
    with optimizer.perturbed():
        scaler.scale(1e9 * functional.cross_entropy(model(torch.ones(2, 4)), torch.tensor([0, 1]))
                     ).backward()  # fmt: skip
    scaler.step(optimizer)
    scaler.update()
    assert optimizer.steps == 0
    assert same_bits(copies_of(model), before)
    assert scaler.get_scale() == 2.0**126


def test_compiled_networks_see_the_noise():
    model, plain = perceptron(), perceptron()
    compiled = torch.compile(model, backend="aot_eager")
    optimizer, peer = smoothed(compiled), smoothed(plain)
    train(compiled, optimizer, 4)
    train(plain, peer, 4)
    for part, other in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(part, other, rtol=1e-12, atol=1e-14)


def test_running_statistics_are_estimated_again():
    """They are gathered at noisy weights; update_bn puts them right."""
    model = convolutional()
    optimizer = smoothed(model, strength=1.0, lr=0.0)
    inputs = torch.randn(64, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    for _ in range(30):
        optimizer.zero_grad()
        with optimizer.perturbed():
            model(inputs).square().mean().backward()
        optimizer.step()
    truth = model[0](inputs).var((0, 2, 3)).detach()
    assert (model[1].running_var > 2 * truth).any()
    update_bn([inputs], model)
    torch.testing.assert_close(model[1].running_var, truth)


# --- a run that is killed -------------------------------------------------------------------------


@FORMS
@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_a_killed_run_goes_on_bit_for_bit(form, kind):
    options = {"strength": 0.2, "schedule": lambda step: 1.0 / (1 + step), "generator": 9}

    def new():
        model = perceptron()
        return model, form(kind(model.parameters(), lr=0.05), model, **options)

    model, optimizer = new()
    train(model, optimizer, 3)
    file = io.BytesIO()
    torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, file)
    train(model, optimizer, 4, first=3)
    file.seek(0)
    saved = torch.load(file, weights_only=True)
    again, resumed = new()
    train(again, resumed, 2)
    again.load_state_dict(saved["model"])
    resumed.load_state_dict(saved["optimizer"])
    train(again, resumed, 4, first=3)
    assert same_bits(copies_of(again), copies_of(model))
    assert resumed.steps == 7
    third, fresh = new()
    third.load_state_dict(saved["model"])
    saved["optimizer"]["smoothout"]["generator"] = fresh.generator.get_state()
    fresh.load_state_dict(saved["optimizer"])
    train(third, fresh, 4, first=3)
    assert not same_bits(copies_of(third), copies_of(model))  # the generator's state does it


def test_a_copy_goes_on_alike():
    model = perceptron()
    optimizer = smoothed(model)
    torch.optim.lr_scheduler.StepLR(optimizer, 2)
    train(model, optimizer, 2)
    other, copied = copy.deepcopy((model, optimizer))
    train(other, copied, 2)
    train(model, optimizer, 2)
    assert same_bits(copies_of(other), copies_of(model))
    assert copied.param_groups[0]["params"][0] is other[0].weight


def test_the_inner_optimizer_can_load_the_state():
    model = perceptron()
    optimizer = smoothed(model)
    train(model, optimizer, 2)
    plain = torch.optim.SGD(perceptron().parameters(), lr=0.3, momentum=0.9)
    plain.load_state_dict(optimizer.state_dict())
    assert plain.param_groups[0]["lr"] == 0.1
    buffers = [
        [each.state[p]["momentum_buffer"] for p in each.param_groups[0]["params"]]
        for each in (plain, optimizer)
    ]
    assert same_bits(*buffers)


# --- two processes --------------------------------------------------------------------------------

PROCESS = """
import sys
sys.path[:0] = [{root!r}, {tests!r}, {above!r}]
import test_smoothout
test_smoothout.take_part({folder!r})
"""


def together(model, optimizer, rank, size):
    """Train on this process's part of every batch, in two micro-batches."""
    for step in range(4):
        optimizer.zero_grad()
        for half in range(2):
            inputs, targets = (each[4 * half : 4 * half + 4][rank::size] for each in batch(step))
            with optimizer.perturbed():
                (functional.cross_entropy(model(inputs), targets) / 2).backward()
        optimizer.step()


def take_part(folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    found = []
    for seed in (0, rank):
        model = perceptron()
        parallel = DistributedDataParallel(model, gradient_as_bucket_view=seed == 0)
        together(parallel, smoothed(parallel, generator=seed), rank, size)
        found.append(copies_of(model))
    parallel = DistributedDataParallel(perceptron(), gradient_as_bucket_view=True)
    optimizer = smoothed(parallel, copies=2)

    def closure():
        optimizer.zero_grad()
        inputs, targets = (each[rank::size] for each in batch(0))
        loss = functional.cross_entropy(parallel(inputs), targets)
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    found.append(copies_of(parallel))
    torch.save(found, os.path.join(folder, f"{rank}.pt"))
    torch.distributed.destroy_process_group()


def test_two_processes_with_the_same_noise_and_with_their_own(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    here = os.path.dirname(__file__)
    script = PROCESS.format(
        root=ROOT, tests=here, above=os.path.dirname(here), folder=str(tmp_path)
    )
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    environment |= {"WORLD_SIZE": "2", "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=120)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    first, second = (torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2))
    for one, other in zip(first, second, strict=True):
        assert same_bits(one, other)  # the processes have the same weights, whatever their noise
    alone = perceptron()
    together(alone, smoothed(alone), 0, 1)
    averaged = perceptron()
    optimizer = smoothed(averaged, copies=2)

    def closure():
        optimizer.zero_grad()
        return backward(averaged, 0)

    for _ in range(3):
        optimizer.step(closure)
    for found, model in ((first[0], alone), (first[2], averaged)):
        for part, other in zip(found, model.parameters(), strict=True):
            torch.testing.assert_close(part, other.detach(), rtol=1e-10, atol=1e-12)
    assert not torch.allclose(first[1][0], first[0][0], rtol=1e-6)
    own = perceptron()
    noises = [smoothed(own, generator=rank) for rank in range(2)]
    inner = noises[0].optimizer
    for step in range(4):
        inner.zero_grad()
        for half in range(2):
            for rank in range(2):
                inputs, targets = (each[4 * half : 4 * half + 4][rank::2] for each in batch(step))
                with noises[rank].perturbed():
                    (functional.cross_entropy(own(inputs), targets) / 4).backward()
        inner.step()
    for part, other in zip(first[1], own.parameters(), strict=True):
        torch.testing.assert_close(part, other.detach(), rtol=1e-10, atol=1e-12)


# --- mistakes -------------------------------------------------------------------------------------


def test_bad_settings_are_told():
    model = perceptron()
    inner = torch.optim.SGD(model.parameters(), lr=0.1)
    complex_weights = torch.optim.SGD([nn.Parameter(torch.ones(2, dtype=torch.cfloat))], lr=0.1)
    frozen = nn.Linear(2, 2).requires_grad_(False)
    still = torch.optim.SGD(frozen.parameters(), lr=0.1)
    for optimizer, changes, kind, message in (
        (model, {}, TypeError, "optimizer must be a torch.optim.Optimizer .* got Sequential"),
        (smoothed(model), {}, TypeError, "not smoothed yet, got SmoothOut"),
        (inner, {"model": 3}, TypeError, "model must be a torch.nn.Module, got int"),
        (inner, {"model": None}, ValueError, "model must be given, .* or exclude"),
        (inner, {"model": perceptron()}, ValueError, "model must be the one that the optim"),
        (inner, {"strength": 0.0}, ValueError, "strength must be positive, got 0"),
        (inner, {"strength": -0.1}, ValueError, "strength must be positive, got -0.1"),
        (inner, {"strength": math.nan}, ValueError, "strength has NaN or infinite values"),
        (inner, {"noise": "cauchy"}, ValueError, "noise must be one of uniform, normal, got 'cau"),
        (inner, {"copies": 0}, ValueError, "copies must be an integer of at least 1, got 0"),
        (inner, {"schedule": 0.5}, TypeError, "schedule must be a function of the step, got float"),
        (inner, {"exclude": 3}, TypeError, "exclude must be an iterable of parameters, got int"),
        (inner, {"exclude": model[0].bias}, TypeError, "an iterable of parameters, got Parameter"),
        (inner, {"exclude": ["0.bias"]}, TypeError, "exclude must hold parameters, got str"),
        (inner, {"generator": "a"}, ValueError, "generator, if it is a seed, must be an integer"),
        (inner, {"exclude": model.parameters()}, ValueError, "all 4 of the optimizer are exclu"),
        (
            still,
            {"model": frozen},
            ValueError,
            "all 2 of the optimizer .* do not require gradients",
        ),
        (
            complex_weights,
            {"model": None, "exclude": ()},
            ValueError,
            "parameters must be real, got torch.complex64",
        ),
    ):
        with pytest.raises(kind, match=message):
            SmoothOut(optimizer, **{"model": model, "strength": 0.1, **changes})


def test_no_room_is_told():
    model = perceptron(torch.bfloat16)
    before = copies_of(model)
    with pytest.raises(ValueError, match=r"shape \(6, 4\) has no room .* rounding of torch.bfloat"):
        smoothed(model, strength=1e-7)
    with pytest.raises(ValueError, match=r"has no room .* rounding of torch.bfloat16 swallows"):
        smoothed(model, AdaSmoothOut, strength=1e-4)
    assert same_bits(copies_of(model), before)
    large = nn.Linear(2, 2).half()
    large.weight.data.fill_(6.5e4)
    with pytest.raises(ValueError, match=r"beyond the range of torch.float16"):
        smoothed(large, strength=1000.0)
    broken = perceptron()
    broken[2].bias.data[1] = math.nan
    with pytest.raises(ValueError, match=r"shape \(3,\) has no room .* it has NaN"):
        smoothed(broken)


def test_wrong_order_is_told_and_weights_are_clean_then():
    model = perceptron()
    optimizer, clean = smoothed(model), copies_of(model)
    state = optimizer.state_dict()
    mistakes = {
        "perturb() must not be nested": optimizer.perturb,
        "step() must follow restore()": optimizer.step,
        "state_dict() must follow restore()": optimizer.state_dict,
        "load_state_dict() must follow restore()": lambda: optimizer.load_state_dict(state),
    }
    for message, mistake in mistakes.items():
        optimizer.perturb()
        with pytest.raises(RuntimeError) as caught:
            mistake()
        assert message in str(caught.value)
        assert same_bits(copies_of(model), clean)
        with pytest.raises(RuntimeError) as caught, optimizer.perturbed():
            mistake()
        assert message in str(caught.value)
        assert same_bits(copies_of(model), clean)
    with pytest.raises(RuntimeError, match=r"restore\(\) must follow perturb\(\)"):
        optimizer.restore()
    with pytest.raises(RuntimeError, match="there was no noise since the last step"):
        smoothed(model).step()
    with pytest.raises(RuntimeError, match="needs a closure to average 2 copies"):
        smoothed(model, copies=2).step()
    lbfgs = SmoothOut(torch.optim.LBFGS(model.parameters()), model, strength=0.1)
    with lbfgs.perturbed():
        backward(model, 0)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'closure'"):
        lbfgs.step()


def test_a_backward_pass_that_is_late_is_told():
    model = perceptron()
    optimizer = smoothed(model)
    with optimizer.perturbed():
        inputs, targets = batch(0)
        loss = functional.cross_entropy(model(inputs), targets)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def add(part):
    with torch.no_grad():
        part.add_(1.0)


def replace(part):
    part.data = part.data + 1.0


def narrow(part):
    part.data = part.data.float()


def shrink(part):
    part.data = part.data[:1].clone()


@pytest.mark.parametrize("change", [add, replace, narrow, shrink])
def test_a_parameter_that_changes_is_told(change):
    model = perceptron()
    optimizer, clean = smoothed(model), copies_of(model)
    optimizer.perturb()
    change(model[0].weight)
    with pytest.raises(RuntimeError, match="1 parameters were changed between"):
        optimizer.restore()
    assert same_bits(copies_of(model), clean)


def test_a_step_of_the_inner_optimizer_at_noisy_weights_is_told():
    model = perceptron()
    optimizer, clean = smoothed(model), copies_of(model)

    def step_inside():
        with optimizer.perturbed():
            backward(model, 0)
            optimizer.optimizer.step()

    with pytest.raises(RuntimeError, match="4 parameters were changed between"):
        step_inside()
    assert same_bits(copies_of(model), clean)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_errors_inside_leave_clean_weights(error):
    model = perceptron()
    optimizer, clean = smoothed(model), copies_of(model)

    def fail():
        raise error

    def change_and_fail():
        add(model[0].weight)
        raise error

    with pytest.raises(error), optimizer.perturbed():
        fail()
    assert same_bits(copies_of(model), clean)
    with pytest.raises(error):
        optimizer.step(fail)
    assert same_bits(copies_of(model), clean)
    assert optimizer.steps == 0
    with pytest.raises(error), optimizer.perturbed():
        change_and_fail()
    assert same_bits(copies_of(model), clean)


@pytest.mark.parametrize("value", [math.inf, math.nan])
@pytest.mark.parametrize("with_closure", [True, False])
def test_gradients_that_are_not_finite_are_told(value, with_closure):
    model = perceptron()
    optimizer, clean = smoothed(model), copies_of(model)

    def closure():
        optimizer.zero_grad()
        (model(batch(0)[0]).sum() * value).backward()

    if not with_closure:
        with optimizer.perturbed():
            closure()
    with pytest.raises(FloatingPointError, match=r"not finite, at strength 0\.1 in step 0"):
        optimizer.step(closure if with_closure else None)
    assert same_bits(copies_of(model), clean)
    assert optimizer.steps == 0


def test_large_gradients_are_finite():
    """Their norm is not."""
    model = perceptron(torch.float16)
    optimizer = smoothed(model, lr=1e-5, momentum=0.0)
    with optimizer.perturbed():
        (3e4 * model[0](torch.ones(1, 4, dtype=torch.float16))).sum().backward()
    assert not nn.utils.get_total_norm([p.grad for p in model[0].parameters()]).isfinite()
    optimizer.step()
    assert optimizer.steps == 1


@pytest.mark.parametrize("value", [-1.0, math.nan])
def test_bad_schedules_and_strengths_are_told(value):
    model = perceptron()
    clean = copies_of(model)
    with pytest.raises(ValueError, match="the schedule's value"):
        smoothed(model, schedule=lambda step: value).perturb()
    optimizer = smoothed(model)
    optimizer.strength = value
    with pytest.raises(ValueError, match="strength"):
        optimizer.perturb()
    assert same_bits(copies_of(model), clean)


def test_noise_that_cannot_be_drawn_leaves_clean_weights(monkeypatch):
    model = nn.Sequential(perceptron(torch.float32)[0], perceptron(torch.float64)[2])
    optimizer, clean = smoothed(model), copies_of(model)
    draw = torch.Tensor.uniform_

    def fails(tensor, *arguments, **options):
        if tensor.dtype == torch.float64:
            raise MemoryError
        return draw(tensor, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(torch.Tensor, "uniform_", fails)
        with pytest.raises(MemoryError):
            optimizer.perturb()
    assert same_bits(copies_of(model), clean)
    noise_of(model, optimizer)


def test_states_of_others_are_told():
    model = perceptron()
    optimizer = smoothed(model)
    with pytest.raises(ValueError, match=r"must have an entry 'smoothout', got \['param_groups'"):
        optimizer.load_state_dict(optimizer.optimizer.state_dict())
    state = optimizer.state_dict()
    state["smoothout"]["generator"] = torch.zeros(16, dtype=torch.uint8)  # as on a GPU
    with pytest.raises(ValueError, match="on cpu: its state has 16 bytes instead of"):
        optimizer.load_state_dict(state)
