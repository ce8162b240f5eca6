"""The training loop against a plain one; killed anywhere, it ends in the same bits."""

import copy
import errno
import math
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from deep import _training_step as steps  # noqa: E402
from deep import training  # noqa: E402
from deep.loader import DeviceDataset, Preprocessing, to_device  # noqa: E402
from deep.training import DivergenceError, measure, train  # noqa: E402

CROPPED = Preprocessing(crop=6)
TIMES = ["seconds", "images_per_second"]
AUGMENTED = Preprocessing(rotation=10, padding=1, crop=6, random_crop=True, flip=True, whiten=True)


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def images(n=37, preprocessing=CROPPED, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, size=n)
    pixels = rng.integers(0, 200, size=(n, 8, 8, 1)) + 20 * labels[:, None, None, None]
    parts = pixels.astype(np.uint8), labels.astype(np.int64)
    return to_device(parts, preprocessing=preprocessing, n_classes=3)


def seeded(make):
    with torch.random.fork_rng([]):
        torch.manual_seed(5)
        return make()


def perceptron():
    return seeded(lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 8), nn.ReLU(), nn.Linear(8, 3)))


def convolutional():
    """With all that has a state or draws."""
    return seeded(
        lambda: nn.Sequential(
            nn.Conv2d(1, 4, 3),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Dropout(0.2),
            nn.Flatten(),
            nn.Linear(64, 3),
        )
    )


FULL = {
    "epochs": 3,
    "batch_size": 8,
    "optimizer_options": {"lr": 0.05, "momentum": 0.9},
    "scheduler": "ExponentialLR",
    "scheduler_options": {"gamma": 0.9},
    "seed": 3,
}


def full(**changes):
    """Train what has every kind of state."""
    model = convolutional()
    options = {**FULL, "evaluate": {"test": images(20, seed=1)}, **changes}
    return model, train(model, images(preprocessing=AUGMENTED), **options)


def assert_same_bits(run, other):
    for name, part in run[0].state_dict().items():
        assert torch.equal(part, other[0].state_dict()[name]), name
    assert run[1].drop_vars(TIMES).identical(other[1].drop_vars(TIMES))


# --- the numbers ----------------------------------------------------------------------------------


def plain_loop(model, data, *, epochs, batch_size, optimizer, scheduler=None, seed=0):
    """A loop as everybody writes it, on the same batches."""
    history = []
    for epoch in range(epochs):
        order, uniforms = data.order(epoch, seed=seed), data.uniforms(epoch, seed=seed)
        total = right = 0.0
        for start in range(0, len(data), batch_size):
            chosen = order[start : start + batch_size]
            draws = None if uniforms is None else uniforms[start : start + batch_size]
            inputs, labels = data.batch(chosen, draws)
            inputs = inputs.to(next(model.parameters()).dtype)
            optimizer.zero_grad()
            outputs = model(inputs)
            loss = functional.cross_entropy(outputs, labels)
            loss.backward()
            optimizer.step()
            total += float(loss.detach()) * len(labels)
            right += float((outputs.argmax(1) == labels).sum())
        inputs, labels = data.batch(slice(None))
        with torch.no_grad():
            outputs = model(inputs.to(next(model.parameters()).dtype))
        clean = float(functional.cross_entropy(outputs, labels))
        accuracy = float((outputs.argmax(1) == labels).double().mean())
        rate = optimizer.param_groups[0]["lr"]
        history.append((total / len(data), right / len(data), clean, accuracy, rate))
        if scheduler is not None:
            scheduler.step()
    return np.array(history).T


OPTIMIZERS = {
    "SGD": {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3},
    "AdamW": {"lr": 0.01, "betas": (0.8, 0.9)},
    "RMSprop": {"lr": 0.01},
}


