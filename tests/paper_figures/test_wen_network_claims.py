"""The claims on SmoothOut's networks, and the measures that judge them, on data made by hand."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from corruptions import corruptions_of
from scipy import stats
from smoothout_networks import ERRORS, smoothout

from paper_figures import _wen_2018_networks as networks
from paper_figures import _wen_2018_networks_measures as measures
from paper_figures import registry
from paper_figures.claims import Check, Criterion, judge

INF = math.inf
P, ANY = (-INF, 0.05), (0, INF)
# The criteria of the list of claims, check by check: low and high. Where one is not the list's, its
# quantity or its check's description says "ours".
CRITERIA = {
    "T5": [[ANY, P]],
    "A1": [[(-INF, 4.5)]],
    "A2": [[(2, INF), P, ANY, P]],
    "A3": [[(-INF, 1), (5, INF)]],
    "A5": [[(-INF, 1e-6)]],
    "R1": [[(-INF, 1e-6), (-INF, 0.01)]],
    "A4": [[(-INF, 15)]],
    "E1": [[(1, INF), P, (-INF, 1)]],
    "E2": [[(0.7, INF), P]],
    "E3": [[(0.3, INF), P, (0.5, INF), P, (0.5, INF), P]],
    "E4": [[(-INF, 0.01), ANY], [(-0.5, 0.5)]],
    "E5": [[(1, INF), P, (1, INF), P]],
    "E6": [[(0.75, INF), (0.75, INF)]],
    "E7": [[(3, INF), (2, INF)], [(3, INF)]],
    "E8": [[(2, INF)] * 3],
    "E9": [[(0.03, 0.1), (30, INF), ANY]],
    "E10": [[(1.3, INF)]],
    "E11": [[(0.5, INF)]],
    "E12": [[ANY, P]],
    "E13": [[(3, INF), P] * 3],
    "E14": [[ANY, P, (1, INF)]],
    "R2": [[(1, INF), (-1, 1)]],
}
NOT_RUN = {"A4", "E11", "R2"}  # the last where its package is lacking
CLAIMS = {
    claim.id.split(":")[1]: [check for check in claim.checks if check.level == "network"]
    for claim in registry.claims("wen_2018")
}
CHECKS = [
    pytest.param(check, id=f"{name}-{number}")
    for name, checks in CLAIMS.items()
    for number, check in enumerate(checks)
    if check.measure is not None and name != "R2"
]
CHECKS.append(pytest.param(networks.SAM_CHECK, id="R2"))


def corruptions(data):
    """Every variable spoiled, or its seeds made to disagree."""
    sign = xr.DataArray([1, -1, 1], dims="seed")
    for name, value in data.items():
        at_odds = value + 100 * sign
        if "strength" in value.dims:
            at_odds = at_odds * xr.DataArray(np.arange(value.sizes["strength"]), dims="strength")
        for corrupted in itertools.chain(corruptions_of(value), [value + 100 * sign, at_odds]):
            yield data.assign({name: corrupted})


# --- claims ---------------------------------------------------------------------------------------


def test_the_claims_are_those_of_the_list():
    assert {name for name, checks in CLAIMS.items() if checks} == set(CRITERIA)
    assert sum(len(checks) for checks in CLAIMS.values()) == 24
    assert len(networks.CHECKS) == 6
    assert len(networks.CLAIMS) == 16


@pytest.mark.parametrize("name", CRITERIA)
def test_the_thresholds_are_those_of_the_list(name):
    checks = CLAIMS[name]
    assert [[(each.low, each.high) for each in c.criteria] for c in checks] == CRITERIA[name]
    for check in checks:
        assert check.success == "reproduced"
        quantities = [criterion.quantity for criterion in check.criteria]
        assert len(set(quantities)) == len(quantities)
        assert (check.measure is None) <= (name in NOT_RUN)
        assert bool(check.reason) == (check.measure is None)


def test_what_is_recorded_is_what_claims_and_figures_need():
    owners = [*itertools.chain(*CLAIMS.values()), *networks.FIGURES]
    needs = {need for owner in owners for need in owner.needs.values()}
    assert needs == set(networks.RECORDED)
    assert all(need.kept and isinstance(need.study, str) for need in needs)
    trained = [need for need in needs if need is not networks.IDENTITIES]
    assert {need.seeds for need in trained} == {8}


@pytest.mark.parametrize("check", CHECKS)
def test_every_criterion_of_every_claim_can_be_met_and_can_fail(
    check, assert_can_be_met_and_can_fail
):
    assert_can_be_met_and_can_fail(check, smoothout, corruptions)


@pytest.mark.parametrize("check", CHECKS)
def test_one_seed_gives_no_false_error_bar_and_no_significance(check):
    outcomes = {each: smoothout(each).isel(seed=[0]) for each in check.needs.values()}
    entry = judge(check, outcomes)
    json.dumps(entry, allow_nan=False)
    for item in entry["measured"]:
        assert item["uncertainty"] is None
        if item["criterion"].startswith("p of"):
            assert item["value"] is None
            assert not item["met"]
        else:
            assert item["met"]


def test_a_check_without_its_package_says_so():
    check = replace(networks.SAM_CHECK, **networks.WITHOUT_SAM)
    entry = judge(check, {})
    assert entry["verdict"] == "not run here"
    assert "pytorch_optimizer" in entry["reason"]


def test_the_synthetic_data_have_the_layout_of_the_studies():
    pytest.importorskip("torch")
    for need in (networks.LARGE_PLAIN, networks.KEPT, networks.IDENTITIES):
        small = need.sped_up()
        given, made = dict(small.parameters), smoothout(small)
        if "strengths" in given:  # one is enough
            given["strengths"] = given["strengths"][:1]
            made = made.isel(strength=[0])
        actual = small.function()(**given, seed=0)
        assert set(made) == set(actual)
        for name, value in made.items():
            assert set(value.dims) == {*actual[name].dims, "seed"}, name
        for name in actual.coords:
            np.testing.assert_array_equal(made[name], actual[name])


# --- measures -------------------------------------------------------------------------------------


def seeds(*values):
    return xr.DataArray(np.array(values, float), dims="seed", coords={"seed": range(len(values))})


@pytest.mark.parametrize("n", [2, 3, 8])
def test_p_values_are_those_of_scipy(n):
    rng = np.random.default_rng(n)
    one, other = rng.standard_normal((2, n))
    found = measures.p_value(seeds(*(one - other)))
    assert found.value == pytest.approx(stats.ttest_rel(one, other).pvalue, rel=1e-9)
    assert math.isnan(found.uncertainty)


def test_p_values_of_differences_that_are_all_the_same():
    assert measures.p_value(seeds(0, 0, 0)).value == 1
    assert measures.p_value(seeds(2, 2, 2)).value == 0
    assert math.isnan(measures.p_value(seeds(2)).value)


def test_a_ratio_of_means_and_its_jackknife():
    above, below = seeds(1, 2, 6), seeds(1, 1, 4)
    value, error = measures.ratio_of_means(above, below)
    left_out = np.array([8 / 5, 7 / 5, 3 / 2])
    assert value == pytest.approx(9 / 6)
    assert error == pytest.approx(math.sqrt(2 / 3 * np.sum((left_out - left_out.mean()) ** 2)))
    assert math.isnan(measures.ratio_of_means(seeds(1), seeds(2)).uncertainty)
    assert not math.isfinite(measures.ratio_of_means(seeds(0, 1), seeds(0, 0)).value)


def found(name, number=0):
    (check,) = CLAIMS[name][number : number + 1]
    return check, {key: smoothout(need).isel(seed=slice(3)) for key, need in check.needs.items()}


def test_gains_are_in_points_of_pairs():
    check, data = found("E2")
    data["large"].test_error.loc[{"strength": 0.0}] = [0.10, 0.12, 0.08]
    data["large"].test_error.loc[{"strength": 0.06}] = [0.08, 0.09, 0.08]
    data["small"].test_error.loc[{"strength": 0.0}] = [0.07, 0.08, 0.05]
    closed, p = check.measure(data)
    assert closed.value == pytest.approx(5 / 10)
    assert p.value == pytest.approx(stats.ttest_1samp([2, 3, 0], 0).pvalue)
    check, data = found("E1")
    data["large"].test_error.loc[{"strength": 0.0}] = [0.10, 0.12, 0.08]
    data["small"].test_error.loc[{"strength": 0.0}] = [0.07, 0.08, 0.05]
    lost, _, _ = check.measure(data)
    assert lost == pytest.approx((10 / 3, 1 / 3))


def test_every_pair_is_of_the_runs_that_its_criterion_names():
    """Each run's synthetic error is its own, so that a wrong pair would show."""

    def errors(need):
        return {a: 100 * error for a, error in ERRORS[need].items()}

    plain, ada = errors(networks.SMALL_PLAIN), errors(networks.SMALL_ADAPTIVE)
    wanted = {
        "T5": [errors(networks.NORMAL)[0.06] - errors(networks.LARGE_PLAIN)[0.06]],
        "A2": [
            errors(networks.KEPT)[0.03] - errors(networks.LARGE_PLAIN)[0.03],
            errors(networks.KEPT)[0.03] - errors(networks.LARGE_PLAIN)[0.0],
        ],
        "E3": [plain[0.0] - plain[0.1], plain[0.0] - ada[0.3], plain[0.0] - ada[0.6]],
        "E5": [
            errors(networks.LONGER)[0.0] - errors(networks.LONGER)[0.1],
            errors(networks.LONGER)[0.0] - errors(networks.LONGER_ADAPTIVE)[0.3],
        ],
        "E12": [errors(networks.COPIES)[0.06] - errors(networks.LARGE_PLAIN)[0.06]],
        "E13": [
            errors(networks.NOISY_LARGE)[0.0] - errors(networks.NOISY_LARGE)[a]
            for a in (0.03, 0.06, 0.1)
        ],
    }
    for name, differences in wanted.items():
        check, data = found(name)
        values = [each.value for each in check.measure(data)[::2]]
        np.testing.assert_allclose(values, differences, rtol=1e-2, err_msg=name)


