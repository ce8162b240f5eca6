import functools
import itertools

import numpy as np
import pytest
from scipy.optimize import linprog
from scipy.stats import beta, f
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression, Ridge
from stat_asserts import assert_counts, assert_distribution, assert_mean

from sims import sgd
from sims.capacity import (
    LABELS,
    LEARNERS,
    STUDIES,
    cover_curve,
    network_sizes,
    rademacher_complexity,
    randomized_training,
    stability,
)
from store import datasets
from theory.capacity import linear_rademacher, separable_probability

ALPHA = 1e-5
PIXELS = ("shuffled pixels", "random pixels", "Gaussian pixels")
SMALL = {
    rademacher_complexity: {
        "sizes": (4, 9, 14),
        "draws": 50,
        "linear_fits": 2,
        "hidden": 20,
        "updates": 60,
    },
    cover_curve: {"n_features": (1, 3), "ratios": (1.0, 2.0, 3.0), "draws": 40},
    stability: {"train_size": 30, "replacements": 8, "test_size": 20, "regularization": 0.5},
    randomized_training: {
        "train_size": 150,
        "test_size": 40,
        "corruptions": (0.3,),
        "hidden": 10,
        "epochs": 3,
    },
    network_sizes: {"n": 1000},
}
DIMENSIONS = {
    rademacher_complexity: dict.fromkeys(("ball", "ball_error", "ball_lower", "ball_upper"), ("n",))
    | {"correlation": ("learner", "n")},
    cover_curve: dict.fromkeys(("n", "separable", "probability"), ("n_features", "ratio")),
    stability: dict.fromkeys(
        ("output_change", "loss_change", "train_accuracy", "test_accuracy", "gap"), ("labels",)
    )
    | {"loss_change_bound": ()},
    randomized_training: dict.fromkeys(
        ("train_loss", "train_accuracy", "test_accuracy", "wrong_fitted"), ("condition", "epoch")
    )
    | dict.fromkeys(("wrong_labels", "epochs_to_target"), ("condition",)),
    network_sizes: dict.fromkeys(
        ("n_parameters", "vc_dimension", "vc_bound", "surplus"), ("network",)
    ),
}


def study_id(value):
    return getattr(value, "__name__", None)


@functools.cache
def small(study, seed=0):
    return study(**SMALL[study], seed=seed)


