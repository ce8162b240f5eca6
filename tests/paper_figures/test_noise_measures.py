"""What each measure on the noise scale says of numbers made by hand."""

import math

import numpy as np
import pytest
import xarray as xr
from scipy.stats import linregress

from paper_figures import _smith_le_2018_noise_measures as measures
from theory import noise_scale as theory

GRID = np.array([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024])
SETTINGS = ("learning_rate", "momentum", "weight_decay", "train_size")
DEFAULTS = {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.0, "train_size": 10_000}


def along(dim, values):
    return xr.DataArray(np.asarray(values, dtype=float), dims=dim, coords={dim: list(values)})


def seeds(*offsets):
    return along("seed", range(len(offsets))).copy(data=np.array(offsets))


def sweep(accuracy, loss=1.0):
    """A sweep with what is missing along one value, and two seeds that agree."""
    found = xr.Dataset({"test_accuracy": accuracy})
    found["test_loss"] = loss + 0 * found.test_accuracy
    missing = {dim: [DEFAULTS[dim]] for dim in SETTINGS if dim not in found.dims}
    missing |= {dim: [1.0] for dim in ("time",) if dim not in found.dims}
    missing |= {dim: [0, 1] for dim in ("seed",) if dim not in found.dims}
    return found.expand_dims(missing).transpose(*SETTINGS, "batch_size", "time", "seed")


def parabola(best, sizes=GRID, *, peak=0.9, width=0.01):
    """Accuracies with their optimum at ``best``, which the measure finds without error."""
    return peak - width * np.log2(along("batch_size", sizes) / best) ** 2


def numbers(measured):
    return [value for value, _ in measured]


# --- exponents ------------------------------------------------------------------------------------


@pytest.mark.parametrize("power", [-0.5, 0.0, 0.5, 1.0, 1.2])
@pytest.mark.parametrize("dimension", ["learning_rate", "momentum"])
def test_the_exponent_of_a_power_law_is_exact(dimension, power):
    values = along(dimension, [0.1, 0.2, 0.4, 0.8])
    x = 1 / (1 - values) if dimension == "momentum" else values / 0.1
    found = measures.exponent(dimension)({"sweep": sweep(parabola(30 * x**power))})
    (slope, error), (fit, _) = found
    assert slope == pytest.approx(power, abs=1e-9)
    assert error == pytest.approx(0.0, abs=1e-9)
    if power:
        assert fit == pytest.approx(1.0, abs=1e-9)


def test_exponent_and_fit_are_those_of_a_regression_of_logarithms():
    rates = along("learning_rate", [0.05, 0.1, 0.2, 0.4, 0.8])
    best = rates.copy(data=[10.0, 55.0, 30.0, 130.0, 100.0])
    slope, fit = numbers(
        measures.exponent("learning_rate")({"sweep": sweep(parabola(best, width=0.001))})
    )
    line = linregress(np.log(rates), np.log(best))
    assert slope == pytest.approx(line.slope, rel=1e-9)
    assert fit == pytest.approx(line.rvalue**2, rel=1e-9)
    assert fit < 0.9


def test_the_exponent_in_the_training_set_is_that_of_the_range():
    sizes = along("train_size", [1000, 5000, 20_000, 40_000, 60_000])
    data = {"sweep": sweep(parabola(8 * np.maximum(sizes, 20_000) / 20_000))}
    for smallest, largest, slope in ((1000, 20_000, 0.0), (20_000, 60_000, 1.0)):
        ((value, _),) = measures.exponent_in_train_size(smallest, largest)(data)
        assert value == pytest.approx(slope, abs=1e-9)


def test_seeds_that_disagree_give_the_exponent_an_error_bar():
    rates = along("learning_rate", [0.1, 0.2, 0.4])
    best = 20 * (rates / 0.1) ** (1 + seeds(-0.1, 0.0, 0.1, 0.0, 0.0))
    ((slope, error), _) = measures.exponent("learning_rate")({"sweep": sweep(parabola(best))})
    assert slope == pytest.approx(1.0, abs=1e-9)
    # A mean of parabolas has its optimum at their mean in log B: the exponent is a mean.
    assert error == pytest.approx(np.std([-0.1, 0, 0.1, 0, 0]) / np.sqrt(5), rel=0.2)


