import json
import math

import numpy as np
import pytest
import xarray as xr

from paper_figures import registry, smith_le_2018
from paper_figures.claims import Check, Claim, Criterion, Measured, as_text, judge, ledger
from paper_figures.results import Need, Unavailable

KEYS = {
    "id",
    "paper",
    "where",
    "statement",
    "level",
    "data",
    "value",
    "uncertainty",
    "threshold",
    "verdict",
}
VERDICTS = {"reproduced", "not reproduced", "corrected", "not run here"}


def seeds(*values):
    return xr.Dataset({"x": ("seed", list(values))}, coords={"seed": range(len(values))})


def need():
    return Need(seeds, {}, seeds=1, quick_seeds=1)


def check(criteria, measured, needs, **changes):
    return Check(
        **{
            "level": "simulation",
            "data": "made by hand",
            "needs": needs,
            "criteria": criteria,
            "measure": lambda data: measured,
            **changes,
        }
    )


# --- criteria and verdicts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("criterion", "met", "unmet", "text"),
    [
        (Criterion("x", low=1.0), (1.0, 2.0, math.inf), (0.999, math.nan), "x ≥ 1"),
        (Criterion("x", high=1.0), (1.0, -5.0), (1.001, math.nan), "x ≤ 1"),
        (Criterion("x", -0.5, 0.5), (-0.5, 0.0, 0.5), (-0.51, 0.51, math.nan), "-0.5 ≤ x ≤ 0.5"),
        (Criterion("x, nats", high=1e-8), (0.0,), (1.1e-8,), "x, nats ≤ 1e-08"),
    ],
)
def test_a_criterion_holds_its_bounds(criterion, met, unmet, text):
    assert all(criterion.is_met(value) for value in met)
    assert not any(criterion.is_met(value) for value in unmet)
    assert str(criterion) == text


LOW, HIGH = Criterion("a", low=1.0), Criterion("b", high=2.0)


@pytest.mark.parametrize(
    ("values", "success", "verdict", "met"),
    [
        ((1.0, 2.0), "reproduced", "reproduced", [True, True]),
        ((1.0, 2.0), "corrected", "corrected", [True, True]),
        ((0.5, 2.0), "reproduced", "not reproduced", [False, True]),
        ((0.5, 2.0), "corrected", "not reproduced", [False, True]),
        ((1.0, 2.5), "reproduced", "not reproduced", [True, False]),
        ((1.0, 2.5), "corrected", "not reproduced", [True, False]),
    ],
)
def test_all_criteria_make_the_verdict(values, success, verdict, met):
    wanted = need()
    measured = [Measured(value, 0.25) for value in values]
    entry = judge(
        check([LOW, HIGH], measured, {"d": wanted}, success=success), {wanted: seeds(1.0)}
    )
    assert entry["verdict"] == verdict
    assert entry["value"] == values[0]
    assert entry["uncertainty"] == 0.25
    assert entry["threshold"] == "a ≥ 1; b ≤ 2"
    assert [item["met"] for item in entry["measured"]] == met
    assert [item["value"] for item in entry["measured"]] == list(values)
    assert [item["criterion"] for item in entry["measured"]] == ["a ≥ 1", "b ≤ 2"]
    assert "reason" not in entry


def test_the_measure_is_given_the_datasets_by_name():
    one, two = need(), need()
    outcomes = {one: seeds(3.0), two: seeds(4.0)}

    def measure(data):
        return [Measured(float(data["second"].x[0] - data["first"].x[0]), 0.0)]

    entry = judge(check([LOW], None, {"first": one, "second": two}, measure=measure), outcomes)
    assert entry["value"] == 1.0
    assert entry["verdict"] == "reproduced"


@pytest.mark.parametrize("missing", ["first", "second"])
def test_without_its_data_a_check_is_not_run(missing):
    needs = {"first": need(), "second": need()}
    outcomes = {each: seeds(1.0) for each in needs.values()}
    outcomes[needs[missing]] = Unavailable("there is no file")

    def measure(data):
        raise AssertionError("measured without data")

    entry = judge(check([LOW, HIGH], None, needs, measure=measure), outcomes)
    assert entry["verdict"] == "not run here"
    assert entry["reason"] == "there is no file"
    assert entry["value"] is None
    assert entry["uncertainty"] is None
    assert entry["threshold"] == "a ≥ 1; b ≤ 2"
    assert entry["data"] == "made by hand"


