"""Experiments with SmoothOut, against doing by hand what they say they do."""

import sys
import types

import numpy as np
import pytest
import xarray as xr

torch = pytest.importorskip("torch")

from torch.nn.functional import cross_entropy  # noqa: E402

from deep import curvature, models, smoothout  # noqa: E402
from deep.population import example_order  # noqa: E402
from deep.smoothout import generalization, smoothout_identities  # noqa: E402
from store import corruption, datasets  # noqa: E402

SMALL = {
    "train_size": 40,
    "test_size": 60,
    "widths": [8, 6],
    "epochs": 10,
    "batch_size": 15,
    "learning_rate": 0.1,
}
AROUND = {"sharpness": True, "draws": 3, "probes": 4, "directions": 2}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- by hand --------------------------------------------------------------------------------------


def sets(seed, label_noise=0.0):
    train, test = datasets.draw("digits", None, 40, 60, seed=seed)
    rng = np.random.default_rng([seed, 2])
    given = corruption.corrupt_labels(train.labels, label_noise, 10, rng).labels
    return [
        (torch.tensor(d.images, dtype=torch.float32)[:, None] / 16, torch.tensor(labels))
        for d, labels in ((train, given), (test, test.labels))
    ]


def initial(seed):
    generator = torch.Generator().manual_seed(seed)
    shape = {"input_shape": (1, 8, 8), "classes": 10, "widths": (8, 6)}
    return models.build("mlp", generator=generator, **shape)


class Uniform:
    """Noise that is added to all weights, and what they were."""

    def __init__(self, model, seed):
        self.parts, self.generator = list(model.parameters()), torch.Generator().manual_seed(seed)

    def add(self, a, law="uniform"):
        clean = [part.detach().clone() for part in self.parts]
        with torch.no_grad():
            sizes = [part.numel() for part in self.parts]
            flat = torch.empty(sum(sizes))  # one draw: that of normal numbers depends on its size
            if law == "normal":
                flat.normal_(0.0, a / 3**0.5, generator=self.generator)
            else:
                flat.uniform_(-a, a, generator=self.generator)
            for part, drawn in zip(self.parts, flat.split(sizes), strict=True):
                noise = drawn.view_as(part)
                if law == "filters":
                    noise = self.like_filters(part, noise / a, a)
                part.add_(noise)
        return clean

    @staticmethod
    def like_filters(part, u, a):
        rows, drawn = (value.reshape(len(value), -1) for value in (part, u))
        length = rows.norm(dim=1, keepdim=True) / (drawn.norm(dim=1, keepdim=True) + 1e-6)
        return (a * length * drawn).view_as(part)

    def remove(self, clean):
        with torch.no_grad():
            for part, before in zip(self.parts, clean, strict=True):
                part.copy_(before)


def by_hand(seed, a, *, law="uniform", kept=False, parts=1, adam=False, label_noise=0.0, rho=0.0):
    """Train one network as the study says."""
    (X, y), _ = sets(seed, label_noise)
    model = initial(seed)
    noise = Uniform(model, seed)
    if adam:
        optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(10):
        for group in optimizer.param_groups:
            group["lr"] = 0.1 * 0.1 ** ((epoch >= 6) + (epoch >= 8))
        for rows in example_order([seed], epoch, 40)[0].split(15):
            optimizer.zero_grad()
            for part in rows.chunk(parts):
                clean = noise.add(a, law) if a else None
                loss = cross_entropy(model(X[part]), y[part]) * len(part) / len(rows)
                loss.backward()
                if a and not kept:
                    noise.remove(clean)
            if rho:
                ascend(model, rho, X[rows], y[rows])
            optimizer.step()
    return model


def ascend(model, rho, X, y):
    """Replace the gradients by those at the end of a step upward of length rho."""
    parts = list(model.parameters())
    gradients = [part.grad.clone() for part in parts]
    length = sum(float((g**2).sum()) for g in gradients) ** 0.5
    clean = [part.detach().clone() for part in parts]
    with torch.no_grad():
        for part, gradient in zip(parts, gradients, strict=True):
            part.add_(rho * gradient / (length + 1e-12))
    model.zero_grad()
    cross_entropy(model(X), y).backward()
    Uniform(model, 0).remove(clean)


def measured(model, seed, label_noise=0.0):
    (X, y), (Z, truth) = sets(seed, label_noise)
    with torch.no_grad():
        wrong = [float((model(A).argmax(1) != b).double().mean()) for A, b in ((Z, truth), (X, y))]
        return (*wrong, float(cross_entropy(model(X), y)))