def drawn(seed, *sizes):
    """The digits that a seed draws: standardized images and labels of each set, and the rng."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    order = rng.permutation(1797)
    ends = np.cumsum((0, *sizes))
    sets = []
    for start, end in itertools.pairwise(ends):
        X = digits.data[order[start:end]]
        X = (X - X.mean(1, keepdims=True)) / X.std(1, keepdims=True)
        sets.append((X, digits.target[order[start:end]]))
    return sets, rng


@pytest.fixture
def recorded(monkeypatch):
    """What the studies hand to sims.sgd.train, and what they get back."""
    calls = []
    train = sgd.train

    def record(model, X, y, **options):
        run = train(model, X, y, **options)
        calls.append((X, y, options, run))
        return run

    monkeypatch.setattr(sgd, "train", record)
    return calls


# --- every study ----------------------------------------------------------------------------------


@pytest.mark.parametrize("study", STUDIES, ids=study_id)
def test_a_study_returns_what_it_says(study):
    found = small(study)
    assert {name: values.dims for name, values in found.items()} == DIMENSIONS[study]
    for name, values in found.items():
        assert set(values.attrs) == {"long_name", "units"}
        if name not in ("wrong_fitted", "epochs_to_target"):
            assert np.all(np.isfinite(values)), name


@pytest.mark.parametrize("study", STUDIES, ids=study_id)
def test_a_seed_determines_every_bit_of_a_study(study):
    assert study(**SMALL[study], seed=0).identical(small(study))
    other = small(study, 1)
    changed = {name for name in other if not other[name].identical(small(study)[name])}
    fixed = {"n", "probability", "ball_lower", "ball_upper", "loss_change_bound"}
    fixed |= set(DIMENSIONS[network_sizes])
    coarse = {"correlation", "epochs_to_target", "train_accuracy"}  # a few values each
    assert changed >= set(DIMENSIONS[study]) - fixed - coarse


@pytest.mark.parametrize("study", [rademacher_complexity, stability, randomized_training])
def test_a_study_reads_other_data_sets_from_their_folder(study, tmp_path):
    with pytest.raises(ValueError, match="directory must be given: 'mnist'"):
        study(**SMALL[study], dataset="mnist")
    with pytest.raises(FileNotFoundError, match="no data set that is known"):
        study(**SMALL[study], dataset="mnist", data_dir=str(tmp_path))


# --- random labels --------------------------------------------------------------------------------


def test_the_balls_complexity_is_that_of_all_signs():
    seeds = range(30)  # n = 30 seeds
    errors, ratios, to_upper = [], [], []
    for seed in seeds:
        found = small(rademacher_complexity, seed).sel(n=14)
        [(X, _)], _ = drawn(seed, 14)
        exact = linear_rademacher(X, radius=1 / 8)  # a standardized image of 64 pixels has length 8
        errors.append(float(found.ball) - exact)
        ratios.append(float(found.ball_error))
        to_upper.append(float(found.ball - found.ball_upper))
        assert float(found.ball_lower) <= exact <= float(found.ball_upper)
    assert_mean(errors, 0.0)
    with pytest.raises(AssertionError):
        assert_mean(to_upper, 0.0)
    ratio = np.var(errors, ddof=1) / np.mean(np.square(ratios))
    law = f(len(errors) - 1, len(errors) * 49)
    assert law.ppf(ALPHA / 2) <= ratio <= law.isf(ALPHA / 2)


def test_bounds_of_the_ball_on_digits():
    found = small(rademacher_complexity)
    np.testing.assert_allclose(found.ball_upper, 1 / np.sqrt(found.n), rtol=1e-12)
    np.testing.assert_allclose(found.ball_lower, 1 / np.sqrt(2 * found.n), rtol=1e-12)


def test_the_linear_learner_by_another_library():
    found = rademacher_complexity(sizes=(150,), draws=7, linear_fits=3, hidden=5, updates=1, seed=4)
    [(X, _)], rng = drawn(4, 150)
    rng.choice([-1.0, 1.0], (7, 150))
    accuracies = []
    for _ in range(3):
        signs = rng.choice([-1.0, 1.0], 150)
        model = LogisticRegression(C=1e4, tol=1e-8, max_iter=5000).fit(X, signs)
        accuracies.append(model.score(X, signs))
    correlation = 2 * np.mean(accuracies) - 1
    assert float(found.correlation.sel(learner="linear")[0]) == pytest.approx(correlation, abs=0.01)
    assert 0.3 < correlation < 0.9


def test_linear_classifiers_fit_as_many_labels_as_they_have_weights():
    found = rademacher_complexity(
        sizes=(32, 64, 512), draws=2, linear_fits=2, hidden=5, updates=1, seed=1
    )
    linear = found.correlation.sel(learner="linear").values
    assert linear[0] == linear[1] == 1.0
    assert linear[2] < 0.4


def test_the_memorizing_network_fits_every_label():
    found = rademacher_complexity(
        sizes=(2, 40, 700), draws=2, linear_fits=2, hidden=5, updates=1, seed=2
    )
    assert np.all(found.correlation.sel(learner="memorizing") == 1.0)
    assert list(found.learner.values) == list(LEARNERS)


def test_the_networks_correlation_is_its_training_accuracy(recorded):
    found = rademacher_complexity(
        sizes=(40, 60, 300), draws=2, linear_fits=2, hidden=30, updates=40, seed=3
    )
    accuracies = [float(run.train_accuracy[-1]) for *_, run in recorded]
    network = found.correlation.sel(learner="network").values
    np.testing.assert_allclose(network, 2 * np.array(accuracies) - 1, atol=1e-12)
    assert network[2] < 0.9  # so few updates do not fit: the measure can be below 1
    assert [options["batch_size"] for _, _, options, _ in recorded] == [40, 60, 128]


def test_equal_signs_are_fitted_by_a_constant():
    found = [
        rademacher_complexity(
            sizes=(1, 2), draws=2, linear_fits=2, hidden=2, updates=1, seed=seed
        ).correlation.sel(learner=["linear", "memorizing"])
        for seed in range(4)
    ]
    assert np.all(np.array(found) == 1.0)
    single = rademacher_complexity(sizes=(1,), draws=2, linear_fits=2, hidden=2, updates=1)
    assert float(single.correlation.sel(learner="network")[0]) == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": 1}, "draws must be an integer of at least 2, got 1"),
        ({"linear_fits": 1}, "linear_fits must be an integer of at least 2, got 1"),
        ({"sizes": (0, 4)}, "sizes must be positive, got 0"),
        ({"sizes": (2.5, 4)}, r"sizes must be an integer of at least 1, got 2\.5"),
        ({"sizes": ()}, "sizes is empty"),
        ({"sizes": (1798,)}, "sizes needs 1798 images; 'digits' has 1797"),
        ({"hidden": 0}, "hidden must be an integer of at least 1, got 0"),
        ({"updates": 0}, "updates must hold positive integers, got 0"),
    ],
)
def test_errors_of_the_complexity_study(change, message):
    with pytest.raises(ValueError, match=message):
        rademacher_complexity(**SMALL[rademacher_complexity] | change)


# --- Cover's curve --------------------------------------------------------------------------------


def linprog_separates(signed):
    n, d = signed.shape
    program = linprog(np.zeros(d), A_ub=-signed, b_ub=-np.ones(n), bounds=(None, None))
    return program.status == 0


def test_separability_by_linear_programs():
    found = cover_curve(n_features=(2, 6), ratios=(1.5, 2.0, 3.0), draws=40, seed=5)
    rng = np.random.default_rng(5)
    for d, ratio in itertools.product((2, 6), (1.5, 2.0, 3.0)):
        n = int(ratio * d)
        hits = 0
        for _ in range(40):
            points, labels = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], n)
            hits += linprog_separates(points * labels[:, None])
        assert float(found.separable.sel(n_features=d, ratio=ratio)) == hits / 40
        assert int(found.n.sel(n_features=d, ratio=ratio)) == n


def test_the_curve_is_covers():
    draws = 400
    found = cover_curve(n_features=(12,), ratios=(0.5, 1.0, 1.5, 2.0, 2.5), draws=draws, seed=6)
    assert np.all(found.separable[0, :2] == 1.0)
    for ratio, n in ((1.5, 18), (2.0, 24), (2.5, 30)):
        hits = round(float(found.separable.sel(ratio=ratio, n_features=12)) * draws)
        p = separable_probability(n, 12)
        assert float(found.probability.sel(ratio=ratio, n_features=12)) == p
        assert_counts([hits, draws - hits], [p, 1 - p])
    p = separable_probability(30, 16)
    with pytest.raises(AssertionError):
        assert_counts([hits, draws - hits], [p, 1 - p])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"draws": 0}, "draws must be an integer of at least 1, got 0"),
        ({"n_features": (3, 0)}, "n_features must be an integer of at least 1, got 0"),
        ({"ratios": (1.0, -1.0)}, "ratios must be positive, got -1"),
        ({"ratios": 1.0}, "ratios must have 1 dimensions"),
    ],
)
def test_errors_of_covers_curve(change, message):
    with pytest.raises(ValueError, match=message):
        cover_curve(**SMALL[cover_curve] | change)


# --- stability ------------------------------------------------------------------------------------


def test_stability_by_refitting():
    found = small(stability, 3)
    sets, rng = drawn(3, 30, 8, 20)
    X, X_new, X_test = (np.column_stack([images, np.ones(len(images))]) for images, _ in sets)
    targets = {
        "true": [np.where(labels > 4, 1.0, -1.0) for _, labels in sets],
        "random": [rng.choice([-1.0, 1.0], len(labels)) for _, labels in sets],
    }
    for kind in LABELS:
        y, y_new, y_test = targets[kind]
        model = Ridge(alpha=30 * 0.5, fit_intercept=False)
        before, train = (model.fit(X, y).predict(points) for points in (X_test, X))
        outputs, losses = [], []
        for i in range(8):
            X_other, y_other = X.copy(), y.copy()
            X_other[i], y_other[i] = X_new[i], y_new[i]
            after = model.fit(X_other, y_other).predict(X_test)
            outputs.append(np.max(np.abs(after - before)))
            losses.append(np.max(np.abs((after - y_test) ** 2 - (before - y_test) ** 2)))
        measured = found.sel(labels=kind)
        assert float(measured.output_change) == pytest.approx(max(outputs), rel=1e-9)
        assert float(measured.loss_change) == pytest.approx(max(losses), rel=1e-9)
        assert float(measured.train_accuracy) == np.mean(train * y > 0)
        assert float(measured.test_accuracy) == np.mean(before * y_test > 0)
        gap = 100 * (np.mean(train * y > 0) - np.mean(before * y_test > 0))
        assert float(measured.gap) == pytest.approx(gap, abs=1e-9)


def test_the_bound_on_stability_by_hand():
    """Replacing costs twice β = σ²κ² / (2λn), σ = 2 (1 + κ/√λ), κ² = 64 pixels + the constant."""
    found = small(stability)
    sigma = 2 * (1 + np.sqrt(65 / 0.5))
    assert float(found.loss_change_bound) == pytest.approx(2 * sigma**2 * 65 / (2 * 0.5 * 30))
    assert np.all(found.loss_change <= found.loss_change_bound)


def test_images_without_contrast_are_zero(tmp_path):
    """Gray images leave ridge regression a constant: the mean target over 1 + λ."""
    n, r, m, ridge = 20, 5, 5, 0.5
    for prefix, size in (("train", 20), ("t10k", 10)):
        images, labels = np.tile(np.arange(size)[:, None, None], (1, 2, 2)), np.arange(size) % 2
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (tmp_path / f"{prefix}-{kind}-ubyte").write_bytes(header + array.astype("u1").tobytes())
    found = stability(
        dataset=datasets.identify(tmp_path),
        data_dir=str(tmp_path),
        train_size=n,
        replacements=r,
        test_size=m,
        regularization=ridge,
        seed=1,
    )
    labels = np.concatenate([np.arange(20) % 2, np.arange(10) % 2])
    y = 2 * labels[np.random.default_rng(1).permutation(30)] - 1
    changes = np.abs(y[n : n + r] - y[:r]) / (n * (1 + ridge))
    assert np.max(changes) > 0
    assert float(found.output_change.sel(labels="true")) == pytest.approx(np.max(changes))


def test_stability_does_not_tell_true_from_random_labels():
    found = [stability(seed=seed) for seed in range(1000, 1005)]
    changes = np.mean([run.output_change for run in found], axis=0)
    gaps = np.mean([run.gap for run in found], axis=0)
    assert 1 / 3 <= changes[1] / changes[0] <= 3
    assert gaps[1] - gaps[0] >= 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_size": 0}, "train_size must be an integer of at least 1, got 0"),
        ({"test_size": 0}, "test_size must be an integer of at least 1, got 0"),
        ({"replacements": 0}, "replacements must be an integer of at least 1, got 0"),
        ({"replacements": 31}, "replacements is 31, more than the 30 examples"),
        ({"regularization": 0.0}, "regularization must be positive, got 0"),
        (
            {"test_size": 1760},
            r"train_size \+ replacements \+ test_size needs 1798 images; 'digits' has 1797",
        ),
    ],
)
def test_errors_of_stability(change, message):
    with pytest.raises(ValueError, match=message):
        stability(**SMALL[stability] | change)


# --- randomization tests --------------------------------------------------------------------------


def test_conditions_and_their_coordinates():
    found = small(randomized_training)
    names = ["true labels", "corrupted labels 0.3", "random labels", *PIXELS]
    assert list(found.condition.values) == names
    assert list(found.corruption.values) == [0, 0.3, 1, 0, 0, 0]
    assert list(found.epoch.values) == [1, 2, 3]
    has_wrong = found.wrong_labels.values > 0
    assert list(has_wrong) == [False, True, True, False, False, False]
    assert np.array_equal(found.wrong_fitted.notnull().all("epoch"), has_wrong)


def test_curves_are_those_of_the_runs(recorded):
    found = randomized_training(**SMALL[randomized_training], seed=0)
    (train, test), _ = drawn(0, 150, 40)
    runs = iter(recorded)
    for name in found.condition.values:
        measured = found.sel(condition=name)
        X, y, options, run = next(runs)
        assert options["learning_rate"] == 0.05
        assert options["momentum"] == 0.9
        assert options["batch_size"] == 128
        assert options["updates"] == 3  # 150 examples hold one batch of 128
        for curve in ("train_loss", "train_accuracy", "test_accuracy"):
            assert np.array_equal(measured[curve], getattr(run, curve))
        assert np.array_equal(options["test"][1], test[1])
        if "labels" in name:
            np.testing.assert_allclose(X, train[0], atol=1e-12)
            np.testing.assert_allclose(options["test"][0], test[0], atol=1e-12)
        else:
            assert np.array_equal(y, train[1])
        wrong = y != train[1]
        assert int(measured.wrong_labels) == np.sum(wrong)
        if wrong.any():
            X_again, y_again, _, again = next(runs)
            assert np.array_equal(X_again, X)
            assert np.array_equal(y_again, y)
            assert np.array_equal(again.weights, run.weights)
            fitted = network_classes(run.weights.astype(float), X[wrong], 10) == y[wrong]
            assert float(measured.wrong_fitted[-1]) == pytest.approx(np.mean(fitted))
    assert next(runs, None) is None


def network_classes(weights, X, hidden):
    first, a, second, b = np.split(weights, np.cumsum([X.shape[1] * hidden, hidden, hidden * 10]))
    active = np.maximum(X @ first.reshape(-1, hidden) + a, 0)
    return np.argmax(active @ second.reshape(hidden, -1) + b, axis=1)


def test_first_epoch_at_the_target():
    options = SMALL[randomized_training] | {
        "epochs": 12,
        "hidden": 80,
        "pixels": (),
        "corruptions": (),
    }
    found = randomized_training(**options, loss_target=1.0, seed=0)
    for name in found.condition.values:
        losses = found.train_loss.sel(condition=name).values
        first = next((k + 1 for k, loss in enumerate(losses) if loss <= 1.0), np.nan)
        assert found.epochs_to_target.sel(condition=name).values == pytest.approx(
            first, nan_ok=True
        )
    assert 1 < float(found.epochs_to_target[0]) <= 12
    assert np.isnan(found.epochs_to_target[1])


def test_a_replaced_label_may_stay_what_it_was():
    """A share p of labels is replaced, 9 of 10 by another class."""
    options = {"train_size": 200, "test_size": 1, "hidden": 1, "epochs": 1, "pixels": ()}
    shares = [
        randomized_training(**options, corruptions=(0.5,), seed=seed).wrong_labels.values / 200
        for seed in range(40)  # n = 40
    ]
    _, half, whole = np.transpose(shares)
    assert_mean(half, 0.45)
    assert_mean(whole, 0.9)
    with pytest.raises(AssertionError):
        assert_mean(half, 0.5)


def test_pixels_are_corrupted_as_they_say(recorded):
    randomized_training(**SMALL[randomized_training] | {"corruptions": ()}, seed=0)
    (train, test), _ = drawn(0, 150, 40)
    made = {
        name: (X, options["test"][0])
        for name, (X, _, options, _) in zip(PIXELS, recorded[-3:], strict=True)
    }
    originals, shuffled = (np.vstack(sets) for sets in ((train[0], test[0]), made[PIXELS[0]]))
    columns = [
        np.unique(np.round(images, 9) + 0.0, axis=1, return_counts=True)
        for images in (originals, shuffled)
    ]
    for before, after in zip(*columns, strict=True):
        assert np.array_equal(before, after)  # the same pixels of all 190 images
    assert not np.allclose(originals, shuffled)

    for before, after in zip((train[0], test[0]), made[PIXELS[1]], strict=True):
        np.testing.assert_allclose(np.sort(after), np.sort(before), atol=1e-9)
        # images that share a permutation would keep their correlations
        assert np.abs(np.mean(after[0] * after[1])) < 0.6
        mean_image = np.mean(after, axis=0)
        assert np.max(np.abs(mean_image)) < 0.5 < np.max(np.abs(np.mean(before, axis=0)))

    one_pixel = made[PIXELS[2]][0][:, 27] ** 2 / 63  # n = 150 images
    assert_distribution(one_pixel, beta(0.5, 31).cdf)
    with pytest.raises(AssertionError):
        assert_distribution(made[PIXELS[1]][0][:, 27] ** 2 / 63, beta(0.5, 31).cdf)


def test_patterns_come_first_and_random_labels_last():
    """The surrogate's criteria: C36 at a corruption of 0.4, C37 for the speeds."""
    found = randomized_training(
        corruptions=(0.4,), pixels=("Gaussian pixels",), epochs=120, seed=1000
    )
    noisy = found.sel(condition="corrupted labels 0.4")
    peak = int(np.argmax(noisy.test_accuracy.values))
    assert float(noisy.test_accuracy[peak] - noisy.test_accuracy[-1]) >= 0.1
    assert float(noisy.wrong_fitted[peak]) <= 0.2
    assert float(noisy.wrong_fitted[-1]) >= 0.99
    times = found.epochs_to_target
    ratio = times.sel(condition="random labels") / times.sel(condition="Gaussian pixels")
    assert float(ratio) >= 3
    assert float(times.sel(condition="true labels")) <= 8


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"corruptions": (0.2, 1.0)}, r"corruptions must be in \(0, 1\), got 1"),
        ({"corruptions": (0.0,)}, r"corruptions must be in \(0, 1\), got 0"),
        (
            {"pixels": ("upside down",)},
            "pixels must be of shuffled pixels, random pixels, Gaussian pixels; got 'upside down'",
        ),
        ({"epochs": 0}, "epochs must be an integer of at least 1, got 0"),
        ({"loss_target": 0.0}, "loss_target must be positive, got 0"),
        ({"hidden": 0}, "hidden must be an integer of at least 1, got 0"),
        ({"train_size": 0}, "train_size must be an integer of at least 1, got 0"),
        ({"train_size": 5}, "test y holds label"),
        ({"test_size": 1700}, r"train_size \+ test_size needs 1850 images; 'digits' has 1797"),
    ],
)
def test_errors_of_randomized_training(change, message):
    with pytest.raises(ValueError, match=message):
        randomized_training(**SMALL[randomized_training] | change)


# --- the paper's networks -------------------------------------------------------------------------


def test_sizes_of_the_papers_networks():
    found = network_sizes(n=50_000)
    printed = {
        "Inception": 1_649_402,
        "AlexNet": 1_387_786,
        "MLP 3x512": 1_735_178,
        "MLP 1x512": 1_209_866,
    }
    inputs = 28 * 28 * 3
    for name, parameters in printed.items():
        one = found.sel(network=name)
        assert one.n_parameters == parameters
        assert one.surplus == pytest.approx(parameters / (100_000 + inputs), rel=1e-12)
        assert one.vc_dimension > parameters
        # With more parameters than examples the growth function is 2^n.
        confidence = np.sqrt(np.log(20) / 100_000)
        assert one.vc_bound == pytest.approx(np.sqrt(2 * np.log(2)) + confidence, rel=1e-12)
    assert found.attrs["n"] == 50_000
    with pytest.raises(ValueError, match="n must be an integer of at least 1, got 0"):
        network_sizes(n=0)
