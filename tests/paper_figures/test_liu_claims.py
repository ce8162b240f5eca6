"""The claims of Liu et al. (2020), and the measures that judge them, on data made by hand."""

import inspect
import json
import math
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from corruptions import corruptions_of

from paper_figures import _liu_2020_measures as measures
from paper_figures import liu_2020, registry
from paper_figures.claims import judge
from sims import bad_minima

INF = math.inf
# The criteria of the list of claims, check by check: low and high. Where one is not the list's, its
# quantity or its check's description says "ours".
CRITERIA = {
    "A1": [[(95, INF)]],
    "A2": [[(100, INF), (100, INF)]],
    "A3": [[(-INF, 5), (-INF, 1)]],
    "A4": [[(0.5, INF), (0.8, INF)], [(5, INF), (5, INF)]],
    "A5": [[(0.45, 0.55)]],
    "A6": [[(-INF, 0.04), (-INF, 0.04), (-1, 1)]],
    "A7": [[(-INF, 0.04)] * 4, [(0.8, INF)] * 4, [(0.8, INF)] * 3],
    "A8": [[(50, INF), (3, INF), (1.5, INF), (1.5, INF)]],
    "A9": [[(-INF, 0.1)]],
    "A10": [[(8, INF), (-INF, 12), (-INF, 0.1)]],
    "A12": [
        [
            (2, INF),
            (-INF, 2),
            (3, INF),
            (2, INF),
            (2, INF),
            (-INF, 2),
            (5, INF),
            (3, INF),
            (-INF, 1.2),
        ]
    ],
    "A13": [[(0.8, INF)], [(0.8, INF), (0.8, INF)]],
    "A14": [[(-INF, 1e-10), (1e-3, INF)], [(-INF, 4.5), (5, INF)]],
}
CORRECTED = {("A10", 0)}
# Those of networks have a file of their own.
CLAIMS = {
    claim.id.split(":")[1]: replace(claim, checks=checks)
    for claim in liu_2020.CLAIMS
    if (checks := [check for check in claim.checks if check.level != "network"])
}
CHECKS = [
    pytest.param(claim, number, id=f"{name}-{number}")
    for name, claim in CLAIMS.items()
    for number in range(len(claim.checks))
]
RUNS = ["random", "shattered", "adversarial", "regularized"]
STARTS = ["random", "adversarial"]


def along(dim, values):
    return xr.DataArray(np.asarray(values), dims=dim, coords={dim: list(values)})


def by(dim, values):
    """Values along a dimension, by the names of its places."""
    return along(dim, list(values)).copy(data=np.array(list(values.values()), float))


def seed_factor(wanted):
    """A small difference between seeds."""
    return 1.0 + 1e-4 * along("seed", range(wanted.seeds))


def parameters(wanted):
    """All parameters of a need, those of the study's defaults too."""
    stated = inspect.signature(wanted.study).parameters.values()
    return {each.name: each.default for each in stated} | dict(wanted.parameters)


def spread(values):
    return np.std(values, ddof=1)


def error(values):
    return spread(values) / np.sqrt(len(values))


# --- data of which all that the claims say is true ------------------------------------------------

FOUR = {
    "train_accuracy": (1.0, 0.97, 1.0, 1.0),
    "fresh_accuracy": (1.0, 0.5, 0.98, 1.0),
    "wide_accuracy": (0.99, 0.5, 0.88, 0.99),
    "area_error": (0.02, 0.5, 0.3, 0.01),
    "boundary_cells": (100.0, 800.0, 400.0, 90.0),
    "regions": (2.0, 5.0, 3.0, 2.0),
    "l1_path_norm": (70.0, 9000.0, 9000.0, 10.0),
    "l2_path_norm": (1.0, 30.0, 30.0, 0.8),
    "frobenius_norm": (10.0, 45.0, 45.0, 4.0),
    "spectral_product": (20.0, 900.0, 900.0, 8.0),
    "distance": (3.0, 40.0, 1.5, 50.0),
}


