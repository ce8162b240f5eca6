"""The studies of memorizing networks, against naive loops, dense solves and exact fractions."""

import functools
import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import solve_triangular
from sklearn.datasets import load_digits

from sims.memorization import (
    ARITHMETIC,
    STUDIES,
    conditioning,
    construction,
    cost,
    depths,
    memorization,
)
from store import datasets
from theory.memorization import memorize, memorize_deep, memorize_general_position

SMALL = {
    memorization: {"sizes": (5, 40), "n_features": (1, 3)},
    conditioning: {"sizes": (5, 12), "interleavings": (0.0, 0.6), "n_features": 3},
    depths: {"n": 24, "n_features": 3, "depths": (2, 5)},
    construction: {"n": 6, "grid": 9},
    cost: {"sizes": (10, 60), "n_features": 4, "repeats": 1},
}
FITS = (
    "error",
    "evaluated_error",
    "rounded_error",
    "accuracy",
    "n_parameters",
    "n_dense_parameters",
    "expected_parameters",
    "margin",
    "largest_weight",
)
LEMMA = ("smallest_eigenvalue", "smallest_singular_value", "eigenvalue_error", "above_diagonal")
SHAPE = ("error", "width", "n_nonzero")
DIMENSIONS = {
    memorization: dict.fromkeys(FITS, ("n_features", "n")),
    conditioning: dict.fromkeys(LEMMA, ("interleave", "n"))
    | dict.fromkeys(("residual", "largest_weight"), ("interleave", "n", "arithmetic")),
    depths: {prefix + name: ("depth",) for prefix in ("", "gated_") for name in SHAPE}
    | {f"general_{name}": () for name in SHAPE},
    construction: dict.fromkeys(("label", "place", "bias", "weight"), ("n",))
    | {"point": ("n", "axis"), "plane": ("second", "first"), "line": ("position",)}
    | {"direction": ("axis",)},
    cost: {"seconds": ("n", "task"), "memory": ("n",), "error": ("n",)},
}


def study_id(value):
    return getattr(value, "__name__", None)


@functools.cache
def small(study, seed=0):
    return study(**SMALL[study], seed=seed)


# --- every study ----------------------------------------------------------------------------------


def test_all_studies_are_tried():
    assert set(STUDIES) == set(SMALL) == set(DIMENSIONS)
    for study in STUDIES:
        parameters = inspect.signature(study).parameters.values()
        assert all(each.kind is each.KEYWORD_ONLY for each in parameters)
        assert all(each.default is not each.empty for each in parameters)


@pytest.mark.parametrize("study", STUDIES, ids=study_id)
def test_layout_units_and_names(study):
    d = small(study)
    assert {name: value.dims for name, value in d.items()} == DIMENSIONS[study]
    for name, value in d.items():
        assert value.attrs["units"] == {"seconds": "s", "memory": "B"}.get(name, "1")
        assert value.attrs["long_name"]
    assert len({value.attrs["long_name"] for value in d.values()}) >= len(d) - 1


def test_coordinates_are_the_parameters():
    d = small(memorization)
    assert (d.n_features.values.tolist(), d.n.values.tolist()) == ([1, 3], [5, 40])
    d = small(conditioning)
    assert (d.interleave.values.tolist(), d.n.values.tolist()) == ([0.0, 0.6], [5, 12])
    assert tuple(d.arithmetic.values) == ARITHMETIC
    d = small(depths)
    assert (d.depth.values.tolist(), d.attrs) == ([2, 5], {"n": 24, "n_features": 3})
    d = small(cost)
    assert d.n.values.tolist() == [10, 60]
    assert d.task.values.tolist() == ["memorize", "evaluate", "product", "triangular", "dense"]


@pytest.mark.parametrize("study", STUDIES, ids=study_id)
def test_the_same_seed_gives_the_same_bits_and_another_seed_other_data(study):
    timed = ["seconds", "memory"] if study is cost else []  # what the machine decides
    once = small(study).drop_vars(timed)
    again = study(**SMALL[study], seed=0).drop_vars(timed)
    xr.testing.assert_identical(once, again)
    other = small(study, seed=1).drop_vars(timed)
    assert not once.equals(other)
    if study is not construction:  # its coordinates are drawn
        assert all(once[name].equals(other[name]) for name in once.coords)


