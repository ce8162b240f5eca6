"""The figures on Zhang et al.'s networks draw what their data say; wording is left to them."""

import json
import zlib

import matplotlib as mpl
import numpy as np
import pytest
import xarray as xr

from paper_figures import _zhang_2017_networks as networks
from paper_figures import _zhang_2017_networks_plots as plots
from paper_figures import style

FIGURES = {figure.name.removeprefix("zhang_2017_"): figure for figure in networks.FIGURES}
CLAIMS = {claim.id.removeprefix("zhang_2017:"): claim for claim in networks.CLAIMS}
CIFAR = "CIFAR-10, JPEG copy"

CURVES = (
    "online_loss",
    "online_accuracy",
    "training_accuracy",
    "wrong_labels_fitted",
    "test_accuracy",
    "corrupted_test_accuracy",
)


def randomization(need):
    """Curves drawn at random, each need's its own, known where the study knows them."""
    p = need.parameters
    names = [each if isinstance(each, str) else f"labels {each:g}" for each in p["corruptions"]]
    epoch = np.arange(1, p["epochs"] + 1)
    measured = (epoch % p.get("evaluate_every", 1) == 0) | (epoch == p["epochs"])
    rng = np.random.default_rng(zlib.crc32(json.dumps(p).encode()))
    shape = (need.seeds, len(names), len(epoch))
    curves = {name: rng.uniform(0.2, 0.9, shape) for name in CURVES}
    for name in CURVES[2:]:
        curves[name][..., ~measured] = np.nan
    is_replaced = np.array(["labels" in name and name != "true labels" for name in names])
    curves["wrong_labels_fitted"][:, ~is_replaced] = np.nan
    return xr.Dataset(
        {
            **{name: (("seed", "corruption", "epoch"), values) for name, values in curves.items()},
            "epochs_to_fit": (("seed", "corruption"), rng.uniform(1, 9, shape[:2]).round()),
        },
        {"seed": range(need.seeds), "corruption": names, "epoch": epoch},
        {"parameters": json.dumps(dict(p)), "dataset": need.dataset},
    )


def results(name, wanted=lambda need: True):
    return {key: randomization(need) for key, need in FIGURES[name].needs.items() if wanted(need)}


def draw(name, found, *, rendered=False):
    copies = {key: dataset.copy(deep=True) for key, dataset in found.items()}
    with style.applied():
        drawing = FIGURES[name].plot(found)
        if rendered:
            drawing.draw_without_rendering()
    for key, dataset in found.items():
        xr.testing.assert_identical(dataset, copies[key])
    for axes in drawing.axes:
        assert axes.has_data()
        assert axes.get_title()
        assert axes.get_xlabel()
        assert all(np.isfinite(line).all() for line in lines(axes))
    return drawing


def lines(axes):
    return [np.asarray(line.get_xydata(), dtype=float) for line in axes.lines]


def points(x, y):
    return np.column_stack(np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float)))


def line_through(axes, x, y):
    """The line of the axes that goes through these points and no others."""
    wanted = points(x, y)
    return next(
        (
            line
            for line, found in zip(axes.lines, lines(axes), strict=True)
            if found.shape == wanted.shape and np.allclose(found, wanted, atol=1e-12)
        ),
        None,
    )


def mean_and_error(values):
    """Return the mean over seeds and two standard errors."""
    n = values.sizes["seed"]
    return values.mean("seed"), 2 * values.std("seed", ddof=1) / np.sqrt(n)


def assert_curve(axes, values):
    """A line shows the mean over seeds where it was measured, and a band two standard errors."""
    values = values.dropna("epoch")
    mean, error = mean_and_error(values)
    assert line_through(axes, values.epoch, mean)
    edges = np.concatenate([points(values.epoch, mean + side * error) for side in (-1, 1)])
    outlines = [path.vertices for each in axes.collections for path in each.get_paths()]
    assert any({*map(tuple, edges)} <= {*map(tuple, outline)} for outline in outlines)


