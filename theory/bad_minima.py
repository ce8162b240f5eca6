r"""Bad minima: what pre-training on random labels leaves behind, where it can be computed.

Liu, Papailiopoulos & Achlioptas (2020) start SGD from weights that fit randomly labeled copies of
the training inputs. Here is what can be said in closed form:

- the **linear control**. Gradient descent on least squares moves in the span of its inputs alone,
  so that pre-training on the *same* inputs is forgotten without a trace, whatever the labels
  (:func:`linear_control`). Copies with zeros leave that span, and what they leave behind stays;
- the **ceiling** of conflicting copies: how many labels can be fitted at best if the copies of an
  image are equal and their labels are not (:func:`fit_ceiling`);
- the scale on which weight decay **forgets** the start (:func:`forgetting`);
- how much of the damage a regularizer **recovers**, with its uncertainty (:func:`recovery`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln, stdtrit, xlogy

from theory._validation import (
    Array,
    data_array,
    decay,
    finite_array,
    nonnegative_number,
    number,
    positive_integer,
    positive_number,
    semidefinite_array,
)

__all__ = [
    "Forgetting",
    "LinearControl",
    "Recovery",
    "check_confusion_set",
    "expected_risk_difference",
    "fit_ceiling",
    "forgetting",
    "gradient_descent_limit",
    "linear_control",
    "recovery",
]


# --- the linear control ---------------------------------------------------------------------------


class LinearControl(NamedTuple):
    r"""Least squares from a start, and from where pre-training on other labels has led.

    Attributes
    ----------
    direct : ndarray (d,)
        Limit of gradient descent from the start.
    pretrained : ndarray (d,)
        Limit of gradient descent on the pre-training set, from the start.
    fine_tuned : ndarray (d,)
        Limit of gradient descent from ``pretrained``, on the same data as ``direct``.
    displacement : ndarray (d,)
        ``fine_tuned`` - ``direct``: the part of the way to ``pretrained`` that is orthogonal to all
        inputs, by its formula and without the cancellation of a difference.
    direct_risk, fine_tuned_risk : float
        :math:`(w - w_*)^\top \Sigma (w - w_*)`.
    risk_difference : float
        The second less the first, without cancellation.
    """

    direct: Array
    pretrained: Array
    fine_tuned: Array
    displacement: Array
    direct_risk: float
    fine_tuned_risk: float
    risk_difference: float


def gradient_descent_limit(X: ArrayLike, y: ArrayLike, *, initial: ArrayLike) -> Array:
    r"""Return where gradient descent on least squares converges, for any design.

    Every gradient :math:`X^\top(Xw - y)` lies in the span of the rows of X, so that the limit is
    the least-squares solution nearest to the start,
    :math:`w_\infty = w_0 + X^+ (y - X w_0) = (I - P) w_0 + X^+ y`, with :math:`P = X^+ X` the
    projection on that span. :func:`theory.interpolation.sgd_limit` is the case of linearly
    independent rows, where SGD converges, too.

    Parameters
    ----------
    X : array_like (n, d)
        Inputs, one a row, of any rank.
    y : array_like (n,)
        Targets; they need not be compatible with each other.
    initial : array_like (d,)
        Weights :math:`w_0` before the first step.

    Returns
    -------
    ndarray (d,)

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, or has entries whose squares float64
        cannot hold.

    References
    ----------
    Liu et al. (2020) have no linear model; derived.

    Examples
    --------
    Two copies of an input whose labels conflict, and a start beside them:

    >>> from theory.bad_minima import gradient_descent_limit
    >>> gradient_descent_limit([[1.0, 0.0], [1.0, 0.0]], [0.0, 1.0], initial=[3.0, 2.0]).round(12)
    array([0.5, 2. ])
    """
    inputs, targets = _examples("X", X, "y", y)
    start = _start(initial, inputs)
    return start + _way(inputs, targets, start)


def linear_control(
    X: ArrayLike,
    y: ArrayLike,
    *,
    pretraining_inputs: ArrayLike,
    pretraining_targets: ArrayLike,
    true_weights: ArrayLike,
    initial: ArrayLike | None = None,
    covariance: ArrayLike | None = None,
) -> LinearControl:
    r"""Compare least squares with and without pre-training on other inputs and labels.

    With P the projection on the span of the rows of X, both ends of gradient descent differ by

    .. math:: \delta = (I - P)(w_\text{pre} - w_0)
              = (I - P) Z^+ (r - Z w_0),

    Z and r being the pre-training inputs and targets. It vanishes whatever r is if the rows of Z
    lie in the span of those of X: copies, in any number and with any labels, do no harm. Copies
    with zeros lie outside, as soon as X does not span everything.

    Parameters
    ----------
    X : array_like (n, d)
        Inputs.
    y : array_like (n,)
        Targets.
    pretraining_inputs : array_like (k, d)
        Z.
    pretraining_targets : array_like (k,)
        r, such as random labels.
    true_weights : array_like (d,)
        :math:`w_*`, against which the risk is counted.
    initial : array_like (d,), optional
        :math:`w_0`, zero by default.
    covariance : array_like (d, d), optional
        :math:`\Sigma`, of a fresh input, about zero; the identity by default.

    Returns
    -------
    LinearControl

    Raises
    ------
    ValueError
        If an array is not finite, empty or of the wrong shape, has entries whose squares float64
        cannot hold, or the covariance is not positive semidefinite.

    References
    ----------
    Liu et al. (2020), section 2, for the procedure; the control is derived.

    Examples
    --------
    >>> from theory.bad_minima import linear_control
    >>> options = {"pretraining_targets": [-1.0], "true_weights": [2.0, 2.0]}
    >>> same = linear_control([[1.0, 1.0]], [4.0], pretraining_inputs=[[1.0, 1.0]], **options)
    >>> masked = linear_control([[1.0, 1.0]], [4.0], pretraining_inputs=[[1.0, 0.0]], **options)
    >>> masked.fine_tuned.round(12), [round(each.risk_difference, 12) for each in (same, masked)]
    (array([1.5, 2.5]), [0.0, 0.5])
    """
    inputs, targets = _examples("X", X, "y", y)
    copies, labels = _examples(
        "pretraining_inputs", pretraining_inputs, "pretraining_targets", pretraining_targets
    )
    _same_features(inputs, copies)
    d = inputs.shape[1]
    start = _start(np.zeros(d) if initial is None else initial, inputs)
    truth = _vector("true_weights", true_weights, d)
    sigma = _covariance(covariance, d)
    direct = start + _way(inputs, targets, start)
    way = _way(copies, labels, start)
    displacement = _outside(inputs, way)
    error = direct - truth
    direct_risk = float(error @ sigma @ error)
    difference = float(displacement @ sigma @ (displacement + 2.0 * error))
    return LinearControl(
        direct,
        start + way,
        direct + displacement,
        displacement,
        direct_risk,
        direct_risk + difference,
        difference,
    )


def expected_risk_difference(
    X: ArrayLike,
    *,
    pretraining_inputs: ArrayLike,
    label_variance: float = 1.0,
    covariance: ArrayLike | None = None,
) -> float:
    r"""Return the mean of :func:`linear_control`'s risk difference over random labels, from zero.

    For independent labels of mean 0 and variance :math:`\sigma^2`, whatever the true targets,

    .. math:: \sigma^2\,\mathrm{tr}\big[{Z^+}^\top (I - P)\,\Sigma\,(I - P) Z^+\big] \ge 0.

    Parameters
    ----------
    X, pretraining_inputs, covariance
        As :func:`linear_control` takes them.
    label_variance : float, default 1
        :math:`\sigma^2`: 1 for labels ±1.

    Returns
    -------
    float

    Raises
    ------
    ValueError
        As :func:`linear_control`; also if the variance is not positive.

    References
    ----------
    Derived.

    Examples
    --------
    >>> from theory.bad_minima import expected_risk_difference
    >>> round(expected_risk_difference([[1.0, 1.0]], pretraining_inputs=[[1.0, 0.0]]), 12)
    0.5
    """
    inputs, _ = data_array("X", X, ndim=2)
    copies, _ = data_array("pretraining_inputs", pretraining_inputs, ndim=2)
    _same_features(inputs, copies)
    variance = positive_number("label_variance", label_variance)
    sigma = _covariance(covariance, inputs.shape[1])
    left = _outside(inputs, np.asarray(np.linalg.pinv(copies), float))
    return variance * float(np.sum(left * (sigma @ left)))


def _examples(X_name: str, X: ArrayLike, y_name: str, y: ArrayLike) -> tuple[Array, Array]:
    inputs, _ = data_array(X_name, X, ndim=2)
    targets, _ = data_array(y_name, y, ndim=1)
    if len(inputs) != len(targets):
        raise ValueError(f"{X_name} has {len(inputs)} rows but {y_name} {len(targets)} entries")
    return inputs, targets


def _same_features(inputs: Array, copies: Array) -> None:
    if copies.shape[1] != inputs.shape[1]:
        raise ValueError(
            f"pretraining_inputs must have {inputs.shape[1]} columns, as X has, "
            f"got {copies.shape[1]}"
        )


def _vector(name: str, value: ArrayLike, d: int) -> Array:
    vector = finite_array(name, value, ndim=1)
    if len(vector) != d:
        raise ValueError(
            f"{name} must have {d} entries, one for each column of X, got {len(vector)}"
        )
    return vector


def _start(initial: ArrayLike, inputs: Array) -> Array:
    return _vector("initial", initial, inputs.shape[1])


def _covariance(covariance: ArrayLike | None, d: int) -> Array:
    if covariance is None:
        return np.eye(d)
    sigma = semidefinite_array("covariance", covariance, ndim=2)
    if len(sigma) != d:
        raise ValueError(f"covariance must have shape ({d}, {d}), got {sigma.shape}")
    return sigma


def _way(inputs: Array, targets: Array, start: Array) -> Array:
    """Return how far gradient descent moves from a start."""
    return np.asarray(np.linalg.pinv(inputs) @ (targets - inputs @ start))


def _outside(inputs: Array, vectors: Array) -> Array:
    """Return what of vectors (d,) or (d, k) is orthogonal to all rows of the inputs (n, d)."""
    _, s, Vt = np.linalg.svd(inputs, full_matrices=False)
    span = Vt[s > max(inputs.shape) * np.finfo(float).eps * s[0]]
    for _ in range(2):  # once more takes away what rounding has left
        vectors = vectors - span.T @ (span @ vectors)
    return vectors


# --- the confusion set ----------------------------------------------------------------------------


def fit_ceiling(replicas: int, *, classes: int) -> float:
    r"""Return the best accuracy on R equal copies of an input with independent, uniform labels.

    The best guess is the commonest label, so the ceiling is :math:`E[\max_k n_k] / R` for
    multinomial counts n of R labels among K classes. Independent Poisson counts of mean R/K, given
    that their sum is R, are such counts (Levin 1981); the maximum's distribution function

    .. math:: P(\max_k n_k \le m) = \frac{P(N_k \le m)^K\,P(\text{sum} = R \mid N_k \le m)}
              {P(\mathrm{Poisson}(R) = R)}

    is then a K-fold convolution of probabilities, in which no factorial overflows; the Fourier
    transform makes it a power.

    Parameters
    ----------
    replicas : int
        R, the replication factor.
    classes : int
        K.

    Returns
    -------
    float
        Between 1/K, the limit of many copies, and 1, at R = 1.

    Raises
    ------
    ValueError
        If an argument is not a positive integer.

    References
    ----------
    Liu et al. (2020), section 2: R copies with random labels (the ceiling is derived). Levin, Ann.
    Statist. 9 (1981), 1123 (from memory).

    Examples
    --------
    >>> from theory.bad_minima import fit_ceiling
    >>> [round(fit_ceiling(R, classes=10), 3) for R in (1, 2, 3, 5, 10)]
    [1.0, 0.55, 0.43, 0.358, 0.275]
    """
    R, K = positive_integer("replicas", replicas), positive_integer("classes", classes)
    one_class, total = _poisson(np.arange(R + 1.0), R / K), float(_poisson(np.array(float(R)), R))
    expected = 0.0
    for m in range(R):  # E[max] = Σ P(max > m)
        exceeded = 1.0
        if K * m >= R:
            transform = np.fft.rfft(one_class[: m + 1], K * m + 1)
            exceeded -= float(np.fft.irfft(transform**K, K * m + 1)[R]) / total
        expected += exceeded
        if exceeded < 1e-14 * R:  # the rest is rounding
            break
    return expected / R


def _poisson(counts: Array, mean: float) -> Array:
    """Return the probabilities of counts."""
    return np.asarray(np.exp(xlogy(counts, mean) - mean - gammaln(counts + 1.0)))


def check_confusion_set(*, replicas: int, zero_fraction: float, classes: int) -> None:
    """Refuse a confusion set that is not one, or that cannot be fitted.

    Parameters
    ----------
    replicas : int
        R, copies of each input.
    zero_fraction : float
        Z in [0, 1), share of an input's values that is set to zero in each copy.
    classes : int
        K of the random labels, at least 2.

    Raises
    ------
    ValueError
        If a number is out of range, or there are several copies and nothing tells them apart; the
        message states the :func:`fit_ceiling`.

    Examples
    --------
    >>> from theory.bad_minima import check_confusion_set
    >>> check_confusion_set(replicas=5, zero_fraction=0.1, classes=10)
    >>> check_confusion_set(replicas=5, zero_fraction=0.0, classes=10)
    Traceback (most recent call last):
        ...
    ValueError: zero_fraction is 0, so that the 5 copies of an input are equal but their labels \
