import functools
import itertools

import mpmath
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import dblquad, quad
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp
from scipy.stats import f as fisher
from scipy.stats import multivariate_normal, multivariate_t
from scipy.stats import t as student
from sklearn.linear_model import LogisticRegression
from stat_asserts import assert_mean

from sims import _evidence_sampling as sampling
from sims import evidence
from sims.evidence import annealed_importance_sampling, thermodynamic_integration
from store import datasets

SAMPLERS = (thermodynamic_integration, annealed_importance_sampling)
ALPHA = 1e-5

# --- exact evidence -----------------------------------------------------------------------------


def log_joint(weights, design, signs, prior_precision):
    """Log of likelihood times prior, for weights (..., P)."""
    logits = signs * (weights @ design.T)
    penalty = 0.5 * prior_precision * np.sum(weights**2, axis=-1)
    constant = 0.5 * design.shape[1] * np.log(prior_precision / (2 * np.pi))
    return -np.sum(np.logaddexp(0.0, -logits), axis=-1) - penalty + constant


@functools.cache
def exact_log_evidence(case, prior_precision):
    """Trapezoidal rule over nine prior widths: no mode, no Hessian, nothing of the library's.

    The integrand is analytic around the axis, so its error falls geometrically with the step.
    """
    X, y = CASES[case]
    radius = 9.0 / np.sqrt(prior_precision)
    step = min(0.25, radius / 200)
    axis = np.arange(-radius, radius + step, step)
    design = np.column_stack([X, np.ones(len(X))])
    rows = [
        logsumexp(
            log_joint(
                np.column_stack([axis, np.full_like(axis, bias)]),
                design,
                2.0 * y - 1.0,
                prior_precision,
            )
        )
        for bias in axis
    ]
    return float(logsumexp(rows) + 2 * np.log(step))


def naive_laplace(design, signs, prior_precision):
    """Mode by plain Newton steps, and Laplace's log evidence there."""
    w = np.zeros(design.shape[1])
    for _ in range(100):
        p = expit(design @ w)
        hessian = (design.T * (p * (1 - p))) @ design + prior_precision * np.eye(len(w))
        gradient = prior_precision * w - design.T @ (signs * expit(-signs * (design @ w)))
        step = np.linalg.solve(hessian, gradient)
        # Half steps where the quadratic model overshoots.
        while log_joint(w - step, design, signs, prior_precision) < log_joint(
            w, design, signs, prior_precision
        ) and np.linalg.norm(step) > 1e-12 * (1 + np.linalg.norm(w)):
            step = step / 2
        w = w - step
    p = expit(design @ w)
    hessian = (design.T * (p * (1 - p))) @ design + prior_precision * np.eye(len(w))
    constant = 0.5 * len(w) * np.log(2 * np.pi)
    return w, log_joint(w, design, signs, prior_precision) + constant - 0.5 * np.linalg.slogdet(
        hessian
    )[1]


def one_feature_cases():
    rng = np.random.default_rng(1)
    x = rng.standard_normal((12, 1))
    return {
        "overlapping": (x, (x[:, 0] + rng.standard_normal(12) > 0).astype(int)),
        "separable": (x, (x[:, 0] > 0).astype(int)),
        "unbalanced": (x, (np.arange(12) == np.argmax(x)).astype(int)),
    }


CASES = one_feature_cases()
POINTS = (
    ("overlapping", 1.0),
    ("overlapping", 100.0),
    ("separable", 0.01),
    ("unbalanced", 0.001),
)
REPLICATES = 48


def estimates(sampler, case, prior_precision):
    """Values and error bars of independent runs, each with the default effort."""
    X, y = CASES[case]
    streams = np.random.SeedSequence([7, POINTS.index((case, prior_precision))]).spawn(REPLICATES)
    runs = [sampler(X, y, prior_precision=prior_precision, rng=stream) for stream in streams]
    return (
        np.array([run.log_evidence for run in runs]),
        np.array([run.standard_error for run in runs]),
        runs[0].n,
    )


@pytest.mark.parametrize(("case", "prior_precision"), [POINTS[0], POINTS[2]])
def test_the_exact_evidence_by_adaptive_quadrature(case, prior_precision):
    X, y = CASES[case]
    design, signs = np.column_stack([X, np.ones(12)]), 2.0 * y - 1.0
    mode, laplace = naive_laplace(design, signs, prior_precision)

    def density(a, b):
        w = np.array([a, b])
        return np.exp(log_joint(w, design, signs, prior_precision) - laplace)

    radius = 8.0 / np.sqrt(prior_precision)
    total = sum(
        dblquad(density, low_b, high_b, low_a, high_a, epsabs=1e-9, epsrel=1e-8)[0]
        for low_b, high_b in itertools.pairwise([-radius, mode[1], radius])
        for low_a, high_a in itertools.pairwise([-radius, mode[0], radius])
    )
    assert exact_log_evidence(case, prior_precision) == pytest.approx(
        laplace + np.log(total), abs=1e-6
    )