@pytest.mark.parametrize(
    ("study", "changed", "message"),
    [
        (memorization, {"sizes": ()}, "sizes is empty"),
        (memorization, {"sizes": (5, 0)}, "sizes must be an integer of at least 1, got 0"),
        (memorization, {"sizes": (2.5,)}, r"sizes must be an integer of at least 1, got 2\.5"),
        (memorization, {"n_features": ()}, "n_features is empty"),
        (memorization, {"n_features": (0,)}, "n_features must be an integer of at least 1, got 0"),
        (memorization, {"classes": 1}, "classes must be an integer of at least 2, got 1"),
        (memorization, {"projections": 0}, "projections must be an integer of at least 1, got 0"),
        (memorization, {"dataset": "mnist"}, "directory must be given: 'mnist' is not an embedded"),
        (memorization, {"dataset": "digits", "sizes": (1798,)}, "'digits' has 1797 images, too f"),
        (conditioning, {"sizes": ()}, "sizes is empty"),
        (conditioning, {"sizes": (1,)}, "sizes must be an integer of at least 2, got 1"),
        (conditioning, {"n_features": 0}, "n_features must be an integer of at least 1, got 0"),
        (conditioning, {"interleavings": (1.0,)}, r"interleavings must be in \[0, 1\), got 1"),
        (conditioning, {"interleavings": (-0.1,)}, r"interleavings must be in \[0, 1\), got -0.1"),
        (conditioning, {"interleavings": (math.nan,)}, "interleavings has NaN"),
        (depths, {"n": 0}, "n must be an integer of at least 1, got 0"),
        (depths, {"n_features": 0}, "n_features must be an integer of at least 1, got 0"),
        (depths, {"depths": ()}, "depths is empty"),
        (depths, {"depths": (2, 1)}, "depths must be an integer of at least 2, got 1"),
        (depths, {"depths": (25,)}, "depth is 25; with 24 distinct points it must be ≤ 24"),
        (construction, {"n": 1}, "n must be an integer of at least 2, got 1"),
        (construction, {"grid": 1}, "grid must be an integer of at least 2, got 1"),
        (cost, {"sizes": ()}, "sizes is empty"),
        (cost, {"sizes": (0,)}, "sizes must be an integer of at least 1, got 0"),
        (cost, {"n_features": 0}, "n_features must be an integer of at least 1, got 0"),
        (cost, {"repeats": 0}, "repeats must be an integer of at least 1, got 0"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_parameters_out_of_range_are_refused(study, changed, message):
    with pytest.raises(ValueError, match=message):
        study(**{**SMALL[study], **changed})


# --- the fit --------------------------------------------------------------------------------------


def gaussian(seed, d, n, classes=2):
    """What the study draws: points, labels as outputs, and the network it makes of them."""
    rng = np.random.default_rng([seed, d, n])
    X = rng.normal(size=(n, d))
    labels = rng.integers(classes, size=n)
    y = 2.0 * labels - 1.0 if classes == 2 else np.eye(classes)[labels]
    return X, y, memorize(X, y, rng=rng)


def exact_errors(network, weights, X, y):
    """|c(x) - y| of one output with float64 parameters, without any rounding."""
    a, b, w = (
        list(map(Fraction, v.tolist())) for v in (network.projection, network.biases, weights)
    )
    errors = []
    for x, label in zip(X.tolist(), y.tolist(), strict=True):
        place = sum(Fraction(xi) * ai for xi, ai in zip(x, a, strict=True))
        value = sum(wj * (place - bj) for wj, bj in zip(w, b, strict=True) if bj < place)
        errors.append(abs(value - Fraction(label)))
    return float(max(errors))


def test_errors_are_those_of_exact_arithmetic():
    n, d, seed = 150, 3, 1000
    found = memorization(sizes=(n,), n_features=(d,), seed=seed).squeeze()
    X, y, network = gaussian(seed, d, n)
    exact = exact_errors(network, network.weights, X, y)
    assert float(found.error) == pytest.approx(exact, rel=1e-6)
    assert float(found.evaluated_error) == pytest.approx(exact, abs=1e-15)

    place = X @ network.projection  # second differences, one label after the other
    weights, slope, last, height = [], 0.0, float(network.biases[0]), 0.0
    for i in np.argsort(place):
        rise = (y[i] - height) / (place[i] - last)
        weights.append(rise - slope)
        slope, last, height = rise, place[i], y[i]
    without = exact_errors(network, np.array(weights), X, y)
    assert float(found.rounded_error) == pytest.approx(without, rel=1e-2)
    assert float(found.largest_weight) == pytest.approx(max(map(abs, weights)), rel=1e-9)
    assert float(found.margin) == pytest.approx(np.min(np.diff(np.sort(place))), rel=1e-9)
    assert without > 10 * exact  # so that the two could not be exchanged


def assert_much_larger(large, small):
    """A factor of 30: what errors of 1000 roundings, added up at random, have over a single one."""
    assert np.all(large > 30 * small)


def test_without_feedback_errors_add_up():
    for seed in range(1000, 1004):
        found = memorization(sizes=(1000, 5000), n_features=(2, 10), seed=seed)
        exact = np.maximum(found.error, found.evaluated_error)
        assert np.all(exact < 1e-9)
        assert_much_larger(found.rounded_error.values, exact.values)
        with pytest.raises(AssertionError):  # nor does the test pass for errors of one kind
            assert_much_larger(found.evaluated_error.values, found.error.values)


@pytest.mark.parametrize(("classes", "outputs"), [(2, 1), (3, 3), (7, 7)])
def test_parameters_are_n_times_outputs_and_one_more_and_d(classes, outputs):
    found = memorization(sizes=(1, 2, 30), n_features=(1, 4), classes=classes, seed=1000)
    d, n = found.n_features, found.n
    for name in ("n_parameters", "expected_parameters"):
        np.testing.assert_array_equal(found[name], (n * (outputs + 1) + d).T)
    np.testing.assert_array_equal(found.n_dense_parameters, (n * d + n + n * outputs).T)
    assert np.all(found.accuracy == 1.0)
    assert np.all(found.evaluated_error < 1e-9)


def test_all_digits_with_random_classes():
    found = memorization(dataset="digits", sizes=(1797,), classes=10, seed=1000)
    assert found.n_features.values.tolist() == [64]
    found = found.squeeze()
    assert int(found.n_parameters) == int(found.expected_parameters) == 19_831
    assert int(found.n_dense_parameters) == 1797 * 64 + 1797 * 11
    assert float(found.accuracy) == 1.0
    assert float(found.evaluated_error) < 1e-6


def test_images_are_drawn_without_repetition():
    """Some 600 of 1000 would repeat otherwise, and with random labels that cannot be fitted."""
    images = load_digits().data
    assert len(np.unique(images, axis=0)) == 1797
    found = memorization(dataset="digits", sizes=(1000, 1797), seed=1000)
    np.testing.assert_array_equal(found.n_parameters, [[2 * 1000 + 64, 2 * 1797 + 64]])
    assert np.all(found.accuracy == 1.0)


def test_more_projections_leave_a_wider_gap():
    for seed in range(1000, 1005):
        one, many = (
            memorization(sizes=(50,), n_features=(5,), projections=count, seed=seed).squeeze()
            for count in (1, 100)
        )
        assert float(many.margin) > float(one.margin)
        assert int(many.n_parameters) == int(one.n_parameters)


def test_equal_images_with_different_labels_are_refused(tmp_path):
    def idx(array):
        header = bytes([0, 0, 0x08, array.ndim]) + np.array(array.shape, ">u4").tobytes()
        return header + array.astype(np.uint8).tobytes()

    for part in ("train", "t10k"):
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(idx(np.ones((20, 2, 2))))
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(20) % 2))
    with pytest.raises(ValueError, match="equal"):
        memorization(
            dataset=datasets.identify(tmp_path), data_dir=str(tmp_path), sizes=(40,), seed=1000
        )


# --- conditioning ---------------------------------------------------------------------------------

SIZES, PLACES = (20, 50, 100), (0.0, 0.1, 0.5, 0.6, 0.75)


@functools.cache
def conditioned(seed=1000):
    return conditioning(sizes=SIZES, interleavings=PLACES, seed=seed)


def system(rho, n, seed=1000, most=100):
    """Points and biases on the line, and labels, as the study draws them."""
    rng = np.random.default_rng([seed, 0])
    X, y = rng.normal(size=(most, 10)), rng.choice([-1.0, 1.0], size=most)
    direction = np.random.default_rng([seed, 1]).normal(size=10)
    place = X[:n] @ (direction / np.linalg.norm(direction))
    order = np.argsort(place)
    x = place[order]
    b = [x[0] - np.mean(np.diff(x))]
    b += [x[j - 1] + rho * (x[j] - x[j - 1]) for j in range(1, n)]
    return x, np.array(b), y[:n][order]


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rho", PLACES)
def test_float64_is_forward_substitution(rho, n):
    x, b, y = system(rho, n)
    matrix = np.maximum(x[:, None] - b, 0.0)
    weights = solve_triangular(matrix, y, lower=True)
    found = conditioned().sel(interleave=rho, n=n, arithmetic="float64")
    assert float(found.largest_weight) == pytest.approx(np.max(np.abs(weights)), rel=1e-6)

    # Rounding errors of two algorithms agree in their size only.
    def assert_same_size(residual):
        assert abs(math.log10(float(found.residual) / residual)) < 4

    assert_same_size(np.max(np.abs(matrix @ weights - y)))
    elsewhere = conditioned().residual.sel(interleave=0.75 - rho, n=50, method="nearest")
    if rho in (0.0, 0.75) and n == 50:
        with pytest.raises(AssertionError):
            assert_same_size(float(elsewhere.sel(arithmetic="float64")))


@pytest.mark.parametrize("n", [20, 50])
@pytest.mark.parametrize("rho", [0.0, 0.75])
def test_rational_arithmetic_is_exact(rho, n):
    x, b, y = (list(map(Fraction, values.tolist())) for values in system(rho, n))
    weights = []
    for i in range(n):  # the dense matrix, row after row
        before = sum((weights[j] * max(x[i] - b[j], 0) for j in range(i)), Fraction(0))
        weights.append((y[i] - before) / (x[i] - b[i]))
    found = conditioned().sel(interleave=rho, n=n, arithmetic="rational")
    assert float(found.residual) == 0.0
    assert float(found.largest_weight) == pytest.approx(float(max(map(abs, weights))), rel=1e-12)


def test_any_interleaving_fits_in_exact_arithmetic_but_not_in_floats():
    d = conditioned().sel(n=50)
    plain = d.residual.sel(arithmetic="float64")
    assert np.all(d.residual.sel(arithmetic="rational") == 0.0)
    assert float(plain.sel(interleave=0.75)) > 1.0
    assert np.all(plain.sel(interleave=[0.0, 0.1, 0.5]) < 1e-8)
    assert float(d.residual.sel(interleave=0.0, arithmetic="feedback")) < 1e-12
    assert np.all(d.residual.sel(arithmetic="float32") > 100 * plain)
    largest = float(d.largest_weight.sel(interleave=0.75, arithmetic="rational"))
    assert 1e23 < largest < 1e27  # 3⁵⁰ is 7e23, and the labels over the gaps come on top


def test_rational_and_dense_results_end_where_they_should():
    d = conditioning(
        sizes=(5, 8, 12), interleavings=(0.2,), n_features=2, rational_up_to=5, dense_up_to=8
    ).squeeze()
    known = np.isfinite(d.residual.sel(arithmetic="rational"))
    assert known.values.tolist() == [True, False, False]
    others = d.residual.sel(arithmetic=["float32", "float64", "feedback"])
    assert np.all(np.isfinite(others))
    for name in ("eigenvalue_error", "above_diagonal"):
        assert np.isfinite(d[name]).values.tolist() == [True, True, False]
    assert np.all(d.smallest_singular_value > 0)


def test_what_is_beyond_the_numbers_is_infinite():
    d = conditioning(sizes=(20, 1500), interleavings=(0.75,), seed=1000).squeeze()
    assert np.all(np.isfinite(d.residual.sel(n=20)))
    beyond = ["float32", "float64", "feedback"]
    assert np.all(np.isposinf(d.residual.sel(n=1500, arithmetic=beyond)))
    assert np.all(np.isposinf(d.largest_weight.sel(n=1500, arithmetic=beyond)))


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("rho", PLACES)
def test_lemma_1(rho, n):
    x, b, _ = system(rho, n)
    matrix = np.array([[max(xi - bj, 0.0) for bj in b] for xi in x])
    found = conditioned().sel(interleave=rho, n=n)
    eigenvalues = np.linalg.eigvals(matrix).real
    assert float(found.smallest_eigenvalue) == pytest.approx(eigenvalues.min(), rel=1e-12)
    assert float(found.eigenvalue_error) <= 1e-12
    assert float(found.above_diagonal) == 0.0
    least = np.linalg.svd(matrix, compute_uv=False)[-1]
    if least > 1e-9:  # NumPy's is off by some 1e-15
        assert float(found.smallest_singular_value) == pytest.approx(least, rel=1e-4)
    assert float(found.smallest_singular_value) <= float(found.smallest_eigenvalue)


@pytest.mark.parametrize("seed", range(1000, 1004))
def test_the_least_singular_value_is_found_wherever_the_narrowest_gap_is(seed):
    n = 400
    x, b, _ = system(0.0, n, seed, most=n)
    found = conditioning(sizes=(n,), interleavings=(0.0,), seed=seed, dense_up_to=0).squeeze()
    least = np.linalg.svd(np.maximum(x[:, None] - b, 0.0), compute_uv=False)[-1]
    assert float(found.smallest_singular_value) == pytest.approx(least, rel=1e-6)
    assert float(found.smallest_singular_value) <= float(found.smallest_eigenvalue)


def test_beyond_the_middle_the_least_singular_value_is_far_below_the_eigenvalue():
    ratio = conditioned().smallest_singular_value / conditioned().smallest_eigenvalue
    assert np.all((ratio.sel(interleave=0.0) > 0.4) & (ratio.sel(interleave=0.0) <= 1.0))
    assert np.all(ratio.sel(interleave=[0.6, 0.75], n=[50, 100]) < 1e-6)


# --- other shapes ---------------------------------------------------------------------------------


def test_depths_against_the_networks_run_naively():
    n, d, seed = 90, 7, 1000
    found = depths(n=n, n_features=d, depths=(2, 3, 10), seed=seed)
    rng = np.random.default_rng([seed, 0])
    X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], size=n)
    for prefix, kind in (("", "split"), ("gated_", "gated")):
        for depth in (2, 3, 10):
            network = memorize_deep(
                X, y, depth=depth, construction=kind, rng=np.random.default_rng([seed, 1])
            )
            values, nonzero, widths = [X @ network.projection], d, []
            for matrix, bias in network.layers:
                dense = matrix.toarray()
                pre = (dense[:, :, None] * np.array(values)).sum(1) + bias[:, None]
                values = [np.where(row > 0, row, 0.0) for row in pre]
                nonzero += int((dense != 0).sum() + (bias != 0).sum())
                widths.append(len(bias))
            nonzero += int((network.readout != 0).sum())
            error = np.max(np.abs(network.readout @ np.array(values) - y))
            here = found.sel(depth=depth)
            assert len(widths) == depth
            assert int(here[f"{prefix}width"]) == max(widths)
            assert int(here[f"{prefix}n_nonzero"]) == nonzero
            assert float(here[f"{prefix}error"]) < 1e-8
            assert error < 1e-8
    general = memorize_general_position(X, y)
    assert float(found.general_error) == pytest.approx(general.error, rel=1e-9)
    assert np.max(np.abs(general(X) - y)) < 1e-6
    assert float(found.general_error) < 1e-6
    assert int(found.general_width) == 4 * math.ceil(n / d)