def test_one_seed_gives_no_error_bar():
    data = {"sweep": sweep(parabola(30 * along("learning_rate", [0.1, 0.2, 0.4]) / 0.1))}
    one = {"sweep": data["sweep"].isel(seed=[0])}
    for measure in (measures.exponent("learning_rate"), measures.flat_peak, measures.peak_range):
        for (value, error), (alone, unknown) in zip(measure(data), measure(one), strict=True):
            assert alone == pytest.approx(value)
            assert error == pytest.approx(0.0, abs=1e-9)
            assert math.isnan(unknown)


# --- optimum, collapse, peak ----------------------------------------------------------------------


def test_the_leads_of_the_best_batch_size():
    curve = along("batch_size", GRID).copy(data=np.full(20, 0.2))
    curve.loc[{"batch_size": 8}] = 0.5
    curve.loc[{"batch_size": 32}] = 0.9
    curve.loc[{"batch_size": 1024}] = 0.7
    offsets = xr.where(curve.batch_size == 32, 1.0, 0.0) * seeds(-0.01, 0.0, 0.01)
    lead, errors, quarter = measures.interior_optimum(0.1)({"sweep": sweep(curve + offsets)})
    assert lead == pytest.approx((20.0, 1 / np.sqrt(3)))
    assert errors == pytest.approx((20.0 * np.sqrt(3), 1.0))
    assert quarter == pytest.approx((40.0, 1 / np.sqrt(3)))


def test_a_lead_without_spread_is_infinitely_many_standard_errors():
    found = measures.interior_optimum(0.1)({"sweep": sweep(parabola(16))})
    assert found[0] == pytest.approx((100 * 0.01 * 36, 0.0))
    assert found[1].value == math.inf
    flat = measures.interior_optimum(0.1)({"sweep": sweep(0.0 * parabola(16) + 0.1)})
    assert [value for value, _ in flat[:2]] == [0.0, 0.0]


@pytest.mark.parametrize(("best", "known"), [(1, False), (3, False), (4, True), (1024, True)])
def test_an_optimum_at_the_smallest_batch_sizes_is_not_interior(best, known):
    *_, quarter = measures.interior_optimum(0.1)({"sweep": sweep(parabola(best))})
    assert math.isfinite(quarter.value) == known
    if known:
        assert quarter.value == pytest.approx(100 * 0.01 * 4)


def test_the_collapse_is_half_way_from_chance_to_the_peak():
    curve = along("batch_size", [1, 4, 8, 16, 32, 64])
    curve = curve.copy(data=[0.1, 0.1, 0.3, 0.7, 0.9, 0.8])
    data = {"sweep": sweep(curve)}
    eight, collapse = measures.collapse(data)
    assert eight == pytest.approx((30.0, 0.0))
    assert collapse == pytest.approx((8 * np.sqrt(2), 0.0))  # 0.5 lies between 0.3 and 0.7
    ((ratio, _),) = measures.optimum_over_collapse(data)
    a, b, _ = np.polyfit([-1, 0, 1], [0.7, 0.9, 0.8], 2)
    assert ratio == pytest.approx(32 * 2 ** (-b / (2 * a)) / (8 * np.sqrt(2)))


def test_where_no_batch_size_fails_there_is_no_collapse():
    data = {"sweep": sweep(parabola(16))}
    _, (collapse, error) = measures.collapse(data)
    ((ratio, _),) = measures.optimum_over_collapse(data)
    assert math.isnan(collapse)
    assert math.isnan(error)
    assert math.isnan(ratio)


