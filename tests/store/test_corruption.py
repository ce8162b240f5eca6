import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm
from stat_asserts import assert_counts, assert_distribution, assert_mean

from store.corruption import (
    PIXEL_CORRUPTIONS,
    corrupt_label_sets,
    corrupt_labels,
    gaussian_pixels,
    randomize_pixels,
    replicate_with_zeros,
    shuffle_pixels,
)

# --- labels ---------------------------------------------------------------------------------------


@given(
    labels=hnp.arrays(np.uint8, st.integers(0, 40), elements=st.integers(0, 6)),
    probability=st.floats(0, 1),
    seed=st.integers(0, 100),
)
def test_labels_change_only_where_replaced(labels, probability, seed):
    found = corrupt_labels(labels, probability, 7, seed)
    assert found.labels.dtype == np.int64
    assert found.replaced.dtype == np.bool_
    np.testing.assert_array_equal(found.labels[~found.replaced], labels[~found.replaced])
    assert np.all((found.labels >= 0) & (found.labels < 7))
    again = corrupt_labels(labels, probability, 7, np.random.default_rng(seed))
    np.testing.assert_array_equal(again.labels, found.labels)
    if probability in (0, 1):
        assert np.all(found.replaced == bool(probability))


def test_replaced_labels_are_uniform_over_all_classes():
    true = np.full(40000, 2)
    found = corrupt_labels(true, 0.3, 5, rng=1)
    assert_counts([found.replaced.sum(), (~found.replaced).sum()], [0.3, 0.7])
    assert_counts(np.bincount(found.labels[found.replaced], minlength=5), np.full(5, 0.2))
    wrong = np.sum(found.labels != true)
    assert_counts([wrong, 40000 - wrong], [0.3 * 0.8, 1 - 0.3 * 0.8])
    with pytest.raises(AssertionError):
        assert_counts([wrong, 40000 - wrong], [0.3, 0.7])


def test_test_labels_are_corrupted_on_their_own():
    train, test = np.arange(30) % 3, np.arange(30) % 3
    both = corrupt_label_sets([train, test], 0.5, 3, rng=4)
    alone = corrupt_labels(train, 0.5, 3, rng=4)
    np.testing.assert_array_equal(both[0].labels, alone.labels)
    np.testing.assert_array_equal(both[0].replaced, alone.replaced)
    assert np.any(both[1].replaced != both[0].replaced)


def test_error_against_corrupted_test_labels():
    """A classifier that is right in 3 of 4 cases has the error that is documented."""
    n, p, classes = 40000, 0.4, 10
    true = np.arange(n) % classes
    predicted = np.where(np.arange(n) // classes % 4, true, (true + 1) % classes)
    _, test = corrupt_label_sets([true[:10], true], p, classes, rng=0)
    wrong = np.sum(predicted != test.labels)
    expected = (1 - p) * 0.25 + p * (1 - 1 / classes)
    assert_counts([wrong, n - wrong], [expected, 1 - expected])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 3], 0.5, 3), "labels must be from 0 to 2, got 0 to 3"),
        (([-1, 0], 0.5, 3), "labels must be from 0 to 2, got -1 to 0"),
        (
            ([[0, 1]], 0.5, 3),
            r"labels must be integers in 1 dimension, got int64 in shape \(1, 2\)",
        ),
        (([0.5], 0.5, 3), "labels must be integers in 1 dimension, got float64"),
        (([0], 1.5, 3), "probability must be between 0 and 1, got 1.5"),
        (([0], -0.1, 3), "probability must be between 0 and 1, got -0.1"),
        (([0], float("nan"), 3), "probability must be between 0 and 1, got nan"),
        (([0], 0.5, 0), "classes must be a positive integer, got 0"),
        (([0], 0.5, 2.0), "classes must be a positive integer, got 2.0"),
        (([0], 0.5, True), "classes must be a positive integer, got True"),
    ],
)
def test_wrong_labels(arguments, message):
    with pytest.raises(ValueError, match=message):
        corrupt_labels(*arguments)


# --- pixels ---------------------------------------------------------------------------------------

DISTINCT = [
    np.arange(5 * 4 * 4 * 3, dtype=np.uint8).reshape(5, 4, 4, 3),
    np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)[::-1],
]