def assert_honest(values, errors, n):
    """The estimates' own variance over the mean square of their error bars is an F variable."""
    ratio = np.var(values, ddof=1) / np.mean(errors**2)
    degrees = len(values) - 1, len(values) * (n - 1)
    low, high = fisher.ppf(ALPHA / 2, *degrees), fisher.isf(ALPHA / 2, *degrees)
    assert low <= ratio <= high, f"variance ratio {ratio:.3g} outside [{low:.3g}, {high:.3g}]"


# n = 48 replicates: differences of 0.003 (λ = 100) to 0.09 nats (λ = 0.001) are detected by
# thermodynamic integration, and 0.005 to 0.14 by annealed importance sampling.


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(("case", "prior_precision"), POINTS)
def test_the_samplers_give_the_evidence_with_honest_error_bars(sampler, case, prior_precision):
    values, errors, n = estimates(sampler, case, prior_precision)
    exact = exact_log_evidence(case, prior_precision)
    if sampler is annealed_importance_sampling:  # unbiased in the evidence, not in its log

        def assert_evidence(expected):
            assert_mean(np.exp(values - exact), np.exp(expected - exact), ALPHA)
    else:

        def assert_evidence(expected):
            assert_mean(values, expected, ALPHA)

    assert_evidence(exact)
    assert_honest(values, errors, n)

    wrong_theories = [exact - 0.15, exact + 0.15]
    if (case, prior_precision) == ("separable", 0.01):
        X, y = CASES[case]
        design = np.column_stack([X, np.ones(12)])
        _, laplace = naive_laplace(design, 2.0 * y - 1.0, prior_precision)
        assert laplace < exact - 0.15
        wrong_theories.append(laplace)
    for wrong in wrong_theories:
        with pytest.raises(AssertionError, match="detectable"):
            assert_evidence(wrong)
    for factor in (3.0, 1 / 3):
        with pytest.raises(AssertionError, match="variance ratio"):
            assert_honest(values, factor * errors, n)


def test_the_samplers_agree_with_importance_sampling_on_ten_weights():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((30, 9)), np.arange(30) % 2
    design, signs = np.column_stack([X, np.ones(30)]), 2.0 * y - 1.0
    mode, _ = naive_laplace(design, signs, 0.5)
    p = expit(design @ mode)
    hessian = (design.T * (p * (1 - p))) @ design + 0.5 * np.eye(10)
    proposal = multivariate_t(mode, 1.3 * np.linalg.inv(hessian), df=8, seed=rng)
    points = proposal.rvs(100_000)
    log_weights = log_joint(points, design, signs, 0.5) - proposal.logpdf(points)
    exact = logsumexp(log_weights) - np.log(len(points))
    relative = np.std(np.exp(log_weights - exact)) / np.sqrt(len(points))
    assert relative < 0.01

    # n = 24: differences of about 0.07 nats are detected.
    settings = {
        thermodynamic_integration: {"chains": 8, "samples": 40},
        annealed_importance_sampling: {"particles": 48},
    }
    values = {
        sampler: np.array(
            [
                sampler(X, y, prior_precision=0.5, rng=seed, **options).log_evidence
                for seed in range(24)
            ]
        )
        for sampler, options in settings.items()
    }
    ti, ais = values.values()
    assert_mean(ti, exact, ALPHA)
    assert_mean(np.exp(ais - exact), 1.0, ALPHA)
    assert_mean(ti - ais[::-1], 0.0, ALPHA)  # reversed: seeds must not pair the errors
    for wrong in (exact - 0.2, exact + 0.2):
        with pytest.raises(AssertionError, match="detectable"):
            assert_mean(ti, wrong, ALPHA)
        with pytest.raises(AssertionError, match="detectable"):
            assert_mean(ais, wrong, ALPHA)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_seed_determines_every_bit(sampler):
    X, y = CASES["overlapping"]
    settings = {"temperatures": 4} | (
        {"chains": 2, "samples": 5} if sampler is thermodynamic_integration else {"particles": 2}
    )

    def run(rng):
        return sampler(X, y, prior_precision=1.0, rng=rng, **settings)

    makers = (int, np.random.SeedSequence, np.random.default_rng)
    results = {run(maker(5)) for maker in makers for _ in range(2)}
    assert len(results) == 1
    assert len({run(seed).log_evidence for seed in range(10)}) == 10
    assert len({run(None).log_evidence for _ in range(10)}) == 10


