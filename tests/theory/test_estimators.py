"""scikit-learn's own checks, memorize itself, one classifier for each class, and by hand."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.datasets import make_blobs, make_regression
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import check_estimator

from theory.estimators import MemorizingClassifier, MemorizingRegressor
from theory.memorization import memorize

ESTIMATORS = [MemorizingRegressor, MemorizingClassifier]


def points(n=60, d=5, seed=0):
    return np.random.default_rng(seed).standard_normal((n, d))


def labels(n=60, classes=("cat", "dog", "owl"), seed=1):
    rest = np.random.default_rng(seed).choice(classes, size=n - len(classes))
    return np.concatenate([classes, rest])


def by_hand(network, X):
    return np.maximum((X @ network.projection)[:, None] - network.biases, 0.0) @ network.weights


class PromisingRegressor(MemorizingRegressor):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = False
        return tags


class PromisingClassifier(MemorizingClassifier):
    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = False
        return tags


class FickleRegressor(MemorizingRegressor):
    """What it says of a point depends on the points beside it."""

    def predict(self, X):
        values = super().predict(X)
        return values - 1e-3 * np.mean(values)


# --- scikit-learn's conventions -------------------------------------------------------------------


@pytest.mark.parametrize("estimator", [*ESTIMATORS, PromisingRegressor, PromisingClassifier])
def test_every_check_of_scikit_learn_passes(estimator):
    """Nothing is excluded: no check contradicts exact memorization.

    Checks of weights do not apply (``fit`` takes none); the checks that ``poor_score`` turns off
    score the training data, so they pass without the tag too.
    """
    results = check_estimator(estimator(), on_skip=None)
    assert len(results) > 40
    others = {each["check_name"] for each in results if each["status"] != "passed"}
    # It needs an environment variable of SciPy's that has to be set before anything is imported.
    assert others <= {"check_array_api_input"}


def test_the_checks_find_a_wrong_estimator():
    results = check_estimator(FickleRegressor(), on_skip=None, on_fail=None)
    failed = {each["check_name"] for each in results if each["status"] == "failed"}
    assert failed == {"check_methods_subset_invariance"}


def test_tags():
    regressor, classifier = (get_tags(each()) for each in ESTIMATORS)
    assert regressor.target_tags.multi_output
    assert not classifier.target_tags.multi_output
    assert classifier.classifier_tags.multi_class


def test_scores_on_new_data_are_poor_as_the_tags_say():
    # The data and the scores by which scikit-learn defines the tag.
    X, y = make_regression(
        n_samples=200, n_features=10, n_informative=1, bias=5.0, noise=20, random_state=42
    )
    assert get_tags(MemorizingRegressor()).regressor_tags.poor_score
    assert np.mean(cross_val_score(MemorizingRegressor(random_state=0), X, y)) < 0.5
    X, y = make_blobs(n_samples=300, random_state=0)
    assert get_tags(MemorizingClassifier()).classifier_tags.poor_score
    assert np.mean(cross_val_score(MemorizingClassifier(random_state=0), X, y)) < 0.83


def test_in_a_pipeline_with_named_features():
    X = pd.DataFrame(points(d=3), columns=["a", "b", "c"])
    model = MemorizingClassifier(random_state=0).fit(X, labels())
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    pipeline = make_pipeline(StandardScaler(), clone(model))
    assert pipeline.fit(X, labels()).score(X, labels()) == 1.0


# --- regression -----------------------------------------------------------------------------------


@pytest.mark.parametrize("outputs", [None, 1, 3])
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_regressor_is_memorize(outputs, kind):
    X = (100 * points()).astype(kind)
    y = np.random.default_rng(2).standard_normal(60 if outputs is None else (60, outputs))
    model = MemorizingRegressor(projections=3, random_state=7).fit(X, y)
    network, new = memorize(X, y, rng=7, projections=3), (100 * points(seed=3)).astype(kind)
    assert np.array_equal(model.network_.weights, network.weights)
    assert np.array_equal(model.predict(new), network(new))
    assert np.max(np.abs(model.predict(X) - y)) < 1e-12
    assert model.score(X, y) == pytest.approx(1.0, abs=1e-12)
    assert model.n_features_in_ == 5
    np.testing.assert_allclose(
        model.predict(new), by_hand(model.network_, new), rtol=0.0, atol=1e-7
    )


def test_parameter_count_and_duplicates():
    X = points()
    model = MemorizingRegressor(random_state=0).fit(X, X[:, 0])
    assert model.network_.n_parameters == 2 * 60 + 5
    twice = MemorizingRegressor(random_state=0).fit(np.tile(X, (2, 1)), np.tile(X[:, 0], 2))
    assert twice.network_.n_parameters == 2 * 60 + 5


def test_more_projections_have_no_smaller_margin():
    X, y = points(), points()[:, 0]
    margins = [
        MemorizingRegressor(projections=k, random_state=0).fit(X, y).network_.margin
        for k in (1, 5, 25)
    ]
    assert margins[0] < margins[2]
    assert sorted(margins) == margins


# --- classification -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "classes", [("no", "yes"), (-5, 3), (False, True), ("cat", "dog", "owl"), (0.0, 2.0, 7.0, 9.0)]
)
def test_classifier_gives_every_point_its_label(classes):
    X, y = points(), labels(classes=classes)
    model = MemorizingClassifier(random_state=0).fit(X, y)
    assert model.score(X, y) == 1.0
    assert np.array_equal(model.predict(X), y)
    assert model.classes_.tolist() == sorted(classes)
    assert model.predict(points(seed=5)).dtype == y.dtype
    outputs = 1 if len(classes) == 2 else len(classes)
    assert model.network_.n_parameters == 60 * (outputs + 1) + 5


@given(st.lists(st.sampled_from("abcd"), min_size=2, max_size=30), st.integers(0, 2**32 - 1))
def test_any_labels_are_met(y, seed):
    y = [*y, "e"]
    X = points(len(y), 2)
    model = MemorizingClassifier(random_state=seed).fit(X, y)
    assert model.predict(X).tolist() == y


def test_two_classes_have_the_sign_of_the_second():
    X, y, new = points(), labels(classes=("no", "yes")), points(2000, seed=3)
    model = MemorizingClassifier(random_state=0).fit(X, y)
    signs = MemorizingRegressor(random_state=0).fit(X, np.where(y == "yes", 1.0, -1.0))
    values = model.decision_function(new)
    assert np.array_equal(values, signs.predict(new))
    assert np.array_equal(model.predict(new), np.where(values > 0.0, "yes", "no"))


def test_many_classes_are_one_classifier_for_each():
    X, y, new = points(), labels(), points(2000, seed=3)
    model = MemorizingClassifier(random_state=0).fit(X, y)
    each = [
        MemorizingClassifier(random_state=0).fit(X, y == name).decision_function(new)
        for name in ("cat", "dog", "owl")
    ]
    assert np.array_equal(model.decision_function(new), np.transpose(each))
    largest = np.array(["cat", "dog", "owl"])[np.argmax(each, axis=0)]
    assert np.array_equal(model.predict(new), largest)


def test_classifier_promises_no_probabilities():
    assert not hasattr(MemorizingClassifier(), "predict_proba")


# --- random_state ---------------------------------------------------------------------------------


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_random_state_by_conventions(estimator):
    X, y = points(), labels(classes=(0, 1, 2))

    def direction(random_state):
        return estimator(random_state=random_state).fit(X, y).network_.projection.tolist()

    assert direction(3) == direction(3) == direction(np.int64(3)) != direction(4)
    assert direction(None) != direction(None)
    shared = np.random.RandomState(0)
    first, second = direction(shared), direction(shared)
    assert first != second
    assert first == direction(np.random.RandomState(0))


# --- bad input ------------------------------------------------------------------------------------

REGRESSOR, CLASSIFIER = MemorizingRegressor(), MemorizingClassifier()
X3 = [[0.0, 1.0], [2.0, 5.0], [0.0, 1.0]]


@pytest.mark.parametrize(
    ("model", "X", "y", "message"),
    [
        (REGRESSOR, X3, [1.0, 2.0, 3.0], "equal rows of X have different y: rows 0 and 2"),
        (CLASSIFIER, X3, ["a", "b", "b"], "equal rows of X have different y: rows 0 and 2"),
        (CLASSIFIER, X3, ["a", "b", "c"], "equal rows of X have different y: rows 0 and 2"),
        (CLASSIFIER, X3, ["a", "a", "a"], "at least 2 classes, got 1 class: 'a'"),
        (CLASSIFIER, X3, [0.5, 1.5, 0.5], "Unknown label type: continuous"),
        (CLASSIFIER, X3, np.eye(3), "y should be a 1d array"),
        (REGRESSOR, X3, [1.0, 2.0], "inconsistent numbers of samples"),
        (REGRESSOR, X3, [1.0, np.nan, 1.0], "y contains NaN"),
        (CLASSIFIER, [[np.inf], [1.0]], [0, 1], "X contains infinity"),
        (REGRESSOR, [["a"], ["b"]], [1.0, 2.0], "not compatible with arrays of .*strings"),
        (REGRESSOR, np.empty((0, 2)), [], "0 sample"),
        (REGRESSOR, [1.0, 2.0], [1.0, 2.0], "Expected 2D array"),
        (REGRESSOR, [[2**60], [1]], [1.0, 2.0], "float64 is exact up to"),
        (REGRESSOR, [[1], [2]], [2**60, 1], "float64 is exact up to"),
        (REGRESSOR, [[1], [2]], sp.csr_array([[1.0], [2.0]]), "y must be an array of numbers"),
        (REGRESSOR, [[1.0], [1.0 + 2e-16]], [1.0, 2.0], "rows . and . of X are so close"),
        (REGRESSOR, X3, [1.0 + 1j, 2.0, 1.0], "Complex data not supported"),
        (MemorizingRegressor(0), X3, [1.0, 2.0, 1.0], "projections must be an integer"),
        (MemorizingClassifier(2.0), X3, [1, 2, 1], "projections must be an integer"),
        (MemorizingRegressor(random_state=-1), X3, [1.0, 2.0, 1.0], "non-negative"),
        (MemorizingRegressor(random_state="a"), X3, [1.0, 2.0, 1.0], "cannot be used to seed"),
        (
            MemorizingClassifier(random_state=np.random.default_rng(0)),
            X3,
            [1, 2, 1],
            "cannot be used to seed",
        ),
    ],
)
def test_fit_raises(model, X, y, message):
    with pytest.raises(ValueError, match=message):
        clone(model, safe=False).fit(X, y)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_sparse_points_raise(estimator):
    with pytest.raises(TypeError, match="dense data is required"):
        estimator().fit(sp.csr_array(np.eye(3)), [0, 1, 0])


@pytest.mark.parametrize("model", [REGRESSOR, CLASSIFIER])
def test_prediction_raises(model):
    methods = ["predict", "decision_function"] if model is CLASSIFIER else ["predict"]
    fitted = clone(model).fit(points(), labels(classes=(0, 1)))
    for method in methods:
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(clone(model), method)(points())
        with pytest.raises(ValueError, match=r"3 features, but Memorizing.* expecting 5"):
            getattr(fitted, method)(points(d=3))
        with pytest.raises(TypeError, match="dense data is required"):
            getattr(fitted, method)(sp.csr_array(points()))
        with pytest.raises(ValueError, match="X contains NaN"):
            getattr(fitted, method)(np.full((2, 5), np.nan))
