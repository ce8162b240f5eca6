"""The claims on Zhang et al.'s networks, and the measures that judge them, on data made by hand."""

import importlib.util
import inspect
import itertools
import json
import math

import numpy as np
import pytest
import xarray as xr
from corruptions import corruptions_of
from randomized_networks import randomization

from paper_figures import _zhang_2017_capacity as capacity
from paper_figures import _zhang_2017_networks as networks
from paper_figures import _zhang_2017_networks_measures as measures
from paper_figures._zhang_2017_measures import PRINTED_PARAMETERS
from paper_figures.claims import judge
from paper_figures.results import Options, Unavailable, obstacles, obtain
from store.results import ResultStore

INF = math.inf
ALL, CHANCE, NEAR = (99.9, INF), (5, 15), (9, 11)
MLPS, REST = 1, 4  # networks on CIFAR-10, without a GPU and with one
# The criteria of the list of claims, check by check: low and high. Where a check is not the list's,
# its description says "ours".
CRITERIA = {
    "C05": [
        [ALL, ALL, (99, INF), ALL, ALL],
        *[[(99, INF)]] * 2,
        [ALL, ALL, (99, INF), ALL],
    ],
    "C06": [[CHANCE] * 5, [NEAR] * MLPS, [NEAR] * REST],
    "C07": [
        [*[ALL] * 4, (100, INF), *[(97, INF)] * 5],
        [(47.51, 53.51)],
        [(83.75, 87.75), (79, 85), (73.07, 79.07), (49.39, 55.39)],
    ],
    "C08": [[(80, INF)] * 5, [(70, INF)]],
    "C09": [[ALL] * 4, [ALL]],
    "C10": [
        [(-INF, 8), (3, INF), (-INF, 8), (3, INF)],
        [(1, INF)] * 4,
        [*[(1, INF)] * 3, (2.5, 7)],
    ],
    "C11": [[(8, INF), (-INF, 25)]],
    "C12": [
        [(-INF, 20), (2, INF)],
        *[[(1.4, 3), (-INF, 10)]] * 2,
        [(2, 6), (-INF, 10)],
        [(1.2, 2.5), (-INF, 10)],
    ],
    "C13": [[ALL, (99, INF), ALL, ALL], [(99, INF)], [(99, INF)] * 2],
    "C14": [
        [(86, 94), (0, INF), (0, INF)],
        [(44.5, 54.5), (70.7, 80.7), (84.8, 94.8)],
    ],
    "C15": [[(35, INF)], [(20, INF)]],
    "C18": [[(-1.5, 1.5)] * 4, [(-2.5, 2.5)] * 5, [(2, 5)] * 2],
    "C19": [
        [(99.5, INF), (99.5, INF), (98.5, INF)],
        [(99.5, INF), (99.5, INF), (98.5, INF)],
        [(-INF, 50), ALL, (-INF, 1.5)],
    ],
    "C20": [[(95, INF)] * 2, [(99, INF)] * 2],
    "C21": [[ALL, (0, 5)], [ALL, (1, 5)]],
    "C22": [[(-INF, 1)] * 5, [(-INF, 1)] * MLPS, [(-INF, 1)] * REST],
    "C23": [[(75.84, 79.84), (70.95, 74.95), (65.18, 69.18), (57.8, 61.8)]],
    "C24": [[(85, INF)]],
    "C36": [[(10, INF), (-INF, 20)], [(-INF, 50)], [(10, INF), (-INF, 20)]],
    "C37": [[(3, INF)], [(3, INF)]],
}
CORRECTED = {("C19", 2)}
CLAIMS = {claim.id.split(":")[1]: claim for claim in networks.CLAIMS}
CHECKS = [
    pytest.param(claim, number, id=f"{name}-{number}")
    for name, claim in CLAIMS.items()
    for number, check in enumerate(claim.checks)
    if check.measure is not None
]
CLAIMED = {need for claim in CLAIMS.values() for c in claim.checks for need in c.needs.values()}


# --- data of which all that the paper says is true ------------------------------------------------