def test_an_unknown_uncertainty_is_null():
    wanted = need()
    entry = judge(check([LOW], [Measured(1.5, math.nan)], {"d": wanted}), {wanted: seeds(1.0)})
    assert entry["uncertainty"] is None
    assert entry["measured"][0]["uncertainty"] is None
    assert '"uncertainty": null' in json.dumps(entry, allow_nan=False)


def test_a_value_that_is_not_a_number_meets_nothing():
    wanted = need()
    measured = [Measured(math.nan, 0.0)]
    entry = judge(check([LOW], measured, {"d": wanted}), {wanted: seeds(1.0)})
    assert entry["verdict"] == "not reproduced"


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_measure_of_another_length_is_refused(number):
    wanted = need()
    measured = [Measured(1.0, 0.0)] * number
    with pytest.raises(ValueError, match=r"zip\(\)"):
        judge(check([LOW, HIGH], measured, {"d": wanted}), {wanted: seeds(1.0)})


def test_the_number_of_seeds_stands_with_the_data():
    few, many = need(), need()
    outcomes = {few: seeds(1.0, 2.0), many: seeds(1.0, 2.0, 3.0)}
    measured = [Measured(1.0, 0.0)]
    both = judge(check([LOW], measured, {"a": many, "b": few}), outcomes)
    assert both["data"] == "made by hand, 2 seeds"
    assert judge(check([LOW], measured, {"a": many}), outcomes)["data"].endswith(", 3 seeds")
    single = judge(check([LOW], measured, {"a": many}), {many: seeds(1.0)})
    assert single["data"] == "made by hand"


# --- the ledger ---------------------------------------------------------------------------------


def hand_made_ledger():
    here, gone = need(), need()
    outcomes = {here: seeds(1.0, 2.0), gone: Unavailable("there is no file")}
    good, bad = [Measured(1.25, 0.125)], [Measured(0.5, math.nan)]
    claims = [
        Claim(
            "p:1",
            "P (2000)",
            "Figure 1",
            "Water is wet.",
            [
                check([LOW], good, {"d": here}),
                check([LOW], bad, {"d": here}, level="theory", data="elsewhere"),
                check([LOW], good, {"d": gone}, data="far away"),
            ],
        ),
        Claim("p:2", "P (2000)", "section 2", "No.", [check([LOW], bad, {"d": here})]),
        Claim("p:3", "P (2000)", "section 3", "Unseen.", [check([LOW], good, {"d": gone})]),
        Claim(
            "p:4",
            "P (2000)",
            "section 4",
            "Otherwise.",
            [check([LOW], good, {"d": here}, success="corrected")],
        ),
    ]
    return ledger(claims, outcomes)


def test_a_claim_is_judged_by_its_first_check_and_shows_the_others():
    rows = hand_made_ledger()
    assert [row["id"] for row in rows] == ["p:1", "p:2", "p:3", "p:4"]
    assert [row["verdict"] for row in rows] == [
        "reproduced",
        "not reproduced",
        "not run here",
        "corrected",
    ]
    assert all(row.keys() >= KEYS for row in rows)
    first = rows[0]
    assert {key: first[key] for key in ("paper", "where", "statement", "level")} == {
        "paper": "P (2000)",
        "where": "Figure 1",
        "statement": "Water is wet.",
        "level": "simulation",
    }
    assert [other["verdict"] for other in first["other_checks"]] == [
        "not reproduced",
        "not run here",
    ]
    assert first["other_checks"][0]["level"] == "theory"
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_the_ledger_as_text():
    text = as_text(hand_made_ledger())
    blocks = text.split("\n\n")
    assert len(blocks) == 5
    first = blocks[0].splitlines()
    assert first[0] == "p:1 (Figure 1): Water is wet."
    assert " ".join(first[1].split()) == "REPRODUCED simulation, made by hand, 2 seeds"
    assert " ".join(first[2].split()) == "1.25 ± 0.12 meets a ≥ 1"
    assert " ".join(first[3].split()) == "NOT REPRODUCED theory, elsewhere, 2 seeds"
    assert " ".join(first[4].split()) == "0.5 ± ? FAILS a ≥ 1"
    assert " ".join(first[5].split()) == "NOT RUN HERE simulation, far away"
    assert first[6].strip() == "there is no file"
    tally = blocks[-1].splitlines()
    assert tally[0].startswith("4 claims: ")
    for verdict in VERDICTS:
        assert f"1 {verdict}" in tally[0]
    assert max(map(len, text.splitlines())) <= 110