def test_how_far_the_peak_is_flat_and_how_far_it_falls():
    rates = along("learning_rate", [0.1, 0.2, 0.4, 0.8, 1.6])
    peak = rates.copy(data=[0.950, 0.955, 0.949, 0.940, 0.900])
    data = {"sweep": sweep(parabola(30 * rates / 0.1, peak=peak))}
    width, fall = measures.flat_peak(data)
    assert width == pytest.approx((np.log10(4), 0.0))  # 95.5 and 94.9 are within 0.7, not 94.0
    assert fall == pytest.approx((5.5, 0.0))
    assert measures.peak_range(data)[0] == pytest.approx((5.5, 0.0))


def test_the_bootstrapped_error_of_a_mean_is_its_standard_error():
    rates, offsets = along("learning_rate", [0.1, 0.2, 0.4]), [-0.02, 0.01, 0.03, 0.0, -0.01, 0.02]
    peak = xr.where(rates == 0.4, 0.8 + seeds(*offsets), 0.9)
    (value, error) = measures.flat_peak({"sweep": sweep(parabola(30, peak=peak))})[1]
    assert value == pytest.approx(100 * (0.1 - np.mean(offsets)))
    assert error == pytest.approx(100 * np.std(offsets) / np.sqrt(6), rel=0.15)


# --- more data, L2, convexity ---------------------------------------------------------------------


def more_data(peaks, gaps):
    size = along("train_size", [1000, 2000, 4000])
    peak, gap = size.copy(data=peaks), size.copy(data=gaps)
    return parabola(32, GRID[:16], peak=peak, width=gap / 9)


@pytest.mark.parametrize(
    ("peaks", "gaps", "signs"),
    [
        ([0.80, 0.85, 0.90], [0.09, 0.05, 0.03], [1, -1]),
        ([0.80, 0.79, 0.90], [0.09, 0.05, 0.06], [-1, 1]),
        ([0.80, 0.80, 0.80], [0.05, 0.05, 0.05], [0, 0]),
    ],
)
def test_more_data_without_spread(peaks, gaps, signs):
    found = numbers(measures.more_data({"sweep": sweep(more_data(peaks, gaps))}))
    assert list(np.sign(found)) == signs
    assert all(abs(value) > 1e6 for value, sign in zip(found, signs, strict=True) if sign)


def test_more_data_in_standard_errors():
    shift = xr.where(along("train_size", [1000, 2000, 4000]) == 2000, 1, 0) * seeds(
        -0.02, 0.0, 0.02, 0.01, -0.01
    )
    accuracy = more_data([0.80, 0.82, 0.85], [0.09, 0.05, 0.03]) + shift
    rise, _ = measures.more_data({"sweep": sweep(accuracy)})
    error = np.std([-0.02, 0, 0.02, 0.01, -0.01]) / np.sqrt(5)
    assert rise == pytest.approx((0.02 / error, 1.0), rel=0.2)
    one = measures.more_data({"sweep": sweep(accuracy).isel(seed=[0])})
    assert all(math.isnan(value) for value in numbers(one))


def test_the_gap_with_the_best_coefficient_over_that_without():
    decay = along("weight_decay", [0.0, 1e-4, 1e-3, 1e-2])
    gap = decay.copy(data=[0.08, 0.06, 0.02, 0.04])
    data = {"sweep": sweep(parabola(32, GRID[:16], width=gap / 9))}
    assert measures.regularized_gap(data)[0] == pytest.approx((0.25, 0.0))


def test_a_coefficient_that_spoils_the_peak_does_not_count():
    decay = along("weight_decay", [0.0, 1e-3, 1e-2])
    gap, peak = decay.copy(data=[0.08, 0.06, 0.001]), decay.copy(data=[0.9, 0.9, 0.894])
    data = {"sweep": sweep(parabola(32, GRID[:16], peak=peak, width=gap / 9))}
    assert measures.regularized_gap(data)[0] == pytest.approx((0.75, 0.0))
    none = {"sweep": data["sweep"].isel(weight_decay=[0, 2])}
    assert math.isnan(measures.regularized_gap(none)[0].value)