def test_widths_are_hinges_and_what_is_carried():
    n = 100
    found = depths(n=n, n_features=3, depths=(2, 4, 7, 50), seed=1000)
    # Beside its hinges a layer has the position, and after the first one the sum's two parts.
    assert found.width.values.tolist() == [50 + 3, 25 + 3, 15 + 3, 2 + 3]
    # Hinges, trapezoid and position; from the second interval on, two gates of the one before;
    # from the third, the sum's two parts. The intervals are 100; 34, 33, 33; 17, 17, …; 3, 3, 2, ….
    assert found.gated_width.values.tolist() == [100 + 5, 33 + 9, 17 + 9, 2 + 9]
    assert np.all(found.n_nonzero <= 8 * n + 3 + 10 * found.depth)
    assert np.all(found.gated_n_nonzero <= 8 * n + 3 + 30 * found.depth)  # gates cost more
    assert int(found.general_width) == 4 * 34


def hinges(d, place):
    """The network's value, one hinge after the other."""
    value = np.zeros_like(place)
    for bias, weight in zip(d.bias.values, d.weight.values, strict=True):
        value = value + weight * np.where(place > bias, place - bias, 0.0)
    return value


@pytest.mark.parametrize("seed", [1000, 1001])
def test_the_construction_for_the_eye(seed):
    d = construction(n=8, grid=31, seed=seed)
    on_line = d.line.sel(position=d.place)
    np.testing.assert_allclose(on_line, d.label, atol=1e-12)
    assert d.attrs["error"] < 1e-12
    tolerance = 1e-11 * float(abs(d.weight).max())
    np.testing.assert_allclose(d.line, hinges(d, d.position.values), atol=tolerance)
    direction = np.linalg.lstsq(d.point.values, d.place.values, rcond=None)[0]
    assert np.linalg.norm(direction) == pytest.approx(1.0)
    first, second = np.meshgrid(d["first"], d["second"])
    plane = hinges(d, direction[0] * first + direction[1] * second)
    np.testing.assert_allclose(d.plane, plane, atol=tolerance)
    assert np.max(np.abs(d.plane.values.T - plane)) > 0.1  # the axes could not be exchanged
    assert set(np.unique(d.label)) <= {-1.0, 1.0}
    ordered = np.sort(d.place)
    np.testing.assert_allclose(d.bias[1:], ordered[:-1], rtol=0, atol=1e-15)
    assert float(d.bias[0]) < ordered[0]
    assert np.all(np.diff(d.position) > 0)
    assert float(d.position[0]) < float(d.bias[0])
    assert float(d.position[-1]) > ordered[-1]
    edge = 1.1 * np.max(np.abs(d.point.values))
    for axis in ("first", "second"):
        np.testing.assert_allclose(d[axis], np.linspace(-edge, edge, 31), atol=1e-15)


