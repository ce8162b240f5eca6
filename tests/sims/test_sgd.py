import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from stat_asserts import assert_counts, assert_distribution

from sims import streams
from sims.sgd import next_batch, train
from theory.noise_scale import SAMPLERS

MODELS = ("linear", "logistic", "softmax", "relu")
CLASSIFIERS = MODELS[1:]
NOTHING = 1e-300  # a learning rate that leaves float64 weights as they are

# --- the models and SGD by the book -------------------------------------------------------------


def layer_sizes(model, d=3, hidden=4, classes=3):
    if model == "relu":
        return d, hidden, classes
    return d, classes if model == "softmax" else 1


def n_weights(sizes):
    return sum((inputs + 1) * outputs for inputs, outputs in itertools.pairwise(sizes))


def scores(w, X, sizes):
    """Outputs of layers with ReLUs between them; of each the weights come first, then biases."""
    units = X
    for depth, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        if depth > 0:
            units = np.where(units.real > 0, units, 0)
        W, b, w = np.split(w, [inputs * outputs, (inputs + 1) * outputs])
        units = units @ W.reshape(inputs, outputs) + b
    return units


def mean_loss(model, w, X, y, sizes):
    z = scores(w, X, sizes)
    if model == "linear":
        return np.mean(0.5 * (z[:, 0] - y) ** 2)
    if model == "logistic":
        z = np.column_stack([0 * z, z])
    return np.mean(np.log(np.sum(np.exp(z), axis=1)) - z[np.arange(len(y)), y])


def slope(model, w, X, y, sizes):
    """The gradient by complex steps, exact to rounding: nothing differentiated by hand."""
    steps = 1e-30j * np.eye(len(w))
    return np.array([mean_loss(model, w + step, X, y, sizes).imag for step in steps]) / 1e-30


def descend(model, w, X, y, sizes, batches, *, rate, momentum=0.0, decay=0.0):
    """Weights after every step of heavy-ball SGD."""
    v, out = np.zeros_like(w), []
    for batch in batches:
        v = momentum * v + slope(model, w, X[batch], y[batch], sizes) + decay * w
        w = w - rate * v
        out.append(w)
    return out


def replayed_batches(state, sampler, N, B, steps):
    order, batch, out = np.arange(N), np.empty(B, np.int64), []
    for step in range(steps):
        next_batch(state, SAMPLERS.index(sampler), order, step, batch)
        out.append(batch.copy())
    return out


def glorot(state, sizes):
    """A ReLU network's first weights, from its stream."""
    layers = []
    for inputs, outputs in itertools.pairwise(sizes):
        draws = np.array([streams.uniform(state) for _ in range(inputs * outputs)])
        layers += [np.sqrt(6 / (inputs + outputs)) * (2 * draws - 1), np.zeros(outputs)]
    return np.concatenate(layers)


