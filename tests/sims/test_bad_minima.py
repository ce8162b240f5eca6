"""A network by the book, decision maps whose measures are known, and the toy in small."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from stat_asserts import assert_distribution

from sims import streams
from sims.bad_minima import STUDIES, TwoLayerNetwork, boundary
from sims.sgd import next_batch

NETWORK = TwoLayerNetwork(hidden=12)
SHUFFLE = 2


# --- the network by the book ----------------------------------------------------------------------


def split(network, w):
    d, h = network.inputs, network.hidden
    parts = np.split(w, np.cumsum([d * h, h, h * h, h, h]))
    return parts[0].reshape(d, h), parts[1], parts[2].reshape(h, h), *parts[3:]


def book_logits(network, w, X):
    W1, b1, W2, b2, w3, b3 = split(network, w)
    low = np.maximum(X @ W1 + b1, 0)
    return np.maximum(low @ W2 + b2, 0) @ w3 + b3[0]


def book_gradient(network, w, X, y):
    W1, b1, W2, b2, w3, b3 = split(network, w)
    low = np.maximum(X @ W1 + b1, 0)
    high = np.maximum(low @ W2 + b2, 0)
    slope = expit(high @ w3 + b3[0]) - y
    back = np.outer(slope, w3) * (high > 0)
    first = (back @ W2.T) * (low > 0)
    parts = (X.T @ first, first.sum(0), low.T @ back, back.sum(0), high.T @ slope, [slope.sum()])
    return np.concatenate([np.ravel(part) for part in parts])


def book_loss(network, w, X, y):
    z = book_logits(network, w, X)
    return np.sum(np.logaddexp(0, z) - y * z)


def examples(n, seed=0, d=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.integers(0, 2, n)


@streams.jit
def replay(state, order, batches):
    for t in range(len(batches)):
        next_batch(state, SHUFFLE, order, t, batches[t])


def book_training(network, w, X, y, state, *, epochs, rate, B, m=0.0, decay=0.0, mean=False,
                  judged=None, patience=np.inf, drop=0.3):  # fmt: skip
    batches = np.empty((epochs * (len(X) // B), B), np.int64)
    replay(state, np.arange(len(X)), batches)
    velocity, best, since, fit = 0.0, -1, 0, np.inf
    w = w.copy()
    for epoch in range(1, epochs + 1):
        for batch in batches[(epoch - 1) * (len(X) // B) :][: len(X) // B]:
            gradient = book_gradient(network, w, X[batch], y[batch]) / (B if mean else 1)
            velocity = m * velocity + gradient + decay * w
            w -= rate * velocity
        right = np.sum((book_logits(network, w, X[:judged]) > 0) == y[:judged])
        since += 1
        if right > best:
            best, since = right, 0
        elif since == patience:
            rate, since = rate * drop, 0
        if right == len(X[:judged]):
            fit = min(fit, epoch)
    return w, right / len(X[:judged]), fit


@pytest.mark.parametrize(
    ("network", "n"), [(NETWORK, 1), (NETWORK, 10), (NETWORK, 37), (TwoLayerNetwork(3, 5), 14)]
)
def test_logits_and_gradients_are_those_of_the_book(network, n):
    X, y = examples(n, d=network.inputs)
    w = 2 * network.draw(np.random.default_rng(1))
    np.testing.assert_allclose(
        network.logits(w, X, dtype=float), book_logits(network, w, X), rtol=1e-12, atol=1e-13
    )
    found, expected = network.gradient(w, X, y), book_gradient(network, w, X, y)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def test_float32_is_near():
    X, y = examples(37)
    w = 2 * NETWORK.draw(np.random.default_rng(1))
    found, expected = NETWORK.gradient(w, X, y, dtype=np.float32), book_gradient(NETWORK, w, X, y)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    logits = NETWORK.logits(w, X)
    np.testing.assert_allclose(logits, book_logits(NETWORK, w, X), rtol=0, atol=1e-5)


def test_gradient_is_that_of_finite_differences():
    X, y = examples(23)
    w, step = 2 * NETWORK.draw(np.random.default_rng(2)), 1e-6
    moved = w + step * np.eye(len(w)), w - step * np.eye(len(w))
    upper, lower = (np.array([book_loss(NETWORK, row, X, y) for row in rows]) for rows in moved)
    slopes = (upper - lower) / (2 * step)
    np.testing.assert_allclose(NETWORK.gradient(w, X, y), slopes, rtol=0, atol=1e-7)


def test_layers_make_the_network():
    w = NETWORK.draw(np.random.default_rng(3))
    X, _ = examples(5)
    matrices, biases = NETWORK.layers(w)
    units = X
    for matrix, bias in zip(matrices, biases, strict=True):
        logits = units @ matrix.T + bias
        units = np.maximum(logits, 0)
    np.testing.assert_allclose(logits[:, 0], book_logits(NETWORK, w, X), rtol=1e-13, atol=1e-14)
    assert sum(part.size for part in (*matrices, *biases)) == NETWORK.parameters == len(w)
    assert TwoLayerNetwork().parameters == 10_501


def drawn(layer):
    network = TwoLayerNetwork(hidden=100)
    matrices, biases = network.layers(network.draw(np.random.default_rng(4)))
    return np.concatenate([matrices[layer].ravel(), biases[layer]])


@pytest.mark.parametrize(("layer", "inputs"), [(0, 2), (1, 100), (2, 100)])
def test_initial_weights_are_uniform_as_pytorchs(layer, inputs):
    assert_distribution(drawn(layer), lambda w: np.clip((w * np.sqrt(inputs) + 1) / 2, 0, 1))


def test_initial_weights_of_another_width_are_told_apart():
    with pytest.raises(AssertionError):
        assert_distribution(drawn(1), lambda w: np.clip((w * np.sqrt(80) + 1) / 2, 0, 1))


RULES = {
    "sum": {"rate": 0.05, "B": 10},
    "mean": {"rate": 0.5, "B": 10, "mean": True},
    "left over": {"rate": 0.05, "B": 7},
    "large batches": {"rate": 0.02, "B": 23},
    "momentum": {"rate": 0.02, "B": 10, "m": 0.9},
    "weight decay": {"rate": 0.05, "B": 10, "m": 0.5, "decay": 0.1},
    "patience": {"rate": 0.05, "B": 10, "patience": 2, "drop": 0.5},
    "judged": {"rate": 0.05, "B": 10, "judged": 21},
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_training_is_that_of_the_book(rule):
    X, y = examples(60)
    w = NETWORK.draw(np.random.default_rng(5))
    options = dict(rule)
    found = NETWORK.train(
        w,
        X,
        y,
        epochs=20,
        learning_rate=options["rate"],
        batch_size=options["B"],
        reduction="mean" if options.get("mean") else "sum",
        momentum=options.get("m", 0.0),
        weight_decay=options.get("decay", 0.0),
        judged=options.get("judged"),
        patience=options.get("patience"),
        drop=options.get("drop", 0.3),
        dtype=float,
        rng=6,
    )
    state = streams.states(6, 1)[0]
    expected, accuracy, fit = book_training(NETWORK, w, X, y, state, epochs=20, **rule)
    np.testing.assert_allclose(found.weights, expected, rtol=0, atol=1e-10)
    assert np.linalg.norm(found.weights - w) > 0.1
    assert (found.accuracy, found.epochs_to_fit) == (accuracy, fit)


def test_the_epoch_of_the_fit_is_the_first_one():
    X = np.array([[-1.0, 0.0], [1.0, 0.0]] * 10)
    y = np.array([0, 1] * 10)
    w = NETWORK.draw(np.random.default_rng(7))
    state = streams.states(8, 1)[0]
    _, _, fit = book_training(NETWORK, w, X, y, state, epochs=30, rate=0.01, B=10)
    found = NETWORK.train(w, X, y, epochs=30, learning_rate=0.01, dtype=float, rng=8)
    assert 1 < fit < 30
    assert (found.accuracy, found.epochs_to_fit) == (1.0, fit)
    short = NETWORK.train(w, X, y, epochs=fit - 1, learning_rate=0.01, dtype=float, rng=8)
    assert short.epochs_to_fit == np.inf
    assert short.accuracy < 1


@settings(max_examples=5)
@given(st.integers(2, 5))
def test_threads_and_neighbours_change_no_bit(threads):
    X, y = examples(30)
    rng = np.random.default_rng(9)
    starts = np.stack([NETWORK.draw(rng) for _ in range(3)])
    options = {"epochs": 5, "learning_rate": [[0.01], [0.02]], "momentum": 0.5, "rng": 10}
    one = NETWORK.train(starts, X, y, **options)
    several = NETWORK.train(starts, X, y, **options, threads=threads)
    np.testing.assert_array_equal(one.weights, several.weights)
    assert one.weights.shape == (2, 3, NETWORK.parameters)
    first = NETWORK.train(starts[0], X, y, epochs=5, learning_rate=0.01, momentum=0.5, rng=10)
    np.testing.assert_array_equal(one.weights[0, 0], first.weights)
    assert not np.array_equal(one.weights[0], one.weights[1])


X_GOOD, Y_GOOD = examples(20)
W_GOOD = NETWORK.draw(np.random.default_rng(0))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"weights": W_GOOD[:-1]}, "weights must have 205 columns"),
        ({"weights": np.full_like(W_GOOD, np.nan)}, "weights has NaN"),
        ({"X": X_GOOD[:, :1]}, "X must have 2 columns"),
        ({"X": X_GOOD[:9]}, "X has 9 rows but y 20 entries"),
        ({"y": Y_GOOD + 1}, "y must hold labels 0 and 1"),
        ({"epochs": 0}, "epochs must be an integer of at least 1"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative"),
        ({"reduction": "max"}, "reduction is 'max'; it must be one of sum, mean"),
        ({"batch_size": 21}, "batch_size is 21, more than the 20 examples"),
        ({"judged": 21}, "judged is 21, more than the 20 examples"),
        ({"judged": 0}, "judged must be an integer"),
        ({"patience": 0}, "patience must be an integer"),
        ({"drop": 1.0}, r"drop must be in \(0, 1\)"),
        ({"dtype": np.float16}, "dtype must be float32 or float64"),
        ({"threads": 0}, "threads must be an integer"),
        ({"learning_rate": 1e30, "epochs": 20}, "learning_rate is 1e.30, .* diverge"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow")
def test_training_names_what_is_wrong(wrong, message):
    options = {"weights": W_GOOD, "X": X_GOOD, "y": Y_GOOD, "epochs": 1, "learning_rate": 0.1}
    with pytest.raises(ValueError, match=message):
        NETWORK.train(**{**options, **wrong})


def test_networks_and_their_parts_name_what_is_wrong():
    with pytest.raises(ValueError, match="hidden must be an integer"):
        TwoLayerNetwork(hidden=0)
    with pytest.raises(ValueError, match="inputs must be an integer"):
        TwoLayerNetwork(inputs=0)
    with pytest.raises(ValueError, match="weights must have 1 dimensions"):
        NETWORK.layers(np.stack([W_GOOD, W_GOOD]))
    with pytest.raises(ValueError, match="X must have 2 columns"):
        NETWORK.logits(W_GOOD, [[1.0]])


# --- decision maps --------------------------------------------------------------------------------


def plane(n=201, m=161):
    return np.meshgrid(np.linspace(-1, 1, n), np.linspace(-0.8, 0.8, m), indexing="ij")


@pytest.mark.parametrize("angle", [0.0, 0.1, 0.4])
def test_the_boundary_of_a_half_plane_is_straight(angle):
    x, y = plane()
    half = boundary(np.cos(angle) * (x - 0.123) - np.sin(angle) * y, spacing=(0.01, 0.01))
    assert half.length == pytest.approx(1.6 / np.cos(angle), rel=1e-9)
    across = 161 + round(160 * np.tan(angle))
    assert half.cells == pytest.approx(across, abs=1)
    assert half.regions == 2


@pytest.mark.parametrize("radius", [0.2, 0.55])
def test_the_boundary_of_a_disc_is_its_circle(radius):
    x, y = plane()
    disc = boundary(radius - np.hypot(x - 0.03, y + 0.02), spacing=(0.01, 0.01))
    assert disc.length == pytest.approx(2 * np.pi * radius, rel=2e-3)
    assert disc.cells == pytest.approx(8 * radius / 0.01, abs=4)
    assert disc.regions == 2


def test_length_has_the_grids_units():
    x, y = plane(101, 161)  # steps 0.02 and 0.01
    disc = boundary(0.5 - np.hypot(x, y), spacing=(0.02, 0.01))
    assert disc.length == pytest.approx(np.pi, rel=2e-3)


def test_regions_are_connected_parts_of_either_class():
    x, y = plane()
    stripes = boundary(np.sin(3 * np.pi * x + 0.5), spacing=(0.01, 0.01))
    assert stripes.regions == 7
    assert stripes.length == pytest.approx(6 * 1.6, rel=1e-6)
    islands = np.maximum(0.2 - np.hypot(x - 0.5, y), 0.1 - np.hypot(x + 0.5, y))
    assert boundary(islands).regions == 3
    ring = boundary(0.1 - np.abs(np.hypot(x, y) - 0.5))
    assert ring.regions == 3


def test_one_class_has_no_boundary():
    assert boundary(np.ones((3, 4))) == (0.0, 0, 1)
    assert boundary(np.zeros((3, 4))) == (0.0, 0, 1)


@pytest.mark.parametrize(("middle", "length"), [(0.25, "short"), (-0.25, "long")])
def test_a_saddle_is_parted_by_its_middle(middle, length):
    """The crossings of one cell's four sides are joined around the corners that lose."""
    a = 1.0 + 2 * max(middle, 0) * 2
    b = 1.0 - 2 * min(middle, 0) * 2
    values = np.array([[a, -b], [-b, a]])  # the middle is (a - b) / 2
    share = b / (a + b)  # of the side, from the corner of -b
    ends = np.hypot(share, share) if middle > 0 else np.hypot(1 - share, 1 - share)
    assert boundary(values).length == pytest.approx(2 * ends)
    assert boundary(-values).length == pytest.approx(2 * ends)
    assert boundary(values.T[::-1]).length == pytest.approx(2 * ends)


