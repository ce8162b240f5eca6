"""The meter in a loop: against the same numbers by hand, the full estimate, and two processes."""

import copy
import math
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from stat_asserts import assert_mean

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402

from deep.noise_scale import NoiseScaleMeter, gradient_noise_scale  # noqa: E402
from theory.noise_scale import estimate_noise_scale  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(__file__)))
SIZE = 4


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def perceptron():
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def micro_batches(updates, count, seed=0):
    rng = np.random.default_rng(seed)
    inputs = torch.tensor(rng.normal(size=(updates, count, SIZE, 4)))
    return inputs, torch.tensor(rng.integers(0, 3, size=(updates, count, SIZE)))


def flat_gradient(model):
    return torch.cat([part.grad.flatten() for part in model.parameters()]).numpy().copy()


def train(model, data, meter=None, *, averaged=True, rate=0.05, scale=1.0):
    """Train by accumulation; return each update's gradients (count, P)."""
    optimizer, gradients = torch.optim.SGD(model.parameters(), lr=rate), []
    for inputs, targets in zip(*data, strict=True):
        parts, before = [], 0.0
        for one, target in zip(inputs, targets, strict=True):
            loss = functional.cross_entropy(model(one), target)
            factor = scale / (len(inputs) if averaged else 1)
            (loss * factor).backward()
            after = flat_gradient(model)
            parts.append((after - before) / factor)
            before = after
            if meter is not None:
                meter.micro_batch()
        if meter is not None:
            meter.update(loss_scale=scale)
        for part in model.parameters():
            part.grad /= scale
        optimizer.step()
        optimizer.zero_grad()
        gradients.append(parts)
    return gradients


def by_hand(gradients, decay):
    """Exponential averages with a correction of their start at zero, and their ratio."""
    square = trace = 0.0
    for parts in gradients:
        small = np.mean([part @ part for part in parts])
        mean = np.mean(parts, axis=0)
        large, b, B = mean @ mean, SIZE, SIZE * len(parts)
        square = decay * square + (1 - decay) * (B * large - b * small) / (B - b)
        trace = decay * trace + (1 - decay) * (small - large) / (1 / b - 1 / B)
    correction = 1 - decay ** len(gradients)
    return square / correction, trace / correction


@pytest.mark.parametrize("decay", [0.5, 0.9, 0.9999])
@pytest.mark.parametrize("averaged", [True, False])
@pytest.mark.parametrize("scale", [1.0, 1024.0])
def test_numbers_are_those_by_hand(decay, averaged, scale):
    model = perceptron()
    with NoiseScaleMeter(model, SIZE, every=1, averaged=averaged, decay=decay) as meter:
        options = {"averaged": averaged, "scale": scale, "rate": 1e-3}
        gradients = train(model, micro_batches(12, 3), meter, **options)
    found = meter.estimate()
    square, trace = by_hand(gradients, decay)
    assert found.gradient_square == pytest.approx(square, rel=1e-10)
    assert found.noise_trace == pytest.approx(trace, rel=1e-10)
    assert found.noise_scale == (trace / square if square > 0 else math.inf) or (
        found.noise_scale == pytest.approx(trace / square, rel=1e-9)
    )
    assert found.n == 12


def test_equal_weights_give_the_errors_of_a_mean():
    """At a decay near 1 the averages are means over updates."""
    model = perceptron()
    meter = NoiseScaleMeter(model, SIZE, every=1, decay=0.9999)
    gradients = train(model, micro_batches(30, 3), meter)
    small = [np.mean([part @ part for part in parts]) for parts in gradients]
    large = [np.sum(np.mean(parts, axis=0) ** 2) for parts in gradients]
    peer = estimate_noise_scale(small, large, small_batch_size=SIZE, large_batch_size=3 * SIZE)
    found = meter.estimate()
    for name in ("gradient_square", "noise_trace"):
        for kind in ("", "_error"):
            value = getattr(peer, name + kind)
            assert getattr(found, name + kind) == pytest.approx(float(value), rel=0.01)


def test_old_updates_are_forgotten():
    """The ring of the last updates: its size is of no account."""
    model, data = perceptron(), micro_batches(80, 2)
    meter = NoiseScaleMeter(model, SIZE, every=1, decay=0.5)
    square, trace = by_hand(train(model, data, meter), 0.5)
    found = meter.estimate()
    assert found.n == 54
    assert found.gradient_square == pytest.approx(square, rel=1e-9)
    assert found.noise_trace == pytest.approx(trace, rel=1e-9)


def test_one_update_in_so_many_is_measured():
    model, data = perceptron(), micro_batches(11, 2)
    meter = NoiseScaleMeter(model, SIZE, every=4)
    square, trace = by_hand(train(model, data, meter)[::4], 0.99)
    found = meter.estimate()
    assert found.n == 3
    assert found.gradient_square == pytest.approx(square, rel=1e-9)
    assert found.noise_trace == pytest.approx(trace, rel=1e-9)


