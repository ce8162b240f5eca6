"""SGD, Hessians and kernels on images against dense algebra, naive loops and the paper's claims."""

import numpy as np
import pytest
import xarray as xr
from scipy.signal import correlate2d
from scipy.spatial.distance import pdist
from sklearn.datasets import load_digits
from sklearn.metrics.pairwise import linear_kernel, rbf_kernel

from sims.interpolation import (
    KERNELS,
    LOSSES,
    STUDIES,
    interpolant_hessians,
    kernel_interpolation,
    sgd_limit,
)
from store import datasets

SMALL = {
    sgd_limit: {"n_examples": 5, "n_features": 12, "epochs": 20, "looks": 4},
    interpolant_hessians: {"n_examples": 5, "n_features": 12},
    kernel_interpolation: {"train_size": 60, "test_size": 20, "ridges": (0.0, 0.1)},
}
TINY = {"train_size": 60, "test_size": 20}


def split(seed, train_size, test_size):
    """The digits that a seed draws: images, and labels, the training set first."""
    digits = load_digits()
    rows = np.random.default_rng([seed, 0]).permutation(1797)[: train_size + test_size]
    return digits.images[rows] / 16, digits.target[rows]


def dense_measures(features, kernel, labels, train_size, ridge):
    """Errors and norm of the fit of true labels by one dense solve."""
    targets = np.eye(10)[labels]
    K = kernel(features, features[:train_size])
    own = K[:train_size]
    alpha = np.linalg.solve(own + ridge * np.eye(train_size), targets[:train_size])
    wrong = (K @ alpha).argmax(1) != labels
    signs = np.where(labels[:train_size] < 5, 1.0, -1.0)
    whole = np.linalg.solve(own + ridge * np.eye(train_size), signs)
    return {
        "test_error": wrong[train_size:].mean(),
        "train_error": wrong[:train_size].mean(),
        "residual": np.max(np.abs(targets[:train_size] - own @ alpha)),
        "rkhs_norm": np.sqrt(np.sum(alpha * (own @ alpha))),
        "label_complexity": np.sqrt(signs @ whole),
    }


def assert_measures(data, expected, rtol=1e-9):
    for name, value in expected.items():
        np.testing.assert_allclose(data[name], value, rtol=rtol, atol=1e-10, err_msg=name)


# ------------------------------------------------------------------------------------- all studies


@pytest.mark.parametrize("study", STUDIES)
def test_a_study_is_a_pure_function_of_its_seed(study):
    once, again = study(**SMALL[study], seed=1000), study(**SMALL[study], seed=1000)
    xr.testing.assert_identical(once, again)
    assert not once.equals(study(**SMALL[study], seed=1001))
    for variable in once.data_vars.values():
        assert variable.attrs["units"]
        assert variable.attrs["long_name"]
        assert np.all(np.isfinite(variable))


# -------------------------------------------------------------------------------------------- SGD


@pytest.fixture(scope="module")
def sgd():
    return sgd_limit(start_norms=[0.0, 1.0, 20.0], seed=1000)


def test_sgd_ends_at_the_predicted_interpolant(sgd):
    end = sgd.isel(epoch=-1)
    assert float(end.epoch) == 400
    assert np.all(end.distance < 1e-6)
    assert np.all((end.null_drift > 0) & (end.null_drift < 1e-6))  # it is rounding
    np.testing.assert_allclose(end.norm, end.predicted_norm, rtol=1e-6)
    assert end.norm[0] == pytest.approx(float(end.minimum_norm), rel=1e-6)


def test_sgd_remembers_its_start(sgd):
    # Of a random direction in d dimensions, (d - n)/d of the square is orthogonal to n inputs.
    assert float(sgd.norm[2]) == pytest.approx(20 * np.sqrt(0.75), rel=0.05)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(sgd.norm, float(sgd.minimum_norm), rtol=1e-2)


def test_distance_falls_while_sgd_runs(sgd):
    assert sgd.distance.dims == ("start_norm", "epoch")
    assert sgd.distance.shape == (3, 100)
    assert np.all(sgd.distance[:, 0] > 0.05)
    assert np.all(np.diff(sgd.distance[:, :10], axis=1) < 0)


def test_an_unfinished_run_is_far_from_the_limit():
    assert np.all(sgd_limit(epochs=1, looks=1, seed=1000).distance > 0.01)


# --------------------------------------------------------------------------------------- Hessians


