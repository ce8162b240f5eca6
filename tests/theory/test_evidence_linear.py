"""Exact linear evidence by function space, scikit-learn, 50 digits; its maximum."""

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import multivariate_normal
from sklearn.linear_model import BayesianRidge

from theory.evidence import linear_evidence, maximize_linear_evidence

SHAPES = [(12, 5), (5, 12), (7, 7), (8, 7), (1, 4), (6, 1), (1, 1), (2, 2)]


def problem(n, d, seed=0, noise=0.5):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    return X, X @ rng.standard_normal(d) + noise * rng.standard_normal(n)


def function_space(X, y, prior, noise):
    covariance = np.eye(len(y)) / noise + X @ X.T / prior
    return multivariate_normal.logpdf(y, cov=covariance)


def fifty_digits(X, y, prior, noise):
    """Weight space: log evidence, γ, log Occam factor, misfit and weights."""
    with mp.workdps(50):
        n, d = X.shape
        prior, noise = mp.mpf(float(prior)), mp.mpf(float(noise))
        design, targets = mp.matrix(X.tolist()), mp.matrix(y.tolist())
        A = noise * (design.T * design) + prior * mp.eye(d)
        w = mp.lu_solve(A, noise * (design.T * targets))
        inverse = A**-1
        occam = (d * mp.log(prior) - mp.log(mp.det(A))) / 2
        residual = targets - design * w
        misfit = (residual.T * residual)[0]
        gamma = d - prior * mp.fsum(inverse[i, i] for i in range(d))
        log_evidence = (
            occam
            + n * mp.log(noise / (2 * mp.pi)) / 2
            - (noise * misfit + prior * (w.T * w)[0]) / 2
        )
        numbers = [float(x) for x in (log_evidence, gamma, occam, misfit)]
        return *numbers, np.array([float(x) for x in w])


def ill_conditioned():
    rng = np.random.default_rng(1)
    for n, d in SHAPES:
        X = rng.standard_normal((n, d))
        k = min(n, d)
        yield f"plain-{n}x{d}", X
        yield f"columns-over-12-decades-{n}x{d}", X * np.logspace(0, -12, d)
        yield f"rows-over-8-decades-{n}x{d}", X * np.logspace(0, -8, n)[:, None]
        if k > 1:
            U = np.linalg.qr(rng.standard_normal((n, k)))[0]
            V = np.linalg.qr(rng.standard_normal((d, k)))[0]
            for decades in (4, 7, 8, 10):
                yield (
                    f"spectrum-over-{decades}-decades-{n}x{d}",
                    U * np.logspace(0, -decades, k) @ V.T,
                )
            yield f"rank-one-{n}x{d}", np.outer(X[:, 0], X[0])
        if d > 2:
            duplicated, constant = X.copy(), X.copy()
            duplicated[:, 1] = duplicated[:, 0]
            constant[:, 0], constant[:, -1] = 1.0, 0.0
            yield f"duplicated-column-{n}x{d}", duplicated
            yield f"constant-and-zero-column-{n}x{d}", constant
        yield f"tiny-{n}x{d}", 1e-70 * X
        yield f"huge-{n}x{d}", 1e70 * X


ILL_CONDITIONED = dict(ill_conditioned())


# ------------------------------------------------------------------------------ one precision pair


@pytest.mark.parametrize(("n", "d"), SHAPES)
@pytest.mark.parametrize(("prior", "noise"), [(1.0, 1.0), (0.03, 40.0), (200.0, 0.1)])
def test_function_space_density(n, d, prior, noise):
    X, y = problem(n, d)
    exact = linear_evidence(X, y, prior_precision=prior, noise_precision=noise)
    assert exact.log_evidence == pytest.approx(function_space(X, y, prior, noise), abs=1e-9)


@pytest.mark.parametrize("name", ILL_CONDITIONED)
@pytest.mark.parametrize("times_limit", [1.001, 1e3, 1e6, 1e9, 1e13, 1e19])
def test_fifty_digits_from_the_documented_limit_up(name, times_limit):
    X = ILL_CONDITIONED[name]
    n, d = X.shape
    squares = np.linalg.norm(X) ** 2
    y = np.random.default_rng(2).standard_normal(n)
    noise = 3.0
    prior = noise * times_limit * (min(n, d) * np.finfo(float).eps / 1e-6) ** 2 * squares
    exact = linear_evidence(X, y, prior_precision=prior, noise_precision=noise)
    log_evidence, gamma, occam, misfit, weights = fifty_digits(X, y, prior, noise)
    assert exact.log_occam_factor == pytest.approx(occam, abs=1e-6)
    assert exact.log_evidence == pytest.approx(log_evidence, abs=1e-6 * (1 + noise * (y @ y) / 2))
    assert exact.effective_parameters == pytest.approx(gamma, abs=2e-6)
    assert exact.misfit == pytest.approx(misfit, abs=1e-6 * (y @ y))
    if prior / noise > 1e-3 * squares:
        assert np.linalg.norm(exact.weights() - weights) <= 1e-8 * np.linalg.norm(weights)