# --- cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("triangular", "dense"), [(200, 100), (100, 200), (0, 0), (300, 300)])
def test_times_are_known_where_they_are_taken(triangular, dense):
    sizes = (50, 150, 250)
    d = cost(
        sizes=sizes, n_features=3, triangular_up_to=triangular, dense_up_to=dense, repeats=1, seed=3
    )
    taken = np.isfinite(d.seconds)
    assert np.all(d.seconds.values[taken.values] > 0)
    for task in ("memorize", "evaluate", "product"):
        assert np.all(taken.sel(task=task))
    for task, largest in (("triangular", triangular), ("dense", dense)):
        expected = [n <= largest for n in sizes]
        assert taken.sel(task=task).values.tolist() == expected


def test_memory_is_that_of_a_few_vectors():
    """Biases and weights are two, the rest is for the way there: nothing of n² or nd."""
    sizes, d = (1000, 20_000), 100
    found = cost(sizes=sizes, n_features=d, triangular_up_to=0, dense_up_to=0, repeats=1)
    per_point = found.memory.values / np.array(sizes)
    assert np.all(per_point >= 8 * 2)
    assert np.all(per_point <= 8 * 50)
    assert found.memory.values[1] < 8 * sizes[1] * d / 2
    assert np.all(found.error < 1e-9)


def test_the_shortest_time_counts(monkeypatch):
    """A clock that tells of ever longer runs: the first of each task is the shortest."""
    reading = iter(np.cumsum(np.arange(1000.0)))
    monkeypatch.setattr("sims.memorization.time.perf_counter", lambda: next(reading))
    d = cost(sizes=(5,), n_features=2, repeats=3)
    np.testing.assert_array_equal(d.seconds, [[1.0, 7.0, 13.0, 19.0, 25.0]])


def test_the_error_is_that_of_the_network_that_is_timed():
    n, d, seed = 60, 4, 1000
    rng = np.random.default_rng([seed, n])
    X, y = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], size=n)
    network = memorize(X, y, rng=seed)
    found = float(cost(sizes=(n,), n_features=d, repeats=1, seed=seed).error.squeeze())
    assert found == network.error
    assert found == pytest.approx(exact_errors(network, network.weights, X, y), rel=1e-6)
