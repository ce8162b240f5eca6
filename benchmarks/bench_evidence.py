"""Evidence against its peers: CPU seconds on one thread, every peer checked for its numbers.

Run with ``pytest benchmarks/bench_evidence.py -n 0``.
"""

import time
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import cho_factor, cho_solve
from scipy.special import expit
from sklearn.linear_model import BayesianRidge, LogisticRegression

from theory.evidence import laplace_evidence, linear_evidence, log_determinant


def in_group(name):
    return pytest.mark.benchmark(group=name, timer=time.process_time)


# --- linear evidence, 50 prior precisions -------------------------------------------------------

NOISE_PRECISION = 4.0
LINEAR_PRECISIONS = np.logspace(-3, 3, 50)


def linear_problem(n, d):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    y = X @ rng.standard_normal(d) + rng.standard_normal(n) / np.sqrt(NOISE_PRECISION)

    def ours(prior_precision=LINEAR_PRECISIONS, noise_precision=NOISE_PRECISION):
        return linear_evidence(
            X, y, prior_precision=prior_precision, noise_precision=noise_precision
        ).log_evidence

    return SimpleNamespace(X=X, y=y, ours=ours, expected=ours())


@pytest.fixture(scope="module")
def small():
    return linear_problem(800, 785)


@pytest.fixture(scope="module")
def tall():
    return linear_problem(100_000, 500)


def gaussian_log_evidence(n, d, prior, fit, weights, log_det):
    energy = NOISE_PRECISION * fit + prior * (weights @ weights)
    return 0.5 * (n * np.log(NOISE_PRECISION / (2 * np.pi)) + d * np.log(prior) - log_det - energy)


def slogdet_loop(X, y):
    values = []
    for prior in LINEAR_PRECISIONS:
        A = prior * np.eye(X.shape[1]) + NOISE_PRECISION * (X.T @ X)
        weights = np.linalg.solve(A, NOISE_PRECISION * (X.T @ y))
        log_det = np.linalg.slogdet(A)[1]
        fit = np.sum((y - X @ weights) ** 2)
        values.append(gaussian_log_evidence(*X.shape, prior, fit, weights, log_det))
    return np.array(values)


def shared_gram_cholesky(X, y):
    gram, moments, squares = X.T @ X, X.T @ y, y @ y
    values = []
    for prior in LINEAR_PRECISIONS:
        A = NOISE_PRECISION * gram
        A.flat[:: len(A) + 1] += prior
        factor = cho_factor(A, lower=True, overwrite_a=True, check_finite=False)
        weights = cho_solve(factor, NOISE_PRECISION * moments, check_finite=False)
        log_det = 2.0 * np.sum(np.log(np.diagonal(factor[0])))
        fit = squares - 2.0 * moments @ weights + weights @ gram @ weights
        values.append(gaussian_log_evidence(*X.shape, prior, fit, weights, log_det))
    return np.array(values)


def thin_svd(X, y):
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    projections = U.T @ y
    rest = np.sum((y - U @ projections) ** 2)
    ratio = LINEAR_PRECISIONS[:, None] / NOISE_PRECISION
    energy = NOISE_PRECISION * (rest + (ratio / (ratio + s**2)) @ projections**2)
    log_occam = -0.5 * np.sum(np.log1p(s**2 / ratio), axis=1)
    return 0.5 * len(y) * np.log(NOISE_PRECISION / (2 * np.pi)) + log_occam - 0.5 * energy


def check_bayesian_ridge(model, problem):
    """Its score holds the log densities of its Gamma priors of 1e-6 too: take them out."""
    alpha, prior = float(model.alpha_), float(model.lambda_)
    hyperprior = 1e-6 * (np.log(prior) - prior + np.log(alpha) - alpha)
    expected = problem.ours(prior, alpha)
    assert abs(model.scores_[-1] - hyperprior - expected) < 1e-6 * abs(expected)


SMALL = in_group("linear evidence: 50 prior precisions, n=800, d=785")
TALL = in_group("linear evidence: 50 prior precisions, n=100000, d=500")


def bayesian_ridge(problem):
    return BayesianRidge(fit_intercept=False, compute_score=True).fit(problem.X, problem.y)


@SMALL
def test_small_ours(small, against):
    against(small.ours, small.ours, rounds=7)


@SMALL
def test_small_bayesian_ridge_one_fit(small, against):
    model = against(
        lambda: bayesian_ridge(small), small.ours, rounds=7, warmup_rounds=1, target=2.5
    )
    check_bayesian_ridge(model, small)


@SMALL
@pytest.mark.parametrize(
    ("peer", "target"),
    [
        pytest.param(thin_svd, None, id="thin SVD"),
        pytest.param(shared_gram_cholesky, None, id="Cholesky, shared Gram"),
        pytest.param(slogdet_loop, 18.0, id="slogdet loop"),
    ],
)
def test_small(small, against, peer, target):
    values = against(lambda: peer(small.X, small.y), small.ours, rounds=5, target=target)
    np.testing.assert_allclose(values, small.expected, rtol=0, atol=1e-6)


