import io
import sys
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from bad_minima_networks import MEASURES, PER_TRAINING
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import paper_figures
from paper_figures import _zhang_2017_interpolation as interpolation
from paper_figures import registry, smith_le_2018, style
from paper_figures.results import Need
from sims import evidence
from store.results import ResultStore

FIGURES = {figure.name: figure for figure in registry.figures()}


def draw(name, data, *, only=None):
    figure = FIGURES[name]
    found = {key: data[need] for key, need in figure.needs.items() if only is None or key in only}
    copies = {key: dataset.copy(deep=True) for key, dataset in found.items()}
    with style.applied():
        drawing = figure.plot(found)
    for key, dataset in found.items():
        xr.testing.assert_identical(dataset, copies[key])
    return drawing, found


def panels(drawing):
    """Axes with a title, by title: the color bars are left out."""
    return {axes.get_title(): axes for axes in drawing.axes if axes.get_title()}


def line(axes, label):
    (found,) = [each for each in axes.lines if each.get_label() == label]
    return found


def test_names_are_unique_and_needs_are_declared():
    assert len(FIGURES) == len(registry.figures()) >= 6
    for figure in FIGURES.values():
        assert figure.name.isidentifier()
        assert figure.caption.endswith(".")
        assert figure.needs
        assert all(isinstance(need, Need) for need in figure.needs.values())


def test_recorded_results_are_whole_and_from_a_clean_checkout():
    # Not results.RECORDED, which these tests set aside.
    store = ResultStore(Path(paper_figures.__file__).parent / "recorded")
    for need in registry.recorded():
        found = store.load(need.study_name, {**need.parameters, "seeds": need.seeds})
        if found is None:
            continue  # it is then "not run here"
        assert found.sizes["seed"] == need.seeds
        assert found.attrs["git_dirty"] == "no"
        assert found.attrs["wall_seconds"] > 0
        for name, variable in found.data_vars.items():
            if (need.study_name.rpartition(".")[2], name) not in MAY_BE_UNKNOWN:
                assert np.all(np.isfinite(variable)), name


# Documented: sizes at which a solver is not run or nothing is drawn, conditions without wrong
# labels or that do not come to the target, fewer minima than elsewhere, epochs that are not
# measured, batches larger than the training set, controls with regularizers.
MAY_BE_UNKNOWN = {
    *(
        ("batch_size_sweep", f"{part}_{measure}")
        for part in ("train", "test")
        for measure in ("loss", "accuracy")
    ),
    ("four_runs", "epochs_to_fit"),
    ("cost", "seconds"),
    ("randomized_training", "wrong_fitted"),
    ("randomized_training", "epochs_to_target"),
    ("lift", "measured"),
    ("lift", "standard_error"),
    ("overtaking", "second_strength"),
    ("overtaking", "z"),
    ("noise_laws", "measured"),
    ("noise_laws", "standard_error"),
    ("survival", "minima"),
    ("randomization", "training_loss"),
    ("randomization", "training_accuracy"),
    ("randomization", "true_training_accuracy"),
    ("randomization", "wrong_labels_fitted"),
    ("randomization", "test_accuracy"),
    ("randomization", "corrupted_test_accuracy"),
    ("randomization", "epochs_to_fit"),
    *(("bad_minima", name) for name in (*PER_TRAINING, *MEASURES)),
}

NOT_RECORDED = {interpolation.CIFAR_FILTERS_ALL}  # it takes 40 GB of memory


def test_what_is_recorded_is_what_cannot_be_computed_here_or_is_kept():
    owners = [*registry.figures(), *(c for claim in registry.claims() for c in claim.checks)]
    needs = {need for owner in owners for need in owner.needs.values()}
    lasting = {need for need in needs if need.is_external or need.kept}
    assert lasting - NOT_RECORDED == set(registry.recorded())
    assert lasting >= NOT_RECORDED


EXTERNAL = [
    name
    for name, figure in FIGURES.items()
    if 0 < sum(need.is_external for need in figure.needs.values()) < len(figure.needs)
]