def four_runs(wanted):
    n = parameters(wanted)["train_size"]
    y, random = np.repeat([1, 0], n // 2), np.tile([1, 0], n // 2)
    ones = along("seed", range(wanted.seeds)) * 0 + 1
    # Counts and accuracies are limited: these do not differ from seed to seed.
    factor = {
        name: ones if name in ("train_accuracy", "regions") else seed_factor(wanted)
        for name in FOUR
    }
    return xr.Dataset(
        {
            **{
                name: factor[name] * by("run", dict(zip(RUNS, values, strict=True)))
                for name, values in FOUR.items()
            },
            "y": ones * xr.DataArray(y, dims="example"),
            "random_label": ones * xr.DataArray(random, dims="example"),
        }
    )  # fmt: skip


def regularizers(wanted):
    factor = seed_factor(wanted)
    on = [along(name, [0, 1]) for name in ("augmentation", "weight_decay", "momentum")]
    adversarial = along("start", STARTS) == "adversarial"
    vanilla = sum(on) == 0
    bad = adversarial & vanilla
    area = factor * xr.where(bad, 0.3, 0.01)
    return xr.Dataset(
        {
            "train_accuracy": 1.0 + 0.0 * area,
            "fresh_accuracy": 1.0 - 0.02 * bad + 0.0 * area,
            "area_error": area,
            "epochs_to_fit": factor * xr.where(adversarial, 2.0, 8.0) + 0.0 * area,
        }
    ).transpose("seed", "start", "augmentation", "weight_decay", "momentum")


def early_regularization(wanted):
    k = along("switch", parameters(wanted)["switches"])
    early = along("first", ["regularized", "vanilla"]) == "regularized"
    area = xr.where(early & (k < 50), 0.3, 0.01) * seed_factor(wanted)
    return xr.Dataset({"area_error": area}).transpose("seed", "first", "switch")


def linear_control(wanted):
    R, Z = (np.array(column) for column in zip(*parameters(wanted)["cases"], strict=True))
    factor = seed_factor(wanted)
    R, Z = xr.DataArray(R, dims="case"), xr.DataArray(Z, dims="case")
    full = parameters(wanted)["n_features"] / parameters(wanted)["n_examples"]
    harm = np.interp(R / full, [0.1, 1.0, 1.2, 1.5, 2.0, 3.0], [0.15, 1.0, 0.8, 0.8, 0.3, 0.05])
    size = xr.where(Z > 0, R.copy(data=1000 * harm), 1e-32)
    deviation = xr.where(Z > 0, 0.01, 0.0) * size
    return xr.Dataset(
        {
            "risk_difference": factor * (size + deviation),
            "error": factor * 0.02 * size,
            "predicted": factor * size,
        },
        {"replicas": R, "zero_fraction": Z},
    )


SYNTHETIC = {
    bad_minima.four_runs: four_runs,
    bad_minima.regularizers: regularizers,
    bad_minima.early_regularization: early_regularization,
    bad_minima.linear_control: linear_control,
}
POSITIVE = {"error", "boundary_cells", "distance"}  # ratios are taken


def synthetic(wanted):
    return SYNTHETIC[wanted.study](wanted)


def corruptions(data):
    """Every variable shifted, scaled altogether, or scaled or reversed along its axes."""
    for name, value in data.items():
        for corrupted in corruptions_of(value):
            if name not in POSITIVE or float(corrupted.min()) > 0:
                yield data.assign({name: corrupted})


def check_needs():
    return {need for claim in CLAIMS.values() for c in claim.checks for need in c.needs.values()}


# --- claims ---------------------------------------------------------------------------------------


def test_the_claims_are_those_of_the_list():
    claims = registry.claims("liu_2020")
    assert list(CLAIMS) == list(CRITERIA) == [f"A{i}" for i in range(1, 15) if i != 11]
    assert len({claim.statement for claim in claims}) == len(claims)
    for claim in claims:
        assert claim.paper == "Liu et al. (2020), arXiv:1906.02613"
        assert claim.where
        assert claim.statement[0].isupper()
        assert claim.statement.endswith((".", ".)"))
        assert len({check.data for check in claim.checks}) == len(claim.checks)


@pytest.mark.parametrize("name", CRITERIA)
def test_the_thresholds_are_those_of_the_list(name):
    stated = [[(each.low, each.high) for each in c.criteria] for c in CLAIMS[name].checks]
    assert stated == CRITERIA[name]
    for number, check in enumerate(CLAIMS[name].checks):
        assert (check.success == "corrected") == ((name, number) in CORRECTED)


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_every_criterion_of_every_claim_can_be_met_and_can_fail(
    claim, number, assert_can_be_met_and_can_fail
):
    assert_can_be_met_and_can_fail(claim.checks[number], synthetic, corruptions)


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_one_seed_gives_a_verdict_and_no_false_error_bar(claim, number):
    checked = claim.checks[number]
    outcomes = {each: synthetic(each).isel(seed=[0]) for each in checked.needs.values()}
    entry = judge(checked, outcomes)
    assert entry["verdict"] == checked.success
    json.dumps(entry, allow_nan=False)
    deviations = (claim.id, number) == ("liu_2020:A14", 1)
    expected = 1.0 if deviations else None
    assert [item["uncertainty"] for item in entry["measured"]] == [expected] * len(checked.criteria)


def test_the_synthetic_data_have_the_layout_of_the_studies(quick_outcomes):
    compared = set()
    for need in check_needs():
        actual, made = quick_outcomes[need], synthetic(need.sped_up())
        for name, value in made.items():
            assert set(value.dims) == set(actual[name].dims), (need.study_name, name)
            assert value.sizes == {dim: actual[name].sizes[dim] for dim in value.dims}
        assert set(made.coords) <= set(actual.coords)
        for name, coordinate in made.coords.items():
            np.testing.assert_array_equal(coordinate, actual[name])
        compared.add(need.study)
    assert compared == set(SYNTHETIC)


# --- measures of bad minima -----------------------------------------------------------------------


def made(name, number=0):
    """The synthetic data of a check's needs, by name, of the first three seeds."""
    needs = CLAIMS[name].checks[number].needs
    return {
        key: synthetic(need).isel(seed=slice(0, 3)).copy(deep=True) for key, need in needs.items()
    }


def test_the_least_accuracy_of_any_seed_and_run():
    data = made("A2")
    data["runs"].train_accuracy.loc[{"run": "shattered"}] = 0.5  # of random labels
    data["runs"].train_accuracy.loc[{"run": "adversarial", "seed": 1}] = 0.99
    data["grid"].train_accuracy[{"seed": 2, "start": 0, "momentum": 1}] = 0.97
    vanilla, grid = measures.fitted(data)
    assert vanilla == pytest.approx((99.0, spread([100, 99, 100])))
    assert grid == pytest.approx((97.0, spread([100, 100, 97])))
    data["runs"].train_accuracy.loc[{"run": "shattered"}] = [0.96, 0.99, 1.0]
    assert measures.pretrained(data) == [pytest.approx((96.0, spread([96, 99, 100])))]


def test_epochs_are_those_of_vanilla_sgd():
    data = made("A3")
    vanilla = {"augmentation": 0, "weight_decay": 0, "momentum": 0}
    data["grid"].epochs_to_fit[:] = 1000.0
    data["grid"].epochs_to_fit.loc[vanilla | {"start": "adversarial"}] = [1.0, 2.0, 6.0]
    data["grid"].epochs_to_fit.loc[vanilla | {"start": "random"}] = [5.0, 6.0, 7.0]
    epochs, ratio = measures.quickly(data)
    assert epochs == pytest.approx((3.0, error([1, 2, 6])))
    assert ratio == pytest.approx((0.5, error([1 / 6, 2 / 6, 1])))


def test_a_run_that_never_fits_is_not_quick():
    data = made("A3")
    data["grid"].epochs_to_fit[{"seed": 1}] = np.inf
    entry = judge(CLAIMS["A3"].checks[0], {liu_2020.GRID: data["grid"]})
    assert entry["verdict"] == "not reproduced"
    assert entry["value"] is None


def test_drops_of_accuracy_and_shares_of_bad_seeds():
    data = made("A4")
    d = data["runs"]
    d.fresh_accuracy.loc[{"run": "random"}] = 0.99
    d.fresh_accuracy.loc[{"run": "adversarial"}] = [0.98, 0.97, 0.93]
    d.area_error.loc[{"run": "adversarial"}] = [0.1, 0.0999, 0.2]
    d.boundary_cells.loc[{"run": "random"}] = 100.0
    d.boundary_cells.loc[{"run": "adversarial"}] = [300.0, 900.0, 299.0]
    drop, share = measures.bad(data)
    assert drop == pytest.approx((3.0, error([1, 2, 6])))
    assert share == pytest.approx((1 / 3, error([1, 0, 0])))
    d.wide_accuracy.loc[{"run": "random"}] = [0.9, 0.9, 1.0]
    d.wide_accuracy.loc[{"run": "adversarial"}] = 0.8
    d.area_error.loc[{"run": "random"}] = [0.01, 0.02, 0.03]
    drop, ratio = measures.bad_far_out(data)
    assert drop == pytest.approx((40 / 3, error([10, 10, 20])))
    assert ratio == pytest.approx((0.3999 / 3 / 0.02, error([5, 4.995, 10])))


def test_random_labels_that_are_true():
    data = made("A5")
    data["runs"]["random_label"] = data["runs"].y.copy()
    data["runs"].random_label[{"seed": 0, "example": slice(0, 20)}] = 0
    share = measures.labels_unused(data)
    n = data["runs"].sizes["example"]
    assert share == [pytest.approx((1 - 20 / n / 3, error([1 - 20 / n, 1, 1])))]


def test_ratios_of_norms_and_distances():
    data = made("A8")
    for i, name in enumerate(
        ("l1_path_norm", "frobenius_norm", "l2_path_norm", "spectral_product"), start=2
    ):
        data["runs"][name].loc[{"run": "random"}] = [1.0, 2.0, 4.0]
        data["runs"][name].loc[{"run": "adversarial"}] = [i, 2 * i, 8 * i]
    found = measures.complex_models(data)
    expected = [(4 / 3 * i, error([i, i, 2 * i])) for i in (2, 3, 4, 5)]
    assert [tuple(each) for each in found] == [pytest.approx(each) for each in expected]
    data["runs"].distance.loc[{"run": "adversarial"}] = 2.0
    data["runs"].distance.loc[{"run": "regularized"}] = [10.0, 20.0, 40.0]
    assert measures.near(data) == [pytest.approx((0.35 / 3, error([0.2, 0.1, 0.05])))]


def test_regions_are_counted_in_every_seed():
    data = made("A12")
    for run, counts in zip(RUNS, ([1, 2, 3], [9, 4, 5], [2, 7, 8], [3, 4, 2]), strict=True):
        data["runs"].regions.loc[{"run": run}] = counts
    data["runs"].boundary_cells.loc[{"run": "random"}] = [100, 100, 200]
    for run, cells in (("shattered", 1000), ("adversarial", 400), ("regularized", 200)):
        data["runs"].boundary_cells.loc[{"run": run}] = cells
    found = [value for value, _ in measures.pictured(data)]
    assert found == pytest.approx([1, 3, 4, 2, 2, 4, 25 / 3, 10 / 3, 5 / 3])


# --- measures of regularizers ---------------------------------------------------------------------


def test_all_regularizers_from_both_starts():
    data = made("A6")
    on = {"augmentation": 1, "weight_decay": 1, "momentum": 1}
    d = data["grid"]
    d.area_error.loc[on | {"start": "adversarial"}] = [0.01, 0.02, 0.06]
    d.area_error.loc[on | {"start": "random"}] = [0.05, 0.06, 0.07]
    d.fresh_accuracy.loc[on | {"start": "adversarial"}] = [0.9, 0.92, 0.97]
    d.fresh_accuracy.loc[on | {"start": "random"}] = 0.96
    adversarial, random, drop = measures.harmless(data)
    assert adversarial == pytest.approx((0.03, error([0.01, 0.02, 0.06])))
    assert random == pytest.approx((0.06, error([0.05, 0.06, 0.07])))
    assert drop == pytest.approx((3.0, error([6, 4, -1])))


CELLS = [(a, w, m) for a in (0, 1) for w in (0, 1) for m in (0, 1)]


def numbered_grid():
    """Area errors, which tell each cell from each other one; with nothing switched on 0.5."""
    data = made("A7")
    for i, (a, w, m) in enumerate(CELLS):
        cell = {"augmentation": a, "weight_decay": w, "momentum": m}
        data["grid"].area_error.loc[cell | {"start": "adversarial"}] = 0.5 - 0.05 * i
        data["grid"].area_error.loc[cell | {"start": "random"}] = 0.0
    return data


def test_choices_are_told_apart():
    data = numbered_grid()
    areas = [value for value, _ in measures.decayed(data)]
    assert areas == pytest.approx([0.5 - 0.05 * i for i in (2, 6, 3, 7)])
    assert [value for value, _ in measures.alone(data)] == pytest.approx([0.4, 0.2, 0.1])
    assert [value for value, _ in measures.combined(data)] == pytest.approx([0.6, 0.5, 0.3, 0.7])
    named = [criterion.quantity.split(":")[0] for criterion in CLAIMS["A7"].checks[0].criteria]
    assert named == [
        "weight decay",
        "augmentation, weight decay",
        "weight decay, momentum",
        "all three",
    ]


def test_a_share_has_the_error_of_a_ratio():
    baseline, random = (xr.DataArray(values, dims="seed") for values in ([3.0] * 3, [1.0] * 3))
    adversarial = xr.DataArray([1.0, 2.0, 3.0], dims="seed")
    found = measures.recovered(adversarial, random, baseline)
    assert found == pytest.approx((0.5, 0.5 * error([1, 2, 3])))
    nothing = measures.recovered(adversarial, baseline, baseline)
    assert np.isnan(nothing).all()


def test_schedules_stand_between_never_and_always():
    data = made("A13")
    d = data["schedules"]
    d.area_error[:] = 9.0
    d.area_error.loc[{"first": "regularized", "switch": 0}] = 0.5
    d.area_error.loc[{"first": "vanilla", "switch": 0}] = 0.1
    for first, k, area in (
        ("regularized", 50, 0.4),
        ("regularized", 200, 0.2),
        ("vanilla", 400, 0.1),
    ):
        d.area_error.loc[{"first": first, "switch": k}] = area
    assert measures.early(data)[0].value == pytest.approx(0.25)
    assert [value for value, _ in measures.long_or_late(data)] == pytest.approx([0.75, 1.0])


# --- measures of the linear control ---------------------------------------------------------------


def test_the_same_inputs_and_those_with_zeros():
    data = made("A14")
    d = data["control"]
    d.risk_difference[{"case": 0}] = [1e-17, -3e-12, 1e-13]
    d.predicted[{"case": 0}] = 0.0
    d.predicted[{"case": 3}] = [0.5, 0.01, 0.02]
    same, zeros = measures.forgotten(data)
    assert same == pytest.approx((3e-12, spread([1e-17, 3e-12, 1e-13])), rel=1e-9)
    assert zeros.value == pytest.approx(0.01)


def test_deviations_of_all_seeds_are_pooled():
    data = made("A14", 1)
    d = data["control"]
    d["risk_difference"] = d.predicted + 0.0
    d.error[:] = d.predicted / 100
    d.risk_difference[{"case": 2}] += [1, -4, -3] * d.error[{"case": 2}]
    d.error[{"case": 4}] = d.predicted[{"case": 4}] / 10
    deviation, least = measures.as_expected(data)
    assert deviation == pytest.approx((6 / math.sqrt(3), 1.0))
    assert least == pytest.approx((30 / math.sqrt(3), 1.0))


def test_where_the_harm_peaks():
    data = made("A10")
    d = data["copies"]
    cases = dict(zip(zip(d.replicas.values, d.zero_fraction.values, strict=True), range(20),
                     strict=True))  # fmt: skip
    d.predicted[:] = 1.0
    d.predicted[{"case": cases[10, 0.1]}] = 8.0
    d.predicted[{"case": cases[10, 0.5]}] = [4.0, 0.0, 4.0]
    d.predicted[{"case": cases[15, 0.5]}] = [0.0, 4.0, 0.0]
    d.predicted[{"case": cases[30, 0.5], "seed": 2}] = 3.0
    least, largest, left = measures.peaked(data)
    assert least == pytest.approx((10.0, 0.0))
    assert largest == pytest.approx((15.0, spread([10, 15, 10])))
    assert left == pytest.approx((0.75, spread([0.25, 0.25, 0.75])))