def assert_equals(found, model, seed, **options):
    test_error, training_error, loss = measured(model, seed, **options)
    assert float(found.test_error) == pytest.approx(test_error, abs=1e-9)
    assert float(found.training_error) == pytest.approx(training_error, abs=1e-9)
    assert float(found.training_loss) == pytest.approx(loss, rel=1e-4)


ARMS = {
    "uniform": ({}, {}),
    "filters": ({"method": "adasmoothout"}, {"law": "filters"}),
    "normal": ({"method": "normal noise"}, {"law": "normal"}),
    "kept": ({"method": "noise kept"}, {"kept": True}),
    "parts": ({"micro_batches": 4}, {"parts": 4}),
    "adam": ({"optimizer": "adam", "method": "smoothout"}, {"adam": True}),
    "noisy labels": ({"label_noise": 0.4}, {"label_noise": 0.4}),
}


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("seed", [0, 3])
def test_a_study_is_training_by_hand(arm, seed):
    options, own = ARMS[arm]
    found = generalization(**SMALL, **options, strengths=[0.2, 0.0], seed=seed)
    spoiled = {"label_noise": own.get("label_noise", 0.0)}
    for a in (0.2, 0.0):
        assert_equals(found.sel(strength=a), by_hand(seed, a, **own), seed, **spoiled)
    assert float(found.training_loss[0]) != float(found.training_loss[1])


def test_only_the_noise_tells_runs_of_one_seed_apart():
    runs = [
        generalization(**SMALL, method=method, strengths=[0.0], seed=4)
        for method in smoothout.METHODS
    ]
    for run in runs[1:]:
        xr.testing.assert_identical(run, runs[0])
    again = generalization(**SMALL, strengths=[0.1, 0.0], seed=4).sel(strength=[0.0])
    xr.testing.assert_identical(again, runs[0])
    other = generalization(**SMALL, strengths=[0.0], seed=5)
    assert float(other.training_loss[0]) != float(runs[0].training_loss[0])


def test_torch_s_global_generator_is_neither_used_nor_moved():
    before = torch.random.get_rng_state()
    generalization(**SMALL, method="noise kept", strengths=[0.1])
    assert torch.equal(torch.random.get_rng_state(), before)


class FakeSAM:
    """SAM with the interface of pytorch_optimizer's."""

    def __init__(self, parameters, base_optimizer, rho, **options):
        self.base_optimizer = base_optimizer(parameters, **options)
        self.parts = self.base_optimizer.param_groups[0]["params"]
        self.rho = rho

    def first_step(self, zero_grad):
        length = sum(float((part.grad**2).sum()) for part in self.parts) ** 0.5
        self.clean = [part.detach().clone() for part in self.parts]
        with torch.no_grad():
            for part in self.parts:
                part.add_(self.rho * part.grad / (length + 1e-12))
        assert zero_grad
        self.base_optimizer.zero_grad()

    def second_step(self, zero_grad):
        with torch.no_grad():
            for part, before in zip(self.parts, self.clean, strict=True):
                part.copy_(before)
        self.base_optimizer.step()
        assert zero_grad
        self.base_optimizer.zero_grad()


def test_sam_is_that_of_the_package_where_there_is_one(monkeypatch):
    package = types.SimpleNamespace(SAM=FakeSAM)
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", package)
    found = generalization(**SMALL, method="sam", strengths=[0.1, 0.0], seed=2)
    assert_equals(found.sel(strength=0.1), by_hand(2, 0.0, rho=0.1), 2)
    assert_equals(found.sel(strength=0.0), by_hand(2, 0.0), 2)


def test_without_the_package_sam_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "pytorch_optimizer", None)
    with pytest.raises(ValueError, match="takes the package pytorch_optimizer"):
        generalization(**SMALL, method="sam", strengths=[0.1])


def test_sharpness_is_that_of_the_end_points():
    seed, a = 1, 0.2
    found = generalization(**SMALL, **AROUND, strengths=[0.0, a], seed=seed).sel(strength=a)
    model, (data, _) = by_hand(seed, a), sets(seed)
    at = (model, cross_entropy, data)
    keskar = curvature.keskar_sharpness(*at, epsilon=[1e-3, 5e-3]).sharpness[:, 0]
    np.testing.assert_allclose(found.keskar_sharpness, keskar, rtol=1e-2)
    rise = curvature.expected_sharpness(*at, strength=found.noise.values, draws=3, seed=seed)
    np.testing.assert_allclose(found.expected_sharpness, rise.expected_sharpness, rtol=1e-3)
    trace = curvature.hessian_trace(*at, probes=4, seed=seed)
    assert float(found.hessian_trace) == pytest.approx(float(trace.hessian_trace), rel=1e-3)
    assert float(found.hessian_trace_error) == pytest.approx(float(trace.standard_error), rel=1e-3)
    for line in range(2):
        there = curvature.section(*at, x=found.distance.values, seed=line).section
        np.testing.assert_allclose(found.section[line], there, rtol=1e-3)