def test_without_a_gap_there_is_nothing_to_shrink():
    decay = along("weight_decay", [0.0, 1e-3])
    for rises in (0.0 * decay, decay):  # the largest batch is the best one without L2
        data = {"sweep": sweep(0.001 * np.log2(along("batch_size", GRID)) - rises)}
        ((value, _),) = measures.regularized_gap(data)
        assert not value <= 0.5


def test_the_gap_of_a_convex_model_is_in_points():
    accuracy = parabola(32, GRID[:16]) + xr.where(along("batch_size", GRID[:16]) == 32, 1, 0) * (
        seeds(-0.01, 0.01)
    )
    ((value, error),) = measures.convex_gap({"sweep": sweep(accuracy)})
    assert value == pytest.approx(9.0)
    assert error == pytest.approx(np.std([-1, 1], ddof=1) / np.sqrt(2))
    rising = {"sweep": sweep(0.01 * np.log2(along("batch_size", GRID)))}
    assert measures.convex_gap(rising)[0] == (0.0, 0.0)


# --- along training -------------------------------------------------------------------------------


def training(small, full, name="test_accuracy"):
    """Two curves looked at every 100 updates, ε = 0.1."""
    curves = xr.DataArray(
        [small, full],
        dims=("batch_size", "time"),
        coords={"batch_size": [30, 1000], "time": 10.0 * np.arange(1, len(small) + 1)},
    )
    values = {"accuracy": curves} if name == "test_accuracy" else {"accuracy": 0.5 + 0 * curves}
    return sweep(**values, loss=curves if name == "test_loss" else 1.0)


@pytest.mark.parametrize(
    ("small", "full", "lead", "updates", "at_the_end"),
    [
        ([0.1, 0.4, 0.7, 0.9], [0.3, 0.5, 0.6, 0.8], 20.0, 200.0, 10.0),
        ([0.4, 0.4, 0.7, 0.9], [0.3, 0.5, 0.6, 0.8], 10.0, 200.0, 10.0),
        ([0.4, 0.6, 0.7, 0.9], [0.3, 0.5, 0.6, 0.8], -10.0, 0.0, 10.0),
        ([0.1, 0.6, 0.7, 0.7], [0.3, 0.5, 0.6, 0.8], 20.0, math.inf, -10.0),
    ],
)
def test_when_the_small_batch_leads_for_good(small, full, lead, updates, at_the_end):
    found = numbers(measures.crossing({"curves": training(small, full)}))
    assert found == pytest.approx([lead, updates, at_the_end])


def test_seeds_that_cross_at_other_times_give_an_error_bar():
    d = training([0.1, 0.4, 0.7, 0.9], [0.3, 0.5, 0.6, 0.8])
    early = d.copy(deep=True)
    early.test_accuracy.loc[{"batch_size": 30, "time": 20.0}] = 0.8
    pair = xr.concat([d.isel(seed=0), early.isel(seed=0)], "seed")
    _, (updates, error), _ = measures.crossing({"curves": pair})
    assert updates == 100.0  # of the mean: 0.6 against 0.5 at the second look
    assert 30 < error < 60  # a quarter of the resamples take the first seed twice
    assert math.isnan(measures.crossing({"curves": pair.isel(seed=[0])})[1].uncertainty)


def test_overfitting_is_the_final_over_the_least_cross_entropy():
    d = training([2.0, 0.5, 0.6, 0.8], [2.0, 1.0, 0.4, 0.5], "test_loss")
    assert numbers(measures.overfitting({"curves": d})) == pytest.approx([1.6, 1.25])


def test_divergence_is_not_overfitting():
    d = training([2.0, 0.5, 0.6, 0.8], [2.0, 1.0, math.inf, math.inf], "test_loss")
    small, full = measures.overfitting({"curves": d})
    assert small == pytest.approx((1.6, 0.0))
    assert math.isnan(full.value)
    d = d.copy(deep=True)
    d.test_loss.loc[{"batch_size": 30, "time": 40.0, "seed": 1}] = math.inf
    assert math.isnan(measures.overfitting({"curves": d})[0].value)