def test_below_the_documented_limit():
    X, y = problem(12, 5)
    limit = (5 * np.finfo(float).eps / 1e-6) ** 2 * np.linalg.norm(X) ** 2
    linear_evidence(X, y, prior_precision=1.001 * limit, noise_precision=1.0)
    with pytest.raises(ValueError, match=r"prior_precision / noise_precision = .* too small"):
        linear_evidence(X, y, prior_precision=0.999 * limit, noise_precision=1.0)


@pytest.mark.parametrize("name", ["duplicated-column-12x5", "rank-one-5x12", "rank-one-12x5"])
def test_weights_of_a_rank_deficient_design_at_the_limit(name):
    X = ILL_CONDITIONED[name]
    y = np.random.default_rng(2).standard_normal(len(X))
    limit = (min(X.shape) * np.finfo(float).eps / 1e-6) ** 2 * np.linalg.norm(X) ** 2
    exact = linear_evidence(X, y, prior_precision=1.001 * limit, noise_precision=1.0)
    shortest = np.linalg.lstsq(X, y)[0]
    assert np.linalg.norm(exact.weights() - shortest) <= 1e-6 * np.linalg.norm(shortest)


def test_few_effective_parameters_keep_their_digits():
    X, y = problem(12, 5)
    exact = linear_evidence(X, y, prior_precision=1e20, noise_precision=1.0)
    assert exact.effective_parameters == pytest.approx(np.sum(X * X) / 1e20, rel=1e-12)


# ------------------------------------------------------------------------------------------ shapes


def test_grid_of_precisions_is_every_pair_alone():
    X, y = problem(9, 4)
    prior, noise = np.array([[1e-12], [1.0], [1e6]]), np.array([0.5, 2.0])
    grid = linear_evidence(X, y, prior_precision=prior, noise_precision=noise)
    assert grid.weights().shape == (3, 2, 4)
    for i in range(3):
        for j in range(2):
            alone = linear_evidence(X, y, prior_precision=prior[i, 0], noise_precision=noise[j])
            for field in ("log_evidence", "effective_parameters", "log_occam_factor", "misfit"):
                assert getattr(grid, field).shape == (3, 2)
                assert getattr(grid, field)[i, j] == pytest.approx(
                    getattr(alone, field), rel=1e-7, abs=1e-7
                )
            np.testing.assert_allclose(grid.weights()[i, j], alone.weights(), rtol=1e-7)


def test_scalars_give_floats_and_precisions_come_back():
    X, y = problem(9, 4)
    exact = linear_evidence(X, y, prior_precision=2, noise_precision=3)
    for field in ("log_evidence", "effective_parameters", "log_occam_factor", "misfit"):
        assert isinstance(getattr(exact, field), float)
    assert (exact.prior_precision, exact.noise_precision) == (2.0, 3.0)
    assert exact.weights().shape == (4,)


@pytest.mark.parametrize(("n", "d"), SHAPES)
def test_weights_are_the_ridge_solution(n, d):
    X, y = problem(n, d)
    exact = linear_evidence(X, y, prior_precision=[0.3, 30.0], noise_precision=2.0)
    for w, ratio, misfit in zip(exact.weights(), (0.15, 15.0), exact.misfit, strict=True):
        ridge = np.linalg.solve(X.T @ X + ratio * np.eye(d), X.T @ y)
        np.testing.assert_allclose(w, ridge, rtol=1e-10, atol=1e-13)
        assert misfit == pytest.approx(np.sum((y - X @ ridge) ** 2), rel=1e-9, abs=1e-13)


@pytest.mark.parametrize(
    "convert", [np.ndarray.tolist, np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2]]
)
def test_any_array_like(convert):
    rng = np.random.default_rng(0)
    X, y = rng.integers(-3, 4, (8, 3)), rng.integers(-3, 4, 8)
    given_as_is = linear_evidence(X * 1.0, y * 1.0, prior_precision=1, noise_precision=1)
    converted = linear_evidence(convert(X), convert(y), prior_precision=1, noise_precision=1)
    assert converted.log_evidence == pytest.approx(given_as_is.log_evidence, rel=1e-14)


# -------------------------------------------------------------------------------------- invariance

problems = st.builds(
    problem, st.integers(1, 8), st.integers(1, 8), st.integers(0, 1000), st.floats(0.01, 10.0)
)
log_precisions = st.floats(-7.0, 7.0)


