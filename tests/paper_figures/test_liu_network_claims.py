"""The claims on networks' bad minima, and the measures that judge them, on data made by hand."""

import itertools
import json
import math
from functools import partial

import numpy as np
import pytest
import xarray as xr
from bad_minima_networks import CHOICES, MEASURES, bad_minima
from corruptions import corruptions_of

from paper_figures import _liu_2020_networks as networks
from paper_figures import _liu_2020_networks_measures as measures
from paper_figures import registry
from paper_figures.claims import judge

INF = math.inf
SHARE, RATIO = (0.8, INF), (1.5, INF)
# The criteria of the list of claims, check by check: low and high. Where one is not the list's, its
# quantity or its check's description says "ours", or whose it is.
CRITERIA = {
    "A1": [[(99.5, INF)] * 2, [(99.9, INF), (8.5, 11.5)]],
    "A2": [[(100, INF)] * 2, [(100, INF)] * 2, [(99.99, INF)]],
    "A3": [[(-INF, 0.5)] * 2, [(-INF, 1)]],
    "A4": [[(2, INF), (4, INF)], [(5, INF), (3, INF)]],
    "A6": [[(-1.5, 1.5)] * 2, [(-1, 1)]],
    "A7": [[SHARE], [SHARE] * 8, [SHARE] * 6],
    "A8": [[RATIO] * 2, [RATIO] * 6],
    "A9": [[(-INF, 0.3)] * 2],
    "A10": [[(-1, 1)] * 2 + [(2, INF)] * 4, [(0, INF)] * 2],
    "A11": [[(2, INF), (4, INF)]],
    "O1": [[(1, INF)] * 4],
}
CLAIMS = {
    claim.id.split(":")[1]: [check for check in claim.checks if check.level == "network"]
    for claim in registry.claims("liu_2020")
}
CHECKS = [
    pytest.param(name, check, id=f"{name}-{number}")
    for name, checks in CLAIMS.items()
    for number, check in enumerate(checks)
]

# What is judged, where it is not the test accuracy.
JUDGED = {
    "A1": ["confusion_accuracy", "confusion_test_accuracy"],
    "A2": ["training_accuracy"],
    "A3": ["epochs_to_fit"],
    "A8": MEASURES,
    "A9": ["distance"],
    "O1": MEASURES,
}


def corruptions(data, names):
    """The variables spoiled, or their seeds made to disagree."""
    for name in names:
        value = data[name]
        at_odds = value + 100 * xr.DataArray([1, -1, 1], dims="seed")
        for corrupted in itertools.chain(corruptions_of(value), [at_odds]):
            # Reversed, what no control is trained with would stand where all are.
            if corrupted.isnull().equals(value.isnull()):
                yield data.assign({name: corrupted})


def made(name, number=0):
    """The synthetic data of a check's needs, by name, of the first three seeds."""
    needs = CLAIMS[name][number].needs
    return {key: bad_minima(need).isel(seed=slice(3)) for key, need in needs.items()}


def error(values):
    return np.std(values, ddof=1) / np.sqrt(len(values))


# --- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CRITERIA)
def test_the_thresholds_are_those_of_the_list(name):
    checks = CLAIMS[name]
    assert [[(each.low, each.high) for each in c.criteria] for c in checks] == CRITERIA[name]
    for check in checks:
        assert check.success == "reproduced"
        quantities = [criterion.quantity for criterion in check.criteria]
        assert len(set(quantities)) == len(quantities)


def test_the_claims_and_what_is_recorded_for_them():
    assert {name for name, checks in CLAIMS.items() if checks} == set(CRITERIA)
    owners = [*itertools.chain(*CLAIMS.values()), *networks.FIGURES]
    needs = {need for owner in owners for need in owner.needs.values()}
    assert needs == set(networks.RECORDED)
    assert {need.seeds for need in needs if not need.gpu} == {5}
    assert all(need.kept != need.gpu for need in needs)