# --- the claims of Smith & Le -------------------------------------------------------------------

# Those on the noise scale, N, D and T, are in test_noise_claims.py; those of Zhang et al. in
# test_zhang_claims.py and test_zhang_network_claims.py; those of Wen et al. in test_wen_claims.py.
LAST = {"B": 5, "L": 8, "N": 5, "D": 13, "T": 2}
IDS = [f"{letter}{i}" for letter, last in LAST.items() for i in range(1, last + 1)]
IDS.insert(IDS.index("N1"), "O1")
CLAIMS = {
    name: claim
    for claim in smith_le_2018.CLAIMS
    if (name := claim.id.split(":")[1]).startswith(("B", "L", "O"))
}
CHECKS = [
    pytest.param(claim, number, id=f"{name}-{number}")
    for name, claim in CLAIMS.items()
    for number in range(len(claim.checks))
]
LN2 = math.log(2.0)


def test_the_claims_are_those_of_the_sheet():
    claims = registry.claims("smith_le_2018")
    assert [claim.id for claim in claims] == [f"smith_le_2018:{name}" for name in IDS]
    others = registry.claims("zhang_2017", "wen_2018", "liu_2020")
    assert registry.claims() == [*claims, *others]
    assert len({claim.id for claim in registry.claims()}) == 34 + 37 + 31 + 15
    assert sum(len(claim.checks) for claim in registry.claims()) == 129 + 82 + 47 + 39
    for claim in registry.claims():
        assert claim.paper
        assert claim.where
        assert claim.statement
        assert claim.checks


def seed_factor(wanted):
    """A small difference between seeds."""
    seed = xr.DataArray(np.arange(wanted.seeds), dims="seed", coords={"seed": range(wanted.seeds)})
    return 1.0 + 1e-4 * seed


def memorization(wanted):
    """Curves of which all that the paper says is true."""
    grid = np.array(wanted.parameters["prior_precisions"])
    t = xr.DataArray(np.log10(grid), dims="prior_precision", coords={"prior_precision": grid})
    null = wanted.parameters["train_size"] * LN2
    strength = (t + 8) / 14  # 0 at MNIST's weakest λ, 1 at the strongest
    fit = xr.where(t > -2, np.exp(-(((t + 2) / 1.5) ** 2)), 1 - 0.2 * ((t + 2) / 8) ** 2)
    if "steps" in wanted.parameters:
        true_ratio = null * (0.5 - strength)
    else:
        true_ratio = -0.96 * null * fit - 1e-5
    true = {
        "train_accuracy": 1.0 + 0 * t,
        "test_accuracy": 0.998 + 0 * t,
        "train_cross_entropy": LN2 * (1 - fit) + 1e-4,
        "test_cross_entropy": LN2 * (1 - 0.99 * fit),
        "log_evidence_ratio": true_ratio,
    }
    random = {
        "train_accuracy": 1.0 - 0.4 * np.maximum(strength - 0.2, 0),
        "test_accuracy": 0.5 + 0 * t,
        "train_cross_entropy": LN2 * strength + 1e-4,
        "test_cross_entropy": LN2 + 900 * (1 - strength) ** 5,
        "log_evidence_ratio": 2 * null * (1 - strength) ** 3 + 1e-3,
    }
    kinds = xr.Variable("labels", ["random", "true"])
    data = xr.concat([xr.Dataset(random), xr.Dataset(true)], kinds)
    for name in ("log_evidence_ratio", "train_cross_entropy"):
        data[name] = data[name] * seed_factor(wanted)
    return data.broadcast_like(seed_factor(wanted)).assign_coords(seed=range(wanted.seeds))