def test_labels_may_be_any_two_integers_and_their_order_tells_the_class():
    X, y = CASES["overlapping"]
    plain = thermodynamic_integration(X, y, prior_precision=1.0, chains=2, rng=0)
    assert thermodynamic_integration(X, 7 * y - 3, prior_precision=1.0, chains=2, rng=0) == plain
    assert thermodynamic_integration(X, 1 - y, prior_precision=1.0, chains=2, rng=0) != plain


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize(
    ("X", "y", "options", "message"),
    [
        ([0.0, 1.0], [0, 1], {}, "X must have 2 dimensions"),
        ([[0.0], [1.0]], [0, 1, 1], {}, "X has 2 rows but y has 3 entries"),
        ([[0.0], [1.0]], [1, 1], {}, "y must hold at least two classes, got only 1"),
        ([[0.0], [1.0], [2.0]], [0, 1, 2], {}, "y must hold two classes, got 3"),
        ([[0.0], [np.nan]], [0, 1], {}, "X"),
        ([[0.0], [1.0]], [0, 1], {"prior_precision": 0.0}, "prior_precision"),
        ([[0.0], [1.0]], [0, 1], {"prior_precision": -1.0}, "prior_precision"),
        ([[0.0], [1.0]], [0, 1], {"prior_precision": np.nan}, "prior_precision"),
        ([[0.0], [1.0]], [0.5, 1.5], {}, "y must hold integer class labels"),
        ([[0.0], [1.0]], [0, 1], {"temperatures": 0}, "temperatures .* at least 1, got 0"),
        ([[0.0], [1.0]], [0, 1], {"temperatures": 2.5}, "temperatures must be an integer"),
    ],
)
def test_what_is_no_two_class_problem_is_refused(sampler, X, y, options, message):
    with pytest.raises(ValueError, match=message):
        sampler(X, y, **{"prior_precision": 1.0, **options})


def test_counts_that_give_no_error_bar_are_refused():
    X, y = CASES["overlapping"]
    with pytest.raises(ValueError, match="chains must be an integer of at least 2, got 1"):
        thermodynamic_integration(X, y, prior_precision=1.0, chains=1)
    with pytest.raises(ValueError, match="samples must be an integer of at least 1, got 0"):
        thermodynamic_integration(X, y, prior_precision=1.0, samples=0)
    with pytest.raises(ValueError, match="particles must be an integer of at least 2, got 1"):
        annealed_importance_sampling(X, y, prior_precision=1.0, particles=1)


# --- kernels ------------------------------------------------------------------------------------


def small_posterior():
    rng = np.random.default_rng(11)
    X = np.column_stack([rng.standard_normal((9, 2)), np.ones(9)])
    signs = np.where(X[:, 0] + 0.7 * rng.standard_normal(9) > 0, 1.0, -1.0)
    prior_precision = 0.3
    ladder = (np.arange(1, 7) / 6) ** 5
    return X, signs, prior_precision, sampling.tempered_posterior(X, signs, prior_precision, ladder)


def tempered_log_density(w, X, signs, prior_precision, beta):
    return -beta * np.sum(np.logaddexp(0.0, -signs * (X @ w))) - 0.5 * prior_precision * w @ w


def tempered_gradient(w, X, signs, prior_precision, beta):
    return beta * X.T @ (signs * expit(-signs * (X @ w))) - prior_precision * w


def naive_whitening(X, signs, prior_precision, beta):
    """The mode, and the Cholesky factor of the Hessian there."""
    mode, _ = naive_laplace(X, signs, prior_precision / beta)
    p = expit(X @ mode)
    hessian = beta * (X.T * (p * (1 - p))) @ X + prior_precision * np.eye(X.shape[1])
    return mode, np.linalg.cholesky(hessian)


def naive_transition(rng, w, X, signs, prior_precision, beta):
    """One Hamiltonian trajectory in the weights, with the Hessian at the mode as mass matrix."""
    _, L = naive_whitening(X, signs, prior_precision, beta)
    hessian = L @ L.T
    arguments = X, signs, prior_precision, beta
    whitened = rng.standard_normal(len(w))
    momentum, place, h = L @ whitened, w.copy(), sampling.STEP_SIZE
    steps = sampling.SHORTEST + int(rng.random() * (sampling.LONGEST - sampling.SHORTEST + 1))
    before = tempered_log_density(w, *arguments) - 0.5 * whitened @ whitened
    for _ in range(steps):
        momentum = momentum + 0.5 * h * tempered_gradient(place, *arguments)
        place = place + h * np.linalg.solve(hessian, momentum)
        momentum = momentum + 0.5 * h * tempered_gradient(place, *arguments)
    kinetic = 0.5 * momentum @ np.linalg.solve(hessian, momentum)
    after = tempered_log_density(place, *arguments) - kinetic
    return place if np.log(rng.random()) < after - before else w