@pytest.mark.parametrize("preprocessing", [CROPPED, AUGMENTED], ids=["crop", "all"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_numbers_are_those_of_a_plain_loop(name, preprocessing):
    data = images(preprocessing=preprocessing)
    model, peer = perceptron(), perceptron().double()
    options = {"epochs": 4, "batch_size": 8, "seed": 2}
    curve = train(
        model,
        data,
        optimizer=name,
        optimizer_options=OPTIMIZERS[name],
        scheduler="StepLR",
        scheduler_options={"step_size": 2},
        evaluate={"same": data},
        precision="float64",
        **options,
    )
    optimizer = getattr(torch.optim, name)(peer.parameters(), **OPTIMIZERS[name])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 2)
    expected = plain_loop(peer, data, optimizer=optimizer, scheduler=scheduler, **options)
    names = ["online_loss", "online_accuracy", "training_loss", "training_accuracy"]
    for variable, values in zip([*names, "learning_rate"], expected, strict=True):
        np.testing.assert_allclose(curve[variable], values, rtol=1e-7, err_msg=variable)
    for part, other in zip(model.parameters(), peer.parameters(), strict=True):
        torch.testing.assert_close(part, other, rtol=1e-8, atol=1e-10)
    for measured in ("loss", "accuracy"):
        evaluated = curve[f"evaluation_{measured}"].sel(evaluation="same")
        assert np.array_equal(evaluated, curve[f"training_{measured}"])


def test_result_is_labeled():
    _, curve = full()
    assert dict(curve.sizes) == {"epoch": 3, "evaluation": 1}
    assert curve.epoch.values.tolist() == [1, 2, 3]
    assert curve.evaluation.values.tolist() == ["test"]
    assert curve.attrs == {"stopped_early": 0, "device": "cpu", "processes": 1}
    assert all({"long_name", "units"} == set(variable.attrs) for variable in curve.values())
    np.testing.assert_allclose(curve.images_per_second * curve.seconds, 37.0)
    assert train(perceptron(), images(), epochs=2, batch_size=8).sizes["evaluation"] == 0


def test_squared_error_and_batched_measurement():
    model, data = perceptron(), images()
    inputs, labels = data.batch(slice(None))
    with torch.no_grad():
        outputs = model(inputs)
    expected = float(((outputs - torch.eye(3)[labels]) ** 2).mean())
    for batch_size in (1, 5, 37, 100):
        found = measure(model, data, loss="squared_error", batch_size=batch_size)
        assert found.loss == pytest.approx(expected, rel=1e-6)
        assert found.accuracy == float((outputs.argmax(1) == labels).double().mean())
    before = measure(model, data, loss="squared_error").loss
    train(model, data, epochs=5, batch_size=8, loss="squared_error", optimizer_options={"lr": 0.1})
    assert measure(model, data, loss="squared_error").loss < 0.8 * before


def test_modes_and_global_randomness():
    model = convolutional().train()
    measure(model, images())
    assert model.training
    state = torch.random.get_rng_state()
    model, _ = full()
    assert not model.training
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_model_s_mode_is_of_no_account():
    models = perceptron(), perceptron().eval()
    models = [nn.Sequential(nn.Dropout(0.5), *model).train(model.training) for model in models]
    runs = [(model, train(model, images(), epochs=2, batch_size=8)) for model in models]
    assert_same_bits(*runs)


def test_same_seed_same_bits_whatever_the_global_generator():
    run = full()
    with torch.random.fork_rng([]):
        torch.manual_seed(99)
        assert_same_bits(run, full())
    other = full(seed=4)
    assert not torch.equal(run[0][0].weight, other[0][0].weight)


def test_dropout_draws_anew_each_step():
    """One batch an epoch, a rate of zero: what differs between epochs is the masks."""
    model = seeded(lambda: nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(36, 3)))
    curve = train(model, images(), epochs=5, batch_size=37, optimizer_options={"lr": 0.0})
    assert len(np.unique(curve.online_loss)) == 5
    assert len(np.unique(curve.training_loss)) == 1


def test_stops_at_accuracy():
    options = {"epochs": 200, "batch_size": 8, "optimizer_options": {"lr": 0.1, "momentum": 0.9}}
    curve = train(perceptron(), images(), stop_at_accuracy=0.9, **options)
    assert curve.attrs["stopped_early"] == 1
    assert curve.sizes["epoch"] < 200
    assert curve.training_accuracy[-1] >= 0.9
    assert np.all(curve.training_accuracy[:-1] < 0.9)


def test_measures_every_so_many_epochs_and_at_the_end():
    model = perceptron()
    test = images(11, seed=1)
    curve = train(
        model, images(), epochs=5, batch_size=8, evaluate_every=2, evaluate={"test": test}
    )
    measured = [False, True, False, True, True]
    assert np.array_equal(np.isfinite(curve.training_loss), measured)
    assert np.array_equal(np.isfinite(curve.evaluation_accuracy[0]), measured)
    assert np.all(np.isfinite(curve.online_loss))
    assert curve.evaluation_loss[0, -1] == measure(model, test).loss


