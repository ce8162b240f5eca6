import functools
import itertools

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit
from scipy.stats import f as fisher
from scipy.stats import kstest, kurtosis
from sklearn.datasets import load_digits
from stat_asserts import assert_mean

from sims import sgd, streams
from sims.noise_scale import (
    STUDIES,
    basin_occupation,
    batch_size_sweep,
    gradient_noise,
    gradient_noise_scale,
    gradient_normality,
    kramers_times,
    optimal_batch_sizes,
    stationary_covariance,
    two_batch_estimates,
)
from store import datasets
from theory.landscapes import DoubleWell, LineWellMixture

ALPHA = 1e-5
SWEEP = {
    "train_sizes": (20, 60),
    "test_size": 50,
    "hidden": 5,
    "learning_rates": (0.1, 0.2),
    "momenta": (0.0, 0.9),
    "weight_decays": (0.0, 0.01),
    "batch_sizes": (5, 20, 60),
    "training_time": 3.0,
    "looks": 3,
}
BASINS = {"costs": (0.0, 0.5), "curvatures": (8.0, 2.0), "centers": (-1.5, 1.5)}
SMALL = {
    batch_size_sweep: SWEEP,
    gradient_normality: {"train_size": 60, "hidden": 20, "batch_sizes": (1, 5, 30), "draws": 4000},
    gradient_noise_scale: {"train_size": 60, "hidden": 5, "batch_size": 8, "epochs": (0.5, 2.0)},
    gradient_noise: {"batch_sizes": (1, 4, 12, 24), "draws": 300},
    stationary_covariance: {
        "settings": ((0.1, 4, 0.0), (1.0, 4, 0.0), (0.5, 2, 0.5)),
        "train_size": 16,
        "curvatures": (0.5, 1.5),
        "burn_in": 300,
        "steps": 2000,
    },
    basin_occupation: BASINS
    | {"temperatures": (1.0, 2.0), "paths": 64, "step_size": 0.01, "burn_in": 1000, "steps": 1000},
    kramers_times: {"temperatures": (0.5, 1.0), "paths": 64, "step_size": 5e-4},
    two_batch_estimates: {"steps": 500, "gradient_square": 1.0},
}


def study_id(value):
    return getattr(value, "__name__", None)


@functools.cache
def small(study, seed=0):
    return study(**SMALL[study], seed=seed)


def over_seeds(study, n):
    """Independent runs of a small study, along ``seed``."""
    return stacked([small(study, seed) for seed in range(n)])


def stacked(runs):
    fixed = {"data_vars": "all", "coords": "minimal", "compat": "override", "join": "exact"}
    return xr.concat(runs, "seed", **fixed)


def assert_honest(values, errors, degrees):
    """The values' own variance over the mean square of their error bars is an F variable."""
    ratio = np.var(values, ddof=1) / np.mean(errors**2)
    law = fisher(len(values) - 1, len(values) * degrees)
    low, high = law.ppf(ALPHA / 2), law.isf(ALPHA / 2)
    assert low <= ratio <= high, f"variance ratio {ratio:.3g} outside [{low:.3g}, {high:.3g}]"


# --- every study --------------------------------------------------------------------------------

SETTING = ("learning_rate", "momentum", "weight_decay", "train_size", "batch_size", "time")
DIMENSIONS = {
    batch_size_sweep: dict.fromkeys(
        ("train_loss", "train_accuracy", "test_loss", "test_accuracy"), SETTING
    ),
    gradient_normality: {
        "excess_kurtosis": ("batch_size",),
        "distance": ("batch_size",),
        "density": ("batch_size", "standardized"),
    },
    gradient_noise_scale: dict.fromkeys(
        ("noise_trace", "gradient_square", "noise_scale", "train_loss"), ("epoch",)
    ),
    gradient_noise: dict.fromkeys(
        ("trace", "trace_theory", "lag_trace", "lag_trace_theory", "error"),
        ("sampler", "batch_size"),
    ),
    stationary_covariance: dict.fromkeys(
        ("variance", "noise", "exact", "continuous"), ("setting", "curvature")
    ),
    basin_occupation: dict.fromkeys(("simulated", "error", "exact", "laplace"), ("temperature",))
    | {"landscape": ("position",)},
    kramers_times: dict.fromkeys(("simulated", "error", "exact", "kramers"), ("temperature",)),
    two_batch_estimates: dict.fromkeys(("ratio", "error"), ("quantity",)),
}