def bars(axes):
    """The marks with bars: their label, points and half lengths."""
    found = []
    for container in axes.containers:
        assert isinstance(container, mpl.container.ErrorbarContainer)
        marks, _, (each,) = container
        ends = np.array(each.get_segments())
        lengths = np.hypot(*(ends[:, 1] - ends[:, 0]).T) if len(ends) else np.empty(0)
        found.append((container.get_label(), np.asarray(marks.get_xydata()), lengths / 2))
    return found


def assert_bars(axes, x, values, *, sideways=False):
    mean, error = mean_and_error(values)
    wanted = points(mean, x) if sideways else points(x, mean)
    assert any(
        found.shape == wanted.shape
        and np.allclose(found, wanted)
        and np.allclose(lengths, error, atol=1e-12)
        for _, found, lengths in bars(axes)
    )


def legend_labels(drawing):
    legends = [*drawing.legends, *filter(None, (axes.get_legend() for axes in drawing.axes))]
    return [text.get_text() for legend in legends for text in legend.get_texts()]


def drawn_labels(drawing):
    return {label for axes in drawing.axes for label in axes.get_legend_handles_labels()[1]}


# --- all of them ----------------------------------------------------------------------------------

AVAILABLE = {
    "everything": lambda need: True,
    "without a GPU": lambda need: not need.gpu,
    "digits": lambda need: not need.is_external,
    "CIFAR-10": lambda need: need.is_external,
}
PANELS = {
    "fitting_noise": (4, 3, 2, 2),
    "corrupted_labels": (6, 6, 3, 3),
    "batch_norm": (4, 2, 2, 2),
    "table_1": (2, 2, 2, 2),
    "table_4": (2, 2, 2, 1),
    "patterns_first": (5, 5, 4, 1),
}


@pytest.mark.parametrize("which", AVAILABLE)
@pytest.mark.parametrize("name", FIGURES)
def test_what_is_missing_leaves_no_panel_and_no_label(name, which):
    found = results(name, AVAILABLE[which])
    drawing = draw(name, found, rendered=which == "everything")
    assert len(drawing.axes) == PANELS[name][list(AVAILABLE).index(which)]
    labels = legend_labels(drawing)
    assert len(set(labels)) == len(labels)
    assert set(labels) == drawn_labels(drawing)
    shown = " ".join([*labels, *(axes.get_title() for axes in drawing.axes)])
    for dataset, title in (("digits", "digits"), ("cifar10-jpeg", CIFAR)):
        assert (title in shown) == any(d.attrs["dataset"] == dataset for d in found.values())


@pytest.mark.parametrize("name", FIGURES)
def test_each_result_can_be_drawn_alone(name):
    for key, need in FIGURES[name].needs.items():
        drawing = draw(name, {key: randomization(need).isel(seed=[0])})
        assert "1 seed:" in drawing.get_suptitle()


@pytest.mark.parametrize("name", FIGURES)
def test_a_quick_run_in_which_nothing_is_fitted_is_drawn(name):
    found = {key: randomization(need.sped_up()) for key, need in FIGURES[name].needs.items()}
    for d in found.values():
        d["epochs_to_fit"] = d.epochs_to_fit * np.nan
    draw(name, found, rendered=True)


def test_the_title_tells_how_many_seeds():
    found = results("fitting_noise")
    assert "(3 to 5 seeds: mean and 2 s.e.)" in draw("fitting_noise", found).get_suptitle()
    few = {key: d.isel(seed=slice(2)) for key, d in found.items()}
    assert "(2 seeds: mean and 2 s.e.)" in draw("fitting_noise", few).get_suptitle()


@pytest.mark.parametrize("name", ["fitting_noise", "corrupted_labels"])
def test_other_files_are_named_and_not_compared_with_the_paper(name):
    found = results(name, lambda need: need.is_external)
    assert any("paper" in label for label in legend_labels(draw(name, found)))
    other = {key: d.assign_attrs(dataset="cifar10-0123abcd") for key, d in found.items()}
    drawing = draw(name, other)
    assert not any("paper" in label for label in legend_labels(drawing))
    assert any("cifar10-0123abcd" in axes.get_title() for axes in drawing.axes)


# --- what the paper prints ------------------------------------------------------------------------


def test_targets_are_those_of_the_claims():
    harder, *_ = CLAIMS["C37"].checks[0].criteria
    assert f"loss of {plots.TARGET_LOSS}" in harder.quantity