def test_interpolants_have_one_singular_hessian():
    found = interpolant_hessians(seed=1000)
    n, d = int(found.n_examples), int(found.n_features)
    assert list(found.loss.values) == list(LOSSES) == ["square", "log_cosh", "poisson"]
    assert np.all(found.difference < 1e-10)
    assert np.all(found.theory_difference < 1e-10)
    assert np.all(found["rank"] == n)
    assert n < d
    assert np.all(found.residual < 1e-10)
    near, far = found.norm.values
    assert far == pytest.approx(np.hypot(near, 100.0))


def test_away_from_interpolants_the_hessian_differs():
    # At 1e12 from the shortest interpolant, rounding alone moves the predictions by 1e-4 or so.
    found = interpolant_hessians(far=1e12, seed=1000)
    assert float(found.residual.sel(interpolant="far")) > 1e-6
    assert float(found.difference.sel(loss="poisson")) > 1e-7
    assert float(found.difference.sel(loss="square")) < 1e-10


@pytest.mark.parametrize("loss", LOSSES)
def test_curvatures_are_second_derivatives(loss):
    functions = {
        "square": lambda z, y: (z - y) ** 2 / 2,
        "log_cosh": lambda z, y: np.log(np.cosh(z - y)),
        "poisson": lambda z, y: np.exp(z) - np.exp(y) - np.exp(y) * (z - y),
    }
    z, y, h = np.array([0.3, -1.0, 0.5]), np.array([0.3, 0.2, -0.4]), 1e-4
    f = functions[loss]
    numeric = (f(z + h, y) - 2 * f(z, y) + f(z - h, y)) / h**2
    np.testing.assert_allclose(LOSSES[loss](z, y), numeric, atol=1e-6)
    np.testing.assert_array_equal(f(y, y), 0.0)


# ------------------------------------------------------------------------------- tiled kernel fits


@pytest.mark.parametrize("tile", [1, 7, 32, 33, 66, 67, 1000])
@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_tiles_give_what_a_dense_solve_gives(tile, ridge):
    found = kernel_interpolation(
        train_size=67, test_size=30, gamma=0.4, ridges=[ridge], tile=tile, seed=1000
    )
    images, labels = split(1000, 67, 30)
    expected = dense_measures(
        images.reshape(97, -1), lambda a, b: rbf_kernel(a, b, gamma=0.4), labels, 67, ridge
    )
    assert_measures(found.sel(labels="true", ridge=ridge), expected)
    assert int(found.n_features) == 64


@pytest.mark.parametrize("tile", [16, 60])
def test_other_kernels(tile):
    images, labels = split(1000, 60, 20)
    rows = images.reshape(80, -1)
    kernels = {
        "gaussian": lambda a, b: rbf_kernel(a, b, gamma=0.7),
        "laplacian": lambda a, b: np.exp(-0.7 * np.linalg.norm(a[:, None] - b, axis=-1)),
        "linear": linear_kernel,
    }
    assert tuple(kernels) == KERNELS
    for name, kernel in kernels.items():
        found = kernel_interpolation(
            **TINY, kernel=name, gamma=0.7, ridges=[0.5], tile=tile, seed=1000
        )
        expected = dense_measures(rows, kernel, labels, 60, 0.5)
        assert_measures(found.sel(labels="true", ridge=0.5), expected, rtol=1e-10)


def test_each_ridge_of_several_is_that_ridge_alone():
    for kind in ({"features": "pixels"}, {"features": "random_convolution", "n_filters": 20}):
        together = kernel_interpolation(**TINY, **kind, ridges=[0.1, 2.0, 0.5], seed=1000)
        for ridge in (0.1, 2.0, 0.5):
            alone = kernel_interpolation(**TINY, **kind, ridges=[ridge], seed=1000)
            xr.testing.assert_allclose(together.sel(ridge=[ridge]), alone, rtol=1e-10)


def test_forced_labels_are_true_ones_where_not_tested():
    found = kernel_interpolation(**TINY, force_test=True, gamma=0.4, seed=1000)
    images, labels = split(1000, 60, 20)
    K = rbf_kernel(images.reshape(80, -1), gamma=0.4)
    targets = np.eye(10)[labels]
    norm = np.sqrt(np.sum(targets * np.linalg.solve(K, targets)))
    assert list(found.labels.values) == ["true", "forced"]
    assert float(found.rkhs_norm[0, 0]) == pytest.approx(norm)
    np.testing.assert_array_equal(found.train_error, 0.0)
    assert float(found.test_error[0, 0]) == 0.0
    # Only 20 of 80 labels change: the norm is between that of true and of random ones.
    random = kernel_interpolation(train_size=80, test_size=1, gamma=0.4, seed=1000).rkhs_norm.sel(
        labels="random"
    )
    assert norm < float(found.rkhs_norm[0, 1]) < float(random[0])