@TALL
def test_tall_floor_one_gram_matrix(tall, against):
    gram = against(
        lambda: tall.X.T @ tall.X, tall.ours, rounds=7, warmup_rounds=1, target=round(1 / 1.1, 3)
    )
    assert gram.shape == (500, 500)


@TALL
def test_tall_bayesian_ridge_one_fit(tall, against):
    model = against(lambda: bayesian_ridge(tall), tall.ours, rounds=1, target=14.0)
    check_bayesian_ridge(model, tall)


@TALL
@pytest.mark.parametrize(
    ("peer", "rounds", "target"),
    [
        pytest.param(thin_svd, 1, None, id="thin SVD"),
        pytest.param(shared_gram_cholesky, 5, None, id="Cholesky, shared Gram"),
        pytest.param(slogdet_loop, 1, 45.0, id="slogdet loop"),
    ],
)
def test_tall(tall, against, peer, rounds, target):
    values = against(lambda: peer(tall.X, tall.y), tall.ours, rounds=rounds, target=target)
    np.testing.assert_allclose(values, tall.expected, rtol=0, atol=1e-5)


# --- Laplace evidence of logistic regression, 30 prior precisions -------------------------------

LAPLACE_PRECISIONS = np.logspace(4, -4, 30)


@pytest.fixture(scope="module", params=["linear teacher", "random labels"])
def logistic(request):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((800, 784))
    teacher = rng.standard_normal(784)
    y = (X @ teacher > 0).astype(int) if "teacher" in request.param else rng.integers(0, 2, 800)

    def ours():
        return laplace_evidence(X, y, prior_precision=LAPLACE_PRECISIONS)

    fit = ours()
    assert fit.converged.all()
    assert fit.gradient_norm.max() < 1e-8
    with_bias = np.column_stack([X, np.ones(len(X))])
    return SimpleNamespace(X=X, with_bias=with_bias, y=y, ours=ours, fit=fit)


def dual_cholesky(K, P, prior):
    """Return √W and the Cholesky factor of I + √W K √W / λ."""
    root = np.sqrt(P * (1.0 - P))
    B = K * (root / prior)
    B *= root[:, None]
    B.flat[:: len(B) + 1] += 1.0
    return root, cho_factor(B.T, lower=True, overwrite_a=True, check_finite=False)


def log_det_of(factor):
    return 2.0 * np.sum(np.log(np.diagonal(factor[0])))


def primal_slogdet(X, K, P, prior):
    H = (X * (P * (1.0 - P))[:, None]).T @ X
    H.flat[:: len(H) + 1] += prior
    return np.linalg.slogdet(H)[1] - len(H) * np.log(prior)


def dual_log_det(X, K, P, prior):
    return log_det_of(dual_cholesky(K, P, prior)[1])


def newton_path(X, y):
    """Newton's method in the dual, a new factor each iteration, warm-started.

    Rasmussen & Williams (2006), Algorithm 3.1, halving the step while the cost rises.
    """
    K = X @ X.T
    sign = 2.0 * y - 1.0
    a = np.zeros(len(y))
    values = []
    for prior in LAPLACE_PRECISIONS:

        def cost(a, Z):
            return np.sum(np.logaddexp(0.0, -sign * Z)) + 0.5 * (a @ Z)

        Z = K @ a / prior
        for _ in range(100):
            P, slack = expit(Z), sign * expit(-sign * Z)
            root, factor = dual_cholesky(K, P, prior)
            norm = np.linalg.norm(X.T @ (slack - a))
            if norm < 1e-8 * min(1.0, np.linalg.norm(X.T @ a)):
                break
            b = root * root * Z + slack
            solution = cho_solve(factor, root * (K @ b) / prior, check_finite=False)
            step = b - root * solution - a
            step_logits = K @ step / prior
            t, start = 1.0, cost(a, Z)
            while t > 1e-6 and cost(a + t * step, Z + t * step_logits) > start + 1e-9:
                t /= 2.0
            a, Z = a + t * step, Z + t * step_logits
        values.append(-cost(a, Z) - 0.5 * log_det_of(factor))
    return np.array(values)


def lbfgs_path(X, y, tolerance, log_det):
    """scikit-learn's lbfgs, warm-started down the path, and the Hessian's log determinant."""
    K = X @ X.T if log_det is dual_log_det else None
    model = LogisticRegression(
        solver="lbfgs", fit_intercept=False, warm_start=True, tol=tolerance, max_iter=100_000
    )
    values = []
    for prior in LAPLACE_PRECISIONS:
        w = model.set_params(C=1.0 / prior).fit(X, y).coef_[0]
        Z = X @ w
        cost = np.sum(np.logaddexp(0.0, Z) - y * Z) + 0.5 * prior * (w @ w)
        values.append(-cost - 0.5 * log_det(X, K, expit(Z), prior))
    return np.array(values)