def test_the_best_strength_is_that_of_the_mean_error():
    check, data = found("E9")
    data["large"].test_error.loc[{"strength": 0.03}] = [0.2, 0.2, 0.001]
    data["large"].test_error.loc[{"strength": 0.01}] = [0.01, 0.01, 0.01]
    assert check.measure(data)[0].value == 0.01


def test_a_change_and_a_factor_count_in_both_directions():
    check, data = found("A3")
    d = data["identities"]
    d.expected_sharpness.loc[{"scale": 0.1}] = d.plain_at_one / 20
    d.filter_sharpness.loc[{"scale": 10.0}] = d.filter_at_one - 3 * d.filter_at_one_error
    change, factor = check.measure(data)
    assert change.value == pytest.approx(3, rel=1e-6)
    assert factor.value > 5
    d.expected_sharpness.loc[{"scale": 0.1}] = d.plain_at_one / 2
    assert check.measure(data)[1].value == pytest.approx(2)


def test_deviations_count_on_both_sides():
    check, data = found("A1")
    data["identities"].gradient_deviation[1, 2] = -7.0
    assert check.measure(data)[0].value == 7


def test_criteria_on_a_p_value_are_of_one_level():
    for check in itertools.chain(*CLAIMS.values()):
        assert isinstance(check, Check)
        for criterion in check.criteria:
            assert isinstance(criterion, Criterion)
            if criterion.quantity.startswith("p of"):
                assert criterion.high in (0.05, 0.01)