# --------------------------------------------------------------------------------------- features


def naive_gabor(images):
    """Pooled magnitudes of Gabor responses by direct correlation with zeros around the image."""
    height, width = images.shape[1:]
    reach = np.arange(-40, 41)
    rows, columns = np.meshgrid(reach, reach, indexing="ij")

    def windows(length):
        cells = min(8, length // 2)
        centers = (np.arange(cells) + 0.5) * length / cells - 0.5
        weights = np.exp(-2 * ((np.arange(length) - centers[:, None]) * cells / length) ** 2)
        return weights / weights.sum(1, keepdims=True)

    blocks = []
    for wavelength in (4, 8):
        envelope = np.exp(-(rows**2 + columns**2) / (2 * (wavelength / 2) ** 2))
        envelope /= envelope.sum()
        for k in range(8):
            along = columns * np.cos(np.pi * k / 8) + rows * np.sin(np.pi * k / 8)
            gabor = envelope * np.exp(2j * np.pi * along / wavelength)
            gabor -= gabor.sum() * envelope
            met = gabor[41 - height : 40 + height, 41 - width : 40 + width]  # by some image point
            size = [
                np.hypot(*(correlate2d(image, part, mode="same") for part in (met.real, met.imag)))
                for image in images
            ]
            blocks.append(
                (windows(height) @ np.array(size) @ windows(width).T).reshape(len(images), -1)
            )
    return np.concatenate(blocks, axis=1)


def test_gabor_features_by_direct_correlation():
    found = kernel_interpolation(train_size=12, test_size=4, features="gabor", gamma=0.5, seed=1000)
    images, labels = split(1000, 12, 4)
    features = naive_gabor(images)
    features /= np.sqrt(np.median(pdist(features[:12], "sqeuclidean")))
    expected = dense_measures(features, lambda a, b: rbf_kernel(a, b, gamma=0.5), labels, 12, 0.0)
    assert_measures(found.sel(labels="true", ridge=0.0), expected, rtol=1e-4)
    assert int(found.n_features) == features.shape[1] == 2 * 8 * 16


def naive_convolution(images, train_size, n_filters, rng):
    """Standardized features of random patches, one response at a time; images (N, h, w, c)."""
    size = 5 if images.shape[1] < 12 else 6
    places = [
        (i, j) for i in range(images.shape[1] - size + 1) for j in range(images.shape[2] - size + 1)
    ]

    def patch(image, place):
        i, j = place
        values = image[i : i + size, j : j + size].ravel()
        values = values - values.mean()
        return values / np.sqrt(values.var() + 10 / 255**2)

    sample = []
    chosen = rng.permutation(train_size)[:2000]
    for start in range(0, len(chosen), 64):
        some = chosen[start : start + 64]
        which = rng.integers(len(places), size=(len(some), 40))
        sample += [
            patch(images[i], places[k]) for i, row in zip(some, which, strict=True) for k in row
        ]
    sample = np.array(sample)
    mean = sample.mean(0)
    values, axes = np.linalg.eigh(np.cov(sample.T))
    whitening = axes @ np.diag((values + 0.1) ** -0.5) @ axes.T
    filters = (sample[rng.integers(len(sample), size=n_filters)] - mean) @ whitening
    filters /= np.linalg.norm(filters, axis=1, keepdims=True)
    half = [(length - size + 2) // 2 for length in images.shape[1:3]]
    features = np.zeros((len(images), 2, 2, 2, n_filters))
    for n, image in enumerate(images):
        for i, j in places:
            response = filters @ whitening @ (patch(image, (i, j)) - mean)
            cell = features[n, :, int(i >= half[0]), int(j >= half[1])]
            cell[0] += np.maximum(response - 0.25, 0)
            cell[1] += np.maximum(-response - 0.25, 0)
    features = features.reshape(len(images), -1)
    features -= features[:train_size].mean(0)
    spread = features[:train_size].std(0)
    features /= np.where(spread > 0, spread, 1.0)
    return np.hstack([np.ones((len(images), 1)), features / np.sqrt(features.shape[1])])


def test_random_convolution_one_response_at_a_time():
    found = kernel_interpolation(
        **TINY, features="random_convolution", n_filters=30, ridges=[0.01], seed=1000
    )
    images, labels = split(1000, 60, 20)
    rng = np.random.default_rng([1000, 2])
    features = naive_convolution(images[..., None], 60, 30, rng)
    expected = dense_measures(features, linear_kernel, labels, 60, 0.01)
    assert_measures(found.sel(labels="true", ridge=0.01), expected, rtol=1e-4)
    assert int(found.n_features) == features.shape[1] == 241


# --------------------------------------------------------------------------- data sets from folders


def write_gray(folder, rng):
    """Ten classes of 28 x 28 images; the test file's labels are all 9, the others' all below."""
    for part, n in (("train", 40), ("t10k", 15)):
        images = rng.integers(0, 256, (n, 28, 28), np.uint8)
        labels = np.full(n, 9, np.uint8) if part == "t10k" else rng.integers(0, 9, n, np.uint8)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / f"{part}-{kind}-ubyte").write_bytes(header + array.tobytes())


@pytest.mark.parametrize("features", ["pixels", "gabor", "random_convolution"])
def test_gray_images_are_drawn_from_both_files(tmp_path, features):
    write_gray(tmp_path, np.random.default_rng(0))
    found = kernel_interpolation(
        dataset=datasets.identify(tmp_path),
        data_dir=str(tmp_path),
        train_size=40,
        test_size=15,
        features=features,
        n_filters=8,
        seed=1000,
    )
    true = found.sel(labels="true", ridge=0.0)
    assert (float(true.train_error), float(true.test_error)) == (0.0, 1.0)
    assert (
        int(found.n_features) == {"pixels": 784, "gabor": 1024, "random_convolution": 65}[features]
    )


def write_color(folder, rng, order=(0, 1, 2)):
    for name in [*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"]:
        labels = rng.integers(0, 10, (4, 1), np.uint8)
        pixels = rng.integers(0, 256, (4, 3, 1024), np.uint8)[:, order].reshape(4, 3072)
        (folder / name).write_bytes(np.hstack([labels, pixels]).tobytes())


def test_gabor_filters_see_the_mean_of_the_colors(tmp_path):
    found = []
    for order in ((0, 1, 2), (1, 2, 0)):
        write_color(tmp_path, np.random.default_rng(0), order)
        name = datasets.identify(tmp_path)
        data = {"dataset": name, "data_dir": str(tmp_path), "train_size": 20, "test_size": 4}
        found.append(kernel_interpolation(**data, features="gabor", seed=1000))
    xr.testing.assert_allclose(*found, rtol=1e-4)


def test_color_images_by_pixels_and_convolution(tmp_path):
    write_color(tmp_path, np.random.default_rng(0))
    name = datasets.identify(tmp_path)
    data = {"dataset": name, "data_dir": str(tmp_path), "train_size": 20, "test_size": 4}
    rng = np.random.default_rng([1000, 0])
    parts = [datasets.load(name, tmp_path, part=part) for part in ("train", "test")]
    rows = [rng.permutation(len(part.labels)) for part in parts]
    drawn = list(zip(parts, rows, strict=True))
    images = np.concatenate([part.images[row] for part, row in drawn]) / 255
    labels = np.concatenate([part.labels[row] for part, row in drawn])
    found = kernel_interpolation(**data, gamma=0.01, seed=1000)
    expected = dense_measures(
        images.reshape(24, -1), lambda a, b: rbf_kernel(a, b, gamma=0.01), labels, 20, 0.0
    )
    assert_measures(found.sel(labels="true", ridge=0.0), expected, rtol=1e-5)
    found = kernel_interpolation(**data, features="random_convolution", n_filters=6, seed=1000)
    features = naive_convolution(images, 20, 6, np.random.default_rng([1000, 2]))
    expected = dense_measures(features, linear_kernel, labels, 20, 0.0)
    assert_measures(found.sel(labels="true", ridge=0.0), expected, rtol=1e-3)


# ------------------------------------------------------------------------------ claims of the paper


@pytest.fixture(scope="module")
def digits():
    return kernel_interpolation(gamma=0.5, ridges=[0.0, 1e-3, 1e-2, 1e-1], seed=1000)


def test_interpolation_without_a_ridge_generalizes_and_a_ridge_adds_nothing(digits):
    plain = digits.sel(ridge=0.0)
    np.testing.assert_array_equal(plain.train_error, 0.0)
    assert float(plain.test_error.sel(labels="true")) <= 0.02
    errors = digits.test_error.sel(labels="true")
    assert float(errors[0] - errors.min()) <= 0.006
    assert abs(float(plain.test_error.sel(labels="random")) - 0.9) < 0.06


def test_random_labels_take_a_larger_norm(digits):
    true, random = digits.rkhs_norm.sel(ridge=0.0)
    assert float(random / true) >= 1.5
    true, random = digits.label_complexity.sel(ridge=0.0)
    assert float(random / true) >= 1.5


def test_better_features_have_a_lower_error_and_a_larger_norm(digits):
    pixels = digits.sel(ridge=0.0, labels="true")
    found = kernel_interpolation(features="random_convolution", n_filters=400, seed=1000)
    convolution = found.sel(ridge=0.0, labels="true")
    assert float(convolution.test_error) <= float(pixels.test_error)
    assert float(convolution.rkhs_norm) > float(pixels.rkhs_norm)


def test_a_fit_can_be_forced_to_be_wrong_on_the_test_set():
    found = kernel_interpolation(gamma=0.5, force_test=True, seed=1000).sel(ridge=0.0)
    true, forced = found.rkhs_norm
    np.testing.assert_array_equal(found.train_error, 0.0)
    assert float(found.test_error.sel(labels="forced")) >= 0.85
    assert float(forced / true) >= 2


# ---------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("study", "arguments", "message"),
    [
        (sgd_limit, {"n_examples": 0}, "n_examples must be an integer of at least 1, got 0"),
        (sgd_limit, {"n_examples": 5, "n_features": 5}, "n_features must be .* at least 6, got 5"),
        (sgd_limit, {"start_norms": [-1.0]}, "start_norms must be at least 0, got -1"),
        (sgd_limit, {"start_norms": []}, "start_norms is empty"),
        (sgd_limit, {"step": 0.0}, "step must be positive, got 0"),
        (sgd_limit, {"step": 2.0}, r"step must be in \(0, 2\), got 2"),
        (sgd_limit, {"epochs": 3, "looks": 4}, "epochs must be .* at least 4, got 3"),
        (sgd_limit, {"looks": 0}, "looks must be .* at least 1, got 0"),
        (interpolant_hessians, {"n_examples": 1.5}, "n_examples must be an integer"),
        (interpolant_hessians, {"n_features": 60}, "n_features must be .* at least 61, got 60"),
        (interpolant_hessians, {"far": 0.0}, "far must be positive, got 0"),
        (kernel_interpolation, {"tile": 0}, "tile must be an integer of at least 1, got 0"),
        (kernel_interpolation, {"ridges": []}, "ridges is empty"),
        (kernel_interpolation, {"ridges": [0.0, -1.0]}, "ridges must be at least 0, got -1"),
        (kernel_interpolation, {"gamma": 0.0}, "gamma must be positive, got 0"),
        (
            kernel_interpolation,
            {"features": "sift"},
            "features is 'sift'; it must be one of pixels",
        ),
        (
            kernel_interpolation,
            {"kernel": "cubic"},
            "kernel is 'cubic'; it must be one of gaussian",
        ),
        (
            kernel_interpolation,
            {"features": "random_convolution", "kernel": "gaussian"},
            "kernel is 'gaussian'; for random_convolution it must be linear",
        ),
        (kernel_interpolation, {"n_filters": 0}, "n_filters must be .* at least 1, got 0"),
        (kernel_interpolation, {"train_size": 0}, "train_size must be .* at least 1, got 0"),
        (kernel_interpolation, {"test_size": 0}, "test_size must be .* at least 1, got 0"),
        (
            kernel_interpolation,
            {"train_size": 1700, "test_size": 98},
            "'digits' has 1797 images in part 'all': too few for 1700 to train and 98 to test",
        ),
        (kernel_interpolation, {"dataset": "mnist"}, "directory must be given: 'mnist' is not"),
        (
            kernel_interpolation,
            {"kernel": "linear", "train_size": 300, "test_size": 10},
            "K with ridge 0 is not positive definite to working precision",
        ),
    ],
)
def test_bad_input(study, arguments, message):
    with pytest.raises(ValueError, match=message):
        study(**arguments)


def test_a_file_with_too_few_images_is_named(tmp_path):
    write_gray(tmp_path, np.random.default_rng(0))
    data = {"dataset": datasets.identify(tmp_path), "data_dir": str(tmp_path)}
    with pytest.raises(ValueError, match="has 15 images in part 'test': too few for 9 to train"):
        kernel_interpolation(**data, train_size=9, test_size=16)