@given(problems, log_precisions, log_precisions)
def test_properties(data, log_prior, log_noise):
    (X, y), prior, noise = data, np.exp(log_prior), np.exp(log_noise)
    n, d = X.shape

    def evidence(X, y, prior=prior):
        return linear_evidence(X, y, prior_precision=prior, noise_precision=noise)

    reference = evidence(X, y)
    assert 0.0 <= reference.effective_parameters <= min(n, d)
    assert reference.log_occam_factor <= 0.0
    rng = np.random.default_rng(3)
    rotation = np.linalg.qr(rng.standard_normal((d, d)))[0]
    row_rotation = np.linalg.qr(rng.standard_normal((n, n)))[0]
    order = rng.permutation(n)
    same = {
        "rotated columns": evidence(X @ rotation, y),
        "rotated data": evidence(row_rotation @ X, row_rotation @ y),
        "permuted rows": evidence(X[order], y[order]),
        "zero columns": evidence(np.column_stack([X, np.zeros((n, 9))]), y),
        "rescaled design": evidence(100.0 * X, y, 1e4 * prior),
    }
    for name, other in same.items():
        tolerance = 1e-9 * (1 + noise * (y @ y))
        assert other.log_evidence == pytest.approx(reference.log_evidence, abs=tolerance), name


@given(problems, st.floats(-70, 70))
def test_scale_of_the_targets(data, decades):
    (X, y), c = data, 10.0**decades
    plain = linear_evidence(X, y, prior_precision=1.0, noise_precision=2.0)
    scaled = linear_evidence(X, c * y, prior_precision=1 / c**2, noise_precision=2 / c**2)
    change = -len(y) * np.log(c)
    assert scaled.log_evidence - change == pytest.approx(plain.log_evidence, rel=1e-9, abs=1e-9)


# ------------------------------------------------------------------------------------- the maximum


def scikit_learn(X, y):
    model = BayesianRidge(
        max_iter=100_000,
        tol=1e-14,
        alpha_1=0.0,
        alpha_2=0.0,
        lambda_1=0.0,
        lambda_2=0.0,
        compute_score=True,
        fit_intercept=False,
    )
    return model.fit(X, y)


@pytest.mark.parametrize(("n", "d", "seed"), [(50, 5, 0), (200, 12, 1), (20, 40, 2), (40, 40, 5)])
def test_scikit_learn_score_and_maximum(n, d, seed):
    X, y = problem(n, d, seed, noise=1.0)
    model = scikit_learn(X, y)
    ours = linear_evidence(X, y, prior_precision=model.lambda_, noise_precision=model.alpha_)
    assert ours.log_evidence == pytest.approx(model.scores_[-1], abs=1e-9)
    np.testing.assert_allclose(ours.weights(), model.coef_, rtol=1e-6)
    best = maximize_linear_evidence(X, y)
    assert best.converged
    assert best.evidence.log_evidence == pytest.approx(model.scores_[-1], abs=1e-9)
    assert best.evidence.prior_precision == pytest.approx(model.lambda_, rel=1e-5)
    assert best.evidence.noise_precision == pytest.approx(model.alpha_, rel=1e-5)


@pytest.mark.parametrize(("n", "d", "seed"), [(40, 3, 0), (15, 25, 3)])
def test_numerical_maximum_over_both_log_precisions(n, d, seed):
    X, y = problem(n, d, seed, noise=3.0)

    def objective(log_precisions):
        return -function_space(X, y, *np.exp(log_precisions))

    found = minimize(
        objective, [0.0, 0.0], method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}
    )
    best = maximize_linear_evidence(X, y).evidence
    assert best.log_evidence == pytest.approx(-found.fun, abs=1e-8)
    assert np.log([best.prior_precision, best.noise_precision]) == pytest.approx(found.x, abs=1e-4)


def assert_stationary(X, y, best):
    evidence, w = best.evidence, best.evidence.weights()
    gamma = evidence.effective_parameters
    assert evidence.prior_precision * (w @ w) == pytest.approx(gamma, rel=1e-7)
    assert evidence.noise_precision * np.sum((y - X @ w) ** 2) == pytest.approx(
        len(y) - gamma, rel=1e-7
    )