are not: at most 0.358 of the labels can be fitted; take a positive fraction or replicas = 1
    """
    R = positive_integer("replicas", replicas)
    K = positive_integer("classes", classes, minimum=2)
    if decay("zero_fraction", zero_fraction) == 0.0 and R > 1:
        raise ValueError(
            f"zero_fraction is 0, so that the {R} copies of an input are equal but their labels "
            f"are not: at most {fit_ceiling(R, classes=K):.3f} of the labels can be fitted; take a "
            "positive fraction or replicas = 1"
        )


# --- forgetting and recovery ----------------------------------------------------------------------


class Forgetting(NamedTuple):
    r"""What weight decay leaves of a weight that no gradient holds.

    Attributes
    ----------
    scale : float
        :math:`\epsilon\,\text{wd}\,T/(1 - m)`.
    exponential : float
        exp(-scale).
    factor : float
        What is left after T steps, exactly. It can be negative.
    """

    scale: float
    exponential: float
    factor: float


def forgetting(
    *, learning_rate: float, weight_decay: float, steps: int, momentum: float = 0.0
) -> Forgetting:
    r"""Return how much of a start weight decay leaves, exactly and by its exponential.

    Without a gradient, SGD shrinks a weight by :math:`(1 - \epsilon\,\text{wd})^T`. Heavy ball,
    :math:`v \leftarrow m v + \text{wd}\,w,\ w \leftarrow w - \epsilon v` from v = 0, follows
    :math:`w_{t+1} = (1 + m - \epsilon\,\text{wd}) w_t - m w_{t-1}`. Both are near
    :math:`\exp(-\epsilon\,\text{wd}\,T/(1 - m))` as long as :math:`\epsilon\,\text{wd} \ll
    (1 - m)^2`. A small version of an experiment keeps this product, and not the weight decay.

    Parameters
    ----------
    learning_rate : float
        :math:`\epsilon`.
    weight_decay : float
        Of the same loss, mean or sum, as the learning rate.
    steps : int
        T.
    momentum : float, default 0
        m in [0, 1).

    Returns
    -------
    Forgetting

    Raises
    ------
    ValueError
        If a number is out of range, or :math:`\epsilon\,\text{wd}` is above 2(1 + m), where the
        weight would grow.

    References
    ----------
    Liu et al. (2020), training details: 0.1 · 5e-4 · 58,650 steps (from the authors' code; the
    formulas are derived).

    Examples
    --------
    >>> from theory.bad_minima import forgetting
    >>> paper = forgetting(learning_rate=0.1, weight_decay=5e-4, steps=58_650)
    >>> round(paper.scale, 2), round(paper.exponential, 4), round(paper.factor, 4)
    (2.93, 0.0533, 0.0533)
    >>> forgetting(learning_rate=0.5, weight_decay=1.0, steps=2).factor
    0.25
    """
    rate = positive_number("learning_rate", learning_rate)
    h = rate * nonnegative_number("weight_decay", weight_decay)
    T, m = positive_integer("steps", steps), decay("momentum", momentum)
    if h > 2.0 * (1.0 + m):
        raise ValueError(
            f"learning_rate * weight_decay must be at most {2.0 * (1.0 + m):g}, got {h:g}: weights "
            "would grow"
        )
    scale = h * T / (1.0 - m)
    return Forgetting(scale, float(np.exp(-scale)), _shrunk(h, m, T))


def _shrunk(h: float, m: float, steps: int) -> float:
    if m == 0.0:
        return (1.0 - h) ** steps
    # of the weight and its last move: w' = w + u', u' = m u - h w
    step = np.array([[1.0 - h, m], [-h, m]])
    return float(np.linalg.matrix_power(step, steps)[0, 0])


class Recovery(NamedTuple):
    """How much of the damage is undone: 0 for none, 1 for all.

    Attributes
    ----------
    value : float
        (adversarial - baseline) / (random - baseline), of means over the seeds.
    standard_error : float
        To first order.
    lower, upper : float
        Fieller's confidence interval; infinite if the denominator may be zero.
    """

    value: float
    standard_error: float
    lower: float
    upper: float


def recovery(
    adversarial: ArrayLike, random: ArrayLike, *, baseline: ArrayLike, confidence: float = 0.95
) -> Recovery:
    r"""Return the share of the damage that a regularizer repairs, over paired seeds.

    Accuracies, or any measure, after training with the regularizer from the adversarial and from
    the random start, and after training without it from the adversarial start:

    .. math:: \frac{\text{acc}_c(\text{adv}) - B}{\text{acc}_c(\text{rand}) - B}.

    The interval inverts the t test of :math:`\text{num} - \rho\,\text{den} = 0` over the seeds
    (Fieller): a ratio of two means has no finite interval where the denominator is not clear of 0.

    Parameters
    ----------
    adversarial, random, baseline : array_like (n,)
        One entry a seed, n at least 2; the n-th entries belong together.
    confidence : float, default 0.95
        Of the interval, in (0, 1).

    Returns
    -------
    Recovery

    Raises
    ------
    ValueError
        If an array is not finite or of another length, there are fewer than two seeds, the
        confidence is out of range, or ``random`` and ``baseline`` have one mean.

    References
    ----------
    Liu et al. (2020), section 4, where no such number is given (derived). Fieller, J. R. Statist.
    Soc. B 16 (1954), 175.

    Examples
    --------
    >>> from theory.bad_minima import recovery
    >>> found = recovery([0.94, 0.97, 0.95], [0.96, 0.97, 0.96], baseline=[0.91, 0.92, 0.90])
    >>> [round(x, 2) for x in found]
    [0.81, 0.11, 0.31, 1.28]
    """
    columns = [
        finite_array(name, value, ndim=1)
        for name, value in (
            ("adversarial", adversarial),
            ("random", random),
            ("baseline", baseline),
        )
    ]
    sizes = {len(column) for column in columns}
    if len(sizes) > 1 or min(sizes) < 2:
        raise ValueError(
            "adversarial, random and baseline must have an entry for each of two seeds or more, "
            f"got {', '.join(str(len(column)) for column in columns)}"
        )
    level = number("confidence", confidence)
    if not 0.0 < level < 1.0:
        raise ValueError(f"confidence must be in (0, 1), got {level:g}")
    n = len(columns[0])
    repaired, damage = columns[0] - columns[2], columns[1] - columns[2]
    a, b = float(np.mean(repaired)), float(np.mean(damage))
    if b == 0.0:
        raise ValueError("random and baseline have one mean: there is no damage to recover from")
    (var_a, cov), (_, var_b) = np.cov(repaired, damage) / n
    ratio = a / b
    variance = max(0.0, float(var_a - 2.0 * ratio * cov + ratio**2 * var_b))
    t_square = float(stdtrit(n - 1, 0.5 * (1.0 - level))) ** 2
    # a² - 2 ρ ab + ρ² b² ≤ t² (var_a - 2 ρ cov + ρ² var_b), a quadratic in ρ
    square, linear = b * b - t_square * float(var_b), a * b - t_square * float(cov)
    lower, upper = -np.inf, np.inf
    if square > 0.0:
        constant = a * a - t_square * float(var_a)
        half = np.sqrt(max(0.0, linear**2 - square * constant))
        lower, upper = (linear - half) / square, (linear + half) / square
    return Recovery(ratio, float(np.sqrt(variance)) / abs(b), float(lower), float(upper))