# --- the noise scale as the only variable ---------------------------------------------------------


def tent(wanted, sizes=GRID[:18]):
    """Accuracies that are a function of g, linear in log g, over rates or momenta."""
    B = along("batch_size", sizes)
    g = wanted["learning_rate"] * (10_000 / B - 1) / (1 - wanted["momentum"])
    return 0.9 - 0.002 * np.log(g)


RATES = {"learning_rate": along("learning_rate", [0.1, 0.2, 0.4, 0.8]), "momentum": 0.9}
MOMENTA = {"learning_rate": 0.1, "momentum": along("momentum", [0.0, 0.5, 0.9, 0.95])}


def test_curves_that_are_functions_of_the_noise_scale_have_no_spread():
    data = {"rates": sweep(tent(RATES)), "momenta": sweep(tent(MOMENTA))}
    ((spread, error),) = measures.collapse_on_noise_scale(0.8)(data)
    assert spread == pytest.approx(0.0, abs=1e-10)
    assert error == pytest.approx(0.0, abs=1e-10)


def test_the_spread_is_the_standard_deviation_at_equal_noise_scale():
    rates, momenta = ({**RATES, "learning_rate": along("learning_rate", [0.1])}, MOMENTA)
    momenta = {**momenta, "momentum": along("momentum", [0.8])}
    data = {"rates": sweep(tent(rates)), "momenta": sweep(tent(momenta) - 0.01)}
    ((spread, _),) = measures.collapse_on_noise_scale(0.8)(data)
    assert spread == pytest.approx(1 / np.sqrt(2))  # of two values a point apart


def test_curves_that_are_functions_of_the_batch_size_spread():
    data = {
        "rates": sweep(parabola(64, GRID[:18]) + 0 * RATES["learning_rate"]),
        "momenta": sweep(parabola(64, GRID[:18]) + 0 * MOMENTA["momentum"]),
    }
    ((spread, _),) = measures.collapse_on_noise_scale(0.8)(data)
    assert spread > 1.0


def test_rates_above_the_limit_do_not_count_nor_accuracies_far_below_the_top():
    rates = {**RATES, "learning_rate": along("learning_rate", [0.1, 0.2, 1.6])}
    spoiled = xr.where(rates["learning_rate"] > 1, 0.1, tent(rates))
    data = {"rates": sweep(spoiled), "momenta": sweep(tent(MOMENTA))}
    assert numbers(measures.collapse_on_noise_scale(0.8)(data)) == pytest.approx([0.0], abs=1e-10)
    steep = 25 * (tent(MOMENTA) - 0.9) + 1.2
    apart = xr.where(steep < steep.max() - 0.2, steep + 0.05 * seeds(1, 1), steep)
    same = {"rates": sweep(steep.isel(momentum=[2])), "momenta": sweep(apart)}
    assert numbers(measures.collapse_on_noise_scale(0.8)(same)) == pytest.approx([0.0], abs=1e-10)


def test_the_full_batch_has_no_place_on_the_axis_of_noise():
    d = sweep(parabola(16, [4, 16, 64, 256])).assign_coords(train_size=[256])
    ((label, g, accuracy),) = measures.noise_scale_curves(d)
    assert label.startswith("ε = 0.1, m = 0.9")
    np.testing.assert_allclose(g, [63.0, 15.0, 3.0])
    np.testing.assert_allclose(accuracy.isel(seed=0), parabola(16, [4, 16, 64]))


def test_raising_learning_rate_and_batch_size_together():
    rates = along("learning_rate", [0.05, 0.1, 0.2, 1.6])
    peak = rates.copy(data=[0.9, 0.895, 0.88, 0.5])  # the last is more than 16 times the first
    data = {"sweep": sweep(parabola(16 * rates / 0.05, peak=peak))}
    assert measures.joint_scaling(data) == [pytest.approx((2.0, 0.0))]
    small = {"sweep": data["sweep"].assign_coords(train_size=[400])}  # B = 64 is too much of it
    assert measures.joint_scaling(small) == [pytest.approx((0.5, 0.0))]
    smaller = {"sweep": data["sweep"].assign_coords(train_size=[200])}
    assert all(math.isnan(number) for number in measures.joint_scaling(smaller)[0])