@pytest.mark.parametrize(
    ("name", "options", "counts", "expected"),
    [
        ("ConstantLR", {"factor": 0.5, "total_iters": 2}, "epoch", [0.05, 0.05, 0.1, 0.1]),
        # Five updates an epoch; the last one's rate is shown.
        ("ExponentialLR", {"gamma": 0.5}, "update", [0.1 * 0.5**k for k in (4, 9, 14, 19)]),
        ("ReduceLROnPlateau", {"patience": 0, "threshold": 1e9}, "epoch", None),
        ("OneCycleLR", {"max_lr": 0.1, "total_steps": 20}, "update", None),
        ("LinearLR", {"start_factor": 1.0, "end_factor": 0.25, "total_iters": 3}, "epoch", None),
    ],
)
def test_schedules(name, options, counts, expected):
    curve = train(
        perceptron(),
        images(),
        epochs=4,
        batch_size=8,
        optimizer_options={"lr": 0.1, "momentum": 0.9},
        scheduler=name,
        scheduler_options=options,
        scheduler_step=counts,
    )
    if expected is None:
        assert len(np.unique(curve.learning_rate)) > 2
        assert curve.learning_rate[-1] < 0.05
    else:
        np.testing.assert_allclose(curve.learning_rate, expected)


def test_frozen_parameters_stay():
    model = perceptron()
    model[1].weight.requires_grad_(False)
    before = copy.deepcopy(model.state_dict())
    train(model, images(), epochs=1, batch_size=8, optimizer_options={"lr": 0.1})
    assert torch.equal(model[1].weight, before["1.weight"])
    assert not torch.equal(model[3].weight, before["3.weight"])


# --- precision, layout, recorded steps ------------------------------------------------------------


def test_bfloat16_and_channels_last_are_near_float32():
    exact = together(precision="float32")[1]
    model, last = together(precision="float32", channels_last=True)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(last.training_loss, exact.training_loss, rtol=1e-4)
    model, rough = together(precision="bfloat16")
    assert {part.dtype for part in model.parameters()} == {torch.float32}
    np.testing.assert_allclose(rough.training_loss, exact.training_loss, rtol=0.05)
    assert np.any(rough.training_loss != exact.training_loss)


def test_global_settings_are_restored():
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    seen = []

    class Looking(nn.Flatten):
        def forward(self, inputs):
            seen.append((torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32))
            return super().forward(inputs)

    model = nn.Sequential(Looking(), nn.Linear(36, 3))
    train(model, images(), epochs=1, batch_size=8)
    assert set(seen) == {("highest", False)}
    with steps.arithmetic("tf32", torch.device("cuda")):
        inside = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    assert inside == ("high", True)
    assert (torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32) == before


def test_a_recorded_step_is_the_launched_one(monkeypatch):
    """The recording itself needs CUDA; here three rehearsals, and the work again for a replay."""

    def record(work):
        for _ in range(3):
            work()
        replays.append(work)
        return work

    replays = []
    monkeypatch.setattr(steps, "record", record)
    monkeypatch.setattr(training, "_check_machine", lambda *_: None)
    assert_same_bits(full(cuda_graph=True), full())
    assert len(replays) == 1


def test_a_recorded_step_keeps_the_gradients_where_they_are(monkeypatch):
    model, data = perceptron(), images()
    places = []

    def record(work):
        def replay():
            work()
            places.append(tuple(part.grad.data_ptr() for part in model.parameters()))

        work()
        return replay

    monkeypatch.setattr(steps, "record", record)
    monkeypatch.setattr(training, "_check_machine", lambda *_: None)
    train(model, data, epochs=3, batch_size=8, cuda_graph=True)
    assert len(places) == 12  # the fifth batch of an epoch is smaller
    assert len(set(places)) == 1


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("asked", [{"cuda_graph": True}, {"compile": True}, {}])
def test_cuda_is_near_the_cpu(asked):
    options = {**FULL, "epochs": 2, "precision": "float64"}
    one = train(perceptron(), images(preprocessing=AUGMENTED), **options)
    other = train(perceptron(), images(preprocessing=AUGMENTED), device="cuda", **options, **asked)
    np.testing.assert_allclose(other.training_loss, one.training_loss, rtol=1e-4)


# --- killed and started again ---------------------------------------------------------------------