def test_mean_log_likelihoods_against_a_naive_twin():
    X, signs, prior_precision, posterior = small_posterior()
    compiled = sampling.mean_log_likelihoods(np.random.default_rng(4), posterior, 3, 10)
    rng, means = np.random.default_rng(4), []
    u = rng.standard_normal(3)
    for beta in posterior.inverse_temperatures:
        mode, L = naive_whitening(X, signs, prior_precision, beta)
        w = mode + np.linalg.solve(L.T, u)
        visited = []
        for _ in range(13):
            w = naive_transition(rng, w, X, signs, prior_precision, beta)
            visited.append(-np.sum(np.logaddexp(0.0, -signs * (X @ w))))
        means.append(np.mean(visited[3:]))
        u = L.T @ (w - mode)
    np.testing.assert_allclose(compiled, means, rtol=1e-7)


def test_annealed_log_weight_against_a_naive_twin():
    X, signs, prior_precision, posterior = small_posterior()
    compiled = sampling.annealed_log_weight(np.random.default_rng(4), posterior, X, prior_precision)
    rng = np.random.default_rng(4)
    w = rng.standard_normal(3) / np.sqrt(prior_precision)
    log_weight, last = 0.0, 0.0
    for beta in posterior.inverse_temperatures:
        log_weight -= (beta - last) * np.sum(np.logaddexp(0.0, -signs * (X @ w)))
        w = naive_transition(rng, w, X, signs, prior_precision, beta)
        last = beta
    assert compiled == pytest.approx(log_weight, rel=1e-7)


KERNELS = (
    "_log_likelihood",
    "_log_prior",
    "_set_shifts",
    "_set_force",
    "_log_density",
    "_transition",
    "mean_log_likelihoods",
    "annealed_log_weight",
)


def run_kernels():
    """Every kernel's output on a small problem, by name."""
    X, _, prior_precision, posterior = small_posterior()
    rng = np.random.default_rng(8)
    u, t = rng.standard_normal(3), 3
    shifts, force = np.empty(9), np.empty(3)
    sampling._set_shifts(u, posterior.transposed_designs[t], shifts)
    sampling._set_force(u, shifts, posterior, t, force)
    moved, moved_shifts = u.copy(), shifts.copy()
    sampling._transition(rng, moved, moved_shifts, posterior, t)
    assert not np.array_equal(moved, u)
    curvatures, slopes = posterior.curvatures[t], posterior.slopes[t]
    logits = posterior.mode_logits[t] + shifts
    return {
        "_log_likelihood": sampling._log_likelihood(logits, posterior.signs),
        "_log_prior": sampling._log_prior(u, shifts, curvatures, slopes),
        "_set_shifts": shifts,
        "_set_force": force,
        "_log_density": sampling._log_density(u, shifts, posterior, t),
        "_transition": np.concatenate([moved, moved_shifts]),
        "mean_log_likelihoods": sampling.mean_log_likelihoods(rng, posterior, 2, 6),
        "annealed_log_weight": sampling.annealed_log_weight(rng, posterior, X, prior_precision),
    }


