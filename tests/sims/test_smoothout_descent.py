import numpy as np
import pytest
from stat_asserts import assert_mean

from sims import streams
from sims._smoothout_kernels import NUMBERS, WIDTH
from sims.smoothout import descend, first_arrival
from sims.streams import LANES
from theory.landscapes import DoubleWell, LineLandscape, Parabola, Quadratic

ALPHA = 1e-5
BOWL = Parabola(curvature=2.0)
WELLS = DoubleWell(barrier=1.0, tilt=0.3)
SADDLE = Quadratic(hessian_matrix=[[2.0, 0.5], [0.5, 1.0]], center=[0.3, -0.4])
LANDSCAPES = pytest.mark.parametrize(
    "landscape", [pytest.param(WELLS, id="line"), pytest.param(SADDLE, id="space")]
)
PLAIN = {"strength": 0.2, "learning_rate": 0.05}
SETTINGS = {
    "uniform": {},
    "normal": {"noise": "normal"},
    "copies": {"copies": 3},
    "normal copies": {"copies": 3, "noise": "normal"},
    "noise kept": {"denoise": False},
    "heavy ball": {"momentum": 0.8, "gradient_noise": 0.3},
    "heavy ball, noise kept": {"momentum": 0.8, "denoise": False, "noise": "normal"},
    "schedule": {"schedule": np.linspace(0.0, 2.0, 25), "copies": 2, "gradient_noise": 0.1},
}


def starts(landscape, n=5):
    points = np.random.default_rng(1).uniform(-1.5, 1.5, (n, landscape.dimension))
    return points[:, 0] if isinstance(landscape, LineLandscape) else points


# --- the rule in plain Python, from the numbers of the streams ------------------------------------


