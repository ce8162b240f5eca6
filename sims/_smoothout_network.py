"""A ReLU network of one hidden layer and its mean squared error, for many weights at once."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from theory._validation import positive_integer
from theory.smoothout import filter_noise

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ReLUNetwork:
    """The function v · max(W x, 0), its weights in one row (W by rows, then v), and its data.

    Attributes
    ----------
    weights : ndarray (P,)
        P = hidden · (inputs + 1).
    X : ndarray (n, inputs)
        Points.
    y : ndarray (n,)
        Targets.
    """

    weights: Array
    X: Array
    y: Array

    @classmethod
    def drawn(
        cls, *, inputs: int, hidden: int, examples: int, rng: np.random.Generator
    ) -> ReLUNetwork:
        """Return a network of standard normal weights, points and targets."""
        for name, size in (("inputs", inputs), ("hidden", hidden), ("examples", examples)):
            positive_integer(name, size)
        return cls(
            rng.normal(size=hidden * (inputs + 1)),
            rng.normal(size=(examples, inputs)),
            rng.normal(size=examples),
        )

    def taught(self) -> ReLUNetwork:
        """Return the network with targets that it fits."""
        return replace(self, y=self.outputs())

    def rescaled(self, scale: float) -> ReLUNetwork:
        """Return the network with its first layer multiplied and its second divided."""
        first, _ = self._layers(self.weights)
        factors = np.full(self.weights.size, 1.0 / scale)
        factors[: first.size] = scale
        return replace(self, weights=self.weights * factors)

    def outputs(self) -> Array:
        """Return the function at the points (n,)."""
        return self._hidden_and_outputs(self.weights)[1]

    def loss(self, weights: Array) -> Array:
        """Return the mean squared error (...) of weights (..., P)."""
        return np.asarray(np.mean((self._hidden_and_outputs(weights)[1] - self.y) ** 2, axis=-1))

    def gradient(self, weights: Array, theta: Array, strength: float) -> Array:
        """Return the gradients (draws, P) of the loss at noisy weights."""
        _, v = self._layers(weights + theta)
        hidden, outputs = self._hidden_and_outputs(weights + theta)
        residual = 2.0 / len(self.y) * (outputs - self.y)
        on = (hidden > 0.0) * residual[..., None, :]
        first = (v[..., None] * on) @ self.X
        second = (hidden @ residual[..., None])[..., 0]
        return np.concatenate([first.reshape(len(theta), -1), second], axis=-1)

    def face_differences(self, weights: Array, theta: Array, strength: float) -> Array:
        """Return unbiased estimates (draws, P) of the smoothed gradient from values on faces."""
        estimates = np.empty_like(theta)
        for i in range(weights.size):
            noisy = weights + theta
            noisy[:, i] = weights[i] + strength
            upper = self.loss(noisy)
            noisy[:, i] = weights[i] - strength
            estimates[:, i] = (upper - self.loss(noisy)) / (2.0 * strength)
        return estimates

    def filter_noise(self, u: Array, strength: float) -> Array:
        """Return AdaSmoothOut's noise (draws, P): a filter a hidden unit, and one the output."""
        draws, inputs = len(u), self.X.shape[1]
        first, second = self._layers(u)
        W, v = self._layers(self.weights)
        filters = np.broadcast_to(W, (draws, *W.shape)).reshape(-1, inputs)
        noise = filter_noise(filters, first.reshape(-1, inputs), strength=strength)
        last = filter_noise(np.broadcast_to(v, second.shape), second, strength=strength)
        return np.concatenate([noise.reshape(draws, -1), last], axis=1)

    def layer_traces(self) -> tuple[float, float]:
        """Return the parts of tr H that belong to the layers, where the network fits its data."""
        hidden, _ = self._hidden_and_outputs(self.weights)
        _, v = self._layers(self.weights)
        norms = np.sum(self.X**2, axis=1)
        first = 2.0 * np.mean(norms * (v**2 @ (hidden > 0.0)))
        return float(first), float(2.0 * np.mean(np.sum(hidden**2, axis=0)))

    def measured_trace(self) -> float:
        """Return tr H by second differences along every weight."""
        steps = np.diag(1e-5 * np.abs(self.weights))
        here = self.loss(self.weights)
        both = self.loss(self.weights + steps) + self.loss(self.weights - steps)
        return float(np.sum((both - 2.0 * here) / np.diagonal(steps) ** 2))

    def _layers(self, weights: Array) -> tuple[Array, Array]:
        inputs = self.X.shape[1]
        hidden = weights.shape[-1] // (inputs + 1)
        first = weights[..., : hidden * inputs]
        return first.reshape(*weights.shape[:-1], hidden, inputs), weights[..., hidden * inputs :]

    def _hidden_and_outputs(self, weights: Array) -> tuple[Array, Array]:
        """Return the hidden units (..., hidden, n) and the outputs (..., n)."""
        W, v = self._layers(weights)
        hidden = np.maximum(W @ self.X.T, 0.0)
        return hidden, np.sum(v[..., None] * hidden, axis=-2)