def test_compiled_kernels_equal_their_python_source(monkeypatch):
    compiled = run_kernels()
    for name in KERNELS:
        monkeypatch.setattr(sampling, name, getattr(sampling, name).py_func)
    plain = run_kernels()
    assert set(compiled) == set(KERNELS)
    for name in KERNELS:
        np.testing.assert_allclose(compiled[name], plain[name], rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("t", [0, 2, 5])
def test_the_force_is_the_gradient_of_the_log_density(t):
    X, signs, prior_precision, posterior = small_posterior()
    u = np.random.default_rng(9).standard_normal(3)
    shifts, force = np.empty(9), np.empty(3)
    sampling._set_shifts(u, posterior.transposed_designs[t], shifts)
    sampling._set_force(u, shifts, posterior, t, force)

    beta = mpmath.mpf(posterior.inverse_temperatures[t])
    inverse_root, mode = posterior.inverse_roots[t], posterior.modes[t]

    def log_density(*point):
        w = [
            mode[j] + mpmath.fsum(inverse_root[j, k] * point[k] for k in range(3)) for j in range(3)
        ]
        total = -mpmath.mpf(prior_precision) / 2 * mpmath.fsum(x * x for x in w)
        for row, sign in zip(X, signs, strict=True):
            logit = mpmath.fsum(a * b for a, b in zip(row, w, strict=True))
            total -= beta * mpmath.log1p(mpmath.exp(-sign * logit))
        return total

    with mpmath.workdps(30):
        gradient = [
            float(mpmath.diff(log_density, tuple(u), tuple(int(j == k) for k in range(3))))
            for j in range(3)
        ]
        np.testing.assert_allclose(force, gradient, rtol=1e-10, atol=1e-12)

        # The density itself, up to its constant.
        origin = sampling._log_density(np.zeros(3), np.zeros(9), posterior, t)
        expected = float(log_density(*u) - log_density(0, 0, 0))
    assert sampling._log_density(u, shifts, posterior, t) - origin == pytest.approx(
        expected, rel=1e-11
    )


def test_whitening_makes_the_hessian_at_each_mode_the_identity():
    X, signs, prior_precision, posterior = small_posterior()
    for t, beta in enumerate(posterior.inverse_temperatures):
        mode, inverse_root = posterior.modes[t], posterior.inverse_roots[t]
        np.testing.assert_allclose(posterior.roots[t] @ inverse_root, np.eye(3), atol=1e-14)
        np.testing.assert_allclose(
            tempered_gradient(mode, X, signs, prior_precision, beta), 0.0, atol=1e-8
        )
        gradients = np.array(
            [
                tempered_gradient(mode + 1e-5 * side, X, signs, prior_precision, beta)
                - tempered_gradient(mode - 1e-5 * side, X, signs, prior_precision, beta)
                for side in inverse_root.T
            ]
        )
        hessian = -(gradients / 2e-5) @ inverse_root
        np.testing.assert_allclose(hessian, np.eye(3), atol=1e-8)


# --- images for the studies ---------------------------------------------------------------------


def idx(array):
    header = bytes([0, 0, 0x08, array.ndim])
    return header + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


def write_images(folder, images, labels):
    """Write the four files of MNIST's format, and return the data set's name."""
    images, labels = np.asarray(images), np.asarray(labels)
    last = len(labels) - 1
    for prefix, rows in (("train", slice(None, last)), ("t10k", slice(last, None))):
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(idx(images[rows]))
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(idx(labels[rows]))
    return datasets.identify(folder)


@pytest.fixture
def fits(monkeypatch):
    """What the studies hand to laplace_evidence, call by call."""
    calls = []

    def spy(X, y, **options):
        calls.append((np.array(X), np.array(y), options))
        return original(X, y, **options)

    original = evidence.laplace_evidence
    monkeypatch.setattr(evidence, "laplace_evidence", spy)
    return calls


def memorize(**changes):
    parameters = {
        "dataset": "digits",
        "classes": (0, 1),
        "train_size": 20,
        "test_size": 30,
        "prior_precisions": [1e-2, 1.0, 1e6],
        "seed": 0,
    }
    return evidence.linear_memorization(**{**parameters, **changes})


# --- linear_memorization ------------------------------------------------------------------------


def test_train_and_test_are_disjoint_and_drawn_from_both_files(tmp_path, fits):
    # Image i is ink in pixel i alone, so a test image that was trained on would show in its logit.
    labels = np.arange(20) % 2 + 4
    images = 255 * np.eye(20, dtype=int).reshape(20, 4, 5)
    name = write_images(tmp_path, images, labels)
    seen = set()
    for seed in range(12):
        result = memorize(
            dataset=name,
            data_dir=str(tmp_path),
            classes=(4, 5),
            train_size=8,
            test_size=12,
            prior_precisions=[0.1],
            seed=seed,
        )
        (X, random, _), (X_again, true, _) = fits[-2:]
        rows = np.argmax(X, axis=1)
        np.testing.assert_array_equal(X, X_again)
        np.testing.assert_array_equal(true, labels[rows])
        np.testing.assert_array_equal(np.sort(random), np.sort(true))
        assert len(set(rows)) == 8
        assert np.sum(true == 4) == 4
        np.testing.assert_allclose(result.test_cross_entropy, np.log(2), rtol=1e-9)
        assert np.all(result.train_cross_entropy < 0.6)
        seen |= set(rows)
    assert seen == set(range(20))


def test_the_test_set_is_balanced(tmp_path):
    # Two kinds of image, of unequal cross-entropy: the mean tells how many there are of each.
    labels = np.repeat([0, 1], [30, 50])
    images = np.where(labels == 0, 255, 51)[:, None, None]
    name = write_images(tmp_path, images, labels)
    result = memorize(dataset=name, data_dir=str(tmp_path), prior_precisions=[5.0]).sel(
        labels="true"
    )
    design = np.tile([[1.0, 1.0], [0.2, 1.0]], (10, 1))
    signs = np.tile([-1.0, 1.0], 10)
    w, _ = naive_laplace(design, signs, 5.0)
    each = np.logaddexp(0.0, -signs * (design @ w))
    assert abs(each[0] - each[1]) > 1e-3
    assert float(result.train_cross_entropy[0]) == pytest.approx(each.mean(), rel=1e-9)
    assert float(result.test_cross_entropy[0]) == pytest.approx(each.mean(), rel=1e-9)


def test_a_seed_determines_the_dataset():
    xr.testing.assert_identical(memorize(), memorize())
    results = [memorize(seed=seed).cost.values for seed in range(4)]
    for one, other in itertools.combinations(results, 2):
        assert not np.array_equal(one, other)


@pytest.mark.parametrize("kind", ["random", "true"])
@pytest.mark.parametrize("prior_precision", [0.01, 3.0])
def test_values_are_those_of_a_scikit_learn_fit(fits, kind, prior_precision):
    result = memorize(train_size=40, test_size=300, prior_precisions=[1e3, prior_precision]).sel(
        labels=kind, prior_precision=prior_precision
    )
    X, y, _ = fits[evidence.LABELS.index(kind)]
    digits = datasets.load("digits")
    rows = np.flatnonzero(digits.labels <= 1)
    everything = digits.features()[rows]
    train = [int(np.flatnonzero((everything == row).all(axis=1))[0]) for row in X]
    design, signs = np.column_stack([X, np.ones(40)]), np.where(y == 1, 1.0, -1.0)

    model = LogisticRegression(
        C=1 / prior_precision, fit_intercept=False, tol=1e-12, max_iter=10_000, solver="newton-cg"
    ).fit(design, y)
    w = model.coef_[0]
    margins = signs * (design @ w)
    cost = np.sum(np.logaddexp(0.0, -margins)) + 0.5 * prior_precision * w @ w
    p = expit(design @ w)
    hessian = (design.T * (p * (1 - p))) @ design + prior_precision * np.eye(65)
    log_occam = 0.5 * 65 * np.log(prior_precision) - 0.5 * np.linalg.slogdet(hessian)[1]
    expected = {
        "train_accuracy": model.score(design, y),
        "train_cross_entropy": np.mean(np.logaddexp(0.0, -margins)),
        "margin": np.mean(margins) / np.linalg.norm(w[:-1]),
        "cost": cost,
        "log_occam_factor": log_occam,
        "log_evidence_ratio": cost - log_occam - 40 * np.log(2),
    }
    for name, value in expected.items():
        assert float(result[name]) == pytest.approx(value, rel=1e-5, abs=1e-7), name
    assert int(result.converged) == 1
    assert float(result.gradient_norm) < 1e-6
    assert int(np.sum(y == 1)) == 20

    if kind == "true":  # the test images are 300 of the 320 that are left
        left = np.setdiff1d(np.arange(len(rows)), train)
        logits = np.column_stack([everything[left], np.ones(len(left))]) @ w
        right = np.where(digits.labels[rows][left] == 1, logits, -logits)
        assert len(left) == 320
        wrong = np.sum(right <= 0)
        errors = round(300 * (1 - float(result.test_accuracy)))
        assert wrong - 20 <= errors <= wrong
        entropies = np.sort(np.logaddexp(0.0, -right))
        low, high = entropies[:300].mean(), entropies[20:].mean()
        assert low <= float(result.test_cross_entropy) <= high


def test_a_strong_prior_leaves_the_null_model():
    result = memorize(train_size=60, test_size=280, prior_precisions=[1e6])
    np.testing.assert_allclose(result.log_evidence_ratio, 0.0, atol=0.01)
    np.testing.assert_allclose(result.train_cross_entropy, np.log(2), atol=1e-3)
    np.testing.assert_allclose(result.test_cross_entropy, np.log(2), atol=1e-3)
    np.testing.assert_allclose(result.log_occam_factor, 0.0, atol=1e-2)


def test_random_labels_are_memorized_and_true_ones_learned():
    result = memorize(train_size=60, test_size=280, prior_precisions=[1e-6, 0.1])
    random, true = (result.sel(labels=kind) for kind in evidence.LABELS)
    assert float(random.train_accuracy[0]) == 1.0
    assert abs(float(random.test_accuracy[0]) - 0.5) < 0.15  # 0.5 ± 0.03: α = 1e-6
    assert float(true.test_accuracy[0]) > 0.97
    assert float(true.margin[0]) > 2 * float(random.margin[0])
    assert float(true.log_evidence_ratio[1]) < 0 < float(random.log_evidence_ratio[1])


def test_every_variable_says_what_it_is():
    result = memorize()
    assert result.sizes == {"labels": 2, "prior_precision": 3}
    assert list(result.labels.values) == ["random", "true"]
    np.testing.assert_array_equal(result.prior_precision, [1e-2, 1.0, 1e6])
    for name in [*result.data_vars, "prior_precision"]:
        assert result[name].attrs["long_name"], name
        assert result[name].attrs["units"], name
        assert np.all(np.isfinite(result[name])), name


def test_the_order_of_prior_precisions_is_the_callers():
    forward, backward = memorize(), memorize(prior_precisions=[1e6, 1.0, 1e-2])
    xr.testing.assert_allclose(forward, backward.isel(prior_precision=[2, 1, 0]), rtol=1e-8)


def test_stopped_descent_takes_that_many_steps(fits):
    result = memorize(steps=7, prior_precisions=[0.5]).sel(labels="true", prior_precision=0.5)
    X, y, options = fits[-1]
    assert options["steps"] == 7
    design, signs = np.column_stack([X, np.ones(20)]), np.where(y == 1, 1.0, -1.0)
    rate = 1 / (np.linalg.norm(design, 2) ** 2 / 4 + 0.5)
    w = np.zeros(65)
    for _ in range(7):
        w += rate * tempered_gradient(w, design, signs, 0.5, 1.0)
    margins = signs * (design @ w)
    assert float(result.train_cross_entropy) == pytest.approx(
        np.mean(np.logaddexp(0.0, -margins)), rel=1e-10
    )
    norm = np.linalg.norm(tempered_gradient(w, design, signs, 0.5, 1.0))
    assert float(result.gradient_norm) == pytest.approx(norm, rel=1e-9)
    assert int(result.converged) == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train_size": 21}, "train_size must be a positive even number, got 21"),
        ({"test_size": 3}, "test_size must be a positive even number, got 3"),
        ({"train_size": 0}, "train_size must be a positive even number, got 0"),
        ({"test_size": -2}, "test_size must be a positive even number, got -2"),
        ({"classes": (3, 3)}, r"two different digits, got \(3, 3\)"),
        ({"train_size": 60, "test_size": 400}, "needs 230 images of class 0; .* has 178"),
        ({"classes": (1, 12)}, "needs 25 images of class 12; .* has 0"),
        ({"prior_precisions": [0.0]}, "prior_precision"),
        ({"dataset": "mnist"}, "directory must be given"),
    ],
)
def test_what_cannot_be_drawn_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        memorize(**changes)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent has no data set that is known"):
        memorize(dataset="mnist", data_dir=str(tmp_path / "absent"))


