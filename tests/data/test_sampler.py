"""P x K batches: what is in them, and that nothing is forgotten or favoured."""

import collections
import itertools
import time

import numpy as np
import pytest

from ms_keras.data.sampler import PKSampler


def random_labels(seed, classes=None, largest=23):
    rng = np.random.default_rng(seed)
    classes = classes or int(rng.integers(4, 30))
    labels = np.repeat(np.arange(classes) * 7, rng.integers(1, largest, classes))
    return rng.permutation(labels)


def one_pass(sampler, number=0):
    start = number * sampler.batches_per_pass
    return [sampler.batch(start + i) for i in range(sampler.batches_per_pass)]


@pytest.mark.parametrize("seed", range(20))
def test_every_batch_has_p_classes_with_k_images_distinct_where_possible(seed):
    labels = random_labels(seed)
    sampler = PKSampler(labels, 4, 5, seed)
    sizes = collections.Counter(labels.tolist())
    for batch in one_pass(sampler):
        groups = batch.reshape(4, 5)
        classes = labels[groups]
        assert (classes == classes[:, :1]).all()
        assert len(set(classes[:, 0].tolist())) == 4
        for group, label in zip(groups, classes[:, 0], strict=True):
            assert len(set(group.tolist())) == min(5, sizes[label])


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("number", [0, 3])
def test_every_image_is_seen_in_every_pass(seed, number):
    labels = random_labels(seed)
    seen = np.concatenate(one_pass(PKSampler(labels, 4, 5, seed), number))
    assert set(seen.tolist()) == set(range(len(labels)))


@pytest.mark.parametrize("classes_per_batch", [2, 4, 12])
def test_without_remainders_every_image_is_seen_exactly_once_a_pass(classes_per_batch):
    labels = np.repeat(np.arange(12), 15)
    sampler = PKSampler(labels, classes_per_batch, 5)
    seen = np.concatenate(one_pass(sampler))
    np.testing.assert_array_equal(np.bincount(seen), 1)


def test_repetition_is_only_topping_up():
    labels = np.repeat(np.arange(10), 13)  # 2 groups of 5, one of 3 topped up by 2
    sampler = PKSampler(labels, 5, 5)
    counts = np.bincount(np.concatenate(one_pass(sampler)))
    assert counts.min() == 1
    assert counts.sum() == 10 * 15
    assert counts.max() == 2


@pytest.mark.parametrize(
    "sizes", [[200, 5, 5, 5], [60, 60, 5, 5, 5], [7, 300, 1, 2, 290, 3]]
)
def test_a_class_far_larger_than_the_others_is_seen_whole_in_every_pass(sizes):
    labels = np.repeat(np.arange(len(sizes)), sizes)
    sampler = PKSampler(labels, 3, 5)
    groups = [-(-size // 5) for size in sizes]
    assert sampler.batches_per_pass == max(max(groups), -(-sum(groups) // 3))
    for number in (0, 1):
        seen = np.concatenate(one_pass(sampler, number))
        assert set(seen.tolist()) == set(range(len(labels)))


def test_a_class_is_spread_over_the_pass():
    labels = np.repeat(np.arange(20), 50)
    sampler = PKSampler(labels, 4, 5)
    places = collections.defaultdict(list)
    for place, batch in enumerate(one_pass(sampler)):
        for label in set(labels[batch].tolist()):
            places[label].append(place / sampler.batches_per_pass)
    gaps = [np.diff(values).max() for values in places.values()]
    assert np.median(gaps) < 0.3


def test_passes_and_seeds_differ_and_the_same_seed_repeats():
    labels = random_labels(1)
    batches = one_pass(PKSampler(labels, 4, 5, seed=1))
    again = one_pass(PKSampler(labels, 4, 5, seed=1))
    np.testing.assert_array_equal(batches, again)
    assert not np.array_equal(batches, one_pass(PKSampler(labels, 4, 5, seed=2)))
    assert not np.array_equal(batches, one_pass(PKSampler(labels, 4, 5, seed=1), 1))


def test_any_step_can_be_jumped_to():
    labels = random_labels(2)
    walked = PKSampler(labels, 4, 5)
    steps = [walked.batch(step) for step in range(4 * walked.batches_per_pass)]
    jumped = PKSampler(labels, 4, 5)
    for step in (3 * walked.batches_per_pass + 1, 0, walked.batches_per_pass):
        np.testing.assert_array_equal(jumped.batch(step), steps[step])


def test_all_pairs_of_classes_meet():
    labels = np.repeat(np.arange(12), 10)
    sampler = PKSampler(labels, 4, 5)
    met = set()
    for step in range(40 * sampler.batches_per_pass):
        met.update(itertools.combinations(sorted(set(labels[sampler.batch(step)])), 2))
    assert len(met) == 12 * 11 / 2


def test_starts_quickly_at_the_size_of_stanford_online_products():
    rng = np.random.default_rng(0)
    # Two images each, and up to ten more: 2 to 12 in a class, as there.
    more = rng.choice(10 * 11_318, 59_551 - 2 * 11_318, replace=False) % 11_318
    sizes = 2 + np.bincount(more, minlength=11_318)
    labels = np.repeat(np.arange(11_318), sizes)
    assert (len(labels), sizes.min(), sizes.max()) == (59_551, 2, 12)
    started = time.perf_counter()
    sampler = PKSampler(labels, 200, 5)
    sampler.batch(0)
    print(f"first batch after {time.perf_counter() - started:.2f} s")
    seen = np.concatenate(one_pass(sampler))
    assert set(seen.tolist()) == set(range(len(labels)))


def test_a_seed_below_zero_is_refused():
    with pytest.raises(ValueError, match="seed must be 0 or more; got -1"):
        PKSampler(np.array([0, 0, 1, 1]), 2, 2, seed=-1)


@pytest.mark.parametrize(
    ("labels", "classes", "images", "message"),
    [
        ([], 2, 2, "non-empty"),
        ([0, 0, 1, 1], 3, 2, "more than the 2 classes"),
        ([0, 0, 1, 1], 1, 2, "negatives"),
        ([0, 0, 1, 1], 2, 1, "positives"),
    ],
)
def test_impossible_batches_are_refused(labels, classes, images, message):
    with pytest.raises(ValueError, match=message):
        PKSampler(np.array(labels, int), classes, images)