@pytest.mark.parametrize(
    ("name", "everything"),
    [*((name, True) for name in FIGURES), *((name, False) for name in EXTERNAL)],
)
def test_every_figure_is_drawn_and_labelled(name, everything, data, monkeypatch):
    def refuse(*args, **more):
        raise AssertionError("a figure computed something")

    for module, _, study in {need.study_name.rpartition(".") for need in data}:
        if module in sys.modules:  # that of a network is not where torch is absent
            monkeypatch.setattr(sys.modules[module], study, refuse)
    monkeypatch.setattr(evidence, "laplace_evidence", refuse)
    only = None if everything else {k for k, n in FIGURES[name].needs.items() if not n.is_external}
    drawing, _ = draw(name, data, only=only)
    assert isinstance(drawing, Figure)
    assert drawing.get_suptitle()
    plotted = [axes for axes in drawing.axes if axes.lines and axes.get_label() != "<colorbar>"]
    assert plotted
    # Columns share their λ axis and rows their quantity: each has its label at least once.
    specs = [axes.get_subplotspec() for axes in plotted]
    for span in ("colspan", "rowspan"):
        labels = {}
        for axes, spec in zip(plotted, specs, strict=True):
            label = axes.get_xlabel() if span == "colspan" else axes.get_ylabel()
            labels.setdefault(tuple(getattr(spec, span)), set()).add(label)
        assert all(any(found) for found in labels.values()), labels
    # A panel's title may stand over its column, or beside it in its row.
    titled = [spec for axes, spec in zip(plotted, specs, strict=True) if axes.get_title()]
    for spec in specs:
        assert any(
            other.colspan == spec.colspan or other.rowspan == spec.rowspan for other in titled
        )
    for axes in plotted:
        for each in axes.lines:
            assert np.all(np.isfinite(np.asarray(each.get_xydata(), dtype=float)))

    FigureCanvasAgg(drawing)
    content = io.BytesIO()
    with style.applied():
        drawing.savefig(content, format="svg")
    assert content.getvalue().lstrip().startswith(b"<?xml")


def titled(drawing, start, kind):
    (found,) = [
        axes
        for title, axes in panels(drawing).items()
        if title.startswith(start) and title.endswith(f"{kind} labels")
    ]
    return found


def assert_curve(axes, label, values):
    """A line shows the mean over seeds at every λ, and a band the seeds' middle two thirds."""
    shown = line(axes, label)
    np.testing.assert_allclose(shown.get_xdata(), values.prior_precision)
    np.testing.assert_allclose(shown.get_ydata(), values.mean("seed"))
    low, high = values.quantile([1 / 6, 5 / 6], "seed").values
    bands = [each.get_paths()[0].vertices for each in axes.collections]
    assert any(
        all(
            np.isclose(band[np.isclose(band[:, 0], x), 1].min(), bottom)
            and np.isclose(band[np.isclose(band[:, 0], x), 1].max(), top)
            for x, bottom, top in zip(values.prior_precision.values, low, high, strict=True)
        )
        for band in bands
    )


@pytest.mark.parametrize("kind", evidence.LABELS)
@pytest.mark.parametrize(("key", "start"), [("mnist", "MNIST 0/1"), ("digits", "digits 0/1")])
def test_figure_1_shows_the_accuracies(data, kind, key, start):
    drawing, found = draw("smith_le_2018_figure_1", data)
    axes = titled(drawing, start, kind)
    curves = found[key].sel(labels=kind)
    assert_curve(axes, "training", curves.train_accuracy)
    assert_curve(axes, "test", curves.test_accuracy)
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize("kind", evidence.LABELS)
@pytest.mark.parametrize(("key", "start"), [("mnist", "MNIST 0/1"), ("digits", "digits 0/1")])
def test_figure_2_shows_cross_entropies_and_evidence(data, kind, key, start):
    drawing, found = draw("smith_le_2018_figure_2", data)
    axes = titled(drawing, start, kind)
    curves = found[key].sel(labels=kind)
    assert_curve(axes, "training", curves.train_cross_entropy)
    assert_curve(axes, "test", curves.test_cross_entropy)
    assert axes.get_yscale() == "log"
    spec = axes.get_subplotspec()
    (below,) = [
        each
        for each in drawing.axes
        if each.get_subplotspec().colspan == spec.colspan
        and each.get_subplotspec().rowspan.start == spec.rowspan.start + 1
    ]
    assert_curve(below, "E", curves.log_evidence_ratio)
    assert below.get_yscale() == "linear"


