"""The formulas of evidence: against naive sums, mpmath, exact evidence, and a rescaled network."""

import subprocess
import sys

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit

from theory import evidence
from theory.evidence import (
    bayesian_information_criterion,
    evidence_ratio,
    laplace_log_integral,
    linear_evidence,
    log_evidence_from_hessian,
    log_evidence_from_spectrum,
    log_evidence_ratio,
    log_occam_factor,
    null_log_evidence,
    occam_factor,
    rescale_parameters,
)


def symmetric(size, seed=0):
    J = np.random.default_rng(seed).standard_normal((size + 2, size))
    return J.T @ J


# --------------------------------------------------------------------------------- Occam factors

SPECTRUM = [1e8, 3.0, 1e-3, 1e-13, 0.0, -2.0]


@pytest.mark.parametrize("prior", [1e-12, 1e-3, 1.0, 1e12])
def test_occam_factor_by_fifty_digits(prior):
    with mp.workdps(50):
        terms = [mp.log(1 + mp.mpf(max(h, 0.0)) / mp.mpf(prior)) for h in SPECTRUM]
        expected = -mp.fsum(terms) / 2
        fraction = float(mp.exp(expected))
    given_log = log_occam_factor(SPECTRUM, prior_precision=prior)
    assert isinstance(given_log, float)
    assert given_log == pytest.approx(float(expected), rel=1e-14)
    assert occam_factor(SPECTRUM, prior_precision=prior) == pytest.approx(fraction, rel=1e-12)
    total = log_evidence_from_spectrum(2.5, SPECTRUM, prior_precision=prior)
    assert total == pytest.approx(float(expected) - 2.5, rel=1e-14)


def test_occam_factor_is_the_paper_s_sum_at_a_minimum():
    h, prior = np.array([0.3, 2.0, 40.0]), 0.7
    expected = np.prod(np.sqrt(prior / (h + prior)))
    assert occam_factor(h, prior_precision=prior) == pytest.approx(expected, rel=1e-14)


def test_occam_factor_underflows_where_the_log_does_not():
    h = np.full(10_000, 1e5)
    assert occam_factor(h, prior_precision=1e-3) == 0.0
    expected = -5000 * np.log1p(1e8)
    assert log_occam_factor(h, prior_precision=1e-3) == pytest.approx(expected, rel=1e-12)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=8),
    st.floats(1e-6, 1e6),
    st.floats(1e-3, 1e3),
)
def test_occam_factor_properties(h, prior, c):
    h = np.array(h)
    value = log_occam_factor(h, prior_precision=prior)
    assert value <= 0.0
    assert 0.0 <= occam_factor(h, prior_precision=prior) <= 1.0
    assert log_occam_factor(c * h, prior_precision=c * prior) == pytest.approx(value, rel=1e-9)
    assert log_occam_factor(h[::-1], prior_precision=prior) == pytest.approx(value, rel=1e-12)
    stronger = log_occam_factor(h, prior_precision=2 * prior)
    assert value <= stronger


def test_batch_is_stack():
    rng = np.random.default_rng(0)
    h, prior, cost = rng.normal(size=(3, 2, 5)), rng.uniform(0.1, 9, (3, 1)), rng.normal(size=2)
    batch = log_evidence_from_spectrum(cost, h, prior_precision=prior)
    assert batch.shape == (3, 2)
    for i, j in np.ndindex(3, 2):
        one = log_evidence_from_spectrum(cost[j], h[i, j], prior_precision=prior[i, 0])
        assert batch[i, j] == pytest.approx(one, rel=1e-14)
    np.testing.assert_allclose(
        occam_factor(h, prior_precision=prior), np.exp(log_occam_factor(h, prior_precision=prior))
    )


# -------------------------------------------------------------------------------------- Hessians


def test_hessian_of_one_prior_is_its_spectrum():
    H = symmetric(6)
    one = log_evidence_from_hessian(1.5, H, prior_precision=0.3)
    two = log_evidence_from_spectrum(1.5, np.linalg.eigvalsh(H), prior_precision=0.3)
    assert isinstance(one, float)
    assert one == pytest.approx(two, rel=1e-12)


def test_hessian_of_many_priors_by_determinants():
    H, prior = symmetric(6), np.geomspace(0.01, 100.0, 6)
    log_det = np.linalg.slogdet(H + np.diag(prior))[1] - np.sum(np.log(prior))
    given_value = log_evidence_from_hessian(1.5, H, prior_precision=prior)
    assert given_value == pytest.approx(-1.5 - log_det / 2, rel=1e-12)