def truth(wanted):
    grid = np.array(wanted.parameters["prior_precisions"])
    exact = xr.DataArray(
        np.full((2, len(grid)), -30.0),
        dims=("labels", "prior_precision"),
        coords={"labels": ["random", "true"], "prior_precision": grid},
    )
    data = {
        "laplace": exact + 0.3 * seed_factor(wanted) + xr.where(exact.prior_precision < 0.1, 5, 0),
        "thermodynamic_integration": exact * (0 * seed_factor(wanted) + 1),
        "annealed_importance_sampling": exact * (0 * seed_factor(wanted) + 1),
    }
    return xr.Dataset(data)


def gaussian(wanted):
    grid = np.array(wanted.parameters["prior_precisions"])
    value = xr.DataArray(-grid, dims="prior_precision", coords={"prior_precision": grid})
    value = value * seed_factor(wanted)
    return xr.Dataset({"laplace": value + 1e-11, "exact": value, "function_space": value})


def quadrature(wanted):
    sizes = wanted.parameters["train_sizes"]
    error = xr.DataArray([-0.05, -0.01], dims="train_size", coords={"train_size": sizes})
    return xr.Dataset({"error": error * seed_factor(wanted)})


def rescaling(wanted):
    grid = np.array(wanted.parameters["scales"])
    scale = xr.DataArray(grid, dims="scale", coords={"scale": grid})
    factor = seed_factor(wanted)
    return xr.Dataset(
        {
            "logistic": -30 * factor + 0 * scale,
            "logistic_sharpness": 4 * factor / scale**2,
            "relu": -20 * factor + 0 * scale,
            "relu_sharpness": 5 * factor * (scale**2 + scale**-2),
        }
    )


def coordinates(wanted):
    grid = np.array(wanted.parameters["prior_precisions"])
    value = xr.DataArray(-1 / grid, dims="prior_precision", coords={"prior_precision": grid})
    bend = xr.DataArray([0.0, 0.1], dims="coordinate", coords={"coordinate": ["w", "sinh w"]})
    return xr.Dataset({"laplace": value + bend, "exact": value + 0 * bend}).expand_dims(seed=[0])


def identities(wanted):
    factor = seed_factor(wanted)
    scale = xr.DataArray([1e-3, 1e3], dims="scale", coords={"scale": [1e-3, 1e3]})
    error = xr.DataArray([[1e-10, -2e-10]], dims=("curvature", "prior_precision"))
    return xr.Dataset(
        {
            "linear_error": error * factor,
            "null_ratio": 1e-4 * factor,
            "rescaled": 1e-12 * factor + 0 * scale,
            "log_evidence": -100.0 * factor,
            "sharpness": 7.0 * factor / scale**2,
        }
    )


def minima(wanted):
    """Evidence and accuracy fall alike with the batch size; random labels are worse than chance."""
    p, factor = wanted.parameters, seed_factor(wanted)
    batch, precision = (
        xr.DataArray(p[key], dims=dim, coords={dim: p[key]})
        for dim, key in (("batch_size", "batch_sizes"), ("prior_precision", "prior_precisions"))
    )
    random = xr.DataArray([0.0, 1.0], dims="labels", coords={"labels": ["true", "random"]})
    ratio = factor * (-100.0 + np.log(batch) + 300.0 * random + 0 * precision)
    accuracy = factor * (0.9 - 0.01 * np.log(batch) - 0.8 * random + 0 * precision)
    return xr.Dataset({"log_evidence_ratio": ratio, "test_accuracy": accuracy})


SYNTHETIC = {
    study if isinstance(study, str) else study.__qualname__: make
    for study, make in (
        (smith_le_2018.MNIST_01.study, memorization),
        (smith_le_2018.GROUND_TRUTH.study, truth),
        (smith_le_2018.GAUSSIAN.study, gaussian),
        (smith_le_2018.QUADRATURE.study, quadrature),
        (smith_le_2018.RESCALING.study, rescaling),
        (smith_le_2018.COORDINATES.study, coordinates),
        ("deep.evidence.evidence_identities", identities),
        ("deep.evidence.evidence_of_minima", minima),
    )
}