@pytest.mark.parametrize("study", STUDIES, ids=study_id)
def test_a_study_returns_what_it_says(study):
    found = small(study)
    assert {name: values.dims for name, values in found.items()} == DIMENSIONS[study]
    shapes = {name: found.sizes[name] for name in found.sizes if f"{name}s" in SMALL[study]}
    assert shapes == {name: len(SMALL[study][f"{name}s"]) for name in shapes}
    for name, values in found.items():
        if name.startswith("lag_trace"):
            values = values.drop_sel(sampler="shuffle", batch_size=24)
        if study is batch_size_sweep:
            values = values.where(values.batch_size <= values.train_size, 0)
        assert np.all(np.isfinite(values)), name


@pytest.mark.parametrize("study", STUDIES, ids=study_id)
def test_a_seed_determines_every_bit_of_a_study(study):
    assert study(**SMALL[study], seed=0).identical(small(study))
    other = small(study, 1)
    changed = {name for name in other if not other[name].identical(small(study)[name])}
    fixed = {"exact", "laplace", "landscape", "kramers"}
    assert changed >= set(DIMENSIONS[study]) - fixed


# --- batch-size sweeps --------------------------------------------------------------------------


def digits_split(seed, train_size, test_size, pool=1):
    """The digits that a seed draws, and the generator behind them."""
    rng = np.random.default_rng(seed)
    digits = load_digits()
    order = rng.permutation(1797)
    rng.permutation(1797)  # of the test file, which the digits lack
    corners = range(0, 8, pool)
    rows = [
        [image[i : i + pool, j : j + pool].mean() for i in corners for j in corners]
        for image in digits.images[order[: train_size + test_size]]
    ]
    X, y = np.array(rows) / 16, digits.target[order[: train_size + test_size]]
    return (X[:train_size], y[:train_size]), (X[train_size:], y[train_size:]), rng


def test_a_sweep_trains_every_setting_that_has_enough_examples():
    sweep = small(batch_size_sweep)
    (X, y), test, rng = digits_split(0, 60, 50)
    names = ("learning_rate", "momentum", "weight_decay", "train_size", "batch_size")
    settings = sweep.train_loss.isel(time=0).stack(run=names).run.to_index().to_frame()
    settings = settings[settings.batch_size <= settings.train_size]
    runs = sgd.train(
        "relu",
        X,
        y,
        **{name: settings[name].to_numpy() for name in names},
        updates=np.rint(3.0 / settings.learning_rate.to_numpy()),
        hidden=5,
        test=test,
        look_at=(1 / 3, 2 / 3, 1.0),
        rng=rng,
    )
    assert sweep.classes == 10
    assert sweep.time.values == pytest.approx([1, 2, 3])
    enough = sweep.batch_size <= sweep.train_size
    for name in sweep:
        assert np.all(sweep[name].notnull() == enough)
        of_runs = sweep[name].stack(run=names).transpose("run", "time").sel(run=settings.index)
        assert np.array_equal(of_runs.values, getattr(runs, name))


FULL = {
    "train_sizes": (40,),
    "batch_sizes": (40,),
    "test_size": 30,
    "model": "softmax",
    "learning_rates": (0.5,),
    "training_time": 10.0,
}  # full batches from zero weights: only the images are random


@pytest.mark.parametrize(
    ("options", "settings", "pool"),
    [
        ({"momenta": (0.0,)}, {}, 1),
        ({"momenta": (0.8,)}, {"momentum": 0.8}, 1),
        ({"momenta": (0.8,), "dampened": True}, {"momentum": 0.8, "learning_rate": 0.1}, 1),
        ({"momenta": (0.0,), "weight_decays": (0.1,)}, {"weight_decay": 0.1}, 1),
        ({"momenta": (0.0,), "pool": 2}, {}, 2),
        ({"momenta": (0.0,), "pool": 4, "pixel_scale": 3.0}, {"scale": 3.0}, 4),
    ],
)
def test_a_sweeps_options_by_hand(options, settings, pool):
    sweep = batch_size_sweep(**FULL, **options, seed=3).squeeze()
    (X, y), (X_test, y_test), _ = digits_split(3, 40, 30, pool)
    settings = {"learning_rate": 0.5, "scale": 1.0} | settings
    scale = settings.pop("scale")
    run = sgd.train(
        "softmax",
        scale * X,
        y,
        batch_size=40,
        updates=20,
        test=(scale * X_test, y_test),
        **settings,
    )
    for name in sweep:
        np.testing.assert_allclose(sweep[name], getattr(run, name)[0], rtol=1e-5)


def test_dampening_shrinks_gradients_not_the_momentum():
    """Dampened heavy ball by its own recursion, v ← m v + (1 - m) ∇L and w ← w - ε v."""
    sweep = batch_size_sweep(**FULL, momenta=(0.8,), dampened=True, seed=1).squeeze()
    (X, y), _, _ = digits_split(1, 40, 30)
    design, targets = np.column_stack([X, np.ones(40)]), np.eye(10)[y]
    w = v = np.zeros((65, 10))

    def probabilities():
        return np.exp(design @ w) / np.exp(design @ w).sum(1, keepdims=True)

    for _ in range(20):
        v = 0.8 * v + 0.2 * design.T @ (probabilities() - targets) / 40
        w = w - 0.5 * v
    loss = -np.mean(np.log(probabilities()[np.arange(40), y]))
    assert float(sweep.train_loss) == pytest.approx(loss, rel=1e-5)