def test_the_printed_tables_are_what_the_claims_are_judged_by():
    table = {(network, what): printed for network, what, *printed in plots.TABLE_1}
    assert len(table) == len(plots.TABLE_1) == 19
    assert table["inception", "crop, weight decay"] == [100.0, 89.05]
    assert table["alexnet", "crop"] == [99.82, 79.66]
    assert table["mlp_1x512", "random labels"] == [99.34, 10.61]
    without = [85.75, 82.0, 76.07, 52.39, 50.51]
    assert [table[network, "none"] for network in networks.NAMES] == [[100.0, x] for x in without]
    for (network, what), (training, test) in table.items():
        regularizers = {"none", "random labels", "crop", "weight decay", "crop, weight decay"}
        assert what in regularizers
        assert network in networks.NAMES
        assert 99 < training <= 100
        assert (9.5 < test < 11) == (what == "random labels")
    assert sum(test for _, test in table.values()) == pytest.approx(1086.94)
    assert [row[2] for row in plots.TABLE_4] == [100.0, None, 100.0, 99.21, 99.93, 99.28]


def test_what_is_read_off_the_figures_is_what_the_claims_are_judged_by():
    assert networks._PRINTED_ERRORS == {0.0: 49.5, 0.4: 75.7, 1.0: 89.8}
    for curves in (plots.PRINTED_TIMES, plots.PRINTED_ERRORS):
        assert curves.keys() == {"inception", "alexnet", "mlp_1x512"}
        for values in curves.values():
            assert len(values) == 11
            assert np.all(np.diff(values) >= -0.05)  # one of them falls, by what is read off
    thousand_updates = (3.13, 5.08, 7.82, 8.21, 13.69)
    epochs = [round(1000 * updates * 128 / 50_000) for updates in thousand_updates]
    assert list(plots.PRINTED_EPOCHS.values()) == epochs
    for network, told in (("inception", "3.6"), ("mlp_1x512", "2.0"), ("alexnet", "1.55")):
        assert max(plots.PRINTED_TIMES[network]) == float(told)
        assert told in CLAIMS["C12"].statement


# --- training -------------------------------------------------------------------------------------


def panel(drawing, title):
    (found,) = [axes for axes in drawing.axes if axes.get_title() == title]
    return found


def test_fitting_noise_shows_losses_the_targets_and_the_papers_epochs():
    found = results("fitting_noise")
    drawing = draw("fitting_noise", found)
    for key, d in found.items():
        network, dataset = key.removeprefix("cifar "), CIFAR if "cifar" in key else "digits"
        axes = panel(drawing, f"{networks.NAMES[network]}\n{dataset}")
        kinds = [name for name in d.corruption.values if not name.startswith("labels ")]
        for kind in kinds:
            assert_curve(axes, d.online_loss.sel(corruption=kind))
            assert kind in axes.get_legend_handles_labels()[1]
        assert axes.get_xlabel() == f"epochs of {391 if 'cifar' in key else 12} updates"
        assert axes.get_xscale() == "log"
        assert line_through(axes, [0, 1], np.log(10))
        assert line_through(axes, [0, 1], 0.1)
        for kind, epoch in plots.PRINTED_EPOCHS.items():
            mark = line_through(axes, epoch, 0.1)
            assert (mark is not None) == (key == "cifar inception")
            if mark:
                curve = line_through(axes, d.epoch, d.online_loss.sel(corruption=kind).mean("seed"))
                assert mark.get_color() == curve.get_color()
        assert len(axes.lines) == len(kinds) + 2 + 5 * (key == "cifar inception")


def test_batch_norm_shows_accuracies_and_the_best_so_far():
    found = results("batch_norm")
    drawing = draw("batch_norm", found)
    colors = {}
    for key, d in found.items():
        dataset = CIFAR if "cifar" in key else "digits"
        true, random = (panel(drawing, f"{dataset}: {kind} labels") for kind in ("true", "random"))
        shares = 100 * d
        for name in ("training_accuracy", "test_accuracy"):
            assert_curve(true, shares[name].sel(corruption="true labels"))
        assert_curve(random, shares.training_accuracy.sel(corruption="random labels"))
        test = shares.test_accuracy.sel(corruption="true labels").dropna("epoch")
        best = [
            np.mean([max(one[: step + 1]) for one in test.values])
            for step in range(test.epoch.size)
        ]
        line = line_through(true, test.epoch, best)
        colors.setdefault(line.get_color(), set()).add(key.removeprefix("cifar "))
        assert line.get_color() == line_through(true, test.epoch, test.mean("seed")).get_color()
    assert sorted(colors.values(), key=len) == [{"inception"}, {"inception_without_batch_norm"}]