def synthetic(wanted):
    study = wanted.study
    return SYNTHETIC[study if isinstance(study, str) else study.__qualname__](wanted)


def corruptions(data):
    """Every variable shifted, scaled or reversed along its axes; coordinates, labels exchanged."""
    axes = [name for name in data.dims if name not in ("seed", "labels")]
    for name in data.data_vars:
        value = data[name]
        for shift in (-2000.0, -10.0, -0.5, -0.04, 0.04, 0.5, 10.0, 2000.0):
            if "sharpness" not in name or shift > 0:  # a sharpness is positive
                yield data.assign({name: value + shift})
        for axis in [axis for axis in axes if axis in value.dims]:
            position = xr.DataArray(np.arange(data.sizes[axis]), dims=axis)
            yield data.assign({name: value.copy(data=value.isel({axis: slice(None, None, -1)}))})
            yield data.assign({name: value * (1 + position)})
        if "coordinate" in data.dims:
            yield data.assign({name: value.isel(coordinate=[0, 0]).drop_vars("coordinate")})
    if "labels" in data.dims:
        yield data.assign_coords(labels=data.labels.values[::-1])


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_every_criterion_of_every_claim_can_be_met_and_can_fail(
    claim, number, assert_can_be_met_and_can_fail
):
    assert_can_be_met_and_can_fail(claim.checks[number], synthetic, corruptions)


def measured(name, number, **changed):
    checked = CLAIMS[name].checks[number]
    outcomes = {each: changed.get(key, synthetic(each)) for key, each in checked.needs.items()}
    return [(item["value"], item["uncertainty"]) for item in judge(checked, outcomes)["measured"]]


def change(name, number=0, **variables):
    """The synthetic data of a check's only need, with other variables."""
    ((key, wanted),) = CLAIMS[name].checks[number].needs.items()
    data = synthetic(wanted)
    return {
        key: data.assign({name: make(data) for name, make in variables.items()}),
    }


def test_values_and_error_bars_of_a_mean_over_seeds():
    rng = np.random.default_rng(0)
    draws = rng.uniform(0.49, 0.51, 20)
    ((_, _), (value, error)) = measured(
        "L1",
        0,
        **change(
            "L1",
            test_accuracy=lambda d: 0 * d.test_accuracy + xr.DataArray(draws, dims="seed"),
        ),
    )
    assert value == pytest.approx(draws.mean())
    assert error == pytest.approx(draws.std(ddof=1) / np.sqrt(20))


def test_values_of_the_synthetic_curves():
    grid = np.array(smith_le_2018.MNIST_01.parameters["prior_precisions"])
    factor = 1 + 1e-4 * 9.5  # mean over seeds
    supported = measured("L5", 0)
    assert supported[0][0] == pytest.approx(-0.96 * 800 * LN2 * factor, rel=1e-6)
    assert supported[1] == (12.0, 0.0)  # λ = 0.01 is number 12 of 28
    assert grid[12] == pytest.approx(0.01)
    assert measured("L6", 0)[0] == (0.0, 0.0)
    assert measured("L7", 0)[0][0] == pytest.approx(1.0)
    assert measured("L8", 0)[0][0] == pytest.approx(-1e-5, rel=0.1)
    assert measured("B4", 0)[2][0] == pytest.approx(0.0, abs=1e-12)
    assert measured("B5", 0)[0][0] == pytest.approx(0.1)
    assert measured("B2", 0)[0][0] == pytest.approx(0.05 * factor)


