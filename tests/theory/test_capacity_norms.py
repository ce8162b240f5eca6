import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from theory.capacity import (
    frobenius_norm,
    log_path_norm,
    log_spectral_product,
    path_norm,
    spectral_product,
)

SHAPES = ((3, 2), (4, 3), (2, 4))


def layers(seed, shapes=SHAPES):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=shape) for shape in shapes], [rng.normal(size=s[0]) for s in shapes]


def paths(weights, biases):
    """Yield the weights along each path, one by one; a path starts at an input or at a bias."""
    for start in range(-1, len(weights) - 1):  # after this layer; -1 is the input
        units = [range(len(w)) for w in weights[start + 1 :]]
        sources = range(weights[0].shape[1]) if start == -1 else range(len(biases[start]))
        for source in sources:
            for path in itertools.product(*units):
                steps = [] if start == -1 else [biases[start][source]]
                before = source
                for w, unit in zip(weights[start + 1 :], path, strict=True):
                    steps.append(w[unit, before])
                    before = unit
                yield steps
    for last in biases[-1]:
        yield [last]


@pytest.mark.parametrize("p", [0.5, 1, 2, 3.5])
def test_path_norm_is_the_sum_over_paths(p):
    weights, biases = layers(0)
    total = sum(np.prod(np.abs(path)) ** p for path in paths(weights, biases))
    assert path_norm(weights, biases=biases, p=p) == pytest.approx(total ** (1 / p), rel=1e-13)
    zeros = [0 * bias for bias in biases]
    total = sum(np.prod(np.abs(path)) ** p for path in paths(weights, zeros))
    assert path_norm(weights, p=p) == pytest.approx(total ** (1 / p), rel=1e-13)


@pytest.mark.parametrize("p", [1, 2])
def test_path_norm_is_what_the_network_of_powers_gives_for_ones(p):
    weights, biases = layers(1)
    x = np.ones(weights[0].shape[1])
    for w, b in zip(weights, biases, strict=True):
        x = np.maximum(np.abs(w) ** p @ x + np.abs(b) ** p, 0)
    assert path_norm(weights, biases=biases, p=p) == pytest.approx(x.sum() ** (1 / p), rel=1e-13)


@given(st.integers(0, 99), st.floats(1e-3, 1e3), st.sampled_from([1.0, 2.0]))
def test_rescaling_a_unit_leaves_the_path_norm(seed, scale, p):
    weights, biases = layers(seed)
    before = log_path_norm(weights, biases=biases, p=p)
    weights[0][1] *= scale
    biases[0][1] *= scale
    weights[1][:, 1] /= scale
    assert log_path_norm(weights, biases=biases, p=p) == pytest.approx(before, abs=1e-12)


def test_frobenius_norm_is_numpys():
    weights, biases = layers(2)
    parts = [part.ravel() for part in (*weights, *biases)]
    assert frobenius_norm(weights, biases=biases) == pytest.approx(
        np.linalg.norm(np.concatenate(parts)), rel=1e-15
    )
    assert frobenius_norm(weights[:1]) == pytest.approx(np.linalg.norm(weights[0]), rel=1e-15)


def test_spectral_product_is_that_of_singular_values():
    weights, _ = layers(3)
    expected = np.prod([np.sqrt(np.linalg.eigvalsh(w @ w.T)[-1]) for w in weights])
    assert spectral_product(weights) == pytest.approx(expected, rel=1e-12)


@given(st.integers(0, 99))
def test_spectral_product_bounds_the_stretch(seed):
    weights, _ = layers(seed)
    rng = np.random.default_rng(seed)
    x, y = ends = rng.normal(size=(2, 2))
    for w in weights[:-1]:
        ends = np.maximum(ends @ w.T, 0)
    stretched = np.linalg.norm(np.diff(ends @ weights[-1].T, axis=0))
    assert stretched <= spectral_product(weights) * np.linalg.norm(x - y) * (1 + 1e-12)


def test_deep_networks_do_not_overflow():
    weights = [1e200 * np.eye(3)] * 4
    assert log_path_norm(weights, p=2) == pytest.approx(800 * np.log(10) + 0.5 * np.log(3))
    assert log_spectral_product(weights) == pytest.approx(800 * np.log(10))
    assert path_norm(weights) == spectral_product(weights) == np.inf
    small = [1e-200 * np.eye(3)] * 4
    assert path_norm(small) == 0.0
    assert log_path_norm(small, p=2) == pytest.approx(-800 * np.log(10) + 0.5 * np.log(3))
    assert frobenius_norm(weights) == pytest.approx(1e200 * np.sqrt(12))


def test_a_dead_layer_leaves_nothing():
    dead = [np.ones((2, 2)), np.zeros((1, 2))]
    assert path_norm(dead) == spectral_product(dead) == 0.0
    assert log_path_norm(dead) == log_spectral_product(dead) == -np.inf
    assert frobenius_norm([np.zeros((2, 2))]) == 0.0


@pytest.mark.parametrize("norm", [path_norm, log_path_norm, frobenius_norm])
@pytest.mark.parametrize(
    ("weights", "biases", "message"),
    [
        ([], None, "weights must hold at least one layer"),
        ([[1.0, 2.0]], None, r"weights\[0\] must have 2 dimensions"),
        ([[[np.nan]]], None, r"weights\[0\] has NaN"),
        ([np.ones((2, 3)), np.ones((1, 3))], None, r"weights\[1\] must have 2 columns"),
        ([np.ones((2, 3))], [], "biases must hold 1 arrays, one a layer, got 0"),
        ([np.ones((2, 3))], [np.ones(3)], r"biases\[0\] must have 2 entries, one an output, got 3"),
        ([np.ones((2, 3))], [[np.inf, 0.0]], r"biases\[0\] has NaN or infinite"),
    ],
)
def test_layers_must_fit_together(norm, weights, biases, message):
    with pytest.raises(ValueError, match=message):
        norm(weights, biases=biases)


def test_spectral_product_checks_its_layers_and_p_is_positive():
    with pytest.raises(ValueError, match=r"weights\[1\] must have 2 columns"):
        spectral_product([np.ones((2, 3)), np.ones((1, 3))])
    with pytest.raises(ValueError, match="weights must hold at least one layer"):
        log_spectral_product([])
    for p in (0, -1, np.nan):
        with pytest.raises(ValueError, match="p "):
            path_norm([[[1.0]]], p=p)