@given(problems)
def test_stationary_where_converged_and_never_beaten(data):
    X, y = data
    best = maximize_linear_evidence(X, y)
    if not best.converged:  # at the edge of what is resolved there are no neighbours to compare
        return
    assert_stationary(X, y, best)
    at = best.evidence
    around = linear_evidence(
        X,
        y,
        prior_precision=at.prior_precision * np.logspace(-0.5, 2, 11)[:, None],
        noise_precision=at.noise_precision * np.logspace(-2, 0.5, 11),
    )
    assert np.max(around.log_evidence) <= at.log_evidence + 1e-9


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("target_scale", [1e-60, 1.0, 1e60])
def test_scale_of_design_and_targets_leaves_the_maximum(scale, target_scale):
    X, y = problem(30, 4)
    plain = maximize_linear_evidence(X, y)
    scaled = maximize_linear_evidence(scale * X, target_scale * y)
    assert scaled.converged
    assert scaled.evidence.log_evidence + 30 * np.log(target_scale) == pytest.approx(
        plain.evidence.log_evidence, abs=1e-8
    )
    assert scaled.evidence.noise_precision * target_scale**2 == pytest.approx(
        plain.evidence.noise_precision, rel=1e-6
    )


@pytest.mark.parametrize(
    "name",
    ["spectrum-over-7-decades-12x5", "spectrum-over-8-decades-8x7", "rows-over-8-decades-7x7"],
)
def test_maximum_of_an_ill_conditioned_design(name):
    X = ILL_CONDITIONED[name]
    y = 10 * X[:, 0] + np.random.default_rng(3).standard_normal(len(X))
    best = maximize_linear_evidence(X, y).evidence
    exact, *_ = fifty_digits(X, y, best.prior_precision, best.noise_precision)
    assert best.log_evidence == pytest.approx(exact, abs=1e-5)


def test_pure_noise():
    outcomes = []
    for seed in range(20):
        X = np.random.default_rng(seed).standard_normal((50, 5))
        y = np.random.default_rng(100 + seed).standard_normal(50)
        best = maximize_linear_evidence(X, y)
        outcomes.append(best.converged)
        if best.converged:
            assert_stationary(X, y, best)
        else:
            assert best.evidence.effective_parameters < 1e-6
            assert best.iterations == 0
    assert not all(outcomes)


def test_orthogonal_targets_want_no_weights():
    best = maximize_linear_evidence([[1.0], [1.0], [0.0]], [1.0, -1.0, 0.0])
    assert not best.converged
    assert best.evidence.effective_parameters < 1e-6


@pytest.mark.parametrize(("n", "d"), [(50, 5), (3, 5), (1, 1)])
def test_noiseless_targets(n, d):
    X, y = problem(n, d, noise=0.0)
    best = maximize_linear_evidence(X, y)
    assert not best.converged
    assert best.iterations == 0


# ------------------------------------------------------------------------------------------ errors

VALID = {"X": np.eye(3), "y": np.arange(3.0), "prior_precision": 1.0, "noise_precision": 1.0}
BAD_DATA = [
    ({"X": np.ones(3)}, "X must have 2 dimensions"),
    ({"X": np.ones((3, 0))}, "X is empty"),
    ({"X": [[1.0], [np.nan], [2.0]]}, "X has NaN"),
    ({"X": [["a"], ["b"], ["c"]]}, "X must be an array of numbers"),
    ({"X": [[1.0], [2.0, 3.0], [1.0]]}, "X must be an array of numbers"),
    ({"X": np.zeros((3, 2))}, "X is zero"),
    ({"X": np.eye(4)}, "X has 4 rows but y has 3"),
    ({"y": np.ones((3, 1))}, "y must have 1 dimensions"),
    ({"y": []}, "y is empty"),
    ({"y": [1.0, np.inf, 0.0]}, "y has NaN or infinite"),
]
BAD_PRECISIONS = [
    ({"prior_precision": 0.0}, "prior_precision must be positive, got 0"),
    ({"prior_precision": [1.0, -2.0]}, "prior_precision must be positive, got -2"),
    ({"prior_precision": np.nan}, "prior_precision has NaN"),
    ({"prior_precision": []}, "prior_precision is empty"),
    ({"prior_precision": "one"}, "prior_precision must be an array of numbers"),
    ({"noise_precision": -1.0}, "noise_precision must be positive, got -1"),
    ({"noise_precision": np.inf}, "noise_precision has NaN or infinite"),
    ({"prior_precision": [1, 2], "noise_precision": [1, 2, 3]}, "do not broadcast"),
    ({"prior_precision": 1e-40}, "too small for float64"),
]


@pytest.mark.parametrize(("change", "message"), BAD_DATA + BAD_PRECISIONS)
def test_linear_evidence_raises(change, message):
    with pytest.raises(ValueError, match=message):
        linear_evidence(**VALID | change)


@pytest.mark.parametrize(
    ("change", "message"), [*BAD_DATA, ({"y": np.zeros(3)}, "y is zero everywhere")]
)
def test_maximize_raises(change, message):
    arguments = {"X": VALID["X"], "y": VALID["y"]} | change
    with pytest.raises(ValueError, match=message):
        maximize_linear_evidence(**arguments)