class Killed(BaseException):
    pass


@contextmanager
def kill_at(monkeypatch, number, place="update"):
    """Raise at the n-th call: in the middle of an update, or of writing a checkpoint."""
    owner, name = {
        "update": (training._Run, "_update"),
        "schedule": (training._Run, "_step_schedule"),
        "measurement": (training, "_measured"),
        "write": (os, "replace"),
    }[place]
    method, calls = getattr(owner, name), []

    def dying(*arguments, **options):
        calls.append(None)
        if len(calls) == number and place != "schedule":
            raise Killed
        done = method(*arguments, **options)
        if len(calls) == number:
            raise Killed
        return done

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, dying)
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize("every", [1, 3, None])
@pytest.mark.parametrize(
    ("place", "times"),
    [("update", range(1, 16)), ("measurement", (2, 5)), ("schedule", (2,)), ("write", (1, 2, 3))],
)
def test_killed_anywhere_ends_in_the_same_bits(tmp_path, monkeypatch, place, times, every):
    whole = full()
    for number in times:
        path = tmp_path / f"{number}.pt"
        with kill_at(monkeypatch, number, place):
            full(checkpoint=path, checkpoint_every=every)
        assert_same_bits(full(checkpoint=path, checkpoint_every=every), whole)
    assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "Adam", "optimizer_options": {"lr": 0.01}},
        {"optimizer": "Adagrad", "optimizer_options": {"lr": 0.01}},
        {"channels_last": True},
        {"precision": "bfloat16"},
        {
            "scheduler": "OneCycleLR",
            "scheduler_options": {"max_lr": 0.1, "total_steps": 15},
            "scheduler_step": "update",
        },
        {"scheduler": "ReduceLROnPlateau", "scheduler_options": {"patience": 0}},
        {"scheduler": "MultiStepLR", "scheduler_options": {"milestones": [1, 2]}},
        {"scheduler": None, "scheduler_options": None},
    ],
    ids=["Adam", "Adagrad", "layout", "bfloat16", "OneCycleLR", "plateau", "steps", "none"],
)
def test_killed_with_every_kind_of_state(tmp_path, monkeypatch, changes):
    path = tmp_path / "run.pt"
    with kill_at(monkeypatch, 9):
        full(checkpoint=path, checkpoint_every=1, **changes)
    assert_same_bits(full(checkpoint=path, checkpoint_every=1, **changes), full(**changes))


def test_killed_before_an_early_stop(tmp_path, monkeypatch):
    options = {"epochs": 200, "batch_size": 8, "optimizer_options": {"lr": 0.1, "momentum": 0.9}}
    options |= {"stop_at_accuracy": 0.9}
    whole = perceptron()
    whole = whole, train(whole, images(), **options)
    path = tmp_path / "run.pt"
    with kill_at(monkeypatch, 5 * whole[1].sizes["epoch"] - 2):
        train(perceptron(), images(), checkpoint=path, **options)
    for _ in range(2):
        model = perceptron()
        assert_same_bits((model, train(model, images(), checkpoint=path, **options)), whole)


def test_a_finished_run_returns_at_once(tmp_path, monkeypatch):
    run = full(checkpoint=tmp_path / "run.pt")
    monkeypatch.setattr(DeviceDataset, "order", None)
    again = full(checkpoint=tmp_path / "run.pt")
    assert_same_bits(again, run)
    assert again[1].identical(run[1])


SCRIPT = """
import os, signal, sys
import torch
from pathlib import Path
torch.set_num_threads(1)
sys.path[:0] = [{root!r}, {tests!r}]
import test_training
step, calls = torch.optim.SGD.step, []
def dying(*arguments, **options):
    calls.append(None)
    if len(calls) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
    return step(*arguments, **options)
torch.optim.SGD.step = dying
test_training.full(checkpoint={path!r}, checkpoint_every=2)
"""
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def test_killed_by_the_system(tmp_path):
    path = str(tmp_path / "run.pt")
    script = SCRIPT.format(root=ROOT, tests=os.path.dirname(__file__), path=path)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, cwd=tmp_path)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    state = torch.load(path, weights_only=True)["state"]
    assert (state["epoch"], state["position"]) == (1, 1)
    assert_same_bits(full(checkpoint=path, checkpoint_every=2), full())