@pytest.mark.parametrize(
    ("logits", "spacing", "message"),
    [
        (np.ones(3), (1, 1), "logits must have 2 dimensions"),
        (np.ones((1, 3)), (1, 1), "logits must have two points along each axis"),
        ([[np.nan, 1], [1, 1]], (1, 1), "logits has NaN"),
        (np.ones((2, 2)), (1, 0), "spacing must be positive"),
        (np.ones((2, 2)), (1, 1, 1), "spacing must have 2 entries, got 3"),
    ],
)
def test_maps_that_are_none_are_refused(logits, spacing, message):
    with pytest.raises(ValueError, match=message):
        boundary(logits, spacing=spacing)


# --- studies --------------------------------------------------------------------------------------

TOY = {"train_size": 40, "hidden": 16, "pretraining_epochs": 2000}
SMALL = {
    "four_runs": {**TOY, "epochs": 100, "fine_tuning_epochs": 100, "grid_step": 0.1},
    "regularizers": {**TOY, "epochs": 100, "grid_step": 0.1},
    "early_regularization": {**TOY, "epochs": 100, "switches": (0, 30, 100), "grid_step": 0.1},
    "straight_lines": {**TOY, "epochs": 100, "points": 5},
    "linear_control": {"n_examples": 10, "n_features": 25, "draws": 400},
}
SIZES = {
    "four_runs": {"run": 4, "x0": 31, "x1": 21, "example": 40, "coordinate": 2},
    "regularizers": {"start": 2, "augmentation": 2, "weight_decay": 2, "momentum": 2},
    "early_regularization": {"first": 2, "switch": 3},
    "straight_lines": {"line": 3, "share": 5},
    "linear_control": {"case": 5},
}
BY_NAME = {study.__name__: study for study in STUDIES}