@pytest.mark.parametrize(("name", "check"), CHECKS)
def test_every_criterion_of_every_claim_can_be_met_and_can_fail(
    name, check, assert_can_be_met_and_can_fail
):
    spoiled = partial(corruptions, names=JUDGED.get(name, ["test_accuracy"]))
    assert_can_be_met_and_can_fail(check, bad_minima, spoiled)


@pytest.mark.parametrize(("name", "check"), CHECKS)
def test_one_seed_gives_no_false_error_bar(name, check):
    outcomes = {each: bad_minima(each).isel(seed=[0]) for each in check.needs.values()}
    entry = judge(check, outcomes)
    json.dumps(entry, allow_nan=False)
    for item in entry["measured"]:
        assert item["uncertainty"] is None
        # One seed has no standard deviation.
        assert item["met"] == ("standard deviations" not in item["criterion"])


def test_the_synthetic_data_have_the_layout_of_the_study(quick_outcomes):
    for need in (networks.GRIDS["convolutions"], networks.COPIES["perceptron"][2, 0.2]):
        actual, like = quick_outcomes[need], bad_minima(need.sped_up())
        assert set(like.data_vars) == set(actual.data_vars)
        for name, value in like.items():
            assert value.dims == actual[name].dims, name
        for name in set(like.coords) - {"epoch"}:
            xr.testing.assert_allclose(like[name].variable, actual[name].variable)


# --- measures -------------------------------------------------------------------------------------


def test_the_end_is_that_of_the_last_epoch_and_of_the_start_and_choice():
    d = made("A4")["perceptron"]
    d.test_accuracy[:] = 0.5
    d.test_accuracy.loc[{"start": "random", "regularization": "momentum", "epoch": 6}] = [
        0.7,
        0.8,
        0.9,
    ]
    assert measures.at_end(d, "test_accuracy", "random", "momentum").values == pytest.approx(
        [0.7, 0.8, 0.9]
    )
    assert measures.drop_of(d, "momentum").values == pytest.approx([20, 30, 40])
    assert measures.drop_of(d).values == pytest.approx([0, 0, 0])


def test_drops_are_in_the_order_of_the_criteria():
    data = made("A4")
    for d, values in zip(data.values(), ([0.9, 0.91, 0.95], [0.8, 0.8, 0.8]), strict=True):
        d.test_accuracy.loc[{"regularization": "none", "start": "random"}] = 0.95
        d.test_accuracy[{"epoch": -1}].loc[{"regularization": "none", "start": "adversarial"}] = (
            values
        )
    assert list(data) == ["perceptron", "convolutions"]
    first, second = measures.drops(data)
    assert first == pytest.approx((3.0, error([5, 4, 0])))
    assert second == pytest.approx((15.0, 0.0), abs=1e-12)
    assert measures.clear_drop({"one": data["perceptron"]})[1].value == pytest.approx(
        3.0 / np.std([5, 4, 0], ddof=1)
    )


def test_the_least_training_accuracy_of_any_seed():
    data = made("A2")
    d = data["convolutions"]
    d.training_accuracy.loc[{"start": "adversarial", "regularization": "none", "seed": 1}] = 0.99
    d.training_accuracy.loc[{"start": "random", "regularization": CHOICES[-1], "seed": 2}] = 0.9
    assert [value for value, _ in measures.fitted(data)] == pytest.approx([100.0, 99.0])
    assert [value for value, _ in measures.fitted_in_all(data)] == pytest.approx([100.0, 90.0])


def test_a_network_that_never_fits_is_not_quick():
    data = made("A3")
    d = data["perceptron"]
    where = {"start": "random", "regularization": "none"}
    d.epochs_to_fit.loc[where] = [20.0, 40.0, 60.0]
    d.epochs_to_fit.loc[where | {"start": "adversarial"}] = [10.0, 10.0, 40.0]
    assert measures.quickly(data)[0] == pytest.approx((0.5, error([0.25, 0.25, 1.0])))
    d.epochs_to_fit.loc[where | {"start": "adversarial", "seed": 2}] = np.nan
    check = CLAIMS["A3"][0]
    entry = judge(check, dict(zip(check.needs.values(), data.values(), strict=True)))
    assert entry["verdict"] == "not reproduced"