# --- checkpoints that cannot be used, or written --------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 9}, "another study: batch_size is 8 there and 9 here"),
        ({"seed": 4}, "seed is 3 there and 4 here"),
        ({"epochs": 4}, "epochs is 3 there and 4 here"),
        ({"optimizer_options": {"lr": 0.06}}, r"optimizer_options\.lr is 0\.05 there and 0\.06"),
        ({"evaluate": {}}, r"evaluate\.test is .* there and absent here"),
        ({"precision": "bfloat16"}, "precision is float32 there and bfloat16 here"),
    ],
)
def test_checkpoint_of_other_parameters(tmp_path, changes, message):
    path = tmp_path / "run.pt"
    full(checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        full(checkpoint=path, **changes)
    assert path.read_bytes() == before


def test_checkpoint_of_other_data_or_another_model(tmp_path):
    options = {"epochs": 1, "batch_size": 8, "checkpoint": tmp_path / "run.pt"}
    train(perceptron(), images(), **options)
    data = images()
    with pytest.raises(ValueError, match=r"study: data\.labels is"):
        train(perceptron(), replace(data, labels=data.labels.flip(0)), **options)
    with pytest.raises(ValueError, match=r"study: data\.inputs is"):
        train(perceptron(), replace(data, inputs=data.inputs.flip(0)), **options)
    with pytest.raises(ValueError, match=r"study: data\.preprocessing is"):
        train(perceptron(), images(preprocessing=AUGMENTED), **options)
    with pytest.raises(ValueError, match="study: model is"):
        train(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), images(), **options)


def test_damaged_checkpoints(tmp_path):
    path = tmp_path / "run.pt"
    full(checkpoint=path)
    content = path.read_bytes()
    middle = len(content) // 2
    flipped = bytes([content[middle] ^ 1])
    for damaged in (b"", content[:-1], content[:middle], b"x" * 200):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"run\.pt is damaged or no checkpoint"):
            full(checkpoint=path)
    path.write_bytes(content[:middle] + flipped + content[middle + 1 :])
    with pytest.raises(ValueError, match="its checksum differs"):
        full(checkpoint=path)


def test_full_disk(tmp_path, monkeypatch):
    path, calls, fsync = tmp_path / "run.pt", [], os.fsync

    def full_disk(descriptor):
        calls.append(None)
        if len(calls) > 6:  # each write flushes the file and its folder
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full_disk)
        with pytest.raises(OSError, match="No space left") as raised:
            full(checkpoint=path, checkpoint_every=1)
    assert "what stood there is untouched" in raised.value.__notes__[0]
    assert os.listdir(tmp_path) == ["run.pt"]
    assert torch.load(path, weights_only=True)["state"]["position"] == 3
    assert_same_bits(full(checkpoint=path, checkpoint_every=1), full())


def test_missing_folder(tmp_path):
    with pytest.raises(ValueError, match="checkpoint must be in a folder that exists"):
        full(checkpoint=tmp_path / "missing" / "run.pt")


# --- divergence -----------------------------------------------------------------------------------


class Breaking(nn.Module):
    """Multiply by a number that is not finite from a call in training mode on."""

    def __init__(self, call, value):
        super().__init__()
        self.left, self.value = call, value

    def forward(self, inputs):
        self.left -= self.training
        return inputs * (self.value if self.left <= 0 and self.training else 1.0)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize(("call", "epoch", "step"), [(1, 1, 1), (5, 1, 5), (9, 2, 4)])
@pytest.mark.parametrize("every", [1, None])
def test_a_loss_that_is_not_finite(tmp_path, call, epoch, step, value, every):
    model, path = nn.Sequential(*perceptron(), Breaking(call, value)), tmp_path / "run.pt"
    with pytest.raises(DivergenceError, match=rf"epoch {epoch}, step {step} of 5") as raised:
        train(model, images(), epochs=3, batch_size=8, checkpoint=path, checkpoint_every=every)
    assert (raised.value.epoch, raised.value.step) == (epoch, step)
    if path.exists():
        state = torch.load(path, weights_only=True)["state"]
        assert all(part.isfinite().all() for part in state["model"].values())
        done = state["epoch"] * 5 + state["position"]
        assert done == (call - 1 if every == 1 else (epoch - 1) * 5)
    else:
        assert call == 1 or every is None


