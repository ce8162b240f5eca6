"""The claims of Zhang et al. (2017), and the measures that judge them, on data made by hand."""

import json
import math

import numpy as np
import pytest
import xarray as xr
from corruptions import corruptions_of

from paper_figures import _zhang_2017_capacity as capacity
from paper_figures import _zhang_2017_interpolation as interpolation
from paper_figures import _zhang_2017_measures as measures
from paper_figures import _zhang_2017_memorization as memorization
from paper_figures import registry
from paper_figures.claims import judge
from paper_figures.results import Options, Unavailable, obtain
from sims import capacity as capacity_studies
from sims import interpolation as interpolation_studies
from sims import memorization as memorization_studies
from store.results import ResultStore

INF = math.inf
# The criteria of the list of claims, check by check: low and high. Where a check is not the list's,
# its description says "criteria ours"; there C01's counts and C03's last bound are from the text.
CRITERIA = {
    "C01": [
        [(-INF, 1e-6), (-INF, 1e-4), (0, 0)],
        [(-INF, 1e-4), (0, 0), (1, INF)],
        [(-INF, 1e-6), (0, 0), (1, INF)],
    ],
    "C02": [[(-INF, 1e-12), (-INF, 0), (-INF, 1)]],
    "C03": [[(1, INF), (-INF, 0), (-INF, 1e-6)]],
    "C04": [
        [(-INF, 1e-8), (-INF, 3), (-INF, 0)],
        [(-INF, 1e-6), (-INF, 9), (-INF, 0)],
    ],
    "C35": [[(-INF, 1e-6), (120, 120)]],
    "C25": [[(-INF, 1e-6)] * 3],
    "C26": [[(-INF, 1e-10), (-INF, 0)]],
    "C27": [[(1.17, 1.27), (-INF, 0)], [(2.0, 2.6), (-INF, 0)], [(-INF, 2), (-INF, 0)]],
    "C28": [[(-INF, 0.1)], [(-INF, 0.6)]],
    "C29": [[(-INF, 0.8)], [(-INF, 0.8)], [(-INF, 0)], [(-INF, 0)]],
    "C30": [[(43, 49)], [(-INF, 22), (0, 4)], [(-INF, -10), (-INF, 0), (0, 4)]],
    "C31": [[(-INF, -0.01), (1, INF)]] * 3,
    "C32": [[(2, INF), (1, INF)], [(1.5, INF)]],
    "C34": [[(2, INF), (85, INF), (-INF, 0)]],
    "C16": [[(0.99, INF), (1, INF), (-INF, 0.3)], [(1, INF)]],
    "C17": [[(1 / 3, 3), (5, INF)]],
    "C33": [[(-INF, 0)]],
}
EXTERNAL = {  # checks that need files, by the family and the claim
    "MNIST": {"C01": [1], "C27": [0, 1], "C28": [0], "C29": [0, 1], "C31": [0, 1], "C32": [0]},
    "CIFAR-10": {"C30": [0, 1, 2]},
}
# Those on networks are in test_zhang_network_claims.py.
CLAIMS = {
    claim.id.split(":")[1]: claim
    for part in (memorization, interpolation, capacity)
    for claim in part.CLAIMS
}
CHECKS = [
    pytest.param(claim, number, id=f"{name}-{number}")
    for name, claim in CLAIMS.items()
    for number in range(len(claim.checks))
]


def along(dim, values):
    return xr.DataArray(np.asarray(values), dims=dim, coords={dim: list(values)})


def seeds(*values):
    return along("seed", range(len(values))).copy(data=np.array(values, float))


def seed_factor(wanted):
    """A small difference between seeds."""
    return 1.0 + 1e-4 * along("seed", range(wanted.seeds))


def numbers(measured):
    return [value for value, _ in measured]


# --- data of which all that the paper says is true ------------------------------------------------


def fits(wanted):
    p = wanted.parameters
    n = along("n", p["sizes"])
    images = {"digits": [64], "mnist": [784]}.get(p.get("dataset"))
    d = along("n_features", images or p["n_features"])
    classes = p.get("classes", 2)
    count = n * ((1 if classes == 2 else classes) + 1) + d
    count = count * xr.ones_like(seed_factor(wanted), int)
    error = 1e-13 * n * d**0 * seed_factor(wanted)
    return xr.Dataset(
        {
            "error": error,
            "evaluated_error": 2 * error,
            "accuracy": xr.ones_like(error),
            "n_parameters": count,
            "expected_parameters": count,
        }
    ).transpose("seed", "n_features", "n")