def miniature(wanted):
    """The simulated network's curves, as far as claims ask for them."""
    epoch = xr.DataArray(np.arange(1, 1 + wanted.parameters["epochs"]), dims="epoch")
    factor = xr.DataArray(1 + 1e-4 * np.arange(wanted.seeds), dims="seed")
    names = ["corrupted labels 0.4", "random labels", "Gaussian pixels"]
    ones = xr.DataArray(np.ones(3), dims="condition", coords={"condition": names})
    accuracy = xr.where(epoch <= 8, 0.12 * epoch, 0.79) * ones * factor
    return xr.Dataset(
        {
            "test_accuracy": accuracy,
            "wrong_fitted": np.minimum(1.0, 0.003 * epoch**1.05) * ones * factor,
            "epochs_to_target": ones.copy(data=[104.0, 104.0, 24.0]) * factor,
        }
    ).transpose("seed", "condition", "epoch")


def synthetic(wanted):
    return miniature(wanted) if wanted is capacity.RANDOMIZED else randomization(wanted)


def corruptions(data):
    """All curves spoiled in the same way: one at a time would take minutes."""
    curves = {name: value for name, value in data.items() if "epoch" in value.dims}
    for spoiled in zip(*map(corruptions_of, curves.values()), strict=True):
        yield data.assign(dict(zip(curves, spoiled, strict=True)))
    if "epochs_to_target" in data:
        for corrupted in corruptions_of(data.epochs_to_target):
            yield data.assign(epochs_to_target=corrupted)


# --- claims ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CRITERIA)
def test_the_thresholds_are_those_of_the_list(name):
    stated = [[(each.low, each.high) for each in c.criteria] for c in CLAIMS[name].checks]
    for found, wanted in zip(stated, CRITERIA[name], strict=True):
        assert found == [pytest.approx(limits) for limits in wanted]
    for number, check in enumerate(CLAIMS[name].checks):
        wanted = "corrected" if (name, number) in CORRECTED else "reproduced"
        assert check.success == wanted


def test_the_claims_are_those_of_the_list():
    assert list(CLAIMS) == list(CRITERIA)


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_criteria_are_told_apart_and_shares_name_their_unit(claim, number):
    quantities = [criterion.quantity for criterion in claim.checks[number].criteria]
    assert len(set(quantities)) == len(quantities)
    for quantity in quantities:
        shares = ("accuracy", "error", "share of", "gap", "fall", "growth")
        is_share = any(word in quantity for word in shares) and "epochs to" not in quantity
        assert is_share <= ("%" in quantity or "points" in quantity or "weight decay" in quantity)


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_every_criterion_of_every_claim_can_be_met_and_can_fail(
    claim, number, assert_can_be_met_and_can_fail
):
    assert_can_be_met_and_can_fail(claim.checks[number], synthetic, corruptions)


@pytest.mark.parametrize(("claim", "number"), CHECKS)
def test_one_seed_gives_a_verdict_and_no_false_error_bar(claim, number):
    check = claim.checks[number]
    outcomes = {each: synthetic(each).isel(seed=[0]) for each in check.needs.values()}
    entry = judge(check, outcomes)
    assert entry["verdict"] == check.success
    assert [item["uncertainty"] for item in entry["measured"]] == [None] * len(check.criteria)
    json.dumps(entry, allow_nan=False)


def test_without_data_a_check_says_why(tmp_path):
    options = Options(ResultStore(tmp_path / "results"), jobs=1)
    external = [need for need in CLAIMED if need.is_external]
    outcomes = obtain(external, options)
    files = "not recorded; give the folder of CIFAR-10's binary version with --data"
    assert set(outcomes.values()) == {Unavailable(files)}
    outcomes |= {need: synthetic(need) for need in CLAIMED if not need.is_external}
    for name, claim in CLAIMS.items():
        for check in claim.checks:
            entry = judge(check, outcomes)
            on = next(data for data in ("digits", "cifar10-jpeg", "ImageNet") if data in check.data)
            if on == "digits":
                assert entry["verdict"] == check.success
                continue
            assert entry["verdict"] == "not run here"
            assert entry["value"] is entry["uncertainty"] is None
            if on == "ImageNet":
                assert name in ("C23", "C24")
                assert entry["reason"].startswith("ImageNet's 1.3 million images are not here")
            else:
                assert entry["reason"] == files