def test_weights_that_are_not_finite_are_not_kept(tmp_path):
    """The loss of the last update was finite; its gradient was not."""

    class Overflowing(torch.autograd.Function):
        @staticmethod
        def forward(ctx, inputs):
            return inputs.clone()

        @staticmethod
        def backward(ctx, slope):
            return slope * math.inf

    class Layer(nn.Module):
        def forward(self, inputs):
            return Overflowing.apply(inputs)

    path = tmp_path / "run.pt"
    model = nn.Sequential(*perceptron(), Layer())
    with pytest.raises(DivergenceError, match="weights are not finite in epoch 1, step 1 of 1"):
        train(model, images(), epochs=1, batch_size=37, checkpoint=path)
    assert not path.exists()


def test_divergence_of_a_large_rate_is_an_error():
    options = {"epochs": 30, "batch_size": 8, "optimizer_options": {"lr": 1e20}}
    with pytest.raises(DivergenceError):
        train(perceptron(), images(), loss="squared_error", **options)


# --- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"batch_size": 2.5}, r"batch_size must be an integer of at least 1, got 2\.5"),
        ({"seed": -1}, "seed must be an integer of at least 0, got -1"),
        ({"evaluate_every": 0}, "evaluate_every must be"),
        ({"evaluation_batch_size": 0}, "evaluation_batch_size must be"),
        ({"checkpoint_every": 0}, "checkpoint_every must be"),
        ({"optimizer": "LBFGS"}, "optimizer must be one of ASGD, .*; got 'LBFGS'"),
        ({"optimizer": "Optimizer"}, "optimizer must be one of"),
        ({"optimizer_options": {"rate": 1}}, "optimizer_options do not suit SGD: .*'rate'"),
        ({"optimizer_options": {"lr": -1.0}}, "optimizer_options do not suit SGD: .*-1"),
        ({"scheduler": "SequentialLR"}, "scheduler must be one of .*; got 'SequentialLR'"),
        ({"scheduler_options": {}}, "scheduler_options do not suit ExponentialLR: .*gamma"),
        ({"scheduler_step": "batch"}, "scheduler_step must be one of epoch, update; got 'batch'"),
        (
            {"scheduler": "ReduceLROnPlateau", "scheduler_step": "update"},
            "scheduler_step must be 'epoch'",
        ),
        ({"loss": "hinge"}, "loss must be one of cross_entropy, squared_error; got 'hinge'"),
        ({"precision": "float16"}, "precision must be one of .*; got 'float16'"),
        ({"precision": "tf32"}, "precision 'tf32' needs a CUDA device, got cpu"),
        ({"compile": True}, "compile needs a CUDA device, got cpu"),
        ({"cuda_graph": True}, "cuda_graph needs a CUDA device, got cpu"),
        ({"stop_at_accuracy": 100}, r"stop_at_accuracy must be in \(0, 1\], got 100"),
    ],
)
def test_wrong_arguments(monkeypatch, changes, message):
    monkeypatch.setattr(training._Run, "train", None)
    with pytest.raises(ValueError, match=message):
        full(**changes)


def test_options_that_no_checkpoint_could_keep():
    with pytest.raises(TypeError, match="scheduler_options must be plain numbers"):
        full(scheduler="LambdaLR", scheduler_options={"lr_lambda": lambda epoch: 1.0})
    with pytest.raises(TypeError, match="optimizer_options must be plain numbers"):
        full(optimizer_options={"lr": math.nan})


def wide(*shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(36, math.prod(shape)), nn.Unflatten(1, shape))


@pytest.mark.parametrize("shape", [(2,), (4,), (3, 1)])
def test_outputs_unlike_the_labels(monkeypatch, shape):
    monkeypatch.setattr(training._Run, "train", None)
    message = r"3 classes of data: outputs for one example must be \(1, 3\), got \(1, "
    with pytest.raises(ValueError, match=message):
        train(wide(*shape), images(), epochs=1, batch_size=8)
    data = DeviceDataset(torch.zeros(4, 1, 6, 6), torch.full((4,), 3), 4)
    with pytest.raises(ValueError, match="4 classes of test: "):
        train(perceptron(), images(), epochs=1, batch_size=8, evaluate={"test": data})
    if shape != (4,):
        with pytest.raises(ValueError, match="3 classes of data"):
            measure(wide(*shape), images())
    else:
        assert measure(wide(*shape), images()).loss > 0.0


def test_inputs_unlike_the_model():
    with pytest.raises(ValueError, match=r"does not take an example \(1, 1, 8, 8\) of data: "):
        train(perceptron(), images(preprocessing=Preprocessing()), epochs=1, batch_size=8)