# --- the other studies --------------------------------------------------------------------------


def test_laplace_accuracy_against_the_exact_evidence(tmp_path, fits):
    rng = np.random.default_rng(2)
    labels = np.arange(16) % 2
    images = np.clip(80 + 60 * labels + 50 * rng.standard_normal(16), 0, 255)
    name = write_images(tmp_path, images.astype(int)[:, None, None], labels)
    precisions = [0.5, 5.0]
    result = evidence.laplace_accuracy(
        dataset=name,
        data_dir=str(tmp_path),
        classes=(0, 1),
        train_size=12,
        prior_precisions=precisions,
        chains=16,
        samples=40,
        particles=16,
        rungs=40,
        seed=3,
    )
    assert result.sizes == {"labels": 2, "prior_precision": 2}
    for i, kind in enumerate(evidence.LABELS):
        X, y, _ = fits[i]
        CASES[f"{tmp_path} {kind}"] = X, y
        for precision in precisions:
            d = result.sel(labels=kind, prior_precision=precision)
            exact = exact_log_evidence(f"{tmp_path} {kind}", precision)
            design = np.column_stack([X, np.ones(12)])
            _, laplace = naive_laplace(design, 2.0 * y - 1.0, precision)
            assert float(d.laplace) == pytest.approx(laplace, abs=1e-9)
            for sampler in SAMPLERS:
                error = float(d[f"{sampler.__name__}_error"])
                z = (float(d[sampler.__name__]) - exact) / error
                assert 0 < error < 0.2
                assert abs(z) < student.isf(ALPHA / 2, 15)
    assert all(result[name].attrs["units"] == "nat" for name in result.data_vars)