def test_hessians_batch_is_stack():
    H = np.stack([symmetric(4, seed) for seed in range(3)])
    priors = np.random.default_rng(1).uniform(0.1, 3.0, (3, 4))
    costs = np.array([1.0, 2.0, 3.0])
    batch = log_evidence_from_hessian(costs, H, prior_precision=priors)
    stack = [
        log_evidence_from_hessian(c, h, prior_precision=p)
        for c, h, p in zip(costs, H, priors, strict=True)
    ]
    np.testing.assert_allclose(batch, stack, rtol=1e-14)
    shared = log_evidence_from_hessian(costs, H, prior_precision=priors[0])
    assert shared[0] == pytest.approx(batch[0], rel=1e-14)


@given(st.integers(1, 6), st.integers(0, 1000))
def test_rescaling_moves_sharpness_but_not_evidence(size, seed):
    rng = np.random.default_rng(seed)
    H, prior = symmetric(size, seed), np.exp(rng.normal(size=size))
    scale = np.exp(2 * rng.normal(size=size))
    H2, prior2 = rescale_parameters(H, prior, scale=scale)
    naive = np.array([[H[i, j] / (scale[i] * scale[j]) for j in range(size)] for i in range(size)])
    np.testing.assert_allclose(H2, naive, rtol=1e-13)
    before = log_evidence_from_hessian(0.7, H, prior_precision=prior)
    after = log_evidence_from_hessian(0.7, H2, prior_precision=prior2)
    assert after == pytest.approx(before, rel=1e-8, abs=1e-9)
    H3, prior3 = rescale_parameters(H2, prior2, scale=1 / scale)
    np.testing.assert_allclose(H3, H, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(prior3, prior, rtol=1e-12)


def relu_network(W1, b1, w2, X, y, prior1, prior2):
    """Cost, Gauss-Newton matrix and priors of a two-layer binary classifier."""
    hidden = X @ W1 + b1
    active, features = hidden > 0, np.maximum(hidden, 0.0)
    logit = features @ w2
    cost = np.sum(np.logaddexp(0.0, np.where(y == 1, -logit, logit)))
    cost += prior1 * (np.sum(W1**2) + np.sum(b1**2)) / 2 + prior2 * np.sum(w2**2) / 2
    back = active * w2
    jacobian = np.concatenate(
        [(X[:, :, None] * back[:, None, :]).reshape(len(X), -1), back, features], axis=1
    )
    p = expit(logit)
    priors = np.repeat([prior1, prior2], [W1.size + b1.size, w2.size])
    return cost, jacobian.T @ (jacobian * (p * (1 - p))[:, None]), priors


@pytest.mark.parametrize("a", [0.01, 0.5, 30.0])
def test_rescaled_relu_network_has_the_same_evidence(a):
    rng = np.random.default_rng(0)
    W1, b1, w2 = rng.normal(size=(3, 5)), rng.normal(size=5), rng.normal(size=5)
    X, y = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    cost, H, priors = relu_network(W1, b1, w2, X, y, 0.5, 2.0)
    cost_a, H_a, priors_a = relu_network(a * W1, a * b1, w2 / a, X, y, 0.5 / a**2, 2.0 * a**2)
    reference = log_evidence_from_hessian(cost, H, prior_precision=priors)
    assert log_evidence_from_hessian(cost_a, H_a, prior_precision=priors_a) == pytest.approx(
        reference, rel=1e-10
    )
    scale = np.repeat([a, 1 / a], [20, 5])
    ours, ours_priors = rescale_parameters(H, priors, scale=scale)
    np.testing.assert_allclose(ours, H_a, rtol=1e-9, atol=1e-12 * np.max(np.abs(H_a)))
    np.testing.assert_allclose(ours_priors, priors_a, rtol=1e-12)
    largest, largest_a = np.linalg.eigvalsh(H)[-1], np.linalg.eigvalsh(H_a)[-1]
    assert not 0.8 < largest_a / largest < 1.25
    unmatched = log_evidence_from_hessian(cost_a, H_a, prior_precision=priors)
    assert abs(unmatched - reference) > 0.1


# ------------------------------------------------------------------------------ ratios to the null


def test_null_and_ratios():
    assert null_log_evidence(800, 2) == pytest.approx(-800 * np.log(2), rel=1e-15)
    assert isinstance(null_log_evidence(800, 2), float)
    np.testing.assert_allclose(
        null_log_evidence([[1], [50]], [2, 10]), [[-np.log(2), -np.log(10)]] * np.array([[1], [50]])
    )
    E = log_evidence_ratio([-20.0, -600.0], train_size=800, n_classes=2)
    np.testing.assert_allclose(E, [20 - 800 * np.log(2), 600 - 800 * np.log(2)], rtol=1e-14)
    assert E[0] < 0 < E[1]
    ratio = evidence_ratio(-2.0, train_size=4, n_classes=3)
    assert isinstance(ratio, float)
    assert ratio == pytest.approx(np.exp(-2.0) * 3**4, rel=1e-13)


def test_evidence_ratio_overflows_silently():
    ratio = evidence_ratio([-1e-3, -1e6], train_size=100_000, n_classes=10)
    np.testing.assert_array_equal(ratio, [np.inf, 0.0])


@given(st.integers(1, 10**6), st.integers(2, 1000))
def test_the_null_model_against_itself(train_size, n_classes):
    own = null_log_evidence(train_size, n_classes)
    assert log_evidence_ratio(own, train_size=train_size, n_classes=n_classes) == 0.0
    assert evidence_ratio(own, train_size=train_size, n_classes=n_classes) == 1.0


# --------------------------------------------------------------------------------------------- BIC


def test_schwarz_criterion_stays_within_a_constant_of_the_exact_evidence():
    rng = np.random.default_rng(0)
    w, prior, noise = np.array([1.0, -0.5, 0.3]), 0.7, 2.0
    X = rng.standard_normal((100_000, 3))
    y = X @ w + rng.standard_normal(100_000) / np.sqrt(noise)
    limit = -prior * (w @ w) / 2 + 1.5 * np.log(prior / noise)  # XᵀX/N → I
    evidences = []
    for n in (100, 1000, 10_000, 100_000):
        A, b = X[:n], y[:n]
        rss = np.sum((b - A @ np.linalg.lstsq(A, b)[0]) ** 2)
        cost = noise * rss / 2 - n * np.log(noise / (2 * np.pi)) / 2
        exact = linear_evidence(A, b, prior_precision=prior, noise_precision=noise).log_evidence
        schwarz = bayesian_information_criterion(cost, n_parameters=3, train_size=n)
        assert abs(exact - schwarz - limit) < 8 / np.sqrt(n)
        evidences.append(exact)
    assert evidences[0] - evidences[-1] > 1e5


def test_schwarz_criterion_by_hand():
    value = bayesian_information_criterion([1.0, 2.0], n_parameters=np.int64(4), train_size=100)
    np.testing.assert_allclose(value, [-1 - 4 * np.log(10), -2 - 4 * np.log(10)], rtol=1e-15)
    assert isinstance(bayesian_information_criterion(1.0, n_parameters=4, train_size=1), float)


# ------------------------------------------------------------------------------ one-dimensional


def by_mpmath(energy, start):
    with mp.workdps(50):
        minimum = mp.findroot(lambda x: mp.diff(energy, x), start)
        return float(mp.log(2 * mp.pi / mp.diff(energy, minimum, 2)) / 2 - energy(minimum))


def test_laplace_depends_on_the_coordinate_and_the_integral_does_not():
    def energy(w):
        return 1.5 * (w - 0.5) ** 2 + w**4 / 10

    def energy_of_sinh(u):
        return energy(np.arcsinh(u)) + np.log1p(u * u) / 2

    def energy_of_sinh_mp(u):
        return energy(mp.asinh(u)) + mp.log(1 + u * u) / 2

    plain = laplace_log_integral(energy, bracket=(-3.0, 3.0))
    curved = laplace_log_integral(energy_of_sinh, bracket=(-3.0, 3.0))
    assert isinstance(plain, float)
    assert plain == pytest.approx(by_mpmath(energy, mp.mpf("0.4")), abs=1e-8)
    assert curved == pytest.approx(by_mpmath(energy_of_sinh_mp, mp.mpf("0.2")), abs=1e-8)
    assert abs(plain - curved) > 0.01
    exact = mp.log(mp.quad(lambda w: mp.exp(-energy(w)), [-mp.inf, 0, mp.inf]))
    exact_curved = mp.log(
        mp.quad(lambda u: mp.exp(-energy_of_sinh_mp(u)), [-mp.inf, -1, 0, 1, 10, mp.inf])
    )
    assert float(exact) == pytest.approx(float(exact_curved), abs=1e-6)
    assert abs(plain - float(exact)) < 0.2


@pytest.mark.parametrize("width", [1e-6, 1e-3, 1.0, 1e3, 1e6])
@pytest.mark.parametrize("centre", [0.0, 7.0, -1e3])
def test_gaussians_have_no_error(width, centre):
    value = laplace_log_integral(
        lambda x: ((x - centre * width) / width) ** 2 / 2,
        bracket=((centre - 3) * width, (centre + 4) * width),
    )
    assert value == pytest.approx(0.5 * np.log(2 * np.pi) + np.log(width), abs=1e-8)


def test_stirling():
    """∫ e^(-n (x - ln x)) dx = n! / n^(n+1), by Laplace Stirling's formula; ln x needs x > 0."""
    for n in (3.0, 30.0, 300.0):
        value = laplace_log_integral(lambda x, n=n: n * (x - np.log(x)), bracket=(1e-3, 5.0))
        assert value == pytest.approx(0.5 * np.log(2 * np.pi / n) - n, abs=1e-7)


def test_minimum_close_to_where_the_energy_ends():
    value = laplace_log_integral(
        lambda x: -20 * np.log(x) - 2 * np.log1p(-x), bracket=(1e-6, 1 - 1e-6)
    )
    mode = 20 / 22
    curvature = 20 / mode**2 + 2 / (1 - mode) ** 2
    expected = 20 * np.log(mode) + 2 * np.log1p(-mode) + 0.5 * np.log(2 * np.pi / curvature)
    assert value == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_constant_in_the_energy(offset):
    value = laplace_log_integral(lambda x: np.cosh(x) + offset, bracket=(-3.0, 4.0))
    assert value + offset == pytest.approx(0.5 * np.log(2 * np.pi) - 1, abs=1e-4)


# ------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize("function", [log_occam_factor, occam_factor])
@pytest.mark.parametrize(
    ("eigenvalues", "prior", "message"),
    [
        (3.0, 1.0, "eigenvalues must have at least one dimension, got a scalar"),
        ([], 1.0, "eigenvalues is empty"),
        ([1.0, np.nan], 1.0, "eigenvalues has NaN"),
        (["a"], 1.0, "eigenvalues must be an array of numbers"),
        ([1.0], 0.0, "prior_precision must be positive, got 0"),
        ([1.0], [1.0, -3.0], "prior_precision must be positive, got -3"),
        ([1.0], np.inf, "prior_precision has NaN or infinite"),
        (np.ones((3, 2)), np.ones(2), "broadcast"),
    ],
)
def test_occam_factor_raises(function, eigenvalues, prior, message):
    with pytest.raises(ValueError, match=message):
        function(eigenvalues, prior_precision=prior)


@pytest.mark.parametrize(
    ("cost", "eigenvalues", "prior", "message"),
    [
        (np.nan, [1.0], 1.0, "cost has NaN"),
        ("low", [1.0], 1.0, "cost must be an array of numbers"),
        (1.0, 2.0, 1.0, "eigenvalues must have at least one dimension"),
        (1.0, [np.inf], 1.0, "eigenvalues has NaN or infinite"),
        (1.0, [1.0], -1.0, "prior_precision must be positive"),
    ],
)
def test_log_evidence_from_spectrum_raises(cost, eigenvalues, prior, message):
    with pytest.raises(ValueError, match=message):
        log_evidence_from_spectrum(cost, eigenvalues, prior_precision=prior)


BAD_HESSIANS = [
    (3.0, r"hessian must be square, got shape \(\)"),
    (np.ones((2, 3)), r"hessian must be square, got shape \(2, 3\)"),
    ([[1.0, 2.0], [3.0, 4.0]], "hessian is not symmetric"),
    ([[1.0, np.nan], [np.nan, 1.0]], "hessian has NaN"),
    (np.ones((0, 0)), "hessian is empty"),
]
BAD_PRIORS = [
    (0.0, "prior_precision must be positive"),
    (np.ones(3), r"prior_precision must be a scalar or have 2 entries last, got \(3,\)"),
    ([1.0, np.inf], "prior_precision has NaN or infinite"),
]


@pytest.mark.parametrize(("hessian", "message"), BAD_HESSIANS)
def test_bad_hessians(hessian, message):
    with pytest.raises(ValueError, match=message):
        log_evidence_from_hessian(0.0, hessian, prior_precision=1.0)
    with pytest.raises(ValueError, match=message):
        rescale_parameters(hessian, 1.0, scale=1.0)


@pytest.mark.parametrize(("prior", "message"), BAD_PRIORS)
def test_bad_priors(prior, message):
    with pytest.raises(ValueError, match=message):
        log_evidence_from_hessian(0.0, np.eye(2), prior_precision=prior)
    with pytest.raises(ValueError, match=message):
        rescale_parameters(np.eye(2), prior, scale=1.0)


def test_bad_cost_with_a_hessian():
    with pytest.raises(ValueError, match="cost has NaN"):
        log_evidence_from_hessian(np.nan, np.eye(2), prior_precision=1.0)


@pytest.mark.parametrize(
    ("scale", "message"),
    [
        (-1.0, "scale must be positive"),
        (np.ones(3), "scale must be a scalar or have 2 entries"),
        (np.nan, "scale has NaN"),
    ],
)
def test_bad_scales(scale, message):
    with pytest.raises(ValueError, match=message):
        rescale_parameters(np.eye(2), 1.0, scale=scale)


@pytest.mark.parametrize(
    "arguments",
    [
        (np.zeros((2, 3, 3)), 1.0, 1.0),
        (np.eye(3), np.ones((2, 3)), 1.0),
        (np.eye(3), 1.0, np.ones((2, 3))),
    ],
)
def test_rescale_takes_one_hessian_only(arguments):
    hessian, prior, scale = arguments
    with pytest.raises(ValueError, match=r"hessian|prior_precision|scale"):
        rescale_parameters(hessian, prior, scale=scale)


@pytest.mark.parametrize(
    ("train_size", "n_classes", "message"),
    [
        (0, 2, "train_size"),
        (-3, 2, "train_size"),
        (0.5, 2, "train_size"),
        (10, 1, "n_classes"),
        (10, [2, 0], "n_classes"),
        (np.nan, 2, "train_size has NaN"),
        (10, "two", "n_classes must be an array of numbers"),
    ],
)
def test_counts_out_of_range(train_size, n_classes, message):
    with pytest.raises(ValueError, match=message):
        null_log_evidence(train_size, n_classes)
    for function in (log_evidence_ratio, evidence_ratio):
        with pytest.raises(ValueError, match=message):
            function(-1.0, train_size=train_size, n_classes=n_classes)


@pytest.mark.parametrize("function", [log_evidence_ratio, evidence_ratio])
def test_bad_log_evidence(function):
    with pytest.raises(ValueError, match="log_evidence has NaN or infinite"):
        function(-np.inf, train_size=10, n_classes=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cost": np.inf}, "cost has NaN or infinite"),
        ({"n_parameters": 0}, "n_parameters must be an integer of at least 1, got 0"),
        ({"n_parameters": 2.0}, "n_parameters must be an integer"),
        ({"train_size": 0}, "train_size must be an integer of at least 1, got 0"),
        ({"train_size": True}, "train_size must be an integer"),
    ],
)
def test_bayesian_information_criterion_raises(change, message):
    arguments = {"cost": 1.0, "n_parameters": 2, "train_size": 10} | change
    with pytest.raises(ValueError, match=message):
        bayesian_information_criterion(arguments.pop("cost"), **arguments)