# --- the laws of the process ----------------------------------------------------------------------


def test_noise_is_compared_with_theory_where_there_is_any():
    theory_trace = xr.DataArray(
        [[3.0, 1.0], [2.0, 0.0], [2.0, 0.0]],
        dims=("sampler", "batch_size"),
        coords={"sampler": list(theory.SAMPLERS), "batch_size": [8, 24]},
    )
    trace = theory_trace + 0 * seeds(0, 0)
    trace[{"sampler": 0, "batch_size": 1}] = [1.05, 1.15]
    trace[{"sampler": 2, "batch_size": 1}] = [1e-9, 3e-9]
    d = xr.Dataset({"trace": trace, "trace_theory": theory_trace})
    relative, zero = measures.noise_covariance({"noise": d})
    assert relative == pytest.approx((0.1, 0.05))
    assert zero == pytest.approx((2e-9, 1e-9))


def chains(settings, curvatures=(0.05, 0.5), train_size=256):
    """Variances as the matrix equation has them; the noise is that of unit examples."""
    h = np.array(curvatures)
    rows = []
    for rate, B, m in settings:
        C = np.diag(h**2 / B * (1 - (B - 1) / (train_size - 1)))
        exact = theory.heavy_ball_stationary_covariance(np.diag(h), C, rate, m).position
        limit = theory.continuous_stationary_covariance(np.diag(h), C, rate, m)
        rows.append([np.diag(each) for each in (exact, limit, C)])
    exact, limit, C = (
        xr.DataArray(np.array(column), dims=("setting", "curvature"))
        for column in zip(*rows, strict=True)
    )
    rates, batches, momenta = zip(*settings, strict=True)
    return xr.Dataset(
        {"variance": exact + 0 * seeds(0, 0), "exact": exact, "continuous": limit, "noise": C},
        {
            "curvature": h,
            "learning_rate": ("setting", list(rates)),
            "batch_size": ("setting", list(batches)),
            "momentum": ("setting", list(momenta)),
        },
    )


EQUAL_NOISE = [(0.01 * 255 / (256 / B - 1), B, 0.0) for B in (1, 4, 16, 64)]
EQUAL_RATE = [(0.02 * (1 - m), 8, m) for m in (0.0, 0.5, 0.9)]


def test_the_closed_form_solves_the_matrix_equation():
    d = chains([*EQUAL_NOISE, *EQUAL_RATE, (0.5, 8, 0.9), (3.0, 4, 0.5)])
    ((error, uncertainty),) = measures.closed_form({"chains": d})
    assert error < 1e-12
    assert uncertainty == 0.0
    ((error, _),) = measures.closed_form({"chains": d.assign(momentum=0.9 * d.momentum)})
    assert error > 0.1
    ((error, _),) = measures.closed_form({"chains": d.assign(exact=d.continuous)})
    assert error > 0.05


def test_the_simulated_variance_is_compared_where_it_is_worst():
    d = chains(EQUAL_RATE)
    d.variance[{"setting": 1, "curvature": 0}] *= seeds(0.9, 0.7)
    ((value, error),) = measures.simulated_closed_form({"chains": d})
    assert (value, error) == pytest.approx((0.2, 0.1))
    d.variance[{"setting": 2, "curvature": 1, "seed": 1}] = math.inf
    assert math.isnan(measures.simulated_closed_form({"chains": d})[0].value)


