"""The gradient of a smoothed loss, two ways: from values on the box's faces, and from gradients."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from theory._validation import Array, finite_array, positive_integer, positive_number

Function = Callable[[Array], ArrayLike]

_LARGEST_RULE = 10_000_000  # points at which the function is called for one x
_MOST_NODES = 1000  # on a line: the rule is found from the eigenvalues of a matrix of that size


def smoothed_value(loss: Function, x: ArrayLike, *, strength: float, nodes: int = 24) -> Array:
    r"""Mean of any loss over the box :math:`x + [-a, a]^m`, by Gauss-Legendre's rule.

    Parameters
    ----------
    loss : callable
        Of points (n, m), returning (n,).
    x : array_like (..., m)
        Where; m of a few dimensions.
    strength : float
        a.
    nodes : int
        Points of the rule along each coordinate: exact for polynomials of degree 2 nodes - 1, and
        as good for smooth losses; kinks and jumps converge slowly.

    Returns
    -------
    float or ndarray (...)
        In units of the loss.

    Raises
    ------
    ValueError
        If x is not finite, the strength not positive, ``nodes`` not an integer from 1 to 1000,
        nodes**m beyond 10⁷, or the loss returns another shape or values that are not finite.

    References
    ----------
    Wen et al. (2018), Eq. 2.

    Examples
    --------
    >>> from theory.smoothout import smoothed_value
    >>> def loss(w):
    ...     return (w[:, 0] * w[:, 1] - 1.0) ** 2
    >>> float(smoothed_value(loss, [1.0, 1.0], strength=0.3).round(12))  # 2b + b², b = 0.03
    0.0609
    """
    points, a = _points(x), positive_number("strength", strength)
    offsets, weights = _rule(a, points.shape[-1], nodes)
    values = [weights @ _called("loss", loss, each + offsets, ()) for each in _rows(points)]
    return np.reshape(values, points.shape[:-1])[()]


def smoothed_gradient(loss: Function, x: ArrayLike, *, strength: float, nodes: int = 24) -> Array:
    r"""Gradient of the smoothed loss, from the loss itself on the faces of the box.

    .. math:: \partial_i \bar C(w) = \frac{1}{2a} \bigl(\langle C\rangle_{w_i + a}
              - \langle C\rangle_{w_i - a}\bigr),

    means over the other coordinates' box. It needs no derivative, and is right for losses that
    jump, where the mean of the gradient is not: see :func:`pathwise_bias`.

    Parameters
    ----------
    loss, x, strength, nodes
        As :func:`smoothed_value` takes them.

    Returns
    -------
    ndarray (..., m)
        In units of loss over those of x.

    Raises
    ------
    ValueError
        As :func:`smoothed_value`.

    References
    ----------
    Wen et al. (2018), Eq. 3 (its start is the paper's, the rest derived).

    Examples
    --------
    The point in the middle of a symmetric minimum is stationary, and so is that of a maximum.

    >>> import numpy as np
    >>> from theory.smoothout import smoothed_gradient
    >>> def saddle(w):
    ...     return w[:, 0] ** 4 - np.cosh(w[:, 1]) + np.sin(w[:, 0] * w[:, 1])
    >>> bool(np.allclose(smoothed_gradient(saddle, [0.0, 0.0], strength=0.7), 0.0, atol=1e-15))
    True
    """
    points, a = _points(x), positive_number("strength", strength)
    m = points.shape[-1]
    offsets, weights = _rule(a, m - 1, nodes)
    result = np.empty(points.shape)
    for i in range(m):
        face = np.insert(offsets, i, a, axis=1)
        other = np.insert(offsets, i, -a, axis=1)
        differences = [
            _called("loss", loss, each + face, ()) - _called("loss", loss, each + other, ())
            for each in _rows(points)
        ]
        result[..., i] = np.reshape(differences @ weights, points.shape[:-1]) / (2.0 * a)
    return result


def pathwise_gradient(
    gradient: Function, x: ArrayLike, *, strength: float, nodes: int = 24
) -> Array:
    r"""Mean of the gradient over the box: what stochastic SmoothOut follows on average.

    It is the gradient of the smoothed loss where the loss is locally Lipschitz.

    Parameters
    ----------
    gradient : callable
        Of points (n, m), returning (n, m).
    x, strength, nodes
        As :func:`smoothed_value` takes them.

    Returns
    -------
    ndarray (..., m)
        In units of loss over those of x.

    Raises
    ------
    ValueError
        As :func:`smoothed_value`.

    References
    ----------
    Wen et al. (2018), abstract: stochastic SmoothOut is unbiased (derived).

    Examples
    --------
    >>> from theory.smoothout import pathwise_gradient
    >>> pathwise_gradient(lambda w: 4.0 * w**3, [[1.0]], strength=1.0)  # 4 w³ + 4 a² w
    array([[8.]])
    """
    points, a = _points(x), positive_number("strength", strength)
    m = points.shape[-1]
    offsets, weights = _rule(a, m, nodes)
    values = [
        weights @ _called("gradient", gradient, each + offsets, (m,)) for each in _rows(points)
    ]
    return np.reshape(values, points.shape)


def pathwise_bias(jumps: ArrayLike, places: ArrayLike, x: ArrayLike, *, strength: float) -> Array:
    r"""Return what the mean gradient misses of the smoothed one's where a loss jumps.

    Parameters
    ----------
    jumps : array_like (K,)
        By how much the loss rises at each place, from left to right.
    places : array_like (K,)
        Where.
    x : array_like (...)
        Points.
    strength : float
        a.

    Returns
    -------
    float or ndarray (...)
        :math:`E\,C'(x + \theta) - \bar C'(x)`: minus the sum of the jumps within a of x, over 2a.

    Raises
    ------
    ValueError
        If jumps and places differ in number, a number is not finite, or a is not positive.

    References
    ----------
    Wen et al. (2018), abstract: stochastic SmoothOut is unbiased, which asks for continuous
    losses (derived).

    Examples
    --------
    The well of depth 1 on [-0.5, 0.5] is flat but for two jumps: its gradient says nothing.

    >>> from theory.smoothout import pathwise_bias
    >>> pathwise_bias([-1.0, 1.0], [-0.5, 0.5], [0.0, 1.0], strength=1.0)
    array([-0. , -0.5])
    """
    heights = finite_array("jumps", jumps, ndim=1)
    where = finite_array("places", places, ndim=1)
    if len(heights) != len(where):
        raise ValueError(f"there are {len(heights)} jumps but {len(where)} places")
    points, a = finite_array("x", x), positive_number("strength", strength)
    near = np.abs(points[..., None] - where) < a
    return np.asarray(-(near @ heights) / (2.0 * a))[()]


def _points(x: ArrayLike) -> Array:
    points = finite_array("x", x)
    if points.ndim == 0:
        raise ValueError("x must have shape (..., m), got a number")
    return points


def _rows(points: Array) -> Array:
    return points.reshape(-1, points.shape[-1])


def _rule(a: float, m: int, nodes: int) -> tuple[Array, Array]:
    """Return Gauss-Legendre's points (n, m) on the box around 0, and weights (n,) of sum 1."""
    n = positive_integer("nodes", nodes) ** m
    if nodes > _MOST_NODES:
        raise ValueError(f"nodes must be at most {_MOST_NODES}, got {nodes}")
    if n > _LARGEST_RULE:
        raise ValueError(f"{nodes} nodes in {m} dimensions are {n:.0e} points: take fewer nodes")
    line, shares = np.polynomial.legendre.leggauss(nodes)
    if m == 0:
        return np.empty((1, 0)), np.ones(1)
    grid = np.stack(np.meshgrid(*[a * line] * m, indexing="ij"), axis=-1).reshape(n, m)
    weights = np.stack(np.meshgrid(*[0.5 * shares] * m, indexing="ij"), axis=-1).reshape(n, m)
    return grid, np.prod(weights, axis=1)


def _called(name: str, function: Function, points: Array, tail: tuple[int, ...]) -> Array:
    values = finite_array(f"what {name} returns", function(points))
    if values.shape != (len(points), *tail):
        raise ValueError(
            f"{name} must return shape {(len(points), *tail)} for points of shape {points.shape}, "
            f"got {values.shape}"
        )
    return values