@pytest.mark.parametrize(
    ("energy", "bracket", "message"),
    [
        (np.square, (1.0, 0.0), "bracket must be"),
        (np.square, (1.0, 1.0), "bracket must be"),
        (np.square, (-np.inf, 1.0), "bracket has NaN or inf"),
        (np.square, (-1.0, 0.0, 1.0), "bracket"),
        (np.square, ("low", 1.0), "bracket"),
        (lambda x: x, (0.0, 1.0), "energy has no interior minimum"),
        (lambda x: -x * x, (-1.0, 2.0), "energy has no interior minimum"),
        (lambda x: 0.0 * x, (-1.0, 2.0), "energy has no interior minimum"),
        (lambda x: x**4, (-1.0, 2.0), "energy has no interior minimum"),
        (lambda x: np.nan * x, (-1.0, 2.0), "energy"),
    ],
)
def test_laplace_log_integral_raises(energy, bracket, message):
    with pytest.raises(ValueError, match=message):
        laplace_log_integral(energy, bracket=bracket)


# ------------------------------------------------------------------------------------------ module


def test_import_stays_light():
    code = (
        "import sys, theory.evidence; heavy = {'numba', 'sympy', 'torch', 'matplotlib', 'sklearn'}"
        "; sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_everything_public_is_documented_and_exported():
    for name in evidence.__all__:
        doc = getattr(evidence, name).__doc__
        assert doc
        assert "Attributes" in doc or all(
            section in doc
            for section in ("Parameters", "Returns", "Raises", "References", "Examples")
        ), name