def test_equal_noise_scales_are_compared_at_small_rates_only():
    d = chains(EQUAL_NOISE)
    spread, distance = numbers(measures.equal_noise({"chains": d}))
    # At h = 0.05 all settings count, and differ by the share εh/2 of the discrete theory.
    variances = np.array([1 / (2 - rate * 0.05) for rate, _, _ in EQUAL_NOISE])
    assert spread == pytest.approx(np.max(np.abs(variances / variances.mean() - 1)), rel=1e-6)
    assert distance == pytest.approx(0.0, abs=1e-12)
    beyond = d.copy(deep=True)
    beyond.variance[{"setting": 3, "curvature": 1}] *= 1.5  # εh = 0.4
    again, distance = numbers(measures.equal_noise({"chains": beyond}))
    assert again == pytest.approx(spread)
    assert distance == pytest.approx(0.5)


def test_momentum_is_compared_with_the_continuous_theory_at_small_rates_only():
    d = chains([*EQUAL_NOISE, *EQUAL_RATE, (1.0, 8, 0.9)])
    excess, distance = numbers(measures.momentum_factor({"chains": d}))
    share = 0.02 * 0.5 / 2  # the largest εh/2(1 + m) that counts, at m = 0
    assert excess == pytest.approx(1 / (1 - share) - 1)
    assert distance == pytest.approx(0.0, abs=1e-12)


def test_log_odds_are_counted_in_standard_errors():
    T = along("temperature", [0.8, 1.0, 1.25])
    exact = 2.0 * T + 0 * seeds(0, 0, 0)
    d = xr.Dataset({"simulated": exact + seeds(0.1, 0.2, 0.3), "exact": exact})
    d = d.assign(laplace=exact - 0.07)
    odds, laplace = measures.occupation({"occupation": d})
    assert odds == pytest.approx((0.2 / (0.1 / np.sqrt(3)), 1.0))
    assert laplace == pytest.approx((0.07, 0.0))
    assert math.isnan(measures.occupation({"occupation": d.isel(seed=[0])})[0].value)
    agreeing = d.assign(simulated=exact + 0.1)
    assert measures.occupation({"occupation": agreeing})[0].value == math.inf


def test_kurtosis_is_relative_to_that_of_single_examples():
    kurtosis = xr.DataArray(
        [[6.0, 4.0], [-0.3, 0.4]], dims=("batch_size", "seed"), coords={"batch_size": [1, 30]}
    )
    ((value, error),) = measures.normality({"normality": xr.Dataset({"excess_kurtosis": kurtosis})})
    assert value == pytest.approx((0.05 + 0.1) / 2)
    assert error == pytest.approx(np.std([0.05, 0.1], ddof=1) / np.sqrt(2))


def test_the_two_batch_estimates_are_relative_to_the_truth():
    ratio = xr.DataArray(
        [[1.01, 1.03], [0.98, 0.98], [7.0, 8.0]],
        dims=("quantity", "seed"),
        coords={"quantity": ["gradient_square", "noise_trace", "noise_scale"]},
    )
    square, trace = measures.unbiased_estimates({"estimates": xr.Dataset({"ratio": ratio})})
    assert square == pytest.approx((0.02, 0.01))
    assert trace == pytest.approx((0.02, 0.0))


def test_the_early_noise_scale_is_a_ratio_of_averages_over_the_first_epoch():
    epoch = along("epoch", [0.5, 1.0, 2.0])
    trace = epoch.copy(data=[100.0, 300.0, 1e6]) + 0 * seeds(0, 0)
    square = epoch.copy(data=[1.0, 0.0 + 1.0, 1e-6]) * seeds(1.0, 0.5)
    d = xr.Dataset({"noise_trace": trace, "gradient_square": square})
    ((value, error),) = measures.early_noise_scale({"run": d})
    assert (value, error) == pytest.approx((300.0, 100.0))
    square = epoch.copy(data=[1.0, 3.0, 1e-6]) + 0 * seeds(0, 0)
    averages = measures.early_noise_scale({"run": d.assign(gradient_square=square)})
    assert averages[0].value == pytest.approx(400 / 4)
    broken = measures.early_noise_scale({"run": d.assign(noise_trace=trace + math.inf)})
    assert math.isnan(broken[0].value)