@pytest.mark.parametrize("has_gpu", [False, True])
def test_what_takes_days_without_a_gpu_says_so(tmp_path, cifar_folder, monkeypatch, has_gpu):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    options = Options(ResultStore(tmp_path / "results"), data_dirs=[cifar_folder], jobs=1)
    found = obstacles(networks.RECORDED, options)
    perceptrons = {*networks.CIFAR_MLP.values(), *networks.CIFAR_MLP_GLOROT.values()}
    for need, obstacle in found.items():
        on_cpu = not need.is_external or need in perceptrons
        assert obstacle == ("" if on_cpu or has_gpu else "it takes a GPU")
    quick = Options(options.store, options.data_dirs, quick=True, jobs=1)
    assert set(obstacles(networks.RECORDED, quick).values()) == {""}
    if not has_gpu:
        need = networks.CIFAR["inception"]
        outcome = obtain([need], options)[need]
        assert outcome == Unavailable("not recorded; it takes a GPU")
        entry = judge(CLAIMS["C11"].checks[0], {need: outcome})
        assert entry["verdict"] == "not run here"
        assert entry["reason"] == "not recorded; it takes a GPU"


def test_without_torch_every_network_says_what_to_install(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name)
    )
    options = Options(ResultStore(tmp_path / "results"), jobs=1)
    on_digits = [need for need in networks.RECORDED if not need.is_external]
    outcomes = obtain(on_digits, options)
    wanted = "not recorded; it takes PyTorch: pip install -e '.[deep]'"
    assert {outcome.reason for outcome in outcomes.values()} == {wanted}


def test_another_data_set_is_named_in_its_stead():
    check = CLAIMS["C11"].checks[0]
    ((_, need),) = check.needs.items()
    entry = judge(check, {need: synthetic(need).assign_attrs(dataset="cifar10-1234")})
    assert entry["data"].startswith("cifar10-1234, n = 50,000")


# --- needs ----------------------------------------------------------------------------------------


def test_what_is_recorded_is_all_that_is_claimed_or_drawn():
    drawn = {need for figure in networks.FIGURES for need in figure.needs.values()}
    assert set(networks.RECORDED) == (CLAIMED | drawn) - {capacity.RANDOMIZED}
    assert len(set(networks.RECORDED)) == len(networks.RECORDED)
    for need in networks.RECORDED:
        assert need.study == "deep.memorization.randomization"
        assert need.kept is not need.is_external
        assert need.is_external or not need.gpu


def test_needs_are_the_studys_own_parameters():
    pytest.importorskip("torch")
    from deep import memorization, models

    study = networks.DIGITS["mlp_1x512"].function()
    assert study is memorization.randomization
    known = inspect.signature(study).parameters
    for need in networks.RECORDED:
        assert {*need.parameters, *need.quick} <= set(known)
        assert need.parameters["model"] in networks.NAMES
    assert set(memorization.CORRUPTIONS) <= set(
        networks.DIGITS["mlp_1x512"].parameters["corruptions"]
    )
    assert set(networks.NAMES) <= set(models.names())


@pytest.mark.parametrize("model", networks.NAMES)
def test_the_networks_have_the_printed_numbers_of_parameters(model):
    torch = pytest.importorskip("torch")
    from deep import models

    generator = torch.Generator().manual_seed(0)
    network = models.build(model, input_shape=(3, 28, 28), classes=10, generator=generator)
    name = networks.NAMES[model].removesuffix(" without batch norm").replace("×", "x")
    assert models.parameter_count(network) == PRINTED_PARAMETERS[name]