@pytest.mark.parametrize("name", PIXEL_CORRUPTIONS)
@pytest.mark.parametrize("channels", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32, np.float64])
def test_shape_type_seed_and_input_are_kept(name, channels, dtype):
    corrupt = PIXEL_CORRUPTIONS[name]
    sets = [part.astype(dtype) for part in DISTINCT]
    before = [part.copy() for part in sets]
    found = corrupt(sets, 3, channels=channels)
    again = corrupt(sets, np.random.default_rng(3), channels=channels)
    for part, same, given_set, kept in zip(found, again, sets, before, strict=True):
        assert part.shape == given_set.shape
        assert part.dtype == given_set.dtype
        np.testing.assert_array_equal(part, same)
        np.testing.assert_array_equal(given_set, kept)
    assert np.any(found[0] != corrupt(sets, 4, channels=channels)[0])


@pytest.mark.parametrize("channels", [False, True])
def test_shuffled_pixels_are_one_permutation_of_all_sets(channels):
    found = shuffle_pixels(DISTINCT, 0, channels=channels)
    width = 3 if channels else 1
    before, after = ([part.reshape(len(part), -1, width) for part in x] for x in (DISTINCT, found))
    target = [
        next(q for q in range(48 // width) if np.all(before[0][0, q] == value))
        for value in after[0][0]
    ]
    assert sorted(target) == list(range(48 // width))
    assert target != sorted(target)
    for old, new in zip(before, after, strict=True):
        for image, moved in zip(old, new, strict=True):
            np.testing.assert_array_equal(moved, image[target])


@pytest.mark.parametrize("channels", [False, True])
def test_random_pixels_are_a_permutation_of_each_image(channels):
    found = randomize_pixels(DISTINCT, 0, channels=channels)
    width = 3 if channels else 1
    for old, new in zip(DISTINCT, found, strict=True):
        orders = []
        for image, moved in zip(old.reshape(-1, 48 // width, width), new, strict=True):
            kept, mixed = image.tolist(), moved.reshape(-1, width).tolist()
            assert sorted(kept) == sorted(mixed)
            orders.append([kept.index(value) for value in mixed])
        assert len({tuple(order) for order in orders}) == len(old)


def test_every_place_is_as_likely():
    images = np.broadcast_to(np.arange(4), (8000, 4))
    found = randomize_pixels([images], 5)[0]
    for place in range(4):
        assert_counts(np.bincount(found[:, place]), np.full(4, 0.25))


def test_flat_and_folded_images_are_corrupted_alike():
    folded = [part.astype(float) for part in DISTINCT]
    flat = [part.reshape(len(part), -1) for part in folded]
    for corrupt in PIXEL_CORRUPTIONS.values():
        for one, other in zip(corrupt(flat, 1), corrupt(folded, 1), strict=True):
            np.testing.assert_array_equal(one, other.reshape(len(other), -1))


def test_gaussian_pixels_have_the_moments_of_the_first_set():
    rng = np.random.default_rng(0)
    first, second = rng.gamma(2, 3, (300, 5, 5)), rng.gamma(9, 9, (200, 5, 5))
    mean, deviation = first.mean(), first.std()
    for part in gaussian_pixels([first, second], 1):
        assert_distribution(part.ravel(), norm(mean, deviation).cdf)
        with pytest.raises(AssertionError):
            assert_distribution(part.ravel(), norm(mean, 1.2 * deviation).cdf)


def test_gaussian_channels_have_moments_of_their_own():
    rng = np.random.default_rng(0)
    first = rng.gamma([2, 20, 200], [3, 1, 2], (200, 4, 4, 3))
    found = gaussian_pixels([first], 1, channels=True)[0]
    for c in range(3):
        expected = norm(first[..., c].mean(), first[..., c].std())
        assert_distribution(found[..., c].ravel(), expected.cdf)


def test_gaussian_bytes_are_rounded_and_clipped():
    """Shares of the ends and the mean of the rest as the normal law has them."""
    rng = np.random.default_rng(0)
    images = np.clip(rng.normal(120, 64, (400, 10, 10)), 0, 255).astype(np.uint8)
    law = norm(images.mean(), images.std())
    found = gaussian_pixels([images], 2)[0].ravel()
    edges = np.array([-np.inf, 0.5, 80.5, 120.5, 160.5, 254.5, np.inf])
    seen = np.histogram(found, edges)[0]
    assert_counts(seen, np.diff(law.cdf(edges)))
    drawn = np.random.default_rng(2).normal(images.mean(), images.std(), images.shape)
    np.testing.assert_array_equal(found, np.clip(np.rint(drawn), 0, 255).ravel())


@pytest.mark.parametrize("corrupt", PIXEL_CORRUPTIONS.values(), ids=PIXEL_CORRUPTIONS)
def test_wrong_images(corrupt):
    with pytest.raises(ValueError, match="sets must hold at least one array"):
        corrupt([])
    with pytest.raises(ValueError, match=r"sets\[1\] must hold images, got shape \(3,\)"):
        corrupt([np.zeros((2, 3)), np.zeros(3)])
    with pytest.raises(ValueError, match=r"sets\[0\] must hold color images, got shape \(2, 3\)"):
        corrupt([np.zeros((2, 3))], channels=True)
    with pytest.raises(ValueError, match=r"images of one shape, got \(3,\) and \(4,\)"):
        corrupt([np.zeros((2, 3)), np.zeros((2, 4))])


def test_no_image_has_no_moments():
    with pytest.raises(ValueError, match=r"sets\[0\] is empty: shape \(0, 3\)"):
        gaussian_pixels([np.zeros((0, 3)), np.zeros((2, 3))])
    assert shuffle_pixels([np.zeros((0, 3))], 0)[0].shape == (0, 3)


# --- copies ---------------------------------------------------------------------------------------


@given(
    n=st.integers(1, 4),
    copies=st.integers(1, 4),
    share=st.floats(0, 1),
    shape=hnp.array_shapes(min_dims=1, max_dims=3, max_side=4),
    dtype=st.sampled_from([np.uint8, np.float32]),
    seed=st.integers(0, 50),
)
def test_copies_lose_a_share_of_their_values(n, copies, share, shape, dtype, seed):
    images = (1 + np.arange(n * np.prod(shape)) % 255).reshape(n, *shape).astype(dtype)
    found = replicate_with_zeros(images, copies, share, seed)
    assert found.shape == (n * copies, *shape)
    assert found.dtype == dtype
    lost = int(share * np.prod(shape))
    for k, copy in enumerate(found):
        assert np.sum(copy == 0) == lost
        np.testing.assert_array_equal(copy[copy != 0], images[k // copies][copy != 0])
    np.testing.assert_array_equal(found, replicate_with_zeros(images, copies, share, seed))


def test_the_original_is_untouched_and_any_memory_order_serves():
    images = np.asfortranarray(np.ones((3, 4, 4, 3), np.uint8))
    found = replicate_with_zeros(images, 2, 0.25, 0)
    assert np.all(images == 1)
    np.testing.assert_array_equal((found == 0).sum(axis=(1, 2, 3)), np.full(6, 12))


def test_masks_of_copies_are_independent_and_uniform():
    found = replicate_with_zeros(np.ones((2000, 5)), 2, 0.4, 1) == 0
    assert_counts(found.sum(axis=0), np.full(5, 0.2))
    first, second = found[0::2], found[1::2]
    assert_mean(np.sum(first & second, axis=1), 5 * 0.4**2)
    with pytest.raises(AssertionError):
        assert_mean(np.sum(first & first[::-1], axis=1), 5 * 0.4)


def test_blocks_do_not_show():
    """More values than one block holds, against one mask after the other."""
    images = np.ones((3, 2**22 + 5), np.uint8)
    found = replicate_with_zeros(images, 2, 0.5, 9)
    rng = np.random.default_rng(9)
    chosen = np.arange(images.shape[1]) < images.shape[1] // 2
    for copy in found:
        np.testing.assert_array_equal(copy == 0, rng.permuted(chosen))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3), 1, 0.1), r"images must have at least 2 dimensions, got shape \(3,\)"),
        ((np.zeros((2, 3)), 0, 0.1), "copies must be a positive integer, got 0"),
        ((np.zeros((2, 3)), 1.0, 0.1), "copies must be a positive integer, got 1.0"),
        ((np.zeros((2, 3)), True, 0.1), "copies must be a positive integer, got True"),
        ((np.zeros((2, 3)), 1, 1.1), "share must be between 0 and 1, got 1.1"),
        ((np.zeros((2, 3)), 1, float("nan")), "share must be between 0 and 1, got nan"),
    ],
    ids=["shape", "none", "float", "bool", "large", "nan"],
)
def test_wrong_copies(arguments, message):
    with pytest.raises(ValueError, match=message):
        replicate_with_zeros(*arguments)
