"""Capacity, measured: what learners make of random labels, and what does not see the labels.

The **studies** of Zhang et al. (2017), sections 2 and 2.2, on images small enough for seconds: the
Rademacher complexity of linear functions and what learners reach of it, Cover's capacity curve, the
stability of ridge regression under true and random labels, and the randomization test itself on a
network of one hidden layer. Plain parameters and a seed go in, one :class:`xarray.Dataset` out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import nnls

from sims import sgd
from sims._capacity_images import (
    PIXEL_CORRUPTIONS,
    Images,
    Labels,
    corrupt_labels,
    draw_images,
    standardized,
)
from sims._variables import named
from theory._validation import positive_array, positive_integer
from theory.capacity import (
    linear_rademacher_bounds,
    linear_supremum,
    monte_carlo_rademacher,
    ridge_replacement,
    ridge_stability,
    separable_probability,
    vc_dimension_bounds,
    vc_generalization_bound,
    zhang_networks,
)
from theory.evidence import laplace_evidence
from theory.memorization import memorize

Array = NDArray[np.float64]
Learner = Callable[[Array, Array], Array]

__all__ = [
    "LABELS",
    "LEARNERS",
    "STUDIES",
    "cover_curve",
    "network_sizes",
    "rademacher_complexity",
    "randomized_training",
    "stability",
]

# True labels tell the lower half of the classes from the upper; random ones are thrown by a coin.
LABELS = ("true", "random")

LEARNERS = ("linear", "network", "memorizing")

# The optimization of Zhang et al.'s appendix A, with the learning rate for small images.
_LEARNING_RATE, _MOMENTUM, _BATCH_SIZE = 0.05, 0.9, 128


# --- random labels --------------------------------------------------------------------------------


def rademacher_complexity(
    *,
    dataset: str = "digits",
    sizes: Sequence[int] = (32, 64, 128, 256, 512, 1437),
    draws: int = 1000,
    linear_fits: int = 10,
    hidden: int = 512,
    updates: int = 2000,
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    r"""Measure the Rademacher complexity of a linear class, and what learners reach on coin flips.

    The class is the ball of linear functions of standardized images whose radius keeps them in
    [-1, 1]; its supremum is known for each draw of signs. Beside it the mean of
    :math:`\frac1n \sum_i \sigma_i\,\text{sign}\,h(x_i)`, twice the accuracy less one, of three
    learners trained on :math:`\sigma`: a linear classifier with a bias (logistic regression,
    nearly unregularized, a lower bound on what the best one reaches), a ReLU network, and theorem
    1's construction of 2n + d weights.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it.
    sizes : sequence of int
        n. Smaller samples are parts of the larger ones.
    draws : int
        Draws of signs for the ball, at least 2.
    linear_fits : int
        Linear classifiers that are averaged, at least 2; the network is trained once.
    hidden : int
        Units of the network.
    updates : int
        Steps of its training at learning rate 0.05, momentum 0.9 and batches of 128.
    seed : int
        Draws images, signs, initial weights and batches.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.

    Returns
    -------
    xarray.Dataset
        Along ``n``: ``ball`` with its standard error ``ball_error``, between ``ball_lower``
        (Khintchine & Kahane) and ``ball_upper`` (Jensen); ``correlation`` along ``learner`` and n.

    Raises
    ------
    ValueError
        If a number is too small, or the data set has too few images.

    References
    ----------
    Zhang et al. (2017), equation 1 and section 2.2.
    """
    positive_integer("draws", draws, minimum=2)
    positive_integer("linear_fits", linear_fits, minimum=2)
    positive_array("sizes", sizes, ndim=1)
    rng = np.random.default_rng(seed)
    [(pixels, _)] = draw_images(dataset, data_dir, rng, sizes=max(sizes))
    features = standardized(pixels)
    balls, correlations = [], []
    for n in sizes:
        X = features[: positive_integer("sizes", n)]
        balls.append(_ball_complexity(X, draws, rng))
        correlations.append(
            (
                monte_carlo_rademacher(_linear_learner, X, draws=linear_fits, rng=rng).value,
                _one_correlation(_network_learner(hidden, updates, rng), X, rng),
                _one_correlation(_memorizing_learner(rng), X, rng),
            )
        )
    names = {
        "ball": "Monte Carlo estimate of the ball's complexity",
        "ball_error": "its standard error",
        "ball_lower": "Khintchine & Kahane's lower bound",
        "ball_upper": "Jensen's upper bound",
    }
    columns = zip(names.items(), np.transpose(balls), strict=True)
    return xr.Dataset(
        {name: ("n", column, named(long_name)) for (name, long_name), column in columns}
        | {
            "correlation": (
                ("learner", "n"),
                np.transpose(correlations),
                named("correlation with random labels, 2 × accuracy - 1"),
            )
        },
        {"n": ("n", list(sizes), named("examples")), "learner": list(LEARNERS)},
    )


def _ball_complexity(
    X: Array, draws: int, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    radius = 1.0 / float(np.max(np.linalg.norm(X, axis=1)))
    signs = rng.choice([-1.0, 1.0], (draws, len(X)))
    suprema = linear_supremum(X, signs, radius=radius)
    bounds = linear_rademacher_bounds(X, radius=radius)
    error = float(suprema.std(ddof=1) / np.sqrt(draws))
    return float(suprema.mean()), error, bounds.lower, bounds.upper


def _one_correlation(learner: Learner, X: Array, rng: np.random.Generator) -> float:
    signs = rng.choice([-1.0, 1.0], len(X))
    return float(np.mean(signs * learner(X, signs)))


def _are_equal(signs: Array) -> bool:
    """Tell whether a constant function fits: the models of classes want two of them."""
    return bool(np.all(signs == signs[0]))


def _linear_learner(X: Array, signs: Array) -> Array:
    if _are_equal(signs):
        return signs
    fit = laplace_evidence(X, signs.astype(int), prior_precision=1e-4)
    return np.where(X @ fit.weights[:-1] + fit.weights[-1] > 0, 1.0, -1.0)


def _network_learner(hidden: int, updates: int, rng: np.random.Generator) -> Learner:
    def learn(X: Array, signs: Array) -> Array:
        if _are_equal(signs):
            return signs
        labels = (signs > 0).astype(np.int64)
        run = _train(X, labels, hidden=hidden, updates=updates, rng=rng)
        return np.where(_predicted_classes(run.weights, X, hidden) == 1, 1.0, -1.0)

    return learn


def _memorizing_learner(rng: np.random.Generator) -> Learner:
    def learn(X: Array, signs: Array) -> Array:
        return np.where(memorize(X, signs, rng=rng)(X) > 0, 1.0, -1.0)

    return learn


def _train(X: Array, y: Labels, *, hidden: int, updates: int, rng: Any, **options: Any) -> Any:
    return sgd.train(
        "relu",
        X,
        y,
        hidden=hidden,
        learning_rate=_LEARNING_RATE,
        momentum=_MOMENTUM,
        batch_size=min(_BATCH_SIZE, len(X)),
        updates=updates,
        sampler="shuffle",
        rng=rng,
        **options,
    )


def _predicted_classes(weights: NDArray[Any], X: Array, hidden: int) -> Labels:
    """Return the classes (n,) that a one-hidden-layer network finds most likely."""
    split = (X.shape[1] + 1) * hidden
    first, second = weights[:split].reshape(-1, hidden), weights[split:].reshape(hidden + 1, -1)
    active = np.maximum(X @ first[:-1] + first[-1], 0.0)
    return np.asarray(np.argmax(active @ second[:-1] + second[-1], axis=1))


def cover_curve(
    *,
    n_features: Sequence[int] = (5, 20, 60),
    ratios: Sequence[float] = (1.0, 1.5, 1.75, 2.0, 2.25, 2.5, 3.0, 4.0),
    draws: int = 200,
    seed: int = 0,
) -> xr.Dataset:
    r"""Count how often random labels of Gaussian points are linearly separable.

    Each answer is exact: weights that have every point on its side, or a nonnegative combination of
    the points times their labels that vanishes, are found by nonnegative least squares.

    Parameters
    ----------
    n_features : sequence of int
        d. Hyperplanes go through 0.
    ratios : sequence of float
        n / d; n is rounded, and at least 1.
    draws : int
        Sets of points and labels for each n and d.
    seed : int

    Returns
    -------
    xarray.Dataset
        Along ``n_features`` and ``ratio``: ``n``, the share ``separable`` and Cover's
        ``probability``. ``draws`` is an attribute.

    Raises
    ------
    ValueError
        If a number is not positive, or not an integer where it must be.

    References
    ----------
    Cover (1965); Zhang et al. (2017), section 2.2, for the question.
    """
    positive_integer("draws", draws)
    dimensions = [positive_integer("n_features", d) for d in n_features]
    loads = positive_array("ratios", ratios, ndim=1)
    rng = np.random.default_rng(seed)
    sizes = np.maximum(1, np.rint(np.outer(dimensions, loads))).astype(int)
    separable, probability = np.empty(sizes.shape), np.empty(sizes.shape)
    for i, d in enumerate(dimensions):
        for k, n in enumerate(sizes[i]):
            hits = sum(_random_labels_are_separable(int(n), d, rng) for _ in range(draws))
            separable[i, k] = hits / draws
            probability[i, k] = separable_probability(int(n), d)
    dims = ("n_features", "ratio")
    return xr.Dataset(
        {
            "n": (dims, sizes, named("points")),
            "separable": (dims, separable, named("share of separable labelings")),
            "probability": (dims, probability, named("Cover's probability")),
        },
        {
            "n_features": ("n_features", dimensions, named("dimensions d")),
            "ratio": ("ratio", loads, named("points per dimension")),
        },
        {"draws": draws},
    )


def _random_labels_are_separable(n: int, d: int, rng: np.random.Generator) -> bool:
    points, labels = rng.normal(size=(n, d)), rng.choice([-1.0, 1.0], n)
    return _is_separable(points * labels[:, None])


def _is_separable(signed: Array) -> bool:
    """Tell whether some w has <w, z> > 0 for all rows z: points times their labels.

    Weights λ ≥ 0 of sum near 1 bring Σ λ z as close to 0 as they can. Where they do not reach 0,
    what is left of it is such a w, by the conditions of optimality; it is tried on every row.
    """
    system = np.vstack([signed.T, np.ones(len(signed))])
    target = np.zeros(len(system))
    target[-1] = 1.0
    weights, _ = nnls(system, target)
    return bool(np.all(signed @ (signed.T @ weights) > 0))


# --- stability ------------------------------------------------------------------------------------


def stability(
    *,
    dataset: str = "digits",
    train_size: int = 800,
    replacements: int = 200,
    test_size: int = 797,
    regularization: float = 0.01,
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    r"""Replace training examples of ridge regression one at a time, under true and random labels.

    The inputs are standardized images with a constant, the targets ±1: the upper against the lower
    half of the classes, or a coin's. Both see the same images and replacements. The objective is
    the mean squared error plus :math:`\lambda |w|^2`.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it.
    train_size : int
        n.
    replacements : int
        Training examples that are replaced, at most n, each by an image of its own.
    test_size : int
        Images on which outputs are compared.
    regularization : float
        :math:`\lambda`.
    seed : int
        Draws the images and throws the coins.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.

    Returns
    -------
    xarray.Dataset
        Along ``labels`` (true, random): ``output_change`` and ``loss_change``, the largest over
        replacements and test images; ``train_accuracy``, ``test_accuracy`` and their difference
        ``gap`` in percentage points. ``loss_change_bound``, which is the same for all labels.

    Raises
    ------
    ValueError
        If a number is not positive, there are more replacements than training examples, or the
        data set has too few images.

    References
    ----------
    Zhang et al. (2017), sections 1.2 and 2.2; Bousquet & Elisseeff (2002) for the bound.
    """
    positive_array("regularization", regularization, ndim=0)
    rng = np.random.default_rng(seed)
    sizes = {"train_size": train_size, "replacements": replacements, "test_size": test_size}
    sets = draw_images(dataset, data_dir, rng, **sizes)
    if replacements > train_size:
        raise ValueError(f"replacements is {replacements}, more than the {train_size} examples")
    X, X_new, X_test = (_with_constant(standardized(pixels)) for pixels, _ in sets)
    classes = 1 + max(int(labels.max()) for _, labels in sets)
    targets = {
        "true": [np.where(labels >= classes / 2, 1.0, -1.0) for _, labels in sets],
        "random": [rng.choice([-1.0, 1.0], len(labels)) for _, labels in sets],
    }
    rows = [
        _replacement_effects((X, X_new, X_test), targets[kind], regularization) for kind in LABELS
    ]
    output_change, loss_change, train_accuracy, test_accuracy = np.transpose(rows)
    longest = max(float(np.max(np.linalg.norm(Z, axis=1))) for Z in (X, X_new, X_test))
    bound = ridge_stability(feature_norm=longest, regularization=regularization, n=train_size)
    gap = 100.0 * (train_accuracy - test_accuracy)
    return xr.Dataset(
        {
            "output_change": ("labels", output_change, named("largest change of an output")),
            "loss_change": ("labels", loss_change, named("largest change of a loss")),
            "train_accuracy": ("labels", train_accuracy, named("training accuracy")),
            "test_accuracy": ("labels", test_accuracy, named("test accuracy")),
            "gap": ("labels", gap, named("training less test accuracy", "percentage point")),
            # taking one example out, then putting another in
            "loss_change_bound": ((), 2 * bound.value, named("bound on a loss's change")),
        },
        {"labels": list(LABELS)},
    )


def _replacement_effects(
    inputs: Sequence[Array], targets: Sequence[Array], regularization: float
) -> tuple[float, float, float, float]:
    """Return the largest change of an output and of a loss, and training and test accuracy."""
    (X, X_new, X_test), (y, y_new, y_test) = inputs, targets
    fit = ridge_replacement(
        X,
        y,
        rows=np.arange(len(X_new)),
        new_X=X_new,
        new_y=y_new,
        regularization=regularization,
    )
    before, after = X_test @ fit.weights, fit.replaced_weights @ X_test.T
    losses = (before - y_test) ** 2, (after - y_test) ** 2
    return (
        float(np.max(np.abs(after - before))),
        float(np.max(np.abs(losses[1] - losses[0]))),
        float(np.mean(X @ fit.weights * y > 0)),
        float(np.mean(before * y_test > 0)),
    )


def _with_constant(X: Array) -> Array:
    return np.column_stack([X, np.ones(len(X))])


# --- randomization tests --------------------------------------------------------------------------


def randomized_training(
    *,
    dataset: str = "digits",
    train_size: int = 1437,
    test_size: int = 360,
    corruptions: Sequence[float] = (0.2, 0.4, 0.6, 0.8),
    pixels: Sequence[str] = tuple(PIXEL_CORRUPTIONS),
    hidden: int = 512,
    epochs: int = 150,
    loss_target: float = 0.1,
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.Dataset:
    r"""Train a network on true, corrupted and random labels, and on corrupted pixels.

    One hidden layer of ReLUs on standardized images, by SGD with learning rate 0.05, momentum 0.9
    and batches of 128; every condition trains with the same settings. An epoch leaves out the
    examples that do not fill a batch. Corrupted labels are fixed over epochs; each is replaced,
    with the given probability, by a class drawn from all, which may be its own.

    Parameters
    ----------
    dataset : str
        As :func:`store.datasets.load` names it.
    train_size, test_size : int
    corruptions : sequence of float
        Probabilities in (0, 1); true (0) and random labels (1) are always there.
    pixels : sequence of str
        Of "shuffled pixels" (all images alike), "random pixels" (each on its own) and "Gaussian
        pixels". Test images are corrupted in the same way.
    hidden : int
        Units.
    epochs : int
    loss_target : float
        Training loss, nats, that ``epochs_to_target`` is the time to.
    seed : int
        Draws images, corruptions, initial weights and batches.
    data_dir : str, optional
        Folder of the data set's files, if it is not embedded.

    Returns
    -------
    xarray.Dataset
        Along ``condition`` ("true labels", "corrupted labels 0.4", "random labels", "Gaussian
        pixels", …) and ``epoch``: ``train_loss``, ``train_accuracy`` on the labels that were
        trained on, ``test_accuracy`` on true labels and ``wrong_fitted``, the share of wrong labels
        that the network gives (NaN where there are none). Along ``condition``: ``corruption``,
        ``wrong_labels``, their number, and ``epochs_to_target`` (NaN where it is not reached).

    Raises
    ------
    ValueError
        If a number is out of range, a corruption is unknown, the data set has too few images, or
        the training labels lack a class that the test set has.

    References
    ----------
    Zhang et al. (2017), section 2.1 and appendix A; Arpit et al. (2017), arXiv:1706.05394, for the
    order in which patterns and noise are learned.
    """
    positive_integer("epochs", epochs)
    positive_array("loss_target", loss_target, ndim=0)
    rng = np.random.default_rng(seed)
    train, test = draw_images(dataset, data_dir, rng, train_size=train_size, test_size=test_size)
    tests = _conditions(train, test, corruptions, pixels, rng)
    curves = []
    for condition in tests:
        run_seed = int(rng.integers(2**63))
        curves.append(_learning_curves(condition, train[1], hidden, epochs, run_seed))
    train_loss, train_accuracy, test_accuracy, wrong_fitted = np.stack(curves, axis=1)
    reached = train_loss <= loss_target
    first = np.where(reached.any(1), 1.0 + np.argmax(reached, axis=1), np.nan)
    wrong = [int(np.sum(condition.labels != train[1])) for condition in tests]
    dims = ("condition", "epoch")
    return xr.Dataset(
        {
            "train_loss": (dims, train_loss, named("mean training loss", "nat")),
            "train_accuracy": (dims, train_accuracy, named("training accuracy")),
            "test_accuracy": (dims, test_accuracy, named("accuracy on true test labels")),
            "wrong_fitted": (dims, wrong_fitted, named("share of wrong labels fitted")),
            "wrong_labels": ("condition", wrong, named("wrong training labels")),
            "epochs_to_target": (
                "condition",
                first,
                named(f"first epoch with training loss of at most {loss_target:g}", "epoch"),
            ),
        },
        {
            "condition": [condition.name for condition in tests],
            "corruption": (
                "condition",
                [condition.corruption for condition in tests],
                named("probability that a label is replaced"),
            ),
            "epoch": ("epoch", np.arange(1, epochs + 1), named("epoch")),
        },
    )


class _Condition(NamedTuple):
    """A training set, its test set and how labels were corrupted."""

    name: str
    corruption: float
    X: Array
    labels: Labels
    test: Images


def _conditions(
    train: Images,
    test: Images,
    corruptions: Sequence[float],
    pixels: Sequence[str],
    rng: np.random.Generator,
) -> list[_Condition]:
    for p in corruptions:
        if not 0.0 < p < 1.0:
            raise ValueError(f"corruptions must be in (0, 1), got {p:g}")
    unknown = [name for name in pixels if name not in PIXEL_CORRUPTIONS]
    if unknown:
        raise ValueError(f"pixels must be of {', '.join(PIXEL_CORRUPTIONS)}; got {unknown[0]!r}")
    classes = 1 + max(int(train[1].max()), int(test[1].max()))
    X, X_test = standardized(train[0]), standardized(test[0])
    names = {0.0: "true labels", 1.0: "random labels"}
    conditions = []
    for p in (0.0, *corruptions, 1.0):
        labels = corrupt_labels(train[1], p, classes, rng)
        name = names.get(p, f"corrupted labels {p:g}")
        conditions.append(_Condition(name, p, X, labels, (X_test, test[1])))
    for name in pixels:
        made = PIXEL_CORRUPTIONS[name]([train[0], test[0]], rng)
        X, X_test = (standardized(part) for part in made)
        conditions.append(_Condition(name, 0.0, X, train[1], (X_test, test[1])))
    return conditions


def _learning_curves(
    condition: _Condition,
    true_labels: Labels,
    hidden: int,
    epochs: int,
    run_seed: int,
) -> Array:
    """Return training loss and accuracy, test accuracy and share of wrong labels fitted (4, E)."""
    per_epoch = max(1, len(condition.X) // _BATCH_SIZE)

    def run(test: Images) -> Any:
        return _train(
            condition.X,
            condition.labels,
            hidden=hidden,
            updates=per_epoch * epochs,
            test=test,
            look_at=np.arange(1, epochs + 1) / epochs,
            rng=run_seed,
        )

    seen = run(condition.test)
    wrong = condition.labels != true_labels
    fitted = np.full(epochs, np.nan)
    if wrong.any():  # the same run once more, watched on the wrongly labeled examples
        fitted = run((condition.X[wrong], condition.labels[wrong])).test_accuracy
    return np.stack([seen.train_loss, seen.train_accuracy, seen.test_accuracy, fitted])


# --- the paper's networks -------------------------------------------------------------------------


def network_sizes(*, n: int = 50_000, seed: int = 0) -> xr.Dataset:
    """Count the parameters of Table 1's networks, and what VC theory makes of them.

    Parameters
    ----------
    n : int
        Training examples.
    seed : int
        Nothing is random.

    Returns
    -------
    xarray.Dataset
        Along ``network``: ``n_parameters``; ``vc_dimension``, the upper bound; ``vc_bound`` on the
        risk of a network that fits all n examples, at confidence 0.95; and ``surplus``, the number
        of parameters over theorem 1's 2n + d.

    Raises
    ------
    ValueError
        If n is not a positive integer.

    References
    ----------
    Zhang et al. (2017), Table 1 and section 2.2.
    """
    rows = []
    for network in zhang_networks().values():
        bounds = vc_dimension_bounds(
            network.n_parameters, network.n_layers, n_units=network.n_units
        )
        risk = vc_generalization_bound(0.0, bounds.upper, n=n).value
        surplus = network.memorization_surplus(n)
        rows.append((network.n_parameters, bounds.upper, risk, surplus))
    names = {
        "n_parameters": "parameters",
        "vc_dimension": "upper bound of the VC dimension",
        "vc_bound": "bound on the risk",
        "surplus": "parameters over 2n + d",
    }
    columns = zip(names.items(), np.transpose(rows), strict=True)
    return xr.Dataset(
        {name: ("network", column, named(long_name)) for (name, long_name), column in columns},
        {"network": list(zhang_networks())},
        {"n": n},
    )


STUDIES = (rademacher_complexity, cover_curve, stability, randomized_training, network_sizes)