@pytest.mark.parametrize("seeds", [1, 3])
def test_the_ground_truth_shows_differences_with_two_standard_errors(data, seeds):
    need = smith_le_2018.GROUND_TRUTH
    shifts = xr.DataArray(np.linspace(0.0, 0.7, seeds), dims="seed")
    d = data[need].isel(seed=[0] * seeds).assign_coords(seed=range(seeds))
    d = d.assign(laplace=d.laplace + shifts)
    drawing, _ = draw("smith_le_2018_laplace_ground_truth", {need: d})
    for kind in evidence.LABELS:
        axes = titled(drawing, "digits 3/8", kind)
        curves = d.sel(labels=kind)
        for container in axes.containers:
            shown, _, (bars,) = container
            name = (
                "laplace" if container.get_label() == "Laplace" else "annealed_importance_sampling"
            )
            gap = curves[name] - curves.thermodynamic_integration
            np.testing.assert_allclose(np.asarray(shown.get_ydata(), dtype=float), gap.mean("seed"))
            x = shown.get_xdata() / d.prior_precision.values
            assert np.all((x > 0.9) & (x < 1.1))  # beside one another
            spread = float(shifts.std(ddof=1)) if name == "laplace" and seeds > 1 else 0.0
            for (_, low), (_, high) in bars.get_segments():
                assert (high - low) / 2 == pytest.approx(2 * spread / np.sqrt(seeds), abs=1e-9)
        assert len(axes.containers) == 2


def test_evidence_against_test_cross_entropy_marks_both_minima(data):
    drawing, found = draw("smith_le_2018_evidence_and_test", data)
    for key, start in (("mnist", "MNIST 0/1"), ("mnist_38", "MNIST 3/8"), ("digits_38", "digits")):
        (axes,) = [each for title, each in panels(drawing).items() if title.startswith(start)]
        mean = found[key].sel(labels="true").mean("seed")
        x, y = mean.log_evidence_ratio.values, mean.test_cross_entropy.values
        np.testing.assert_allclose(axes.lines[0].get_xydata(), np.column_stack([x, y]))
        (points,) = axes.collections
        np.testing.assert_allclose(points.get_offsets(), np.column_stack([x, y]))
        np.testing.assert_allclose(points.get_array(), np.log10(mean.prior_precision))
        for marker, best in (("s", x.argmin()), ("o", y.argmin())):
            (mark,) = [each for each in axes.lines if each.get_marker() == marker]
            place = np.ravel(np.asarray(mark.get_xydata(), dtype=float))
            np.testing.assert_allclose(place, [x[best], y[best]])


def test_invariance_shows_ratios_to_the_unscaled_model(data):
    drawing, found = draw("smith_le_2018_invariance", data)
    d = found["rescaling"].isel(seed=0)
    for name, start in (("logistic", "logistic"), ("relu", "two ReLU")):
        (axes,) = [each for title, each in panels(drawing).items() if title.startswith(start)]
        for label, variable in (("sharpness", f"{name}_sharpness"), ("log evidence", name)):
            shown = line(axes, label)
            np.testing.assert_allclose(shown.get_xdata(), d.scale)
            np.testing.assert_allclose(shown.get_ydata(), d[variable] / d[variable].sel(scale=1.0))
    (axes,) = [each for title, each in panels(drawing).items() if title.startswith("a coin")]
    d = found["coordinates"].isel(seed=0)
    for coordinate in ("w", "sinh w"):
        gap = (d.laplace - d.exact).sel(coordinate=coordinate)
        shown = line(axes, f"in {coordinate}")
        np.testing.assert_allclose(shown.get_xydata(), np.column_stack([d.prior_precision, gap]))


def test_stopped_early_shows_both_evidences(data):
    drawing, found = draw("smith_le_2018_stopped_early", data)
    for key, start in (("mnist", "MNIST 0/1"), ("digits", "digits 0/1")):
        axes = titled(drawing, start, "true")
        for label, name in (("at the optimum", key), ("after 1,000 steps", f"{key}_stopped")):
            assert_curve(axes, label, found[name].sel(labels="true").log_evidence_ratio)


def test_the_same_data_give_the_same_file(data):
    contents = []
    for _ in range(2):
        drawing, _ = draw("smith_le_2018_invariance", data)
        content = io.BytesIO()
        with style.applied():
            drawing.savefig(content, format="png")
        contents.append(content.getvalue())
    assert contents[0] == contents[1]


def test_the_house_style_does_not_stay():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style.applied():
        assert dict(mpl.rcParams) != before
    assert dict(mpl.rcParams) == before