def test_the_synthetic_data_have_the_layout_of_the_study(quick_outcomes):
    compared = set()
    for need in CLAIMED - {capacity.RANDOMIZED}:
        actual = quick_outcomes[need]
        if isinstance(actual, Unavailable):
            continue
        made = synthetic(need.sped_up())
        assert set(made) == set(actual)
        assert made.attrs.keys() <= actual.attrs.keys()
        for name, value in made.items():
            assert value.dims == actual[name].dims, name
            assert value.dtype == actual[name].dtype, name
            if "epoch" in value.dims:
                np.testing.assert_array_equal(np.isnan(value), np.isnan(actual[name]), name)
        assert set(made.coords) == set(actual.coords)
        for name, coordinate in made.coords.items():
            np.testing.assert_array_equal(coordinate, actual[name])
        np.testing.assert_array_equal(made.wrong == 0, actual.wrong == 0)
        compared.add(need.parameters["model"])
    if importlib.util.find_spec("torch"):
        assert compared == set(networks.NAMES)


# --- measures -------------------------------------------------------------------------------------

NAMES = (
    "random labels",  # in no order
    "Gaussian pixels",
    "labels 0.8",
    "true labels",
    "random pixels",
    "labels 0.2",
    "labels 0.4",
    "shuffled pixels",
)
CURVES = (
    "online_loss",
    "online_accuracy",
    "training_accuracy",
    "wrong_labels_fitted",
    "test_accuracy",
    "corrupted_test_accuracy",
)
SHARES = {0.0: "true labels", 0.2: "labels 0.2", 0.4: "labels 0.4", 0.8: "labels 0.8"}
SHARES |= {1.0: "random labels"}


def network(number=0, seeds=(0, 1, 2), epochs=30):
    """Curves that go up and down; losses go through all that is asked for."""
    rng = np.random.default_rng([17, number])
    shape = (len(seeds), len(NAMES), epochs)
    curves = {name: rng.uniform(size=shape) for name in CURVES}
    curves["online_loss"] *= np.linspace(5.0, 0.0, epochs)
    curves["training_accuracy"] = np.minimum(1.0, 1.5 * curves["training_accuracy"])
    curves["training_accuracy"][..., -2:] = 1.0
    return xr.Dataset(
        {name: (("seed", "corruption", "epoch"), values) for name, values in curves.items()},
        {"seed": list(seeds), "corruption": list(NAMES), "epoch": np.arange(1, epochs + 1)},
    )


def curve(data, variable, corruption, seed):
    return [float(x) for x in data[variable].sel(corruption=corruption).isel(seed=seed)]


def last(data, variable, corruption, seed):
    return 100 * curve(data, variable, corruption, seed)[-1]


def first(data, corruption, seed, target=0.1):
    for epoch, loss in enumerate(curve(data, "online_loss", corruption, seed), 1):
        if loss <= target:
            return epoch
    return math.nan


def over_seeds(values, data):
    """The mean and its standard error of a value for each seed."""
    values = [values(seed) for seed in range(data.sizes["seed"])]
    return pytest.approx((np.mean(values), np.std(values, ddof=1) / math.sqrt(len(values))))


def test_last_values_for_each_variable_and_network():
    data = {"one": network(1), "other": network(2)}
    variables = ("test_accuracy", "online_accuracy")
    found = measures.final("labels 0.4", *variables)(data)
    wanted = [(variable, each) for variable in variables for each in data.values()]
    for value, (variable, each) in zip(found, wanted, strict=True):
        assert value == over_seeds(lambda s, v=variable, d=each: last(d, v, "labels 0.4", s), each)


def test_gaps_are_compared_seed_by_seed():
    data = {"one": network(1), "other": network(2)}
    for d, found in zip(data.values(), measures.wider_gap(data), strict=True):

        def gap(name, s, d=d):
            return last(d, "training_accuracy", name, s) - last(d, "test_accuracy", name, s)

        assert found == over_seeds(lambda s, g=gap: g("random labels", s) - g("true labels", s), d)


