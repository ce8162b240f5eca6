"""scikit-learn's face of :mod:`theory.memorization`: estimators that fit any labels exactly.

The one file of ``theory`` that imports scikit-learn; nothing else of ``theory`` imports it.
"""

from __future__ import annotations

from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from theory.memorization import MemorizingNetwork, memorize

Array = NDArray[np.float64]

__all__ = ["MemorizingClassifier", "MemorizingRegressor"]


class _Memorizer(BaseEstimator):
    """What the two have in common: the parameters, the network and its values."""

    network_: MemorizingNetwork

    def __init__(self, projections: int = 1, random_state: Any = None) -> None:
        self.projections = projections
        self.random_state = random_state

    def _memorize(self, X: NDArray[Any], targets: NDArray[Any]) -> None:
        rng = _generator(self.random_state)
        self.network_ = memorize(X, targets, rng=rng, projections=self.projections)

    def _values(self, X: ArrayLike) -> Array:
        check_is_fitted(self)
        return self.network_(validate_data(self, X, reset=False))


def _generator(random_state: Any) -> np.random.Generator:
    """Return a generator; scikit-learn's conventions know ``RandomState`` alone."""
    if isinstance(random_state, Integral):
        return np.random.default_rng(int(random_state))
    drawn = check_random_state(random_state).randint(2**32, size=4, dtype=np.uint32)
    return np.random.default_rng(drawn)


class MemorizingRegressor(RegressorMixin, _Memorizer):
    r"""Regression by the network of 2n + d weights that meets every target.

    It says nothing about generalization: between its points, in the order of their random
    projections, the network is a straight line from target to target.

    Parameters
    ----------
    projections : int, default=1
        Draw so many random directions and keep the one with the largest margin.
    random_state : int, RandomState instance or None, default=None
        Draws the directions. An int s gives the network of ``memorize(X, y, rng=s)``.

    Attributes
    ----------
    network_ : MemorizingNetwork
        The network: its ``error`` is the largest error at a training point, its ``margin`` the
        smallest gap between projections.
    n_features_in_ : int
        d.
    feature_names_in_ : ndarray (d,) of str
        Names of the features, where X had some.

    See Also
    --------
    theory.memorization.memorize : The construction, and all it demands of X and y.

    References
    ----------
    Zhang et al. (2017), Theorem 1 (section 4 and appendix C).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(1000, 20)), rng.normal(size=1000)
    >>> model = MemorizingRegressor(random_state=0).fit(X, y)
    >>> bool(np.max(np.abs(model.predict(X) - y)) < 1e-12)
    True
    >>> model.network_.n_parameters  # 2 * 1000 + 20
    2020
    """

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several outputs; nothing promised on new data."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Build the network.

        Parameters
        ----------
        X : array_like (n, d)
            Points. Rows that are equal, with equal targets, count once.
        y : array_like (n,) or (n, K)
            Targets.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X or y is empty, of mismatched lengths, not numeric, or has NaN, infinite, or other
            entries that are not ordinary float64 numbers; if y is sparse; if two rows are equal but
            not their targets (rows named), or too close to tell apart; if ``projections`` or
            ``random_state`` is not as described.
        TypeError
            If X is sparse.
        """
        points, targets = validate_data(self, X, y, multi_output=True, y_numeric=True)
        self._memorize(points, targets)
        return self

    def predict(self, X: ArrayLike) -> Array:
        """Return the network's values.

        Parameters
        ----------
        X : array_like (m, d)
            Points.

        Returns
        -------
        ndarray (m,) or (m, K)

        Raises
        ------
        NotFittedError
            If it has not been fitted; also a ValueError.
        ValueError
            If X is not a finite array of points of d features.
        TypeError
            If X is sparse.
        """
        return self._values(X)


class MemorizingClassifier(ClassifierMixin, _Memorizer):
    r"""Classification by a network of 2n + d weights that gives every training point its label.

    Two classes take one output, -1 or 1 at the training points, and 2n + d weights; K > 2 classes
    take K outputs, 1 for the point's class and -1 for the others, and n (K + 1) + d weights.
    It says nothing about generalization: a new point's label depends on its neighbors in the order
    of the random projections. There are no probabilities, for the outputs estimate none.

    Parameters
    ----------
    projections : int, default=1
        Draw so many random directions and keep the one with the largest margin.
    random_state : int, RandomState instance or None, default=None
        Draws the directions. An int s gives those of ``memorize(..., rng=s)``.

    Attributes
    ----------
    classes_ : ndarray (K,)
        The labels, sorted; numbers or strings.
    network_ : MemorizingNetwork
        The network: its ``error`` is the largest error of an output at a training point, its
        ``margin`` the smallest gap between projections.
    n_features_in_ : int
        d.
    feature_names_in_ : ndarray (d,) of str
        Names of the features, where X had some.

    See Also
    --------
    theory.memorization.memorize : The construction, and all it demands of X.

    References
    ----------
    Zhang et al. (2017), Theorem 1 (section 4 and appendix C). The coding of the classes is ours.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> X, y = rng.normal(size=(1000, 20)), rng.choice(["cat", "dog", "owl"], size=1000)
    >>> model = MemorizingClassifier(random_state=0).fit(X, y)
    >>> model.score(X, y)
    1.0
    >>> model.network_.n_parameters  # 1000 * (3 + 1) + 20
    4020
    """

    classes_: NDArray[Any]

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: nothing promised on new data."""
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True
        return tags

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Build the network.

        Parameters
        ----------
        X : array_like (n, d)
            Points. Rows that are equal, with equal labels, count once.
        y : array_like (n,)
            Labels, of two classes at least.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If X is empty, not as long as y, not numeric, or has NaN, infinite, or other entries
            that are not ordinary float64 numbers; if y is continuous or of one class; if two rows
            are equal but not their labels (rows named), or too close to tell apart; if
            ``projections`` or ``random_state`` is not as described.
        TypeError
            If X is sparse.
        """
        points, labels = validate_data(self, X, y)
        check_classification_targets(labels)
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise ValueError(
                f"y must hold at least 2 classes, got 1 class: {classes.tolist()[0]!r}"
            )
        self.classes_ = classes
        positive = codes == 1 if len(classes) == 2 else codes[:, None] == np.arange(len(classes))
        self._memorize(points, np.where(positive, 1.0, -1.0))
        return self

    def decision_function(self, X: ArrayLike) -> Array:
        """Return the network's outputs; the largest, or the sign of the only one, decides.

        Parameters
        ----------
        X : array_like (m, d)
            Points.

        Returns
        -------
        ndarray (m,) or (m, K)
            Of two classes, positive for the second; else one output for each class.

        Raises
        ------
        NotFittedError
            If it has not been fitted; also a ValueError.
        ValueError
            If X is not a finite array of points of d features.
        TypeError
            If X is sparse.
        """
        return self._values(X)

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """Return the labels.

        Parameters
        ----------
        X : array_like (m, d)
            Points.

        Returns
        -------
        ndarray (m,)
            Labels from ``classes_``.

        Raises
        ------
        NotFittedError
            If it has not been fitted; also a ValueError.
        ValueError
            If X is not a finite array of points of d features.
        TypeError
            If X is sparse.
        """
        outputs = self._values(X)
        chosen = outputs > 0.0 if outputs.ndim == 1 else np.argmax(outputs, axis=1)
        return np.asarray(self.classes_[np.asarray(chosen, dtype=np.intp)])