def frozen_run(updates, count, seed):
    """Measure without training: independent updates of one gradient, 0.5, and variance 1."""
    weight = nn.Linear(1, 1, bias=False).double()
    meter = NoiseScaleMeter(weight, SIZE, every=1, decay=0.9999)
    gradients = 0.5 + np.random.default_rng(seed).normal(size=(updates, count, SIZE, 1))
    for parts in torch.tensor(gradients):
        for inputs in parts:
            (weight(inputs).mean() / count).backward()
            meter.micro_batch()
        meter.update()
        weight.zero_grad()
    return meter.estimate(), gradients.mean(axis=(2, 3))


@pytest.fixture(scope="module")
def frozen_runs():
    torch.set_num_threads(1)
    return [frozen_run(40, 3, seed) for seed in range(60)]


def test_averages_are_unbiased_and_a_mean_of_ratios_is_not(frozen_runs):
    found = [estimate for estimate, _ in frozen_runs]
    assert_mean([each.gradient_square for each in found], 0.25)
    assert_mean([each.noise_trace for each in found], 1.0)
    errors = np.median([each.noise_scale_error for each in found])
    assert abs(np.median([each.noise_scale for each in found]) - 4.0) < 0.5 * errors
    ratios = []
    for _, means in frozen_runs:
        small, large = np.mean(means**2, axis=1), np.mean(means, axis=1) ** 2
        ratios.append(np.mean((small - large) / (1 / 4 - 1 / 12) / ((3 * large - small) / 2)))
    off = np.abs(np.array(ratios) - 4.0)
    assert np.median(off) > 3 * np.median(np.abs([each.noise_scale - 4.0 for each in found]))
    with pytest.raises(AssertionError, match="beyond"):
        assert_mean(1.2 * np.array([each.noise_trace for each in found]), 1.0)


def test_errors_are_the_spread_over_runs(frozen_runs):
    found = [estimate for estimate, _ in frozen_runs]
    for name in ("gradient_square", "noise_trace"):
        spread = np.std([getattr(each, name) for each in found])
        assert 0.7 < np.median([getattr(each, f"{name}_error") for each in found]) / spread < 1.4


def test_meter_agrees_with_the_full_estimate():
    model = perceptron()
    inputs, targets = micro_batches(300, 4)
    targets = (inputs[..., 0] > 0).long()
    full = gradient_noise_scale(
        model, functional.cross_entropy, (inputs.reshape(-1, 4), targets.reshape(-1))
    )
    meter = NoiseScaleMeter(model, SIZE, every=1, decay=0.9999)
    train(model, (inputs, targets), meter, rate=0.0)
    found = meter.estimate()
    for name in ("gradient_square", "noise_trace", "noise_scale"):
        difference = getattr(found, name) - getattr(full, name)
        assert abs(difference) < 4 * getattr(found, f"{name}_error"), name


def test_training_does_not_notice():
    plain, measured = perceptron(), perceptron()
    meter = NoiseScaleMeter(measured, SIZE, every=1)
    train(plain, micro_batches(4, 3))
    train(measured, micro_batches(4, 3), meter)
    for part, other in zip(plain.parameters(), measured.parameters(), strict=True):
        assert torch.equal(part, other)
    meter.close()
    before = meter.estimate().noise_trace
    functional.cross_entropy(measured(torch.ones(1, 4).double()), torch.tensor([0])).backward()
    assert meter.estimate().noise_trace == before
    assert not any(part._backward_hooks for part in measured.parameters())


def test_updates_that_say_nothing_are_left_out():
    model = perceptron()
    meter = NoiseScaleMeter(model, SIZE, every=1)
    first = train(model, micro_batches(3, 3), meter)
    train(model, micro_batches(1, 1), meter)
    broken = copy.deepcopy(model.state_dict())
    poison = micro_batches(1, 3)
    poison[0][0, 1] = math.inf
    train(model, poison, meter)
    model.load_state_dict(broken)
    last = train(model, micro_batches(3, 2, seed=1), meter)
    found = meter.estimate()
    square, trace = by_hand(first + last, 0.99)
    assert found.n == 6
    assert found.gradient_square == pytest.approx(square, rel=1e-9)
    assert found.noise_trace == pytest.approx(trace, rel=1e-9)