@pytest.mark.parametrize(
    ("measure", "names"),
    [
        (measures.noise_inputs, ["shuffled pixels", "Gaussian pixels", "random pixels"]),
        (measures.always_fitted, list(SHARES.values())),
    ],
    ids=["inputs", "labels"],
)
def test_the_least_is_that_of_each_seed(measure, names):
    data = {"one": network(1), "other": network(2)}
    rng = np.random.default_rng(3)
    for d in data.values():
        d.training_accuracy[{"epoch": -1}] = rng.uniform(size=(3, len(NAMES)))
    for d, found in zip(data.values(), measure(data), strict=True):
        assert found == over_seeds(
            lambda s, d=d: min(last(d, "training_accuracy", name, s) for name in names), d
        )


@pytest.mark.parametrize("number", range(5))
def test_epochs_to_a_loss(number):
    d = network(number)

    def ratio(one, other):
        return over_seeds(lambda s: first(d, one, s) / first(d, other, s), d)

    def pixels(choose, s):
        return choose(first(d, f"{kind} pixels", s) for kind in ("Gaussian", "random"))

    true, shuffled, random = "true labels", "shuffled pixels", "random labels"
    assert measures.speeds({"any": d}) == [
        over_seeds(lambda s: max(first(d, true, s), first(d, shuffled, s)), d),
        over_seeds(lambda s: pixels(min, s) / first(d, true, s), d),
        over_seeds(lambda s: pixels(max, s) / first(d, true, s), d),
        over_seeds(lambda s: first(d, random, s) / pixels(max, s), d),
    ]
    assert measures.order({"any": d}) == [
        ratio(shuffled, true),
        over_seeds(lambda s: pixels(min, s) / first(d, shuffled, s), d),
        over_seeds(lambda s: first(d, random, s) / pixels(max, s), d),
        ratio(random, true),
    ]
    assert measures.plateau({"any": d}) == [
        over_seeds(lambda s: sum(x > 2.2 for x in curve(d, "online_loss", random, s)), d),
        over_seeds(lambda s: first(d, random, s) - first(d, random, s, 2.0), d),
    ]
    assert measures.harder_labels({"any": d}) == [ratio(random, "Gaussian pixels")]


@pytest.mark.parametrize("number", range(5))
def test_epochs_against_the_share_of_labels(number):
    d = network(number)
    d.training_accuracy[{"epoch": slice(0, 3)}] = 0.5
    d.training_accuracy.loc[{"corruption": "true labels", "epoch": 2}] = 1.0  # the first to fit

    def fits(share, s):
        accuracy = curve(d, "training_accuracy", SHARES[share], s)
        return next(epoch for epoch, each in enumerate(accuracy, 1) if each >= 0.999)

    def small(share, s):
        return first(d, SHARES[share], s, 0.05)

    assert measures.slower_to_accuracy({"any": d}) == [
        over_seeds(lambda s: fits(1.0, s) / fits(0.0, s), d),
        over_seeds(lambda s: min(fits(p, s) for p in SHARES if p) / fits(0.0, s), d),
    ]
    slower, fall = measures.slower_to_loss({"any": d})
    assert slower == over_seeds(lambda s: small(1.0, s) / small(0.0, s), d)
    means = [np.mean([small(p, s) for s in range(3)]) for p in sorted(SHARES)]
    falls = [100 * (1 - after / before) for before, after in itertools.pairwise(means)]
    assert fall.value == pytest.approx(max(0.0, *falls))


def timed(times):
    """A network that reaches all losses at these epochs, by share and seed."""
    epoch = np.arange(1, 1 + np.max(times))
    return xr.Dataset(
        {"online_loss": (("corruption", "seed", "epoch"), epoch < np.array(times)[..., None])},
        {"corruption": list(SHARES.values())[: len(times)], "epoch": epoch},
    )