def test_laplace_quadrature_by_adaptive_quadrature(fits):
    result = evidence.laplace_quadrature(train_sizes=[6, 25], prior_precision=2.0, seed=4)
    assert list(result.train_size.values) == [6, 25]
    by_size = {len(X): (X, y) for X, y, _ in fits}
    np.testing.assert_array_equal(by_size[6][0], by_size[25][0][:6])
    for n, (X, y) in by_size.items():
        signs = 2.0 * y - 1.0
        _, laplace = naive_laplace(X, signs, 2.0)
        total, _ = dblquad(
            lambda a, b, X=X, signs=signs, laplace=laplace: np.exp(
                log_joint(np.array([a, b]), X, signs, 2.0) - laplace
            ),
            *(-7.0, 7.0, -7.0, 7.0),
            epsabs=1e-8,
            epsrel=1e-8,
        )
        error = float(result.error.sel(train_size=n))
        assert error == pytest.approx(-np.log(total), abs=1e-6)
        assert abs(error) > 1e-4


def test_gaussian_evidence_has_three_equal_routes(monkeypatch):
    calls = []

    def spy(X, y, **options):
        calls.append((X, y))
        return original(X, y, **options)

    original = evidence.linear_evidence
    monkeypatch.setattr(evidence, "linear_evidence", spy)
    result = evidence.gaussian_evidence(
        train_size=9, n_features=3, prior_precisions=[0.1, 4.0], seed=6
    )
    ((X, y),) = calls
    rng = np.random.default_rng(0)
    for precision in (0.1, 4.0):
        # A fourth route: the weights drawn from their posterior, where
        # p(y) = p(y|w) p(w) / p(w|y) is the same at every w.
        S = np.linalg.inv(X.T @ X + precision * np.eye(3))
        w = rng.standard_normal(3)
        value = (
            multivariate_normal.logpdf(y, X @ w, np.eye(9))
            + multivariate_normal.logpdf(w, np.zeros(3), np.eye(3) / precision)
            - multivariate_normal.logpdf(w, S @ X.T @ y, S)
        )
        for route in ("laplace", "exact", "function_space"):
            assert float(result[route].sel(prior_precision=precision)) == pytest.approx(
                value, abs=1e-10
            )