def test_wrong_measurements():
    with pytest.raises(ValueError, match="batch_size must be an integer"):
        measure(perceptron(), images(), batch_size=0)
    with pytest.raises(ValueError, match="loss must be one of"):
        measure(perceptron(), images(), loss="hinge")
    with pytest.raises(ValueError, match="precision must be one of"):
        measure(perceptron(), images(), precision="float8")


# --- progress -------------------------------------------------------------------------------------


def test_silent_in_a_pipe_and_talkative_when_asked(capfd):
    full()
    full(progress=False)
    assert capfd.readouterr() == ("", "")
    full(progress=True)
    err = capfd.readouterr().err
    assert "image/s" in err
    assert "loss=" in err
    assert "accuracy=" in err
    assert "111/111" in err
    assert "\rtraining: " in err


def test_a_bar_that_is_given_a_name_is_for_terminals_alone(capfd, monkeypatch):
    full(progress="random labels")
    assert capfd.readouterr() == ("", "")
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    full(progress="random labels")
    assert "random labels: " in capfd.readouterr().err


def test_a_bar_goes_on_where_training_does(tmp_path, monkeypatch, capfd):
    path = tmp_path / "run.pt"
    with kill_at(monkeypatch, 12):
        full(checkpoint=path, checkpoint_every=1)
    capfd.readouterr()
    full(checkpoint=path, checkpoint_every=1, progress=True)
    assert "| 82.0/111 [" in capfd.readouterr().err.split("\r")[1]


# --- several processes ----------------------------------------------------------------------------

PROCESS = """
import os, sys
import torch
torch.set_num_threads(1)
sys.path[:0] = [{root!r}, {tests!r}]
import test_training
test_training.take_part({folder!r})
"""


def smooth():
    """Neither batch normalization nor dropout, which see a process's own part."""
    return seeded(
        lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3))
    )


class Drawing(nn.Module):
    """Draw a number at each update, as dropout does."""

    def __init__(self):
        super().__init__()
        self.numbers = []

    def forward(self, inputs):
        if self.training:
            self.numbers.append(float(torch.rand(())))
        return inputs


def together(**changes):
    model = smooth()
    options = {**FULL, "evaluate": {"test": images(21, seed=1)}, "precision": "float64", **changes}
    return model, train(model, images(preprocessing=AUGMENTED), **options)


def take_part(folder):
    """Train in one of the processes; rank 0 writes what came out."""
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 2 processes, got 7"):
        together(batch_size=7)
    with pytest.raises(ValueError, match=r"leaves 1 of 37 examples .* fewer than the 2 processes"):
        together(batch_size=6)
    path = os.path.join(folder, "run.pt")
    with kill_at(pytest.MonkeyPatch(), 9):
        together(checkpoint=path, checkpoint_every=3)
    model, resumed = together(checkpoint=path, checkpoint_every=3)
    assert_same_bits((model, resumed), together())
    normalized = full()[0].state_dict()
    drawn = Drawing()
    train(nn.Sequential(drawn, smooth()), images(), epochs=1, batch_size=8)
    rank = os.environ["RANK"]
    torch.save(
        [model.state_dict(), normalized, drawn.numbers], os.path.join(folder, f"weights{rank}.pt")
    )
    resumed.to_netcdf(os.path.join(folder, f"curve{rank}.nc"), engine="netcdf4")


def test_two_processes_are_one(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    script = PROCESS.format(root=ROOT, tests=os.path.dirname(__file__), folder=str(tmp_path))
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
    said = [process.communicate(timeout=60)[0].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(said)
    model, curve = together()
    first, second = (
        torch.load(tmp_path / f"weights{rank}.pt", weights_only=True) for rank in range(2)
    )
    assert not {*first[2]} & {*second[2]}
    for part, other in zip(first[:2], second[:2], strict=True):
        assert all(torch.equal(part[name], other[name]) for name in part)
    for name, part in model.state_dict().items():
        torch.testing.assert_close(first[0][name], part, rtol=1e-9, atol=1e-11)
    for rank in range(2):
        found = xr.load_dataset(tmp_path / f"curve{rank}.nc", engine="netcdf4")
        assert found.attrs["processes"] == 2
        for variable in set(curve) - set(TIMES):
            np.testing.assert_allclose(found[variable], curve[variable], rtol=1e-8)