def conditioning(wanted):
    p, factor = wanted.parameters, seed_factor(wanted)
    rho, n = along("interleave", p["interleavings"]), along("n", p["sizes"])
    kind = along("arithmetic", ["float32", "float64", "feedback", "rational"])
    size = 1e-13 * n * factor * xr.where(rho > 0.5, 1e20, 1.0)
    rational = xr.where(n <= 50, 0.0, np.nan)
    residual = xr.where(kind == "rational", rational, xr.where(kind == "float32", 1e9, 1.0) * size)
    least = factor * (1 - rho) / n**2
    dense = xr.where(n <= 500, 0.0 * least, np.nan)
    return xr.Dataset(
        {
            "residual": residual,
            "smallest_eigenvalue": least,
            "smallest_singular_value": least * (0.5 - 0.4 * rho),
            "eigenvalue_error": dense + 1e-14,
            "above_diagonal": dense,
        }
    ).transpose("seed", "interleave", "n", ...)


def depths(wanted):
    p, factor = wanted.parameters, seed_factor(wanted)
    k = along("depth", p["depths"])
    ones = xr.ones_like(factor, int)
    n, d = p["n"], p["n_features"]
    parts = np.ceil(n / (k - 1)).astype(int)
    return xr.Dataset(
        {
            "error": 1e-10 * factor * k,
            "width": (n // k + 3) * ones,
            "n_nonzero": (4 * n + d + 5 * k) * ones,
            "gated_error": 1e-9 * factor * k,
            "gated_width": (parts + 9) * ones,
            "gated_n_nonzero": (5 * n + d + 10 * k) * ones,
            "general_error": 1e-9 * factor,
            "general_width": 4 * -(-n // d) * ones,
        },
        attrs={"n": n, "n_features": d},
    ).transpose("seed", "depth")


def sgd(wanted):
    p, factor = wanted.parameters, seed_factor(wanted)
    start = along("start_norm", p["start_norms"])
    epoch = along("epoch", p["epochs"] * np.arange(1, 101) / 100)
    norm = np.sqrt(0.3 + 0.7 * start**2) * factor
    distance = 10 ** (-14 * epoch / p["epochs"]) * norm
    return xr.Dataset(
        {"distance": distance, "norm": (1 + 1e-15) * norm, "predicted_norm": norm}
    ).transpose("seed", "start_norm", "epoch")


def hessians(wanted):
    loss = along("loss", ["square", "log_cosh", "poisson"])
    ones = xr.ones_like(loss, float) * seed_factor(wanted)
    rank = 60 * xr.ones_like(ones, int) * along("interpolant", ["shortest", "far"]).astype(bool)
    return xr.Dataset(
        {
            "difference": 1e-14 * ones,
            "theory_difference": 1e-15 * ones,
            "rank": rank,
            "n_examples": 60 * xr.ones_like(seed_factor(wanted), int),
        }
    ).transpose("seed", "loss", "interpolant")


# Test error in percent and norm of the true labels' fit, by data set, features and n.
PRINTED = {
    ("mnist", "pixels", 60_000): (1.22, 220.0),
    ("mnist", "gabor", 60_000): (0.6, 390.0),
    ("mnist", "pixels", 10_000): (2.0, 55.0),
    ("mnist", "gabor", 10_000): (0.7, 80.0),
    ("mnist", "pixels", 8000): (2.15, 53.5),
    ("mnist", "pixels", 2000): (4.9, 29.5),
    ("mnist", "pixels", 500): (10.0, 15.0),
    ("cifar10-jpeg", "pixels", 50_000): (46.0, 300.0),
    ("cifar10-jpeg", "random_convolution", 50_000): (17.0, 300.0),
    ("cifar10-jpeg", "pixels", 10_000): (55.0, 150.0),
    ("cifar10-jpeg", "random_convolution", 10_000): (35.0, 150.0),
    ("cifar10-jpeg", "pixels", 2500): (63.0, 90.0),
    ("cifar10-jpeg", "random_convolution", 2500): (45.0, 90.0),
    ("digits", "pixels", 1437): (1.1, 16.0),
    ("digits", "gabor", 1437): (0.5, 60.0),
    ("digits", "random_convolution", 1437): (0.3, 126.0),
}


def kernel(wanted):
    p, factor = wanted.parameters, seed_factor(wanted)
    n, dataset = p["train_size"], p.get("dataset", "digits")
    error, norm = PRINTED.get((dataset, p.get("features", "pixels"), n), (50.0, 10.0))
    forced = p.get("force_test", False)
    ridge = along("ridge", p.get("ridges", [0.0]))
    labels = along("labels", ["true", "forced" if forced else "random"])
    true = labels == "true"
    loss = 0.1 if dataset == "cifar10-jpeg" else 0.0  # what a ridge gains there
    gain = xr.where(ridge > 0, 1.0 - loss * 0.5, 1.0)
    wrong = 0.91 if forced else 0.9
    random = 2.5 if forced else (n / 125) ** 0.4
    ones = xr.ones_like(ridge, float) * xr.ones_like(true, float) * factor
    return xr.Dataset(
        {
            "test_error": xr.where(true, 0.0 if forced else error / 100 * gain, wrong) * ones,
            "train_error": 0.0 * ones,
            "rkhs_norm": xr.where(true, norm, norm * random) * ones,
        }
    ).transpose("seed", "ridge", "labels")


def rademacher(wanted):
    n = along("n", wanted.parameters["sizes"])
    learner = along("learner", ["linear", "network", "memorizing"])
    linear = np.minimum(1.0, 5.5 / np.sqrt(n)) * seed_factor(wanted)
    correlation = xr.where(learner == "linear", linear, 1.0)
    return xr.Dataset({"correlation": correlation.transpose("seed", "learner", "n")})


def networks(wanted):
    counts = measures.PRINTED_PARAMETERS
    network = along("network", list(counts))
    number = network.copy(data=np.array(list(counts.values()), float)).expand_dims(seed=[0])
    return xr.Dataset({"n_parameters": number, "vc_bound": 1.18 + 0.0 * number})


def stability(wanted):
    labels = along("labels", ["true", "random"])
    true = labels == "true"
    change = xr.where(true, 0.18, 0.088) * seed_factor(wanted)
    gap = xr.where(true, -0.6, 10.5) * seed_factor(wanted)
    return xr.Dataset({"output_change": change, "gap": gap}).transpose("seed", "labels")


SYNTHETIC = {
    memorization_studies.memorization: fits,
    memorization_studies.conditioning: conditioning,
    memorization_studies.depths: depths,
    interpolation_studies.sgd_limit: sgd,
    interpolation_studies.interpolant_hessians: hessians,
    interpolation_studies.kernel_interpolation: kernel,
    capacity_studies.rademacher_complexity: rademacher,
    capacity_studies.network_sizes: networks,
    capacity_studies.stability: stability,
}


def synthetic(wanted):
    return SYNTHETIC[wanted.study](wanted)


def corruptions(data):
    """Every variable scaled or reversed along its axes, scaled altogether, or shifted."""
    for name, value in data.items():
        for corrupted in corruptions_of(value):
            share = name == "test_error"
            yield data.assign({name: corrupted.clip(0, 1) if share else corrupted})


def check_needs():
    return {need for claim in CLAIMS.values() for c in claim.checks for need in c.needs.values()}


# --- claims ---------------------------------------------------------------------------------------


def test_the_claims_are_those_of_the_list():
    claims = registry.claims("zhang_2017")
    assert sorted(claim.id for claim in claims) == [f"zhang_2017:C{n:02}" for n in range(1, 38)]
    assert list(CLAIMS) == list(CRITERIA)
    assert len({claim.statement for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.paper == "Zhang et al. (2017), arXiv:1611.03530"
        assert claim.where
        assert claim.statement[0].isupper() or claim.statement[0].isdigit()
        assert claim.statement.endswith((".", ".)"))
        stated = {(check.data, tuple(check.criteria)) for check in claim.checks}
        assert len(stated) == len(claim.checks)


@pytest.mark.parametrize("name", CRITERIA)
def test_the_thresholds_are_those_of_the_list(name):
    stated = [[(each.low, each.high) for each in c.criteria] for c in CLAIMS[name].checks]
    assert stated == CRITERIA[name]
    assert all(check.success == "reproduced" for check in CLAIMS[name].checks)


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_a_share_names_its_unit(claim, number):
    for criterion in claim.checks[number].criteria:
        quantity = criterion.quantity
        assert str(criterion) != quantity
        shares = ("test error", "training error", "gain", "forced points", "gap", "share")
        in_percent = any(word in quantity for word in shares) and "bound" not in quantity
        assert in_percent == quantity.endswith((", %", "points", "points, %"))
        assert quantity not in [c.quantity for c in claim.checks[number].criteria if c != criterion]


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_every_criterion_of_every_claim_can_be_met_and_can_fail(
    claim, number, assert_can_be_met_and_can_fail
):
    assert_can_be_met_and_can_fail(claim.checks[number], synthetic, corruptions)


# Values without chance; and the test errors whose examples are counted, with the root of p(1 - p)/n
EXACT = {("C01", 0): {2}, ("C01", 1): {1}, ("C01", 2): {1}, ("C16", 1): {0}, ("C33", 0): {0}}
COUNTED = {
    ("C27", 0): 1.22,
    ("C27", 1): 2.15,
    ("C27", 2): 1.1,
    ("C29", 0): 0.6,
    ("C29", 1): 0.7,
    ("C30", 0): 46.0,
    ("C30", 1): 17.0,
}


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_one_seed_gives_a_verdict_and_no_false_error_bar(claim, number):
    checked = claim.checks[number]
    outcomes = {each: synthetic(each).isel(seed=[0]) for each in checked.needs.values()}
    entry = judge(checked, outcomes)
    assert entry["verdict"] == checked.success
    json.dumps(entry, allow_nan=False)
    key = (claim.id.split(":")[1], number)
    for i, item in enumerate(entry["measured"]):
        if i == 0 and key in COUNTED:
            share = COUNTED[key]
            assert item["value"] == pytest.approx(share)
            assert item["uncertainty"] == pytest.approx(math.sqrt(share * (100 - share) / 10_000))
        else:
            assert item["uncertainty"] == (0.0 if i in EXACT.get(key, ()) else None)


def test_what_is_not_here_is_not_run_and_says_why(tmp_path):
    external = [need for need in check_needs() if need.is_external]
    outcomes = obtain(external, Options(ResultStore(tmp_path / "results"), jobs=1))
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes.values())
    outcomes |= {need: synthetic(need) for need in check_needs() if not need.is_external}
    absent = {"MNIST": {}, "CIFAR-10": {}}
    for name, claim in CLAIMS.items():
        for number, check in enumerate(claim.checks):
            entry = judge(check, outcomes)
            if entry["verdict"] != "not run here":
                continue
            assert entry["reason"].startswith("not recorded; give the folder of ")
            assert entry["reason"].endswith(" with --data")
            assert entry["value"] is entry["uncertainty"] is None
            family = "MNIST" if "of MNIST's" in entry["reason"] else "CIFAR-10"
            assert family in entry["reason"]
            absent[family].setdefault(name, []).append(number)
            # The name of what is read in its stead can be put there.
            assert {"MNIST": "MNIST", "CIFAR-10": "cifar10-jpeg"}[family] in entry["data"]
    assert absent == EXTERNAL


def test_another_data_set_is_named_in_its_stead():
    for name, number, label in (("C27", 0, "MNIST"), ("C30", 0, "cifar10-jpeg")):
        check = CLAIMS[name].checks[number]
        ((_, need),) = check.needs.items()
        entry = judge(check, {need: synthetic(need).assign_attrs(dataset="other-1")})
        assert entry["data"].startswith("other-1, n = ")
        assert label not in entry["data"]


def test_the_synthetic_data_have_the_layout_of_the_studies(quick_outcomes):
    compared = set()
    for need in check_needs():
        actual = quick_outcomes[need]
        if isinstance(actual, Unavailable):
            continue
        made = synthetic(need.sped_up())
        for name, value in made.items():
            assert value.dims == actual[name].dims, (need.study_name, name)
            assert (value.dtype.kind in "iu") <= (actual[name].dtype.kind in "iuf")
        assert set(made.coords) <= set(actual.coords)
        for name, coordinate in made.coords.items():
            np.testing.assert_array_equal(coordinate, actual[name])
        assert made.attrs.items() <= actual.attrs.items()
        compared.add(need.study)
    assert compared == set(SYNTHETIC)


# --- measures of memorization ---------------------------------------------------------------------


def fitted(error, evaluated, sizes=(100, 2000, 50_000), accuracy=1.0, excess=0):
    """Two values of d; the errors are along n and seed."""
    shape = {"n_features": [2, 10], "n": list(sizes), "seed": [0, 1]}
    zeros = xr.DataArray(np.zeros((2, len(sizes), 2)), dims=tuple(shape), coords=shape)
    return xr.Dataset(
        {
            "error": zeros + xr.DataArray(error, dims=("n", "seed")),
            "evaluated_error": zeros + xr.DataArray(evaluated, dims=("n", "seed")),
            "accuracy": zeros + accuracy,
            "n_parameters": zeros + 7 + excess,
            "expected_parameters": zeros + 7,
        }
    )


def test_the_larger_error_of_small_and_of_large_fits():
    d = fitted(
        [[1e-9, 2e-9], [3e-9, 1e-9], [1e-7, 4e-7]],
        [[2e-9, 1e-9], [1e-9, 5e-9], [2e-7, 1e-7]],
    )
    small, large, count = measures.fits_gaussian({"fits": d})
    assert small == pytest.approx((5e-9, np.std([3e-9, 5e-9], ddof=1)))
    assert large == pytest.approx((4e-7, np.std([2e-7, 4e-7], ddof=1)))
    assert count == (0.0, 0.0)


@pytest.mark.parametrize("excess", [3, -3])
def test_a_wrong_count_shows_on_either_side(excess):
    d = fitted(np.zeros((3, 2)), np.zeros((3, 2)))
    d.n_parameters[{"n_features": 1, "n": 2, "seed": 0}] += excess
    d.n_parameters[{"n_features": 0, "n": 0, "seed": 1}] += 1
    assert measures.fits_gaussian({"fits": d})[2] == (excess, 0.0)
    assert measures.fits_images({"fits": d})[1] == (excess, 0.0)


def test_the_least_accuracy_of_the_images():
    errors = np.array([[1e-9, 2e-9]])
    d = fitted(errors, 2 * errors, sizes=(1797,))
    d.accuracy[{"n_features": 1, "seed": 1}] = 0.75
    error, count, accuracy = measures.fits_images({"fits": d})
    assert error == pytest.approx((4e-9, np.std([2e-9, 4e-9], ddof=1)))
    assert count == (0.0, 0.0)
    assert accuracy == pytest.approx((0.75, np.std([1.0, 0.75], ddof=1)))


def conditioned(**changed):
    shape = {
        "interleave": [0.0, 0.75],
        "n": [20, 50, 2000],
        "arithmetic": ["float32", "float64", "feedback", "rational"],
        "seed": [0, 1],
    }
    residual = xr.DataArray(np.zeros((2, 3, 4, 2)), dims=tuple(shape), coords=shape)
    residual.loc[{"arithmetic": "rational", "n": 2000}] = np.nan
    residual.loc[{"arithmetic": "float64", "interleave": 0.75}] = [[1, 1], [8, 6], [np.inf, np.inf]]
    residual.loc[{"arithmetic": "float64", "interleave": 0.0}] = [[0, 0], [0, 0], [3e-9, 1e-9]]
    least = residual.isel(arithmetic=0, drop=True) + 0.01
    known = least.where(least.n <= 500) * 0.0
    d = xr.Dataset(
        {
            "residual": residual,
            "smallest_eigenvalue": least,
            "smallest_singular_value": 0.5 * least,
            "eigenvalue_error": known,
            "above_diagonal": known,
        }
    )
    return {"conditioning": d.assign(**changed)}


def test_residuals_where_the_claim_puts_them():
    least, rational, plain = measures.interleaving(conditioned())
    assert least == pytest.approx((6.0, np.std([8, 6], ddof=1)))
    assert rational == (0.0, 0.0)
    assert plain == pytest.approx((3e-9, np.std([3e-9, 1e-9], ddof=1)))
    residual = conditioned()["conditioning"].residual.copy(deep=True)
    residual.loc[{"arithmetic": "rational", "n": 50, "interleave": 0.75, "seed": 1}] = 1e-300
    assert measures.interleaving(conditioned(residual=residual))[1].value == 1e-300


def test_the_lemma_is_judged_at_its_worst():
    eigenvalues, above, ratio = measures.lemma(conditioned())
    assert (eigenvalues, above) == ((0.0, 0.0), (0.0, 0.0))
    assert ratio == pytest.approx((0.5, 0.0))
    d = conditioned()["conditioning"]
    singular, error, upper = (
        d[name].copy(deep=True)
        for name in ("smallest_singular_value", "eigenvalue_error", "above_diagonal")
    )
    singular.loc[{"interleave": 0.75, "n": 2000, "seed": 1}] = 0.03
    error.loc[{"interleave": 0.0, "n": 20, "seed": 0}] = 2e-13
    upper.loc[{"interleave": 0.0, "n": 50, "seed": 0}] = 1e-5
    changed = conditioned(
        smallest_singular_value=singular, eigenvalue_error=error, above_diagonal=upper
    )
    eigenvalues, above, ratio = measures.lemma(changed)
    assert eigenvalues == pytest.approx((2e-13, np.std([2e-13, 0], ddof=1)))
    assert above == pytest.approx((1e-5, np.std([1e-5, 0], ddof=1)))
    assert ratio == pytest.approx((3.0, np.std([0.5, 3.0], ddof=1)))


def test_shapes_are_compared_with_their_bounds():
    k = along("depth", [2, 4])
    d = xr.Dataset(
        {
            "error": 1e-9 * k * seeds(1, 2),
            "width": k.copy(data=[51, 28]) + 0 * seeds(0, 0),  # n/k is 50, 25
            "n_nonzero": k.copy(data=[700, 850]) + seeds(0, 10),  # the bounds are 825 and 845
            "gated_error": 1e-8 * k * seeds(1, 2),
            "gated_width": k.copy(data=[104, 42]) + 0 * seeds(0, 0),  # ⌈n/(k - 1)⌉ is 100, 34
            "gated_n_nonzero": k.copy(data=[810, 800]) + seeds(0, 0),
            "general_error": seeds(1e-9, 3e-9),
            "general_width": seeds(80, 80),
        },
        attrs={"n": 100, "n_features": 5},
    )
    error, width, excess = measures.depths("")({"depths": d})
    assert error == pytest.approx((8e-9, np.std([4e-9, 8e-9], ddof=1)))
    assert width == (3.0, 0.0)
    assert excess == pytest.approx((15.0, np.std([5, 15], ddof=1)))
    error, width, excess = measures.depths("gated_")({"depths": d})
    assert error.value == pytest.approx(8e-8)
    assert width == (8.0, 0.0)
    assert excess == (-15.0, 0.0)
    error, width = measures.general_position({"depths": d})
    assert error == pytest.approx((3e-9, np.std([1e-9, 3e-9], ddof=1)))
    assert width == (80.0, 0.0)


# --- measures of interpolation --------------------------------------------------------------------


def test_where_sgd_ends():
    start, epoch = along("start_norm", [0.0, 1.0, 20.0]), along("epoch", [1.0, 2.0])
    last = start.copy(data=[5e-9, 2e-9, 3e-9]) * seeds(1, 2)
    distance = xr.where(epoch == 2.0, last, 1.0)
    norm = 1.0 + start * seeds(1, 1)
    d = xr.Dataset(
        {
            "distance": distance,
            "norm": norm * (1 - along("start_norm", [0.0, 1.0, 20.0]) * 1e-9 * seeds(1, 3)),
            "predicted_norm": norm,
        }
    )
    zero, other, predicted = measures.sgd_limit({"sgd": d})
    assert zero == pytest.approx((1e-8, np.std([5e-9, 1e-8], ddof=1)))
    assert other == pytest.approx((6e-9, np.std([3e-9, 6e-9], ddof=1)))
    assert predicted == pytest.approx((6e-8, np.std([2e-8, 6e-8], ddof=1)), rel=1e-6)


def test_spectra_and_ranks_of_the_worst_loss():
    loss, interpolant = along("loss", ["square", "poisson"]), along("interpolant", ["a", "b"])
    zero = xr.zeros_like(loss, float) * 0.0
    rank = 60 + 0 * seeds(0, 0) + zero + xr.zeros_like(interpolant, float)
    rank[{"loss": 1, "interpolant": 0, "seed": 0}] = 58
    d = xr.Dataset(
        {
            "difference": zero.copy(data=[0, 3e-12]) * seeds(1, 1),
            "theory_difference": zero.copy(data=[4e-12, 0]) * seeds(1, 2),
            "rank": rank,
            "n_examples": seeds(60, 60),
        }
    )
    spectra, ranks = measures.hessians({"hessians": d})
    assert spectra == pytest.approx((8e-12, np.std([4e-12, 8e-12], ddof=1)))
    assert ranks == pytest.approx((2.0, np.std([2, 0], ddof=1)))


def fit(true, other, *, norms=(1.0, 1.0), kind="random", train=(0.0, 0.0)):
    """Test errors of true and other labels, (ridge, seed); norms are multiplied by ridge + 1."""
    errors = np.stack([np.atleast_2d(true), np.atleast_2d(other)])
    ridges = [0.0, 1e-3, 1e-2, 1e-1][: errors.shape[1]]
    shape = {"labels": ["true", kind], "ridge": ridges, "seed": list(range(errors.shape[2]))}
    test_error = xr.DataArray(errors.astype(float), dims=tuple(shape), coords=shape)
    by_labels = along("labels", ["true", kind])
    weight = 1.0 + along("ridge", ridges) + 0.0 * test_error
    return xr.Dataset(
        {
            "test_error": test_error,
            "train_error": 0.0 * test_error + by_labels.copy(data=np.array(train, float)),
            "rkhs_norm": weight * by_labels.copy(data=np.array(norms, float)),
        }
    )


def test_errors_are_in_percent_with_standard_errors():
    d = fit([[0.01, 0.02, 0.06]], [[0.9] * 3], train=(0.001, 0.5))
    test, train = measures.interpolates({"fit": d})
    assert test == pytest.approx((3.0, np.std([1, 2, 6], ddof=1) / np.sqrt(3)))
    assert train == pytest.approx((0.1, 0.0))  # of the true labels alone


def test_one_seed_has_the_binomial_error_of_its_examples():
    d = fit([[0.012]], [[0.9]])
    (value, error), (_, unknown) = measures.interpolates({"fit": d})
    assert value == pytest.approx(1.2)
    assert error == pytest.approx(100 * math.sqrt(0.012 * 0.988 / 10_000))
    assert math.isnan(unknown)


def test_the_gain_is_of_the_ridge_that_is_best_on_the_mean():
    true = [[0.10, 0.20], [0.02, 0.30], [0.08, 0.16], [0.11, 0.21]]
    d = fit(true, np.full((4, 2), 0.9))
    ((gain, error),) = measures.ridge_gain({"fit": d})
    assert gain == pytest.approx(3.0)  # though the first ridge gains 8 points on the first seed
    assert error == pytest.approx(np.std([2, 4], ddof=1) / np.sqrt(2))
    worse = fit([[0.10, 0.20], [0.12, 0.21]], np.full((2, 2), 0.9))
    assert measures.ridge_gain({"fit": worse})[0].value == pytest.approx(-1.5)


def test_features_are_compared_seed_by_seed():
    pixels = fit([[0.03, 0.05]], [[0.9, 0.9]], norms=(10.0, 50.0))
    features = fit([[0.01, 0.04]], [[0.9, 0.9]], norms=(40.0, 90.0))
    data = {"pixels": pixels, "features": features}
    error, ratio = measures.features_against_pixels(data)
    assert error == pytest.approx((-1.5, np.std([-2, -1], ddof=1) / np.sqrt(2)))
    assert ratio == pytest.approx((4.0, 0.0))


def test_filters_with_and_without_a_ridge():
    d = fit([[0.17], [0.16], [0.15]], np.full((3, 1), 0.9))
    (error, bar), (gain, unknown) = measures.filters({"fit": d})
    assert (error, bar) == pytest.approx((17.0, math.sqrt(17 * 83 / 10_000)))
    assert gain == pytest.approx(2.0)
    assert math.isnan(unknown)
    data = {"pixels": fit([[0.55]], [[0.9]]), "features": d, "fewer": fit([[0.25]], [[0.9]])}
    assert numbers(measures.filters_on_a_subset(data)) == pytest.approx([-38.0, -8.0, 2.0])


def test_norms_of_random_over_those_of_true_labels():
    d = fit([[0.0, 0.0], [0.0, 0.0]], [[0.9, 0.9], [0.9, 0.9]], norms=(2.0, 6.0))
    d = d.assign(rkhs_norm=d.rkhs_norm * xr.where(d.labels == "random", seeds(1, 2), 1.0))
    ((ratio, error),) = measures.norm_ratio({"fit": d})
    assert (ratio, error) == pytest.approx((4.5, np.std([3, 6], ddof=1) / np.sqrt(2)))
    small = fit([[0.0, 0.0]], [[0.9, 0.9]], norms=(1.0, 1.5))
    # As text, 8000 comes after 10000.
    last, growth = measures.growing_norms({"10000": d, "8000": small})
    assert last == pytest.approx((4.5, np.std([3, 6], ddof=1) / np.sqrt(2)))
    assert growth == pytest.approx((3.0, np.std([2, 4], ddof=1) / np.sqrt(2)))


def test_forced_points_are_judged_without_a_ridge():
    d = fit([[0, 0], [0, 0]], [[0.9, 0.92], [0.1, 0.1]], norms=(2.0, 5.0), kind="forced")
    d.train_error[{"labels": 0, "ridge": 0, "seed": 1}] = 0.02
    norm, error, train = measures.forced({"fit": d})
    assert norm == pytest.approx((2.5, 0.0))
    assert error == pytest.approx((91.0, np.std([90, 92], ddof=1) / np.sqrt(2)))
    assert train == pytest.approx((2.0, np.std([0, 2], ddof=1)))


# --- measures of capacity -------------------------------------------------------------------------


def test_correlations_of_three_learners():
    learner, n = along("learner", ["linear", "network", "memorizing"]), along("n", [64, 512, 1437])
    correlation = learner.astype(bool) * (n > 0) * seeds(1, 1)
    correlation.loc[{"learner": "linear", "n": 512}] = [0.2, 0.3]
    correlation.loc[{"learner": "network", "n": 1437}] = [0.9, 1.0]
    correlation.loc[{"learner": "network", "n": 64}] = 0.1
    correlation.loc[{"learner": "memorizing", "n": 64, "seed": 1}] = 0.5
    network, memorizing, linear = measures.rademacher(
        {"rademacher": xr.Dataset({"correlation": correlation})}
    )
    assert network == pytest.approx((0.95, np.std([0.9, 1.0], ddof=1) / np.sqrt(2)))
    assert memorizing == pytest.approx((0.5, np.std([1.0, 0.5], ddof=1)))
    assert linear == pytest.approx((0.25, np.std([0.2, 0.3], ddof=1) / np.sqrt(2)))


def test_the_least_bound_and_the_largest_miscount():
    d = networks(capacity.NETWORKS)
    assert measures.parameter_counts({"networks": d}) == [(0.0, 0.0)]
    d.vc_bound[{"network": 2}] = 0.7
    d.n_parameters[{"network": 1}] -= 5
    d.n_parameters[{"network": 3}] += 3
    assert measures.vc_dimension({"networks": d}) == [(0.7, 0.0)]
    assert measures.parameter_counts({"networks": d}) == [(5.0, 0.0)]
    mixed = networks(capacity.NETWORKS).isel(network=[1, 0, 2, 3])  # by name, not by place
    assert measures.parameter_counts({"networks": mixed}) == [(0.0, 0.0)]


def test_the_ratio_of_mean_changes_has_an_error_of_first_order():
    rng = np.random.default_rng(1000)
    true, random = 0.2 * (1 + 0.05 * rng.normal(size=(2, 20)))
    labels = along("labels", ["true", "random"])
    change = xr.where(labels == "true", seeds(*true), seeds(*random))
    gap = xr.where(labels == "true", 0.0, 1.0) * seeds(*range(20))
    ratio, difference = measures.stability(
        {"stability": xr.Dataset({"output_change": change, "gap": gap})}
    )
    assert ratio.value == pytest.approx(random.mean() / true.mean())
    leave_one_out = [np.delete(random, i).mean() / np.delete(true, i).mean() for i in range(20)]
    jackknife = math.sqrt(19 * np.var(leave_one_out))
    assert ratio.uncertainty == pytest.approx(jackknife, rel=0.02)
    assert difference == pytest.approx((9.5, np.std(range(20), ddof=1) / np.sqrt(20)))


def test_each_seed_has_its_own_peak():
    epoch = along("epoch", [1, 2, 3])
    accuracy = xr.concat(
        [epoch.copy(data=[0.5, 0.9, 0.6]), epoch.copy(data=[0.8, 0.7, 0.7])], "seed"
    )
    fitted = xr.concat(
        [epoch.copy(data=[0.1, 0.2, 0.9]), epoch.copy(data=[0.04, 0.5, 0.9])], "seed"
    )
    d = xr.Dataset({"test_accuracy": accuracy, "wrong_fitted": fitted})
    d = xr.concat([d, 0 * d], xr.Variable("condition", ["corrupted labels 0.4", "true labels"]))
    drop, share = measures.patterns_first({"training": d})
    assert drop == pytest.approx((20.0, np.std([30, 10], ddof=1) / np.sqrt(2)))
    assert share == pytest.approx((12.0, np.std([20, 4], ddof=1) / np.sqrt(2)))


def test_epochs_are_compared_only_if_all_reach_the_target():
    condition = along("condition", ["random labels", "Gaussian pixels"])
    epochs = xr.where(condition == "random labels", seeds(90, 100), seeds(30, 25))
    ((ratio, error),) = measures.harder_labels(
        {"training": xr.Dataset({"epochs_to_target": epochs})}
    )
    assert (ratio, error) == pytest.approx((3.5, np.std([3, 4], ddof=1) / np.sqrt(2)))
    epochs[{"condition": 0, "seed": 1}] = np.nan
    ((ratio, error),) = measures.harder_labels(
        {"training": xr.Dataset({"epochs_to_target": epochs})}
    )
    assert math.isnan(ratio)
    assert math.isnan(error)
