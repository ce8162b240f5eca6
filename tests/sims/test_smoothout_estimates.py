import numpy as np
import pytest
from scipy.stats import norm
from stat_asserts import assert_mean

from sims import streams
from sims._smoothout_kernels import WIDTH
from sims.smoothout import smoothed_gradient, smoothed_value, volume_fraction
from theory.landscapes import BoxWell, DoubleWell, Quadratic

ALPHA = 1e-5
WELLS = DoubleWell(barrier=1.0, tilt=0.3)
BOWL = Quadratic(hessian_matrix=[[2.0, 0.5], [0.5, 1.0]], center=[0.3, -0.4])
LANDSCAPES = pytest.mark.parametrize(
    ("landscape", "x"),
    [pytest.param(WELLS, 0.6, id="line"), pytest.param(BOWL, [0.5, 0.2], id="space")],
)
NOISES = pytest.mark.parametrize("noise", ["uniform", "normal"])
REPEATS = 4000


def repeated(x, times=REPEATS):
    return np.broadcast_to(x, (times, *np.shape(x)))


# --- the same noise, in NumPy ---------------------------------------------------------------------


def numbers(state, count, normal):
    if not normal:
        words = (np.uint64(streams.next_word(state)) for _ in range(count))
        return [streams.to_centered_uniform(word) for word in words]
    return np.ravel([streams.normals(state) for _ in range(-(-count // 2))])[:count]


def block_noise(states, count, normal):
    """Numbers (count,) of one block, row after row."""
    each = 2 * -(-count // (2 * WIDTH))
    return np.transpose([numbers(s, each, normal) for s in states]).ravel()[:count]


def noise_of(rng, parts, d, normal):
    """Noise (draws, d) of one point, whose draws come in parts."""
    states = streams.states(rng, len(parts) * WIDTH).reshape(len(parts), WIDTH, 4)
    rows = [block_noise(s, n * d, normal) for s, n in zip(states, parts, strict=True)]
    return np.concatenate(rows).reshape(-1, d)


@LANDSCAPES
@NOISES
def test_estimates_are_those_of_numpy(landscape, x, noise):
    theta = 0.4 * noise_of(3, [4096, 904], np.size(x), noise == "normal")
    noisy = x + theta.reshape(len(theta), *np.shape(x))
    options = {"strength": 0.4, "noise": noise, "draws": 5000, "rng": 3}
    for estimate, samples in (
        (smoothed_value(landscape, x, **options), landscape.value(noisy)),
        (smoothed_gradient(landscape, x, **options), landscape.gradient(noisy)),
    ):
        assert np.shape(estimate.mean) == samples.shape[1:]
        np.testing.assert_allclose(estimate.mean, samples.mean(axis=0), rtol=1e-12)
        error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
        np.testing.assert_allclose(estimate.standard_error, error, rtol=1e-10)


def test_faces_are_those_of_numpy():
    x, theta = np.array([0.5, 0.2]), 0.4 * noise_of(3, [300], 2, False)
    estimate = smoothed_gradient(BOWL, x, strength=0.4, estimator="faces", draws=300, rng=3)
    samples = np.empty((300, 2))
    for i in range(2):
        upper, lower = x + theta, x + theta
        upper[:, i], lower[:, i] = x[i] + 0.4, x[i] - 0.4
        samples[:, i] = (BOWL.value(upper) - BOWL.value(lower)) / 0.8
    np.testing.assert_allclose(estimate.mean, samples.mean(axis=0), rtol=1e-12)
    error = samples.std(axis=0, ddof=1) / np.sqrt(300)
    np.testing.assert_allclose(estimate.standard_error, error, rtol=1e-10)


def test_deviations_far_below_the_mean_are_not_lost():
    high = WELLS + 1e8
    options = {"strength": 0.4, "draws": 5000, "rng": 3}
    low_error = smoothed_value(WELLS, 0.6, **options).standard_error
    high_error = smoothed_value(high, 0.6, **options).standard_error
    assert high_error == pytest.approx(low_error, rel=1e-7)


# --- closed forms ---------------------------------------------------------------------------------


@LANDSCAPES
@NOISES
def test_means_are_those_of_the_smoothed_landscape(landscape, x, noise):
    smooth = landscape.smoothed(0.4, noise=noise)
    options = {"strength": 0.4, "noise": noise, "draws": 50, "rng": 5}
    value = smoothed_value(landscape, repeated(x), **options)
    slope = smoothed_gradient(landscape, repeated(x), **options)
    assert value.mean.shape == (REPEATS,)
    assert slope.mean.shape == (REPEATS, *np.shape(x))
    assert_mean(value.mean, smooth.value(x), ALPHA)
    slopes, exact = slope.mean.reshape(REPEATS, -1), np.ravel(smooth.gradient(x))
    for samples, expected in zip(slopes.T, exact, strict=True):
        assert_mean(samples, expected, ALPHA)
    other = landscape.smoothed(0.45, noise=noise)
    with pytest.raises(AssertionError):
        assert_mean(value.mean, other.value(x), ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(slopes[:, 0], exact[0] + 0.05, ALPHA)


@LANDSCAPES
def test_squared_standard_errors_are_variances_of_the_mean(landscape, x):
    options = {"strength": 0.4, "draws": 50, "rng": 6}
    for estimate in (
        smoothed_value(landscape, repeated(x), **options),
        smoothed_gradient(landscape, repeated(x), **options),
    ):
        means, errors = (np.reshape(part, (REPEATS, -1))[:, 0] for part in estimate)
        excess = (means - means.mean()) ** 2 * REPEATS / (REPEATS - 1) - errors**2
        assert_mean(excess, 0.0, ALPHA)
        with pytest.raises(AssertionError):
            assert_mean(excess - 0.15 * errors**2, 0.0, ALPHA)


def test_faces_see_the_walls_of_a_box_well_and_paths_do_not():
    well = BoxWell(width=0.5)
    options = {"strength": 0.6, "draws": 100, "rng": 0}
    x = np.array([-0.9, 0.3, 0.8])
    faces = smoothed_gradient(well, x, estimator="faces", **options)
    np.testing.assert_allclose(faces.mean, well.smoothed(0.6).gradient(x), rtol=1e-12)
    assert np.any(faces.mean != 0.0)
    assert np.all(faces.standard_error == 0.0)
    paths = smoothed_gradient(well, x, **options)
    assert np.all(paths.mean == 0.0)
    assert np.all(paths.standard_error == 0.0)


def test_faces_in_space_are_unbiased():
    x, exact = np.array([0.5, 0.2]), BOWL.gradient([0.5, 0.2])  # noise does not bend a quadratic
    estimate = smoothed_gradient(
        BOWL, repeated(x), strength=0.4, estimator="faces", draws=20, rng=7
    )
    for k in range(2):
        assert_mean(estimate.mean[:, k], exact[k], ALPHA)
        with pytest.raises(AssertionError):
            assert_mean(estimate.mean[:, k], exact[k] + 0.01, ALPHA)


# --- volume fractions -----------------------------------------------------------------------------


def share_inside(low, high, strength, noise):
    """Probability that one coordinate falls between two numbers."""
    if noise == "normal":
        return norm.cdf(high / strength) - norm.cdf(low / strength)
    return np.clip(high / strength, -1, 1) / 2 - np.clip(low / strength, -1, 1) / 2


@NOISES
@pytest.mark.parametrize("offset", [[0.0] * 5, [0.1, -0.3, 0.4]], ids=["centered", "moved"])
def test_fraction_inside_a_box(offset, noise):
    lower, upper = np.array(offset) - 0.8, np.array(offset) + 0.8
    exact = np.prod(share_inside(lower, upper, 1.0, noise))
    estimate = volume_fraction(
        repeated(offset), radius=0.8, strength=1.0, noise=noise, draws=50, rng=8
    )
    if offset[0] == 0.0 and noise == "uniform":
        assert exact == pytest.approx(0.8**5)
    assert_mean(estimate.mean, exact, ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(estimate.mean, exact + 0.01, ALPHA)
    binomial = np.sqrt(estimate.mean * (1 - estimate.mean) / 49)
    np.testing.assert_allclose(estimate.standard_error, binomial, rtol=1e-10, atol=1e-15)


def test_fraction_inside_a_ball():
    options = {"strength": 1.0, "body": "ball", "draws": 50, "rng": 9}
    for m, radius, exact in ((2, 1.0, np.pi / 4), (3, 0.9, np.pi * 0.9**3 / 6)):
        inside = volume_fraction(np.zeros((REPEATS, m)), radius=radius, **options).mean
        assert_mean(inside, exact, ALPHA)
        with pytest.raises(AssertionError):
            assert_mean(inside, 0.98 * exact, ALPHA)
    half = volume_fraction(repeated([1.0, 0.0]), radius=0.5, **options).mean
    assert_mean(half, np.pi / 32, ALPHA)
    normal = volume_fraction(repeated([0.0, 0.0]), radius=1.0, noise="normal", **options).mean
    assert_mean(normal, 1.0 - np.exp(-0.5), ALPHA)


def test_fractions_that_are_certain():
    options = {"strength": 1.0, "draws": 20, "rng": 0}
    for offset, radius, exact in (([3.0, 0.0], 1.0, 0.0), ([0.5, 0.0], 2.0, 1.0)):
        for body in ("box", "ball"):
            assert volume_fraction(offset, radius=radius, body=body, **options) == (exact, 0.0)


# --- streams --------------------------------------------------------------------------------------


def test_bits_do_not_depend_on_threads_or_companions():
    x = np.linspace(-1.0, 1.0, 150)
    options = {"strength": 0.3, "draws": 5000, "rng": 1}
    found = smoothed_value(WELLS, x, **options)
    for part, same in zip(found, smoothed_value(WELLS, x, threads=3, **options), strict=True):
        np.testing.assert_array_equal(same, part)
    few = smoothed_value(WELLS, x[:7], **options)
    np.testing.assert_array_equal(few.mean, found.mean[:7])
    other = smoothed_value(WELLS, x, **{**options, "rng": 2})
    assert np.all(other.mean != found.mean)


def test_shapes_follow_those_of_the_points():
    options = {"strength": 0.3, "draws": 4}
    assert smoothed_value(WELLS, np.zeros((2, 3)), **options).mean.shape == (2, 3)
    assert smoothed_value(BOWL, np.zeros((3, 1, 2)), **options).mean.shape == (3, 1)
    assert smoothed_gradient(BOWL, np.zeros((3, 1, 2)), **options).mean.shape == (3, 1, 2)
    fraction = volume_fraction(np.zeros((3, 1, 2)), radius=1.0, **options)
    assert fraction.mean.shape == fraction.standard_error.shape == (3, 1)


# --- what is refused ------------------------------------------------------------------------------

BAD = [
    ({"strength": 0.0}, "strength must be positive, got 0"),
    ({"strength": np.nan}, "strength has NaN or infinite"),
    ({"noise": "cauchy"}, "noise must be one of uniform, normal, got 'cauchy'"),
    ({"draws": 1}, "draws must be an integer of at least 2, got 1"),
    ({"threads": 0}, "threads must be an integer of at least 1, got 0"),
]
BAD_IDS = [f"{i}" for i in range(len(BAD))]


@pytest.mark.parametrize(("change", "message"), BAD, ids=BAD_IDS)
def test_bad_arguments_are_named(change, message):
    options = {"strength": 0.3, "draws": 10, **change}
    for estimate in (smoothed_value, smoothed_gradient):
        with pytest.raises(ValueError, match=message):
            estimate(WELLS, 0.0, **options)
    with pytest.raises(ValueError, match=message):
        volume_fraction([0.0], radius=1.0, **options)


def test_bad_points_and_choices_are_named():
    options = {"strength": 0.3, "draws": 10}
    with pytest.raises(ValueError, match="x has NaN or infinite values"):
        smoothed_value(WELLS, np.inf, **options)
    with pytest.raises(ValueError, match=r"x must have shape \(..., 2\), got \(3,\)"):
        smoothed_value(BOWL, np.zeros(3), **options)
    with pytest.raises(TypeError, match="landscape must be a LineLandscape or Space"):
        smoothed_value(np.square, 0.0, **options)
    with pytest.raises(ValueError, match="estimator must be one of pathwise, faces, got 'score'"):
        smoothed_gradient(WELLS, 0.0, estimator="score", **options)
    with pytest.raises(ValueError, match="noise is 'normal': only uniform noise has faces"):
        smoothed_gradient(WELLS, 0.0, estimator="faces", noise="normal", **options)
    with pytest.raises(ValueError, match="body must be one of box, ball, got 'cone'"):
        volume_fraction([0.0], radius=1.0, body="cone", **options)
    with pytest.raises(ValueError, match="radius must be positive, got 0"):
        volume_fraction([0.0], radius=0.0, **options)
    with pytest.raises(ValueError, match=r"offset must have shape \(..., m\), got a number"):
        volume_fraction(0.0, radius=1.0, **options)
    with pytest.raises(ValueError, match="offset has NaN or infinite"):
        volume_fraction([np.nan], radius=1.0, **options)


def test_overflow_is_told():
    options = {"strength": 0.3, "draws": 10}
    with pytest.raises(ValueError, match=r"the value overflows within the noise, of strength 0\.3"):
        smoothed_value(WELLS, 1e100, **options)
    with pytest.raises(ValueError, match="the gradient overflows within the noise"):
        smoothed_gradient(WELLS, 1e110, **options)