def test_shares_repaired_are_those_of_each_choice_and_network():
    data = made("A7")
    for d, scale in zip(data.values(), (1.0, 0.5), strict=True):
        d.test_accuracy[{"epoch": -1}].loc[{"start": "random"}] = 0.9
        d.test_accuracy[{"epoch": -1}].loc[{"start": "adversarial", "regularization": "none"}] = 0.8
        for number, choice in enumerate(CHOICES[1:], 1):
            where = {"start": "adversarial", "regularization": choice}
            d.test_accuracy[{"epoch": -1}].loc[where] = 0.8 + 0.01 * scale * number
    alone = [value for value, _ in measures.alone(data)]
    assert alone == pytest.approx([0.1, 0.05, 0.2, 0.1, 0.3, 0.15])
    combined = [value for value, _ in measures.combined(data)]
    assert combined == pytest.approx([0.4, 0.2, 0.5, 0.25, 0.6, 0.3, 0.7, 0.35])
    assert measures.decay_of_perceptron(data)[0].value == pytest.approx(0.2)
    named = [criterion.quantity for criterion in CLAIMS["A7"][2].criteria]
    assert named[:3] == [
        f"{network}: {choice}: share of the drop repaired"
        for choice, network in (
            ("augmentation", "perceptron"),
            ("augmentation", "convolutions"),
            ("weight decay", "perceptron"),
        )
    ]


def test_distances_from_the_bad_start_are_vanilla_over_regularized():
    data = made("A9")
    d = data["perceptron"]
    d.distance[:] = 1000.0
    d.distance.loc[{"start": "adversarial", "regularization": "none"}] = 2.0
    d.distance.loc[{"start": "adversarial", "regularization": CHOICES[-1]}] = [10.0, 20.0, 40.0]
    assert measures.near(data)[0] == pytest.approx((0.35 / 3, error([0.2, 0.1, 0.05])))


def test_norms_and_sharpness_of_the_bad_minimum_over_the_good_one():
    data = made("A8")
    names = ["frobenius_norm", "l1_path_norm", "l2_path_norm", "spectral_product"]
    for i, name in enumerate([*names, "sharpness", "noise_trace"], 2):
        for d, scale in zip(data.values(), (1.0, 10.0), strict=True):
            d[name].loc[{"start": "random", "regularization": "none"}] = [1.0, 2.0, 4.0]
            d[name].loc[{"start": "adversarial", "regularization": "none"}] = [
                scale * i,
                scale * 2 * i,
                scale * 4 * i,
            ]
    assert [value for value, _ in measures.frobenius(data)] == pytest.approx([2, 20])
    others = [value for value, _ in measures.complex_models(data)]
    assert others == pytest.approx([3, 30, 4, 40, 5, 50])
    assert [value for value, _ in measures.sharper(data)] == pytest.approx([6, 60, 7, 70])


def test_drops_by_copies_and_by_zeros():
    data = made("A10")
    for number, d in enumerate(data.values()):
        d.test_accuracy[{"epoch": -1}].loc[{"start": "random"}] = 0.9
        d.test_accuracy[{"epoch": -1}].loc[{"start": "adversarial"}] = 0.9 - 0.01 * number
    place = {name: number for number, name in enumerate(data)}
    expected = [
        place[f"{network} {R} 0.1"] for R in (1, 2, 5) for network in ("perceptron", "convolutions")
    ]
    assert [value for value, _ in measures.drops_by_copies(data)] == pytest.approx(expected)
    assert [value for value, _ in measures.drop_by_zeros(data)] == pytest.approx([1.0, 1.0])