@pytest.fixture(scope="module")
def small():
    return {name: BY_NAME[name](**options) for name, options in SMALL.items()}


@pytest.mark.parametrize("name", BY_NAME)
def test_studies_are_functions_of_their_seed(name, small):
    found = small[name]
    assert dict(found.sizes) == SIZES[name]
    assert all("long_name" in v.attrs and "units" in v.attrs for v in found.data_vars.values())
    again = BY_NAME[name](**SMALL[name])
    assert found.identical(again)
    assert not found.identical(BY_NAME[name](**SMALL[name], seed=1))
    assert BY_NAME[name].__module__ == "sims.bad_minima"


def test_measures_are_those_of_the_map(small):
    runs = small["four_runs"]
    for name in runs.run.values:
        run = runs.sel(run=name)
        line = boundary(run.logit, spacing=(0.1, 0.1))
        assert run.boundary_length == pytest.approx(line.length, rel=1e-5)
        assert (run.boundary_cells, run.regions) == (line.cells, line.regions)
        wrong = (run.logit > 0) != (run.x0 > 0.2)
        assert run.area_error == pytest.approx(float(wrong.mean()))
        assert 0 <= run.train_accuracy <= 1


def test_points_are_two_clouds(small):
    runs = small["four_runs"]
    points, y = runs.point.values, runs.y.values
    assert np.sum(y) == 20
    for label, middle in ((1, 0.85), (0, -0.45)):
        cloud = points[y == label]
        assert np.all(np.abs(cloud.mean(axis=0) - (middle, 0.2)) < 5 * 0.15 / np.sqrt(20))
        assert np.all((cloud.std(axis=0) > 0.08) & (cloud.std(axis=0) < 0.25))
    assert set(runs.random_label.values) == {0, 1}
    assert not np.array_equal(runs.random_label, y)