def problem(model, N=23, d=3, classes=3, seed=0):
    """Data with every class, and the arguments that the model asks for."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(N, d))
    if model == "linear":
        y = rng.normal(size=N)
    else:
        y = rng.integers(2 if model == "logistic" else classes, size=N)
        y[0] = y.max() if model == "logistic" else classes - 1
    return X, y, {"hidden": 4} if model == "relu" else {}


# --- updates ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("model", MODELS)
def test_runs_are_those_of_plain_sgd_on_the_same_batches(model, sampler):
    X, y, options = problem(model)
    sizes, batch_sizes = layer_sizes(model), [1, 2, 3, 5, 8, 23]
    runs = train(
        model,
        X,
        y,
        learning_rate=0.3,
        batch_size=batch_sizes,
        updates=9,
        momentum=0.7,
        weight_decay=0.03,
        sampler=sampler,
        look_at=(1 / 3, 1),
        dtype=np.float64,
        rng=5,
        **options,
    )
    assert runs.updates.tolist() == [[3, 9]] * 6
    for r, (B, state) in enumerate(zip(batch_sizes, streams.states(5, 6), strict=True)):
        start = glorot(state, sizes) if model == "relu" else np.zeros(n_weights(sizes))
        batches = replayed_batches(state, sampler, 23, B, 9)
        path = descend(model, start, X, y, sizes, batches, rate=0.3, momentum=0.7, decay=0.03)
        np.testing.assert_allclose(runs.weights[r], path[-1], rtol=1e-9, atol=1e-12)
        losses = [mean_loss(model, path[t], X, y, sizes) for t in (2, 8)]
        np.testing.assert_allclose(runs.train_loss[r], losses, rtol=1e-9)


@pytest.mark.parametrize("model", MODELS)
def test_runs_are_those_of_torch(model):
    torch = pytest.importorskip("torch")
    X, y, options = problem(model, seed=1)
    sizes = layer_sizes(model)
    start = np.random.default_rng(2).normal(size=n_weights(sizes))
    runs = train(
        model,
        X,
        y,
        learning_rate=0.2,
        batch_size=6,
        updates=12,
        momentum=0.9,
        weight_decay=0.05,
        initial=start,
        dtype=np.float64,
        rng=3,
        **options,
    )
    w = torch.tensor(start, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.2, momentum=0.9, weight_decay=0.05)
    losses = {
        "linear": lambda z, y: 0.5 * torch.nn.functional.mse_loss(z[:, 0], y),
        "logistic": lambda z, y: torch.nn.functional.binary_cross_entropy_with_logits(
            z[:, 0], y.double()
        ),
    }
    loss = losses.get(model, torch.nn.functional.cross_entropy)
    for batch in replayed_batches(streams.states(3, 1)[0], "without_replacement", 23, 6, 12):
        units, start_of_layer = torch.tensor(X[batch]), 0
        for depth, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
            units = torch.relu(units) if depth else units
            W, b = torch.split(
                w[start_of_layer : start_of_layer + (inputs + 1) * outputs],
                [inputs * outputs, outputs],
            )
            units = units @ W.reshape(inputs, outputs) + b
            start_of_layer += (inputs + 1) * outputs
        optimizer.zero_grad()
        loss(units, torch.tensor(y[batch])).backward()
        optimizer.step()
    np.testing.assert_allclose(runs.weights, w.detach().numpy(), rtol=1e-10, atol=1e-12)


@given(
    model=st.sampled_from(MODELS),
    N=st.integers(1, 37),
    d=st.integers(1, 19),
    classes=st.integers(2, 5),
    seed=st.integers(0, 999),
)
def test_full_batch_steps_of_any_size_follow_the_gradient(model, N, d, classes, seed):
    X, y, options = problem(model, N, d, classes, seed)
    sizes = layer_sizes(model, d, 4, classes)
    start = np.random.default_rng(seed).normal(size=n_weights(sizes))
    run = train(
        model,
        X,
        y,
        learning_rate=1.0,
        batch_size=N,
        updates=2,
        initial=start,
        dtype=np.float64,
        **options,
    )
    path = descend(model, start, X, y, sizes, [np.arange(N)] * 2, rate=1.0)
    np.testing.assert_allclose(run.weights, path[-1], rtol=1e-8, atol=1e-9)


def test_momentum_and_decay_by_hand():
    def bias_after(updates, **options):
        run = train(
            "linear",
            [[0.0]],
            [1.0],
            batch_size=1,
            updates=updates,
            dtype=np.float64,
            **options,
        )
        return run.weights

    momentum = bias_after([1, 2, 3], learning_rate=0.5, momentum=0.5)
    assert momentum[:, 1].tolist() == [0.5, 1.0, 1.25]
    decay = bias_after([1, 2], learning_rate=0.25, weight_decay=1.0, initial=[4.0, 0.0])
    assert decay.tolist() == [[3.0, 0.25], [2.25, 0.375]]


@pytest.mark.parametrize("model", ["linear", "logistic", "softmax"])
def test_full_batches_converge_to_the_optimum(model):
    X, y, options = problem(model, 40)
    sizes = layer_sizes(model)
    run = train(
        model,
        X,
        y,
        learning_rate=0.5,
        batch_size=40,
        updates=2000,
        momentum=0.5,
        weight_decay=0.1,
        dtype=np.float64,
        **options,
    )
    if model == "linear":
        design = np.column_stack([X, np.ones(40)])
        optimum = np.linalg.solve(design.T @ design / 40 + 0.1 * np.eye(4), design.T @ y / 40)
    else:
        optimum = minimize(
            lambda w: mean_loss(model, w, X, y, sizes) + 0.05 * w @ w,
            np.zeros(n_weights(sizes)),
            jac=lambda w: slope(model, w, X, y, sizes) + 0.1 * w,
            options={"gtol": 1e-10},
        ).x
    np.testing.assert_allclose(run.weights, optimum, atol=1e-8)


# --- samplers -----------------------------------------------------------------------------------
# Linear regression on the unit matrix tells by its weights which examples it has seen, as long as
# the learning rate is small.


def times_seen(N, B, updates, sampler, runs, rng=0):
    """How often each of ``runs`` runs (runs, N) has drawn each example."""
    rate = 1e-7
    found = train(
        "linear",
        np.eye(N),
        np.ones(N),
        learning_rate=np.full(runs, rate),
        batch_size=B,
        updates=updates,
        sampler=sampler,
        dtype=np.float64,
        rng=rng,
    ).weights[:, :N]
    counts = np.rint(found * B / rate)
    np.testing.assert_allclose(found * B / rate, counts, atol=1e-4)
    return counts.astype(int)


def pattern_counts(seen, patterns):
    """How many runs have each of the patterns, which are all that can be."""
    codes = {pattern: k for k, pattern in enumerate(patterns)}
    return np.bincount([codes[tuple(row)] for row in seen.tolist()], minlength=len(patterns))


def subsets(N, B):
    return [
        tuple(int(i in chosen) for i in range(N)) for chosen in itertools.combinations(range(N), B)
    ]


def test_batches_with_replacement_are_independent_uniform_draws():
    # n = 20000 batches of 3 of 4 examples, whose counts are multinomial.
    seen = times_seen(4, 3, 1, "with_replacement", 20_000)
    draws = np.array(list(itertools.product(range(4), repeat=3)))
    every = [tuple(np.bincount(draw, minlength=4)) for draw in draws]
    patterns = sorted(set(every))
    probabilities = [every.count(pattern) / 64 for pattern in patterns]
    counts = pattern_counts(seen, patterns)
    assert_counts(counts, probabilities)
    with pytest.raises(AssertionError, match="chi-square"):
        assert_counts(counts, np.full(len(patterns), 1 / len(patterns)))


def test_batches_without_replacement_are_uniform_subsets_independent_of_the_last():
    # n = 20000 pairs of successive batches, of 2 of 4 examples.
    one, two = (times_seen(4, 2, updates, "without_replacement", 20_000) for updates in (1, 2))
    pairs = list(itertools.product(subsets(4, 2), repeat=2))
    counts = pattern_counts(np.hstack([one, two - one]), [a + b for a, b in pairs])
    assert_counts(counts, np.full(36, 1 / 36))
    overlapping = np.array([1 + (a == b) for a, b in pairs]) / 42
    with pytest.raises(AssertionError, match="chi-square"):
        assert_counts(counts, overlapping)


def test_an_epoch_visits_each_example_once_and_drops_the_rest():
    # n = 20000 runs of two epochs, each of two batches of 2 of 5 examples.
    after = [times_seen(5, 2, updates, "shuffle", 20_000) for updates in (1, 2, 4)]
    first, second = after[0], after[1] - after[0]
    assert set(np.unique(after[1])) == {0, 1}
    assert np.all(after[1].sum(1) == 4)
    patterns = [
        a + b
        for a, b in itertools.product(subsets(5, 2), repeat=2)
        if not any(np.multiply(a, b).tolist())
    ]
    assert_counts(pattern_counts(np.hstack([first, second]), patterns), np.full(30, 1 / 30))
    dropped, dropped_next = (np.argmin(seen, 1) for seen in (after[1], after[2] - after[1]))
    assert np.all((after[2] - after[1]).sum(1) == 4)
    counts = np.bincount(5 * dropped + dropped_next, minlength=25)
    assert_counts(counts, np.full(25, 1 / 25))
    with pytest.raises(AssertionError, match="chi-square"):  # if the epochs were to drop in turn
        assert_counts(counts, (1 + 0.25 * (1 - np.eye(5).ravel())) / 30)


@given(
    N=st.integers(1, 30),
    B=st.integers(1, 30),
    updates=st.integers(1, 7),
    sampler=st.sampled_from(SAMPLERS),
    seed=st.integers(0, 99),
)
def test_any_batch_has_its_size_and_no_sampler_but_one_repeats_within_it(
    N, B, updates, sampler, seed
):
    B = min(B, N)
    seen = times_seen(N, B, updates, sampler, 3, seed)
    assert np.all(seen.sum(1) == B * updates)
    if sampler != "with_replacement":
        assert seen.max() <= updates
    if sampler == "shuffle":
        assert seen.max() <= -(-updates // (N // B))


# --- what a run starts from ---------------------------------------------------------------------


def test_relu_networks_start_from_glorots_uniform_weights_of_their_own():
    X, y, _ = problem("relu")
    # n = 15000 and 20000 weights: limits that differ by a twentieth are told apart.
    runs = train(
        "relu",
        X,
        y,
        hidden=50,
        learning_rate=np.full(100, NOTHING),
        batch_size=1,
        updates=1,
        dtype=np.float64,
        rng=0,
    ).weights
    first, first_bias, second, second_bias = np.split(runs, [150, 200, 350], axis=1)
    np.testing.assert_allclose(np.hstack([first_bias, second_bias]), 0, atol=1e-290)
    for weights in (first, second):
        limit = np.sqrt(6 / 53)
        assert np.abs(weights).max() <= limit

        def cdf(w, limit=limit):
            return np.clip(0.5 + 0.5 * w / limit, 0, 1)

        assert_distribution(weights.ravel(), cdf)
        with pytest.raises(AssertionError, match="detectable"):
            assert_distribution(weights.ravel(), lambda w: cdf(w, np.sqrt(6 / 43)))


@pytest.mark.parametrize("model", ["linear", "logistic", "softmax"])
def test_other_models_start_from_zero(model):
    X, y, _ = problem(model)
    run = train(
        model, X, y, learning_rate=NOTHING, batch_size=1, updates=1, dtype=np.float64, rng=0
    )
    np.testing.assert_allclose(run.weights, 0, atol=1e-290)
    if model != "linear":
        assert run.train_loss[0] == pytest.approx(np.log(3 if model == "softmax" else 2))


# --- evaluation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [1, 256, 700])
@pytest.mark.parametrize("model", MODELS)
def test_the_measures_are_those_of_scikit_learn(model, rows):
    X, y, options = problem(model, 23)
    X_test, y_test, _ = problem(model, rows, seed=9)
    run = train(
        model,
        X,
        y,
        learning_rate=0.3,
        batch_size=5,
        updates=40,
        test=(X_test, y_test),
        dtype=np.float64,
        rng=1,
        **options,
    )
    sizes = layer_sizes(model)
    sets = ((X, y, run.train_loss, run.train_accuracy), (X_test, y_test, *run[3:5]))
    for features, targets, loss, accuracy in sets:
        z = scores(run.weights, features, sizes)
        if model == "linear":
            assert loss[0] == pytest.approx(0.5 * mean_squared_error(targets, z[:, 0]))
            assert np.isnan(accuracy[0])
            continue
        z = np.column_stack([0 * z, z]) if model == "logistic" else z
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        expected = log_loss(targets, p, labels=np.arange(z.shape[1]))
        assert loss[0] == pytest.approx(expected, rel=1e-9)
        assert accuracy[0] == accuracy_score(targets, z.argmax(1))


@pytest.mark.parametrize("model", CLASSIFIERS)
def test_losses_of_far_too_certain_models_are_finite(model):
    X, y, options = problem(model)
    sizes = layer_sizes(model)
    start = 1e4 * np.random.default_rng(0).normal(size=n_weights(sizes))
    run = train(
        model,
        X,
        y,
        learning_rate=NOTHING,
        batch_size=23,
        updates=1,
        initial=start,
        dtype=np.float64,
        **options,
    )
    z = scores(start, X, sizes)
    z = np.column_stack([0 * z, z]) if model == "logistic" else z
    expected = np.mean(np.logaddexp.reduce(z, axis=1) - z[np.arange(23), y])
    assert run.train_loss[0] == pytest.approx(expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model", MODELS)
def test_a_run_that_diverges_has_infinite_losses(model, dtype):
    X, y, options = problem(model)
    run = train(
        model,
        X,
        y,
        learning_rate=1.0,
        batch_size=[1, 4, 23],
        updates=400,
        weight_decay=1e3,
        test=(X, y),
        look_at=np.arange(1, 401) / 400,
        dtype=dtype,
        rng=0,
        **options,
    )
    for loss in (run.train_loss, run.test_loss):
        assert not np.any(np.isnan(loss))
        assert np.all(np.isfinite(loss[:, 0]))
        assert np.all(np.isinf(loss[:, -1]))


def test_a_run_is_looked_at_on_its_way():
    X, y, _ = problem("logistic")
    settings = {"learning_rate": 0.4, "batch_size": 3, "momentum": 0.5, "rng": 4}
    settings |= {"dtype": np.float64, "test": (X[::2], y[::2])}
    looks = (0.001, 0.04, 0.26, 0.5, 1.0)
    run = train("logistic", X, y, updates=[[50], [10]], look_at=looks, **settings)
    assert run.updates.tolist() == [[[1, 2, 13, 25, 50]], [[1, 1, 3, 5, 10]]]
    assert run.train_loss.shape == run.test_accuracy.shape == (2, 1, 5)
    for measure in run[1:5]:  # two looks after the same update
        assert measure[1, 0, 0] == measure[1, 0, 1]
        assert np.all(np.isfinite(measure))
    for k, updates in enumerate(run.updates[0, 0]):
        shorter = train("logistic", X, y, updates=updates, **settings)
        for name in ("train_loss", "train_accuracy", "test_loss", "test_accuracy"):
            assert getattr(run, name)[0, 0, k] == getattr(shorter, name)[0]


# --- the grid -----------------------------------------------------------------------------------


def test_settings_broadcast_and_each_cell_is_a_run_of_its_own():
    X, y, _ = problem("logistic")
    axes = {
        "learning_rate": np.array([0.1, 0.5])[:, None, None],
        "momentum": np.array([0.0, 0.9])[:, None],
        "weight_decay": np.array([0.0, 0.1, 0.2]),
    }
    settings = {"batch_size": 23, "dtype": np.float64}  # full batches: nothing is random
    runs = train("logistic", X, y, updates=7, **axes, **settings)
    assert runs.weights.shape == (2, 2, 3, 4)
    assert runs.train_loss.shape == runs.updates.shape == (2, 2, 3, 1)
    assert runs.test_loss is None
    assert runs.test_accuracy is None
    broadcast = np.broadcast_arrays(*axes.values())
    for cell in np.ndindex(2, 2, 3):
        one = {name: values[cell] for name, values in zip(axes, broadcast, strict=True)}
        alone = train("logistic", X, y, updates=7, **one, **settings)
        assert np.array_equal(runs.weights[cell], alone.weights)
        assert np.array_equal(runs.train_loss[cell], alone.train_loss)


def test_runs_of_a_grid_are_independent():
    X, y, _ = problem("logistic")
    settings = {"batch_size": 2, "updates": 5, "rng": 8}
    runs = train("logistic", X, y, learning_rate=[0.1] * 20, **settings)
    assert len(np.unique(runs.weights, axis=0)) == 20
    alone = train("logistic", X, y, learning_rate=0.1, **settings)
    assert np.array_equal(alone.weights, runs.weights[0])


@pytest.mark.parametrize("model", MODELS)
def test_a_smaller_training_set_is_the_first_examples(model):
    X, y, options = problem(model)
    y[5] = y.max()  # every class among the first ten
    settings = {"learning_rate": 0.3, "batch_size": 4, "updates": 20, "rng": 6, "test": (X, y)}
    settings |= options | {"dtype": np.float64}
    part = train(model, X, y, train_size=10, **settings)
    alone = train(model, X[:10], y[:10], **settings)
    for ours, theirs in zip(part, alone, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    whole = train(model, X, y, train_size=[10, 23], **settings)
    np.testing.assert_array_equal(whole.train_loss[0], part.train_loss)
    assert whole.train_loss[1] != part.train_loss


@pytest.mark.parametrize("model", MODELS)
def test_the_number_of_threads_changes_no_bit(model):
    X, y, options = problem(model)
    first, *others = (
        train(
            model,
            X,
            y,
            learning_rate=[[0.1], [0.4]],
            batch_size=[1, 2, 3, 4, 5, 6, 23],
            updates=np.arange(3, 10),
            test=(X, y),
            look_at=(0.5, 1.0),
            dtype=np.float64,
            rng=2,
            threads=threads,
            **options,
        )
        for threads in (1, 2, 3)
    )
    for other in others:
        for ours, theirs in zip(first, other, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("model", MODELS)
def test_single_precision_is_close_to_double(model):
    X, y, options = problem(model)
    single, double = (
        train(
            model,
            X,
            y,
            learning_rate=0.2,
            batch_size=[1, 6, 23],
            updates=50,
            momentum=0.5,
            dtype=dtype,
            rng=0,
            **options,
        )
        for dtype in (np.float32, np.float64)
    )
    assert single.weights.dtype == np.float32
    np.testing.assert_allclose(single.weights, double.weights, atol=1e-4)
    np.testing.assert_allclose(single.train_loss, double.train_loss, rtol=1e-4)


def test_a_seed_determines_every_bit():
    X, y, _ = problem("linear")

    def weights(rng):
        settings = {"learning_rate": 0.1, "batch_size": 2, "updates": 5, "dtype": np.float64}
        return train("linear", X, y, rng=rng, **settings).weights.tobytes()

    makers = (int, np.random.SeedSequence, np.random.default_rng)
    assert len({weights(maker(5)) for maker in makers for _ in range(2)}) == 1
    assert len({weights(seed) for seed in [*range(10), *[None] * 10]}) == 20
    generator = np.random.default_rng(5)
    assert weights(generator) != weights(generator)


def test_arguments_are_left_as_they_are():
    X, y, _ = problem("linear")
    start = np.ones(4)
    copies = X.copy(), y.copy(), start.copy()
    train(
        "linear",
        X,
        y,
        learning_rate=0.1,
        batch_size=2,
        updates=5,
        initial=start,
        dtype=np.float64,
        rng=0,
    )
    for ours, theirs in zip((X, y, start), copies, strict=True):
        assert np.array_equal(ours, theirs)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": "cubic"}, "model is 'cubic'; it must be one of linear, logistic, softmax, relu"),
        ({"sampler": "sobol"}, "sampler is 'sobol'; it must be one of with_replacement"),
        ({"dtype": np.int64}, "dtype must be float32 or float64, not int64"),
        ({"batch_size": 5}, "batch_size is 5, more than the 4 training examples"),
        ({"batch_size": [1, 3], "train_size": 2}, "batch_size is 3, more than the 2 training"),
        ({"batch_size": 0}, "batch_size must hold positive integers, got 0"),
        ({"batch_size": [4, 2.5]}, r"batch_size must hold positive integers, got 2\.5"),
        ({"batch_size": [1, 2.5]}, r"batch_size must hold positive integers, got 2\.5"),
        ({"updates": 0}, "updates must hold positive integers, got 0"),
        ({"updates": np.inf}, "updates has NaN or infinite values"),
        ({"train_size": 0}, "train_size must hold positive integers, got 0"),
        ({"train_size": 5}, "train_size is 5, but X has 4 rows"),
        ({"learning_rate": 0.0}, "learning_rate must be positive, got 0"),
        ({"learning_rate": [0.1, -0.1]}, r"learning_rate must be positive, got -0\.1"),
        ({"learning_rate": np.nan}, "learning_rate has NaN"),
        ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1"),
        ({"momentum": -0.1}, r"momentum must be in \[0, 1\), got -0\.1"),
        ({"weight_decay": -1.0}, "weight_decay must not be negative, got -1"),
        ({"hidden": 3}, "the logistic model has no hidden units"),
        ({"model": "relu"}, "the relu model needs hidden"),
        ({"model": "relu", "hidden": 0}, "hidden must be an integer of at least 1, got 0"),
        ({"model": "relu", "hidden": 2.5}, r"hidden must be an integer of at least 1, got 2\.5"),
        ({"initial": [0.0, 0.0]}, "initial has 2 entries, not 3"),
        ({"initial": [0.0, np.nan, 0.0]}, "initial has NaN"),
        ({"look_at": (0.0, 1.0)}, r"look_at must increase within \(0, 1\]"),
        ({"look_at": (0.5, 1.5)}, "look_at must increase"),
        ({"look_at": (0.5, 0.5)}, "look_at must increase"),
        ({"look_at": ()}, "look_at is empty"),
        ({"threads": 0}, "threads must be an integer of at least 1, got 0"),
        ({"X": [0.0, 1.0, 2.0, 3.0]}, "X must have 2 dimensions"),
        ({"X": np.full((4, 2), np.nan)}, "X has NaN"),
        ({"y": [0, 1, 1]}, "X has 4 rows but y 3 entries"),
        ({"y": [0, 1, 2, 1]}, "y must hold labels 0 and 1, got 2"),
        ({"y": [0, 1, -1, 1]}, "y must hold labels 0, 1"),
        ({"y": [0, 1, 0.5, 1]}, "y must hold labels 0, 1"),
        ({"y": [0, 1, np.nan, 1]}, "y has NaN"),
        ({"y": ["a", "b", "a", "b"]}, "y must be an array of numbers"),
        ({"y": [0, 1j, 0, 1]}, "y must be an array of numbers: it is complex"),
        ({"model": "softmax", "y": [0, 0, 0, 0]}, "y must hold at least two classes, got only 0"),
        ({"model": "softmax", "y": [0, 1, 0.5, 1]}, "y must hold labels 0, 1, … for the softmax"),
        ({"test": ([[1.0]], [0])}, "X has 2 columns but test X has 1"),
        ({"test": ([[1.0, 1.0]], [0, 1])}, "test X has 1 rows but test y 2 entries"),
        ({"test": ([[1.0, 1.0]], [2])}, "test y must hold labels 0 and 1, got 2"),
        ({"model": "softmax", "test": ([[1.0, 1.0]], [2])}, "test y holds label 2; y has none abo"),
        ({"test": ([[1.0, np.inf]], [1])}, "test X"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    X = np.arange(8.0).reshape(4, 2)
    settings = {"model": "logistic", "X": X, "y": [0, 1, 0, 1], "learning_rate": 0.1}
    settings |= {"batch_size": 2, "updates": 3} | options
    model, X, y = (settings.pop(name) for name in ("model", "X", "y"))
    with pytest.raises(ValueError, match=message):
        train(model, X, y, **settings)


def test_settings_that_do_not_broadcast_are_refused():
    with pytest.raises(ValueError, match="broadcast"):
        train("linear", [[0.0]], [0.0], learning_rate=[1, 2], batch_size=[1, 1, 1], updates=1)