def test_the_distance_between_minima_is_in_decades_and_has_a_jackknife_error():
    def moved(data):
        return data.test_cross_entropy.roll(prior_precision=3)

    distance, regret = measured("L6", 2, **change("L6", 2, test_cross_entropy=moved))
    assert distance[0] == pytest.approx(1.5)
    data = synthetic(smith_le_2018.DIGITS_38).sel(labels="true").mean("seed")
    curve = moved(data)
    chosen = int(data.log_evidence_ratio.argmin("prior_precision"))
    assert regret[0] == pytest.approx(float(curve[chosen] - curve.min()))
    assert regret[1] == pytest.approx(0.0, abs=1e-12)

    least, _, at_the_edge, _ = measured("L5", 1)  # the jackknife of a mean is its standard error
    wanted = smith_le_2018.DIGITS_01
    per_seed = synthetic(wanted).sel(labels="true").log_evidence_ratio.min("prior_precision")
    assert least[1] == pytest.approx(float(per_seed.std(ddof=1)) / np.sqrt(20), rel=1e-9)
    assert at_the_edge[0] == pytest.approx(-1e-5, rel=0.5)


def test_the_largest_error_is_over_all_seeds_and_prior_precisions():
    def spoiled(data):
        values = data.laplace.copy(deep=True)
        values[{"seed": 3, "prior_precision": 5}] += 1e-3
        return values

    first, second = measured("B1", 0, **change("B1", laplace=spoiled))
    assert first[0] == pytest.approx(1e-3, rel=1e-6)
    assert second[0] == pytest.approx(1e-3, rel=1e-6)


def test_the_worst_prior_precision_is_found_among_those_that_count():
    def spoiled(data):
        values = data.laplace.copy(deep=True)
        values[{"prior_precision": 3}] += 2.0 + xr.DataArray([0.0, 0.2, 0.4, 0.6, 0.8], dims="seed")
        return values

    (value, error), *_ = measured("B2", 1, **change("B2", 1, laplace=spoiled))
    assert value == pytest.approx(0.3 + 2.4, abs=1e-3)
    assert error == pytest.approx(np.std([0, 0.2, 0.4, 0.6, 0.8], ddof=1) / np.sqrt(5), abs=1e-3)


def test_shares_of_seeds_have_binomial_errors():
    def dipping(data):
        values = data.log_evidence_ratio.copy(deep=True)
        values[{"seed": slice(0, 4), "prior_precision": 10}] = -5.0
        return values

    (value, error), *_ = measured("L4", 1, **change("L4", 1, log_evidence_ratio=dipping))
    assert value == pytest.approx(0.8)
    assert error == pytest.approx(np.sqrt(0.8 * 0.2 / 20))


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_one_seed_gives_a_verdict_and_no_false_error_bar(claim, number):
    checked = claim.checks[number]
    outcomes = {each: synthetic(each).isel(seed=[0]) for each in checked.needs.values()}
    entry = judge(checked, outcomes)
    assert entry["verdict"] == checked.success
    json.dumps(entry, allow_nan=False)


CERTAIN = {  # in a quick run too
    "smith_le_2018": "B1 B4 B5 T2",
    "zhang_2017": "C01 C03 C04 C35 C25 C26 C33",
    "wen_2018": "T1 T2b T3 T4 R1",
}


def test_the_quick_ledger(quick_run):
    rows = quick_run.rows
    claims = registry.claims()
    assert len(rows) == len(IDS) + 37 + 31 + 15
    assert [row["id"] for row in rows] == [claim.id for claim in claims]
    reasons = {check.reason for claim in claims for check in claim.checks if check.reason}
    for row in rows:
        assert row.keys() >= KEYS
        for entry in (row, *row["other_checks"]):
            assert entry["verdict"] in VERDICTS
            if entry["verdict"] == "not run here":
                without_torch = entry["reason"].startswith("not recorded; it takes PyTorch")
                stated = without_torch or entry["reason"] in reasons
                assert stated or any(name in entry["data"] for name in ("MNIST", "cifar10-jpeg"))
                assert entry["value"] is None
            else:
                # Two seeds of short runs can leave no number: a best batch size at the edge, say.
                assert isinstance(entry["value"], float) or not entry["measured"][0]["met"]
    assert rows == ledger(claims, quick_run.outcomes)
    verdicts = {row["id"]: row["verdict"] for row in rows}
    for paper, names in CERTAIN.items():
        for name in names.split():
            assert verdicts[f"{paper}:{name}"] == "reproduced"
    for name in ("T1x", "T2", "T2c", "T2d", "T5"):
        assert verdicts[f"wen_2018:{name}"] == "corrected"