def test_vanilla_sgd_stays_and_weight_decay_leaves(small):
    """The paper's statement in small: the start is undone by weight decay, not by vanilla SGD."""
    runs = small["four_runs"]
    shattered, vanilla, regularized = (
        runs.sel(run=name) for name in ("shattered", "adversarial", "regularized")
    )
    assert vanilla.train_accuracy == regularized.train_accuracy == 1
    assert vanilla.distance < 0.5 * regularized.distance
    assert vanilla.l1_path_norm > 0.5 * shattered.l1_path_norm
    assert vanilla.l1_path_norm > 2 * regularized.l1_path_norm
    assert vanilla.boundary_length > 1.2 * regularized.boundary_length
    assert vanilla.area_error > 2 * regularized.area_error


def test_ends_of_the_schedules_are_plain_runs(small):
    """Both orders are one rule where the switch is at an end; only the batches differ."""
    norms = small["early_regularization"].frobenius_norm
    early, late = norms.sel(first="regularized").values, norms.sel(first="vanilla").values
    assert early[0] == pytest.approx(late[-1], rel=0.05)
    assert early[-1] == pytest.approx(late[0], rel=0.05)
    assert early[-1] < early[1] - 0.1 < early[0] - 0.2


def test_lines_join_what_fits(small):
    lines = small["straight_lines"]
    ends = lines.isel(share=[0, -1])
    assert np.all(ends.train_accuracy == 1)
    highest = lines.train_loss.max("share") - ends.train_loss.max("share")
    np.testing.assert_allclose(lines.barrier, highest, rtol=1e-12)
    assert np.all(lines.barrier >= 0)
    np.testing.assert_allclose(ends.train_loss[0, 0], ends.train_loss[2, 0], rtol=1e-5)