@pytest.mark.parametrize("error", [0.0, 0.025, 0.9])
def test_what_batch_norm_is_compared_by_is_in_view(error):
    found = results("batch_norm", lambda need: not need.is_external)
    for d in found.values():
        d.test_accuracy[..., -1] = 1 - error
    true, _ = draw("batch_norm", found).axes
    low, high = true.get_ylim()
    assert low < 100 * (1 - error) < high
    assert 100 < high < 100 + (high - low) / 5
    assert high - low < 3 * max(1.0, 100 * error)


def test_patterns_first_shows_truth_noise_and_the_peak():
    found = results("patterns_first")
    drawing = draw("patterns_first", found)
    for key, d in found.items():
        network, dataset = key.removeprefix("cifar "), CIFAR if "cifar" in key else "digits"
        axes = panel(drawing, f"{networks.NAMES[network]}\n{dataset}")
        one = 100 * d.sel(corruption="labels 0.4").dropna("epoch")
        assert_curve(axes, one.test_accuracy)
        assert_curve(axes, one.wrong_labels_fitted)
        height, epoch = max(
            zip(one.test_accuracy.mean("seed").values, one.epoch.values, strict=True)
        )
        assert line_through(axes, epoch, height).get_marker() == "*"
        assert len(axes.lines) == 4


# --- shares of labels replaced --------------------------------------------------------------------


def by_share(d, variable):
    """The values at each share of labels replaced, in its order."""
    shares = {"true labels": 0.0, "random labels": 1.0}
    shares |= {f"labels {p:g}": p for p in (0.2, 0.4, 0.6, 0.8)}
    present = {p: name for name, p in shares.items() if name in d.corruption.values}
    values = d[variable].isel(epoch=-1) if "epoch" in d[variable].dims else d[variable]
    return values.sel(corruption=[present[p] for p in sorted(present)]), sorted(present)


def test_corrupted_labels_show_times_and_both_errors():
    found = results("corrupted_labels")
    drawing = draw("corrupted_labels", found)
    grid = np.array(drawing.axes).reshape(2, 3)
    for key, d in found.items():
        time, true, alike = grid[int("cifar" in key)]
        epochs, shares = by_share(d, "epochs_to_fit")
        assert_bars(time, shares, epochs / epochs.isel(corruption=0, drop=True))
        error = 1 - by_share(d, "test_accuracy")[0]
        assert_bars(true, shares, 100 * error)
        assert_bars(alike, shares, 100 - 100 * by_share(d, "corrupted_test_accuracy")[0])
        p = xr.DataArray(shares, dims="corruption")
        check = line_through(alike, shares, 100 * ((1 - p) * error + 0.9 * p).mean("seed"))
        assert (check is None) == (len(shares) == 2)
        for axes in (true, alike):
            assert line_through(axes, [0, 1], 90.0)
        joined = line_through(true, shares, 100 * error.mean("seed"))
        assert joined.get_linestyle() == ("-" if len(shares) > 2 else "None")
    titles = [axes.get_title() for axes in grid[:, 0]]
    assert [title.partition(":")[0] for title in titles] == ["digits", CIFAR]
    for network in plots.PRINTED_TIMES:
        shares = np.linspace(0, 1, 11)
        for axes, printed in (
            (grid[1, 0], plots.PRINTED_TIMES[network]),
            (grid[1, 2], plots.PRINTED_ERRORS[network]),
        ):
            assert line_through(axes, shares, printed).get_markerfacecolor() == "white"
            assert line_through(grid[0, 0], shares, printed) is None