def test_equal_times_are_equal_numbers_of_updates_times_the_learning_rate():
    sweep = batch_size_sweep(**FULL | {"learning_rates": (0.1, 0.5)}, momenta=(0.0,)).squeeze()
    gap = sweep.train_loss.sel(learning_rate=0.1) - sweep.train_loss.sel(learning_rate=0.5)
    change = np.log(10) - sweep.train_loss.sel(learning_rate=0.5)
    assert abs(float(gap)) < 0.05 * float(change)


@pytest.fixture
def idx_folder(tmp_path):
    """Forty 2 x 4 images of two classes, in four files named as MNIST's."""
    rng = np.random.default_rng(0)
    for prefix, size in (("train", 30), ("t10k", 10)):
        images = rng.integers(0, 256, (size, 2, 4))
        for kind, array in (("images-idx3", images), ("labels-idx1", np.arange(size) % 2)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (tmp_path / f"{prefix}-{kind}-ubyte").write_bytes(header + array.astype("u1").tobytes())
    return tmp_path


def test_a_sweep_over_files_tests_on_the_test_file(idx_folder):
    name = datasets.identify(idx_folder)
    options = FULL | {"train_sizes": (20,), "batch_sizes": (20,), "test_size": 7, "pool": 2}
    files = {"dataset": name, "data_dir": str(idx_folder)}
    sweep = batch_size_sweep(**options, **files, momenta=(0.0,), seed=2).squeeze()
    assert sweep.classes == 2
    rng, sets = np.random.default_rng(2), []
    for part, size in (("train", 20), ("test", 7)):
        source = datasets.load(name, idx_folder, part=part)
        rows = rng.permutation(len(source.labels))[:size]
        left, right = source.images[rows][:, :, :2], source.images[rows][:, :, 2:]
        X = np.column_stack([left.mean((1, 2)), right.mean((1, 2))]) / 255
        sets.append((X, source.labels[rows]))
    run = sgd.train("softmax", *sets[0], learning_rate=0.5, batch_size=20, updates=20, test=sets[1])
    for measure in sweep:
        np.testing.assert_allclose(sweep[measure], getattr(run, measure)[0], rtol=1e-5)
    with pytest.raises(ValueError, match="has 10 images: too few for 20 to train and 11 to test"):
        batch_size_sweep(**options | {"test_size": 11}, **files)
    with pytest.raises(ValueError, match="pool is 4; it must divide 2 and 4"):
        batch_size_sweep(**options | {"pool": 4}, **files)


# --- gradients of a network at hand -------------------------------------------------------------


def normality_slopes(seed, train_size, hidden):
    """One weight's per-example gradients, by complex steps, and the generator behind them."""
    (X, y), _, rng = digits_split(seed, train_size, 1)
    classes = y.max() + 1
    first = rng.uniform(-1, 1, (64, hidden)) * np.sqrt(6 / (64 + hidden))
    second = rng.uniform(-1, 1, (hidden, classes)) * np.sqrt(6 / (hidden + classes))
    units = np.maximum(X @ first, 0)
    j = rng.choice(np.flatnonzero((units > 0).mean(0) >= 0.1))
    second = second.astype(complex)
    second[j, rng.integers(classes)] += 1e-30j
    z = units @ second
    losses = np.log(np.exp(z).sum(1)) - z[np.arange(train_size), y]
    return losses.imag / 1e-30, rng


def excess_kurtosis_of_means(values, B):
    """Of means of B values without replacement (Sukhatme's finite-population fourth moment)."""
    N, centered = len(values), values - values.mean()
    second, fourth = np.mean(centered**2), np.mean(centered**4)
    variance = second * (N - B) / (B * (N - 1))
    moment = (N * (N + 1) - 6 * B * (N - B)) * fourth + 3 * N * (N - B - 1) * (B - 1) * second**2
    return moment * (N - B) / (B**3 * (N - 1) * (N - 2) * (N - 3)) / variance**2 - 3


def test_the_kurtosis_of_means_by_enumeration():
    values = np.random.default_rng(0).exponential(size=8)
    subsets = [[i for i in range(8) if code >> i & 1] for code in range(256)]
    for B in range(1, 8):
        means = [values[chosen].mean() for chosen in subsets if len(chosen) == B]
        assert excess_kurtosis_of_means(values, B) == pytest.approx(kurtosis(means))


def test_gradient_normality_measures_the_law_of_minibatch_gradients():
    found, options = small(gradient_normality), SMALL[gradient_normality]
    slopes, rng = normality_slopes(0, 60, 20)
    for B in options["batch_sizes"]:
        state, order, batch = streams.states(rng, 1)[0], np.arange(60), np.empty(B, np.int64)
        means = []
        for draw in range(4000):
            sgd.next_batch(state, 1, order, draw, batch)
            means.append(slopes[batch].mean())
        here, z = found.sel(batch_size=B), (means - np.mean(means)) / np.std(means)
        assert here.excess_kurtosis == pytest.approx(kurtosis(means), rel=1e-6)
        assert here.distance == pytest.approx(kstest(z, "norm").statistic, rel=1e-6)
        edges = np.linspace(-5, 5, 61)
        inside = [np.mean((z >= a) & (z < b)) * 6 for a, b in itertools.pairwise(edges)]
        np.testing.assert_allclose(here.density, inside, atol=1e-12)
    np.testing.assert_allclose(found.standardized, 0.5 * (edges[1:] + edges[:-1]))


def test_batches_bring_gradients_closer_to_a_normal_law():
    # n = 24 networks, whose excess kurtosis is known for means of B slopes.
    found = over_seeds(gradient_normality, 24)
    for B in SMALL[gradient_normality]["batch_sizes"]:
        slopes = [normality_slopes(seed, 60, 20)[0] for seed in range(24)]
        exact = np.array([excess_kurtosis_of_means(values, B) for values in slopes])
        measured = found.excess_kurtosis.sel(batch_size=B).values
        assert_mean(measured - exact, 0.0, ALPHA)
        independent = np.array([kurtosis(values) for values in slopes]) / B
        with pytest.raises(AssertionError, match="detectable"):
            assert_mean(measured - (independent if B > 1 else 0), 0.0, ALPHA)
    distance = found.distance.mean("seed").values
    assert np.all(np.diff(distance) < 0)


def test_the_noise_scale_of_a_run_is_that_of_its_per_example_gradients():
    torch = pytest.importorskip("torch")
    found = small(gradient_noise_scale)
    (X, y), _, rng = digits_split(0, 60, 1)
    settings = {"hidden": 5, "learning_rate": 0.05, "batch_size": 8}
    weights = None
    for epoch, updates in ((0.5, 4), (2.0, 11)):
        run = sgd.train("relu", X, y, updates=updates, initial=weights, rng=rng, **settings)
        weights = run.weights

        def loss(w, x, label):
            W1, b1, W2, b2 = torch.split(w, [64 * 5, 5, 5 * 10, 10])
            z = torch.relu(x @ W1.reshape(64, 5) + b1) @ W2.reshape(5, 10) + b2
            return torch.nn.functional.cross_entropy(z, label)

        per_example = torch.func.vmap(torch.func.grad(loss), (None, 0, 0))
        gradients = per_example(torch.tensor(weights).double(), *map(torch.tensor, (X, y))).numpy()
        here = found.sel(epoch=epoch)
        trace, square = np.var(gradients, axis=0, ddof=1).sum(), np.sum(gradients.mean(0) ** 2)
        assert here.noise_trace == pytest.approx(trace, rel=1e-9)
        assert here.gradient_square == pytest.approx(square, rel=1e-9)
        assert here.noise_scale == pytest.approx(trace / square, rel=1e-9)
        assert here.train_loss == run.train_loss[0]


# --- laws of the process ------------------------------------------------------------------------


def test_minibatch_noise_has_the_covariance_of_its_sampler():
    # n = 40 sets of 24 standard normal gradients in 3 dimensions.
    found = over_seeds(gradient_noise, 40)
    law = {
        "with_replacement": lambda B: (1 - 1 / 24) / B,
        "without_replacement": lambda B: 1 / B - 1 / 24,
        "shuffle": lambda B: 1 / B - 1 / 24,
    }
    for sampler, share in law.items():
        for B in (1, 4, 12):
            here = found.sel(sampler=sampler, batch_size=B)
            ratio = here.trace / here.trace_theory
            assert_mean(ratio, 1.0, ALPHA)
            assert_mean(here.trace_theory, 3 * share(B), ALPHA)
            with pytest.raises(AssertionError, match="detectable"):
                assert_mean(ratio, 1.2, ALPHA)
    with pytest.raises(AssertionError, match="detectable"):  # a sampler's law is its own
        assert_mean(found.trace_theory.sel(sampler="shuffle", batch_size=12), 3 / 12, ALPHA)


def test_successive_batches_of_an_epoch_are_anticorrelated():
    found = over_seeds(gradient_noise, 40)
    for sampler in ("with_replacement", "without_replacement", "shuffle"):
        for B in (1, 4, 12):
            here = found.sel(sampler=sampler, batch_size=B)
            assert_mean(here.lag_trace - here.lag_trace_theory, 0.0, ALPHA)
            if sampler == "shuffle":
                assert_mean(here.lag_trace_theory, -3 / 24, ALPHA)
                if B > 1:
                    with pytest.raises(AssertionError, match="detectable"):
                        assert_mean(here.lag_trace, 0.0, ALPHA)
            else:
                assert np.all(here.lag_trace_theory == 0)
    alone = found.sel(sampler="shuffle", batch_size=24)
    assert np.all(np.isnan(alone.lag_trace))
    assert np.all(np.isnan(alone.lag_trace_theory))


def test_the_error_of_a_measured_covariance_shrinks_with_its_draws():
    many = gradient_noise(batch_sizes=(1, 4, 12, 24), draws=30_000)
    few = over_seeds(gradient_noise, 40).mean("seed")
    noisy = {"batch_size": [1, 4, 12]}
    assert np.all(many.error.sel(noisy) < 0.3 * few.error.sel(noisy))
    full = many.sel(batch_size=24, sampler=["without_replacement", "shuffle"])
    for name in ("trace", "trace_theory", "error"):
        np.testing.assert_allclose(full[name], 0, atol=1e-28)


def test_the_stationary_variance_is_the_closed_form_of_heavy_ball():
    found = small(stationary_covariance)
    for i, (rate, _, m) in enumerate(SMALL[stationary_covariance]["settings"]):
        here, h = found.isel(setting=i), found.curvature
        exact = rate * here.noise * (1 + m) / (h * (1 - m) * (2 * (1 + m) - rate * h))
        np.testing.assert_allclose(here.exact, exact, rtol=1e-12)
        np.testing.assert_allclose(here.continuous, rate * here.noise / (2 * h * (1 - m)))
        assert (here.learning_rate, here.momentum) == (rate, m)
    assert found.batch_size.values.tolist() == [4, 4, 2]


@pytest.mark.parametrize("sampler", ["without_replacement", "with_replacement"])
def test_sgd_on_a_quadratic_loss_has_the_exact_stationary_variance(sampler):
    # n = 40 data sets.
    options = SMALL[stationary_covariance] | {"sampler": sampler}
    found = stacked([stationary_covariance(**options, seed=seed) for seed in range(40)])
    for setting, curvature in np.ndindex(3, 2):
        here = found.isel(setting=setting, curvature=curvature)
        assert_mean(here.variance / here.exact, 1.0, ALPHA)
        B, h = float(here.batch_size), float(here.curvature)
        share = (1 - 1 / 16) / B if sampler == "with_replacement" else 1 / B - 1 / 16
        assert_mean(here.noise, h**2 * share, ALPHA)
    for setting, curvature in ((1, 0), (1, 1), (2, 1)):  # large steps: no diffusion
        here = found.isel(setting=setting, curvature=curvature)
        with pytest.raises(AssertionError, match="detectable"):
            assert_mean(here.variance / here.continuous, 1.0, ALPHA)


def test_the_odds_of_basins_by_quadrature_and_by_laplace():
    found = small(basin_occupation)
    U = LineWellMixture(**{name: np.asarray(value) for name, value in BASINS.items()})
    left, right = (
        minimize_scalar(U.value, bounds=bounds, method="bounded", options={"xatol": 1e-10}).x
        for bounds in ((-2.0, -1.0), (1.0, 2.0))
    )
    top = minimize_scalar(lambda x: -U.value(x), bounds=(left, right), method="bounded").x
    for T in (1.0, 2.0):
        masses = [
            quad(lambda x, T=T: np.exp(-U.value(x) / T), *ends, epsabs=1e-12)[0]
            for ends in ((-12.0, top), (top, 16.0))
        ]
        here = found.sel(temperature=T)
        assert here.exact == pytest.approx(np.log(masses[1] / masses[0]), abs=1e-6)
        widths = 0.5 * np.log(U.hessian(left) / U.hessian(right))
        laplace = (U.value(left) - U.value(right)) / T + widths
        assert here.laplace == pytest.approx(laplace, abs=1e-6)
    np.testing.assert_allclose(found.landscape, U.value(found.position.values))


def test_langevin_dynamics_occupies_basins_by_their_mass():
    # n = 32 runs of 64 paths each.
    found = over_seeds(basin_occupation, 32)
    for T in (1.0, 2.0):
        here = found.sel(temperature=T)
        shares, exact = expit(here.simulated.values), float(here.exact[0])
        assert_mean(shares, expit(exact), ALPHA)
        errors = here.error.values * shares * (1 - shares)
        assert_honest(shares, errors, 63)
        for wrong in (-exact, exact + 0.3):
            with pytest.raises(AssertionError, match="detectable"):
                assert_mean(shares, expit(wrong), ALPHA)
        for factor in (3.0, 1 / 3):
            with pytest.raises(AssertionError, match="variance ratio"):
                assert_honest(shares, factor * errors, 63)
    assert logit(shares) == pytest.approx(here.simulated.values)


def test_times_to_cross_a_barrier_by_quadrature_and_by_kramers():
    found, U = small(kramers_times), DoubleWell(barrier=1.0).value
    for T in (0.5, 1.0):
        exact = dblquad(
            lambda z, y, T=T: np.exp((U(y) - U(z)) / T) / T, -1, 1, lambda y: -4.0, lambda y: y
        )[0]
        here = found.sel(temperature=T)
        assert here.exact == pytest.approx(exact, rel=1e-6)
        assert here.kramers == pytest.approx(2 * np.pi / np.sqrt(8 * 4) * np.exp(1 / T))


def test_langevin_dynamics_takes_the_exact_time_to_cross():
    # n = 32 runs of 64 paths each. Looked at once a step, they are one in a hundred late, and a
    # tenth is detected.
    found = over_seeds(kramers_times, 32)
    for T in (0.5, 1.0):
        here = found.sel(temperature=T)
        assert_mean(here.simulated, float(here.exact[0]), ALPHA)
        assert_honest(here.simulated.values, here.error.values, 63)
        for wrong in (0.5 * here.exact, here.kramers):
            with pytest.raises(AssertionError, match="detectable"):
                assert_mean(here.simulated, float(wrong[0]), ALPHA)


def test_two_batches_estimate_the_noise_scale():
    # n = 30 runs of 500 steps.
    found = over_seeds(two_batch_estimates, 30)
    for quantity in ("gradient_square", "noise_trace", "noise_scale"):
        here = found.sel(quantity=quantity)
        assert_mean(here.ratio, 1.0, ALPHA)
        assert_honest(here.ratio.values, here.error.values, 499)
        for wrong in (0.95, 1.05):
            with pytest.raises(AssertionError, match="detectable"):
                assert_mean(here.ratio, wrong, ALPHA)
        with pytest.raises(AssertionError, match="variance ratio"):
            assert_honest(here.ratio.values, 3 * here.error.values, 499)


# --- where a sweep has its optimum --------------------------------------------------------------

SIZES = np.array([1, 2, 4, 8, 16, 32, 64, 128])


def runs_of(*curves, sizes=SIZES, **axes):
    return xr.DataArray(
        np.array(curves), coords={"batch_size": sizes, **axes}, dims=("seed", "batch_size")
    )


@given(
    center=st.floats(1.1, 5.9),
    peak=st.floats(0.3, 1.0),
    bend=st.floats(0.001, 0.1),
    seeds=st.integers(1, 4),
)
def test_the_optimum_of_a_parabola_in_log_batch_size_is_exact(center, peak, bend, seeds):
    curve = peak - bend * (np.log2(SIZES) - center) ** 2
    offsets = np.arange(seeds)[:, None] - 0.5 * (seeds - 1)
    found = optimal_batch_sizes(runs_of(*(curve + 0.1 * offsets)), chance=0.1, resamples=1)
    assert found.optimum.item() == pytest.approx(2**center, rel=1e-6)
    assert found.peak.item() == pytest.approx(peak)
    assert found.largest_batch.item() == pytest.approx(curve[-1])
    assert found.at_edge.item() == 0


def test_training_collapses_where_accuracy_is_half_way_from_chance():
    curve = [0.1, 0.1, 0.4, 0.8, 0.9, 0.85, 0.2, 0.1]  # half way is 0.5, a quarter from 4 to 8
    found = optimal_batch_sizes(runs_of(curve), chance=0.1, resamples=1)
    assert found.collapse.item() == pytest.approx(4 * 2**0.25)
    fine = optimal_batch_sizes(runs_of(np.maximum(curve, 0.6)), chance=0.1, resamples=1)
    assert np.isnan(fine.collapse.item())
    twice = runs_of([0.8, 0.1, 0.4, 0.8, 0.9, 0.85, 0.2, 0.1])  # only the last crossing counts
    again = optimal_batch_sizes(twice, chance=0.1, resamples=1)
    assert again.collapse.item() == pytest.approx(4 * 2**0.25)


@pytest.mark.parametrize(("sign", "edge"), [(-1, 1), (1, 128)])
def test_an_optimum_at_the_edge_is_told(sign, edge):
    found = optimal_batch_sizes(runs_of(0.5 + sign * SIZES / 1000), chance=0.1, resamples=1)
    assert found.at_edge.item() == 1
    assert found.optimum.item() == pytest.approx(edge)
    assert found.peak.item() == pytest.approx(0.5 + sign * edge / 1000)


def test_batch_sizes_may_come_in_any_order_and_lack_runs():
    curve = 0.9 - 0.01 * (np.log2(SIZES) - 3.3) ** 2
    order = np.random.default_rng(0).permutation(8)
    plain = optimal_batch_sizes(runs_of(curve, curve), chance=0.1)
    shuffled = runs_of(curve[order], curve[order], sizes=SIZES[order])
    assert optimal_batch_sizes(shuffled, chance=0.1).identical(plain)
    without = runs_of(np.where(SIZES > 32, np.nan, curve))
    found = optimal_batch_sizes(without, chance=0.1, resamples=1)
    assert found.optimum.item() == pytest.approx(2**3.3)
    assert found.largest_batch.item() == pytest.approx(curve[5])


def test_curves_are_averaged_before_their_optimum_is_sought():
    bumps = [0.5 + 0.2 * (size == SIZES) + 0.1 * (SIZES == 16) for size in (2, 128)]
    found = optimal_batch_sizes(runs_of(*bumps), chance=0.1, resamples=1)
    mean = optimal_batch_sizes(runs_of(np.mean(bumps, 0)), chance=0.1, resamples=1)
    assert found.equals(mean)


def test_a_bootstrap_resamples_seeds():
    rng = np.random.default_rng(1)
    accuracy = xr.DataArray(
        0.5 + 0.1 * rng.random((4, 2, 8)),
        coords={"momentum": [0.0, 0.9], "batch_size": SIZES},
        dims=("seed", "momentum", "batch_size"),
    )
    # n = 4000 resamples, whose mean over 4 seeds varies as theirs, n = 4 and not 3 below the sum.
    found = optimal_batch_sizes(accuracy, chance=0.1, resamples=4001, rng=2)
    assert set(found.optimum.dims) == {"resample", "momentum"}
    last = accuracy.isel(batch_size=-1)
    np.testing.assert_allclose(found.largest_batch.isel(resample=0), last.mean("seed"))
    for m in (0.0, 0.9):
        spread = found.largest_batch.sel(momentum=m)[1:] - last.sel(momentum=m).mean()
        assert_mean(spread, 0.0, ALPHA)
        assert_mean(spread**2, float(last.sel(momentum=m).var()) / 4, ALPHA)
        with pytest.raises(AssertionError, match="detectable"):
            assert_mean(spread**2, float(last.sel(momentum=m).var(ddof=1)) / 4, ALPHA)
    assert optimal_batch_sizes(accuracy, chance=0.1, rng=5).identical(
        optimal_batch_sizes(accuracy, chance=0.1, rng=5)
    )


@pytest.mark.parametrize(
    ("accuracy", "message"),
    [
        (runs_of(SIZES).rename(seed="run"), "accuracy has no dimension seed"),
        (runs_of(SIZES).rename(batch_size="B"), "accuracy has no dimension batch_size"),
        (runs_of([0.1, 0.2], sizes=[1, 2]), "accuracy has fewer than three batch sizes"),
        (runs_of([0.1, np.nan, 0.2], sizes=[1, 2, 4]), "a curve has fewer than three batch sizes"),
    ],
)
def test_what_has_no_optimum_is_refused(accuracy, message):
    with pytest.raises(ValueError, match=message):
        optimal_batch_sizes(accuracy, chance=0.1)


def test_a_bootstrap_needs_resamples():
    with pytest.raises(ValueError, match="resamples must be an integer of at least 1, got 0"):
        optimal_batch_sizes(runs_of(SIZES), chance=0.1, resamples=0)


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("study", "options", "message"),
    [
        (
            batch_size_sweep,
            {"train_sizes": (20, 1748)},
            "'digits' has 1797 images: too few for 174",
        ),
        (batch_size_sweep, {"test_size": 0}, "test_size must be an integer of at least 1, got 0"),
        (batch_size_sweep, {"train_sizes": (0,)}, "train_size must be an integer of at least 1"),
        (
            batch_size_sweep,
            {"train_sizes": (0, 60)},
            "train_size must be an integer of at least 1, got 0",
        ),
        (batch_size_sweep, {"looks": 0}, "looks must be an integer of at least 1, got 0"),
        (batch_size_sweep, {"pool": 3}, "pool is 3; it must divide 8 and 8"),
        (batch_size_sweep, {"pool": 0}, "pool is 0"),
        (batch_size_sweep, {"training_time": -1.0}, "training_time must be positive, got -1"),
        (batch_size_sweep, {"learning_rates": (0.0,)}, "learning_rate must be positive"),
        (batch_size_sweep, {"momenta": (1.0,)}, "momentum must be in"),
        (batch_size_sweep, {"momenta": (1.0,), "dampened": True}, "learning_rate must be positive"),
        (batch_size_sweep, {"weight_decays": (-1.0,)}, "weight_decay must not be negative"),
        (batch_size_sweep, {"batch_sizes": (0,)}, "batch_size must hold positive integers"),
        (batch_size_sweep, {"model": "cubic"}, "model is 'cubic'"),
        (batch_size_sweep, {"sampler": "sobol"}, "sampler is 'sobol'"),
        (batch_size_sweep, {"dataset": "mnist"}, "directory must be given"),
        (gradient_normality, {"batch_sizes": (60,)}, "batch_size is 60; it must be from 1 to 59"),
        (gradient_normality, {"batch_sizes": (0,)}, "batch_size is 0; it must be from 1 to 59"),
        (gradient_normality, {"draws": 0}, "draws must be an integer of at least 1"),
        (gradient_normality, {"bins": 0}, "bins must be an integer of at least 1"),
        (gradient_normality, {"train_size": 1797}, "too few"),
        (gradient_noise_scale, {"epochs": (1.0, 1.0)}, "epochs must increase from above 0"),
        (gradient_noise_scale, {"epochs": (0.0, 1.0)}, "epochs must increase from above 0"),
        (gradient_noise_scale, {"batch_size": 0}, "batch_size must be an integer of at least 1"),
        (gradient_noise_scale, {"batch_size": 61}, "batch_size is 61, more than the 60 training"),
        (gradient_noise_scale, {"learning_rate": -1.0}, "learning_rate must be positive"),
        (gradient_noise, {"draws": 0}, "draws must be an integer of at least 1"),
        (gradient_noise, {"train_size": 0}, "train_size must be an integer of at least 1"),
        (gradient_noise, {"n_features": 0}, "n_features must be an integer of at least 1"),
        (gradient_noise, {"batch_sizes": (25,)}, "batch_size must be at most the number of exa"),
        (gradient_noise, {"batch_sizes": (0,)}, "batch_size must be an integer of at least 1"),
        (stationary_covariance, {"sampler": "shuffle"}, "sampler is 'shuffle'; it must be one of"),
        (stationary_covariance, {"steps": 0}, "steps must be an integer of at least 1"),
        (stationary_covariance, {"burn_in": -1}, "burn_in must be an integer of at least 0"),
        (stationary_covariance, {"train_size": 0}, "train_size must be an integer of at least 1"),
        (stationary_covariance, {"settings": ((2.0, 4, 0.0),)}, "learning_rate must be below"),
        (stationary_covariance, {"settings": ((0.1, 17, 0.0),)}, "batch_size must be at most"),
        (stationary_covariance, {"settings": ((0.1, 4.5, 0.0),)}, "must be an integer, got 4.5"),
        (stationary_covariance, {"settings": ((0.1, 4, 1.0),)}, "momentum must be in"),
        (stationary_covariance, {"curvatures": (-1.0, 1.0)}, "hessian must be positive definite"),
        (basin_occupation, {"paths": 1}, "paths must be an integer of at least 2, got 1"),
        (basin_occupation, {"curvatures": (-1.0, 1.0)}, "curvatures must be positive"),
        (basin_occupation, {"temperatures": (0.0,)}, "temperature"),
        (basin_occupation, {"step_size": 0.0}, "step_size must be positive"),
        (basin_occupation, {"steps": 0}, "steps must be an integer of at least 1"),
        (
            basin_occupation,
            {"costs": (0.0,) * 3, "curvatures": (9.0,) * 3, "centers": (-3.0, 0.0, 3.0)},
            "make 3 wells, not two",
        ),
        (kramers_times, {"paths": 1}, "paths must be an integer of at least 2, got 1"),
        (kramers_times, {"barrier": 0.0}, "barrier"),
        (kramers_times, {"temperatures": (-1.0,)}, "temperature"),
        (kramers_times, {"step_size": 0.0}, "step_size must be positive"),
        (two_batch_estimates, {"n_features": 0}, "n_features must be an integer of at least 1"),
        (two_batch_estimates, {"gradient_square": 0.0}, "gradient_square must be positive"),
        (two_batch_estimates, {"noise_trace": -1.0}, "noise_trace must be positive"),
        (two_batch_estimates, {"small_batch": 0}, "small_batch must be an integer of at least 1"),
        (two_batch_estimates, {"large_batch": 8}, "large_batch must be an integer of at least 9"),
        (two_batch_estimates, {"steps": 1}, "steps must be an integer of at least 2"),
    ],
    ids=study_id,
)
def test_a_study_refuses_what_is_out_of_range(study, options, message):
    with pytest.raises(ValueError, match=message):
        study(**SMALL[study] | options)