def test_linear_control_has_no_effect_without_zeros(small):
    found = small["linear_control"]
    assert abs(found.risk_difference[0]) < 1e-10
    assert found.displacement[0] < 1e-10
    assert np.all(found.displacement[1:] > 0.01)
    gap = (found.risk_difference - found.predicted)[1:] / found.error[1:]
    assert np.all(np.abs(gap) < 5)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("four_runs", {"train_size": 25}, "train_size must be a multiple of 10"),
        ("four_runs", {"train_size": 0}, "train_size must be an integer of at least 10"),
        ("four_runs", {"hidden": 0}, "hidden must be an integer"),
        ("four_runs", {"pretraining_epochs": 0}, "pretraining_epochs must be an integer"),
        ("four_runs", {"epochs": 0}, "epochs must be an integer"),
        ("four_runs", {"fine_tuning_epochs": 0}, "fine_tuning_epochs must be an integer"),
        ("four_runs", {"grid_step": 0.0}, "grid_step must be positive"),
        ("four_runs", {"grid_step": 0.6}, "grid_step must be at most 0.5"),
        ("four_runs", {"weight_decay": -0.1}, "weight_decay must not be negative"),
        ("regularizers", {"epochs": 0}, "epochs must be an integer"),
        ("regularizers", {"momentum": 1.0}, r"momentum must be in \[0, 1\)"),
        ("regularizers", {"learning_rate": -1.0}, "learning_rate must be positive"),
        ("early_regularization", {"switches": (0, 101)}, "switches must be integers from 0 to 100"),
        ("early_regularization", {"switches": (0.5,)}, "switches must be integers from 0 to 100"),
        ("straight_lines", {"points": 2}, "points must be an integer of at least 3"),
        ("linear_control", {"n_features": 10}, "n_features must be an integer of at least 11"),
        ("linear_control", {"noise": -1.0}, "noise must not be negative"),
        ("linear_control", {"draws": 1}, "draws must be an integer of at least 2"),
        ("linear_control", {"cases": ((0, 0.1),)}, "replicas must be an integer"),
        ("linear_control", {"cases": ((1, 1.0),)}, r"zero_fraction must be in \[0, 1\)"),
        ("linear_control", {"cases": ((2, 0.0),)}, "at most 0.750 of the labels can be fitted"),
    ],
)
def test_studies_name_what_is_wrong(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        BY_NAME[name](**{**SMALL[name], **wrong})