def test_times_that_a_seed_does_not_tell_are_drawn_as_the_least_they_can_be():
    found = {"mlp_1x512": randomization(networks.DIGITS["mlp_1x512"])}
    d = found["mlp_1x512"]
    d.epochs_to_fit.loc[{"corruption": "labels 0.6", "seed": 1}] = np.nan
    time = draw("corrupted_labels", found).axes[0]
    epochs, shares = by_share(d, "epochs_to_fit")
    kept = [0, 1, 2, 4, 5]
    ratio = (epochs / epochs.isel(corruption=0, drop=True)).isel(corruption=kept)
    assert_bars(time, [shares[each] for each in kept], ratio)
    least = float((d.sizes["epoch"] / epochs.isel(corruption=0)).mean())
    assert line_through(time, [0.6], [least]).get_label() == "not fitted: at least"


# --- tables ---------------------------------------------------------------------------------------


def test_table_1_shows_every_result_in_its_row():
    found = results("table_1")
    training, test = draw("table_1", found).axes
    assert [tick.get_text() for tick in training.get_yticklabels()] == [
        f"{networks.NAMES[network]}: {what}" for network, what, *_ in plots.TABLE_1
    ]
    places = range(len(plots.TABLE_1))
    used = set()
    for axes, column, variable in ((training, 2, "training_accuracy"), (test, 3, "test_accuracy")):
        low, high = axes.get_ylim()
        assert low > 18 > 0 > high  # from the top down
        assert line_through(axes, [row[column] for row in plots.TABLE_1], places)
        shown = {
            label: dict(zip(np.rint(at[:, 1]), zip(at[:, 0], half, strict=True), strict=True))
            for label, at, half in bars(axes)
        }
        assert shown.keys() == {"digits", CIFAR}
        for dataset, suffix in (("digits", ""), (CIFAR, ", cifar")):
            wanted = {}
            for place, (network, what, *_) in enumerate(plots.TABLE_1):
                labels = "random labels" if what == "random labels" else "true labels"
                key = f"{network}, {'none' if labels == 'random labels' else what}{suffix}"
                if key in found:
                    used.add(key)
                    values = 100 * found[key][variable].sel(corruption=labels).isel(epoch=-1)
                    wanted[place] = [float(each) for each in mean_and_error(values)]
            assert shown[dataset].keys() == wanted.keys()
            for place, numbers in wanted.items():
                assert shown[dataset][place] == pytest.approx(numbers)
    assert used == set(found)
    assert line_through(test, 10.0, [0, 1])


def test_table_4_shows_every_result_in_its_row_and_the_sweep():
    found = results("table_4")
    table, sweep = draw("table_4", found).axes
    rows = [f"{networks.NAMES[network]}:\n{what}" for what, network, _ in plots.TABLE_4]
    assert [tick.get_text() for tick in table.get_yticklabels()] == rows
    printed = [place for place, row in enumerate(plots.TABLE_4) if row[2] is not None]
    assert line_through(table, [plots.TABLE_4[place][2] for place in printed], printed)
    (told,) = table.texts
    assert "failed to converge" in told.get_text()
    assert rows[told.get_position()[1]] == "AlexNet:\nweight decay"
    for label, at, half in bars(table):
        assert len(at) == len(rows)
        for place, (what, network, _) in enumerate(plots.TABLE_4):
            d = found[f"{what}, {network}{'' if label == 'digits' else ', cifar'}"]
            values = d.training_accuracy if what == "weight decay" else d.online_accuracy
            mean, error = mean_and_error(100 * values.sel(corruption="random labels")[:, -1])
            assert abs(at[place, 1] - place) < 0.5
            assert [at[place, 0], half[place]] == pytest.approx([float(mean), float(error)])
    assert sweep.get_xscale() == "log"
    of_sweep = [found[f"decay {decay}"] for decay in networks.DIGITS_DECAYS]
    for labels, name in (("random", "training_accuracy"), ("true", "test_accuracy")):
        values = [100 * d[name].sel(corruption=f"{labels} labels")[:, -1] for d in of_sweep]
        assert_bars(sweep, list(map(float, networks.DIGITS_DECAYS)), xr.concat(values, "decay"))
        (told,) = [label for label, at, _ in bars(sweep) if at[0, 1] == float(values[0].mean())]
        assert told.startswith(f"{labels} labels")