def test_a_valley_is_as_wide_as_its_line_says():
    longer = {**SMALL, "widths": [30, 30], "epochs": 50}
    found = generalization(**longer, **AROUND, strengths=[0.0, 0.1])
    assert float(found.training_loss.max()) < 0.3
    found = found.stack(line=("strength", "direction"))
    fine = np.linspace(-1.5, 1.5, 30_001)
    for number in range(found.sizes["line"]):
        line = np.interp(fine, found.distance, found.section[:, number])
        share = np.mean(line < 2 * line.min() + 0.1)
        assert float(found.valley_width[number]) == pytest.approx(3 * share, abs=3e-3)
    assert 0 < float(found.valley_width.min()) < 3


def test_the_identities_hold_on_a_trained_network():
    found = smoothout_identities(
        train_size=50, widths=[6, 5], draws=400, probes=600, epochs=100, seed=1
    )
    assert float(found.function_change.max()) < 1e-12
    np.testing.assert_allclose(found.hessian_trace, found.predicted_trace, rtol=1e-9)
    np.testing.assert_allclose(found.filter_sharpness, found.filter_at_one, rtol=1e-9)
    assert float((found.expected_sharpness / found.plain_at_one).min()) > 5
    assert float(abs(found.gradient_deviation).max()) < 5.6  # normal, 8 of them: 2e-7
    assert float(found.length_error) < 2e-6
    assert found.scale.values.tolist() == [0.1, 10.0]


def test_the_identities_notice_a_gradient_of_other_noise(monkeypatch):
    """The faces' difference is that of the strength; half the noise has another mean gradient."""
    from deep import _smoothout_studies as studies

    class Half(smoothout.SmoothOut):
        def __init__(self, *arguments, strength, **options):
            super().__init__(*arguments, strength=strength / 4, **options)

    monkeypatch.setattr(studies, "SmoothOut", Half)
    found = smoothout_identities(
        train_size=50, widths=[6, 5], draws=400, probes=2, epochs=100, seed=1, strength=0.5
    )
    assert float(abs(found.gradient_deviation).max()) > 5.6


# --- mistakes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"method": "smooth"}, "method must be one of smoothout, .*, got 'smooth'"),
        ({"optimizer": "rmsprop"}, "optimizer must be one of sgd, adam, got 'rmsprop'"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"batch_size": 0}, "batch_size must be"),
        ({"micro_batches": 0}, "micro_batches must be"),
        ({"epochs": 0}, "epochs must be"),
        ({"strengths": [0.1, -0.1]}, "strengths must"),
        ({"strengths": 0.1}, "strengths must"),
        ({"strengths": [np.nan]}, "strengths has NaN"),
        ({"label_noise": 1.5}, "probability"),
        ({"train_size": 1797}, "train_size"),
        ({"sharpness": True, "epsilons": [0.0]}, "epsilons must"),
        ({"sharpness": True, "noises": [-0.1]}, "noises must"),
        ({"sharpness": True, "directions": 0}, "directions must"),
        ({"sharpness": True, "draws": 1}, "draws must"),
        ({"sharpness": True, "probes": 1}, "probes must"),
        ({"method": "sam", "micro_batches": 2}, "micro_batches must be 1 for SAM"),
    ],
)
def test_mistakes_are_told(wrong, message):
    with pytest.raises(ValueError, match=message):
        generalization(**{**SMALL, **wrong})


@pytest.mark.parametrize("name", ["draws", "coordinates", "probes"])
def test_mistakes_about_identities_are_told(name):
    with pytest.raises(ValueError, match=f"{name} must"):
        smoothout_identities(train_size=20, widths=[3, 3], epochs=1, **{"draws": 2, name: 1})


def test_scales_must_be_a_row_of_positive_numbers():
    for wrong in (0.1, [0.0]):
        with pytest.raises(ValueError, match="scale"):
            smoothout_identities(
                train_size=20, widths=[3, 3], epochs=1, draws=2, probes=2, scales=wrong
            )