def numbers(state, count, normal):
    """The first numbers of one stream."""
    if not normal:
        words = (np.uint64(streams.next_word(state)) for _ in range(count))
        return [streams.to_centered_uniform(word) for word in words]
    return np.ravel([streams.normals(state) for _ in range(-(-count // 2))])[:count]


def noise_of(seed, shape, normal, line, together):
    """Noise (n, steps, ...) of n trajectories: a stream each on the line, in space a block.

    In space it is drawn for so many steps together, in whole pairs of rows of the block.
    """
    n, steps, each = shape[0], shape[1], int(np.prod(shape[2:]))
    if line:
        count = steps * each
        return np.reshape([numbers(s, count, normal) for s in streams.states(seed, n)], shape)
    draws, rows = -(-steps // together), 2 * -(-together * each // (2 * WIDTH))
    columns = [numbers(s, draws * rows, normal) for s in streams.states(seed, n * WIDTH)]
    drawn = np.reshape(columns, (n, WIDTH, draws, rows)).transpose(0, 2, 3, 1)
    used = drawn.reshape(n, draws, -1)[:, :, : together * each]
    return used.reshape(n, draws * together, each)[:, :steps].reshape(shape)


def naive(
    landscape,
    start,
    *,
    strength,
    learning_rate,
    steps,
    seed,
    copies=1,
    noise="uniform",
    denoise=True,
    momentum=0.0,
    gradient_noise=0.0,
    schedule=None,
):
    """Every point (steps, n, ...)."""
    seeds = [int(child.integers(2**63)) for child in np.random.default_rng(seed).spawn(2)]
    n, rest = len(start), start.shape[1:]
    line = isinstance(landscape, LineLandscape)
    together = max(1, NUMBERS // (copies * landscape.dimension))
    shape, normal = (n, steps, copies, *rest), noise == "normal"
    theta = strength * noise_of(seeds[0], shape, normal, line, together)
    kicks = gradient_noise * noise_of(seeds[1], (n, steps, *rest), True, line, together)
    w, v, points = start, 0.0, []
    for t in range(steps):
        now = theta[:, t] * (1.0 if schedule is None else schedule[t])
        g = landscape.gradient(w[:, None] + now).mean(axis=1) + kicks[:, t]
        v = momentum * v + g
        w = w - learning_rate * v + (0.0 if denoise else now[:, 0])
        points.append(w)
    return np.array(points)


@LANDSCAPES
@pytest.mark.parametrize("name", SETTINGS)
def test_trajectories_are_those_of_a_naive_loop(landscape, name):
    options = {**PLAIN, "steps": 25, **SETTINGS[name]}
    found = descend(landscape, starts(landscape), record_every=1, rng=4, **options)
    expected = naive(landscape, starts(landscape), seed=4, **options)
    np.testing.assert_array_equal(found.steps, np.arange(1, 26))
    np.testing.assert_allclose(found.points, expected, rtol=1e-11, atol=1e-12)
    for wrong in ({"strength": 0.21}, {"learning_rate": 0.051}):
        other = naive(landscape, starts(landscape), seed=4, **{**options, **wrong})
        assert np.max(np.abs(found.points - other)) > 1e-4


@pytest.mark.parametrize("d", [7 * WIDTH + 3, NUMBERS + 5])
def test_noise_is_drawn_for_several_steps_or_for_one_at_a_time(d):
    plain = Quadratic(hessian_matrix=np.diag(np.linspace(0.5, 1.5, d)), center=1.0)
    options = {**PLAIN, "steps": 2 * (NUMBERS // d) + 2, "noise": "normal", "gradient_noise": 0.1}
    found = descend(plain, np.zeros((2, d)), rng=0, **options).points[-1]
    expected = naive(plain, np.zeros((2, d)), seed=0, **options)[-1]
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-12)


@LANDSCAPES
def test_without_noise_it_is_gradient_descent(landscape):
    x, options = starts(landscape), {"learning_rate": 0.05, "steps": 30}
    found = descend(landscape, x, strength=0.0, **options)
    expected = x
    for _ in range(30):
        expected = expected - 0.05 * landscape.gradient(expected)
    np.testing.assert_allclose(found.points[-1], expected, rtol=1e-12, atol=1e-14)
    for quiet in ({"denoise": False}, {"copies": 1, "noise": "normal"}):
        same = descend(landscape, x, strength=0.0, **options, **quiet)
        np.testing.assert_array_equal(same.points, found.points)
    silenced = descend(landscape, x, strength=0.7, schedule=np.zeros(30), **options, rng=3)
    np.testing.assert_array_equal(silenced.points, found.points)


@LANDSCAPES
def test_records_are_snapshots_of_one_run(landscape):
    x, options = starts(landscape), {**PLAIN, "steps": 20, "rng": 5}
    every = descend(landscape, x, record_every=1, **options).points
    some = descend(landscape, x, record_every=6, **options)
    np.testing.assert_array_equal(some.steps, [6, 12, 18])
    np.testing.assert_array_equal(some.points, every[5::6])
    last = descend(landscape, x, **options)
    np.testing.assert_array_equal(last.steps, [20])
    np.testing.assert_array_equal(last.points, every[-1:])


@LANDSCAPES
def test_bits_do_not_depend_on_threads_or_companions(landscape):
    n = 5 * LANES if isinstance(landscape, LineLandscape) else 200
    x = starts(landscape, n)
    options = {**PLAIN, "steps": 20, "gradient_noise": 0.1, "noise": "normal"}
    found = descend(landscape, x, rng=6, **options).points
    np.testing.assert_array_equal(descend(landscape, x, rng=6, threads=3, **options).points, found)
    for k in (1, 7, n // 2 + 1):
        np.testing.assert_array_equal(
            descend(landscape, x[:k], rng=6, **options).points, found[:, :k]
        )
    assert len(np.unique(found.reshape(n, -1)[:, 0])) == n
    other = descend(landscape, x, rng=7, **options).points
    assert np.all(np.any((other != found).reshape(n, -1), axis=1))


def test_a_seed_sequence_repeats_and_a_generator_goes_on():
    options = {**PLAIN, "steps": 3}
    by_seed = descend(WELLS, [0.5], rng=8, **options).points
    by_sequence = descend(WELLS, [0.5], rng=np.random.SeedSequence(8), **options).points
    np.testing.assert_array_equal(by_sequence, by_seed)
    generator = np.random.default_rng(8)
    np.testing.assert_array_equal(descend(WELLS, [0.5], rng=generator, **options).points, by_seed)
    assert descend(WELLS, [0.5], rng=generator, **options).points != by_seed


def test_noise_of_gradients_leaves_that_of_weights_alone():
    flat, x = Parabola(curvature=1e-9), np.zeros(4)
    options = {"strength": 1.0, "learning_rate": 1e-9, "steps": 3, "denoise": False, "rng": 2}
    quiet = descend(flat, x, **options).points
    noisy = descend(flat, x, gradient_noise=1.0, **options).points
    np.testing.assert_allclose(noisy, quiet, atol=1e-7)
    assert np.all(np.abs(quiet) > 1e-4)


def test_the_given_start_is_left_alone():
    x = np.ones(3)
    descend(BOWL, x, steps=3, **PLAIN)
    point = np.ones((1, 2))
    first_arrival(SADDLE, point, targets=[[9.0, 9.0]], radius=0.1, max_steps=3, **PLAIN)
    assert np.all(x == 1.0)
    assert np.all(point == 1.0)


# --- stationary variances on a parabola -----------------------------------------------------------

CURVATURE, RATE, WIDTH_OF_NOISE, TRAJECTORIES = 2.0, 0.1, 0.3, 20_000


def stationary_variance(*, square, denoise=True, copies=1, momentum=0.0, kick=0.0, rate=RATE):
    """Of w in the parabola, where noise has a mean square; by geometric series or Lyapunov."""
    h, m = CURVATURE, momentum
    if not denoise:
        decay = 1.0 - rate * h
        return square * decay**2 / (1.0 - decay**2)
    noise = h**2 * square / copies + kick**2
    return rate * noise * (1 + m) / (h * (1 - m) * (2 * (1 + m) - rate * h))


VARIANCES = {
    "de-noised": ({}, {}),
    "normal": ({"noise": "normal"}, {"square": WIDTH_OF_NOISE**2}),
    "noise kept": ({"denoise": False}, {"denoise": False}),
    "three copies": ({"copies": 3}, {"copies": 3}),
    "noise of gradients": ({"gradient_noise": 0.2}, {"kick": 0.2}),
    "heavy ball": (
        {"momentum": 0.9, "learning_rate": 0.02, "steps": 400},
        {"momentum": 0.9, "rate": 0.02},
    ),
}


@pytest.mark.parametrize("name", VARIANCES)
def test_stationary_variance(name):
    changes, facts = VARIANCES[name]
    options = {"strength": WIDTH_OF_NOISE, "learning_rate": RATE, "steps": 150, **changes}
    x = descend(BOWL, np.zeros(TRAJECTORIES), rng=11, **options).points[-1]
    expected = stationary_variance(**{"square": WIDTH_OF_NOISE**2 / 3, **facts})
    assert_mean(x, 0.0, ALPHA)
    assert_mean(x**2, expected, ALPHA)
    for wrong in (0.9, 1.1):
        with pytest.raises(AssertionError):
            assert_mean(x**2, wrong * expected, ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(x + 0.1 * np.sqrt(expected), 0.0, ALPHA)


def test_stationary_variances_of_the_worked_example():
    square = WIDTH_OF_NOISE**2 / 3
    assert stationary_variance(square=square) == pytest.approx(1 / 300, rel=1e-12)
    assert stationary_variance(square=square, denoise=False) == pytest.approx(4 / 75, rel=1e-12)


def test_stationary_covariance_in_space():
    values, vectors = np.linalg.eigh(SADDLE.hessian_matrix)
    start = np.tile(SADDLE.center, (TRAJECTORIES, 1))
    x = descend(SADDLE, start, strength=0.5, learning_rate=0.3, steps=100, rng=12).points[-1]
    modes = (x - SADDLE.center) @ vectors
    expected = 0.3 * values * 0.5**2 / (3 * (2 - 0.3 * values))
    for k in range(2):
        assert_mean(modes[:, k] ** 2, expected[k], ALPHA)
        with pytest.raises(AssertionError):
            assert_mean(modes[:, k] ** 2, 1.1 * expected[k], ALPHA)
    assert_mean(modes[:, 0] * modes[:, 1], 0.0, ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(x[:, 0] * x[:, 1], 0.0, ALPHA)


# --- arrival --------------------------------------------------------------------------------------


def scanned(points, targets, radius, hold):
    """First arrivals (n,) from whole trajectories (T + 1, n, d)."""
    steps, reached = [], []
    for path in points.swapaxes(0, 1):
        close = np.linalg.norm(path[:, None] - targets, axis=-1) <= radius
        labels = [int(np.argmax(row)) if row.any() else -1 for row in close]
        for t in range(len(labels) - hold + 1):
            if labels[t] >= 0 and len(set(labels[t : t + hold])) == 1:
                steps.append(float(t))
                reached.append(labels[t])
                break
        else:
            steps.append(np.inf)
            reached.append(-1)
    return np.array(steps), np.array(reached)


@LANDSCAPES
@pytest.mark.parametrize("hold", [1, 4])
@pytest.mark.parametrize("noise", ["uniform", "normal"])
def test_arrivals_are_those_of_a_scan(landscape, hold, noise):
    line = isinstance(landscape, LineLandscape)
    x = starts(landscape, 150)
    targets = np.array([[-1.0], [1.0]]) if line else np.array([[0.4, 0.2], [0.3, -0.4]])
    steps, radius = 12, 0.15
    options = {
        "strength": 0.4,
        "learning_rate": 0.08,
        "noise": noise,
        "copies": 2,
        "gradient_noise": 0.4,
        "momentum": 0.3,
        "schedule": np.linspace(1.0, 0.5, steps),
        "rng": 13,
    }
    points = descend(landscape, x, steps=steps, record_every=1, **options).points
    whole = np.concatenate([x[None], points]).reshape(steps + 1, len(x), -1)
    expected = scanned(whole, targets, radius, hold)
    given = targets[:, 0] if line else targets
    for threads in (1, 2):
        found = first_arrival(
            landscape,
            x,
            targets=given,
            radius=radius,
            max_steps=steps,
            hold=hold,
            threads=threads,
            **options,
        )
        np.testing.assert_array_equal(found.steps, expected[0])
        np.testing.assert_array_equal(found.targets, expected[1])
    assert {-1, 0, 1} == set(expected[1])
    assert 0.0 in expected[0]
    assert np.sum(np.isfinite(expected[0]) & (expected[0] > 0)) > 10


@LANDSCAPES
def test_another_target_starts_the_count_anew(landscape):
    d, x = landscape.dimension, starts(landscape, 60)
    ladder = np.stack(np.meshgrid(*[np.linspace(-2.0, 2.0, 21)] * d), axis=-1).reshape(-1, d)
    options = {"strength": 0.1, "learning_rate": 0.05, "rng": 15}
    points = descend(landscape, x, steps=12, record_every=1, **options).points
    whole = np.concatenate([x[None], points]).reshape(13, len(x), -1)
    expected = scanned(whole, ladder, 0.15, 4)
    given = ladder[:, 0] if isinstance(landscape, LineLandscape) else ladder
    found = first_arrival(landscape, x, targets=given, radius=0.15, max_steps=12, hold=4, **options)
    np.testing.assert_array_equal(found.steps, expected[0])
    np.testing.assert_array_equal(found.targets, expected[1])
    assert np.sum(expected[0] > 0) > 20


@LANDSCAPES
def test_arrival_of_trajectories_that_keep_their_noise(landscape):
    x = starts(landscape, 40)
    options = {**PLAIN, "denoise": False, "rng": 14}
    points = descend(landscape, x, steps=15, record_every=1, **options).points
    whole = np.concatenate([x[None], points]).reshape(16, len(x), -1)
    target = np.full((1, landscape.dimension), 0.5)
    given = target[:, 0] if isinstance(landscape, LineLandscape) else target
    found = first_arrival(landscape, x, targets=given, radius=0.4, max_steps=15, **options)
    np.testing.assert_array_equal(found.steps, scanned(whole, target, 0.4, 1)[0])


# --- what is refused ------------------------------------------------------------------------------

BAD = [
    ({"start": [np.nan]}, "start has NaN or infinite values"),
    ({"start": [[0.0]]}, "start must have 1 dimensions"),
    ({"strength": -0.1}, "strength must not be negative, got -0.1"),
    ({"strength": np.inf}, "strength has NaN or infinite"),
    ({"learning_rate": 0.0}, "learning_rate must be positive, got 0"),
    ({"steps": 0}, "steps must be an integer of at least 1, got 0"),
    ({"copies": 0}, "copies must be an integer of at least 1, got 0"),
    ({"copies": 2, "denoise": False}, "copies is 2: without de-noising"),
    ({"noise": "cauchy"}, "noise must be one of uniform, normal, got 'cauchy'"),
    ({"momentum": 1.0}, r"momentum must be in \[0, 1\), got 1"),
    ({"gradient_noise": -1.0}, "gradient_noise must not be negative, got -1"),
    ({"schedule": [1.0]}, "schedule has 1 entries, but there are 9 steps"),
    ({"schedule": [-1.0] * 9}, "schedule must not be negative, got -1"),
    ({"schedule": [np.nan] * 9}, "schedule has NaN or infinite"),
    ({"record_every": 10}, "record_every is 10, but there are only 9 steps"),
    ({"record_every": 0}, "record_every must be an integer of at least 1, got 0"),
    ({"threads": 0}, "threads must be an integer of at least 1, got 0"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[f"{i}" for i in range(len(BAD))])
def test_bad_arguments_are_named(change, message):
    options = {"start": [0.0], **PLAIN, "steps": 9, **change}
    with pytest.raises(ValueError, match=message):
        descend(BOWL, **options)


BAD_ARRIVALS = [
    ({"targets": [np.inf]}, "targets has NaN or infinite"),
    ({"targets": [[0.0]]}, "targets must have 1 dimensions"),
    ({"radius": 0.0}, "radius must be positive, got 0"),
    ({"max_steps": 0}, "max_steps must be an integer of at least 1, got 0"),
    ({"hold": 0}, "hold must be an integer of at least 1, got 0"),
    ({"threads": 0}, "threads must be an integer of at least 1, got 0"),
    ({"learning_rate": -1.0}, "learning_rate must be positive, got -1"),
]


@pytest.mark.parametrize(
    ("change", "message"), BAD_ARRIVALS, ids=[f"{i}" for i in range(len(BAD_ARRIVALS))]
)
def test_bad_arguments_of_arrivals_are_named(change, message):
    options = {"targets": [1.0], "radius": 0.1, "max_steps": 9, **PLAIN, **change}
    with pytest.raises(ValueError, match=message):
        first_arrival(BOWL, [0.0], **options)


def test_shapes_in_space_are_named():
    with pytest.raises(ValueError, match=r"start must have shape \(n, 2\), got \(1, 3\)"):
        descend(SADDLE, np.zeros((1, 3)), steps=1, **PLAIN)
    with pytest.raises(ValueError, match=r"targets must have shape \(n, 2\), got \(1, 3\)"):
        first_arrival(
            SADDLE, np.zeros((1, 2)), targets=np.zeros((1, 3)), radius=1.0, max_steps=1, **PLAIN
        )


def test_other_things_than_landscapes_are_refused():
    with pytest.raises(TypeError, match="landscape must be a LineLandscape or Space"):
        descend(np.square, [0.0], steps=1, **PLAIN)


@LANDSCAPES
def test_divergence_is_told(landscape):
    target = landscape.minima[0]
    start = np.repeat(np.asarray(target)[None] + 1e-3, 3, axis=0)
    start[0] += 2.0
    start[1] = target  # stays, but for rounding
    rate = 5.0
    message = r"[123] of 3 trajectories left the range of float64: learning_rate = 5 is too large"
    with pytest.raises(ValueError, match=message):
        descend(landscape, start, strength=0.0, learning_rate=rate, steps=2000)
    far = np.full_like(np.atleast_1d(target), 1e9)[None]
    far = far[:, 0] if isinstance(landscape, LineLandscape) else far
    with pytest.raises(ValueError, match=message):
        first_arrival(
            landscape,
            start,
            targets=far,
            radius=1.0,
            strength=0.0,
            learning_rate=rate,
            max_steps=2000,
        )