def test_large_and_half_precision_gradients_are_added_up_well():
    """More than one block of numbers; squares of bfloat16 have more than its 8 bits."""
    for dtype in (torch.float32, torch.bfloat16):
        weight = nn.Parameter(torch.zeros(600_001, dtype=dtype))
        meter = NoiseScaleMeter(nn.ParameterList([weight]), SIZE, every=1, decay=0.9999)
        draws = torch.tensor(np.random.default_rng(0).normal(size=(2, 2, 600_001))).to(dtype)
        for pair in draws:
            for gradient in pair:
                (weight * gradient / 2).sum().backward()
                meter.micro_batch()
            meter.update()
            weight.grad = None
        noise = 2 * SIZE * (draws[:, 0].double() - draws[:, 1].double()).square().sum(1) / 4
        tolerance = 2e-5 if dtype == torch.float32 else 5e-3  # bfloat16's own sum of two gradients
        assert meter.estimate().noise_trace == pytest.approx(float(noise.mean()), rel=tolerance)


def test_frozen_and_unused_parameters_do_not_count():
    model = perceptron()
    model[0].requires_grad_(False)
    model.unused = nn.Parameter(torch.zeros(2))
    meter = NoiseScaleMeter(model, SIZE, every=1)
    for inputs, targets in zip(*micro_batches(2, 2), strict=True):
        for one, target in zip(inputs, targets, strict=True):
            functional.cross_entropy(model[2](model[1](model[0](one))), target).backward()
            meter.micro_batch()
        meter.update()
    assert meter.estimate().n == 2


def test_bad_settings_are_told():
    model = perceptron()
    for arguments, options, kind, message in (
        ((3, 4), {}, TypeError, "model must be a torch.nn.Module, got int"),
        ((perceptron().requires_grad_(False), 4), {}, ValueError, "it has none"),
        ((model, 0), {}, ValueError, "batch_size must be an integer of at least 1, got 0"),
        ((model, 4), {"every": 0}, ValueError, "every must be an integer of at least 1, got 0"),
        ((model, 4), {"decay": 0.4}, ValueError, r"decay must be in \[0.5, 0.9999\], got 0.4"),
        ((model, 4), {"decay": 1.0}, ValueError, r"decay must be in \[0.5, 0.9999\], got 1"),
    ):
        with pytest.raises(kind, match=message):
            NoiseScaleMeter(*arguments, **options)
    assert not any(part._backward_hooks for part in model.parameters())


def test_wrong_use_is_told():
    model = perceptron()
    meter = NoiseScaleMeter(model, SIZE, every=1)
    inputs, targets = micro_batches(1, 2)

    def backward():
        functional.cross_entropy(model(inputs[0, 0]), targets[0, 0]).backward()

    with pytest.raises(ValueError, match=r"once after each backward pass, there were 0 since"):
        meter.micro_batch()
    with pytest.raises(ValueError, match=r"update\(\) must follow micro_batch\(\)"):
        meter.update()
    backward()
    with pytest.raises(ValueError, match=r"update\(\) must follow micro_batch\(\)"):
        meter.update()
    backward()
    with pytest.raises(ValueError, match=r"once after each backward pass, there were 2 since"):
        meter.micro_batch()
    meter = NoiseScaleMeter(model, SIZE, every=1)
    backward()
    meter.micro_batch()
    with pytest.raises(ValueError, match="loss_scale must be positive, got 0"):
        meter.update(loss_scale=0.0)
    meter.update()
    with pytest.raises(ValueError, match=r"at least 2 measured updates .* there were 0 of 1"):
        meter.estimate()


# --- two processes ------------------------------------------------------------------------------

PROCESS = """
import sys, warnings
sys.path[:0] = [{root!r}, {tests!r}, {above!r}]
import test_noise_scale_meter
test_noise_scale_meter.take_part({folder!r})
"""


def take_part(folder):
    """Train with DistributedDataParallel, with and without accumulation; write the estimates."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    rank, found = torch.distributed.get_rank(), []
    for count in (1, 2):
        model = DistributedDataParallel(perceptron())
        meter = NoiseScaleMeter(model, SIZE, every=1, decay=0.9)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for inputs, targets in zip(*micro_batches(6, 2 * count), strict=True):
            for step in range(count):
                model.require_backward_grad_sync = step == count - 1
                one, target = inputs[2 * step + rank], targets[2 * step + rank]
                (functional.cross_entropy(model(one), target) / count).backward()
                meter.micro_batch()
            meter.update()
            optimizer.step()
            optimizer.zero_grad()
        estimate = meter.estimate()
        found.append([estimate.gradient_square, estimate.noise_trace, estimate.noise_trace_error])
    np.save(os.path.join(folder, f"{rank}.npy"), found)
    torch.distributed.destroy_process_group()


def test_two_processes_are_one_that_accumulates(tmp_path):
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
    expected = []
    for count in (1, 2):
        model = perceptron()
        meter = NoiseScaleMeter(model, SIZE, every=1, decay=0.9)
        train(model, micro_batches(6, 2 * count), meter)
        estimate = meter.estimate()
        expected.append(
            [estimate.gradient_square, estimate.noise_trace, estimate.noise_trace_error]
        )
    for rank in range(2):
        np.testing.assert_allclose(np.load(tmp_path / f"{rank}.npy"), expected, rtol=1e-9)