def test_the_largest_fall_has_an_error_of_first_order():
    rng = np.random.default_rng(5)
    times = rng.integers([[40], [100], [80], [90], [88]], [[44], [110], [88], [99], [90]], (5, 30))
    _, (fall, error) = measures.slower_to_loss({"any": timed(times)})

    def from_second_to_third(kept):
        return 100 * (1 - times[2][kept].mean() / times[1][kept].mean())

    assert fall == pytest.approx(from_second_to_third(np.full(30, True)))
    left_out = [from_second_to_third(np.arange(30) != seed) for seed in range(30)]
    assert error == pytest.approx(math.sqrt(29 * np.var(left_out)), rel=0.02)
    rising = measures.slower_to_loss({"any": timed(np.sort(times, axis=0))})
    assert rising[1].value == 0.0


@pytest.mark.parametrize("number", range(5))
def test_growths_are_those_of_the_step_that_grows_least_on_the_mean(number):
    d = network(number)
    found = measures.growing_error({"any": d})
    assert found[0] == over_seeds(lambda s: 100 - last(d, "test_accuracy", "random labels", s), d)
    for variable, growth in zip(
        ("test_accuracy", "corrupted_test_accuracy"), found[1:], strict=True
    ):
        steps = []
        for before, after in itertools.pairwise(SHARES[p] for p in sorted(SHARES)):

            def step(s, before=before, after=after, v=variable):
                return last(d, v, before, s) - last(d, v, after, s)

            steps.append((np.mean([step(s) for s in range(3)]), over_seeds(step, d)))
        assert growth == min(steps, key=lambda each: each[0])[1]


def test_errors_on_labels_corrupted_alike():
    d = network()
    wanted = (0.0, 0.8, 1.0)
    for p, found in zip(wanted, measures.corrupted_errors(*wanted)({"any": d}), strict=True):
        assert found == over_seeds(
            lambda s, name=SHARES[p]: 100 - last(d, "corrupted_test_accuracy", name, s), d
        )


@pytest.mark.parametrize("number", range(5))
@pytest.mark.parametrize("every", [1, 4])
def test_peaks_are_among_measured_epochs(number, every):
    d = network(number)
    measured = (d.epoch % every == 0) | (d.epoch == 30)
    gaps = d.assign({name: d[name].where(measured) for name in CURVES[2:]})

    def peak(name, s):
        accuracy = curve(d, "test_accuracy", name, s)
        return max((accuracy[e - 1], e) for e in range(1, 31) if e % every == 0 or e == 30)

    def fall(name, s):
        return 100 * peak(name, s)[0] - last(d, "test_accuracy", name, s)

    def fitted(s):
        return 100 * curve(d, "wrong_labels_fitted", "labels 0.4", s)[peak("labels 0.4", s)[1] - 1]

    wanted = [over_seeds(lambda s: fall("labels 0.4", s), d), over_seeds(fitted, d)]
    assert measures.patterns_first({"any": gaps}) == wanted
    assert measures.fitted_at_peak({"any": gaps}) == wanted[1:]
    ((early),) = measures.stopping_early({"any": gaps})
    assert early == over_seeds(lambda s: fall("true labels", s), d)


def test_gains_are_of_the_same_seeds():
    data = {
        "a": network(1),
        "b": network(2, seeds=(0, 1, 2, 3, 4)),
        "a, regularized": network(3),
        "b, regularized": network(4, seeds=(2, 3, 4)),
    }
    a, b = measures.gains(data)

    def test(name, s):
        return last(data[name], "test_accuracy", "true labels", s)

    assert a == over_seeds(lambda s: test("a, regularized", s) - test("a", s), data["a"])
    assert b == over_seeds(lambda s: test("b, regularized", s) - test("b", s + 2), data["a"])


def test_decays_that_stop_and_that_do_not():
    data = {name: network(i) for i, name in enumerate(("0.0001", "0.0005", "0.005", "0.02"))}
    for i, d in enumerate(data.values()):
        d.training_accuracy[{"epoch": -1}] = np.random.default_rng(i).uniform(size=(3, len(NAMES)))

    def fitted(name, s):
        return last(data[name], "training_accuracy", "random labels", s)

    def tested(name, s):
        return last(data[name], "test_accuracy", "true labels", s)

    assert measures.stopped_by_decay(data) == [
        over_seeds(lambda s: fitted("0.02", s), d),
        over_seeds(lambda s: min(fitted("0.0001", s), fitted("0.0005", s)), d),
        over_seeds(lambda s: tested("0.0001", s) - tested("0.02", s), d),
    ]