def test_rescaling_moves_sharpness_and_not_the_evidence(fits):
    scales = [0.01, 1.0, 30.0]
    result = evidence.rescaling(
        dataset="digits",
        classes=(0, 1),
        train_size=20,
        prior_precision=0.2,
        scales=scales,
        seed=2,
    )
    X, y, _ = fits[1]  # a = 1: the design itself
    w, laplace = naive_laplace(X, 2.0 * y - 1.0, 0.2)
    np.testing.assert_allclose(result.logistic, laplace, rtol=1e-8)
    p = expit(X @ w)
    sharpness = np.linalg.eigvalsh((X.T * (p * (1 - p))) @ X)[-1]
    np.testing.assert_allclose(result.logistic_sharpness * np.square(scales), sharpness, rtol=1e-6)
    np.testing.assert_allclose(result.relu, result.relu.sel(scale=1.0), rtol=1e-12)
    # In the limit of small a the layer W alone is sharp, and of large a the layer v.
    assert float(result.relu_sharpness[0]) > 100 * float(result.relu_sharpness[1])
    assert float(result.relu_sharpness[2]) > 100 * float(result.relu_sharpness[1])


def test_the_relu_network_by_finite_differences():
    rng = np.random.default_rng(5)
    inputs, targets = rng.standard_normal((7, 3)), rng.standard_normal(7)
    W, v = rng.standard_normal((2, 3)), rng.standard_normal(2)
    precisions = rng.uniform(0.5, 2.0, 8)
    weights = np.concatenate([W.ravel(), v])

    def outputs(weights):
        return np.maximum(inputs @ weights[:6].reshape(2, 3).T, 0.0) @ weights[6:]

    steps = 1e-6 * np.eye(8)
    jacobian = np.array([(outputs(weights + s) - outputs(weights - s)) / 2e-6 for s in steps]).T
    value, hessian = evidence._relu_network_evidence(inputs, targets, W, v, precisions)
    np.testing.assert_allclose(hessian, jacobian.T @ jacobian, atol=1e-7)
    cost = 0.5 * np.sum((outputs(weights) - targets) ** 2) + 0.5 * precisions @ weights**2
    whole = np.linalg.slogdet(hessian + np.diag(precisions))[1]
    assert value == pytest.approx(-cost - 0.5 * whole + 0.5 * np.sum(np.log(precisions)), rel=1e-9)


def test_nonlinear_coordinates_by_high_precision():
    heads, tosses, precision = 3, 8, 0.7
    result = evidence.nonlinear_coordinates(
        heads=heads, tosses=tosses, prior_precisions=[precision]
    ).isel(prior_precision=0)

    def energy(w):
        log_likelihood = heads * w - tosses * mpmath.log1p(mpmath.exp(w))
        log_prior = mpmath.log(precision / (2 * mpmath.pi)) / 2 - precision * w * w / 2
        return -log_likelihood - log_prior

    def bent(u):
        return energy(mpmath.asinh(u)) + mpmath.log1p(u * u) / 2

    exact, _ = quad(lambda w: float(mpmath.exp(-energy(w))), -12, 12, epsabs=1e-13, epsrel=1e-12)
    np.testing.assert_allclose(result.exact, np.log(exact), atol=1e-9)
    for name, U in (("w", energy), ("sinh w", bent)):
        start = minimize_scalar(lambda x, U=U: float(U(x)), bounds=(-5, 5), method="bounded").x
        mode = mpmath.findroot(lambda x, U=U: mpmath.diff(U, x), start)
        laplace = -U(mode) + mpmath.log(2 * mpmath.pi / mpmath.diff(U, mode, 2)) / 2
        assert float(result.laplace.sel(coordinate=name)) == pytest.approx(float(laplace), abs=1e-6)
    gap = result.laplace.sel(coordinate="w") - result.laplace.sel(coordinate="sinh w")
    assert abs(float(gap)) > 1e-3


@pytest.mark.parametrize("train_sizes", [[], [1, 5], [2.5]])
def test_quadrature_refuses_sets_that_cannot_hold_two_classes(train_sizes):
    with pytest.raises(ValueError, match=r"train.size"):
        evidence.laplace_quadrature(train_sizes=train_sizes, prior_precision=1.0, seed=0)