def thirty_factorizations(matrices):
    for matrix in matrices:
        cho_factor(matrix, lower=True, overwrite_a=True, check_finite=False)


LAPLACE = in_group("Laplace evidence: 30 prior precisions, n=800, d=784 and a bias")


@LAPLACE
def test_laplace_floor_30_cholesky(logistic, against):
    K = logistic.X @ logistic.X.T + np.eye(800)
    matrices = np.empty((30, 800, 800)).transpose(0, 2, 1)

    def ours():
        logistic.ours()
        matrices[:] = K

    against(lambda: thirty_factorizations(matrices), ours, rounds=5)
    np.testing.assert_allclose(np.tril(matrices[29]), np.linalg.cholesky(K), rtol=0, atol=1e-10)


@LAPLACE
def test_laplace_newton(logistic, against, benchmark):
    values = against(lambda: newton_path(logistic.with_bias, logistic.y), logistic.ours, rounds=3)
    check_nats(benchmark, values, logistic.fit.log_evidence, 1e-5)


@LAPLACE
@pytest.mark.parametrize(
    ("tolerance", "log_det", "target", "nats"),
    [
        pytest.param(1e-8, primal_slogdet, 2.3, 10.0, id="tol=1e-8, slogdet"),
        pytest.param(1e-12, primal_slogdet, None, 0.02, id="tol=1e-12, slogdet"),
        pytest.param(1e-12, dual_log_det, None, 0.02, id="tol=1e-12, dual Cholesky"),
        pytest.param(1e-4, primal_slogdet, None, np.inf, id="default tol, slogdet"),
    ],
)
def test_laplace_lbfgs(logistic, against, benchmark, tolerance, log_det, target, nats):
    values = against(
        lambda: lbfgs_path(logistic.with_bias, logistic.y, tolerance, log_det),
        logistic.ours,
        rounds=3,
        target=target,
    )
    check_nats(benchmark, values, logistic.fit.log_evidence, nats)


def check_nats(benchmark, values, expected, nats):
    """Note the largest error, and fail where it is above what the comparison allows."""
    error = float(np.max(np.abs(values - expected)))
    benchmark.extra_info["error_nats"] = error
    assert error < nats


@LAPLACE
@pytest.mark.filterwarnings("ignore")
def test_laplace_torch_one_precision(logistic, against, benchmark):
    """Its softmax has two logits ±v/2: prior precision 2λ gives exactly the evidence of v at λ."""
    torch = pytest.importorskip("torch")
    laplace = pytest.importorskip("laplace", exc_type=ImportError)
    torch.set_num_threads(1)
    v = torch.from_numpy(logistic.fit.weights[15])
    model = torch.nn.Linear(784, 2, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.stack([-v[:-1], v[:-1]]) / 2)
        model.bias.copy_(torch.stack([-v[-1], v[-1]]) / 2)
    data = torch.utils.data.TensorDataset(
        torch.from_numpy(logistic.X), torch.from_numpy(logistic.y)
    )
    loader = torch.utils.data.DataLoader(data, batch_size=800)
    prior = torch.tensor(2.0 * LAPLACE_PRECISIONS[15], dtype=torch.float64)

    def peer():
        posterior = laplace.Laplace(
            model,
            "classification",
            subset_of_weights="all",
            hessian_structure="full",
            prior_precision=prior,
        )
        posterior.fit(loader, progress_bar=False)
        return float(posterior.log_marginal_likelihood().detach())

    value = against(peer, logistic.ours, rounds=3, warmup_rounds=1, share=1 / 30, target=60.0)
    check_nats(benchmark, value, logistic.fit.log_evidence[15], 1e-5)


# --- log determinant by stochastic Lanczos quadrature -------------------------------------------


@in_group("log determinant: dense operator of dimension 2000, 20 shifts")
def test_log_determinant_eigvalsh(against, benchmark):
    rng = np.random.default_rng(0)
    factor = rng.standard_normal((2000, 3000)) / np.sqrt(3000)
    A = factor @ factor.T
    shifts = np.logspace(-2, 2, 20)

    def ours():
        return log_determinant(lambda v: A @ v, 2000, shift=shifts, rng=0)

    estimate = ours()
    eigenvalues = against(lambda: np.linalg.eigvalsh(A), ours, rounds=3)
    exact = np.sum(np.log(eigenvalues + shifts[:, None]), axis=1)
    error = np.abs(estimate.value - exact)
    benchmark.extra_info["error_nats"] = float(error.max())
    assert np.all(error < 5.0 * estimate.standard_error + estimate.truncation + 1e-6)