def test_what_is_lost_without_batch_normalization():
    data = {"inception_without_batch_norm": network(1), "inception": network(2)}
    without, with_it = data.values()
    without.training_accuracy.loc[{"corruption": "random labels", "epoch": 30, "seed": 1}] = 0.5
    assert measures.without_batch_norm(data) == [
        over_seeds(lambda s: last(without, "training_accuracy", "random labels", s), without),
        over_seeds(
            lambda s: (
                last(with_it, "test_accuracy", "true labels", s)
                - last(without, "test_accuracy", "true labels", s)
            ),
            without,
        ),
    ]


@pytest.mark.parametrize(
    ("measure", "unknown"),
    [
        (measures.speeds, [0, 1, 2]),
        (measures.order, [0, 3]),
        (measures.slower_to_loss, [0, 1]),
    ],
    ids=["speeds", "order", "shares"],
)
def test_a_loss_that_one_seed_never_reaches_meets_nothing(measure, unknown):
    d = network()
    d.online_loss.loc[{"corruption": "true labels", "seed": 1}] = 0.2
    assert [i for i, (value, _) in enumerate(measure({"any": d})) if math.isnan(value)] == unknown


@pytest.mark.parametrize("name", ["Gaussian pixels", "random pixels", "random labels"])
def test_one_of_two_that_is_not_reached_leaves_both_unknown(name):
    d = network()
    d.online_loss.loc[{"corruption": name, "seed": 1}] = 0.2
    unknown = [math.isnan(value) for value, _ in measures.speeds({"any": d})]
    assert unknown == [False, *[name != "random labels"] * 2, True]
    (((value, error)),) = measures.harder_labels({"any": d})
    assert math.isnan(value) == math.isnan(error) == (name != "random pixels")


def test_an_accuracy_that_one_seed_lacks_leaves_the_mean_unknown():
    d = network()
    one = {"corruption": "labels 0.2", "seed": 2}
    d.training_accuracy.loc[one] = 0.5
    slower, least = measures.slower_to_accuracy({"any": d})
    assert not math.isnan(slower.value)
    assert math.isnan(least.value)
    for variable in ("training_accuracy", "test_accuracy", "corrupted_test_accuracy"):
        d[variable].loc[{**one, "epoch": 30}] = np.nan
    for measure in (
        measures.always_fitted,
        measures.final("labels 0.2", "test_accuracy"),
        measures.corrupted_errors(0.2),
    ):
        (((value, _)),) = measure({"any": d})
        assert math.isnan(value)
    assert [math.isnan(value) for value, _ in measures.growing_error({"any": d})] == [
        False,
        True,
        True,
    ]


@pytest.mark.parametrize("name", ["shuffled pixels", "Gaussian pixels", "random pixels"])
def test_the_least_of_what_is_not_all_known_is_unknown(name):
    d = network()
    d.training_accuracy.loc[{"corruption": name, "epoch": 30, "seed": 0}] = np.nan
    assert math.isnan(measures.noise_inputs({"any": d})[0].value)


@pytest.mark.parametrize("decay", ["0.0001", "0.0005"])
def test_the_lesser_of_two_decays_is_unknown_if_one_is(decay):
    data = {name: network() for name in ("0.0001", "0.0005", "0.005", "0.02")}
    data[decay].training_accuracy[{"epoch": -1, "seed": 1}] = np.nan
    unknown = [math.isnan(value) for value, _ in measures.stopped_by_decay(data)]
    assert unknown == [False, True, False]


def test_shares_by_name():
    assert {measures.share(name): name for name in SHARES.values()} == SHARES
    np.testing.assert_array_equal(measures.by_share(network()).share, sorted(SHARES))
