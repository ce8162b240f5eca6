import functools

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit
from scipy.stats import expon, levy_stable, norm, uniform
from scipy.stats import pareto as pareto_law
from stat_asserts import assert_counts, assert_distribution, assert_mean

from sims import streams
from sims.streams import LANES

ALPHA = 1e-5
MASK = 2**64 - 1
WORDS = st.integers(0, MASK)
EXTREMES = sorted(
    {
        (base + shift) & MASK
        for base in (
            0,
            2**11,
            2**53,
            2**61,
            2**62,
            2**63,
            3 * 2**62,
            round(2**63.5),
            round(2**62.5),
        )
        for shift in (-2048, -1025, -1024, -1, 0, 1, 1023, 1024, 2047, 2048)
    }
)


# --- plain Python, by the papers ------------------------------------------------------------------


def rotated(x, k):
    return (x << k | x >> (64 - k)) & MASK


def xoshiro(state):
    """One step of Blackman and Vigna's code, on integers of any size."""
    s = [int(word) for word in state]
    result = (rotated((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
    t = s[1] << 17 & MASK
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= t
    s[3] = rotated(s[3], 45)
    return result, s


def philox(key, counter):
    """Salmon et al.'s Philox4x64 of ten rounds."""
    c, k = [counter & MASK, counter >> 64 & MASK, counter >> 128 & MASK, counter >> 192], list(key)
    for _ in range(10):
        one, two = 0xD2E7470EE14C6C93 * c[0], 0xCA5A826395121157 * c[2]
        c = [two >> 64 ^ c[1] ^ k[0], two & MASK, one >> 64 ^ c[3] ^ k[1], one & MASK]
        k = [(k[0] + 0x9E3779B97F4A7C15) & MASK, (k[1] + 0xBB67AE8584CAA73B) & MASK]
    return c


def exact_normals(first, second):
    """Box and Muller's pair in 40 digits; the word's top two bits turn an angle within π/4."""
    with mpmath.workdps(40):
        radius = mpmath.sqrt(-2 * mpmath.log(mpmath.mpf((first >> 11) + 1) / 2**53))
        turn = (second & (2**62 - 1)) >> 8  # 54 bits, in two's complement
        angle = (turn - (turn >> 53 << 54)) * mpmath.pi / 2**55
        cosine, sine = radius * mpmath.cos(angle), radius * mpmath.sin(angle)
        cosine = -cosine if second >> 63 else cosine
        return (sine, cosine) if second >> 62 & 1 else (cosine, sine)


def state_giving(word):
    """Return a state whose next word is given: rotl(s₀ + s₃, 23) + s₀ with s₀ = 0."""
    return np.array([0, 0, 0, rotated(word, 41)], np.uint64)


# --- the generators -------------------------------------------------------------------------------


def test_the_published_words():
    state = np.array([1, 2, 3, 4], np.uint64)
    assert [int(streams.next_word(state)) for _ in range(6)] == [
        41943041,
        58720359,
        3588806011781223,
        3591011842654386,
        9228616714210784205,
        9973669472204895162,
    ]


@given(st.lists(WORDS, min_size=4, max_size=4))
def test_words_are_those_of_plain_python(seed):
    state, reference = np.array(seed, np.uint64), seed
    for _ in range(5):
        word, reference = xoshiro(reference)
        assert int(streams.next_word(state)) == word
        assert [int(s) for s in state] == reference


@pytest.mark.parametrize("first", [0, 5, 2**64 - 2, 2**70])
def test_states_are_blocks_of_philox(first):
    key = np.random.SeedSequence(11).spawn(1)[0].generate_state(2, np.uint64)
    rows = [philox([int(k) for k in key], first + 1 + i) for i in range(4)]
    assert streams.states(11, 4, first=first).tolist() == rows


def test_a_stream_does_not_depend_on_how_many_there_are():
    all_of_them = streams.states(3, 100)
    assert all_of_them.dtype == np.uint64
    assert len(np.unique(all_of_them)) == all_of_them.size
    for n, first in ((1, 0), (7, 0), (40, 60), (1, 99)):
        np.testing.assert_array_equal(
            streams.states(3, n, first=first), all_of_them[first : first + n]
        )


def test_seeds_tell_streams_apart_and_a_generator_gives_new_ones():
    np.testing.assert_array_equal(streams.states(5, 3), streams.states(5, 3))
    np.testing.assert_array_equal(
        streams.states(np.random.SeedSequence(5), 3), streams.states(5, 3)
    )
    np.testing.assert_array_equal(streams.states(np.random.default_rng(5), 3), streams.states(5, 3))
    generator = np.random.default_rng(5)
    runs = [streams.states(generator, 3) for _ in range(4)]
    runs += [streams.states(seed, 3) for seed in (4, 6, np.random.SeedSequence(7))]
    runs += [streams.states(None, 1) for _ in range(1000)]
    words = np.concatenate([run.ravel() for run in runs])
    assert len(np.unique(words)) == len(words)


def test_a_used_generator_gives_the_same_streams():
    generator = np.random.default_rng(5)
    generator.random(17)
    np.testing.assert_array_equal(streams.states(generator, 3), streams.states(5, 3))


@pytest.mark.parametrize("n", [1, LANES - 1, LANES, LANES + 1, 1000])
def test_lanes_hold_the_streams_of_states(n):
    blocks = streams.lanes(9, n, first=2)
    assert blocks.shape == (-(-n // LANES), 4, LANES)
    rows = blocks.transpose(0, 2, 1).reshape(-1, 4)
    np.testing.assert_array_equal(rows, streams.states(9, len(rows), first=2))


def test_lanes_give_the_bits_of_their_streams():
    rows, block = streams.states(9, LANES), streams.lanes(9, LANES)[0]
    one, two, words = np.empty(LANES), np.empty(LANES), np.empty(LANES, np.uint64)
    for _ in range(20):
        streams.fill_lane_normals(block, one, two)
        assert [streams.normals(row) for row in rows] == list(zip(one, two, strict=True))
        streams.fill_lane_words(block, words)
        assert [int(streams.next_word(row)) for row in rows] == words.tolist()
    np.testing.assert_array_equal(block, rows.T)


@pytest.mark.parametrize("width", [1, 5, 32])
def test_blocks_of_any_width_give_the_bits_of_their_streams(width):
    block, rows = streams.lanes(9, width, width=width)[0], np.empty((6, width))
    states = streams.states(9, width)
    for _ in range(3):
        streams.fill_block_normals(block, rows)
        expected = [np.ravel([streams.normals(state) for _ in range(3)]) for state in states]
        np.testing.assert_array_equal(rows.T, expected)
        streams.fill_block_uniforms(block, rows)
        expected = [
            [streams.to_centered_uniform(np.uint64(streams.next_word(state))) for _ in range(6)]
            for state in states
        ]
        np.testing.assert_array_equal(rows.T, expected)
    np.testing.assert_array_equal(block, states.T)


def test_blocks_of_a_width_hold_the_streams_of_states():
    blocks = streams.lanes(9, 11, first=2, width=4)
    assert blocks.shape == (3, 4, 4)
    rows = blocks.transpose(0, 2, 1).reshape(-1, 4)
    np.testing.assert_array_equal(rows, streams.states(9, 12, first=2))
    with pytest.raises(ValueError, match="width must be an integer of at least 1"):
        streams.lanes(9, 11, width=0)


@pytest.mark.parametrize("make", [streams.states, streams.lanes])
def test_bad_arguments_are_named(make):
    for n in (0, -1, 2.5, True):
        with pytest.raises(ValueError, match="n must be an integer of at least 1"):
            make(0, n)
    with pytest.raises(ValueError, match="first must be an integer of at least 0"):
        make(0, 1, first=-1)
    with pytest.raises(TypeError, match="does not implement spawning"):
        make(np.random.Generator(np.random.Philox(key=1)), 1)


# --- from words to numbers ------------------------------------------------------------------------


@given(WORDS)
def test_a_state_gives_any_word(word):
    assert int(streams.next_word(state_giving(word))) == word


@given(WORDS | st.sampled_from(EXTREMES))
def test_uniform_numbers_are_exact(word):
    number = streams.uniform(state_giving(word))
    assert 0.0 <= number < 1.0
    assert number == (word >> 11) / 2**53 == streams.to_uniform(np.uint64(word))


@given(WORDS | st.sampled_from(EXTREMES))
def test_centered_uniform_numbers_are_exact(word):
    number = streams.to_centered_uniform(np.uint64(word))
    signed = (word >> 11) - (2**53 if word >> 63 else 0)
    assert number == (2 * signed + 1) / 2**53
    assert abs(number) < 1.0
    assert number == -streams.to_centered_uniform(np.uint64(word ^ MASK))  # so the mean is 0


def units_off(value, exact):
    """Error in units of the last place."""
    return float(abs(mpmath.mpf(float(value)) - exact)) / np.spacing(abs(float(exact)))


def test_normals_are_right_to_three_units_in_the_last_place():
    random = np.random.default_rng(0).integers(0, 2**64, (2000, 2), dtype=np.uint64).tolist()
    for first, second in random + [(a, b) for a in EXTREMES for b in EXTREMES[::3]]:
        values = streams.to_normals(np.uint64(first), np.uint64(second))
        with mpmath.workdps(40):
            for value, exact in zip(values, exact_normals(first, second), strict=True):
                assert units_off(value, exact) <= 3.0, (first, second)
                assert abs(value) <= 8.58


def test_normals_of_the_largest_words_are_finite():
    for first in (0, MASK):
        for second in (0, MASK):
            assert np.all(np.isfinite(streams.to_normals(np.uint64(first), np.uint64(second))))
    assert streams.to_normals(np.uint64(MASK), np.uint64(0)) == (0.0, 0.0)
    assert max(streams.to_normals(np.uint64(0), np.uint64(0))) == pytest.approx(
        np.sqrt(106 * np.log(2)), rel=1e-15
    )


@pytest.mark.parametrize("n", [0, 1, 2, 7])
def test_an_odd_number_of_normals_wastes_one(n):
    state, other, out = streams.states(2, 1)[0], streams.states(2, 1)[0], np.empty(n)
    streams.fill_normals(state, out)
    pairs = [streams.normals(other) for _ in range(-(-n // 2))]
    np.testing.assert_array_equal(out, np.ravel(pairs)[:n])
    np.testing.assert_array_equal(state, other)


@given(WORDS)
def test_a_sign_is_a_bit(word):
    assert streams.to_sign(np.uint64(word)) == (-1.0 if word & 1 else 1.0)
    assert streams.sign(state_giving(word)) == (-1.0 if word >> 63 else 1.0)


def test_three_points_have_their_probabilities():
    # 6 w / 2³² reaches 1 and 5 first at these of the 2³² lower halves.
    low, high = -(-(2**32) // 6), -(-5 * 2**32 // 6)
    root = np.sqrt(3.0)
    for top in (0, 12345 << 32, MASK - (2**32 - 1)):
        values = [
            streams.to_three_point(np.uint64(top + k))
            for k in (0, low - 1, low, 2**31, high - 1, high, 2**32 - 1)
        ]
        assert values == [-root, -root, 0.0, 0.0, 0.0, root, root]
    for count, probability in ((low, 1 / 6), (high - low, 2 / 3), (2**32 - high, 1 / 6)):
        assert abs(count / 2**32 - probability) < 2**-32


@given(st.integers(1, 2**32), st.data())
def test_integers_have_their_probabilities(n, data):
    k = data.draw(st.integers(0, n - 1))
    start, end = -(-k * 2**32 // n), -(-(k + 1) * 2**32 // n)
    assert abs(end - start - 2**32 / n) < 1.0
    for half, value in ((start - 1, k - 1), (start, k), (end - 1, k), (end, k + 1)):
        if 0 <= half < 2**32:
            assert streams.integer(state_giving(half << 32), n) == value


@given(st.sampled_from(EXTREMES) | WORDS)
def test_exponential_and_pareto_numbers_invert_their_cdfs(word):
    number = (word >> 11) / 2**53
    assert streams.exponential(state_giving(word)) == pytest.approx(expon.ppf(number), rel=1e-14)
    assert streams.pareto(state_giving(word), 1.5) == pytest.approx(
        pareto_law(1.5).ppf(number), rel=1e-13
    )


# --- distributions --------------------------------------------------------------------------------


@functools.cache
def loop(kernel):
    @njit
    def fill(states, out, *parameters):
        for i in range(len(states)):
            for j in range(out.shape[1]):
                out[i, j] = kernel(states[i], *parameters)

    return fill


def draws(kernel, *parameters, n=1000, each=200, seed=0):
    """Numbers (n, each) from n streams."""
    out = np.empty((n, each))
    loop(kernel)(streams.states(seed, n), out, *parameters)
    return out


def normal_draws(n=1000, each=200, seed=0):
    out = np.empty((n, each))
    for state, row in zip(streams.states(seed, n), out, strict=True):
        streams.fill_normals(state, row)
    return out


def centered_draws(each=400, width=500, seed=6):
    rows = np.empty((each, width))
    streams.fill_block_uniforms(streams.lanes(seed, width, width=width)[0], rows)
    return rows


def test_uniform_exponential_pareto_and_normal_distributions():
    assert_distribution(draws(streams.uniform).ravel(), uniform.cdf, ALPHA)
    assert_distribution(centered_draws().ravel(), uniform(-1.0, 2.0).cdf, ALPHA)
    assert_distribution(draws(streams.exponential, seed=1).ravel(), expon.cdf, ALPHA)
    assert_distribution(draws(streams.pareto, 1.5, seed=2).ravel(), pareto_law(1.5).cdf, ALPHA)
    assert_distribution(normal_draws(seed=3).ravel(), norm.cdf, ALPHA)


def test_wrong_distributions_fail():
    for samples, law in (
        (draws(streams.uniform), uniform(0.01, 1.0)),
        (centered_draws(), uniform(-1.02, 2.0)),
        (centered_draws(), uniform(-1.02, 2.04)),
        (draws(streams.exponential, seed=1), expon(scale=1.04)),
        (draws(streams.pareto, 1.5, seed=2), pareto_law(1.6)),
        (normal_draws(seed=3), norm(scale=1.05)),
        (normal_draws(seed=3), norm(loc=0.03)),
    ):
        with pytest.raises(AssertionError):
            assert_distribution(samples.ravel(), law.cdf, ALPHA)


def test_moments_of_normals():
    z = normal_draws(n=2000, seed=4).ravel()
    for power, moment in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert_mean(z**power, moment, ALPHA)
    first, second = z[::2], z[1::2]
    assert_mean(first * second, 0.0, ALPHA)
    assert_mean(first**2 * second**2, 1.0, ALPHA)  # one radius: no more than the angle splits


def test_wrong_moments_of_normals_fail():
    z = normal_draws(n=2000, seed=4).ravel()
    for samples, moment in (((1.01 * z) ** 2, 1.0), (z + 0.02, 0.0), (z**4, 3.15)):
        with pytest.raises(AssertionError):
            assert_mean(samples, moment, ALPHA)
    angle = np.arctan2(z[1::2], z[::2])  # a pair on the unit circle: uncorrelated, not independent
    with pytest.raises(AssertionError):
        assert_mean(4 * np.cos(angle) ** 2 * np.sin(angle) ** 2, 1.0, ALPHA)


def test_counts_of_integers_and_signs():
    sevenths = draws(streams.integer, 7)
    assert_counts(np.bincount(sevenths.ravel().astype(int), minlength=7), np.full(7, 1 / 7), ALPHA)
    signs = draws(streams.sign)
    assert set(np.unique(signs)) == {-1.0, 1.0}
    assert_counts([np.sum(signs < 0), np.sum(signs > 0)], [0.5, 0.5], ALPHA)
    with pytest.raises(AssertionError):
        assert_counts(
            np.bincount(sevenths.ravel().astype(int)), np.array([1.05] + [1.0] * 6) / 7.05, ALPHA
        )
    with pytest.raises(AssertionError):
        assert_counts([np.sum(signs < 0), np.sum(signs > 0)], [0.49, 0.51], ALPHA)


def stable_transform(t, tail_index, skewness):
    """Return the characteristic function at t > 0, by its definition."""
    twist = -2 / np.pi * np.log(t) if tail_index == 1 else np.tan(np.pi * tail_index / 2)
    return np.exp(-(t**tail_index) * (1 - 1j * skewness * twist))


def assert_stable(samples, tail_index, skewness):
    for t in (0.3, 1.0, 2.0):
        phi = stable_transform(t, tail_index, skewness)
        assert_mean(np.cos(t * samples), phi.real, ALPHA)
        assert_mean(np.sin(t * samples), phi.imag, ALPHA)


STABLE = [
    (0.5, 0.0),
    (0.5, 1.0),
    (0.9, -0.7),
    (1.0, 0.0),
    (1.0, 0.8),
    (1.0, -1.0),
    (1.3, 0.5),
    (1.8, -1.0),
    (2.0, 0.0),
    (2.0, 1.0),
]


@pytest.mark.parametrize(("tail_index", "skewness"), STABLE)
def test_stable_numbers_have_their_characteristic_function(tail_index, skewness):
    samples = draws(streams.stable, tail_index, skewness).ravel()
    assert_stable(samples, tail_index, skewness)
    with pytest.raises(AssertionError):
        assert_stable(samples, tail_index - 0.1, skewness)
    with pytest.raises(AssertionError):
        assert_stable(1.04 * samples, tail_index, skewness)
    if tail_index < 2.0:  # where skewness means nothing
        with pytest.raises(AssertionError):
            assert_stable(samples, tail_index, skewness - 0.2)


@pytest.mark.parametrize(("tail_index", "skewness"), [(0.8, 0.5), (1.0, 0.0), (1.0, 0.8), (1.7, 0)])
def test_stable_numbers_have_the_cdf_of_an_independent_library(tail_index, skewness):
    samples = draws(streams.stable, tail_index, skewness, seed=1).ravel()
    edges = np.array([-30.0, -10.0, -4.0, -2.0, -1.0, -0.5, 0.0, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0])
    counts = np.bincount(np.digitize(samples, edges), minlength=len(edges) + 1)

    def check(alpha, beta):
        shares = np.diff(levy_stable.cdf(edges, alpha, beta), prepend=0.0, append=1.0)
        assert_counts(counts, shares, ALPHA)

    check(tail_index, skewness)
    with pytest.raises(AssertionError):
        check(tail_index - 0.1, skewness)


def test_stable_numbers_of_index_two_are_normal_with_variance_two():
    samples = draws(streams.stable, 2.0, 0.0).ravel()
    assert_distribution(samples, norm(scale=np.sqrt(2)).cdf, ALPHA)
    assert_mean(samples**2, 2.0, ALPHA)
    with pytest.raises(AssertionError):
        assert_mean(samples**2, 2.04, ALPHA)


# --- independence ---------------------------------------------------------------------------------

BINS = 16


def pair_counts(one, two):
    """Counts (16, 16) of pairs of words, by their highest bits and by their lowest."""
    tables = []
    for a, b in (((one >> 60), (two >> 60)), ((one & 15), (two & 15)), ((one >> 60), (two & 15))):
        codes = (a * np.uint64(BINS) + b).astype(np.int64)
        tables.append(np.bincount(codes.ravel(), minlength=BINS**2))
    return tables


def assert_pairs_independent(one, two):
    for table in pair_counts(one, two):
        assert_counts(table, np.full(BINS**2, BINS**-2), ALPHA)


@functools.cache
def word_loop():
    @njit
    def fill(states, out):
        for i in range(len(states)):
            for j in range(out.shape[1]):
                out[i, j] = streams.next_word(states[i])

    return fill


def words(states, each):
    out = np.empty((len(states), each), np.uint64)
    word_loop()(states.copy(), out)
    return out


def test_neighboring_streams_are_independent_from_their_first_words():
    # Disjoint pairs, so that the pairs themselves are independent.
    drawn = words(streams.states(0, 100_000), 4)
    for j in range(4):
        assert_pairs_independent(drawn[::2, j], drawn[1::2, j])
    assert_pairs_independent(drawn[: len(drawn) // 2, 0], drawn[len(drawn) // 2 :, 0])


def test_words_along_a_stream_are_independent():
    drawn = words(streams.states(1, 500), 400)
    for lag in (1, 2, 64):
        starts = np.flatnonzero(np.arange(400 - lag) // lag % 2 == 0)
        assert_pairs_independent(drawn[:, starts], drawn[:, starts + lag])


def test_seeds_in_a_row_are_independent():
    first = np.concatenate([words(streams.states(seed, 50), 2) for seed in range(1000)])
    for j in range(2):
        assert_pairs_independent(first[::2, j], first[1::2, j])


def test_numbers_of_neighboring_streams_are_uncorrelated():
    z = normal_draws(n=1000, each=200, seed=5)
    assert_mean((z[::2] * z[1::2]).ravel(), 0.0, ALPHA)
    assert_mean(((z[::2] ** 2 - 1) * (z[1::2] ** 2 - 1)).ravel(), 0.0, ALPHA)
    with pytest.raises(AssertionError):
        assert_mean((z[::2] * (z[1::2] + 0.03 * z[::2])).ravel(), 0.0, ALPHA)


def test_streams_seeded_by_counting_would_fail():
    counted = np.zeros((20_000, 4), np.uint64)
    counted[:, 0] = np.arange(1, 20_001)
    for drawn in words(counted, 4).T:
        with pytest.raises(AssertionError):
            assert_pairs_independent(drawn[::2], drawn[1::2])


def test_words_used_twice_would_fail():
    drawn = words(streams.states(0, 20_000), 1)[:, 0]
    with pytest.raises(AssertionError):
        assert_pairs_independent(drawn, drawn >> np.uint64(1))
